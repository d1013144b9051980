"""The connection that the section `in` of a load.yml describes."""

from __future__ import annotations

import glob
from pathlib import Path
from typing import Any, Final

from suiro.app.treasure.load_yml import LoadYml, Path_
from suiro.app.treasure.sections import (
    CsvParser,
    DatabaseIn,
    FileIn,
    IntercomIn,
    JsonParser,
    MysqlIn,
    ParsedColumn,
    PostgresIn,
)
from suiro.model.clock import Clock, zone_of
from suiro.model.errors import ConfigError
from suiro.toolkit.files.sniff import codec

_COMPRESSIONS: Final = {"gzip": "gzip", "zip": "zip", "zstd": "zstd"}
_MYSQL_SSL: Final = {
    True: "require",
    "enable": "require",
    False: "disable",
    "disable": "disable",
    "verify": "verify-ca",
}
_DEFAULT_FORMAT: Final = "%Y-%m-%d %H:%M:%S.%N %z"


def connector_of(load: LoadYml) -> str:
    """The connector's name here."""
    match load.input:
        case PostgresIn():
            return "postgres"
        case MysqlIn():
            return "mysql"
        case IntercomIn():
            return "intercom"
        case _:
            return "files"


def settings_of(load: LoadYml) -> dict[str, Any]:
    """The settings of the connection, secrets as the file writes them. ConfigError where something is missing."""
    if isinstance(load.input, FileIn):
        return _files(load, load.input)
    if isinstance(load.input, IntercomIn):
        said = {name: getattr(load.input, name) for name in ("access_token", "app_id", "api_key")}
        return {name: value for name, value in said.items() if value is not None}
    return _database(load, load.input)


def refuse_folders(load: LoadYml) -> None:
    """ConfigError if a folder begins like the files: what is in it would be left out."""
    if isinstance(load.input, FileIn):
        prefix = Path(load.input.path_prefix).expanduser()
        if not load.input.path_prefix.endswith("/"):
            found = [path for path in glob.glob(glob.escape(str(prefix)) + "*") if Path(path).is_dir()]
            if found:
                said = f"{found[0]} is a folder that begins so, and folders are not gone into"
                raise load.wrong(("in", "path_prefix"), said, f"Write {found[0]}/ to read the files in it.")


def _database(load: LoadYml, said: DatabaseIn) -> dict[str, Any]:
    for name in ("host", "user", "database"):
        if getattr(said, name) is None:
            raise load.wrong(("in",), f"it has no {name}", f"Write {name}: under in.")
    given: dict[str, Any] = {"host": said.host, "user": said.user, "database": said.database}
    given |= {
        name: value for name in ("port", "password", "connect_timeout") if (value := getattr(said, name)) is not None
    }
    match said:
        case PostgresIn():
            given["schema"] = said.schema_name
            if said.ssl is not None:
                given["sslmode"] = "require" if said.ssl else "disable"
        case MysqlIn() if said.ssl is not None:
            given["sslmode"] = _MYSQL_SSL[said.ssl]
    return given


def _files(load: LoadYml, said: FileIn) -> dict[str, Any]:
    folder = said.path_prefix.endswith("/")
    location = glob.escape(said.path_prefix) + ("**/*" if folder else "*")
    given: dict[str, Any] = {"location": str(Path(location).expanduser().absolute()), "table_per": "pattern"}
    if said.last_path is not None:
        given["start_after"] = str(Path(said.last_path).expanduser().absolute())
    if len(said.decoders) > 1:
        raise load.wrong(("in", "decoders", 1), "files are decoded once", "Leave one decoder.")
    for i, decoder in enumerate(said.decoders):
        if decoder.type not in _COMPRESSIONS:
            hint = f"There are: {', '.join(_COMPRESSIONS)}."
            raise load.wrong(("in", "decoders", i, "type"), f"there is no decoder {decoder.type} here", hint)
        given["compression"] = _COMPRESSIONS[decoder.type]
    return given if load.parser is None else given | _parsed(load, load.parser)


def _parsed(load: LoadYml, said: CsvParser | JsonParser) -> dict[str, Any]:
    at: Path_ = ("in", "parser")
    if not said.columns:
        raise load.wrong(at, "it has no columns", "suiro connector guess writes them.")
    given: dict[str, Any] = {
        "format": "csv" if isinstance(said, CsvParser) else "jsonl",
        "encoding": _charset(load, said.charset),
        "columns": [_column(load, said, one, (*at, "columns", i)) for i, one in enumerate(said.columns)],
    }
    return given | _dialect(load, said, at) if isinstance(said, CsvParser) else given


def _dialect(load: LoadYml, said: CsvParser, at: Path_) -> dict[str, Any]:
    if said.header_line and "skip_header_lines" in said.model_fields_set:
        raise load.wrong((*at, "header_line"), "skip_header_lines says the same", "Leave header_line out.")
    escape = said.escape or ""
    if escape not in ("", "\\", said.quote):
        raise load.wrong((*at, "escape"), f"{escape!r} can't be an escape here", "Double the quotes: escape: '\"'.")
    return {
        "delimiter": said.delimiter,
        "quote": said.quote or "",
        "foreign_escape": "\\" if escape == "\\" else "",
        "header": "no",
        "skip_rows": 1 if said.header_line else said.skip_header_lines,
        "null_strings": [""] if said.null_string is None else [said.null_string],
        "quoted_nulls": said.null_string is not None,
    }


def _charset(load: LoadYml, charset: str) -> str:
    try:
        return codec(charset)
    except LookupError:
        raise load.wrong(
            ("in", "parser", "charset"), f"no charset is called {charset!r}", "Write UTF-8, say."
        ) from None


def _column(load: LoadYml, parser: CsvParser | JsonParser, said: ParsedColumn, at: Path_) -> dict[str, Any]:
    given = {"name": said.name, "type": said.type}
    if said.type != "timestamp":
        for key in ("format", "timezone", "date"):
            if getattr(said, key) is not None:
                raise load.wrong((*at, key), f"a {said.type} has no {key}", "Leave it out, or make it a timestamp.")
        return given
    format_ = said.format or parser.default_timestamp_format or _DEFAULT_FORMAT
    zone = said.timezone or parser.default_timezone
    try:
        zone_of(zone)
        Clock(format_, zone)
    except ConfigError as error:
        raise load.wrong(at, error.message, error.hint or "") from error
    return {**given, "format": format_, "timezone": zone, "day": said.date or parser.default_date}
