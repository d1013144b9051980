"""Numerics that are no numbers, in columns that travel as decimals: found without an error of the server's.

A column with a declared precision may hold NaN; the infinities it can't (PostgreSQL's documentation, "Numeric Types").
"""

from __future__ import annotations

from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from suiro.connectors.postgres.bulk import decode, nan_refused
from suiro.connectors.postgres.types import travels_scaled
from suiro.toolkit.sql.unreadable import Unreadable

NAN: Final = -(2**63)  #: stands for NaN among decimals that travel as bigint, which have at most 18 digits
_NAN_AS_TEXT: Final = "nan"  #: as ADBC writes it


def careful(expression: str, reference: str) -> str:
    """The expression that gives a numeric as a bigint, with NAN where the column holds NaN."""
    return f"CASE WHEN {reference} = 'NaN' THEN '{NAN}'::int8 ELSE {expression} END"


def as_sent(schema: pa.Schema) -> pa.Schema:
    """The schema with decimals as they are sent: as bigint, or as text."""

    def sent(field: pa.Field) -> pa.Field:
        if not pa.types.is_decimal(field.type):
            return field
        return field.with_type(pa.int64() if travels_scaled(field) else pa.string())

    return pa.schema([sent(field) for field in schema])


def with_decimals(batch: pa.RecordBatch, schema: pa.Schema, unreadable: Unreadable) -> pa.RecordBatch:
    """Rows of the schema `as_sent`, in this one; each NaN is noted, and NULL."""
    arrays = []
    for array, field in zip(batch.columns, schema, strict=True):
        arrays.append(_decimals(array, field, unreadable) if pa.types.is_decimal(field.type) else array)
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _decimals(array: pa.Array, field: pa.Field, unreadable: Unreadable) -> pa.Array:
    wrong = pc.fill_null(pc.equal(array, _NAN_AS_TEXT if pa.types.is_string(array.type) else NAN), False)
    if pc.any(wrong).as_py():
        reason = nan_refused(field.name).message
        for row in pc.indices_nonzero(wrong).to_pylist():
            unreadable.note(row, field.name, text="NaN", reason=reason)
        array = pc.if_else(wrong, pa.scalar(None, array.type), array)
    (found,) = decode(pa.RecordBatch.from_arrays([array], names=[field.name]), pa.schema([field])).columns
    return found
