"""Control of the shop from outside its APIs: settings, records for comparing, changes while somebody reads."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable
from datetime import datetime
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from suiro.sandbox.bigcommerce.access import CLIENT_ID, FIRST, Access
from suiro.sandbox.bigcommerce.answers import as_json
from suiro.sandbox.bigcommerce.records import ALL, Records, Row, Writer
from suiro.sandbox.bigcommerce.seed_catalog import Sold, grow_product
from suiro.sandbox.bigcommerce.seed_customers import grow_customer
from suiro.sandbox.bigcommerce.seed_orders import grow_order
from suiro.sandbox.bigcommerce.settings import Drift, Settings
from suiro.sandbox.bigcommerce.told import TOLD, UNDER, lines, numbers, put, take_away
from suiro.sandbox.bigcommerce.views import View, cents

READ_AT: Final = {
    "/v3/customers": "customers",
    "/v2/customers": "customers",
    "/v2/orders": "orders",
    "/v3/catalog/products": "products",
}
KINDS: Final = {"customers": "customer", "orders": "order", "products": "product"}


class Changes(BaseModel):
    """Changes to make at once."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    resource: str = Field(pattern=f"^({'|'.join(KINDS)})$")
    change: int = Field(default=0, ge=0)
    add: int = Field(default=0, ge=0)
    delete: int = Field(default=0, ge=0)
    seed: int = 0


class Wish(BaseModel):
    """A code to be made."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scopes: frozenset[str] = frozenset()  #: that its token will have; none: all


class Control:
    """The settings that hold, and the routes under /_sandbox/. Safe to use from several threads."""

    def __init__(self, records: Records, access: Access, seed: int, now: Callable[[], datetime]) -> None:
        self.settings = Settings()
        self._records, self._access, self._seed, self._now = records, access, seed, now
        self._lock = threading.Lock()
        self._pages = 0
        self._drifted = 0

    def routes(self) -> list[Route]:
        """Settings: GET, PUT (whole) and PATCH (in part). Records as lines of JSON: GET, POST (put), DELETE.

        Changes as others make them, and codes for the exchange: POST.
        """
        return [
            Route("/_sandbox/settings", self._set, methods=["GET", "PUT", "PATCH"]),
            Route("/_sandbox/records", self._numbers, methods=["GET"]),
            Route("/_sandbox/records/{name}", self._lines, methods=["GET", "POST", "DELETE"]),
            Route("/_sandbox/changes", self._changed, methods=["POST"]),
            Route("/_sandbox/codes", self._code, methods=["POST"]),
        ]

    def overloaded(self) -> bool:
        """Whether the next request is refused because the platform has too much to do."""
        with self._lock:
            left = self.settings.overloaded
            if left:
                self.settings = self.settings.model_copy(update={"overloaded": left - 1})
            return bool(left)

    def drift(self, path: str) -> None:
        """A page of a list was given: records change behind it, if that is set."""
        drift, name = self.settings.drift, READ_AT.get(path)
        if not drift.every or name is None or name not in drift.resources:
            return
        with self._lock:
            self._pages += 1
            if self._pages % drift.every or self._drifted >= drift.at_most:
                return
            self._drifted += 1
            turn = self._drifted
        self.change(_changes(name, drift, turn))

    def change(self, wanted: Changes) -> dict[str, list[int]]:
        """Change, add and delete records, as others would. The ids, by what was done."""
        dice = random.Random(f"{self._seed} {wanted.seed} {wanted.resource}")
        kind, now = KINDS[wanted.resource], int(self._now().timestamp())
        with self._records.writing() as writer:
            chosen = _choose(writer, kind, wanted.change + wanted.delete, dice)
            changed, gone = chosen[: wanted.change], chosen[wanted.change :]
            for id in changed:
                _alter(writer, kind, id, now, dice)
            added = [_grow(writer, kind, self._seed, now, dice) for _ in range(wanted.add)]
            _remove(writer, kind, gone, now)
        return {"changed": changed, "added": added, "deleted": gone}

    async def _set(self, request: Request) -> Response:
        if request.method != "GET":
            try:
                given = await request.json()
                old = self.settings.model_dump() if request.method == "PATCH" else {}
                self._hold(Settings.model_validate({**old, **given}))
            except (ValidationError, ValueError, TypeError) as error:
                return as_json({"error": str(error)}, 400)
        return as_json(self.settings.model_dump())

    def _hold(self, settings: Settings) -> None:
        with self._lock:
            if settings.drift != self.settings.drift:
                self._pages = self._drifted = 0
            self.settings = settings

    def _numbers(self, request: Request) -> Response:
        return as_json(numbers(self._records))

    async def _lines(self, request: Request) -> Response:
        view = TOLD.get(request.path_params["name"])
        if view is None:
            return as_json({"error": f"there are: {', '.join(TOLD)}"}, 404)
        if request.method == "GET":
            root = f"{request.base_url}stores/{self._access.store}"
            return StreamingResponse(lines(self._records, view, root, self.settings), media_type="application/x-ndjson")
        try:
            if request.method == "POST":
                given = [json.loads(line) for line in (await request.body()).splitlines() if line.strip()]
                return as_json({"ids": await run_in_threadpool(self._put, view, given)})
            ids = request.query_params.get("ids")
            chosen = None if ids is None else [int(id) for id in ids.split(",")]
            return as_json({"deleted": await run_in_threadpool(self._take_away, view, chosen)})
        except (ValueError, AttributeError) as error:
            return as_json({"error": str(error)}, 400)

    def _put(self, view: View, given: list[Row]) -> list[int]:
        with self._records.writing() as writer:
            return [put(writer, view, one, self.settings.zone()) for one in given]

    def _take_away(self, view: View, ids: list[int] | None) -> int:
        with self._records.writing() as writer:
            return take_away(writer, view, ids)

    async def _changed(self, request: Request) -> Response:
        try:
            wanted = Changes.model_validate_json(await request.body())
        except ValidationError as error:
            return as_json({"error": str(error)}, 400)
        return as_json(await run_in_threadpool(self.change, wanted))

    async def _code(self, request: Request) -> Response:
        try:
            wanted = Wish.model_validate_json(await request.body() or b"{}")
        except ValidationError as error:
            return as_json({"error": str(error)}, 400)
        scopes = wanted.scopes or FIRST["full"]
        return as_json(
            {
                "client_id": CLIENT_ID,
                "client_secret": self._access.client_secret,
                "code": self._access.code(scopes),
                "scope": " ".join(sorted(scopes)),
                "context": f"stores/{self._access.store}",
            }
        )


def _changes(name: str, drift: Drift, turn: int) -> Changes:
    return Changes(
        resource=name, change=drift.change, add=drift.add, delete=drift.delete, seed=drift.seed * 1_000_003 + turn
    )


def _choose(writer: Writer, kind: str, number: int, dice: random.Random) -> list[int]:
    """Ids of records, each one once; fewer where there aren't so many. Archived orders aren't chosen."""
    ends = writer.ends(kind)
    chosen: list[int] = []
    if ends is None or number == 0:
        return chosen
    here = ALL.also("coalesce(json_extract(body, '$.is_deleted'), 0) = 0")
    for _ in range(number):
        start = dice.randint(*ends)
        free = here.also(f"id NOT IN ({', '.join('?' * len(chosen))})", *chosen)
        found = writer.find(kind, free.also("id >= ?", start), limit=1) or writer.find(kind, free, limit=1)
        chosen += [row["id"] for row in found]
    return chosen


def _alter(writer: Writer, kind: str, id: int, now: int, dice: random.Random) -> None:
    number = dice.randrange(1_000_000)
    field = {"customer": "notes", "order": "staff_notes", "product": "description"}[kind]
    fields = {field: f"changed {number}", "date_modified": now}
    writer.change(kind, id, {**fields, "unmodified": False} if kind == "order" else fields, modified=now)


def _grow(writer: Writer, kind: str, seed: int, now: int, dice: random.Random) -> int:
    """One more record, as it was sown, but new."""
    if kind == "customer":
        row = grow_customer(writer, seed, writer.upcoming(kind) - 1, now, now)
    elif kind == "product":
        row = grow_product(writer, seed, writer.upcoming(kind) - 101, now, now).product
    else:
        chosen = _choose(writer, "product", 3, dice)
        sold = [_sold(writer, product) for product in chosen]
        ends = writer.ends("customer")
        row = grow_order(writer, seed, writer.upcoming(kind) - 100, ends[1] if ends else 0, sold, now, now)
    return int(row["id"])


def _sold(writer: Writer, id: int) -> Sold:
    product = writer.get("product", id)
    assert product is not None
    variants = writer.children("variant", [id])[id]
    return Sold(product, variants[0]["id"], cents(product["price"]))


def _remove(writer: Writer, kind: str, ids: list[int], now: int) -> None:
    if kind == "order":
        for id in ids:
            writer.change(kind, id, {"is_deleted": True, "unmodified": False, "date_modified": now}, modified=now)
    else:
        writer.delete(kind, ids, UNDER[kind])
