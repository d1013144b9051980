"""Tokens that open the API: their names and scopes, and hashes of them; never the tokens."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, Row, delete, insert, or_, select, update

from suiro.model.access import Scope
from suiro.store.database import Database, edit_lock, moment
from suiro.store.names import fit, new_id, refuse_taken, unknown
from suiro.store.tables import token as table

USE_SECONDS: Final = 60  #: a use is written down when the one known is older


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredToken:
    """What may be told of a token. `used_at` is up to a minute behind."""

    id: str
    name: str
    scope: Scope
    created_at: datetime
    expires_at: datetime | None
    used_at: datetime | None


class Tokens:
    """The tokens, by name, and by the hash of what their holders show."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, name: str, digest: str, scope: Scope, lifetime: timedelta | None = None) -> StoredToken:
        """Keep a new token by its hash; without a lifetime it never expires. ConfigError if the name is taken."""
        with self._database.begin() as connection:
            edit_lock(connection)
            refuse_taken(connection, table, "token", fit("token", name))
            at = moment(connection)
            values = {
                "id": new_id(),
                "name": name,
                "digest": digest,
                "scope": scope.value,
                "created_at": at,
                "expires_at": None if lifetime is None else at + lifetime,
            }
            return _record(connection.execute(insert(table).values(values).returning(table)).one())

    def all(self) -> tuple[StoredToken, ...]:
        """All of them, by name, expired ones too."""
        with self._database.read() as connection:
            return tuple(sorted(map(_record, connection.execute(select(table))), key=lambda found: found.name))

    def exist(self) -> bool:
        """Whether there is any that has not expired."""
        with self._database.read() as connection:
            return connection.execute(select(table.c.id).where(_lives(moment(connection))).limit(1)).first() is not None

    def by_digest(self, digest: str) -> StoredToken | None:
        """The token of that hash, unless it has expired."""
        with self._database.read() as connection:
            found = select(table).where(table.c.digest == digest, _lives(moment(connection)))
            row = connection.execute(found).first()
            return None if row is None else _record(row)

    def used(self, id: str) -> None:
        """Write down that it is used now."""
        with self._database.begin() as connection:
            connection.execute(update(table).where(table.c.id == id).values(used_at=moment(connection)))

    def revoke(self, name: str) -> None:
        """Forget it: whoever has it is refused from now on. ConfigError if there is none of that name."""
        with self._database.begin() as connection:
            edit_lock(connection)
            self._revoked(connection, name)

    def _revoked(self, connection: Connection, name: str) -> None:
        if not connection.execute(delete(table).where(table.c.name == name)).rowcount:
            raise unknown(connection, table, "token", name)


def _lives(at: datetime) -> Any:
    return or_(table.c.expires_at.is_(None), table.c.expires_at > at)


def _record(row: Row[Any]) -> StoredToken:
    known = {field.name for field in fields(StoredToken)}
    values = {name: value for name, value in row._mapping.items() if name in known}
    return StoredToken(**{**values, "scope": Scope(values["scope"])})
