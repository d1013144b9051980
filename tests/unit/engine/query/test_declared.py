"""Declared columns: types by their SQL names, and casts that are exact or refused."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from suiro.engine.query.declared import agreed, cast, declared_fields
from suiro.engine.query.head import read_head
from suiro.model.errors import DataError
from suiro.model.place import QueryError
from suiro.model.types import logical_field, logical_type


def declared(types: str) -> list[tuple[pa.DataType, str | None]]:
    listed = ", ".join(f"c{i} {type_}" for i, type_ in enumerate(types.split("; ")))
    found = declared_fields(read_head(f"REPLICATE t ({listed}) SELECT 1"))
    return [(field.type, logical_type(field)) for field in found.values()]


def test_types_have_their_sql_names() -> None:
    assert declared("int; BIGINT; numeric(12,2); decimal(50); double precision; float; real; boolean") == [
        (type_, None)
        for type_ in (
            pa.int32(),
            pa.int64(),
            pa.decimal128(12, 2),
            pa.decimal256(50, 0),
            pa.float64(),
            pa.float64(),
            pa.float32(),
            pa.bool_(),
        )
    ]
    assert declared("varchar(20); character varying(20); char(3); text; varchar; nvarchar(max)") == [
        (pa.string(), logical) for logical in ("varchar(20)", "varchar(20)", "char(3)", None, None, None)
    ]
    assert declared("date; time; timestamp; datetime; timestamp with time zone; uuid; json; bytea") == [
        (type_, None)
        for type_ in (
            pa.date32(),
            pa.time64("us"),
            pa.timestamp("us"),
            pa.timestamp("us"),
            pa.timestamp("us", "UTC"),
            pa.uuid(),
            pa.json_(),
            pa.binary(),
        )
    ]


@pytest.mark.parametrize(
    "type_", ["blurb", "numeric", "numeric(0)", "numeric(5,6)", "numeric(77,1)", "varchar(x)", "int primary"]
)
def test_a_type_that_is_none_is_pointed_at(type_: str) -> None:
    head = read_head(f"REPLICATE t (a int, b {type_}) SELECT 1")
    with pytest.raises(QueryError) as refused:
        declared_fields(head)
    assert refused.value.at == len("REPLICATE t (a int, b ")


@pytest.mark.parametrize(
    ("columns", "given", "place"),
    [
        ("id int, nm text", pa.schema([("id", pa.int32()), ("name", pa.string())]), "nm"),
        ("id int", pa.schema([("id", pa.int32()), ("name", pa.string())]), "id"),
        ("id int, at timestamptz", pa.schema([("id", pa.int32()), ("at", pa.timestamp("us"))]), "timestamptz"),
        ("id uuid", pa.schema([("id", pa.int32())]), "uuid"),
        ("id int", pa.schema([("id", pa.list_(pa.int32()))]), "int"),
    ],
)
def test_columns_that_dont_agree_with_the_select_are_pointed_at(columns: str, given: pa.Schema, place: str) -> None:
    statement = f"REPLICATE t ({columns}) SELECT 1"
    with pytest.raises(QueryError) as refused:
        agreed(read_head(statement), given)
    assert refused.value.at is not None and statement[refused.value.at :].startswith(place)


def test_a_column_of_the_declared_type_keeps_its_logical_type() -> None:
    given = pa.schema([logical_field("at", pa.timestamp("us", "UTC"), "timestamptz")])
    assert agreed(read_head("REPLICATE t (at timestamptz) SELECT 1"), given).equals(given, check_metadata=True)


def converted(values: list[Any], type_: pa.DataType, declared: str) -> pa.Array:
    batch = pa.RecordBatch.from_arrays([pa.array(values, type_)], names=["c"])
    wanted = agreed(read_head(f"REPLICATE t (c {declared}) SELECT 1"), batch.schema)
    return cast(batch, wanted).column("c")


def test_values_are_cast_exactly() -> None:
    assert converted([1, None], pa.int64(), "smallint").to_pylist() == [1, None]
    assert converted([Decimal("1.50"), None], pa.decimal128(5, 2), "numeric(9,1)").to_pylist() == [Decimal("1.5"), None]
    assert converted(["1.5", None], pa.string(), "numeric(9,2)").to_pylist() == [Decimal("1.50"), None]
    assert converted([2.0, float("inf"), None], pa.float64(), "real").to_pylist() == [2.0, float("inf"), None]
    assert converted([3.0, None], pa.float64(), "bigint").to_pylist() == [3, None]
    assert converted([7, None], pa.int64(), "text").to_pylist() == ["7", None]
    assert converted(["水路", None], pa.string(), "varchar(2)").to_pylist() == ["水路", None]
    assert converted([None], pa.string(), "integer").to_pylist() == [None]
    assert str(converted([float("nan")], pa.float64(), "real").to_pylist()) == "[nan]"


@pytest.mark.parametrize(
    ("values", "type_", "declared"),
    [
        ([40000], pa.int64(), "smallint"),
        ([1.5], pa.float64(), "integer"),
        ([0.1], pa.float64(), "real"),
        ([1.005], pa.float64(), "numeric(5,2)"),
        ([2**60 + 1], pa.int64(), "double precision"),
        ([Decimal("1.55")], pa.decimal128(5, 2), "numeric(9,1)"),
        ([Decimal("1.55")], pa.decimal128(5, 2), "bigint"),
        (["1.555"], pa.string(), "numeric(9,2)"),
        (["x"], pa.string(), "integer"),
        (["水路だ"], pa.string(), "varchar(2)"),
        ([1_000_001], pa.timestamp("us"), "date"),
    ],
)
def test_a_value_that_would_change_is_refused_by_its_column(
    values: list[Any], type_: pa.DataType, declared: str
) -> None:
    with pytest.raises(DataError, match="column c holds a value"):
        converted(values, type_, declared)
