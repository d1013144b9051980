"""Commands about runs of jobs: run, runs, show, logs, cancel, retry."""

from __future__ import annotations

import signal
import sys
import time
from types import FrameType
from typing import Annotated, Any

import typer

from suiro.app import running
from suiro.app.metadata import Metadata, metadata
from suiro.app.results import task_from_json
from suiro.app.tasks import backfill_of
from suiro.cli.connections import Json
from suiro.cli.output import plain, print_json, print_run, print_table, progress, tell
from suiro.cli.plans import print_write_back
from suiro.model.errors import ConfigError
from suiro.model.run import Run, Status
from suiro.model.selection import Resync

RunId = Annotated[str, typer.Argument(metavar="RUN", help="A run's id, as `suiro runs` lists it.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("run", epilog="Example: suiro run crm_to_warehouse --task Lead")(run)
    app.command("runs", epilog="Example: suiro runs crm_to_warehouse -n 5")(list_runs)
    app.command("show", epilog="Example: suiro show 20260102T030405-abcdef")(show)
    app.command("logs", epilog="Example: suiro logs 20260102T030405-abcdef --follow")(logs)
    app.command("cancel", epilog="Example: suiro cancel 20260102T030405-abcdef")(cancel)
    app.command("retry", epilog="Example: suiro retry 20260102T030405-abcdef --rejected")(retry)


def run(
    job: Annotated[str, typer.Argument(metavar="JOB", help="A job's name.")],
    task: Annotated[list[str] | None, typer.Option(help="One task; may be given several times.")] = None,
    resync: Annotated[Resync | None, typer.Option(help="Forget the positions: replace rows, or refresh them.")] = None,
    backfill: Annotated[
        str | None, typer.Option(metavar="FROM..TO", help="Read only these cursor values again.")
    ] = None,
    run_id: Annotated[str | None, typer.Option(help="Name the run.")] = None,
    json: Json = False,
) -> None:
    """Run a job, or some of its tasks, and wait for the end."""
    if backfill is not None:
        backfill_of(backfill)
    known = metadata()
    for before in running.interrupted(job, known):
        tell(f"Run {before} was interrupted; it is carried to its end first.")
        carried(before, known, json)
    begun = running.start(job, known, tasks=task or (), run=run_id, resync=resync, backfill=backfill)
    _carry(begun.id, known, json)


def retry(
    run_id: RunId,
    rejected: Annotated[bool, typer.Option("--rejected", help="Carry the rows that the run rejected.")] = False,
    json: Json = False,
) -> None:
    """Do what failed or was cancelled in a run once more, or carry what it rejected."""
    known = metadata()
    _carry(running.retry(run_id, known, rejected=rejected).id, known, json)


def list_runs(
    job: Annotated[str | None, typer.Argument(metavar="[JOB]", help="Only this job's.")] = None,
    number: Annotated[int, typer.Option("-n", min=1, max=1000, help="How many, newest first.")] = 20,
    json: Json = False,
) -> None:
    """List runs, newest first."""
    found = running.runs(metadata(), job=job, number=number)
    if json:
        print_json(found)
        return
    rows = [[one["run"], one["job"], one["status"], _when(one["created_at"]), one["seconds"]] for one in found]
    print_table(["run", "job", "status", "begun (UTC)", "seconds"], rows)


def show(run_id: RunId, json: Json = False) -> None:
    """Show what came of a run, or how far it is."""
    print_result(running.result(run_id, metadata()), json)


def logs(
    run_id: RunId,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run ends.")] = False,
) -> None:
    """Print the log of a run."""
    known, after = metadata(), None
    while True:
        ended = running.ended(run_id, known)
        lines = known.runs.log(run_id, after=after)
        for line in lines:
            print(f"{_when(line.at)} {line.level} {line.text}")
            after = line.id
        if not lines and (ended or not follow):
            return
        if not lines:
            time.sleep(0.5)


def cancel(run_id: RunId) -> None:
    """Stop a run: what is under way is undone, what is published stays."""
    if metadata().runs.request_cancel(run_id):
        tell(f"Run {run_id} is being stopped.")
    else:
        tell(f"Run {run_id} had ended already.")


def _carry(run_id: str, known: Metadata, json: bool) -> None:
    found = carried(run_id, known, json)
    print_result(found, json)
    sys.exit(exit_code(found))


def carried(run_id: str, known: Metadata, json: bool) -> dict[str, Any]:
    """Carry a run to its end, showing how far it is; its result. Ctrl-C stops it."""
    with progress(quiet=json) as told:
        runner = running.runner(known, slots=known.runs.get(run_id).parallel, told=told)

        def stop(number: int, frame: FrameType | None) -> None:
            runner.cancel(run_id)

        before = [(s, signal.signal(s, stop)) for s in (signal.SIGINT, signal.SIGTERM)]
        try:
            runner.carry_run(run_id)
        finally:
            for number, handler in before:
                signal.signal(number, handler)
    return running.result(run_id, known)


def print_result(found: dict[str, Any], json: bool) -> None:
    """Show what came of a run."""
    if json:
        print_json(found)
        return
    done = [task for task in found["tasks"] if "table" in task and "receipt" in task]
    tasks = tuple(task_from_json({**task, "status": _ended(task["status"])}) for task in done)
    for note in found["notes"]:
        tell(note)
    if found["error"] is not None:
        tell(f"Failed: {found['error']['message']}", "red")
        if found["error"]["hint"]:
            tell(found["error"]["hint"])
    for task in found["tasks"]:
        if task not in done:
            said = task.get("error", {}).get("message") or (task.get("progress") or {}).get("rows")
            tell(f"{task['task']}: {task['status']}{'' if said is None else f': {said}'}")
    if found["ended_at"] is None:
        tell(f"Run {found['run']}: {found['status']}")
        return
    run = Run(id=found["run"], status=_ended(found["status"]), seconds=found["seconds"], tasks=tasks)
    print_run(run, found["status"])
    for task in done:
        print_write_back(task, found["run"])


def exit_code(found: dict[str, Any]) -> int:
    """What the process exits with after a run with this result."""
    match found["status"]:
        case "succeeded":
            return 0
        case "warning":
            return 3
        case "cancelled":
            return 130
        case running.WAITING:
            return 4
        case _:
            codes = {(task.get("error") or {}).get("code") for task in found["tasks"] if task["status"] == "failed"}
            return 2 if codes == {ConfigError.code} else 1


def _ended(status: str) -> Status:
    """A plan that waits, or did, is a warning in the words of other runs."""
    return Status(status) if status in set(Status) else Status.WARNING


def _when(at: Any) -> str:
    return str(plain(at))[:19].replace("T", " ")
