"""Jobs of the Bulk API 2.0 that write: made, filled once, closed, waited for, and their results read.

A job does nothing before it is closed, and is done once: its id is what makes a sending happen no more than once.
Source: "Bulk API 2.0 Ingest" in Salesforce's Bulk API 2.0 Developer Guide.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from logging import Logger
from pathlib import Path
from typing import Any, Final, TypeVar

import pyarrow as pa

from suiro.connectors.salesforce.decode import Cutter, Decoder
from suiro.connectors.salesforce.describe import ID
from suiro.connectors.salesforce.org import Org
from suiro.model.errors import ConnectionLost, SuiroError, TransientError
from suiro.model.writeback import Action, Order
from suiro.spi.context import Context, Grants, Quotas
from suiro.toolkit.http.patience import QUICK
from suiro.toolkit.http.sending import How

T = TypeVar("T")

SUCCESSFUL: Final = "successfulResults"
FAILED: Final = "failedResults"
UNPROCESSED: Final = "unprocessedrecords"
MOST_BYTES: Final = 100_000_000  #: of CSV that one job takes

_FIRST, _GROWTH, _SELDOM = 0.2, 1.5, 15.0  #: seconds between two looks at a job: at first, times, at most
_TRIES: Final = 6  #: of a result set that breaks off, and of closing
_ENDED: Final = frozenset({"JobComplete", "Failed", "Aborted"})


class Gone(Exception):
    """The job isn't there any more: Salesforce keeps them for seven days."""


class IngestJob:
    """One job, by its id and the version of the API that it was made with."""

    def __init__(self, org: Org, id: str, version: str, content: str | None = None) -> None:
        self._org, self.id, self.version = org, id, version
        self._content = content or f"services/data/v{version}/jobs/ingest/{id}/batches"

    def upload(self, pieces: Callable[[], Iterator[bytes]]) -> None:
        """Fill it. What of an upload that broke off has arrived is not known: then only another job will do."""
        how: How = {"content": pieces, "headers": {"Content-Type": "text/csv"}, "repeatable": False}
        self._org.ask("PUT", f"/{self._content.lstrip('/')}", **how)

    def close(self) -> None:
        """Have it done. Closing it again changes nothing."""
        how: How = {"json": {"state": "UploadComplete"}, "repeatable": True, "allow": {400, 404, 409}}
        self._org.ask("PATCH", self._path(), **how)

    def abort(self) -> None:
        """Say that it isn't to be done, as far as that goes, also after a cancel."""
        org = Org(self._org.config, LastWords(self._org.context))
        asked = {"state": "Aborted"}
        how: How = {"json": asked, "repeatable": True, "allow": {400, 404, 409}, "patience": QUICK}
        with suppress(SuiroError):
            org.ask("PATCH", self._path(), **how)
        org.close()

    def said(self) -> Mapping[str, Any]:
        """What Salesforce says of it. `Gone`."""
        answer = self._org.ask("GET", self._path(), allow={404})
        if answer.status == 404:
            raise Gone
        said: Mapping[str, Any] = answer.json()
        return said

    def ended(self) -> Mapping[str, Any]:
        """The same, once it has ended. `Gone`."""
        pause, closings = _FIRST, 0
        while (said := self.said()).get("state") not in _ENDED:
            if said.get("state") == "Open":
                if closings == _TRIES:
                    raise TransientError(f"Salesforce doesn't let the bulk job {self.id} be closed")
                closings += 1
                self.close()
            self._org.context.wait(pause)
            pause = min(pause * _GROWTH, _SELDOM)
        return said

    def results(self, kind: str, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """A result set, or these of its columns, as texts. ConnectionLost where it breaks off."""
        decoder = Decoder(pa.schema([pa.field(name, pa.string()) for name in columns]))
        how: How = {"headers": {"Accept": "text/csv"}, "allow": {404}}
        with self._org.http.stream("GET", self._path(f"/{kind}"), **how) as streamed:
            if self._org.heard(streamed.head).status == 404:
                raise Gone
            cutter = Cutter()
            for rows in _blocks(streamed.chunks(), cutter):
                yield from decoder.batches(cutter.header or (), rows)

    def listed(self, kind: str, columns: Sequence[str], each: Callable[[Sequence[str | None]], T]) -> list[T]:
        """What `each` makes of the rows of a whole result set. It is asked for again where it breaks off."""
        for tried in range(1, _TRIES + 1):
            try:
                return [
                    each(row)
                    for batch in self.results(kind, columns)
                    for row in zip(*(column.to_pylist() for column in batch.columns), strict=True)
                ]
            except ConnectionLost as error:
                if tried == _TRIES:
                    raise
                self._org.context.log.debug("%s; the results are asked for again", error.message)
                self._org.context.wait(min(2.0**tried / 8, _SELDOM))
        raise AssertionError("unreachable")

    def _path(self, rest: str = "") -> str:
        return f"/services/data/v{self.version}/jobs/ingest/{self.id}{rest}"


def made(org: Org, order: Order) -> IngestJob | SuiroError:
    """A new job, or why Salesforce takes none: the object, or the day's limits."""
    asked = {
        "operation": order.action.value,
        "object": order.object,
        "contentType": "CSV",
        "lineEnding": "LF",
        "columnDelimiter": "COMMA",
    }
    if order.action is Action.UPSERT:
        asked["externalIdFieldName"] = order.by or ID
    answer = org.ask("POST", org.path("jobs/ingest"), json=asked, repeatable=True, allow={400})
    if answer.status == 400:
        return org.refusal("POST jobs/ingest", answer)
    said = answer.json()
    return IngestJob(org, said["id"], org.config.version, said.get("contentUrl"))


def _blocks(pieces: Iterator[bytes], cutter: Cutter) -> Iterator[bytes]:
    for piece in pieces:
        yield from cutter.feed(piece)
    yield from cutter.end()


class LastWords:
    """A run's context for what is still to be said after it was cancelled."""

    def __init__(self, context: Context) -> None:
        self._context = context

    @property
    def run(self) -> str:
        return self._context.run

    @property
    def workdir(self) -> Path:
        return self._context.workdir

    @property
    def memory_bytes(self) -> int:
        return self._context.memory_bytes

    @property
    def grants(self) -> Grants:
        return self._context.grants

    @property
    def quotas(self) -> Quotas:
        return self._context.quotas

    @property
    def log(self) -> Logger:
        return self._context.log

    def check_cancelled(self) -> None:
        """Whatever was cancelled, this is said."""

    def wait(self, seconds: float) -> None:
        """A moment at most."""
        time.sleep(min(seconds, 1.0))

    def on_cancel(self, stop: Callable[[], object]) -> Callable[[], None]:
        """Nothing stops it."""
        return lambda: None
