"""MySQL and MariaDB as a source: the conformance suite, and what is special to them."""

from __future__ import annotations

from typing import Any, ClassVar
from urllib.parse import urlsplit

import pyarrow as pa
import pytest

from mariadb import MariaDBServer, database_of
from suiro.connectors.mysql.config import MysqlConfig
from suiro.connectors.mysql.dialect import DIALECT
from suiro.connectors.mysql.source import MysqlSource
from suiro.connectors.mysql.tables import locate
from suiro.model.naming import join_name
from suiro.model.types import is_text
from suiro.testing.samples import ODD_NAMES
from suiro.testing.source_suite import SourceSuite

_MOMENTS = (1, 4_000_000_000_000_000)  #: microseconds that TIMESTAMP has room for, less a margin


def config_of(url: str, **more: Any) -> MysqlConfig:
    """The connection's settings for a test database."""
    at = urlsplit(url)
    given = {"host": at.hostname, "port": at.port, "user": at.username, "password": at.password}
    return MysqlConfig(**{**given, "database": database_of(url) or None, **more})


class TestMysqlSource(SourceSuite):
    # MySQL takes no name that ends in a space.
    stream_stems: ClassVar = (*[name for name in ODD_NAMES if not name.endswith(" ")], "n" * 64, "水`路")
    column_names: ClassVar = (*[name for name in ODD_NAMES if not name.endswith(" ")], "c" * 64, "水" * 64, "a`b``c")

    @pytest.fixture(autouse=True)
    def _database(self, mariadb: MariaDBServer, mariadb_url: str) -> None:
        self.server, self.url = mariadb, mariadb_url

    def make(self) -> MysqlSource:
        return MysqlSource(config_of(self.url, time="clock"), self.context())

    def stream_name(self, stem: str) -> str:
        return join_name([database_of(self.url), stem])

    def fill(self, name: str, rows: pa.Table, key: tuple[str, ...]) -> None:
        columns = [f"{DIALECT.quote(f.name)} {_type(rows, f, key)}" for f in rows.schema]
        if key:
            columns.append(f"PRIMARY KEY ({DIALECT.columns(key)})")
        self.server.execute(f"CREATE TABLE {DIALECT.qualified(locate(name, None))} ({', '.join(columns)})")
        self.add(name, rows)

    def add(self, name: str, rows: pa.Table) -> None:
        marks = ", ".join(["%s"] * rows.num_columns)
        table = DIALECT.qualified(locate(name, None)).replace("%", "%%")
        with self.server.connect() as connection, connection.cursor() as cursor:
            cursor.executemany(f"INSERT INTO {table} VALUES ({marks})", [_bound(row) for row in rows.to_pylist()])


def _type(rows: pa.Table, field: pa.Field, key: tuple[str, ...]) -> str:
    if is_text(field.type) and field.name in key:
        return "VARCHAR(191) COLLATE utf8mb4_bin"
    if pa.types.is_timestamp(field.type) and field.type.tz is not None:
        values = [value for value in rows.column(field.name).cast(pa.int64()).to_pylist() if value is not None]
        if all(_MOMENTS[0] <= value <= _MOMENTS[1] for value in values):
            return "TIMESTAMP(6) NULL"
    return DIALECT.type_name(field)


def _bound(row: dict[str, Any]) -> tuple[Any, ...]:
    """The values as the driver takes them."""
    return tuple(f"{value!r}" if isinstance(value, float) else value for value in row.values())
