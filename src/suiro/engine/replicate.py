"""One task run from claim to receipt: the order of acts, the attempts, and what is reported."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any

from suiro.engine.carry import Attempt
from suiro.engine.context import RunContext
from suiro.engine.plan import plan_task, task_key
from suiro.engine.readback import check_level
from suiro.engine.verify import Account
from suiro.model.errors import Cancelled, ConnectionLost, InternalError, RateLimited, SuiroError, VerificationFailed
from suiro.model.job import Task
from suiro.model.run import Failure, Progress, Status, TaskRun
from suiro.model.selection import KEYED
from suiro.spi.destination import Destination
from suiro.spi.source import Source

ATTEMPTS = 5
_PATIENCE = 60.0  #: seconds between attempts, at most


@dataclass(frozen=True, slots=True, kw_only=True)
class Systems:
    """How to open both sides. `identity` is the source's, without secrets; part of every marker's key."""

    source: Callable[[], Source[Any]]
    destination: Callable[[], Destination[Any]]
    identity: str


def replicate(
    task: Task, systems: Systems, context: RunContext, progress: Callable[[Progress], None] | None = None
) -> TaskRun:
    """Carry one stream to one table and say what came of it; never raises but for KeyboardInterrupt.

    A connection lost after the task was claimed is no end: the attempt begins anew from the last published position,
    at most ATTEMPTS times.
    """
    started = time.monotonic()
    work = _Work(task, systems, context, progress)
    try:
        return work.ended(Status.SUCCEEDED, started)
    except SuiroError as error:
        if context.cancelled:
            error = error if isinstance(error, Cancelled) else Cancelled("the run was cancelled")
        status = Status.CANCELLED if isinstance(error, Cancelled) else Status.FAILED
        return work.failed(error, status, started)
    except Exception as error:
        if context.cancelled:
            return work.failed(Cancelled("the run was cancelled"), Status.CANCELLED, started)
        context.log.exception("a task run failed unexpectedly")
        bug = InternalError(
            f"unexpected {type(error).__name__}: {error}", hint="This is a bug of Suiro: please report it with the log."
        )
        return work.failed(bug, Status.FAILED, started)


def asked_source(task: Task, source: Source[Any], context: RunContext, stack: ExitStack) -> Source[Any]:
    """The source itself, or the task's query over it, closed with the stack."""
    if task.query is None:
        return source
    from suiro.engine.query.source import query_source  # on use: most tasks have no query

    return stack.enter_context(closing(query_source(task.query, task.stream, task.read, source, context)))


class _Work:
    """A task run's attempts, and what they leave for the report."""

    def __init__(
        self, task: Task, systems: Systems, context: RunContext, progress: Callable[[Progress], None] | None
    ) -> None:
        self.task, self.systems, self.context, self.progress = task, systems, context, progress
        self.account = Account(task.verify)
        self.attempts = 0
        self.attempt: Attempt | None = None

    def ended(self, status: Status, started: float) -> TaskRun:
        while True:
            self.attempts += 1
            try:
                with ExitStack() as stack:
                    self._open(stack)
                    assert self.attempt is not None
                    self.attempt.run()
                return self._report(status, started, None)
            except (ConnectionLost, RateLimited) as error:
                if self.attempt is None or self.attempts == ATTEMPTS or self.context.cancelled:
                    raise
                wait = error.retry_after or min(2.0 ** (self.attempts - 1), _PATIENCE)
                self.context.log.warning("%s; trying again in %.0f s", error.message, wait)
                self.context.wait(wait)

    def _open(self, stack: ExitStack) -> None:
        source = asked_source(self.task, stack.enter_context(closing(self.systems.source())), self.context, stack)
        destination = stack.enter_context(closing(self.systems.destination()))
        check_level(self.task, destination)
        plan = plan_task(self.task, source, destination.capabilities)
        claim = destination.claim(task_key(plan, self.systems.identity, self.context.run), self.context.run)
        before = self.attempt
        self.attempt = Attempt(plan, source, destination, claim, self.account, self.context, self.progress)
        self.attempt.settle(before)

    def failed(self, error: SuiroError, status: Status, started: float) -> TaskRun:
        return self._report(status, started, error)

    def _report(self, status: Status, started: float, error: SuiroError | None) -> TaskRun:
        attempt, done = self.attempt, self.account.done
        differences = error.differences if isinstance(error, VerificationFailed) else ()
        if status is Status.SUCCEEDED and done.rejected:
            status = Status.WARNING
        receipt = None
        if error is None or differences or self.account.loads:
            receipt = self.account.receipt(equal=not differences, differences=differences)
        return TaskRun(
            stream=self.task.stream,
            table=attempt.plan.table if attempt else self.task.table or self.task.stream,
            status=status,
            seconds=time.monotonic() - started,
            rows_read=done.read,
            rows_written=done.entered.inserted + done.entered.updated,
            rows_rejected=done.rejected,
            rows_deleted=done.entered.removed if attempt and attempt.plan.spec.mode in KEYED else 0,
            bytes=done.bytes,
            loads=self.account.loads,
            attempts=self.attempts,
            path=attempt.path if attempt else "arrow",
            position=attempt.position if attempt else None,
            receipt=receipt,
            notes=tuple(self.account.notes),
            error=None if error is None else Failure(code=error.code, message=error.message, hint=error.hint),
        )
