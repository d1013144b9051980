"""Pages of JSON read value by value: where one doesn't fit its column, a member is new, or records aren't alone."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final

import pyarrow as pa

from suiro.model.cells import row_text, unreadable
from suiro.model.errors import DataError, TransientError
from suiro.model.rejected import RejectedRow
from suiro.model.types import is_text, logical_field, logical_type
from suiro.toolkit.files.jsontext import DECODER, Document, Number, document, documents_of

_EPOCH: Final = date(1970, 1, 1).toordinal()
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_ISO: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,6})0*)?)?(Z|z|[+-]\d\d:?\d\d)?", re.ASCII
)
_RFC: Final = re.compile(
    r"(?:[A-Z][a-z]{2}, )?(\d{1,2}) ([A-Z][a-z]{2}) (\d{4}) (\d\d):(\d\d):(\d\d) (GMT|UTC?|[+-]\d{4})", re.ASCII
)
_NUMBER: Final = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?", re.ASCII)
_MOST_DIGITS: Final = 76
_ROOMY: Final = 38  #: digits of a column that is made for numbers seen for the first time


class Misfit(Exception):
    """A value that its column's type doesn't hold; in words, without the value."""


class Drifted:
    """Reads one page; its rows' schema is the given one, with wider numbers and new columns where they were needed."""

    def __init__(
        self,
        schema: pa.Schema,
        place: tuple[str, ...],
        given: Mapping[str, Any],
        blank_is_null: bool,
        *,
        open_: bool,
        epoch: bool = False,
    ) -> None:
        """`epoch`: moments are seconds since 1970, and 0 is none."""
        self._schema, self._place, self._given = schema, place, given
        self._blank_is_null, self._open = blank_is_null, open_
        self._moments = [f.name for f in schema if epoch and pa.types.is_timestamp(f.type) and f.type.tz is not None]

    def read(self, body: bytes) -> tuple[pa.RecordBatch, tuple[RejectedRow, ...], Any]:
        """Rows, rejected rows, and what stood beside the records."""
        text, rest = self._placed(_text(body))
        rejected: list[RejectedRow] = []
        records = []
        for value, written in _items(text):
            if isinstance(value, dict):
                records.append(self._record(value, written))
            else:
                rejected.append(RejectedRow(reason="a record is no JSON object", row=unreadable(written[:65536])))
        schema = self._widened([*self._schema, *(self._new(records) if self._open else ())], records)
        rows: list[list[Any]] = []
        for record in records:
            values, misfit = _values(record, schema, self._given, blank_is_null=self._blank_is_null)
            if misfit is None:
                rows.append(values)
            else:
                rejected.append(_rejected(record, values, schema, misfit))
        return _batch(rows, schema), tuple(rejected), rest

    def _placed(self, text: str) -> tuple[str, Any]:
        """The JSON of the records, and what stands beside it."""
        rest: Any = None
        for depth, name in enumerate(self._place):
            if not text.startswith("{"):
                raise DataError(f"the answer holds no {'.'.join(self._place)}, where records were to be")
            members = documents_of(text, (name,))
            if depth == 0:
                rest = json.loads(text)
                rest[name] = None
            if members.get(name) is None:
                if name in members:
                    return "", rest  # null: no records
                raise DataError(f"the answer holds no {'.'.join(self._place)}, where records were to be")
            text = str(members[name])
        return text, rest

    def _record(self, value: dict[str, Any], written: str) -> dict[str, Any]:
        """The record's members; those of JSON columns, and objects and arrays, as they are written."""
        names = {f.name for f in self._schema if f.type == pa.json_()}
        names |= {name for name, one in value.items() if isinstance(one, dict | list)}
        return {**value, **documents_of(written, names), **{name: _at(value.get(name)) for name in self._moments}}

    def _new(self, records: list[dict[str, Any]]) -> Iterator[pa.Field]:
        """Columns for members that aren't known yet, once one of them has a value."""
        known = set(self._schema.names)
        for name in dict.fromkeys(name for record in records for name in record if name not in known):
            values = [record[name] for record in records if record.get(name) is not None]
            if values:
                yield _field(name, values)

    def _widened(self, fields: list[pa.Field], records: list[dict[str, Any]]) -> pa.Schema:
        """The fields, those of exact numbers wide enough for every number of the page."""
        return pa.schema(
            [
                field if field.name in self._given else _wide(field, [record.get(field.name) for record in records])
                for field in fields
            ]
        )


def _text(body: bytes) -> str:
    """The body as text on one line: line ends are outside of strings, where blanks mean the same."""
    try:
        text = body.decode(json.detect_encoding(body)).strip()
        DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        raise TransientError(
            f"an answer of {len(body):,} bytes was to be JSON and is not",
            hint="Something between here and the service may have answered: a proxy, a maintenance page.",
        ) from error
    return text.replace("\n", " ").replace("\r", " ")


def _items(text: str) -> Iterator[tuple[Any, str]]:
    """The items of an array, or the one value, with their text."""
    if not text:
        return
    if not text.startswith("["):
        yield DECODER.decode(text), text
        return
    at = _after_space(text, 1)
    while text[at] != "]":
        value, end = DECODER.raw_decode(text, at)
        yield value, text[at:end]
        at = _after_space(text, end)
        if text[at] == ",":
            at = _after_space(text, at + 1)


def _after_space(text: str, at: int) -> int:
    while text[at] in " \t":
        at += 1
    return at


def _values(
    record: Mapping[str, Any], schema: pa.Schema, given: Mapping[str, Any], *, blank_is_null: bool
) -> tuple[list[Any], tuple[str, str] | None]:
    """The values by the schema's order, None for those that don't fit; and the first of these: column and reason."""
    values: list[Any] = []
    misfit: tuple[str, str] | None = None
    for field in schema:
        if field.name in given:
            values.append(given[field.name])
            continue
        value = record.get(field.name)
        if value == "" and type(value) is str and blank_is_null and not is_text(field.type):
            value = None
        try:
            values.append(None if value is None else _converted(value, field.type))
        except Misfit as error:
            values.append(None)
            misfit = misfit or (field.name, str(error))
    return values, misfit


def _converted(value: Any, type_: pa.DataType) -> Any:
    """The value as pyarrow takes it; moments as microseconds."""
    if is_text(type_):
        text = document(value) if type_ == pa.json_() or type(value) is not str else value
        if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
            raise Misfit("the text holds half of a letter that takes two (a lone surrogate)")
        return text
    if pa.types.is_boolean(type_):
        if isinstance(value, bool):
            return value
    elif isinstance(value, Document | bool):
        pass
    elif pa.types.is_temporal(type_):
        return _moment(value, type_)
    elif isinstance(value, Number) or _NUMBER.fullmatch(value):
        return _number(value, type_)
    raise Misfit(f"it is {_kind(value)}, not {type_}")


def _number(text: str, type_: pa.DataType) -> Any:
    """A number, exactly; floats as near as they come."""
    if pa.types.is_floating(type_):
        number = float(text)
        if number in (float("inf"), float("-inf")) and _NUMBER.fullmatch(text):
            raise Misfit(f"the number is too large for {type_}")
        return number
    if not _NUMBER.fullmatch(text):
        raise Misfit(f"it is no number that {type_} holds")
    number_ = Decimal(text)
    if pa.types.is_decimal(type_):
        whole, scale = _digits(number_)
        if scale > type_.scale or whole > type_.precision - type_.scale:
            raise Misfit(f"the number has more digits than {type_} holds")
        return number_
    least = -(2 ** (type_.bit_width - 1)) if pa.types.is_signed_integer(type_) else 0
    if (
        number_.adjusted() > 20
        or number_ != number_.to_integral_value()
        or not least <= number_ < least + 2**type_.bit_width
    ):
        raise Misfit(f"the number is none that {type_} holds")
    return int(number_)


def _at(value: Any) -> Any:
    """Seconds since 1970 as text that tells a moment; other values as they are."""
    if not isinstance(value, Number) or not re.fullmatch(r"-?\d{1,11}", value, re.ASCII):
        return value
    return str(datetime.fromtimestamp(int(value), UTC).isoformat()) if int(value) else None


def _moment(value: Any, type_: pa.DataType) -> Any:
    if isinstance(value, Number):
        raise Misfit(f"it is a number, not {type_}")
    if pa.types.is_date(type_):
        if not re.fullmatch(r"\d{4}-\d\d-\d\d", value, re.ASCII):
            raise Misfit("it is no date (2026-01-31)")
        return _day(*map(int, value.split("-")))
    if found := _ISO.fullmatch(value):
        year, month, day, hour, minute, second, part, zone = found.groups(default="")
        days = _day(int(year), int(month), int(day))
    elif found := _RFC.fullmatch(value):
        day, month, year, hour, minute, second, zone = found.groups()
        if month not in _MONTHS:
            raise Misfit("it is no time")
        part, days = "", _day(int(year), _MONTHS.index(month) + 1, int(day))
    else:
        raise Misfit("it is no time that can be read (2026-01-31T12:00:00Z)")
    if bool(zone) != (type_.tz is not None):
        raise Misfit("it is a time with a zone" if zone else "it is a time without a zone")
    if int(hour) > 23 or int(minute) > 59 or int(second or 0) > 59:
        raise Misfit("it is no time of day")
    seconds = days * 86_400 + int(hour) * 3600 + int(minute) * 60 + int(second or 0)
    if zone and zone[0] in "+-":
        ahead = int(zone[1:3]) * 3600 + int(zone[-2:]) * 60
        seconds += -ahead if zone[0] == "+" else ahead
    return seconds * 1_000_000 + int(part.ljust(6, "0") or 0)


def _day(year: int, month: int, day: int) -> int:
    try:
        return date(year, month, day).toordinal() - _EPOCH
    except ValueError as error:
        raise Misfit("it is no day of the calendar") from error


def _wide(field: pa.Field, values: list[Any]) -> pa.Field:
    """The field with room for all digits of these values, if it is one of exact numbers and they are some."""
    decimal = pa.types.is_decimal(field.type)
    if not decimal and not pa.types.is_integer(field.type):
        return field
    whole = field.type.precision - field.type.scale if decimal else len(str(2**field.type.bit_width))
    scale, grown = (field.type.scale if decimal else 0), False
    for value in values:
        number = isinstance(value, Number) or (type(value) is str and value != "")
        if not number or not _NUMBER.fullmatch(value) or _fits(value, field.type):
            continue
        before, after = _digits(Decimal(value))
        if max(whole, before) + max(scale, after) <= _MOST_DIGITS:
            whole, scale, grown = max(whole, before), max(scale, after), True
    if not grown:
        return field
    type_ = pa.decimal128(whole + scale, scale) if whole + scale <= _ROOMY else pa.decimal256(whole + scale, scale)
    return logical_field(field.name, type_, logical_type(field))


def _fits(value: str, type_: pa.DataType) -> bool:
    try:
        _number(value, type_)
    except Misfit:
        return False
    return True


def _digits(number: Decimal) -> tuple[int, int]:
    """Digits before and after the point that it needs."""
    if not number:
        return 1, 0
    _, digits, exponent = number.as_tuple()
    written = "".join(map(str, digits))
    plain = written.rstrip("0") or "0"
    shift = int(exponent) + len(written) - len(plain)
    return max(len(plain) + shift, 1), max(-shift, 0)


def _field(name: str, values: list[Any]) -> pa.Field:
    """A column that holds all of these."""
    if all(isinstance(value, bool) for value in values):
        return pa.field(name, pa.bool_())
    if all(isinstance(value, Number) and _NUMBER.fullmatch(value) for value in values):
        if all(_fits(value, pa.int64()) for value in values):
            return pa.field(name, pa.int64())
        scale = max(_digits(Decimal(value))[1] for value in values)
        return pa.field(name, pa.decimal128(_ROOMY, min(max(scale, 4), _ROOMY - 10)))
    if all(type(value) is str for value in values):
        return pa.field(name, pa.string())
    return pa.field(name, pa.json_())


def _kind(value: Any) -> str:
    match value:
        case bool():
            return "true or false"
        case Document():
            return "an object or a list"
        case Number():
            return "a number"
        case _:
            return "a text"


def _rejected(record: Mapping[str, Any], values: list[Any], schema: pa.Schema, misfit: tuple[str, str]) -> RejectedRow:
    """The row as it is kept: its values as text, the one to blame as it is written."""
    column, reason = misfit
    odd = {}
    for field, value in zip(schema, values, strict=True):
        raw = record.get(field.name)
        if value is None and raw is not None and raw != "":
            odd[field.name] = raw if type(raw) is str else document(raw)
    text = row_text(_batch([values], schema), odd)
    return RejectedRow(reason=f"{column}: {reason}", row=_whole(text), column=column)


def _whole(text: str | None) -> str | None:
    return None if text is None else text.encode("utf-8", "replace").decode()


def _batch(rows: list[list[Any]], schema: pa.Schema) -> pa.RecordBatch:
    arrays = []
    for at, field in enumerate(schema):
        values = [row[at] for row in rows]
        if field.type == pa.json_():
            arrays.append(pa.ExtensionArray.from_storage(field.type, pa.array(values, pa.string())))
        else:
            arrays.append(pa.array(values, field.type))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
