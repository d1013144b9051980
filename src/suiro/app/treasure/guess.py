"""What a load.yml leaves open, found by looking: the parser of files with its columns, and whether a table is there."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from suiro.app.lending import LentContext
from suiro.app.metadata import metadata
from suiro.app.treasure.load_yml import LoadYml, dumped, in_line
from suiro.app.treasure.sections import CsvParser, FileIn
from suiro.app.treasure.sources import Input, input_of, streaming
from suiro.engine.context import RunContext
from suiro.model.change import Rows
from suiro.model.clock import Clock, moments
from suiro.model.errors import ConfigError, SchemaConflict
from suiro.model.selection import Selection
from suiro.toolkit.files import formats
from suiro.toolkit.files.content import Part, parts, reading
from suiro.toolkit.files.csv import CsvProfile
from suiro.toolkit.files.formats import Profile
from suiro.toolkit.files.guess import Guess, Kind
from suiro.toolkit.files.listing import locate, streams
from suiro.toolkit.files.settings import FileSettings
from suiro.toolkit.files.source import FilesSource

PARSERS: Final = ("csv", "jsonl")
_DOUBLE_DIGITS: Final = 15  #: so many a double keeps
_DAYS: Final = ("%Y-%m-%d", "%Y/%m/%d")
_CLOCKS: Final = ("%H:%M:%S", "%H:%M:%S.%N", "%H:%M")
_FORMATS: Final = tuple(
    f"{day}{between}{clock}{zone}"
    for zone in ("", "%z", " %z")
    for clock in _CLOCKS
    for day in _DAYS
    for between in (" ", "T")
)
_CHARSETS: Final = {"utf-8": "UTF-8", "utf-8-sig": "UTF-8", "cp932": "Windows-31J", "euc_jp": "EUC-JP"}
_TIMES: Final = (Kind.DATE, Kind.TIMESTAMP, Kind.TIMESTAMPTZ)


@dataclass(frozen=True, slots=True, kw_only=True)
class Guessed:
    """A load.yml made whole."""

    text: str
    notes: tuple[str, ...]


def guess(load: LoadYml, parsers: tuple[str, ...] = PARSERS) -> Guessed:
    """The file with what it leaves open filled in. `parsers`: which ones are tried."""
    for name in parsers:
        if name not in PARSERS:
            raise ConfigError(f"there is no parser {name} to guess", hint=f"There are: {', '.join(PARSERS)}.")
    given = input_of(replace(load, parser=None), "guess", metadata())
    whole = _whole(load)
    notes = list(load.notes)
    if isinstance(load.input, FileIn):
        found, compression = _files(load, given, parsers)
        whole["in"]["parser"] = {**found, "columns": [in_line(column) for column in found["columns"]]}
        if compression != "none" and "decoders" not in whole["in"]:
            whole["in"]["decoders"] = [{"type": compression}]
        if "filters" not in whole and "time" not in [column["name"] for column in found["columns"]]:
            to = {"to_column": {"name": "time"}, "from_value": {"mode": "upload_time"}}
            whole["filters"] = [{"type": "add_time", **to}]
            notes.append("time is the time of the load; --time-column names a column, or change the add_time filter.")
    else:
        with streaming(load, given) as (_, stream, _context):
            notes.append(f"{stream.name} has {len(stream.schema.names)} columns, which need no parser.")
    whole.setdefault("out", {"mode": "append"})
    whole.setdefault("exec", {})
    return Guessed(text=dumped(whole), notes=tuple(notes))


def write(text: str, out: Path) -> Path | None:
    """Write a load.yml; a file that is there is kept under another name, which is returned. JSON for .json."""
    kept = None
    if out.exists():
        kept = next(path for n in range(10_000) if not (path := out.with_name(f"{out.name}.{n}")).exists())
        out.rename(kept)
    if out.suffix == ".json":
        from suiro.app.documents import load_yaml

        text = json.dumps(load_yaml(text, str(out)), ensure_ascii=False, indent=2, default=str) + "\n"
    out.write_text(text, "utf-8")
    return kept


def _whole(load: LoadYml) -> Any:
    data = load.data
    if load.below:
        data = data["config"]
    whole = data if "in" in data else {"in": data}
    for part in (whole, whole["in"]):
        if hasattr(part, "fa"):
            part.fa.set_block_style()
    return whole


def _files(load: LoadYml, given: Input, parsers: tuple[str, ...]) -> tuple[dict[str, Any], str]:
    """The parser of a file input, and the files' compression."""
    base = given.connection.config
    assert isinstance(base, FileSettings)
    named = None if load.parser is None else "csv" if isinstance(load.parser, CsvParser) else "jsonl"
    kind = named or (parsers[0] if len(parsers) == 1 else "guess")
    known: dict[str, Any] = {"format": kind, **(_said(load.parser) if isinstance(load.parser, CsvParser) else {})}
    with LentContext("guess") as context:
        settings = base.model_copy(update=known)
        found = [
            formats.profile(part, settings, context.workdir)
            for items in streams(locate(base.location), table_per="pattern", any_name=True).values()  # type: ignore[attr-defined]
            for item in items
            for part in parts(item, settings)
        ]
        _refuse_others(load, found, parsers)
        part = found[0].part
        columns = _columns(_merged(found), given, settings, found[0], context)
    if part.format == "jsonl":
        return {"type": "jsonl", "charset": "UTF-8", "newline": _newline(part), "columns": columns}, part.compression
    assert isinstance(found[0].found, CsvProfile)
    return _csv(part, found[0].found, settings) | {"columns": columns}, part.compression


def _said(parser: CsvParser) -> dict[str, Any]:
    """What a parser that is begun says already."""
    found: dict[str, Any] = {}
    for key, setting in (("delimiter", "delimiter"), ("quote", "quote"), ("charset", "encoding")):
        if key in parser.model_fields_set:
            found[setting] = getattr(parser, key) or ""
    if "skip_header_lines" in parser.model_fields_set:
        lines = parser.skip_header_lines
        found |= {"header": "yes" if lines else "no", "skip_rows": max(lines - 1, 0)}
    return found


def _refuse_others(load: LoadYml, found: list[Profile], parsers: tuple[str, ...]) -> None:
    """ConfigError where there is no file, or they can't be read as one."""
    assert isinstance(load.input, FileIn)
    if not found:
        raise ConfigError(f"no file begins with {load.input.path_prefix}", hint="Check path_prefix.")
    for one in found:
        if one.part.format not in parsers:
            said = f"{one.part.label} is {one.part.format}, which no parser of a load.yml reads here"
            raise ConfigError(said, hint=f"There are: {', '.join(parsers)}.")
        if one.part.format == "csv" and list(one.columns) != list(found[0].columns):
            raise SchemaConflict(
                f"{found[0].part.label} and {one.part.label} have other columns",
                hint="Columns are told by their place: read the files apart, with a longer path_prefix.",
            )


def _merged(found: list[Profile]) -> dict[str, Guess]:
    columns: dict[str, Guess] = {}
    for one in found:
        for name, held in one.columns.items():
            assert isinstance(held, Guess)
            columns.setdefault(name, Guess(mixed=held.mixed)).add(held)
    return columns


def _columns(
    merged: Mapping[str, Guess], given: Input, settings: FileSettings, first: Profile, context: RunContext
) -> list[dict[str, str]]:
    times = [name for name, guess in merged.items() if guess.kind in _TIMES]
    formats_ = _formats(times, list(merged), given, settings, first, context) if times else {}
    columns = []
    for name, held in merged.items():
        kind = _kind(held)
        if name in times and formats_.get(name) is None:
            kind = "string"
        columns.append({"name": name, "type": kind, **({"format": formats_[name]} if kind == "timestamp" else {})})
    return columns


def _kind(held: Guess) -> str:
    match held.kind:
        case Kind.INTEGER if not held.past_int64:
            return "long"
        case Kind.DECIMAL if held.digits <= _DOUBLE_DIGITS:
            return "double"
        case Kind.FLOAT:
            return "double" if pa.types.is_floating(held.type()) else "string"
        case Kind.BOOLEAN:
            return "boolean"
        case Kind.JSON:
            return "json"
    return "timestamp" if held.kind in _TIMES else "string"


def _formats(
    times: list[str], names: list[str], given: Input, settings: FileSettings, first: Profile, context: RunContext
) -> dict[str, str]:
    """The one format that all values of a column have, for those that have one."""
    clocks = {format_: Clock(format_) for format_ in (*_DAYS, *_FORMATS)}
    left = {name: list(clocks) for name in times}
    for batch in _texts(names, given, settings, first, context):
        for name, fitting in left.items():
            values = batch.column(name)
            for format_ in list(fitting):
                if moments(values, clocks[format_]).null_count != values.null_count:
                    fitting.remove(format_)
    return {name: fitting[0] for name, fitting in left.items() if fitting}


def _texts(
    names: list[str], given: Input, settings: FileSettings, first: Profile, context: RunContext
) -> Iterator[pa.RecordBatch]:
    """All rows as texts, empty ones NULL."""
    header = (
        {} if not isinstance(first.found, CsvProfile) else {"header": "yes" if first.found.dialect.header else "no"}
    )
    columns = [{"name": name, "type": "string"} for name in names]
    update = {"format": first.part.format, "columns": columns, "quoted_nulls": True, **header}
    config = type(settings).model_validate({**settings.model_dump(), **update})
    assert given.connection.connector.source is not None
    with closing(given.connection.connector.source(config, context)) as source:
        assert isinstance(source, FilesSource)
        (stream,) = source.discover()
        for read in source.plan([Selection(stream=stream, columns=tuple(names))]):
            for change in source.read(read, None):
                if isinstance(change, Rows):
                    yield change.data


def _csv(part: Part, found: CsvProfile, settings: FileSettings) -> dict[str, Any]:
    return {
        "type": "csv",
        "charset": _CHARSETS.get(found.dialect.encoding, found.dialect.encoding.upper()),
        "newline": _newline(part),
        "delimiter": found.dialect.delimiter,
        "quote": settings.quote,
        "escape": settings.quote,
        "trim_if_not_quoted": False,
        "skip_header_lines": settings.skip_rows + int(found.dialect.header),
        "allow_extra_columns": False,
        "allow_optional_columns": False,
    }


def _newline(part: Part) -> str:
    with reading(part) as stream:
        start = stream.read(1 << 16)
    if b"\r\n" in start:
        return "CRLF"
    return "CR" if b"\r" in start and b"\n" not in start else "LF"
