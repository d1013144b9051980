"""Three runner processes over one metadata store, killed at random: hundreds of runs, graded by what arrived."""

from __future__ import annotations

import contextlib
import json
import os
import random
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil
import psycopg

from chaos import faults
from servers import PostgresServer
from suiro.app import apply, running
from suiro.app.documents import Documents
from suiro.app.metadata import Metadata, metadata
from suiro.store.run_records import State, StoredRun

RUNNERS: Final = 3
JOBS: Final = 12
ROWS: Final = 40  #: that an append finds, each time
STALLED_SECONDS: Final = 120


@dataclass(slots=True, kw_only=True)
class Tally:
    """What came of it."""

    store: str
    runs: int = 0
    kills: int = 0
    attempts: int = 0
    given_up: int = 0  #: runs that died three times, and were done again by `retry`
    lost: int = 0
    doubled: int = 0
    seconds: float = 0.0
    unended: int = 0

    @property
    def good(self) -> bool:
        """Whether every run's rows arrived once."""
        return not (self.lost or self.doubled or self.unended)

    def cells(self) -> tuple[object, ...]:
        """A line of a table."""
        return (self.store, self.runs, self.kills, self.attempts, self.given_up, self.lost, self.doubled, self.unended)


HEAD: Final = "store | runs | runners killed | attempts | runs given up and retried | lost | doubled | never ended"


class Crew:
    """The runner processes. `home` and `url` are those of the metadata."""

    def __init__(self, home: Path, url: str, chance: random.Random) -> None:
        self._chance, self._errors = chance, home.parent / "runners.log"
        nothing = {"fault": "", "at": 0, "struck": str(home / "none")}
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("SUIRO_", "PG"))},
            "SUIRO_HOME": str(home),
            "SUIRO_METADATA_URL": url,
            "PYTHONPATH": str(Path(__file__).parent.parent),
            faults.VARIABLE: json.dumps(nothing),
        }
        self.kills = 0
        self._working = [self._started() for _ in range(RUNNERS)]

    def _started(self) -> subprocess.Popen[bytes]:
        with self._errors.open("ab") as errors:
            return subprocess.Popen(
                [sys.executable, "-m", "chaos.play", "serve"],
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=errors,
            )

    def kill_one(self) -> None:
        """SIGKILL for a runner, half the time for its child before it; another takes its place."""
        at = self._chance.randrange(RUNNERS)
        victim = self._working[at]
        if self._chance.random() < 0.5:
            with contextlib.suppress(psutil.Error):
                for child in psutil.Process(victim.pid).children():
                    child.kill()
        self._end(victim)
        self.kills += 1
        self._working[at] = self._started()

    def watch(self) -> None:
        """AssertionError if a runner ended by itself."""
        for runner in self._working:
            assert runner.poll() is None, self._errors.read_text(errors="replace")[-3000:]

    def close(self) -> None:
        """End them all."""
        for runner in self._working:
            self._end(runner)

    def _end(self, runner: subprocess.Popen[bytes]) -> None:
        runner.kill()
        runner.wait()
        assert runner.stdin is not None
        runner.stdin.close()


class Plant:
    """Jobs between SQLite files and tables: half of them append all rows at each run, half merge what is new."""

    def __init__(self, folder: Path, postgres: PostgresServer) -> None:
        self.folder, self.url = folder, postgres.create_database()
        self._postgres = postgres
        self.names = [f"job{number}" for number in range(JOBS)]
        self._next: Counter[str] = Counter()
        for name in self.names:
            with self._source(name) as db:
                db.execute("CREATE TABLE orders (id INTEGER, at INTEGER, name TEXT)")
            self.grow(name, ROWS)

    def document(self) -> Documents:
        """The jobs."""
        jobs = {}
        for name in self.names:
            task = {"stream": "orders", "table": name, "write": "append"}
            if self.merges(name):
                task |= {"write": "merge", "read": "incremental", "cursor": "at", "key": ["id"]}
            to = self.url if self._in_postgres(name) else f"sqlite://{self.folder}/{name}.out.db"
            jobs[name] = {"source": f"sqlite://{self.folder}/{name}.db", "destination": to, "tasks": [task]}
        return Documents.model_validate({"jobs": jobs})

    def merges(self, name: str) -> bool:
        """Whether the job merges."""
        return int(name.removeprefix("job")) % 2 == 1

    def _in_postgres(self, name: str) -> bool:
        return int(name.removeprefix("job")) % 4 < 2

    def grow(self, name: str, rows: int) -> None:
        """More rows at the source, some of them with keys that are there."""
        start = self._next[name]
        self._next[name] += rows
        with self._source(name) as db:
            new = [(n if n % 3 else n // 2, n, "水路") for n in range(start + 1, start + rows + 1)]
            db.executemany("INSERT INTO orders VALUES (?, ?, ?)", new)

    def graded(self, name: str, runs: int) -> tuple[int, int]:
        """Rows of a job that are lost, and that are doubled, after so many runs that succeeded."""
        with self._source(name) as db:
            there = db.execute("SELECT id, at FROM orders ORDER BY at").fetchall()
        wanted = Counter(dict(there).items()) if self.merges(name) else Counter(there * runs)
        found = Counter(self._held(name)) if runs else Counter[Any]()
        return (wanted - found).total() if runs else 0, (found - wanted).total()

    def _held(self, name: str) -> list[tuple[Any, ...]]:
        if self._in_postgres(name):
            with psycopg.connect(self.url) as db:
                return db.execute(f"SELECT id, at FROM {name}".encode()).fetchall()
        with contextlib.closing(sqlite3.connect(self.folder / f"{name}.out.db")) as db:
            return db.execute(f"SELECT id, at FROM {name}").fetchall()

    @contextmanager
    def _source(self, name: str) -> Iterator[sqlite3.Connection]:
        db = sqlite3.connect(self.folder / f"{name}.db")
        with db:
            yield db
        db.close()

    def close(self) -> None:
        """Drop what isn't in the folder."""
        self._postgres.drop_database(self.url)


def played(store: str, url: str, folder: Path, postgres: PostgresServer, seed: str, runs: int, every: int) -> Tally:
    """So many runs, a runner killed after about every `every` of them. `folder` holds metadata, sources and tables.

    SUIRO_HOME and SUIRO_METADATA_URL are those of the caller's process too, so that it can begin runs.
    """
    chance, started, tally = random.Random(seed), time.monotonic(), Tally(store=store)
    plant = Plant(folder, postgres)
    try:
        known = metadata()
        apply.apply(plant.document(), known)
        crew = Crew(folder / "home", url, chance)
        try:
            _driven(plant, known, crew, chance, runs, every, tally)
        finally:
            crew.close()
        _grade(plant, known, tally)
        tally.kills, tally.seconds = crew.kills, time.monotonic() - started
        return tally
    finally:
        plant.close()


def _driven(
    plant: Plant, known: Metadata, crew: Crew, chance: random.Random, runs: int, every: int, tally: Tally
) -> None:
    going: dict[str, str] = {}
    next_kill, heard = every, time.monotonic()
    while tally.runs < runs or going:
        for name in plant.names:
            if name in going:
                ended = known.runs.get(going[name])
                if ended.ended_at is None:
                    continue
                heard = time.monotonic()
                del going[name]
                if ended.state is not State.SUCCEEDED:
                    tally.given_up += 1
                    going[name] = running.retry(ended.id, known).id
                    continue
            if tally.runs < runs:
                if plant.merges(name):
                    plant.grow(name, chance.randint(1, 30))
                tally.runs += 1
                going[name] = running.start(name, known).id
        if tally.runs >= next_kill:
            time.sleep(chance.uniform(0, 0.5))  # somewhere in what was begun just now
            crew.kill_one()
            next_kill = tally.runs + chance.randint(1, 2 * every - 1)
        crew.watch()
        if time.monotonic() - heard > STALLED_SECONDS:
            tally.unended = len(going)
            return
        time.sleep(0.02)


def _grade(plant: Plant, known: Metadata, tally: Tally) -> None:
    for name in plant.names:
        succeeded: set[str] = set()
        for run in _all_runs(known, name):
            tally.attempts += sum(task.attempts for task in known.runs.task_runs(run.id))
            if run.state is State.SUCCEEDED:
                root = running.root_of(run)
                tally.doubled += root in succeeded
                succeeded.add(root)
        lost, doubled = plant.graded(name, len(succeeded))
        tally.lost += lost
        tally.doubled += doubled


def _all_runs(known: Metadata, name: str) -> Iterator[StoredRun]:
    cursor = None
    while True:
        page = known.runs.list(job=name, limit=50, cursor=cursor)
        yield from page.runs
        cursor = page.next
        if cursor is None:
            return
