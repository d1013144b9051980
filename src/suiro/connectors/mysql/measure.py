"""Summaries of staged rows, with the same figures as `model.summary`, by SQL: exact for every type that has one."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import pyarrow as pa

from suiro.connectors.mysql.session import Session
from suiro.connectors.mysql.standing import quote
from suiro.model.summary import MODULUS, ColumnSummary, Measure, Summary, has_range, measure_of

_MOST = 200  #: columns in one query
_SUMMED = 38  #: digits of a decimal whose sum has room in DECIMAL(65)
_SMALLEST_NORMAL_FLOAT = "1.1754943508222875e-38"


def measure(session: Session, table: str, fields: Sequence[pa.Field], *, columns: bool, key: Sequence[str]) -> Summary:
    """The summary of a table named in SQL, whose columns were made for these fields."""
    if not columns:
        ((rows,),) = session.ask(f"SELECT COUNT(*) FROM {table}")
        return Summary(rows=int(rows), columns={})
    total: dict[str, ColumnSummary] = {}
    rows = 0
    for start in range(0, len(fields), _MOST):
        part = fields[start : start + _MOST]
        asked = ["COUNT(*)", *(e for field in part for e in _expressions(field, field.name in key))]
        (answer,) = session.ask(f"SELECT {', '.join(asked)} FROM {table}", doing="adding up what was staged")
        rows, values = int(answer[0]), iter(answer[1:])
        for field in part:
            total[field.name] = _read(field, [next(values) for _ in _expressions(field, field.name in key)])
    return Summary(rows=rows, columns=total)


def _expressions(field: pa.Field, ranged: bool) -> list[str]:
    column = quote(field.name)
    asked = [f"COUNT({column})"]
    total = _total(field, column)
    if total is not None:
        asked.append(f"SUM({total})")
    if ranged and has_range(field):
        number = _number(field, column)
        asked += [f"MIN({number})", f"MAX({number})"]
    return asked


def _total(field: pa.Field, column: str) -> str | None:
    """What is added up; SUM of integers and decimals is an exact decimal."""
    type_ = field.type
    match measure_of(field):
        case None:
            return None
        case Measure.TRUES:
            return f"{column} <> 0"
        case Measure.BYTES:
            return f"LENGTH({column})"
        case Measure.BITS:
            return double_bits(column) if type_.bit_width == 64 else _float_bits(column)
        case Measure.SUM if pa.types.is_decimal(type_):
            return _unscaled(type_, column)
        case Measure.SUM:
            return _number(field, column)


def double_bits(column: str) -> str:
    """The bits of a double, as an unsigned number: a point's well-known binary form holds them, low byte first."""
    return f"CAST(CONV(HEX(REVERSE(SUBSTR(ST_AsWKB(POINT({column}, 0)), 6, 8))), 16, 10) AS UNSIGNED)"


def _float_bits(column: str) -> str:
    """The bits of a float, made of those of the double that equals it, as a signed number; less 2^31 when negative."""
    bits = double_bits(column)
    small = f"CAST(ABS({column}) * POW(2, 149) AS SIGNED)"
    normal = f"CAST((({bits} >> 52 & 2047) - 896 << 23) + ({bits} >> 29 & 8388607) AS SIGNED)"
    sign = f"CASE WHEN {column} < 0 THEN 2147483648 ELSE 0 END"
    return f"CASE WHEN ABS({column}) < {_SMALLEST_NORMAL_FLOAT} THEN {small} ELSE {normal} END - {sign}"


def _unscaled(type_: pa.DataType, column: str) -> str:
    """A decimal; without its point and modulo 2^64 where a sum could have more than 65 digits."""
    if type_.scale < 0:
        column = f"{column} DIV {10**-type_.scale}"
    if type_.precision <= _SUMMED:
        return column
    whole = f"CAST(REPLACE({column}, '.', '') AS DECIMAL(65,0))" if type_.scale > 0 else column
    return f"MOD({whole}, {MODULUS})"


def _number(field: pa.Field, column: str) -> str:
    type_ = field.type
    if pa.types.is_date32(type_):
        return f"TO_DAYS({column}) - 719528"
    if pa.types.is_timestamp(type_):
        return f"(TO_SECONDS({column}) - 62167219200) * 1000000 + MICROSECOND({column})"
    if pa.types.is_time64(type_):
        hours, minutes = f"HOUR({column}) * 3600000000", f"MINUTE({column}) * 60000000"
        return f"{hours} + {minutes} + SECOND({column}) * 1000000 + MICROSECOND({column})"
    return column


def _read(field: pa.Field, values: list[object]) -> ColumnSummary:
    measured = measure_of(field)
    numbers = [None if value is None else _whole(value) for value in values]
    least, greatest = (numbers[-2], numbers[-1]) if len(numbers) > (1 if measured is None else 2) else (None, None)
    total = 0 if measured is None else (numbers[1] or 0) % MODULUS
    return ColumnSummary(values=numbers[0] or 0, measure=measured, total=total, least=least, greatest=greatest)


def _whole(value: object) -> int:
    """A number without its point, which only sums of decimals have: their scale says where it stands."""
    return int((format(value, "f") if isinstance(value, Decimal) else str(value)).replace(".", ""))
