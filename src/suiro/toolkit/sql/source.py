"""What sources that speak SQL have in common: the SELECT of a selection, its position, and its batches."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, ClassVar

import pyarrow as pa

from suiro.model.change import Change, Checkpoint, Rows
from suiro.model.errors import ConfigError, UserError
from suiro.model.naming import split_name
from suiro.model.schema import Position, ReadMode, Stream
from suiro.model.selection import Selection
from suiro.model.types import is_text
from suiro.spi.context import Context
from suiro.spi.powers import Queries
from suiro.spi.source import C, Read, Source
from suiro.toolkit.boundary import Boundary, decode
from suiro.toolkit.sql.dialect import Dialect

BATCH_ROWS = 65_536
BATCH_BYTES = 8 * 2**20

Parameters = Sequence[object]


class SqlSource(Source[C], Queries):
    """Reads one SELECT for each selection, so that every read is one snapshot.

    Positions: `{}` after full reads without a cursor, else what `Boundary` makes. An incremental read asks for rows
    at or past the last cursor value; rows whose cursor is NULL come with the first read alone.
    """

    dialect: ClassVar[Dialect]
    text_cursors: ClassVar[bool] = False  #: text sorts by its bytes here, so a text column can be a cursor

    def __init__(self, config: C, context: Context) -> None:
        super().__init__(config, context)
        self._queries: dict[str, str] = {}  #: by the name of the stream that was made of one

    @property
    def takes_ranges(self) -> bool:
        """Yes."""
        return True

    @property
    def sql_dialect(self) -> str:
        """As the dialect is called."""
        return self.dialect.name

    @abstractmethod
    def stream(self, sql: str, parameters: Parameters, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """Run a SELECT and yield its rows in this schema, with memory bounded; lets go when it is closed early."""

    def table(self, stream: Stream) -> str:
        """The stream as FROM names it."""
        return self.dialect.qualified(split_name(stream.name))

    def relation(self, stream: Stream) -> str:
        """The stream as FROM takes it: a table's name, or a query in parentheses."""
        query = self._queries.get(stream.name)
        return self.table(stream) if query is None else f"(\n{query}\n) AS q"

    def sql_name(self, stream: Stream) -> str:
        """As `table`; the default of the power `OffersQueries`."""
        return self.table(stream)

    def query_stream(self, sql: str, name: str, schema: pa.Schema) -> Stream:
        """The stream of a query whose columns were found out: what `stream_of` ends with."""
        self._queries[name] = sql
        return Stream(
            name=name,
            schema=schema,
            cursor_fields=tuple(n for n in cursor_fields(schema, frozenset()) if self.can_be_cursor(schema.field(n)))
            if len(set(schema.names)) == len(schema.names)
            else (),
            read_modes=frozenset({ReadMode.FULL, ReadMode.INCREMENTAL}),
        )

    def column(self, field: pa.Field) -> str:
        """The expression that gives a column's values as they travel."""
        return self.dialect.quote(field.name)

    def cursor(self, field: pa.Field) -> str:
        """The expression by which cursor values compare."""
        return self.dialect.quote(field.name)

    def value(self, value: Any, field: pa.Field) -> tuple[str, object]:
        """A cursor value as an expression with one placeholder, and what is bound to it."""
        return self.dialect.placeholder, value

    def can_be_cursor(self, field: pa.Field) -> bool:
        """Whether values of this field grow in the same order here and in Arrow."""
        return has_cursor_type(field.type) or (self.text_cursors and is_text(field.type))

    # -- planning ----------------------------------------------------------------------------------------------------

    def plan(self, selections: Sequence[Selection]) -> Sequence[Read]:
        """One read each, after the cursor, the window and the condition were tried: ConfigError says what is wrong."""
        for selection in selections:
            self._check_cursor(selection)
            if selection.where is not None:
                self._check_where(selection, selection.where)
        return super().plan(selections)

    def _check_cursor(self, selection: Selection) -> None:
        name = selection.cursor_field
        if name is None:
            if selection.read_mode is ReadMode.INCREMENTAL:
                raise ConfigError(
                    f"an incremental read of {selection.stream.name} needs a cursor field",
                    hint="Name a column that grows with every change.",
                )
            return
        at = selection.stream.schema.get_field_index(name)
        if at < 0:
            raise ConfigError(f"{selection.stream.name} has no column {name}", hint="Choose another cursor field.")
        field = selection.stream.schema.field(at)
        if not self.can_be_cursor(field):
            raise ConfigError(
                f"{name} of {selection.stream.name} is {field.type} and can't be a cursor",
                hint="Choose a column of numbers, dates or times.",
            )
        wanted = timedelta if pa.types.is_temporal(field.type) else int
        if selection.look_back is not None and (not isinstance(selection.look_back, wanted) or is_text(field.type)):
            raise ConfigError(
                f"the look-back window {selection.look_back} doesn't suit the cursor {name}, which is {field.type}",
                hint="Give a duration for dates and times, a number for numbers.",
            )

    def _check_where(self, selection: Selection, where: str) -> None:
        check_condition(where, self.dialect)
        try:
            sql = f"SELECT 1 FROM {self.relation(selection.stream)} WHERE 1 = 0 AND {enclosed(where)}"
            for _ in self.query(sql):
                pass
        except UserError as error:
            raise ConfigError(
                f"the condition for {selection.stream.name} is wrong: {error.message}",
                hint="Write it as it would stand after WHERE, with the columns' names at the source.",
            ) from error

    # -- reading -----------------------------------------------------------------------------------------------------

    def read(self, read: Read, since: Position | None) -> Iterator[Change]:
        """Yield the rows, then one Checkpoint; the same for each window of the cursor."""
        (selection,) = read.selections
        incremental = selection.read_mode is ReadMode.INCREMENTAL
        since = since if incremental and since else None
        boundary = None
        if selection.cursor_field is not None:
            boundary = Boundary(selection.cursor_field, since, deduplicate=incremental and selection.deduplicate)
        for part in self._windows(selection, since):
            yield from self._rows(part, since, boundary)
            yield Checkpoint(boundary.position() if boundary else {})

    def _rows(self, selection: Selection, since: Position | None, boundary: Boundary | None) -> Iterator[Rows]:
        sql, parameters, schema = self.select(selection, since)
        columns = list(selection.columns)
        with closing(self.stream(sql, parameters, schema)) as batches:  # type: ignore[type-var]
            for batch in batches:
                for piece in pieces(batch):
                    self.context.check_cancelled()
                    kept, known = boundary.pass_through(piece) if boundary else (piece, 0)
                    if kept.schema.names != columns:
                        kept = kept.select(columns)
                    if kept.num_rows or known:
                        yield Rows(selection.stream.name, kept, deduplicated=known)

    def _windows(self, selection: Selection, since: Position | None) -> Iterator[Selection]:
        """The selection itself, or one for each window of its cursor, the first without a lower end of its own."""
        if selection.window is None or selection.cursor_field is None:
            yield selection
            return
        least, most = self._end(selection, since, "ASC"), self._end(selection, since, "DESC")
        if least is None or most is None:
            yield selection
            return
        start, stop = selection.start, later(least, selection.window, selection.cursor_field)
        while stop is not None and stop <= most:
            yield replace(selection, start=start, stop=stop)
            start, stop = stop, later(stop, selection.window, selection.cursor_field)
        yield replace(selection, start=start)

    def _end(self, selection: Selection, since: Position | None, order: str) -> Any:
        """The first cursor value of the rows in that order; None if there are none."""
        name = selection.cursor_field
        assert name is not None
        sql, parameters, schema = self.select(replace(selection, columns=(name,)), since)
        at = self.cursor(schema.field(name))
        has = "AND" if " WHERE " in sql else "WHERE"
        sql += f" {has} {self.dialect.quote(name)} IS NOT NULL ORDER BY {at} {order} LIMIT 1"
        with closing(self.stream(sql, parameters, schema)) as batches:  # type: ignore[type-var]
            return next((value.as_py() for batch in batches for value in batch.column(0)), None)

    def select(self, selection: Selection, since: Position | None) -> tuple[str, list[object], pa.Schema]:
        """The SELECT, its parameters, and the schema of its rows: the selection's, and the cursor if that lacks it."""
        names = list(selection.columns)
        if selection.cursor_field is not None and selection.cursor_field not in names:
            names.append(selection.cursor_field)
        fields = [selection.stream.schema.field(name) for name in names]
        quote = self.dialect.quote
        items = [f"{self.column(f)} AS {quote(f.name)}" for f in fields]
        conditions, parameters = [], []
        if selection.where is not None:
            check_condition(selection.where, self.dialect)
            conditions.append(enclosed(selection.where))
        if since is not None and selection.cursor_field is not None:
            condition, bound = self._after(selection, since)
            conditions.append(condition)
            parameters += bound
        for condition, bound in self._range(selection, first=since is None):
            conditions.append(condition)
            parameters += bound
        sql = f"SELECT {', '.join(items)} FROM {self.relation(selection.stream)}"
        if conditions:
            sql += f" WHERE {' AND '.join(conditions)}"
        return sql, parameters, pa.schema(fields)

    def _range(self, selection: Selection, *, first: bool) -> Iterator[tuple[str, list[object]]]:
        """The conditions that the selection's range makes; rows without a cursor value belong to its very beginning."""
        if selection.cursor_field is None:
            return
        field = selection.stream.schema.field(selection.cursor_field)
        at = self.cursor(field)
        if selection.start is not None:
            expression, bound = self.value(selection.start, field)
            yield f"{at} >= {expression}", [bound]
        if selection.stop is not None:
            expression, bound = self.value(selection.stop, field)
            nulls = f" OR {self.dialect.quote(field.name)} IS NULL" if first and selection.start is None else ""
            yield f"({at} < {expression}{nulls})", [bound]

    def _after(self, selection: Selection, since: Position) -> tuple[str, list[object]]:
        assert selection.cursor_field is not None
        field = selection.stream.schema.field(selection.cursor_field)
        last = decode(since["cursor"])
        if last is None:
            return f"{self.dialect.quote(field.name)} IS NOT NULL", []
        expression, bound = self.value(earlier(last, selection.look_back, field.name), field)
        return f"{self.cursor(field)} >= {expression}", [bound]


def has_cursor_type(type_: pa.DataType) -> bool:
    """Whether values of this type are numbers, dates or timestamps."""
    return bool(
        pa.types.is_integer(type_)
        or pa.types.is_decimal(type_)
        or pa.types.is_floating(type_)
        or pa.types.is_date32(type_)
        or pa.types.is_timestamp(type_)
    )


def cursor_fields(schema: pa.Schema, never_null: frozenset[str]) -> tuple[str, ...]:
    """The columns fit for an incremental read, best first: those that are never NULL, and timestamps before others."""

    def rank(field: pa.Field) -> tuple[bool, int]:
        kinds = (pa.types.is_timestamp, pa.types.is_integer, pa.types.is_date32, pa.types.is_decimal)
        return field.name not in never_null, next(i for i, is_kind in enumerate(kinds) if is_kind(field.type))

    fit = [f for f in schema if has_cursor_type(f.type) and not pa.types.is_floating(f.type)]
    return tuple(field.name for field in sorted(fit, key=rank))


def earlier(value: Any, look_back: timedelta | int | None, name: str) -> Any:
    """A cursor value less the window; dates step back by whole days. ConfigError if the two don't suit each other."""
    match value, look_back:
        case _, None:
            return value
        case datetime(), timedelta():
            least = datetime(1, 1, 1, tzinfo=None if value.tzinfo is None else timezone.utc)  # noqa: UP017
            return value - look_back if value - least > look_back else least
        case date(), timedelta():
            days = -(-look_back // timedelta(days=1))
            return value - timedelta(days=days) if (value - date.min).days > days else date.min
        case bool(), _:
            pass
        case int() | float() | Decimal(), int():
            return value - look_back
    raise ConfigError(
        f"the look-back window {look_back} doesn't suit the cursor {name}",
        hint="Give a duration for dates and times, a number for numbers.",
    )


def later(value: Any, window: timedelta | int, name: str) -> Any:
    """A cursor value and the window after it; None past the last day there is. ConfigError if they don't match."""
    try:
        match value, window:
            case datetime(), timedelta():
                return value + window
            case date(), timedelta():
                return value + max(window, timedelta(days=1))
            case bool(), _:
                pass
            case int() | float() | Decimal(), int():
                return value + window
    except OverflowError:
        return None
    raise ConfigError(
        f"the window {window} doesn't suit the cursor {name}",
        hint="Give a duration for dates and times, a number for numbers.",
    )


def enclosed(where: str) -> str:
    """A checked condition in parentheses of its own."""
    return f"(\n{where}\n)"


def check_condition(where: str, dialect: Dialect) -> None:
    """ConfigError unless the condition is one expression that can't get out of its parentheses."""
    from sqlglot import TokenType, tokenize  # on use: it takes long to import, and most runs have no condition
    from sqlglot.errors import TokenError

    try:
        tokens = tokenize(where, read=dialect.name)
    except TokenError as error:
        raise ConfigError(
            f"the condition {where!r} isn't whole", hint="Close every quote, and leave comments out."
        ) from error
    depth = 0
    for token in tokens:
        depth += {TokenType.L_PAREN: 1, TokenType.R_PAREN: -1}.get(token.token_type, 0)
        if depth < 0 or token.token_type is TokenType.SEMICOLON or token.comments:
            break
    else:
        if tokens and depth == 0:
            return
    raise ConfigError(
        f"the condition {where!r} isn't one condition",
        hint="Write what would stand after WHERE: parentheses in pairs, no semicolon, no comment.",
    )


def pieces(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """The batch in slices of at most 65,536 rows and about 8 MiB."""
    rows = min(batch.num_rows, BATCH_ROWS)
    if batch.nbytes > BATCH_BYTES:
        rows = min(rows, max(1, batch.num_rows * BATCH_BYTES // batch.nbytes))
    if rows >= batch.num_rows:
        yield batch
        return
    for start in range(0, batch.num_rows, rows):
        yield batch.slice(start, rows)


def distinct_names(names: Sequence[str], taken: Mapping[str, int] | None = None) -> list[str]:
    """Column names of a query's result, made different from each other: a, a_2, a_3."""
    seen = set(taken or ())
    found = []
    for name in names:
        fit, number = name, 1
        while fit in seen or (number > 1 and fit in names):
            number += 1
            fit = f"{name}_{number}"
        seen.add(fit)
        found.append(fit)
    return found
