"""Ledgers of write-backs: each task's own, held by one process at a time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, func, insert, inspect, select, update

from suiro.model.errors import ConfigError, TransientError
from suiro.store.database import Database, lock
from suiro.store.ledger_batches import Batches
from suiro.store.ledger_known import Known
from suiro.store.ledger_plans import Plans
from suiro.store.ledger_session import LedgerSession
from suiro.store.ledger_tables import SCHEMA, ledger_metadata, task, version
from suiro.store.systems import sqlite_url, system_of

PATIENCE: Final = 10.0  #: seconds until whoever holds a task's ledger, and has just died, lets go of it
_MAKING: Final = 7311  #: PostgreSQL's advisory lock for making the tables
_HOLDING: Final = 7312  #: and, with a hash of its name, for holding a task's ledger


class TaskLedger:
    """The ledger of one task. Without an epoch it can be read alone.

    Every call is one transaction: what it wrote survives a crash once it has returned. Fenced if another process holds
    the ledger meanwhile.
    """

    def __init__(self, database: Database, name: str, epoch: int | None) -> None:
        session = LedgerSession(database, name, epoch)
        self.known = Known(session)
        self.plans = Plans(session)
        self.batches = Batches(session)


class Ledgers:
    """Where the ledgers of an installation are: files of a folder, or the metadata database on PostgreSQL."""

    def __init__(self, metadata_url: str, folder: Path) -> None:
        self._url, self._folder = metadata_url, folder
        self._in_files = metadata_url.startswith("sqlite:")

    @contextmanager
    def held(self, name: str, run: str) -> Iterator[TaskLedger]:
        """A task's ledger, made if it isn't there, for `run` alone; TransientError names the run that holds it."""
        with self._opened(name) as database, self._locked(database, name):
            with database.begin() as connection:
                epoch = _claimed(connection, name, run)
            yield TaskLedger(database, name, epoch)

    @contextmanager
    def reading(self, name: str) -> Iterator[TaskLedger | None]:
        """A task's ledger as it is now; None if it was never made."""
        if self._in_files and not self._file(name).exists():
            yield None
            return
        with self._opened(name) as database:
            yield TaskLedger(database, name, None)

    def names(self) -> list[str]:
        """The tasks that have a ledger."""
        if self._in_files:
            return sorted(path.stem for path in self._folder.glob("*.db"))
        with self._opened("") as database, database.read() as connection:
            return sorted(connection.execute(select(task.c.task)).scalars())

    @contextmanager
    def _opened(self, name: str) -> Iterator[Database]:
        url = self._url
        if self._in_files:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            url = sqlite_url(self._file(name))
        database = Database(url)
        try:
            _prepare(database, url)
            yield database
        finally:
            database.close()

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.db"

    @contextmanager
    def _locked(self, database: Database, name: str) -> Iterator[None]:
        """A lock that ends with this process, or with its connection."""
        if self._in_files:
            from filelock import FileLock, Timeout

            try:
                with FileLock(self._file(name).with_suffix(".lock"), timeout=PATIENCE):
                    yield
            except Timeout as error:
                raise _busy(database, name) from error
            return
        asked = select(func.pg_try_advisory_lock(_HOLDING, func.hashtext(name)))
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as session:
            until = time.monotonic() + PATIENCE
            while not session.execute(asked).scalar():
                if time.monotonic() > until:
                    raise _busy(database, name)
                time.sleep(0.1)
            try:
                yield
            finally:
                session.invalidate()  # the lock goes with the connection, whatever became of it


def _busy(database: Database, name: str) -> TransientError:
    with database.read() as connection:
        run = connection.execute(select(task.c.run).where(task.c.task == name)).scalar()
    return TransientError(
        f"another process is at work on this write-back: {run or 'a plan'}", hint="Wait until it is done, or cancel it."
    )


def _claimed(connection: Connection, name: str, run: str) -> int:
    found = connection.execute(select(task.c.epoch).where(task.c.task == name).with_for_update()).scalar()
    if found is None:
        connection.execute(insert(task).values(task=name, epoch=1, run=run, serial=0))
        return 1
    connection.execute(update(task).where(task.c.task == name).values(epoch=found + 1, run=run))
    return int(found) + 1


def _prepare(database: Database, url: str) -> None:
    """Make the tables if they aren't there; ConfigError if a newer Suiro made them."""
    if url.startswith("sqlite:"):
        system_of(url).prepare(database.engine)
    with database.read() as connection:
        if _is_ready(connection, database.name):
            return
    with database.begin() as connection:
        lock(connection, _MAKING)
        if not _is_ready(connection, database.name):
            ledger_metadata.create_all(connection)
            connection.execute(insert(version).values(version=SCHEMA))


def _is_ready(connection: Connection, name: str) -> bool:
    if not inspect(connection).has_table(version.name):
        return False
    found = connection.execute(select(version.c.version)).scalar()
    if found is not None and found > SCHEMA:
        raise ConfigError(
            f"the write-back ledger in {name} was made by a newer Suiro: its schema is {found}, this program knows "
            f"up to {SCHEMA}",
            hint="Update Suiro on this machine.",
        )
    return found is not None
