"""A query as it was written: what the parser makes and the compiler reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Operator = Literal["=", "!=", "<", "<=", ">", ">=", "LIKE", "IN", "NOT IN", "INCLUDES", "EXCLUDES"]
Kind = Literal["string", "number", "boolean", "date", "datetime", "null"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """A field, perhaps of a parent: `("Owner", "Name")`. `at`: where it stands in the query's text."""

    names: tuple[str, ...]
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Literal_:
    """A value that was written out, as text."""

    kind: Kind
    text: str
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggregate:
    """`COUNT(Id) n`; without a path: `COUNT()`."""

    function: str
    path: Path | None
    alias: str | None
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Everything:
    """`FIELDS(ALL)`, `FIELDS(STANDARD)`, `FIELDS(CUSTOM)`."""

    which: str
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Compare:
    """One comparison of a field with values: one, but for IN."""

    path: Path
    operator: Operator
    values: tuple[Literal_, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Not:
    """What must not hold."""

    condition: Condition


@dataclass(frozen=True, slots=True, kw_only=True)
class Several:
    """Conditions of which all or any must hold."""

    all: bool
    conditions: tuple[Condition, ...]


Condition = Compare | Not | Several


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One part of ORDER BY."""

    item: Path | Aggregate
    descending: bool
    nulls_last: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Grouped:
    """A field of a query with groups, perhaps renamed."""

    path: Path
    alias: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One query. `select` holds child queries too."""

    text: str
    select: tuple[Path | Grouped | Aggregate | Everything | Query, ...]
    object: str
    object_at: int
    alias: str | None = None
    where: Condition | None = None
    group_by: tuple[Path, ...] = ()
    order_by: tuple[Order, ...] = ()
    limit: int | None = None
    offset: int | None = None
    at: int = 0
