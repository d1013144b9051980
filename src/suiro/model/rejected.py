"""Rejected rows: what could not be carried, kept beside the table with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import pyarrow as pa

REJECTED: Final = "_suiro_rejected"  #: the table, in the schema of the table that the rows were meant for

UNREADABLE: Final = ""  #: stands for a column's name before a line that is no row of the stream

#: `row` is the row as it was read, as a JSON object of texts by column, or of one text by `UNREADABLE`; `task` is the
#: digest of the task's key.
SCHEMA: Final = pa.schema(
    [
        ("id", pa.string()),
        ("task", pa.string()),
        ("run", pa.string()),
        ("stream", pa.string()),
        ("table_name", pa.string()),
        ("rejected_at", pa.timestamp("us", "UTC")),
        ("column_name", pa.string()),
        ("reason", pa.string()),
        ("row", pa.string()),
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedRow:
    """One row that can't be carried. `row`: as in `SCHEMA`; NULL where nothing of it can be shown."""

    reason: str
    row: str | None
    column: str | None = None
