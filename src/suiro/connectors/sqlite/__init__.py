"""SQLite: files as source and destination."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
from pydantic import Field

from suiro.connectors.sqlite import catalog
from suiro.connectors.sqlite.checksum import HASH_SQL, SqliteSnapshot, add_functions, canonical
from suiro.connectors.sqlite.session import DIALECT, SqliteSession, asked, batches, connect, told
from suiro.connectors.sqlite.values import MIXED, RESTORES, encode, refuse
from suiro.model.canonical import Form
from suiro.model.errors import ConfigError, UserError
from suiro.model.naming import join_name, split_name
from suiro.model.schema import ReadMode, Stream
from suiro.model.selection import Deletes, WriteMode
from suiro.model.types import is_text
from suiro.spi.connector import Connector, ConnectorConfig
from suiro.spi.destination import Atomicity, Capabilities
from suiro.spi.powers import OffersQueries
from suiro.toolkit.sql.checksum import HashingSource, HashSql, Snapshot
from suiro.toolkit.sql.dialect import Dialect
from suiro.toolkit.sql.embedded import EmbeddedSqlDestination
from suiro.toolkit.sql.session import Session
from suiro.toolkit.sql.source import Parameters, cursor_fields, distinct_names, has_cursor_type

MODES = frozenset({ReadMode.FULL, ReadMode.INCREMENTAL})


class SqliteConfig(ConnectorConfig):
    """A database file."""

    path: str = Field(
        title="File",
        description="The path of the database file.",
        json_schema_extra={"uri": "location"},
        min_length=1,
    )
    wait_seconds: float = Field(
        default=10,
        ge=0,
        title="Patience",
        description="How many seconds to wait while another program writes to the file.",
    )

    @property
    def file(self) -> Path:
        """The path, absolute."""
        return Path(self.path).expanduser().absolute()

    def identity(self) -> str:
        """The file."""
        return f"sqlite:{self.file}"


class SqliteSource(HashingSource[SqliteConfig], OffersQueries):
    """Reads tables and views. Each read is one statement, which sees one state of the file."""

    dialect: ClassVar[Dialect] = DIALECT
    hash_sql: ClassVar[HashSql] = HASH_SQL
    text_cursors: ClassVar[bool] = True

    def check(self) -> None:
        """Open the file to read."""
        self._open().close()

    def discover(self) -> Iterator[Stream]:
        """Every table and view; columns that Suiro didn't declare are looked through for what they hold."""
        with closing(self._open()) as db:
            for name, kind in catalog.relations(db):
                stream = self._stream(db, name, kind)
                if stream is not None:
                    yield stream

    def find(self, name: str) -> Stream:
        """The stream of that name, looked through alone."""
        with closing(self._open()) as db:
            for relation, kind in catalog.relations(db):
                if join_name([relation]) == name:
                    stream = self._stream(db, relation, kind)
                    if stream is not None:
                        return stream
        return super().find(name)

    def stream(self, sql: str, parameters: Parameters, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """Rows of a SELECT in this schema."""
        with closing(self._open()) as db:
            take_back = self.context.on_cancel(db.interrupt)
            try:
                with told(self.config.file, self.context), closing(db.execute(sql, parameters)) as cursor:
                    yield from batches(cursor, schema)
            finally:
                take_back()

    def query(self, sql: str) -> Iterator[pa.RecordBatch]:
        """Run one reading statement; columns get the types of what they hold."""
        sql = sql.strip().rstrip(";")
        file = self.config.file
        with closing(self._open()) as db:
            take_back = self.context.on_cancel(db.interrupt)
            try:
                with told(file, self.context), closing(db.execute(sql)) as cursor:
                    if cursor.description is None:
                        return
                    names = distinct_names([item[0] for item in cursor.description])
                    schema = self._result_schema(db, sql, names)
                    some = None
                    for some in batches(cursor, schema):
                        yield some
                    if some is None:
                        yield pa.RecordBatch.from_pylist([], schema=schema)
            finally:
                take_back()

    def stream_of(self, sql: str, name: str, known: Mapping[str, pa.Field]) -> Stream:
        """A query's rows as a stream; columns whose fields aren't known are looked through for what they hold."""
        with closing(self._open()) as db:
            take_back = self.context.on_cancel(db.interrupt)
            try:
                with asked(self.config.file, self.context):
                    schema = catalog.query_schema(db, sql, known)
            finally:
                take_back()
        return self.query_stream(sql, name, schema)

    def column(self, field: pa.Field) -> str:
        """The column as it is stored."""
        return self.dialect.quote(field.name)

    def cursor(self, field: pa.Field) -> str:
        """Text compares by its bytes, whatever the column's collation."""
        return f"{self.dialect.quote(field.name)} COLLATE BINARY"

    def value(self, value: Any, field: pa.Field) -> tuple[str, object]:
        """The value as the column stores it."""
        return self.dialect.placeholder, encode(pa.array([value], field.type))[0]

    def can_be_cursor(self, field: pa.Field) -> bool:
        """Decimals are stored as text, whose order isn't theirs; mixed columns have none."""
        if pa.types.is_decimal(field.type) or (field.metadata or {}).get(MIXED):
            return False
        return has_cursor_type(field.type) or (is_text(field.type) and field.type == pa.string())

    def canonical(self, stream: Stream, column: str, form: Form) -> str | None:
        """By the field, which tells what the column holds."""
        return canonical(stream.schema.field(column), form)

    def snapshot(self) -> Snapshot:
        """A connection of its own."""
        return SqliteSnapshot(self._open(), self.config.file, self.context)

    def _open(self) -> sqlite3.Connection:
        if not self.config.file.exists():
            raise ConfigError(f"there is no file {self.config.file}", hint="Check the path.")
        db = connect(self.config.file, self.config.wait_seconds, self.context, write=False)
        add_functions(db)
        return db

    def _stream(self, db: sqlite3.Connection, name: str, kind: str) -> Stream | None:
        """The stream of a table or view; None for a view that is broken."""
        take_back = self.context.on_cancel(db.interrupt)
        try:
            with told(self.config.file, self.context):
                found = catalog.columns(db, name)
                schema = catalog.read_schema(db, self.dialect.quote(name), found)
                rows = catalog.row_estimate(db, name) if kind == "table" else None
        except UserError as error:
            if kind == "table":
                raise
            self.context.log.warning("the %s %s can't be read and is left out: %s", kind, name, error.message)
            return None
        finally:
            take_back()
        never_null = frozenset(c.name for c in found if c.never_null)
        fit = tuple(n for n in cursor_fields(schema, never_null) if self.can_be_cursor(schema.field(n)))
        mixed = [field.name for field in schema if (field.metadata or {}).get(MIXED)]
        note = f"Columns with values of several kinds travel as JSON: {', '.join(mixed)}."
        return Stream(
            name=join_name([name]),
            schema=schema,
            primary_key=catalog.primary_key(found),
            cursor_fields=fit,
            read_modes=MODES,
            rows=rows,
            notes=(note,) if mixed else (),
        )

    def _result_schema(self, db: sqlite3.Connection, sql: str, names: Sequence[str]) -> pa.Schema:
        """The types of a result: looked through where it can be asked twice, else text."""
        columns = [
            catalog.Column(name=n, declared="", never_null=False, key=0, generated=False, default=None) for n in names
        ]
        listed = ", ".join(map(catalog.quoted, names))
        try:
            return catalog.read_schema(
                db, f"(WITH _suiro_result({listed}) AS ({sql}\n) SELECT * FROM _suiro_result)", columns
            )
        except sqlite3.OperationalError:
            flexible = {MIXED: b"1"}
            return pa.schema([pa.field(name, pa.json_(), metadata=flexible) for name in names])


class SqliteDestination(EmbeddedSqlDestination[SqliteConfig]):
    """Writes tables; readers see the old rows until the transaction ends."""

    dialect: ClassVar[Dialect] = DIALECT
    capabilities: ClassVar[Capabilities] = Capabilities(
        write_modes=dict.fromkeys(WriteMode, Atomicity.TRANSACTION),
        deletes=frozenset(Deletes),
        key_snapshots=True,
        max_identifier=255,
        folds_case=True,
        restores=RESTORES,
        stores="decimals, dates, times, UUIDs and JSON as text in columns whose declared type names them",
    )

    @property
    def file(self) -> Path:
        """The database."""
        return self.config.file

    def open(self, *, write: bool) -> Session:
        """Open the file; only to write a missing one is made."""
        return SqliteSession(self.file, self.config.wait_seconds, self.context, write=write)

    def parts(self, name: str) -> tuple[str, ...]:
        """The name alone: SQLite has no schemas."""
        parts = split_name(name)
        if len(parts) == 2 and parts[0].lower() == "main":
            parts = parts[1:]
        if len(parts) > 1:
            raise ConfigError(
                f"SQLite has no schemas, so the table name {name} can't have {len(parts)} parts",
                hint='Name the table without a dot, or put the name in quotes: "a.b".',
            )
        if parts[0].lower().startswith("sqlite_"):
            raise ConfigError(f"SQLite keeps names like {parts[0]} for itself", hint="Choose another table name.")
        return parts

    def admit(self, data: pa.RecordBatch) -> None:
        """Refuse NaN, integers past 63 bits and times finer than microseconds."""
        for name, column in zip(data.schema.names, data.columns, strict=True):
            refuse(name, column)


connector = Connector(
    name="sqlite",
    title="SQLite",
    config=SqliteConfig,
    schemes=("sqlite",),
    source=SqliteSource,
    destination=SqliteDestination,
    stability="beta",
)
