"""Calls and their answers: what a handler is given, and how v2 and v3 word refusals."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from xml.etree import ElementTree

from starlette.datastructures import QueryParams
from starlette.responses import Response

from suiro.sandbox.bigcommerce.records import Reader, Writer
from suiro.sandbox.bigcommerce.settings import Settings
from suiro.sandbox.bigcommerce.views import Telling

STATUSES: Final = "/api-docs/getting-started/api-status-codes"
NOT_FOUND: Final = "The requested resource was not found."


class Refused(Exception):
    """The request can't be done. `errors` tells, by field, what is wrong."""

    def __init__(self, status: int, title: str, errors: Mapping[str, str] | None = None) -> None:
        super().__init__(title)
        self.status, self.title, self.errors = status, title, dict(errors or {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request, as a handler sees it."""

    method: str
    version: int  #: 2 or 3
    path: Mapping[str, int]  #: the ids in the path
    query: QueryParams
    body: object  #: the JSON that came, or None
    records: Reader  #: a Writer unless the method is GET
    settings: Settings
    now: datetime
    root: str  #: address of the store
    client_id: str = ""
    duplicate: bool = False  #: rows of the page before are to come once more

    @property
    def writer(self) -> Writer:
        """The records, to change them."""
        assert isinstance(self.records, Writer)
        return self.records

    @property
    def seconds(self) -> int:
        """The time of the call, in whole seconds since 1970: what records keep."""
        return math.floor(self.now.timestamp())

    def telling(self, include: frozenset[str] = frozenset()) -> Telling:
        """What is at hand when records are told."""
        return Telling(records=self.records, root=self.root, settings=self.settings, include=include)


Handler = Callable[[Call], Response]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One method of one path, under /stores/{store}."""

    method: str
    path: str  #: with its version: "/v3/customers"
    area: str  #: which scope opens it
    handle: Handler = field(repr=False)
    paged: bool = False

    @property
    def version(self) -> int:
        """2 or 3."""
        return int(self.path[2])


def as_json(content: object, status: int = 200) -> Response:
    """An answer in JSON."""
    return Response(
        json.dumps(content, ensure_ascii=False, separators=(",", ":")), status, media_type="application/json"
    )


def nothing() -> Response:
    """204, with an empty body."""
    return Response(status_code=204)


def whole(call: Call, content: object, status: int = 200) -> Response:
    """One record, or one object: bare in v2, in v3's envelope."""
    return as_json(content if call.version == 2 else {"data": content, "meta": {}}, status)


def refusal(version: int, status: int, title: str, errors: Mapping[str, str] | None = None) -> Response:
    """A refusal in the words of v2 (a list) or v3 (one object). v2 has 400 where v3 has 422 (unverified)."""
    if version == 2:
        status = 400 if status == 422 else status
        lines = [title, *(errors or {}).values()]
        return as_json([{"status": status, "message": line} for line in lines], status)
    body: dict[str, Any] = {"status": status, "title": title, "type": STATUSES}
    return as_json(body | {"errors": dict(errors)} if errors else body, status)


def as_xml(response: Response) -> Response:
    """An answer of v2 in XML, for who doesn't ask for JSON."""
    if not response.body:
        return response
    root = ElementTree.Element("response")
    _under(root, json.loads(bytes(response.body)))
    text = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return Response(text, response.status_code, media_type="application/xml")


def _under(element: ElementTree.Element, value: object) -> None:
    match value:
        case dict():
            for name, inner in value.items():
                _under(ElementTree.SubElement(element, str(name)), inner)
        case list():
            for inner in value:
                _under(ElementTree.SubElement(element, "item"), inner)
        case None:
            pass
        case bool():
            element.text = "true" if value else "false"
        case _:
            element.text = str(value)
