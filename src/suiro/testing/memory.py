"""A destination in memory: the contract kept in the plainest way, to read and to test with."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import pyarrow as pa
from pydantic import ConfigDict, Field

from suiro.model.errors import ConfigError, DataError, Fenced, InternalError, VerificationFailed
from suiro.model.job import TaskKey
from suiro.model.receipt import Entered
from suiro.model.schema import Table
from suiro.model.selection import VALID_FROM, Deletes, WriteMode, WriteSpec
from suiro.model.summary import EMPTY, Summary, summarise
from suiro.spi.connector import ConnectorConfig
from suiro.spi.context import Context
from suiro.spi.destination import (
    Atomicity,
    Capabilities,
    Claim,
    Destination,
    Marker,
    Published,
    Stage,
    Staged,
)
from suiro.spi.powers import ReadsStaged
from suiro.testing.cells import together
from suiro.testing.memory_history import remember, started, without_absent
from suiro.testing.memory_merge import append, evolved, fitted, merge, without_marks
from suiro.testing.memory_source import MemorySource, MemorySourceConfig, MemoryStreams
from suiro.testing.memory_store import Disk, MemoryStore, position_of

__all__ = [
    "MemoryConfig",
    "MemoryDestination",
    "MemorySource",
    "MemorySourceConfig",
    "MemoryStage",
    "MemoryStore",
    "MemoryStreams",
]

LOGICAL = frozenset(
    {"numeric", "inet", "int4range", "[]", "varchar", "char", "text", "interval", "json", "jsonb", "uuid", "time"}
    | {"date", "timestamp", "timestamptz", "xml"}
)


class MemoryConfig(ConnectorConfig):
    """Where the tables are."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    name: str = Field(default="memory", title="Name", description="Tells one store from another.")
    store: MemoryStore = Field(title="Store", description="What holds the tables.")

    def identity(self) -> str:
        """The name alone."""
        return f"memory:{self.name}"


class MemoryStage(Stage):
    """Keeps batches until they are sealed."""

    def __init__(self, store: MemoryStore, staged: Staged) -> None:
        self._store, self._staged = store, staged
        self._batches: list[pa.RecordBatch] = []

    def write(self, data: pa.RecordBatch) -> None:
        """Keep them; a key that is NULL is refused."""
        for name in self._staged.spec.key:
            if data.column(name).null_count:
                raise DataError(f"column {name} is a key of {self._staged.table.name} and has a row without value")
        self._batches.append(data)

    def seal(self) -> Staged:
        """Put them on the disk, under a name of their own."""
        with self._store.transaction() as disk:
            disk.staging[self._staged.location] = tuple(self._batches)
        rows = sum(batch.num_rows for batch in self._batches)
        staged = self._staged
        return Staged(
            table=staged.table,
            spec=staged.spec,
            claim=staged.claim,
            location=staged.location,
            rows=rows,
            truncates=staged.truncates,
            keys=staged.keys,
        )

    def abort(self) -> None:
        """Forget them, on the disk too."""
        self._batches.clear()
        with self._store.transaction() as disk:
            disk.staging.pop(self._staged.location, None)


class MemoryDestination(Destination[MemoryConfig], ReadsStaged):
    """Tables in a `MemoryStore`, which several of these can share."""

    capabilities: ClassVar[Capabilities] = Capabilities(
        write_modes=dict.fromkeys(WriteMode, Atomicity.TRANSACTION),
        deletes=frozenset(Deletes),
        key_snapshots=True,
        max_identifier=255,
        folds_case=False,
        restores=LOGICAL,
    )

    def __init__(self, config: MemoryConfig, context: Context) -> None:
        super().__init__(config, context)
        self.store = config.store
        self._numbers = itertools.count()
        self._mine: list[str] = []

    def check(self) -> None:
        """Nothing can be out of reach."""

    def inspect(self, name: str) -> Table | None:
        """The table as it was published."""
        return self.store.load().tables.get(name)

    def claim(self, key: TaskKey, run: str) -> Claim:
        """Take the lease, raise the epoch, drop what older epochs staged."""
        self.store.lease(key, run, self)
        with self.store.transaction() as disk:
            digest = key.digest()
            disk.epochs[digest] = disk.epochs.get(digest, 0) + 1
            for location in [name for name in disk.staging if name.startswith(f"{digest}/")]:
                del disk.staging[location]
            return Claim(key=key, run=run, epoch=disk.epochs[digest], position=position_of(disk, key))

    def stage(
        self, table: Table, spec: WriteSpec, claim: Claim, *, truncates: bool = False, keys: bool = False
    ) -> Stage:
        """Open a place of this claim's own."""
        if not table.schema.names:
            raise ConfigError(f"{table.name} would have no columns", hint="Choose at least one column.")
        location = f"{claim.key.digest()}/{claim.epoch}/{next(self._numbers)}"
        self._mine.append(location)
        staged = Staged(table=table, spec=spec, claim=claim, location=location, rows=0, truncates=truncates, keys=keys)
        return MemoryStage(self.store, staged)

    def read_staged(self, staged: Staged) -> Iterator[pa.RecordBatch]:
        """The batches as they were put on the disk."""
        yield from self.store.load().staging[staged.location]

    def publish(self, staged: Sequence[Staged], markers: Sequence[Marker], expect: Summary | None) -> Published:
        """Everything in one transaction of the store: fence, compare, evolve, fill, mark."""
        with self.store.transaction() as disk:
            for item in staged:
                self._fence(disk, item)
            sealed = [self._sealed(disk, item) for item in staged]
            found = self._compared(staged, sealed, expect)
            counts = Entered()
            replaced: set[str] = set()
            for item, rows in zip(staged, sealed, strict=True):
                self._enter(disk, item, rows, counts, replaced)
                del disk.staging[item.location]
            self._mark(disk, markers)
        return Published(found=found, **counts.as_dict(), notes=())

    def close(self) -> None:
        """Drop what wasn't published, then let go of the leases."""
        with self.store.transaction() as disk:
            for location in self._mine:
                disk.staging.pop(location, None)
        self.store.release(self)

    def _fence(self, disk: Disk, item: Staged) -> None:
        epoch = disk.epochs[item.claim.key.digest()]
        if epoch != item.claim.epoch:
            raise Fenced(f"{item.table.name} was claimed again since (epoch {epoch}, not {item.claim.epoch})")

    def _sealed(self, disk: Disk, item: Staged) -> pa.Table:
        if item.location not in disk.staging:
            raise InternalError(f"the rows staged for {item.table.name} were published already, or dropped")
        return together(disk.staging[item.location], item.table.schema)

    def _compared(self, staged: Sequence[Staged], sealed: Sequence[pa.Table], expect: Summary | None) -> Summary:
        found = EMPTY
        for item, rows in zip(staged, sealed, strict=True):
            key = item.spec.key or item.table.primary_key
            found = found + summarise(without_marks(rows).to_batches(), key=key)
        differences = expect.differences(found) if expect else ()
        if differences:
            raise VerificationFailed(
                f"what was staged is not what was read: {'; '.join(differences)}", differences=differences
            )
        return found

    def _enter(self, disk: Disk, item: Staged, new: pa.Table, counts: Entered, replaced: set[str]) -> None:
        name = item.table.name
        if item.keys:
            counts.unchanged += len(new)
            if name in disk.rows:
                disk.rows[name] = without_absent(disk.rows[name], new, item.spec, name, counts)
            return
        starts = name in disk.tables and VALID_FROM not in disk.tables[name].schema.names
        table = disk.tables[name] = evolved(disk.tables.get(name), item.table)
        old = fitted(disk.rows.get(name, item.table.schema.empty_table()), table.schema)
        if item.truncates or (item.spec.mode is WriteMode.REPLACE and name not in replaced):
            counts.removed += len(old)
            old = table.schema.empty_table()
        replaced.add(name)
        match item.spec.mode:
            case WriteMode.MERGE:
                disk.rows[name] = merge(old, new, item.spec, counts)
            case WriteMode.HISTORY:
                disk.rows[name] = remember(started(old, item.spec) if starts else old, new, item.spec, counts)
            case _:
                disk.rows[name] = append(old, new, item.spec, counts)

    def _mark(self, disk: Disk, markers: Sequence[Marker]) -> None:
        for marker in markers:
            disk.markers[marker.key.digest()] = dict(marker.position)


def rows_of(store: MemoryStore, table: str) -> pa.Table | None:
    """The rows of a published table, as a reader sees them; None when it is missing."""
    return store.load().rows.get(table)


def drop_table(store: MemoryStore, table: str) -> None:
    """Drop a table behind the destination's back."""
    with store.transaction() as disk:
        disk.tables.pop(table, None)
        disk.rows.pop(table, None)


def staging_of(store: MemoryStore) -> Mapping[str, int]:
    """What waits to be published: rows by location."""
    return {name: sum(b.num_rows for b in batches) for name, batches in store.load().staging.items()}
