"""Rows of binary COPY that Suiro decodes: told apart whatever they hold, and read type by type, as others read them."""

from __future__ import annotations

import math
import struct
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from adbc_driver_postgresql import dbapi
from hypothesis import given
from hypothesis import strategies as st

from connectors.test_postgres_raw import until_none
from servers import PostgresServer
from suiro.app.connections import connection
from suiro.connectors.postgres import columns
from suiro.connectors.postgres.binary import HEADER, TRAILER
from suiro.connectors.postgres.bulk import bulk_read
from suiro.connectors.postgres.columns import MARK, batches_of
from suiro.connectors.postgres.config import PostgresConfig
from suiro.model.errors import Cancelled, ConnectionLost, DataError, InternalError
from suiro.model.types import DATE_INFINITY, TIMESTAMP_INFINITY, logical_field
from suiro.testing.context import LocalContext

BYTEA, INT4 = 17, 23
NUMBER = int(MARK[1:-7])
START = struct.pack(">hii", 3, 4, NUMBER)  #: of a row with two columns beside the mark
THIN = pa.schema([("a", pa.int32()), ("b", pa.binary())])


def rows(values: Sequence[tuple[int | None, bytes | None]]) -> bytes:
    """Rows of THIN as the server would send them."""
    sent = bytearray()
    for number, content in values:
        sent += START
        sent += b"\xff" * 4 if number is None else struct.pack(">ii", 4, number)
        sent += b"\xff" * 4 if content is None else struct.pack(">i", len(content)) + content
    return bytes(sent)


def decoded(sent: bytes, pieces: Sequence[int]) -> list[tuple[int | None, bytes | None]]:
    """What is made of it when it comes in pieces of these sizes, again and again."""
    parts, at, turn = [], 0, 0
    while at < len(sent):
        parts.append(sent[at : at + pieces[turn % len(pieces)]])
        at, turn = at + len(parts[-1]), turn + 1
    found = list(batches_of(parts, THIN, [INT4, BYTEA]))
    for batch in found:
        batch.validate(full=True)
    return [tuple(row.values()) for batch in found for row in batch.to_pylist()]


contents = st.lists(st.sampled_from([START, START[:6], MARK.encode(), rows([(1, b"x")]), TRAILER, b"\0", b"\xff" * 4]))
numbers = st.none() | st.sampled_from([NUMBER, -1, 2**31 - 1, -(2**31), 4]) | st.integers(-(2**31), 2**31 - 1)


@given(
    st.lists(st.tuples(numbers, st.none() | contents.map(b"".join) | st.binary(max_size=40)), max_size=30),
    st.lists(st.integers(1, 300), min_size=1, max_size=4),
    st.sampled_from([30, 60, 200, 2**21]),
)
def test_rows_are_told_apart_whatever_they_hold_and_however_they_come(
    values: list[tuple[int | None, bytes | None]], pieces: list[int], enough: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(columns, "BATCH_BYTES", enough)
        assert decoded(HEADER + rows(values) + TRAILER, pieces) == values


def test_what_is_no_whole_copy_is_an_error() -> None:
    whole = HEADER + rows([(1, b"one"), (2, b"two")])
    for sent, said in (
        (whole, "the middle of a row"),
        (whole[:-1], "the middle of a row"),
        (whole[:-1] + TRAILER, "the middle of a row"),
        (whole + b"\0\0", "the middle of a row"),
        (HEADER, "the middle of a row"),
        (b"", "another header"),
        (b"PGCOPY\n\xff\r\n\0" + b"\1" * 8 + TRAILER, "another header"),
        (whole + b"\0\4" + whole[len(HEADER) + 2 :], "the middle of a row"),
        (HEADER + b"\0" * 20, "told apart"),
        (HEADER + struct.pack(">hiiihi", 3, 4, NUMBER, 2, 1, 0) + TRAILER, "another length"),
    ):
        with pytest.raises(InternalError, match=said):
            decoded(sent, [len(sent) or 1])
    assert decoded(HEADER + TRAILER, [1]) == []


@pytest.fixture
def config(postgres_url: str) -> PostgresConfig:
    found = connection(postgres_url).config
    assert isinstance(found, PostgresConfig)
    return found


@pytest.fixture
def context(tmp_path: Path) -> LocalContext:
    return LocalContext(run="columns", workdir=tmp_path)


def read(config: PostgresConfig, context: LocalContext, query: str, *fields: pa.Field) -> pa.Table:
    """The rows of the query in the fields' types."""
    schema = pa.schema(fields)
    table = pa.Table.from_batches(bulk_read(config, context, query, schema, None, 150000), schema)
    table.validate(full=True)
    return table


def test_types_are_read_as_another_client_reads_them(
    postgres_url: str, config: PostgresConfig, context: LocalContext
) -> None:
    kinds = {
        "bool": ("g % 2 = 0", pa.bool_()),
        "int2": ("(g * 127 - 32768)::int2", pa.int16()),
        "int4": ("-g * 1000003", pa.int32()),
        "int8": ("g * 4611686018427387::int8", pa.int64()),
        "float4": ("(g / 7.0)::float4", pa.float32()),
        "float8": ("exp(g / 3.0)::float8", pa.float64()),
        "text": ("repeat('é水😀', g % 40)", pa.string()),
        "varchar(9)": ("g::text", pa.string()),
        "char(5)": ("left(g::text, 2)", pa.string()),
        "bytea": ("decode(repeat('00ff', g % 9), 'hex')", pa.binary()),
        "date": ("date '2000-01-01' + (g - 250) * 3000", pa.date32()),
        "time": ("time '00:00' + g * interval '2 minutes 1 microsecond'", pa.time64("us")),
        "timestamp": ("timestamp '1999-12-31' + (g - 250) * interval '400 days 1 microsecond'", pa.timestamp("us")),
        "timestamptz": ("timestamptz '1999-12-31Z' + g * interval '7 seconds'", pa.timestamp("us", "UTC")),
    }
    holes = [
        f"CASE WHEN g % {3 + at} > 0 THEN {value} END::{type_}" for at, (type_, (value, _)) in enumerate(kinds.items())
    ]
    items = ", ".join(f"{value} AS c{at}" for at, value in enumerate(holes))
    query = f"SELECT {items} FROM generate_series(1, 500) g ORDER BY g"
    with dbapi.connect(postgres_url) as other, other.cursor() as cursor:
        cursor.execute(query)
        expected = cursor.fetch_arrow_table()
    fields = [pa.field(f"c{at}", type_) for at, (_, type_) in enumerate(kinds.values())]
    found = read(config, context, query, *fields)
    assert expected.num_rows == found.num_rows == 500
    for field in fields:
        assert found[field.name].cast(field.type).equals(expected[field.name].cast(field.type)), field


def test_types_with_a_name_of_their_own_are_read(config: PostgresConfig, context: LocalContext) -> None:
    which = uuid.UUID(int=2**127 + 1)
    query = f"""SELECT u, j, k, n, d, t, z FROM (VALUES
        (1, '{which}'::uuid, '{{"a": "é"}}'::jsonb, '[1,  2]'::json, -1.50::numeric(5,2), date 'infinity',
            timestamp '-infinity', timestamptz 'infinity'),
        (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
        (3, '{which}', 'null', '""', 999.99, '-infinity', 'infinity', '-infinity'),
        (4, '{which}', '[]', '{{}}', 0, '4714-11-24 BC', '4714-11-24 00:00 BC', '294246-12-31Z')
        ) AS v (at, u, j, k, n, d, t, z) ORDER BY at"""
    found = read(
        config,
        context,
        query,
        pa.field("u", pa.uuid()),
        logical_field("j", pa.json_(pa.string()), "jsonb"),
        pa.field("k", pa.json_(pa.string())),
        pa.field("n", pa.decimal128(5, 2)),
        logical_field("d", pa.date32(), "date"),
        logical_field("t", pa.timestamp("us"), "timestamp"),
        logical_field("z", pa.timestamp("us", "UTC"), "timestamptz"),
    )
    assert found["u"].to_pylist() == [which, None, which, which]
    assert found["j"].to_pylist() == ['{"a": "é"}', None, "null", "[]"]
    assert found["k"].to_pylist() == ["[1,  2]", None, '""', "{}"]
    assert found["n"].to_pylist() == [Decimal("-1.50"), None, Decimal("999.99"), Decimal("0.00")]
    assert found["d"].cast(pa.int32()).to_pylist() == [DATE_INFINITY, None, -DATE_INFINITY, -2_440_588]
    first = -2_440_588 * 86_400_000_000
    assert found["t"].cast(pa.int64()).to_pylist() == [-TIMESTAMP_INFINITY, None, TIMESTAMP_INFINITY, first]
    last = found["z"].cast(pa.int64()).to_pylist()
    assert last[:3] == [TIMESTAMP_INFINITY, None, -TIMESTAMP_INFINITY]
    assert last[3] is not None and 9_223_371_000_000_000_000 < last[3] < TIMESTAMP_INFINITY


@pytest.mark.parametrize(
    ("value", "field", "said"),
    [
        ("'NaN'::numeric(9,2)", pa.field("c", pa.decimal128(9, 2)), "column c is numeric and holds NaN"),
        ("'294276-12-31'::timestamp", pa.field("c", pa.timestamp("us")), "column c holds times after the year 294246"),
        ("'{{1,2},{3,4}}'::int[]", pa.field("c", pa.list_(pa.int32())), "column c holds arrays of more than one"),
    ],
)
def test_what_arrow_cannot_hold_is_refused_by_name(
    config: PostgresConfig, context: LocalContext, value: str, field: pa.Field, said: str
) -> None:
    with pytest.raises(DataError, match=said):
        read(config, context, f"SELECT {value} AS c", field)


def test_a_type_that_changed_since_is_read_as_it_is_now_or_refused(
    config: PostgresConfig, context: LocalContext
) -> None:
    found = read(config, context, "SELECT 7::int4 AS c", pa.field("c", pa.int64()))
    assert found["c"].to_pylist() == [7]
    with pytest.raises(InternalError, match="column c: the type with the oid 600 can't be read"):
        read(config, context, "SELECT point(1, 2) AS c", pa.field("c", pa.int64()))


LISTS: dict[str, tuple[pa.DataType, list[list[Any]]]] = {
    "int4": (pa.int32(), [[1, None, -3], [2]]),
    "int8": (pa.int64(), [[2**63 - 1], [None, None]]),
    "bool": (pa.bool_(), [[True, None, False]]),
    "float8": (pa.float64(), [[0.1, math.inf], [None]]),
    "text": (pa.string(), [["", "a", None, "é水" * 50], [START.decode("latin1").replace("\0", "")]]),
    "bytea": (pa.binary(), [[START, b"", None]]),
    "numeric(8,3)": (pa.decimal128(8, 3), [[Decimal("1.500"), None, Decimal("-99999.999")]]),
    "date": (pa.date32(), [[date(1, 1, 1), None]]),
    "timestamptz": (pa.timestamp("us", "UTC"), [[datetime(2024, 2, 29, tzinfo=UTC), None]]),
    "uuid": (pa.uuid(), [[uuid.UUID(int=5), None]]),
}


@pytest.mark.parametrize("kind", LISTS)
def test_lists_are_read(postgres_url: str, config: PostgresConfig, context: LocalContext, kind: str) -> None:
    type_, some = LISTS[kind]
    values: list[list[Any] | None] = [None, [], *some, None, some[0] * 3, []]
    with psycopg.connect(postgres_url, autocommit=True) as session:
        session.execute(f"CREATE TABLE lists (at serial, c {kind}[])".encode())
        for value in values:
            session.execute("INSERT INTO lists (c) VALUES (%s)", (value,))
    query = "SELECT c FROM lists ORDER BY at"
    try:
        assert read(config, context, query, pa.field("c", pa.list_(type_)))["c"].to_pylist() == values
        empty = read(config, context, "SELECT c FROM lists WHERE c = '{}'", pa.field("c", pa.list_(type_)))
        assert empty["c"].to_pylist() == [[], []]
    finally:
        with psycopg.connect(postgres_url, autocommit=True) as session:
            session.execute("DROP TABLE lists")


def test_rows_longer_than_a_batch_and_rows_without_columns_are_rows(
    config: PostgresConfig, context: LocalContext
) -> None:
    long = "SELECT g, repeat(chr(64 + g), 3000000 * g) AS t FROM generate_series(1, 4) g"
    found = read(config, context, long, pa.field("g", pa.int32()), pa.field("t", pa.string()))
    assert [(g, len(t), set(t)) for g, t in zip(*found.to_pydict().values(), strict=True)] == [
        (g, 3_000_000 * g, {chr(64 + g)}) for g in range(1, 5)
    ]
    batches = list(bulk_read(config, context, "SELECT  FROM generate_series(1, 5)", pa.schema([]), None, 150000))
    assert [batch.num_rows for batch in batches] == [5]
    assert read(config, context, "SELECT 1 AS c WHERE false", pa.field("c", pa.int32())).num_rows == 0


def slow(config: PostgresConfig, context: LocalContext) -> Iterator[pa.RecordBatch]:
    """Two batches' rows, and then a server that sleeps."""
    text = "CASE WHEN g = 60000 THEN pg_sleep(60)::text ELSE repeat('x', 90) END"
    query = f"SELECT {text} AS t FROM generate_series(1, 60000) g"
    return bulk_read(config, context, query, pa.schema([("t", pa.string())]), None, 150000)


def test_a_cancelled_run_stops_the_server_and_one_that_the_server_cancels_is_no_cancelled_run(
    postgres_url: str, config: PostgresConfig, context: LocalContext
) -> None:
    found = slow(config, context)
    next(found)
    with psycopg.connect(postgres_url, autocommit=True) as session:
        busy = (
            "FROM pg_stat_activity WHERE query LIKE 'COPY%pg_sleep%' AND pid <> pg_backend_pid() AND state = 'active'"
        )
        session.execute(f"SELECT pg_cancel_backend(pid) {busy}".encode())
        with pytest.raises(ConnectionLost, match="reading: PostgreSQL says: canceling statement due to user request"):
            list(found)
        found = slow(config, context)
        next(found)
        threading.Timer(0.3, context.cancel).start()
        started = time.monotonic()
        with pytest.raises(Cancelled):
            list(found)
        assert time.monotonic() - started < 10
    until_none(postgres_url)


def test_text_that_is_not_utf8_is_refused(postgres: PostgresServer, context: LocalContext) -> None:
    """A database of SQL_ASCII keeps any bytes; what it sends as text the server proves."""
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as session:
        session.execute("CREATE DATABASE any_bytes ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0")
    try:
        config = connection(postgres.url("any_bytes")).config
        assert isinstance(config, PostgresConfig)
        with psycopg.connect(postgres.url("any_bytes"), autocommit=True) as session:
            session.execute(r"CREATE TABLE t AS SELECT E'\303\251'::text AS a, E'\351'::text AS b")
        asked = pa.field("a", pa.string()), pa.field("b", pa.string())
        assert read(config, context, "SELECT a FROM t", asked[0])["a"].to_pylist() == ["é"]
        with pytest.raises(DataError, match='invalid byte sequence for encoding "UTF8": 0xe9'):
            read(config, context, "SELECT a, b FROM t", *asked)
        whole = read(config, context, "SELECT convert_to(b, 'SQL_ASCII') AS b FROM t", pa.field("b", pa.binary()))
        assert whole["b"].to_pylist() == [b"\xe9"]
    finally:
        with psycopg.connect(postgres.url("postgres"), autocommit=True) as session:
            session.execute("DROP DATABASE any_bytes WITH (FORCE)")
