"""Deaths on purpose: a process that loads rows and is killed, by SIGKILL, before its n-th step.

A step is what a driver or the file system is asked to do: a round trip, a statement, a commit, a file opened for
writing, renamed, synced or removed. `Mortals` starts a server process that has imported everything and opened
nothing; it forks a mortal for each order, so that a death costs milliseconds.
"""

from __future__ import annotations

import builtins
import contextlib
import importlib
import io
import os
import pickle
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa

from suiro.model.errors import TransientError
from suiro.spi.destination import Destination, Marker
from suiro.testing.context import LocalContext
from suiro.testing.load import Load

#: Calls before which a process may die, as module:path. Modules that are missing are passed over.
STEPS: tuple[str, ...] = (
    *(f"os:{name}" for name in ("open", "replace", "rename", "link", "unlink", "remove", "mkdir", "rmdir", "fsync")),
    "psycopg:Connection.wait",
    *(
        f"duckdb:DuckDBPyConnection.{name}"
        for name in ("execute", "executemany", "sql", "query", "append", "begin", "commit", "rollback", "close")
    ),
    "pyarrow.parquet:ParquetWriter.write_batch",
    "pyarrow.parquet:ParquetWriter.write_table",
    "pyarrow.parquet:ParquetWriter.close",
)
HEAP_TYPE = 1 << 9  #: CPython's flag of classes whose attributes can be replaced
LONGEST_SECONDS = 60  #: that a mortal may take before it counts as hanging


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One load to carry, as the run `run`, and the step before which to die (0: none)."""

    load: Load
    run: str
    workdir: Path
    dies_at: int
    patience: float  #: seconds to claim again while another lease lives


class Clock:
    """Counts steps, and kills the process when the count is reached."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._left = 0

    def arm(self, steps: int) -> None:
        """Die before the n-th step from now."""
        self._left = steps

    def step(self, *_: object) -> None:
        """Something is about to be done."""
        with self._lock:
            if self._left:
                self._left -= 1
                if not self._left:
                    os.kill(os.getpid(), signal.SIGKILL)


class Forks:
    """A process that has imported everything and opened nothing; it forks one for each order. `close` ends it.

    `module` has the function `serve`, which calls `serve_forks`; `what` is what an order begets, in messages.
    """

    def __init__(self, module: str, opened: Any, folder: Path, steps: Sequence[str], *, what: str) -> None:
        pickle.dumps((type(opened), opened.config))  # fails here rather than with a process started
        folder.mkdir(parents=True, exist_ok=True)
        self._what, self._errors = what, folder / "forks.log"
        with self._errors.open("wb") as errors:
            self._server = subprocess.Popen(
                [sys.executable, "-c", f"from {module} import serve; serve()"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
            )
        self._send((type(opened), opened.config, tuple(steps)))

    def dies(self, order: Any) -> bool:
        """Whether it died at its step; False: it did what was ordered. RuntimeError when it failed by itself."""
        self._send(order)
        assert self._server.stdout is not None
        try:
            status: int = pickle.load(self._server.stdout)
        except EOFError:
            status = -1
        if status == 0 or (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL):
            return status != 0
        said = self._errors.read_text(errors="replace")[-3000:]
        raise RuntimeError(f"a {self._what} failed (status {status}):\n{said}")

    def close(self) -> None:
        """End the process."""
        assert self._server.stdin is not None and self._server.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._server.stdin.close()
        self._server.wait(LONGEST_SECONDS)
        self._server.stdout.close()

    def _send(self, message: object) -> None:
        assert self._server.stdin is not None
        self._server.stdin.write(pickle.dumps(message))
        self._server.stdin.flush()


class Mortals(Forks):
    """Begets runs of a destination: `dies` takes an `Order`."""

    def __init__(self, destination: Destination[Any], folder: Path, steps: Sequence[str] = ()) -> None:
        super().__init__("suiro.testing.faults", destination, folder, steps, what="mortal")


def carry(destination: Destination[Any], order: Order) -> None:
    """One run as an engine does it: claim, and where the marker doesn't tell that it is done: stage, publish."""
    load, until = order.load, time.monotonic() + order.patience
    while True:
        try:
            claim = destination.claim(load.key, order.run)
            break
        except TransientError:
            if time.monotonic() > until:
                raise
            time.sleep(0.02)
    if claim.position != load.position:
        with destination.stage(load.table, load.spec, claim, truncates=load.truncates) as stage:
            for batch in load.rows:
                stage.write(batch)
            staged = stage.seal()
        destination.publish([staged], [Marker(key=load.key, position=load.position)], load.summary())
    destination.close()


def hook(step: Callable[..., None], names: Sequence[str]) -> None:
    """Have `step` called before each of these calls, each file opened for writing, each statement of SQLite."""
    for name in names:
        module, _, path = name.partition(":")
        with contextlib.suppress(ImportError):
            _hook_one(step, importlib.import_module(module), path.split("."))
    _hook_open(step)
    _hook_sqlite(step)


def _hook_one(step: Callable[..., None], module: ModuleType, path: list[str]) -> None:
    owner: Any = module
    for part in path[:-1]:
        owner = _open_class(owner, part)
    original = getattr(owner, path[-1])

    def stepping(*args: Any, **options: Any) -> Any:
        step()
        return original(*args, **options)

    setattr(owner, path[-1], stepping)


def _open_class(owner: Any, name: str) -> Any:
    """The class, or in its place a subclass whose methods can be replaced."""
    found = getattr(owner, name)
    if found.__flags__ & HEAP_TYPE:
        return found
    opened = type(name, (found,), {})
    setattr(owner, name, opened)
    return opened


def _hook_open(step: Callable[..., None]) -> None:
    original = io.open

    def stepping(file: Any, mode: str = "r", *args: Any, **options: Any) -> Any:
        if set(mode) & set("wax+"):
            step()
        return original(file, mode, *args, **options)

    io.open = builtins.open = stepping


def _hook_sqlite(step: Callable[..., None]) -> None:
    original = sqlite3.connect

    def stepping(*args: Any, **options: Any) -> sqlite3.Connection:
        step()
        connection: sqlite3.Connection = original(*args, **options)
        connection.set_trace_callback(step)
        return connection

    for module in (sqlite3, sqlite3.dbapi2):
        module.connect = stepping  # type: ignore[attr-defined]


def serve() -> None:
    """The server's side of `Mortals`."""
    serve_forks(_carried, STEPS)


def _carried(kind: type[Destination[Any]], config: Any, order: Order, clock: Clock) -> None:
    context = LocalContext(run=order.run, workdir=order.workdir)
    clock.arm(order.dies_at)
    carry(kind(config, context), order)


Act = Callable[[Any, Any, Any, Clock], None]  # a class, its config, an order, and the clock to arm


def serve_forks(act: Act, steps: Sequence[str]) -> None:
    """The server's side of `Forks`: orders come by standard input, what became of them goes to standard output."""
    orders, answers, clock = sys.stdin.buffer, sys.stdout.buffer, Clock()
    try:
        kind, config, more = pickle.load(orders)
        hook(clock.step, [*steps, *more])
        pa.table([pa.array([0])], names=["x"])  # on its first table pyarrow imports much, once here instead of in each
        while True:
            order = pickle.load(orders)
            pid = os.fork()
            if not pid:
                _live(partial(act, kind, config, order, clock))
            pickle.dump(os.waitpid(pid, 0)[1], answers)
            answers.flush()
    except EOFError:
        return


def _live(act: Callable[[], None]) -> None:
    """One life; it never returns."""
    signal.alarm(LONGEST_SECONDS)
    status = 1
    try:
        act()
        status = 0
    except BaseException:  # noqa: BLE001  (told to the log, and by the status)
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)
