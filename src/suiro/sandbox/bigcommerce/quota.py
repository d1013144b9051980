"""The quota of requests in a window of time, which all apps of a store share."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from suiro.sandbox.bigcommerce.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How the quota stands after a request."""

    allowed: bool
    left: int
    quota: int
    window_ms: int
    reset_ms: int  #: until the window ends

    def headers(self) -> dict[str, str]:
        """The four headers that every answer carries, and the two of earlier days."""
        return {
            "X-Rate-Limit-Time-Window-Ms": str(self.window_ms),
            "X-Rate-Limit-Time-Reset-Ms": str(self.reset_ms),
            "X-Rate-Limit-Requests-Quota": str(self.quota),
            "X-Rate-Limit-Requests-Left": str(self.left),
            "X-BC-ApiLimit-Remaining": str(self.left),
            **({} if self.allowed else {"X-Retry-After": str(-(-self.reset_ms // 1000))}),
        }


class Quota:
    """Counts requests. A window begins with the first request after the last one's end (unverified)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ends = 0.0
        self._window_ms = 0
        self._used = 0

    @staticmethod
    def used_up(settings: Settings, reset_ms: int) -> Standing:
        """How the quota would stand with nothing left."""
        quota, window_ms = settings.quota, settings.window_ms
        return Standing(allowed=False, left=0, quota=quota, window_ms=window_ms, reset_ms=reset_ms)

    def take(self, settings: Settings) -> Standing:
        """Count one request, and those that other apps make meanwhile."""
        now = time.monotonic()
        with self._lock:
            if now >= self._ends or self._window_ms != settings.window_ms:
                self._ends, self._used = now + settings.window_ms / 1000, 0
                self._window_ms = settings.window_ms
            allowed = self._used < settings.quota
            if allowed:
                self._used = min(settings.quota, self._used + 1 + settings.others)
            return Standing(
                allowed=allowed,
                left=settings.quota - self._used if settings.quota > self._used else 0,
                quota=settings.quota,
                window_ms=settings.window_ms,
                reset_ms=min(settings.window_ms, int((self._ends - now) * 1000) + 1),
            )
