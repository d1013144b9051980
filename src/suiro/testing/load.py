"""Loads that tests stage and publish."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from suiro.model.job import TaskKey
from suiro.model.schema import Position, Table
from suiro.model.selection import WriteSpec
from suiro.model.summary import EMPTY, Summary, summarise


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """One load of one task, whole: what is staged, how it is written, and the position after it."""

    table: Table
    rows: tuple[pa.RecordBatch, ...]
    spec: WriteSpec
    position: Position
    truncates: bool = False
    keys: bool = False  #: a key snapshot

    @property
    def key(self) -> TaskKey:
        """The task: the same for every load of one table."""
        return TaskKey(source="suite:1", stream="s", filter="", table=self.table.name)

    def summary(self) -> Summary:
        """What the rows add up to, as an engine computes it while they pass."""
        key = self.spec.key or self.table.primary_key
        return EMPTY + summarise([batch.select(self.table.schema.names) for batch in self.rows], key=key)
