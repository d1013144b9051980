"""Destinations whose reading back is broken, or tells of a fault in staging."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from suiro.testing.memory import MemoryStage
from unit.testing.broken_claims import Broken

if TYPE_CHECKING:
    from collections.abc import Iterator

    from suiro.model.schema import Table
    from suiro.model.selection import WriteSpec
    from suiro.spi.destination import Claim, Stage, Staged


class ReadsBackNothing(Broken):
    caught_by = "test_what_is_staged_is_read_back_and_then_published"

    def read_staged(self, staged: Staged) -> Iterator[pa.RecordBatch]:
        yield from [batch.slice(0, 0) for batch in super().read_staged(staged)]


class ReadsBackEmptyTextForNull(Broken):
    caught_by = "test_what_is_staged_is_read_back_and_then_published"

    def read_staged(self, staged: Staged) -> Iterator[pa.RecordBatch]:
        for batch in super().read_staged(staged):
            at = batch.schema.get_field_index("name")
            yield batch.set_column(at, "name", pc.fill_null(batch.column(at), ""))


class ReadsBackOnce(Broken):
    caught_by = "test_what_is_staged_is_read_back_and_then_published"

    def read_staged(self, staged: Staged) -> Iterator[pa.RecordBatch]:
        yield from super().read_staged(staged)
        with self.store.transaction() as disk:
            disk.staging[staged.location] = ()


class LosesTheMarks(Broken):
    caught_by = "test_the_marks_of_a_log_are_read_back"

    def read_staged(self, staged: Staged) -> Iterator[pa.RecordBatch]:
        for batch in super().read_staged(staged):
            yield batch.select(staged.table.schema.names)


class ReadsNoKeySnapshots(Broken):
    caught_by = "test_a_key_snapshot_is_read_back"

    def read_staged(self, staged: Staged) -> Iterator[pa.RecordBatch]:
        yield from () if staged.keys else super().read_staged(staged)


class StagesZerosWithoutSign(Broken):
    caught_by = "test_every_type_that_can_be_staged_is_read_back_as_it_was"

    def stage(
        self, table: Table, spec: WriteSpec, claim: Claim, *, truncates: bool = False, keys: bool = False
    ) -> Stage:
        stage = super().stage(table, spec, claim, truncates=truncates, keys=keys)
        assert isinstance(stage, MemoryStage)
        write = stage.write

        def spoiled(data: pa.RecordBatch) -> None:
            arrays = [pc.add(a, 0.0) if a.type == pa.float64() else a for a in data.columns]
            write(pa.RecordBatch.from_arrays(arrays, schema=data.schema))

        stage.write = spoiled  # type: ignore[method-assign]
        return stage
