"""A small REST service for tests of sources: tables as lists of JSON, paged, filtered and sorted as asked."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from web import serving


def written(value: Any) -> str:
    """A value as JSON; numbers digit by digit, moments in ISO 8601."""
    match value:
        case datetime() | date():
            return json.dumps(value.isoformat())
        case Decimal():
            return format(value, "f")
        case bytes():
            return json.dumps(base64.b64encode(value).decode())
        case dict():
            return "{" + ",".join(f"{json.dumps(key)}:{written(one)}" for key, one in value.items()) + "}"
        case list():
            return "[" + ",".join(map(written, value)) + "]"
        case _:
            return json.dumps(value)


@dataclass
class Table:
    """Records, in the order in which they came."""

    schema: pa.Schema
    key: tuple[str, ...]
    rows: list[dict[str, Any]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    def add(self, rows: list[dict[str, Any]]) -> None:
        self.rows += rows
        self.texts += [written(row) for row in rows]


@dataclass
class Service:
    """Serves `/tables/<n>`; parameters: page and limit, offset, after; since and order by the cursor; above by id."""

    envelope: bool = True  #: {"data": [...], "meta": {...}} or, bare, an array and 204 where there is none
    heeds: bool = True  #: follows the filter
    nulls_last: bool = False
    tables: dict[str, Table] = field(default_factory=dict)
    asked: list[dict[str, str]] = field(default_factory=list)
    before: Callable[[dict[str, str]], None] = lambda _: None  #: is called before each answer
    lock: threading.Lock = field(default_factory=threading.Lock)

    def cursor(self, table: Table) -> str:
        """The column that its filter is about."""
        return next(name for name in ("at", "v", table.schema.names[0]) if name in table.schema.names)

    async def answer(self, request: Request) -> Response:
        return await run_in_threadpool(self._answer, request.path_params["number"], dict(request.query_params))

    def _answer(self, number: int, query: dict[str, str]) -> Response:
        with self.lock:
            self.asked.append({"table": str(number), **query})
        self.before(query)
        with self.lock:
            names = list(self.tables)
            if number >= len(names):
                return Response('{"message": "there is no such table"}', 404, media_type="application/json")
            table = self.tables[names[number]]
            at = self._chosen(table, query)
            return self._page(table, at, query)

    def _chosen(self, table: Table, query: dict[str, str]) -> list[int]:
        """The places of the rows that are asked for, in their order."""
        cursor, at = self.cursor(table), list(range(len(table.rows)))
        if "since" in query and self.heeds:
            least = _parsed(query["since"], table.schema.field(cursor).type)
            at = [i for i in at if table.rows[i][cursor] is not None and table.rows[i][cursor] >= least]
        if "order" in query:
            at.sort(key=lambda i: (self._is_first(table.rows[i][cursor]), table.rows[i][cursor] or 0))
        if "above" in query or query.get("sort") == "id":
            at = sorted(
                (i for i in at if table.rows[i]["id"] > int(query.get("above", -1))), key=lambda i: table.rows[i]["id"]
            )
        return at

    def _is_first(self, value: Any) -> bool:
        return (value is None) if self.nulls_last else (value is not None)

    def _page(self, table: Table, at: list[int], query: dict[str, str]) -> Response:
        limit = int(query.get("limit", 50))
        start = int(query.get("offset", (int(query.get("page", 1)) - 1) * limit))
        start = int(query.get("after", start))
        some = at[start : start + limit]
        array = "[" + ",".join(table.texts[i] for i in some) + "]"
        if not self.envelope:
            return Response(array, media_type="application/json") if some else Response(status_code=204)
        further = start + limit if start + limit < len(at) else None
        link = f"?after={further}&limit={limit}" if further else None
        meta = {"total": len(at), "pages": -(-len(at) // limit), "after": further and str(further), "next": link}
        headers = {"Link": f'<{link}>; rel="next"'} if link else {}
        body = f'{{"data": {array}, "meta": {json.dumps(meta)}}}'
        return Response(body, media_type="application/json", headers=headers)

    @contextmanager
    def served(self) -> Iterator[str]:
        """Its address while it is served."""
        with serving(Starlette(routes=[Route("/tables/{number:int}", self.answer)])) as url:
            yield url


def _parsed(text: str, type_: pa.DataType) -> Any:
    if pa.types.is_timestamp(type_):
        return datetime.fromisoformat(text)
    return date.fromisoformat(text) if pa.types.is_date(type_) else int(text)
