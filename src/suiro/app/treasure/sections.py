"""What a load.yml may say, section by section; names and defaults are those of Treasure Data and embulk.

Source: embulk's documentation of its built-in plugins, and the README files of embulk-input-postgresql,
embulk-input-mysql, embulk-output-td, embulk-filter-add_time and embulk-filter-column.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Literal

from pydantic import Field

from suiro.app.documents import Document, Text
from suiro.model.added import Unit

IDLE: Final = "idle"  #: in a field's extra: why the key changes nothing here
REFUSED: Final = "refused"  #: in a field's extra: what to do instead, where the key says more than its default
Type = Literal["long", "double", "string", "timestamp", "boolean", "json"]


def _idle(why: str) -> Any:
    return Field(default=None, json_schema_extra={IDLE: why})


def _refused(instead: str, default: Any = None) -> Any:
    return Field(default=default, json_schema_extra={REFUSED: instead})


class ColumnOptions(Document):
    """How a column of a database is taken."""

    type: Type | None = None
    value_type: Any = _refused("Give the type alone.")
    timestamp_format: Any = _refused("Format the value in a query.")
    timezone: Any = _refused("Convert the value in a query.")


class DatabaseIn(Document):
    """Rows of a table or a query."""

    type: str
    td_authentication_id: str | int | None = None
    host: str | None = None
    port: int | None = None
    user: str | None = None
    password: Text | None = None
    database: str | None = None
    table: str | None = None
    select: str | None = None
    where: str | None = None
    query: str | None = None
    order_by: Any = _idle("the rows of a table have no order")
    incremental: bool = False
    incremental_columns: tuple[str, ...] = ()
    last_record: tuple[Any, ...] | None = None
    connect_timeout: int | None = None
    column_options: Mapping[str, ColumnOptions] = Field(default_factory=dict)
    default_column_options: Any = _refused("Say it of each column in column_options.", {})
    options: Any = _refused("These are JDBC's; say what is meant in a connection, and name it.", {})
    use_raw_query_with_incremental: Any = _refused(
        "Leave it out: the last values are asked for around the query.", False
    )
    before_setup: Any = _refused("Nothing is changed in a source: run it yourself.")
    before_select: Any = _refused("Nothing is changed in a source: run it yourself.")
    after_select: Any = _refused("Nothing is changed in a source: run it yourself.")
    fetch_rows: Any = _idle("rows come in batches of about a megabyte")
    batch_size: Any = _idle("rows come in batches of about a megabyte")
    socket_timeout: Any = _idle("a read may take as long as it needs; the connection is watched")
    driver_path: Any = _idle("no JDBC driver is used")
    default_timezone: Any = _idle("times keep their own types")


class PostgresIn(DatabaseIn):
    """A PostgreSQL database."""

    schema_name: str = Field(default="public", alias="schema")
    ssl: bool | None = None
    application_name: Any = _idle("sessions are called suiro")


class MysqlIn(DatabaseIn):
    """A MySQL or MariaDB database."""

    ssl: bool | Literal["enable", "disable", "verify"] | None = None
    use_legacy_datetime_code: Any = _refused("Leave it out: no JDBC driver is used.", False)


class IntercomIn(Document):
    """A workspace of Intercom."""

    type: str
    td_authentication_id: str | int | None = None
    access_token: Text | None = None
    app_id: Text | None = None
    api_key: Text | None = None
    target: str
    incremental: bool = False


class ParsedColumn(Document):
    """A column of a file."""

    name: str
    type: Type
    format: str | None = None
    timezone: str | None = None
    date: str | None = None


class Parser(Document):
    """What all parsers take."""

    type: str
    columns: tuple[ParsedColumn, ...] = ()
    charset: str = "UTF-8"
    newline: Literal["CRLF", "LF", "CR"] = "CRLF"
    stop_on_invalid_record: bool = False
    default_timezone: str = "UTC"
    default_timestamp_format: str | None = None
    default_date: str = "1970-01-01"


class CsvParser(Parser):
    """CSV and TSV."""

    delimiter: str = ","
    quote: str | None = '"'
    escape: str | None = "\\"
    skip_header_lines: int = Field(default=0, ge=0)
    header_line: bool | None = None
    null_string: str | None = None
    trim_if_not_quoted: Any = _refused("Trim the values in a later step.", False)
    comment_line_marker: Any = _refused("Take such lines out of the file.")
    allow_optional_columns: Any = _refused("Rows of another width are rejected and kept.", False)
    allow_extra_columns: Any = _refused("Rows of another width are rejected and kept.", False)
    quotes_in_quoted_fields: Any = _refused("Double the quotes.", "ACCEPT_ONLY_RFC4180_ESCAPED")
    line_delimiter_recognized: Any = _refused("All line ends are recognised.")
    max_quoted_size_limit: Any = _idle("a value may be as long as a row, 256 MB")


class JsonParser(Parser):
    """JSON Lines: one object a line."""

    default_typecast: Any = _idle("values are read in the types that are given")
    typecast: Any = _idle("values are read in the types that are given")
    min_rows_for_guess: Any = _idle("a guess reads the whole file")


class Decoder(Document):
    """A compression."""

    type: str


class FileIn(Document):
    """Files whose paths have a common beginning."""

    type: str
    path_prefix: str
    last_path: str | None = None
    incremental: bool = True
    follow_symlinks: Any = _refused("Folders are not gone into; name the folder in path_prefix.", False)
    decoders: tuple[Decoder, ...] = ()
    parser: Mapping[str, Any] | None = None  #: checked by its type


class Out(Document):
    """How rows are written; the command names the database and the table."""

    type: str = "td"
    mode: str = "append"
    database: str | None = None
    table: str | None = None
    time_column: str | None = None
    unix_timestamp_unit: Unit = Unit.SECOND
    default_timezone: str = "UTC"
    auto_create_table: bool = False
    stop_on_invalid_record: bool = False
    merge_keys: tuple[str, ...] = ()
    time_value: Any = _refused("Add the time with an add_time filter.")
    column_options: Any = _refused("Types are the columns' own; change them in the source's section.", {})
    default_timestamp_type_convert_to: Any = _refused("Timestamps stay timestamps.")
    apikey: Any = _idle("rows go to the chosen destination, not to Treasure Data")
    endpoint: Any = _idle("rows go to the chosen destination, not to Treasure Data")
    http_proxy: Any = _idle("rows go to the chosen destination, not to Treasure Data")
    use_ssl: Any = _idle("rows go to the chosen destination, not to Treasure Data")
    session: Any = _idle("a run has its own name")
    pool_name: Any = _idle("a run has its own name")
    tmpdir: Any = _idle("a run has a folder of its own")
    upload_concurrency: Any = _idle("rows are written in one transaction")
    file_split_size: Any = _idle("rows are written in one transaction")
    retry_limit: Any = _idle("a lost connection is tried again five times")
    retry_initial_interval_millis: Any = _idle("a lost connection is tried again five times")
    retry_max_interval_millis: Any = _idle("a lost connection is tried again five times")


class RenameRule(Document):
    """One way to rename all columns."""

    rule: Literal[
        "character_types",
        "first_character_types",
        "lower_to_upper",
        "upper_to_lower",
        "regex_replace",
        "truncate",
        "unique_number_suffix",
    ]
    pass_types: tuple[Literal["a-z", "A-Z", "0-9"], ...] = ()
    pass_characters: str = ""
    replace: str | None = None
    prefix: str | None = None
    match: str | None = None
    max_length: int | None = Field(default=None, ge=1)
    delimiter: str = Field(default="_", min_length=1, max_length=1)
    digits: int | None = None
    offset: int = Field(default=1, ge=0)


class Rename(Document):
    """Columns under other names: those of `columns` first, then all by the rules."""

    type: Literal["rename"]
    columns: Mapping[str, str] = Field(default_factory=dict)
    rules: tuple[RenameRule, ...] = ()


class RemoveColumns(Document):
    """Columns left out, or all others left out."""

    type: Literal["remove_columns"]
    remove: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    accept_unmatched_columns: bool = False


class KeptColumn(Document):
    """A column that stays, perhaps under a name of its own."""

    name: str
    src: str | None = None
    default: Any = _refused("Put the value in place in a query.")
    type: Any = _refused("It is for defaults.")
    format: Any = _refused("It is for defaults.")
    timezone: Any = _refused("It is for defaults.")


class DroppedColumn(Document):
    """A column that goes."""

    name: str


class ColumnFilter(Document):
    """Columns chosen or dropped."""

    type: Literal["column"]
    columns: tuple[KeptColumn, ...] = ()
    drop_columns: tuple[DroppedColumn, ...] = ()
    add_columns: Any = _refused("Add the column in a query.", ())
    default_timestamp_format: Any = _idle("it is for defaults, which there are none of")
    default_timezone: Any = _idle("it is for defaults, which there are none of")


class ToColumn(Document):
    """The column that is added."""

    name: str
    type: Literal["long", "timestamp"] = "timestamp"
    unix_timestamp_unit: Unit = Unit.SECOND


class FromColumn(Document):
    """The column whose time it is."""

    name: str
    unix_timestamp_unit: Unit = Unit.SECOND
    timestamp_format: str | None = None
    timezone: str = "UTC"


class FromValue(Document):
    """The time itself."""

    mode: Literal["fixed_time", "incremental_time", "upload_time"] = "fixed_time"
    value: str | int | datetime | None = None
    from_: str | int | datetime | None = Field(default=None, alias="from")
    to: str | int | datetime | None = None
    timestamp_format: str = "%Y-%m-%d %H:%M:%S %z"
    timezone: str = "UTC"
    unix_timestamp_unit: Unit = Unit.SECOND


class AddTime(Document):
    """A column of time that is added."""

    type: Literal["add_time"]
    to_column: ToColumn
    from_column: FromColumn | None = None
    from_value: FromValue | None = None


Filter = Rename | RemoveColumns | ColumnFilter | AddTime


class Exec(Document):
    """How embulk runs; here the engine decides."""

    type: Literal["local"] | None = None
    max_threads: Any = _idle("a task is carried by one process")
    min_output_tasks: Any = _idle("a task is carried by one process")
    guess_plugins: Any = _idle("suiro connector guess -g chooses the parsers that are tried")
    guess_plugin: Any = _idle("suiro connector guess -g chooses the parsers that are tried")
    exclude_guess_plugins: Any = _idle("suiro connector guess -g chooses the parsers that are tried")
    guess_sample_buffer_bytes: Any = _idle("a guess reads the whole file")
    preview_sample_buffer_bytes: Any = _idle("a preview shows rows, not bytes")
