"""The first rows of what a load.yml reads, after its filters."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from suiro.app.jobs import task_of
from suiro.app.metadata import metadata
from suiro.app.treasure.load_yml import LoadYml
from suiro.app.treasure.sources import input_of, streaming
from suiro.app.treasure.task import made
from suiro.engine.context import RunContext
from suiro.engine.mapped import carried_task, mapped_source
from suiro.engine.plan import plan_task
from suiro.engine.replicate import asked_source
from suiro.model.change import Rejected, Rows
from suiro.model.errors import InternalError
from suiro.model.job import Task
from suiro.model.selection import WriteMode
from suiro.spi.destination import Atomicity, Capabilities
from suiro.spi.source import Source

_ANY = Capabilities(  # a table that takes every name
    write_modes=dict.fromkeys(WriteMode, Atomicity.TRANSACTION), max_identifier=1024, folds_case=False
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """Columns by name and Treasure Data's type, rows as plain values, and sentences for the user."""

    heads: tuple[tuple[str, str], ...]
    rows: list[list[Any]]
    notes: tuple[str, ...]


def preview(load: LoadYml, rows: int) -> Preview:
    """The first rows. Nothing is changed anywhere."""
    given = input_of(load, "preview", metadata())
    with streaming(load, given) as (_, stream, context), ExitStack() as stack:
        asked = made(load, stream, None, once=True)
        task, _ = task_of(asked.task)
        source = stack.enter_context(closing(mapped_source(task, given.connection.source(context), _ANY, context)))
        found: list[list[Any]] = []
        rejected: list[str] = []
        for change in _changes(carried_task(task), source, context, stack):
            if isinstance(change, Rejected):
                rejected += [row.reason for row in change.rows]
            else:
                found += _plain(change.data.slice(0, rows - len(found)), [name for name, _ in asked.heads])
            if len(found) >= rows:
                break
    notes = asked.notes
    if rejected:
        notes = (*notes, f"Left out so far, for they can't be read: {len(rejected):,}. The first: {rejected[0]}.")
    return Preview(heads=asked.heads, rows=found, notes=notes)


def _changes(task: Task, source: Source[Any], context: RunContext, stack: ExitStack) -> Iterator[Rows | Rejected]:
    """Rows under their names in the table."""
    reader = asked_source(task, source, context, stack)
    plan = plan_task(task, reader, _ANY)
    for read in reader.plan([plan.selection]):
        with closing(reader.read(read, None)) as changes:  # type: ignore[type-var]
            for change in changes:
                if isinstance(change, Rows):
                    names = [plan.mapping.get(name, name) for name in change.data.schema.names]
                    yield Rows(change.stream, change.data.rename_columns(names))
                elif isinstance(change, Rejected):
                    yield change


def _plain(data: pa.RecordBatch, names: list[str]) -> list[list[Any]]:
    missing = [name for name in names if name not in data.schema.names]
    if missing:
        raise InternalError(f"a preview lacks the column {missing[0]}")
    columns = [[_value(value) for value in _values(data.column(name))] for name in names]
    return [list(row) for row in zip(*columns, strict=True)]


def _values(array: pa.Array) -> list[Any]:
    """Values as Python's; those that Python's calendar lacks, as their number."""
    plain = array.storage if isinstance(array, pa.ExtensionArray) and array.type == pa.json_() else array
    try:
        return list(plain.to_pylist())
    except (ValueError, OverflowError):
        return list(plain.view(pa.int32() if plain.type.bit_width == 32 else pa.int64()).to_pylist())


def _value(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f UTC") if value.tzinfo else str(value)
    return value if value is None or isinstance(value, (bool, int, float)) else str(value)
