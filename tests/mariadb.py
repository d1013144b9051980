"""A MariaDB server of the tests' own: real, throw-away, unprivileged, and gone with the process that started it."""

from __future__ import annotations

import datetime
import ipaddress
import os
import secrets
import shutil
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

import pymysql
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pymysql.connections import Connection

from server_process import Account, ServerProcess

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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


def installed_mariadb() -> Path | None:
    """The server that Debian or Ubuntu packages put on this machine."""
    found = shutil.which("mariadbd", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin")
    return Path(found) if found and shutil.which("mariadb-install-db") else None


class MariaDBServer(ServerProcess):
    """One MariaDB server in a temporary folder, reached over 127.0.0.1 (passwords, TLS offered) or the folder's socket.

    Binary log in rows; the server's zone is Tokyo's, so that nothing passes because it is UTC. `suiro_admin` may all.
    """

    stops_by = signal.SIGTERM
    watchman_stops_by = "KILL"
    port_taken = "Address already in use"

    def __init__(self, program: Path) -> None:
        super().__init__(Account.ordinary())
        self.program = program
        self.password = secrets.token_hex(16)

    @property
    def certificate(self) -> Path:
        """The authority that signed the server's certificate, which is made out to 127.0.0.1."""
        return self.folder / "ca.pem"

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

    def prepare(self) -> None:
        _certificates(self.folder)
        (self.folder / "first.sql").write_text(FIRST_SQL.format(admin=ADMIN, password=self.password))
        (self.folder / "my.cnf").write_text(SETTINGS.format(port=0, folder=self.folder))
        for path in self.folder.iterdir():
            path.chmod(0o600)
            os.chown(path, self.account.uid, self.account.gid)
        installer = shutil.which("mariadb-install-db")
        assert installer is not None
        self.run(
            *(installer, "--no-defaults", f"--datadir={self.folder / 'data'}", "--skip-test-db"),
            *("--auth-root-authentication-method=normal", "--innodb-log-file-size=64M", "--skip-name-resolve"),
        )

    def command(self) -> Sequence[str | Path]:
        (self.folder / "my.cnf").write_text(SETTINGS.format(port=self.port, folder=self.folder))
        return [self.program, f"--defaults-file={self.folder}/my.cnf", f"--init-file={self.folder}/first.sql"]

    def reachable(self) -> bool:
        try:
            self.connect().close()
        except pymysql.MySQLError:
            return False
        return True

    def environment(self) -> Mapping[str, str]:
        """Nothing of the caller's settings, and a place of its own for temporary tables.

        A server that starts deletes those it finds, of others too.
        """
        path = f"{os.defpath}:/usr/sbin"
        return {"TMPDIR": str(self.folder), "PATH": path, "LC_ALL": "C", "TZ": "UTC", "HOME": str(self.folder)}


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
