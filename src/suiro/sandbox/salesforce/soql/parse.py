"""The grammar of queries: words in, a tree out."""

from __future__ import annotations

from suiro.sandbox.salesforce.errors import Refusal
from suiro.sandbox.salesforce.soql.tree import (
    Aggregate,
    Compare,
    Condition,
    Everything,
    Grouped,
    Kind,
    Literal_,
    Not,
    Operator,
    Order,
    Path,
    Query,
    Several,
)
from suiro.sandbox.salesforce.soql.words import Word, refuse, unescaped, words

FUNCTIONS = {"COUNT", "COUNT_DISTINCT", "SUM", "AVG", "MIN", "MAX"}
CLAUSES = {"FROM", "WHERE", "GROUP", "ORDER", "LIMIT", "OFFSET", "HAVING", "WITH", "FOR", "ALL", "USING", "AS"}
OPERATORS: dict[str, Operator] = {
    "=": "=", "!=": "!=", "<>": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">=",
}  # fmt: skip
DEEPEST = 50


def parse(text: str) -> Query:
    """The tree of a query. Refusal MALFORMED_QUERY points at what isn't understood."""
    parser = Parser(text)
    query = parser.query(depth=0)
    parser.expect_end()
    return query


class Parser:
    """Reads words from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._words = words(text)
        self._place = 0

    def query(self, *, depth: int) -> Query:
        at = self._now.at
        self._expect("SELECT")
        select = [self._selected(depth)]
        while self._take(","):
            select.append(self._selected(depth))
        self._expect("FROM")
        source = self._name("an object")
        alias = None
        if self._now.kind == "name" and self._now.text.upper() not in CLAUSES:
            alias = self._name("an alias").text
        where = self._condition(0) if self._take("WHERE") else None
        group_by: list[Path] = []
        if self._take("GROUP"):
            self._expect("BY")
            group_by.append(self._path())
            while self._take(","):
                group_by.append(self._path())
        order_by = self._ordering()
        limit = self._count() if self._take("LIMIT") else None
        offset = self._count() if self._take("OFFSET") else None
        return Query(
            text=self._text,
            select=tuple(select),
            object=source.text,
            object_at=source.at,
            alias=alias,
            where=where,
            group_by=tuple(group_by),
            order_by=tuple(order_by),
            limit=limit,
            offset=offset,
            at=at,
        )

    def expect_end(self) -> None:
        """ALL ROWS is taken by nobody here: /queryAll is the way."""
        if self._now.kind != "end":
            raise self._unexpected()

    # --- parts ---

    def _selected(self, depth: int) -> Path | Grouped | Aggregate | Everything | Query:
        if self._now.text == "(":
            if depth:
                raise self._unexpected()
            self._next()
            child = self.query(depth=1)
            self._expect(")")
            return child
        word = self._name("a field")
        if self._now.text == "(":
            return self._function(word)
        path = path_of(word)
        if self._now.kind == "name" and self._now.text.upper() not in CLAUSES:
            return Grouped(path=path, alias=self._name("an alias").text)
        return path

    def _function(self, word: Word) -> Aggregate | Everything:
        name = word.text.upper()
        self._expect("(")
        if name == "FIELDS":
            which = self._next().text.upper()
            self._expect(")")
            if which not in ("ALL", "STANDARD", "CUSTOM"):
                raise refuse(self._text, word.at, "MALFORMED_QUERY", f"FIELDS can't have '{which}'")
            return Everything(which=which, at=word.at)
        if name not in FUNCTIONS:
            raise refuse(self._text, word.at, "MALFORMED_QUERY", f"unexpected token: '{word.text}'")
        path = None if self._now.text == ")" and name == "COUNT" else self._path()
        self._expect(")")
        alias = None
        if self._now.kind == "name" and self._now.text.upper() not in CLAUSES:
            alias = self._name("an alias").text
        return Aggregate(function=name, path=path, alias=alias, at=word.at)

    def _condition(self, depth: int) -> Condition:
        """Conditions with AND or with OR; both at one level need parentheses, as the service demands (unverified)."""
        if depth > DEEPEST:
            raise refuse(self._text, self._now.at, "MALFORMED_QUERY", "too many parentheses")
        parts = [self._term(depth)]
        joint = ""
        while (word := self._now.text.upper()) in ("AND", "OR") and self._now.kind == "name":
            if joint and word != joint:
                raise self._unexpected()
            joint = word
            self._next()
            parts.append(self._term(depth))
        return parts[0] if not joint else Several(all=joint == "AND", conditions=tuple(parts))

    def _term(self, depth: int) -> Condition:
        if self._take("NOT"):
            if depth > DEEPEST:
                raise self._unexpected()
            return Not(condition=self._term(depth + 1))
        if self._now.text == "(":
            self._next()
            inner = self._condition(depth + 1)
            self._expect(")")
            return inner
        path = self._path()
        operator = self._operator()
        if operator in ("IN", "NOT IN", "INCLUDES", "EXCLUDES"):
            self._expect("(")
            values = [self._literal(operator)]
            while self._take(","):
                values.append(self._literal(operator))
            self._expect(")")
            return Compare(path=path, operator=operator, values=tuple(values))
        return Compare(path=path, operator=operator, values=(self._literal(operator),))

    def _operator(self) -> Operator:
        word = self._now
        if word.text in OPERATORS:
            self._next()
            return OPERATORS[word.text]
        upper = word.text.upper()
        if upper in ("LIKE", "IN", "INCLUDES", "EXCLUDES"):
            self._next()
            return upper  # type: ignore[return-value]
        if upper == "NOT":
            self._next()
            self._expect("IN")
            return "NOT IN"
        raise self._unexpected()

    def _literal(self, operator: Operator) -> Literal_:
        word = self._next()
        kinds: dict[str, Kind] = {"number": "number", "date": "date", "datetime": "datetime"}
        if word.kind == "string":
            return Literal_(kind="string", text=unescaped(word.text, like=operator == "LIKE"), at=word.at)
        if word.kind in kinds:
            return Literal_(kind=kinds[word.kind], text=word.text, at=word.at)
        upper = word.text.upper()
        if word.kind == "name" and upper in ("TRUE", "FALSE"):
            return Literal_(kind="boolean", text=upper.lower(), at=word.at)
        if word.kind == "name" and upper == "NULL":
            return Literal_(kind="null", text="null", at=word.at)
        raise self._unexpected(word)

    def _ordering(self) -> list[Order]:
        if not self._take("ORDER"):
            return []
        self._expect("BY")
        found = [self._ordered()]
        while self._take(","):
            found.append(self._ordered())
        return found

    def _ordered(self) -> Order:
        """NULLs come first unless told otherwise (unverified for DESC)."""
        word = self._name("a field")
        item: Path | Aggregate
        if self._now.text == "(":
            function = self._function(word)
            if isinstance(function, Everything):
                raise self._unexpected(word)
            item = function
        else:
            item = path_of(word)
        descending = self._take("DESC") or (self._take("ASC") and False)
        nulls_last = descending
        if self._take("NULLS"):
            nulls_last = self._take("LAST")
            if not nulls_last:
                self._expect("FIRST")
        return Order(item=item, descending=descending, nulls_last=nulls_last)

    def _path(self) -> Path:
        return path_of(self._name("a field"))

    def _count(self) -> int:
        word = self._next()
        if word.kind != "number" or not word.text.isdecimal():
            raise self._unexpected(word)
        return int(word.text)

    # --- words ---

    @property
    def _now(self) -> Word:
        return self._words[self._place]

    def _next(self) -> Word:
        word = self._now
        if word.kind == "end":
            raise self._unexpected()
        self._place += 1
        return word

    def _take(self, text: str) -> bool:
        """Go past a word if it is there."""
        word = self._now
        if word.text.upper() != text or word.kind not in ("name", "symbol"):
            return False
        self._place += 1
        return True

    def _expect(self, text: str) -> None:
        if not self._take(text):
            raise self._unexpected()

    def _name(self, what: str) -> Word:
        word = self._now
        if word.kind != "name" or word.text.upper() in CLAUSES:
            raise refuse(self._text, word.at, "MALFORMED_QUERY", f"unexpected token: '{word.text}', not {what}")
        self._place += 1
        return word

    def _unexpected(self, word: Word | None = None) -> Refusal:
        found = word or self._now
        return refuse(self._text, found.at, "MALFORMED_QUERY", f"unexpected token: '{found.text}'")


def path_of(word: Word) -> Path:
    """A field's path from its dotted name."""
    return Path(names=tuple(word.text.split(".")), at=word.at)
