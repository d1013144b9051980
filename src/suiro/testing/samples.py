"""Values at the limits of every type, and names that break careless quoting."""

from __future__ import annotations

import decimal
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pyarrow as pa

from suiro.model.types import DATE_INFINITY, TIMESTAMP_INFINITY, logical_field

YEAR_1, YEAR_9999 = -62135596800_000_000, 253402300799_999_999  #: microseconds since 1970
TEXTS = ["", "a", "é", "水路", "😀", "a\tb\n\r'\"\\N", "  ", "\\", "NULL", "{}", "%s", "<&>"]
TINY = 5e-324

#: Parts of names: spaces, quotes, other scripts, words of SQL, marks of drivers' parameters.
ODD_NAMES: tuple[str, ...] = (
    "two words",
    'dou"ble',
    "sin'gle",
    "水路の表",
    "select",
    "Order",
    "UPPER",
    "dot.ted",
    "per%cent",
    "dollar$1",
    ":colon",
    "question?",
    "semi;colon",
    "back\\slash",
    "{brace}",
    "--dash",
    "1st",
    "tail ",
)


@dataclass(frozen=True, slots=True)
class Sample:
    """Values of one type. `required`: a destination that refuses them isn't fit for use."""

    field: pa.Field
    values: Sequence[Any]
    required: bool = False

    def column(self) -> pa.Array:
        """The values, and a NULL."""
        type_ = self.field.type
        if isinstance(type_, pa.BaseExtensionType):
            return pa.ExtensionArray.from_storage(type_, pa.array([*self.values, None], type_.storage_type))
        return pa.array([*self.values, None], type_)


def _plain(type_: pa.DataType, *values: Any, required: bool = False) -> Sample:
    return Sample(pa.field("c_value", type_), values, required)


def _whole(type_: pa.DataType, *, required: bool = False) -> Sample:
    signed = pa.types.is_signed_integer(type_)
    top = 2 ** (type_.bit_width - signed) - 1
    return _plain(type_, -top - 1 if signed else 0, top, 1, required=required)


def _digits(type_: pa.DataType, *, required: bool = False) -> Sample:
    with decimal.localcontext(prec=80):
        most = Decimal(10**type_.precision - 1).scaleb(-type_.scale)
        least = Decimal(1).scaleb(-type_.scale)
        return _plain(type_, most, -most, least, -least, Decimal(0), required=required)


PLAIN: dict[str, Sample] = {
    "int8": _whole(pa.int8()),
    "int16": _whole(pa.int16(), required=True),
    "int32": _whole(pa.int32(), required=True),
    "int64": _whole(pa.int64(), required=True),
    "uint8": _whole(pa.uint8()),
    "uint16": _whole(pa.uint16()),
    "uint32": _whole(pa.uint32()),
    "uint64": _whole(pa.uint64()),
    "bool": _plain(pa.bool_(), True, False, required=True),
    "float16": _plain(pa.float16(), 1.5, -65504.0),
    "float32": _plain(pa.float32(), 1.5, 3.4028234663852886e38, -3.4028234663852886e38, 1.401298464324817e-45),
    "float64": _plain(pa.float64(), 0.1, 1.7976931348623157e308, -1.7976931348623157e308, TINY, required=True),
    "float64 zeros": _plain(pa.float64(), 0.0, -0.0),
    "float64 NaN": _plain(pa.float64(), float("nan"), 1.0),
    "float64 infinities": _plain(pa.float64(), float("inf"), float("-inf")),
    "decimal 18,2": _digits(pa.decimal128(18, 2), required=True),
    "decimal 38,0": _digits(pa.decimal128(38, 0)),
    "decimal 38,38": _digits(pa.decimal128(38, 38)),
    "decimal 76,0": _digits(pa.decimal256(76, 0)),
    "decimal 76,40": _digits(pa.decimal256(76, 40)),
    "decimal64": _digits(pa.decimal64(18, 4)),
    "date": _plain(pa.date32(), -719162, 2932896, 0, required=True),
    "date before Christ": _plain(pa.date32(), -800000),
    "date at its limits": _plain(pa.date32(), 2**31 - 1, -(2**31)),
    "time": _plain(pa.time64("us"), 0, 86_399_999_999, required=True),
    "time in nanoseconds": _plain(pa.time64("ns"), 1),
    "time in seconds": _plain(pa.time32("s"), 86_399),
    "timestamp": _plain(pa.timestamp("us"), YEAR_1, YEAR_9999, -1, 0, 1, required=True),
    "timestamp in UTC": _plain(pa.timestamp("us", "UTC"), YEAR_1, YEAR_9999, -1, 0, 1, required=True),
    "timestamp far away": _plain(pa.timestamp("us"), YEAR_9999 + 1, YEAR_9999 * 30),
    "timestamp at its limits": _plain(pa.timestamp("us"), 2**63 - 1, -(2**63) + 1),
    "timestamp in seconds": _plain(pa.timestamp("s"), 1),
    "timestamp in nanoseconds": _plain(pa.timestamp("ns"), 1),
    "duration": _plain(pa.duration("us"), 1, -1),
    "text": _plain(pa.string(), *TEXTS, required=True),
    "text with a zero byte": _plain(pa.string(), "a\x00b"),
    "text of a megabyte": _plain(pa.string(), "水" * 350_000, required=True),
    "large text": _plain(pa.large_string(), *TEXTS),
    "bytes": _plain(pa.binary(), b"", b"\x00\xff", bytes(range(256)), b"\\x41", required=True),
    "large bytes": _plain(pa.large_binary(), b"", b"\x00\xff"),
    "bytes of one width": _plain(pa.binary(4), b"\x00\xffab"),
    "dictionary": _plain(pa.dictionary(pa.int8(), pa.string()), "a", "b", "a"),
    "list": _plain(pa.list_(pa.int64()), [], [1, None, 2**63 - 1]),
    "struct": _plain(pa.struct([("a", pa.int64()), ("b", pa.string())]), {"a": 1, "b": "x"}),
    "uuid": _plain(pa.uuid(), bytes(16), bytes(range(16))),
    "null": _plain(pa.null()),
}


def _logical(name: str, type_: pa.DataType, *values: Any) -> Sample:
    return Sample(logical_field("c_value", type_, name), values, required=type_ == pa.string())


#: By what `Capabilities.restores` calls them.
LOGICAL: dict[str, Sample] = {
    "numeric": _logical("numeric", pa.string(), "1.10", "NaN", "-" + "9" * 60 + "." + "1" * 40),
    "inet": _logical("inet", pa.string(), "192.168.0.1/24", "::1"),
    "int4range": _logical("int4range", pa.string(), "[1,5)", "empty"),
    "[]": _logical("int4[]", pa.string(), "{1,2,NULL}", "{}", "{{1,2},{3,4}}"),
    "interval": _logical("interval", pa.string(), "1 mon 2 days 03:04:05"),
    "varchar": _logical("varchar(20)", pa.string(), "水路", ""),
    "json": _logical("json", pa.json_(pa.string()), '{"a": 1,  "a": [null, "水"]}', "1e400"),
    "jsonb": _logical("jsonb", pa.json_(pa.string()), '{"a": 1.10, "b": [null, "水"]}'),
    "date": _logical("date", pa.date32(), DATE_INFINITY, -DATE_INFINITY, 0),
    "timestamp": _logical("timestamp", pa.timestamp("us"), TIMESTAMP_INFINITY, -TIMESTAMP_INFINITY, 0),
    "timestamptz": _logical("timestamptz", pa.timestamp("us", "UTC"), TIMESTAMP_INFINITY, -TIMESTAMP_INFINITY, 0),
    "time": _logical("time", pa.time64("us"), 1),
}
