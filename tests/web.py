"""Small web servers on free ports of this machine: whole applications, and answers given byte by byte."""

from __future__ import annotations

import asyncio
import atexit
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import uvicorn
from starlette.applications import Starlette


@contextmanager
def serving(app: Starlette) -> Iterator[str]:
    """The application's address while it is served."""
    config = uvicorn.Config(app, log_level="error", lifespan="off", ws="none", timeout_keep_alive=60)
    server = uvicorn.Server(config)
    listening = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listening])), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = server.force_exit = True
        _ending.append(thread)  # it takes a moment, for which nobody has to wait


_ending: list[threading.Thread] = []
atexit.register(lambda: [thread.join(10) for thread in _ending])


@dataclass
class Raw:
    """A server that answers each request with the next of `plays`, and the last one from then on; None: hangs up."""

    plays: list[bytes | Callable[[socket.socket], None] | None]
    heard: list[bytes] = field(default_factory=list)  #: heads of requests
    url: str = ""
    tls: ssl.SSLContext | None = None

    def _serve(self, listening: socket.socket) -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        if self.tls is not None:
            try:
                connection = self.tls.wrap_socket(connection, server_side=True)
            except OSError:  # the other side doesn't trust the certificate
                return connection.close()
        with connection:
            while (head := self._head(connection)) is not None:
                play = self.plays[min(len(self.heard), len(self.plays) - 1)]
                self.heard.append(head)
                if play is None:
                    return
                if callable(play):
                    return play(connection)
                connection.sendall(play)

    def _head(self, connection: socket.socket) -> bytes | None:
        """The head of the next request, its body read too; None at the end."""
        said = b""
        while b"\r\n\r\n" not in said:
            try:
                piece = connection.recv(65536)
            except OSError:
                return None
            if not piece:
                return None
            said += piece
        head, _, body = said.partition(b"\r\n\r\n")
        length = next(
            (int(x.split(b":")[1]) for x in head.split(b"\r\n") if x.lower().startswith(b"content-length")), 0
        )
        while len(body) < length:
            body += connection.recv(65536)
        return head


@contextmanager
def raw(*plays: bytes | Callable[[socket.socket], None] | None, tls: tuple[Path, Path] | None = None) -> Iterator[Raw]:
    """A server that plays these answers; over TLS with a certificate and its key."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = Raw(plays=list(plays), url=f"http{'s' if tls else ''}://127.0.0.1:{listening.getsockname()[1]}")
    if tls is not None:
        server.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.tls.load_cert_chain(*tls)
    threading.Thread(target=server._serve, args=(listening,), daemon=True).start()
    try:
        yield server
    finally:
        listening.close()


def answer(status: int = 200, body: bytes = b"{}", *headers: str) -> bytes:
    """An answer's bytes."""
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", "Content-Type: application/json", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body
