"""The scheduler of a server: what fires when a moment of a job's schedule is due."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from suiro.app import running
from suiro.app.documents import JobDocument
from suiro.app.metadata import Metadata
from suiro.app.treasure import sessions
from suiro.model.errors import UserError
from suiro.runtime.scheduler import Scheduler
from suiro.store.firings import TRIGGER
from suiro.store.schedules import Due


def scheduler(
    metadata: Metadata, *, clock: Callable[[], datetime] | None = None, tick_seconds: float = 1.0
) -> Scheduler:
    """A scheduler over this metadata. The runs that it begins are carried by whichever runner serves."""
    return Scheduler(metadata.schedules, lambda due: _fire(due, metadata), clock=clock, tick_seconds=tick_seconds)


def _fire(due: Due, metadata: Metadata) -> str | None:
    """Begin a run of the job under the moment's id; None if the job runs already."""
    job = metadata.jobs.get(due.job)
    begin = sessions.run if JobDocument.model_validate(job.settings).treasure is not None else running.start
    try:
        begin(due.job, metadata, trigger=TRIGGER, run=due.run, scheduled_for=due.scheduled_for)
    except UserError:
        if running.goes(due.job, metadata):
            return None
        raise
    return due.run
