"""What the engine lends a connector, in the form that tests lend it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from suiro.engine.accounts import Accounts
from suiro.model.errors import Cancelled


class LocalContext:
    """A context (see spi/context) of one run in this process; `cancel` plays the user."""

    def __init__(
        self, *, run: str, workdir: Path, memory_bytes: int = 64 * 2**20, accounts: Accounts | None = None
    ) -> None:
        accounts = accounts or Accounts()
        self.run = run
        self.grants, self.quotas = accounts.grants, accounts.quotas
        self.workdir = workdir
        self.memory_bytes = memory_bytes
        self.log = logging.getLogger("suiro.testing")
        self._cancelled = threading.Event()
        self._stops: list[Callable[[], object]] = []
        workdir.mkdir(parents=True, exist_ok=True)

    def cancel(self) -> None:
        """Cancel the run: from now on `check_cancelled` raises, and every stop that waits is called once."""
        self._cancelled.set()
        stops, self._stops = self._stops, []
        for stop in stops:
            stop()

    def check_cancelled(self) -> None:
        """Raise Cancelled after `cancel`."""
        if self._cancelled.is_set():
            raise Cancelled(f"run {self.run} was cancelled")

    def wait(self, seconds: float) -> None:
        """Sleep; Cancelled if the run is cancelled meanwhile."""
        self._cancelled.wait(seconds)
        self.check_cancelled()

    def on_cancel(self, stop: Callable[[], object]) -> Callable[[], None]:
        """Have `stop` called by `cancel`; at once where that has been."""
        if self._cancelled.is_set():
            stop()
            return lambda: None
        self._stops.append(stop)

        def take_back() -> None:
            if stop in self._stops:
                self._stops.remove(stop)

        return take_back
