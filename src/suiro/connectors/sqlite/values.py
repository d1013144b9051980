"""SQLite's types: the declared name that tells what a column holds, and values on their way in and out.

SQLite keeps five storage classes whatever a column declares; only the declared name's letters choose an affinity.
So Suiro declares names that have the right affinity and say the type: `DECIMAL_TEXT(38,10)` is exact text,
`TIMESTAMPTZ_TEXT` is `2024-05-06 07:08:09.123456+00:00`, `DOUBLE_BLOB` is a REAL that keeps even -0.0 (columns of REAL
affinity lose its sign).
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Sequence
from typing import Any, Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from suiro.model.errors import DataError, SchemaConflict
from suiro.model.types import DATE_INFINITY, TIMESTAMP_INFINITY, is_bytes, is_text, logical_base, logical_field, storage

MIXED: Final = b"suiro.sqlite"  #: metadata of columns with values of several storage classes, carried as JSON

_NAMES: Final[dict[pa.DataType, str]] = {
    pa.bool_(): "BOOLEAN_INT",
    pa.int8(): "INT8",
    pa.int16(): "INT16",
    pa.int32(): "INT32",
    pa.int64(): "INTEGER",
    pa.uint8(): "UINT8",
    pa.uint16(): "UINT16",
    pa.uint32(): "UINT32",
    pa.uint64(): "UINT64",
    pa.float16(): "HALF_BLOB",
    pa.float32(): "FLOAT_BLOB",
    pa.float64(): "DOUBLE_BLOB",
    pa.uuid(): "UUID_TEXT",
    pa.date32(): "DATE_TEXT",
    pa.date64(): "DATE_TEXT",
}
_FIELDS: Final[dict[str, tuple[pa.DataType, str | None]]] = {
    **{name: (type_, None) for type_, name in _NAMES.items() if name not in ("INTEGER", "TEXT")},
    "DATE_TEXT": (pa.date32(), "date"),
    "TIMESTAMP_TEXT": (pa.timestamp("us"), "timestamp"),
    "TIMESTAMPTZ_TEXT": (pa.timestamp("us", "UTC"), "timestamptz"),
    "TIME_TEXT": (pa.time64("us"), None),
    "JSON_TEXT": (pa.json_(), None),
    "NUMERIC_TEXT": (pa.string(), "numeric"),
}
RESTORES: Final = frozenset({"date", "timestamp", "timestamptz", "numeric"})

_YEAR_0, _YEAR_10000 = -62167219200000000, 253402300800000000
_DAY_0, _DAY_10000 = -719528, 2932897


def type_name(field: pa.Field) -> str:
    """The declared type for a field; SchemaConflict where SQLite has no exact form for it."""
    type_ = field.type
    if type_ in _NAMES:
        return _NAMES[type_]
    if pa.types.is_decimal(type_):
        return f"DECIMAL_TEXT({type_.precision},{type_.scale})"
    if pa.types.is_timestamp(type_):
        return "TIMESTAMP_TEXT" if type_.tz is None else "TIMESTAMPTZ_TEXT"
    if pa.types.is_time(type_):
        return "TIME_TEXT"
    if isinstance(type_, pa.JsonType):
        return "JSON_TEXT"
    if is_text(type_):
        return "NUMERIC_TEXT" if logical_base(field) == "numeric" else "TEXT"
    if pa.types.is_fixed_size_binary(type_):
        return f"FIXED_BLOB({type_.byte_width})"
    if is_bytes(type_):
        return "BLOB"
    raise SchemaConflict(
        f"column {field.name} is {type_}, for which SQLite has no exact form",
        hint="Leave the column out, or carry it as JSON or text.",
    )


def declared_field(name: str, declared: str) -> pa.Field | None:
    """The field of a type name that only Suiro gives, else None."""
    if declared in _FIELDS:
        return logical_field(name, *_FIELDS[declared])
    if found := re.fullmatch(r"DECIMAL_TEXT\((\d+),(-?\d+)\)", declared):
        precision, scale = int(found[1]), int(found[2])
        wide = pa.decimal256 if precision > 38 else pa.decimal128
        return pa.field(name, wide(precision, scale))
    if found := re.fullmatch(r"FIXED_BLOB\((\d+)\)", declared):
        return pa.field(name, pa.binary(int(found[1])))
    return None


def affinity(declared: str) -> str:
    """The affinity that SQLite reads from a declared type: integer, text, blob, real or numeric."""
    upper = declared.upper()
    for letters, kind in (("INT", "integer"), ("CHAR", "text"), ("CLOB", "text"), ("TEXT", "text"), ("BLOB", "blob")):
        if letters in upper:
            return kind
    if not upper:
        return "blob"
    return "real" if any(letters in upper for letters in ("REAL", "FLOA", "DOUB")) else "numeric"


# -- in ----------------------------------------------------------------------------------------------------------------


def refuse(column: str, array: pa.Array) -> None:
    """DataError if SQLite can't hold one of the values: NaN (which becomes NULL), integers past 63 bits."""
    if pa.types.is_floating(array.type) and pc.any(pc.is_nan(array)).as_py():
        raise DataError(f"column {column} holds NaN, which SQLite turns into NULL", hint="Leave those rows out.")
    if array.type == pa.uint64() and (pc.max(array).as_py() or 0) >= 2**63:
        raise DataError(
            f"column {column} holds a number past 9223372036854775807, which SQLite can't keep as an integer",
            hint="Read the column as text or as a decimal.",
        )
    if pa.types.is_timestamp(array.type) or pa.types.is_time(array.type):
        try:
            _micros(array)
        except pa.ArrowInvalid as error:
            raise DataError(
                f"column {column} is finer than microseconds, which is as fine as times are kept",
                hint="Round the column at the source, or read it as text.",
            ) from error


def encode(array: pa.Array) -> list[Any]:
    """A column's values as the driver binds them."""
    type_ = array.type
    if pa.types.is_decimal(type_):
        return [None if v is None else format(v, "f") for v in array.to_pylist()]
    if pa.types.is_timestamp(type_):
        return _moments_in(_micros(array), "" if type_.tz is None else "+00:00")
    if pa.types.is_date(type_):
        return _days_in(array.cast(pa.date32()))
    if pa.types.is_time(type_):
        return [None if v is None else _clock(v) for v in _micros(array).to_pylist()]
    if type_ == pa.uuid():
        return [None if v is None else str(uuid.UUID(bytes=v)) for v in array.storage.to_pylist()]
    if type_ == pa.float16():
        return list(array.cast(pa.float32()).to_pylist())
    plain = array.storage if isinstance(array, pa.ExtensionArray) else array
    return list(plain.to_pylist())


def _micros(array: pa.Array) -> pa.Array:
    """Times and timestamps as numbers of microseconds; ArrowInvalid if they are finer."""
    if pa.types.is_timestamp(array.type):
        return array.cast(pa.timestamp("us", array.type.tz)).cast(pa.int64())
    return array.cast(pa.time64("us")).cast(pa.int64())


def _moments_in(micros: pa.Array, suffix: str) -> list[Any]:
    texts = _usual(micros, _YEAR_0, _YEAR_10000).cast(pa.timestamp("us")).cast(pa.string())
    found = (pc.binary_join_element_wise(texts, suffix, "") if suffix else texts).to_pylist()
    for i, value in _unusual(micros, _YEAR_0, _YEAR_10000):
        moment = str(np.datetime64(value, "us")).replace("T", " ")
        found[i] = _endless(value, TIMESTAMP_INFINITY) or moment + suffix
    return list(found)


def _days_in(array: pa.Array) -> list[Any]:
    days = array.cast(pa.int32())
    found = _usual(days, _DAY_0, _DAY_10000).cast(pa.date32()).cast(pa.string()).to_pylist()
    for i, value in _unusual(days, _DAY_0, _DAY_10000):
        found[i] = _endless(value, DATE_INFINITY) or str(np.datetime64(value, "D"))
    return list(found)


def _usual(numbers: pa.Array, least: int, end: int) -> pa.Array:
    """The numbers of the years 0 to 9999; NULL for others."""
    inside = pc.and_(pc.greater_equal(numbers, least), pc.less(numbers, end))
    return pc.if_else(inside, numbers, pa.scalar(None, numbers.type))


def _unusual(numbers: pa.Array, least: int, end: int) -> list[tuple[int, int]]:
    outside = pc.or_(pc.less(numbers, least), pc.greater_equal(numbers, end))
    if not pc.any(outside).as_py():
        return []
    return [(i, numbers[i].as_py()) for i in pc.indices_nonzero(outside).to_pylist()]


def _endless(value: int, infinity: int) -> str | None:
    return {infinity: "infinity", -infinity: "-infinity"}.get(value)


def _clock(micros: int) -> str:
    seconds, fraction = divmod(micros, 1_000_000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{fraction:06}"


# -- out ---------------------------------------------------------------------------------------------------------------


def decode(values: Sequence[Any], field: pa.Field) -> pa.Array:
    """A column of the driver's values as Arrow; DataError if one isn't what the field says."""
    kinds = set(map(type, values)) - {type(None)}
    type_ = field.type
    try:
        if (field.metadata or {}).get(MIXED):
            return _wrap([None if v is None else _json(v) for v in values], type_)
        if not kinds <= _expected(type_):
            raise ValueError("values of another storage class")
        return _decoded(values, type_)
    except (ValueError, OverflowError, TypeError, pa.ArrowException) as error:
        raise DataError(
            f"column {field.name} holds values that are no {type_}",
            hint="Correct those values, or declare the column's type as what it holds.",
        ) from error


def _expected(type_: pa.DataType) -> set[type]:
    if pa.types.is_floating(type_):
        return {int, float}
    if pa.types.is_integer(type_) or pa.types.is_boolean(type_):
        return {int}
    return {bytes} if is_bytes(type_) or pa.types.is_fixed_size_binary(type_) else {str}


def _decoded(values: Sequence[Any], type_: pa.DataType) -> pa.Array:
    if pa.types.is_decimal(type_):
        return pa.array(values, pa.string()).cast(type_)
    if pa.types.is_timestamp(type_):
        return _moments_out(values, type_)
    if pa.types.is_date(type_):
        return _days_out(values).cast(type_)
    if pa.types.is_time(type_):
        micros = [None if v is None else _from_clock(v) for v in values]
        return pa.array(micros, pa.int64()).cast(pa.time64("us")).cast(type_)
    if pa.types.is_boolean(type_):
        if not set(values) <= {0, 1, None}:
            raise ValueError("neither 0 nor 1")
        return pa.array([None if v is None else bool(v) for v in values], type_)
    if type_ == pa.uuid():
        return _wrap([None if v is None else uuid.UUID(v).bytes for v in values], type_)
    if type_ == pa.float16():
        return pa.array(values, pa.float32()).cast(type_)
    return _wrap(values, type_)


def _wrap(values: Sequence[Any], type_: pa.DataType) -> pa.Array:
    plain = pa.array(values, storage(type_))
    return pa.ExtensionArray.from_storage(type_, plain) if isinstance(type_, pa.BaseExtensionType) else plain


def _moments_out(values: Sequence[Any], type_: pa.DataType) -> pa.Array:
    texts = list(values)
    if type_.tz is not None:
        if any(v is not None and not v.endswith(("+00:00", "infinity")) for v in texts):
            raise ValueError("not in UTC")
        texts = [v if v is None else v.removesuffix("+00:00") for v in texts]
    plain = pa.timestamp("us")
    try:
        found = pa.array(texts, pa.string()).cast(plain)
    except pa.ArrowInvalid:
        micros = [None if v is None else _number(v, "us", TIMESTAMP_INFINITY) for v in texts]
        found = pa.array(micros, pa.int64()).cast(plain)
    return found.cast(pa.int64()).cast(pa.timestamp("us", type_.tz)).cast(type_)


def _days_out(values: Sequence[Any]) -> pa.Array:
    try:
        return pa.array(values, pa.string()).cast(pa.date32())
    except pa.ArrowInvalid:
        days = [None if v is None else _number(v, "D", DATE_INFINITY) for v in values]
        return pa.array(days, pa.int32()).cast(pa.date32())


def _number(text: str, unit: Literal["us", "D"], infinity: int) -> int:
    if text in ("infinity", "-infinity"):
        return infinity if text == "infinity" else -infinity
    return int(np.datetime64(text.replace(" ", "T"), unit).astype(np.int64))


def _from_clock(text: str) -> int:
    found = re.fullmatch(r"(\d\d):(\d\d):(\d\d)\.(\d{6})", text)
    if not found:
        raise ValueError("no time of day")
    hours, minutes, seconds, micros = map(int, found.groups())
    return ((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + micros


def _json(value: Any) -> str:
    """One value as JSON that tells its storage class: bytes are `{"blob": "<hexadecimal>"}`."""
    return json.dumps({"blob": value.hex()} if isinstance(value, bytes) else value, ensure_ascii=False, allow_nan=False)
