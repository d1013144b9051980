"""Jobs as they are stored, and their tasks, which keep their identity through every change of the job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from suiro.model.errors import ConfigError
from suiro.store import schedules
from suiro.store.database import Database, edit_lock, moment
from suiro.store.names import changed_meanwhile, fit, new_id, refuse_taken, unknown
from suiro.store.tables import job as table
from suiro.store.tables import position, task


class JobType(StrEnum):
    """Which streams a job carries."""

    STANDARD = "standard"  #: those of its tasks
    ALL = "all"  #: every stream of the source, new ones too; tasks come with their first run


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTask:
    """A task of a job. `generation` counts resets; `known_since`: when the job first had a task of that name."""

    id: int
    name: str
    ordinal: int
    settings: Mapping[str, Any]
    generation: int
    known_since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredJob:
    """A job. Source and destination are connections' names; `version` counts changes of the definition."""

    id: str
    name: str
    source: str
    destination: str
    type: JobType
    settings: Mapping[str, Any]
    schedule: Mapping[str, Any] | None
    version: int
    created_at: datetime
    updated_at: datetime
    tasks: tuple[StoredTask, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskDefinition:
    """A task as its user defines it."""

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)


class Jobs:
    """The stored jobs, by name."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(
        self,
        *,
        name: str,
        source: str,
        destination: str,
        type: JobType = JobType.STANDARD,
        settings: Mapping[str, Any] | None = None,
        schedule: Mapping[str, Any] | None = None,
        tasks: Sequence[TaskDefinition] = (),
        version: int | None = None,
    ) -> StoredJob:
        """Store a new job, or (with the version seen last) replace the definition of the one of that name.

        Tasks are known by their names: one that stays, or comes back, keeps its id, generation and history. A schedule
        that is new or changed counts from this moment on.
        ConfigError if the name is taken, nothing has it, or two tasks share one; UserError if someone else changed it
        since.
        """
        _refuse_twins(name, tasks)
        with self._database.begin() as connection:
            edit_lock(connection)
            at = moment(connection)
            values = {
                "source": source,
                "destination": destination,
                "type": JobType(type).value,
                "settings": settings or {},
                "schedule": schedule,
                "updated_at": at,
            }
            if version is None:
                refuse_taken(connection, table, "job", fit("job", name))
                id, before = new_id(), None
                connection.execute(insert(table).values(id=id, name=name, version=1, created_at=at, **values))
            else:
                id = self._changeable(connection, name, version)
                before = connection.execute(select(table.c.schedule).where(table.c.id == id)).scalar()
                changes = {**values, "version": version + 1}
                connection.execute(update(table).where(table.c.id == id).values(**changes))
            schedules.note(connection, id, before, schedule, at)
            _put_tasks(connection, id, tasks, at)
            return self._get(connection, name)

    def get(self, name: str) -> StoredJob:
        """The job of that name; ConfigError, with names like it, if there is none."""
        with self._database.read() as connection:
            return self._get(connection, name)

    def all(self) -> tuple[StoredJob, ...]:
        """All of them, by name."""
        with self._database.read() as connection:
            return _records(connection)

    def rename(self, name: str, new: str) -> StoredJob:
        """Give it another name; its runs keep the name they had, and stay its runs."""
        with self._database.begin() as connection:
            edit_lock(connection)
            found = self._get(connection, name)
            if new != name:
                refuse_taken(connection, table, "job", fit("job", new))
            changes = {"name": new, "version": found.version + 1, "updated_at": moment(connection)}
            connection.execute(update(table).where(table.c.id == found.id).values(**changes))
            return self._get(connection, new)

    def delete(self, name: str) -> None:
        """Forget the job, its tasks and their positions; its runs stay, under the name the job had then."""
        with self._database.begin() as connection:
            edit_lock(connection)
            if not connection.execute(delete(table).where(table.c.name == name)).rowcount:
                raise unknown(connection, table, "job", name)

    def bump_generation(self, name: str, task_name: str) -> int:
        """Begin a task anew: its next generation, without a position. ConfigError if there is no such job or task."""
        with self._database.begin() as connection:
            edit_lock(connection)
            found = [one for one in self._get(connection, name).tasks if one.name == task_name]
            if not found:
                raise no_task(name, task_name)
            connection.execute(delete(position).where(position.c.task_id == found[0].id))
            bumped = update(task).where(task.c.id == found[0].id).values(generation=task.c.generation + 1)
            return int(connection.execute(bumped.returning(task.c.generation)).scalar_one())

    def _changeable(self, connection: Connection, name: str, version: int) -> str:
        found = connection.execute(select(table.c.id, table.c.version).where(table.c.name == name)).first()
        if found is None:
            raise unknown(connection, table, "job", name)
        if found.version != version:
            raise changed_meanwhile("job", name, version, found.version)
        return str(found.id)

    def _get(self, connection: Connection, name: str) -> StoredJob:
        found = _records(connection, table.c.name == name)
        if not found:
            raise unknown(connection, table, "job", name)
        return found[0]


def no_task(job: str, name: str) -> ConfigError:
    """The error for a task that a job doesn't have."""
    return ConfigError(f"the job {job!r} has no task {name!r}", hint="Look at the job's tasks.")


def _records(connection: Connection, *where: Any) -> tuple[StoredJob, ...]:
    jobs = connection.execute(select(table).where(*where)).all()
    ids = [found.id for found in jobs] if where else None
    known = select(task).where(task.c.removed_at.is_(None)).order_by(task.c.ordinal)
    tasks: dict[str, list[StoredTask]] = {}
    for row in connection.execute(known if ids is None else known.where(task.c.job_id.in_(ids))).mappings():
        kept = {key: value for key, value in row.items() if key not in ("job_id", "removed_at")}
        tasks.setdefault(row["job_id"], []).append(StoredTask(**kept))
    records = (
        StoredJob(**{**found._mapping, "type": JobType(found.type)}, tasks=tuple(tasks.get(found.id, ())))
        for found in jobs
    )
    return tuple(sorted(records, key=lambda record: record.name))


def _put_tasks(connection: Connection, job_id: str, wanted: Sequence[TaskDefinition], at: datetime) -> None:
    found = connection.execute(select(task.c.name, task.c.id).where(task.c.job_id == job_id))
    known: dict[str, int] = {row.name: row.id for row in found}
    gone = [known[name] for name in known.keys() - {one.name for one in wanted}]
    still_there = (task.c.id.in_(gone), task.c.removed_at.is_(None))
    connection.execute(update(task).where(*still_there).values(removed_at=at))
    for ordinal, one in enumerate(wanted):
        values = {"ordinal": ordinal, "settings": one.settings, "removed_at": None}
        if one.name in known:
            connection.execute(update(task).where(task.c.id == known[one.name]).values(**values))
        else:
            new = {"job_id": job_id, "name": one.name, "generation": 0, "known_since": at}
            connection.execute(insert(task).values(**values, **new))


def _refuse_twins(job: str, tasks: Sequence[TaskDefinition]) -> None:
    seen: set[str] = set()
    for one in tasks:
        if fit("task", one.name) in seen:
            raise ConfigError(f"the job {job!r} has two tasks {one.name!r}", hint="Give one of them another name.")
        seen.add(one.name)
