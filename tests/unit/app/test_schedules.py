"""Next times of schedules, as people see them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from suiro.app.documents import ScheduleDocument
from suiro.app.schedules import check_schedule, next_times
from suiro.model.errors import ConfigError

NIGHTLY = ScheduleDocument(cron="10 0 * * *", timezone="Asia/Tokyo", delay="5m")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def test_next_times_hold_the_delay_and_are_in_the_schedules_zone() -> None:
    found = next_times(NIGHTLY, 2, at("2026-05-01T00:12:00+09:00"))  # its moment has passed, its run is still to come
    assert [one.isoformat() for one in found] == ["2026-05-01T00:15:00+09:00", "2026-05-02T00:15:00+09:00"]


def test_a_schedule_that_was_stored_within_its_delay_comes_the_next_time() -> None:
    stored = at("2026-05-01T00:12:00+09:00")
    assert next_times(NIGHTLY, 1, stored, since=stored)[0].isoformat() == "2026-05-02T00:15:00+09:00"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"cron": "often"}, "'often' is no schedule"),
        ({"cron": "0 0 30 2 *"}, "is no schedule"),
        ({"timezone": "PST"}, "'PST' is no IANA time zone"),
        ({"delay": "soon"}, "'soon' is no time"),
        ({"delay": "400d"}, "a delay of 400d is too long"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        check_schedule(NIGHTLY.model_copy(update=changes))
