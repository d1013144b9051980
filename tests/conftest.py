"""Fixtures and settings that every test has."""

from __future__ import annotations

import os
import re
import zlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from deaths import EVERY
from mariadb import MariaDBServer, installed_mariadb
from servers import PostgresServer, embedded_postgres, installed_postgres
from shell import Shell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Servers = Callable[[Path], PostgresServer]

# Example counts; SUIRO_HYPOTHESIS=quick|long|thorough chooses.
for profile, examples in {"quick": 15, "long": 100, "thorough": 2000}.items():
    settings.register_profile(profile, max_examples=examples, deadline=None, derandomize=False, print_blob=True)
settings.load_profile(os.environ.get("SUIRO_HYPOTHESIS", "quick"))

INSTALLED = installed_postgres()
EMBEDDED = embedded_postgres()
MARIADB = installed_mariadb()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A third of the tests on further systems stay, others each time; with SUIRO_EVERY_STEP=1 all.

    These are a suite's on the second PostgreSQL, and those marked `crossed(NAME, ...)`, whose parameters of these names
    are systems: each with its other parameters stays on one choice of systems at least.
    """
    chance = os.environ.get("PYTEST_XDIST_TESTRUNUID")  # the same in all processes of a run
    if EVERY or chance is None:
        return
    gone, seen = set[pytest.Item](), set[str]()
    for item in sorted(items, key=lambda item: _drawn(chance, item)):
        further = _crossed(item) in seen or _on_second(item)
        seen.add(_crossed(item))
        if further and _drawn(chance, item) % 3:
            gone.add(item)
    config.hook.pytest_deselected(items=sorted(gone, key=lambda item: item.nodeid))
    items[:] = [item for item in items if item not in gone]


def _drawn(chance: str, item: pytest.Item) -> int:
    return zlib.crc32(f"{chance} {item.nodeid}".encode())


def _params(item: pytest.Item) -> dict[str, object]:
    return item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}


def _crossed(item: pytest.Item) -> str:
    """What a test does, wherever it does it."""
    marker = item.get_closest_marker("crossed")
    if marker is None:
        return item.nodeid
    others = {name: value for name, value in _params(item).items() if name not in marker.args}
    return re.sub(r" at 0x\w+", "", f"{item.nodeid.partition('[')[0]} {others}")  # alike in all processes


def _on_second(item: pytest.Item) -> bool:
    suite, params = item.getparent(pytest.Class), _params(item)
    return INSTALLED is not None and suite is not None and params.get("any_postgres_url") == "postgres18_url"


@pytest.fixture(autouse=True)
def suiro_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A SUIRO_HOME of the test's own (not made yet), and none of the caller's settings of Suiro and PostgreSQL."""
    for name in [name for name in os.environ if name.startswith(("SUIRO_", "PG"))]:
        monkeypatch.delenv(name)
    home = tmp_path / "suiro-home"
    monkeypatch.setenv("SUIRO_HOME", str(home))
    return home


@pytest.fixture
def suiro(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    """Runs commands of `suiro` in this process."""
    return Shell(capsys, monkeypatch)


@pytest.fixture(scope="session")
def postgres_servers() -> Iterator[Servers]:
    """Starts the server of a folder of binaries when a test first asks for it; stops all of them at the end."""
    running: dict[Path, PostgresServer] = {}

    def server(bindir: Path) -> PostgresServer:
        if bindir not in running:
            starting = PostgresServer(bindir)
            starting.start()
            running[bindir] = starting
        return running[bindir]

    yield server
    for started in running.values():
        started.stop()


@pytest.fixture(scope="session")
def postgres(postgres_servers: Servers) -> PostgresServer:
    """The newest server that the system's packages installed, else the embedded one."""
    bindir = INSTALLED or EMBEDDED
    if bindir is None:
        pytest.fail("no PostgreSQL server: install the system's `postgresql` package or `embedded-postgres`")
    return postgres_servers(bindir)


@pytest.fixture(scope="session")
def postgres18(postgres_servers: Servers) -> PostgresServer:
    """The embedded PostgreSQL 18."""
    if EMBEDDED is None:
        pytest.fail("no PostgreSQL 18: install requirements/dev.txt")
    return postgres_servers(EMBEDDED)


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> Iterator[str]:
    """The address of a fresh database on `postgres`, dropped after the test."""
    url = postgres.create_database()
    yield url
    postgres.drop_database(url)


@pytest.fixture
def postgres18_url(postgres18: PostgresServer) -> Iterator[str]:
    """The address of a fresh database on `postgres18`, dropped after the test."""
    url = postgres18.create_database()
    yield url
    postgres18.drop_database(url)


@pytest.fixture(params=["postgres_url", "postgres18_url"] if INSTALLED else ["postgres18_url"])
def any_postgres_url(request: pytest.FixtureRequest) -> str:
    """The address of a fresh database, once on each server that this machine has."""
    url: str = request.getfixturevalue(request.param)
    return url


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDBServer]:
    """The MariaDB server that the system's packages installed."""
    if MARIADB is None:
        pytest.skip("no MariaDB server: install the system's `mariadb-server-core` package")
    with MariaDBServer(MARIADB) as server:
        yield server


@pytest.fixture
def mariadb_url(mariadb: MariaDBServer) -> Iterator[str]:
    """The address of a fresh database on `mariadb`, dropped after the test."""
    url = mariadb.create_database()
    yield url
    mariadb.drop_database(url)
