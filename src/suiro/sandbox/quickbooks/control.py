"""The routes under /_sandbox/: settings, objects as they are kept, and changes as others would make them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from suiro.sandbox.quickbooks.answers import as_json
from suiro.sandbox.quickbooks.entities import ALL, NAMES, name_of
from suiro.sandbox.quickbooks.records import Kept, Records
from suiro.sandbox.quickbooks.settings import Settings
from suiro.sandbox.quickbooks.writing import GONE


class Changes(BaseModel):
    """Changes to make at once."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    entity: str
    change: int = Field(default=0, ge=0)
    add: int = Field(default=0, ge=0)
    delete: int = Field(default=0, ge=0)
    seed: int = 0


class Control:
    """The settings that hold, and what changes behind the clients' backs."""

    def __init__(self, records: Records, now: Callable[[], datetime]) -> None:
        self.settings = Settings()
        self._records, self._now = records, now
        self._pages = 0

    def routes(self) -> list[Route]:
        """Settings: GET, PUT (whole) and PATCH (in part). Objects as lines of JSON: GET, POST. Changes: POST."""
        return [
            Route("/_sandbox/settings", self._set, methods=["GET", "PUT", "PATCH"]),
            Route("/_sandbox/records", self._numbers, methods=["GET"]),
            Route("/_sandbox/records/{name}", self._lines, methods=["GET", "POST"]),
            Route("/_sandbox/changes", self._changed, methods=["POST"]),
        ]

    def drift(self, entity: str) -> None:
        """A page was given: behind it objects change, come and go, if that is set."""
        self._pages += 1
        if self.settings.drift_every and self._pages % self.settings.drift_every == 0:
            self.change(Changes(entity=entity, change=2, add=1, delete=2, seed=self._pages))

    def change(self, wanted: Changes) -> dict[str, list[str]]:
        """Change, add and delete objects; names become inactive. The ids, by what was done."""
        dice, now = random.Random(f"{wanted.seed} {wanted.entity}"), int(self._now().timestamp())
        with self._records.writing():
            here = self._records.find(wanted.entity, "active = 1")
            chosen = dice.sample(here, min(len(here), wanted.change + wanted.delete))
            changed = [
                replace(one, updated=now, token=one.token + 1, body={**one.body, "PrivateNote": f"{dice.random():.9f}"})
                for one in chosen[: wanted.change]
            ]
            gone = [self._without(one, now) for one in chosen[wanted.change :]]
            first = self._records.upcoming(wanted.entity)
            added = [self._like(dice.choice(here), first + i, now) for i in range(wanted.add)]
            self._records.put([*changed, *gone, *added])
        made = {"changed": changed, "added": added, "deleted": gone}
        return {name: [str(one.id) for one in kept] for name, kept in made.items()}

    @staticmethod
    def _without(kept: Kept, now: int) -> Kept:
        if kept.entity not in NAMES:
            return replace(kept, gone=True, updated=now, token=kept.token + 1, body={})
        name = name_of(kept.entity)
        body = {**kept.body, name: f"{kept.body.get(name)}{GONE}"}
        return replace(kept, active=False, updated=now, token=kept.token + 1, body=body)

    @staticmethod
    def _like(model: Kept, id_: int, now: int) -> Kept:
        body = {**model.body, **({name_of(model.entity): f"New {id_}"} if model.entity in NAMES else {})}
        return replace(model, id=id_, token=0, created=now, updated=now, body=body)

    async def _set(self, request: Request) -> Response:
        if request.method != "GET":
            try:
                given = await request.json()
                old = self.settings.model_dump() if request.method == "PATCH" else {}
                self.settings = Settings.model_validate({**old, **given})
            except (ValidationError, ValueError, TypeError) as error:
                return as_json({"error": str(error)}, 400)
        return as_json(self.settings.model_dump())

    def _numbers(self, request: Request) -> Response:
        return as_json({name: self._records.number(name) for name in sorted(ALL)})

    async def _lines(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in ALL:
            return as_json({"error": f"there are: {', '.join(sorted(ALL))}"}, 404)
        if request.method == "GET":
            zone = self.settings.zone()
            told = [one.told(zone) for one in self._records.find(name)]
            text = "".join(f"{json.dumps(one, ensure_ascii=False)}\n" for one in told)
            return Response(text, media_type="application/x-ndjson")
        try:
            given = [json.loads(line) for line in (await request.body()).splitlines() if line.strip()]
            return as_json({"ids": await run_in_threadpool(self._put, name, given)})
        except (ValueError, KeyError) as error:
            return as_json({"error": str(error)}, 400)

    def _put(self, entity: str, given: list[dict[str, object]]) -> list[str]:
        """Objects as new ones; `MetaData.LastUpdatedTime` is kept where it is given."""
        first, now = self._records.upcoming(entity), int(self._now().timestamp())
        made = []
        for i, one in enumerate(given):
            times = one.pop("MetaData", {})
            told = times.get("LastUpdatedTime") if isinstance(times, dict) else None
            at = int(datetime.fromisoformat(told).timestamp()) if told else now
            made.append(Kept(entity=entity, id=first + i, created=at, updated=at, body=one))
        self._records.put(made)
        return [str(one.id) for one in made]

    async def _changed(self, request: Request) -> Response:
        try:
            wanted = Changes.model_validate_json(await request.body())
        except ValidationError as error:
            return as_json({"error": str(error)}, 400)
        if wanted.entity not in ALL:
            return as_json({"error": f"there are: {', '.join(sorted(ALL))}"}, 400)
        return as_json(await run_in_threadpool(self.change, wanted))
