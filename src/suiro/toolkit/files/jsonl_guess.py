"""Whether a block of JSON Lines holds nothing but what is known of its columns already: told by Arrow's reader."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pa_json

from suiro.toolkit.files import texts
from suiro.toolkit.files.guess import Guess, Kind
from suiro.toolkit.files.settings import FileSettings

_TIMES = (Kind.DATE, Kind.TIME, Kind.TIMESTAMP, Kind.TIMESTAMPTZ)


def confirmed(block: bytes, columns: dict[str, Guess], settings: FileSettings) -> bool:
    """Whether every value fits its column's guess; digits before the point are taken into it."""
    fields = [pa.field(name, type_) for name, known in columns.items() if (type_ := _type(known)) is not None]
    try:
        table = pa_json.read_json(
            pa.BufferReader(block),
            read_options=pa_json.ReadOptions(use_threads=False, block_size=len(block) + 1),
            parse_options=pa_json.ParseOptions(explicit_schema=pa.schema(fields)),
        )
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return False
    found = {name: table.column(name) for name in table.column_names}
    return found.keys() <= columns.keys() and all(_fits(found[n], columns[n], settings) for n in found)


def _type(known: Guess) -> pa.DataType | None:
    """What to read the column as; None: whatever the reader finds."""
    match known.kind:
        case Kind.INTEGER:
            return pa.int64()
        case Kind.DECIMAL if known.scale < 38:
            return pa.decimal128(38, known.scale)
        case Kind.BOOLEAN:
            return pa.bool_()
        case Kind.TEXT | Kind.DATE | Kind.TIME | Kind.TIMESTAMP | Kind.TIMESTAMPTZ:
            return pa.string()
    return None


def _fits(column: pa.ChunkedArray, known: Guess, settings: FileSettings) -> bool:
    if column.null_count == len(column) or known.kind in (Kind.JSON, Kind.TEXT, Kind.BOOLEAN):
        return True
    if known.kind in (Kind.INTEGER, Kind.DECIMAL):
        if known.kind is Kind.DECIMAL and not pa.types.is_decimal(column.type):
            return False
        span = pc.min_max(column)
        digits = max(len(f"{abs(int(span[end].as_py()))}") for end in ("min", "max"))
        known.whole = max(known.whole, digits)
        known.digits = max(known.digits, digits + known.scale)
        return True
    if known.kind in _TIMES:
        values = column.combine_chunks()
        return (
            bool(texts.guess(values, known.kind, settings).kind is known.kind)
            and not pc.any(pc.equal(values, "")).as_py()
        )
    return False
