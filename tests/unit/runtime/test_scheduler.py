"""Schedulers over real metadata databases: each moment once, late ones, runs that overlap, clocks that are put back."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import update

from suiro.model.errors import AuthError, ConnectionLost
from suiro.model.run import Status
from suiro.model.schedule import LATE, MOST_PASSED, CatchUp, Overlap, schedule_of
from suiro.runtime import scheduler as timing
from suiro.runtime.scheduler import Scheduler
from suiro.store.database import Database, open_database
from suiro.store.jobs import Jobs
from suiro.store.runs import Runs, State, TaskToRun
from suiro.store.schedules import Due, Firing, Schedules
from suiro.store.systems import sqlite_url
from suiro.store.tables import schedule as table

TASK = TaskToRun(task="t", settings={"task": {}}, source="a", destination="b")
NOON = datetime(2031, 5, 1, 12, tzinfo=UTC)  #: after anything that a test stores, by the clock of this machine
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


class World:
    """A metadata database with jobs, a clock that tests set, and runs that end when a test says so."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.jobs, self.runs, self.schedules = Jobs(database), Runs(database), Schedules(database)
        self.now = NOON
        self.fired: list[tuple[str, datetime]] = []
        self.lock = threading.Lock()

    def job(self, name: str = "j", since: datetime = NOON, cron: str = "@hourly", **more: str) -> str:
        """A job whose schedule counts from `since` on; its id."""
        stored = self.jobs.put(name=name, source="a", destination="b", schedule={"cron": cron, **more})
        with self.database.begin() as connection:
            begun = update(table).where(table.c.job_id == stored.id).values(since=since, upto=since)
            connection.execute(begun)
        return stored.id

    def begin(self, due: Due) -> str:
        """What fires: a run that waits for its runner."""
        with self.lock:
            self.fired.append((due.job, due.scheduled_for))
        return self.runs.create(due.run, [TASK], trigger="schedule", job=due.job).id

    def at_once(self, due: Due) -> str:
        """What fires: a run that is done as soon as it is begun."""
        with self.lock:
            self.fired.append((due.job, due.scheduled_for))
        return self.runs.create(due.run, [], trigger="schedule", job=due.job).id

    def scheduler(self, fire: Callable[[Due], str | None] | None = None) -> Scheduler:
        return Scheduler(self.schedules, fire or self.begin, clock=lambda: self.now, tick_seconds=0.02)

    def end(self, status: Status = Status.SUCCEEDED) -> None:
        """End the run that goes."""
        claimed = self.runs.claim("runner", 60)
        assert claimed is not None and self.runs.finish(claimed.attempt, status)

    def history(self, job: str = "j") -> list[Firing]:
        """What became of the moments, oldest first."""
        return list(reversed(self.schedules.history(job, 10_000)))

    def outcomes(self, job: str = "j") -> list[tuple[str, str]]:
        return [(f"{one.scheduled_for:%H:%M}", one.outcome.value) for one in self.history(job)]


@pytest.fixture(params=["sqlite", "postgresql"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    sqlite = request.param == "sqlite"
    database = open_database(sqlite_url(tmp_path / "suiro.db") if sqlite else request.getfixturevalue("postgres_url"))
    yield World(database)
    database.close()


def test_a_moment_fires_once_when_it_is_due(world: World) -> None:
    world.job(delay="5m")
    ticking = world.scheduler()
    for minutes, begun in ((59, 0), (60, 0), (64, 0), (65, 1), (66, 0)):
        world.now = NOON + minutes * MINUTE
        assert ticking.tick() == begun, minutes
    (one,) = world.history()
    assert (one.scheduled_for, one.due_at) == (NOON + HOUR, NOON + 65 * MINUTE)
    run = world.runs.get(str(one.run))
    assert (run.trigger, run.job, run.state, run.created_at) == ("schedule", "j", State.QUEUED, one.fired_at)


def test_nothing_fires_for_moments_before_a_schedule_was_stored_or_changed(world: World) -> None:
    world.jobs.put(name="j", source="a", destination="b", schedule={"cron": "* * * * *", "catch_up": "all"})
    stored = world.schedules.get("j")
    world.now = stored.since + timedelta(seconds=1)
    assert world.scheduler().tick() <= 1  # at most the moment within this second
    version = world.jobs.get("j").version
    changed = world.jobs.put(
        name="j", source="a", destination="b", schedule={"cron": "*/2 * * * *", "catch_up": "all"}, version=version
    )
    again = world.schedules.get("j")
    assert stored.since < again.since == changed.updated_at == again.upto
    kept = world.jobs.put(
        name="j", source="x", destination="b", schedule={"cron": "*/2 * * * *"}, version=changed.version
    )
    assert world.schedules.get("j").since == again.since < kept.updated_at


def test_two_schedulers_fire_each_moment_once(world: World) -> None:
    for name in "abc":
        world.job(name, overlap="queue")
    both = [world.scheduler(world.at_once), world.scheduler(world.at_once)]
    for hours in range(1, 6):
        world.now = NOON + hours * HOUR
        threads = [threading.Thread(target=one.tick) for one in both]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    both[0].tick()
    wanted = Counter((name, NOON + hours * HOUR) for name in "abc" for hours in range(1, 6))
    assert Counter(world.fired) == wanted
    assert all(found.state is State.SUCCEEDED for found in world.runs.list(limit=100).runs)


@pytest.mark.parametrize(
    ("catch_up", "wanted"),
    [
        ("none", ["missed", "missed", "missed"]),
        ("last", ["missed", "missed", "started"]),
        ("all", ["started", "started", "started"]),
    ],
)
def test_after_a_downtime_the_schedule_catches_up_as_it_says(world: World, catch_up: str, wanted: list[str]) -> None:
    world.job(catch_up=catch_up)
    world.now = NOON + 3.5 * HOUR
    ticking = world.scheduler(world.at_once)
    for _ in range(4):
        ticking.tick()
    assert [outcome for _, outcome in world.outcomes()] == wanted
    assert world.fired == sorted(world.fired)
    world.now = NOON + 4 * HOUR
    assert ticking.tick() == 1  # what comes in time fires, whatever the schedule catches up with


def test_a_moment_within_a_short_stop_is_in_time(world: World) -> None:
    world.job(catch_up="none")
    world.now = NOON + HOUR + LATE
    assert world.scheduler().tick() == 1


def test_catching_up_with_all_leaves_out_the_oldest_of_very_many(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.job(cron="* * * * *", catch_up="all")
    world.now = NOON + (MOST_PASSED + 100) * MINUTE
    with caplog.at_level(logging.WARNING, "suiro.scheduler"):
        world.scheduler(world.at_once).tick()
    assert "too many moments have passed" in caplog.text and str(NOON) in caplog.text
    assert len(world.history()) == MOST_PASSED
    assert world.history()[0].scheduled_for == NOON + 101 * MINUTE


def test_skip_keeps_the_moment_and_the_run_that_stood_in_its_way(world: World) -> None:
    world.job()
    ticking = world.scheduler()
    for hours in (1, 2):
        world.now = NOON + hours * HOUR
        ticking.tick()
    first, second = world.history()
    assert (second.outcome.value, second.run, second.fired_at) == ("skipped", first.run, None)
    assert second.message == "the job still ran"
    world.end()
    world.now = NOON + 3 * HOUR
    ticking.tick()
    assert [outcome for _, outcome in world.outcomes()] == ["started", "skipped", "started"]


def test_queue_lets_one_moment_wait_for_the_end_of_the_run(world: World) -> None:
    world.job(overlap="queue")
    ticking = world.scheduler()
    for hours in (1, 2, 3):
        world.now = NOON + hours * HOUR
        ticking.tick()
    assert world.outcomes() == [("13:00", "started"), ("14:00", "queued"), ("15:00", "skipped")]
    assert world.history()[2].message == "another moment waited already"
    assert ticking.tick() == 0
    world.end(Status.FAILED)
    assert ticking.tick() == 1
    assert world.outcomes()[1] == ("14:00", "started")


def test_cancel_stops_the_run_waits_for_its_end_and_begins_the_next(world: World) -> None:
    world.job(overlap="cancel")
    ticking = world.scheduler()
    world.now = NOON + HOUR
    ticking.tick()
    claimed = world.runs.claim("runner", 60)
    assert claimed is not None
    for hours in (2, 3):
        world.now = NOON + hours * HOUR
        assert ticking.tick() == 0
    assert world.runs.beat(claimed.attempt, 60).cancel
    assert world.outcomes() == [("13:00", "started"), ("14:00", "skipped"), ("15:00", "queued")]
    world.runs.finish(claimed.attempt, Status.CANCELLED)
    assert ticking.tick() == 1
    assert world.outcomes()[2] == ("15:00", "started")


def test_a_run_that_a_user_began_counts_too(world: World) -> None:
    world.job()
    world.runs.create("by-hand", [TASK], trigger="user", job="j")
    world.now = NOON + HOUR
    assert world.scheduler().tick() == 0
    (one,) = world.history()
    assert (one.outcome.value, one.run) == ("skipped", "by-hand")


@pytest.mark.parametrize(("overlap", "wanted"), [("skip", "skipped"), ("queue", "queued"), ("cancel", "queued")])
def test_a_run_that_begins_just_before_is_met_as_the_schedule_says(world: World, overlap: str, wanted: str) -> None:
    def too_late(due: Due) -> str | None:
        world.runs.create("by-hand", [TASK], trigger="user", job="j")
        return None

    world.job(overlap=overlap)
    world.now = NOON + HOUR
    world.scheduler(too_late).tick()
    assert world.outcomes() == [("13:00", wanted)]
    assert world.runs.get("by-hand").cancel_requested == (overlap == "cancel")
    assert world.history()[0].run == ("by-hand" if wanted == "skipped" else None)


def test_catching_up_with_all_goes_one_by_one_while_new_moments_line_up_behind(world: World) -> None:
    world.job(catch_up="all")
    ticking = world.scheduler()
    world.now = NOON + 2.5 * HOUR
    ticking.tick()
    world.now = NOON + 3 * HOUR
    ticking.tick()
    assert world.outcomes() == [("13:00", "started"), ("14:00", "queued"), ("15:00", "queued")]
    for _ in range(2):
        world.end()
        ticking.tick()
    assert [outcome for _, outcome in world.outcomes()] == ["started"] * 3
    assert world.fired == sorted(world.fired)


def test_a_paused_schedule_fires_nothing_and_goes_on_from_when_it_is_resumed(world: World) -> None:
    world.job(overlap="queue", catch_up="all")
    ticking = world.scheduler()
    for hours in (1, 2):
        world.now = NOON + hours * HOUR
        ticking.tick()
    assert world.schedules.pause("j") and not world.schedules.pause("j")
    assert world.outcomes() == [("13:00", "started"), ("14:00", "skipped")]
    world.end()
    world.now = NOON + 5 * HOUR
    assert ticking.tick() == 0
    assert world.schedules.resume("j") and not world.schedules.resume("j")
    resumed = world.schedules.get("j")
    assert (resumed.paused_at, resumed.since) == (None, resumed.upto)
    assert abs(resumed.since - world.schedules.now()) < MINUTE


def test_a_schedule_that_is_taken_away_fires_no_more(world: World) -> None:
    world.job(overlap="queue")
    ticking = world.scheduler()
    for hours in (1, 2):
        world.now = NOON + hours * HOUR
        ticking.tick()
    world.jobs.put(name="j", source="a", destination="b", version=world.jobs.get("j").version)
    world.end()
    world.now = NOON + 5 * HOUR
    assert ticking.tick() == 0
    assert world.outcomes() == [("13:00", "started"), ("14:00", "skipped")]
    world.jobs.delete("j")
    assert ticking.tick() == 0


def test_a_run_that_cannot_be_begun_is_kept_as_failed(world: World) -> None:
    def refused(due: Due) -> str | None:
        raise AuthError("the source refused the user", hint="Check the password.")

    world.job()
    world.now = NOON + HOUR
    assert world.scheduler(refused).tick() == 1
    (one,) = world.history()
    assert (one.outcome.value, one.code, one.message) == ("failed", "auth_error", "the source refused the user")
    run = world.runs.get(str(one.run))
    assert (run.state, run.trigger, run.job, run.ended_at is not None) == (State.FAILED, "schedule", "j", True)
    assert run.settings["error"] == {
        "code": "auth_error",
        "message": "the source refused the user",
        "hint": "Check the password.",
    }
    world.now = NOON + 2 * HOUR
    assert world.scheduler().tick() == 1


def test_a_bug_in_beginning_a_run_is_kept_as_failed_too(world: World) -> None:
    def broken(due: Due) -> str | None:
        raise ZeroDivisionError

    world.job()
    world.now = NOON + HOUR
    world.scheduler(broken).tick()
    assert (world.history()[0].outcome.value, world.history()[0].code) == ("failed", "internal_error")
    world.now = NOON + 2 * HOUR
    world.scheduler(lambda due: due.run).tick()  # which says that it began a run, and didn't
    assert (world.history()[1].outcome.value, world.history()[1].code) == ("failed", "internal_error")


def test_what_may_work_later_is_tried_again_and_then_kept_as_failed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "RETRY_SECONDS", 0.0)
    tries: list[int] = []

    def away(due: Due) -> str | None:
        tries.append(due.tries)
        if due.job == "k" and due.tries == 3:
            return world.begin(due)
        raise ConnectionLost("the source is away")

    for name in "jk":
        world.job(name)
    world.now = NOON + HOUR
    ticking = world.scheduler(away)
    assert [ticking.tick() for _ in range(4)] == [2, 2, 2, 0]
    assert sorted(tries) == [1, 1, 2, 2, 3, 3]
    assert world.outcomes("j") == [("13:00", "failed")] and world.outcomes("k") == [("13:00", "started")]


def test_one_jobs_schedule_that_cannot_be_read_stops_no_other(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.job("a", cron="never")
    world.job("b", timezone="Nowhere/At_all")
    world.job("c")
    world.now = NOON + HOUR
    ticking = world.scheduler()
    with caplog.at_level(logging.WARNING, "suiro.scheduler"):
        assert ticking.tick() == 1
        ticking.tick()
    assert world.fired == [("c", NOON + HOUR)]
    assert caplog.text.count("the schedule of a can't be followed: 'never' is no schedule") == 1
    assert caplog.text.count("the schedule of b can't be followed") == 1


def test_a_slow_start_holds_up_neither_the_others_nor_its_lease(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A start that takes longer than its lease is nobody else's as long as its server ticks."""
    monkeypatch.setattr(timing, "LEASE_SECONDS", 1.0)
    monkeypatch.setattr(timing, "BEAT_SECONDS", 0.1)
    go, calls = threading.Event(), list[str]()

    def slow(due: Due) -> str | None:
        calls.append(due.job)
        if due.job == "a":
            assert go.wait(30)
        return world.begin(due)

    for name in "ab":
        world.job(name)
    world.now = NOON + HOUR
    both = [world.scheduler(slow), world.scheduler(slow)]
    threads = [threading.Thread(target=one.serve) for one in both]
    for thread in threads:
        thread.start()
    threading.Event().wait(2.5)
    assert world.outcomes("b") == [("13:00", "started")] and world.outcomes("a") == [("13:00", "starting")]
    go.set()
    threading.Event().wait(0.5)
    for one, thread in zip(both, threads, strict=True):
        one.stop()
        thread.join()
    assert world.outcomes("a") == [("13:00", "started")] and sorted(calls) == ["a", "b"]
    assert world.schedules.watches(60) == ()


def test_a_clock_that_is_put_back_fires_nothing_twice_and_keeps_nothing_silent(world: World) -> None:
    world.job(catch_up="last")
    ticking = world.scheduler(world.at_once)
    world.now = NOON + 100 * HOUR  # somebody set the clock wrong,
    ticking.tick()
    world.now = NOON + 30 * MINUTE  # and put it right
    ticking.tick()
    for hours in (1, 2, 3):
        world.now = NOON + hours * HOUR
        ticking.tick()
    assert [at for _, at in world.fired] == [NOON + hours * HOUR for hours in (100, 1, 2, 3)]
    world.now = NOON + 30 * MINUTE  # once more
    ticking.tick()
    for hours in (1, 2, 3, 4):
        world.now = NOON + hours * HOUR
        ticking.tick()
    assert [at for _, at in world.fired] == [NOON + hours * HOUR for hours in (100, 1, 2, 3, 4)]


def test_a_store_that_is_away_is_tried_again(world: World, caplog: pytest.LogCaptureFixture) -> None:
    away = threading.Event()
    away.set()

    class Broken(Schedules):
        def all(self) -> Any:
            if away.is_set():
                raise ConnectionLost("the metadata database is away")
            return super().all()

    world.job()
    world.now = NOON + HOUR
    ticking = Scheduler(Broken(world.database), world.begin, clock=lambda: world.now, tick_seconds=0.02)
    serving = threading.Thread(target=ticking.serve)
    with caplog.at_level(logging.WARNING, "suiro.scheduler"):
        serving.start()
        threading.Event().wait(0.5)
        away.clear()
        until = datetime.now(UTC) + timedelta(seconds=30)
        while not world.fired and datetime.now(UTC) < until:
            threading.Event().wait(0.02)
        ticking.stop()
        serving.join()
    assert world.fired == [("j", NOON + HOUR)]
    assert caplog.text.count("the metadata database is away") == 1


def test_on_its_own_it_goes_by_the_stores_clock(world: World) -> None:
    hour_ago = world.schedules.now() - 1.5 * HOUR
    world.job(since=hour_ago)
    assert Scheduler(world.schedules, world.begin).tick() == 1


def test_servers_that_tick_are_seen(world: World) -> None:
    assert world.schedules.watches(30) == ()
    one, other = world.scheduler(), world.scheduler()
    one.tick()
    other.tick()
    seen = world.schedules.watches(30)
    assert {found.owner for found in seen} == {one.owner, other.owner}
    assert all(found.since <= found.last_tick for found in seen)


# -- every moment exactly once ---------------------------------------------------------------------------------------

CRONS = ("*/20 * * * *", "@hourly", "30 2 * * *", "15,45 1-3 * * *", "0 */5 * * *", "59 23 * * *")
ZONES = ("UTC", "America/New_York", "Europe/Berlin", "Asia/Tokyo")
NIGHTS = (
    datetime(2031, 3, 9, tzinfo=UTC),
    datetime(2031, 3, 30, tzinfo=UTC),
    datetime(2031, 10, 26, tzinfo=UTC),
    datetime(2031, 11, 2, tzinfo=UTC),
)  # fmt: skip  (of changes of clocks)

Step = tuple[int, str]  #: minutes that pass, and who ticks then: a, b, or both at the same time


@pytest.fixture(scope="module")
def drawn_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    database = open_database(sqlite_url(tmp_path_factory.mktemp("drawn") / "suiro.db"))
    yield World(database)
    database.close()


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    said=st.fixed_dictionaries(
        {
            "cron": st.sampled_from(CRONS),
            "timezone": st.sampled_from(ZONES),
            "delay": st.sampled_from(["0s", "5m", "3h"]),
            "catch_up": st.sampled_from([one.value for one in CatchUp]),
            "overlap": st.sampled_from([one.value for one in Overlap]),
        }
    ),
    begin=st.builds(lambda night, minutes: night + minutes * MINUTE, st.sampled_from(NIGHTS), st.integers(-1500, 1500)),
    steps=st.lists(st.tuples(st.sampled_from([0, 1, 1, 10, 60, 400, 2000]), st.sampled_from(["a", "b", "both"]))),
)
def test_every_moment_comes_once_in_order_and_none_before_the_beginning(
    drawn_world: World, said: Mapping[str, str], begin: datetime, steps: list[Step]
) -> None:
    world = drawn_world
    world.fired.clear()
    world.now = begin
    world.job(since=begin, **said)
    tickers = {name: world.scheduler(world.at_once) for name in "ab"}
    looked = [begin]
    for minutes, who in steps:
        world.now += minutes * MINUTE
        looked.append(world.now)
        threads = [threading.Thread(target=tickers[name].tick) for name in ("ab" if who == "both" else who)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for _ in range(500):  # what waits for its turn
        if world.schedules.get("j").open == 0:
            break
        tickers["a"].tick()
    found, schedule = world.history(), schedule_of(said)
    world.jobs.delete("j")
    came = schedule.passed(begin, world.now - schedule.delay).moments
    assert tuple(one.scheduled_for for one in found) == came
    started = [one.scheduled_for for one in found if one.outcome.value == "started"]
    assert [at for _, at in world.fired] == started
    assert started == expected(came, looked, schedule.delay, schedule.catch_up)


def expected(came: tuple[datetime, ...], looked: list[datetime], delay: timedelta, catch_up: CatchUp) -> list[datetime]:
    """Which moments fire if somebody looks at these times, and runs take no time."""
    if catch_up is CatchUp.ALL:
        return list(came)
    found = []
    for before, now in pairwise(looked):
        due = [one for one in came if before < one + delay <= now]
        in_time = [one for one in due if now - one - delay <= MINUTE]
        found += in_time or (due[-1:] if catch_up is CatchUp.LAST else [])
    return found
