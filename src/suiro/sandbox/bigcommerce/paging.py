"""Pages of a list: numbered ones in v2 and v3, and v3's cursors."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from suiro.sandbox.bigcommerce.answers import Call, Refused
from suiro.sandbox.bigcommerce.filters import Order
from suiro.sandbox.bigcommerce.records import Condition, Row
from suiro.sandbox.bigcommerce.views import View

DEFAULT_LIMIT: Final = 50
MOST: Final = 250
REPEATED: Final = 3  #: rows of the page before that a repeated page brings again


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The part of a list that a request asks for."""

    limit: int
    page: int = 1
    after: tuple[object, int] | None = None  #: rows behind this one: (value of the order's column, id)
    before: tuple[object, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of records."""

    rows: list[Row]
    window: Window
    total: int


def asked_window(view: View, call: Call) -> Window:
    """The page that a request asks for. A cursor overrides the page number. Refused: a number that can't be."""
    limit, page = _number(call, "limit", DEFAULT_LIMIT), _number(call, "page", 1)
    if limit > MOST:
        raise _wrong(call, "limit", f"must be at most {MOST}", call.settings.over_limit_status)
    if view.cursor and call.query.get("after"):
        return Window(limit=limit, after=_position(call, "after"))
    if view.cursor and call.query.get("before"):
        return Window(limit=limit, before=_position(call, "before"))
    return Window(limit=limit, page=page)


def turned_to(view: View, call: Call, where: Condition, order: Order, window: Window) -> Page:
    """The records of the page. A repeated page brings rows that came before once more, and loses none."""
    total = call.records.count(view.kind, where)
    if window.before is not None:
        behind = _beyond(where, order, window.before, forwards=False)
        backwards = Order(order.column, not order.descending)
        rows = call.records.find(view.kind, behind, backwards.sql, window.limit)[::-1]
    elif window.after is not None:
        rows = call.records.find(view.kind, _beyond(where, order, window.after, forwards=True), order.sql, window.limit)
    else:
        offset = (window.page - 1) * window.limit
        rows = call.records.find(view.kind, where, order.sql, window.limit, offset)
        if call.duplicate and rows and offset:
            rows = call.records.find(view.kind, where, order.sql, REPEATED, max(0, offset - REPEATED)) + rows
    return Page(rows=rows, window=window, total=total)


def told_page(view: View, call: Call, order: Order, page: Page) -> dict[str, Any]:
    """v3's `meta` of a page."""
    meta: dict[str, Any] = {}
    window = page.window
    if window.after is None and window.before is None:
        meta["pagination"] = _numbers(call, page)
    if view.cursor:
        # What else the vendor's block holds is unverified.
        ends = [_cursor(order, page.rows[0]), _cursor(order, page.rows[-1])] if page.rows else [None, None]
        meta["cursor_pagination"] = {
            "count": len(page.rows),
            "per_page": window.limit,
            "start_cursor": ends[0],
            "end_cursor": ends[1],
        }
    return meta


def _numbers(call: Call, page: Page) -> dict[str, Any]:
    window = page.window
    pages = -(-page.total // window.limit)
    links = {"current": _link(call, window.page)}
    if window.page > 1:
        links["previous"] = _link(call, window.page - 1)
    if window.page < pages:
        links["next"] = _link(call, window.page + 1)
    return {
        "total": page.total,
        "count": len(page.rows),
        "per_page": window.limit,
        "current_page": window.page,
        "total_pages": pages,
        "links": links,
    }


def _link(call: Call, page: int) -> str:
    others = [(name, value) for name, value in call.query.multi_items() if name not in ("page", "limit")]
    numbers = [("page", str(page)), ("limit", str(_number(call, "limit", DEFAULT_LIMIT)))]
    return "?" + urlencode(numbers + others)


def _number(call: Call, name: str, default: int) -> int:
    text = call.query.get(name)
    if text is None:
        return default
    if not text.isdecimal() or not 0 < int(text) < 1 << 31:
        raise _wrong(call, name, "must be a number from 1", 422 if call.version == 3 else 400)
    return int(text)


def _wrong(call: Call, name: str, what: str, status: int) -> Refused:
    return Refused(status, f"The {name} parameter is not valid.", {name: f"{name} {what}"})


def _beyond(where: Condition, order: Order, position: tuple[object, int], *, forwards: bool) -> Condition:
    sign = "<" if order.descending == forwards else ">"
    value, id = position
    if order.column == "id":
        return where.also(f"id {sign} ?", id)
    return where.also(f"({order.column}, id) {sign} (?, ?)", value, id)


def _cursor(order: Order, row: Row) -> str:
    """A place in a list, for the client to hand back; it stays right when records come and go."""
    value = row["id"] if order.column == "id" else row.get(_field(order), 0)
    return base64.urlsafe_b64encode(json.dumps([value, row["id"]]).encode()).decode().rstrip("=")


def _field(order: Order) -> str:
    if order.column == "modified":
        return "date_modified"
    return order.column.partition("'$.")[2].partition("'")[0] or order.column


def _position(call: Call, name: str) -> tuple[object, int]:
    text = call.query[name]
    try:
        value, id = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (ValueError, TypeError) as error:
        raise _wrong(call, name, "is no cursor of this list", 422) from error
    if not isinstance(value, str | int | float) or not isinstance(id, int):
        raise _wrong(call, name, "is no cursor of this list", 422)
    return value, id
