"""Values of a warehouse as an application's fields take them: exactly, or refused one by one with the reason."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any, Final
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from suiro.engine.fit import exactly
from suiro.engine.normal import normal
from suiro.model.types import DATE_INFINITY, TIMESTAMP_INFINITY, is_text, logical_base, logical_type
from suiro.model.writeback import FieldFacts

_DAY: Final = 86_400_000_000  #: microseconds


class Reasons:
    """Why rows are refused: of each row the first reason that was found."""

    def __init__(self, rows: int) -> None:
        self._which = np.zeros(rows, np.int32)  # from 1; 0: not refused
        self._said: list[tuple[str, str, str | None]] = []

    @property
    def fine(self) -> Any:
        """The rows that aren't refused, as a mask."""
        return self._which == 0

    def add(self, rows: Any, code: str, message: str, field: str | None) -> None:
        """Refuse the rows of a mask, or of a list of places, that aren't refused yet."""
        mask = np.zeros(len(self._which), bool)
        mask[rows] = True
        if (mask & self.fine).any():
            self._said.append((code, message, field))
            self._which[mask & self.fine] = len(self._said)

    def of(self, row: int) -> tuple[str, str, str | None]:
        """Why a row is refused: a code, a sentence, a field."""
        return self._said[int(self._which[row]) - 1]


def fitted(array: pa.Array, given: pa.Field, wanted: pa.Field, reasons: Reasons) -> pa.Array:
    """The column in the field's type; values that it doesn't hold exactly are refused, and NULL here."""
    convert = _conversion(given, wanted)
    done, bad = _sifted(array, convert, wanted.type)
    if bad:
        said = f"{wanted.name}: {logical_type(given) or given.type} value that {wanted.type} can't hold exactly"
        reasons.add(bad, "VALUE_DOES_NOT_FIT", said, wanted.name)
    endless = _endless(done, given)
    if endless is not None and endless.any():
        reasons.add(endless, "VALUE_IS_ENDLESS", f"{wanted.name}: infinity, NaN or the time 24:00:00", wanted.name)
        done = pc.if_else(pa.array(~endless), done, pa.scalar(None, done.type))
    return done


def _conversion(given: pa.Field, wanted: pa.Field) -> Callable[[pa.Array], pa.Array]:
    type_ = wanted.type
    if logical_base(given) == "numeric" and is_text(given.type) and not is_text(type_):
        return lambda array: _from_digits(array, type_)
    if given.type == pa.uuid() and is_text(type_):
        return lambda array: pa.array([None if v is None else str(UUID(bytes=v)) for v in array.storage.to_pylist()])
    return lambda array: exactly(array, type_)


def _from_digits(array: pa.Array, type_: pa.DataType) -> pa.Array:
    """Numbers that travel as text, because the warehouse bounds neither their size nor their digits."""
    found = [None if text is None else Decimal(text) for text in array.to_pylist()]
    if pa.types.is_floating(type_):
        done = [None if value is None else float(value) for value in found]
        if any(v is not None and w is not None and Decimal(repr(w)) != v for v, w in zip(found, done, strict=True)):
            raise pa.ArrowInvalid("a value would change")
        return pa.array(done, type_)
    if pa.types.is_integer(type_):
        return pa.array([None if value is None else _whole(value) for value in found], type_)
    return pa.array([None if value is None else value.normalize() for value in found], type_)


def _whole(value: Decimal) -> int:
    if value != value.to_integral_value():
        raise pa.ArrowInvalid("a value would change")
    return int(value)


_WRONG: Final = (pa.ArrowException, ValueError, OverflowError, InvalidOperation)


def _sifted(
    array: pa.Array, convert: Callable[[pa.Array], pa.Array], type_: pa.DataType, start: int = 0
) -> tuple[pa.Array, list[int]]:
    """The values that can be converted, NULL in the place of the others, and where those were."""
    try:
        return convert(array), []
    except _WRONG:
        if len(array) == 1:
            return pa.nulls(1, type_), [start]
    half = len(array) // 2
    left, bad = _sifted(array.slice(0, half), convert, type_, start)
    right, more = _sifted(array.slice(half), convert, type_, start + half)
    return pa.concat_arrays([left, right]), bad + more


def _endless(array: pa.Array, given: pa.Field) -> Any:
    """Where values are that no application takes, as a mask; None for types that have none."""
    type_ = array.type
    if pa.types.is_floating(type_):
        finite = pc.fill_null(pc.is_finite(array), True)
        return ~finite.to_numpy(zero_copy_only=False)
    if pa.types.is_date32(type_) or pa.types.is_timestamp(type_):
        counts = array.view(pa.int32() if type_.bit_width == 32 else pa.int64())
        most = DATE_INFINITY if pa.types.is_date32(type_) else TIMESTAMP_INFINITY
        if pa.types.is_timestamp(type_) and pa.types.is_date(given.type):
            return None
        ends = pc.or_(pc.equal(counts, most), pc.equal(counts, -most))
        return pc.fill_null(ends, False).to_numpy(zero_copy_only=False)
    if pa.types.is_time64(type_) and type_.unit == "us":
        return pc.fill_null(pc.greater_equal(array.view(pa.int64()), _DAY), False).to_numpy(zero_copy_only=False)
    return None


def checked(array: pa.Array, facts: FieldFacts, reasons: Reasons) -> None:
    """Refuse what the application is known to refuse: texts that are too long, values that aren't among its choices."""
    if not is_text(array.type):
        return
    plain = array.storage if isinstance(array, pa.ExtensionArray) else array
    if facts.most_characters is not None:
        long = pc.fill_null(pc.greater(pc.utf8_length(plain), facts.most_characters), False)
        said = f"{facts.name}: longer than {facts.most_characters:,} characters"
        reasons.add(long.to_numpy(zero_copy_only=False), "STRING_TOO_LONG", said, facts.name)
    if facts.choices is not None:
        known = pc.or_kleene(pc.is_in(plain, value_set=pa.array(facts.choices, plain.type)), pc.is_null(plain))
        said = f"{facts.name}: a value that isn't among its {len(facts.choices)} choices"
        reasons.add(~known.to_numpy(zero_copy_only=False), "NOT_A_CHOICE", said, facts.name)


def emptied(array: pa.Array, facts: FieldFacts) -> pa.Array:
    """The column with NULL for texts without characters, where that is the same to the application."""
    if not facts.empty_is_null or not is_text(array.type):
        return array
    return pc.if_else(pc.equal(array, ""), pa.scalar(None, array.type), array)


def same(one: pa.Array, other: pa.Array, field: pa.Field, facts: FieldFacts | None = None) -> Any:
    """Where two columns of one field hold the same, NULLs too, as a mask."""
    if facts is not None:
        one, other = emptied(one, facts), emptied(other, facts)
    left, right = normal(one, field), normal(other, field)
    if pa.types.is_nested(left.type):
        return np.array([a == b for a, b in zip(left.to_pylist(), right.to_pylist(), strict=True)], bool)
    equal = pc.fill_null(pc.equal(left, right), False)
    both = pc.and_(pc.is_null(left), pc.is_null(right))
    return pc.or_(equal, both).to_numpy(zero_copy_only=False)
