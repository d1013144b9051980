"""The tests of sudden death, on a destination in one file: they pass on it, and fail where it is torn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from suiro.model.selection import WriteMode
from suiro.testing.destination_suite import DestinationSuite
from suiro.testing.memory import drop_table, rows_of, staging_of
from unit.testing.pickled import PickledConfig, PickledDestination, PickledStore

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pyarrow as pa


class PickledSuite(DestinationSuite):
    torn = False

    def config(self) -> PickledConfig:
        return PickledConfig(folder=self.folder, torn=self.torn)

    def make(self) -> PickledDestination:
        return PickledDestination(self.config(), self.context())

    def read(self, table: str) -> pa.Table | None:
        return rows_of(PickledStore(self.config()), table)

    def drop(self, table: str) -> None:
        drop_table(PickledStore(self.config()), table)

    def leftovers(self) -> Sequence[str]:
        return list(staging_of(PickledStore(self.config())))


class TestPickledDestination(PickledSuite):
    """Every test of the suite, those with SIGKILL too."""


class TornSuite(PickledSuite):
    torn = True


@pytest.mark.parametrize("mode", [WriteMode.APPEND, WriteMode.REPLACE])
def test_a_destination_that_saves_rows_before_their_marker_is_caught(mode: WriteMode, tmp_path: Path) -> None:
    suite = TornSuite()
    suite.prepare(tmp_path / "suite")
    try:
        with pytest.raises(AssertionError, match="killed before step"):
            suite.test_killed_between_any_two_steps_a_table_holds_the_old_rows_or_the_new(mode)
    finally:
        suite.finish()
