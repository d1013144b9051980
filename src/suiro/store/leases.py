"""Leases on task runs: which one is next, who has it, until when.

Rows are locked in one order everywhere, so that no two transactions wait for each other: the run, the attempt, the
task run. Claims take turns, so that limits hold exactly.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, func, insert, literal, or_, select, update

from suiro.store.columns import Utc
from suiro.store.database import claim_lock, moment
from suiro.store.endings import LOST, RELEASED, close_attempt, end_run_if_done, end_task_run, lock_run
from suiro.store.run_records import Attempt, Beat, Claimed, State, StoredRun, StoredTaskRun, record
from suiro.store.tables import attempt, run, task_run

_SILENT = "each time the process that ran it died, or couldn't be heard any more"
_held = and_(attempt.c.task_run_id == task_run.c.id, attempt.c.ended_at.is_(None))


def something_to_do(connection: Connection, only: str | None) -> bool:
    """Whether a task run waits or a lease has ended; limits may still say no."""
    return connection.execute(_waiting(moment(connection), only).limit(1)).first() is not None


def held(connection: Connection, id: str) -> bool:
    """Whether a lease of one of the run's task runs lives."""
    live = select(attempt.c.id).join(task_run, _held).where(task_run.c.run_id == id)
    return connection.execute(live.where(attempt.c.lease_until > moment(connection)).limit(1)).first() is not None


def claim(
    connection: Connection,
    owner: str,
    lease: timedelta,
    *,
    only: str | None,
    limits: Mapping[str, int],
    max_attempts: int,
) -> Claimed | None:
    """The oldest task run that may run now, as `Runs.claim` promises."""
    claim_lock(connection)
    at = moment(connection)
    _end_the_hopeless(connection, at, only, max_attempts)
    waiting = _within_limits(_waiting(at, only), at, _full(connection, at, limits))
    while (found := connection.execute(waiting.limit(1)).first()) is not None:
        lock_run(connection, found.run_id)
        at = moment(connection)  # whoever held this task run let go before now
        if found.attempt_id is not None and not close_attempt(connection, found.attempt_id, LOST, at, expired=True):
            continue  # it ended, or was extended, just now
        changes = {
            "state": State.RUNNING.value,
            "epoch": task_run.c.epoch + 1,
            "attempts": task_run.c.attempts + 1,
            "started_at": func.coalesce(task_run.c.started_at, literal(at, Utc)),
            "progress": None,
        }
        same = (task_run.c.id == found.id, task_run.c.state == found.state)
        taken = connection.execute(update(task_run).where(*same).values(changes).returning(*task_run.c)).first()
        if taken is not None:
            return _claimed(connection, taken, owner, at, lease)
    return None


def beat(connection: Connection, mine: Attempt, lease: timedelta, progress: Mapping[str, Any] | None) -> Beat:
    """Extend the lease, as `Runs.beat` promises."""
    mine_still = (attempt.c.id == mine.id, attempt.c.epoch == mine.epoch, attempt.c.ended_at.is_(None))
    extended = update(attempt).where(*mine_still).values(lease_until=moment(connection) + lease)
    fenced = not connection.execute(extended).rowcount
    if not fenced and progress is not None:
        connection.execute(update(task_run).where(task_run.c.id == mine.task_run).values(progress=progress))
    asked = connection.execute(select(run.c.cancel_requested_at).where(run.c.id == mine.run)).scalar()
    return Beat(fenced=fenced, cancel=asked is not None)


def release(connection: Connection, mine: Attempt) -> bool:
    """Give the task run back, as `Runs.release` promises."""
    asked = lock_run(connection, mine.run)
    if not close_attempt(connection, mine.id, RELEASED, moment(connection)):
        return False
    if asked:
        end_task_run(connection, mine.task_run, State.CANCELLED, None)
        end_run_if_done(connection, mine.run)
    else:
        back = {"state": State.QUEUED.value, "attempts": task_run.c.attempts - 1, "progress": None}
        connection.execute(update(task_run).where(task_run.c.id == mine.task_run).values(back))
    return True


def lose(connection: Connection, mine: Attempt, max_attempts: int, reason: str) -> bool:
    """Write down that the process died, as `Runs.lose` promises."""
    asked = lock_run(connection, mine.run)
    if not close_attempt(connection, mine.id, LOST, moment(connection)):
        return False
    attempts = connection.execute(select(task_run.c.attempts).where(task_run.c.id == mine.task_run)).scalar_one()
    if asked:
        end_task_run(connection, mine.task_run, State.CANCELLED, None)
    elif attempts >= max_attempts:
        end_task_run(connection, mine.task_run, State.FAILED, _given_up(attempts, reason))
    else:
        back = {"state": State.QUEUED.value, "progress": None}
        connection.execute(update(task_run).where(task_run.c.id == mine.task_run).values(back))
    end_run_if_done(connection, mine.run)
    return True


def _waiting(at: datetime, only: str | None) -> Select[Any]:
    expired = and_(task_run.c.state == State.RUNNING.value, attempt.c.lease_until <= at)
    waiting = (
        select(
            task_run.c.id, task_run.c.run_id, task_run.c.state, task_run.c.attempts, attempt.c.id.label("attempt_id")
        )
        .select_from(task_run.join(run, run.c.id == task_run.c.run_id).outerjoin(attempt, _held))
        .where(or_(task_run.c.state == State.QUEUED.value, expired))
        .order_by(task_run.c.id)
    )
    return waiting if only is None else waiting.where(task_run.c.run_id == only)


def _full(connection: Connection, at: datetime, limits: Mapping[str, int]) -> list[str]:
    """The connections that may not serve another task run."""
    if not limits:
        return []
    busy: Counter[str] = Counter()
    live = select(task_run.c.source, task_run.c.destination).join(attempt, _held).where(attempt.c.lease_until > at)
    for source, destination in connection.execute(live):
        busy.update({source, destination})
    return [name for name, limit in limits.items() if busy[name] >= limit]


def _within_limits(waiting: Select[Any], at: datetime, full: list[str]) -> Select[Any]:
    other = task_run.alias("other")
    theirs = attempt.alias("theirs")
    running = (
        select(func.count())
        .select_from(other.join(theirs, and_(theirs.c.task_run_id == other.c.id, theirs.c.ended_at.is_(None))))
        .where(other.c.run_id == run.c.id, theirs.c.lease_until > at)
        .correlate(run)
        .scalar_subquery()
    )
    return waiting.where(running < run.c.parallel, task_run.c.source.not_in(full), task_run.c.destination.not_in(full))


def _end_the_hopeless(connection: Connection, at: datetime, only: str | None, max_attempts: int) -> None:
    """End what lost its lease and shall not be tried again: cancelled runs, and what was tried often enough."""
    lost = _waiting(at, only).where(
        task_run.c.state == State.RUNNING.value,
        or_(run.c.cancel_requested_at.is_not(None), task_run.c.attempts >= max_attempts),
    )
    for found in connection.execute(lost.order_by(None).order_by(task_run.c.run_id)).all():
        asked = lock_run(connection, found.run_id)
        if not close_attempt(connection, found.attempt_id, LOST, at, expired=True):
            continue
        result = None if asked else _given_up(found.attempts, _SILENT)
        end_task_run(connection, found.id, State.CANCELLED if asked else State.FAILED, result)
        end_run_if_done(connection, found.run_id)


def _given_up(attempts: int, reason: str) -> dict[str, Any]:
    tries = "1 attempt" if attempts == 1 else f"{attempts} attempts"
    message = f"given up after {tries}: {reason}"
    return {"error": {"code": "internal_error", "message": message, "hint": "See the log, the memory and the disk."}}


def _claimed(connection: Connection, taken: Row[Any], owner: str, at: datetime, lease: timedelta) -> Claimed:
    values = {
        "task_run_id": taken.id,
        "number": taken.attempts,
        "epoch": taken.epoch,
        "owner": owner,
        "lease_until": at + lease,
        "started_at": at,
    }
    id = connection.execute(insert(attempt).values(values).returning(attempt.c.id)).scalar_one()
    begun = {"state": State.RUNNING.value, "started_at": func.coalesce(run.c.started_at, literal(at, Utc))}
    parent = connection.execute(update(run).where(run.c.id == taken.run_id).values(begun).returning(*run.c)).one()
    return Claimed(
        attempt=Attempt(
            id=id,
            task_run=taken.id,
            run=taken.run_id,
            number=taken.attempts,
            epoch=taken.epoch,
            owner=owner,
            lease_until=at + lease,
        ),
        task_run=record(StoredTaskRun, taken),
        run=record(StoredRun, parent),
    )
