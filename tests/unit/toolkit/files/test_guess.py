"""Kinds of text: the narrowest type that holds every value exactly."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suiro.toolkit.files.guess import Guess, Kind
from suiro.toolkit.files.settings import FileSettings
from suiro.toolkit.files.texts import convert, guess

PLAIN = FileSettings()


def type_of(*values: str | None, settings: FileSettings = PLAIN) -> pa.DataType:
    return guess(pa.array(values, pa.string()), Kind.NULL, settings).type()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["1", "-5", "", None], pa.int64()),
        (["0123", "5"], pa.string()),
        (["+5"], pa.string()),
        ([" 5"], pa.string()),
        (["1,000"], pa.string()),
        (["9223372036854775807", "-9223372036854775807"], pa.int64()),
        (["9223372036854775808"], pa.decimal128(38, 0)),
        (["1" * 40], pa.decimal256(76, 0)),
        (["1" * 77], pa.string()),
        (["1.50", "2"], pa.decimal128(18, 2)),
        (["1e5", "nan", "-inf"], pa.float64()),
        (["nan", "1.5"], pa.string()),
        (["1e400"], pa.string()),
        (["123456789012345678e1"], pa.string()),
        (["true", "FALSE"], pa.bool_()),
        (["true", "1"], pa.string()),
        (["2024-02-29"], pa.date32()),
        (["2023-02-29"], pa.string()),
        (["2024/2/9", "2024-02-10"], pa.date32()),
        (["0000-01-01"], pa.string()),
        (["23:59:59.5"], pa.time64("us")),
        (["24:00:00"], pa.string()),
        (["2024-02-29 10:00"], pa.timestamp("us")),
        (["2024-02-29T10:00:00.1234567"], pa.string()),
        (["2024-02-29 10:00Z", "2024-02-29T10:00:00+0900"], pa.timestamp("us", "UTC")),
        (["2024-02-29 10:00", "2024-02-29 10:00Z"], pa.string()),
        (["2024-02-29", "2024-02-29 10:00"], pa.string()),
        (["", None], pa.string()),
    ],
)
def test_the_type_of_a_column(values: list[str | None], expected: pa.DataType) -> None:
    assert type_of(*values) == expected


SAMPLES = [
    "1",
    "01",
    "1.5",
    "-2.25",
    "1e3",
    "nan",
    "",
    "x",
    "true",
    "2024-01-01",
    "2024/1/2",
    "10:00:00",
    "9" * 20,
    "9" * 50,
]


@given(st.lists(st.lists(st.none() | st.sampled_from(SAMPLES), max_size=4), max_size=4))
def test_what_is_guessed_from_parts_holds_every_value_and_changes_none(parts: list[list[str | None]]) -> None:
    known = Guess()
    for part in parts:
        known.add(guess(pa.array(part, pa.string()), known.kind, PLAIN))
    for part in parts:
        array = pa.array(part, pa.string())
        found = convert(array, known.type(), PLAIN)
        for text, value in zip(part, found.to_pylist(), strict=True):
            assert _same(text, value), (text, value)


def _same(text: str | None, value: Any) -> bool:
    match value:
        case None:
            return not text
        case str():
            return value == text
        case bool():
            return str(value).lower() == text
        case int() | Decimal():
            return Decimal(str(text)) == value
        case float():
            return repr(float(str(text))) == repr(value)
    return str(text).replace("/1/2", "-01-02") == value.isoformat()


def test_dates_in_formats_of_ones_own_come_before_numbers() -> None:
    settings = FileSettings(date_formats=("%Y%m%d",))
    assert type_of("20240229", settings=settings) == pa.date32()
    assert type_of("20240230", settings=settings) == pa.int64()


def test_numbers_with_a_decimal_comma() -> None:
    settings = FileSettings(decimal_point=",")
    assert type_of("1,5", "-2", settings=settings) == pa.decimal128(18, 1)
    assert type_of("1.5", settings=settings) == pa.string()
    assert convert(pa.array(["1,5"]), pa.decimal128(18, 1), settings).to_pylist() == [Decimal("1.5")]
