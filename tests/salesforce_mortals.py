"""Processes that write to a sandbox of Salesforce and are killed, by SIGKILL, before one of their steps.

A step is before or after a request, or before or after a note in the journal. A server process has everything imported
and forks a writer for each order, so that a death costs milliseconds.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from salesforce_writes import Notes
from suiro.connectors.salesforce.application import SalesforceApplication
from suiro.model.schema import Json
from suiro.model.writeback import Order, RowResult
from suiro.testing.context import LocalContext
from suiro.testing.faults import LONGEST_SECONDS, Clock
from suiro.toolkit.http.client import HttpClient


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Rows to be sent, and the step before which to die (0: none)."""

    config: Any
    order: Order
    rows: pa.RecordBatch
    notes: Path
    answers: Path  #: where the answers go, pickled
    dies_at: int


class Mortals:
    """The server process."""

    def __init__(self, folder: Path) -> None:
        self._errors = folder / "mortals.log"
        with self._errors.open("wb") as errors:
            self._server = subprocess.Popen(
                [sys.executable, "-c", "from salesforce_mortals import serve; serve()"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
            )

    def answers(self, task: Task) -> list[RowResult] | None:
        """What was answered; None: it died at its step."""
        assert self._server.stdin is not None and self._server.stdout is not None
        self._server.stdin.write(pickle.dumps(task))
        self._server.stdin.flush()
        try:
            status: int = pickle.load(self._server.stdout)
        except EOFError:
            status = -1
        if status == 0:
            found: list[RowResult] = pickle.loads(task.answers.read_bytes())
            return found
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
            return None
        raise RuntimeError(f"a mortal failed (status {status}):\n{self._errors.read_text(errors='replace')[-3000:]}")

    def close(self) -> None:
        assert self._server.stdin is not None and self._server.stdout is not None
        self._server.stdin.close()
        self._server.wait(LONGEST_SECONDS)
        self._server.stdout.close()


class MortalNotes(Notes):
    """A journal whose keeper may die before and after a note."""

    def __init__(self, path: Path, clock: Clock) -> None:
        super().__init__(path)
        self._clock = clock

    def note(self, said: dict[str, Json]) -> None:
        self._clock.step()
        super().note(said)
        self._clock.step()


def serve() -> None:
    """The server's side of `Mortals`."""
    clock = Clock()
    once = HttpClient._once

    def stepping(*args: Any, **options: Any) -> Any:
        clock.step()
        answer = once(*args, **options)
        clock.step()
        return answer

    HttpClient._once = stepping  # type: ignore[method-assign]
    pa.table([pa.array([0])], names=["x"])  # on its first table pyarrow imports much, once here instead of in each
    while True:
        try:
            task = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        pid = os.fork()
        if not pid:
            _live(clock, task)
        pickle.dump(os.waitpid(pid, 0)[1], sys.stdout.buffer)
        sys.stdout.buffer.flush()


def _live(clock: Clock, task: Task) -> None:
    """A mortal's life; it never returns."""
    signal.alarm(LONGEST_SECONDS)
    status = 1
    try:
        context = LocalContext(run="mortal", workdir=task.notes.parent / "work")
        application = SalesforceApplication(task.config, context)
        clock.arm(task.dies_at)
        found = list(application.apply(task.order, task.rows, MortalNotes(task.notes, clock)))
        clock.arm(0)
        task.answers.write_bytes(pickle.dumps(found))
        status = 0
    except BaseException:  # noqa: BLE001  (told to the log, and by the status)
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)
