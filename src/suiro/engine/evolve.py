"""How a table follows its stream: the schema that both fit, under the task's drift policy."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from suiro.model.errors import SchemaConflict
from suiro.model.job import Drift
from suiro.model.schema import Table
from suiro.model.selection import OWN
from suiro.model.types import common_field, logical_base, logical_field, logical_type, storage
from suiro.spi.destination import Capabilities


def incoming_schema(schema: pa.Schema, mapping: Mapping[str, str], capabilities: Capabilities) -> pa.Schema:
    """The stream's columns under their destination names; logical types that the destination lacks fall away."""
    fields = []
    for source_name, name in mapping.items():
        field = schema.field(source_name)
        kept = logical_type(field) if logical_base(field) in capabilities.restores else None
        fields.append(logical_field(name, field.type, kept))
    return pa.schema(fields)


def wanted_table(name: str, incoming: pa.Schema, key: tuple[str, ...], current: Table | None, drift: Drift) -> Table:
    """The staged table: the incoming columns, of types that hold the values of both table and stream.

    Under IGNORE and REJECT columns that the table lacks are left out, but for Suiro's own; under REJECT columns keep
    the table's types, which values must fit. SchemaConflict names the column and says what to do.
    """
    if current is None:
        return Table(name=name, schema=incoming, primary_key=key)
    fields = []
    for field in incoming:
        at = current.schema.get_field_index(field.name)
        if at < 0:
            if drift is Drift.FREEZE:
                raise SchemaConflict(
                    f"{name} has no column {field.name}, and its schema is frozen",
                    hint="Leave the column out with columns, or let the table evolve.",
                )
            if drift is Drift.EVOLVE or field.name in key or field.name in OWN:
                fields.append(field)
            continue
        fields.append(_shared(name, current.schema.field(at), field, drift))
    return Table(name=name, schema=pa.schema(fields), primary_key=key)


def drifts(incoming: pa.Schema, current: Table, wanted: Table) -> list[str]:
    """Sentences on where the stream no longer is what the table was made for, and what becomes of it."""
    said = []
    for field in incoming:
        at = current.schema.get_field_index(field.name)
        if at < 0:
            added = field.name in wanted.schema.names
            said.append(f"Column {field.name} is new: {'it is added to' if added else 'it is left out of'} the table.")
            continue
        there, shall = current.schema.field(at), wanted.schema.field(field.name)
        if not _same(there, shall):
            said.append(f"Column {field.name} is widened from {_say(there)} to {_say(shall)}.")
        elif common_field(there, field) is None or not _same(there, common_field(there, field)):
            said.append(f"Column {field.name} is {_say(field)} now; rows that don't fit {_say(there)} are rejected.")
        elif storage(field.type) != storage(there.type):
            said.append(f"Column {field.name} is {_say(field)}, narrower than the table's {_say(there)}, which stays.")
    gone = [n for n in current.schema.names if n not in incoming.names and n not in OWN]
    said += [f"Column {name} of the table isn't in the stream: it is NULL in new rows." for name in gone]
    return said


def _shared(name: str, current: pa.Field, incoming: pa.Field, drift: Drift) -> pa.Field:
    shared = common_field(current, incoming)
    if drift is Drift.REJECT and (shared is None or not _same(shared, current)):
        return current
    if shared is None:
        raise SchemaConflict(
            f"column {current.name} of {name} is {_say(current)}; the stream's is {_say(incoming)}",
            hint="No type holds both exactly: choose another table, or drop or convert the column.",
        )
    if drift is not Drift.EVOLVE and not _same(shared, current):
        raise SchemaConflict(
            f"column {current.name} of {name} is {_say(current)}; the stream's {_say(incoming)} needs a wider one",
            hint="The table's schema is frozen: widen the column, or let the table evolve.",
        )
    return shared


def _same(one: pa.Field, other: pa.Field) -> bool:
    return bool(one.type == other.type) and logical_type(one) == logical_type(other)


def _say(field: pa.Field) -> str:
    return logical_type(field) or str(field.type)
