"""Runs under a memory bound: their budgets, and what their processes really had resident."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos.exam import World, incremental, table
from chaos.memory import Routes
from servers import PostgresServer
from suiro.app.jobs import LEAST_MEMORY
from suiro.engine.context import OWN_BYTES, Budgets
from suiro.model.selection import WriteMode

MIB = 2**20


def test_budgets_rise_with_the_bound_and_stay_within_it() -> None:
    bounds = [OWN_BYTES, LEAST_MEMORY, 512 * 10**6, 10**9, 16 * 10**9]
    found = [Budgets.within(bound) for bound in bounds]
    for bound, budgets in zip(bounds, found, strict=True):
        assert OWN_BYTES + budgets.connector + 2 * budgets.ahead + 2 * budgets.piece <= bound
    assert found == sorted(found, key=lambda budgets: (budgets.connector, budgets.ahead, budgets.piece, budgets.row))
    assert (found[-1].ahead, found[-1].piece) == (Budgets().ahead, Budgets().piece)


def test_a_row_that_is_too_large_for_the_bound_is_refused_by_its_column(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    world.streams.fill("orders", table([(1, 1, "a"), (2, 2, "x" * 2 * MIB)]), ("id",))
    monkeypatch.setattr("chaos.exam.Budgets", lambda load: Budgets.within(OWN_BYTES + 8 * MIB))
    done = world.run(incremental(WriteMode.APPEND))
    assert done is not None and done.error is not None
    assert (done.error.code, "its widest column is name" in done.error.message) == ("data_error", True), done.error
    assert world.rows() == []


@pytest.mark.parametrize(
    ("route", "bound"),
    [
        ("PostgreSQL to PostgreSQL, arrow", 256 * 10**6),
        ("PostgreSQL to DuckDB, merge", 512 * 10**6),
        ("PostgreSQL to Parquet, merge", 512 * 10**6),
    ],
)
def test_a_run_stays_below_its_bound(route: str, bound: int, postgres: PostgresServer, tmp_path: Path) -> None:
    found = Routes(postgres, None, tmp_path, 200_000).all[route](bound)
    assert found.ended == "succeeded", found
    assert found.rows >= 200_000
    assert 32 * MIB < found.peak < bound
