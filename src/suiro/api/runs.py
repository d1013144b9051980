"""Runs: begun, followed, stopped, and done again."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Path, Query
from pydantic import ConfigDict, Field

from suiro.api.problems import found, theirs
from suiro.api.repeats import Repeatable
from suiro.api.routes import Known, Routes
from suiro.api.shapes import Cursor, Failure, Limit, Moment, Page, Shape
from suiro.app import logs, running
from suiro.app.tasks import backfill_of
from suiro.model.access import Scope
from suiro.model.selection import Resync

routes = Routes("runs")
Id = Annotated[str, Path(description="The run's id.")]
State = Literal["queued", "running", "succeeded", "warning", "failed", "cancelled"]
Level = Literal["debug", "info", "warning", "error", "critical"]


class TaskRun(Shape):
    """What came of a task, or how far it is. What isn't known yet is absent."""

    task: str
    stream: str
    table: str
    status: str
    attempts: int
    seconds: float | None = None
    rows_read: int | None = None
    rows_written: int | None = None
    rows_deleted: int | None = None
    rows_rejected: int | None = None
    bytes: int | None = None
    loads: int | None = None
    path: str | None = None
    position: dict[str, Any] | None = None
    receipt: dict[str, Any] | None = None
    notes: list[str] | None = None
    error: Failure | None = None
    writeback: dict[str, Any] | None = None
    progress: dict[str, Any] | None = None


class RunRecord(Shape):
    """A run without its tasks."""

    run: str
    job: str | None
    status: str
    trigger: str
    created_at: Moment
    started_at: Moment | None
    ended_at: Moment | None
    retry_of: str | None
    notes: list[str]
    seconds: float | None
    scheduled_for: Moment | None = None
    error: Failure | None = None


class Run(RunRecord):
    """A run, as `suiro show --json` has it."""

    model_config = ConfigDict(title="Run")
    tasks: list[TaskRun]


class RunToStart(Shape):
    """Which of the job's tasks, and how; without anything all of them, from where they are."""

    tasks: list[str] = Field(default_factory=list)
    resync: Resync | None = None
    backfill: str | None = Field(None, description="FROM..TO: read only these cursor values again.")


class RunToRetry(Shape):
    """What is done again: what failed or was cancelled, or the rows that were rejected."""

    what: Literal["failed", "rejected"] = "failed"


class Cancelled(Shape):
    """Whether the run was still going on."""

    run: str
    cancelling: bool


class Line(Shape):
    """A line of a run's log."""

    id: int
    task: str | None
    attempt: int
    at: Moment
    level: str
    text: str


@routes.change(
    "POST",
    "/jobs/{name}/runs",
    Run,
    "Begin a run of a job",
    scope=Scope.OPERATE,
    status=202,
    errors=(409, 502),
    response_model_exclude_unset=True,
)
def start_run(
    name: Annotated[str, Path(description="The job's name.")], known: Known, once: Repeatable, body: RunToStart
) -> Any:
    """It is queued; follow it by its id. A job that runs already is a conflict."""
    with found():
        known.jobs.get(name)
    if body.backfill is not None:
        backfill_of(body.backfill)

    def begin(id_: str) -> Any:
        with theirs():
            return running.start(
                name, known, tasks=body.tasks, trigger="api", run=id_, resync=body.resync, backfill=body.backfill
            )

    return once.run(begin, Run)


@routes.get("/runs", Page[RunRecord], "List runs", response_model_exclude_unset=True)
def list_runs(
    known: Known,
    job: Annotated[str | None, Query(description="Of this job only.")] = None,
    status: Annotated[State | None, Query(description="In this state only.")] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Any:
    """Newest first, without their tasks."""
    return running.page(known, job=job, state=status, limit=limit, cursor=cursor)


@routes.get("/runs/{run}", Run, "Get one run", response_model_exclude_unset=True)
def get_run(run: Id, known: Known) -> Any:
    """With its tasks: results, receipts, errors, or how far they are."""
    with found():
        return running.result(run, known)


@routes.get("/runs/{run}/log", Page[Line], "Read a run's log")
def read_log(
    run: Id,
    known: Known,
    level: Annotated[Level, Query(description="This level and worse ones.")] = "debug",
    cursor: Annotated[int | None, Query(ge=0, description="The `next` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="How many lines at most.")] = 200,
) -> Any:
    """In its order. `next` is null once the run has ended and its log was read to the end; until then, ask again."""
    with found():
        lines, after = logs.lines(run, known, after=cursor, limit=limit, level=level)
    return {"items": lines, "next": None if after is None else str(after)}


@routes.change("POST", "/runs/{run}/cancel", Cancelled, "Stop a run", scope=Scope.OPERATE, status=202)
def cancel_run(run: Id, known: Known) -> Any:
    """What is under way is undone, what is published stays. To do so twice is harmless."""
    with found():
        return {"run": run, "cancelling": known.runs.request_cancel(run)}


@routes.change(
    "POST",
    "/runs/{run}/retry",
    Run,
    "Do a run's failed tasks or rejected rows again",
    scope=Scope.OPERATE,
    status=202,
    errors=(409,),
    response_model_exclude_unset=True,
)
def retry_run(run: Id, known: Known, once: Repeatable, body: RunToRetry) -> Any:
    """In a run of its own, which goes on under the first one's name: nothing is appended twice."""
    with found():
        known.runs.get(run)
    rejected = body.what == "rejected"
    return once.run(lambda id_: running.retry(run, known, rejected=rejected, run=id_), Run)
