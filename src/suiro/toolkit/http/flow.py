"""Pages of rows as the changes of a read: in the selection's columns, with what drifted, and the marks of a log."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from suiro.model.change import OP, SEQ, Change, Rejected, Rows, SchemaChange
from suiro.model.errors import DataError
from suiro.model.schema import ReadMode
from suiro.model.selection import Selection
from suiro.toolkit.http.followed import Followed
from suiro.toolkit.http.records import nothing
from suiro.toolkit.http.resources import Resource
from suiro.toolkit.http.walk import Came

ENOUGH_ROWS = 4_096
ENOUGH_BYTES = 2**20


class Flow:
    """Makes changes of what comes; small pages are put together."""

    def __init__(self, resource: Resource, selection: Selection, cursor: str | None) -> None:
        self._resource, self._selection, self._cursor = resource, selection, cursor
        self._log = selection.read_mode is ReadMode.LOG
        stream, chosen = resource.schema, list(selection.columns)
        self.keys = (
            selection.read_mode is ReadMode.FULL
            and cursor is None
            and bool(resource.primary_key)
            and set(chosen) <= set(resource.primary_key)
        )
        self.open_ = resource.open_ and set(chosen) == set(stream.names)
        extra: list[str | None] = [*resource.primary_key, cursor]
        if resource.cursor is not None and not (self.keys and resource.keys):
            extra.append(resource.cursor.field)
        if self._log or self.keys:
            extra.append(resource.deleted)
        names = dict.fromkeys([*chosen, *(name for name in extra if name is not None)])
        here = set(stream.names)  # what tells of deletes may be no column of the stream
        fields = [stream.field(name) if name in here else pa.field(name, pa.bool_()) for name in names]
        self.wanted = pa.schema(fields)  #: the columns to read
        self._out = pa.schema([stream.field(name) for name in chosen])
        self._waiting: list[pa.RecordBatch] = []
        self._rows = self._bytes = 0  # that wait
        self._deduplicated = 0

    def changes(self, came: Came, followed: Followed | None, *, later: bool) -> Iterator[Change]:
        """What a page brings. `later`: rows without a cursor value came with an earlier read."""
        batch = came.batch
        if self.keys and self._resource.deleted is not None:
            batch = batch.filter(pc.invert(_true(batch.column(self._resource.deleted))))
        if followed is not None and self._cursor is not None:
            if later:
                batch = batch.filter(batch.column(self._cursor).is_valid())
            batch, known = followed.pass_through(batch)
            self._deduplicated += known
        schema = self._chosen(batch.schema)
        if schema != self._out:
            yield from self.rest()
            self._out = schema
            yield SchemaChange(self._resource.name, schema)
        if came.rejected:
            yield from self._rejected(came)
        if batch.num_rows:
            self._waiting.append(self._marked(batch))
            self._rows += batch.num_rows
            self._bytes += batch.nbytes
        if self._rows >= ENOUGH_ROWS or self._bytes >= ENOUGH_BYTES:
            yield from self.rest()

    def rest(self) -> Iterator[Rows]:
        """The rows that wait."""
        waiting, self._waiting, self._rows, self._bytes = self._waiting, [], 0, 0
        if waiting or self._deduplicated:
            known, self._deduplicated = self._deduplicated, 0
            data = pa.concat_batches(waiting) if waiting else nothing(self._out)
            yield Rows(self._resource.name, data, deduplicated=known)

    def _chosen(self, there: pa.Schema) -> pa.Schema:
        """The selection's columns as they are by now, and the new ones."""
        names = [*self._selection.columns, *(name for name in there.names if name not in self.wanted.names)]
        return pa.schema([there.field(name) for name in names])

    def _marked(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The columns that go out; of a log with what became of each row, and the moment of it as bytes that sort."""
        out = batch.select(self._out.names)
        if not self._log or self._cursor is None or self._resource.deleted is None:
            return out
        moments = batch.column(self._cursor).cast(pa.int64()).to_pylist()
        marks = [((at or 0) + (1 << 63)).to_bytes(8, "big") for at in moments]
        did = pc.if_else(_true(batch.column(self._resource.deleted)), "d", "u")
        return out.append_column(OP, did).append_column(SEQ, pa.array(marks, pa.binary()))

    def _rejected(self, came: Came) -> Iterator[Change]:
        if not self._selection.rejects:
            first = came.rejected[0]
            raise DataError(
                f"{self._resource.name}: a row can't be read: {first.reason}",
                hint="Leave the column out, or let rows be rejected.",
                column=first.column,
            )
        yield from self.rest()
        yield Rejected(self._resource.name, came.rejected)


def _true(column: pa.Array) -> pa.Array:
    return pc.fill_null(column, False)
