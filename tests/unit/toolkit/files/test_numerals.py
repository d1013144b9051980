"""Numbers and dates told from their bytes, compared with what regular expressions say."""

from __future__ import annotations

import re

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suiro.toolkit.files.numerals import Numbers, numbers, shaped_like_dates

NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?")
LIKELY = st.from_regex(NUMBER, fullmatch=True)
TEXTS = st.text(alphabet="0019.-+e,x日 ", min_size=1, max_size=8)


def expected(values: list[str]) -> Numbers | None:
    if not all(NUMBER.fullmatch(value) for value in values):
        return None
    parts = [value.removeprefix("-").partition(".") for value in values]
    return Numbers(
        whole=max(len(whole) for whole, _, _ in parts),
        scale=max(len(scale) for _, _, scale in parts),
        digits=max(len(whole) + len(scale) for whole, _, scale in parts),
        pointed=any(point for _, point, _ in parts),
    )


@given(st.lists(LIKELY, min_size=1, max_size=20) | st.lists(LIKELY | TEXTS, min_size=1, max_size=4))
def test_numbers_are_told_as_a_regular_expression_tells_them(values: list[str]) -> None:
    assert numbers(pa.array(values, pa.string())) == expected(values)


@given(st.lists(LIKELY, min_size=3, max_size=20))
def test_numbers_are_told_in_a_slice(values: list[str]) -> None:
    whole = pa.array(["no number", *values, "1.2.3"], pa.string())
    assert numbers(whole.slice(1, len(values))) == expected(values)


@pytest.mark.parametrize(
    "value",
    ["", "-", ".", "-.", ".5", "5.", "1-", "--1", "1.2.3", "01", "-01", "00.5", "+1", "1e5", "1,000", " 1", "１"],
)
def test_what_is_no_plain_number_is_none(value: str) -> None:
    assert numbers(pa.array(["12", value, "3.4"])) is None


@given(st.lists(st.dates().map(str), min_size=1, max_size=9))
def test_dates_have_their_shape(values: list[str]) -> None:
    assert shaped_like_dates(pa.array(values))


@pytest.mark.parametrize("value", ["2024-1-05", "2024/01/05", "2024-01-0x", "2024-01-051", "", "-024-01-05"])
def test_other_texts_have_not(value: str) -> None:
    assert not shaped_like_dates(pa.array(["2024-01-05", value]))
