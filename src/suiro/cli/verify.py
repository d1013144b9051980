"""The command `suiro verify`."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import Annotated, Any

import typer

from suiro.app import verifying
from suiro.app.metadata import metadata
from suiro.app.tasks import columns_of
from suiro.cli import options
from suiro.cli.connections import Json
from suiro.cli.output import print_json, tell
from suiro.model.errors import ConfigError
from suiro.model.job import Task

_KINDS = {
    "missing": "missing from the table",
    "different": "different in the table",
    "extra": "in the table but not in the stream",
}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("verify", epilog="Example: suiro verify postgresql://localhost/shop warehouse --stream orders")(verify)


def verify(
    source: Annotated[str, typer.Argument(metavar="FROM|JOB", help="Where from: a URI or a connection; or a job.")],
    destination: Annotated[
        str | None, typer.Argument(metavar="[TO]", help="Where to; left out after the name of a job.")
    ] = None,
    stream: Annotated[str | None, typer.Option(help="The stream that was copied.")] = None,
    task: Annotated[str | None, typer.Option(help="One task of the job.")] = None,
    table: options.TableName = None,
    key: options.Key = None,
    columns: Annotated[str | None, typer.Option(help="Columns to compare, some called otherwise: a,b=c.")] = None,
    where: options.Where = None,
    buckets: Annotated[int | None, typer.Option(min=1, max=1_000_000, help="How many checksums are compared.")] = None,
    most: Annotated[int, typer.Option(min=0, max=1000, help="How many rows of each kind are named.")] = 20,
    show_values: Annotated[bool, typer.Option("--show-values", help="Show values too, which may be personal.")] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="Make the table equal: carry and delete single rows.")
    ] = False,
    most_deleted: Annotated[
        float, typer.Option(min=0, max=1, help="The share of rows that --repair may delete.")
    ] = 0.5,
    json: Json = False,
) -> None:
    """Compare a stream with its table by checksums, name the rows that differ, and repair them."""
    asked = verifying.Asked(buckets=buckets, most=most, values=show_values, repair=repair)
    wanted: Task | None = None
    if destination is not None:
        if stream is None or task is not None:
            raise ConfigError("say which stream to compare", hint="Give --stream NAME; --task is for jobs.")
        wanted = Task(
            stream=stream,
            table=table,
            key=tuple(part.strip() for part in key.split(",")) if key else None,
            columns=columns_of(columns) if columns else {},
            where=where,
            most_deleted=most_deleted,
        )
    elif any((stream, table, key, columns, where)):
        raise ConfigError(
            "--stream, --table, --key, --columns and --where have no place after the name of a job",
            hint="Name both connections, or one of the job's tasks with --task.",
        )
    found = _verified(wanted, source, destination, task, asked)
    if json:
        print_json({"status": _status(found), "tasks": found})
    else:
        for one in found:
            _show(one)
    sys.exit(0 if _status(found) in ("equal", "repaired") else 1)


def _verified(
    wanted: Task | None, source: str, destination: str | None, task: str | None, asked: verifying.Asked
) -> list[dict[str, Any]]:
    """What was found, task by task; Ctrl-C stops it in order."""
    verification = verifying.Verifying(asked, tell)

    def stop(number: int, frame: FrameType | None) -> None:
        verification.cancel()

    before = [(s, signal.signal(s, stop)) for s in (signal.SIGINT, signal.SIGTERM)]
    try:
        if wanted is None or destination is None:
            return verification.job(source, task, metadata())
        return verification.copy(wanted, source, destination)
    finally:
        for number, handler in before:
            signal.signal(number, handler)


def _status(found: list[dict[str, Any]]) -> str:
    """The worst of the tasks' statuses."""
    every = {one["status"] for one in found}
    return next((status for status in ("failed", "different", "repaired") if status in every), "equal")


def _show(found: dict[str, Any]) -> None:
    """One task's result in prose; rows that differ on stdout."""
    if found["status"] == "failed":
        tell(f"Failed: {found['stream']}: {found['error']['message']}", "red")
        tell(f"  {found['error']['hint'] or ''}")
        return
    rows = f"{found['source_rows']:,} rows against {found['table_rows']:,}, {len(found['columns'])} columns"
    tell(f"{found['stream']} -> {found['table']}: {'equal' if found['equal'] else 'NOT EQUAL'}, {rows}")
    for side, how in found["hashed"].items():
        tell(f"  {side}: hashed {how['way']} in {how['seconds']:.1f} s")
    for kind, said in _KINDS.items():
        number, named = found[kind]["rows"], found[kind]["named"]
        if number:
            tell(f"  {number:,} rows {said}{'' if len(named) == number else f', of them {len(named):,} by name'}")
        for row in named:
            print(f"{kind}: {_row(row)}")
    for note in found["notes"]:
        tell(f"  {note}")
    if "repair" in found:
        done = found["repair"]
        verdict = "equal now" if done["equal"] else "still NOT EQUAL"
        tell(f"  Repaired: {done['carried']:,} rows carried, {done['taken_away']:,} taken away; {verdict}")


def _row(row: dict[str, Any]) -> str:
    """A row's key, the columns that differ, and their values if they are to be shown."""
    text = ", ".join(f"{name}={_value(value)}" for name, value in row["key"].items())
    if "values" in row:
        pairs = row["values"].items()
        return text + ": " + ", ".join(f"{n} {_value(v['source'])} -> {_value(v['table'])}" for n, v in pairs)
    return text + (f": {', '.join(row['columns'])}" if row.get("columns") else "")


def _value(text: str | None) -> str:
    return "NULL" if text is None else repr(text)
