"""Transactions over one task's ledger."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, update

from suiro.model.errors import Fenced
from suiro.store.database import Database
from suiro.store.ledger_tables import task


class LedgerSession:
    """Reads, and writes as long as the ledger is held under this epoch."""

    def __init__(self, database: Database, name: str, epoch: int | None) -> None:
        self._database, self.name, self._epoch = database, name, epoch

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that reads."""
        with self._database.read() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that writes; Fenced if another process holds the ledger by now."""
        with self._database.begin() as connection:
            mine = update(task).where(task.c.task == self.name, task.c.epoch == self._epoch).values(epoch=self._epoch)
            if not connection.execute(mine).rowcount:
                raise Fenced(f"another process took over the write-back of {self.name}")
            yield connection
