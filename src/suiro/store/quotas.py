"""Quotas as they are stored: one window of each account, for all processes that use it.

Times are PostgreSQL's, which all nodes share, or this machine's for SQLite. When a clock was put back, a window goes
on for as long as it had left.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Row, Select, select, update

from suiro.model.account import Rate, Window
from suiro.store.database import Database, moment
from suiro.store.grants import inserted
from suiro.store.tables import account_quota as table

_SAME_SECONDS: Final = 0.5  #: two ends of a window that are as near mean the same


class Quotas:
    """Implements `spi.context.Quotas` for all processes that use this database. Every call is one short transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def take(self, key: str, rate: Rate) -> float:
        """As `spi.context.Quotas.take`."""
        with self._changed(key) as (window, now):
            return window.take(rate, now)

    def learn(self, key: str, *, left: int, seconds: float) -> None:
        """As `spi.context.Quotas.learn`. Nothing is written where nothing new is learnt."""
        with self._database.read() as connection:
            found = connection.execute(_one(key)).first()
            if found is not None:
                now = moment(connection).timestamp()
                window = _window(found, now)
                if now < window.ends and window.left <= left and abs(now + seconds - window.ends) < _SAME_SECONDS:
                    return
        with self._changed(key) as (window, now):
            window.learn(left, seconds, now)

    def pause(self, key: str, seconds: float) -> None:
        """As `spi.context.Quotas.pause`."""
        with self._changed(key) as (window, now):
            window.pause(seconds, now)

    @contextmanager
    def _changed(self, key: str) -> Iterator[tuple[Window, float]]:
        """An account's window and this moment; what was changed about the window is written."""
        with self._database.begin() as connection:
            locked = _one(key).with_for_update()
            found = connection.execute(locked).first()
            if found is None:
                connection.execute(inserted(connection, table, {"key": key, **_row(Window(), moment(connection))}))
                found = connection.execute(locked).one()
            at = moment(connection)
            window = _window(found, at.timestamp())
            before = astuple(window)
            yield window, at.timestamp()
            if astuple(window) != before or at < found.updated_at:
                connection.execute(update(table).where(table.c.key == key).values(_row(window, at)))


def _one(key: str) -> Select[Any]:
    return select(table).where(table.c.key == key)


def _window(found: Row[Any], now: float) -> Window:
    back = max(found.updated_at.timestamp() - now, 0.0)
    return Window(
        ends=found.ends_at.timestamp() - back,
        left=found.remaining,
        paused_until=found.paused_until.timestamp() - back,
    )


def _row(window: Window, at: datetime) -> dict[str, Any]:
    return {
        "ends_at": datetime.fromtimestamp(window.ends, UTC),
        "remaining": window.left,
        "paused_until": datetime.fromtimestamp(window.paused_until, UTC),
        "updated_at": at,
    }
