"""The destination suite on destinations in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from suiro.testing.destination_suite import DestinationSuite
from suiro.testing.faults import Order, carry
from suiro.testing.memory import MemoryConfig, MemoryDestination, MemoryStore, drop_table, rows_of, staging_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Any

    import pyarrow as pa

    from suiro.spi.destination import Destination
    from suiro.testing.load import Load


class Dead(BaseException):
    """Raised where a process would be killed: no code of ours catches it."""


class MemorySuite(DestinationSuite):
    """On a store of each test's own."""

    kind: type[MemoryDestination] = MemoryDestination

    def prepare(self, folder: Path) -> None:
        super().prepare(folder)
        self.store = MemoryStore()

    def make(self) -> MemoryDestination:
        return self.kind(MemoryConfig(store=self.store), self.context())

    def read(self, table: str) -> pa.Table | None:
        return rows_of(self.store, table)

    def drop(self, table: str) -> None:
        drop_table(self.store, table)

    def leftovers(self) -> Sequence[str]:
        return list(staging_of(self.store))

    def lose_lease(self, destination: Destination[Any]) -> None:
        self.store.release(destination)

    def dies(self, load: Load, at: int) -> bool:
        """In this process: from its step `at` on, nothing that the run does reaches the store."""
        destination, left = self.make(), at

        def step() -> None:
            nonlocal left
            left -= 1
            if left <= 0:
                raise Dead

        self.store.step = step
        run, workdir = destination.context.run, destination.context.workdir
        try:
            carry(destination, Order(load=load, run=run, workdir=workdir, dies_at=at, patience=0))
        except Dead:
            return True
        finally:
            self.store.step = lambda: None
            self.store.release(destination)
        return False
