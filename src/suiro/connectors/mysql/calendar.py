"""Dates and times of the binary protocol as days and microseconds."""

from __future__ import annotations

from datetime import date
from typing import Any, Final

import numpy as np
import numpy.typing as npt

DAY: Final = 86_400_000_000  #: microseconds

Numbers = npt.NDArray[np.int64]
Words = npt.NDArray[Any]

_MONTHS = 16  #: places for each year in the tables below
_YEARS = 10_000


def _tables() -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint8]]:
    """By year and month: the day before its first, counted from 1970-01-01; how many days it has, if any."""
    first = np.zeros((_YEARS, _MONTHS), np.int32)
    length = np.zeros((_YEARS, _MONTHS), np.uint8)
    in_month = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31, 0, 0, 0])
    years = np.arange(_YEARS)
    leap = (years % 4 == 0) & ((years % 100 != 0) | (years % 400 == 0))
    length[:] = in_month
    length[leap, 2] = 29
    flat = np.cumsum(length.reshape(-1).astype(np.int64))
    first.reshape(-1)[1:] = flat[:-1]
    first += 1 - 366 - date(1970, 1, 1).toordinal() - 1  # year 0 has 366 days, and day 1 is 0001-01-01
    return first, length


_FIRST, _LENGTH = (table.reshape(-1) for table in _tables())


def days(dates: Words, length: Numbers) -> tuple[Numbers, npt.NDArray[np.bool_]]:
    """Days since 1970-01-01 of packed dates, and which of them no calendar has; a length of 0 is 0000-00-00."""
    at = ((dates & 0xFFFF) << 4) | ((dates >> 16) & 15)
    day = dates >> 24
    there = (length > 0) & ((dates & 0xFFFF) < _YEARS)
    at = np.where(there, at, 0).astype(np.int64)
    unknown = ~there | (day == 0) | (day > _LENGTH[at])
    return _FIRST[at].astype(np.int64) + day, unknown


def moments(day: Numbers, clocks: Words, length: Numbers) -> Numbers:
    """Microseconds since 1970-01-01 00:00 of days and packed times of day, which may be left out."""
    seconds = (clocks & 0xFF) * 3600 + ((clocks >> np.uint64(8)) & 0xFF) * 60 + ((clocks >> np.uint64(16)) & 0xFF)
    seconds = np.where(length > 4, seconds, 0).astype(np.int64)
    fraction = np.where(length > 7, (clocks >> np.uint64(24)) & 0xFFFFFFFF, 0).astype(np.int64)
    found: Numbers = day * DAY + seconds * 1_000_000 + fraction
    return found


def micros(heads: Words, fractions: Words, length: Numbers) -> Numbers:
    """Microseconds of packed amounts of time: sign, days, hours, minutes, seconds, microseconds."""
    day, clock = (heads >> np.uint64(8)) & 0xFFFFFFFF, heads >> np.uint64(40)
    seconds = day * 86_400 + (clock & 0xFF) * 3600 + ((clock >> np.uint64(8)) & 0xFF) * 60 + (clock >> np.uint64(16))
    whole = np.where(length > 0, seconds, 0).astype(np.int64) * 1_000_000
    whole += np.where(length > 8, fractions, 0).astype(np.int64)
    signed: Numbers = np.where((heads & 0xFF) == 1, -whole, whole)
    return signed


def date_text(packed: bytes) -> str:
    """A packed date as the server writes it."""
    if not packed:
        return "0000-00-00"
    return f"{int.from_bytes(packed[:2], 'little'):04}-{packed[2]:02}-{packed[3]:02}"


def why_no_date(packed: bytes) -> str:
    """What a packed date that no calendar has is, without its value."""
    text = date_text(packed[:4])
    if text == "0000-00-00":
        return f"{text}, which no calendar has"
    year, month, day = text.split("-")
    wrong = {"year": year == "0000", "month": month == "00", "day": day == "00"}
    parts = " and ".join(part for part, is_zero in wrong.items() if is_zero)
    return f"a date without a {parts}" if parts else "a day that its month doesn't have"


def moment_text(packed: bytes) -> str:
    """A packed date and time as the server writes it; fractions where there are any."""
    hour, minute, second = packed[4:7] if len(packed) > 4 else (0, 0, 0)
    return f"{date_text(packed[:4])} {hour:02}:{minute:02}:{second:02}{_fraction(packed[7:])}"


def time_text(packed: bytes) -> str:
    """A packed amount of time as the server writes it; fractions where there are any."""
    if not packed:
        return "00:00:00"
    hours = int.from_bytes(packed[1:5], "little") * 24 + packed[5]
    return f"{'-' if packed[0] else ''}{hours:02}:{packed[6]:02}:{packed[7]:02}{_fraction(packed[8:])}"


def _fraction(packed: bytes) -> str:
    return f".{int.from_bytes(packed, 'little'):06}" if packed else ""
