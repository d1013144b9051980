"""Exact JSON of Arrow values, and values from that JSON: what JSON Lines files that Suiro writes hold.

Integers, decimals and floats are numbers with all their digits; NaN and the infinities are the strings "NaN",
"Infinity" and "-Infinity"; JSON columns are written as they are; lists are arrays, structs objects, maps arrays of
pairs; everything else is a string in its text form (see `scalars`), with T between date and time.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from suiro.model.types import is_text
from suiro.toolkit.files import scalars
from suiro.toolkit.files.jsontext import DECODER, document

_SPECIAL = r"[\x00-\x1f\"\\]"


def tokens(array: pa.Array, field: pa.Field) -> pa.Array:
    """Each value as JSON in one line; NULL stays NULL."""
    type_ = field.type
    if pa.types.is_dictionary(type_):
        return tokens(array.dictionary_decode(), field.with_type(type_.value_type))
    if type_ == pa.json_():
        text = scalars.to_text(array, field)
        return pc.replace_substring_regex(text, r"[\r\n]", " ")
    if pa.types.is_boolean(type_) or pa.types.is_integer(type_) or pa.types.is_decimal(type_):
        return scalars.to_text(array, field)
    if pa.types.is_floating(type_):
        return _float_tokens(scalars.to_text(array, field))
    if scalars.is_nested(type_):
        return pa.array(_nested(array, field), pa.string())
    text = scalars.to_text(array, field)
    if pa.types.is_timestamp(type_):
        text = pc.replace_substring(text, " ", "T")
    return _quoted(text)


def revive(values: Sequence[Any], field: pa.Field) -> pa.Array:
    """Parsed JSON (numbers as `Number`) as the values of a field; None is NULL."""
    type_ = field.type
    if type_ == pa.json_():
        texts = [None if v is None else document(v) for v in values]
        return pa.ExtensionArray.from_storage(type_, pa.array(texts, pa.string()))
    if scalars.is_nested(type_):
        return _nested_from(values, field)
    if pa.types.is_decimal(type_):
        return pa.array([None if v is None else Decimal(v) for v in values], type_)
    if pa.types.is_integer(type_):
        return pa.array([None if v is None else int(v) for v in values], type_)
    if pa.types.is_floating(type_):
        return pa.array([None if v is None else float(v) for v in values], pa.float64()).cast(type_)
    if pa.types.is_boolean(type_):
        return pa.array(values, type_)
    if is_text(type_):
        return pa.array([v if v is None or type(v) is str else document(v) for v in values], pa.string()).cast(type_)
    return scalars.from_text(pa.array(values, pa.string()), field)


def from_tokens(texts: pa.Array, field: pa.Field) -> pa.Array:
    """The inverse of `tokens`."""
    return revive([None if v is None else DECODER.decode(v) for v in texts.to_pylist()], field)


def _float_tokens(texts: pa.Array) -> pa.Array:
    names = {"nan": '"NaN"', "-nan": '"NaN"', "inf": '"Infinity"', "-inf": '"-Infinity"'}
    odd = pc.fill_null(pc.is_in(texts, pa.array(list(names))), False)
    if not pc.any(odd).as_py():
        return texts
    return pc.replace_with_mask(texts, odd, pa.array([names[v] for v in texts.filter(odd).to_pylist()], pa.string()))


def _quoted(texts: pa.Array) -> pa.Array:
    special = pc.fill_null(pc.match_substring_regex(texts, _SPECIAL), False)
    if pc.any(special).as_py():
        escaped = [json.dumps(v, ensure_ascii=False)[1:-1] for v in texts.filter(special).to_pylist()]
        texts = pc.replace_with_mask(texts, special, pa.array(escaped, pa.string()))
    return pc.binary_join_element_wise(pa.scalar('"'), texts, pa.scalar('"'), pa.scalar(""))


def _nested(array: pa.Array, field: pa.Field) -> list[str | None]:
    type_ = field.type
    if pa.types.is_struct(type_):
        columns = [tokens(column, type_.field(i)).to_pylist() for i, column in enumerate(array.flatten())]
        names = [json.dumps(type_.field(i).name, ensure_ascii=False) for i in range(type_.num_fields)]
        valid = array.is_valid().to_pylist()
        rows = zip(*columns, strict=True) if columns else ((),) * len(array)
        objects = [
            "{" + ", ".join(f"{n}: {v or 'null'}" for n, v in zip(names, row, strict=True)) + "}" for row in rows
        ]
        return [text if there else None for text, there in zip(objects, valid, strict=True)]
    if pa.types.is_map(type_):
        keys = tokens(array.keys, type_.key_field).to_pylist()
        items = tokens(array.items, type_.item_field).to_pylist()
        flat = [f"[{k}, {v or 'null'}]" for k, v in zip(keys, items, strict=True)]
        starts = array.offsets.to_pylist()
    else:
        if not pa.types.is_list(type_):
            array = array.cast(pa.list_(type_.value_field))
        flat = [v or "null" for v in tokens(array.values, type_.value_field).to_pylist()]
        starts = array.offsets.to_pylist()
    valid = array.is_valid().to_pylist()
    return [f"[{', '.join(flat[starts[i] : starts[i + 1]])}]" if there else None for i, there in enumerate(valid)]


def _nested_from(values: Sequence[Any], field: pa.Field) -> pa.Array:
    type_ = field.type
    mask = pa.array([v is None for v in values], pa.bool_())
    if pa.types.is_struct(type_):
        fields = [type_.field(i) for i in range(type_.num_fields)]
        columns = [revive([None if v is None else v.get(f.name) for v in values], f) for f in fields]
        return pa.StructArray.from_arrays(columns, fields=fields, mask=mask)
    starts, at = [], 0
    for value in values:
        starts.append(None if value is None else at)
        at += 0 if value is None else len(value)
    offsets = pa.array([*starts, at], pa.int32())
    flat = [item for value in values if value is not None for item in value]
    if pa.types.is_map(type_):
        keys = revive([pair[0] for pair in flat], type_.key_field)
        return pa.MapArray.from_arrays(offsets, keys, revive([pair[1] for pair in flat], type_.item_field), type_)
    lists = pa.ListArray.from_arrays(offsets, revive(flat, type_.value_field), pa.list_(type_.value_field))
    return lists if pa.types.is_list(type_) else lists.cast(type_)
