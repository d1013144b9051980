"""A query's text as the user wrote it and as a system reads it: names in brackets, comments, and places in both."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from suiro.model.place import QueryError, wrong_at

Edit = tuple[int, int, str]  #: from, to, and what comes there

#: How a dialect quotes names; the others do it with ". SQLite takes "nmae" for a text where there is no such column.
_QUOTES: Final = {"mysql": "`", "sqlite": "`"}
_TEXT_FOR_NAMES: Final = frozenset({"sqlite"})  #: dialects in which "..." is quoted otherwise, so that it stays a name
_BACKSLASHES: Final = frozenset({"mysql"})  #: in whose texts a backslash escapes
_HASH_COMMENTS: Final = frozenset({"mysql"})
_DOLLARS: Final = frozenset({"postgres", "duckdb"})
_LIST: Final = re.compile(r"\s*(?:(?:-?\d+(?:\.\d+)?|'[^']*')\s*(?:,\s*(?:-?\d+(?:\.\d+)?|'[^']*')\s*)*)?")
_DOLLAR: Final = re.compile(r"\$(?:[^\W\d]\w*)?\$")


class Text:
    """A text made from the user's by edits; it knows where each of its letters came from."""

    def __init__(self, original: str, text: str | None = None, offsets: list[int] | None = None) -> None:
        self.original = original
        self.text = original if text is None else text
        self._offsets = list(range(len(original) + 1)) if offsets is None else offsets

    def edited(self, edits: Iterable[Edit]) -> Text:
        """The text after these edits, which don't overlap."""
        out: list[str] = []
        offsets: list[int] = []
        at = 0
        for start, end, new in sorted(edits):
            out += [self.text[at:start], new]
            offsets += self._offsets[at:start] + [self._offsets[start]] * len(new)
            at = end
        out.append(self.text[at:])
        return Text(self.original, "".join(out), offsets + self._offsets[at:])

    def part(self, start: int, end: int | None = None) -> Text:
        """A part of it, with the same original."""
        end = len(self.text) if end is None else end
        return Text(self.original, self.text[start:end], self._offsets[start : end + 1])

    def enclosed(self, before: str, after: str) -> Text:
        """The text between two others."""
        first, last = self._offsets[0], self._offsets[-1]
        offsets = [first] * len(before) + self._offsets[:-1] + [last] * (len(after) + 1)
        return Text(self.original, before + self.text + after, offsets)

    def wrong(self, start: int, end: int, message: str, *, hint: str | None = None) -> QueryError:
        """The error that shows this place of the text in the user's own."""
        start = min(start, len(self.text))
        end = min(max(end, start), len(self.text))
        first = self._offsets[start]
        last = self._offsets[end] if end > start else first
        return wrong_at(self.original, first, max(last, first), message, hint=hint)


def normal(text: Text, dialect: str) -> Text:
    """The text with names in brackets and backticks quoted as `dialect` does it, and without comments."""
    return text.edited(_Scan(text, dialect).edits())


class _Scan:
    """Goes through a text once, past strings and quoted names."""

    def __init__(self, text: Text, dialect: str) -> None:
        self._text, self._dialect = text, dialect
        self._quote = _QUOTES.get(dialect, '"')

    def edits(self) -> list[Edit]:
        text, at, found = self._text.text, 0, list[Edit]()
        while at < len(text):
            two, one = text[at : at + 2], text[at]
            if one == '"' and self._dialect in _TEXT_FOR_NAMES:
                end = self._quoted(at, one)
                found.append((at, end, self._named(text[at + 1 : end - 1].replace('""', '"'))))
                at = end
            elif one in {"'", '"'}:
                at = self._quoted(at, one)
            elif one == "`":
                end = self._quoted(at, one)
                found.append((at, end, self._named(text[at + 1 : end - 1].replace("``", "`"))))
                at = end
            elif two == "--" or (one == "#" and self._dialect in _HASH_COMMENTS):
                end = text.find("\n", at)
                end = len(text) if end < 0 else end
                found.append((at, end, " "))
                at = end
            elif two == "/*":
                end = self._comment(at)
                found.append((at, end, " "))
                at = end
            elif one == "$" and self._dialect in _DOLLARS and (tag := _DOLLAR.match(text, at)):
                end = text.find(tag[0], tag.end())
                if end < 0:
                    raise self._text.wrong(at, tag.end(), "this quote is never closed")
                at = end + len(tag[0])
            elif one == "[" and (end := self._bracketed(at)):
                found.append((at, end, self._named(text[at + 1 : end - 1].replace("]]", "]"))))
                at = end
            else:
                at += 1
        return found

    def _named(self, name: str) -> str:
        return self._quote + name.replace(self._quote, self._quote * 2) + self._quote

    def _quoted(self, start: int, mark: str) -> int:
        """Where the string or name that begins here has ended."""
        text = self._text.text
        escapes = mark != "`" and (self._dialect in _BACKSLASHES or (mark == "'" and _is_escape(text, start)))
        at = start + 1
        while at < len(text):
            if escapes and text[at] == "\\":
                at += 2
            elif text[at] != mark:
                at += 1
            elif text[at + 1 : at + 2] == mark:
                at += 2
            else:
                return at + 1
        raise self._text.wrong(start, start + 1, "this quote is never closed", hint=f"End it with {mark}.")

    def _comment(self, start: int) -> int:
        text, at, depth = self._text.text, start + 2, 1
        while at < len(text):
            two = text[at : at + 2]
            if two == "/*" and self._dialect in _DOLLARS:
                depth += 1
                at += 2
            elif two == "*/":
                depth -= 1
                at += 2
                if not depth:
                    return at
            else:
                at += 1
        raise self._text.wrong(start, start + 2, "this comment is never closed", hint="End it with */.")

    def _bracketed(self, start: int) -> int:
        """Where a name in brackets has ended; 0 for a subscript or a list of values."""
        text = self._text.text
        before = text[start - 1 : start]
        if before and (before.isalnum() or before in "_)]\"'`"):
            return 0
        at = start + 1
        while at < len(text):
            if text[at] != "]":
                at += 1
            elif text[at + 1 : at + 2] == "]":
                at += 2
            else:
                return 0 if _LIST.fullmatch(text, start + 1, at) else at + 1
        raise self._text.wrong(start, start + 1, "this bracket is never closed", hint="End the name with ].")


def _is_escape(text: str, start: int) -> bool:
    """Whether the string is one of PostgreSQL's E'...'."""
    return text[start - 1 : start] in ("E", "e") and not (start > 1 and (text[start - 2].isalnum()))
