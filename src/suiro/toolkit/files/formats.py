"""The formats of files behind one face: what a document holds, and its rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from suiro.model.errors import ConfigError, SchemaConflict
from suiro.model.rejected import RejectedRow
from suiro.model.types import common_type, logical_type
from suiro.toolkit.files import csv, declared, excel, jsonl, parquet
from suiro.toolkit.files.content import Part
from suiro.toolkit.files.csv import CsvProfile
from suiro.toolkit.files.excel import ExcelProfile
from suiro.toolkit.files.guess import Guess, Kind
from suiro.toolkit.files.settings import FileSettings

Found = CsvProfile | ExcelProfile | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What one document holds: fields as stored, or guesses, by name in the document's order."""

    part: Part
    columns: dict[str, Guess | pa.Field]
    found: Found = None


def profile(part: Part, settings: FileSettings, workdir: Path) -> Profile:
    """Look into a document; text formats are read whole, so that the types hold all values."""
    if settings.columns:
        return _declared(part, settings)
    match part.format:
        case "csv":
            found = csv.profile(part, settings)
            return Profile(part=part, columns=dict(found.columns), found=found)
        case "jsonl":
            return Profile(part=part, columns=dict(jsonl.profile(part, settings)))
        case "parquet":
            return Profile(part=part, columns={field.name: field for field in parquet.profile(part, workdir)})
        case "excel":
            sheet = excel.profile(part, settings, workdir)
            return Profile(part=part, columns=dict(sheet.columns), found=sheet)
    raise ConfigError(f"{part.label} is of an unknown format {part.format}", hint="Set the format.")


def _declared(part: Part, settings: FileSettings) -> Profile:
    """A document whose columns are declared: nothing but the dialect is looked for."""
    if part.format not in ("csv", "jsonl"):
        raise ConfigError(
            f"{part.label} is {part.format}, which has columns of its own",
            hint="Declare columns of CSV and JSON Lines.",
        )
    columns = {field.name: field for field in declared.schema_of(settings)}
    found = csv.profile(part, settings) if part.format == "csv" else None
    return Profile(part=part, columns=dict(columns), found=found)


def batches(
    known: Profile,
    columns: Sequence[str],
    schema: pa.Schema,
    settings: FileSettings,
    workdir: Path,
    rejects: list[RejectedRow] | None = None,
) -> Iterator[pa.RecordBatch]:
    """The document's rows with exactly `columns`, in the types of `schema`; those that it lacks are NULL.

    What can't be read as a row goes to `rejects`, where the format lets one go on; without it the first is a DataError.
    """
    part = known.part
    there = [name for name in columns if name in known.columns]
    wanted = pa.schema([schema.field(name) for name in columns])
    if settings.columns and there:
        schema = declared.as_text(settings, documents=part.format == "jsonl")
    match part.format, known.found:
        case "csv", CsvProfile() as found:
            rows = csv.batches(part, found, there, schema, settings, rejects)
        case "excel", ExcelProfile() as sheet:
            rows = excel.batches(part, sheet, there, schema, settings, workdir)
        case "parquet", _:
            rows = parquet.batches(part, there, workdir)
        case _:
            rows = jsonl.batches(part, there, schema, settings, rejects if settings.columns else None)
    if settings.columns and there:
        rows = declared.typed(rows, settings, part.label, rejects)
    for batch in rows:
        yield fitted(batch, wanted)


def fitted(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The batch with exactly these columns: missing ones NULL, narrower types widened."""
    if not len(schema):
        return batch.select([])
    names = set(batch.schema.names)
    arrays = [
        widened(batch.column(f.name), f.type) if f.name in names else pa.nulls(batch.num_rows, f.type) for f in schema
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def widened(array: pa.Array, type_: pa.DataType) -> pa.Array:
    """The values in a type that holds them all (see model/types.common_type)."""
    if array.type == type_:
        return array
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if isinstance(type_, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(type_, array.cast(type_.storage_type))
    return array.cast(type_)


def union(profiles: Sequence[Profile], name: str) -> pa.Schema:
    """One schema for all documents of a stream; SchemaConflict names two that have nothing in common."""
    guesses: dict[str, Guess] = {}
    fields: dict[str, tuple[pa.Field, str]] = {}
    order: dict[str, None] = {}
    for known in profiles:
        for column, held in known.columns.items():
            order[column] = None
            if isinstance(held, Guess):
                guesses.setdefault(column, Guess(mixed=held.mixed)).add(held)
            elif column in fields:
                fields[column] = (_joined(fields[column], held, known, name), known.part.label)
            else:
                fields[column] = (held, known.part.label)
    return pa.schema([_field(column, guesses.get(column), fields.get(column), name) for column in order])


def _joined(there: tuple[pa.Field, str], held: pa.Field, known: Profile, name: str) -> pa.Field:
    field, label = there
    type_ = common_type(field.type, held.type)
    if type_ is None:
        raise SchemaConflict(
            f"{name}: column {held.name} is {field.type} in {label} and {held.type} in {known.part.label}",
            hint="Read these files as two streams, or write one of them anew.",
        )
    if type_ == field.type and logical_type(field) == logical_type(held):
        return field
    return pa.field(field.name, type_)


def _field(column: str, guess: Guess | None, there: tuple[pa.Field, str] | None, name: str) -> pa.Field:
    if there is None:
        return pa.field(column, (guess or Guess()).type())
    field, label = there
    if guess is None or guess.kind is Kind.NULL:
        return field
    type_ = common_type(field.type, guess.type())
    if type_ is None:
        raise SchemaConflict(
            f"{name}: column {column} is {field.type} in {label} and {guess.type()} in files of text",
            hint="Read these files as two streams.",
        )
    return pa.field(column, type_)
