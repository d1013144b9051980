"""Rejected rows: sifted out of what is carried, kept with their reasons, and carried again after a fix."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

import pyarrow as pa

from suiro.model.cells import row_text
from suiro.model.change import OP, SEQ, Rejected
from suiro.model.errors import DataError
from suiro.model.job import TaskKey
from suiro.model.naming import join_name, split_name
from suiro.model.rejected import REJECTED, SCHEMA, RejectedRow
from suiro.model.schema import Table
from suiro.model.selection import Deletes, WriteMode, WriteSpec
from suiro.spi.destination import Claim

Act = Callable[[pa.RecordBatch], tuple[pa.RecordBatch, int]]
MOST_HELD = 1 << 25  #: characters of rejected rows that wait in memory for their load's publish

APPENDED = WriteSpec(mode=WriteMode.APPEND)
TAKEN_BACK = WriteSpec(mode=WriteMode.MERGE, key=("id",), deletes=Deletes.HARD)
_IDS = pa.schema([("id", pa.string()), (OP, pa.string())])


def rejected_table(name: str) -> Table:
    """The table of rejected rows that stands beside a table."""
    return Table(name=join_name([*split_name(name)[:-1], REJECTED]), schema=SCHEMA)


def ids_table(name: str) -> Table:
    """The same table, as rows are taken out of it."""
    return Table(name=rejected_table(name).name, schema=pa.schema([_IDS.field("id")]), primary_key=("id",))


class Rejects:
    """Rows of one task run that can't be carried; those of the load under way wait for its publish.

    `ids`: the rejected rows that a retry carries again, in the order of its rows.
    """

    def __init__(
        self,
        claim: Claim,
        stream: str,
        *,
        most: int | float,
        number: int = 0,
        ids: Sequence[str] = (),
    ) -> None:
        self._claim, self._stream, self._most = claim, stream, most
        self._ids, self._seen, self._again = ids, 0, set[str]()
        self._waiting: list[dict[str, object]] = []
        self._held = 0  #: characters that wait
        self.number = number  #: in all, those before included
        self._first: str | None = None

    @property
    def taken(self) -> bool:
        """Whether rows may be rejected at all."""
        return bool(self._most)

    @property
    def waiting(self) -> int:
        """How many belong to the load under way."""
        return len(self._waiting)

    def sift(self, data: pa.RecordBatch, act: Act) -> Iterator[tuple[pa.RecordBatch, int]]:
        """What `act` makes of the rows that it takes, in their order; the others are rejected, each with its reason."""
        try:
            done = act(data)
        except DataError as error:
            if not self.taken:
                raise
            if data.num_rows == 1:
                self._reject(RejectedRow(reason=error.message, column=error.column, row=_text(data)))
                self._seen += 1
                return
        else:
            self._seen += data.num_rows
            yield done
            return
        half = data.num_rows // 2
        yield from self.sift(data.slice(0, half), act)
        yield from self.sift(data.slice(half), act)

    def unreadable(self, change: Rejected) -> None:
        """Rows that the source could not read."""
        for row in change.rows:
            self._reject(row)

    def check_share(self, read: int) -> None:
        """DataError if too great a share of the rows read is rejected."""
        if isinstance(self._most, float) and self.number > self._most * read:
            raise self._too_many(f"{self.number:,} of {read:,} rows were rejected, more than {self._most:.2%}")

    def batch(self) -> pa.RecordBatch:
        """The rejected rows of the load under way, as their table takes them."""
        columns = [pa.array([row[f.name] for row in self._waiting], f.type) for f in SCHEMA]
        return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)

    def carried_again(self) -> pa.RecordBatch:
        """The ids of rejected rows that a retry carried, as deletes."""
        done = [id_ for id_ in self._ids[: self._seen] if id_ not in self._again]
        return pa.RecordBatch.from_arrays([pa.array(done, pa.string()), pa.repeat("d", len(done))], schema=_IDS)

    def published(self) -> None:
        """The load under way is published, with its rejected rows."""
        self._waiting, self._held = [], 0

    def _reject(self, row: RejectedRow) -> None:
        self.number += 1
        self._first = self._first or row.reason
        if isinstance(self._most, int) and self.number > self._most:
            raise self._too_many(f"{self.number:,} rows were rejected, more than the {self._most:,} allowed")
        if self._ids:
            self._again.add(self._ids[self._seen])
            return
        self._held += len(row.row or "") + len(row.reason)
        if self._held > MOST_HELD:
            raise self._too_many(f"the rows rejected from one load take more than {MOST_HELD >> 20} MB")
        key, epoch = self._claim.key, self._claim.epoch  # the epoch: a run of the same name may go on after another
        digest = hashlib.sha256(f"{key.digest()} {epoch} {self.number}".encode()).hexdigest()[:24]
        self._waiting.append(
            {
                "id": digest,
                "task": family(key),
                "run": self._claim.run,
                "stream": self._stream,
                "table_name": key.table,
                "rejected_at": datetime.now(UTC),
                "column_name": row.column,
                "reason": row.reason,
                "row": row.row,
            }
        )

    def _too_many(self, said: str) -> DataError:
        return DataError(
            f"{said}; the first: {self._first}", hint="Correct the rows at the source, or allow more to be rejected."
        )


def _text(row: pa.RecordBatch) -> str | None:
    return row_text(row.select([name for name in row.schema.names if name not in (OP, SEQ)]))


def family(key: TaskKey) -> str:
    """What the rejected rows of all runs of a task have in common: the digest of its key without the generation."""
    return TaskKey(source=key.source, stream=key.stream, filter=key.filter, table=key.table).digest()
