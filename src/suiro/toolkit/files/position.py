"""Positions of a read of files: which files were carried, kept small however many there are.

A file is recognised by a hash of its name, size and time of modification: one that changed is another file, and is
read again whole. The newest 100,000 are remembered one by one, so that a file that arrives late is found whatever its
time. Beyond them there is a watermark: files modified before it count as carried.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping

from suiro.model.errors import ResyncRequired
from suiro.model.schema import Json, Position
from suiro.toolkit.files.listing import FileItem

LIMIT = 100_000
_WIDTH = 8  #: bytes of a hash


class Carried:
    """The files behind a position."""

    def __init__(self, since: Position | None) -> None:
        self._watermark = 0
        self._seen: dict[bytes, None] = {}
        self._newest: tuple[int, str] = (0, "")
        if since is not None:
            self._recall(since)

    def _recall(self, since: Position) -> None:
        try:
            self._watermark = int(str(since["watermark"]))
            packed = base64.b64decode(str(since["files"]), validate=True)
            newest = since["newest"]
            assert isinstance(newest, Mapping) and not len(packed) % _WIDTH
            self._newest = (int(str(newest["modified"])), str(newest["name"]))
        except (KeyError, ValueError, AssertionError) as error:
            raise ResyncRequired(
                "the saved position isn't one of a read of files", hint="Reset the position and read anew."
            ) from error
        self._seen = {packed[i : i + _WIDTH]: None for i in range(0, len(packed), _WIDTH)}

    def holds(self, item: FileItem) -> bool:
        """Whether this content of the file was carried."""
        return item.stamp.modified < self._watermark or _hash(item) in self._seen

    def add(self, item: FileItem) -> None:
        """The file has been carried."""
        self._seen[_hash(item)] = None
        self._newest = max(self._newest, (item.stamp.modified, item.name))

    def fold(self, listed: Iterable[FileItem], pending: Iterable[FileItem]) -> None:
        """Give up the oldest beyond the limit: first those that are listed no more, then raise the watermark."""
        if len(self._seen) <= LIMIT:
            return
        there = {_hash(item): item.stamp.modified for item in listed}
        seen = [(there[mark], mark) for mark in self._seen if mark in there]
        seen.sort(reverse=True)
        limit = min((item.stamp.modified for item in pending), default=2**63)
        if len(seen) > LIMIT:
            self._watermark = max(self._watermark, min(seen[LIMIT - 1][0], limit))
        self._seen = {mark: None for at, mark in reversed(seen) if at >= self._watermark}

    def position(self) -> dict[str, Json]:
        """The position after everything that was added."""
        return {
            "newest": {"modified": self._newest[0], "name": self._newest[1]},
            "watermark": self._watermark,
            "files": base64.b64encode(b"".join(self._seen)).decode(),
        }


def _hash(item: FileItem) -> bytes:
    text = f"{item.name}\0{item.stamp.size}\0{item.stamp.modified}"
    return hashlib.sha256(text.encode(errors="surrogateescape")).digest()[:_WIDTH]
