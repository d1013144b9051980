"""Tests of logs that are read on from where one left off, by level."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from suiro.app import logs
from suiro.app.metadata import Metadata, metadata
from suiro.model.errors import ConfigError
from suiro.model.run import Status
from suiro.store.run_records import Claimed, TaskToRun


@pytest.fixture
def known(suiro_home: object) -> Metadata:
    return metadata()


@pytest.fixture
def claimed(known: Metadata) -> Claimed:
    """A run under way, whose log has 30 lines, every tenth a warning, and an error at the end."""
    known.runs.create("r", [TaskToRun(task="orders", settings={}, source="a", destination="b")], trigger="user")
    found = known.runs.claim("me", 60)
    assert found is not None
    at = datetime.now(UTC)
    lines = [(at, "warning" if n % 10 == 0 else "info", f"line {n}") for n in range(1, 31)]
    known.runs.append_log(found.attempt, [*lines, (at, "error", "the end")])
    return found


def test_a_log_is_read_page_by_page_and_the_last_cursor_waits_for_more(known: Metadata, claimed: Claimed) -> None:
    texts: list[str] = []
    after: int | None = None
    for _ in range(3):
        page, after = logs.lines("r", known, after=after, limit=12)
        texts += [line["text"] for line in page]
    assert texts == [*(f"line {n}" for n in range(1, 31)), "the end"]
    assert logs.lines("r", known, after=after) == ([], after)
    known.runs.append_log(claimed.attempt, [(datetime.now(UTC), "info", "more")])
    page, after = logs.lines("r", known, after=after)
    assert [(line["text"], line["task"], line["attempt"]) for line in page] == [("more", "orders", 1)]
    known.runs.finish(claimed.attempt, Status.SUCCEEDED)
    assert logs.lines("r", known, after=after) == ([], None)


def test_a_level_leaves_out_what_is_less_bad(known: Metadata, claimed: Claimed) -> None:
    page, after = logs.lines("r", known, level="warning", limit=2)
    assert [line["text"] for line in page] == ["line 10", "line 20"]
    page, after = logs.lines("r", known, level="warning", limit=2, after=after)
    assert [line["text"] for line in page] == ["line 30", "the end"]
    page, _ = logs.lines("r", known, level="error")
    assert [line["text"] for line in page] == ["the end"]


def test_a_run_that_is_not_there_has_no_log(known: Metadata) -> None:
    with pytest.raises(ConfigError, match="no run 'gone'"):
        logs.lines("gone", known)
