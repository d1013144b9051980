"""Exact text of Arrow values, and values from that text: what CSV files that Suiro writes hold.

Single values in the forms of `scalars`, lists and structs in JSON (see `documents`).
"""

from __future__ import annotations

import pyarrow as pa

from suiro.model.errors import ConfigError
from suiro.toolkit.files import documents, scalars
from suiro.toolkit.files.scalars import is_nested


def to_text(array: pa.Array, field: pa.Field) -> pa.Array:
    """The values as text; NULL stays NULL."""
    return documents.tokens(array, field) if is_nested(field.type) else scalars.to_text(array, field)


def from_text(texts: pa.Array, field: pa.Field) -> pa.Array:
    """The inverse of `to_text`. ArrowInvalid or ValueError where the text isn't of that type."""
    return documents.from_tokens(texts, field) if is_nested(field.type) else scalars.from_text(texts, field)


def refuse_unstorable(field: pa.Field, where: str) -> None:
    """ConfigError for types that have no text."""
    type_ = field.type
    if isinstance(type_, pa.BaseExtensionType):
        known = type_ in (pa.json_(), pa.uuid())
    elif is_nested(type_):
        known = not pa.types.is_union(type_)
        for i in range(type_.num_fields):
            refuse_unstorable(type_.field(i).with_name(f"{field.name}.{type_.field(i).name}"), where)
    else:
        known = not pa.types.is_interval(type_) and not pa.types.is_run_end_encoded(type_)
    if not known:
        raise ConfigError(
            f"{where} can't hold column {field.name} of type {type_}", hint="Leave the column out, or write Parquet."
        )
