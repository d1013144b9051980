"""Companies: by pages up to a bound, or by a scroll, of which an app has one at a time."""

from __future__ import annotations

import secrets
import threading
from typing import Any, Final

from suiro.sandbox.intercom.answers import Call, Endpoint, Refused, number
from suiro.sandbox.intercom.store import THERE, Found, Row

_NOT_FOUND: Final = ("company_not_found", "Company Not Found")
_WRITABLE: Final = frozenset(
    ["name", "plan", "size", "website", "industry", "remote_created_at", "monthly_spend", "custom_attributes"]
)


def told_company(found: Found) -> Row:
    """A company as the API tells it."""
    row = found.row
    out: Row = {"type": "company", "company_id": row["company_id"], "id": found.id, "app_id": "sandbox1"}
    out |= {name: row.get(name) for name in ("name", "remote_created_at", "last_request_at")}
    out |= {"created_at": found.created, "updated_at": found.updated}
    out |= {"monthly_spend": row.get("monthly_spend", 0), "session_count": 0, "user_count": row.get("user_count", 0)}
    out |= {name: row.get(name) for name in ("size", "website", "industry")}
    out |= {"tags": {"type": "tag.list", "tags": []}, "segments": {"type": "segment.list", "segments": []}}
    return {**out, "plan": row.get("plan") or {}, "custom_attributes": row.get("custom_attributes") or {}}


class Scrolls:
    """The one scroll that may be open. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._param: str | None = None
        self._at = 0
        self._used = 0.0

    def step(self, call: Call) -> Row:
        """The next companies, those without users too. A step that was given isn't given again."""
        now, param = call.now.timestamp(), call.query.get("scroll_param")
        with self._lock:
            if self._param is not None and now - self._used > call.settings.scroll_idle_seconds:
                self._param = None
            if param is None:
                if self._param is not None:
                    # The code is unverified.
                    raise Refused(400, "scroll_exists", "scroll already exists for this workspace")
                self._param, self._at = secrets.token_hex(16), 0
            elif param != self._param:
                raise Refused(404, "not_found", "scroll parameter not found")  # unverified words
            where = THERE.also("seq > ?", self._at)
            found = list(call.records.each("company", where, limit=call.settings.scroll_size))
            told: Row = {"type": "list", "data": [told_company(one) for one in found], "pages": None}
            told |= {"total_count": None, "scroll_param": self._param}
            self._used = now
            if found:
                self._at = found[-1].seq
            else:
                self._param = None
        return told


def listed(call: Call) -> Row:
    """Those with users, the one that was seen last first. 400 beyond the bound."""
    size = number(call.query.get("per_page", 15), "per_page", 150)  # unverified bound
    at = number(call.query.get("page", 1), "page", 1 << 31)
    if (at - 1) * size >= call.settings.listed_companies:
        raise Refused(400, "bad_request", "page limit reached, please use scroll API")  # unverified code
    where = THERE.also("json_extract(body, '$.user_count') > 0")
    way = "" if call.query.get("order") == "asc" else " DESC"
    order = f"json_extract(body, '$.last_request_at'){way}, seq{way}"
    total = call.records.count("company", where)
    offset = (at - 1) * size
    found = list(call.records.each("company", where, order, size, offset))
    if call.duplicate and offset:
        found = list(call.records.each("company", where, order, 5, max(0, offset - 5))) + found
    pages = {"type": "pages", "next": None, "page": at, "per_page": size, "total_pages": -(-total // size)}
    return {"type": "list", "data": [told_company(one) for one in found], "pages": pages, "total_count": total}


def one_of(call: Call) -> Row:
    """The company of the path."""
    found = call.records.get("company", call.path["company_id"])
    if found is None:
        raise Refused(404, *_NOT_FOUND)
    return told_company(found)


def find(call: Call) -> Row:
    """The company of a company_id or a name."""
    for name in ("company_id", "name"):
        if name in call.query:
            same = THERE.also(f"json_extract(body, '$.{name}') = ?", call.query[name])
            for found in call.records.each("company", same):
                return told_company(found)
            raise Refused(404, *_NOT_FOUND)
    return listed(call)


def put(call: Call) -> Row:
    """A company by its company_id: changed where it is there, else made."""
    given: dict[str, Any] = call.given()
    key = given.get("company_id")
    if not key:
        raise Refused(400, "bad_request", "bad 'company_id' parameter")
    same = THERE.also("json_extract(body, '$.company_id') = ?", str(key))
    old = next(call.records.each("company", same), None)
    id = old.id if old else f"{call.seconds:08x}{secrets.token_hex(8)}"
    fields = {name: value for name, value in given.items() if name in _WRITABLE}
    row = {"user_count": 0, **(old.row if old else {}), **fields, "company_id": str(key)}
    call.writer.put("company", id, row, at=call.seconds)
    found = call.records.get("company", id)
    assert found is not None
    return told_company(found)


def endpoints(scrolls: Scrolls) -> list[Endpoint]:
    """Every path about companies."""
    return [
        Endpoint(method="POST", path="/companies/list", handle=listed, paged="companies"),
        Endpoint(method="GET", path="/companies/scroll", handle=scrolls.step),
        Endpoint(method="GET", path="/companies", handle=find),
        Endpoint(method="POST", path="/companies", handle=put, reads=False),
        Endpoint(method="GET", path="/companies/{company_id}", handle=one_of),
    ]
