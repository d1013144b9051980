"""The context of one run: its id, folder, memory, log and cancel."""

from __future__ import annotations

import logging
import shutil
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from suiro.model.errors import Cancelled

MEMORY_BYTES = 64 * 2**20
_AGAIN = 0.5  #: seconds between two calls of the drivers' cancel


class RunContext:
    """Implements `spi.context.Context`. As a context manager it removes its folder at the end."""

    def __init__(self, run: str, *, memory_bytes: int = MEMORY_BYTES, folder: Path | None = None) -> None:
        self._run, self._memory_bytes = run, memory_bytes
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
        return self._memory_bytes

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
