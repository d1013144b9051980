"""How much there is of what, for whoever watches the server."""

from __future__ import annotations

from sqlalchemy import func, select

from suiro.store.database import Database
from suiro.store.run_records import is_going
from suiro.store.tables import run, task_run


def runs_by_state(database: Database) -> dict[str, int]:
    """How many runs are kept in each state."""
    with database.read() as connection:
        found = connection.execute(select(run.c.state, func.count()).group_by(run.c.state))
        return {str(state): int(number) for state, number in found}


def open_task_runs(database: Database) -> dict[str, int]:
    """How many task runs are queued, and how many are running."""
    with database.read() as connection:
        wanted = select(task_run.c.state, func.count()).where(is_going(task_run)).group_by(task_run.c.state)
        return {str(state): int(number) for state, number in connection.execute(wanted)}
