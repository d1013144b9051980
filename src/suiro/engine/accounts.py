"""Grants and quotas kept in this process alone."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from suiro.model.account import Grant, Rate, Window
from suiro.model.schema import Json
from suiro.spi.context import Grants, Quotas


class OwnGrants:
    """Implements `spi.context.Grants`; gone with the process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[str, Grant] = {}
        self._asking: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def load(self, key: str) -> Grant | None:
        with self._lock:
            return self._kept.get(key)

    def renew(self, key: str, seen: int, ask: Callable[[Grant | None], Mapping[str, Json]]) -> Grant:
        with self._lock:
            asking = self._asking[key]
        with asking:
            now = self.load(key)
            if now is not None and now.version > seen:
                return now
            newer = Grant(version=(0 if now is None else now.version) + 1, values=dict(ask(now)))
            with self._lock:
                self._kept[key] = newer
            return newer


class OwnQuotas:
    """Implements `spi.context.Quotas`; counted for this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._windows: defaultdict[str, Window] = defaultdict(Window)

    def take(self, key: str, rate: Rate) -> float:
        with self._lock:
            return self._windows[key].take(rate, time.monotonic())

    def learn(self, key: str, *, left: int, seconds: float) -> None:
        with self._lock:
            self._windows[key].learn(left, seconds, time.monotonic())

    def pause(self, key: str, seconds: float) -> None:
        with self._lock:
            self._windows[key].pause(seconds, time.monotonic())


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounts:
    """What a run shares with all others that use the same accounts."""

    grants: Grants = field(default_factory=OwnGrants)
    quotas: Quotas = field(default_factory=OwnQuotas)
