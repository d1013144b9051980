"""What every call of the REST API goes through: version, session, count, refusals."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, QueryParams
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from suiro.sandbox.salesforce.errors import Refusal, not_found
from suiro.sandbox.salesforce.oauth import Host
from suiro.sandbox.salesforce.org import Org
from suiro.sandbox.salesforce.sessions import Sessions, Usage

if TYPE_CHECKING:
    from suiro.model.schema import Json

#: Versions that the discovery lists, and the oldest that answers [1, Versions].
NEWEST, FIRST_LISTED, OLDEST = 67, 59, 31
ROOT = "/services/data/v{version}"
LIMIT_INFO = "Sforce-Limit-Info"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request, read."""

    method: str
    version: str
    path: Mapping[str, str]
    query: QueryParams
    headers: Headers
    body: bytes
    host: Host
    duplicate_page: bool = False

    def json(self) -> Any:
        """The body. Refusal JSON_PARSER_ERROR: it isn't JSON."""
        try:
            # Numbers keep their digits.
            return json.loads(self.body, parse_float=str, parse_constant=refuse_constant)
        except ValueError:
            raise Refusal(400, "JSON_PARSER_ERROR", "The body isn't JSON") from None

    def object(self) -> dict[str, Any]:
        """The body, an object."""
        found = self.json()
        if not isinstance(found, dict):
            raise Refusal(400, "JSON_PARSER_ERROR", "The body must be an object")
        return found

    @property
    def number(self) -> int:
        """The version's whole part."""
        return int(float(self.version))


def refuse_constant(name: str) -> None:
    """NaN and Infinity are no JSON."""
    raise ValueError(name)


Handler = Callable[[Call], Response]


@dataclass(slots=True, kw_only=True)
class Api:
    """Makes routes of handlers. A handler runs in a thread, after the call's version and session were checked."""

    org: Org
    sessions: Sessions
    usage: Usage
    routes: list[Route] = field(default_factory=list)

    def add(self, path: str, methods: Mapping[str, Handler]) -> None:
        """Routes under a version."""

        async def endpoint(request: Request) -> Response:
            call = await self.read(request)
            return await run_in_threadpool(self.answer, methods[request.method], call)

        self.routes.append(Route(ROOT + path, endpoint, methods=list(methods)))

    async def read(self, request: Request, *, body: bool = True) -> Call:
        """A request as a call."""
        return Call(
            method=request.method,
            version=str(request.path_params["version"]),
            path=request.path_params,
            query=request.query_params,
            headers=request.headers,
            body=await request.body() if body else b"",
            host=host_of(request),
            duplicate_page=bool(getattr(request.state, "duplicate_page", False)),
        )

    def answer(self, handler: Handler, call: Call) -> Response:
        """What the handler says, or the refusal; how much of the day's requests is used in either."""
        told = None
        try:
            self.admit(call)
            told = self.usage.take()
            response = handler(call)
        except Refusal as refusal:
            response = json_response(refusal.body(), refusal.status)
        response.headers[LIMIT_INFO] = told or self.usage.told()
        return response

    def admit(self, call: Call) -> None:
        """Refusal: 410 GONE for old versions, 404 for versions that never were, 401 without a session."""
        try:
            number = float(call.version)
        except ValueError:
            raise not_found() from None
        if number < OLDEST:
            raise Refusal(410, "GONE", f"The requested API version {call.version} is no longer supported")
        if number > NEWEST or number != int(number):
            raise not_found()
        self.sessions.check(token_of(call.headers))


def token_of(headers: Headers) -> str | None:
    """The session that a request brings."""
    kind, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if kind.lower() in ("bearer", "oauth") and token else None


def host_of(request: Request) -> Host:
    """The org's own address, and whether the request came by a login host: `login.` or `test.`, or under `/login`."""
    named = request.headers.get("host", "")
    generic = named.startswith(("login.", "test.")) or request.url.path.startswith("/login/")
    if named.startswith(("login.", "test.")) or not named:
        server = request.scope.get("server") or ("127.0.0.1", 80)
        named = f"{server[0]}:{server[1]}"
    return Host(base=f"http://{named}", generic=generic)


def json_response(body: Json | list[Json], status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """An answer in JSON."""
    return json_text(json.dumps(body, ensure_ascii=False, separators=(",", ":")), status, headers)


def json_text(text: str, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """An answer that is JSON already."""
    return Response(text.encode(), status, headers, media_type="application/json;charset=UTF-8")


def too_long() -> Response:
    """The edge refuses a URI without JSON [CLIENT airbyte: 16,384 bytes; the answer's shape unverified]."""
    return PlainTextResponse("URI Too Long", 414)


def versions() -> list[Json]:
    """What `/services/data` lists [REC]."""
    seasons = ("Winter '{}", "Spring '{}", "Summer '{}")
    listed: list[Json] = []
    for number in range(FIRST_LISTED, NEWEST + 1):
        # Version 65 is Winter '26; three to a year.
        year, season = divmod(number - 65, 3)
        label = seasons[season].format(26 + year)
        listed.append({"label": label, "url": f"/services/data/v{number}.0", "version": f"{number}.0"})
    return listed
