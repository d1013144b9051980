"""What a task takes from a source and how it is written: the two halves of a task, each side's own."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from suiro.model.schema import ReadMode, Stream


class WriteMode(StrEnum):
    """How rows enter a table."""

    APPEND = "append"  #: add rows; keep all versions
    REPLACE = "replace"  #: the table holds this run's rows and no others, from one moment to the next
    MERGE = "merge"  #: one row for each key, the last one


class Deletes(StrEnum):
    """What a delete that a log read reports does to a merged table."""

    SKIP = "skip"
    HARD = "hard"


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
    deduplicate: bool = True
    """Leave out rows that the position says were carried already (equal cursor values at the boundary).

    False: rows may come twice; whoever writes them copes (a merge, an append that skips existing rows).
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteSpec:
    """The destination's half: how staged rows enter the table."""

    mode: WriteMode
    key: tuple[str, ...] = ()  #: MERGE: identifies a row; never NULL
    order_by: str | None = (
        None  #: MERGE: of rows with one key the greatest wins (NULL is least), then the last to arrive
    )
    deletes: Deletes = Deletes.SKIP
    replace: Replace = Replace.AUTO
    skip_existing: tuple[str, ...] = ()  #: APPEND: leave out rows whose values here the table holds already
