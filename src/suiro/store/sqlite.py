"""SQLite as the home of a metadata database: one file, for one machine."""

from __future__ import annotations

import errno
import os
import sqlite3
import time
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import QueuePool

from suiro.model.errors import ConfigError, SuiroError, TransientError

WAIT_SECONDS: Final = 30  #: for another writer
READING: Final = "suiro_reading"  #: the execution option of a transaction that only reads


class SqliteSystem:
    """A file. Readers and one writer at a time don't disturb each other (WAL); a writer waits for its turn."""

    errors: tuple[type[Exception], ...] = (sqlite3.Error,)

    def __init__(self, path: Path) -> None:
        self._path = path
        self.name = f"the metadata database {path}"

    def engine(self) -> Engine:
        """Every connection checks foreign keys, and a commit outlives a power cut."""
        engine = create_engine("sqlite+pysqlite://", creator=self._connect, poolclass=QueuePool)
        event.listen(engine, "begin", _begin)
        return engine

    def reading(self, engine: Engine) -> Engine:
        """A deferred transaction: one snapshot, no turn to wait for."""
        return engine.execution_options(**{READING: True})

    def prepare(self, engine: Engine) -> None:
        """Make the file, readable to its owner alone, and set it to WAL once and for all."""
        try:
            self._make()
        except OSError as error:
            raise ConfigError(
                f"can't open {self.name}: {error.strerror}",
                hint=f"Make the folder {self._path.parent}, or give write access to it.",
            ) from error
        deadline = time.monotonic() + WAIT_SECONDS
        while (mode := self._to_wal(engine)) is None:
            if time.monotonic() > deadline:
                raise TransientError(f"{self.name} is busy", hint="Wait for the other program that uses it.")
            time.sleep(0.02)
        if mode != "wal":
            raise ConfigError(
                f"the folder of {self.name} can't hold a SQLite database that several processes use",
                hint="Choose a folder on a local disk, or use PostgreSQL (SUIRO_METADATA_URL).",
            )

    def translate(self, error: BaseException) -> SuiroError | None:
        """By SQLite's own error codes."""
        if not isinstance(error, sqlite3.Error):
            return None
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        match code:
            case sqlite3.SQLITE_NOTADB:
                return ConfigError(
                    f"{self.name} is no SQLite database", hint="Name another file, or move this one away."
                )
            case sqlite3.SQLITE_CORRUPT:
                return ConfigError(f"{self.name} is damaged: {error}", hint="Restore it from a backup.")
            case sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM:
                return ConfigError(f"can't open or write {self.name}: {error}", hint="Check the file and its folder.")
            case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
                return TransientError(
                    f"{self.name} was busy for {WAIT_SECONDS} s", hint="Wait for the other program that uses it."
                )
            case sqlite3.SQLITE_FULL:
                return TransientError(f"no room left for {self.name}", hint="Free space on that disk.")
            case sqlite3.SQLITE_IOERR:
                return TransientError(f"the disk failed under {self.name}: {error}", hint="Check the disk.")
        return None

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, timeout=WAIT_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        try:
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA synchronous = FULL")
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _make(self) -> None:
        """Make the file if it isn't there.

        A file that is there isn't opened: closing it would take away the locks that other sessions of this process have
        on it (SQLite's documentation, "How To Corrupt An SQLite Database File", 2.2).
        """
        try:
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            if not os.access(self._path, os.R_OK | os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES)) from None

    def _to_wal(self, engine: Engine) -> str | None:
        """The journal's mode now; None while another process stands in the way."""
        raw = engine.raw_connection()
        try:
            found = raw.cursor().execute("PRAGMA journal_mode = WAL")
            assert found is not None
            return str(found.fetchone()[0])
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                return None
            raise
        finally:
            raw.close()


def _begin(connection: Connection) -> None:
    """A writer takes its turn at once: one that began as a reader could not wait for it."""
    reading = connection.get_execution_options().get(READING, False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")
