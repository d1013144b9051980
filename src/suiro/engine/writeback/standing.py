"""How records stand right before a batch is sent: as the plan saw them, changed since, or with the values already."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from suiro.engine.context import RunContext
from suiro.engine.writeback.present import Present, id_texts, matches, taken
from suiro.engine.writeback.values import same
from suiro.model.journal import AFTER, BEFORE, STANDING, Standing
from suiro.model.types import is_text
from suiro.model.writeback import Action, ObjectFacts, Order

WHY = "#why"  #: beside STANDING: why a row is a conflict


def found_now(
    rows: pa.RecordBatch,
    order: Order,
    present: Present,
    facts: ObjectFacts,
    types: pa.Schema,
    context: RunContext,
    *,
    force: bool,
) -> pa.RecordBatch:
    """Each row's standing, why it is a conflict, its record as it is now (`#record`, `-Field`).

    `force`: what was changed since is written all the same; what is gone, or no longer one record, stays a conflict.
    """
    count = rows.num_rows
    if order.action is Action.INSERT:
        return _batch(np.full(count, Standing.SEND, object), np.full(count, None, object), rows.column("#record"), {})
    watched = [name.removeprefix(BEFORE) for name in rows.schema.names if name.startswith(BEFORE)]
    now, counts = _records(rows, order, present, facts, types, watched, context)
    planned = pc.is_valid(rows.column("#record")).to_numpy(zero_copy_only=False)
    there = counts == 1
    states = np.full(count, Standing.SEND, object)
    whys = np.full(count, None, object)

    def conflict(mask: Any, why: str, *, forced: bool) -> None:
        if not (forced and force):
            mask = mask & (states == Standing.SEND)
            states[mask], whys[mask] = Standing.CONFLICT, why

    states[_has_already(rows, order, now, types) & there] = Standing.SAME
    if order.action is Action.DELETE:
        states[counts == 0] = Standing.SAME
    conflict(counts > 1, "several records have this key now", forced=False)
    conflict(planned & (counts == 0), "the record is gone", forced=False)
    conflict(~planned & there, "there is a record by now", forced=True)
    for name in watched:
        changed = ~same(rows.column(BEFORE + name), now.column(name), types.field(name))
        conflict(planned & there & changed, f"{name} was changed since the plan", forced=True)
    found = {BEFORE + name: now.column(name) for name in watched}
    return _batch(states, whys, id_texts(now.column(present.record_id)), found)


def _batch(states: Any, whys: Any, record: pa.Array, found: dict[str, pa.Array]) -> pa.RecordBatch:
    texts = [None if state is None else str(state) for state in states]
    return pa.RecordBatch.from_pydict(
        {STANDING: pa.array(texts, pa.string()), WHY: pa.array(whys, pa.string()), "#record": record, **found}
    )


def _records(
    rows: pa.RecordBatch,
    order: Order,
    present: Present,
    facts: ObjectFacts,
    types: pa.Schema,
    watched: list[str],
    context: RunContext,
) -> tuple[pa.RecordBatch, Any]:
    """Of each row the record as it is now, and how many there are."""
    if order.action is Action.UPSERT:
        assert order.by is not None
        keys = rows.column(AFTER + order.by)
        found = present.by(order.by, keys, watched, context)
        folds = not facts.fields[order.by].case_sensitive and is_text(types.field(order.by).type)
        wanted, there = (_key_texts(column, folds=folds) for column in (keys, found.column(order.by)))
    else:
        found = present.by_record(rows.column("#record"), watched, context)
        wanted, there = rows.column("#record").to_pylist(), found.column("#record").to_pylist()
    places, counts = matches(wanted, there)
    return taken(found, np.where(counts == 1, places, -1)), counts


def _key_texts(column: pa.Array, *, folds: bool) -> list[Any]:
    texts = id_texts(column)
    found: list[Any] = (pc.utf8_lower(texts) if folds else texts).to_pylist()
    return found


def _has_already(rows: pa.RecordBatch, order: Order, now: pa.RecordBatch, types: pa.Schema) -> Any:
    """The rows that would change nothing, as a mask."""
    fields = [name.removeprefix(AFTER) for name in rows.schema.names if name.startswith(AFTER)]
    fields = [name for name in fields if name != order.by]
    equal = np.full(rows.num_rows, order.action is not Action.DELETE)
    for name in fields:
        equal &= same(rows.column(AFTER + name), now.column(name), types.field(name))
    return equal
