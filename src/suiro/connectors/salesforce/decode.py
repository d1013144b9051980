"""Salesforce's CSV as Arrow rows: exact values in the stream's types, an empty text as NULL.

Rows of REST answers take the same way: they are written as such CSV first.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from suiro.model.errors import DataError
from suiro.toolkit.sql.unreadable import Unreadable

BLOCK: Final = 2 << 20  #: bytes of CSV that are decoded at once, or one row if that has more
_LARGEST: Final = 1 << 30
_INTEGER: Final = pa.decimal128(20, 0)  #: as which whole numbers are read: bulk jobs write 7 as 7.0
_MOST_DIGITS: Final = 38
_QUOTE, _LINE = ord('"'), ord("\n")
_SHOWN: Final = 60  #: characters of a value that isn't one, as rejected rows keep it


class Cutter:
    """CSV cut into its header and blocks of whole rows, whatever the pieces it comes in."""

    def __init__(self, block: int = BLOCK) -> None:
        self._block, self._held, self._searched = block, bytearray(), 0
        self.header: list[str] | None = None  #: the columns' names, once they came

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """The blocks that are whole with this piece."""
        self._held += piece
        if len(self._held) >= self._block:
            yield from self._cut()

    def end(self) -> Iterator[bytes]:
        """The last block."""
        if self._held and self._held[-1] != _LINE:
            self._held += b"\n"
        yield from self._cut()
        if self._held:
            raise DataError(
                "a quote isn't closed in Salesforce's CSV", hint="Run again; if it stays, leave fields out."
            )

    def _cut(self) -> Iterator[bytes]:
        end = self._last_row_end()
        if not end:
            return
        block = bytes(memoryview(self._held)[:end])
        del self._held[:end]
        if self.header is None:
            first = _row_end(block)
            self.header = next(csv.reader(io.StringIO(block[:first].decode("utf-8-sig"), newline="")))
            block = block[first:]
        if block:
            yield block

    def _last_row_end(self) -> int:
        """Where the last whole row ends: a line's end outside of quotes; 0 where there is none."""
        end = len(self._held)
        inside = self._held.count(_QUOTE) % 2 == 1
        while (at := self._held.rfind(b"\n", 0, end)) >= 0:
            inside ^= self._held.count(_QUOTE, at, end) % 2 == 1
            if not inside:
                return at + 1
            end = at
        return 0


def _row_end(block: bytes) -> int:
    at, quotes = 0, 0
    while True:
        end = block.index(b"\n", at) + 1
        quotes += block.count(b'"', at, end)
        if quotes % 2 == 0:
            return end
        at = end


class Decoder:
    """Blocks of CSV rows to batches of one schema; `unreadable` takes values that aren't of their column's type."""

    def __init__(self, schema: pa.Schema, unreadable: Unreadable | None = None) -> None:
        self._schema, self._unreadable = schema, unreadable
        self._by_name = {field.name.lower(): field for field in schema}

    def batches(self, names: Sequence[str], rows: bytes) -> Iterator[pa.RecordBatch]:
        """The rows of one block, whose columns have these names; rows with unreadable values in batches of their own.

        DataError names a column with such a value, where nobody takes it, and where a column is missing.
        """
        fields = self._fields(names)
        try:
            read = _parsed(names, rows, {name: _travels(field) for name, field in fields.items()})
            columns = [_whole(read.column(at), field) for at, field in enumerate(self._schema)]
        except pa.ArrowInvalid:
            columns = self._doubtful(names, rows, fields)
        for batch in pa.table(columns, schema=self._schema).to_batches():
            yield from (batch,) if self._unreadable is None else self._unreadable.sifted(batch)

    def _fields(self, names: Sequence[str]) -> dict[str, pa.Field]:
        """The schema's fields by the names of the CSV, in the schema's order."""
        spelled = {name.lower(): name for name in names}
        missing = [field.name for field in self._schema if field.name.lower() not in spelled]
        if missing:
            raise DataError(
                f"Salesforce's answer lacks the column {missing[0]}", hint="List the streams again, and run again."
            )
        return {spelled[lower]: field for lower, field in self._by_name.items()}

    def _doubtful(self, names: Sequence[str], rows: bytes, fields: Mapping[str, pa.Field]) -> list[pa.ChunkedArray]:
        """The columns, one by one, of a block in which something isn't what its type says."""
        try:
            texts = _parsed(names, rows, dict.fromkeys(fields, pa.string()))
        except pa.ArrowInvalid as error:
            raise DataError(
                "Salesforce's answer can't be read as CSV", hint="Run again; if it stays, leave fields out."
            ) from error
        columns = []
        for name, field in fields.items():
            text = texts.column(name).combine_chunks()
            bad = set(_wrong(text, field, 0))
            for row in sorted(bad):
                self._note(row, field, text[row].as_py())
            if bad:
                good = pa.array([at not in bad for at in range(len(text))])
                text = pc.if_else(good, text, pa.scalar(None, pa.string()))
            columns.append(_typed(text, field))
        return columns

    def _note(self, row: int, field: pa.Field, text: str) -> None:
        reason = f"column {field.name}: a value that is no {_called(field.type)}"
        if self._unreadable is None:
            raise DataError(
                reason,
                hint="Let such rows be rejected, or leave the column out; its definition in Salesforce may be narrower "
                "than the values that it holds.",
                column=field.name,
            )
        self._unreadable.note(row, field.name, text=text[:_SHOWN], reason=reason)


def as_csv(records: Iterable[Mapping[str, Any]], names: Sequence[str]) -> bytes:
    """Records of a REST answer as rows of CSV, without a header; `names` may be dotted.

    Numbers must have been read as text (see `read_json`).
    """
    paths = [name.split(".") for name in names]
    return rows_as_csv([_follow(record, path) for path in paths] for record in records)


def rows_as_csv(rows: Iterable[Iterable[Any]]) -> bytes:
    """The same for values in their order."""
    out = io.StringIO(newline="")
    write = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n").writerow
    for row in rows:
        write([_cell(value) for value in row])
    return out.getvalue().encode()


class Digits(str):
    """A number of JSON, as it was written."""

    __slots__ = ()


def read_json(content: bytes) -> Any:
    """JSON whose numbers stay text."""
    return json.loads(content, parse_float=Digits, parse_int=Digits)


def _follow(record: Any, path: Sequence[str]) -> Any:
    for name in path:
        record = record.get(name) if isinstance(record, Mapping) else None
    return record


def _cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case str():
            return value
        case True:
            return "true"
        case False:
            return "false"
    return _json(value)


def _json(value: Any) -> str:
    """JSON as it was read; numbers keep their digits."""
    match value:
        case Digits():
            return str(value)
        case Mapping():
            return "{" + ", ".join(f"{json.dumps(k, ensure_ascii=False)}: {_json(v)}" for k, v in value.items()) + "}"
        case list():
            return "[" + ", ".join(_json(one) for one in value) + "]"
    return json.dumps(value, ensure_ascii=False)


def _parsed(names: Sequence[str], rows: bytes, types: Mapping[str, pa.DataType]) -> pa.Table:
    return pa_csv.read_csv(
        pa.BufferReader(rows),
        read_options=pa_csv.ReadOptions(use_threads=False, block_size=_LARGEST, column_names=list(names)),
        parse_options=pa_csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
        convert_options=pa_csv.ConvertOptions(
            column_types=types,
            include_columns=list(types),
            null_values=[""],
            true_values=["true", "TRUE", "1"],
            false_values=["false", "FALSE", "0"],
            strings_can_be_null=True,
            quoted_strings_can_be_null=True,
        ),
    )


def _travels(field: pa.Field) -> pa.DataType:
    """The type that CSV is read as: what needs another look afterwards is text."""
    if pa.types.is_integer(field.type):
        return _INTEGER
    if pa.types.is_decimal128(field.type):  # 100.0 has four digits, and fits three
        return pa.decimal128(_MOST_DIGITS, field.type.scale)
    plain = not isinstance(field.type, pa.BaseExtensionType) and not pa.types.is_time(field.type)
    return field.type if plain and not pa.types.is_binary(field.type) else pa.string()


def _whole(column: pa.ChunkedArray, field: pa.Field) -> pa.ChunkedArray:
    """A column as it was read, in its field's type."""
    if isinstance(field.type, pa.BaseExtensionType):
        chunks = [pa.ExtensionArray.from_storage(field.type, chunk) for chunk in column.chunks]
        return pa.chunked_array(chunks, field.type)
    if pa.types.is_time(field.type):
        days = pc.binary_join_element_wise("1970-01-01", pc.utf8_rtrim(column, "Z"), " ")
        return days.cast(pa.timestamp("us")).cast(field.type)
    return column.cast(field.type)


def _typed(text: pa.Array, field: pa.Field) -> pa.ChunkedArray:
    """Texts in a field's type, by the same reader. ArrowInvalid where one isn't of it."""
    travels = _travels(field)
    if pa.types.is_string(travels):
        return _whole(pa.chunked_array([text]), field)
    rows = rows_as_csv([value] for value in text.to_pylist())
    return _whole(_parsed(["v"], rows, {"v": travels}).column("v"), field)


def _wrong(text: pa.Array, field: pa.Field, first: int) -> Iterator[int]:
    """The places of values that aren't of the field's type, found by halves."""
    try:
        _typed(text, field)
        return
    except pa.ArrowInvalid:
        if len(text) == 1:
            yield first
            return
    half = len(text) // 2
    yield from _wrong(text.slice(0, half), field, first)
    yield from _wrong(text.slice(half), field, first + half)


def _called(type_: pa.DataType) -> str:
    if pa.types.is_decimal(type_):
        return f"number of {type_.precision} digits, {type_.scale} of them behind the point"
    return {"date32[day]": "date", "bool": "boolean", "int32": "whole number of 32 bits"}.get(str(type_), str(type_))
