"""Tests of sudden death: a load is killed before every single step, and nothing is lost, doubled or left behind."""

from __future__ import annotations

import itertools
import random
from typing import ClassVar

import pyarrow as pa

from suiro.model.selection import WriteMode
from suiro.testing.destination_harness import EVERY_MODE, SCHEMA, DestinationHarness, after, spec_of
from suiro.testing.faults import Mortals, Order
from suiro.testing.load import Load


class KillTests(DestinationHarness):
    """A process that is killed, by SIGKILL, between any two steps of a load."""

    steps: ClassVar[tuple[str, ...]] = ()  #: more calls to die before (module:path), for drivers that faults lacks
    fewest_steps: ClassVar[int] = 4  #: a load that takes fewer means that the suite doesn't see its steps
    most_steps: ClassVar[int] = 1000
    stride = 1  #: one in so many steps is died before, which ones is random: for a system that is tested twice
    _mortals: Mortals | None = None

    def dies(self, load: Load, at: int) -> bool:
        """Carry a load in another process that is killed before its step `at`; False: it was done before."""
        if self._mortals is None:
            self._mortals = Mortals(self.open(), self.folder / "mortals", self.steps)
        context = self.context()
        return self._mortals.dies(
            Order(
                load=load,
                run=context.run,
                workdir=context.workdir,
                dies_at=at,
                patience=self.seconds_to_notice_death,
            )
        )

    def finish(self) -> None:
        """End the process that begets mortals, too."""
        if self._mortals is not None:
            self._mortals.close()
            self._mortals = None
        super().finish()

    @EVERY_MODE
    def test_killed_between_any_two_steps_a_new_table_holds_all_rows_or_is_missing(self, mode: WriteMode) -> None:
        self.needs(mode)
        rows = self.rows((1, "a", 10), (2, "水", None), (3, None, 30))
        for step in self._until_alive():
            load = self.load(self.fresh(), rows, spec_of(mode), step)
            died = self.dies(load, step)
            self._recovers(load, None, None, rows, step)
            if not died:
                break
        assert step > self.fewest_steps, self._unseen

    @EVERY_MODE
    def test_killed_between_any_two_steps_a_table_holds_the_old_rows_or_the_new(self, mode: WriteMode) -> None:
        """Each load adds a column; every other dies twice, the second time over what the first left behind."""
        self.needs(mode)
        name = self.fresh()
        rows = self.rows((1, "a", 10), (2, "b", None))
        self.carry(self.load(name, rows, spec_of(mode), 0))
        for turn, step in enumerate(self._until_alive(), 1):
            schema = pa.schema([*rows.schema, (f"c{turn}", pa.int64())])
            coming = [(2, "b", turn), (100 + turn, None, 30)]
            new = self.rows(*((*row, *[None] * turn)[: len(SCHEMA) + turn] for row in coming), schema=schema)
            load = self.load(name, new, spec_of(mode), turn)
            wide = pa.table([*rows.columns, pa.nulls(len(rows), pa.int64())], schema=schema)
            died = self.dies(load, step)
            if died and turn % 2:
                self.dies(load, step)
            rows = self._recovers(load, rows, {"n": turn - 1}, after(mode, wide, new), step)
            if not died:
                break
        assert step > self.fewest_steps, self._unseen

    _unseen = "the suite sees almost no steps of this destination: name its driver's calls in `steps`"

    def _until_alive(self) -> itertools.takewhile[int]:
        """Steps from the first; a test leaves the loop when a load is done before its step."""

        def few_enough(step: int) -> bool:
            assert step < self.most_steps, "the load has no end"
            return True

        return itertools.takewhile(few_enough, itertools.count(random.randint(1, self.stride), self.stride))

    def _recovers(self, load: Load, old: pa.Table | None, before: object, new: pa.Table, step: int) -> pa.Table:
        """What the dead left is whole, agrees with the marker, and a next run makes it complete; the rows then."""
        name, when = load.table.name, f"killed before step {step}"
        destination = self.open()
        claim = self.claim(destination, load.key, patience=self.seconds_to_notice_death)
        assert list(self.leftovers()) == [], f"{when}: a claim leaves the staging of the dead"
        if claim.position == load.position:
            self.assert_table(new, name, f"{when}: the marker moved")
        else:
            assert claim.position == before, when
            if old is None:
                assert self.read(name) is None, f"{when}: there is a table without a marker"
            else:
                self.assert_table(old, name, f"{when}: the marker didn't move")
            self.publish(destination, load, self.stage(destination, load, claim))
        self.close(destination)
        self.assert_table(new, name, f"{when}, after the next run")
        assert list(self.leftovers()) == [], f"{when}: the next run left staging"
        return new
