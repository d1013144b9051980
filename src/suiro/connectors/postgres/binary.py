"""Rows as binary COPY takes them, made column by column: no Python object and no call per row.

Each column becomes one or two arrays of byte strings, its length and its value; joined row by row they are the rows.
Source: "Binary Format" of COPY in PostgreSQL's documentation, and the receive functions of its types.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from suiro.connectors.postgres.numerics import numeric_bytes
from suiro.connectors.postgres.types import sql_type
from suiro.model.errors import DataError, InternalError
from suiro.model.types import DATE_INFINITY, MAY_BE_INFINITE, TIMESTAMP_INFINITY, is_text, logical_base

HEADER: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER: Final = b"\xff\xff"

_ROWS: Final = 16_384  #: encoded at once, or fewer:
_BYTES: Final = 4 * 2**20  #: in Arrow
EPOCH_DAYS: Final = 10_957  #: 2000-01-01, days since 1970-01-01
EPOCH_MICROSECONDS: Final = EPOCH_DAYS * 86_400_000_000
_FIRST_MOMENT: Final = -2_440_588 * 86_400_000_000  #: microseconds since 1970; the last one is beyond 64 bits
_NULL: Final = b"\xff\xff\xff\xff"  #: the length of a NULL
OID_OF: Final = {
    "boolean": 16,
    "bytea": 17,
    "bigint": 20,
    "smallint": 21,
    "integer": 23,
    "text": 25,
    "json": 114,
    "character": 1042,
    "character varying": 1043,
    "real": 700,
    "double precision": 701,
    "date": 1082,
    "time without time zone": 1083,
    "timestamp without time zone": 1114,
    "timestamp with time zone": 1184,
    "numeric": 1700,
    "uuid": 2950,
    "jsonb": 3802,
}  #: pg_type.oid, the same in all databases

Numbers = npt.NDArray[Any]


def rows_of(batch: pa.RecordBatch, fields: Sequence[pa.Field]) -> Iterator[memoryview]:
    """The rows of a batch that has the fields' types, in pieces; the table's columns have the types of `sql_type`.

    DataError names a column that holds what its type can't.
    """
    empty = pa.scalar(b"", pa.binary())
    rows = max(1, min(_ROWS, batch.num_rows * _BYTES // max(batch.nbytes, 1)))
    for start in range(0, batch.num_rows, rows):
        part = batch.slice(start, rows)
        parts: list[Any] = [pa.scalar(len(fields).to_bytes(2, "big"), pa.binary())]
        for array, field in zip(part.columns, fields, strict=True):
            parts += _column(array, field)
        if len(parts) == 1:
            yield memoryview(b"\0\0" * part.num_rows)
            continue
        yield _content(pc.binary_join_element_wise(*parts, empty))


def _column(array: pa.Array, field: pa.Field) -> list[pa.Array]:
    """A column's lengths and values; together they are what COPY takes for each row."""
    array = _plain(array)
    type_ = array.type
    if pa.types.is_list(type_):
        return _lists(array, field)
    if is_text(type_) or pa.types.is_binary(type_):
        return _bytes(array, field)
    made = _string(_fixed(array, field))
    return [made if not array.null_count else pc.if_else(array.is_valid(), made, _NULL)]


def _plain(array: pa.Array) -> pa.Array:
    """The values in one of the few Arrow types that are written."""
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    type_ = array.type
    target = _WRITTEN_AS.get(type_)
    if target is not None:
        return array.cast(target)
    if pa.types.is_timestamp(type_) and type_.unit != "us":
        return array.cast(pa.timestamp("us", type_.tz))
    if pa.types.is_decimal(type_) and type_.scale < 0:
        return array.cast(pa.decimal256(type_.precision - type_.scale, 0))
    if pa.types.is_decimal(type_) and type_.bit_width < 128:
        return array.cast(pa.decimal128(type_.precision, type_.scale))
    return array


_WRITTEN_AS: Final = {
    pa.int8(): pa.int16(),
    pa.uint8(): pa.int16(),
    pa.uint16(): pa.int32(),
    pa.uint32(): pa.int64(),
    pa.uint64(): pa.decimal128(20, 0),
    pa.float16(): pa.float32(),
    pa.large_string(): pa.string(),
    pa.string_view(): pa.string(),
    pa.large_binary(): pa.binary(),
    pa.binary_view(): pa.binary(),
    pa.date64(): pa.date32(),
    pa.time32("s"): pa.time64("us"),
    pa.time32("ms"): pa.time64("us"),
    pa.null(): pa.string(),
}


# -- values of one length --------------------------------------------------------------------------------------------


def _fixed(array: pa.Array, field: pa.Field) -> Numbers:
    """A row of bytes for each value, its length before it; what stands for NULL is of no matter."""
    type_ = array.type
    if pa.types.is_decimal(type_):
        return numeric_bytes(array)
    if pa.types.is_fixed_size_binary(type_):
        return _sized(_raw(array, type_.byte_width))
    if pa.types.is_boolean(type_):
        return _sized(array.cast(pa.uint8()).fill_null(0).to_numpy(zero_copy_only=False), "u1")
    if pa.types.is_date32(type_):
        return _sized(_days(_values(array, np.int32), array, field), ">i4")
    if pa.types.is_timestamp(type_):
        return _sized(_moments(_values(array, np.int64), array, field), ">i8")
    if pa.types.is_time(type_):
        return _sized(_values(array, np.int64), ">i8")
    known = _NUMBERS.get(type_)
    if known is None:
        raise InternalError(f"column {field.name}: {type_} can't be written in binary")
    return _sized(_values(array, known[0]), known[1])


_NUMBERS: Final[dict[pa.DataType, tuple[Any, str]]] = {
    pa.int16(): (np.int16, ">i2"),
    pa.int32(): (np.int32, ">i4"),
    pa.int64(): (np.int64, ">i8"),
    pa.float32(): (np.float32, ">f4"),
    pa.float64(): (np.float64, ">f8"),
}


def _values(array: pa.Array, type_: Any) -> Numbers:
    """The buffer of an array of numbers, whatever stands where it is NULL."""
    buffer = array.buffers()[1]
    if buffer is None:
        return np.zeros(len(array), type_)
    return np.frombuffer(buffer, dtype=type_)[array.offset : array.offset + len(array)]


def _raw(array: pa.Array, width: int) -> Numbers:
    """The buffer of an array of byte strings of one length, a row for each."""
    buffer = array.buffers()[1]
    found = np.zeros(0, np.uint8) if buffer is None else np.frombuffer(buffer, dtype=np.uint8)
    found = found[array.offset * width : (array.offset + len(array)) * width]
    return found.reshape(len(array), width) if found.size else np.zeros((len(array), width), np.uint8)


def _sized(values: Numbers, written: str | None = None) -> Numbers:
    """Values with their length before them."""
    if written is None:
        width = values.shape[1]
        out = np.empty((len(values), 4 + width), np.uint8)
        out[:, :4] = np.frombuffer(width.to_bytes(4, "big"), np.uint8)
        out[:, 4:] = values
        return out
    pairs = np.empty(len(values), dtype=[("length", ">i4"), ("value", written)])
    pairs["length"] = np.dtype(written).itemsize
    pairs["value"] = values
    return pairs.view(np.uint8).reshape(len(values), -1)


def _string(rows: Numbers) -> pa.Array:
    """Rows of bytes as byte strings."""
    number, width = rows.shape
    offsets = np.arange(number + 1, dtype=np.int32) * np.int32(width)
    whole = np.ascontiguousarray(rows)
    return pa.Array.from_buffers(pa.binary(), number, [None, pa.py_buffer(offsets), pa.py_buffer(whole)])


def _days(days: Numbers, array: pa.Array, field: pa.Field) -> Numbers:
    """Dates as days since 2000-01-01. What is out of range is refused by the server."""
    whole = days.astype(np.int64) - EPOCH_DAYS
    least, most = np.iinfo(np.int32).min, np.iinfo(np.int32).max
    wrong = whole <= least
    if logical_base(field) in MAY_BE_INFINITE:
        later, earlier = days == DATE_INFINITY, days == -DATE_INFINITY
        wrong &= ~earlier
        whole = np.where(later, most, np.where(earlier, least, whole))
    if _some(wrong, array):
        raise _out_of_range(field)
    return whole.astype(np.int32)


def _moments(moments: Numbers, array: pa.Array, field: pa.Field) -> Numbers:
    """Timestamps as microseconds since 2000-01-01."""
    wrong = moments < _FIRST_MOMENT
    found = moments - EPOCH_MICROSECONDS
    if logical_base(field) in MAY_BE_INFINITE:
        later, earlier = moments == TIMESTAMP_INFINITY, moments == -TIMESTAMP_INFINITY
        wrong &= ~earlier
        found = np.where(later, np.iinfo(np.int64).max, np.where(earlier, np.iinfo(np.int64).min, found))
    if _some(wrong, array):
        raise _out_of_range(field)
    return found


def _some(wrong: Numbers, array: pa.Array) -> bool:
    """Whether any value is wrong that is not NULL."""
    if not wrong.any():
        return False
    return not array.null_count or bool((wrong & array.is_valid().to_numpy(zero_copy_only=False)).any())


def _out_of_range(field: pa.Field) -> DataError:
    """PostgreSQL's calendar begins on 4714-11-24 BC; its timestamps end before the year 294277."""
    return DataError(
        f"column {field.name} holds times outside the years 4714 BC to 294276, which PostgreSQL can't",
        hint="Leave the column out, or filter those rows out.",
    )


# -- text, bytes, lists ----------------------------------------------------------------------------------------------


def _bytes(array: pa.Array, field: pa.Field) -> list[pa.Array]:
    filled = pc.fill_null(array, b"" if pa.types.is_binary(array.type) else "") if array.null_count else array
    if is_text(array.type):
        _refuse_nul(filled, field)
        filled = filled.cast(pa.binary())
    lengths = pc.binary_length(filled).to_numpy(zero_copy_only=False)
    versioned = logical_base(field) == "jsonb"  # the version of the format goes before
    whole = _lengths(lengths + 1 if versioned else lengths, array)
    return [whole, pc.if_else(array.is_valid(), b"\x01", b""), filled] if versioned else [whole, filled]


def _lengths(lengths: Numbers, array: pa.Array) -> pa.Array:
    if array.null_count:
        lengths = np.where(array.is_valid().to_numpy(zero_copy_only=False), lengths, -1)
    return _string(lengths.astype(">i4").view(np.uint8).reshape(len(lengths), 4))


def _refuse_nul(array: pa.Array, field: pa.Field) -> None:
    if b"\0" in bytes(_content(array)):
        raise nul_refused(field.name)


def nul_refused(column: str) -> DataError:
    """The refusal of text with the character NUL, which PostgreSQL's can't hold."""
    return DataError(
        f"column {column} holds text with the character NUL, which PostgreSQL can't store",
        hint="Leave the column out, or filter those rows out.",
    )


def _content(array: pa.Array) -> memoryview:
    """All values of an array of text or bytes, one after the other."""
    offsets = np.frombuffer(array.buffers()[1], dtype=np.int32)
    data = array.buffers()[2]
    if data is None or not len(array):
        return memoryview(b"")
    return memoryview(data)[int(offsets[array.offset]) : int(offsets[array.offset + len(array)])]


def _lists(array: pa.Array, field: pa.Field) -> list[pa.Array]:
    """One-dimensional arrays: dimensions, flags and the elements' type; length and lower bound; the elements."""
    inner = pa.field(field.name, array.type.value_type)
    oid = OID_OF[sql_type(inner).split("(", 1)[0]]
    counts = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    elements = _column(array.flatten(), inner)
    joined = elements[0] if len(elements) == 1 else pc.binary_join_element_wise(*elements, pa.scalar(b"", pa.binary()))
    ends = np.concatenate([[0], np.cumsum(counts)])
    if len(joined):
        starts, data = np.frombuffer(joined.buffers()[1], dtype=np.int32)[joined.offset :][ends], joined.buffers()[2]
    else:
        starts, data = np.zeros(len(array) + 1, np.int32), pa.py_buffer(b"")
    values = pa.Array.from_buffers(pa.binary(), len(array), [None, pa.py_buffer(np.ascontiguousarray(starts)), data])
    head = np.empty((len(array), 3), dtype=">i4")
    head[:, 0], head[:, 1], head[:, 2] = counts > 0, 0, oid
    size = np.empty((len(array), 2), dtype=">i4")
    size[:, 0], size[:, 1] = counts, 1
    lengths = np.where(counts > 0, 20 + np.diff(starts), 12)
    valid, some = array.is_valid(), pa.array(counts > 0)
    return [
        _lengths(lengths, array),
        pc.if_else(valid, _string(head.view(np.uint8).reshape(len(array), 12)), b""),
        pc.if_else(some, _string(size.view(np.uint8).reshape(len(array), 8)), b""),
        values,
    ]
