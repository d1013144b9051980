"""A load: the rows between two published checkpoints, staged in order and published as one act."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from suiro.engine.context import RunContext
from suiro.engine.hashing import Digest
from suiro.engine.readback import compare_held
from suiro.model.errors import SuiroError
from suiro.model.receipt import Level
from suiro.model.schema import Table
from suiro.model.selection import KEYED, WriteSpec
from suiro.model.summary import EMPTY, Summary, summarise_batch
from suiro.spi.destination import Claim, Destination, Stage, Staged
from suiro.spi.powers import RawStage


class Load:
    """Stages the segments of one load. A segment ends where the schema changes.

    `counted`: the source adds up by itself, so rows in flight are only counted, and hashed where the level says so.
    """

    def __init__(
        self, destination: Destination[Any], spec: WriteSpec, claim: Claim, level: Level, *, counted: bool = False
    ) -> None:
        self._destination, self._spec, self._claim = destination, spec, claim
        self._adds_up, self._hashes = level.adds_up_columns and not counted, level is Level.HASH
        self._digest: Digest | None = None  #: of the open segment
        self._sealed: list[tuple[Stage, Staged, Digest | None]] = []
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
        self._digest = Digest(table.schema, marks=self._spec.mode in KEYED) if self._hashes else None
        self._truncate_next = False

    def write(self, data: pa.RecordBatch) -> None:
        """Stage rows of the open segment."""
        assert self._open is not None, "begin comes before write"
        key = self._spec.key
        self.summary = self.summary + summarise_batch(data, columns=self._adds_up, key=key)
        if self._digest is not None:
            self._digest.add(data)
        self._open.write(data)
        self.rows += data.num_rows
        self.bytes += data.nbytes

    def beside(self, table: Table, spec: WriteSpec, data: pa.RecordBatch) -> int:
        """Stage rows of another table that are published in the same act, after `seal`; how many."""
        if data.num_rows:
            stage = self._destination.stage(table, spec, self._claim)
            stage.write(data)
            self.summary = self.summary + summarise_batch(data, columns=self._adds_up, key=spec.key)
            self._sealed.append((stage, stage.seal(), None))
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
            if self._digest is not None:
                self._digest.close()
            self._sealed.append((self._open, self._open.seal(), self._digest))
            self._open = None
        return [staged for _, staged, _ in self._sealed]

    def compare(self, context: RunContext) -> tuple[str, ...]:
        """Read the sealed rows back, but for those beside; the columns compared. VerificationFailed if they differ."""
        parts = [(staged, digest) for _, staged, digest in self._sealed if digest is not None]
        return compare_held(self._destination, parts, context)

    def abort(self) -> None:
        """Drop all that was staged. Harmless after publishing."""
        if self._open is not None:
            self._open.abort()
            self._open = None
        for stage, _, _ in self._sealed:
            stage.abort()
        self._sealed = []


def give_up(staged: Load | RawStage, context: RunContext) -> None:
    """Drop what is staged. Where that fails too, the next claim drops it; the first error is the one to tell."""
    try:
        staged.abort()
    except SuiroError as error:
        context.log.info("staging stays until the next run: %s", error.message)
