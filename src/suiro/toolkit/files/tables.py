"""Tables as files in a folder: where they are, what they hold, and their rows.

A table is one file, `<table><extension>` (replace, merge), or a folder `<table>/` of files, one for each load
(append). What Suiro remembers about them is in `.suiro/` beside them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from suiro.model.errors import ConfigError, SchemaConflict
from suiro.model.schema import Table
from suiro.model.types import common_type
from suiro.toolkit.files import content, formats, parquet, readback, storage
from suiro.toolkit.files.content import Part
from suiro.toolkit.files.formats import Profile
from suiro.toolkit.files.listing import FileItem
from suiro.toolkit.files.names import file_stem
from suiro.toolkit.files.schemas import Note, read_note, write_note
from suiro.toolkit.files.settings import FileSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """One file of a table. `profile` is given for files of text that Suiro did not write."""

    part: Part
    note: Note
    profile: Profile | None = None


class TableFiles:
    """The tables of one folder, all in one format."""

    def __init__(self, folder: Path, extension: str, settings: FileSettings, workdir: Path, only: str = "") -> None:
        self.folder, self.extension = folder, extension
        self.inside = folder / ".suiro"
        self._settings, self._workdir, self._only = settings, workdir, only
        self._is_parquet = extension.lower().endswith((".parquet", ".pq"))

    def single(self, table: str) -> Path:
        """The file of a table that is one file."""
        return self.folder / f"{self._stem(table)}{self.extension}"

    def many(self, table: str) -> Path:
        """The folder of a table that is appended to."""
        return self.folder / self._stem(table)

    def _stem(self, table: str) -> str:
        stem = file_stem(table)
        if self._only and stem != file_stem(self._only):
            raise ConfigError(
                f"the location names one file, which holds the table {self._only}, not {table}",
                hint="Name a folder, to hold several tables.",
            )
        return stem

    def has_single(self, table: str) -> bool:
        """Whether the table is one file."""
        return self.single(table).is_file()

    def has_many(self, table: str) -> bool:
        """Whether the table is a folder of files."""
        return self.many(table).is_dir() and bool(self._paths(table))

    def exists(self, table: str) -> bool:
        """Whether there is the table, in either form."""
        return self.has_single(table) or self.has_many(table)

    def _paths(self, table: str) -> list[Path]:
        return [path for path in storage.entries(self.many(table))[0] if path.name.endswith(self.extension)]

    def files(self, table: str) -> list[StoredFile]:
        """The table's files, by name; none where it is missing."""
        if self.has_single(table):
            return [self.stored(self.single(table), self._note_path(table))]
        if not self.many(table).is_dir():
            return []
        return [self.stored(path, self._note_path(table, path.name)) for path in self._paths(table)]

    def stored(self, path: Path, note_path: Path) -> StoredFile:
        """A file with what is known of it."""
        item = FileItem(path=path, name=path.name, stamp=storage.stamp(path))
        settings = self._settings.model_copy(update={"format": "guess", "compression": "guess"})
        (part,) = content.parts(item, settings)
        note = read_note(note_path, item.stamp, exact=self._is_parquet)
        if note is None and self._is_parquet:
            schema = parquet.profile(part, self._workdir, as_stored=True)
            return StoredFile(part=part, note=Note(schema=schema, rows=_rows(path)))
        if note is not None:
            return StoredFile(part=part, note=note)
        profile = formats.profile(part, self._settings, self._workdir)
        schema = formats.union([profile], path.name)
        return StoredFile(part=part, note=Note(schema=schema), profile=profile)

    def _note_path(self, table: str, part: str = "") -> Path:
        folder = self.inside / "schemas"
        return folder / self._stem(table) / f"{part}.json" if part else folder / f"{self._stem(table)}.json"

    def inspect(self, table: str) -> Table | None:
        """The table as it stands: the columns of all its files, in types that hold them all."""
        found = self.files(table)
        if not found:
            return None
        schema = found[0].note.schema
        key = found[0].note.primary_key
        for file in found[1:]:
            schema = evolved(table, schema, file.note.schema)
            key = key or file.note.primary_key
        return Table(name=table, schema=schema.remove_metadata(), primary_key=key)

    def rows(
        self, file: StoredFile, schema: pa.Schema, columns: Sequence[str] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """A file's rows with `columns` (all) of `schema`, in its types; what the file lacks is NULL."""
        wanted = schema if columns is None else pa.schema([schema.field(name) for name in columns])
        there = [name for name in wanted.names if name in file.note.schema.names]
        for batch in self._own(file, there):
            yield formats.fitted(batch, wanted)

    def _own(self, file: StoredFile, columns: list[str]) -> Iterator[pa.RecordBatch]:
        if file.profile is not None:
            return formats.batches(file.profile, columns, file.note.schema, self._settings, self._workdir)
        match file.part.format:
            case "parquet":
                return parquet.batches(file.part, columns, self._workdir, as_stored=True)
            case "csv":
                delimiter = "," if self._settings.delimiter == "guess" else self._settings.delimiter
                return readback.csv_rows(file.part, file.note.schema, columns, delimiter)
        return readback.jsonl_rows(file.part, file.note.schema, columns)

    def count(self, file: StoredFile) -> int:
        """How many rows a file has."""
        if file.note.rows is not None:
            return file.note.rows
        first = file.note.schema.names[:1]
        return sum(batch.num_rows for batch in self.rows(file, file.note.schema, first))

    def place(self, new: Path, table: str, note: Note, part: str = "") -> None:
        """Put a finished file in its place, from one moment to the next; its note goes before."""
        write_note(self._note_path(table, part), storage.stamp(new), note)
        if part:
            storage.make_folder(self.many(table))
        storage.replace(new, self.path_of(table, part))

    def path_of(self, table: str, part: str = "") -> Path:
        """The place of a table's file, or of one part."""
        return self.many(table) / part if part else self.single(table)

    def stem(self, table: str) -> str:
        """The table's name as file names spell it."""
        return self._stem(table)

    def take_away(self, table: str, part: str) -> None:
        """Remove one file of a table that is a folder; harmless when it is missing."""
        storage.remove(self.many(table) / part)
        storage.remove(self._note_path(table, part))


def _rows(path: Path) -> int:
    with storage.told(path, "read"), pq.ParquetFile(str(path)) as file:
        return int(file.metadata.num_rows)


def evolved(table: str, current: pa.Schema, wanted: pa.Schema) -> pa.Schema:
    """The columns of both, in types that hold both; SchemaConflict where there is none."""
    fields = {field.name: field for field in current}
    for field in wanted:
        there = fields.get(field.name, field)
        type_ = common_type(there.type, field.type)
        if type_ is None:
            raise SchemaConflict(
                f"column {field.name} of {table} is {there.type} and can't also hold {field.type}",
                hint="Load into another table, or change the column's type.",
            )
        fields[field.name] = there if type_ == there.type else pa.field(field.name, type_, metadata=field.metadata)
    return pa.schema(list(fields.values()))
