"""Where records and their nested values lie in a body of JSON: found from its bytes, without reading every value."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Places = npt.NDArray[np.int64]

_QUOTE, _BACKSLASH, _NEWLINE = ord('"'), ord("\\"), ord("\n")
_STEP: Final = np.zeros(256, np.int8)  #: how a byte changes the depth, outside strings
_STEP[[ord("{"), ord("[")]] = 1
_STEP[[ord("}"), ord("]")]] = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The records of one body: `starts` and `ends` of their braces, both in them."""

    body: bytes
    starts: Places
    ends: Places
    rest: Any  #: the body without its records, as JSON; None where they are all of it
    _quotes: Places
    _braces: Places
    _depths: Places
    _level: int  #: the depth within a record

    def lines(self) -> bytearray:
        """The records one after the other, with nothing but a line's end or blanks between them."""
        if not len(self.starts):
            return bytearray()
        first, last = int(self.starts[0]), int(self.ends[-1])
        lines = bytearray(memoryview(self.body)[first : last + 1])
        if len(self.starts) > 1:
            array = np.frombuffer(lines, np.uint8)
            commas = self.ends[:-1] + 1 - first
            if (array[commas] == ord(",")).all():
                array[commas] = _NEWLINE
            else:
                for end, start in zip(self.ends[:-1].tolist(), self.starts[1:].tolist(), strict=True):
                    lines[end + 1 - first : start - first] = b"\n" * (start - end - 1)
            del array
        return lines

    def taken_out(self, names: frozenset[str]) -> tuple[bytes, dict[str, list[tuple[int, bytes]]]] | None:
        """The records with null in place of the objects and arrays that these members hold; and those: row and text.

        None where the name of a member can't be read.
        """
        within = self._within()
        inside, depths = self._braces[within], self._depths[within]
        steps = _STEP[np.frombuffer(self.body, np.uint8)[inside]]
        opens = inside[(depths == self._level + 1) & (steps == 1)]
        closes = inside[(depths == self._level) & (steps == -1)]
        if len(opens) != len(closes):
            return None
        rows = np.searchsorted(self.starts, opens, side="right") - 1
        before = np.searchsorted(self._quotes, opens) - 1
        if len(opens) and before.min() < 1:
            return None
        ends = self._quotes[before]
        if not _colons(self.body, ends, opens):
            return None
        return self._cut(names, opens, closes + 1, rows, self._quotes[before - 1] + 1, ends)

    def _cut(
        self, names: frozenset[str], opens: Places, stops: Places, rows: Places, keys: Places, keys_end: Places
    ) -> tuple[bytes, dict[str, list[tuple[int, bytes]]]] | None:
        lines, body = memoryview(self.lines()), self.body
        first = int(self.starts[0]) if len(self.starts) else 0
        pieces: list[bytes | memoryview] = []
        found: dict[str, list[tuple[int, bytes]]] = {}
        by_key: dict[bytes, list[tuple[int, bytes]] | None] = {}  # None: stays where it is
        done = 0
        each = (opens, stops, rows, keys, keys_end)
        for start, stop, row, key, key_end in zip(*(one.tolist() for one in each), strict=True):
            written = body[key:key_end]
            if written not in by_key:
                name = _name(written)
                if name is None:
                    return None
                by_key[written] = found.setdefault(name, []) if name in names else None
            texts = by_key[written]
            if texts is not None:
                pieces.append(lines[done : start - first])
                pieces.append(b"null")
                done = stop - first
                texts.append((row, body[start:stop]))
        pieces.append(lines[done:])
        return b"".join(pieces), found

    def _within(self) -> npt.NDArray[np.bool_]:
        """Which braces lie in records, those of the records themselves left out."""
        if not len(self.starts):
            return np.zeros(len(self._braces), np.bool_)
        at = np.searchsorted(self.starts, self._braces, side="right") - 1
        return (at >= 0) & (self._braces > self.starts[at]) & (self._braces < self.ends[at])


def layout(body: bytes, place: tuple[str, ...]) -> Layout | None:
    """The layout of a body whose records lie at `place`; None where it isn't as JSON should be, or is unusual.

    A place without names is the body itself. What is there is an array of objects, or one object.
    """
    array = np.frombuffer(body, np.uint8)
    quotes = _real_quotes(array)
    if quotes is None:
        return None
    brackets = array | 0x20  # of [ and ] what is of { and }
    braces = np.flatnonzero((brackets == ord("{")) | (brackets == ord("}")))
    if len(quotes):
        braces = braces[np.searchsorted(quotes, braces) % 2 == 0]
    depths = np.cumsum(_STEP[array[braces]], dtype=np.int64)
    if not len(braces) or depths[-1] != 0 or (depths[:-1] < 1).any():
        return None
    outer = body[: int(braces[0])].strip() or body[int(braces[-1]) + 1 :].strip()
    span = _container(body, place, quotes, braces, depths)
    if span is None or outer:
        return None
    start, end, depth = span
    rest = None if not place else _rest(body, start, end)
    if place and rest is None:
        return None
    inside = (braces > start) & (braces < end)
    if body[start : start + 1] == b"{":
        starts, ends, level = np.array([start]), np.array([end]), depth
    else:
        objects = array[braces] == ord("{")
        starts = braces[inside & objects & (depths == depth + 1)]
        ends = braces[inside & (array[braces] == ord("}")) & (depths == depth)]
        level = depth + 1
        if not _only_objects(body, start, end, starts, ends):
            return None
    return Layout(
        body=body, starts=starts, ends=ends, rest=rest, _quotes=quotes, _braces=braces, _depths=depths, _level=level
    )


def _real_quotes(array: npt.NDArray[np.uint8]) -> Places | None:
    """The places of quotes that begin and end strings; None where they don't come in pairs."""
    quotes = np.flatnonzero(array == _QUOTE)
    slashes = np.flatnonzero(array == _BACKSLASH)
    if len(slashes):
        begins = np.flatnonzero(np.diff(slashes, prepend=-2) != 1)  # of runs of backslashes
        ends = np.append(begins[1:], len(slashes)) - 1
        odd = slashes[ends][(ends - begins) % 2 == 0] + 1  # what stands behind an odd run is escaped
        at = np.searchsorted(quotes, odd)
        at = at[at < len(quotes)]
        quotes = np.delete(quotes, at[quotes[at] == odd[: len(at)]])
    return None if len(quotes) % 2 else quotes


def _container(
    body: bytes, place: tuple[str, ...], quotes: Places, braces: Places, depths: Places
) -> tuple[int, int, int] | None:
    """Where the array or object at `place` begins and ends, and the depth within it."""
    start, end, depth = int(braces[0]), int(braces[-1]), 1
    for name in place:
        inside = (braces > start) & (braces < end)
        opens = braces[inside & (depths == depth + 1) & (_STEP[np.frombuffer(body, np.uint8)[braces]] == 1)]
        named = [at for at in opens.tolist() if _key_before(body, at, quotes) == name]
        if len(named) != 1:
            return None
        start = named[0]
        closes = braces[(braces > start) & (depths == depth)]
        if not len(closes):
            return None
        end, depth = int(closes[0]), depth + 1
    return start, end, depth


def _colons(body: bytes, ends: Places, starts: Places) -> bool:
    """Whether a colon, and blanks at most, stand between the ends of names and the values behind them."""
    array = np.frombuffer(body, np.uint8)
    far = starts - ends != 2
    if not (array[ends[~far] + 1] == ord(":")).all():
        return False
    gaps = zip(ends[far].tolist(), starts[far].tolist(), strict=True)
    return all(body[end + 1 : start].strip() == b":" for end, start in gaps)


def _key_before(body: bytes, at: int, quotes: Places) -> str | None:
    """The name of the member whose value begins there."""
    before = int(np.searchsorted(quotes, at)) - 1
    if before < 1 or body[int(quotes[before]) + 1 : at].strip() != b":":
        return None
    return _name(body[int(quotes[before - 1]) + 1 : int(quotes[before])])


def _name(written: bytes) -> str | None:
    try:
        return written.decode() if b"\\" not in written else str(json.loads(b'"' + written + b'"'))
    except ValueError:
        return None


def _rest(body: bytes, start: int, end: int) -> Any:
    try:
        return json.loads(body[:start] + b"null" + body[end + 1 :])
    except ValueError:
        return None


def _only_objects(body: bytes, start: int, end: int, starts: Places, ends: Places) -> bool:
    """Whether an array holds objects, commas between them, and nothing else."""
    if len(starts) != len(ends):
        return False
    if not len(starts):
        return not body[start + 1 : end].strip()
    if body[start + 1 : int(starts[0])].strip() or body[int(ends[-1]) + 1 : end].strip():
        return False
    array, far = np.frombuffer(body, np.uint8), starts[1:] - ends[:-1] != 2
    if not (array[ends[:-1][~far] + 1] == ord(",")).all():
        return False
    gaps = zip(ends[:-1][far].tolist(), starts[1:][far].tolist(), strict=True)
    return all(body[end + 1 : start].strip() == b"," for end, start in gaps)
