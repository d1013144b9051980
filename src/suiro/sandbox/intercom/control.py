"""Control of the workspace from outside its API: settings, records for comparing, changes while somebody reads."""

from __future__ import annotations

import json
import math
import random
import secrets
import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from suiro.sandbox.intercom import contacts, conversations
from suiro.sandbox.intercom.answers import as_json
from suiro.sandbox.intercom.companies import told_company
from suiro.sandbox.intercom.seeds import contact
from suiro.sandbox.intercom.settings import Drift, Settings
from suiro.sandbox.intercom.store import THERE, Found, Reader, Row, Store, Writer

KINDS: Final = {"contacts": "contact", "conversations": "conversation", "companies": "company", "tickets": "ticket"}
_TOLD: Final = {
    **KINDS,
    "conversation_parts": "part",
    "notes": "note",
    "tags": "tag",
    "segments": "segment",
    "admins": "admin",
    "teams": "team",
    "activity_logs": "activity_log",
    "subscription_types": "subscription",
    "ticket_types": "ticket_type",
    "data_attributes": "data_attribute",
}


class Changes(BaseModel):
    """Changes to make at once."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    resource: str = Field(pattern="^(contacts|conversations)$")
    change: int = Field(default=0, ge=0)
    add: int = Field(default=0, ge=0)
    delete: int = Field(default=0, ge=0)
    seed: int = 0


class Control:
    """The settings that hold, and the routes under /_sandbox/. Safe to use from several threads."""

    def __init__(self, store: Store, seed: int, now: Callable[[], datetime]) -> None:
        self.settings = Settings()
        self._store, self._seed, self._now = store, seed, now
        self._lock = threading.Lock()
        self._pages = self._drifted = 0

    def routes(self) -> list[Route]:
        """Settings: GET, PUT (whole), PATCH (in part). Records: GET, POST (put), DELETE. Changes: POST."""
        return [
            Route("/_sandbox/settings", self._set, methods=["GET", "PUT", "PATCH"]),
            Route("/_sandbox/records/{name}", self._records, methods=["GET", "POST", "DELETE"]),
            Route("/_sandbox/changes", self._changed, methods=["POST"]),
        ]

    def drift(self, name: str) -> None:
        """A page of a list was given: records change behind it, if that is set."""
        drift = self.settings.drift
        if not drift.every or name not in drift.resources:
            return
        with self._lock:
            self._pages += 1
            if self._pages % drift.every or self._drifted >= drift.at_most:
                return
            self._drifted += 1
            turn = self._drifted
        self.change(_changes(name, drift, turn))

    def change(self, wanted: Changes) -> dict[str, list[str]]:
        """Change, add and delete records, as others would. The ids, by what was done."""
        dice = random.Random(f"{self._seed} {wanted.seed} {wanted.resource}")
        kind, at = KINDS[wanted.resource], math.floor(self._now().timestamp())
        with self._store.writing() as writer:
            there = [found.id for found in writer.each(kind)]
            chosen = dice.sample(there, min(len(there), wanted.change + wanted.delete))
            changed, gone = chosen[: wanted.change], chosen[wanted.change :]
            for id in changed:
                _alter(writer, kind, id, at, dice)
            added = [_grow(writer, kind, self._seed, at, dice) for _ in range(wanted.add)]
            for id in gone:
                _remove(writer, kind, id, at)
        return {"changed": changed, "added": [id for id in added if id], "deleted": gone}

    async def _set(self, request: Request) -> Response:
        if request.method != "GET":
            try:
                given = await request.json()
                old = self.settings.model_dump() if request.method == "PATCH" else {}
                with self._lock:
                    self.settings = Settings.model_validate({**old, **given})
                    self._pages = self._drifted = 0
            except (ValidationError, ValueError, TypeError) as error:
                return as_json({"error": str(error)}, 400)
        return as_json(self.settings.model_dump())

    async def _records(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in _TOLD:
            return as_json({"error": f"there are: {', '.join(_TOLD)}"}, 404)
        body = await request.body()
        ids = request.query_params.get("ids", "")
        return await run_in_threadpool(self._about, request.method, name, body, [id for id in ids.split(",") if id])

    def _about(self, method: str, name: str, body: bytes, ids: list[str]) -> Response:
        kind = _TOLD[name]
        if method == "GET":
            with self._store.reading() as reader:
                text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in _rows(reader, kind))
            return Response(text, media_type="application/x-ndjson")
        with self._store.writing() as writer:
            if method == "DELETE":
                return as_json({"deleted": writer.remove(kind, ids or [one.id for one in writer.each(kind)])})
            given = [json.loads(line) for line in body.splitlines() if line.strip()]
            return as_json({"ids": [_put(writer, kind, row, math.floor(self._now().timestamp())) for row in given]})

    async def _changed(self, request: Request) -> Response:
        try:
            wanted = Changes.model_validate_json(await request.body())
        except ValidationError as error:
            return as_json({"error": str(error)}, 400)
        return as_json(await run_in_threadpool(self.change, wanted))


def _rows(reader: Reader, kind: str) -> Iterator[Row]:
    """All records of a kind as the API tells them; nothing is cut short. Parts and notes name what they belong to."""
    found = list(reader.each(kind))
    match kind:
        case "contact":
            yield from contacts.told(reader, found, 1 << 30)
        case "company":
            yield from map(told_company, found)
        case "conversation":
            yield from map(conversations.told_conversation, found)
        case "ticket":
            parts = reader.by_parent("ticket_part", [one.id for one in found])
            yield from (conversations.told_ticket(one, parts[one.id]) for one in found)
        case "part" | "note":
            above = "conversation_id" if kind == "part" else "contact_id"
            yield from ({**conversations.told_part(one), above: one.parent} for one in found)
        case "activity_log":
            yield from ({**one.row, "id": one.id, "created_at": one.created} for one in found)
        case _:
            yield from (one.row for one in found)


def _put(writer: Writer, kind: str, given: dict[str, Any], now: int) -> str:
    """Keep a record with its own moments, over the one of its id; without an id it gets a new one."""
    row = dict(given)
    id = str(row.pop("id", None) or f"66{secrets.token_hex(11)}")
    old = writer.get(kind, id)
    created = int(row.pop("created_at", old.created if old else now))
    updated = int(row.pop("updated_at", created if old is None else old.updated))
    more = {name: row.pop(name) for name in ("parent", "state", "shown") if name in row and kind != "conversation"}
    base = old.row if old else {"role": "user"} if kind == "contact" else _plain(writer, kind)
    keep = {"id": id} if kind in ("tag", "segment", "admin", "team", "note") else {}
    writer.put(kind, id, {**base, **row, **keep}, at=updated, created=created, **more)
    return id


def _plain(writer: Writer, kind: str) -> Row:
    """What a new record has that isn't told: what another one has."""
    some: Found | None = next(writer.each(kind, THERE, limit=1), None)
    return dict(some.row) if some else {}


def _changes(name: str, drift: Drift, turn: int) -> Changes:
    return Changes(
        resource=name, change=drift.change, add=drift.add, delete=drift.delete, seed=drift.seed * 1_000_003 + turn
    )


def _alter(writer: Writer, kind: str, id: str, at: int, dice: random.Random) -> None:
    found = writer.get(kind, id)
    assert found is not None
    field = "name" if kind == "contact" else "title"
    writer.put(kind, id, {**found.row, field: f"changed {dice.randrange(1_000_000)}"}, at=at)


def _grow(writer: Writer, kind: str, seed: int, at: int, dice: random.Random) -> str:
    """One more record, as it was sown, but new."""
    if kind == "contact":
        number = 100_000 + writer.number("grown")
        id = f"{at:08x}{dice.getrandbits(64):016x}"
        writer.put(kind, id, {**contact(seed, number, 1, at), "company_ids": []}, at=at, shown=at)
        return id
    some = next(writer.each(kind, THERE, limit=1), None)
    if some is None:
        return ""
    id = str(writer.number("conversation"))
    writer.put(kind, id, {**some.row, "title": f"grown {id}"}, at=at, shown=at)
    return id


def _remove(writer: Writer, kind: str, id: str, at: int) -> None:
    if kind == "contact":
        found = writer.get(kind, id)
        assert found is not None
        writer.put(kind, id, found.row, at=at, state="deleted")
        return
    writer.remove("part", [one.id for one in writer.by_parent("part", [id])[id]])
    writer.remove(kind, [id])
