"""MySQL and MariaDB as a source: tables and views, each read in one statement and so in one snapshot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, date, datetime
from functools import partial
from typing import Any, ClassVar

import pyarrow as pa

from suiro.connectors.mysql.checksum import HASH_SQL, MysqlSnapshot, canonical
from suiro.connectors.mysql.config import MysqlConfig
from suiro.connectors.mysql.decode import Decoder, reader
from suiro.connectors.mysql.described import describe, fields_of
from suiro.connectors.mysql.dialect import DIALECT
from suiro.connectors.mysql.query import rows_of
from suiro.connectors.mysql.session import Session, connect, told, version_note
from suiro.connectors.mysql.tables import Relation, find_relation, locate, relations
from suiro.connectors.mysql.wire import Statement
from suiro.model.canonical import Form
from suiro.model.change import Change
from suiro.model.errors import ConfigError
from suiro.model.naming import join_name
from suiro.model.schema import Position, ReadMode, Stream
from suiro.model.selection import Selection
from suiro.spi.context import Context
from suiro.spi.powers import OffersQueries
from suiro.spi.source import Read
from suiro.toolkit.sql.checksum import HashingSource, HashSql, Snapshot
from suiro.toolkit.sql.dialect import Dialect
from suiro.toolkit.sql.source import Parameters, cursor_fields
from suiro.toolkit.sql.unreadable import rejected_apart, rejecting, wanted


class MysqlSource(HashingSource[MysqlConfig], OffersQueries):
    """Tables and views the user may read: of the connection's database, or of all where it names none."""

    dialect: ClassVar[Dialect] = DIALECT
    hash_sql: ClassVar[HashSql] = HASH_SQL

    def __init__(self, config: MysqlConfig, context: Context) -> None:
        super().__init__(config, context)
        self._opened: Session | None = None
        self._relations: dict[str, Relation] = {}

    def check(self) -> None:
        self._session.ask("SELECT 1", doing="checking")

    def discover(self) -> Iterator[Stream]:
        for relation in relations(self._session, self.config.database):
            stream = self._stream(relation)
            if stream is not None:
                yield stream

    def find(self, name: str) -> Stream:
        relation = find_relation(self._session, *locate(name, self.config.database))
        stream = self._stream(relation) if relation is not None else None
        return stream if stream is not None else super().find(name)

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close()

    # -- rows --------------------------------------------------------------------------------------------------------

    def read(self, read: Read, since: Position | None) -> Iterator[Change]:
        changes = super().read(read, since)
        return rejected_apart(changes) if any(s.rejects for s in read.selections) else changes

    def stream(self, sql: str, parameters: Parameters, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """Each read has a session of its own: what is left unread when it is closed early is never waited for."""
        unreadable = wanted(schema)
        choose = partial(reader, empty_dates=self.config.zero_dates == "null", unreadable=unreadable)
        with closing(connect(self.config, self.context)) as session, told(self.config, self.context, "reading"):
            statement = Statement(session, sql)
            decoder = Decoder(statement.run(), schema.remove_metadata(), choose)
            for block in statement.blocks():
                batch = decoder.batch(block)
                yield from (batch,) if unreadable is None else unreadable.sifted(batch)

    def query(self, sql: str) -> Iterator[pa.RecordBatch]:
        with closing(connect(self.config, self.context)) as session:
            yield from rows_of(session, sql)

    def stream_of(self, sql: str, name: str, known: Mapping[str, pa.Field]) -> Stream:
        relation = describe(self._session, sql, known)
        self._relations[name] = relation
        return self.query_stream(sql, name, pa.schema(fields_of(relation, self.config, known)))

    def table(self, stream: Stream) -> str:
        return self.dialect.qualified(locate(stream.name, self.config.database))

    def column(self, field: pa.Field) -> str:
        column = self._reading.column(field.name)
        if column is None:
            raise ConfigError(f"the column {field.name} is gone", hint="List the streams again.")
        return column.select(self.dialect.quote(field.name), field)

    def select(self, selection: Selection, since: Position | None) -> tuple[str, list[object], pa.Schema]:
        self._reading = self._relation(selection.stream)
        sql, _, schema = super().select(selection, since)
        return sql, [], rejecting(schema, selection)

    def value(self, value: Any, field: pa.Field) -> tuple[str, object]:
        """A literal: prepared statements are run without parameters."""
        match value:
            case float():
                return f"{value!r}e0" if "e" not in repr(value) else repr(value), value
            case datetime():
                naive = value if value.tzinfo is None else value.astimezone(UTC).replace(tzinfo=None)
                return f"TIMESTAMP'{naive.isoformat(' ', 'microseconds')}'", value
            case date():
                return f"DATE'{value.isoformat()}'", value
        return str(value), value

    def canonical(self, stream: Stream, column: str, form: Form) -> str | None:
        found = self._relation(stream).column(column)
        return None if found is None else canonical(found, stream.schema.field(column), form)

    def snapshot(self) -> Snapshot:
        return MysqlSnapshot(connect(self.config, self.context))

    # -- the rest ----------------------------------------------------------------------------------------------------

    @property
    def _session(self) -> Session:
        if self._opened is None:
            self._opened = connect(self.config, self.context)
        return self._opened

    def _relation(self, stream: Stream) -> Relation:
        if stream.name not in self._relations:
            relation = find_relation(self._session, *locate(stream.name, self.config.database))
            if relation is None:
                raise ConfigError(f"the stream {stream.name} is gone", hint="List the streams again.")
            self._relations[stream.name] = relation
        return self._relations[stream.name]

    def _stream(self, relation: Relation) -> Stream | None:
        """None where no column can be read: a view that is broken, a table that the user may only write to."""
        readable = [column for column in relation.columns if column.readable]
        found = [(column, column.field(self.config)) for column in readable]
        fields = [field for _, field in found if field is not None]
        if not fields:
            return None
        schema = pa.schema(fields)
        never_null = frozenset(column.name for column in readable if column.not_null)
        cursors = cursor_fields(schema, never_null)
        name = join_name([relation.database, relation.name])
        self._relations[name] = relation
        return Stream(
            name=name,
            schema=schema,
            primary_key=relation.primary_key if set(relation.primary_key) <= set(schema.names) else (),
            cursor_fields=cursors,
            read_modes=frozenset({ReadMode.FULL, ReadMode.INCREMENTAL} if cursors else {ReadMode.FULL}),
            rows=relation.rows,
            notes=self._notes(relation),
        )

    def _notes(self, relation: Relation) -> tuple[str, ...]:
        notes = version_note(self._session)
        hidden = [column.name for column in relation.columns if not column.readable]
        if hidden:
            notes += (f"The user may not read {', '.join(hidden)}: left out.",)
        readable = [column for column in relation.columns if column.readable]
        unknown = [f"{column.name} ({column.base})" for column in readable if column.field(self.config) is None]
        if unknown:
            notes += (f"Columns of types that Suiro doesn't know are left out: {', '.join(unknown)}.",)
        dates = [column.name for column in readable if column.base in ("date", "datetime", "timestamp")]
        if dates and self.config.zero_dates == "null":
            notes += (f"Dates that no calendar has become NULL in {', '.join(dates)}.",)
        return notes
