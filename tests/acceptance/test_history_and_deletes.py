"""Changing tables carried into histories, and rows that vanish at the source followed by comparing all keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest

from copying import copied, copy
from mariadb import MariaDBServer, database_of
from suiro.model.run import Status
from suiro.model.schema import ReadMode
from suiro.model.selection import Deletes, WriteMode

Rows = list[tuple[Any, ...]]
LEADS = "CREATE TABLE leads (id int PRIMARY KEY, name text, changed timestamptz NOT NULL)"
DESTINATIONS = ["postgres", "duckdb", "sqlite", "mariadb"]


@dataclass(frozen=True, slots=True)
class Place:
    """A destination, and how to look into it."""

    url: str
    ask: Callable[[str], Rows]


@pytest.fixture
def source(postgres_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgres_url, autocommit=True) as session:
        session.execute(LEADS)
        yield session


@pytest.fixture(params=DESTINATIONS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "postgres":
        url = request.getfixturevalue("postgres18_url")

        def ask(sql: str) -> Rows:
            with psycopg.connect(url) as session:
                return session.execute(sql.encode()).fetchall()

        return Place(url, ask)
    if request.param == "duckdb":
        path = tmp_path / "there.duckdb"

        def look(sql: str) -> Rows:
            with duckdb.connect(str(path)) as db:
                return db.sql(sql).fetchall()

        return Place(f"duckdb:///{path}", look)
    if request.param == "mariadb":
        url = request.getfixturevalue("mariadb_url")
        server: MariaDBServer = request.getfixturevalue("mariadb")
        return Place(url, lambda sql: server.execute(sql, database_of(url)))
    import sqlite3
    from contextlib import closing

    path = tmp_path / "there.sqlite"

    def peek(sql: str) -> Rows:
        with closing(sqlite3.connect(path)) as db:
            return db.execute(sql).fetchall()

    return Place(f"sqlite:///{path}", peek)


def url_of(session: psycopg.Connection) -> str:
    info = session.info
    return f"postgresql://{info.user}:{info.password}@{info.host}:{info.port}/{info.dbname}"


def versions(place: Place) -> Rows:
    rows = place.ask(
        "SELECT id, name, _suiro_valid_to IS NULL, _suiro_current FROM leads ORDER BY id, _suiro_valid_from"
    )
    return [(id_, name, bool(open_), bool(current)) for id_, name, open_, current in rows]


def test_a_history_read_by_its_time_keeps_every_version(source: psycopg.Connection, place: Place) -> None:
    settings = {"read": ReadMode.INCREMENTAL, "cursor": "changed", "write": WriteMode.HISTORY}
    source.execute("INSERT INTO leads VALUES (1, 'new', '2026-01-01Z'), (2, 'new', '2026-01-01Z')")
    assert copied(url_of(source), place.url, "leads", **settings).rows_written == 2
    source.execute("UPDATE leads SET name = 'won', changed = '2026-01-05Z' WHERE id = 1")
    done = copied(url_of(source), place.url, "leads", **settings)
    assert (1, "new", False, False) in versions(place)
    assert versions(place) == [(1, "new", False, False), (1, "won", True, True), (2, "new", True, True)]
    assert done.receipt is not None and done.receipt.inserted == 1
    assert copied(url_of(source), place.url, "leads", **settings).rows_written == 0


def test_a_history_of_full_reads_compares_what_is_there_with_what_was(source: psycopg.Connection, place: Place) -> None:
    source.execute("INSERT INTO leads VALUES (1, 'a', '2026-01-01Z'), (2, 'b', '2026-01-01Z'), (3, 'c', '2026-01-01Z')")
    for _ in range(2):
        copied(url_of(source), place.url, "leads", write=WriteMode.HISTORY, deletes=Deletes.HARD)
    assert [row[3] for row in versions(place)] == [True] * 3
    source.execute("UPDATE leads SET name = 'z' WHERE id = 1")
    source.execute("DELETE FROM leads WHERE id = 2")
    done = copied(url_of(source), place.url, "leads", write=WriteMode.HISTORY, deletes=Deletes.HARD)
    assert (done.rows_written, done.rows_deleted) == (1, 1)
    wanted = [(1, "a", False, False), (1, "z", True, True), (2, "b", False, False), (3, "c", True, True)]
    assert versions(place) == wanted


@pytest.mark.parametrize("deletes", [Deletes.SOFT, Deletes.HARD])
def test_rows_that_vanish_between_incremental_reads_are_found_by_comparing_all_keys(
    source: psycopg.Connection, place: Place, deletes: Deletes
) -> None:
    settings = {"read": ReadMode.INCREMENTAL, "cursor": "changed", "write": WriteMode.MERGE, "deletes": deletes}
    source.execute("INSERT INTO leads SELECT n, 'lead ' || n, '2026-01-01Z' FROM generate_series(1, 10) n")
    copied(url_of(source), place.url, "leads", **settings)
    source.execute("DELETE FROM leads WHERE id IN (3, 4)")
    source.execute("INSERT INTO leads VALUES (11, 'lead 11', '2026-01-02Z')")
    done = copied(url_of(source), place.url, "leads", **settings)
    assert (done.rows_written, done.rows_deleted) == (1, 2)
    assert "All 9 keys were compared; 2 rows are no longer at the source." in done.notes
    alive = "SELECT id FROM leads" + (" WHERE _suiro_deleted_at IS NULL" if deletes is Deletes.SOFT else "")
    assert sorted(place.ask(alive)) == [(1,), (2,), *[(n,) for n in range(5, 12)]]
    assert place.ask("SELECT count(*) FROM leads") == [(11 if deletes is Deletes.SOFT else 9,)]
    source.execute("INSERT INTO leads VALUES (3, 'back', '2026-01-03Z')")
    copied(url_of(source), place.url, "leads", **settings)
    assert (3,) in place.ask(alive)


def test_a_source_that_suddenly_lacks_most_rows_stops_the_run(source: psycopg.Connection, place: Place) -> None:
    settings = {"read": ReadMode.INCREMENTAL, "cursor": "changed", "write": WriteMode.MERGE, "deletes": Deletes.HARD}
    source.execute("INSERT INTO leads SELECT n, 'lead', '2026-01-01Z' FROM generate_series(1, 10) n")
    copied(url_of(source), place.url, "leads", **settings)
    source.execute("DELETE FROM leads WHERE id > 4")
    done = copy(url_of(source), place.url, "leads", **settings)
    assert done.status is Status.FAILED and done.error is not None
    assert "lacks 6 of the 10 rows of leads (60%), more than the 50%" in done.error.message
    assert place.ask("SELECT count(*) FROM leads") == [(10,)]
    assert copied(url_of(source), place.url, "leads", **settings, most_deleted=0.6).rows_deleted == 6


def test_a_filter_scopes_the_comparison(source: psycopg.Connection, place: Place) -> None:
    source.execute("INSERT INTO leads SELECT n, 'lead', '2026-01-01Z' FROM generate_series(1, 10) n")
    settings = {"write": WriteMode.MERGE, "deletes": Deletes.HARD, "where": "id <= 8"}
    copied(url_of(source), place.url, "leads", **settings)
    source.execute("DELETE FROM leads WHERE id = 8")
    assert copied(url_of(source), place.url, "leads", **settings).rows_deleted == 1


def test_a_row_of_a_file_that_cannot_be_read_is_never_taken_for_deleted(place: Place, tmp_path: Path) -> None:
    people = tmp_path / "people.csv"
    people.write_text("id,name\n" + "".join(f"{n},name {n}\n" for n in range(1, 7)))
    settings = {"write": WriteMode.MERGE, "key": ("id",), "deletes": Deletes.HARD, "most_rejected": 5}
    copied(f"file://{people}", place.url, "people", **settings)
    people.write_text("id,name\n1,name 1\n2,name,2\n" + "".join(f"{n},name {n}\n" for n in range(3, 6)))
    done = copy(f"file://{people}", place.url, "people", **settings)
    assert done.status is Status.FAILED and done.error is not None
    assert "row 3" in done.error.message or "line 3" in done.error.message
    assert place.ask("SELECT count(*) FROM people") == [(6,)]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"deletes": Deletes.SOFT}, "can't be followed when rows are written with replace"),
        ({"deletes": Deletes.SOFT, "write": WriteMode.MERGE, "limit": 5}, "with a limit"),
        ({"deletes": Deletes.HARD, "write": WriteMode.MERGE, "most_deleted": 3.0}, "between 0 and 1"),
    ],
)
def test_deletes_that_cannot_be_followed_are_refused(
    source: psycopg.Connection, tmp_path: Path, settings: dict[str, Any], said: str
) -> None:
    done = copy(url_of(source), f"duckdb:///{tmp_path}/d.duckdb", "leads", **settings)
    assert done.error is not None and said in done.error.message


def test_files_say_that_they_keep_no_history(source: psycopg.Connection, tmp_path: Path) -> None:
    done = copy(url_of(source), f"file://{tmp_path}/out", "leads", write=WriteMode.HISTORY)
    assert done.error is not None and "doesn't write in mode history" in done.error.message
