"""Schedules that fire: from when they count, what became of their moments, and who watches the clock."""

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables. Schedules that are there already count from now on: nobody has fired them before."""
    moment = sa.DateTime(timezone=True)
    schedule = op.create_table(
        "schedule",
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("since", moment, nullable=False),
        sa.Column("upto", moment, nullable=False),
        sa.Column("paused_at", moment),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_schedule_job_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_schedule")),
    )
    _firing(moment)
    op.create_table(
        "scheduler",
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("since", moment, nullable=False),
        sa.Column("last_tick", moment, nullable=False),
        sa.PrimaryKeyConstraint("owner", name=op.f("pk_scheduler")),
    )
    scheduled = op.get_bind().execute(sa.text("SELECT id FROM job WHERE schedule IS NOT NULL")).scalars().all()
    now = datetime.now(UTC)
    if scheduled:
        op.bulk_insert(schedule, [{"job_id": id, "since": now, "upto": now, "paused_at": None} for id in scheduled])


def _firing(moment: sa.DateTime) -> None:
    op.create_table(
        "firing",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), sa.Identity(always=False), nullable=False
        ),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("scheduled_for", moment, nullable=False),
        sa.Column("due_at", moment, nullable=False),
        sa.Column("decided_at", moment, nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("owner", sa.Text()),
        sa.Column("lease_until", moment),
        sa.Column("fired_at", moment),
        sa.Column("run_id", sa.Text()),
        sa.Column("code", sa.Text()),
        sa.Column("message", sa.Text()),
        sa.CheckConstraint(
            "outcome IN ('queued', 'starting', 'started', 'skipped', 'missed', 'failed')",
            name=op.f("ck_firing_outcome"),
        ),
        sa.CheckConstraint("(owner IS NULL) = (lease_until IS NULL)", name=op.f("ck_firing_lease")),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_firing_job_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_firing_run_id"), ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_firing")),
        sa.UniqueConstraint("job_id", "scheduled_for", name=op.f("uq_firing_job_id_scheduled_for")),
        sqlite_autoincrement=True,
    )
    undecided = sa.text("outcome IN ('queued', 'starting')")
    op.create_index("ix_firing_open", "firing", ["job_id"], sqlite_where=undecided, postgresql_where=undecided)
    op.create_index("ix_firing_run", "firing", ["run_id"])


def downgrade() -> None:
    """Drop them, and what they hold."""
    op.drop_table("scheduler")
    op.drop_table("firing")
    op.drop_table("schedule")
