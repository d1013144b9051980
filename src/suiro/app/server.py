"""The server: API, scheduler and runner in one process, which is ready when all answer and ends when one of them fails.

The API stands above and is found by its name, as the catalogue finds connectors.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

import uvicorn

from suiro.app import running, scheduling
from suiro.app.certificates import Certificate
from suiro.app.events import Feed
from suiro.app.listening import listen, url
from suiro.app.measures import Measures
from suiro.app.metadata import Metadata
from suiro.app.steady import SteadyRuns
from suiro.app.tokens import Doorkeeper
from suiro.model.errors import ConfigError, InternalError, SuiroError, TransientError

FACE: Final = "suiro.api.server"  #: named, not imported: the module whose `application` answers requests
PORT: Final = 8181
TLS_PORT: Final = 8443
LOOK_SECONDS: Final = 0.5  #: between two looks whether everything is alive
ANSWER_SECONDS: Final = 8  #: requests under way may go on for so long when the server ends,
END_SECONDS: Final = 15.0  #: and task runs until they are given back
SECOND_CTRL_C: Final = 130
_IDLE_SECONDS: Final = 0.5  #: within this time threads that have nothing to do end with their loop
_DAY_SECONDS: Final = 86_400.0
_log = logging.getLogger("suiro.server")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """How to serve. Ports of 0 are any that are free; without a certificate there is no HTTPS."""

    host: str = "127.0.0.1"
    port: int = PORT
    tls_port: int = TLS_PORT
    certificate: Certificate | None = None
    slots: int = 4
    public_url: str | None = None

    def names(self) -> frozenset[str]:
        """The host names that requests may be for, beside IP addresses."""
        found = {"localhost", self.host.lower()}
        if self.public_url is not None:
            named = urlsplit(self.public_url)
            if named.scheme not in ("http", "https") or not named.hostname:
                raise ConfigError(f"{self.public_url!r} is no address", hint="Write https://suiro.example.com")
            found.add(named.hostname)
        return frozenset(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where the server answers."""

    url: str
    tls_url: str | None
    pid: int = field(default_factory=os.getpid)


class Server:
    """One server. `run` serves until SIGTERM or Ctrl-C."""

    def __init__(self, asked: Asked, metadata: Metadata) -> None:
        """ConfigError for a public address that is none."""
        self.asked, self.metadata, self.names = asked, metadata, asked.names()
        self.measures, self.doorkeeper, self.feed = Measures(), Doorkeeper(metadata), Feed(metadata)
        self.stopping = threading.Event()  #: the server ends: streams of events do, too
        self._runs = SteadyRuns(metadata)
        self._runner = running.runner(
            metadata,
            slots=asked.slots,
            runs=self._runs,
            heard=self.measures.ended,
            patiently=self._runs.patiently,
        )
        self._scheduler = scheduling.scheduler(metadata)
        self._parts = {"runner": self._runner.serve, "scheduler": self._scheduler.serve}
        self._threads: dict[str, threading.Thread] = {}
        self._failures: list[tuple[str, BaseException | None]] = []
        self._wake: Callable[[], object] = lambda: None
        self._end_by = 0.0

    def run(self, ready: Callable[[Addresses], None]) -> None:
        """Serve; `ready` hears where, once everything answers.

        UserError, before anything was started, if a port is taken. InternalError if a part of the server failed.
        """
        asked = self.asked
        with contextlib.ExitStack() as stack:
            http = stack.enter_context(listen(asked.host, asked.port, "--port"))
            sockets: list[tuple[socket.socket, Certificate | None]] = [(http, None)]
            tls_url = None
            if asked.certificate is not None:
                https = stack.enter_context(listen(asked.host, asked.tls_port, "--tls-port"))
                sockets.append((https, asked.certificate))
                tls_url = url("https", asked.host, https)
            addresses = Addresses(url=url("http", asked.host, http), tls_url=tls_url)
            asyncio.run(self._serve(sockets, lambda: ready(addresses)))
        if _still_at_work():
            self._leave()
        if self._failures:
            raise self._failure() from self._failures[0][1]

    def failing(self) -> dict[str, str]:
        """What of the server doesn't work, and why; empty while it is ready."""
        found = dict.fromkeys(self._dead(), "has ended")
        try:
            self.metadata.tokens.exist()
        except SuiroError as error:
            found["store"] = error.message
        if self.stopping.is_set():
            found["server"] = "is being stopped"
        return found

    def scheduler_lag(self) -> float | None:
        """Seconds since this server's scheduler said that it watches the clock; None if it never did."""
        now = self.metadata.schedules.now()
        watching = self.metadata.schedules.watches(_DAY_SECONDS)
        return next(
            ((now - one.last_tick).total_seconds() for one in watching if one.owner == self._scheduler.owner), None
        )

    def _dead(self) -> list[str]:
        """The parts that are not at work. A runner that lost one of its slots isn't."""
        dead = [part for part in self._parts if part not in self._threads or not self._threads[part].is_alive()]
        slots = sum(thread.name.startswith("suiro-slot-") for thread in threading.enumerate())
        return [*dead, *(["runner"] if "runner" not in dead and slots < self.asked.slots else [])]

    # -- serving -------------------------------------------------------------------------------------------------------

    async def _serve(self, sockets: list[tuple[socket.socket, Certificate | None]], ready: Callable[[], None]) -> None:
        loop, ending = asyncio.get_running_loop(), asyncio.Event()
        self._wake = lambda: loop.call_soon_threadsafe(ending.set)
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._signalled, ending)
        application = importlib.import_module(FACE).application(self)
        for part, serve in self._parts.items():
            self._begin(part, serve)
        servers = [_Uvicorn(_config(application, certificate)) for _, certificate in sockets]
        serving = [
            asyncio.create_task(server.serve(sockets=[listening]))
            for server, (listening, _) in zip(servers, sockets, strict=True)
        ]
        while not ending.is_set() and not any(task.done() for task in serving):
            if all(server.started for server in servers) and not self._dead():
                ready()
                break
            await asyncio.sleep(0.01)
        while not ending.is_set() and not any(task.done() for task in serving):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ending.wait(), LOOK_SECONDS)
            self._look()
        self.stopping.set()
        self._end_by = time.monotonic() + END_SECONDS
        await asyncio.to_thread(self._stop_parts)
        for server in servers:
            server.should_exit = True
        await asyncio.wait(serving, timeout=ANSWER_SECONDS + 1)
        self._failures += [("listener", one.exception()) for one in serving if one.done() and one.exception()]
        await asyncio.to_thread(self._join)
        if len(asyncio.all_tasks()) > 1 or any(thread.is_alive() for thread in self._threads.values()):
            self._leave()

    def _signalled(self, ending: asyncio.Event) -> None:
        if ending.is_set():
            os._exit(SECOND_CTRL_C)
        ending.set()

    def _look(self) -> None:
        """End the server if a part of it has died without a word."""
        if not self.stopping.is_set() and not self._failures and (dead := self._dead()):
            self._failures.append((dead[0], None))
            self._wake()

    def _begin(self, part: str, serve: Callable[[], None]) -> None:
        def work() -> None:
            try:
                serve()
                error = None
            except BaseException as found:  # noqa: BLE001  (told by `run`)
                error = found
            if self.stopping.is_set() and isinstance(error, TransientError):
                _log.warning("the %s ended while the store was away: %s", part, error.message)
            elif not self.stopping.is_set() or error is not None:
                self._failures.append((part, error))
                self._failures.sort(key=lambda failure: failure[1] is None)
                with contextlib.suppress(RuntimeError):  # the loop has ended already
                    self._wake()

        self._threads[part] = threading.Thread(target=work, name=f"suiro-{part}")
        self._threads[part].start()

    # -- the end -------------------------------------------------------------------------------------------------------

    def _stop_parts(self) -> None:
        self.feed.stop()
        self._runs.stop()
        self._scheduler.stop()
        self._runner.stop()

    def _join(self) -> None:
        for thread in self._threads.values():
            thread.join(max(0.0, self._end_by - time.monotonic()))

    def _leave(self) -> None:
        """End at once. Leases of task runs that didn't stop end by themselves; a request that waits is cut off."""
        _log.warning("some requests or task runs didn't end in time, and were left behind")
        if self._failures:
            _log.error("%s", self._failure().message)
        sys.stderr.flush()
        os._exit(1 if self._failures else 0)

    def _failure(self) -> InternalError:
        what, error = self._failures[0]
        said = error.message if isinstance(error, SuiroError) else repr(error)
        return InternalError(
            f"the server ended because its {what} failed{'' if error is None else f': {said}'}",
            hint="Task runs under way were given back; start it again.",
        )


class _Uvicorn(uvicorn.Server):
    """A server that leaves signals to whom it belongs to."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _still_at_work() -> bool:
    """Whether a thread goes on that the interpreter would wait for: one that answers a request, say."""
    others = [one for one in threading.enumerate() if one is not threading.current_thread() and not one.daemon]
    for thread in others:
        thread.join(_IDLE_SECONDS)
    return any(thread.is_alive() for thread in others)


def _config(application: Any, certificate: Certificate | None) -> uvicorn.Config:
    return uvicorn.Config(
        application,
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=ANSWER_SECONDS,
        ssl_certfile=None if certificate is None else str(certificate.certificate),
        ssl_keyfile=None if certificate is None else str(certificate.key),
    )
