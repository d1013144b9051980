"""The first schema: connections, secrets, jobs with their tasks and positions, runs with their attempts and logs."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_STATES = "state IN ('queued', 'running', 'succeeded', 'warning', 'failed', 'cancelled')"
_OPEN = sa.text("state IN ('queued', 'running')")
_HELD = sa.text("ended_at IS NULL")
_TABLES = ("connection", "secret", "job", "task", "position", "run", "task_run", "attempt", "log_line")


def upgrade() -> None:
    """Make the tables, those that others refer to first."""
    _connection()
    _secret()
    _job()
    _task()
    _position()
    _run()
    _task_run()
    _attempt()
    _log_line()


def downgrade() -> None:
    """Drop them, with their indexes."""
    for table in reversed(_TABLES):
        op.drop_table(table)


def _moment() -> sa.DateTime:
    return sa.DateTime(timezone=True)


def _number() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _connection() -> None:
    op.create_table(
        "connection",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("connector", sa.Text(), nullable=False),
        sa.Column("settings", sa.Text(), nullable=False),
        sa.Column("secrets", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", _moment(), nullable=False),
        sa.Column("updated_at", _moment(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_connection")),
        sa.UniqueConstraint("name", name=op.f("uq_connection_name")),
    )


def _secret() -> None:
    op.create_table(
        "secret",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("created_at", _moment(), nullable=False),
        sa.Column("updated_at", _moment(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_secret")),
    )


def _job() -> None:
    op.create_table(
        "job",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("settings", sa.Text(), nullable=False),
        sa.Column("schedule", sa.Text()),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", _moment(), nullable=False),
        sa.Column("updated_at", _moment(), nullable=False),
        sa.CheckConstraint("type IN ('standard', 'all')", name=op.f("ck_job_type")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job")),
        sa.UniqueConstraint("name", name=op.f("uq_job_name")),
    )
    op.create_index("ix_job_destination", "job", ["destination"])
    op.create_index("ix_job_source", "job", ["source"])


def _task() -> None:
    op.create_table(
        "task",
        sa.Column("id", _number(), sa.Identity(always=False), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("settings", sa.Text(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("known_since", _moment(), nullable=False),
        sa.Column("removed_at", _moment()),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_task_job_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_task")),
        sa.UniqueConstraint("job_id", "name", name=op.f("uq_task_job_id_name")),
        sqlite_autoincrement=True,
    )


def _position() -> None:
    op.create_table(
        "position",
        sa.Column("task_id", _number(), nullable=False),
        sa.Column("position", sa.Text(), nullable=False),
        sa.Column("run", sa.Text(), nullable=False),
        sa.Column("saved_at", _moment(), nullable=False),
        sa.ForeignKeyConstraint(["task_id"], ["task.id"], name=op.f("fk_position_task_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("task_id", name=op.f("pk_position")),
    )


def _run() -> None:
    op.create_table(
        "run",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text()),
        sa.Column("job", sa.Text()),
        sa.Column("trigger", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("parallel", sa.Integer(), nullable=False),
        sa.Column("settings", sa.Text(), nullable=False),
        sa.Column("retry_of", sa.Text()),
        sa.Column("created_at", _moment(), nullable=False),
        sa.Column("started_at", _moment()),
        sa.Column("ended_at", _moment()),
        sa.Column("cancel_requested_at", _moment()),
        sa.CheckConstraint(_STATES, name=op.f("ck_run_state")),
        sa.CheckConstraint("parallel > 0", name=op.f("ck_run_parallel")),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_run_job_id"), ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run")),
    )
    op.create_index("ix_run_job_newest", "run", ["job_id", "created_at", "id"])
    op.create_index("ix_run_newest", "run", ["created_at", "id"])


def _task_run() -> None:
    op.create_table(
        "task_run",
        sa.Column("id", _number(), sa.Identity(always=False), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("task_id", _number()),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("settings", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("result", sa.Text()),
        sa.Column("progress", sa.Text()),
        sa.Column("started_at", _moment()),
        sa.Column("ended_at", _moment()),
        sa.CheckConstraint(_STATES, name=op.f("ck_task_run_state")),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_task_run_run_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["task_id"], ["task.id"], name=op.f("fk_task_run_task_id"), ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_task_run")),
        sa.UniqueConstraint("run_id", "ordinal", name=op.f("uq_task_run_run_id_ordinal")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_task_run_open", "task_run", ["id"], sqlite_where=_OPEN, postgresql_where=_OPEN)
    op.create_index("ix_task_run_task_id", "task_run", ["task_id"])


def _attempt() -> None:
    op.create_table(
        "attempt",
        sa.Column("id", _number(), sa.Identity(always=False), nullable=False),
        sa.Column("task_run_id", _number(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("lease_until", _moment(), nullable=False),
        sa.Column("started_at", _moment(), nullable=False),
        sa.Column("ended_at", _moment()),
        sa.Column("outcome", sa.Text()),
        sa.CheckConstraint("(ended_at IS NULL) = (outcome IS NULL)", name=op.f("ck_attempt_outcome")),
        sa.ForeignKeyConstraint(
            ["task_run_id"], ["task_run.id"], name=op.f("fk_attempt_task_run_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attempt")),
        sa.UniqueConstraint("task_run_id", "epoch", name=op.f("uq_attempt_task_run_id_epoch")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "uq_attempt_held", "attempt", ["task_run_id"], unique=True, sqlite_where=_HELD, postgresql_where=_HELD
    )


def _log_line() -> None:
    op.create_table(
        "log_line",
        sa.Column("id", _number(), sa.Identity(always=False), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("task_run_id", _number(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("at", _moment(), nullable=False),
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_log_line_run_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["task_run_id"], ["task_run.id"], name=op.f("fk_log_line_task_run_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_log_line")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_log_line_run", "log_line", ["run_id", "id"])
    op.create_index("ix_log_line_task_run", "log_line", ["task_run_id", "id"])
