"""What an application's records hold now, beside the rows that are meant for them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from suiro.engine.context import RunContext
from suiro.engine.writeback.patience import patiently
from suiro.model.errors import InternalError
from suiro.spi.application import Application

AT_ONCE: Final = 10_000  #: keys of one question, at most


class Present:
    """Asks an application for records. `types` are those of the object's fields."""

    def __init__(self, application: Application[Any], object_: str, record_id: str, types: pa.Schema) -> None:
        self.application, self._object, self.record_id, self._types = application, object_, record_id, types

    def by(self, field: str, keys: pa.Array, fields: Sequence[str], context: RunContext) -> pa.RecordBatch:
        """The records whose `field` is one of `keys`: `field`, the record's id and `fields`, each once."""
        names = list(dict.fromkeys([field, self.record_id, *fields]))
        schema = pa.schema([self._types.field(name) for name in names])
        wanted = pc.drop_null(pc.unique(keys))
        found: list[pa.RecordBatch] = []
        asked = [name for name in names if name not in (field, self.record_id)]
        for start in range(0, len(wanted), AT_ONCE):
            ask = partial(self._ask, field, wanted.slice(start, AT_ONCE), asked)
            found += [_shaped(batch, schema, self._object) for batch in patiently(context, ask)]
        return one_batch(found, schema)

    def _ask(self, field: str, keys: pa.Array, fields: Sequence[str]) -> list[pa.RecordBatch]:
        return list(self.application.present(self._object, field, keys, fields))

    def by_record(self, ids: pa.Array, fields: Sequence[str], context: RunContext) -> pa.RecordBatch:
        """The records with these ids (as text), with one more column `#record`: the id as text."""
        type_ = self._types.field(self.record_id).type
        found = self.by(self.record_id, ids_of(ids, type_), fields, context)
        return found.append_column("#record", id_texts(found.column(self.record_id)))


def _shaped(batch: pa.RecordBatch, schema: pa.Schema, object_: str) -> pa.RecordBatch:
    missing = [name for name in schema.names if name not in batch.schema.names]
    if missing:
        raise InternalError(f"the application gave no {missing[0]} of {object_}, though it was asked for")
    return batch.select(schema.names).cast(schema)


def one_batch(batches: Sequence[pa.RecordBatch], schema: pa.Schema) -> pa.RecordBatch:
    """All rows in one batch."""
    columns = [
        pa.concat_arrays([batch.column(at) for batch in batches]) if batches else pa.array([], field.type)
        for at, field in enumerate(schema)
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def id_texts(ids: pa.Array) -> pa.Array:
    """Record ids as text."""
    return (ids.storage if isinstance(ids, pa.ExtensionArray) else ids).cast(pa.string())


def ids_of(texts: pa.Array, type_: pa.DataType) -> pa.Array:
    """Record ids in their type, from text."""
    return texts.cast(type_)


def matches(wanted: Sequence[str | None], there: Sequence[str]) -> tuple[Any, Any]:
    """For each of `wanted` the place of the first equal one in `there` (-1: none), and how many there are."""
    first: dict[str, int] = {}
    number: dict[str, int] = {}
    for at, text in enumerate(there):
        first.setdefault(text, at)
        number[text] = number.get(text, 0) + 1
    places = np.array([first.get(text, -1) if text is not None else -1 for text in wanted], np.int64)
    counts = np.array([number.get(text, 0) if text is not None else 0 for text in wanted], np.int64)
    return places, counts


def taken(batch: pa.RecordBatch, places: Any) -> pa.RecordBatch:
    """The rows at these places; NULLs where a place is -1."""
    return batch.take(pa.array(places, pa.int64(), mask=places < 0))
