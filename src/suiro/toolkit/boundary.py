"""Boundary rows: rows with the cursor value at which the last read ended, told apart from new ones.

A read that resumes asks for rows at or past the last cursor value, because more rows may have come with that very
value. Those that were carried already are recognised by a hash of the row over the columns of that time; equal rows
are counted, so that a second identical row is carried.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from suiro.model.errors import DataError, ResyncRequired, UserError
from suiro.model.schema import Json, Position

LIMIT = 100_000


class Boundary:
    """Follows one incremental read: leaves out what was carried already, and makes the next position.

    The cursor's greatest value is kept in a form that `encode` gives and `decode` takes back. Rows with a NULL
    cursor never come here: the source reads them in no incremental read but the first. With `deduplicate` False
    too many rows to remember are no error: they come again.
    """

    def __init__(self, cursor: str, since: Position | None, *, deduplicate: bool) -> None:
        self._cursor = cursor
        self._greatest: Any = None
        self._at_greatest: list[pa.RecordBatch] = []
        self._rows = 0
        self._columns: list[str] | None = None
        self._since = decode(since["cursor"]) if since and since.get("cursor") is not None else None
        self._known: Counter[str] | None = None
        self._initial = dict(since) if since else None
        if since:
            self._known = self._recall(since, deduplicate)

    def _recall(self, since: Position, deduplicate: bool) -> Counter[str] | None:
        if since.get("field") != self._cursor:
            raise ResyncRequired(
                f"the last read followed {since.get('field') or 'no cursor'}, this one is to follow {self._cursor}",
                hint="Keep the cursor, or read the stream anew: a full read with replace and this cursor.",
            )
        if since.get("boundary") is None and not deduplicate:
            return None
        if since.get("boundary") is None:
            raise UserError(
                f"the last read ended among more than {LIMIT:,} rows with one value of {self._cursor}; "
                "which of them were carried can't be told any more",
                hint="Write with merge and a key, or give a key and a look-back window (0 will do).",
            )
        self._columns = list(since.get("columns") or [])  # type: ignore[arg-type]
        return Counter({str(k): int(v) for k, v in dict(since["boundary"]).items()})  # type: ignore[arg-type]

    def pass_through(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, int]:
        """The rows to carry, and how many were left out."""
        self._follow(batch)
        if not self._known or self._since is None or not batch.num_rows:
            return batch, 0
        equal = pc.fill_null(pc.equal(batch.column(self._cursor), _scalar(self._since, batch, self._cursor)), False)
        at = [i for i, same in enumerate(equal.to_pylist()) if same] if pc.any(equal).as_py() else []
        known: set[int] = set()
        columns = [name for name in self._columns or [] if name in batch.schema.names]
        for i, mark in zip(at, row_hashes(batch.take(pa.array(at, pa.int64())), columns), strict=True):
            if self._known[mark] > 0:
                self._known[mark] -= 1
                known.add(i)
        if not known:
            return batch, 0
        keep = pa.array([i not in known for i in range(batch.num_rows)])
        return batch.filter(keep), len(known)

    def position(self) -> dict[str, Json]:
        """Where the next read resumes: everything that came through `pass_through` is behind it."""
        if self._greatest is None or (self._since is not None and self._greatest < self._since):
            return self._initial or {"field": self._cursor, "cursor": None, "columns": [], "boundary": {}}
        names = self._at_greatest[0].schema.names
        marks: dict[str, Json] | None = None
        if self._rows <= LIMIT:
            found = Counter(m for batch in self._at_greatest for m in row_hashes(batch, names))
            left = +(self._known or Counter()) if self._greatest == self._since else Counter[str]()  # carried before
            if left and list(names) != list(self._columns or []):
                return self._initial or {"field": self._cursor, "cursor": None, "columns": [], "boundary": {}}
            marks = dict(found + left)
        return {"field": self._cursor, "cursor": encode(self._greatest), "columns": list(names), "boundary": marks}

    def _follow(self, batch: pa.RecordBatch) -> None:
        column = batch.column(self._cursor)
        top = self._top(column) if batch.num_rows else None
        if top is None or (self._greatest is not None and top < self._greatest):
            return
        if self._greatest is None or top > self._greatest:
            self._greatest, self._at_greatest, self._rows = top, [], 0
        equal = pc.fill_null(pc.equal(column, _scalar(top, batch, self._cursor)), False)
        rows = batch.filter(equal)
        self._rows += rows.num_rows
        if self._rows <= LIMIT:
            self._at_greatest.append(pa.RecordBatch.from_arrays(rows.columns, schema=rows.schema))
        else:
            self._at_greatest = self._at_greatest[:1] or [rows.slice(0, 0)]

    def _top(self, column: pa.Array) -> Any:
        try:
            return pc.max(column).as_py()
        except (OverflowError, ValueError) as error:
            raise DataError(
                f"the cursor {self._cursor} holds infinity or a year past 9999, which no later row can follow",
                hint="Leave those rows out with a condition, or choose another cursor field.",
            ) from error


def row_hashes(batch: pa.RecordBatch, columns: list[str]) -> list[str]:
    """A hash of each row over these columns; equal rows have equal hashes, on every machine."""
    plain = [_plain(batch.column(name)).to_pylist() for name in columns]
    if not plain:
        return [""] * batch.num_rows
    return [hashlib.sha256(repr(row).encode()).hexdigest()[:20] for row in zip(*plain, strict=True)]


def encode(value: Any) -> Json:
    """A cursor value as JSON: numbers and text as they are, others tagged with their kind."""
    match value:
        case datetime():
            return {"timestamp" if value.tzinfo is None else "timestamptz": value.isoformat()}
        case date():
            return {"date": value.isoformat()}
        case Decimal():
            return {"decimal": str(value)}
        case bytes():
            return {"bytes": value.hex()}
        case bool() | int() | float() | str() | None:
            return value
        case _:
            raise UserError(
                f"a column of {type(value).__name__} can't be a cursor", hint="Choose a number, date or time."
            )


def decode(value: Json) -> Any:
    """The inverse of `encode`."""
    if not isinstance(value, Mapping):
        return value
    ((kind, text),) = value.items()
    match kind:
        case "timestamp" | "timestamptz":
            return datetime.fromisoformat(str(text))
        case "date":
            return date.fromisoformat(str(text))
        case "decimal":
            return Decimal(str(text))
        case "bytes":
            return bytes.fromhex(str(text))
        case _:
            raise UserError(
                f"the saved position holds an unknown kind {kind!r}", hint="Reset the position and read anew."
            )


def _plain(array: pa.Array) -> pa.Array:
    """Dates and times as numbers: their infinities, and years past 9999, have no Python value."""
    if isinstance(array, pa.ExtensionArray):
        return array.storage
    counted = _counted(array.type)
    return array if counted == array.type else array.cast(counted)


def _counted(type_: pa.DataType) -> pa.DataType:
    if pa.types.is_date32(type_) or pa.types.is_time32(type_):
        return pa.int32()
    if pa.types.is_date64(type_) or pa.types.is_timestamp(type_) or pa.types.is_time64(type_):
        return pa.int64()
    if pa.types.is_list(type_):
        return pa.list_(_counted(type_.value_type))
    if pa.types.is_map(type_):
        return pa.map_(_counted(type_.key_type), _counted(type_.item_type))
    if pa.types.is_struct(type_):
        return pa.struct([type_.field(i).with_type(_counted(type_.field(i).type)) for i in range(type_.num_fields)])
    return type_


def _scalar(value: Any, batch: pa.RecordBatch, column: str) -> pa.Scalar:
    type_ = batch.schema.field(column).type
    return pa.scalar(value, type_)
