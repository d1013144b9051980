"""Mapping as users ask for it: computed columns as a query, tables and columns under the names they are to have."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from suiro.app.names import names_of
from suiro.app.opened import Connection
from suiro.engine.context import RunContext
from suiro.engine.replicate import asked_source
from suiro.model.errors import ConfigError
from suiro.model.job import Task
from suiro.model.masking import MaskKey
from suiro.model.naming import NamePolicy, join_name, split_name
from suiro.model.schema import Stream

_LIST: Final = re.compile(r"[\s\d,.'-]*")  #: in brackets a query takes this for a list of values


@dataclass(frozen=True, slots=True, kw_only=True)
class Naming:
    """How tables and columns get their names: `prefix` before a table's, `schema` to hold it."""

    policy: NamePolicy = NamePolicy.AS_IS
    prefix: str = ""
    schema: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a copy does to all its streams alike. `computed` goes from a column of the table to its SQL expression."""

    naming: Naming = field(default_factory=Naming)
    computed: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class MappedTask:
    """A task with all its names, and the file that keeps those that were proposed."""

    task: Task
    names_file: Path | None = None


def mapped_task(task: Task, mapping: Rules, source: Connection, context: RunContext) -> MappedTask:
    """The task with its computed columns and names. Opens the source where its columns must be known."""
    naming, file = mapping.naming, None
    if task.query is not None and (mapping.computed or naming.prefix or naming.policy is not NamePolicy.AS_IS):
        raise ConfigError(
            "--set, --names and --prefix have no place beside a statement, which says all this itself",
            hint="Choose columns and names in the SELECT, and the table after REPLICATE.",
        )
    with ExitStack() as stack:
        if mapping.computed or naming.policy is not NamePolicy.AS_IS:
            opened = stack.enter_context(closing(source.source(context)))
            stream = opened.find(task.stream)
            if mapping.computed:
                task = _computed(task, stream, mapping.computed)
            if naming.policy is not NamePolicy.AS_IS:
                whole = asked_source(task, opened, context, stack).find(task.stream).schema.names
                mine = [name for name in whole if name not in task.names and name not in task.drop]
                names = names_of(source.config.identity(), stream.name, mine, naming.policy)
                task = replace(
                    task, names={**names.columns, **task.names}, table=task.table or join_name([names.table])
                )
                file = names.file
    return MappedTask(task=_placed(task, naming), names_file=file)


def _placed(task: Task, naming: Naming) -> Task:
    """The task with the table's prefix and schema."""
    if not naming.prefix and naming.schema is None:
        return task
    parts = split_name(task.table) if task.table else split_name(task.stream)[-1:]
    if len(parts) > 1 and naming.schema is not None:
        raise ConfigError(f"the table {task.table} names its schema, and so does --schema", hint="Leave one out.")
    schema = (naming.schema,) if naming.schema is not None else parts[:-1]
    return replace(task, table=join_name([*schema, naming.prefix + parts[-1]]))


def _computed(task: Task, stream: Stream, computed: Mapping[str, str]) -> Task:
    """The task over a query that adds the computed columns to the stream's; one of an old name takes its place."""
    names = {name: f"{name} =" if name in stream.schema.names else name for name in computed}
    if task.cursor is not None and names.get(task.cursor, task.cursor) != task.cursor:
        raise ConfigError(
            f"the cursor {task.cursor} is computed, so the source can't go on from its values",
            hint="Give the computed column another name.",
        )
    columns = "".join(f", (\n{expression}\n) AS {_quoted(names[name])}" for name, expression in computed.items())
    where = f" WHERE (\n{task.where}\n)" if task.where else ""
    placed = ".".join(map(_quoted, split_name(stream.name)))
    replaced = tuple(name for name in computed if names[name] != name)
    return replace(
        task,
        query=f"SELECT *{columns} FROM {placed}{where}",
        where=None,
        key=None if task.key is None else tuple(names.get(name, name) for name in task.key),
        columns={n: c for n, c in task.columns.items() if n not in replaced}
        | ({names[name]: name for name in computed} if task.columns else {}),
        drop=(*task.drop, *replaced),
        names={**task.names, **{names[name]: name for name in computed}},
    )


def _quoted(name: str) -> str:
    """A name as every dialect's query takes it: in brackets, unless these would make a list of it."""
    if _LIST.fullmatch(name):
        return '"' + name.replace('"', '""') + '"'
    return f"[{name.replace(']', ']]')}]"


def rules_of(computed: Mapping[str, str], policy: NamePolicy, prefix: str, schema: str | None) -> Rules:
    """The rules from what the options of a copy say."""
    return Rules(computed=computed, naming=Naming(policy=policy, prefix=prefix, schema=schema))


def mask_key_of(text: str) -> MaskKey:
    """The key that `env:NAME` or `file:PATH` holds. ConfigError where there is none; it never shows what it found."""
    kind, colon, where = text.partition(":")
    if not colon or not where or kind not in ("env", "file"):
        raise ConfigError(
            "the mask key must be named, not written",
            hint="Write --mask-key env:NAME for an environment variable, or --mask-key file:PATH.",
        )
    if kind == "env":
        found = os.environ.get(where)
        if found is None:
            raise ConfigError(f"there is no environment variable {where} for the mask key", hint="Set and export it.")
        return MaskKey(found.strip().encode())
    try:
        return MaskKey(Path(where).expanduser().read_bytes().strip())
    except OSError as error:
        raise ConfigError(
            f"the mask key's file {where} can't be read: {error.strerror}", hint="Check its path and rights."
        ) from error
