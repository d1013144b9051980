"""Schedules as words: their moments through changes of clocks, what is late, and what can't be read."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suiro.model.errors import ConfigError
from suiro.model.schedule import (
    LATE,
    MOST_PASSED,
    CatchUp,
    Overlap,
    Schedule,
    delay_of,
    fires,
    iana_zone,
    schedule_of,
)

ZONES = ("UTC", "America/New_York", "Europe/Berlin", "Asia/Tokyo", "Australia/Lord_Howe", "America/Sao_Paulo")

TIMES = st.integers(0, 334 * 86_400).map(lambda seconds: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds))


def at(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def moments(cron: str, zone: str, begin: str, end: str) -> list[str]:
    """The moments between two local times, as local times with their offset."""
    said, where = Schedule(cron=cron, zone=ZoneInfo(zone)), ZoneInfo(zone)
    after, until = (at(text).replace(tzinfo=where) for text in (begin, end))
    return [f"{one.astimezone(where):%m-%d %H:%M %z}" for one in said.passed(after, until).moments]


@pytest.mark.parametrize(
    ("zone", "day", "times"),
    [
        # 2026: New York goes back on November 1 at 02:00 to 01:00; Berlin on October 25 at 03:00 to 02:00
        ("America/New_York", "2026-11-01", {"30 1 * * *": ["11-01 01:30 -0400"], "30 2 * * *": ["11-01 02:30 -0500"]}),
        ("Europe/Berlin", "2026-10-25", {"30 2 * * *": ["10-25 02:30 +0200"], "30 3 * * *": ["10-25 03:30 +0100"]}),
        # and forward on March 8 at 02:00, and on March 29 at 02:00
        ("America/New_York", "2026-03-08", {"30 2 * * *": ["03-08 03:00 -0400"], "0 3 * * *": ["03-08 03:00 -0400"]}),
        ("Europe/Berlin", "2026-03-29", {"30 2 * * *": ["03-29 03:00 +0200"], "15,45 2 * * *": ["03-29 03:00 +0200"]}),
    ],
)
def test_a_time_of_day_comes_once_when_clocks_change(zone: str, day: str, times: dict[str, list[str]]) -> None:
    for cron, wanted in times.items():
        assert moments(cron, zone, day, f"{day}T23:59") == wanted


def test_what_goes_by_elapsed_time_comes_in_each_hour_of_the_night() -> None:
    hourly = moments("@hourly", "Europe/Berlin", "2026-10-25T00:30", "2026-10-25T03:30")
    assert hourly == ["10-25 01:00 +0200", "10-25 02:00 +0200", "10-25 02:00 +0100", "10-25 03:00 +0100"]
    assert len(moments("*/30 * * * *", "Europe/Berlin", "2026-03-29T00:59", "2026-03-29T04:01")) == 5


def test_a_beginning_within_the_hour_that_comes_twice_finds_no_moment_before_it() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    second_time = datetime(2026, 10, 25, 2, 10, tzinfo=berlin, fold=1)
    first = next(Schedule(cron="30 2 * * *", zone=berlin).moments(second_time))
    assert first == at("2026-10-26T01:30")


def by_the_calendar(
    minutes: set[int], hours: set[int], zone: ZoneInfo, begin: datetime, end: datetime
) -> set[datetime]:
    """Every time of day on every day once: the first one where it comes twice, the end of a gap that it falls into."""
    found = set()
    day: date = begin.astimezone(zone).date() - timedelta(days=1)
    while day <= end.astimezone(zone).date():
        for hour in hours:
            for minute in minutes:
                wall = datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone)
                while wall.astimezone(UTC).astimezone(zone) != wall:
                    wall += timedelta(minutes=1)
                found.add(wall.astimezone(UTC))
        day += timedelta(days=1)
    return {one for one in found if begin < one <= end}


@given(
    minutes=st.sets(st.integers(0, 59), min_size=1, max_size=3),
    hours=st.sets(st.integers(0, 23), min_size=1, max_size=4),
    zone=st.sampled_from(ZONES),
    start=TIMES,
    hold=st.integers(1, 24 * 40),
)
def test_times_of_day_come_as_the_calendar_has_them(
    minutes: set[int], hours: set[int], zone: str, start: datetime, hold: int
) -> None:
    end = start + timedelta(hours=hold)
    cron = f"{','.join(map(str, minutes))} {','.join(map(str, hours))} * * *"
    found = Schedule(cron=cron, zone=ZoneInfo(zone)).passed(start, end).moments
    assert list(found) == sorted(by_the_calendar(minutes, hours, ZoneInfo(zone), start, end))


@given(
    cron=st.sampled_from(["*/7 * * * *", "@hourly", "5 */3 * * *", "0 0 1 * *", "30 2 * * 0", "0 12 L * *"]),
    zone=st.sampled_from(ZONES),
    start=TIMES,
    cut=st.floats(0, 1),
)
def test_moments_are_the_same_wherever_one_begins_to_count(cron: str, zone: str, start: datetime, cut: float) -> None:
    schedule = Schedule(cron=cron, zone=ZoneInfo(zone))
    end = start + timedelta(days=3)
    middle = start + (end - start) * cut
    whole = schedule.passed(start, end).moments
    assert whole == schedule.passed(start, middle).moments + schedule.passed(middle, end).moments
    assert list(whole) == sorted(set(whole)) and all(start < one <= end for one in whole)


def test_of_very_many_moments_the_newest_are_looked_at() -> None:
    every_minute = Schedule(cron="* * * * *", zone=ZoneInfo("UTC"))
    found = every_minute.passed(at("2020-01-01"), at("2026-01-01"))
    assert found.dropped and len(found.moments) == MOST_PASSED
    assert found.moments[-1] == at("2026-01-01")
    assert found.moments[0] == at("2026-01-01") - timedelta(minutes=MOST_PASSED - 1)
    exactly = every_minute.passed(at("2026-01-01") - timedelta(minutes=MOST_PASSED), at("2026-01-01"))
    assert not exactly.dropped and len(exactly.moments) == MOST_PASSED
    assert every_minute.passed(at("2026-01-02"), at("2026-01-01")).moments == ()


def test_what_fires_after_a_downtime() -> None:
    passed = [at(f"2026-01-01T0{hour}:00") for hour in (1, 2, 3)]
    delay = timedelta(minutes=10)
    in_time, late = at("2026-01-01T03:10:30"), at("2026-01-01T03:10") + LATE + timedelta(seconds=1)
    wanted = {
        (CatchUp.NONE, in_time): passed[2:],
        (CatchUp.NONE, late): [],
        (CatchUp.LAST, in_time): passed[2:],
        (CatchUp.LAST, late): passed[2:],
        (CatchUp.ALL, in_time): passed,
        (CatchUp.ALL, late): passed,
    }
    for (catch_up, now), which in wanted.items():
        assert fires(catch_up, passed, delay, now) == set(which), (catch_up, now)


def test_two_moments_that_are_both_in_time_both_fire() -> None:
    passed = [at("2026-01-01T03:00"), at("2026-01-01T03:01")]
    for catch_up in CatchUp:
        assert fires(catch_up, passed, timedelta(0), passed[0] + LATE) == set(passed)


def test_a_document_is_read_with_its_defaults() -> None:
    assert schedule_of({"cron": "@daily"}) == Schedule(cron="@daily", zone=ZoneInfo("UTC"))
    said = {"cron": "10 0 * * *", "timezone": "Asia/Tokyo", "delay": "5m", "catch_up": "all", "overlap": "cancel"}
    assert schedule_of(said) == Schedule(
        cron="10 0 * * *",
        zone=ZoneInfo("Asia/Tokyo"),
        delay=timedelta(minutes=5),
        catch_up=CatchUp.ALL,
        overlap=Overlap.CANCEL,
    )
    with pytest.raises(ConfigError, match="a delay of 900d is too long"):
        schedule_of({"cron": "@daily", "delay": "900d"})


@pytest.mark.parametrize(
    "cron", ["", "often", "10 0 * *", "60 0 * * *", "0 0 30 2 *", "@sometimes", "0 0 0 * * *", "1 2 3 4 5 6 7"]
)
def test_what_is_no_cron_is_refused(cron: str) -> None:
    def first(found: Iterator[datetime]) -> list[datetime]:
        return list(islice(found, 1))

    with pytest.raises(ConfigError, match="is no schedule"):
        first(Schedule(cron=cron, zone=ZoneInfo("UTC")).moments(at("2026-01-01")))


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("5m", 300), ("2h", 7200), ("1d", 86400), ("0s", 0)])
def test_delays_are_times(text: str, seconds: int) -> None:
    assert delay_of(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "5", "m", "-5m", "5 w", "1.5h", "9999999d", "٣m"])
def test_what_is_no_delay_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is no time"):
        delay_of(text)


def test_zones_are_named_as_iana_does() -> None:
    assert iana_zone("Asia/Tokyo") == ZoneInfo("Asia/Tokyo")
    for name, words in {
        "PST": "no IANA time zone",
        "Asia/Tokio": "there is no time zone",
        "/etc": "no time zone",
    }.items():
        with pytest.raises(ConfigError, match=words):
            iana_zone(name)
