"""What a connection offers, as plain data: its streams, and first rows of one."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pyarrow as pa

from suiro.app import connections
from suiro.app.connections import connection
from suiro.app.lending import LentContext
from suiro.app.workbench import first_rows
from suiro.model.cells import cell_texts
from suiro.model.errors import ConfigError
from suiro.model.schema import Stream
from suiro.model.types import logical_type


class NoStream(ConfigError):
    """The connection has no stream of that name."""


def streams(name: str, search: str = "") -> list[dict[str, Any]]:
    """The streams of a source whose names hold `search`, in any case; by name."""
    with connections.streams(name) as found:
        listed = [_stream(one) for one in found if search.lower() in one.name.lower()]
    return sorted(listed, key=lambda one: str(one["name"]))


def preview(name: str, stream: str, rows: int) -> dict[str, Any]:
    """The columns and first rows of a stream, each value as text. NoStream if there is none of that name."""
    with LentContext("preview") as context, closing(connection(name).source(context)) as source:
        try:
            found = source.find(stream)
        except ConfigError as error:
            raise NoStream(error.message, hint=error.hint) from error
        table = first_rows(source, found, rows)
    batches = table.combine_chunks().to_batches()
    taken = [_rows(batch) for batch in batches if batch.num_rows]
    return {"columns": [_column(field) for field in found.schema], "rows": [row for some in taken for row in some]}


def _rows(batch: pa.RecordBatch) -> list[list[str | None]]:
    return [list(row) for row in zip(*(cell_texts(column) for column in batch.columns), strict=True)]


def _stream(one: Stream) -> dict[str, Any]:
    return {
        "name": one.name,
        "columns": [_column(field) for field in one.schema],
        "primary_key": list(one.primary_key),
        "cursor_fields": list(one.cursor_fields),
        "read_modes": sorted(one.read_modes),
        "rows": one.rows,
        "notes": list(one.notes),
    }


def _column(field: pa.Field) -> dict[str, Any]:
    return {"name": field.name, "type": logical_type(field) or str(field.type)}
