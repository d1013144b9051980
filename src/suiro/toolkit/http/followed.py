"""Positions of reads that follow a cursor through a service whose rows change while they are read."""

from __future__ import annotations

from collections import Counter
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from suiro.model.errors import UserError
from suiro.model.schema import Json, Position
from suiro.toolkit.boundary import LIMIT, Boundary, row_hashes


class Followed:
    """As `boundary.Boundary`, with a ceiling: the position stays at or below it, whatever rows came.

    Above it, rows may still become visible that changed before those that were read. Rows that came from above it are
    remembered in the position, so that the next read leaves them out.
    """

    def __init__(self, cursor: str, since: Position | None, *, deduplicate: bool, ceiling: datetime | None) -> None:
        self._cursor, self._ceiling, self._deduplicate = cursor, ceiling, deduplicate
        self._boundary = Boundary(cursor, since, deduplicate=deduplicate)
        known = since.get("ahead", {}) if since else {}
        if known is None and deduplicate:
            raise UserError(
                f"the last read brought more than {LIMIT:,} rows that had just changed; which can't be told any more",
                hint="Write with merge and a key, or give a key and a look-back window (0 will do).",
            )
        self._known = Counter({str(k): int(v) for k, v in dict(known or {}).items()})  # type: ignore[arg-type]
        self._columns = [str(name) for name in list(since.get("ahead_columns") or [])] if since else []  # type: ignore[arg-type]
        self._ahead: Counter[str] | None = Counter()
        self._ahead_columns: list[str] = []

    def pass_through(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, int]:
        """The rows to carry, and how many were left out because they were carried before."""
        before = batch.num_rows
        if self._ceiling is None:
            kept, _ = self._boundary.pass_through(batch)
        else:
            above = pc.fill_null(pc.greater(batch.column(self._cursor), pa.scalar(self._ceiling, _AWARE)), False)
            below, _ = self._boundary.pass_through(batch.filter(pc.invert(above)))
            late = batch.filter(above)
            self._note(late)
            kept = pa.concat_batches([below, late]) if late.num_rows else below
        if self._known and self._deduplicate:
            kept = self._without_known(kept)
        return kept, before - kept.num_rows

    def position(self) -> dict[str, Json]:
        """Where the next read resumes."""
        position = self._boundary.position()
        position = {name: value for name, value in position.items() if not name.startswith("ahead")}
        if self._ahead is None:
            return {**position, "ahead": None}
        if self._ahead:
            return {**position, "ahead": dict(self._ahead), "ahead_columns": list(self._ahead_columns)}
        return position

    def _note(self, late: pa.RecordBatch) -> None:
        if not late.num_rows or self._ahead is None:
            return
        self._ahead_columns = self._ahead_columns or late.schema.names
        self._ahead.update(row_hashes(late, self._ahead_columns))
        if self._ahead.total() > LIMIT:
            self._ahead = None

    def _without_known(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        columns = [name for name in self._columns if name in batch.schema.names]
        keep = []
        for mark in row_hashes(batch, columns):
            known = self._known[mark] > 0
            self._known[mark] -= known
            keep.append(not known)
        return batch if all(keep) else batch.filter(pa.array(keep))


_AWARE = pa.timestamp("us", "UTC")
