"""The seam to where files are kept: today the folders of this machine, tomorrow also object stores.

Everything that lists, reads, writes, renames or removes a file of a user's goes through here, and so does the
translation of what the operating system says about it.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from suiro.model.errors import AuthError, ConfigError, SuiroError, TransientError


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """What tells one content of a file from the next: when it was modified (nanoseconds), and its bytes."""

    modified: int
    size: int


def stamp(path: Path) -> Stamp:
    """The file's stamp; TransientError when it is gone."""
    with told(path, "read"):
        found = os.stat(path)
    return Stamp(modified=found.st_mtime_ns, size=found.st_size)


def entries(folder: Path) -> tuple[list[Path], list[Path]]:
    """The files and the folders in a folder, by name; links are followed, hidden ones left out."""
    files, folders = [], []
    with told(folder, "list"), os.scandir(folder) as found:
        for entry in sorted(found, key=lambda e: e.name):
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                folders.append(Path(entry.path))
            elif entry.is_file():
                files.append(Path(entry.path))
    return files, folders


def opened(path: Path) -> BinaryIO:
    """The file's bytes, to read and to seek in."""
    with told(path, "read"):
        return open(path, "rb")  # the caller closes it


@contextmanager
def told(path: Path | str, verb: str) -> Iterator[None]:
    """Errors of the operating system in here become one sentence: what was tried, on what, what was seen."""
    try:
        yield
    except OSError as error:
        raise translated(error, path, verb) from error


def translated(error: OSError, path: Path | str, verb: str) -> SuiroError:
    """The error of ours for one of the operating system's."""
    if error.errno == errno.ENOSPC or "No space left" in str(error) or error.errno == errno.EDQUOT:
        return ConfigError(
            f"the disk that holds {path} is full; nothing was loaded",
            hint="Free space there, or move the destination, and run again.",
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        said = "the file system is read-only" if error.errno == errno.EROFS else "permission denied"
        return AuthError(f"can't {verb} {path}: {said}", hint=f"Let this user {verb} it.")
    if error.errno == errno.ENOENT:
        return TransientError(
            f"can't {verb} {path}: it is gone",
            hint="It was removed or renamed meanwhile; run again to read what is there.",
        )
    if error.errno == errno.ENAMETOOLONG:
        return ConfigError(f"can't {verb} {path}: the name is too long", hint="Choose a shorter name.")
    return TransientError(f"can't {verb} {path}: {error.strerror or error}")


def make_folder(folder: Path) -> None:
    """The folder and those above it, made where missing."""
    with told(folder, "write to"):
        os.makedirs(folder, exist_ok=True)


def write_whole(path: Path, data: bytes) -> None:
    """A small file with exactly this content, from one moment to the next, held by the disk."""
    make_folder(path.parent)
    beside = path.with_name(f"{path.name}.new")
    with told(path, "write to"):
        try:
            with open(beside, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            beside.unlink(missing_ok=True)
            raise
    replace(beside, path)


def replace(path: Path, target: Path) -> None:
    """Rename over `target`, from one moment to the next, and have the disk hold it."""
    with told(target, "write to"):
        os.replace(path, target)
    sync_folder(target.parent)


def sync(path: Path) -> None:
    """Have the disk hold the file's content."""
    with told(path, "write to"):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def sync_folder(folder: Path) -> None:
    """Have the disk hold the names in a folder."""
    sync(folder)


def remove(path: Path) -> None:
    """Remove a file; harmless when it is gone."""
    with told(path, "remove"):
        path.unlink(missing_ok=True)


def remove_folder(folder: Path) -> None:
    """Remove a folder with all that is in it; harmless when it is gone."""
    with told(folder, "remove"):
        if folder.exists():
            shutil.rmtree(folder)


def remove_if_empty(folder: Path) -> None:
    """Remove a folder that holds nothing; others stay."""
    try:
        os.rmdir(folder)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT):
            raise translated(error, folder, "remove") from error


def prove_writable(folder: Path) -> None:
    """Raise unless files can be made in the folder (which is made for it where missing); leaves nothing behind."""
    missing: list[Path] = []
    at = folder
    while not at.exists():
        missing.append(at)
        at = at.parent
    if not at.is_dir():
        raise ConfigError(f"{at} is a file, not a folder", hint="Name a folder for the tables.")
    undo: list[Callable[[], None]] = []
    try:
        with told(folder, "write to"):
            for made in reversed(missing):
                os.mkdir(made)
                undo.append(lambda made=made: os.rmdir(made))  # type: ignore[misc]
            probe = folder / f".suiro-check-{os.getpid()}"
            with open(probe, "xb"):
                undo.append(lambda: os.unlink(probe))
    finally:
        for step in reversed(undo):
            step()
