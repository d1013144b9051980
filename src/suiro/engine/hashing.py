"""Digests of rows: sums of 64-bit hashes, of whole rows and of each column, equal whatever the order of the rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from suiro.engine.normal import normal
from suiro.model.change import OP, SEQ

MODULUS = 2**64
_AT_ONCE = 4 * 2**20  #: bytes of rows that are hashed in one go
_MOST_ROWS = 2**16
_ODD, _FIRST, _SECOND = (np.uint64(n) for n in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))

Words = npt.NDArray[np.uint64]


class Digest:
    """The hashes of rows of one schema, added up modulo 2**64; `marks`: `_op` and `_seq` too, where rows have them.

    Values are told apart as `normal` does; NULL from every value. The hashes are DuckDB's: they are the same within
    one process, are no secret, and guard against chance, not against somebody who wants to be wrong.
    """

    def __init__(self, schema: pa.Schema, *, marks: bool = False) -> None:
        self.schema = schema  #: with the first rows, the marks join it
        self.rows = 0
        self._marks = marks
        self._whole = 0
        self._columns: dict[str, int] = {}
        self._waiting: list[pa.RecordBatch] = []
        self._bytes = self._count = 0
        self._engine: Any = None

    def add(self, batch: pa.RecordBatch) -> None:
        """Take rows in, in the types of the schema."""
        if not batch.num_rows:
            return
        if self._marks:
            self.schema = pa.schema(
                [*self.schema, *(batch.schema.field(n) for n in (OP, SEQ) if n in batch.schema.names)]
            )
            self._marks = False
        self._waiting.append(batch)
        self._bytes += batch.nbytes
        self._count += batch.num_rows
        self.rows += batch.num_rows
        if self._bytes >= _AT_ONCE or self._count >= _MOST_ROWS:
            self._work()

    def close(self) -> None:
        """Hash what waits, and let go of the engine; `add` may come after it."""
        self._work()
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    def differences(self, found: Digest) -> tuple[str, ...]:
        """Sentences on where `found` (staged) isn't this (in flight); empty when equal."""
        self.close()
        found.close()
        if self.rows != found.rows:
            return (f"rows: {self.rows} read, {found.rows} staged",)
        columns = tuple(
            f"{name}: the values differ (hash)"
            for name in self.schema.names
            if self._columns.get(name) != found._columns.get(name)
        )
        if columns or self._whole == found._whole:
            return columns
        return ("rows: each column holds the values that were read, but not in the same rows (hash)",)

    def _work(self) -> None:
        if not self._waiting:
            return
        table = pa.Table.from_batches(self._waiting)
        self._waiting, self._bytes, self._count = [], 0, 0
        columns = [self._flat(table.column(field.name), field) for field in self.schema]
        named = pa.table(columns, names=[f"c{n}" for n in range(len(columns))])
        hashes = ", ".join(f"hash(c{n}) AS h{n}" for n in range(len(columns)))
        each = [f"h{n}" for n in range(len(columns))]
        sums = ", ".join(f"sum({name})" for name in each)
        (row,) = self._ask(f"SELECT sum(hash({', '.join(each)})), {sums} FROM (SELECT {hashes} FROM named)", named)
        self._whole = (self._whole + int(row[0])) % MODULUS
        for name, total in zip(self.schema.names, row[1:], strict=True):
            self._columns[name] = (self._columns.get(name, 0) + int(total)) % MODULUS

    def _flat(self, column: pa.ChunkedArray, field: pa.Field) -> pa.ChunkedArray:
        """The column in a form that DuckDB tells values apart in: nested ones as their own hashes."""
        chunks = [normal(chunk, field) for chunk in column.chunks]
        return pa.chunked_array([self._nested(c) if pa.types.is_nested(c.type) else c for c in chunks])

    def _ask(self, sql: str, named: pa.Table) -> list[tuple[Any, ...]]:
        if self._engine is None:
            import duckdb  # on use: other levels do without

            self._engine = duckdb.connect(config={"threads": 1, "enable_external_access": False})
        self._engine.register("named", named)
        try:
            found: list[tuple[Any, ...]] = self._engine.execute(sql).fetchall()
        finally:
            self._engine.unregister("named")
        return found

    # -- nested types: DuckDB's hash of a list is that of its parts in a row, wherever one ends ------------------------

    def _nested(self, array: pa.Array) -> pa.Array:
        return pa.array(self._words(array), mask=array.is_null().to_numpy(zero_copy_only=False))

    def _words(self, array: pa.Array) -> Words:
        """A hash of each value."""
        if isinstance(array, pa.ExtensionArray):
            array = array.storage
        type_ = array.type
        if not len(array):
            return np.zeros(0, np.uint64)
        if pa.types.is_struct(type_):
            parts = [self._present(array.field(n)) for n in range(type_.num_fields)]  # the fields as they are sliced
            words = np.zeros(len(array), np.uint64)
            for number, part in enumerate(parts, 1):
                words += _mixed(part ^ np.uint64(number * int(_ODD) % MODULUS))
            return _mixed(words)
        if pa.types.is_fixed_size_list(type_):
            ends = (np.arange(len(array) + 1) + array.offset) * type_.list_size
            return self._sums(array.values, ends)
        if pa.types.is_nested(type_):
            map_ = pa.types.is_map(type_)
            entries = pa.StructArray.from_arrays([array.keys, array.items], ["k", "v"]) if map_ else array.values
            return self._sums(entries, array.offsets.to_numpy(zero_copy_only=False).astype(np.int64))
        named = pa.table([normal(array, pa.field("c0", type_))], names=["c0"])
        return np.array([row[0] for row in self._ask("SELECT hash(c0) FROM named", named)], np.uint64)

    def _present(self, array: pa.Array) -> Words:
        """A hash of each value, another for NULL."""
        words = self._words(array)
        return np.where(array.is_null().to_numpy(zero_copy_only=False), _SECOND, _mixed(words + _FIRST))

    def _sums(self, values: pa.Array, ends: npt.NDArray[np.int64]) -> Words:
        """A hash of each run of values, by their places in it and how many they are."""
        start, lengths = int(ends[0]), np.diff(ends)
        words = self._present(values.slice(start, int(ends[-1]) - start))
        first = np.repeat(ends[:-1] - start, lengths)
        places = (np.arange(len(words)) - first).astype(np.uint64)
        total = np.concatenate([np.zeros(1, np.uint64), np.cumsum(_mixed(words + places * _ODD), dtype=np.uint64)])
        held = total[ends[1:] - start] - total[ends[:-1] - start]
        return _mixed(held + lengths.astype(np.uint64) * _FIRST)


def _mixed(words: Words) -> Words:
    """The words, each mixed well with itself (splitmix64)."""
    words = (words ^ (words >> np.uint64(30))) * _FIRST
    words = (words ^ (words >> np.uint64(27))) * _SECOND
    return words ^ (words >> np.uint64(31))
