"""A load: the rows between two published checkpoints, staged in order and published as one act."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from suiro.engine.context import RunContext
from suiro.model.errors import SuiroError
from suiro.model.receipt import Level
from suiro.model.schema import Table
from suiro.model.selection import WriteSpec
from suiro.model.summary import EMPTY, Summary, summarise_batch
from suiro.spi.destination import Claim, Destination, Stage, Staged
from suiro.spi.powers import RawStage


class Load:
    """Stages the segments of one load. A segment ends where the schema changes.

    `level` None: the source adds up by itself, so rows in flight are only counted.
    """

    def __init__(self, destination: Destination[Any], spec: WriteSpec, claim: Claim, level: Level | None) -> None:
        self._destination, self._spec, self._claim, self._level = destination, spec, claim, level
        self._sealed: list[tuple[Stage, Staged]] = []
        self._open: Stage | None = None
        self._truncate_next = False
        self.truncates = False  #: whether the table is emptied even if no row comes
        self.rows = 0
        self.bytes = 0
        self.summary: Summary = EMPTY  #: of the rows in flight that this load will publish

    def begin(self, table: Table, *, keys: bool = False) -> None:
        """Open a segment of rows with this table's columns; `keys`: it is a key snapshot."""
        self.seal()
        self._open = self._destination.stage(table, self._spec, self._claim, truncates=self._truncate_next, keys=keys)
        self._truncate_next = False

    def write(self, data: pa.RecordBatch) -> None:
        """Stage rows of the open segment."""
        assert self._open is not None, "begin comes before write"
        key = self._spec.key
        self.summary = self.summary + summarise_batch(data, columns=self._level is Level.SUMS, key=key)
        self._open.write(data)
        self.rows += data.num_rows
        self.bytes += data.nbytes

    def beside(self, table: Table, spec: WriteSpec, data: pa.RecordBatch) -> int:
        """Stage rows of another table that are published in the same act, after `seal`; how many."""
        if data.num_rows:
            stage = self._destination.stage(table, spec, self._claim)
            stage.write(data)
            self.summary = self.summary + summarise_batch(data, columns=self._level is Level.SUMS, key=spec.key)
            self._sealed.append((stage, stage.seal()))
        return int(data.num_rows)

    def truncate(self, table: Table) -> int:
        """Drop what was staged; the table is emptied before the rows to come. Returns how many rows were dropped."""
        dropped = self.rows
        self.abort()
        self.rows, self.bytes, self.summary = 0, 0, EMPTY
        self._truncate_next = self.truncates = True
        self.begin(table)
        return dropped

    def seal(self) -> list[Staged]:
        """Close the open segment; all segments in order, ready to be published."""
        if self._open is not None:
            self._sealed.append((self._open, self._open.seal()))
            self._open = None
        return [staged for _, staged in self._sealed]

    def abort(self) -> None:
        """Drop all that was staged. Harmless after publishing."""
        if self._open is not None:
            self._open.abort()
            self._open = None
        for stage, _ in self._sealed:
            stage.abort()
        self._sealed = []


def give_up(staged: Load | RawStage, context: RunContext) -> None:
    """Drop what is staged. Where that fails too, the next claim drops it; the first error is the one to tell."""
    try:
        staged.abort()
    except SuiroError as error:
        context.log.info("staging stays until the next run: %s", error.message)
