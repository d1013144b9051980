"""The process that carries task runs for a runner: `python -m suiro.app.carrier`."""

from __future__ import annotations

import dataclasses
import signal
from collections.abc import Callable, Mapping
from typing import Any

from suiro.app.connections import connection_of
from suiro.app.documents import TaskDocument
from suiro.app.jobs import task_of
from suiro.app.mapping import mapped_task
from suiro.app.results import task_as_json
from suiro.app.runs import carried
from suiro.app.tasks import backfill_of
from suiro.app.writeback_tasks import is_write_back
from suiro.engine.accounts import Accounts
from suiro.engine.context import Budgets, RunContext
from suiro.model.errors import SuiroError
from suiro.model.run import Failure, Progress, Status, TaskRun
from suiro.model.selection import Resync
from suiro.runtime.child import Spec, serve


def carry(spec: Spec, context: RunContext, told: Callable[[Progress], None]) -> Mapping[str, Any]:
    """One task run, from its spec to its result as plain data; never raises."""
    document = TaskDocument.model_validate(spec["task"])
    if is_write_back(document):
        from suiro.app.writeback_carrier import carry_write_back  # on use: its ledger takes long to import

        return carry_write_back(document, spec, context, told)
    name = document.stream or spec["name"]
    try:
        task, rules = task_of(document)
        task = dataclasses.replace(
            task,
            generation=spec.get("generation", 0),
            retry=spec.get("retry", False),
            resync=Resync(spec["resync"]) if spec.get("resync") else None,
            backfill=backfill_of(spec["backfill"]) if spec.get("backfill") else None,
        )
        source, destination = connection_of(spec["source"]), connection_of(spec["destination"])
        mapped = mapped_task(task, rules, source, context)
        return task_as_json(carried(mapped.task, source, destination, context, told))
    except SuiroError as error:  # before the engine took over: nothing was touched
        failure = Failure(code=error.code, message=error.message, hint=error.hint)
        failed = TaskRun(stream=name, table=document.table or name, status=Status.FAILED, seconds=0.0, error=failure)
        return task_as_json(failed)


def lend(spec: Spec, accounts: Accounts) -> RunContext:
    """The context that a task run is carried in."""
    memory = spec.get("memory")
    return RunContext(spec["run"], budgets=None if memory is None else Budgets.within(memory), accounts=accounts)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group: whoever watches says what to do
    serve(carry, lend)
