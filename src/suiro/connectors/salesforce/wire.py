"""Rows as Salesforce reads them: values as exact text, in JSON and in the CSV of bulk jobs.

Source: "Valid CSV Record Rows" and "Prepare CSV Files" in Salesforce's Bulk API 2.0 Developer Guide.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from suiro.connectors.salesforce.describe import ID
from suiro.connectors.salesforce.facts import Relation
from suiro.model.errors import ConfigError, InternalError
from suiro.model.types import is_text, logical_base, storage

NOTHING: Final = "#N/A"  #: empties a field in CSV, where an empty cell says nothing of it
LONGEST_CELL: Final = 32_000  #: characters of a field in a bulk job
LONGEST_ROW: Final = 400_000  #: characters of a record in one

_AT_ONCE: Final = 5_000  #: rows that are written at once
_NUMBER: Final = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?")
_FINE: Final = "a time finer than milliseconds, which Salesforce doesn't keep"
_NO_NUMBER: Final = "no number"
_LATE: Final = pa_csv.WriteOptions(include_header=False, quoting_style="all_valid")
_FIRST: Final = pa_csv.WriteOptions(include_header=True, quoting_style="all_valid")


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column. `texts`: NULL where the field is to be emptied."""

    name: str
    texts: pa.Array
    bare: bool  #: stands in JSON without quotes
    relation: Relation | None = None

    @property
    def cells(self) -> Iterator[tuple[str, pa.Array]]:
        """Of CSV, by header. A reference is emptied by its own name: nothing is said of the way to tell it."""
        if self.relation is None:
            yield self.name, pc.fill_null(self.texts, NOTHING)
            return
        yield self.relation.header, self.texts
        if self.texts.null_count:
            emptied = pa.scalar(NOTHING, pa.string())
            yield self.relation.reference.name, pc.if_else(pc.is_null(self.texts), emptied, None)


class Written:
    """The rows of an order, as text. `wrong`: by row why its values can't be sent at all, with the field's name."""

    def __init__(self, object_: str, rows: pa.RecordBatch, relations: Mapping[str, Relation]) -> None:
        self.object, self.count = object_, rows.num_rows
        self.wrong: dict[int, tuple[str, str]] = {}
        self.columns = [self._column(rows.column(at), field, relations) for at, field in enumerate(rows.schema)]
        self._csv = [(header, cells) for column in self.columns for header, cells in column.cells]
        self.headers = [header for header, _ in self._csv]
        twice = next((name for name in self.headers if self.headers.count(name) > 1), None)
        if twice is not None:
            raise ConfigError(f"two columns say which record {twice} leads to", hint="Leave one of them out.")

    def column(self, name: str) -> Column:
        """The column of a field."""
        return next(column for column in self.columns if column.name == name)

    def _column(self, values: pa.Array, field: pa.Field, relations: Mapping[str, Relation]) -> Column:
        texts, bad, why = _texts(values, field)
        for row in np.flatnonzero(bad).tolist() if bad is not None else ():
            self.wrong.setdefault(row, (f"{field.name}: {why}", field.name))
        bare = not is_text(field.type) or logical_base(field) == "numeric"
        bare &= not pa.types.is_temporal(field.type)
        return Column(name=field.name, texts=texts, bare=bare, relation=relations.get(field.name))

    # -- bulk jobs ---------------------------------------------------------------------------------------------------

    def not_for_jobs(self) -> dict[int, tuple[str, str | None]]:
        """The rows that CSV can't say, or that are too long for it: why, and the field's name."""
        found: dict[int, tuple[str, str | None]] = {}
        whole = np.zeros(self.count, np.int64)
        for column in self.columns:
            length = pc.fill_null(pc.utf8_length(column.texts), 0).to_numpy(zero_copy_only=False)
            whole += length
            for row in np.flatnonzero(length > LONGEST_CELL).tolist():
                said = f"{column.name}: longer than the {LONGEST_CELL:,} characters that a bulk job takes"
                found.setdefault(row, (said, column.name))
            taken = pc.fill_null(pc.equal(column.texts, NOTHING), False).to_numpy(zero_copy_only=False)
            for row in np.flatnonzero(taken).tolist():
                said = f"{column.name}: the text {NOTHING}, by which a bulk job empties the field"
                found.setdefault(row, (said, column.name))
        for row in np.flatnonzero(whole > LONGEST_ROW).tolist():
            found.setdefault(row, (f"longer than the {LONGEST_ROW:,} characters of a record in a bulk job", None))
        return found

    def csv_bytes(self) -> Any:
        """How many bytes of CSV each row makes."""
        total = np.zeros(self.count, np.int64)
        for _, cells in self._csv:
            for part in (pc.binary_length(cells), pc.count_substring(cells, '"')):
                total += pc.fill_null(part, 0).to_numpy(zero_copy_only=False)
            total += 3
        return total

    def csv(self, rows: Sequence[int]) -> Iterator[bytes]:
        """These rows as CSV with a header, piece by piece."""
        table = pa.table([cells for _, cells in self._csv], names=self.headers)
        whole = len(rows) == self.count
        for start in range(0, len(rows), _AT_ONCE):
            some = rows[start : start + _AT_ONCE]
            part = table.slice(some[0], len(some)) if whole else table.take(pa.array(some, pa.int64()))
            out = io.BytesIO()
            pa_csv.write_csv(part, out, _LATE if start else _FIRST)
            yield out.getvalue()

    def contents(self, rows: Sequence[int]) -> list[list[str]]:
        """The cells of each of these rows, as `headers` has them; `NOTHING` and empty cells alike as empty texts."""
        taken = pa.array(rows, pa.int64())
        columns = [_blank(cells.take(taken)) for _, cells in self._csv]
        return [list(row) for row in zip(*columns, strict=True)]

    # -- JSON --------------------------------------------------------------------------------------------------------

    def ids(self, rows: Sequence[int]) -> list[str]:
        """The record ids of these rows."""
        found: list[str] = self.column(ID).texts.take(pa.array(rows, pa.int64())).to_pylist()
        return found

    def records(self, rows: Sequence[int]) -> list[str]:
        """Each of these rows as a JSON object that tells its type."""
        start, taken = f'{{"attributes":{{"type":{json.dumps(self.object)}}}', pa.array(rows, pa.int64())
        members = [list(_members(column, column.texts.take(taken))) for column in self.columns]
        return [f"{start}{''.join(row)}}}" for row in zip(*members, strict=True)]


def _blank(cells: pa.Array) -> list[str]:
    found: list[str] = pc.fill_null(pc.if_else(pc.equal(cells, NOTHING), "", cells), "").to_pylist()
    return found


def _members(column: Column, texts: pa.Array) -> Iterator[str]:
    """A column's part of each record with these texts, with the comma before it."""
    relation = column.relation
    start = f",{json.dumps('id' if column.name == ID else column.name)}:"
    end, empty = "", f"{start}null"
    if relation is not None:
        # By the REST API Developer Guide's way to insert a record by an external id; the type is told in any case.
        type_ = json.dumps({"type": relation.object})
        start = f',{json.dumps(relation.name)}:{{"attributes":{type_},{json.dumps(relation.field.name)}:'
        end, empty = "}", f",{json.dumps(relation.reference.name)}:null"
    for text in texts.to_pylist():
        if text is None:
            yield empty
        else:
            yield f"{start}{text if column.bare else json.dumps(text, ensure_ascii=False)}{end}"


def _texts(values: pa.Array, field: pa.Field) -> tuple[pa.Array, Any, str]:
    """A column's values as text, those that can't be sent as a mask (None: there are none), and why they can't."""
    plain, type_ = (values.storage if isinstance(values, pa.ExtensionArray) else values), storage(field.type)
    if is_text(type_):
        texts = plain.cast(pa.string())
        texts = pc.if_else(pc.equal(texts, ""), None, texts)  # Salesforce knows no empty text
        if logical_base(field) != "numeric":
            return texts, None, ""
        good = [text is None or _NUMBER.fullmatch(text) is not None for text in texts.to_pylist()]
        return texts, ~np.array(good, bool), _NO_NUMBER
    if pa.types.is_boolean(type_) or pa.types.is_integer(type_) or pa.types.is_date32(type_):
        return plain.cast(pa.string()), None, ""
    if pa.types.is_decimal(type_):
        return _digits(plain), None, ""
    if pa.types.is_timestamp(type_):
        rest = pc.subtract(plain, pc.floor_temporal(plain, unit="millisecond")).cast(pa.int64())
        texts = plain.cast(pa.timestamp("ms", "UTC"), safe=False).cast(pa.string())
        return pc.replace_substring(texts, " ", "T", max_replacements=1), _positive(rest), _FINE
    if pa.types.is_time64(type_):
        count = plain.cast(pa.int64())
        rest = pc.subtract(count, pc.multiply(pc.divide(count, 1000), 1000))
        texts = plain.cast(pa.time32("ms"), safe=False).cast(pa.string())
        return pc.binary_join_element_wise(texts, "Z", ""), _positive(rest), _FINE
    raise InternalError(f"{field.name} is {field.type}, which isn't written")


def _positive(numbers: pa.Array) -> Any:
    return pc.fill_null(pc.greater(numbers, 0), False).to_numpy(zero_copy_only=False)


def _digits(numbers: pa.Array) -> pa.Array:
    """Decimals without exponents, which Arrow writes for small ones."""
    texts = numbers.cast(pa.string())
    if not pc.any(pc.match_substring(texts, "E")).as_py():
        return texts
    return pa.array([text if text is None else f"{Decimal(text):f}" for text in texts.to_pylist()], pa.string())
