"""Calls to an application that goes away for a while: made again, as long as it says that this may help."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from suiro.engine.context import RunContext
from suiro.model.errors import TransientError

ATTEMPTS: Final = 5
LONGEST: Final = 60.0  #: seconds between two attempts where the application names no time of its own

T = TypeVar("T")


def patiently(context: RunContext, act: Callable[[], T]) -> T:
    """What `act` returns; after a TransientError it is called again, ATTEMPTS times in all."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return act()
        except TransientError as error:
            context.check_cancelled()
            if attempt == ATTEMPTS:
                raise
            wait = error.retry_after or min(2.0 ** (attempt - 1), LONGEST)
            context.log.warning("%s; trying again in %.0f s", error.message, wait)
            context.wait(wait)
    raise AssertionError("unreachable")
