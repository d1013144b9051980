"""Positions: where the tasks of a job go on."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path

from suiro.api.problems import found, theirs
from suiro.api.routes import Known, Routes
from suiro.api.shapes import Cursor, Limit, Moment, Page, Shape, page
from suiro.app import positions

routes = Routes("positions")
Name = Annotated[str, Path(description="The job's name.")]
TaskName = Annotated[str, Path(description="The task's name.")]


class Position(Shape):
    """Where a task goes on, as the last run left it; null before the first."""

    task: str
    generation: int
    position: dict[str, Any] | None
    run: str | None = None
    saved_at: Moment | None = None


class PositionToPut(Shape):
    """An object of the same parts as the one that is there."""

    position: dict[str, Any]


class Reset(Shape):
    """The tasks that begin anew with their next run."""

    tasks: list[str]


@routes.get("/jobs/{name}/positions", Page[Position], "List the positions of a job's tasks")
def list_positions(name: Name, known: Known, cursor: Cursor = None, limit: Limit = 100) -> Any:
    """By task."""
    with found():
        listed = positions.positions(name, known)
    return page(sorted(listed, key=lambda one: str(one["task"])), lambda one: str(one["task"]), cursor, limit)


@routes.get("/jobs/{name}/positions/{task}", Position, "Get a task's position")
def get_position(name: Name, task: TaskName, known: Known) -> Any:
    """As its last run left it."""
    with found():
        (one,) = positions.positions(name, known, task)
    return one


@routes.change("PUT", "/jobs/{name}/positions/{task}", Position, "Move a task's position", errors=(409, 502))
def put_position(name: Name, task: TaskName, body: PositionToPut, known: Known) -> Any:
    """The marker in its destination is moved; the next run reads from there on."""
    with found():
        positions.positions(name, known, task)
    with theirs():
        positions.set_position(name, task, body.position, known)
    (one,) = positions.positions(name, known, task)
    return one


@routes.change("DELETE", "/jobs/{name}/positions/{task}", Reset, "Have a task begin anew")
def reset_position(name: Name, task: TaskName, known: Known) -> Any:
    """With its next run; what is in its table stays."""
    with found():
        return {"tasks": positions.reset(name, known, task)}
