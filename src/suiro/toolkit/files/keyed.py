"""Rows told apart by key in bounded memory: which of them win, and which are there already.

DuckDB sees the keys alone, as their bytes, and spills to the run's own folder; rows pass it by.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from suiro.model.errors import ConfigError
from suiro.model.types import is_bytes, is_text
from suiro.toolkit.files import forms

_ENTRY_BYTES = 96  # what a row takes while it is grouped, joined or sorted, besides its key; generous


class KeyTables:
    """A DuckDB of this run's own."""

    def __init__(self, workdir: Path, memory: int) -> None:
        import duckdb

        workdir.mkdir(parents=True, exist_ok=True)
        self._memory = max(memory, 64 << 20)
        self._db = duckdb.connect(
            ":memory:",
            config={
                "memory_limit": f"{self._memory >> 20}MB",
                "temp_directory": str(workdir / "keys.tmp"),
                "threads": 2,
                "preserve_insertion_order": False,
            },
        )

    def run(self, sql: str) -> None:
        """One statement without result."""
        self._db.execute(sql)

    def add(self, table: str, columns: dict[str, pa.Array], select: str = "*") -> None:
        """Rows into a table, which the first call makes; `select`: what of them."""
        rows = pa.table(columns)
        cursor = self._db.cursor()
        cursor.register("rows_to_add", rows)
        cursor.execute(f"CREATE TABLE IF NOT EXISTS {table} AS SELECT {select} FROM rows_to_add LIMIT 0")
        cursor.execute(f"INSERT INTO {table} SELECT {select} FROM rows_to_add")
        cursor.close()

    def number(self, sql: str) -> int:
        """The one number that a query gives."""
        row = self._db.execute(sql).fetchone()
        return int(row[0]) if row and row[0] is not None else 0

    def parts(self, table: str, rows: int) -> list[str]:
        """Conditions on `key` that part so many rows, with keys as in `table`, into what memory holds at once."""
        width = self.number(f"SELECT avg(octet_length(key)) FROM (SELECT key FROM {table} LIMIT 100000)")
        parts = max(1, -(-rows * (_ENTRY_BYTES + width) // self._memory))
        return [f"hash(key) % {parts} = {part}" for part in range(parts)]

    def stretches(self, column: str, stop: int) -> list[str]:
        """Conditions on a column of numbers below `stop` that part it, ascending, into what memory holds at once."""
        step = self._memory // _ENTRY_BYTES
        return [f"{column} >= {at} AND {column} < {at + step}" for at in range(0, max(stop, 1), step)]

    def aligned(self, queries: Sequence[str]) -> Aligned:
        """The rows of queries whose first column ascends from query to query, to walk beside a stream of batches."""
        return Aligned(self._in_turn(queries))

    def _in_turn(self, queries: Sequence[str]) -> Iterator[pa.RecordBatch]:
        for sql in queries:
            cursor = self._db.cursor()
            reader = cursor.sql(sql).to_arrow_reader(100_000)
            yield pa.RecordBatch.from_pylist([], schema=reader.schema)  # its columns, were there no row at all
            yield from reader
            cursor.close()

    def close(self) -> None:
        """Give the memory and the disk back."""
        self._db.close()


class Aligned:
    """Rows by ascending number, handed out for one stretch of numbers after the other."""

    def __init__(self, batches: Iterator[pa.RecordBatch]) -> None:
        self._batches = batches
        self._waiting = pa.Table.from_batches([next(batches)])
        self._ended = False

    def upto(self, stop: int) -> pa.Table:
        """The rows whose number is less than `stop` and that weren't handed out yet."""
        while not self._ended and (not len(self._waiting) or self._waiting.column(0)[-1].as_py() < stop):
            batch = next(self._batches, None)
            if batch is None:
                self._ended = True
                break
            self._waiting = pa.concat_tables([self._waiting, pa.Table.from_batches([batch])])
        count = pc.sum(pc.less(self._waiting.column(0), stop)).as_py() or 0
        out, self._waiting = self._waiting.slice(0, count), self._waiting.slice(count)
        return out.combine_chunks()


def row_bytes(batch: pa.RecordBatch, schema: pa.Schema) -> pa.Array:
    """Bytes for each row, equal exactly when all values in the columns of `schema` are (NULL equals NULL).

    First whether each value is there and its bytes, or its length where lengths vary; then the bytes of these.
    """
    fixed: list[np.ndarray[Any, Any]] = []
    varying: list[pa.Array] = []
    for field in schema:
        array = _stored(batch.column(field.name), field)
        valid = np.asarray(array.is_valid())
        fixed.append(valid.reshape(-1, 1).view(np.uint8))
        if is_bytes(array.type):
            lengths = np.asarray(pc.fill_null(pc.binary_length(array), 0)).astype(np.int64)
            fixed.append(lengths.reshape(-1, 1).view(np.uint8))
            varying.append(pc.fill_null(array, b""))
        else:
            fixed.append(_fixed(array, valid))
    together = np.ascontiguousarray(np.hstack(fixed))
    type_ = pa.binary(together.shape[1])
    rows = pa.Array.from_buffers(type_, batch.num_rows, [None, pa.py_buffer(together)]).cast(pa.binary())
    return pc.binary_join_element_wise(rows, *varying, b"") if varying else rows


def _stored(array: pa.Array, field: pa.Field) -> pa.Array:
    """The values as bytes, or as values of one width."""
    if isinstance(array, pa.ExtensionArray):
        return _stored(array.storage, pa.field(field.name, array.storage.type))
    if pa.types.is_dictionary(array.type):
        return _stored(array.dictionary_decode(), field.with_type(field.type.value_type))
    if pa.types.is_boolean(array.type):
        return array.cast(pa.uint8())
    if is_text(array.type) or is_bytes(array.type):
        return array.cast(pa.binary())
    if pa.types.is_nested(array.type):
        return forms.to_text(array, field).cast(pa.binary())
    return array


def _fixed(array: pa.Array, valid: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if pa.types.is_null(array.type):
        return np.zeros((len(array), 0), np.uint8)
    width = array.type.bit_width // 8
    data = np.frombuffer(array.buffers()[1] or bytes(width * (array.offset + len(array))), np.uint8)
    values = data[array.offset * width : (array.offset + len(array)) * width].reshape(-1, width)
    return values if valid.all() else np.where(valid.reshape(-1, 1), values, np.uint8(0))


def rank(array: pa.Array, field: pa.Field) -> pa.Array:
    """The values in a type that DuckDB orders as their own type does."""
    type_ = field.type
    if isinstance(array, pa.ExtensionArray):
        return rank(array.storage, pa.field(field.name, array.storage.type))
    if pa.types.is_temporal(type_) and not pa.types.is_interval(type_):
        return array.cast(pa.int32() if type_.bit_width == 32 else pa.int64())
    if pa.types.is_decimal256(type_):
        try:
            return array.cast(pa.decimal128(38, type_.scale))
        except pa.ArrowInvalid as error:
            raise ConfigError(
                f"rows can't be put in the order of {field.name}: its numbers have more than 38 digits",
                hint="Order by another column.",
            ) from error
    if pa.types.is_nested(type_) or pa.types.is_interval(type_):
        raise ConfigError(f"rows can't be put in the order of {field.name}, a {type_}", hint="Order by another column.")
    return array.cast(pa.float32()) if pa.types.is_float16(type_) else array


def numbered(batches: Iterator[pa.RecordBatch]) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Batches with the number of their first row."""
    at = 0
    for batch in batches:
        yield at, batch
        at += batch.num_rows


def mask_of(numbers: pa.ChunkedArray | pa.Array, at: int, length: int) -> pa.Array:
    """Which rows of a batch that begins at `at` have one of these numbers."""
    mask = np.zeros(length, dtype=bool)
    mask[np.asarray(numbers) - at] = True
    return pa.array(mask)
