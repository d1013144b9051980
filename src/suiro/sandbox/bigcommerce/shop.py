"""The stand-in of BigCommerce: its routes, who may use them, and how it answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import ClassVar, Final
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from suiro.sandbox.bigcommerce import catalog, categories, customers, marketing, order_writes, orders, storefront
from suiro.sandbox.bigcommerce.access import Access, Grant
from suiro.sandbox.bigcommerce.answers import NOT_FOUND, Call, Endpoint, Refused, as_xml, refusal
from suiro.sandbox.bigcommerce.control import Control
from suiro.sandbox.bigcommerce.quota import Quota
from suiro.sandbox.bigcommerce.records import Records
from suiro.sandbox.bigcommerce.seeds import sow
from suiro.sandbox.bigcommerce.settings import Settings
from suiro.sandbox.service import Service

STORE: Final = "sandbox1"
TITLES: Final = {429: "Too many requests.", 500: "Internal server error.", 503: "The service is unavailable."}
STORES: Final = "/stores/{store}"


def endpoints() -> Sequence[Endpoint]:
    """Every path of the store's two APIs; in the order in which they are most used."""
    return [
        *orders.reading(),
        *customers.endpoints(),
        *catalog.endpoints(),
        *categories.endpoints(),
        *order_writes.writing(),
        *marketing.endpoints(),
        *storefront.endpoints(),
    ]


class BigCommerce(Service):
    """One store, with its v2 and v3 APIs under /stores/sandbox1, and the exchange of codes at /oauth2/token."""

    name: ClassVar[str] = "bigcommerce"
    default_sizes: ClassVar[Mapping[str, int]] = {"customers": 500, "orders": 800, "products": 120}
    paged_routes: ClassVar[frozenset[str]] = frozenset(STORES + one.path for one in endpoints() if one.paged)

    def __init__(self, folder: Path, *, seed: int, sizes: Mapping[str, int], now: Callable[[], datetime]) -> None:
        super().__init__(folder, seed=seed, sizes=sizes, now=now)
        self.records = Records(folder / "store.db")
        sow(self.records, self.seed, self.sizes, now())
        self.access = Access(self.records, seed, STORE)
        self.quota = Quota()
        self.control = Control(self.records, self.access, self.seed, self.now)

    def app(self) -> Starlette:
        """The routes. Faults lie around them."""
        routes: list[BaseRoute] = [
            Route(STORES + one.path, self._answers(one), methods=[one.method]) for one in endpoints()
        ]
        routes += [
            Route("/oauth2/token", self._exchange, methods=["POST"]),
            *self.control.routes(),
            Route("/{path:path}", self._unknown, methods=["GET", "POST", "PUT", "DELETE", "PATCH"]),
        ]
        return Starlette(routes=routes)

    def connections(self, base_url: str) -> Mapping[str, Mapping[str, str]]:
        """One for each token that is there from the beginning; they differ in their scopes."""
        return {
            name: {
                "type": self.name,
                "base_url": base_url,
                "store_id": STORE,
                "access_token": self.access.token(name),
            }
            for name in ("full", "read_only", "customers_only", "orders_only")
        }

    def fault(self, status: int, request: Request) -> Response:
        """A refusal as the two APIs word it; a 429 tells a short wait."""
        response = refusal(version_of(request), status, TITLES[status])
        if status == 429:
            settings = self.control.settings
            response.headers.update(Quota.used_up(settings, settings.refusal_reset_ms).headers())
        return response

    def close(self) -> None:
        """Let go of the file."""
        self.records.close()

    def _answers(self, endpoint: Endpoint) -> Callable[[Request], object]:
        async def answer(request: Request) -> Response:
            body = await request.body()
            return await run_in_threadpool(self._answer, endpoint, request, body)

        return answer

    def _answer(self, endpoint: Endpoint, request: Request, body: bytes) -> Response:
        settings = self.control.settings
        if settings.https_only:
            return RedirectResponse(str(request.url.replace(scheme="https")), 301)
        grant = self.access.grant(request.headers.get("x-auth-token"))
        if grant is None or request.path_params["store"] != STORE:
            # The words of this and of the next refusals are unverified.
            return refusal(endpoint.version, 401, "The credentials are missing or invalid.")
        if self.control.overloaded():
            return refusal(endpoint.version, 429, TITLES[429])
        standing = self.quota.take(settings)
        if not standing.allowed:
            response = refusal(endpoint.version, 429, TITLES[429])
        elif not grant.allows(endpoint.area, endpoint.method):
            response = refusal(endpoint.version, 403, "You don't have a required scope to access the endpoint.")
        else:
            response = self._done(endpoint, request, body, grant, settings)
        if endpoint.version == 2 and settings.xml_without_accept and "json" not in request.headers.get("accept", ""):
            response = as_xml(response)
        response.headers.update(standing.headers())
        return response

    def _done(self, endpoint: Endpoint, request: Request, body: bytes, grant: Grant, settings: Settings) -> Response:
        try:
            content = json.loads(body) if body else None
        except ValueError:
            return refusal(endpoint.version, 400, "The request body is not valid JSON.")
        opened = self.records.reading() if endpoint.method == "GET" else self.records.writing()
        try:
            with opened as records:
                call = Call(
                    method=endpoint.method,
                    version=endpoint.version,
                    path={name: id for name, id in request.path_params.items() if isinstance(id, int)},
                    query=request.query_params,
                    body=content,
                    records=records,
                    settings=settings,
                    now=self.now(),
                    root=f"{request.base_url}stores/{STORE}",
                    client_id=grant.client_id,
                    duplicate=getattr(request.state, "duplicate_page", False),
                )
                response = endpoint.handle(call)
        except Refused as refused:
            return refusal(endpoint.version, refused.status, refused.title, refused.errors)
        if endpoint.paged:
            self.control.drift(endpoint.path)
        return response

    async def _exchange(self, request: Request) -> Response:
        if "json" in request.headers.get("content-type", ""):
            try:
                given = {str(name): str(value) for name, value in dict(await request.json()).items()}
            except (ValueError, TypeError):
                given = {}
        else:
            given = dict(parse_qsl((await request.body()).decode("utf-8", "replace")))
        return await run_in_threadpool(self.access.exchange, given)

    async def _unknown(self, request: Request) -> Response:
        return refusal(version_of(request), 404, NOT_FOUND)


def version_of(request: Request) -> int:
    """The API that a path belongs to."""
    return 2 if "/v2/" in request.url.path else 3
