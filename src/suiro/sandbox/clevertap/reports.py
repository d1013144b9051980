"""Counts that are computed in the background, campaigns with their reports, messages, and names of what is known."""

from __future__ import annotations

import threading
from typing import Any, Final

from starlette.responses import Response

from suiro.sandbox.clevertap.answers import Wrong, as_json, failed, local, span
from suiro.sandbox.clevertap.settings import Settings
from suiro.sandbox.clevertap.store import Store

_COUNTS: Final = {"events": "count(*)", "profiles": "count(DISTINCT profile)"}


class Reports:
    """What the project can be asked for beside its records."""

    def __init__(self, store: Store) -> None:
        self._store, self._lock = store, threading.Lock()
        self._waiting: dict[int, tuple[int, int]] = {}  # by request: the count, and polls until it is told
        self._next = 384_649_162_721_759

    def count(self, kind: str, body: dict[str, Any], settings: Settings) -> Response:
        """How many events, or people who did them, there were; often only the number of a request."""
        begins, ends = span(body, settings.zone())
        sql = f"SELECT {_COUNTS[kind]} FROM event WHERE name = ? AND at >= ? AND at < ?"
        with self._store.reading() as session:
            (found,) = session.execute(sql, (body.get("event_name"), begins, ends)).fetchone()
        if not settings.polls:
            return as_json({"status": "success", "count": found})
        with self._lock:
            self._next += 7
            self._waiting[self._next] = (found, settings.polls)
            return as_json({"req_id": self._next, "status": "partial"})

    def poll(self, said: str) -> Response:
        """The count of a request, or that it is still not there."""
        with self._lock:
            number = int(said) if said.isdecimal() else 0
            known = self._waiting.get(number)
            if known is None:
                return failed("Unknown request id")  # unverified wording
            count, polls = known
            self._waiting[number] = (count, polls - 1)
        if polls > 1:
            return as_json({"req_id": number, "status": "partial"})
        return as_json({"status": "success", "count": count})

    def campaigns(self, body: dict[str, Any], settings: Settings) -> Response:
        """Campaigns by the day for which they are scheduled."""
        begins, ends = span(body, settings.zone())
        sql = "SELECT id, name, scheduled, status FROM campaign WHERE scheduled >= ? AND scheduled < ? ORDER BY id"
        with self._store.reading() as session:
            rows = session.execute(sql, (begins, ends)).fetchall()
        zone = settings.zone()  # the form of scheduled_on is unverified
        targets = [
            {"id": id_, "name": name, "scheduled_on": f"{local(at, zone):%Y-%m-%d %H:%M}", "status": status}
            for id_, name, at, status in rows
        ]
        return as_json({"status": "success", "targets": targets})

    def result(self, body: dict[str, Any], settings: Settings) -> Response:
        """The report of one campaign; of one that isn't finished, that there is none."""
        with self._store.reading() as session:
            row = session.execute("SELECT result FROM campaign WHERE id = ?", (body.get("id"),)).fetchone()
        if row is None:
            raise Wrong("Campaign not found", 404)  # unverified
        if row[0] is None:
            return failed("There is no result as of yet for this campaign", settings.unfinished_status)
        return Response(f'{{"status":"success","result":{row[0]}}}', media_type="application/json")

    def messages(self, body: dict[str, Any], settings: Settings) -> Response:
        """Messages that were sent in those days. The member that holds them is unverified."""
        begins, ends = span(body, settings.zone())
        with self._store.reading() as session:
            rows = session.execute(
                "SELECT body FROM message WHERE sent >= ? AND sent < ? ORDER BY id", (begins, ends)
            ).fetchall()
        listed = ",".join(row[0] for row in rows)
        return Response(f'{{"status":"success","messages":[{listed}]}}', media_type="application/json")

    def schema(self, kind: str, settings: Settings) -> Response:
        """Names of events, or of properties of profiles. The form is unverified, so that there are several."""
        if kind not in ("events", "userProperties"):
            raise Wrong("type must be events or userProperties")
        names = self._store.names() if kind == "events" else ["Name", "Email", "Phone", "city", "plan", "visits"]
        match settings.schema_form:
            case "names":
                return as_json({"status": "success", kind: names})
            case "objects":
                return as_json({"status": "success", "schema": [{"name": name, "type": "string"} for name in names]})
            case "mapping":
                return as_json({"status": "success", "data": {name: {} for name in names}})
