"""The company's objects in one SQLite file."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from suiro.sandbox.database import Database
from suiro.sandbox.quickbooks.answers import Body
from suiro.sandbox.quickbooks.entities import NAMES, WRAPPED

_TABLES = """
CREATE TABLE IF NOT EXISTS objects (
    entity TEXT NOT NULL, id INTEGER NOT NULL, token INTEGER NOT NULL, created INTEGER NOT NULL,
    updated INTEGER NOT NULL, active INTEGER NOT NULL, gone INTEGER NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (entity, id)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_change ON objects (entity, updated);
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
_COLUMNS = "id, token, created, updated, active, gone, body"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """One object. `body` lacks what the columns hold."""

    entity: str
    id: int
    token: int = 0
    created: int
    updated: int
    active: bool = True
    gone: bool = False
    body: Body

    def told(self, zone: ZoneInfo) -> Body:
        """As the API tells it; of what is gone a stub [REC]."""
        changed = moment(self.updated, zone)
        if self.gone:
            return {"domain": "QBO", "status": "Deleted", "Id": str(self.id), "MetaData": {"LastUpdatedTime": changed}}
        own: Body = {} if self.entity == "ExchangeRate" else {"Id": str(self.id), "SyncToken": str(self.token)}
        active = {"Active": self.active} if self.entity in NAMES else {}
        times = {"CreateTime": moment(self.created, zone), "LastUpdatedTime": changed}
        body, kind = self.body, None
        if self.entity == WRAPPED:
            kind, body = next(iter(self.body.items()))
        told = {**own, "domain": "QBO", "sparse": False, **active, **body, "MetaData": times}
        return told if kind is None else {kind: told}


def moment(seconds: int, zone: ZoneInfo) -> str:
    """A moment with the offset of the company's zone at that time [REC]."""
    return datetime.fromtimestamp(seconds, UTC).astimezone(zone).isoformat(timespec="seconds")


class Records:
    """The store. Safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        self._database = Database(path)
        with self._database.writing() as connection:
            for statement in _TABLES.split(";"):
                connection.execute(statement)

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One change at a time, whole or not at all."""
        with self._database.writing() as connection:
            yield connection

    def find(
        self,
        entity: str,
        where: str = "1",
        given: Sequence[Any] = (),
        *,
        order: str = "id",
        limit: tuple[int, int] = (-1, 0),
        gone: bool = False,
    ) -> list[Kept]:
        """Objects by a condition of SQL; `limit`: how many, and how many to pass over."""
        sql = f"SELECT {_COLUMNS} FROM objects WHERE entity = ? AND {'1' if gone else 'gone = 0'} AND {where}"
        with self._database.reading() as connection:
            rows = connection.execute(f"{sql} ORDER BY {order} LIMIT ? OFFSET ?", (entity, *given, *limit)).fetchall()
        return [
            Kept(
                entity=entity,
                id=row[0],
                token=row[1],
                created=row[2],
                updated=row[3],
                active=bool(row[4]),
                gone=bool(row[5]),
                body=json.loads(row[6]),
            )
            for row in rows
        ]

    def get(self, entity: str, id_: object) -> Kept | None:
        """The object of an id."""
        found = self.find(entity, "id = ?", [int(str(id_))]) if str(id_).isdecimal() else []
        return found[0] if found else None

    def number(self, entity: str, where: str = "1", given: Sequence[Any] = ()) -> int:
        """How many there are."""
        with self._database.reading() as connection:
            sql = f"SELECT count(*) FROM objects WHERE entity = ? AND gone = 0 AND {where}"
            return int(connection.execute(sql, (entity, *given)).fetchone()[0])

    def upcoming(self, entity: str) -> int:
        """The id of the next object."""
        with self._database.reading() as connection:
            found = connection.execute("SELECT max(id) FROM objects WHERE entity = ?", (entity,)).fetchone()[0]
        return int(found or 0) + 1

    def put(self, objects: Iterable[Kept]) -> None:
        """Keep objects, in place of those with their ids."""
        rows = (
            (
                one.entity,
                one.id,
                one.token,
                one.created,
                one.updated,
                one.active,
                one.gone,
                json.dumps(one.body, ensure_ascii=False),
            )
            for one in objects
        )
        with self._database.writing() as connection:
            connection.executemany("INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def fact(self, name: str) -> str | None:
        """What was noted under a name."""
        with self._database.reading() as connection:
            found = connection.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return None if found is None else str(found[0])

    def note(self, name: str, value: str) -> None:
        """Keep a fact."""
        with self._database.writing() as connection:
            connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()
