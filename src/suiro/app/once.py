"""Acts that are done once, however often they are asked for with the same key."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from suiro.app import running
from suiro.app.metadata import Metadata
from suiro.model.errors import ConfigError, UserError
from suiro.store.requests import SEED_BYTES, Answered, Asked, Mine, UnderWay
from suiro.store.run_records import StoredRun

__all__ = ["Answered", "Asked", "Seed", "UnderWay", "began", "once"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seed:
    """What an act takes the identity of what it makes from: the same for every try of one request."""

    secret: bytes = field(repr=False)
    at: datetime

    @classmethod
    def fresh(cls) -> Seed:
        """For a request without a key."""
        return cls(secret=os.urandom(SEED_BYTES), at=datetime.now(UTC))

    @property
    def run(self) -> str:
        """The id of the run that the act begins."""
        return f"{self.at:%Y%m%dT%H%M%S}-{hashlib.sha256(b'run' + self.secret).hexdigest()[:6]}"


def once(asked: Asked | None, metadata: Metadata, act: Callable[[Seed], str], status: int) -> Answered | UnderWay:
    """Do it and keep its answer, or answer as before; without a request to remember, just do it.

    `act` must do nothing a second time under the same seed. What it refuses (UserError) began nothing: the key is free
    again. After any other error the next try goes on under the same seed.
    """
    if asked is None:
        return Answered(status=status, text=act(Seed.fresh()))
    found = metadata.requests.begin(asked)
    if not isinstance(found, Mine):
        return found
    try:
        text = act(Seed(secret=found.seed, at=found.begun_at))
    except UserError:
        metadata.requests.free(asked)
        raise
    except BaseException:
        metadata.requests.lapse(asked)
        raise
    metadata.requests.answer(asked, status, text)
    return Answered(status=status, text=text)


def began(id_: str, begin: Callable[[], StoredRun], metadata: Metadata) -> dict[str, Any]:
    """The run of that id, begun unless it is there already; as `running.result` tells it."""
    if not _is_there(id_, metadata):
        try:
            begin()
        except UserError:  # an earlier try may have begun it just now
            if not _is_there(id_, metadata):
                raise
    return running.result(id_, metadata)


def _is_there(id_: str, metadata: Metadata) -> bool:
    try:
        metadata.runs.get(id_)
    except ConfigError:
        return False
    return True
