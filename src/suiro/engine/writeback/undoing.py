"""Plans that take an applied plan back: fields that nobody changed since get what was found in them; others stay."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from suiro.engine.context import RunContext
from suiro.engine.writeback.building import Builder, Telling, kept_aside
from suiro.engine.writeback.ledger import Ledger
from suiro.engine.writeback.present import Present, matches, taken
from suiro.engine.writeback.values import same
from suiro.model.errors import ConfigError, UserError
from suiro.model.journal import AFTER, BEFORE, STANDING, Aim, Batch, Kept, Part, Plan, PlanState, Standing
from suiro.model.writeback import Action, Order, Outcome
from suiro.spi.application import Application

Told = Callable[[str, int, int | None], None]

_CONFLICTS: int = 50  #: that are told by name; the others are in the ledger


@dataclass(frozen=True, slots=True, kw_only=True)
class _Was:
    """What a batch did: its rows, what was found before, the answers, and the values that the records held after."""

    rows: pa.RecordBatch
    found: pa.RecordBatch
    answers: pa.RecordBatch
    fields: tuple[str, ...]
    after: dict[str, pa.Array]


def plan_undo(
    undone: Plan,
    application: Application[Any],
    ledger: Ledger,
    context: RunContext,
    told: Told,
    *,
    run: str,
    delete_inserted: bool,
) -> Plan:
    """A plan that gives the records back what an applied plan found in them. Changes nothing but the ledger.

    UserError if the plan wasn't applied. What was taken back before is found as it was, and left alone.
    """
    if undone.state not in (PlanState.APPLIED, PlanState.STOPPED):
        raise UserError(f"the plan {undone.id} wasn't applied", hint="There is nothing to undo.")
    settings = {**undone.settings, "delete_inserted": delete_inserted}
    plan = ledger.plans.begin(Aim.UNDO, undone.scope, settings, run=run, undoes=undone.id)
    return _Undoing(undone, plan, application, ledger, context, delete_inserted).whole(told)


class _Undoing:
    """A plan that takes another one back, being made."""

    def __init__(
        self,
        undone: Plan,
        plan: Plan,
        application: Application[Any],
        ledger: Ledger,
        context: RunContext,
        delete_inserted: bool,
    ) -> None:
        self.undone, self.plan, self.ledger, self.context = undone, plan, ledger, context
        self.delete_inserted = delete_inserted
        self.facts, self.types = application.describe(str(undone.settings["object"]))
        self.present = Present(application, self.facts.name, self.facts.record_id, self.types)
        self.build = Builder(ledger, plan, application.most_rows, context.budgets.ahead)
        self.telling = Telling()
        self.conflicts: list[dict[str, Any]] = []

    def whole(self, told: Told) -> Plan:
        batches = [b for b in self.ledger.batches.all(self.undone.id) if b.part in (Part.SEND, Part.KNOW)]
        total, done = sum(batch.rows for batch in batches), 0
        for kind in ("read", "update", "delete", "same", "left", "not_restored", "conflict", "unknown"):
            self.telling.count(kind, 0)
        for batch in reversed(batches):
            self.context.check_cancelled()
            answers = self.ledger.batches.answers(self.undone.id, batch.number)
            if answers is not None:  # else it was never sent
                rows = self.ledger.batches.rows(self.undone.id, batch.number)
                if batch.part is Part.KNOW:
                    self._know(rows)
                else:
                    self._batch(batch, rows, answers)
            done += batch.rows
            told("comparing", done, total)
        self.build.finish()
        told_of = {**self.telling.as_plain(), "conflicts": self.conflicts}
        return self.ledger.plans.change(self.plan.id, PlanState.PLANNED, told=told_of)

    def _batch(self, batch: Batch, rows: pa.RecordBatch, answers: pa.RecordBatch) -> None:
        order = batch.order
        found = self.ledger.batches.found(self.undone.id, batch.number)
        assert order is not None and found is not None
        was = self._was(batch, order, rows, found, answers)
        outcomes = answers.column("outcome").to_pylist()
        created = answers.column("created").to_pylist()
        records = answers.column("record").to_pylist()
        alike = [at for at, state in enumerate(found.column(STANDING).to_pylist()) if state == Standing.SAME]
        self._know(rows.take(pa.array(alike, pa.int64())))
        done = [at for at, said in enumerate(outcomes) if said == Outcome.DONE]
        lost = [at for at, said in enumerate(outcomes) if said == Outcome.UNKNOWN]
        self.telling.count("read", len(done) + len(lost))
        if order.action is Action.DELETE:
            self.telling.count("not_restored", len(done))
            self.telling.name("not_restored", rows.column("#key").take(pa.array(done[:5], pa.int64())).to_pylist())
            self.telling.count("unknown", len(lost))
            return
        new = [at for at in (*done, *lost) if created[at]]
        old = [at for at in (*done, *lost) if not created[at]]
        self._updated(was, [at for at in old if records[at] is not None])
        self._created(was, [at for at in new if records[at] is not None])
        self.telling.count("unknown", sum(records[at] is None for at in (*new, *old)))

    def _was(
        self, batch: Batch, order: Order, rows: pa.RecordBatch, found: pa.RecordBatch, answers: pa.RecordBatch
    ) -> _Was:
        names = [name.removeprefix(AFTER) for name in rows.schema.names if name.startswith(AFTER)]
        fields = tuple(name for name in names if name != order.by)
        after = {name: rows.column(AFTER + name) for name in fields}
        differs = self.ledger.batches.differs(self.undone.id, batch.number)
        if differs is not None:  # the application made something else of the values: that is what it held
            mask = np.zeros(rows.num_rows, bool)
            mask[differs.column("#row").to_numpy()] = True
            for name in fields:
                if BEFORE + name in differs.schema.names:
                    after[name] = pc.replace_with_mask(after[name], pa.array(mask), differs.column(BEFORE + name))
        return _Was(rows=rows, found=found, answers=answers, fields=fields, after=after)

    # -- what became of records --------------------------------------------------------------------------------------

    def _updated(self, was: _Was, at: Sequence[int]) -> None:
        """Records that were there: each field that holds what was sent gets back what it held."""
        if not at or not was.fields:  # without fields nothing was changed
            self._know(was.rows.take(pa.array(at, pa.int64())))
            return
        places = pa.array(at, pa.int64())
        rows, records = was.rows.take(places), was.answers.column("record").take(places)
        now, there = self._now(records, was.fields)
        keys = rows.column("#key").to_pylist()
        restore, clash = {}, {}
        for name in was.fields:
            type_ = self.types.field(name)
            before, after = was.found.column(BEFORE + name).take(places), was.after[name].take(places)
            back = same(now.column(name), before, type_)
            ours = same(now.column(name), after, type_) & there
            may = self.facts.fields[name].updatable
            restore[name] = ours & ~back if may else np.zeros(len(at), bool)
            clash[name] = there & ~back & ~restore[name]
            changed = np.flatnonzero(restore[name]).tolist()
            self.telling.changed(name, changed, keys, now.column(name), before)
        self._clashes(rows, records, clash, ~there)
        marks = _reversed(rows, records)
        masks = np.stack([restore[name] for name in was.fields], axis=1)
        patterns, which = np.unique(masks, axis=0, return_inverse=True)
        for number, pattern in enumerate(patterns):
            chosen = pa.array(np.flatnonzero(which == number), pa.int64())
            fields = [name for name, is_restored in zip(was.fields, pattern, strict=True) if is_restored]
            if not fields:
                self._know_reversed(marks.take(chosen))
                continue
            columns = {name: marks.column(name) for name in marks.schema.names}
            columns |= {AFTER + name: was.found.column(BEFORE + name).take(places) for name in fields}
            columns |= {BEFORE + name: now.column(name) for name in fields}
            self.telling.count("update", len(chosen))
            self.build.add(Part.SEND, self._order(Action.UPDATE), pa.RecordBatch.from_pydict(columns).take(chosen))

    def _created(self, was: _Was, at: Sequence[int]) -> None:
        """Records that were made: they go, if that is wanted and nobody changed them since."""
        if not at:
            return
        places = pa.array(at, pa.int64())
        rows, records = was.rows.take(places), was.answers.column("record").take(places)
        if not self.delete_inserted:
            self.telling.count("left", len(at))
            self.telling.name("left", rows.column("#key").slice(0, 5).to_pylist())
            return
        now, there = self._now(records, was.fields)
        clash = {
            name: there & ~same(now.column(name), was.after[name].take(places), self.types.field(name))
            for name in was.fields
        }
        self._clashes(rows, records, clash, np.zeros(len(at), bool))
        ours = there & ~np.any(np.stack([*clash.values(), np.zeros(len(at), bool)]), axis=0)
        marks = _reversed(rows, records)
        self._know_reversed(marks.filter(pa.array(~there)))
        columns = {name: marks.column(name) for name in marks.schema.names}
        columns |= {BEFORE + name: now.column(name) for name in was.fields}
        self.telling.count("delete", int(ours.sum()))
        gone = pa.RecordBatch.from_pydict(columns).filter(pa.array(ours))
        self.telling.name("delete", gone.column("#key").slice(0, 5).to_pylist())
        self.build.add(Part.SEND, self._order(Action.DELETE), gone)

    def _now(self, records: pa.Array, fields: Sequence[str]) -> tuple[pa.RecordBatch, Any]:
        found = self.present.by_record(records, fields, self.context)
        places, _ = matches(records.to_pylist(), found.column("#record").to_pylist())
        return taken(found, places), places >= 0

    def _clashes(self, rows: pa.RecordBatch, records: pa.Array, clash: dict[str, Any], gone: Any) -> None:
        """What stays as it is, because somebody changed it since."""
        keys, ids, said = rows.column("#key").to_pylist(), records.to_pylist(), []
        for at in range(rows.num_rows):
            names = [name for name, mask in clash.items() if mask[at]]
            if names or gone[at]:
                why = "the record is gone" if gone[at] else "changed since by somebody else"
                one = {"key": keys[at], "record": ids[at], "fields": ", ".join(names) or None, "message": why}
                said.append({**one, "k": rows.column("#k")[at].as_py(), "code": "CONFLICT"})
                if len(self.conflicts) < _CONFLICTS:
                    self.conflicts.append({**one, "fields": names})
        self.telling.count("conflict", len(said))
        self.build.add(Part.CONFLICT, None, kept_aside(said, Kept.REFUSED))

    # -- what is known of rows ---------------------------------------------------------------------------------------

    def _know(self, rows: pa.RecordBatch) -> None:
        """Nothing was sent of these: what is known of them is to be as before."""
        self._know_reversed(_reversed(rows, rows.column("#was_record")))

    def _know_reversed(self, marks: pa.RecordBatch) -> None:
        self.telling.count("same", marks.num_rows)
        self.build.add(Part.KNOW, None, marks)

    def _order(self, action: Action) -> Order:
        if action not in self.facts.actions:
            raise ConfigError(
                f"{self.facts.name} takes no {action} with these credentials, and undo needs it",
                hint="Give the user the right, or change the records in the application.",
            )
        by = self.facts.record_id if action is Action.UPDATE else None
        return Order(object=self.facts.name, action=action, by=by)


def _reversed(rows: pa.RecordBatch, record: pa.Array) -> pa.RecordBatch:
    """The marks of rows that are to be known as they were before."""
    return pa.RecordBatch.from_pydict(
        {
            "#key": rows.column("#key"),
            "#k": rows.column("#k"),
            "#hash": rows.column("#was_hash"),
            "#own": pc.fill_null(rows.column("#was_own"), False),
            "#was_hash": rows.column("#hash"),
            "#was_record": rows.column("#record"),
            "#was_own": rows.column("#own"),
            "#record": record,
        }
    )
