"""Queries as jobs of the Bulk API 2.0: made, waited for, and their results read page by page.

Source: "Query" and "Get Results for a Query Job" in Salesforce's Bulk API 2.0 Developer Guide.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from suiro.connectors.salesforce.ahead import Ahead
from suiro.connectors.salesforce.decode import BLOCK, Cutter
from suiro.connectors.salesforce.org import Org
from suiro.connectors.salesforce.soql import Query
from suiro.model.errors import ConfigError, ConnectionLost, SuiroError, TransientError
from suiro.toolkit.http.sending import How

_AHEAD: Final = 8 << 20  #: bytes of CSV that are read ahead
_FIRST, _GROWTH, _SELDOM = 0.05, 1.5, 10.0  #: seconds between two looks at a job: at first, times, at most
_TRIES: Final = 6  #: of a page that breaks off without having brought anything more
_PATIENCE: Final = 30.0  #: seconds between two of them, at most
LAST: Final = "null"  #: the locator behind the last page, in these letters
_LIVE: Final = frozenset({"UploadComplete", "InProgress"})
_WRONG: Final = ("INVALID_FIELD", "MALFORMED_QUERY", "INVALID_TYPE", "InvalidBatch")


class Gone(Exception):
    """The job isn't there any more, or not for this version of the API."""


@dataclass(frozen=True, slots=True)
class Block:
    """Whole rows of CSV, with the columns' names."""

    names: tuple[str, ...]
    rows: bytes


@dataclass(frozen=True, slots=True)
class PageEnd:
    """Here a page ends: how many rows it has, and where the next begins; None after the last."""

    rows: int | None  #: None where that wasn't told
    locator: str | None


class Job:
    """A query job. `rows`: how many its result has, once it is complete; `named`: by a position that may be kept."""

    def __init__(self, org: Org, id: str) -> None:
        self._org, self.id = org, id
        self.rows = 0
        self.named = False

    def wait(self) -> None:
        """Until the result is there. `Gone`; ConfigError where the query was wrong; TransientError where it failed."""
        pause = _FIRST
        while True:
            said = self._said()
            state = said.get("state")
            if state == "JobComplete":
                self.rows = int(said.get("numberRecordsProcessed") or 0)
                return
            if state not in _LIVE:
                raise self._failed(said)
            self._org.context.wait(pause)
            pause = min(pause * _GROWTH, _SELDOM)

    def items(self, locator: str | None) -> Ahead[Block | PageEnd]:
        """The result from there on (None: all of it), read ahead: blocks of rows, and the ends of pages."""
        return Ahead(lambda: self._pages(locator), _size, _AHEAD)

    def delete(self) -> None:
        """Take the job and its result away, as far as that goes; others expire after seven days."""
        try:
            answer = self._org.ask("DELETE", self._path(), allow={400, 403, 404, 409})
            if answer.status == 400:  # it is still under way
                self._org.ask("PATCH", self._path(), json={"state": "Aborted"}, allow={400, 404}, repeatable=True)
        except SuiroError as error:
            self._org.context.log.debug("the bulk job %s stays: %s", self.id, error.message)

    def _path(self, rest: str = "") -> str:
        return self._org.path(f"jobs/query/{self.id}{rest}")

    def _said(self) -> Mapping[str, Any]:
        answer = self._org.ask("GET", self._path(), allow={404, 409})
        if answer.status in (404, 409):
            raise Gone
        said: Mapping[str, Any] = answer.json()
        return said

    def _failed(self, said: Mapping[str, Any]) -> SuiroError:
        why = f"the bulk job {self.id} ended as {said.get('state')}: {said.get('errorMessage') or 'no reason was told'}"
        if any(code in why for code in _WRONG):
            return ConfigError(why, hint="Check columns and condition; field-level security may hide a field.")
        return TransientError(why, hint="Run again; with api=rest no bulk jobs are used.")

    def _pages(self, locator: str | None) -> Iterator[Block | PageEnd]:
        while True:
            end = yield from self._page(locator)
            yield end
            if end.locator is None:
                return
            locator = end.locator

    def _page(self, locator: str | None) -> Generator[Block, None, PageEnd]:
        """One page's blocks; returns its end. Where an answer breaks off, the rest is asked for again."""
        passed, fruitless = 0, 0
        while True:
            before = passed
            try:
                for item in self._read(locator, passed):
                    if isinstance(item, PageEnd):
                        return item
                    passed += len(item.rows)
                    yield item
                raise ConnectionLost(f"a page of the bulk job {self.id} has no end")
            except ConnectionLost as error:
                fruitless = 0 if passed > before else fruitless + 1
                if fruitless == _TRIES:
                    raise
                self._org.context.log.debug("%s; the page is asked for again", error.message)
                self._org.context.wait(min(2.0**fruitless / 4, _PATIENCE))

    def _read(self, locator: str | None, passed: int) -> Iterator[Block | PageEnd]:
        """One answer: its rows behind the first `passed` bytes, which are the same each time; then the page's end."""
        params = {"locator": locator, "maxRecords": self._org.config.page_rows}
        how: How = {"params": params, "headers": {"Accept": "text/csv"}, "allow": {404, 409}}
        with self._org.http.stream("GET", self._path("/results"), **how) as streamed:
            head = self._org.heard(streamed.head)
            if head.status in (404, 409):
                raise Gone
            following = head.headers.get("sforce-locator") or LAST
            if following == locator:
                raise ConnectionLost(f"a page of the bulk job {self.id} came in another's place")
            cutter, at = Cutter(BLOCK), 0
            for rows in self._blocks(streamed.chunks(), cutter):
                at += len(rows)
                if at > passed:
                    yield Block(tuple(cutter.header or ()), rows[max(0, len(rows) - (at - passed)) :])
        told = head.headers.get("sforce-numberofrecords", "")
        yield PageEnd(int(told) if told.isdigit() else None, None if following == LAST else following)

    def _blocks(self, pieces: Iterator[bytes], cutter: Cutter) -> Iterator[bytes]:
        for piece in pieces:
            yield from cutter.feed(piece)
        yield from cutter.end()


def ordered(org: Org, query: Query) -> Job | SuiroError:
    """A new job for a query, or why Salesforce takes none: the object, the query, or the day's limits."""
    asked = {
        "operation": "queryAll" if query.deleted else "query",
        "query": str(query),
        "contentType": "CSV",
        "columnDelimiter": "COMMA",
        "lineEnding": "LF",
    }
    answer = org.ask("POST", org.path("jobs/query"), json=asked, repeatable=True, allow={400})
    if answer.status == 400:
        return org.refusal("POST jobs/query", answer)
    return Job(org, answer.json()["id"])


def _size(item: Block | PageEnd) -> int:
    return len(item.rows) if isinstance(item, Block) else 0
