"""Fitting a table that stays as it is: casts change no value, and all that doesn't fit is said at once."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suiro.engine.fit import exactly_cast, fitted_table, misfits
from suiro.model.errors import SchemaConflict
from suiro.model.schema import Table
from suiro.model.types import logical_field


@pytest.mark.parametrize(
    ("value", "type_", "to", "fits"),
    [
        (Decimal("2.00"), pa.decimal128(12, 2), pa.int32(), True),
        (Decimal("2.50"), pa.decimal128(12, 2), pa.int32(), False),
        (Decimal("1.250"), pa.decimal128(12, 3), pa.decimal128(5, 2), True),
        (Decimal("1.255"), pa.decimal128(12, 3), pa.decimal128(5, 2), False),
        (Decimal("10.00"), pa.decimal128(12, 2), pa.int64(), True),
        (123456, pa.int64(), pa.decimal128(5, 0), False),
        (12345, pa.int64(), pa.decimal128(5, 0), True),
        (2**31, pa.int64(), pa.int32(), False),
        (0.5, pa.float64(), pa.float32(), True),
        (0.1, pa.float64(), pa.float32(), False),
        (2**53 + 1, pa.int64(), pa.float64(), False),
        (2.0, pa.float64(), pa.int16(), True),
        (2.5, pa.float64(), pa.int16(), False),
        (datetime(2024, 1, 1), pa.timestamp("us"), pa.date32(), True),  # noqa: DTZ001
        (datetime(2024, 1, 1, 1), pa.timestamp("us"), pa.date32(), False),  # noqa: DTZ001
        ("7", pa.string(), pa.int32(), True),
        ("007", pa.string(), pa.int32(), False),
        (None, pa.float64(), pa.float32(), True),
        (float("nan"), pa.float64(), pa.float32(), True),
    ],
)
def test_a_cast_is_exact_or_refused(value: Any, type_: pa.DataType, to: pa.DataType, fits: bool) -> None:
    array = pa.array([value, None], type_)
    if fits:
        assert str(exactly_cast(exactly_cast(array, to), type_).to_pylist()) == str(array.to_pylist())
    else:
        with pytest.raises(pa.ArrowInvalid):
            exactly_cast(array, to)


@given(st.lists(st.decimals(-(10**9), 10**9, places=3), max_size=5), st.sampled_from([0, 1, 2]))
def test_a_decimal_is_never_rounded(values: list[Decimal], scale: int) -> None:
    array = pa.array(values, pa.decimal128(20, 3))
    try:
        found = exactly_cast(array, pa.decimal128(15, scale))
    except pa.ArrowInvalid:
        assert any(value != round(value, scale) for value in values)
    else:
        assert found.to_pylist() == values


INCOMING = pa.schema(
    [
        pa.field("id", pa.int64()),
        logical_field("name", pa.string(), "varchar(50)"),
        pa.field("extra", pa.int32()),
        pa.field("at", pa.timestamp("us", "UTC")),
        pa.field("total", pa.decimal128(12, 2)),
        pa.field("made", pa.int32()),
    ]
)


def test_everything_that_doesn_t_fit_is_said_at_once() -> None:
    current = Table(
        name="t",
        schema=pa.schema(
            [
                pa.field("id", pa.int32()),
                logical_field("name", pa.string(), "varchar(20)"),
                pa.field("Extra", pa.int32()),
                pa.field("at", pa.date32()),
                pa.field("total", pa.int32()),
            ]
        ),
        required=frozenset({"id", "country"}),
        generated=frozenset({"made"}),
    )
    said = misfits("t", INCOMING, current)
    assert [next(w for w in ("name", "extra", "at", "made", "country") if f"olumn {w}" in s) for s in said] == [
        "name",
        "extra",
        "at",
        "made",
        "country",
    ]
    assert "truncate:20" in said[0] and "Extra" in said[1]
    with pytest.raises(SchemaConflict) as refused:
        fitted_table("t", INCOMING, (), current)
    assert all(sentence in refused.value.message for sentence in said)
    assert misfits("t", INCOMING, None) == ["There is no table t."]


def test_a_table_that_fits_is_staged_in_its_own_types_and_without_its_other_columns() -> None:
    incoming = pa.schema([("id", pa.int64()), ("note", pa.string()), ("total", pa.decimal128(12, 2))])
    schema = pa.schema(
        [
            pa.field("total", pa.int32()),
            pa.field("id", pa.int32()),
            logical_field("note", pa.string(), "varchar(20)"),
            pa.field("more", pa.int32()),
        ]
    )
    table = fitted_table("t", incoming, ("id",), Table(name="t", schema=schema))
    assert table.schema.equals(pa.schema([schema.field(n) for n in ("id", "note", "total")]), check_metadata=True)
    assert table.primary_key == ("id",)
