"""Loads that are issued once, and those that are created to run again: jobs as Treasure Data's commands know them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from suiro.app import running
from suiro.app.apply import check_job, put_job
from suiro.app.documents import JobDocument, ScheduleDocument, TreasureDocument, near
from suiro.app.home import WAREHOUSE
from suiro.app.jobs import as_settings
from suiro.app.metadata import Metadata
from suiro.app.schedules import next_times
from suiro.app.treasure.destinations import Output, check_table, output_of
from suiro.app.treasure.load_yml import LoadYml, dumped, load_yml_of, without_secrets
from suiro.app.treasure.sources import Input, input_of, streaming
from suiro.app.treasure.task import TASK, Made, Target, made
from suiro.model.errors import AuthError, ConfigError, TransientError, UserError
from suiro.model.schedule import delay_of
from suiro.store.jobs import StoredJob
from suiro.store.run_records import StoredRun, TaskToRun

_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_SHOWN_TIMES: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A load that was created. `times` are its next ones, `diff` how far it came, as a load.yml would say it.

    One that is paused has no times.
    """

    name: str
    cron: str
    timezone: str
    delay: int  #: seconds
    database: str
    table: str
    time_column: str | None
    destination: str
    load_yml: str
    times: tuple[datetime, ...]
    paused: bool
    diff: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """A run that is queued, and sentences about it."""

    run: StoredRun
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a command says of a load."""

    text: str
    label: str
    target: Target
    auto_create_table: bool = False
    destination: str | None = None


def issue(asked: Asked, metadata: Metadata) -> Begun:
    """Queue one load."""
    load = load_yml_of(asked.text, asked.label)
    given = input_of(load, _name_of(load), metadata)
    output = output_of(asked.destination, f"load.{_digest(asked.destination or '')}")
    task = _made(load, given, output, asked, once=True)
    given.store(metadata)
    output.store(metadata)
    run = metadata.runs.create(
        running.new_run(),
        [
            TaskToRun(
                task=TASK,
                settings={"task": as_settings(task.task), "generation": 0},
                source=given.name,
                destination=output.name,
            )
        ],
        trigger="user",
        settings={"parallel": 1, "memory": None, "notes": []},
    )
    return Begun(run=run, notes=task.notes)


def create(name: str, asked: Asked, schedule: ScheduleDocument | None, metadata: Metadata) -> tuple[str, ...]:
    """Keep a load under a name, with its schedule. Sentences about it."""
    if _NAME.fullmatch(name) is None:
        raise ConfigError(f"{name!r} can't be a name", hint="Use letters, digits, _, - and dots.")
    if name in {job.name for job in metadata.jobs.all()}:
        raise ConfigError(f"there is a job {name} already", hint=f"Change it: suiro connector update {name} ...")
    for taken in {f"{name}.in", f"{name}.out"} & {found.name for found in metadata.connections.all()}:
        raise ConfigError(f"there is a connection {taken} already", hint="Choose another name, or rename it.")
    output = output_of(asked.destination, f"{name}.out")
    return _put(name, asked, output, schedule, metadata)


def update(
    name: str,
    metadata: Metadata,
    *,
    text: tuple[str, str] | None = None,
    changes: Mapping[str, Any],
    diff: tuple[str, str] | None = None,
) -> str:
    """Change a load. `text` and `diff` are a load.yml and a config diff, each with its label; its name afterwards.

    `changes` may hold name, database, table, time_column, cron, timezone and delay.
    """
    job, said = _session(name, metadata)
    new = str(changes.get("name", name))
    if _NAME.fullmatch(new) is None:
        raise ConfigError(f"{new!r} can't be a name", hint="Use letters, digits, _, - and dots.")
    load_text, label = text or (said.load_yml, f"the load.yml of {name}")
    if diff is not None:
        load_text = _with_diff(load_text, label, *diff)
    target = Target(
        database=changes.get("database", said.database),
        table=changes.get("table", said.table),
        time_column=changes.get("time_column", said.time_column),
    )
    asked = Asked(text=load_text, label=label, target=target, auto_create_table=said.auto_create_table)
    before = None if job.schedule is None else ScheduleDocument.model_validate(job.schedule)
    _put(name, asked, output_of(job.destination, job.destination), _rescheduled(before, changes), metadata)
    if diff is not None:
        metadata.jobs.bump_generation(name, TASK)
    if new != name:
        metadata.jobs.rename(name, new)
        for end in ("in", "out"):
            if f"{name}.{end}" in {found.name for found in metadata.connections.all()}:
                metadata.connections.rename(f"{name}.{end}", f"{new}.{end}")
    return new


def delete(name: str, metadata: Metadata) -> None:
    """Forget a load, and the connections that are its own; its runs stay."""
    _session(name, metadata)
    for run in metadata.runs.list(job=name, limit=20).runs:
        if run.ended_at is None and metadata.runs.held(run.id):
            raise UserError(f"{name} is running, as run {run.id}", hint=f"Stop it first: suiro cancel {run.id}")
    metadata.jobs.delete(name)
    jobs = metadata.jobs.all()
    used = {side for job in jobs for side in (job.source, job.destination)}
    for found in metadata.connections.all():
        if found.name in (f"{name}.in", f"{name}.out") and found.name not in used:
            metadata.connections.delete(found.name)


def run(
    name: str,
    metadata: Metadata,
    *,
    trigger: str = "user",
    run: str | None = None,
    scheduled_for: datetime | None = None,
) -> Begun:
    """Queue a run of a load, its columns looked at anew. A source that can't be reached is the run's to tell.

    `run` names it; `scheduled_for` is its session time: the schedule's moment, without the delay.
    """
    running.refuse_second(name, metadata)
    job, said = _session(name, metadata)
    asked = _asked(name, said)
    output = output_of(job.destination, job.destination)
    notes: tuple[str, ...] = ()
    try:
        schedule = None if job.schedule is None else ScheduleDocument.model_validate(job.schedule)
        notes = _put(name, asked, output, schedule, metadata)
    except (TransientError, AuthError):
        notes = ("The source can't be looked at just now; its columns are taken to be as they were.",)
    begun = running.start(name, metadata, trigger=trigger, run=run, scheduled_for=scheduled_for)
    return Begun(run=begun, notes=notes)


def session(name: str, metadata: Metadata) -> Session:
    """One load."""
    job, said = _session(name, metadata)
    return _shown(job, said, metadata)


def sessions(metadata: Metadata) -> list[Session]:
    """All loads, by name."""
    found = []
    for job in metadata.jobs.all():
        said = JobDocument.model_validate(job.settings).treasure
        if said is not None:
            found.append(_shown(job, said, metadata))
    return found


def _made(load: LoadYml, given: Input, output: Output, asked: Asked, *, once: bool) -> Made:
    """The task of a load, looked at in its source and its destination."""
    for key in ("database", "table"):
        value = getattr(load.out, key)
        if value is not None and value != getattr(asked.target, key):
            said = f"the command says {getattr(asked.target, key)}"
            raise load.wrong(("out", key), said, "Leave it out of the file.")
    with streaming(load, given) as (_, stream, _context):
        found = made(load, stream, asked.target, once=once)
    check_table(output, asked.target, makes=asked.auto_create_table or load.out.auto_create_table)
    return found


def _put(
    name: str, asked: Asked, output: Output, schedule: ScheduleDocument | None, metadata: Metadata
) -> tuple[str, ...]:
    load = load_yml_of(asked.text, asked.label)
    given = input_of(load, f"{name}.in", metadata)
    task = _made(load, given, output, asked, once=False)
    document = JobDocument(
        source=given.name,
        destination=output.name,
        tasks=(task.task,),
        schedule=schedule,
        treasure=TreasureDocument(
            load_yml=without_secrets(asked.text, asked.label),
            database=asked.target.database,
            table=asked.target.table,
            time_column=asked.target.time_column,
            auto_create_table=asked.auto_create_table,
        ),
    )
    stored = {found.name for found in metadata.connections.all()}
    check_job(name, document, {*stored, given.name, output.name, WAREHOUSE})
    given.store(metadata)
    output.store(metadata)
    put_job(name, document, metadata)
    return task.notes


def _session(name: str, metadata: Metadata) -> tuple[StoredJob, TreasureDocument]:
    known = {found.name: found for found in sessions(metadata)}
    if name not in known:
        hint = near(name, known) if known else "suiro connector create makes one."
        raise ConfigError(f"there is no connector session {name!r}", hint=hint)
    job = metadata.jobs.get(name)
    said = JobDocument.model_validate(job.settings).treasure
    assert said is not None
    return job, said


def _asked(name: str, said: TreasureDocument) -> Asked:
    return Asked(
        text=said.load_yml,
        label=f"the load.yml of {name}",
        target=Target(database=said.database, table=said.table, time_column=said.time_column),
        auto_create_table=said.auto_create_table,
    )


def _shown(job: StoredJob, said: TreasureDocument, metadata: Metadata) -> Session:
    schedule = None if job.schedule is None else ScheduleDocument.model_validate(job.schedule)
    kept = None if schedule is None else metadata.schedules.get(job.name)
    paused = kept is not None and kept.paused_at is not None
    return Session(
        name=job.name,
        cron="" if schedule is None else schedule.cron,
        timezone="UTC" if schedule is None else schedule.timezone,
        delay=0 if schedule is None else int(delay_of(schedule.delay).total_seconds()),
        database=said.database,
        table=said.table,
        time_column=said.time_column,
        destination=job.destination,
        load_yml=said.load_yml,
        times=() if schedule is None or kept is None or paused else _times(schedule, kept.since),
        paused=paused,
        diff=_diff(job, metadata),
    )


def _times(schedule: ScheduleDocument, since: datetime) -> tuple[datetime, ...]:
    return tuple(next_times(schedule, _SHOWN_TIMES, since=since))


def _diff(job: StoredJob, metadata: Metadata) -> dict[str, Any]:
    """How far the load came, as a config diff says it; empty before the first run, and for full loads."""
    saved = metadata.runs.position(job.name, TASK)
    position = saved.position if saved is not None else None
    if not position:
        return {}
    if "cursor" not in position:
        return {"in": dict(position)}
    value = position["cursor"]
    return {"in": {"last_record": list(value.values()) if isinstance(value, Mapping) else [value]}}


def _rescheduled(before: ScheduleDocument | None, changes: Mapping[str, Any]) -> ScheduleDocument | None:
    cron = changes.get("cron", "" if before is None else before.cron)
    if not cron:
        lost = [name for name in ("timezone", "delay") if name in changes]
        if lost:
            raise ConfigError(f"there is no schedule whose {lost[0]} could change", hint="Give one with --schedule.")
        return None
    kept = before or ScheduleDocument(cron=cron)
    delay = f"{changes['delay']}s" if "delay" in changes else kept.delay
    return kept.model_copy(update={"cron": cron, "timezone": changes.get("timezone", kept.timezone), "delay": delay})


def _with_diff(text: str, label: str, diff: str, diff_label: str) -> str:
    """The load.yml with what a config diff says of its beginning; an empty one takes that away."""
    from suiro.app.documents import load_yaml

    whole, said = load_yaml(text, label), load_yaml(diff, diff_label) or {}
    inner = said.get("in", {}) if isinstance(said, Mapping) else None
    others = [] if not isinstance(said, Mapping) else [key for key in said if key not in ("in", "out")]
    unknown = [key for key in inner or {} if key not in ("last_record", "last_path")]
    if inner is None or others or unknown or (isinstance(said, Mapping) and said.get("out")):
        wrong = (others or unknown or ["out"])[0] if inner is not None else "the file"
        raise ConfigError(f"{diff_label}: {wrong} is no part of a config diff", hint="Write in: {last_record: [...]}.")
    at = whole.get("config", whole)
    at = at.get("in", at)
    for key in ("last_record", "last_path"):
        at.pop(key, None)
    at.update(inner)
    return dumped(whole)


def _name_of(load: LoadYml) -> str:
    """The name under which an issued load's connection is kept: the same for the same connection."""
    said = load.input.model_dump(mode="json", exclude={"password"})
    return f"load.{_digest(json.dumps(said, sort_keys=True, default=str))}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
