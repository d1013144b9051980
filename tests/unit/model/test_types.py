"""Types: the common type of two holds the values of both, and logical types are read from fields."""

from __future__ import annotations

import decimal
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from suiro.model.types import common_type, is_text, logical_base, logical_field, logical_type, storage

INTEGERS = [pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()]
FLOATS = [pa.float16(), pa.float32(), pa.float64()]
OTHERS = [
    pa.string(),
    pa.large_string(),
    pa.binary(),
    pa.bool_(),
    pa.date32(),
    pa.time64("us"),
    pa.timestamp("us"),
    pa.timestamp("us", "UTC"),
    pa.json_(pa.string()),
    pa.uuid(),
]
DECIMALS = st.integers(1, 76).flatmap(
    lambda p: st.integers(0, p).map(lambda s: pa.decimal128(p, s) if p <= 38 else pa.decimal256(p, s))
)
TYPES = st.sampled_from([*INTEGERS, *FLOATS, *OTHERS]) | DECIMALS


def extremes(type_: pa.DataType) -> list[Any]:
    """Values at the limits of a number's type, exactly."""
    if pa.types.is_integer(type_):
        signed = pa.types.is_signed_integer(type_)
        top = 2 ** (type_.bit_width - signed) - 1
        return [Decimal(-top - 1 if signed else 0), Decimal(top), Decimal(1)]
    if pa.types.is_decimal(type_):
        return [Decimal((sign, (9,) * type_.precision, -type_.scale)) for sign in (0, 1)]
    digits = {16: 11, 32: 24, 64: 53}[type_.bit_width]
    return [Decimal(2**digits - 1), Decimal(-(2**digits) + 1), Decimal(1) / Decimal(2)]


def holds(type_: pa.DataType, value: Decimal) -> bool:
    """Whether the type has exactly this number."""
    with decimal.localcontext(prec=200):
        if pa.types.is_floating(type_):
            bits = {16: 11, 32: 24, 64: 53}[type_.bit_width]
            top, bottom = value.as_integer_ratio()
            return abs(top) < 2**bits and bottom & (bottom - 1) == 0
        if pa.types.is_integer(type_):
            least, top, _ = extremes(type_)
            return least <= value <= top and value == value.to_integral_value()
        before = type_.precision - type_.scale
        return abs(value) < Decimal(10) ** before and value == round(value, type_.scale)


@given(TYPES, TYPES)
def test_the_order_of_two_types_does_not_matter(one: pa.DataType, other: pa.DataType) -> None:
    assert common_type(one, other) == common_type(other, one)


@given(TYPES)
def test_a_type_holds_itself(one: pa.DataType) -> None:
    assert common_type(one, one) == one


@given(TYPES, TYPES)
def test_the_common_type_is_reached_from_either(one: pa.DataType, other: pa.DataType) -> None:
    both = common_type(one, other)
    assume(both is not None)
    assert common_type(one, both) == both
    assert common_type(other, both) == both


@given(st.sampled_from([*INTEGERS, *FLOATS]) | DECIMALS, st.sampled_from([*INTEGERS, *FLOATS]) | DECIMALS)
def test_the_common_type_of_numbers_holds_the_extremes_of_both(one: pa.DataType, other: pa.DataType) -> None:
    both = common_type(one, other)
    assume(both is not None)
    for value in [*extremes(one), *extremes(other)]:
        assert holds(both, value), f"{both} lacks {value}"


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        (pa.int32(), pa.int64(), pa.int64()),
        (pa.uint32(), pa.int32(), pa.int64()),
        (pa.uint64(), pa.int64(), pa.decimal128(20, 0)),
        (pa.int64(), pa.decimal128(5, 2), pa.decimal128(21, 2)),
        (pa.decimal128(38, 2), pa.decimal128(38, 5), pa.decimal256(41, 5)),
        (pa.decimal256(76, 0), pa.decimal128(2, 1), None),
        (pa.float32(), pa.float64(), pa.float64()),
        (pa.int16(), pa.float32(), pa.float32()),
        (pa.int32(), pa.float32(), pa.float64()),
        (pa.int64(), pa.float64(), None),
        (pa.decimal128(5, 2), pa.float64(), None),
        (pa.string(), pa.large_string(), pa.string()),
        (pa.string(), pa.int64(), None),
        (pa.string(), pa.binary(), None),
        (pa.bool_(), pa.int8(), None),
        (pa.date32(), pa.timestamp("us"), None),
        (pa.timestamp("s"), pa.timestamp("us"), pa.timestamp("us")),
        (pa.timestamp("us", "Asia/Tokyo"), pa.timestamp("us", "UTC"), pa.timestamp("us", "UTC")),
        (pa.timestamp("us"), pa.timestamp("us", "UTC"), None),
    ],
)
def test_common_types(one: pa.DataType, other: pa.DataType, both: pa.DataType | None) -> None:
    assert common_type(one, other) == both


def test_a_logical_type_is_read_with_and_without_its_arguments() -> None:
    field = logical_field("a", pa.string(), "varchar(20)")
    assert (logical_type(field), logical_base(field)) == ("varchar(20)", "varchar")
    assert logical_base(logical_field("a", pa.string(), "numeric(5,2)[]")) == "[]"
    assert logical_type(logical_field("a", pa.string())) is None
    assert logical_base(pa.field("a", pa.string(), metadata={b"other": b"x"})) is None


def test_extension_types_are_seen_through() -> None:
    assert storage(pa.json_(pa.string())) == pa.string()
    assert is_text(pa.json_(pa.large_string()))
    assert not is_text(pa.uuid())
