"""MySQL and MariaDB as a destination: the conformance suite, and what is special in histories and key snapshots."""

from __future__ import annotations

from datetime import UTC, datetime, time
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa
import pymysql
import pytest
from pymysql.connections import Connection

from deaths import STRIDE
from mariadb import database_of
from suiro.connectors.mysql.config import MysqlConfig
from suiro.connectors.mysql.destination import MysqlDestination
from suiro.connectors.mysql.standing import quote
from suiro.connectors.mysql.tables import locate
from suiro.model.errors import ConnectionLost, DataError, SchemaConflict
from suiro.model.selection import CURRENT, VALID_FROM, VALID_TO, Deletes, WriteMode, WriteSpec
from suiro.spi.destination import Marker
from suiro.testing.destination_suite import DestinationSuite
from suiro.testing.load import Load
from suiro.testing.samples import ODD_NAMES

if TYPE_CHECKING:
    from mariadb import MariaDBServer

STEPS = ("pymysql.connections:Connection._execute_command", "pymysql.connections:Connection.write_packet")
TIME = pa.timestamp("us", "UTC")
ROWS = pa.schema([("id", pa.string()), ("name", pa.string())])
VERSIONS = pa.schema([*ROWS, (VALID_FROM, TIME), (VALID_TO, TIME), (CURRENT, pa.bool_())])
APPEND = WriteSpec(mode=WriteMode.APPEND)
MERGE = WriteSpec(mode=WriteMode.MERGE, key=("id",))
HISTORY = WriteSpec(mode=WriteMode.HISTORY, key=("id",), deletes=Deletes.HARD, moment=datetime(2026, 2, 1, tzinfo=UTC))
NOW = datetime(2026, 1, 1, tzinfo=UTC)


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
    """The suite, and what is special of histories, key snapshots, and tables beside a table."""

    stride = STRIDE
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

    # -- tables that become histories, whose keys DDL exchanges at once

    def keys(self, table: str = "t") -> list[tuple[str, str]]:
        """The unique keys, each with its columns."""
        found = self.execute(
            "SELECT INDEX_NAME, GROUP_CONCAT(COLUMN_NAME ORDER BY SEQ_IN_INDEX) FROM information_schema.STATISTICS "
            f"WHERE TABLE_SCHEMA = '{self.database}' AND TABLE_NAME = '{table}' AND NON_UNIQUE = 0 GROUP BY INDEX_NAME"
        )
        return sorted((str(name), str(columns)) for name, columns in found)

    def merged(self, *rows: tuple[Any, ...]) -> None:
        self.carry(self.load("t", self.rows(*rows, schema=ROWS), MERGE, 1))

    def versions(self, *rows: tuple[Any, ...], position: int = 2) -> Load:
        return self.load("t", self.rows(*((*row, NOW, None, None) for row in rows), schema=VERSIONS), HISTORY, position)

    def test_a_new_history_is_keyed_by_key_and_time(self) -> None:
        self.carry(self.versions(("a", "x")))
        assert self.keys() == [("PRIMARY", f"id,{VALID_FROM}")]

    def test_a_merged_table_of_suiros_exchanges_its_key(self) -> None:
        self.merged(("a", "x"), ("b", "y"))
        self.carry(self.versions(("a", "z")))
        assert self.keys() == [("id", f"id,{VALID_FROM}")]
        assert self.execute(f"SELECT id, name, {CURRENT} FROM t ORDER BY id, {VALID_FROM}") == [
            ("a", "x", 0),
            ("a", "z", 1),
            ("b", "y", 1),
        ]

    def test_killed_between_any_two_steps_a_table_is_a_history_or_has_its_old_key(self) -> None:
        rows, new = self.rows(("a", "x"), schema=ROWS), ("a", "z")
        for step in self._until_alive():
            self.drop("t")
            self.drop("_suiro_markers")
            self.merged(("a", "x"))
            died = self.dies(self.versions(new, position=step), step)
            destination = self.open()
            claim = self.claim(destination, self.versions(new).key, patience=self.seconds_to_notice_death)
            assert list(self.leftovers()) == []
            if claim.position is None or claim.position == {"n": 1}:
                assert self.keys() == [("PRIMARY", "id")], f"killed before step {step}"
                self.assert_table(rows, "t", f"killed before step {step}")
            else:
                assert self.execute("SELECT COUNT(*) FROM t") == [(2,)]
            self.close(destination)
            self.carry(self.versions(new, position=step))
            assert self.execute("SELECT name FROM t WHERE _suiro_current") == [("z",)], f"step {step}"
            if not died:
                break
        assert step > self.fewest_steps

    def test_what_fails_after_the_key_was_exchanged_brings_it_back(self) -> None:
        self.merged(("a", "x"))
        self.execute("ALTER TABLE t ADD CHECK (name <> 'no')")
        with pytest.raises(DataError):
            self.carry(self.versions(("a", "no")))
        assert self.keys() == [("PRIMARY", "id")]
        self.assert_table(self.rows(("a", "x"), schema=ROWS), "t")

    def test_a_users_table_keeps_its_key_and_is_refused(self) -> None:
        self.execute("CREATE TABLE t (id VARCHAR(20) PRIMARY KEY, name TEXT)")
        with pytest.raises(SchemaConflict, match="can't hold two rows with one key"):
            self.carry(self.versions(("a", "x")))
        assert self.keys() == [("PRIMARY", "id")]
        assert [row[0] for row in self.execute("SHOW COLUMNS FROM t")] == ["id", "name"]

    def test_a_table_that_foreign_keys_point_to_keeps_its_key_and_is_refused(self) -> None:
        self.merged(("a", "x"))
        self.execute(
            "CREATE TABLE other (id VARCHAR(764) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin, "
            "FOREIGN KEY (id) REFERENCES t (id))"
        )
        with pytest.raises(SchemaConflict, match="foreign keys"):
            self.carry(self.versions(("a", "z")))
        assert self.keys() == [("PRIMARY", "id")]

    def test_rows_with_one_key_that_nothing_puts_in_order_are_refused(self) -> None:
        self.carry(self.load("t", self.rows(("a", "x"), ("a", "y"), schema=ROWS), APPEND, 1))
        with pytest.raises(SchemaConflict, match="nothing tells which came first"):
            self.carry(self.versions(("b", "z")))
        self.assert_table(self.rows(("a", "x"), ("a", "y"), schema=ROWS), "t")

    @pytest.mark.parametrize("column", ["VARCHAR(20) COLLATE utf8mb4_general_ci", "VARCHAR(20) CHARSET latin1", "TEXT"])
    def test_keys_are_exact_whatever_the_collation_of_a_users_table(self, column: str) -> None:
        self.execute(f"CREATE TABLE t (id {column}, name TEXT)")
        self.execute("INSERT INTO t VALUES ('a', 'x'), ('A', 'y')")
        self.carry(self.versions(("a", "z")))
        asked = (
            f"SELECT id, name, {CURRENT} FROM t ORDER BY id COLLATE {'latin1' if 'latin1' in column else 'utf8mb4'}_bin"
        )
        assert self.execute(f"{asked}, {VALID_FROM}") == [("A", "y", 1), ("a", "x", 0), ("a", "z", 1)]
        keys = pa.table({"id": ["a"]})
        snapshot = Load(
            table=self.load("t", keys, HISTORY, 3).table,
            rows=tuple(keys.to_batches()),
            spec=HISTORY,
            position={},
            keys=True,
        )
        assert self.carry(snapshot).removed == 1
        assert self.execute(f"SELECT id FROM t WHERE {CURRENT}") == [("a",)]

    def test_long_keys_that_begin_alike_are_told_apart(self) -> None:
        long = ["長" * 700 + end for end in "abab"]
        self.carry(self.versions(*((key, f"name {number}") for number, key in enumerate(long))))
        assert self.execute(f"SELECT RIGHT(id, 1), name, {CURRENT} FROM t ORDER BY id") == [
            ("a", "name 2", 1),
            ("b", "name 3", 1),
        ]

    def test_a_key_snapshot_of_a_table_that_is_not_there_changes_nothing(self) -> None:
        keys = pa.table({"id": ["a"]})
        table = self.load("t", keys, HISTORY, 1).table
        snapshot = Load(table=table, rows=tuple(keys.to_batches()), spec=HISTORY, position={"n": 1}, keys=True)
        assert self.carry(snapshot).unchanged == 1
        assert self.read("t") is None

    # -- a table of rejected rows that is loaded under the claim of the table beside it

    @pytest.mark.parametrize("there", [True, False], ids=["a table that stays", "a new table"])
    def test_a_connection_lost_before_any_statement_brings_both_or_neither(
        self, there: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        send, left = Connection._execute_command, 0

        def sending(connection: Any, *arguments: Any) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                raise OSError(104, "reset by the test")
            send(connection, *arguments)

        monkeypatch.setattr(Connection, "_execute_command", sending)
        new, lost = self.rows(("b", "y"), schema=ROWS), 0
        for step in range(1, 200, 3):
            for name in ("t", "_suiro_rejected", "_suiro_markers"):
                self.drop(name)
            if there:
                self.carry(self.load("t", self.rows(("a", "x"), schema=ROWS), APPEND, 1))
            left = step
            broke = self._both(new)
            left = 0
            lost += broke
            if self.position(self.load("t", new, APPEND, 2).key) != {"n": 2}:
                assert not self._both(new)
            assert self.execute("SELECT COUNT(*) FROM t") == [(1 + there,)], f"step {step}"
            assert self.execute("SELECT COUNT(*) FROM _suiro_rejected") == [(1,)], f"step {step}"
            assert self.leftovers() == []
            if not broke:
                break
        assert lost > 4

    def _both(self, rows: pa.Table) -> bool:
        """Carry rows into both tables under one claim; whether the connection broke."""
        destination = self.open()
        loads = [self.load(name, rows, APPEND, 2) for name in ("t", "_suiro_rejected")]
        try:
            claim = self.claim(destination, loads[0].key)
            staged = [self.stage(destination, load, claim) for load in loads]
            destination.publish(staged, [Marker(key=claim.key, position={"n": 2})], self.summary(*loads))
        except ConnectionLost:
            return True
        finally:
            self.close(destination)
        return False

    def test_long_keys_that_begin_alike_are_merged_each_into_its_own_row(self) -> None:
        long = ["長" * 700 + end for end in "abab"]
        for number in range(2):
            rows = self.rows(*((key, f"{number} {place}") for place, key in enumerate(long)), schema=ROWS)
            assert self.carry(self.load("t", rows, MERGE, number)).superseded == 2
        assert self.execute("SELECT RIGHT(id, 1), name FROM t ORDER BY id") == [("a", "1 2"), ("b", "1 3")]
