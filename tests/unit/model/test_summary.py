"""Summaries: independent of order and division, exact for every value, and sensitive to any change."""

from __future__ import annotations

import math
import struct
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from suiro.model.summary import EMPTY, MODULUS, ColumnSummary, Measure, Summary, measure_of, summarise, summarise_batch
from suiro.model.types import DATE_INFINITY, TIMESTAMP_INFINITY, logical_field
from suiro.testing.samples import LOGICAL, PLAIN

SCHEMA = pa.schema(
    [
        ("int8", pa.int8()),
        ("int64", pa.int64()),
        ("uint64", pa.uint64()),
        ("decimal", pa.decimal128(38, 4)),
        ("wide", pa.decimal256(60, 4)),
        ("float", pa.float64()),
        ("bool", pa.bool_()),
        ("text", pa.string()),
        ("bytes", pa.binary()),
        ("at", pa.timestamp("us", "UTC")),
        ("day", pa.date32()),
    ]
)
ROWS = st.lists(
    st.tuples(
        st.none() | st.integers(-128, 127),
        st.none() | st.integers(-(2**63), 2**63 - 1),
        st.none() | st.integers(0, 2**64 - 1),
        st.none() | st.integers(-(10**38) + 1, 10**38 - 1),
        st.none() | st.integers(-(10**60) + 1, 10**60 - 1),
        st.none() | st.floats(),
        st.none() | st.booleans(),
        st.none() | st.text(max_size=5),
        st.none() | st.binary(max_size=5),
        st.none() | st.integers(-(2**62), 2**62),
        st.none() | st.integers(-700_000, 2_900_000),
    ),
    max_size=12,
)


def table_of(rows: list[tuple[Any, ...]]) -> pa.Table:
    columns = []
    for i, field in enumerate(SCHEMA):
        values = [row[i] for row in rows]
        if pa.types.is_decimal(field.type):
            values = [None if v is None else Decimal((v < 0, tuple(map(int, str(abs(v)))), -4)) for v in values]
        columns.append(pa.array(values, field.type))
    return pa.table(columns, schema=SCHEMA)


def bits(value: float) -> int:
    found: int = struct.unpack(">q", struct.pack(">d", math.nan if math.isnan(value) else value))[0]
    return found


def total(values: list[int]) -> int:
    return sum(values) % MODULUS


@given(ROWS)
def test_totals_are_what_python_adds_up(rows: list[tuple[Any, ...]]) -> None:
    found = summarise(table_of(rows).to_batches(), key=("int64", "at", "day"))
    assert found.rows == len(rows)
    ways = {"float": bits, "text": lambda v: len(v.encode()), "bytes": len, "bool": int}
    for i, field in enumerate(SCHEMA):
        values = [row[i] for row in rows if row[i] is not None]
        if not rows:
            assert field.name not in found.columns or found.columns[field.name].values == 0
            continue
        column = found.columns[field.name]
        assert column.values == len(values)
        assert column.total == total([int(ways.get(field.name, int)(v)) for v in values]), field.name
        ranged = field.name in ("int64", "at", "day") and values
        assert (column.least, column.greatest) == ((min(values), max(values)) if ranged else (None, None))


@given(ROWS, st.integers(0, 12), st.randoms())
def test_summaries_depend_on_neither_order_nor_division(rows: list[tuple[Any, ...]], at: int, chance: Any) -> None:
    whole = summarise(table_of(rows).to_batches(), key=("int64",))
    mixed = list(rows)
    chance.shuffle(mixed)
    parts = [table_of(mixed[:at]), table_of(mixed[at:])]
    both = summarise(parts[1].to_batches(), key=("int64",)) + summarise(parts[0].to_batches(), key=("int64",))
    assert whole.differences(both) == both.differences(whole) == ()
    assert whole == both


@given(ROWS, st.integers(0, 11), st.integers(0, 10))
def test_a_slice_of_a_batch_is_summed_up_by_itself(rows: list[tuple[Any, ...]], start: int, length: int) -> None:
    batches = table_of(rows).combine_chunks().to_batches()
    assume(batches)
    sliced = batches[0].slice(start, length)
    assert summarise([sliced]) == summarise(table_of(rows[start : start + length]).to_batches() or [sliced])


@given(ROWS, ROWS)
def test_a_changed_total_or_number_of_values_is_a_difference(
    rows: list[tuple[Any, ...]], others: list[tuple[Any, ...]]
) -> None:
    one, other = (summarise(table_of(r).to_batches()) for r in (rows, others))
    if one.rows != other.rows:
        assert any(said.startswith("rows: ") for said in one.differences(other))
    for name in one.columns.keys() & other.columns.keys():
        mine, theirs = one.columns[name], other.columns[name]
        differs = mine.values != theirs.values or mine.total != theirs.total
        assert any(said.startswith(f"{name}: ") for said in one.differences(other)) == differs


def test_what_one_side_did_not_measure_is_passed_over() -> None:
    mine = ColumnSummary(values=2, measure=Measure.SUM, total=5, least=1, greatest=4)
    other = {"a": ColumnSummary(values=2)}
    assert Summary(rows=2, columns={"a": mine, "b": mine}).differences(Summary(rows=2, columns=other)) == ()
    bytes_ = ColumnSummary(values=2, measure=Measure.BYTES, total=9)
    assert Summary(rows=2, columns={"a": mine}).differences(Summary(rows=2, columns={"a": bytes_})) == ()


def test_ranges_that_differ_are_told_when_totals_agree() -> None:
    one, other = (
        ColumnSummary(values=2, measure=Measure.SUM, total=10, least=least, greatest=10 - least) for least in (4, 3)
    )
    said = Summary(rows=2, columns={"id": one}).differences(Summary(rows=2, columns={"id": other}))
    assert said == ("id: the ranges differ",)


def test_the_two_zeros_are_told_apart_and_all_nan_are_one() -> None:
    one, other = (summarise([pa.record_batch({"a": pa.array([v])})]) for v in (0.0, -0.0))
    assert one.differences(other) == ("a: the bits differ",)
    for kind in (pa.float32(), pa.float64()):
        quiet = np.array([0x7FC00000, 0xFFC00000, 0x7FC00001], np.uint32).view(np.float32)
        payloads = quiet.astype(kind.to_pandas_dtype())
        sums = [summarise([pa.record_batch({"a": pa.array([nan], kind)})]) for nan in payloads]
        assert sums[0] == sums[1] == sums[2]
        assert sums[0].columns["a"].values == 1


def test_infinite_dates_count_but_are_not_added() -> None:
    for name, type_, endless in [
        ("date", pa.date32(), DATE_INFINITY),
        ("timestamptz", pa.timestamp("us", "UTC"), TIMESTAMP_INFINITY),
    ]:
        field = logical_field("a", type_, name)
        batch = pa.record_batch([pa.array([endless, -endless, 5, None], type_)], schema=pa.schema([field]))
        column = summarise_batch(batch, key=("a",)).columns["a"]
        assert (column.values, column.total, column.least, column.greatest) == (3, 5, 5, 5)


def test_a_plain_date_at_the_sentinel_is_added() -> None:
    batch = pa.record_batch({"a": pa.array([DATE_INFINITY], pa.date32())})
    assert summarise_batch(batch).columns["a"].total == DATE_INFINITY


def test_moments_are_the_same_in_every_time_zone() -> None:
    moment = [datetime(2024, 2, 29, 12, tzinfo=UTC)]
    one, other = (
        summarise([pa.record_batch({"a": pa.array(moment, pa.timestamp("us", zone))})])
        for zone in ("UTC", "Asia/Tokyo")
    )
    assert one == other


@pytest.mark.parametrize("name", [*PLAIN, *LOGICAL])
def test_every_type_is_summed_up_or_counted(name: str) -> None:
    sample = PLAIN.get(name) or LOGICAL[name]
    column = sample.column()
    found = summarise([pa.record_batch([column], schema=pa.schema([sample.field]))]).columns[sample.field.name]
    assert found.values == len(column) - column.null_count
    assert found.measure == measure_of(sample.field)


@pytest.mark.parametrize(
    ("type_", "values", "total"),
    [
        (pa.string_view(), ["ab", None, "a long text that no view holds inside itself"], 46),
        (pa.binary_view(), [b"ab", None], 2),
        (pa.decimal32(9, 2), [Decimal("1.25"), None, Decimal("-0.25")], 100),
        (pa.decimal64(18, 2), [Decimal("1.25"), None], 125),
    ],
)
def test_types_that_arrow_can_add_up_no_other_way(type_: pa.DataType, values: list[Any], total: int) -> None:
    found = summarise([pa.record_batch({"a": pa.array(values, type_)})]).columns["a"]
    assert (found.values, found.total) == (sum(value is not None for value in values), total)


def test_nothing_adds_nothing() -> None:
    some = summarise([pa.record_batch({"a": pa.array([1, 2])})])
    assert EMPTY + some == some + EMPTY == some
    assert summarise([]) == EMPTY
    assert summarise([pa.record_batch({"a": pa.array([1, 2])})], columns=False) == Summary(rows=2, columns={})
