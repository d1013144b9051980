"""Commands to look at data: preview, sql."""

from __future__ import annotations

from typing import Annotated, Any

import pyarrow as pa
import typer

from suiro.app import workbench
from suiro.cli.connections import Conn, Json
from suiro.cli.output import print_json, print_pushed, print_table, tell

SHOWN = 1000  #: rows of a query shown as a table; --json has no limit


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("preview", epilog="Example: suiro preview duckdb:///shop.duckdb orders -n 5")(preview)
    app.command("sql", epilog='Example: suiro sql warehouse "SELECT count(*) FROM flights"')(sql)


def preview(
    conn: Conn,
    stream: Annotated[str, typer.Argument(help="A stream's name, as `suiro streams` lists it.")],
    rows: Annotated[int, typer.Option("-n", min=1, help="How many rows.")] = 20,
    json: Json = False,
) -> None:
    """Show the first rows of a stream."""
    _show([*workbench.preview(conn, stream, rows).to_batches()], json)


def sql(
    conn: Conn,
    statement: Annotated[
        str, typer.Argument(help="One SQL statement, in the system's own dialect; DuckDB's for files.")
    ],
    plan: Annotated[bool, typer.Option("--plan", help="Show what the system does of it, and read nothing.")] = False,
    json: Json = False,
) -> None:
    """Run one SQL statement and show its rows."""
    if plan:
        found = workbench.sql_plan(conn, statement)
        if json:
            print_json(found)
        else:
            print_pushed(found)
        return
    with workbench.sql(conn, statement) as batches:
        if json:
            _show(list(batches), True)
            return
        taken: list[pa.RecordBatch] = []
        more = False
        for batch in batches:
            room = SHOWN - sum(b.num_rows for b in taken)
            taken.append(batch.slice(0, room))
            if batch.num_rows > room:
                more = True
                break
    if taken:
        _show(taken, False)
    else:
        tell("done; the statement returns no rows")
    if more:
        tell(f"only the first {SHOWN:,} rows are shown; --json gives all")


def _show(batches: list[pa.RecordBatch], json: bool) -> None:
    names = batches[0].schema.names if batches else []
    if json:
        print_json([dict(zip(names, row, strict=True)) for batch in batches for row in _rows(batch)])
    elif batches:
        print_table(names, [row for batch in batches for row in _rows(batch)])


def _rows(batch: pa.RecordBatch) -> list[list[Any]]:
    columns = [_plain(column) for column in batch.columns]
    return [list(row) for row in zip(*columns, strict=True)] if columns else []


def _plain(array: pa.Array) -> list[Any]:
    """Values as Python's; those that Python's calendar lacks, as their number."""
    try:
        return list(array.to_pylist())
    except (ValueError, OverflowError):
        number = pa.int32() if array.type.bit_width == 32 else pa.int64()
        return list(array.view(number).to_pylist())
