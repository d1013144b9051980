"""Rows of a read that begins again at the last cursor value: those that came before are left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from suiro.toolkit.boundary import row_hashes
from suiro.toolkit.http.resources import Cursor
from suiro.toolkit.http.seen import Seen


class Again:
    """By their identity; rows without one by all of their values, as often as they came since the last beginning."""

    def __init__(self, identity: Sequence[str], cursor: Cursor) -> None:
        self._seen = Seen(identity) if identity else None
        self._cursor = cursor
        self._recent: list[pa.RecordBatch] = []
        self._known: Counter[str] = Counter()

    @property
    def number(self) -> int | None:
        """How many different rows came; None where they have no identity."""
        return None if self._seen is None else self._seen.number

    def begin(self, at: Any) -> None:
        """From now on rows at or past this value come again."""
        if self._seen is not None:
            return
        kept = []
        for batch in self._recent:
            values = batch.column(self._cursor.field)
            kept.append(batch.filter(pc.fill_null(pc.greater_equal(values, pa.scalar(at, values.type)), False)))
        self._recent = [batch for batch in kept if batch.num_rows]
        self._known = Counter(mark for batch in self._recent for mark in row_hashes(batch, batch.schema.names))

    def new(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The rows that didn't come before."""
        if self._seen is not None:
            return self._seen.new(batch)
        fresh = self._without_known(batch) if self._known.total() else batch
        if fresh.num_rows:
            self._recent.append(fresh)
        return fresh

    def _without_known(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        keep = []
        for mark in row_hashes(batch, batch.schema.names):
            known = self._known[mark] > 0
            self._known[mark] -= known
            keep.append(not known)
        return batch if all(keep) else batch.filter(pa.array(keep, pa.bool_()))
