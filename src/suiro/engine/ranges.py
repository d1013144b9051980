"""Parts of a stream and beginnings anew: a first value, windows of the cursor, a backfill, a resync."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from suiro.model.errors import ConfigError
from suiro.model.job import Task
from suiro.model.schema import ReadMode
from suiro.model.selection import KEYED, Resync, Selection, WriteMode
from suiro.spi.source import Source


def ranged(task: Task, selection: Selection, source: Source[Any]) -> Selection:
    """The selection with the task's range and windows; ConfigError where they make no sense."""
    if task.retry:
        return replace(selection, read_mode=ReadMode.FULL, cursor_field=None, where=None, look_back=None)
    if task.start is None and task.window is None and task.backfill is None:
        return selection
    cursor = selection.cursor_field
    if cursor is None:
        raise ConfigError("a start, a window or a backfill needs a cursor field", hint="Name it with cursor.")
    if not source.takes_ranges:
        raise ConfigError(
            f"{selection.stream.name} can't be read by ranges of {cursor}", hint="Leave start, window and backfill out."
        )
    field = selection.stream.schema.field(cursor)
    if task.backfill is not None:
        start, stop = (cursor_value(text, field) for text in task.backfill)
        if not start < stop:
            raise ConfigError(f"a backfill from {task.backfill[0]} to before {task.backfill[1]} holds nothing")
        return replace(selection, read_mode=ReadMode.FULL, start=start, stop=stop, look_back=None)
    if selection.read_mode is not ReadMode.INCREMENTAL:
        raise ConfigError("a start or a window belongs to an incremental read", hint="Read incrementally.")
    start = None if task.start is None else cursor_value(task.start, field)
    return replace(selection, start=start, window=task.window)


def begun_anew(task: Task) -> Task:
    """The task as it runs this once, when it is to begin anew or to fill in a range; ConfigError where it can't."""
    if [task.resync is not None, task.backfill is not None, task.retry].count(True) > 1:
        raise ConfigError("a resync, a backfill and a retry read different rows", hint="Ask for one of them.")
    if task.retry and task.query is not None:
        raise ConfigError("rejected rows of a query can't be carried again by themselves", hint="Run the query again.")
    if task.resync is None:
        return task
    if task.read is ReadMode.FULL:
        raise ConfigError(
            "a full read begins anew every time", hint="A resync is for tasks that are read incrementally."
        )
    return task


def writes(task: Task, write: WriteMode) -> WriteMode:
    """How the task writes this once; ConfigError where rows would be doubled or versions lost."""
    if task.retry:
        return WriteMode.APPEND if write is WriteMode.REPLACE else write
    if task.resync is Resync.REPLACE:
        if write is WriteMode.HISTORY:
            raise ConfigError("a history that is replaced loses its versions", hint="Refresh it instead.")
        return WriteMode.REPLACE
    if (task.resync is Resync.REFRESH or task.backfill is not None) and write not in KEYED:
        raise ConfigError(
            f"rows that are read again would be doubled by {write}", hint="Write with merge, or resync with replace."
        )
    return write


def cursor_value(text: str, field: pa.Field) -> Any:
    """A cursor value as users write it: 100, 1.5, 2026-01-31, 2026-01-31T12:00:00+09:00 (UTC where no zone is said)."""
    try:
        if pa.types.is_timestamp(field.type):
            return _moment(text, field.type).as_py()
        return pa.scalar(text).cast(field.type).as_py()
    except pa.ArrowInvalid as error:
        raise ConfigError(
            f"{text!r} is no value of {field.name}, which is {field.type}",
            hint="Write 2026-01-31, 2026-01-31T12:00:00+09:00, or a number, as the column has it.",
        ) from error


def _moment(text: str, type_: pa.TimestampType) -> pa.Scalar:
    if type_.tz is None:
        return pa.scalar(text).cast(type_)
    try:
        return pa.scalar(text).cast(type_)
    except pa.ArrowInvalid:
        naive = pa.scalar(text).cast(pa.timestamp(type_.unit))
        return pc.assume_timezone(naive, "UTC").cast(type_)
