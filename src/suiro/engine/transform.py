"""What happens to rows on their way: filter, pick, rename, cast."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from suiro.engine.fit import exactly
from suiro.engine.moments import Moments
from suiro.model.change import OP, SEQ
from suiro.model.errors import ConfigError, DataError
from suiro.model.types import DATE_INFINITY, MAY_BE_INFINITE, TIMESTAMP_INFINITY, logical_base

_BEYOND_ARROW = MAY_BE_INFINITE | {"time"}
_DAY = 86_400_000_000  #: microseconds


class Transform:
    """From batches of a stream to batches of the staged table.

    `mapping` goes from source to destination names; columns of the mapping that `target` lacks are left out, and
    those of Suiro's own are filled by `moments`.
    Values that a cast would change raise DataError naming the column.
    """

    def __init__(
        self,
        source: pa.Schema,
        target: pa.Schema,
        mapping: Mapping[str, str],
        key: tuple[str, ...],
        filter_: RowFilter | None,
        moments: Moments,
    ) -> None:
        self._target, self._filter, self._moments = target, filter_, moments
        self._from = {name: source_name for source_name, name in mapping.items() if name in target.names}
        self._keys = key
        self._finite = [
            name
            for name, source_name in self._from.items()
            if logical_base(source.field(source_name)) in _BEYOND_ARROW
            and logical_base(target.field(name)) not in _BEYOND_ARROW
        ]

    @property
    def filters(self) -> bool:
        """Whether rows may be left out here."""
        return self._filter is not None

    def apply(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, int]:
        """The rows as the table takes them, and how many the filter left out."""
        kept = batch if self._filter is None else self._filter.keep(batch)
        arrays = [self._column(kept, field) for field in self._target]
        fields = list(self._target)
        for extra in (OP, SEQ):
            at = kept.schema.get_field_index(extra)
            if at >= 0:
                fields.append(kept.schema.field(at))
                arrays.append(kept.column(at))
        out = pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))
        self._check(out)
        return out, batch.num_rows - kept.num_rows

    def _column(self, batch: pa.RecordBatch, field: pa.Field) -> pa.Array:
        if field.name in self._from:
            return self._cast(batch.column(self._from[field.name]), field)
        return self._moments.column(field, batch)

    def _cast(self, array: pa.Array, field: pa.Field) -> pa.Array:
        try:
            return exactly(array, field.type)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise DataError(
                f"column {field.name}: a value of type {array.type} doesn't fit the table's {field.type}",
                hint="Leave the column out, load into another table, or widen the table's column.",
                column=field.name,
            ) from error

    def _check(self, batch: pa.RecordBatch) -> None:
        for name in self._keys:
            empty = batch.column(name).null_count
            if empty:
                where = f"{empty} of {batch.num_rows} rows in a batch have" if batch.num_rows > 1 else "the row has"
                raise DataError(
                    f"{where} NULL in the key column {name}",
                    hint="A key must identify every row: choose other key columns, or filter those rows out.",
                    column=name,
                )
        for name in self._finite:
            _refuse_infinity(name, batch.column(name))


def _refuse_infinity(name: str, array: pa.Array) -> None:
    if array.null_count == len(array):
        return
    ends = pc.min_max(array.view(pa.int32() if pa.types.is_date32(array.type) else pa.int64()))
    least, greatest = ends["min"].as_py(), ends["max"].as_py()
    endless = DATE_INFINITY if pa.types.is_date32(array.type) else TIMESTAMP_INFINITY
    if greatest == endless or least == -endless:
        what = "infinity"
    elif pa.types.is_time64(array.type) and greatest >= _DAY:
        what = "the time 24:00:00"
    else:
        return
    raise DataError(
        f"column {name} holds {what}, which the destination's type can't",
        hint="Leave the column out, or filter those rows out.",
        column=name,
    )


class RowFilter:
    """Keeps the rows for which a SQL condition holds; for sources that can't filter themselves.

    DuckDB evaluates the condition over the columns it names; the rows themselves stay in Arrow.
    """

    def __init__(self, condition: str) -> None:
        import duckdb  # on use: most runs filter at the source

        self._condition, self._wrong = condition, duckdb.Error
        self._engine = duckdb.connect(config={"threads": 1, "enable_external_access": False})
        self._engine.execute("SET TimeZone = 'UTC'")

    def keep(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The rows of this batch that the condition keeps (NULL counts as false)."""
        self._engine.register("stream", batch)
        try:
            asked = f"SELECT coalesce(({self._condition}), false) AS keep FROM stream"
            answer: Any = self._engine.sql(asked).to_arrow_table()
        except self._wrong as error:
            raise ConfigError(
                f"the condition {self._condition!r} can't be evaluated: {error}",
                hint="Name columns as the stream does.",
            ) from error
        finally:
            self._engine.unregister("stream")
        return batch.filter(answer.column("keep").combine_chunks())
