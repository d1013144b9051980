"""Rows sent as sObject Collections: up to 200 records of one request, each with an answer of its own.

Source: "sObject Collections" in Salesforce's REST API Developer Guide.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from suiro.connectors.salesforce.describe import ID
from suiro.connectors.salesforce.org import Org
from suiro.connectors.salesforce.outcomes import done, given_up, is_passing, of_error, refused
from suiro.connectors.salesforce.wire import Written
from suiro.model.errors import TransientError
from suiro.model.writeback import Action, Order, RowResult
from suiro.toolkit.http.answers import Answer
from suiro.toolkit.http.sending import How

AT_ONCE: Final = 200  #: records of one request
TRIES: Final = 5  #: of a record that is refused for passing reasons
_MOST: Final = 4 << 20  #: characters of one request's body
_PAUSE: Final = 0.5  #: seconds before records are tried again; twice as long before each time after it
_AMBIGUOUS: Final = "several records have this value, so Salesforce wrote none of them"


class Collections:
    """Updates, upserts and deletes, which may be repeated: what holds already is said again."""

    def __init__(self, org: Org, order: Order, written: Written) -> None:
        self._org, self._order = org, order
        self._texts = written.ids if order.action is Action.DELETE else written.records

    def results(self, rows: Sequence[int]) -> Iterator[RowResult]:
        """One answer for each row. An upsert whose answer is lost is a TransientError: it isn't known what it made."""
        waiting = list(rows)
        for tried in range(1, TRIES + 1):
            again = []
            for some in self._requests(waiting):
                for result in self._asked(some):
                    if not is_passing(result):
                        yield result
                    elif tried == TRIES:
                        yield given_up(result)
                    else:
                        again.append(result.row)
            if not again:
                return
            waiting = again
            self._org.context.wait(_PAUSE * 2 ** (tried - 1))

    def _requests(self, rows: Sequence[int]) -> Iterator[dict[int, str]]:
        """The rows as text, as many at a time as go into one request."""
        for start in range(0, len(rows), AT_ONCE):
            some: dict[int, str] = {}
            size = 0
            part = rows[start : start + AT_ONCE]
            for row, text in zip(part, self._texts(part), strict=True):
                if some and size + len(text) > _MOST:
                    yield some
                    some, size = {}, 0
                some[row] = text
                size += len(text)
            yield some

    def _asked(self, rows: Mapping[int, str]) -> Iterator[RowResult]:
        """The answers for the rows of one request; by halves where one of them makes Salesforce refuse it whole."""
        self._org.context.check_cancelled()
        answer = self._send(list(rows.values()))
        code = self._org.code(answer) if answer.status >= 300 else None
        if answer.status == 300 or (answer.status == 400 and code == "JSON_PARSER_ERROR"):
            if len(rows) > 1:
                listed, half = list(rows.items()), len(rows) // 2
                yield from self._asked(dict(listed[:half]))
                yield from self._asked(dict(listed[half:]))
                return
            said = self._org.http.answers.said(answer).message if code else _AMBIGUOUS
            yield refused(self._order, next(iter(rows)), code or "MULTIPLE_CHOICES", said)
            return
        if answer.status >= 300:
            raise self._org.refusal(f"{self._method} {self._path}", answer)
        yield from self._read(list(rows), answer.json())

    def _read(self, rows: Sequence[int], said: Any) -> Iterator[RowResult]:
        if not isinstance(said, list) or len(said) != len(rows):
            raise TransientError(f"Salesforce didn't answer for each of {len(rows)} records of {self._order.object}")
        for row, one in zip(rows, said, strict=True):
            if one.get("success"):
                yield done(self._order, row, one.get("id"), created=bool(one.get("created")))
            else:
                yield of_error(self._order, row, next(iter(one.get("errors") or ()), {}))

    @property
    def _method(self) -> str:
        return "DELETE" if self._order.action is Action.DELETE else "PATCH"

    @property
    def _path(self) -> str:
        rest = "composite/sobjects"
        if self._order.action is Action.UPSERT:
            rest += f"/{self._order.object}/{quote(self._order.by or ID)}"
        return self._org.path(rest)

    def _send(self, texts: Sequence[str]) -> Answer:
        how: How = {"allow": {300, 400}, "repeatable": self._order.action is not Action.UPSERT}
        if self._order.action is Action.DELETE:
            how["params"] = {"ids": ",".join(texts), "allOrNone": "false"}
        else:
            how["content"] = f'{{"allOrNone":false,"records":[{",".join(texts)}]}}'.encode()
            how["headers"] = {"Content-Type": "application/json"}
        return self._org.ask(self._method, self._path, **how)
