"""Logs of runs, read on from where one left off, by level."""

from __future__ import annotations

from typing import Any, Final

from suiro.app.metadata import Metadata

LEVELS: Final = ("debug", "info", "warning", "error", "critical")  #: the worse, the later
_AT_ONCE: Final = 1000


def lines(
    run: str, metadata: Metadata, *, after: int | None = None, limit: int = 200, level: str = "debug"
) -> tuple[list[dict[str, Any]], int | None]:
    """Up to `limit` lines of that level and worse after the line of that id, and the id to go on after.

    That is None when the run has ended and its log was read to the end. ConfigError if there is no such run.
    """
    ended = metadata.runs.get(run).ended_at is not None
    names = {one.id: one.task for one in metadata.runs.task_runs(run)}
    worse = set(LEVELS[LEVELS.index(level) :])
    found: list[dict[str, Any]] = []
    while True:
        page = metadata.runs.log(run, after=after, limit=_AT_ONCE)
        for line in page:
            if line.level in worse or line.level not in LEVELS:
                task, told = names.get(line.task_run), {"at": line.at, "level": line.level, "text": line.text}
                found.append({"id": line.id, "task": task, "attempt": line.attempt, **told})
            after = line.id
            if len(found) == limit:
                return found, after
        if len(page) < _AT_ONCE:
            return found, None if ended else (after or 0)
