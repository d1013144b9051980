"""Bulk reading and writing: COPY in its binary and text forms, between PostgreSQL and Arrow.

`bulk_read` and `BulkWriter` are the only places that know a driver's way with many rows; a faster codec replaces them
behind the same faces. ADBC decodes binary COPY; `binary` encodes it. Types whose binary form isn't known here (ranges,
addresses, arrays that came from PostgreSQL) enter in COPY's CSV form, which PostgreSQL's own input functions read.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from typing import Any

import adbc_driver_manager
import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from suiro.connectors.postgres.binary import HEADER, TRAILER, nul_refused, rows_of
from suiro.connectors.postgres.config import PostgresConfig
from suiro.connectors.postgres.numerics import decimals_of
from suiro.connectors.postgres.session import Session, connect, settings_for, told, translate, uri
from suiro.connectors.postgres.tables import columns_sql, quote
from suiro.connectors.postgres.text import text_array
from suiro.connectors.postgres.types import needs_text
from suiro.model.errors import Cancelled, ConnectionLost, DataError
from suiro.model.types import DATE_INFINITY, MAY_BE_INFINITE, TIMESTAMP_INFINITY, logical_base
from suiro.spi.context import Context

BATCH_BYTES = 4 * 2**20
CHUNK_BYTES = 8 * 2**20  #: one COPY in, as CSV
_WRAPPED_DATE = np.int32(-2147472692)  #: how ADBC hands over a date of infinity: days since 2000 moved past the end
_WRAPPED_TIMESTAMP = np.int64(-9222425352054775809)


def bulk_read(
    config: PostgresConfig, context: Context, query: str, schema: pa.Schema, snapshot: str | None, version: int
) -> Iterator[pa.RecordBatch]:
    """The rows of `query`, whose expressions are `Column.select`'s for the fields of `schema`, by BATCH_BYTES.

    In the snapshot of another session, if given. DataError names the column that holds what its type can't.
    """
    with arrow_session(config, context, version) as session, session.cursor() as cursor:
        with _adbc_told(config, context, "reading"):
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            if snapshot is not None:
                cursor.execute(f"SET TRANSACTION SNAPSHOT '{snapshot}'")
            cursor.adbc_statement.set_options(**{"adbc.postgresql.batch_size_hint_bytes": str(BATCH_BYTES)})
        take_back = context.on_cancel(cursor.adbc_cancel)
        try:
            with _adbc_told(config, context, "reading"):
                cursor.execute(query)
                reader = cursor.fetch_record_batch()
            while True:
                with _stream_told(config, context, "reading"):
                    batch = next(reader, None)
                if batch is None:
                    return
                if batch.num_rows:
                    yield decode(batch, schema)
        finally:
            take_back()


@contextmanager
def arrow_session(config: PostgresConfig, context: Context, version: int) -> Iterator[Any]:
    """An ADBC connection (DB-API, in a transaction), closed at the end."""
    from adbc_driver_postgresql import dbapi

    way = config.way(context)
    try:
        with way.told(), _adbc_told(config, context, "connecting"):
            session = dbapi.connect(uri(config, way))
    except BaseException:
        way.close()
        raise
    try:
        with _adbc_told(config, context, "connecting"), session.cursor() as cursor:
            for setting in settings_for(version).split("; "):
                cursor.execute(setting)
            session.commit()
        yield session
    finally:
        session.close()
        way.close()


def decode(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """What ADBC made of the rows, in the types of `schema`."""
    arrays = [_decode(array, field) for array, field in zip(batch.columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _decode(array: pa.Array, field: pa.Field) -> pa.Array:
    type_ = field.type
    if pa.types.is_decimal(type_):
        return _decode_decimal(array, field)
    if isinstance(array, pa.ExtensionArray) and array.type != type_:
        array = array.storage
    if logical_base(field) in MAY_BE_INFINITE and len(array) > array.null_count:
        return _with_infinities(array, field)
    if array.type == type_:
        return array
    if isinstance(type_, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(type_, array.cast(type_.storage_type))
    return array.cast(type_)


def _decode_decimal(array: pa.Array, field: pa.Field) -> pa.Array:
    found, nan = decimals_of(array, field.type)
    if nan.any():
        raise nan_refused(field.name)
    return found


def nan_refused(column: str) -> DataError:
    """The refusal of a numeric that decimals can't hold."""
    return DataError(
        f"column {column} is numeric and holds NaN, which no decimal can",
        hint="Set numeric=text on the connection to carry such columns as text, exactly.",
    )


def _with_infinities(array: pa.Array, field: pa.Field) -> pa.Array:
    """Dates and timestamps with ADBC's wrapped infinities made into the sentinels of `model.types`."""
    days = pa.types.is_date32(field.type)
    numbers = array.view(pa.int32() if days else pa.int64())
    least = pc.min(numbers).as_py()
    if least > (-2_500_000 if days else -(2**62)):
        return array.cast(field.type)
    wrapped = _WRAPPED_DATE if days else _WRAPPED_TIMESTAMP
    endless = DATE_INFINITY if days else TIMESTAMP_INFINITY
    values = numbers.fill_null(0).to_numpy(zero_copy_only=False).copy()
    later, earlier = values == wrapped, values == wrapped + 1
    beyond = (values < (-2_500_000 if days else -(2**62))) & ~later & ~earlier
    if beyond.any():
        raise DataError(
            f"column {field.name} holds times after the year 294246, which Arrow can't",
            hint="Filter those rows out, or copy the table in full between two PostgreSQL systems without a transform.",
        )
    values[later], values[earlier] = endless, -endless
    mask = array.is_null().to_numpy(zero_copy_only=False)
    return pa.array(values, type=numbers.type, mask=mask).view(field.type)


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
def _adbc_told(config: PostgresConfig, context: Context, doing: str) -> Iterator[None]:
    try:
        yield
    except adbc_driver_manager.Error as error:
        context.check_cancelled()
        known = psycopg.errors.lookup(error.sqlstate) if error.sqlstate else psycopg.OperationalError
        text = re.sub(r"^.*?(ERROR|FATAL):\s+", "", str(error), flags=re.DOTALL)
        found = re.search(r"COPY [^\n]*?, column ([^\n:]+)", str(error))
        lead = f"{doing} column {found.group(1)}" if found else doing
        raise translate(known(text), config, lead) from error


@contextmanager
def _stream_told(config: PostgresConfig, context: Context, doing: str) -> Iterator[None]:
    """Errors while rows arrive: the Arrow stream hands on the server's words without their code."""
    try:
        with _adbc_told(config, context, doing):
            yield
    except (OSError, pa.ArrowException) as error:
        context.check_cancelled()
        found = re.search(r"ERROR:\s+([^\n]*)", str(error))
        if found is None or re.search("terminating|canceling|recovery|shutting down", found.group(1)):
            said = found.group(1) if found else str(error).splitlines()[0]
            raise ConnectionLost(f"{doing}: the connection broke: {said}", hint="Run again.") from error
        hint = "Leave the column out, or filter those rows out."
        raise DataError(f"{doing}: PostgreSQL says: {found.group(1)}", hint=hint) from error


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
