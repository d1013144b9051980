"""Times read by a format: what fits is exact, what doesn't is none."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suiro.model.clock import Clock, moments, zone_of
from suiro.model.errors import ConfigError


@pytest.mark.parametrize(
    ("format_", "zone", "text", "moment"),
    [
        ("%Y-%m-%d %H:%M:%S", "UTC", "2026-01-31 12:34:56", datetime(2026, 1, 31, 12, 34, 56, tzinfo=UTC)),
        ("%Y-%m-%d %H:%M:%S", "Asia/Tokyo", "2026-01-31 12:34:56", datetime(2026, 1, 31, 3, 34, 56, tzinfo=UTC)),
        ("%Y-%m-%d %H:%M:%S", "+09:00", "2026-01-31 12:34:56", datetime(2026, 1, 31, 3, 34, 56, tzinfo=UTC)),
        ("%Y-%m-%d %H:%M:%S %z", "UTC", "2026-01-31 12:00:00 JST", datetime(2026, 1, 31, 3, tzinfo=UTC)),
        ("%Y-%m-%d %H:%M:%S %z", "UTC", "2026-01-31 12:00:00 +0530", datetime(2026, 1, 31, 6, 30, tzinfo=UTC)),
        ("%Y-%m-%dT%H:%M:%S%z", "UTC", "2026-01-31T12:00:00Z", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ("%F %T.%N", "UTC", "2026-01-31 12:00:00.123456000", datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=UTC)),
        ("%F %T.%L", "UTC", "2026-01-31 12:00:00.5", datetime(2026, 1, 31, 12, 0, 0, 500000, tzinfo=UTC)),
        ("%Y%m%d", "UTC", "20260131", datetime(2026, 1, 31, tzinfo=UTC)),
        ("%d/%b/%y %I:%M %p", "UTC", "31/Jan/26 12:05 AM", datetime(2026, 1, 31, 0, 5, tzinfo=UTC)),
        ("%Y-%j", "UTC", "2026-032", datetime(2026, 2, 1, tzinfo=UTC)),
        ("%s", "UTC", "-1", datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("%Q", "UTC", "1500", datetime(1970, 1, 1, 0, 0, 1, 500000, tzinfo=UTC)),
        ("%H:%M", "UTC", "12:30", datetime(1970, 1, 1, 12, 30, tzinfo=UTC)),
        ("%-d.%-m.%Y", "UTC", "1.2.2026", datetime(2026, 2, 1, tzinfo=UTC)),
        ("%a, %d %B %Y 100%%", "UTC", "Sun, 01 February 2026 100%", datetime(2026, 2, 1, tzinfo=UTC)),
    ],
)
def test_a_time_is_read_by_its_format(format_: str, zone: str, text: str, moment: datetime) -> None:
    assert Clock(format_, zone).read(text) == moment


@pytest.mark.parametrize(
    ("format_", "text"),
    [
        ("%Y-%m-%d", "2026-02-30"),
        ("%Y-%m-%d", "2026-01-31 "),
        ("%Y-%m-%d", "0000-01-01"),
        ("%H:%M:%S", "24:00:00"),
        ("%H:%M:%S", "12:00:60"),
        ("%I:%M %p", "13:00 PM"),
        ("%F %T.%N", "2026-01-31 12:00:00.123456789"),
        ("%F %T %z", "2026-01-31 12:00:00 XYZ"),
        ("%Y-%j", "2026-366"),
        ("%s", "999999999999999999"),
    ],
)
def test_what_is_no_such_time_or_finer_than_a_microsecond_is_none(format_: str, text: str) -> None:
    assert Clock(format_).read(text) is None


def test_an_hour_that_clocks_leap_over_is_none() -> None:
    clock = Clock("%F %T", "Europe/Berlin")
    assert clock.read("2026-03-29 02:30:00") is None
    assert clock.read("2026-10-25 02:30:00") == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)


def test_a_day_is_put_to_times_without_one() -> None:
    assert Clock("%H:%M", day=date(2026, 1, 1)).read("01:02") == datetime(2026, 1, 1, 1, 2, tzinfo=UTC)


def test_columns_keep_their_nulls_and_lose_what_does_not_fit() -> None:
    found = moments(pa.array(["2026-01-01", None, "x", "2026-01-01"]), Clock("%F"))
    day = datetime(2026, 1, 1, tzinfo=UTC)
    assert found.to_pylist() == [day, None, None, day]


@pytest.mark.parametrize(
    ("format_", "zone", "words"),
    [("%Y-%K", "UTC", "unknown directive %K"), ("%Y %F", "UTC", "says something twice"), ("%Y", "PST", "'PST'")],
)
def test_a_format_or_zone_that_is_unknown_is_refused(format_: str, zone: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Clock(format_, zone)


@given(st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30)))  # noqa: DTZ001
def test_what_is_written_is_read_back(moment: datetime) -> None:
    text = moment.isoformat(" ", "microseconds")
    assert Clock("%Y-%m-%d %H:%M:%S.%N").read(text) == moment.replace(tzinfo=zone_of("UTC"))
