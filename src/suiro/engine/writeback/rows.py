"""The warehouse's rows on their way to an application: read as a task reads them, in the fields' types, and hashed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from suiro.engine.canonical import Writer
from suiro.engine.context import RunContext
from suiro.engine.mapped import carried_task, mapped_source
from suiro.engine.replicate import asked_source
from suiro.engine.transform import RowFilter
from suiro.engine.writeback.shape import Shape
from suiro.engine.writeback.task import CAPABILITIES, Sides, WriteBack
from suiro.engine.writeback.values import Reasons, checked, emptied, fitted
from suiro.model.canonical import Form, kind_of
from suiro.model.change import Checkpoint, Rejected, Rows, SchemaChange, Truncate
from suiro.model.errors import DataError, InternalError
from suiro.spi.source import Source

MOST_ROWS: Final = 10_000  #: of one piece


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Some rows in the shape's schema; which of them are refused, and why; and how many a condition left out."""

    rows: pa.RecordBatch
    reasons: Reasons
    filtered: int


def opened_reader(
    work: WriteBack, sides: Sides, context: RunContext, stack: ExitStack
) -> tuple[Source[Any], WriteBack]:
    """The source as the task wants it read, closed with the stack, and the write-back whose task goes with it."""
    mapped = stack.enter_context(closing(mapped_source(work.task, sides.source(), CAPABILITIES, context)))
    carried = carried_task(work.task)
    return asked_source(carried, mapped, context, stack), replace(work, task=carried)


def pieces(shape: Shape, reader: Source[Any], context: RunContext) -> Iterator[Piece]:
    """All rows, in pieces of at most MOST_ROWS. DataError if the source can't read a row: none would be sent."""
    left = shape.work.task.limit
    filter_ = RowFilter(shape.plan.residual) if shape.plan.residual else None
    for read in sorted(reader.plan([shape.plan.selection]), key=lambda read: read.phase):
        last: object = None
        with closing(reader.read(read, None)) as changes:  # type: ignore[type-var]
            for change in changes:
                context.check_cancelled()
                last = change
                match change:
                    case Rows():
                        for start in range(0, change.data.num_rows, MOST_ROWS):
                            data = change.data.slice(start, MOST_ROWS)
                            kept = data if filter_ is None else filter_.keep(data)
                            cut = data.num_rows - kept.num_rows
                            if left is not None:
                                kept = kept.slice(0, left)
                                left -= kept.num_rows
                            yield _piece(shape, kept, cut)
                    case SchemaChange() | Truncate():
                        raise DataError(f"{change.stream} changed its columns while it was read", hint="Run again.")
                    case Rejected():
                        raise DataError(change.rows[0].reason, column=change.rows[0].column)
                    case Checkpoint():
                        continue
                if left == 0:
                    return
        if not isinstance(last, Checkpoint):
            raise InternalError(f"the read {read.key} ended without a checkpoint")


def _piece(shape: Shape, data: pa.RecordBatch, filtered: int) -> Piece:
    reasons = Reasons(data.num_rows)
    stream, names = shape.plan.selection.stream.schema, shape.plan.mapping
    sources = {name: source for source, name in names.items()}
    arrays = []
    for field in shape.schema:
        given = stream.field(sources[field.name])
        array = data.column(given.name)
        facts = shape.facts.fields.get(field.name)
        if facts is None or (field.name != shape.by and field.name not in shape.fields):
            arrays.append(array)  # of the key alone: no field takes it
            continue
        array = fitted(array, given, field, reasons)
        array = emptied(array, facts)
        checked(array, facts, reasons)
        arrays.append(array)
    rows = pa.RecordBatch.from_arrays(arrays, schema=shape.schema)
    for name in shape.key:
        empty = pc.is_null(rows.column(name)).to_numpy(zero_copy_only=False)
        reasons.add(empty, "KEY_IS_NULL", f"{name}: NULL, and it is the key", name)
    return Piece(rows=rows, reasons=reasons, filtered=filtered)


class Hasher:
    """Hashes rows and keys as canonical text (model/canonical), so that they stay the same from run to run."""

    def __init__(self, shape: Shape, pen: Any) -> None:
        self._shape, self._pen = shape, pen
        keys = {_key(number): shape.schema.field(name) for number, name in enumerate(shape.key)}
        self._fields = {**{f"v.{name}": shape.schema.field(name) for name in sorted(shape.fields)}, **keys}
        self._rows = _writer(self._fields, list(keys))
        self._keys = _writer(keys, list(keys))

    def rows(self, rows: pa.RecordBatch) -> tuple[pa.Array, pa.Array]:
        """Of each row the hash of its key, and that of all that is sent of it."""
        arrays = {f"v.{name}": rows.column(name) for name in self._shape.fields}
        batch = self._batch(self._fields, {**arrays, **self._key_arrays([rows.column(n) for n in self._shape.key])})
        found = self._ask(self._rows, batch, {"k": self._rows.key, "h": self._salted(self._rows.row)})
        return found.column("k").combine_chunks(), found.column("h").combine_chunks()

    def keys(self, *columns: pa.Array) -> pa.Array:
        """The hashes of keys alone, from their columns."""
        arrays = self._key_arrays(columns)
        fields = {name: self._fields[name] for name in arrays}
        return self._ask(self._keys, self._batch(fields, arrays), {"k": self._keys.key}).column("k").combine_chunks()

    def key_texts(self, rows: pa.RecordBatch) -> list[str | None]:
        """Keys as people read them."""
        columns = [rows.column(name) for name in self._shape.key]
        texts = [[None if value is None else str(value) for value in column.to_pylist()] for column in columns]
        return [", ".join(part if part is not None else "NULL" for part in parts) for parts in zip(*texts, strict=True)]

    def _salted(self, row: str) -> str:
        return f"md5('{self._shape.digest}' || {row})"

    def _key_arrays(self, columns: Any) -> dict[str, pa.Array]:
        folds = self._shape.folds_key
        return {_key(at): pc.utf8_lower(array) if folds else array for at, array in enumerate(columns)}

    def _batch(self, fields: Mapping[str, pa.Field], arrays: Mapping[str, pa.Array]) -> pa.RecordBatch:
        return pa.RecordBatch.from_arrays([arrays[name] for name in fields], names=list(fields))

    def _ask(self, writer: Writer, batch: pa.RecordBatch, expressions: Mapping[str, str]) -> pa.Table:
        self._pen.register("asked", writer.plain(batch))
        listed = ", ".join(f"{expression} AS {name}" for name, expression in expressions.items())
        found: pa.Table = self._pen.sql(f"SELECT {listed} FROM asked").to_arrow_table()
        self._pen.unregister("asked")
        return found


def _writer(fields: Mapping[str, pa.Field], key: list[str]) -> Writer:
    schema = pa.schema([field.with_name(name) for name, field in fields.items()])
    return Writer(schema, {name: kind_of(schema.field(name)) or Form.TEXT for name in fields}, key)


def _key(number: int) -> str:
    return f"k.{number}"
