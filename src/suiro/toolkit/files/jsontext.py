"""JSON text and its values, numbers digit by digit."""

from __future__ import annotations

import json
from collections.abc import Collection
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any


class Number(str):
    """A number as the file writes it."""

    __slots__ = ()


DECODER = json.JSONDecoder(parse_float=Number, parse_int=Number, parse_constant=Number)


class Document(str):
    """A value as the file writes it."""

    __slots__ = ()


def documents_of(line: str, names: Collection[str]) -> dict[str, Document | None]:
    """These members of an object, as the line writes them; null is None."""
    found: dict[str, Document | None] = {}
    at = _after_space(line, line.index("{") + 1)
    while line[at] != "}":
        name, at = scanstring(line, at + 1, False)
        begin = _after_space(line, _after_space(line, at) + 1)
        value, end = DECODER.raw_decode(line, begin)
        if name in names:
            found[name] = None if value is None else Document(line[begin:end])
        at = _after_space(line, end)
        if line[at] == ",":
            at = _after_space(line, at + 1)
    return found


def _after_space(line: str, at: int) -> int:
    while line[at] in " \t\r":
        at += 1
    return at


def document(value: Any) -> str:
    """A parsed value as JSON text again, numbers digit by digit."""
    match value:
        case Number() | Document():
            return str(value)
        case str():
            return json.dumps(value, ensure_ascii=False)
        case dict():
            members = (f"{json.dumps(k, ensure_ascii=False)}: {document(v)}" for k, v in value.items())
            return "{" + ", ".join(members) + "}"
        case list():
            return "[" + ", ".join(map(document, value)) + "]"
        case _:
            return json.dumps(value)
