"""Summaries of rows: counts, sums, float bits, key ranges; equal on both sides when the rows are.

A summary is additive and independent of order: those of parts add up to that of the whole. Totals are taken
modulo 2**64, so that any number of rows fits and every engine can compute them:

* SUM of integers, of decimals without their point, of dates (days since 1970-01-01) and of times and timestamps
  (microseconds, since 1970-01-01 UTC); the infinities of dates and timestamps are left out of it;
* BITS of floats: their IEEE 754 bits read as a signed integer of the same width, every NaN as the quiet one;
* BYTES of text (in UTF-8) and of binary columns: the number of bytes;
* TRUES of booleans.

Other types are compared by the number of values that aren't NULL alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from suiro.model.types import (
    DATE_INFINITY,
    MAY_BE_INFINITE,
    TIMESTAMP_INFINITY,
    is_bytes,
    is_text,
    logical_base,
    storage,
)

MODULUS = 2**64
_NAN8, _NAN4 = 0x7FF8000000000000, 0x7FC00000
_PLAIN_TEXT = frozenset({None, "varchar", "char", "text", "name"})


class Measure(StrEnum):
    """What of a column is added up."""

    SUM = "sum"
    BITS = "bits"
    BYTES = "bytes"
    TRUES = "trues"


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnSummary:
    """One column: how many values aren't NULL, a total modulo 2**64, and for keys the range.

    `measure` None: only `values` counts. `least` and `greatest` are given for integer, date and timestamp keys.
    """

    values: int
    measure: Measure | None = None
    total: int = 0
    least: int | None = None
    greatest: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Rows and, at receipt level "sums", their columns by name."""

    rows: int
    columns: dict[str, ColumnSummary]

    def __add__(self, other: Summary) -> Summary:
        columns = dict(self.columns)
        for name, column in other.columns.items():
            columns[name] = _added(columns[name], column) if name in columns else column
        return Summary(rows=self.rows + other.rows, columns=columns)

    def differences(self, found: Summary) -> tuple[str, ...]:
        """Sentences on where `found` (in the destination) differs from this (of the source); empty when equal.

        Only what both sides measured is compared: columns, totals and ranges that one side lacks are passed over.
        """
        said = [] if self.rows == found.rows else [f"rows: {self.rows} read, {found.rows} staged"]
        for name, mine in self.columns.items():
            theirs = found.columns.get(name)
            if theirs is None:
                continue
            if mine.values != theirs.values:
                said.append(f"{name}: {mine.values} values that aren't NULL read, {theirs.values} staged")
            elif mine.measure and mine.measure == theirs.measure and (mine.total - theirs.total) % MODULUS:
                said.append(f"{name}: the {mine.measure} differ")
            elif None not in (mine.least, theirs.least) and (mine.least, mine.greatest) != (
                theirs.least,
                theirs.greatest,
            ):
                said.append(f"{name}: the ranges differ")
        return tuple(said)


EMPTY = Summary(rows=0, columns={})


def measure_of(field: pa.Field) -> Measure | None:
    """The measure that a column of this field is compared by."""
    type_ = field.type
    if pa.types.is_boolean(type_):
        return Measure.TRUES
    if pa.types.is_floating(type_) and type_.bit_width >= 32:
        return Measure.BITS
    if pa.types.is_integer(type_) or pa.types.is_decimal(type_) or pa.types.is_date32(type_):
        return Measure.SUM
    if pa.types.is_timestamp(type_) or pa.types.is_time64(type_):
        return Measure.SUM if type_.unit == "us" else None
    if is_bytes(type_) or (is_text(type_) and not isinstance(type_, pa.BaseExtensionType)):
        return Measure.BYTES if logical_base(field) in _PLAIN_TEXT else None
    return None


def has_range(field: pa.Field) -> bool:
    """Whether the least and greatest key are compared for this type: where order is the same everywhere."""
    type_ = field.type
    return bool(
        pa.types.is_integer(type_) or pa.types.is_date32(type_) or (pa.types.is_timestamp(type_) and type_.unit == "us")
    )


def summarise(batches: Iterable[pa.RecordBatch], *, columns: bool = True, key: tuple[str, ...] = ()) -> Summary:
    """The summary of Arrow rows. `columns` False: only their number."""
    total = EMPTY
    for batch in batches:
        total = total + summarise_batch(batch, columns=columns, key=key)
    return total


def summarise_batch(batch: pa.RecordBatch, *, columns: bool = True, key: tuple[str, ...] = ()) -> Summary:
    """The summary of one batch."""
    found = {}
    if columns:
        for field, array in zip(batch.schema, batch.columns, strict=True):
            found[field.name] = _column(field, array, ranged=field.name in key and has_range(field))
    return Summary(rows=batch.num_rows, columns=found)


def _added(one: ColumnSummary, other: ColumnSummary) -> ColumnSummary:
    if one.values and other.values and one.measure != other.measure:
        return ColumnSummary(values=one.values + other.values)
    return ColumnSummary(
        values=one.values + other.values,
        measure=one.measure or other.measure,
        total=(one.total + other.total) % MODULUS,
        least=_pick(min, one.least, other.least),
        greatest=_pick(max, one.greatest, other.greatest),
    )


def _pick(which: Callable[[list[int]], int], one: int | None, other: int | None) -> int | None:
    there = [value for value in (one, other) if value is not None]
    return which(there) if there else None


def _column(field: pa.Field, array: pa.Array, *, ranged: bool) -> ColumnSummary:
    values = len(array) - array.null_count
    measure = measure_of(field)
    if measure is None or not values:
        return ColumnSummary(values=values, measure=measure)
    if measure is Measure.TRUES:
        return ColumnSummary(values=values, measure=measure, total=int(pc.sum(array).as_py()))
    if measure is Measure.BYTES:
        inner = array.storage if isinstance(array, pa.ExtensionArray) else array
        if pa.types.is_string_view(inner.type) or pa.types.is_binary_view(inner.type):
            inner = inner.cast(pa.large_binary())
        return ColumnSummary(values=values, measure=measure, total=int(pc.sum(pc.binary_length(inner)).as_py()))
    words = _low_words(array.drop_null() if array.null_count else array)
    if logical_base(field) in MAY_BE_INFINITE:
        endless = DATE_INFINITY if pa.types.is_date32(field.type) else TIMESTAMP_INFINITY
        words = words[(words != endless) & (words != -endless)]
    if measure is Measure.BITS:
        quiet, floats = (_NAN8, np.float64) if field.type.bit_width == 64 else (_NAN4, np.float32)
        words = np.where(np.isnan(words.view(floats)), words.dtype.type(quiet), words)
    total = int(words.sum(dtype=np.int64)) % MODULUS if len(words) else 0
    if ranged and len(words):
        return ColumnSummary(
            values=values, measure=measure, total=total, least=int(words.min()), greatest=int(words.max())
        )
    return ColumnSummary(values=values, measure=measure, total=total)


def _low_words(array: pa.Array) -> np.ndarray[Any, Any]:
    """The low 64 bits of each value as integers; `array` is without NULL."""
    type_ = storage(array.type)
    data = array.buffers()[1]
    start, stop = array.offset, array.offset + len(array)
    if pa.types.is_decimal(type_) and type_.bit_width >= 128:
        width = type_.bit_width // 64
        return np.frombuffer(data, dtype=np.int64)[start * width : stop * width : width]
    kind = "u" if pa.types.is_unsigned_integer(type_) else "i"
    words = np.frombuffer(data, dtype=np.dtype(f"{kind}{type_.bit_width // 8}"))[start:stop]
    return words
