"""Servers over each metadata database, and a shop in PostgreSQL to copy from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import psycopg
import pytest

from served import Api, Served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(params=["sqlite", "postgres"])
def metadata_url(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str | None:
    """Where the metadata is: None for the file in Suiro's home."""
    if request.param == "sqlite":
        return None
    url: str = request.getfixturevalue("postgres18_url")
    monkeypatch.setenv("SUIRO_METADATA_URL", url)
    return url


@pytest.fixture
def server(suiro_home: Path, metadata_url: str | None) -> Iterator[Served]:
    """A server in the test's home."""
    with Served(suiro_home, metadata_url) as served:
        yield served


@pytest.fixture
def api(server: Served) -> Api:
    """Whoever may do everything."""
    return Api(server.client())


@pytest.fixture
def sqlite_server(suiro_home: Path) -> Iterator[Served]:
    """A server in the test's home, for what is the same over every metadata database."""
    with Served(suiro_home) as served:
        yield served


@pytest.fixture(scope="module")
def lone_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server on SQLite for all tests of a module that change nothing."""
    with Served(tmp_path_factory.mktemp("served") / "home") as served:
        yield served


@pytest.fixture
def shop_url(postgres_url: str) -> str:
    """A database with 1,000 orders, and a view that takes a minute to read."""
    with psycopg.connect(postgres_url) as session:
        session.execute("CREATE TABLE orders (id int PRIMARY KEY, amount numeric(12,2), note text)")
        session.execute("INSERT INTO orders SELECT n, n * 1.5, '日本' FROM generate_series(1, 1000) n")
        session.execute("CREATE VIEW slow AS SELECT 1 AS id, pg_sleep(60)::text AS waited")
    return postgres_url


def postgres_settings(url: str) -> dict[str, Any]:
    """A connection's settings, from an address."""
    found = urlsplit(url)
    return {
        "host": found.hostname,
        "port": found.port,
        "database": found.path.strip("/"),
        "user": found.username,
        "password": found.password,
    }


@pytest.fixture
def shop(shop_url: str) -> dict[str, Any]:
    """The shop's connection, as a PUT takes it."""
    return {"connector": "postgres", "settings": postgres_settings(shop_url)}
