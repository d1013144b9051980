"""What fires: runs of jobs and loads begun by a scheduler, and what becomes of those that can't be; on both stores."""

from __future__ import annotations

import dataclasses
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from sqlalchemy import update

from shell import Shell
from suiro.app import running
from suiro.app.metadata import Metadata, metadata
from suiro.app.scheduling import scheduler
from suiro.runtime import scheduler as timing
from suiro.store.schedules import Due, Schedules
from suiro.store.tables import schedule as table

NOON = datetime(2031, 5, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


pytestmark = pytest.mark.crossed("metadata_at")


@pytest.fixture(params=["sqlite", "postgres"], autouse=True)
def metadata_at(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where the metadata is kept."""
    if request.param == "sqlite":
        return "sqlite"
    url: str = request.getfixturevalue("postgres_url")
    monkeypatch.setenv("SUIRO_METADATA_URL", url)
    return url


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A SQLite file with two tables."""
    path = tmp_path / "shop.sqlite"
    with closing(sqlite3.connect(path)) as db:
        db.executescript("CREATE TABLE orders (id INTEGER PRIMARY KEY); INSERT INTO orders VALUES (1), (2);")
    return path


def apply(suiro: Shell, folder: Path, **jobs: dict[str, Any]) -> Metadata:
    """Jobs that are scheduled for each full hour, from noon on."""
    said = {name: {"destination": "warehouse", "schedule": {"cron": "@hourly"}, **job} for name, job in jobs.items()}
    (folder / "jobs.yaml").write_text(json.dumps({"jobs": said}))
    applied = suiro("apply", str(folder / "jobs.yaml"))
    assert applied.code == 0, applied.err
    return count_from_noon()


def count_from_noon() -> Metadata:
    known = metadata()
    with known.database.begin() as connection:
        connection.execute(update(table).values(since=NOON, upto=NOON))
    return known


def tick(known: Metadata, hours: int) -> int:
    """A scheduler's tick so many hours after noon."""
    return scheduler(known, clock=lambda: NOON + hours * HOUR).tick()


def carry(known: Metadata, job: str) -> dict[str, Any]:
    """The result of the job's newest run, carried to its end."""
    (newest, *_) = running.runs(known, job=job)
    running.runner(known, slots=1).carry_run(newest["run"])
    return running.result(newest["run"], known)


def test_a_job_of_type_all_takes_streams_that_came_since(
    suiro: Shell, shop: Path, tmp_path: Path, suiro_home: Path
) -> None:
    known = apply(suiro, tmp_path, all={"source": f"sqlite://{shop}", "type": "all"})
    assert tick(known, 1) == 1
    first = carry(known, "all")
    assert (first["status"], first["trigger"], first["scheduled_for"]) == ("succeeded", "schedule", NOON + HOUR)
    with closing(sqlite3.connect(shop)) as db:
        db.executescript("CREATE TABLE items (id INTEGER PRIMARY KEY); INSERT INTO items VALUES (7);")
    assert tick(known, 2) == 1
    second = carry(known, "all")
    assert second["notes"] == ["New streams: items."]
    with duckdb.connect(str(suiro_home / "warehouse.duckdb")) as db:
        assert db.sql("SELECT id FROM items").fetchall() == [(7,)]


def test_a_source_that_cannot_be_reached_is_tried_again_and_then_seen_as_a_failed_run(
    suiro: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "RETRY_SECONDS", 0.0)
    known = apply(suiro, tmp_path, away={"source": "postgresql://nobody@127.0.0.1:1/none", "type": "all"})
    for _ in range(timing.MOST_TRIES):
        assert running.runs(known, job="away") == []
        tick(known, 1)
    (run,) = suiro("runs", "away", "--json").json
    assert (run["status"], run["trigger"], run["error"]["code"]) == ("failed", "schedule", "connection_lost")
    shown = suiro("show", run["run"])
    assert "Failed: " in shown.err and "127.0.0.1" in shown.err
    (fired,) = suiro("schedule", "history", "away", "--json").json
    assert (fired["outcome"], fired["run"], fired["error"]["message"]) == (
        "failed",
        run["run"],
        run["error"]["message"],
    )
    again = suiro("retry", run["run"])
    assert again.code == 1 and "It was never begun: suiro run away" in again.err


def test_a_load_whose_files_have_not_come_is_seen_as_failed_and_goes_on_the_next_time(
    suiro: Shell, tmp_path: Path
) -> None:
    first = tmp_path / "users_1.csv"
    first.write_text("id,email\n1,a@example.org\n")
    seed, load = tmp_path / "seed.yml", tmp_path / "load.yml"
    seed.write_text(f"in:\n  type: file\n  path_prefix: {tmp_path}/users_\nout:\n  mode: append\n")
    assert suiro("connector", "guess", str(seed), "-o", str(load)).code == 0
    made = suiro("connector", "create", "hourly", "@hourly", "td", "users", str(load), "--auto-create-table")
    assert made.code == 0, made.err
    first.unlink()
    known = count_from_noon()
    tick(known, 1)
    (line,) = suiro("connector", "history", "hourly", "--json").json
    assert (line["status"], line["session_time"]) == ("error", "2031-05-01T13:00:00+00:00")
    assert "no file begins with" in line["error"]
    assert "no file begins with" in suiro("td", "job", line["id"]).out
    first.write_text("id,email\n1,a@example.org\n")
    tick(known, 2)
    assert carry(known, "hourly")["status"] == "succeeded"
    assert [one["status"] for one in suiro("connector", "history", "hourly", "--json").json] == ["success", "error"]


class Meddling(Schedules):
    """The store's schedules beside a user who is quick."""

    meddle: Callable[[], object]

    def take(self, *arguments: Any) -> Due | None:
        due = super().take(*arguments)
        if due is not None:
            self.meddle()
        return due


def test_a_user_who_runs_the_job_in_that_very_instant_is_met_by_the_overlap(
    suiro: Shell, shop: Path, tmp_path: Path
) -> None:
    job = {"source": f"sqlite://{shop}", "tasks": [{"stream": "orders"}]}
    queue = {"cron": "@hourly", "overlap": "queue"}
    known = apply(suiro, tmp_path, skips=job, queues={**job, "schedule": queue})
    meddling = Meddling(known.database)
    beside = dataclasses.replace(known, schedules=meddling)
    meddling.meddle = lambda: [
        running.start(name, known, run=f"by-hand-{name}")
        for name in ("skips", "queues")
        if not running.goes(name, known)
    ]
    tick(beside, 1)
    (skipped,), (queued,) = (suiro("schedule", "history", name, "--json").json for name in ("skips", "queues"))
    assert (skipped["outcome"], skipped["run"]) == ("skipped", "by-hand-skips")
    assert (queued["outcome"], queued["run"]) == ("queued", None)
    assert carry(known, "queues")["status"] == "succeeded"
    assert tick(known, 1) == 1
    assert [one["trigger"] for one in suiro("runs", "queues", "--json").json] == ["schedule", "user"]
