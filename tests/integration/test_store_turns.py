"""Tests of everybody at once: claims, beats, ends, cancels, logs, renames, edits and pruning don't wait in a circle."""

from __future__ import annotations

import random
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select, text

from suiro.model.errors import ConfigError, UserError
from suiro.model.run import Status
from suiro.store.connections import Connections, new_id
from suiro.store.database import Database, open_database
from suiro.store.jobs import Jobs, TaskDefinition
from suiro.store.runs import Claimed, Runs, TaskToRun
from suiro.store.systems import sqlite_url
from suiro.store.tables import attempt, run, task_run

if TYPE_CHECKING:
    from pathlib import Path

RUNS, TASKS, SECONDS = 60, 6, 60
NAMES = ("north", "south")  # of one connection, by turns


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return sqlite_url(tmp_path / "suiro.db")
    found: str = request.getfixturevalue("postgres_url")
    return found


def carry(database: Database, name: str) -> Counter[str]:
    """Carry task runs with leases so short that they are often lost, until all runs have ended."""
    runs, chance, done, end = Runs(database), random.Random(name), Counter[str](), time.monotonic() + SECONDS
    while time.monotonic() < end:
        limits = dict.fromkeys(NAMES, 6)
        claimed = runs.claim(name, chance.choice([0.01, 5.0]), connection_limits=limits, max_attempts=4)
        if claimed is not None:
            done[act(runs, claimed, chance)] += 1
        elif all(found.ended_at for found in runs.list(limit=RUNS).runs):
            return done
    raise AssertionError("the runs never end")


def act(runs: Runs, claimed: Claimed, chance: random.Random) -> str:
    mine = claimed.attempt
    runs.append_log(mine, [(datetime.now(UTC), "INFO", "begun")] * 3)
    time.sleep(chance.uniform(0, 0.02))
    runs.beat(mine, 5.0, {"rows": 1})
    match chance.random():
        case x if x < 0.1:
            return f"released {runs.release(mine)}"
        case x if x < 0.2:
            return f"lost {runs.lose(mine, 4, 'it died')}"
        case x if x < 0.25:
            return f"cancelled {runs.request_cancel(mine.run) and runs.finish(mine, Status.CANCELLED)}"
        case _:
            return f"finished {runs.finish(mine, chance.choice([Status.SUCCEEDED, Status.WARNING]))}"


def edit(database: Database, rounds: int) -> None:
    """Rename the connection that everybody uses, change the job, reset a task, take old runs away."""
    connections, jobs = Connections(database), Jobs(database)
    for at in range(rounds):
        connections.rename(NAMES[at % 2], NAMES[(at + 1) % 2])
        with pytest.raises(UserError, match="used by the job j"):
            connections.delete(NAMES[(at + 1) % 2])
        job = jobs.get("j")
        tasks = [TaskDefinition(name="t0"), *[TaskDefinition(name="t1")] * (at % 2)]
        jobs.put(name="j", source=job.source, destination=job.destination, tasks=tasks, version=job.version)
        jobs.bump_generation("j", "t0")
        Runs(database).save_position(job.id, "t0", {"at": at}, "r")
        Runs(database).prune(datetime.now(UTC) - timedelta(days=1))


def test_nobody_waits_in_a_circle_and_everything_ends_consistent(url: str) -> None:
    database = open_database(url)
    connections = Connections(database)
    connections.put(id=new_id(), name=NAMES[0], connector="postgres", settings={}, secrets={})
    Jobs(database).put(name="j", source=NAMES[0], destination="lake", tasks=[TaskDefinition(name="t0")])
    wanted = [TaskToRun(task=f"t{n}", settings={}, source=NAMES[0], destination="lake") for n in range(TASKS)]
    for number in range(RUNS):
        Runs(database).create(f"r{number}", wanted, trigger="user", job="j", settings={"parallel": 3})
    with ThreadPoolExecutor(6) as pool:
        carriers = [pool.submit(carry, database, f"{url}-{number}") for number in range(4)]
        editor = pool.submit(edit, database, 20)
        told = sum((carrier.result() for carrier in carriers), Counter[str]())
        editor.result()
    assert told["finished True"] > RUNS
    with database.read() as connection:
        assert connection.execute(select(attempt.c.id).where(attempt.c.ended_at.is_(None))).all() == []
        ends = connection.execute(select(task_run.c.run_id, task_run.c.state, task_run.c.epoch)).all()
        runs = {row.id: row.state for row in connection.execute(select(run.c.id, run.c.state))}
        epochs = text("SELECT count(*) FROM attempt")
        assert connection.execute(epochs).scalar() == sum(row.epoch for row in ends)
    for id, state in runs.items():
        states = [row.state for row in ends if row.run_id == id]
        assert len(states) == TASKS
        worst = [word for word in ("cancelled", "failed", "warning", "succeeded") if word in states]
        assert (worst[0], set(states) - set(worst)) == (state, set())
    with pytest.raises(ConfigError):
        connections.get(NAMES[1])
    database.close()
