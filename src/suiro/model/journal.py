"""The journal of write-backs in words: plans, the batches they are carried out in, and what is known of rows.

A batch's rows are one Arrow batch. Its columns are marks (`#key`, see `MARKS`), the values that are to be (`+Field`),
and those that were found (`-Field`). A row's `#k` is the hash of its key, in hexadecimal digits; its `#hash` that of
all that is sent of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

import pyarrow as pa

from suiro.model.writeback import Order

AFTER: Final = "+"  #: before a field's name: the value that is to be
BEFORE: Final = "-"  #: the value that was found

MARKS: Final = pa.schema(
    [
        ("#key", pa.string()),  # as people read it
        ("#k", pa.string()),
        ("#hash", pa.string()),  # known as sent once the row is done; NULL: nothing is known any more
        ("#own", pa.bool_()),  # whether the record holds what Suiro sent, or merely the same
        ("#was_hash", pa.string()),  # what was known before
        ("#was_record", pa.string()),
        ("#was_own", pa.bool_()),
        ("#record", pa.string()),  # the record's id as text, where there is a record
    ]
)

#: How rows stand before they are sent: `#state` is a `Standing`; beside it the columns `-Field` as just read.
STANDING: Final = "#state"

ANSWERS: Final = pa.schema(
    [
        ("outcome", pa.string()),  # NULL: the row was not sent
        ("record", pa.string()),
        ("created", pa.bool_()),
        ("code", pa.string()),
        ("message", pa.string()),
        ("fields", pa.list_(pa.string())),
    ]
)

REFUSED: Final = pa.schema(
    [
        ("k", pa.string()),
        ("hash", pa.string()),
        ("kind", pa.string()),  # a `Kept`
        ("code", pa.string()),
        ("message", pa.string()),
        ("fields", pa.string()),  # names, commas between
        ("key", pa.string()),
        ("record", pa.string()),
        ("row", pa.string()),  # as model/rejected has it
    ]
)

SENT: Final = pa.schema(
    [
        ("k", pa.string()),
        ("hash", pa.string()),  # NULL: to be forgotten
        ("record", pa.string()),
        ("own", pa.bool_()),
        ("was", pa.string()),  # the hash that is there now; looked at only where a transition is guarded
    ]
)


class Aim(StrEnum):
    """What a plan is for."""

    WRITE = "write"
    UNDO = "undo"  #: gives the records back what a write found in them


class PlanState(StrEnum):
    """Where a plan stands."""

    MAKING = "making"  #: left behind so, it is worth nothing
    PLANNED = "planned"
    WAITING = "waiting"  #: beyond the limits: for a person's approval
    APPLYING = "applying"
    APPLIED = "applied"
    STOPPED = "stopped"  #: interrupted, and what was under way brought to its end; the rest isn't sent


class Part(StrEnum):
    """What a batch is there for."""

    SEND = "send"  #: its rows go to the application
    KNOW = "know"  #: nothing is sent: its rows are known as sent, or as before, once the plan is applied
    REFUSE = "refuse"  #: rows that are not sent; columns as `REFUSED`
    CONFLICT = "conflict"  #: undo: what is left as it is, for somebody changed it since; columns as `REFUSED`
    FORGET = "forget"  #: refused rows that are no longer among the rows; the column `k`


class BatchState(StrEnum):
    """Where a batch stands."""

    PLANNED = "planned"
    SENDING = "sending"  #: what was found is written down; rows may have left
    ANSWERED = "answered"
    DONE = "done"  #: read back, or not to be


class Standing(StrEnum):
    """How a row stands right before it is sent."""

    SEND = "send"
    CONFLICT = "conflict"  #: the record isn't any more what the plan saw
    SAME = "same"  #: it has the values already


class Kept(StrEnum):
    """Why a row is kept aside."""

    CHECKED = "checked"  #: refused before it was sent: looked at anew by every plan
    REFUSED = "refused"  #: by the application: not sent again as it stands
    UNKNOWN = "unknown"  #: what became of it isn't known: not sent again by itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A plan as the ledger keeps it.

    `serial`: how many plans of its task had been applied when it was made; `told`: what people are told of it, as
    plain data, with its counts.
    """

    id: str
    aim: Aim
    state: PlanState
    scope: str  #: of the application, the object and the key: what is known of rows holds within it
    serial: int
    run: str | None  #: that applies or applied it
    undoes: str | None  #: the plan that it takes back
    force: bool = False  #: records that were changed meanwhile are written all the same
    settings: Mapping[str, Any] = field(default_factory=dict)  #: the object's name, the record id's field, the key's
    told: Mapping[str, Any] = field(default_factory=dict)
    made_at: datetime | None = None
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A batch of a plan, without its rows. `order` is None where nothing is sent."""

    number: int
    part: Part
    order: Order | None
    rows: int
    state: BatchState
    tally: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What a batch's answers change; written in one act.

    `guarded`: a transition of `sent` counts only where its `was` is what is known. What is in `sent` is kept aside no
    more.
    """

    answers: pa.RecordBatch
    sent: pa.RecordBatch  #: as `SENT`
    refused: pa.RecordBatch  #: as `REFUSED`
    tally: Mapping[str, int]
    guarded: bool = False
