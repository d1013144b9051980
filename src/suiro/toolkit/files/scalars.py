"""Exact text of single Arrow values (no lists, no structs), and values from that text.

Integers and decimals by their digits, floats in the shortest form that gives the same bits (`nan`, `inf`), dates and
times in ISO 8601 (`2024-02-29`, `2024-02-29 12:00:00.000000`, with `Z` where they are in UTC; years outside 1 to 9999
as `+012024-02-29`; the infinities as `infinity`), bytes in Base64, UUIDs in their usual form.
"""

from __future__ import annotations

import base64
import re
import uuid
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc

from suiro.model.errors import ConfigError
from suiro.model.types import DATE_INFINITY, MAY_BE_INFINITE, TIMESTAMP_INFINITY, is_bytes, is_text, logical_base

_FIRST, _LAST = -719_162, 2_932_896  #: 0001-01-01 and 9999-12-31 in days
_FAR = re.compile(r"^([+-])(\d{6,})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d):(\d\d)\.(\d{6})Z?)?$")


def is_nested(type_: pa.DataType) -> bool:
    """Whether values are lists, structs or maps."""
    return bool(pa.types.is_nested(type_))


def to_text(array: pa.Array, field: pa.Field) -> pa.Array:
    """The values as text; NULL stays NULL."""
    type_ = field.type
    if isinstance(array, pa.ExtensionArray):
        return _uuids(array.storage) if type_ == pa.uuid() else to_text(array.storage, pa.field("", array.storage.type))
    if pa.types.is_dictionary(type_):
        return to_text(array.dictionary_decode(), field.with_type(type_.value_type))
    if is_text(type_) or pa.types.is_null(type_):
        return array.cast(pa.string())
    if pa.types.is_decimal(type_):
        return _plain_digits(array.cast(pa.string()))
    if pa.types.is_float16(type_):
        return array.cast(pa.float32()).cast(pa.string())
    if is_bytes(type_) or pa.types.is_fixed_size_binary(type_):
        return pa.array([None if v is None else base64.b64encode(v).decode() for v in array.to_pylist()], pa.string())
    if pa.types.is_duration(type_):
        return array.cast(pa.int64()).cast(pa.string())
    if pa.types.is_temporal(type_):
        return _times_to_text(array, field)
    return array.cast(pa.string())


def from_text(texts: pa.Array, field: pa.Field) -> pa.Array:
    """The inverse of `to_text`. ArrowInvalid or ValueError where the text isn't of that type."""
    type_ = field.type
    if isinstance(type_, pa.BaseExtensionType):
        if type_ == pa.uuid():
            values = [None if v is None else uuid.UUID(v).bytes for v in texts.to_pylist()]
            return pa.ExtensionArray.from_storage(type_, pa.array(values, pa.binary(16)))
        return pa.ExtensionArray.from_storage(type_, texts.cast(type_.storage_type))
    if pa.types.is_dictionary(type_):
        return from_text(texts, field.with_type(type_.value_type)).dictionary_encode().cast(type_)
    if pa.types.is_null(type_):
        return pa.nulls(len(texts))
    if is_bytes(type_) or pa.types.is_fixed_size_binary(type_):
        return pa.array([None if v is None else base64.b64decode(v) for v in texts.to_pylist()], type_)
    if pa.types.is_float16(type_):
        return texts.cast(pa.float32()).cast(type_)
    if pa.types.is_duration(type_):
        return texts.cast(pa.int64()).cast(type_)
    if pa.types.is_temporal(type_):
        return _times_from_text(texts, field)
    return texts.cast(type_)


def has_far_times(array: pa.Array, field: pa.Field) -> bool:
    """Whether dates or times are beyond what ISO 8601 writes in four digits, the infinities among them."""
    least, most, _ = _range(field.type)
    span = pc.min_max(_as_integers(array))
    if not span["min"].is_valid:
        return False
    return bool(span["min"].as_py() < least or span["max"].as_py() > most)


def _uuids(storage: pa.Array) -> pa.Array:
    return pa.array([None if v is None else str(uuid.UUID(bytes=v)) for v in storage.to_pylist()], pa.string())


def _plain_digits(texts: pa.Array) -> pa.Array:
    """Decimals without exponents: 0.0000000001, not 1E-10."""
    far = pc.fill_null(pc.match_substring(texts, "E"), False)
    if not pc.any(far).as_py():
        return texts
    plain = [format(Decimal(v), "f") for v in texts.filter(far).to_pylist()]
    return pc.replace_with_mask(texts, far, pa.array(plain, pa.string()))


def _as_integers(array: pa.Array) -> pa.Array:
    return array.cast(pa.int32() if array.type.bit_width == 32 else pa.int64()).cast(pa.int64())


def _range(type_: pa.DataType) -> tuple[int, int, int]:
    """The least and the greatest that Arrow writes and reads itself, and units in a day."""
    if pa.types.is_time(type_):
        unit = _UNITS[type_.unit]
        return 0, 86_400 * unit - 1, 86_400 * unit
    unit = 1 if pa.types.is_date32(type_) else 86_400_000 if pa.types.is_date64(type_) else 86_400 * _UNITS[type_.unit]
    if pa.types.is_timestamp(type_) and type_.unit == "ns":
        return -(2**63) + 1, 2**63 - 1, unit
    return _FIRST * unit, (_LAST + 1) * unit - 1, unit


_UNITS = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}


def _times_to_text(array: pa.Array, field: pa.Field) -> pa.Array:
    type_ = field.type
    least, most, _ = _range(type_)
    numbers = _as_integers(array)
    far = pc.fill_null(pc.or_(pc.less(numbers, least), pc.greater(numbers, most)), False)
    if not pc.any(far).as_py():
        return array.cast(pa.string())
    near = pc.if_else(far, pa.scalar(None, type_), array).cast(pa.string())
    beyond = [_far_text(v, field) for v in numbers.filter(far).to_pylist()]
    return pc.replace_with_mask(near, far, pa.array(beyond, pa.string()))


def _times_from_text(texts: pa.Array, field: pa.Field) -> pa.Array:
    type_ = field.type
    far = pc.fill_null(pc.match_substring_regex(texts, r"^([+-]|-?infinity$|24:)"), False)
    if not pc.any(far).as_py():
        return _near(texts, type_)
    near = _near(pc.if_else(far, pa.scalar(None, texts.type), texts), type_)
    beyond = pa.array([_far_value(v, type_) for v in texts.filter(far).to_pylist()], pa.int64())
    width = pa.int32() if type_.bit_width == 32 else pa.int64()
    return pc.replace_with_mask(near.cast(width), far, beyond.cast(width)).cast(type_)


def _near(texts: pa.Array, type_: pa.DataType) -> pa.Array:
    if not pa.types.is_time(type_):
        return texts.cast(type_)
    dated = pc.binary_join_element_wise(pa.scalar("1970-01-01"), texts, "T")
    numbers = dated.cast(pa.timestamp(type_.unit)).cast(pa.int64())
    return numbers.cast(pa.int32()).cast(type_) if type_.bit_width == 32 else numbers.cast(type_)


def _far_text(value: int, field: pa.Field) -> str:
    type_ = field.type
    if pa.types.is_time(type_):
        if value == _range(type_)[2]:
            return "24:00:00.000000"
        raise ConfigError(f"column {field.name} holds a time of more than 24 hours", hint="Leave the column out.")
    endless = DATE_INFINITY if pa.types.is_date32(type_) else TIMESTAMP_INFINITY
    if abs(value) == endless and logical_base(field) in MAY_BE_INFINITE:
        return "infinity" if value > 0 else "-infinity"
    days, rest = divmod(value, _range(type_)[2])
    year, month, day = _civil(days)
    text = f"{'-' if year < 0 else '+'}{abs(year):06}-{month:02}-{day:02}"
    if not pa.types.is_timestamp(type_):
        return text
    seconds, part = divmod(rest, _UNITS[type_.unit])
    micro = part * 1_000_000 // _UNITS[type_.unit]
    clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{micro:06}"
    return f"{text} {clock}{'Z' if type_.tz else ''}"


def _far_value(text: str, type_: pa.DataType) -> int:
    if text.startswith("24:"):
        return _range(type_)[2]
    endless = DATE_INFINITY if pa.types.is_date32(type_) else TIMESTAMP_INFINITY
    if text.endswith("infinity"):
        return -endless if text.startswith("-") else endless
    match = _FAR.match(text)
    if match is None:
        raise pa.ArrowInvalid(f"not a {type_}")
    sign, year, month, day, *clock = match.groups()
    days = _days(int(sign + year), int(month), int(day))
    unit = _range(type_)[2]
    if clock[0] is None:
        return days * unit
    hours, minutes, seconds, micro = map(int, clock)
    return days * unit + ((hours * 3600 + minutes * 60 + seconds) * 1_000_000 + micro) * (unit // 86_400) // 1_000_000


def _civil(days: int) -> tuple[int, int, int]:
    """Year (0 is 1 BC), month and day of a day number, in the Gregorian calendar."""
    days += 719_468
    era, day_of_era = divmod(days, 146_097)
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month_from_march = (5 * day_of_year + 2) // 153
    month = month_from_march + 3 if month_from_march < 10 else month_from_march - 9
    day = day_of_year - (153 * month_from_march + 2) // 5 + 1
    return year_of_era + era * 400 + (month <= 2), month, day


def _days(year: int, month: int, day: int) -> int:
    """The inverse of `_civil`."""
    year -= month <= 2
    era, year_of_era = divmod(year, 400)
    day_of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    day_of_era = year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year
    return era * 146_097 + day_of_era - 719_468
