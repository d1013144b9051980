"""The tables of the metadata database. `migrations/` makes them; a test compares the two."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from suiro.store.columns import BigNumber, Plain, Utc

metadata: Final = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)


def _number() -> Column[int]:
    """A row's number, given by the database and never used again."""
    return Column("id", BigNumber, Identity(), primary_key=True)


def _times() -> tuple[Column[object], Column[object]]:
    return Column("created_at", Utc, nullable=False), Column("updated_at", Utc, nullable=False)


connection: Final = Table(
    "connection",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("connector", Text, nullable=False),
    Column("settings", Plain, nullable=False),
    Column("secrets", Plain, nullable=False),  # sealed tokens by the setting's name
    Column("version", Integer, nullable=False),
    *_times(),
)

secret: Final = Table(
    "secret",
    metadata,
    Column("name", Text, primary_key=True),
    Column("token", Text, nullable=False),  # sealed
    *_times(),
)

job: Final = Table(
    "job",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("source", Text, nullable=False, index=True),  # connections' names; one may be built in, so no foreign keys
    Column("destination", Text, nullable=False, index=True),
    Column("type", Text, nullable=False),
    Column("settings", Plain, nullable=False),
    Column("schedule", Plain),
    Column("version", Integer, nullable=False),
    *_times(),
    CheckConstraint("type IN ('standard', 'all')", name="type"),
)

task: Final = Table(
    "task",
    metadata,
    _number(),
    Column("job_id", ForeignKey("job.id", ondelete="CASCADE"), nullable=False),
    Column("name", Text, nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("settings", Plain, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("known_since", Utc, nullable=False),
    Column("removed_at", Utc),  # the job no longer has it; what is known of it stays
    UniqueConstraint("job_id", "name"),
    sqlite_autoincrement=True,
)

position: Final = Table(
    "position",
    metadata,
    Column("task_id", ForeignKey("task.id", ondelete="CASCADE"), primary_key=True),
    Column("position", Plain, nullable=False),
    Column("run", Text, nullable=False),
    Column("saved_at", Utc, nullable=False),
)

_STATES = "state IN ('queued', 'running', 'succeeded', 'warning', 'failed', 'cancelled')"

run: Final = Table(
    "run",
    metadata,
    Column("id", Text, primary_key=True),
    Column("job_id", ForeignKey("job.id", ondelete="SET NULL")),
    Column("job", Text),  # the job's name at that time
    Column("trigger", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("parallel", Integer, nullable=False),  # task runs at once; from the settings
    Column("settings", Plain, nullable=False),
    Column("retry_of", Text),
    Column("created_at", Utc, nullable=False),
    Column("started_at", Utc),
    Column("ended_at", Utc),
    Column("cancel_requested_at", Utc),
    CheckConstraint(_STATES, name="state"),
    CheckConstraint("parallel > 0", name="parallel"),
)
Index("ix_run_newest", run.c.created_at, run.c.id)
Index("ix_run_job_newest", run.c.job_id, run.c.created_at, run.c.id)

task_run: Final = Table(
    "task_run",
    metadata,
    _number(),
    Column("run_id", ForeignKey("run.id", ondelete="CASCADE"), nullable=False),
    Column("task_id", ForeignKey("task.id", ondelete="SET NULL"), index=True),
    Column("task", Text, nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("settings", Plain, nullable=False),
    Column("source", Text, nullable=False),
    Column("destination", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("epoch", Integer, nullable=False),  # of the newest attempt; 0 before the first
    Column("attempts", Integer, nullable=False),  # those that count; one that was given back does not
    Column("result", Plain),
    Column("progress", Plain),
    Column("started_at", Utc),
    Column("ended_at", Utc),
    UniqueConstraint("run_id", "ordinal"),
    CheckConstraint(_STATES, name="state"),
    sqlite_autoincrement=True,
)
_OPEN = text("state IN ('queued', 'running')")
Index("ix_task_run_open", task_run.c.id, sqlite_where=_OPEN, postgresql_where=_OPEN)

attempt: Final = Table(
    "attempt",
    metadata,
    _number(),
    Column("task_run_id", ForeignKey("task_run.id", ondelete="CASCADE"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("owner", Text, nullable=False),
    Column("lease_until", Utc, nullable=False),
    Column("started_at", Utc, nullable=False),
    Column("ended_at", Utc),
    Column("outcome", Text),  # how it ended: a state, or released, lost
    UniqueConstraint("task_run_id", "epoch"),
    CheckConstraint("(ended_at IS NULL) = (outcome IS NULL)", name="outcome"),
    sqlite_autoincrement=True,
)
_HELD = text("ended_at IS NULL")
Index("uq_attempt_held", attempt.c.task_run_id, unique=True, sqlite_where=_HELD, postgresql_where=_HELD)

log_line: Final = Table(
    "log_line",
    metadata,
    _number(),
    Column("run_id", ForeignKey("run.id", ondelete="CASCADE"), nullable=False),
    Column("task_run_id", ForeignKey("task_run.id", ondelete="CASCADE"), nullable=False),
    Column("attempt", Integer, nullable=False),  # the attempt's epoch
    Column("at", Utc, nullable=False),
    Column("level", Text, nullable=False),
    Column("text", Text, nullable=False),
    sqlite_autoincrement=True,
)
Index("ix_log_line_run", log_line.c.run_id, log_line.c.id)
Index("ix_log_line_task_run", log_line.c.task_run_id, log_line.c.id)

account_grant: Final = Table(
    "account_grant",
    metadata,
    Column("key", Text, primary_key=True),
    Column("version", Integer, nullable=False),  # 0: none was granted yet
    Column("token", Text),  # its values, sealed
    Column("holder", Text),  # who renews it now,
    Column("lease_until", Utc),  # and until when others wait
    *_times(),
    CheckConstraint("(version = 0) = (token IS NULL)", name="token"),
    CheckConstraint("(holder IS NULL) = (lease_until IS NULL)", name="lease"),
)

account_quota: Final = Table(
    "account_quota",
    metadata,
    Column("key", Text, primary_key=True),
    Column("ends_at", Utc, nullable=False),  # of the window under way
    Column("remaining", Integer, nullable=False),  # requests in it
    Column("paused_until", Utc, nullable=False),
    Column("updated_at", Utc, nullable=False),
)

token: Final = Table(
    "token",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("digest", Text, nullable=False, unique=True),  # SHA-256 of the token
    Column("scope", Text, nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("expires_at", Utc),
    Column("used_at", Utc),
    CheckConstraint("scope IN ('read', 'operate', 'admin')", name="scope"),
)

request: Final = Table(
    "request",
    metadata,
    Column("owner", Text, primary_key=True),  # the id of the token that sent it
    Column("key", Text, primary_key=True),
    Column("method", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("body", Text, nullable=False),  # a hash
    Column("seed", Text, nullable=False),  # sealed
    Column("begun_at", Utc, nullable=False),
    Column("lease_until", Utc, nullable=False),
    Column("expires_at", Utc, nullable=False, index=True),
    Column("status", Integer),
    Column("answer", Text),  # sealed
    CheckConstraint("(status IS NULL) = (answer IS NULL)", name="answer"),
)

schedule: Final = Table(
    "schedule",
    metadata,
    Column("job_id", ForeignKey("job.id", ondelete="CASCADE"), primary_key=True),
    Column("since", Utc, nullable=False),  # moments before it are none of this schedule's
    Column("upto", Utc, nullable=False),  # moments up to it are in `firing`, or were left out
    Column("paused_at", Utc),
)

_OUTCOMES = "outcome IN ('queued', 'starting', 'started', 'skipped', 'missed', 'failed')"

firing: Final = Table(
    "firing",
    metadata,
    _number(),
    Column("job_id", ForeignKey("job.id", ondelete="CASCADE"), nullable=False),
    Column("scheduled_for", Utc, nullable=False),  # without the delay
    Column("due_at", Utc, nullable=False),  # with it
    Column("decided_at", Utc, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("owner", Text),  # who starts its run now,
    Column("lease_until", Utc),  # and until when others leave it alone
    Column("fired_at", Utc),  # when its run was begun
    Column("run_id", ForeignKey("run.id", ondelete="SET NULL")),  # its run, or the one that stood in its way
    Column("code", Text),
    Column("message", Text),
    UniqueConstraint("job_id", "scheduled_for"),
    CheckConstraint(_OUTCOMES, name="outcome"),
    CheckConstraint("(owner IS NULL) = (lease_until IS NULL)", name="lease"),
    sqlite_autoincrement=True,
)
_UNDECIDED = text("outcome IN ('queued', 'starting')")
Index("ix_firing_open", firing.c.job_id, sqlite_where=_UNDECIDED, postgresql_where=_UNDECIDED)
Index("ix_firing_run", firing.c.run_id)

scheduler: Final = Table(
    "scheduler",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("since", Utc, nullable=False),
    Column("last_tick", Utc, nullable=False),
)
