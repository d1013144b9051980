"""Bulk reading and writing: COPY in its binary and text forms, between PostgreSQL and Arrow.

`bulk_read` and `BulkWriter` are the only places that know a driver's way with many rows; a faster codec replaces them
behind the same faces. ADBC decodes and encodes binary COPY; types that it can't (ranges, arrays, infinite timestamps)
enter in COPY's CSV form, which PostgreSQL's own input functions read.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import adbc_driver_manager
import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from suiro.connectors.postgres.config import PostgresConfig
from suiro.connectors.postgres.session import Session, settings_for, told, translate, uri
from suiro.connectors.postgres.text import text_array
from suiro.connectors.postgres.types import needs_text
from suiro.model.errors import ConnectionLost, DataError
from suiro.model.types import DATE_INFINITY, MAY_BE_INFINITE, TIMESTAMP_INFINITY, logical_base
from suiro.spi.context import Context

BATCH_BYTES = 2**20
CHUNK_BYTES = 8 * 2**20  #: one COPY in
_AT_ONCE = 4000  #: rows that ADBC encodes before it sends: the server parses them meanwhile
_WRAPPED_DATE = np.int32(-2147472692)  #: how ADBC hands over a date of infinity: days since 2000 moved past the end
_FIRST_DAY, _LAST_DAY = -2_440_588, 106_752_000  #: of timestamps, days since 1970-01-01
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
    type_ = field.type
    if pa.types.is_int64(array.type):
        wide = array.cast(pa.decimal128(19, 0))
        return pa.Array.from_buffers(type_, len(wide), wide.buffers(), null_count=wide.null_count, offset=wide.offset)
    text = array.storage if isinstance(array, pa.ExtensionArray) else array
    try:
        return text.cast(type_)
    except pa.ArrowInvalid as error:
        raise nan_refused(field.name) from error


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
    """Writes batches into one table, as COPY of about 8 MB each. What is written is there after `finish`."""

    def __init__(
        self,
        config: PostgresConfig,
        context: Context,
        session: Session,
        table: tuple[str, str],
        fields: Sequence[pa.Field],
    ) -> None:
        self._config, self._context, self._session = config, context, session
        self._schema, self._table = table
        self._fields = list(fields)
        self._as_text = any(needs_text(field) for field in fields)
        self._waiting: list[pa.RecordBatch] = []
        self._bytes = 0
        self._opened: Any = None
        self._arrow: Any = None

    def write(self, batch: pa.RecordBatch) -> None:
        """Add rows with the fields' names and types."""
        self._waiting.append(batch)
        self._bytes += batch.nbytes
        if self._bytes >= CHUNK_BYTES:
            self._flush()

    def finish(self) -> None:
        """Send what waits, commit, and let go of the sessions opened here."""
        self._flush()
        if self._arrow is not None:
            with _adbc_told(self._config, self._context, "writing"):
                self._arrow.commit()
        self.close()

    def close(self) -> None:
        """Let go without committing. Harmless when called twice."""
        if self._opened is not None:
            opened, self._opened, self._arrow = self._opened, None, None
            opened.__exit__(None, None, None)
        self._waiting = []

    def _flush(self) -> None:
        if not self._waiting:
            return
        batches, self._waiting, self._bytes = self._waiting, [], 0
        if self._as_text or any(_only_text_holds(batch, self._fields) for batch in batches):
            self._copy_text(batches)
        else:
            self._copy_binary(batches)

    def _copy_binary(self, batches: list[pa.RecordBatch]) -> None:
        encoded = [
            pa.RecordBatch.from_arrays(
                [encode(array, field) for array, field in zip(batch.columns, self._fields, strict=True)],
                names=[field.name for field in self._fields],
            )
            for batch in batches
        ]
        if self._arrow is None:
            self._opened = arrow_session(self._config, self._context, self._session.info.server_version)
            self._arrow = self._opened.__enter__()
        with _adbc_told(self._config, self._context, "writing", batches), self._arrow.cursor() as cursor:
            small = [
                part for batch in encoded for part in pa.Table.from_batches([batch]).to_batches(max_chunksize=_AT_ONCE)
            ]
            table = pa.Table.from_batches(small, encoded[0].schema)
            cursor.adbc_ingest(self._table, table, mode="append", db_schema_name=self._schema)

    def _copy_text(self, batches: list[pa.RecordBatch]) -> None:
        quoted = [f'"{name.replace(chr(34), chr(34) * 2)}"' for name in (self._schema, self._table)]
        columns = ", ".join(f'"{field.name.replace(chr(34), chr(34) * 2)}"' for field in self._fields)
        options = csv.WriteOptions(include_header=False)
        statement = f"COPY {'.'.join(quoted)} ({columns}) FROM STDIN (FORMAT csv)"
        with (
            _copy_told(self._config, self._context, batches),
            self._session.cursor() as cursor,
            cursor.copy(statement.encode()) as copy,
        ):
            for batch in batches:
                pairs = zip(batch.columns, self._fields, strict=True)
                arrays = [text_array(array, field) for array, field in pairs]
                rows = pa.RecordBatch.from_arrays(arrays, names=[field.name for field in self._fields])
                sink = io.BytesIO()
                csv.write_csv(rows, sink, options)
                copy.write(sink.getbuffer())


def _only_text_holds(batch: pa.RecordBatch, fields: Sequence[pa.Field]) -> bool:
    """Whether a timestamp here is infinite: ADBC refuses to encode it."""
    for array, field in zip(batch.columns, fields, strict=True):
        if (
            logical_base(field) in MAY_BE_INFINITE
            and pa.types.is_timestamp(field.type)
            and len(array) > array.null_count
        ):
            ends = pc.min_max(array.view(pa.int64()))
            if ends["max"].as_py() == TIMESTAMP_INFINITY or ends["min"].as_py() == -TIMESTAMP_INFINITY:
                return True
    return False


def encode(array: pa.Array, field: pa.Field) -> pa.Array:
    """The values in the Arrow type whose binary COPY form is the column's own."""
    type_ = field.type
    if isinstance(array, pa.ExtensionArray):
        inner = array.storage
        if logical_base(field) != "jsonb":
            return inner
        return pc.binary_join_element_wise(pa.scalar(b"\x01"), inner.cast(pa.binary()), pa.scalar(b""))
    if pa.types.is_date32(type_) and logical_base(field) == "date" and len(array) > array.null_count:
        return _without_date_infinities(array)
    if pa.types.is_temporal(type_):
        _refuse_out_of_range(array, field)
    target = _ENCODED.get(type_)
    if target is not None:
        return array.cast(target)
    if pa.types.is_dictionary(type_):
        return array.dictionary_decode()
    if pa.types.is_timestamp(type_) and type_.unit != "us":
        return array.cast(pa.timestamp("us", type_.tz))
    if pa.types.is_decimal(type_) and type_.bit_width < 128:
        return array.cast(pa.decimal128(type_.precision, type_.scale))
    return array


_ENCODED = {
    pa.int8(): pa.int16(),
    pa.uint8(): pa.int16(),
    pa.uint16(): pa.int32(),
    pa.uint32(): pa.int64(),
    pa.uint64(): pa.decimal128(20, 0),
    pa.float16(): pa.float32(),
    pa.large_string(): pa.string(),
    pa.string_view(): pa.string(),
    pa.large_binary(): pa.binary(),
    pa.binary_view(): pa.binary(),
    pa.date64(): pa.date32(),
    pa.time32("s"): pa.time64("us"),
    pa.time32("ms"): pa.time64("us"),
    pa.null(): pa.string(),
}


def _refuse_out_of_range(array: pa.Array, field: pa.Field) -> None:
    """PostgreSQL's calendar begins on 4714-11-24 BC; its timestamps end before the year 294277."""
    per_day = {"s": 86_400, "ms": 86_400_000, "us": 86_400_000_000}
    if pa.types.is_timestamp(field.type) and field.type.unit in per_day and len(array) > array.null_count:
        ends = pc.min_max(array.view(pa.int64()))
        unit = per_day[field.type.unit]
        if ends["min"].as_py() >= _FIRST_DAY * unit and ends["max"].as_py() < _LAST_DAY * unit:
            return
        raise DataError(
            f"column {field.name} holds times outside the years 4714 BC to 294276, which PostgreSQL can't",
            hint="Leave the column out, or filter those rows out.",
        )


def _without_date_infinities(array: pa.Array) -> pa.Array:
    numbers = array.view(pa.int32())
    ends = pc.min_max(numbers)
    if ends["max"].as_py() != DATE_INFINITY and ends["min"].as_py() != -DATE_INFINITY:
        return array
    values = numbers.fill_null(0).to_numpy(zero_copy_only=False).copy()
    later, earlier = values == DATE_INFINITY, values == -DATE_INFINITY
    values[later], values[earlier] = _WRAPPED_DATE, _WRAPPED_DATE + 1
    return pa.array(values, type=pa.int32(), mask=array.is_null().to_numpy(zero_copy_only=False)).view(pa.date32())


@contextmanager
def _adbc_told(
    config: PostgresConfig, context: Context, doing: str, batches: Sequence[pa.RecordBatch] = ()
) -> Iterator[None]:
    try:
        yield
    except adbc_driver_manager.Error as error:
        context.check_cancelled()
        _refuse_nul(batches)
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
def _copy_told(config: PostgresConfig, context: Context, batches: Sequence[pa.RecordBatch]) -> Iterator[None]:
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
    """PostgreSQL's text can't hold the character NUL: name the column that has it."""
    for batch in batches:
        for name, array in zip(batch.schema.names, batch.columns, strict=True):
            text = array.storage if isinstance(array, pa.ExtensionArray) else array
            if pa.types.is_string(text.type) and pc.any(pc.match_substring(text, "\0")).as_py():
                raise DataError(
                    f"column {name} holds text with the character NUL, which PostgreSQL can't store",
                    hint="Leave the column out, or filter those rows out.",
                )
