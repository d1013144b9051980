"""PostgreSQL as a source: tables and views, read in one snapshot."""

from __future__ import annotations

from collections.abc import Awaitable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any, ClassVar

import psycopg.sql
import pyarrow as pa

from suiro.connectors.postgres.bulk import bulk_read
from suiro.connectors.postgres.checksum import HASH_SQL, PostgresSnapshot, canonical
from suiro.connectors.postgres.config import PostgresConfig
from suiro.connectors.postgres.described import describe
from suiro.connectors.postgres.destination import FORMAT
from suiro.connectors.postgres.dialect import DIALECT
from suiro.connectors.postgres.nan import as_sent, with_decimals
from suiro.connectors.postgres.query import rows_of
from suiro.connectors.postgres.raw import Output, copy_out
from suiro.connectors.postgres.session import Session, connect, told, version_note
from suiro.connectors.postgres.summary import summarise_relation
from suiro.connectors.postgres.tables import Relation, columns_sql, find_relation, locate, primary_key, quote
from suiro.connectors.postgres.types import wire_type
from suiro.model.canonical import Form
from suiro.model.change import Change, Checkpoint
from suiro.model.errors import ConfigError
from suiro.model.naming import join_name
from suiro.model.schema import Position, ReadMode, Stream
from suiro.model.selection import Selection
from suiro.model.summary import Summary
from suiro.spi.context import Context
from suiro.spi.powers import OffersQueries, SharesFormat, Summarises, Wire
from suiro.spi.source import Read
from suiro.toolkit.sql.checksum import HashingSource, Snapshot
from suiro.toolkit.sql.source import Parameters, check_condition, cursor_fields, enclosed
from suiro.toolkit.sql.unreadable import rejected_apart, rejecting, wanted

_STREAMS = """
SELECT n.nspname, c.relname, c.reltuples::bigint
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = ANY('{r,p,v,m,f}') AND NOT c.relispartition
  AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' AND c.relname !~ '^_suiro_'
  AND (has_table_privilege(c.oid, 'SELECT') OR has_any_column_privilege(c.oid, 'SELECT'))
  AND has_schema_privilege(n.oid, 'USAGE')
ORDER BY 1, 2
"""


class PostgresSource(HashingSource[PostgresConfig], OffersQueries, Summarises, SharesFormat):
    """Tables, partitioned tables (as one), views, materialized views and foreign tables the user may read."""

    dialect = DIALECT
    hash_sql = HASH_SQL
    kinds: ClassVar[str] = "rpvmf"

    def __init__(self, config: PostgresConfig, context: Context) -> None:
        super().__init__(config, context)
        self._opened: Session | None = None
        self._holder: Session | None = None  #: its transaction keeps the snapshot that all of a plan's reads share
        self._snapshot: str | None = None
        self._relations: dict[str, Relation] = {}

    def check(self) -> None:
        with told(self.config, self.context, "checking"):
            self._session.execute("SELECT 1")

    def discover(self) -> Iterator[Stream]:
        with told(self.config, self.context, "listing streams"):
            found = self._session.execute(_STREAMS).fetchall()
        for schema, name, rows in found:
            stream = self._stream(schema, name, rows)
            if stream is not None:
                yield stream

    def find(self, name: str) -> Stream:
        schema, table = locate(name, self.config.schema_)
        with told(self.config, self.context, f"looking for {name}"):
            row = self._session.execute(
                "SELECT c.reltuples::bigint FROM pg_class c WHERE c.oid = to_regclass(%s)", (quote(schema, table),)
            ).fetchone()
        stream = self._stream(schema, table, row[0]) if row else None
        return stream if stream is not None else super().find(name)

    def plan(self, selections: Sequence[Selection]) -> Sequence[Read]:
        reads = super().plan(selections)
        with told(self.config, self.context, "opening a snapshot"):
            if self._holder is None:
                self._holder = connect(self.config, self.context)
            self._holder.rollback()
            self._holder.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            row = self._holder.execute("SELECT pg_export_snapshot()").fetchone()
        self._snapshot = str(row[0]) if row else None
        return reads

    def close(self) -> None:
        for session in (self._opened, self._holder):
            if session is not None:
                session.close()

    # -- rows --------------------------------------------------------------------------------------------------------

    def read(self, read: Read, since: Position | None) -> Iterator[Change]:
        changes = super().read(read, since)
        return rejected_apart(changes) if any(s.rejects for s in read.selections) else changes

    def stream(self, sql: str, parameters: Parameters, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        version = self._session.info.server_version
        unreadable = wanted(schema)
        sent = schema if unreadable is None else as_sent(schema)
        batches = bulk_read(self.config, self.context, sql, sent, self._snapshot, version)
        with closing(batches):  # type: ignore[type-var]
            if unreadable is None:
                yield from batches
                return
            for batch in batches:
                yield from unreadable.sifted(with_decimals(batch, schema.remove_metadata(), unreadable))

    def value(self, value: Any, field: pa.Field) -> tuple[str, object]:
        """A literal: COPY takes no parameters."""
        return psycopg.sql.Literal(value).as_string(self._session), value

    def column(self, field: pa.Field) -> str:
        column = self._reading.column(field.name)
        assert column is not None
        return column.select(quote(field.name), field)

    def select(self, selection: Selection, since: Any) -> tuple[str, list[object], pa.Schema]:
        self._reading = self._relation(selection.stream)
        sql, parameters, schema = super().select(selection, since)
        return sql, parameters, rejecting(schema, selection)

    def stream_of(self, sql: str, name: str, known: Mapping[str, pa.Field]) -> Stream:
        with told(self.config, self.context, "looking at the query"):
            relation = describe(self._session, sql, self.config)
        self._relations[name] = relation
        return self.query_stream(sql, name, pa.schema(relation.fields(numeric_as_text=self.config.numeric == "text")))

    def table(self, stream: Stream) -> str:
        return self.dialect.qualified(locate(stream.name, self.config.schema_))

    def query(self, sql: str) -> Iterator[pa.RecordBatch]:
        yield from rows_of(self._session, sql, self.config, self.context)

    # -- powers ------------------------------------------------------------------------------------------------------

    def summarise(self, read: Read, *, columns: bool, key: tuple[str, ...]) -> Summary:
        (selection,) = read.selections
        fields = [selection.stream.schema.field(name) for name in selection.columns]
        with closing(self._in_snapshot()) as session, told(self.config, self.context, "adding up the source"):
            return summarise_relation(session, self._from(selection), fields, columns=columns, key=key)

    def steady(self, selection: Selection) -> bool:
        return self._relation(selection.stream).kind not in "vf"

    def wire(self, selection: Selection) -> Wire | None:
        relation = self._relation(selection.stream)
        columns = []
        for name in selection.columns:
            column = relation.column(name)
            type_ = None if column is None else wire_type(column)
            if type_ is None:
                return None
            columns.append((name, type_))
        return Wire(format=FORMAT, columns=tuple(columns))

    def read_raw(self, read: Read) -> Iterator[bytes | memoryview | Checkpoint]:
        (selection,) = read.selections
        relation = self._relation(selection.stream)
        names = list(selection.columns)

        def copied(session: Any, output: Output) -> Awaitable[Any]:
            if relation.kind == "r" and selection.where is None:
                whole = {"schema_name": relation.schema, "columns": names}
                return session.copy_from_table(relation.name, **whole, output=output, format="binary")  # type: ignore[no-any-return]
            asked = f"SELECT {columns_sql(names)} FROM {self._from(selection)}"
            return session.copy_from_query(asked, output=output, format="binary")  # type: ignore[no-any-return]

        version = self._session.info.server_version
        yield from copy_out(self.config, self.context, copied, snapshot=self._snapshot, version=version)
        yield Checkpoint({})

    def canonical(self, stream: Stream, column: str, form: Form) -> str | None:
        found = self._relation(stream).column(column)
        in_utf8 = self._session.info.parameter_status("server_encoding") == "UTF8"
        return canonical(found, stream.schema.field(column), form) if found is not None and in_utf8 else None

    def snapshot(self) -> Snapshot:
        return PostgresSnapshot(self._in_snapshot(), self.config, self.context)

    # -- the rest ----------------------------------------------------------------------------------------------------

    @property
    def _session(self) -> Session:
        if self._opened is None:
            self._opened = connect(self.config, self.context)
        return self._opened

    def _in_snapshot(self) -> Session:
        session = connect(self.config, self.context)
        try:
            with told(self.config, self.context, "opening a snapshot"):
                session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                if self._snapshot is not None:
                    session.execute(f"SET TRANSACTION SNAPSHOT '{self._snapshot}'".encode())
        except BaseException:
            session.close()
            raise
        return session

    def _from(self, selection: Selection) -> str:
        table = self._relation(selection.stream).sql
        if selection.where is None:
            return table
        check_condition(selection.where, self.dialect)
        return f"(SELECT * FROM {table} WHERE {enclosed(selection.where)}) AS s"

    def _relation(self, stream: Stream) -> Relation:
        if stream.name not in self._relations:
            schema, table = locate(stream.name, self.config.schema_)
            with told(self.config, self.context, f"looking at {stream.name}"):
                relation = find_relation(self._session, schema, table)
            if relation is None:
                raise ConfigError(f"the stream {stream.name} is gone", hint="List the streams again.")
            self._relations[stream.name] = relation
        return self._relations[stream.name]

    def _stream(self, schema: str, name: str, rows: int) -> Stream | None:
        with told(self.config, self.context, f"looking at {schema}.{name}"):
            relation = find_relation(self._session, schema, name)
            if relation is None:
                return None
            key = primary_key(self._session, relation.oid)
        fields = [
            (column, column.field(numeric_as_text=self.config.numeric == "text"))
            for column in relation.columns
            if column.readable
        ]
        hidden = [column.name for column in relation.columns if not column.readable]
        notes = version_note(self._session)
        if hidden:
            notes += (f"The user may not read {', '.join(hidden)}: left out.",)
        table = pa.schema([field for _, field in fields])
        never_null = frozenset(column.name for column, _ in fields if column.not_null)
        cursors = cursor_fields(table, never_null)
        modes = {ReadMode.FULL, ReadMode.INCREMENTAL} if cursors else {ReadMode.FULL}
        stream_name = join_name([schema, name])
        self._relations[stream_name] = relation
        return Stream(
            name=stream_name,
            schema=table,
            primary_key=key if set(key) <= set(table.names) else (),
            cursor_fields=cursors,
            read_modes=frozenset(modes),
            rows=rows if rows >= 0 else None,
            notes=notes,
        )
