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

from suiro.connectors.mysql.calendar import DAY, date_text, days, micros, moment_text, moments, time_text, why_no_date
from suiro.connectors.mysql.wire import MARGIN, NUMBERS, Block, Definition, Places
from suiro.model.errors import DataError, TransientError
from suiro.model.types import logical_base
from suiro.toolkit.sql.unreadable import Unreadable

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
        """The rows of a block; DataError names the column of a value that its type doesn't hold, unless it is noted."""
        source = Bytes(block)
        at = block.starts + (1 + self._bitmap)
        arrays = []
        for number, (column, read) in enumerate(zip(self._columns, self._readers, strict=True), 2):
            null = None if column.never_null else _nulls(source, block.starts, number)
            array, at = read(source, at, null)
            arrays.append(array)
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)


def reader(
    column: Definition, field: pa.Field, *, empty_dates: bool = False, unreadable: Unreadable | None = None
) -> Reader:
    """What reads one column into a field's type; TransientError where it can't be that.

    `empty_dates`: dates that no calendar has become NULL. Other values that the type doesn't hold are noted in
    `unreadable`, by the rows of the block, and become NULL; without it the first is a DataError.
    """
    if column.kind in NUMBERS:
        return _number_reader(column, field, unreadable)
    if column.kind in (KIND.DATE, KIND.NEWDATE, KIND.DATETIME, KIND.TIMESTAMP):
        return _date_reader(field, empty_dates, unreadable)
    if column.kind == KIND.TIME:
        return _time_reader(field, unreadable)
    return _text_reader(field, unreadable)


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


def _number_reader(column: Definition, field: pa.Field, unreadable: Unreadable | None) -> Reader:
    kind, width = column.numpy.str, column.numpy.itemsize
    type_ = field.type
    from_integers = pa.types.is_decimal(type_) or pa.types.is_boolean(type_)  # expressions come in any width
    if column.numpy.kind == "f" if from_integers else column.numpy != _numpy(type_):
        raise changed(field)
    finish = _number_finish(field, unreadable)

    def read(source: Bytes, at: Places, null: Mask | None) -> Found:
        return finish(source.words(kind, at), null), _step(at, width, null)

    return read


def _number_finish(field: pa.Field, unreadable: Unreadable | None) -> Callable[[Words, Mask | None], pa.Array]:
    type_ = field.type
    if pa.types.is_decimal(type_):
        return lambda words, null: from_words(_decimal_words(words, type_.bit_width), type_, null)
    if pa.types.is_boolean(type_):
        return lambda words, null: _truth(words, null, field.name, unreadable)
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


def _truth(words: Words, null: Mask | None, name: str, unreadable: Unreadable | None) -> pa.Array:
    wrong = (words != 0) & (words != 1)
    if null is not None:
        wrong &= ~null
    if wrong.any():
        if unreadable is None:
            raise DataError(
                f"column {name} holds numbers other than 0 and 1, which are no booleans",
                hint="Read it with tinyint1=integer.",
                column=name,
            )
        for row in np.flatnonzero(wrong).tolist():
            said = f"column {name} holds a number other than 0 and 1, which is no boolean"
            unreadable.note(row, name, text=str(words[row]), reason=said)
        null = wrong if null is None else null | wrong
    bits = np.packbits(words != 0, bitorder="little")
    return pa.Array.from_buffers(pa.bool_(), len(words), [validity(null), pa.py_buffer(bits)])


# -- dates and times ---------------------------------------------------------------------------------------------------


def _date_reader(field: pa.Field, empty_dates: bool, unreadable: Unreadable | None) -> Reader:
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
                _note_dates(field, source, at, length, unknown, unreadable)
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


def _note_dates(
    field: pa.Field, source: Bytes, at: Places, length: Places, unknown: Mask, unreadable: Unreadable | None
) -> None:
    """Note the dates that no calendar has; DataError where that isn't wanted."""
    name, type_ = field.name, field.type
    if unreadable is None:
        raise DataError(
            f"column {name} holds dates that no calendar has, such as 0000-00-00 or 2024-00-10",
            hint="Set zero_dates=text to carry them as text, zero_dates=null to make them NULL, or filter those rows "
            "out.",
            column=name,
        )
    for row in np.flatnonzero(unknown).tolist():
        packed = _packed(source, at, length, row)
        zone = "Z" if pa.types.is_timestamp(type_) and type_.tz else ""
        text = date_text(packed[:4]) if pa.types.is_date32(type_) else moment_text(packed) + zone
        said = f"column {name} holds {why_no_date(packed)}"
        unreadable.note(row, name, text=text, reason=said, sorts_first=text.startswith("0000"))


def _packed(source: Bytes, at: Places, length: Places, row: int) -> bytes:
    """The bytes of one value, without their length."""
    start = int(at[row]) + 1
    return bytes(source.buffer[start : start + int(length[row])])


def _time_reader(field: pa.Field, unreadable: Unreadable | None) -> Reader:
    if not pa.types.is_time64(field.type):
        raise changed(field)

    def read(source: Bytes, at: Places, null: Mask | None) -> Found:
        length = source.bytes[at].astype(np.int64)
        if null is not None:
            length[null] = 0
        words = micros(source.words("<u8", at + 1), source.words("<u4", at + 9), length)
        if null is not None:
            words[null] = 0
        gone, wrong = null, (words < 0) | (words >= DAY)
        if wrong.any():
            _note_times(field.name, source, at, length, wrong, unreadable)
            words[wrong] = 0
            gone = wrong if null is None else null | wrong
        return from_words(words, field.type, gone), _step(at, 1, null) + length

    return read


def _note_times(
    name: str, source: Bytes, at: Places, length: Places, wrong: Mask, unreadable: Unreadable | None
) -> None:
    """Note what is no time of day; DataError where that isn't wanted."""
    if unreadable is None:
        raise DataError(
            f"column {name} holds amounts of time that are no time of day",
            hint="Read it with time=interval.",
            column=name,
        )
    for row in np.flatnonzero(wrong).tolist():
        text = time_text(_packed(source, at, length, row))
        said = f"column {name} holds an amount of time that is no time of day"
        unreadable.note(row, name, text=text, reason=said)


# -- characters and bytes ----------------------------------------------------------------------------------------------


def _text_reader(field: pa.Field, unreadable: Unreadable | None) -> Reader:
    finish = _text_finish(field, unreadable)

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


def _text_finish(field: pa.Field, unreadable: Unreadable | None) -> Callable[[pa.Array], pa.Array]:
    type_ = field.type
    if isinstance(type_, pa.BaseExtensionType):
        inner = _text_finish(field.with_type(type_.storage_type), unreadable)
        return lambda found: pa.ExtensionArray.from_storage(type_, inner(found))
    if logical_base(field) == "geometry":
        return lambda found: pa.array(map(extended, found.to_pylist()), type_)
    if pa.types.is_binary(type_) or pa.types.is_fixed_size_binary(type_):
        return lambda found: found.cast(pa.binary()).cast(type_)
    if pa.types.is_string(type_):
        return lambda found: _characters(found, field.name, unreadable)
    if pa.types.is_decimal(type_):
        return lambda found: _characters(found, field.name, unreadable).cast(type_)
    raise changed(field)


def extended(value: bytes | None) -> bytes | None:
    """The server's own form of a geometry, SRID and WKB, as WKB; as PostGIS' EWKB where the SRID isn't 0.

    What ST_AsBinary gives has no SRID, and for some of them MySQL 8 exchanges the axes in it.
    """
    if value is None or value[:4] == b"\0\0\0\0":
        return None if value is None else value[4:]
    order, kind, shape = value[4:5], value[5:9], value[9:]
    return order + kind[:3] + bytes([kind[3] | _HAS_SRID]) + value[:4] + shape


def _characters(found: pa.Array, name: str, unreadable: Unreadable | None) -> pa.Array:
    try:
        return found.cast(pa.string())
    except pa.ArrowInvalid as error:
        if unreadable is None:
            raise DataError(
                f"column {name} holds text that isn't UTF-8",
                hint="Read the column as bytes: CAST(... AS BINARY) in a view.",
                column=name,
            ) from error
    values: list[bytes | None] = found.to_pylist()
    for row, value in enumerate(values):
        text = None if value is None else value.decode(errors="backslashreplace")
        if text is not None and text.encode() != value:
            unreadable.note(row, name, text=text, reason=f"column {name} holds text that isn't UTF-8")
            values[row] = None
    return pa.array(values, pa.binary()).cast(pa.string())


assert MARGIN >= 16  # the widest look past a value's place
