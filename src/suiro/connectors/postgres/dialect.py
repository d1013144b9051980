"""PostgreSQL's SQL, as the toolkit needs it."""

from __future__ import annotations

import pyarrow as pa

from suiro.connectors.postgres.types import sql_type
from suiro.model.types import is_json, is_text, logical_base
from suiro.toolkit.sql.dialect import Dialect

_ORDERED = frozenset({None, "varchar", "char", "bpchar", "date", "timestamp", "timestamptz", "time", "jsonb"})


def exactly(field: pa.Field, expression: str) -> str:
    """The value in a form that is equal only to itself: floats by their bits, types without equality by their text."""
    if pa.types.is_floating(field.type):
        return f"{'float8send' if field.type.bit_width == 64 else 'float4send'}({expression})"
    if logical_base(field) not in _ORDERED or (is_json(field.type) and logical_base(field) is None):
        return f"{expression}::text"
    if is_text(field.type) and not isinstance(field.type, pa.BaseExtensionType):
        return f'{expression} COLLATE "C"'
    return expression


def _instant(field: pa.Field, expression: str) -> str:
    return expression if getattr(field.type, "tz", None) else f"({expression}::timestamp AT TIME ZONE 'UTC')"


DIALECT = Dialect(name="postgres", type_name=sql_type, placeholder="%s", exactly=exactly, instant=_instant)
