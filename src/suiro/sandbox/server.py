"""Serving several stand-ins, each on a port of its own, from one thread of this process."""

from __future__ import annotations

import asyncio
import importlib
import pkgutil
import socket
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

import suiro.sandbox
from suiro.model.errors import ConfigError
from suiro.sandbox.faults import CUT, FaultyService
from suiro.sandbox.service import Service

START_SECONDS = 30.0


class CuttableProtocol(HttpToolsProtocol):
    """HTTP/1.1 whose requests carry the call that ends their connection."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        extensions: dict[str, Any] = {CUT: self.transport.close}
        self.scope["extensions"] = extensions


class Server(uvicorn.Server):
    """A uvicorn server that leaves signals to the process that it runs in."""

    def install_signal_handlers(self) -> None:
        return None


def names() -> tuple[str, ...]:
    """The services that there are stand-ins of."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(suiro.sandbox.__path__) if module.ispkg))


def service_class(name: str) -> type[Service]:
    """The stand-in of a service. ConfigError: there is none of that name."""
    if name not in names():
        raise ConfigError(f"there is no sandbox of '{name}'", hint=f"there are: {', '.join(names())}")
    found: type[Service] = importlib.import_module(f"suiro.sandbox.{name}").service
    return found


def utc_now() -> datetime:
    """The clock of a sandbox that is given no other."""
    return datetime.now(UTC)


class Running:
    """Stand-ins that answer as long as the context is entered: `with Running(only=["salesforce"]) as sandbox:`.

    Without a folder everything lies in a temporary one that is removed at the end. Port 0, or none: any that is free.
    """

    def __init__(
        self,
        *,
        only: Sequence[str] | None = None,
        folder: Path | None = None,
        seed: int = 1,
        sizes: Mapping[str, int] | None = None,
        ports: Mapping[str, int] | None = None,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._classes = [service_class(name) for name in (only or names())]
        self._folder, self._seed, self._now = folder, seed, now
        self._sizes, self._ports = dict(sizes or {}), dict(ports or {})
        refuse_unknown("size", self._sizes, [kind for found in self._classes for kind in found.default_sizes])
        refuse_unknown("port", self._ports, [found.name for found in self._classes])
        self._ending = ExitStack()
        self.services: dict[str, Service] = {}
        self.urls: dict[str, str] = {}  #: base URL of each service, by its name

    def __enter__(self) -> Running:
        with ExitStack() as stack:
            folder = self._folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="suiro-sandbox-")))
            servers = [self._server(found, folder / found.name, stack) for found in self._classes]
            stack.enter_context(Serving(servers))
            self._ending = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.close()

    def connections(self) -> dict[str, dict[str, dict[str, str]]]:
        """Ways to sign in: settings of Suiro connections, by service and name."""
        return {
            name: {way: dict(settings) for way, settings in service.connections(self.urls[name]).items()}
            for name, service in self.services.items()
        }

    def told(self) -> dict[str, Any]:
        """What a program that uses the stand-ins must know: addresses and ways to sign in."""
        ways = self.connections()
        return {"services": {name: {"url": url, "connections": ways[name]} for name, url in self.urls.items()}}

    def _server(self, found: type[Service], folder: Path, stack: ExitStack) -> tuple[Server, socket.socket]:
        folder.mkdir(parents=True, exist_ok=True)
        listening = stack.enter_context(listen(self._ports.get(found.name, 0)))
        service = found(folder, seed=self._seed, sizes=self._sizes, now=self._now)
        stack.callback(service.close)
        self.services[found.name] = service
        self.urls[found.name] = f"http://127.0.0.1:{listening.getsockname()[1]}"
        config = uvicorn.Config(
            FaultyService(service),
            http=CuttableProtocol,
            ws="none",
            lifespan="off",
            access_log=False,
            date_header=False,  # the service's own clock tells the date
            log_level="warning",
            timeout_keep_alive=75,
            timeout_graceful_shutdown=1,
        )
        return Server(config), listening


class Serving:
    """A thread with an event loop that serves several servers until the context is left."""

    def __init__(self, servers: Sequence[tuple[Server, socket.socket]]) -> None:
        self._servers = servers
        self._thread = threading.Thread(target=self._run, name="suiro-sandbox", daemon=True)
        self._failure: BaseException | None = None
        self._ready = threading.Event()

    def __enter__(self) -> Serving:
        self._thread.start()
        if not self._ready.wait(START_SECONDS) or self._failure is not None:
            self._stop()
            raise RuntimeError("the sandbox didn't start") from self._failure
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        for server, _ in self._servers:
            server.should_exit = True
        self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception as error:  # noqa: BLE001 - told by __enter__
            self._failure = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        serving = [asyncio.create_task(server.serve(sockets=[listening])) for server, listening in self._servers]
        while not all(server.started for server, _ in self._servers) and not any(task.done() for task in serving):
            await asyncio.sleep(0.005)
        self._ready.set()
        await asyncio.gather(*serving)


def listen(port: int) -> socket.socket:
    """A socket that listens on this machine only. ConfigError: the port is taken."""
    # With its protocol named, answers go out at once (asyncio sets TCP_NODELAY only then).
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(("127.0.0.1", port))
    except OSError as error:
        listening.close()
        raise ConfigError(f"port {port} can't be listened on: {error.strerror}", hint="choose another, or 0") from error
    return listening


def refuse_unknown(what: str, given: Mapping[str, int], known: Sequence[str]) -> None:
    """ConfigError names the first of those given that isn't known."""
    for name in given:
        if name not in known:
            raise ConfigError(f"there is no {what} of '{name}' to set", hint=f"there are: {', '.join(sorted(known))}")
