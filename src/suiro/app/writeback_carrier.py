"""A write-back carried in the process of a task run, or in the caller's own to plan it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

from suiro.app.connections import connection_of
from suiro.app.documents import TaskDocument
from suiro.app.ledgers import ledgers
from suiro.app.mapping import mapped_task
from suiro.app.opened import Connection
from suiro.app.results import task_as_json
from suiro.app.writeback_tasks import writeback_of
from suiro.engine.context import RunContext
from suiro.engine.writeback.carrying import Asked, write_back
from suiro.engine.writeback.ledger import Ledger
from suiro.engine.writeback.task import Sides, WriteBack
from suiro.model.errors import ConfigError, SuiroError
from suiro.model.run import Failure, Progress, Status, TaskRun


def carry_write_back(
    document: TaskDocument, spec: Mapping[str, Any], context: RunContext, told: Callable[[Progress], None]
) -> Mapping[str, Any]:
    """One task run, from its spec to its result as plain data; never raises.

    The result is that of any task run, and `writeback`: the plan, counts, reasons, conflicts.
    """
    name, said = document.stream or spec["name"], spec["writeback"]
    try:
        for how in ("resync", "backfill"):
            if spec.get(how):
                raise ConfigError(f"--{how} has no place in a write-back", hint="See: suiro position reset JOB TASK.")
        source, destination = connection_of(spec["source"]), connection_of(spec["destination"])
        work = ready_work(document, int(spec.get("generation") or 0), source, context)
        work = replace(work, resend=bool(spec.get("retry")))
        asked = Asked(
            run=said["run"],
            plan=said.get("plan"),
            undo=said.get("undo"),
            delete_inserted=bool(said.get("delete_inserted")),
            force=bool(said.get("force")),
        )

        def ledger() -> AbstractContextManager[Ledger]:
            return ledgers().held(said["ledger"], said["run"])

        done, more = write_back(work, sides_of(source, destination, context), ledger, context, asked, told)
        if more:  # values stay in the ledger
            more["fields"] = {field: {"rows": change["rows"]} for field, change in more["fields"].items()}
        return {**task_as_json(done), "writeback": more}
    except SuiroError as error:  # before the engine took over: nothing was touched
        failure = Failure(code=error.code, message=error.message, hint=error.hint)
        failed = TaskRun(stream=name, table=document.table or name, status=Status.FAILED, seconds=0.0, error=failure)
        return task_as_json(failed)


def ready_work(document: TaskDocument, generation: int, source: Connection, context: RunContext) -> WriteBack:
    """The write-back with its computed columns. ConfigError for what of the document can't be."""
    work, rules = writeback_of(document)
    task = replace(mapped_task(work.task, rules, source, context).task, generation=generation)
    return replace(work, task=task)


def sides_of(source: Connection, destination: Connection, context: RunContext) -> Sides:
    """How to open both."""
    return Sides(
        source=lambda: source.source(context),
        application=lambda: destination.application(context),
        identity=destination.config.identity(),
    )
