"""Any statement's rows, for looking at: a row at a time from the server, batches of Arrow out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pyarrow as pa
from psycopg import adapters
from psycopg.types.string import TextLoader

from suiro.connectors.postgres.config import PostgresConfig
from suiro.connectors.postgres.session import Session, prepared, told
from suiro.spi.context import Context
from suiro.toolkit.sql.source import distinct_names

_ROWS = 10_000
_TYPES = {
    "bool": pa.bool_(),
    "int2": pa.int16(),
    "int4": pa.int32(),
    "int8": pa.int64(),
    "float4": pa.float32(),
    "float8": pa.float64(),
    "bytea": pa.binary(),
}


def rows_of(session: Session, sql: str, config: PostgresConfig, context: Context) -> Iterator[pa.RecordBatch]:
    """Run one statement; numbers and booleans come as themselves, all else as PostgreSQL's text, exactly."""
    with told(config, context), session.cursor() as cursor:
        schema = _schema(session, sql)
        waiting: list[tuple[Any, ...]] = []
        for type_ in adapters.types:
            for oid in (type_.array_oid, *([] if type_.name in _TYPES else [type_.oid])):
                cursor.adapters.register_loader(oid, TextLoader)
        cursor.adapters.register_loader(0, TextLoader)
        try:
            for row in cursor.stream(sql.encode()):
                waiting.append(row)
                if len(waiting) == _ROWS:
                    context.check_cancelled()
                    yield _batch(waiting, schema)
                    waiting = []
        except psycopg.ProgrammingError as error:
            if error.sqlstate is not None:
                raise  # without a state it's psycopg's word that the statement returned no rows
        if schema.names:
            yield _batch(waiting, schema)


def _schema(session: Session, sql: str) -> pa.Schema:
    """The columns that the statement returns; none if it returns no rows."""
    answer = prepared(session, sql)
    fields = range(answer.nfields)
    names = distinct_names([(answer.fname(i) or b"").decode() for i in fields])
    return pa.schema([pa.field(name, _type(answer.ftype(i))) for name, i in zip(names, fields, strict=True)])


def _type(oid: int) -> pa.DataType:
    known = adapters.types.get(oid)
    return _TYPES.get(known.name, pa.string()) if known is not None and known.oid == oid else pa.string()


def _batch(rows: list[tuple[Any, ...]], schema: pa.Schema) -> pa.RecordBatch:
    columns = zip(*rows, strict=True) if rows else [[] for _ in schema]
    return pa.RecordBatch.from_arrays(
        [pa.array(list(values), field.type) for values, field in zip(columns, schema, strict=True)], schema=schema
    )
