"""Runs as they come and go: making them, lists of them, and taking old ones away."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, and_, delete, insert, or_, select, tuple_

from suiro.model.errors import ConfigError
from suiro.store.columns import Utc
from suiro.store.database import Database, edit_lock, moment
from suiro.store.endings import end_run_if_done, no_run
from suiro.store.names import unknown
from suiro.store.run_records import RunPage, State, StoredRun, TaskToRun, record
from suiro.store.tables import job as job_table
from suiro.store.tables import log_line, run, task, task_run

RUNS_AT_ONCE: Final = 100  #: taken away in one transaction, so that nobody waits long for it
LINES_AT_ONCE: Final = 10_000


def create(
    connection: Connection,
    id: str,
    tasks: Sequence[TaskToRun],
    *,
    trigger: str,
    job: str | None,
    settings: Mapping[str, Any],
    retry_of: str | None,
) -> StoredRun:
    """A new run with its task runs, all queued, as `Runs.create` promises."""
    edit_lock(connection)
    if connection.execute(select(run.c.id).where(run.c.id == id)).first() is not None:
        raise ConfigError(f"there is a run {id!r} already", hint="Choose another id.")
    job_id, known = _job(connection, job)
    at = moment(connection)
    values = {
        "id": id,
        "job_id": job_id,
        "job": job,
        "trigger": trigger,
        "state": State.QUEUED.value,
        "parallel": _parallel(settings),
        "settings": settings,
        "retry_of": retry_of,
        "created_at": at,
    }
    connection.execute(insert(run).values(values))
    rows = [_row(id, ordinal, one, known.get(one.task)) for ordinal, one in enumerate(tasks)]
    if rows:
        connection.execute(insert(task_run), rows)
    else:
        end_run_if_done(connection, id)
    return get(connection, id)


def get(connection: Connection, id: str) -> StoredRun:
    """The run of that id; ConfigError if there is none."""
    found = connection.execute(select(run).where(run.c.id == id)).first()
    if found is None:
        raise no_run(id)
    return record(StoredRun, found)


def page(connection: Connection, job: str | None, state: State | None, limit: int, cursor: str | None) -> RunPage:
    """Runs, newest first, as `Runs.list` promises."""
    wanted = select(run).order_by(run.c.created_at.desc(), run.c.id.desc()).limit(limit + 1)
    if job is not None:
        wanted = wanted.where(_of_job(connection, job))
    if state is not None:
        wanted = wanted.where(run.c.state == state.value)
    if cursor is not None:
        wanted = wanted.where(tuple_(run.c.created_at, run.c.id, types=[Utc, run.c.id.type]) < _after(cursor))
    found = [record(StoredRun, row) for row in connection.execute(wanted)]
    more = len(found) > limit
    return RunPage(runs=tuple(found[:limit]), next=_cursor(found[limit - 1]) if more else None)


def prune_runs(database: Database, older_than: datetime) -> int:
    """Take away runs that ended before, with all that belongs to them; how many."""
    removed = 0
    while True:
        with database.begin() as connection:
            old = select(run.c.id).where(run.c.ended_at < older_than).limit(RUNS_AT_ONCE)
            ids = connection.execute(old).scalars().all()
            removed += connection.execute(delete(run).where(run.c.id.in_(ids))).rowcount
        if len(ids) < RUNS_AT_ONCE:
            return removed


def prune_logs(database: Database, older_than: datetime) -> int:
    """Take away log lines written before, of runs that have ended; how many."""
    removed = 0
    while True:
        with database.begin() as connection:
            old = (
                select(log_line.c.id)
                .join(run, run.c.id == log_line.c.run_id)
                .where(log_line.c.at < older_than, run.c.ended_at.is_not(None))
                .limit(LINES_AT_ONCE)
            )
            gone = connection.execute(delete(log_line).where(log_line.c.id.in_(old))).rowcount
        removed += gone
        if gone < LINES_AT_ONCE:
            return removed


def _job(connection: Connection, name: str | None) -> tuple[str | None, dict[str, int]]:
    """A job's id and the ids of its tasks by name."""
    if name is None:
        return None, {}
    id = connection.execute(select(job_table.c.id).where(job_table.c.name == name)).scalar()
    if id is None:
        raise unknown(connection, job_table, "job", name)
    tasks = connection.execute(select(task.c.name, task.c.id).where(task.c.job_id == id))
    return id, {row.name: row.id for row in tasks}


def _row(id: str, ordinal: int, one: TaskToRun, task_id: int | None) -> dict[str, Any]:
    return {
        "run_id": id,
        "ordinal": ordinal,
        "task": one.task,
        "task_id": task_id,
        "settings": one.settings,
        "source": one.source,
        "destination": one.destination,
        "state": State.QUEUED.value,
        "epoch": 0,
        "attempts": 0,
    }


def _parallel(settings: Mapping[str, Any]) -> int:
    found = settings.get("parallel", 1)
    if not isinstance(found, int) or isinstance(found, bool) or found < 1:
        raise ConfigError(f"`parallel` is {found!r}, no whole number from 1 on", hint="Write parallel: 2, say.")
    return found


def _of_job(connection: Connection, name: str) -> ColumnElement[bool]:
    """The runs of the job that has the name, under any name; and of jobs so called that are gone."""
    gone = and_(run.c.job_id.is_(None), run.c.job == name)
    id = connection.execute(select(job_table.c.id).where(job_table.c.name == name)).scalar()
    return gone if id is None else or_(run.c.job_id == id, gone)


def _cursor(last: StoredRun) -> str:
    told = json.dumps([last.created_at.isoformat(), last.id]).encode()
    return base64.urlsafe_b64encode(told).rstrip(b"=").decode()


def _after(cursor: str) -> tuple[datetime, str]:
    try:
        told = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
        at, id = told
        moment_of = datetime.fromisoformat(at)
    except (ValueError, TypeError):
        raise ConfigError("the list of runs can't go on from this cursor", hint="Begin at the first page.") from None
    if moment_of.tzinfo is None or not isinstance(id, str):
        raise ConfigError("the list of runs can't go on from this cursor", hint="Begin at the first page.")
    return moment_of, id
