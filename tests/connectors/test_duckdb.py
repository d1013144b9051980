"""Tests of the DuckDB connector: the conformance suites, and what is DuckDB's own."""

from __future__ import annotations

import decimal
import subprocess
import sys
import tempfile
import threading
from contextlib import closing
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carrying import APPEND, carry, destination, key_of, merge, read, source, stage
from deaths import STRIDE
from suiro.connectors.duckdb import DuckdbConfig, DuckdbDestination, DuckdbSource, connector
from suiro.model.change import Rows
from suiro.model.errors import Cancelled, ConfigError, DataError, SchemaConflict, SuiroError, TransientError, UserError
from suiro.model.naming import split_name
from suiro.model.selection import Selection
from suiro.model.types import logical_type
from suiro.testing.cells import cells
from suiro.testing.destination_suite import DestinationSuite
from suiro.testing.source_suite import SourceSuite

if TYPE_CHECKING:
    from collections.abc import Sequence


def quoted(name: str) -> str:
    return ".".join('"' + part.replace('"', '""') + '"' for part in split_name(name))


def connected(file: Path) -> duckdb.DuckDBPyConnection:
    db = duckdb.connect(
        str(file), config={"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}
    )
    db.execute("SET TimeZone = 'UTC'")
    db.execute("SET arrow_lossless_conversion = true")
    return db


class TestDuckdbDestination(DestinationSuite):
    stride = STRIDE

    """The promises of a destination."""

    @property
    def file(self) -> Path:
        return self.folder / "d.duckdb"

    def make(self) -> DuckdbDestination:
        return DuckdbDestination(DuckdbConfig(path=str(self.file)), self.context())

    def read(self, table: str) -> pa.Table | None:
        if not self.file.exists():
            return None
        with closing(connected(self.file)) as db:
            try:
                relation = db.sql(f"SELECT * FROM {quoted(table)}")
            except duckdb.CatalogException:
                return None
            listed = [
                f"replace(CAST(#{n} AS VARCHAR), 'month', 'mon') AS \"{name.replace(chr(34), chr(34) * 2)}\""
                if type_.id == "interval"
                else f"#{n}"
                for n, (name, type_) in enumerate(zip(relation.columns, relation.types, strict=True), 1)
            ]
            found: pa.Table = relation.project(", ".join(listed)).to_arrow_table()
            return found

    def drop(self, table: str) -> None:
        with closing(connected(self.file)) as db:
            db.execute(f"DROP TABLE IF EXISTS {quoted(table)}")

    def leftovers(self) -> Sequence[str]:
        return sorted(path.name for path in self.folder.glob("*.suiro/*.arrow"))

    def lose_lease(self, destination: Any) -> None:
        for lease in destination._leases.values():
            lease.release()


class TestDuckdbSource(SourceSuite):
    """The promises of a source."""

    def prepare(self, folder: Path) -> None:
        super().prepare(folder)
        connected(folder / "s.duckdb").close()

    def make(self) -> DuckdbSource:
        return DuckdbSource(DuckdbConfig(path=str(self.folder / "s.duckdb")), self.context())

    def fill(self, name: str, rows: pa.Table, key: tuple[str, ...]) -> None:
        with closing(connected(self.folder / "s.duckdb")) as db:
            db.execute(f"CREATE OR REPLACE TABLE {quoted(name)} AS SELECT * FROM rows")
            if key:
                columns = ", ".join('"' + column.replace('"', '""') + '"' for column in key)
                db.execute(f"ALTER TABLE {quoted(name)} ADD PRIMARY KEY ({columns})")

    def add(self, name: str, rows: pa.Table) -> None:
        with closing(connected(self.folder / "s.duckdb")) as db:
            db.execute(f"INSERT INTO {quoted(name)} SELECT * FROM rows")


# --- values -----------------------------------------------------------------------------------------------------------


def digits(precision: int, scale: int) -> st.SearchStrategy[Decimal]:
    return st.integers(-(10**precision) + 1, 10**precision - 1).map(lambda n: Decimal(n).scaleb(-scale, CONTEXT))


CONTEXT = decimal.Context(prec=100)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
INTEGERS = {
    str(type_): (type_, st.integers(-(2 ** (width - 1)) if signed else 0, 2 ** (width - signed) - 1))
    for type_, width, signed in [
        (pa.int8(), 8, 1), (pa.int16(), 16, 1), (pa.int32(), 32, 1), (pa.int64(), 64, 1),
        (pa.uint8(), 8, 0), (pa.uint16(), 16, 0), (pa.uint32(), 32, 0), (pa.uint64(), 64, 0),
    ]
}  # fmt: skip
TYPES: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    **INTEGERS,
    "bool": (pa.bool_(), st.booleans()),
    "float32": (pa.float32(), st.floats(width=32)),
    "float64": (pa.float64(), st.floats()),
    "decimal": (pa.decimal128(38, 10), digits(38, 10)),
    "tiny decimal": (pa.decimal128(38, 38), digits(38, 38)),
    "wide decimal": (pa.decimal256(76, 40), digits(76, 40)),
    "text": (pa.string(), TEXTS),
    "bytes": (pa.binary(), st.binary()),
    "fixed bytes": (pa.binary(3), st.binary(min_size=3, max_size=3)),
    "date": (pa.date32(), st.integers(-(2**31) + 1, 2**31 - 1)),
    "timestamp": (pa.timestamp("us"), st.integers(-(2**63) + 1, 2**63 - 1)),
    "timestamptz": (pa.timestamp("us", "UTC"), st.integers(-(2**63) + 1, 2**63 - 1)),
    "time": (pa.time64("us"), st.integers(0, 86_400_000_000)),
    "uuid": (pa.uuid(), st.binary(min_size=16, max_size=16)),
    "json": (pa.json_(), st.sampled_from(["null", '{"a": 1.10}', '"水"', "[1e400]"])),
    "list": (pa.list_(pa.int64()), st.lists(st.none() | st.integers(-(2**63), 2**63 - 1), max_size=3)),
    "texts": (pa.list_(pa.list_(pa.string())), st.lists(st.none() | st.lists(TEXTS, max_size=2), max_size=2)),
    "array": (pa.list_(pa.float64(), 2), st.lists(st.floats(allow_nan=False), min_size=2, max_size=2)),
    "struct": (
        pa.struct([("a b", pa.int64()), ("D", pa.decimal128(9, 2))]),
        st.fixed_dictionaries({"a b": st.none() | st.integers(0, 9), "D": st.none() | digits(9, 2)}),
    ),
    "map": (
        pa.map_(pa.string(), pa.int64()),
        st.dictionaries(TEXTS, st.none() | st.integers(0, 9), max_size=2).map(lambda found: list(found.items())),
    ),
}


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    """A table with a column of every type."""
    size = draw(st.integers(0, 4))
    columns = {}
    for name, (type_, some) in TYPES.items():
        values = [draw(st.none() | some) for _ in range(size)]
        inner = type_.storage_type if isinstance(type_, pa.BaseExtensionType) else type_
        if pa.types.is_temporal(inner):
            plain = pa.array(values, pa.int32() if pa.types.is_date32(inner) else pa.int64()).view(inner)
        else:
            plain = pa.array(values, inner)
        columns[name] = pa.ExtensionArray.from_storage(type_, plain) if inner != type_ else plain
    return pa.table(columns)


@given(tables())
def test_every_value_of_every_type_comes_back_and_goes_on_unchanged(rows: pa.Table) -> None:
    """Source to destination to source, twice: the second file is made from what the first one's source told."""
    with tempfile.TemporaryDirectory() as folder:
        one, other = Path(folder) / "one.duckdb", Path(folder) / "other.duckdb"
        carry(connector, one, rows)
        first = read(connector, one)
        assert first.schema.types == rows.schema.types
        assert cells(first) == cells(rows)
        carry(connector, other, first)
        second = read(connector, other)
        assert second.schema.equals(first.schema, check_metadata=True)
        assert cells(second) == cells(rows)


def made(file: Path, *statements: str) -> Path:
    with closing(connected(file)) as db:
        for statement in statements:
            db.execute(statement).fetchall()
    return file


def asked(file: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(connected(file)) as db:
        found: list[tuple[Any, ...]] = db.execute(sql).fetchall()
        return found


EPOCH = datetime.fromisoformat("1970-01-01T00:00:00")

#: DuckDB's own types: the value, and how it travels
OWN: dict[str, tuple[str, pa.DataType, str | None, Any]] = {
    "HUGEINT": ("-170141183460469231731687303715884105728", pa.decimal256(39, 0), "hugeint", Decimal(-(2**127))),
    "UHUGEINT": ("340282366920938463463374607431768211455", pa.decimal256(39, 0), "uhugeint", Decimal(2**128 - 1)),
    "BIGNUM": ("'1" + "0" * 60 + "'", pa.string(), "numeric", "1" + "0" * 60),
    "TIMESTAMP_NS": ("'2024-02-29 12:00:00.123456789'", pa.string(), "timestamp_ns", "2024-02-29 12:00:00.123456789"),
    "TIMESTAMP_MS": ("'1970-01-01 00:00:00.001'", pa.timestamp("us"), "timestamp", EPOCH + timedelta(milliseconds=1)),
    "TIMESTAMP_S": ("'1970-01-01 00:00:01'", pa.timestamp("us"), "timestamp", EPOCH + timedelta(seconds=1)),
    "TIMETZ": ("'01:02:03.5+02:30'", pa.string(), "timetz", "01:02:03.5+02:30"),
    "INTERVAL": (
        "'-14 months 3 days -00:00:00.000001'",
        pa.string(),
        "interval",
        "-1 year -2 mons 3 days -00:00:00.000001",
    ),
    "ENUM('a', 'b')": ("'b'", pa.string(), None, "b"),
    "BIT": ("'0101'", pa.string(), "varbit", "0101"),
    "UNION(n INTEGER, s VARCHAR)": ("'水'", pa.string(), None, "水"),
    "STRUCT(h HUGEINT, l TIMESTAMP_S[])": (
        "{'h': 1, 'l': ['1970-01-01 00:00:01']}",
        pa.struct([("h", pa.string()), ("l", pa.list_(pa.timestamp("us")))]),
        None,
        {"h": "1", "l": [EPOCH + timedelta(seconds=1)]},
    ),
}


@pytest.mark.parametrize("type_", OWN)
def test_duckdbs_own_types_travel_exactly_and_are_restored_where_claimed(tmp_path: Path, type_: str) -> None:
    value, arrow, logical, wanted = OWN[type_]
    file = made(tmp_path / "o.duckdb", f"CREATE TABLE t (c {type_})", f"INSERT INTO t VALUES ({value}), (NULL)")
    found = read(connector, file)
    assert found.schema.field("c").type == arrow
    assert logical_type(found.schema.field("c")) == logical
    assert found.column("c").to_pylist() == [wanted, None]
    copy = tmp_path / "copy.duckdb"
    carry(connector, copy, found)
    assert cells(read(connector, copy)) == cells(found)
    if logical in DuckdbDestination.capabilities.restores:
        assert asked(copy, "SELECT typeof(c) FROM t LIMIT 1") == [(type_.replace("_MS", "").replace("_S", ""),)] or (
            type_ == "TIMESTAMP_NS"
        )
        assert asked(copy, "SELECT c::VARCHAR FROM t") == asked(file, "SELECT c::VARCHAR FROM t")


def test_the_infinities_and_every_float_bit_survive_merges(tmp_path: Path) -> None:
    file = tmp_path / "t.duckdb"
    rows = pa.table({"id": pa.array([1, 2]), "f": [0.0, float("nan")]})
    carry(connector, file, rows, merge("id"))
    again = carry(connector, file, rows, merge("id"))
    assert again.unchanged == 2
    for zero in (-0.0, 0.0):
        signed = carry(connector, file, pa.table({"id": pa.array([1]), "f": [zero]}), merge("id"))
        assert (signed.updated, signed.removed) == (1, 0)
        assert asked(file, "SELECT f::VARCHAR FROM t WHERE id = 1") == [(str(zero),)]
        made(file, "ALTER TABLE t ADD COLUMN IF NOT EXISTS mine VARCHAR DEFAULT 'm'")
    assert asked(file, "SELECT mine FROM t") == [("m",), ("m",)]
    made(file, "CREATE TABLE e AS SELECT 'infinity'::DATE AS d, '-infinity'::TIMESTAMPTZ AS t")
    carry(connector, file, read(connector, file, "e"), table="copy")
    assert asked(file, "SELECT d::VARCHAR, t::VARCHAR FROM copy") == [("infinity", "-infinity")]


def test_times_finer_than_microseconds_and_types_without_a_form_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="column odd is finer than microseconds"):
        carry(connector, tmp_path / "t.duckdb", pa.table({"odd": pa.array([1], pa.timestamp("ns"))}))
    with pytest.raises(SchemaConflict, match=r"column odd is duration"):
        carry(connector, tmp_path / "t.duckdb", pa.table({"odd": pa.array([1], pa.duration("us"))}))


# --- streams ----------------------------------------------------------------------------------------------------------

ROWS = pa.table({"id": pa.array([1, 2]), "v": ["a", "b"]})


def test_tables_and_views_of_every_schema_are_streams(tmp_path: Path) -> None:
    file = made(
        tmp_path / "s.duckdb",
        'CREATE SCHEMA "a.b"',
        "CREATE TABLE t (id INT PRIMARY KEY, v INT NOT NULL, seen TIMESTAMP)",
        'CREATE TABLE "a.b"."x y" (id INT)',
        'CREATE VIEW "a.b".w AS SELECT count(*) AS n FROM t',
        "CREATE TABLE gone (i INT)",
        "CREATE VIEW broken AS SELECT * FROM gone",
        "DROP TABLE gone",
    )
    carry(connector, file, ROWS, table="mine")
    streams = {stream.name: stream for stream in source(connector, file).discover()}
    assert set(streams) == {"t", '"a.b".x y', '"a.b".w', "mine"}
    assert streams["t"].primary_key == ("id",)
    assert streams["t"].cursor_fields == ("id", "v", "seen")
    assert read(connector, file, '"a.b".w').to_pylist() == [{"n": 0}]
    named = {stream.name for stream in source(connector, file, schema="a.b").discover()}
    assert named == {"main.t", "x y", "w", "main.mine"}


def test_a_large_table_is_read_in_little_memory(tmp_path: Path) -> None:
    file = made(tmp_path / "s.duckdb", "CREATE TABLE t AS SELECT i, repeat('x', 200) AS v FROM range(1000000) r(i)")
    reader = source(connector, file)
    selection = Selection(stream=reader.find("t"), columns=("i", "v"))
    before, rows = pa.total_allocated_bytes(), 0
    for change in reader.read(reader.plan([selection])[0], None):
        if isinstance(change, Rows):
            rows += change.data.num_rows
            assert change.data.nbytes < 17 * 2**20
            assert pa.total_allocated_bytes() - before < 64 * 2**20
    assert rows == 1_000_000


def test_a_file_is_free_between_reads_and_loads(tmp_path: Path) -> None:
    file = tmp_path / "t.duckdb"
    carry(connector, file, ROWS)
    reader, to = source(connector, file), destination(connector, file)
    stream = reader.find("t")
    to.inspect("t")
    claim = to.claim(key_of("t"), "r")
    staged = stage(to, "t", ROWS, APPEND, claim)
    assert asked(file, "SELECT count(*) FROM t") == [(2,)]
    to.publish([staged], [], None)
    list(reader.read(reader.plan([Selection(stream=stream, columns=("id",))])[0], None))
    assert asked(file, "SELECT count(*) FROM t") == [(4,)]
    to.close()


HOLD = """
import sys, duckdb
db = duckdb.connect(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""


def test_who_waits_is_told_for_whom(tmp_path: Path) -> None:
    file = made(tmp_path / "t.duckdb", "CREATE TABLE t (v INT)")
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None and holder.stdin is not None
        assert holder.stdout.readline() == b"held\n"
        to = destination(connector, file, wait_seconds=0.2)
        for verb in (to.check, lambda: to.inspect("t"), lambda: to.claim(key_of("t"), "r")):
            with pytest.raises(TransientError, match=rf"held by process {holder.pid} \("):
                verb()
        with pytest.raises(TransientError, match=f"process {holder.pid}"):
            source(connector, file, wait_seconds=0).check()
        patient = destination(connector, file, wait_seconds=30)
        threading.Timer(0.5, holder.stdin.close).start()
        patient.check()
        to.close()
        patient.close()


def test_two_runs_of_one_process_publish_one_after_the_other(tmp_path: Path) -> None:
    file = tmp_path / "t.duckdb"
    failed: list[SuiroError] = []

    def work(name: str) -> None:
        try:
            for _ in range(3):
                carry(connector, file, ROWS, APPEND, table=name)
        except SuiroError as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(f"t{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert [asked(file, f"SELECT count(*) FROM t{n}") for n in range(4)] == [[(6,)]] * 4


# --- tables of other programs -----------------------------------------------------------------------------------------


def test_what_hangs_on_a_table_survives_its_replacement(tmp_path: Path) -> None:
    file = tmp_path / "t.duckdb"
    carry(connector, file, ROWS)
    made(file, "CREATE INDEX i ON t (v)", "CREATE VIEW w AS SELECT id FROM t")
    published = carry(connector, file, pa.table({"id": pa.array([7]), "v": ["z"]}))
    assert published.notes == ("t was emptied and filled, not made anew: index i, view w.",)
    assert asked(file, "SELECT * FROM w") == [(7,)]
    assert asked(file, "SELECT index_name FROM duckdb_indexes()") == [("i",)]


def test_a_table_of_another_program_keeps_its_shape_and_its_other_columns(tmp_path: Path) -> None:
    shape = "CREATE TABLE t(id INTEGER PRIMARY KEY, v VARCHAR DEFAULT('x'), mine VARCHAR DEFAULT('m'));"
    file = made(tmp_path / "t.duckdb", shape, "INSERT INTO t VALUES (1, 'old', 'kept'), (9, 'old', 'gone')")
    rows = pa.table({"id": pa.array([1, 2], pa.int32()), "v": ["a", "b"]})
    published = carry(connector, file, rows, merge("id"))
    assert (published.inserted, published.updated) == (1, 1)
    assert asked(file, "SELECT * FROM t ORDER BY 1") == [(1, "a", "kept"), (2, "b", "m"), (9, "old", "gone")]
    published = carry(connector, file, rows)
    assert (published.inserted, published.removed) == (2, 3)
    assert asked(file, "SELECT * FROM t ORDER BY 1") == [(1, "a", "m"), (2, "b", "m")]
    assert asked(file, "SELECT sql FROM duckdb_tables() WHERE table_name = 't'") == [(shape,)]


def test_foreign_keys_hold_and_are_named_without_values(tmp_path: Path) -> None:
    file = made(
        tmp_path / "t.duckdb",
        "CREATE TABLE t (id BIGINT PRIMARY KEY, v VARCHAR)",
        "CREATE TABLE child (id BIGINT REFERENCES t (id))",
        "INSERT INTO t VALUES (77, 'x')",
        "INSERT INTO child VALUES (77)",
    )
    with pytest.raises(DataError, match="foreign key") as refused:
        carry(connector, file, ROWS)
    assert "77" not in refused.value.message
    assert asked(file, "SELECT * FROM t") == [(77, "x")]


@pytest.mark.parametrize(
    ("shape", "says"),
    [
        ("id BIGINT UNIQUE, v VARCHAR", "(?i)unique constraint"),
        ("id BIGINT, v VARCHAR CHECK (length(v) < 2)", "CHECK constraint failed"),
        ("id BIGINT, v VARCHAR, w VARCHAR NOT NULL", r"NOT NULL constraint failed: t\.w"),
    ],
)
def test_a_row_that_breaks_a_constraint_is_refused_without_its_values(tmp_path: Path, shape: str, says: str) -> None:
    file = made(tmp_path / "t.duckdb", f"CREATE TABLE t ({shape})")
    with pytest.raises(DataError, match=says) as refused:
        carry(connector, file, pa.table({"id": pa.array([77, 77]), "v": ["secret", "s"]}), APPEND)
    assert "secret" not in refused.value.message and "77" not in refused.value.message
    assert asked(file, "SELECT count(*) FROM t") == [(0,)]


def test_a_wider_type_keeps_keys_indexes_defaults_checks_and_views(tmp_path: Path) -> None:
    file = made(
        tmp_path / "t.duckdb",
        "CREATE TABLE t (id INT PRIMARY KEY, d DECIMAL(3,2) NOT NULL, w INT DEFAULT 5, u INT UNIQUE, CHECK (w > 0))",
        "COMMENT ON COLUMN t.w IS 'it''s mine'",
        "INSERT INTO t (id, d, u) VALUES (1, 1.50, 1)",
        "CREATE INDEX i ON t (w)",
        "CREATE VIEW v AS SELECT d FROM t",
    )
    wide = pa.array([Decimal("2.25000")], pa.decimal128(20, 5))
    carry(connector, file, pa.table({"id": pa.array([2**40]), "d": wide}), merge("id"))
    assert asked(file, "SELECT id, d::VARCHAR, w FROM t") == [(1, "1.50000", 5), (2**40, "2.25000", 5)]
    assert asked(file, "SELECT d::VARCHAR FROM v") == [("1.50000",), ("2.25000",)]
    assert asked(file, "SELECT index_name FROM duckdb_indexes()") == [("i",)]
    assert asked(file, "SELECT comment FROM duckdb_columns() WHERE column_name = 'w'") == [("it's mine",)]
    with pytest.raises(duckdb.ConstraintException):
        made(file, "INSERT INTO t (id, d, u) VALUES (3, 1, 1)")
    with pytest.raises(duckdb.ConstraintException):
        made(file, "INSERT INTO t (id, d, w) VALUES (3, 1, 0)")


def test_a_decimal_past_38_digits_becomes_text_that_still_matches(tmp_path: Path) -> None:
    file = tmp_path / "t.duckdb"
    carry(connector, file, pa.table({"d": pa.array([Decimal("1.5")], pa.decimal128(38, 1))}), APPEND)
    wide = pa.array([Decimal("1.500"), Decimal("2.000")], pa.decimal256(50, 3))
    published = carry(connector, file, pa.table({"d": wide}), merge("d"))
    assert (published.inserted, published.unchanged) == (1, 1)
    assert read(connector, file).to_pylist() == [{"d": Decimal("1.500")}, {"d": Decimal("2.000")}]


def test_several_rows_of_one_key_become_one(tmp_path: Path) -> None:
    file = made(
        tmp_path / "t.duckdb",
        "CREATE TABLE t (id BIGINT, v VARCHAR)",
        "INSERT INTO t VALUES (1, 'a'), (1, 'a'), (5, 'e')",
    )
    published = carry(connector, file, ROWS, merge("id"))
    assert (published.inserted, published.updated, published.removed) == (1, 1, 1)
    assert asked(file, "SELECT * FROM t ORDER BY 1") == [(1, "a"), (2, "b"), (5, "e")]


def test_views_and_generated_columns_are_not_written(tmp_path: Path) -> None:
    file = made(
        tmp_path / "t.duckdb",
        "CREATE TABLE t (id BIGINT, v VARCHAR AS (id || 'x'))",
        "CREATE VIEW w AS SELECT * FROM t",
    )
    with pytest.raises(SchemaConflict, match="column v of t is generated"):
        carry(connector, file, ROWS, APPEND)
    with pytest.raises(ConfigError, match="w is a view"):
        carry(connector, file, ROWS, APPEND, table="w")


def test_a_schema_is_made_for_a_table_that_names_it(tmp_path: Path) -> None:
    file = tmp_path / "t.duckdb"
    carry(connector, file, ROWS, table='"sa.les".t')
    carry(connector, file, ROWS, table="u", schema="sa.les")
    assert asked(file, 'SELECT count(*) FROM "sa.les".t, "sa.les".u') == [(4,)]
    with pytest.raises(ConfigError, match="3 parts"):
        carry(connector, file, ROWS, table="a.b.c")


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["source", "destination"])
def test_a_file_that_is_no_database_is_named(tmp_path: Path, verb: str) -> None:
    file = tmp_path / "t.duckdb"
    file.write_bytes(b"no database at all, but long enough to be looked at" * 100)
    side = source(connector, file) if verb == "source" else destination(connector, file)
    with pytest.raises(ConfigError, match=r"t\.duckdb is no DuckDB database"):
        side.check()


def test_a_missing_file_is_no_source_and_a_check_does_not_make_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no file"):
        source(connector, tmp_path / "t.duckdb").check()
    destination(connector, tmp_path / "t.duckdb").check()
    assert list(tmp_path.glob("*.duckdb*")) == []


def test_a_run_that_ends_leaves_no_folder(tmp_path: Path) -> None:
    carry(connector, tmp_path / "t.duckdb", ROWS)
    assert sorted(path.name for path in tmp_path.iterdir() if "work" not in path.name) == ["t.duckdb"]


def test_a_statement_under_way_is_interrupted(tmp_path: Path) -> None:
    file = made(tmp_path / "t.duckdb", "CREATE TABLE t (v INT)")
    reader = source(connector, file)
    timer = threading.Timer(0.3, reader.context.cancel)
    timer.start()
    with pytest.raises(Cancelled):
        list(reader.query("SELECT sum(a.range * b.range) FROM range(10000000) a, range(1000000) b"))
    timer.join()


def test_one_statement_at_a_time_is_run(tmp_path: Path) -> None:
    file = made(tmp_path / "t.duckdb", "CREATE TABLE t (v INT)")
    with pytest.raises(UserError, match="one statement at a time"):
        list(source(connector, file).query("SELECT 1; SELECT 2"))


def test_a_file_is_the_same_system_however_its_path_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert DuckdbConfig(path="t.db").identity() == f"duckdb:{tmp_path}/t.db"
    assert DuckdbConfig(path=f"{tmp_path}/t.db", wait_seconds=1).identity() == f"duckdb:{tmp_path}/t.db"


def test_a_merged_table_tells_its_key_without_an_index_in_memory(tmp_path: Path) -> None:
    file = tmp_path / "t.duckdb"
    carry(connector, file, ROWS, merge("id"))
    assert asked(file, "SELECT constraint_text FROM duckdb_constraints() WHERE table_name = 't'") == [("NOT NULL",)]
    assert source(connector, file).find("t").primary_key == ("id",)
    carry(connector, file, ROWS)
    assert source(connector, file).find("t").primary_key == ("id",)
    made(file, "ALTER TABLE t ADD PRIMARY KEY (id)", "COMMENT ON TABLE t IS 'mine'")
    again = carry(connector, file, pa.table({"id": pa.array([2, 3]), "v": ["B", "c"]}), merge("id"))
    assert (again.inserted, again.updated) == (1, 1)
    assert carry(connector, file, ROWS).notes == (
        "t was emptied and filled, not made anew: its own constraints, defaults or comments.",
    )
    assert source(connector, file).find("t").primary_key == ("id",)
