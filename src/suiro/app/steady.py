"""What a runner needs that serves for months: a store that may be away for a while, and limits that change."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from suiro.app import stored
from suiro.app.metadata import Metadata
from suiro.model.errors import TransientError
from suiro.model.run import Status
from suiro.store.run_records import Attempt, Claimed, StoredRun
from suiro.store.runs import MAX_ATTEMPTS, Runs

_AGAIN_SECONDS: Final = 2.0
_LIMITS_SECONDS: Final = 2.0  #: limits of connections are looked up again after this time
_log = logging.getLogger("suiro.server")
_T = TypeVar("_T")


class SteadyRuns(Runs):
    """The stored runs, for a server's runner: nothing is claimed while the store is away, and ends are told later.

    After `stop` no call waits any more.
    """

    def __init__(self, metadata: Metadata) -> None:
        super().__init__(metadata.database)
        self._metadata = metadata
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._limits: tuple[float, dict[str, int]] = (float("-inf"), {})

    def stop(self) -> None:
        """Wait for the store no more."""
        self._stopped.set()

    def patiently(self, act: Callable[[], _T]) -> _T:
        """What `act` gives, tried until the store answers."""
        while True:
            try:
                return act()
            except TransientError as error:
                if self._stopped.is_set():
                    raise
                _log.warning("tried again in %.0f s: %s", _AGAIN_SECONDS, error.message)
                self._stopped.wait(_AGAIN_SECONDS)

    def claim(
        self,
        owner: str,
        lease_seconds: float,
        *,
        run: str | None = None,
        connection_limits: Mapping[str, int] | None = None,
        max_attempts: int = MAX_ATTEMPTS,
    ) -> Claimed | None:
        """As of `Runs`, under the limits of the connections as they are now; None while the store can't be reached."""
        try:
            limits = self._current_limits()
            return super().claim(owner, lease_seconds, run=run, connection_limits=limits, max_attempts=max_attempts)
        except TransientError as error:
            _log.warning("no work is taken: %s", error.message)
            self._stopped.wait(_AGAIN_SECONDS)
            return None

    def finish(self, attempt: Attempt, state: Status, result: Mapping[str, Any] | None = None) -> bool:
        """As of `Runs`, tried until the store answers."""
        return self.patiently(lambda: super(SteadyRuns, self).finish(attempt, state, result))

    def release(self, attempt: Attempt) -> bool:
        """As of `Runs`, tried until the store answers."""
        return self.patiently(lambda: super(SteadyRuns, self).release(attempt))

    def lose(self, attempt: Attempt, max_attempts: int, reason: str) -> bool:
        """As of `Runs`, tried until the store answers."""
        return self.patiently(lambda: super(SteadyRuns, self).lose(attempt, max_attempts, reason))

    def get(self, id: str) -> StoredRun:
        """As of `Runs`, tried until the store answers."""
        return self.patiently(lambda: super(SteadyRuns, self).get(id))

    def save_position(self, job_id: str, task: str, position: Any, run: str) -> bool:
        """As of `Runs`, tried until the store answers."""
        return self.patiently(lambda: super(SteadyRuns, self).save_position(job_id, task, position, run))

    def _current_limits(self) -> dict[str, int]:
        with self._lock:
            read_at, limits = self._limits
            if time.monotonic() - read_at > _LIMITS_SECONDS:
                limits = stored.limits(self._metadata)
                self._limits = (time.monotonic(), limits)
            return limits
