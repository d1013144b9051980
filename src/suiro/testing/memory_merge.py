"""How rows enter a table in memory: the three write modes, row by row, as the contract words them."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from suiro.model.change import OP, SEQ
from suiro.model.errors import SchemaConflict
from suiro.model.receipt import Entered
from suiro.model.schema import Table
from suiro.model.selection import DELETED_AT, Deletes, WriteSpec
from suiro.model.types import common_type
from suiro.testing.cells import cells


def evolved(current: Table | None, wanted: Table) -> Table:
    """The table that holds the rows of both: columns added, types widened; SchemaConflict where that can't be."""
    if current is None:
        return wanted
    fields = {field.name: field for field in current.schema}
    for field in wanted.schema:
        fields[field.name] = _wider(current.name, fields.get(field.name, field), field)
    key = current.primary_key or wanted.primary_key
    return Table(name=current.name, schema=pa.schema(list(fields.values())), primary_key=key)


def fitted(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Rows with these columns in these types; columns that they lack are NULL."""
    columns = [
        rows.column(field.name).cast(field.type) if field.name in rows.column_names else pa.nulls(len(rows), field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def append(old: pa.Table, new: pa.Table, spec: WriteSpec, counts: Entered) -> pa.Table:
    """Old rows and new ones; without those whose values in `skip_existing` are there already."""
    data = without_marks(new)
    if spec.skip_existing:
        there = set(cells(old.select(spec.skip_existing)))
        known = cells(fitted(data, old.schema).select(spec.skip_existing))
        data = data.filter(pa.array([values not in there for values in known], pa.bool_()))
        counts.superseded += len(new) - len(data)
    counts.inserted += len(data)
    return pa.concat_tables([old, fitted(data, old.schema)])


def merge(old: pa.Table, new: pa.Table, spec: WriteSpec, counts: Entered) -> pa.Table:
    """Old rows, but for each key of the new ones the last of these: it inserts, updates or deletes."""
    deletes = [op == "d" for op in new.column(OP).to_pylist()] if OP in new.column_names else [False] * len(new)
    data = without_marks(new)
    arrived = [i for i, deleted in enumerate(deletes) if not deleted or spec.deletes is not Deletes.SKIP]
    counts.unchanged += len(new) - len(arrived)
    keys = cells(fitted(data, old.schema).select(spec.key))
    order = ranks(new, spec.order_by)
    last: dict[Any, int] = {}
    for i in sorted(arrived, key=lambda i: (*order[i], i)):
        last[keys[i]] = i
    counts.superseded += len(arrived) - len(last)
    there = {key: at for at, key in enumerate(cells(old.select(spec.key)))}
    complete = _completed(old, data, keys, there)
    before, after = cells(old), cells(complete)
    gone = set()
    marked: list[tuple[int, int]] = []
    for key, i in last.items():
        if deletes[i] and spec.deletes is Deletes.SOFT:
            counts.deleted += 1
            counts.removed += key in there
            if key in there:
                marked.append((there[key], i))
            continue
        if key in there:
            gone.add(there[key])
        if deletes[i]:
            counts.deleted += 1
            counts.removed += key in there
        elif key not in there:
            counts.inserted += 1
        elif after[i] == before[there[key]]:
            counts.unchanged += 1
        else:
            counts.updated += 1
    old = _marked(old, data, marked)
    kept = old.take(pa.array([at for at in range(len(old)) if at not in gone], pa.int64()))
    entering = complete.take(pa.array([i for i in last.values() if not deletes[i]], pa.int64()))
    return pa.concat_tables([kept, entering])


def _marked(old: pa.Table, data: pa.Table, marked: list[tuple[int, int]]) -> pa.Table:
    """Old rows, with the time of deletion of new ones (by place) where they have none yet."""
    if not marked:
        return old
    times = old.column(DELETED_AT).to_pylist()
    for at, i in marked:
        times[at] = times[at] or data.column(DELETED_AT)[i].as_py()
    at = old.schema.get_field_index(DELETED_AT)
    return old.set_column(at, old.schema.field(at), pa.array(times, old.schema.field(at).type))


def without_marks(rows: pa.Table) -> pa.Table:
    """Rows without the columns that a log read appends."""
    return rows.drop_columns([name for name in (OP, SEQ) if name in rows.column_names])


def _completed(old: pa.Table, data: pa.Table, keys: list[Any], there: dict[Any, int]) -> pa.Table:
    """New rows in the table's columns; those that the load lacks keep what the table holds under the key."""
    same = pa.array([there.get(key) for key in keys], pa.int64())
    kept = old.take(same)
    columns = [
        data.column(field.name).cast(field.type) if field.name in data.column_names else kept.column(field.name)
        for field in old.schema
    ]
    return pa.table(columns, schema=old.schema)


def ranks(new: pa.Table, order_by: str | None) -> list[tuple[Any, ...]]:
    """For each row what the last of several is told by: the value that orders them, NULL least."""
    if order_by is None:
        return [()] * len(new)
    return [(value is not None, 0 if value is None else value) for (value,) in cells(new.select([order_by]))]


def _wider(table: str, one: pa.Field, other: pa.Field) -> pa.Field:
    type_ = common_type(one.type, other.type)
    if type_ is None:
        raise SchemaConflict(
            f"column {one.name} of {table} is {one.type} and can't also hold {other.type}",
            hint="Load into another table, or change the column's type.",
        )
    return one if type_ == one.type else pa.field(one.name, type_)
