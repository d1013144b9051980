"""Markers, epochs and leases of tasks, kept in files beside the tables."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from suiro.model.errors import ConfigError
from suiro.model.job import TaskKey
from suiro.model.schema import Position
from suiro.spi.context import Context
from suiro.toolkit.files import storage
from suiro.toolkit.files.storage import Stamp


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A marker as kept: the position, and how many loads were published under it."""

    position: Position
    loads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Coming:
    """A file about to be renamed into its place below the folder, and what is true from then on."""

    stem: str
    file: str
    stamp: Stamp
    takes_away: tuple[str, ...]
    markers: dict[str, Kept]


class Markers:
    """What a folder remembers of each task, by the digest of its key."""

    def __init__(self, inside: Path) -> None:
        self._inside = inside

    def read(self, key: TaskKey) -> Kept | None:
        """The marker, or None."""
        said = _read(self._inside / "markers" / f"{key.digest()}.json")
        return None if said is None else Kept(position=said["position"], loads=int(said["loads"]))

    def write(self, key: TaskKey, kept: Kept) -> None:
        """Move the marker, from one moment to the next."""
        self._write(key.digest(), kept)

    def _write(self, digest: str, kept: Kept) -> None:
        said = {"position": dict(kept.position), "loads": kept.loads}
        storage.write_whole(self._inside / "markers" / f"{digest}.json", _bytes(said))

    def epoch(self, key: TaskKey) -> int:
        """The epoch of the last claim; 0 before the first."""
        said = _read(self._inside / "epochs" / f"{key.digest()}.json")
        return 0 if said is None else int(said["epoch"])

    def raise_epoch(self, key: TaskKey, run: str) -> int:
        """The next epoch, from now on the task's."""
        epoch = self.epoch(key) + 1
        storage.write_whole(self._inside / "epochs" / f"{key.digest()}.json", _bytes({"epoch": epoch, "run": run}))
        return epoch

    def announce(self, coming: Coming) -> None:
        """Say what will be true once a file is in its place: its rename then moves the markers, too."""
        said = {
            "file": coming.file,
            "modified": coming.stamp.modified,
            "size": coming.stamp.size,
            "takes_away": list(coming.takes_away),
            "markers": {digest: [dict(kept.position), kept.loads] for digest, kept in coming.markers.items()},
        }
        storage.write_whole(self._announced(coming.stem), _bytes(said))

    def announced(self, stem: str) -> Coming | None:
        """What was announced for a table and isn't settled."""
        said = _read(self._announced(stem))
        if said is None:
            return None
        return Coming(
            stem=stem,
            file=said["file"],
            stamp=Stamp(modified=said["modified"], size=said["size"]),
            takes_away=tuple(said["takes_away"]),
            markers={digest: Kept(position=p, loads=n) for digest, (p, n) in said["markers"].items()},
        )

    def settle(self, coming: Coming, *, in_place: bool) -> None:
        """Move the announced markers if the file came into its place, and forget the announcement."""
        for digest, kept in coming.markers.items() if in_place else ():
            self._write(digest, kept)
        storage.remove(self._announced(coming.stem))

    def _announced(self, stem: str) -> Path:
        return self._inside / "coming" / f"{stem}.json"

    @contextmanager
    def locked(self, names: list[str], context: Context) -> Iterator[None]:
        """Alone in this folder with these names (tables, tasks), for the short time of a publish."""
        folder = self._inside / "locks"
        storage.make_folder(folder)
        with ExitStack() as held:
            for name in sorted(set(names)):
                lock = FileLock(folder / f"{name}.lock", is_singleton=False, thread_local=False)
                with storage.told(folder, "write to"):
                    _wait(lock, context)
                held.callback(lock.release)
            yield


def _wait(lock: FileLock, context: Context) -> None:
    while True:
        context.check_cancelled()
        try:
            lock.acquire(timeout=0.5, poll_interval=0.02)
            return
        except Timeout:
            continue


def _read(path: Path) -> dict[str, Any] | None:
    with storage.told(path, "read"):
        if not path.exists():
            return None
        text = path.read_bytes()
    try:
        said: dict[str, Any] = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"{path} is damaged", hint="Restore it, or remove it to load the table anew.") from error
    return said


def _bytes(said: dict[str, Any]) -> bytes:
    return json.dumps(said, ensure_ascii=False, indent=1).encode(errors="surrogatepass")
