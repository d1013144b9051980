"""Treasure Data's types: what a column's type is called there, and what its words ask for here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import pyarrow as pa

SQL: Final[Mapping[str, str]] = {  #: the types of column_options, as tasks write types
    "long": "bigint",
    "double": "double precision",
    "string": "text",
    "timestamp": "timestamp with time zone",
    "boolean": "boolean",
    "json": "json",
}
TIMES: Final = ("long", "timestamp")  #: what a time can be taken from


def kind_of(field: pa.Field) -> str:
    """`long`, `double`, `string`, `timestamp`, `boolean` or `json`: what the column would be there."""
    type_ = field.type
    if type_ == pa.json_():
        return "json"
    if pa.types.is_integer(type_):
        return "long"
    if pa.types.is_floating(type_) or pa.types.is_decimal(type_):
        return "double"
    if pa.types.is_timestamp(type_) or pa.types.is_date(type_):
        return "timestamp"
    return "boolean" if pa.types.is_boolean(type_) else "string"
