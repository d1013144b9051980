"""Trials: a job is run, something breaks at a random moment, it is run again until it succeeds; what arrived is graded.

A seed decides everything: what breaks, where, when, and the rows.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

import mariadb
from acceptance.test_every_row_once import FileTables, MysqlTables, PostgresTables, Row, expected
from chaos import faults
from chaos.relay import Relay
from mariadb import MariaDBServer, database_of
from servers import PostgresServer
from suiro.app import apply
from suiro.app.documents import Documents
from suiro.app.metadata import metadata
from suiro.app.running import root_of
from suiro.store.database import open_database
from suiro.store.run_records import State
from suiro.store.runs import Runs
from suiro.store.systems import sqlite_url

MODES: Final[dict[str, dict[str, Any]]] = {
    "incremental append": {"read": "incremental", "write": "append", "cursor": "at"},
    "full append": {"write": "append"},
    "replace": {"write": "replace"},
    "merge": {"read": "incremental", "write": "merge", "cursor": "at", "key": ["id"]},
    "history": {"read": "incremental", "write": "history", "cursor": "at", "key": ["id"]},
}
EMBEDDED: Final = ("duckdb", "sqlite", "file")
KINDS: Final = ("postgres", "mysql", *EMBEDDED)
KILLS: Final = ("kill child", "kill runner", "kill both")
BATCHES: Final = ("drop a batch", "double a batch", "swap batches")
FAULTS: Final = (*KILLS, "end sessions", "kill back end", "kill server", "cut the wire", "fill the disk", *BATCHES)
SOURCES: Final = ("sqlite", "postgres")
DISK: Final = 24  #: megabytes of the disk that is filled
MOST_RUNS: Final = 8  #: that a trial may need until one succeeds
RUN_SECONDS: Final = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One of them. `at`: the step, or the batch, at which the fault strikes."""

    seed: str
    source: str
    kind: str
    mode: str
    fault: str
    at: int
    struck: str = ""  #: which side's server is struck: source or destination; where that is a question

    @staticmethod
    def can_mount() -> bool:
        """Whether a small disk can be made here."""
        return os.geteuid() == 0

    def __str__(self) -> str:
        return f"{self.source} to {self.kind}, {self.mode}: {self.fault} {self.struck} at {self.at} (seed {self.seed})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grade:
    """What came of a trial."""

    trial: Trial
    hit: bool  #: whether the fault struck; else the run was done before
    runs: int  #: until one succeeded
    lost: int
    doubled: int
    wrong: tuple[str, ...] = ()  #: anything else: a receipt, staging left, an end that isn't

    @property
    def good(self) -> bool:
        """Whether every row arrived once, and nothing else is wrong."""
        return not (self.lost or self.doubled or self.wrong)


def possible(source: str, kind: str, mode: str, fault: str) -> bool:
    """Whether there is such a trial."""
    if (kind, mode) == ("file", "history"):
        return False
    servers = {source, kind} & {"postgres", "mysql"}
    if fault in BATCHES:  # where the source adds up by itself; elsewhere nobody could know
        return source == "postgres" and mode in ("replace", "full append")
    return {
        "end sessions": bool(servers),
        "cut the wire": bool(servers),
        "kill back end": "postgres" in servers,
        "kill server": kind == "mysql",
        "fill the disk": kind in EMBEDDED and Trial.can_mount(),
    }.get(fault, True)


def trial_of(seed: str, *, kind: str | None = None, mode: str | None = None, fault: str | None = None) -> Trial:
    """The trial that a seed decides; what is given is taken as it is."""
    chance = random.Random(seed)
    while True:
        found = (
            chance.choice(SOURCES),
            kind or chance.choice(KINDS),
            mode or chance.choice(list(MODES)),
            fault or chance.choice(FAULTS),
        )
        if possible(*found):
            break
    source, kind, mode, fault = found
    sides = [side for side, name in (("source", source), ("destination", kind)) if _can_be_struck(name, fault)]
    at = chance.randint(1, 3) if fault in BATCHES else chance.randint(1, 60)
    struck = chance.choice(sides) if sides else ""
    return Trial(seed=seed, source=source, kind=kind, mode=mode, fault=fault, at=at, struck=struck)


def _can_be_struck(name: str, fault: str) -> bool:
    return name in {
        "end sessions": ("postgres", "mysql"),
        "cut the wire": ("postgres", "mysql"),
        "kill back end": ("postgres",),
        "kill server": ("mysql",),
    }.get(fault, ())


def trials_of(seed: str) -> Iterator[Trial]:
    """Trials without end: every destination and write mode in turn, the fault by chance."""
    pairs = [(kind, mode) for kind in KINDS for mode in MODES if possible("sqlite", kind, mode, "kill child")]
    for number in itertools.count():
        kind, mode = pairs[number % len(pairs)]
        yield trial_of(f"{seed}-{number + 1}", kind=kind, mode=mode)


class Servers:
    """The servers that trials may break: PostgreSQL recovers by itself, MariaDB is started again."""

    def __init__(self, postgres: PostgresServer, mariadb: MariaDBServer | None) -> None:
        self.postgres, self.mariadb = postgres, mariadb

    def revive(self) -> bool:
        """Start MariaDB again if it was killed, on another port, and say whether that was so."""
        return self.mariadb is not None and self.mariadb.revive()


class Side:
    """A source or a destination of a trial: its address for Suiro, its rows for the grade."""

    def __init__(self, stack: ExitStack, name: str, servers: Servers, folder: Path) -> None:
        self.name, self.folder = name, folder
        self.relay: Relay | None = None
        self.server: dict[str, Any] = {}
        self.tables: Any
        if name == "postgres":
            direct = servers.postgres.create_database()
            stack.callback(servers.postgres.drop_database, direct)
            database = conninfo_to_dict(direct)["dbname"]
            self.server = {"kind": name, "admin": servers.postgres.url(), "database": database}
            self.tables = PostgresTables(direct)
            self._through(stack, direct, servers.postgres.port)
        elif name == "mysql":
            assert servers.mariadb is not None
            self.tables = MysqlTables(servers.mariadb)
            stack.callback(servers.mariadb.drop_database, self.tables.url)
            self.server = {"kind": name, "database": database_of(self.tables.url), "pid": servers.mariadb.pid}
            self.server |= {"port": servers.mariadb.port, "user": mariadb.ADMIN, "password": servers.mariadb.password}
            self._through(stack, self.tables.url, servers.mariadb.port)
        else:
            self.tables = FileTables(name, folder / "out")
            self.url: str = self.tables.url

    def _through(self, stack: ExitStack, direct: str, port: int) -> None:
        self.relay = stack.enter_context(Relay(port))
        parts = urlsplit(direct)
        self.url = urlunsplit(parts._replace(netloc=parts.netloc.replace(f":{port}", f":{self.relay.port}")))


class Playing:
    """One trial under way. Its folder holds all that it needs, and is the caller's to remove."""

    def __init__(self, trial: Trial, servers: Servers, folder: Path, stack: ExitStack) -> None:
        self.trial, self._servers, self._folder = trial, servers, folder
        self._chance = random.Random(f"rows {trial.seed}")
        self._home, self._struck = folder / "home", folder / "struck"
        disk = folder / "disk"
        disk.mkdir()
        if trial.fault == "fill the disk":
            stack.enter_context(_small_disk(disk))
        self._disk = disk
        self.source = _Source(stack, trial.source, servers, folder)
        self.destination = Side(stack, trial.kind, servers, disk)
        self._there: list[Row] = []
        self._wanted: Counter[Row] = Counter()
        self._succeeded: set[str] = set()
        self.runs = 0

    def play(self) -> Grade:
        """Two rounds: one undisturbed, one with the fault."""
        task = {"stream": self.source.stream, "table": "orders", **MODES[self.trial.mode]}
        job = {"source": self.source.url, "destination": self.destination.url, "tasks": [task]}
        self._apply(job)
        wrong: list[str] = []
        for number, rows in ((0, 700), (1, 700)):
            self._add(rows)
            self._round(wrong, fault=self.trial.fault if number else "")
        lost, doubled = self._graded(wrong)
        hit = self._struck.exists()
        return Grade(trial=self.trial, hit=hit, runs=self.runs, lost=lost, doubled=doubled, wrong=tuple(wrong))

    def _apply(self, job: dict[str, Any]) -> None:
        """Store the job as `suiro apply` does."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SUIRO_HOME", str(self._home))
            patch.delenv("SUIRO_METADATA_URL", raising=False)
            known = metadata()
            apply.apply(Documents.model_validate({"jobs": {"trial": job}}), known)
            known.database.close()

    def _add(self, number: int) -> None:
        """New rows, some of them with keys that are there; their cursor values rise."""
        start, chance = len(self._there) + 1, self._chance
        rows = [(chance.randint(1, start + i), start + i, f"水路 {chance.random()}") for i in range(number)]
        self.source.add(rows)
        self._there += rows

    def _round(self, wrong: list[str], *, fault: str) -> None:
        """Run until a run succeeds."""
        self.runs, again = 0, ""
        while self.runs < MOST_RUNS:
            self.runs += 1
            self._suiro(*(("retry", again) if again else ("run", "trial")), fault=fault)
            self._mended()
            ended, again = self._newest(wrong)
            if ended:
                return
        wrong.append(f"no run succeeded in {MOST_RUNS} tries: {self._said[-300:]}")

    def _mended(self) -> None:
        """What was broken is whole again, as an administrator would see to it."""
        if self._servers.revive():
            assert self.destination.relay is not None and self._servers.mariadb is not None
            self.destination.relay.target = self._servers.mariadb.port
        (self._disk / "ballast").unlink(missing_ok=True)

    def _newest(self, wrong: list[str]) -> tuple[bool, str]:
        """Whether the newest run succeeded; else the run to do again, if it failed rather than died."""
        database = open_database(sqlite_url(self._home / "suiro.db"))
        try:
            runs = Runs(database)
            listed = runs.list(limit=50).runs
            for run in listed:
                if run.state is State.SUCCEEDED and root_of(run) not in self._succeeded:
                    self._succeeded.add(root_of(run))
                    self._wanted += Counter(self._there)
                    for task in runs.task_runs(run.id):
                        receipt = (task.result or {}).get("receipt") or {"equal": True, "adds_up": True}
                        if not (receipt["equal"] and receipt["adds_up"]):
                            wrong.append(f"the receipt of {run.id} doesn't add up: {receipt}")
            if not listed:
                return False, ""
            newest = listed[0]
            return newest.state is State.SUCCEEDED, newest.id if newest.state is State.FAILED else ""
        finally:
            database.close()

    def _suiro(self, *arguments: str, fault: str = "") -> None:
        """One command; it may be killed."""
        trial = self.trial
        said = {"fault": fault, "at": trial.at, "struck": str(self._struck), "disk": str(self._disk)}
        side = self.source.side if trial.struck == "source" else self.destination
        if side is not None:
            said |= {"server": side.server, "control": side.relay.control if side.relay else 0}
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("SUIRO_", "PG"))},
            "SUIRO_HOME": str(self._home),
            "PYTHONPATH": str(Path(__file__).parent.parent),
            faults.VARIABLE: json.dumps(said),
        }
        command = [sys.executable, "-m", "chaos.play", *arguments]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=RUN_SECONDS, check=False
        )
        self._said = done.stdout + done.stderr
        if done.returncode not in (0, 1, 2, -signal.SIGKILL) or "Traceback" in self._said:
            raise RuntimeError(f"{trial}: suiro {arguments} ended with {done.returncode}:\n{self._said[-3000:]}")

    def _graded(self, wrong: list[str]) -> tuple[int, int]:
        """Rows that are lost and rows that are doubled."""
        mode, tables = self.trial.mode, self.destination.tables
        held = tables.rows(" WHERE _suiro_current" if mode == "history" else "")
        found: Counter[Row] = Counter(row[:2] if mode in ("merge", "history") else row for row in held)
        wanted = self._wanted if mode == "full append" else expected(mode, self._there, [])
        if left := tables.leftovers():
            wrong.append(f"staging is left: {left[:3]}")
        return (wanted - found).total(), (found - wanted).total()


class _Source:
    """A table that grows, in a SQLite file or in PostgreSQL."""

    def __init__(self, stack: ExitStack, name: str, servers: Servers, folder: Path) -> None:
        self.side: Side | None = None
        if name == "sqlite":
            self._file = folder / "source.db"
            self.url, self.stream = f"sqlite://{self._file}", "orders"
            with sqlite3.connect(self._file) as db:
                db.execute("CREATE TABLE orders (id INTEGER, at INTEGER, name TEXT)")
            db.close()
            return
        self.side = Side(stack, name, servers, folder)
        self.url, self.stream = self.side.url, "src.orders"
        with psycopg.connect(self.side.tables.url) as connection:
            connection.execute("CREATE SCHEMA src; CREATE TABLE src.orders (id int, at int, name text)")

    def add(self, rows: Iterable[Row]) -> None:
        """Put rows in."""
        if self.side is None:
            with sqlite3.connect(self._file) as db:
                db.executemany("INSERT INTO orders VALUES (?, ?, ?)", rows)
            db.close()
            return
        with psycopg.connect(self.side.tables.url) as connection, connection.cursor() as cursor:
            cursor.executemany("INSERT INTO src.orders VALUES (%s, %s, %s)", rows)


class _small_disk:
    """A disk of its own on a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> None:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}m", "tmpfs", self._folder], check=True)

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", "--lazy", self._folder], check=True)


def graded(trial: Trial, servers: Servers, folder: Path) -> Grade:
    """Play a trial in an empty folder."""
    folder.mkdir(parents=True)
    with ExitStack() as stack:
        return Playing(trial, servers, folder, stack).play()
