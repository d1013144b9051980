"""Three runners over one metadata store, killed at random: no run is lost, none doubled."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos.runners import played
from servers import PostgresServer
from suiro.store.systems import sqlite_url

RUNS = 40


@pytest.mark.parametrize("store", ["postgres", "sqlite"])
def test_runs_of_three_runners_that_are_killed_arrive_once(
    store: str,
    postgres: PostgresServer,
    suiro_home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    url = sqlite_url(home / "suiro.db") if store == "sqlite" else request.getfixturevalue("postgres_url")
    monkeypatch.setenv("SUIRO_HOME", str(home))
    monkeypatch.setenv("SUIRO_METADATA_URL", url)
    found = played(store, url, tmp_path, postgres, "short", RUNS, every=6)
    assert found.good, found
    assert found.kills > 2
