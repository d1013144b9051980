"""Tests of claims between processes that are killed at any moment: no task run is lost, done twice or held by two."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Connection, select, text

from suiro.model.run import Status
from suiro.store import endings
from suiro.store.database import Database, open_database
from suiro.store.runs import Claimed, Runs, State, TaskToRun
from suiro.store.systems import sqlite_url
from suiro.store.tables import attempt, run, task_run

if TYPE_CHECKING:
    from pathlib import Path

RUNS, TASKS, PARALLEL = 24, 10, 2
LIMITS = {"db": 2}  # half of the task runs read from it
LEASE = 0.8  # seconds
WORKERS = 3
KILLS = 8  # from outside; about as many workers end themselves, some of them inside a transaction
LONGEST_SECONDS = 150


def work(url: str, name: str) -> None:
    """Carry task runs until all runs have ended, dying, sleeping and letting go at random."""
    chance = random.Random(name)
    database = open_database(url)
    runs = Runs(database)
    while True:
        claimed = runs.claim(name, LEASE, connection_limits=LIMITS, max_attempts=1000)
        if claimed is None:
            if all(found.ended_at for found in runs.list(limit=RUNS).runs):
                break
            time.sleep(0.02)
            continue
        carry(database, claimed, chance)
    database.close()


def carry(database: Database, claimed: Claimed, chance: random.Random) -> None:
    runs = Runs(database)
    perhaps_die(chance)
    time.sleep(chance.uniform(0.005, 0.03))
    match chance.random():
        case x if x < 0.02:
            time.sleep(LEASE * 1.5)  # outlives its lease, and goes on none the wiser
        case x if x < 0.05:
            runs.release(claimed.attempt)
            return
        case x if x < 0.3:
            runs.beat(claimed.attempt, LEASE, {"at": claimed.attempt.owner})
    with database.begin() as connection:
        perhaps_die(chance)
        if endings.finish(connection, claimed.attempt, Status.SUCCEEDED, {"by": claimed.attempt.owner}):
            write_effect(connection, claimed)
        perhaps_die(chance)


def write_effect(connection: Connection, claimed: Claimed) -> None:
    values = {"task_run": claimed.task_run.id, "epoch": claimed.attempt.epoch}
    connection.execute(text("INSERT INTO effect VALUES (:task_run, :epoch)"), values)


def perhaps_die(chance: random.Random) -> None:
    if chance.random() < 0.008:
        os.kill(os.getpid(), signal.SIGKILL)


class Workers:
    """Processes that work, each replaced by another when it is killed."""

    def __init__(self, url: str, folder: Path) -> None:
        self._url, self._folder = url, folder
        self._started = 0
        self.killed = 0
        self.running = [self._start() for _ in range(WORKERS)]

    def _start(self) -> subprocess.Popen[bytes]:
        self._started += 1
        command = [sys.executable, "-W", "error", __file__, self._url, f"{self._folder.name}-{self._started}"]
        with (self._folder / "errors.log").open("ab") as errors:
            return subprocess.Popen(command, stderr=errors)

    def kill_one(self) -> None:
        random.choice(self.running).kill()

    def replace_dead(self) -> bool:
        """Whether somebody still works."""
        for at, worker in enumerate(self.running):
            if worker.poll() == -signal.SIGKILL:
                self.killed += 1
                self.running[at] = self._start()
            elif worker.returncode not in (None, 0):
                raise AssertionError((self._folder / "errors.log").read_text()[-3000:])
        return any(worker.poll() is None for worker in self.running)

    def end(self) -> None:
        for worker in self.running:
            worker.kill()
            worker.wait()


@contextmanager
def workers(url: str, folder: Path) -> Iterator[Workers]:
    started = Workers(url, folder)
    try:
        yield started
    finally:
        started.end()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return sqlite_url(tmp_path / "suiro.db")
    found: str = request.getfixturevalue("postgres_url")
    return found


def fill(database: Database) -> None:
    with database.begin() as connection:
        # no key: an effect that happens twice must be seen, not prevented
        connection.execute(text("CREATE TABLE effect (task_run BIGINT NOT NULL, epoch INTEGER NOT NULL)"))
    for number in range(RUNS):
        tasks = [
            TaskToRun(task=f"t{n}", settings={"n": n}, source="db" if n % 2 else "files", destination="lake")
            for n in range(TASKS)
        ]
        Runs(database).create(f"r{number:03}", tasks, trigger="user", settings={"parallel": PARALLEL})


def most_at_once(spans: list[tuple[datetime, datetime]]) -> int:
    """The greatest number of spans (from, to before) that hold at one moment."""
    steps = sorted([(begin, 1) for begin, _ in spans] + [(end, -1) for _, end in spans])
    most = now = 0
    for _, step in steps:
        now += step
        most = max(most, now)
    return most


def test_killed_at_any_moment_each_task_run_has_its_effect_once(url: str, tmp_path: Path) -> None:
    database = open_database(url)
    fill(database)
    kills_left = KILLS
    with workers(url, tmp_path) as started:
        deadline, next_kill = time.monotonic() + LONGEST_SECONDS, time.monotonic() + 1
        while started.replace_dead():
            assert time.monotonic() < deadline, "the task runs never end"
            time.sleep(0.05)
            if kills_left and time.monotonic() > next_kill:
                started.kill_one()
                kills_left -= 1
                next_kill = time.monotonic() + random.uniform(0.5, 1.2)
        assert started.killed >= 5
    with database.read() as connection:
        effects = connection.execute(text("SELECT task_run, epoch FROM effect")).all()
        done = connection.execute(select(task_run.c.id, task_run.c.epoch, task_run.c.state, task_run.c.result)).all()
        runs = connection.execute(select(run.c.state, run.c.ended_at)).all()
        wanted = select(attempt, task_run.c.run_id, task_run.c.source)
        tries = [
            row._mapping for row in connection.execute(wanted.join(task_run, task_run.c.id == attempt.c.task_run_id))
        ]
    database.close()
    assert Counter(tuple(effect) for effect in effects) == Counter((row.id, row.epoch) for row in done)
    assert {row.state for row in done} == {row.state for row in runs} == {State.SUCCEEDED.value}
    assert all(row.result["by"] for row in done)
    assert all(row.ended_at for row in runs)
    told = Counter(row["outcome"] for row in tries)
    assert told["succeeded"] == RUNS * TASKS
    assert told["lost"] >= 5
    assert set(told) <= {"succeeded", "lost", "released"}
    assert_never_too_many(tries)


def assert_never_too_many(tries: list[Any]) -> None:
    """Neither of a task run, nor of a run, nor of a connection; an attempt holds its lease until it ends or is over."""
    held: dict[tuple[str, Any], list[tuple[datetime, datetime]]] = defaultdict(list)
    for row in tries:
        span = (row["started_at"], max(row["started_at"], min(row["ended_at"], row["lease_until"])))
        held["task run", row["task_run_id"]].append(span)
        held["run", row["run_id"]].append(span)
        held["connection", row["source"]].append(span)
    most: Counter[str] = Counter()
    for (kind, name), spans in held.items():
        if kind != "connection" or name in LIMITS:
            most[kind] = max(most[kind], most_at_once(spans))
    assert most["task run"] == 1
    assert most["run"] <= PARALLEL
    assert most["connection"] <= LIMITS["db"]


def test_the_count_of_spans_at_once_sees_too_many() -> None:
    def span(begin: int, end: int) -> tuple[datetime, datetime]:
        return datetime.fromtimestamp(begin), datetime.fromtimestamp(end)  # noqa: DTZ006

    assert most_at_once([span(0, 2), span(1, 3), span(2, 4)]) == 2
    assert most_at_once([span(0, 2), span(2, 3)]) == 1


if __name__ == "__main__":
    work(sys.argv[1], sys.argv[2])
