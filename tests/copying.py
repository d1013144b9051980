"""Copies that tests run in their own process, with the settings that `suiro copy` would have."""

from __future__ import annotations

import itertools
from typing import Any

from suiro.app.runs import Copy, Copying
from suiro.model.job import Task
from suiro.model.run import Run, TaskRun

_numbers = itertools.count(1)


def copy(source: str, destination: str, stream: str, *, run: str | None = None, **task: Any) -> TaskRun:
    """Copy one stream; what came of it."""
    done = copy_all(source, destination, (stream,), run=run, **task)
    assert len(done.tasks) == 1
    return done.tasks[0]


def copy_all(source: str, destination: str, streams: tuple[str, ...], *, run: str | None = None, **task: Any) -> Run:
    """Copy several streams; none: all."""
    asked = Copy(
        source=source,
        destination=destination,
        streams=streams,
        task=Task(stream="", **task),
        run=run or f"test-{next(_numbers)}",
    )
    return Copying(asked).run()


def copied(source: str, destination: str, stream: str, **more: Any) -> TaskRun:
    """Copy one stream, which succeeds and whose receipt adds up."""
    done = copy(source, destination, stream, **more)
    assert done.error is None, done.error
    assert done.receipt is not None and done.receipt.equal and done.receipt.adds_up
    return done
