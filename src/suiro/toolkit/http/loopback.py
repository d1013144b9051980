"""A receiver on this machine for one redirect of a user's browser."""

from __future__ import annotations

import hmac
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, Final
from urllib.parse import SplitResult, parse_qsl, urlsplit

from suiro.model.errors import ConfigError, UserError

HOSTS: Final = ("localhost", "127.0.0.1")
_PAGE: Final = """<!doctype html><html><head><meta charset="utf-8"><title>Suiro</title></head>
<body style="font: 1.2em sans-serif; margin: 4em"><p>{english}</p><p lang="ja">{japanese}</p></body></html>"""
_RECEIVED: Final = _PAGE.format(
    english="Suiro has the answer. You may close this page.",
    japanese="Suiro が応答を受け取りました。このページは閉じて構いません。",
)
_FOREIGN: Final = _PAGE.format(
    english="This is no answer to the sign-in that Suiro waits for.",
    japanese="Suiro が待っているサインインへの応答ではありません。",
)


class Loopback:
    """Listens on 127.0.0.1 at the port of a redirect address, as long as the context is entered.

    ConfigError if the address isn't `http://localhost:PORT/...` (or 127.0.0.1), or the port is taken; port 0: any.
    """

    def __init__(self, redirect_uri: str) -> None:
        self._parts = _split(redirect_uri)
        self._answers: SimpleQueue[dict[str, str]] = SimpleQueue()
        self._state = ""
        try:
            self._server = _Server(("127.0.0.1", self._parts.port or 0), self._handler())
        except OSError as error:
            raise ConfigError(
                f"can't listen on port {self._parts.port}: {error.strerror}",
                hint="Name another redirect address, which the app must know too.",
            ) from error
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="suiro-loopback")

    @property
    def redirect_uri(self) -> str:
        """The address with its port."""
        netloc = f"{self._parts.hostname}:{self._server.server_port}"
        return self._parts._replace(netloc=netloc).geturl()

    def wait(self, state: str, seconds: float) -> dict[str, str]:
        """The query of the first redirect with this state; UserError if none comes in so many seconds."""
        self._state = state
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            try:
                return self._answers.get(timeout=min(left, 0.5))  # short: the user may press Ctrl-C
            except Empty:
                continue
        raise UserError(
            f"nobody signed in within {seconds:.0f} s", hint="Run it again, and open the page that it names."
        )

    def __enter__(self) -> Loopback:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        path, received = self._parts.path or "/", self._received

        class Handler(BaseHTTPRequestHandler):
            timeout = 10

            def do_GET(self) -> None:
                asked = urlsplit(self.path)
                if asked.path != path:
                    self.send_error(404)
                    return
                taken = received(asked.query)
                page = (_RECEIVED if taken else _FOREIGN).encode()
                self.send_response(200 if taken else 400)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(page)))
                self.send_header("Referrer-Policy", "no-referrer")
                self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(page)

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing: the address holds the code."""

        return Handler

    def _received(self, query: str) -> bool:
        answer = answer_in(query)
        if not self._state or not hmac.compare_digest(answer.get("state", "").encode(), self._state.encode()):
            return False
        self._answers.put(answer)
        return True


class _Server(ThreadingHTTPServer):
    daemon_threads = True  # browsers keep connections open

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: a browser that goes away takes nothing with it."""


def answer_in(query: str) -> dict[str, str]:
    """The answer in the query of a redirect address."""
    return dict(parse_qsl(query, keep_blank_values=True))


def _split(redirect_uri: str) -> SplitResult:
    try:
        parts = urlsplit(redirect_uri)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme != "http" or parts.hostname not in HOSTS or port is None or parts.query or parts.fragment:
        raise ConfigError(
            "the redirect address is none of this machine's",
            hint="Write http://localhost:PORT/path; for any other, have what comes back pasted.",
        )
    return parts
