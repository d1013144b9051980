"""Single values as text and back."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

import pyarrow as pa
import pytest

from suiro.model.cells import MOST_KEPT, cell_array, cell_text, row_text
from suiro.model.types import DATE_INFINITY, TIMESTAMP_INFINITY

VALUES: list[tuple[pa.DataType, Any]] = [
    (pa.bool_(), True),
    (pa.int8(), -128),
    (pa.uint64(), 2**64 - 1),
    (pa.float32(), 0.10000000149011612),
    (pa.float64(), 5e-324),
    (pa.float64(), float("-inf")),
    (pa.decimal128(12, 2), Decimal("-1.10")),
    (pa.decimal256(60, 20), Decimal("12345678901234567890123456789012345678.00000000000000000001")),
    (pa.string(), ""),
    (pa.string(), 'a "b"\n水'),
    (pa.binary(), b"\x00\xff"),
    (pa.binary(2), b"\x00\xff"),
    (pa.date32(), date(1, 1, 1)),
    (pa.timestamp("us"), datetime(2026, 1, 2, 3, 4, 5, 678901)),  # noqa: DTZ001
    (pa.timestamp("us", "UTC"), datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)),
    (pa.time64("us"), time(23, 59, 59, 999999)),
    (pa.time64("us"), time(0)),
    (pa.time64("ns"), time(12, 30)),
    (pa.time32("ms"), time(12, 30, 0, 5000)),
    (pa.time32("s"), time(12, 30, 1)),
    (pa.list_(pa.int32()), [1, None, 3]),
    (pa.uuid(), UUID("123e4567-e89b-12d3-a456-426655440000").bytes),
    (pa.json_(), '{"a": 1.10}'),
]


@pytest.mark.parametrize(("type_", "value"), VALUES)
def test_a_value_comes_back_from_its_text(type_: pa.DataType, value: Any) -> None:
    storage = type_.storage_type if isinstance(type_, pa.BaseExtensionType) else type_
    column: pa.Array = pa.array([value], storage)
    if storage != type_:
        column = pa.ExtensionArray.from_storage(type_, column)
    text = cell_text(column)
    assert isinstance(text, str) and not text.startswith("#")
    assert cell_array([text, None], type_).to_pylist() == [*column.to_pylist(), None]


@pytest.mark.parametrize(
    ("type_", "count"),
    [(pa.date32(), DATE_INFINITY), (pa.timestamp("us", "UTC"), -TIMESTAMP_INFINITY), (pa.timestamp("us"), 2**62)],
)
def test_a_time_that_people_do_not_write_is_kept_by_its_count(type_: pa.DataType, count: int) -> None:
    column = pa.array([count], pa.int32() if type_ == pa.date32() else pa.int64()).view(type_)
    assert cell_array([cell_text(column)], type_).equals(column)


@pytest.mark.parametrize(
    ("type_", "text"),
    [(pa.time64("us"), "24:00:00"), (pa.time64("us"), "-01:00:00"), (pa.date32(), "0000-00-00"), (pa.bool_(), "2"),
     (pa.timestamp("us"), "2024-02-30 00:00:00"), (pa.decimal128(9, 2), "NaN"), (pa.int8(), "128")],
)  # fmt: skip
def test_what_is_no_value_is_refused(type_: pa.DataType, text: str) -> None:
    with pytest.raises(pa.ArrowInvalid):
        cell_array([text], type_)


def test_a_row_is_its_texts_by_column_with_others_in_their_stead() -> None:
    row = pa.RecordBatch.from_pylist([{"id": 1, "day": None, "name": "水"}])
    assert json.loads(row_text(row, {"day": "0000-00-00"}) or "") == {"id": "1", "day": "0000-00-00", "name": "水"}
    assert row_text(pa.RecordBatch.from_pylist([{"name": "x" * MOST_KEPT}])) is None
