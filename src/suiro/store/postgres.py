"""PostgreSQL as the home of a metadata database: a server, for several nodes."""

from __future__ import annotations

from typing import Any, Final

import psycopg
from psycopg import errors as pg
from sqlalchemy import Engine, create_engine

from suiro.model.errors import AuthError, ConfigError, ConnectionLost, SuiroError, TransientError

WAIT_SECONDS: Final = 30  #: for a lock that another transaction holds
OLDEST: Final = 130000  #: as libpq numbers versions


class PostgresSystem:
    """A database on a server, for several nodes."""

    errors: tuple[type[Exception], ...] = (psycopg.Error,)

    def __init__(self, url: str) -> None:
        try:
            given: dict[str, Any] = psycopg.conninfo.conninfo_to_dict(url)
        except psycopg.Error:
            raise ConfigError(
                "the metadata database's address is no PostgreSQL address",
                hint="Write postgresql://user:password@host:5432/database, special characters as %XX.",
            ) from None
        self._parameters = {"connect_timeout": 10, "application_name": "suiro", **given, "client_encoding": "UTF8"}
        place = f"{given.get('host', 'localhost')}:{given.get('port', 5432)}"
        self.name = f"the metadata database {given.get('dbname') or given.get('user') or ''} at {place}"

    def engine(self) -> Engine:
        """A connection that the server closed meanwhile is replaced before its use."""
        return create_engine("postgresql+psycopg://", creator=self._connect, pool_pre_ping=True)

    def reading(self, engine: Engine) -> Engine:
        """All statements of a transaction see one snapshot."""
        return engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)

    def prepare(self, engine: Engine) -> None:
        """Refuse a server that is too old, or that keeps no Unicode."""
        raw = engine.raw_connection()
        try:
            info = raw.driver_connection.info  # type: ignore[union-attr]
            version, encoding = info.server_version, info.parameter_status("server_encoding")
        finally:
            raw.close()
        if version < OLDEST:
            raise ConfigError(
                f"{self.name} is PostgreSQL {version // 10000}; Suiro needs {OLDEST // 10000} or later",
                hint="Upgrade the server.",
            )
        if encoding != "UTF8":
            raise ConfigError(f"{self.name} has the encoding {encoding}", hint="Create it anew with ENCODING 'UTF8'.")

    def translate(self, error: BaseException) -> SuiroError | None:
        """By PostgreSQL's error classes, and by its words where a connection never came about."""
        match error:
            case pg.InsufficientPrivilege():
                return AuthError(f"{self.name}: {_said(error)}", hint="Let Suiro's user own its database.")
            case pg.DeadlockDetected() | pg.LockNotAvailable() | pg.SerializationFailure():
                return TransientError(f"{self.name} is busy: {_said(error)}", hint="Try again.")
            case pg.DiskFull():
                return TransientError(f"no room left for {self.name}", hint="Free space on the server.")
            case psycopg.OperationalError() if "authentication failed" in str(error) or "no password" in str(error):
                return AuthError(
                    f"{self.name} refused the user: {_said(error)}", hint="Check the user and the password."
                )
            case psycopg.OperationalError() if "does not exist" in str(error):
                return ConfigError(f"there is no such database: {_said(error)}", hint="Create it, or name another.")
            case psycopg.OperationalError() | psycopg.InterfaceError():
                return ConnectionLost(
                    f"can't reach {self.name}: {_said(error)}", hint="Check the server and its address."
                )
        return None

    def _connect(self) -> psycopg.Connection[Any]:
        connection = psycopg.connect(**self._parameters, autocommit=True)
        noticed = "; SET client_connection_check_interval = '5s'" if connection.info.server_version >= 140000 else ""
        connection.execute(
            f"SET TimeZone = 'UTC'; SET lock_timeout = '{WAIT_SECONDS}s'; "
            f"SET idle_in_transaction_session_timeout = '60s'{noticed}"
        )
        connection.autocommit = False
        return connection


def _said(error: psycopg.Error) -> str:
    """The server's message in one line, without the values that details may hold."""
    lines = (error.diag.message_primary or str(error)).strip().splitlines()
    told = [line.strip() for line in lines if line.strip()]
    return told[0].rpartition("FATAL:")[2].strip() if told else type(error).__name__
