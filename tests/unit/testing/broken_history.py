"""Destinations with a fault in histories, soft deletes or key snapshots."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from suiro.model.selection import CURRENT, DELETED_AT, VALID_FROM, VALID_TO, Deletes, WriteMode
from suiro.testing.memory import Disk
from unit.testing.broken_claims import Broken

if TYPE_CHECKING:
    from suiro.model.receipt import Entered
    from suiro.spi.destination import Staged


class Spoiled(Broken):
    """Does the right thing, and then spoils the table."""

    mode = WriteMode.HISTORY

    def _enter(self, disk: Disk, item: Staged, new: pa.Table, counts: Entered, replaced: set[str]) -> None:
        before = disk.rows.get(item.table.name)
        super()._enter(disk, item, new, counts, replaced)
        if item.spec.mode is self.mode and item.table.name in disk.rows:
            disk.rows[item.table.name] = self.spoiled(item, before, disk.rows[item.table.name])

    def spoiled(self, item: Staged, before: pa.Table | None, after: pa.Table) -> pa.Table:
        raise AssertionError("a mutant spoils")


def _with(rows: pa.Table, name: str, values: pa.ChunkedArray | pa.Array) -> pa.Table:
    at = rows.schema.get_field_index(name)
    return rows.set_column(at, rows.schema.field(at), values)


class NeverEndsAVersion(Spoiled):
    caught_by = "test_a_new_version_ends_the_one_before"

    def spoiled(self, item: Staged, before: pa.Table | None, after: pa.Table) -> pa.Table:
        return _with(after, VALID_TO, pa.nulls(len(after), after.schema.field(VALID_TO).type))


class CallsEveryVersionCurrent(Spoiled):
    caught_by = "test_several_versions_in_one_load_follow_each_other"

    def spoiled(self, item: Staged, before: pa.Table | None, after: pa.Table) -> pa.Table:
        return _with(after, CURRENT, pa.repeat(True, len(after)))


class TakesLateVersionsForTheLast(Spoiled):
    caught_by = "test_a_version_that_comes_late_goes_between"

    def spoiled(self, item: Staged, before: pa.Table | None, after: pa.Table) -> pa.Table:
        if before is None or len(after) <= len(before):
            return after
        known = set(before.column(VALID_FROM).to_pylist())
        fresh = pa.array([began not in known for began in after.column(VALID_FROM).to_pylist()])
        return _with(after, VALID_TO, pc.if_else(fresh, None, after.column(VALID_TO)))


class ForgetsWhatWasThere(Spoiled):
    caught_by = "test_a_table_that_exists_becomes_a_history"

    def spoiled(self, item: Staged, before: pa.Table | None, after: pa.Table) -> pa.Table:
        if before is not None and VALID_FROM not in before.column_names:
            return after.filter(pc.greater(pc.year(after.column(VALID_FROM)), 1))
        return after


class BeginsEverythingAtTheBeginning(Broken):
    caught_by = "test_rows_that_were_there_begin_at_their_own_time"

    def _enter(self, disk: Disk, item: Staged, new: pa.Table, counts: Entered, replaced: set[str]) -> None:
        if item.spec.mode is WriteMode.HISTORY:
            item = dataclasses.replace(item, spec=dataclasses.replace(item.spec, order_by=None))
        super()._enter(disk, item, new, counts, replaced)


class KeepsTheMarkOfARowThatReturns(Spoiled):
    caught_by = "test_a_soft_delete_marks_the_row_and_its_return_takes_the_mark_away"
    mode = WriteMode.MERGE

    def spoiled(self, item: Staged, before: pa.Table | None, after: pa.Table) -> pa.Table:
        if before is None or DELETED_AT not in before.column_names:
            return after
        marks = dict(zip(before.column("id").to_pylist(), before.column(DELETED_AT).to_pylist(), strict=True))
        rows = after.select(["id", DELETED_AT]).to_pylist()
        kept = [marks.get(row["id"]) or row[DELETED_AT] for row in rows]
        return _with(after, DELETED_AT, pa.array(kept, after.schema.field(DELETED_AT).type))


class IgnoresKeySnapshots(Broken):
    caught_by = "test_a_key_snapshot_takes_away_what_it_lacks"

    def _enter(self, disk: Disk, item: Staged, new: pa.Table, counts: Entered, replaced: set[str]) -> None:
        if not item.keys:
            super()._enter(disk, item, new, counts, replaced)


class DeletesWhereItShouldMark(Broken):
    caught_by = "test_a_key_snapshot_takes_away_what_it_lacks"

    def _enter(self, disk: Disk, item: Staged, new: pa.Table, counts: Entered, replaced: set[str]) -> None:
        if item.keys:
            item = dataclasses.replace(item, spec=dataclasses.replace(item.spec, deletes=Deletes.HARD))
        super()._enter(disk, item, new, counts, replaced)


class HasNoGuard(Broken):
    caught_by = "test_a_key_snapshot_that_would_delete_too_many_rows_is_refused"

    def _enter(self, disk: Disk, item: Staged, new: pa.Table, counts: Entered, replaced: set[str]) -> None:
        item = dataclasses.replace(item, spec=dataclasses.replace(item.spec, most_deleted=1.0))
        super()._enter(disk, item, new, counts, replaced)


class ComparesTheFirstColumnOfAKey(Broken):
    caught_by = "test_a_key_of_several_columns_is_compared_whole"

    def _enter(self, disk: Disk, item: Staged, new: pa.Table, counts: Entered, replaced: set[str]) -> None:
        if item.keys:
            item = dataclasses.replace(item, spec=dataclasses.replace(item.spec, key=item.spec.key[:1]))
            new = new.select(item.spec.key)
        super()._enter(disk, item, new, counts, replaced)


class TrustsAnyKeySnapshot(Broken):
    caught_by = "test_a_key_snapshot_that_is_not_what_was_read_deletes_nothing"

    def publish(self, staged, markers, expect):  # type: ignore[no-untyped-def]
        return super().publish(staged, markers, None if staged[0].keys else expect)
