"""Schedules as they are stored: from when they count, who takes a moment, and what is left by whoever died."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, text, update

from suiro.model.errors import ConfigError
from suiro.store import migrations
from suiro.store.database import Database, open_database
from suiro.store.firings import MOST_DEATHS
from suiro.store.jobs import Jobs, StoredJob
from suiro.store.runs import Runs, State, TaskToRun
from suiro.store.schedules import Due, FiringOutcome, Moment, Schedules
from suiro.store.tables import firing, schedule

TASK = TaskToRun(task="t", settings={}, source="a", destination="b")
LEASE = 60.0


def put(database: Database, name: str = "j", **schedule: str) -> StoredJob:
    said = {"cron": "@hourly", **schedule}
    known = {job.name: job.version for job in Jobs(database).all()}
    return Jobs(database).put(name=name, source="a", destination="b", schedule=said, version=known.get(name))


def enter(database: Database, *hours: int, name: str = "j", late: bool = False) -> bool:
    """Moments so many hours behind the schedule's beginning."""
    found = Schedules(database).get(name)
    moments = [
        Moment(scheduled_for=at, due_at=at, fires=True, late=late)
        for at in (found.since + timedelta(hours=hour) for hour in hours)
    ]
    return Schedules(database).enter(found, moments, moments[-1].scheduled_for)


def taken(database: Database, job: StoredJob, owner: str = "me", lease: float = LEASE) -> Due:
    due = Schedules(database).take(job.id, owner, lease)
    assert due is not None
    return due


def outcomes(database: Database, name: str = "j") -> list[str]:
    return [one.outcome.value for one in reversed(Schedules(database).history(name))]


def test_a_schedule_counts_from_when_it_was_stored(database: Database) -> None:
    job = put(database)
    found = Schedules(database).get("j")
    assert (found.since, found.upto, found.paused_at, found.open) == (job.created_at, job.created_at, None, 0)
    assert (found.job, found.schedule) == ("j", {"cron": "@hourly"})
    assert [one.job for one in Schedules(database).all()] == ["j"]


@pytest.mark.parametrize(
    ("changes", "anew"),
    [
        ({"cron": "@daily"}, True),
        ({"timezone": "Asia/Tokyo"}, True),
        ({"delay": "5m"}, True),
        ({"overlap": "queue", "catch_up": "all"}, False),
        ({"timezone": "UTC", "delay": "0s"}, False),
    ],
)
def test_what_changes_moments_lets_it_count_anew(database: Database, changes: dict[str, str], anew: bool) -> None:
    first = put(database)
    enter(database, 1)
    changed = put(database, **changes)
    found = Schedules(database).get("j")
    assert found.since == (changed.updated_at if anew else first.created_at)
    assert found.upto == (changed.updated_at if anew else first.created_at + timedelta(hours=1))
    assert outcomes(database) == ["skipped" if anew else "queued"]


def test_a_pause_outlives_a_change_and_a_name(database: Database) -> None:
    put(database)
    Schedules(database).pause("j")
    put(database, cron="@daily")
    Jobs(database).rename("j", "k")
    assert Schedules(database).get("k").paused_at is not None
    assert not enter(database, 1, name="k")


def test_what_has_no_schedule_is_told(database: Database) -> None:
    Jobs(database).put(name="bare", source="a", destination="b")
    with pytest.raises(ConfigError, match="the job 'bare' has no schedule"):
        Schedules(database).pause("bare")
    with pytest.raises(ConfigError, match="there is no job 'bar'"):
        Schedules(database).resume("bar")
    with pytest.raises(ConfigError, match="there is no job 'bar'"):
        Schedules(database).history("bar")
    assert Schedules(database).history("bare") == ()


def test_a_moment_is_entered_once(database: Database) -> None:
    put(database)
    found = Schedules(database).get("j")
    assert enter(database, 1)
    at = found.since + timedelta(hours=1)
    assert not Schedules(database).enter(found, [Moment(scheduled_for=at, due_at=at, fires=True)], at)
    again = Schedules(database).get("j")
    assert Schedules(database).enter(again, [Moment(scheduled_for=at, due_at=at, fires=True)], at)
    assert outcomes(database) == ["queued"]


def test_a_moment_is_taken_by_one_and_by_another_once_its_lease_is_over(database: Database) -> None:
    job = put(database)
    enter(database, 1)
    assert Schedules(database).get("j").ready
    first = taken(database, job, lease=0.0)
    assert first.tries == 1
    second = taken(database, job, "other")
    assert (second.tries, second.run, second.scheduled_for) == (2, first.run, first.scheduled_for)
    assert Schedules(database).take(job.id, "third", LEASE) is None
    assert not Schedules(database).get("j").ready


def test_of_two_who_begin_the_same_run_one_does_and_neither_calls_it_failed(database: Database) -> None:
    """The first was taken for dead, and lives."""
    job = put(database)
    enter(database, 1)
    first, second = taken(database, job, lease=0.0), taken(database, job, "other")
    Runs(database).create(second.run, [TASK], trigger="schedule", job="j")
    with pytest.raises(ConfigError, match="there is a run"):
        Runs(database).create(first.run, [TASK], trigger="schedule", job="j")
    Schedules(database).failed(first, {"code": "config_error", "message": "no", "hint": None})
    assert outcomes(database) == ["started"]
    assert Schedules(database).started(second)
    assert len(Runs(database).list().runs) == 1


def test_who_was_overtaken_decides_nothing_any_more(database: Database) -> None:
    job = put(database)
    enter(database, 1)
    first, second = taken(database, job, lease=0.0), taken(database, job, "other")
    Schedules(database).failed(first, {"code": "config_error", "message": "no", "hint": None})
    Schedules(database).busy(first)
    Schedules(database).later(first, 0.0)
    assert outcomes(database) == ["starting"] and Runs(database).list().runs == ()
    assert not Schedules(database).started(second)


def test_a_run_that_was_begun_by_who_died_then_is_found(database: Database) -> None:
    job = put(database)
    enter(database, 1)
    dead = taken(database, job, lease=0.0)
    Runs(database).create(dead.run, [TASK], trigger="schedule", job="j")
    assert Schedules(database).get("j").ready
    assert Schedules(database).take(job.id, "other", LEASE) is None
    (one,) = Schedules(database).history("j")
    assert (one.outcome, one.run) == (FiringOutcome.STARTED, dead.run)
    assert not Schedules(database).get("j").ready


def test_what_a_dead_server_had_taken_before_a_change_does_not_fire_after_it(database: Database) -> None:
    job = put(database)
    with database.begin() as connection:
        an_hour_ago = job.created_at - timedelta(hours=1, minutes=30)
        connection.execute(update(schedule).values(since=an_hour_ago, upto=an_hour_ago))
    enter(database, 1)
    taken(database, job, lease=0.0)
    put(database, cron="@daily")
    assert Schedules(database).take(job.id, "other", LEASE) is None
    assert outcomes(database) == ["skipped"]


def test_a_moment_that_ends_each_server_that_takes_it_fails(database: Database) -> None:
    job = put(database)
    enter(database, 1)
    for number in range(MOST_DEATHS):
        assert taken(database, job, lease=0.0).tries == number + 1
    assert Schedules(database).take(job.id, "next", LEASE) is None
    (one,) = Schedules(database).history("j")
    (run,) = Runs(database).list().runs
    assert (one.outcome, one.code, one.run) == (FiringOutcome.FAILED, "internal_error", run.id)
    assert run.state is State.FAILED and "each server that tried ended" in run.settings["error"]["message"]


def test_old_moments_are_taken_away_and_do_not_fire_again(database: Database) -> None:
    job = put(database, catch_up="all")
    enter(database, 1, 2, 3, late=True)
    due = taken(database, job)
    Schedules(database).failed(due, {"code": "x", "message": "x", "hint": None})
    since = Schedules(database).get("j").since
    newest = Schedules(database).newest()
    assert newest[job.id] == Schedules(database).history("j", 1)[0]
    assert Schedules(database).prune(since + timedelta(days=1)) == 1  # two are open
    assert outcomes(database) == ["queued", "queued"]
    assert Schedules(database).get("j").upto == since + timedelta(hours=3)


def test_runs_of_moments_have_names_of_their_own(database: Database) -> None:
    jobs = [put(database, name) for name in ("j", "k")]
    for name in ("j", "k"):
        enter(database, 1, 2, name=name, late=True)
    names = set()
    for job in jobs:
        due = taken(database, job)
        names.add(due.run)
        Schedules(database).failed(due, {"code": "x", "message": "x", "hint": None})
    assert len(names) == 2
    assert [found.state for found in Runs(database).list().runs] == [State.FAILED] * 2


def test_what_ticks_is_seen_until_it_leaves_and_keeps_what_it_begins(database: Database) -> None:
    job, kept = put(database), Schedules(database)
    enter(database, 1)
    due = taken(database, job, "me", lease=0.0)
    kept.beat("me", LEASE, [due.firing])
    assert kept.take(job.id, "other", LEASE) is None
    assert [watch.owner for watch in kept.watches(30)] == ["me"]
    assert kept.watches(0) == ()
    kept.leave("me")
    assert kept.watches(30) == ()


def test_runs_and_jobs_that_go_leave_nothing_broken(database: Database) -> None:
    job = put(database)
    enter(database, 1)
    due = taken(database, job)
    Runs(database).create(due.run, [], trigger="schedule", job="j")
    Schedules(database).started(due)
    assert Runs(database).prune(datetime.now(UTC) + timedelta(hours=1)) == 1
    (one,) = Schedules(database).history("j")
    assert (one.outcome, one.run) == (FiringOutcome.STARTED, None)
    Jobs(database).delete("j")
    with database.read() as connection:
        assert connection.execute(select(firing.c.id)).all() == []
    Schedules(database).failed(due, {"code": "x", "message": "x", "hint": None})


def test_schedules_that_were_there_before_count_from_the_migration_on(database: Database, database_url: str) -> None:
    put(database)
    Jobs(database).put(name="bare", source="a", destination="b")
    with database.begin() as connection:
        migrations.downgrade(connection, "0002")
        assert connection.execute(text("SELECT count(*) FROM job")).scalar_one() == 2
    before = datetime.now(UTC)
    migrated = open_database(database_url)
    (found,) = Schedules(migrated).all()
    assert (found.job, found.since, found.paused_at) == ("j", found.upto, None)
    assert before <= found.since <= datetime.now(UTC)
    migrated.close()
