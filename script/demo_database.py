"""The demonstration's second system: the database that plays an application's."""

from __future__ import annotations

import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

TESTS = Path(__file__).resolve().parent.parent / "tests"


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """The database that plays the application's; `timestamp` and `next_year` are its own SQL."""

    title: str
    uri: str
    connect: Callable[[], Any]
    timestamp: str
    next_year: str
    environment: dict[str, str] = field(default_factory=dict)

    def spelled(self, statements: tuple[str, ...]) -> list[str]:
        """Statements in the database's own SQL."""
        return [s.format(timestamp=self.timestamp, next_year=self.next_year) for s in statements]

    def execute(self, statements: tuple[str, ...]) -> int:
        """Run statements in one transaction, as the application itself would; how many rows they changed."""
        changed = 0
        with closing(self.connect()) as session:
            cursor = session.cursor()
            for statement in self.spelled(statements):
                cursor.execute(statement)
                changed += max(cursor.rowcount, 0)
            session.commit()
        return changed


@contextmanager
def application(folder: Path, say: Callable[[str], None], *, postgres: bool) -> Iterator[Application]:
    """A PostgreSQL server of this run's own where there are programs for one, else a SQLite file."""
    sys.path.insert(0, str(TESTS))
    from servers import PostgresServer, installed_postgres

    found = shutil.which("postgres")
    bindir = installed_postgres() or (Path(found).resolve().parent if found else None)
    if not postgres or bindir is None:
        if postgres:
            say("There is no PostgreSQL server on this machine: a SQLite file plays its part.")
        yield _sqlite(folder)
        return
    with ExitStack() as stack:
        try:
            server = stack.enter_context(PostgresServer(bindir))
        except (OSError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            say(f"PostgreSQL can't be started here ({reason}): a SQLite file plays its part.")
            yield _sqlite(folder)
            return
        with closing(server.connect()) as admin:
            admin.execute("CREATE DATABASE airline")
        say(
            f"A PostgreSQL {server.version} of this run's own listens at 127.0.0.1:{server.port}. "
            "Its password is in PGPASSWORD; fsync is off."
        )
        yield _postgres(server)


def _postgres(server: Any) -> Application:
    import psycopg

    url = server.url("airline")
    return Application(
        title=f"PostgreSQL {server.version}",
        uri=url.replace(f":{server.password}@", "@"),
        connect=lambda: psycopg.connect(url),
        timestamp="timestamptz",
        next_year="time_hour + interval '1 year'",
        environment={"PGPASSWORD": server.password},
    )


def _sqlite(folder: Path) -> Application:
    path = folder / "airline.db"
    return Application(
        title="SQLite",
        uri=f"sqlite://{quote(str(path))}",
        connect=lambda: sqlite3.connect(path),
        timestamp="TIMESTAMPTZ_TEXT",
        next_year="replace(time_hour, '2013-', '2014-')",
    )
