"""Plans applied: batch by batch, in an order of acts that a crash between any two of them leaves whole.

Of each batch: what the records hold is written down; the application sends, and notes on the way what identifies the
sending; its answers are written down together with all that they change of what is known; what was sent is read back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from suiro.engine.context import RunContext
from suiro.engine.writeback.building import kept_aside, row_texts
from suiro.engine.writeback.ledger import Ledger
from suiro.engine.writeback.patience import patiently
from suiro.engine.writeback.present import Present, ids_of, matches, taken
from suiro.engine.writeback.standing import found_now
from suiro.engine.writeback.values import emptied, same
from suiro.model.errors import AuthError, UserError
from suiro.model.journal import (
    AFTER,
    ANSWERS,
    BEFORE,
    REFUSED,
    SENT,
    STANDING,
    Aim,
    Batch,
    BatchState,
    Kept,
    Part,
    Plan,
    PlanState,
    Settled,
    Standing,
)
from suiro.model.receipt import Level
from suiro.model.writeback import Action, ObjectFacts, Order, Outcome, RowResult
from suiro.spi.application import Application, Journal

Told = Callable[[str, int, int | None], None]

_TALLIED = {Action.UPDATE: "updated", Action.DELETE: "deleted", Action.INSERT: "created"}
_LOST = "what became of it can't be learned any more"


def apply_plan(
    plan: Plan,
    application: Application[Any],
    ledger: Ledger,
    context: RunContext,
    told: Told,
    *,
    run: str,
    verify: Level,
    force: bool,
) -> Plan:
    """Carry a plan out, or go on with it. Raises what stops it: called again it goes on where it stopped."""
    plan = ledger.plans.change(plan.id, PlanState.APPLYING, run=run, force=force)
    applying = _Applying(plan, application, ledger, context, verify)
    batches = ledger.batches.all(plan.id)
    total = sum(batch.rows for batch in batches if batch.part is Part.SEND)
    done = 0
    for batch in batches:
        context.check_cancelled()
        applying.settle(batch, lambda rows, done=done: told("sending", done + rows, total))  # type: ignore[misc]
        done += batch.rows if batch.part is Part.SEND else 0
        told("sending", done, total)
    return ledger.plans.change(plan.id, PlanState.APPLIED)


def stop_plan(
    plan: Plan, application: Application[Any], ledger: Ledger, context: RunContext, *, verify: Level, reachable: bool
) -> Plan:
    """Bring to its end what another run left under way, and nothing more: no row of it is sent a second time.

    Where the application refuses that, or is no longer the one that it was sent to (not `reachable`), what became of
    the rows is unknown.
    """
    applying = _Applying(plan, application, ledger, context, verify)
    for batch in ledger.batches.all(plan.id):
        if batch.state in (BatchState.SENDING, BatchState.ANSWERED):
            try:
                if not reachable:
                    raise UserError("the connection leads to another application by now")
                applying.settle(batch, lambda rows: None)
            except AuthError:
                raise
            except UserError as error:
                context.log.warning("batch %d of %s can't be brought to an end: %s", batch.number, plan.id, error)
                if batch.state is BatchState.SENDING:
                    applying.give_up(batch, error.message)
    return ledger.plans.change(plan.id, PlanState.STOPPED)


class _Applying:
    """A plan that is being applied."""

    def __init__(
        self, plan: Plan, application: Application[Any], ledger: Ledger, context: RunContext, verify: Level
    ) -> None:
        self.plan, self.application, self.ledger, self.context = plan, application, ledger, context
        self.verify = verify is not Level.ROWS

    @cached_property
    def _described(self) -> tuple[ObjectFacts, pa.Schema]:
        return self.application.describe(str(self.plan.settings["object"]))

    @property
    def facts(self) -> ObjectFacts:
        return self._described[0]

    @property
    def types(self) -> pa.Schema:
        return self._described[1]

    @property
    def present(self) -> Present:
        return Present(self.application, self.facts.name, self.facts.record_id, self.types)

    def settle(self, batch: Batch, told: Callable[[int], None]) -> None:
        """Do what a batch is there for, from where it stands."""
        if batch.state is BatchState.DONE:
            return
        rows = self.ledger.batches.rows(self.plan.id, batch.number)
        match batch.part:
            case Part.SEND:
                self._send(batch, rows, told)
            case Part.KNOW:
                self._settled(batch, self._nothing_answered(rows.num_rows), _known(rows), {}, done=True)
            case Part.REFUSE:
                self._settled(batch, self._nothing_answered(rows.num_rows), None, {}, refused=rows, done=True)
            case Part.CONFLICT:
                self._settled(batch, self._nothing_answered(rows.num_rows), None, {}, done=True)
            case Part.FORGET:
                self.ledger.batches.forgotten(self.plan.id, batch.number, rows.column("k").to_pylist())

    def give_up(self, batch: Batch, why: str) -> None:
        """What became of a batch's rows can't be learned."""
        rows = self.ledger.batches.rows(self.plan.id, batch.number)
        found = self.ledger.batches.found(self.plan.id, batch.number)
        assert batch.order is not None and found is not None
        lost = [RowResult(row=at, outcome=Outcome.UNKNOWN, message=f"{_LOST}: {why}") for at in range(_sent(found))]
        self._answer(batch, batch.order, rows, found, lost, resumed=True, done=True)

    def _nothing_answered(self, count: int) -> pa.RecordBatch:
        return pa.RecordBatch.from_arrays([pa.nulls(count, field.type) for field in ANSWERS], schema=ANSWERS)

    def _settled(
        self,
        batch: Batch,
        answers: pa.RecordBatch,
        sent: pa.RecordBatch | None,
        tally: dict[str, int],
        *,
        refused: pa.RecordBatch | None = None,
        done: bool,
    ) -> None:
        settled = Settled(
            answers=answers,
            sent=pa.RecordBatch.from_pylist([], SENT) if sent is None else sent,
            refused=pa.RecordBatch.from_pylist([], REFUSED) if refused is None else refused,
            tally=tally,
            guarded=self.plan.aim is Aim.UNDO,
        )
        self.ledger.batches.answered(self.plan.id, batch.number, settled, done=done)

    # -- rows that are sent ------------------------------------------------------------------------------------------

    def _send(self, batch: Batch, rows: pa.RecordBatch, told: Callable[[int], None]) -> None:
        order, books = batch.order, self.ledger.batches
        assert order is not None
        if batch.state is not BatchState.ANSWERED:
            resumed = batch.state is BatchState.SENDING
            if resumed:
                found = books.found(self.plan.id, batch.number)
                assert found is not None
            else:
                found = found_now(
                    rows, order, self.present, self.facts, self.types, self.context, force=self.plan.force
                )
                books.sending(self.plan.id, batch.number, found)
            results, again = self._applied(order, rows, found, books.journal(self.plan.id, batch.number), told)
            self._answer(batch, order, rows, found, results, resumed=resumed or again, done=not self.verify)
        if self.verify:
            self._read_back(batch.number, order, rows)

    def _applied(
        self, order: Order, rows: pa.RecordBatch, found: pa.RecordBatch, journal: Journal, told: Callable[[int], None]
    ) -> tuple[list[RowResult], bool]:
        """The application's answers, and whether it was asked more than once."""
        chosen = rows.filter(pc.equal(found.column(STANDING), Standing.SEND.value))
        if not chosen.num_rows:
            return [], False
        wanted, tries = self._as_ordered(order, chosen), 0

        def act() -> list[RowResult]:
            nonlocal tries
            tries += 1
            return list(_counted(self.application.apply(order, wanted, journal), told))

        return patiently(self.context, act), tries > 1

    def _as_ordered(self, order: Order, rows: pa.RecordBatch) -> pa.RecordBatch:
        """The rows as an application takes them."""
        columns: dict[str, pa.Array] = {}
        if order.action in (Action.UPDATE, Action.DELETE):
            id_ = self.facts.record_id
            columns[id_] = ids_of(rows.column("#record"), self.types.field(id_).type)
        for name in rows.schema.names:
            if name.startswith(AFTER):
                columns[name.removeprefix(AFTER)] = rows.column(name)
        return pa.RecordBatch.from_arrays(
            list(columns.values()), schema=pa.schema([self.types.field(name) for name in columns])
        )

    def _answer(
        self,
        batch: Batch,
        order: Order,
        rows: pa.RecordBatch,
        found: pa.RecordBatch,
        results: list[RowResult],
        *,
        resumed: bool,
        done: bool,
    ) -> None:
        """Write the answers down, with all that they change."""
        states = found.column(STANDING).to_pylist()
        places = [at for at, state in enumerate(states) if state == Standing.SEND]
        answers: list[dict[str, Any]] = [{} for _ in states]
        for at in places:
            answers[at] = {"outcome": Outcome.UNKNOWN.value, "message": f"no answer: {_LOST}", "created": False}
        known = found.column("#record").to_pylist()
        for result in results:
            at = places[result.row]
            made = result.created or (resumed and order.action is Action.UPSERT and known[at] is None)
            answers[at] = {
                "outcome": result.outcome.value,
                "record": result.record or known[at],
                "created": made or order.action is Action.INSERT,
                "code": result.code,
                "message": result.message,
                "fields": list(result.fields),
            }
        tally = _tally(order, states, answers)
        whole = pa.RecordBatch.from_pylist([{**dict.fromkeys(ANSWERS.names), **answer} for answer in answers], ANSWERS)
        sent = self._transitions(order, rows, whole, states)
        refused = None if self.plan.aim is Aim.UNDO else _refused(rows, whole)
        self._settled(batch, whole, sent, tally, refused=refused, done=done)

    def _transitions(
        self, order: Order, rows: pa.RecordBatch, answers: pa.RecordBatch, states: list[Any]
    ) -> pa.RecordBatch:
        """What is known of rows from now on."""
        done = pc.fill_null(pc.equal(answers.column("outcome"), Outcome.DONE.value), False)
        alike = pa.array([state == Standing.SAME for state in states])
        known = _known(rows)
        if self.plan.aim is Aim.UNDO:
            whole = order.action is Action.UPDATE  # also where somebody changed a field since: it isn't ours any more
            return known if whole else known.filter(pc.or_(done, alike))
        record = pc.coalesce(answers.column("record"), known.column("record"))
        own = pc.if_else(alike, pc.fill_null(rows.column("#was_own"), False), known.column("own"))
        columns = {name: known.column(name) for name in SENT.names} | {"record": record, "own": own}
        return pa.RecordBatch.from_pydict(columns, schema=SENT).filter(pc.or_(done, alike))

    # -- what was sent, read back ------------------------------------------------------------------------------------

    def _read_back(self, number: int, order: Order, rows: pa.RecordBatch) -> None:
        answers = self.ledger.batches.answers(self.plan.id, number)
        assert answers is not None
        tally = dict(next(b.tally for b in self.ledger.batches.all(self.plan.id) if b.number == number))
        done = pc.fill_null(pc.equal(answers.column("outcome"), Outcome.DONE.value), False)
        at = np.flatnonzero(pc.and_(done, pc.is_valid(answers.column("record"))).to_numpy(zero_copy_only=False))
        tally["unread"] = int(pc.sum(done).as_py() or 0) - len(at)
        differs: pa.RecordBatch | None = None
        if len(at):
            fields = [name.removeprefix(AFTER) for name in rows.schema.names if name.startswith(AFTER)]
            records = answers.column("record").take(pa.array(at))
            now = self.present.by_record(records, fields, self.context)
            places, _ = matches(records.to_pylist(), now.column("#record").to_pylist())
            differs = self._differing(
                order, rows.take(pa.array(at)), taken(now, places), places >= 0, at, fields, tally
            )
        self.ledger.batches.compared(self.plan.id, number, differs, tally)

    def _differing(
        self,
        order: Order,
        rows: pa.RecordBatch,
        now: pa.RecordBatch,
        there: Any,
        at: Any,
        fields: list[str],
        tally: dict[str, int],
    ) -> pa.RecordBatch | None:
        """The rows whose records aren't what was sent, with what they hold; the numbers enter the tally."""
        tally["read_back"] = len(at)
        if order.action is Action.DELETE:
            wrong = there
        else:
            wrong = ~there
            tally["missing"] = int(wrong.sum())
            for name in fields:
                facts = self.facts.fields[name]
                after = emptied(rows.column(AFTER + name), facts)
                other = there & ~same(after, now.column(name), self.types.field(name))
                if name == order.by:
                    continue
                if other.any():
                    tally[f"differs.{name}"] = int(other.sum())
                wrong = wrong | other
        tally["differing"] = int(wrong.sum())
        if not wrong.any():
            return None
        places = pa.array(np.flatnonzero(wrong))
        columns = {"#row": pa.array(at[wrong], pa.int64()), "#there": pa.array(there[wrong])}
        return pa.RecordBatch.from_pydict(
            {**columns, **{BEFORE + name: now.column(name).take(places) for name in fields}}
        )


def _sent(found: pa.RecordBatch) -> int:
    return int(pc.sum(pc.equal(found.column(STANDING), Standing.SEND.value)).as_py() or 0)


def _known(rows: pa.RecordBatch) -> pa.RecordBatch:
    """What is known of rows once they are done."""
    named = {"k": "#k", "hash": "#hash", "record": "#record", "own": "#own", "was": "#was_hash"}
    return pa.RecordBatch.from_pydict({name: rows.column(mark) for name, mark in named.items()}, schema=SENT)


def _refused(rows: pa.RecordBatch, answers: pa.RecordBatch) -> pa.RecordBatch:
    """The rows that are kept aside, for the application's reasons or for want of an answer."""
    parts = []
    for outcome, kind in ((Outcome.REFUSED, Kept.REFUSED), (Outcome.UNKNOWN, Kept.UNKNOWN)):
        mask = pc.fill_null(pc.equal(answers.column("outcome"), outcome.value), False)
        some, why = rows.filter(mask), answers.filter(mask).to_pylist()
        values = [name for name in some.schema.names if name.startswith(AFTER)]
        texts = row_texts(some.select(values).rename_columns([name.removeprefix(AFTER) for name in values]))
        marks = some.select(["#k", "#hash", "#key", "#record"]).to_pylist()
        said = [
            {
                **{name.removeprefix("#"): value for name, value in mark.items()},
                "code": answer["code"],
                "message": answer["message"],
                "row": text,
                "fields": ", ".join(answer["fields"] or ()) or None,
            }
            for mark, answer, text in zip(marks, why, texts, strict=True)
        ]
        parts.append(kept_aside(said, kind))
    return pa.concat_batches(parts)


def _tally(order: Order, states: list[Any], answers: list[dict[str, Any]]) -> dict[str, int]:
    """How many rows of a batch came to what."""
    found: dict[str, int] = {"sent": 0}
    for state, answer in zip(states, answers, strict=True):
        outcome = answer.get("outcome")
        kind = state if outcome is None else outcome
        if outcome == Outcome.DONE:
            updates = order.action is Action.UPSERT and not answer["created"]
            kind = "updated" if updates else _TALLIED.get(order.action, "created")
        found["sent"] += outcome is not None
        found[kind] = found.get(kind, 0) + 1
    return found


def _counted(results: Iterator[RowResult], told: Callable[[int], None]) -> Iterator[RowResult]:
    for number, result in enumerate(results, 1):
        if number % 100 == 0:
            told(number)
        yield result
