"""Task runs under a memory bound, route by route: what their processes really had resident."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from mariadb import MariaDBServer, database_of
from servers import PostgresServer
from suiro.app.running import CARRIER
from suiro.runtime.supervisor import Child, Line, Word

_numbers = itertools.count(1)
MERGE = {"read": "incremental", "cursor": "at", "write": "merge", "key": ["id"]}

#: About 130 bytes a row, most of them in texts that don't repeat.
COLUMNS = "id bigint PRIMARY KEY, at bigint NOT NULL, code text, amount numeric(15,2), note text"
ROWS = """
INSERT INTO {table} SELECT n, n, md5(n::text), (n % 100000) / 100.0, md5((n * 7)::text) || ' 水路 ' || n
FROM generate_series(1, {rows}) AS n
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One task run. `peak`: the most that its process had resident, in bytes, by its supervisor's looks."""

    route: str
    bound: int
    peak: int
    seconds: float
    rows: int
    path: str
    ended: str  #: succeeded, or what stopped it

    def line(self) -> str:
        """The table's line for it."""
        mib = 2**20
        return (
            f"| {self.route} | {self.rows:,} | {self.path} | {self.bound / mib:,.0f} | {self.peak / mib:,.0f} "
            f"| {self.seconds:,.0f} | {self.ended} |"
        )


HEAD = "| route | rows | path | bound, MiB | peak, MiB | seconds | ended |\n|---|---|---|---|---|---|---|"


def carried(route: str, source: str, destination: str, task: Mapping[str, Any], bound: int) -> Measured:
    """Carry one task in a process of its own, watched as the runner has it watched."""
    spec = {
        "task": dict(task),
        "name": task["stream"],
        "run": f"memory-{next(_numbers)}",
        "memory": bound,
        "source": {"text": source},
        "destination": {"text": destination},
    }
    child, started = Child(CARRIER), time.monotonic()
    try:
        outcome = child.carry(spec, beat=lambda _: Word(), log=_ignored, memory=bound)
    finally:
        child.close()
    result = outcome.result or {}
    said = (result.get("error") or {}).get("message")
    return Measured(
        route=route,
        bound=bound,
        peak=child.peak,
        seconds=time.monotonic() - started,
        rows=result.get("rows_read", 0),
        path=result.get("path", ""),
        ended=said or result.get("status") or outcome.stopped or outcome.died or "",
    )


def _ignored(lines: object) -> None:
    assert isinstance(lines, list) and all(isinstance(line, tuple) for line in lines)


class Routes:
    """The routes that are measured, over servers of the caller's; what they write goes into `folder`."""

    def __init__(self, postgres: PostgresServer, mariadb: MariaDBServer | None, folder: Path, rows: int) -> None:
        self._postgres, self._mariadb, self._folder, self._rows = postgres, mariadb, folder, rows
        self._made: dict[str, str] = {}
        self.all: dict[str, Callable[[int], Measured]] = {
            "PostgreSQL to PostgreSQL, as it is": lambda bound: self._to_postgres(bound, {}),
            "PostgreSQL to PostgreSQL, arrow": lambda bound: self._to_postgres(
                bound, {"read": "incremental", "cursor": "at", "write": "append"}
            ),
            "PostgreSQL to PostgreSQL, merge": lambda bound: self._to_postgres(bound, MERGE),
            "PostgreSQL to DuckDB, replace": lambda bound: self._to_duckdb(bound, {}, again=False),
            "PostgreSQL to DuckDB, merge": lambda bound: self._to_duckdb(bound, MERGE, again=True),
            "PostgreSQL to SQLite, replace": lambda bound: self._to_file(bound, "sqlite", "out.sqlite", {}),
            "PostgreSQL to Parquet, replace": lambda bound: self._to_file(bound, "file", "?format=parquet", {}),
            "PostgreSQL to Parquet, merge": lambda bound: self._to_file(bound, "file", "?format=parquet", MERGE),
            "CSV to PostgreSQL": self._from_csv,
            "CSV.gz to PostgreSQL": self._from_gz,
            "MariaDB to PostgreSQL": self._from_mariadb,
            "PostgreSQL to MariaDB": self._to_mariadb,
        }

    def _source(self) -> str:
        """A PostgreSQL database with the rows in `public.big`."""
        if "source" not in self._made:
            self._made["source"] = url = self._postgres.create_database()
            with psycopg.connect(url, autocommit=True) as db:
                db.execute(f"CREATE TABLE big ({COLUMNS})".encode())
                db.execute(ROWS.format(table="big", rows=self._rows).encode())
                db.execute("VACUUM ANALYZE big")
        return self._made["source"]

    def _to_postgres(self, bound: int, task: Mapping[str, Any]) -> Measured:
        to = self._postgres.create_database()
        try:
            name = "PostgreSQL to PostgreSQL, " + (
                {"merge": "merge", "append": "arrow"}.get(task.get("write", ""), "as it is")
            )
            return carried(name, self._source(), to, {"stream": "public.big", **task}, bound)
        finally:
            self._postgres.drop_database(to)

    def _to_duckdb(self, bound: int, task: Mapping[str, Any], *, again: bool) -> Measured:
        """`again`: the measured run finds all rows in the table, and every key is looked for."""
        file = self._folder / f"out-{next(_numbers)}.duckdb"
        to = f"duckdb://{file}"
        if again:
            first = carried("", self._source(), to, {"stream": "public.big", **task}, 4 * 2**30)
            assert first.ended == "succeeded", first
            task = {**task, "look_back": str(self._rows)}
        try:
            name = f"PostgreSQL to DuckDB, {'merge' if again else 'replace'}"
            return carried(name, self._source(), to, {"stream": "public.big", **task}, bound)
        finally:
            file.unlink(missing_ok=True)

    def _to_file(self, bound: int, kind: str, name: str, task: Mapping[str, Any]) -> Measured:
        folder = self._folder / f"out-{next(_numbers)}"
        folder.mkdir()
        what = {"sqlite": "SQLite", "file": "Parquet"}[kind]
        route = f"PostgreSQL to {what}, {task.get('write', 'replace')}"
        found = carried(route, self._source(), f"{kind}://{folder}/{name}", {"stream": "public.big", **task}, bound)
        for path in sorted(folder.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        return found

    def _csv(self, end: str) -> Path:
        path = self._folder / f"csv{end}" / f"big.csv{end}"
        if not path.exists():
            path.parent.mkdir(mode=0o777)
            to = {"": f"'{path}'", ".gz": f"PROGRAM 'gzip -1 > {path}'"}[end]
            path.touch()
            for opened, rights in ((path, 0o666), (path.parent, 0o777), (self._folder, 0o777)):
                opened.chmod(rights)
            with psycopg.connect(self._source()) as db:
                db.execute(f"COPY big TO {to} (FORMAT csv, HEADER)".encode())
        return path

    def _from_csv(self, bound: int) -> Measured:
        return self._into_postgres("CSV to PostgreSQL", f"file://{self._csv('').parent}", "big", bound)

    def _from_gz(self, bound: int) -> Measured:
        return self._into_postgres("CSV.gz to PostgreSQL", f"file://{self._csv('.gz').parent}", "big", bound)

    def _into_postgres(self, route: str, source: str, stream: str, bound: int) -> Measured:
        to = self._postgres.create_database()
        try:
            return carried(route, source, to, {"stream": stream, "table": "big"}, bound)
        finally:
            self._postgres.drop_database(to)

    def _to_mariadb(self, bound: int) -> Measured:
        assert self._mariadb is not None
        if "mariadb" not in self._made:
            self._made["mariadb"] = self._mariadb.create_database()
        to = self._made["mariadb"]
        return carried("PostgreSQL to MariaDB", self._source(), to, {"stream": "public.big", "table": "big"}, bound)

    def _from_mariadb(self, bound: int) -> Measured:
        assert self._mariadb is not None
        done = self._to_mariadb(4 * 2**30)
        assert done.ended == "succeeded", done
        source = self._made["mariadb"]
        return self._into_postgres("MariaDB to PostgreSQL", source, f"{database_of(source)}.big", bound)


__all__ = ["HEAD", "Line", "Measured", "Routes", "carried"]
