"""Changes of runs and task runs as they happen: one look at the store a second for all who listen."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from suiro.app.metadata import Metadata
from suiro.model.errors import SuiroError
from suiro.store.changes import lately
from suiro.store.run_records import StoredRun, StoredTaskRun

LOOK_SECONDS: Final = 1.0
_LINGER_SECONDS: Final = 60.0  #: looks go on for so long after the last listener has left: it may come back
_KEPT: Final = 2000  #: events that a listener who comes back may have missed
_log = logging.getLogger("suiro.events")


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A change. `id` tells a listener that comes back where to go on."""

    number: int
    id: str
    kind: str  #: run, task
    data: Mapping[str, Any]


class Feed:
    """The events of a server. Listeners share one thread that looks, which runs while there are any."""

    def __init__(self, metadata: Metadata) -> None:
        self._metadata = metadata
        self._lock = threading.Lock()
        self._listeners, self._left_at = 0, 0.0
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()
        self._forget()

    def _forget(self) -> None:
        self._era, self._number = uuid.uuid4().hex[:8], 0
        self._events: deque[Event] = deque(maxlen=_KEPT)
        self._seen: dict[str, dict[str, Any]] | None = None
        self._open: set[str] = set()

    @contextmanager
    def listening(self, last: str | None) -> Iterator[tuple[int, bool]]:
        """Where to listen from: behind the event of that id, or from now on; and whether none was missed.

        From when `looks` is true, every change is told.
        """
        with self._lock:
            self._listeners += 1
            if self._thread is None or not self._thread.is_alive():
                self._forget()
                self._thread = threading.Thread(target=self._watch, name="suiro-events", daemon=True)
                self._thread.start()
            start, whole = self._place(last)
        try:
            yield start, whole
        finally:
            with self._lock:
                self._listeners -= 1
                self._left_at = time.monotonic()

    @property
    def looks(self) -> bool:
        """Whether there was a first look, which later ones are compared with."""
        with self._lock:
            return self._seen is not None

    def after(self, number: int) -> list[Event]:
        """The events behind that one."""
        with self._lock:
            return [event for event in self._events if event.number > number]

    def mark(self, number: int) -> str:
        """The id of the event of that number."""
        return f"{self._era}-{number}"

    def stop(self) -> None:
        """Look no more."""
        self._stopped.set()

    def _place(self, last: str | None) -> tuple[int, bool]:
        if last is None:
            return self._number, True
        era, _, text = last.partition("-")
        number = int(text) if text.isdecimal() else -1
        oldest = self._number - len(self._events)
        if era != self._era or not oldest <= number <= self._number:
            return self._number, False
        return number, True

    def _watch(self) -> None:
        while not self._stopped.is_set():
            with self._lock:
                if not self._listeners and time.monotonic() - self._left_at > _LINGER_SECONDS:
                    self._thread = None
                    return
            try:
                self._look()
            except SuiroError as error:
                _log.warning("changes of runs can't be looked for: %s", error.message)
            self._stopped.wait(LOOK_SECONDS)

    def _look(self) -> None:
        found = lately(self._metadata.database, self._open)
        jobs = {one.id: one.job for one in found.runs}
        now = {f"task {one.id}": _task(one, jobs.get(one.run)) for one in found.task_runs}
        now |= {f"run {one.id}": _run(one) for one in found.runs}  # last: its end is the last word on a run
        with self._lock:
            if self._seen is not None:
                for key, data in now.items():
                    if self._seen.get(key) != data:
                        self._number += 1
                        kind = key.partition(" ")[0]
                        self._events.append(
                            Event(number=self._number, id=self.mark(self._number), kind=kind, data=data)
                        )
            self._seen = now
            self._open = {one.id for one in found.runs if one.ended_at is None}


def _run(one: StoredRun) -> dict[str, Any]:
    return {
        "run": one.id,
        "job": one.job,
        "status": one.state.value,
        "trigger": one.trigger,
        "created_at": one.created_at.isoformat(),
        "started_at": None if one.started_at is None else one.started_at.isoformat(),
        "ended_at": None if one.ended_at is None else one.ended_at.isoformat(),
        "cancelling": one.cancel_requested and one.ended_at is None,
    }


def _task(one: StoredTaskRun, job: str | None) -> dict[str, Any]:
    progress = one.progress if one.ended_at is None else None
    return {
        "run": one.run,
        "job": job,
        "task": one.task,
        "status": one.state.value,
        "attempts": one.attempts,
        "progress": progress,
    }
