"""The repair of a table: exactly the rows that a comparison found are carried again, or taken away, in one publish."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from suiro.engine.context import RunContext
from suiro.engine.diff import Comparison, Findings
from suiro.engine.fit import exactly
from suiro.engine.load import Load, give_up
from suiro.engine.moments import Moments
from suiro.engine.plan import Plan, plan_task, task_key
from suiro.engine.transform import Transform
from suiro.engine.verify import Account
from suiro.model.change import OP
from suiro.model.errors import DataError, UserError
from suiro.model.job import Drift, Task
from suiro.model.receipt import Entered, Level, Receipt
from suiro.model.schema import ReadMode
from suiro.model.selection import DELETED_AT, Deletes, Replace, WriteMode
from suiro.spi.destination import Destination, Marker
from suiro.spi.source import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Repaired:
    """What a repair did."""

    carried: int  #: rows that were missing or different, as they were read again
    taken_away: int
    receipt: Receipt
    notes: tuple[str, ...] = ()


def repair(
    task: Task,
    plan: Plan,
    source: Source[Any],
    destination: Destination[Any],
    identity: str,
    comparison: Comparison,
    findings: Findings,
    context: RunContext,
) -> Repaired:
    """Carry what is missing or different, take away what is too many; the task's marker stays where it is.

    `task` is the one that `plan` was made of, over the same source. UserError where rows can't be told apart, too much
    differs, or a greater share of the table would go than the task allows.
    """
    key = comparison.source.hashing.key
    carried, gone = _found(comparison, findings, plan, keyed=set(key) != set(plan.mapping))
    work = plan_task(_task(task, plan, key, comparison, deletes=bool(gone)), source, destination.capabilities)
    table = work.wanted(work.incoming, destination.inspect(work.table))
    claim = destination.claim(task_key(plan, identity, context.run), context.run)
    account = Account(Level.SUMS)
    load = Load(destination, work.spec, claim, Level.SUMS)
    stream = work.selection.stream.schema
    moments = Moments(work.moment, work.time)
    transform = Transform(stream, table.schema, work.mapping, work.spec.key, None, moments)
    try:
        load.begin(table)
        for rows in _rows(comparison, carried, gone, tuple(work.mapping), stream):
            kept, _ = transform.apply(rows)
            account.pending.read += kept.num_rows
            account.pending.staged += kept.num_rows
            load.write(kept)
        markers = [] if claim.position is None else [Marker(key=claim.key, position=claim.position)]
        staged = load.seal()
        context.check_cancelled()
        account.published(load.summary, destination.publish(staged, markers, load.summary), Entered())
    except BaseException:
        give_up(load, context)
        raise
    receipt = account.receipt(equal=True)
    return Repaired(
        carried=receipt.read - receipt.deleted,
        taken_away=receipt.deleted,
        receipt=receipt,
        notes=tuple(account.notes),
    )


def _found(comparison: Comparison, findings: Findings, plan: Plan, *, keyed: bool) -> tuple[list[str], list[str]]:
    """The hashes of keys whose rows are to be carried, and of those whose rows are to go."""
    if not findings.whole:
        raise UserError(
            f"too much of {plan.table} differs to be repaired row by row",
            hint="Read it anew: suiro copy ... --resync replace, or suiro run JOB --resync replace.",
        )
    if not keyed:
        raise UserError(
            f"{plan.table} has no key, so its rows can't be repaired one by one",
            hint="Name the columns that identify a row with key, or replace the table.",
        )
    ledger = comparison.ledger
    if doubled := len(ledger.keys("here > 1")):
        raise UserError(
            f"{doubled:,} keys stand for several rows of the source each, so the key identifies no row",
            hint="Name other columns with key.",
        )
    carried = ledger.keys("missing + different > 0 OR here > 0")
    gone = ledger.keys("extra > 0 AND here = 0")
    most = plan.task.most_deleted
    if len(gone) > most * findings.table_rows:
        raise UserError(
            f"the repair would take away {len(gone):,} of {findings.table_rows:,} rows of {plan.table}, more than "
            f"{most:.0%}",
            hint="If that is right, allow it with most_deleted.",
        )
    return carried, gone


def _task(task: Task, plan: Plan, key: tuple[str, ...], comparison: Comparison, *, deletes: bool) -> Task:
    """The task that writes single rows into the table as the task of the plan does."""
    history = plan.spec.mode is WriteMode.HISTORY
    marked = DELETED_AT in comparison.target.hashing.selection.stream.schema.names
    return replace(
        task,
        read=ReadMode.FULL,
        write=WriteMode.HISTORY if history else WriteMode.MERGE,
        key=key,
        cursor=task.cursor if history else None,
        look_back=None,
        start=None,
        window=None,
        backfill=None,
        resync=None,
        limit=None,
        retry=False,
        only_new_data=False,
        most_rejected=0,
        deletes=Deletes.SOFT if marked else Deletes.HARD if deletes or history else Deletes.SKIP,
        most_deleted=1.0,
        replace=Replace.AUTO,
        drift=Drift.IGNORE,
        verify=Level.SUMS,
    )


def _rows(
    comparison: Comparison, carried: list[str], gone: list[str], columns: tuple[str, ...], stream: pa.Schema
) -> Iterator[pa.RecordBatch]:
    """Rows of the stream to write, then rows of nothing but a key to take away, each with what is to be done."""
    here, there, ledger = comparison.source, comparison.target, comparison.ledger
    if carried:
        found = here.rows_of(ledger, carried, comparison.number, comparison.looked, columns)
        with closing(found):  # type: ignore[type-var]
            for batch, _ in found:
                yield _with(batch.select([name for name in stream.names if name in columns]), "u")
    if not gone:
        return
    keys = dict(zip(here.hashing.key, there.hashing.key, strict=True))
    found = there.rows_of(ledger, gone, comparison.number, comparison.looked, ())
    with closing(found):  # type: ignore[type-var]
        for batch, hashes in found:
            rows = batch.take(pa.array(sorted({key: at for at, key in enumerate(hashes)}.values())))
            arrays = [
                _as(rows.column(keys[f.name]), f) if f.name in keys else pa.nulls(rows.num_rows, f.type)
                for f in (stream.field(name) for name in stream.names if name in columns)
            ]
            names = [name for name in stream.names if name in columns]
            yield _with(pa.RecordBatch.from_arrays(arrays, names=names), "d")


def _with(rows: pa.RecordBatch, act: str) -> pa.RecordBatch:
    return rows.append_column(OP, pa.repeat(act, rows.num_rows))


def _as(array: pa.Array, field: pa.Field) -> pa.Array:
    """Values of a key as the stream has them."""
    try:
        return exactly(array, field.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(
            f"column {field.name} of the key can't be read back as {field.type}",
            hint="Replace the table.",
            column=field.name,
        ) from error
