"""Tests of how Salesforce's CSV and JSON become rows: exactly, and by whole rows however the bytes come."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suiro.connectors.salesforce.decode import Cutter, Decoder, as_csv, read_json
from suiro.model.errors import DataError
from suiro.toolkit.sql.unreadable import Unreadable

UTC_TIME = pa.timestamp("us", "UTC")
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\r\x00"), max_size=8)


def written(rows: Sequence[Sequence[str]]) -> bytes:
    out = io.StringIO(newline="")
    csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(rows)
    return out.getvalue().encode()


def decoded(type_: pa.DataType, *texts: str) -> list[Any]:
    decoder = Decoder(pa.schema([("v", type_)]))
    rows = written([[text] for text in texts])
    return [row["v"] for batch in decoder.batches(["V"], rows) for row in batch.to_pylist()]


@given(st.lists(st.lists(TEXTS, min_size=3, max_size=3), max_size=20), st.data())
def test_rows_are_cut_whole_wherever_the_pieces_break(rows: list[list[str]], data: st.DataObject) -> None:
    whole = written([["a", 'b"b', "c\nc"], *rows])
    cutter, blocks, at = Cutter(block=data.draw(st.integers(1, 200))), list[bytes](), 0
    while at < len(whole):
        size = data.draw(st.integers(1, 60))
        blocks += cutter.feed(whole[at : at + size])
        at += size
    blocks += cutter.end()
    assert cutter.header == ["a", 'b"b', "c\nc"]
    assert b"".join(blocks) == written(rows)
    decoder = Decoder(pa.schema([(name, pa.string()) for name in ("a", 'b"b', "c\nc")]))
    batches = [batch for block in blocks for batch in decoder.batches(cutter.header, block)]
    found = [[row[name] or "" for name in ("a", 'b"b', "c\nc")] for batch in batches for row in batch.to_pylist()]
    assert found == rows


def test_a_header_alone_is_a_result_without_rows() -> None:
    cutter = Cutter()
    assert [*cutter.feed(b'"Id","Name"\n'), *cutter.end()] == []
    assert cutter.header == ["Id", "Name"]


def test_an_open_quote_is_no_end() -> None:
    cutter = Cutter()
    with pytest.raises(DataError, match="a quote isn't closed"):
        [*cutter.feed(b'"Id"\n"a"\n"b\nc'), *cutter.end()]


@pytest.mark.parametrize(
    ("type_", "texts", "values"),
    [
        (pa.string(), ["", "a", 'q"q', "水\n路"], [None, "a", 'q"q', "水\n路"]),
        (pa.bool_(), ["true", "false", ""], [True, False, None]),
        (pa.int32(), ["-2147483648", "2147483647", ""], [-(2**31), 2**31 - 1, None]),
        (pa.int64(), ["9223372036854775807"], [2**63 - 1]),
        (
            pa.decimal128(18, 2),
            ["1.5", "1.39E8", "-0.05", "9999999999999999.99", ""],
            [Decimal("1.50"), Decimal("139000000.00"), Decimal("-0.05"), Decimal("9999999999999999.99"), None],
        ),
        (
            pa.date32(),
            ["2024-02-29", "1700-01-01", "4000-12-31"],
            [date(2024, 2, 29), date(1700, 1, 1), date(4000, 12, 31)],
        ),
        (
            UTC_TIME,
            ["2021-12-03T17:59:20.000+0000", "2021-12-03T17:59:20.123Z", "2021-12-04T02:59:20.000+0900"],
            [
                datetime(2021, 12, 3, 17, 59, 20, tzinfo=UTC),
                datetime(2021, 12, 3, 17, 59, 20, 123000, UTC),
                datetime(2021, 12, 3, 17, 59, 20, tzinfo=UTC),
            ],
        ),
        (pa.time64("us"), ["10:00:00.000Z", "23:59:59.999Z", ""], [time(10), time(23, 59, 59, 999000), None]),
    ],
)
def test_values_come_exactly_as_their_type(type_: pa.DataType, texts: list[str], values: list[Any]) -> None:
    assert decoded(type_, *texts) == values


@pytest.mark.parametrize(
    ("type_", "text"),
    [
        (pa.decimal128(3, 0), "2.5"), (pa.decimal128(3, 0), "1000"), (pa.decimal128(18, 2), "NaN"), (pa.int32(), "1.5"),
        (pa.int32(), "2147483648"), (pa.bool_(), "yes"), (pa.date32(), "29.02.2024"), (UTC_TIME, "2024-02-29T12:00:00"),
        (pa.time64("us"), "soon"),
    ],
)  # fmt: skip
def test_a_value_that_does_not_fit_is_refused_by_its_column_and_not_shown(type_: pa.DataType, text: str) -> None:
    with pytest.raises(DataError, match="column v") as refused:
        decoded(type_, "", text)
    assert refused.value.column == "v" and text not in str(refused.value)


def test_rows_with_such_values_are_told_apart_and_all_others_come() -> None:
    schema = pa.schema([("id", pa.string()), ("n", pa.decimal128(3, 0)), ("t", pa.time64("us"))])
    rows = written([["a", "1", ""], ["b", "2.5", "10:00:00.000Z"], ["c", "3", "soon"], ["d", "", ""]])
    batches = list(Decoder(schema, Unreadable(None)).batches(["id", "n", "t"], rows))
    assert [[row["id"] for row in batch.to_pylist()] for batch in batches] == [["a", "d"], ["b"], ["c"]]
    assert [bool(batch.schema.metadata) for batch in batches] == [False, True, True]


def test_columns_are_found_by_their_names_in_any_order_and_case() -> None:
    schema = pa.schema([("Id", pa.string()), ("Owner.Name", pa.string())])
    (batch,) = Decoder(schema).batches(["OWNER.NAME", "More", "ID"], written([["o", "x", "i"]]))
    assert batch.to_pylist() == [{"Id": "i", "Owner.Name": "o"}]
    with pytest.raises(DataError, match=r"lacks the column Owner\.Name"):
        list(Decoder(schema).batches(["Id"], written([["i"]])))


def test_records_of_json_keep_the_digits_that_were_written() -> None:
    content = b"""{"records": [{"attributes": {}, "n": 1.10, "m": 139E6, "b": true, "s": null, "Owner": {"Name": "o"},
        "Address": {"city": "\\u6c34\\u8def", "latitude": 35.680, "more": [1, null, false]}}]}"""
    (record,) = read_json(content)["records"]
    names = ["n", "m", "b", "s", "Owner.Name", "Owner.Alias", "Address"]
    (row,) = csv.reader(io.StringIO(as_csv([record], names).decode()))
    address = '{"city": "水路", "latitude": 35.680, "more": [1, null, false]}'
    assert row == ["1.10", "139E6", "true", "", "o", "", address]
    schema = pa.schema([("Address", pa.json_(pa.string()))])
    (batch,) = Decoder(schema).batches(names, as_csv([record], names))
    assert batch.column(0).storage.to_pylist() == [address]
