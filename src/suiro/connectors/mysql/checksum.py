"""Values as canonical text (see model/canonical) in MySQL's and MariaDB's SQL, and the snapshot of their hashes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import pyarrow as pa
from pymysql.cursors import SSCursor

from suiro.connectors.mysql.measure import double_bits
from suiro.connectors.mysql.session import Session, told
from suiro.connectors.mysql.standing import quote
from suiro.connectors.mysql.types import GEOMETRIES, Column
from suiro.model.canonical import BETWEEN, Form
from suiro.toolkit.sql.checksum import UNHASHED, HashSql, Snapshot
from suiro.toolkit.sql.source import Parameters

_ROWS: Final = 10_000
_DAY: Final = "24:00:00"
_INTEGERS: Final = frozenset({"tinyint", "smallint", "mediumint", "int", "bigint"})


def _framed(text: str) -> str:
    """The bytes of a text in UTF-8 behind their number; bytes, so that collations can't clash."""
    utf8 = f"CONVERT({text} USING utf8mb4)"
    return f"CONCAT(LENGTH({utf8}), ':', CAST({utf8} AS BINARY))"


HASH_SQL: Final = HashSql(
    joined=lambda texts: f"CONCAT_WS('{BETWEEN}', {', '.join(texts)})",
    text=lambda e: f"CAST({e} AS CHAR)",
    framed=_framed,
    number=lambda e, digits: f"CAST(CONV(SUBSTR({e}, 1, {digits}), 16, 10) AS UNSIGNED)",
    totals=lambda number: [(f"SUM(COALESCE({number}, {UNHASHED}))", 1)],  # NULL past max_allowed_packet
)


def canonical(column: Column, field: pa.Field, form: Form) -> str | None:
    """The expression for a column that is read as this field; None where there is none.

    What no calendar or clock has is told by its text behind a `?`, so that it equals no value.
    """
    reference = quote(column.name)
    if form in (Form.TEXT, Form.PADDED):
        if not (pa.types.is_string(field.type) or isinstance(field.type, pa.BaseExtensionType)):
            return None
        text = f"CAST({reference} AS CHAR)" if column.base == "uuid" else column.select(reference, field)
        return f"TRIM(TRAILING ' ' FROM {text})" if form is Form.PADDED else text
    if pa.types.is_string(field.type) and not (form in (Form.CLOCK, Form.SPAN) and column.base == "time"):
        return None
    found = _BY_FORM.get(form)
    return None if found is None else found(column, reference)


def _number(column: Column, reference: str) -> str | None:
    if column.base in _INTEGERS or column.base in ("bit", "year"):
        signed = column.base in _INTEGERS and not column.is_unsigned
        plain = column.base in _INTEGERS and "zerofill" not in column.type
        return reference if plain else f"CAST({reference} AS {'SIGNED' if signed else 'UNSIGNED'})"
    if column.base != "decimal":
        return None
    text = f"CAST({reference} AS CHAR)"
    if "zerofill" in column.type:
        text = f"CAST(CAST({reference} AS DECIMAL({column.precision},{column.scale})) AS CHAR)"
    return f"TRIM(TRAILING '.' FROM TRIM(TRAILING '0' FROM {text}))" if column.scale else text


def _double(column: Column, reference: str) -> str | None:
    known = column.base in ("float", "double") or column.base in _INTEGERS
    return f"CAST({double_bits(reference)} AS SIGNED)" if known else None


def _known(reference: str, number: str) -> str:
    """The number of a date or time, unless it has a month or a day 0."""
    wrong = f"MONTH({reference}) = 0 OR DAYOFMONTH({reference}) = 0"
    return f"CASE WHEN {wrong} THEN CONCAT('?', {reference}) ELSE {number} END"


def _day(column: Column, reference: str) -> str | None:
    return _known(reference, f"TO_DAYS({reference}) - 719528") if column.base == "date" else None


def _moment(column: Column, reference: str) -> str | None:
    if column.base == "date":
        return _known(reference, f"(TO_DAYS({reference}) - 719528) * 86400000000")
    if column.base not in ("datetime", "timestamp"):
        return None
    seconds = f"(TO_SECONDS({reference}) - 62167219200) * 1000000"
    return _known(reference, f"{seconds} + MICROSECOND({reference})")


def _micros(reference: str) -> str:
    """The microseconds of an amount of time, whatever its sign."""
    hours, minutes = f"HOUR({reference}) * 3600000000", f"MINUTE({reference}) * 60000000"
    return f"({hours} + {minutes} + SECOND({reference}) * 1000000 + MICROSECOND({reference}))"


def _span(column: Column, reference: str) -> str | None:
    number = f"CASE WHEN {reference} < '00:00:00' THEN -{_micros(reference)} ELSE {_micros(reference)} END"
    return f"CONCAT('0 0 ', {number})" if column.base == "time" else None


def _clock(column: Column, reference: str) -> str | None:
    if column.base != "time":
        return None
    number = _micros(reference)
    inside = f"{reference} >= '00:00:00' AND {reference} <= '{_DAY}'"
    return f"CASE WHEN {inside} THEN {number} ELSE CONCAT('?', {reference}) END"


def _bytes(column: Column, reference: str) -> str | None:
    if column.base == "uuid":
        return f"REPLACE(CAST({reference} AS CHAR), '-', '')"
    return None if column.base in GEOMETRIES else f"LOWER(HEX({reference}))"


def _uuid(column: Column, reference: str) -> str | None:
    return f"LOWER(CAST({reference} AS CHAR))"


_BY_FORM: Final[dict[Form, Callable[[Column, str], str | None]]] = {
    Form.NUMBER: _number,
    Form.FLOAT: _double,
    Form.DAY: _day,
    Form.MOMENT: _moment,
    Form.CLOCK: _clock,
    Form.SPAN: _span,
    Form.BYTES: _bytes,
    Form.UUID: _uuid,
}


class MysqlSnapshot(Snapshot):
    """A session in one transaction, which is closed with it. Tables of engines without transactions are as they are."""

    def __init__(self, session: Session) -> None:
        self._session = session
        session.run("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")

    def ask(self, sql: str, parameters: Parameters) -> Iterator[Sequence[Sequence[Any]]]:
        session = self._session
        with told(session.config, session.context, "hashing"), session.driver.cursor(SSCursor) as cursor:
            cursor.execute(sql)
            while rows := cursor.fetchmany(_ROWS):
                session.context.check_cancelled()
                yield rows

    def close(self) -> None:
        self._session.close()
