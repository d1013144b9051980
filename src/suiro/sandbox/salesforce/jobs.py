"""Bulk jobs: kept in the store, worked off in threads, gone on with after a restart."""

from __future__ import annotations

import json
import logging
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suiro.sandbox.salesforce.accounts import USER_ID
from suiro.sandbox.salesforce.errors import Refusal, not_found
from suiro.sandbox.salesforce.ids import with_check
from suiro.sandbox.salesforce.org import Org
from suiro.sandbox.salesforce.values import moment, written

if TYPE_CHECKING:
    from suiro.model.schema import Json

log = logging.getLogger(__name__)

OVER = ("JobComplete", "Failed", "Aborted")
LIFE_SECONDS = 7 * 86400
POLL_SECONDS = 0.005


class Stopped(Exception):
    """The job was aborted, or the service is closing: work no further."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job as it is now."""

    id: str
    kind: str
    told: Mapping[str, Any]  #: what it was made with
    state: str
    made: float
    since: float
    progress: Mapping[str, Any]

    def described(self) -> dict[str, Json]:
        """What every answer about a job has."""
        made = datetime.fromtimestamp(self.made, UTC).replace(microsecond=0)
        since = datetime.fromtimestamp(self.since, UTC).replace(microsecond=0)
        return {
            "id": self.id,
            "operation": self.told["operation"],
            "object": self.told["object"],
            "createdById": USER_ID,
            "createdDate": written(moment(made)),
            "systemModstamp": written(moment(since)),
            "state": self.state,
            "concurrencyMode": "Parallel",
            "contentType": "CSV",
            "apiVersion": float(self.told["version"]),
            "lineEnding": self.told["lineEnding"],
            "columnDelimiter": self.told["columnDelimiter"],
        }


Worker = Callable[[Job], None]


class Jobs:
    """All jobs of the org. Safe to use from several threads."""

    def __init__(self, org: Org, kinds: Mapping[str, Worker]) -> None:
        self._org = org
        self._kinds = kinds
        self._closing = threading.Event()
        self._pool = ThreadPoolExecutor(max_workers=3, thread_name_prefix="salesforce-job")

    def resume(self) -> None:
        """Go on with what was under way when the service ended."""
        with self._org.reading() as connection:
            waiting = connection.execute(
                "SELECT id FROM _jobs WHERE state IN ('UploadComplete', 'InProgress') ORDER BY made"
            ).fetchall()
        for (identity,) in waiting:
            self._pool.submit(self._work, identity)

    def folder(self, identity: str) -> Path:
        """Where a job's files lie."""
        return self._org.folder / "jobs" / identity

    def make(self, kind: str, told: Mapping[str, Any], state: str) -> Job:
        """A new job; it begins at once if its state is UploadComplete."""
        identity = with_check(f"750{secrets.token_hex(6)}")
        self.folder(identity).mkdir(parents=True)
        now = self._org.now().timestamp()
        with self._org.writing() as connection:
            connection.execute(
                "INSERT INTO _jobs VALUES (?, ?, ?, ?, ?, ?, '{}')", (identity, kind, json.dumps(told), state, now, now)
            )
        if state == "UploadComplete":
            self._pool.submit(self._work, identity)
        return self.find(kind, identity)

    def find(self, kind: str, identity: str) -> Job:
        """A job. Refusal NOT_FOUND: there is none, or it is forgotten after seven days."""
        job = self._load(identity)
        forgotten = job is None or job.id in self._org.settings.forgotten_jobs
        if job is None or forgotten or job.kind != kind or self._org.now().timestamp() - job.made > LIFE_SECONDS:
            raise not_found()
        return job

    def known(self, kind: str) -> list[Job]:
        """All jobs of a kind that aren't forgotten."""
        since = self._org.now().timestamp() - LIFE_SECONDS
        with self._org.reading() as connection:
            rows = connection.execute(
                "SELECT * FROM _jobs WHERE kind = ? AND made >= ? ORDER BY made", (kind, since)
            ).fetchall()
        return [job for row in rows if (job := as_job(row)).id not in self._org.settings.forgotten_jobs]

    def all(self) -> list[Job]:
        """All jobs there are, also those that clients can't see any more."""
        with self._org.reading() as connection:
            return [as_job(row) for row in connection.execute("SELECT * FROM _jobs ORDER BY made, rowid")]

    def made_since(self, kind: str, since: float) -> int:
        """How many jobs of a kind were made since a time."""
        with self._org.reading() as connection:
            row = connection.execute(
                "SELECT count(*) FROM _jobs WHERE kind = ? AND made >= ?", (kind, since)
            ).fetchone()
        return int(row[0])

    def close_upload(self, job: Job) -> Job:
        """An ingest job's data is complete: begin."""
        if not self.move(job.id, ("Open",), "UploadComplete"):
            return self.find(job.kind, job.id)
        closed = self.find(job.kind, job.id)
        self._pool.submit(self._work, job.id)
        return closed

    def abort(self, job: Job) -> Job:
        """Abort a job. Refusal INVALIDJOBSTATE (code unverified): it is over."""
        if not self.move(job.id, ("Open", "UploadComplete", "InProgress"), "Aborted"):
            raise Refusal(400, "INVALIDJOBSTATE", f"Job can't be aborted: it is {job.state}")
        if job.state in ("Open", "UploadComplete"):
            self._kinds[f"{job.kind} over"](self.find(job.kind, job.id))
        return self.find(job.kind, job.id)

    def delete(self, job: Job) -> None:
        """Forget a job and its files. Refusal INVALIDJOBSTATE (code unverified): it isn't over."""
        if job.state not in OVER:
            raise Refusal(400, "INVALIDJOBSTATE", f"Job can't be deleted: it is {job.state}")
        with self._org.writing() as connection:
            connection.execute("DELETE FROM _jobs WHERE id = ?", (job.id,))
        shutil.rmtree(self.folder(job.id), ignore_errors=True)

    def move(
        self, identity: str, before: tuple[str, ...], state: str, progress: Mapping[str, Any] | None = None
    ) -> bool:
        """Bring a job from one state into another. False: it wasn't in that state."""
        marks = ", ".join("?" * len(before))
        with self._org.writing() as connection:
            changed = connection.execute(
                f"UPDATE _jobs SET state = ?, since = ? WHERE id = ? AND state IN ({marks})",
                (state, self._org.now().timestamp(), identity, *before),
            ).rowcount
            if changed and progress is not None:
                self.progress(identity, progress)
        return bool(changed)

    def progress(self, identity: str, said: Mapping[str, Any]) -> None:
        """Note how far a job has come, in the transaction under way if there is one."""
        with self._org.writing() as connection:
            connection.execute(
                "UPDATE _jobs SET progress = json_patch(progress, ?) WHERE id = ?", (json.dumps(said), identity)
            )

    def check(self, identity: str) -> None:
        """Stopped: the job isn't in progress any more, or the service is closing."""
        job = self._load(identity)
        if self._closing.is_set() or job is None or job.state != "InProgress":
            raise Stopped

    def close(self) -> None:
        """Stop all work; it goes on at the next start."""
        self._closing.set()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _load(self, identity: str) -> Job | None:
        with self._org.reading() as connection:
            row = connection.execute("SELECT * FROM _jobs WHERE id = ?", (identity,)).fetchone()
        return None if row is None else as_job(row)

    def _work(self, identity: str) -> None:
        """One job, from UploadComplete to its end."""
        job = self._load(identity)
        if job is None or self._closing.is_set():
            return
        try:
            self._pause(identity, job.since, "UploadComplete")
            self.move(identity, ("UploadComplete",), "InProgress")
            begun = self._org.now().timestamp()
            self.check(identity)
            self._kinds[job.kind](self.find(job.kind, identity))
            self._pause(identity, begun, "InProgress")
            self._finish(identity, begun)
        except Stopped:
            self._stopped(identity)
        except Refusal as refusal:
            self._fail(identity, refusal.message)
        except Exception:
            if self._load(identity) is None:
                return  # It was deleted meanwhile, with its files.
            log.exception("job %s", identity)
            self._fail(identity, "InternalServerError : the sandbox broke; its log says why")

    def _pause(self, identity: str, since: float, state: str) -> None:
        """Stay in a state for the time that is set."""
        while True:
            job = self._load(identity)
            if job is None or self._closing.is_set():
                raise Stopped
            if job.state != state or self._org.now().timestamp() >= since + self._org.settings.job_seconds:
                return
            time.sleep(POLL_SECONDS)

    def _finish(self, identity: str, begun: float) -> None:
        end = self._org.settings.job_end
        spent = {"milliseconds": int((self._org.now().timestamp() - begun) * 1000)}
        if end == "Failed":
            spent |= {"error": "InternalServerError : the job failed, as the sandbox was told"}  # type: ignore[dict-item]
        self.move(identity, ("InProgress",), end, spent)
        self._stopped(identity)

    def _fail(self, identity: str, message: str) -> None:
        self.move(identity, ("UploadComplete", "InProgress"), "Failed", {"error": message})
        self._stopped(identity)

    def _stopped(self, identity: str) -> None:
        """Let the job's kind tidy up, once the job is over."""
        job = self._load(identity)
        if job is not None and job.state in OVER:
            self._kinds[f"{job.kind} over"](job)


def as_job(row: tuple[Any, ...]) -> Job:
    """A job from its row."""
    identity, kind, told, state, made, since, progress = row
    return Job(
        id=identity,
        kind=kind,
        told=json.loads(told),
        state=state,
        made=made,
        since=since,
        progress=json.loads(progress),
    )
