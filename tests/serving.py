"""Servers in tests: a scheduler and a runner in a process of their own, by a clock that a test has set.

The clock begins shortly before the moment that a test is about, or runs fast, so that nobody waits for whole minutes.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import update

from suiro.app import running
from suiro.app.metadata import metadata
from suiro.app.scheduling import scheduler
from suiro.store.database import Database
from suiro.store.systems import sqlite_url
from suiro.store.tables import schedule

if TYPE_CHECKING:
    from founding import Home

PATIENCE = 90.0  #: seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """A clock that shows `shows` at the Unix time `at`, and runs `speed` times as fast as the machine's."""

    shows: datetime
    at: float
    speed: float = 1.0

    def now(self) -> datetime:
        return self.shows + timedelta(seconds=(time.time() - self.at) * self.speed)


def clock(shows: datetime, *, before: float = 2.0, speed: float = 1.0) -> Clock:
    """A clock that will show a moment in so many seconds."""
    return Clock(shows=shows - timedelta(seconds=before * speed), at=time.time(), speed=speed)


class Server:
    """The process; its errors are in a file."""

    def __init__(self, process: subprocess.Popen[str], log: str) -> None:
        self.process, self._log = process, log

    def kill(self) -> None:
        """As `kill -9` and power cuts do."""
        self.process.kill()
        self.process.wait()

    @property
    def said(self) -> str:
        with open(self._log, encoding="utf-8") as lines:
            return lines.read()


@contextmanager
def serving(home: Home, by: Clock) -> Iterator[Server]:
    """A server over the home's metadata, until the end of the context."""
    known = {name: value for name, value in os.environ.items() if not name.startswith(("SUIRO_", "PG"))}
    arguments = [by.shows.isoformat(), str(by.at), str(by.speed)]
    log = str(home.folder / f"server-{by.at}-{time.monotonic_ns()}.log")
    with open(log, "w", encoding="utf-8") as told:
        process = subprocess.Popen(
            [sys.executable, __file__, *arguments],
            env=known | home.settings,
            stdin=subprocess.PIPE,
            stderr=told,
            text=True,
        )
    server = Server(process, log)
    try:
        yield server
    finally:
        assert process.stdin is not None
        with suppress(OSError):
            process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            process.wait(30)
        process.kill()
        process.wait()
    assert "Traceback" not in server.said, server.said


def count_from(home: Home, moment: datetime) -> None:
    """Have every schedule count from a moment on, as if it had been stored then."""
    url = home.settings.get("SUIRO_METADATA_URL") or sqlite_url(home.folder / "home" / "suiro.db")
    database = Database(url)
    with database.begin() as connection:
        connection.execute(update(schedule).values(since=moment, upto=moment))
    database.close()


def fired(home: Home, job: str) -> list[dict[str, Any]]:
    """What became of a job's moments, oldest first, as `suiro schedule history` tells."""
    said = home("schedule", "history", job, "-n", "1000", "--json")
    assert said.code == 0, said.err
    found: list[dict[str, Any]] = json.loads(said.out)
    return found[::-1]


def ended(home: Home, job: str, number: int = 1) -> list[dict[str, Any]]:
    """The results of a job's runs once so many have ended, oldest first."""

    def found() -> list[dict[str, Any]]:
        runs = home("runs", job, "-n", "1000", "--json").json
        return [one for one in reversed(runs) if one["ended_at"] is not None]

    wait_until(lambda: len(found()) >= number, f"{number} runs of {job} have not ended")
    return [home("show", one["run"], "--json").json for one in found()]


def wait_until(holds: Callable[[], bool], or_else: str, seconds: float = PATIENCE) -> None:
    """Look until something holds."""
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, or_else
        time.sleep(0.1)


def main(shows: str, at: str, speed: str) -> None:
    """The process."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    known = metadata()
    by = Clock(shows=datetime.fromisoformat(shows).astimezone(UTC), at=float(at), speed=float(speed))
    parts = (scheduler(known, clock=by.now, tick_seconds=0.1), running.runner(known, slots=2))
    threads = [threading.Thread(target=part.serve) for part in parts]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    for part in parts:
        part.stop()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main(*sys.argv[1:])
