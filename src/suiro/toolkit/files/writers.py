"""Writers of table files: Parquet, CSV, JSON Lines, compressed or not."""

from __future__ import annotations

import gzip
import json
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from suiro.model.errors import ConfigError
from suiro.model.types import is_bytes, is_text
from suiro.toolkit.files import documents, forms, scalars, storage
from suiro.toolkit.files.names import take_apart
from suiro.toolkit.files.settings import FileSettings

_GROUP_BYTES = 64 << 20  #: a row group of wide rows has fewer of them
_SAMPLE = 8_192
_EXTENSIONS = {"parquet": ".parquet", "csv": ".csv", "jsonl": ".jsonl"}
_SUFFIXES = {"none": "", "gzip": ".gz", "zstd": ".zst"}


def extension(settings: FileSettings, file: str = "") -> str:
    """The extension of table files; `file` is the file that the location names, if any. ConfigError for Excel, ZIP."""
    named = take_apart(file)
    otherwise = "parquet" if settings.written_as == "guess" else settings.written_as
    format_ = settings.format if settings.format != "guess" else named.format or otherwise
    compression = settings.compression if settings.compression != "guess" else named.compression or "none"
    if format_ not in _EXTENSIONS or compression not in _SUFFIXES:
        raise ConfigError(
            f"tables can't be written as {format_ if format_ not in _EXTENSIONS else compression}",
            hint="Formats for writing: parquet, csv, jsonl; compressions: none, gzip, zstd.",
        )
    if file and named.format == format_:
        return file[len(named.stem) :]
    return _EXTENSIONS[format_] + ("" if format_ == "parquet" else _SUFFIXES[compression])


class FileWriter(ABC):
    """Writes one file. `close` has the disk hold it; until then, and after an error, it is no whole file."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.path, self.schema = path, schema
        self.rows = 0

    def write(self, batch: pa.RecordBatch) -> None:
        """Add rows, in exactly the schema's columns and types."""
        if batch.num_rows:
            with storage.told(self.path.parent, "write to"):
                self._write(batch)
            self.rows += batch.num_rows

    def close(self) -> None:
        """Finish the file."""
        with storage.told(self.path.parent, "write to"):
            self._finish()
        storage.sync(self.path)

    def abort(self) -> None:
        """Remove what was written. Harmless after close, and when called twice."""
        try:
            self._release()
        finally:
            storage.remove(self.path)

    @abstractmethod
    def _write(self, batch: pa.RecordBatch) -> None: ...

    @abstractmethod
    def _finish(self) -> None: ...

    @abstractmethod
    def _release(self) -> None: ...


def writer(path: Path, schema: pa.Schema, settings: FileSettings) -> FileWriter:
    """The writer for a file of this name; ConfigError names a column whose type the format doesn't hold."""
    format_ = take_apart(path.name).format
    refuse_types(schema, path.name)
    with storage.told(path.parent, "write to"):
        match format_:
            case "csv":
                return CsvWriter(path, schema, settings)
            case "jsonl":
                return JsonlWriter(path, schema, settings)
        return ParquetWriter(path, schema, settings)


def refuse_types(schema: pa.Schema, name: str) -> None:
    """ConfigError names a column whose type files of this name or extension don't hold."""
    format_ = take_apart(f"x{name}").format
    for field in schema:
        if format_ == "parquet":
            _refuse_in_parquet(field)
        else:
            forms.refuse_unstorable(field, "CSV" if format_ == "csv" else "JSON Lines")


def _refuse_in_parquet(field: pa.Field) -> None:
    type_ = field.type
    empty = pa.types.is_struct(type_) and not type_.num_fields
    if pa.types.is_interval(type_) or pa.types.is_union(type_) or empty:
        raise ConfigError(f"Parquet can't hold column {field.name} of type {type_}", hint="Leave the column out.")


class ParquetWriter(FileWriter):
    """Row groups of about 128k rows; the Arrow schema with its logical types is kept in the file."""

    def __init__(self, path: Path, schema: pa.Schema, settings: FileSettings) -> None:
        super().__init__(path, schema)
        self._settings = settings
        self._waiting: list[pa.RecordBatch] = []
        self._rows = self._bytes = 0
        self._file = pa.OSFile(str(path), "wb")
        self._writer: pq.ParquetWriter | None = None

    def _open(self) -> pq.ParquetWriter:
        known = {"gzip": "gzip", "none": "none"}
        codec = known.get(self._settings.compression, "zstd")
        level = self._settings.compression_level or (1 if codec == "zstd" else None)
        self._writer = pq.ParquetWriter(
            self._file,
            self.schema,
            compression=codec,
            compression_level=None if codec == "none" else level,
            use_dictionary=_repeating(self._waiting),
            store_decimal_as_integer=True,
            write_page_checksum=True,
        )
        return self._writer

    def _write(self, batch: pa.RecordBatch) -> None:
        self._waiting.append(batch)
        self._rows += batch.num_rows
        self._bytes += batch.nbytes
        while self._rows >= self._settings.row_group_rows:
            self._group(self._settings.row_group_rows)
        if self._bytes >= _GROUP_BYTES:
            self._group(self._rows)

    def _group(self, rows: int) -> None:
        """Write the first so many of the rows that wait."""
        target = self._writer or self._open()
        table = pa.Table.from_batches(self._waiting, self.schema)
        target.write_table(table.slice(0, rows), row_group_size=max(rows, 1))
        self._waiting = table.slice(rows).to_batches()
        self._rows -= rows
        self._bytes = sum(batch.nbytes for batch in self._waiting)

    def _finish(self) -> None:
        if self._waiting or self._writer is None:
            self._group(self._rows)
        if self._writer is not None:
            self._writer.close()
        self._file.close()

    def _release(self) -> None:
        self._waiting = []
        if not self._file.closed:
            self._file.close()


def _repeating(batches: list[pa.RecordBatch]) -> list[str]:
    """Columns whose values repeat in the first rows: a dictionary makes these small and quick."""
    if not batches:
        return []
    sample = batches[0].slice(0, _SAMPLE)
    pairs = zip(sample.schema, sample.columns, strict=True)
    return [field.name for field, column in pairs if _repeats(column, field.type)]


def _repeats(column: pa.Array, type_: pa.DataType) -> bool:
    """Floats never do, since a dictionary might take the two zeros for one; views, which Arrow can't count, neither."""
    if type_ in (pa.string_view(), pa.binary_view()):
        return False
    if is_text(type_) or is_bytes(type_):
        often = 10
    elif pa.types.is_integer(type_) or pa.types.is_decimal(type_) or pa.types.is_temporal(type_):
        often = 3
    else:
        return False
    return not isinstance(column, pa.ExtensionArray) and pc.count_distinct(column).as_py() * often <= len(column)


class _TextWriter(FileWriter):
    """A file of text, perhaps compressed."""

    def __init__(self, path: Path, schema: pa.Schema, settings: FileSettings) -> None:
        super().__init__(path, schema)
        self._file = open(path, "wb")  # noqa: SIM115  (closed by close or abort)
        self.stream: Any = self._file
        match take_apart(path.name).compression:
            case "gzip":
                level = 1 if settings.compression_level is None else settings.compression_level
                self.stream = gzip.GzipFile("", "wb", level, self._file, mtime=0)
            case "zstd":
                self.stream = pa.CompressedOutputStream(self._file, "zstd")

    def _finish(self) -> None:
        if self.stream is not self._file:
            self.stream.close()
        self._file.close()

    def _release(self) -> None:
        self._file.close()


class CsvWriter(_TextWriter):
    """UTF-8 with a header; text is quoted, NULL is nothing, and empty text is `""`."""

    def __init__(self, path: Path, schema: pa.Schema, settings: FileSettings) -> None:
        super().__init__(path, schema, settings)
        self._delimiter = "," if settings.delimiter == "guess" else settings.delimiter
        empty = pa.table({name: pa.array([], pa.string()) for name in schema.names})
        self._csv(empty, header=True)

    def _csv(self, table: pa.Table, *, header: bool) -> None:
        options = pa_csv.WriteOptions(include_header=header, delimiter=self._delimiter)
        pa_csv.write_csv(table, self.stream, write_options=options)

    def _write(self, batch: pa.RecordBatch) -> None:
        arrays = [
            column if _csv_writes(column, field) else forms.to_text(column, field)
            for column, field in zip(batch.columns, self.schema, strict=True)
        ]
        self._csv(pa.table(arrays, names=self.schema.names), header=False)


def _csv_writes(array: pa.Array, field: pa.Field) -> bool:
    """Whether Arrow's writer gives the same text as `forms.to_text`."""
    type_ = field.type
    if pa.types.is_decimal(type_):
        return bool(type_.bit_width >= 128 and 0 <= type_.scale <= 6)
    if pa.types.is_date32(type_) or pa.types.is_timestamp(type_) or pa.types.is_time64(type_):
        return not scalars.has_far_times(array, field)
    return bool(
        pa.types.is_integer(type_)
        or pa.types.is_boolean(type_)
        or type_ in (pa.float32(), pa.float64(), pa.string(), pa.large_string())
    )


class JsonlWriter(_TextWriter):
    """UTF-8, one object a line with a member for each column; a JSON column that is NULL is left out."""

    def __init__(self, path: Path, schema: pa.Schema, settings: FileSettings) -> None:
        super().__init__(path, schema, settings)
        self._names = [json.dumps(name, ensure_ascii=False) + ": " for name in schema.names]

    def _write(self, batch: pa.RecordBatch) -> None:
        members = []
        for name, column, field in zip(self._names, batch.columns, self.schema, strict=True):
            tokens = documents.tokens(column, field)
            if field.type == pa.json_():
                members.append(pc.fill_null(pc.binary_join_element_wise(pa.scalar(f", {name}"), tokens, ""), ""))
            else:
                members += [pa.scalar(f", {name}"), pc.fill_null(tokens, "null")]
        inner = pc.utf8_slice_codeunits(pc.binary_join_element_wise(*members, ""), 2)
        lines = pc.binary_join_element_wise(pa.scalar("{"), inner, pa.scalar("}\n"), "")
        for chunk in lines.chunks if isinstance(lines, pa.ChunkedArray) else [lines]:
            offsets = chunk.buffers()[1]
            first, last = (memoryview(offsets).cast("i")[chunk.offset + at] for at in (0, len(chunk)))
            self.stream.write(chunk.buffers()[2].slice(first, last - first))
