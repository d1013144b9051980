"""The process that carries, with one fault in it: at its n-th step it is struck, once in a trial.

`python -m chaos.faults` is what runners of the chaos suite start in the place of `suiro.app.carrier`: the same code,
in small batches and small loads, so that a few thousand rows have many steps. What is to happen stands in the
environment, as JSON.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg
import pymysql

from chaos.relay import ask_to_cut
from suiro.app.carrier import carry
from suiro.connectors.postgres import bulk
from suiro.connectors.sqlite import session as sqlite_session
from suiro.engine.accounts import Accounts
from suiro.engine.buffer import Buffer
from suiro.engine.context import Budgets, RunContext
from suiro.model.change import Rows
from suiro.runtime.child import Spec, serve
from suiro.testing.faults import STEPS, hook

VARIABLE = "SUIRO_CHAOS"
MORE_STEPS = ("pymysql.connections:Connection._execute_command",)
SMALL = Budgets(ahead=32_768, piece=16_384, load=65_536)


class Fate:
    """Counts steps and strikes at one of them. What was struck is written down, so that it isn't struck again."""

    def __init__(self, said: Mapping[str, Any]) -> None:
        self._said = said
        self._struck = Path(said["struck"])
        self._left = 0 if self._struck.exists() else int(said["at"])
        self._lock = threading.Lock()
        self._at_work = threading.local()
        self.steps = 0

    def step(self, *_: object) -> None:
        """Something is about to be done."""
        if getattr(self._at_work, "striking", False):
            return
        with self._lock:
            self.steps += 1
            self._left -= 1
            due = self._left == 0
        if due:
            self._at_work.striking = True
            self.strike()
            self._at_work.striking = False

    def strike(self) -> None:
        """Do it."""
        self._struck.write_text(str(self.steps))
        said = self._said
        match said["fault"]:
            case "kill child":
                os.kill(os.getpid(), signal.SIGKILL)
            case "kill runner":
                os.kill(os.getppid(), signal.SIGKILL)
            case "kill both":
                os.kill(os.getppid(), signal.SIGKILL)
                os.kill(os.getpid(), signal.SIGKILL)
            case "end sessions":
                end_sessions(said["server"])
            case "kill back end":
                kill_back_end(said["server"])
            case "kill server":
                os.kill(int(said["server"]["pid"]), signal.SIGKILL)
                time.sleep(0.2)
            case "cut the wire":
                ask_to_cut(int(said["control"]))
            case "fill the disk":
                fill(Path(said["disk"]))


def end_sessions(server: Mapping[str, Any]) -> None:
    """End every session in the trial's database, as its administrator can."""
    if server["kind"] == "postgres":
        with psycopg.connect(server["admin"], autocommit=True) as admin:
            asked = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s"
            admin.execute(asked, [server["database"]])
        return
    with mysql(server) as admin, admin.cursor() as cursor:
        cursor.execute("SELECT ID FROM information_schema.PROCESSLIST WHERE DB = %s", (server["database"],))
        for (number,) in cursor.fetchall():
            with contextlib.suppress(pymysql.MySQLError):  # it went by itself
                cursor.execute(f"KILL CONNECTION {number}")


def kill_back_end(server: Mapping[str, Any]) -> None:
    """SIGKILL for one server process of the trial's database: PostgreSQL then ends all of them, and recovers."""
    with psycopg.connect(server["admin"], autocommit=True) as admin:
        asked = "SELECT pid FROM pg_stat_activity WHERE datname = %s ORDER BY backend_start"
        pids = [row[0] for row in admin.execute(asked, [server["database"]]).fetchall()]
    if pids:
        os.kill(pids[-1], signal.SIGKILL)
        time.sleep(0.2)


def mysql(server: Mapping[str, Any]) -> pymysql.Connection[Any]:
    """A session of the administrator."""
    return pymysql.connect(
        host="127.0.0.1", port=server["port"], user=server["user"], password=server["password"], autocommit=True
    )


def fill(folder: Path) -> None:
    """Take all the room that the disk of this folder has left."""
    with contextlib.suppress(OSError), (folder / "ballast").open("wb", buffering=0) as ballast:
        while True:
            ballast.write(bytes(1 << 16))


def disturb_batches(how: str, at: int, struck: Path) -> None:
    """Have the n-th batch between reader and writer be dropped, doubled, or change places with the next one."""
    original = Buffer._drain

    def disturbed(self: Buffer[Any]) -> Iterator[Any]:
        left, waiting = at, None
        for item in original(self):
            if isinstance(item, (Rows, bytes, memoryview)):
                left -= 1
                if left == 0 and not struck.exists():
                    struck.write_text(how)
                    if how == "swap batches":
                        waiting = item
                        continue
                    if how == "drop a batch":
                        continue
                    yield item
            yield item
            if waiting is not None:
                yield waiting
                waiting = None

    Buffer._drain = disturbed  # type: ignore[method-assign]


def main() -> None:
    """The process's life."""
    said = json.loads(os.environ.pop(VARIABLE))
    bulk.BATCH_BYTES = 16_384
    sqlite_session.BATCH_ROWS = 300
    fate = Fate(said)
    if said["fault"].endswith(("batch", "batches")):
        disturb_batches(said["fault"], int(said["at"]), Path(said["struck"]))
    elif said["fault"]:
        hook(fate.step, (*STEPS, *MORE_STEPS))

    def lend(spec: Spec, accounts: Accounts) -> RunContext:
        return RunContext(spec["run"], budgets=SMALL, accounts=accounts)

    serve(carry, lend)


if __name__ == "__main__":
    main()
