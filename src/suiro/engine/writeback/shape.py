"""How rows become an object's records: fields, the key that finds records, and what an application doesn't allow."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import pyarrow as pa

from suiro.engine.fit import exactly
from suiro.engine.mapped import MappedSource
from suiro.engine.plan import Plan, plan_task
from suiro.engine.writeback.task import CAPABILITIES, WriteBack
from suiro.model.errors import ConfigError
from suiro.model.job import Task
from suiro.model.naming import join_name
from suiro.model.schema import ReadMode, Stream
from suiro.model.selection import CURRENT, DELETED_AT, OWN, Deletes, WriteMode
from suiro.model.types import is_text, logical_type
from suiro.model.writeback import Action, ObjectFacts, Order, WriteBackMode
from suiro.spi.powers import Queries
from suiro.spi.source import Source

NEEDS: Final[Mapping[WriteBackMode, tuple[Action, ...]]] = {
    WriteBackMode.INSERT: (Action.INSERT,),
    WriteBackMode.UPDATE: (Action.UPDATE,),
    WriteBackMode.UPSERT: (Action.UPSERT,),
    WriteBackMode.MIRROR: (Action.UPSERT, Action.DELETE),
    WriteBackMode.DELETE: (Action.DELETE,),
}
CREATES: Final = frozenset({WriteBackMode.INSERT, WriteBackMode.UPSERT, WriteBackMode.MIRROR})
UPSERTS: Final = frozenset({WriteBackMode.UPSERT, WriteBackMode.MIRROR})
CHANGES: Final = frozenset({WriteBackMode.UPDATE, WriteBackMode.UPSERT, WriteBackMode.MIRROR})


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A write-back, decided against the stream and the object as they are now."""

    work: WriteBack
    facts: ObjectFacts
    types: pa.Schema  #: of all the object's fields
    plan: Plan  #: how the rows are read
    schema: pa.Schema  #: of the rows: fields, and key columns that are no fields
    fields: tuple[str, ...]  #: whose values are sent, but for `by`
    by: str | None  #: the field that finds records; None: none are looked for
    key: tuple[str, ...]  #: columns of `schema` that identify a row
    scope: str
    digest: str  #: of what the values mean: a row's hash holds it
    notes: tuple[str, ...]  #: sentences for people

    @property
    def record_id(self) -> str:
        """The field of the record's own id."""
        return self.facts.record_id

    @property
    def folds_key(self) -> bool:
        """Whether keys that differ in case alone are one key."""
        found = None if self.by is None else self.facts.fields[self.by]
        return found is not None and not found.case_sensitive and is_text(self.types.field(found.name).type)

    @property
    def unfilled(self) -> tuple[str, ...]:
        """Fields that a new record must have and that no column fills."""
        filled = {*self.fields, self.by}
        return tuple(name for name, field in self.facts.fields.items() if field.required and name not in filled)

    def order(self, action: Action) -> Order:
        """What the application is told to do with rows."""
        by = {Action.UPDATE: self.record_id, Action.UPSERT: self.by}.get(action)
        return Order(object=self.facts.name, action=action, by=by, options=dict(self.work.options) or None)


def shaped(work: WriteBack, reader: Source[Any], facts: ObjectFacts, types: pa.Schema, identity: str) -> Shape:
    """Decide. ConfigError for what the stream, the object or the mode doesn't allow, with the reason."""
    _check_actions(work, facts)
    stream = reader.find(work.task.stream)
    key, columns, hidden = _columns(work, stream)
    where, notes = _standing(work.task, stream, reader)
    if where is not None and not isinstance(reader, Queries):  # Suiro itself looks at these columns
        looked_at = {
            name: name for name in (DELETED_AT, CURRENT) if name in stream.schema.names and name not in columns
        }
        columns, hidden = columns | looked_at, hidden | set(looked_at)
    task = replace(
        work.task, columns=columns, key=None, drop=(), names={}, read=ReadMode.FULL, write=WriteMode.REPLACE,
        where=where, deletes=Deletes.SKIP, table=join_name([work.object]), most_rejected=0,
    )  # fmt: skip
    plan = plan_task(task, reader, CAPABILITIES)
    sent = [name for source, name in plan.mapping.items() if source not in hidden]
    if work.mode is WriteBackMode.INSERT and not work.task.columns:  # a key of the warehouse's own is no field
        sent = [name for name in sent if name in facts.fields or name not in key]
    by = None if work.mode is WriteBackMode.INSERT else key[0]
    fields = tuple(name for name in sent if name != by)
    _check_key(work, facts, key)
    _check_fields(work, facts, fields)
    schema = _schema(plan, types, {*fields, *([by] if by else [])})
    meaning = [facts.name, by, sorted(fields), work.nulls.value]
    return Shape(
        work=work,
        facts=facts,
        types=types,
        plan=plan,
        schema=schema,
        fields=fields,
        by=by,
        key=key,
        scope=_digest([identity, facts.name, by or list(key), work.task.generation])[:24],
        digest=_digest(meaning),
        notes=notes,
    )


def _digest(parts: list[Any]) -> str:
    return hashlib.sha256(json.dumps(parts, ensure_ascii=False).encode()).hexdigest()


def _columns(work: WriteBack, stream: Stream) -> tuple[tuple[str, ...], dict[str, str], frozenset[str]]:
    """The key by the rows' names, all columns with theirs, and those of the stream that are read for the key alone."""
    task = work.task
    columns = _mapped(task, stream)
    key = task.key or (stream.primary_key if work.mode is WriteBackMode.INSERT else ())
    if not key:
        raise ConfigError(
            f"a write-back with {work.mode} must know which column identifies a row",
            hint="Name it with key.",
        )
    names = {name: source for source, name in columns.items()}
    sources = [name if name in stream.schema.names else names.get(name, name) for name in key]
    for name in sources:
        if name not in stream.schema.names:
            raise ConfigError(f"{stream.name} has no column {name} for its key", hint=_listed(stream.schema.names))
    hidden = frozenset(name for name in sources if name not in columns)
    columns |= {name: name for name in sources if name not in columns}
    if work.mode is WriteBackMode.DELETE:
        if task.columns and set(columns) != set(sources):
            raise ConfigError("a write-back that deletes takes the key alone", hint="Leave the columns out.")
        columns = {name: columns[name] for name in sources}
    found = tuple(columns[name] for name in sources)
    if work.mode is not WriteBackMode.INSERT:
        if len(found) != 1:
            raise ConfigError(
                f"records are found by one field, and the key has {len(found)}", hint="Name one column with key."
            )
        hidden = frozenset()
    return found, columns, hidden


def _mapped(task: Task, stream: Stream) -> dict[str, str]:
    if task.columns:
        return dict(task.columns)
    left = [name for name in stream.schema.names if name not in task.drop and name not in OWN]
    return {name: task.names.get(name, name) for name in left}


def _standing(task: Task, stream: Stream, reader: Source[Any]) -> tuple[str | None, tuple[str, ...]]:
    """The task's condition, without rows that are only kept as deleted or as earlier versions."""
    marks = [name for name in (DELETED_AT, CURRENT) if name in stream.schema.names]
    if not marks:
        return task.where, ()
    from sqlglot import exp  # on use: it takes long to import

    asked = reader.base if isinstance(reader, MappedSource) else reader
    dialect = asked.sql_dialect if isinstance(asked, Queries) and isinstance(reader, Queries) else "duckdb"
    conditions: dict[str, exp.Expression] = {DELETED_AT: exp.column(DELETED_AT, quoted=True).is_(exp.null())}
    conditions[CURRENT] = exp.column(CURRENT, quoted=True).eq(exp.true())
    said = [conditions[name].sql(dialect) for name in marks]
    where = " AND ".join([*([f"(\n{task.where}\n)"] if task.where else []), *said])
    return where, (f"Rows that {', '.join(marks)} tell to be deleted or ended are left out.",)


def _check_actions(work: WriteBack, facts: ObjectFacts) -> None:
    for action in NEEDS[work.mode]:
        if action not in facts.actions:
            raise ConfigError(
                f"{facts.name} takes no {action} with these credentials, and {work.mode} needs it",
                hint=f"It takes: {_joined(facts.actions)}." if facts.actions else "Give the user the rights.",
            )


def _check_key(work: WriteBack, facts: ObjectFacts, key: tuple[str, ...]) -> None:
    if work.mode is WriteBackMode.INSERT:
        return
    name = key[0]
    if name not in facts.fields:
        raise _no_field(name, facts, "the key")
    if work.mode in UPSERTS and not facts.fields[name].external_id:
        others = _joined(field.name for field in facts.fields.values() if field.external_id)
        raise ConfigError(
            f"{facts.name} can't be upserted by {name}: it is no external id, so the application doesn't keep it "
            "unique and can't say which record is meant",
            hint=(f"External ids of {facts.name}: {others}. " if others else f"{facts.name} has no external id. ")
            + "Choose one, make one in the application, or write with update, which creates nothing.",
        )


def _check_fields(work: WriteBack, facts: ObjectFacts, fields: tuple[str, ...]) -> None:
    for name in fields:
        if name not in facts.fields:
            raise _no_field(name, facts, "a column")
        field = facts.fields[name]
        if work.mode in CREATES and not field.creatable:
            raise _unwritable(name, facts, "given a value when a record is made")
        if work.mode in CHANGES and not field.updatable:
            raise _unwritable(name, facts, "changed")
    if not fields and work.mode is not WriteBackMode.DELETE:
        raise ConfigError(f"nothing is written to {facts.name} but the key", hint="Name the fields with columns.")


def _no_field(name: str, facts: ObjectFacts, what: str) -> ConfigError:
    folded = {known.lower(): known for known in facts.fields}
    near = [folded[found] for found in difflib.get_close_matches(name.lower(), folded, n=3)]
    hint = f"Did you mean {' or '.join(near)}?" if near else _listed(facts.fields)
    return ConfigError(f"{facts.name} has no field {name}, to which {what} is mapped", hint=hint)


def _unwritable(name: str, facts: ObjectFacts, what: str) -> ConfigError:
    return ConfigError(
        f"the field {name} of {facts.name} can't be {what} with these credentials",
        hint="Leave the column out, or ask for the right.",
    )


def _schema(plan: Plan, types: pa.Schema, fields: set[str]) -> pa.Schema:
    """The rows' columns: of fields in the application's types. ConfigError where a column can't become its field."""
    found = []
    for source, name in plan.mapping.items():
        given = plan.selection.stream.schema.field(source)
        if name not in fields:
            found.append(given.with_name(name))
            continue
        wanted = types.field(name)
        try:
            exactly(pa.nulls(1, given.type), wanted.type)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            raise ConfigError(
                f"column {source} is {logical_type(given) or given.type} and can't become the field {name}, which is "
                f"{logical_type(wanted) or wanted.type}",
                hint="Convert it in a query, or give it a type with types.",
            ) from None
        found.append(wanted)
    return pa.schema(found)


def _joined(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


def _listed(names: Iterable[str]) -> str:
    known = list(names)
    return f"There are {', '.join(known[:12])}{', ...' if len(known) > 12 else ''}."
