"""How long a request is tried again: its limits, and the waits between two tries."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """Limits of trying again, in seconds."""

    seconds: float = 300.0  #: of tries and of the waits between them, without those that the service told
    first: float = 0.5  #: before the second try; twice as long before each one after it
    most: float = 60.0  #: between two tries
    pause: float = 86_400.0  #: what the service may tell to wait, in all


QUICK: Final = Patience(seconds=8.0, most=2.0, pause=60.0)  #: where somebody sits and waits for the answer


class Trouble:
    """What went wrong with one request so far."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._faults, self._spent, self._told = 0, 0.0, 0.0

    def took(self, seconds: float) -> None:
        """A try took so long."""
        self._spent += seconds

    def delay(self) -> float | None:
        """How long to wait after one more fault; None: it was tried long enough."""
        delay = min(self._patience.most, self._patience.first * 2.0 ** min(self._faults, 30))
        delay *= random.uniform(0.5, 1.0)
        self._faults += 1
        self._spent += delay
        return delay if self._spent <= self._patience.seconds else None

    def pause(self, told: float | None) -> float | None:
        """How long to wait where the service told to, or as after a fault where it told no time; None: too long."""
        if not told:
            return self.delay()
        self._told += told
        return told if self._told <= self._patience.pause else None
