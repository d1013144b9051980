"""Keys of the rows that a read has brought: a list that shifts while it is read brings some of them twice."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa


class Seen:
    """Remembers keys: 8 bytes for a whole number, 16 (a hash) for any other."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = list(columns)
        self._sorted: dict[str, list[npt.NDArray[Any]]] = {}  # by kind; each at most half as long as the one before
        self.number = 0  #: of different keys so far

    def new(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The rows whose keys didn't come before, each key once."""
        keys = self._keys(batch)
        _, first = np.unique(keys, return_index=True)
        fresh = np.zeros(len(keys), np.bool_)
        fresh[first] = True
        for known in self._sorted.get(keys.dtype.kind, ()):
            at = np.minimum(np.searchsorted(known, keys), len(known) - 1)
            fresh &= known[at] != keys
        self._add(np.sort(keys[fresh]))
        return batch if fresh.all() else batch.filter(pa.array(fresh))

    def _keys(self, batch: pa.RecordBatch) -> npt.NDArray[Any]:
        columns = [batch.column(name) for name in self._columns]
        if len(columns) == 1 and columns[0].type == pa.int64() and not columns[0].null_count:
            return np.asarray(columns[0].to_numpy(zero_copy_only=False))
        plain = [_plain(column).to_pylist() for column in columns]
        digests = [hashlib.blake2b(repr(row).encode(), digest_size=16).digest() for row in zip(*plain, strict=True)]
        return np.array(digests, "S16")

    def _add(self, keys: npt.NDArray[Any]) -> None:
        if not len(keys):
            return
        self.number += len(keys)
        known = self._sorted.setdefault(keys.dtype.kind, [])
        known.append(keys)
        while len(known) > 1 and len(known[-2]) < 2 * len(known[-1]):
            last = known.pop()
            known[-1] = np.sort(np.concatenate((known[-1], last)), kind="stable")


def _plain(column: pa.Array) -> pa.Array:
    if isinstance(column, pa.ExtensionArray):
        return column.storage
    return column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column
