"""PostgreSQL as source and destination: the conformance suites, on every server there is."""

from __future__ import annotations

from typing import Any

import psycopg
import pyarrow as pa
import pytest
from adbc_driver_postgresql import dbapi
from psycopg.conninfo import conninfo_to_dict

from deaths import SELDOM, STRIDE
from servers import installed_postgres
from suiro.connectors.postgres.config import PostgresConfig
from suiro.connectors.postgres.destination import PostgresDestination
from suiro.connectors.postgres.source import PostgresSource
from suiro.connectors.postgres.tables import locate, quote
from suiro.connectors.postgres.types import sql_type
from suiro.model.naming import join_name
from suiro.model.types import DATE_INFINITY, TIMESTAMP_INFINITY
from suiro.spi.destination import Destination
from suiro.testing.destination_suite import DestinationSuite
from suiro.testing.source_suite import SourceSuite

_AS_IT_IS = {"boolean", "smallint", "integer", "bigint", "real", "double precision", "text", "bytea", "date"}
_AS_IT_IS |= {"timestamp without time zone", "timestamp with time zone", "time without time zone", "uuid"}


def config_of(url: str) -> PostgresConfig:
    """The connection's settings for a test database."""
    found = conninfo_to_dict(url)
    return PostgresConfig(
        host=str(found["host"]),
        port=int(str(found["port"])),
        database=str(found["dbname"]),
        user=str(found["user"]),
        password=found.get("password"),  # type: ignore[arg-type]
    )


class OnPostgres:
    """A fresh database for every test."""

    url: str

    @pytest.fixture(autouse=True)
    def _database(self, any_postgres_url: str) -> None:
        self.url = any_postgres_url

    def execute(self, sql: str, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Run a statement as another program does; its rows, if it has any."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(sql.encode(), parameters or None)
            return cursor.fetchall() if cursor.description else []

    def table_of(self, name: str) -> pa.Table | None:
        """A table read by ADBC; types that it doesn't know as text."""
        schema, table = locate(name, "public")
        columns = self.execute(
            "SELECT a.attname, format_type(a.atttypid, NULL) FROM pg_attribute a WHERE a.attnum > 0 "
            "AND NOT a.attisdropped AND a.attrelid = to_regclass(%s) ORDER BY a.attnum",
            (quote(schema, table),),
        )
        if not columns:
            return None
        asked = [f"{_read(quote(n), t)} AS {quote(n)}" for n, t in columns]
        with dbapi.connect(self.url) as connection, connection.cursor() as cursor:
            cursor.execute(f"SELECT {', '.join(asked)} FROM {quote(schema, table)}")
            return cursor.fetch_arrow_table()


def _read(column: str, type_: str) -> str:
    if type_ in _AS_IT_IS:
        return column
    return f"inet_out({column})::text" if type_ == "inet" else f"{column}::text"


def _unwrapped(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """ADBC moves the infinities past the end of Arrow's range: back to where the house keeps them."""
    days = pa.types.is_date32(column.type)
    wrapped, endless = (-2147472692, DATE_INFINITY) if days else (-9222425352054775809, TIMESTAMP_INFINITY)
    number = pa.int32() if days else pa.int64()
    moved = {wrapped: endless, wrapped + 1: -endless}
    values = [moved.get(value, value) for value in column.cast(number).to_pylist()]
    return pa.chunked_array([pa.array(values, number).view(column.type)])


class TestPostgresDestination(OnPostgres, DestinationSuite):
    @pytest.fixture(autouse=True)
    def _fewer_deaths_on_the_second_version(self, _database: None, request: pytest.FixtureRequest) -> None:
        second = installed_postgres() and "postgres18_url" in request.node.callspec.id
        self.stride = SELDOM if second else STRIDE

    def make(self) -> Destination[Any]:
        return PostgresDestination(config_of(self.url), self.context())

    def read(self, table: str) -> pa.Table | None:
        return self.table_of(table)

    def decode(self, column: pa.ChunkedArray, field: pa.Field) -> pa.ChunkedArray:
        if pa.types.is_date32(column.type) or pa.types.is_timestamp(column.type):
            column = _unwrapped(column)
        if pa.types.is_list(field.type):
            literals = [None if v is None else v.strip("{}").split(",") for v in column.to_pylist()]
            numbers = [None if v is None else [None if n == "NULL" else int(n) for n in v if n] for v in literals]
            return pa.chunked_array([pa.array(numbers, field.type)])
        return super().decode(column, field)

    def drop(self, table: str) -> None:
        self.execute(f"DROP TABLE IF EXISTS {quote(*locate(table, 'public'))}")

    def leftovers(self) -> list[str]:
        return [row[0] for row in self.execute("SELECT relname FROM pg_class WHERE relname LIKE '\\_suiro\\_stage%'")]

    def lose_lease(self, destination: Destination[Any]) -> None:
        assert isinstance(destination, PostgresDestination)
        destination._session.execute("SELECT pg_advisory_unlock_all()")


class TestPostgresSource(OnPostgres, SourceSuite):
    def make(self) -> PostgresSource:
        return PostgresSource(config_of(self.url), self.context())

    def stream_name(self, stem: str) -> str:
        return join_name(["public", stem])

    def fill(self, name: str, rows: pa.Table, key: tuple[str, ...]) -> None:
        schema, table = locate(name, "public")
        columns = ", ".join(f"{quote(field.name)} {sql_type(field)}" for field in rows.schema)
        primary = f", PRIMARY KEY ({', '.join(map(quote, key))})" if key else ""
        self.execute(f"CREATE TABLE {quote(schema, table)} ({columns}{primary})")
        self.add(name, rows)

    def add(self, name: str, rows: pa.Table) -> None:
        schema, table = locate(name, "public")
        if not rows.num_rows:
            return
        marks = ", ".join(["%s"] * rows.num_columns)
        with psycopg.connect(self.url) as connection, connection.cursor() as cursor:
            values = [tuple(row.values()) for row in rows.to_pylist()]
            name = quote(schema, table).replace("%", "%%")
            cursor.executemany(f"INSERT INTO {name} VALUES ({marks})".encode(), values)
