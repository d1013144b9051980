"""What is MySQL's and MariaDB's own in a load: tables of other people, keys, privileges, and connections that break."""

from __future__ import annotations

import itertools
import secrets
from datetime import UTC, date, datetime, time
from decimal import Context, Decimal
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymysql.connections import Connection

from carrying import APPEND, REPLACE, key_of, merge, stage
from mariadb import database_of
from suiro.connectors.mysql.config import MysqlConfig
from suiro.connectors.mysql.destination import MysqlDestination
from suiro.connectors.mysql.load import LoadingSession
from suiro.model.errors import AuthError, ConfigError, ConnectionLost, DataError, SchemaConflict
from suiro.model.schema import Table
from suiro.model.selection import Replace, WriteMode, WriteSpec
from suiro.model.summary import summarise
from suiro.model.types import logical_field
from suiro.spi.destination import Marker, Published
from suiro.testing.context import LocalContext

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mariadb import MariaDBServer

_runs = itertools.count(1)
PEOPLE = pa.schema([("id", pa.int64()), ("name", pa.string())])


class Database:
    """A fresh database, and loads into it."""

    def __init__(self, server: MariaDBServer, url: str, folder: Path) -> None:
        self.server, self.name, self._folder = server, database_of(url), folder
        self.user: dict[str, Any] = {"user": "suiro_admin", "password": server.password}

    def execute(self, sql: str) -> list[tuple[Any, ...]]:
        """Run a statement as another program does."""
        return self.server.execute(sql, self.name)

    @property
    def config(self) -> MysqlConfig:
        """The connection's settings."""
        return MysqlConfig(host="127.0.0.1", port=self.server.port, database=self.name, **self.user)  # type: ignore[arg-type]

    def context(self) -> LocalContext:
        """A run of its own."""
        run = f"run{next(_runs)}"
        return LocalContext(run=run, workdir=self._folder / run)

    def open(self) -> MysqlDestination:
        """A destination; who opens it closes it."""
        return MysqlDestination(self.config, self.context())

    def load(self, rows: pa.Table, spec: WriteSpec = APPEND, name: str = "t", position: int = 0) -> Published:
        """A whole run."""
        to = self.open()
        try:
            claim = to.claim(key_of(name), to.context.run)
            staged = stage(to, name, rows, spec, claim)
            marker = Marker(key=claim.key, position={"n": position})
            return to.publish([staged], [marker], summarise(rows.to_batches(), key=spec.key))
        finally:
            to.close()


@pytest.fixture
def database(mariadb: MariaDBServer, mariadb_url: str, tmp_path: Path) -> Database:
    return Database(mariadb, mariadb_url, tmp_path)


def people(*rows: tuple[int | None, str | None]) -> pa.Table:
    return pa.table([[row[0] for row in rows], [row[1] for row in rows]], schema=PEOPLE)


# --- how rows come in -------------------------------------------------------------------------------------------------

EVERYTHING = {
    "i": pa.array([-(2**63), 2**63 - 1, None], pa.int64()),
    "u": pa.array([0, 2**64 - 1, None], pa.uint64()),
    "b": pa.array([True, False, None]),
    "f": pa.array([3.4028234663852886e38, 1.401298464324817e-45, None], pa.float32()),
    "d": pa.array([5e-324, 0.1, None]),
    "n": pa.array([Decimal("-" + "9" * 38), Decimal("1"), None], pa.decimal128(38, 0)),
    "s": pa.array(["a\tb\nc\\d'e\"\r\x00\x1a%s", "水路😀\\N", None]),
    "x": pa.array([bytes(range(256)), b"\\N", None], pa.binary()),
    "day": pa.array([date(1, 1, 1), date(9999, 12, 31), None]),
    "at": pa.array([-62135596800_000_000, 253402300799_999_999, None], pa.timestamp("us")),
    "utc": pa.array([datetime(1900, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC), None]),
    "clock": pa.array([time(0), time(23, 59, 59, 999999), None]),
    "uuid": pa.ExtensionArray.from_storage(pa.uuid(), pa.array([bytes(range(16)), b"\xff" * 16, None], pa.binary(16))),
    "json": pa.ExtensionArray.from_storage(pa.json_(), pa.array(['{"a": "\\n\\t\'"}', '"水"', None])),
}


@pytest.fixture(params=["LOAD DATA", "INSERT"])
def way_in(request: pytest.FixtureRequest, mariadb: MariaDBServer) -> Iterator[str]:
    """A server that takes files from clients, and one that doesn't."""
    mariadb.execute(f"SET GLOBAL local_infile = {int(request.param == 'LOAD DATA')}")
    yield request.param
    mariadb.execute("SET GLOBAL local_infile = 1")


def test_rows_come_in_exactly_whether_the_server_takes_files_or_not(database: Database, way_in: str) -> None:
    rows = pa.table(EVERYTHING)
    published = database.load(rows, REPLACE)
    assert published.inserted == 3
    (asked,) = database.execute("SELECT HEX(s), HEX(x), json, CAST(uuid AS CHAR) FROM t WHERE i < 0")
    text = b"a\tb\nc\\d'e\"\r\x00\x1a%s"
    assert asked == (text.hex().upper(), bytes(range(256)).hex().upper(), '{"a": "\\n\\t\'"}', _UUID)
    (ends,) = database.execute(
        "SELECT HEX(s), HEX(x), u, d, n, day, CAST(at AS CHAR), CAST(utc AS CHAR) FROM t WHERE i > 0"
    )
    assert ends[:5] == ("水路😀\\N".encode().hex().upper(), b"\\N".hex().upper(), 2**64 - 1, 0.1, Decimal(1))
    assert ends[5:] == (date(9999, 12, 31), "9999-12-31 23:59:59.999999", "2100-01-01 00:00:00.000000")


_UUID = "00010203-0405-0607-0809-0a0b0c0d0e0f"


def test_more_rows_than_one_statement_takes_come_in_whole(database: Database, way_in: str) -> None:
    rows = pa.table({"id": range(30_000), "text": ["水" * 50] * 30_000})
    assert database.load(rows, REPLACE).inserted == 30_000
    assert database.execute("SELECT COUNT(DISTINCT id), SUM(LENGTH(text)) FROM t") == [(30_000, 30_000 * 150)]


def test_a_server_that_takes_small_packets_alone_is_given_small_ones(database: Database, way_in: str) -> None:
    ((usual,),) = database.execute("SELECT @@GLOBAL.max_allowed_packet")
    database.execute("SET GLOBAL max_allowed_packet = 65536")
    try:
        rows = pa.table({"id": range(20_000), "text": ["水" * 20] * 20_000})
        assert database.load(rows, REPLACE).inserted == 20_000
    finally:
        database.execute(f"SET GLOBAL max_allowed_packet = {usual}")
    assert database.execute("SELECT SUM(LENGTH(text)) FROM t") == [(20_000 * 60,)]


def test_a_server_that_asks_for_a_file_of_this_machine_never_gets_one(database: Database) -> None:
    database.execute("CREATE TABLE t (line TEXT)")
    session = LoadingSession(database.config, database.context())
    with pytest.raises(ConfigError, match="never gets"):
        session.run("LOAD DATA LOCAL INFILE '/etc/hostname' INTO TABLE t")
    session.close()
    assert database.execute("SELECT COUNT(*) FROM t") == [(0,)]


def finite(width: Literal[32, 64]) -> st.SearchStrategy[float]:
    """Floats but for those that the server lacks."""
    return st.floats(width=width, allow_nan=False, allow_infinity=False).map(lambda value: value or 0.0)


VALUES: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    "i": (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    "u": (pa.uint64(), st.integers(0, 2**64 - 1)),
    "b": (pa.bool_(), st.booleans()),
    "f": (pa.float32(), finite(32)),
    "d": (pa.float64(), finite(64)),
    "n": (pa.decimal128(38, 10), st.integers(-(10**38) + 1, 10**38 - 1)),
    "w": (pa.decimal256(65, 30), st.integers(-(10**65) + 1, 10**65 - 1)),
    "s": (pa.string(), st.text(st.characters(exclude_categories=["Cs"]))),
    "x": (pa.binary(), st.binary()),
    "day": (pa.date32(), st.integers(-719_162, 2_932_896)),
    "at": (pa.timestamp("us"), st.integers(-62135596800_000_000, 253402300799_999_999)),
    "utc": (pa.timestamp("us", "UTC"), st.integers(-62135596800_000_000, 253402300799_999_999)),
    "clock": (pa.time64("us"), st.integers(0, 86_400_000_000)),
}


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    """A few rows with a column of every type."""
    size, columns = draw(st.integers(1, 5)), {}
    for name, (type_, some) in VALUES.items():
        found = [draw(st.none() | some) for _ in range(size)]
        if pa.types.is_decimal(type_):
            found = [None if v is None else Decimal(v).scaleb(-type_.scale, Context(prec=80)) for v in found]
        if pa.types.is_temporal(type_):
            width = pa.int32() if pa.types.is_date32(type_) else pa.int64()
            columns[name] = pa.array(found, width).cast(type_)
        else:
            columns[name] = pa.array(found, type_)
    return pa.table(columns)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(tables())
def test_the_server_adds_up_every_type_exactly(database: Database, rows: pa.Table) -> None:
    """`load` expects what the rows add up to, so a figure that differs is refused."""
    wanted = summarise(rows.to_batches())
    found = database.load(rows, REPLACE).found
    for name, mine in wanted.columns.items():
        theirs = found.columns[name]
        assert (mine.values, mine.measure, mine.total) == (theirs.values, theirs.measure, theirs.total), name


@pytest.mark.parametrize(
    ("column", "says"),
    [
        (pa.array([float("nan")]), "NaN"),
        (pa.array([-0.0], pa.float32()), "-0.0"),
        (pa.array([-719163], pa.date32()), "years 1 to 9999"),
        (pa.array([253402300800_000_000], pa.timestamp("us")), "years 1 to 9999"),
        (pa.array([1], pa.timestamp("ns")), "microseconds"),
    ],
)
def test_what_the_server_would_change_is_refused_by_its_column(database: Database, column: pa.Array, says: str) -> None:
    with pytest.raises(DataError, match=f"column odd .*{says}"):
        database.load(pa.table({"odd": column}))
    assert database.execute("SHOW TABLES LIKE 't'") == []


def test_rows_wider_than_the_server_takes_are_refused_in_one_sentence(database: Database) -> None:
    wide = pa.table({f"c{n}": [Decimal("1" * 38)] for n in range(900)})
    with pytest.raises(SchemaConflict, match="Row size too large"):
        database.load(wide)
    with pytest.raises(ConfigError, match="ends with a space"):
        database.load(pa.table({"tail ": [1]}))


# --- tables of other people -------------------------------------------------------------------------------------------


def test_rows_that_other_tables_point_to_are_changed_in_place(database: Database) -> None:
    database.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, name TEXT)")
    database.execute("INSERT INTO t VALUES (1, 'a'), (2, 'b')")
    database.execute("CREATE TABLE child (t BIGINT, FOREIGN KEY (t) REFERENCES t (id) ON DELETE CASCADE)")
    database.execute("INSERT INTO child VALUES (1)")
    database.load(people((1, "z"), (3, "c")), REPLACE)
    assert database.execute("SELECT * FROM t ORDER BY id") == [(1, "z"), (3, "c")]
    assert database.execute("SELECT * FROM child") == [(1,)]


def test_a_table_that_suiro_did_not_make_stays_and_is_emptied_and_filled(database: Database) -> None:
    database.execute("CREATE TABLE t (extra INT DEFAULT 7, id INT, name VARCHAR(3), KEY (name))")
    database.execute("INSERT INTO t VALUES (1, 1, 'old')")
    published = database.load(people((2, "new"), (3, "more")), REPLACE)
    assert (published.inserted, published.removed) == (2, 1)
    assert database.execute("SELECT extra, id, name FROM t ORDER BY id") == [(7, 2, "new"), (7, 3, "more")]
    (line,) = database.execute("SHOW CREATE TABLE t")
    assert "`extra` int(11) DEFAULT 7" in line[1] and "KEY `name`" in line[1] and "bigint" in line[1]


def test_a_trigger_on_a_table_of_suiros_keeps_it_from_being_swapped(database: Database) -> None:
    database.load(people((1, "a")), REPLACE)
    database.execute("CREATE TRIGGER shout BEFORE INSERT ON t FOR EACH ROW SET NEW.name = UPPER(NEW.name)")
    published = database.load(people((2, "b")), REPLACE)
    assert published.notes == ("t was emptied and filled, not made anew: trigger shout depends on it.",)
    assert database.execute("SELECT * FROM t") == [(2, "B")]


def test_views_indexes_comments_and_defaults_outlive_a_swap(database: Database) -> None:
    database.load(people((1, "a")), REPLACE)
    database.execute("CREATE VIEW v AS SELECT name FROM t")
    database.execute("ALTER TABLE t ADD COLUMN note VARCHAR(9) DEFAULT 'x' COMMENT 'mine', ADD INDEX by_id (id)")
    (mark,) = database.execute("SELECT TABLE_COMMENT FROM information_schema.TABLES WHERE TABLE_NAME = 't'")
    database.execute(f"ALTER TABLE t COMMENT='Our people. {mark[0].removeprefix('Loaded by Suiro. ')}'")
    assert database.load(people((2, "b")), REPLACE).notes == ()
    assert database.execute("SELECT name FROM v") == [("b",)]
    (line,) = database.execute("SHOW CREATE TABLE t")
    for kept in ("KEY `by_id` (`id`)", "DEFAULT 'x' COMMENT 'mine'", "Our people. [suiro:"):
        assert kept in line[1]
    assert database.execute("SELECT note FROM t") == [("x",)]


def test_the_history_of_a_versioned_table_outlives_a_replace(database: Database) -> None:
    database.load(people((1, "a")), REPLACE)
    database.execute("ALTER TABLE t ADD SYSTEM VERSIONING")
    assert "history" in database.load(people((2, "b")), REPLACE, position=1).notes[0]
    assert database.execute("SELECT id, name FROM t FOR SYSTEM_TIME ALL ORDER BY id") == [(1, "a"), (2, "b")]


@pytest.mark.parametrize("spec", [APPEND, REPLACE, WriteSpec(mode=WriteMode.REPLACE, replace=Replace.TRUNCATE)])
def test_text_that_comes_longer_makes_its_column_longer(database: Database, spec: WriteSpec) -> None:
    def words_of(length: int) -> pa.Table:
        return pa.table({"word": ["水" * length]}).cast(
            pa.schema([logical_field("word", pa.string(), f"varchar({length})")])
        )

    database.load(words_of(3), spec)
    database.load(words_of(5), spec, position=1)
    assert ("水" * 5,) in database.execute("SELECT word FROM t")


def test_no_column_of_a_users_table_loses_what_comes(database: Database) -> None:
    """Fractions of seconds, and spaces at the end, which the server cuts off without a word."""
    database.execute("CREATE TABLE t (at DATETIME, clock TIME(3), code CHAR(5), name VARCHAR(5), f DOUBLE)")
    moment, clock = pa.array([1], pa.timestamp("us")), pa.array([time(1, 2, 3, 4)], pa.time64("us"))
    columns = {"at": moment, "clock": clock, "code": ["ab "], "name": ["abcde  "], "f": [0.1]}
    database.load(pa.table(columns))
    (found,) = database.execute("SELECT CAST(at AS CHAR), CAST(clock AS CHAR), code, name, f FROM t")
    assert found == ("1970-01-01 00:00:00.000001", "01:02:03.000004", "ab ", "abcde  ", 0.1)
    database.execute("CREATE TABLE whole (at DATETIME)")
    database.load(pa.table({"at": pa.array([10**6], pa.timestamp("us"))}), name="whole")
    assert database.execute("SHOW COLUMNS FROM whole")[0][1] == "datetime"
    database.execute("CREATE TABLE rounded (f DOUBLE(10,2))")
    with pytest.raises(SchemaConflict, match="double"):
        database.load(pa.table({"f": [0.123]}), name="rounded")
    database.execute("CREATE TABLE short (word VARCHAR(3) PRIMARY KEY, n BIGINT)")
    with pytest.raises(DataError, match="column word of short"):
        database.load(words(("abc ", 1)), merge("word"), name="short")


def test_truncate_is_done_where_it_is_asked_for(database: Database) -> None:
    database.load(people((1, "a")), REPLACE)
    (before,) = database.execute("SELECT TABLE_COMMENT FROM information_schema.TABLES WHERE TABLE_NAME = 't'")
    database.load(people((2, "b")), WriteSpec(mode=WriteMode.REPLACE, replace=Replace.TRUNCATE))
    assert database.execute("SELECT TABLE_COMMENT FROM information_schema.TABLES WHERE TABLE_NAME = 't'") == [before]
    assert database.execute("SELECT * FROM t") == [(2, "b")]


def test_tables_without_transactions_generated_columns_and_views_are_refused(database: Database) -> None:
    database.execute("CREATE TABLE t (id BIGINT, name TEXT) ENGINE=MyISAM")
    with pytest.raises(SchemaConflict, match="MyISAM"):
        database.load(people((1, "a")))
    database.execute("CREATE TABLE g (id BIGINT, name TEXT AS (CONCAT('n', id)))")
    with pytest.raises(SchemaConflict, match="name of g is generated"):
        database.load(people((1, "a")), name="g")
    database.execute("CREATE VIEW v AS SELECT * FROM t")
    with pytest.raises(ConfigError, match="v is a view"):
        database.load(people((1, "a")), name="v")


def test_columns_are_inspected_as_they_can_be_staged(database: Database) -> None:
    database.execute(
        "CREATE TABLE t (a SMALLINT(1), b DECIMAL(50,3), c CHAR(3), d ENUM('X','y'), e TIMESTAMP(3), f BIT, "
        "g INT UNSIGNED, h JSON, i BINARY(4), j MEDIUMINT ZEROFILL, k GEOMETRY, l INT AS (1), m TINYINT(1), n TIME, "
        "o UUID)"
    )
    to = database.open()
    found = to.inspect("t")
    to.close()
    assert found is not None
    expected = {"a": pa.int16(), "b": pa.decimal256(50, 3), "c": pa.string(), "d": pa.string(), "f": pa.bool_()}
    expected |= {"e": pa.timestamp("us", "UTC"), "g": pa.uint32(), "h": pa.json_(), "i": pa.binary(4), "j": pa.uint32()}
    expected |= {"m": pa.bool_(), "n": pa.time64("us"), "o": pa.uuid()}
    assert dict(zip(found.schema.names, found.schema.types, strict=True)) == expected
    assert found.schema.field("d").metadata == {b"suiro.type": b"mysql enum('X','y')"}


# --- keys -------------------------------------------------------------------------------------------------------------

WORDS = pa.schema([("word", pa.string()), ("n", pa.int64())])


def words(*rows: tuple[str, int]) -> pa.Table:
    return pa.table([[row[0] for row in rows], [row[1] for row in rows]], schema=WORDS)


def test_keys_that_differ_by_case_accent_or_trailing_space_are_rows_of_their_own(database: Database) -> None:
    every = [("a", 1), ("A", 2), ("a ", 3), ("a  ", 4), ("á", 5), ("", 6), (" ", 7)]
    assert database.load(words(*every), merge("word")).inserted == 7
    published = database.load(words(*[(word, n + (word == "a ")) for word, n in every]), merge("word"), position=1)
    assert (published.updated, published.unchanged) == (1, 6)
    assert database.execute("SELECT COUNT(*), SUM(n) FROM t") == [(7, 29)]


@pytest.mark.parametrize("column", ["VARCHAR(20) COLLATE utf8mb4_general_ci", "VARCHAR(20) CHARACTER SET latin1"])
def test_a_key_that_the_table_compares_more_loosely_never_meets_another_row(database: Database, column: str) -> None:
    database.execute(f"CREATE TABLE t (word {column} PRIMARY KEY, n BIGINT)")
    database.execute("INSERT INTO t VALUES ('a', 1), ('b', 2)")
    published = database.load(words(("a", 10), ("b", 2), ("é", 3)), merge("word"))
    assert (published.inserted, published.updated, published.unchanged) == (1, 1, 1)
    with pytest.raises(DataError):
        database.load(words(("A", 99)), merge("word"), position=1)
    assert database.execute("SELECT word, n FROM t ORDER BY n") == [("b", 2), ("é", 3), ("a", 10)]


def test_another_unique_key_of_the_table_never_chooses_the_row(database: Database) -> None:
    database.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, name VARCHAR(20) UNIQUE)")
    database.execute("INSERT INTO t VALUES (1, 'a')")
    with pytest.raises(DataError):
        database.load(people((2, "a")), merge("id"))
    assert database.execute("SELECT * FROM t") == [(1, "a")]
    assert database.load(people((1, "b")), merge("id")).updated == 1


def test_a_merge_into_a_table_without_a_unique_key_leaves_one_row_for_each_key(database: Database) -> None:
    database.execute("CREATE TABLE t (id BIGINT, name TEXT)")
    database.execute("INSERT INTO t VALUES (1, 'a'), (1, 'a'), (2, 'b'), (NULL, 'n')")
    published = database.load(people((1, "z"), (2, "b"), (3, "c")), merge("id"))
    assert (published.inserted, published.updated, published.unchanged, published.removed) == (1, 1, 1, 1)
    assert sorted(database.execute("SELECT name FROM t")) == [("b",), ("c",), ("n",), ("z",)]


def test_rows_that_a_large_table_holds_already_are_left_out_without_comparing_each_with_each(
    database: Database,
) -> None:
    database.execute("CREATE TABLE t (id BIGINT, name TEXT)")
    database.execute("INSERT INTO t SELECT seq, CONCAT('n', seq) FROM seq_1_to_100000")
    database.execute("INSERT INTO t VALUES (NULL, 'none'), (7, NULL)")
    rows = people(*((n, f"n{n}") for n in range(90_001, 110_001)), (None, "none"), (7, None), (8, None))
    published = database.load(rows, WriteSpec(mode=WriteMode.APPEND, skip_existing=("id", "name")))
    assert (published.inserted, published.superseded) == (10_001, 10_002)


def test_an_append_of_suiros_is_merged_by_a_key_that_it_then_gets(database: Database) -> None:
    database.load(people((1, "a"), (2, "b")))
    assert database.load(people((2, "z"), (3, "c")), merge("id"), position=1).updated == 1
    assert database.execute("SELECT COLUMN_NAME FROM information_schema.STATISTICS WHERE TABLE_NAME = 't'") == [("id",)]
    assert database.execute("SELECT * FROM t ORDER BY id") == [(1, "a"), (2, "z"), (3, "c")]


def test_a_table_that_is_all_key_is_merged_into(database: Database) -> None:
    links = pa.schema([("post", pa.int32()), ("tag", pa.string())])

    def rows(*pairs: tuple[int, str]) -> pa.Table:
        return pa.Table.from_pylist([{"post": post, "tag": tag} for post, tag in pairs], links)

    first = database.load(rows((1, "a"), (1, "b"), (1, "b")), merge("post", "tag"))
    assert (first.inserted, first.updated, first.unchanged, first.superseded) == (2, 0, 0, 1)
    again = database.load(rows((1, "b"), (2, "a")), merge("post", "tag"), position=1)
    assert (again.inserted, again.updated, again.unchanged, again.superseded) == (1, 0, 1, 0)
    assert database.execute("SELECT * FROM t ORDER BY post, tag") == [(1, "a"), (1, "b"), (2, "a")]


def test_rows_with_one_key_cannot_all_replace_a_table(database: Database) -> None:
    with pytest.raises(DataError, match="Duplicate entry"):
        database.load(people((1, "a"), (1, "b")), WriteSpec(mode=WriteMode.REPLACE, key=("id",)))
    assert database.execute("SHOW TABLES LIKE 't'") == []


# --- privileges -------------------------------------------------------------------------------------------------------


def as_user(database: Database, *grants: str) -> None:
    name, password = f"u{secrets.token_hex(5)}", secrets.token_hex(8)
    database.execute(f"CREATE USER {name}@'%' IDENTIFIED BY '{password}'")
    for grant in grants:
        database.execute(f"GRANT {grant} ON {database.name}.* TO {name}@'%'")
    database.user = {"user": name, "password": password}


def test_few_privileges_are_enough_and_what_is_missing_is_named(database: Database) -> None:
    as_user(database, "SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, DROP")
    to = database.open()
    to.check()
    to.close()
    database.load(people((1, "a")), REPLACE)
    published = database.load(people((2, "b")), REPLACE, position=1)
    assert "lacks the privilege TRIGGER" in published.notes[0]
    database.load(people((2, "c"), (3, "d")), merge("id"), position=2)
    assert database.execute("SELECT * FROM t ORDER BY id") == [(2, "c"), (3, "d")]


def test_with_a_database_for_markers_a_table_is_loaded_by_who_may_only_insert(database: Database) -> None:
    database.execute("CREATE TABLE t (id BIGINT, name TEXT)")
    own = f"{database.name}_suiro"
    database.execute(f"CREATE DATABASE {own}")
    try:
        as_user(database, "SELECT, INSERT")
        grants = "SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, DROP"
        database.execute(f"GRANT {grants} ON {own}.* TO {database.user['user']}@'%'")
        database.user["suiro_database"] = own
        to = database.open()
        to.check()
        to.close()
        database.load(people((1, "a")))
        database.load(people((2, "b")), position=1)
        assert database.execute("SELECT * FROM t ORDER BY id") == [(1, "a"), (2, "b")]
        assert database.execute("SHOW TABLES") == [("t",)]
        assert database.execute(f"SHOW TABLES FROM {own}") == [("_suiro_markers",)]
    finally:
        database.execute(f"DROP DATABASE {own}")


@pytest.mark.parametrize("missing", ["INSERT", "CREATE", "ALTER", "DROP"])
def test_a_privilege_that_is_missing_is_named(database: Database, missing: str) -> None:
    every = ["SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "ALTER", "DROP"]
    as_user(database, ", ".join(one for one in every if one != missing))
    to = database.open()
    with pytest.raises(AuthError, match=missing):
        to.check()
    to.close()


def test_a_foreign_key_that_the_user_cannot_see_keeps_the_table_as_it_was(database: Database) -> None:
    database.load(people((1, "a")), merge("id"))
    other = f"{database.name}_other"
    database.execute(f"CREATE DATABASE {other}")
    try:
        database.execute(f"CREATE TABLE {other}.child (t BIGINT, FOREIGN KEY (t) REFERENCES {database.name}.t (id))")
        as_user(database, "ALL PRIVILEGES")
        with pytest.raises(SchemaConflict, match="can't see"):
            database.load(people((1, "z")), REPLACE, position=1)
        assert database.execute("SELECT * FROM t") == [(1, "a")]
        (line,) = database.execute(f"SHOW CREATE TABLE {other}.child")
        assert f"REFERENCES `{database.name}`.`t`" in line[1]
        to = database.open()
        assert to.claim(key_of("t"), "next").position == {"n": 0}
        to.close()
        assert database.execute("SHOW TABLES LIKE '\\_suiro\\_stage%'") == []
    finally:
        database.execute(f"DROP DATABASE {other}")


def test_a_merge_that_needs_temporary_tables_says_so(database: Database) -> None:
    database.execute("CREATE TABLE t (id BIGINT, name TEXT)")
    as_user(database, "SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, DROP")
    with pytest.raises(AuthError, match="CREATE TEMPORARY TABLES"):
        database.load(people((1, "a")), merge("id"))


# --- connections that break -------------------------------------------------------------------------------------------


def test_a_claim_that_was_lost_ends_a_long_staging_early(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("suiro.connectors.mysql.stage.BREATH", 0.0)
    to = database.open()
    claim = to.claim(key_of("t"), "slow")
    rows = people((1, "a"))
    with pytest.raises(ConnectionLost), to.stage(Table(name="t", schema=rows.schema), APPEND, claim) as opened:
        opened.write(rows.to_batches()[0])
        database.server.execute(f"KILL CONNECTION {to._session.id}")
        opened.write(rows.to_batches()[0])
    to.close()
    assert database.load(rows).inserted == 1
    assert database.execute("SHOW TABLES LIKE '\\_suiro\\_stage%'") == []


@pytest.mark.parametrize("spec", [APPEND, REPLACE, merge("id")], ids=["append", "replace", "merge"])
def test_a_connection_lost_before_any_statement_loses_and_doubles_nothing(
    database: Database, spec: WriteSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server really ends the session, each time before another statement; a run that tries again then succeeds."""
    old = people((1, "a"), (2, "b"))
    new = pa.table({"id": [2, 3], "name": ["b", "c"], "city": ["大阪", None]})
    send, fatal, count, lost = Connection._execute_command, 0, 0, 0

    def sending(self: Any, *arguments: Any) -> None:
        nonlocal count
        if b"suiro" in str(self._connect_attrs).encode():
            count += 1
            if count == fatal:
                database.server.execute(f"KILL CONNECTION {self.thread_id()}")
        send(self, *arguments)

    monkeypatch.setattr(Connection, "_execute_command", sending)
    for step in range(1, 400, 3):
        name = f"t{step}"
        database.load(old, spec, name)
        fatal, count = step, 0
        try:
            database.load(new, spec, name, position=1)
            survived = True
        except ConnectionLost:
            survived = False
            lost += 1
        fatal = 0
        to = database.open()
        claim = to.claim(key_of(name), to.context.run)
        assert claim.position in ({"n": 0}, {"n": 1})
        if claim.position == {"n": 0}:
            to.publish([stage(to, name, new, spec, claim)], [Marker(key=claim.key, position={"n": 1})], None)
        to.close()
        found = database.execute(f"SELECT id, name, city FROM {name} ORDER BY id, city")
        wanted = [(2, "b", "大阪"), (3, "c", None)]
        if spec is APPEND:
            wanted = [(1, "a", None), (2, "b", None), *wanted]
        elif spec is not REPLACE:
            wanted = [(1, "a", None), *wanted]
        assert found == wanted, step
        if survived:
            break
    assert lost > 8
    assert database.execute("SHOW TABLES LIKE '\\_suiro\\_stage%'") == []
