"""The batches of a plan: their rows, what was found before the sending, notes on the way, and the answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import pyarrow as pa
from sqlalchemy import Connection, func, insert, select, update

from suiro.model.errors import InternalError
from suiro.model.journal import Batch, BatchState, Part, Settled
from suiro.model.schema import Json
from suiro.model.writeback import Action, Order
from suiro.store.arrow_bytes import packed, unpacked
from suiro.store.ledger_known import forget_aside, keep_aside, note_sent
from suiro.store.ledger_session import LedgerSession
from suiro.store.ledger_tables import batch, note, plan

_HEAD: Final = (batch.c.number, batch.c.part, batch.c.order, batch.c.rows, batch.c.state, batch.c.tally)


class Batches:
    """The batches of one task's plans."""

    def __init__(self, session: LedgerSession) -> None:
        self._session = session

    def add(self, plan_id: str, part: Part, order: Order | None, data: pa.RecordBatch) -> None:
        """One more batch, after those that the plan has."""
        with self._session.write() as connection:
            last = connection.execute(select(func.max(batch.c.number)).where(batch.c.plan == plan_id)).scalar()
            values = {
                "plan": plan_id,
                "number": 0 if last is None else last + 1,
                "part": part.value,
                "order": None if order is None else _as_plain(order),
                "rows": data.num_rows,
                "state": BatchState.PLANNED.value,
                "tally": {},
                "data": packed(data),
            }
            connection.execute(insert(batch).values(values))

    def all(self, plan_id: str) -> Sequence[Batch]:
        """The batches of a plan, in their order."""
        asked = select(*_HEAD).where(batch.c.plan == plan_id).order_by(batch.c.number)
        with self._session.read() as connection:
            return [_record(row) for row in connection.execute(asked).all()]

    def rows(self, plan_id: str, number: int) -> pa.RecordBatch:
        """A batch's rows."""
        found = self._blob(plan_id, number, "data")
        if found is None:
            raise InternalError(f"batch {number} of {plan_id} has no rows")
        return found

    def found(self, plan_id: str, number: int) -> pa.RecordBatch | None:
        """What was found right before a batch was sent; None if it wasn't."""
        return self._blob(plan_id, number, "found")

    def answers(self, plan_id: str, number: int) -> pa.RecordBatch | None:
        """The answers, as model/journal's `ANSWERS`; None while there are none."""
        return self._blob(plan_id, number, "answers")

    def differs(self, plan_id: str, number: int) -> pa.RecordBatch | None:
        """Of what was read back, the rows that aren't what was sent: `#row`, and the values as `-Field`."""
        return self._blob(plan_id, number, "differs")

    def sending(self, plan_id: str, number: int, found: pa.RecordBatch) -> None:
        """Rows are about to leave: keep what was found before."""
        self._set(plan_id, number, state=BatchState.SENDING.value, found=packed(found))

    def journal(self, plan_id: str, number: int) -> BatchJournal:
        """The notes on the sending of one batch."""
        return BatchJournal(self._session, plan_id, number)

    def answered(self, plan_id: str, number: int, settled: Settled, *, done: bool) -> None:
        """Keep the answers, and all that they change of what is known; `done`: nothing is to be read back."""
        with self._session.write() as connection:
            owner = connection.execute(select(plan.c.scope, plan.c.run).where(plan.c.id == plan_id)).one()
            name, scope = self._session.name, owner.scope
            note_sent(connection, name, scope, settled.sent, guarded=settled.guarded)
            forget_aside(connection, name, scope, settled.sent.column("k").to_pylist())
            keep_aside(connection, name, scope, owner.run or "", settled.refused)
            values = {
                "state": (BatchState.DONE if done else BatchState.ANSWERED).value,
                "answers": packed(settled.answers),
                "tally": settled.tally,
            }
            self._update(connection, plan_id, number, values)

    def forgotten(self, plan_id: str, number: int, ks: Sequence[str]) -> None:
        """Keep these rows aside no more; the batch is done."""
        with self._session.write() as connection:
            scope = connection.execute(select(plan.c.scope).where(plan.c.id == plan_id)).scalar_one()
            forget_aside(connection, self._session.name, scope, ks)
            self._update(connection, plan_id, number, {"state": BatchState.DONE.value})

    def compared(self, plan_id: str, number: int, differs: pa.RecordBatch | None, tally: Mapping[str, int]) -> None:
        """The batch was read back, and is done."""
        blob = None if differs is None else packed(differs)
        self._set(plan_id, number, state=BatchState.DONE.value, differs=blob, tally=dict(tally))

    def _set(self, plan_id: str, number: int, **values: Any) -> None:
        with self._session.write() as connection:
            self._update(connection, plan_id, number, values)

    def _update(self, connection: Connection, plan_id: str, number: int, values: Mapping[str, Any]) -> None:
        connection.execute(update(batch).where(batch.c.plan == plan_id, batch.c.number == number).values(values))

    def _blob(self, plan_id: str, number: int, column: str) -> pa.RecordBatch | None:
        asked = select(batch.c[column]).where(batch.c.plan == plan_id, batch.c.number == number)
        with self._session.read() as connection:
            found = connection.execute(asked).scalar()
        return None if found is None else unpacked(found)


class BatchJournal:
    """Implements `spi.application.Journal` in the ledger."""

    def __init__(self, session: LedgerSession, plan_id: str, number: int) -> None:
        self._session, self._plan, self._number = session, plan_id, number

    def notes(self) -> Sequence[dict[str, Json]]:
        return list(self._read())

    def note(self, said: dict[str, Json]) -> None:
        with self._session.write() as connection:
            connection.execute(insert(note).values(plan=self._plan, batch=self._number, said=said))

    def _read(self) -> Iterator[dict[str, Json]]:
        asked = select(note.c.said).where(note.c.plan == self._plan, note.c.batch == self._number).order_by(note.c.id)
        with self._session.read() as connection:
            yield from connection.execute(asked).scalars()


def _as_plain(order: Order) -> dict[str, Any]:
    options = None if order.options is None else dict(order.options)
    return {"object": order.object, "action": order.action.value, "by": order.by, "options": options}


def _record(row: Any) -> Batch:
    order = None if row.order is None else Order(**{**row.order, "action": Action(row.order["action"])})
    return Batch(
        number=row.number, part=Part(row.part), order=order, rows=row.rows, state=BatchState(row.state), tally=row.tally
    )
