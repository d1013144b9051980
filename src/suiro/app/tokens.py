"""Tokens that open the API: made, shown once, looked up by their hash, and refused where guesses come too fast."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from suiro.app.metadata import Metadata
from suiro.model.access import Scope
from suiro.model.errors import AuthError, ConfigError, RateLimited
from suiro.model.schedule import delay_of
from suiro.store.requests import SEED_BYTES
from suiro.store.tokens import USE_SECONDS, StoredToken

PREFIX: Final = "suiro_"
HOW: Final = "Make one on the server's machine: suiro token create NAME --scope admin"
_FORM: Final = re.compile(r"suiro_[A-Za-z0-9_-]{43}")
_MOST_FAILURES, _FAILURE_SECONDS = 10, 60.0
_MOST_ADDRESSES: Final = 10_000  #: whose failures are counted at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class NewToken:
    """A token and what is kept of it. The text is nowhere else."""

    text: str
    stored: StoredToken


def create(
    name: str, scope: Scope, metadata: Metadata, *, expires: str | None = None, seed: bytes | None = None
) -> NewToken:
    """A new token; `expires`: after so long, as in 90d. The same seed makes the same token, and finds it again.

    ConfigError if the name is taken or the time can't be read.
    """
    text = PREFIX + base64.urlsafe_b64encode(seed or os.urandom(SEED_BYTES)).rstrip(b"=").decode()
    lifetime = None if expires is None else lifetime_of(expires)
    if seed is not None:
        again = metadata.tokens.by_digest(digest_of(text))
        if again is not None:
            return NewToken(text=text, stored=again)
    return NewToken(text=text, stored=metadata.tokens.create(name, digest_of(text), scope, lifetime))


def lifetime_of(text: str) -> timedelta:
    """`12h`, `90d`: how long a token is good for. ConfigError otherwise."""
    found = delay_of(text)
    if not timedelta() < found <= timedelta(days=36500):
        raise ConfigError(f"a token can't expire after {text}", hint="Write 12h, 90d or 365d; leave it out for never.")
    return found


def digest_of(text: str) -> str:
    """What is kept of a token: with 256 random bits in it, a plain hash tells nothing."""
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()


class Doorkeeper:
    """Lets in who shows a token. For all threads of a server."""

    def __init__(self, metadata: Metadata) -> None:
        self._metadata = metadata
        self._lock = threading.Lock()
        self._failures: OrderedDict[str, list[float]] = OrderedDict()

    def admit(self, shown: str | None, address: str) -> StoredToken:
        """The token that is shown, `Bearer suiro_...`. AuthError if it is none.

        RateLimited, whatever is shown, for an address that showed wrong ones ten times within a minute.
        """
        self._refuse_the_hasty(address)
        if shown is None:
            raise AuthError("this needs a token: Authorization: Bearer suiro_...", hint=HOW)
        scheme, _, text = shown.partition(" ")
        found = None
        if scheme.lower() == "bearer" and _FORM.fullmatch(text.strip()):
            digest = digest_of(text.strip())
            found = self._metadata.tokens.by_digest(digest)
        if found is None:
            self._failed(address)
            raise AuthError("the token is wrong, was revoked, or has expired", hint=HOW)
        self._used(found)
        return found

    def _used(self, found: StoredToken) -> None:
        if found.used_at is None or datetime.now(UTC) - found.used_at >= timedelta(seconds=USE_SECONDS):
            self._metadata.tokens.used(found.id)

    def _refuse_the_hasty(self, address: str) -> None:
        with self._lock:
            recent = self._recent(address)
            if len(recent) >= _MOST_FAILURES:
                wait = recent[0] + _FAILURE_SECONDS - time.monotonic()
                raise RateLimited(
                    "too many wrong tokens came from this address", hint="Wait a minute.", retry_after=max(wait, 1.0)
                )

    def _failed(self, address: str) -> None:
        with self._lock:
            self._failures[address] = [*self._recent(address), time.monotonic()]
            self._failures.move_to_end(address)
            while len(self._failures) > _MOST_ADDRESSES:
                self._failures.popitem(last=False)

    def _recent(self, address: str) -> list[float]:
        """When wrong tokens came from there within the last minute."""
        now = time.monotonic()
        return [at for at in self._failures.get(address, ()) if now - at < _FAILURE_SECONDS]
