"""The task that a load.yml asks for: what is read, what becomes of its columns, and how it is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final

from suiro.app.documents import TaskDocument, TimeDocument
from suiro.app.treasure.columns import Columns, columns_of
from suiro.app.treasure.kinds import SQL
from suiro.app.treasure.load_yml import LoadYml
from suiro.app.treasure.sections import DatabaseIn, FileIn, IntercomIn, MysqlIn
from suiro.model.clock import zone_of
from suiro.model.errors import ConfigError
from suiro.model.naming import join_name
from suiro.model.schema import ReadMode, Stream
from suiro.model.selection import Replace, WriteMode

TASK: Final = "load"  #: what the one task of such a job is called
_MODES: Final[dict[str, dict[str, Any]]] = {
    "append": {"write": WriteMode.APPEND},
    "append_direct": {"write": WriteMode.APPEND},
    "insert": {"write": WriteMode.APPEND},
    "insert_direct": {"write": WriteMode.APPEND},
    "replace": {"write": WriteMode.REPLACE},
    "replace_on_new_data": {"write": WriteMode.REPLACE, "only_new_data": True},
    "truncate": {"write": WriteMode.REPLACE, "replace": Replace.TRUNCATE},
    "truncate_insert": {"write": WriteMode.REPLACE, "replace": Replace.TRUNCATE},
    "merge": {"write": WriteMode.MERGE},
    "merge_direct": {"write": WriteMode.MERGE},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where rows go: a database's table, and the column whose time they get."""

    database: str
    table: str
    time_column: str | None = None

    @property
    def name(self) -> str:
        """Database and table as one name: a database is a schema here."""
        return join_name([self.database, self.table])


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A task, and sentences for the user about it."""

    task: TaskDocument
    heads: tuple[tuple[str, str], ...]  #: names and Treasure Data's types of the table's columns
    notes: tuple[str, ...] = field(default=())


def reading(load: LoadYml, stream: str | None = None) -> dict[str, Any]:
    """What of a task says which rows are read: a stream, or a query. `stream` is the name of a file's."""
    said = load.input
    if isinstance(said, FileIn):
        return {"stream": stream}
    if isinstance(said, IntercomIn):
        return {"stream": said.target}
    if said.query is not None:
        beside = [name for name in ("table", "select", "where") if getattr(said, name) is not None]
        if beside:
            raise load.wrong(("in", beside[0]), "it has no place beside query", "Say it in the query.")
        return {"sql": said.query}
    if said.table is None:
        raise load.wrong(("in",), "it has neither table nor query", "Write table: and the table's name.")
    name = join_name([*_schema(said), said.table])
    if said.select is not None and said.select.strip() != "*":
        where = f"\nWHERE ({said.where})" if said.where else ""
        return {"sql": f"SELECT {said.select} FROM {_quoted(said, [*_schema(said), said.table])}{where}"}
    return {"stream": name, **({"where": said.where} if said.where else {})}


def made(load: LoadYml, stream: Stream, target: Target | None, *, once: bool) -> Made:
    """The task. `once`: it runs a single time, so nothing is kept of how far it came.

    Without a target it is the task of a preview, whose columns are those after the filters, without the table's time.
    """
    kinds = _kinds(load, load.input, stream) if isinstance(load.input, DatabaseIn) else []
    columns = columns_of(load, stream.schema, kinds)
    columns.filtered()
    if target is not None:
        columns.partitioned(target.time_column)
    said: dict[str, Any] = {
        "table": "preview" if target is None else target.name,
        "name": TASK,
        **reading(load, stream.name),
    }
    said |= _written(load, columns)
    said |= _incremental(load, stream, said, once=once)
    said |= _mapped(columns, stream)
    if isinstance(load.input, DatabaseIn):
        called = {column.source: column.name for column in columns.all}
        said["types"] = {called[name]: SQL[kind] for name, kind in kinds if name in called}
    stops = load.out.stop_on_invalid_record or (load.parser is not None and load.parser.stop_on_invalid_record)
    said["most_rejected"] = "0" if stops else "100%"
    heads = tuple((column.name, column.kind) for column in columns.all)
    return Made(task=TaskDocument.model_validate(said), heads=heads, notes=(*load.notes, *columns.notes))


def _schema(said: DatabaseIn) -> list[str]:
    return [] if isinstance(said, MysqlIn) else [str(getattr(said, "schema_name", "public"))]


def _quoted(said: DatabaseIn, parts: Sequence[str]) -> str:
    mark = "`" if isinstance(said, MysqlIn) else '"'
    return ".".join(mark + part.replace(mark, mark * 2) + mark for part in parts)


def _kinds(load: LoadYml, said: DatabaseIn, stream: Stream) -> list[tuple[str, str]]:
    for name in said.column_options:
        if name not in stream.schema.names:
            hint = f"Its columns are {', '.join(stream.schema.names[:12])}."
            raise load.wrong(("in", "column_options", name), f"there is no column {name!r}", hint)
    return [(name, options.type) for name, options in said.column_options.items() if options.type is not None]


def _written(load: LoadYml, columns: Columns) -> dict[str, Any]:
    out = load.out
    if out.type != "td":
        hint = "Leave out.type away; --destination chooses where rows go."
        raise load.wrong(("out", "type"), f"rows can't be sent to {out.type} by a load.yml here", hint)
    if out.mode not in _MODES:
        raise load.wrong(("out", "mode"), f"there is no mode {out.mode}", f"There are: {', '.join(_MODES)}.")
    try:
        zone_of(out.default_timezone)
    except ConfigError as error:
        raise load.wrong(("out", "default_timezone"), error.message, error.hint or "") from error
    found = dict(_MODES[out.mode])
    if out.merge_keys and found["write"] is not WriteMode.MERGE:
        raise load.wrong(("out", "merge_keys"), "keys are for the mode merge", "Write mode: merge, or leave them out.")
    if out.merge_keys:
        keys = [columns.named(name, ("out", "merge_keys", i)) for i, name in enumerate(out.merge_keys)]
        for i, column in enumerate(keys):
            if column.source is None:
                raise load.wrong(("out", "merge_keys", i), f"{column.name} is a time that is added", "Name another.")
        found["key"] = tuple(str(column.source) for column in keys)
    return found


def _incremental(load: LoadYml, stream: Stream, said: dict[str, Any], *, once: bool) -> dict[str, Any]:
    """How the task goes on from where it came to, and from which last record it begins."""
    if isinstance(load.input, FileIn):
        wanted = load.input.incremental and not once
        if wanted and said["write"] is WriteMode.REPLACE:
            if "incremental" in load.input.model_fields_set:
                raise _replaced(load)
            return {}
        return {"read": ReadMode.INCREMENTAL} if wanted else {}
    given = load.input
    if isinstance(given, IntercomIn):
        return _changes(load, stream, said, once=once) if given.incremental else {}
    if not given.incremental:
        for key in ("incremental_columns", "last_record"):
            if getattr(given, key):
                raise load.wrong(("in", key), "it is for incremental loads", "Write incremental: true beside it.")
        return {}
    names = given.incremental_columns or stream.primary_key
    if not names:
        hint = "Name a column that grows with every change in incremental_columns."
        raise load.wrong(("in", "incremental"), f"{stream.name} has no primary key to follow", hint)
    for i, name in enumerate(given.incremental_columns):
        if name not in stream.schema.names:
            hint = f"Its columns are {', '.join(stream.schema.names[:12])}."
            raise load.wrong(("in", "incremental_columns", i), f"there is no column {name!r}", hint)
    found: dict[str, Any] = {}
    if given.last_record is not None:
        found["where"] = _after(load, given, names, said.get("where"), query="sql" in said)
    if once:
        return found
    if said["write"] is WriteMode.REPLACE:
        raise _replaced(load)
    return {**found, "read": ReadMode.INCREMENTAL, "cursor": names[0]}


def _changes(load: LoadYml, stream: Stream, said: dict[str, Any], *, once: bool) -> dict[str, Any]:
    """The task goes on from the last change that it brought, by the column that the service follows."""
    if not stream.cursor_fields:
        raise load.wrong(("in", "incremental"), f"{stream.name} can't be followed", "Write incremental: false.")
    if once:
        return {}
    if said["write"] is WriteMode.REPLACE:
        raise _replaced(load)
    return {"read": ReadMode.INCREMENTAL, "cursor": stream.cursor_fields[0]}


def _replaced(load: LoadYml) -> ConfigError:
    said = f"an incremental load brings what is new alone, and {load.out.mode} would leave nothing else in the table"
    return load.wrong(("out", "mode"), said, "Write mode: append or merge, or incremental: false.")


def _after(load: LoadYml, said: DatabaseIn, names: Sequence[str], where: str | None, *, query: bool) -> str:
    """The condition that rows come behind the last record, column by column."""
    values = said.last_record or ()
    if len(values) != len(names):
        told = f"it has {len(values)} values for {len(names)} columns ({', '.join(names)})"
        raise load.wrong(("in", "last_record"), told, "Write a value for each of the incremental columns.")
    marks = [name.replace('"', '""').join('""') if query else _quoted(said, [name]) for name in names]
    literals = [_literal(load, value, i) for i, value in enumerate(values)]
    parts = []
    for i in range(len(names)):
        equal = [f"{mark} = {value}" for mark, value in zip(marks[:i], literals[:i], strict=True)]
        parts.append(" AND ".join([*equal, f"{marks[i]} > {literals[i]}"]))
    after = " OR ".join(f"({part})" for part in parts)
    return f"({where}) AND ({after})" if where else after


def _literal(load: LoadYml, value: Any, at: int) -> str:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    text = value.isoformat() if isinstance(value, date) else value
    if not isinstance(text, str):
        raise load.wrong(("in", "last_record", at), "a number or a text is wanted", 'Write "2026-01-31 00:00:00".')
    return "'" + text.replace("'", "''") + "'"


def _mapped(columns: Columns, stream: Stream) -> dict[str, Any]:
    """What of a task says which columns there are, and what they are called."""
    there = {column.source: column.name for column in columns.all if column.source is not None}
    times: dict[str, TimeDocument] = {column.name: column.time for column in columns.all if column.time is not None}
    found: dict[str, Any] = {"add_time": times}
    if columns.chosen and there:
        return {**found, "columns": there}
    renamed = {name: called for name, called in there.items() if name != called}
    gone = tuple(name for name in stream.schema.names if name not in there)
    return {**found, "rename": renamed, "drop": gone}
