"""What a connector's author tells the source suite, and the steps that its tests are made of."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, ClassVar

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, settings

from suiro.model.change import Checkpoint, Rows
from suiro.model.naming import join_name
from suiro.model.schema import Position, ReadMode, Stream
from suiro.model.selection import Selection
from suiro.spi.powers import Queries
from suiro.spi.source import Read, Source
from suiro.testing.cells import assert_rows, decoded, together
from suiro.testing.harness import Harness

SCHEMA = pa.schema([("id", pa.int64()), ("name", pa.string()), ("v", pa.int64())])


@dataclass(slots=True)
class Found:
    """What a read yielded: its rows, the position of its end, how many it left out."""

    stream: Stream
    columns: tuple[str, ...]
    batches: list[pa.RecordBatch] = field(default_factory=list)
    positions: list[Position] = field(default_factory=list)
    deduplicated: int = 0

    @property
    def rows(self) -> pa.Table:
        """All rows together."""
        names = self.stream.schema.names
        return together(self.batches, pa.schema([self.stream.schema.field(names.index(c)) for c in self.columns]))

    @property
    def position(self) -> Position:
        """Of the last checkpoint, after a journey through JSON."""
        found: Position = json.loads(json.dumps(self.positions[-1]))
        return found


class SourceHarness(Harness[Source[Any]]):
    """The author's part: `make`, `fill`, `add`; the rest has defaults.

    Every test has its own instance and an empty folder, `self.folder`. Sources that a test opens by `self.open()`
    are closed after it.
    """

    # --- the author's part

    @abstractmethod
    def make(self) -> Source[Any]:
        """A new source on one and the same system, with `self.context()`. Several may live at once."""

    @abstractmethod
    def fill(self, name: str, rows: pa.Table, key: tuple[str, ...]) -> None:
        """Make a stream with these columns, types, rows and this primary key (empty: none) in the system."""

    @abstractmethod
    def add(self, name: str, rows: pa.Table) -> None:
        """Rows that come to the stream later; columns in its order."""

    def stream_name(self, stem: str) -> str:
        """A stream's full name, as `discover` gives it for example with a schema before it."""
        return join_name([stem])

    def decode(self, column: pa.ChunkedArray, field: pa.Field) -> pa.ChunkedArray:
        """What the source read, in the type that `fill` was given. By default a cast."""
        return decoded(column, field)

    def where(self, column: str, least: int) -> str | None:
        """A condition in the source's SQL: the column (of an ordinary name) is at least this. None: it takes none."""
        return f"{column} >= {least}" if isinstance(self.open(), Queries) else None

    keeps_keys: ClassVar[bool] = True  #: the system knows primary keys
    keeps_null: ClassVar[bool] = True  #: the system tells NULL from an empty text

    # --- what tests are made of

    def fresh(self, stem: str = "s") -> str:
        """The full name of a stream that no other call returned."""
        return self.stream_name(f"{stem}_{next(self._numbers)}")

    def settings(self) -> settings:
        """For properties: a quarter of the profile's examples, since each is several whole reads."""
        return settings(
            max_examples=max(4, settings().max_examples // 4),
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        )

    def rows(self, *values: tuple[Any, ...], schema: pa.Schema = SCHEMA) -> pa.Table:
        """Rows given as tuples in the schema's order."""
        columns = [pa.array([row[i] for row in values], field.type) for i, field in enumerate(schema)]
        return pa.table(columns, schema=schema)

    def filled(self, rows: pa.Table, key: tuple[str, ...] = (), name: str | None = None) -> str:
        """A stream of these rows; its name."""
        name = name or self.fresh()
        self.fill(name, rows, key)
        return name

    def select(
        self, source: Source[Any], name: str, columns: Sequence[str] | None = None, where: str | None = None
    ) -> Selection:
        """A full read of a stream."""
        stream = source.find(name)
        return Selection(stream=stream, columns=tuple(columns or stream.schema.names), where=where)

    def follow(
        self,
        source: Source[Any],
        name: str,
        cursor: str = "v",
        *,
        look_back: timedelta | int | None = None,
        deduplicate: bool = True,
    ) -> Selection:
        """An incremental read of a stream; skips the test where the stream can't be read so."""
        stream = source.find(name)
        if ReadMode.INCREMENTAL not in stream.read_modes:
            pytest.skip("no incremental reads")
        return Selection(
            stream=stream,
            columns=tuple(stream.schema.names),
            read_mode=ReadMode.INCREMENTAL,
            cursor_field=cursor,
            look_back=look_back,
            deduplicate=deduplicate,
        )

    def consume(self, source: Source[Any], selection: Selection, since: Position | None = None) -> Found:
        """Plan and read to the end, phase by phase, and check the form of all that is yielded."""
        found = Found(selection.stream, selection.columns)
        reads = source.plan([selection])
        assert reads, "nothing was planned"
        assert len({read.key for read in reads}) == len(reads), "reads share a key"
        ends = [self._part(source, read, since, found) for read in sorted(reads, key=lambda read: read.phase)]
        found.positions.append(source.join(ends))
        return found

    def _part(self, source: Source[Any], read: Read, since: Position | None, found: Found) -> Position:
        (selection,) = read.selections
        fields = [selection.stream.schema.field(selection.stream.schema.get_field_index(c)) for c in selection.columns]
        last = None
        for change in source.read(read, since):
            last = change
            if isinstance(change, Rows):
                assert change.stream == selection.stream.name
                assert change.data.schema.names == list(selection.columns), "columns or their order"
                assert change.data.schema.types == [field.type for field in fields], "types differ from the stream's"
                found.batches.append(change.data)
                found.deduplicated += change.deduplicated
            elif isinstance(change, Checkpoint):
                found.positions.append(change.position)
        assert isinstance(last, Checkpoint), "the last change is no checkpoint"
        return last.position

    def assert_found(self, expected: pa.Table, found: Found, when: str = "") -> None:
        """The read yielded exactly these rows, in any order."""
        assert_rows(expected, found.rows, self.decode, when)
