"""Downloads of events and profiles: a query brings a cursor, cursors bring pages until none follows."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections import Counter
from typing import Any, Final
from urllib.parse import quote, unquote

from starlette.responses import Response

from suiro.sandbox.clevertap.answers import Wrong, as_json, failed, span, ts
from suiro.sandbox.clevertap.settings import Settings
from suiro.sandbox.clevertap.store import Row, Store

MOST: Final = 5_000  #: records in a page
EMPTY_EACH: Final = 4  #: of varied pages, so many, one is empty


class Downloads:
    """The queries of one project. A cursor holds its query, so that the same cursor brings the same page again."""

    def __init__(self, store: Store) -> None:
        self._store, self._lock = store, threading.Lock()
        self._told: Counter[str] = Counter()

    def begin(self, kind: str, body: dict[str, Any], size: int, settings: Settings) -> Response:
        """A query: the cursor of its first page."""
        name = body.get("event_name")
        if not isinstance(name, str) or not name:
            raise Wrong("event_name is required")  # unverified wording
        if kind == "events" and name in settings.not_exported:
            return failed(f"{name}: export not allowed", 400)
        if kind == "profiles" and size % settings.buckets:
            raise Wrong(f"batch_size must be a multiple of {settings.buckets}")  # unverified refusal
        if not 1 <= size <= MOST:
            raise Wrong(f"batch_size must be at most {MOST}")  # unverified refusal
        begins, ends = span(body, settings.zone())
        with self._store.reading() as session:
            (upto,) = session.execute("SELECT coalesce(max(id), 0) FROM event").fetchone()
        query = {"k": kind, "n": name, "b": begins, "e": ends, "s": size, "u": upto, "a": 0, "c": 0, "p": 0}
        query |= {"t": time.time(), "w": body.get("event_properties") or []}
        return as_json({"status": "success", "cursor": sealed(query)})

    def page(self, kind: str, cursor: str, options: dict[str, bool], settings: Settings) -> Response:
        """The page of a cursor."""
        query = opened(cursor)
        if query is None or query["k"] != kind:
            return failed("Invalid cursor", 400)  # unverified body
        if settings.cursor_seconds and time.time() - query["t"] > settings.cursor_seconds:
            return failed("Cursor expired", 400)  # unverified body
        if query["p"] == 0 and self._is_in_progress(sealed(query), settings):
            return failed("Request still in progress, please try again after some time")
        found, following = (
            self._events(query, options, settings) if kind == "events" else self._profiles(query, settings)
        )
        body: Row = {"status": "success", "records": found}
        if query["p"]:
            body["previous_cursor"] = sealed({**query, "p": query["p"] - 1, "a": query["c"], "c": 0})
        if following is not None:
            body["next_cursor"] = sealed({**query, **following, "c": query["a"], "p": query["p"] + 1})
        return as_json(body)

    def _is_in_progress(self, seal: str, settings: Settings) -> bool:
        with self._lock:
            self._told[seal] += 1
            return self._told[seal] <= settings.in_progress

    def _events(self, query: Row, options: dict[str, bool], settings: Settings) -> tuple[list[Row], Row | None]:
        size, page = query["s"], query["p"]
        if settings.varied_pages:
            size = 0 if page % EMPTY_EACH == 1 else max(1, size - page % 3)
        sql = (
            "SELECT e.id, p.body, e.at, e.props, e.session, p.id FROM event e JOIN profile p ON p.id = e.profile "
            "WHERE e.name = ? AND e.at >= ? AND e.at < ? AND e.id > ? AND e.id <= ? ORDER BY e.id"
        )
        with self._store.reading() as session:
            rows = session.execute(sql, (query["n"], query["b"], query["e"], query["a"], query["u"])).fetchall()
        rows = [row for row in rows if all(_fits(json.loads(row[3]), wish) for wish in query["w"])]
        chosen = rows[:size]
        zone = settings.zone()
        records = [event_record(json.loads(r[1]), r[5], r[2], json.loads(r[3]), json.loads(r[4]), zone) for r in chosen]
        for record in records:
            for name, wanted in options.items():
                if not wanted:
                    record.pop(name, None)
        return records, {"a": chosen[-1][0] if chosen else query["a"]} if len(rows) > size else None

    def _profiles(self, query: Row, settings: Settings) -> tuple[list[Row], Row | None]:
        """So many of each bucket. Who did the event in those days."""
        sql = (
            "SELECT p.id, p.body FROM profile p WHERE EXISTS (SELECT 1 FROM event e WHERE e.profile = p.id "
            "AND e.name = ? AND e.at >= ? AND e.at < ? AND e.id <= ?) ORDER BY p.id"
        )
        with self._store.reading() as session:
            rows = session.execute(sql, (query["n"], query["b"], query["e"], query["u"])).fetchall()
            per, page = query["s"] // settings.buckets, query["p"]
            buckets: dict[int, list[tuple[int, str]]] = {}
            for row in rows:
                buckets.setdefault(row[0] * 7 % settings.buckets, []).append(row)
            chosen = [row for one in buckets.values() for row in one[page * per : (page + 1) * per]]
            records = [profile_record(session, number, json.loads(body)) for number, body in chosen]
        more = any(len(one) > (page + 1) * per for one in buckets.values())
        return records, {} if more else None


def event_record(body: Row, number: int, at: int, props: Row, around: Row, zone: Any) -> Row:
    """An event as downloads tell it."""
    device = (body.get("platformInfo") or [{}])[0]
    profile: Row = {"objectId": body["objectId"], "platform": device.get("platform", "Web")}
    profile |= {name: body[name] for name in ("email", "identity", "name") if name in body}
    profile |= {"profileData": body["profileData"], "id": number}
    return {"profile": profile, "ts": ts(at, zone), "event_props": props, "session_props": around}


def profile_record(session: Any, number: int, body: Row) -> Row:
    """A profile as downloads tell it, with what the person did."""
    sql = "SELECT name, count(*), min(at), max(at) FROM event WHERE profile = ? GROUP BY name ORDER BY name"
    did = {
        name: {"count": count, "first_seen": first, "last_seen": last}
        for name, count, first, last in session.execute(sql, (number,))
    }
    told: Row = {name: body[name] for name in ("identity", "email", "name") if name in body}
    return {**told, "profileData": body["profileData"], "events": did, "platformInfo": body["platformInfo"]}


def _fits(props: Row, wish: Row) -> bool:
    """Operators beside `contains` are unverified."""
    value, wanted = props.get(str(wish.get("name"))), wish.get("value")
    match wish.get("operator"):
        case "contains":
            return value is not None and str(wanted).lower() in str(value).lower()
        case "equals":
            return bool(value == wanted)
        case other:
            raise Wrong(f"Unknown operator {other}")


def sealed(query: Row) -> str:
    """A cursor: text that is percent-encoded already, as the service gives it."""
    return quote(base64.b64encode(json.dumps(query, separators=(",", ":")).encode()).decode() + "=", safe="")


def opened(cursor: str) -> Row | None:
    """The query of a cursor that the URL's own encoding was taken off. One that was encoded twice is none."""
    try:
        found = json.loads(base64.b64decode(cursor.removesuffix("="), validate=True))
    except ValueError:
        return None
    return found if isinstance(found, dict) and "k" in found and unquote(cursor) == cursor else None
