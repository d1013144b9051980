"""Write-backs: plans carried out and taken back, and rows that were rejected."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path, Query

from suiro.api.problems import found, theirs
from suiro.api.repeats import Repeatable
from suiro.api.routes import Known, Routes
from suiro.api.runs import Run
from suiro.api.shapes import Failure, Page, Shape
from suiro.app import writeback
from suiro.app import writeback_plans as plans
from suiro.model.access import Scope

routes = Routes("writebacks")
PlanId = Annotated[str, Path(description="The plan's id.")]


class ToPlan(Shape):
    """Which write-backs of a job: all, or one."""

    job: str
    task: str | None = None


class ToApply(Shape):
    """A plan's id, a run's that waits for approval, or a job's name: it is planned anew, and applied within limits."""

    what: str
    force: bool = False  #: write records, too, that were changed since the plan


class ToUndo(Shape):
    """The run whose writes are taken back."""

    run: str
    delete_inserted: bool = False


class ToResend(Shape):
    """A job's name, or a run's id."""

    what: str


class Planned(Shape):
    """A plan as `suiro writeback plan --json` has it; null and an error where there is none."""

    task: str
    plan: dict[str, Any] | None
    error: Failure | None


class Plans(Shape):
    """A plan for each write-back."""

    plans: list[Planned]


class PlannedRow(Shape):
    """A row that would change a record: by field the values before and after."""

    key: str
    record: str | None
    action: str
    fields: dict[str, dict[str, str | None]]


class Rejected(Shape):
    """Rows of a task that are not in the application, and why."""

    task: str
    reasons: list[dict[str, Any]]
    rows: list[dict[str, Any]]


class RejectedRows(Shape):
    """By task."""

    tasks: list[Rejected]


@routes.change("POST", "/writebacks/plan", Plans, "Plan a job's write-backs", scope=Scope.OPERATE, errors=(409, 502))
def plan_writes(body: ToPlan, known: Known) -> Any:
    """The application is only read. Plans are kept, and may be applied."""
    with theirs():
        return {"plans": plans.planned(body.job, body.task, known)}


@routes.get("/writebacks/plans/{plan}/rows", Page[PlannedRow], "List a plan's rows")
def list_rows(
    plan: PlanId,
    known: Known,
    cursor: Annotated[int, Query(ge=0, description="The `next` of the page before.")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000, description="How many rows at most.")] = 100,
) -> Any:
    """Those that would change a record, with the values before and after."""
    with found():
        rows, more = plans.rows(plan, known, cursor, limit)
    return {"items": rows, "next": str(cursor + limit) if more else None}


@routes.change(
    "POST",
    "/writebacks/apply",
    Run,
    "Carry a plan out",
    scope=Scope.OPERATE,
    status=202,
    errors=(409, 502),
    response_model_exclude_unset=True,
)
def apply_plan(body: ToApply, known: Known, once: Repeatable) -> Any:
    """A run is begun; follow it by its id."""

    def begin(id_: str) -> Any:
        with theirs():
            return writeback.apply(body.what, known, force=body.force, run_id=id_)

    return once.run(begin, Run)


@routes.change(
    "POST",
    "/writebacks/undo",
    Run,
    "Take back what a run wrote",
    scope=Scope.OPERATE,
    status=202,
    errors=(409,),
    response_model_exclude_unset=True,
)
def undo_run(body: ToUndo, known: Known, once: Repeatable) -> Any:
    """A run is begun; what somebody changed since is listed there and left alone."""
    return once.run(lambda id_: writeback.undo(body.run, known, delete_inserted=body.delete_inserted, run_id=id_), Run)


@routes.change(
    "POST",
    "/writebacks/resend",
    Run,
    "Send rejected rows again",
    scope=Scope.OPERATE,
    status=202,
    errors=(409,),
    response_model_exclude_unset=True,
)
def resend_rows(body: ToResend, known: Known, once: Repeatable) -> Any:
    """A run is begun, of the rows as they are now."""
    return once.run(lambda id_: writeback.resend(body.what, known, run_id=id_), Run)


@routes.get("/writebacks/rejected/{what}", RejectedRows, "List rows that an application refused")
def list_rejected(
    what: Annotated[str, Path(description="A job's name, or a run's id.")],
    known: Known,
    values: Annotated[bool, Query(description="Values, too, which may be personal.")] = False,
    limit: Annotated[int, Query(ge=1, le=10_000, description="How many rows of a task at most.")] = 100,
) -> Any:
    """Each with its reason."""
    with found():
        return {"tasks": writeback.rejected(what, known, limit=limit, values=values)}
