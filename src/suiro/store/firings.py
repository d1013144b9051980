"""Firings: moments of schedules entered once each, taken by one server at a time, and what became of them.

Every change here takes its turn under the lock for what users set up, which making a run takes, too: whether a job runs
is the same from the look at it to the end of the transaction, but for runs that end.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, and_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from suiro.model.errors import InternalError
from suiro.model.schedule import CatchUp, Overlap
from suiro.store import run_lists
from suiro.store.database import edit_lock, moment
from suiro.store.endings import request_cancel
from suiro.store.firing_records import Due, FiringOutcome, Moment, StoredSchedule
from suiro.store.run_records import State, is_going
from suiro.store.tables import firing, job, run
from suiro.store.tables import schedule as table

OPEN = (FiringOutcome.QUEUED.value, FiringOutcome.STARTING.value)
MOST_DEATHS: Final = 10  #: of servers that take a moment, before nobody takes it any more
TRIGGER = "schedule"  #: of runs that a schedule begins
PAUSED = "the schedule was paused before its turn came"
CHANGED = "the schedule was changed before its turn came"
GONE = "the schedule was taken away before its turn came"
_STILL = "the job still ran"
_LATER = "a later moment took its place"
_BEHIND = "another moment waited already"
_AWAY = "no server watched the clock then"
_DEADLY = "its run can't be begun: each server that tried ended before it was"
_KEY = ("job_id", "scheduled_for")


def run_of(job_id: str, scheduled_for: datetime) -> str:
    """The id of the run of a moment, the same for whoever begins it: so it is begun once."""
    digest = hashlib.sha256(f"{job_id} {scheduled_for.isoformat()}".encode()).hexdigest()
    return f"{scheduled_for:%Y%m%dT%H%M%S}-{digest[:10]}"


def enter(connection: Connection, found: StoredSchedule, moments: Sequence[Moment], upto: datetime) -> bool:
    """Write moments down and count them as decided, as `Schedules.enter` promises."""
    edit_lock(connection)
    if not _is_still(connection, found):
        return False
    going, waiting, starting = _busy(connection, found.job_id)
    overlap = Overlap(found.schedule.get("overlap", Overlap.SKIP))
    patient = CatchUp(found.schedule.get("catch_up", CatchUp.LAST)) is CatchUp.ALL
    if overlap is Overlap.CANCEL and starting and any(one.fires for one in moments):
        return False  # a run that is being begun can't be stopped yet; the next tick looks again
    at = moment(connection)
    _insert_missed(connection, found.job_id, [one for one in moments if not one.fires], at)
    enter_one = partial(_insert, connection, found.job_id, at=at)
    for one in (one for one in moments if one.fires):
        if (patient and (one.late or waiting)) or (going is None and not waiting):
            waiting += enter_one(one, FiringOutcome.QUEUED)
        elif overlap is Overlap.SKIP or (overlap is Overlap.QUEUE and waiting > starting):
            why = _STILL if overlap is Overlap.SKIP else _BEHIND
            enter_one(one, FiringOutcome.SKIPPED, run_id=going, message=why)
        else:
            if overlap is Overlap.CANCEL:
                drop_queued(connection, found.job_id, _LATER)
                _stop(connection, found.job_id)
                waiting = 0
            waiting += enter_one(one, FiringOutcome.QUEUED)
    connection.execute(update(table).where(table.c.job_id == found.job_id).values(upto=upto))
    return True


def rewind(connection: Connection, found: StoredSchedule, to: datetime) -> None:
    """Count from another, earlier moment: the clock was put back. What is written down stays."""
    edit_lock(connection)
    if _is_still(connection, found):
        earlier = {"upto": to, "since": min(found.since, to)}
        connection.execute(update(table).where(table.c.job_id == found.job_id).values(earlier))


def take(connection: Connection, job_id: str, owner: str, lease: timedelta) -> Due | None:
    """The oldest open moment of a job, as `Schedules.take` promises."""
    edit_lock(connection)
    at = moment(connection)
    _settle(connection, job_id, at)
    going, _, starting = _busy(connection, job_id, at)
    if going is not None or starting:
        return None
    oldest = select(firing).where(_open(job_id)).order_by(firing.c.scheduled_for).limit(1)
    found = connection.execute(oldest).first()
    name = connection.execute(select(job.c.name).where(job.c.id == job_id)).scalar()
    if found is None or name is None:
        return None
    due = Due(
        firing=found.id,
        job_id=job_id,
        job=name,
        scheduled_for=found.scheduled_for,
        due_at=found.due_at,
        run=run_of(job_id, found.scheduled_for),
        tries=found.tries + 1,
    )
    if found.outcome == FiringOutcome.STARTING.value and found.tries >= MOST_DEATHS:
        _keep_failed(
            connection, due, {"code": InternalError.code, "message": _DEADLY, "hint": "See the servers' logs."}
        )
        return None
    taken = {
        "outcome": FiringOutcome.STARTING.value,
        "owner": owner,
        "lease_until": at + lease,
        "tries": found.tries + 1,
    }
    connection.execute(update(firing).where(firing.c.id == found.id).values(taken))
    return due


def started(connection: Connection, due: Due) -> bool:
    """Write down that the moment's run was begun; False if there is no such run."""
    edit_lock(connection)
    begun = connection.execute(select(run.c.created_at).where(run.c.id == due.run)).scalar()
    if begun is not None:
        _end(connection, due.firing, FiringOutcome.STARTED, fired_at=begun, run_id=due.run, code=None, message=None)
    return begun is not None


def busy(connection: Connection, due: Due) -> None:
    """Give a moment back whose run can't be begun because the job runs: it waits, or is skipped."""
    edit_lock(connection)
    if started(connection, due) or not _mine(connection, due):
        return
    said = connection.execute(select(job.c.schedule).where(job.c.id == due.job_id)).scalar() or {}
    going, _, _ = _busy(connection, due.job_id)
    overlap = Overlap(said.get("overlap", Overlap.SKIP))
    waits = CatchUp(said.get("catch_up", CatchUp.LAST)) is CatchUp.ALL or overlap is not Overlap.SKIP
    if going is None or waits:
        if going is not None and overlap is Overlap.CANCEL:
            _stop(connection, due.job_id)
        _end(connection, due.firing, FiringOutcome.QUEUED)
    else:
        _end(connection, due.firing, FiringOutcome.SKIPPED, run_id=going, message=_STILL)


def later(connection: Connection, due: Due, wait: timedelta) -> None:
    """Leave a moment to whoever looks after so long: its run could not be begun just now."""
    edit_lock(connection)
    if not started(connection, due) and _mine(connection, due):
        until = {"lease_until": moment(connection) + wait}
        connection.execute(update(firing).where(firing.c.id == due.firing).values(until))


def failed(connection: Connection, due: Due, failure: Mapping[str, Any]) -> None:
    """Write down why a moment's run could not be begun, and a run that has failed for it, for all to see."""
    edit_lock(connection)
    if started(connection, due) or not _mine(connection, due):
        return
    name = connection.execute(select(job.c.name).where(job.c.id == due.job_id)).scalar_one()
    _keep_failed(connection, replace(due, job=name), failure)


def drop_queued(connection: Connection, job_id: str, why: str) -> None:
    """Skip what waits for its turn."""
    waits = (firing.c.job_id == job_id, firing.c.outcome == FiringOutcome.QUEUED.value)
    connection.execute(update(firing).where(*waits).values(outcome=FiringOutcome.SKIPPED.value, message=why))


def _keep_failed(connection: Connection, due: Due, failure: Mapping[str, Any]) -> None:
    settings = {"notes": [], "error": dict(failure), "scheduled_for": due.scheduled_for.isoformat()}
    run_lists.create(connection, due.run, [], trigger=TRIGGER, job=due.job, settings=settings, retry_of=None)
    connection.execute(update(run).where(run.c.id == due.run).values(state=State.FAILED.value))
    told = {"run_id": due.run, "code": failure["code"], "message": failure["message"]}
    _end(connection, due.firing, FiringOutcome.FAILED, **told)


def _is_still(connection: Connection, found: StoredSchedule) -> bool:
    """Whether the schedule is as it was when it was looked at."""
    wanted = select(job.c.schedule, table.c.upto, table.c.paused_at).join(table, table.c.job_id == job.c.id)
    now = connection.execute(wanted.where(job.c.id == found.job_id)).first()
    return now is not None and (now.schedule, now.upto, now.paused_at) == (found.schedule, found.upto, None)


def _busy(connection: Connection, job_id: str, at: datetime | None = None) -> tuple[str | None, int, int]:
    """The newest run of the job that still goes, how many moments are open, and how many of these are being begun.

    `at`: count only those whose starter has time left.
    """
    goes = select(run.c.id).where(run.c.job_id == job_id, is_going(run)).order_by(run.c.created_at.desc()).limit(1)
    going = connection.execute(goes).scalar()
    rows = connection.execute(select(firing.c.outcome, firing.c.lease_until).where(_open(job_id))).all()
    starting = [row for row in rows if row.outcome == FiringOutcome.STARTING.value]
    alive = [row for row in starting if at is None or row.lease_until > at]
    return going, len(rows), len(alive)


def _open(job_id: str) -> ColumnElement[bool]:
    return and_(firing.c.job_id == job_id, firing.c.outcome.in_(OPEN))


def _settle(connection: Connection, job_id: str, at: datetime) -> None:
    """Finish the firings whose starter is gone, where it had begun the run already, or the schedule counts anew."""
    since = connection.execute(select(table.c.since).where(table.c.job_id == job_id)).scalar()
    left = and_(firing.c.outcome == FiringOutcome.STARTING.value, firing.c.lease_until <= at)
    for row in connection.execute(select(firing.c.id, firing.c.scheduled_for).where(_open(job_id), left)).all():
        id = run_of(job_id, row.scheduled_for)
        begun = connection.execute(select(run.c.created_at).where(run.c.id == id)).scalar()
        if begun is not None:
            _end(connection, row.id, FiringOutcome.STARTED, fired_at=begun, run_id=id)
        elif since is None or row.scheduled_for <= since:
            _end(connection, row.id, FiringOutcome.SKIPPED, message=CHANGED)


def _mine(connection: Connection, due: Due) -> bool:
    """Whether the moment is still being begun, on this try."""
    same = (firing.c.id == due.firing, firing.c.outcome == FiringOutcome.STARTING.value, firing.c.tries == due.tries)
    return connection.execute(select(firing.c.id).where(*same)).first() is not None


def _stop(connection: Connection, job_id: str) -> None:
    for id in connection.execute(select(run.c.id).where(run.c.job_id == job_id, is_going(run))).scalars().all():
        request_cancel(connection, id)


def _end(connection: Connection, id: int, outcome: FiringOutcome, **values: Any) -> None:
    changes = {"outcome": outcome.value, "owner": None, "lease_until": None, **values}
    connection.execute(update(firing).where(firing.c.id == id).values(changes))


def _insert(
    connection: Connection, job_id: str, one: Moment, outcome: FiringOutcome, *, at: datetime, **values: Any
) -> int:
    """Write a moment down once; how many rows that made or changed.

    One that is there stays as it is, but for one that was missed before the clock was put back, and comes again.
    """
    row = {**_row(job_id, one, outcome, at), **values}
    changes = {name: value for name, value in row.items() if name not in _KEY}
    missed = firing.c.outcome == FiringOutcome.MISSED.value
    made = _make(connection).values(row).on_conflict_do_update(index_elements=_KEY, set_=changes, where=missed)
    return connection.execute(made).rowcount


def _insert_missed(connection: Connection, job_id: str, moments: Sequence[Moment], at: datetime) -> None:
    """Write moments down that don't fire; those that are there stay as they are."""
    rows = [{**_row(job_id, one, FiringOutcome.MISSED, at), "message": _AWAY} for one in moments]
    if rows:
        connection.execute(_make(connection).on_conflict_do_nothing(index_elements=_KEY), rows)


def _make(connection: Connection) -> Any:
    """An INSERT in the system's own words, which may say what becomes of rows that are there."""
    return (sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert)(firing)


def _row(job_id: str, one: Moment, outcome: FiringOutcome, at: datetime) -> dict[str, Any]:
    return {
        "job_id": job_id,
        "scheduled_for": one.scheduled_for,
        "due_at": one.due_at,
        "decided_at": at,
        "outcome": outcome.value,
        "tries": 0,
        "run_id": None,
        "message": None,
    }
