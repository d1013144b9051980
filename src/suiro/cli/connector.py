"""Commands as Treasure Data's `td connector:*`, from guess to run."""

from __future__ import annotations

import csv
import io
import json as json_format
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from suiro.app import running
from suiro.app.documents import ScheduleDocument
from suiro.app.metadata import Metadata, metadata
from suiro.app.treasure import guess as guessing
from suiro.app.treasure import history as runs_of
from suiro.app.treasure import preview as previewing
from suiro.app.treasure import sessions
from suiro.app.treasure.load_yml import read_load_yml, text_of
from suiro.app.treasure.sessions import Asked, Begun, Session
from suiro.app.treasure.task import Target
from suiro.cli.connections import Json
from suiro.cli.output import plain, print_json, tell
from suiro.cli.runs import carried, exit_code, print_result
from suiro.cli.schedules import tell_if_nobody_fires
from suiro.model.errors import ConfigError
from suiro.model.schedule import iana_zone

connector = typer.Typer(
    help="Load data as `td connector` does, with the same load.yml.", no_args_is_help=True, rich_markup_mode=None
)

Config = Annotated[Path, typer.Argument(metavar="CONFIG", help="A load.yml.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The session's name.")]
Format = Annotated[Literal["table", "json", "csv", "tsv"], typer.Option("--format", "-f", help="How rows are printed.")]
Wait = Annotated[bool, typer.Option("--wait", "-w", help="Wait for the end; it is always waited for.")]
TimeColumn = Annotated[
    str | None, typer.Option("--time-column", help="The long or timestamp column whose time rows get.")
]
Create = Annotated[
    bool, typer.Option("--auto-create-table", help="Make the database and the table if they aren't there.")
]
Destination = Annotated[
    str | None,
    typer.Option(
        help="Where the database is: a connection's name or a URI. Else SUIRO_TD_DESTINATION, else the warehouse."
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(connector, name="connector")


@connector.command("guess", epilog="Example: suiro connector guess config.yml -o load.yml")
def guess(
    config: Config,
    out: Annotated[Path, typer.Option("--out", "-o", help="The file to write; one that is there is kept.")] = Path(
        "config.yml"
    ),
    parsers: Annotated[
        str | None, typer.Option("--guess", "-g", metavar="NAME,...", help="Parsers to try: csv, jsonl.")
    ] = None,
    json: Json = False,
) -> None:
    """Complete a load.yml: find how files are written, and their columns."""
    tried = tuple(parsers.split(",")) if parsers else guessing.PARSERS
    found = guessing.guess(read_load_yml(config), tried)
    kept = guessing.write(found.text, out)
    if json:
        print_json({"out": str(out), "kept": None if kept is None else str(kept), "notes": found.notes})
        return
    print("Guessed configuration:\n")
    print(found.text)
    for note in found.notes:
        tell(note)
    if kept is not None:
        tell(f"The file that was there is now {kept}.")
    print(f"Created {out} file.")
    print(f"Use 'suiro connector preview {out}' to see bulk load preview.")


@connector.command("preview", epilog="Example: suiro connector preview load.yml")
def preview(
    config: Config,
    rows: Annotated[int, typer.Option("-n", min=1, max=1000, help="How many rows.")] = 20,
    format: Format = "table",
    json: Json = False,
) -> None:
    """Show the first rows of what a load.yml reads, after its filters."""
    found = previewing.preview(read_load_yml(config), rows)
    heads = [f"{name}:{kind}" for name, kind in found.heads]
    kind = "json" if json else format
    _print_rows(heads, [[_inspected(v) for v in row] for row in found.rows] if kind == "table" else found.rows, kind)
    for note in found.notes:
        tell(note)
    tell(f"Update {config} and use 'suiro connector preview {config}' to preview again.")
    tell(f"Use 'suiro connector issue {config}' to run the load.")


@connector.command(
    "issue", epilog="Example: suiro connector issue load.yml --database sales --table users --time-column created_at"
)
def issue(
    config: Config,
    database: Annotated[str, typer.Option(help="The database: a schema of the destination.")],
    table: Annotated[str, typer.Option(help="The table.")],
    time_column: TimeColumn = None,
    auto_create_table: Create = False,
    wait: Wait = False,
    destination: Destination = None,
    json: Json = False,
) -> None:
    """Run one load."""
    known = metadata()
    target = Target(database=database, table=table, time_column=time_column)
    asked = _asked(config, target, auto_create_table, destination)
    _carry(sessions.issue(asked, known), known, json)


@connector.command("list", epilog="Example: suiro connector list")
def list_sessions(format: Format = "table", json: Json = False) -> None:
    """List what was created, with the next times."""
    known = metadata()
    found = sessions.sessions(known)
    if json:
        print_json([asdict(one) for one in found])
        return
    heads = ["Name", "Cron", "Timezone", "Delay", "Database", "Table", "Next"]
    rows = [[s.name, s.cron, s.timezone, s.delay, s.database, s.table, _next(s)] for s in found]
    _print_rows(heads, rows, format)
    if any(one.times for one in found):
        tell_if_nobody_fires(known)


@connector.command("create", epilog='Example: suiro connector create daily "10 0 * * *" sales users load.yml')
def create(
    name: Name,
    cron: Annotated[str, typer.Argument(help='Cron\'s five fields, @hourly, @daily, @monthly; "" for no schedule.')],
    database: Annotated[str, typer.Argument(help="The database: a schema of the destination.")],
    table: Annotated[str, typer.Argument(help="The table.")],
    config: Config,
    time_column: TimeColumn = None,
    timezone: Annotated[str, typer.Option("--timezone", "-t", help="The schedule's IANA time zone.")] = "UTC",
    delay: Annotated[int, typer.Option("--delay", "-D", min=0, help="Seconds after the schedule's time.")] = 0,
    auto_create_table: Create = False,
    destination: Destination = None,
    json: Json = False,
) -> None:
    """Keep a load under a name, with a schedule."""
    known = metadata()
    target = Target(database=database, table=table, time_column=time_column)
    asked = _asked(config, target, auto_create_table, destination)
    schedule = ScheduleDocument(cron=cron, timezone=timezone, delay=f"{delay}s") if cron.strip() else None
    for note in sessions.create(name, asked, schedule, known):
        tell(note)
    _print_session(sessions.session(name, known), json)


@connector.command("show", epilog="Example: suiro connector show daily")
def show(name: Name, json: Json = False) -> None:
    """Show a load: its schedule, its load.yml without secrets, and how far it came."""
    _print_session(sessions.session(name, metadata()), json)


@connector.command("update", epilog="Example: suiro connector update daily -c load.yml -s @daily")
def update(
    name: Name,
    config_file: Annotated[Path | None, typer.Argument(metavar="[CONFIG]", help="A new load.yml.")] = None,
    newname: Annotated[str | None, typer.Option("--newname", "-n", help="Another name.")] = None,
    database: Annotated[str | None, typer.Option("--database", "-d", help="Another database.")] = None,
    table: Annotated[str | None, typer.Option("--table", "-t", help="Another table.")] = None,
    schedule: Annotated[
        str | None, typer.Option("--schedule", "-s", metavar="CRON", help='Another schedule; "" for none.')
    ] = None,
    timezone: Annotated[str | None, typer.Option("--timezone", "-z", help="The schedule's IANA time zone.")] = None,
    delay: Annotated[
        int | None, typer.Option("--delay", "-D", min=0, help="Seconds after the schedule's time.")
    ] = None,
    time_column: Annotated[str | None, typer.Option("--time-column", "-T", help="Another time column.")] = None,
    config: Annotated[Path | None, typer.Option("--config", "-c", help="A new load.yml.")] = None,
    config_diff: Annotated[
        Path | None, typer.Option("--config-diff", help="Where the load begins anew: in: {last_record: [...]}.")
    ] = None,
    json: Json = False,
) -> None:
    """Change a load. A secret that the new load.yml shows as *** stays what it was."""
    said = {
        "name": newname,
        "database": database,
        "table": table,
        "cron": schedule,
        "timezone": timezone,
        "delay": delay,
        "time_column": time_column,
    }
    changes = {key: value for key, value in said.items() if value is not None}
    file = config or config_file
    if not changes and file is None and config_diff is None:
        raise ConfigError("there is nothing to update", hint="Give a load.yml or an option; --help lists them.")
    known = metadata()
    name = sessions.update(
        name,
        known,
        text=None if file is None else (text_of(file), str(file)),
        changes=changes,
        diff=None if config_diff is None else (text_of(config_diff), str(config_diff)),
    )
    _print_session(sessions.session(name, known), json)


@connector.command("delete", epilog="Example: suiro connector delete daily")
def delete(name: Name, json: Json = False) -> None:
    """Forget a load; its runs and its rows stay."""
    known = metadata()
    found = sessions.session(name, known)
    sessions.delete(name, known)
    if not json:
        print("Deleted session\n--")
    _print_session(found, json, gone=True)


@connector.command("history", epilog="Example: suiro connector history daily")
def history(
    name: Name,
    number: Annotated[int, typer.Option("-n", min=1, max=1000, help="How many, newest first.")] = 20,
    format: Format = "table",
    json: Json = False,
) -> None:
    """List the runs of a load."""
    found = runs_of.history(name, metadata(), number)
    if json:
        print_json([asdict(one) for one in found])
        return
    heads = ["JobID", "Status", "Records", "Database", "Table", "Started", "Duration", "Session time"]
    rows = [
        [
            *(r.id, r.status, r.records, r.database, r.table, _moment(r.started)),
            *("" if r.duration is None else r.duration, _moment(r.session_time)),
        ]
        for r in found
    ]
    _print_rows(heads, rows, format)


@connector.command("run", epilog="Example: suiro connector run daily")
def run(
    name: Name,
    time: Annotated[
        str | None, typer.Argument(metavar="[TIME]", help="The scheduled time that the run stands for.")
    ] = None,
    wait: Wait = False,
    json: Json = False,
) -> None:
    """Run a load that was created."""
    known = metadata()
    found = sessions.session(name, known)
    at = None if time is None else _session_time(time, found.timezone)
    if at is not None:
        tell(f"What is read doesn't depend on the time {time}: the load goes on where it came to.")
    for before in running.interrupted(name, known):
        tell(f"Job {before} was interrupted; it is carried to its end first.")
        carried(before, known, json)
    _carry(sessions.run(name, known, scheduled_for=at), known, json)


def _asked(config: Path, target: Target, auto_create_table: bool, destination: str | None) -> Asked:
    return Asked(
        text=text_of(config),
        label=str(config),
        target=target,
        auto_create_table=auto_create_table,
        destination=destination,
    )


def _carry(begun: Begun, known: Metadata, json: bool) -> None:
    """Carry a run to its end, and leave with its exit code."""
    for note in begun.notes:
        tell(note)
    if not json:
        print(f"Job {begun.run.id} is queued.")
        print(f"Use 'suiro td job {begun.run.id}' to show the status.")
    found = carried(begun.run.id, known, json)
    print_result(found, json)
    if not json:
        print(f"Status     : {runs_of.STATUS[found['status']]}")
    sys.exit(exit_code(found))


def _session_time(text: str, zone: str) -> datetime:
    """The moment that a text says, by the schedule's time zone if it names none."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{text!r} is no time", hint='Write "2026-01-31 00:00:00".') from None
    return found if found.tzinfo is not None else found.replace(tzinfo=iana_zone(zone))


def _print_session(found: Session, json: bool, *, gone: bool = False) -> None:
    if json:
        print_json(asdict(found))
        return
    for head, value in (
        ("Name", found.name),
        ("Cron", found.cron),
        ("Timezone", found.timezone),
        ("Delay", found.delay),
        ("Database", found.database),
        ("Table", found.table),
        ("Time", found.time_column or ""),
        ("To", found.destination),
        ("Next", "paused" if found.paused else ", ".join(map(_moment, found.times))),
    ):
        print(f"{head:<9}: {value}".rstrip())
    print(f"Config\n---\n{found.load_yml.rstrip()}\n")
    diff = json_format.dumps(found.diff, ensure_ascii=False, default=plain) if found.diff else "{}"
    print(f"Config Diff\n---\n{diff}")
    if found.times and not gone:
        tell_if_nobody_fires(metadata())


def _next(found: Session) -> str:
    return "paused" if found.paused else _moment(found.times[0]) if found.times else ""


def _moment(at: datetime | None) -> str:
    return "" if at is None else at.strftime("%Y-%m-%d %H:%M:%S %z")


def _inspected(value: Any) -> str:
    """A value as td's preview prints it: texts in quotes, nil for NULL."""
    if value is None:
        return "nil"
    return json_format.dumps(value, ensure_ascii=False)


def _print_rows(heads: Sequence[str], rows: Sequence[Sequence[Any]], format: str) -> None:
    match format:
        case "json":
            print_json([dict(zip(heads, row, strict=True)) for row in rows])
        case "csv" | "tsv":
            text = io.StringIO()
            writer = csv.writer(text, delimiter="," if format == "csv" else "\t", lineterminator="\n")
            writer.writerows([heads, *rows])
            sys.stdout.write(text.getvalue())
        case _:
            _print_box(heads, [["" if value is None else str(value) for value in row] for row in rows])


def _print_box(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table within lines, as td draws it; never folded or cut."""
    from rich.cells import cell_len

    widths = [max(map(cell_len, column)) for column in zip(heads, *rows, strict=True)]
    rule = "".join(f"+{'-' * (width + 2)}" for width in widths) + "+"

    def line(cells: Sequence[str]) -> str:
        padded = (cell + " " * (width - cell_len(cell)) for cell, width in zip(cells, widths, strict=True))
        return f"| {' | '.join(padded)} |"

    print("\n".join([rule, line(heads), rule, *map(line, rows), *([rule] if rows else [])]))
    print(f"{len(rows)} row{'' if len(rows) == 1 else 's'} in set")
