"""CSV files as Arrow rows."""

from __future__ import annotations

import codecs
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import pyarrow as pa
import pyarrow.csv as pa_csv

from suiro.model.errors import DataError
from suiro.model.rejected import UNREADABLE, RejectedRow
from suiro.model.types import is_text
from suiro.toolkit.files import sniff, texts
from suiro.toolkit.files.content import Part, reading
from suiro.toolkit.files.guess import Guess, Kind
from suiro.toolkit.files.settings import FileSettings
from suiro.toolkit.files.sniff import Dialect

_BLOCK = 1 << 20
_LARGEST_BLOCK = 1 << 28  #: a row is smaller than that
_AHEAD = 1 << 22  #: bytes that tell the encoding; a later byte that belies them is met while the columns are measured


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvProfile:
    """What one CSV file is: its dialect, and what its columns hold."""

    dialect: Dialect
    columns: dict[str, Guess]
    block: int = _BLOCK
    broken: str | None = None  #: the first row of another width, in words


def profile(part: Part, settings: FileSettings) -> CsvProfile:
    """Read the file once and tell. DataError names the line that is broken."""
    all_text = settings.types == "all_text" or bool(settings.columns)
    found = _unmeasured(part, settings, ahead=None if all_text else _AHEAD)
    if all_text or not found.dialect.names:
        return found
    try:
        return _measured(part, found, settings)
    except NotUtf8 as error:
        again = _unmeasured(part, settings, ahead=None)
        if again.dialect.encoding == found.dialect.encoding:
            raise _wrong_byte(part, found.dialect, settings) from error
        return _measured(part, again, settings)


def _unmeasured(part: Part, settings: FileSettings, *, ahead: int | None) -> CsvProfile:
    """The dialect, with nothing known of the columns. `ahead`: how many bytes may tell the encoding; None: all."""
    with reading(part) as stream:
        encoding = sniff.encoding_of(stream, part.label, settings, ahead=ahead)
    with reading(part) as stream:
        head = stream.read(sniff.SAMPLE)
    dialect = sniff.dialect_of(head, encoding, settings)
    return CsvProfile(dialect=dialect, columns={name: Guess() for name in dialect.names})


def _measured(part: Part, found: CsvProfile, settings: FileSettings) -> CsvProfile:
    block = found.block
    while True:
        columns = {name: Guess() for name in found.dialect.names}
        wrong: list[RejectedRow] = []
        try:
            for batch in rows_as_text(part, found.dialect, settings, block, {}, rejects=wrong):
                del wrong[1:]
                for name, known in columns.items():
                    if known.kind is not Kind.TEXT:
                        known.add(texts.guess(batch.column(name), known.kind, settings))
            return replace(
                found, columns=columns, block=block, broken=_first_broken(part, found, settings) if wrong else None
            )
        except Straddles:
            block *= 8


def batches(
    part: Part,
    found: CsvProfile,
    columns: Sequence[str],
    schema: pa.Schema,
    settings: FileSettings,
    rejects: list[RejectedRow] | None = None,
) -> Iterator[pa.RecordBatch]:
    """The file's rows, those of `columns` that it has, in the types of `schema`.

    Rows of another width go to `rejects`, each once; without it the first is a DataError.
    """
    names = [name for name in columns if name in found.dialect.names]
    native = {name: schema.field(name).type for name in names if _is_native(found, name, schema, settings)}
    block, done, told = found.block, 0, 0
    while found.dialect.names:
        at, wrong = 0, None if rejects is None else list[RejectedRow]()
        try:
            for batch in rows_as_text(part, found.dialect, settings, block, native, names, rejects=wrong):
                at += batch.num_rows
                told = _tell(wrong, rejects, told)
                if at > done:
                    new = batch.slice(max(0, batch.num_rows - (at - done)))
                    done = at
                    yield _converted(new, names, schema, settings)
            _tell(wrong, rejects, told)
            return
        except Straddles:
            block *= 8
        except NotUtf8 as error:
            raise _wrong_byte(part, found.dialect, settings) from error


def _first_broken(part: Part, found: CsvProfile, settings: FileSettings) -> str:
    return _located(pa.ArrowInvalid("a row of another width"), part, found.dialect, settings).message


def _tell(wrong: list[RejectedRow] | None, rejects: list[RejectedRow] | None, told: int) -> int:
    """Hand on the rejected rows past the first `told`; how many are told now."""
    if wrong is None or rejects is None:
        return told
    rejects += wrong[told:]
    return max(told, len(wrong))


def _is_native(found: CsvProfile, name: str, schema: pa.Schema, settings: FileSettings) -> bool:
    guess, type_ = found.columns[name], schema.field(name).type
    return (
        guess.plain
        and "" in settings.null_strings
        and guess.type() == type_
        and not is_text(type_)
        and not pa.types.is_decimal256(type_)
    )


def _converted(batch: pa.RecordBatch, names: list[str], schema: pa.Schema, settings: FileSettings) -> pa.RecordBatch:
    arrays = []
    for name in names:
        array, type_ = batch.column(name), schema.field(name).type
        arrays.append(array if array.type == type_ else texts.convert(array, type_, settings))
    if not names:
        return batch.select([])
    return pa.RecordBatch.from_arrays(arrays, names=names)


class Straddles(Exception):
    """A row is larger than the block that is read at once."""


class NotUtf8(Exception):
    """Some bytes of a text taken for UTF-8 are not."""


def rows_as_text(
    part: Part,
    dialect: Dialect,
    settings: FileSettings,
    block: int,
    native: dict[str, pa.DataType],
    columns: Sequence[str] | None = None,
    *,
    rejects: list[RejectedRow] | None = None,
) -> Iterator[pa.RecordBatch]:
    """Rows as text, `native` columns in their types. The last column is always read: an open quote shows there.

    Rows of another width go to `rejects`; without it the first is a DataError.
    """
    last = dialect.names[-1]
    wanted = list(dialect.names if columns is None else columns)
    wanted = wanted if last in wanted else [*wanted, last]
    types = {name: native.get(name, pa.string()) for name in wanted}
    options = {
        "read_options": pa_csv.ReadOptions(
            use_threads=False,
            block_size=block,
            column_names=list(dialect.names),
            skip_rows=settings.skip_rows,
            skip_rows_after_names=int(dialect.header),
        ),
        "parse_options": pa_csv.ParseOptions(
            delimiter=dialect.delimiter,
            quote_char=settings.quote or False,
            double_quote=not settings.escape,
            escape_char=settings.escape or False,
            newlines_in_values=bool(settings.quote),
            ignore_empty_lines=len(dialect.names) > 1,
            invalid_row_handler=None if rejects is None else partial(_rejected, rejects, part, dialect),
        ),
        "convert_options": pa_csv.ConvertOptions(
            column_types=types,
            include_columns=wanted,
            null_values=list(settings.null_strings),
            strings_can_be_null=True,
            quoted_strings_can_be_null=settings.quoted_nulls,
        ),
    }
    with reading(part) as stream:
        source = Utf8(stream, part, dialect, settings)
        try:
            yield from _without_last_row(pa_csv.open_csv(pa.PythonFile(source, mode="r"), **options), part)
        except pa.ArrowInvalid as error:
            if "straddl" in str(error) and block < _LARGEST_BLOCK:
                raise Straddles from error
            if "UTF8" in str(error):
                raise NotUtf8 from error
            raise _located(error, part, dialect, settings) from error


def _rejected(rejects: list[RejectedRow], part: Part, dialect: Dialect, row: pa_csv.InvalidRow) -> str:
    """Keep a row of another width; called while the CSV reader goes on."""
    place = "" if row.number is None else f", row {row.number}"
    said = f"{part.label}{place}: {row.actual_columns} values where there are {len(dialect.names)} columns"
    rejects.append(RejectedRow(reason=said, row=json.dumps({UNREADABLE: row.text}, ensure_ascii=False)))
    return "skip"


def _without_last_row(rows: pa_csv.CSVStreamingReader, part: Part) -> Iterator[pa.RecordBatch]:
    """All rows but the empty one that `Utf8` puts behind the last; where it is missing, a quote was left open."""
    waiting: pa.RecordBatch | None = None
    for batch in rows:
        if batch.num_rows:
            if waiting is not None:
                yield waiting
            waiting = batch
    if waiting is None:
        return
    end = waiting.slice(waiting.num_rows - 1)
    if any(value.as_py() not in (None, "") for value in (column[0] for column in end.columns)):
        raise pa.ArrowInvalid("an open quote")
    if waiting.num_rows > 1:
        yield waiting.slice(0, waiting.num_rows - 1)


def _located(error: pa.ArrowInvalid, part: Part, dialect: Dialect, settings: FileSettings) -> DataError:
    """The error with its line and without values: the file is read again, slowly, up to the mistake."""
    with reading(part) as stream:
        lines = io.TextIOWrapper(stream, dialect.encoding, errors="replace", newline="")
        for _ in range(settings.skip_rows):
            lines.readline()
        rows = sniff.python_reader(lines, dialect.delimiter, settings)
        start = begun = 1
        for row in rows:
            begun = start
            if row and len(row) != len(dialect.names):
                return DataError(
                    f"{part.label}, line {begun + settings.skip_rows}: "
                    f"{len(row)} values where there are {len(dialect.names)} columns",
                    hint="Repair the line, or check the delimiter and the quote.",
                )
            if rows.line_num - begun > 1000 and "quote" in str(error):
                break
            start = rows.line_num + 1
    if "straddl" in str(error) or "quote" in str(error):
        return DataError(f"{part.label}, line {begun + settings.skip_rows}: a quote isn't closed", hint="Close it.")
    said = str(error).split("invalid value", 1)[0].strip(" :")
    return DataError(f"{part.label} can't be read as CSV: {said}", hint="Did the file change while it was read?")


def _wrong_byte(part: Part, dialect: Dialect, settings: FileSettings) -> DataError:
    with reading(part) as stream:
        source = Utf8(stream, part, dialect, settings, decodes=True)
        try:
            while source.read(_BLOCK):
                pass
        except DataError as error:
            return error
    return DataError(f"{part.label}: some text isn't in {dialect.encoding}", hint="Set the encoding.")


class Utf8(io.RawIOBase):
    """A text file as UTF-8, with an empty row put behind its last one."""

    def __init__(
        self, stream: pa.NativeFile, part: Part, dialect: Dialect, settings: FileSettings, *, decodes: bool = False
    ) -> None:
        super().__init__()
        self._stream, self._part, self._encoding = stream, part, dialect.encoding
        plain = dialect.encoding in ("utf-8", "utf-8-sig") and settings.encoding_errors == "strict"
        self._decoder = (
            None if plain and not decodes else codecs.getincrementaldecoder(dialect.encoding)(settings.encoding_errors)
        )
        self._foreign, self._quote = settings.foreign_escape.encode(), settings.quote.encode()
        self._empty_row = dialect.delimiter * (len(dialect.names) - 1)
        self._left, self._last, self._lines, self._ended = b"", b"\n", 0, False

    def readable(self) -> bool:
        """Yes."""
        return True

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes, `size` at most; fewer only at the end."""
        out = self._left
        while not self._ended and (size < 0 or len(out) < size):
            out += self._next(max(_BLOCK, size))
        if size >= 0:
            out, self._left = out[:size], out[size:]
        return out

    def _next(self, size: int) -> bytes:
        block = self._stream.read(size)
        text = self._decoded(block)
        if text:
            if self._foreign:
                self._check_escape(self._last + text)
            self._last = text[-1:]
        if not block:
            self._ended = True
            text += self._end()
        return text

    def _check_escape(self, text: bytes) -> None:
        if (self._quote and self._foreign + self._quote in text) or self._foreign * 2 in text:
            raise DataError(
                f"{self._part.label}: {self._foreign.decode()} before a quote or itself is meant as an escape",
                hint="Write the file with quotes doubled, and say that the escape is the quote.",
            )

    def _decoded(self, block: bytes) -> bytes:
        if self._decoder is None:
            return block
        try:
            text = self._decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            line = self._lines + error.object[: error.start].count(b"\n") + 1
            raise DataError(
                f"{self._part.label}, line {line}: a byte that {self._encoding} doesn't have",
                hint="Set the encoding, or encoding_errors to replace.",
            ) from error
        self._lines += text.count("\n")
        return text.encode()

    def _end(self) -> bytes:
        ending = {b"\n": "\n", b"\r": "\r"}.get(self._last)
        if ending is None:
            return f"\n{self._empty_row}\n".encode()
        return f"{self._empty_row}{ending}".encode() if ending == "\n" else f"{self._empty_row}\r\n".encode()
