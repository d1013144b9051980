"""The workbench: looking at streams and running SQL."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

import pyarrow as pa

from suiro.app.connections import connection
from suiro.app.lending import LentContext
from suiro.model.change import Rows
from suiro.model.errors import DataError, UserError
from suiro.model.schema import ReadMode, Stream
from suiro.model.selection import Selection
from suiro.spi.context import Context
from suiro.spi.powers import OffersQueries, Queries
from suiro.spi.source import Source


def preview(text: str, stream: str, rows: int) -> pa.Table:
    """The first rows of a stream."""
    with LentContext("preview") as context, closing(connection(text).source(context)) as source:
        return first_rows(source, source.find(stream), rows)


def first_rows(source: Source[Any], stream: Stream, rows: int) -> pa.Table:
    """The first rows of a stream of a source that is open."""
    selection = Selection(stream=stream, columns=tuple(stream.schema.names))
    taken: list[pa.RecordBatch] = []
    with closing(_batches(source, selection)) as batches:
        for batch in batches:
            taken.append(batch.slice(0, rows - sum(b.num_rows for b in taken)))
            if sum(b.num_rows for b in taken) >= rows:
                break
    return pa.Table.from_batches(taken, stream.schema)


def _batches(source: Source[Any], selection: Selection) -> Generator[pa.RecordBatch]:
    """The rows of a selection, read after read."""
    for read in source.plan([selection]):
        with closing(source.read(read, None)) as changes:  # type: ignore[type-var]
            for change in changes:
                if isinstance(change, Rows):
                    yield change.data


@contextmanager
def sql(text: str, statement: str) -> Iterator[Iterator[pa.RecordBatch]]:
    """Run one statement on a connection; its rows as they come, none if it returns none.

    A system that runs SQL is given the statement as it is; of others one SELECT is read, as a copy would.
    """
    found = connection(text)
    with LentContext("sql") as context, closing(found.source(context)) as source:
        if isinstance(source, Queries):
            yield _asked(source, statement, context)
            return
        from suiro.engine.query.source import query_source  # on use: it takes long to import

        with closing(query_source(statement, "query", ReadMode.FULL, source, context)) as query:
            yield _rows(query)


def _asked(source: Source[Any], statement: str, context: Context) -> Iterator[pa.RecordBatch]:
    """The rows of a system's own SQL. What is wrong with a SELECT is pointed at, where the system can tell."""
    assert isinstance(source, Queries)
    try:
        yield from source.query(statement)
    except UserError as error:
        if not isinstance(source, OffersQueries) or not re.match(r"\s*(?:select|with)\b", statement, re.IGNORECASE):
            raise
        from suiro.engine.query.source import query_source

        with suppress(DataError), closing(query_source(statement, "query", ReadMode.FULL, source, context)):
            pass  # who describes the query finds the same mistake, and its place
        raise error


def sql_plan(text: str, statement: str) -> dict[str, Any]:
    """What of a statement the system does, and what is left for DuckDB."""
    found = connection(text)
    with LentContext("sql") as context, closing(found.source(context)) as source:
        if isinstance(source, Queries):
            return {"pushed": [" ".join(statement.split())], "residual": None}
        from suiro.engine.query.source import query_source

        with closing(query_source(statement, "query", ReadMode.FULL, source, context)) as query:
            return {"pushed": query.pushed, "residual": query.residual}


def _rows(source: Source[Any]) -> Iterator[pa.RecordBatch]:
    """All rows of a source's one stream, at least one batch."""
    (stream,) = source.discover()
    some = False
    for batch in _batches(source, Selection(stream=stream, columns=tuple(stream.schema.names))):
        some = True
        yield batch
    if not some:
        yield pa.RecordBatch.from_pylist([], stream.schema)
