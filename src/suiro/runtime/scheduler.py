"""The scheduler: watches the clock, enters each moment of a schedule once, and has its run begun."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from suiro.model.errors import InternalError, SuiroError, TransientError
from suiro.model.schedule import Schedule, fires, is_late, schedule_of
from suiro.store.schedules import Due, Moment, Schedules, StoredSchedule

LEASE_SECONDS: Final = 30.0  #: how long a moment whose starter fell silent stays with it
BEAT_SECONDS: Final = 5.0  #: between two signs of life
MOST_TRIES: Final = 3  #: of beginning a run, where trying again may help,
RETRY_SECONDS: Final = 10.0  #: after so long
MOST_STARTING: Final = 8  #: runs that one server begins at once; some look at their source first
LEAVE_SECONDS: Final = 10.0  #: how long a server that stops waits for runs that it begins
_BACK: Final = timedelta(minutes=1)  #: a clock that is behind what it has said by more was put back
_AGAIN_SECONDS: Final = 300.0  #: between two lines of the log that say the same
_log = logging.getLogger("suiro.scheduler")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Next:
    """What is known of a schedule without working it out anew."""

    said: Mapping[str, Any]
    upto: datetime
    schedule: Schedule
    due_at: datetime | None  #: of the first moment behind `upto`


@dataclass(frozen=True, slots=True, kw_only=True)
class _Starting:
    """A run that is being begun here."""

    due: Due
    thread: threading.Thread


class Scheduler:
    """Fires schedules; any number of them over one store fire each moment once.

    `fire` begins the run `due.run` and returns its id, or None if the job runs already; what it raises is kept in a
    failed run, after a few tries if it is a TransientError. It is called in threads of its own, for several jobs at
    once, never twice at once for one. `clock` says which moments have come; without one the store's clock does.
    """

    def __init__(
        self,
        schedules: Schedules,
        fire: Callable[[Due], str | None],
        *,
        clock: Callable[[], datetime] | None = None,
        tick_seconds: float = 1.0,
    ) -> None:
        self._schedules, self._fire, self._clock = schedules, fire, clock or schedules.now
        self._tick_seconds = tick_seconds
        self.owner = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:6]}"
        self._stopping = threading.Event()
        self._known: dict[str, _Next] = {}
        self._starting: dict[str, _Starting] = {}
        self._told: dict[str, tuple[str, float]] = {}
        self._next_beat = 0.0
        self._patience = 0.0  # until when a tick may wait for room

    def tick(self) -> int:
        """Fire what is due now; how many moments. Returns once their runs are begun."""
        number = self._tick()
        for one in list(self._starting.values()):
            one.thread.join()
        return number

    def serve(self) -> None:
        """Tick until `stop`. What goes wrong with one job, or with the store for a while, is logged and tried again."""
        while not self._stopping.is_set():
            try:
                self._tick()
                self._told.pop("", None)
            except SuiroError as error:
                self._tell("", f"schedules can't be looked at: {error.message}")
            except Exception as error:  # noqa: BLE001  (a tick ends here; the next one must come)
                if self._tell("", f"schedules can't be looked at: {error!r}"):
                    _log.exception("this is a bug")
            self._stopping.wait(self._tick_seconds)
        self._leave()

    def stop(self) -> None:
        """Fire nothing more. From any thread."""
        self._stopping.set()

    def _tick(self) -> int:
        self._beat()
        self._starting = {job: one for job, one in self._starting.items() if one.thread.is_alive()}
        now = self._clock().astimezone(UTC)
        found = self._schedules.all()
        self._known = {one.job_id: self._known[one.job_id] for one in found if one.job_id in self._known}
        self._patience = time.monotonic() + self._tick_seconds
        return sum(self._look(one, now) for one in found)

    def _look(self, one: StoredSchedule, now: datetime) -> int:
        """Look at one schedule; how many runs are being begun for it."""
        begun = 0
        try:
            entered = one.paused_at is None and self._enter(one, now)
            if entered or one.ready:
                begun = self._begin(one)
            self._told.pop(one.job_id, None)
        except SuiroError as error:
            self._tell(one.job_id, f"the schedule of {one.job} can't be followed: {error.message}")
        except Exception as error:  # noqa: BLE001  (one job's schedule must not stop the others')
            if self._tell(one.job_id, f"the schedule of {one.job} can't be followed: {error!r}"):
                _log.exception("this is a bug")
        return begun

    def _enter(self, one: StoredSchedule, now: datetime) -> bool:
        """Write down the moments that have come; whether there were any."""
        known = self._next(one)
        if one.upto > now + _BACK:
            _log.warning("the clock was put back: the schedule of %s counts from %s on", one.job, now)
            self._schedules.rewind(one, now)
            return False
        if known.due_at is None or known.due_at > now:
            return False
        schedule, delay = known.schedule, known.schedule.delay
        passed = schedule.passed(one.upto, now - delay)
        if not passed.moments:
            return False
        if passed.dropped:
            said = "%s: too many moments have passed; those between %s and %s are left out"
            _log.warning(said, one.job, one.upto, passed.moments[0])
        wanted = fires(schedule.catch_up, passed.moments, delay, now)
        moments = [
            Moment(scheduled_for=at, due_at=at + delay, fires=at in wanted, late=is_late(at + delay, now))
            for at in passed.moments
        ]
        return self._schedules.enter(one, moments, passed.moments[-1])

    def _next(self, one: StoredSchedule) -> _Next:
        known = self._known.get(one.job_id)
        if known is None or (known.said, known.upto) != (one.schedule, one.upto):
            schedule = schedule_of(one.schedule)
            first = next(schedule.moments(one.upto), None)
            due_at = None if first is None else first + schedule.delay
            known = _Next(said=one.schedule, upto=one.upto, schedule=schedule, due_at=due_at)
            self._known[one.job_id] = known
        return known

    def _begin(self, one: StoredSchedule) -> int:
        """Have the job's oldest open moment begun in a thread, if its turn has come."""
        if one.job_id in self._starting or not self._has_room():
            return 0
        due = self._schedules.take(one.job_id, self.owner, LEASE_SECONDS)
        if due is None:
            return 0
        thread = threading.Thread(target=self._carry, args=(due,), name=f"suiro-start-{one.job}", daemon=True)
        self._starting[one.job_id] = _Starting(due=due, thread=thread)
        thread.start()
        return 1

    def _has_room(self) -> bool:
        """Whether another run may be begun now; waits a little for that, once in a tick."""
        while (full := sum(one.thread.is_alive() for one in self._starting.values()) >= MOST_STARTING) and (
            time.monotonic() < self._patience
        ):
            time.sleep(0.01)
        return not full

    def _carry(self, due: Due) -> None:
        """Begin the run of a moment, and write down what came of that."""
        try:
            self._attempt(due)
        except SuiroError as error:  # another tick finishes it, once the lease is over
            _log.warning("what became of %s at %s can't be kept: %s", due.job, due.scheduled_for, error.message)
        except Exception:  # noqa: BLE001  (the thread ends here)
            _log.exception("what became of %s at %s can't be kept", due.job, due.scheduled_for)

    def _attempt(self, due: Due) -> None:
        try:
            run = self._fire(due)
        except TransientError as error:
            if due.tries < MOST_TRIES:
                _log.warning("%s can't be run now, and is tried again: %s", due.job, error.message)
                self._schedules.later(due, RETRY_SECONDS)
            else:
                self._fail(due, error)
        except SuiroError as error:
            self._fail(due, error)
        except Exception as error:  # noqa: BLE001  (the request to begin a run ends here, and is kept as failed)
            _log.exception("%s can't be run", due.job)
            self._fail(
                due, InternalError(f"a run of {due.job} can't be begun: {error!r}", hint="See the server's log.")
            )
        else:
            if run is None:
                self._schedules.busy(due)
            elif not self._schedules.started(due):
                self._fail(due, InternalError(f"the run {due.run} was to be begun, and isn't there"))

    def _fail(self, due: Due, error: SuiroError) -> None:
        _log.warning("%s can't be run: %s", due.job, error.message)
        self._schedules.failed(due, {"code": error.code, "message": error.message, "hint": error.hint})

    def _beat(self) -> None:
        if time.monotonic() >= self._next_beat:
            mine = [one.due.firing for one in self._starting.values() if one.thread.is_alive()]
            self._schedules.beat(self.owner, LEASE_SECONDS, mine)
            self._next_beat = time.monotonic() + BEAT_SECONDS

    def _leave(self) -> None:
        until = time.monotonic() + LEAVE_SECONDS
        for one in self._starting.values():
            one.thread.join(max(0.0, until - time.monotonic()))
        try:
            self._schedules.leave(self.owner)
        except SuiroError as error:
            _log.warning("this server's end can't be kept: %s", error.message)

    def _tell(self, what: str, said: str) -> bool:
        """Log a sentence, unless it was logged lately; whether it was news."""
        before, at = self._told.get(what, ("", 0.0))
        if said == before and time.monotonic() - at < _AGAIN_SECONDS:
            return False
        self._told[what] = said, time.monotonic()
        _log.warning(said)
        return True
