"""The workbench: looking at streams and running SQL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

import pyarrow as pa

from suiro.app.connections import connection
from suiro.engine.context import RunContext
from suiro.model.change import Rows
from suiro.model.errors import ConfigError
from suiro.model.selection import Selection
from suiro.spi.powers import Queries


def preview(text: str, stream: str, rows: int) -> pa.Table:
    """The first rows of a stream."""
    with RunContext("preview") as context, closing(connection(text).source(context)) as source:
        found = source.find(stream)
        selection = Selection(stream=found, columns=tuple(found.schema.names))
        (read,) = source.plan([selection])
        taken: list[pa.RecordBatch] = []
        with closing(source.read(read, None)) as changes:  # type: ignore[type-var]
            for change in changes:
                if isinstance(change, Rows):
                    taken.append(change.data.slice(0, rows - sum(b.num_rows for b in taken)))
                if sum(b.num_rows for b in taken) >= rows:
                    break
        return pa.Table.from_batches(taken, found.schema)


@contextmanager
def sql(text: str, statement: str) -> Iterator[Iterator[pa.RecordBatch]]:
    """Run one statement on a connection; its rows as they come, none if it returns none."""
    found = connection(text)
    with RunContext("sql") as context, closing(found.source(context)) as source:
        if not isinstance(source, Queries):
            raise ConfigError(
                f"{found.connector.title} runs no SQL", hint="Copy it into a database or the warehouse first."
            )
        yield source.query(statement)
