"""JSON Lines files as Arrow rows: one object a line, its members are the columns.

Numbers keep their digits: they become integers or decimals, and floats only where exponents say so. Text that is an
ISO date or timestamp in every line becomes one. Objects, arrays and members of mixed kinds travel as JSON documents.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.json as pa_json

from suiro.model.errors import ConfigError, DataError
from suiro.model.rejected import UNREADABLE, RejectedRow
from suiro.model.types import is_text
from suiro.toolkit.files import jsonl_guess, texts
from suiro.toolkit.files.content import Part, reading
from suiro.toolkit.files.guess import Guess, Kind
from suiro.toolkit.files.jsontext import DECODER, Number, document, documents_of
from suiro.toolkit.files.settings import FileSettings
from suiro.toolkit.files.sniff import codec

_BLOCK = 4 << 20
_LINES = 10_000
_AS_TEXT = (Kind.DATE, Kind.TIME, Kind.TIMESTAMP, Kind.TIMESTAMPTZ)


@dataclass(slots=True)
class _Seen:
    """Values of one member in some lines, by their JSON kinds."""

    numbers: list[str] = field(default_factory=list)
    strings: list[str] = field(default_factory=list)
    booleans: bool = False
    documents: bool = False


def profile(part: Part, settings: FileSettings) -> dict[str, Guess]:
    """Read the file once and tell what its members hold, in order of appearance."""
    columns: dict[str, Guess] = {}
    for number, block in blocks(part, settings):
        if columns and settings.types == "guess" and jsonl_guess.confirmed(block, columns, settings):
            continue
        lines = block.decode().split("\n")
        for at in range(0, len(lines), _LINES):
            seen: dict[str, _Seen] = {}
            for row in parsed(lines[at : at + _LINES], number + at, part.label):
                _look(row, seen)
            for name, values in seen.items():
                known = columns.setdefault(name, Guess(mixed=Kind.JSON))
                if settings.types == "guess":
                    _learn(known, values, settings)
                else:
                    known.add(Guess(kind=Kind.TEXT))
    return columns


def _look(row: dict[str, Any], seen: dict[str, _Seen]) -> None:
    for name, value in row.items():
        values = seen.get(name)
        if values is None:
            values = seen[name] = _Seen()
        if isinstance(value, Number):
            values.numbers.append(value)
        elif isinstance(value, str):
            values.strings.append(value)
        elif isinstance(value, bool):
            values.booleans = True
        elif value is not None:
            values.documents = True


def _learn(known: Guess, values: _Seen, settings: FileSettings) -> None:
    plain = FileSettings()
    if values.numbers:
        found = texts.guess(pa.array(values.numbers, pa.string()), known.kind, plain)
        if found.kind not in (Kind.INTEGER, Kind.DECIMAL, Kind.FLOAT):
            found = Guess(kind=Kind.JSON)
        known.add(found)
    if values.strings:
        known.add(_strings(values.strings, known.kind, settings))
    if values.booleans:
        known.add(Guess(kind=Kind.BOOLEAN))
    if values.documents:
        known.add(Guess(kind=Kind.JSON))


def _strings(values: list[str], known: Kind, settings: FileSettings) -> Guess:
    if known not in (Kind.NULL, *_AS_TEXT) or "" in values:
        return Guess(kind=Kind.TEXT)
    found = texts.guess(pa.array(values, pa.string()), known, settings)
    return found if found.kind in _AS_TEXT else Guess(kind=Kind.TEXT)


def batches(
    part: Part,
    columns: Sequence[str],
    schema: pa.Schema,
    settings: FileSettings,
    rejects: list[RejectedRow] | None = None,
) -> Iterator[pa.RecordBatch]:
    """The file's rows in the types of `schema`; members that a line lacks are NULL.

    Lines that are no objects go to `rejects`; without it the first is a DataError.
    """
    wanted = pa.schema([schema.field(name).remove_metadata() for name in columns])
    for number, block in blocks(part, settings):
        batch = _at_once(block, wanted, settings) if _is_flat(wanted) else None
        if batch is not None:
            yield batch
            continue
        lines = block.decode().split("\n")
        raw = {f.name for f in wanted if f.type == pa.json_()}
        for at in range(0, len(lines), _LINES):
            some = lines[at : at + _LINES]
            if rejects is not None:
                some = list(_objects(some, number + at, part.label, rejects))
            rows = list(parsed(some, number + at, part.label))
            if raw:
                rows = [_with_documents(row, line, raw) for row, line in zip(rows, _written(some), strict=True)]
            if rows:
                yield _from_rows(rows, wanted, settings, part.label)


def _objects(lines: Sequence[str], first: int, label: str, rejects: list[RejectedRow]) -> Iterator[str]:
    """The lines, blank in place of those that are no objects."""
    for number, line in enumerate(lines, first):
        try:
            for _ in parsed([line], number, label):
                pass
        except DataError as error:
            rejects.append(RejectedRow(reason=error.message, row=json.dumps({UNREADABLE: line}, ensure_ascii=False)))
            yield ""
        else:
            yield line


def _with_documents(row: dict[str, Any], line: str, names: Collection[str]) -> dict[str, Any]:
    """The row with these members as the line writes them."""
    there = any(row.get(name) is not None for name in names)
    return {**row, **documents_of(line, names)} if there else row


def _written(lines: Sequence[str]) -> list[str]:
    return [line for line in lines if line and not line.isspace()]


def _is_flat(schema: pa.Schema) -> bool:
    return len(schema) > 0 and not any(f.type == pa.json_() for f in schema)


def _at_once(block: bytes, wanted: pa.Schema, settings: FileSettings) -> pa.RecordBatch | None:
    """The whole block by Arrow's own reader; None where a value stands in its way."""
    as_read = pa.schema([pa.field(f.name, pa.string() if pa.types.is_temporal(f.type) else f.type) for f in wanted])
    options = pa_json.ParseOptions(explicit_schema=as_read, unexpected_field_behavior="ignore")
    reading_ = pa_json.ReadOptions(use_threads=False, block_size=len(block) + 1)
    try:
        table = pa_json.read_json(pa.BufferReader(block), read_options=reading_, parse_options=options)
        arrays = [
            texts.convert(_one(table.column(f.name)), f.type, settings)
            if pa.types.is_temporal(f.type)
            else _one(table.column(f.name))
            for f in wanted
        ]
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None
    return pa.RecordBatch.from_arrays(arrays, schema=wanted)


def _one(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _from_rows(rows: list[dict[str, Any]], wanted: pa.Schema, settings: FileSettings, label: str) -> pa.RecordBatch:
    arrays = []
    for f in wanted:
        try:
            arrays.append(_column([row.get(f.name) for row in rows], f.type, settings))
        except (pa.ArrowInvalid, ValueError, TypeError, ArithmeticError) as error:
            raise DataError(
                f"{label}: a value of {f.name} is no {f.type}", hint="Did the file change while it was read?"
            ) from error
    if not arrays:
        return pa.table({"_": pa.nulls(len(rows))}).to_batches()[0].select([])
    return pa.RecordBatch.from_arrays(arrays, schema=wanted)


def _column(values: list[Any], type_: pa.DataType, settings: FileSettings) -> pa.Array:
    if type_ == pa.json_():
        documents = [None if v is None else document(v) for v in values]
        return pa.ExtensionArray.from_storage(type_, pa.array(documents, pa.string()))
    if is_text(type_):
        return pa.array([v if v is None or type(v) is str else document(v) for v in values], type_)
    if pa.types.is_temporal(type_):
        return texts.convert(pa.array(values, pa.string()), type_, settings)
    if pa.types.is_decimal(type_):
        return pa.array([None if v is None else Decimal(v) for v in values], type_)
    if pa.types.is_integer(type_):
        return pa.array([None if v is None else int(v) for v in values], type_)
    if pa.types.is_floating(type_):
        return pa.array([None if v is None else float(v) for v in values], type_)
    return pa.array(values, type_)


def parsed(lines: Sequence[str], first: int, label: str) -> Iterator[dict[str, Any]]:
    """The objects of lines that aren't blank; DataError names the line that is broken or no object."""
    for number, line in enumerate(lines, first):
        if not line or line.isspace():
            continue
        try:
            row = DECODER.decode(line)
        except ValueError as error:
            raise DataError(f"{label}, line {number}: not JSON", hint="Write one object a line.") from error
        if not isinstance(row, dict):
            raise DataError(f"{label}, line {number}: not a JSON object", hint="Write one object a line.")
        yield row


def blocks(part: Part, settings: FileSettings) -> Iterator[tuple[int, bytes]]:
    """Whole lines in UTF-8, some megabytes at a time, with the number of the first."""
    name = "utf-8" if settings.encoding == "guess" else codec(settings.encoding)
    with reading(part) as stream:
        decoder = codecs.getincrementaldecoder("utf-8-sig" if name == "utf-8" else name)(settings.encoding_errors)
        number, kept, skipped = 1, b"", 0
        while True:
            block = stream.read(_BLOCK)
            try:
                text = decoder.decode(block, final=not block).encode(errors="surrogatepass")
            except UnicodeDecodeError as error:
                line = number + kept.count(b"\n") + error.object[: error.start].count(b"\n")
                raise DataError(
                    f"{part.label}, line {line}: a byte that {name} doesn't have", hint="Set the encoding."
                ) from error
            if number == 1 and not kept and not settings.skip_rows and text.lstrip().startswith(b"["):
                raise ConfigError(f"{part.label} is one JSON array", hint="Write one object a line (JSON Lines).")
            whole, mark, rest = (kept + text).rpartition(b"\n")
            if not block:
                whole, rest = kept + text, b""
            while skipped < settings.skip_rows and whole:
                _, _, whole = whole.partition(b"\n")
                skipped, number = skipped + 1, number + 1
            if whole:
                yield number, whole
                number += whole.count(b"\n") + len(mark)
            kept = rest
            if not block:
                return
