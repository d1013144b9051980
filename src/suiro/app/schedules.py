"""Schedules of jobs for people: checked, listed with their next times, paused, and what became of their moments."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final

from suiro.app.documents import ScheduleDocument, as_document
from suiro.app.metadata import Metadata
from suiro.model.schedule import Schedule, no_schedule, schedule_of
from suiro.store.schedules import Firing, StoredSchedule

SILENT_SECONDS: Final = 30.0  #: a server that has not ticked for so long watches the clock no more
NO_SERVER: Final = "No server is running: start one with suiro up, and it fires schedules."
_SHOWN_TIMES: Final = 3


def check_schedule(schedule: ScheduleDocument) -> None:
    """ConfigError if it can't be read."""
    next_times(schedule, 1)


def next_times(
    schedule: ScheduleDocument, number: int, after: datetime | None = None, *, since: datetime | None = None
) -> list[datetime]:
    """The next moments at which it fires, its delay included, in its own time zone. `since`: from when it counts."""
    read = schedule_of(as_document(schedule))
    found = _next(read, number, after or datetime.now(UTC), since)
    if len(found) < number:
        raise no_schedule(schedule.cron)
    return found


def schedules(metadata: Metadata) -> list[dict[str, Any]]:
    """All schedules as plain data, by their jobs' names, with their next times and what became of the last moment."""
    newest = metadata.schedules.newest()
    return [_shown(found, newest.get(found.job_id)) for found in metadata.schedules.all()]


def schedule(job: str, metadata: Metadata) -> dict[str, Any]:
    """One job's schedule as plain data; ConfigError if the job has none."""
    return _shown(metadata.schedules.get(job), next(iter(metadata.schedules.history(job, 1)), None))


def pause(job: str, metadata: Metadata) -> bool:
    """Let it fire no more until `resume`; False if it is paused already."""
    return metadata.schedules.pause(job)


def resume(job: str, metadata: Metadata) -> bool:
    """Let it fire again, moments from now on; False if it isn't paused."""
    return metadata.schedules.resume(job)


def history(job: str, metadata: Metadata, number: int = 20) -> list[dict[str, Any]]:
    """What became of a job's newest moments, newest first, as plain data."""
    return [_fired(one) for one in metadata.schedules.history(job, number)]


def servers(metadata: Metadata) -> list[dict[str, Any]]:
    """The servers that watch the clock now."""
    found = metadata.schedules.watches(SILENT_SECONDS)
    return [{"owner": one.owner, "since": one.since, "last_tick": one.last_tick} for one in found]


def nobody_fires(metadata: Metadata) -> bool:
    """Whether no server watches the clock."""
    return not servers(metadata)


def _shown(found: StoredSchedule, last: Firing | None) -> dict[str, Any]:
    said: Mapping[str, Any] = ScheduleDocument.model_validate(found.schedule).model_dump(mode="json")
    paused = found.paused_at is not None
    times = [] if paused else _next(schedule_of(found.schedule), _SHOWN_TIMES, datetime.now(UTC), found.upto)
    return {
        "job": found.job,
        **said,
        "since": found.since,
        "paused_at": found.paused_at,
        "waiting": found.open,
        "next": times,
        "last": None if last is None else _fired(last),
    }


def _fired(one: Firing) -> dict[str, Any]:
    error = None if one.code is None else {"code": one.code, "message": one.message}
    return {
        "scheduled_for": one.scheduled_for,
        "due_at": one.due_at,
        "fired_at": one.fired_at,
        "outcome": one.outcome.value,
        "run": one.run,
        "reason": one.message,
        "error": error,
    }


def _next(read: Schedule, number: int, after: datetime, since: datetime | None) -> list[datetime]:
    first = after - read.delay if since is None else max(after - read.delay, since)
    return [(moment + read.delay).astimezone(read.zone) for moment in islice(read.moments(first), number)]
