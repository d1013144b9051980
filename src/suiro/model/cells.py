"""Single values as text and back, as the table of rejected rows keeps them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final

import pyarrow as pa

from suiro.model.rejected import UNREADABLE

MOST_KEPT: Final = 1 << 16  #: characters of a row that are kept


def row_text(row: pa.RecordBatch, instead: Mapping[str, str] | None = None) -> str | None:
    """The one row of a batch as a JSON object of texts by column; None where that is longer than MOST_KEPT.

    `instead`: by column the text of a value that its type doesn't hold.
    """
    said = instead or {}
    names = row.schema.names
    texts = {name: said[name] if name in said else cell_text(row.column(at)) for at, name in enumerate(names)}
    text = json.dumps(texts, ensure_ascii=False)
    return text if len(text) <= MOST_KEPT else None


def unreadable(text: str | None) -> str | None:
    """What is kept of a row that is none of the stream's, and so is never carried again as it stands."""
    return None if text is None else json.dumps({UNREADABLE: text}, ensure_ascii=False)


def cell_text(column: pa.Array) -> str | None:
    """The one value of a column as text that `cell_array` reads back."""
    plain = column.storage if isinstance(column, pa.ExtensionArray) else column
    if not plain[0].is_valid:
        return None
    if _is_bytes(plain.type):
        return bytes(plain[0].as_py()).hex()
    if pa.types.is_nested(plain.type):
        return json.dumps(plain[0].as_py(), ensure_ascii=False, default=str)
    if not pa.types.is_temporal(plain.type):
        return str(plain.cast(pa.string())[0].as_py())
    count = f"#{plain.view(_counted(plain.type))[0].as_py()}"
    try:
        text = str(plain.cast(pa.string())[0].as_py())
        return text if cell_array([text], plain.type).equals(plain) else count
    except pa.ArrowInvalid:
        return count


def cell_texts(column: pa.Array) -> list[str | None]:
    """All values of a column, each as `cell_text` writes it."""
    plain = column.storage if isinstance(column, pa.ExtensionArray) else column
    type_ = plain.type
    if pa.types.is_string(type_) or pa.types.is_integer(type_) or pa.types.is_decimal(type_):
        return list(plain.cast(pa.string()).to_pylist())
    return [cell_text(column.slice(at, 1)) for at in range(len(column))]


def cell_array(texts: Sequence[str | None], type_: pa.DataType) -> pa.Array:
    """Values from their texts. ArrowInvalid where one is none."""
    inner = type_.storage_type if isinstance(type_, pa.BaseExtensionType) else type_
    if _is_bytes(inner):
        plain = pa.array([None if text is None else bytes.fromhex(text) for text in texts], inner)
    elif pa.types.is_nested(inner):
        plain = pa.array([None if text is None else json.loads(text) for text in texts], inner)
    elif pa.types.is_temporal(inner):
        plain = pa.concat_arrays([_time(text, inner) for text in texts] or [pa.array([], inner)])
    else:
        plain = pa.array(list(texts), pa.string()).cast(inner)
    return pa.ExtensionArray.from_storage(type_, plain) if isinstance(type_, pa.BaseExtensionType) else plain


def _time(text: str | None, type_: pa.DataType) -> pa.Array:
    """One moment, day or time: as people write it, or `#` and the count that Arrow keeps (infinities, far years)."""
    if text is not None and text.startswith("#"):
        return pa.array([int(text[1:])], _counted(type_)).view(type_)
    if pa.types.is_time(type_):  # Arrow reads none by itself
        day = None if text is None else f"1970-01-01 {text}"
        return pa.array([day], pa.string()).cast(pa.timestamp(type_.unit)).cast(type_)
    return pa.array([text], pa.string()).cast(type_)


def _counted(type_: pa.DataType) -> pa.DataType:
    return pa.int32() if type_.bit_width == 32 else pa.int64()


def _is_bytes(type_: pa.DataType) -> bool:
    return bool(pa.types.is_binary(type_) or pa.types.is_large_binary(type_) or pa.types.is_fixed_size_binary(type_))
