"""Canonical text of Arrow batches (see model/canonical), for rows that no system hashes itself: DuckDB writes it."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from suiro.model.canonical import BETWEEN, FRAMED, NAN_BITS, NULL, Form
from suiro.model.cells import cell_array
from suiro.model.types import DATE_INFINITY, TIMESTAMP_INFINITY, is_text, logical_base

_DAY: Final = 86_400_000_000  #: microseconds
_INTERVAL: Final = re.compile(
    r"(?:(?P<years>[+-]?\d+) years? ?)?(?:(?P<months>[+-]?\d+) mons? ?)?(?:(?P<days>[+-]?\d+) days? ?)?"
    r"(?:(?P<sign>[+-])?(?P<hours>\d+):(?P<minutes>\d\d):(?P<seconds>\d\d)(?:\.(?P<fraction>\d+))?)?"
)
_COUNTED: Final = {Form.DAY: pa.date32(), Form.MOMENT: pa.timestamp("us", "UTC"), Form.CLOCK: pa.time64("us")}


class Writer:
    """Writes rows of one schema: their columns in these forms, in this order; `key` are some of them."""

    def __init__(self, schema: pa.Schema, forms: Mapping[str, Form], key: Sequence[str]) -> None:
        self._forms = forms
        self._fields = {name: schema.field(name) for name in forms}
        self._places = {name: f"c{number}" for number, name in enumerate(forms)}
        items = {name: _item(self._places[name], form) for name, form in forms.items()}
        self.key = f"md5({_joined([items[name] for name in key])})"  #: SQL over what `plain` makes
        self.row = f"md5({_joined(list(items.values()))})"
        self.texts = [f"CAST({_written(self._places[name], form)} AS VARCHAR)" for name, form in forms.items()]

    def plain(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The columns in types from which DuckDB writes their texts, under names of ours."""
        arrays = [_plain(batch.column(name), self._fields[name], form) for name, form in self._forms.items()]
        return pa.RecordBatch.from_arrays(arrays, names=list(self._places.values()))


def _joined(items: Sequence[str]) -> str:
    return f"concat_ws('{BETWEEN}', {', '.join(items)})"


def _item(place: str, form: Form) -> str:
    text = _written(place, form)
    framed = f"strlen({text}) || ':' || {text}" if form in FRAMED else f"CAST({text} AS VARCHAR)"
    return f"coalesce({framed}, '{NULL}')"


def _written(place: str, form: Form) -> str:
    """The canonical text of a column that `_plain` made."""
    match form:
        case Form.NUMBER:
            text = f"CAST({place} AS VARCHAR)"
            whole = f"regexp_replace({text}, '^(-?)[.]', '\\10.')"  # DuckDB writes .5
            return f"CASE WHEN contains({text}, '.') THEN rtrim(rtrim({whole}, '0'), '.') ELSE {text} END"
        case Form.DAY:
            return _endless(place, DATE_INFINITY)
        case Form.MOMENT:
            return _endless(place, TIMESTAMP_INFINITY)
        case Form.PADDED:
            return f"rtrim({place}, ' ')"
        case Form.BYTES:
            return f"lower(hex({place}))"
        case _:
            return place


def _endless(place: str, infinity: int) -> str:
    text = f"CAST({place} AS VARCHAR)"
    return f"CASE {text} WHEN '{infinity}' THEN 'infinity' WHEN '-{infinity}' THEN '-infinity' ELSE {text} END"


# -- arrays that DuckDB writes as they are -----------------------------------------------------------------------------


def _plain(array: pa.Array, field: pa.Field, form: Form) -> pa.Array:
    """The values so that `_written` gives their texts; NULL stays NULL."""
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_null(array.type):
        return pa.nulls(len(array), pa.string())
    if form in _FROM_TEXTS and is_text(array.type) and not (form is Form.NUMBER and logical_base(field) == "numeric"):
        return pa.array([None if text is None else _read(text, form) for text in _storage(array).to_pylist()])
    return _PLAIN[form](array)


def _storage(array: pa.Array) -> pa.Array:
    return array.storage if isinstance(array, pa.ExtensionArray) else array


def _number(array: pa.Array) -> pa.Array:
    type_ = array.type
    if pa.types.is_boolean(type_):
        return array.cast(pa.int8())
    if pa.types.is_decimal(type_) and (type_.bit_width > 128 or not 0 <= type_.scale <= type_.precision):
        return pa.array([None if value is None else format(value, "f") for value in array.to_pylist()], pa.string())
    if pa.types.is_decimal(type_) and type_.bit_width < 128:
        return array.cast(pa.decimal128(type_.precision, type_.scale))
    return _text(array) if is_text(type_) else array


def _float(array: pa.Array) -> pa.Array:
    doubles = pc.fill_null(array.cast(pa.float64()), 0.0)
    bits = np.frombuffer(doubles.buffers()[1], np.int64)[doubles.offset : doubles.offset + len(doubles)].copy()
    bits[np.isnan(bits.view(np.float64))] = NAN_BITS
    return _where_valid(bits, array)


def _day(array: pa.Array) -> pa.Array:
    return array.cast(pa.date32()).view(pa.int32())


def _moment(array: pa.Array) -> pa.Array:
    if pa.types.is_timestamp(array.type):
        return array.cast(pa.timestamp("us", array.type.tz)).view(pa.int64())
    days = _day(array)
    micros = pc.multiply(days.cast(pa.decimal128(10, 0)), pa.scalar(Decimal(_DAY))).cast(pa.string())
    endless = pc.equal(pc.abs(days.cast(pa.int64())), DATE_INFINITY)
    said = pc.if_else(pc.greater(days, 0), "infinity", "-infinity")
    return pc.if_else(endless, said, micros)


def _clock(array: pa.Array) -> pa.Array:
    return array.cast(pa.time64("us")).view(pa.int64())


def _text(array: pa.Array) -> pa.Array:
    if array.type == pa.uuid():
        return pc.binary_join_element_wise(*_uuid_parts(array), "-")
    return _storage(array).cast(pa.string())


def _bytes(array: pa.Array) -> pa.Array:
    return _storage(array).cast(pa.binary())


def _uuid_parts(array: pa.Array) -> list[pa.Array]:
    values = [None if value is None else value.hex() for value in array.storage.to_pylist()]
    whole = pa.array(values, pa.string())
    return [pc.utf8_slice_codeunits(whole, *ends) for ends in ((0, 8), (8, 12), (12, 16), (16, 20), (20, 32))]


def _json(array: pa.Array) -> pa.Array:
    """JSON parsed and written anew; other values as JSON."""
    parsed = isinstance(array.type, pa.JsonType) or is_text(array.type)
    write = _json_text if parsed else _value_text
    return pa.array([None if value is None else write(value) for value in _storage(array).to_pylist()], pa.string())


def _json_text(text: str) -> str:
    try:
        return _value_text(json.loads(text, parse_float=Decimal, parse_int=Decimal, parse_constant=str))
    except ValueError:
        return f"?{text}"


def _value_text(value: Any) -> str:
    """A value as JSON: keys in order; numbers as canonical text, texts in quotes."""
    match value:
        case dict():
            pairs = sorted((str(key), item) for key, item in value.items())
            return "{" + ",".join(f"{json.dumps(k, ensure_ascii=False)}:{_value_text(v)}" for k, v in pairs) + "}"
        case list() | tuple():
            return "[" + ",".join(map(_value_text, value)) + "]"
        case None | bool() | str():
            return json.dumps(value, ensure_ascii=False)
        case int() | Decimal():
            return _decimal_text(Decimal(value))
        case float():
            return _decimal_text(Decimal(repr(value)))
        case bytes():
            return json.dumps(value.hex())
        case datetime() | date() | time():
            return json.dumps(value.isoformat())
        case timedelta():
            return json.dumps(value.total_seconds())
        case _:
            return json.dumps(str(value), ensure_ascii=False)


_MOST_DIGITS: Final = 10_000  #: of a JSON number that is written out; the exponent of one that is larger stays


def _decimal_text(value: Decimal) -> str:
    if not value.is_finite():
        return str(value)
    if abs(value.adjusted()) > _MOST_DIGITS:
        return str(value.normalize())
    text = format(value, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text


_PLAIN: Final[dict[Form, Callable[[pa.Array], pa.Array]]] = {
    Form.NUMBER: _number,
    Form.FLOAT: _float,
    Form.DAY: _day,
    Form.MOMENT: _moment,
    Form.CLOCK: _clock,
    Form.SPAN: lambda array: pa.array([None if v is None else _span(v) for v in array.to_pylist()], pa.string()),
    Form.TEXT: _text,
    Form.PADDED: _text,
    Form.BYTES: _bytes,
    Form.UUID: lambda array: array,
    Form.JSON: _json,
    Form.NESTED: _json,
}


def _where_valid(words: np.ndarray[Any, Any], array: pa.Array) -> pa.Array:
    return pa.array(words, mask=np.asarray(array.is_null()))


# -- typed values that were kept as text -------------------------------------------------------------------------------

_FROM_TEXTS: Final = frozenset({Form.NUMBER, Form.FLOAT, Form.DAY, Form.MOMENT, Form.CLOCK})


def _span(text: str) -> str:
    """Months, days and microseconds of an interval as PostgreSQL, DuckDB or MariaDB writes it."""
    found = _INTERVAL.fullmatch(text)
    if found is None:
        return f"?{text}"
    years, months, days = (int(found[part] or 0) for part in ("years", "months", "days"))
    clock = [int(found[part] or 0) for part in ("hours", "minutes", "seconds")]
    micros = ((clock[0] * 60 + clock[1]) * 60 + clock[2]) * 1_000_000 + int(f"{found['fraction'] or '':0<6}"[:6])
    return f"{years * 12 + months} {days} {-micros if found['sign'] == '-' else micros}"


def _read(text: str, form: Form) -> str:
    """The canonical text of a value that was kept as text; one that is no such value stands behind a `?`."""
    if text in ("infinity", "-infinity") and form in (Form.DAY, Form.MOMENT):
        return text
    try:
        if form is Form.NUMBER:
            return _decimal_text(Decimal(text))
        if form is Form.FLOAT:
            value = float(text)
            return str(NAN_BITS if value != value else struct.unpack("<q", struct.pack("<d", value))[0])  # noqa: PLR0124
        type_ = _COUNTED[form]
        found = cell_array([text], type_ if form is not Form.MOMENT or _has_zone(text) else pa.timestamp("us"))
        return str(found.view(pa.int32() if type_.bit_width == 32 else pa.int64())[0].as_py())
    except (ValueError, InvalidOperation, OverflowError, pa.ArrowInvalid):
        return f"?{text}"


def _has_zone(text: str) -> bool:
    return text.endswith("Z") or text[-6:-5] in ("+", "-") or text[-3:-2] == "+"
