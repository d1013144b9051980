"""Staging tables: where rows wait in the database, invisible under names of Suiro's own."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from suiro.connectors.mysql.config import MysqlConfig
from suiro.connectors.mysql.ddl import changes, column_types, definitions, field_of, flavor_of
from suiro.connectors.mysql.load import Loader
from suiro.connectors.mysql.session import Session
from suiro.connectors.mysql.standing import Standing, columns_sql, find, marked, quote
from suiro.model.change import OP, SEQ
from suiro.model.errors import DataError, TransientError
from suiro.model.schema import Table
from suiro.model.selection import KEYED, VALID_FROM, WriteMode, WriteSpec
from suiro.model.types import common_field, logical_type
from suiro.spi.context import Context
from suiro.spi.destination import Claim, Stage, Staged
from suiro.toolkit.sql.merge import ARRIVAL

PREFIX = "_suiro_stage_"
BECOMES = "_t"  #: ends the name of a staging table that may take the table's place
COMMENT = "Loaded by Suiro."
BREATH = 60.0  #: seconds of staging after which the claim's own session is heard from again


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where and how one staging table is made. `like`: the table that it is to take the place of, if there is one."""

    config: MysqlConfig
    context: Context
    session: Session  #: the destination's own
    database: str
    name: str
    becomes: bool
    like: Standing | None

    @property
    def parts(self) -> tuple[str, str]:
        """Database and name."""
        return self.database, self.name

    def create(self, table: Table, extra: Sequence[pa.Field], key: Sequence[str]) -> None:
        """Make it: with the table's columns, and `extra` ones that rows are told apart by."""
        if self.becomes and not extra:
            make_table(self.session, self.parts, table, key, self.like)
            return
        types = column_types([*table.schema, *extra], key, flavor_of(self.session))
        keyed = f", PRIMARY KEY ({columns_sql([*key, ARRIVAL])})" if ARRIVAL in types else ""
        self.session.run(
            f"CREATE TABLE {quote(*self.parts)} ({definitions(types)}{keyed}) ENGINE=InnoDB "
            f"{flavor_of(self.session).text}",
            doing="making a staging table",
        )

    def drop(self) -> None:
        """Drop the table, if it is there."""
        self.session.run(f"DROP TABLE IF EXISTS {quote(*self.parts)}", doing="dropping a staging table")


def version_key(key: Sequence[str]) -> tuple[str, ...]:
    """What identifies one version of a row in a history."""
    return (*key, VALID_FROM)


def make_table(
    session: Session, parts: tuple[str, str], table: Table, key: Sequence[str], like: Standing | None
) -> None:
    """Make an empty table that can become the one wanted, or take the place of `like`."""
    flavor, doing = flavor_of(session), "making a table"
    if like is not None:
        session.run(f"CREATE TABLE {quote(*parts)} LIKE {like.sql}", doing=doing)
        made = find(session, parts)
        assert made is not None
        clauses = [change.clause for change in changes(session, made, list(table.schema), {}, flavor)]
        if clauses:
            session.run(f"ALTER TABLE {quote(*parts)} {', '.join(clauses)}", doing=doing)
        return
    types = column_types(list(table.schema), key, flavor)
    keyed = f", PRIMARY KEY ({columns_sql(key)})" if key else ""
    session.run(
        f"CREATE TABLE {quote(*parts)} ({definitions(types)}{keyed}) ENGINE=InnoDB {flavor.text} "
        f"COMMENT={session.literal(COMMENT)}",
        doing=doing,
    )


def mark_table(session: Session, parts: tuple[str, str], comment: str, mark: str) -> None:
    """Have the table's comment say which publish it belongs to."""
    session.run(f"ALTER TABLE {quote(*parts)} COMMENT={session.literal(marked(comment or COMMENT, mark))}")


def fits_as_it_is(table: Standing, fields: Sequence[pa.Field]) -> bool:
    """Whether rows of these fields can go straight into a table like this one: no value would be converted."""
    for field in fields:
        column = table.column(field.name)
        if column is None:
            continue
        current = field_of(column)
        shared = None if current is None else common_field(current, field)
        if shared is None or shared.type != field.type:
            return False
        if column.characters is not None and logical_type(field) != logical_type(current) and not table.keyed(column):
            return False  # a shorter column, or an ENUM: decided when the longest value is known
    return True


class MysqlStage(Stage):
    """Rows go into the staging table as they come; they are durable once sealed."""

    def __init__(
        self, place: Place, table: Table, spec: WriteSpec, claim: Claim, *, truncates: bool, keys: bool
    ) -> None:
        self._place, self._table, self._spec, self._claim = place, table, spec, claim
        self._truncates, self._keys = truncates, keys
        self._loader: Loader | None = None
        self._fields: list[pa.Field] = []
        self._rows = 0
        self._asked = time.monotonic()

    def write(self, data: pa.RecordBatch) -> None:
        loader = self._loader or self._begin(data.schema)
        if time.monotonic() - self._asked > BREATH:  # a claim whose session is idle for long gets lost on some networks
            self._place.session.ask("SELECT 1", doing="keeping the claim")
            self._asked = time.monotonic()
        for name in self._spec.key:
            if data.column(name).null_count:
                raise DataError(
                    f"rows have NULL in the key column {name}",
                    hint="A key must identify every row: choose other key columns, or filter those rows out.",
                )
        if self._spec.mode in KEYED:
            arrival = pa.array(np.arange(self._rows, self._rows + data.num_rows, dtype=np.int64))
            data = pa.RecordBatch.from_arrays([*data.columns, arrival], schema=pa.schema(self._fields))
        loader.write(data)
        self._rows += data.num_rows

    def seal(self) -> Staged:
        loader = self._loader or self._begin(self._table.schema)
        loader.finish()
        return Staged(
            table=self._table,
            spec=self._spec,
            claim=self._claim,
            location=self._place.name,
            rows=self._rows,
            truncates=self._truncates,
            keys=self._keys,
        )

    def abort(self) -> None:
        if self._loader is not None:
            self._loader.close()
            with suppress(TransientError):  # the next claim drops what is left
                if self._place.session.driver.open:
                    self._place.drop()
            self._loader = None

    def _begin(self, schema: pa.Schema) -> Loader:
        place, extra = self._place, [schema.field(name) for name in (OP, SEQ) if name in schema.names]
        if self._spec.mode in KEYED:
            extra.append(pa.field(ARRIVAL, pa.int64()))
        versions = self._spec.mode is WriteMode.HISTORY and not self._keys
        place.create(self._table, extra, version_key(self._spec.key) if versions else self._spec.key)
        self._fields = [*self._table.schema, *extra]
        self._loader = Loader(place.config, place.context, quote(*place.parts), self._fields)
        return self._loader
