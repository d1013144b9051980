"""Destinations with a fault in what enters a table, in drift, types or names."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from suiro.model.change import OP
from suiro.model.errors import ConfigError, SchemaConflict
from suiro.model.schema import Table
from suiro.model.selection import Deletes, WriteMode
from suiro.model.summary import Summary
from suiro.testing.memory import MemoryStage
from suiro.testing.memory_store import Disk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from suiro.model.receipt import Entered
    from suiro.model.selection import WriteSpec
    from suiro.spi.destination import Claim, Marker, Published, Stage, Staged


from unit.testing.broken_claims import Broken

# --- write modes: each enters something else than it should


class Entering(Broken):
    """Spoils what enters a table."""

    def _enter(self, disk: Disk, item: Staged, new: pa.Table, counts: Entered, replaced: set[str]) -> None:
        super()._enter(disk, *self.spoil(item, new), counts, replaced)

    def spoil(self, item: Staged, new: pa.Table) -> tuple[Staged, pa.Table]:
        return item, new


class DropsTheLastRow(Entering):
    caught_by = "test_each_mode_enters_rows_its_way_and_counts_them"

    def spoil(self, item: Staged, new: pa.Table) -> tuple[Staged, pa.Table]:
        return item, new.slice(0, max(len(new) - 1, 0))


class DropsEqualRows(Entering):
    caught_by = "test_append_keeps_equal_rows"

    def spoil(self, item: Staged, new: pa.Table) -> tuple[Staged, pa.Table]:
        return item, new.group_by(new.column_names).aggregate([])


class LosesAllBatchesButTheFirst(Entering):
    caught_by = "test_many_rows_in_many_batches"

    def spoil(self, item: Staged, new: pa.Table) -> tuple[Staged, pa.Table]:
        return item, pa.Table.from_batches(new.to_batches()[:1], new.schema)


class ForgetsOrderBy(Entering):
    caught_by = "test_merge_keeps_the_last_row_of_each_key_and_counts_every_row"

    def spoil(self, item: Staged, new: pa.Table) -> tuple[Staged, pa.Table]:
        return self.respec(item, order_by=None), new


class KeepsTheFirstToArrive(Entering):
    caught_by = "test_merge_keeps_the_last_row_of_each_key_and_counts_every_row"

    def spoil(self, item: Staged, new: pa.Table) -> tuple[Staged, pa.Table]:
        return item, new.take(pa.array(range(len(new) - 1, -1, -1), pa.int64()))


class TakesNullForTheGreatest(Entering):
    caught_by = "test_merge_keeps_the_last_row_of_each_key_and_counts_every_row"

    def spoil(self, item: Staged, new: pa.Table) -> tuple[Staged, pa.Table]:
        if item.spec.order_by is None:
            return item, new
        order = new.column(item.spec.order_by)
        ranked = new.append_column("rank", order).sort_by([("rank", "ascending")]).drop_columns(["rank"])
        return self.respec(item, order_by=None), ranked


class OrdersBySeconds(Entering):
    caught_by = "test_merge_orders_by_time_within_microseconds"

    def spoil(self, item: Staged, new: pa.Table) -> tuple[Staged, pa.Table]:
        column = item.spec.order_by
        if column is None or not pa.types.is_timestamp(new.schema.field(column).type):
            return item, new
        at = new.schema.get_field_index(column)
        return item, new.set_column(at, column, pc.floor_temporal(new.column(at), unit="second"))


class MergesByHalfTheKey(Entering):
    caught_by = "test_merge_keeps_the_last_row_of_each_key_and_counts_every_row"

    def spoil(self, item: Staged, new: pa.Table) -> tuple[Staged, pa.Table]:
        return self.respec(item, key=item.spec.key[:1]), new


class RanksAgainstTheTable(Broken):
    caught_by = "test_merge_ranks_the_rows_of_a_load_and_not_those_of_the_table"

    def _enter(self, disk: Disk, item: Staged, new: pa.Table, counts: Entered, replaced: set[str]) -> None:
        old = disk.rows.get(item.table.name)
        if item.spec.order_by and old is not None:
            new = pa.concat_tables([new, old.select(new.column_names)])
        super()._enter(disk, item, new, counts, replaced)


class AppendsInsteadOfReplacing(Entering):
    caught_by = "test_replace_again_and_again_leaves_the_last_rows"

    def spoil(self, item: Staged, new: pa.Table) -> tuple[Staged, pa.Table]:
        return self.respec(item, mode=WriteMode.APPEND, key=()), new


class KeepsATableThatNothingReplaces(Broken):
    caught_by = "test_replace_without_rows_empties_the_table"

    def _enter(self, disk: Disk, item: Staged, new: pa.Table, counts: Entered, replaced: set[str]) -> None:
        if len(new) or item.table.name not in disk.rows:
            super()._enter(disk, item, new, counts, replaced)


class ReplacesTheSegmentBefore(Broken):
    caught_by = "test_segments_enter_in_their_order_and_add_up"

    def _enter(self, disk: Disk, item: Staged, new: pa.Table, counts: Entered, replaced: set[str]) -> None:
        super()._enter(disk, item, new, counts, set())


class NeverTruncates(Entering):
    caught_by = "test_a_segment_that_truncates_empties_what_came_before"

    def spoil(self, item: Staged, new: pa.Table) -> tuple[Staged, pa.Table]:
        return self.change(item, truncates=False), new


class TruncatesOnlyForRows(Entering):
    caught_by = "test_a_segment_that_truncates_and_has_no_rows_empties_the_table"

    def spoil(self, item: Staged, new: pa.Table) -> tuple[Staged, pa.Table]:
        return self.change(item, truncates=item.truncates and bool(len(new))), new


class SkipsNothingThatExists(Entering):
    caught_by = "test_append_leaves_out_what_the_table_holds_already"

    def spoil(self, item: Staged, new: pa.Table) -> tuple[Staged, pa.Table]:
        return self.respec(item, skip_existing=()), new


class DeletesNothing(Entering):
    caught_by = "test_merge_follows_a_log_with_deletes"

    def spoil(self, item: Staged, new: pa.Table) -> tuple[Staged, pa.Table]:
        return self.respec(item, deletes=Deletes.SKIP), new


class DeletesAlways(Entering):
    caught_by = "test_merge_follows_a_log_with_deletes"

    def spoil(self, item: Staged, new: pa.Table) -> tuple[Staged, pa.Table]:
        return self.respec(item, deletes=Deletes.HARD), new


class AppliesDeletesFirst(Entering):
    caught_by = "test_merge_follows_a_log_with_deletes"

    def spoil(self, item: Staged, new: pa.Table) -> tuple[Staged, pa.Table]:
        if OP not in new.column_names:
            return item, new
        gone = pc.equal(new.column(OP), "d")
        return item, pa.concat_tables([new.filter(gone), new.filter(pc.invert(gone))])


class TakesNullKeys(Broken):
    caught_by = "test_a_key_that_is_null_is_refused"

    def stage(
        self, table: Table, spec: WriteSpec, claim: Claim, *, truncates: bool = False, keys: bool = False
    ) -> Stage:
        stage = super().stage(table, dataclasses.replace(spec, key=()), claim, truncates=truncates, keys=keys)
        assert isinstance(stage, MemoryStage)
        sealing = stage.seal
        stage.seal = lambda: dataclasses.replace(sealing(), spec=spec)  # type: ignore[method-assign]
        return stage


class CountsUnchangedAsUpdated(Broken):
    caught_by = "test_each_mode_enters_rows_its_way_and_counts_them"

    def publish(self, staged: Sequence[Staged], markers: Sequence[Marker], expect: Summary | None) -> Published:
        found = super().publish(staged, markers, expect)
        return dataclasses.replace(found, updated=found.updated + found.unchanged, unchanged=0)


class PublishesTheFirstTableAlone(Broken):
    caught_by = "test_two_tables_are_published_in_one_act"

    def publish(self, staged: Sequence[Staged], markers: Sequence[Marker], expect: Summary | None) -> Published:
        mine = [item for item in staged if item.table.name == staged[0].table.name]
        return super().publish(mine, markers, expect if len(mine) == len(staged) else None)


# --- drift


class DropsColumnsThatGo(Broken):
    caught_by = "test_columns_that_go_stay_in_the_table"

    def _enter(self, disk: Disk, item: Staged, new: pa.Table, counts: Entered, replaced: set[str]) -> None:
        super()._enter(disk, item, new, counts, replaced)
        names = item.table.schema.names
        disk.rows[item.table.name] = disk.rows[item.table.name].select(names)
        disk.tables[item.table.name] = item.table


class EmptiesColumnsThatGo(Entering):
    caught_by = "test_columns_that_go_stay_in_the_table"

    def spoil(self, item: Staged, new: pa.Table) -> tuple[Staged, pa.Table]:
        found = self.inspect(item.table.name)
        for field in found.schema if found else []:
            if field.name not in new.column_names:
                new = new.append_column(field, pa.nulls(len(new), field.type))
        return item, new


class LeavesNewColumnsOut(Entering):
    caught_by = "test_columns_that_come_are_added"

    def spoil(self, item: Staged, new: pa.Table) -> tuple[Staged, pa.Table]:
        found = self.inspect(item.table.name)
        if found is None:
            return item, new
        new = new.select([name for name in new.column_names if name in found.schema.names])
        return self.change(item, table=found), new


class EntersByPlace(Entering):
    caught_by = "test_columns_may_come_in_another_order"

    def spoil(self, item: Staged, new: pa.Table) -> tuple[Staged, pa.Table]:
        found = self.inspect(item.table.name)
        if found is None or found.schema.equals(new.schema) or len(found.schema) != len(new.schema):
            return item, new
        new = new.rename_columns(found.schema.names)
        return self.change(item, table=dataclasses.replace(found, schema=new.schema)), new


class WidensNothing(Entering):
    caught_by = "test_types_widen_and_keep_every_value"

    def spoil(self, item: Staged, new: pa.Table) -> tuple[Staged, pa.Table]:
        found = self.inspect(item.table.name)
        if found is None:
            return item, new
        fields = [f if f.name not in found.schema.names else found.schema.field(f.name) for f in new.schema]
        new = new.cast(pa.schema(fields), safe=False)
        return self.change(item, table=dataclasses.replace(item.table, schema=new.schema)), new


class TurnsConflictsIntoText(Broken):
    caught_by = "test_types_that_exclude_each_other_are_refused_whole"

    def _enter(self, disk: Disk, item: Staged, new: pa.Table, counts: Entered, replaced: set[str]) -> None:
        try:
            super()._enter(disk, item, new, counts, replaced)
        except SchemaConflict:
            counts.inserted += len(new)


# --- types and names


class LosesMicroseconds(Entering):
    caught_by = "test_a_plain_type_comes_back_equal_or_is_refused_by_its_column"

    def spoil(self, item: Staged, new: pa.Table) -> tuple[Staged, pa.Table]:
        at = new.schema.get_field_index("c_value")
        if at < 0 or new.schema.field(at).type != pa.timestamp("us"):
            return item, new
        return item, new.set_column(at, new.schema.field(at), pc.floor_temporal(new.column(at), unit="millisecond"))


class LosesTheSignOfZero(Entering):
    caught_by = "test_a_plain_type_comes_back_equal_or_is_refused_by_its_column"

    def spoil(self, item: Staged, new: pa.Table) -> tuple[Staged, pa.Table]:
        at = new.schema.get_field_index("c_value")
        if at < 0 or new.schema.field(at).type != pa.float64():
            return item, new
        return item, new.set_column(at, new.schema.field(at), pc.add(new.column(at), 0.0))


class RefusesWithoutSayingWhat(Broken):
    caught_by = "test_a_plain_type_comes_back_equal_or_is_refused_by_its_column"

    def stage(
        self, table: Table, spec: WriteSpec, claim: Claim, *, truncates: bool = False, keys: bool = False
    ) -> Stage:
        if any(pa.types.is_decimal256(field.type) for field in table.schema):
            raise ConfigError("this table can't be loaded")
        return super().stage(table, spec, claim, truncates=truncates, keys=keys)


class RefusesEverythingHard(Broken):
    caught_by = "test_a_plain_type_comes_back_equal_or_is_refused_by_its_column"

    def stage(
        self, table: Table, spec: WriteSpec, claim: Claim, *, truncates: bool = False, keys: bool = False
    ) -> Stage:
        if not {pa.int64(), pa.string()}.issuperset(table.schema.types):
            raise ConfigError(f"columns of other types than numbers and text: {table.schema.names}")
        return super().stage(table, spec, claim, truncates=truncates, keys=keys)


class ForgetsLogicalTypes(Broken):
    caught_by = "test_a_logical_type_is_restored_where_claimed_and_else_stored_as_it_travels"

    def inspect(self, name: str) -> Table | None:
        found = super().inspect(name)
        return found and dataclasses.replace(found, schema=pa.schema([f.remove_metadata() for f in found.schema]))


class InspectsInAnotherOrder(Broken):
    caught_by = "test_a_table_is_inspected_as_it_can_be_staged"

    def inspect(self, name: str) -> Table | None:
        found = super().inspect(name)
        return found and dataclasses.replace(found, schema=pa.schema(sorted(found.schema, key=lambda f: f.name)))


class TripsOverQuotes(Broken):
    caught_by = "test_columns_of_odd_names"

    def stage(
        self, table: Table, spec: WriteSpec, claim: Claim, *, truncates: bool = False, keys: bool = False
    ) -> Stage:
        try:
            json.loads("{" + ",".join(f'"{name}": 1' for name in table.schema.names) + "}")
        except ValueError as error:
            raise ConfigError(f"syntax error: {error}") from error
        return super().stage(table, spec, claim, truncates=truncates, keys=keys)


class FoldsTableNames(Broken):
    caught_by = "test_tables_of_odd_names"

    def _enter(self, disk: Disk, item: Staged, new: pa.Table, counts: Entered, replaced: set[str]) -> None:
        table = dataclasses.replace(item.table, name=item.table.name.lower())
        super()._enter(disk, self.change(item, table=table), new, counts, replaced)


class TakesTablesWithoutColumns(Broken):
    caught_by = "test_a_table_without_columns_is_refused"

    def stage(
        self, table: Table, spec: WriteSpec, claim: Claim, *, truncates: bool = False, keys: bool = False
    ) -> Stage:
        schema = table.schema if table.schema.names else pa.schema([("nothing", pa.int64())])
        stage = super().stage(
            dataclasses.replace(table, schema=schema),
            dataclasses.replace(spec, key=()),
            claim,
            truncates=truncates,
            keys=keys,
        )
        stage.write = lambda data: None  # type: ignore[method-assign]
        return stage
