"""What every request passes: host, size, security headers, counting; and who may have what is under /api/v1."""

from __future__ import annotations

import logging
import re
import time
from typing import Final
from urllib.parse import quote

from fastapi.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from suiro.api.metrics import Meters
from suiro.api.problems import LOGGED, Refused, answer, of_error, unexpected
from suiro.app.listening import is_address
from suiro.app.server import Server
from suiro.model.errors import AuthError, SuiroError

MOST_BYTES: Final = 10 * 10**6  #: of a request's body
VERSIONED: Final = "/api/v1"
HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}
TOKEN: Final = "suiro.token"  #: where in a request's scope its token is
_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::\d{1,5})?")  #: a name or address, and a port
_log = logging.getLogger("suiro.api")


class Gates:
    """An ASGI application around another one."""

    def __init__(self, inner: ASGIApp, server: Server, meters: Meters) -> None:
        self._inner, self._server, self._meters = inner, server, meters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        begun, told = time.monotonic(), [500]

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                told[0] = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self._pass(scope, receive, sending)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            self._meters.request(scope["method"], route, told[0], time.monotonic() - begun)

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        sent = False

        async def sending(message: Message) -> None:
            nonlocal sent
            sent = True
            await send(message)

        request = Request(scope)
        try:
            self._check_host(request)
            _check_length(request)
            path = scope["path"]  # not the URL's, which the Host header is a part of
            if path == VERSIONED or path.startswith(f"{VERSIONED}/"):
                await self._admit(request)
            await self._inner(scope, _bounded(receive), sending)
            return
        except Refused as error:
            refused = error
        except Exception:  # noqa: BLE001  (a request ends here; it was logged)
            if LOGGED not in scope:
                _log.exception("%s %s failed", request.method, quote(scope["path"]))
            refused = unexpected()
        if not sent:
            await answer(refused)(scope, receive, send)

    def _check_host(self, request: Request) -> None:
        """A name that isn't ours may be a page elsewhere that was pointed at this machine."""
        told = request.headers.get("host", "")
        named = _HOST.fullmatch(told)
        host = told if named is None else named[1]
        if named is None or (not is_address(host) and host.lower() not in self._server.names):
            raise Refused(
                421, "wrong_host", f"this server is not {host!r}", hint="Start it with --public-url or --host NAME."
            )

    async def _admit(self, request: Request) -> None:
        address = request.client.host if request.client is not None else ""
        shown = request.headers.get("authorization")
        try:
            request.scope[TOKEN] = await run_in_threadpool(self._server.doorkeeper.admit, shown, address)
        except AuthError as error:
            challenge = {"WWW-Authenticate": "Bearer"}
            raise Refused(401, "unauthorized", error.message, hint=error.hint, headers=challenge) from error
        except SuiroError as error:
            raise of_error(error) from error


def _check_length(request: Request) -> None:
    told = request.headers.get("content-length", "")
    if told.isdecimal() and int(told) > MOST_BYTES:
        raise _too_large()


def _bounded(receive: Receive) -> Receive:
    """The same messages, up to so many bytes: a body that is sent in chunks tells no length."""
    seen = 0

    async def receiving() -> Message:
        nonlocal seen
        message = await receive()
        if message["type"] == "http.request":
            seen += len(message.get("body", b""))
            if seen > MOST_BYTES:
                raise _too_large()
        return message

    return receiving


def _too_large() -> Refused:
    return Refused(413, "too_large", f"a request's body has {MOST_BYTES // 10**6} MB at most", hint="Send less.")
