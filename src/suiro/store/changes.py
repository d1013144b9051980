"""What of runs may have changed lately: those that are going on, the newest, and those that somebody asks about."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from sqlalchemy import select

from suiro.store.database import Database
from suiro.store.run_records import StoredRun, StoredTaskRun, is_going, record
from suiro.store.tables import run, task_run

_NEWEST: Final = 50  #: a run may begin and end between two looks


@dataclass(frozen=True, slots=True, kw_only=True)
class Lately:
    """Runs and their task runs at one moment."""

    runs: tuple[StoredRun, ...]
    task_runs: tuple[StoredTaskRun, ...]


def lately(database: Database, asked: Collection[str]) -> Lately:
    """Runs that are going on, the newest ones, and those of these ids that are still kept."""
    with database.read() as connection:
        going = connection.execute(select(task_run.c.run_id).where(is_going(task_run)).distinct()).scalars()
        newest = select(run.c.id).order_by(run.c.created_at.desc(), run.c.id.desc()).limit(_NEWEST)
        ids = {*going, *connection.execute(newest).scalars(), *asked}
        runs = connection.execute(select(run).where(run.c.id.in_(ids)))
        found = tuple(record(StoredRun, row) for row in runs)
        tasks = select(task_run).where(task_run.c.run_id.in_(ids)).order_by(task_run.c.id)
        return Lately(runs=found, task_runs=tuple(record(StoredTaskRun, row) for row in connection.execute(tasks)))
