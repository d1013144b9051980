"""Commands about connections: connectors, check, streams."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import pyarrow as pa
import typer

from suiro.app import catalog, connections
from suiro.cli.output import print_json, print_table, tell
from suiro.model.types import logical_type

Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, for machines.")]
Conn = Annotated[str, typer.Argument(metavar="CONN", help="A URI, a connection string, or the name of a connection.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("connectors", epilog="Example: suiro connectors post")(list_connectors)
    app.command("check", epilog="Example: suiro check postgresql://user:pw@host/database")(check)
    app.command("streams", epilog="Example: suiro streams 'file:///data/*.csv'")(streams)


def list_connectors(
    search: Annotated[str, typer.Argument(help="Part of a name or title.")] = "", json: Json = False
) -> None:
    """List the connectors there are."""
    found = catalog.connectors(search)
    if json:
        print_json([asdict(entry) for entry in found])
        return
    rows = [
        [
            e.name,
            e.title,
            ", ".join(f"{s}://" for s in e.schemes),
            *map(_word, (e.source, e.destination, e.application)),
        ]
        for e in found
    ]
    heads = ["name", "title", "URI", "source", "destination", "write-back", "stability"]
    print_table(heads, [[*row, e.stability] for row, e in zip(rows, found, strict=True)])


def check(conn: Conn, json: Json = False) -> None:
    """Reach a system with these settings; nothing is changed."""
    found = connections.check(conn)
    if json:
        of = found.connection
        print_json({"connection": of.name, "connector": of.connector.name, "ok": True, "notes": found.notes})
    else:
        tell(f"{found.connection.name}: reached")
        for note in found.notes:
            tell(note)


def streams(conn: Conn, json: Json = False) -> None:
    """List the streams of a source with their columns."""
    with connections.streams(conn) as found:
        listed = list(found)
    if json:
        print_json(
            [
                {
                    "name": s.name,
                    "columns": [{"name": f.name, "type": _type(f)} for f in s.schema],
                    "primary_key": s.primary_key,
                    "cursor_fields": s.cursor_fields,
                    "read_modes": sorted(s.read_modes),
                    "rows": s.rows,
                    "notes": s.notes,
                }
                for s in listed
            ]
        )
        return
    print_table(
        ["stream", "columns", "key", "cursor fields", "rows (about)"],
        [
            [
                s.name,
                len(s.schema.names),
                ", ".join(s.primary_key),
                ", ".join(s.cursor_fields[:3]),
                "" if s.rows is None else s.rows,
            ]
            for s in listed
        ],
    )
    for note in sorted({note for s in listed for note in s.notes}):
        tell(note)


def _type(field: pa.Field) -> str:
    return logical_type(field) or str(field.type)


def _word(there: bool) -> str:
    return "yes" if there else "-"
