"""Copies that break: in processes of their own, killed or given a driver's error before a step, or in pairs."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from suiro.app.runs import Copy, Copying
from suiro.model.job import Task
from suiro.model.run import Status
from suiro.testing.faults import STEPS, Clock, hook

LONGEST_SECONDS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One `suiro copy`. `fault`: "kill" or "error" before the step `at`; "" for none."""

    source: str
    destination: str
    stream: str
    run: str
    task: dict[str, Any] = field(default_factory=dict)
    fault: str = ""
    at: int = 0


class Trouble(Clock):
    """Kills the process, or raises an OSError once, when its count is reached."""

    error = False

    def step(self, *arguments: object) -> None:
        if not self.error:
            return super().step(*arguments)
        with self._lock:
            due = self._left == 1
            self._left = max(self._left - 1, 0)
        if due:
            raise OSError(5, "an error of the test's making")
        return None


class Copies:
    """A process that has imported everything and forks one for each order."""

    def __init__(self, folder: Path) -> None:
        self._errors = folder / "copies.log"
        with self._errors.open("wb") as errors:
            self._server = subprocess.Popen(
                [sys.executable, "-c", "from mortal_copies import serve; serve()"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])},
            )

    def carry(self, *orders: Order) -> list[int]:
        """Carry them all at once; what became of each: 0 done, 1 failed with an error of ours, -9 killed."""
        assert self._server.stdin is not None and self._server.stdout is not None
        self._server.stdin.write(pickle.dumps(orders))
        self._server.stdin.flush()
        try:
            found: list[int] = pickle.load(self._server.stdout)
        except EOFError:
            found = [-1]
        if not set(found) <= {0, 1, -9}:
            raise RuntimeError(f"a copy ended with {found}:\n{self._errors.read_text(errors='replace')[-4000:]}")
        return found

    def told(self) -> str:
        """What the copies wrote to standard error."""
        return self._errors.read_text(errors="replace")[-4000:]

    def close(self) -> None:
        """End the process."""
        assert self._server.stdin is not None and self._server.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._server.stdin.close()
        self._server.wait(LONGEST_SECONDS)
        self._server.stdout.close()


def serve() -> None:
    """The process's side."""
    orders_in, answers, trouble = sys.stdin.buffer, sys.stdout.buffer, Trouble()
    hook(trouble.step, (*STEPS, "pymysql.connections:Connection._execute_command"))
    with contextlib.suppress(EOFError):
        while True:
            pids = [_fork(trouble, order) for order in pickle.load(orders_in)]
            pickle.dump([os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids], answers)
            answers.flush()


def _fork(trouble: Trouble, order: Order) -> int:
    pid = os.fork()
    if pid:
        return pid
    status = 2
    try:
        signal.alarm(LONGEST_SECONDS)
        status = _live(trouble, order)
    except BaseException:  # noqa: BLE001  (told to the log, and by the status)
        traceback.print_exc()
    sys.stderr.flush()
    os._exit(status)


def _live(trouble: Trouble, order: Order) -> int:
    streams: Sequence[str] = (order.stream,)
    task = Task(stream="", **order.task)
    copy = Copy(
        source=order.source, destination=order.destination, streams=tuple(streams), task=task, run=order.run
    )  # fmt: skip
    trouble.error = order.fault == "error"
    trouble.arm(order.at if order.fault else 0)
    run = Copying(copy).run()
    for done in run.tasks:
        if done.error is not None:
            print(order, done.error, file=sys.stderr)
            if done.error.code == "internal_error" and not order.fault:
                return 2
    return 0 if run.status is Status.SUCCEEDED else 1
