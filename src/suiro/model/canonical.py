"""Canonical text: the one way in which a value is written before it is hashed, whichever system hashes it.

A row's text is its columns' texts with `|` between them; NULL is `~`. A text that may hold anything stands behind its
length in bytes and a colon, so that no value imitates a `|`, a `~` or another column: `3:a|b`. All is UTF-8.

A row's hash is the MD5 of its text, in 32 hexadecimal digits, and so is its key's of the key columns' text. A row's
bucket is the number that the first KEY_DIGITS digits of its key's hash are, modulo how many buckets there are; a
bucket's checksum is the sum, modulo 2^64, of the numbers that the first ROW_DIGITS digits of its rows' hashes are.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import pyarrow as pa

from suiro.model.types import is_bytes, is_text, logical_base

BETWEEN: Final = "|"
NULL: Final = "~"
KEY_DIGITS: Final = 7
ROW_DIGITS: Final = 15


class Form(StrEnum):
    """How the values of one column are written: of each pair of columns that are compared, both in the same."""

    NUMBER = "number"  #: 1 and 0 for booleans; digits, without zeros at the end of a fraction: `-12.5`, `0`, `NaN`
    FLOAT = "float"  #: the bits of the IEEE double as a signed integer; of every NaN those of the usual one
    DAY = "day"  #: days since 1970-01-01; `infinity`, `-infinity`
    MOMENT = "moment"  #: microseconds since 1970-01-01 00:00 UTC (of times without a zone as if in UTC); the infinities
    CLOCK = "clock"  #: microseconds since midnight
    SPAN = "span"  #: of an interval its months, days and microseconds, spaces between: `-1 2 -10800000000`
    TEXT = "text"  #: its characters, whatever they are
    PADDED = "padded"  #: its characters without spaces at the end
    BYTES = "bytes"  #: hexadecimal digits, small letters
    UUID = "uuid"  #: as `00112233-4455-6677-8899-aabbccddeeff`
    JSON = "json"  #: parsed and written anew: keys in order, numbers without zeros at the end of a fraction
    NESTED = "nested"  #: lists and structures, as JSON


FRAMED: Final = frozenset({Form.TEXT, Form.PADDED, Form.JSON, Form.NESTED})  #: stand behind their length
NAN_BITS: Final = 0x7FF8000000000000


def form_of(one: pa.Field, other: pa.Field) -> Form | None:
    """The form in which values of both columns are comparable; None where there is none."""
    mine, theirs = kind_of(one), kind_of(other)
    if mine is None or theirs is None:
        return mine or theirs or Form.TEXT
    if mine == theirs:
        padded = mine is Form.TEXT and {logical_base(one), logical_base(other)} & {"char", "bpchar"}
        return Form.PADDED if padded else mine
    pair = frozenset((mine, theirs))
    if pair in _BETWEEN:
        return _BETWEEN[pair]
    if pair == {Form.NUMBER, Form.FLOAT}:
        exact = one if mine is Form.NUMBER else other
        return Form.FLOAT if pa.types.is_integer(exact.type) else None
    if Form.TEXT in pair:
        left = theirs if mine is Form.TEXT else mine
        return left if left in _FROM_TEXT else None
    return None


_BETWEEN: Final = {
    frozenset({Form.DAY, Form.MOMENT}): Form.MOMENT,
    frozenset({Form.TEXT, Form.JSON}): Form.TEXT,
    frozenset({Form.TEXT, Form.SPAN}): Form.TEXT,
    frozenset({Form.CLOCK, Form.SPAN}): Form.CLOCK,
    frozenset({Form.TEXT, Form.UUID}): Form.TEXT,
    frozenset({Form.BYTES, Form.UUID}): Form.BYTES,
    frozenset({Form.JSON, Form.NESTED}): Form.JSON,
}
_FROM_TEXT: Final = frozenset({Form.NUMBER, Form.FLOAT, Form.DAY, Form.MOMENT, Form.CLOCK})


def kind_of(field: pa.Field) -> Form | None:
    """The form of a column by itself; None for one that holds nothing but NULL."""
    type_ = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    if pa.types.is_null(type_):
        return None
    if isinstance(type_, pa.JsonType):
        return Form.JSON
    if type_ == pa.uuid():
        return Form.UUID
    if is_text(type_):
        return _TEXTS.get(logical_base(field) or "", Form.TEXT)
    if is_bytes(type_) or pa.types.is_fixed_size_binary(type_):
        return Form.BYTES
    for is_kind, form in _KINDS:
        if is_kind(type_):
            return form
    return Form.NESTED


_TEXTS: Final = {"numeric": Form.NUMBER, "interval": Form.SPAN}  #: of types that travel as text
_KINDS: Final = (
    (pa.types.is_boolean, Form.NUMBER),
    (pa.types.is_integer, Form.NUMBER),
    (pa.types.is_decimal, Form.NUMBER),
    (pa.types.is_floating, Form.FLOAT),
    (pa.types.is_date, Form.DAY),
    (pa.types.is_timestamp, Form.MOMENT),
    (pa.types.is_time, Form.CLOCK),
)
