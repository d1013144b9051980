"""Digests: equal for the same rows in any order and cut, different for anything else."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suiro.engine.hashing import Digest
from suiro.model.types import logical_field
from suiro.testing.samples import LOGICAL, PLAIN, Sample

BITS = struct.unpack("<d", struct.pack("<Q", 0x7FF8_0000_0000_00AB))[0]  #: a NaN with bits of its own


def digest(*batches: pa.RecordBatch) -> Digest:
    made = Digest(batches[0].schema)
    for batch in batches:
        made.add(batch)
    return made


def one(values: Sequence[Any], type_: pa.DataType, logical: str | None = None) -> Digest:
    schema = pa.schema([logical_field("a", type_, logical)])
    return digest(pa.record_batch([Sample(schema.field(0), values).column()], schema=schema))


def rows(*values: tuple[Any, ...]) -> pa.RecordBatch:
    return pa.record_batch([pa.array([v[0] for v in values]), pa.array([v[1] for v in values])], names=["a", "b"])


@given(st.lists(st.tuples(st.integers(-9, 9), st.text(max_size=3)), min_size=1), st.randoms(), st.integers(0, 50))
def test_rows_in_any_order_and_in_any_batches_are_equal(values: list[Any], random: Any, cut: int) -> None:
    whole, mixed = rows(*values), rows(*random.sample(values, len(values)))
    assert digest(whole).differences(digest(mixed.slice(0, cut), mixed.slice(cut))) == ()


def test_a_value_that_differs_names_its_column() -> None:
    assert digest(rows((1, "a"), (2, "b"))).differences(digest(rows((1, "a"), (2, "c")))) == (
        "b: the values differ (hash)",
    )


def test_values_that_swapped_rows_are_noticed() -> None:
    (said,) = digest(rows((1, "a"), (2, "b"))).differences(digest(rows((1, "b"), (2, "a"))))
    assert said == "rows: each column holds the values that were read, but not in the same rows (hash)"


def test_rows_that_are_missing_are_counted() -> None:
    assert digest(rows((1, "a"), (1, "a"))).differences(digest(rows((1, "a")))) == ("rows: 2 read, 1 staged",)


DIFFERENT = {
    "zeros": (pa.float64(), [0.0], [-0.0]),
    "NULL and empty text": (pa.string(), [None], [""]),
    "NULL and zero": (pa.int64(), [None], [0]),
    "letters": (pa.string(), ["a"], ["A"]),
    "spaces": (pa.string(), ["a"], ["a "]),
    "NULL and an empty list": (pa.list_(pa.int32()), [None], [[]]),
    "a NULL in a list": (pa.list_(pa.int32()), [[None]], [[]]),
    "where lists end": (pa.list_(pa.list_(pa.int32())), [[[1], [2]]], [[[1, 2]]]),
    "the order of a list": (pa.list_(pa.int32()), [[1, 2]], [[2, 1]]),
    "a zero within a list": (pa.list_(pa.float64()), [[0.0]], [[-0.0]]),
    "a NULL in a struct": (pa.struct([("x", pa.int32())]), [None], [{"x": None}]),
    "fields of a struct": (
        pa.struct([("x", pa.int32()), ("y", pa.int32())]),
        [{"x": 1, "y": 2}],
        [{"x": 2, "y": 1}],
    ),
    "a map": (pa.map_(pa.string(), pa.int32()), [[("a", 1)]], [[("a", 2)]]),
    "a list of one width": (pa.list_(pa.int32(), 2), [[1, 2], [3, 4]], [[1, 2], [4, 3]]),
    "the last digit": (pa.decimal256(76, 40), ["1." + "0" * 39 + "1"], ["1." + "0" * 39 + "2"]),
    "a microsecond": (pa.timestamp("us", "UTC"), [1], [2]),
    "a duration": (pa.duration("us"), [1], [2]),
}


@pytest.mark.parametrize("what", DIFFERENT)
def test_it_tells_apart(what: str) -> None:
    type_, mine, theirs = DIFFERENT[what]
    if pa.types.is_decimal(type_):
        both = [pa.array(values).cast(type_) for values in (mine, theirs)]
        first, second = (digest(pa.record_batch([array], names=["a"])) for array in both)
    else:
        first, second = one(mine, type_), one(theirs, type_)
    assert first.differences(second) == ("a: the values differ (hash)",)


@pytest.mark.parametrize("sample", [*PLAIN.values(), *LOGICAL.values()], ids=[*PLAIN, *LOGICAL])
def test_every_type_is_hashed_by_its_values_wherever_a_batch_begins(sample: Sample) -> None:
    schema = pa.schema([sample.field])
    whole = pa.record_batch([sample.column()], schema=schema)
    parts = [whole.slice(n, 1) for n in reversed(range(whole.num_rows))]
    assert digest(whole).differences(digest(*parts)) == ()
    if whole.num_rows > 1:
        fewer = pa.record_batch(
            [pa.concat_arrays([sample.column().slice(1), sample.column().slice(1, 1)])], schema=schema
        )
        same = repr(sample.values[0]) == repr((*sample.values, None)[1])
        assert bool(digest(whole).differences(digest(fewer))) != same


NESTED = [
    pa.array([[1, 2], None, [], [3, None]], pa.list_(pa.int64())),
    pa.array([[[1.5], []], None, [None, [2.0]]], pa.list_(pa.list_(pa.float64()))),
    pa.array(
        [{"a": [1], "b": "x"}, None, {"a": None, "b": ""}], pa.struct([("a", pa.list_(pa.int8())), ("b", pa.string())])
    ),
    pa.array([[("k", [1])], None, [], [("k", None), ("l", [2])]], pa.map_(pa.string(), pa.list_(pa.int32()))),
    pa.array([[1, 2], None, [3, 4]], pa.list_(pa.int16(), 2)),
]


@pytest.mark.parametrize("array", NESTED, ids=lambda array: str(array.type))
def test_nested_values_are_hashed_alike_in_parts(array: pa.Array) -> None:
    whole = pa.record_batch([array], names=["a"])
    assert digest(whole).differences(digest(*[whole.slice(n, 1) for n in range(len(array))])) == ()
    copied = pa.record_batch([pa.array(array.to_pylist(), array.type)], names=["a"])
    assert digest(whole.slice(1)).differences(digest(copied.slice(1))) == ()


def test_every_nan_is_one() -> None:
    assert one([BITS], pa.float64()).differences(one([math.nan], pa.float64())) == ()


SAME = {
    "jsonb": ('{"b": 1, "a": [1.10, null], "b": 2}', '{"a":[1.1,null],"b":2e0}'),
    "interval": ("1 mon 2 days 03:04:05", "1 month +2 days 03:04:05.000"),
}


@pytest.mark.parametrize("logical", SAME)
def test_text_that_systems_write_anew_is_compared_by_what_it_says(logical: str) -> None:
    mine, theirs = SAME[logical]
    assert one([mine], pa.string(), logical).differences(one([theirs], pa.string(), logical)) == ()
    assert one([mine], pa.string()).differences(one([theirs], pa.string())) != ()
    assert one([mine], pa.string(), logical).differences(one([theirs.replace("2", "3")], pa.string(), logical)) != ()


def test_other_json_is_compared_by_its_text() -> None:
    assert one(['{"a":1}'], pa.json_(), "json").differences(one(['{"a": 1}'], pa.json_(), "json")) != ()
