"""SOQL: how a query is written, and what of a user's own may stand in it.

Source: Salesforce's SOQL and SOSL Reference (reserved characters, date formats, WHERE).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from urllib.parse import quote_plus

from suiro.model.errors import ConfigError

LONGEST_URL: Final = 16_384 - 384  #: bytes of an address that Salesforce takes, less those before the query
_NAME: Final = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")
_TOKEN: Final = re.compile(r"'(?:[^'\\]|\\.)*'|[()]|[A-Za-z_]\w*|\s+|[^\s\w'()]+|\w+", re.DOTALL)
_CLAUSES: Final = frozenset(
    {"SELECT", "FROM", "WHERE", "ORDER", "LIMIT", "OFFSET", "GROUP", "HAVING", "FOR", "WITH", "USING", "UPDATE"}
)
_ESCAPES: Final = {"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_SECOND: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A SELECT of one object."""

    object: str
    fields: tuple[str, ...]
    conditions: tuple[str, ...] = ()
    order: str | None = None
    descending: bool = False
    limit: int | None = None
    deleted: bool = False  #: rows in the recycle bin and archived ones, too

    def __str__(self) -> str:
        return self._said(", ".join(name_of(name) for name in self.fields))

    @property
    def count(self) -> str:
        """The query for the number of its rows."""
        return replace(self, order=None)._said("COUNT()")

    @property
    def fits(self) -> bool:
        """Whether it can be part of an address."""
        return len(quote_plus(str(self))) <= LONGEST_URL

    def also(self, *conditions: str) -> Query:
        """The rows of it for which these hold, too."""
        return replace(self, conditions=(*self.conditions, *conditions))

    def cut(self, always: Sequence[str]) -> Iterator[Query]:
        """Queries that fit, each with some of the fields and with those of `always`. ConfigError where none can."""
        rest = [name for name in self.fields if name not in always]
        while True:
            taken = len(rest)
            while not (part := replace(self, fields=(*always, *rest[:taken]))).fits:
                taken //= 2
                if not taken:
                    raise ConfigError(
                        f"the condition for {self.object} is too long to be sent", hint="Write a shorter one."
                    )
            yield part
            rest = rest[taken:]
            if not rest:
                return

    def _said(self, what: str) -> str:
        said = f"SELECT {what} FROM {name_of(self.object)}"
        if self.conditions:
            said += f" WHERE {' AND '.join(self.conditions)}"
        if self.order is not None:
            said += f" ORDER BY {name_of(self.order)}{' DESC' if self.descending else ''}"
        return said if self.limit is None else f"{said} LIMIT {self.limit}"


def name_of(name: str) -> str:
    """The name of an object or field as it stands. ConfigError for what can't be one."""
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{name!r} is no name of an object or field", hint="Names are as Salesforce's API has them.")
    return name


def literal(value: Any) -> str:
    """A value as SOQL writes it. Moments have no finer parts than milliseconds."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | Decimal():
            return f"{value:f}" if isinstance(value, Decimal) else str(value)
        case datetime():
            text = value.astimezone(UTC).isoformat(timespec="milliseconds")
            return f"{text.removesuffix('+00:00')}Z"
        case date():
            return value.isoformat()
        case str():
            return f"'{''.join(_ESCAPES.get(letter, letter) for letter in value)}'"
    raise ConfigError(f"a {type(value).__name__} can't be compared in SOQL", hint="Choose a number, date or time.")


def least(name: str, value: Any) -> str:
    """The condition that a field is at least this; of moments the whole second counts, which is all that is kept."""
    return f"{name_of(name)} >= {literal(_floor(value))}"


def below(name: str, value: Any) -> str:
    """The condition that a field is less than this; of moments up to the end of the second."""
    return f"{name_of(name)} < {literal(_ceiling(value))}"


def _floor(value: Any) -> Any:
    return value.replace(microsecond=0) if isinstance(value, datetime) else value


def _ceiling(value: Any) -> Any:
    if not isinstance(value, datetime) or not value.microsecond:
        return value
    return value.replace(microsecond=0) + _SECOND


def checked(where: str) -> str:
    """A user's condition in parentheses of its own. ConfigError unless it is one condition that stays within them."""
    depth, at = 0, 0
    for token in _TOKEN.finditer(where):
        if token.start() != at:
            break
        at = token.end()
        depth += {"(": 1, ")": -1}.get(token[0], 0)
        clause = depth == 0 and token[0].upper() in _CLAUSES and "." not in where[max(token.start() - 1, 0) : at + 1]
        if depth < 0 or (";" in token[0] and token[0][0] != "'") or clause:
            raise _no_condition(where)
    if at != len(where) or depth or not where.strip():
        raise _no_condition(where)
    return f"({where.strip()})"


def _no_condition(where: str) -> ConfigError:
    return ConfigError(
        f"the condition {where!r} isn't one condition",
        hint="Write what would stand after WHERE in SOQL: quotes and parentheses in pairs, no other clauses.",
    )
