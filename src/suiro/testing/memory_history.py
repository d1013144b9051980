"""How versions enter a history in memory, and what a key snapshot takes away, as the contract words it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa

from suiro.model.change import OP
from suiro.model.errors import UserError
from suiro.model.receipt import Entered
from suiro.model.selection import CURRENT, DELETED_AT, VALID_FROM, VALID_TO, Deletes, WriteMode, WriteSpec
from suiro.testing.cells import cells
from suiro.testing.memory_merge import fitted, ranks, without_marks

BEGINNING = datetime(1, 1, 1, tzinfo=UTC)
_OWN = (VALID_FROM, VALID_TO, CURRENT)


@dataclass(slots=True)
class _Known:
    """What is known of one key from one moment on: a row of the table or a staged one, or that there is none."""

    row: dict[str, Any] | None
    staged: bool = False
    twin: dict[str, Any] | None = None


def started(old: pa.Table, spec: WriteSpec) -> pa.Table:
    """The rows of a table that becomes a history, as first versions."""
    rows = old.to_pylist()
    for row in rows:
        began = row.get(spec.order_by) if spec.order_by else None
        row |= {VALID_FROM: _moment(began) or BEGINNING, CURRENT: True}
    return pa.Table.from_pylist(rows, old.schema)


def remember(old: pa.Table, new: pa.Table, spec: WriteSpec, counts: Entered) -> pa.Table:
    """Old versions and new ones, each lasting until the next thing known of its key."""
    deletes = [op == "d" for op in new.column(OP).to_pylist()] if OP in new.column_names else [False] * len(new)
    staged = fitted(without_marks(new), old.schema).to_pylist()
    keys = cells(fitted(without_marks(new), old.schema).select(spec.key))
    standing: dict[Any, list[dict[str, Any]]] = {}
    for key, row in zip(cells(old.select(spec.key)), old.to_pylist(), strict=True):
        standing.setdefault(key, []).append(row)
    order = ranks(new, spec.order_by)
    arrived: dict[Any, list[int]] = {}
    for i in sorted(range(len(new)), key=lambda i: (*order[i], i)):
        if deletes[i] and spec.deletes is Deletes.SKIP:
            counts.unchanged += 1
        else:
            arrived.setdefault(keys[i], []).append(i)
    for key, places in arrived.items():
        known = _standing(standing.get(key, []))
        moments = {staged[i][VALID_FROM]: i for i in places}  # the last in order wins
        counts.superseded += len(places) - len(moments)
        for at, i in moments.items():
            before = known.get(at)
            twin = before.row if before else None
            known[at] = _Known(None if deletes[i] else staged[i], staged=True, twin=twin)
        standing[key] = _laid_out(known, spec, counts)
    return pa.Table.from_pylist([row for rows in standing.values() for row in rows], old.schema)


def without_absent(old: pa.Table, keys: pa.Table, spec: WriteSpec, name: str, counts: Entered) -> pa.Table:
    """The rows, without (or with a mark on, or ended) those whose key isn't among `keys`."""
    there = set(cells(fitted(keys, pa.schema([old.schema.field(k) for k in spec.key]))))
    rows, found = old.to_pylist(), cells(old.select(spec.key))
    live = [_is_live(row, spec) for row in rows]
    gone = [i for i, key in enumerate(found) if live[i] and key not in there]
    if gone and len(gone) / sum(live) > spec.most_deleted:
        raise UserError(f"the source lacks {len(gone)} of the {sum(live)} rows of {name}", hint="Is the source whole?")
    counts.removed += len(gone)
    for i in gone:
        if spec.mode is WriteMode.HISTORY:
            rows[i] |= {VALID_TO: spec.moment, CURRENT: False}
        elif spec.deletes is Deletes.SOFT:
            rows[i][DELETED_AT] = spec.moment
    keeps = spec.mode is WriteMode.HISTORY or spec.deletes is Deletes.SOFT
    return pa.Table.from_pylist([row for i, row in enumerate(rows) if keeps or i not in set(gone)], old.schema)


def _is_live(row: Mapping[str, Any], spec: WriteSpec) -> bool:
    if spec.mode is WriteMode.HISTORY:
        return bool(row[CURRENT])
    return spec.deletes is Deletes.HARD or row[DELETED_AT] is None


def _standing(rows: list[dict[str, Any]]) -> dict[datetime, _Known]:
    known = {row[VALID_TO]: _Known(None) for row in rows if row[VALID_TO] is not None}
    return known | {row[VALID_FROM]: _Known(row) for row in rows}


def _laid_out(known: dict[datetime, _Known], spec: WriteSpec, counts: Entered) -> list[dict[str, Any]]:
    """One key's versions; what is staged is counted."""
    kept: list[tuple[datetime, dict[str, Any] | None, dict[str, Any] | None]] = []
    before: dict[str, Any] | None = None
    for at in sorted(known):
        one = known[at]
        row = one.row
        if one.staged and row is None:
            counts.deleted += 1
        elif one.staged and one.twin is not None:
            same = _same(row, one.twin, spec)
            counts.unchanged += same
            counts.updated += not same
        elif one.staged and _same(row, before, spec):
            counts.unchanged += 1
            continue
        elif one.staged:
            counts.inserted += 1
        kept.append((at, row, one.twin))
        before = row
    rows = []
    for place, (at, row, twin) in enumerate(kept):
        until = kept[place + 1][0] if place + 1 < len(kept) else None
        if row is not None:
            rows.append({**(twin or {}), **row, VALID_FROM: at, VALID_TO: until, CURRENT: until is None})
        elif twin is not None:
            rows.append({**twin, VALID_TO: at, CURRENT: False})
    return rows


def _same(row: dict[str, Any] | None, other: dict[str, Any] | None, spec: WriteSpec) -> bool:
    if row is None or other is None:
        return False
    return all(row[name] == other[name] for name in row if name not in (*_OWN, *spec.key))


def _moment(value: object) -> datetime | None:
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    return datetime(value.year, value.month, value.day, tzinfo=UTC) if isinstance(value, date) else None
