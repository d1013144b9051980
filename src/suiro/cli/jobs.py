"""Commands about jobs: apply, export, position."""

from __future__ import annotations

import json as json_format
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from suiro.app import apply as applying
from suiro.app import positions
from suiro.app.apply import Change
from suiro.app.documents import read_documents
from suiro.app.metadata import metadata
from suiro.cli.connections import Json
from suiro.cli.output import print_json, print_table, tell
from suiro.model.errors import ConfigError

Job = Annotated[str, typer.Argument(metavar="JOB", help="A job's name.")]

position = typer.Typer(help="Show, set or reset where tasks go on.", no_args_is_help=True, rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("apply", epilog="Example: suiro apply jobs.yaml --plan")(apply)
    app.command("export", epilog="Example: suiro export crm_to_warehouse > job.yaml")(export)
    app.add_typer(position, name="position")


def apply(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="YAML files with connections and jobs.")],
    plan: Annotated[bool, typer.Option("--plan", help="Show what would change, and change nothing.")] = False,
    json: Json = False,
) -> None:
    """Store the connections and jobs of YAML files; what would change is shown like a diff."""
    documents = read_documents(files)
    changes = applying.plan(documents, metadata()) if plan else applying.apply(documents, metadata())
    if json:
        print_json([asdict(change) for change in changes])
        return
    for change in changes:
        _show(change)
    number = len(changes)
    if not number:
        tell("Everything is as the files say.")
    elif plan:
        tell(f"{number} {'change' if number == 1 else 'changes'}; suiro apply makes them.")
    else:
        tell(f"{number} {'change' if number == 1 else 'changes'} made.")


def export(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME...]", help="Connections and jobs.")] = None,
) -> None:
    """Print connections and jobs as YAML that `suiro apply` reads; kept secrets stay kept."""
    sys.stdout.write(applying.export(names or (), metadata()))


@position.command("show", epilog="Example: suiro position show crm_to_warehouse Lead")
def show_position(
    job: Job, task: Annotated[str | None, typer.Argument(help="One task only.")] = None, json: Json = False
) -> None:
    """Show where the tasks of a job go on, as their last runs left it."""
    found = positions.positions(job, metadata(), task)
    if json:
        print_json(found)
        return
    rows = [
        [one["task"], json_format.dumps(one["position"], ensure_ascii=False, default=str), one.get("run")]
        for one in found
    ]
    print_table(["task", "position", "run"], rows)


@position.command("set", epilog="""Example: suiro position set crm_to_warehouse Lead '{"value": "2026-01-01"}'""")
def set_position(
    job: Job,
    task: Annotated[str, typer.Argument(help="The task's name.")],
    value: Annotated[str, typer.Argument(help="The position, as `show --json` prints it.")],
) -> None:
    """Have a task go on from another position; the marker in its destination is moved."""
    try:
        found = json_format.loads(value)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ConfigError("the position is no JSON object", hint="Change what suiro position show --json prints.")
    positions.set_position(job, task, found, metadata())
    tell(f"{task} goes on from there.")


@position.command("reset", epilog="Example: suiro position reset crm_to_warehouse Lead")
def reset_position(job: Job, task: Annotated[str | None, typer.Argument(help="One task only.")] = None) -> None:
    """Have tasks begin anew with their next run; rows that are there stay."""
    for name in positions.reset(job, metadata(), task):
        tell(f"{name} begins anew.")


def _show(change: Change) -> None:
    print(f"{change.act} {change.noun} {change.name}")
    for line in change.lines:
        print(f"    {line}")
