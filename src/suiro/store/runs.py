"""Runs as they are stored: what is to do, who does it until when, how it ended, and what was told of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select

from suiro.model.run import Status
from suiro.store import endings, leases, logs, positions, run_lists
from suiro.store.database import Database
from suiro.store.logs import Line
from suiro.store.run_records import (
    Attempt,
    Beat,
    Claimed,
    LogLine,
    RunPage,
    SavedPosition,
    State,
    StoredRun,
    StoredTaskRun,
    TaskToRun,
    record,
)
from suiro.store.tables import task_run

__all__ = [
    "Attempt",
    "Beat",
    "Claimed",
    "LogLine",
    "RunPage",
    "Runs",
    "SavedPosition",
    "State",
    "StoredRun",
    "StoredTaskRun",
    "TaskToRun",
]

MAX_ATTEMPTS = 3


class Runs:
    """The stored runs. Every call is one transaction: it has happened when the call returns, or not at all.

    A runner claims a task run, beats until it is done, and finishes it. A runner that falls silent loses its lease, and
    someone else claims the task run. Times come from the database's clock on PostgreSQL, from this machine's on SQLite.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self,
        id: str,
        tasks: Sequence[TaskToRun],
        *,
        trigger: str,
        job: str | None = None,
        settings: Mapping[str, Any] | None = None,
        retry_of: str | None = None,
    ) -> StoredRun:
        """Store a run with its task runs, all queued; one without task runs has succeeded at once.

        `settings["parallel"]` says how many of its task runs may run at once (1 if it says nothing). ConfigError if the
        id is taken or there is no such job.
        """
        with self._database.begin() as connection:
            return run_lists.create(
                connection, id, tasks, trigger=trigger, job=job, settings=settings or {}, retry_of=retry_of
            )

    def get(self, id: str) -> StoredRun:
        """The run of that id; ConfigError if there is none."""
        with self._database.read() as connection:
            return run_lists.get(connection, id)

    def list(
        self, *, job: str | None = None, state: State | None = None, limit: int = 50, cursor: str | None = None
    ) -> RunPage:
        """Up to `limit` runs, newest first; the page after another one with its `next` as the cursor.

        Of a job: also those it made under another name. ConfigError for a cursor that no page had.
        """
        with self._database.read() as connection:
            return run_lists.page(connection, job, state, limit, cursor)

    def held(self, run: str) -> bool:
        """Whether somebody holds a lease of one of the run's task runs."""
        with self._database.read() as connection:
            return leases.held(connection, run)

    def task_runs(self, run: str) -> tuple[StoredTaskRun, ...]:
        """A run's task runs, in their order; ConfigError if there is no such run."""
        with self._database.read() as connection:
            run_lists.get(connection, run)
            found = connection.execute(select(task_run).where(task_run.c.run_id == run).order_by(task_run.c.ordinal))
            return tuple(record(StoredTaskRun, row) for row in found)

    def claim(
        self,
        owner: str,
        lease_seconds: float,
        *,
        run: str | None = None,
        connection_limits: Mapping[str, int] | None = None,
        max_attempts: int = MAX_ATTEMPTS,
    ) -> Claimed | None:
        """Take the oldest task run that is queued, or that ran and whose lease has ended; None if there is nothing.

        Never more at once, counted by leases that live, than the run's `parallel` and than a connection's limit (as
        source or destination; connections without one have no limit). A task run that lost its lease for the
        `max_attempts`th time fails, and one whose run is to be cancelled is cancelled, instead of being taken again.
        """
        with self._database.read() as connection:
            if not leases.something_to_do(connection, run):
                return None
        with self._database.begin() as connection:
            lease, limits = timedelta(seconds=lease_seconds), connection_limits or {}
            return leases.claim(connection, owner, lease, only=run, limits=limits, max_attempts=max_attempts)

    def beat(self, attempt: Attempt, lease_seconds: float, progress: Mapping[str, Any] | None = None) -> Beat:
        """Extend the lease to so long from now, and tell how far it is; fenced if the attempt holds it no more."""
        with self._database.begin() as connection:
            return leases.beat(connection, attempt, timedelta(seconds=lease_seconds), progress)

    def finish(self, attempt: Attempt, state: Status, result: Mapping[str, Any] | None = None) -> bool:
        """End the attempt and its task run; False, and nothing written, if the attempt doesn't hold its lease any more.

        With the last task run ends the run: cancelled, failed or warning if one of its task runs is, in that order, and
        else succeeded.
        """
        with self._database.begin() as connection:
            return endings.finish(connection, attempt, state, result)

    def release(self, attempt: Attempt) -> bool:
        """Give a task run back, untried, for the next one who claims; False if the attempt doesn't hold its lease.

        If the run is to be cancelled, the task run is cancelled instead.
        """
        with self._database.begin() as connection:
            return leases.release(connection, attempt)

    def lose(self, attempt: Attempt, max_attempts: int, reason: str) -> bool:
        """Give a task run back whose process died of `reason`; it fails if this was its `max_attempts`th attempt.

        False if the attempt doesn't hold its lease. If the run is to be cancelled, the task run is cancelled.
        """
        with self._database.begin() as connection:
            return leases.lose(connection, attempt, max_attempts, reason)

    def request_cancel(self, run: str) -> bool:
        """Have a run stop: what is queued is cancelled now, what runs learns it by its next beat.

        False if the run has ended; ConfigError if there is none.
        """
        with self._database.begin() as connection:
            return endings.request_cancel(connection, run)

    def append_log(self, attempt: Attempt, lines: Sequence[Line]) -> None:
        """Write lines (when, level, text) to the log of the attempt's task run; a fenced attempt may still do so.

        NUL and halves of surrogate pairs are written as escapes.
        """
        with self._database.begin() as connection:
            logs.append(connection, attempt, lines)

    def log(
        self, run: str, task_run: int | None = None, after: int | None = None, limit: int = 1000
    ) -> tuple[LogLine, ...]:
        """Up to `limit` lines of a run or one of its task runs, those after the line of that id; ids rise.

        Who goes on after the last id seen misses no line, whoever writes meanwhile.
        """
        with self._database.read() as connection:
            return logs.read(connection, run, task_run, after, limit)

    def save_position(self, job_id: str, task: str, position: Any, run: str) -> bool:
        """Keep a copy, for people, of a task's position; False if the job or the task is gone."""
        with self._database.begin() as connection:
            return positions.save(connection, job_id, task, position, run)

    def position(self, job: str, task: str) -> SavedPosition | None:
        """The copy saved last; None if there is none. ConfigError if there is no such job or task."""
        with self._database.read() as connection:
            return positions.read(connection, job, task)

    def prune(self, older_than: datetime, *, only_logs: bool = False) -> int:
        """Take away runs that ended before, with their logs; or only log lines of ended runs; how many runs or lines.

        Does so in several transactions.
        """
        prune = run_lists.prune_logs if only_logs else run_lists.prune_runs
        return prune(self._database, older_than)
