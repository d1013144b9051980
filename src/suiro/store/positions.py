"""Positions of jobs' tasks as people see them: copies, for the destination's marker is the truth."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Executable, select
from sqlalchemy.dialects import postgresql, sqlite

from suiro.store.database import moment
from suiro.store.jobs import no_task
from suiro.store.names import unknown
from suiro.store.run_records import SavedPosition
from suiro.store.tables import job, position, task


def save(connection: Connection, job_id: str, task_name: str, value: Any, run: str) -> bool:
    """Write a task's position down, as `Runs.save_position` promises."""
    named = select(task.c.id).where(task.c.job_id == job_id, task.c.name == task_name)
    id = connection.execute(named.with_for_update(read=True, key_share=True)).scalar()
    if id is None:
        return False
    values = {"position": value, "run": run, "saved_at": moment(connection)}
    connection.execute(_written(connection, {"task_id": id, **values}))
    return True


def _written(connection: Connection, values: dict[str, Any]) -> Executable:
    """An INSERT that becomes an UPDATE where the task has a position already; both systems' dialects spell it alike."""
    insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    new: sqlite.Insert | postgresql.Insert = insert(position).values(values)
    changed = {name: new.excluded[name] for name in values if name != "task_id"}
    return new.on_conflict_do_update(index_elements=[position.c.task_id], set_=changed)


def read(connection: Connection, job_name: str, task_name: str) -> SavedPosition | None:
    """What was saved last, as `Runs.position` promises."""
    job_id = connection.execute(select(job.c.id).where(job.c.name == job_name)).scalar()
    if job_id is None:
        raise unknown(connection, job, "job", job_name)
    found = connection.execute(
        select(task.c.id, position.c.position, position.c.run, position.c.saved_at)
        .select_from(task.outerjoin(position))
        .where(task.c.job_id == job_id, task.c.name == task_name)
    ).first()
    if found is None:
        raise no_task(job_name, task_name)
    if found.saved_at is None:
        return None
    return SavedPosition(position=found.position, run=found.run, saved_at=found.saved_at)
