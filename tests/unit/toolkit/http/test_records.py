"""Tests of JSON bodies as Arrow rows: the same values as json.loads gives with exact numbers, or rejected by name."""

from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from suiro.model.errors import DataError, TransientError
from suiro.toolkit.http.layout import layout
from suiro.toolkit.http.records import JsonRecords, Page, Times

SCHEMA = pa.schema(
    [
        ("i", pa.int64()),
        ("small", pa.int16()),
        ("f", pa.float64()),
        ("d", pa.decimal128(20, 4)),
        ("s", pa.string()),
        ("b", pa.bool_()),
        ("j", pa.json_()),
        ("at", pa.timestamp("us", "UTC")),
        ("local", pa.timestamp("us")),
        ("day", pa.date32()),
    ]
)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC).replace(tzinfo=None)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NUMBER = st.one_of(
    st.integers(-(2**70), 2**70).map(str),
    st.decimals(allow_nan=False, allow_infinity=False, places=3).map(str),
    st.from_regex(r"-?(0|[1-9]\d{0,30})(\.\d{1,12})?([eE][+-]?\d{1,3})?", fullmatch=True).filter(str.isascii),
)
MOMENT = st.one_of(
    st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=9)), timezone(-timedelta(hours=3.5))])).map(
        datetime.isoformat
    ),
    st.datetimes().map(datetime.isoformat),
    st.dates().map(date.isoformat),
    st.sampled_from(["", "Thu, 01 Jan 2026 00:00:00 +0000", "Thu, 01 Jan 2026 09:00:00 +0900", "2026-01-01T24:00:00Z"]),
)
#: Values as JSON writes them, in one of the ways it may.
PLAIN = st.one_of(
    st.sampled_from(["null", "true", "false", '""', '"\\ud83d\\ude00"', '"\\u0000"', '"1.5"', '"-12"', '"NaN"']),
    NUMBER,
    TEXT.map(json.dumps),
    TEXT.map(lambda text: json.dumps(text, ensure_ascii=False)),
    MOMENT.map(json.dumps),
)
NAMES = st.one_of(st.sampled_from([*SCHEMA.names, "new", "j"]), TEXT)


def _object(pairs: list[tuple[str, str]]) -> str:
    return "{" + ",".join(f"{json.dumps(name)}: {value}" for name, value in pairs) + "}"


NESTED = st.recursive(
    PLAIN,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: "[" + ",\n ".join(items) + "]"),
        st.lists(st.tuples(NAMES, inner), max_size=3).map(_object),
    ),
    max_leaves=6,
)
RECORD = st.lists(st.tuples(NAMES, NESTED), max_size=8).map(_object)
BODY = st.tuples(st.lists(RECORD, max_size=4), st.sampled_from([",", " ,\n", ", "]))


class Raw(str):
    """A number as it is written."""


def _wanted(value: Any, type_: pa.DataType) -> Any:
    """The value that a column of this type has; LookupError where it has none."""
    if value is None:
        return None
    if type_ == pa.string():
        return value if type(value) is str else ("json", _plain(value))
    if type_ == pa.json_():
        return ("json", _plain(value))
    if type_ == pa.bool_() and isinstance(value, bool):
        return value
    if isinstance(value, bool | dict | list):
        raise LookupError
    if pa.types.is_temporal(type_):
        return _moment(value, type_)
    if pa.types.is_boolean(type_):
        raise LookupError
    try:
        number = Decimal(value)
    except ArithmeticError:
        raise LookupError from None
    if not number.is_finite() or str(value) != str(value).strip() or "_" in value:
        raise LookupError
    if pa.types.is_floating(type_):
        if math.isinf(float(number)):
            raise LookupError
        return float(value)
    return number


def _moment(value: Any, type_: pa.DataType) -> Any:
    if isinstance(value, Raw):
        raise LookupError
    try:
        if pa.types.is_date(type_):
            if len(value) != 10:
                raise LookupError
            return date.fromisoformat(value)
        rfc = value.startswith("Thu, ")
        moment = datetime.strptime(value, "%a, %d %b %Y %H:%M:%S %z") if rfc else datetime.fromisoformat(value)
    except ValueError:
        raise LookupError from None
    if "T" not in value or (moment.tzinfo is None) == (type_.tz is not None):
        raise LookupError
    return (moment.replace(tzinfo=None) - EPOCH - (moment.utcoffset() or timedelta())) // timedelta(microseconds=1)


def _plain(value: Any) -> Any:
    """Comparable: numbers as decimals."""
    match value:
        case dict():
            return {name: _plain(one) for name, one in value.items()}
        case list():
            return [_plain(one) for one in value]
        case Raw():
            return ("number", Decimal(value))
        case _:
            return value


def _found(column: pa.Array, at: int, type_: pa.DataType, loaded: Any) -> Any:
    """What the batch holds, in the form of `_wanted`."""
    if not column[at].is_valid:
        return None
    if pa.types.is_timestamp(type_):
        return column[at].value
    value = column.storage[at].as_py() if isinstance(column, pa.ExtensionArray) else column[at].as_py()
    if type_ == pa.json_() or (type_ == pa.string() and type(loaded) is not str):
        return ("json", _plain(json.loads(value, parse_float=Raw, parse_int=Raw, parse_constant=Raw)))
    return Decimal(value) if pa.types.is_integer(type_) or pa.types.is_decimal(type_) else value


def read(body: str | bytes, schema: pa.Schema = SCHEMA, **options: Any) -> Page:
    return JsonRecords(schema, **options).page(body if isinstance(body, bytes) else body.encode())


def at_once(body: str, schema: pa.Schema, **options: Any) -> Page:
    """As `read`, and surely by Arrow's reader."""
    records = JsonRecords(schema, **options)
    page = records._at_once(body.encode(), {})
    assert page is not None, "the page was read row by row"
    return page


@given(BODY, st.sampled_from([(), ("data",)]), st.booleans())
@example((['{"i":1,"i":2}'], ","), (), False)
@example((['{"j":{"a":1}}', '{"j":"{}"}', '{"j":[1.10,{"x":"]"}]}', '{"j":1e400}'], ","), ("data",), False)
@example((['{"s":{"a":1}}'], ","), ("data",), True)
@example((['{"new":{"a":1},"i":1.0}'], ","), ("data",), True)
@example((['{"s":"\\\\"}', '{"s":"\\\\\\"{"}', '{"\\u0069":7}'], " ,\n"), (), False)
@example((['{"at":"0001-01-01T00:00:00+09:00"}'], ","), (), False)
def test_every_value_is_exact_or_its_row_is_rejected(
    body: tuple[list[str], str], place: tuple[str, ...], open_: bool
) -> None:
    records, comma = body
    array = "[" + comma.join(records) + "]"
    text = array if not place else f'{{"meta": {{"data": 1, "n": [2]}}, "data": {array}, "next": "x"}}'
    page = read(text, place=place, open_=open_)
    loaded = json.loads(array, parse_float=Raw, parse_int=Raw, parse_constant=Raw)
    if place:
        assert page.rest == {"meta": {"data": 1, "n": [2]}, "data": None, "next": "x"}
    schema, kept = page.batch.schema, 0
    assert schema.names[: len(SCHEMA)] == SCHEMA.names
    assert open_ or schema.names == SCHEMA.names
    for record in loaded:
        try:
            wanted = [_wanted(record.get(field.name), field.type) for field in schema]
            fits = all(_holds(value, field.type) for value, field in zip(wanted, schema, strict=True))
        except LookupError:
            fits = False
        if not fits:
            continue
        found = [_found(page.batch.column(f.name), kept, f.type, record.get(f.name)) for f in schema]
        assert [repr(one) for one in found] == [repr(_equal(one, two)) for one, two in zip(wanted, found, strict=True)]
        kept += 1
    assert (page.batch.num_rows, page.rows) == (kept, len(loaded))
    if open_:
        assert {n for record in loaded for n, v in record.items() if v is not None} <= set(schema.names)


FITTING = st.fixed_dictionaries(
    {},
    optional={
        "i": st.integers(-(2**63), 2**63 - 1).map(str),
        "small": st.integers(-(2**15), 2**15 - 1).map(str),
        "f": st.floats(allow_nan=False, allow_infinity=False).map(repr),
        "d": st.decimals(-(10**12), 10**12, places=4, allow_nan=False).map(str),
        "s": TEXT.map(json.dumps) | TEXT.map(lambda text: json.dumps(text, ensure_ascii=False)),
        "b": st.sampled_from(["true", "false", "null"]),
        "j": NESTED.filter(lambda text: text[0] in "{["),
        "at": st.datetimes(timezones=st.just(timezone(timedelta(hours=-3.5)))).map(lambda at: f'"{at.isoformat()}"'),
        "local": st.datetimes().map(lambda at: f'"{at.isoformat(" ")}"'),
        "day": st.dates().map(lambda day: f'"{day}"'),
        "other": NESTED,
    },
)


@given(st.lists(FITTING, min_size=1, max_size=5), st.sampled_from([",", " ,\n"]))
def test_pages_whose_values_fit_are_read_at_once_and_exactly(records: list[dict[str, str]], comma: str) -> None:
    array = "[" + comma.join(_object(list(record.items())) for record in records) + "]"
    page = at_once(array, SCHEMA)
    loaded = json.loads(array, parse_float=Raw, parse_int=Raw, parse_constant=Raw)
    for at, record in enumerate(loaded):
        for field in SCHEMA:
            wanted = _wanted_or_moment(record.get(field.name), field.type)
            found = _found(page.batch.column(field.name), at, field.type, record.get(field.name))
            assert repr(found) == repr(_equal(wanted, found)), field.name


def _wanted_or_moment(value: Any, type_: pa.DataType) -> Any:
    return _wanted(value.replace(" ", "T") if pa.types.is_timestamp(type_) and value else value, type_)


def _equal(wanted: Any, found: Any) -> Any:
    """The found value where it is the same number."""
    return found if wanted == found else wanted


def _holds(value: Any, type_: pa.DataType) -> bool:
    if isinstance(value, str) and any("\ud800" <= letter <= "\udfff" for letter in value):
        return False
    if value is None or not isinstance(value, Decimal):
        return True
    if pa.types.is_integer(type_):
        return value == value.to_integral_value() and -(2 ** (type_.bit_width - 1)) <= value < 2 ** (
            type_.bit_width - 1
        )
    return value == value.quantize(Decimal(1).scaleb(-type_.scale)) if abs(value) < 10**30 else False


def test_ordinary_pages_are_read_at_once() -> None:
    body = """{"data": [
        {"i": 1, "f": 0.1, "d": 1.10, "s": "é", "b": true, "j": {"a": [1, {"b": "}"}]},
         "at": "2026-01-01T00:00:00+09:00", "local": "2026-01-01 00:00:00.5", "day": "2026-01-31", "other": {"x": 1}},
        {"d": "49.0000", "j": [], "at": null},
        {}
    ], "meta": {"pagination": {"total": 3}}}"""
    page = at_once(body, SCHEMA, place=("data",))
    assert page.rest["meta"] == {"pagination": {"total": 3}}
    first, second, third = page.batch.to_pylist()
    assert first == {
        "i": 1,
        "small": None,
        "f": 0.1,
        "d": Decimal("1.1000"),
        "s": "é",
        "b": True,
        "day": date(2026, 1, 31),
        "j": '{"a": [1, {"b": "}"}]}',
        "at": datetime(2025, 12, 31, 15, tzinfo=UTC),
        "local": EPOCH.replace(year=2026, microsecond=500_000),
    }
    assert (second["d"], second["j"], set(third.values())) == (Decimal("49.0000"), "[]", {None})


def test_times_of_mail_and_blanks_are_read_at_once_where_they_are_usual() -> None:
    body = '[{"at": "Tue, 20 Nov 2012 01:02:03 +0000", "day": ""}, {"at": ""}, {"at": null}]'
    page = at_once(body, SCHEMA, times=Times.RFC, blank_is_null=True)
    assert page.batch.column("at").to_pylist() == [datetime(2012, 11, 20, 1, 2, 3, tzinfo=UTC), None, None]
    mixed = read(
        '[{"at": "Tue, 20 Nov 2012 01:02:03 -0500"}, {"at": "2012-11-20T01:02:03Z"}, {"d": ""}, {"s": ""}]',
        times=Times.RFC,
        blank_is_null=True,
    )
    assert mixed.batch.column("at").to_pylist()[:2] == [
        datetime(2012, 11, 20, 6, 2, 3, tzinfo=UTC),
        datetime(2012, 11, 20, 1, 2, 3, tzinfo=UTC),
    ]
    assert (mixed.batch.column("s").to_pylist()[3], mixed.rejected) == ("", ())


def test_a_number_with_more_digits_widens_its_column() -> None:
    records = JsonRecords(SCHEMA)
    page = records.page(b'[{"d": 1.123456, "i": 9223372036854775808}, {"d": 12345678901234567}]')
    assert page.batch.schema.field("d").type == pa.decimal128(23, 6)
    assert page.batch.schema.field("i").type == pa.decimal128(20, 0)
    assert page.batch.column("d").to_pylist() == [Decimal("1.123456"), Decimal("12345678901234567")]
    assert records.schema == page.batch.schema
    assert records.page(b'[{"d": 1.5}]').batch.schema == page.batch.schema


def test_an_open_stream_gets_a_column_for_a_new_member_once_it_has_a_value() -> None:
    records = JsonRecords(pa.schema([("i", pa.int64())]), open_=True)
    assert records.page(b'[{"i": 1, "new": null}]').batch.schema.names == ["i"]
    page = records.page(b'[{"i": 1}, {"new": 1.5, "also": {"b": [1.10]}, "flag": true, "mixed": 1}, {"mixed": "x"}]')
    assert {f.name: str(f.type) for f in page.batch.schema} == {
        "i": "int64",
        "new": "decimal128(38, 4)",
        "also": "extension<arrow.json>",
        "flag": "bool",
        "mixed": "extension<arrow.json>",
    }
    assert page.batch.column("also").storage.to_pylist() == [None, '{"b": [1.10]}', None]
    assert page.batch.column("mixed").storage.to_pylist() == [None, "1", '"x"']
    assert records.page(b'[{"i": 3}]').batch.schema == page.batch.schema
    assert JsonRecords(pa.schema([("i", pa.int64())])).page(b'[{"i": 1, "new": 2}]').batch.schema.names == ["i"]


def test_a_rejected_row_names_its_column_and_keeps_what_was_written() -> None:
    page = read('[{"i": 1}, {"i": "x", "s": "kept", "at": "soon", "j": {"a": 1}}, null, 7, {"i": 2}]')
    assert page.batch.column("i").to_pylist() == [1, 2]
    none, seven, row = sorted(page.rejected, key=lambda row: str(row.column))[:3]
    assert (none.reason, seven.row, none.column) == ("a record is no JSON object", '{"": "7"}', None)
    assert (row.column, row.reason) == ("i", "i: it is a text, not int64")
    assert json.loads(str(row.row)) | {"f": None} == {
        **dict.fromkeys(SCHEMA.names),
        "i": "x",
        "s": "kept",
        "at": "soon",
        "j": '{"a": 1}',
    }


def test_what_is_given_fills_its_column() -> None:
    schema = pa.schema([("order_id", pa.int64()), ("id", pa.int64())])
    assert JsonRecords(schema).page(b'[{"id": 1}, {"id": 2, "order_id": 9}]', {"order_id": 5}).batch.to_pylist() == [
        {"order_id": 5, "id": 1},
        {"order_id": 5, "id": 2},
    ]
    assert JsonRecords(schema).page(b'[{"id": "1"}]', {"order_id": 5}).batch.to_pylist() == [{"order_id": 5, "id": 1}]


def test_what_is_given_is_no_new_member_of_an_open_stream() -> None:
    schema = pa.schema([("order_id", pa.int64()), ("id", pa.int64())])
    records = JsonRecords(schema, open_=True)
    page = records._at_once(b'[{"id": 1, "order_id": "5"}]', {"order_id": 5})
    assert page is not None
    assert page.batch.to_pylist() == [{"order_id": 5, "id": 1}]
    assert records.page(b'[{"id": 1, "order_id": 5, "more": [{}]}]', {"order_id": 5}).batch.schema.names == [
        *("order_id", "id", "more")
    ]


@pytest.mark.parametrize("body", ["{}", '{"data": 5}', "[]", "[1]", '{"other": []}'])
def test_records_that_are_not_where_they_should_be_are_an_error(body: str) -> None:
    if body == '{"data": 5}':
        assert len(read(body, place=("data",)).rejected) == 1
    else:
        with pytest.raises(DataError, match="holds no data"):
            read(body, place=("data",))


@pytest.mark.parametrize("body", [b"", b"<html>", b'[{"i":1}', b'[{"i":1},]', b'{"i":1}{"i":2}', b'[{"s":"\xff"}]'])
def test_what_is_no_json_is_a_passing_fault(body: bytes) -> None:
    with pytest.raises(TransientError):
        read(body)
    with pytest.raises(TransientError):
        read(body.replace(b"s", b"j").replace(b"i", b"j"))


@pytest.mark.parametrize("nested", ["{bad}", '{"a":}', "[1,]", '{"a":1]', "[01]", '["\\x"]'])
def test_a_nested_value_that_is_no_json_is_seen(nested: str) -> None:
    with pytest.raises(TransientError):
        read(f'[{{"j": {nested}}}]')


def test_one_object_is_one_record_and_null_is_none() -> None:
    assert at_once('{"i": 7, "j": {"a": {}}}', SCHEMA).batch.column("i").to_pylist() == [7]
    assert at_once('{"data": {"i": 7}, "meta": {}}', SCHEMA, place=("data",)).batch.num_rows == 1
    assert read('{"data": null}', place=("data",)).rows == 0
    assert at_once('{"a": {"b": [{"i": 1}]}, "b": [1]}', SCHEMA, place=("a", "b")).batch.num_rows == 1
    assert at_once("[ ]", SCHEMA).rows == 0


def test_a_byte_order_mark_and_utf_16_are_understood() -> None:
    assert read("\ufeff".encode() + b'[{"i": 1}]').batch.num_rows == 1
    assert read('[{"s": "é"}]'.encode("utf-16")).batch.column("s").to_pylist() == ["é"]


@given(st.lists(st.lists(st.tuples(NAMES, NESTED), max_size=4).map(_object), max_size=5))
def test_the_layout_finds_each_record(records: list[str]) -> None:
    body = f'{{"x": {{"data": [1, "]"]}}, "data": [{" , ".join(records)}]}}'.encode()
    found = layout(body, ("data",))
    assert found is not None
    assert [body[s : e + 1].decode() for s, e in zip(found.starts, found.ends, strict=True)] == records


def test_seconds_since_1970_are_moments_and_0_is_none() -> None:
    moments = [datetime(2012, 11, 20, 1, 2, 3, tzinfo=UTC), None, None, datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)]
    body = '[{"at": 1353373323}, {"at": 0}, {"at": null}, {"at": -1, "i": 7, "day": "2026-01-31"}]'
    page = at_once(body, SCHEMA, times=Times.EPOCH)
    assert page.batch.column("at").to_pylist() == moments
    slow = read(body[:-1] + ', {"at": "2012-11-20T01:02:03Z"}, {"at": 1.5}, {"at": 99999999999999}]', times=Times.EPOCH)
    assert slow.batch.column("at").to_pylist() == [*moments, moments[0]]
    assert [one.column for one in slow.rejected] == ["at", "at"]
    assert read('[{"at": 5}]').rejected  # of services that write moments as text, a number is none
