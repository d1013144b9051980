"""Ranks: values in a form that every database sorts as their own type sorts."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from suiro.model.errors import ConfigError
from suiro.model.types import is_bytes, is_text, storage

ORDER = "_suiro_order"


def rank(array: pa.Array) -> pa.Array:
    """Integers, floats or bytes that grow as the values do; NULL stays NULL.

    ConfigError for types without an order.
    """
    type_ = storage(array.type)
    plain = array.storage if isinstance(array, pa.ExtensionArray) else array
    if pa.types.is_timestamp(type_) or pa.types.is_time64(type_) or pa.types.is_duration(type_):
        return plain.view(pa.int64())
    if pa.types.is_date32(type_) or pa.types.is_time32(type_):
        return plain.view(pa.int32()).cast(pa.int64())
    if pa.types.is_boolean(type_) or (pa.types.is_integer(type_) and type_ != pa.uint64()):
        return plain.cast(pa.int64())
    if type_ == pa.uint64():
        return _big_endian(plain.cast(pa.decimal128(38, 0)))
    if pa.types.is_decimal(type_):
        narrow = type_.bit_width < 128
        return _big_endian(plain.cast(pa.decimal128(type_.precision, type_.scale)) if narrow else plain)
    if pa.types.is_floating(type_):
        return _float_bits(plain)
    if is_text(type_):
        return plain.cast(pa.string()).cast(pa.binary())
    if is_bytes(type_) or pa.types.is_fixed_size_binary(type_):
        return plain.cast(pa.binary())
    raise ConfigError(f"rows can't be put in order by a column of {array.type}", hint="Choose another cursor field.")


def _big_endian(array: pa.Array) -> pa.Array:
    """Decimals as bytes, most significant first, the sign turned: they sort as the numbers do."""
    width = array.type.byte_width
    words = np.frombuffer(array.buffers()[1] or b"", dtype=np.uint8)
    start = array.offset * width
    rows = words[start : start + len(array) * width].reshape(len(array), width)[:, ::-1].copy()
    rows[:, 0] ^= 0x80
    whole = pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), len(array), [None, pa.py_buffer(rows.tobytes())])
    return pc.if_else(array.is_valid(), whole.cast(pa.binary()), pa.scalar(None, pa.binary()))


def _float_bits(array: pa.Array) -> pa.Array:
    """Floats as integers in the order of the floats, NaN greatest."""
    bits = pc.fill_null(array.cast(pa.float64()), 0.0).to_numpy(zero_copy_only=False).view(np.int64)
    bits = np.where(np.isnan(bits.view(np.float64)), np.int64(0x7FF8000000000000), bits)
    ordered = np.where(bits < 0, np.int64(-(2**63)) - bits, bits)
    return pc.if_else(array.is_valid(), pa.array(ordered), pa.scalar(None, pa.int64()))
