"""Runs: streams of one connection copied into tables of another."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any

from suiro.app.connections import connection
from suiro.app.lending import LentContext
from suiro.app.mapping import MappedTask, Rules, mapped_task
from suiro.app.opened import Connection
from suiro.app.statements import tasks_of_statements
from suiro.engine.context import RunContext
from suiro.engine.mapped import MappedSource, carried_task, mapped_source
from suiro.engine.plan import Plan, plan_task
from suiro.engine.readback import check_level
from suiro.engine.replicate import Systems, asked_source, replicate
from suiro.engine.retry import RetrySource
from suiro.model.errors import ConfigError
from suiro.model.job import Task
from suiro.model.run import Progress, Run, Status, TaskRun
from suiro.model.schema import Table
from suiro.model.types import logical_type
from suiro.spi.source import Source

Told = Callable[[Progress], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """What `suiro copy` was asked for. `streams` empty: all, but those that match a pattern of `exclude`."""

    source: str
    destination: str
    streams: tuple[str, ...]
    exclude: tuple[str, ...] = ()
    statements: tuple[str, ...] = ()  #: REPLICATE statements, instead of streams
    task: Task  #: the settings that all tasks share; its stream is none
    mapping: Rules = field(default_factory=Rules)
    run: str | None = None


class Copying:
    """A copy under way: run it in one thread, cancel it from another."""

    def __init__(self, copy: Copy, told: Told | None = None) -> None:
        self._copy, self._told = copy, told
        self._source, self._destination = connection(copy.source), connection(copy.destination)
        self.context = LentContext(copy.run or _new_run())

    def cancel(self) -> None:
        """Stop: what is under way is undone, what is published stays."""
        self.context.cancel()

    def run(self) -> Run:
        """Carry every stream, one after the other; a task that fails leaves the others' results."""
        started = time.monotonic()
        with self.context as context:
            done: list[TaskRun] = []
            for mapped in self._tasks(context):
                done.append(carried(mapped.task, self._source, self._destination, context, self._told))
                if context.cancelled:
                    break
        return Run(id=self.context.run, status=overall(done), seconds=time.monotonic() - started, tasks=tuple(done))

    def plan(self) -> list[dict[str, Any]]:
        """What `run` would do, as plain data: nothing is read but schemas, and nothing is changed in either system.

        Names that are proposed are written into Suiro's home, so that they can be seen and edited before a run.
        """
        with self.context as context:
            return [plan_of(mapped, self._source, self._destination, context) for mapped in self._tasks(context)]

    def _tasks(self, context: RunContext) -> list[MappedTask]:
        tasks = tasks_of(self._copy, self._source, context)
        return [mapped_task(task, self._copy.mapping, self._source, context) for task in tasks]


def carried(task: Task, source: Connection, destination: Connection, context: RunContext, told: Told | None) -> TaskRun:
    """Run one task; what its masks have cut is among the notes."""
    opened: list[MappedSource] = []
    done = replicate(carried_task(task), _systems(source, destination, context, task, opened), context, told)
    cut: dict[str, int] = {}
    for mapped in opened:
        cut = {name: cut.get(name, 0) + mapped.cut.get(name, 0) for name in {**cut, **mapped.cut}}
    again = " (rows that were read again after a lost connection are counted again)" if len(opened) > 1 else ""
    notes = [
        f"{n:,} values of {name} were cut to {task.masks[name].length} characters{again}." for name, n in cut.items()
    ]
    receipt = None if done.receipt is None else replace(done.receipt, truncated=sum(cut.values()))
    return replace(done, notes=(*done.notes, *notes), receipt=receipt)


def tasks_of(copy: Copy, source: Connection, context: RunContext) -> list[Task]:
    """A task for each stream or statement asked for."""
    if copy.statements:
        return tasks_of_statements(copy.statements, copy.task)
    if copy.streams:
        chosen: Sequence[str] = copy.streams
    else:
        with closing(source.source(context)) as opened:
            chosen = [s.name for s in opened.discover() if not any(fnmatchcase(s.name, p) for p in copy.exclude)]
        if not chosen:
            raise ConfigError(f"{source.name} has no streams to copy", hint="Check the connection and the excludes.")
    if len(chosen) > 1 and copy.task.table is not None:
        raise ConfigError("one table name can't serve several streams", hint="Leave the table out, or copy one stream.")
    return [replace(copy.task, stream=name) for name in chosen]


def plan_of(mapped: MappedTask, source: Connection, destination: Connection, context: RunContext) -> dict[str, Any]:
    """One task's plan as plain data."""
    task = mapped.task
    with ExitStack() as stack:
        writer = stack.enter_context(closing(destination.destination(context, source)))
        opened = stack.enter_context(closing(mapped_source(task, source.source(context), writer.capabilities, context)))
        reader = asked_source(carried_task(task), opened, context, stack)
        check_level(task, writer)
        plan = plan_task(carried_task(task), reader, writer.capabilities)
        current = writer.inspect(plan.table)
        wrong = plan.misfits(current)
        schema = plan.incoming if wrong else plan.wanted(plan.incoming, current).schema
    return {
        "stream": plan.selection.stream.name,
        **({} if task.query is None else query_plan(reader)),
        "table": plan.table,
        "exists": current is not None,
        "read": plan.selection.read_mode.value,
        "write": plan.spec.mode.value,
        "key": list(plan.spec.key),
        "cursor": plan.selection.cursor_field,
        "columns": _columns(plan, schema, current),
        "notes": list(plan.notes),
        **({} if mapped.names_file is None else {"names_file": str(mapped.names_file)}),
        **({"misfits": wrong} if task.existing else {}),
    }


def _columns(plan: Plan, schema: Any, current: Table | None) -> list[dict[str, Any]]:
    names = {name: source_name for source_name, name in plan.mapping.items()}
    masks = plan.task.masks
    return [
        {
            "source": names.get(field.name),
            "name": field.name,
            "type": logical_type(field) or str(field.type),
            "change": _change(field, current),
            **({"mask": str(masks[field.name])} if field.name in masks else {}),
        }
        for field in schema
    ]


def query_plan(source: Source[Any]) -> dict[str, Any]:
    """What of a query the source does, and what is left for DuckDB."""
    from suiro.engine.query.source import QuerySource

    source = source.base if isinstance(source, MappedSource) else source
    assert isinstance(source, QuerySource)
    return {"pushed": source.pushed, "residual": source.residual}


def overall(tasks: Sequence[TaskRun]) -> Status:
    """The run's status from its tasks'."""
    found = {task.status for task in tasks}
    for status in (Status.CANCELLED, Status.FAILED, Status.WARNING):
        if status in found:
            return status
    return Status.SUCCEEDED


def _change(field: Any, current: Table | None) -> str | None:
    if current is None:
        return None
    at = current.schema.get_field_index(field.name)
    if at < 0:
        return "added"
    return None if current.schema.field(at).type == field.type else "widened"


def _systems(
    source: Connection, destination: Connection, context: RunContext, task: Task, opened: list[MappedSource]
) -> Systems:
    """How to open both sides; the source as it is mapped, each one opened added to `opened`."""

    def reader() -> Source[Any]:
        kind = destination.connector.destination
        found = source.source(context)
        if kind is not None:
            found = mapped_source(task, found, kind.capabilities, context)
        if isinstance(found, MappedSource):
            opened.append(found)
        return RetrySource(found, destination.source(context)) if task.retry else found

    return Systems(
        source=reader,
        destination=lambda: destination.destination(context, source),
        identity=source.config.identity(),
    )


def _new_run() -> str:
    return time.strftime("%Y%m%dT%H%M%S", time.gmtime()) + "-" + uuid.uuid4().hex[:6]
