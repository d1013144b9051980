"""Streams that change under a task: one documented outcome for each change and policy, told in the run's record."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from copying import copied, copy
from suiro.model.job import Drift
from suiro.model.run import Status, TaskRun
from suiro.model.selection import WriteMode

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
    ("vanished column", Drift.EVOLVE): (
        3,
        0,
        "Column amount of the table isn't in the stream: it is NULL in new rows.",
    ),
    ("vanished column", Drift.IGNORE): (
        3,
        0,
        "Column amount of the table isn't in the stream: it is NULL in new rows.",
    ),
    ("vanished column", Drift.FREEZE): (
        3,
        0,
        "Column amount of the table isn't in the stream: it is NULL in new rows.",
    ),
    ("vanished column", Drift.REJECT): (
        3,
        0,
        "Column amount of the table isn't in the stream: it is NULL in new rows.",
    ),
    **{
        ("narrowed type", drift): (3, 0, "Column amount is int16, narrower than the table's int32, which stays.")
        for drift in Drift
    },
    **{("renamed key", drift): "is keyed by id, and public.s by uid" for drift in Drift},
}


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
    source: psycopg.Connection, postgres_url: str, postgres18_url: str, change: str, drift: Drift
) -> None:
    copied(postgres_url, postgres18_url, "s", table="t", write=WriteMode.MERGE)
    source.execute(CHANGES[change].encode())
    source.execute("UPDATE s SET " + ("id = id + 10" if change != "renamed key" else "uid = uid + 10"))
    done = run(postgres_url, postgres18_url, drift)
    wanted = OUTCOMES[change, drift]
    if isinstance(wanted, str):
        assert done.status is Status.FAILED and done.error is not None
        assert wanted in done.error.message
        assert held(postgres18_url) == 3
    else:
        carried, rejected, said = wanted
        assert done.error is None, done.error
        assert (done.rows_written, done.rows_rejected) == (carried, rejected)
        assert said in done.notes
        assert held(postgres18_url) == 3 + carried


def held(url: str) -> int:
    with psycopg.connect(url) as session:
        row = session.execute("SELECT count(*) FROM t").fetchone()
    return 0 if row is None else int(row[0])


@pytest.mark.parametrize("kind", ["duckdb", "sqlite"])
def test_embedded_databases_follow_and_reject_too(
    source: psycopg.Connection, postgres_url: str, tmp_path: Path, kind: str
) -> None:
    there = f"{kind}:///{tmp_path}/d.{kind}"
    copied(postgres_url, there, "s", table="t", write=WriteMode.MERGE)
    source.execute(CHANGES["other type"].encode())
    assert run(postgres_url, there, Drift.EVOLVE).status is Status.FAILED
    done = run(postgres_url, there, Drift.REJECT)
    assert (done.status, done.rows_rejected) == (Status.WARNING, 1)
    source.execute("ALTER TABLE s DROP amount; ALTER TABLE s ADD more text")
    assert "Column more is new: it is added to the table." in run(postgres_url, there, Drift.EVOLVE).notes
