"""The plans of a ledger: made, approved, applied, stopped, and thinned out when they are old."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, Row, delete, insert, select, update

from suiro.model.errors import ConfigError
from suiro.model.journal import Aim, Plan, PlanState
from suiro.store.database import moment
from suiro.store.ledger_session import LedgerSession
from suiro.store.ledger_tables import batch, plan, task

PREFIX: Final = "plan-"  #: of a plan's id
KEPT_UNAPPLIED: Final = 5  #: plans that nobody applied, of each task
KEPT_APPLIED: Final = 100  #: plans that were applied, of each task: these can be undone
_APPLIED: Final = (PlanState.APPLIED.value, PlanState.STOPPED.value, PlanState.APPLYING.value)


class Plans:
    """The plans of one task."""

    def __init__(self, session: LedgerSession) -> None:
        self._session = session

    def begin(
        self, aim: Aim, scope: str, settings: Mapping[str, Any], *, run: str | None = None, undoes: str | None = None
    ) -> Plan:
        """A new plan, to be filled with batches; those left half made are dropped, and so are old ones."""
        id_ = PREFIX + time.strftime("%Y%m%dT%H%M%S", time.gmtime()) + "-" + uuid.uuid4().hex[:6]
        with self._session.write() as connection:
            self._thin_out(connection)
            values = {
                "id": id_,
                "task": self._session.name,
                "aim": aim.value,
                "state": PlanState.MAKING.value,
                "scope": scope,
                "serial": self._serial(connection),
                "run": run,
                "undoes": undoes,
                "force": False,
                "settings": settings,
                "told": {},
                "made_at": moment(connection),
            }
            return _record(connection.execute(insert(plan).values(values).returning(*plan.c)).one())

    def get(self, id_: str) -> Plan:
        """The plan of that id; ConfigError if there is none."""
        with self._session.read() as connection:
            found = connection.execute(select(plan).where(plan.c.id == id_, self._mine)).first()
        if found is None:
            raise ConfigError(
                f"there is no plan {id_!r}", hint="Make one: suiro writeback plan JOB. Old ones are removed."
            )
        return _record(found)

    def all(self, *states: PlanState) -> Sequence[Plan]:
        """The task's plans, newest first; only those in these states, if any are given."""
        asked = select(plan).where(self._mine).order_by(plan.c.made_at.desc(), plan.c.id.desc())
        if states:
            asked = asked.where(plan.c.state.in_([state.value for state in states]))
        with self._session.read() as connection:
            return [_record(row) for row in connection.execute(asked)]

    def serial(self) -> int:
        """How many plans of the task were applied: one that was made when they were fewer is out of date."""
        with self._session.read() as connection:
            return self._serial(connection)

    def change(
        self,
        id_: str,
        state: PlanState,
        *,
        told: Mapping[str, Any] | None = None,
        run: str | None = None,
        force: bool | None = None,
    ) -> Plan:
        """Set the plan's state, and what else is given. One that begins to be applied makes all others out of date."""
        with self._session.write() as connection:
            values: dict[str, Any] = {"state": state.value}
            values |= {
                name: value for name, value in (("told", told), ("run", run), ("force", force)) if value is not None
            }
            before = connection.execute(select(plan.c.state).where(plan.c.id == id_)).scalar_one()
            if state is PlanState.APPLYING and before != state:
                counted = update(task).where(task.c.task == self._session.name).values(serial=task.c.serial + 1)
                values["serial"] = connection.execute(counted.returning(task.c.serial)).scalar_one()
            if state in (PlanState.APPLIED, PlanState.STOPPED):
                values["ended_at"] = moment(connection)
            changed = update(plan).where(plan.c.id == id_).values(values).returning(*plan.c)
            return _record(connection.execute(changed).one())

    @property
    def _mine(self) -> Any:
        return plan.c.task == self._session.name

    def _serial(self, connection: Connection) -> int:
        found = connection.execute(select(task.c.serial).where(task.c.task == self._session.name)).scalar()
        return int(found or 0)

    def _thin_out(self, connection: Connection) -> None:
        rows = connection.execute(
            select(plan.c.id, plan.c.state).where(self._mine).order_by(plan.c.made_at.desc())
        ).all()
        making = [row.id for row in rows if row.state == PlanState.MAKING]
        unapplied = [row.id for row in rows if row.state in (PlanState.PLANNED, PlanState.WAITING)]
        applied = [row.id for row in rows if row.state in _APPLIED]
        for id_ in (*making, *unapplied[KEPT_UNAPPLIED:], *applied[KEPT_APPLIED:]):
            connection.execute(delete(batch).where(batch.c.plan == id_))
            connection.execute(delete(plan).where(plan.c.id == id_))


def _record(row: Row[Any]) -> Plan:
    found = {name: value for name, value in row._mapping.items() if name != "task"}
    return Plan(**{**found, "aim": Aim(row.aim), "state": PlanState(row.state)})
