"""What DuckDB does of a query: over one batch after another, or over whole streams with bounded memory."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Final

import duckdb
import pyarrow as pa

from suiro.engine.query.columns import passed_on
from suiro.engine.query.statement import Query, Use
from suiro.engine.query.text import Text
from suiro.model.errors import ConfigError, DataError, InternalError, SuiroError
from suiro.model.place import pointed_at
from suiro.model.schema import Stream
from suiro.model.types import is_text, logical_base, logical_field, logical_type, storage
from suiro.spi.context import Context

BATCH_ROWS = 65_536
LEAST_MEMORY = 64 * 2**20  #: what DuckDB needs to sort and join streams of any size

_ROW_BY_ROW: Final = frozenset({"PROJECTION", "FILTER", "PYTHON_ARROW_SCAN", "ARROW_SCAN", "EMPTY_RESULT"})
#: DuckDB's types that Arrow or other systems lack: the type they are cast to, and the logical type of the text
_PLAINER: Final[Mapping[str, tuple[str, str | None]]] = {
    "hugeint": ("DECIMAL(38,0)", None),
    "uhugeint": ("DECIMAL(38,0)", None),
    "bignum": ("VARCHAR", "numeric"),
    "interval": ("VARCHAR", "interval"),
    "time with time zone": ("VARCHAR", "timetz"),
    "bit": ("VARCHAR", "varbit"),
    "enum": ("VARCHAR", None),
    "null": ("VARCHAR", None),
    "timestamp_ns": ("VARCHAR", None),
    "timestamp_s": ("TIMESTAMP", None),
    "timestamp_ms": ("TIMESTAMP", None),
    "timestamp with time zone": ("TIMESTAMP WITH TIME ZONE", None),
}

Feed = Callable[[], Iterator[pa.RecordBatch]]


class Residual:
    """A query over streams, evaluated by a DuckDB of its own that reaches no file but its own temporary ones.

    `given` are the streams of the query's uses, in their order, with the columns that the query needs.
    """

    def __init__(self, query: Query, given: Sequence[tuple[Stream, tuple[str, ...]]], context: Context) -> None:
        self._query, self._context = query, context
        self._known = [name for stream, _ in given for name in stream.schema.names]
        self._given = [pa.schema([stream.schema.field(name) for name in names]) for stream, names in given]
        self._takes = [pa.schema([_taken_field(f) for f in schema]) for schema in self._given]
        self._db = _connect(context)
        self._take_back = context.on_cancel(self._db.interrupt)
        try:
            self._refuse()
            self._text = self._renamed()
            for number in range(len(self._given)):
                self._feed(number, _nothing)
            self._sql, self.schema, self.plain = self._described()
            operators = self._operators()
            self.rows_alone = self._query.by_rows(sure=False) is None and set(operators) <= _ROW_BY_ROW
            self._again = sum(name.endswith("ARROW_SCAN") for name in operators) > len(self._given)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of DuckDB and its files."""
        self._take_back()
        self._db.close()

    def apply(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The rows that a batch of the one stream gives; only where `rows_alone`."""
        self._db.register(_name(0), pa.Table.from_batches([_taken(batch, self._takes[0])]))
        with self._told():
            table = self._db.sql(self._sql.text).to_arrow_table()
        found = table.combine_chunks().to_batches()
        return self._given_out(found[0]) if found else pa.RecordBatch.from_pylist([], self.schema)

    def run(self, feeds: Sequence[Feed]) -> Iterator[pa.RecordBatch]:
        """The query's rows; each feed is asked once, in DuckDB's own time, for the rows of the use at its place."""
        broken: list[BaseException] = []
        for number, feed in enumerate(feeds):
            self._feed(number, feed, broken)
        with self._told(broken):
            if self._again:
                self._keep(len(feeds))
            for batch in self._db.sql(self._sql.text).to_arrow_reader(BATCH_ROWS):
                self._context.check_cancelled()
                yield self._given_out(batch)

    def _keep(self, feeds: int) -> None:
        """Streams that are looked at twice are read once, into tables of DuckDB's own."""
        for number in range(feeds):
            self._db.execute(f"CREATE TEMP TABLE kept_{number} AS SELECT * FROM {_name(number)}")
            self._db.unregister(_name(number))
            self._db.execute(f"ALTER TABLE kept_{number} RENAME TO {_name(number)}")

    # -- in ----------------------------------------------------------------------------------------------------------

    def _feed(self, number: int, feed: Feed, broken: list[BaseException] | None = None) -> None:
        schema, context = self._takes[number], self._context

        def batches() -> Iterator[pa.RecordBatch]:
            try:
                with closing(feed()) as rows:  # type: ignore[type-var]
                    for batch in rows:
                        context.check_cancelled()
                        yield _taken(batch, schema)
            except BaseException as error:
                if broken is not None:
                    broken.append(error)
                raise

        self._db.register(_name(number), _Once(schema, batches))

    def _refuse(self) -> None:
        """Point at what DuckDB would compute wrongly, or couldn't tell apart."""
        for use, schema in zip(self._query.uses, self._given, strict=True):
            kinds = {field.name.lower(): logical_type(field) or field.type for field in schema if _is_opaque(field)}
            for name, start, end in self._query.computed(list(kinds)):
                raise self._query.text.wrong(
                    start,
                    end,
                    f"{name} is {kinds[name.lower()]}, which can't be computed with here",
                    hint=f"Pass the column on as it is, or say how to take it: CAST({name} AS ...).",
                )
            folded: dict[str, str] = {}
            for name in schema.names:
                twin = folded.setdefault(name.lower(), name)
                if twin != name:
                    raise self._query.text.wrong(
                        use.start,
                        use.end,
                        f"columns {twin} and {name} differ in capitals alone, which a query here can't tell apart",
                        hint="Copy the stream without a query, with --columns.",
                    )

    # -- the query ---------------------------------------------------------------------------------------------------

    def _renamed(self) -> Text:
        """The query over the names under which its streams are registered."""
        edits = []
        for number, use in enumerate(self._query.uses):
            alias = "" if use.alias else ' AS "' + use.parts[-1].replace('"', '""') + '"'
            edits.append((use.start, use.end, _name(number) + alias))
        return self._query.text.edited(edits)

    def _described(self) -> tuple[Text, pa.Schema, dict[str, tuple[Use, str]]]:
        """The query as it is run, the fields of its rows, and which of them are columns passed on."""
        with self._told(text=self._text):
            statements = self._db.extract_statements(self._text.text)
            if [statement.type for statement in statements] != [duckdb.StatementType.SELECT]:
                raise self._query.text.wrong(0, 6, "this isn't one SELECT", hint="Write one SELECT.")
            relation = self._db.sql(self._text.text)
        names, types = list(relation.columns), list(relation.types)
        self._refuse_doubled(names)
        plain = passed_on(self._query, [schema.names for schema in self._given], names)
        casts, fields = [], []
        for number, (name, type_) in enumerate(zip(names, types, strict=True), 1):
            use = plain.get(name)
            if use is not None:
                given = self._given[self._query.uses.index(use[0])].field(use[1])
                casts.append(f"#{number}")
                fields.append(pa.field(name, given.type, metadata=given.metadata))
                continue
            target, logical = _PLAINER.get("null" if str(type_) == '"NULL"' else type_.id, (None, None))
            casts.append(f"CAST(#{number} AS {target})" if target else f"#{number}")
            fields.append(logical_field(name, pa.null(), logical))
        quoted = ['"' + name.replace('"', '""') + '"' for name in names]
        listed = ", ".join(f"{cast} AS {name}" for cast, name in zip(casts, quoted, strict=True))
        sql = self._text
        if any(cast.startswith("CAST") for cast in casts):
            sql = self._text.enclosed(f"SELECT {listed} FROM (\n", "\n)")
        with self._told(text=sql):
            found = self._db.sql(sql.text).to_arrow_reader(1).schema
        for at, field in enumerate(fields):
            if pa.types.is_null(field.type):
                fields[at] = pa.field(field.name, _normal(found.field(at).type), metadata=field.metadata)
        return sql, pa.schema(fields), plain

    def _refuse_doubled(self, names: Sequence[str]) -> None:
        seen: set[str] = set()
        for number, name in enumerate(names):
            if name.lower() in seen:
                items = self._query.items
                at = items[number] if len(items) == len(names) else None
                raise self._query.text.wrong(
                    at.start if at else 0,
                    at.end if at else 6,
                    f"two columns of the result are called {name}",
                    hint="Give each its own name with AS.",
                )
            seen.add(name.lower())

    def _operators(self) -> list[str]:
        """What DuckDB would do, operator by operator."""
        with self._told():
            rows = self._db.execute("EXPLAIN (FORMAT json) " + self._sql.text).fetchall()
        waiting, seen = list(json.loads(rows[0][1])), list[str]()
        while waiting:
            node = waiting.pop()
            seen.append(node["name"].strip().upper())
            waiting += node["children"]
        return seen

    # -- out ---------------------------------------------------------------------------------------------------------

    def _given_out(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        arrays = [_cast_back(array, field) for array, field in zip(batch.columns, self.schema, strict=True)]
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)

    @contextmanager
    def _told(self, broken: list[BaseException] | None = None, text: Text | None = None) -> Iterator[None]:
        """DuckDB's errors as ours, at the place in the user's text; those of a feed as they were raised."""
        try:
            yield
        except duckdb.Error as error:
            self._context.check_cancelled()
            if broken:
                raise broken[0] from error
            raise self._translated(error, text or self._sql) from error

    def _translated(self, error: duckdb.Error, text: Text) -> SuiroError:
        said = str(error).split("\n", 1)[0].partition(": ")[2] or str(error)
        at = pointed_at(text.text, str(error))
        start, end = (at, at + 1) if at is not None else (0, 0)
        where = text if at is not None else self._query.text
        match error:
            case duckdb.ConversionException() | duckdb.OutOfRangeException() | duckdb.InvalidInputException():
                shown = where.wrong(start, max(end, 6), "a value can't be converted or computed here")
                return DataError(shown.message, hint="Filter such rows out with WHERE, or use TRY_CAST.")
            case duckdb.OutOfMemoryException():
                return ConfigError(
                    "the query needs more memory than the run may take",
                    hint="Give the run more memory, or group, join or sort less at once.",
                )
            case _:
                if at is None:
                    start, end = self._query.blamed(said)
                return where.wrong(start, end, said, hint=self._hint(said, str(error)))

    def _hint(self, said: str, whole: str) -> str:
        if "Referenced column" in said or "have a column named" in said:
            return f"Columns are {', '.join(dict.fromkeys(self._known[:12]))}{', ...' if self._known[12:] else ''}."
        more = whole.split("\n")[1:2]
        return more[0] if more and more[0].startswith(("Candidate", "Did you mean")) else "Check names and SQL."


def _nothing() -> Iterator[pa.RecordBatch]:
    """No rows: what a query is described over."""
    yield from ()


class _Once:
    """Rows for one scan, as Arrow's stream interface hands them over. A second scan is refused."""

    def __init__(self, schema: pa.Schema, batches: Callable[[], Iterator[pa.RecordBatch]]) -> None:
        self._schema, self._batches = schema, batches
        self._asked = False

    def __arrow_c_schema__(self) -> object:
        return self._schema.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        if self._asked:
            raise InternalError("a stream was to be read twice for one query")
        self._asked = True
        return pa.RecordBatchReader.from_batches(self._schema, self._batches()).__arrow_c_stream__()


def _connect(context: Context) -> duckdb.DuckDBPyConnection:
    memory = max(context.memory_bytes // 4, LEAST_MEMORY)  # beside what the destination takes
    folder = context.workdir / "query"
    db = duckdb.connect(
        config={
            "threads": max(1, min(memory // LEAST_MEMORY, os.cpu_count() or 1)),
            "memory_limit": f"{memory}B",
            "temp_directory": str(folder),
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
        }
    )
    for setting in (
        "TimeZone = 'UTC'",
        "enable_progress_bar = false",
        "arrow_lossless_conversion = true",
        "python_enable_replacements = false",
        "enable_external_access = false",
        "lock_configuration = true",
    ):
        db.execute(f"SET {setting}")
    return db


def _name(number: int) -> str:
    return f"_suiro_{number}"


def _is_opaque(field: pa.Field) -> bool:
    """Whether DuckDB takes the column's values for something else."""
    number = logical_base(field) == "numeric" and is_text(field.type)
    return number or pa.types.is_decimal256(field.type) or pa.types.is_duration(field.type)


def _taken_field(field: pa.Field) -> pa.Field:
    """A stream's column as DuckDB takes it."""
    type_ = field.type
    if pa.types.is_decimal256(type_):
        return pa.field(field.name, pa.string())
    if pa.types.is_duration(type_):
        return pa.field(field.name, pa.int64())
    if pa.types.is_float16(type_):
        return pa.field(field.name, pa.float32())
    if pa.types.is_fixed_size_binary(type_):
        return pa.field(field.name, pa.binary())
    return pa.field(field.name, type_)


def _taken(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    arrays = [
        array if array.type == field.type else array.cast(field.type)
        for array, field in zip(batch.columns, schema, strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _normal(type_: pa.DataType) -> pa.DataType:
    """The type in which a computed column travels."""
    if pa.types.is_timestamp(type_):
        return pa.timestamp("us", type_.tz and "UTC")
    return type_


def _cast_back(array: pa.Array, field: pa.Field) -> pa.Array:
    if array.type == field.type:
        return array
    plain = array.storage if isinstance(array, pa.ExtensionArray) else array
    try:
        cast = plain.cast(storage(field.type))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(
            f"column {field.name} came back as {array.type} and can't be {field.type} exactly",
            hint="Leave the column out, or convert it with CAST.",
        ) from error
    return pa.ExtensionArray.from_storage(field.type, cast) if isinstance(field.type, pa.BaseExtensionType) else cast
