"""Rows that wait in a file of this machine: staging for destinations that have no room of their own for it."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pyarrow as pa

from suiro.model.errors import ConfigError, InternalError
from suiro.model.schema import Table
from suiro.model.selection import WriteSpec
from suiro.spi.destination import Claim, Stage, Staged

T = TypeVar("T")


class SpoolStage(Stage):
    """Writes an Arrow IPC stream (LZ4) to `path`; sealed by fsync. Its `location` is the path."""

    def __init__(
        self,
        path: Path,
        table: Table,
        spec: WriteSpec,
        claim: Claim,
        *,
        truncates: bool,
        keys: bool = False,
        schema: pa.Schema | None = None,
    ) -> None:
        self._path, self._truncates, self._keys = path, truncates, keys
        self._table, self._spec, self._claim = table, spec, claim
        self._schema = schema or table.schema
        self._rows = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = _told(path, lambda: pa.OSFile(str(path), "wb"))
        self._options = pa.ipc.IpcWriteOptions(compression="lz4")
        self._writer: pa.RecordBatchStreamWriter | None = None

    def write(self, data: pa.RecordBatch) -> None:
        """Add rows. The first batch decides whether `_op` and `_seq` come along."""
        writer = self._writer or self._open(data.schema)
        _told(self._path, lambda: writer.write_batch(data))
        self._rows += data.num_rows

    def seal(self) -> Staged:
        """Close the file and have the disk hold it."""
        if self._writer is None:
            self._open(self._schema)
        _told(self._path, self._close)
        return Staged(
            table=self._table,
            spec=self._spec,
            claim=self._claim,
            location=str(self._path),
            rows=self._rows,
            truncates=self._truncates,
            keys=self._keys,
        )

    def abort(self) -> None:
        """Remove the file."""
        if not self._file.closed:
            self._file.close()
        self._path.unlink(missing_ok=True)

    def _open(self, schema: pa.Schema) -> pa.RecordBatchStreamWriter:
        self._writer = pa.ipc.new_stream(self._file, schema, options=self._options)
        return self._writer

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._file.flush()
        self._file.close()
        with self._path.open("rb") as written:
            os.fsync(written.fileno())


def spooled(staged: Staged) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """The schema and the rows of a sealed file, a batch at a time; InternalError if it isn't whole."""
    path = Path(staged.location)
    try:
        reader = pa.ipc.open_stream(pa.OSFile(str(path)))  # a mapped file would count as memory of ours
    except (OSError, pa.ArrowInvalid) as error:
        raise InternalError(f"the staging file {path.name} is gone or broken: {error}") from error
    return reader.schema, _batches(reader, path, staged.rows)


def _batches(reader: pa.RecordBatchStreamReader, path: Path, rows: int) -> Iterator[pa.RecordBatch]:
    """A file cut off between two batches reads as if it ended there: the number of rows tells."""
    found = 0
    batches = iter(reader)
    while True:
        try:
            batch = next(batches, None)
        except (OSError, pa.ArrowInvalid) as error:
            raise InternalError(f"the staging file {path.name} is broken: {error}") from error
        if batch is None:
            break
        found += batch.num_rows
        yield batch
    if found != rows:
        raise InternalError(f"the staging file {path.name} is broken: it holds {found} of {rows} rows")


def _told(path: Path, act: Callable[[], T]) -> T:
    """Do it; a full disk becomes one sentence."""
    try:
        return act()
    except OSError as error:
        if error.errno == errno.ENOSPC or "No space left" in str(error):
            raise ConfigError(
                f"the disk that holds {path.parent} is full; nothing was loaded",
                hint="Free space there, or move the destination, and run again.",
            ) from error
        raise ConfigError(f"can't write to {path.parent}: {error}", hint="Give write access to that folder.") from error
