"""Tests of incremental reads: no row is lost at the boundary, and none comes twice."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suiro.model.errors import ResyncRequired, UserError
from suiro.model.schema import Position
from suiro.testing.cells import assert_rows, cells
from suiro.testing.source_harness import SCHEMA, Found, SourceHarness

TIMES = pa.schema([("id", pa.int64()), ("at", pa.timestamp("us", "UTC"))])
PLAIN_TIMES = pa.schema([("id", pa.int64()), ("at", pa.timestamp("us"))])
DAYS = pa.schema([("id", pa.int64()), ("at", pa.date32())])
NOON = datetime(2024, 2, 29, 12, tzinfo=UTC)

#: Rounds of rows that come between two reads: how far the cursor moves on from the greatest so far, and a text.
ROUNDS = st.lists(
    st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["a", "b"])), max_size=6), min_size=1, max_size=4
)


class IncrementTests(SourceHarness):
    """Reads that resume where the last one ended."""

    def test_equal_cursor_values_at_the_boundary_are_neither_lost_nor_doubled(self) -> None:
        @self.settings()
        @given(ROUNDS)
        def holds(rounds: list[list[tuple[int, str]]]) -> None:
            name = self.filled(self.rows())
            greatest, everything = 0, list[tuple[Any, ...]]()
            batches, since = list[pa.RecordBatch](), None
            for coming in rounds:
                rows = []
                for step, text in coming:
                    greatest += step
                    rows.append((0, text, greatest))
                everything += rows
                self.add(name, self.rows(*rows))
                source = self.open()
                found = self.consume(source, self.follow(source, name), since)
                batches, since = [*batches, *found.batches], found.position
                self.finish()
                carried = pa.Table.from_batches(batches, found.rows.schema)
                assert_rows(self.rows(*everything), carried, self.decode)

        holds()

    def test_a_read_that_finds_nothing_new_keeps_the_position(self) -> None:
        name = self.filled(self.rows((1, "a", 10), (2, "b", 20), (3, "c", 20)))
        source = self.open()
        first = self.consume(source, self.follow(source, name))
        again = self.consume(source, self.follow(source, name), first.position)
        self.assert_found(self.rows(), again)
        assert again.deduplicated == 2
        assert json.dumps(again.position, sort_keys=True) == json.dumps(first.position, sort_keys=True)

    def test_a_second_row_that_is_identical_is_carried(self) -> None:
        name = self.filled(self.rows((1, "a", 10)))
        source = self.open()
        since = self.consume(source, self.follow(source, name)).position
        self.add(name, self.rows((1, "a", 10), (1, "a", 10)))
        other = self.open()
        found = self.consume(other, self.follow(other, name), since)
        self.assert_found(self.rows((1, "a", 10), (1, "a", 10)), found)
        assert found.deduplicated == 1

    def test_rows_without_a_cursor_value_come_with_the_first_read_alone(self) -> None:
        everything = self.rows((1, "a", None), (2, "b", 20), (3, "c", None))
        name = self.filled(everything)
        source = self.open()
        first = self.consume(source, self.follow(source, name))
        self.assert_found(everything, first)
        self.add(name, self.rows((4, "d", 30)))
        found = self.consume(source, self.follow(source, name), first.position)
        self.assert_found(self.rows((4, "d", 30)), found)

    def test_a_first_read_without_any_cursor_value_is_followed_by_what_comes_later(self) -> None:
        everything = self.rows((1, "a", None))
        name = self.filled(everything)
        source = self.open()
        first = self.consume(source, self.follow(source, name))
        self.assert_found(everything, first)
        self.assert_found(self.rows(), self.consume(source, self.follow(source, name), first.position))
        self.add(name, self.rows((2, "b", 1)))
        self.assert_found(self.rows((2, "b", 1)), self.consume(source, self.follow(source, name), first.position))

    def test_a_stream_that_was_empty_at_first_is_followed(self) -> None:
        name = self.filled(self.rows())
        source = self.open()
        first = self.consume(source, self.follow(source, name))
        self.assert_found(self.rows(), first)
        self.add(name, self.rows((1, "a", 10)))
        self.assert_found(self.rows((1, "a", 10)), self.consume(source, self.follow(source, name), first.position))

    def test_look_back_reads_again_what_lies_within_it(self) -> None:
        name = self.filled(self.rows((1, "a", 10), (2, "b", 17), (3, "c", 20)))
        source = self.open()
        first = self.consume(source, self.follow(source, name, look_back=5, deduplicate=False))
        assert first.rows.num_rows == 3
        self.add(name, self.rows((4, "late", 15), (5, "too late", 14), (6, "d", 21)))
        found = self.consume(source, self.follow(source, name, look_back=5, deduplicate=False), first.position)
        self._assert_between(self.rows((4, "late", 15), (6, "d", 21)), self.rows((2, "b", 17), (3, "c", 20)), found)

    def test_look_back_in_time(self) -> None:
        at = [NOON - timedelta(minutes=minutes) for minutes in (90, 59, 0)]
        name = self.filled(self.rows(*enumerate(at), schema=TIMES))
        source = self.open()
        hour = timedelta(hours=1)
        first = self.consume(source, self.follow(source, name, "at", look_back=hour, deduplicate=False))
        found = self.consume(source, self.follow(source, name, "at", look_back=hour, deduplicate=False), first.position)
        self._assert_between(self.rows(schema=TIMES), self.rows((1, at[1]), (2, at[2]), schema=TIMES), found)

    def test_look_back_brings_what_changed_within_it(self) -> None:
        name = self.filled(self.rows((2, "b", 17), (3, "c", 20)))
        source = self.open()
        first = self.consume(source, self.follow(source, name, look_back=5))
        self.add(name, self.rows((4, "late", 15), (6, "d", 20)))
        found = self.consume(source, self.follow(source, name, look_back=5), first.position)
        self._assert_between(self.rows((4, "late", 15), (6, "d", 20)), self.rows((2, "b", 17)), found)

    def test_without_deduplication_nothing_is_lost(self) -> None:
        name = self.filled(self.rows((1, "a", 10), (2, "b", 20)))
        source = self.open()
        first = self.consume(source, self.follow(source, name, deduplicate=False))
        self.add(name, self.rows((2, "b", 20), (3, "c", 20), (4, "d", 21)))
        found = self.consume(source, self.follow(source, name, deduplicate=False), first.position)
        self._assert_between(self.rows((2, "b", 20), (3, "c", 20), (4, "d", 21)), self.rows((2, "b", 20)), found)

    def test_a_position_of_another_cursor_is_not_taken(self) -> None:
        name = self.filled(self.rows((1, "a", 10)))
        source = self.open()
        since = self.consume(source, self.follow(source, name, "v")).position
        with pytest.raises((ResyncRequired, UserError)):
            self.consume(source, self.follow(source, name, "id"), since)

    @pytest.mark.parametrize("kind", ["timestamp in UTC", "timestamp", "date"])
    def test_cursors_of_time_keep_their_last_microsecond(self, kind: str) -> None:
        schema = {"timestamp in UTC": TIMES, "timestamp": PLAIN_TIMES, "date": DAYS}[kind]
        naive = NOON.replace(tzinfo=None)
        base: Any = {"timestamp in UTC": NOON, "timestamp": naive, "date": naive.date()}[kind]
        tick = timedelta(days=1) if kind == "date" else timedelta(microseconds=1)
        old = self.rows((1, base - tick), (2, base), schema=schema)
        new = self.rows((3, base), (4, base + tick), schema=schema)
        name = self.filled(old)
        source = self.open()
        first = self.consume(source, self.follow(source, name, "at"))
        self.assert_found(old, first)
        self.add(name, new)
        found = self.consume(source, self.follow(source, name, "at"), first.position)
        self.assert_found(new, found)
        assert found.deduplicated == 1

    def test_a_column_that_comes_later_does_not_bring_back_old_rows(self) -> None:
        name = self.filled(self.rows((1, "a", 10), (2, "b", 20)))
        source = self.open()
        narrow = self.follow(source, name)
        narrow = type(narrow)(
            stream=narrow.stream, columns=("id", "v"), read_mode=narrow.read_mode, cursor_field=narrow.cursor_field
        )
        first = self.consume(source, narrow)
        found = self.consume(source, self.follow(source, name), first.position)
        self.assert_found(self.rows(), found)

    def test_every_checkpoint_within_a_read_is_safe_to_resume_at(self) -> None:
        many = 5_000
        rows = pa.table([range(many), ["a"] * many, [n // 7 for n in range(many)]], schema=SCHEMA)
        name = self.filled(rows)
        source = self.open()
        whole = self.consume(source, self.follow(source, name))
        for position in _some(whole.positions):
            before = self._until(source, name, position)
            rest = self.consume(source, self.follow(source, name), json.loads(json.dumps(position)))
            carried = pa.Table.from_batches([*before, *rest.batches], whole.rows.schema)
            assert_rows(rows, carried, self.decode, "resumed at a checkpoint")

    def _assert_between(self, least: pa.Table, also: pa.Table, found: Found) -> None:
        """Every row of `least` came, and of others only those of `also`, each at most once."""
        carried = pa.table([self.decode(found.rows.column(f.name), f) for f in least.schema], schema=least.schema)
        there, wanted, allowed = (Counter(cells(rows)) for rows in (carried, least, also))
        assert not wanted - there, f"missing: {wanted - there}"
        assert not there - wanted - allowed, f"too many: {there - wanted - allowed}"

    def _until(self, source: Any, name: str, position: Position) -> list[pa.RecordBatch]:
        """What a read yields before the checkpoint of this position."""
        batches = []
        for read in source.plan([self.follow(source, name)]):
            for change in source.read(read, None):
                if hasattr(change, "data"):
                    batches.append(change.data)
                elif change.position == position:
                    return batches
        raise AssertionError("the checkpoint did not come again")


def _some(positions: list[Position]) -> list[Position]:
    """The first, one in the middle and the last."""
    return [positions[0], positions[len(positions) // 2], positions[-1]]
