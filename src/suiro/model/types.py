"""Logical types: what a column means where Arrow's own types can't say it, and which type holds two others.

A field's metadata `suiro.type` names the type as PostgreSQL spells it ("numeric", "inet", "int4range", "int4[]",
"varchar(20)", "interval"); the Arrow type says how values travel: as that type's text form unless stated here:

* `date`, `timestamp`, `timestamptz` travel as date32 and timestamp[us]; they may hold the two infinities, as the
  sentinels below.
* `json`, `jsonb` travel as `arrow.json`; `varchar(n)`, `char(n)` as text; `time` as time64[us].

A destination restores the types named in its `Capabilities.restores`, and stores the travelling form of the others.
"""

from __future__ import annotations

from typing import Final

import pyarrow as pa

LOGICAL: Final = b"suiro.type"

DATE_INFINITY: Final = 2**31 - 1  #: days; the negative of it is minus infinity
TIMESTAMP_INFINITY: Final = 2**63 - 1  #: microseconds; the negative of it is minus infinity
MAY_BE_INFINITE: Final = frozenset({"date", "timestamp", "timestamptz"})

_INTEGER_DIGITS = {8: 3, 16: 5, 32: 10, 64: 19}


def logical_type(field: pa.Field) -> str | None:
    """The field's logical type as written, or None."""
    value = (field.metadata or {}).get(LOGICAL)
    return None if value is None else value.decode()


def logical_base(field: pa.Field) -> str | None:
    """The logical type without its arguments: "varchar" of "varchar(20)", "[]" of any array."""
    name = logical_type(field)
    if name is None:
        return None
    return "[]" if name.endswith("[]") else name.split("(", 1)[0]


def logical_field(name: str, type_: pa.DataType, logical: str | None = None) -> pa.Field:
    """A nullable field, with a logical type where one is given."""
    return pa.field(name, type_, metadata=None if logical is None else {LOGICAL: logical.encode()})


def storage(type_: pa.DataType) -> pa.DataType:
    """The Arrow type under an extension type (JSON, UUID), or the type itself."""
    return type_.storage_type if isinstance(type_, pa.BaseExtensionType) else type_


def is_text(type_: pa.DataType) -> bool:
    """Whether values are character strings, JSON included."""
    inner = storage(type_)
    return bool(pa.types.is_string(inner) or pa.types.is_large_string(inner) or pa.types.is_string_view(inner))


def is_bytes(type_: pa.DataType) -> bool:
    """Whether values are byte strings of varying length."""
    return bool(pa.types.is_binary(type_) or pa.types.is_large_binary(type_) or pa.types.is_binary_view(type_))


def is_time(field: pa.Field) -> bool:
    """Whether values are moments or days: what a row's history can be told by."""
    return bool(pa.types.is_timestamp(field.type) or pa.types.is_date(field.type))


def common_type(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """The smallest type that holds every value of both exactly, or None where there is none."""
    if one == other:
        return one
    if is_text(one) and is_text(other):
        return pa.string()
    if is_bytes(one) and is_bytes(other):
        return pa.binary()
    if pa.types.is_floating(one) and pa.types.is_floating(other):
        return max(one, other, key=lambda t: t.bit_width)
    if _is_exact_number(one) and _is_exact_number(other):
        return _common_exact(one, other)
    if pa.types.is_floating(one) or pa.types.is_floating(other):
        return _common_with_float(one, other)
    if pa.types.is_timestamp(one) and pa.types.is_timestamp(other) and (one.tz is None) == (other.tz is None):
        return pa.timestamp("us", one.tz and "UTC")
    return None


def common_field(current: pa.Field, incoming: pa.Field) -> pa.Field | None:
    """The field that holds the values of both exactly; `current` itself wherever it does. None where there is none."""
    mine, theirs = logical_type(current), logical_type(incoming)
    if current.type == incoming.type and mine == theirs:
        return current
    if is_json(current.type) and is_json(incoming.type) and {mine, theirs} <= {None, "json"}:
        return current
    shared = common_type(current.type, incoming.type)
    if shared is None:
        return None
    if mine == theirs or mine is None or theirs is None:
        return _plain_or(mine if mine == theirs else None, current, shared)
    if logical_base(current) == logical_base(incoming) and is_text(shared):
        return logical_field(current.name, shared)
    return None


def is_json(type_: pa.DataType) -> bool:
    """Arrow's JSON: text that holds one JSON value."""
    return isinstance(type_, pa.JsonType)


def _plain_or(logical: str | None, current: pa.Field, shared: pa.DataType) -> pa.Field | None:
    if shared == current.type and logical_type(current) == logical:
        return current
    if logical_type(current) is not None and logical is None and not is_text(shared):
        return current if shared == current.type else None
    return logical_field(current.name, shared, logical)


def _is_exact_number(type_: pa.DataType) -> bool:
    return bool(pa.types.is_integer(type_) or pa.types.is_decimal(type_))


def _digits(type_: pa.DataType) -> tuple[int, int]:
    """Digits before and after the point."""
    if pa.types.is_decimal(type_):
        return type_.precision - type_.scale, type_.scale
    return _INTEGER_DIGITS[type_.bit_width] + (type_ == pa.uint64()), 0


def _common_exact(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    if pa.types.is_integer(one) and pa.types.is_integer(other):
        if pa.types.is_signed_integer(one) == pa.types.is_signed_integer(other):
            return max(one, other, key=lambda t: t.bit_width)
        unsigned, signed = (one, other) if pa.types.is_unsigned_integer(one) else (other, one)
        if unsigned.bit_width < 64:
            width = max(unsigned.bit_width * 2, signed.bit_width)
            return {16: pa.int16(), 32: pa.int32(), 64: pa.int64()}[width]
    before = max(_digits(one)[0], _digits(other)[0])
    after = max(_digits(one)[1], _digits(other)[1])
    if before + after > 76:
        return None
    return pa.decimal128(before + after, after) if before + after <= 38 else pa.decimal256(before + after, after)


def _common_with_float(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    float_, exact = (one, other) if pa.types.is_floating(one) else (other, one)
    holds = {16: 11, 32: 24, 64: 53}
    if pa.types.is_integer(exact) and exact.bit_width <= 32:
        return float_ if exact.bit_width <= holds[float_.bit_width] else pa.float64()
    return None
