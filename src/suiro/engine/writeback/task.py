"""A write-back as it is asked for, and how to open both of its sides."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from suiro.model.job import Task
from suiro.model.receipt import Level
from suiro.model.schema import Json
from suiro.model.selection import WriteMode
from suiro.model.writeback import Conflicts, Nulls, WriteBackMode
from suiro.spi.application import Application
from suiro.spi.destination import Atomicity, Capabilities
from suiro.spi.source import Source

#: What the reading path is told of an application: it takes every name as it is.
CAPABILITIES: Final = Capabilities(
    write_modes={WriteMode.REPLACE: Atomicity.TRANSACTION}, max_identifier=2**20, folds_case=False
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteBack:
    """One stream or query to one object. `task` says what is read, which columns, and the names of their fields."""

    task: Task
    object: str
    mode: WriteBackMode
    nulls: Nulls = Nulls.SEND
    conflicts: Conflicts = Conflicts.SKIP
    most_changed: int | float | None = None
    """How many records, or (a float) which share of the rows read, may change without approval; None: any."""
    most_deleted: int | float = (
        0.5  #: how many records, or which share of those that were sent once, a mirror may delete
    )
    verify: Level = Level.HASH  #: ROWS: what was sent is not read back
    resend: bool = False  #: rows that the application refused, and those of unknown fate, are sent again
    options: Mapping[str, Json] = field(default_factory=dict)  #: the application's own


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """How to open both sides. `identity` is the application's, without secrets: what is known holds for it alone."""

    source: Callable[[], Source[Any]]
    application: Callable[[], Application[Any]]
    identity: str
