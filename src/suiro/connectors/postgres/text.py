"""Values in the text form that PostgreSQL's input functions read, as Arrow arrays."""

from __future__ import annotations

import binascii
from collections.abc import Callable
from datetime import date, datetime, time
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from suiro.model.types import DATE_INFINITY, TIMESTAMP_INFINITY, is_bytes

_DAY = 86_400_000_000  #: microseconds
_FIRST_DAY, _LAST_DAY = -719_162, 2_932_896  #: 0001-01-01 and 9999-12-31, days since 1970-01-01


def text_array(array: pa.Array, field: pa.Field) -> pa.Array:
    """Values as CSV cells: text, or a type whose own CSV form PostgreSQL reads."""
    type_ = array.type
    if isinstance(array, pa.ExtensionArray):
        inner = array.storage
        return hexadecimal(inner) if pa.types.is_fixed_size_binary(inner.type) else inner
    if is_bytes(type_) or pa.types.is_fixed_size_binary(type_):
        return pc.binary_join_element_wise(pa.scalar("\\x"), hexadecimal(array), pa.scalar(""))
    if pa.types.is_date32(type_):
        return _temporal(array, pa.int32(), 1, _date_text)
    if pa.types.is_timestamp(type_):
        whole = array.cast(pa.timestamp("us", type_.tz))
        return _temporal(whole, pa.int64(), _DAY, _timestamp_text)
    if pa.types.is_time(type_):
        return _times(array.cast(pa.time64("us")))
    if pa.types.is_list(type_) and not pa.types.is_nested(type_.value_type):
        return pa.array([None if row is None else array_literal(row) for row in array.to_pylist()], pa.string())
    if pa.types.is_dictionary(type_):
        return array.dictionary_decode()
    if pa.types.is_null(type_):
        return array.cast(pa.string())
    if pa.types.is_float16(type_):
        return array.cast(pa.float32())
    return array


def hexadecimal(array: pa.Array) -> pa.Array:
    """Byte strings as hexadecimal text; NULL stays NULL."""
    filled = pc.fill_null(array.cast(pa.binary()), b"")
    whole = pa.concat_arrays([pa.array([b""]), filled]).slice(1)
    offsets = np.frombuffer(whole.buffers()[1], dtype=np.int32)[1 : len(whole) + 2]
    data = whole.buffers()[2]
    digits = binascii.hexlify(memoryview(data)[: int(offsets[-1])]) if data is not None else b""
    buffers = [None, pa.py_buffer((offsets * 2).astype(np.int32).tobytes()), pa.py_buffer(digits)]
    text = pa.Array.from_buffers(pa.string(), len(array), buffers)
    return pc.if_else(array.is_valid(), text, pa.scalar(None, pa.string()))


def array_literal(values: list[Any]) -> str:
    """A one-dimensional array as PostgreSQL writes it."""
    return "{" + ",".join("NULL" if v is None else _element(v) for v in values) + "}"


def _element(value: Any) -> str:
    match value:
        case bool():
            return "t" if value else "f"
        case bytes():
            text = "\\x" + value.hex()
        case datetime() | date() | time():
            text = value.isoformat()
        case _:
            text = str(value)
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _temporal(array: pa.Array, number: pa.DataType, per_day: int, say: Callable[[int], str]) -> pa.Array:
    """The array itself where Arrow writes all its values as PostgreSQL reads them, else their text."""
    if array.null_count == len(array):
        return array
    numbers = array.view(number)
    ends = pc.min_max(numbers)
    if ends["min"].as_py() >= _FIRST_DAY * per_day and ends["max"].as_py() < (_LAST_DAY + 1) * per_day:
        return array
    zone = "+00" if pa.types.is_timestamp(array.type) and array.type.tz else ""
    texts = [None if value is None else _zoned(say(value), zone) for value in numbers.to_pylist()]
    return pa.array(texts, pa.string())


def _zoned(text: str, zone: str) -> str:
    if text.endswith("infinity"):
        return text
    return f"{text[:-3]}{zone} BC" if text.endswith(" BC") else text + zone


def _date_text(days: int) -> str:
    if abs(days) == DATE_INFINITY:
        return "infinity" if days > 0 else "-infinity"
    year, month, day = _civil(days)
    return f"{year:04d}-{month:02d}-{day:02d}" if year > 0 else f"{1 - year:04d}-{month:02d}-{day:02d} BC"


def _timestamp_text(microseconds: int) -> str:
    if abs(microseconds) == TIMESTAMP_INFINITY:
        return "infinity" if microseconds > 0 else "-infinity"
    days, rest = divmod(microseconds, _DAY)
    text, before = _date_text(days), ""
    if text.endswith(" BC"):
        text, before = text[:-3], " BC"
    return f"{text} {_time_text(rest)}{before}"


def _time_text(microseconds: int) -> str:
    seconds, fraction = divmod(microseconds, 1_000_000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{fraction:06d}"


def _times(array: pa.Array) -> pa.Array:
    if array.null_count == len(array) or pc.max(array.view(pa.int64())).as_py() < _DAY:
        return array
    texts = [None if value is None else _time_text(value) for value in array.view(pa.int64()).to_pylist()]
    return pa.array(texts, pa.string())


def _civil(days: int) -> tuple[int, int, int]:
    """Year (0 is 1 BC), month and day of a day count since 1970-01-01, in the proleptic Gregorian calendar."""
    cycles, rest = divmod(days - _FIRST_DAY, 146_097)
    moved = date.fromordinal(rest + 1)
    return moved.year + 400 * cycles, moved.month, moved.day
