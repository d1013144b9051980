"""Schedulers in processes that are killed at any moment: no moment is lost, and none has two runs."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import update

from suiro.runtime import scheduler as timing
from suiro.runtime.scheduler import Scheduler
from suiro.store.database import Database, open_database
from suiro.store.jobs import Jobs
from suiro.store.runs import Runs
from suiro.store.schedules import Due, Schedules
from suiro.store.systems import sqlite_url
from suiro.store.tables import schedule as table

if TYPE_CHECKING:
    from pathlib import Path

BEGIN = datetime(2031, 5, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
LEASE = 0.5  # seconds
pytestmark = pytest.mark.crossed("url")

PLACES = ("entered", "taken", "begun")  # after which step of firing a process dies
JOBS, MOMENTS, WORKERS, KILLS = 4, 25, 3, 12
LONGEST_SECONDS = 120


class Dying(Schedules):
    """The store's schedules for a process that dies after one of the steps, always or by chance."""

    def __init__(self, database: Database, dies: Callable[[str], bool]) -> None:
        super().__init__(database)
        self._dies = dies

    def perhaps_die(self, place: str) -> None:
        if self._dies(place):
            os.kill(os.getpid(), signal.SIGKILL)

    def enter(self, *arguments: object) -> bool:
        done = super().enter(*arguments)  # type: ignore[arg-type]
        self.perhaps_die("entered")
        return done

    def take(self, *arguments: object) -> Due | None:
        due = super().take(*arguments)  # type: ignore[arg-type]
        self.perhaps_die("taken")
        return due


def ticker(database: Database, schedules: Schedules, clock: Callable[[], datetime]) -> Scheduler:
    """A scheduler whose runs are done as soon as they are begun."""

    def fire(due: Due) -> str:
        run = Runs(database).create(due.run, [], trigger="schedule", job=due.job).id
        if isinstance(schedules, Dying):
            schedules.perhaps_die("begun")
        return run

    return Scheduler(schedules, fire, clock=clock, tick_seconds=0.02)


def work(url: str, place: str, seed: str) -> None:
    """A process of the tests: dies after one step, or, if that is `any`, at random, with a clock of its own speed."""
    timing.LEASE_SECONDS, timing.BEAT_SECONDS = LEASE, LEASE / 4  # type: ignore[misc]
    database, chance, begun = open_database(url), random.Random(seed), time.time()
    if place != "any":
        schedules = Dying(database, lambda at: at == place)
        ticker(database, schedules, lambda: BEGIN + MINUTE).tick()
        return
    schedules = Dying(database, lambda at: chance.random() < 0.02)
    base = float(os.environ["TEST_BEGAN"])
    ticking = ticker(database, schedules, lambda: BEGIN + (time.time() - base) * 2 * MINUTE)
    while time.time() - begun < LONGEST_SECONDS:
        ticking.tick()
        time.sleep(0.02)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return sqlite_url(tmp_path / "suiro.db")
    found: str = request.getfixturevalue("postgres_url")
    return found


@contextmanager
def stored(url: str, *names: str) -> Iterator[Database]:
    """A metadata database with a job of each name, to run each minute from BEGIN on."""
    database = open_database(url)
    said = {"cron": "* * * * *", "catch_up": "all", "overlap": "queue"}
    for name in names:
        Jobs(database).put(name=name, source="a", destination="b", schedule=said)
    with database.begin() as connection:
        connection.execute(update(table).values(since=BEGIN, upto=BEGIN))
    yield database
    database.close()


def process(url: str, place: str, seed: str = "0", began: float = 0.0) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "error", __file__, url, place, seed]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "TEST_BEGAN": str(began)})


@pytest.mark.parametrize("place", PLACES)
def test_a_moment_whose_server_is_killed_after_any_step_has_its_run_once(
    url: str, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "LEASE_SECONDS", LEASE)
    with stored(url, "j") as database:
        dying = process(url, place)
        _, said = dying.communicate(timeout=60)
        assert dying.returncode == -signal.SIGKILL, said
        schedules = Schedules(database)
        (left,) = schedules.history("j")
        assert left.outcome.value == ("queued" if place == "entered" else "starting") and left.run is None
        assert len(Runs(database).list().runs) == (1 if place == "begun" else 0)

        next_one = ticker(database, schedules, lambda: BEGIN + MINUTE)
        until = time.monotonic() + 30
        while schedules.get("j").open and time.monotonic() < until:
            next_one.tick()
            time.sleep(0.05)
        (one,) = schedules.history("j")
        (run,) = Runs(database).list().runs
        assert (one.outcome.value, one.run, one.scheduled_for) == ("started", run.id, BEGIN + MINUTE)


def test_servers_that_are_killed_at_random_lose_no_moment_and_double_none(url: str) -> None:
    names = [f"j{number}" for number in range(JOBS)]
    began, chance, killed = time.time(), random.Random(7), 0
    with stored(url, *names) as database:
        working = [process(url, "any", str(number), began) for number in range(WORKERS)]
        try:
            while time.time() - began < MOMENTS / 2 + 1 and time.time() - began < LONGEST_SECONDS:
                time.sleep(0.3)
                if killed < KILLS:
                    chance.choice(working).kill()
                for at, one in enumerate(working):
                    if one.poll() is not None:
                        assert one.returncode == -signal.SIGKILL, one.communicate()[1]
                        one.communicate()
                        killed += 1
                        working[at] = process(url, "any", f"{killed}", began)
            until = time.monotonic() + 60
            while _behind(database, names) and time.monotonic() < until:
                time.sleep(0.1)
                for at, one in enumerate(working):  # they go on dying by chance
                    if one.poll() is not None:
                        one.communicate()
                        killed += 1
                        working[at] = process(url, "any", f"{killed}", began)
        finally:
            for one in working:
                one.kill()
                one.communicate()
        assert killed >= KILLS
        _look(database, names)


def _behind(database: Database, names: list[str]) -> bool:
    found = {one.job: one for one in Schedules(database).all()}
    return any(found[name].upto < BEGIN + MOMENTS * MINUTE for name in names)


def _look(database: Database, names: list[str]) -> None:
    """Once each lease is over, one scheduler finishes what the dead left; then every moment has one run, in order."""
    schedules = Schedules(database)
    last = max(one.upto for one in schedules.all())
    finishing, until = ticker(database, schedules, lambda: last), time.monotonic() + 60
    while any(one.open for one in schedules.all()) and time.monotonic() < until:
        finishing.tick()
        time.sleep(0.02)
    runs = {run.id: run for run in Runs(database).list(limit=10_000).runs}
    for name in names:
        history = list(reversed(schedules.history(name, 10_000)))
        assert len(history) >= MOMENTS
        assert [one.scheduled_for for one in history] == [BEGIN + n * MINUTE for n in range(1, len(history) + 1)]
        assert {one.outcome.value for one in history} == {"started"}
        begun = [runs.pop(str(one.run)) for one in history]
        assert [run.created_at for run in begun] == sorted(run.created_at for run in begun)
        assert all(run.job == name for run in begun)
    assert runs == {}


if __name__ == "__main__":
    work(*sys.argv[1:])
