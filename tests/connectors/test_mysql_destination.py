"""Tests of MySQL and MariaDB as a destination: the conformance suite, and what is special."""

from __future__ import annotations

from datetime import time
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa
import pymysql
import pytest

from mariadb import database_of
from suiro.connectors.mysql.config import MysqlConfig
from suiro.connectors.mysql.destination import MysqlDestination
from suiro.connectors.mysql.standing import quote
from suiro.connectors.mysql.tables import locate
from suiro.testing.destination_suite import DestinationSuite
from suiro.testing.samples import ODD_NAMES

if TYPE_CHECKING:
    from mariadb import MariaDBServer

STEPS = ("pymysql.connections:Connection._execute_command", "pymysql.connections:Connection.write_packet")


def config_of(server: MariaDBServer, database: str, **more: Any) -> MysqlConfig:
    """The settings of a connection to a test database, as its admin."""
    return MysqlConfig(
        host="127.0.0.1",
        port=server.port,
        database=database,
        user="suiro_admin",
        password=server.password,  # type: ignore[arg-type]
        **more,
    )


class OnMariaDB:
    """A fresh database for every test."""

    server: MariaDBServer
    database: str

    @pytest.fixture(autouse=True)
    def _database(self, mariadb: MariaDBServer, mariadb_url: str) -> None:
        self.server, self.database = mariadb, database_of(mariadb_url)

    def execute(self, sql: str) -> list[tuple[Any, ...]]:
        """Run a statement as another program does; its rows, if it has any."""
        return self.server.execute(sql, self.database)

    def table_of(self, name: str) -> pa.Table | None:
        """A table as a plain client of the server reads it; numbers of floats by all their digits."""
        database, table = locate(name, self.database)
        columns = self.execute(
            "SELECT COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, COLUMN_COMMENT FROM information_schema.COLUMNS WHERE "
            f"TABLE_SCHEMA = '{database}' AND TABLE_NAME = {pymysql.converters.escape_string(table).join(chr(39) * 2)} "
            "ORDER BY ORDINAL_POSITION"
        )
        if not columns:
            return None
        asked = ", ".join(_asked(name, kind) for name, kind, _, _ in columns)
        rows = self.execute(f"SELECT {asked} FROM {quote(database, table)}")
        values = list(zip(*rows, strict=True)) or [()] * len(columns)
        return pa.table(
            [_column(found, *about) for found, (_, *about) in zip(values, columns, strict=True)],
            names=[name for name, *_ in columns],
        )


def _asked(name: str, kind: str) -> str:
    column = quote(name)
    if kind == "float":
        return f"CAST({column} AS DOUBLE)"
    return f"CAST({column} AS CHAR)" if kind in ("date", "datetime", "time", "decimal") else column


def _column(values: Any, kind: str, type_: str, comment: str) -> pa.Array:
    match kind:
        case "decimal":
            return pa.array(values, pa.string())
        case "date":
            return pa.array(values, pa.string()).cast(pa.date32())
        case "datetime":
            found = pa.array(values, pa.string()).cast(pa.timestamp("us"))
            return found.cast(pa.timestamp("us", "UTC")) if comment == "UTC" else found
        case "time":
            return pa.array([None if v is None else time.fromisoformat(v) for v in values], pa.time64("us"))
        case "float" | "double":
            return pa.array(values, pa.float64())
        case "tinyint" if type_ == "tinyint(1)":
            return pa.array([None if v is None else bool(v) for v in values], pa.bool_())
        case _ if "int" in kind:
            return pa.array(values, pa.uint64() if "unsigned" in type_ else pa.int64())
        case _ if "blob" in kind or "binary" in kind:
            return pa.array(values, pa.binary())
        case _:
            return pa.array([None if v is None else str(v) for v in values], pa.string())


class TestMysqlDestination(OnMariaDB, DestinationSuite):
    steps = STEPS
    table_stems: ClassVar[tuple[str, ...]] = tuple(name for name in ODD_NAMES if not name.endswith(" "))
    column_names: ClassVar[tuple[str, ...]] = table_stems

    def make(self) -> MysqlDestination:
        return MysqlDestination(config_of(self.server, self.database), self.context())

    def read(self, table: str) -> pa.Table | None:
        return self.table_of(table)

    def drop(self, table: str) -> None:
        self.execute(f"DROP TABLE IF EXISTS {quote(*locate(table, self.database))}")

    def leftovers(self) -> list[str]:
        return [row[0] for row in self.execute("SHOW TABLES") if row[0].startswith("_suiro_stage")]

    def lose_lease(self, destination: Any) -> None:
        destination._session.ask("SELECT RELEASE_ALL_LOCKS()")
