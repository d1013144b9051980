"""Runs, task runs, attempts and log lines as records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, TypeVar

from sqlalchemy import ColumnElement, Row, Table


class State(StrEnum):
    """Where a run or a task run stands. The last four are how it ended: the words of `model.run.Status`."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    WARNING = "warning"
    FAILED = "failed"
    CANCELLED = "cancelled"


WORST_FIRST: Final = (State.CANCELLED, State.FAILED, State.WARNING)  #: a run that holds none of them succeeded


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskToRun:
    """A task run that is wanted: the resolved task as it stands now, without secrets, and its two connections."""

    task: str
    settings: Mapping[str, Any]
    source: str
    destination: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRun:
    """A run. `job` is the job's name at that time; `parallel`: how many of its task runs may run at once."""

    id: str
    job_id: str | None
    job: str | None
    trigger: str
    state: State
    parallel: int
    settings: Mapping[str, Any]
    retry_of: str | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    cancel_requested_at: datetime | None

    @property
    def cancel_requested(self) -> bool:
        """Whether somebody asked to stop it."""
        return self.cancel_requested_at is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTaskRun:
    """A task run. `epoch` is its newest attempt's; `attempts` counts those that were not given back."""

    id: int
    run: str
    task_id: int | None
    task: str
    ordinal: int
    settings: Mapping[str, Any]
    source: str
    destination: str
    state: State
    epoch: int
    attempts: int
    result: Mapping[str, Any] | None
    progress: Mapping[str, Any] | None
    started_at: datetime | None
    ended_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try of a task run: a lease of `owner` until `lease_until`. Epochs rise by one from attempt to attempt."""

    id: int
    task_run: int
    run: str
    number: int  #: which try it is; one that is given back leaves its number to the next
    epoch: int
    owner: str
    lease_until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """What a runner has to do."""

    attempt: Attempt
    task_run: StoredTaskRun
    run: StoredRun


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """What a heartbeat learns. `fenced`: the lease is lost, publish nothing; `cancel`: the user wants it to stop."""

    fenced: bool
    cancel: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """A line of a task run's log. `id` rises within a run, in the order in which lines became visible."""

    id: int
    task_run: int
    attempt: int  #: the attempt's epoch
    at: datetime
    level: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPage:
    """Some runs, newest first; `next` is the cursor of the page after it, None at the end."""

    runs: tuple[StoredRun, ...]
    next: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedPosition:
    """A position as people see it: which run saved it, and when."""

    position: Any
    run: str
    saved_at: datetime


_R = TypeVar("_R")


def record(kind: type[_R], row: Row[Any]) -> _R:
    """A record from the columns that have its fields' names."""
    named = dict(row._mapping)
    for reference, name in (("run_id", "run"), ("task_run_id", "task_run")):
        if reference in named:
            named[name] = named[reference]
    if "state" in named:
        named["state"] = State(named["state"])
    return kind(**{one.name: named[one.name] for one in fields(kind)})  # type: ignore[arg-type]


def is_going(table: Table) -> ColumnElement[bool]:
    """Whether a run or task run hasn't ended, in the words of its partial index."""
    return table.c.state.in_([State.QUEUED.value, State.RUNNING.value])
