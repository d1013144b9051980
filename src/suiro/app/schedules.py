"""Schedules: cron expressions in IANA time zones, and when they fire next."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from suiro.app.documents import ScheduleDocument, delay_of, near
from suiro.model.errors import ConfigError

_WORDS: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}


def check_schedule(schedule: ScheduleDocument) -> None:
    """ConfigError if it can't be read."""
    next_times(schedule, 1)


def next_times(schedule: ScheduleDocument, number: int, after: datetime | None = None) -> list[datetime]:
    """The next moments at which it fires, its delay included, in its own time zone."""
    from cronsim import CronSim, CronSimError  # on use: few commands ask

    zone, delay = zone_of(schedule.timezone), delay_of(schedule.delay)
    expression = _WORDS.get(schedule.cron.strip(), schedule.cron)
    start = (after or datetime.now(UTC)).astimezone(zone)
    try:
        moments = CronSim(expression, start - delay)
        return [next(moments) + delay for _ in range(number)]
    except (CronSimError, StopIteration) as error:
        raise ConfigError(
            f"{schedule.cron!r} is no schedule", hint="Write cron's five fields, as in 10 0 * * *, or @hourly, @daily."
        ) from error


def zone_of(name: str) -> tzinfo:
    """The IANA time zone of that name; ConfigError for abbreviations like PST, which don't say which rules hold."""
    if "/" not in name and name not in ("UTC", "GMT", "Japan", "Singapore", "Hongkong"):
        raise ConfigError(
            f"{name!r} is no IANA time zone", hint="Write it like Asia/Tokyo, America/Los_Angeles or UTC."
        )
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ConfigError(f"there is no time zone {name!r}", hint=near(name, available_timezones())) from error
