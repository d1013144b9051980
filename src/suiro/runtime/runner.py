"""The runner: claims task runs from the metadata, has children carry them, and writes down what came of them."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from suiro.model.errors import SuiroError, TransientError
from suiro.model.run import Status
from suiro.runtime.questions import Books
from suiro.runtime.supervisor import BEAT_SECONDS, Child, Line, Outcome, Word
from suiro.store.run_records import Attempt, Claimed
from suiro.store.runs import Runs

LEASE_SECONDS = 4 * BEAT_SECONDS
MOST_ATTEMPTS = 3  #: tries of a task run whose process died
_IDLE_SECONDS = 0.2  #: between two looks for something to do
_log = logging.getLogger("suiro.runner")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What a child gets: its spec, secrets included, and the most bytes it may hold."""

    spec: Mapping[str, Any]
    memory: int | None = None


Prepare = Callable[[Claimed], Prepared]
Told = Callable[[Claimed, Mapping[str, Any]], None]
Ended = Callable[[Claimed, Mapping[str, Any]], None]


class Runner:
    """Carries task runs in up to `slots` children at once.

    `command` starts a child. `prepare` makes a spec of what was claimed; what it raises ends the task run as failed.
    `limits` are the most task runs at once by connection, over all runners. `told` hears progress, `ended` the result
    of every task run that ended here. Children that ask about accounts are answered from `books`.
    """

    def __init__(
        self,
        runs: Runs,
        command: Sequence[str],
        prepare: Prepare,
        *,
        slots: int = 1,
        limits: Mapping[str, int] | None = None,
        told: Told | None = None,
        ended: Ended | None = None,
        books: Books | None = None,
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        self._runs, self._command, self._prepare = runs, command, prepare
        self._slots, self._limits, self._told = slots, dict(limits or {}), told
        self._ended, self._books = ended, books
        self._lease_seconds = lease_seconds
        self.owner = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:6]}"
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._busy: dict[Child, Claimed] = {}
        self._error: BaseException | None = None

    def carry_run(self, run: str) -> None:
        """Carry the task runs of one run until it has ended, whoever carries the others of them."""
        self._work(run)

    def serve(self) -> None:
        """Carry whatever is queued, until `stop`."""
        self._work(None)

    def stop(self) -> None:
        """Take nothing more; task runs under way are killed and go back into the queue. From any thread."""
        self._stopping.set()
        with self._lock:
            for child in self._busy:
                child.cancel()

    def cancel(self, run: str) -> None:
        """Stop the task runs of a run, without waiting for a heartbeat. From any thread."""
        self._runs.request_cancel(run)
        with self._lock:
            for child, claimed in self._busy.items():
                if claimed.run.id == run:
                    child.cancel()

    def _work(self, run: str | None) -> None:
        self._error = None
        threads = [
            threading.Thread(target=self._slot, args=(run,), name=f"suiro-slot-{number}")
            for number in range(self._slots)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self._error is not None:
            raise self._error

    def _slot(self, run: str | None) -> None:
        child = Child(self._command, beat_seconds=self._lease_seconds / 4, books=self._books)
        try:
            while not self._stopping.is_set():
                claimed = self._claim(run)
                if claimed is not None:
                    self._carry(child, claimed)
                elif run is not None and self._runs.get(run).ended_at is not None:
                    return
                else:
                    self._stopping.wait(_IDLE_SECONDS)
        except BaseException as error:  # noqa: BLE001  (raised again by the thread that waits)
            self._error = self._error or error
            self._stopping.set()
        finally:
            child.close()

    def _claim(self, run: str | None) -> Claimed | None:
        return self._runs.claim(
            self.owner, self._lease_seconds, run=run, connection_limits=self._limits, max_attempts=MOST_ATTEMPTS
        )

    def _carry(self, child: Child, claimed: Claimed) -> None:
        attempt = claimed.attempt
        try:
            prepared = self._prepare(claimed)
        except SuiroError as error:
            self._finish(attempt, Status.FAILED, failure(error.code, error.message, error.hint))
            return
        with self._lock:
            self._busy[child] = claimed
        try:
            outcome = child.carry(
                prepared.spec,
                beat=_Heart(self._runs, attempt, self._lease_seconds).beat,
                told=None if self._told is None else lambda now: self._tell(claimed, now),
                log=lambda lines: self._relay(attempt, lines),
                memory=prepared.memory,
            )
        finally:
            with self._lock:
                del self._busy[child]
        self._settle(claimed, outcome, prepared)

    def _tell(self, claimed: Claimed, now: Mapping[str, Any]) -> None:
        assert self._told is not None
        self._told(claimed, now)

    def _settle(self, claimed: Claimed, outcome: Outcome, prepared: Prepared) -> None:
        """Write down how an attempt ended."""
        attempt = claimed.attempt
        if outcome.result is not None:
            status = Status(outcome.result["status"])
            if status is Status.CANCELLED and self._stopping.is_set() and not self._cancelled(attempt):
                self._runs.release(attempt)
            else:
                self._finish(attempt, status, outcome.result)
                if self._ended is not None:
                    self._ended(claimed, outcome.result)
        elif outcome.died is not None:
            self._relay(attempt, [(time.time(), "error", outcome.died)])
            self._runs.lose(attempt, MOST_ATTEMPTS, outcome.died)
        elif outcome.stopped == "memory":
            said = f"the run took more than the {(prepared.memory or 0) // 2**20} MiB of memory that it may"
            self._finish(attempt, Status.FAILED, failure("memory", said, "Allow it more memory."))
        elif outcome.stopped == "cancelled":
            if self._stopping.is_set() and not self._cancelled(attempt):
                self._runs.release(attempt)
            else:
                self._finish(attempt, Status.CANCELLED, failure("cancelled", "the run was cancelled", None))
        else:
            _log.warning("an attempt of task run %s was fenced: another one took over", attempt.task_run)

    def _cancelled(self, attempt: Attempt) -> bool:
        return self._runs.get(attempt.run).cancel_requested

    def _finish(self, attempt: Attempt, status: Status, result: Mapping[str, Any]) -> None:
        if not self._runs.finish(attempt, status, result):
            _log.warning("task run %s ended here after another attempt took over", attempt.task_run)

    def _relay(self, attempt: Attempt, lines: Sequence[Line]) -> None:
        stamped = [(datetime.fromtimestamp(at, UTC), level, text) for at, level, text in lines]
        try:
            self._runs.append_log(attempt, stamped)
        except TransientError as error:
            _log.warning("%d lines of a log are lost: %s", len(stamped), error.message)


class _Heart:
    """The heartbeat of one attempt. One that can't be heard for as long as the lease lasts has lost it."""

    def __init__(self, runs: Runs, attempt: Attempt, lease_seconds: float) -> None:
        self._runs, self._attempt, self._lease_seconds = runs, attempt, lease_seconds
        self._heard = time.monotonic()

    def beat(self, progress: Mapping[str, Any] | None) -> Word:
        try:
            found = self._runs.beat(self._attempt, self._lease_seconds, progress)
        except TransientError as error:
            _log.warning("the metadata can't be reached: %s", error.message)
            return Word(fenced=time.monotonic() - self._heard > self._lease_seconds)
        self._heard = time.monotonic()
        return Word(fenced=found.fenced, cancel=found.cancel)


def failure(code: str, message: str, hint: str | None) -> dict[str, Any]:
    """What is kept of a task run that ended without a result of its own."""
    return {"error": {"code": code, "message": message, "hint": hint}}
