"""Rows as tuples of plain values that compare bit by bit: how the suites tell whether rows came back."""

from __future__ import annotations

import math
import struct
import uuid
from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from typing import Any

import pyarrow as pa

from suiro.model.types import DATE_INFINITY, MAY_BE_INFINITE, TIMESTAMP_INFINITY, is_text, logical_base, storage

Row = tuple[Hashable, ...]
Decode = Callable[[pa.ChunkedArray, pa.Field], pa.ChunkedArray]


def cells(data: pa.Table | pa.RecordBatch) -> list[Row]:
    """Each row as a tuple: dates and times as integers, floats as bits (all NaN alike), lists as tuples."""
    columns = [_column(data.column(i)) for i in range(data.num_columns)]
    return list(zip(*columns, strict=True)) if columns else [()] * data.num_rows


def decoded(column: pa.ChunkedArray, field: pa.Field) -> pa.ChunkedArray:
    """What a system gave back, in the type that was given: by a cast, which raises where values don't fit.

    A text form is read as that type's own text (ISO dates and times, hexadecimal UUIDs).
    """
    column, wanted = _plain(column), storage(field.type)
    if column.type == wanted:
        return column
    if pa.types.is_null(wanted) and column.null_count == len(column):
        return pa.chunked_array([pa.nulls(len(column))])
    if is_text(column.type) and logical_base(field) in MAY_BE_INFINITE:
        return _perhaps_endless(column, field)
    if field.type == pa.uuid() and is_text(column.type):
        return pa.chunked_array([[None if v is None else uuid.UUID(v).bytes for v in column.to_pylist()]], wanted)
    return column.cast(wanted)


def differences(expected: pa.Table, found: pa.Table | None, decode: Decode = decoded) -> list[str]:
    """Sentences on where the rows that were found are not those expected, whatever their order; empty when equal."""
    if found is None:
        return ["there is no such table"]
    if sorted(expected.column_names) != sorted(found.column_names):
        return [f"columns: expected {expected.column_names}, found {found.column_names}"]
    said, columns = [], []
    for field in expected.schema:
        try:
            columns.append(decode(found.column(field.name), field))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
            said.append(f"{field.name}: {found.schema.field(field.name).type} is not {field.type}: {error}")
    if said:
        return said
    wanted, there = Counter(cells(expected)), Counter(cells(pa.table(columns, names=expected.column_names)))
    said += [f"missing {count} x {_short(row)}" for row, count in list((wanted - there).items())[:5]]
    said += [f"too many {count} x {_short(row)}" for row, count in list((there - wanted).items())[:5]]
    return said


def assert_rows(expected: pa.Table, found: pa.Table | None, decode: Decode = decoded, when: str = "") -> None:
    """AssertionError with the differences, if there are any."""
    said = differences(expected, found, decode)
    if said:
        raise AssertionError("; ".join([*([when] if when else []), *said]))


def together(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> pa.Table:
    """Batches as one table; its schema is that of the first batch, or `schema` where there is none."""
    found = list(batches)
    return pa.Table.from_batches(found, found[0].schema if found else schema)


def _perhaps_endless(column: pa.ChunkedArray, field: pa.Field) -> pa.ChunkedArray:
    """Dates and timestamps from text in which `infinity` and `-infinity` stand for the sentinels."""
    top, width = (DATE_INFINITY, pa.int32()) if pa.types.is_date32(field.type) else (TIMESTAMP_INFINITY, pa.int64())
    endless = {"infinity": top, "-infinity": -top}
    values = [
        endless.get(text, None if text is None else pa.scalar(text).cast(field.type).cast(width).as_py())
        for text in column.to_pylist()
    ]
    return pa.chunked_array([pa.array(values, width).cast(field.type)])


def _plain(column: pa.ChunkedArray | pa.Array) -> pa.ChunkedArray:
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    plain = [c.storage if isinstance(c, pa.ExtensionArray) else c for c in chunks]
    return pa.chunked_array(plain, storage(column.type))


def _column(column: pa.ChunkedArray | pa.Array) -> list[Hashable]:
    column = _plain(column)
    type_ = column.type
    if pa.types.is_date32(type_) or pa.types.is_time32(type_):
        column = column.cast(pa.int32())
    elif pa.types.is_temporal(type_) and not pa.types.is_interval(type_):
        column = column.cast(pa.int64())
    return [_cell(value) for value in column.to_pylist()]


def _cell(value: Any) -> Hashable:
    match value:
        case float():
            return "NaN" if math.isnan(value) else struct.pack(">d", value)
        case list():
            return tuple(_cell(v) for v in value)
        case dict():
            return tuple((k, _cell(v)) for k, v in value.items())
        case _:
            found: Hashable = value
            return found


def _short(row: Row) -> str:
    text = repr(row)
    return text if len(text) <= 200 else f"{text[:200]}..."
