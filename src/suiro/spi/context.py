"""What the engine lends a connector while it works."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from logging import Logger
from pathlib import Path
from typing import Protocol

from suiro.model.account import Grant, Rate
from suiro.model.schema import Json

__all__ = ["Context", "Grant", "Grants", "Quotas", "Rate"]


class Grants(Protocol):
    """Where grants are kept, sealed, for all processes that use them; safe to use from several threads.

    A key names the account and the credentials that were configured, not their values.
    """

    def load(self, key: str) -> Grant | None:
        """The grant as it is now."""

    def renew(self, key: str, seen: int, ask: Callable[[Grant | None], Mapping[str, Json]]) -> Grant:
        """A grant newer than the version `seen` (0: none was seen).

        If another process or thread has renewed it since, theirs. Otherwise what `ask` brings, kept durably before it
        is returned. `ask` gets the grant as it is; it is never called by two at once for one key: who comes second
        waits, and gets the first one's. What `ask` raises is raised, and the grant stays as it was.
        """


class Quotas(Protocol):
    """What an account may ask for, counted together for all processes that use it. A key names the account."""

    def take(self, key: str, rate: Rate) -> float:
        """Count one request. 0.0: go; else it was not counted, and so many seconds later one may ask again."""

    def learn(self, key: str, *, left: int, seconds: float) -> None:
        """The system says that `left` more requests are allowed in the next so many seconds: it knows others' too."""

    def pause(self, key: str, seconds: float) -> None:
        """The system refused: nobody asks it for so many seconds."""


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
    def grants(self) -> Grants:
        """Credentials that change by themselves."""

    @property
    def quotas(self) -> Quotas:
        """Requests that may still be made."""

    @property
    def log(self) -> Logger:
        """Where to tell what a support engineer would want to know; never secrets or values of rows."""

    def check_cancelled(self) -> None:
        """Raise Cancelled if the user stopped the run. Call it in every long loop of one's own."""

    def wait(self, seconds: float) -> None:
        """Sleep; Cancelled if the user stops the run meanwhile."""

    def on_cancel(self, stop: Callable[[], object]) -> Callable[[], None]:
        """Have `stop` called (from another thread) when the run is cancelled; returns a call that takes it back.

        For what check_cancelled can't reach: a driver's own cancel of a statement under way.
        """
