"""Tests of the SQLite connector: the conformance suites, and what is SQLite's own."""

from __future__ import annotations

import decimal
import sqlite3
import tempfile
import threading
from contextlib import closing
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carrying import APPEND, REPLACE, carry, context, destination, key_of, merge, read, source, stage
from suiro.connectors.sqlite import SqliteConfig, SqliteDestination, SqliteSource, catalog, connector, values
from suiro.connectors.sqlite.session import SqliteSession
from suiro.model.errors import Cancelled, ConfigError, DataError, SchemaConflict, TransientError
from suiro.model.naming import split_name
from suiro.model.schema import ReadMode
from suiro.model.selection import Selection
from suiro.testing.cells import cells, decoded
from suiro.testing.context import LocalContext
from suiro.testing.destination_suite import DestinationSuite
from suiro.testing.source_suite import SourceSuite

if TYPE_CHECKING:
    from collections.abc import Sequence


def quoted(name: str) -> str:
    return '"' + split_name(name)[-1].replace('"', '""') + '"'


class TestSqliteDestination(DestinationSuite):
    """The promises of a destination."""

    @property
    def file(self) -> Path:
        return self.folder / "d.db"

    def make(self) -> SqliteDestination:
        return SqliteDestination(SqliteConfig(path=str(self.file)), self.context())

    def read(self, table: str) -> pa.Table | None:
        if not self.file.exists():
            return None
        with closing(sqlite3.connect(self.file)) as db:
            try:
                cursor = db.execute(f"SELECT * FROM {quoted(table)}")
            except sqlite3.OperationalError:
                return None
            names = [item[0] for item in cursor.description]
            rows = cursor.fetchall()
        columns = list(zip(*rows, strict=True)) or [()] * len(names)
        return pa.table([pa.array(column) for column in columns], names=names)

    def drop(self, table: str) -> None:
        with closing(sqlite3.connect(self.file)) as db:
            db.execute(f"DROP TABLE IF EXISTS {quoted(table)}")

    def leftovers(self) -> Sequence[str]:
        return sorted(path.name for path in self.folder.glob("*.suiro/*.arrow"))

    def lose_lease(self, destination: Any) -> None:
        for lease in destination._leases.values():
            lease.release()

    def decode(self, column: pa.ChunkedArray, field: pa.Field) -> pa.ChunkedArray:
        if pa.types.is_temporal(field.type) or pa.types.is_boolean(field.type):
            return pa.chunked_array([values.decode(column.to_pylist(), field)])
        if pa.types.is_null(column.type):
            return pa.chunked_array([pa.nulls(len(column), field.type)])
        return decoded(column, field)


class TestSqliteSource(SourceSuite):
    """The promises of a source."""

    def prepare(self, folder: Path) -> None:
        super().prepare(folder)
        sqlite3.connect(folder / "s.db").close()

    def make(self) -> SqliteSource:
        return SqliteSource(SqliteConfig(path=str(self.folder / "s.db")), self.context())

    def fill(self, name: str, rows: pa.Table, key: tuple[str, ...]) -> None:
        types = {field.name: values.type_name(field) for field in rows.schema}
        with closing(sqlite3.connect(self.folder / "s.db")) as db:
            db.execute(f"DROP TABLE IF EXISTS {quoted(name)}")
            db.execute(catalog.create_sql(split_name(name)[-1], types, key))
        self.add(name, rows)

    def add(self, name: str, rows: pa.Table) -> None:
        with closing(sqlite3.connect(self.folder / "s.db")) as db, db:
            for batch in rows.to_batches():
                marks = ", ".join("?" * batch.num_columns)
                encoded = zip(*(values.encode(column) for column in batch.columns), strict=True)
                db.executemany(f"INSERT INTO {quoted(name)} VALUES ({marks})", encoded)


# --- values -----------------------------------------------------------------------------------------------------------

ANY_INT64 = st.integers(-(2**63), 2**63 - 1)
PLAIN_FLOATS = st.floats(allow_nan=False)


def digits(precision: int, scale: int) -> st.SearchStrategy[Decimal]:
    return st.integers(-(10**precision) + 1, 10**precision - 1).map(lambda n: Decimal(n).scaleb(-scale, CONTEXT))


CONTEXT = decimal.Context(prec=100)
TYPES: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    "bool": (pa.bool_(), st.booleans()),
    "int8": (pa.int8(), st.integers(-(2**7), 2**7 - 1)),
    "int16": (pa.int16(), st.integers(-(2**15), 2**15 - 1)),
    "int32": (pa.int32(), st.integers(-(2**31), 2**31 - 1)),
    "int64": (pa.int64(), ANY_INT64),
    "uint8": (pa.uint8(), st.integers(0, 2**8 - 1)),
    "uint16": (pa.uint16(), st.integers(0, 2**16 - 1)),
    "uint32": (pa.uint32(), st.integers(0, 2**32 - 1)),
    "uint64": (pa.uint64(), st.integers(0, 2**63 - 1)),
    "float32": (pa.float32(), st.floats(width=32, allow_nan=False)),
    "float64": (pa.float64(), PLAIN_FLOATS),
    "decimal": (pa.decimal128(38, 10), digits(38, 10)),
    "tiny decimal": (pa.decimal128(38, 38), digits(38, 38)),
    "wide decimal": (pa.decimal256(76, 40), digits(76, 40)),
    "text": (pa.string(), st.text(st.characters(exclude_categories=["Cs"]))),
    "bytes": (pa.binary(), st.binary()),
    "fixed bytes": (pa.binary(3), st.binary(min_size=3, max_size=3)),
    "date": (pa.date32(), st.integers(-(2**31) + 1, 2**31 - 1)),
    "timestamp": (pa.timestamp("us"), st.integers(-(2**63) + 1, 2**63 - 1)),
    "timestamptz": (pa.timestamp("us", "UTC"), st.integers(-(2**63) + 1, 2**63 - 1)),
    "time": (pa.time64("us"), st.integers(0, 86_400_000_000)),
    "uuid": (pa.uuid(), st.binary(min_size=16, max_size=16)),
    "json": (pa.json_(), st.sampled_from(["null", '{"a": 1.10}', '"水"', "[1e400]"])),
}


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    """A table with a column of every type."""
    size = draw(st.integers(0, 4))
    columns = {}
    for name, (type_, some) in TYPES.items():
        given_ = [draw(st.none() | some) for _ in range(size)]
        inner = type_.storage_type if isinstance(type_, pa.BaseExtensionType) else type_
        if pa.types.is_temporal(inner):
            plain = pa.array(given_, pa.int32() if pa.types.is_date32(inner) else pa.int64()).view(inner)
        else:
            plain = pa.array(given_, inner)
        columns[name] = pa.ExtensionArray.from_storage(type_, plain) if inner != type_ else plain
    return pa.table(columns)


@given(tables())
def test_every_value_of_every_type_comes_back_and_goes_on_unchanged(rows: pa.Table) -> None:
    """Source to destination to source, twice: the second file is made from what the first one's source told."""
    with tempfile.TemporaryDirectory() as folder:
        one, other = Path(folder) / "one.db", Path(folder) / "other.db"
        carry(connector, one, rows)
        first = read(connector, one)
        assert first.schema.types == rows.schema.types
        assert cells(first) == cells(rows)
        carry(connector, other, first)
        second = read(connector, other)
        assert second.schema.equals(first.schema, check_metadata=True)
        assert cells(second) == cells(rows)


@pytest.mark.parametrize(
    ("column", "says"),
    [
        (pa.array([float("nan")]), "NaN"),
        (pa.array([2**63], pa.uint64()), "9223372036854775807"),
        (pa.array([1], pa.timestamp("ns")), "microseconds"),
    ],
)
def test_what_sqlite_would_change_is_refused_by_its_column(tmp_path: Path, column: pa.Array, says: str) -> None:
    with pytest.raises(DataError, match=f"column odd .*{says}"):
        carry(connector, tmp_path / "t.db", pa.table({"odd": column}))
    assert "t" not in [stream.name for stream in source(connector, tmp_path / "t.db").discover()]


# --- files of other programs ------------------------------------------------------------------------------------------


def made(file: Path, *statements: str) -> Path:
    with closing(sqlite3.connect(file)) as db:
        for statement in statements:
            db.executescript(statement)
    return file


def asked(file: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(file)) as db:
        return db.execute(sql).fetchall()


def test_columns_of_other_programs_have_the_type_of_what_they_hold(tmp_path: Path) -> None:
    file = made(
        tmp_path / "f.db",
        "CREATE TABLE t (i INT, r REAL, s VARCHAR(5), b BLOB, n NUMERIC, flag BOOLEAN, d DATETIME, untyped)",
        "INSERT INTO t VALUES (9223372036854775807, -0.5, 'too long for it', x'00ff', 1, 1, '2024-02-29 12:00', 1.5)",
        "INSERT INTO t VALUES (NULL, NULL, NULL, NULL, 0.5, 0, NULL, NULL)",
    )
    found = read(connector, file)
    assert dict(zip(found.schema.names, found.schema.types, strict=True)) == {
        "i": pa.int64(),
        "r": pa.float64(),
        "s": pa.string(),
        "b": pa.binary(),
        "n": pa.float64(),
        "flag": pa.bool_(),
        "d": pa.string(),
        "untyped": pa.float64(),
    }
    assert found.to_pylist()[0] == {
        "i": 2**63 - 1, "r": -0.5, "s": "too long for it", "b": b"\x00\xff",
        "n": 1.0, "flag": True, "d": "2024-02-29 12:00", "untyped": 1.5,
    }  # fmt: skip


def test_values_of_several_kinds_in_one_column_travel_as_json_and_say_so(tmp_path: Path) -> None:
    file = made(
        tmp_path / "f.db",
        "CREATE TABLE t (m, n NUMERIC)",
        "INSERT INTO t VALUES (1, 9007199254740993), ('1', 0.1), (0.1, 1), (x'0a', 1), (NULL, 1)",
    )
    found = read(connector, file)
    assert found.column("m").to_pylist() == ["1", '"1"', "0.1", '{"blob": "0a"}', None]
    assert found.column("n").to_pylist() == ["9007199254740993", "0.1", "1", "1", "1"]
    (stream,) = source(connector, file).discover()
    assert stream.notes == ("Columns with values of several kinds travel as JSON: m, n.",)


def test_a_flag_column_with_another_number_is_a_number(tmp_path: Path) -> None:
    file = made(tmp_path / "f.db", "CREATE TABLE t (flag BOOLEAN)", "INSERT INTO t VALUES (0), (2)")
    assert read(connector, file).column("flag").to_pylist() == [0, 2]


def test_text_that_is_not_utf8_is_refused_by_its_column_without_the_text(tmp_path: Path) -> None:
    file = made(tmp_path / "f.db", "CREATE TABLE t (secret TEXT)", "INSERT INTO t VALUES (CAST(x'73ff73' AS TEXT))")
    with pytest.raises(DataError, match="column secret holds text that isn't UTF-8") as refused:
        read(connector, file)
    assert "s\xff" not in str(refused.value) and "s�" not in str(refused.value)


def test_a_column_changed_since_discovery_is_refused(tmp_path: Path) -> None:
    file = made(tmp_path / "f.db", "CREATE TABLE t (n INT)", "INSERT INTO t VALUES (1)")
    reader = source(connector, file)
    selection = Selection(stream=reader.find("t"), columns=("n",))
    made(file, "INSERT INTO t VALUES ('two')")
    with pytest.raises(DataError, match="column n holds values that are no int64"):
        list(reader.read(reader.plan([selection])[0], None))


def test_views_generated_columns_and_tables_of_every_kind_are_streams(tmp_path: Path) -> None:
    file = made(
        tmp_path / "f.db",
        "CREATE TABLE strict_one (id INTEGER PRIMARY KEY AUTOINCREMENT, v ANY) STRICT",
        "CREATE TABLE no_rowid (a TEXT, b INT, g INT GENERATED ALWAYS AS (b * 2), PRIMARY KEY (b, a)) WITHOUT ROWID",
        "CREATE VIEW both AS SELECT a, v FROM strict_one, no_rowid",
        "CREATE VIEW broken AS SELECT * FROM nowhere",
        "INSERT INTO strict_one (v) VALUES ('x')",
        "INSERT INTO no_rowid (a, b) VALUES ('k', 21)",
    )
    streams = {stream.name: stream for stream in source(connector, file).discover()}
    assert set(streams) == {"strict_one", "no_rowid", "both"}
    assert streams["strict_one"].primary_key == ("id",)
    assert streams["no_rowid"].primary_key == ("b", "a")
    assert read(connector, file, "no_rowid").to_pylist() == [{"a": "k", "b": 21, "g": 42}]
    assert read(connector, file, "both").to_pylist() == [{"a": "k", "v": "x"}]


def test_text_is_followed_as_a_cursor_by_its_bytes(tmp_path: Path) -> None:
    file = made(
        tmp_path / "f.db",
        "CREATE TABLE t (at TEXT COLLATE NOCASE)",
        "INSERT INTO t VALUES ('2024-01-01T00:00:00'), ('2024-01-02T00:00:00')",
    )
    reader = source(connector, file)
    selection = Selection(stream=reader.find("t"), columns=("at",), read_mode=ReadMode.INCREMENTAL, cursor_field="at")
    (part,) = reader.plan([selection])
    *_, last = reader.read(part, None)
    made(file, "INSERT INTO t VALUES ('2024-01-02T00:00:00'), ('2024-01-02t00:00:00'), ('2024-01-01T09:00:00')")
    rows, _ = reader.read(part, last.position)
    assert rows.data.to_pylist() == [{"at": "2024-01-02T00:00:00"}, {"at": "2024-01-02t00:00:00"}]
    assert rows.deduplicated == 1


@pytest.mark.parametrize(
    "where",
    ["v = 1) OR (1 = 1", "v = 'x", "v = 1; DROP TABLE t", "v = 1 -- and more", "v = 1 /* and", "", "nope = 1", "v ="],
)
def test_a_condition_that_is_none_is_refused(tmp_path: Path, where: str) -> None:
    file = made(tmp_path / "f.db", "CREATE TABLE t (v INT)")
    with pytest.raises(ConfigError, match="condition"):
        read(connector, file, where=where)


def test_a_look_back_window_of_the_wrong_kind_is_refused(tmp_path: Path) -> None:
    file = made(tmp_path / "f.db", "CREATE TABLE t (v INT)")
    with pytest.raises(ConfigError, match="doesn't suit the cursor v"):
        read(connector, file, read_mode=ReadMode.INCREMENTAL, cursor_field="v", look_back=timedelta(hours=1))


# --- tables of other programs -----------------------------------------------------------------------------------------

ROWS = pa.table({"id": pa.array([1, 2]), "v": ["a", "b"]})


def test_what_hangs_on_a_table_survives_its_replacement(tmp_path: Path) -> None:
    file = tmp_path / "t.db"
    carry(connector, file, ROWS)
    made(
        file,
        "CREATE INDEX i ON t (v)",
        "CREATE VIEW w AS SELECT id FROM t",
        "CREATE TABLE seen (id)",
        "CREATE TRIGGER tr AFTER INSERT ON t BEGIN INSERT INTO seen VALUES (new.id); END",
    )
    published = carry(connector, file, pa.table({"id": pa.array([7]), "v": ["z"]}))
    assert published.notes == ("t was emptied and filled, not made anew: index i, trigger tr, view w.",)
    assert asked(file, "SELECT * FROM w") == [(7,)]
    assert asked(file, "SELECT * FROM seen") == [(7,)]
    assert asked(file, "SELECT name FROM sqlite_master WHERE name IN ('i', 'tr', 'w') ORDER BY 1") == [
        ("i",), ("tr",), ("w",),
    ]  # fmt: skip


def test_a_table_of_another_program_keeps_its_shape_and_its_other_columns(tmp_path: Path) -> None:
    shape = "CREATE TABLE t (id INTEGER PRIMARY KEY, v VARCHAR(5) DEFAULT 'x', mine TEXT DEFAULT 'm')"
    file = made(tmp_path / "t.db", shape, "INSERT INTO t VALUES (1, 'old', 'kept'), (9, 'old', 'gone')")
    published = carry(connector, file, ROWS, merge("id"))
    assert (published.inserted, published.updated) == (1, 1)
    assert asked(file, "SELECT * FROM t ORDER BY 1") == [(1, "a", "kept"), (2, "b", "m"), (9, "old", "gone")]
    published = carry(connector, file, ROWS)
    assert (published.inserted, published.removed) == (2, 3)
    assert asked(file, "SELECT * FROM t ORDER BY 1") == [(1, "a", "m"), (2, "b", "m")]
    assert asked(file, "SELECT sql FROM sqlite_master WHERE name = 't'") == [(shape,)]


def test_several_rows_of_one_key_become_one(tmp_path: Path) -> None:
    file = made(
        tmp_path / "t.db", "CREATE TABLE t (id INT, v TEXT)", "INSERT INTO t VALUES (1, 'a'), (1, 'a'), (5, 'e')"
    )
    published = carry(connector, file, ROWS, merge("id"))
    assert (published.inserted, published.updated, published.removed) == (1, 1, 1)
    assert asked(file, "SELECT * FROM t ORDER BY 1") == [(1, "a"), (2, "b"), (5, "e")]


def test_several_rows_of_one_key_with_columns_of_their_own_are_a_conflict(tmp_path: Path) -> None:
    file = made(tmp_path / "t.db", "CREATE TABLE t (id INT, v TEXT, w)", "INSERT INTO t (id) VALUES (1), (1)")
    with pytest.raises(SchemaConflict, match="several rows with one key"):
        carry(connector, file, ROWS, merge("id"))
    assert asked(file, "SELECT count(*) FROM t") == [(2,)]


def test_a_unique_column_that_ignores_case_is_not_taken_for_the_key(tmp_path: Path) -> None:
    file = made(tmp_path / "t.db", "CREATE TABLE t (v TEXT COLLATE NOCASE UNIQUE)", "INSERT INTO t VALUES ('A')")
    with pytest.raises(DataError, match=r"UNIQUE constraint failed: t\.v"):
        carry(connector, file, pa.table({"v": ["a"]}), merge("v"))
    carry(connector, file, pa.table({"v": ["A"]}), merge("v"))
    assert asked(file, "SELECT * FROM t") == [("A",)]


@pytest.mark.parametrize(
    ("shape", "says"),
    [
        ("id INT UNIQUE, v TEXT", "UNIQUE constraint failed: t.id"),
        ("id INT, v TEXT CONSTRAINT short CHECK (length(v) < 2)", "CHECK constraint failed: short"),
        ("id INT, v TEXT, w TEXT NOT NULL", "NOT NULL constraint failed: t.w"),
    ],
)
def test_a_row_that_breaks_a_constraint_is_refused_without_its_values(tmp_path: Path, shape: str, says: str) -> None:
    file = made(tmp_path / "t.db", f"CREATE TABLE t ({shape})")
    rows = pa.table({"id": pa.array([77, 77]), "v": ["secret", "s"]})
    with pytest.raises(DataError) as refused:
        carry(connector, file, rows, APPEND)
    assert refused.value.message == f"the table refuses rows: {says}"
    assert asked(file, "SELECT count(*) FROM t") == [(0,)]


def test_generated_columns_and_views_are_not_written(tmp_path: Path) -> None:
    file = made(tmp_path / "t.db", "CREATE TABLE t (id INT, v TEXT AS (id || 'x'))", "CREATE VIEW w AS SELECT * FROM t")
    with pytest.raises(SchemaConflict, match="column v of t is generated"):
        carry(connector, file, ROWS, APPEND)
    with pytest.raises(ConfigError, match="w is a view"):
        carry(connector, file, ROWS, APPEND, table="w")
    carry(connector, file, ROWS.select(["id"]), APPEND)
    assert asked(file, "SELECT * FROM t") == [(1, "1x"), (2, "2x")]


def test_strict_tables_and_tables_without_rowid_are_merged_into(tmp_path: Path) -> None:
    file = made(
        tmp_path / "t.db",
        "CREATE TABLE t (v TEXT, id INT, PRIMARY KEY (id)) STRICT, WITHOUT ROWID",
        "INSERT INTO t VALUES ('old', 1)",
    )
    published = carry(connector, file, ROWS, merge("id"))
    assert (published.inserted, published.updated) == (1, 1)
    assert asked(file, "SELECT id, v FROM t") == [(1, "a"), (2, "b")]


def test_a_wider_type_keeps_the_key_the_indexes_and_the_views(tmp_path: Path) -> None:
    file = tmp_path / "t.db"
    carry(connector, file, pa.table({"id": pa.array([1], pa.int32()), "d": pa.array([Decimal("1.50")])}), merge("id"))
    made(file, "CREATE INDEX i ON t (d)", "CREATE VIEW w AS SELECT d FROM t")
    wide = pa.array([Decimal("2.25000")], pa.decimal128(20, 5))
    carry(connector, file, pa.table({"id": pa.array([2**40]), "d": wide}), merge("id"))
    assert asked(file, "SELECT id, d FROM t") == [(1, "1.50000"), (2**40, "2.25000")]
    assert asked(file, "SELECT * FROM w") == [("1.50000",), ("2.25000",)]
    assert asked(file, "SELECT name FROM sqlite_master WHERE name = 'i'") == [("i",)]
    same = carry(connector, file, pa.table({"id": pa.array([1]), "d": pa.array([Decimal("1.50000")])}), merge("id"))
    assert same.unchanged == 1


# --- files ------------------------------------------------------------------------------------------------------------


def test_readers_see_the_old_rows_until_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "t.db"
    carry(connector, file, ROWS)
    seen = []
    original = SqliteSession.commit

    def commit(session: SqliteSession) -> None:
        seen.extend(asked(file, "SELECT v FROM t ORDER BY 1"))
        original(session)

    to = destination(connector, file)
    claim = to.claim(key_of("t"), "r")
    staged = stage(to, "t", pa.table({"id": pa.array([3]), "v": ["c"]}), REPLACE, claim)
    monkeypatch.setattr(SqliteSession, "commit", commit)
    to.publish([staged], [], None)
    to.close()
    assert seen == [("a",), ("b",)]
    assert asked(file, "SELECT v FROM t") == [("c",)]


def test_a_file_that_another_program_writes_to_is_waited_for_and_then_named(tmp_path: Path) -> None:
    file = made(tmp_path / "t.db", "CREATE TABLE t (v)")
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        to = destination(connector, file, wait_seconds=0.1)
        with pytest.raises(TransientError, match=r"t\.db is locked by another program"):
            to.claim(key_of("t"), "r")
        to.close()
        assert list(tmp_path.glob("*.suiro")) == []
        assert read(connector, file).num_rows == 0


@pytest.mark.parametrize("verb", ["source", "destination"])
def test_a_file_that_is_no_database_is_named(tmp_path: Path, verb: str) -> None:
    file = tmp_path / "t.db"
    file.write_bytes(b"no database at all, but long enough to be looked at" * 100)
    side = source(connector, file) if verb == "source" else destination(connector, file)
    with pytest.raises(ConfigError, match=r"t\.db is no SQLite database"):
        side.check()


def test_a_missing_file_is_no_source_and_a_check_does_not_make_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no file"):
        source(connector, tmp_path / "t.db").check()
    destination(connector, tmp_path / "t.db").check()
    with pytest.raises(ConfigError, match="can't be made"):
        SqliteDestination(SqliteConfig(path=f"{tmp_path}/nowhere/t.db"), context(tmp_path / "t.db")).check()
    assert list(tmp_path.glob("*.db*")) == []


def test_a_run_that_ends_leaves_no_folder(tmp_path: Path) -> None:
    carry(connector, tmp_path / "t.db", ROWS)
    assert sorted(path.name for path in tmp_path.iterdir() if "work" not in path.name) == ["t.db"]


def test_a_cancelled_publish_leaves_the_table_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "t.db"
    carry(connector, file, ROWS)
    to = destination(connector, file)
    staged = stage(to, "t", ROWS, APPEND, to.claim(key_of("t"), "r"))
    assert isinstance(to.context, LocalContext)
    to.context.cancel()
    with pytest.raises(Cancelled):
        to.publish([staged], [], None)
    to.close()
    assert asked(file, "SELECT count(*) FROM t") == [(2,)]


def test_a_statement_under_way_is_interrupted(tmp_path: Path) -> None:
    file = made(tmp_path / "t.db", "CREATE TABLE t (v)")
    reader = source(connector, file)
    timer = threading.Timer(0.3, reader.context.cancel)
    timer.start()
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
    with pytest.raises(Cancelled):
        list(reader.query(endless))
    timer.join()


def test_names_with_a_schema_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="SQLite has no schemas"):
        carry(connector, tmp_path / "t.db", ROWS, table="a.b")


def test_a_file_is_the_same_system_however_its_path_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert SqliteConfig(path="t.db").identity() == f"sqlite:{tmp_path}/t.db"
    assert SqliteConfig(path=f"{tmp_path}/t.db", wait_seconds=1).identity() == f"sqlite:{tmp_path}/t.db"
