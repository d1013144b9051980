"""Connections to a DuckDB file: opening and waiting, statements, rows in and out, and errors in our words."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar

import duckdb
import pyarrow as pa

from suiro.connectors.duckdb import catalog
from suiro.connectors.duckdb.values import decode, encode, exactly, keeps_equal, note, read_as, type_name, written_as
from suiro.model.errors import ConfigError, DataError, SchemaConflict, SuiroError, TransientError, UserError
from suiro.spi.context import Context
from suiro.toolkit.sql.dialect import Dialect
from suiro.toolkit.sql.session import Session, Standing
from suiro.toolkit.sql.source import BATCH_ROWS


def _instant(field: pa.Field, expression: str) -> str:
    return expression if getattr(field.type, "tz", None) else f"timezone('UTC', CAST({expression} AS TIMESTAMP))"


DIALECT = Dialect(
    name="duckdb",
    type_name=type_name,
    inserts_in_order=False,
    exactly=exactly,
    keeps_equal=keeps_equal,
    instant=_instant,
    hashed="hash",
)
LEAST_MEMORY = 192 * 2**20  #: what one thread needs for joins and sorts of tables of any size
MATCHED_BYTES = 512  #: that a row takes, or a little less, where it is matched with a table's

_SETTINGS = {"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}
_MEMORY = re.compile("failed to (?:pin|allocate)|could not allocate|out of memory", re.IGNORECASE)
_WRITERS: dict[Path, threading.Lock] = {}


def connect(path: Path, wait: float, context: Context, *, write: bool) -> duckdb.DuckDBPyConnection:
    """Open a file, waiting for who holds it; TransientError names that process. Only `write` makes a missing file."""
    until = time.monotonic() + wait
    while True:
        context.check_cancelled()
        try:
            db = duckdb.connect(str(path), read_only=not write, config=dict(_SETTINGS))
            break
        except (duckdb.IOException, duckdb.ConnectionException) as error:
            holder = _holder(str(error))
            if holder is None:
                raise _translated(path, error) from error
            if time.monotonic() >= until:
                raise TransientError(
                    f"{path} is held by {holder}, and DuckDB admits one process",
                    hint="Close the database there, and run again.",
                ) from error
            time.sleep(0.05)
        except duckdb.Error as error:
            raise _translated(path, error) from error
    with told(path, context):
        db.execute("SET TimeZone = 'UTC'")
        db.execute("SET arrow_lossless_conversion = true")
        db.execute("SET enable_progress_bar = false")
        memory = max(context.memory_bytes, LEAST_MEMORY)
        db.execute(f"SET memory_limit = '{memory}B'")
        db.execute(f"SET threads = {min(memory // LEAST_MEMORY, os.cpu_count() or 1)}")
    with suppress(duckdb.Error):  # the folder is fixed once another connection of this process has used it
        db.execute(f"SET temp_directory = '{str(context.workdir).replace(chr(39), chr(39) * 2)}'")
    return db


def _holder(said: str) -> str | None:
    if found := re.search(r"Conflicting lock is held in (.+?) \(PID (\d+)\)", said):
        return f"process {found[2]} ({found[1]})"
    if "Could not set lock on file" in said:
        return "another process"
    return "another connection of this process" if "different configuration" in said else None


@contextmanager
def told(path: Path, context: Context) -> Iterator[None]:
    """Driver errors as errors of ours, which name the file and never a value."""
    try:
        yield
    except duckdb.Error as error:
        context.check_cancelled()
        raise _translated(path, error) from error


def _translated(path: Path, error: duckdb.Error) -> SuiroError:
    text = str(error).split("\n", 1)[0]
    match error:
        case duckdb.ConstraintException():
            said = re.sub(r'key ".*"', "key", str(error), flags=re.DOTALL).split("\n", 1)[0]
            return DataError(f"the table refuses rows: {said}", hint="Correct the rows, or change the constraint.")
        case duckdb.ConversionException() | duckdb.OutOfRangeException():
            column = re.search(r"source column (\S+)", str(error))
            where = f"column {column[1]}" if column else "a column"
            return DataError(f"{where} holds a value that its type in DuckDB can't", hint="Carry the column as text.")
        case duckdb.OutOfMemoryException() | duckdb.TransactionException() if _MEMORY.search(text):
            return ConfigError(
                f"the memory that DuckDB may take is too little for {path}",
                hint="Give the run more memory; a primary key or an index on a large table needs most of it.",
            )
        case duckdb.TransactionException():
            return TransientError(f"another connection changed {path} at the same time", hint="Run again.")
        case duckdb.IOException() if "No space left" in text:
            return ConfigError(f"the disk that holds {path} is full; nothing was loaded", hint="Free space there.")
        case duckdb.IOException() if "not a valid DuckDB" in text:
            return ConfigError(f"{path} is no DuckDB database", hint="Name another file.")
        case duckdb.IOException() | duckdb.PermissionException():
            return ConfigError(
                f"{path} can't be opened or written: {_reason(text)}", hint="Check the path, and the rights on it."
            )
        case _:
            return UserError(f"DuckDB says: {text}", hint="Check names and SQL.")


def _reason(text: str) -> str:
    return text.rsplit(": ", 1)[-1]


def batches(reader: pa.RecordBatchReader, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The reader's batches in this schema."""
    for batch in reader:
        arrays = [decode(column, field) for column, field in zip(batch.columns, schema, strict=True)]
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)


class DuckdbSession(Session):
    """A file opened to write, or to look."""

    dialect: ClassVar[Dialect] = DIALECT
    stage: ClassVar[str] = '"_suiro_stage"'
    decided: ClassVar[str] = '"_suiro_decided"'
    kept: ClassVar[str] = '"_suiro_kept"'

    def __init__(self, path: Path, wait: float, context: Context, *, write: bool) -> None:
        self._path, self._context = path, context
        self._turn = self._take_turn(wait) if write else None
        try:
            self._db = connect(path, wait, context, write=write)
        except BaseException:
            self._release()
            raise
        self._take_back = context.on_cancel(self._db.interrupt)

    def _take_turn(self, wait: float) -> threading.Lock:
        """Runs of one process write one after another: DuckDB would let them in together, and fail one."""
        turn = _WRITERS.setdefault(self._path, threading.Lock())
        if not turn.acquire(timeout=max(wait, 0)):
            raise TransientError(f"another run of this process is writing to {self._path}", hint="Run again.")
        return turn

    def _release(self) -> None:
        if self._turn is not None:
            self._turn.release()
            self._turn = None

    def run(self, sql: str, parameters: Sequence[object] = ()) -> int:
        """Run a statement; rows changed."""
        found = self.ask(sql, parameters)
        return int(found[0][0]) if found and isinstance(found[0][0], int) else 0

    def ask(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Run a query with a small result."""
        with told(self._path, self._context):
            return catalog.ask(self._db, sql, parameters)

    def fill(self, table: str, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> int:
        """Insert rows, streaming."""
        failed: list[BaseException] = []

        def encoded() -> Iterator[pa.RecordBatch]:
            try:
                for batch in batches:
                    self._context.check_cancelled()
                    yield _encoded(batch)
            except BaseException as error:  # raised again below, in place of DuckDB's wrapping
                failed.append(error)
                raise

        sent = _encoded(pa.RecordBatch.from_pylist([], schema=schema)).schema
        reader = pa.RecordBatchReader.from_batches(sent, encoded())
        self._db.register("_suiro_rows", reader)
        quote = self.dialect.quote
        read = ", ".join(written_as(field, quote(field.name)) for field in schema)
        sql = f"INSERT INTO {table} ({self.dialect.columns(schema.names)}) SELECT {read} FROM _suiro_rows"
        try:
            return self.run(sql)
        except SuiroError:
            if failed:
                raise failed[0] from None
            raise
        finally:
            self._db.unregister("_suiro_rows")

    def rows(self, table: str, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """The table's columns in the types of this schema."""
        quote = self.dialect.quote
        read = ", ".join(f"{read_as(f, quote(f.name))} AS {quote(f.name)}" for f in schema)
        with told(self._path, self._context):
            yield from batches(self._db.sql(f"SELECT {read} FROM {table}").to_arrow_reader(BATCH_ROWS), schema)

    def standing(self, parts: tuple[str, ...]) -> Standing | None:
        """The table as it stands; ConfigError for a view."""
        with told(self._path, self._context):
            found = catalog.actual_name(self._db, *parts)
            if found is None:
                return None
            schema, name, kind = found
            if kind == "view":
                raise ConfigError(f"{name} is a view and can't be loaded into", hint="Choose another table name.")
            return catalog.standing(self._db, schema, name)

    def exists(self, parts: tuple[str, ...]) -> bool:
        """Whether there is a table of that name."""
        with told(self._path, self._context):
            found = catalog.actual_name(self._db, *parts)
        return found is not None and found[2] == "table"

    def held_by(self, standing: Standing) -> tuple[str, ...]:
        """What would be lost or broken if the table were made anew."""
        with told(self._path, self._context):
            return catalog.held_by(self._db, *standing.parts)

    def create(self, parts: tuple[str, ...], schema: pa.Schema, key: tuple[str, ...]) -> None:
        """Make a table, and its schema.

        The key is no constraint: DuckDB keeps the index of one in memory, whatever the table's size. Its columns are
        NOT NULL, and a comment on the table names them; that its values are unique is what `Merge` sees to.
        """
        quote = self.dialect.quote
        if parts[0].lower() != "main":
            self.run(f"CREATE SCHEMA IF NOT EXISTS {quote(parts[0])}")
        lines = [f"{quote(f.name)} {type_name(f)}{' NOT NULL' if f.name in key else ''}" for f in schema]
        self.run(f"CREATE TABLE {self.dialect.qualified(parts)} ({', '.join(lines)})")
        if key:
            self._comment(f"TABLE {self.dialect.qualified(parts)}", catalog.key_comment(key))
        for field in schema:
            self._note(parts, field.name, type_name(field))

    def add(self, standing: Standing, field: pa.Field) -> None:
        """Add a column."""
        table = self.dialect.qualified(standing.parts)
        self.run(f"ALTER TABLE {table} ADD COLUMN {self.dialect.quote(field.name)} {type_name(field)}")
        self._note(standing.parts, field.name, type_name(field))

    def widen(self, standing: Standing, fields: Sequence[pa.Field]) -> None:
        """Alter the columns; where keys or indexes are in the way, make the table anew with all that it has."""
        schema, name = standing.parts
        ruled = {column for c in self._constraints(standing) for column in c.columns}
        table = self.dialect.qualified(standing.parts)
        if catalog.indexes(self._db, schema, name) or ruled & {field.name for field in fields}:
            self._rebuild(standing, fields)
        else:
            for field in fields:
                quoted = self.dialect.quote(field.name)
                using = _widened(standing.table.schema.field(field.name), field, quoted)
                self.run(f"ALTER TABLE {table} ALTER COLUMN {quoted} SET DATA TYPE {type_name(field)} USING {using}")
        for field in fields:
            self._note(standing.parts, field.name, type_name(field))

    def rekey(self, standing: Standing, key: tuple[str, ...]) -> None:
        """Name another key; see `create`."""
        self._comment(f"TABLE {self.dialect.qualified(standing.parts)}", catalog.key_comment(key))

    def _constraints(self, standing: Standing) -> list[catalog.Constraint]:
        with told(self._path, self._context):
            return catalog.constraints(self._db, *standing.parts)

    def _note(self, parts: tuple[str, ...], column: str, declared: str) -> None:
        text = note(declared)
        if text is not None:
            where = f"{self.dialect.qualified(parts)}.{self.dialect.quote(column)}"
            self._comment(f"COLUMN {where}", text)

    def _comment(self, what: str, text: str) -> None:
        quoted = text.replace("'", "''")
        self.run(f"COMMENT ON {what} IS '{quoted}'")

    def _rebuild(self, standing: Standing, fields: Sequence[pa.Field]) -> None:
        schema, name = standing.parts
        if standing.generated or any(held.startswith("foreign key") for held in self.held_by(standing)):
            raise SchemaConflict(
                f"column {fields[0].name} of {name} is too narrow, and DuckDB can't change types in a table with "
                "generated columns or foreign keys",
                hint="Widen the column, or load into another table.",
            )
        wider = {field.name: field for field in fields}
        ruled = self._constraints(standing)
        if any(c.kind == "FOREIGN KEY" for c in ruled):
            raise SchemaConflict(
                f"column {fields[0].name} of {name} is too narrow, and the table has foreign keys",
                hint="Widen the column, or load into another table.",
            )
        quote = self.dialect.quote
        columns = catalog.columns(self._db, schema, name)
        lines, read = [], []
        for column in columns:
            field = wider.get(column.name)
            type_ = standing.types[column.name] if field is None else type_name(field)
            default = f" DEFAULT {column.default}" if column.default is not None else ""
            lines.append(f"{quote(column.name)} {type_}{default}{' NOT NULL' if column.never_null else ''}")
            quoted = quote(column.name)
            read.append(quoted if field is None else _widened(standing.table.schema.field(column.name), field, quoted))
        lines += [c.text for c in ruled if c.kind != "NOT NULL"]
        hung = [sql for _, sql in catalog.indexes(self._db, schema, name)]
        comment = catalog.table_comment(self._db, schema, name)
        beside, table = self.dialect.qualified((schema, f"{name}__suiro")), self.dialect.qualified(standing.parts)
        self.run(f"CREATE TABLE {beside} ({', '.join(lines)})")
        self.run(f"INSERT INTO {beside} SELECT {', '.join(read)} FROM {table}")
        self.run(f"DROP TABLE {table}")
        self.run(f"ALTER TABLE {beside} RENAME TO {quote(name)}")
        for sql in hung:
            self.run(sql)
        for column in columns:
            if column.comment is not None and column.name not in wider:
                self._comment(f"COLUMN {table}.{quote(column.name)}", column.comment)
        if comment is not None:
            self._comment(f"TABLE {table}", comment)

    def parts_of(self, rows: int) -> int:
        """DuckDB keeps several hash tables of all keys in memory at once, and gives up where they don't fit."""
        return -(-rows * MATCHED_BYTES // max(self._context.memory_bytes, LEAST_MEMORY)) or 1

    def begin(self) -> None:
        """Begin; the file admits no other process anyway."""
        self.run("BEGIN TRANSACTION")

    def commit(self) -> None:
        """Make it visible."""
        self.run("COMMIT")

    def close(self) -> None:
        """Undo what wasn't committed and close the file."""
        self._take_back()
        try:
            self._db.close()
        finally:
            self._release()


def _encoded(batch: pa.RecordBatch) -> pa.RecordBatch:
    arrays = [encode(column, name) for name, column in zip(batch.schema.names, batch.columns, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, names=batch.schema.names)


def _widened(old: pa.Field, new: pa.Field, quoted: str) -> str:
    """A column's values in the wider type; decimals that become text get all their digits after the point."""
    declared = type_name(new)
    if pa.types.is_decimal(new.type) and declared.startswith("VARCHAR"):
        has = old.type.scale if pa.types.is_decimal(old.type) else 0
        more = ("." if not has and new.type.scale else "") + "0" * (new.type.scale - has)
        return f"CAST({quoted} AS VARCHAR) || '{more}'"
    return f"CAST({quoted} AS {declared})"
