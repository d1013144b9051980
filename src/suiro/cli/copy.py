"""The command `suiro copy`."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import Annotated, Literal

import typer

from suiro.app.runs import Copy, Copying
from suiro.app.tasks import columns_of, look_back_of
from suiro.cli.connections import Json
from suiro.cli.output import print_json, print_run, print_table, progress, run_as_json
from suiro.model.errors import ConfigError
from suiro.model.job import Drift, Task
from suiro.model.receipt import Level
from suiro.model.run import Run, Status
from suiro.model.schema import ReadMode
from suiro.model.selection import Replace, WriteMode


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("copy", epilog="Example: suiro copy 'file:///data/*.csv.gz' warehouse --all")(copy)


def copy(
    source: Annotated[str, typer.Argument(metavar="FROM", help="Where from: a URI, or a connection's name.")],
    destination: Annotated[str, typer.Argument(metavar="TO", help="Where to: a URI, or a connection's name.")],
    stream: Annotated[list[str] | None, typer.Option(help="A stream to copy; may be given several times.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="Copy every stream.")] = False,
    exclude: Annotated[list[str] | None, typer.Option(help="With --all: leave out streams like this (with *).")] = None,
    table: Annotated[str | None, typer.Option(help="The table's name, if not the stream's.")] = None,
    read: Annotated[Literal["full", "incremental"], typer.Option(help="How to read.")] = "full",
    write: Annotated[
        WriteMode | None, typer.Option(help="How to write; by itself: replace, or merge for incremental reads.")
    ] = None,
    key: Annotated[str | None, typer.Option(help="Columns that identify a row: a,b.")] = None,
    cursor: Annotated[str | None, typer.Option(help="The column that tells new rows from old.")] = None,
    look_back: Annotated[
        str | None, typer.Option(help="Read again this far before the cursor: 90s, 2h, 3d, 100.")
    ] = None,
    columns: Annotated[str | None, typer.Option(help="Columns to take, some renamed: a,b=c.")] = None,
    where: Annotated[str | None, typer.Option(help="A SQL condition on the source's rows.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Take at most this many rows.")] = None,
    drift: Annotated[Drift, typer.Option(help="What to do when the stream no longer fits the table.")] = Drift.EVOLVE,
    replace: Annotated[Replace, typer.Option(help="How a table is replaced.")] = Replace.AUTO,
    only_new_data: Annotated[bool, typer.Option(help="Replace only if the source has rows.")] = False,
    verify: Annotated[Level, typer.Option(help="How much the receipt compares.")] = Level.SUMS,
    run_id: Annotated[str | None, typer.Option(help="Name the run; an append of that run happens once.")] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Show what would be done, and do nothing.")] = False,
    json: Json = False,
) -> None:
    """Copy streams of one system into tables of another, and prove that they arrived."""
    if bool(stream) == all_:
        raise ConfigError("say which streams to copy", hint="Give --stream NAME (several times if need be), or --all.")
    task = Task(
        stream="",
        table=table,
        read=ReadMode(read),
        write=write,
        key=tuple(part.strip() for part in key.split(",")) if key else None,
        cursor=cursor,
        look_back=look_back_of(look_back) if look_back else None,
        columns=columns_of(columns) if columns else {},
        where=where,
        limit=limit,
        drift=drift,
        replace=replace,
        only_new_data=only_new_data,
        verify=verify,
    )
    asked = Copy(
        source=source,
        destination=destination,
        streams=tuple(stream or ()),
        exclude=tuple(exclude or ()),
        task=task,
        run=run_id,
    )
    if plan:
        _plan(asked, json)
    else:
        _run(asked, json)


def _plan(asked: Copy, json: bool) -> None:
    plans = Copying(asked).plan()
    if json:
        print_json(plans)
        return
    for found in plans:
        key = f", key {', '.join(found['key'])}" if found["key"] else ""
        new = "" if found["exists"] else " (new)"
        print(f"{found['stream']} -> {found['table']}{new}: {found['read']} read, {found['write']}{key}")
        print_table(
            ["source", "column", "type", ""],
            [[c["source"], c["name"], c["type"], c["change"] or ""] for c in found["columns"]],
        )


def _run(asked: Copy, json: bool) -> None:
    with progress(quiet=json) as told:
        copying = Copying(asked, told)

        def stop(number: int, frame: FrameType | None) -> None:
            copying.cancel()

        before = [(s, signal.signal(s, stop)) for s in (signal.SIGINT, signal.SIGTERM)]
        try:
            run = copying.run()
        finally:
            for number, handler in before:
                signal.signal(number, handler)
    if json:
        print_json(run_as_json(run))
    else:
        print_run(run)
    sys.exit(_exit_code(run))


def _exit_code(run: Run) -> int:
    match run.status:
        case Status.SUCCEEDED:
            return 0
        case Status.WARNING:
            return 3
        case Status.CANCELLED:
            return 130
        case Status.FAILED:
            wrong = all(task.error is not None and task.error.code == ConfigError.code for task in run.tasks)
            return 2 if wrong else 1
