"""A few trials of the chaos suite: every fault once, every destination; `script/chaos` plays as many as one likes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos.trials import FAULTS, Servers, Trial, graded, trial_of
from mariadb import MariaDBServer, installed_mariadb
from servers import PostgresServer, embedded_postgres, installed_postgres

SEED = "short"
#: The destinations that the faults meet here, so that none is left out.
MEETS = {
    "kill child": "duckdb",
    "kill runner": "sqlite",
    "kill both": "file",
    "end sessions": "mysql",
    "kill back end": "postgres",
    "cut the wire": "postgres",
    "fill the disk": "duckdb",
}


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    """Servers that may be broken: nobody else's."""
    bindir = installed_postgres() or embedded_postgres()
    assert bindir is not None
    program = installed_mariadb()
    with PostgresServer(bindir) as postgres:
        if program is None:
            yield Servers(postgres, None)
            return
        with MariaDBServer(program) as mariadb:
            yield Servers(postgres, mariadb)


@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_breaks_every_row_arrives_once(fault: str, servers: Servers, tmp_path: Path) -> None:
    kind = MEETS.get(fault, "mysql" if fault == "kill server" else "sqlite")
    if kind == "mysql" and servers.mariadb is None:
        pytest.skip("no MariaDB server")
    if fault == "fill the disk" and not Trial.can_mount():
        pytest.skip("only root can make a small disk")
    found = graded(trial_of(f"{SEED} {fault}", kind=kind, fault=fault), servers, tmp_path / "trial")
    assert found.good, found
