"""Write-backs by hand: plans shown, applied and taken back, and rows that were rejected."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from suiro.app.connections import connection
from suiro.app.documents import TaskDocument, near
from suiro.app.ledgers import ledger_name, ledgers
from suiro.app.lending import LentContext
from suiro.app.metadata import Metadata
from suiro.app.running import APPROVAL, UNDO, new_run, refuse_second, root_of, start, waits
from suiro.app.writeback_carrier import ready_work, sides_of
from suiro.app.writeback_tasks import is_write_back
from suiro.engine.writeback.ledger import Ledger
from suiro.engine.writeback.planning import plan_writes
from suiro.engine.writeback.report import Account
from suiro.model.cells import cell_texts
from suiro.model.errors import ConfigError, SuiroError, UserError
from suiro.model.journal import AFTER, BEFORE, Aim, Part, Plan, PlanState
from suiro.model.run import Progress
from suiro.store.jobs import StoredJob, StoredTask
from suiro.store.ledger_plans import PREFIX
from suiro.store.run_records import StoredRun, StoredTaskRun, TaskToRun

Told = Callable[[Progress], None]
_DONE = (PlanState.APPLIED, PlanState.STOPPED, PlanState.APPLYING)
_LISTED = 1000  #: rejected rows that are listed


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A plan, and the job and task that it is of."""

    job: StoredJob
    task: StoredTask
    plan: Plan


class Planning:
    """Plans of a job's write-backs being made: run it in one thread, cancel it from another."""

    def __init__(self, told: Told | None = None) -> None:
        self._told = told
        self.context = LentContext(new_run())

    def cancel(self) -> None:
        """Stop: nothing was changed."""
        self.context.cancel()

    def job(self, name: str, task: str | None, metadata: Metadata) -> list[dict[str, Any]]:
        """A plan for each write-back of a job, or for one; one that can't be planned leaves the others' plans."""
        job = metadata.jobs.get(name)
        with self.context:
            return [self._planned(job, one) for one in _write_backs(job, task)]

    def _planned(self, job: StoredJob, task: StoredTask) -> dict[str, Any]:
        try:
            source, destination = connection(job.source), connection(job.destination)
            document = TaskDocument.model_validate(task.settings)
            work = ready_work(document, task.generation, source, self.context)
            sides = sides_of(source, destination, self.context)
            with ledgers().held(ledger_name(job, task), "a plan") as ledger:
                with closing(sides.application()) as application:
                    plan = plan_writes(
                        work, sides, application, ledger, self.context, self._tell(f"{work.task.stream}")
                    )
                return {
                    "task": task.name,
                    "stream": work.task.stream,
                    **Account(plan, ledger).as_plain(),
                    "error": None,
                }
        except SuiroError as error:
            self.context.check_cancelled()
            failure = {"code": error.code, "message": error.message, "hint": error.hint}
            return {"task": task.name, "state": "failed", "error": failure}

    def _tell(self, stream: str) -> Callable[[str, int, int | None], None]:
        def tell(what: str, rows: int, total: int | None) -> None:
            if self._told is not None:
                self._told(Progress(stream=f"{stream}, {what}", rows=rows, bytes=0, total_rows=total))

        return tell


def apply(what: str, metadata: Metadata, *, force: bool = False, run_id: str | None = None) -> StoredRun:
    """Begin a run that applies a plan: of a job anew, the one by that id, or those that a run left waiting.

    ConfigError if there is nothing of that name; UserError if nothing waits, or the job is running.
    """
    more = {"force": True} if force else {}
    if what.startswith(PREFIX):
        found = find_plan(what, metadata)
        tasks = [_to_run(found.job, found.task, {"plan": what, **more})]
        return _begin(found.job.name, tasks, APPROVAL, metadata, run_id=run_id)
    if _is_job(what, metadata):
        _write_backs(metadata.jobs.get(what), None)
        return start(what, metadata, writeback=more, run=run_id)
    run = metadata.runs.get(what)
    waiting = [task for task in metadata.runs.task_runs(what) if waits(task)]
    if not waiting or run.job is None:
        raise UserError(f"run {what} left no plan that waits for approval", hint="See: suiro show RUN.")
    tasks = []
    for task in waiting:
        result: Mapping[str, Any] = task.result or {}
        tasks.append(_again(task, {"plan": result["writeback"]["plan"], **more}))
    return _begin(run.job, tasks, APPROVAL, metadata, retry_of=what, run_id=run_id)


def undo(written: str, metadata: Metadata, *, delete_inserted: bool = False, run_id: str | None = None) -> StoredRun:
    """Begin a run that takes back what another one wrote. UserError if that wrote nothing."""
    run = metadata.runs.get(written)
    if run.ended_at is None:
        raise UserError(f"run {written} is still going on", hint=f"Wait for it, or stop it: suiro cancel {written}")
    tasks = []
    for task in metadata.runs.task_runs(written):
        if "ledger" in task.settings:
            with ledgers().reading(task.settings["ledger"]) as ledger:
                plans = [] if ledger is None else [p for p in ledger.plans.all(*_DONE) if p.run == written]
            tasks += [_again(task, {"undo": plan.id, "delete_inserted": delete_inserted}) for plan in plans]
    if not tasks or run.job is None:
        raise UserError(f"run {written} wrote nothing to an application", hint="There is nothing to undo.")
    return _begin(run.job, tasks, UNDO, metadata, notes=[f"Undoes run {written}."], run_id=run_id)


def rejected(what: str, metadata: Metadata, *, limit: int = _LISTED, values: bool = False) -> list[dict[str, Any]]:
    """Rows of a job that are kept aside, or those of one run: by task the reasons, and up to `limit` rows.

    `values`: what each row holds, too.
    """
    of_job = _is_job(what, metadata)
    if of_job:
        job = metadata.jobs.get(what)
        named = [(task.name, ledger_name(job, task)) for task in _write_backs(job, None)]
    else:
        named = [
            (task.task, task.settings["ledger"]) for task in metadata.runs.task_runs(what) if "ledger" in task.settings
        ]
    found = []
    for task, where in named:
        with ledgers().reading(where) as ledger:
            scope, run = (_newest_scope(ledger) if ledger else None), (None if of_job else what)
            rows = [] if ledger is None else ledger.known.rejected(scope, run, limit)
            reasons = [] if ledger is None else ledger.known.reasons(scope, run)
        hidden = set() if values else {"row"}
        rows = [{name: value for name, value in row.items() if name not in hidden} for row in rows]
        found.append({"task": task, "reasons": reasons, "rows": rows})
    return found


def resend(what: str, metadata: Metadata, *, run_id: str | None = None) -> StoredRun:
    """Begin a run of a job, or of the tasks of a run, that sends again what the application refused."""
    if _is_job(what, metadata):
        job = metadata.jobs.get(what)
        tasks = [_to_run(job, task, {}) for task in _write_backs(job, None)]
        return _begin(what, [_with(task, {"retry": True}) for task in tasks], "retry", metadata, run_id=run_id)
    run = metadata.runs.get(what)
    again = [_again(task, {}) for task in metadata.runs.task_runs(what) if "ledger" in task.settings]
    if not again or run.job is None:
        raise UserError(f"run {what} has no write-back", hint="See: suiro show RUN.")
    tasks = [_with(task, {"retry": True}) for task in again]
    return _begin(run.job, tasks, "retry", metadata, retry_of=what, run_id=run_id)


def find_plan(id_: str, metadata: Metadata) -> Found:
    """The plan of that id, whichever job's it is; ConfigError if there is none."""
    for job in metadata.jobs.all():
        for task in job.tasks:
            if _writes(task):
                with ledgers().reading(ledger_name(job, task)) as ledger:
                    plans = [] if ledger is None else [plan for plan in ledger.plans.all() if plan.id == id_]
                if plans:
                    return Found(job=job, task=task, plan=plans[0])
    raise ConfigError(f"there is no plan {id_!r}", hint="Make one: suiro writeback plan JOB. Old ones are removed.")


@contextmanager
def plan_rows(id_: str, metadata: Metadata) -> Iterator[Iterator[dict[str, Any]]]:
    """All rows of a plan that would change a record, one by one, with the values before and after."""
    found = find_plan(id_, metadata)
    with ledgers().reading(ledger_name(found.job, found.task)) as ledger:
        assert ledger is not None
        yield _rows_of(found.plan, ledger)


def _rows_of(plan: Plan, ledger: Ledger) -> Iterator[dict[str, Any]]:
    for batch in ledger.batches.all(plan.id):
        if batch.part is not Part.SEND or batch.order is None:
            continue
        rows = ledger.batches.rows(plan.id, batch.number)
        keys, records = rows.column("#key").to_pylist(), rows.column("#record").to_pylist()
        after, before = _texts(rows, AFTER), _texts(rows, BEFORE)
        for at in range(rows.num_rows):
            fields = {name: {"after": texts[at]} for name, texts in after.items() if name != batch.order.by}
            for name, texts in before.items():
                fields.setdefault(name, {})["before"] = texts[at]
            if records[at] is not None and after:
                fields = {name: said for name, said in fields.items() if said.get("before") != said.get("after")}
            action = "create" if records[at] is None else "delete" if not after else "update"
            yield {"key": keys[at], "record": records[at], "action": action, "fields": fields}


def _texts(rows: pa.RecordBatch, mark: str) -> dict[str, list[str | None]]:
    names = [name for name in rows.schema.names if name.startswith(mark)]
    return {name.removeprefix(mark): cell_texts(rows.column(name)) for name in names}


# -- jobs and runs -----------------------------------------------------------------------------------------------------


def _writes(task: StoredTask) -> bool:
    return is_write_back(TaskDocument.model_validate(task.settings))


def _write_backs(job: StoredJob, name: str | None) -> list[StoredTask]:
    """The write-backs of a job, or one of them."""
    tasks = [task for task in job.tasks if _writes(task)]
    if not tasks:
        raise ConfigError(f"{job.name} writes nothing to an application", hint="Run it: suiro run JOB.")
    chosen = [task for task in tasks if name is None or task.name == name]
    if not chosen:
        raise ConfigError(f"{job.name} has no write-back {name!r}", hint=near(str(name), [task.name for task in tasks]))
    return chosen


def _is_job(name: str, metadata: Metadata) -> bool:
    return any(job.name == name for job in metadata.jobs.all())


def _to_run(job: StoredJob, task: StoredTask, said: Mapping[str, Any]) -> TaskToRun:
    settings = {
        "task": task.settings,
        "generation": task.generation,
        "ledger": ledger_name(job, task),
        "writeback": said,
    }
    return TaskToRun(task=task.name, settings=settings, source=job.source, destination=job.destination)


def _again(task: StoredTaskRun, said: Mapping[str, Any]) -> TaskToRun:
    settings = {**task.settings, "writeback": said, "retry": False}
    return TaskToRun(task=task.task, settings=settings, source=task.source, destination=task.destination)


def _with(task: TaskToRun, more: Mapping[str, Any]) -> TaskToRun:
    return TaskToRun(
        task=task.task, settings={**task.settings, **more}, source=task.source, destination=task.destination
    )


def _begin(
    job: str,
    tasks: Sequence[TaskToRun],
    trigger: str,
    metadata: Metadata,
    *,
    retry_of: str | None = None,
    notes: Sequence[str] = (),
    run_id: str | None = None,
) -> StoredRun:
    refuse_second(job, metadata)
    settings: dict[str, Any] = {"parallel": 1, "memory": None, "notes": list(notes)}
    if retry_of is not None:
        before = metadata.runs.get(retry_of)
        settings |= {"memory": before.settings.get("memory"), "root": root_of(before)}
    run = run_id or new_run()
    return metadata.runs.create(run, tasks, trigger=trigger, job=job, settings=settings, retry_of=retry_of)


def _newest_scope(ledger: Any) -> str | None:
    """What the newest write of the task was about."""
    return next((plan.scope for plan in ledger.plans.all() if plan.aim is Aim.WRITE), None)
