"""From a task to what each side has to do: the source's selection, the destination's write, the names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from suiro.engine.evolve import incoming_schema, wanted_table
from suiro.engine.fit import fitted_table, misfits
from suiro.engine.query.head import select_of
from suiro.engine.ranges import begun_anew, ranged, writes
from suiro.model.errors import ConfigError
from suiro.model.job import Task, TaskKey
from suiro.model.naming import fit_names, join_name, shorten, split_name
from suiro.model.receipt import Level
from suiro.model.schema import ReadMode, Stream, Table
from suiro.model.selection import (
    CURRENT,
    DELETED_AT,
    KEYED,
    VALID_FROM,
    VALID_TO,
    Deletes,
    Replace,
    Resync,
    Selection,
    WriteMode,
    WriteSpec,
)
from suiro.model.types import is_time
from suiro.spi.destination import Capabilities
from suiro.spi.powers import Queries
from suiro.spi.source import Source

_TIME = pa.timestamp("us", "UTC")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One task, decided. `mapping` goes from the stream's names to the table's, in the stream's order."""

    task: Task
    selection: Selection
    spec: WriteSpec
    table: str
    mapping: Mapping[str, str]
    incoming: pa.Schema  #: the stream's columns as the destination would make them
    residual: str | None  #: the part of the filter that the engine evaluates
    moment: datetime  #: when this run began, UTC
    time: str | None = None  #: HISTORY: the stream's column that tells when a version began; None: the moment does

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know before: what the stream says of itself, and what the level costs."""
        hashed = "Rows pass through Arrow; what is staged is read back, and every value compared by its hash."
        return (*self.selection.stream.notes, *((hashed,) if self.task.verify is Level.HASH else ()))

    @property
    def own(self) -> pa.Schema:
        """The columns of Suiro's own that the table has beside the stream's."""
        if self.spec.mode is WriteMode.HISTORY:
            return pa.schema([(VALID_FROM, _TIME), (VALID_TO, _TIME), (CURRENT, pa.bool_())])
        soft = self.spec.mode is WriteMode.MERGE and self.spec.deletes is Deletes.SOFT
        return pa.schema([(DELETED_AT, _TIME)] if soft else [])

    @property
    def constraint(self) -> tuple[str, ...]:
        """What identifies a row of the table."""
        return (*self.spec.key, VALID_FROM) if self.spec.mode is WriteMode.HISTORY else self.spec.key

    def wanted(self, incoming: pa.Schema, current: Table | None) -> Table:
        """The table as it shall be staged when these columns of the stream come; see `wanted_table`."""
        whole = pa.schema([*incoming, *self.own])
        if self.task.existing:
            return fitted_table(self.table, whole, self.constraint, current)
        return wanted_table(self.table, whole, self.constraint, current, self.task.drift)

    def misfits(self, current: Table | None) -> list[str]:
        """What keeps the stream out of a table that must stay as it is, a sentence each; empty for other tables."""
        whole = pa.schema([*self.incoming, *self.own])
        return misfits(self.table, whole, current) if self.task.existing else []

    @property
    def appends_once(self) -> bool:
        """Whether each run appends all there is, once."""
        return self.selection.read_mode is ReadMode.FULL and self.spec.mode is WriteMode.APPEND

    @property
    def compares_keys(self) -> bool:
        """Whether rows that the source no longer has are found by comparing all keys."""
        whole = self.task.resync is not Resync.REPLACE and not self.keeps_position
        return whole and self.spec.deletes is not Deletes.SKIP and self.selection.read_mode is not ReadMode.LOG

    @property
    def keeps_position(self) -> bool:
        """Whether the marker stays: what is carried lies behind it."""
        return self.task.backfill is not None or self.task.retry

    @property
    def forgets(self) -> bool:
        """Whether this run begins anew, whatever the marker says."""
        return self.selection.read_mode is ReadMode.FULL or self.task.resync is not None


def plan_task(task: Task, source: Source[Any], capabilities: Capabilities) -> Plan:
    """Decide what the task leaves open. ConfigError where parts of it contradict each other or the stream."""
    task = begun_anew(task)
    stream = source.find(task.stream)
    if not stream.schema.names:
        raise ConfigError(f"{stream.name} has no columns that can be read", hint="Choose another stream.")
    if task.read not in stream.read_modes:
        raise ConfigError(
            f"{stream.name} can't be read in mode {task.read}",
            hint=f"It can be read in: {', '.join(sorted(stream.read_modes))}.",
        )
    if task.limit is not None and task.read is not ReadMode.FULL:
        raise ConfigError("a limit needs a full read", hint="Leave the limit out, or read in full.")
    cursor = _cursor(task, stream)
    mapping = column_names(task, stream, capabilities)
    write = writes(task, _write_mode(task, stream))
    if write not in capabilities.write_modes:
        raise ConfigError(f"this destination doesn't write in mode {write}", hint=_modes(capabilities))
    key = _key(task, stream, mapping, write)
    if cursor is not None and cursor not in mapping:
        raise ConfigError(f"the cursor {cursor} must be among the columns", hint="Add it to the columns.")
    moment = datetime.now(UTC)
    spec = _spec(task, write, key, mapping[cursor] if cursor else None, moment)
    _check_deletes(task, spec, capabilities)
    pushes = isinstance(source, Queries)
    selection = Selection(
        stream=stream,
        columns=tuple(mapping),
        read_mode=task.read,
        where=task.where if pushes else None,
        cursor_field=cursor,
        look_back=task.look_back,
        deduplicate=write is WriteMode.APPEND and not spec.skip_existing,
        rejects=bool(task.most_rejected),
    )
    plan = Plan(
        task=task,
        selection=ranged(task, selection, source),
        spec=spec,
        table=_table_name(task, stream, capabilities),
        mapping=mapping,
        incoming=incoming_schema(stream.schema, mapping, capabilities),
        residual=None if pushes or task.retry else task.where,  # rejected rows met the condition when they were read
        moment=moment,
        time=cursor if cursor and write is WriteMode.HISTORY and is_time(stream.schema.field(cursor)) else None,
    )
    clash = [name for name in plan.own.names if name in mapping.values()]
    if clash:
        raise ConfigError(
            f"the stream has a column {clash[0]}, which is Suiro's own in a table written with {write}",
            hint="Leave the column out, or give it another name.",
        )
    return plan


def task_key(plan: Plan, source_identity: str, run: str) -> TaskKey:
    """The key of the task's marker. A full read that appends is a task of its own in every run."""
    return TaskKey(
        source=source_identity,
        stream=plan.selection.stream.name,
        filter=_filter(plan.task),
        table=plan.table,
        generation=run if plan.appends_once else str(plan.task.generation or ""),
    )


def _filter(task: Task) -> str:
    """The condition, the query and the masks, which are all part of what makes a task the same task."""
    asked = task.applied if task.query is None else select_of(task.query)
    return "\n".join(part for part in (asked, task.where) if part)


def _cursor(task: Task, stream: Stream) -> str | None:
    if task.cursor is not None:
        if task.cursor not in stream.schema.names:
            raise ConfigError(f"{stream.name} has no column {task.cursor}", hint=_columns(stream))
        return task.cursor
    if task.read is ReadMode.INCREMENTAL and stream.cursor_fields:
        raise ConfigError(
            f"an incremental read of {stream.name} needs a cursor field",
            hint=f"Name a column that grows with every change, for example {', '.join(stream.cursor_fields[:3])}.",
        )
    return None


def column_names(task: Task, stream: Stream, capabilities: Capabilities) -> dict[str, str]:
    """What the chosen columns of the stream are called in the table; ConfigError where the task's choice is none."""
    unknown = [name for name in (*task.columns, *task.drop, *task.names) if name not in stream.schema.names]
    if unknown:
        raise ConfigError(f"{stream.name} has no column {unknown[0]}", hint=_columns(stream))
    given = {name: called for name, called in task.columns.items() if name != called}
    chosen = {
        name: given.get(name) or task.names.get(name, name)
        for name in stream.schema.names
        if (not task.columns or name in task.columns) and name not in task.drop
    }
    if not chosen:
        raise ConfigError(f"no column of {stream.name} is left", hint="Drop fewer of them.")
    doubled = [name for name in chosen.values() if list(chosen.values()).count(name) > 1]
    if doubled:
        raise ConfigError(f"two columns are to be called {doubled[0]}", hint="Give each its own name.")
    fitted = fit_names(chosen.values(), limit=capabilities.max_identifier, fold_case=capabilities.folds_case)
    return {source_name: fitted[name] for source_name, name in chosen.items()}


def _write_mode(task: Task, stream: Stream) -> WriteMode:
    if task.write is WriteMode.REPLACE and task.read is not ReadMode.FULL:
        raise ConfigError(
            f"a table can't be replaced by an {task.read} read", hint="Write with merge or append, or read in full."
        )
    if task.write is not None:
        return task.write
    if task.read is ReadMode.FULL:
        return WriteMode.REPLACE
    return WriteMode.MERGE if task.key or stream.primary_key else WriteMode.APPEND


def _key(task: Task, stream: Stream, mapping: Mapping[str, str], write: WriteMode) -> tuple[str, ...]:
    asked = task.key or ()
    missing = [name for name in asked if name not in stream.schema.names]
    if missing:
        raise ConfigError(f"{stream.name} has no column {missing[0]} for its key", hint=_columns(stream))
    names = asked or stream.primary_key
    if write in KEYED and not names:
        raise ConfigError(
            f"{stream.name} has no primary key, and {write} needs to know which columns identify a row",
            hint="Name them with key, or write with append or replace.",
        )
    left_out = [name for name in names if name not in mapping]
    if left_out and (write in KEYED or asked):
        raise ConfigError(f"the key column {left_out[0]} must be among the columns", hint="Add it to the columns.")
    return () if left_out else tuple(mapping[name] for name in names)


def _spec(task: Task, write: WriteMode, key: tuple[str, ...], cursor: str | None, moment: datetime) -> WriteSpec:
    skip: tuple[str, ...] = ()
    if write is WriteMode.APPEND and task.read is ReadMode.INCREMENTAL and task.look_back is not None:
        if not key:
            raise ConfigError(
                "a look-back window reads rows again, and append can tell them apart only by a key",
                hint="Name the key, write with merge, or leave the window out.",
            )
        skip = (*key, *([cursor] if cursor and cursor not in key else []))
    keyed = write in KEYED or ((task.key is not None or task.resync is not None) and write is WriteMode.REPLACE)
    return WriteSpec(
        mode=write,
        key=key if keyed else (),
        order_by=cursor if write in KEYED else None,
        moment=moment,
        most_deleted=task.most_deleted,
        deletes=task.deletes,
        replace=Replace.TRUNCATE if task.existing else task.replace,
        skip_existing=skip,
    )


def _check_deletes(task: Task, spec: WriteSpec, capabilities: Capabilities) -> None:
    """ConfigError where deletes are to be followed and can't be."""
    if task.deletes is Deletes.SKIP or task.resync is Resync.REPLACE:
        return
    if spec.mode not in KEYED:
        raise ConfigError(
            f"deletes can't be followed when rows are written with {spec.mode}", hint="Write with merge or history."
        )
    if task.deletes not in capabilities.deletes:
        known = ", ".join(sorted(capabilities.deletes))
        raise ConfigError(f"this destination makes no {task.deletes} deletes", hint=f"It can: {known}.")
    if task.read is not ReadMode.LOG and not capabilities.key_snapshots:
        raise ConfigError(
            "this destination can't compare all keys to find deleted rows", hint="Replace the table, or skip deletes."
        )
    if task.limit is not None:
        raise ConfigError("deletes can't be followed with a limit", hint="Leave the limit out.")
    if not 0 <= task.most_deleted <= 1:
        raise ConfigError("the greatest share to delete lies between 0 and 1", hint="Write 0.2 for a fifth.")


def _table_name(task: Task, stream: Stream, capabilities: Capabilities) -> str:
    parts = split_name(task.table) if task.table else split_name(stream.name)[-1:]
    return join_name([shorten(part, capabilities.max_identifier) for part in parts])


def _columns(stream: Stream) -> str:
    names = stream.schema.names
    return f"Its columns are {', '.join(names[:12])}{', ...' if len(names) > 12 else ''}."


def _modes(capabilities: Capabilities) -> str:
    return f"It writes in: {', '.join(sorted(capabilities.write_modes))}."
