"""The memory source keeps the contract: the suite passes on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
import pytest

from suiro.model.errors import UserError
from suiro.spi.powers import Queries
from suiro.testing.memory import MemorySource, MemorySourceConfig, MemoryStreams
from suiro.testing.source_suite import SourceSuite

if TYPE_CHECKING:
    from collections.abc import Iterator

    from suiro.model.selection import Selection
    from suiro.spi.source import Read


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


class QueryingSource(MemorySource, Queries):
    """A memory source that runs SQL, for the tests of that power."""

    def query(self, sql: str) -> Iterator[pa.RecordBatch]:
        with duckdb.connect() as database:
            for name, rows in self.config.system.rows.items():
                database.register(name, rows)
            try:
                found = database.sql(sql).to_arrow_table()
            except duckdb.Error as error:
                raise UserError(str(error)) from error
        names = [f"{name}_{i}" if name in found.column_names[:i] else name for i, name in enumerate(found.column_names)]
        yield from found.rename_columns(names).to_batches() or [pa.RecordBatch.from_pylist([], found.schema)]

    def _chosen(self, read: Read, selection: Selection) -> pa.Table:
        rows = self.config.system.rows[selection.stream.name]
        if selection.where is None:
            return super()._chosen(read, selection)
        return duckdb.from_arrow(rows).filter(selection.where).to_arrow_table().select(selection.columns)


class TestQueryingSource(TestMemorySource):
    """The same with SQL."""

    def make(self) -> MemorySource:
        return QueryingSource(MemorySourceConfig(system=self.streams), self.context())
