"""A query's columns as the server describes them before it runs: with the types that a table's would have.

Source: "Column Definition" in MySQL's and MariaDB's client/server protocol documentation.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import pyarrow as pa
import pymysql
from pymysql.constants import FIELD_TYPE as KIND

from suiro.connectors.mysql.config import MysqlConfig
from suiro.connectors.mysql.errors import translate
from suiro.connectors.mysql.session import Session
from suiro.connectors.mysql.tables import Relation
from suiro.connectors.mysql.types import Column
from suiro.connectors.mysql.wire import Statement
from suiro.model.errors import SuiroError, UserError
from suiro.model.place import QueryError
from suiro.model.types import storage

_BASES: Final = {
    KIND.TINY: "tinyint",
    KIND.SHORT: "smallint",
    KIND.INT24: "mediumint",
    KIND.LONG: "int",
    KIND.LONGLONG: "bigint",
    KIND.DECIMAL: "decimal",
    KIND.NEWDECIMAL: "decimal",
    KIND.FLOAT: "float",
    KIND.DOUBLE: "double",
    KIND.YEAR: "year",
    KIND.DATE: "date",
    KIND.NEWDATE: "date",
    KIND.DATETIME: "datetime",
    KIND.TIMESTAMP: "timestamp",
    KIND.TIME: "time",
    KIND.BIT: "bit",
    KIND.JSON: "json",
    KIND.GEOMETRY: "geometry",
}
_FRACTION: Final = frozenset({"datetime", "timestamp", "time"})
_BLOBS: Final = frozenset({KIND.TINY_BLOB, KIND.MEDIUM_BLOB, KIND.LONG_BLOB, KIND.BLOB})
_UNSIGNED, _BINARY, _LETTER_BYTES, _LONGEST = 32, 63, 4, 16_383
_UNKNOWN_SCALE = 31  #: decimals of floats and of expressions


def describe(session: Session, sql: str, known: Mapping[str, pa.Field]) -> Relation:
    """The query as a relation to read; it isn't run. QueryError with the place that the server tells.

    UUIDs that the query passes on are known: the server describes them as text.
    """
    try:
        names = [column.name for column in Statement(session, sql).columns]
        with session.driver.cursor() as cursor:
            if len(set(names)) < len(names):
                columns = [_column(name, None) for name in names]
            else:
                cursor.execute(f"SELECT * FROM (\n{sql}\n) AS q LIMIT 0")
                columns = [_column(field.name, field) for field in cursor._result.fields]
    except pymysql.MySQLError as error:
        raise _wrong(session, sql, error) from error
    uuids = {name for name, field in known.items() if field.type == pa.uuid()}
    told = tuple(replace(column, base="uuid") if column.name in uuids else column for column in columns)
    return Relation(database="", name="q", kind="view", rows=None, columns=told, primary_key=())


def fields_of(relation: Relation, config: MysqlConfig, known: Mapping[str, pa.Field]) -> list[pa.Field]:
    """The columns as they travel."""
    found = [column.field(config) for column in relation.columns]
    return [_known_field(field, known.get(field.name)) for field in found if field is not None]


def _known_field(found: pa.Field, known: pa.Field | None) -> pa.Field:
    """What is known of a column that the query passes on, where it travels as the server describes it."""
    if known is None:
        return found
    moments = pa.types.is_timestamp(known.type) and pa.types.is_timestamp(found.type)
    return known if moments or storage(known.type) == storage(found.type) else found


def _column(name: str, told: Any) -> Column:
    kind = KIND.VAR_STRING if told is None else told.type_code
    length, scale = (0, 0) if told is None else (told.length, told.scale)
    unsigned = told is not None and bool(told.flags & _UNSIGNED)
    binary = told is not None and told.charsetnr == _BINARY
    base = _BASES.get(kind) or _text_base(kind, binary, length)
    letters = length // _LETTER_BYTES
    precision = length - bool(scale) - (not unsigned) if base == "decimal" else length if base == "bit" else None
    return Column(
        name=name,
        base=base,
        type=("tinyint(1)" if base == "tinyint" and length == 1 else base) + (" unsigned" if unsigned else ""),
        characters=letters if base == "varchar" and letters else None,
        precision=precision,
        scale=scale if base == "decimal" else None,
        fraction=scale if base in _FRACTION and scale < _UNKNOWN_SCALE else None,
        not_null=False,
        generated=False,
        readable=True,
        is_json=kind == KIND.JSON,
        comment="",
    )


def _text_base(kind: int, binary: bool, length: int) -> str:
    """Of texts and bytes: short ones have a length, long ones none."""
    if binary and kind != KIND.NULL:
        return "blob"
    return "text" if kind in _BLOBS or length > _LONGEST * _LETTER_BYTES else "varchar"


def _wrong(session: Session, sql: str, error: pymysql.MySQLError) -> SuiroError:
    found = translate(error, session.config)
    if not isinstance(found, UserError):
        return found
    near = re.search(r"near '(.*)' at line \d+\Z", str(error.args[-1]), re.DOTALL)
    at = sql.find(near[1]) if near and near[1] else -1
    if near and at < 0:
        at = len(sql)
    return QueryError(found.message, at=at if at >= 0 else None, hint=found.hint)
