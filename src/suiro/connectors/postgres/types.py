"""PostgreSQL's types: how each travels in Arrow, and which one holds an Arrow field.

Source: "Data Types" and the catalogs pg_type and pg_attribute in PostgreSQL's documentation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from suiro.connectors.postgres.session import Session
from suiro.model.errors import SchemaConflict
from suiro.model.types import logical_base, logical_field, logical_type

_DIRECT: Final[dict[str, tuple[pa.DataType, str | None]]] = {
    "bool": (pa.bool_(), None),
    "int2": (pa.int16(), None),
    "int4": (pa.int32(), None),
    "int8": (pa.int64(), None),
    "float4": (pa.float32(), None),
    "float8": (pa.float64(), None),
    "text": (pa.string(), None),
    "bytea": (pa.binary(), None),
    "date": (pa.date32(), "date"),
    "uuid": (pa.uuid(), None),
    "json": (pa.json_(pa.string()), "json"),
    "jsonb": (pa.json_(pa.string()), "jsonb"),
}
_TEMPORAL: Final = {
    "time": pa.time64("us"),
    "timestamp": pa.timestamp("us"),
    "timestamptz": pa.timestamp("us", "UTC"),
}
_AS_TEXT: Final = frozenset(
    [
        "numeric",
        "interval",
        "timetz",
        "inet",
        "cidr",
        "macaddr",
        "macaddr8",
        "bit",
        "varbit",
        "xml",
        "money",
        "point",
        "line",
        "lseg",
        "box",
        "path",
        "polygon",
        "circle",
        "int4range",
        "int8range",
        "numrange",
        "daterange",
        "tsrange",
        "tstzrange",
        "int4multirange",
        "int8multirange",
        "nummultirange",
        "datemultirange",
        "tsmultirange",
        "tstzmultirange",
        "tsvector",
        "tsquery",
        "jsonpath",
        "pg_lsn",
        "pg_snapshot",
    ]
)
RESTORES: Final = _AS_TEXT | _TEMPORAL.keys() | {"date", "json", "jsonb", "varchar", "char", "bpchar", "enum", "[]"}
_BINARY_IS_TEXT: Final = frozenset({"varchar", "char", "bpchar", "enum", "xml", "json"})
_INTEGERS: Final = {
    pa.int8(): "smallint",
    pa.uint8(): "smallint",
    pa.int16(): "smallint",
    pa.uint16(): "integer",
    pa.int32(): "integer",
    pa.uint32(): "bigint",
    pa.int64(): "bigint",
    pa.uint64(): "numeric(20,0)",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a table as the catalog has it."""

    name: str
    type: str  #: as format_type says: "numeric(12,2)", "character varying(20)", "mood"
    base: str  #: pg_type.typname of the type, of a domain its base type
    kind: str  #: pg_type.typtype of it: b, e (enum), r (range), m (multirange), c (composite)
    modifier: int  #: atttypmod
    builtin: bool  #: made by initdb: the same type everywhere
    not_null: bool
    generated: bool
    identity_always: bool
    readable: bool
    inner: str  #: as `type`, without a domain around it

    def field(self, *, numeric_as_text: bool = False) -> pa.Field:
        """How values travel."""
        type_, logical = self._travels(numeric_as_text)
        return logical_field(self.name, type_, logical)

    def _travels(self, numeric_as_text: bool) -> tuple[pa.DataType, str | None]:
        base, arguments = self.base, self._arguments()
        if base in _DIRECT:
            return _DIRECT[base]
        if base in _TEMPORAL:
            return _TEMPORAL[base], base + arguments
        if base == "numeric":
            decimal = None if numeric_as_text else _decimal(self.modifier)
            return (decimal, None) if decimal is not None else (pa.string(), "numeric" + arguments)
        if base == "oid":
            return pa.int64(), None
        if base in ("varchar", "bpchar"):
            without = None if base == "varchar" else "bpchar"
            return pa.string(), _CHARACTERS[base] + arguments if arguments else without
        if self.kind == "e":
            return pa.string(), f"enum({self.inner})"
        if base in ("name", "char"):
            return pa.string(), None
        spelled = base in _AS_TEXT and not (base == "interval" and " " in self.inner)
        return pa.string(), base + arguments if spelled else self.inner

    def _arguments(self) -> str:
        at = self.inner.find("(")
        return self.inner[at : self.inner.index(")", at) + 1] if at >= 0 and not self.inner.endswith("[]") else ""

    def select(self, reference: str, field: pa.Field) -> str:
        """The expression that reads the column so that `bulk_read` gives `field`."""
        if self.base == "oid":
            return f"{reference}::int8"
        if self.base == "inet":
            return f"inet_out({reference})::text"  # the cast alone would add /32
        if pa.types.is_string(field.type) and self.base not in ("text", "varchar", "bpchar"):
            return f"{reference}::text"
        return reference


_CHARACTERS = {"varchar": "varchar", "bpchar": "char"}


def _decimal(modifier: int) -> pa.DataType | None:
    """The Arrow decimal for a numeric's type modifier, or None where there is none."""
    if modifier < 4:
        return None
    precision, scale = ((modifier - 4) >> 16) & 0xFFFF, (modifier - 4) & 0x7FF
    scale = scale - 0x800 if scale >= 0x400 else scale
    if not 0 <= scale <= precision or precision > 76:
        return None
    return pa.decimal128(precision, scale) if precision <= 38 else pa.decimal256(precision, scale)


def sql_type(field: pa.Field) -> str:
    """The type that a column for this field gets, spelled as format_type does.

    SchemaConflict where PostgreSQL has none that is exact.
    """
    logical = logical_type(field)
    if logical is None:
        return _plain_type(field.name, field.type)
    base = logical.split("(", 1)[0]
    arguments = logical[len(base) :]
    if base not in RESTORES and not logical.endswith("[]"):
        return _plain_type(field.name, field.type)
    if base == "enum":
        return arguments[1:-1]
    if base in _ZONED and not logical.endswith("[]"):
        word, zone = _ZONED[base]
        return f"{word}{arguments} {zone}"
    return _SPELLED.get(base, base) + arguments


_SPELLED = {"varchar": "character varying", "char": "character", "varbit": "bit varying"}
_ZONED = {
    "timestamptz": ("timestamp", "with time zone"),
    "timestamp": ("timestamp", "without time zone"),
    "timetz": ("time", "with time zone"),
    "time": ("time", "without time zone"),
}


def _plain_type(name: str, type_: pa.DataType) -> str:
    for known, sql in (*_DIRECT_SQL, *_INTEGERS.items()):
        if type_ == known:
            return sql
    if pa.types.is_decimal(type_):
        return f"numeric({type_.precision},{type_.scale})"
    if pa.types.is_floating(type_):
        return "double precision" if type_.bit_width == 64 else "real"
    if pa.types.is_string(type_) or pa.types.is_large_string(type_) or pa.types.is_string_view(type_):
        return "text"
    if pa.types.is_null(type_) or pa.types.is_dictionary(type_):
        return "text"
    if pa.types.is_binary(type_) or pa.types.is_large_binary(type_) or pa.types.is_fixed_size_binary(type_):
        return "bytea"
    if pa.types.is_timestamp(type_) and type_.unit != "ns":
        return "timestamp with time zone" if type_.tz else "timestamp without time zone"
    if pa.types.is_time(type_) and type_.unit != "ns":
        return "time without time zone"
    if pa.types.is_list(type_) and not pa.types.is_nested(type_.value_type):
        return _plain_type(name, type_.value_type) + "[]"
    raise SchemaConflict(
        f"column {name}: PostgreSQL has no type that holds {type_} exactly",
        hint="Leave the column out, or convert it at the source: to JSON, text or microseconds.",
    )


_DIRECT_SQL: Final = (
    (pa.bool_(), "boolean"),
    (pa.date32(), "date"),
    (pa.date64(), "date"),
    (pa.uuid(), "uuid"),
    (pa.json_(pa.string()), "json"),
    (pa.json_(pa.large_string()), "json"),
)


def may_be_missing(field: pa.Field) -> bool:
    """Whether the column's type is one that another database may not have: an enum, or an array of any type."""
    return logical_base(field) in ("enum", "[]")


def needs_text(field: pa.Field) -> bool:
    """Whether values can enter the column only in their text form (COPY's CSV), not in binary."""
    logical = logical_type(field)
    if logical is None or sql_type(field) in ("text", "bytea"):
        return False
    return logical.split("(", 1)[0] not in _BINARY_IS_TEXT | _TEMPORAL.keys() | {"date", "jsonb"}


_COLUMNS = """
SELECT a.attname, format_type(a.atttypid, a.atttypmod), b.typname, b.typtype,
       CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE a.atttypmod END,
       b.oid < 16384, a.attnotnull, a.attgenerated <> '', a.attidentity = 'a',
       has_column_privilege(a.attrelid, a.attnum, 'SELECT'),
       CASE WHEN t.typtype = 'd' THEN format_type(t.typbasetype, t.typtypmod)
            ELSE format_type(a.atttypid, a.atttypmod) END
FROM pg_attribute a
JOIN pg_type t ON t.oid = a.atttypid
JOIN pg_type b ON b.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END
WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum
"""


def table_columns(session: Session, oid: int) -> list[Column]:
    """The columns of a relation in their order."""
    return [_column(row) for row in session.execute(_COLUMNS, (oid,)).fetchall()]


def _column(row: tuple[object, ...]) -> Column:
    name, type_, base, kind, modifier, builtin, not_null, generated, always, readable, inner = row
    return Column(
        name=str(name),
        type=str(type_),
        base=str(base),
        kind=str(kind),
        modifier=int(str(modifier)),
        builtin=bool(builtin),
        not_null=bool(not_null),
        generated=bool(generated),
        identity_always=bool(always),
        readable=bool(readable),
        inner=str(inner),
    )


def wire_type(column: Column) -> str | None:
    """The type as binary COPY needs it equal on both sides; None where bytes mean something in one database only."""
    if column.kind == "e":
        return sql_type(column.field())
    if not column.builtin or column.kind not in "brm" or column.base in ("oid", "regclass", "regtype", "aclitem"):
        return None
    return column.inner
