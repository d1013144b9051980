"""Documents applied to the store: what would change, shown like a diff, and the change; and written out again."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from suiro import catalog
from suiro.app import stored
from suiro.app.documents import ConnectionDocument, Documents, JobDocument, as_document, near
from suiro.app.home import WAREHOUSE
from suiro.app.jobs import as_settings, memory_of, refuse_rivals, task_of, tasks_of_job
from suiro.app.metadata import Metadata
from suiro.app.schedules import check_schedule
from suiro.app.writeback_tasks import check_write, is_write_back
from suiro.model.errors import ConfigError
from suiro.store.connections import StoredConnection
from suiro.store.jobs import JobType, StoredJob, TaskDefinition


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One thing that applying does. `lines` say what is different, setting by setting, secrets never."""

    act: Literal["+", "~"]
    noun: Literal["connection", "job"]
    name: str
    lines: tuple[str, ...] = ()


def plan(documents: Documents, metadata: Metadata) -> list[Change]:
    """What applying would change. ConfigError for what can't be applied; nothing is touched."""
    connections = {found.name: found for found in metadata.connections.all()}
    jobs = {found.name: found for found in metadata.jobs.all()}
    changes = []
    for name, connection in documents.connections.items():
        changes += _connection_change(name, connection, connections.get(name), metadata)
    known = {WAREHOUSE, *connections, *documents.connections}
    types = {name: found.connector for name, found in connections.items()}
    types |= {name: found.type for name, found in documents.connections.items()}
    for name, job in documents.jobs.items():
        check_job(name, job, known, types)
        before = {} if name not in jobs else jobs[name].settings
        changes += _change("job", name, before or None, as_document(job))
    return changes


def apply(documents: Documents, metadata: Metadata) -> list[Change]:
    """Store the documents; what is stored and not in them stays as it is."""
    changes = plan(documents, metadata)
    for change in changes:
        if change.noun == "connection":
            type_, settings = _parts(documents.connections[change.name])
            stored.put(change.name, type_, settings, metadata)
        else:
            put_job(change.name, documents.jobs[change.name], metadata)
    return changes


def put_job(name: str, job: JobDocument, metadata: Metadata, streams: Sequence[str] | None = None) -> StoredJob:
    """Store a job. Of a job of type all, the tasks are those of `streams`, or those that it has had before."""
    kept = {found.name: found for found in metadata.jobs.all()}.get(name)
    if streams is None:
        streams = [] if kept is None else [t.settings["stream"] for t in kept.tasks if "stream" in t.settings]
    tasks = tasks_of_job(job, lambda: streams)
    return metadata.jobs.put(
        name=name,
        source=job.source,
        destination=job.destination,
        type=JobType(job.type),
        settings=as_document(job),
        schedule=None if job.schedule is None else as_document(job.schedule),
        tasks=[TaskDefinition(name=task, settings=as_settings(said)) for task, said in tasks.items()],
        version=None if kept is None else kept.version,
    )


def check_job(name: str, job: JobDocument, connections: set[str], types: Mapping[str, str] | None = None) -> None:
    """ConfigError for what of a job's document can't be. `types`: the connectors of connections, as far as known."""
    for side in (job.source, job.destination):
        if side not in connections and "://" not in side:
            raise ConfigError(f"job {name}: there is no connection {side!r}", hint=near(side, connections))
    try:
        # The mask key may be where the job runs, and only there.
        tasks = {name: task.model_copy(update={"mask_key": None}) for name, task in tasks_of_job(job, list).items()}
        to = (types or {}).get(job.destination)
        for task in tasks.values():
            check_write(task, None if to is None else catalog.find(to))
        tables = {name: task for name, task in tasks.items() if not is_write_back(task)}
        refuse_rivals({name: task_of(task)[0] for name, task in tables.items()})
        memory_of(job)
        if job.schedule is not None:
            check_schedule(job.schedule)
    except ConfigError as error:
        raise ConfigError(f"job {name}: {error.message}", hint=error.hint) from error


def export(names: Sequence[str], metadata: Metadata) -> str:
    """Stored connections and jobs as YAML that `apply` reads; `names`: only these, all if there are none.

    Secrets that the store keeps are `${kept}`.
    """
    connections = {found.name: found for found in metadata.connections.all()}
    jobs = {found.name: found for found in metadata.jobs.all()}
    for name in names:
        if name not in connections and name not in jobs:
            raise ConfigError(f"nothing is called {name!r}", hint=near(name, [*connections, *jobs]))
    wanted = set(names) or {*connections, *jobs}
    documents: dict[str, Any] = {
        "connections": {name: _as_document(found) for name, found in connections.items() if name in wanted},
        "jobs": {name: found.settings for name, found in jobs.items() if name in wanted},
    }
    return as_yaml({noun: found for noun, found in documents.items() if found})


def as_yaml(data: Mapping[str, Any]) -> str:
    """Plain data as YAML."""
    from ruamel.yaml import YAML  # on use: it takes long to import

    yaml, text = YAML(), io.StringIO()
    yaml.default_flow_style = False
    yaml.width = 120
    yaml.dump(dict(data), text)
    return text.getvalue()


def _as_document(found: StoredConnection) -> dict[str, Any]:
    return {"type": found.connector, **stored.shown(found)}


def _parts(document: ConnectionDocument) -> tuple[str, dict[str, Any]]:
    return document.type, dict(document.model_extra or {})


def _connection_change(
    name: str, document: ConnectionDocument, kept: StoredConnection | None, metadata: Metadata
) -> list[Change]:
    type_, settings = _parts(document)
    if name == WAREHOUSE:
        raise ConfigError(f"the name {WAREHOUSE} is the embedded warehouse's", hint="Choose another name.")
    whole = {"type": type_, **stored.checked(name, type_, settings, kept, metadata)}
    before = None if kept is None else {"type": kept.connector, **stored.settings_of(kept, metadata)}
    secret = set(stored.secret_paths(catalog.find(type_).config, whole))
    return _change("connection", name, before, whole, secret)


def _change(
    noun: Literal["connection", "job"],
    name: str,
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any],
    secret: set[str] | None = None,
) -> list[Change]:
    if before is None:
        return [Change(act="+", noun=noun, name=name)]
    lines = tuple(_differences(before, after, "", secret or set()))
    return [Change(act="~", noun=noun, name=name, lines=lines)] if lines else []


def _differences(before: Any, after: Any, at: str, secret: set[str]) -> Iterator[str]:
    """What is different, a line each: `tasks.0.write: append -> merge`."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in [*before, *(name for name in after if name not in before)]:
            yield from _differences(before.get(name), after.get(name), f"{at}.{name}" if at else name, secret)
    elif _is_list(before) and _is_list(after):
        for i in range(max(len(before), len(after))):
            old, new = (side[i] if i < len(side) else None for side in (before, after))
            yield from _differences(old, new, f"{at}.{i}", secret)
    elif before != after:
        yield f"{at}: (secret) changed" if at in secret else f"{at}: {_said(before)} -> {_said(after)}"


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _said(value: Any) -> str:
    return "nothing" if value is None else str(value)
