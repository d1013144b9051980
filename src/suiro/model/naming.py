"""Names of streams, tables and columns: dotted names with quotes, policies, shortening, and collisions."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Final

from suiro.model.errors import ConfigError

PROPOSED_BYTES: Final = 63  #: of UTF-8, at most, in a proposed name: every system takes that many


class NamePolicy(StrEnum):
    """How names of a source become names of a destination."""

    AS_IS = "as_is"
    SNAKE = "snake"  #: words in small letters with _ between them; letters of any script
    ASCII = "ascii"  #: the same in ASCII, Japanese by its readings


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


def snake_case(name: str) -> str:
    """The words of a name in small letters with `_` between them: `LeadScore__c` gives `lead_score_c`.

    Signs and spaces divide words, as capitals after small letters do; letters keep their script, wide ones become
    plain. A digit in front gets a `_` before it. Empty where there are neither letters nor digits.
    """
    text = unicodedata.normalize("NFKC", name)
    text = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", text)
    text = re.sub(r"[\W_]+", "_", text).strip("_").lower()
    return f"_{text}" if text[:1].isdigit() else text


def proposals(wanted: Mapping[str, str], taken: Mapping[str, str]) -> dict[str, str]:
    """A name for each source name that has none in `taken`, from the `wanted` one: short, and like no other.

    Names that differ by case alone are one. Of those that would collide the first keeps its form and others end in a
    hash of the source name, as those do that are too long or empty: what comes later changes nothing before.
    """
    used = {name.lower() for name in taken.values()}
    found: dict[str, str] = {}
    for source, name in wanted.items():
        if source in taken:
            continue
        short = shorten(name, PROPOSED_BYTES)
        if not short or short.lower() in used:
            suffix = "_" + hashlib.sha256(source.encode()).hexdigest()[:8]
            short = name.encode()[: PROPOSED_BYTES - len(suffix)].decode("utf-8", errors="ignore") + suffix
        used.add(short.lower())
        found[source] = short
    return found
