"""A stand-in of Salesforce: REST API, Bulk API 2.0, sign-ins, over made-up people.

Written from the vendor's pages, recordings and released clients; what rests on none of these is marked unverified.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import ClassVar
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from suiro.sandbox.salesforce import seeding, soap
from suiro.sandbox.salesforce.accounts import (
    CLIENT_ID,
    CLIENT_SECRET,
    PASSWORD,
    REFRESH_TOKEN,
    SECURITY_TOKEN,
    USERNAME,
    keys,
)
from suiro.sandbox.salesforce.api import LIMIT_INFO, Api, host_of, json_response, token_of, too_long, versions
from suiro.sandbox.salesforce.bulk_ingest import BulkIngest
from suiro.sandbox.salesforce.bulk_query import BulkQuery
from suiro.sandbox.salesforce.changes import Changes
from suiro.sandbox.salesforce.composite import Collections
from suiro.sandbox.salesforce.control import Control
from suiro.sandbox.salesforce.describing import Describing
from suiro.sandbox.salesforce.errors import Refusal, not_found
from suiro.sandbox.salesforce.ingesting import Ingesting
from suiro.sandbox.salesforce.jobs import Jobs
from suiro.sandbox.salesforce.oauth import OAuth, TokenRefusal
from suiro.sandbox.salesforce.org import Org
from suiro.sandbox.salesforce.querying import Querying
from suiro.sandbox.salesforce.records import Records
from suiro.sandbox.salesforce.saml import issued
from suiro.sandbox.salesforce.sessions import Sessions, Usage
from suiro.sandbox.service import Service

DATA = "/services/data/v{version}"


class Salesforce(Service):
    """Salesforce, version 31.0 to 67.0 of its API."""

    name: ClassVar[str] = "salesforce"
    default_sizes: ClassVar[Mapping[str, int]] = seeding.DEFAULT_SIZES
    paged_routes: ClassVar[frozenset[str]] = frozenset(
        {f"{DATA}/query/{{locator}}", f"{DATA}/queryAll/{{locator}}", f"{DATA}/jobs/query/{{id}}/results"}
    )

    def __init__(self, folder: Path, *, seed: int, sizes: Mapping[str, int], now: Callable[[], datetime]) -> None:
        super().__init__(folder, seed=seed, sizes=sizes, now=now)
        self.org = Org(folder, now)
        if self.org.fact("seeded") is None:
            seeding.Seeding(self.org, seed, self.sizes).sow()
            self.org.keep_fact("seeded", str(seed))
        self.sessions = Sessions(self.org)
        self.usage = Usage(self.org)
        self._oauth = OAuth(self.org, self.sessions)
        self._query, self._ingest, self._ingesting = BulkQuery(self.org), BulkIngest(self.org), Ingesting(self.org)
        self._jobs = Jobs(
            self.org,
            {
                "query": self._query.work,
                "query over": self._query.over,
                "ingest": self._ingesting.work,
                "ingest over": self._ingesting.over,
            },
        )
        self._query.jobs = self._ingest.jobs = self._ingesting.jobs = self._jobs
        self._jobs.resume()

    def app(self) -> Starlette:
        api = Api(org=self.org, sessions=self.sessions, usage=self.usage)
        for part in (
            Describing(self.org, self.usage),
            Querying(self.org),
            Changes(self.org),
            Records(self.org),
            Collections(self.org),
            self._query,
            self._ingest,
        ):
            part.add_to(api)
        routes = [
            *Control(self.org, self.sessions, self.usage, self._jobs, self._ingesting).routes(),
            Route("/services/data", self._versions, methods=["GET"]),
            *(route for prefix in ("", "/login") for route in self._sign_ins(prefix)),
            Route("/idp/sts.wst", self._identity_provider, methods=["POST"]),
            *api.routes,
            Route("/{rest:path}", self._nowhere),
        ]
        # What a client writes with a slash at the end is the same place.
        return Starlette(routes=routes, middleware=[Middleware(Edge, org=self.org, usage=self.usage)])

    def connections(self, base_url: str) -> Mapping[str, Mapping[str, str]]:
        """Ways to sign in. The login host is `base_url/login`; `base_url` is My Domain."""
        common = {"type": "salesforce", "base_url": base_url, "hold_back": "0"}
        app = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
        user = {"username": USERNAME, "password": PASSWORD, "security_token": SECURITY_TOKEN}
        return {
            "client_credentials": {**common, **app},
            "refresh_token": {**common, **app, "refresh_token": REFRESH_TOKEN},
            "jwt": {
                **common,
                "client_id": CLIENT_ID,
                "username": USERNAME,
                "private_key": keys(self.org).private,
                "jwt_audience": base_url,
            },
            "password": {**common, **app, **user, "sign_in": "password"},
            "soap": {**common, **user, "sign_in": "soap"},
            "sso": {
                **common,
                "username": USERNAME,
                "password": PASSWORD,
                "sso_login_url": f"{base_url}/idp/sts.wst",
                "sso_token_url": f"{base_url}/services/oauth2/token",
                "sign_in": "sso",
            },
        }

    def fault(self, status: int, request: Request) -> Response:
        """429 comes from the edge, without JSON; 500 and 503 from the service [1.8]."""
        if status == 429:
            return PlainTextResponse("Too Many Requests", 429)
        code = "UNKNOWN_EXCEPTION" if status == 500 else "SERVER_UNAVAILABLE"
        return json_response(Refusal(status, code, "An unexpected error occurred. Try again later.").body(), status)

    def expire(self, headers: Headers) -> bool:
        token = token_of(headers)
        return token is not None and self.sessions.end(token)

    def close(self) -> None:
        self._jobs.close()
        self.org.close()

    # --- signing in ---

    def _sign_ins(self, prefix: str) -> list[Route]:
        return [
            Route(f"{prefix}/services/oauth2/authorize", self._authorize, methods=["GET", "POST"]),
            Route(f"{prefix}/services/oauth2/token", self._token, methods=["POST"]),
            Route(f"{prefix}/services/oauth2/revoke", self._revoke, methods=["POST"]),
            Route(f"{prefix}/services/Soap/u/{{version}}", self._soap, methods=["POST"]),
        ]

    async def _authorize(self, request: Request) -> Response:
        """A plain page that asks for consent; posted, it leads back to the app."""
        form = {**request.query_params, **await form_of(request)}
        try:
            if request.method == "GET":
                return HTMLResponse(self._oauth.page(form))
            return RedirectResponse(self._oauth.decide(form), 302)
        except TokenRefusal as refusal:
            return JSONResponse(refusal.body(), 400)

    async def _token(self, request: Request) -> Response:
        form, authorization = await form_of(request), request.headers.get("authorization")
        try:
            told = await run_in_threadpool(self._oauth.token, form, authorization, host_of(request))
        except TokenRefusal as refusal:
            return JSONResponse(refusal.body(), 400)
        return json_response(told, headers={"Cache-Control": "no-store"})

    async def _revoke(self, request: Request) -> Response:
        form = await form_of(request)
        try:
            await run_in_threadpool(self._oauth.revoke, form.get("token", ""))
        except TokenRefusal as refusal:
            return JSONResponse(refusal.body(), 400)
        return Response()

    async def _soap(self, request: Request) -> Response:
        version, base, body = request.path_params["version"], host_of(request).base, await request.body()
        try:
            told = await run_in_threadpool(soap.login, self.org, self.sessions, version, base, body)
        except soap.Fault as fault:
            return Response(fault.body(), 500, media_type="text/xml")
        return Response(told, media_type="text/xml")

    async def _identity_provider(self, request: Request) -> Response:
        body, base = await request.body(), host_of(request).base
        status, told = issued(body, USERNAME, PASSWORD, base, self.org.now())
        return Response(told, status, media_type="application/soap+xml")

    # --- the rest ---

    async def _versions(self, request: Request) -> Response:
        """The versions there are, for anybody [REC]."""
        return json_response(versions())

    async def _nowhere(self, request: Request) -> Response:
        return json_response(not_found().body(), 404, {LIMIT_INFO: self.usage.told()})


class Edge:
    """What stands before the routes: URIs are bounded, and a slash at their end means nothing."""

    def __init__(self, app: ASGIApp, org: Org, usage: Usage) -> None:
        self._app = app
        self._org = org
        self._usage = usage

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            uri = len(scope.get("raw_path") or b"") + len(scope["query_string"]) + 1
            if uri > self._org.settings.most_uri_bytes:
                await too_long()(scope, receive, send)
                return
            path = scope["path"]
            if len(path) > 1 and path.endswith("/"):
                scope = {**scope, "path": path.rstrip("/")}
        await self._app(scope, receive, send)


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a posted form."""
    if request.method != "POST":
        return {}
    return dict(parse_qsl((await request.body()).decode(errors="replace"), keep_blank_values=True))


service = Salesforce
