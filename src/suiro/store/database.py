"""The metadata database: opening it at its newest schema, transactions, its clock and its one lock."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from sqlalchemy import Connection, Engine, Inspector, func, inspect, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from suiro.model.errors import ConfigError, InternalError, TransientError
from suiro.store import migrations
from suiro.store.columns import Utc
from suiro.store.systems import system_of
from suiro.store.tables import metadata

_MIGRATING, _CLAIMING, _EDITING = (
    7301,
    7302,
    7303,
)  # PostgreSQL's advisory locks are numbers of one's own, in each database


class Database:
    """A metadata database, safe to use from several threads. `open_database` also sees to its schema."""

    def __init__(self, url: str) -> None:
        """At `sqlite:///path` or `postgresql://...`; ConfigError for another address. Connects on use."""
        self._system = system_of(url)
        self.engine: Engine = self._system.engine()
        self._reading = self._system.reading(self.engine)

    @property
    def name(self) -> str:
        """Which database this is, in words, without secrets."""
        return self._system.name

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """One write transaction: committed at the end, rolled back by an error.

        Drivers' errors come out as ConnectionLost, TransientError, ConfigError or AuthError where someone else than we
        can do something about them.
        """
        with self._told(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One transaction that sees a single moment, writes nothing and waits for nobody. Errors as in `begin`."""
        with self._told(), self._reading.begin() as connection:
            yield connection

    def close(self) -> None:
        """Close every connection that is not in use."""
        self.engine.dispose()

    def prepare(self) -> None:
        """Bring the schema to this program's; ConfigError if it is newer, or another program's tables are there."""
        with self._told():
            self._system.prepare(self.engine)
        with self.read() as connection:
            ready = _is_ready(connection, self.name)
        if not ready:
            with self._told():
                self._migrate()

    def _migrate(self) -> None:
        """In one transaction, for which others wait. SQLite rebuilds tables: it minds foreign keys only afterwards."""
        with self.engine.connect() as connection:
            sqlite = connection.dialect.name == "sqlite"
            driver = connection.connection
            if sqlite:
                driver.cursor().execute("PRAGMA foreign_keys = OFF")
            try:
                with connection.begin():
                    lock(connection, _MIGRATING)
                    if _is_ready(connection, self.name):
                        return  # by another process meanwhile
                    migrations.upgrade(connection)
                    if sqlite and connection.exec_driver_sql("PRAGMA foreign_key_check").first() is not None:
                        raise InternalError(f"after migrating {self.name}, a row refers to one that isn't there")
            finally:
                if sqlite:
                    driver.cursor().execute("PRAGMA foreign_keys = ON")

    @contextmanager
    def _told(self) -> Iterator[None]:
        theirs: tuple[type[Exception], ...] = (DBAPIError, *self._system.errors)
        try:
            yield
        except theirs as error:
            cause = error.orig if isinstance(error, DBAPIError) else error
            ours = self._system.translate(cause) if cause is not None else None
            if ours is None:
                raise
            raise ours from error
        except PoolTimeout as error:
            raise TransientError(f"every connection to {self.name} is in use", hint="Try again.") from error


def open_database(url: str) -> Database:
    """The metadata database at `sqlite:///path` or `postgresql://...`, made or brought to this program's schema.

    Several processes may do so at once: one migrates, the others wait. ConfigError if the schema is newer than this
    program, the file is no SQLite database or the database belongs to another program; ConnectionLost if the server
    can't be reached, AuthError if it refuses the user.
    """
    database = Database(url)
    try:
        database.prepare()
    except BaseException:
        database.close()
        raise
    return database


def moment(connection: Connection) -> datetime:
    """This very moment: by PostgreSQL's own clock, which all nodes share, or by this machine's for SQLite."""
    if connection.dialect.name == "sqlite":
        return datetime.now(UTC)
    found: datetime = connection.execute(select(func.clock_timestamp(type_=Utc))).scalar_one()
    return found


def claim_lock(connection: Connection) -> None:
    """Let no other transaction past this call until this one has ended, on any node. SQLite's writers wait anyway."""
    lock(connection, _CLAIMING)


def edit_lock(connection: Connection) -> None:
    """The same for changes of what users set up: what a change has looked at holds until its end."""
    lock(connection, _EDITING)


def lock(connection: Connection, number: int) -> None:
    """Hold an advisory lock of PostgreSQL until the transaction's end; on SQLite a write transaction is one."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(number)))


def _is_ready(connection: Connection, name: str) -> bool:
    """Whether the schema is this program's; False if it is older or missing, ConfigError if it can't become so."""
    inspector: Inspector = inspect(connection)
    if not inspector.has_table("alembic_version"):
        foreign = sorted(set(inspector.get_table_names()) & set(metadata.tables))
        if foreign:
            raise ConfigError(
                f"{name} holds tables of another program: {', '.join(foreign)}",
                hint="Give Suiro a database of its own.",
            )
        return False
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all()
    if list(found) == [migrations.HEAD]:
        return True
    if not found:
        return False
    if len(found) > 1 or not migrations.is_ours(found[0]):
        raise ConfigError(
            f"{name} holds another program's tables (its schema is {', '.join(sorted(found))})",
            hint="Give Suiro a database of its own.",
        )
    if found[0] > migrations.HEAD:
        raise ConfigError(
            f"{name} was made by a newer Suiro: its schema is {found[0]}, this program knows up to {migrations.HEAD}",
            hint="Update Suiro on this machine.",
        )
    return False
