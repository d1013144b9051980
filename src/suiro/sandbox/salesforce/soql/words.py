"""A query's text cut into words."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from suiro.sandbox.salesforce.errors import Refusal, malformed

WordKind = Literal["name", "string", "number", "date", "datetime", "symbol", "end"]
PATTERN = re.compile(
    r"""(?P<space>\s+)
    |(?P<datetime>\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d))
    |(?P<date>\d{4}-\d\d-\d\d)
    |(?P<number>[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)
    |(?P<string>'(?:[^'\\]|\\.)*')
    |(?P<name>[A-Za-z]\w*(?:\.[A-Za-z]\w*)*)
    |(?P<symbol><=|>=|!=|<>|[=<>(),])""",
    re.VERBOSE,
)
ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f", '"': '"', "'": "'", "\\": "\\"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """One word and where it begins."""

    kind: WordKind
    text: str
    at: int


def words(text: str) -> list[Word]:
    """The words of a query, with one more that marks the end."""
    found: list[Word] = []
    at = 0
    while at < len(text):
        match = PATTERN.match(text, at)
        if match is None:
            raise malformed(pointed(text, at, f"unexpected token: '{text[at]}'"))
        if match.lastgroup != "space":
            found.append(Word(kind=match.lastgroup, text=match[0], at=at))  # type: ignore[arg-type]
        at = match.end()
    found.append(Word(kind="end", text="<EOF>", at=len(text)))
    return found


def pointed(text: str, at: int, message: str) -> str:
    """A message that points at a place of the query [REC]."""
    row = text.count("\n", 0, at) + 1
    line_start = text.rfind("\n", 0, at) + 1
    line = text[line_start : text.find("\n", at) if "\n" in text[at:] else len(text)]
    column = at - line_start
    shown = line[max(0, column - 40) : column + 40]
    mark = " " * min(column, 40) + "^"
    return f"\n{shown}\n{mark}\nERROR at Row:{row}:Column:{column + 1}\n{message}"


def refuse(text: str, at: int, code: str, message: str) -> Refusal:
    """A refusal that points at a place of the query."""
    return Refusal(400, code, pointed(text, at, message))


def unescaped(literal: str, *, like: bool = False) -> str:
    """What a string literal stands for. With `like`, `\\%` and `\\_` stay escaped for the comparison to come."""
    out: list[str] = []
    letters = iter(literal[1:-1])
    for letter in letters:
        if letter != "\\":
            out.append(letter)
            continue
        escaped = next(letters)
        if escaped in "%_":
            out.append(f"\\{escaped}" if like else escaped)
        elif escaped in ESCAPES:
            out.append("\\\\" if like and escaped == "\\" else ESCAPES[escaped])
        else:
            raise malformed(f"illegal escape in a string: \\{escaped}")
    return "".join(out)
