"""Jobs: what their documents ask of the engine, task by task."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any, Final

from pydantic import ValidationError

from suiro.app.documents import JobDocument, TaskDocument, TaskSettings, TimeDocument, bytes_of
from suiro.app.mapping import Rules, mask_key_of, rules_of
from suiro.app.statements import statement_of, tasks_of_statements
from suiro.app.tasks import masks_of, most_of, window_of
from suiro.model.added import AddedTime, Unit
from suiro.model.clock import zone_of
from suiro.model.errors import ConfigError, InternalError
from suiro.model.job import Task
from suiro.model.naming import split_name
from suiro.model.schema import ReadMode
from suiro.model.selection import Deletes, WriteMode
from suiro.model.writeback import WriteBackMode

LEAST_MEMORY: Final = (
    448 * 2**20
)  #: bytes with which a process carries tables of any size on every route: docs/guide/memory.md


def task_of(document: TaskDocument) -> tuple[Task, Rules]:
    """The engine's task, and the rules that map its columns. ConfigError where a word of it can't be read."""
    said = document
    shared = Task(
        stream=said.stream or "",
        table=said.table,
        read=said.read,
        write=said.write if isinstance(said.write, WriteMode) else None,
        key=said.key,
        cursor=said.cursor,
        look_back=window_of(said.look_back) if said.look_back else None,
        start=said.start,
        window=window_of(said.window) if said.window else None,
        columns=_columns(said.columns),
        drop=said.drop,
        names=said.rename,
        times={name: time_of(time) for name, time in said.add_time.items()},
        types=said.types,
        masks={name: masks_of(f"x={how or 'null'}")["x"] for name, how in said.mask.items()},
        mask_key=mask_key_of(said.mask_key) if said.mask_key else None,
        existing=said.existing,
        where=said.where,
        limit=said.limit,
        deletes=said.deletes,
        most_deleted=_share(said),
        replace=said.replace,
        only_new_data=said.only_new_data,
        most_rejected=most_of(said.most_rejected),
        drift=said.drift,
        verify=said.verify,
    )
    if said.sql is not None:
        (shared,) = tasks_of_statements([statement_of(said.sql)], shared)
    return shared, rules_of(said.computed, said.names, said.prefix, said.schema_name)


def _share(said: TaskDocument) -> float:
    """The share of a table's rows that a comparison of keys may take away. ConfigError where it is none."""
    if isinstance(said.most_deleted, float):
        return said.most_deleted
    if isinstance(said.write, WriteBackMode):
        return 1.0  # which says its own
    raise ConfigError(f"most_deleted {said.most_deleted} is no share", hint="Write 0.2 for a fifth of the rows.")


def time_of(document: TimeDocument) -> AddedTime:
    """The engine's column of time. ConfigError for a time or a zone that can't be read."""
    return AddedTime(
        column=document.column,
        unit=document.unit,
        format=document.format,
        zone=document.timezone,
        start=_moment(document.value, document.timezone),
        stop=_moment(document.until, document.timezone),
        whole=document.to if isinstance(document.to, Unit) else None,
    )


def _moment(text: str | None, zone: str) -> datetime | None:
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{text!r} is no time", hint="Write 2026-01-31T12:00:00 or 2026-01-31T12:00:00Z.") from None
    return found if found.tzinfo is not None else found.replace(tzinfo=zone_of(zone))


def _columns(said: Mapping[str, str] | tuple[str, ...] | None) -> Mapping[str, str]:
    if said is None:
        return {}
    return said if isinstance(said, Mapping) else {name: name for name in said}


def name_of(document: TaskDocument) -> str:
    """What commands call a task: its name, else its table's, else its stream's."""
    if document.name is not None:
        return document.name
    if document.sql is not None:
        task, _ = task_of(document)
        return task.table or task.stream
    assert document.stream is not None
    return document.table or split_name(document.stream)[-1]


def tasks_of_job(job: JobDocument, discover: Callable[[], Iterable[str]]) -> dict[str, TaskDocument]:
    """Every task of a job by its name, with the job's defaults. `discover` names the source's streams."""
    documents = [_with_defaults(task, job.defaults) for task in job.tasks]
    if job.type == "all":
        own = {task.stream for task in documents}
        streams = [s for s in discover() if s not in own and not any(fnmatchcase(s, p) for p in job.exclude)]
        documents += [_with_defaults(TaskDocument(stream=stream), job.defaults) for stream in streams]
    found: dict[str, TaskDocument] = {}
    for document in documents:
        name = name_of(document)
        if name in found and document.stream is not None and document.name is None:
            name = document.stream  # two schemas have a stream of that name
        if name in found:
            raise ConfigError(f"two tasks of the job are called {name}", hint="Give each task a name of its own.")
        found[name] = document
    return found


def _with_defaults(task: TaskDocument, defaults: TaskSettings) -> TaskDocument:
    given = defaults.model_dump(exclude_unset=True, by_alias=True) | task.model_dump(exclude_unset=True, by_alias=True)
    try:
        return TaskDocument.model_validate(given)
    except ValidationError as error:
        raise InternalError(f"a task and the defaults of its job don't go together: {error}") from error


def refuse_rivals(tasks: Mapping[str, Task]) -> None:
    """ConfigError if a task would take away rows that another one of them loaded into the same table."""
    first: dict[str, str] = {}
    for name, task in tasks.items():
        table = task.table or split_name(task.stream)[-1]
        other = first.setdefault(table, name)
        rivals = [one for one in (other, name) if _takes_all_others(tasks[one])]
        if other != name and rivals:
            raise ConfigError(
                f"{other} and {name} both load {table}, and {rivals[0]} takes away the rows that it doesn't know",
                hint="Give each its own table, or have both append or merge and skip deletes.",
            )


def _takes_all_others(task: Task) -> bool:
    replaces = task.write is WriteMode.REPLACE or (task.write is None and task.read is ReadMode.FULL)
    return replaces or task.deletes is not Deletes.SKIP


def memory_of(document: JobDocument) -> int | None:
    """The bytes that a run of the job may hold; ConfigError if they are too few for its processes."""
    if document.memory is None:
        return None
    found = bytes_of(document.memory)
    if found // document.parallel < LEAST_MEMORY:
        raise ConfigError(
            f"memory {document.memory} is too little for {document.parallel} tasks at once",
            hint=f"Each needs {LEAST_MEMORY // 2**20} MiB at least: allow more memory, or fewer tasks at once.",
        )
    return found


def as_settings(document: TaskDocument) -> dict[str, Any]:
    """The document as plain data for the store, and for the process that carries it."""
    return document.model_dump(mode="json", by_alias=True, exclude_defaults=True)
