"""The bytes inside files: decompressed, member by member of an archive."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import pyarrow as pa

from suiro.model.errors import ConfigError, DataError
from suiro.toolkit.files import storage
from suiro.toolkit.files.listing import FileItem
from suiro.toolkit.files.names import take_apart
from suiro.toolkit.files.settings import FileSettings

MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One document: a file, or a member of a ZIP archive. `format` is csv, jsonl, parquet or excel."""

    item: FileItem
    format: str
    compression: str  #: none, gzip, zstd or zip
    member: str = ""

    @property
    def label(self) -> str:
        """How messages and the file name column call it: `2024/orders.zip/january.csv`."""
        return f"{self.item.name}/{self.member}" if self.member else self.item.name


def parts(item: FileItem, settings: FileSettings) -> list[Part]:
    """The documents in a file, in the archive's order. ConfigError where the format can't be told."""
    named = take_apart(item.path.name)
    with storage.told(item.path, "read"), storage.opened(item.path) as file:
        start = file.read(8)
    compression = settings.compression if settings.compression != "guess" else _compression(named.compression, start)
    if compression != "zip":
        part = Part(item=item, format="", compression=compression)
        return [_with_format(part, settings, named.format)]
    found = []
    for member in _members(item):
        inner = take_apart(Path(member).name).format
        part = Part(item=item, format="", compression="zip", member=member)
        found.append(_with_format(part, settings, inner or named.format))
    return found


def _compression(named: str | None, start: bytes) -> str:
    for magic, compression in MAGIC.items():
        if start.startswith(magic):
            return compression
    return named or "none"


def _with_format(part: Part, settings: FileSettings, named: str | None) -> Part:
    format_ = settings.format if settings.format != "guess" else named or _format(part)
    return Part(item=part.item, format=format_, compression=part.compression, member=part.member)


def _format(part: Part) -> str:
    with reading(part) as stream:
        start = stream.read(65536)
    if start.startswith(b"PAR1"):
        return "parquet"
    if start.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        return "excel"
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n")
    if text.startswith(b"{"):
        return "jsonl"
    if b"\0" in start and not start.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ConfigError(f"what {part.label} holds can't be told from its name or content", hint="Set the format.")
    return "csv"


def _members(item: FileItem) -> list[str]:
    with _archive(item.path, item.name) as archive:
        infos = [info for info in archive.infolist() if not info.is_dir()]
        if any(info.flag_bits & 1 for info in infos):
            raise ConfigError(f"{item.name} is encrypted", hint="Unpack it first; Suiro doesn't decrypt archives.")
        hidden = (".", "__MACOSX/")
        return [i.filename for i in infos if not i.filename.startswith(hidden) and Path(i.filename).name[0] != "."]


@contextmanager
def _archive(path: Path, label: str) -> Iterator[zipfile.ZipFile]:
    with storage.told(path, "read"):
        try:
            archive = zipfile.ZipFile(path)
        except zipfile.BadZipFile as error:
            raise DataError(f"{label} is no ZIP archive, or a broken one") from error
    with archive:
        yield archive


@contextmanager
def reading(part: Part) -> Iterator[pa.NativeFile]:
    """The document's bytes, decompressed; DataError where the compression is broken or the file cut short."""
    with _checked(part):
        if part.compression == "zip":
            with _archive(part.item.path, part.item.name) as archive, archive.open(part.member) as member:
                yield pa.PythonFile(member, mode="r")
            return
        with pa.OSFile(str(part.item.path), "rb") as file:
            if part.compression == "none":
                yield file
            else:
                with pa.CompressedInputStream(file, part.compression) as stream:
                    yield stream


@contextmanager
def _checked(part: Part) -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, EOFError) as error:
        raise DataError(f"{part.label} is broken or cut short: {error}") from error
    except OSError as error:
        if error.errno is None and part.compression != "none":
            raise DataError(
                f"{part.label} is broken or cut short: {error}", hint="Was it copied whole? Is it compressed that way?"
            ) from error
        raise storage.translated(error, part.item.path, "read") from error


@contextmanager
def seekable(part: Part, workdir: Path) -> Iterator[BinaryIO]:
    """The document as a file to jump about in; a compressed one is unpacked into `workdir` first."""
    if part.compression == "none":
        with storage.opened(part.item.path) as file:
            yield file
        return
    workdir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=workdir) as unpacked:
        with reading(part) as stream, storage.told(workdir, "write to"):
            shutil.copyfileobj(stream, unpacked, 1 << 20)
        unpacked.seek(0)
        yield cast(BinaryIO, unpacked)
