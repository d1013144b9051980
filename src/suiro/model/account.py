"""Accounts with applications: credentials that change while they are used, and requests that may still be made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from suiro.model.schema import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """Credentials that change while they are used, as they are now: an OAuth grant's tokens."""

    version: int  #: 1 at first; greater after each renewal
    values: Mapping[str, Json] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What came of asking for the turn to renew a grant. `grant`: it as it is now; None while another has the turn."""

    mine: bool
    grant: Grant | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """So many requests in each window of so many seconds."""

    requests: int
    seconds: float


@dataclass(slots=True, kw_only=True)
class Window:
    """The requests of one account in the window under way. Times are seconds of any clock that runs evenly."""

    ends: float = 0.0
    left: int = 0
    paused_until: float = 0.0

    def take(self, rate: Rate, now: float) -> float:
        """As `spi.context.Quotas.take`."""
        if now < self.paused_until:
            return self.paused_until - now
        if now >= self.ends:
            self.ends, self.left = now + rate.seconds, rate.requests
        if self.left <= 0:
            return self.ends - now
        self.left -= 1
        return 0.0

    def learn(self, left: int, seconds: float, now: float) -> None:
        """As `spi.context.Quotas.learn`: within a window what is known to be left only falls."""
        if now < self.ends:
            self.left = min(self.left, left)
        else:
            self.left = left
        self.ends = now + seconds

    def pause(self, seconds: float, now: float) -> None:
        """As `spi.context.Quotas.pause`; a longer pause stays."""
        self.paused_until = max(self.paused_until, now + seconds)
