"""REPLICATE statements as tasks: target, key and options of the head become settings of the task."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from suiro.engine.query.head import Head, Option, is_replicate, read_head
from suiro.model.errors import ConfigError
from suiro.model.job import Drift, Task
from suiro.model.schema import ReadMode
from suiro.model.selection import Replace, WriteMode

_YES: Final = frozenset({None, "true", "yes", "on", "1"})
_NO: Final = frozenset({"false", "no", "off", "0"})


def statement_of(text: str) -> str:
    """A statement as an option gives it: itself, or after @ the file that holds it. ConfigError for a missing file."""
    if not text.startswith("@"):
        return text
    path = Path(text[1:]).expanduser()
    try:
        return path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it isn't UTF-8"
        raise ConfigError(
            f"the file {path} can't be read: {reason}", hint="Name a file that holds one statement."
        ) from error


def tasks_of_statements(statements: Sequence[str], shared: Task) -> list[Task]:
    """A task for each statement; what its head says goes before what all share. Errors point at the place."""
    tasks = [task_of(statement, shared) for statement in statements]
    seen: set[str | None] = set()
    for task in tasks:
        if task.table in seen:
            raise ConfigError(f"two statements replicate into {task.table}", hint="Give each its own target.")
        seen.add(task.table)
    return tasks


def task_of(statement: str, shared: Task) -> Task:
    """The task of one statement."""
    if not is_replicate(statement):
        return _select(statement, shared)
    head = read_head(statement)
    if shared.table is not None:
        raise ConfigError(
            f"the statement names its table, {head.target.name}, and so does --table", hint="Leave --table out."
        )
    task = replace(shared, table=head.target.name)
    if head.key:
        task = replace(task, key=tuple(name.parts[0] for name in head.key))
    for option in head.options:
        task = _with(head, option, task, shared)
    if head.stream is not None:
        return _stream(head, task)
    assert head.query is not None
    return replace(task, stream=_name_of(head.query.text), query=statement)


def _select(statement: str, shared: Task) -> Task:
    if shared.table is None:
        from suiro.engine.query.text import Text

        word = len(statement.split(maxsplit=1)[0]) if statement.strip() else 1
        start = len(statement) - len(statement.lstrip())
        raise Text(statement).wrong(
            start,
            start + word,
            "the statement doesn't say which table to replicate into",
            hint="Write REPLICATE target SELECT ..., or name the target with --table.",
        )
    return replace(shared, stream=_name_of(statement), query=statement)


def _stream(head: Head, task: Task) -> Task:
    """The task of a statement without a SELECT: a stream, or all of it in declared types."""
    assert head.stream is not None
    if not head.columns:
        return replace(task, stream=head.stream.name)
    after = max([column.type.end for column in head.columns] + [name.end for name in head.key])
    raise head.text.wrong(
        head.columns[0].column.start,
        after,
        "declared columns need a SELECT that gives them",
        hint="Write SELECT column, ... FROM stream after the list.",
    )


def _name_of(query: str) -> str:
    """What a query is called in results: its first words."""
    words = " ".join(query.split()).rstrip(";")
    return words if len(words) <= 60 else words[:57] + "..."


# -- options -----------------------------------------------------------------------------------------------------------

Setting = Callable[[Head, Option], Mapping[str, Any]]


def _flag(yes: Mapping[str, Any], no: Mapping[str, Any] | None = None) -> Setting:
    """An option that is on or off, and what it sets then."""

    def setting(head: Head, option: Option) -> Mapping[str, Any]:
        value = None if option.value is None else option.value.lower()
        if value in _YES:
            return yes
        if value in _NO:
            return no or {}
        raise head.text.wrong(
            option.option.start,
            option.option.end,
            f"{option.option.parts[0]} is true or false, not {option.value}",
            hint=f"Write {option.option.parts[0]}=true or {option.option.parts[0]}=false.",
        )

    return setting


def _cursor(head: Head, option: Option) -> Mapping[str, Any]:
    names = [name.strip() for name in (option.value or "").split(",") if name.strip()]
    if len(names) != 1:
        raise head.text.wrong(
            option.option.start,
            option.option.end,
            "IncrementalCheckColumns needs one column of the result",
            hint="Write IncrementalCheckColumns='changed_at'.",
        )
    return {"read": ReadMode.INCREMENTAL, "cursor": names[0]}


_OPTIONS: Final[Mapping[str, Setting]] = {
    "DropTable": _flag({"write": WriteMode.REPLACE, "replace": Replace.AUTO}),
    "TruncateTable": _flag({"write": WriteMode.REPLACE, "replace": Replace.TRUNCATE}),
    "TruncateTableData": _flag({"write": WriteMode.REPLACE, "replace": Replace.TRUNCATE}),
    "AlterSchema": _flag({"drift": Drift.EVOLVE}, {"drift": Drift.FREEZE}),
    "RefreshTable": _flag({"read": ReadMode.FULL, "write": WriteMode.MERGE}),
    "IncrementalCheckColumns": _cursor,
}


def _with(head: Head, option: Option, task: Task, shared: Task) -> Task:
    known = {name.lower(): (name, setting) for name, setting in _OPTIONS.items()}
    at = option.option
    if at.parts[0].lower() not in known:
        raise head.text.wrong(
            at.start, at.end, f"there is no option {at.parts[0]}", hint=f"Options are {', '.join(_OPTIONS)}."
        )
    name, setting = known[at.parts[0].lower()]
    wanted = setting(head, option)
    if "write" in wanted and task.write not in (None, wanted["write"]):
        other = "--write" if shared.write is not None else "another option"
        raise head.text.wrong(
            at.start, at.end, f"{name} writes with {wanted['write']}, and {other} says {task.write}", hint="Choose one."
        )
    return replace(task, **wanted)
