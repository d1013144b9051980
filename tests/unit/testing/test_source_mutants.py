"""Sources that are broken on purpose: each fails the test of the suite that it names."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from suiro.model.change import Change, Checkpoint, Rows
from suiro.model.errors import InternalError
from suiro.model.schema import ReadMode
from suiro.model.selection import Selection
from suiro.model.summary import Summary
from suiro.testing.memory import MemorySourceConfig, MemoryStreams
from suiro.testing.source_suite import SourceSuite
from suiro.toolkit.boundary import decode, encode
from unit.testing.mutants import QUICK, mutants, survives
from unit.testing.querying import QueryingSource

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from hypothesis import settings

    from suiro.model.schema import Position, Stream
    from suiro.spi.source import Read


class Broken(QueryingSource):
    """A source with one fault; `caught_by` names the test that finds it."""

    caught_by: ClassVar[str]


class Yielding(Broken):
    """Spoils the rows that it yields."""

    def read(self, read: Read, since: Position | None) -> Iterator[Change]:
        (selection,) = read.selections
        for change in super().read(read, since):
            yield self.spoil(change, selection, since) if isinstance(change, Rows) else change

    def spoil(self, rows: Rows, selection: Selection, since: Position | None) -> Rows:
        return rows


def keep(rows: Rows, chosen: Any) -> Rows:
    return dataclasses.replace(rows, data=rows.data.filter(pc.fill_null(chosen, True)))


def boundary(rows: Rows, selection: Selection, since: Position | None) -> Any:
    """Which rows lie at the last cursor value."""
    column = rows.data.column(selection.cursor_field)
    return pc.equal(column, pa.scalar(decode(since["cursor"]), column.type)) if since and since["cursor"] else None


# --- streams and full reads


class FindsEverything(Broken):
    caught_by = "test_an_unknown_stream_is_refused_and_near_ones_are_named"

    def find(self, name: str) -> Stream:
        return next(stream for stream in self.discover() if stream.name.lower()[:3] == name.lower()[:3])


class DiscoversNoKeys(Broken):
    caught_by = "test_streams_are_found_with_their_columns_and_key"

    def discover(self) -> Iterator[Stream]:
        for stream in super().discover():
            yield dataclasses.replace(stream, primary_key=())


class DiscoversTwice(Broken):
    caught_by = "test_streams_are_found_with_their_columns_and_key"

    def discover(self) -> Iterator[Stream]:
        yield from super().discover()
        yield from super().discover()


class ChecksByWriting(Broken):
    caught_by = "test_check_and_discover_change_nothing"

    def check(self) -> None:
        self.config.system.fill("check", pa.table({"a": [1]}))


class LosesTheLastRow(Broken):
    caught_by = "test_a_full_read_yields_every_row_once"

    def _chosen(self, read: Read, selection: Selection) -> pa.Table:
        return super()._chosen(read, selection)[:-1]


class DropsEqualRows(Broken):
    caught_by = "test_a_full_read_yields_every_row_once"

    def _chosen(self, read: Read, selection: Selection) -> pa.Table:
        rows = super()._chosen(read, selection)
        return rows.group_by(rows.column_names, use_threads=False).aggregate([])


class EndsWithoutACheckpoint(Broken):
    caught_by = "test_a_stream_without_rows_is_read_to_its_checkpoint"

    def read(self, read: Read, since: Position | None) -> Iterator[Change]:
        return (change for change in super().read(read, since) if not isinstance(change, Checkpoint))


class ReadsAllColumns(Broken):
    caught_by = "test_columns_are_chosen_and_keep_the_streams_order"

    def read(self, read: Read, since: Position | None) -> Iterator[Change]:
        (selection,) = read.selections
        every = dataclasses.replace(selection, columns=tuple(selection.stream.schema.names))
        return super().read(dataclasses.replace(read, selections=(every,)), since)


class SortsColumns(Yielding):
    caught_by = "test_streams_of_odd_names"

    def spoil(self, rows: Rows, selection: Selection, since: Position | None) -> Rows:
        return dataclasses.replace(rows, data=rows.data.select(sorted(rows.data.schema.names, reverse=True)))


class NarrowsNumbers(Yielding):
    caught_by = "test_many_rows_are_read_in_order_of_arrival_or_not_but_whole"

    def spoil(self, rows: Rows, selection: Selection, since: Position | None) -> Rows:
        fields = [pa.field(f.name, pa.int32() if f.type == pa.int64() else f.type) for f in rows.data.schema]
        return dataclasses.replace(rows, data=rows.data.cast(pa.schema(fields), safe=False))


class TakesNullForEmptyText(Yielding):
    caught_by = "test_a_full_read_yields_every_row_once"

    def spoil(self, rows: Rows, selection: Selection, since: Position | None) -> Rows:
        columns = [pc.fill_null(c, "") if c.type == pa.string() else c for c in rows.data.columns]
        return dataclasses.replace(rows, data=pa.record_batch(columns, schema=rows.data.schema))


class LosesMicroseconds(Yielding):
    caught_by = "test_values_at_the_limits_of_their_types_are_read_as_they_are"

    def spoil(self, rows: Rows, selection: Selection, since: Position | None) -> Rows:
        columns = [
            pc.floor_temporal(c, unit="millisecond") if pa.types.is_timestamp(c.type) else c for c in rows.data.columns
        ]
        return dataclasses.replace(rows, data=pa.record_batch(columns, schema=rows.data.schema))


class BreaksWhenClosedEarly(Broken):
    caught_by = "test_a_read_closed_early_leaves_the_source_usable"
    broken = False

    def read(self, read: Read, since: Position | None) -> Iterator[Change]:
        if self.broken:
            raise InternalError("the cursor is still open")
        self.broken = True
        yield from super().read(read, since)
        self.broken = False


class NeverCancels(Broken):
    caught_by = "test_a_read_that_is_cancelled_says_so"

    def _batches(self, rows: pa.Table) -> Iterator[pa.RecordBatch]:
        yield from rows.to_batches()


class StopsQuietlyWhenCancelled(Broken):
    caught_by = "test_a_read_that_is_cancelled_says_so"

    def _batches(self, rows: pa.Table) -> Iterator[pa.RecordBatch]:
        if not self.context._cancelled.is_set():  # type: ignore[attr-defined]
            yield from rows.to_batches()


class ReadsWhatIsGone(Broken):
    caught_by = "test_a_stream_that_went_away_is_an_error_of_ours"

    def plan(self, selections: Sequence[Selection]) -> Sequence[Read]:
        stream = next(iter(self.config.system.streams.values()))
        there = [s.stream.name in self.config.system.streams for s in selections]
        return super().plan(
            [s if t else Selection(stream=stream, columns=()) for s, t in zip(selections, there, strict=True)]
        )


# --- incremental reads


class LosesTheBoundary(Yielding):
    caught_by = "test_equal_cursor_values_at_the_boundary_are_neither_lost_nor_doubled"

    def spoil(self, rows: Rows, selection: Selection, since: Position | None) -> Rows:
        if selection.read_mode is not ReadMode.INCREMENTAL or boundary(rows, selection, since) is None:
            return rows
        return keep(rows, pc.invert(boundary(rows, selection, since)))


class DoublesTheBoundary(Broken):
    caught_by = "test_equal_cursor_values_at_the_boundary_are_neither_lost_nor_doubled"

    def read(self, read: Read, since: Position | None) -> Iterator[Change]:
        return super().read(read, since and {**since, "boundary": {}})


class TakesEqualRowsForOne(Broken):
    """Remembers that a row was at the boundary, not how often."""

    caught_by = "test_a_second_row_that_is_identical_is_carried"

    def read(self, read: Read, since: Position | None) -> Iterator[Change]:
        if since is not None:
            since = {**since, "boundary": dict.fromkeys(dict(since["boundary"]), 1000)}  # type: ignore[call-overload]
        return super().read(read, since)


class ForgetsTheBoundaryWhenNothingCame(Broken):
    caught_by = "test_a_read_that_finds_nothing_new_keeps_the_position"

    def read(self, read: Read, since: Position | None) -> Iterator[Change]:
        rows = 0
        for change in super().read(read, since):
            rows += change.data.num_rows if isinstance(change, Rows) else 0
            if isinstance(change, Checkpoint) and not rows:
                change = Checkpoint({**change.position, "boundary": {}})
            yield change


class CountsNothingLeftOut(Yielding):
    caught_by = "test_a_read_that_finds_nothing_new_keeps_the_position"

    def spoil(self, rows: Rows, selection: Selection, since: Position | None) -> Rows:
        return dataclasses.replace(rows, deduplicated=0)


class LosesRowsWithoutCursor(Yielding):
    caught_by = "test_rows_without_a_cursor_value_come_with_the_first_read_alone"

    def spoil(self, rows: Rows, selection: Selection, since: Position | None) -> Rows:
        return keep(rows, pc.is_valid(rows.data.column("v")))


class ReadsRowsWithoutCursorAgain(Broken):
    caught_by = "test_a_first_read_without_any_cursor_value_is_followed_by_what_comes_later"

    def read(self, read: Read, since: Position | None) -> Iterator[Change]:
        return super().read(read, None if since and since.get("cursor") is None else since)


class ForgetsLookBack(Broken):
    caught_by = "test_look_back_reads_again_what_lies_within_it"

    def read(self, read: Read, since: Position | None) -> Iterator[Change]:
        (selection,) = read.selections
        narrow = dataclasses.replace(selection, look_back=None)
        return super().read(dataclasses.replace(read, selections=(narrow,)), since)


class LooksBackToTheBeginning(Broken):
    caught_by = "test_look_back_in_time"

    def read(self, read: Read, since: Position | None) -> Iterator[Change]:
        (selection,) = read.selections
        return super().read(read, None if selection.look_back is not None else since)


class MovesThePositionAhead(Broken):
    caught_by = "test_look_back_brings_what_changed_within_it"

    def read(self, read: Read, since: Position | None) -> Iterator[Change]:
        for change in super().read(read, since):
            if isinstance(change, Checkpoint) and isinstance(change.position.get("cursor"), int):
                yield Checkpoint({**change.position, "cursor": int(str(change.position["cursor"])) + 10})
            else:
                yield change


class CutsCursorsToSeconds(Broken):
    caught_by = "test_cursors_of_time_keep_their_last_microsecond"

    def read(self, read: Read, since: Position | None) -> Iterator[Change]:
        for change in super().read(read, since):
            if isinstance(change, Checkpoint) and isinstance(change.position.get("cursor"), dict):
                cursor = decode(change.position["cursor"])
                if isinstance(cursor, datetime):
                    change = Checkpoint({**change.position, "cursor": encode(cursor - timedelta(microseconds=1))})
            yield change


class AnnouncesTooEarly(Broken):
    """Checkpoints before the rows that they cover."""

    caught_by = "test_every_checkpoint_within_a_read_is_safe_to_resume_at"

    def read(self, read: Read, since: Position | None) -> Iterator[Change]:
        changes = list(super().read(read, since))
        yield changes[-1]
        yield from changes


class TakesAnyPosition(Broken):
    caught_by = "test_a_position_of_another_cursor_is_not_taken"

    def read(self, read: Read, since: Position | None) -> Iterator[Change]:
        (selection,) = read.selections
        return super().read(read, since and {**since, "field": selection.cursor_field})


# --- powers


class SummarisesTheWholeStream(Broken):
    caught_by = "test_where_chooses_rows"

    def summarise(self, read: Read, *, columns: bool, key: tuple[str, ...]) -> Summary:
        (selection,) = read.selections
        whole = dataclasses.replace(selection, where=None)
        return super().summarise(dataclasses.replace(read, selections=(whole,)), columns=columns, key=key)


class CountsNullAsAValue(Broken):
    caught_by = "test_a_summary_equals_that_of_the_rows"

    def summarise(self, read: Read, *, columns: bool, key: tuple[str, ...]) -> Summary:
        found = super().summarise(read, columns=columns, key=key)
        counted = {name: dataclasses.replace(column, values=found.rows) for name, column in found.columns.items()}
        return Summary(rows=found.rows, columns=counted)


class IgnoresWhere(Broken):
    caught_by = "test_where_chooses_rows"

    def _chosen(self, read: Read, selection: Selection) -> pa.Table:
        return super()._chosen(read, dataclasses.replace(selection, where=None))


class ForgetsTheColumnsOfNothing(Broken):
    caught_by = "test_sql_is_run_and_wrong_sql_is_the_users_error"

    def query(self, sql: str) -> Iterator[pa.RecordBatch]:
        return (batch for batch in super().query(sql) if batch.num_rows)


class NamesTwoColumnsAlike(Broken):
    caught_by = "test_sql_is_run_and_wrong_sql_is_the_users_error"

    def query(self, sql: str) -> Iterator[pa.RecordBatch]:
        for batch in super().query(sql):
            yield batch.rename_columns([name.partition("_")[0] for name in batch.schema.names])


class MutantSuite(SourceSuite):
    kind: type[QueryingSource] = QueryingSource

    def prepare(self, folder: Path) -> None:
        super().prepare(folder)
        self.streams = MemoryStreams()

    def make(self) -> QueryingSource:
        return self.kind(MemorySourceConfig(system=self.streams), self.context())

    def fill(self, name: str, rows: pa.Table, key: tuple[str, ...]) -> None:
        self.streams.fill(name, rows, key)

    def add(self, name: str, rows: pa.Table) -> None:
        self.streams.add(name, rows)

    def settings(self) -> settings:
        return QUICK


MUTANTS = mutants(globals())


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_broken_source_is_caught(mutant: type[Broken], tmp_path: Path) -> None:
    suite = MutantSuite()
    suite.kind = mutant
    assert not survives(suite, mutant.caught_by, tmp_path)


@pytest.mark.parametrize("test", sorted({mutant.caught_by for mutant in MUTANTS}))
def test_the_tests_that_catch_them_let_the_sound_one_pass(test: str, tmp_path: Path) -> None:
    assert survives(MutantSuite(), test, tmp_path)
