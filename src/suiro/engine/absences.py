"""Rows that the source no longer has: all its keys compared with those of the table."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import pyarrow as pa

from suiro.engine.buffer import Buffer, size_of
from suiro.engine.context import RunContext
from suiro.engine.load import Load, give_up
from suiro.engine.moments import Moments
from suiro.engine.plan import Plan
from suiro.engine.transform import RowFilter, Transform
from suiro.model.change import Checkpoint, Rows
from suiro.model.errors import InternalError
from suiro.model.receipt import Level
from suiro.model.schema import Table
from suiro.model.selection import Selection
from suiro.spi.destination import Claim, Destination, Marker, Published
from suiro.spi.source import Read, Source


def compare_keys(
    plan: Plan,
    source: Source[Any],
    destination: Destination[Any],
    claim: Claim,
    marker: Marker,
    table: Table,
    context: RunContext,
) -> tuple[int, Published]:
    """Read the keys of all rows there are, and have the destination take away the rows of `table` with others.

    How many keys there are, and what the destination did. A key that can't be read ends the run, whatever may be
    rejected: its row isn't known to be gone.
    """
    key = plan.spec.key
    mapping = {name: target for name, target in plan.mapping.items() if target in key}
    columns = tuple(plan.mapping) if plan.residual else tuple(mapping)
    selection = Selection(stream=plan.selection.stream, columns=columns, where=plan.selection.where)
    target = Table(name=table.name, schema=pa.schema([table.schema.field(n) for n in key]), primary_key=key)
    read_schema = pa.schema([selection.stream.schema.field(n) for n in columns])
    residual = RowFilter(plan.residual) if plan.residual else None
    transform = Transform(read_schema, target.schema, mapping, key, residual, Moments(plan.moment, None))
    load = Load(destination, plan.spec, claim, plan.task.verify)
    load.begin(target, keys=True)
    try:
        for read in sorted(source.plan([selection]), key=lambda read: read.phase):
            for rows in _read_whole(read, source, context):
                load.write(transform.apply(rows)[0])
        context.check_cancelled()
        staged = load.seal()
        if plan.task.verify is Level.HASH:
            load.compare(context)
        return load.rows, destination.publish(staged, [marker], load.summary)
    except BaseException:
        give_up(load, context)
        raise


def _read_whole(read: Read, source: Source[Any], context: RunContext) -> Iterator[pa.RecordBatch]:
    """All rows of a read; InternalError if its end is missing: keys that weren't read would be taken for deleted."""
    ended = False
    with Buffer(partial(source.read, read, None), size_of, context.budgets.ahead, context) as changes:
        for change in changes:
            ended = isinstance(change, Checkpoint)
            if isinstance(change, Rows):
                yield change.data
    if not ended:
        raise InternalError(f"the read of the keys of {read.key} ended without a checkpoint")
