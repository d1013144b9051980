"""Ends of attempts, task runs and runs, all under the run's lock: whoever is the last sees that all others are done."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, select, update

from suiro.model.errors import ConfigError
from suiro.model.run import Status
from suiro.store.database import moment
from suiro.store.run_records import WORST_FIRST, Attempt, State, is_going
from suiro.store.tables import attempt, run, task_run

LOST: Final = "lost"  #: its lease ended and another attempt was made, or the task run given up
RELEASED: Final = "released"  #: its runner gave it back


def lock_run(connection: Connection, id: str) -> bool:
    """Hold the run's row until the transaction ends; whether its cancel was requested. ConfigError if there is none."""
    locked = select(run.c.cancel_requested_at).where(run.c.id == id).with_for_update(key_share=True)
    found = connection.execute(locked).first()
    if found is None:
        raise no_run(id)
    return found.cancel_requested_at is not None


def no_run(id: str) -> ConfigError:
    """The error for a run that isn't there."""
    return ConfigError(f"there is no run {id!r}", hint="See the list of runs; old ones are removed.")


def finish(connection: Connection, mine: Attempt, state: Status, result: Mapping[str, Any] | None) -> bool:
    """End the task run in the caller's own transaction, as `Runs.finish` promises."""
    lock_run(connection, mine.run)
    if not close_attempt(connection, mine.id, state.value, moment(connection)):
        return False
    end_task_run(connection, mine.task_run, State(state.value), result)
    end_run_if_done(connection, mine.run)
    return True


def request_cancel(connection: Connection, id: str) -> bool:
    """Ask a run to stop, as `Runs.request_cancel` promises."""
    lock_run(connection, id)
    at = moment(connection)
    asked = {"cancel_requested_at": at}
    if not connection.execute(update(run).where(run.c.id == id, is_going(run)).values(asked)).rowcount:
        return False
    queued = (task_run.c.run_id == id, task_run.c.state == State.QUEUED.value)
    connection.execute(update(task_run).where(*queued).values(state=State.CANCELLED.value, ended_at=at))
    end_run_if_done(connection, id)
    return True


def close_attempt(connection: Connection, id: int, outcome: str, at: datetime, *, expired: bool = False) -> bool:
    """End an attempt that holds its lease; False if it doesn't. `expired`: only if the lease has ended by `at`."""
    holds = [attempt.c.id == id, attempt.c.ended_at.is_(None)]
    if expired:
        holds.append(attempt.c.lease_until <= at)
    closed = update(attempt).where(*holds).values(ended_at=at, outcome=outcome)
    return connection.execute(closed).rowcount == 1


def end_task_run(connection: Connection, id: int, state: State, result: Mapping[str, Any] | None) -> None:
    """Write down how a task run ended; its attempt is closed before."""
    values = {"state": state.value, "result": result, "ended_at": moment(connection)}
    connection.execute(update(task_run).where(task_run.c.id == id).values(values))


def end_run_if_done(connection: Connection, id: str) -> None:
    """End the run, with the worst of its task runs' states, once none of them is still to do."""
    states = set(connection.execute(select(task_run.c.state).where(task_run.c.run_id == id)).scalars())
    if states & {State.QUEUED, State.RUNNING}:
        return
    overall = next((state for state in WORST_FIRST if state in states), State.SUCCEEDED)
    values = {"state": overall.value, "ended_at": moment(connection)}
    connection.execute(update(run).where(run.c.id == id, is_going(run)).values(values))
