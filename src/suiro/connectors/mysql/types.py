"""MySQL's and MariaDB's types: how each travels in Arrow, and what is asked of the server for it.

Source: "Data Types" and the INFORMATION_SCHEMA COLUMNS table in MySQL's and MariaDB's documentation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from suiro.connectors.mysql.config import MysqlConfig
from suiro.model.types import logical_field

_INTEGERS: Final = {"tinyint": 8, "smallint": 16, "mediumint": 32, "int": 32, "bigint": 64}
_SIGNED: Final = {8: pa.int8(), 16: pa.int16(), 32: pa.int32(), 64: pa.int64()}
_UNSIGNED: Final = {8: pa.uint8(), 16: pa.uint16(), 32: pa.uint32(), 64: pa.uint64()}
_TEXTS: Final = frozenset({"tinytext", "text", "mediumtext", "longtext"})
_BYTES: Final = frozenset({"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"})
_SHAPES: Final = ("point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon")
GEOMETRIES: Final = frozenset({"geometry", *_SHAPES, "geometrycollection", "geomcollection"})
UTC: Final = "UTC"  #: comment of DATETIME columns that hold moments in UTC; Suiro's own have it
_SCALED: Final = 18  #: digits of a decimal that fits a BIGINT


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a table or view as information_schema has it."""

    name: str
    base: str  #: DATA_TYPE: "decimal"
    type: str  #: COLUMN_TYPE: "decimal(12,2) unsigned"
    characters: int | None  #: most characters or bytes
    precision: int | None  #: of numbers: digits; of BIT: bits
    scale: int | None
    fraction: int | None  #: digits of seconds
    not_null: bool
    generated: bool
    readable: bool
    comment: str
    is_json: bool  #: JSON, or MariaDB's LONGTEXT that a check keeps valid

    @property
    def is_unsigned(self) -> bool:
        """Whether the type is declared so; its DEFAULTs and ZEROFILL aside."""
        return " unsigned" in self.type

    def field(self, config: MysqlConfig) -> pa.Field | None:
        """How values travel; None for a type that Suiro doesn't know."""
        found = self._travels(config)
        return None if found is None else logical_field(self.name, *found)

    def _travels(self, config: MysqlConfig) -> tuple[pa.DataType, str | None] | None:
        base = self.base
        if self.is_json:
            return pa.json_(pa.string()), "json"
        if base == "tinyint" and self.type.startswith("tinyint(1)") and config.tinyint1 == "boolean":
            return pa.bool_(), None
        if base in _INTEGERS:
            return (_UNSIGNED if self.is_unsigned else _SIGNED)[_INTEGERS[base]], None
        if base == "decimal":
            return self._decimal(), None
        if base in ("char", "varchar"):
            # CHAR comes without the spaces at its end, which a CHAR elsewhere would add again.
            return pa.string(), f"varchar({self.characters})" if self.characters else None
        if base in ("date", "datetime", "timestamp"):
            return self._moment(config)
        if base == "time":
            return self._clock(config)
        if base in GEOMETRIES:
            return pa.binary(), "geometry" if base == "geometry" else f"geometry({base})"
        if base == "bit":
            return (pa.bool_(), None) if self.precision == 1 else (pa.string(), f"bit({self.precision})")
        if base in ("enum", "set"):
            return pa.string(), f"mysql {self.type}"
        return _PLAIN.get(base)

    def _decimal(self) -> pa.DataType:
        precision, scale = self.precision or 10, self.scale or 0
        return pa.decimal128(precision, scale) if precision <= 38 else pa.decimal256(precision, scale)

    def _moment(self, config: MysqlConfig) -> tuple[pa.DataType, str | None]:
        if config.zero_dates == "text":
            return pa.string(), f"mysql {self.base}" + (f"({self.fraction})" if self.fraction is not None else "")
        if self.base == "date":
            return pa.date32(), None
        in_utc = self.base == "timestamp" or self.comment == UTC
        return pa.timestamp("us", "UTC" if in_utc else None), None

    def _clock(self, config: MysqlConfig) -> tuple[pa.DataType, str | None]:
        match config.time:
            case "interval":
                return pa.string(), "interval"
            case "clock":
                return pa.time64("us"), None
            case "text":
                return pa.string(), f"mysql time({self.fraction or 0})"

    def select(self, reference: str, field: pa.Field) -> str:
        """The expression that reads the column so that `decode` gives `field`."""
        if pa.types.is_decimal(field.type) and field.type.precision <= _SCALED:
            return f"CAST({reference} * {10**field.type.scale} AS SIGNED)"
        if self.base == "time" and field.type == pa.string():
            return self._time_text(reference, field)
        if self.base in ("date", "datetime", "timestamp") and field.type == pa.string():
            return f"CAST({reference} AS CHAR)"
        asked = _ASKED.get(self.base)
        return asked(self, reference) if asked is not None else reference

    def _time_text(self, reference: str, field: pa.Field) -> str:
        """PostgreSQL writes intervals as MySQL writes times, but without zeros at the end of fractions."""
        text = f"CAST({reference} AS CHAR)"
        if self.fraction and (field.metadata or {}).get(b"suiro.type") == b"interval":
            return f"TRIM(TRAILING '.' FROM TRIM(TRAILING '0' FROM {text}))"
        return text


def _bits(column: Column, reference: str) -> str:
    if column.precision == 1:
        return f"CAST({reference} AS UNSIGNED)"
    return f"LPAD(BIN({reference}), {column.precision}, '0')"


_ASKED: Final[dict[str, Callable[[Column, str], str]]] = {
    "bit": _bits,
    "uuid": lambda column, reference: f"CAST({reference} AS BINARY(16))",
    "inet4": lambda column, reference: f"CAST({reference} AS CHAR)",
    "inet6": lambda column, reference: f"CAST({reference} AS CHAR)",
}

_PLAIN: Final[dict[str, tuple[pa.DataType, str | None]]] = {
    "float": (pa.float32(), None),
    "double": (pa.float64(), None),
    "year": (pa.uint16(), "mysql year"),
    "uuid": (pa.uuid(), None),
    "inet4": (pa.string(), "inet"),
    "inet6": (pa.string(), "inet"),
    **dict.fromkeys(_TEXTS, (pa.string(), None)),
    **dict.fromkeys(_BYTES, (pa.binary(), None)),
}
