"""What became of loads: their runs, in the words of Treasure Data's commands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from suiro.app.metadata import Metadata
from suiro.app.running import scheduled_for
from suiro.app.treasure.sessions import session
from suiro.model.naming import split_name
from suiro.store.run_records import StoredRun

STATUS: Final[Mapping[str, str]] = {
    "queued": "queued",
    "running": "running",
    "succeeded": "success",
    "warning": "warning",
    "failed": "error",
    "cancelled": "killed",
}
_LOG_LINES: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRun:
    """A run. `status` is Treasure Data's word, and `warning` where rows were rejected; `duration` in seconds."""

    id: str
    name: str | None
    status: str
    records: int
    rejected: int
    database: str
    table: str
    started: datetime | None
    session_time: datetime | None  #: the schedule's moment that it stands for, without the delay
    duration: float | None
    result: str | None  #: what was proved, in words
    error: str | None
    notes: tuple[str, ...]
    log: tuple[str, ...]


def history(name: str, metadata: Metadata, number: int = 20) -> list[JobRun]:
    """The runs of a load, newest first."""
    session(name, metadata)
    return [_shown(run, metadata, log=False) for run in metadata.runs.list(job=name, limit=number).runs]


def job(id_: str, metadata: Metadata) -> JobRun:
    """One run, with its log. ConfigError if there is none."""
    return _shown(metadata.runs.get(id_), metadata, log=True)


def _shown(run: StoredRun, metadata: Metadata, *, log: bool) -> JobRun:
    tasks = metadata.runs.task_runs(run.id)
    results: list[Mapping[str, Any]] = [task.result or {} for task in tasks]
    parts = split_name(str(tasks[0].settings["task"].get("table") or "")) if tasks else ()
    failures = [run.settings.get("error"), *(result.get("error") for result in results)]
    errors = [failure["message"] for failure in failures if failure]
    lines = metadata.runs.log(run.id, limit=_LOG_LINES) if log else ()
    ended = run.ended_at or datetime.now(UTC)
    return JobRun(
        id=run.id,
        name=run.job,
        status=STATUS[run.state.value],
        records=sum(int(result.get("rows_written", 0)) for result in results),
        rejected=sum(int(result.get("rows_rejected", 0)) for result in results),
        database=".".join(parts[:-1]),
        table=parts[-1] if parts else "",
        started=run.started_at,
        session_time=scheduled_for(run),
        duration=None if run.started_at is None else round((ended - run.started_at).total_seconds(), 3),
        result=_proved(results),
        error=next(iter(errors), None),
        notes=tuple(note for result in results for note in result.get("notes", ())),
        log=tuple(f"{line.at:%Y-%m-%d %H:%M:%S} {line.level} {line.text}" for line in lines),
    )


def _proved(results: list[Mapping[str, Any]]) -> str | None:
    for receipt in (result["receipt"] for result in results if result.get("receipt")):
        word = "equal" if receipt["equal"] else "NOT EQUAL"
        return f"{word}, {receipt['source_rows']:,} rows against {receipt['table_rows'] or 0:,} ({receipt['level']})"
    return None
