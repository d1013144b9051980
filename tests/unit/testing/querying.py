"""A memory source that runs SQL, by DuckDB."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa

from suiro.model.errors import UserError
from suiro.spi.powers import Queries
from suiro.testing.memory import MemorySource

if TYPE_CHECKING:
    from collections.abc import Iterator

    from suiro.model.selection import Selection
    from suiro.spi.source import Read


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
