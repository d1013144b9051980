"""Rows of text files in the types that their columns are declared with; rows that don't fit are rejected one by one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from suiro.model.cells import row_text, unreadable
from suiro.model.clock import MOMENT, Clock, moments
from suiro.model.errors import ConfigError, DataError
from suiro.model.rejected import RejectedRow
from suiro.toolkit.files.settings import Column, FileSettings

TYPES: Final[Mapping[str, pa.DataType]] = {
    "long": pa.int64(),
    "double": pa.float64(),
    "string": pa.string(),
    "timestamp": MOMENT,
    "boolean": pa.bool_(),
    "json": pa.json_(),
}
_TRUE: Final = ("true", "yes", "t", "y", "on", "1")
_FALSE: Final = ("false", "no", "f", "n", "off", "0")
_LONG: Final = r"^[+-]?[0-9]{1,19}$"
_DOUBLE: Final = r"^(?:[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?|[+-]?Infinity|NaN)$"
_ISO: Final = ("%Y-%m-%d %H:%M:%S.%N %z", "%Y-%m-%d %H:%M:%S %z", "%Y-%m-%d %H:%M:%S.%N", "%Y-%m-%d %H:%M:%S")

Read = Callable[[pa.Array], pa.Array]  #: texts as values; NULL where one is none


def schema_of(settings: FileSettings) -> pa.Schema:
    """The declared columns as fields."""
    return pa.schema([pa.field(column.name, TYPES[column.type]) for column in settings.columns])


def as_text(settings: FileSettings, *, documents: bool) -> pa.Schema:
    """The fields as a file is read first: text; JSON as documents, where the format has them."""
    text, json_ = pa.string(), pa.json_()
    return pa.schema([pa.field(c.name, json_ if documents and c.type == "json" else text) for c in settings.columns])


def typed(
    rows: Iterator[pa.RecordBatch], settings: FileSettings, label: str, rejects: list[RejectedRow] | None
) -> Iterator[pa.RecordBatch]:
    """Texts in their declared types. Rows that don't fit go to `rejects`; without it the first is a DataError."""
    declared = {column.name: column for column in settings.columns}
    reads: dict[str, Read] = {}
    for batch in rows:
        arrays, wrong = [], {}
        for name in batch.schema.names:
            texts, column = batch.column(name), declared[name]
            if column.type == "string" or texts.type == pa.json_():
                arrays.append(texts)
                continue
            if name not in reads:
                reads[name] = _reader(column)
            found = reads[name](texts)
            arrays.append(found)
            unread = pc.and_(pc.is_null(found), pc.is_valid(texts))
            if pc.any(unread).as_py():
                wrong[name] = unread
        done = pa.RecordBatch.from_arrays(arrays, names=batch.schema.names)
        yield done if not wrong else _without(done, batch, wrong, declared, label, rejects)


def _without(
    done: pa.RecordBatch,
    texts: pa.RecordBatch,
    wrong: Mapping[str, pa.Array],
    declared: Mapping[str, Column],
    label: str,
    rejects: list[RejectedRow] | None,
) -> pa.RecordBatch:
    bad = pa.array([False] * done.num_rows)
    for marks in wrong.values():
        bad = pc.or_(bad, marks)
    at = [i for i, is_bad in enumerate(bad.to_pylist()) if is_bad]
    for i in at:
        name = next(name for name, marks in wrong.items() if marks[i].as_py())
        reason = f"{label}: column {name} holds something that is no {declared[name].type}"
        if rejects is None:
            raise DataError(reason, hint="Correct it, declare another type, or allow rows to be rejected.", column=name)
        rejects.append(RejectedRow(reason=reason, column=name, row=unreadable(row_text(texts.slice(i, 1)))))
    return done.filter(pc.invert(bad))


def _reader(column: Column) -> Read:
    match column.type:
        case "long":
            return _longs
        case "double":
            return _doubles
        case "boolean":
            return _booleans
        case "json":
            return _documents
        case "timestamp":
            return _clocks(column)
        case "string":
            return lambda texts: texts


def _longs(texts: pa.Array) -> pa.Array:
    plain = _matching(texts, _LONG)
    digits = pc.replace_substring_regex(plain, r"^\+", "")
    try:
        return digits.cast(pa.int64())
    except pa.ArrowInvalid:  # 19 digits may be too many
        return pa.array([None if t is None or not -(2**63) <= int(t) < 2**63 else int(t) for t in digits.to_pylist()])


def _doubles(texts: pa.Array) -> pa.Array:
    plain = _matching(texts, _DOUBLE)
    found = pc.replace_substring_regex(plain, r"^\+", "").cast(pa.float64())
    endless = pc.and_(pc.is_inf(found), pc.invert(pc.match_substring(plain, "Infinity")))
    return pc.if_else(endless, pa.scalar(None, pa.float64()), found)


def _booleans(texts: pa.Array) -> pa.Array:
    low = pc.utf8_lower(texts)
    yes, no = (pc.is_in(low, pa.array(words, pa.string())) for words in (_TRUE, _FALSE))
    return pc.if_else(pc.or_(yes, no), yes, pa.scalar(None, pa.bool_()))


def _documents(texts: pa.Array) -> pa.Array:
    kept = [text if text is not None and _is_json(text) else None for text in texts.to_pylist()]
    return pa.ExtensionArray.from_storage(pa.json_(), pa.array(kept, pa.string()))


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _clocks(column: Column) -> Read:
    formats = _ISO if column.format is None else (column.format,)
    clocks = [Clock(format_, column.timezone, _day(column)) for format_ in formats]

    def read(texts: pa.Array) -> pa.Array:
        if column.format is None:
            texts = pc.replace_substring_regex(texts, r"^([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt]", r"\1 ")
        found = moments(texts, clocks[0])
        for clock in clocks[1:]:
            found = pc.coalesce(found, moments(texts, clock))
        return found

    return read


def _day(column: Column) -> date:
    try:
        return date.fromisoformat(column.day)
    except ValueError:
        raise ConfigError(f"column {column.name}: {column.day!r} is no day", hint="Write 1970-01-01.") from None


def _matching(texts: pa.Array, pattern: str) -> pa.Array:
    return pc.if_else(pc.match_substring_regex(texts, pattern), texts, pa.scalar(None, pa.string()))
