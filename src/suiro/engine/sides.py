"""The two sides of a comparison: rows hashed by the system that holds them, or else by Suiro as it reads them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from suiro.engine.canonical import Writer
from suiro.engine.context import RunContext
from suiro.engine.ledger import Ledger
from suiro.engine.transform import RowFilter
from suiro.model.change import Checkpoint, Rows
from suiro.model.errors import InternalError
from suiro.spi.powers import Checksums, Hashed, Hashing
from suiro.spi.source import Source

MOST_NAMED: Final = 1_000  #: keys that a condition lists
_MOST_BUCKETS: Final = 5_000  #: buckets that a condition lists


class Side:
    """One side: `name` is "source" or "target". `residual` is the part of the condition that Suiro evaluates."""

    def __init__(
        self, name: str, source: Source[Any], hashing: Hashing, residual: str | None, context: RunContext
    ) -> None:
        self.name, self.source, self.hashing, self.context = name, source, hashing, context
        self._filter = RowFilter(residual) if residual else None
        self._hashed: Hashed | None = None
        self._all_there = False  #: in the ledger
        stream = hashing.selection.stream
        self.inside = (
            isinstance(source, Checksums)
            and residual is None
            and all(source.hashes(stream, column, form) for column, form in hashing.forms.items())
        )

    def buckets(self, ledger: Ledger, number: int) -> dict[int, tuple[int, int]]:
        """By bucket how many rows there are, and their checksum. May be called again with another number."""
        if self.inside:
            assert isinstance(self.source, Checksums)
            self._hashed = self._hashed or self.source.hashed(self.hashing)
            return self._hashed.buckets(number)
        pen = ledger.pen()
        if not self._all_there:
            writer: Writer | None = None
            for batch in self.rows():
                writer = writer or Writer(batch.schema, self.hashing.forms, self.hashing.key)
                ledger.add(self.name, pen, writer.plain(batch), writer.key, writer.row)
            self._all_there = True
        return ledger.buckets(self.name, pen, number)

    def gather(self, ledger: Ledger, number: int, buckets: Sequence[int]) -> None:
        """Have the ledger hold the hashes of the rows of these buckets, of the state that `buckets` saw."""
        if self._hashed is None:
            return
        pen = ledger.pen()
        with closing(self._hashed.rows(number, buckets)) as batches:  # type: ignore[type-var]
            for batch in batches:
                ledger.add(self.name, pen, batch, "k", "r")

    def let_go(self) -> None:
        """Let go of the snapshot."""
        if self._hashed is not None:
            self._hashed.close()
            self._hashed = None

    def rows_of(
        self, ledger: Ledger, keys: Sequence[str], number: int, buckets: Sequence[int], columns: Sequence[str]
    ) -> Iterator[tuple[pa.RecordBatch, list[str]]]:
        """The rows with these keys' hashes as they are now, with at least these columns, and their keys' hashes."""
        where = None
        if self.inside and len(buckets) <= _MOST_BUCKETS:
            assert isinstance(self.source, Checksums)
            named = keys if len(keys) <= MOST_NAMED else ()
            where = self.source.in_buckets(self.hashing, number, buckets, named)
        wanted = pa.array(keys, pa.string())
        writer: Writer | None = None
        for batch in self.rows(where, columns):
            forms = {name: self.hashing.forms[name] for name in self.hashing.key}
            writer = writer or Writer(batch.schema, forms, self.hashing.key)
            found = ledger.ask(writer.plain(batch), {"k": writer.key}).column("k").combine_chunks()
            mask = pc.is_in(found, value_set=wanted)
            if pc.any(mask).as_py():
                yield batch.filter(mask), found.filter(mask).to_pylist()

    def rows(self, where: str | None = None, columns: Sequence[str] = ()) -> Iterator[pa.RecordBatch]:
        """The rows as they are now; those of one more condition of the source's."""
        selection = self.hashing.selection
        names = {*selection.columns, *columns}
        if where is not None and selection.where is not None:
            where = f"(\n{selection.where}\n) AND ({where})"
        chosen = tuple(name for name in selection.stream.schema.names if name in names or self._filter is not None)
        selection = replace(selection, columns=chosen, where=where or selection.where)
        for read in sorted(self.source.plan([selection]), key=lambda read: read.phase):
            ended = False
            with closing(self.source.read(read, None)) as changes:  # type: ignore[type-var]
                for change in changes:
                    self.context.check_cancelled()
                    ended = isinstance(change, Checkpoint)
                    if isinstance(change, Rows) and change.data.num_rows:
                        yield change.data if self._filter is None else self._filter.keep(change.data)
            if not ended:
                raise InternalError(f"the read {read.key} ended without a checkpoint")
