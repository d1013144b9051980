"""The command `suiro copy`."""

from __future__ import annotations

import dataclasses
import signal
import sys
from types import FrameType
from typing import Annotated, Any

import typer

from suiro.app.mapping import mask_key_of, rules_of
from suiro.app.results import run_as_json
from suiro.app.runs import Copy, Copying
from suiro.app.statements import statement_of
from suiro.app.tasks import backfill_of, columns_of, masks_of, most_of, names_of_columns, pairs_of, window_of
from suiro.cli import options
from suiro.cli.connections import Json
from suiro.cli.output import print_fit, print_json, print_pushed, print_run, print_table, progress, said
from suiro.model.errors import ConfigError
from suiro.model.job import Drift, Task
from suiro.model.naming import NamePolicy
from suiro.model.receipt import Level
from suiro.model.run import Run, Status
from suiro.model.schema import ReadMode
from suiro.model.selection import Deletes, Replace, Resync


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("copy", epilog="Example: suiro copy 'file:///data/*.csv.gz' warehouse --all")(copy)


def copy(
    source: Annotated[str, typer.Argument(metavar="FROM", help="Where from: a URI, or a connection's name.")],
    destination: Annotated[str, typer.Argument(metavar="TO", help="Where to: a URI, or a connection's name.")],
    stream: options.Stream = None,
    all_: options.All = False,
    exclude: options.Exclude = None,
    sql: options.Sql = None,
    table: options.TableName = None,
    read: options.Read = ReadMode.FULL,
    write: options.Write = None,
    key: options.Key = None,
    cursor: options.Cursor = None,
    look_back: options.LookBack = None,
    start: options.Start = None,
    window: options.Window = None,
    backfill: options.Backfill = None,
    resync: options.ResyncHow = None,
    columns: options.Columns = None,
    drop: options.Drop = None,
    set_: options.Set = None,
    type_: options.Type = None,
    mask: options.Masks = None,
    mask_key: options.MaskKeyAt = None,
    prefix: options.Prefix = "",
    schema: options.SchemaName = None,
    names: options.Names = NamePolicy.AS_IS,
    existing: options.Existing = False,
    where: options.Where = None,
    limit: options.Limit = None,
    most_rejected: options.MostRejected = "0",
    retry_rejected: options.RetryRejected = False,
    drift: options.DriftHow = Drift.EVOLVE,
    deletes: options.DeletesHow = Deletes.SKIP,
    most_deleted: options.MostDeleted = 0.5,
    replace: options.ReplaceHow = Replace.AUTO,
    only_new_data: options.OnlyNewData = False,
    verify: options.Verify = Level.SUMS,
    run_id: options.RunId = None,
    plan: options.Plan = False,
    json: Json = False,
) -> None:
    """Copy streams of one system into tables of another, and prove that they arrived."""
    _check(stream, all_, sql, [columns, drop, where, exclude])
    task = dataclasses.replace(
        _reading(read, cursor, look_back, start, window, backfill, resync),
        table=table,
        write=write,
        key=tuple(part.strip() for part in key.split(",")) if key else None,
        where=where,
        limit=limit,
        most_rejected=most_of(most_rejected),
        retry=retry_rejected,
        drift=drift,
        deletes=deletes,
        most_deleted=most_deleted,
        replace=replace,
        only_new_data=only_new_data,
        existing=existing,
        verify=verify,
    )
    asked = Copy(
        source=source,
        destination=destination,
        streams=tuple(stream or ()),
        exclude=tuple(exclude or ()),
        statements=tuple(statement_of(text) for text in sql or ()),
        task=_mapping(task, columns, drop, type_, mask, mask_key),
        mapping=rules_of(pairs_of(set_ or (), "--set"), names, prefix, schema),
        run=run_id,
    )
    if plan:
        _plan(asked, json)
    else:
        _run(asked, json)


def _check(stream: list[str] | None, all_: bool, sql: list[str] | None, beside: list[Any]) -> None:
    if [bool(stream), all_, bool(sql)].count(True) != 1:
        raise ConfigError(
            "say which streams to copy",
            hint="Give --stream NAME (several times if need be), --all, or --sql STATEMENT.",
        )
    if sql and any(beside):
        raise ConfigError(
            "--columns, --drop, --where and --exclude have no place beside --sql",
            hint="Choose columns and rows in the SELECT.",
        )


def _reading(
    read: ReadMode,
    cursor: str | None,
    look_back: str | None,
    start: str | None,
    window: str | None,
    backfill: str | None,
    resync: Resync | None,
) -> Task:
    """A task with what is said about reading."""
    return Task(
        stream="",
        read=read,
        cursor=cursor,
        look_back=window_of(look_back) if look_back else None,
        start=start,
        window=window_of(window) if window else None,
        backfill=backfill_of(backfill) if backfill else None,
        resync=resync,
    )


def _mapping(
    task: Task,
    columns: str | None,
    drop: str | None,
    types: list[str] | None,
    masks: str | None,
    mask_key: str | None,
) -> Task:
    """The task with what is said about its columns."""
    return dataclasses.replace(
        task,
        columns=columns_of(columns) if columns else {},
        drop=names_of_columns(drop) if drop else (),
        types=pairs_of(types or (), "--type"),
        masks=masks_of(masks) if masks else {},
        mask_key=mask_key_of(mask_key) if mask_key else None,
    )


def _plan(asked: Copy, json: bool) -> None:
    plans = Copying(asked).plan()
    if json:
        print_json(plans)
    else:
        _show_plans(plans)
    if any(found.get("misfits") for found in plans):
        sys.exit(1)


def _show_plans(plans: list[dict[str, Any]]) -> None:
    for found in plans:
        key = f", key {', '.join(found['key'])}" if found["key"] else ""
        new = "" if found["exists"] else " (new)"
        print(f"{found['stream']} -> {found['table']}{new}: {found['read']} read, {found['write']}{key}")
        print_pushed(found)
        print_table(
            ["source", "column", "type", ""],
            [[c["source"] or "(Suiro)", c["name"], c["type"], said(c)] for c in found["columns"]],
        )
        print_fit(found)


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
