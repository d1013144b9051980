"""Columns of Arrow from the rows of a binary result set: a column at a time, without a Python object for each value.

Source: "Binary Protocol Value" in MySQL's client/server protocol documentation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pymysql.constants import FIELD_TYPE as KIND

from suiro.connectors.mysql.calendar import DAY, days, micros, moments
from suiro.connectors.mysql.wire import MARGIN, NUMBERS, Block, Definition, Places
from suiro.model.errors import DataError, TransientError
from suiro.model.types import logical_base

Mask = npt.NDArray[np.bool_]
Words = npt.NDArray[Any]
Found = tuple[pa.Array, Places]


class Bytes:
    """The bytes of a block, and numbers at any place of them."""

    def __init__(self, block: Block) -> None:
        self.buffer = block.buffer
        self.bytes = np.frombuffer(block.buffer, np.uint8)
        self._words: dict[str, Words] = {}

    def words(self, kind: str, at: Places) -> Words:
        """The little-endian numbers of this kind ("<u4") that begin at these places."""
        if kind not in self._words:
            type_ = np.dtype(kind)
            self._words[kind] = np.ndarray((len(self.buffer) - type_.itemsize,), type_, self.buffer, strides=(1,))
        return np.ascontiguousarray(self._words[kind][at])


Reader = Callable[[Bytes, Places, "Mask | None"], Found]
Choice = Callable[[Definition, pa.Field], Reader]


class Decoder:
    """Makes batches of a schema from blocks of a result whose columns are defined so; `reader` chooses how."""

    def __init__(self, columns: Sequence[Definition], schema: pa.Schema, reader: Choice) -> None:
        self.schema, self._columns = schema, columns
        self._bitmap = (len(columns) + 9) // 8
        self._readers = [reader(column, field) for column, field in zip(columns, schema, strict=True)]

    def batch(self, block: Block) -> pa.RecordBatch:
        """The rows of a block; DataError names the column of a value that its type doesn't hold."""
        source = Bytes(block)
        at = block.starts + (1 + self._bitmap)
        arrays = []
        for number, (column, read) in enumerate(zip(self._columns, self._readers, strict=True), 2):
            null = None if column.never_null else _nulls(source, block.starts, number)
            array, at = read(source, at, null)
            arrays.append(array)
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)


def reader(column: Definition, field: pa.Field, *, empty_dates: bool = False) -> Reader:
    """What reads one column into a field's type; TransientError where it can't be that.

    `empty_dates`: dates that no calendar has become NULL, else they are a DataError.
    """
    if column.kind in NUMBERS:
        return _number_reader(column, field)
    if column.kind in (KIND.DATE, KIND.NEWDATE, KIND.DATETIME, KIND.TIMESTAMP):
        return _date_reader(field, empty_dates)
    if column.kind == KIND.TIME:
        return _time_reader(field)
    return _text_reader(field)


def validity(null: Mask | None) -> pa.Buffer | None:
    """A validity bitmap for Arrow; None where every value is there."""
    return None if null is None else pa.py_buffer(np.packbits(~null, bitorder="little"))


def from_words(words: Words, type_: pa.DataType, null: Mask | None) -> pa.Array:
    """An array of fixed width over these numbers."""
    return pa.Array.from_buffers(type_, len(words), [validity(null), pa.py_buffer(np.ascontiguousarray(words))])


def _nulls(source: Bytes, starts: Places, number: int) -> Mask | None:
    """Which rows have a NULL in column `number`, counted from 2; None where none has."""
    null = (source.bytes[starts + (1 + number // 8)] & np.uint8(1 << number % 8)) != 0
    return null if null.any() else None


def _step(at: Places, width: int, null: Mask | None) -> Places:
    return at + width if null is None else at + np.where(null, 0, width)


# -- numbers -----------------------------------------------------------------------------------------------------------


def _number_reader(column: Definition, field: pa.Field) -> Reader:
    kind, width = column.numpy.str, column.numpy.itemsize
    type_ = field.type
    from_integers = pa.types.is_decimal(type_) or pa.types.is_boolean(type_)  # expressions come in any width
    if column.numpy.kind == "f" if from_integers else column.numpy != _numpy(type_):
        raise changed(field)
    finish = _number_finish(field)

    def read(source: Bytes, at: Places, null: Mask | None) -> Found:
        return finish(source.words(kind, at), null), _step(at, width, null)

    return read


def _number_finish(field: pa.Field) -> Callable[[Words, Mask | None], pa.Array]:
    type_ = field.type
    if pa.types.is_decimal(type_):
        return lambda words, null: from_words(_decimal_words(words, type_.bit_width), type_, null)
    if pa.types.is_boolean(type_):
        return lambda words, null: _truth(words, null, field.name)
    return lambda words, null: from_words(words, type_, null)


def _numpy(type_: pa.DataType) -> Any:
    return np.dtype(type_.to_pandas_dtype()) if pa.types.is_integer(type_) or pa.types.is_floating(type_) else None


def changed(field: pa.Field) -> TransientError:
    """The column isn't any more as it was when the stream was looked at."""
    return TransientError(f"the type of column {field.name} changed since the stream was looked at", hint="Run again.")


def _decimal_words(words: Words, width: int) -> Words:
    """Integers as the words of decimals."""
    found = np.empty((len(words), width // 64), np.int64)
    found[:, 0] = words
    found[:, 1:] = (found[:, 0] >> 63)[:, None]
    return found


def _truth(words: Words, null: Mask | None, name: str) -> pa.Array:
    if (((words != 0) & (words != 1)) if null is None else ((words != 0) & (words != 1) & ~null)).any():
        raise DataError(
            f"column {name} holds numbers other than 0 and 1, which are no booleans",
            hint="Read it with tinyint1=integer.",
        )
    bits = np.packbits(words != 0, bitorder="little")
    return pa.Array.from_buffers(pa.bool_(), len(words), [validity(null), pa.py_buffer(bits)])


# -- dates and times ---------------------------------------------------------------------------------------------------


def _date_reader(field: pa.Field, empty_dates: bool) -> Reader:
    if not (pa.types.is_date32(field.type) or pa.types.is_timestamp(field.type)):
        raise changed(field)
    wants_days = pa.types.is_date32(field.type)

    def read(source: Bytes, at: Places, null: Mask | None) -> Found:
        length = source.bytes[at].astype(np.int64)
        if null is not None:
            length[null] = 0
        day, unknown = days(source.words("<u4", at + 1), length)
        if null is not None:
            unknown &= ~null
        if unknown.any():
            if not empty_dates:
                raise _no_date(field.name)
            null = unknown if null is None else null | unknown
        words = day.astype(np.int32) if wants_days else moments(day, source.words("<u8", at + 5), length)
        if null is not None:
            words[null] = 0
        step = length + 1 if null is None else np.where(source_null(null, unknown), 0, length + 1)
        return from_words(words, field.type, null), at + step

    return read


def source_null(null: Mask, unknown: Mask) -> Mask:
    """The rows whose value is NULL at the source, and not made so here."""
    return null & ~unknown


def _no_date(name: str) -> DataError:
    return DataError(
        f"column {name} holds dates that no calendar has, such as 0000-00-00 or 2024-00-10",
        hint="Set zero_dates=text to carry them as text, zero_dates=null to make them NULL, or filter those rows out.",
    )


def _time_reader(field: pa.Field) -> Reader:
    if not pa.types.is_time64(field.type):
        raise changed(field)

    def read(source: Bytes, at: Places, null: Mask | None) -> Found:
        length = source.bytes[at].astype(np.int64)
        if null is not None:
            length[null] = 0
        words = micros(source.words("<u8", at + 1), source.words("<u4", at + 9), length)
        if null is not None:
            words[null] = 0
        if ((words < 0) | (words >= DAY)).any():
            raise DataError(
                f"column {field.name} holds amounts of time that are no time of day",
                hint="Read it with time=interval.",
            )
        return from_words(words, field.type, null), _step(at, 1, null) + length

    return read


# -- characters and bytes ----------------------------------------------------------------------------------------------


def _text_reader(field: pa.Field) -> Reader:
    finish = _text_finish(field)

    def read(source: Bytes, at: Places, null: Mask | None) -> Found:
        start, length = spans(source, at, null)
        after = start + length
        return finish(views(source, start, length, null)), after if null is None else np.where(null, at, after)

    return read


def spans(source: Bytes, at: Places, null: Mask | None) -> tuple[Places, Places]:
    """Where the bytes of each value begin, and how many there are."""
    length = source.bytes[at].astype(np.int64)
    if null is not None:
        length[null] = 0
    start = at + 1
    (long,) = np.nonzero(length > 250)
    if len(long):
        places, kinds = at[long] + 1, length[long]
        lengths = np.where(kinds == 0xFC, source.words("<u2", places), source.words("<u4", places) & 0xFFFFFF)
        length[long] = np.where(kinds == 0xFE, source.words("<i8", places), lengths.astype(np.int64))
        start[long] += np.where(kinds == 0xFC, 2, np.where(kinds == 0xFD, 3, 8))
    return start, length


#: A value of Arrow's binary view: up to 12 bytes themselves, or the first four, the buffer's number (0) and the place.
_VIEW: Final = np.dtype([("length", "<u4"), ("head", "<u8"), ("tail", "<u4")])
_LONG: Final = 13  #: stands for every length that a view doesn't hold itself
_HEADS: Final = np.array([*((1 << 8 * min(n, 8)) - 1 for n in range(_LONG)), 0xFFFFFFFF], np.uint64)
_TAILS: Final = np.array([*((1 << 8 * max(n - 8, 0)) - 1 for n in range(_LONG)), 0], np.uint32)


def views(source: Bytes, start: Places, length: Places, null: Mask | None) -> pa.Array:
    """Binary values that lie in the block; a cast takes them out of it."""
    found = np.zeros(len(start), _VIEW)
    kinds = np.minimum(length, _LONG)
    found["length"] = length
    found["head"] = source.words("<u8", start) & _HEADS[kinds]
    longest = int(length.max(initial=0))
    if longest > 8:
        tails = source.words("<u4", start + 8) & _TAILS[kinds]
        found["tail"] = np.where(length >= _LONG, start, tails) if longest >= _LONG else tails
    buffers = [validity(null), pa.py_buffer(found), pa.py_buffer(source.buffer)]
    return pa.Array.from_buffers(pa.binary_view(), len(start), buffers)


_HAS_SRID: Final = 0x20


def _text_finish(field: pa.Field) -> Callable[[pa.Array], pa.Array]:
    type_ = field.type
    if isinstance(type_, pa.BaseExtensionType):
        inner = _text_finish(field.with_type(type_.storage_type))
        return lambda found: pa.ExtensionArray.from_storage(type_, inner(found))
    if logical_base(field) == "geometry":
        return lambda found: pa.array(map(extended, found.to_pylist()), type_)
    if pa.types.is_binary(type_) or pa.types.is_fixed_size_binary(type_):
        return lambda found: found.cast(pa.binary()).cast(type_)
    if pa.types.is_string(type_):
        return lambda found: _characters(found, field.name)
    if pa.types.is_decimal(type_):
        return lambda found: _characters(found, field.name).cast(type_)
    raise changed(field)


def extended(value: bytes | None) -> bytes | None:
    """The server's own form of a geometry, SRID and WKB, as WKB; as PostGIS' EWKB where the SRID isn't 0.

    What ST_AsBinary gives has no SRID, and for some of them MySQL 8 exchanges the axes in it.
    """
    if value is None or value[:4] == b"\0\0\0\0":
        return None if value is None else value[4:]
    order, kind, shape = value[4:5], value[5:9], value[9:]
    return order + kind[:3] + bytes([kind[3] | _HAS_SRID]) + value[:4] + shape


def _characters(found: pa.Array, name: str) -> pa.Array:
    try:
        return found.cast(pa.string())
    except pa.ArrowInvalid as error:
        raise DataError(
            f"column {name} holds text that isn't UTF-8",
            hint="Read the column as bytes: CAST(... AS BINARY) in a view.",
        ) from error


assert MARGIN >= 16  # the widest look past a value's place
