"""Verification: a source's stream compared with a destination's table, and the table repaired."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

import pyarrow as pa

from suiro.app.connections import connection
from suiro.app.documents import TaskDocument
from suiro.app.jobs import task_of
from suiro.app.lending import LentContext
from suiro.app.mapping import Rules, mapped_task
from suiro.app.metadata import Metadata
from suiro.app.opened import Connection
from suiro.app.running import new_run
from suiro.engine.context import RunContext
from suiro.engine.diff import Comparison, Findings
from suiro.engine.mapped import carried_task, mapped_source
from suiro.engine.plan import Plan, plan_task
from suiro.engine.repair import repair
from suiro.engine.replicate import asked_source
from suiro.engine.sides import Side
from suiro.model.canonical import Form, form_of
from suiro.model.errors import ConfigError, SuiroError, UserError
from suiro.model.job import Task
from suiro.model.schema import ReadMode, Stream, Table
from suiro.model.selection import CURRENT, DELETED_AT, Selection
from suiro.spi.destination import Destination
from suiro.spi.powers import Hashing, OffersQueries, Queries
from suiro.spi.source import Source
from suiro.store.jobs import StoredTask

_WAYS: Final = {True: "by the system itself", False: "by Suiro"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """How a comparison is made and what becomes of what it finds."""

    buckets: int | None = None
    most: int = 20  #: rows of each kind that are named
    values: bool = False  #: and shown
    repair: bool = False


class Verifying:
    """A verification under way: run it in one thread, cancel it from another. `tell` hears how far it is."""

    def __init__(self, asked: Asked, tell: Callable[[str], None]) -> None:
        self._asked, self._tell = asked, tell
        self._context = LentContext(new_run())

    def cancel(self) -> None:
        """Stop: a repair under way is undone."""
        self._context.cancel()

    def copy(self, task: Task, source: str, destination: str) -> list[dict[str, Any]]:
        """Compare one stream with one table, as `verify` tells it."""
        sides = connection(source), connection(destination)
        with self._context as context:
            return [verify(task, Rules(), *sides, self._asked, context, self._tell)]

    def job(self, name: str, task: str | None, metadata: Metadata) -> list[dict[str, Any]]:
        """Compare the tasks of a job, or one of them; a task that can't be compared leaves the others' results."""
        job = metadata.jobs.get(name)
        tasks = [one for one in job.tasks if task is None or one.name == task]
        if not tasks:
            known = ", ".join(one.name for one in job.tasks)
            raise ConfigError(f"{job.name} has no task {task!r}", hint=f"Its tasks are: {known}.")
        sides = connection(job.source), connection(job.destination)
        with self._context as context:
            return [self._task(one, *sides, context) for one in tasks]

    def _task(
        self, one: StoredTask, source: Connection, destination: Connection, context: RunContext
    ) -> dict[str, Any]:
        def tell(text: str) -> None:
            self._tell(f"{one.name}: {text}")

        said, rules = task_of(TaskDocument.model_validate(one.settings))
        said = replace(said, generation=one.generation)
        try:
            done = verify(said, rules, source, destination, self._asked, context, tell)
        except SuiroError as error:
            context.check_cancelled()
            failure = {"code": error.code, "message": error.message, "hint": error.hint}
            done = {"stream": said.stream, "table": said.table or said.stream, "status": "failed", "error": failure}
        return {"task": one.name, **done}


@dataclass(slots=True, kw_only=True)
class _Opened:
    """Both sides of one task."""

    task: Task
    plan: Plan
    reader: Source[Any]
    writer: Destination[Any]
    comparison: Comparison
    key: tuple[str, ...]
    forms: Mapping[str, Form]  #: by the source's names
    notes: list[str] = field(default_factory=list)


def verify(
    task: Task,
    rules: Rules,
    source: Connection,
    destination: Connection,
    asked: Asked,
    context: RunContext,
    tell: Callable[[str], None],
) -> dict[str, Any]:
    """Compare one task's stream with its table; what was found as plain data, repaired where that was asked for."""
    started = time.monotonic()
    task = mapped_task(task, rules, source, context).task
    with ExitStack() as stack:
        opened = _open(task, source, destination, context, stack, tell)
        findings = opened.comparison.run(buckets=asked.buckets, most=asked.most, values=asked.values)
        found = _told(opened, findings)
        if asked.repair and not findings.equal:
            tell("repairing")
            done = repair(
                opened.task,
                opened.plan,
                opened.reader,
                opened.writer,
                source.config.identity(),
                opened.comparison,
                findings,
                context,
            )
            found["repair"] = {
                "carried": done.carried,
                "taken_away": done.taken_away,
                "receipt": asdict(done.receipt) | {"adds_up": done.receipt.adds_up},
                "notes": list(done.notes),
            }
    if "repair" in found:
        again = verify(task, Rules(), source, destination, replace(asked, repair=False), context, tell)
        found["repair"]["equal"] = again["equal"]
        found["status"] = "repaired" if again["equal"] else "different"
        found["repair"]["left"] = {kind: again[kind]["rows"] for kind in ("missing", "different", "extra")}
    return found | {"seconds": round(time.monotonic() - started, 3)}


# -- both sides --------------------------------------------------------------------------------------------------------


def _open(
    task: Task,
    source: Connection,
    destination: Connection,
    context: RunContext,
    stack: ExitStack,
    tell: Callable[[str], None],
) -> _Opened:
    if task.limit is not None:
        raise ConfigError("a copy with a limit has no table to compare a stream with", hint="Leave the limit out.")
    writer = stack.enter_context(closing(destination.destination(context, source)))
    below = mapped_source(task, source.source(context), writer.capabilities, context)
    opened = stack.enter_context(closing(below))
    carried = carried_task(task)
    reader = asked_source(carried, opened, context, stack)
    plan = plan_task(carried, reader, writer.capabilities)
    table = writer.inspect(plan.table)
    if table is None:
        raise UserError(
            f"{destination.name} has no table {plan.table}", hint="Copy the stream first, or name the table."
        )
    kept = stack.enter_context(closing(destination.source(context)))
    stream = _stream_of(kept, plan.table)
    names, forms, notes = _compared(plan, table, stream)
    key = _key(plan, table, names)
    if not key:
        notes.append("There is no key: rows are compared as wholes, and one that changed is one missing and one extra.")
        key = tuple(forms)
    if plan.task.read is ReadMode.INCREMENTAL:
        notes.append(
            "The task reads on from a position: what came or changed since its last run counts as a difference."
        )
    here = Hashing(selection=_source_selection(plan, forms), forms=forms, key=key)
    where = _holding(kept, stream)
    there = Hashing(
        selection=Selection(
            stream=stream,
            columns=tuple(name for name in stream.schema.names if name in names.values()),
            where=where if isinstance(kept, Queries) else None,
        ),
        forms={names[name]: form for name, form in forms.items()},
        key=tuple(names[name] for name in key),
    )
    sides = (
        Side("source", reader, here, plan.residual, context),
        Side("target", kept, there, None if isinstance(kept, Queries) else where, context),
    )
    columns = {name: names[name] for name in forms}
    comparison = stack.enter_context(closing(Comparison(*sides, columns, context, tell)))
    return _Opened(
        task=carried,
        plan=plan,
        reader=reader,
        writer=writer,
        comparison=comparison,
        key=key,
        forms=forms,
        notes=notes,
    )


def _stream_of(kept: Source[Any], table: str) -> Stream:
    """The table as a stream, whether or not its name says its schema."""
    try:
        return kept.find(table)
    except ConfigError:
        if isinstance(kept, OffersQueries):
            named_ = kept.sql_name(Stream(name=table, schema=pa.schema([])))
            for stream in kept.discover():
                if kept.sql_name(stream) == named_:
                    return stream
        raise


def _compared(plan: Plan, table: Table, stream: Stream) -> tuple[dict[str, str], dict[str, Form], list[str]]:
    """The table's names of the columns that are compared, their forms, and sentences on those that aren't."""
    folded = {name.lower(): name for name in stream.schema.names}
    names, forms, notes = dict[str, str](), dict[str, Form](), list[str]()
    for name, wanted in plan.mapping.items():
        own = wanted if wanted in stream.schema.names else folded.get(wanted.lower())
        if own is None or own not in table.schema.names:
            notes.append(f"Column {wanted} isn't in the table: not compared.")
            continue
        time_ = plan.task.times.get(wanted)
        if time_ is not None and time_.column is None:
            notes.append(f"Column {wanted} holds the time of a run: not compared.")
            continue
        form = form_of(plan.selection.stream.schema.field(name), table.schema.field(own))
        if form is None:
            types = f"{plan.selection.stream.schema.field(name).type} and {table.schema.field(own).type}"
            notes.append(f"Column {wanted} is {types}, which have no text in common: not compared.")
            continue
        names[name], forms[name] = own, form
    if not forms:
        raise ConfigError(f"{plan.table} has no column of {plan.selection.stream.name}", hint="Check the names.")
    return names, forms, notes


def _key(plan: Plan, table: Table, names: Mapping[str, str]) -> tuple[str, ...]:
    """The columns of the source that identify a row: those named, or the stream's, or the table's own."""
    sources = {own: name for name, own in names.items()}
    table_key = tuple(sources.get(name, "") for name in table.primary_key)
    for key in (plan.task.key, plan.selection.stream.primary_key, table_key):
        if key and set(key) <= set(names):
            return tuple(key)
    return ()


def _source_selection(plan: Plan, forms: Mapping[str, Form]) -> Selection:
    """All rows that the task carries, from its first on."""
    names = tuple(name for name in plan.selection.stream.schema.names if name in forms)
    return replace(plan.selection, columns=names, read_mode=ReadMode.FULL, look_back=None, window=None, rejects=False)


def _holding(kept: Source[Any], stream: Stream) -> str | None:
    """The condition on rows that are there: not marked as deleted, and no version that ended."""
    from sqlglot import exp  # on use: it takes long to import

    conditions: list[exp.Expression] = []
    if DELETED_AT in stream.schema.names:
        conditions.append(exp.column(DELETED_AT, quoted=True).is_(exp.null()))
    if CURRENT in stream.schema.names:
        conditions.append(exp.column(CURRENT, quoted=True).eq(exp.true()))
    if not conditions:
        return None
    dialect = kept.sql_dialect if isinstance(kept, Queries) else "duckdb"
    return exp.and_(*conditions).sql(dialect)


# -- what is told ------------------------------------------------------------------------------------------------------


def _told(opened: _Opened, findings: Findings) -> dict[str, Any]:
    comparison, notes = opened.comparison, list(opened.notes)
    sides: Sequence[Side] = (comparison.source, comparison.target)
    if not findings.whole:
        notes.append(
            f"Too much differs to be listed: {findings.looked_at:,} rows were looked at, in "
            f"{len(comparison.looked):,} of the {findings.differing:,} buckets that differ; numbers are of these alone."
        )
    kinds = {name: getattr(findings, name) for name in ("missing", "different", "extra")}
    return {
        "stream": opened.plan.selection.stream.name,
        "table": opened.plan.table,
        "status": "equal" if findings.equal else "different",
        "equal": findings.equal,
        "source_rows": findings.source_rows,
        "table_rows": findings.table_rows,
        **{name: {"rows": kind.number, "named": [_row(row) for row in kind.rows]} for name, kind in kinds.items()},
        "whole": findings.whole,
        "key": list(opened.key),
        "columns": {name: form.value for name, form in opened.forms.items()},
        "buckets": {"number": findings.buckets, "different": findings.differing},
        "hashed": {
            side.name: {"way": _WAYS[side.inside], "seconds": round(findings.seconds[side.name], 3)} for side in sides
        },
        "notes": notes,
    }


def _row(row: Any) -> dict[str, Any]:
    told: dict[str, Any] = {"key": dict(row.key)}
    if row.columns:
        told["columns"] = list(row.columns)
    if row.values is not None:
        told["values"] = {name: {"source": here, "table": there} for name, (here, there) in row.values.items()}
    return told
