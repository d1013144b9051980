"""Tasks: one stream to one table, as the user wants it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from suiro.model.added import AddedTime
from suiro.model.masking import Mask, MaskKey
from suiro.model.receipt import Level
from suiro.model.schema import ReadMode
from suiro.model.selection import Deletes, Replace, Resync, WriteMode


class Drift(StrEnum):
    """What happens when the stream no longer fits the table."""

    EVOLVE = "evolve"  #: columns are added, types widened
    FREEZE = "freeze"  #: the run is refused
    IGNORE = "ignore"  #: new columns are left out; types must fit
    REJECT = "reject"  #: new columns are left out; rows with values that the table's types can't hold are rejected


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One stream to one table. None means: what the stream or the rest of the task suggests."""

    stream: str
    query: str | None = None  #: a SELECT, or REPLICATE with one, whose rows are the stream; then `stream` is its name
    table: str | None = None
    read: ReadMode = ReadMode.FULL
    write: WriteMode | None = None  #: None: replace for full reads, merge for others with a key, append without
    key: tuple[str, ...] | None = None  #: source column names; None: the stream's primary key
    cursor: str | None = None
    look_back: timedelta | int | None = None
    start: str | None = None  #: the first cursor value to read, in words; for the first read alone
    window: timedelta | int | None = None  #: an incremental read goes, and is published, by windows of the cursor
    backfill: tuple[str, str] | None = None  #: read rows again from one cursor value to before another, and no others
    resync: Resync | None = None  #: forget the position, this once
    columns: Mapping[str, str] = field(default_factory=dict)  #: source name -> destination name; empty: all
    drop: tuple[str, ...] = ()  #: source columns that are left out
    names: Mapping[str, str] = field(default_factory=dict)  #: what source columns are called, unless renamed above
    types: Mapping[str, str] = field(default_factory=dict)  #: column of the table -> its type, as SQL writes it
    masks: Mapping[str, Mask] = field(default_factory=dict)  #: column of the table -> what becomes of its values
    mask_key: MaskKey | None = None
    times: Mapping[str, AddedTime] = field(default_factory=dict)  #: column of the table -> the time that is added
    applied: str | None = None  #: the query and masks that the source comes wrapped in already
    existing: bool = False  #: the table is the user's: it must be there and fit, and is never altered or swapped
    where: str | None = None
    limit: int | None = None
    deletes: Deletes = Deletes.SKIP  #: what the disappearance of rows does; other reads than logs compare all keys
    most_deleted: float = 0.5  #: a comparison of all keys that would delete a greater share of the table stops the run
    replace: Replace = Replace.AUTO
    only_new_data: bool = False  #: a replace that read no row leaves the table as it is
    most_rejected: int | float = 0
    """How many rows may be rejected, or (a float) which share of those read, before the run fails."""
    generation: int = 0  #: how often its position was reset; each time it begins as another task
    retry: bool = False  #: carry the rows that earlier runs of this task rejected, and no others
    drift: Drift = Drift.EVOLVE
    verify: Level = Level.SUMS


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskKey:
    """What makes a task the same task: under this key a destination keeps its marker.

    `source` identifies the system and database without secrets; `generation` is the run id for full reads that
    append (each run its own), else the number of resyncs.
    """

    source: str
    stream: str
    filter: str
    table: str
    generation: str = ""

    def digest(self) -> str:
        """24 hexadecimal digits, the same on every machine."""
        parts = [self.source, self.stream, self.filter, self.table, self.generation]
        return hashlib.sha256(json.dumps(parts, ensure_ascii=False).encode()).hexdigest()[:24]
