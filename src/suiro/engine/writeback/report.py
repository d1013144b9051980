"""What is reported of a write-back: the account of its rows, the receipt, reasons and conflicts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import pyarrow.compute as pc

from suiro.engine.writeback.ledger import Ledger
from suiro.engine.writeback.standing import WHY
from suiro.model.journal import STANDING, Aim, BatchState, Kept, Part, Plan, PlanState, Standing
from suiro.model.receipt import Basis, Level, Receipt
from suiro.model.run import Failure, Status, TaskRun
from suiro.model.writeback import Action, WriteBackMode

_NAMED: Final = 20  #: conflicts that are told by name
_LEFT_OUT: Final = ("refused", "duplicate", "ambiguous", "held", "unknown")  #: of a plan: rows that aren't sent
_LOST: Final = ("refused", "unprocessed", "unknown", "conflict")  #: of what was sent


class Account:
    """What became of a plan's rows so far. `gone`: of a mirror's deletes, which are no rows that were read."""

    def __init__(self, plan: Plan, ledger: Ledger) -> None:
        self.plan, self._ledger = plan, ledger
        self.planned: Mapping[str, int] = plan.told.get("counts", {})
        self.done: dict[str, int] = {}
        self.gone: dict[str, int] = {}
        self.whole = True  #: every batch is done
        mirror = plan.aim is Aim.WRITE and plan.settings.get("mode") == WriteBackMode.MIRROR
        self._batches = ledger.batches.all(plan.id)
        for batch in self._batches:
            deletes = batch.order is not None and batch.order.action is Action.DELETE
            into = self.gone if mirror and deletes else self.done
            for kind, number in batch.tally.items():
                into[kind] = into.get(kind, 0) + number
            self.whole &= batch.state is BatchState.DONE

    def both(self, kind: str) -> int:
        """Of rows, and of a mirror's deletes."""
        return self.done.get(kind, 0) + self.gone.get(kind, 0)

    @property
    def rejected(self) -> int:
        """Rows that are not in the application, for whatever reason."""
        if self.plan.aim is Aim.UNDO:
            return self.planned.get("conflict", 0) + sum(self.both(kind) for kind in _LOST)
        return sum(self.planned.get(kind, 0) for kind in _LEFT_OUT) + sum(self.both(kind) for kind in _LOST)

    @property
    def differing(self) -> int:
        """Records that aren't what was sent, as they were read back."""
        return self.both("differing")

    def receipt(self, level: Level) -> Receipt:
        """The account as a receipt; it adds up once the plan is applied."""
        planned, done = self.planned, self.done
        lost = sum(done.get(kind, 0) for kind in _LOST)
        created, updated = done.get("created", 0), done.get("updated", 0)
        deleted = done.get("deleted", 0)
        alike = done.get("same", 0) + sum(planned.get(kind, 0) for kind in ("unchanged", "same", "sent_before"))
        filtered = planned.get("filtered", 0) + planned.get("no_record", 0)
        staged = created + updated + deleted + alike
        if self.plan.aim is Aim.UNDO:
            rejected, read = planned.get("conflict", 0) + lost, staged + planned.get("conflict", 0) + lost
        else:
            rejected = lost + sum(planned.get(kind, 0) for kind in _LEFT_OUT)
            read = planned.get("read", 0)
        fields = [name.removeprefix("differs.") for name in (*done, *self.gone) if name.startswith("differs.")]
        differences = [f"{name}: {self.both('differs.' + name):,} records hold another value" for name in fields]
        differences += [f"{self.both('missing'):,} records are gone"] if self.both("missing") else []
        sent = sum(self.both(kind) for kind in ("created", "updated", "deleted"))
        hashed = level is not Level.ROWS
        return Receipt(
            level=Level.HASH if hashed else Level.ROWS,
            basis=Basis.IN_FLIGHT,
            equal=not self.differing,
            source_rows=sent,
            table_rows=self.both("read_back") - self.both("missing") if hashed else sent,
            read=read,
            filtered=filtered,
            rejected=rejected,
            staged=staged,
            inserted=created,
            updated=updated,
            unchanged=alike,
            deleted=deleted,
            compared=tuple(sorted(self.plan.told.get("columns", ()))) if hashed else (),
            differences=tuple(dict.fromkeys(differences)),
        )

    def as_plain(self) -> dict[str, Any]:
        """What machines read beside the run's result."""
        plan, told = self.plan, self.plan.told
        reasons = [{"kind": Kept.CHECKED.value, **reason} for reason in told.get("reasons", [])]
        if plan.run is not None and plan.state in (PlanState.APPLIED, PlanState.STOPPED, PlanState.APPLYING):
            later = self._ledger.known.reasons(plan.scope, plan.run)
            reasons += [reason for reason in later if reason["kind"] != Kept.CHECKED]
        return {
            "plan": plan.id,
            "aim": plan.aim.value,
            "state": plan.state.value,
            "object": plan.settings.get("object"),
            "mode": plan.settings.get("mode"),
            "undoes": plan.undoes,
            "planned": dict(self.planned),
            "done": {kind: self.both(kind) for kind in {**self.done, **self.gone}},
            "fields": told.get("fields", {}),
            "keys": told.get("keys", {}),
            "warnings": told.get("warnings", []),
            "beyond": told.get("beyond"),
            "reasons": reasons if plan.aim is Aim.WRITE else [],
            "conflicts": [*told.get("conflicts", []), *self._conflicts()][:_NAMED],
        }

    def _conflicts(self) -> list[dict[str, Any]]:
        """Some of the rows whose records were changed between the plan and the sending."""
        named: list[dict[str, Any]] = []
        for batch in self._batches:
            if batch.part is Part.SEND and batch.tally.get("conflict") and len(named) < _NAMED:
                found = self._ledger.batches.found(self.plan.id, batch.number)
                rows = self._ledger.batches.rows(self.plan.id, batch.number)
                if found is not None:
                    mask = pc.equal(found.column(STANDING), Standing.CONFLICT.value)
                    for row, why in zip(rows.filter(mask).to_pylist(), found.filter(mask).to_pylist(), strict=True):
                        named.append({"key": row["#key"], "record": row["#record"], "message": why[WHY]})
        return named


def task_run(
    account: Account | None,
    *,
    stream: str,
    object_: str,
    level: Level,
    seconds: float,
    notes: tuple[str, ...],
    status: Status | None = None,
    error: Failure | None = None,
) -> TaskRun:
    """A write-back as a task run. `status` None: as the account says."""
    if account is None:
        failed = status or Status.FAILED
        return TaskRun(stream=stream, table=object_, status=failed, seconds=seconds, notes=notes, error=error)
    waits = account.plan.state is PlanState.WAITING
    if status is None:
        worth_a_look = waits or account.rejected or account.differing
        status = Status.WARNING if worth_a_look else Status.SUCCEEDED
    return TaskRun(
        stream=stream,
        table=object_,
        status=status,
        seconds=seconds,
        rows_read=account.planned.get("read", 0),
        rows_written=account.both("created") + account.both("updated"),
        rows_deleted=account.both("deleted"),
        rows_rejected=account.rejected,
        bytes=int(account.plan.told.get("bytes", 0)),
        loads=1 if account.whole and not waits else 0,
        receipt=account.receipt(level) if account.whole and not waits and error is None else None,
        notes=(*notes, *_notes(account)),
        error=error,
    )


def _notes(account: Account) -> list[str]:
    """Sentences for people on what happened otherwise than asked."""
    plan, planned, said = account.plan, account.planned, []
    if plan.state is PlanState.WAITING:
        said.append(
            f"Nothing was written: {plan.told['beyond']}. The plan waits for approval: suiro writeback apply {plan.id}"
        )
    said += [str(warning) for warning in plan.told.get("warnings", ())]
    sentences = {
        "no_record": "Rows without a record, for which nothing was created: {n:,}.",
        "held": "Rows that the application refused before, as they are, and that were not sent again: {n:,}.",
        "unknown": "Rows of unknown fate, which were not sent again: {n:,}.",
        "left": "Records that were made and stay: {n:,}; --delete-inserted takes them away.",
        "not_restored": "Records that were deleted and can't be brought back: {n:,}.",
    }
    said += [text.format(n=planned[kind]) for kind, text in sentences.items() if planned.get(kind)]
    later = {
        "conflict": "Records that somebody changed since the plan, and that were left alone: {n:,}.",
        "unprocessed": "Rows that the application didn't look at, which the next run sends: {n:,}.",
        "unread": "Rows that could not be read back, for the application gave no record's id: {n:,}.",
    }
    said += [text.format(n=account.both(kind)) for kind, text in later.items() if account.both(kind)]
    if plan.aim is Aim.UNDO and planned.get("conflict"):
        said.append(f"Records that somebody changed since, with fields that stay: {planned['conflict']:,}.")
    if plan.aim is Aim.UNDO and account.done.get("updated"):
        said.append("The warehouse holds what it held: the next run of the job writes it again.")
    return said
