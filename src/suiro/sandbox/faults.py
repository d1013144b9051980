"""Faults on purpose around a service, by seed: refusals, lost, broken and slow answers, repeated pages."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from datetime import UTC
from email.utils import format_datetime
from enum import StrEnum
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Match, Route, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from suiro.sandbox.service import Service

#: Where in a request's scope the server leaves the call that ends its TCP connection once what was sent is on its way.
CUT = "suiro.sandbox.cut"


class Fault(StrEnum):
    """What can go wrong with one request."""

    TOO_MANY = "429"  #: refused before the service looked at it
    ERROR = "500"  #: the same
    UNAVAILABLE = "503"  #: the same
    DROP = "drop"  #: done, but the connection is cut in the middle of the answer's body
    LOST = "lost"  #: done, but the connection is cut before any answer
    SLOW = "slow"  #: done, answered late
    EXPIRED_TOKEN = "expired_token"  #: the token that the request brings expires just before
    DUPLICATE_PAGE = "duplicate_page"  #: rows of an earlier page come once more


class Faults(BaseModel):
    """Which faults happen. By chance (`rate`) and, first, as listed in `next`."""

    model_config = ConfigDict(extra="forbid")

    seed: int = 0
    rate: float = Field(default=0.0, ge=0.0, le=1.0)
    kinds: list[Fault] = Field(default_factory=lambda: list(Fault))
    next: list[Fault | None] = Field(default_factory=list)  #: for the next requests, in turn; null: none
    methods: list[str] = Field(default_factory=list)  #: only these; none: all
    routes: list[str] = Field(
        default_factory=list
    )  #: only these templates, as /_sandbox/requests tells them; none: all
    at_most: int | None = Field(default=None, ge=0)  #: so many faults, then no more
    slow_seconds: float = Field(default=0.2, ge=0.0)


class Chance:
    """The dice of one plan: the n-th request of a route meets the same fault each time."""

    def __init__(self, plan: Faults) -> None:
        self.plan = plan
        self._turn: Counter[str] = Counter()
        self._next = list(reversed(plan.next))
        self._left = plan.at_most

    def throw(self, method: str, template: str, possible: Callable[[Fault], bool]) -> tuple[Fault | None, float]:
        """The fault of this request, if any, and a number from 0 to 1 to shape it by."""
        plan = self.plan
        if (plan.methods and method not in plan.methods) or (plan.routes and template not in plan.routes):
            return None, 0.0
        place = f"{method} {template}"
        self._turn[place] += 1
        dice = random.Random(f"{plan.seed} {place} {self._turn[place]}")
        hit, which, shape = dice.random() < plan.rate, dice.random(), dice.random()
        if self._next:
            return self._next.pop(), shape
        kinds = [kind for kind in plan.kinds if possible(kind)] if hit and self._left != 0 else []
        if not kinds:
            return None, shape
        if self._left is not None:
            self._left -= 1
        return kinds[int(which * len(kinds))], shape


class FaultyService:
    """The ASGI application around a service: counts requests and meets some with faults."""

    OWN: ClassVar[frozenset[str]] = frozenset({"/_sandbox/faults", "/_sandbox/requests"})

    def __init__(self, service: Service) -> None:
        self._service = service
        app = service.app()
        self._app: ASGIApp = app
        self._routes: list[BaseRoute] = list(app.routes)
        self._control = Router(
            [
                Route("/_sandbox/faults", self._faults, methods=["GET", "PUT"]),
                Route("/_sandbox/requests", self._told, methods=["GET", "DELETE"]),
            ]
        )
        self._chance = Chance(Faults())
        self._requests: Counter[str] = Counter()
        self._happened: Counter[str] = Counter()
        self._answers: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        if path in self.OWN:
            await self._control(scope, receive, send)
        elif path.startswith("/_sandbox/"):
            await self._app(scope, receive, send)
        else:
            await self._serve(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        method, template = scope["method"], self._template(scope)
        self._requests[f"{method} {template}"] += 1
        headers = Headers(scope=scope)
        fault, shape = self._chance.throw(method, template, lambda kind: self._possible(kind, template, headers))
        answer = Answering(send, self._answers, format_datetime(self._service.now().astimezone(UTC), usegmt=True))
        if fault is not None and not await self._happen(fault, shape, scope, receive, answer):
            fault = None
        if fault is not None:
            self._happened[fault] += 1
        if not answer.done:
            await self._app(scope, receive, answer.send)
        if answer.cut_off:
            await until_gone(receive)

    async def _happen(self, fault: Fault, shape: float, scope: Scope, receive: Receive, answer: Answering) -> bool:
        """Prepare the fault, or answer with it. False: it can't happen to this request."""
        match fault:
            case Fault.TOO_MANY | Fault.ERROR | Fault.UNAVAILABLE:
                response = self._service.fault(int(fault), Request(scope, receive))
                await response(scope, receive, answer.send)
                answer.done = True
            case Fault.DROP | Fault.LOST:
                answer.cut = scope["extensions"][CUT]
                answer.cut_at = shape if fault is Fault.DROP else None
            case Fault.SLOW:
                await asyncio.sleep(self._chance.plan.slow_seconds)
            case Fault.EXPIRED_TOKEN:
                return await asyncio.to_thread(self._service.expire, Headers(scope=scope))
            case Fault.DUPLICATE_PAGE:
                scope.setdefault("state", {})["duplicate_page"] = True
        return True

    def _possible(self, fault: Fault, template: str, headers: Headers) -> bool:
        if fault is Fault.DUPLICATE_PAGE:
            return template in self._service.paged_routes
        return fault is not Fault.EXPIRED_TOKEN or bool(headers)

    def _template(self, scope: Scope) -> str:
        """The route that answers, as it is written; a slash at the end of a path means nothing."""
        scope = {**scope, "path": scope["path"].rstrip("/") or "/"}
        for route in self._routes:
            if route.matches(scope)[0] is Match.FULL:
                return str(getattr(route, "path", "?"))
        return "(none)"

    async def _faults(self, request: Request) -> Response:
        if request.method == "PUT":
            try:
                plan = Faults.model_validate_json(await request.body())
            except ValidationError as error:
                return JSONResponse({"error": str(error)}, 400)
            self._chance = Chance(plan)
        return JSONResponse(self._chance.plan.model_dump(mode="json"))

    async def _told(self, request: Request) -> Response:
        if request.method == "DELETE":
            for counter in (self._requests, self._happened, self._answers):
                counter.clear()
        return JSONResponse(
            {
                "requests": dict(sorted(self._requests.items())),
                "faults": dict(sorted(self._happened.items())),
                "answers": dict(sorted(self._answers.items())),
            }
        )


class Answering:
    """The way of one answer to the client, which may end early."""

    def __init__(self, send: Send, statuses: Counter[str], date: str) -> None:
        self._send = send
        self._statuses = statuses
        self._date = date
        self.done = False
        self.cut: Callable[[], None] | None = None
        self.cut_at: float | None = None  #: part of the body after which it ends; None: not even its head is sent
        self.cut_off = False
        self._chunks = 0

    async def send(self, message: Message) -> None:
        if self.cut_off:
            return
        if message["type"] == "http.response.start":
            self._statuses[str(message["status"])] += 1
            message["headers"] = [*message.get("headers", ()), (b"date", self._date.encode())]
        if self.cut is None:
            await self._send(message)
        elif self.cut_at is None:
            self._end()
        elif message["type"] == "http.response.start":
            await self._send(message)
        else:
            await self._part(message, self.cut_at)

    async def _part(self, message: Message, part: float) -> None:
        """Pass the body on, until within its last chunk or the first to fourth."""
        body: bytes = message.get("body", b"")
        self._chunks += bool(body)
        if message.get("more_body", False) and self._chunks <= int(part * 4):
            await self._send(message)
            return
        kept = body[: int(len(body) * part)]
        if kept:
            await self._send({"type": "http.response.body", "body": kept, "more_body": True})
        self._end()

    def _end(self) -> None:
        assert self.cut is not None
        self.cut()
        self.cut_off = True


async def until_gone(receive: Receive) -> None:
    """Wait until the server knows that the connection is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
