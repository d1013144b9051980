"""Staging tables: where rows wait in the database, invisible under names of Suiro's own."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import psycopg
import pyarrow as pa

from suiro.connectors.postgres.bulk import BulkWriter
from suiro.connectors.postgres.config import PostgresConfig
from suiro.connectors.postgres.session import Session, connect, told
from suiro.connectors.postgres.swap import like
from suiro.connectors.postgres.tables import Relation, column_definitions, columns_sql, find_relation, quote
from suiro.connectors.postgres.types import Column, sql_type
from suiro.model.change import OP, SEQ
from suiro.model.errors import Cancelled, SchemaConflict
from suiro.model.schema import Table
from suiro.model.selection import KEYED, WriteSpec
from suiro.model.types import common_field
from suiro.spi.context import Context
from suiro.spi.destination import Claim, Stage, Staged
from suiro.spi.powers import RawStage, Wire
from suiro.toolkit.sql.merge import ARRIVAL

PREFIX = "_suiro_stage_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where and how one staging table is made.

    `becomes`: it may take the target's place or name, so that it is logged and has exactly the target's types;
    `target` is the table it is then made like.
    """

    config: PostgresConfig
    context: Context
    session: Session  #: the destination's own
    schema: str
    name: str
    becomes: bool
    target: Relation | None

    def create(self, fields: list[pa.Field]) -> None:
        """Make the table."""
        with told(self.config, self.context, "making a staging table"), self.session.transaction():
            if self.becomes and self.target is not None:
                like(self.session, self.target, self.name)
                _widen(self.session, self.schema, self.name, fields)
                return
            definitions = column_definitions(fields)
            if self.becomes:
                statement = f"CREATE TABLE {quote(self.schema, self.name)} ({definitions})"
            else:
                statement = f"CREATE UNLOGGED TABLE {quote(self.schema, self.name)} ({definitions})"
                statement += " WITH (autovacuum_enabled = false)"
            self.session.execute(statement.encode())

    def drop(self) -> None:
        """Drop the table, if it is there."""
        with told(self.config, self.context, "dropping a staging table"):
            self.session.execute(f"DROP TABLE IF EXISTS {quote(self.schema, self.name)}".encode())


def _widen(session: Session, schema: str, name: str, fields: list[pa.Field]) -> None:
    relation = find_relation(session, schema, name)
    assert relation is not None
    for statement in changes(relation, fields):
        session.execute(statement.encode())


def changes(relation: Relation, fields: list[pa.Field]) -> list[str]:
    """The ALTER TABLE statements that add the missing columns and widen the narrower ones.

    SchemaConflict where no type holds both a column's values and the field's.
    """
    statements = []
    for field in fields:
        column = relation.column(field.name)
        if column is None:
            statements.append(f"ALTER TABLE {relation.sql} ADD COLUMN {quote(field.name)} {sql_type(field)}")
            continue
        shared = shared_type(column, field)
        if shared is None:
            raise SchemaConflict(
                f"column {field.name} of {relation.name} is {column.type}, what comes is {sql_type(field)}",
                hint="No type holds both exactly: choose another table, or drop or convert the column.",
            )
        if shared != sql_type(column.field()):
            at = quote(field.name)
            statements.append(f"ALTER TABLE {relation.sql} ALTER COLUMN {at} TYPE {shared} USING {at}::{shared}")
    return statements


def shared_type(column: Column, field: pa.Field) -> str | None:
    """The type that holds a column's values and a field's exactly: the column's own wherever it does."""
    shared = common_field(column.field(), field)
    return None if shared is None else sql_type(shared)


def fits_as_it_is(relation: Relation, fields: list[pa.Field]) -> bool:
    """Whether a table like this one, widened, has exactly the fields' types."""
    pairs = [(column, field) for field in fields if (column := relation.column(field.name)) is not None]
    return all(shared_type(column, field) == sql_type(field) for column, field in pairs)


class PostgresStage(Stage):
    """Rows go into the staging table by COPY as they come; they are durable once sealed."""

    def __init__(
        self, place: Place, table: Table, spec: WriteSpec, claim: Claim, *, truncates: bool, keys: bool
    ) -> None:
        self._place, self._table, self._spec, self._claim = place, table, spec, claim
        self._truncates, self._keys = truncates, keys
        self._numbers = spec.mode in KEYED and not keys
        self._writer: BulkWriter | None = None
        self._fields: list[pa.Field] = []
        self._rows = 0

    def write(self, data: pa.RecordBatch) -> None:
        writer = self._writer or self._begin(data.schema)
        if self._numbers:
            arrival = pa.array(np.arange(self._rows, self._rows + data.num_rows, dtype=np.int64))
            data = pa.RecordBatch.from_arrays([*data.columns, arrival], schema=pa.schema(self._fields))
        writer.write(data)
        self._rows += data.num_rows

    def seal(self) -> Staged:
        writer = self._writer or self._begin(self._table.schema)
        writer.finish()
        return Staged(
            table=self._table,
            spec=self._spec,
            claim=self._claim,
            location=self._place.name,
            rows=self._rows,
            truncates=self._truncates,
            keys=self._keys,
        )

    def let_go(self) -> None:
        """End the session that writes, if it still does: it keeps others from dropping the table."""
        if self._writer is not None:
            self._writer.close()

    def abort(self) -> None:
        if self._writer is not None:
            self.let_go()
            if not self._place.session.closed:
                self._place.drop()
            self._writer = None

    def _begin(self, schema: pa.Schema) -> BulkWriter:
        fields = list(self._table.schema)
        fields += [schema.field(extra) for extra in (OP, SEQ) if extra in schema.names]
        if self._numbers:
            fields.append(pa.field(ARRIVAL, pa.int64()))
        place = self._place
        place.create(fields)
        self._fields = fields
        self._writer = BulkWriter(place.config, place.context, place.session, (place.schema, place.name), fields)
        return self._writer


class PostgresRawStage(RawStage):
    """Takes binary COPY as another PostgreSQL wrote it."""

    def __init__(self, place: Place, table: Table, spec: WriteSpec, claim: Claim, wire: Wire) -> None:
        self._place, self._table, self._spec, self._claim = place, table, spec, claim
        place.create(list(table.schema))
        self._stack = ExitStack()
        self._session = connect(place.config, place.context)
        self._stack.callback(self._session.close)
        names = columns_sql([name for name, _ in wire.columns])
        statement = f"COPY {quote(place.schema, place.name)} ({names}) FROM STDIN (FORMAT binary)"
        self._cursor = self._session.cursor()
        self._copying = ExitStack()
        self._copy: Any = self._copying.enter_context(self._cursor.copy(statement.encode()))

    def write(self, data: bytes | memoryview) -> None:
        with told(self._place.config, self._place.context, "writing"):
            self._copy.write(data)

    def seal(self) -> Staged:
        with told(self._place.config, self._place.context, "writing"):
            self._copying.close()
        rows = self._cursor.rowcount
        self._stack.close()
        return Staged(table=self._table, spec=self._spec, claim=self._claim, location=self._place.name, rows=rows)

    def let_go(self) -> None:
        """End the session that writes, if it still does: it keeps others from dropping the table."""
        with suppress(psycopg.Error):  # the answer to a COPY that is broken off is an error, always
            self._copying.__exit__(Cancelled, Cancelled("the load was given up"), None)
        self._stack.close()

    def abort(self) -> None:
        self.let_go()
        if not self._place.session.closed:
            self._place.drop()
