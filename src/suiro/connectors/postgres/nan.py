"""Numerics that are no numbers, in columns that travel as decimals: found without an error of the server's.

A column with a declared precision may hold NaN; the infinities it can't (PostgreSQL's documentation, "Numeric Types").
"""

from __future__ import annotations

import pyarrow as pa

from suiro.connectors.postgres.columns import nan_refused
from suiro.connectors.postgres.numerics import decimals_of
from suiro.toolkit.sql.unreadable import Unreadable


def as_sent(schema: pa.Schema) -> pa.Schema:
    """The schema with decimals as they are sent."""
    return pa.schema([f.with_type(pa.binary()) if pa.types.is_decimal(f.type) else f for f in schema])


def with_decimals(batch: pa.RecordBatch, schema: pa.Schema, unreadable: Unreadable) -> pa.RecordBatch:
    """Rows of the schema `as_sent`, in this one; each NaN is noted, and NULL."""
    arrays = []
    for array, field in zip(batch.columns, schema, strict=True):
        arrays.append(_decimals(array, field, unreadable) if pa.types.is_decimal(field.type) else array)
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _decimals(array: pa.Array, field: pa.Field, unreadable: Unreadable) -> pa.Array:
    found, nan = decimals_of(array, field.type)
    if nan.any():
        reason = nan_refused(field.name).message
        for row in nan.nonzero()[0].tolist():
            unreadable.note(row, field.name, text="NaN", reason=reason)
    return found
