"""Commands about schedules: list, pause, resume, history."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from suiro.app import schedules
from suiro.app.metadata import Metadata, metadata
from suiro.cli.connections import Json
from suiro.cli.jobs import Job
from suiro.cli.output import print_json, print_table, tell

schedule = typer.Typer(
    help="See when jobs run by themselves, and what became of it; pause and resume.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(schedule, name="schedule")


@schedule.command("list", epilog="Example: suiro schedule list")
def list_schedules(
    job: Annotated[str | None, typer.Argument(metavar="[JOB]", help="Only this job's.")] = None, json: Json = False
) -> None:
    """List the jobs that have a schedule, with their next times and what became of the last one."""
    known = metadata()
    found = schedules.schedules(known) if job is None else [schedules.schedule(job, known)]
    if json:
        print_json(found)
        return
    heads = ["job", "cron", "timezone", "next", "last"]
    print_table(heads, [_row(one) for one in found])
    if found:
        tell_if_nobody_fires(known)


@schedule.command("pause", epilog="Example: suiro schedule pause crm_to_warehouse")
def pause(job: Job, json: Json = False) -> None:
    """Let a job's schedule fire no more until it is resumed; what runs goes on."""
    changed = schedules.pause(job, metadata())
    _answer(job, json, f"The schedule of {job} is paused{'' if changed else ' already'}.")


@schedule.command("resume", epilog="Example: suiro schedule resume crm_to_warehouse")
def resume(job: Job, json: Json = False) -> None:
    """Let a job's schedule fire again, from now on; what passed meanwhile is not made up for."""
    changed = schedules.resume(job, metadata())
    _answer(job, json, f"The schedule of {job} {'fires again' if changed else 'was not paused'}.")


@schedule.command("history", epilog="Example: suiro schedule history crm_to_warehouse -n 5")
def history(
    job: Job,
    number: Annotated[int, typer.Option("-n", min=1, max=10_000, help="How many, newest first.")] = 20,
    json: Json = False,
) -> None:
    """List what became of a job's scheduled moments, newest first."""
    found = schedules.history(job, metadata(), number)
    if json:
        print_json(found)
        return
    rows = [
        [f"{one['scheduled_for']:%Y-%m-%d %H:%M:%S}", one["outcome"], one["run"] or "", one["reason"] or ""]
        for one in found
    ]
    print_table(["scheduled for (UTC)", "outcome", "run", "reason"], rows)


def tell_if_nobody_fires(known: Metadata) -> None:
    """Say it if no server watches the clock."""
    if schedules.nobody_fires(known):
        tell(schedules.NO_SERVER)


def _answer(job: str, json: bool, said: str) -> None:
    known = metadata()
    if json:
        print_json(schedules.schedule(job, known))
        return
    tell(said)
    tell_if_nobody_fires(known)


def _row(one: dict[str, Any]) -> list[str]:
    last = one["last"] or {}
    following = f"{one['next'][0]:%Y-%m-%d %H:%M:%S %z}" if one["next"] else "paused" if one["paused_at"] else ""
    return [
        one["job"],
        one["cron"],
        one["timezone"],
        following,
        last.get("outcome", ""),
    ]
