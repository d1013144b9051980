"""A connection tried step by step: how long each took, and what stood in the way."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from suiro.app.connections import check, connection, streams
from suiro.app.opened import Connection
from suiro.model.errors import ConnectionLost, SuiroError
from suiro.toolkit.sql.server import ServerConfig


def checked(name: str) -> dict[str, Any]:
    """The steps as plain data, up to the first that fails, whose error is told; nothing is changed."""
    trying = _Trying()
    notes: tuple[str, ...] = ()
    try:
        with trying.step("settings"):
            found = connection(name)
        trying.network(found)
        with trying.step("sign_in"):
            notes = check(name).notes
        if found.connector.source is not None:
            with trying.step("streams"), streams(name) as listed:
                next(listed, None)
    except SuiroError as error:
        failure = {"code": error.code, "message": error.message, "hint": error.hint}
        return {"connection": name, "ok": False, "steps": trying.steps, "notes": [], "error": failure}
    return {"connection": name, "ok": True, "steps": trying.steps, "notes": list(notes), "error": None}


class _Trying:
    """Steps as they are tried."""

    def __init__(self) -> None:
        self.steps: list[dict[str, Any]] = []

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        begun, ok = time.monotonic(), False
        try:
            yield
            ok = True
        finally:
            self.steps.append({"step": name, "ok": ok, "seconds": round(time.monotonic() - begun, 3)})

    def network(self, found: Connection) -> None:
        """The way to a database server that is reached straight: its name looked up, its port reached."""
        config = found.config
        if isinstance(config, ServerConfig) and config.ssh is None and not config.host.startswith("/"):
            with self.step("dns"):
                address = _looked_up(config.host, config.port)
            with self.step("tcp"):
                _reached(address, config)


def _looked_up(host: str, port: int) -> Any:
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ConnectionLost(
            f"no address is known for {host}: {error.strerror or error}", hint="Check the server's name."
        ) from error


def _reached(addresses: Any, config: ServerConfig) -> None:
    failure: OSError | None = None
    for family, kind, protocol, _, address in addresses:
        try:
            with socket.socket(family, kind, protocol) as reaching:
                reaching.settimeout(config.connect_timeout)
                reaching.connect(address)
                return
        except OSError as error:
            failure = error
    said = "" if failure is None else f": {failure.strerror or failure}"
    raise ConnectionLost(f"{config.address} can't be reached{said}", hint="Check the server, its port and firewalls.")
