"""The dialect of a text file, told from its beginning: encoding, delimiter, header."""

from __future__ import annotations

import codecs
import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from suiro.model.errors import DataError
from suiro.toolkit.files.settings import FileSettings

SAMPLE = 1 << 18
_BLOCK = 1 << 20
_BOMS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_DELIMITERS = ",\t;|"
_VALUE = re.compile(r"^[-+]?[0-9.,]+([eE][-+]?[0-9]+)?$|^[0-9]{1,4}[-/.][0-9]{1,2}[-/.][0-9]{1,4}([ T].*)?$")
#: What people call these encodings holds fewer characters than what Windows writes under their names.
_WIDER = {"shift_jis": "cp932", "iso8859-1": "cp1252", "euc_jp": "euc_jp", "ascii": "utf-8", "utf_8": "utf-8"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """How a CSV file is written. `names` are unique; `header` says whether row one holds them."""

    encoding: str
    delimiter: str
    header: bool
    names: tuple[str, ...]


def codec(encoding: str) -> str:
    """Python's codec for an encoding's name: Shift_JIS means CP932, Latin-1 means CP1252, as in the WHATWG's list."""
    name = codecs.lookup(encoding).name
    return _WIDER.get(name, name)


def encoding_of(stream: pa.NativeFile, label: str, settings: FileSettings, *, ahead: int | None = None) -> str:
    """The encoding that is set, or that the first characters outside ASCII tell; UTF-8 where there are none.

    Reads as far as these are, or `ahead` bytes at most.
    """
    if settings.encoding != "guess":
        return codec(settings.encoding)
    sample, ended, read = b"", False, 0
    while len(sample) < SAMPLE and not ended:
        if not sample and ahead is not None and read >= ahead:
            break
        block = stream.read(_BLOCK)
        ended, read = not block, read + len(block)
        for bom, name in _BOMS.items():
            if not sample and block.startswith(bom):
                return name
        if block.isascii() and not sample and b"\0" not in block:
            continue
        sample += block
    return _guessed(sample if ended else sample[: sample.rfind(b"\n") + 1] or sample, label)


def _guessed(sample: bytes, label: str) -> str:
    if not sample:
        return "utf-8"
    nulls = sample[:4096].count(b"\0")
    if nulls > len(sample[:4096]) // 4:
        return "utf-16-le" if sample[1:4096:2].count(b"\0") > nulls // 2 else "utf-16-be"
    if _decoded(sample, "utf-8") is not None:
        return "utf-8"
    texts = {name: _decoded(sample, name) for name in ("cp932", "euc_jp")}
    japanese = {name: _strangeness(text) for name, text in texts.items() if text is not None}
    if japanese:
        best = min(japanese, key=lambda name: japanese[name])
        if japanese[best] < 0.3:
            return best
    import charset_normalizer

    found = charset_normalizer.from_bytes(sample[:65536]).best()
    if found is None:
        raise DataError(f"the encoding of {label} can't be told", hint="Set the encoding.")
    return codec(found.encoding)


def _decoded(sample: bytes, encoding: str) -> str | None:
    """The text, or None where bytes don't fit; one character cut off by the sample's end is forgiven."""
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        return decoder.decode(sample)
    except UnicodeDecodeError:
        return None


def _strangeness(text: str) -> float:
    """The share of characters outside ASCII that Japanese text would hardly have where they are."""
    strange = seen = 0
    for before, char, behind in zip(" " + text, text, text[1:] + " ", strict=False):
        if char.isascii():
            continue
        seen += 1
        lone = before.isascii() and before.isalpha() and behind.isascii() and (behind.isalpha() or behind in " ,.")
        half_width = "｡" <= char <= "ﾟ"
        strange += lone or half_width or unicodedata.category(char) in ("Co", "Cn", "Cc")
    return strange / seen if seen else 0.0


def dialect_of(head: bytes, encoding: str, settings: FileSettings) -> Dialect:
    """The dialect of a CSV file that begins with `head`."""
    text = codecs.getincrementaldecoder(encoding)("replace").decode(head).removeprefix("\ufeff")
    lines = text.splitlines(keepends=True)[settings.skip_rows :]
    if len(head) >= SAMPLE and len(lines) > 1:
        lines.pop()
    delimiter = settings.delimiter if settings.delimiter != "guess" else _delimiter(lines, settings)
    rows = [row for row in _rows(lines[:200], delimiter, settings) if row][:20]
    first = rows[0] if rows else []
    header = settings.header == "yes" or (settings.header == "guess" and looks_like_header(first))
    names = unique_names(first) if header else tuple(f"column_{i}" for i in range(1, len(first) + 1))
    if settings.columns:
        names = tuple(column.name for column in settings.columns)
    return Dialect(encoding=encoding, delimiter=delimiter, header=header, names=names)


def looks_like_header(row: list[str]) -> bool:
    """Whether a row can hold names: none is empty or comes twice, and none is a number or a date."""
    return bool(row) and all(row) and len(set(row)) == len(row) and not any(_VALUE.match(cell) for cell in row)


def unique_names(row: list[str]) -> tuple[str, ...]:
    """The row's cells as names; empty ones are numbered, repeated ones get _2, _3, ..."""
    names: list[str] = []
    for place, cell in enumerate(row, 1):
        name = wanted = cell or f"column_{place}"
        number = 2
        while name in names:
            name, number = f"{wanted}_{number}", number + 1
        names.append(name)
    return tuple(names)


def _rows(lines: list[str], delimiter: str, settings: FileSettings) -> Iterator[list[str]]:
    try:
        yield from python_reader(io.StringIO("".join(lines), newline=""), delimiter, settings)
    except csv.Error:
        return


def python_reader(lines: Iterable[str], delimiter: str, settings: FileSettings) -> Any:
    """Python's own reader in this dialect: for samples, and to find the line of a mistake."""
    csv.field_size_limit(1 << 30)
    return csv.reader(
        lines,
        delimiter=delimiter,
        quotechar=settings.quote or None,
        quoting=csv.QUOTE_MINIMAL if settings.quote else csv.QUOTE_NONE,
        escapechar=settings.escape or None,
        doublequote=not settings.escape,
    )


def _delimiter(lines: list[str], settings: FileSettings) -> str:
    """The sign that parts the first lines into most columns of one number."""
    best, most = ",", (0.0, 1)
    for sign in _DELIMITERS if settings.decimal_point == "." else reversed(_DELIMITERS):
        counts = [len(row) for row in _rows(lines[:200], sign, settings) if row]
        if not counts:
            continue
        usual = max(set(counts), key=counts.count)
        score = (counts.count(usual) / len(counts), usual)
        if usual > 1 and score > most:
            best, most = sign, score
    return best
