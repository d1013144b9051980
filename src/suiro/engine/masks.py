"""Masks at work: columns of values to columns of hashes, tokens, stars or nothing, an Arrow batch at a time."""

from __future__ import annotations

import hashlib
import struct
import unicodedata
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from math import prod
from typing import Any, Final
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc

from suiro.engine.fit import text_length
from suiro.model.errors import ConfigError, DataError
from suiro.model.masking import KEYED_MASKS, How, Mask, MaskKey
from suiro.model.types import (
    DATE_INFINITY,
    MAY_BE_INFINITE,
    TIMESTAMP_INFINITY,
    is_bytes,
    is_text,
    logical_base,
    logical_field,
    logical_type,
    storage,
)

_NUMERIC: Final = frozenset({"numeric", "decimal"})  #: logical types whose text is a number
_CHARACTERS: Final = frozenset({None, "varchar", "char", "bpchar", "text", "name"})
_ROOM: Final = 2**63  #: so many tokens there must be of a key's form, so that two keys hardly ever share one
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Masker:
    """One column's mask. `identifies`: the column belongs to the key, so different values must stay different.

    ConfigError where mask and column don't go together; the message holds no value.
    """

    def __init__(self, name: str, field: pa.Field, mask: Mask, key: MaskKey | None, *, identifies: bool) -> None:
        if identifies and mask.how not in KEYED_MASKS:
            raise ConfigError(
                f"column {name} belongs to the key, and {mask} would make different keys alike",
                hint="Use hash or tokenise for it, or choose another key.",
            )
        if mask.how in KEYED_MASKS and key is None:
            raise ConfigError(
                f"the mask {mask} of column {name} needs a key",
                hint="Name it with --mask-key env:NAME or --mask-key file:PATH.",
            )
        if mask.how is How.TRUNCATE and not _is_plain_text(field):
            raise ConfigError(
                f"column {name} is {logical_type(field) or field.type}, and only text can be cut",
                hint="Leave the mask out, or use another one.",
            )
        self._name, self._field, self._mask, self._key, self._identifies = name, field, mask, key, identifies
        self._canonical = None if mask.how is How.NULL else _canonical(name, field)
        self.field = self._masked_field()  #: the column as it is after the mask
        self.cut = 0  #: how many values were cut so far

    def apply(self, array: pa.Array) -> pa.Array:
        """The column's values masked, in the type of `field`."""
        if self._canonical is None:
            return pa.nulls(len(array), self.field.type)
        match self._mask.how:
            case How.MASK:
                return _starred(self._canonical(array), self._mask.length)
            case How.TRUNCATE:
                return self._truncated(array)
            case _:
                return self._by_value(self._canonical(array))

    def _masked_field(self) -> pa.Field:
        name, length = self._field.name, self._mask.length
        if self._mask.how is How.NULL:
            return self._field
        if self._mask.how is How.TRUNCATE:
            return logical_field(name, pa.string(), f"varchar({min(length, text_length(self._field) or length)})")
        return pa.field(name, pa.string())

    def _truncated(self, array: pa.Array) -> pa.Array:
        texts = array.cast(pa.string())
        self.cut += pc.sum(pc.greater(pc.utf8_length(texts), self._mask.length)).as_py() or 0
        return pc.utf8_slice_codeunits(texts, 0, self._mask.length)

    def _by_value(self, texts: pa.Array) -> pa.Array:
        """Hash or token, worked out once for each value of the batch."""
        assert self._key is not None
        found = texts.dictionary_encode()
        work = self._hash if self._mask.how is How.HASH else self._token
        masked = pa.array([work(value) for value in found.dictionary.to_pylist()], pa.string())
        return masked.take(found.indices)

    def _hash(self, text: str) -> str:
        assert self._key is not None
        return self._key.digest(text.encode()).hex()

    def _token(self, text: str) -> str:
        assert self._key is not None
        choices = [_class_of(letter) for letter in text]
        if self._identifies and prod(map(len, filter(None, choices))) < _ROOM:
            raise DataError(
                f"column {self._name} belongs to the key and holds values too short for tokens that differ",
                hint="Use hash for it.",
                column=self._name,
            )
        picks = zip(text, choices, _numbers(self._key, text), strict=True)
        return "".join([choice[number % len(choice)] if choice else letter for letter, choice, number in picks])


# -- tokens ------------------------------------------------------------------------------------------------------------

_DIGITS: Final = "0123456789"
_LOWER: Final = "abcdefghijklmnopqrstuvwxyz"
_UPPER: Final = _LOWER.upper()
_HIRAGANA: Final = "あいうえおかきくけこさしすせそたちつてとなにぬねのはひふへほまみむめもやゆよらりるれろわん"
_KATAKANA: Final = "".join(chr(ord(letter) + 0x60) for letter in _HIRAGANA)
_KANJI: Final = "".join(map(chr, range(0x4E00, 0x9FA0)))


@lru_cache(maxsize=100_000)
def _class_of(letter: str) -> str:
    """The letters that may stand for this one; empty for a sign or a space, which stays."""
    if letter.isascii():
        return _DIGITS if letter.isdigit() else _LOWER if letter.islower() else _UPPER if letter.isupper() else ""
    at = ord(letter)
    if 0x3041 <= at <= 0x3096:
        return _HIRAGANA
    if 0x30A1 <= at <= 0x30FA or 0xFF66 <= at <= 0xFF9D:
        return _KATAKANA
    if 0x3400 <= at <= 0x9FFF or 0xF900 <= at <= 0xFAFF or 0x20000 <= at <= 0x3FFFF:
        return _KANJI
    kind = unicodedata.category(letter)
    if kind[0] == "N":
        return _DIGITS
    return (_UPPER if kind == "Lu" else _LOWER) if kind[0] in "LM" else ""


def _numbers(key: MaskKey, text: str) -> tuple[int, ...]:
    """A number below 2**32 for each character, which only key and text decide."""
    seed = key.digest(b"suiro token: " + text.encode())
    return struct.unpack(f">{len(text)}I", hashlib.shake_256(seed).digest(4 * len(text)))


def _starred(texts: pa.Array, keep: int) -> pa.Array:
    """`*` for all but the last `keep` characters; for all of them where there are no more."""
    lengths = pc.utf8_length(texts).cast(pa.int64())
    hidden = pc.if_else(pc.greater(lengths, keep), pc.subtract(lengths, keep), lengths)
    stars = pc.binary_repeat(pa.scalar("*"), hidden)
    if keep == 0:
        return stars
    ends = pc.if_else(pc.greater(lengths, keep), pc.utf8_slice_codeunits(texts, -keep), "")
    return pc.binary_join_element_wise(stars, ends, "")


# -- the canonical text of a value -------------------------------------------------------------------------------------


def _is_plain_text(field: pa.Field) -> bool:
    plain = is_text(field.type) and not isinstance(field.type, pa.BaseExtensionType)
    return plain and logical_base(field) in _CHARACTERS


def _canonical(name: str, field: pa.Field) -> Callable[[pa.Array], pa.Array]:
    """What gives the canonical text of the column's values: the same for one value whatever type it has.

    Numbers without an exponent and without zeros at the end (`2`, `2.00` and `2e0` are one value); true and false;
    days and times as ISO 8601 says, without zeros at the end of a fraction, moments in UTC with a Z; UUIDs in small
    letters; bytes as hexadecimal digits; text as it is, but for the spaces that pad a `char(n)`. ConfigError
    for others.
    """
    type_, base = field.type, logical_base(field)
    inner = type_.value_type if pa.types.is_dictionary(type_) else storage(type_)
    say: Callable[[Any], str] | None = None
    if isinstance(type_, pa.UuidType):
        say = lambda value: str(UUID(bytes=value))  # noqa: E731
    elif is_text(inner):
        say = _number_text if base in _NUMERIC else (lambda v: v.rstrip(" ")) if base in ("char", "bpchar") else str
    elif pa.types.is_boolean(inner):
        say = lambda value: "true" if value else "false"  # noqa: E731
    elif pa.types.is_integer(inner):
        say = str
    elif pa.types.is_decimal(inner):
        say = _decimal_text
    elif pa.types.is_floating(inner):
        say = _float_text(inner)
    elif is_bytes(inner) or pa.types.is_fixed_size_binary(inner):
        say = bytes.hex
    elif pa.types.is_date(inner) or pa.types.is_timestamp(inner) or pa.types.is_time(inner):
        return lambda array: _moments(name, array, inner, endless=base in MAY_BE_INFINITE)
    if say is None:
        raise ConfigError(
            f"column {name} is {logical_type(field) or type_}, which has no single text to mask",
            hint="Use null for it, or leave the column out.",
        )
    return lambda array: _said(array, say)


def _plain(array: pa.Array) -> pa.Array:
    inner = array.storage if isinstance(array, pa.ExtensionArray) else array
    return inner.dictionary_decode() if pa.types.is_dictionary(inner.type) else inner


def _said(array: pa.Array, say: Callable[[Any], str]) -> pa.Array:
    """The text of each value, worked out once for each value of the batch."""
    plain = _plain(array)
    if say is str:
        return plain.cast(pa.string())
    found = plain.dictionary_encode()
    return pa.array([say(value) for value in found.dictionary.to_pylist()], pa.string()).take(found.indices)


def _decimal_text(value: Decimal) -> str:
    if not value.is_finite():
        return str(value)
    text = format(value, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text


def _number_text(text: str) -> str:
    try:
        return _decimal_text(Decimal(text))
    except InvalidOperation:
        return text


def _float_text(type_: pa.DataType) -> Callable[[Any], str]:
    """The shortest decimal number that means this float."""
    import numpy as np

    shape: Any = {16: np.float16, 32: np.float32, 64: np.float64}[type_.bit_width]
    return lambda value: _decimal_text(Decimal(np.format_float_positional(shape(value), unique=True, trim="-")))


def _moments(name: str, array: pa.Array, type_: pa.DataType, *, endless: bool) -> pa.Array:
    plain = _plain(array)
    if pa.types.is_date(type_):
        days = plain.cast(pa.date32()).view(pa.int32())
        return _said(days, lambda number: _infinity(number, DATE_INFINITY, endless) or _day(name, number))
    if pa.types.is_time(type_):
        clock = plain.cast(pa.time64("us")).view(pa.int64())
        return _said(clock, _clock)
    try:
        micros = plain.cast(pa.timestamp("us", type_.tz)).view(pa.int64())
    except pa.ArrowInvalid:
        raise _beyond(name) from None
    zone = "Z" if type_.tz else ""
    return _said(micros, lambda number: _infinity(number, TIMESTAMP_INFINITY, endless) or _instant(name, number) + zone)


def _infinity(number: int, infinity: int, endless: bool) -> str | None:
    if endless and abs(number) == infinity:
        return "infinity" if number > 0 else "-infinity"
    return None


def _day(name: str, days: int) -> str:
    try:
        return (date(1970, 1, 1) + timedelta(days=days)).isoformat()
    except OverflowError:
        raise _beyond(name) from None


def _instant(name: str, micros: int) -> str:
    try:
        return _short((_EPOCH + timedelta(microseconds=micros)).replace(tzinfo=None).isoformat())
    except OverflowError:
        raise _beyond(name) from None


def _clock(micros: int) -> str:
    """Hours may be 24, as the end of a day is written."""
    seconds, fraction = divmod(micros, 1_000_000)
    text = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return f"{text}.{fraction:06}".rstrip("0") if fraction else text


def _short(text: str) -> str:
    return text.rstrip("0") if "." in text else text


def _beyond(name: str) -> DataError:
    return DataError(
        f"column {name} holds a day or time that can't be written as ISO 8601 says",
        hint="Use null for it, or filter those rows out.",
    )
