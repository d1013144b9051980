"""Plans of write-backs as plain data, and their rows page by page."""

from __future__ import annotations

from itertools import islice
from typing import Any

from suiro.app.metadata import Metadata
from suiro.app.writeback import Planning, plan_rows


def planned(job: str, task: str | None, metadata: Metadata) -> list[dict[str, Any]]:
    """A plan for each write-back of a job, or for one: `task`, and `plan` or `error`. ConfigError: there is none."""
    found = []
    for one in Planning().job(job, task, metadata):
        plain = {name: value for name, value in one.items() if name not in ("task", "error")}
        error = one.get("error")
        found.append({"task": one["task"], "plan": plain if error is None else None, "error": error})
    return found


def rows(plan: str, metadata: Metadata, start: int, number: int) -> tuple[list[dict[str, Any]], bool]:
    """Rows of a plan from that place on, and whether there are more. ConfigError if there is no such plan."""
    with plan_rows(plan, metadata) as found:
        taken = list(islice(found, start, start + number + 1))
    return taken[:number], len(taken) > number
