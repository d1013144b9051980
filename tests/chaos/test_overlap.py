"""Two runs of one task at the same time: one waits or is refused, or the one that lost its claim is fenced."""

from __future__ import annotations

import os
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from acceptance.test_every_row_once import FileTables, MysqlTables, PostgresTables, Row, expected
from chaos.pairs import Process
from chaos.trials import EMBEDDED, KINDS, MODES, possible
from mariadb import MariaDBServer, database_of
from servers import PostgresServer

EVERY = [(kind, mode) for kind in KINDS for mode in MODES if possible("sqlite", kind, mode, "kill child")]
SOME = [("postgres", "merge"), ("mysql", "replace"), ("duckdb", "incremental append"), ("sqlite", "history")]
OVERLAPS = EVERY if os.environ.get("SUIRO_CHAOS_LONG") else [*SOME, ("file", "full append")]
ROWS = [(n % 40, n, f"水路 {n}") for n in range(1, 61)]


class Pair:
    """A source, an empty destination, and the task between them."""

    def __init__(self, kind: str, mode: str, folder: Path, tables: Any) -> None:
        self.kind, self.mode, self.tables = kind, mode, tables
        self.source = f"sqlite://{folder}/source.db"
        with closing(sqlite3.connect(folder / "source.db")) as db:
            db.execute("CREATE TABLE orders (id INTEGER, at INTEGER, name TEXT)")
            db.executemany("INSERT INTO orders VALUES (?, ?, ?)", ROWS)
            db.commit()
        self.processes: list[Process] = []

    def start(self, run: str, *, sleeps: bool = False) -> Process:
        """One more process that runs the task."""
        task = {"stream": "orders", "table": "orders", **MODES[self.mode]}
        run = "first" if self.mode == "full append" else run  # a run of another name appends by its own right
        self.processes.append(Process(self.source, self.tables.url, task, run, sleeps=sleeps))
        return self.processes[-1]

    def grade(self) -> None:
        """Every row is there once."""
        held = self.tables.rows(" WHERE _suiro_current" if self.mode == "history" else "")
        found: Counter[Row] = Counter(row[:2] if self.mode in ("merge", "history") else row for row in held)
        assert found == expected(self.mode, ROWS, [ROWS])
        assert self.tables.leftovers() == []


@pytest.fixture
def pair(request: pytest.FixtureRequest, postgres: PostgresServer, tmp_path: Path) -> Iterator[Pair]:
    kind, mode = request.param
    mariadb: MariaDBServer | None = request.getfixturevalue("mariadb") if kind == "mysql" else None
    url = postgres.create_database() if kind == "postgres" else ""
    tables = MysqlTables(mariadb) if mariadb else PostgresTables(url) if url else FileTables(kind, tmp_path / "out")
    found = Pair(kind, mode, tmp_path, tables)
    yield found
    for process in found.processes:
        process.close()
    if url:
        postgres.drop_database(url)
    if mariadb is not None:
        mariadb.drop_database(tables.url)


@pytest.mark.parametrize("pair", OVERLAPS, indirect=True, ids=[f"{kind} {mode}" for kind, mode in OVERLAPS])
def test_of_two_runs_of_a_task_one_publishes_and_the_other_waits_or_is_refused(pair: Pair) -> None:
    first = pair.start("first", sleeps=True)
    first.sleep()
    second = pair.start("second").ended()
    assert (second["status"], second["code"], second["loads"]) == ("failed", "transient_error", 0), second
    assert "another run is loading orders" in second["said"] and "first" in second["said"]
    first.wake()
    assert first.ended()["status"] == "succeeded"
    pair.grade()


FENCED = [(kind, mode) for kind, mode in OVERLAPS if kind not in EMBEDDED]


@pytest.mark.parametrize("pair", FENCED, indirect=True, ids=[f"{kind} {mode}" for kind, mode in FENCED])
def test_a_run_that_lost_its_claim_while_it_slept_publishes_nothing(
    pair: Pair, postgres: PostgresServer, request: pytest.FixtureRequest
) -> None:
    """The system ended its sessions, and so its claim; another run took over and was done before it woke."""
    first = pair.start("first", sleeps=True)
    first.sleep()
    _end_sessions(pair, postgres, request)
    second = pair.start("second").ended()
    assert second["status"] == "succeeded", second
    first.wake()
    done = first.ended()
    assert done["status"] == "succeeded" or done["code"] in ("fenced", "connection_lost"), done
    pair.grade()


def _end_sessions(pair: Pair, postgres: PostgresServer, request: pytest.FixtureRequest) -> None:
    if pair.kind == "postgres":
        with postgres.connect() as admin:
            name = pair.tables.url.rsplit("/", 1)[1]
            sql = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s"
            admin.execute(sql, [name])
        return
    server: MariaDBServer = request.getfixturevalue("mariadb")
    server.kill_sessions(database_of(pair.tables.url))
    time.sleep(0.1)
