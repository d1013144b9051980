"""Canonical text of Arrow batches: what DuckDB writes of them is what the definition says."""

from __future__ import annotations

from datetime import UTC
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suiro.engine.canonical import Writer
from suiro.model.canonical import Form, form_of, kind_of
from suiro.model.types import DATE_INFINITY, TIMESTAMP_INFINITY, logical_field
from suiro.testing.samples import PLAIN
from suiro.testing.source_checksums import canonical_texts, expected_hashes


def written(array: pa.Array, field: pa.Field, form: Form) -> list[str | None]:
    """The texts of one column."""
    batch = pa.RecordBatch.from_arrays([array], schema=pa.schema([field]))
    writer = Writer(batch.schema, {field.name: form}, [field.name])
    with duckdb.connect() as db:
        db.register("batch", writer.plain(batch))
        return [text for (text,) in db.sql(f"SELECT {writer.texts[0]} FROM batch").fetchall()]


#: what no copy carries exactly, and what has no text of one kind
_LEFT_OUT = ("duration", "null", "timestamp in nanoseconds", "time in nanoseconds", "list", "struct", "dictionary")


@pytest.mark.parametrize("case", [name for name in PLAIN if name not in _LEFT_OUT])
def test_values_at_the_limits_of_their_types_are_written_as_defined(case: str) -> None:
    sample = PLAIN[case]
    form = kind_of(sample.field)
    assert form is not None
    assert written(sample.column(), sample.field, form) == canonical_texts(sample.column(), form)


TYPES: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    "i": (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    "n": (pa.decimal128(20, 5), st.decimals(-(10**14), 10**14, places=5, allow_nan=False)),
    "f": (pa.float64(), st.floats()),
    "s": (pa.string(), st.text(st.characters(codec="utf-8"), max_size=6)),
    "b": (pa.binary(), st.binary(max_size=5)),
    "t": (pa.timestamp("us", "UTC"), st.datetimes(timezones=st.just(UTC))),
    "y": (pa.bool_(), st.booleans()),
}


@given(st.lists(st.tuples(*(st.none() | values for _, values in TYPES.values())), min_size=1, max_size=20))
def test_rows_are_hashed_as_defined_and_two_that_differ_never_have_one_hash(rows: list[tuple[Any, ...]]) -> None:
    columns = [pa.array([row[at] for row in rows], type_) for at, (type_, _) in enumerate(TYPES.values())]
    batch = pa.RecordBatch.from_arrays(columns, names=list(TYPES))
    forms = {field.name: kind_of(field) or Form.TEXT for field in batch.schema}
    writer = Writer(batch.schema, forms, ["i", "s"])
    with duckdb.connect() as db:
        db.register("batch", writer.plain(batch))
        found = db.sql(f"SELECT {writer.key}, {writer.row} FROM batch").fetchall()
    assert found == expected_hashes(pa.Table.from_batches([batch]), forms, ["i", "s"])
    texts = zip(*(canonical_texts(batch.column(name), form) for name, form in forms.items()), strict=True)
    assert len({row for _, row in found}) == len(set(texts))


def test_infinities_have_names() -> None:
    days = pa.array([DATE_INFINITY, -DATE_INFINITY, 1], pa.int32()).view(pa.date32())
    field = logical_field("d", pa.date32(), "date")
    assert written(days, field, Form.DAY) == ["infinity", "-infinity", "1"]
    assert written(days, field, Form.MOMENT) == ["infinity", "-infinity", "86400000000"]
    moments = pa.array([TIMESTAMP_INFINITY, -TIMESTAMP_INFINITY], pa.int64()).view(pa.timestamp("us"))
    assert written(moments, logical_field("m", pa.timestamp("us"), "timestamp"), Form.MOMENT) == [
        "infinity",
        "-infinity",
    ]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('{"a": 1, "b": [true, null, 1.50]}', '{ "b":[true,null,1.5],"a":1.0}'),
        ("1e2", "100.00"),
        ("-0", "0"),
        ('"\\u6c34"', '"水"'),
        ("1e400", "1" + "0" * 400),
    ],
)
def test_json_is_one_however_it_is_printed(one: str, other: str) -> None:
    texts = pa.ExtensionArray.from_storage(pa.json_(), pa.array([one, other, '"' + "x" + '"']))
    found = written(texts, pa.field("j", pa.json_()), Form.JSON)
    assert found[0] == found[1] != found[2]


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("1 year 2 mons -3 days 04:05:06.7", "14 -3 14706700000"),
        ("-1 mons +2 days -03:00:00.000001", "-1 2 -10800000001"),
        ("-838:59:59.25", "0 0 -3020399250000"),
        ("00:00:00", "0 0 0"),
        ("P1D", "?P1D"),
    ],
)
def test_intervals_are_months_days_and_microseconds(text: str, span: str) -> None:
    assert written(pa.array([text]), logical_field("i", pa.string(), "interval"), Form.SPAN) == [span]


def test_values_that_were_kept_as_text_are_read_as_what_they_are_compared_with() -> None:
    texts = pa.array(["1.50", "x", None])
    assert written(texts, pa.field("t", pa.string()), Form.NUMBER) == ["1.5", "?x", None]
    moments = pa.array(["1970-01-01 00:00:01", "1970-01-01T09:00:00+09:00", "infinity"])
    assert written(moments, pa.field("t", pa.string()), Form.MOMENT) == ["1000000", "0", "infinity"]
    assert written(pa.array(["01:00:00"]), pa.field("t", pa.string()), Form.CLOCK) == ["3600000000"]
    assert written(pa.array(["1970-01-02"]), pa.field("t", pa.string()), Form.DAY) == ["1"]
    assert written(pa.array(["0.5"]), pa.field("t", pa.string()), Form.FLOAT) == ["4602678819172646912"]


def test_two_columns_are_compared_in_what_their_types_have_in_common() -> None:
    def common(one: pa.DataType, other: pa.DataType, mine: str | None = None) -> Form | None:
        a, b = logical_field("a", one, mine), pa.field("b", other)
        forms = {form_of(a, b), form_of(b, a)}
        assert len(forms) == 1
        return forms.pop()

    assert common(pa.int8(), pa.bool_()) is Form.NUMBER
    assert common(pa.string(), pa.decimal128(3, 1), "numeric") is Form.NUMBER
    assert common(pa.timestamp("us"), pa.timestamp("us", "UTC")) is Form.MOMENT
    assert common(pa.date32(), pa.timestamp("us")) is Form.MOMENT
    assert common(pa.int32(), pa.float64()) is Form.FLOAT
    assert common(pa.decimal128(3, 1), pa.float64()) is None
    assert common(pa.string(), pa.string(), "char(5)") is Form.PADDED
    assert common(pa.uuid(), pa.binary(16)) is Form.BYTES
    assert common(pa.json_(), pa.string()) is Form.TEXT
    assert common(pa.list_(pa.int8()), pa.string()) is None
    assert common(pa.null(), pa.date32()) is Form.DAY
