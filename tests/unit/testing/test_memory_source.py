"""The memory source keeps the contract: the suite passes on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from suiro.testing.memory import MemorySource, MemorySourceConfig, MemoryStreams
from suiro.testing.source_suite import SourceSuite
from unit.testing.querying import QueryingSource

if TYPE_CHECKING:
    import pyarrow as pa


class TestMemorySource(SourceSuite):
    """On streams of each test's own."""

    @pytest.fixture(autouse=True)
    def _streams(self) -> None:
        self.streams = MemoryStreams()

    def make(self) -> MemorySource:
        return MemorySource(MemorySourceConfig(system=self.streams), self.context())

    def fill(self, name: str, rows: pa.Table, key: tuple[str, ...]) -> None:
        self.streams.fill(name, rows, key)

    def add(self, name: str, rows: pa.Table) -> None:
        self.streams.add(name, rows)


class TestMemorySourceInSmallPieces(TestMemorySource):
    """The same with small batches, checkpoints between them, and full reads in three parts."""

    @pytest.fixture(autouse=True)
    def _streams(self) -> None:
        self.streams = MemoryStreams(batch_rows=777, checkpoint_rows=1000, parts=3)


class TestQueryingSource(TestMemorySource):
    """The same with SQL."""

    def make(self) -> MemorySource:
        return QueryingSource(MemorySourceConfig(system=self.streams), self.context())
