"""Rows of the text files that Suiro wrote, in exactly the types that they were written with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.json as pa_json

from suiro.model.errors import DataError
from suiro.model.types import is_text
from suiro.toolkit.files import csv, documents, forms, jsonl, jsontext, scalars
from suiro.toolkit.files.content import Part
from suiro.toolkit.files.csv import Straddles
from suiro.toolkit.files.settings import FileSettings
from suiro.toolkit.files.sniff import Dialect


def csv_rows(part: Part, schema: pa.Schema, columns: Sequence[str], delimiter: str) -> Iterator[pa.RecordBatch]:
    """The rows of a CSV file written by `writers.CsvWriter` with `schema`, those of `columns`."""
    settings = FileSettings(header="yes", encoding="utf-8")
    dialect = Dialect(encoding="utf-8", delimiter=delimiter, header=True, names=tuple(schema.names))
    wanted = pa.schema([schema.field(name) for name in columns])
    native = {f.name: f.type for f in wanted if _parses(f.type)}
    block, done = 1 << 20, 0
    while True:
        at = 0
        try:
            for batch in csv.rows_as_text(part, dialect, settings, block, native, list(columns)):
                at += batch.num_rows
                if at > done:
                    new = batch.slice(max(0, batch.num_rows - (at - done)))
                    done = at
                    yield _typed(new, wanted, part)
            return
        except Straddles:
            block *= 8


def _parses(type_: pa.DataType) -> bool:
    """Whether Arrow's CSV reader gives these values as `forms.from_text` does."""
    exact = pa.types.is_decimal(type_) and type_.bit_width == 128
    return bool(exact or pa.types.is_integer(type_) or pa.types.is_boolean(type_) or type_ == pa.float64())


def _typed(batch: pa.RecordBatch, wanted: pa.Schema, part: Part) -> pa.RecordBatch:
    arrays = []
    for field in wanted:
        column = batch.column(field.name)
        arrays.append(column if column.type == field.type else _value(column, field, part))
    return pa.RecordBatch.from_arrays(arrays, schema=wanted) if arrays else batch.select([])


def _value(column: pa.Array, field: pa.Field, part: Part) -> pa.Array:
    try:
        return forms.from_text(column, field)
    except (pa.ArrowInvalid, ValueError) as error:
        raise _foreign(part, field) from error


def _foreign(part: Part, field: pa.Field) -> DataError:
    return DataError(
        f"{part.label}: column {field.name} holds something else than {field.type}",
        hint="Did another program write into the file? Remove it to load the table anew.",
    )


def jsonl_rows(part: Part, schema: pa.Schema, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The rows of a JSON Lines file written by `writers.JsonlWriter` with `schema`, those of `columns`."""
    wanted = pa.schema([schema.field(name) for name in columns])
    for number, block in jsonl.blocks(part, FileSettings(encoding="utf-8")):
        batch = _at_once(block, wanted)
        if batch is None:
            lines = block.decode().split("\n")
            batch = _from_rows(list(jsonl.parsed(lines, number, part.label)), lines, wanted, part)
        yield batch


def _at_once(block: bytes, wanted: pa.Schema) -> pa.RecordBatch | None:
    if not len(wanted) or any(f.type == pa.json_() or scalars.is_nested(f.type) for f in wanted):
        return None
    as_read = pa.schema([pa.field(f.name, f.type if _is_plain(f.type) else pa.string()) for f in wanted])
    options = pa_json.ParseOptions(explicit_schema=as_read, unexpected_field_behavior="ignore")
    try:
        table = pa_json.read_json(
            pa.BufferReader(block),
            read_options=pa_json.ReadOptions(use_threads=False, block_size=len(block) + 1),
            parse_options=options,
        )
        columns = [table.column(f.name).combine_chunks() for f in wanted]
        arrays = [c if c.type == f.type else forms.from_text(c, f) for c, f in zip(columns, wanted, strict=True)]
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError):
        return None
    return pa.RecordBatch.from_arrays(arrays, schema=wanted)


def _is_plain(type_: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(type_)
        or pa.types.is_decimal(type_)
        or pa.types.is_boolean(type_)
        or type_ in (pa.float64(), pa.float32())
        or (is_text(type_) and type_ == pa.string())
    )


def _from_rows(rows: list[dict[str, Any]], lines: list[str], wanted: pa.Schema, part: Part) -> pa.RecordBatch:
    raw = {field.name for field in wanted if field.type == pa.json_()}
    if raw:
        written = (line for line in lines if line and not line.isspace())
        rows = [{**row, **_documents(line, raw)} for row, line in zip(rows, written, strict=True)]
    arrays = []
    for field in wanted:
        try:
            arrays.append(documents.revive([row.get(field.name) for row in rows], field))
        except (pa.ArrowInvalid, ValueError, TypeError, ArithmeticError) as error:
            raise _foreign(part, field) from error
    if not arrays:
        return pa.table({"_": pa.nulls(len(rows))}).to_batches()[0].select([])
    return pa.RecordBatch.from_arrays(arrays, schema=wanted)


def _documents(line: str, names: set[str]) -> dict[str, jsontext.Document]:
    """JSON columns as written: NULL was left out, so null is a document."""
    found = jsontext.documents_of(line, names)
    return {name: jsontext.Document("null") if text is None else text for name, text in found.items()}
