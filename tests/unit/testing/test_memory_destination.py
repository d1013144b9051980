"""The memory destination keeps the contract: the suite passes on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from suiro.testing.destination_suite import DestinationSuite
from suiro.testing.memory import MemoryConfig, MemoryDestination, MemoryStore, drop_table, rows_of, staging_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    import pyarrow as pa

    from suiro.spi.destination import Destination


class TestMemoryDestination(DestinationSuite):
    """On a store of each test's own."""

    @pytest.fixture(autouse=True)
    def _store(self) -> None:
        self.store = MemoryStore()

    def make(self) -> MemoryDestination:
        return MemoryDestination(MemoryConfig(store=self.store), self.context())

    def read(self, table: str) -> pa.Table | None:
        return rows_of(self.store, table)

    def drop(self, table: str) -> None:
        drop_table(self.store, table)

    def leftovers(self) -> Sequence[str]:
        return list(staging_of(self.store))

    def lose_lease(self, destination: Destination[Any]) -> None:
        self.store.release(destination)
