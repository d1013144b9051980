"""Streams that change under a task: one documented outcome for each change and policy, told in the run's record."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest

from copying import copied, copy
from mariadb import MariaDBServer, database_of
from suiro.model.job import Drift
from suiro.model.run import Status, TaskRun
from suiro.model.selection import WriteMode

Rows = list[tuple[Any, ...]]
CHANGES = {
    "new column": "ALTER TABLE s ADD note text DEFAULT 'n'",
    "widened type": "ALTER TABLE s ALTER amount TYPE bigint; UPDATE s SET amount = 3000000000 WHERE id = 2",
    "other type": "ALTER TABLE s ALTER amount TYPE text; UPDATE s SET amount = 'many' WHERE id = 2",
    "narrowed type": "ALTER TABLE s ALTER amount TYPE smallint",
    "vanished column": "ALTER TABLE s DROP COLUMN amount",
    "renamed key": "ALTER TABLE s RENAME COLUMN id TO uid",
}
#: What each change comes to under each policy: "refused", or how many rows are carried and rejected, and what is said.
OUTCOMES: dict[tuple[str, Drift], str | tuple[int, int, str]] = {
    ("new column", Drift.EVOLVE): (3, 0, "Column note is new: it is added to the table."),
    ("new column", Drift.IGNORE): (3, 0, "Column note is new: it is left out of the table."),
    ("new column", Drift.FREEZE): "has no column note, and its schema is frozen",
    ("new column", Drift.REJECT): (3, 0, "Column note is new: it is left out of the table."),
    ("widened type", Drift.EVOLVE): (3, 0, "Column amount is widened from int32 to int64."),
    ("widened type", Drift.IGNORE): "needs a wider one",
    ("widened type", Drift.FREEZE): "needs a wider one",
    ("widened type", Drift.REJECT): (2, 1, "Column amount is int64 now; rows that don't fit int32 are rejected."),
    ("other type", Drift.EVOLVE): "the stream's is string",
    ("other type", Drift.IGNORE): "the stream's is string",
    ("other type", Drift.FREEZE): "the stream's is string",
    ("other type", Drift.REJECT): (2, 1, "Column amount is string now; rows that don't fit int32 are rejected."),
    **{
        ("vanished column", drift): (3, 0, "Column amount of the table isn't in the stream: it is NULL in new rows.")
        for drift in Drift
    },
    **{
        ("narrowed type", drift): (3, 0, "Column amount is int16, narrower than the table's int32, which stays.")
        for drift in Drift
    },
    **{("renamed key", drift): "is keyed by id, and public.s by uid" for drift in Drift},
}
#: What the rows that are carried hold in the columns id and amount.
CARRIED: dict[str, Rows] = {
    "widened type": [(11, 10), (12, 3_000_000_000), (13, 30)],
    "vanished column": [(11, None), (12, None), (13, None)],
}

pytestmark = pytest.mark.crossed("place")


@dataclass(frozen=True, slots=True)
class Place:
    """A destination, and how to look into it."""

    kind: str
    url: str
    ask: Callable[[str], Rows]


@pytest.fixture(params=["postgres", "mariadb", "duckdb", "sqlite"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "postgres":
        url = request.getfixturevalue("postgres18_url")

        def ask(sql: str) -> Rows:
            with psycopg.connect(url) as session:
                return session.execute(sql.encode()).fetchall()

        return Place(request.param, url, ask)
    if request.param == "mariadb":
        url = request.getfixturevalue("mariadb_url")
        server: MariaDBServer = request.getfixturevalue("mariadb")
        return Place(request.param, url, lambda sql: server.execute(sql, database_of(url)))
    path = tmp_path / f"there.{request.param}"

    def look(sql: str) -> Rows:
        if request.param == "duckdb":
            with duckdb.connect(str(path)) as db:
                return db.execute(sql).fetchall()
        with closing(sqlite3.connect(path)) as lite:
            return lite.execute(sql).fetchall()

    return Place(request.param, f"{request.param}:///{path}", look)


@pytest.fixture
def source(postgres_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgres_url, autocommit=True) as session:
        session.execute("CREATE TABLE s (id int PRIMARY KEY, amount int)")
        session.execute("INSERT INTO s VALUES (1, 10), (2, 20), (3, 30)")
        yield session


def run(url: str, there: str, drift: Drift, **more: Any) -> TaskRun:
    return copy(url, there, "s", table="t", write=WriteMode.MERGE, drift=drift, most_rejected=2, **more)


@pytest.mark.parametrize("drift", list(Drift))
@pytest.mark.parametrize("change", CHANGES)
def test_a_change_has_one_outcome_that_the_record_tells(
    source: psycopg.Connection, postgres_url: str, place: Place, change: str, drift: Drift
) -> None:
    before = [(1, 10), (2, 20), (3, 30)]
    copied(postgres_url, place.url, "s", table="t", write=WriteMode.MERGE)
    source.execute(CHANGES[change].encode())
    source.execute("UPDATE s SET " + ("id = id + 10" if change != "renamed key" else "uid = uid + 10"))
    done = run(postgres_url, place.url, drift)
    wanted = OUTCOMES[change, drift]
    if isinstance(wanted, str):
        assert done.status is Status.FAILED and done.error is not None
        assert wanted in done.error.message
        assert place.ask("SELECT id, amount FROM t ORDER BY id") == before
        assert len(place.ask("SELECT * FROM t")[0]) == 2
        return
    carried, rejected, said = wanted
    assert done.error is None, done.error
    assert (done.rows_written, done.rows_rejected) == (carried, rejected)
    assert said in done.notes
    new = CARRIED.get(change, [(11, 10), (12, 20), (13, 30)])
    new = [row for row in new if not rejected or row[0] != 12]
    assert place.ask("SELECT id, amount FROM t ORDER BY id") == [*before, *new]
    if change == "new column" and drift is Drift.EVOLVE:
        assert place.ask("SELECT note FROM t ORDER BY id") == [*[(None,)] * 3, *[("n",)] * 3]
    if rejected:
        assert place.ask("SELECT column_name, count(*) FROM _suiro_rejected GROUP BY column_name") == [("amount", 1)]


@pytest.mark.parametrize("write", [WriteMode.APPEND, WriteMode.REPLACE, WriteMode.HISTORY])
def test_the_other_write_modes_evolve_and_refuse_alike(
    source: psycopg.Connection, postgres_url: str, place: Place, write: WriteMode
) -> None:
    def carry(drift: Drift) -> TaskRun:
        return copy(postgres_url, place.url, "s", table="t", write=write, drift=drift, key=("id",))

    def rows() -> int:
        return int(place.ask("SELECT count(*) FROM t")[0][0])

    kept = 0 if write is WriteMode.REPLACE else 3  # of the rows that each run finds
    assert carry(Drift.EVOLVE).error is None
    for change, said in (
        ("ALTER TABLE s ADD note text DEFAULT 'n'", "Column note is new: it is added to the table."),
        (CHANGES["widened type"], "Column amount is widened from int32 to int64."),
    ):
        before = rows()
        source.execute(change.encode())
        source.execute("UPDATE s SET amount = amount + 1")
        refused = carry(Drift.FREEZE)
        assert refused.error is not None and refused.error.code == "schema_conflict"
        assert rows() == before
        done = carry(Drift.EVOLVE)
        assert done.error is None, done.error
        assert said in done.notes
        assert rows() == (before if not kept else before + kept)
    assert place.ask("SELECT max(amount) FROM t") == [(3_000_000_001,)]
    assert place.ask("SELECT count(note) FROM t") == [(2 * kept or 3,)]


@pytest.mark.parametrize("write", list(WriteMode))
def test_a_new_column_and_a_wider_one_come_at_once(
    source: psycopg.Connection, postgres_url: str, place: Place, write: WriteMode
) -> None:
    copied(postgres_url, place.url, "s", table="t", write=write, key=("id",))
    source.execute("ALTER TABLE s ADD note text DEFAULT 'n', ALTER amount TYPE bigint")
    source.execute("UPDATE s SET amount = 3000000000 WHERE id = 2")
    done = copied(postgres_url, place.url, "s", table="t", write=write, key=("id",))
    assert "Column note is new: it is added to the table." in done.notes
    assert "Column amount is widened from int32 to int64." in done.notes
    assert place.ask("SELECT max(amount), count(note) FROM t") == [(3_000_000_000, 3)]


def test_a_column_that_comes_back_is_filled_again(source: psycopg.Connection, postgres_url: str, place: Place) -> None:
    copied(postgres_url, place.url, "s", table="t", write=WriteMode.MERGE)
    source.execute("ALTER TABLE s DROP amount")
    assert run(postgres_url, place.url, Drift.EVOLVE).error is None
    assert place.ask("SELECT id, amount FROM t ORDER BY id") == [(1, 10), (2, 20), (3, 30)]
    source.execute("ALTER TABLE s ADD amount int, ADD more text DEFAULT 'm'")
    source.execute("UPDATE s SET amount = 7 WHERE id = 1")
    done = run(postgres_url, place.url, Drift.EVOLVE)
    assert done.notes == ("Column more is new: it is added to the table.",), done.error
    assert place.ask("SELECT id, amount, more FROM t ORDER BY id") == [(1, 7, "m"), (2, None, "m"), (3, None, "m")]


def test_a_row_that_is_rejected_for_its_type_is_carried_when_corrected(
    source: psycopg.Connection, postgres_url: str, place: Place
) -> None:
    copied(postgres_url, place.url, "s", table="t", write=WriteMode.MERGE)
    source.execute(CHANGES["other type"].encode())
    assert run(postgres_url, place.url, Drift.EVOLVE).status is Status.FAILED
    done = run(postgres_url, place.url, Drift.REJECT)
    assert (done.status, done.rows_rejected) == (Status.WARNING, 1)
    assert place.ask("SELECT id, amount FROM t ORDER BY id") == [(1, 10), (2, 20), (3, 30)]
    source.execute("ALTER TABLE s DROP amount; ALTER TABLE s ADD more text")
    assert "Column more is new: it is added to the table." in run(postgres_url, place.url, Drift.EVOLVE).notes
