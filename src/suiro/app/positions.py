"""Positions of tasks: shown as they were saved last, set in the destination's marker, or reset."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from contextlib import ExitStack, closing
from typing import Any

from suiro.app.connections import connection
from suiro.app.documents import TaskDocument
from suiro.app.jobs import task_of
from suiro.app.lending import LentContext
from suiro.app.mapping import mapped_task
from suiro.app.metadata import Metadata
from suiro.app.opened import Connection
from suiro.app.running import new_run
from suiro.engine.context import RunContext
from suiro.engine.load import Load
from suiro.engine.mapped import carried_task, mapped_source
from suiro.engine.plan import plan_task, task_key
from suiro.engine.replicate import asked_source
from suiro.model.errors import ConfigError, UserError
from suiro.model.schema import ReadMode
from suiro.spi.destination import Marker
from suiro.store.jobs import StoredJob, StoredTask


def positions(job_name: str, metadata: Metadata, task: str | None = None) -> list[dict[str, Any]]:
    """The tasks of a job with the positions that were saved last; a copy: the destination's marker decides."""
    job = metadata.jobs.get(job_name)
    found = []
    for one in _tasks(job, task):
        saved = metadata.runs.position(job_name, one.name)
        kept = None if saved is None else {"position": saved.position, "run": saved.run, "saved_at": saved.saved_at}
        found.append({"task": one.name, "generation": one.generation, **(kept or {"position": None})})
    return found


def reset(job_name: str, metadata: Metadata, task: str | None = None) -> list[str]:
    """Have tasks begin anew with their next run; which. What is in their tables stays."""
    job = metadata.jobs.get(job_name)
    names = [one.name for one in _tasks(job, task)]
    for name in names:
        metadata.jobs.bump_generation(job_name, name)
    return names


def set_position(job_name: str, task: str, position: Mapping[str, Any], metadata: Metadata) -> None:
    """Have an incremental task go on from a position: the marker in its destination is moved there.

    ConfigError if the task isn't incremental, or the position has other parts than the source's last one; UserError
    if it never ran, for then no one knows what a position of the source is like, or while it runs.
    """
    job = metadata.jobs.get(job_name)
    (one,) = _tasks(job, task)
    saved = metadata.runs.position(job_name, one.name)
    if saved is None:
        raise UserError(f"{task} has no position yet", hint="Run it once; to begin somewhere, give it a start.")
    if set(saved.position) != set(position):
        raise ConfigError(
            f"a position of {task} has the parts {', '.join(sorted(saved.position))}",
            hint=f"Change what suiro position show {job_name} {task} prints.",
        )
    source, destination = connection(job.source), connection(job.destination)
    with LentContext(new_run()) as context:
        _move(one, source, destination, position, context)
        metadata.runs.save_position(job.id, one.name, dict(position), context.run)


def _move(
    one: StoredTask, source: Connection, destination: Connection, position: Mapping[str, Any], context: RunContext
) -> None:
    task, rules = task_of(TaskDocument.model_validate(one.settings))
    if task.read is ReadMode.FULL:
        raise ConfigError(f"{one.name} is read in full each time", hint="Only incremental tasks have a position.")
    with ExitStack() as stack:
        task = mapped_task(dataclasses.replace(task, generation=one.generation), rules, source, context).task
        writer = stack.enter_context(closing(destination.destination(context, source)))
        opened = stack.enter_context(closing(mapped_source(task, source.source(context), writer.capabilities, context)))
        reader = asked_source(carried_task(task), opened, context, stack)
        plan = plan_task(carried_task(task), reader, writer.capabilities)
        claim = writer.claim(task_key(plan, source.config.identity(), context.run), context.run)
        load = Load(writer, plan.spec, claim, task.verify)
        load.begin(plan.wanted(plan.incoming, writer.inspect(plan.table)))
        writer.publish(load.seal(), [Marker(key=claim.key, position=dict(position))], load.summary)


def _tasks(job: StoredJob, name: str | None) -> list[StoredTask]:
    found = [task for task in job.tasks if name is None or task.name == name]
    if not found:
        known = ", ".join(task.name for task in job.tasks)
        raise ConfigError(f"{job.name} has no task {name!r}", hint=f"Its tasks are: {known}.")
    return found
