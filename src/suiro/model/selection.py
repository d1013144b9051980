"""What a task takes from a source and how it is written: the two halves of a task, each side's own."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from suiro.model.schema import ReadMode, Stream


class WriteMode(StrEnum):
    """How rows enter a table."""

    APPEND = "append"  #: add rows; keep all versions
    REPLACE = "replace"  #: the table holds this run's rows and no others, from one moment to the next
    MERGE = "merge"  #: one row for each key, the last one
    HISTORY = "history"  #: every version of a row, each with the time from and to which it held


KEYED: Final = frozenset({WriteMode.MERGE, WriteMode.HISTORY})

# Columns of Suiro's own in users' tables; all times are UTC, with microseconds.
DELETED_AT: Final = "_suiro_deleted_at"  #: MERGE with soft deletes: when the row went; NULL while it is there
VALID_FROM: Final = "_suiro_valid_from"  #: HISTORY: when a version began to hold; with the key it identifies a version
VALID_TO: Final = (
    "_suiro_valid_to"  #: HISTORY: when it ceased to (the first moment it no longer held), NULL if it holds
)
CURRENT: Final = "_suiro_current"  #: HISTORY: whether it holds
OWN: Final = frozenset({DELETED_AT, VALID_FROM, VALID_TO, CURRENT})


class Deletes(StrEnum):
    """What the disappearance of a row at the source does to the table.

    In a history SOFT and HARD are the same: the version that holds ends, and nothing is taken away.
    """

    SKIP = "skip"
    SOFT = "soft"  #: the row stays and is marked with the time
    HARD = "hard"  #: the row goes


class Resync(StrEnum):
    """How a task that follows its source begins anew."""

    REPLACE = "replace"  #: the table's rows give way to those that are read, all at once
    REFRESH = "refresh"  #: all rows are read again and written over those that are there


class Replace(StrEnum):
    """How a table is replaced."""

    AUTO = "auto"  #: swap where nothing depends on the table and it is ours, else truncate
    TRUNCATE = "truncate"  #: empty and fill the same table, in one transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The source's half: which rows and columns of a stream to read."""

    stream: Stream
    columns: tuple[str, ...]  #: a subset of the stream's columns, in the stream's order
    read_mode: ReadMode = ReadMode.FULL
    where: str | None = None  #: a condition in the source's own SQL; only for sources that inherit `Queries`
    cursor_field: str | None = None
    look_back: timedelta | int | None = None  #: re-read this much before the last cursor value
    start: Any = None  #: no rows before this cursor value, but when resuming; only for sources that take ranges
    stop: Any = None  #: no rows at or past this cursor value; as `start`
    rejects: bool = False  #: single rows that can't be read are yielded as `Rejected`; else the first is a DataError
    window: timedelta | int | None = None  #: read so much of the cursor at a time, with a Checkpoint after each
    deduplicate: bool = True
    """Leave out rows that the position says were carried already (equal cursor values at the boundary).

    False: rows may come twice; whoever writes them copes (a merge, an append that skips existing rows).
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteSpec:
    """The destination's half: how staged rows enter the table."""

    mode: WriteMode
    key: tuple[str, ...] = ()  #: MERGE, HISTORY: identifies a row; never NULL
    order_by: str | None = None
    """MERGE: of rows with one key the greatest wins (NULL is least), then the last to arrive.

    HISTORY: the same among versions of one row that begin at one moment.
    """
    deletes: Deletes = Deletes.SKIP
    moment: datetime | None = None  #: when rows that a key snapshot lacks count as deleted; aware, in UTC
    most_deleted: float = 1.0  #: the share of the table's rows that one key snapshot may take away
    replace: Replace = Replace.AUTO
    skip_existing: tuple[str, ...] = ()  #: APPEND: leave out rows whose values here the table holds already
