"""The settings that every connector of files has: formats and their dialects."""

from __future__ import annotations

import codecs
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from suiro.spi.connector import ConnectorConfig


def _yes_or_no(value: Any) -> Any:
    return {True: "yes", False: "no"}.get(value, value) if isinstance(value, bool) else value


def _several(value: Any) -> Any:
    return tuple(value.split(",")) if isinstance(value, str) else value


def _characters(value: Any) -> Any:
    names = {"tab": "\t", r"\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|", "space": " "}
    return names.get(value, value) if isinstance(value, str) else value


YesNo = Annotated[Literal["guess", "yes", "no"], BeforeValidator(_yes_or_no)]
Several = Annotated[tuple[str, ...], BeforeValidator(_several)]
Sign = Annotated[str, BeforeValidator(_characters)]


class FileSettings(ConnectorConfig):
    """How files are told apart, read and written."""

    format: Literal["guess", "csv", "jsonl", "parquet", "excel"] = Field(
        default="guess", title="Format", description="guess: by the file's name, then by its content."
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
    skip_rows: int = Field(default=0, ge=0, title="Rows to skip", description="CSV and Excel: lines above the header.")
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

    @field_validator("delimiter", "quote", "escape")
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

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, value: str) -> str:
        if value != "guess":
            try:
                codecs.lookup(value)
            except LookupError:
                raise ValueError(f"no encoding is called {value!r}") from None
        return value
