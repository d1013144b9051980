"""The options of `suiro copy`: what each is called, takes and says of itself."""

from __future__ import annotations

from typing import Annotated

import typer

from suiro.model.job import Drift
from suiro.model.naming import NamePolicy
from suiro.model.receipt import Level
from suiro.model.schema import ReadMode
from suiro.model.selection import Deletes, Replace, Resync, WriteMode

Stream = Annotated[list[str] | None, typer.Option(help="A stream to copy; may be given several times.")]
All = Annotated[bool, typer.Option("--all", help="Copy every stream.")]
Exclude = Annotated[list[str] | None, typer.Option(help="With --all: leave out streams like this (with *).")]
Sql = Annotated[
    list[str] | None,
    typer.Option(help='Copy a query: "REPLICATE t SELECT ...", or @FILE that holds it; several times if need be.'),
]
TableName = Annotated[str | None, typer.Option("--table", help="The table's name, if not the stream's.")]

Read = Annotated[ReadMode, typer.Option(help="How to read.")]
Cursor = Annotated[str | None, typer.Option(help="The column that tells new rows from old.")]
LookBack = Annotated[str | None, typer.Option(help="Read again this far before the cursor: 90s, 2h, 3d, 100.")]
Start = Annotated[str | None, typer.Option(help="Begin the first incremental read at this cursor value.")]
Window = Annotated[
    str | None, typer.Option(help="Read and publish by windows of the cursor: 12h, 7d, 100000; resumes after the last.")
]
Backfill = Annotated[
    str | None, typer.Option(metavar="FROM..TO", help="Read the cursor values from FROM to before TO again, no others.")
]
ResyncHow = Annotated[
    Resync | None, typer.Option("--resync", help="Forget the position: replace the table's rows, or refresh them.")
]
Columns = Annotated[str | None, typer.Option(help="Columns to take, some renamed: a,b=c.")]
Where = Annotated[str | None, typer.Option(help="A SQL condition on the source's rows.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Take at most this many rows.")]

MostRejected = Annotated[
    str, typer.Option(help="Keep up to so many rows that can't be carried (100, 1%) in _suiro_rejected, and go on.")
]
RetryRejected = Annotated[
    bool, typer.Option("--retry-rejected", help="Carry the rows that earlier runs of this copy rejected, no others.")
]

Write = Annotated[
    WriteMode | None, typer.Option(help="How to write; by itself: replace, or merge for incremental reads.")
]
Key = Annotated[str | None, typer.Option(help="Columns that identify a row: a,b.")]
DriftHow = Annotated[Drift, typer.Option("--drift", help="What to do when the stream no longer fits the table.")]
DeletesHow = Annotated[
    Deletes, typer.Option("--deletes", help="What to do with rows that are gone at the source; all keys are compared.")
]
MostDeleted = Annotated[float, typer.Option(help="Stop if more than this share of the table's rows would be deleted.")]
ReplaceHow = Annotated[Replace, typer.Option("--replace", help="How a table is replaced.")]
OnlyNewData = Annotated[bool, typer.Option(help="Replace only if the source has rows.")]
Verify = Annotated[
    Level, typer.Option(help="How much the receipt compares; hash: every value, read back before it is published.")
]
RunId = Annotated[str | None, typer.Option(help="Name the run; an append of that run happens once.")]
Plan = Annotated[bool, typer.Option("--plan", help="Show what would be done, and change nothing.")]

Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=SQL", help="A column computed by SQL or a constant; several times if need be."),
]
Type = Annotated[
    list[str] | None,
    typer.Option(
        "--type", metavar="NAME=TYPE", help='A column in another type: "amount=decimal(12,2)"; several times.'
    ),
]
Drop = Annotated[str | None, typer.Option(help="Columns of the stream to leave out: a,b.")]
Masks = Annotated[
    str | None,
    typer.Option("--mask", help="Columns to mask: email=hash,id=tokenise,phone=mask:4,name=null,note=truncate:200."),
]
MaskKeyAt = Annotated[
    str | None, typer.Option("--mask-key", metavar="env:NAME|file:PATH", help="Where the key to hash and tokenise is.")
]
Prefix = Annotated[str, typer.Option(help="What table names begin with.")]
SchemaName = Annotated[str | None, typer.Option("--schema", help="The schema that holds the tables.")]
Names = Annotated[
    NamePolicy, typer.Option("--names", help="Names as they are, in snake case, or in ASCII; --plan shows them.")
]
Existing = Annotated[
    bool, typer.Option("--existing", help="The table is yours: it must fit, and is never altered or swapped.")
]
