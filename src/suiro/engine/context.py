"""The context of one run: its id, folder, byte budgets, accounts, log and cancel."""

from __future__ import annotations

import logging
import shutil
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from suiro.engine.accounts import Accounts
from suiro.model.errors import Cancelled
from suiro.spi.context import Grants, Quotas

OWN_BYTES = 176 * 2**20  #: what a process holds besides rows: the interpreter, libraries, drivers and their slack
_AGAIN = 0.5  #: seconds between two calls of the drivers' cancel


@dataclass(frozen=True, slots=True, kw_only=True)
class Budgets:
    """The bytes that a run may hold in each place. Without a bound these are what goes fastest."""

    ahead: int = 16 * 2**20  #: how far the reader may be ahead of the writer
    piece: int = 8 * 2**20  #: larger batches are cut, rows permitting
    load: int = 256 * 2**20  #: a load is published at the first checkpoint past this many bytes; these wait on disk
    connector: int = 256 * 2**20  #: what the destination may take for rows, sorts and joins; a query: a quarter of it
    row: int = 64 * 2**20  #: the most that a single row may have

    @classmethod
    def within(cls, resident: int) -> Budgets:
        """Budgets with which a process stays below so many resident bytes.

        Rows are held several times on their way, as they were read, as they are written and as a driver sends them:
        so what is said of them is a small part of the room, and what a connector may take most of it.
        """
        room = max(resident - OWN_BYTES, 0)
        return cls(
            ahead=min(cls().ahead, room // 16),
            piece=min(cls().piece, room // 32),
            connector=room * 5 // 8,
            row=room // 8,
        )


class RunContext:
    """Implements `spi.context.Context`. As a context manager it removes its folder at the end."""

    def __init__(
        self,
        run: str,
        *,
        budgets: Budgets | None = None,
        folder: Path | None = None,
        accounts: Accounts | None = None,
    ) -> None:
        self._run, self.budgets = run, budgets or Budgets()
        self._accounts = accounts or Accounts()
        self._folder = folder
        self._workdir: Path | None = None
        self._cancelled, self._ended = threading.Event(), threading.Event()
        self._stops: list[Callable[[], object]] = []
        self._lock = threading.Lock()
        self._log = logging.getLogger("suiro.run")

    @property
    def run(self) -> str:
        return self._run

    @property
    def workdir(self) -> Path:
        with self._lock:
            if self._workdir is None:
                self._workdir = Path(tempfile.mkdtemp(prefix="suiro-", dir=self._folder))
            return self._workdir

    @property
    def memory_bytes(self) -> int:
        return self.budgets.connector

    @property
    def grants(self) -> Grants:
        return self._accounts.grants

    @property
    def quotas(self) -> Quotas:
        return self._accounts.quotas

    @property
    def log(self) -> logging.Logger:
        return self._log

    @property
    def cancelled(self) -> bool:
        """Whether the user stopped the run."""
        return self._cancelled.is_set()

    def check_cancelled(self) -> None:
        if self._cancelled.is_set():
            raise Cancelled("the run was cancelled")

    def on_cancel(self, stop: Callable[[], object]) -> Callable[[], None]:
        with self._lock:
            self._stops.append(stop)

        def take_back() -> None:
            with self._lock:
                if stop in self._stops:
                    self._stops.remove(stop)

        return take_back

    def cancel(self) -> None:
        """Stop the run: whoever checks gets Cancelled; drivers' statements under way are cancelled in a thread."""
        if not self._cancelled.is_set():
            self._cancelled.set()
            threading.Thread(target=self._stop_all, name="suiro-cancel", daemon=True).start()

    def wait(self, seconds: float) -> None:
        """Sleep; Cancelled if the user stops the run meanwhile."""
        self._cancelled.wait(seconds)
        self.check_cancelled()

    def _stop_all(self) -> None:
        """Again and again until the run has ended: a statement may begin after its session was told to stop."""
        while True:
            with self._lock:
                stops = list(self._stops)
            for stop in stops:
                try:
                    stop()
                except Exception:  # noqa: BLE001  (what has just ended can't be cancelled; tell the others)
                    self._log.debug("a driver's cancel failed", exc_info=True)
            if self._ended.wait(_AGAIN):
                return

    def __enter__(self) -> RunContext:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._ended.set()
        if self._workdir is not None:
            shutil.rmtree(self._workdir, ignore_errors=True)
