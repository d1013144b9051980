"""Commands as Treasure Data's `td`: job."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from suiro.app.metadata import metadata
from suiro.app.treasure.history import job as job_run
from suiro.cli.connections import Json
from suiro.cli.output import print_json

td = typer.Typer(help="What Treasure Data's users know as td.", no_args_is_help=True, rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(td, name="td")


@td.callback()
def _group() -> None:
    """What Treasure Data's users know as td."""


@td.command("job", epilog="Example: suiro td job 20260102T030405-abcdef")
def job(
    job_id: Annotated[str, typer.Argument(metavar="ID", help="A job's id, as issue, run and history print it.")],
    json: Json = False,
) -> None:
    """Show what became of a job, with its log."""
    found = job_run(job_id, metadata())
    if json:
        print_json(asdict(found))
        return
    for head, value in (
        ("JobID", found.id),
        ("Session", found.name or ""),
        ("Status", found.status),
        ("Type", "bulkload"),
        ("Database", found.database),
        ("Table", found.table),
        ("Records", found.records),
        ("Rejected", found.rejected),
        ("Started", "" if found.started is None else f"{found.started:%Y-%m-%d %H:%M:%S %z}"),
        ("Time", "" if found.session_time is None else f"{found.session_time:%Y-%m-%d %H:%M:%S %z}"),
        ("Duration", "" if found.duration is None else f"{found.duration} s"),
        ("Result", found.result or ""),
        ("Error", found.error or ""),
    ):
        print(f"{head:<10}: {value}".rstrip())
    for note in found.notes:
        print(note)
    if found.log:
        print("Log")
    for line in found.log:
        print(f"  {line}")
