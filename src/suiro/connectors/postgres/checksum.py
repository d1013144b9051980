"""Values as canonical text (see model/canonical) in PostgreSQL's SQL, and the snapshot in which they are hashed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import pyarrow as pa

from suiro.connectors.postgres.session import Session, told
from suiro.connectors.postgres.tables import quote
from suiro.connectors.postgres.types import Column
from suiro.model.canonical import NAN_BITS, Form
from suiro.toolkit.sql.checksum import HashSql, Snapshot, joined_by_function
from suiro.toolkit.sql.source import Parameters

_ROWS: Final = 10_000
_EPOCH: Final = 946_684_800_000_000  #: microseconds from 1970 to 2000, where PostgreSQL counts from
_FAR: Final = "294246-01-01"  #: from here on microseconds since 1970 may not fit a bigint

HASH_SQL: Final = HashSql(
    joined=joined_by_function,
    text=lambda e: f"({e})::text",
    framed=lambda e: f"octet_length({e})::text || ':' || ({e})",
    number=lambda e, digits: f"('x' || substr({e}, 1, {digits}))::bit({digits * 4})::bigint",
)


def canonical(column: Column, field: pa.Field, form: Form) -> str | None:
    """The expression for a column that is read as this field; None where there is none."""
    reference = quote(column.name)
    if form in (Form.TEXT, Form.PADDED):
        return _text(column, field, reference, form)
    found = _BY_BASE.get((form, column.base))
    return None if found is None else found(reference)


def _text(column: Column, field: pa.Field, reference: str, form: Form) -> str | None:
    """The text in which a column travels; concat writes a char(n) whole, which a cast doesn't."""
    if form is Form.PADDED:
        return f"rtrim({reference}::text, ' ')"
    if column.base == "bpchar":
        return f"concat({reference})"
    if column.base in ("text", "varchar"):
        return reference
    if pa.types.is_string(field.type) or isinstance(field.type, pa.BaseExtensionType):
        asked = column.select(reference, field)
        return asked if asked.endswith("::text") else f"{reference}::text"
    return None


def _sent(function: str, reference: str) -> str:
    """What a type's binary form holds, as a bigint."""
    return f"('x' || encode({function}({reference}), 'hex'))::bit(64)::bigint"


def _double(reference: str) -> str:
    double = f"{reference}::float8"
    return f"CASE WHEN {double} = 'NaN' THEN {NAN_BITS} ELSE {_sent('float8send', double)} END"


def _day(reference: str) -> str:
    days = f"({reference} - DATE '1970-01-01')::text"
    return f"CASE WHEN isfinite({reference}) THEN {days} ELSE {reference}::text END"


def _moment(function: str) -> Callable[[str], str]:
    def write(reference: str) -> str:
        near = f"{reference} > '-infinity' AND {reference} < '{_FAR}'"
        number = f"({_sent(function, reference)} + {_EPOCH})::text"
        return f"CASE WHEN {near} THEN {number} ELSE {reference}::text END"

    return write


def _midnight(reference: str) -> str:
    micros = f"(({reference} - DATE '1970-01-01')::bigint * 86400000000)::text"
    return f"CASE WHEN isfinite({reference}) THEN {micros} ELSE {reference}::text END"


def _span(sent: str) -> str:
    """The parts of an interval's binary form: 8 bytes of microseconds, 4 of days, 4 of months."""

    def part(start: int, digits: int, type_: str) -> str:
        return f"('x' || substr({sent}, {start}, {digits}))::bit({digits * 4})::{type_}"

    return f"{part(25, 8, 'int')} || ' ' || {part(17, 8, 'int')} || ' ' || {part(1, 16, 'bigint')}"


_BY_BASE: Final[dict[tuple[Form, str], Callable[[str], str]]] = {
    (Form.NUMBER, "bool"): lambda e: f"{e}::int",
    **dict.fromkeys([(Form.NUMBER, base) for base in ("int2", "int4", "int8", "oid")], lambda e: e),
    (Form.NUMBER, "numeric"): lambda e: f"trim_scale({e})",
    **dict.fromkeys([(Form.FLOAT, base) for base in ("float4", "float8", "int2", "int4", "int8")], _double),
    (Form.DAY, "date"): _day,
    (Form.MOMENT, "date"): _midnight,
    (Form.MOMENT, "timestamp"): _moment("timestamp_send"),
    (Form.MOMENT, "timestamptz"): _moment("timestamptz_send"),
    (Form.CLOCK, "time"): lambda e: _sent("time_send", e),
    (Form.SPAN, "interval"): lambda e: _span(f"encode(interval_send({e}), 'hex')"),
    (Form.BYTES, "bytea"): lambda e: f"encode({e}, 'hex')",
    (Form.BYTES, "uuid"): lambda e: f"replace({e}::text, '-', '')",
    (Form.UUID, "uuid"): lambda e: e,
}


class PostgresSnapshot(Snapshot):
    """A session in one transaction, which is closed with it."""

    def __init__(self, session: Session, config: Any, context: Any) -> None:
        self._session, self._config, self._context = session, config, context

    def ask(self, sql: str, parameters: Parameters) -> Iterator[Sequence[Sequence[Any]]]:
        with told(self._config, self._context, "hashing"), self._session.cursor(name="suiro_hashes") as cursor:
            cursor.execute(sql.encode())
            while rows := cursor.fetchmany(_ROWS):
                self._context.check_cancelled()
                yield rows

    def close(self) -> None:
        self._session.close()
