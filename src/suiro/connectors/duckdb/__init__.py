"""DuckDB: database files as source and destination, opened for as short as can be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import date, datetime
from pathlib import Path
from typing import Any, ClassVar

import duckdb
import pyarrow as pa
from pydantic import Field

from suiro.connectors.duckdb import catalog
from suiro.connectors.duckdb.checksum import HASH_SQL, DuckdbSnapshot, canonical
from suiro.connectors.duckdb.session import DIALECT, DuckdbSession, batches, connect, told
from suiro.connectors.duckdb.values import RESTORES, declared, encode, read_as, travel, type_name
from suiro.model.canonical import Form
from suiro.model.errors import ConfigError, UserError
from suiro.model.naming import join_name, split_name
from suiro.model.place import QueryError, pointed_at
from suiro.model.schema import ReadMode, Stream
from suiro.model.selection import Deletes, WriteMode
from suiro.spi.connector import Connector, ConnectorConfig
from suiro.spi.destination import Atomicity, Capabilities
from suiro.spi.powers import OffersQueries
from suiro.toolkit.sql.checksum import HashingSource, HashSql, Snapshot
from suiro.toolkit.sql.dialect import Dialect
from suiro.toolkit.sql.embedded import EmbeddedSqlDestination
from suiro.toolkit.sql.markers import MARKERS
from suiro.toolkit.sql.session import Session
from suiro.toolkit.sql.source import BATCH_ROWS, Parameters, cursor_fields, distinct_names

MODES = frozenset({ReadMode.FULL, ReadMode.INCREMENTAL})


class DuckdbConfig(ConnectorConfig):
    """A database file."""

    path: str = Field(
        title="File",
        description="The path of the database file.",
        json_schema_extra={"uri": "location"},
        min_length=1,
    )
    schema_: str = Field(
        default="main",
        alias="schema",
        title="Schema",
        description="Where tables without a schema in their name are.",
        min_length=1,
    )
    wait_seconds: float = Field(
        default=10,
        ge=0,
        title="Patience",
        description="How many seconds to wait while another process holds the file.",
    )

    @property
    def file(self) -> Path:
        """The path, absolute."""
        return Path(self.path).expanduser().absolute()

    def identity(self) -> str:
        """The file."""
        return f"duckdb:{self.file}"


class DuckdbSource(HashingSource[DuckdbConfig], OffersQueries):
    """Reads tables and views. The file is open, to read alone, while something is read from it."""

    dialect: ClassVar[Dialect] = DIALECT
    hash_sql: ClassVar[HashSql] = HASH_SQL
    text_cursors: ClassVar[bool] = True

    def check(self) -> None:
        """Open the file to read."""
        self._open().close()

    def discover(self) -> Iterator[Stream]:
        """Every table and view of every schema; those of the connection's schema without its name."""
        with closing(self._open()) as db:
            with told(self.config.file, self.context):
                found = catalog.relations(db)
            streams = [self._stream(db, *relation) for relation in found if relation[1] != MARKERS]
        yield from (stream for stream in streams if stream is not None)

    def stream(self, sql: str, parameters: Parameters, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """Rows of a SELECT in this schema."""
        with closing(self._open()) as db:
            take_back = self.context.on_cancel(db.interrupt)
            try:
                with told(self.config.file, self.context):
                    if self._queries:
                        db.execute("SET enable_external_access = false")
                    reader = db.sql(sql, params=list(parameters) or None).to_arrow_reader(BATCH_ROWS)
                    yield from batches(reader, schema)
            finally:
                take_back()

    def query(self, sql: str) -> Iterator[pa.RecordBatch]:
        """Run one reading statement."""
        with closing(self._open()) as db:
            take_back = self.context.on_cancel(db.interrupt)
            try:
                with told(self.config.file, self.context):
                    if len(db.extract_statements(sql)) != 1:
                        raise UserError("one statement at a time", hint="Leave out all but one.")
                    relation = db.sql(sql)
                    if relation is None:
                        return
                    names = distinct_names(relation.columns)
                    ways = [travel(name, type_) for name, type_ in zip(names, relation.types, strict=True)]
                    schema = pa.schema([way.field for way in ways])
                    listed = ", ".join(f"{_as_travels(w.sql, w.field)} AS {DIALECT.quote(w.field.name)}" for w in ways)
                    reader = _renamed(relation, names).project(listed).to_arrow_reader(BATCH_ROWS)
                    some = None
                    for some in batches(reader, schema):
                        yield some
                    if some is None:
                        yield pa.RecordBatch.from_pylist([], schema=schema)
            finally:
                take_back()

    def stream_of(self, sql: str, name: str, known: Mapping[str, pa.Field]) -> Stream:
        """A query's rows as a stream. No file but the database is read for it."""
        whole = f"SELECT * FROM (\n{sql}\n) AS q"
        with closing(self._open()) as db:
            try:
                db.execute("SET enable_external_access = false")
                if [s.type for s in db.extract_statements(whole)] != [duckdb.StatementType.SELECT]:
                    raise QueryError("the query isn't one SELECT", hint="Write one SELECT.")
                relation = db.sql(whole)
                names = db.sql(sql).columns  # as they are: a query around it would number doubled ones
            except duckdb.Error as error:
                at = pointed_at(whole, str(error))
                said = str(error).split("\n", 1)[0].partition(": ")[2]
                place = None if at is None else max(at - whole.index("\n") - 1, 0)
                raise QueryError(f"DuckDB says: {said}", at=place, hint="Check names and SQL.") from error
            ways = [travel(n, type_).field for n, type_ in zip(names, relation.types, strict=True)]
            fields = [
                _known(way, known.get(way.name), declared(type_))
                for way, type_ in zip(ways, relation.types, strict=True)
            ]
        return self.query_stream(sql, name, pa.schema(fields))

    def table(self, stream: Stream) -> str:
        """The stream with its schema."""
        return self.dialect.qualified(_parts(stream.name, self.config.schema_))

    def column(self, field: pa.Field) -> str:
        """The column in the form that it travels in."""
        quoted = self.dialect.quote(field.name)
        if pa.types.is_nested(field.type) or pa.types.is_timestamp(field.type):
            return f"CAST({quoted} AS {type_name(field)})"
        return read_as(field, quoted)

    def value(self, value: Any, field: pa.Field) -> tuple[str, object]:
        """The value bound as text where the driver has no exact form of it."""
        if isinstance(value, datetime | date) or pa.types.is_decimal(field.type):
            return f"CAST(? AS {type_name(field).split(' /*')[0]})", str(value)
        return "?", value

    def can_be_cursor(self, field: pa.Field) -> bool:
        """Decimals of more than 38 digits are text in DuckDB, whose order isn't theirs."""
        if pa.types.is_decimal(field.type) and type_name(field).startswith("VARCHAR"):
            return False
        return super().can_be_cursor(field)

    def canonical(self, stream: Stream, column: str, form: Form) -> str | None:
        """By the field, which tells the column's type."""
        return canonical(stream.schema.field(column), form)

    def snapshot(self) -> Snapshot:
        """A connection of its own."""
        return DuckdbSnapshot(self._open(), self.config.file, self.context)

    def _open(self) -> duckdb.DuckDBPyConnection:
        if not self.config.file.exists():
            raise ConfigError(f"there is no file {self.config.file}", hint="Check the path.")
        return connect(self.config.file, self.config.wait_seconds, self.context, write=False)

    def _stream(
        self, db: duckdb.DuckDBPyConnection, schema: str, name: str, kind: str, rows: int | None
    ) -> Stream | None:
        """The stream of a table or view; None for a view that is broken."""
        try:
            with told(self.config.file, self.context):
                fields = catalog.columns(db, schema, name)
                if kind == "view":
                    known = catalog.types(db, schema, name)
                    fields = []
                    found = pa.schema([travel(n, type_).field for n, type_ in known.items()])
                else:
                    found = pa.schema([column.field for column in fields])
                key = catalog.primary_key(
                    catalog.constraints(db, schema, name), catalog.table_comment(db, schema, name)
                )
        except UserError as error:
            self.context.log.warning("the %s %s can't be read and is left out: %s", kind, name, error.message)
            return None
        never_null = frozenset(column.name for column in fields if column.never_null)
        fit = tuple(n for n in cursor_fields(found, never_null) if self.can_be_cursor(found.field(n)))
        return Stream(
            name=join_name([name] if schema == self.config.schema_ else [schema, name]),
            schema=found,
            primary_key=key,
            cursor_fields=fit,
            read_modes=MODES,
            rows=rows,
        )


def _known(found: pa.Field, known: pa.Field | None, type_: str) -> pa.Field:
    """What is known of a column that a query passes on, where the result has the type that holds it."""
    if known is None or type_name(known).split(" /*")[0] != type_:
        return found
    return known


def _as_travels(sql: str | None, field: pa.Field) -> str:
    quoted = DIALECT.quote(field.name)
    return read_as(field, quoted) if sql is None else f"CAST({quoted} AS {sql})"


def _renamed(relation: duckdb.DuckDBPyRelation, names: list[str]) -> duckdb.DuckDBPyRelation:
    """The relation with columns of these names, in their order."""
    listed = ", ".join(f"#{number} AS {DIALECT.quote(name)}" for number, name in enumerate(names, 1))
    return relation.project(listed)


def _parts(name: str, schema: str) -> tuple[str, ...]:
    parts = split_name(name)
    if len(parts) > 2:
        raise ConfigError(
            f"the table name {name} has {len(parts)} parts; DuckDB's have a schema and a name",
            hint='A dot that belongs to the name goes in quotes: schema."a.b".',
        )
    return parts if len(parts) == 2 else (schema, *parts)


class DuckdbDestination(EmbeddedSqlDestination[DuckdbConfig]):
    """Writes tables. The file is open only to claim, to inspect and to publish."""

    dialect: ClassVar[Dialect] = DIALECT
    capabilities: ClassVar[Capabilities] = Capabilities(
        write_modes=dict.fromkeys(WriteMode, Atomicity.TRANSACTION),
        deletes=frozenset(Deletes),
        key_snapshots=True,
        max_identifier=255,
        folds_case=True,
        restores=RESTORES,
        stores="decimals of more than 38 digits as exact text, with a comment on the column",
    )

    @property
    def file(self) -> Path:
        """The database."""
        return self.config.file

    def open(self, *, write: bool) -> Session:
        """Open the file, waiting for its turn."""
        return DuckdbSession(self.file, self.config.wait_seconds, self.context, write=write)

    def parts(self, name: str) -> tuple[str, ...]:
        """Schema and name."""
        return _parts(name, self.config.schema_)

    def admit(self, data: pa.RecordBatch) -> None:
        """Refuse times finer than microseconds."""
        for name, column in zip(data.schema.names, data.columns, strict=True):
            encode(column, name)


connector = Connector(
    name="duckdb",
    title="DuckDB",
    config=DuckdbConfig,
    schemes=("duckdb",),
    source=DuckdbSource,
    destination=DuckdbDestination,
    stability="beta",
)
