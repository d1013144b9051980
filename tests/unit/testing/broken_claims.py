"""Destinations with a fault in their claims, staging or publishing."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa

from suiro.model.errors import Fenced
from suiro.model.job import TaskKey
from suiro.model.schema import Table
from suiro.model.selection import WriteMode
from suiro.model.summary import EMPTY, Summary
from suiro.testing.memory import MemoryDestination, MemoryStage
from suiro.testing.memory_store import Disk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from suiro.model.selection import WriteSpec
    from suiro.spi.destination import Claim, Marker, Published, Stage, Staged


class Broken(MemoryDestination):
    """A destination with one fault; `caught_by` names the test that finds it."""

    caught_by: ClassVar[str]

    def change(self, item: Staged, **fields: Any) -> Staged:
        return dataclasses.replace(item, **fields)

    def respec(self, item: Staged, **fields: Any) -> Staged:
        return dataclasses.replace(item, spec=dataclasses.replace(item.spec, **fields))


# --- markers, claims, fences


class PublishesWithoutMarker(Broken):
    caught_by = "test_publish_moves_the_marker_that_the_next_claim_tells"

    def _mark(self, disk: Disk, markers: Sequence[Marker]) -> None:
        pass


class MovesOneMarkerOfTwo(Broken):
    caught_by = "test_two_tables_are_published_in_one_act"

    def _mark(self, disk: Disk, markers: Sequence[Marker]) -> None:
        super()._mark(disk, markers[:1])


class FlattensPositions(Broken):
    caught_by = "test_a_position_comes_back_as_it_was"

    def _mark(self, disk: Disk, markers: Sequence[Marker]) -> None:
        for marker in markers:
            disk.markers[marker.key.digest()] = {k: str(v) for k, v in marker.position.items()}


class KeepsMarkersOfDroppedTables(Broken):
    caught_by = "test_the_marker_is_void_when_the_table_was_dropped"

    def claim(self, key: TaskKey, run: str) -> Claim:
        claim = super().claim(key, run)
        return dataclasses.replace(claim, position=self.store.load().markers.get(key.digest()))


class HoldsNoLease(Broken):
    caught_by = "test_a_claim_is_refused_while_another_run_holds_the_task"

    def claim(self, key: TaskKey, run: str) -> Claim:
        claim = super().claim(key, run)
        self.store.release(self)
        return claim


class NamesNobodyWhenRefusing(Broken):
    caught_by = "test_a_claim_is_refused_while_another_run_holds_the_task"

    def claim(self, key: TaskKey, run: str) -> Claim:
        return super().claim(key, "somebody")


class BreaksLeasesWhenRefused(Broken):
    caught_by = "test_a_refused_claim_harms_nobody"

    def close(self) -> None:
        super().close()
        self.store.leases.clear()


class KeepsItsLeaseAfterClose(Broken):
    caught_by = "test_a_claim_is_refused_while_another_run_holds_the_task"

    def close(self) -> None:
        pass


class KnowsNoEpochs(Broken):
    caught_by = "test_epochs_rise_from_run_to_run"

    def claim(self, key: TaskKey, run: str) -> Claim:
        return dataclasses.replace(super().claim(key, run), epoch=1)


class FencesNobody(Broken):
    caught_by = "test_a_run_that_lost_its_lease_is_fenced"

    def claim(self, key: TaskKey, run: str) -> Claim:
        kept = self.store.load().staging
        claim = super().claim(key, run)
        with self.store.transaction() as disk:
            disk.staging.update(kept)
        return claim

    def _fence(self, disk: Disk, item: Staged) -> None:
        pass


class FencesOneTaskByName(Broken):
    """All tasks whose tables begin alike share one claim."""

    caught_by = "test_tables_whose_names_differ_at_the_limit_alone"

    def claim(self, key: TaskKey, run: str) -> Claim:
        return super().claim(dataclasses.replace(key, table=key.table[:60]), run)


class FencesAfterPublishing(Broken):
    caught_by = "test_a_run_that_claims_anew_is_given_a_later_epoch_and_its_older_rows_are_fenced"

    def publish(self, staged: Sequence[Staged], markers: Sequence[Marker], expect: Summary | None) -> Published:
        with contextlib.suppress(Fenced):
            return super().publish(staged, markers, expect)
        with self.store.transaction() as disk:
            disk.tables[staged[0].table.name] = staged[0].table
            disk.rows[staged[0].table.name] = staged[0].table.schema.empty_table()
        raise Fenced("too late")


# --- staging


class LeavesStagingAfterPublish(Broken):
    caught_by = "test_staging_is_gone_after_publish_abort_and_close"

    def publish(self, staged: Sequence[Staged], markers: Sequence[Marker], expect: Summary | None) -> Published:
        published = super().publish(staged, markers, expect)
        with self.store.transaction() as disk:
            disk.staging["left"] = ()
        return published


class LeavesStagingAfterClose(Broken):
    caught_by = "test_staging_is_gone_after_publish_abort_and_close"

    def close(self) -> None:
        self._mine.clear()
        super().close()


class LeavesTheStagingOfTheDead(Broken):
    caught_by = "test_killed_between_any_two_steps_a_new_table_holds_all_rows_or_is_missing"

    def claim(self, key: TaskKey, run: str) -> Claim:
        left = self.store.load().staging
        claim = super().claim(key, run)
        with self.store.transaction() as disk:
            disk.staging.update(left)
        return claim


class AbortsNothing(Broken):
    caught_by = "test_a_stage_that_is_left_by_an_error_is_dropped"

    def stage(
        self, table: Table, spec: WriteSpec, claim: Claim, *, truncates: bool = False, keys: bool = False
    ) -> Stage:
        stage = super().stage(table, spec, claim, truncates=truncates, keys=keys)
        assert isinstance(stage, MemoryStage)
        with self.store.transaction() as disk:
            disk.staging[stage._staged.location] = ()
        stage.abort = lambda: None  # type: ignore[method-assign]
        return stage


class LeavesTracesOfItsCheck(Broken):
    caught_by = "test_check_succeeds_and_leaves_nothing"

    def check(self) -> None:
        with self.store.transaction() as disk:
            disk.staging["check"] = ()


class PublishesWhatWasPublished(Broken):
    caught_by = "test_publishing_the_same_staged_rows_twice_changes_nothing"

    def publish(self, staged: Sequence[Staged], markers: Sequence[Marker], expect: Summary | None) -> Published:
        kept = {item.location: self.store.load().staging[item.location] for item in staged}
        published = super().publish(staged, markers, expect)
        with self.store.transaction() as disk:
            disk.staging.update(kept)
        return published


# --- publishing


class ShowsTheTableWhileStaging(Broken):
    caught_by = "test_nothing_is_visible_before_publish"

    def stage(
        self, table: Table, spec: WriteSpec, claim: Claim, *, truncates: bool = False, keys: bool = False
    ) -> Stage:
        with self.store.transaction() as disk:
            disk.tables.setdefault(table.name, table)
            disk.rows.setdefault(table.name, table.schema.empty_table())
        return super().stage(table, spec, claim, truncates=truncates, keys=keys)


class EmptiesTheTableWhileStaging(Broken):
    caught_by = "test_nothing_is_visible_before_publish"

    def stage(
        self, table: Table, spec: WriteSpec, claim: Claim, *, truncates: bool = False, keys: bool = False
    ) -> Stage:
        with self.store.transaction() as disk:
            if spec.mode is WriteMode.REPLACE and table.name in disk.rows:
                disk.rows[table.name] = disk.rows[table.name].slice(0, 0)
        return super().stage(table, spec, claim, truncates=truncates, keys=keys)


class ComparesNothing(Broken):
    caught_by = "test_what_differs_from_what_was_read_is_not_published"

    def _compared(self, staged: Sequence[Staged], sealed: Sequence[pa.Table], expect: Summary | None) -> Summary:
        return expect or super()._compared(staged, sealed, None)


class ComparesRowsAlone(Broken):
    caught_by = "test_what_differs_from_what_was_read_is_not_published"

    def _compared(self, staged: Sequence[Staged], sealed: Sequence[pa.Table], expect: Summary | None) -> Summary:
        return super()._compared(staged, sealed, expect and Summary(rows=expect.rows, columns={}))


class ComparesAfterPublishing(Broken):
    caught_by = "test_what_differs_from_what_was_read_is_not_published"

    def publish(self, staged: Sequence[Staged], markers: Sequence[Marker], expect: Summary | None) -> Published:
        sealed = [self._sealed(self.store.load(), item) for item in staged]
        published = super().publish(staged, markers, None)
        self._compared(staged, sealed, expect)
        return published


class ComparesTheLastSegmentAlone(Broken):
    caught_by = "test_segments_enter_in_their_order_and_add_up"

    def _compared(self, staged: Sequence[Staged], sealed: Sequence[pa.Table], expect: Summary | None) -> Summary:
        return super()._compared(staged[-1:], sealed[-1:], None)


class FindsNothing(Broken):
    caught_by = "test_what_was_found_equals_what_was_read"

    def publish(self, staged: Sequence[Staged], markers: Sequence[Marker], expect: Summary | None) -> Published:
        return dataclasses.replace(super().publish(staged, markers, expect), found=EMPTY)


class SavesRowsBeforeTheMarker(Broken):
    caught_by = "test_killed_between_any_two_steps_a_table_holds_the_old_rows_or_the_new"

    def publish(self, staged: Sequence[Staged], markers: Sequence[Marker], expect: Summary | None) -> Published:
        published = super().publish(staged, [], expect)
        with self.store.transaction() as disk:
            self._mark(disk, markers)
        return published


class SavesTheMarkerBeforeRows(Broken):
    caught_by = "test_killed_between_any_two_steps_a_table_holds_the_old_rows_or_the_new"

    def publish(self, staged: Sequence[Staged], markers: Sequence[Marker], expect: Summary | None) -> Published:
        with self.store.transaction() as disk:
            self._mark(disk, markers)
        return super().publish(staged, [], expect)


class EmptiesBeforeItFills(Broken):
    caught_by = "test_killed_between_any_two_steps_a_table_holds_the_old_rows_or_the_new"

    def publish(self, staged: Sequence[Staged], markers: Sequence[Marker], expect: Summary | None) -> Published:
        for item in staged:
            if item.spec.mode is WriteMode.REPLACE and item.table.name in self.store.load().rows:
                with self.store.transaction() as disk:
                    disk.rows[item.table.name] = disk.rows[item.table.name].slice(0, 0)
        return super().publish(staged, markers, expect)
