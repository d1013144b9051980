"""Where the ledgers of write-backs are kept."""

from __future__ import annotations

from suiro.app.home import home
from suiro.app.metadata import metadata_url
from suiro.store.jobs import StoredJob, StoredTask
from suiro.store.ledger import Ledgers

FOLDER = "writebacks"  #: in Suiro's home: a file for each task


def ledgers() -> Ledgers:
    """Beside the metadata: in files where that is SQLite's, else in its PostgreSQL database."""
    return Ledgers(metadata_url(), home() / FOLDER)


def ledger_name(job: StoredJob, task: StoredTask) -> str:
    """What a task's ledger is called, as long as the task lives, whatever it and its job are called."""
    return f"{job.id}-{task.id}"
