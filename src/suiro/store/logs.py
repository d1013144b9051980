"""Logs of task runs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, insert, select

from suiro.store.endings import lock_run
from suiro.store.run_records import Attempt, LogLine, record
from suiro.store.tables import log_line

Line = tuple[datetime, str, str]  #: when, level, text


def append(connection: Connection, mine: Attempt, lines: Sequence[Line]) -> None:
    """Write lines down, as `Runs.append_log` promises. Under the run's lock: who reads on after an id misses none."""
    if not lines:
        return
    lock_run(connection, mine.run)
    same = {"run_id": mine.run, "task_run_id": mine.task_run, "attempt": mine.epoch}
    rows = [{**same, "at": at, "level": level, "text": storable(text)} for at, level, text in lines]
    connection.execute(insert(log_line), rows)


def read(connection: Connection, run: str, task_run: int | None, after: int | None, most: int) -> tuple[LogLine, ...]:
    """Lines in their order, as `Runs.log` promises."""
    wanted = select(log_line).where(log_line.c.run_id == run)
    if task_run is not None:
        wanted = wanted.where(log_line.c.task_run_id == task_run)
    if after is not None:
        wanted = wanted.where(log_line.c.id > after)
    return tuple(record(LogLine, row) for row in connection.execute(wanted.order_by(log_line.c.id).limit(most)))


def storable(text: str) -> str:
    """The text with what no database takes (NUL, halves of surrogate pairs) written as an escape."""
    shown = text.replace("\0", "\\x00")
    return shown.encode("utf-8", "backslashreplace").decode("utf-8")
