"""Names of streams, tables and columns: dotted names with quotes, shortening, and collisions."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from suiro.model.errors import ConfigError


def join_name(parts: Sequence[str]) -> str:
    """A dotted name; parts that hold a dot or a quote, or are empty, are quoted: `public."my.table"`."""
    return ".".join(f'"{p.replace(chr(34), chr(34) * 2)}"' if not p or "." in p or '"' in p else p for p in parts)


def split_name(name: str) -> tuple[str, ...]:
    """The parts of a dotted name; the inverse of `join_name`."""
    parts: list[str] = []
    at = 0
    while True:
        part, at = _quoted(name, at) if name[at : at + 1] == '"' else _plain(name, at)
        parts.append(part)
        if at == len(name):
            return tuple(parts)
        at += 1


def _plain(name: str, at: int) -> tuple[str, int]:
    end = name.find(".", at)
    end = len(name) if end < 0 else end
    if end == at:
        raise ConfigError(
            f"the name {name!r} has an empty part", hint='Write names as table, schema.table or schema."a.b".'
        )
    return name[at:end], end


def _quoted(name: str, at: int) -> tuple[str, int]:
    out: list[str] = []
    at += 1
    while at < len(name):
        if name[at] != '"':
            out.append(name[at])
            at += 1
        elif name[at + 1 : at + 2] == '"':
            out.append('"')
            at += 2
        elif at + 1 == len(name) or name[at + 1] == ".":
            return "".join(out), at + 1
        else:
            break
    raise ConfigError(f"the quotes in the name {name!r} don't match", hint='Double a quote inside quotes: "a""b".')


def shorten(name: str, limit: int) -> str:
    """`name` in at most `limit` bytes of UTF-8; a shortened one ends in a hash of the whole, so it is stable."""
    if len(name.encode()) <= limit:
        return name
    suffix = "_" + hashlib.sha256(name.encode()).hexdigest()[:8]
    head = name.encode()[: limit - len(suffix)].decode("utf-8", errors="ignore")
    return head + suffix


def fit_names(names: Iterable[str], *, limit: int, fold_case: bool) -> dict[str, str]:
    """For each name the one to use in a system whose identifiers have at most `limit` bytes.

    `fold_case`: the system takes `Id` and `ID` for one name. Of names that would collide, the first keeps its
    form and the others end in a hash of their own full name: the result depends on names and order alone.
    """
    fitted: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        short = shorten(name, limit)
        if (short.lower() if fold_case else short) in taken:
            suffix = "_" + hashlib.sha256(name.encode()).hexdigest()[:8]
            short = name.encode()[: limit - len(suffix)].decode("utf-8", errors="ignore") + suffix
        taken.add(short.lower() if fold_case else short)
        fitted[name] = short
    return fitted
