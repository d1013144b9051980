"""Schedules of jobs as they are stored: from when they count, their firings, and who watches the clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, Row, and_, delete, func, insert, select, update

from suiro.model.errors import ConfigError
from suiro.store import firings
from suiro.store.database import Database, edit_lock, moment
from suiro.store.firing_records import Due, Firing, FiringOutcome, Moment, StoredSchedule, Watch
from suiro.store.names import unknown
from suiro.store.run_records import is_going, record
from suiro.store.tables import firing, run, scheduler
from suiro.store.tables import job as job_table
from suiro.store.tables import schedule as table

__all__ = ["Due", "Firing", "FiringOutcome", "Moment", "Schedules", "StoredSchedule", "Watch", "note"]

FORGET: Final = timedelta(days=7)  #: servers that have not ticked for so long


class Schedules:
    """The schedules of stored jobs. Every call is one transaction.

    Moments are entered once each, by whichever server is first; each that fires is taken by one server at a time, which
    begins its run and says so. A moment that was taken and not heard of again is taken anew once its lease is over.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def now(self) -> datetime:
        """This moment, by the clock that all servers share."""
        with self._database.read() as connection:
            return moment(connection)

    def all(self) -> tuple[StoredSchedule, ...]:
        """Every job's schedule, by the job's name."""
        with self._database.read() as connection:
            return _records(connection)

    def get(self, job: str) -> StoredSchedule:
        """A job's schedule; ConfigError if there is no such job, or it has none."""
        with self._database.read() as connection:
            return _get(connection, job)

    def pause(self, job: str) -> bool:
        """Let no moment fire until `resume`; what waits for its turn is skipped. False if it is paused already."""
        with self._database.begin() as connection:
            edit_lock(connection)
            found = _get(connection, job)
            if found.paused_at is None:
                firings.drop_queued(connection, found.job_id, firings.PAUSED)
                _change(connection, found, paused_at=moment(connection))
            return found.paused_at is None

    def resume(self, job: str) -> bool:
        """Let moments fire again, those from now on; False if it isn't paused."""
        with self._database.begin() as connection:
            edit_lock(connection)
            found = _get(connection, job)
            if found.paused_at is not None:
                at = moment(connection)
                _change(connection, found, paused_at=None, since=at, upto=at)
            return found.paused_at is not None

    def enter(self, found: StoredSchedule, moments: Sequence[Moment], upto: datetime) -> bool:
        """Write down what has come since the schedule was looked at (oldest first), and that it is decided up to then.

        A moment that fires waits for its turn, or is skipped, as the schedule's `overlap` and `catch_up` say. A moment
        that is written down already stays as it is. False, and nothing is written, if the schedule has changed since it
        was looked at.
        """
        with self._database.begin() as connection:
            return firings.enter(connection, found, moments, upto)

    def rewind(self, found: StoredSchedule, to: datetime) -> None:
        """Have a schedule count from an earlier moment, because the clock was put back; what fired does not again."""
        with self._database.begin() as connection:
            firings.rewind(connection, found, to)

    def take(self, job_id: str, owner: str, lease_seconds: float) -> Due | None:
        """The job's oldest moment whose run may be begun now; nobody else gets it until the lease is over.

        None if nothing waits, the job runs, or another one is being begun.
        """
        with self._database.begin() as connection:
            return firings.take(connection, job_id, owner, timedelta(seconds=lease_seconds))

    def started(self, due: Due) -> bool:
        """The run `due.run` was begun; False if there is no such run."""
        with self._database.begin() as connection:
            return firings.started(connection, due)

    def busy(self, due: Due) -> None:
        """The run can't be begun, because the job runs meanwhile: the moment waits again, or is skipped."""
        with self._database.begin() as connection:
            firings.busy(connection, due)

    def later(self, due: Due, seconds: float) -> None:
        """The run can't be begun now; it may be tried again after so long."""
        with self._database.begin() as connection:
            firings.later(connection, due, timedelta(seconds=seconds))

    def failed(self, due: Due, failure: Mapping[str, Any]) -> None:
        """The run can't be begun: kept is a failed run without tasks, whose settings hold the failure as `error`.

        `failure` holds `code`, `message` and `hint`. Nothing is written if the run was begun after all, or somebody
        else tries.
        """
        with self._database.begin() as connection:
            firings.failed(connection, due, failure)

    def history(self, job: str, limit: int = 20) -> tuple[Firing, ...]:
        """A job's newest moments, newest first; ConfigError if there is no such job."""
        with self._database.read() as connection:
            id = connection.execute(select(job_table.c.id).where(job_table.c.name == job)).scalar()
            if id is None:
                raise unknown(connection, job_table, "job", job)
            newest = select(firing).where(firing.c.job_id == id).order_by(firing.c.scheduled_for.desc()).limit(limit)
            return tuple(_firing(row) for row in connection.execute(newest))

    def newest(self) -> Mapping[str, Firing]:
        """The newest moment of each job that has one, by the job's id."""
        with self._database.read() as connection:
            last = select(firing.c.job_id, func.max(firing.c.scheduled_for).label("at")).group_by(firing.c.job_id)
            of_job = last.subquery()
            same = and_(firing.c.job_id == of_job.c.job_id, firing.c.scheduled_for == of_job.c.at)
            return {row.job_id: _firing(row) for row in connection.execute(select(firing).join(of_job, same))}

    def prune(self, older_than: datetime) -> int:
        """Take away moments before, but for those that are still open; how many. None of them fires again."""
        with self._database.begin() as connection:
            old = (firing.c.scheduled_for < older_than, firing.c.outcome.not_in(firings.OPEN))
            return connection.execute(delete(firing).where(*old)).rowcount

    def beat(self, owner: str, lease_seconds: float, starting: Sequence[int] = ()) -> None:
        """A server ticks: it is seen, and moments whose runs it is beginning (`Due.firing`) stay its for so long."""
        with self._database.begin() as connection:
            at = moment(connection)
            ticked = update(scheduler).where(scheduler.c.owner == owner).values(last_tick=at)
            if not connection.execute(ticked).rowcount:
                connection.execute(insert(scheduler).values(owner=owner, since=at, last_tick=at))
                connection.execute(delete(scheduler).where(scheduler.c.last_tick < at - FORGET))
            mine = (firing.c.owner == owner, firing.c.id.in_(starting))
            held = update(firing).where(*mine).values(lease_until=at + timedelta(seconds=lease_seconds))
            if starting:
                connection.execute(held)

    def leave(self, owner: str) -> None:
        """A server ticks no more."""
        with self._database.begin() as connection:
            connection.execute(delete(scheduler).where(scheduler.c.owner == owner))

    def watches(self, seconds: float) -> tuple[Watch, ...]:
        """The servers that have ticked within so long, the newest tick first."""
        with self._database.read() as connection:
            lately = scheduler.c.last_tick > moment(connection) - timedelta(seconds=seconds)
            found = connection.execute(select(scheduler).where(lately).order_by(scheduler.c.last_tick.desc()))
            return tuple(record(Watch, row) for row in found)


def note(
    connection: Connection,
    job_id: str,
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
    at: datetime,
) -> None:
    """Keep step with a job that is stored: a new or changed schedule counts from now on, one that is gone is over.

    What changes only `catch_up` or `overlap` leaves the moments as they are.
    """
    if after is None:
        connection.execute(delete(table).where(table.c.job_id == job_id))
        firings.drop_queued(connection, job_id, firings.GONE)
        return
    if before is not None and _moments(before) == _moments(after):
        return
    firings.drop_queued(connection, job_id, firings.CHANGED)
    anew = {"since": at, "upto": at}
    if not connection.execute(update(table).where(table.c.job_id == job_id).values(anew)).rowcount:
        connection.execute(insert(table).values(job_id=job_id, **anew))


def _moments(said: Mapping[str, Any]) -> tuple[object, ...]:
    """What a schedule's moments come from."""
    return said.get("cron"), said.get("timezone", "UTC"), said.get("delay", "0s")


def _records(connection: Connection, *where: Any) -> tuple[StoredSchedule, ...]:
    columns = (table.c.job_id, table.c.since, table.c.upto, table.c.paused_at, job_table.c.schedule)
    wanted = select(*columns, job_table.c.name.label("job")).join(job_table, job_table.c.id == table.c.job_id)
    rows = connection.execute(wanted.where(*where).order_by(job_table.c.name)).all()
    states = _states(connection)
    none = (0, False)
    return tuple(
        StoredSchedule(**row._mapping, open=states.get(row.job_id, none)[0], ready=states.get(row.job_id, none)[1])
        for row in rows
    )


def _states(connection: Connection) -> dict[str, tuple[int, bool]]:
    """Of jobs with open moments: how many these are, and whether one of them may be taken."""
    wanted = select(firing.c.job_id, firing.c.lease_until).where(firing.c.outcome.in_(firings.OPEN))
    leases: dict[str, list[datetime | None]] = {}
    for row in connection.execute(wanted):
        leases.setdefault(row.job_id, []).append(row.lease_until)
    if not leases:
        return {}
    at = moment(connection)
    goes = select(run.c.job_id).where(run.c.job_id.in_(list(leases)), is_going(run))
    going = set(connection.execute(goes).scalars())
    found = {}
    for job_id, until in leases.items():
        begun = [lease for lease in until if lease is not None]
        lost = any(lease <= at for lease in begun)
        found[job_id] = (len(until), lost or (not begun and job_id not in going))
    return found


def _get(connection: Connection, job: str) -> StoredSchedule:
    found = _records(connection, job_table.c.name == job)
    if found:
        return found[0]
    if connection.execute(select(job_table.c.id).where(job_table.c.name == job)).first() is None:
        raise unknown(connection, job_table, "job", job)
    raise ConfigError(f"the job {job!r} has no schedule", hint="Give it one: schedule: {cron: ...} in its document.")


def _change(connection: Connection, found: StoredSchedule, **values: Any) -> None:
    connection.execute(update(table).where(table.c.job_id == found.job_id).values(values))


def _firing(row: Row[Any]) -> Firing:
    named = {**row._mapping, "run": row.run_id, "outcome": FiringOutcome(row.outcome)}
    return Firing(**{one.name: named[one.name] for one in fields(Firing)})
