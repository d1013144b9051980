"""Columns that Suiro makes on a server: the type for each field, and the changes that let a table hold more."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import pyarrow as pa

from suiro.connectors.mysql.session import Session
from suiro.connectors.mysql.standing import Column, Standing, folded, quote, refuse_name
from suiro.model.errors import DataError, SchemaConflict
from suiro.model.types import common_field, is_bytes, is_text, logical_field, logical_type

RESTORES: Final = frozenset({"varchar", "json", "mysql enum", "mysql set"})
STORES: Final = "text; timestamps with a zone as DATETIME(6) in UTC, marked by the column's comment"
UTC: Final = "UTC"  #: comment of a DATETIME column that holds timestamps in UTC
UUID: Final = "UUID"  #: comment of a CHAR(36) column that holds UUIDs, where the server has no such type

_KEY_BYTES = 3072 - 16  #: that an InnoDB index takes, with room for the order of arrival
_ROW_BYTES = 60_000  #: of a row's 65,535 that VARCHAR columns may take
_LONGEST_VARCHAR = 16_383
_ENDLESS = 2**40  #: characters: more than any column takes

_NAMES: Final[dict[pa.DataType, str]] = {
    pa.bool_(): "TINYINT(1)",
    pa.int8(): "TINYINT",
    pa.int16(): "SMALLINT",
    pa.int32(): "INT",
    pa.int64(): "BIGINT",
    pa.uint8(): "TINYINT UNSIGNED",
    pa.uint16(): "SMALLINT UNSIGNED",
    pa.uint32(): "INT UNSIGNED",
    pa.uint64(): "BIGINT UNSIGNED",
    pa.float16(): "FLOAT",
    pa.float32(): "FLOAT",
    pa.float64(): "DOUBLE",
    pa.date32(): "DATE",
    pa.date64(): "DATE",
}
_FIELDS: Final[dict[str, pa.DataType]] = {
    **{name.lower(): type_ for type_, name in _NAMES.items() if type_ not in (pa.float16(), pa.date64())},
    "mediumint": pa.int32(),
    "mediumint unsigned": pa.uint32(),
    "year": pa.uint16(),
    "uuid": pa.uuid(),
    **dict.fromkeys(("tinytext", "text", "mediumtext", "longtext"), pa.string()),
    **dict.fromkeys(("tinyblob", "blob", "mediumblob", "longblob"), pa.binary()),
}
_LISTED: Final = re.compile(r"mysql ((?:enum|set)\('(?:[^'\\]|'')*'(?:,'(?:[^'\\]|'')*')*\))")


@dataclass(frozen=True, slots=True, kw_only=True)
class Flavor:
    """What MariaDB and MySQL have each of their own."""

    collation: str  #: of utf8mb4: equal is only what has the same bytes
    uuid: str
    json: str
    most_scale: int

    @property
    def text(self) -> str:
        """What follows the type of a text column."""
        return f"CHARACTER SET utf8mb4 COLLATE {self.collation}"


_UUID_TEXT = f"CHAR(36) CHARACTER SET ascii COLLATE ascii_bin COMMENT '{UUID}'"
MARIADB: Final = Flavor(collation="utf8mb4_nopad_bin", uuid="UUID", json="JSON", most_scale=38)


def flavor_of(session: Session) -> Flavor:
    """The flavor of a session's server."""
    if session.is_mariadb:
        return MARIADB if session.version >= (10, 7) else replace(MARIADB, uuid=_UUID_TEXT)
    collation = "utf8mb4_0900_bin" if session.version >= (8, 0) else "utf8mb4_bin"
    text = f"LONGTEXT CHARACTER SET utf8mb4 COLLATE {collation}"  # MySQL's own JSON rounds numbers and reorders keys
    return Flavor(collation=collation, uuid=_UUID_TEXT, json=text, most_scale=30)


# -- types for fields --------------------------------------------------------------------------------------------------


def column_types(fields: Sequence[pa.Field], key: Sequence[str], flavor: Flavor) -> dict[str, str]:
    """By name the type of each column of a new table. SchemaConflict names a column that has none."""
    names = {folded(name) for name in key}
    room = _room_for_keys([field for field in fields if folded(field.name) in names])
    longest = _fitting_varchars([field for field in fields if folded(field.name) not in names])
    types = {}
    for field in fields:
        refuse_name("column", field.name)
        if folded(field.name) in names:
            types[field.name] = f"{_key_type(field, room, flavor)} NOT NULL"
        else:
            types[field.name] = _type(field, flavor, longest)
    return types


def definitions(types: Mapping[str, str]) -> str:
    """The columns of a CREATE TABLE."""
    return ", ".join(f"{quote(name)} {type_}" for name, type_ in types.items())


def _room_for_keys(fields: Sequence[pa.Field]) -> int:
    """How many bytes each key column of varying length may take."""
    varying = [field for field in fields if _varies(field)]
    fixed = sum(16 if pa.types.is_decimal(f.type) is False else 30 for f in fields if not _varies(f))
    return (_KEY_BYTES - fixed) // max(len(varying), 1)


def _varies(field: pa.Field) -> bool:
    return is_text(field.type) or is_bytes(field.type)


def _key_type(field: pa.Field, room: int, flavor: Flavor) -> str:
    """Text and bytes of a key in a type that an index takes whole."""
    if is_text(field.type):
        most = min(room // 4, varchar_length(field) or _LONGEST_VARCHAR)
        return f"VARCHAR({most}) {flavor.text}"
    return f"VARBINARY({room})" if is_bytes(field.type) else _type(field, flavor, 0)


def varchar_length(field: pa.Field) -> int | None:
    """The characters of a varchar(n)."""
    found = re.fullmatch(r"varchar\((\d+)\)", logical_type(field) or "")
    return int(found[1]) if found else None


def _fitting_varchars(fields: Sequence[pa.Field]) -> int:
    """The longest VARCHAR that may stay one, so that a row has room for all of them."""
    lengths = sorted(n for field in fields if (n := varchar_length(field)) is not None and n <= _LONGEST_VARCHAR)
    while lengths and sum(lengths) * 4 > _ROW_BYTES:
        lengths.pop()
    return lengths[-1] if lengths else 0


def _type(field: pa.Field, flavor: Flavor, longest_varchar: int) -> str:
    type_ = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    if type_ in _NAMES:
        return _NAMES[type_]
    if pa.types.is_decimal(type_):
        return _decimal(field.name, type_, flavor)
    if pa.types.is_timestamp(type_):
        return "DATETIME(6)" if type_.tz is None else f"DATETIME(6) COMMENT '{UTC}'"
    if pa.types.is_time(type_):
        return "TIME(6)"
    if isinstance(type_, pa.JsonType):
        return flavor.json
    if type_ == pa.uuid():
        return flavor.uuid
    if is_text(type_):
        if listed := _LISTED.fullmatch(logical_type(field) or ""):
            return f"{listed[1]} {flavor.text}"
        length = varchar_length(field)
        return f"{f'VARCHAR({length})' if length and length <= longest_varchar else 'LONGTEXT'} {flavor.text}"
    if is_bytes(type_):
        return "LONGBLOB"
    if pa.types.is_fixed_size_binary(type_):
        return f"BINARY({type_.byte_width})" if type_.byte_width <= 255 else f"VARBINARY({type_.byte_width})"
    raise SchemaConflict(
        f"column {field.name} is {field.type}, for which MySQL and MariaDB have no exact form",
        hint="Leave the column out, or carry it as JSON or text.",
    )


def _decimal(name: str, type_: pa.DataType, flavor: Flavor) -> str:
    precision, scale = type_.precision, type_.scale
    if scale < 0:
        precision, scale = precision - scale, 0
    if precision > 65 or scale > flavor.most_scale or scale > precision:
        raise SchemaConflict(
            f"column {name} is {type_}; DECIMAL has at most 65 digits, {flavor.most_scale} of them after the point",
            hint="Leave the column out, or carry it as text.",
        )
    return f"DECIMAL({precision},{scale})"


# -- fields of columns -------------------------------------------------------------------------------------------------


def field_of(column: Column) -> pa.Field | None:
    """The column as it is staged; None for a type that isn't loaded."""
    declared = column.declared.removesuffix(" zerofill")
    if not declared.startswith("tinyint(1)"):
        declared = re.sub(r"^(\w*int|year)\(\d+\)", r"\1", declared)
    if declared in _FIELDS:
        return pa.field(column.name, _FIELDS[declared])
    name, _, rest = declared.partition("(")
    numbers = [int(n) for n in re.findall(r"\d+", rest)]
    match name:
        case "decimal":
            precision, scale = numbers
            return pa.field(column.name, (pa.decimal256 if precision > 38 else pa.decimal128)(precision, scale))
        case "datetime":
            return pa.field(column.name, pa.timestamp("us", UTC if column.comment == UTC else None))
        case "timestamp":
            return pa.field(column.name, pa.timestamp("us", UTC))
        case "time":
            return pa.field(column.name, pa.time64("us"))
        case "char" if column.comment == UUID:
            return pa.field(column.name, pa.uuid())
        case "varchar":
            return logical_field(column.name, pa.string(), declared)
        case "json":
            return logical_field(column.name, pa.json_(), declared)
        case "enum" | "set":
            return logical_field(column.name, pa.string(), f"mysql {declared}")
        case "char" | "inet4" | "inet6":
            return pa.field(column.name, pa.string())
        case "bit" if numbers == [1]:
            return pa.field(column.name, pa.bool_())
        case "binary":
            return pa.field(column.name, pa.binary(numbers[0]))
        case "varbinary":
            return pa.field(column.name, pa.binary())
        case "tinyint":  # tinyint(1) unsigned
            return pa.field(column.name, pa.uint8())
        case _:
            return None


# -- changes -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One clause of an ALTER TABLE. `adds`: the name of the column that it adds, else ""."""

    clause: str
    adds: str = ""


def changes(
    session: Session, table: Standing, fields: Sequence[pa.Field], longest: Mapping[str, int], flavor: Flavor
) -> list[Change]:
    """What lets the table hold the fields' values: columns added, types widened.

    `longest`: by name the characters or bytes of the longest value that comes. SchemaConflict where no type holds both.
    """
    found = []
    added = [field for field in fields if table.column(field.name) is None]
    for name, type_ in column_types(added, (), flavor).items():
        found.append(Change(clause=f"ADD COLUMN {quote(name)} {type_}", adds=name))
    lines: dict[str, str] = {}
    for field in fields:
        column = table.column(field.name)
        wider = None if column is None else _wider(table, column, field, longest.get(field.name, 0), flavor)
        if column is not None and wider is not None:
            lines = lines or _lines(session, table)
            found.append(Change(clause=f"MODIFY COLUMN {_rewritten(column, wider, lines)}"))
    return found


def _wider(table: Standing, column: Column, field: pa.Field, longest: int, flavor: Flavor) -> str | None:
    """The type that the column must have to hold the field's values too; None where it does already."""
    if column.generated:
        raise SchemaConflict(
            f"column {column.name} of {table.name} is generated by the server and can't be loaded",
            hint="Leave the column out, or give it another name in the table.",
        )
    current = field_of(column)
    incoming = logical_field(field.name, field.type.value_type) if pa.types.is_dictionary(field.type) else field
    shared = None if current is None else common_field(current, incoming)
    if current is None or shared is None:
        raise SchemaConflict(
            f"column {column.name} of {table.name} is {column.declared}, "
            f"what comes is {logical_type(field) or field.type}",
            hint="No type holds both exactly: choose another table, or drop or convert the column.",
        )
    if column.characters is not None and (is_text(shared.type) or is_bytes(shared.type)):
        return _longer(table, column, longest, is_text(shared.type))
    if shared.type == current.type:
        return f"{column.declared.partition('(')[0]}(6)" if _fraction(column) < 6 and longest else None
    return re.sub(r" COMMENT '.*'$", "", _type(logical_field(field.name, shared.type), flavor, 0))


def _longer(table: Standing, column: Column, longest: int, text: bool) -> str | None:
    """A type for text or bytes that takes longer values, where it must."""
    if longest <= (column.characters or 0) or column.declared.startswith(("enum", "set")):
        return None  # what an enum doesn't know the server refuses
    if table.keyed(column):
        raise DataError(
            f"column {column.name} of {table.name} is {column.declared} and in a unique key; a longer value comes, "
            "or one that ends in spaces",
            hint="Make the column longer, or leave those rows out.",
        )
    return "LONGTEXT" if text else "LONGBLOB"


def _lines(session: Session, table: Standing) -> dict[str, str]:
    """By column what SHOW CREATE TABLE says after its name."""
    (row,) = session.ask(f"SHOW CREATE TABLE {table.sql}")
    found = {}
    for line in str(row[1]).splitlines():
        for column in table.columns:
            start = f"  {quote(column.name)} "
            if line.startswith(start):
                found[column.name] = line.removeprefix(start).removesuffix(",")
    return found


def _rewritten(column: Column, type_: str, lines: Mapping[str, str]) -> str:
    """The column's definition with another type; NOT NULL, default, collation and comment stay."""
    line = lines[column.name]
    declared = re.match(r"\w+(\((?:[^()']|'(?:[^']|'')*')*\))?( unsigned)?( zerofill)?", line)
    assert declared is not None, "a column begins with its type"
    rest = line[declared.end() :]
    if " CHARACTER SET " in type_:
        rest = re.sub(r" (CHARACTER SET|COLLATE) \w+", "", rest)
    elif type_ in ("LONGTEXT",) and column.charset and " CHARACTER SET " not in rest:
        rest = f" CHARACTER SET {column.charset} COLLATE {column.collation}" + re.sub(r" COLLATE \w+", "", rest)
    return f"{quote(column.name)} {type_}{rest}"


def need(column: Column, field: pa.Field) -> str | None:
    """What to ask of the coming values, for a column whose type may be too short or too coarse for them.

    Characters or bytes of text and bytes; of times the microseconds that the column would lose.
    """
    name = quote(field.name)
    if column.characters is not None and column.characters < 2**32 - 1:
        if is_bytes(field.type) or pa.types.is_fixed_size_binary(field.type):
            return f"LENGTH({name})"
        trimmed = column.declared.startswith("char(")  # CHAR loses the spaces at a value's end
        return f"IF(RIGHT({name}, 1) = ' ', {_ENDLESS}, CHAR_LENGTH({name}))" if trimmed else f"CHAR_LENGTH({name})"
    lost = 6 - _fraction(column)
    return f"MICROSECOND({name}) MOD {10**lost}" if lost and pa.types.is_temporal(field.type) else None


def _fraction(column: Column) -> int:
    """The digits of seconds that a column keeps; 6 where it has none to lose."""
    found = re.fullmatch(r"(datetime|timestamp|time)(?:\((\d)\))?", column.declared)
    return 6 if found is None else int(found[2] or 0)
