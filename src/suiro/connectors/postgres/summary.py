"""Summaries computed inside PostgreSQL: the same figures as `model.summary`, by SQL."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa

from suiro.connectors.postgres.session import Session
from suiro.connectors.postgres.tables import quote
from suiro.model.summary import MODULUS, ColumnSummary, Measure, Summary, has_range, measure_of
from suiro.model.types import MAY_BE_INFINITE, logical_base

_MOST = 500  #: columns in one query; a select list has room for 1,664 expressions
_NAN8 = 0x7FF8000000000000
_NAN4 = 0x7FC00000
_MICROSECONDS = "(date_part('epoch', {}) * 1000000::float8)::bigint"
"""Of a time, or of a timestamp that is _NEAR: a float holds the seconds so well that the microseconds come out exact,
since dividing and multiplying are off by 2^-52 of them, less than half of one up to 2^51. Numerics take twice as long.
"""
_NEAR = "{0} >= '1901-01-01' AND {0} < '2039-01-01'"


def summarise_relation(
    session: Session, from_sql: str, fields: Sequence[pa.Field], *, columns: bool, key: Sequence[str]
) -> Summary:
    """The summary of `SELECT ... FROM <from_sql>`, whose columns have the fields' names and PostgreSQL types."""
    if not columns:
        row = session.execute(f"SELECT count(*) FROM {from_sql}".encode()).fetchone()
        return Summary(rows=int(row[0]) if row else 0, columns={})
    total: dict[str, ColumnSummary] = {}
    rows = 0
    for start in range(0, max(len(fields), 1), _MOST):
        part = fields[start : start + _MOST]
        answer = _asked(session, from_sql, part, key, nan=False)
        if any(isinstance(value, Decimal) and value.is_nan() for value in answer):
            answer = _asked(session, from_sql, part, key, nan=True)
        rows = int(answer[0])
        values = iter(answer[1:])
        for field in part:
            total[field.name] = _read(field, [next(values) for _ in _expressions(field, field.name in key)])
    return Summary(rows=rows, columns=total)


def _asked(
    session: Session, from_sql: str, fields: Sequence[pa.Field], key: Sequence[str], *, nan: bool
) -> tuple[Any, ...]:
    """The row of figures. `nan`: where a column holds NaN; to look for it in every row takes a tenth of the time."""
    asked = ", ".join(["count(*)", *(e for field in fields for e in _expressions(field, field.name in key, nan=nan))])
    answer = session.execute(f"SELECT {asked} FROM {from_sql}".encode()).fetchone()
    assert answer is not None
    return answer


def _expressions(field: pa.Field, ranged: bool, *, nan: bool = True) -> list[str]:
    column = quote(field.name)
    asked = [f"count({column})"]
    total = _total(field, column, nan=nan)
    if total is not None:
        asked.append(total)
    if ranged and has_range(field):
        number = _number(field, column)
        asked += [f"min({number}){_finite(field, column)}", f"max({number}){_finite(field, column)}"]
    return asked


def _total(field: pa.Field, column: str, *, nan: bool) -> str | None:
    type_ = field.type
    match measure_of(field):
        case None:
            return None
        case Measure.TRUES:
            return f"count(*) FILTER (WHERE {column})"
        case Measure.BYTES:
            return f"sum(octet_length({column}))"
        case Measure.BITS if type_.bit_width == 64:
            bits = f"('x' || encode(float8send({column}), 'hex'))::bit(64)::bigint"
            return f"sum(CASE WHEN {column} = 'NaN' THEN {_NAN8} ELSE {bits} END)"
        case Measure.BITS:
            bits = f"('x' || encode(float4send({column}), 'hex'))::bit(32)::int"
            return f"sum(CASE WHEN {column} = 'NaN' THEN {_NAN4} ELSE {bits} END)"
        case Measure.SUM if pa.types.is_decimal(type_):
            numbers = f" FILTER (WHERE {column} <> 'NaN')" if nan else ""
            return f"sum({column}){numbers} * {10**type_.scale}"
        case Measure.SUM if pa.types.is_time64(type_):
            return f"sum({_MICROSECONDS.format(column)})"
        case Measure.SUM if pa.types.is_timestamp(type_):
            near = _NEAR.format(column)
            far = f"isfinite({column}) AND NOT ({near})"
            return (
                f"coalesce(sum({_MICROSECONDS.format(column)}) FILTER (WHERE {near}), 0) + "
                f"coalesce(sum({_number(field, column)}) FILTER (WHERE {far}), 0)"
            )
        case Measure.SUM:
            return f"sum({_number(field, column)}){_finite(field, column)}"


def _number(field: pa.Field, column: str) -> str:
    type_ = field.type
    if pa.types.is_date32(type_):
        return f"({column} - DATE '1970-01-01')"
    if pa.types.is_timestamp(type_) or pa.types.is_time64(type_):
        return f"(extract(epoch FROM {column}) * 1000000)"  # numeric: the years past 294246 overflow a bigint
    if pa.types.is_int64(type_):
        return f"{column}::bigint"  # the source may have an oid
    return column


def _finite(field: pa.Field, column: str) -> str:
    return f" FILTER (WHERE isfinite({column}))" if logical_base(field) in MAY_BE_INFINITE else ""


def _read(field: pa.Field, values: list[object]) -> ColumnSummary:
    measure = measure_of(field)
    numbers = [None if value is None else int(Decimal(str(value))) for value in values]
    least, greatest = (numbers[-2], numbers[-1]) if len(numbers) > (1 if measure is None else 2) else (None, None)
    total = 0 if measure is None else (numbers[1] or 0) % MODULUS
    return ColumnSummary(values=numbers[0] or 0, measure=measure, total=total, least=least, greatest=greatest)
