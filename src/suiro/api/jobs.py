"""Jobs: stored, planned, paused."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import Path, Query, Response
from pydantic import Field

from suiro.api.problems import found, theirs
from suiro.api.routes import Known, Routes
from suiro.api.shapes import Cursor, Failure, Limit, Moment, Page, Shape, page
from suiro.app import job_records, schedules
from suiro.app.documents import JobDocument
from suiro.model.access import Scope

routes = Routes("jobs")
FIRINGS: Final = 1000
Name = Annotated[str, Path(description="The job's name.")]
NewName = Annotated[str, Path(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$", description="The job's name.")]
OneTask = Annotated[str | None, Query(description="One task only.")]


class Task(Shape):
    """One stream or query to one table. `generation` counts resets."""

    name: str
    generation: int
    settings: dict[str, Any]


class FiringError(Shape):
    """Why a moment's run could not be begun."""

    code: str
    message: str | None


class Firing(Shape):
    """A moment of a schedule, and what became of it; `run` is its run, or the one that stood in its way."""

    scheduled_for: Moment
    due_at: Moment
    fired_at: Moment | None
    outcome: str
    run: str | None
    reason: str | None
    error: FiringError | None


class Schedule(Shape):
    """When a job runs by itself, the next moments, and what became of the last one."""

    cron: str
    timezone: str
    delay: str
    catch_up: str
    overlap: str
    since: Moment
    paused_at: Moment | None
    waiting: int  #: moments whose runs wait for their turn
    next: list[Moment]
    last: Firing | None


class Job(Shape):
    """A job. `document` is what a PUT takes, as YAML has it."""

    name: str
    type: str
    source: str
    destination: str
    document: dict[str, Any]
    tasks: list[Task]
    schedule: Schedule | None
    version: int
    created_at: Moment
    updated_at: Moment


class JobToPut(Shape):
    """A job as it shall be."""

    document: JobDocument
    version: int | None = Field(None, description="Of the one that this replaces; another one is a conflict.")


class PlannedTask(Shape):
    """What a run would do; null and an error where that can't be told. The plan of a write-back is kept."""

    task: str
    kind: str
    plan: dict[str, Any] | None
    error: Failure | None


class Plan(Shape):
    """What a run of a job would do, task by task."""

    tasks: list[PlannedTask]


@routes.get("/jobs", Page[Job], "List jobs")
def list_jobs(known: Known, cursor: Cursor = None, limit: Limit = 50) -> Any:
    """By name."""
    return page(job_records.records(known), lambda one: str(one["name"]), cursor, limit)


@routes.get("/jobs/{name}", Job, "Get one job")
def get_job(name: Name, known: Known) -> Any:
    """With its tasks and the next moments at which it runs."""
    with found():
        return job_records.record(name, known)


@routes.change("PUT", "/jobs/{name}", Job, "Store a job, new or changed", errors=(409,))
def put_job(name: NewName, body: JobToPut, known: Known, response: Response) -> Any:
    """201 if it is new. Tasks that keep their names keep their positions."""
    record, new = job_records.put(name, body.document, known, version=body.version)
    response.status_code = 201 if new else 200
    return record


@routes.change("DELETE", "/jobs/{name}", None, "Delete a job", status=204)
def delete_job(name: Name, known: Known) -> None:
    """Its runs stay."""
    with found():
        known.jobs.delete(name)


@routes.change("POST", "/jobs/{name}/plan", Plan, "Tell what a run would do", scope=Scope.OPERATE, errors=(409, 502))
def plan_job(name: Name, known: Known, task: OneTask = None) -> Any:
    """Schemas are read, no rows are written. A write-back's plan is made and kept: see write-backs."""
    with found():
        known.jobs.get(name)
    with theirs():
        return {"tasks": job_records.plan(name, known, task)}


@routes.change("POST", "/jobs/{name}/pause", Job, "Pause a job's schedule", scope=Scope.OPERATE)
def pause_job(name: Name, known: Known) -> Any:
    """No moment fires until it is resumed; runs under way go on."""
    with found():
        schedules.pause(name, known)
        return job_records.record(name, known)


@routes.change("POST", "/jobs/{name}/resume", Job, "Resume a job's schedule", scope=Scope.OPERATE)
def resume_job(name: Name, known: Known) -> Any:
    """Moments fire again, those from now on."""
    with found():
        schedules.resume(name, known)
        return job_records.record(name, known)


@routes.get("/jobs/{name}/firings", Page[Firing], "List what became of a schedule's moments")
def list_firings(name: Name, known: Known, cursor: Cursor = None, limit: Limit = 20) -> Any:
    """Newest first. Up to 1,000 of them are told."""
    with found():
        listed = schedules.history(name, known, FIRINGS)
    return page(listed, lambda one: _newest_first(one["scheduled_for"]), cursor, limit)


def _newest_first(at: datetime) -> str:
    """Sorts the other way round than time does."""
    return f"{10**12 - at.timestamp():020.6f}"
