"""The settings that every connector of files has: formats and their dialects."""

from __future__ import annotations

import codecs
import json
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, field_validator, model_validator
from pydantic.dataclasses import dataclass

from suiro.model.clock import Clock, zone_of
from suiro.spi.connector import ConnectorConfig
from suiro.toolkit.files.names import name_pattern


def _yes_or_no(value: Any) -> Any:
    return {True: "yes", False: "no"}.get(value, value) if isinstance(value, bool) else value


def _several(value: Any) -> Any:
    return tuple(value.split(",")) if isinstance(value, str) else value


def _characters(value: Any) -> Any:
    names = {"tab": "\t", r"\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|", "space": " "}
    return names.get(value, value) if isinstance(value, str) else value


def _listed(value: Any) -> Any:
    return json.loads(value or "[]") if isinstance(value, str) else value


ColumnType = Literal["long", "double", "string", "timestamp", "boolean", "json"]


@dataclass(frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Column:
    """A declared column of a text file; of CSV by its place, of JSON Lines by its name."""

    name: str
    type: ColumnType = "string"
    format: str | None = None  #: of timestamps, as strptime has it; None: ISO 8601
    timezone: str = "UTC"  #: of timestamps that name none
    day: str = "1970-01-01"  #: of timestamps whose format has no date


YesNo = Annotated[Literal["guess", "yes", "no"], BeforeValidator(_yes_or_no)]
Several = Annotated[tuple[str, ...], BeforeValidator(_several)]
Sign = Annotated[str, BeforeValidator(_characters)]


class FileSettings(ConnectorConfig):
    """How files are told apart, read and written."""

    format: Literal["guess", "csv", "jsonl", "parquet", "excel"] = Field(
        default="guess", title="Format", description="guess: by the file's name, then by its content."
    )
    written_as: Literal["guess", "parquet", "csv", "jsonl"] = Field(
        default="guess",
        title="Written as",
        description="The format of files whose names tell none. guess: what the source's users expect, else Parquet.",
    )
    compression: Literal["guess", "none", "gzip", "zstd", "zip"] = Field(
        default="guess",
        title="Compression",
        description="guess: by the file's name; for writing, zstd inside Parquet and none for others.",
    )
    delimiter: Sign = Field(
        default="guess", title="Delimiter", description="CSV: the character between values; tab, comma, ... or guess."
    )
    quote: Sign = Field(default='"', title="Quote", description="CSV: the character around values; empty: none.")
    escape: Sign = Field(
        default="", title="Escape", description="CSV: the character before a quote inside quotes; empty: it is doubled."
    )
    encoding: str = Field(
        default="guess", title="Encoding", description="CSV and JSON Lines: utf-8, cp932, euc_jp, utf-16, ... or guess."
    )
    encoding_errors: Literal["strict", "replace"] = Field(
        default="strict",
        title="Encoding errors",
        description="strict: bytes that don't fit the encoding stop the run; replace: they become U+FFFD.",
    )
    header: YesNo = Field(default="guess", title="Header", description="CSV and Excel: whether row one holds names.")
    null_strings: Several = Field(
        default=("",), title="NULL", description="CSV: values without quotes that stand for NULL, with commas between."
    )
    quoted_nulls: bool = Field(
        default=False, title="NULL in quotes", description="CSV: those values stand for NULL in quotes, too."
    )
    foreign_escape: Sign = Field(
        default="",
        title="Foreign escape",
        description="CSV: where this character stands before itself or a quote, the file is refused: its writer meant "
        "an escape, and here quotes are doubled.",
    )
    columns: Annotated[tuple[Column, ...], BeforeValidator(_listed)] = Field(
        default=(),
        title="Columns",
        description="CSV and JSON Lines: names and types, instead of those that are found; values that don't fit are "
        "rejected row by row. A list of {name, type, format, timezone, day}; types: long, double, string, timestamp, "
        "boolean, json.",
    )
    start_after: str = Field(
        default="",
        title="Start after",
        description="Leave out files whose paths come, in the order of their characters, before this one or are it.",
    )
    skip_rows: int = Field(
        default=0,
        ge=0,
        title="Rows to skip",
        description="Text and Excel: lines above the header, or in JSON Lines above the first object.",
    )
    decimal_point: Literal[".", ","] = Field(default=".", title="Decimal point", description="CSV: in numbers.")
    date_formats: Several = Field(
        default=(),
        title="Date formats",
        description="CSV: besides ISO, as %d.%m.%Y; the first that fits.",
    )
    timestamp_formats: Several = Field(
        default=(), title="Timestamp formats", description="CSV: besides ISO, as %d.%m.%Y %H:%M; the first that fits."
    )
    sheet: str = Field(default="", title="Sheet", description="Excel: the sheet's name; empty: the first.")
    types: Literal["guess", "all_text"] = Field(
        default="guess", title="Types", description="CSV, JSON Lines, Excel: found from all values, or all text."
    )

    table_per: Literal["guess", "pattern", "file"] = Field(
        default="guess",
        title="One stream per",
        description="guess: a pattern is one stream, in a folder each file is one.",
    )
    file_names: str = Field(
        default="",
        title="File names",
        description="How names of files are made, as {}-{}-{stream}-{date}-{}-{}.csv.gz: {stream} names the stream and "
        "may hold the signs between the parts, {date} is yyyymmdd, {} any other part. Other files are passed over.",
    )
    file_date_column: str = Field(
        default="", title="File date column", description="A column to add with the date in each row's file name."
    )
    file_name_column: str = Field(
        default="", title="File name column", description="A column to add with the name of each row's file."
    )
    modified_column: str = Field(
        default="", title="Modified column", description="A column to add with the time its file was modified."
    )
    row_group_rows: int = Field(
        default=131_072, ge=1, title="Rows of a row group", description="Parquet: how many rows are written together."
    )
    compression_level: int | None = Field(
        default=None,
        title="Compression level",
        description="Writing Parquet or gzip; empty: 1.",
    )

    @field_validator("file_names")
    @classmethod
    def _can_be_read(cls, value: str) -> str:
        if value:
            name_pattern(value)
        return value

    @model_validator(mode="after")
    def _has_a_date(self) -> FileSettings:
        if self.file_date_column and "{date}" not in self.file_names:
            raise ValueError("file_date_column needs {date} in file_names")
        return self

    @field_validator("delimiter", "quote", "escape", "foreign_escape")
    @classmethod
    def _one_character(cls, value: str) -> str:
        if value not in ("guess", "") and (len(value) != 1 or ord(value) > 127 or value in "\r\n"):
            raise ValueError("one ASCII character is wanted")
        return value

    @field_validator("delimiter")
    @classmethod
    def _not_empty(cls, value: str) -> str:
        if not value:
            raise ValueError("values must be told apart by a character")
        return value

    @field_validator("columns")
    @classmethod
    def _readable(cls, value: tuple[Column, ...]) -> tuple[Column, ...]:
        names = [column.name for column in value]
        if len(set(names)) < len(names):
            raise ValueError("two columns have one name")
        for column in value:
            zone_of(column.timezone)
            if column.format is not None:
                if column.type != "timestamp":
                    raise ValueError(f"column {column.name} is a {column.type}, which has no format")
                Clock(column.format, column.timezone)
        return value

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, value: str) -> str:
        if value != "guess":
            try:
                codecs.lookup(value)
            except LookupError:
                raise ValueError(f"no encoding is called {value!r}") from None
        return value
