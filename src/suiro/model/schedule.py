"""Schedules as words: cron expressions in IANA time zones, their moments, and which of them still count."""

from __future__ import annotations

import difflib
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from enum import StrEnum
from itertools import islice, takewhile
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from cronsim import CronSim, CronSimError

from suiro.model.errors import ConfigError

LATE: Final = timedelta(minutes=1)  #: a moment that is due for longer has been missed, and is the catch-up's
LONGEST_DELAY: Final = timedelta(days=366)
MOST_PASSED: Final = 1000  #: moments of one schedule that are looked at after a downtime, the newest
_WORDS: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_FIELDS: Final = 5
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_CITYLESS: Final = ("UTC", "GMT", "Japan", "Singapore", "Hongkong")


class CatchUp(StrEnum):
    """Which moments fire late, when no server watched the clock as they came."""

    NONE = "none"
    LAST = "last"
    ALL = "all"


class Overlap(StrEnum):
    """What becomes of a moment that comes while the job still runs."""

    SKIP = "skip"
    QUEUE = "queue"
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When a job runs by itself. A run is due `delay` after its moment."""

    cron: str
    zone: tzinfo
    delay: timedelta = timedelta(0)
    catch_up: CatchUp = CatchUp.LAST
    overlap: Overlap = Overlap.SKIP

    def moments(self, after: datetime) -> Iterator[datetime]:
        """The moments behind `after`, without the delay, in UTC, each later than the one before. They may end.

        A time of day comes once on every day: also on the one when clocks go back, and at the end of the gap where
        clocks go forward over it. Steps (`*/30`, `* * * * *`) go by elapsed time. ConfigError for what is no cron.
        """
        last = after
        start = after.astimezone(UTC if self.zone == _UTC else self.zone)
        expression = _WORDS.get(self.cron.strip(), self.cron)
        if len(expression.split()) != _FIELDS:
            raise no_schedule(self.cron)  # a sixth field is seconds to some, and years to others
        try:
            for local in CronSim(expression, start):
                found = local.astimezone(UTC)
                if found > last:  # a time of day may be before `after`, where that lies in the hour that comes twice
                    last = found
                    yield found
        except (CronSimError, OverflowError) as error:
            raise no_schedule(self.cron) from error

    def passed(self, after: datetime, until: datetime) -> Passed:
        """The newest moments behind `after` and up to `until`, in their order; at most MOST_PASSED."""
        span = timedelta(hours=1)
        while True:
            start = max(after, until - span)
            found = list(islice(self._between(start, until), MOST_PASSED + 1))
            if len(found) > MOST_PASSED:
                newest = tuple(deque(self._between(start, until), maxlen=MOST_PASSED))
                return Passed(moments=newest, dropped=True)
            if start == after:
                return Passed(moments=tuple(found), dropped=False)
            span *= 4

    def _between(self, after: datetime, until: datetime) -> Iterator[datetime]:
        return takewhile(lambda moment: moment <= until, self.moments(after))


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """Moments that have come, oldest first. `dropped`: there were older ones, too many to look at."""

    moments: tuple[datetime, ...]
    dropped: bool


_UTC: Final = ZoneInfo("UTC")


def schedule_of(said: Mapping[str, Any]) -> Schedule:
    """The schedule that a job's document says: `cron`, `timezone`, `delay`, `catch_up`, `overlap`.

    ConfigError for a word that can't be read; whether `cron` can be is seen when its moments are asked for.
    """
    delay = delay_of(str(said.get("delay", "0s")))
    if delay > LONGEST_DELAY:
        raise ConfigError(f"a delay of {said['delay']} is too long", hint=f"At most {LONGEST_DELAY.days}d.")
    return Schedule(
        cron=str(said["cron"]),
        zone=iana_zone(str(said.get("timezone", "UTC"))),
        delay=delay,
        catch_up=CatchUp(said.get("catch_up", CatchUp.LAST)),
        overlap=Overlap(said.get("overlap", Overlap.SKIP)),
    )


def fires(catch_up: CatchUp, passed: Sequence[datetime], delay: timedelta, now: datetime) -> frozenset[datetime]:
    """Which of the moments that have come (oldest first) fire now: those in time, and late ones as `catch_up` says."""
    late = [moment for moment in passed if is_late(moment + delay, now)]
    in_time = passed[len(late) :]
    match catch_up:
        case CatchUp.NONE:
            return frozenset(in_time)
        case CatchUp.LAST:
            return frozenset(in_time or passed[-1:])
        case CatchUp.ALL:
            return frozenset(passed)


def is_late(due_at: datetime, now: datetime) -> bool:
    """Whether a moment that was due then has been missed."""
    return now - due_at > LATE


def delay_of(text: str) -> timedelta:
    """`90s`, `5m`, `2h` or `1d`. ConfigError otherwise."""
    number, unit = text[:-1].strip(), _UNITS.get(text[-1:])
    if unit is None or not number.isascii() or not number.isdecimal() or len(number) > 6:
        raise ConfigError(f"{text!r} is no time", hint="Write 90s, 5m, 2h or 1d.")
    return timedelta(**{unit: int(number)})


def iana_zone(name: str) -> tzinfo:
    """The IANA time zone of that name; ConfigError for abbreviations like PST, which don't say which rules hold."""
    if "/" not in name and name not in _CITYLESS:
        raise ConfigError(
            f"{name!r} is no IANA time zone", hint="Write it like Asia/Tokyo, America/Los_Angeles or UTC."
        )
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        near = difflib.get_close_matches(name, available_timezones(), n=1)
        hint = f"Did you mean {near[0]}?" if near else "Write it like Asia/Tokyo or America/Los_Angeles."
        raise ConfigError(f"there is no time zone {name!r}", hint=hint) from error


def no_schedule(cron: str) -> ConfigError:
    """The error for a cron expression that is none, or never comes."""
    return ConfigError(
        f"{cron!r} is no schedule", hint="Write cron's five fields, as in 10 0 * * *, or @hourly, @daily."
    )
