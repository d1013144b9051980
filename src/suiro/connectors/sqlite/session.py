"""Connections to a SQLite file: opening, statements, rows in and out, and errors in our words."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

import pyarrow as pa

from suiro.connectors.sqlite import catalog
from suiro.connectors.sqlite.values import decode, encode, type_name
from suiro.model.errors import ConfigError, DataError, SchemaConflict, SuiroError, TransientError, UserError
from suiro.model.place import QueryError
from suiro.model.types import is_text
from suiro.spi.context import Context
from suiro.toolkit.sql.dialect import Dialect
from suiro.toolkit.sql.session import Session, Standing, conformed
from suiro.toolkit.sql.source import BATCH_BYTES, BATCH_ROWS

_OLDEST = (3, 37, 0)  #: pragma_table_list; UPDATE FROM is older


def _exactly(field: pa.Field, expression: str) -> str:
    if pa.types.is_floating(field.type):
        return f"quote({expression})"
    return f"{expression} COLLATE BINARY" if is_text(field.type) else expression


def _as_key(field: pa.Field, expression: str) -> str:
    return f"{expression} COLLATE BINARY" if is_text(field.type) else expression


def _instant(field: pa.Field, expression: str) -> str:
    if pa.types.is_date(field.type):
        return f"{expression} || ' 00:00:00.000000+00:00'"
    return expression if field.type.tz else f"{expression} || '+00:00'"


DIALECT = Dialect(
    name="sqlite",
    type_name=type_name,
    arrival_type="INTEGER PRIMARY KEY",
    same="IS",
    exactly=_exactly,
    as_key=_as_key,
    moment=lambda text: f"'{text if '.' in text else text.replace('+', '.000000+')}'",
    instant=_instant,
    indexes_keys=True,
)


def connect(path: Path, wait: float, context: Context, *, write: bool) -> sqlite3.Connection:
    """Open a file; ConfigError if it is no database. Only `write` makes a missing one."""
    if sqlite3.sqlite_version_info < _OLDEST:
        raise ConfigError(f"Python's SQLite is {sqlite3.sqlite_version}; 3.37 or later is needed", hint="Update it.")
    mode = "rwc" if write else "ro"
    with told(path, context):
        db = sqlite3.connect(
            f"file:{quote(str(path))}?mode={mode}",
            uri=True,
            timeout=wait,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            db.execute("PRAGMA schema_version").fetchone()
        except BaseException:
            db.close()
            raise
    return db


@contextmanager
def told(path: Path, context: Context) -> Iterator[None]:
    """Driver errors as errors of ours, which name the file and never a value."""
    try:
        yield
    except sqlite3.Error as error:
        context.check_cancelled()
        raise _translated(path, error) from error


@contextmanager
def asked(path: Path, context: Context) -> Iterator[None]:
    """As `told`, where a user's query is looked at: what is wrong with that is a QueryError."""
    try:
        with told(path, context):
            yield
    except UserError as error:
        if type(error) is not UserError:
            raise
        raise QueryError(error.message, hint=error.hint) from error


def _translated(path: Path, error: sqlite3.Error) -> SuiroError:
    text, code = str(error), getattr(error, "sqlite_errorname", "")
    if code.startswith("SQLITE_CONSTRAINT") or isinstance(error, sqlite3.IntegrityError):
        return DataError(f"the table refuses rows: {text}", hint="Correct the rows, or change the constraint.")
    if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return TransientError(
            f"{path} is locked by another program that writes to it", hint="Wait until it is done, and run again."
        )
    if code.startswith("SQLITE_FULL"):
        return ConfigError(f"the disk that holds {path} is full; nothing was loaded", hint="Free space there.")
    if code.startswith("SQLITE_READONLY"):
        return ConfigError(f"{path} can't be written to", hint="Give write access to the file and its folder.")
    if code.startswith("SQLITE_CANTOPEN"):
        return ConfigError(f"{path} can't be opened", hint="Check the path, and the rights on the file and its folder.")
    if code.startswith("SQLITE_NOTADB"):
        return ConfigError(f"{path} is no SQLite database", hint="Name another file.")
    if code.startswith("SQLITE_CORRUPT"):
        return ConfigError(f"the database {path} is damaged", hint="Restore it, or try SQLite's .recover.")
    if code.startswith("SQLITE_IOERR"):
        return TransientError(f"reading or writing {path} failed ({code})", hint="Look at the disk.")
    if found := re.match(r"Could not decode to UTF-8 column '(.*?)' with text", text, re.DOTALL):
        return DataError(
            f"column {found[1]} holds text that isn't UTF-8", hint="Correct it, or read it as CAST(... AS BLOB)."
        )
    return UserError(f"SQLite says: {text}", hint="Check names and SQL.")


def batches(cursor: sqlite3.Cursor, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The cursor's rows in this schema, about 64k rows or 8 MiB at a time."""
    rows = 1024
    while True:
        found = cursor.fetchmany(rows)
        if not found:
            return
        arrays = [decode(values, field) for values, field in zip(zip(*found, strict=True), schema, strict=True)]
        batch = pa.RecordBatch.from_arrays(arrays, schema=schema)
        rows = max(1, min(BATCH_ROWS, rows * 4, len(found) * BATCH_BYTES // max(batch.nbytes, 1)))
        yield batch


class SqliteSession(Session):
    """A file opened to write, or to look."""

    dialect: ClassVar[Dialect] = DIALECT
    stage: ClassVar[str] = '"_suiro_stage"'
    decided: ClassVar[str] = '"_suiro_decided"'
    kept: ClassVar[str] = '"_suiro_kept"'

    def __init__(self, path: Path, wait: float, context: Context, *, write: bool) -> None:
        self._path, self._context = path, context
        self._db = connect(path, wait, context, write=write)
        self._take_back = context.on_cancel(self._db.interrupt)

    def run(self, sql: str, parameters: Sequence[object] = ()) -> int:
        """Run a statement; rows changed."""
        with told(self._path, self._context):
            return self._db.execute(sql, parameters).rowcount

    def ask(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Run a query with a small result."""
        with told(self._path, self._context):
            return self._db.execute(sql, parameters).fetchall()

    def fill(self, table: str, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> int:
        """Insert rows, a few thousand at a time."""
        names = self.dialect.columns(schema.names)
        marks = ", ".join("?" * len(schema.names))
        sql = f"INSERT INTO {table} ({names}) VALUES ({marks})"
        total = 0
        for batch in batches:
            self._context.check_cancelled()
            for start in range(0, batch.num_rows, 8192):
                piece = batch.slice(start, 8192)
                rows = zip(*(encode(column) for column in piece.columns), strict=True)
                with told(self._path, self._context):
                    self._db.executemany(sql, rows)
            total += batch.num_rows
        return total

    def rows(self, table: str, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """The table's columns in the types of this schema."""
        sql = f"SELECT {self.dialect.columns(schema.names)} FROM {table}"
        with told(self._path, self._context), closing(self._db.execute(sql)) as cursor:
            yield from batches(cursor, schema)

    def standing(self, parts: tuple[str, ...]) -> Standing | None:
        """The table as it stands; ConfigError for a view."""
        with told(self._path, self._context):
            found = catalog.relation(self._db, parts[-1])
            if found is None:
                return None
            name, kind, _ = found
            if kind == "view":
                raise ConfigError(f"{name} is a view and can't be loaded into", hint="Choose another table name.")
            return catalog.standing(self._db, name)

    def exists(self, parts: tuple[str, ...]) -> bool:
        """Whether there is a table of that name."""
        with told(self._path, self._context):
            found = catalog.relation(self._db, parts[-1])
        return found is not None and found[1] == "table"

    def held_by(self, standing: Standing) -> tuple[str, ...]:
        """What would be lost or broken if the table were made anew."""
        with told(self._path, self._context):
            return catalog.held_by(self._db, standing.parts[-1])

    def create(self, parts: tuple[str, ...], schema: pa.Schema, key: tuple[str, ...]) -> None:
        """Make a table."""
        self.run(catalog.create_sql(parts[-1], {field.name: type_name(field) for field in schema}, key))

    def add(self, standing: Standing, field: pa.Field) -> None:
        """Add a column."""
        table = self.dialect.qualified(standing.parts)
        self.run(f"ALTER TABLE {table} ADD COLUMN {self.dialect.quote(field.name)} {type_name(field)}")

    def widen(self, standing: Standing, fields: Sequence[pa.Field]) -> None:
        """Make the table anew with other types, with its indexes and triggers; SchemaConflict for other constraints."""
        name = standing.parts[-1]
        with told(self._path, self._context):
            plain = catalog.is_plain(self._db, name)
        if not plain:
            raise SchemaConflict(
                f"column {fields[0].name} of {name} is too narrow, and SQLite can't change a type in a table with "
                "constraints of its own",
                hint="Make the table anew with a wider type, or load into another one.",
            )
        declared = standing.types | {field.name: type_name(field) for field in fields}
        wider = {field.name: field for field in fields}
        new = pa.schema([wider.get(field.name, field) for field in standing.table.schema])
        self._rebuild(standing, new, declared, standing.table.primary_key)

    def rekey(self, standing: Standing, key: tuple[str, ...]) -> None:
        """Make the table anew with another primary key, with its indexes and triggers."""
        self._rebuild(standing, standing.table.schema, standing.types, key)

    def _rebuild(self, standing: Standing, new: pa.Schema, declared: dict[str, str], key: tuple[str, ...]) -> None:
        name, old = standing.parts[-1], standing.table.schema
        hung = self.ask(
            "SELECT sql FROM sqlite_master WHERE tbl_name = ? AND type IN ('index', 'trigger') AND sql IS NOT NULL",
            [name],
        )
        self.run("PRAGMA legacy_alter_table = ON")  # so that views keep the table's name
        beside = f"{name}__suiro"
        self.run(catalog.create_sql(beside, declared, key))
        rows = (conformed(batch, new) for batch in self.rows(self.dialect.quote(name), old))
        self.fill(self.dialect.quote(beside), new, rows)
        self.run(f"DROP TABLE {self.dialect.quote(name)}")
        self.run(f"ALTER TABLE {self.dialect.quote(beside)} RENAME TO {self.dialect.quote(name)}")
        for (sql,) in hung:
            self.run(sql)
        self.run("PRAGMA legacy_alter_table = OFF")

    def begin(self) -> None:
        """Take the file's write lock; readers go on reading what is there."""
        self.run("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """Make it visible."""
        self.run("COMMIT")

    def close(self) -> None:
        """Undo what wasn't committed and close."""
        self._take_back()
        if self._db.in_transaction:
            with told(self._path, self._context):
                self._db.execute("ROLLBACK")
        self._db.close()
