"""Tests of the write modes: what rows a table holds after a publish, and what the counts say."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suiro.model.errors import DataError, UserError, VerificationFailed
from suiro.model.selection import Deletes, Replace, WriteMode, WriteSpec
from suiro.model.summary import Summary
from suiro.spi.destination import Marker, Published
from suiro.testing.destination_harness import EVERY_MODE, SCHEMA, DestinationHarness, after, spec_of
from suiro.testing.load import Load

LOG_SCHEMA = pa.schema([*SCHEMA, ("_op", pa.string()), ("_seq", pa.binary())])
IDS, NAMES, NUMBERS = st.integers(0, 4), st.sampled_from(["a", "b", "あ"]), st.none() | st.integers(-2, 2)
LOADS = st.lists(st.lists(st.tuples(IDS, NAMES, NUMBERS), max_size=8), min_size=1, max_size=3)
CHANGES = st.lists(st.lists(st.tuples(st.sampled_from("cud"), IDS, NAMES), max_size=8), min_size=1, max_size=3)


class WriteTests(DestinationHarness):
    """Append, replace and merge, alone and in segments."""

    @EVERY_MODE
    def test_each_mode_enters_rows_its_way_and_counts_them(self, mode: WriteMode) -> None:
        self.needs(mode)
        name = self.fresh()
        old, new = self.rows((1, "a", 10), (2, "b", 20)), self.rows((2, "b", 20), (1, "z", None), (3, "c", 30))
        assert _counts(self.carry(self.load(name, old, spec_of(mode), 1))) == {"inserted": 2}
        counts = _counts(self.carry(self.load(name, new, spec_of(mode), 2)))
        self.assert_table(after(mode, old, new), name)
        match mode:
            case WriteMode.APPEND:
                assert counts == {"inserted": 3}
            case WriteMode.REPLACE:
                assert counts == {"inserted": 3, "removed": 2}
            case WriteMode.MERGE:
                assert counts == {"inserted": 1, "updated": 1, "unchanged": 1}

    @pytest.mark.parametrize("how", list(Replace))
    def test_replace_without_rows_empties_the_table(self, how: Replace) -> None:
        self.needs(WriteMode.REPLACE)
        name, spec = self.fresh(), WriteSpec(mode=WriteMode.REPLACE, replace=how)
        self.carry(self.load(name, self.rows((1, "a", 10)), spec, 1))
        assert _counts(self.carry(self.load(name, self.rows(), spec, 2))) == {"removed": 1}
        self.assert_table(self.rows(), name)

    @pytest.mark.parametrize("how", list(Replace))
    def test_replace_again_and_again_leaves_the_last_rows(self, how: Replace) -> None:
        self.needs(WriteMode.REPLACE)
        name, spec = self.fresh(), WriteSpec(mode=WriteMode.REPLACE, replace=how)
        for n in range(4):
            self.carry(self.load(name, self.rows((n, "a", n), (n, "a", n)), spec, n))
            self.assert_table(self.rows((n, "a", n), (n, "a", n)), name)

    def test_append_keeps_equal_rows(self) -> None:
        self.needs(WriteMode.APPEND)
        load = self.load(self.fresh(), self.rows((1, "a", 10), (1, "a", 10)), spec_of(WriteMode.APPEND), 1)
        self.carry(load)
        self.carry(load)
        self.assert_table(self.rows(*[(1, "a", 10)] * 4), load.table.name)

    def test_append_leaves_out_what_the_table_holds_already(self) -> None:
        self.needs(WriteMode.APPEND)
        name, spec = self.fresh(), WriteSpec(mode=WriteMode.APPEND, skip_existing=("id", "name"))
        first = self.carry(self.load(name, self.rows((1, "a", 10), (2, "b", 20)), spec, 1))
        assert _counts(first) == {"inserted": 2}
        new = self.rows((2, "b", 21), (2, "c", 22), (3, "b", 30), (1, "a", 10))
        assert _counts(self.carry(self.load(name, new, spec, 2))) == {"inserted": 2, "superseded": 2}
        self.assert_table(self.rows((1, "a", 10), (2, "b", 20), (2, "c", 22), (3, "b", 30)), name)

    @pytest.mark.parametrize("key", [("id",), ("id", "name"), ("name",)], ids="-".join)
    @pytest.mark.parametrize("order_by", [None, "v"])
    def test_merge_keeps_the_last_row_of_each_key_and_counts_every_row(
        self, key: tuple[str, ...], order_by: str | None
    ) -> None:
        self.needs(WriteMode.MERGE)
        spec = WriteSpec(mode=WriteMode.MERGE, key=key, order_by=order_by)

        @self.settings()
        @given(LOADS)
        def holds(loads: list[list[tuple[Any, ...]]]) -> None:
            name, model = self.fresh(), MergeModel(key, order_by)
            for n, rows in enumerate(loads):
                published = self.carry(self.load(name, self.rows(*rows), spec, n))
                assert _counts(published) == model.merge(rows)
                self.assert_table(self.rows(*model.rows.values()), name)

        holds()

    def test_merge_ranks_the_rows_of_a_load_and_not_those_of_the_table(self) -> None:
        self.needs(WriteMode.MERGE)
        name, spec = self.fresh(), WriteSpec(mode=WriteMode.MERGE, key=("id",), order_by="v")
        self.carry(self.load(name, self.rows((1, "late", 9)), spec, 1))
        self.carry(self.load(name, self.rows((1, "early", 3), (1, "void", None)), spec, 2))
        self.assert_table(self.rows((1, "early", 3)), name)

    def test_merge_orders_by_time_within_microseconds(self) -> None:
        self.needs(WriteMode.MERGE)
        schema = pa.schema([("id", pa.int64()), ("at", pa.timestamp("us", "UTC")), ("v", pa.int64())])
        rows = self.rows((1, 1_700_000_000_000_002, 1), (1, 1_700_000_000_000_001, 2), (1, None, 3), schema=schema)
        name = self.fresh()
        published = self.carry(self.load(name, rows, WriteSpec(mode=WriteMode.MERGE, key=("id",), order_by="at"), 1))
        assert _counts(published) == {"inserted": 1, "superseded": 2}
        self.assert_table(rows.slice(0, 1), name)

    @pytest.mark.parametrize("deletes", [Deletes.SKIP, Deletes.HARD])
    def test_merge_follows_a_log_with_deletes(self, deletes: Deletes) -> None:
        self.needs(WriteMode.MERGE)
        spec = WriteSpec(mode=WriteMode.MERGE, key=("id",), deletes=deletes)

        @self.settings()
        @given(CHANGES)
        def holds(loads: list[list[tuple[str, int, str]]]) -> None:
            name, there, seq = self.fresh(), dict[int, tuple[Any, ...]](), 0
            for n, changes in enumerate(loads):
                rows, before = [], dict(there)
                for op, id_, text in changes:
                    seq += 1
                    gone = op == "d"
                    rows.append((id_, None if gone else text, None if gone else seq, op, seq.to_bytes(8, "big")))
                    if not gone:
                        there[id_] = rows[-1][:3]
                    elif deletes is Deletes.HARD:
                        there.pop(id_, None)
                published = self.carry(self.load(name, self.rows(*rows, schema=LOG_SCHEMA), spec, n))
                self.assert_table(self.rows(*there.values()), name)
                assert _adds_up(published, len(rows))
                assert published.inserted == len(there.keys() - before.keys())
                assert published.removed == len(before.keys() - there.keys())

        holds()

    def test_a_key_that_is_null_is_refused(self) -> None:
        self.needs(WriteMode.MERGE)
        name, spec = self.fresh(), WriteSpec(mode=WriteMode.MERGE, key=("id", "name"))
        self.carry(self.load(name, self.rows((1, "a", 10)), spec, 1))
        load = self.load(name, self.rows((2, "b", 20), (3, None, 30)), spec, 2)
        with pytest.raises((DataError, UserError)) as refused:
            self.carry(load)
        assert "name" in str(refused.value)
        self.finish()
        self.assert_table(self.rows((1, "a", 10)), name)
        assert self.position(load.key) == {"n": 1}

    @EVERY_MODE
    def test_segments_enter_in_their_order_and_add_up(self, mode: WriteMode) -> None:
        self.needs(mode)
        name = self.fresh()
        old = self.rows((1, "a", 10))
        parts = [self.rows((1, "b", 20), (2, "b", 20)), self.rows((2, "c", 30), (3, "c", 30))]
        self.carry(self.load(name, old, spec_of(mode), 1))
        published = self.carry(*(self.load(name, part, spec_of(mode), 2) for part in parts))
        assert _adds_up(published, 4)
        assert published.found.rows == 4
        self.assert_table(after(mode, old, pa.concat_tables(parts)), name)

    @EVERY_MODE
    def test_a_segment_that_truncates_empties_what_came_before(self, mode: WriteMode) -> None:
        self.needs(mode)
        name = self.fresh()
        self.carry(self.load(name, self.rows((1, "a", 10), (9, "a", 90)), spec_of(mode), 1))
        gone = self.load(name, self.rows((2, "b", 20)), spec_of(mode), 2)
        kept = self.load(name, self.rows((1, "c", 30), (3, "c", 30)), spec_of(mode), 2, truncates=True)
        more = self.load(name, self.rows((4, "d", 40)), spec_of(mode), 2)
        assert _adds_up(self.carry(gone, kept, more), 4)
        self.assert_table(self.rows((1, "c", 30), (3, "c", 30), (4, "d", 40)), name)

    @EVERY_MODE
    def test_a_segment_that_truncates_and_has_no_rows_empties_the_table(self, mode: WriteMode) -> None:
        self.needs(mode)
        name = self.fresh()
        self.carry(self.load(name, self.rows((1, "a", 10)), spec_of(mode), 1))
        assert _counts(self.carry(self.load(name, self.rows(), spec_of(mode), 2, truncates=True))) == {"removed": 1}
        self.assert_table(self.rows(), name)

    @EVERY_MODE
    def test_two_tables_are_published_in_one_act(self, mode: WriteMode) -> None:
        self.needs(mode)
        loads = [self.load(self.fresh(), self.rows((n, "a", n)), spec_of(mode), n) for n in (1, 2)]
        markers = [Marker(key=load.key, position=load.position) for load in loads]
        right = self.summary(*loads)
        destination = self.open()
        staged = [self.stage(destination, load, self.claim(destination, load.key)) for load in loads]
        with pytest.raises(VerificationFailed):
            destination.publish(staged, markers, Summary(rows=1, columns={}))
        self.close(destination)
        assert [self.read(load.table.name) for load in loads] == [None, None]
        destination = self.open()
        staged = [self.stage(destination, load, self.claim(destination, load.key)) for load in loads]
        destination.publish(staged, markers, right)
        self.close(destination)
        for n, load in enumerate(loads, 1):
            self.assert_table(self.rows((n, "a", n)), load.table.name)
            assert self.position(load.key) == {"n": n}

    @EVERY_MODE
    def test_many_rows_in_many_batches(self, mode: WriteMode) -> None:
        self.needs(mode)
        many = 200_000
        rows = pa.table(
            [range(many), pa.array(range(many)).cast(pa.string()), pa.array([None, 7] * (many // 2), pa.int64())],
            schema=SCHEMA,
        )
        load = self.load(self.fresh(), rows, spec_of(mode), 1)
        batches = rows.to_batches(max_chunksize=30_000)
        load = Load(table=load.table, rows=tuple(batches), spec=load.spec, position=load.position)
        assert _counts(self.carry(load)) == {"inserted": many}
        self.assert_table(rows, load.table.name)


class MergeModel:
    """Rows by key, as a merge should leave them."""

    def __init__(self, key: tuple[str, ...], order_by: str | None) -> None:
        self._key = [SCHEMA.names.index(name) for name in key]
        self._order_by = None if order_by is None else SCHEMA.names.index(order_by)
        self.rows: dict[tuple[Any, ...], tuple[Any, ...]] = {}

    def merge(self, load: list[tuple[Any, ...]]) -> dict[str, int]:
        """Enter a load; the counts that aren't zero."""
        winners: dict[tuple[Any, ...], tuple[Any, ...]] = {}
        for row in load:
            key = tuple(row[i] for i in self._key)
            if key not in winners or self._rank(row) >= self._rank(winners[key]):
                winners[key] = row
        counts = {"superseded": len(load) - len(winners)}
        for key, row in winners.items():
            what = "inserted" if key not in self.rows else "unchanged" if self.rows[key] == row else "updated"
            counts[what] = counts.get(what, 0) + 1
            self.rows[key] = row
        return {what: count for what, count in counts.items() if count}

    def _rank(self, row: tuple[Any, ...]) -> float:
        value = None if self._order_by is None else row[self._order_by]
        return float("-inf") if value is None else float(value)


def _counts(published: Published) -> dict[str, int]:
    names = ("inserted", "updated", "unchanged", "superseded", "deleted", "removed")
    counts = {name: getattr(published, name) for name in names}
    return {name: count for name, count in counts.items() if count}


def _adds_up(published: Published, staged: int) -> bool:
    counts = _counts(published)
    return sum(count for name, count in counts.items() if name != "removed") == staged
