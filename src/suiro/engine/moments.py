"""Columns of Suiro's own beside a stream's: when a row was deleted, and from when a version holds."""

from __future__ import annotations

from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from suiro.model.change import OP
from suiro.model.errors import DataError
from suiro.model.selection import DELETED_AT, VALID_FROM


class Moments:
    """Fills Suiro's own columns. `time` names the stream's column that tells when a row changed; else `moment` does."""

    def __init__(self, moment: datetime, time: str | None) -> None:
        self._moment, self._time = moment, time

    def column(self, field: pa.Field, batch: pa.RecordBatch) -> pa.Array:
        """One of the columns `OWN` for the rows of a batch, in the field's type."""
        now = pa.scalar(self._moment, field.type) if pa.types.is_timestamp(field.type) else None
        if field.name == VALID_FROM and self._time is not None:
            return pc.coalesce(_instants(batch.column(self._time), field, self._time), now)
        if field.name == VALID_FROM:
            return pa.repeat(now, batch.num_rows)
        if field.name == DELETED_AT and OP in batch.schema.names:
            gone = pc.equal(batch.column(OP), "d")
            return pc.if_else(gone, now, pa.scalar(None, field.type))
        return pa.nulls(batch.num_rows, field.type)


def _instants(array: pa.Array, field: pa.Field, name: str) -> pa.Array:
    try:
        days = array.cast(pa.timestamp("us")) if pa.types.is_date(array.type) else array
        return days.cast(field.type)
    except pa.ArrowInvalid as error:
        raise DataError(
            f"column {name} holds a time that can't begin a version", hint="Choose another cursor, or leave those out."
        ) from error
