"""What a source yields: five kinds of change, and no sixth."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from suiro.model.rejected import RejectedRow
from suiro.model.schema import Position

OP = "_op"  #: column of log reads: "c", "u" or "d"
SEQ = "_seq"  #: column of log reads: bytes that sort as the source committed


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one stream, in source order.

    `data` has the selection's columns in their order; a log read appends `_op` (string) and `_seq` (binary).
    Timestamps are in microseconds, aware ones in UTC. `deduplicated` counts rows that the source read again
    and left out since the `Rows` before, because the position says they were carried already.
    """

    stream: str
    data: pa.RecordBatch
    deduplicated: int = 0


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The read can resume at `position`, which covers every change this read yielded before it."""

    position: Position


@dataclass(frozen=True, slots=True)
class SchemaChange:
    """From here on rows of `stream` have `schema`."""

    stream: str
    schema: pa.Schema


@dataclass(frozen=True, slots=True)
class Truncate:
    """The source emptied `stream`: rows before this change are gone from it."""

    stream: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """Rows of `stream` that could not be read; only where the selection takes them (`Selection.rejects`)."""

    stream: str
    rows: tuple[RejectedRow, ...]


Change = Rows | Checkpoint | SchemaChange | Truncate | Rejected
