"""The disk of destinations in memory: what survives a run, changed in transactions."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pyarrow as pa

from suiro.model.errors import TransientError
from suiro.model.job import TaskKey
from suiro.model.schema import Position, Table


@dataclass(slots=True)
class Disk:
    """Everything that outlives a run. Values are never changed in place, only replaced."""

    tables: dict[str, Table] = field(default_factory=dict)
    rows: dict[str, pa.Table] = field(default_factory=dict)
    markers: dict[str, Position] = field(default_factory=dict)  #: by the task key's digest
    epochs: dict[str, int] = field(default_factory=dict)  #: by the task key's digest
    staging: dict[str, tuple[pa.RecordBatch, ...]] = field(default_factory=dict)  #: by "digest/epoch/number"

    def copied(self) -> Disk:
        """Another disk with the same content."""
        return Disk(**{name: dict(getattr(self, name)) for name in Disk.__slots__})


class MemoryStore:
    """A disk that several destinations share, and the leases of those that live.

    `step` is called before and after every change of the disk: where a test may let the process die.
    """

    def __init__(self) -> None:
        self.disk = Disk()
        self.leases: dict[str, tuple[str, object]] = {}  # run and owner by the task key's digest
        self.step: Callable[[], object] = lambda: None

    @contextmanager
    def transaction(self) -> Iterator[Disk]:
        """A disk to change: it becomes the disk when the block ends well, and is forgotten when it raises."""
        changed = self.load().copied()
        yield changed
        self.step()
        self.save(changed)
        self.step()

    def load(self) -> Disk:
        """The disk as it is."""
        return self.disk

    def save(self, disk: Disk) -> None:
        """Make this the disk, all at once."""
        self.disk = disk

    def lease(self, key: TaskKey, run: str, owner: object) -> None:
        """Take a task's lease for `owner`, or raise TransientError naming the run that holds it."""
        holder, there = self.leases.setdefault(key.digest(), (run, owner))
        if there is not owner:
            raise TransientError(
                f"another run is loading {key.table}: {holder}", hint="Wait until it is done, or cancel it."
            )

    def release(self, owner: object) -> None:
        """Let go of every lease of `owner`, as its end or its death does."""
        self.leases = {digest: lease for digest, lease in self.leases.items() if lease[1] is not owner}


def position_of(disk: Disk, key: TaskKey) -> Position | None:
    """The marker of a task; void when its table is missing."""
    return copy.deepcopy(disk.markers.get(key.digest())) if key.table in disk.tables else None
