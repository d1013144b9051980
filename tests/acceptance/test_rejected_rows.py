"""Rows that can't be carried: kept with their reasons beside the table, and carried again after a fix."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest

from copying import copied, copy
from mariadb import MariaDBServer, database_of
from suiro.app.tasks import most_of
from suiro.model.errors import ConfigError
from suiro.model.job import Drift
from suiro.model.run import Status
from suiro.model.schema import ReadMode
from suiro.model.selection import WriteMode

Rows = list[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Place:
    """A destination, and how to ask it and to change something in it."""

    url: str
    ask: Callable[[str], Rows]


@pytest.fixture(params=["postgres", "duckdb", "sqlite", "mariadb"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "postgres":
        url = request.getfixturevalue("postgres_url")

        def ask(sql: str) -> Rows:
            with psycopg.connect(url) as session:
                found = session.execute(sql.encode())
                return found.fetchall() if found.description else []

        return Place(url, ask)
    if request.param == "mariadb":
        url = request.getfixturevalue("mariadb_url")
        server: MariaDBServer = request.getfixturevalue("mariadb")

        def say(sql: str) -> Rows:
            quoted = server.connect(database_of(url), sql_mode="ANSI_QUOTES")  # names in double quotes, as elsewhere
            with quoted as session, session.cursor() as cursor:
                cursor.execute(sql)
                return list(cursor.fetchall())

        return Place(url, say)
    path = tmp_path / f"there.{request.param}"

    def look(sql: str) -> Rows:
        if request.param == "duckdb":
            with duckdb.connect(str(path)) as db:
                return db.execute(sql).fetchall()
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            return db.execute(sql).fetchall()

    return Place(f"{request.param}:///{path}", look)


def orders(path: Path, rows: int, bad: int) -> None:
    """A SQLite file with `rows` orders, of which every so many have an amount that is no number."""
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, amount TEXT, note TEXT)")
        step = rows // bad if bad else rows + 1
        amounts = ((n, "unknown" if n % step == step - 1 else str(n % 100), "日本") for n in range(rows))
        db.executemany("INSERT INTO orders VALUES (?, ?, ?)", amounts)
        db.commit()


def test_one_percent_of_bad_rows_is_kept_with_reasons_and_carried_after_the_fix(place: Place, tmp_path: Path) -> None:
    source = f"sqlite:///{tmp_path}/source.sqlite"
    orders(tmp_path / "source.sqlite", 20_000, 200)
    place.ask("CREATE TABLE orders (id BIGINT PRIMARY KEY, amount BIGINT, note TEXT)")
    settings = {"write": WriteMode.MERGE, "key": ("id",), "drift": Drift.REJECT}
    refused = copy(source, place.url, "orders", **settings)
    assert refused.status is Status.FAILED and place.ask("SELECT count(*) FROM orders") == [(0,)]
    done = copy(source, place.url, "orders", **settings, most_rejected=0.02)
    assert (done.status, done.rows_written, done.rows_rejected) == (Status.WARNING, 19_800, 200)
    assert done.receipt is not None and done.receipt.adds_up and done.receipt.rejected == 200
    assert place.ask("SELECT count(*) FROM orders") == [(19_800,)]
    reasons = "SELECT column_name, reason, count(*) FROM _suiro_rejected GROUP BY column_name, reason"
    ((column, reason, number),) = place.ask(reasons)
    assert (column, number) == ("amount", 200) and "doesn't fit the table's int64" in reason
    first = json.loads(place.ask("SELECT row FROM _suiro_rejected ORDER BY id")[0][0])
    assert first["amount"] == "unknown" and first["note"] == "日本"

    place.ask("""UPDATE _suiro_rejected SET "row" = replace("row", '"unknown"', '"-1"')""")
    again = copy(source, place.url, "orders", **settings, retry=True)
    assert (again.status, again.rows_read, again.rows_written) == (Status.SUCCEEDED, 200, 200), again.error
    assert place.ask("SELECT count(*), min(amount) FROM orders") == [(20_000, -1)]
    assert place.ask("SELECT count(*) FROM _suiro_rejected") == [(0,)]
    assert copy(source, place.url, "orders", **settings, retry=True).rows_read == 0


def test_rows_that_are_still_bad_stay_where_they_are(place: Place, tmp_path: Path) -> None:
    source = f"sqlite:///{tmp_path}/source.sqlite"
    orders(tmp_path / "source.sqlite", 100, 10)
    place.ask("CREATE TABLE orders (id BIGINT PRIMARY KEY, amount BIGINT, note TEXT)")
    settings = {"write": WriteMode.MERGE, "key": ("id",), "drift": Drift.REJECT}
    copy(source, place.url, "orders", **settings, most_rejected=10)
    one = place.ask("SELECT min(id) FROM _suiro_rejected")[0][0]
    place.ask(f"""UPDATE _suiro_rejected SET "row" = replace("row", '"unknown"', '"7"') WHERE id = '{one}'""")
    again = copy(source, place.url, "orders", **settings, retry=True)
    assert (again.status, again.rows_written, again.rows_rejected) == (Status.WARNING, 1, 9)
    assert place.ask("SELECT count(*) FROM _suiro_rejected") == [(9,)]


@pytest.mark.parametrize(("most", "fails"), [(0, True), (9, True), (10, False), (0.09, True), (0.1, False)])
def test_limits_by_count_and_share_decide(tmp_path: Path, most: int | float, fails: bool) -> None:
    orders(tmp_path / "source.sqlite", 100, 10)
    there = tmp_path / "there.duckdb"
    with duckdb.connect(str(there)) as db:
        db.execute("CREATE TABLE orders (id BIGINT, amount BIGINT, note TEXT)")
    settings = {"write": WriteMode.APPEND, "drift": Drift.REJECT, "most_rejected": most}
    done = copy(f"sqlite:///{tmp_path}/source.sqlite", f"duckdb:///{there}", "orders", **settings)
    assert (done.status is Status.FAILED) == fails
    with duckdb.connect(str(there)) as db:
        assert db.sql("SELECT count(*) FROM orders").fetchall() == [(0 if fails else 90,)]


def test_lines_of_a_csv_file_that_are_no_rows_are_kept_as_they_stand(place: Place, tmp_path: Path) -> None:
    lines = [f"{n},name {n}" for n in range(1000)]
    lines[500], lines[700] = "500,name,too many", "700"
    (tmp_path / "people.csv").write_text("id,name\n" + "\n".join(lines) + "\n")
    source = f"file://{tmp_path}/people.csv"
    assert copy(source, place.url, "people").status is Status.FAILED
    done = copy(source, place.url, "people", most_rejected=5)
    assert (done.status, done.rows_written, done.rows_rejected) == (Status.WARNING, 998, 2), done.error
    kept = [json.loads(row)[""] for (row,) in place.ask('SELECT "row" FROM _suiro_rejected ORDER BY id')]
    assert sorted(kept) == ["500,name,too many", "700"]
    reasons = [reason for (reason,) in place.ask("SELECT reason FROM _suiro_rejected")]
    assert all("values where there are 2 columns" in reason for reason in reasons)

    append: dict[str, Any] = {"write": WriteMode.APPEND, "retry": True}
    again = copy(source, place.url, "people", **append)
    assert (again.status, again.rows_read, again.rows_written) == (Status.SUCCEEDED, 0, 0)
    assert again.notes == ("2 of the rejected rows stay: lines that are no row, or too long to be kept.",)
    assert place.ask("SELECT count(*) FROM people") == [(998,)]
    place.ask("""UPDATE _suiro_rejected SET "row" = '{"id": "700", "name": "name 700"}' WHERE "row" LIKE '%"700"%'""")
    mended = copy(source, place.url, "people", **append)
    assert (mended.rows_written, mended.notes) == (
        1,
        ("1 of the rejected rows stay: lines that are no row, or too long to be kept.",),
    )
    assert place.ask("SELECT name FROM people WHERE id = 700") == [("name 700",)]
    assert place.ask("SELECT count(*) FROM _suiro_rejected") == [(1,)]


def test_runs_of_the_same_name_keep_their_rejected_rows_apart(place: Place, tmp_path: Path) -> None:
    source = f"sqlite:///{tmp_path}/source.sqlite"
    orders(tmp_path / "source.sqlite", 100, 10)
    place.ask("CREATE TABLE orders (id BIGINT PRIMARY KEY, amount BIGINT, note TEXT)")
    settings = {"write": WriteMode.MERGE, "key": ("id",), "drift": Drift.REJECT, "most_rejected": 10}
    for _ in range(2):
        assert copy(source, place.url, "orders", run="nightly", **settings).rows_rejected == 10
    assert place.ask("SELECT count(*), count(DISTINCT id) FROM _suiro_rejected") == [(20, 20)]


def test_a_row_that_somebody_spoilt_is_told(place: Place, tmp_path: Path) -> None:
    source = f"sqlite:///{tmp_path}/source.sqlite"
    orders(tmp_path / "source.sqlite", 10, 1)
    place.ask("CREATE TABLE orders (id BIGINT PRIMARY KEY, amount BIGINT, note TEXT)")
    settings = {"write": WriteMode.MERGE, "key": ("id",), "drift": Drift.REJECT}
    assert copy(source, place.url, "orders", **settings, most_rejected=1).rows_rejected == 1
    for spoilt, said in (("{", "no JSON object"), ('{"id": 5}', "no int64"), ('{"id": "five"}', "no int64")):
        place.ask(f"""UPDATE _suiro_rejected SET "row" = '{spoilt}'""")
        again = copy(source, place.url, "orders", **settings, retry=True)
        assert again.error is not None and said in again.error.message
        assert place.ask("SELECT count(*) FROM _suiro_rejected") == [(1,)]


def test_a_condition_of_the_source_is_not_asked_of_rejected_rows_again(postgres_url: str, tmp_path: Path) -> None:
    with psycopg.connect(postgres_url) as session:
        session.execute("CREATE TABLE people (id int PRIMARY KEY, age text)")
        session.execute("INSERT INTO people VALUES (1, '20'), (2, 'old'), (3, '30'), (4, 'x')")
    there = tmp_path / "there.duckdb"
    with duckdb.connect(str(there)) as db:
        db.execute("CREATE TABLE people (id INTEGER, age INTEGER)")
    settings = {
        "write": WriteMode.MERGE,
        "key": ("id",),
        "drift": Drift.REJECT,
        "where": "id < 4 AND age ~ '^[a-z0-9]+$'",
    }
    done = copy(postgres_url, f"duckdb:///{there}", "people", **settings, most_rejected=5)
    assert (done.rows_written, done.rows_rejected) == (2, 1), done.error
    with duckdb.connect(str(there)) as db:
        db.execute("""UPDATE _suiro_rejected SET "row" = '{"id": "2", "age": "80"}'""")
    again = copy(postgres_url, f"duckdb:///{there}", "people", **settings, retry=True)
    assert (again.status, again.rows_written) == (Status.SUCCEEDED, 1), again.error


def test_a_key_that_is_null_is_a_reason(place: Place, tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text("id,name\n1,a\n,b\n3,c\n")
    settings = {"write": WriteMode.MERGE, "key": ("id",), "most_rejected": 1}
    done = copy(f"file://{tmp_path}/people.csv", place.url, "people", **settings)
    assert (done.rows_written, done.rows_rejected) == (2, 1)
    assert place.ask("SELECT reason FROM _suiro_rejected") == [("the row has NULL in the key column id",)]


def test_values_that_the_database_lacks_are_a_reason(tmp_path: Path, postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as session:
        session.execute("CREATE TABLE readings (id int PRIMARY KEY, v float8)")
        session.execute("INSERT INTO readings VALUES (1, 1.5), (2, 'NaN'), (3, 2.5)")
    there = f"sqlite:///{tmp_path}/there.sqlite"
    done = copy(postgres_url, there, "readings", most_rejected=1)
    assert (done.status, done.rows_written, done.rows_rejected) == (Status.WARNING, 2, 1)


def test_an_incremental_run_keeps_its_position_when_rejected_rows_are_carried(place: Place, tmp_path: Path) -> None:
    source = f"sqlite:///{tmp_path}/source.sqlite"
    orders(tmp_path / "source.sqlite", 100, 10)
    place.ask("CREATE TABLE orders (id BIGINT PRIMARY KEY, amount BIGINT, note TEXT)")
    settings: dict[str, Any] = {
        "read": ReadMode.INCREMENTAL,
        "cursor": "id",
        "drift": Drift.REJECT,
        "most_rejected": 10,
    }
    settings |= {"write": WriteMode.MERGE, "key": ("id",)}
    copy(source, place.url, "orders", **settings)
    place.ask("""UPDATE _suiro_rejected SET "row" = replace("row", '"unknown"', '"7"')""")
    assert copy(source, place.url, "orders", **settings, retry=True).rows_written == 10
    after = copied(source, place.url, "orders", **settings | {"most_rejected": 0})
    assert after.rows_read <= 1


def test_a_retry_without_rejected_rows_says_so(place: Place, tmp_path: Path) -> None:
    orders(tmp_path / "source.sqlite", 10, 0)
    done = copy(f"sqlite:///{tmp_path}/source.sqlite", place.url, "orders", retry=True)
    assert done.error is not None and "no rejected rows" in done.error.message


@pytest.mark.parametrize(("text", "wanted"), [("0", 0), ("100", 100), ("1%", 0.01), ("100%", 1.0)])
def test_limits_in_words(text: str, wanted: int | float) -> None:
    assert most_of(text) == wanted and type(most_of(text)) is type(wanted)


@pytest.mark.parametrize("text", ["", "-1", "101%", "many", "%"])
def test_what_is_no_limit(text: str) -> None:
    with pytest.raises(ConfigError):
        most_of(text)
