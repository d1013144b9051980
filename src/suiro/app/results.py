"""Results: runs and task runs as the plain data that machines read, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from suiro.model.receipt import Basis, Cast, Level, Receipt
from suiro.model.run import Failure, Run, Status, TaskRun


def run_as_json(run: Run) -> dict[str, Any]:
    """The public shape of a run's result."""
    return {
        "run": run.id,
        "status": run.status.value,
        "seconds": round(run.seconds, 3),
        "tasks": [task_as_json(task) for task in run.tasks],
    }


def task_as_json(task: TaskRun) -> dict[str, Any]:
    """The public shape of a task run's result."""
    found = asdict(task) | {"status": task.status.value, "seconds": round(task.seconds, 3)}
    found["position"] = None if task.position is None else dict(task.position)
    if task.receipt is not None:
        found["receipt"] = asdict(task.receipt) | {"adds_up": task.receipt.adds_up}
    return found


def task_from_json(found: Mapping[str, Any]) -> TaskRun:
    """The task run whose `task_as_json`, through JSON, is `found`; what else is there is left out."""
    receipt, error = found.get("receipt"), found.get("error")
    mine = {field.name for field in fields(TaskRun)}
    return TaskRun(
        **{
            **{name: value for name, value in found.items() if name in mine},
            "status": Status(found["status"]),
            "notes": tuple(found.get("notes", ())),
            "receipt": None if receipt is None else _receipt(receipt),
            "error": None if error is None else Failure(**error),
        }
    )


def _receipt(found: Mapping[str, Any]) -> Receipt:
    return Receipt(
        **{
            **{name: value for name, value in found.items() if name != "adds_up"},
            "level": Level(found["level"]),
            "basis": Basis(found["basis"]),
            "compared": tuple(found["compared"]),
            "differences": tuple(found["differences"]),
            "casts": tuple(Cast(**cast) for cast in found["casts"]),
        }
    )
