"""The rows of a staging table as the server holds them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pyarrow as pa

from suiro.connectors.mysql.config import MysqlConfig
from suiro.connectors.mysql.decode import Decoder, reader
from suiro.connectors.mysql.session import connect, told
from suiro.connectors.mysql.standing import Standing, folded, quote
from suiro.connectors.mysql.tables import find_relation
from suiro.connectors.mysql.types import Column
from suiro.connectors.mysql.wire import Statement
from suiro.model.change import OP, SEQ
from suiro.model.errors import DataError
from suiro.spi.context import Context
from suiro.spi.destination import Staged


def held_rows(config: MysqlConfig, context: Context, stage: Standing, staged: Staged) -> Iterator[pa.RecordBatch]:
    """The columns that were staged, and the marks of log reads."""
    plain = config.model_copy(update={"tinyint1": "boolean", "zero_dates": "reject", "time": "clock"})
    with closing(connect(config, context)) as session, told(config, context, "reading back what is staged"):
        relation = find_relation(session, *stage.parts)
        columns = {} if relation is None else {folded(column.name): column for column in relation.columns}
        names = [*staged.table.schema.names, *(name for name in (OP, SEQ) if name in columns)]
        wanted = [_wanted(columns, name, staged.table.schema, plain) for name in names]
        sql = f"SELECT {', '.join(asked for asked, _ in wanted)} FROM {stage.sql}"
        statement = Statement(session, sql)
        decoder = Decoder(statement.run(), pa.schema([field for _, field in wanted]), reader)
        for block in statement.blocks():
            yield _with_clocks(decoder.batch(block), staged.table.schema)


def _wanted(columns: dict[str, Column], name: str, staged: pa.Schema, config: MysqlConfig) -> tuple[str, pa.Field]:
    """What is asked of the server for a column, and how it travels."""
    column = columns.get(folded(name))
    travels = None if column is None else column.field(config)
    if column is None or travels is None:
        raise DataError(f"column {name} isn't in the staging table any more", hint="Run again.")
    at, here = staged.get_field_index(name), quote(column.name)
    type_ = staged.field(at).type if at >= 0 else travels.type
    if column.base == "time":  # whole, so that 24:00:00 is a time as well
        asked = f"CAST(FLOOR(TIME_TO_SEC({here})) * 1000000 + MICROSECOND({here}) AS SIGNED)"
        return asked, pa.field(name, pa.int64())
    if type_ == pa.uuid() and column.base != "uuid":
        return f"UNHEX(REPLACE({here}, '-', ''))", pa.field(name, pa.binary())
    return column.select(here, travels), travels.with_name(name).remove_metadata()


def _with_clocks(batch: pa.RecordBatch, staged: pa.Schema) -> pa.RecordBatch:
    """Times of day from their microseconds."""
    for number, name in enumerate(batch.schema.names):
        at = staged.get_field_index(name)
        if at >= 0 and pa.types.is_time(staged.field(at).type) and batch.column(number).type == pa.int64():
            batch = batch.set_column(number, name, batch.column(number).view(pa.time64("us")))
    return batch
