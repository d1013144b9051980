"""How an operation of the API is declared: who may have it, what it is for, how it answers and how it fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final, Protocol, TypeVar

from fastapi import APIRouter, Depends, Request
from fastapi.params import Depends as Needs
from fastapi.security import HTTPBearer

from suiro.api.gates import TOKEN
from suiro.api.problems import MEDIA_TYPE, Problem, Refused
from suiro.app.metadata import Metadata
from suiro.app.server import Server
from suiro.model.access import Scope

Handler = TypeVar("Handler", bound=Callable[..., Any])


class Declares(Protocol):
    """Declares a function as an operation."""

    def __call__(self, handler: Handler, /) -> Handler: ...


_BEARER: Final = HTTPBearer(auto_error=False, description="A token: `suiro token create NAME --scope read`.")
ERRORS: Final = {
    401: "No token, or none that is good: `unauthorized`.",
    403: "The token's scope is too small: `forbidden`.",
    404: "What the path names isn't there: `not_found`.",
    409: "It doesn't go together with what is there or under way.",
    413: "The body is too large: `too_large`.",
    422: "Something in the request can't be: `invalid_request`, or the code of what it is.",
    429: "Too many wrong tokens came from this address: `rate_limited`.",
    500: "A bug: `internal_error`.",
    502: "A connection's system can't be reached or refuses the sign-in: the code of what it is.",
    503: "The metadata database can't be reached: try again.",
}
_ALWAYS: Final = (401, 403, 429, 500, 503)


def serving(request: Request) -> Server:
    """The server that the request came to."""
    found: Server = request.app.state.server
    return found


def known(request: Request) -> Metadata:
    """Its metadata."""
    return serving(request).metadata


Serving = Annotated[Server, Depends(serving)]
Known = Annotated[Metadata, Depends(known)]


class Routes:
    """The operations of one noun, under /api/v1."""

    def __init__(self, tag: str) -> None:
        self.router = APIRouter(prefix="/api/v1", tags=[tag])

    def get(self, path: str, answers: Any, summary: str, *, errors: tuple[int, ...] = (), **more: Any) -> Declares:
        """Looking at something: any token may."""
        return self._operation("GET", path, answers, summary, Scope.READ, errors, 200, more)

    def change(
        self,
        method: str,
        path: str,
        answers: Any,
        summary: str,
        *,
        scope: Scope = Scope.ADMIN,
        errors: tuple[int, ...] = (),
        status: int = 200,
        **more: Any,
    ) -> Declares:
        """Anything else."""
        return self._operation(method, path, answers, summary, scope, errors, status, more)

    def _operation(
        self,
        method: str,
        path: str,
        answers: Any,
        summary: str,
        scope: Scope,
        errors: tuple[int, ...],
        status: int,
        more: dict[str, Any],
    ) -> Declares:
        named = {404} if "{" in path else set()
        sent = set() if method in ("GET", "DELETE") else {413}
        told = sorted({*_ALWAYS, 422, *named, *sent, *errors})
        responses: dict[int | str, dict[str, Any]] = {code: _response(code) for code in told}
        responses |= more.pop("responses", {})
        return self.router.api_route(
            path,
            methods=[method],
            response_model=answers,
            summary=summary,
            status_code=status,
            dependencies=[Depends(_BEARER), _allowed(scope)],
            responses=responses,
            openapi_extra={"x-scope": scope.value, **more.pop("openapi_extra", {})},
            **more,
        )


def _allowed(scope: Scope) -> Needs:
    async def allowed(request: Request) -> None:
        has: Scope = request.scope[TOKEN].scope
        if not has.allows(scope):
            raise Refused(
                403, "forbidden", f"this needs the scope {scope.value}; the token has {has.value}", hint="See the docs."
            )

    found: Needs = Depends(allowed)
    return found


def _response(code: int) -> dict[str, Any]:
    return {
        "description": ERRORS[code],
        "content": {MEDIA_TYPE: {"schema": {"$ref": f"#/components/schemas/{Problem.__name__}"}}},
    }
