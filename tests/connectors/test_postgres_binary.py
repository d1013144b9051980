"""Rows that Suiro encodes for binary COPY: what PostgreSQL makes of them, type by type."""

from __future__ import annotations

import itertools
import json
import math
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from suiro.app.connections import connection
from suiro.connectors.postgres.binary import HEADER, TRAILER, rows_of
from suiro.connectors.postgres.bulk import BulkWriter
from suiro.connectors.postgres.config import PostgresConfig
from suiro.connectors.postgres.numerics import decimals_of
from suiro.connectors.postgres.session import connect
from suiro.connectors.postgres.types import sql_type
from suiro.model.errors import ConnectionLost, DataError, InternalError
from suiro.model.types import DATE_INFINITY, TIMESTAMP_INFINITY, logical_field
from suiro.testing.context import LocalContext

NOW = datetime(2024, 2, 29, 23, 59, 59, 999_999, UTC)
LISTS = [[1, 2], [], None, [None], [3, None, 4]]
COLUMNS: dict[str, tuple[pa.DataType, Sequence[Any]]] = {
    "bool": (pa.bool_(), [True, None, False]),
    "int8": (pa.int8(), [-128, 127, None]),
    "uint8": (pa.uint8(), [0, 255, None]),
    "int16": (pa.int16(), [-(2**15), 2**15 - 1, None]),
    "uint16": (pa.uint16(), [0, 2**16 - 1, None]),
    "int32": (pa.int32(), [-(2**31), 2**31 - 1, None]),
    "uint32": (pa.uint32(), [0, 2**32 - 1, None]),
    "int64": (pa.int64(), [-(2**63), 2**63 - 1, None]),
    "uint64": (pa.uint64(), [0, 2**64 - 1, None]),
    "float32": (pa.float32(), [0.5, -math.inf, None]),
    "float64": (pa.float64(), [0.1, math.inf, 5e-324, None]),
    "text": (pa.string(), ["", "水路 😀", None, "x" * 1000]),
    "large text": (pa.large_string(), ["a", None, "\\N"]),
    "text view": (pa.string_view(), ["a longer one than twelve", None, ""]),
    "bytes": (pa.binary(), [b"", b"\0\xff", None]),
    "large bytes": (pa.large_binary(), [b"\1", None]),
    "bytes of one length": (pa.binary(3), [b"abc", None, b"\0\0\0"]),
    "dictionary": (pa.dictionary(pa.int32(), pa.string()), ["a", None, "b", "a"]),
    "nulls": (pa.null(), [None, None]),
    "date": (pa.date32(), [date(1, 1, 1), None, date(9999, 12, 31)]),
    "date in milliseconds": (pa.date64(), [date(2000, 1, 1), None]),
    "time": (pa.time64("us"), [time(0), None, time(23, 59, 59, 999_999)]),
    "time in seconds": (pa.time32("s"), [time(12, 30, 1), None]),
    "timestamp": (pa.timestamp("us"), [NOW.replace(tzinfo=None), None, datetime(1, 1, 1)]),  # noqa: DTZ001
    "timestamp in seconds": (pa.timestamp("s"), [datetime(1999, 12, 31, 23, 59, 59), None]),  # noqa: DTZ001
    "timestamp with zone": (pa.timestamp("us", "UTC"), [NOW, None]),
    "decimal": (pa.decimal128(15, 2), [Decimal("-12345.60"), None, Decimal("0.01"), Decimal(0)]),
    "decimal of a fraction": (pa.decimal128(18, 17), [Decimal("9.99999999999999999"), None]),
    "long decimal": (pa.decimal128(38, 10), [Decimal("-9" * 1 + "9" * 27 + "." + "9" * 10), None, Decimal("1E-10")]),
    "longest decimal": (pa.decimal256(76, 38), [Decimal("9" * 38 + "." + "9" * 38), None, Decimal("-1E-38")]),
    "whole decimal": (pa.decimal256(76, 0), [Decimal("-" + "9" * 76), None, Decimal(10) ** 75]),
    "rounded decimal": (pa.decimal128(5, -3), [Decimal("12345E3"), None]),
    "small decimal": (pa.decimal32(9, 2), [Decimal("-1234567.89"), None]),
    "integers": (pa.list_(pa.int32()), LISTS),
    "long integers": (pa.list_(pa.int64()), LISTS),
    "texts": (pa.list_(pa.string()), [["a", 'b "x", {}', None, ""], None, []]),
    "decimals": (pa.list_(pa.decimal128(6, 2)), [[Decimal("1.50"), None], [], None]),
    "truths": (pa.list_(pa.bool_()), [[True, False, None], None]),
    "moments": (pa.list_(pa.timestamp("us", "UTC")), [[NOW, None], None]),
    "days": (pa.list_(pa.date32()), [[date(2024, 2, 29)], None]),
    "byte strings": (pa.list_(pa.binary()), [[b"\0", b""], None]),
    "floats": (pa.list_(pa.float64()), [[0.1, None], None]),
}


@pytest.fixture
def session(postgres_url: str) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    with psycopg.connect(postgres_url, autocommit=True) as opened:
        opened.execute("SET TimeZone = 'UTC'")
        yield opened


def sent(
    session: psycopg.Connection[tuple[Any, ...]], batch: pa.RecordBatch, asked: str = "SELECT * FROM sent ORDER BY ctid"
) -> list[tuple[Any, ...]]:
    """The rows as PostgreSQL has them, after a binary COPY into a table of the fields' types."""
    columns = [f"c{number} {sql_type(field)}" for number, field in enumerate(batch.schema)]
    session.execute(f"DROP TABLE IF EXISTS sent; CREATE TEMPORARY TABLE sent ({', '.join(columns)})".encode())
    with session.cursor().copy("COPY sent FROM STDIN (FORMAT binary)") as copy:
        copy.write(HEADER)
        for piece in rows_of(batch, list(batch.schema)):
            copy.write(piece)
        copy.write(TRAILER)
    return session.execute(asked.encode()).fetchall()


def expected(type_: pa.DataType, value: Any) -> Any:
    if value is not None and type_ == pa.float32():
        return pytest.approx(value)
    return value


@pytest.mark.parametrize("name", COLUMNS)
def test_values_arrive_as_they_are(session: psycopg.Connection[tuple[Any, ...]], name: str) -> None:
    """Also from the middle of a batch, where buffers begin before the first value."""
    type_, values = COLUMNS[name]
    for cut in (0, 1, 9):
        array = pa.array([*itertools.islice(itertools.cycle(values), cut), *values, *values], type_)
        whole = pa.record_batch([array, pa.array(range(len(array)))], names=["value", "at"])
        with localcontext() as context:
            context.prec = 100
            there = sent(session, whole.slice(cut, len(values)))
            assert [(expected(type_, value), at) for at, value in enumerate(values, cut)] == there


def test_no_rows_and_no_columns_are_rows_too(session: psycopg.Connection[tuple[Any, ...]]) -> None:
    batch = pa.record_batch([pa.array([], type_) for type_, _ in COLUMNS.values()], names=list(COLUMNS))
    assert sent(session, batch) == []
    without = pa.RecordBatch.from_struct_array(pa.array([{}, {}], pa.struct([])))
    assert sent(session, without) == [(), ()]


def test_types_with_a_name_of_their_own_arrive(session: psycopg.Connection[tuple[Any, ...]]) -> None:
    which = uuid.UUID(int=2**127 + 1)
    fields = [
        pa.field("u", pa.uuid()),
        logical_field("j", pa.json_(pa.string()), "jsonb"),
        pa.field("k", pa.json_(pa.string())),
        logical_field("d", pa.date32(), "date"),
        logical_field("t", pa.timestamp("us"), "timestamp(6)"),
        logical_field("z", pa.timestamp("us", "UTC"), "timestamptz"),
        logical_field("v", pa.string(), "varchar(3)"),
    ]
    storages = [pa.binary(16), pa.string(), pa.string(), pa.int32(), pa.int64(), pa.int64(), pa.string()]
    rows: list[tuple[Any, ...]] = [
        (which.bytes, '{"a": [1, "é"]}', "[1]", DATE_INFINITY, TIMESTAMP_INFINITY, -TIMESTAMP_INFINITY, "é水a"),
        (None,) * len(fields),
        (which.bytes, "null", '"x"', -DATE_INFINITY, 0, 1, ""),
    ]
    arrays = []
    for field, storage, values in zip(fields, storages, zip(*rows, strict=True), strict=True):
        plain = pa.array(values, storage)
        extends = isinstance(field.type, pa.BaseExtensionType)
        arrays.append(pa.ExtensionArray.from_storage(field.type, plain) if extends else plain.view(field.type))
    asked = "SELECT c0, c1, c2, c3::text, c4::text, c5::text, c6 FROM sent ORDER BY ctid"
    assert sent(session, pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields)), asked) == [
        (which, json.loads(rows[0][1]), [1], "infinity", "infinity", "-infinity", "é水a"),
        (None,) * len(fields),
        (which, None, "x", "-infinity", "1970-01-01 00:00:00", "1970-01-01 00:00:00.000001+00", ""),
    ]


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        (pa.field("c", pa.string()), "a\0b", "column c holds text with the character NUL"),
        (pa.field("c", pa.list_(pa.string())), ["a\0b"], "column c holds text with the character NUL"),
        (pa.field("c", pa.timestamp("us")), -(2**62), "column c holds times outside the years"),
        (logical_field("c", pa.timestamp("us"), "timestamp"), 5 - 2**63, "column c holds times outside the years"),
        (pa.field("c", pa.date32()), -(2**31) + 1, "column c holds times outside the years"),
        (logical_field("c", pa.date32(), "date"), -(2**31) + 2, "column c holds times outside the years"),
        (logical_field("c", pa.date32(), "date"), -(2**31) + 10957, "column c holds times outside the years"),
    ],
)
def test_what_a_type_cannot_hold_is_refused_by_name_unless_it_is_null(field: pa.Field, value: Any, said: str) -> None:
    numbers = {pa.timestamp("us"): pa.int64(), pa.date32(): pa.int32()}
    array = pa.array([value], numbers.get(field.type, field.type)).view(field.type)
    with pytest.raises(DataError, match=said):
        list(rows_of(pa.RecordBatch.from_arrays([array], schema=pa.schema([field])), [field]))
    if field.type in numbers:
        hidden = pa.Array.from_buffers(field.type, 1, [pa.py_buffer(b"\0"), array.buffers()[1]])
        assert len(list(rows_of(pa.RecordBatch.from_arrays([hidden], schema=pa.schema([field])), [field]))) == 1


@st.composite
def decimals(draw: st.DrawFn) -> tuple[pa.DataType, list[Decimal | None]]:
    precision = draw(st.integers(1, 76))
    scale = draw(st.integers(0, precision))
    limit = 10**precision - 1
    numbers = draw(st.lists(st.none() | st.integers(-limit, limit), min_size=1, max_size=20))
    make = pa.decimal128 if precision <= 38 and draw(st.booleans()) else pa.decimal256
    with localcontext() as context:
        context.prec = 100
        return make(precision, scale), [None if n is None else Decimal(n).scaleb(-scale) for n in numbers]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(decimals())
def test_decimals_of_any_size_arrive(
    session: psycopg.Connection[tuple[Any, ...]], drawn: tuple[pa.DataType, list[Decimal | None]]
) -> None:
    type_, values = drawn
    batch = pa.record_batch([pa.array(values, type_)], names=["c"])
    found = [row[0] for row in sent(session, batch)]
    assert [None if v is None else v.as_tuple() for v in values] == [None if v is None else v.as_tuple() for v in found]
    sent_back = [row[0] for row in session.execute("SELECT numeric_send(c0) FROM sent ORDER BY ctid").fetchall()]
    for cut in (0, 1):
        padded = pa.array([*[None] * cut, *sent_back], pa.binary()).slice(cut)
        array, nan = decimals_of(padded, type_)
        assert (array.to_pylist(), array.type, nan.any()) == (values, type_, False)


def test_numbers_that_are_none_are_told_apart(session: psycopg.Connection[tuple[Any, ...]]) -> None:
    asked = "SELECT numeric_send(n::numeric(9,3)) FROM unnest('{NaN,1.5,NULL,NaN,-2}'::text[]) n"
    found = pa.array([row[0] for row in session.execute(asked).fetchall()], pa.binary())
    array, nan = decimals_of(found, pa.decimal128(9, 3))
    assert array.to_pylist() == [None, Decimal("1.500"), None, None, Decimal("-2.000")]
    assert nan.tolist() == [True, False, False, True, False]
    nothing, none = decimals_of(pa.array([], pa.binary()), pa.decimal256(60, 30))
    assert (nothing.to_pylist(), none.tolist()) == ([], [])


@pytest.mark.parametrize("number", ["12345.6", "0.1234", "-100000", "1e50", "Infinity", "-Infinity"])
def test_a_number_that_the_type_has_no_place_for_is_an_error(
    session: psycopg.Connection[tuple[Any, ...]], number: str
) -> None:
    row = session.execute("SELECT numeric_send(%s::numeric)", (number,)).fetchone()
    assert row is not None
    with pytest.raises(InternalError, match=r"decimal128\(4, 3\) doesn't hold"):
        decimals_of(pa.array([row[0]], pa.binary()), pa.decimal128(4, 3))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.none() | st.lists(st.none() | st.text(st.characters(exclude_characters="\0", codec="utf-8")))))
def test_lists_of_any_shape_arrive(session: psycopg.Connection[tuple[Any, ...]], values: list[Any]) -> None:
    batch = pa.record_batch([pa.array(values, pa.list_(pa.string()))], names=["c"])
    assert [row[0] for row in sent(session, batch)] == values


def test_rows_of_any_width_are_cut_into_pieces(session: psycopg.Connection[tuple[Any, ...]]) -> None:
    days = [NOW + timedelta(seconds=at) for at in range(40_000)]
    batch = pa.record_batch([pa.array(days), pa.array(["x" * (at % 700) for at in range(40_000)])], names=["a", "b"])
    fields = list(batch.schema)
    assert len(list(rows_of(batch, fields))) > 3
    found = sent(session, batch, "SELECT * FROM sent ORDER BY c0")
    assert [(day, at % 700) for at, day in enumerate(days)] == [(day, len(text)) for day, text in found]


@pytest.fixture
def config(postgres_url: str) -> PostgresConfig:
    found = connection(postgres_url).config
    assert isinstance(found, PostgresConfig)
    return found


def test_a_writer_that_is_left_leaves_nothing_and_no_lock(
    session: psycopg.Connection[tuple[Any, ...]], config: PostgresConfig, tmp_path: Path
) -> None:
    context = LocalContext(run="binary", workdir=tmp_path)
    session.execute("CREATE TABLE public.left_over (a bigint)")
    batch = pa.record_batch([pa.array([1, 2])], names=["a"])
    own = connect(config, context)
    try:
        writer = BulkWriter(config, context, own, ("public", "left_over"), list(batch.schema))
        writer.write(batch)
        writer.close()
        writer.close()
        session.execute("SET lock_timeout = '2s'; LOCK TABLE public.left_over")
        assert session.execute("SELECT count(*) FROM public.left_over").fetchall() == [(0,)]
    finally:
        own.close()
        session.execute("DROP TABLE public.left_over")


def test_an_error_at_the_end_is_told_by_column_and_a_session_that_ends_is_a_lost_connection(
    session: psycopg.Connection[tuple[Any, ...]], config: PostgresConfig, tmp_path: Path
) -> None:
    context = LocalContext(run="binary", workdir=tmp_path)
    session.execute("CREATE TABLE public.strict (a bigint, b varchar(2))")
    batch = pa.record_batch([pa.array([1]), pa.array(["abc"])], names=["a", "b"])
    own = connect(config, context)
    try:
        writer = BulkWriter(config, context, own, ("public", "strict"), list(batch.schema))
        with pytest.raises(DataError, match=r"value too long.*\(column b\)"):
            _written(writer, batch)
        writer.close()
        other = BulkWriter(config, context, own, ("public", "strict"), list(batch.schema))
        other.write(batch.slice(0, 0))
        ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'COPY%strict%'"
        session.execute(ended)
        with pytest.raises(ConnectionLost):
            _written(other, batch)
        other.close()
    finally:
        own.close()
        session.execute("DROP TABLE public.strict")


def _written(writer: BulkWriter, batch: pa.RecordBatch) -> None:
    writer.write(batch)
    writer.finish()
