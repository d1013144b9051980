"""The org: its objects, its records in SQLite, its settings and its clock."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suiro.sandbox.database import Database
from suiro.sandbox.salesforce.fields import Field, Sobject, field_of
from suiro.sandbox.salesforce.ids import record_id
from suiro.sandbox.salesforce.objects import CHILDREN, standard_objects
from suiro.sandbox.salesforce.settings import Settings
from suiro.sandbox.salesforce.values import add_functions, column_type, moment

if TYPE_CHECKING:
    from suiro.model.schema import Json

SCHEMA = """
    CREATE TABLE _facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
    CREATE TABLE _objects (name TEXT PRIMARY KEY, told TEXT NOT NULL);
    CREATE TABLE _deletions (object TEXT NOT NULL, id TEXT NOT NULL, at TEXT NOT NULL);
    CREATE INDEX _deletions_at ON _deletions (object, at);
    CREATE TABLE _sessions (token TEXT PRIMARY KEY, grant_id TEXT, user TEXT NOT NULL, until REAL NOT NULL);
    CREATE TABLE _grants (id TEXT PRIMARY KEY, client TEXT NOT NULL, user TEXT NOT NULL, revoked INTEGER NOT NULL);
    CREATE TABLE _refresh_tokens (token TEXT PRIMARY KEY, grant_id TEXT NOT NULL, used INTEGER NOT NULL);
    CREATE TABLE _jobs (
        id TEXT PRIMARY KEY, kind TEXT NOT NULL, told TEXT NOT NULL, state TEXT NOT NULL, made REAL NOT NULL,
        since REAL NOT NULL, progress TEXT NOT NULL
    );
"""
#: Columns that every table has beside its fields: number, whether deleted, from when queries see it (ms since 1970).
HIDDEN = "_row INTEGER PRIMARY KEY, _deleted INTEGER NOT NULL DEFAULT 0, _visible INTEGER NOT NULL DEFAULT 0"


class Org:
    """The state of the service. Safe to use from several threads."""

    def __init__(self, folder: Path, now: Callable[[], datetime]) -> None:
        self.folder = folder
        self.database = Database(folder / "salesforce.db", add_functions)
        self._now = now
        self._lock = threading.Lock()
        self._objects = {name.lower(): found for name, found in standard_objects().items()}
        self.new = not self._exists()
        if self.new:
            self._create()
        with self.reading() as connection:
            for (told,) in connection.execute("SELECT told FROM _objects ORDER BY name"):
                self._know(json.loads(told))
        self._settings = Settings.model_validate_json(self.fact("settings") or "{}")
        self._rows_written = 0
        self.unseen_until = 0  #: ms since 1970: later, queries see all records there are now

    # --- time ---

    def now(self) -> datetime:
        """The time, in UTC."""
        return self._now().astimezone(UTC)

    def stamp(self) -> str:
        """The time as records carry it: whole seconds."""
        return moment(self.now().replace(microsecond=0))

    def milliseconds(self) -> int:
        return int(self.now().timestamp() * 1000)

    # --- objects ---

    def find(self, name: str) -> Sobject | None:
        """An object by its name, in any case."""
        return self._objects.get(name.lower())

    def objects(self) -> list[Sobject]:
        """All objects, by name."""
        return sorted(self._objects.values(), key=lambda one: one.name)

    def children(self, parent: Sobject) -> Mapping[str, tuple[Sobject, Field]]:
        """What points to a parent: child object and field, by the relationship's name in lower case."""
        found = {}
        for relationship, child, field in CHILDREN.get(parent.name, ()):
            there = self.find(child)
            if there is not None and there.find(field) is not None:
                found[relationship.lower()] = (there, there.fields[field])
        return found

    def hidden(self, found: Sobject, field: Field) -> bool:
        """Whether field-level security hides a field."""
        return f"{found.name}.{field.name}" in self._settings.hidden_fields

    def seen(self, found: Sobject, name: str) -> Field | None:
        """A field by its name, unless it is hidden."""
        field = found.find(name)
        return None if field is None or self.hidden(found, field) else field

    def by_prefix(self, text: str) -> Sobject | None:
        """The object whose record ids begin so."""
        return next((one for one in self._objects.values() if one.prefix == text[:3]), None)

    def define(self, name: str, told: Mapping[str, Json]) -> Sobject:
        """Make or replace an object with just these fields, empty. ValueError: they make no sense."""
        kept = {**told, "name": name}
        standing = self.find(name)
        if standing is not None and not standing.made:
            raise ValueError(f"{name} is one of the org's own objects")
        prefix = standing.prefix if standing else f"a{10 + sum(one.made for one in self.objects()):02}"
        kept["prefix"] = prefix
        found = made_object(kept)
        with self.writing() as connection:
            connection.execute(f'DROP TABLE IF EXISTS "{found.name}"')
            create_table(connection, found)
            connection.execute("DELETE FROM _deletions WHERE object = ?", (found.name,))
            connection.execute("INSERT OR REPLACE INTO _objects VALUES (?, ?)", (found.name, json.dumps(kept)))
        self._know(kept)
        self.describe_changed()
        return found

    def _know(self, told: Mapping[str, Json]) -> None:
        found = made_object(told)
        self._objects[found.name.lower()] = found

    # --- settings ---

    @property
    def settings(self) -> Settings:
        return self._settings

    def set(self, changes: Mapping[str, Any]) -> Settings:
        """Change settings. ValueError: one that isn't there, or doesn't fit."""
        with self._lock:
            hidden = self._settings.hidden_fields
            self._settings = Settings.model_validate({**self._settings.model_dump(), **changes})
            self.keep_fact("settings", self._settings.model_dump_json())
        if self._settings.hidden_fields != hidden:
            self.describe_changed()
        return self._settings

    def take_lock(self, name: str, identity: str | None) -> bool:
        """Whether writing a record meets a lock; counts it. Without an id: a new record."""
        settings = self._settings
        with self._lock:
            self._rows_written += 1
            counts = settings.lock_inserts if identity is None else settings.locks.get(name, {})
            key = name if identity is None else identity
            if counts.get(key, 0) > 0:
                counts[key] -= 1
                return True
            if settings.lock_next > 0:
                settings.lock_next -= 1
                return True
        return identity in settings.locked_ids or (
            settings.lock_each > 0 and self._rows_written % settings.lock_each == 0
        )

    def fact(self, name: str) -> str | None:
        """Something small that is kept by name."""
        with self.reading() as connection:
            row = connection.execute("SELECT value FROM _facts WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def keep_fact(self, name: str, value: str) -> None:
        with self.writing() as connection:
            connection.execute("INSERT OR REPLACE INTO _facts VALUES (?, ?)", (name, value))

    def describe_changed(self) -> None:
        """Remember when describe last changed, for Last-Modified."""
        self.keep_fact("described_at", self.now().replace(microsecond=0).isoformat())

    # --- records ---

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """One state of the records."""
        with self.database.reading() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """All that is done, or nothing."""
        with self.database.writing() as connection:
            yield connection

    def insert_raw(self, connection: sqlite3.Connection, found: Sobject, rows: Iterable[dict[str, Any]]) -> int:
        """Put records as they are kept; ids are given to those without. Returns how many."""
        number = first = next_number(connection, found)
        makes_ids = found.fields.get("Id") is not None and found.fields["Id"].type == "id"
        for names, alike in groupby(rows, key=tuple):
            with_id = makes_ids and "Id" not in names
            columns = ["_row", *(["Id"] if with_id else []), *names]
            sql = f"""INSERT INTO "{found.name}" ({", ".join(f'"{name}"' for name in columns)})
                VALUES ({", ".join("?" * len(columns))})"""
            if with_id:
                lines = ((n, record_id(found.prefix, n), *row.values()) for n, row in enumerate(alike, number))
            else:
                lines = ((n, *row.values()) for n, row in enumerate(alike, number))
            number += connection.executemany(sql, lines).rowcount
        return number - first

    def close(self) -> None:
        self.database.close()

    def _exists(self) -> bool:
        with self.database.reading() as connection:
            return connection.execute("SELECT 1 FROM sqlite_master WHERE name = '_facts'").fetchone() is not None

    def _create(self) -> None:
        with self.database.writing() as connection:
            for statement in SCHEMA.split(";"):
                connection.execute(statement)
            for found in self._objects.values():
                create_table(connection, found, indexes=False)
        self.describe_changed()


def create_table(connection: sqlite3.Connection, found: Sobject, *, indexes: bool = True) -> None:
    """The table of an object."""
    columns = "".join(f', "{one.name}" {column_type(one)}' for one in found.kept())
    connection.execute(f'CREATE TABLE "{found.name}" ({HIDDEN}{columns})')
    if indexes:
        create_indexes(connection, found)


def create_indexes(connection: sqlite3.Connection, found: Sobject) -> None:
    """What is looked up: ids, parents, external ids, and when a record changed."""
    to_parents = {(child, field) for listed in CHILDREN.values() for _, child, field in listed}
    for one in found.kept():
        looked_up = one.type == "id" or one.external_id or one.id_lookup or one.name == "SystemModstamp"
        if looked_up or (found.name, one.name) in to_parents:
            unique = "UNIQUE " if one.type == "id" else ""
            connection.execute(
                f'CREATE {unique}INDEX "{found.name}_{one.name}" ON "{found.name}" ("{one.name}"{one.collation})'
            )


def next_number(connection: sqlite3.Connection, found: Sobject) -> int:
    """The number of the next new record; numbers of purged records aren't used again."""
    highest = connection.execute(f'SELECT ifnull(max(_row), 0) FROM "{found.name}"').fetchone()[0]
    purged = connection.execute("SELECT value FROM _facts WHERE name = ?", (f"purged {found.name}",)).fetchone()
    return max(int(highest), int(purged[0]) if purged else 0) + 1


def made_object(told: Mapping[str, Any]) -> Sobject:
    """An object that a test made, from what it told of it."""
    name = str(told["name"])
    listed = [field_of(one) for one in told.get("fields", ())]
    if not listed:
        raise ValueError(f"{name} has no fields")
    return Sobject(
        name=name,
        label=str(told.get("label", name)),
        plural=str(told.get("labelPlural", name)),
        prefix=str(told["prefix"]),
        fields={one.name: one for one in listed},
        queryable=bool(told.get("queryable", True)),
        replicateable=bool(told.get("replicateable", True)),
        bulk=bool(told.get("bulk", True)),
        made=True,
    )
