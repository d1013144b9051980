"""The stand-in of Intercom: its routes, who may use them, and how it answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Final
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from suiro.sandbox.intercom import companies, contacts, conversations, lists
from suiro.sandbox.intercom.access import CLIENT_ID, Access, Quota, Standing
from suiro.sandbox.intercom.answers import Call, Endpoint, Refused, as_json, refusal
from suiro.sandbox.intercom.control import Control
from suiro.sandbox.intercom.seeds import sow
from suiro.sandbox.intercom.settings import Settings
from suiro.sandbox.intercom.store import Store
from suiro.sandbox.service import Service

VERSION: Final = "2.15"  #: of the API, where a request names none
_CODES: Final = {429: "rate_limit_exceeded", 500: "server_error", 503: "service_unavailable"}


def endpoints(scrolls: companies.Scrolls) -> Sequence[Endpoint]:
    """Every path of the API."""
    return [
        *contacts.endpoints(),
        *conversations.endpoints(),
        *companies.endpoints(scrolls),
        *lists.endpoints(),
    ]


class Intercom(Service):
    """One workspace, its API, and the page of consent at /oauth."""

    name: ClassVar[str] = "intercom"
    default_sizes: ClassVar[Mapping[str, int]] = {
        "contacts": 400, "companies": 60, "conversations": 150, "tickets": 40,
    }  # fmt: skip
    paged_routes: ClassVar[frozenset[str]] = frozenset(one.path for one in endpoints(companies.Scrolls()) if one.paged)

    def __init__(self, folder: Path, *, seed: int, sizes: Mapping[str, int], now: Callable[[], datetime]) -> None:
        super().__init__(folder, seed=seed, sizes=sizes, now=now)
        self.store = Store(folder / "workspace.db")
        sow(self.store, self.seed, self.sizes, now())
        self.access = Access(self.store, seed)
        self.quota = Quota()
        self.control = Control(self.store, self.seed, self.now)

    def app(self) -> Starlette:
        """The routes. Faults lie around them."""
        routes: list[BaseRoute] = [
            Route("/me", self._answers(Endpoint(method="GET", path="/me", handle=self._me)), methods=["GET"]),
            *(Route(one.path, self._answers(one), methods=[one.method]) for one in endpoints(companies.Scrolls())),
            Route("/oauth", self.access.consent, methods=["GET"]),
            Route("/auth/eagle/token", self._exchange, methods=["POST"]),
            *self.control.routes(),
            Route("/{path:path}", self._unknown, methods=["GET", "POST", "PUT", "DELETE", "PATCH"]),
        ]
        return Starlette(routes=routes)

    def connections(self, base_url: str) -> Mapping[str, Mapping[str, str]]:
        """By an access token, by one that opens contacts alone, and by an app that a user signs in for."""
        plain = {"type": self.name, "base_url": base_url}
        app = {"client_id": CLIENT_ID, "client_secret": self.access.client_secret}
        return {
            **{name: {**plain, "access_token": self.access.token(name)} for name in ("token", "contacts_only")},
            "oauth": {**plain, **app},
        }

    def fault(self, status: int, request: Request) -> Response:
        """A refusal in the API's words; a 429 tells when to come back."""
        limit = self.control.settings.limit
        message = f"Exceeded rate limit of {limit} in 10_seconds" if status == 429 else "Something went wrong"
        response = refusal(status, _CODES[status], message)
        if status == 429:
            reset = int(self.now().timestamp()) + self.control.settings.refusal_reset_seconds
            response.headers.update(Standing(allowed=False, limit=limit, left=0, reset=reset).headers())
        return response

    def close(self) -> None:
        """Let go of the file."""
        self.store.close()

    def _answers(self, endpoint: Endpoint) -> Callable[[Request], object]:
        async def answer(request: Request) -> Response:
            body = await request.body()
            return await run_in_threadpool(self._answer, endpoint, request, body)

        return answer

    def _answer(self, endpoint: Endpoint, request: Request, body: bytes) -> Response:
        settings = self.control.settings
        areas = self.access.areas(request.headers.get("authorization"))
        if areas is None:
            return refusal(401, "unauthorized", "Access Token Invalid")
        standing = self.quota.take(settings, self.now())
        if not standing.allowed:
            limit = f"Exceeded rate limit of {settings.limit} in {settings.window_seconds}_seconds"
            response = refusal(429, "rate_limit_exceeded", limit)
        elif endpoint.area not in areas:
            # Which words tell a missing permission is unverified.
            response = refusal(403, "api_plan_restricted", "This token lacks the permission for this endpoint.")
        else:
            response = self._done(endpoint, request, body, settings)
        response.headers.update(standing.headers())
        response.headers["Intercom-Version"] = request.headers.get("intercom-version", VERSION)
        return response

    def _done(self, endpoint: Endpoint, request: Request, body: bytes, settings: Settings) -> Response:
        try:
            content = json.loads(body) if body else None
        except ValueError:
            return refusal(400, "parameter_invalid", "The request body is not valid JSON")  # unverified words
        opened = self.store.reading() if endpoint.reads else self.store.writing()
        try:
            with opened as records:
                call = Call(
                    path={name: str(id) for name, id in request.path_params.items()},
                    query=request.query_params,
                    body=content,
                    records=records,
                    settings=settings,
                    now=self.now(),
                    root=str(request.base_url).rstrip("/"),
                    duplicate=getattr(request.state, "duplicate_page", False),
                )
                told = endpoint.handle(call)
        except Refused as refused:
            return refusal(refused.status, refused.code, refused.message)
        if endpoint.paged:
            self.control.drift(endpoint.paged)
        return as_json(told)

    def _me(self, call: Call) -> dict[str, Any]:
        found = call.records.get("admin", "1")
        app = {"type": "app", "id_code": contacts.WORKSPACE, "name": "Sandbox", "region": "US"}
        zone = {"timezone": call.settings.time_zone, "created_at": 1_600_000_000, "identity_verification": False}
        return {**(found.row if found else {}), "email_verified": True, "app": {**app, **zone}}

    async def _exchange(self, request: Request) -> Response:
        body = await request.body()
        try:
            json_ = "json" in request.headers.get("content-type", "")
            given = dict(json.loads(body)) if json_ else dict(parse_qsl(body.decode("utf-8", "replace")))
        except (ValueError, TypeError):
            given = {}
        texts = {str(name): str(value) for name, value in given.items()}
        return await run_in_threadpool(self.access.exchange, texts)

    async def _unknown(self, request: Request) -> Response:
        return refusal(404, "not_found", "Resource Not Found")
