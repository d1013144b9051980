"""Staging beside the tables: rows wait in the very file that will be published, or in a spool to be merged."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from suiro.model.change import OP, SEQ
from suiro.model.errors import ConfigError, DataError
from suiro.model.schema import Table
from suiro.model.selection import WriteSpec
from suiro.spi.destination import Stage, Staged
from suiro.toolkit.files import formats, storage
from suiro.toolkit.files.schemas import Note, write_note
from suiro.toolkit.files.settings import FileSettings
from suiro.toolkit.files.writers import FileWriter, writer
from suiro.toolkit.spool import SpoolStage

SPOOL = ".arrow"


class DirectStage(Stage):
    """Writes the final file, in the final schema; `location` is its path."""

    def __init__(self, path: Path, staged: Staged, schema: pa.Schema, settings: FileSettings) -> None:
        storage.make_folder(path.parent)
        self._staged, self._schema = staged, schema
        self._writer: FileWriter = writer(path, schema, settings)

    def write(self, data: pa.RecordBatch) -> None:
        """Add rows; columns of the table that the load doesn't have are NULL."""
        refuse_null(data, self._staged)
        self._writer.write(formats.fitted(data, self._schema))

    def seal(self) -> Staged:
        """Finish the file and have the disk hold it."""
        self._writer.close()
        staged = self._staged
        path = self._writer.path
        note = Note(schema=self._schema, primary_key=staged.table.primary_key, rows=self._writer.rows)
        write_note(path.with_name(f"{path.name}.json"), storage.stamp(path), note)
        return Staged(
            table=staged.table,
            spec=staged.spec,
            claim=staged.claim,
            location=staged.location,
            rows=self._writer.rows,
            truncates=staged.truncates,
        )

    def abort(self) -> None:
        """Remove the file."""
        self._writer.abort()
        storage.remove(self._writer.path.with_name(f"{self._writer.path.name}.json"))
        leave(self._writer.path)


class KeyedSpool(SpoolStage):
    """A spool whose rows have keys."""

    def __init__(self, path: Path, staged: Staged) -> None:
        storage.make_folder(path.parent)
        super().__init__(path, staged.table, staged.spec, staged.claim, truncates=staged.truncates)
        self._staged, self._spool = staged, path

    def write(self, data: pa.RecordBatch) -> None:
        """Add rows; DataError names a key column without value."""
        refuse_null(data, self._staged)
        super().write(data)

    def abort(self) -> None:
        """Remove the file."""
        super().abort()
        leave(self._spool)


def leave(path: Path) -> None:
    """Remove the folders of a claim's staging that hold nothing any more."""
    storage.remove_if_empty(path.parent)
    storage.remove_if_empty(path.parent.parent)


def refuse_null(data: pa.RecordBatch, staged: Staged) -> None:
    """DataError where a key column has a row without value."""
    for name in staged.spec.key:
        if data.column(name).null_count:
            raise DataError(
                f"key column {name} of {staged.table.name} has rows without a value",
                hint="Choose a key whose columns always have one.",
            )


def refuse_wrong(table: Table, spec: WriteSpec) -> None:
    """ConfigError where key columns are missing, or there are no columns at all."""
    if not table.schema.names:
        raise ConfigError(f"{table.name} would have no columns", hint="Choose at least one column.")
    known = {*table.schema.names, OP, SEQ}
    for name in (*spec.key, *spec.skip_existing, *([spec.order_by] if spec.order_by else [])):
        if name not in known:
            raise ConfigError(f"{table.name} gets no column {name}", hint="Name a column that is loaded.")
