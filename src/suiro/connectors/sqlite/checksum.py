"""Values as canonical text (see model/canonical) in SQLite's SQL, with functions that SQLite lacks, and a snapshot."""

from __future__ import annotations

import hashlib
import sqlite3
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from suiro.connectors.sqlite.session import DIALECT, told
from suiro.connectors.sqlite.values import MIXED, decode
from suiro.model.canonical import Form
from suiro.model.errors import DataError
from suiro.model.types import DATE_INFINITY, TIMESTAMP_INFINITY, is_bytes, is_text, logical_base
from suiro.spi.context import Context
from suiro.toolkit.sql.checksum import HashSql, Snapshot, joined_by_operator
from suiro.toolkit.sql.source import Parameters

_ROWS: Final = 10_000
_HALF: Final = 30  #: bits; sums of halves of a hash's number fit an integer

HASH_SQL: Final = HashSql(
    joined=joined_by_operator,
    text=lambda e: f"CAST({e} AS TEXT)",
    framed=lambda e: f"length(CAST({e} AS BLOB)) || ':' || {e}",
    number=lambda e, digits: f"suiro_number({e}, {digits})",
    md5=lambda text: f"suiro_md5({text})",
    fence=" LIMIT -1 OFFSET 0",
    totals=lambda number: [(f"sum({number} >> {_HALF})", 1 << _HALF), (f"sum({number} & {(1 << _HALF) - 1})", 1)],
)


def canonical(field: pa.Field, form: Form) -> str | None:
    """The expression for a column that is read as this field; None where there is none."""
    if (field.metadata or {}).get(MIXED):
        return None
    quoted, type_ = DIALECT.quote(field.name), field.type
    if form in (Form.TEXT, Form.PADDED):
        text = quoted if is_text(type_) else f"lower({quoted})" if type_ == pa.uuid() else None
        return text if text is None or form is Form.TEXT else f"rtrim({text}, ' ')"
    if is_text(type_) and not (form is Form.NUMBER and logical_base(field) == "numeric"):
        return None
    found = _BY_FORM.get(form)
    return None if found is None else found(type_, quoted)


def _number(type_: pa.DataType, quoted: str) -> str | None:
    if pa.types.is_boolean(type_) or pa.types.is_integer(type_):
        return quoted
    if not (pa.types.is_decimal(type_) or is_text(type_)):
        return None
    return f"CASE WHEN instr({quoted}, '.') THEN rtrim(rtrim({quoted}, '0'), '.') ELSE {quoted} END"


def _double(type_: pa.DataType, quoted: str) -> str | None:
    single = ", 1" if type_ in (pa.float16(), pa.float32()) else ""
    known = pa.types.is_floating(type_) or pa.types.is_integer(type_)
    return f"suiro_bits({quoted}{single})" if known else None


# Dates and times of the usual form are counted by SQLite, which is fast; the functions know all others.


def _day(type_: pa.DataType, quoted: str) -> str | None:
    days = f"CAST(strftime('%s', {quoted}) AS INTEGER) / 86400"
    known = pa.types.is_date(type_)
    return f"CASE WHEN date({quoted}) = {quoted} THEN {days} ELSE suiro_day({quoted}) END" if known else None


def _moment(type_: pa.DataType, quoted: str) -> str | None:
    if pa.types.is_date(type_):
        micros = f"CAST(strftime('%s', {quoted}) AS INTEGER) * 1000000"
        return f"CASE WHEN date({quoted}) = {quoted} THEN {micros} ELSE suiro_midnight({quoted}) END"
    if not pa.types.is_timestamp(type_):
        return None
    second = f"substr({quoted}, 1, 19)"
    digits = "[0-9]" * 6
    usual = f"datetime({second}) = {second} AND substr({quoted}, 20) GLOB '.{digits}{'+00:00' if type_.tz else ''}'"
    number = f"CAST(strftime('%s', {second}) AS INTEGER) * 1000000 + CAST(substr({quoted}, 21, 6) AS INTEGER)"
    zoned = ", 1" if type_.tz else ""
    return f"CASE WHEN {usual} THEN {number} ELSE suiro_moment({quoted}{zoned}) END"


def _clock(type_: pa.DataType, quoted: str) -> str | None:
    if not pa.types.is_time(type_):
        return None
    second, digits = f"substr({quoted}, 1, 8)", "[0-9]" * 6
    usual = f"time({second}) = {second} AND substr({quoted}, 9) GLOB '.{digits}'"
    seconds = f"CAST(strftime('%s', '1970-01-01 ' || {second}) AS INTEGER)"
    number = f"{seconds} * 1000000 + CAST(substr({quoted}, 10, 6) AS INTEGER)"
    return f"CASE WHEN {usual} THEN {number} ELSE suiro_clock({quoted}) END"


def _bytes(type_: pa.DataType, quoted: str) -> str | None:
    if type_ == pa.uuid():
        return f"replace(lower({quoted}), '-', '')"
    known = is_bytes(type_) or pa.types.is_fixed_size_binary(type_)
    return f"CASE WHEN {quoted} IS NOT NULL THEN lower(hex({quoted})) END" if known else None


def _uuid(type_: pa.DataType, quoted: str) -> str | None:
    return f"lower({quoted})" if type_ == pa.uuid() else None


_BY_FORM: Final[dict[Form, Callable[[pa.DataType, str], str | None]]] = {
    Form.NUMBER: _number,
    Form.FLOAT: _double,
    Form.DAY: _day,
    Form.MOMENT: _moment,
    Form.CLOCK: _clock,
    Form.BYTES: _bytes,
    Form.UUID: _uuid,
}

# -- functions ---------------------------------------------------------------------------------------------------------


def add_functions(db: sqlite3.Connection) -> None:
    """Give a connection the functions that the expressions call."""
    for name, arguments, function in (
        ("suiro_md5", 1, _md5),
        ("suiro_number", 2, lambda digits, most: int(digits[:most], 16)),
        ("suiro_bits", -1, _bits),
        ("suiro_day", 1, lambda text: _counted(text, pa.date32())),
        ("suiro_midnight", 1, _midnight),
        ("suiro_moment", -1, lambda text, zoned=0: _counted(text, pa.timestamp("us", "UTC" if zoned else None))),
        ("suiro_clock", 1, lambda text: _counted(text, pa.time64("us"))),
    ):
        db.create_function(name, arguments, function, deterministic=True)


def _md5(text: str | bytes) -> str:
    return hashlib.md5(text if isinstance(text, bytes) else text.encode(), usedforsecurity=False).hexdigest()


def _bits(value: float | None, single: int = 0) -> int | None:
    if value is None:
        return None
    double = struct.unpack("<f", struct.pack("<f", value))[0] if single else float(value)
    found: int = struct.unpack("<q", struct.pack("<d", double))[0]
    return found


def _counted(text: str | None, type_: pa.DataType) -> int | str | None:
    """A date or time as the number that Arrow keeps; what is none, with a `?` before it, so that it equals no value."""
    if text is None:
        return None
    try:
        array = decode([text], pa.field("", type_))
    except DataError:
        return f"?{text}"
    number = int(array.view(pa.int32() if type_.bit_width == 32 else pa.int64())[0].as_py())
    return text if abs(number) in (DATE_INFINITY, TIMESTAMP_INFINITY) and text.endswith("infinity") else number


def _midnight(text: str | None) -> int | str | None:
    day = _counted(text, pa.date32())
    return str(day * 86_400_000_000) if isinstance(day, int) else day


class SqliteSnapshot(Snapshot):
    """A connection in one read transaction, which is closed with it."""

    def __init__(self, db: sqlite3.Connection, file: Path, context: Context) -> None:
        self._db, self._file, self._context = db, file, context
        self._take_back = context.on_cancel(db.interrupt)
        with told(file, context):
            db.execute("BEGIN")

    def ask(self, sql: str, parameters: Parameters) -> Iterator[Sequence[Sequence[Any]]]:
        with told(self._file, self._context), closing(self._db.execute(sql, parameters)) as cursor:
            while rows := cursor.fetchmany(_ROWS):
                self._context.check_cancelled()
                yield rows

    def close(self) -> None:
        self._take_back()
        self._db.close()
