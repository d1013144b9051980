"""A destination in one file: the memory destination with a disk that outlives its process."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import TYPE_CHECKING

from suiro.spi.connector import ConnectorConfig
from suiro.testing.memory import MemoryConfig, MemoryDestination
from suiro.testing.memory_store import Disk, MemoryStore
from suiro.toolkit.lease import FileLease

if TYPE_CHECKING:
    from suiro.model.job import TaskKey
    from suiro.spi.context import Context


class PickledConfig(ConnectorConfig):
    """The file's folder. `torn`: rows and markers are saved one after the other, as they must not be."""

    folder: Path
    torn: bool = False

    def identity(self) -> str:
        return str(self.folder)


class PickledStore(MemoryStore):
    """Loads and saves its disk, in one rename."""

    def __init__(self, config: PickledConfig) -> None:
        super().__init__()
        self.config = config
        self.path = config.folder / "disk.pickle"
        self.held: dict[str, FileLease] = {}

    def load(self) -> Disk:
        if not self.path.exists():
            return Disk()
        with self.path.open("rb") as file:
            found: Disk = pickle.load(file)
        return found

    def save(self, disk: Disk) -> None:
        if self.config.torn:
            self.write(Disk(**{**{n: getattr(disk, n) for n in Disk.__slots__}, "markers": self.load().markers}))
        self.write(disk)

    def write(self, disk: Disk) -> None:
        waiting = self.path.with_suffix(".waiting")
        with waiting.open("wb") as file:
            pickle.dump(disk, file)
            file.flush()
            os.fsync(file.fileno())
        waiting.replace(self.path)

    def lease(self, key: TaskKey, run: str, owner: object) -> None:
        digest = key.digest()
        if digest not in self.held:
            lease = FileLease(self.config.folder / f"{digest}.lock", key.table, run)
            lease.take()
            self.held[digest] = lease

    def release(self, owner: object) -> None:
        for lease in self.held.values():
            lease.release()
        self.held.clear()


class PickledDestination(MemoryDestination):
    """A memory destination over a `PickledStore` of its own."""

    def __init__(self, config: PickledConfig, context: Context) -> None:
        super().__init__(MemoryConfig(store=PickledStore(config)), context)
        self.config = config  # type: ignore[assignment]
