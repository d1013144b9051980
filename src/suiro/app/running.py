"""Runs of jobs: begun, carried by a runner, stopped, and done again."""

from __future__ import annotations

import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from typing import Any, Final

from suiro.app import stored
from suiro.app.apply import put_job
from suiro.app.connections import connection
from suiro.app.documents import JobDocument
from suiro.app.jobs import LEAST_MEMORY, memory_of
from suiro.app.ledgers import ledger_name
from suiro.app.lending import LentContext
from suiro.app.metadata import Metadata
from suiro.model.errors import ConfigError, UserError
from suiro.model.run import Progress
from suiro.model.selection import Resync
from suiro.model.writeback import WriteBackMode
from suiro.runtime.questions import Books
from suiro.runtime.runner import LEASE_SECONDS, Prepared, Runner
from suiro.store.jobs import StoredJob, StoredTask
from suiro.store.run_records import Claimed, State, StoredRun, StoredTaskRun, TaskToRun
from suiro.store.runs import Runs

WAITING: Final = "waiting"  #: how a run ended whose write-back is beyond its limits
APPROVED: Final = "approved"  #: its plan was applied since
SUPERSEDED: Final = "superseded"  #: the job has run again since, with a plan of its own
APPROVAL: Final = "approval"  #: the trigger of a run that applies a plan
UNDO: Final = "undo"  #: the trigger of a run that takes one back
CARRIER: Final = (sys.executable, "-m", "suiro.app.carrier")  #: starts a process that carries task runs

Told = Callable[[Progress], None]


def start(
    name: str,
    metadata: Metadata,
    *,
    tasks: Sequence[str] = (),
    trigger: str = "user",
    run: str | None = None,
    resync: Resync | None = None,
    backfill: str | None = None,
    writeback: Mapping[str, Any] | None = None,
    scheduled_for: datetime | None = None,
) -> StoredRun:
    """Begin a run of a job, or of some of its tasks: everything is queued. A job of type all looks for new streams.

    `writeback`: what else its write-backs get to know. `scheduled_for`: the moment that the run stands for.
    """
    job = metadata.jobs.get(name)
    refuse_second(name, metadata)
    document = JobDocument.model_validate(job.settings)
    notes: list[str] = []
    if document.type == "all":
        job, notes = _with_new_streams(job, document, metadata)
    wanted = _chosen(job, tasks)
    more: dict[str, Any] = {"resync": None if resync is None else resync.value, "backfill": backfill}
    if writeback is not None:
        more["writeback"] = writeback
    settings: dict[str, Any] = {"parallel": document.parallel, "memory": memory_of(document), "notes": notes}
    if scheduled_for is not None:
        settings["scheduled_for"] = scheduled_for.astimezone(UTC).isoformat()
    tasks_to_run = [_to_run(job, task, more) for task in wanted]
    return metadata.runs.create(run or new_run(), tasks_to_run, trigger=trigger, job=name, settings=settings)


def refuse_second(name: str, metadata: Metadata) -> None:
    """UserError if the job is running."""
    for going in _going(name, metadata):
        raise UserError(
            f"{name} is running already, as run {going}",
            hint=f"Wait, or stop it: suiro cancel {going}. If its process was killed, `suiro run {name}` goes on with "
            f"it {LEASE_SECONDS:.0f} s after that.",
        )


def goes(name: str, metadata: Metadata) -> bool:
    """Whether a run of the job was begun and has not ended."""
    return bool(_going(name, metadata))


def scheduled_for(run: StoredRun) -> datetime | None:
    """The moment of the job's schedule that a run stands for, its delay not included; None where it stands for none."""
    said = run.settings.get("scheduled_for")
    return None if said is None else datetime.fromisoformat(said)


def interrupted(name: str, metadata: Metadata) -> list[str]:
    """Runs of a job that were begun and that nobody carries any more, oldest first."""
    return [found for found in reversed(_going(name, metadata)) if not metadata.runs.held(found)]


def retry(id_: str, metadata: Metadata, *, rejected: bool = False, run: str | None = None) -> StoredRun:
    """Begin a run of what failed in another one; `rejected`: of the rows that it rejected. `run` names the new one.

    What the first run published is not done again: the new one goes on under its name.
    """
    before = metadata.runs.get(id_)
    if before.ended_at is None:
        raise UserError(f"run {id_} is still going on", hint=f"Wait for it, or stop it: suiro cancel {id_}")
    wanted = {State.WARNING} if rejected else {State.FAILED, State.CANCELLED}
    tasks_before = metadata.runs.task_runs(id_)
    again = [found for found in tasks_before if found.state in wanted]
    if not again:
        said = "rejected no rows" if rejected else "has no task that failed"
        hint = "There is nothing to do again." if tasks_before else f"It was never begun: suiro run {before.job}"
        raise UserError(f"run {id_} {said}", hint=hint)
    tasks = [
        TaskToRun(
            task=found.task,
            settings={**found.settings, "retry": rejected, **({"writeback": {}} if rejected else {})},
            source=found.source,
            destination=found.destination,
        )
        for found in again
    ]
    settings = {**before.settings, "notes": [], "root": root_of(before)}
    return metadata.runs.create(
        run or new_run(), tasks, trigger="retry", job=_job_still(before, metadata), settings=settings, retry_of=id_
    )


def runner(
    metadata: Metadata,
    *,
    slots: int,
    told: Told | None = None,
    runs: Runs | None = None,
    heard: Callable[[Mapping[str, Any]], None] | None = None,
    patiently: Callable[[Callable[[], Prepared]], Prepared] | None = None,
) -> Runner:
    """A runner over this metadata, or over these runs of it.

    `told` hears the progress of all its task runs, `heard` the result of each that ended. `patiently` gets a look into
    the metadata done that may have to be tried again.
    """
    kept = runs or metadata.runs

    def progressed(claimed: Claimed, now: Mapping[str, Any]) -> None:
        if told is not None:
            told(Progress(**now))

    def ended(claimed: Claimed, result: Mapping[str, Any]) -> None:
        job, position = claimed.run.job_id, result.get("position")
        if job is not None and position is not None and not claimed.task_run.settings.get("retry"):
            kept.save_position(job, claimed.task_run.task, position, claimed.run.id)
        if heard is not None:
            heard(result)

    def ready(claimed: Claimed) -> Prepared:
        return prepared(claimed, metadata) if patiently is None else patiently(lambda: prepared(claimed, metadata))

    return Runner(
        kept,
        CARRIER,
        ready,
        slots=slots,
        limits=stored.limits(metadata),
        told=progressed,
        ended=ended,
        books=Books(grants=metadata.grants, quotas=metadata.quotas),
    )


def prepared(claimed: Claimed, metadata: Metadata) -> Prepared:
    """What the process that carries a task run gets to know."""
    said, memory = claimed.task_run.settings, claimed.run.settings.get("memory")
    each = None if memory is None else max(int(memory) // claimed.run.parallel, LEAST_MEMORY)
    spec = {
        **{name: said.get(name) for name in ("task", "generation", "retry", "resync", "backfill")},
        "name": claimed.task_run.task,
        "run": root_of(claimed.run),
        "memory": each,
        "source": _spec_of(claimed.task_run.source, metadata),
        "destination": _spec_of(claimed.task_run.destination, metadata),
    }
    if "ledger" in said:
        spec["writeback"] = {**(said.get("writeback") or {}), "ledger": said["ledger"], "run": claimed.run.id}
    return Prepared(spec=spec, memory=each)


def result(id_: str, metadata: Metadata) -> dict[str, Any]:
    """A run as plain data: the public shape of a run's result, with what is known of task runs that didn't end."""
    run, tasks = metadata.runs.get(id_), metadata.runs.task_runs(id_)
    return {**_run_result(run, metadata), "tasks": [_task_result(task) for task in tasks]}


def runs(metadata: Metadata, *, job: str | None = None, number: int = 20) -> list[dict[str, Any]]:
    """The newest runs, without their tasks."""
    return [_run_result(found, metadata) for found in metadata.runs.list(job=job, limit=number).runs]


def page(
    metadata: Metadata, *, job: str | None = None, state: str | None = None, limit: int = 50, cursor: str | None = None
) -> dict[str, Any]:
    """The newest runs, or those behind a cursor, without their tasks, as `items`; and the cursor to go on with."""
    found = metadata.runs.list(job=job, state=None if state is None else State(state), limit=limit, cursor=cursor)
    return {"items": [_run_result(one, metadata) for one in found.runs], "next": found.next}


def ended(id_: str, metadata: Metadata) -> bool:
    """Whether the run has ended."""
    return metadata.runs.get(id_).ended_at is not None


def root_of(run: StoredRun) -> str:
    """The run that a retry goes on with: rows appended under its name are appended once."""
    return str(run.settings.get("root") or run.id)


def new_run() -> str:
    """A new run's id: its time in UTC, and a random part."""
    return time.strftime("%Y%m%dT%H%M%S", time.gmtime()) + "-" + uuid.uuid4().hex[:6]


def _going(name: str, metadata: Metadata) -> list[str]:
    return [found.id for found in metadata.runs.list(job=name, limit=20).runs if found.ended_at is None]


def _with_new_streams(job: StoredJob, document: JobDocument, metadata: Metadata) -> tuple[StoredJob, list[str]]:
    with LentContext("streams") as context, closing(connection(job.source).source(context)) as source:
        streams = [stream.name for stream in source.discover()]
    before = {task.name for task in job.tasks}
    changed = put_job(job.name, document, metadata, streams)
    after = {task.name for task in changed.tasks}
    notes = []
    if before and (new := sorted(after - before)):
        notes.append(f"New streams: {', '.join(new)}.")
    if gone := sorted(before - after):
        notes.append(f"Streams that are no longer there: {', '.join(gone)}. Their tables stay.")
    return changed, notes


def _chosen(job: StoredJob, names: Sequence[str]) -> list[StoredTask]:
    known = {task.name: task for task in job.tasks}
    for name in names:
        if name not in known:
            raise ConfigError(f"{job.name} has no task {name!r}", hint=f"Its tasks are: {', '.join(known)}.")
    if not known:
        raise ConfigError(f"{job.name} has no streams to carry", hint="Check its source and its excludes.")
    return [known[name] for name in names] if names else list(job.tasks)


def _to_run(job: StoredJob, task: StoredTask, more: Mapping[str, Any]) -> TaskToRun:
    writes = task.settings.get("write") in set(WriteBackMode)
    ledger = {"ledger": ledger_name(job, task)} if writes else {}
    return TaskToRun(
        task=task.name,
        settings={"task": task.settings, "generation": task.generation, **ledger, **more},
        source=job.source,
        destination=job.destination,
    )


def _job_still(run: StoredRun, metadata: Metadata) -> str | None:
    """The name of the run's job, if it is still there."""
    return next((job.name for job in metadata.jobs.all() if job.id == run.job_id), None)


def _spec_of(name: str, metadata: Metadata) -> dict[str, Any]:
    """A connection for the process that carries: by its settings, secrets in clear, or as a URI."""
    for found in metadata.connections.all():
        if found.name == name:
            settings = stored.ready(found, metadata)
            return {"name": found.name, "connector": found.connector, "settings": settings}
    return {"text": name}


def waits(task: StoredTaskRun) -> bool:
    """Whether a write-back ended with a plan that waits for approval."""
    found = (task.result or {}).get("writeback") or {}
    return found.get("state") == WAITING


def _run_status(run: StoredRun, metadata: Metadata) -> str:
    """As the store has it; a run that ended with a plan beyond its limits waits, as long as that is the newest word."""
    if run.state is not State.WARNING or not any(waits(task) for task in metadata.runs.task_runs(run.id)):
        return run.state.value
    for later in _later(run, metadata):
        if later.trigger == APPROVAL and later.retry_of == run.id:
            return APPROVED
        if later.trigger != UNDO and later.state in (State.SUCCEEDED, State.WARNING):
            return SUPERSEDED
    return WAITING


def _later(run: StoredRun, metadata: Metadata) -> Iterator[StoredRun]:
    """The job's runs that were begun after this one, newest first."""
    cursor: str | None = None
    while True:
        page = metadata.runs.list(job=run.job, cursor=cursor)
        for later in page.runs:
            if later.id == run.id:
                return
            yield later
        if page.next is None:
            return
        cursor = page.next


def _run_result(run: StoredRun, metadata: Metadata) -> dict[str, Any]:
    begun, ended = run.started_at or run.created_at, run.ended_at
    return {
        "run": run.id,
        "job": run.job,
        "status": _run_status(run, metadata),
        "trigger": run.trigger,
        "created_at": run.created_at,
        "started_at": run.started_at,
        "ended_at": run.ended_at,
        "retry_of": run.retry_of,
        "scheduled_for": scheduled_for(run),
        "error": run.settings.get("error"),
        "notes": run.settings.get("notes", []),
        "seconds": None if ended is None else round((ended - begun).total_seconds(), 3),
    }


def _task_result(task: StoredTaskRun) -> dict[str, Any]:
    known = {"task": task.task, "status": WAITING if waits(task) else task.state.value, "attempts": task.attempts}
    said = task.settings["task"]
    rest = {"stream": said.get("stream", task.task), "table": said.get("table", task.task)}
    going = {"progress": task.progress} if task.state is State.RUNNING else {}
    return {**rest, **(task.result or {}), **known, **going}
