"""Values as canonical text (see model/canonical) in DuckDB's SQL, and the snapshot in which they are hashed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import duckdb
import pyarrow as pa

from suiro.connectors.duckdb.session import DIALECT, told
from suiro.connectors.duckdb.values import read_as
from suiro.model.canonical import NAN_BITS, Form
from suiro.model.types import is_bytes, is_text, logical_base
from suiro.spi.context import Context
from suiro.toolkit.sql.checksum import HashSql, Snapshot, joined_by_function
from suiro.toolkit.sql.source import Parameters

_ROWS: Final = 10_000

HASH_SQL: Final = HashSql(
    joined=lambda texts: joined_by_function(texts, most=1000),
    text=lambda e: f"CAST({e} AS VARCHAR)",
    framed=lambda e: f"strlen({e}) || ':' || {e}",
    number=lambda e, digits: f"CAST('0x' || substr({e}, 1, {digits}) AS BIGINT)",
)


def canonical(field: pa.Field, form: Form) -> str | None:
    """The expression for a column that is read as this field; None where there is none."""
    quoted, type_ = DIALECT.quote(field.name), field.type
    if form in (Form.TEXT, Form.PADDED):
        readable = is_text(type_) or type_ == pa.uuid()
        text = f"CAST({read_as(field, quoted)} AS VARCHAR)"
        return None if not readable else f"rtrim({text}, ' ')" if form is Form.PADDED else text
    if is_text(type_):
        return _span(quoted) if form is Form.SPAN and logical_base(field) == "interval" else None
    found = _BY_FORM.get(form)
    return None if found is None else found(type_, quoted)


def _number(type_: pa.DataType, quoted: str) -> str | None:
    if pa.types.is_boolean(type_):
        return f"CAST({quoted} AS TINYINT)"
    if pa.types.is_integer(type_):
        return quoted
    if not pa.types.is_decimal(type_):
        return None
    text = f"CAST({quoted} AS VARCHAR)"
    if not type_.scale:
        return text
    if type_.scale == type_.precision:
        text = f"regexp_replace({text}, '^(-?)[.]', '\\10.')"  # DuckDB writes .5
    return f"rtrim(rtrim({text}, '0'), '.')"


def _double(type_: pa.DataType, quoted: str) -> str | None:
    if not (pa.types.is_floating(type_) or pa.types.is_integer(type_)):
        return None
    double = f"CAST({quoted} AS DOUBLE)"
    return f"CASE WHEN isnan({double}) THEN {NAN_BITS} ELSE CAST(CAST({double} AS BIT) AS BIGINT) END"


def _finite(quoted: str, number: str) -> str:
    return f"CASE WHEN isfinite({quoted}) THEN CAST({number} AS VARCHAR) ELSE CAST({quoted} AS VARCHAR) END"


def _day(type_: pa.DataType, quoted: str) -> str | None:
    return _finite(quoted, f"{quoted} - DATE '1970-01-01'") if pa.types.is_date(type_) else None


def _moment(type_: pa.DataType, quoted: str) -> str | None:
    if pa.types.is_date(type_):
        return _finite(quoted, f"CAST({quoted} - DATE '1970-01-01' AS HUGEINT) * 86400000000")
    if not pa.types.is_timestamp(type_):
        return None
    moment = f"CAST({quoted} AS TIMESTAMP{' WITH TIME ZONE' if type_.tz else ''})"
    return _finite(moment, f"epoch_us({moment})")


def _clock(type_: pa.DataType, quoted: str) -> str | None:
    return f"epoch_us({quoted})" if pa.types.is_time(type_) else None


def _span(quoted: str) -> str:
    months = f"datepart('year', {quoted}) * 12 + datepart('month', {quoted})"
    minutes = f"(datepart('hour', {quoted}) * 60 + datepart('minute', {quoted})) * 60000000"
    parts = (months, f"datepart('day', {quoted})", f"{minutes} + datepart('microsecond', {quoted})")
    return " || ' ' || ".join(f"CAST({part} AS VARCHAR)" for part in parts)


def _bytes(type_: pa.DataType, quoted: str) -> str | None:
    if type_ == pa.uuid():
        return f"replace(CAST({quoted} AS VARCHAR), '-', '')"
    return f"lower(hex({quoted}))" if is_bytes(type_) or pa.types.is_fixed_size_binary(type_) else None


def _uuid(type_: pa.DataType, quoted: str) -> str | None:
    return quoted if type_ == pa.uuid() else None


_BY_FORM: Final[dict[Form, Callable[[pa.DataType, str], str | None]]] = {
    Form.NUMBER: _number,
    Form.FLOAT: _double,
    Form.DAY: _day,
    Form.MOMENT: _moment,
    Form.CLOCK: _clock,
    Form.BYTES: _bytes,
    Form.UUID: _uuid,
}


class DuckdbSnapshot(Snapshot):
    """A connection in one transaction, which is closed with it; no other process can write to the file until then."""

    def __init__(self, db: duckdb.DuckDBPyConnection, file: Path, context: Context) -> None:
        self._db, self._file, self._context = db, file, context
        self._take_back = context.on_cancel(db.interrupt)
        with told(file, context):
            db.execute("BEGIN TRANSACTION")

    def ask(self, sql: str, parameters: Parameters) -> Iterator[Sequence[Sequence[Any]]]:
        with told(self._file, self._context):
            found = self._db.execute(sql, list(parameters))
            while rows := found.fetchmany(_ROWS):
                self._context.check_cancelled()
                yield rows

    def close(self) -> None:
        self._take_back()
        self._db.close()
