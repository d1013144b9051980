"""The ways in which SQL systems differ, as data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pyarrow as pa


def as_it_is(field: pa.Field, expression: str) -> str:
    """The expression unchanged: what a dialect does that needs no exception."""
    return expression


def never(field: pa.Field) -> bool:
    """False for every field."""
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """One system's SQL.

    `type_name` gives the column type that holds a field's values exactly; DataError or SchemaConflict where there is
    none. `exactly` wraps a column so that `IS NOT DISTINCT FROM` on two of them means: the same value, bit for bit
    (-0.0 is not 0.0, 'a' is not 'A' whatever the collation, 1.0 is not 1.00 where the scale is kept).
    `as_key` wraps a column that rows are matched by. `keeps_equal` names the columns in which an UPDATE leaves the old
    value where the new one compares equal, though it isn't the same (0.0 stays 0.0 when set to -0.0).
    `joins_to_change`: UPDATE and DELETE take a JOIN, and are fast with it alone; temporary tables are joined fast
    where they have a key, and a DROP must call them TEMPORARY to stay in the transaction.
    `moment` is the literal of a moment in UTC, given as `2024-05-06 07:08:09.123456+00:00`; `instant` makes a date, a
    timestamp in UTC without zone, or one with, such a moment. `indexes_keys`: absent keys are found fast by an index
    alone. `hashed` names the function that makes a number of 0 or more of several values, for keys taken in parts.
    """

    name: str  #: as sqlglot calls it
    type_name: Callable[[pa.Field], str]
    quote_char: str = '"'
    placeholder: str = "?"
    arrival_type: str = "BIGINT"  #: of the column that numbers staged rows
    inserts_in_order: bool = True  #: rows enter a table as they arrived; not where that sort costs too much memory
    same: str = "IS NOT DISTINCT FROM"  #: equal, NULL being equal to NULL
    exactly: Callable[[pa.Field, str], str] = as_it_is
    as_key: Callable[[pa.Field, str], str] = as_it_is
    keeps_equal: Callable[[pa.Field], bool] = never
    joins_to_change: bool = False
    moment: Callable[[str], str] = lambda text: f"TIMESTAMP WITH TIME ZONE '{text}'"
    instant: Callable[[pa.Field, str], str] = as_it_is
    indexes_keys: bool = False
    hashed: str = ""

    def quote(self, name: str) -> str:
        """`name` as an identifier, whatever is in it."""
        mark = self.quote_char
        return f"{mark}{name.replace(mark, mark * 2)}{mark}"

    def qualified(self, parts: Sequence[str]) -> str:
        """A name of several parts: schema and table."""
        return ".".join(self.quote(part) for part in parts)

    def columns(self, names: Sequence[str], prefix: str = "") -> str:
        """A list of columns, each with `prefix` ("t.") before it."""
        return ", ".join(prefix + self.quote(name) for name in names)
