"""Commands about write-backs: plan, apply, undo, rejected."""

from __future__ import annotations

import json as json_format
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from suiro.app import writeback as writing
from suiro.app.metadata import Metadata, metadata
from suiro.cli.connections import Json
from suiro.cli.output import plain, print_json, progress, tell
from suiro.cli.plans import print_plan, print_rejected
from suiro.cli.runs import carried, exit_code, print_result
from suiro.model.errors import ConfigError

commands = typer.Typer(
    help="Write rows of a warehouse to an application's records: plan, apply, undo.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(commands, name="writeback")


@commands.command(epilog="Example: suiro writeback plan scores_to_crm --rows changes.jsonl")
def plan(
    job: Annotated[str, typer.Argument(metavar="JOB", help="A job's name.")],
    task: Annotated[str | None, typer.Option(help="One task of the job.")] = None,
    rows: Annotated[
        Path | None,
        typer.Option(help="Write every row that would change, before and after, to this file (JSON lines)."),
    ] = None,
    json: Json = False,
) -> None:
    """Show what would change, field by field, and keep it as a plan; the application is only read."""
    known = metadata()
    with progress(quiet=json) as told:
        planning = writing.Planning(told)

        def stop(number: int, frame: FrameType | None) -> None:
            planning.cancel()

        before = [(s, signal.signal(s, stop)) for s in (signal.SIGINT, signal.SIGTERM)]
        try:
            found = planning.job(job, task, known)
        finally:
            for number, handler in before:
                signal.signal(number, handler)
    if rows is not None:
        _write_rows(rows, found, known)
    if json:
        print_json({"plans": found})
    else:
        for one in found:
            print_plan(one)
    sys.exit(_planned_code(found))


@commands.command(epilog="Example: suiro writeback apply plan-20260102T030405-abcdef")
def apply(
    what: Annotated[
        str, typer.Argument(metavar="JOB|RUN|PLAN", help="A plan, or a run that waits for approval; a job: anew.")
    ],
    force: Annotated[
        bool, typer.Option("--force", help="Write records, too, that were changed since the plan.")
    ] = False,
    json: Json = False,
) -> None:
    """Carry a plan out, whatever the limits say; or plan a job anew and carry that out within them."""
    known = metadata()
    _carry(writing.apply(what, known, force=force).id, known, json)


@commands.command(epilog="Example: suiro writeback undo 20260102T030405-abcdef --delete-inserted")
def undo(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's id, as `suiro runs` lists it.")],
    delete_inserted: Annotated[
        bool, typer.Option("--delete-inserted", help="Delete the records that the run made, too.")
    ] = False,
    json: Json = False,
) -> None:
    """Give records back what a run found in them; what somebody changed since is listed and left alone."""
    known = metadata()
    _carry(writing.undo(run, known, delete_inserted=delete_inserted).id, known, json)


@commands.command(epilog="Example: suiro writeback rejected scores_to_crm --resend")
def rejected(
    what: Annotated[str, typer.Argument(metavar="JOB|RUN", help="A job's name, or a run's id.")],
    again: Annotated[bool, typer.Option("--resend", help="Send them again, as they are now.")] = False,
    show_values: Annotated[
        bool, typer.Option("--show-values", help="Show values, too, which may be personal.")
    ] = False,
    number: Annotated[int, typer.Option("-n", min=1, max=1_000_000, help="How many rows are listed.")] = 100,
    json: Json = False,
) -> None:
    """List the rows that are not in the application, each with its reason, or send them again."""
    known = metadata()
    if again:
        _carry(writing.resend(what, known).id, known, json)
        return
    found = writing.rejected(what, known, limit=number, values=show_values)
    if json:
        print_json({"tasks": found})
        return
    for one in found:
        print_rejected(one)


def _carry(run: str, known: Metadata, json: bool) -> None:
    found = carried(run, known, json)
    print_result(found, json)
    sys.exit(exit_code(found))


def _write_rows(path: Path, found: list[dict[str, Any]], known: Metadata) -> None:
    try:
        with path.open("w", encoding="utf-8") as out:
            for one in found:
                if one["error"] is None:
                    with writing.plan_rows(one["plan"], known) as rows:
                        for row in rows:
                            out.write(
                                json_format.dumps({"task": one["task"], **row}, ensure_ascii=False, default=plain)
                            )
                            out.write("\n")
    except OSError as error:
        raise ConfigError(f"{path} can't be written: {error.strerror}", hint="Name another file.") from error
    tell(f"Every change is in {path}.")


def _planned_code(found: list[dict[str, Any]]) -> int:
    """0: planned, 4: a plan is beyond its limits, 1 or 2: one could not be made."""
    errors = {one["error"]["code"] for one in found if one["error"] is not None}
    if errors:
        return 2 if errors == {ConfigError.code} else 1
    return 4 if any(one["state"] == "waiting" for one in found) else 0
