"""Any statement's rows, for looking at: numbers as themselves, all else as text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import pyarrow as pa
from pymysql.constants import FIELD_TYPE as KIND
from pymysql.cursors import SSCursor
from pymysql.err import MySQLError

from suiro.connectors.mysql.calendar import date_text, moment_text, time_text
from suiro.connectors.mysql.decode import Bytes, Decoder, Found, Mask, Reader, reader, spans
from suiro.connectors.mysql.errors import number
from suiro.connectors.mysql.session import Session, told
from suiro.connectors.mysql.wire import NUMBERS, Definition, Places, Statement
from suiro.toolkit.sql.source import distinct_names

_ROWS = 10_000
_NOT_PREPARABLE = 1295  #: some statements can be sent as text only
_TEMPORAL: Final[dict[int, Callable[[bytes], str]]] = {
    KIND.DATE: date_text,
    KIND.NEWDATE: date_text,
    KIND.DATETIME: moment_text,
    KIND.TIMESTAMP: moment_text,
    KIND.TIME: time_text,
}


def rows_of(session: Session, sql: str) -> Iterator[pa.RecordBatch]:
    """Run one statement; at least one batch if it returns rows. Takes the session for itself."""
    with told(session.config, session.context):
        try:
            statement = Statement(session, sql)
        except MySQLError as error:
            if number(error) != _NOT_PREPARABLE:
                raise
            yield from _text_rows(session, sql)
            return
        columns = statement.run()
        if not columns:
            return
        decoder = Decoder(columns, _schema(columns), reader=_reader)
        yield pa.RecordBatch.from_pylist([], schema=decoder.schema)
        for block in statement.blocks():
            session.context.check_cancelled()
            yield decoder.batch(block)


def _schema(columns: Sequence[Definition]) -> pa.Schema:
    names = distinct_names([column.name for column in columns])
    return pa.schema([pa.field(name, _type(column)) for name, column in zip(names, columns, strict=True)])


def _type(column: Definition) -> pa.DataType:
    if column.kind in NUMBERS:
        return pa.from_numpy_dtype(column.numpy)
    return pa.binary() if column.is_binary and column.kind not in _TEMPORAL else pa.string()


def _reader(column: Definition, field: pa.Field) -> Reader:
    return _temporal_reader(_TEMPORAL[column.kind]) if column.kind in _TEMPORAL else reader(column, field)


def _temporal_reader(text: Callable[[bytes], str]) -> Reader:
    """Dates and times as the server writes them, those that no calendar has too."""

    def read(source: Bytes, at: Places, null: Mask | None) -> Found:
        start, length = spans(source, at, null)
        missing = [False] * len(at) if null is None else null.tolist()
        values = [
            None if gone else text(bytes(source.buffer[begin : begin + size]))
            for begin, size, gone in zip(start.tolist(), length.tolist(), missing, strict=True)
        ]
        return pa.array(values, pa.string()), at + (1 if null is None else ~null) + length

    return read


def _text_rows(session: Session, sql: str) -> Iterator[pa.RecordBatch]:
    """Rows as the text protocol gives them, a few at a time."""
    driver: Any = session.driver
    driver.decoders = {}
    with driver.cursor(SSCursor) as cursor:
        cursor.execute(sql)
        if cursor.description is None:
            return
        names = distinct_names([str(item[0]) for item in cursor.description])
        schema = pa.schema([pa.field(name, pa.string()) for name in names])
        while True:
            rows = cursor.fetchmany(_ROWS)
            columns = zip(*rows, strict=True) if rows else [[] for _ in names]
            texts = [[_text(value) for value in values] for values in columns]
            yield pa.RecordBatch.from_arrays([pa.array(values, pa.string()) for values in texts], schema=schema)
            session.context.check_cancelled()
            if len(rows) < _ROWS:
                return


def _text(value: Any) -> str | None:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
