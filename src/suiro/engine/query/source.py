"""A query as the one stream of a source, which the engine carries like any other."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any, assert_never

import pyarrow as pa

from suiro.engine.query.columns import passed_on, result_names
from suiro.engine.query.declared import agreed, cast
from suiro.engine.query.head import Head, is_replicate, read_head
from suiro.engine.query.pushdown import Part, parts_of, streams_of, whole
from suiro.engine.query.residual import Feed, Residual
from suiro.engine.query.statement import Query, Use, read_query
from suiro.engine.query.text import Text
from suiro.model.change import Change, Checkpoint, Rejected, Rows, SchemaChange, Truncate
from suiro.model.errors import ConfigError, InternalError
from suiro.model.place import QueryError
from suiro.model.schema import Position, ReadMode, Stream
from suiro.model.selection import Selection
from suiro.model.summary import Summary
from suiro.spi.context import Context
from suiro.spi.powers import OffersQueries, SharesFormat, Summarises, Wire
from suiro.spi.source import Read, Source

_ELSEWHERE = "duckdb"  #: whose SQL is spoken to sources that speak none


def query_source(statement: str, name: str, read: ReadMode, source: Source[Any], context: Context) -> QuerySource:
    """The query of a statement (a SELECT, or REPLICATE with one) over an open source, as its one stream.

    `name` is what the stream is called. The source stays the caller's to close. QueryError points at what is wrong.
    """
    head = read_head(statement) if is_replicate(statement) else None
    text = Text(statement) if head is None else head.query
    if text is None:
        end = len(statement.rstrip())
        raise Text(statement).wrong(
            end, end, "the statement has no SELECT", hint="Write SELECT * FROM stream after it."
        )
    offers = isinstance(source, OffersQueries)
    dialect = source.sql_dialect if isinstance(source, OffersQueries) else _ELSEWHERE
    query = read_query(text, dialect)
    if read is not ReadMode.FULL:
        why = query.by_rows(sure=offers)
        if why is not None:
            raise why
    if not isinstance(source, OffersQueries):
        return ResidualQuery(query, name, head, source, context)
    kind: type[WholeQuery] = WholeQuery
    if (head is None or not head.columns) and isinstance(source, Summarises):
        kind = SharingQuery if isinstance(source, SharesFormat) else SummarisingQuery
    return kind(query, name, head, source, context)


class QuerySource(Source[Any]):
    """What queries over any source have in common: one stream, perhaps in declared types."""

    def __init__(self, query: Query, name: str, head: Head | None, source: Source[Any], context: Context) -> None:
        super().__init__(source.config, context)
        self._query, self._name, self._head, self._base = query, name, head, source
        self._streams = streams_of(query, source)
        self._plain: Mapping[str, tuple[Use, str]] = {}

    @property
    def pushed(self) -> list[str]:
        """What the source does, a line for each statement or stream."""
        return []

    @property
    def residual(self) -> str | None:
        """What DuckDB does with what the source yields; None where nothing is left."""
        return None

    @property
    def takes_ranges(self) -> bool:
        """As the source."""
        return self._base.takes_ranges

    def check(self) -> None:
        """As the source."""
        self._base.check()

    def discover(self) -> Iterator[Stream]:
        """The one stream."""
        yield self.find(self._name)

    def acknowledge(self, upto: Position) -> None:
        """As the source."""
        self._base.acknowledge(upto)

    def join(self, parts: Sequence[Position]) -> Position:
        """As the source."""
        return self._base.join(parts)

    def _stream(
        self, schema: pa.Schema, cursors: Sequence[str], modes: frozenset[ReadMode], *, by_rows: bool
    ) -> Stream:
        """The stream in its declared types, with the key of the stream below where all of it is passed on.

        `by_rows`: each row of the one stream below gives its row, or none.
        """
        key: tuple[str, ...] = ()
        rows, notes = None, list[str]()
        if by_rows:
            below = {column: mine for mine, (_, column) in self._plain.items()}
            base = self._streams[0]
            key = tuple(below[name] for name in base.primary_key) if set(base.primary_key) <= set(below) else ()
            rows = base.rows
        for stream in self._streams:
            notes += stream.notes
        return Stream(
            name=self._name,
            schema=self._declared(schema),
            primary_key=key,
            cursor_fields=tuple(cursors),
            read_modes=modes - {ReadMode.LOG},
            rows=rows,
            notes=tuple(dict.fromkeys(notes)),
        )

    def _declared(self, schema: pa.Schema) -> pa.Schema:
        doubled = [name for name in schema.names if schema.names.count(name) > 1]
        if doubled:
            raise self._doubled(schema, doubled[0])
        return agreed(self._head, schema) if self._head is not None and self._head.columns else schema

    def _doubled(self, schema: pa.Schema, name: str) -> QueryError:
        items = self._query.items
        last = len(schema.names) - 1 - schema.names[::-1].index(name)
        at = items[last] if len(items) == len(schema.names) else None
        return self._query.text.wrong(
            at.start if at else 0,
            at.end if at else 6,
            f"two columns of the result are called {name}",
            hint="Give each its own name with AS.",
        )

    def _cast(self, changes: Iterator[Change], stream: Stream) -> Iterator[Change]:
        """The changes, rows in the declared types."""
        if self._head is None or not self._head.columns:
            yield from changes
            return
        for change in changes:
            if isinstance(change, Rows):
                wanted = pa.schema([stream.schema.field(name) for name in change.data.schema.names])
                change = Rows(change.stream, cast(change.data, wanted), deduplicated=change.deduplicated)
            yield change


class WholeQuery(QuerySource):
    """A query that the source runs itself, whole."""

    def __init__(self, query: Query, name: str, head: Head | None, source: Source[Any], context: Context) -> None:
        super().__init__(query, name, head, source, context)
        if not isinstance(source, OffersQueries):
            raise InternalError(f"{type(source).__name__} doesn't offer queries")
        self._text = whole(query, source, self._streams)
        names = result_names(query, [stream.schema.names for stream in self._streams])
        known = {} if names is None else self._known(names)
        inner = "query " + hashlib.sha256(self._text.text.encode()).hexdigest()[:16]
        try:
            self._inner = source.stream_of(self._text.text, inner, known)
        except QueryError as error:
            raise self._placed(error) from error
        self._known(self._inner.schema.names)
        by_rows = query.by_rows(sure=True) is None
        modes = self._inner.read_modes if by_rows else frozenset({ReadMode.FULL})
        self._found = self._stream(self._inner.schema, self._inner.cursor_fields, modes, by_rows=by_rows)

    @property
    def pushed(self) -> list[str]:
        return [" ".join(self._text.text.split())]

    def find(self, name: str) -> Stream:
        """The one stream, whatever the name."""
        return self._found

    def plan(self, selections: Sequence[Selection]) -> Sequence[Read]:
        """The source's reads."""
        return self._base.plan([replace(selection, stream=self._inner) for selection in selections])

    def read(self, read: Read, since: Position | None) -> Iterator[Change]:
        """The source's changes."""
        with closing(self._base.read(read, since)) as changes:  # type: ignore[type-var]
            yield from self._cast(changes, self._found)

    def _known(self, names: Sequence[str]) -> dict[str, pa.Field]:
        """The fields of columns that are passed on, by the names of the result."""
        fields = dict(zip(self._query.uses, self._streams, strict=True))
        columns = [stream.schema.names for stream in self._streams]
        self._plain = passed_on(self._query, columns, names)
        return {name: fields[use].schema.field(column).with_name(name) for name, (use, column) in self._plain.items()}

    def _placed(self, error: QueryError) -> QueryError:
        at = error.at
        if at is None:
            start, end = self._query.blamed(error.message)
            return self._query.text.wrong(start, end, error.message, hint=error.hint)
        word = re.compile(r"\"[^\"]*\"|`[^`]*`|\w+|").match(self._text.text, at)
        end = max(at + 1, word.end() if word else at)
        return self._text.wrong(at, end, error.message, hint=error.hint)


class SummarisingQuery(WholeQuery, Summarises):
    """With the source's own summary."""

    def steady(self, selection: Selection) -> bool:
        """As the query and the source."""
        assert isinstance(self._base, Summarises)
        return self._query.steady and self._base.steady(replace(selection, stream=self._inner))

    def summarise(self, read: Read, *, columns: bool, key: tuple[str, ...]) -> Summary:
        """As the source."""
        assert isinstance(self._base, Summarises)
        return self._base.summarise(read, columns=columns, key=key)


class SharingQuery(SummarisingQuery, SharesFormat):
    """With the source's wire format, too."""

    def wire(self, selection: Selection) -> Wire | None:
        """As the source."""
        assert isinstance(self._base, SharesFormat)
        return self._base.wire(replace(selection, stream=self._inner))

    def read_raw(self, read: Read) -> Iterator[bytes | memoryview | Checkpoint]:
        """As the source."""
        assert isinstance(self._base, SharesFormat)
        yield from self._base.read_raw(read)


class ResidualQuery(QuerySource):
    """A query of which the source does what it can, and DuckDB the rest."""

    def __init__(self, query: Query, name: str, head: Head | None, source: Source[Any], context: Context) -> None:
        super().__init__(query, name, head, source, context)
        self._parts = parts_of(query, source, self._streams)
        self._engine = Residual(query, [(part.stream, part.columns) for part in self._parts], context)
        self._plain = self._engine.plain
        self._planned: list[tuple[Read, tuple[str, ...]]] = []  #: reads, and the columns that each is to give
        try:
            self._found = self._shown()
        except BaseException:
            self._engine.close()
            raise

    @property
    def pushed(self) -> list[str]:
        return [str(part) for part in self._parts]

    @property
    def residual(self) -> str | None:
        way = "row by row" if self._engine.rows_alone else "over whole streams"
        return f"DuckDB, {way}: {' '.join(self._query.text.text.split())}"

    @property
    def takes_ranges(self) -> bool:
        """As the source, where its positions are the query's."""
        return self._engine.rows_alone and self._base.takes_ranges

    def find(self, name: str) -> Stream:
        """The one stream, whatever the name."""
        return self._found

    def plan(self, selections: Sequence[Selection]) -> Sequence[Read]:
        """The reads of the stream below where rows go one by one; else one read for all."""
        (selection,) = selections
        reads: Sequence[Read] = [Read(key=self._name, selections=(selection,))]
        if self._engine.rows_alone:
            if selection.cursor_field is not None or selection.read_mode is ReadMode.INCREMENTAL:
                self._check_cursor(selection)
            reads = self._base.plan([self._below(selection)])
        self._planned += [(read, selection.columns) for read in reads]
        return reads

    def read(self, read: Read, since: Position | None) -> Iterator[Change]:
        """The query's rows; positions are the stream's below."""
        changes = self._by_rows(read, since) if self._engine.rows_alone else self._at_once(read)
        with closing(changes):  # type: ignore[type-var]
            yield from self._cast(changes, self._found)

    def close(self) -> None:
        """Let go of DuckDB; the source is another's to close."""
        self._engine.close()

    def join(self, parts: Sequence[Position]) -> Position:
        """As the source where its reads are passed on."""
        return self._base.join(parts) if self._engine.rows_alone else parts[0]

    def _shown(self) -> Stream:
        modes = frozenset({ReadMode.FULL})
        cursors: list[str] = []
        if self._engine.rows_alone:
            below = {column: mine for mine, (_, column) in self._plain.items()}
            modes = self._streams[0].read_modes
            cursors = [below[name] for name in self._streams[0].cursor_fields if name in below]
        return self._stream(self._engine.schema, cursors, modes, by_rows=self._engine.rows_alone)

    def _check_cursor(self, selection: Selection) -> None:
        base = self._streams[0]
        cursor = selection.cursor_field
        if cursor is None and base.cursor_fields:
            raise ConfigError(
                f"an incremental read of {base.name} needs a cursor field, and the query passes none on",
                hint=f"Add one to the SELECT, for example {', '.join(base.cursor_fields[:3])}.",
            )
        if cursor is not None and cursor not in self._plain:
            raise ConfigError(
                f"the cursor {cursor} is computed by the query, so the source can't go on from its values",
                hint="Name a column that the query passes on unchanged.",
            )

    def _below(self, selection: Selection) -> Selection:
        """What is asked of the one stream below."""
        part = self._parts[0]
        cursor = selection.cursor_field
        below = self._plain[cursor][1] if cursor is not None and cursor in self._plain else None
        return replace(selection, stream=part.stream, columns=part.columns, where=part.where, cursor_field=below)

    def _chosen(self, read: Read) -> list[str]:
        """The columns that a read is to give: as they were asked for when it was planned."""
        same = [columns for planned, columns in self._planned if planned is read]
        like = [columns for planned, columns in self._planned if planned == read]
        return list((same or like or [tuple(self._found.schema.names)])[-1])

    def _by_rows(self, read: Read, since: Position | None) -> Iterator[Change]:
        chosen = self._chosen(read)
        with closing(self._base.read(read, since)) as changes:  # type: ignore[type-var]
            for change in changes:
                match change:
                    case Rows():
                        found = self._engine.apply(change.data)
                        yield Rows(self._name, found.select(chosen), deduplicated=change.deduplicated)
                    case Checkpoint():
                        yield change
                    case Rejected():
                        yield Rejected(self._name, change.rows)
                    case SchemaChange() | Truncate():
                        raise InternalError("a log can't be read through a query")
                    case _:
                        assert_never(change)

    def _at_once(self, read: Read) -> Iterator[Change]:
        chosen = self._chosen(read)
        with closing(self._engine.run([_feed(self._base, part) for part in self._parts])) as batches:  # type: ignore[type-var]
            for batch in batches:
                yield Rows(self._name, batch.select(chosen))
        yield Checkpoint({})


def _feed(source: Source[Any], part: Part) -> Feed:
    """The rows of one use of a stream, read in full."""
    selection = Selection(stream=part.stream, columns=part.columns, where=part.where)

    def rows() -> Iterator[pa.RecordBatch]:
        for read in sorted(source.plan([selection]), key=lambda read: read.phase):
            with closing(source.read(read, None)) as changes:  # type: ignore[type-var]
                for change in changes:
                    if isinstance(change, Rows):
                        yield change.data

    return rows
