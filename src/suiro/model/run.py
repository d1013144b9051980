"""Runs: what came of a task."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from suiro.model.receipt import Receipt
from suiro.model.schema import Position


class Status(StrEnum):
    """How a run or a task run ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    WARNING = "warning"  #: done, with rejected rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a task run didn't succeed: a stable code, what was seen, what to do."""

    code: str
    message: str
    hint: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a task run is.

    `total_rows` is an estimate, None where the source has none; `rows` is None where rows pass in a wire format and
    can't be counted. `publishing`: all rows are staged, and compared where they are read back.
    """

    stream: str
    rows: int | None
    bytes: int
    total_rows: int | None
    publishing: bool = False
    comparing: bool = False  #: rows that are staged are being read back


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRun:
    """One execution of a task. `seconds` is wall time; `bytes` as read, in Arrow or wire form."""

    stream: str
    table: str
    status: Status
    seconds: float
    rows_read: int = 0
    rows_written: int = 0
    rows_deleted: int = 0
    rows_rejected: int = 0
    bytes: int = 0
    loads: int = 0
    attempts: int = 1
    path: str = "arrow"  #: "arrow", or the wire format that passed through unchanged
    position: Position | None = None
    receipt: Receipt | None = None
    notes: tuple[str, ...] = ()
    error: Failure | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One execution of a job or a copy."""

    id: str
    status: Status
    seconds: float
    tasks: tuple[TaskRun, ...]
