"""Grants as they are stored: sealed values, versions that rise, and the lease of whoever renews one.

Renewing is a request to another system, so no transaction is open meanwhile: a lease in the row keeps others waiting.
Leases go by PostgreSQL's clock, which all nodes share, or by this machine's for SQLite, as those of task runs do.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import Connection, Row, select, update
from sqlalchemy.dialects import postgresql, sqlite

from suiro.model.account import Grant, Turn
from suiro.model.errors import InternalError
from suiro.model.schema import Json
from suiro.store.columns import plain
from suiro.store.database import Database, edit_lock, moment
from suiro.store.secrets import MasterKeys
from suiro.store.tables import account_grant as table

LEASE_SECONDS: Final = 10.0  #: whoever renews and falls silent keeps others waiting so long


class Grants:
    """The stored grants, by key. Every call is one or two short transactions.

    To renew one: `take` the turn, which lasts for `lease_seconds`, `extend` it while asking, then `keep` what was
    brought, or `release` the turn. Any call may raise ConfigError for the master keys, see `MasterKeys`.
    """

    def __init__(self, database: Database, keys: MasterKeys, *, lease_seconds: float = LEASE_SECONDS) -> None:
        self._database, self._keys = database, keys
        self._lease = timedelta(seconds=lease_seconds)

    def load(self, key: str) -> Grant | None:
        """The grant as it is now."""
        with self._database.read() as connection:
            found = _row(connection, key)
        return None if found is None else self._opened(found)

    def take(self, key: str, seen: int, holder: str) -> Turn:
        """The turn to renew a grant, unless another holder has it or the grant is newer than the version `seen`.

        A newer grant comes back instead.
        """
        with self._database.read() as connection:
            turn = self._turn(connection, _row(connection, key), seen)
        if turn is not None:
            return turn
        self._keys.seal("", _bound(key, 0))  # what can't be sealed is better not asked for
        with self._database.begin() as connection:
            at = moment(connection)
            fresh = {"key": key, "version": 0, "created_at": at, "updated_at": at}
            connection.execute(inserted(connection, table, fresh))
            found = connection.execute(select(table).where(table.c.key == key).with_for_update()).one()
            turn = self._turn(connection, found, seen)
            if turn is None:
                lease = {"holder": holder, "lease_until": moment(connection) + self._lease}
                connection.execute(update(table).where(table.c.key == key).values(lease))
                turn = Turn(mine=True, grant=self._opened(found))
        return turn

    def extend(self, key: str, holder: str) -> bool:
        """Have the turn last for `lease_seconds` from now; False if it isn't the holder's any more."""
        with self._database.begin() as connection:
            mine = update(table).where(table.c.key == key, table.c.holder == holder)
            return bool(connection.execute(mine.values(lease_until=moment(connection) + self._lease)).rowcount)

    def keep(self, key: str, holder: str, before: int, newer: Grant) -> Grant:
        """Keep what took the place of the version `before` (0: of nothing), and end the turn; the grant as it is then.

        If another one took its place meanwhile, that one stays and comes back. To be repeated until it returns.
        """
        token = self._sealed(key, newer)
        with self._database.begin() as connection:
            same = (table.c.key == key, table.c.version == before)
            values = {"version": newer.version, "token": token, "updated_at": moment(connection), **_FREE}
            kept = connection.execute(update(table).where(*same).values(values)).rowcount
            found = newer if kept else self._other(connection, key)
        if not kept:
            self.release(key, holder)
        return found

    def release(self, key: str, holder: str) -> None:
        """End the holder's turn, if it is still its."""
        with self._database.begin() as connection:
            connection.execute(update(table).where(table.c.key == key, table.c.holder == holder).values(_FREE))

    def put(self, key: str, values: Mapping[str, Json]) -> Grant:
        """Keep values in place of whatever was there: a user signed in anew. Who renews the old ones now is ignored."""
        with self._database.begin() as connection:
            at = moment(connection)
            fresh = {"key": key, "version": 0, "created_at": at, "updated_at": at}
            connection.execute(inserted(connection, table, fresh))
            found = connection.execute(select(table.c.version).where(table.c.key == key).with_for_update())
            newer = Grant(version=found.scalar_one() + 1, values=dict(values))
            row = {"version": newer.version, "token": self._sealed(key, newer), "updated_at": at, **_FREE}
            connection.execute(update(table).where(table.c.key == key).values(row))
        return newer

    def rewrap(self) -> int:
        """Bring every grant under the first master key; how many were under another. All, or (on an error) none."""
        changed = 0
        with self._database.begin() as connection:
            edit_lock(connection)
            for key, version, token in connection.execute(
                select(table.c.key, table.c.version, table.c.token).where(table.c.token.is_not(None)).with_for_update()
            ).all():
                renewed = self._keys.rewrap(token, _bound(key, version))
                changed += renewed != token
                connection.execute(update(table).where(table.c.key == key).values(token=renewed))
        return changed

    def _turn(self, connection: Connection, found: Row[Any] | None, seen: int) -> Turn | None:
        """The answer to who asks for the turn; None: it is free."""
        if found is None:
            return None
        if found.version > seen:
            return Turn(mine=False, grant=self._opened(found))
        if found.lease_until is None:
            return None
        now = moment(connection)
        # one that ends later than any could was taken before the clock was put back
        lives = now < found.lease_until <= now + self._lease
        return Turn(mine=False, grant=None) if lives else None

    def _other(self, connection: Connection, key: str) -> Grant:
        found = _row(connection, key)
        grant = None if found is None else self._opened(found)
        if grant is None:
            raise InternalError(f"the grant {key} was renewed after it was taken away")
        return grant

    def _sealed(self, key: str, grant: Grant) -> str:
        return self._keys.seal(json.dumps(plain(grant.values), separators=(",", ":")), _bound(key, grant.version))

    def _opened(self, found: Row[Any]) -> Grant | None:
        if found.token is None:
            return None
        values = json.loads(self._keys.unseal(found.token, _bound(found.key, found.version)))
        return Grant(version=found.version, values=values)


def inserted(connection: Connection, into: Any, values: Mapping[str, Any]) -> sqlite.Insert | postgresql.Insert:
    """An INSERT that does nothing where the row is there already; both systems' dialects spell it alike."""
    insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    new: sqlite.Insert | postgresql.Insert = insert(into).values(values)
    return new.on_conflict_do_nothing()


_FREE: Final[dict[str, Any]] = {"holder": None, "lease_until": None}


def _row(connection: Connection, key: str) -> Row[Any] | None:
    return connection.execute(select(table).where(table.c.key == key)).first()


def _bound(key: str, version: int) -> str:
    return f"grant/{key}/{version}"
