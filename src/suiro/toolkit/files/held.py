"""What is staged for a table of files, as files of its format give it back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from suiro.spi.destination import Staged
from suiro.toolkit.files import storage
from suiro.toolkit.files.schemas import Note, write_note
from suiro.toolkit.files.settings import FileSettings
from suiro.toolkit.files.stages import SPOOL
from suiro.toolkit.files.tables import TableFiles
from suiro.toolkit.files.writers import writer
from suiro.toolkit.spool import spooled


def held_rows(tables: TableFiles, settings: FileSettings, staged: Staged) -> Iterator[pa.RecordBatch]:
    """The rows of the very file that was staged; rows that wait to be matched by key from a file made for this."""
    path = Path(staged.location)
    if path.name.endswith(SPOOL):
        yield from _written(tables, settings, staged, path)
        return
    stored = tables.stored(path, _note_path(path))
    yield from tables.rows(stored, stored.note.schema, staged.table.schema.names)


def _written(tables: TableFiles, settings: FileSettings, staged: Staged, spool: Path) -> Iterator[pa.RecordBatch]:
    schema, batches = spooled(staged)
    path = spool.with_name(f"{spool.name.removesuffix(SPOOL)}-held{tables.extension}")
    out = writer(path, schema, settings)
    try:
        for batch in batches:
            out.write(batch)
        out.close()
        write_note(_note_path(path), storage.stamp(path), Note(schema=schema))
        yield from tables.rows(tables.stored(path, _note_path(path)), schema)
    finally:
        out.abort()
        storage.remove(_note_path(path))


def _note_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")
