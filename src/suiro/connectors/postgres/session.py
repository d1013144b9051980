"""Sessions with a PostgreSQL server: opening, settings, and errors in our words."""

from __future__ import annotations

import select
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import errors as pg
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGresult

from suiro.connectors.postgres.config import PostgresConfig
from suiro.model.errors import (
    AuthError,
    ConfigError,
    ConnectionLost,
    DataError,
    SuiroError,
    TransientError,
    UserError,
)
from suiro.spi.context import Context
from suiro.toolkit.sql.tunnel import Way

OLDEST = 13
TESTED = (15, 18)
_TICK = 1.0  #: seconds between two looks at a server that is silent
Session = psycopg.Connection[tuple[Any, ...]]

_SETTINGS = (
    "SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; SET IntervalStyle = 'postgres'; SET bytea_output = 'hex'; "
    "SET extra_float_digits = 1; SET xmloption = 'content'; SET idle_in_transaction_session_timeout = 0; "
    "SET statement_timeout = 0; SET standard_conforming_strings = on"
)


def settings_for(version: int) -> str:
    """What every session sets, of a server of this version (as libpq numbers it)."""
    noticed = "; SET client_connection_check_interval = '1s'" if version >= 140000 else ""
    return _SETTINGS + noticed


class _Session(psycopg.Connection[tuple[Any, ...]]):
    """A session that lets go of its way to the server when it is closed."""

    way: Way | None = None

    def close(self) -> None:
        super().close()
        if self.way is not None:
            self.way.close()


def connect(config: PostgresConfig, context: Context) -> Session:
    """A session with autocommit on. A cancelled run cancels its statement under way."""
    way = config.way(context)
    try:
        with way.told(), told(config, context):
            session = _Session.connect(**parameters(config, way.at), autocommit=True)
    except BaseException:
        way.close()
        raise
    session.way = way
    with told(config, context):
        if session.info.server_version < OLDEST * 10000:
            session.close()
            raise ConfigError(
                f"the server is PostgreSQL {session.info.server_version // 10000}; Suiro needs {OLDEST} or later",
                hint="Upgrade the server.",
            )
        session.execute(settings_for(session.info.server_version))
    context.on_cancel(session.cancel_safe)
    return session


def answer(session: Session) -> PGresult | None:
    """The server's next answer to what was sent, or None after the last.

    It waits here: some waits inside libpq keep all of Python from running, and with it the tunnel they wait for.
    """
    server = session.pgconn
    while server.is_busy():
        select.select([server.socket], [], [], _TICK)
        server.consume_input()
    return server.get_result()


def prepared(session: Session, sql: str) -> PGresult:
    """The description of a statement that isn't run; psycopg.Error where the server refuses it."""
    server = session.pgconn
    server.send_prepare(b"", sql.encode())
    _only_answer(session)
    server.send_describe_prepared(b"")
    return _only_answer(session)


def _only_answer(session: Session) -> PGresult:
    found = answer(session)
    while answer(session) is not None:
        pass
    if found is None:
        raise psycopg.OperationalError("server closed the connection unexpectedly")
    if found.status == ExecStatus.FATAL_ERROR:
        raise psycopg.errors.error_from_result(found, session.info.encoding)
    return found


def version_note(session: Session) -> tuple[str, ...]:
    """A sentence for the user where Suiro was never tested with this server's version."""
    major = session.info.server_version // 10000
    if major in TESTED:
        return ()
    return (f"PostgreSQL {major} was never tested with Suiro; {' and '.join(map(str, TESTED))} were.",)


def parameters(config: PostgresConfig, at: tuple[str, int] | None) -> dict[str, Any]:
    """What libpq needs; connecting to `at`, `host` only names the server, whose certificate must have that name."""
    hostaddr, port = at or (None, config.port)
    given = {
        "host": config.host,
        "hostaddr": hostaddr,
        "port": port,
        "dbname": config.database or config.user,
        "user": config.user,
        "password": config.password.get_secret_value() if config.password else None,
        "sslmode": config.sslmode,
        "sslrootcert": config.sslrootcert,
        "sslcert": config.sslcert,
        "sslkey": config.sslkey or config.sslcert,
        "connect_timeout": config.connect_timeout,
        "application_name": "suiro",
        "client_encoding": "UTF8",
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
    }
    return {key: value for key, value in given.items() if value is not None}


@contextmanager
def told(config: PostgresConfig, context: Context, doing: str = "") -> Iterator[None]:
    """Turn driver errors into ours; `doing` says what was tried, for the message."""
    try:
        yield
    except psycopg.Error as error:
        context.check_cancelled()
        raise translate(error, config, doing) from error


def where(config: PostgresConfig) -> str:
    """The server and database in words."""
    return f"{config.database or config.user or 'the default database'} at {config.address}"


def translate(error: psycopg.Error, config: PostgresConfig, doing: str = "") -> SuiroError:
    """The error of ours that says who acts next."""
    lead = f"{doing}: " if doing else ""
    said = _said(error)
    for kinds, make in _KINDS:
        if isinstance(error, kinds):
            return make(f"{lead}{said}", error)
    if isinstance(error, psycopg.OperationalError):
        return _unreachable(error, config, lead)
    if isinstance(error, psycopg.DataError):
        return DataError(
            f"{lead}{said}", hint="Change the column's type, leave the column out, or filter those rows out."
        )
    return UserError(f"{lead}{said}", hint="See the server's message.")


def _said(error: psycopg.Error) -> str:
    """The server's primary message without the rows' values that details may hold."""
    primary = error.diag.message_primary or str(error).strip().splitlines()[0]
    return f"PostgreSQL says: {primary}"


def _unreachable(error: psycopg.Error, config: PostgresConfig, lead: str) -> SuiroError:
    text = str(error).lower()
    there = where(config)
    if "password authentication failed" in text or "no password supplied" in text or "authentication failed" in text:
        return AuthError(
            f"{lead}the server refused user {config.user} for {there}", hint="Check the user and the password."
        )
    if "does not exist" in text and ("database" in text or "role" in text):
        return ConfigError(
            f"{lead}there is no such database or user: {there}", hint="Check the database and user names."
        )
    if "no pg_hba.conf entry" in text:
        return AuthError(
            f"{lead}the server doesn't let user {config.user} in from here ({there})",
            hint="Ask the administrator for an entry in pg_hba.conf, or try another TLS setting.",
        )
    if any(word in text for word in ("could not translate host name", "name or service not known", "name resolution")):
        return ConnectionLost(f"{lead}no host of the name {config.host} is known", hint="Check the host name.")
    if "connection refused" in text:
        return ConnectionLost(f"{lead}nothing answers at {config.address}", hint="Check host and port.")
    if "timeout" in text or "timed out" in text:
        return ConnectionLost(f"{lead}no answer from {config.address} in time", hint="Check host, port and firewalls.")
    broken = any(word in text for word in ("closed unexpectedly", "syscall", "eof", "reset by peer"))
    if not broken and ("ssl" in text or "certificate" in text):
        return ConfigError(f"{lead}TLS with {config.host} failed: {_said(error)}", hint="Check the TLS settings.")
    return ConnectionLost(f"{lead}the connection to {there} broke: {_said(error)}", hint="Run again.")


Maker = Callable[[str, psycopg.Error], SuiroError]


def _auth(message: str, error: psycopg.Error) -> SuiroError:
    return AuthError(message, hint="Grant the user that privilege, or use another user.")


def _constraint(message: str, error: psycopg.Error) -> SuiroError:
    at = error.diag.column_name or error.diag.constraint_name
    named = f" ({'column' if error.diag.column_name else 'constraint'} {at})" if at and at not in message else ""
    return DataError(message + named, hint="Filter those rows out, or change the constraint or the key.")


_KINDS: tuple[tuple[tuple[type[psycopg.Error], ...], Maker], ...] = (
    (
        (pg.QueryCanceled,),  # by someone else: a cancelled run was told before
        lambda m, e: ConnectionLost(m, hint="Run again, or allow the user a longer statement_timeout."),
    ),
    ((pg.InsufficientPrivilege,), _auth),
    ((pg.DiskFull,), lambda m, e: TransientError(m, hint="Free space on the server and run again.")),
    ((pg.IntegrityError,), _constraint),
    ((pg.InvalidCatalogName,), lambda m, e: ConfigError(m, hint="Check the database's name.")),
    ((pg.InvalidSchemaName,), lambda m, e: ConfigError(m, hint="Create the schema, or name another.")),
    (
        (pg.UndefinedTable, pg.UndefinedColumn, pg.UndefinedFunction, pg.SyntaxError),
        lambda m, e: ConfigError(m, hint="Check the names and the SQL; names with capitals need double quotes."),
    ),
    (
        (pg.DeadlockDetected, pg.SerializationFailure, pg.LockNotAvailable),
        lambda m, e: ConnectionLost(m, hint="Another session was in the way: run again."),
    ),
    (
        (pg.AdminShutdown, pg.CrashShutdown, pg.CannotConnectNow, pg.TooManyConnections),
        lambda m, e: ConnectionLost(m, hint="Wait for the server and run again."),
    ),
    ((pg.OutOfMemory, pg.ConfigurationLimitExceeded), lambda m, e: TransientError(m, hint="Ask the administrator.")),
)
