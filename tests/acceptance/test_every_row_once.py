"""Copies broken at random points, killed, run twice at once, and repeated: every row arrives exactly once."""

from __future__ import annotations

import itertools
import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mariadb import MariaDBServer, database_of
from mortal_copies import Copies, Order
from servers import PostgresServer
from suiro.model.schema import ReadMode
from suiro.model.selection import WriteMode

Row = tuple[Any, ...]
COLUMNS = '"id", "at", "name"'

MODES: dict[str, dict[str, Any]] = {
    "incremental append": {"read": ReadMode.INCREMENTAL, "write": WriteMode.APPEND, "cursor": "at"},
    "full append": {"write": WriteMode.APPEND},
    "replace": {"write": WriteMode.REPLACE},
    "merge": {"read": ReadMode.INCREMENTAL, "write": WriteMode.MERGE, "cursor": "at", "key": ("id",)},
    "history": {"read": ReadMode.INCREMENTAL, "write": WriteMode.HISTORY, "cursor": "at", "key": ("id",)},
}
ROWS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 2), st.sampled_from("abc")), max_size=6)
FAULTS = st.lists(st.tuples(st.sampled_from(["kill", "error", "pair"]), st.integers(1, 60)), max_size=3)
ROUNDS = st.lists(st.tuples(ROWS, FAULTS), min_size=1, max_size=3)


class SqliteSource:
    """A source that grows: a table in a SQLite file."""

    stream = "orders"

    def __init__(self, folder: Path) -> None:
        self.file = folder / "source.db"
        self.url = f"sqlite://{self.file}"
        self._run("CREATE TABLE orders (id INTEGER, at INTEGER, name TEXT)")

    def add(self, rows: list[Row]) -> None:
        for row in rows:
            self._run("INSERT INTO orders VALUES (?, ?, ?)", row)

    def _run(self, sql: str, row: Row = ()) -> None:
        connection = sqlite3.connect(self.file)
        with connection:
            connection.execute(sql, row)
        connection.close()


class PostgresSource:
    """A source that grows: a table in PostgreSQL."""

    stream = "src.orders"

    def __init__(self, url: str) -> None:
        self.url = url
        with psycopg.connect(url) as connection:
            connection.execute("CREATE SCHEMA src; CREATE TABLE src.orders (id int, at int, name text)")

    def add(self, rows: list[Row]) -> None:
        with psycopg.connect(self.url) as connection, connection.cursor() as cursor:
            cursor.executemany("INSERT INTO src.orders VALUES (%s, %s, %s)", rows)


class PostgresTables:
    """Looks into a PostgreSQL destination."""

    def __init__(self, url: str) -> None:
        self.url = url

    def rows(self, where: str = "") -> list[Row]:
        with psycopg.connect(self.url) as connection:
            return connection.execute(f"SELECT {COLUMNS} FROM public.orders{where}".encode()).fetchall()

    def leftovers(self) -> list[str]:
        with psycopg.connect(self.url) as connection:
            asked = "SELECT relname FROM pg_class WHERE relname ~ '^_suiro_stage'"
            return [row[0] for row in connection.execute(asked).fetchall()]


class MysqlTables:
    """Looks into a MariaDB destination."""

    def __init__(self, server: MariaDBServer) -> None:
        self.server, self.url = server, server.create_database()

    def rows(self, where: str = "") -> list[Row]:
        return self._ask(f"SELECT {COLUMNS.replace(chr(34), '`')} FROM orders{where}")

    def leftovers(self) -> list[str]:
        return [name for (name,) in self._ask("SHOW TABLES") if name.startswith("_suiro_stage")]

    def _ask(self, sql: str) -> list[Row]:
        return self.server.execute(sql, database_of(self.url))


class FileTables:
    """Looks into a destination of this machine: a DuckDB or SQLite file, or a folder of Parquet files."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind, self.folder = kind, folder
        folder.mkdir()
        name = {"duckdb": "d.duckdb", "sqlite": "d.db", "file": "?format=parquet"}[kind]
        self.url = f"{kind}://{folder}/{name}"

    def rows(self, where: str = "") -> list[Row]:
        if self.kind == "duckdb":
            with duckdb.connect(str(self.folder / "d.duckdb"), read_only=True) as connection:
                return connection.execute(f"SELECT {COLUMNS} FROM orders{where}").fetchall()
        if self.kind == "sqlite":
            connection = sqlite3.connect(self.folder / "d.db")
            found = connection.execute(f"SELECT {COLUMNS} FROM orders{where}").fetchall()
            connection.close()
            return found
        files = [p for p in self.folder.rglob("*.parquet") if ".suiro" not in p.parts]
        return [tuple(row.values()) for p in files for row in pq.read_table(p, partitioning=None).to_pylist()]

    def leftovers(self) -> list[str]:
        return [str(p) for p in self.folder.rglob("*") if p.is_file() and ("stag" in p.name or "spool" in p.name)]


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copies]:
    found = Copies(tmp_path_factory.mktemp("copies"))
    yield found
    found.close()


def expected(mode: str, there: list[Row], snapshots: list[list[Row]]) -> Counter[Row]:
    """The rows that the destination must hold."""
    match mode:
        case "full append":
            return Counter(row for snapshot in snapshots for row in snapshot)
        case "merge" | "history":  # a history's rows that hold are those of a merge
            latest = {key: max(at for k, at, _ in there if k == key) for key, _, _ in there}
            return Counter((key, at) for key, at in latest.items())
        case _:
            return Counter(there)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", ["postgres", "postgres to postgres", "duckdb", "sqlite", "file", "mysql"])
def test_a_copy_broken_anywhere_and_repeated_carries_every_row_once(
    kind: str,
    mode: str,
    copies: Copies,
    postgres: PostgresServer,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    if (kind, mode) == ("file", "history"):
        pytest.skip("files keep no histories")
    numbers = itertools.count()
    mariadb: MariaDBServer | None = request.getfixturevalue("mariadb") if kind == "mysql" else None

    @settings(max_examples=max(3, settings().max_examples // 20), suppress_health_check=list(HealthCheck))
    @given(rounds=ROUNDS)
    def carried(rounds: list[tuple[list[Row], list[tuple[str, int]]]]) -> None:
        folder = tmp_path / str(next(numbers))
        folder.mkdir()
        url = postgres.create_database() if kind.startswith("postgres") else ""
        source = PostgresSource(url) if kind == "postgres to postgres" else SqliteSource(folder)
        tables = tables_of(kind, url, folder, mariadb)
        try:
            broken_and_repeated(mode, rounds, source, tables, copies)
        finally:
            if url:
                postgres.drop_database(url)
            if mariadb is not None:
                mariadb.drop_database(tables.url)
            shutil.rmtree(folder)

    carried()


def tables_of(
    kind: str, url: str, folder: Path, mariadb: MariaDBServer | None
) -> PostgresTables | MysqlTables | FileTables:
    """A destination that is empty."""
    if mariadb is not None:
        return MysqlTables(mariadb)
    return PostgresTables(url) if url else FileTables(kind, folder / "out")


def broken_and_repeated(
    mode: str,
    rounds: list[tuple[list[Row], list[tuple[str, int]]]],
    source: SqliteSource | PostgresSource,
    tables: PostgresTables | MysqlTables | FileTables,
    copies: Copies,
) -> None:
    there: list[Row] = []
    snapshots: list[list[Row]] = []
    for number, (new, faults) in enumerate(rounds):
        clock = max((at for _, at, _ in there), default=0)  # new rows never come with an older cursor value
        rows = [(key, clock + at, name) for key, at, name in new]
        source.add(rows)
        there += rows
        snapshots.append(list(there))

        def order(fault: str = "", at: int = 0, run: str = f"run{number}") -> Order:
            return Order(
                source=source.url,
                destination=tables.url,
                stream=source.stream,
                run=run,
                task={**MODES[mode], "table": "orders"},
                fault=fault,
                at=at,
            )

        for fault, at in faults:
            copies.carry(*([order()] * 2 if fault == "pair" else [order(fault, at)]))
        done = copies.carry(order())
        assert done == [0], copies.told()
        held = tables.rows(" WHERE _suiro_current" if mode == "history" and there else "")
        found = Counter(row[:2] if mode in ("merge", "history") else row for row in held)
        assert found == expected(mode, there, snapshots)
        assert tables.leftovers() == []
