"""Markers of tasks, in `_suiro_markers`; and what a publish announces there before it changes tables by DDL.

DDL of MySQL and MariaDB commits at once, so a table can't take its place in the transaction that moves a marker.
Therefore the next position is announced first; the new table carries the announcement's mark in its comment; one
RENAME TABLE puts it in its place, and from that moment the announced position is the marker. Columns that a publish is
about to add to a table are announced as well: the next claim takes them back if the rows didn't come.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from suiro.connectors.mysql.session import Session
from suiro.connectors.mysql.standing import Standing, UniqueKey, columns_sql, find, folded, quote
from suiro.model.errors import DataError, Fenced, SuiroError
from suiro.model.job import TaskKey
from suiro.model.schema import Position
from suiro.spi.destination import Claim, Marker

MARKERS = "_suiro_markers"

_TABLE = """
CREATE TABLE IF NOT EXISTS {table} (
    task VARCHAR(64) NOT NULL PRIMARY KEY, source LONGTEXT NOT NULL, stream LONGTEXT NOT NULL,
    table_name LONGTEXT NOT NULL, epoch BIGINT NOT NULL, run LONGTEXT NOT NULL, position LONGTEXT, announced LONGTEXT,
    claimed_at DATETIME(6) NOT NULL, published_at DATETIME(6)
) ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """Columns that a publish adds to a table, and the unique keys that the table gives up for them."""

    parts: tuple[str, str]
    columns: tuple[str, ...]
    keys: tuple[UniqueKey, ...] = ()


class Markers:
    """The markers in one database."""

    def __init__(self, session: Session, home: str) -> None:
        self._session, self._table = session, quote(home, MARKERS)
        self._parts = (home, MARKERS)

    def make(self) -> None:
        """Make the table where it is missing."""
        if find(self._session, self._parts) is None:
            self._session.run(_TABLE.format(table=self._table), doing="making the table of markers")

    def holder(self, key: TaskKey) -> str:
        """Who claimed the task last, in words."""
        try:
            known = self._session.ask(f"SELECT run FROM {self._table} WHERE task = %s", (key.digest(),))
        except SuiroError:
            known = []
        return f"run {known[0][0]}" if known else "it has just begun"

    def claim(self, key: TaskKey, run: str, parts: tuple[str, str]) -> tuple[int, Position | None]:
        """Settle what was announced, raise the epoch; the epoch and the position. No staging is left by now."""
        ask, execute, digest = self._session.ask, self._session.run, key.digest()
        known = ask(f"SELECT epoch, position, announced FROM {self._table} WHERE task = %s", (digest,))
        if not known:
            execute(
                f"INSERT INTO {self._table} (task, source, stream, table_name, epoch, run, claimed_at) "
                "VALUES (%s, %s, %s, %s, 1, %s, UTC_TIMESTAMP(6))",
                (digest, key.source, key.stream, key.table, run),
                doing=f"claiming {key.table}",
            )
            return 1, None
        epoch, position, announced = known[0]
        standing = find(self._session, parts)
        if announced is not None:
            said = json.loads(announced)
            if standing is not None and said["position"] is not None and said["mark"] == standing.mark:
                position = json.dumps(said["position"], ensure_ascii=False)
            take_back(self._session, [_as_added(one) for one in said["added"]])
        if standing is None:
            position = None
        execute(
            f"UPDATE {self._table} SET epoch = epoch + 1, run = %s, position = %s, announced = NULL, "
            "claimed_at = UTC_TIMESTAMP(6) WHERE task = %s",
            (run, position, digest),
        )
        return int(epoch) + 1, None if position is None else json.loads(position)

    def fence(self, claim: Claim, *, hold: bool = False) -> None:
        """Fenced if the task was claimed again since. `hold`: until the end of the transaction nobody can."""
        sql = f"SELECT epoch, run FROM {self._table} WHERE task = %s{' FOR UPDATE' if hold else ''}"
        found = self._session.ask(sql, (claim.key.digest(),))
        if not found or int(found[0][0]) != claim.epoch:
            by = f" by run {found[0][1]}" if found else ""
            raise Fenced(
                f"the loading of {claim.key.table} was taken over{by}", hint="Nothing was changed by this run."
            )

    def announce(self, claim: Claim, position: Position | None, mark: str | None, added: Sequence[Added]) -> None:
        """Say what DDL is about to do. Fenced if the task was claimed again since."""
        said = {
            "mark": mark,
            "position": None if position is None else dict(position),
            "added": [_as_json(one) for one in added],
        }
        changed = self._session.run(
            f"UPDATE {self._table} SET announced = %s WHERE task = %s AND epoch = %s",
            (json.dumps(said, ensure_ascii=False), claim.key.digest(), claim.epoch),
        )
        if not changed:
            self.fence(claim)

    def withdraw(self, claim: Claim) -> None:
        """Forget what was announced."""
        self._session.run(
            f"UPDATE {self._table} SET announced = NULL WHERE task = %s AND epoch = %s",
            (claim.key.digest(), claim.epoch),
        )

    def move(self, marker: Marker) -> None:
        """Save the position of a task that has been claimed; nothing is announced any more."""
        self._session.run(
            f"UPDATE {self._table} SET position = %s, announced = NULL, published_at = UTC_TIMESTAMP(6) "
            "WHERE task = %s",
            (json.dumps(dict(marker.position), ensure_ascii=False), marker.key.digest()),
        )


def take_back(session: Session, added: Sequence[Added]) -> None:
    """Drop columns that a publish added for rows that didn't come; one that holds a value by now stays.

    When all go, the unique keys that were given up for them come back.
    """
    for one in added:
        standing = find(session, one.parts)
        if standing is None:
            continue
        idle = [
            name for name in one.columns if standing.column(name) is not None and _is_empty(session, standing, name)
        ]
        if not idle or len(idle) == len(standing.columns):
            continue
        clauses = _without(standing, idle)
        keys = [_restored(key) for key in one.keys] if len(idle) == len(one.columns) else []
        alter = f"ALTER TABLE {quote(*one.parts)} "
        try:
            session.run(alter + ", ".join([*clauses, *keys]))
        except DataError:  # rows have come from elsewhere that the old keys don't allow
            if not keys:
                raise
            session.run(alter + ", ".join(clauses))


def _is_empty(session: Session, standing: Standing, name: str) -> bool:
    return not session.ask(f"SELECT 1 FROM {standing.sql} WHERE {quote(name)} IS NOT NULL LIMIT 1")


def _without(standing: Standing, columns: Sequence[str]) -> list[str]:
    """The clauses that drop columns, and first the unique keys that hold them."""
    names = set(map(folded, columns))
    keys = [key.name for key in standing.uniques if names & set(map(folded, key.columns))]
    return [*(f"DROP INDEX {quote(name)}" for name in keys), *(f"DROP COLUMN {quote(name)}" for name in columns)]


def _restored(key: UniqueKey) -> str:
    return f"ADD {'PRIMARY KEY' if key.primary else f'UNIQUE KEY {quote(key.name)}'} ({columns_sql(key.columns)})"


def _as_json(added: Added) -> dict[str, Any]:
    keys = [{"name": key.name, "columns": list(key.columns)} for key in added.keys]
    return {"in": list(added.parts), "columns": list(added.columns), "keys": keys}


def _as_added(said: dict[str, Any]) -> Added:
    """What `_as_json` made, or a release before keys were given up."""
    keys = [UniqueKey(name=key["name"], columns=tuple(key["columns"])) for key in said.get("keys", [])]
    return Added(parts=(said["in"][0], said["in"][1]), columns=tuple(said["columns"]), keys=tuple(keys))
