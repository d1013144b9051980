"""Bodies of JSON as Arrow rows in a stream's types, exactly: at once where every value fits, else row by row.

Arrow's own reader does the work where it is exact. It is not trusted with numbers in text columns, time zones, nested
values, names that come twice, nor with a body that may not be JSON: those are seen beforehand or make it fail, and
then `drifted` reads the page. No number passes through a float unless its column is one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pa_json

from suiro.model.rejected import RejectedRow
from suiro.toolkit.http import drifted
from suiro.toolkit.http.layout import Layout, layout

_BLANK: Final = pa.scalar("")
_ISO: Final = r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?"
_ZONE: Final = r"(?:Z|[+-]\d\d:?\d\d)$"
_RFC: Final = "%a, %d %b %Y %H:%M:%S +0000"
_RFC_FORM: Final = r"^[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d \+0000$"


class Times(StrEnum):
    """How a service usually writes moments; the other way is understood too."""

    ISO = "iso"  #: 2026-01-01T00:00:00+00:00
    RFC = "rfc"  #: Thu, 01 Jan 2026 00:00:00 +0000
    EPOCH = "epoch"  #: seconds since 1970; 0 is none


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One body, read: the rows in the schema of the time, those that couldn't be read, and what stood beside them."""

    batch: pa.RecordBatch
    rejected: tuple[RejectedRow, ...] = ()
    rest: Any = None  #: the body without its records

    @property
    def rows(self) -> int:
        """How many records the page held."""
        return int(self.batch.num_rows) + len(self.rejected)


class JsonRecords:
    """Reads the pages of one stream, in order.

    `schema` is what rows have by now: where a value needs a wider number than declared, or (in an open stream) a member
    comes that isn't known, it changes with the page. A member that is missing is NULL. Text columns take any value, as
    JSON writes it. Types: truth values, integers, float32 and float64, decimals, text, JSON, dates, timestamps.
    """

    def __init__(
        self,
        schema: pa.Schema,
        *,
        place: tuple[str, ...] = (),
        times: Times = Times.ISO,
        blank_is_null: bool = False,
        open_: bool = False,
    ) -> None:
        """`place`: the names of the members that lead to the records; `blank_is_null`: "" where no text belongs."""
        self.schema, self._place, self._times = schema, place, times
        self._blank_is_null, self._open = blank_is_null, open_

    def page(self, body: bytes, given: Mapping[str, Any] | None = None) -> Page:
        """The rows of a body. TransientError where it is no JSON, DataError where its records aren't where they should.

        `given`: columns that are the same in all of its rows.
        """
        given = given or {}
        body = body.removeprefix(b"\xef\xbb\xbf")
        page = self._at_once(body, given) if _is_utf8(body) else None
        if page is None:
            reader = drifted.Drifted(
                self.schema, self._place, given, self._blank_is_null, open_=self._open, epoch=self._times is Times.EPOCH
            )
            batch, rejected, rest = reader.read(body)
            self.schema, page = batch.schema, Page(batch=batch, rejected=rejected, rest=rest)
        return page

    def _at_once(self, body: bytes, given: Mapping[str, Any]) -> Page | None:
        """By Arrow's reader; None where a value stands in its way."""
        found = layout(body, self._place) if body else None
        if found is None:
            return None
        wanted = pa.schema([field for field in self.schema if field.name not in given])
        number = len(found.starts)
        if not number:
            return Page(batch=self._together({}, given, 0), rest=found.rest)
        columns = self._columns(found, wanted, given)
        if columns is None or any(len(column) != number for column in columns.values()):
            return None
        return Page(batch=self._together(columns, given, number), rest=found.rest)

    def _columns(self, found: Layout, wanted: pa.Schema, given: Mapping[str, Any]) -> dict[str, pa.Array] | None:
        documents = frozenset(field.name for field in wanted if field.type == pa.json_())
        taken = found.taken_out(documents) if documents else (bytes(found.lines()), {})
        if taken is None or not _are_json([text for texts in taken[1].values() for _, text in texts]):
            return None
        try:
            unknown = "ignore" if not self._open else "infer" if given else "error"
            table = _read(taken[0], [pa.field(f.name, self._as_read(f.type)) for f in wanted], unknown=unknown)
            if self._open and not set(table.column_names) <= {*wanted.names, *given}:
                return None
            return {
                field.name: self._column(_one(table.column(field.name)), field, taken[1].get(field.name, ()))
                for field in wanted
            }
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, KeyError):
            return None

    def _column(self, read: pa.Array, field: pa.Field, nested: Sequence[tuple[int, bytes]]) -> pa.Array:
        """A column as it was read, in its type; ArrowInvalid where that isn't certain."""
        if field.type == pa.json_():
            return _documents(read, nested)
        if not pa.types.is_temporal(field.type):
            return read
        if pa.types.is_integer(read.type):
            return pc.if_else(pc.equal(read, 0), None, read).cast(pa.timestamp("s", "UTC")).cast(field.type)
        if self._blank_is_null:
            read = pc.if_else(pc.equal(read, _BLANK), pa.scalar(None, pa.string()), read)
        if pa.types.is_date(field.type):
            return read.cast(field.type)
        if self._times is Times.RFC and field.type.tz is not None:
            _must_match(read, _RFC_FORM)
            return pc.strptime(read, format=_RFC, unit="us").cast(field.type)
        _must_match(read, _ISO + (_ZONE if field.type.tz is not None else "$"))
        return read.cast(field.type)

    def _as_read(self, type_: pa.DataType) -> pa.DataType:
        """What Arrow's reader is asked for."""
        if self._times is Times.EPOCH and pa.types.is_timestamp(type_) and type_.tz is not None:
            return pa.int64()
        return pa.string() if type_ == pa.json_() or pa.types.is_temporal(type_) else type_

    def _together(self, columns: Mapping[str, pa.Array], given: Mapping[str, Any], number: int) -> pa.RecordBatch:
        arrays = []
        for field in self.schema:
            if field.name in given:
                arrays.append(pa.repeat(pa.scalar(given[field.name], field.type), number))
            else:
                arrays.append(columns[field.name] if columns else pa.nulls(0, field.type))
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)


def nothing(schema: pa.Schema) -> pa.RecordBatch:
    """No rows."""
    return pa.RecordBatch.from_arrays([pa.nulls(0, field.type) for field in schema], schema=schema)


def _read(lines: bytes, fields: list[pa.Field], *, unknown: str) -> pa.Table:
    """`unknown`: what becomes of members that are no fields."""
    options = pa_json.ParseOptions(explicit_schema=pa.schema(fields), unexpected_field_behavior=unknown)
    reading = pa_json.ReadOptions(use_threads=False, block_size=len(lines) + 64)
    return pa_json.read_json(pa.BufferReader(lines), read_options=reading, parse_options=options)


def _documents(read: pa.Array, nested: Sequence[tuple[int, bytes]]) -> pa.Array:
    """JSON values: those taken out, in their rows. Others than null are left to be written by who knows how."""
    if read.null_count != len(read):
        raise pa.ArrowInvalid("a text where JSON was")
    texts: list[bytes | None] = [None] * len(read)
    for row, text in nested:
        texts[row] = text
    return pa.ExtensionArray.from_storage(pa.json_(), pa.array(texts, pa.binary()).cast(pa.string()))


def _are_json(texts: Sequence[bytes]) -> bool:
    """Whether each is JSON by itself; they stand in brackets and braces that match."""
    if not texts:
        return True
    lines = b'{"a":' + b'}\n{"a":'.join(texts) + b"}"
    try:
        return bool(_read(lines, [pa.field("b", pa.null())], unknown="ignore").num_rows == len(texts))
    except pa.ArrowInvalid:
        return False


def _must_match(texts: pa.Array, pattern: str) -> None:
    if pc.all(pc.match_substring_regex(texts, pattern)).as_py() is False:
        raise pa.ArrowInvalid("another form of time")


def _is_utf8(body: bytes) -> bool:
    if body.isascii():
        return True
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def _one(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
