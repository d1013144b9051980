"""A write-back from its claim to its report: planned or approved, applied, gone on with after a crash, or undone."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from typing import Any

from suiro.engine.context import RunContext
from suiro.engine.writeback.applying import apply_plan, stop_plan
from suiro.engine.writeback.ledger import Ledger
from suiro.engine.writeback.planning import plan_writes
from suiro.engine.writeback.report import Account, task_run
from suiro.engine.writeback.task import Sides, WriteBack
from suiro.engine.writeback.undoing import plan_undo
from suiro.model.errors import Cancelled, InternalError, SuiroError, UserError
from suiro.model.journal import Aim, Plan, PlanState
from suiro.model.run import Failure, Progress, Status, TaskRun
from suiro.model.writeback import Conflicts
from suiro.spi.application import Application


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a run is to do: apply the plan that it names, take one back, or plan and apply within the limits."""

    run: str
    plan: str | None = None
    undo: str | None = None
    delete_inserted: bool = False
    force: bool = False  #: write also what was changed since the plan


OpenLedger = Callable[[], AbstractContextManager[Ledger]]


def write_back(
    work: WriteBack,
    sides: Sides,
    ledger: OpenLedger,
    context: RunContext,
    asked: Asked,
    progress: Callable[[Progress], None] | None = None,
) -> tuple[TaskRun, dict[str, Any]]:
    """Carry a write-back, and say what came of it: as a task run, and as more plain data. Never raises but for
    KeyboardInterrupt. Called again for the same run it goes on where it stopped.
    """
    carrying = _Carrying(work, sides, context, asked, progress)
    started = time.monotonic()
    status: Status | None = None
    failure: Failure | None = None
    account: Account | None = None
    try:
        with ledger() as opened:
            try:
                carrying.carry(opened)
            except Exception as error:  # noqa: BLE001  (logged, and reported: a task ends here)
                status, failure = _ended(error, context)
            if carrying.plan is not None:
                account = Account(opened.plans.get(carrying.plan.id), opened)
                extra = account.as_plain()
    except Exception as error:  # noqa: BLE001  (as above; the ledger itself failed)
        status, failure = _ended(error, context)
    done = task_run(
        account,
        stream=work.task.stream,
        object_=work.object,
        level=work.verify,
        seconds=time.monotonic() - started,
        notes=tuple(carrying.notes),
        status=status,
        error=failure,
    )
    return done, {} if account is None else extra


def _ended(error: Exception, context: RunContext) -> tuple[Status, Failure]:
    if context.cancelled:
        error = error if isinstance(error, Cancelled) else Cancelled("the run was cancelled")
    if not isinstance(error, SuiroError):
        context.log.error("a write-back failed unexpectedly", exc_info=error)
        error = InternalError(
            f"unexpected {type(error).__name__}: {error}", hint="This is a bug of Suiro: please report it with the log."
        )
    status = Status.CANCELLED if isinstance(error, Cancelled) else Status.FAILED
    return status, Failure(code=error.code, message=error.message, hint=error.hint)


class _Carrying:
    """One attempt at a write-back."""

    def __init__(
        self,
        work: WriteBack,
        sides: Sides,
        context: RunContext,
        asked: Asked,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        self.work, self.sides, self.context, self.asked = work, sides, context, asked
        self._progress = progress
        self.plan: Plan | None = None
        self.notes: list[str] = []

    def carry(self, ledger: Ledger) -> None:
        with closing(self.sides.application()) as application:
            self._end_others(ledger, application)
            self.plan = self._planned(ledger, application)
            if self.plan.state in (PlanState.PLANNED, PlanState.APPLYING) or self._is_approved(self.plan):
                self.plan = apply_plan(
                    self.plan,
                    application,
                    ledger,
                    self.context,
                    self._told,
                    run=self.asked.run,
                    verify=self.work.verify,
                    force=self.asked.force or self.work.conflicts is Conflicts.SEND,
                )

    def _is_approved(self, plan: Plan) -> bool:
        return plan.state is PlanState.WAITING and self.asked.plan == plan.id

    def _end_others(self, ledger: Ledger, application: Application[Any]) -> None:
        """What other runs left under way is brought to its end before anything else is sent."""
        for plan in reversed(ledger.plans.all(PlanState.APPLYING)):
            if plan.run == self.asked.run or plan.id == self.asked.plan or self._goes_on(plan):
                continue
            self.notes.append(f"Run {plan.run} was interrupted; what it had under way was brought to its end.")
            reachable = plan.settings.get("application") == self.sides.identity
            stop_plan(plan, application, ledger, self.context, verify=self.work.verify, reachable=reachable)

    def _goes_on(self, plan: Plan) -> bool:
        """Whether this run takes back the same plan as one that was interrupted at it."""
        return plan.aim is Aim.UNDO and plan.undoes is not None and plan.undoes == self.asked.undo

    def _planned(self, ledger: Ledger, application: Application[Any]) -> Plan:
        if self.asked.undo is not None:
            return self._undo(ledger, application, self.asked.undo)
        if self.asked.plan is not None:
            return self._approved(ledger, self.asked.plan)
        mine = (PlanState.WAITING, PlanState.PLANNED, PlanState.APPLYING, PlanState.APPLIED)
        for plan in ledger.plans.all(*mine):
            if plan.run == self.asked.run and plan.aim is Aim.WRITE:
                return plan
        return plan_writes(self.work, self.sides, application, ledger, self.context, self._told, run=self.asked.run)

    def _approved(self, ledger: Ledger, id_: str) -> Plan:
        plan = ledger.plans.get(id_)
        self._check_application(plan)
        match plan.state:
            case PlanState.APPLYING:
                return plan
            case PlanState.PLANNED | PlanState.WAITING:
                if plan.serial == ledger.plans.serial():
                    return plan
                said = "is out of date: another one was applied since"
            case PlanState.APPLIED if plan.run == self.asked.run:
                return plan
            case PlanState.APPLIED:
                said = f"was applied already, by run {plan.run}"
            case _:
                said = "was stopped, or never finished"
        raise UserError(f"the plan {id_} {said}", hint="Make a new one: suiro writeback plan JOB.")

    def _undo(self, ledger: Ledger, application: Application[Any], id_: str) -> Plan:
        for plan in ledger.plans.all(PlanState.PLANNED, PlanState.APPLYING, PlanState.APPLIED):
            mine = plan.run == self.asked.run or (plan.state is PlanState.APPLYING and self._goes_on(plan))
            if plan.aim is Aim.UNDO and plan.undoes == id_ and mine:
                return plan
        undone = ledger.plans.get(id_)
        self._check_application(undone)
        return plan_undo(
            undone,
            application,
            ledger,
            self.context,
            self._told,
            run=self.asked.run,
            delete_inserted=self.asked.delete_inserted,
        )

    def _check_application(self, plan: Plan) -> None:
        if plan.settings.get("application") != self.sides.identity:
            raise UserError(
                f"the plan {plan.id} is for another application than the connection leads to now",
                hint="Set the connection back, or make a new plan: suiro writeback plan JOB.",
            )

    def _told(self, what: str, rows: int, total: int | None) -> None:
        if self._progress is not None:
            stream = f"{self.work.task.stream} -> {self.work.object}, {what}"
            self._progress(Progress(stream=stream, rows=rows, bytes=0, total_rows=total))
