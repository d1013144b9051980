"""Columns of Arrow out of the rows of binary COPY: no Python object and no call per row.

Every row begins with the column MARK. Where its bytes stand a row may begin; from there the place of each value is
found column by column, for all rows at once, and the rows that count are those that begin where the one before ends:
values that look like the mark do no harm. Source: "Binary Format" of COPY in PostgreSQL's documentation, and the send
functions of its types.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from suiro.connectors.postgres.binary import EPOCH_DAYS, EPOCH_MICROSECONDS, HEADER, OID_OF, TRAILER
from suiro.connectors.postgres.numerics import decimals_of
from suiro.model.errors import DataError, InternalError
from suiro.model.types import DATE_INFINITY, TIMESTAMP_INFINITY

_MARK: Final = -67_176_963
MARK: Final = f"({_MARK})::int4"  #: the first column of a query whose rows are read here
BATCH_BYTES: Final = 2 * 2**20  #: of COPY; one row, if it is longer

_STEP_BYTES: Final = 64 * 2**20  #: by which a row that is longer than a batch is waited for
_MARK_BYTES: Final = _MARK.to_bytes(4, "big", signed=True)  #: none of them stands in UTF-8
_SEARCHED: Final = 2**17  #: bytes at once: what comes of them stays in the processor's cache
_MARKED: Final = 10  #: bytes of a row to the end of its mark: number of columns, length, mark

Numbers = npt.NDArray[Any]


def batches_of(pieces: Iterable[bytes], schema: pa.Schema, oids: Sequence[int]) -> Iterator[pa.RecordBatch]:
    """The rows of a COPY, which comes in pieces of any size, as batches of the schema.

    `oids` are the types that the server sends for the fields (pg_type.oid); they need not be there before the first
    piece is. DataError names a column that holds what its Arrow type can't.
    """
    waiting = [b""]
    size, enough, begun = 0, BATCH_BYTES, False
    for piece in pieces:
        waiting.append(piece)
        size += len(piece)
        if size < enough:
            continue
        rows = _Rows.found(_joined(waiting, begun), len(schema))
        begun = True
        if rows.number:
            yield rows.batch(schema, oids)
        waiting = [rows.data[rows.end :]]
        size = len(waiting[0])
        enough = size + min(max(size, BATCH_BYTES), _STEP_BYTES)
    rows = _Rows.found(_joined(waiting, begun), len(schema))
    if rows.data[rows.end :] != TRAILER:
        raise InternalError("a COPY ended in the middle of a row")
    if rows.number:
        yield rows.batch(schema, oids)


def _joined(pieces: Sequence[bytes], begun: bool) -> bytes:
    data = b"".join(pieces)
    if begun:
        return data
    if not data.startswith(HEADER):
        raise InternalError("a COPY began with another header than PostgreSQL's")
    return data[len(HEADER) :]


@dataclass(frozen=True, slots=True)
class _Values:
    """A column's values: where each one begins in the bytes, and how many it has (-1: NULL)."""

    data: bytes
    starts: Numbers
    sizes: Numbers

    def validity(self) -> pa.Buffer | None:
        """Arrow's bitmap; None without a NULL."""
        there = self.sizes >= 0
        return None if there.all() else pa.py_buffer(np.packbits(there, bitorder="little"))

    def fixed(self, type_: str, name: str) -> Numbers:
        """Values of one length, as numbers in this machine's order; any for a NULL. Shape (values,)."""
        sent = np.dtype(type_)
        there = self.sizes == sent.itemsize
        starts = self.starts
        if not there.all():
            if (self.sizes[~there] >= 0).any():
                raise InternalError(f"column {name}: a value has another length than its type")
            if not there.any():
                return np.zeros(len(starts), sent.newbyteorder("="))
            starts = np.where(there, starts, starts[there.argmax()])
        return _at_each_byte(self.data, type_)[starts].astype(sent.newbyteorder("="), copy=False)

    def strings(self, type_: pa.DataType) -> pa.Array:
        """Values of any length, in an Arrow type with 32-bit offsets."""
        number = len(self.starts)
        if not number:
            return pa.array([], type_)
        ends = np.empty(2 * number, np.int32)  # what is between two values counts as a value, and is left out
        ends[::2] = self.starts
        np.add(self.starts, np.maximum(self.sizes, 0), out=ends[1::2], casting="unsafe")
        buffers = [None, pa.py_buffer(ends), pa.py_buffer(self.data)]
        every = pa.Array.from_buffers(pa.binary(), 2 * number - 1, buffers)
        _, offsets, content = every.take(pa.array(np.arange(0, 2 * number, 2))).buffers()
        return pa.Array.from_buffers(type_, number, [self.validity(), offsets, content])


@dataclass(frozen=True, slots=True)
class _Rows:
    """The whole rows at the beginning of some bytes, and where they end."""

    data: bytes
    columns: Sequence[_Values]
    number: int
    end: int

    @classmethod
    def found(cls, data: bytes, columns: int) -> _Rows:
        """The rows of `columns` columns and a mark. InternalError where rows can't be told apart."""
        if len(data) >= _MARKED and not _is_mark(data, 0, columns + 1):
            raise InternalError("the rows of a COPY can't be told apart")
        starts = _marks(data, columns + 1)
        numbers = _at_each_byte(data, ">i4")
        last, at = len(numbers) - 1, starts + _MARKED
        values = []
        for _ in range(columns):
            sizes = numbers[np.minimum(at, last)].astype(np.int64)
            at = at + 4
            values.append((at, sizes))
            at = at + np.maximum(sizes, 0)
        whole = _whole(starts, at, len(data))
        ends = at[whole]
        found = [_Values(data, first[whole], sizes[whole]) for first, sizes in values]
        return cls(data=data, columns=found, number=len(ends), end=int(ends[-1]) if len(ends) else 0)

    def batch(self, schema: pa.Schema, oids: Sequence[int]) -> pa.RecordBatch:
        """The rows as Arrow."""
        arrays = [_decoded(*column) for column in zip(self.columns, oids, schema, strict=True)]
        if arrays:
            return pa.RecordBatch.from_arrays(arrays, schema=schema)
        return pa.RecordBatch.from_struct_array(pa.array([{}] * self.number, pa.struct([])))


def _at_each_byte(data: bytes, type_: str) -> Numbers:
    """The numbers that begin at each byte. Shape (bytes - width + 1,)."""
    width = np.dtype(type_).itemsize
    return np.ndarray((max(len(data) - width + 1, 0),), type_, data, 0, (1,))


def _is_mark(data: bytes, at: int, columns: int) -> bool:
    return data[at : at + _MARKED] == columns.to_bytes(2, "big") + (4).to_bytes(4, "big") + _MARK_BYTES


def _marks(data: bytes, columns: int) -> Numbers:
    """Where a row may begin."""
    whole, before = np.frombuffer(data, np.uint8), _MARKED - len(_MARK_BYTES)
    parts = [np.zeros(0, np.intp)]
    for at in range(0, len(data) - _MARKED + 1, _SEARCHED):
        end = min(at + _SEARCHED, len(data) - _MARKED + 1)
        first, second = whole[at + before : end + before], whole[at + before + 1 : end + before + 1]
        parts.append(np.flatnonzero((first == _MARK_BYTES[0]) & (second == _MARK_BYTES[1])) + at)
    found = np.concatenate(parts)
    marked: Numbers = _at_each_byte(data, ">i4")[found + before] == _MARK
    chosen: Numbers = found[marked & (_at_each_byte(data, ">i2")[found] == columns)]
    return chosen


def _whole(starts: Numbers, ends: Numbers, size: int) -> Numbers | slice:
    """Which of the rows that may be are rows, and whole: the first, and each that begins where a row ends."""
    if (ends[:-1] == starts[1:]).all():
        return slice(0, int(np.count_nonzero(ends <= size)))
    following = np.searchsorted(starts, ends)
    there = np.append(starts, -1)[following] == ends
    rows, at = [], 0
    while ends[at] <= size:
        rows.append(at)
        if not there[at]:
            break
        at = int(following[at])
    return np.array(rows, np.intp)


# -- types -----------------------------------------------------------------------------------------------------------

_NUMBERS: Final = {
    OID_OF["bigint"]: (">i8", pa.int64()),
    OID_OF["smallint"]: (">i2", pa.int16()),
    OID_OF["integer"]: (">i4", pa.int32()),
    OID_OF["real"]: (">f4", pa.float32()),
    OID_OF["double precision"]: (">f8", pa.float64()),
    OID_OF["time without time zone"]: (">i8", pa.time64("us")),
}
_MOMENTS: Final = {
    OID_OF["timestamp without time zone"]: pa.timestamp("us"),
    OID_OF["timestamp with time zone"]: pa.timestamp("us", "UTC"),
}
_TEXTS: Final = frozenset(OID_OF[name] for name in ("text", "json", "character", "character varying"))
_BOOL, _BYTEA, _DATE = OID_OF["boolean"], OID_OF["bytea"], OID_OF["date"]
_NUMERIC, _UUID, _JSONB = OID_OF["numeric"], OID_OF["uuid"], OID_OF["jsonb"]


def _decoded(values: _Values, oid: int, field: pa.Field) -> pa.Array:
    """A column as Arrow, in the field's type."""
    type_ = field.type
    if pa.types.is_list(type_):
        return _lists(values, field)
    found = _natural(values, oid, field)
    if found.type == type_:
        return found
    if isinstance(type_, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(type_, found.cast(type_.storage_type))
    return found.cast(type_)


def _natural(values: _Values, oid: int, field: pa.Field) -> pa.Array:
    """A column in the Arrow type that has the values of PostgreSQL's type."""
    if oid in _NUMBERS:
        sent, type_ = _NUMBERS[oid]
        return _array(type_, values, values.fixed(sent, field.name))
    if oid in _TEXTS:
        return values.strings(pa.string())
    if oid == _BYTEA:
        return values.strings(pa.binary())
    if oid == _NUMERIC:
        return _numerics(values.strings(pa.binary()), field)
    if oid == _DATE:
        return _array(pa.date32(), values, _days(values.fixed(">i4", field.name)))
    if oid in _MOMENTS:
        return _array(_MOMENTS[oid], values, _moments(values.fixed(">i8", field.name), field))
    if oid == _BOOL:
        return _array(pa.bool_(), values, np.packbits(values.fixed("u1", field.name), bitorder="little"))
    if oid == _UUID:
        return _array(pa.binary(16), values, values.fixed("V16", field.name))
    if oid == _JSONB:
        return _without_version(values).strings(pa.string())
    raise InternalError(f"column {field.name}: the type with the oid {oid} can't be read in binary")


def _array(type_: pa.DataType, values: _Values, numbers: Numbers) -> pa.Array:
    return pa.Array.from_buffers(type_, len(values.starts), [values.validity(), pa.py_buffer(numbers)])


def _numerics(sent: pa.Array, field: pa.Field) -> pa.Array:
    if not pa.types.is_decimal(field.type):
        return sent
    found, nan = decimals_of(sent, field.type)
    if nan.any():
        raise nan_refused(field.name)
    return found


def nan_refused(column: str) -> DataError:
    """The refusal of a numeric that decimals can't hold."""
    return DataError(
        f"column {column} is numeric and holds NaN, which no decimal can",
        hint="Set numeric=text on the connection to carry such columns as text, exactly.",
    )


def _days(days: Numbers) -> Numbers:
    """Days since 1970-01-01. The infinities are the ends of 32 bits; no date is near them."""
    found = days + np.int32(EPOCH_DAYS)
    ends = np.iinfo(np.int32)
    endless = (days == ends.max, days == ends.min)
    if any(some.any() for some in endless):
        found = np.select(endless, (DATE_INFINITY, -DATE_INFINITY), found).astype(np.int32)
    return found


def _moments(moments: Numbers, field: pa.Field) -> Numbers:
    """Microseconds since 1970-01-01. The infinities are the ends of 64 bits."""
    ends = np.iinfo(np.int64)
    later, earlier = moments == ends.max, moments == ends.min
    if ((moments > ends.max - EPOCH_MICROSECONDS) & ~later).any():
        raise DataError(
            f"column {field.name} holds times after the year 294246, which Arrow can't",
            hint="Filter those rows out, or copy the table in full between two PostgreSQL systems without a transform.",
        )
    found = moments + EPOCH_MICROSECONDS
    if later.any() or earlier.any():
        found = np.select((later, earlier), (TIMESTAMP_INFINITY, -TIMESTAMP_INFINITY), found)
    return found


def _without_version(values: _Values) -> _Values:
    """The text of jsonb: after one byte that tells the format's version."""
    there = values.sizes > 0
    versions = np.frombuffer(values.data, np.uint8)[values.starts[there]]
    if (versions != 1).any():
        raise InternalError("jsonb came in another version of its format than 1")
    return _Values(values.data, values.starts + there, values.sizes - there)


def _lists(values: _Values, field: pa.Field) -> pa.Array:
    """One-dimensional arrays: dimensions, flags, the elements' oid; number and lower bound; length and value of each.

    The n-th elements of all arrays are found at once.
    """
    inner = field.type.value_field
    numbers = _at_each_byte(values.data, ">i4")
    some = np.flatnonzero(values.sizes > 12)  # an empty one has no dimension
    starts = values.starts[some]
    if (numbers[starts] != 1).any():
        raise DataError(
            f"column {field.name} holds arrays of more than one dimension, which lists can't",
            hint="Leave the column out, or filter those rows out.",
        )
    counts = np.zeros(len(values.starts), np.int64)
    counts[some] = numbers[starts + 12]
    offsets = np.concatenate([[0], np.cumsum(counts)])
    places, sizes = np.empty(offsets[-1], np.int64), np.empty(offsets[-1], np.int64)
    at, first, left = starts + 20, offsets[some], counts[some]
    turn = 0
    while len(at):
        found = numbers[at].astype(np.int64)
        places[first + turn], sizes[first + turn] = at + 4, found
        turn += 1
        more = left > turn
        at, first, left = (at + 4 + np.maximum(found, 0))[more], first[more], left[more]
    oid = int(numbers[starts[0] + 8]) if len(starts) else 0
    elements = _decoded(_Values(values.data, places, sizes), oid, inner) if len(starts) else pa.array([], inner.type)
    buffers = [values.validity(), pa.py_buffer(offsets.astype(np.int32))]
    return pa.Array.from_buffers(field.type, len(values.starts), buffers, children=[elements])
