"""Parquet files as Arrow rows, a slice of a row group at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from suiro.model.errors import DataError
from suiro.model.types import LOGICAL
from suiro.toolkit.files.content import Part, seekable

ROWS = 32_768


def profile(part: Part, workdir: Path, *, as_stored: bool = False) -> pa.Schema:
    """The columns, timestamps in microseconds (`as_stored`: all types as they are), with their logical types."""
    with _opened(part, workdir) as file:
        return pa.schema([normal(field, as_stored=as_stored) for field in file.schema_arrow])


def batches(part: Part, columns: Sequence[str], workdir: Path, *, as_stored: bool = False) -> Iterator[pa.RecordBatch]:
    """The file's rows, those of `columns` that it has, in the types that `profile` tells."""
    with _opened(part, workdir) as file:
        schema = file.schema_arrow
        names = [name for name in columns if name in schema.names]
        wanted = [normal(schema.field(name), as_stored=as_stored) for name in names]
        for batch in file.iter_batches(ROWS, columns=names, use_threads=False):
            arrays = [_normalised(batch.column(f.name), f, part) for f in wanted]
            yield pa.RecordBatch.from_arrays(arrays, schema=pa.schema(wanted)) if arrays else batch.select([])


@contextmanager
def _opened(part: Part, workdir: Path) -> Iterator[pq.ParquetFile]:
    with seekable(part, workdir) as bytes_:
        try:
            source = pa.OSFile(str(part.item.path), "rb") if part.compression == "none" else bytes_
            with pq.ParquetFile(
                source, pre_buffer=False, buffer_size=1 << 20, coerce_int96_timestamp_unit="us"
            ) as file:
                yield file
        except (pa.ArrowInvalid, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise DataError(f"{part.label} is no Parquet file, or a broken one: {_short(error)}") from error


def _short(error: Exception) -> str:
    return str(error).split("\n", 1)[0].split(". ", 1)[0][:200]


def normal(field: pa.Field, *, as_stored: bool = False) -> pa.Field:
    """The field as it travels; of its metadata only the logical type is kept."""
    type_ = field.type if as_stored else _type(field.type)
    logical = (field.metadata or {}).get(LOGICAL)
    return pa.field(field.name, type_, metadata=None if logical is None else {LOGICAL: logical})


def _type(type_: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(type_):
        return _type(type_.value_type)
    if pa.types.is_timestamp(type_):
        return pa.timestamp("us", type_.tz and "UTC")
    if pa.types.is_time(type_):
        return pa.time64("us")
    if pa.types.is_date64(type_):
        return pa.date32()
    if pa.types.is_decimal32(type_) or pa.types.is_decimal64(type_):
        return pa.decimal128(type_.precision, type_.scale)
    if pa.types.is_large_string(type_) or pa.types.is_string_view(type_) or pa.types.is_null(type_):
        return pa.string()
    return pa.binary() if pa.types.is_large_binary(type_) or pa.types.is_binary_view(type_) else type_


def _normalised(array: pa.Array, field: pa.Field, part: Part) -> pa.Array:
    if array.type == field.type:
        return array
    try:
        if pa.types.is_dictionary(array.type):
            array = array.dictionary_decode()
        return array.cast(field.type)
    except pa.ArrowInvalid as error:
        raise DataError(
            f"{part.label}: column {field.name} holds values that {field.type} doesn't ({array.type} in the file)",
            hint="Nanoseconds can't be carried; write microseconds.",
        ) from error
