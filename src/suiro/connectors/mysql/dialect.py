"""MySQL's and MariaDB's SQL, as the toolkit needs it."""

from __future__ import annotations

import pyarrow as pa

from suiro.connectors.mysql.ddl import MARIADB, column_types
from suiro.model.types import is_text
from suiro.toolkit.sql.dialect import Dialect


def type_name(field: pa.Field) -> str:
    """The column type that holds a field's values exactly, on a MariaDB server."""
    return column_types([field], (), MARIADB)[field.name]


def exactly(field: pa.Field, expression: str) -> str:
    """The value in a form that is equal only to itself, whatever the column's collation."""
    return f"BINARY CONVERT({expression} USING utf8mb4)" if is_text(field.type) else expression


def moment(text: str) -> str:
    """A moment in UTC, as a DATETIME(6) holds it."""
    return f"TIMESTAMP'{text.removesuffix('+00:00')}'"


def instant(field: pa.Field, expression: str) -> str:
    """A date or a time as such a moment; sessions run in UTC, so that TIMESTAMP reads as UTC too."""
    return f"CAST({expression} AS DATETIME(6))"


DIALECT = Dialect(
    name="mysql",
    type_name=type_name,
    quote_char="`",
    placeholder="%s",
    inserts_in_order=False,
    same="<=>",
    exactly=exactly,
    joins_to_change=True,
    moment=moment,
    instant=instant,
)
