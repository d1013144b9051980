"""DuckDB's types: which column holds which field, and how each type travels."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from suiro.model.errors import DataError, SchemaConflict
from suiro.model.types import is_bytes, is_text, logical_base, logical_field, storage

RESTORES: Final = frozenset({"date", "timestamp", "timestamptz", "interval", "timestamp_ns", "hugeint", "uhugeint"})

_NAMES: Final[dict[pa.DataType, str]] = {
    pa.bool_(): "BOOLEAN",
    pa.int8(): "TINYINT",
    pa.int16(): "SMALLINT",
    pa.int32(): "INTEGER",
    pa.int64(): "BIGINT",
    pa.uint8(): "UTINYINT",
    pa.uint16(): "USMALLINT",
    pa.uint32(): "UINTEGER",
    pa.uint64(): "UBIGINT",
    pa.float16(): "FLOAT",
    pa.float32(): "FLOAT",
    pa.float64(): "DOUBLE",
    pa.date32(): "DATE",
    pa.date64(): "DATE",
    pa.uuid(): "UUID",
}
_BY_LOGICAL: Final = {
    "interval": "INTERVAL",
    "timestamp_ns": "TIMESTAMP_NS",
    "hugeint": "HUGEINT",
    "uhugeint": "UHUGEINT",
}
_PLAIN: Final[dict[str, tuple[pa.DataType, str | None]]] = {
    "boolean": (pa.bool_(), None),
    "tinyint": (pa.int8(), None),
    "smallint": (pa.int16(), None),
    "integer": (pa.int32(), None),
    "bigint": (pa.int64(), None),
    "utinyint": (pa.uint8(), None),
    "usmallint": (pa.uint16(), None),
    "uinteger": (pa.uint32(), None),
    "ubigint": (pa.uint64(), None),
    "float": (pa.float32(), None),
    "double": (pa.float64(), None),
    "date": (pa.date32(), "date"),
    "timestamp": (pa.timestamp("us"), "timestamp"),
    "timestamp with time zone": (pa.timestamp("us", "UTC"), "timestamptz"),
    "time": (pa.time64("us"), None),
    "uuid": (pa.uuid(), None),
    "blob": (pa.binary(), None),
}
_AS_TEXT: Final = {
    "interval": "interval",
    "timestamp_ns": "timestamp_ns",
    "time with time zone": "timetz",
    "bit": "varbit",
    "bignum": "numeric",
}
_HUGE: Final = pa.decimal256(39, 0)
_NOTE = re.compile(r"suiro: (?:decimal256\((\d+), (-?\d+)\)|fixed_size_binary\[(\d+)\])")


def type_name(field: pa.Field) -> str:
    """The column type for a field, as DuckDB spells it; SchemaConflict where none holds it exactly.

    What DuckDB has no type for is stored in a wider one, and a comment on the column says what it is.
    """
    by_logical = _BY_LOGICAL.get(logical_base(field) or "")
    if by_logical is not None and (is_text(field.type) or pa.types.is_decimal(field.type)):
        return by_logical
    if pa.types.is_decimal(field.type) and field.type.precision > 38:
        return f"VARCHAR /* suiro: {field.type} */"
    if pa.types.is_fixed_size_binary(field.type) and field.type != pa.uuid():
        return f"BLOB /* suiro: {field.type} */"
    name = _sql_type(field.type)
    if name is None:
        raise SchemaConflict(
            f"column {field.name} is {field.type}, which DuckDB can't hold exactly",
            hint="Leave the column out, or carry it as text.",
        )
    return name


def _sql_type(type_: pa.DataType) -> str | None:
    if type_ in _NAMES:
        return _NAMES[type_]
    if pa.types.is_decimal(type_):
        fits = type_.precision <= 38 and 0 <= type_.scale <= type_.precision
        return f"DECIMAL({type_.precision},{type_.scale})" if fits else None
    if pa.types.is_timestamp(type_):
        return "TIMESTAMP" if type_.tz is None else "TIMESTAMP WITH TIME ZONE"
    if pa.types.is_time(type_):
        return "TIME"
    if isinstance(type_, pa.JsonType):
        return "JSON"
    if is_text(type_):
        return "VARCHAR"
    if is_bytes(type_):
        return "BLOB"
    return _nested_type(type_)


def _nested_type(type_: pa.DataType) -> str | None:
    if pa.types.is_map(type_):
        key, item = _sql_type(type_.key_type), _sql_type(type_.item_type)
        return f"MAP({key}, {item})" if key and item else None
    if pa.types.is_struct(type_):
        fields = [(type_.field(i).name, _sql_type(type_.field(i).type)) for i in range(type_.num_fields)]
        if not fields or not all(sql for _, sql in fields):
            return None
        return f"STRUCT({', '.join(f'{_spelled(name)} {sql}' for name, sql in fields)})"
    if pa.types.is_list(type_) or pa.types.is_large_list(type_):
        value = _sql_type(type_.value_type)
        return f"{value}[]" if value else None
    if pa.types.is_fixed_size_list(type_):
        value = _sql_type(type_.value_type)
        return f"{value}[{type_.list_size}]" if value else None
    return None


def _spelled(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def declared(type_: Any) -> str:
    """A DuckDB type (as the driver tells it) as `type_name` spells it: names of fields always in quotes."""
    match type_.id:
        case "list":
            return f"{declared(dict(type_.children)['child'])}[]"
        case "array":
            children = dict(type_.children)
            return f"{declared(children['child'])}[{children['size']}]"
        case "map":
            children = dict(type_.children)
            return f"MAP({declared(children['key'])}, {declared(children['value'])})"
        case "struct":
            return f"STRUCT({', '.join(f'{_spelled(name)} {declared(child)}' for name, child in type_.children)})"
        case _:
            return str(type_)


@dataclass(frozen=True, slots=True, kw_only=True)
class Travel:
    """How a column leaves DuckDB: cast to `sql` where given, in Arrow as `field`."""

    field: pa.Field
    sql: str | None = None


def travel(name: str, type_: Any, comment: str | None = None) -> Travel:
    """How a column of a DuckDB type (as the driver tells it) travels."""
    kind = type_.id
    if (note := _NOTE.fullmatch(comment or "")) and kind in ("varchar", "blob"):
        precision, scale, width = note.groups()
        noted = pa.binary(int(width)) if width else pa.decimal256(int(precision), int(scale))
        return Travel(field=pa.field(name, noted))
    if str(type_) == "JSON":
        return Travel(field=pa.field(name, pa.json_()))
    if kind in ("hugeint", "uhugeint"):
        return Travel(field=logical_field(name, _HUGE, kind), sql="VARCHAR")
    if kind in ("timestamp_s", "timestamp_ms"):
        return Travel(field=logical_field(name, *_PLAIN["timestamp"]), sql="TIMESTAMP")
    if kind in _PLAIN:
        return Travel(field=logical_field(name, *_PLAIN[kind]))
    if kind in _AS_TEXT:
        return Travel(field=logical_field(name, pa.string(), _AS_TEXT[kind]), sql="VARCHAR")
    sql, arrow = _carried(type_)
    return Travel(field=pa.field(name, arrow), sql=None if sql == str(type_) else sql)


def _carried(type_: Any) -> tuple[str, pa.DataType]:
    """The SQL type that a value is cast to so that Arrow holds it exactly, and that Arrow type; text at worst."""
    kind = type_.id
    if str(type_) == "JSON":
        return "JSON", pa.json_()
    if kind in _PLAIN:
        return str(type_), _PLAIN[kind][0]
    if kind in ("timestamp_s", "timestamp_ms"):
        return "TIMESTAMP", pa.timestamp("us")
    children = dict(type_.children) if kind in ("decimal", "list", "array", "struct", "map") else {}
    if kind == "decimal":
        return str(type_), pa.decimal128(children["precision"], children["scale"])
    if kind in ("list", "array"):
        sql, arrow = _carried(children["child"])
        size = children.get("size")
        return (f"{sql}[]", pa.list_(arrow)) if size is None else (f"{sql}[{size}]", pa.list_(arrow, size))
    if kind == "map":
        (key_sql, key), (item_sql, item) = _carried(children["key"]), _carried(children["value"])
        return f"MAP({key_sql}, {item_sql})", pa.map_(key, item)
    if kind == "struct":
        parts = [(name, *_carried(child)) for name, child in type_.children]
        spelled = ", ".join(f"{_spelled(name)} {sql}" for name, sql, _ in parts)
        return f"STRUCT({spelled})", pa.struct([(name, arrow) for name, _, arrow in parts])
    return "VARCHAR", pa.string()


def note(declared: str) -> str | None:
    """The comment that a column of this type gets."""
    found = re.search(r"/\* (suiro: .*) \*/", declared)
    return found[1] if found else None


def read_as(field: pa.Field, expression: str) -> str:
    """The expression whose Arrow form can be cast to the field's type, for a column that `type_name` chose.

    Intervals are spelled as PostgreSQL spells them.
    """
    text = is_text(field.type) and not isinstance(field.type, pa.JsonType)
    wide = pa.types.is_decimal(field.type) and field.type.precision > 38
    plain = f"CAST({expression} AS VARCHAR)" if text or wide else expression
    return f"replace({plain}, 'month', 'mon')" if logical_base(field) == "interval" else plain


def exactly(field: pa.Field, expression: str) -> str:
    """The expression in a form that tells -0.0 from 0.0 and `a` from `A`, whatever the collation."""
    if is_text(field.type):
        return f"encode(CAST({expression} AS VARCHAR))"
    if pa.types.is_floating(field.type) or pa.types.is_nested(field.type):
        return f"CAST({expression} AS VARCHAR)"
    return expression


def keeps_equal(field: pa.Field) -> bool:
    """Floats, whose zeros compare equal, and intervals, whose months and days do."""
    return pa.types.is_floating(field.type) or logical_base(field) == "interval"


def written_as(field: pa.Field, expression: str) -> str:
    """The expression that turns an Arrow column into the column's type."""
    declared = type_name(field)
    if declared == "INTERVAL":
        return f"CAST(replace({expression}, '+', '') AS INTERVAL)"
    return f"CAST({expression} AS {declared})"


def encode(array: pa.Array, name: str) -> pa.Array:
    """An Arrow column in a form that DuckDB reads; DataError if that would change a value."""
    type_ = array.type
    if pa.types.is_decimal(type_) and type_.bit_width == 256:
        return pa.array([None if v is None else format(v, "f") for v in array.to_pylist()], pa.string())
    if type_ == pa.float16():
        return array.cast(pa.float32())
    wanted = type_
    if pa.types.is_timestamp(type_):
        wanted = pa.timestamp("us", type_.tz)
    elif pa.types.is_time(type_):
        wanted = pa.time64("us")
    try:
        return array if wanted == type_ else array.cast(wanted)
    except pa.ArrowInvalid as error:
        raise DataError(
            f"column {name} is finer than microseconds, which is as fine as times are kept",
            hint="Round the column at the source, or read it as text.",
        ) from error


def decode(array: pa.Array, field: pa.Field) -> pa.Array:
    """What DuckDB gave, in the field's type; DataError if it holds something else."""
    type_ = field.type
    if array.type == type_ and not pa.types.is_nested(type_):
        return array
    plain = array.storage if isinstance(array, pa.ExtensionArray) else array
    try:
        cast = plain.cast(storage(type_))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(
            f"column {field.name} holds values that are no {type_}", hint="Look at the column's type and comment."
        ) from error
    return pa.ExtensionArray.from_storage(type_, cast) if isinstance(type_, pa.BaseExtensionType) else cast
