"""Sheets of Excel and OpenDocument files as Arrow rows: formulas give their values.

Numbers are doubles in these files: a column of whole ones is read as integers, others as float64. Cells that show
dates are dates; a column of mixed kinds is text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from suiro.model.errors import ConfigError, DataError
from suiro.toolkit.files.content import Part, seekable
from suiro.toolkit.files.guess import Guess, Kind
from suiro.toolkit.files.settings import FileSettings
from suiro.toolkit.files.sniff import looks_like_header, unique_names

_ROWS = 10_000
_EXACT = 2**53


@dataclass(frozen=True, slots=True, kw_only=True)
class ExcelProfile:
    """What a sheet holds; `header` says whether its first row has the names."""

    header: bool
    columns: dict[str, Guess]


def profile(part: Part, settings: FileSettings, workdir: Path) -> ExcelProfile:
    """Read the sheet once and tell."""
    rows = _rows(part, settings, workdir)
    first = next(rows, [])
    texts = [_text(cell) or "" for cell in first]
    typed = [cell for cell in first if not isinstance(cell, str)]
    header = settings.header == "yes" or (settings.header == "guess" and not typed and looks_like_header(texts))
    names = unique_names(texts) if header else tuple(f"column_{i}" for i in range(1, len(first) + 1))
    kinds: list[set[Kind]] = [set() for _ in names]
    for row in rows if header else (row for again in ([first], rows) for row in again):
        for known, cell in zip(kinds, row, strict=False):
            known.add(_kind(cell))
    if settings.types == "all_text":
        return ExcelProfile(header=header, columns={name: Guess(kind=Kind.TEXT) for name in names})
    return ExcelProfile(header=header, columns={n: Guess(kind=_together(k)) for n, k in zip(names, kinds, strict=True)})


def batches(
    part: Part, found: ExcelProfile, columns: Sequence[str], schema: pa.Schema, settings: FileSettings, workdir: Path
) -> Iterator[pa.RecordBatch]:
    """The sheet's rows, those of `columns` that it has, in the types of `schema`."""
    names = list(found.columns)
    places = [(names.index(name), schema.field(name).type) for name in columns if name in names]
    rows = islice(_rows(part, settings, workdir), int(found.header), None)
    while chunk := list(islice(rows, _ROWS)):
        arrays = [pa.array([_value(row[at], type_) for row in chunk], type_) for at, type_ in places]
        if arrays:
            yield pa.RecordBatch.from_arrays(arrays, names=[n for n in columns if n in names])
        else:
            yield pa.table({"_": pa.nulls(len(chunk))}).to_batches()[0].select([])


def _rows(part: Part, settings: FileSettings, workdir: Path) -> Iterator[list[Any]]:
    """The rows from the header on, all of one length; empty ones at the end are left out."""
    import python_calamine

    with seekable(part, workdir) as file:
        try:
            book = python_calamine.CalamineWorkbook.from_filelike(file)
            names = book.sheet_names
            if settings.sheet and settings.sheet not in names:
                raise ConfigError(
                    f"{part.label} has no sheet {settings.sheet!r}", hint=f"Its sheets are: {', '.join(names)}."
                )
            sheet = book.get_sheet_by_name(settings.sheet or names[0])
        except (python_calamine.CalamineError, IndexError) as error:
            raise DataError(f"{part.label} is no Excel file, or a broken one") from error
        yield from _whole(islice(sheet.iter_rows(), settings.skip_rows, None))


def _whole(rows: Iterator[list[Any]]) -> Iterator[list[Any]]:
    """Rows without the empty ones before the first and behind the last that holds anything."""
    empty: list[list[Any]] | None = None
    for row in rows:
        if any(cell != "" for cell in row):
            yield from empty or []
            yield row
            empty = []
        elif empty is not None:
            empty.append(row)


def _kind(cell: Any) -> Kind:
    match cell:
        case "":
            return Kind.NULL
        case bool():
            return Kind.BOOLEAN
        case int() | float():
            whole = float(cell).is_integer() and abs(cell) < _EXACT
            return Kind.INTEGER if whole else Kind.FLOAT
        case datetime():
            return Kind.TIMESTAMP
        case date():
            return Kind.DATE
        case _:
            return Kind.TEXT


def _together(kinds: set[Kind]) -> Kind:
    kinds = kinds - {Kind.NULL}
    if len(kinds) <= 1:
        return next(iter(kinds), Kind.NULL)
    if kinds == {Kind.INTEGER, Kind.FLOAT}:
        return Kind.FLOAT
    return Kind.TIMESTAMP if kinds == {Kind.DATE, Kind.TIMESTAMP} else Kind.TEXT


def _value(cell: Any, type_: pa.DataType) -> Any:
    if isinstance(cell, str) and cell == "":
        return None
    if pa.types.is_string(type_):
        return _text(cell)
    if pa.types.is_integer(type_):
        return int(cell)
    if pa.types.is_timestamp(type_) and not isinstance(cell, datetime):
        return datetime(cell.year, cell.month, cell.day)  # noqa: DTZ001  (Excel knows no zones)
    return cell


def _text(cell: Any) -> str:
    match cell:
        case str():
            return cell
        case bool():
            return "true" if cell else "false"
        case float() if cell.is_integer() and abs(cell) < _EXACT:
            return str(int(cell))
        case datetime():
            return cell.isoformat(" ")
        case date() | time():
            return cell.isoformat()
        case timedelta():
            seconds = round(cell.total_seconds())
            return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"
        case _:
            return str(cell)
