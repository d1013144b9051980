"""Problems, as RFC 9457 has them: every error of the API has this one shape."""

from __future__ import annotations

import http
import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from suiro.api.shapes import Shape
from suiro.model.errors import (
    AuthError,
    ConfigError,
    ConnectionLost,
    DataError,
    InternalError,
    RateLimited,
    SuiroError,
    TransientError,
)

MEDIA_TYPE: Final = "application/problem+json"
NOT_FOUND: Final = "not_found"
LOGGED: Final = "suiro.logged"  #: in a request's scope: its error is in the log already
_CODES: Final = {
    400: "bad_request",
    404: NOT_FOUND,
    405: "method_not_allowed",
    413: "too_large",
    415: "unsupported_media_type",
    421: "wrong_host",
}
_MOST_TALKING: Final = 16
_talking: Final = threading.BoundedSemaphore(_MOST_TALKING)
_log = logging.getLogger("suiro.api")


class Wrong(Shape):
    """One thing that is wrong with a request."""

    path: str  #: where: `body.tasks.0.stream`
    message: str


class Problem(Shape):
    """What went wrong. `code` is stable; the texts are for people."""

    type: str = "about:blank"
    title: str
    status: int
    code: str
    detail: str
    hint: str | None = None
    errors: list[Wrong] | None = None  #: all that is wrong with the request's fields


class Refused(HTTPException):
    """An answer that is a problem of the API's own."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        hint: str | None = None,
        headers: Mapping[str, str] | None = None,
        errors: Sequence[Wrong] | None = None,
    ) -> None:
        super().__init__(status, detail, dict(headers or {}))
        self.status, self.code, self.hint, self.errors = status, code, hint, errors


@contextmanager
def found() -> Iterator[None]:
    """Here the things are looked up that a request's path names: what isn't there is a 404."""
    try:
        yield
    except ConfigError as error:
        raise Refused(404, NOT_FOUND, error.message, hint=error.hint) from error


@contextmanager
def theirs() -> Iterator[None]:
    """Here a user's systems are spoken to: what they refuse or can't answer is a 502 with its own code.

    That may take long: only so many requests do so at once, and the others find threads that answer them.
    """
    if not _talking.acquire(blocking=False):
        raise Refused(
            503, "busy", "many connections are being asked already", hint="Try again.", headers={"Retry-After": "2"}
        )
    try:
        yield
    except (AuthError, TransientError) as error:
        after = error.retry_after if isinstance(error, TransientError) else None
        headers = {} if after is None else {"Retry-After": str(max(1, round(after)))}
        raise Refused(502, error.code, error.message, hint=error.hint, headers=headers) from error
    finally:
        _talking.release()


def answer(refused: Refused) -> JSONResponse:
    """The problem document."""
    said = Problem(
        title=_title(refused.status),
        status=refused.status,
        code=refused.code,
        detail=refused.detail,
        hint=refused.hint,
        errors=None if refused.errors is None else list(refused.errors),
    )
    content = said.model_dump(exclude_none=True)
    return JSONResponse(content, refused.status, headers=dict(refused.headers or {}), media_type=MEDIA_TYPE)


def of_error(error: SuiroError) -> Refused:
    """The problem that an error of ours is."""
    match error:
        case RateLimited():
            after = {} if error.retry_after is None else {"Retry-After": str(max(1, round(error.retry_after)))}
            return Refused(429, error.code, error.message, hint=error.hint, headers=after)
        case ConnectionLost() | TransientError() | AuthError():  # of the metadata database: see `theirs`
            return Refused(503, error.code, error.message, hint=error.hint, headers={"Retry-After": "2"})
        case ConfigError() | DataError():
            return Refused(422, error.code, error.message, hint=error.hint)
        case InternalError():
            return unexpected()
        case _:
            return Refused(409, error.code, error.message, hint=error.hint)


def unexpected() -> Refused:
    """What may be told of a bug."""
    return Refused(500, InternalError.code, "something unexpected happened; the server's log tells more")


def install(app: FastAPI) -> None:
    """Have the application answer every error as a problem."""
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(SuiroError, _ours)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _bug)


async def _refused(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Refused)
    return answer(error)


async def _ours(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, SuiroError)
    if isinstance(error, InternalError):
        _log.error("%s %s: %s", request.method, quote(request.scope["path"]), error.message, exc_info=error)
    return answer(of_error(error))


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    wrong = [Wrong(path=_path(one["loc"]), message=_said(one)) for one in error.errors()]
    first = wrong[0]
    detail = f"{first.path}: {first.message}"
    return answer(Refused(422, "invalid_request", detail, hint="See /api/docs.", errors=wrong))


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    said = {404: f"there is nothing at {request.scope['path']}", 405: f"{request.method} has no meaning here"}
    detail = said.get(error.status_code, str(error.detail))
    code = _CODES.get(error.status_code, "refused")
    return answer(Refused(error.status_code, code, detail, hint="See /api/docs.", headers=error.headers))


async def _bug(request: Request, error: Exception) -> JSONResponse:
    _log.error("%s %s failed", request.method, quote(request.scope["path"]), exc_info=error)
    request.scope[LOGGED] = True
    return answer(unexpected())


def _path(loc: Sequence[Any]) -> str:
    return ".".join(str(part) for part in loc)


def _said(error: Mapping[str, Any]) -> str:
    """What is wrong, without the value that is."""
    text = str(error["msg"]).removeprefix("Value error, ")
    return text[:1].lower() + text[1:]


def _title(status: int) -> str:
    return http.HTTPStatus(status).phrase
