"""Moments read from text by a format, in the directives that `strptime` of Ruby and of Python share."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pyarrow as pa
import pyarrow.compute as pc

from suiro.model.errors import ConfigError

MOMENT: Final = pa.timestamp("us", "UTC")

_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_NAMED: Final = {  #: hours from UTC of the zones that RFC 822 names, and Japan's
    "Z": 0, "UTC": 0, "GMT": 0, "EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8,
    "PDT": -7, "JST": 9,
}  # fmt: skip
_OFFSET: Final = re.compile(r"([+-])([0-9]{2}):?([0-9]{2})?")
_ZONE: Final = r"(?:Z|[A-Z]{3,4}|[+-][0-9]{2}(?::?[0-9]{2})?)"
_ONE: Final[Mapping[str, str]] = {
    "Y": r"(?P<year>[0-9]{4})",
    "y": r"(?P<short>[0-9]{2})",
    "m": r"(?P<month>[0-9]{1,2})",
    "b": r"(?P<name>[A-Za-z]{3,9})",
    "d": r"(?P<day>[ 0-9]?[0-9])",
    "j": r"(?P<nth>[0-9]{1,3})",
    "a": r"[A-Za-z]{3,9}",
    "H": r"(?P<hour>[ 0-9]?[0-9])",
    "I": r"(?P<twelve>[ 0-9]?[0-9])",
    "p": r"(?P<half>[AaPp]\.?[Mm]\.?)",
    "M": r"(?P<minute>[0-9]{1,2})",
    "S": r"(?P<second>[0-9]{1,2})",
    "N": r"(?P<part>[0-9]{1,12})",
    "z": rf"(?P<zone>{_ZONE})",
    "s": r"(?P<count>[+-]?[0-9]{1,18})",
    "Q": r"(?P<milli>[+-]?[0-9]{1,18})",
    "%": "%",
}
_SAME: Final = {"B": "b", "h": "b", "e": "d", "A": "a", "k": "H", "l": "I", "P": "p", "L": "N", "f": "N", "Z": "z"}
_LONGER: Final = {"T": "%H:%M:%S", "X": "%H:%M:%S", "R": "%H:%M", "F": "%Y-%m-%d", "D": "%m/%d/%y", "x": "%m/%d/%y"}
_DIRECTIVE: Final = re.compile(r"%[-_0^#]?([0-9]?[A-Za-z%])")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Clock:
    """Reads moments written in one format. `zone` is that of moments without one, `day` of times without a date.

    ConfigError for a directive or a zone that isn't known, and for a part that comes twice.
    """

    def __init__(self, format: str, zone: str = "UTC", day: date | None = None) -> None:
        self._zone, self._day = zone_of(zone), day or date(1970, 1, 1)
        try:
            self._pattern = re.compile(_pattern(format))
        except re.error as error:
            raise ConfigError(
                f"the time format {format!r} says something twice",
                hint="Write each part once, as in %Y-%m-%d %H:%M:%S.",
            ) from error

    def read(self, text: str) -> datetime | None:
        """The moment, in UTC with microseconds; None where the text isn't one or has finer parts of a second."""
        found = self._pattern.fullmatch(text)
        if found is None:
            return None
        said = {name: value for name, value in found.groupdict().items() if value is not None}
        try:
            return _whole(said, self._zone, self._day)
        except (ValueError, OverflowError):
            return None


def moments(values: pa.Array, clock: Clock) -> pa.Array:
    """Texts as `MOMENT`s; NULL where one is none."""
    coded = pc.dictionary_encode(values)
    found = [None if text is None else clock.read(text) for text in coded.dictionary.to_pylist()]
    return pa.array(found, MOMENT).take(coded.indices)


def zone_of(name: str) -> tzinfo:
    """An IANA zone, UTC, or an offset as +09:00. ConfigError for others: PST doesn't say which rules hold."""
    offset = _OFFSET.fullmatch(name)
    if offset is not None:
        return _offset(offset)
    if "/" in name or name in ("UTC", "GMT", "Japan", "Singapore", "Hongkong"):
        try:
            return ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            pass
    raise ConfigError(
        f"{name!r} is no time zone that is known", hint="Write an IANA name as Asia/Tokyo, UTC, or an offset as +09:00."
    )


def _pattern(format: str) -> str:
    out, at = "", 0
    for found in _DIRECTIVE.finditer(format):
        out += _literal(format[at : found.start()])
        letter = found[1][-1]
        if letter in _LONGER:
            out += _pattern(_LONGER[letter])
        else:
            kind = _SAME.get(letter, letter)
            if kind not in _ONE or (len(found[1]) > 1 and kind != "N"):
                raise ConfigError(
                    f"the time format {format!r} has an unknown directive {found[0]}",
                    hint="Known are %Y %y %m %b %d %e %j %H %I %p %M %S %L %N %z %Z %s %Q %T %F %R %D.",
                )
            out += _ONE[kind]
        at = found.end()
    return out + _literal(format[at:])


def _literal(text: str) -> str:
    return "".join(r"\s*" if part.isspace() else re.escape(part) for part in re.split(r"(\s+)", text) if part)


def _whole(said: Mapping[str, str], zone: tzinfo, day: date) -> datetime | None:
    if "count" in said or "milli" in said:
        seconds = (
            timedelta(milliseconds=int(said["milli"])) if "milli" in said else timedelta(seconds=int(said["count"]))
        )
        return _EPOCH + seconds
    part = said.get("part", "0").ljust(6, "0")
    if part[6:].strip("0"):
        return None
    if "zone" in said:
        zone = _named(said["zone"])
    naive = datetime.combine(_date(said, day), datetime.min.time()) + timedelta(
        hours=_hour(said), minutes=_below(said, "minute", 60), seconds=_below(said, "second", 60)
    )
    local = naive.replace(microsecond=int(part[:6]), tzinfo=zone)
    found = local.astimezone(UTC)
    return found if found.astimezone(zone).replace(tzinfo=None) == local.replace(tzinfo=None) else None


def _date(said: Mapping[str, str], day: date) -> date:
    if "short" in said:
        year = int(said["short"]) + (2000 if int(said["short"]) < 69 else 1900)
    elif "year" in said:
        year = int(said["year"])
    else:
        return day
    if "nth" in said:
        found = date(year, 1, 1) + timedelta(days=int(said["nth"]) - 1)
        if found.year != year:
            raise ValueError("no such day")
        return found
    month = (
        int(said["month"]) if "month" in said else _MONTHS.index(said["name"][:3].lower()) + 1 if "name" in said else 1
    )
    return date(year, month, int(said.get("day", "1")))


def _hour(said: Mapping[str, str]) -> int:
    if "twelve" not in said:
        return _below(said, "hour", 24)
    hour = int(said["twelve"])
    if not 1 <= hour <= 12:
        raise ValueError("no such hour")
    return hour % 12 + (12 if said.get("half", "a").lower().startswith("p") else 0)


def _below(said: Mapping[str, str], name: str, most: int) -> int:
    number = int(said.get(name, "0"))
    if number >= most:
        raise ValueError(f"no such {name}")
    return number


def _named(text: str) -> tzinfo:
    offset = _OFFSET.fullmatch(text)
    if offset is not None:
        return _offset(offset)
    if text not in _NAMED:
        raise ValueError("no such zone")
    return timezone(timedelta(hours=_NAMED[text]))


def _offset(found: re.Match[str]) -> tzinfo:
    away = timedelta(hours=int(found[2]), minutes=int(found[3] or "0"))
    return timezone(away if found[1] == "+" else -away)
