"""Schedules and their firings as records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any


class FiringOutcome(StrEnum):
    """What became of a moment. The first two are still under way."""

    QUEUED = "queued"  #: its run waits for its turn
    STARTING = "starting"  #: a server begins its run
    STARTED = "started"  #: its run was begun
    SKIPPED = "skipped"  #: the job still ran, or the schedule was paused, changed or taken away meanwhile
    MISSED = "missed"  #: no server watched the clock then, and the schedule doesn't catch up with it
    FAILED = "failed"  #: its run could not be begun


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSchedule:
    """A job's schedule. `schedule` is as the job's document says it; moments up to `upto` are decided."""

    job_id: str
    job: str
    schedule: Mapping[str, Any]
    since: datetime
    upto: datetime
    paused_at: datetime | None
    open: int  #: firings that are queued or starting
    ready: bool  #: one of them may be taken: none is being started, and the job doesn't run; or its starter is gone


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A moment that has come. `fires`: its run is wanted; `late`: after a downtime."""

    scheduled_for: datetime
    due_at: datetime
    fires: bool
    late: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A moment whose run is to be begun, by who took it. `run` is the id that its run gets, whoever begins it."""

    firing: int
    job_id: str
    job: str
    scheduled_for: datetime
    due_at: datetime
    run: str
    tries: int  #: this one included


@dataclass(frozen=True, slots=True, kw_only=True)
class Firing:
    """A moment and what became of it. `run` is its run, or of a skipped one the run that stood in its way."""

    id: int
    job_id: str
    scheduled_for: datetime
    due_at: datetime
    decided_at: datetime
    outcome: FiringOutcome
    tries: int
    fired_at: datetime | None
    run: str | None
    code: str | None
    message: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """A server that watches the clock, or did."""

    owner: str
    since: datetime
    last_tick: datetime
