"""Requests that begin something, remembered for a day: the same one sent again is answered, not done, again.

Each has a seed, made before anything is done. What the request makes takes its identity from the seed, so that a
process which dies between the act and its answer leaves nothing that is done twice.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, Row, and_, delete, insert, select, update

from suiro.model.errors import ConfigError
from suiro.store.database import Database, edit_lock, moment
from suiro.store.secrets import MasterKeys
from suiro.store.tables import request as table

KEPT_SECONDS: Final = 24 * 3600
SEED_BYTES: Final = 32
LEASE_SECONDS: Final = 60.0  #: a request that is under way for longer may be gone on with by another process


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request: whose token sent it, its key, what it asks for and a hash of its body."""

    owner: str
    key: str
    method: str
    path: str
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mine:
    """The caller is to do it now. `seed`: the same bytes however often it is begun; secret."""

    seed: bytes = field(repr=False)
    begun_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class UnderWay:
    """Somebody else is doing it; ask again after so many seconds."""

    retry_after: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """It was done, and this was the answer."""

    status: int
    text: str = field(repr=False)


class Requests:
    """The requests of the last day. Answers and seeds are sealed: they may hold a token."""

    def __init__(self, database: Database, keys: MasterKeys) -> None:
        self._database, self._keys = database, keys

    def begin(self, asked: Asked, lease_seconds: float = LEASE_SECONDS) -> Mine | UnderWay | Answered:
        """Take a request on, once at a time over all processes. ConfigError if its key was another request's."""
        with self._database.begin() as connection:
            edit_lock(connection)
            at = moment(connection)
            connection.execute(delete(table).where(table.c.expires_at <= at))
            found = connection.execute(select(table).where(_is(asked))).first()
            if found is None:
                return self._new(connection, asked, at, lease_seconds)
            if (found.method, found.path, found.body) != (asked.method, asked.path, asked.body):
                raise ConfigError(
                    "this Idempotency-Key was sent with another request", hint="Give every new request a new key."
                )
            if found.answer is not None:
                return Answered(status=found.status, text=self._keys.unseal(found.answer, _bound(asked)))
            if found.lease_until > at:
                return UnderWay(retry_after=(found.lease_until - at).total_seconds())
            lease = at + timedelta(seconds=lease_seconds)
            connection.execute(update(table).where(_is(asked)).values(lease_until=lease))
            return self._mine(found, asked)

    def answer(self, asked: Asked, status: int, text: str) -> None:
        """Keep the answer; whoever answered first is not overruled."""
        values = {"status": status, "answer": self._keys.seal(text, _bound(asked))}
        with self._database.begin() as connection:
            connection.execute(update(table).where(_is(asked), table.c.answer.is_(None)).values(values))

    def free(self, asked: Asked) -> None:
        """Forget a request that was refused and began nothing: its key may be used again."""
        with self._database.begin() as connection:
            connection.execute(delete(table).where(_is(asked), table.c.answer.is_(None)))

    def lapse(self, asked: Asked) -> None:
        """Let the next one go on with it, under the same seed: nobody knows how far it came."""
        with self._database.begin() as connection:
            lapsed = update(table).where(_is(asked), table.c.answer.is_(None))
            connection.execute(lapsed.values(lease_until=moment(connection)))

    def _new(self, connection: Connection, asked: Asked, at: datetime, lease_seconds: float) -> Mine:
        values = {
            "owner": asked.owner,
            "key": asked.key,
            "method": asked.method,
            "path": asked.path,
            "body": asked.body,
            "seed": self._keys.seal(os.urandom(SEED_BYTES).hex(), _bound(asked)),
            "begun_at": at,
            "lease_until": at + timedelta(seconds=lease_seconds),
            "expires_at": at + timedelta(seconds=KEPT_SECONDS),
        }
        return self._mine(connection.execute(insert(table).values(values).returning(table)).one(), asked)

    def _mine(self, row: Row[Any], asked: Asked) -> Mine:
        return Mine(seed=bytes.fromhex(self._keys.unseal(row.seed, _bound(asked))), begun_at=row.begun_at)


def _is(asked: Asked) -> Any:
    return and_(table.c.owner == asked.owner, table.c.key == asked.key)


def _bound(asked: Asked) -> str:
    return f"request/{asked.owner}/{asked.key}"
