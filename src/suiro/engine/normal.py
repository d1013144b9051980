"""The one form that equal values have, whatever the text or the bits a system keeps them in."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from suiro.model.types import logical_base

_NAN8, _NAN4 = 0x7FF8000000000000, 0x7FC00000
_UNITS: Final = {"year": 12, "mon": 1, "month": 1}
_PART = re.compile(r"([+-]?\d+) (year|mon|month|day)s?(?: |$)")
_CLOCK = re.compile(r"([+-]?)(\d+):(\d\d)(?::(\d\d)(?:\.(\d{1,6}))?)?")


def normal(array: pa.Array, field: pa.Field) -> pa.Array:
    """The column in a form in which values are equal only if they are the same.

    Floats and temporal types as integers of their bits, with every NaN the quiet one; extension types by their
    storage; `jsonb` and `interval`, whose text systems write anew, by what the text says. The insides of nested types
    stay as they are.
    """
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    spelled = _SPELLED.get(logical_base(field) or "")
    if spelled is not None and pa.types.is_string(array.type):
        return pa.array([None if text is None else spelled(text) for text in array.to_pylist()], pa.string())
    return _bits(array)


def _bits(array: pa.Array) -> pa.Array:
    type_ = array.type
    if pa.types.is_null(type_):
        return array.cast(pa.int8())
    if pa.types.is_floating(type_):
        return _float_bits(array.cast(pa.float32()) if type_ == pa.float16() else array)
    if pa.types.is_interval(type_):
        return _as_bytes(array, 16)
    if pa.types.is_temporal(type_):
        return array.view(pa.int32() if type_.bit_width == 32 else pa.int64())
    if pa.types.is_decimal(type_):
        wide = array.cast(pa.decimal128(type_.precision, type_.scale)) if type_.bit_width < 128 else array
        return _as_bytes(wide, 32) if type_.bit_width == 256 else wide
    return array


def _float_bits(array: pa.Array) -> pa.Array:
    words, quiet = (pa.int64(), _NAN8) if array.type.bit_width == 64 else (pa.int32(), _NAN4)
    wrong = pc.is_nan(array)
    bits = array.view(words)
    return pc.if_else(wrong, pa.scalar(quiet, words), bits) if pc.any(wrong).as_py() else bits


def _as_bytes(array: pa.Array, width: int) -> pa.Array:
    return pa.Array.from_buffers(pa.binary(width), len(array), array.buffers(), offset=array.offset)


# -- text --------------------------------------------------------------------------------------------------------------


def _document(text: str) -> str:
    """A JSON document by its values: without regard to spaces, the order of members, and how numbers are written."""
    try:
        return json.dumps(json.loads(text, parse_float=_number, parse_int=_number), sort_keys=True)
    except (ValueError, RecursionError):
        return text


def _number(text: str) -> dict[str, str]:
    """A number by its digits and its place, as an object with a member that no `jsonb` has."""
    mantissa, _, exponent = text.lower().partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = f"{whole.lstrip('-')}{fraction}".lstrip("0")
    kept = digits.rstrip("0")
    place = int(exponent or 0) - len(fraction) + len(digits) - len(kept)
    return {"\0": f"{'-' if whole[0] == '-' else ''}{kept}e{place}" if kept else "0"}


def _interval(text: str) -> str:
    """An interval by its months, days and microseconds; text that is none as it is."""
    months = days = at = 0
    while found := _PART.match(text, at):
        amount, unit = int(found[1]), found[2]
        months, days = months + amount * _UNITS.get(unit, 0), days + (amount if unit == "day" else 0)
        at = found.end()
    if at == len(text) and at:
        return f"{months} {days} 0"
    clock = _CLOCK.fullmatch(text, at)
    if clock is None:
        return text
    sign, hours, minutes, seconds, fraction = clock.groups()
    micros = ((int(hours) * 60 + int(minutes)) * 60 + int(seconds or 0)) * 1_000_000 + int(
        (fraction or "").ljust(6, "0")
    )
    return f"{months} {days} {-micros if sign == '-' else micros}"


_SPELLED: Final[dict[str, Callable[[str], str]]] = {"jsonb": _document, "interval": _interval}
