"""Every type of MariaDB at its limits, as it travels in Arrow."""

# ruff: noqa: DTZ001  (DATETIME has no zone)

from __future__ import annotations

import struct
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.test_mysql import config_of
from mariadb import MariaDBServer, database_of
from suiro.connectors.mysql import calendar
from suiro.connectors.mysql.source import MysqlSource
from suiro.connectors.mysql.wire import walk
from suiro.model.change import Rows
from suiro.model.errors import DataError
from suiro.model.selection import Selection
from suiro.model.types import logical_type
from suiro.testing.context import LocalContext

DIGITS_65 = "12345678901234567890123456789012345" + "." + "012345678901234567890123456789"


@dataclass(frozen=True)
class Case:
    """A column's type, values as SQL and as Arrow gives them, and how they travel."""

    type: str
    values: dict[str, Any]
    arrow: pa.DataType
    logical: str | None = None


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type,misc]


def point(srid: int) -> str:
    return f"ST_GeomFromText('POINT(1.5 -2)', {srid})"


CASES = [
    Case("tinyint", {"-128": -128, "127": 127}, pa.int8()),
    Case("tinyint unsigned", {"0": 0, "255": 255}, pa.uint8()),
    Case("tinyint(1)", {"-128": -128, "127": 127, "1": 1}, pa.int8()),
    Case("boolean", {"true": 1, "false": 0}, pa.int8()),
    Case("smallint", {"-32768": -32768, "32767": 32767}, pa.int16()),
    Case("smallint unsigned", {"65535": 65535}, pa.uint16()),
    Case("mediumint", {"-8388608": -8388608, "8388607": 8388607}, pa.int32()),
    Case("mediumint unsigned", {"16777215": 16777215}, pa.uint32()),
    Case("int", {"-2147483648": -(2**31), "2147483647": 2**31 - 1}, pa.int32()),
    Case("int(5) unsigned zerofill", {"7": 7, "4294967295": 2**32 - 1}, pa.uint32()),
    Case("bigint", {"-9223372036854775808": -(2**63), "9223372036854775807": 2**63 - 1}, pa.int64()),
    Case("bigint unsigned", {"18446744073709551615": 2**64 - 1, "0": 0}, pa.uint64()),
    Case("decimal(4,2)", {"-99.99": Decimal("-99.99"), "0.10": Decimal("0.10")}, pa.decimal128(4, 2)),
    Case("decimal(18,0)", {"-" + "9" * 18: Decimal("-" + "9" * 18), "9" * 18: Decimal("9" * 18)}, pa.decimal128(18, 0)),
    Case("decimal(18,18)", {"-0." + "9" * 18: Decimal("-0." + "9" * 18), "1e-18": Decimal("1e-18")},
         pa.decimal128(18, 18)),
    Case("decimal(19,1)", {"-" + "9" * 18 + ".9": Decimal("-" + "9" * 18 + ".9")}, pa.decimal128(19, 1)),
    Case("decimal(38,10)", {"9" * 28 + "." + "9" * 10: Decimal("9" * 28 + "." + "9" * 10)}, pa.decimal128(38, 10)),
    Case("decimal(38,38)", {"-0." + "9" * 38: Decimal("-0." + "9" * 38)}, pa.decimal128(38, 38)),
    Case("decimal(65,0)", {"9" * 65: Decimal("9" * 65), "-" + "9" * 65: Decimal("-" + "9" * 65)}, pa.decimal256(65, 0)),
    Case("decimal(65,30)", {DIGITS_65: Decimal(DIGITS_65), "-0.5": Decimal("-0.5")}, pa.decimal256(65, 30)),
    Case("decimal(10,2) unsigned", {"99999999.99": Decimal("99999999.99")}, pa.decimal128(10, 2)),
    Case("float", {"0.1": struct.unpack("f", struct.pack("f", 0.1))[0], "3.4028234663852886e38": 3.4028234663852886e38,
                   "16777215": 16777215.0, "1.401298464324817e-45": 1.401298464324817e-45}, pa.float32()),
    Case("float(7,3)", {"1234.567": struct.unpack("f", struct.pack("f", 1234.567))[0]}, pa.float32()),
    Case("double", {"0.1": 0.1, "1.7976931348623157e308": 1.7976931348623157e308, "2.2250738585072014e-308":
                    2.2250738585072014e-308, "123456789.123456789": 123456789.123456789}, pa.float64()),
    Case("bit(1)", {"b'0'": False, "b'1'": True}, pa.bool_()),
    Case("bit(5)", {"b'101'": "00101", "b'11111'": "11111"}, pa.string(), "bit(5)"),
    Case("bit(64)", {"18446744073709551615": "1" * 64, "1": "0" * 63 + "1"}, pa.string(), "bit(64)"),
    Case("year", {"1901": 1901, "2155": 2155, "0": 0}, pa.uint16(), "mysql year"),
    Case("date", {"'0001-01-01'": date(1, 1, 1), "'9999-12-31'": date(9999, 12, 31), "'2024-02-29'": date(2024, 2, 29),
                  "'1970-01-01'": date(1970, 1, 1), "'1969-12-31'": date(1969, 12, 31)}, pa.date32()),
    Case("datetime", {"'0001-01-01 00:00:00'": datetime(1, 1, 1), "'9999-12-31 23:59:59'":
                      datetime(9999, 12, 31, 23, 59, 59)}, pa.timestamp("us")),
    Case("datetime(3)", {"'1969-12-31 23:59:59.999'": datetime(1969, 12, 31, 23, 59, 59, 999000)}, pa.timestamp("us")),
    Case("datetime(6)", {"'9999-12-31 23:59:59.999999'": datetime(9999, 12, 31, 23, 59, 59, 999999),
                         "'2020-02-29 12:00'": datetime(2020, 2, 29, 12), "'2020-01-01'": datetime(2020, 1, 1)},
         pa.timestamp("us")),
    Case("timestamp null", {"'1970-01-01 00:00:01'": utc(1970, 1, 1, 0, 0, 1), "'2038-01-19 03:14:07'":
                            utc(2038, 1, 19, 3, 14, 7)}, pa.timestamp("us", "UTC")),
    Case("timestamp(6) null", {"'2024-07-01 12:00:00.000001'": utc(2024, 7, 1, 12, 0, 0, 1)},
         pa.timestamp("us", "UTC")),
    Case("datetime(6) comment 'UTC'", {"'0001-01-01 00:00'": utc(1, 1, 1)}, pa.timestamp("us", "UTC")),
    Case("time", {"'-838:59:59'": "-838:59:59", "'838:59:59'": "838:59:59", "'00:00:00'": "00:00:00",
                  "'24:00:00'": "24:00:00"}, pa.string(), "interval"),
    Case("time(3)", {"'-00:00:00.5'": "-00:00:00.5", "'01:02:00'": "01:02:00"}, pa.string(), "interval"),
    Case("time(6)", {"'-838:59:59.999999'": "-838:59:59.999999", "'10:20:30.123450'": "10:20:30.12345"}, pa.string(),
         "interval"),
    Case("char(5)", {"'水路12 '": "水路12", "''": "", "'ab'": "ab"}, pa.string(), "varchar(5)"),
    Case("varchar(5)", {"'水😀12 '": "水😀12 ", "''": ""}, pa.string(), "varchar(5)"),
    Case("varchar(0)", {"''": ""}, pa.string()),
    Case("varchar(20) character set sjis", {"'水路ソ表ｱ'": "水路ソ表ｱ"}, pa.string(), "varchar(20)"),
    Case("varchar(20) character set cp932", {"'髙①～'": "髙①～"}, pa.string(), "varchar(20)"),
    Case("varchar(20) character set eucjpms", {"'髙①水'": "髙①水"}, pa.string(), "varchar(20)"),
    Case("varchar(20) character set latin1", {"'é€ß'": "é€ß"}, pa.string(), "varchar(20)"),
    Case("varchar(20) character set ucs2", {"'水'": "水"}, pa.string(), "varchar(20)"),
    Case("tinytext", {"''": "", "'水\\t\\n\\\\\\''": "水\t\n\\'"}, pa.string()),
    Case("text", {"repeat('x', 65535)": "x" * 65535}, pa.string()),
    Case("mediumtext", {"repeat('水', 100000)": "水" * 100000, "repeat('a', 12)": "a" * 12, "repeat('b', 13)":
                        "b" * 13}, pa.string()),
    Case("longtext", {"repeat('y', 300)": "y" * 300, "repeat('z', 250)": "z" * 250, "repeat('z', 251)": "z" * 251},
         pa.string()),
    Case("binary(4)", {"x'00'": b"\0\0\0\0", "x'ff00ff00'": b"\xff\0\xff\0"}, pa.binary()),
    Case("varbinary(9)", {"x''": b"", "x'00ff5c0a'": b"\0\xff\\\n"}, pa.binary()),
    Case("blob", {"repeat(x'ab', 65535)": b"\xab" * 65535}, pa.binary()),
    Case("longblob", {"repeat(x'00', 70000)": bytes(70000)}, pa.binary()),
    Case("json", {'\'{"b": 1,  "b": 2, "a": 1.10}\'': '{"b": 1,  "b": 2, "a": 1.10}', "'1e400'": "1e400"},
         pa.json_(pa.string()), "json"),
    Case("longtext check (json_valid(c))", {"'[]'": "[]"}, pa.json_(pa.string()), "json"),
    Case("enum('a','b''c','水')", {"'a'": "a", "'b''c'": "b'c", "3": "水"}, pa.string(), "mysql enum('a','b''c','水')"),
    Case("set('x','y','z')", {"'x,z'": "x,z", "''": ""}, pa.string(), "mysql set('x','y','z')"),
    Case("point", {point(0): b"\1\1\0\0\0" + struct.pack("<dd", 1.5, -2.0),
                   point(4326): b"\1\1\0\0\x20" + struct.pack("<Idd", 4326, 1.5, -2.0)}, pa.binary(),
         "geometry(point)"),
    Case("geometry", {"ST_GeomFromText('LINESTRING(0 0, 1 1)')":
                      b"\1\2\0\0\0" + struct.pack("<Idddd", 2, 0.0, 0.0, 1.0, 1.0)}, pa.binary(), "geometry"),
    Case("uuid", {f"'{UUID(int=i)}'": UUID(int=i) for i in (0, 2**128 - 1, 0x00112233445566778899AABBCCDDEEFF)},
         pa.uuid()),
    Case("inet6", {"'::1'": "::1", "'2001:db8::ff00:42:8329'": "2001:db8::ff00:42:8329",
                   "'::ffff:192.0.2.1'": "::ffff:192.0.2.1"}, pa.string(), "inet"),
    Case("inet4", {"'10.0.0.1'": "10.0.0.1", "'255.255.255.255'": "255.255.255.255"}, pa.string(), "inet"),
    Case("int as (id * 2) virtual", {"default": 0}, pa.int32()),
    Case("int as (id + 40) stored", {"default": 40}, pa.int32()),
    Case("int invisible", {"7": 7}, pa.int32()),
]  # fmt: skip


class Tables:
    """A database in which tests make tables, and read them through the connector."""

    def __init__(self, server: MariaDBServer, url: str, folder: Path) -> None:
        self.server, self.url, self.folder = server, url, folder
        self.database = database_of(url)

    def run(self, *statements: str) -> None:
        """Run statements as another program does, zero dates allowed."""
        with self.server.connect(self.database) as connection, connection.cursor() as cursor:
            cursor.execute("SET sql_mode = 'ALLOW_INVALID_DATES'")
            for statement in statements:
                cursor.execute(statement)

    def read(self, table: str, *columns: str, **settings: Any) -> pa.Table:
        """All rows of a table in the order of its column `id`."""
        context = LocalContext(run="r", workdir=self.folder / "work")
        source = MysqlSource(config_of(self.url, **settings), context)
        try:
            stream = source.find(f"{self.database}.{table}")
            selection = Selection(stream=stream, columns=columns or tuple(stream.schema.names))
            (part,) = source.plan([selection])
            batches = [change.data for change in source.read(part, None) if isinstance(change, Rows)]
            schema = pa.schema([stream.schema.field(name) for name in selection.columns])
            found = pa.Table.from_batches(batches, schema)
        finally:
            source.close()
        return found.sort_by("id") if "id" in found.column_names else found


@pytest.fixture
def tables(mariadb: MariaDBServer, mariadb_url: str, tmp_path: Path) -> Tables:
    return Tables(mariadb, mariadb_url, tmp_path)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.type)
def test_values_at_the_limits_of_a_type_travel_exactly(tables: Tables, case: Case) -> None:
    tables.run(f"CREATE TABLE t (id int, c {case.type})")
    values = list(case.values.values())
    tables.run(*(f"INSERT INTO t (id, c) VALUES ({n}, {value})" for n, value in enumerate(case.values)))
    if " as (" not in case.type:
        tables.run("INSERT INTO t (id, c) VALUES (1000, NULL)")
        values.append(None)
    found = tables.read("t")
    field = found.schema.field("c")
    assert (field.type, logical_type(field)) == (case.arrow, case.logical)
    assert found.column("c").to_pylist() == values


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.type)
def test_a_column_beside_others_is_read_at_its_place(tables: Tables, case: Case) -> None:
    tables.run(f"CREATE TABLE t (a varchar(3000), id int not null, c {case.type}, z varchar(300))")
    values = list(case.values.items())
    for n, (sql, _) in enumerate(values):
        tables.run(f"INSERT INTO t (a, id, c, z) VALUES (repeat('a', {n * 125}), {n}, {sql}, {n or 'NULL'})")
    found = tables.read("t")
    assert found.column("a").to_pylist() == ["a" * (n * 125) for n in range(len(values))]
    assert found.column("c").to_pylist() == [value for _, value in values]
    assert found.column("z").to_pylist() == [str(n) if n else None for n in range(len(values))]


@pytest.mark.parametrize("type_", ["date", "datetime", "datetime(6)", "timestamp(3)"])
@pytest.mark.parametrize("value", ["0000-00-00", "2024-00-00", "2024-02-00", "2024-02-31"])
def test_a_date_that_no_calendar_has_is_refused_by_its_column_unless_asked_for(
    tables: Tables, type_: str, value: str
) -> None:
    zero = value if not type_.startswith("timestamp") else "0000-00-00"
    tables.run(
        f"CREATE TABLE t (id int, d {type_} NULL, e int)",
        f"INSERT INTO t VALUES (1, '2024-02-29', 1), (2, '{zero}', 2), (3, NULL, 3)",
    )
    with pytest.raises(DataError, match="column d holds dates that no calendar has") as refused:
        tables.read("t")
    assert refused.value.hint is not None and "zero_dates=text" in refused.value.hint
    empty = tables.read("t", zero_dates="null")
    assert [value is None for value in empty.column("d").to_pylist()] == [False, True, True]
    assert empty.column("e").to_pylist() == [1, 2, 3]
    text = tables.read("t", zero_dates="text").column("d").to_pylist()
    clock = {"date": "", "datetime": " 00:00:00", "datetime(6)": " 00:00:00.000000"}.get(type_, " 00:00:00.000")
    assert text == ["2024-02-29" + clock, zero + clock, None]


def test_that_dates_become_null_is_told(tables: Tables) -> None:
    tables.run("CREATE TABLE t (id int, d date)")
    config = config_of(tables.url, zero_dates="null")
    source = MysqlSource(config, LocalContext(run="r", workdir=tables.folder))
    assert source.find(f"{tables.database}.t").notes == ("Dates that no calendar has become NULL in d.",)
    source.close()


def test_a_tinyint_of_one_digit_is_a_boolean_where_asked_and_others_are_refused(tables: Tables) -> None:
    tables.run("CREATE TABLE t (id int, b bool)", "INSERT INTO t VALUES (1, 1), (2, 0), (3, NULL)")
    assert tables.read("t", tinyint1="boolean").column("b").to_pylist() == [True, False, None]
    tables.run("INSERT INTO t VALUES (4, 2)")
    with pytest.raises(DataError, match="column b holds numbers other than 0 and 1"):
        tables.read("t", tinyint1="boolean")


def test_time_is_a_time_of_day_or_text_where_asked(tables: Tables) -> None:
    tables.run("CREATE TABLE t (id int, c time(6))", "INSERT INTO t VALUES (1, '00:00'), (2, '23:59:59.999999')")
    assert tables.read("t", time="clock").column("c").to_pylist() == [time(0), time(23, 59, 59, 999999)]
    assert tables.read("t", time="text").column("c").to_pylist() == ["00:00:00.000000", "23:59:59.999999"]
    for outside in ("24:00:00", "-00:00:00.000001", "838:59:59"):
        tables.run("DELETE FROM t", f"INSERT INTO t VALUES (1, '{outside}')")
        with pytest.raises(DataError, match="column c holds amounts of time that are no time of day"):
            tables.read("t", time="clock")


def test_a_row_of_many_packets_is_read_between_others(tables: Tables) -> None:
    long = 17 * 2**20
    tables.run(
        "CREATE TABLE t (id int, a longblob, b longtext)",
        f"INSERT INTO t VALUES (1, 'a', 'b'), (2, repeat('x', {long}), repeat('y', {long})), (3, 'c', NULL)",
        f"INSERT INTO t VALUES (4, repeat('z', {2**24 - 1}), ''), (5, repeat('w', {2**23}), 'e')",
    )
    found = tables.read("t")
    assert found.column("a").to_pylist() == [b"a", b"x" * long, b"c", b"z" * (2**24 - 1), b"w" * 2**23]
    assert found.column("b").to_pylist() == ["b", "y" * long, None, "", "e"]


def test_a_row_too_long_for_memory_is_refused(tables: Tables) -> None:
    tables.run("CREATE TABLE t (id int, a longblob)")
    tables.run(f"INSERT INTO t VALUES (1, repeat('x', {65 * 2**20}))")
    with pytest.raises(DataError, match="a row has more than 64 MiB"):
        tables.read("t")


def test_many_columns_with_null_in_any_of_them_are_told_apart(tables: Tables) -> None:
    names = [f"c{n}" for n in range(300)]
    tables.run(f"CREATE TABLE t (id int, {', '.join(f'{name} smallint' for name in names)})")
    for row in range(20):
        values = [str(n) if (n + row) % 7 else "NULL" for n in range(300)]
        tables.run(f"INSERT INTO t VALUES ({row}, {', '.join(values)})")
    found = tables.read("t")
    for n, name in enumerate(names):
        assert found.column(name).to_pylist() == [n if (n + row) % 7 else None for row in range(20)]


@given(st.lists(st.integers(1, 300), min_size=1, max_size=30), st.data())
def test_rows_are_found_wherever_their_bytes_are_cut(lengths: list[int], data: st.DataObject) -> None:
    packets = [struct.pack("<I", n | (i & 255) << 24) + b"\0" * n for i, n in enumerate(lengths)]
    whole = bytearray(b"".join(packets) + b"\5\0\0\x07\xfe\0\0\2\0")
    cuts = data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=5))
    at, starts = 0, list[int]()
    for filled in sorted(cuts):
        at, state = walk(whole, at, filled, starts)
        assert state in (0, 0xFE)
    assert walk(whole, at, len(whole), starts) == (len(whole) - 9, 0xFE)
    assert starts == [4 + sum(4 + n for n in lengths[:i]) for i in range(len(lengths))]


@given(st.dates())
def test_packed_dates_are_the_days_that_python_counts(day: date) -> None:
    packed = day.year | day.month << 16 | day.day << 24
    found, unknown = calendar.days(_words(packed, "u4"), _words(4, "i8"))
    assert (int(found[0]), bool(unknown[0])) == ((day - date(1970, 1, 1)).days, False)


@given(st.timedeltas(timedelta(hours=-838), timedelta(hours=838)))
def test_packed_times_are_the_microseconds_that_python_counts(amount: timedelta) -> None:
    size = abs(amount)
    clock = size.seconds
    head = (amount < timedelta(0)) | size.days << 8 | clock // 3600 << 40 | clock // 60 % 60 << 48 | clock % 60 << 56
    found = calendar.micros(_words(head, "u8"), _words(size.microseconds, "u4"), _words(12, "i8"))
    assert int(found[0]) == amount // timedelta(microseconds=1)


def _words(value: int, kind: str) -> Any:
    import numpy as np

    return np.array([value], kind)
