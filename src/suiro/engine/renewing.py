"""Grants that several processes share: renewed by one at a time, in short steps that some keeper of grants takes."""

from __future__ import annotations

import logging
import random
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Final, Protocol

from suiro.model.account import Grant, Turn
from suiro.model.errors import SuiroError, TransientError
from suiro.model.schema import Json

EXTEND_SECONDS: Final = 2.5  #: between two words that whoever renews is still at it
KEEP_SECONDS: Final = 120.0  #: how long what was brought is tried to be kept
_PAUSES: Final = (0.02, 1.0)  #: between two questions for the turn: the first pause and the longest, in seconds
_TELL_SECONDS: Final = 15.0  #: who waits longer says so in the log
_log = logging.getLogger("suiro.run")


class Keeper(Protocol):
    """Where grants are kept: steps that are short, and safe to take from several threads; see `store.grants.Grants`."""

    def load(self, key: str) -> Grant | None:
        """The grant as it is now."""

    def take(self, key: str, seen: int, holder: str) -> Turn:
        """The turn to renew, or what is newer than `seen`, or neither while another holder has the turn."""

    def extend(self, key: str, holder: str) -> bool:
        """Have the turn last some seconds more; False if it isn't the holder's any more."""

    def keep(self, key: str, holder: str, before: int, newer: Grant) -> Grant:
        """Keep what took the place of the version `before`, and end the turn; the grant as it is then."""

    def release(self, key: str, holder: str) -> None:
        """End the turn."""


class SharedGrants:
    """Implements `spi.context.Grants` over a keeper. `wait` sleeps, and raises Cancelled when it is time to stop."""

    def __init__(self, keeper: Keeper, wait: Callable[[float], None]) -> None:
        self._keeper, self._wait = keeper, wait
        self._lock = threading.Lock()
        self._queues: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def load(self, key: str) -> Grant | None:
        return self._keeper.load(key)

    def renew(self, key: str, seen: int, ask: Callable[[Grant | None], Mapping[str, Json]]) -> Grant:
        holder = uuid.uuid4().hex
        with self._queue(key):  # threads of this run wait here, so that one of them asks the keeper
            now = self._turn(key, seen, holder)
            if now is not None and now.version > seen:
                return now
            if threading.current_thread() is not threading.main_thread():
                return self._asked(key, seen, holder, now, ask)
            with ThreadPoolExecutor(1, "suiro-renew") as apart:  # Ctrl-C waits until what comes is kept
                return apart.submit(self._asked, key, seen, holder, now, ask).result()

    def _turn(self, key: str, seen: int, holder: str) -> Grant | None:
        """The grant as it is: newer than `seen`, or ours to renew."""
        pause, longest = _PAUSES
        tell_at = time.monotonic() + _TELL_SECONDS
        while True:
            turn = self._keeper.take(key, seen, holder)
            if turn.mine or turn.grant is not None:
                return turn.grant
            if time.monotonic() > tell_at:
                _log.info("waiting for another process that renews the credentials of this account")
                tell_at += 10 * _TELL_SECONDS
            self._wait(pause * random.uniform(0.7, 1.0))
            pause = min(pause * 1.5, longest)

    def _asked(
        self, key: str, seen: int, holder: str, now: Grant | None, ask: Callable[[Grant | None], Mapping[str, Json]]
    ) -> Grant:
        """The grant as it is after asking; the turn is the holder's."""
        before = 0 if now is None else now.version
        with self._extended(key, holder):
            try:
                values = dict(ask(now))
            except BaseException:
                with suppress(SuiroError):  # the turn ends by itself, and what `ask` raised counts
                    self._keeper.release(key, holder)
                raise
            return self._kept(key, holder, before, Grant(version=max(before, seen) + 1, values=values))

    def _kept(self, key: str, holder: str, before: int, newer: Grant) -> Grant:
        """What was brought, kept: who asked may have used up the credentials before it, so it is not given up soon."""
        deadline, pause = time.monotonic() + KEEP_SECONDS, _PAUSES[1]
        while True:
            try:
                return self._keeper.keep(key, holder, before, newer)
            except TransientError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(pause)  # a cancelled run waits too: for what is lost now, somebody would have to sign in

    @contextmanager
    def _queue(self, key: str) -> Iterator[None]:
        with self._lock:
            queue = self._queues[key]
        while not queue.acquire(timeout=0.2):
            self._wait(0.0)
        try:
            yield
        finally:
            queue.release()

    @contextmanager
    def _extended(self, key: str, holder: str) -> Iterator[None]:
        """The turn is kept from ending as long as this lasts."""
        done = threading.Event()

        def extend() -> None:
            while not done.wait(EXTEND_SECONDS):
                try:
                    if not self._keeper.extend(key, holder):
                        _log.warning("credentials are renewed here longer than others wait: two may do so at once")
                        return
                except SuiroError as error:
                    _log.warning("others may renew these credentials too: %s", error.message)

        thread = threading.Thread(target=extend, name="suiro-turn", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
