"""What a destination must be: it holds tables, and remembers beside the rows how far each task has come.

A task's life in a destination:

    claim = destination.claim(key, run)            who else works on this task is refused; leftovers are dropped
    stage = destination.stage(table, spec, claim)  rows wait here, unseen by readers
    stage.write(batch) ... staged = stage.seal()
    destination.publish([staged], [marker], expect)

`publish` is one act: it fences, compares what was sealed with `expect`, makes or evolves the table, makes the rows
visible and moves the marker; or it raises and the table is as it was before.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import ClassVar, Generic, TypeVar

import pyarrow as pa
from pydantic import BaseModel

from suiro.model.job import TaskKey
from suiro.model.schema import Position, Table
from suiro.model.selection import Deletes, WriteMode, WriteSpec
from suiro.model.summary import Summary
from suiro.spi.context import Context

C = TypeVar("C", bound=BaseModel)


class Atomicity(StrEnum):
    """How a destination keeps rows and marker together."""

    TRANSACTION = "transaction"  #: one transaction holds both
    IN_TABLE = "in_table"  #: the table tells by a property of its own which announced marker it belongs to
    DETERMINISTIC_NAME = "deterministic_name"  #: a repeat writes the same objects again, so it is the same act


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a destination can do. Claims: the conformance suite tests every one of them."""

    write_modes: dict[WriteMode, Atomicity]
    deletes: frozenset[Deletes] = frozenset({Deletes.SKIP})  #: what it does to rows that a log says were deleted
    key_snapshots: bool = False  #: and does so to rows that a key snapshot lacks, in its keyed write modes
    max_identifier: int  #: bytes of UTF-8 in a table's or column's name
    folds_case: bool  #: `Id` and `ID` are one column
    restores: frozenset[str] = frozenset()  #: logical types (see model/types) that it stores as themselves
    stores: str = ""  #: in words for the receipt: how other logical types are stored; "" where that is their text


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The right to load a task, until the destination is closed or a later claim raises the epoch.

    `position` is the marker as published last; None when there is none, or when the table is missing.
    """

    key: TaskKey
    run: str
    epoch: int
    position: Position | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Staged:
    """Sealed rows that wait, invisible to readers. `location` is the destination's own word for where."""

    table: Table  #: as the table shall be at least: missing columns are added, narrower types widened
    spec: WriteSpec
    claim: Claim
    location: str
    rows: int
    truncates: bool = False  #: the table is emptied before these rows enter
    keys: bool = False  #: a key snapshot: all the keys there are; rows of the table with others are deleted


@dataclass(frozen=True, slots=True, kw_only=True)
class Marker:
    """How far a task has come, kept by the destination under the task's key."""

    key: TaskKey
    position: Position


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What became of staged rows: staged = inserted + updated + unchanged + superseded + deleted.

    `removed` are rows of the table that a delete or a replace took away, marked, or (in a history) ended. `found` is
    the summary of the sealed rows as computed in the publishing transaction. Of a key snapshot every row is unchanged.
    """

    found: Summary
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    superseded: int = 0
    deleted: int = 0
    removed: int = 0
    notes: tuple[str, ...] = ()  #: sentences for the user: "truncated, because view v depends on it"


class Stage(ABC):
    """Takes rows of one table. As a context manager it aborts when left before `seal`."""

    @abstractmethod
    def write(self, data: pa.RecordBatch) -> None:
        """Add rows, columns and types exactly those of the staged table (and `_op`, `_seq` of log reads).

        DataError names the column whose value the destination refuses.
        """

    @abstractmethod
    def seal(self) -> Staged:
        """Make the rows durable and hand them over. No `write` after it."""

    @abstractmethod
    def abort(self) -> None:
        """Drop the rows. Harmless when called twice; after `seal` it drops the sealed rows."""

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if kind is not None:
            self.abort()


class Destination(ABC, Generic[C]):
    """Holds tables. Used from one thread at a time.

    Errors: ConfigError and AuthError (which names the missing privilege) from any verb; TransientError where
    trying again may help: the engine then claims anew and asks the marker what became of a publish.
    """

    capabilities: ClassVar[Capabilities]

    def __init__(self, config: C, context: Context) -> None:
        self.config = config
        self.context = context

    @abstractmethod
    def check(self) -> None:
        """Reach the system and prove the right to write, or raise. Leaves nothing behind."""

    @abstractmethod
    def inspect(self, name: str) -> Table | None:
        """The table as it stands, types as `stage` would take them, or None."""

    @abstractmethod
    def claim(self, key: TaskKey, run: str) -> Claim:
        """Take the task: raise its epoch, drop what older epochs staged, tell the published position.

        TransientError names the other run while its lease lives. The destination keeps the lease alive by
        itself until `close` and the death of the process ends it at once, where the system lets it.
        """

    @abstractmethod
    def stage(
        self, table: Table, spec: WriteSpec, claim: Claim, *, truncates: bool = False, keys: bool = False
    ) -> Stage:
        """Open a staging area for rows of one table. Nothing a reader can see changes.

        `keys`: the rows are a key snapshot (see `Staged`); `table` then has the key's columns and no others.
        """

    def admit(self, data: pa.RecordBatch) -> None:
        """Raise DataError naming the column if the system can't hold one of the values, before they are staged.

        What a stage would find out too late to tell which row it was; by default nothing.
        """
        return None

    @abstractmethod
    def publish(self, staged: Sequence[Staged], markers: Sequence[Marker], expect: Summary | None) -> Published:
        """Make the staged rows visible in their order and move the markers: all, or nothing.

        Before anything is touched: Fenced if a claim of a later epoch exists, VerificationFailed if the sealed
        rows differ from `expect`. The table is made, and evolved (columns added, types widened, never dropped),
        in the same act. SchemaConflict if it can't be. UserError if a key snapshot would take away a greater share
        of the rows than its WriteSpec allows. Drops the staging.
        """

    def close(self) -> None:
        """Let go of leases and connections; drop what this object staged and didn't publish. Called once."""
        return None
