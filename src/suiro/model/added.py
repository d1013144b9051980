"""Columns of time that a task adds: another column's time, the time of the run, or one that the user names."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final


class Unit(StrEnum):
    """What a whole number of time counts."""

    SECOND = "sec"
    MILLI = "milli"
    MICRO = "micro"
    NANO = "nano"


PER_SECOND: Final = {Unit.SECOND: 1, Unit.MILLI: 10**3, Unit.MICRO: 10**6, Unit.NANO: 10**9}


@dataclass(frozen=True, slots=True, kw_only=True)
class AddedTime:
    """One added column. Without a column of the stream it holds `start`, or the time when the run began."""

    column: str | None = None  #: the stream's column, whose time it is: whole numbers, timestamps, dates, or text
    unit: Unit = Unit.SECOND  #: what that column's whole numbers count since 1970
    format: str | None = None  #: how that column's text is read (see `clock`)
    zone: str = "UTC"  #: of timestamps and text that name none
    start: datetime | None = None  #: aware
    stop: datetime | None = None  #: each row is a second after the one before, up to this; then again from `start`
    whole: Unit | None = None  #: so many of these since 1970, what is less being cut off; None: a timestamp in UTC
