"""Any statement's rows, for looking at: a row at a time from the server, batches of Arrow out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pyarrow as pa
from psycopg import adapters
from psycopg.types.string import TextLoader

from suiro.connectors.postgres.config import PostgresConfig
from suiro.connectors.postgres.session import Session, told
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
        schema: pa.Schema | None = None
        waiting: list[tuple[Any, ...]] = []
        for oid in [type_.oid for type_ in adapters.types if type_.name not in _TYPES]:
            cursor.adapters.register_loader(oid, TextLoader)
        cursor.adapters.register_loader(0, TextLoader)
        try:
            for row in cursor.stream(sql.encode()):
                schema = schema or _schema(cursor)
                waiting.append(row)
                if len(waiting) == _ROWS:
                    context.check_cancelled()
                    yield _batch(waiting, schema)
                    waiting = []
        except psycopg.ProgrammingError as error:
            if error.sqlstate is None and "didn't return records" not in str(error) and "no result" not in str(error):
                raise
        if schema is None and cursor.description:
            schema = _schema(cursor)
        if schema is not None:
            yield _batch(waiting, schema)


def _schema(cursor: psycopg.Cursor[Any]) -> pa.Schema:
    described = cursor.description or []
    names = distinct_names([column.name for column in described])
    known = [adapters.types.get(column.type_code) for column in described]
    return pa.schema(
        [pa.field(n, _TYPES.get(k.name if k else "", pa.string())) for n, k in zip(names, known, strict=True)]
    )


def _batch(rows: list[tuple[Any, ...]], schema: pa.Schema) -> pa.RecordBatch:
    columns = zip(*rows, strict=True) if rows else [[] for _ in schema]
    return pa.RecordBatch.from_arrays(
        [pa.array(list(values), field.type) for values, field in zip(columns, schema, strict=True)], schema=schema
    )
