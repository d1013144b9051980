"""Markers: the table in which an embedded database remembers how far each task has come."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime

import pyarrow as pa

from suiro.model.errors import Fenced
from suiro.model.job import TaskKey
from suiro.model.naming import join_name
from suiro.model.schema import Position
from suiro.spi.destination import Marker
from suiro.toolkit.sql.session import Session

MARKERS = "_suiro_markers"
_TEXTS = ("key", "source", "stream", "table_name", "run", "position", "claimed_at", "published_at")


class Markers:
    """`_suiro_markers` in one transaction; made when it is missing.

    `made_table` says that Suiro made the table. A marker is void when its table is missing.
    """

    def __init__(self, session: Session, parts: tuple[str, ...]) -> None:
        self._session = session
        self._table = session.dialect.qualified(parts)
        if not session.exists(parts):
            fields = [pa.field(name, pa.string()) for name in _TEXTS]
            schema = pa.schema([*fields, pa.field("epoch", pa.int64()), pa.field("made_table", pa.bool_())])
            session.create(parts, schema, ("key",))

    def claim(self, key: TaskKey, run: str, parts: tuple[str, ...]) -> tuple[int, Position | None]:
        """Raise the task's epoch; the new one, and the position that was published last."""
        digest, now, name = key.digest(), datetime.now(UTC).isoformat(), join_name(parts)
        known = self._session.ask(f"SELECT epoch, position FROM {self._table} WHERE key = ?", [digest])
        if not known:
            self._session.run(
                f"INSERT INTO {self._table} (key, source, stream, table_name, epoch, run, claimed_at, made_table) "
                "VALUES (?, ?, ?, ?, 1, ?, ?, FALSE)",
                [digest, key.source, key.stream, name, run, now],
            )
            return 1, None
        epoch, position = known[0]
        if not self._session.exists(parts):
            position = None
            self._session.run(f"UPDATE {self._table} SET made_table = FALSE WHERE table_name = ?", [name])
        self._session.run(
            f"UPDATE {self._table} SET epoch = ?, run = ?, claimed_at = ?, position = ? WHERE key = ?",
            [epoch + 1, run, now, position, digest],
        )
        return epoch + 1, None if position is None else json.loads(position)

    def fence(self, epochs: Mapping[str, int]) -> None:
        """Fenced if one of the tasks (by digest) was claimed again since."""
        for digest, epoch in epochs.items():
            found = self._session.ask(f"SELECT epoch, run FROM {self._table} WHERE key = ?", [digest])
            if not found or found[0][0] != epoch:
                by = f"by run {found[0][1]}" if found else "and its marker removed"
                raise Fenced(f"this task was taken over {by}; nothing was published")

    def move(self, marker: Marker, parts: tuple[str, ...], *, made: bool) -> None:
        """Save the position of a task that has been claimed."""
        self._session.run(
            f"UPDATE {self._table} SET position = ?, published_at = ?, table_name = ?, made_table = ? WHERE key = ?",
            [
                json.dumps(marker.position, ensure_ascii=False),
                datetime.now(UTC).isoformat(),
                join_name(parts),
                made,
                marker.key.digest(),
            ],
        )

    def made(self, parts: tuple[str, ...]) -> bool:
        """Whether Suiro made the table."""
        sql = f"SELECT count(*) FROM {self._table} WHERE table_name = ? AND made_table"
        return bool(self._session.ask(sql, [join_name(parts)])[0][0])
