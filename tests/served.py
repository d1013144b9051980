"""A server of Suiro's as a process of its own, on free ports, with a home of its own; and clients of its API."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, Self

import httpx2

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from types import TracebackType

START_SECONDS = 60.0
ENDED = ("succeeded", "warning", "failed", "cancelled", "waiting")
SUIRO = (sys.executable, "-m", "suiro.cli.main")


class Served:
    """`suiro up --json` in the home `home`, on a free port; killed at the end if it still runs.

    `metadata`: the address of a PostgreSQL database in SQLite's place.
    """

    def __init__(self, home: Path, metadata: str | None = None, options: Sequence[str] = ("--port", "0")) -> None:
        self.home, self._options = home, list(options)
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith(("SUIRO_", "PG"))}
        self.environment["SUIRO_HOME"] = str(home)
        if metadata is not None:
            self.environment["SUIRO_METADATA_URL"] = metadata
        self.url, self.tls_url, self.pid = "", None, 0
        self.ready_after = 0.0  #: seconds
        self.log = home.parent / f"{home.name}-server-{time.monotonic_ns()}.log"
        self._tokens: dict[str, str] = {}
        self._clients: list[httpx2.Client] = []

    def __enter__(self) -> Self:
        self.home.mkdir(parents=True, exist_ok=True)
        begun = time.monotonic()
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [*SUIRO, "up", "--json", *self._options], env=self.environment, stdout=subprocess.PIPE, stderr=log
            )
        assert self.process.stdout is not None
        line = b""
        if select.select([self.process.stdout], [], [], START_SECONDS)[0]:
            line = self.process.stdout.readline()
        self.ready_after = time.monotonic() - begun
        if not line:
            self._end()
            raise AssertionError(f"the server didn't start: {self.log.read_text()}")
        said = json.loads(line)
        self.url, self.tls_url, self.pid = said["url"], said["tls_url"], said["pid"]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for client in self._clients:
            client.close()
        self._end()

    def _end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def stop(self, number: int = signal.SIGTERM, timeout: float = 30.0) -> int:
        """Send a signal and wait for the end; the exit code."""
        self.process.send_signal(number)
        return self.process.wait(timeout)

    def suiro(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """A command in a process of its own, in the same home."""
        return subprocess.run(
            [*SUIRO, *arguments], env=self.environment, capture_output=True, text=True, check=False, input=stdin
        )

    def token(self, scope: str = "admin") -> str:
        """A token of that scope, made once."""
        if scope not in self._tokens:
            made = self.suiro("token", "create", f"{scope}-{time.time_ns()}", "--scope", scope)
            assert made.returncode == 0, made.stderr
            self._tokens[scope] = made.stdout.strip()
        return self._tokens[scope]

    def client(self, scope: str | None = "admin", *, token: str | None = None) -> httpx2.Client:
        """A client with a token of that scope, or this one; None: without."""
        shown = token or (None if scope is None else self.token(scope))
        headers = {} if shown is None else {"Authorization": f"Bearer {shown}"}
        found = httpx2.Client(base_url=self.url, headers=headers, timeout=60, trust_env=False)
        self._clients.append(found)
        return found


class Api:
    """The API's user in a test: requests that must succeed, and runs followed to their end."""

    def __init__(self, client: httpx2.Client) -> None:
        self.client = client

    def __call__(self, method: str, path: str, body: Any = None, *, status: int | None = None, **more: Any) -> Any:
        """The answer's JSON; the status must be a good one, or the one that is named."""
        said = self.client.request(method, f"/api/v1{path}", json=body, **more)
        good = said.status_code < 400 if status is None else said.status_code == status
        assert good, f"{method} {path}: {said.status_code} {said.text}"
        return said.json() if said.content else None

    def follow(self, run: str, seconds: float = 120.0) -> dict[str, Any]:
        """The run, once it has ended."""
        return self.until(run, lambda found: found["status"] in ENDED, seconds)

    def until(self, run: str, there: Callable[[dict[str, Any]], bool], seconds: float = 60.0) -> dict[str, Any]:
        """The run, once it is so."""
        deadline = time.monotonic() + seconds
        while True:
            found: dict[str, Any] = self("GET", f"/runs/{run}")
            if there(found):
                return found
            assert time.monotonic() < deadline, found
            time.sleep(0.1)


def assert_problem(said: httpx2.Response, status: int) -> Any:
    """The problem document, which must be one of that status."""
    where = f"{said.request.method} {said.request.url}: {said.status_code} {said.text}"
    assert said.status_code == status, where
    assert said.headers["content-type"] == "application/problem+json", where
    found = said.json()
    assert {"type", "title", "status", "code", "detail"} <= set(found) and found["status"] == status, where
    return found
