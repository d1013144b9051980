"""Sessions with a MySQL or MariaDB server: opening, settings, cancel, and errors in our words."""

from __future__ import annotations

import re
import socket
import ssl
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any, Final

import pymysql
from pymysql.connections import Connection

from suiro.connectors.mysql.config import MysqlConfig
from suiro.connectors.mysql.errors import translate, where
from suiro.model.errors import ConfigError, SuiroError
from suiro.spi.context import Context
from suiro.toolkit.sql.tunnel import Way

OLDEST: Final = {"MariaDB": (10, 3), "MySQL": (5, 7)}
TESTED: Final = ("MariaDB 10.11",)

MODE: Final = "STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION,NO_AUTO_VALUE_ON_ZERO"
"""Strict; zero dates may be named (in conditions too), and 0 may enter an AUTO_INCREMENT column."""

_PATIENCE = 28_800  #: seconds the server waits for us: as long as the other side of a copy may keep us waiting
_SETTINGS: Final = (
    f"time_zone = '+00:00', sql_mode = '{MODE}', wait_timeout = {_PATIENCE}, net_write_timeout = {_PATIENCE}, "
    f"net_read_timeout = {_PATIENCE}"
)
_NO_TIME_LIMIT: Final = {"MariaDB": "max_statement_time", "MySQL": "max_execution_time"}


class Driver(Connection):  # type: ignore[misc]
    """The driver's connection by a way to the server, opened sooner where TLS is only preferred.

    Through a tunnel `host` still names the server, for its certificate, and is not connected to.
    """

    def __init__(self, way: Way, **settings: Any) -> None:
        self._way = way
        super().__init__(**settings)

    def _create_ssl_ctx(self, sslp: Any) -> ssl.SSLContext:
        return sslp if isinstance(sslp, ssl.SSLContext) else unverified()

    def connect(self, sock: socket.socket | None = None) -> None:
        """Open it; a Unix socket that nobody answers at is closed again, unlike by the driver itself."""
        if sock is None and self.unix_socket:
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(self.connect_timeout)
            try:
                sock.connect(self.unix_socket)
            except BaseException:
                sock.close()
                raise
            self._secure = True
        elif sock is None and self._way.at is not None:
            sock = socket.create_connection(self._way.at, self.connect_timeout)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().connect(sock)


class Session:
    """One session, autocommit on, in utf8mb4 and UTC. Driver errors come out as ours.

    With `parameters` a statement's `%s` are filled in and every other `%` is written `%%`; without them it is sent
    as it is. A cancelled run kills the statement under way.
    """

    def __init__(self, config: MysqlConfig, context: Context) -> None:
        self.config, self.context = config, context
        self.way = config.way(context)
        self._take_back: Callable[[], None] = lambda: None
        try:
            with self.way.told(), told(config, context), _recognised(config):
                self.driver = Driver(self.way, **parameters(config))
        except BaseException:
            self.way.close()
            raise
        try:
            self.product, self.version = _version(self.driver.get_server_info())
            self._prepare()
        except BaseException:
            self.close()
            raise
        self._take_back = context.on_cancel(self.kill_query)

    @property
    def id(self) -> int:
        """The server's number for this session."""
        return int(self.driver.thread_id())

    @property
    def is_mariadb(self) -> bool:
        """MariaDB, and not MySQL."""
        return self.product == "MariaDB"

    def run(self, sql: str, parameters: Sequence[object] | None = None, *, doing: str = "") -> int:
        """Run a statement; the number of rows it changed. `doing` begins the message of an error."""
        with told(self.config, self.context, doing), self.driver.cursor() as cursor:
            return int(cursor.execute(sql, parameters))

    def ask(self, sql: str, parameters: Sequence[object] | None = None, *, doing: str = "") -> list[tuple[Any, ...]]:
        """Run a query with a small result."""
        with told(self.config, self.context, doing), self.driver.cursor() as cursor:
            cursor.execute(sql, parameters)
            return list(cursor.fetchall())

    def literal(self, value: object) -> str:
        """A value as SQL."""
        return str(self.driver.escape(value))

    def kill_query(self) -> None:
        """End the statement under way, by a session of its own; that statement then fails."""
        with closing(Driver(self.way, **parameters(self.config))) as other, other.cursor() as cursor:
            cursor.execute(f"KILL QUERY {self.id}")

    def close(self) -> None:
        """End the session; what the server was still sending is left unread."""
        self._take_back()
        if self.driver.open:
            self.driver.close()
        self.way.close()

    def _prepare(self) -> None:
        oldest = OLDEST[self.product]
        if self.version < oldest:
            raise ConfigError(
                f"the server is {self.product} {_dotted(self.version)}; Suiro needs {_dotted(oldest)} or later",
                hint="Upgrade the server.",
            )
        self.run("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        self.run(f"SET SESSION {_SETTINGS}, {_NO_TIME_LIMIT[self.product]} = 0")


def connect(config: MysqlConfig, context: Context) -> Session:
    """A session; ConfigError, AuthError or ConnectionLost says why there is none."""
    return Session(config, context)


@contextmanager
def told(config: MysqlConfig, context: Context, doing: str = "") -> Iterator[None]:
    """Turn driver errors into ours; `doing` says what was tried, for the message."""
    try:
        yield
    except SuiroError:
        raise
    except (pymysql.MySQLError, OSError) as error:
        context.check_cancelled()
        raise translate(error, config, doing) from error


@contextmanager
def _recognised(config: MysqlConfig) -> Iterator[None]:
    """While a connection is opened: what answers may be no MySQL at all."""
    try:
        yield
    except (struct.error, ValueError, IndexError, AttributeError, AssertionError) as error:
        raise ConfigError(
            f"what answers at {where(config)} is neither MySQL nor MariaDB", hint="Check host and port."
        ) from error


def version_note(session: Session) -> tuple[str, ...]:
    """A sentence for the user where Suiro was never tested with this server's version."""
    name = f"{session.product} {_dotted(session.version)}"
    return () if name in TESTED else (f"{name} was never tested with Suiro; {' and '.join(TESTED)} was.",)


def _version(told_by_server: str) -> tuple[str, tuple[int, int]]:
    """Product and version from "10.11.19-MariaDB-0+deb12u1", "5.5.5-10.4.1-MariaDB" or "8.0.36"."""
    product = "MariaDB" if "mariadb" in told_by_server.lower() else "MySQL"
    numbers = re.findall(r"(\d+)\.(\d+)\.\d+", told_by_server.removeprefix("5.5.5-"))
    if not numbers:
        raise ConfigError(
            f"the server calls itself {told_by_server!r}, which is no version",
            hint="Check that host and port are those of MySQL or MariaDB.",
        )
    return product, (int(numbers[0][0]), int(numbers[0][1]))


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def parameters(config: MysqlConfig) -> dict[str, Any]:
    """What the driver needs to open a connection."""
    is_path = config.host.startswith("/")
    return {
        "host": "localhost" if is_path else config.host,
        "port": config.port,
        "unix_socket": config.host if is_path else None,
        "user": config.user,
        "password": config.password.get_secret_value().encode() if config.password else b"",
        "database": config.database,
        "charset": "utf8mb4",
        "autocommit": True,
        "connect_timeout": config.connect_timeout,
        "program_name": "suiro",
        **_tls(config, is_path),
    }


_parameters = parameters


def _tls(config: MysqlConfig, is_path: bool) -> dict[str, Any]:
    """What the driver is told about TLS; "prefer" is what it does when told nothing."""
    if config.sslmode == "disable" or (is_path and config.sslmode == "prefer"):
        return {"ssl_disabled": True}
    if config.sslmode == "prefer" and not config.sslcert:
        return {}
    try:
        return {"ssl": _trust(config)}
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"the certificates can't be read: {error.strerror or error}", hint="Check sslrootcert, sslcert and sslkey."
        ) from error


def _trust(config: MysqlConfig) -> ssl.SSLContext:
    """Whom a connection of these settings trusts."""
    trust = unverified()
    # As libpq does: who names an authority and asks for TLS has it checked.
    if config.sslmode in ("verify-ca", "verify-full") or (config.sslmode == "require" and config.sslrootcert):
        trust.verify_mode = ssl.CERT_REQUIRED
        trust.check_hostname = config.sslmode == "verify-full"
        # Certificates that servers make for themselves lack what RFC 5280 demands.
        trust.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if config.sslrootcert:
            trust.load_verify_locations(config.sslrootcert)
        else:
            trust.load_default_certs()
    if config.sslcert:
        trust.load_cert_chain(config.sslcert, config.sslkey)
    return trust


def unverified() -> ssl.SSLContext:
    """TLS with whoever answers; unlike the default, without reading all of the system's authorities."""
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trust.check_hostname = False
    trust.verify_mode = ssl.CERT_NONE
    return trust
