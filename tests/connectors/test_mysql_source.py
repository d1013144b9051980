"""What is special to reading from MySQL and MariaDB: names, privileges, snapshots, memory, and what goes wrong."""

# ruff: noqa: DTZ001  (DATETIME has no zone)

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from connectors.test_mysql import config_of
from mariadb import MariaDBServer, database_of
from suiro.connectors.mysql.session import connect
from suiro.connectors.mysql.source import MysqlSource
from suiro.model.change import Checkpoint, Rows
from suiro.model.errors import AuthError, Cancelled, ConfigError, ConnectionLost, SuiroError, TransientError, UserError
from suiro.model.schema import ReadMode
from suiro.model.selection import Selection
from suiro.testing.context import LocalContext


class Shop:
    """A database with sources on it that are closed after the test."""

    def __init__(self, server: MariaDBServer, url: str, folder: Path) -> None:
        self.server, self.url, self.folder = server, url, folder
        self.database = database_of(url)
        self.opened: list[MysqlSource] = []

    def run(self, *statements: str) -> None:
        with self.server.connect(self.database) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def source(self, **settings: Any) -> MysqlSource:
        source = MysqlSource(config_of(self.url, **settings), LocalContext(run="r", workdir=self.folder / "work"))
        self.opened.append(source)
        return source

    def changes(self, source: MysqlSource, table: str, since: Any = None, **more: Any) -> Iterator[Any]:
        stream = source.find(f"{self.database}.{table}")
        (part,) = source.plan([Selection(stream=stream, columns=tuple(stream.schema.names), **more)])
        return iter(source.read(part, since))

    def rows(self, source: MysqlSource, table: str, **more: Any) -> list[dict[str, Any]]:
        batches = [change.data for change in self.changes(source, table, **more) if isinstance(change, Rows)]
        return [row for batch in batches for row in batch.to_pylist()]


@pytest.fixture
def shop(mariadb: MariaDBServer, mariadb_url: str, tmp_path: Path) -> Iterator[Shop]:
    made = Shop(mariadb, mariadb_url, tmp_path)
    yield made
    for source in made.opened:
        source.close()


@pytest.fixture
def clerk(shop: Shop) -> Iterator[str]:
    """A user without any privilege; the password is the name."""
    name = f"clerk_{shop.database[-8:]}"
    shop.run(f"CREATE USER {name}@'%' IDENTIFIED BY '{name}'")
    yield name
    shop.run(f"DROP USER {name}@'%'")


# --- streams ----------------------------------------------------------------------------------------------------------


def test_streams_are_tables_and_views_of_the_database_with_their_keys(shop: Shop) -> None:
    shop.run(
        "CREATE TABLE plain (b int, a int, d datetime not null, primary key (d, a))",
        "CREATE TABLE keyless (v int, n int not null unique)",
        "CREATE TABLE versioned (id int primary key) WITH SYSTEM VERSIONING",
        "CREATE TABLE split (id int primary key) PARTITION BY HASH (id) PARTITIONS 3",
        "CREATE VIEW v AS SELECT a, b FROM plain",
        "CREATE TABLE short_lived (x int)",
        "CREATE VIEW broken AS SELECT x FROM short_lived",
        "DROP TABLE short_lived",
        "CREATE SEQUENCE s",
        "CREATE TABLE _suiro_markers (x int)",
    )
    streams = {stream.name.rpartition(".")[2]: stream for stream in shop.source().discover()}
    assert set(streams) == {"plain", "keyless", "versioned", "split", "v"}
    assert streams["plain"].primary_key == ("d", "a")
    assert streams["plain"].cursor_fields == ("d", "a", "b")
    assert streams["keyless"].primary_key == () == streams["v"].primary_key
    assert streams["split"].primary_key == ("id",)


def test_without_a_database_all_are_listed_but_the_servers_own(shop: Shop) -> None:
    shop.run("CREATE TABLE t (id int)")
    other = database_of(shop.server.create_database())
    try:
        shop.run(f"CREATE TABLE `{other}`.t (id int)")
        names = {stream.name for stream in shop.source(database=None).discover()}
        assert {f"{shop.database}.t", f"{other}.t"} <= names
        assert not {name.partition(".")[0] for name in names} & {"mysql", "information_schema", "sys"}
        assert [stream.name for stream in shop.source().discover()] == [f"{shop.database}.t"]
        assert shop.source().find(f"{other}.t").name == f"{other}.t"
        assert shop.source().find("t").name == f"{shop.database}.t"
        with pytest.raises(ConfigError, match="t has 1 part"):
            shop.source(database=None).find("t")
    finally:
        shop.run(f"DROP DATABASE `{other}`")


def test_many_tables_are_listed_in_a_few_queries(shop: Shop) -> None:
    shop.run(
        "CREATE PROCEDURE make() FOR n IN 1..400 DO EXECUTE IMMEDIATE CONCAT("
        "'CREATE TABLE t', n, ' (id bigint primary key, a varchar(20), b decimal(9,2)) ENGINE=MEMORY'); END FOR",
        "CALL make()",
    )
    source = shop.source()
    source.check()
    asked = "SHOW SESSION STATUS LIKE 'Questions'"
    before = int(source._session.ask(asked)[0][1])
    began = time.monotonic()
    streams = list(source.discover())
    assert time.monotonic() - began < 10
    assert int(source._session.ask(asked)[0][1]) - before < 10
    assert len(streams) == 400
    assert {stream.schema.names == ["id", "a", "b"] for stream in streams} == {True}


def test_a_column_that_the_user_may_not_read_is_left_out_and_named(shop: Shop, clerk: str) -> None:
    shop.run(
        "CREATE TABLE t (id int primary key, name text, salary int)",
        "CREATE TABLE closed (id int)",
        "INSERT INTO t VALUES (1, 'a', 100)",
        f"GRANT SELECT (id, name), INSERT ON t TO {clerk}@'%'",
    )
    source = shop.source(user=clerk, password=clerk)
    (stream,) = source.discover()
    assert stream.name == f"{shop.database}.t"
    assert stream.schema.names == ["id", "name"]
    assert stream.notes == ("The user may not read salary: left out.",)
    assert shop.rows(source, "t") == [{"id": 1, "name": "a"}]
    with pytest.raises(ConfigError, match="there is no stream"):
        source.find(f"{shop.database}.closed")


# --- reads ------------------------------------------------------------------------------------------------------------

MANY = "SELECT seq, REPEAT('x', 1000), seq * 2 FROM seq_1_to_{rows}"


def test_a_read_sees_one_state_of_the_table(shop: Shop) -> None:
    shop.run(
        "CREATE TABLE t (id bigint primary key, v longtext, w bigint)", f"INSERT INTO t {MANY.format(rows=60_000)}"
    )
    changes = shop.changes(shop.source(), "t")
    first = next(changes)
    assert isinstance(first, Rows)
    shop.run("DELETE FROM t WHERE id % 2", "UPDATE t SET w = -1", "INSERT INTO t VALUES (1000000, 'new', 0)")
    batches = [first.data, *(change.data for change in changes if isinstance(change, Rows))]
    table = pa.Table.from_batches(batches)
    assert sorted(table.column("id").to_pylist()) == list(range(1, 60_001))
    assert sum(table.column("w").to_pylist()) == 60_000 * 60_001


MEASURED = """
import resource, sys
from pathlib import Path
from suiro.model.selection import Selection
from suiro.testing.context import LocalContext
from connectors.test_mysql import config_of
from suiro.connectors.mysql.source import MysqlSource
source = MysqlSource(config_of(sys.argv[1]), LocalContext(run="r", workdir=Path(sys.argv[2])))
stream = source.find("t")
(part,) = source.plan([Selection(stream=stream, columns=tuple(stream.schema.names))])
rows = bytes_ = 0
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for change in source.read(part, None):
    if hasattr(change, "data"):
        rows += change.data.num_rows
        bytes_ += change.data.nbytes
        del change
source.close()
print(rows, bytes_ // 2**20, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_memory_does_not_grow_with_the_table(shop: Shop, tmp_path: Path) -> None:
    shop.run("CREATE TABLE t (id bigint, v text, w bigint) ENGINE=MyISAM", f"INSERT INTO t {MANY.format(rows=250_000)}")
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, shop.url, tmp_path],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
        env={"PYTHONPATH": "tests"},
    )
    rows, size, grown = map(int, done.stdout.split())
    assert rows == 250_000
    assert size > 220
    assert grown < 80


@pytest.mark.parametrize(
    ("type_", "values"),
    [
        ("bigint unsigned", [2**63 - 1, 2**63, 2**64 - 1]),
        ("decimal(65,30)", [Decimal("-1." + "0" * 29 + "1"), Decimal("0.1"), Decimal("9" * 35 + "." + "9" * 30)]),
        ("decimal(10,2)", [Decimal("-0.01"), Decimal("0.00"), Decimal("0.01")]),
        ("float", [-0.10000000149011612, 0.10000000149011612, 0.20000000298023224]),
        ("double", [-1e300, 0.1, 0.30000000000000004]),
        ("date", [date(1, 1, 1), date(2024, 2, 29), date(9999, 12, 31)]),
        ("datetime(6)", [datetime(1, 1, 1), datetime(2024, 1, 1, 0, 0, 0, 1), datetime(2024, 1, 1, 0, 0, 0, 2)]),
        ("timestamp(6)", [datetime(2024, 1, 1, 0, 0, 0, micro) for micro in (0, 1, 2)]),
        ("year", [1901, 2000, 2155]),
        ("tinyint", [-128, 0, 127]),
    ],
)
def test_a_read_goes_on_after_a_value_of_its_cursor(shop: Shop, type_: str, values: list[Any]) -> None:
    shop.run(f"CREATE TABLE t (n int, at {type_} null)")

    def insert(n: int, value: Any) -> None:
        shop.run(f"INSERT INTO t VALUES ({n}, {f'{value!r}' if isinstance(value, int | float) else repr(str(value))})")

    for n, value in enumerate(values[:2]):
        insert(n, value)
    more: dict[str, Any] = {"read_mode": ReadMode.INCREMENTAL, "cursor_field": "at"}
    *_, last = shop.changes(shop.source(), "t", **more)
    assert isinstance(last, Checkpoint)
    insert(2, values[1])
    insert(3, values[2])
    insert(4, values[0])
    changes = list(shop.changes(shop.source(), "t", last.position, **more))
    assert [row["n"] for change in changes if isinstance(change, Rows) for row in change.data.to_pylist()] == [2, 3]


def test_a_condition_is_the_servers_sql(shop: Shop) -> None:
    shop.run("CREATE TABLE t (id int, `a b` varchar(9))", "INSERT INTO t VALUES (1, '10%'), (2, '%s'), (3, 'x')")
    assert [row["id"] for row in shop.rows(shop.source(), "t", where="`a b` LIKE '%\\%%'")] == [1, 2]
    with pytest.raises(ConfigError, match=r"the condition for .* is wrong"):
        shop.rows(shop.source(), "t", where="nowhere = 1")


def test_a_column_whose_type_changed_since_it_was_looked_at_is_not_misread(shop: Shop) -> None:
    shop.run("CREATE TABLE t (id int, v int)", "INSERT INTO t VALUES (1, 1)")
    for type_ in ("bigint", "int unsigned", "varchar(20)", "double", "date"):
        source = shop.source()
        changes = shop.changes(source, "t")
        shop.run(f"ALTER TABLE t DROP COLUMN v, ADD COLUMN v {type_}")
        with pytest.raises(TransientError, match="the type of column v changed"):
            list(changes)
        shop.run("ALTER TABLE t MODIFY COLUMN v int")


# --- queries ----------------------------------------------------------------------------------------------------------


def test_a_querys_rows_are_told_as_the_server_has_them(shop: Shop) -> None:
    sql = (
        "SELECT CAST('0000-00-00' AS DATE) d, TIMESTAMP'2024-02-29 01:02:03.000004' t, "
        "CAST('-30:00:00.5' AS TIME(1)) i, 1.10 n, 1e0 f, x'00ff' b, NULL z, '水' s, "
        "CAST(18446744073709551615 AS UNSIGNED) u"
    )
    assert pa.Table.from_batches(shop.source().query(sql)).to_pylist() == [{
        "d": "0000-00-00", "t": "2024-02-29 01:02:03.000004", "i": "-30:00:00.500000", "n": "1.10", "f": 1.0,
        "b": b"\x00\xff", "z": None, "u": 2**64 - 1, "s": "水",
    }]  # fmt: skip
    shop.run(
        "CREATE TABLE t (d date, t datetime(3))", "INSERT INTO t VALUES ('2024-02-29', NULL), (NULL, '0001-01-01')"
    )
    rows = pa.Table.from_batches(shop.source().query("SELECT d, t FROM t ORDER BY d DESC")).to_pylist()
    assert rows == [{"d": "2024-02-29", "t": None}, {"d": None, "t": "0001-01-01 00:00:00"}]


def test_statements_of_every_kind_are_run(shop: Shop) -> None:
    source = shop.source()
    assert list(source.query("CREATE TABLE t (id int, at time)")) == []
    assert list(source.query("INSERT INTO t VALUES (1, '24:00'), (2, NULL)")) == []
    assert pa.Table.from_batches(source.query("SELECT * FROM t;")).to_pylist() == [
        {"id": 1, "at": "24:00:00"},
        {"id": 2, "at": None},
    ]
    assert pa.Table.from_batches(source.query("SHOW TABLES")).to_pylist()[0].popitem()[1] == "t"
    shop.run("CREATE PROCEDURE two() BEGIN SELECT 1 AS a; SELECT 2 AS b; END")
    assert pa.Table.from_batches(source.query("CALL two()")).to_pylist() == [{"a": 1}]
    # What can't be prepared goes as text.
    assert pa.Table.from_batches(source.query("EXECUTE IMMEDIATE 'SELECT 7 AS a, NULL AS b'")).to_pylist() == [
        {"a": "7", "b": None}
    ]
    with pytest.raises(UserError, match="SQL syntax"):
        list(source.query("SELECT 1; DROP TABLE t"))


# --- what goes wrong --------------------------------------------------------------------------------------------------


def _closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize(
    ("settings", "kind", "says"),
    [
        ({"host": "no-such-host.invalid"}, ConnectionLost, "no host of the name no-such-host.invalid"),
        ({"port": _closed_port()}, ConnectionLost, "nothing answers at"),
        ({"host": "/nowhere/mysqld.sock"}, ConnectionLost, "nothing answers at .*/nowhere/mysqld.sock"),
        ({"password": "wrong"}, AuthError, "the server refused user suiro_admin"),
        ({"user": "nobody_here"}, AuthError, "the server refused user nobody_here"),
        ({"database": "no_such_database"}, ConfigError, "no_such_database"),
        ({"sslmode": "verify-full", "sslrootcert": "/nowhere/ca.pem"}, ConfigError, "certificates can't be read"),
        ({"sslmode": "verify-ca"}, ConfigError, "TLS with 127.0.0.1 failed"),
    ],
)
def test_a_server_that_cannot_be_reached_is_told_apart(
    shop: Shop, settings: dict[str, Any], kind: type[SuiroError], says: str
) -> None:
    with pytest.raises(SuiroError, match=says) as refused:
        shop.source(**settings).check()
    assert type(refused.value) is kind
    assert refused.value.hint
    assert shop.server.password not in f"{refused.value} {refused.value.hint}"


def test_the_servers_certificate_is_checked_where_asked(shop: Shop, mariadb: MariaDBServer) -> None:
    source = shop.source(sslmode="verify-full", sslrootcert=str(mariadb.certificate))
    source.check()
    assert source._session.ask("SHOW STATUS LIKE 'Ssl_version'")[0][1].startswith("TLSv1.")
    shop.run("CREATE TABLE t (id int)", "INSERT INTO t SELECT seq FROM seq_1_to_100000")
    assert len(shop.rows(source, "t")) == 100_000
    with pytest.raises(ConfigError, match="TLS with localhost failed"):
        shop.source(host="localhost", sslmode="verify-full", sslrootcert=str(mariadb.certificate)).check()
    plain = shop.source(sslmode="disable")
    assert plain._session.ask("SHOW STATUS LIKE 'Ssl_version'")[0][1] == ""


def test_a_unix_socket_is_a_host(shop: Shop, mariadb: MariaDBServer) -> None:
    source = shop.source(host=str(mariadb.folder / "m.sock"))
    source.check()
    assert source._session.ask("SELECT 1") == [(1,)]


def test_a_privilege_that_goes_away_is_named(shop: Shop, clerk: str) -> None:
    shop.run("CREATE TABLE t (id int)", f"GRANT SELECT ON t TO {clerk}@'%'")
    source = shop.source(user=clerk, password=clerk, database=None)
    changes = shop.changes(source, "t")
    shop.run(f"REVOKE SELECT ON t FROM {clerk}@'%'")
    with pytest.raises(AuthError, match=r"SELECT command denied to user .* for table .*`t`"):
        list(changes)


def test_a_table_dropped_before_the_read_is_missing(shop: Shop) -> None:
    shop.run("CREATE TABLE t (id int)")
    changes = shop.changes(shop.source(), "t")
    shop.run("DROP TABLE t")
    with pytest.raises(ConfigError, match=r"t' doesn't exist"):
        list(changes)


def test_a_connection_that_is_killed_amid_a_read_is_lost(shop: Shop) -> None:
    shop.run("CREATE TABLE t (id bigint, v longtext, w bigint)", f"INSERT INTO t {MANY.format(rows=60_000)}")
    source = shop.source()
    changes = shop.changes(source, "t")
    next(changes)
    assert shop.server.kill_sessions(shop.database) >= 1
    with pytest.raises(ConnectionLost):
        list(changes)


def test_a_statement_under_way_is_cancelled(shop: Shop) -> None:
    source = shop.source()
    assert isinstance(source.context, LocalContext)
    timer = threading.Timer(0.5, source.context.cancel)
    timer.start()
    began = time.monotonic()
    with pytest.raises(Cancelled):
        list(source.query("SELECT COUNT(*) FROM seq_1_to_1000000 a, seq_1_to_1000000 b"))
    assert time.monotonic() - began < 20
    timer.join()


def test_a_read_that_is_cancelled_or_closed_leaves_no_session_at_work(shop: Shop) -> None:
    shop.run("CREATE TABLE t (id bigint, v longtext, w bigint)", f"INSERT INTO t {MANY.format(rows=60_000)}")
    source = shop.source()
    changes = shop.changes(source, "t")
    next(changes)
    changes.close()  # type: ignore[attr-defined]
    changes = shop.changes(source, "t")
    next(changes)
    assert isinstance(source.context, LocalContext)
    source.context.cancel()
    with pytest.raises(Cancelled):
        list(changes)
    source.close()
    deadline = time.monotonic() + 10
    while shop.server.sessions(shop.database) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert shop.server.sessions(shop.database) == []


def test_an_old_server_is_refused_by_its_version(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    from suiro.connectors.mysql import session

    monkeypatch.setattr(session, "OLDEST", {"MariaDB": (99, 0), "MySQL": (99, 0)})
    with pytest.raises(ConfigError, match=r"the server is MariaDB 10\.\d+; Suiro needs 99\.0 or later"):
        shop.source().check()


def test_a_session_speaks_utf8_in_utc_and_strictly(shop: Shop) -> None:
    context = LocalContext(run="r", workdir=shop.folder)
    with closing(connect(config_of(shop.url), context)) as session:
        asked = "SELECT @@time_zone, @@character_set_results, @@sql_mode, @@net_write_timeout, @@autocommit"
        ((zone, characters, mode, patience, autocommit),) = session.ask(asked)
    assert (zone, characters, patience, autocommit) == ("+00:00", "utf8mb4", 28_800, 1)
    assert "STRICT_ALL_TABLES" in mode
    assert "NO_ZERO_DATE" not in mode
