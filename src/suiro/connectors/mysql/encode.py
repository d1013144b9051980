"""Arrow columns as the text that LOAD DATA and INSERT read, made a column at a time; what would change is refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from suiro.model.errors import DataError
from suiro.model.types import is_bytes, is_text, storage

FIRST_DAY, LAST_DAY = -719_162, 2_932_896  #: 0001-01-01 and 9999-12-31
_MICROSECONDS = 86_400_000_000  #: in a day
FIRST_MOMENT, LAST_MOMENT = FIRST_DAY * _MICROSECONDS, (LAST_DAY + 1) * _MICROSECONDS - 1
_SLICE = 4 * 2**20  #: bytes of Arrow that become text at once

_LOADED: Final = ((b"\\", b"\\\\"), (b"\t", b"\\t"), (b"\n", b"\\n"))
_INSERTED: Final = ((b"\\", b"\\\\"), (b"'", b"\\'"))


def slices(data: pa.RecordBatch, most_bytes: int = _SLICE) -> Iterator[pa.RecordBatch]:
    """The batch in parts of about so many bytes."""
    rows = max(1, int(data.num_rows * most_bytes / max(data.nbytes, 1)))
    for start in range(0, data.num_rows, rows):
        yield data.slice(start, rows)


def lines(data: pa.RecordBatch) -> memoryview:
    r"""Rows as LOAD DATA reads them: a tab after every field, `\N` for NULL, a backslash before what would end one."""
    columns = [_escaped(as_text(field, column), _LOADED) for field, column in _pairs(data)]
    end, tab = pa.scalar(b"\n", pa.binary()), pa.scalar(b"\t", pa.binary())
    joined = pc.binary_join_element_wise(*columns, end, tab, null_handling="replace", null_replacement=b"\\N")
    _, offsets, values = joined.buffers()
    if not len(joined) or values is None:
        return memoryview(b"")
    ends = np.frombuffer(offsets, np.int32)[joined.offset : joined.offset + len(joined) + 1]
    return memoryview(values)[int(ends[0]) : int(ends[-1])]


def tuples(data: pa.RecordBatch) -> list[bytes]:
    """Rows as the parentheses of an INSERT's VALUES."""
    columns = []
    for field, column in _pairs(data):
        quote = b"_binary'" if is_binary(field.type) else b"'"
        text = _escaped(as_text(field, column), _INSERTED)
        columns.append(pc.binary_join_element_wise(quote, text, b"'", b""))
    joined = pc.binary_join_element_wise(
        *columns, pa.scalar(b",", pa.binary()), null_handling="replace", null_replacement=b"NULL"
    )
    rows: list[bytes] = pc.binary_join_element_wise(b"(", joined, b")", b"").to_pylist()
    return rows


def is_binary(type_: pa.DataType) -> bool:
    """Whether a column of this type holds bytes rather than text."""
    return bool(is_bytes(type_) or pa.types.is_fixed_size_binary(type_))


def as_text(field: pa.Field, column: pa.Array) -> pa.Array:
    """The values in the server's notation, as binary. DataError names the column whose values it would change."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if column.type == pa.uuid():
        return _uuids(column.storage)
    plain = column.storage if isinstance(column, pa.ExtensionArray) else column
    type_ = storage(column.type)
    if is_text(type_) or is_binary(type_):
        return plain.cast(pa.binary())
    if pa.types.is_boolean(type_):
        return plain.cast(pa.int8()).cast(pa.string()).cast(pa.binary())
    if pa.types.is_floating(type_):
        return _floats(field.name, plain)
    if pa.types.is_date(type_):
        return _days(field.name, plain.cast(pa.date32()))
    if pa.types.is_timestamp(type_):
        return _moments(field.name, plain)
    if pa.types.is_time(type_):
        return _clocks(field.name, plain)
    if pa.types.is_decimal(type_) and type_.scale < 0:
        plain = plain.cast(pa.decimal256(type_.precision - type_.scale, 0))
    return plain.cast(pa.string()).cast(pa.binary())


def _pairs(data: pa.RecordBatch) -> Iterator[tuple[pa.Field, pa.Array]]:
    return zip(data.schema, data.columns, strict=True)


def _escaped(column: pa.Array, marks: tuple[tuple[bytes, bytes], ...]) -> pa.Array:
    values = column.buffers()[2]
    if values is None:
        return column
    offsets = np.frombuffer(column.buffers()[1], np.int32)
    first, last = int(offsets[column.offset]), int(offsets[column.offset + len(column)])
    held = np.frombuffer(values, np.uint8)[first:last]
    for mark, instead in marks:
        if (held == mark[0]).any():
            column = pc.replace_substring(column, pattern=mark, replacement=instead)
    return column


def _floats(name: str, column: pa.Array) -> pa.Array:
    wide = column.cast(pa.float64())  # a float's shortest digits could round to another one on their way over a double
    held = wide.drop_null().to_numpy(zero_copy_only=False)
    if not np.isfinite(held).all():
        raise DataError(
            f"column {name} holds NaN or infinity, which MySQL and MariaDB lack", hint="Leave those rows out."
        )
    if ((held == 0) & np.signbit(held)).any():
        raise DataError(
            f"column {name} holds -0.0, which MySQL and MariaDB turn into 0.0", hint="Leave those rows out."
        )
    return wide.cast(pa.string()).cast(pa.binary())


def _days(name: str, column: pa.Array) -> pa.Array:
    _refuse_outside(name, column.cast(pa.int32()), FIRST_DAY, LAST_DAY)
    return column.cast(pa.string()).cast(pa.binary())


def _moments(name: str, column: pa.Array) -> pa.Array:
    micros = _micros(name, column, pa.timestamp("us", column.type.tz))
    _refuse_outside(name, micros.cast(pa.int64()), FIRST_MOMENT, LAST_MOMENT)
    return micros.cast(pa.timestamp("us")).cast(pa.string()).cast(pa.binary())


def _clocks(name: str, column: pa.Array) -> pa.Array:
    micros = _micros(name, column, pa.time64("us"))
    numbers = micros.cast(pa.int64())
    _refuse_outside(name, numbers, 0, _MICROSECONDS)
    midnight = pc.equal(numbers, _MICROSECONDS)  # 24:00:00, which Arrow can't print
    if pc.any(midnight).as_py():
        shown = pc.if_else(midnight, pa.scalar(0, pa.time64("us")), micros).cast(pa.string())
        return pc.if_else(midnight, "24:00:00", shown).cast(pa.binary())
    return micros.cast(pa.string()).cast(pa.binary())


def _micros(name: str, column: pa.Array, type_: pa.DataType) -> pa.Array:
    try:
        return column.cast(type_)
    except pa.ArrowInvalid as error:
        raise DataError(
            f"column {name} doesn't fit into microseconds, in which times are kept",
            hint="Round the column at the source, or read it as text.",
        ) from error


def _refuse_outside(name: str, numbers: pa.Array, least: int, greatest: int) -> None:
    found: Any = pc.min_max(numbers).as_py()
    if found["min"] is not None and (found["min"] < least or found["max"] > greatest):
        raise DataError(
            f"column {name} holds infinity, or a value outside the years 1 to 9999 or outside one day",
            hint="MySQL and MariaDB have no such value: leave those rows out, or carry the column as text.",
        )


_DIGITS: Final = np.frombuffer(b"0123456789abcdef", np.uint8)
_HYPHENS: Final = (8, 13, 18, 23)


def _uuids(column: pa.Array) -> pa.Array:
    """UUIDs as 36 characters, made 32 digits at a time."""
    data = np.frombuffer(column.buffers()[1] or b"", np.uint8)[column.offset * 16 : (column.offset + len(column)) * 16]
    raw = data.reshape(len(column), 16)
    digits = np.empty((len(column), 32), np.uint8)
    digits[:, 0::2], digits[:, 1::2] = _DIGITS[raw >> 4], _DIGITS[raw & 15]
    text = np.full((len(column), 36), ord("-"), np.uint8)
    text[:, [at for at in range(36) if at not in _HYPHENS]] = digits
    whole = pa.FixedSizeBinaryArray.from_buffers(pa.binary(36), len(column), [None, pa.py_buffer(text.tobytes())])
    return pc.if_else(column.is_valid(), whole.cast(pa.binary()), pa.scalar(None, pa.binary()))
