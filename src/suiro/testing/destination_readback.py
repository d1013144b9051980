"""Tests of the power `ReadsStaged`: what is read back is what was staged, and whatever isn't is told."""

from __future__ import annotations

from typing import Any, ClassVar

import pyarrow as pa
import pytest

from suiro.engine.hashing import Digest
from suiro.engine.readback import compare_held
from suiro.model.errors import DataError, UserError
from suiro.model.schema import Table
from suiro.model.selection import KEYED, Deletes, WriteMode, WriteSpec
from suiro.spi.destination import Destination, Staged
from suiro.spi.powers import ReadsStaged
from suiro.testing.destination_harness import EVERY_MODE, DestinationHarness, after, spec_of
from suiro.testing.destination_writes import LOG_SCHEMA
from suiro.testing.load import Load
from suiro.testing.samples import LOGICAL, ODD_NAMES, PLAIN


class ReadbackTests(DestinationHarness):
    """For destinations with the power; skipped for others."""

    column_names: ClassVar[tuple[str, ...]] = ODD_NAMES

    def readable(self) -> Destination[Any]:
        """A destination with the power."""
        destination = self.open()
        if not isinstance(destination, ReadsStaged):
            pytest.skip("doesn't read back what is staged")
        return destination

    def compared(self, destination: Destination[Any], load: Load, staged: Staged) -> tuple[str, ...]:
        """The columns that were compared; VerificationFailed if what is read back isn't what was staged."""
        digest = Digest(load.table.schema, marks=load.spec.mode in KEYED)
        for batch in load.rows:
            digest.add(batch)
        return compare_held(destination, [(staged, digest)], destination.context)

    @EVERY_MODE
    def test_what_is_staged_is_read_back_and_then_published(self, mode: WriteMode) -> None:
        self.needs(mode)
        name = self.fresh()
        old, new = self.rows((1, "a", 1), (2, "", 2)), self.rows((2, None, -2), (3, "c\n", None))
        for position, rows in enumerate((old, new)):
            load, destination = self.load(name, rows, spec_of(mode), position), self.readable()
            staged = self.stage(destination, load, self.claim(destination, load.key))
            for _ in range(2):
                assert self.compared(destination, load, staged) == ("id", "name", "v")
            self.publish(destination, load, staged)
            self.close(destination)
        self.assert_table(after(mode, old, new), name)
        assert not self.leftovers()

    def test_every_type_that_can_be_staged_is_read_back_as_it_was(self) -> None:
        mode = next(iter(self.capabilities().write_modes))
        for kind, sample in {**PLAIN, **LOGICAL}.items():
            column = sample.column()
            schema = pa.schema([pa.field("id", pa.int64()), sample.field])
            rows = pa.table([pa.array(range(len(column)), pa.int64()), column], schema=schema)
            load, destination = self.load(self.fresh(), rows, spec_of(mode), 1), self.readable()
            try:
                staged = self.stage(destination, load, self.claim(destination, load.key))
                self.compared(destination, load, staged)
            except (UserError, DataError):
                pass  # refused, by `stage` or by the system that is to hold it; what differs is another error
            except Exception as error:
                raise AssertionError(f"{kind}: {error} {getattr(error, 'differences', ())}") from error
            self.close(destination)

    def test_no_rows_are_read_back_as_none(self) -> None:
        load, destination = self.load(self.fresh(), self.rows(), spec_of(self._mode), 1), self.readable()
        staged = self.stage(destination, load, self.claim(destination, load.key))
        assert self.compared(destination, load, staged) == ("id", "name", "v")

    def test_columns_of_odd_names_are_read_back(self) -> None:
        schema = pa.schema([("id", pa.int64()), *((name, pa.string()) for name in self.column_names)])
        rows = self.rows((1, *self.column_names), schema=schema)
        load, destination = self.load(self.fresh(), rows, spec_of(self._mode), 1), self.readable()
        staged = self.stage(destination, load, self.claim(destination, load.key))
        assert set(self.compared(destination, load, staged)) == {"id", *self.column_names}

    def test_the_marks_of_a_log_are_read_back(self) -> None:
        self.needs(WriteMode.MERGE)
        rows = self.rows((1, "a", 1, "c", b"1"), (1, None, None, "d", b"2"), schema=LOG_SCHEMA)
        spec = WriteSpec(mode=WriteMode.MERGE, key=("id",), deletes=Deletes.HARD)
        load, destination = self.load(self.fresh(), rows, spec, 1), self.readable()
        staged = self.stage(destination, load, self.claim(destination, load.key))
        assert self.compared(destination, load, staged) == ("id", "name", "v", "_op", "_seq")

    def test_a_key_snapshot_is_read_back(self) -> None:
        if not self.capabilities().key_snapshots:
            pytest.skip("takes no key snapshots")
        keys = pa.table([pa.array([3, 1, 2], pa.int64())], names=["id"])
        spec = WriteSpec(mode=WriteMode.MERGE, key=("id",), deletes=Deletes.HARD)
        table = Table(name=self.fresh(), schema=keys.schema, primary_key=("id",))
        load = Load(table=table, rows=tuple(keys.to_batches()), spec=spec, position={"n": 1}, keys=True)
        destination = self.readable()
        staged = self.stage(destination, load, self.claim(destination, load.key))
        assert self.compared(destination, load, staged) == ("id",)

    @property
    def _mode(self) -> WriteMode:
        return next(iter(self.capabilities().write_modes))
