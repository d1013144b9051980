"""Every type of MariaDB on its way into PostgreSQL: which type it gets there, and that no value changes."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from copying import copied
from mariadb import MariaDBServer, database_of

#: By MariaDB's type: a value as SQL, the type that PostgreSQL gives it, and the value's text there.
CASES: dict[str, tuple[str, str, str]] = {
    "tinyint unsigned": ("255", "smallint", "255"),
    "mediumint": ("-8388608", "integer", "-8388608"),
    "bigint unsigned": ("18446744073709551615", "numeric(20,0)", "18446744073709551615"),
    "decimal(15,2)": ("-0.01", "numeric(15,2)", "-0.01"),
    "decimal(65,30)": ("9.1", "numeric(65,30)", "9.1" + "0" * 29),
    "float": ("3.4028234663852886e38", "real", "3.4028235e+38"),
    "double": ("0.30000000000000004", "double precision", "0.30000000000000004"),
    "bit(1)": ("b'1'", "boolean", "true"),
    "bit(12)": ("b'101'", "bit(12)", "000000000101"),
    "year": ("2155", "integer", "2155"),
    "date": ("'0001-01-01'", "date", "0001-01-01"),
    "datetime(6)": ("'9999-12-31 23:59:59.999999'", "timestamp without time zone", "9999-12-31 23:59:59.999999"),
    "timestamp(3) null": ("'2024-07-01 12:00:00.5'", "timestamp with time zone", "2024-07-01 12:00:00.5+00"),
    "time(3)": ("'-838:59:59.25'", "interval", "-838:59:59.25"),
    "time": ("'25:00:00'", "interval", "25:00:00"),
    "char(5)": ("'水 '", "character varying(5)", "水"),
    "varchar(9) character set sjis": ("'ソ表能 '", "character varying(9)", "ソ表能 "),
    "longtext": ("'a\\tb\\n'", "text", "a\tb\n"),
    "varbinary(5)": ("x'00ff'", "bytea", "\\x00ff"),
    "json": ('\'{"b": 1,  "a": 1.10}\'', "json", '{"b": 1,  "a": 1.10}'),
    "enum('a','水')": ("'水'", "text", "水"),
    "set('a','b')": ("'a,b'", "text", "a,b"),
    "uuid": ("'00112233-4455-6677-8899-aabbccddeeff'", "uuid", "00112233-4455-6677-8899-aabbccddeeff"),
    "inet6": ("'2001:db8::1'", "inet", "2001:db8::1/128"),  # the cast to text adds the mask
    "inet4": ("'10.0.0.1'", "inet", "10.0.0.1/32"),
    "point": ("POINT(1, 2)", "bytea", "\\x0101000000000000000000f03f0000000000000040"),
}


@pytest.fixture
def url(mariadb: MariaDBServer, mariadb_url: str) -> str:
    columns = ", ".join(f"c{n} {type_}" for n, type_ in enumerate(CASES))
    values = ", ".join(value for value, _, _ in CASES.values())
    nothing = ", ".join(["NULL"] * len(CASES))
    mariadb.execute(f"CREATE TABLE t (id int primary key, {columns})", database_of(mariadb_url))
    mariadb.execute(f"INSERT INTO t VALUES (1, {values}), (2, {nothing})", database_of(mariadb_url))
    return mariadb_url


def test_each_type_gets_its_own_and_no_value_changes(url: str, postgres_url: str) -> None:
    done = copied(url, postgres_url, "t")
    assert done.receipt is not None and done.receipt.source_rows == 2
    texts = ", ".join(f"c{n}::text" for n in range(len(CASES)))
    asked = "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 't'::regclass AND attnum > 1 "
    with psycopg.connect(postgres_url, options="-c timezone=UTC") as connection:
        types = [row[0] for row in connection.execute(asked + "ORDER BY attnum").fetchall()]
        first, second = connection.execute(f"SELECT {texts} FROM t ORDER BY id".encode()).fetchall()
    found: dict[str, tuple[Any, Any]] = dict(zip(CASES, zip(types, first, strict=True), strict=True))
    assert {name: (type_, text) for name, (_, type_, text) in CASES.items()} == found
    assert set(second) == {None}
    assert {cast.column for cast in done.receipt.casts} == {
        f"c{list(CASES).index(n)}" for n in CASES if n[:3] in ("enu", "set")
    }


def test_rows_that_come_and_change_are_merged_run_by_run(
    mariadb: MariaDBServer, mariadb_url: str, postgres_url: str
) -> None:
    def run(sql: str) -> None:
        mariadb.execute(sql, database_of(mariadb_url))

    run("CREATE TABLE t (id int primary key, v varchar(20), at timestamp(6) not null)")
    run("INSERT INTO t SELECT seq, seq, '2024-01-01 00:00:00.5' FROM seq_1_to_1000")
    options: dict[str, Any] = {"read": "incremental", "cursor": "at"}
    assert copied(mariadb_url, postgres_url, "t", **options).rows_written == 1000
    run("UPDATE t SET v = 'new', at = '2024-01-01 00:00:00.500001' WHERE id <= 10")
    run("INSERT INTO t VALUES (1001, 'x', '2024-01-01 00:00:00.5')")
    again = copied(mariadb_url, postgres_url, "t", **options)
    assert again.receipt is not None
    assert (again.receipt.updated, again.receipt.inserted, again.receipt.unchanged) == (10, 1, 990)
    last = copied(mariadb_url, postgres_url, "t", **options)
    assert last.receipt is not None
    assert (last.receipt.updated, last.receipt.inserted) == (0, 0)
    with psycopg.connect(postgres_url) as connection:
        assert connection.execute("SELECT count(*), count(*) FILTER (WHERE v = 'new') FROM t").fetchone() == (1001, 10)
