"""Bulk reading and writing: COPY in its binary and text forms, between PostgreSQL and Arrow.

`bulk_read` and `BulkWriter` are the only places that know a driver's way with many rows; a faster codec replaces them
behind the same faces. `columns` decodes binary COPY; `binary` encodes it. Types whose binary form isn't known here
(ranges, addresses, arrays that came from PostgreSQL) enter in COPY's CSV form, which PostgreSQL's own input functions
read.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from suiro.connectors.postgres.binary import HEADER, TRAILER, nul_refused, rows_of
from suiro.connectors.postgres.columns import MARK, batches_of
from suiro.connectors.postgres.config import PostgresConfig
from suiro.connectors.postgres.raw import Output, copy_out
from suiro.connectors.postgres.session import Session, connect, told
from suiro.connectors.postgres.tables import columns_sql, quote
from suiro.connectors.postgres.text import text_array
from suiro.connectors.postgres.types import needs_text
from suiro.model.errors import Cancelled, DataError, InternalError
from suiro.spi.context import Context

CHUNK_BYTES = 8 * 2**20  #: one COPY in, as CSV
_SELECT = "SELECT "


def bulk_read(
    config: PostgresConfig, context: Context, query: str, schema: pa.Schema, snapshot: str | None, version: int
) -> Iterator[pa.RecordBatch]:
    """The rows of `query`: SELECT and, for each field of `schema`, the expression that `Column.select` gives.

    In the snapshot of another session, if given. DataError names the column that holds what its type can't.
    """
    if not query.startswith(_SELECT):
        raise InternalError(f"not a query to read many rows of: {query}")
    marked = f"{_SELECT}{MARK}{', ' if len(schema) else ''}{query.removeprefix(_SELECT)}"
    oids: list[int] = []

    async def copied(session: Any, output: Output) -> None:
        statement = await session.prepare(marked)  # after it, the transaction keeps the types from being changed
        oids.extend(attribute.type.oid for attribute in statement.get_attributes()[1:])
        await session.copy_from_query(marked, output=output, format="binary")

    with closing(copy_out(config, context, copied, snapshot=snapshot, version=version)) as pieces:
        yield from batches_of(pieces, schema, oids)


class BulkWriter:
    """Writes batches into one table by COPY. What is written is there after `finish`.

    In binary all rows go into one COPY, in a session of its own. Types that only have a text form enter in COPY's CSV
    form, about 8 MB at a time.
    """

    def __init__(
        self,
        config: PostgresConfig,
        context: Context,
        session: Session,
        table: tuple[str, str],
        fields: Sequence[pa.Field],
    ) -> None:
        self._config, self._context, self._session = config, context, session
        self._fields = list(fields)
        self._as_text = any(needs_text(field) for field in fields)
        names = columns_sql([field.name for field in fields])
        self._statement = f"COPY {quote(*table)} ({names}) FROM STDIN (FORMAT {'csv' if self._as_text else 'binary'})"
        self._waiting: list[pa.RecordBatch] = []
        self._bytes = 0
        self._stack = ExitStack()
        self._copy: psycopg.Copy | None = None

    def write(self, batch: pa.RecordBatch) -> None:
        """Add rows with the fields' names and types."""
        if not self._as_text:
            self._write_binary(batch)
            return
        self._waiting.append(batch)
        self._bytes += batch.nbytes
        if self._bytes >= CHUNK_BYTES:
            self._flush()

    def finish(self) -> None:
        """Send what waits, and let go of the session opened here."""
        self._flush()
        if self._copy is not None:
            with _copy_told(self._config, self._context):
                self._copy.write(TRAILER)
                self._stack.pop_all().close()
            self._copy = None

    def close(self) -> None:
        """Let go; what was written in binary is not there. Harmless when called twice."""
        self._waiting, self._copy = [], None
        with suppress(psycopg.Error):  # the answer to a COPY that is broken off is an error, always
            self._stack.__exit__(Cancelled, Cancelled("the load was given up"), None)
        self._stack.pop_all().close()

    def _write_binary(self, batch: pa.RecordBatch) -> None:
        pieces = rows_of(batch, self._fields)
        with _copy_told(self._config, self._context):
            if self._copy is None:
                session = self._stack.enter_context(closing(connect(self._config, self._context)))
                cursor = self._stack.enter_context(session.cursor())
                self._copy = self._stack.enter_context(cursor.copy(self._statement.encode()))
                self._copy.write(HEADER)
            for piece in pieces:
                self._copy.write(piece)

    def _flush(self) -> None:
        if not self._waiting:
            return
        batches, self._waiting, self._bytes = self._waiting, [], 0
        options = csv.WriteOptions(include_header=False)
        with (
            _copy_told(self._config, self._context, batches),
            self._session.cursor() as cursor,
            cursor.copy(self._statement.encode()) as copy,
        ):
            for batch in batches:
                pairs = zip(batch.columns, self._fields, strict=True)
                arrays = [text_array(array, field) for array, field in pairs]
                rows = pa.RecordBatch.from_arrays(arrays, names=[field.name for field in self._fields])
                sink = io.BytesIO()
                csv.write_csv(rows, sink, options)
                copy.write(sink.getbuffer())


@contextmanager
def _copy_told(config: PostgresConfig, context: Context, batches: Sequence[pa.RecordBatch] = ()) -> Iterator[None]:
    try:
        with told(config, context, "writing"):
            yield
    except DataError as error:
        _refuse_nul(batches)
        cause = error.__cause__
        context_line = cause.diag.context if isinstance(cause, psycopg.Error) else None
        found = re.search(r"column ([^\n:]+)", context_line or "")
        if found is None or found.group(1) in error.message:
            raise
        raise DataError(f"{error.message} (column {found.group(1)})", hint=error.hint) from cause


def _refuse_nul(batches: Sequence[pa.RecordBatch]) -> None:
    """Name the column with the character NUL, if one has it."""
    for batch in batches:
        for name, array in zip(batch.schema.names, batch.columns, strict=True):
            text = array.storage if isinstance(array, pa.ExtensionArray) else array
            if pa.types.is_string(text.type) and pc.any(pc.match_substring(text, "\0")).as_py():
                raise nul_refused(name)
