"""Write-backs as a job's document asks for them: the engine's task, and what of a document has no place in one."""

from __future__ import annotations

from typing import Any, Final

from suiro.app.documents import TaskDocument
from suiro.app.jobs import task_of
from suiro.app.mapping import Rules
from suiro.app.tasks import most_of
from suiro.engine.writeback.task import WriteBack
from suiro.model.errors import ConfigError
from suiro.model.naming import split_name
from suiro.model.receipt import Level
from suiro.model.writeback import WriteBackMode
from suiro.spi.connector import Connector

_NO_PLACE: Final = (  #: settings of tables
    "read", "cursor", "look_back", "start", "window", "names", "prefix", "schema_name", "existing", "deletes",
    "replace", "only_new_data", "most_rejected", "drift",
)  # fmt: skip
_ONLY_HERE: Final = ("nulls", "conflicts", "most_changed", "options")  #: settings that tables don't know


def is_write_back(document: TaskDocument) -> bool:
    """Whether a task's rows go to an application's records."""
    return isinstance(document.write, WriteBackMode)


def writeback_of(document: TaskDocument) -> tuple[WriteBack, Rules]:
    """The engine's write-back, and the rules that compute its columns. ConfigError for what can't be read."""
    assert isinstance(document.write, WriteBackMode)
    for name in _NO_PLACE:
        field = TaskDocument.model_fields[name]
        if getattr(document, name) != field.default:
            raise ConfigError(
                f"{field.alias or name} has no place in a write-back", hint="All rows are read; changed ones are sent."
            )
    task, rules = task_of(document)
    if task.write is not None:
        raise ConfigError("a statement's options are about tables, and a write-back has none", hint="Leave them out.")
    if document.limit is not None and document.write is WriteBackMode.MIRROR:
        raise ConfigError("a mirror with a limit would delete the rest", hint="Leave the limit out.")
    work = WriteBack(
        task=task,
        object=task.table or split_name(task.stream)[-1],
        mode=document.write,
        nulls=document.nulls,
        conflicts=document.conflicts,
        most_changed=None if document.most_changed is None else most_of(document.most_changed),
        most_deleted=_most_deleted(document),
        verify=Level.ROWS if document.verify is Level.ROWS else Level.HASH,
        options=_plain(document.options),
    )
    return work, rules


def _most_deleted(document: TaskDocument) -> int | float:
    said = document.most_deleted
    return said if isinstance(said, float) else most_of(said)


def _plain(options: Any) -> dict[str, Any]:
    return {str(name): value for name, value in options.items()}


def check_write(document: TaskDocument, destination: Connector | None) -> None:
    """ConfigError where a task writes to an application as if it held tables, or the other way around.

    `destination` None: nobody knows yet what it is.
    """
    if is_write_back(document):
        writeback_of(document.model_copy(update={"mask_key": None}))
        if destination is not None and destination.application is None:
            raise ConfigError(
                f"write: {document.write} is for applications, and {destination.title} holds tables",
                hint="Write with append, replace, merge or history.",
            )
        return
    for name in _ONLY_HERE:
        if getattr(document, name) != TaskDocument.model_fields[name].get_default(call_default_factory=True):
            raise ConfigError(f"{name} has its place in write-backs alone", hint="Leave it out.")
    if destination is not None and destination.application is not None and destination.destination is None:
        modes = ", ".join(WriteBackMode)
        raise ConfigError(
            f"{destination.title} is an application: a task must say how its records are written",
            hint=f"Say write: one of {modes}.",
        )
