"""Plans: rows read, set against what was sent last and what the records hold, sorted, counted, kept in the ledger."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from suiro.engine.context import RunContext
from suiro.engine.writeback.building import Builder, Telling, kept_aside, row_texts
from suiro.engine.writeback.ledger import Ledger
from suiro.engine.writeback.limits import beyond
from suiro.engine.writeback.present import Present, id_texts, matches, taken
from suiro.engine.writeback.rows import opened_reader, pieces
from suiro.engine.writeback.shape import CREATES, Shape, shaped
from suiro.engine.writeback.spool import Fate, Sorted, Spool
from suiro.engine.writeback.task import Sides, WriteBack
from suiro.engine.writeback.values import same
from suiro.model.journal import AFTER, BEFORE, Aim, Kept, Part, Plan, PlanState
from suiro.model.writeback import Action, Nulls, WriteBackMode
from suiro.spi.application import Application

Told = Callable[[str, int, int | None], None]  #: what is under way, rows, of how many

Reason = tuple[str, str, str | None]  #: a code, a sentence, a field
_MANY = frozenset({"DUPLICATE_KEY", "KEY_IS_NULL"})  #: reasons that several rows of one key can have
_ACTIONS = {
    WriteBackMode.INSERT: Action.INSERT,
    WriteBackMode.UPDATE: Action.UPDATE,
    WriteBackMode.UPSERT: Action.UPSERT,
    WriteBackMode.MIRROR: Action.UPSERT,
    WriteBackMode.DELETE: Action.DELETE,
}


def plan_writes(
    work: WriteBack,
    sides: Sides,
    application: Application[Any],
    ledger: Ledger,
    context: RunContext,
    told: Told,
    *,
    run: str | None = None,
) -> Plan:
    """A plan of all that is to be written, PLANNED or, beyond the limits, WAITING. Changes nothing but the ledger."""
    facts, types = application.describe(work.object)
    with ExitStack() as stack:
        reader, work = opened_reader(work, sides, context, stack)
        shape = shaped(work, reader, facts, types, sides.identity)
        spool = stack.enter_context(closing(Spool(shape, context)))
        for piece in pieces(shape, reader, context):
            spool.add(piece)
            told("reading", spool.read, shape.plan.selection.stream.rows)
        spool.know(ledger.known.sent(shape.scope), ledger.known.aside(shape.scope))
        settings = {"object": facts.name, "record_id": facts.record_id, "mode": work.mode.value, "by": shape.by}
        settings["application"] = sides.identity
        plan = ledger.plans.begin(Aim.WRITE, shape.scope, settings, run=run)
        making = _Making(shape, spool, application, ledger, plan, context)
        return making.whole(told)


class _Making:
    """A plan that is being made."""

    def __init__(
        self,
        shape: Shape,
        spool: Spool,
        application: Application[Any],
        ledger: Ledger,
        plan: Plan,
        context: RunContext,
    ) -> None:
        self.shape, self.spool, self.ledger, self.context, self.plan = shape, spool, ledger, context, plan
        self.present = Present(application, shape.facts.name, shape.record_id, shape.types)
        self.build = Builder(ledger, plan, application.most_rows, context.budgets.ahead)
        self.telling = Telling()
        # What is read of a record beside the fields: the key by which it was found, where that isn't its identity.
        self.watched = () if shape.by in (None, shape.record_id) else (str(shape.by),)

    def whole(self, told: Told) -> Plan:
        spool, work, count = self.spool, self.shape.work, self.telling.count
        count("read", spool.read)
        count("filtered", spool.filtered)
        for fate in (Fate.UNCHANGED, Fate.HELD):
            if fate is Fate.UNCHANGED or not work.resend:
                count(fate.value, spool.count(fate))
        self.build.add(Part.FORGET, None, spool.forgotten())
        self.build.finish()  # before all others: what is refused anew is kept anew
        self._refuse_our_own()
        self.telling.warnings += self.shape.notes
        if work.mode in CREATES and self.shape.unfilled:
            listed = ", ".join(self.shape.unfilled)
            self.telling.warnings.append(f"A new {self.shape.facts.name} must have {listed}, and no column fills it.")
        done, total = 0, spool.count(Fate.CANDIDATE)
        chosen = [Fate.CANDIDATE, Fate.UNKNOWN, *([Fate.HELD] if work.resend else [])]
        for some in spool.sorted(*chosen):
            self.context.check_cancelled()
            self._sort(some)
            done += some.rows.num_rows
            told("comparing", done, total)
        if work.mode is WriteBackMode.MIRROR:
            self._delete_gone()
        self.build.finish()
        return self._concluded()

    def _concluded(self) -> Plan:
        counts = self.telling.counts
        for kind in (
            "create",
            "update",
            "delete",
            "same",
            "no_record",
            "ambiguous",
            "duplicate",
            "refused",
            "unknown",
            "unchanged",
            "held",
            "sent_before",
            "filtered",
        ):
            counts.setdefault(kind, 0)
        why = beyond(self.shape.work, counts, managed=self.spool.managed())
        said = {"bytes": self.spool.bytes, "beyond": why, "columns": list(self.shape.fields)}
        told = {**self.telling.as_plain(), **said}
        return self.ledger.plans.change(self.plan.id, PlanState.WAITING if why else PlanState.PLANNED, told=told)

    # -- rows that aren't sent ---------------------------------------------------------------------------------------

    def _refuse_our_own(self) -> None:
        """Rows with values that no record takes, and rows that share a key."""
        for some in self.spool.sorted(Fate.REFUSED, Fate.DUPLICATE):
            places, fates = some.known.column("row").to_pylist(), some.known.column("fate").to_pylist()
            reasons: list[Reason] = []
            for place, fate in zip(places, fates, strict=True):
                if fate == Fate.DUPLICATE:
                    self.telling.count("duplicate")
                    reasons.append(("DUPLICATE_KEY", "another row has the same key, so none of them is sent", None))
                else:
                    self.telling.count("refused")
                    reasons.append(self.spool.reason(some.piece, place))
            self._refuse(some.rows, some.known, reasons, piece=some.piece)

    def _refuse(
        self, rows: pa.RecordBatch, known: pa.Table, reasons: Sequence[Reason], *, piece: int | None = None
    ) -> None:
        """Keep rows aside; of a piece: each by itself, also where several share a key or have none."""
        keys = self.spool.hasher.key_texts(rows)
        grouped: dict[Reason, list[str | None]] = {}
        for reason, key in zip(reasons, keys, strict=True):
            grouped.setdefault(reason, []).append(key)
        for (code, message, name), some in grouped.items():
            self.telling.refused(code, message, name, some)
        ks, hashes = known.column("k").to_pylist(), known.column("h").to_pylist()
        if piece is not None:
            places = known.column("row").to_pylist()
            ks = [
                _one_of_many(k, piece, row) if reason[0] in _MANY else k
                for k, row, reason in zip(ks, places, reasons, strict=True)
            ]
        said = [
            {"k": k, "hash": h, "code": code, "message": message, "fields": name, "key": key, "row": row}
            for k, h, (code, message, name), key, row in zip(ks, hashes, reasons, keys, row_texts(rows), strict=True)
        ]
        self.build.add(Part.REFUSE, None, kept_aside(said, Kept.CHECKED))

    # -- rows that may be sent ---------------------------------------------------------------------------------------

    def _sort(self, some: Sorted) -> None:
        """Set rows against what the records hold now."""
        shape, rows, known = self.shape, some.rows, some.known
        unknown = pc.equal(known.column("fate"), Fate.UNKNOWN.value).to_numpy()
        if shape.by is None:
            known_before = pc.is_valid(known.column("hash")).to_numpy()
            lost = unknown & ~known_before & (not shape.work.resend)
            self.telling.count("sent_before", int(known_before.sum()))
            self._count_unknown(rows, lost)
            self._create(rows, known, np.flatnonzero(~known_before & ~lost))
            return
        found = self.present.by(shape.by, rows.column(shape.by), shape.fields, self.context)
        there = self.spool.hasher.keys(found.column(shape.by)).to_pylist()
        places, counts = matches(known.column("k").to_pylist(), there)
        self._ambiguous(rows, known, np.flatnonzero(counts > 1))
        one = counts == 1
        before = taken(found, np.where(one, places, -1))
        equal = self._equal(rows, before) & one
        if shape.work.mode is WriteBackMode.DELETE:
            equal = np.zeros(len(one), bool)
        # What became of a row isn't known: the record tells; where it doesn't, only other values are sent again.
        as_it_was = pc.fill_null(pc.equal(known.column("aside"), known.column("h")), False).to_numpy()
        stale = unknown & ~equal & as_it_was
        stale &= (counts < 2) & (not shape.work.resend)
        self._count_unknown(rows, stale)
        self._know(rows, known, before, np.flatnonzero(equal), unknown)
        self._change(rows, known, before, np.flatnonzero(one & ~equal & ~stale))
        missing = np.flatnonzero((counts == 0) & ~stale)
        match shape.work.mode:
            case WriteBackMode.UPSERT | WriteBackMode.MIRROR:
                self._create(rows, known, missing)
            case WriteBackMode.DELETE:
                self.telling.count("same", len(missing))  # gone already
            case _:
                self.telling.count("no_record", len(missing))
                self.telling.name("no_record", [self.spool.hasher.key_texts(rows)[at] for at in missing[:5]])

    def _equal(self, rows: pa.RecordBatch, before: pa.RecordBatch) -> Any:
        """The rows that would change nothing, as a mask."""
        found = np.ones(rows.num_rows, bool)
        for name in self.shape.fields:
            equal = same(rows.column(name), before.column(name), self.shape.types.field(name))
            if self.shape.work.nulls is Nulls.SKIP:
                equal |= pc.is_null(rows.column(name)).to_numpy(zero_copy_only=False)
            found &= equal
        return found

    def _count_unknown(self, rows: pa.RecordBatch, mask: Any) -> None:
        self.telling.count("unknown", int(mask.sum()))
        if mask.any():
            keys = self.spool.hasher.key_texts(rows)
            self.telling.name("unknown", [keys[at] for at in np.flatnonzero(mask)[:5]])

    def _ambiguous(self, rows: pa.RecordBatch, known: pa.Table, at: Any) -> None:
        if len(at):
            self.telling.count("ambiguous", len(at))
            said = f"several records have this {self.shape.by}, so none of them is written"
            self._refuse(rows.take(at), known.take(at), [("AMBIGUOUS_KEY", said, self.shape.by)] * len(at))

    def _know(self, rows: pa.RecordBatch, known: pa.Table, before: pa.RecordBatch, at: Any, unknown: Any) -> None:
        """The records hold these values already: nothing is sent, and that is known from now on."""
        if len(at):
            self.telling.count("same", len(at))
            own = [bool(was) or bool(lost) for was, lost in zip(known.column("own").to_pylist(), unknown, strict=True)]
            marks = self._marks(rows, known, id_texts(before.column(self.shape.record_id)), own)
            self.build.add(Part.KNOW, None, marks.take(pa.array(at)))

    def _create(self, rows: pa.RecordBatch, known: pa.Table, at: Any) -> None:
        """New records, but for rows that lack what a new record must have."""
        if not len(at):
            return
        rows, known = rows.take(pa.array(at)), known.take(pa.array(at))
        fields, facts = self.shape.fields, self.shape.facts
        reasons: list[Reason | None] = [None] * rows.num_rows
        for name in self.shape.unfilled:
            said = (f"{name}: a new {facts.name} must have it, and no column fills it", name)
            reasons = [("REQUIRED_FIELD_MISSING", *said) for _ in reasons]
        for name in (name for name in fields if facts.fields[name].required):
            for place in np.flatnonzero(pc.is_null(rows.column(name)).to_numpy(zero_copy_only=False)):
                said = (f"{name}: NULL, and a new {facts.name} must have it", name)
                reasons[place] = reasons[place] or ("REQUIRED_FIELD_MISSING", *said)
        if self.shape.work.mode is WriteBackMode.INSERT and self.shape.work.nulls is Nulls.SKIP:
            valid = [pc.is_valid(rows.column(name)).to_numpy(zero_copy_only=False) for name in fields]
            for place in np.flatnonzero(~np.any(np.stack(valid), axis=0)):
                reasons[place] = reasons[place] or ("NO_VALUES", "every value is NULL, and NULLs aren't sent", None)
        bad = [place for place, reason in enumerate(reasons) if reason is not None]
        if bad:
            self.telling.count("refused", len(bad))
            self._refuse(rows.take(pa.array(bad)), known.take(pa.array(bad)), [r for r in reasons if r is not None])
        good = pa.array([place for place, reason in enumerate(reasons) if reason is None], pa.int64())
        rows, known = rows.take(good), known.take(good)
        self.telling.count("create", rows.num_rows)
        self.telling.name("create", self.spool.hasher.key_texts(rows.slice(0, 5)))
        nothing = pa.nulls(rows.num_rows, pa.string())
        self._send(rows, known, nothing, None)

    def _change(self, rows: pa.RecordBatch, known: pa.Table, before: pa.RecordBatch, at: Any) -> None:
        """Records that are there get new values, or go."""
        if not len(at):
            return
        places = pa.array(at)
        rows, known, before = rows.take(places), known.take(places), before.take(places)
        if self.shape.work.mode is WriteBackMode.DELETE:
            self.telling.count("delete", rows.num_rows)
            self.telling.name("delete", self.spool.hasher.key_texts(rows.slice(0, 5)))
        else:
            self.telling.count("update", rows.num_rows)
            keys = self.spool.hasher.key_texts(rows)
            for name in self.shape.fields:
                after, was = rows.column(name), before.column(name)
                changed = ~same(after, was, self.shape.types.field(name))
                if self.shape.work.nulls is Nulls.SKIP:
                    changed &= ~pc.is_null(after).to_numpy(zero_copy_only=False)
                self.telling.changed(name, np.flatnonzero(changed).tolist(), keys, was, after)
        self._send(rows, known, id_texts(before.column(self.shape.record_id)), before)

    def _send(self, rows: pa.RecordBatch, known: pa.Table, record: pa.Array, before: pa.RecordBatch | None) -> None:
        """Into batches, each with the fields that its rows say something of."""
        shape = self.shape
        marks = self._marks(rows, known, record, [True] * rows.num_rows)
        action = _ACTIONS[shape.work.mode]
        order = shape.order(action)
        for fields, at in self._said(rows):
            columns = {name: marks.column(name) for name in marks.schema.names}
            if action is Action.UPSERT:
                columns[AFTER + str(shape.by)] = rows.column(shape.by)
            columns |= {AFTER + name: rows.column(name) for name in fields}
            watched = [*fields, *self.watched] if action is not Action.INSERT else []
            for name in watched:
                type_ = shape.types.field(name).type
                columns[BEFORE + name] = pa.nulls(rows.num_rows, type_) if before is None else before.column(name)
            batch = pa.RecordBatch.from_pydict(columns)
            self.build.add(Part.SEND, order, batch.take(pa.array(at)))

    def _said(self, rows: pa.RecordBatch) -> list[tuple[tuple[str, ...], Any]]:
        """Rows by the fields that they say something of: all, or with `nulls: skip` those that aren't NULL."""
        fields, every = self.shape.fields, np.arange(rows.num_rows)
        if self.shape.work.nulls is Nulls.SEND or not fields:
            return [(fields, every)]
        masks = np.stack([pc.is_valid(rows.column(name)).to_numpy(zero_copy_only=False) for name in fields], axis=1)
        patterns, which = np.unique(masks, axis=0, return_inverse=True)
        return [
            (tuple(name for name, is_said in zip(fields, pattern, strict=True) if is_said), np.flatnonzero(which == at))
            for at, pattern in enumerate(patterns)
        ]

    def _marks(self, rows: pa.RecordBatch, known: pa.Table, record: pa.Array, own: list[bool]) -> pa.RecordBatch:
        whole = known.combine_chunks()
        hashes = whole.column("h").combine_chunks()
        deletes = self.shape.work.mode is WriteBackMode.DELETE
        return pa.RecordBatch.from_pydict(
            {
                "#key": pa.array(self.spool.hasher.key_texts(rows), pa.string()),
                "#k": whole.column("k").combine_chunks(),
                "#hash": hashes,
                "#own": pa.array(own if not deletes else [False] * rows.num_rows, pa.bool_()),
                "#was_hash": whole.column("hash").combine_chunks(),
                "#was_record": whole.column("record").combine_chunks(),
                "#was_own": whole.column("own").combine_chunks(),
                "#record": record,
            }
        )

    # -- a mirror's deletes ------------------------------------------------------------------------------------------

    def _delete_gone(self) -> None:
        """Records that were sent once and are no longer among the rows, if they are still the same records."""
        shape = self.shape
        assert shape.by is not None
        for gone in self.spool.gone():
            self.context.check_cancelled()
            found = self.present.by_record(gone.column("record"), [*shape.fields, shape.by], self.context)
            places, _ = matches(gone.column("record").to_pylist(), found.column("#record").to_pylist())
            before = taken(found, places)
            ks = self.spool.hasher.keys(before.column(shape.by))
            there = (places >= 0) & pc.fill_null(pc.equal(ks, gone.column("k")), False).to_numpy(zero_copy_only=False)
            count = gone.num_rows
            columns: dict[str, pa.Array] = {
                "#key": id_texts(before.column(shape.by)) if there.any() else pa.nulls(count, pa.string()),
                "#k": gone.column("k"),
                "#hash": pa.nulls(count, pa.string()),
                "#own": pa.array([False] * count),
                "#was_hash": gone.column("hash"),
                "#was_record": gone.column("record"),
                "#was_own": pa.array([True] * count),
                "#record": gone.column("record"),
            }
            whole = pa.RecordBatch.from_pydict(
                {**columns, **{BEFORE + name: before.column(name) for name in (*shape.fields, shape.by)}}
            )
            self.telling.count("delete", int(there.sum()))
            self.telling.name("delete", whole.filter(pa.array(there)).column("#key").slice(0, 5).to_pylist())
            self.build.add(Part.SEND, shape.order(Action.DELETE), whole.filter(pa.array(there)))
            self.build.add(Part.KNOW, None, whole.select(list(columns)).filter(pa.array(~there)))


def _one_of_many(k: str, piece: int, row: int) -> str:
    return hashlib.md5(f"{k}.{piece}.{row}".encode(), usedforsecurity=False).hexdigest()
