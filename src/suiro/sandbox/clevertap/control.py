"""Control of the project from outside its APIs: settings, records for comparing, records put and taken, exports."""

from __future__ import annotations

import json
from typing import Any

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from suiro.sandbox.clevertap.answers import as_json
from suiro.sandbox.clevertap.downloads import event_record, profile_record
from suiro.sandbox.clevertap.exports import Export, exported
from suiro.sandbox.clevertap.settings import Settings
from suiro.sandbox.clevertap.store import Row, Store


class Control:
    """The settings that hold, and the routes under /_sandbox/."""

    def __init__(self, store: Store) -> None:
        self.settings = Settings()
        self._store = store

    def routes(self) -> list[Route]:
        """Settings: GET, PUT (whole), PATCH (in part). Records as lines: GET, POST (put), DELETE. Exports: POST."""
        return [
            Route("/_sandbox/settings", self._set, methods=["GET", "PUT", "PATCH"]),
            Route("/_sandbox/records", self._numbers, methods=["GET"]),
            Route("/_sandbox/records/{name}", self._records, methods=["GET", "POST", "DELETE"]),
            Route("/_sandbox/exports", self._export, methods=["POST"]),
        ]

    async def _set(self, request: Request) -> Response:
        if request.method != "GET":
            try:
                old = self.settings.model_dump() if request.method == "PATCH" else {}
                self.settings = Settings.model_validate({**old, **await request.json()})
            except (ValidationError, ValueError, TypeError) as error:
                return as_json({"error": str(error)}, 400)
        return as_json(self.settings.model_dump(mode="json"))

    def _numbers(self, request: Request) -> Response:
        with self._store.reading() as session:
            tables = ("profile", "event", "campaign", "message")
            counts = {t: session.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in tables}
            by_name = dict(session.execute("SELECT name, count(*) FROM event GROUP BY name").fetchall())
        return as_json({**counts, "events": by_name})

    async def _records(self, request: Request) -> Response:
        name = request.path_params["name"]
        try:
            if request.method == "GET":
                lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in self._told(name))
                return Response(lines, media_type="application/x-ndjson")
            if request.method == "POST":
                given = [json.loads(line) for line in (await request.body()).splitlines() if line.strip()]
                return as_json({"put": self._put(name, given)})
            return as_json({"deleted": self._taken(request.query_params["identity"].split(","))})
        except (KeyError, ValueError) as error:
            return as_json({"error": repr(error)}, 400)

    def _told(self, name: str) -> list[Row]:
        """All records: `profiles`, or those of an event by its name."""
        zone = self.settings.zone()
        if name == "profiles":
            with self._store.reading() as session:
                found = session.execute("SELECT id, body FROM profile ORDER BY id").fetchall()
                return [profile_record(session, number, json.loads(body)) for number, body in found]
        told = []
        for id_, said, body, at, props, around in self._store.events(name):
            record = event_record(body, id_, at, props, around, zone)
            del record["profile"]["id"]
            told.append({**record, "name": said, "at": at})
        return told

    def _put(self, name: str, given: list[Row]) -> int:
        """Profiles as `identity` and properties; events as `identity`, `at` (seconds since 1970), `props`."""
        with self._store.writing() as session:
            for one in given:
                data: dict[str, Any] = {key: value for key, value in one.items() if key != "identity"}
                if name == "profiles":
                    self._store.put_profile(session, one["identity"], data)
                    continue
                known = self._store.find(session, "identity", one["identity"])
                number = known[0] if known else self._store.put_profile(session, one["identity"], {})
                self._store.put_event(session, name, number, one["at"], one.get("props", {}))
        return len(given)

    def _taken(self, identities: list[str]) -> int:
        """Profiles go, with all their events."""
        number = 0
        with self._store.writing() as session:
            for identity in identities:
                known = self._store.find(session, "identity", identity)
                if known is not None:
                    session.execute("DELETE FROM event WHERE profile = ?", (known[0],))
                    session.execute("DELETE FROM profile WHERE id = ?", (known[0],))
                    number += 1
        return number

    async def _export(self, request: Request) -> Response:
        try:
            wanted = Export.model_validate_json(await request.body())
            return as_json({"files": exported(self._store, wanted, self.settings)})
        except (ValidationError, ValueError, IndexError) as error:
            return as_json({"error": str(error)}, 400)
