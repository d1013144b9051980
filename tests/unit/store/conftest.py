"""A metadata database on each system."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from suiro.store.database import Database, open_database
from suiro.store.systems import sqlite_url

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a database that nobody has opened yet, once on each system."""
    if request.param == "sqlite":
        return sqlite_url(tmp_path / "suiro.db")
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A metadata database, open."""
    opened = open_database(database_url)
    yield opened
    opened.close()
