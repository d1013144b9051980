"""The shop's records: documents in SQLite, found by kind, parent, time of change, or any of their fields."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from suiro.sandbox.database import Database

Row: TypeAlias = dict[str, Any]  #: one record: its fields by name; moments are seconds since 1970

SCHEMA = (
    "CREATE TABLE IF NOT EXISTS record (kind TEXT NOT NULL, id INTEGER NOT NULL, parent INTEGER NOT NULL,"
    " modified INTEGER NOT NULL, body TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS fact (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
)
INDEXES = (
    "CREATE UNIQUE INDEX IF NOT EXISTS by_id ON record (kind, id)",
    "CREATE INDEX IF NOT EXISTS by_parent ON record (kind, parent, id)",
    "CREATE INDEX IF NOT EXISTS by_modified ON record (kind, modified, id)",
    "CREATE INDEX IF NOT EXISTS by_email ON record (kind, json_extract(body, '$.email') COLLATE NOCASE)",
)
COUNTS_KEPT = 1000


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition on records in SQL, with its parameters."""

    sql: str = "1"
    values: tuple[object, ...] = ()

    def also(self, sql: str, *values: object) -> Condition:
        """This condition and another one."""
        return Condition(f"{self.sql} AND ({sql})", (*self.values, *values))


ALL = Condition()


class Reader:
    """The records as one transaction sees them."""

    def __init__(self, connection: sqlite3.Connection, counts: dict[tuple[object, ...], int]) -> None:
        self._connection = connection
        self._counts = counts

    def get(self, kind: str, id: int) -> Row | None:
        """The record of an id."""
        found = self._connection.execute("SELECT body FROM record WHERE kind = ? AND id = ?", (kind, id)).fetchone()
        return None if found is None else self._row(found[0])

    def find(self, kind: str, where: Condition = ALL, order: str = "id", limit: int = -1, offset: int = 0) -> list[Row]:
        """The records of a kind that meet a condition, in an order."""
        return list(self.each(kind, where, order, limit, offset))

    def each(
        self, kind: str, where: Condition = ALL, order: str = "id", limit: int = -1, offset: int = 0
    ) -> Iterator[Row]:
        """As `find`, one by one."""
        found = self._connection.execute(
            f"SELECT body FROM record WHERE kind = ? AND ({where.sql}) ORDER BY {order} LIMIT ? OFFSET ?",
            (kind, *where.values, limit, offset),
        )
        for (body,) in found:
            yield self._row(body)

    def count(self, kind: str, where: Condition = ALL) -> int:
        """How many records of a kind meet a condition."""
        key = (self.fact("version"), kind, where.sql, where.values)
        if key not in self._counts:
            if len(self._counts) >= COUNTS_KEPT:
                self._counts.clear()
            self._counts[key] = self._connection.execute(
                f"SELECT count(*) FROM record WHERE kind = ? AND ({where.sql})", (kind, *where.values)
            ).fetchone()[0]
        return self._counts[key]

    def children(self, kind: str, parents: Sequence[int]) -> dict[int, list[Row]]:
        """The records of a kind under each of some parents, by parent, in the order of their ids."""
        found: dict[int, list[Row]] = {parent: [] for parent in parents}
        for parent, body in self._connection.execute(
            "SELECT parent, body FROM record WHERE kind = ? AND parent IN (SELECT value FROM json_each(?))"
            " ORDER BY parent, id",
            (kind, json.dumps(list(parents))),
        ):
            found[parent].append(self._row(body))
        return found

    def numbers(self, kind: str, parents: Sequence[int]) -> dict[int, int]:
        """How many records of a kind lie under each of some parents; a parent without any is left out."""
        return dict(
            self._connection.execute(
                "SELECT parent, count(*) FROM record WHERE kind = ? AND parent IN (SELECT value FROM json_each(?))"
                " GROUP BY parent",
                (kind, json.dumps(list(parents))),
            ).fetchall()
        )

    def ends(self, kind: str) -> tuple[int, int] | None:
        """The lowest and the highest id of a kind; None: there is no record."""
        low, high = self._connection.execute("SELECT min(id), max(id) FROM record WHERE kind = ?", (kind,)).fetchone()
        return None if low is None else (low, high)

    def fact(self, name: str) -> str | None:
        """What is kept under a name beside the records."""
        found = self._connection.execute("SELECT value FROM fact WHERE name = ?", (name,)).fetchone()
        return None if found is None else str(found[0])

    def _row(self, body: str) -> Row:
        row: Row = json.loads(body)
        return row


class Writer(Reader):
    """The records within a transaction that changes them."""

    def add(self, kind: str, row: Row, *, parent: int = 0, modified: int = 0) -> Row:
        """Keep a new record; it gets the next id, never one that a deleted record had."""
        id = self.upcoming(kind)
        self.note(f"next:{kind}", str(id + 1))
        whole = {**row, "id": id}
        self._connection.execute(
            "INSERT INTO record VALUES (?, ?, ?, ?, ?)", (kind, id, parent, modified, written(whole))
        )
        return whole

    def upcoming(self, kind: str) -> int:
        """The id that the next record of a kind gets."""
        return int(self.fact(f"next:{kind}") or 1)

    def change(self, kind: str, id: int, fields: Row, *, modified: int | None = None) -> Row:
        """Give some of a record's fields other values."""
        old = self.get(kind, id)
        if old is None:
            raise LookupError(f"there is no {kind} {id}")
        whole = {**old, **fields, "id": id}
        self._connection.execute(
            "UPDATE record SET body = ?, modified = coalesce(?, modified) WHERE kind = ? AND id = ?",
            (written(whole), modified, kind, id),
        )
        return whole

    def delete(self, kind: str, ids: Sequence[int], under: Sequence[str] = ()) -> int:
        """Take records away, and those of other kinds that lie under them. How many of the kind there were."""
        gone = json.dumps(list(ids))
        for child in under:
            self._connection.execute(
                "DELETE FROM record WHERE kind = ? AND parent IN (SELECT value FROM json_each(?))", (child, gone)
            )
        return self._connection.execute(
            "DELETE FROM record WHERE kind = ? AND id IN (SELECT value FROM json_each(?))", (kind, gone)
        ).rowcount

    def put(self, kind: str, row: Row, *, parent: int, modified: int) -> None:
        """Keep a record whose id is given, in place of the one that has it."""
        self._connection.execute("DELETE FROM record WHERE kind = ? AND id = ?", (kind, row["id"]))
        self._connection.execute(
            "INSERT INTO record VALUES (?, ?, ?, ?, ?)", (kind, row["id"], parent, modified, written(row))
        )
        self.note(f"next:{kind}", str(max(self.upcoming(kind), row["id"] + 1)))

    def fill(self, kind: str, rows: Iterable[tuple[Row, int, int]]) -> None:
        """Keep many new records whose ids are given: (record, parent's id, time of change)."""
        highest = 0

        def each() -> Iterator[tuple[object, ...]]:
            nonlocal highest
            for row, parent, modified in rows:
                highest = max(highest, row["id"])
                yield kind, row["id"], parent, modified, written(row)

        self._connection.executemany("INSERT INTO record VALUES (?, ?, ?, ?, ?)", each())
        self.note(f"next:{kind}", str(highest + 1))

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """What is done until the context is left is undone after an error, and nothing else is."""
        self._connection.execute("SAVEPOINT attempt")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK TO attempt")
            self._connection.execute("RELEASE attempt")
            raise
        self._connection.execute("RELEASE attempt")

    def note(self, name: str, value: str) -> None:
        """Keep something under a name beside the records."""
        self._connection.execute("INSERT OR REPLACE INTO fact VALUES (?, ?)", (name, value))


class Records:
    """One shop's records in one file. Safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        self._database = Database(path)
        self._counts: dict[tuple[object, ...], int] = {}
        with self._database.writing() as connection:
            for statement in SCHEMA:
                connection.execute(statement)

    def index(self) -> None:
        """Make what is looked for be found quickly; after the first records are in."""
        with self._database.writing() as connection:
            for statement in (*INDEXES, "PRAGMA analysis_limit = 1000", "ANALYZE"):
                connection.execute(statement)

    @contextmanager
    def reading(self) -> Iterator[Reader]:
        """One state of the records until the context is left."""
        with self._database.reading() as connection:
            yield Reader(connection, self._counts)

    @contextmanager
    def writing(self) -> Iterator[Writer]:
        """For one thread at a time: all that is done is kept, or nothing after an error."""
        with self._database.writing() as connection:
            # Counts within the transaction are its own: it may still end without being kept.
            writer = Writer(connection, {})
            writer.note("version", str(int(writer.fact("version") or 0) + 1))
            yield writer

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()


def written(row: Row) -> str:
    """A record as it is kept."""
    return json.dumps(row, ensure_ascii=False, separators=(",", ":"))
