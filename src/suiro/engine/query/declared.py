"""Columns that a REPLICATE head declares: SQL's type names as Arrow's types, and exact casts to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from suiro.engine.query.head import ColumnType, Head
from suiro.model.errors import DataError
from suiro.model.types import is_text, logical_base, logical_field, logical_type, storage

_TYPES: Final[Mapping[str, pa.DataType]] = {
    **dict.fromkeys(("boolean", "bool", "bit"), pa.bool_()),
    "tinyint": pa.int8(),
    **dict.fromkeys(("smallint", "int2"), pa.int16()),
    **dict.fromkeys(("integer", "int", "int4", "mediumint"), pa.int32()),
    **dict.fromkeys(("bigint", "int8"), pa.int64()),
    **dict.fromkeys(("real", "float4"), pa.float32()),
    **dict.fromkeys(("float", "double", "double precision", "float8"), pa.float64()),
    "date": pa.date32(),
    **dict.fromkeys(("time", "time without time zone"), pa.time64("us")),
    **dict.fromkeys(("timestamp", "timestamp without time zone", "datetime", "datetime2"), pa.timestamp("us")),
    **dict.fromkeys(("timestamptz", "timestamp with time zone", "datetimeoffset"), pa.timestamp("us", "UTC")),
    **dict.fromkeys(("uuid", "uniqueidentifier"), pa.uuid()),
    **dict.fromkeys(("json", "jsonb"), pa.json_()),
    **dict.fromkeys(("text", "string", "clob", "ntext", "longtext"), pa.string()),
    **dict.fromkeys(("binary", "varbinary", "binary varying", "blob", "bytea", "image"), pa.binary()),
}
_DECIMALS: Final = frozenset({"decimal", "numeric", "dec", "number"})
_CHARACTERS: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        ("varchar", "character varying", "char varying", "nvarchar", "national character varying"), "varchar"
    ),
    **dict.fromkeys(("char", "character", "nchar", "national character"), "char"),
}
_KNOWN: Final = (
    "boolean, smallint, integer, bigint, numeric(p,s), real, double precision, varchar(n), char(n), text, date, time, "
    "timestamp, timestamp with time zone, uuid, json and binary"
)


def declared_fields(head: Head) -> dict[str, pa.Field]:
    """The declared columns as fields, by their names; the error of an unknown type points at it."""
    return {column.column.parts[0]: _field(head, column) for column in head.columns}


def agreed(head: Head, given: pa.Schema) -> pa.Schema:
    """The result's columns in the declared types. Columns that aren't the declared ones are pointed at."""
    fields = declared_fields(head)
    for column in head.columns:
        name = column.column.parts[0]
        if name not in given.names:
            raise head.text.wrong(
                column.column.start,
                column.column.end,
                f"the SELECT gives no column {name}",
                hint=f"It gives {', '.join(given.names)}. Name its columns with AS.",
            )
    missing = [name for name in given.names if name not in fields]
    if missing:
        last = head.columns[-1]
        raise head.text.wrong(
            last.column.start,
            last.type.end,
            f"the SELECT gives {len(given.names)} columns, and {', '.join(missing)} isn't declared",
            hint="Declare every column, or none.",
        )
    places = {column.column.parts[0]: column for column in head.columns}
    return pa.schema([_agreed(head, places[field.name], field, fields[field.name]) for field in given])


def cast(batch: pa.RecordBatch, wanted: pa.Schema) -> pa.RecordBatch:
    """The batch in these types; DataError naming a column of which a value would change."""
    arrays = [_cast(batch.column(field.name), field) for field in wanted]
    return pa.RecordBatch.from_arrays(arrays, schema=wanted)


def _field(head: Head, column: ColumnType) -> pa.Field:
    name, type_ = column.column.parts[0], column.type.parts[0]
    if type_ in _DECIMALS:
        return pa.field(name, _decimal(head, column))
    if type_ in _CHARACTERS:
        if not column.arguments or column.arguments == ("max",):
            return pa.field(name, pa.string())
        return logical_field(name, pa.string(), f"{_CHARACTERS[type_]}({_number(head, column, 0)})")
    if type_ not in _TYPES:
        raise head.text.wrong(
            column.type.start, column.type.end, f"there is no type {type_}", hint=f"Types are {_KNOWN}."
        )
    return pa.field(name, _TYPES[type_])


def _decimal(head: Head, column: ColumnType) -> pa.DataType:
    precision = _number(head, column, 0)
    scale = _number(head, column, 1) if len(column.arguments) > 1 else 0
    if not 1 <= precision <= 76 or not 0 <= scale <= precision:
        raise head.text.wrong(
            column.type.start,
            column.type.end,
            f"numeric({precision},{scale}) can't be",
            hint="Write at most 76 digits, of which the second number are after the point.",
        )
    return pa.decimal128(precision, scale) if precision <= 38 else pa.decimal256(precision, scale)


def _number(head: Head, column: ColumnType, at: int) -> int:
    if at < len(column.arguments) and column.arguments[at].isdecimal():
        return int(column.arguments[at])
    raise head.text.wrong(
        column.type.start,
        column.type.end,
        f"{column.type.parts[0]} needs its length or digits as numbers",
        hint="Write for example numeric(12,2) or varchar(80).",
    )


def _agreed(head: Head, column: ColumnType, given: pa.Field, declared: pa.Field) -> pa.Field:
    if not _can_become(given, declared):
        raise head.text.wrong(
            column.type.start,
            column.type.end,
            f"{given.name} is {logical_type(given) or given.type} and can't become {column.type.parts[0]}",
            hint="Convert it in the SELECT with CAST, or declare another type.",
        )
    same = given.type == declared.type and logical_type(declared) is None
    return pa.field(given.name, given.type, metadata=given.metadata) if same else declared


def _can_become(given: pa.Field, declared: pa.Field) -> bool:
    one, other = given.type, declared.type
    if pa.types.is_timestamp(one) and pa.types.is_timestamp(other):
        return (one.tz is None) == (other.tz is None)
    if pa.types.is_nested(one):
        return bool(one == other)
    plain = storage(other)
    return one == other or (is_text(one) and is_text(other)) or _casts(storage(one), plain)


def _casts(one: pa.DataType, other: pa.DataType) -> bool:
    try:
        _converted(pa.array([None], one), other)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return False
    return True


def _cast(array: pa.Array, field: pa.Field) -> pa.Array:
    plain = array.storage if isinstance(array, pa.ExtensionArray) else array
    out = storage(field.type)
    try:
        found = _converted(plain, out)
        changed = plain.type != out and not (is_text(plain.type) or is_text(out)) and not _is_same(found, plain)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        changed = True
    if changed or (logical_base(field) in ("varchar", "char") and not _fits(plain, field)):
        raise DataError(
            f"column {field.name} holds a value that {logical_type(field) or field.type} can't hold exactly",
            hint="Declare a wider type, or round or convert the column in the SELECT.",
        )
    return pa.ExtensionArray.from_storage(field.type, found) if found.type != field.type else found


def _converted(array: pa.Array, type_: pa.DataType) -> pa.Array:
    """Arrow's cast; whole numbers become decimals by way of one that holds all of them."""
    if array.type == type_:
        return array
    if pa.types.is_integer(array.type) and pa.types.is_decimal(type_):
        array = array.cast(pa.decimal256(20, 0))
    return array.cast(type_)


def _is_same(found: pa.Array, plain: pa.Array) -> bool:
    """Whether nothing was lost: cast back, every value is what it was."""
    back = found.cast(plain.type)
    if pa.types.is_floating(plain.type):
        both_nan = pc.and_(pc.is_nan(back), pc.is_nan(plain))
        return bool(pc.all(pc.or_(pc.equal(back, plain), both_nan)).as_py() is not False)
    return bool(back.equals(plain))


def _fits(array: pa.Array, field: pa.Field) -> bool:
    most = int((logical_type(field) or "(0)").split("(")[1].rstrip(")"))
    texts = array if is_text(array.type) else array.cast(pa.string())
    return (pc.max(pc.utf8_length(texts)).as_py() or 0) <= most


def key_of(head: Head) -> tuple[str, ...]:
    """The columns of the declared primary key."""
    return tuple(name.parts[0] for name in head.key)
