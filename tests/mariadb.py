"""A MariaDB server of the tests' own: real, throw-away, unprivileged, and gone with the process that started it."""

from __future__ import annotations

import atexit
import datetime
import ipaddress
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote, unquote, urlsplit

import pymysql
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pymysql.connections import Connection

from servers import FOLDER_LENGTH, START_SECONDS, STOP_SECONDS, Account

if TYPE_CHECKING:
    from types import TracebackType

ADMIN = "suiro_admin"

SETTINGS = """
[mariadbd]
bind-address = 127.0.0.1
port = {port}
socket = {folder}/m.sock
datadir = {folder}/data
pid-file = {folder}/m.pid
tmpdir = {folder}
skip-name-resolve
character-set-server = utf8mb4
default-time-zone = '+09:00'
max-allowed-packet = 256M
innodb-buffer-pool-size = 256M
innodb-log-file-size = 64M
innodb-flush-log-at-trx-commit = 0
innodb-doublewrite = 0
innodb-fast-shutdown = 2
log-bin = binlog
binlog-format = ROW
binlog-row-metadata = FULL
sync-binlog = 0
server-id = 1
ssl-ca = {folder}/ca.pem
ssl-cert = {folder}/server.pem
ssl-key = {folder}/server.key
"""

FIRST_SQL = """
CREATE USER IF NOT EXISTS {admin}@'%' IDENTIFIED BY '{password}';
GRANT ALL PRIVILEGES ON *.* TO {admin}@'%' WITH GRANT OPTION;
DROP USER IF EXISTS ''@'localhost';
"""

# Waits for the end of its standard input, which comes when the starting process ends, however it ends.
WATCHMAN = """
read -r _
kill -KILL "$1"
while kill -0 "$1"; do sleep 0.1; done
rm -rf "$2"
"""


def installed_mariadb() -> Path | None:
    """The server that Debian or Ubuntu packages put on this machine."""
    found = shutil.which("mariadbd", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin")
    return Path(found) if found and shutil.which("mariadb-install-db") else None


class MariaDBServer:
    """One MariaDB server in a temporary folder, reached over 127.0.0.1 (passwords, TLS offered) or the folder's socket.

    Binary log in rows; the server's zone is Tokyo's, so that nothing passes because it is UTC. `suiro_admin` may all.
    """

    def __init__(self, program: Path) -> None:
        self.program = program
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
        """The temporary folder: `data/`, `server.log`, `m.sock` and `ca.pem`."""
        assert self._folder is not None, "the server is not started"
        return self._folder

    @property
    def certificate(self) -> Path:
        """The authority that signed the server's certificate, which is made out to 127.0.0.1."""
        return self.folder / "ca.pem"

    def start(self) -> None:
        """Make the system tables and start, until it answers; RuntimeError with the end of its log if it never does."""
        self._folder = _folder_of(self._account)
        atexit.register(self.stop)
        try:
            self._initialise()
            for tries_left in (2, 1, 0):
                self._launch()
                if self._answers(last_try=tries_left == 0):
                    return
                self._dismiss_watchman()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End it and remove every trace; harmless when already stopped."""
        atexit.unregister(self.stop)
        if os.getpid() != self._owner:
            return  # a fork of the process that started it
        self._dismiss_watchman()
        if self._server is not None:
            self._server.terminate()
            try:
                self._server.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._server.kill()
                self._server.wait()
            self._server = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def url(self, database: str = "") -> str:
        """A `mysql://` address, user and password included, over TCP."""
        return f"mysql://{ADMIN}:{self.password}@127.0.0.1:{self.port}/{quote(database, safe='')}"

    def connect(self, database: str | None = None, **more: Any) -> Connection[Any]:
        """An autocommit connection of the admin, in utf8mb4 and UTC; the caller closes it."""
        settings: dict[str, Any] = {
            "host": "127.0.0.1",
            "port": self.port,
            "user": ADMIN,
            "password": self.password,
            "database": database,
            "charset": "utf8mb4",
            "autocommit": True,
            "connect_timeout": 10,
            "init_command": "SET time_zone = '+00:00'",
            "ssl_disabled": True,
        }
        return Connection(**settings | more)

    def execute(self, sql: str, database: str | None = None) -> list[tuple[Any, ...]]:
        """Run one statement as the admin; its rows, if it has any."""
        with self.connect(database) as connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall())

    def create_database(self) -> str:
        """A fresh, empty database of a random name, utf8mb4; its address."""
        name = f"test_{secrets.token_hex(6)}"
        self.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        return self.url(name)

    def drop_database(self, url: str) -> None:
        """Drop a database by its address, with its sessions."""
        name = database_of(url)
        self.kill_sessions(name)
        self.execute(f"DROP DATABASE IF EXISTS `{name}`")

    def sessions(self, database: str) -> list[int]:
        """The numbers of the sessions whose default database this is."""
        found = self.execute(f"SELECT ID FROM information_schema.PROCESSLIST WHERE DB = '{database}'")
        return [row[0] for row in found]

    def kill_sessions(self, database: str) -> int:
        """End every session in a database, and wait until they are gone; their number."""
        ended = self.sessions(database)
        for session in ended:
            try:
                self.execute(f"KILL CONNECTION {session}")
            except pymysql.MySQLError as error:
                if error.args[0] != 1094:  # it is gone already
                    raise
        deadline = time.monotonic() + 10
        while self.sessions(database) and time.monotonic() < deadline:
            time.sleep(0.02)
        return len(ended)

    def _initialise(self) -> None:
        _certificates(self.folder)
        (self.folder / "first.sql").write_text(FIRST_SQL.format(admin=ADMIN, password=self.password))
        (self.folder / "my.cnf").write_text(SETTINGS.format(port=0, folder=self.folder))
        for path in self.folder.iterdir():
            path.chmod(0o600)
            os.chown(path, self._account.uid, self._account.gid)
        installer = shutil.which("mariadb-install-db")
        assert installer is not None
        done = subprocess.run(
            (
                *(installer, "--no-defaults", f"--datadir={self.folder / 'data'}", "--skip-test-db"),
                *("--auth-root-authentication-method=normal", "--innodb-log-file-size=64M", "--skip-name-resolve"),
            ),
            cwd=self.folder,
            env=_environment(self.folder),
            capture_output=True,
            text=True,
            check=False,
            **self._account.options(),
        )
        if done.returncode != 0:
            raise RuntimeError(f"{installer} failed:\n{done.stdout}{done.stderr}")

    def _launch(self) -> None:
        self.port = _free_port()
        (self.folder / "my.cnf").write_text(SETTINGS.format(port=self.port, folder=self.folder))
        with (self.folder / "server.log").open("wb") as log:
            self._server = subprocess.Popen(
                [self.program, f"--defaults-file={self.folder}/my.cnf", f"--init-file={self.folder}/first.sql"],
                **self._account.options(),
                cwd=self.folder,
                env=_environment(self.folder),
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
            except pymysql.MySQLError:
                time.sleep(0.05)
            else:
                return True
        told = (self.folder / "server.log").read_text(errors="replace")[-2000:]
        if "Address already in use" in told and not last_try:
            return False
        raise RuntimeError(f"{self.program} did not start within {START_SECONDS} s; its log ends:\n{told}")


def database_of(url: str) -> str:
    """The database's name in an address."""
    return unquote(urlsplit(url).path.removeprefix("/"))


def _certificates(folder: Path) -> None:
    """ca.pem, and server.pem with server.key signed by it for 127.0.0.1."""
    now = datetime.datetime.now(datetime.UTC)
    authority, own = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "suiro tests")])

    def signed(name: str, key: ec.EllipticCurvePrivateKey, *, is_authority: bool) -> bytes:
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(root)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=2))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        )
        if not is_authority:
            at = x509.IPAddress(ipaddress.IPv4Address("127.0.0.1"))
            builder = builder.add_extension(x509.SubjectAlternativeName([at]), critical=False)
        return builder.sign(authority, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    (folder / "ca.pem").write_bytes(signed("suiro tests", authority, is_authority=True))
    (folder / "server.pem").write_bytes(signed("127.0.0.1", own, is_authority=False))
    form = serialization.PrivateFormat.TraditionalOpenSSL
    key = own.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    (folder / "server.key").write_bytes(key)


def _folder_of(account: Account) -> Path:
    """A new temporary folder that the account owns and reaches, with a name short enough for a socket's path."""
    for parent in (tempfile.gettempdir(), "/tmp"):
        folder = Path(tempfile.mkdtemp(prefix="suiro-my-", dir=parent))
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


def _environment(folder: Path) -> dict[str, str]:
    """A server's environment: nothing of the caller's settings, and a place of its own for temporary tables.

    A server that starts deletes those it finds, of others too.
    """
    return {"TMPDIR": str(folder), "PATH": f"{os.defpath}:/usr/sbin", "LC_ALL": "C", "TZ": "UTC", "HOME": str(folder)}
