"""The rows of a staging table as PostgreSQL holds them."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from suiro.connectors.postgres.bulk import bulk_read
from suiro.connectors.postgres.config import PostgresConfig
from suiro.connectors.postgres.session import Session
from suiro.connectors.postgres.tables import Relation, quote
from suiro.connectors.postgres.types import Column
from suiro.model.change import OP, SEQ
from suiro.model.errors import DataError
from suiro.model.types import is_text
from suiro.spi.context import Context
from suiro.spi.destination import Staged


def held_rows(
    config: PostgresConfig, context: Context, session: Session, relation: Relation, staged: Staged
) -> Iterator[pa.RecordBatch]:
    """The columns that were staged, and the marks of log reads; numerics as text where they were staged as text."""
    names = [*staged.table.schema.names, *(name for name in (OP, SEQ) if relation.column(name) is not None)]
    pairs = [_pair(relation, name, staged.table.schema) for name in names]
    asked = ", ".join(f"{_expression(column, field)} AS {quote(field.name)}" for column, field in pairs)
    schema = pa.schema([field for _, field in pairs])
    sql = f"SELECT {asked} FROM {relation.sql}"
    yield from bulk_read(config, context, sql, schema, None, session.info.server_version)


def _pair(relation: Relation, name: str, staged: pa.Schema) -> tuple[Column, pa.Field]:
    column, at = relation.column(name), staged.get_field_index(name)
    if column is None:
        raise DataError(f"column {name} isn't in the staging table any more", hint="Run again.")
    if at >= 0 and pa.types.is_nested(staged.field(at).type):
        return column, pa.field(name, staged.field(at).type)
    as_text = at >= 0 and is_text(staged.field(at).type)
    return column, column.field(numeric_as_text=as_text)


def _expression(column: Column, field: pa.Field) -> str:
    reference = quote(column.name)
    return reference if pa.types.is_nested(field.type) else column.select(reference, field)
