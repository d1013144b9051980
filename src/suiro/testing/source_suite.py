"""The conformance suite of sources: subclass it, say how to reach and fill the system, and pytest runs every test.

    class TestDuckdbSource(SourceSuite):
        def make(self): return DuckdbSource(DuckdbConfig(path=self.folder / "d.db"), self.context())
        def fill(self, name, rows, key): ...
        def add(self, name, rows): ...

See `SourceHarness` for what each must do, and docs/guide/conformance.md.
"""

from __future__ import annotations

from typing import ClassVar

import pyarrow as pa
import pytest

from suiro.model.errors import Cancelled, ConfigError, SuiroError, UserError
from suiro.model.schema import ReadMode
from suiro.model.summary import summarise
from suiro.spi.powers import Queries, Summarises
from suiro.testing.cells import cells
from suiro.testing.context import LocalContext
from suiro.testing.samples import ODD_NAMES, PLAIN
from suiro.testing.source_checksums import ChecksumTests
from suiro.testing.source_harness import SourceHarness
from suiro.testing.source_increments import IncrementTests
from suiro.testing.source_queries import QueryTests

PEOPLE = [(1, "a", 10), (2, "水路", None), (3, None, -5), (4, "", 2**62), (5, "d'\"", 10)]


class FullReadTests(SourceHarness):
    """Streams, and reads of every row."""

    def test_check_succeeds_again_and_again(self) -> None:
        source = self.open()
        source.check()
        source.check()

    def test_check_and_discover_change_nothing(self) -> None:
        rows = self.rows(*PEOPLE[:2])
        name = self.filled(rows, ("id",))
        source = self.open()
        before = sorted(stream.name for stream in source.discover())
        source.check()
        assert sorted(stream.name for stream in source.discover()) == before
        self.assert_found(rows, self.consume(source, self.select(source, name)))

    def test_streams_are_found_with_their_columns_and_key(self) -> None:
        plain, composite = self.filled(self.rows(*PEOPLE)), self.filled(self.rows((1, "a", 1)), ("name", "id"))
        source = self.open()
        streams = {stream.name: stream for stream in source.discover()}
        assert {plain, composite} <= set(streams)
        assert len(streams) == len(list(source.discover())), "two streams have one name"
        for name in (plain, composite):
            assert streams[name].schema.names == ["id", "name", "v"]
            assert ReadMode.FULL in streams[name].read_modes
            assert source.find(name).schema.equals(streams[name].schema)
        assert streams[plain].primary_key == ()
        if self.keeps_keys:
            assert set(streams[composite].primary_key) == {"name", "id"}

    def test_an_unknown_stream_is_refused_and_near_ones_are_named(self) -> None:
        name = self.filled(self.rows(*PEOPLE), name=self.stream_name("customers"))
        source = self.open()
        with pytest.raises(ConfigError) as refused:
            source.find(self.stream_name("customer"))
        assert name in f"{refused.value} {refused.value.hint}"
        with pytest.raises(ConfigError):
            source.find(self.stream_name("CuStOmErS_2"))

    def test_a_full_read_yields_every_row_once(self) -> None:
        rows = self.rows(*PEOPLE, PEOPLE[0])
        name = self.filled(rows)
        for _ in range(2):
            source = self.open()
            self.assert_found(rows, self.consume(source, self.select(source, name)))

    def test_one_source_reads_one_stream_twice_and_two_streams(self) -> None:
        one, other = self.rows(*PEOPLE), self.rows((9, "z", 9))
        names = [self.filled(one), self.filled(other)]
        source = self.open()
        for name, rows in [(names[0], one), (names[1], other), (names[0], one)]:
            self.assert_found(rows, self.consume(source, self.select(source, name)))

    def test_a_stream_without_rows_is_read_to_its_checkpoint(self) -> None:
        name = self.filled(self.rows(), ("id",))
        source = self.open()
        found = self.consume(source, self.select(source, name))
        assert found.rows.num_rows == 0

    def test_columns_are_chosen_and_keep_the_streams_order(self) -> None:
        rows = self.rows(*PEOPLE)
        name = self.filled(rows, ("id",))
        source = self.open()
        for columns in [("id",), ("name", "v"), ("v",), ("id", "v")]:
            self.assert_found(rows.select(columns), self.consume(source, self.select(source, name, columns)))

    def test_many_rows_are_read_in_order_of_arrival_or_not_but_whole(self) -> None:
        many = 100_000
        rows = pa.table([range(many), pa.array(range(many)).cast(pa.string()), range(many)], schema=self.rows().schema)
        name = self.filled(rows, ("id",))
        source = self.open()
        self.assert_found(rows, self.consume(source, self.select(source, name)))

    def test_a_read_closed_early_leaves_the_source_usable(self) -> None:
        rows = pa.table([range(20_000), ["a"] * 20_000, range(20_000)], schema=self.rows().schema)
        name = self.filled(rows, ("id",))
        source = self.open()
        for _ in range(3):
            (read, *_) = source.plan([self.select(source, name)])
            changes = source.read(read, None)
            next(changes)
            changes.close()  # type: ignore[attr-defined]
        self.assert_found(rows, self.consume(source, self.select(source, name)))

    def test_a_read_that_is_cancelled_says_so(self) -> None:
        rows = pa.table([range(20_000), ["a"] * 20_000, range(20_000)], schema=self.rows().schema)
        name = self.filled(rows, ("id",))
        source = self.open()
        (read, *_) = source.plan([self.select(source, name)])
        assert isinstance(source.context, LocalContext)
        source.context.cancel()
        with pytest.raises(Cancelled):
            list(source.read(read, None))
        other = self.open()
        self.assert_found(rows, self.consume(other, self.select(other, name)))

    def test_a_stream_that_went_away_is_an_error_of_ours(self) -> None:
        name = self.filled(self.rows(*PEOPLE))
        source = self.open()
        stream = source.find(name)
        gone = type(stream)(name=self.stream_name("gone_away"), schema=stream.schema)
        selection = type(self.select(source, name))(stream=gone, columns=tuple(gone.schema.names))
        with pytest.raises(SuiroError):
            self.consume(source, selection)

    plain_types: ClassVar[tuple[str, ...]] = tuple(name for name, sample in PLAIN.items() if sample.required)

    def test_values_at_the_limits_of_their_types_are_read_as_they_are(self) -> None:
        for case in self.plain_types:
            sample = PLAIN[case]
            column = sample.column()
            schema = pa.schema([pa.field("id", pa.int64()), sample.field])
            rows = pa.table([pa.array(range(len(column)), pa.int64()), column], schema=schema)
            name = self.filled(rows, ("id",))
            source = self.open()
            self.assert_found(rows, self.consume(source, self.select(source, name)), case)
            self.finish()

    # --- names

    stream_stems: ClassVar[tuple[str, ...]] = (*ODD_NAMES, "n" * 63)
    column_names: ClassVar[tuple[str, ...]] = (*ODD_NAMES, "c" * 63, "水" * 21)

    def test_streams_of_odd_names(self) -> None:
        names = [self.stream_name(stem) for stem in self.stream_stems]
        for n, name in enumerate(names):
            self.filled(self.rows((n, name, n)), ("id",), name)
        source = self.open()
        assert set(names) <= {stream.name for stream in source.discover()}
        for n, name in enumerate(names):
            found = self.consume(source, self.select(source, name))
            self.assert_found(self.rows((n, name, n)), found, name)

    def test_columns_of_odd_names(self) -> None:
        schema = pa.schema([(name, pa.string()) for name in self.column_names])
        rows = self.rows(self.column_names, self.column_names[::-1], schema=schema)
        name = self.filled(rows, (self.column_names[0],))
        source = self.open()
        self.assert_found(rows, self.consume(source, self.select(source, name)))
        for column in self.column_names:
            self.assert_found(rows.select([column]), self.consume(source, self.select(source, name, [column])), column)

    # --- powers

    def test_a_summary_equals_that_of_the_rows(self) -> None:
        source = self.open()
        if not isinstance(source, Summarises):
            pytest.skip("doesn't summarise")
        for rows, columns in [(self.rows(*PEOPLE), ("id", "name", "v")), (self.rows(), ("id",)), (_rich(), None)]:
            name = self.filled(rows, ("id",))
            selection = self.select(source, name, columns)
            for read in source.plan([selection]):
                batches = [c.data for c in source.read(read, None) if hasattr(c, "data")]
                wanted = summarise(batches, key=("id",))
                found = source.summarise(read, columns=True, key=("id",))
                assert wanted.rows == found.rows
                for column, mine in wanted.columns.items():
                    assert found.columns[column] == mine, column
                assert source.summarise(read, columns=False, key=()).rows == wanted.rows

    def test_where_chooses_rows(self) -> None:
        rows = self.rows(*PEOPLE)
        name = self.filled(rows, ("id",))
        condition = self.where("v", 10)
        if condition is None:
            pytest.skip("takes no condition")
        source = self.open()
        found = self.consume(source, self.select(source, name, where=condition))
        self.assert_found(self.rows(PEOPLE[0], PEOPLE[3], PEOPLE[4]), found)
        either = f"{condition} OR {self.where('id', 2)}"
        found = self.consume(source, self.select(source, name, ["id"], where=either))
        self.assert_found(rows.select(["id"]), found, "a condition with OR")
        if isinstance(source, Summarises):
            (read, *_) = source.plan([self.select(source, name, where=condition)])
            assert source.summarise(read, columns=True, key=()).rows == 3

    def test_sql_is_run_and_wrong_sql_is_the_users_error(self) -> None:
        source = self.open()
        if not isinstance(source, Queries):
            pytest.skip("runs no SQL")
        found = pa.Table.from_batches(source.query("SELECT 1 AS a, 'x' AS b UNION ALL SELECT 2, NULL"))
        assert found.column_names == ["a", "b"]
        assert sorted((int(str(a)), b) for a, b in cells(found)) == [(1, "x"), (2, None)]
        empty = list(source.query("SELECT 1 AS a WHERE 1 = 0"))
        assert empty and empty[0].schema.names == ["a"] and sum(batch.num_rows for batch in empty) == 0
        double = pa.Table.from_batches(source.query("SELECT 1 AS a, 2 AS a"))
        assert len(set(double.column_names)) == 2
        with pytest.raises(UserError):
            list(source.query("SELEKT 1"))
        assert len(list(source.query("SELECT 1 AS a"))) >= 1


class SourceSuite(FullReadTests, IncrementTests, QueryTests, ChecksumTests):
    """Every promise of spi/source, tested."""


def _rich() -> pa.Table:
    """A row of every type that each system must have, and one of NULL."""
    wanted = {name: sample for name, sample in PLAIN.items() if sample.required}
    columns = {name: pa.array([sample.values[0], None], sample.field.type) for name, sample in wanted.items()}
    return pa.table({"id": pa.array([1, 2], pa.int64()), **columns})
