"""Rows with values that no type of ours holds: told apart from the rows that arrive, and handed on as rejected.

They go the way of all rows up to the boundary, so that a read that resumes doesn't reject them again: each as a batch
of its own in which those values are NULL, with what was there in the schema's metadata.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from typing import Final

import pyarrow as pa

from suiro.model.cells import row_text
from suiro.model.change import Change, Rejected, Rows
from suiro.model.errors import DataError
from suiro.model.rejected import RejectedRow
from suiro.model.selection import Selection

_WANTED: Final = b"suiro.rejects"  #: of a SELECT's schema: such rows are told apart; the cursor's name, if any
_NOTES: Final = b"suiro.unreadable"  #: of the batch of one such row: column, text and reason of each value


class Unreadable:
    """The values of one batch that their columns' types don't hold. `sifted` empties it for the next batch."""

    def __init__(self, cursor: str | None) -> None:
        self._cursor = cursor
        self._notes: dict[int, list[tuple[str, str, str]]] = {}

    def note(self, row: int, column: str, *, text: str, reason: str, sorts_first: bool = False) -> None:
        """Row `row` holds `text` in a column, which is made NULL. DataError if every read would come upon it again.

        `sorts_first`: as a cursor it stands before all values, so that it comes with the first read alone.
        """
        if column == self._cursor and not sorts_first:
            raise DataError(
                f"{reason}; the column is the cursor, and such a row would come with every read",
                hint="Leave those rows out with a condition, or choose another cursor field.",
                column=column,
            )
        self._notes.setdefault(row, []).append((column, text, reason))

    def sifted(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        """The rows of which nothing is noted, then each other row in a batch of its own."""
        notes, self._notes = self._notes, {}
        if not notes:
            yield batch
            return
        if len(notes) < batch.num_rows:
            yield batch.filter(pa.array([at not in notes for at in range(batch.num_rows)]))
        for at in sorted(notes):
            yield batch.slice(at, 1).replace_schema_metadata({_NOTES: json.dumps(notes[at]).encode()})


def rejecting(schema: pa.Schema, selection: Selection) -> pa.Schema:
    """The schema of a SELECT, marked where the selection takes rejected rows."""
    if not selection.rejects:
        return schema
    return schema.with_metadata({_WANTED: (selection.cursor_field or "").encode()})


def wanted(schema: pa.Schema) -> Unreadable | None:
    """Where a SELECT's rows are to be told apart (see `rejecting`): what notes them."""
    cursor = (schema.metadata or {}).get(_WANTED)
    return None if cursor is None else Unreadable(cursor.decode() or None)


def rejected_apart(changes: Iterator[Change]) -> Iterator[Change]:
    """The changes, with `Rejected` for each row that `Unreadable.sifted` told apart."""
    with closing(changes):  # type: ignore[type-var]
        for change in changes:
            notes = (change.data.schema.metadata or {}).get(_NOTES) if isinstance(change, Rows) else None
            if notes is None or not isinstance(change, Rows):
                yield change
            elif change.data.num_rows:
                yield Rejected(change.stream, (_rejected(change.data, json.loads(notes)),))
            else:
                yield Rows(change.stream, change.data.replace_schema_metadata(None), change.deduplicated)


def _rejected(row: pa.RecordBatch, notes: list[tuple[str, str, str]]) -> RejectedRow:
    return RejectedRow(
        reason="; ".join(reason for _, _, reason in notes),
        column=notes[0][0],
        row=row_text(row, {column: text for column, text, _ in notes}),
    )
