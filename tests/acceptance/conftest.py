"""The founding story's systems, once for all tests of a process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from founding import SIZES, Arrived, Home, Town, arrive
from servers import PostgresServer
from suiro.sandbox.server import Running


@pytest.fixture(scope="session")
def town(postgres: PostgresServer) -> Iterator[Town]:
    """Salesforce, BigCommerce and a PostgreSQL database. Tests change what no other test looks at."""
    url = postgres.create_database()
    with Running(sizes=SIZES) as sandbox:
        found = Town(sandbox, url)
        yield found
        found.close()
    postgres.drop_database(url)


@pytest.fixture(scope="session")
def home(town: Town, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A Suiro home that knows the connections crm, shop and pg."""
    found = Home(tmp_path_factory.mktemp("founding") / "suiro")
    found.apply(connections=town.connections())
    return found


@pytest.fixture(scope="session")
def arrived(home: Home, town: Town) -> Arrived:
    """Leads and customers in the database, before anybody scored them. Who changes leads must ask for this first."""
    return arrive(home, town)
