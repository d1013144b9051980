"""Binary COPY out of PostgreSQL: the server's bytes, and what happens when it or the run ends in the middle."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pyarrow as pa
import pytest

from copying import copied
from suiro.connectors.postgres.config import PostgresConfig
from suiro.connectors.postgres.destination import FORMAT, PostgresDestination
from suiro.connectors.postgres.raw import PIECE_BYTES, copy_out
from suiro.connectors.postgres.source import PostgresSource
from suiro.model.change import Checkpoint
from suiro.model.errors import AuthError, Cancelled, ConnectionLost, DataError
from suiro.model.job import TaskKey
from suiro.model.schema import Table
from suiro.model.selection import Selection, WriteMode, WriteSpec
from suiro.spi.powers import Wire
from suiro.testing.context import LocalContext

MAKE = """
CREATE TABLE narrow AS SELECT g::bigint AS id, g::int % 7 AS n, 'x' || g AS t FROM generate_series(1, 100000) g;
CREATE VIEW breaks AS SELECT id, n, 1 / (id - 90000) AS broken FROM narrow;
CREATE VIEW waits AS SELECT id, CASE WHEN id = 50000 THEN pg_sleep(60)::text ELSE t END AS t FROM narrow
"""


@pytest.fixture
def url(any_postgres_url: str) -> Iterator[str]:
    with psycopg.connect(any_postgres_url, autocommit=True) as session:
        session.execute(MAKE)
        yield any_postgres_url
        session.execute("DROP TABLE narrow CASCADE")


@pytest.fixture
def context(tmp_path: Path) -> LocalContext:
    return LocalContext(run="raw", workdir=tmp_path)


def config_of(url: str, **more: Any) -> PostgresConfig:
    at = urlsplit(url)
    given = {"host": at.hostname, "port": at.port, "database": at.path[1:], "user": at.username}
    return PostgresConfig.model_validate({**given, "password": at.password, **more})


def pieces(url: str, stream: str, context: LocalContext) -> Iterator[bytes | memoryview | Checkpoint]:
    """What a read of the stream hands over."""
    with closing(PostgresSource(config_of(url), context)) as source:
        found = source.find(stream)
        (read,) = source.plan([Selection(stream=found, columns=tuple(found.schema.names))])
        with psycopg.connect(url) as session:
            session.execute(f"INSERT INTO narrow (id, n, t) VALUES (0, 0, '{stream}')")  # after the snapshot
        yield from source.read_raw(read)


def sessions(url: str) -> int:
    """Sessions of a run's own that work in this database."""
    with psycopg.connect(url) as session:
        asked = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'COPY %'"
        row = session.execute(asked + " AND state = 'active'").fetchone()
    assert row is not None
    return int(row[0])


def until_none(url: str) -> None:
    """Wait until no COPY is under way."""
    end = time.monotonic() + 10
    while sessions(url):
        assert time.monotonic() < end, "the server still copies"
        time.sleep(0.05)


@pytest.mark.parametrize("stream", ["narrow", "twice"])
def test_the_bytes_are_those_that_the_server_wrote_in_the_snapshot(
    url: str, stream: str, context: LocalContext
) -> None:
    with psycopg.connect(url) as session:
        session.execute("CREATE VIEW twice AS SELECT id, t FROM narrow UNION ALL SELECT -id, t FROM narrow")
    with (
        psycopg.connect(url) as session,
        session.cursor().copy(f"COPY (SELECT * FROM {stream}) TO STDOUT (FORMAT binary)".encode()) as rows,
    ):
        expected = b"".join(bytes(piece) for piece in rows)
    *found, last = pieces(url, stream, context)
    assert isinstance(last, Checkpoint)
    assert b"".join(bytes(piece) for piece in found if not isinstance(piece, Checkpoint)) == expected
    sizes = [len(piece) for piece in found if not isinstance(piece, Checkpoint)]
    assert len(sizes) > 2
    assert all(PIECE_BYTES <= size < 2 * PIECE_BYTES for size in sizes[:-1])


def test_an_error_in_the_middle_is_the_servers(url: str, context: LocalContext) -> None:
    with pytest.raises(DataError, match="reading: PostgreSQL says: division by zero"):
        list(pieces(url, "breaks", context))


def test_a_session_that_is_ended_in_the_middle_is_a_lost_connection(url: str, context: LocalContext) -> None:
    found = pieces(url, "waits", context)
    next(found)
    with psycopg.connect(url, autocommit=True) as session:
        asked = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
        session.execute(asked + " AND query LIKE 'COPY %' AND pid <> pg_backend_pid()")
    with pytest.raises(ConnectionLost):
        list(found)


def test_a_cancelled_run_stops_a_silent_server(url: str, context: LocalContext) -> None:
    found = pieces(url, "waits", context)
    next(found)
    threading.Timer(0.5, context.cancel).start()
    started = time.monotonic()
    with pytest.raises(Cancelled):
        list(found)
    assert time.monotonic() - started < 10
    until_none(url)


def test_who_stops_reading_stops_the_server(url: str, context: LocalContext) -> None:
    found = pieces(url, "waits", context)
    next(found)
    found.close()  # type: ignore[attr-defined]
    until_none(url)


def test_a_server_that_cannot_be_reached_says_why(url: str, context: LocalContext) -> None:
    def never(session: Any, output: Any) -> Any:
        raise AssertionError

    nobody = config_of(url, port=1)
    with pytest.raises(ConnectionLost, match="reading: nothing answers at"):
        next(copy_out(nobody, context, never, snapshot=None, version=150000))
    wrong = config_of(url, password="wrong")
    with pytest.raises(AuthError, match="reading: the server refused user"):
        next(copy_out(wrong, context, never, snapshot=None, version=150000))


def test_names_of_any_kind_pass(url: str) -> None:
    with psycopg.connect(url) as session:
        session.execute('CREATE SCHEMA "my ""own"""')
        session.execute('CREATE TABLE "my ""own"""."注文 ""1""" AS SELECT 1 AS "SELECT", 2 AS "a b"')
    try:
        done = copied(url, url, '"my ""own"""."注文 ""1"""', table="passed")
        assert done.path == "postgresql binary COPY"
        with psycopg.connect(url) as session:
            assert session.execute('SELECT "SELECT", "a b" FROM passed').fetchall() == [(1, 2)]
    finally:
        with psycopg.connect(url) as session:
            session.execute('DROP SCHEMA "my ""own""" CASCADE')


def test_decimals_pass_with_nan_and_add_up(url: str) -> None:
    """NaN is left out of sums on both sides, and counted."""
    with psycopg.connect(url) as session:
        session.execute("CREATE TABLE readings AS SELECT id, (id * 0.25)::numeric(12,4) AS size FROM narrow")
        session.execute("UPDATE readings SET size = 'NaN' WHERE id % 1000 = 0")
    try:
        done = copied(url, url, "readings", table="passed")
        assert (done.path, done.rows_written) == ("postgresql binary COPY", 100_000)
        with psycopg.connect(url) as session:
            asked = "SELECT count(*), sum(size) FILTER (WHERE size <> 'NaN') FROM passed WHERE size {} 'NaN'"
            assert session.execute(asked.format("=").encode()).fetchone() == (100, None)
            expected = sum(n for n in range(100_001) if n % 1000) * Decimal("0.25")
            assert session.execute(asked.format("<>").encode()).fetchone() == (99_900, expected)
    finally:
        with psycopg.connect(url) as session:
            session.execute("DROP TABLE readings, passed")


EDGES = """
CREATE TABLE edges AS SELECT at, at AT TIME ZONE 'UTC' AS zoned, at::time AS clock FROM (
    SELECT edge::timestamp + n * interval '1 microsecond' AS at
    FROM unnest('{1901-01-01,2039-01-01,1970-01-01,0001-01-01,9999-12-31,294200-01-01}'::text[]) edge,
         generate_series(-500, 500) n
    UNION ALL SELECT '1901-01-01'::timestamp + random() * interval '1655000 hours' FROM generate_series(1, 50000)
    UNION ALL SELECT unnest('{infinity,-infinity,NULL,4713-01-01 BC}'::timestamp[])
) moments
"""


def test_sums_of_times_are_exact_to_the_microsecond(url: str, context: LocalContext) -> None:
    """Whatever way they are added up, and whatever ends an interval."""
    with psycopg.connect(url) as session:
        session.execute("SET TimeZone = 'UTC'")
        session.execute("SELECT setseed(0.5)")
        session.execute(EDGES)
        session.execute("UPDATE edges SET clock = '24:00' WHERE clock IS NULL")
        exact = "sum(extract(epoch FROM {0})::numeric * 1000000) FILTER (WHERE isfinite({1}))"
        sums = ", ".join(exact.format(name, "at") for name in ("at", "zoned"))
        row = session.execute(
            f"SELECT {sums}, sum(extract(hour FROM clock)::numeric * 3600000000 + extract(minute FROM clock)::numeric "
            "* 60000000 + extract(microseconds FROM clock)::numeric) FROM edges".encode()
        ).fetchone()
    assert row is not None
    with closing(PostgresSource(config_of(url), context)) as source:
        found = source.find("edges")
        (read,) = source.plan([Selection(stream=found, columns=tuple(found.schema.names))])
        summary = source.summarise(read, columns=True, key=())
    try:
        for name, total in zip(("at", "zoned", "clock"), row, strict=True):
            assert summary.columns[name].total == int(total) % 2**64, name
    finally:
        with psycopg.connect(url) as session:
            session.execute("DROP TABLE edges")


def test_a_destination_that_is_closed_while_rows_pass_leaves_no_staging(url: str, context: LocalContext) -> None:
    """The session that copies holds a lock on the staging table: it ends first."""
    found = pieces(url, "narrow", context)
    first = next(found)
    assert isinstance(first, bytes)
    destination = PostgresDestination(config_of(url), context)
    key = TaskKey(source="s", stream="narrow", filter="", table="passed")
    claim = destination.claim(key, "run")
    schema = pa.schema([("id", pa.int64()), ("n", pa.int32()), ("t", pa.string())])
    table = Table(name="passed", schema=schema, primary_key=())
    wire = Wire(format=FORMAT, columns=(("id", "bigint"), ("n", "integer"), ("t", "text")))
    stage = destination.stage_raw(table, WriteSpec(mode=WriteMode.REPLACE), claim, wire)
    stage.write(first)
    destination.close()
    found.close()  # type: ignore[attr-defined]
    with psycopg.connect(url) as session:
        left = session.execute("SELECT relname FROM pg_class WHERE relname LIKE '\\_suiro\\_stage%'").fetchall()
        session.execute("DROP TABLE _suiro_markers")
    assert left == []
