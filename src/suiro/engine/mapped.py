"""A source whose streams come retyped, masked and with times added: what is behind it sees no others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, assert_never

import pyarrow as pa

from suiro.engine.added import Adder, own_name
from suiro.engine.context import RunContext
from suiro.engine.masks import Masker
from suiro.engine.plan import column_names
from suiro.engine.query.declared import agreed, cast
from suiro.engine.query.head import read_head, select_of
from suiro.engine.replicate import asked_source
from suiro.engine.transform import RowFilter
from suiro.model.cells import row_text, unreadable
from suiro.model.change import OP, SEQ, Change, Checkpoint, Rejected, Rows, SchemaChange, Truncate
from suiro.model.errors import ConfigError, DataError
from suiro.model.job import Task
from suiro.model.place import QueryError
from suiro.model.rejected import RejectedRow
from suiro.model.schema import Position, ReadMode, Stream
from suiro.model.selection import KEYED, Selection
from suiro.model.types import logical_type
from suiro.spi.destination import Capabilities
from suiro.spi.powers import Queries
from suiro.spi.source import Read, Source


def mapped_source(task: Task, source: Source[Any], capabilities: Capabilities, context: RunContext) -> Source[Any]:
    """The source in the types, under the masks and with the times of the task, around its query.

    It is to be carried as `carried_task`. Where the task has none of them it is the source itself. Closing what is
    returned closes the source.
    """
    if not task.types and not task.masks and not task.times:
        return source
    with ExitStack() as stack:
        asked = asked_source(task, stack.enter_context(closing(source)), context, stack)
        mapped = MappedSource(task, asked, capabilities, context, stack.pop_all())
    return mapped


def carried_task(task: Task) -> Task:
    """The task as it is carried over its `mapped_source`, which asks the query itself.

    Query, masks and the key's fingerprint stay part of what makes the task the same task.
    """
    if not task.types and not task.masks and not task.times:
        return task
    said = [select_of(task.query)] if task.query is not None else []
    if task.masks:
        words = [f"{name}={mask}" for name, mask in sorted(task.masks.items())]
        said.append(f"masks {', '.join(words)} {task.mask_key.fingerprint if task.mask_key else ''}")
    if task.retry and task.where:  # rejected rows met the condition before they were masked
        said.append(task.where)
        task = replace(task, where=None)
    added = {own_name(name): name for name in task.times}
    return replace(
        task,
        query=None,
        applied="\n".join(said) or None,
        columns={**task.columns, **added} if task.columns else {},
        names={**task.names, **added},
    )


class MappedSource(Source[Any], Queries):
    """Rows of one stream in the task's types and under its masks. `opened` holds what closing it closes.

    It takes conditions, for it alone sees the columns that they are about: it hands them on to a source that takes
    them, and else evaluates them itself.
    """

    def __init__(
        self, task: Task, source: Source[Any], capabilities: Capabilities, context: RunContext, opened: ExitStack
    ) -> None:
        super().__init__(source.config, context)
        self.base, self._opened = source, opened
        self._task, self._below = task, source.find(task.stream)
        self._sources = {name: mine for mine, name in column_names(task, self._below, capabilities).items()}
        self._types = {self._source_of(name, "a type"): text for name, text in task.types.items()}
        self._maskers: dict[str, Masker] = {}
        self._adders: dict[str, Adder] = {}
        self._filter: RowFilter | None = None
        self._columns: tuple[str, ...] = ()
        self._found = self._shown()

    @property
    def cut(self) -> dict[str, int]:
        """How many values each column's mask has cut, by the table's names; only those that did."""
        names = {mine: name for name, mine in self._sources.items()}
        return {names[mine]: masker.cut for mine, masker in self._maskers.items() if masker.cut}

    def check(self) -> None:
        """As the source."""
        self.base.check()

    def discover(self) -> Iterator[Stream]:
        """The one stream."""
        yield self._found

    def find(self, name: str) -> Stream:
        """The one stream."""
        return self._found

    def query(self, sql: str) -> Iterator[pa.RecordBatch]:
        """None of these: a query would show values as they are."""
        raise ConfigError("a mapped source answers no queries", hint="Ask the source itself.")

    def plan(self, selections: Sequence[Selection]) -> Sequence[Read]:
        """The source's reads of its own columns."""
        (selection,) = selections
        self._columns, columns, where = selection.columns, self._needed(selection.columns), selection.where
        if where is not None and not isinstance(self.base, Queries):
            self._filter, where, columns = RowFilter(where), None, tuple(self._below.schema.names)
        return self.base.plan([replace(selection, stream=self._below, columns=columns, where=where)])

    def read(self, read: Read, since: Position | None) -> Iterator[Change]:
        """The source's changes, rows as they are to be seen."""
        (selection,) = read.selections
        with closing(self.base.read(read, since)) as changes:  # type: ignore[type-var]
            for change in changes:
                match change:
                    case Rows():
                        yield from self._rows(change, rejects=selection.rejects)
                    case Rejected():
                        yield change if not self._maskers else replace(change, rows=tuple(map(_unseen, change.rows)))
                    case SchemaChange():
                        raise DataError(
                            f"the columns of {change.stream} changed while it was read under masks or new types",
                            hint="Run again.",
                        )
                    case Checkpoint() | Truncate():
                        yield change
                    case _:
                        assert_never(change)

    def join(self, parts: Sequence[Position]) -> Position:
        """As the source."""
        return self.base.join(parts)

    def acknowledge(self, upto: Position) -> None:
        """As the source."""
        self.base.acknowledge(upto)

    def close(self) -> None:
        """Close the source, too."""
        self._opened.close()

    @property
    def takes_ranges(self) -> bool:
        """As the source."""
        return self.base.takes_ranges

    # -- the stream --------------------------------------------------------------------------------------------------

    def _shown(self) -> Stream:
        task, below = self._task, self._below
        retyped = pa.schema([self._retyped(field) for field in below.schema])
        key = _key(task, below)
        for name, mask in task.masks.items():
            mine = self._source_of(name, "a mask")
            if mine == task.cursor:
                raise ConfigError(
                    f"column {name} is the cursor, whose order a mask destroys", hint="Leave it as it is, or drop it."
                )
            field = retyped.field(mine)
            self._maskers[mine] = Masker(name, field, mask, task.mask_key, identifies=mine in key)
        fields = [self._maskers[f.name].field if f.name in self._maskers else f for f in retyped]
        cursors = tuple(name for name in below.cursor_fields if name not in self._maskers)
        began = datetime.now(UTC)
        for name, time in task.times.items():
            if time.column is not None and (time.column not in below.schema.names or time.column in self._maskers):
                why = "is masked" if time.column in self._maskers else f"is no column of {below.name}"
                raise ConfigError(
                    f"{name} is to be made from {time.column}, which {why}", hint="Take the time from another column."
                )
            source = None if time.column is None else retyped.field(time.column)
            self._adders[own_name(name)] = Adder(name, time, source, began)
            fields.append(self._adders[own_name(name)].field)
        return replace(below, schema=pa.schema(fields), cursor_fields=cursors)

    def _retyped(self, field: pa.Field) -> pa.Field:
        return field if field.name not in self._types else typed_field(field, self._types[field.name])

    def _needed(self, columns: Sequence[str]) -> tuple[str, ...]:
        """The columns of the stream below that these are made from, in its order."""
        made = {self._adders[name].source for name in columns if name in self._adders}
        return tuple(name for name in self._below.schema.names if name in columns or name in made)

    def _source_of(self, name: str, what: str) -> str:
        if name not in self._sources:
            listed = ", ".join(list(self._sources)[:12])
            raise ConfigError(
                f"{what} is given for {name}, which is no column of the table",
                hint=f"Columns of the table are {listed}.",
            )
        return self._sources[name]

    # -- rows --------------------------------------------------------------------------------------------------------

    def _rows(self, change: Rows, *, rejects: bool) -> Iterator[Change]:
        """The rows as they are to be seen; single ones that can't be are rejected, where the selection takes that."""
        columns = self._columns
        data = change.data if self._filter is None else self._filter.keep(change.data)
        try:
            yield Rows(change.stream, self._apply(data, columns), deduplicated=change.deduplicated)
        except DataError as error:
            if not rejects:
                raise
            if data.num_rows == 1:
                row = None if self._maskers else row_text(data)
                if self._adders:  # carried again as it stands it would have no time
                    row = unreadable(row)
                yield Rejected(change.stream, (RejectedRow(reason=error.message, column=error.column, row=row),))
                return
            half = data.num_rows // 2
            yield from self._rows(Rows(change.stream, data.slice(0, half), change.deduplicated), rejects=True)
            yield from self._rows(Rows(change.stream, data.slice(half)), rejects=True)

    def _apply(self, data: pa.RecordBatch, columns: Sequence[str]) -> pa.RecordBatch:
        needed = self._needed(columns)
        retyped = [self._retyped(self._below.schema.field(name)) for name in needed]
        rows = data.select(list(needed))
        if any(name in self._types for name in needed):
            rows = _in_types(rows, retyped, self._types)
        known = {field.name: field for field in retyped}
        arrays, fields = [], []
        for name in columns:
            masker, adder = self._maskers.get(name), self._adders.get(name)
            if adder is not None:
                source = None if adder.source is None else rows.column(adder.source)
                arrays.append(adder.apply(source, data.num_rows))
                fields.append(adder.field)
                continue
            array = rows.column(name)
            arrays.append(array if masker is None else masker.apply(array))
            fields.append(known[name] if masker is None else masker.field)
        for name in (OP, SEQ):
            if name in data.schema.names:
                arrays.append(data.column(name))
                fields.append(data.schema.field(name))
        return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))


def typed_field(field: pa.Field, type_: str) -> pa.Field:
    """The column in a type as SQL writes it; ConfigError where there is none or the column can't become it."""
    quoted = '"' + field.name.replace('"', '""') + '"'
    try:
        head = read_head(f"REPLICATE t ({quoted} {type_}) SELECT 1")
        if len(head.columns) == 1 and not head.key:
            return agreed(head, pa.schema([field])).field(0)
        hint: str | None = "Write one type: integer, decimal(12,2), varchar(80)."
    except QueryError as error:
        hint = error.hint
    raise ConfigError(f"column {field.name} is {logical_type(field) or field.type} and can't become {type_}", hint=hint)


def _in_types(rows: pa.RecordBatch, fields: Sequence[pa.Field], types: Mapping[str, str]) -> pa.RecordBatch:
    """The rows with those columns cast that have a new type; DataError naming one of which a value would change."""
    chosen = [field for field in fields if field.name in types]
    done = cast(rows.select([field.name for field in chosen]), pa.schema(chosen))
    arrays = [done.column(f.name) if f.name in types else rows.column(f.name) for f in fields]
    return pa.RecordBatch.from_arrays(arrays, names=[field.name for field in fields])


def _key(task: Task, stream: Stream) -> frozenset[str]:
    """The columns that must go on telling rows apart."""
    named = task.key or ()
    keyed = task.write in KEYED or (task.write is None and task.read is not ReadMode.FULL)
    keyed = keyed or task.look_back is not None  # an append then leaves out rows whose keys are there
    return frozenset(named or (stream.primary_key if keyed else ()))


def _unseen(row: RejectedRow) -> RejectedRow:
    """Of a row that the source can't read nobody knows which value belongs to which column: nothing is kept."""
    return replace(row, row=None)
