"""The head of a REPLICATE statement: target, declared columns and options, up to where the SELECT begins.

    REPLICATE target [(column type, ..., PRIMARY KEY (column, ...))] [WITH Option[=value], ...] {SELECT ... | stream}

Names stand plain, in [brackets], "quotes" or `backticks`, with dots between their parts. Without a SELECT and a stream
the target names the stream too. Source: the REPLICATE command in CData Sync's documentation, whose statements are read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from suiro.engine.query.text import Text
from suiro.model.naming import join_name

_WORD: Final = re.compile(r"[^\W\d][\w$#@]*")
_NAME: Final = re.compile(r"[\w$#@]+")
_SPACE: Final = re.compile(r"(?:\s+|--[^\n]*|/\*.*?\*/)+", re.DOTALL)
_CLOSING: Final = {"[": "]", '"': '"', "`": "`"}
_AFTER_TYPES: Final = frozenset({"select", "from"})  #: begin no part of a type: a parenthesis is missing before them
_FORM: Final = "Write REPLICATE target [(column type, ...)] [WITH option, ...] SELECT ... FROM ..."


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A name, or a word, and where it stands in the text."""

    parts: tuple[str, ...]
    start: int
    end: int

    @property
    def name(self) -> str:
        """The parts as one name, dotted and quoted."""
        return join_name(self.parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnType:
    """A column that the head declares: words of the type in lower case, and its arguments."""

    column: Named
    type: Named  #: one part: "character varying", "timestamp with time zone"
    arguments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """An option after WITH; without a value it is None."""

    option: Named
    value: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A REPLICATE statement taken apart. Either `query` (the text from SELECT on) or `stream` is there."""

    text: Text
    target: Named
    columns: tuple[ColumnType, ...] = ()
    key: tuple[Named, ...] = ()
    options: tuple[Option, ...] = ()
    query: Text | None = None
    stream: Named | None = None


def is_replicate(statement: str) -> bool:
    """Whether the text begins with the word REPLICATE."""
    at = _Reader(Text(statement)).at
    return bool(re.match(r"replicate\b", statement[at:], re.IGNORECASE))


def read_head(statement: str) -> Head:
    """Take a REPLICATE statement apart; the error of a wrong one points at the place."""
    return _Reader(Text(statement)).head()


def select_of(statement: str) -> str:
    """The SELECT of a statement, which may be one itself; as written, without spaces around it."""
    if not is_replicate(statement):
        return statement.strip().rstrip(";").rstrip()
    query = read_head(statement).query
    return "" if query is None else query.text.strip().rstrip(";").rstrip()


class _Reader:
    """Reads a head from left to right."""

    def __init__(self, text: Text) -> None:
        self._whole, self._text = text, text.text
        self.at = 0
        self._skip()

    def head(self) -> Head:
        self._expect("replicate")
        target = self._name("the table to replicate into")
        columns: list[ColumnType] = []
        key: list[Named] = []
        if self._takes("("):
            self._columns(columns, key)
        options = self._options() if self._word() == "with" and not self._is_cte() else []
        query, stream = self._rest(target)
        return Head(
            text=self._whole,
            target=target,
            columns=tuple(columns),
            key=tuple(key),
            options=tuple(options),
            query=query,
            stream=stream,
        )

    # -- parts -------------------------------------------------------------------------------------------------------

    def _columns(self, columns: list[ColumnType], key: list[Named]) -> None:
        while True:
            if self._word() == "primary" and not columns and not key:
                raise self._wrong("the list begins with its key", "Name the columns and their types first.")
            if self._word() == "primary" and re.match(r"primary\s+key\b", self._text[self.at :], re.IGNORECASE):
                if key:
                    raise self._wrong("there is a PRIMARY KEY already", "Name its columns in one list.")
                self._expect("primary")
                self._expect("key")
                self._key(columns, key)
            else:
                columns.append(self._column(columns))
            if self._takes(")"):
                return
            if not self._takes(","):
                raise self._wrong(
                    "a comma or ) is missing", "Write (column type, column type, ..., PRIMARY KEY (column))."
                )

    def _column(self, before: list[ColumnType]) -> ColumnType:
        column = self._name("a column's name", dotted=False)
        if any(column.parts == other.column.parts for other in before):
            raise self._whole.wrong(column.start, column.end, f"the column {column.parts[0]} is declared twice")
        start, words, arguments = self.at, list[str](), list[str]()
        while (word := _WORD.match(self._text, self.at)) is not None and word[0].lower() not in _AFTER_TYPES:
            words.append(word[0].lower())
            self.at = word.end()
            end = self.at
            self._skip()
            if self._takes("("):
                arguments = self._arguments()
                end = self._before()
        if not words:
            raise self._wrong(
                f"the type of column {column.parts[0]} is missing", "Write for example integer or text after its name."
            )
        return ColumnType(
            column=column, type=Named(parts=(" ".join(words),), start=start, end=end), arguments=tuple(arguments)
        )

    def _arguments(self) -> list[str]:
        found = []
        while True:
            word = _NAME.match(self._text, self.at)
            if word is None:
                raise self._wrong("a number is missing", "Write for example numeric(12,2).")
            found.append(word[0].lower())
            self.at = word.end()
            self._skip()
            if self._takes(")"):
                return found
            if not self._takes(","):
                raise self._wrong("a comma or ) is missing", "Write for example numeric(12,2).")

    def _key(self, columns: list[ColumnType], key: list[Named]) -> None:
        if not self._takes("("):
            raise self._wrong("the columns of the PRIMARY KEY are missing", "Write PRIMARY KEY (column, ...).")
        while True:
            name = self._name("a column of the PRIMARY KEY", dotted=False)
            if all(name.parts != column.column.parts for column in columns):
                known = ", ".join(column.column.parts[0] for column in columns)
                raise self._whole.wrong(
                    name.start, name.end, f"the key's column {name.parts[0]} isn't declared", hint=f"Declared: {known}."
                )
            key.append(name)
            if self._takes(")"):
                return
            if not self._takes(","):
                raise self._wrong("a comma or ) is missing", "Write PRIMARY KEY (column, ...).")

    def _options(self) -> list[Option]:
        self._expect("with")
        found: list[Option] = []
        while True:
            option = self._name("an option", dotted=False)
            found.append(Option(option=option, value=self._value() if self._takes("=") else None))
            if not self._takes(","):
                return found

    def _value(self) -> str:
        if self._text[self.at : self.at + 1] == "'":
            end = self.at + 1
            while end < len(self._text) and (self._text[end] != "'" or self._text[end + 1 : end + 2] == "'"):
                end += 2 if self._text[end] == "'" else 1
            if end >= len(self._text):
                raise self._wrong("this quote is never closed", "End it with '.")
            value, self.at = self._text[self.at + 1 : end].replace("''", "'"), end + 1
            self._skip()
            return value
        return self._name("the option's value", dotted=False).parts[0]

    def _rest(self, target: Named) -> tuple[Text | None, Named | None]:
        word = self._word()
        if word in ("select", "with", "from") or self._text[self.at : self.at + 1] == "(":
            return self._whole.part(self.at), None
        if self._ended():
            return None, target
        if word in ("insert", "update", "delete", "merge", "create", "drop", "alter", "truncate", "replicate"):
            raise self._wrong(f"{word.upper()} can't be replicated", "Only a SELECT, or the name of a stream.")
        stream = self._name("SELECT, or a stream's name,")
        if not self._ended():
            raise self._wrong("this doesn't belong here", _FORM)
        return None, stream

    # -- letters -----------------------------------------------------------------------------------------------------

    def _name(self, what: str, *, dotted: bool = True) -> Named:
        start, parts = self.at, list[str]()
        while True:
            mark = self._text[self.at : self.at + 1]
            if mark in _CLOSING and mark:
                parts.append(self._quoted(_CLOSING[mark]))
            elif (word := _NAME.match(self._text, self.at)) is not None:
                parts.append(word[0])
                self.at = word.end()
            else:
                raise self._wrong(f"{what} is missing here", _FORM)
            if not dotted or self._text[self.at : self.at + 1] != ".":
                break
            self.at += 1
        named = Named(parts=tuple(parts), start=start, end=self.at)
        self._skip()
        return named

    def _quoted(self, mark: str) -> str:
        start, end = self.at, self.at + 1
        while end < len(self._text):
            if self._text[end] != mark:
                end += 1
            elif self._text[end + 1 : end + 2] == mark:
                end += 2
            else:
                name = self._text[start + 1 : end].replace(mark * 2, mark)
                if not name:
                    raise self._wrong("this name is empty", "Write a name between the quotes.")
                self.at = end + 1
                return name
        raise self._wrong("this name is never closed", f"End it with {mark}.")

    def _word(self) -> str:
        found = _WORD.match(self._text, self.at)
        return found[0].lower() if found else ""

    def _is_cte(self) -> bool:
        """Whether WITH begins a SELECT's named parts and no options."""
        rest = self._text[self.at :]
        return bool(
            re.match(r"with\s+(?:recursive\b|(?:[\w$]+|\"[^\"]*\"|\[[^\]]*\])\s*(?:\(|as\b))", rest, re.IGNORECASE)
        )

    def _expect(self, word: str) -> None:
        if self._word() != word:
            raise self._wrong(f"{word.upper()} is missing here", _FORM)
        self.at += len(word)
        self._skip()

    def _takes(self, mark: str) -> bool:
        if self._text[self.at : self.at + 1] != mark:
            return False
        self.at += 1
        self._skip()
        return True

    def _ended(self) -> bool:
        return not self._text[self.at :].strip().rstrip(";").strip()

    def _skip(self) -> None:
        space = _SPACE.match(self._text, self.at)
        self.at = space.end() if space else self.at

    def _before(self) -> int:
        """Where what was read last has ended."""
        return len(self._text[: self.at].rstrip())

    def _wrong(self, message: str, hint: str) -> Exception:
        found = _NAME.match(self._text, self.at)
        return self._whole.wrong(self.at, found.end() if found else self.at + 1, message, hint=hint)
