"""What an application must be that takes rows back: it is no table, nothing is atomic, and hours are normal.

    facts = application.describe(object)
    application.present(object, by, keys, fields)      what the records hold now
    application.apply(order, rows, journal)            one answer for each row

What has been sent can't be taken back by the application, so whoever calls `apply` keeps a journal: before rows leave
that would be doubled when they were sent twice, what identifies the sending is noted there, durably, and after a crash
the same batch with the same journal goes on from that note.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Generic, Protocol, TypeVar

import pyarrow as pa
from pydantic import BaseModel

from suiro.model.schema import Json
from suiro.model.writeback import ObjectFacts, Order, RowResult
from suiro.spi.context import Context

C = TypeVar("C", bound=BaseModel)


class Journal(Protocol):
    """Notes about the sending of one batch; they outlive the process."""

    def notes(self) -> Sequence[dict[str, Json]]:
        """All notes of earlier attempts to send this batch and of this one, oldest first."""

    def note(self, said: dict[str, Json]) -> None:
        """Add a note. When this returns, the note survives a crash."""


class Application(ABC, Generic[C]):
    """Takes rows back into an application. Used from one thread at a time.

    Errors: ConfigError and AuthError from any verb; TransientError when the application can't be reached any more (the
    batch is sent again with its journal); RateLimited when its quota is used up.
    """

    def __init__(self, config: C, context: Context) -> None:
        self.config = config
        self.context = context

    @abstractmethod
    def check(self) -> None:
        """Reach the application and prove the credentials, or raise. Changes nothing."""

    @abstractmethod
    def objects(self) -> Sequence[str]:
        """The names of the objects that these credentials may write to."""

    @abstractmethod
    def describe(self, object_: str) -> tuple[ObjectFacts, pa.Schema]:
        """An object's fields as they are now, and their types; ConfigError names objects that come near."""

    @abstractmethod
    def most_rows(self, order: Order) -> int:
        """How many rows `apply` takes at once for such an order."""

    @abstractmethod
    def present(self, object_: str, by: str, keys: pa.Array, fields: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """What the records hold now whose field `by` is one of `keys`.

        `keys` are values of `by` in its type, any number of them. Columns: `by`, the record id's field, `fields`, each
        once, typed as `describe` says. Several records of one key all come; a key without a record doesn't. Deleted
        records don't.
        """

    @abstractmethod
    def apply(self, order: Order, rows: pa.RecordBatch, journal: Journal) -> Iterator[RowResult]:
        """Do `order` with the rows; one answer for each row, in any order.

        Rows that the application could not take for a passing reason (a lock) are tried again before they are answered.
        Called again with the same rows and the same journal after a crash or a TransientError, no row is done twice
        whose repetition would show: an insert never doubles. A delete of a record that is gone already is DONE.
        """

    def close(self) -> None:
        """Let go of connections. Called once, also after an error."""
        return None
