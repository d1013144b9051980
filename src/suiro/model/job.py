"""Tasks: one stream to one table, as the user wants it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from suiro.model.receipt import Level
from suiro.model.schema import ReadMode
from suiro.model.selection import Deletes, Replace, WriteMode


class Drift(StrEnum):
    """What happens when the stream no longer fits the table."""

    EVOLVE = "evolve"  #: columns are added, types widened
    FREEZE = "freeze"  #: the run is refused
    IGNORE = "ignore"  #: new columns are left out; types must fit


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One stream to one table. None means: what the stream or the rest of the task suggests."""

    stream: str
    table: str | None = None
    read: ReadMode = ReadMode.FULL
    write: WriteMode | None = None  #: None: replace for full reads, merge for others with a key, append without
    key: tuple[str, ...] | None = None  #: source column names; None: the stream's primary key
    cursor: str | None = None
    look_back: timedelta | int | None = None
    columns: Mapping[str, str] = field(default_factory=dict)  #: source name -> destination name; empty: all
    where: str | None = None
    limit: int | None = None
    deletes: Deletes = Deletes.SKIP  #: what a delete in a log does to a merged table
    replace: Replace = Replace.AUTO
    only_new_data: bool = False  #: a replace that read no row leaves the table as it is
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
