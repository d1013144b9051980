"""Rejected rows as a source: what earlier runs of a task could not carry, read back from beside the table."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from suiro.engine.rejected import rejected_table
from suiro.model.cells import cell_array
from suiro.model.change import Change, Checkpoint, Rows
from suiro.model.errors import ConfigError, DataError, UserError
from suiro.model.naming import split_name
from suiro.model.rejected import UNREADABLE
from suiro.model.schema import Position, ReadMode, Stream
from suiro.model.selection import Selection
from suiro.spi.powers import Queries
from suiro.spi.source import Read, Source

AT_ONCE = 10_000


class RetrySource(Source[Any]):
    """Offers the streams of `base`, whose rejected rows it reads by SQL from `kept`, the destination as a source.

    `task` is the family of the task's key (see `rejected.family`), `table` its table. After `recall`, `ids` has the
    ids of the rejected rows in the order in which they are read, and `left` tells how many can't be carried as they
    stand: of these a line that is no row, or nothing, was kept. Closing it closes both.
    """

    def __init__(self, base: Source[Any], kept: Source[Any]) -> None:
        super().__init__(base.config, base.context)
        if not isinstance(kept, Queries):
            raise ConfigError("rejected rows can only be read back from a database", hint="Read the source again.")
        self._base, self._kept = base, kept
        self._rows: list[str] = []
        self.ids: list[str] = []
        self.left = 0

    def recall(self, task: str, table: str) -> None:
        """Look up the rejected rows of a task."""
        assert isinstance(self._kept, Queries)
        from sqlglot import exp  # on use: it takes long to import

        parts = [exp.to_identifier(part, quoted=True) for part in split_name(rejected_table(table).name)]
        named = exp.Table(this=parts[-1], db=parts[-2] if len(parts) > 1 else None)
        asked = exp.select(exp.column("id", quoted=True), exp.column("row", quoted=True)).from_(named)
        asked = asked.where(exp.column("task", quoted=True).eq(task)).order_by(exp.column("id", quoted=True))
        try:
            found = [row for batch in self._kept.query(asked.sql(self._kept.sql_dialect)) for row in batch.to_pylist()]
        except UserError as error:
            raise ConfigError(f"{table} has no rejected rows to carry", hint="There is nothing to retry.") from error
        rows = [row for row in found if _is_row(row["row"])]
        self.ids, self._rows = [row["id"] for row in rows], [row["row"] for row in rows]
        self.left = len(found) - len(rows)

    def check(self) -> None:
        """As the source."""
        self._base.check()

    def discover(self) -> Iterator[Stream]:
        """As the source."""
        return self._base.discover()

    def find(self, name: str) -> Stream:
        """As the source."""
        return self._base.find(name)

    def plan(self, selections: Sequence[Selection]) -> Sequence[Read]:
        """One read."""
        return [Read(key=s.stream.name, selections=(s,)) for s in selections]

    def read(self, read: Read, since: Position | None) -> Iterator[Change]:
        """The rejected rows, in the order of `ids`; DataError if one isn't what a row of the stream is."""
        (selection,) = read.selections
        if selection.read_mode is not ReadMode.FULL:
            raise ConfigError("rejected rows are read in full", hint="Leave the read mode out.")
        fields = [selection.stream.schema.field(name) for name in selection.columns]
        for start in range(0, len(self._rows), AT_ONCE):
            rows = [json.loads(text) for text in self._rows[start : start + AT_ONCE]]
            yield Rows(selection.stream.name, _batch(rows, fields))
        yield Checkpoint({})

    def close(self) -> None:
        """Close both."""
        self._base.close()
        self._kept.close()


def _is_row(text: str | None) -> bool:
    """Whether a kept row is known by its columns. DataError if somebody made it something else."""
    if text is None:
        return False
    try:
        row = json.loads(text)
    except ValueError:
        row = None
    if not isinstance(row, dict):
        raise DataError(
            "the table of rejected rows holds a row that is no JSON object",
            hint='Write it as an object of texts by column: {"id": "1", "name": "a"}.',
            column="row",
        )
    return UNREADABLE not in row


def _batch(rows: list[dict[str, str | None]], fields: list[pa.Field]) -> pa.RecordBatch:
    arrays = []
    for field in fields:
        try:
            arrays.append(cell_array([row.get(field.name) for row in rows], field.type))
        except (pa.ArrowInvalid, pa.ArrowTypeError, ValueError) as error:
            raise DataError(
                f"rejected rows hold something in {field.name} that is no {field.type}",
                hint="Correct the rows in the table of rejected rows, as they stood before.",
                column=field.name,
            ) from error
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))
