"""Calls and their answers: what a handler is given, how refusals are worded, and pages of lists."""

from __future__ import annotations

import base64
import json
import math
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from starlette.datastructures import QueryParams
from starlette.responses import Response

from suiro.sandbox.intercom.settings import Settings
from suiro.sandbox.intercom.store import Condition, Found, Reader, Writer

MOST: Final = 150  #: records in a page


class Refused(Exception):
    """The request can't be done."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request, as a handler sees it."""

    path: Mapping[str, str]  #: the ids in the path
    query: QueryParams
    body: Any  #: the JSON that came, or None
    records: Reader  #: a Writer unless nothing can change
    settings: Settings
    now: datetime
    root: str  #: address of the API
    duplicate: bool = False  #: rows of this page are to come once more with the next one

    @property
    def writer(self) -> Writer:
        """The records, to change them."""
        assert isinstance(self.records, Writer)
        return self.records

    @property
    def seconds(self) -> int:
        """The time of the call, in whole seconds since 1970."""
        return math.floor(self.now.timestamp())

    def given(self) -> dict[str, Any]:
        """The body, which must be an object."""
        if not isinstance(self.body, dict):
            raise Refused(400, "parameter_invalid", "The request body is not a JSON object")
        return self.body


Handler = Callable[[Call], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One method of one path."""

    method: str
    path: str
    handle: Handler = field(repr=False)
    area: str = "contacts"  #: what a token must be allowed to
    reads: bool = True
    paged: str = ""  #: the kind of record that comes in pages, whose drift counts them


@dataclass(frozen=True, slots=True, kw_only=True)
class Sorted:
    """An order of records: a column of theirs, and which end comes first."""

    column: str = "seq"  #: seq, created or updated
    descending: bool = False

    @property
    def sql(self) -> str:
        """As SQL writes it."""
        way = " DESC" if self.descending else ""
        return f"{self.column}{way}, seq{way}"

    def behind(self, where: Condition, value: int, seq: int) -> Condition:
        """What comes behind a record."""
        return where.also(f"({self.column}, seq) {'<' if self.descending else '>'} (?, ?)", value, seq)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of a list. `pages` is what the answer tells of it."""

    found: list[Found]
    total: int
    pages: dict[str, Any]


def page(call: Call, kind: str, where: Condition, order: Sorted, asked: Mapping[str, Any], default: int) -> Page:
    """The page that `asked` (per_page, starting_after) wants; a cursor stays right when records come and go."""
    size = number(asked.get("per_page", default), "per_page", MOST)
    total = call.records.count(kind, where)
    at, beyond = 1, where
    if asked.get("starting_after"):
        value, seq, at = place(str(asked["starting_after"]))
        beyond = order.behind(where, value, seq)
    found = list(call.records.each(kind, beyond, order.sql, size + 1))
    more, found = len(found) > size, found[:size]
    last = found[-1] if found else None
    if call.duplicate and len(found) > 1:
        more, last = True, found[len(found) // 2 - 1]
    pages: dict[str, Any] = {"type": "pages", "page": at, "per_page": size, "total_pages": -(-total // size)}
    if more and last is not None:
        pages["next"] = {"page": at + 1, "starting_after": cursor([getattr(last, order.column), last.seq, at + 1])}
    return Page(found=found, total=total, pages=pages)


def number(given: object, name: str, most: int) -> int:
    """A number from 1; 400 for what is none, or too large."""
    text = str(given)
    if not text.isdecimal() or not 1 <= int(text) <= most:
        raise Refused(400, "parameter_invalid", f"{name} must be a number between 1 and {most}")  # unverified words
    return int(text)


def cursor(values: list[int]) -> str:
    """A place in a list, for the client to hand back."""
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode()


def place(text: str) -> tuple[int, int, int]:
    """The place that a cursor means; 400 where it means none."""
    try:
        value, seq, at = json.loads(base64.urlsafe_b64decode(text))
        return int(value), int(seq), int(at)
    except (ValueError, TypeError) as error:
        raise Refused(400, "parameter_invalid", "starting_after is invalid") from error  # unverified words


def as_json(content: object, status: int = 200) -> Response:
    """An answer in JSON."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    return Response(text, status, media_type="application/json")


def refusal(status: int, code: str, message: str) -> Response:
    """A refusal in the API's words."""
    told = {"code": code, "message": message}
    return as_json({"type": "error.list", "request_id": str(uuid.uuid4()), "errors": [told]}, status)
