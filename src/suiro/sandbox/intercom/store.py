"""The workspace's records: documents in SQLite, by kind and id, with the times by which they are found."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from suiro.sandbox.database import Database

Row: TypeAlias = dict[str, Any]  #: one record: its fields by name; moments are seconds since 1970
Kept: TypeAlias = tuple[str, str, str, int, int, int, str]  #: kind, id, parent, created, updated, shown, body

SCHEMA: Final = (
    "CREATE TABLE IF NOT EXISTS record (seq INTEGER PRIMARY KEY, kind TEXT NOT NULL, id TEXT NOT NULL,"
    " parent TEXT NOT NULL, created INTEGER NOT NULL, updated INTEGER NOT NULL, shown INTEGER NOT NULL,"
    " state TEXT NOT NULL DEFAULT '', body TEXT NOT NULL)",
    "CREATE UNIQUE INDEX IF NOT EXISTS by_id ON record (kind, id)",
    "CREATE INDEX IF NOT EXISTS by_parent ON record (kind, parent, seq)",
    "CREATE INDEX IF NOT EXISTS by_updated ON record (kind, updated, seq)",
    "CREATE INDEX IF NOT EXISTS by_external_id ON record (kind, json_extract(body, '$.external_id'))",
    "CREATE INDEX IF NOT EXISTS by_email ON record (kind, json_extract(body, '$.email') COLLATE NOCASE)",
    "CREATE TABLE IF NOT EXISTS fact (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
)
_COLUMNS: Final = "seq, id, parent, created, updated, shown, state, body"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One record as it is kept. `state`: "", archived, deleted or merged."""

    seq: int
    id: str
    parent: str
    created: int
    updated: int
    shown: int  #: from when on a search finds it
    state: str
    row: Row


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition on records in SQL, with its parameters."""

    sql: str = "1"
    values: tuple[object, ...] = ()

    def also(self, sql: str, *values: object) -> Condition:
        """This condition and another one."""
        return Condition(f"{self.sql} AND ({sql})", (*self.values, *values))


THERE: Final = Condition("state = ''")


class Reader:
    """The records as one transaction sees them."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def get(self, kind: str, id: str) -> Found | None:
        """The record of an id, gone ones too."""
        return next(self.each(kind, Condition("id = ?", (id,))), None)

    def each(
        self, kind: str, where: Condition = THERE, order: str = "seq", limit: int = -1, offset: int = 0
    ) -> Iterator[Found]:
        """The records of a kind that meet a condition, in an order."""
        found = self._connection.execute(
            f"SELECT {_COLUMNS} FROM record WHERE kind = ? AND ({where.sql}) ORDER BY {order} LIMIT ? OFFSET ?",
            (kind, *where.values, limit, offset),
        )
        for seq, id, parent, created, updated, shown, state, body in found:
            yield Found(
                seq=seq, id=id, parent=parent, created=created, updated=updated, shown=shown, state=state,
                row=json.loads(body),
            )  # fmt: skip

    def count(self, kind: str, where: Condition = THERE) -> int:
        """How many records of a kind meet a condition."""
        (found,) = self._connection.execute(
            f"SELECT count(*) FROM record WHERE kind = ? AND ({where.sql})", (kind, *where.values)
        ).fetchone()
        return int(found)

    def by_parent(self, kind: str, parents: Sequence[str]) -> dict[str, list[Found]]:
        """The records of a kind under each of some parents, the latest first."""
        out: dict[str, list[Found]] = {parent: [] for parent in parents}
        under = Condition("parent IN (SELECT value FROM json_each(?))", (json.dumps(list(parents)),))
        for one in self.each(kind, under, "seq DESC"):
            out[one.parent].append(one)
        return out

    def fact(self, name: str) -> str | None:
        """What is kept under a name beside the records."""
        found = self._connection.execute("SELECT value FROM fact WHERE name = ?", (name,)).fetchone()
        return None if found is None else str(found[0])


class Writer(Reader):
    """The records within a transaction that changes them."""

    def fill(self, records: Iterable[Kept]) -> None:
        """Keep many new records, in their order."""
        self._connection.executemany(
            "INSERT INTO record (kind, id, parent, created, updated, shown, body) VALUES (?, ?, ?, ?, ?, ?, ?)", records
        )

    def put(self, kind: str, id: str, row: Row, *, at: int, created: int | None = None, **more: Any) -> None:
        """Keep a record, in place of the one that has the id. `more`: parent, shown, state."""
        old = self.get(kind, id)
        parent = more.get("parent", old.parent if old else "")
        shown = more.get("shown", old.shown if old else 0)
        state = more.get("state", old.state if old else "")
        created = created if created is not None else old.created if old else at
        if old is None:
            self._connection.execute(
                "INSERT INTO record (kind, id, parent, created, updated, shown, state, body)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (kind, id, parent, created, at, shown, state, written(row)),
            )
        else:
            self._connection.execute(
                "UPDATE record SET parent = ?, created = ?, updated = ?, shown = ?, state = ?, body = ?"
                " WHERE kind = ? AND id = ?",
                (parent, created, at, shown, state, written(row), kind, id),
            )

    def remove(self, kind: str, ids: Sequence[str]) -> int:
        """Take records away without a trace. How many there were."""
        return self._connection.execute(
            "DELETE FROM record WHERE kind = ? AND id IN (SELECT value FROM json_each(?))",
            (kind, json.dumps(list(ids))),
        ).rowcount

    def number(self, name: str) -> int:
        """The next of a series of numbers."""
        number = int(self.fact(f"next:{name}") or 1)
        self.note(f"next:{name}", str(number + 1))
        return number

    def note(self, name: str, value: str) -> None:
        """Keep something under a name beside the records."""
        self._connection.execute("INSERT OR REPLACE INTO fact VALUES (?, ?)", (name, value))


class Store:
    """One workspace's records in one file. Safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        self._database = Database(path)
        with self._database.writing() as connection:
            for statement in SCHEMA:
                connection.execute(statement)

    @contextmanager
    def reading(self) -> Iterator[Reader]:
        """One state of the records until the context is left."""
        with self._database.reading() as connection:
            yield Reader(connection)

    @contextmanager
    def writing(self) -> Iterator[Writer]:
        """For one thread at a time: all that is done is kept, or nothing after an error."""
        with self._database.writing() as connection:
            yield Writer(connection)

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()


def written(row: Row) -> str:
    """A record as it is kept."""
    return json.dumps(row, ensure_ascii=False, separators=(",", ":"))
