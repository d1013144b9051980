"""Which files a location stands for, and which streams they make.

A location is a file, a folder or a pattern with `*`, `?`, `[...]` or `**`:

* a file is one stream, named by the file's name without the extensions of format and compression;
* a folder is one stream for each file in it, named likewise, and one for each folder in it that holds files;
* a pattern is one stream of all files that match, named by the last part of the pattern up to its first wildcard
  (`orders-*.csv.gz` is `orders`), or by the folder where nothing is left (`2024/*.csv` is `2024`).

`table_per` makes it otherwise: "file" gives each file a stream, "pattern" takes all files of a folder for one.
Hidden files and those of a format that Suiro doesn't know are passed over, unless the format is set.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from suiro.model.errors import ConfigError
from suiro.model.naming import join_name
from suiro.toolkit.files import storage
from suiro.toolkit.files.names import FORMATS, pattern_stem, stream_stem, take_apart
from suiro.toolkit.files.storage import Stamp

TablePer = Literal["guess", "pattern", "file"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileItem:
    """One file as a listing found it. `name` is its path below the location's folder."""

    path: Path
    name: str
    stamp: Stamp


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """Where files are, absolute; `pattern` is empty for a file or folder."""

    folder: Path
    pattern: str = ""
    file: str = ""

    def __str__(self) -> str:
        return os.path.join(self.folder, self.pattern or self.file)


def locate(text: str) -> Location:
    """The location a user wrote: `/dir/`, `/dir/orders.csv`, `/dir/**/*.parquet`, `~/dir`, `dir`."""
    path = Path(os.path.abspath(os.path.expanduser(text)))
    if path.is_dir():
        return Location(folder=path)
    if path.exists() or not glob.has_magic(str(path)):
        return Location(folder=path.parent, file=path.name)
    parts = path.parts
    first = next(i for i, part in enumerate(parts) if glob.has_magic(part))
    return Location(folder=Path(*parts[:first]), pattern=os.path.join(*parts[first:]))


def streams(
    location: Location, *, table_per: TablePer = "guess", any_name: bool = False, named: re.Pattern[str] | None = None
) -> dict[str, list[FileItem]]:
    """The files of each stream, oldest first (then by name). ConfigError when the folder is missing.

    `any_name`: take files whose names don't tell a known format, too. `named`: the stream is told by the group
    `stream` of a file's name, and files with other names are passed over.
    """
    if not location.folder.is_dir():
        raise ConfigError(f"there is no folder {location.folder}", hint="Check the location.")
    if named is not None:
        found = _by_name(location, named)
    elif location.file:
        path = location.folder / location.file
        found = {stream_stem(location.file): [path]} if path.exists() else {}
    elif location.pattern:
        found = _matched(location, table_per, any_name)
    else:
        found = _in_folder(location.folder, table_per, any_name)
    return {join_name([name]): _items(location.folder, paths) for name, paths in sorted(found.items())}


def _matched(location: Location, table_per: TablePer, any_name: bool) -> dict[str, list[Path]]:
    matches = glob.glob(location.pattern, root_dir=location.folder, recursive=True)
    named = bool(take_apart(location.pattern).format)
    paths = [location.folder / match for match in sorted(set(matches))]
    paths = [path for path in paths if path.is_file() and (any_name or named or _is_known(path))]
    if table_per == "file":
        return _each(paths)
    stem = pattern_stem(Path(location.pattern).name)
    parent = (location.folder / location.pattern).parent
    while not stem:
        stem = pattern_stem(parent.name) if glob.has_magic(parent.name) else parent.name
        stem = stem or ("files" if parent == parent.parent else "")
        parent = parent.parent
    return {stem: paths} if paths else {}


def _by_name(location: Location, named: re.Pattern[str]) -> dict[str, list[Path]]:
    if location.pattern:
        paths = sorted({*glob.glob(location.pattern, root_dir=location.folder, recursive=True)})
        files = [location.folder / path for path in paths]
    else:
        files = [location.folder / location.file] if location.file else storage.entries(location.folder)[0]
    found: dict[str, list[Path]] = {}
    for path in files:
        match = named.fullmatch(path.name)
        if match is not None and path.is_file():
            found.setdefault(match["stream"], []).append(path)
    return found


def _in_folder(folder: Path, table_per: TablePer, any_name: bool) -> dict[str, list[Path]]:
    files, folders = storage.entries(folder)
    files = [path for path in files if any_name or _is_known(path)]
    if table_per == "pattern":
        return {folder.name or "files": files} if files else {}
    found = _each(files)
    for inner in folders:
        parts = [path for path in storage.entries(inner)[0] if any_name or _is_known(path)]
        if parts:
            name = stream_stem(inner.name)
            found[name if name not in found else f"{inner.name}/"] = parts
    return found


def _each(paths: list[Path]) -> dict[str, list[Path]]:
    """A stream for each file; files that would share a name keep their whole file names."""
    by_stem: dict[str, list[Path]] = {}
    for path in paths:
        by_stem.setdefault(stream_stem(path.name), []).append(path)
    found: dict[str, list[Path]] = {}
    for stem, same in by_stem.items():
        for path in same:
            found.setdefault(stem if len(same) == 1 else path.name, []).append(path)
    return found


def _is_known(path: Path) -> bool:
    named = take_apart(path.name)
    return named.format in set(FORMATS.values()) or named.compression is not None


def _items(folder: Path, paths: list[Path]) -> list[FileItem]:
    return sorted(_stamped(folder, paths), key=lambda item: (item.stamp.modified, item.name))


def _stamped(folder: Path, paths: list[Path]) -> Iterator[FileItem]:
    for path in paths:
        yield FileItem(path=path, name=os.path.relpath(path, folder), stamp=storage.stamp(path))
