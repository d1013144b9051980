"""The tables of write-back ledgers: what was planned, sent, answered and kept aside. They lie beside no other's schema.

They have a schema of their own (ADR 12): with SQLite each task's ledger is a file, with PostgreSQL all are in the
metadata database.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Boolean, Column, ForeignKeyConstraint, Index, Integer, LargeBinary, MetaData, Table, Text

from suiro.store.columns import BigNumber, Plain, Utc

SCHEMA: Final = 1  #: of these tables; a program refuses a greater one

ledger_metadata: Final = MetaData()

version: Final = Table("writeback_schema", ledger_metadata, Column("version", Integer, primary_key=True))

task: Final = Table(
    "writeback_task",
    ledger_metadata,
    Column("task", Text, primary_key=True),
    Column("epoch", Integer, nullable=False),  # of the one who holds it
    Column("run", Text, nullable=False),  # who that is
    Column("serial", Integer, nullable=False),  # how many plans were applied
)

plan: Final = Table(
    "writeback_plan",
    ledger_metadata,
    Column("id", Text, primary_key=True),
    Column("task", Text, nullable=False),
    Column("aim", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("serial", Integer, nullable=False),
    Column("run", Text),
    Column("undoes", Text),
    Column("force", Boolean, nullable=False),
    Column("settings", Plain, nullable=False),
    Column("told", Plain, nullable=False),
    Column("made_at", Utc, nullable=False),
    Column("ended_at", Utc),
)
Index("ix_writeback_plan_newest", plan.c.task, plan.c.made_at)

batch: Final = Table(
    "writeback_batch",
    ledger_metadata,
    Column("plan", Text, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("part", Text, nullable=False),
    Column("order", Plain),
    Column("rows", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("tally", Plain, nullable=False),
    Column("data", LargeBinary),  # as planned; all blobs are Arrow's IPC format, taken away when the plan is old
    Column("found", LargeBinary),  # right before the sending
    Column("answers", LargeBinary),
    Column("differs", LargeBinary),  # of what was read back, the rows that aren't what was sent
    ForeignKeyConstraint(["plan"], [plan.c.id], ondelete="CASCADE"),
)

note: Final = Table(
    "writeback_note",
    ledger_metadata,
    Column("id", BigNumber, primary_key=True, autoincrement=True),
    Column("plan", Text, nullable=False),
    Column("batch", Integer, nullable=False),
    Column("said", Plain, nullable=False),
    ForeignKeyConstraint(["plan", "batch"], [batch.c.plan, batch.c.number], ondelete="CASCADE"),
)
Index("ix_writeback_note_batch", note.c.plan, note.c.batch)

sent: Final = Table(
    "writeback_sent",
    ledger_metadata,
    Column("task", Text, primary_key=True),
    Column("scope", Text, primary_key=True),
    Column("k", Text, primary_key=True),  # the hash of a row's key
    Column("hash", Text, nullable=False),  # of all that was sent
    Column("record", Text),  # the record's id in the application
    Column("own", Boolean, nullable=False),  # it was sent; else the application held the same already
)

kept: Final = Table(
    "writeback_kept",
    ledger_metadata,
    Column("task", Text, primary_key=True),
    Column("scope", Text, primary_key=True),
    Column("k", Text, primary_key=True),
    Column("hash", Text),
    Column("kind", Text, nullable=False),
    Column("code", Text),
    Column("message", Text),
    Column("fields", Text),
    Column("key", Text),
    Column("record", Text),
    Column("row", Text),
    Column("run", Text, nullable=False),
    Column("kept_at", Utc, nullable=False),
)
