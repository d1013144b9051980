"""Numerics of PostgreSQL that are no numbers, in columns that travel as decimals: rejected, or the end of the read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pyarrow as pa
import pytest

from connectors.test_postgres import config_of
from copying import copied, copy
from suiro.app.tasks import window_of
from suiro.connectors.postgres.source import PostgresSource
from suiro.model.change import Checkpoint, Rejected, Rows
from suiro.model.run import Status
from suiro.model.schema import ReadMode
from suiro.model.selection import Deletes, Selection, WriteMode
from suiro.testing.context import LocalContext

READINGS = "CREATE TABLE readings (id int PRIMARY KEY, small numeric(12, 2), large numeric(30, 5), name text)"
REASON = "column {} is numeric and holds NaN, which no decimal can"


@pytest.fixture
def source(any_postgres_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(any_postgres_url, autocommit=True) as session:
        session.execute(READINGS)
        yield session


@pytest.fixture
def url(any_postgres_url: str) -> str:
    return any_postgres_url


class There:
    """A DuckDB file."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "there.duckdb"
        self.url = f"duckdb://{self.path}"

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.path)) as db:
            return db.execute(sql).fetchall()

    def kept(self) -> list[dict[str, str | None]]:
        return [json.loads(row) for (row,) in self.ask('SELECT "row" FROM _suiro_rejected ORDER BY id')]


@pytest.fixture
def there(tmp_path: Path) -> There:
    return There(tmp_path)


def fill(source: psycopg.Connection, rows: int, column: str, every: int) -> None:
    source.execute(f"INSERT INTO readings SELECT n, n / 100.0, n / 7.0, '水' FROM generate_series(1, {rows}) n")
    source.execute(f"UPDATE readings SET {column} = 'NaN' WHERE id % {every} = 0".encode())


@pytest.mark.parametrize("column", ["small", "large"])
@pytest.mark.parametrize(("rows", "every", "bad"), [(50_000, 500, 100), (20, 1, 20), (9, 10, 0)])
def test_nan_is_rejected_by_its_column_and_all_other_rows_arrive(
    source: psycopg.Connection, url: str, there: There, column: str, rows: int, every: int, bad: int
) -> None:
    fill(source, rows, column, every)
    refused = copy(url, there.url, "readings")
    assert (refused.error.message if refused.error else None) == (REASON.format(column) if bad else None)
    done = copy(url, there.url, "readings", most_rejected=bad)
    assert done.error is None, done.error
    assert (done.rows_read, done.rows_written, done.rows_rejected) == (rows, rows - bad, bad)
    assert done.receipt is not None and done.receipt.adds_up and done.receipt.equal
    left = [n for n in range(1, rows + 1) if n % every] if bad else range(1, rows + 1)
    found = there.ask("SELECT count(*), coalesce(sum(id), 0), sum(small) FROM readings")
    assert found[0][:2] == (len(left), sum(left))
    assert found[0][2] == (sum(Decimal(n).scaleb(-2) for n in left) if left else None)
    if bad:
        assert there.ask("SELECT DISTINCT column_name, reason FROM _suiro_rejected") == [
            (column, REASON.format(column))
        ]


def test_a_limit_that_is_passed_ends_the_run(source: psycopg.Connection, url: str, there: There) -> None:
    fill(source, 100, "small", 10)
    done = copy(url, there.url, "readings", most_rejected=0.09)
    assert done.status is Status.FAILED and done.error is not None
    assert "10 of 100 rows were rejected, more than 9.00%" in done.error.message
    assert not there.path.exists() or there.ask("SELECT * FROM duckdb_tables() WHERE table_name = 'readings'") == []


def test_corrected_rows_are_carried_again(source: psycopg.Connection, url: str, there: There) -> None:
    source.execute("ALTER TABLE readings ADD day date, ADD at timestamptz, ADD raw bytea, ADD how uuid, ADD tags int[]")
    source.execute("ALTER TABLE readings ADD flag bool, ADD f float8, ADD j jsonb, ADD free numeric, ADD i interval")
    source.execute(
        "INSERT INTO readings VALUES (1, 1.5, 12345678901234567890.12345, 'a \"b\" 水', '2026-01-02', "
        "'2026-01-02 03:04:05.678901Z', '\\x00ff', '123e4567-e89b-12d3-a456-426655440000', '{1,NULL}', true, 0.1, "
        "'{\"a\": 1.10}', 1e30, '1 day 02:00:00')"
    )
    source.execute("INSERT INTO readings SELECT 2, 'NaN', large, " + _REST + " FROM readings WHERE id = 1")
    source.execute("INSERT INTO readings SELECT 3, 'NaN', 'NaN', " + _REST + " FROM readings WHERE id = 1")
    source.execute("INSERT INTO readings (id, large, day) VALUES (4, 'NaN', '-infinity')")
    done = copy(url, there.url, "readings", write=WriteMode.MERGE, most_rejected=3)
    assert (done.rows_written, done.rows_rejected) == (1, 3), done.error
    assert {(row["small"], row["large"]) for row in there.kept()} == {
        ("NaN", "12345678901234567890.12345"),
        ("NaN", "NaN"),
        (None, "NaN"),
    }
    reasons = {reason for (reason,) in there.ask("SELECT reason FROM _suiro_rejected")}
    assert f"{REASON.format('small')}; {REASON.format('large')}" in reasons
    still = copy(url, there.url, "readings", write=WriteMode.MERGE, retry=True)
    assert still.error is not None and "hold something in small that is no decimal128(12, 2)" in still.error.message
    there.ask("""UPDATE _suiro_rejected SET "row" = replace("row", '"NaN"', '"7.25"')""")
    again = copy(url, there.url, "readings", write=WriteMode.MERGE, retry=True)
    assert (again.status, again.rows_read, again.rows_written) == (Status.SUCCEEDED, 3, 3), again.error
    assert there.ask("SELECT count(*) FROM _suiro_rejected") == [(0,)]
    first, second, third, fourth = there.ask(
        'SELECT * REPLACE (CAST("at" AS VARCHAR) AS "at") FROM readings ORDER BY id'
    )
    assert second == (2, Decimal("7.25"), *first[2:])
    assert third == (3, Decimal("7.25"), Decimal("7.25"), *first[3:])
    assert fourth[:3] == (4, None, Decimal("7.25"))


_REST = "name, day, at, raw, how, tags, flag, f, j, free, i"


def test_a_rejected_row_at_the_boundary_is_rejected_once(source: psycopg.Connection, url: str, there: There) -> None:
    settings: dict[str, Any] = {"read": ReadMode.INCREMENTAL, "cursor": "id", "write": WriteMode.APPEND}
    fill(source, 10, "small", 5)
    first = copy(url, there.url, "readings", **settings, most_rejected=5)
    assert (first.rows_written, first.rows_rejected) == (8, 2), first.error
    same = copy(url, there.url, "readings", **settings, most_rejected=5)
    assert (same.status, same.rows_read, same.rows_rejected) == (Status.SUCCEEDED, 1, 0), same.error
    source.execute("INSERT INTO readings VALUES (11, 1, 1, 'new'), (12, 1, 'NaN', 'new')")
    more = copy(url, there.url, "readings", **settings, most_rejected=5)
    assert (more.rows_written, more.rows_rejected) == (1, 1), more.error
    assert sorted(row["id"] or "" for row in there.kept()) == ["10", "12", "5"]


def test_a_cursor_that_is_nan_ends_the_read(source: psycopg.Connection, url: str, there: There) -> None:
    fill(source, 10, "small", 5)
    settings: dict[str, Any] = {"read": ReadMode.INCREMENTAL, "cursor": "small", "most_rejected": 5}
    done = copy(url, there.url, "readings", **settings)
    assert done.error is not None and done.error.message.startswith(f"{REASON.format('small')}; the column is the curs")
    assert copied(url, there.url, "readings", **settings, where="small <> 'NaN'").rows_written == 8


def test_a_query_and_windows_reject_too(source: psycopg.Connection, url: str, there: There) -> None:
    fill(source, 100, "small", 30)
    settings: dict[str, Any] = {"read": ReadMode.INCREMENTAL, "cursor": "id", "most_rejected": 5}
    done = copy(url, there.url, "readings", **settings, window=window_of("25"))
    assert (done.loads, done.rows_written, done.rows_rejected) == (4, 97, 3), done.error
    query = "REPLICATE asked SELECT id, small, large * 2 AS more FROM readings WHERE id <= 60"
    asked = copy(url, there.url, "asked", query=query, most_rejected=5)
    assert (asked.rows_written, asked.rows_rejected) == (58, 2), asked.error


def test_a_comparison_of_all_keys_reads_no_other_column(source: psycopg.Connection, url: str, there: There) -> None:
    fill(source, 10, "small", 5)
    settings: dict[str, Any] = {"write": WriteMode.MERGE, "deletes": Deletes.HARD, "most_rejected": 5}
    assert copy(url, there.url, "readings", **settings).rows_rejected == 2
    source.execute("DELETE FROM readings WHERE id = 1")
    done = copy(url, there.url, "readings", **settings)
    assert (done.rows_deleted, done.rows_rejected) == (1, 2), done.error
    assert there.ask("SELECT count(*) FROM readings") == [(7,)]


def test_a_batch_keeps_its_types_and_order_without_the_rejected_rows(
    source: psycopg.Connection, url: str, tmp_path: Path
) -> None:
    fill(source, 7, "small", 3)
    reader = PostgresSource(config_of(url), LocalContext(run="r", workdir=tmp_path / "work"))
    with closing(reader):
        stream = reader.find("readings")
        (part,) = reader.plan([Selection(stream=stream, columns=tuple(stream.schema.names), rejects=True)])
        changes = list(reader.read(part, None))
    rows = pa.Table.from_batches([change.data for change in changes if isinstance(change, Rows)])
    assert rows.column("id").to_pylist() == [1, 2, 4, 5, 7]
    assert rows.schema.equals(stream.schema, check_metadata=True)
    assert [len(change.rows) for change in changes if isinstance(change, Rejected)] == [1, 1]
    assert isinstance(changes[-1], Checkpoint)
