"""What the engine lends a connector while it works."""

from __future__ import annotations

from collections.abc import Callable
from logging import Logger
from pathlib import Path
from typing import Protocol


class Context(Protocol):
    """Lent by the engine for one run; safe to use from several threads."""

    @property
    def run(self) -> str:
        """The run's id."""

    @property
    def workdir(self) -> Path:
        """A folder of this run's own for files that may be thrown away; removed after the run."""

    @property
    def memory_bytes(self) -> int:
        """How much memory this connector may take for rows, in bytes."""

    @property
    def log(self) -> Logger:
        """Where to tell what a support engineer would want to know; never secrets or values of rows."""

    def check_cancelled(self) -> None:
        """Raise Cancelled if the user stopped the run. Call it in every long loop of one's own."""

    def on_cancel(self, stop: Callable[[], object]) -> Callable[[], None]:
        """Have `stop` called (from another thread) when the run is cancelled; returns a call that takes it back.

        For what check_cancelled can't reach: a driver's own cancel of a statement under way.
        """
