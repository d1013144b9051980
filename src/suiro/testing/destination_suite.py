"""The conformance suite of destinations: subclass it, say how to reach the system, and pytest runs every test.

    class TestDuckdbDestination(DestinationSuite):
        def make(self): return DuckdbDestination(DuckdbConfig(path=self.folder / "d.db"), self.context())
        def read(self, table): ...
        def drop(self, table): ...
        def leftovers(self): ...

See `DestinationHarness` for what each must do, and docs/guide/conformance.md.
"""

from __future__ import annotations

from suiro.testing.destination_claims import ClaimTests
from suiro.testing.destination_drift import DriftTests
from suiro.testing.destination_history import HistoryTests
from suiro.testing.destination_kills import KillTests
from suiro.testing.destination_readback import ReadbackTests
from suiro.testing.destination_types import NameTests, TypeTests
from suiro.testing.destination_writes import WriteTests


class DestinationSuite(
    ClaimTests, WriteTests, ReadbackTests, HistoryTests, DriftTests, TypeTests, NameTests, KillTests
):
    """Every promise of spi/destination, tested."""
