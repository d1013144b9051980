"""Tests of stored runs: claims, leases, limits, ends, cancels, lists, logs, positions."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import insert, select, text, update
from sqlalchemy.exc import IntegrityError

from suiro.model.errors import ConfigError
from suiro.model.run import Status
from suiro.store import endings
from suiro.store.database import Database, moment
from suiro.store.jobs import Jobs, TaskDefinition
from suiro.store.logs import storable
from suiro.store.runs import Beat, Claimed, Runs, State, StoredRun, TaskToRun
from suiro.store.tables import attempt, run, task_run

LONG = 60.0


def create(
    database: Database, id: str, tasks: int = 1, *, source: str = "a", destination: str = "b", **options: Any
) -> StoredRun:
    wanted = [
        TaskToRun(task=f"t{number}", settings={"n": number}, source=source, destination=destination)
        for number in range(tasks)
    ]
    return Runs(database).create(id, wanted, **{"trigger": "user", **options})


def claim(database: Database, owner: str = "me", **options: Any) -> Claimed:
    found = Runs(database).claim(owner, options.pop("lease", LONG), **options)
    assert found is not None
    return found


def expire(database: Database, *claimed: Claimed) -> None:
    """Let leases end now."""
    with database.begin() as connection:
        ids = [one.attempt.id for one in claimed]
        ended = moment(connection) - timedelta(seconds=1)
        connection.execute(update(attempt).where(attempt.c.id.in_(ids)).values(lease_until=ended))


def states(database: Database, id: str) -> list[str]:
    return [found.state.value for found in Runs(database).task_runs(id)]


def test_a_run_is_kept_as_it_was_given(database: Database) -> None:
    Jobs(database).put(name="j", source="a", destination="b", tasks=[TaskDefinition(name="t1")])
    stored = create(database, "r", 2, job="j", trigger="retry", retry_of="q", settings={"parallel": 4, "x": [1]})
    job = Jobs(database).get("j")
    assert Runs(database).get("r") == stored
    assert (stored.job_id, stored.job, stored.trigger, stored.retry_of) == (job.id, "j", "retry", "q")
    assert (stored.state, stored.parallel, stored.settings) == (State.QUEUED, 4, {"parallel": 4, "x": [1]})
    assert (stored.started_at, stored.ended_at, stored.cancel_requested) == (None, None, False)
    first, second = Runs(database).task_runs("r")
    assert (first.task, first.ordinal, first.task_id, second.task_id) == ("t0", 0, None, job.tasks[0].id)
    assert (second.settings, second.source, second.destination, second.state) == ({"n": 1}, "a", "b", State.QUEUED)


def test_what_cannot_be_a_run_is_told_and_nothing_is_stored(database: Database) -> None:
    create(database, "r")
    with pytest.raises(ConfigError, match="there is a run 'r' already"):
        create(database, "r")
    with pytest.raises(ConfigError, match="there is no job 'j'"):
        create(database, "s", job="j")
    for wrong in (0, -1, "2", True, 1.5):
        with pytest.raises(ConfigError, match="`parallel` is"):
            create(database, "s", settings={"parallel": wrong})
    for call in (Runs(database).get, Runs(database).task_runs, Runs(database).request_cancel):
        with pytest.raises(ConfigError, match="there is no run 's'"):
            call("s")


def test_a_run_without_task_runs_has_succeeded(database: Database) -> None:
    stored = create(database, "r", 0)
    assert stored.state is State.SUCCEEDED
    assert stored.ended_at is not None and stored.ended_at >= stored.created_at


def test_the_oldest_is_claimed_first_and_its_run_begins(database: Database) -> None:
    runs = Runs(database)
    create(database, "z", 2, settings={"parallel": 2})
    create(database, "a", 1)
    order = [claim(database, f"o{number}") for number in range(3)]
    assert [(found.run.id, found.task_run.task, found.task_run.ordinal) for found in order] == [
        ("z", "t0", 0),
        ("z", "t1", 1),
        ("a", "t0", 0),
    ]
    assert runs.claim("more", LONG) is None
    first = order[0]
    assert (first.attempt.number, first.attempt.epoch, first.attempt.owner, first.attempt.run) == (1, 1, "o0", "z")
    assert (first.task_run.state, first.task_run.attempts, first.run.state) == (State.RUNNING, 1, State.RUNNING)
    assert first.run == runs.get("z")
    assert first.task_run == runs.task_runs("z")[0]
    assert first.run.started_at is not None and first.run.created_at <= first.run.started_at
    assert first.attempt.lease_until - first.run.started_at == timedelta(seconds=LONG)


def test_a_claim_may_be_for_one_run_alone(database: Database) -> None:
    create(database, "first")
    create(database, "second")
    assert claim(database, run="second").run.id == "second"
    assert Runs(database).claim("me", LONG, run="second") is None
    assert Runs(database).claim("me", LONG, run="nothing") is None


def test_a_run_has_no_more_at_once_than_its_parallel(database: Database) -> None:
    runs = Runs(database)
    create(database, "one", 3)
    create(database, "two", 3, settings={"parallel": 2})
    taken = [claim(database) for _ in range(3)]
    assert [found.run.id for found in taken] == ["one", "two", "two"]
    assert runs.claim("me", LONG) is None
    assert runs.finish(taken[1].attempt, Status.SUCCEEDED)
    assert claim(database).run.id == "two"
    assert runs.claim("me", LONG) is None


def test_a_connection_has_no_more_at_once_than_its_limit(database: Database) -> None:
    runs = Runs(database)
    create(database, "out", 3, source="db", destination="lake", settings={"parallel": 9})
    create(database, "in", 3, source="lake", destination="db", settings={"parallel": 9})
    create(database, "self", 1, source="db", destination="db")
    create(database, "else", 1, source="files", destination="lake")
    limits = {"db": 2, "unused": 0}
    taken = [claim(database, connection_limits=limits) for _ in range(3)]
    assert [found.run.id for found in taken] == ["out", "out", "else"]
    assert runs.claim("me", LONG, connection_limits=limits) is None
    assert runs.finish(taken[0].attempt, Status.SUCCEEDED)
    assert claim(database, connection_limits=limits).run.id == "out"
    assert claim(database, connection_limits={"db": 3, "lake": 3}).run.id == "self"
    assert runs.claim("me", LONG, connection_limits={"db": 3}) is None
    assert claim(database, connection_limits={"db": 4}).run.id == "in"
    assert claim(database).run.id == "in"


def test_a_task_run_between_a_connection_and_itself_counts_once(database: Database) -> None:
    create(database, "self", 2, source="db", destination="db", settings={"parallel": 2})
    assert claim(database, connection_limits={"db": 2}).task_run.ordinal == 0
    assert claim(database, connection_limits={"db": 2}).task_run.ordinal == 1


def test_limits_hold_between_those_who_claim_at_once(database: Database) -> None:
    create(database, "r", 20, source="db", settings={"parallel": 7})
    create(database, "s", 20, source="db", settings={"parallel": 7})
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda n: Runs(database).claim(f"o{n}", LONG, connection_limits={"db": 10}), range(30)))
    taken = [one for one in found if one is not None]
    assert len(taken) == 10
    assert len({one.task_run.id for one in taken}) == 10
    assert max(sum(one.run.id == id for one in taken) for id in "rs") <= 7


def test_a_lease_that_ends_is_taken_over_and_the_old_attempt_is_fenced(database: Database) -> None:
    runs = Runs(database)
    create(database, "r")
    old = claim(database, "old", lease=0.2)
    assert runs.claim("new", LONG) is None
    time.sleep(0.25)
    new = claim(database, "new")
    assert (new.attempt.number, new.attempt.epoch, new.task_run.id) == (2, 2, old.task_run.id)
    assert (new.task_run.attempts, new.task_run.started_at) == (2, old.task_run.started_at)
    assert runs.beat(old.attempt, LONG, {"rows": 1}) == Beat(fenced=True, cancel=False)
    assert runs.finish(old.attempt, Status.FAILED, {"by": "old"}) is False
    assert runs.release(old.attempt) is False
    (left,) = runs.task_runs("r")
    assert (left.state, left.result, left.progress, left.epoch) == (State.RUNNING, None, None, 2)
    assert runs.finish(new.attempt, Status.SUCCEEDED, {"by": "new"}) is True
    assert runs.finish(new.attempt, Status.FAILED, {"by": "twice"}) is False
    (left,) = runs.task_runs("r")
    assert (left.state, left.result) == (State.SUCCEEDED, {"by": "new"})
    with database.read() as connection:
        history = connection.execute(select(attempt.c.owner, attempt.c.outcome).order_by(attempt.c.epoch)).all()
    assert history == [("old", "lost"), ("new", "succeeded")]


def test_a_beat_keeps_the_lease_and_tells_how_far_it_is(database: Database) -> None:
    runs = Runs(database)
    create(database, "r")
    mine = claim(database, lease=0.4)
    for number in range(4):
        time.sleep(0.2)
        assert runs.beat(mine.attempt, 0.4, {"rows": number}) == Beat(fenced=False, cancel=False)
    assert runs.claim("other", LONG) is None
    assert runs.beat(mine.attempt, LONG) == Beat(fenced=False, cancel=False)
    assert runs.task_runs("r")[0].progress == {"rows": 3}


def test_an_attempt_that_nobody_took_over_lives_on_with_a_late_beat(database: Database) -> None:
    create(database, "r")
    mine = claim(database)
    expire(database, mine)
    assert Runs(database).beat(mine.attempt, LONG) == Beat(fenced=False, cancel=False)
    assert Runs(database).claim("other", LONG) is None


def test_a_lease_that_ended_leaves_room_within_the_limits(database: Database) -> None:
    create(database, "r", 2, source="db")
    first = claim(database, connection_limits={"db": 1})
    expire(database, first)
    again = claim(database, "other", connection_limits={"db": 1})
    assert again.task_run.id == first.task_run.id
    assert Runs(database).claim("third", LONG, connection_limits={"db": 1}) is None


def test_a_task_run_that_kills_its_runners_is_given_up(database: Database) -> None:
    runs = Runs(database)
    create(database, "r")
    for number in (1, 2):
        found = claim(database, max_attempts=2)
        assert found.attempt.number == number
        expire(database, found)
    assert runs.claim("me", LONG, max_attempts=2) is None
    (left,) = runs.task_runs("r")
    assert left.state is State.FAILED
    assert left.result is not None
    assert left.result["error"]["message"] == (
        "given up after 2 attempts: each time the process that ran it died, or couldn't be heard any more"
    )
    assert runs.get("r").state is State.FAILED
    assert runs.finish(found.attempt, Status.SUCCEEDED) is False


def test_what_is_given_up_makes_room_for_the_next(database: Database) -> None:
    create(database, "r", 2)
    expire(database, claim(database))
    assert claim(database, max_attempts=1).task_run.ordinal == 1
    assert states(database, "r") == ["failed", "running"]


def test_what_is_given_back_is_claimed_again_and_was_no_try(database: Database) -> None:
    runs = Runs(database)
    create(database, "r")
    for epoch in (1, 2, 3):
        found = claim(database, max_attempts=1)
        assert (found.attempt.number, found.attempt.epoch) == (1, epoch)
        runs.beat(found.attempt, LONG, {"rows": 5})
        assert runs.release(found.attempt) is True
        assert runs.release(found.attempt) is False
        (left,) = runs.task_runs("r")
        assert (left.state, left.attempts, left.progress) == (State.QUEUED, 0, None)
    assert runs.beat(found.attempt, LONG).fenced
    assert runs.get("r").state is State.RUNNING


def test_a_process_that_is_known_to_have_died_gives_back_at_once_and_has_tried(database: Database) -> None:
    runs = Runs(database)
    create(database, "r", 2)
    first = claim(database)
    assert runs.lose(first.attempt, 2, "killed by signal 9") is True
    assert runs.lose(first.attempt, 2, "killed by signal 9") is False
    again = claim(database)
    assert (again.task_run.id, again.attempt.number, again.attempt.epoch) == (first.task_run.id, 2, 2)
    assert runs.lose(again.attempt, 2, "killed by signal 9") is True
    (left, _) = runs.task_runs("r")
    assert left.state is State.FAILED and left.result is not None
    assert left.result["error"]["message"] == "given up after 2 attempts: killed by signal 9"
    stopped = claim(database)
    runs.request_cancel("r")
    assert runs.lose(stopped.attempt, 2, "killed by signal 9") is True
    assert (states(database, "r"), runs.get("r").state) == (["failed", "cancelled"], State.CANCELLED)


@pytest.mark.parametrize(
    ("ends", "overall"),
    [
        ("succeeded succeeded", "succeeded"),
        ("succeeded warning", "warning"),
        ("failed warning", "failed"),
        ("cancelled failed warning succeeded", "cancelled"),
    ],
)
def test_the_last_task_run_ends_the_run_with_the_worst_state(database: Database, ends: str, overall: str) -> None:
    wanted = [Status(word) for word in ends.split()]
    create(database, "r", len(wanted), settings={"parallel": 9})
    taken = [claim(database) for _ in wanted]
    for found, state in zip(taken, wanted, strict=True):
        assert Runs(database).get("r").state is State.RUNNING
        assert Runs(database).get("r").ended_at is None
        assert Runs(database).finish(found.attempt, state, {"is": state.value})
    done = Runs(database).get("r")
    assert (done.state.value, done.ended_at is not None) == (overall, True)
    assert states(database, "r") == ends.split()


def test_of_task_runs_that_end_at_once_one_ends_the_run(database: Database) -> None:
    for number in range(10):
        create(database, f"r{number}", 4, settings={"parallel": 4})
        taken = [claim(database) for _ in range(4)]
        together = threading.Barrier(4)

        def finish(found: Claimed, together: threading.Barrier = together) -> bool:
            together.wait()
            return Runs(database).finish(found.attempt, Status.SUCCEEDED)

        with ThreadPoolExecutor(4) as pool:
            assert all(pool.map(finish, taken))
        assert Runs(database).get(f"r{number}").state is State.SUCCEEDED


def test_finish_can_share_a_transaction_with_the_callers_own_writing(database: Database) -> None:
    create(database, "r")
    mine = claim(database)
    with pytest.raises(RuntimeError), database.begin() as connection:
        assert endings.finish(connection, mine.attempt, Status.SUCCEEDED, None)
        raise RuntimeError("the caller's own writing failed")
    assert states(database, "r") == ["running"]


def test_a_cancel_ends_what_waits_and_tells_what_runs(database: Database) -> None:
    runs = Runs(database)
    create(database, "r", 3)
    mine = claim(database)
    assert runs.request_cancel("r") is True
    assert states(database, "r") == ["running", "cancelled", "cancelled"]
    assert (runs.get("r").state, runs.get("r").cancel_requested) == (State.RUNNING, True)
    assert runs.claim("me", LONG) is None
    assert runs.beat(mine.attempt, LONG) == Beat(fenced=False, cancel=True)
    assert runs.finish(mine.attempt, Status.CANCELLED)
    assert runs.get("r").state is State.CANCELLED
    assert runs.request_cancel("r") is False


def test_a_run_that_has_not_begun_is_cancelled_at_once(database: Database) -> None:
    create(database, "r", 2)
    assert Runs(database).request_cancel("r") is True
    done = Runs(database).get("r")
    assert (done.state, done.started_at, done.ended_at) == (State.CANCELLED, None, done.cancel_requested_at) or (
        done.ended_at is not None and done.cancel_requested_at is not None and done.ended_at >= done.cancel_requested_at
    )
    assert states(database, "r") == ["cancelled", "cancelled"]
    assert Runs(database).claim("me", LONG) is None


def test_what_is_to_be_cancelled_is_not_tried_again(database: Database) -> None:
    runs = Runs(database)
    create(database, "lost")
    create(database, "given-back")
    lost, back = claim(database), claim(database)
    assert runs.request_cancel("lost") and runs.request_cancel("given-back")
    assert runs.release(back.attempt) is True
    expire(database, lost)
    assert runs.claim("me", LONG) is None
    for id in ("lost", "given-back"):
        assert (states(database, id), runs.get(id).state) == (["cancelled"], State.CANCELLED)
    assert runs.beat(lost.attempt, LONG) == Beat(fenced=True, cancel=True)


def test_two_attempts_of_a_task_run_can_not_hold_it_at_once(database: Database) -> None:
    create(database, "r")
    mine = claim(database)
    with database.read() as connection:
        row = dict(connection.execute(select(attempt)).one()._mapping)
    second = {**row, "epoch": 2, "id": row["id"] + 1}
    with pytest.raises(IntegrityError), database.begin() as connection:
        connection.execute(insert(attempt).values(second))
    assert Runs(database).finish(mine.attempt, Status.SUCCEEDED)
    with database.begin() as connection:
        connection.execute(insert(attempt).values(second))


@pytest.mark.parametrize("skew", [-1, 1])
def test_postgresql_leases_go_by_the_servers_clock(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch, skew: int
) -> None:
    """A node whose clock is a day off neither loses its lease nor takes another's."""
    from suiro.store import database as module

    database = module.open_database(postgres_url)

    class Skewed(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Skewed:
            return super().now(tz) + timedelta(days=skew)

    create(database, "r")
    monkeypatch.setattr(module, "datetime", Skewed)
    mine = claim(database)
    with database.read() as connection:
        left = connection.execute(text("SELECT max(lease_until) - clock_timestamp() FROM attempt")).scalar_one()
    assert timedelta(seconds=LONG - 10) < left <= timedelta(seconds=LONG)
    assert Runs(database).claim("other", LONG) is None
    assert not Runs(database).beat(mine.attempt, LONG).fenced
    database.close()


def test_runs_are_listed_newest_first_page_by_page(database: Database) -> None:
    for number in range(7):
        create(database, f"r{number}")
    with database.begin() as connection:  # several of one moment
        at = moment(connection)
        connection.execute(update(run).where(run.c.id.in_(["r2", "r3", "r4"])).values(created_at=at))
    runs, seen, cursor = Runs(database), [], None
    while True:
        page = runs.list(limit=2, cursor=cursor)
        seen.append([found.id for found in page.runs])
        cursor = page.next
        if cursor is None:
            break
        create(database, f"later-{len(seen)}")  # what comes meanwhile doesn't disturb the pages that follow
    assert seen == [["r4", "r3"], ["r2", "r6"], ["r5", "r1"], ["r0"]]


def test_runs_are_listed_by_state(database: Database) -> None:
    create(database, "waits")
    create(database, "stopped")
    Runs(database).request_cancel("stopped")
    assert [found.id for found in Runs(database).list(state=State.CANCELLED).runs] == ["stopped"]
    assert [found.id for found in Runs(database).list(state=State.QUEUED).runs] == ["waits"]
    assert Runs(database).list(state=State.FAILED).runs == ()


@pytest.mark.parametrize("cursor", ["", "~", "bm8", "WzEsIDJd", "WyIyMDI2LTAxLTAxIiwgIngiXQ", "水"])
def test_a_cursor_that_no_page_had_is_refused(database: Database, cursor: str) -> None:
    with pytest.raises(ConfigError, match="can't go on from this cursor"):
        Runs(database).list(cursor=cursor)


def test_a_log_is_read_in_order_and_on_after_what_was_seen(database: Database) -> None:
    runs = Runs(database)
    create(database, "r", 2, settings={"parallel": 2})
    create(database, "other")
    first, second = claim(database), claim(database)
    at = datetime(2026, 11, 22, 1, 2, 3, 456789, tzinfo=UTC)
    runs.append_log(first.attempt, [(at, "INFO", "一"), (at, "WARNING", "two")])
    runs.append_log(second.attempt, [(at, "INFO", "three")])
    runs.append_log(claim(database).attempt, [(at, "INFO", "of another run")])
    runs.append_log(first.attempt, [(at, "ERROR", "a\0b \ud800")])
    runs.append_log(first.attempt, [])
    told = runs.log("r")
    assert [line.text for line in told] == ["一", "two", "three", "a\\x00b \\ud800"]
    assert (told[0].at, told[0].level, told[0].task_run, told[0].attempt) == (at, "INFO", first.task_run.id, 1)
    assert all(one.id < next_one.id for one, next_one in pairwise(told))
    assert [line.text for line in runs.log("r", second.task_run.id)] == ["three"]
    assert runs.log("r", after=told[1].id) == told[2:]
    assert runs.log("r", after=told[1].id, limit=1) == told[2:3]
    assert runs.log("r", after=told[3].id) == ()


def test_a_fenced_attempt_may_still_tell_what_happened(database: Database) -> None:
    create(database, "r")
    old = claim(database)
    expire(database, old)
    new = claim(database)
    for found in (new, old):
        Runs(database).append_log(found.attempt, [(datetime.now(UTC), "INFO", "x")])
    assert [line.attempt for line in Runs(database).log("r")] == [2, 1]


def test_who_follows_a_log_misses_no_line_whoever_writes(database: Database) -> None:
    create(database, "r", 4, settings={"parallel": 4})
    runs, taken = Runs(database), [claim(database) for _ in range(4)]
    done = threading.Event()

    def write(found: Claimed) -> None:
        for number in range(25):
            runs.append_log(found.attempt, [(datetime.now(UTC), "INFO", f"{found.task_run.task} {number}")] * 2)

    def follow() -> Sequence[str]:
        seen: list[str] = []
        after = None
        while True:
            last = done.is_set()
            lines = runs.log("r", after=after, limit=7)
            seen += [line.text for line in lines]
            after = lines[-1].id if lines else after
            if last and not lines:
                return seen

    with ThreadPoolExecutor(5) as pool:
        following = pool.submit(follow)
        list(pool.map(write, taken))
        done.set()
        seen = following.result()
    assert sorted(seen) == sorted(f"t{task} {number}" for task in range(4) for number in range(25) for _ in range(2))


@given(st.text(st.characters()))
def test_every_text_can_be_told(words: str) -> None:
    shown = storable(words)
    shown.encode("utf-8")
    assert "\0" not in shown
    assert shown == words or "\\x00" in shown or "\\ud" in shown


def test_positions_are_kept_for_people(database: Database) -> None:
    job = Jobs(database).put(name="j", source="a", destination="b", tasks=[TaskDefinition(name="t")])
    runs = Runs(database)
    assert runs.position("j", "t") is None
    for number, position in enumerate(({"lsn": 1}, [2**70, "x"], 0.1)):
        assert runs.save_position(job.id, "t", position, f"r{number}")
    found = runs.position("j", "t")
    assert found is not None and (found.position, found.run) == (0.1, "r2")
    assert found.saved_at.tzinfo is UTC
    assert not runs.save_position(job.id, "u", {}, "r")
    with pytest.raises(ConfigError, match="the job 'j' has no task 'u'"):
        runs.position("j", "u")
    with pytest.raises(ConfigError, match="there is no job 'k'"):
        runs.position("k", "t")


def test_old_runs_and_logs_are_taken_away_and_what_goes_on_stays(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    from suiro.store import run_lists

    monkeypatch.setattr(run_lists, "RUNS_AT_ONCE", 2)
    monkeypatch.setattr(run_lists, "LINES_AT_ONCE", 2)
    runs = Runs(database)
    long_ago = datetime.now(UTC) - timedelta(days=90)
    for id in ("old-1", "old-2", "old-3", "new", "going"):
        create(database, id)
        found = claim(database)
        runs.append_log(found.attempt, [(long_ago, "INFO", "x"), (datetime.now(UTC), "INFO", "y")])
        if id != "going":
            runs.finish(found.attempt, Status.SUCCEEDED)
    create(database, "waits")
    with database.begin() as connection:
        connection.execute(update(run).where(run.c.id.not_in(["new", "waits"])).values(created_at=long_ago))
        connection.execute(update(run).where(run.c.id.like("old-%")).values(ended_at=long_ago))
    month_ago = datetime.now(UTC) - timedelta(days=30)
    assert runs.prune(month_ago, only_logs=True) == 4
    assert [line.text for line in runs.log("new")] == ["y"]
    assert [line.text for line in runs.log("going")] == ["x", "y"]
    assert runs.prune(month_ago) == 3
    assert {found.id for found in runs.list().runs} == {"new", "going", "waits"}
    with database.read() as connection:
        assert set(connection.execute(select(task_run.c.run_id)).scalars()) == {"new", "going", "waits"}
        assert len(connection.execute(select(attempt.c.id)).all()) == 2
    assert runs.prune(month_ago) == 0
