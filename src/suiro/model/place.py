"""Places in a text that a user wrote: lines, columns, and carets under what is wrong."""

from __future__ import annotations

import re
import unicodedata

from suiro.model.errors import ConfigError

_SHOWN = 100  #: characters of a line that are shown around a place
_POINTED = re.compile(r"LINE (\d+): (.*)\n( *)\^")


class QueryError(ConfigError):
    """A query is wrong; `at` is the place in the text that was handed over, from 0, where the system tells one."""

    def __init__(self, message: str, *, at: int | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.at = at


def wrong_at(text: str, start: int, end: int, message: str, *, hint: str | None = None) -> QueryError:
    """The error whose message names line and column of a place in `text` and shows it with carets under it."""
    start = max(0, min(start, len(text)))
    line, column = text.count("\n", 0, start) + 1, start - (text.rfind("\n", 0, start) + 1) + 1
    return QueryError(f"line {line}, column {column}: {message}\n{_shown(text, start, end)}", at=start, hint=hint)


def _shown(text: str, start: int, end: int) -> str:
    """The line of the place, or the part of a long one around it, and carets below."""
    first = text.rfind("\n", 0, start) + 1
    last = text.find("\n", start)
    last = len(text) if last < 0 else last
    end = min(max(end, start + 1), max(last, start + 1))
    left = max(first, min(start - _SHOWN // 2, last - _SHOWN))
    right = min(last, max(left + _SHOWN, end))
    before, after = "... " if left > first else "", " ..." if right < last else ""
    shown = re.sub(r"\s", " ", text[left:right])
    marks = "^" * min(max(1, _width(text[start:end])), _width(shown) + 1)
    return f"  {before}{shown}{after}\n  {' ' * (len(before) + _width(text[left:start]))}{marks}"


def _width(text: str) -> int:
    """Columns of a terminal: letters of East Asian scripts take two."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def pointed_at(text: str, said: str) -> int | None:
    """The place in `text` that a message of the form `LINE 2: excerpt`, caret below, points at; None without one."""
    found = _POINTED.search(said)
    if found is None:
        return None
    number, excerpt, spaces = int(found[1]), found[2], len(found[3])
    lines = text.split("\n")
    if number > len(lines):
        return None
    within = spaces - len(f"LINE {number}: ")
    if excerpt.startswith("..."):
        body = excerpt.removeprefix("...").removesuffix("...")
        within = max(lines[number - 1].find(body), 0) + within - 3
    return sum(len(line) + 1 for line in lines[: number - 1]) + max(0, min(within, len(lines[number - 1])))
