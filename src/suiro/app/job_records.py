"""Jobs as records: what was set up, when they run next, and what a run would do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from typing import Any, Final

from suiro.app import schedules
from suiro.app.apply import check_job, put_job
from suiro.app.connections import connection
from suiro.app.documents import JobDocument, TaskDocument
from suiro.app.home import WAREHOUSE
from suiro.app.jobs import task_of, tasks_of_job
from suiro.app.lending import LentContext
from suiro.app.mapping import mapped_task
from suiro.app.metadata import Metadata
from suiro.app.opened import Connection
from suiro.app.running import new_run
from suiro.app.runs import plan_of
from suiro.app.writeback_plans import planned
from suiro.app.writeback_tasks import is_write_back
from suiro.engine.context import RunContext
from suiro.model.errors import ConfigError, SuiroError
from suiro.store.jobs import StoredJob
from suiro.store.names import changed_meanwhile, not_there

_PASSWORD: Final = re.compile(r"(://[^/@:]*):[^/@]*@")


def records(metadata: Metadata) -> list[dict[str, Any]]:
    """All jobs by name, each as `record` tells it."""
    kept = {str(one["job"]): one for one in schedules.schedules(metadata)}
    return [_record(job, kept.get(job.name)) for job in metadata.jobs.all()]


def record(name: str, metadata: Metadata) -> dict[str, Any]:
    """A job with its tasks, its document as YAML has it, and the next moments at which it runs by itself.

    ConfigError if there is none of that name.
    """
    job = metadata.jobs.get(name)
    return _record(job, None if job.schedule is None else schedules.schedule(name, metadata))


def _record(job: StoredJob, schedule: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "name": job.name,
        "type": job.type.value,
        "source": _without_password(job.source),
        "destination": _without_password(job.destination),
        "document": {
            **job.settings,
            "source": _without_password(job.source),
            "destination": _without_password(job.destination),
        },
        "tasks": [{"name": one.name, "generation": one.generation, "settings": one.settings} for one in job.tasks],
        "schedule": schedule and {name: value for name, value in schedule.items() if name != "job"},
        "version": job.version,
        "created_at": job.created_at,
        "updated_at": job.updated_at,
    }


def put(
    name: str, document: JobDocument, metadata: Metadata, *, version: int | None = None
) -> tuple[dict[str, Any], bool]:
    """Store a job between stored connections; and whether it is new. ConfigError for what can't be.

    `version`: the one that the change is of; UserError if somebody changed it since.
    """
    kept = {one.name: one for one in metadata.jobs.all()}.get(name)
    if version is not None and kept is None:
        raise not_there("job", name)
    if version is not None and kept is not None and kept.version != version:
        raise changed_meanwhile("job", name, version, kept.version)
    for side in (document.source, document.destination):
        if "://" in side:
            raise ConfigError(f"job {name}: a side of it is a URI", hint="Store a connection, and name it.")
    types = {one.name: one.connector for one in metadata.connections.all()}
    check_job(name, document, {WAREHOUSE, *types}, types)
    put_job(name, document, metadata)
    return record(name, metadata), kept is None


def plan(name: str, metadata: Metadata, task: str | None = None) -> list[dict[str, Any]]:
    """What a run of a job would do, task by task; one that can't be planned leaves the others' plans.

    A write-back's plan is kept, and may be applied. ConfigError if there is no such job or task.
    """
    job = metadata.jobs.get(name)
    document = JobDocument.model_validate(job.settings)
    source, destination = connection(job.source), connection(job.destination)
    with LentContext(new_run()) as context:
        tasks = tasks_of_job(document, lambda: list(_streams(source, context)))
        if task is not None and task not in tasks:
            raise ConfigError(f"{name} has no task {task!r}", hint=f"Its tasks are: {', '.join(tasks)}.")
        wanted = {one: said for one, said in tasks.items() if task in (None, one)}
        return [
            _planned_write(name, one, metadata)
            if is_write_back(said)
            else _planned_copy(one, said, source, destination, context)
            for one, said in wanted.items()
        ]


def _planned_copy(
    name: str, document: TaskDocument, source: Connection, destination: Connection, context: RunContext
) -> dict[str, Any]:
    found = {"task": name, "kind": "copy"}
    try:
        task, rules = task_of(document)
        plan = plan_of(mapped_task(task, rules, source, context), source, destination, context)
    except SuiroError as error:
        failure = {"code": error.code, "message": error.message, "hint": error.hint}
        return {**found, "plan": None, "error": failure}
    return {**found, "plan": plan, "error": None}


def _planned_write(job: str, name: str, metadata: Metadata) -> dict[str, Any]:
    (found,) = planned(job, name, metadata)
    return {**found, "kind": "write-back"}


def _streams(source: Connection, context: RunContext) -> Iterator[str]:
    with closing(source.source(context)) as opened:
        for stream in opened.discover():
            yield stream.name


def _without_password(text: str) -> str:
    """A URI with its password and its query left out."""
    return _PASSWORD.sub(r"\1@", text).partition("?")[0] if "://" in text else text
