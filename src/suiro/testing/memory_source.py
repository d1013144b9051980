"""A source in memory: the contract kept in the plainest way, to read and to test with."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ConfigDict, Field

from suiro.model.change import Change, Checkpoint, Rows, SchemaChange, Truncate
from suiro.model.errors import ConfigError, ConnectionLost
from suiro.model.schema import Position, ReadMode, Stream
from suiro.model.selection import Selection
from suiro.model.summary import Summary, summarise
from suiro.spi.connector import ConnectorConfig
from suiro.spi.powers import Summarises
from suiro.spi.source import Read, Source
from suiro.toolkit.boundary import Boundary, decode

MODES = frozenset({ReadMode.FULL, ReadMode.INCREMENTAL})


class MemoryStreams:
    """The system that memory sources read: streams with their rows and logs, and its moods.

    `breaks_after`: the connection is lost once after this many rows, counted over all reads. `batch_rows`: how
    many rows come at once. `checkpoint_rows`: a checkpoint after so many rows, where the order of reading allows
    it; None: at the end alone. `parts`: into how many reads a full read is split.
    """

    def __init__(
        self,
        *,
        breaks_after: int | None = None,
        batch_rows: int = 1000,
        checkpoint_rows: int | None = None,
        parts: int = 1,
    ) -> None:
        self.streams: dict[str, Stream] = {}
        self.rows: dict[str, pa.Table] = {}
        self.logs: dict[str, list[Rows | SchemaChange | Truncate]] = {}
        self.acknowledged: list[Position] = []
        self.breaks_after, self.batch_rows = breaks_after, batch_rows
        self.checkpoint_rows, self.parts = checkpoint_rows, parts

    def fill(
        self, name: str, rows: pa.Table, key: tuple[str, ...] = (), cursor_fields: tuple[str, ...] | None = None
    ) -> Stream:
        """Make or replace a stream that holds these rows. Cursor fields: by default every column that has an order."""
        fit = tuple(f.name for f in rows.schema if _has_order(f.type)) if cursor_fields is None else cursor_fields
        self.streams[name] = Stream(
            name=name, schema=rows.schema, primary_key=key, cursor_fields=fit, read_modes=MODES, rows=len(rows)
        )
        self.rows[name] = rows
        return self.streams[name]

    def add(self, name: str, rows: pa.Table) -> None:
        """Rows that come to a stream later."""
        self.rows[name] = pa.concat_tables([self.rows[name], rows.cast(self.rows[name].schema)])

    def record(self, name: str, changes: Sequence[Rows | SchemaChange | Truncate]) -> Stream:
        """Add to the change log of a stream (made by `fill`), which log reads follow."""
        self.logs.setdefault(name, []).extend(changes)
        there = self.streams[name]
        self.streams[name] = Stream(
            name=name,
            schema=there.schema,
            primary_key=there.primary_key,
            cursor_fields=there.cursor_fields,
            read_modes=MODES | {ReadMode.LOG},
        )
        return self.streams[name]


class MemorySourceConfig(ConnectorConfig):
    """Which streams to read."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    name: str = Field(default="memory", title="Name", description="Tells one set of streams from another.")
    system: MemoryStreams = Field(title="Streams", description="The streams and their rows.")

    def identity(self) -> str:
        """The name alone."""
        return f"memory:{self.name}"


class MemorySource(Source[MemorySourceConfig], Summarises):
    """Reads `MemoryStreams`.

    Positions: of full reads `{"rows": n}`, of incremental reads what `Boundary` makes, of log reads
    `{"changes": n}`.
    """

    def check(self) -> None:
        """Nothing can be out of reach."""

    def discover(self) -> Iterator[Stream]:
        """The streams as they are now."""
        yield from list(self.config.system.streams.values())

    def plan(self, selections: Sequence[Selection]) -> Sequence[Read]:
        """One read for each stream; full reads in as many parts as the system wants."""
        reads = []
        for selection in selections:
            name = selection.stream.name
            if name not in self.config.system.streams:
                raise ConfigError(f"there is no stream {name!r} here", hint="It was there when the task was set up.")
            parts = self.config.system.parts if selection.read_mode is ReadMode.FULL else 1
            size = len(self.config.system.rows[name])
            edges = [size * i // parts for i in range(parts + 1)]
            for i, (start, stop) in enumerate(itertools.pairwise(edges)):
                bounds = {"start": start, "stop": stop} if parts > 1 else {}
                key = f"{name}#{i}" if parts > 1 else name
                reads.append(Read(key=key, selections=(selection,), bounds=bounds))
        return reads

    def read(self, read: Read, since: Position | None) -> Iterator[Change]:
        """Yield rows in stored order (full), by cursor (incremental), or changes as they were recorded (log)."""
        (selection,) = read.selections
        match selection.read_mode:
            case ReadMode.FULL:
                yield from self._full(read, selection, since)
            case ReadMode.INCREMENTAL:
                yield from self._incremental(selection, since)
            case ReadMode.LOG:
                yield from self._log(selection, since)

    def join(self, parts: Sequence[Position]) -> Position:
        """The parts of a full read: their rows together."""
        if len(parts) == 1:
            return parts[0]
        return {"rows": sum(int(str(part["rows"])) for part in parts)}

    def acknowledge(self, upto: Position) -> None:
        """Remembered, for tests to see."""
        self.config.system.acknowledged.append(upto)

    def summarise(self, read: Read, *, columns: bool, key: tuple[str, ...]) -> Summary:
        """From the rows themselves."""
        (selection,) = read.selections
        return summarise(self._chosen(read, selection).to_batches(), columns=columns, key=key)

    def _chosen(self, read: Read, selection: Selection) -> pa.Table:
        rows = self.config.system.rows[selection.stream.name].select(selection.columns)
        start, stop = int(str(read.bounds.get("start", 0))), int(str(read.bounds.get("stop", len(rows))))
        return rows.slice(start, stop - start)

    def _full(self, read: Read, selection: Selection, since: Position | None) -> Iterator[Change]:
        done = int(str(since["rows"])) if since else 0
        every = self.config.system.checkpoint_rows
        announced = done
        for batch in self._batches(self._chosen(read, selection).slice(done)):
            yield Rows(selection.stream.name, batch)
            done += batch.num_rows
            if every and done - announced >= every:
                announced = done
                yield Checkpoint({"rows": done})
        yield Checkpoint({"rows": done})

    def _incremental(self, selection: Selection, since: Position | None) -> Iterator[Change]:
        cursor = selection.cursor_field
        if cursor is None or cursor not in selection.columns:
            raise ConfigError(f"an incremental read of {selection.stream.name!r} needs a cursor among its columns")
        rows = self.config.system.rows[selection.stream.name].select(selection.columns)
        boundary = Boundary(cursor, since, deduplicate=selection.deduplicate)
        if since is None:
            for batch in self._batches(rows.filter(rows.column(cursor).is_null())):
                yield Rows(selection.stream.name, batch)
        every, announced, done = self.config.system.checkpoint_rows, 0, 0
        for batch in self._batches(_since(rows, selection, since)):
            data, known = boundary.pass_through(batch)
            yield Rows(selection.stream.name, data, deduplicated=known)
            done += batch.num_rows
            if every and done - announced >= every and not selection.look_back:
                announced = done
                yield Checkpoint(boundary.position())
        yield Checkpoint(boundary.position())

    def _log(self, selection: Selection, since: Position | None) -> Iterator[Change]:
        done = int(str(since["changes"])) if since else 0
        every, announced = self.config.system.checkpoint_rows or 1, done
        for change in self.config.system.logs.get(selection.stream.name, [])[done:]:
            self.context.check_cancelled()
            for data in self._may_break(change.data) if isinstance(change, Rows) else [None]:
                yield change if data is None else Rows(change.stream, data)
            done += 1
            if done - announced >= every:
                announced = done
                yield Checkpoint({"changes": done})
        yield Checkpoint({"changes": done})

    def _batches(self, rows: pa.Table) -> Iterator[pa.RecordBatch]:
        self.context.check_cancelled()
        for batch in rows.combine_chunks().to_batches(max_chunksize=self.config.system.batch_rows):
            self.context.check_cancelled()
            yield from self._may_break(batch)

    def _may_break(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        left = self.config.system.breaks_after
        if left is None:
            yield batch
        elif batch.num_rows < left or not batch.num_rows:
            self.config.system.breaks_after = left - batch.num_rows
            yield batch
        else:
            self.config.system.breaks_after = None
            if left:
                yield batch.slice(0, left)
            raise ConnectionLost("the memory source was told to break")


def _since(rows: pa.Table, selection: Selection, since: Position | None) -> pa.Table:
    """Rows at or past the position (less the look-back) that have a cursor value, in its order."""
    assert selection.cursor_field is not None
    column = rows.column(selection.cursor_field)
    chosen = column.is_valid()
    if since is not None and since["cursor"] is not None:
        lowest: Any = decode(since["cursor"])
        if selection.look_back is not None:
            lowest -= selection.look_back
        chosen = pc.and_kleene(chosen, pc.greater_equal(column, pa.scalar(lowest, column.type)))
    return rows.filter(chosen).sort_by(selection.cursor_field)


def _has_order(type_: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(type_) or pa.types.is_temporal(type_) or pa.types.is_decimal(type_)
    ) and not pa.types.is_duration(type_)
