"""The query language: `SELECT * FROM Customer WHERE ... ORDERBY ... STARTPOSITION 1 MAXRESULTS 100` [DOC]."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from suiro.sandbox.quickbooks.answers import Refused
from suiro.sandbox.quickbooks.entities import ALL, NAMES

_TOKEN: Final = re.compile(
    r"\s*(?:'(?P<text>(?:[^'\\]|\\.)*)'|(?P<word>[A-Za-z_][\w.]*)|(?P<number>-?\d+(?:\.\d+)?)"
    r"|(?P<sign><=|>=|!=|<>|=|<|>|\(|\)|,|\*))",
    re.DOTALL,
)
_OPS: Final = frozenset({"=", "!=", "<>", "<", ">", "<=", ">=", "LIKE", "IN"})
MOST: Final = 1_000
USUAL: Final = 100  #: objects where no MAXRESULTS is given [CLIENT]
#: Members that have columns of their own.
PLAIN: Final = {
    "id": "id",
    "metadata.createtime": "created",
    "metadata.lastupdatedtime": "updated",
    "active": "active",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """`member op values`."""

    member: str
    op: str
    values: tuple[Any, ...]


@dataclass(slots=True, kw_only=True)
class Query:
    """What is asked for."""

    entity: str
    count: bool = False
    conditions: list[Condition] = field(default_factory=list)
    order: list[tuple[str, bool]] = field(default_factory=list)  #: members, and whether downwards
    start: int = 1
    most: int = USUAL

    def sql(self) -> tuple[str, list[Any]]:
        """The condition in SQL."""
        parts, given = [], []
        for one in self.conditions:
            column, values = _column(one.member), [_value(one.member, value) for value in one.values]
            if one.op == "IN":
                parts.append(f"{column} IN ({', '.join('?' * len(values))})")
            else:
                parts.append(f"{column} {one.op} ?")
            given += values
        if self.entity in NAMES and not any(one.member.lower() == "active" for one in self.conditions):
            parts.append("active = 1")  # what is inactive is left out unless it is asked for [CLIENT]
        return " AND ".join(parts) or "1", given

    def order_sql(self) -> str:
        """The order in SQL; objects that are equal in it come by id (unverified)."""
        parts = [f"{_column(member)} {'DESC' if down else 'ASC'}" for member, down in self.order]
        return ", ".join([*parts, "id"])


class Parser:
    """Reads one statement; Refused says where it can't."""

    def __init__(self, text: str) -> None:
        self._tokens: list[tuple[str, str]] = []
        at = 0
        while text[at:].strip():
            found = _TOKEN.match(text, at)
            if found is None or found.lastgroup is None:
                raise _wrong(f'Encountered " {text[at:].strip()[:20]} " at column {at + 1}')
            self._tokens.append((found.lastgroup, found[found.lastgroup]))
            at = found.end()
        self._at = 0

    def query(self) -> Query:
        """The statement. Keywords are known in any case; ORDERBY and ORDER BY are the same [CLIENT]."""
        self._need("SELECT")
        count = self._projection()
        self._need("FROM")
        kind, entity = self._next()
        if kind != "word" or entity not in ALL:
            raise _wrong(f"Error parsing query: {entity} is no entity")
        query = Query(entity=entity, count=count)
        if self._word("WHERE"):
            query.conditions.append(self._condition())
            while self._word("AND"):
                query.conditions.append(self._condition())
        while self._at < len(self._tokens):
            self._clause(query)
        return query

    def _clause(self, query: Query) -> None:
        if self._word("ORDERBY") or (self._word("ORDER") and self._word("BY")):
            query.order.append(self._ordered())
            while self._sign(","):
                query.order.append(self._ordered())
        elif self._word("STARTPOSITION"):
            query.start = self._positive()
        elif self._word("MAXRESULTS"):
            query.most = min(self._positive(), MOST)
        else:
            raise _wrong(f'Encountered " {self._next()[1]} "')

    def _projection(self) -> bool:
        """Whether it counts. Members that are named are not heeded: whole objects come [DOC: not reliably]."""
        if self._word("COUNT"):
            for sign in "(*)":
                if not self._sign(sign):
                    raise _wrong("COUNT(*) is not closed")
            return True
        while self._sign("*") or self._next()[0] == "word":
            if not self._sign(","):
                return False
        raise _wrong("nothing is selected")

    def _condition(self) -> Condition:
        _, member = self._next()
        _, op = self._next()
        if op.upper() not in _OPS:
            raise _wrong(f"{op} is no operator")
        if op.upper() != "IN":
            return Condition(member=member, op="!=" if op == "<>" else op.upper(), values=(self._literal(),))
        if not self._sign("("):
            raise _wrong("IN needs values in brackets")
        values = [self._literal()]
        while self._sign(","):
            values.append(self._literal())
        if not self._sign(")"):
            raise _wrong("IN is not closed")
        return Condition(member=member, op="IN", values=tuple(values))

    def _literal(self) -> Any:
        kind, text = self._next()
        if kind == "text":
            return re.sub(r"\\(.)", r"\1", text)
        if kind == "word" and text.lower() in ("true", "false"):
            return text.lower() == "true"
        if kind == "number":
            return float(text)
        raise _wrong(f"{text} is no value")

    def _ordered(self) -> tuple[str, bool]:
        _, member = self._next()
        down = self._word("DESC")
        if not down:
            self._word("ASC")
        return member, down

    def _positive(self) -> int:
        kind, text = self._next()
        if kind != "number" or "." in text:
            raise _wrong(f"{text} is no number")
        if int(text) < 1:
            detail = f"QueryValidationError: value {text} is too small. Min allowed value is 1"  # [REC]
            raise Refused(400, "4001", "Invalid query", detail)
        return int(text)

    def _next(self) -> tuple[str, str]:
        if self._at >= len(self._tokens):
            raise _wrong('Encountered "<EOF>"')
        self._at += 1
        return self._tokens[self._at - 1]

    def _word(self, wanted: str) -> bool:
        return self._take("word", wanted)

    def _sign(self, wanted: str) -> bool:
        return self._take("sign", wanted)

    def _take(self, kind: str, wanted: str) -> bool:
        here = self._tokens[self._at] if self._at < len(self._tokens) else ("", "")
        found = here[0] == kind and here[1].upper() == wanted
        self._at += found
        return found

    def _need(self, word: str) -> None:
        if not self._word(word):
            raise _wrong(f"{word} is missing")


def _wrong(why: str) -> Refused:
    return Refused(400, "4000", "Error parsing query", f"QueryParserError: {why}")


def _column(member: str) -> str:
    plain = PLAIN.get(member.lower())
    if plain is not None:
        return plain
    path = member.replace("'", "")
    value = f"json_extract(body, '$.{path}')"
    # A reference is compared by its id.
    return f"coalesce(json_extract(body, '$.{path}.value'), {value})" if member.endswith("Ref") else value


def _value(member: str, value: Any) -> Any:
    """A value as the column holds it."""
    name = member.lower()
    try:
        if name in ("metadata.createtime", "metadata.lastupdatedtime"):
            moment = datetime.fromisoformat(str(value))
            if moment.tzinfo is None:
                raise ValueError("without an offset")  # what zone it would be in is unverified
            return moment.timestamp()
        return int(value) if name in ("id", "active") else value
    except ValueError as error:
        raise Refused(400, "4001", "Invalid query", f"QueryValidationError: {value} is no value of {member}") from error


def parsed(text: str) -> Query:
    """The query that a statement asks."""
    return Parser(text).query()


def names(listed: str) -> Sequence[str]:
    """Names with commas between them."""
    return [name.strip() for name in listed.split(",") if name.strip()]
