"""What a destination holds of staged rows, read back and compared with the rows that were in flight."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import pyarrow as pa

from suiro.engine.fit import exactly_cast
from suiro.engine.hashing import Digest
from suiro.model.errors import ConfigError, DataError, VerificationFailed
from suiro.model.job import Task
from suiro.model.receipt import Level
from suiro.model.types import storage
from suiro.spi.context import Context
from suiro.spi.destination import Destination, Staged
from suiro.spi.powers import ReadsStaged


def check_level(task: Task, destination: Destination[Any]) -> None:
    """ConfigError if the task asks for more than the destination can be compared by."""
    if task.verify is Level.HASH and not isinstance(destination, ReadsStaged):
        raise ConfigError(
            "rows of this destination can't be read back before they are published",
            hint="Compare sums instead (--verify sums).",
        )


def compare_held(
    destination: Destination[Any], segments: Sequence[tuple[Staged, Digest]], context: Context
) -> tuple[str, ...]:
    """The columns that were compared, all of them equal. VerificationFailed with the differences of one segment."""
    assert isinstance(destination, ReadsStaged), "check_level comes before"
    compared: dict[str, None] = {}
    for staged, digest in segments:
        differences = _differences(destination, staged, digest, context)
        if differences:
            raise VerificationFailed(
                f"what {staged.table.name} would get is not what was read; nothing was published",
                hint="Run again; if it happens again, look for what else writes to the staging tables.",
                differences=differences,
            )
        compared |= dict.fromkeys(digest.schema.names)
    return tuple(compared)


class _Differs(Exception):
    """A column that holds values which its staged type can't."""


def _differences(destination: ReadsStaged, staged: Staged, digest: Digest, context: Context) -> tuple[str, ...]:
    found = Digest(digest.schema)
    try:
        with closing(_as_staged(destination.read_staged(staged), digest.schema)) as batches:  # type: ignore[type-var]
            for batch in batches:
                context.check_cancelled()
                found.add(batch)
    except (_Differs, DataError) as error:
        return (str(error),)
    return digest.differences(found)


def _as_staged(batches: Iterator[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The batches in the types that were staged, which hold their values exactly."""
    with closing(batches):  # type: ignore[type-var]
        for batch in batches:
            yield pa.RecordBatch.from_arrays([_column(batch, field) for field in schema], schema=schema)


def _column(batch: pa.RecordBatch, field: pa.Field) -> pa.Array:
    if field.name not in batch.schema.names:
        raise _Differs(f"{field.name}: the column isn't there any more")
    array, type_ = batch.column(field.name), field.type
    if array.type == type_:
        return array
    plain, wanted = array.storage if isinstance(array, pa.ExtensionArray) else array, storage(type_)
    if pa.types.is_null(wanted) and plain.null_count == len(plain):
        return pa.nulls(len(plain))
    try:
        cast = exactly_cast(plain, wanted)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise _Differs(f"{field.name}: what is staged, {array.type}, isn't all {type_}") from error
    return pa.ExtensionArray.from_storage(type_, cast) if isinstance(type_, pa.BaseExtensionType) else cast
