"""Decimals as PostgreSQL sends and takes numerics: digits of base 10,000 around the point.

Source: `numeric_send` and `numeric_recv` in PostgreSQL's source: number of digits, weight of the first, sign, digits
after the decimal point, then the digits, two bytes each. Zeros before and after are taken, and not sent.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from suiro.model.errors import InternalError

BASE: Final = 10_000
_NEGATIVE: Final = 0x4000
_NAN: Final = -0x4000  #: 0xC000
_ZERO: Final = bytes(8)  #: without digits
_DIGITS64: Final = 18  #: that a 64-bit integer holds
_LIMB: Final = np.uint64(2**32 - 1)
_NOTHING: Final = np.zeros(1, np.int16)  #: the digit of all numbers

Numbers = npt.NDArray[Any]


def decimals_of(sent: pa.Array, type_: pa.DataType) -> tuple[pa.Array, Numbers]:
    """Numerics as `numeric_send` gives them, in a decimal type that holds all numbers of their column's.

    With them, which are NaN; these are NULL. InternalError for what the type has no place for.
    """
    filled = pc.fill_null(sent, _ZERO) if sent.null_count else sent
    offsets = np.frombuffer(filled.buffers()[1], dtype=np.int32)[filled.offset :][: len(filled) + 1] // 2
    starts, size = offsets[:-1], int(offsets[-1]) if len(filled) else 0
    words = np.frombuffer(filled.buffers()[2] or b"", dtype=">i2", count=size).astype(np.int16)
    number, weight, sign = words[starts].astype(np.int32), words[starts + 1].astype(np.int32), words[starts + 2]
    before, after, spare = _places(type_)
    nan = sign == _NAN
    wrong = (sign != 0) & (sign != _NEGATIVE) & ~nan  # the infinities, which no column with a precision holds
    wrong |= (number > 0) & ((weight >= before) | (number - weight - 1 > after))
    values = _Long(len(filled), type_.bit_width // 32) if _is_long(type_) else _Short(len(filled))
    some, first, last = number > 0, starts + 4, starts + 3 + number
    highest = int(weight.max(where=some, initial=-after - 1))  # places above and below hold no digit of any number
    lowest = int((weight - number + 1).min(where=some, initial=before))
    for place in range(min(highest, before - 1), -after - 1, -1):
        at = first + weight - place
        there = (at >= first) & (at <= last)
        digit = words[np.where(there, at, 0)] * there if place >= lowest else _NOTHING
        if place == -after and spare > 1:
            digit, rest = np.divmod(digit, np.int16(spare))
            wrong |= rest > 0
            values.append(digit, BASE // spare)
        else:
            values.append(digit, BASE)
    if wrong.any():
        raise InternalError(f"numerics came that {type_} doesn't hold")
    data = values.finished(sign == _NEGATIVE, type_.bit_width // 64)
    array = pa.Array.from_buffers(type_, len(filled), [None, pa.py_buffer(data)])
    if sent.null_count or nan.any():
        array = pc.if_else(pc.and_(sent.is_valid(), pa.array(~nan)), array, pa.scalar(None, type_))
    return array, nan


def _places(type_: pa.DataType) -> tuple[int, int, int]:
    """Digits before and after the point, and the power of ten by which the last of them exceeds the scale."""
    after = -(-type_.scale // 4)
    return max(-(-(type_.precision - type_.scale) // 4), 0), after, 10 ** (after * 4 - type_.scale)


def _is_long(type_: pa.DataType) -> bool:
    return bool(type_.precision > _DIGITS64)


class _Short:
    """Whole numbers of up to 18 digits."""

    def __init__(self, number: int) -> None:
        self._values = np.zeros(number, np.int64)

    def append(self, digit: Numbers, base: int) -> None:
        """Shift by a digit of this base, and add it."""
        self._values = self._values * base + digit

    def finished(self, negative: Numbers, words: int) -> Numbers:
        """The words of the decimals, in two's complement."""
        values = np.where(negative, -self._values, self._values)
        found = np.empty((len(values), words), np.int64)
        found[:, 0] = values
        found[:, 1:] = (values >> 63)[:, None]
        return found


class _Long:
    """Whole numbers of any size, in 32-bit limbs."""

    def __init__(self, number: int, limbs: int) -> None:
        self._limbs: list[Numbers] = [np.zeros(number, np.uint64) for _ in range(limbs)]

    def append(self, digit: Numbers, base: int) -> None:
        """Shift by a digit of this base, and add it."""
        carry = digit.astype(np.uint64)
        for at, limb in enumerate(self._limbs):
            total = limb * np.uint64(base) + carry
            self._limbs[at], carry = total & _LIMB, total >> np.uint64(32)

    def finished(self, negative: Numbers, words: int) -> Numbers:
        """The words of the decimals, in two's complement."""
        limbs = _signed(self._limbs, negative)
        found = np.empty((len(negative), words), np.uint64)
        for at in range(words):
            found[:, at] = limbs[2 * at] | limbs[2 * at + 1] << np.uint64(32)
        return found


def numeric_bytes(array: pa.Array) -> Numbers:
    """A row of bytes for each decimal, its length before it: as many digits as the type may need. NULLs give any."""
    type_ = array.type
    scale = type_.scale
    before, after, _ = _places(type_)
    out = np.empty((len(array), 6 + before + after), dtype=">i2")
    out[:, 0], out[:, 1] = 0, 8 + 2 * (before + after)
    out[:, 2], out[:, 3], out[:, 5] = before + after, before - 1, scale
    if not _is_long(type_) and 4 * after <= _DIGITS64:
        negative = _short(array, scale, before, after, out[:, 6:])
    else:
        negative = _long(array, scale, before + after, out[:, 6:])
    out[:, 4] = np.where(negative, _NEGATIVE, 0)
    return out.view(np.uint8).reshape(len(array), -1)


def _words(array: pa.Array, words: int) -> Numbers:
    """Each decimal's 64-bit words, the lowest first."""
    buffer = array.buffers()[1]
    if buffer is None:
        return np.zeros((len(array), words), np.uint64)
    whole = np.frombuffer(buffer, dtype=np.uint64).reshape(-1, words)
    return whole[array.offset : array.offset + len(array)]


def _short(array: pa.Array, scale: int, before: int, after: int, digits: Numbers) -> Numbers:
    """Fill in the digits of decimals that 64 bits hold; which are negative."""
    values = _words(array, array.type.bit_width // 64)[:, 0].view(np.int64)
    negative = values < 0
    whole, part = np.divmod(np.abs(values), 10**scale) if scale else (np.abs(values), None)
    if part is not None:
        part = part * 10 ** (after * 4 - scale)
        for at in range(after - 1, 0, -1):
            part, digits[:, before + at] = np.divmod(part, BASE)
        digits[:, before] = part
    for at in range(before - 1, 0, -1):
        whole, digits[:, at] = np.divmod(whole, BASE)
    if before:
        digits[:, 0] = whole
    return negative


def _long(array: pa.Array, scale: int, number: int, digits: Numbers) -> Numbers:
    """Fill in the digits of longer decimals, by division of their 32-bit limbs; which are negative."""
    words = _words(array, array.type.bit_width // 64)
    limbs = [half for word in words.T for half in (word & _LIMB, word >> np.uint64(32))]
    negative = words[:, -1].view(np.int64) < 0
    limbs = _times(_signed(limbs, negative), 10 ** (-scale % 4))
    for at in range(number - 1, -1, -1):
        limbs, digits[:, at] = _divided(limbs)
    return negative


def _signed(limbs: list[Numbers], negative: Numbers) -> list[Numbers]:
    """The numbers, or their opposites in two's complement: to and from their absolute values."""
    flip = np.where(negative, _LIMB, np.uint64(0))
    carry = negative.astype(np.uint64)
    found = []
    for limb in limbs:
        total = (limb ^ flip) + carry
        found.append(total & _LIMB)
        carry = total >> np.uint64(32)
    return found


def _times(limbs: list[Numbers], factor: int) -> list[Numbers]:
    """A product, one limb longer."""
    carry = np.zeros_like(limbs[0])
    found = []
    for limb in limbs:
        total = limb * np.uint64(factor) + carry
        found.append(total & _LIMB)
        carry = total >> np.uint64(32)
    return [*found, carry]


def _divided(limbs: list[Numbers]) -> tuple[list[Numbers], Numbers]:
    """Quotient by BASE, and remainder."""
    rest = np.zeros_like(limbs[0])
    found: list[Numbers] = []
    for limb in reversed(limbs):
        total = (rest << np.uint64(32)) | limb
        quotient, rest = np.divmod(total, np.uint64(BASE))
        found.append(quotient)
    found.reverse()
    return found, rest
