"""Connections as they are stored: a connector, a user's settings, and secrets, sealed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, or_, select, update

from suiro.model.errors import ConfigError, UserError
from suiro.store.database import Database, claim_lock, edit_lock, moment
from suiro.store.names import changed_meanwhile, fit, new_id, refuse_taken, unknown
from suiro.store.secrets import MasterKeys
from suiro.store.tables import connection as table
from suiro.store.tables import job, run, task_run

__all__ = ["Connections", "StoredConnection", "bound_to", "new_id"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredConnection:
    """A connection. `version` counts changes; `secrets` are tokens by the setting's name, sealed `bound_to` it."""

    id: str
    name: str
    connector: str
    settings: Mapping[str, Any]
    secrets: Mapping[str, str] = field(repr=False)
    version: int
    created_at: datetime
    updated_at: datetime


def bound_to(id: str, setting: str) -> str:
    """What a connection's secret is sealed for: the connection, under any name, and the setting."""
    return f"connection/{id}/{setting}"


class Connections:
    """The stored connections, by name."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(
        self,
        *,
        id: str,
        name: str,
        connector: str,
        settings: Mapping[str, Any],
        secrets: Mapping[str, str],
        version: int | None = None,
    ) -> StoredConnection:
        """Store a new connection under an id from `new_id`, or (with the version seen last) change the one of that id.

        ConfigError if the name or the id is taken, or nothing has the id; UserError if someone else changed it since.
        """
        values = {"name": fit("connection", name), "connector": connector, "settings": settings, "secrets": secrets}
        with self._database.begin() as connection:
            edit_lock(connection)
            at = moment(connection)
            found = connection.execute(select(table.c.name, table.c.version).where(table.c.id == id)).first()
            if found is None or found.name != name:
                refuse_taken(connection, table, "connection", name)
            if found is None and version is None:
                new = {"id": id, "version": 1, "created_at": at, "updated_at": at}
                connection.execute(insert(table).values(**values, **new))
                return self._get(connection, name)
            if found is None:
                raise ConfigError(f"the connection {name!r} is gone", hint="It was deleted meanwhile; store it anew.")
            if found.version != version:
                raise changed_meanwhile("connection", found.name, version or 0, found.version)
            changes = {**values, "version": found.version + 1, "updated_at": at}
            connection.execute(update(table).where(table.c.id == id).values(**changes))
            _follow(connection, found.name, name)
            return self._get(connection, name)

    def get(self, name: str) -> StoredConnection:
        """The connection of that name; ConfigError, with names like it, if there is none."""
        with self._database.read() as connection:
            return self._get(connection, name)

    def all(self) -> tuple[StoredConnection, ...]:
        """All of them, by name."""
        with self._database.read() as connection:
            return tuple(sorted(map(_record, connection.execute(select(table))), key=lambda found: found.name))

    def rename(self, name: str, new: str) -> StoredConnection:
        """Give it another name, in the jobs that use it and their runs that haven't ended too."""
        found = self.get(name)
        return self.put(
            id=found.id,
            name=new,
            connector=found.connector,
            settings=found.settings,
            secrets=found.secrets,
            version=found.version,
        )

    def delete(self, name: str) -> None:
        """Forget it with its secrets. UserError naming the jobs that use it, if there are any."""
        with self._database.begin() as connection:
            edit_lock(connection)
            self._get(connection, name)
            using = select(job.c.name).where(or_(job.c.source == name, job.c.destination == name))
            jobs = sorted(connection.execute(using).scalars())
            if jobs:
                raise UserError(
                    f"connection {name!r} is used by the job{'s' if len(jobs) > 1 else ''} {', '.join(jobs)}",
                    hint="Change or delete what uses it first.",
                )
            connection.execute(delete(table).where(table.c.name == name))

    def rewrap(self, keys: MasterKeys) -> int:
        """Bring every secret under the first master key; how many were under another. All, or (on an error) none."""
        changed = 0
        with self._database.begin() as connection:
            edit_lock(connection)
            for found in map(_record, connection.execute(select(table)).all()):
                renewed = {name: keys.rewrap(token, bound_to(found.id, name)) for name, token in found.secrets.items()}
                changed += sum(renewed[name] != token for name, token in found.secrets.items())
                connection.execute(update(table).where(table.c.id == found.id).values(secrets=renewed))
        return changed

    def _get(self, connection: Connection, name: str) -> StoredConnection:
        found = connection.execute(select(table).where(table.c.name == name)).first()
        if found is None:
            raise unknown(connection, table, "connection", name)
        return _record(found)


def _record(row: Row[Any]) -> StoredConnection:
    return StoredConnection(**row._mapping)


def _follow(connection: Connection, old: str, new: str) -> None:
    """Have jobs and what of their runs is still to do call a connection by its new name."""
    if old == new:
        return
    going = task_run.c.state.in_(("queued", "running"))
    for side in ("source", "destination"):
        connection.execute(update(job).where(job.c[side] == old).values({side: new}))
    runs = select(task_run.c.run_id).where(going, or_(task_run.c.source == old, task_run.c.destination == old))
    claim_lock(connection)  # who locks several runs takes turns, and locks them before their task runs: see leases.py
    connection.execute(select(run.c.id).where(run.c.id.in_(runs)).order_by(run.c.id).with_for_update(key_share=True))
    for side in ("source", "destination"):
        connection.execute(update(task_run).where(going, task_run.c[side] == old).values({side: new}))
