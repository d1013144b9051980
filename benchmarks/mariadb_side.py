"""The MariaDB server of the arena: its databases, the rows in them, and the way out of it for the checks."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from limits import shell

from mariadb import ADMIN, MariaDBServer, installed_mariadb

if TYPE_CHECKING:
    from data import Table

FLUSH_SECONDS = 30
SYSTEM = ("information_schema", "mysql", "performance_schema", "sys")
DIRTY = "SHOW GLOBAL STATUS LIKE 'Innodb_buffer_pool_pages_dirty'"


def why_no_mariadb() -> str:
    """What this machine lacks for a MariaDB server of the arena's own; empty when it lacks nothing."""
    if installed_mariadb() is None:
        return "no MariaDB server: install the system's `mariadb-server` package"
    return "" if shutil.which("mariadb") else "no `mariadb` client: install the system's `mariadb-client` package"


class MariaDBSide:
    """A MariaDB server with the settings of the tests: InnoDB, nothing is synced, a binary log in rows.

    It is reached over 127.0.0.1 and, as the PostgreSQL server, without TLS.
    """

    def __init__(self, folder: Path) -> None:
        program, client = installed_mariadb(), shutil.which("mariadb")
        assert program is not None
        assert client is not None
        self.client = client
        self.server = MariaDBServer(program)
        self.settings = folder / "mariadb.cnf"  #: for the client

    def start(self) -> None:
        """Start the server, and write down how the client reaches it."""
        self.server.start()
        lines = ("[client]", "protocol=tcp", "host=127.0.0.1", f"port={self.server.port}", f"user={ADMIN}", "skip-ssl")
        self.settings.touch(0o600)
        self.settings.write_text("\n".join((*lines, f"password={self.server.password}", "")))

    def stop(self) -> None:
        """End it and remove every trace."""
        self.server.stop()

    @property
    def version(self) -> str:
        """As the server tells it."""
        return str(self.server.execute("SELECT VERSION()")[0][0])

    def make(self, database: str) -> None:
        """An empty database of that name; what was there is dropped."""
        self.drop(database)
        self.server.execute(f"CREATE DATABASE {database} CHARACTER SET utf8mb4")

    def drop(self, database: str) -> None:
        """Drop a database, if it is there."""
        self.server.execute(f"DROP DATABASE IF EXISTS `{database}`")

    def clear(self, keep: str) -> None:
        """Drop all databases but this one and the server's own: a run's own, and what its candidate made beside it."""
        for (name,) in self.server.execute("SHOW DATABASES"):
            if name not in {keep, *SYSTEM}:
                self.drop(name)

    def fill(self, database: str, table: Table, source: str, psql: Path) -> None:
        """Make the table and its rows, which are those of the PostgreSQL database at this address."""
        self.server.execute(table.mariadb_ddl(table.name), database)
        load = f"LOAD DATA LOCAL INFILE '/dev/stdin' INTO TABLE {table.name} CHARACTER SET utf8mb4"
        ask = f"'{self.client}' --defaults-file='{self.settings}' --local-infile=1 {database} -e \"{load}\""
        pipe = f"'{psql}' -Xq '{source}' -c 'COPY public.{table.name} TO STDOUT' | {ask}"
        subprocess.run(shell(pipe), check=True)
        self.server.execute(f"ANALYZE TABLE {table.name}", database)

    def locate(self, database: str, table: Table) -> list[str]:
        """The tables of that name in the database."""
        found = self.server.execute(
            f"SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = '{database}' "
            f"AND TABLE_NAME = '{table.name}' AND TABLE_TYPE = 'BASE TABLE'"
        )
        return [str(row[0]) for row in found]

    def columns(self, database: str, table: Table) -> list[tuple[str, str, bool]]:
        """Name, type and whether it is part of the primary key, of each column of the table."""
        found = self.server.execute(
            "SELECT COLUMN_NAME, COLUMN_TYPE, COLUMN_KEY = 'PRI' FROM information_schema.COLUMNS "
            f"WHERE TABLE_SCHEMA = '{database}' AND TABLE_NAME = '{table.name}'"
        )
        return [(str(name), str(kind), bool(key)) for name, kind, key in found]

    def export(self, database: str, table: Table) -> Path:
        r"""The table in a file that COPY's text form reads: tabs between values, `\N` for NULL, backslash escapes.

        The server writes it by itself, so that no client stands between. The caller removes the file.
        """
        path = self.server.folder / "checked.tsv"
        path.unlink(missing_ok=True)
        names = ", ".join(column for column, _ in table.columns)
        self.server.execute(
            f"SELECT {names} INTO OUTFILE '{path}' CHARACTER SET utf8mb4 FROM {table.name}",
            database,
        )
        return path

    def settle(self) -> None:
        """Write dirty pages out and drop the binary log, so that the next run doesn't pay for the last one."""
        self.server.execute("RESET MASTER")
        ((usual, low),) = self.server.execute(
            "SELECT @@GLOBAL.innodb_max_dirty_pages_pct, @@GLOBAL.innodb_max_dirty_pages_pct_lwm"
        )
        self.server.execute("SET GLOBAL innodb_max_dirty_pages_pct_lwm = 0, innodb_max_dirty_pages_pct = 0")
        deadline = time.monotonic() + FLUSH_SECONDS
        while int(self.server.execute(DIRTY)[0][1]) and time.monotonic() < deadline:
            time.sleep(0.05)
        self.server.execute(f"SET GLOBAL innodb_max_dirty_pages_pct = {usual}, innodb_max_dirty_pages_pct_lwm = {low}")
