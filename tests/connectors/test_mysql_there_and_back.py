"""Every PostgreSQL type at its limits, to MariaDB and back: equal, or refused by its column."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import psycopg
import pytest

from copying import copied, copy
from mariadb import database_of
from suiro.model.schema import ReadMode
from suiro.model.selection import WriteMode
from type_cases import CASES, sql_type

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mariadb import MariaDBServer
    from servers import PostgresServer

#: DECIMAL has 65 digits at most: refused by its type, before a row is read; the conformance suite has that.
COLUMNS = {case: f"c{number}" for number, case in enumerate(CASES) if case != "numeric(76,0)"}

#: What MariaDB has no room for, or PostgreSQL reads back as another type than it wrote.
REFUSED = {
    "date (infinite)": "infinity",
    "date (at its limits)": "years 1 to 9999",
    "timestamp (infinite)": "infinity",
    "timestamp (at its limits)": "years 1 to 9999",
    "timestamp (past the year 294246)": "",
    "timestamptz (infinite)": "infinity",
    "time (24:00:00)": "",
    "real": "NaN",
    "double precision": "NaN",
    "numeric(6,2)": "NaN",
}
_PADDING = {"inet": "/(32|128)$", "character(5)": " +$"}


@pytest.fixture
def both(postgres: PostgresServer) -> Iterator[tuple[str, str]]:
    """A database with a column for each case, and one to come back to."""
    source, back = postgres.create_database(), postgres.create_database()
    with psycopg.connect(source) as connection:
        connection.execute(
            "CREATE TYPE mood AS ENUM ('sad', 'ご機嫌'); CREATE DOMAIN positive AS int CHECK (VALUE > 0)"
        )
        connection.execute("CREATE TYPE pair AS (a int, b text)")
        made = ", ".join(f"{column} {sql_type(case)}" for case, column in COLUMNS.items())
        connection.execute(f"CREATE TABLE t (id int PRIMARY KEY, {made})".encode())
        rows = max(len(values) for values in CASES.values())
        for row in range(rows):
            cells = {
                COLUMNS[case]: values[row] for case, values in CASES.items() if case in COLUMNS and row < len(values)
            }
            values_sql = ", ".join([str(row), *cells.values()])
            connection.execute(f"INSERT INTO t (id, {', '.join(cells)}) VALUES ({values_sql})".encode())
        connection.execute(f"INSERT INTO t (id) VALUES ({rows})".encode())
    yield source, back
    postgres.drop_database(source)
    postgres.drop_database(back)


def test_every_type_comes_back_from_mariadb_equal_or_is_refused_by_its_column(
    both: tuple[str, str], mariadb: MariaDBServer, mariadb_url: str
) -> None:
    source, back = both
    left, refused = dict(COLUMNS), {}
    while True:
        done = copy(source, mariadb_url, "public.t", columns={c: c for c in ["id", *left.values()]}, cursor="id")
        if done.error is None:
            break
        assert done.error.code in ("data_error", "schema_conflict"), done.error
        named = re.search(r"\bc\d+\b", done.error.message)
        assert named is not None, f"the refusal names no column: {done.error.message}"
        case = next(c for c, column in left.items() if column == named.group())
        refused[case] = done.error.message
        del left[case]
    assert done.receipt is not None and done.receipt.equal and done.receipt.adds_up
    assert refused.keys() == REFUSED.keys(), refused.keys() ^ REFUSED.keys()
    for case, says in REFUSED.items():
        assert says in refused[case], case
    returned = copy(f"{mariadb_url}?time=clock&tinyint1=boolean", back, "t")
    assert returned.error is None, returned.error
    for case, (sent, got) in compared(source, back, left).items():
        assert sent == got, case


def compared(source: str, back: str, columns: dict[str, str]) -> dict[str, tuple[list[str | None], list[str | None]]]:
    """By case the texts of the values that were sent and that came back."""
    asked = ", ".join(f"{column}::text" for column in columns.values())
    found = []
    for url in (source, back):
        with psycopg.connect(url) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            found.append(connection.execute(f"SELECT {asked} FROM t ORDER BY id".encode()).fetchall())
    texts = {}
    for number, case in enumerate(columns):
        sent, got = ([row[number] for row in rows] for rows in found)
        if trim := _PADDING.get(sql_type(case)):
            sent, got = ([v and re.sub(trim, "", v) for v in values] for values in (sent, got))
        texts[case] = (sent, got)
    return texts


def test_a_table_of_mariadbs_own_types_is_copied_whole_and_follows_its_source(
    mariadb: MariaDBServer, mariadb_url: str
) -> None:
    other = mariadb.create_database()
    here, there = database_of(mariadb_url), database_of(other)
    mariadb.execute(
        "CREATE TABLE t (id INT UNSIGNED PRIMARY KEY, name VARCHAR(30) COLLATE utf8mb4_general_ci, "
        "price DECIMAL(12,2), size ENUM('S','m','L''x'), tags SET('a','b'), doc JSON, key_ UUID, made DATETIME(3), "
        "seen TIMESTAMP(6) NULL, "
        "at TIME(6), flag TINYINT(1), score DOUBLE, raw VARBINARY(9), f FLOAT)",
        here,
    )
    mariadb.execute(
        """INSERT INTO t VALUES (1, 'a ', 0.10, 'm', 'a,b', '{"a":  1.10}', '00010203-0405-0607-0809-0a0b0c0d0e0f',
        '2024-01-02 03:04:05.678', '2024-01-02 03:04:05.678901', '23:59:59.5', 1, 0.1, x'00ff', 1.5),
        (4294967295, '', -1, 'L''x', '', 'null', NULL, NULL, NULL, NULL, 0, -5e-324, '', 3.4e38),
        (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)""",
        here,
    )
    source = f"{mariadb_url}?time=clock&tinyint1=boolean"
    assert copied(source, other, "t", write=WriteMode.MERGE).rows_written == 3
    every = "SELECT *, HEX(name), HEX(raw) FROM t ORDER BY id"
    assert mariadb.execute(every, here) == mariadb.execute(every, there)
    (made,) = mariadb.execute("SHOW CREATE TABLE t", there)
    for kept in (
        "`name` varchar(30)",
        "enum('S','m','L''x')",
        "set('a','b')",
        "uuid",
        "json_valid",
        "PRIMARY KEY (`id`)",
    ):
        assert kept in made[1]
    mariadb.execute("UPDATE t SET price = 5 WHERE id = 1", here)
    mariadb.execute("ALTER TABLE t ADD COLUMN more INT, MODIFY name VARCHAR(60)", here)
    mariadb.execute("INSERT INTO t (id, name, more) VALUES (3, REPEAT('水', 60), 7)", here)
    again = copied(source, other, "t", write=WriteMode.MERGE)
    assert again.receipt is not None
    assert (again.receipt.inserted, again.receipt.updated, again.receipt.unchanged) == (1, 1, 2)
    assert mariadb.execute(every, here) == mariadb.execute(every, there)
    mariadb.drop_database(other)


def test_an_incremental_read_appends_each_row_once(
    postgres: PostgresServer, mariadb: MariaDBServer, mariadb_url: str
) -> None:
    source = postgres.create_database()
    with psycopg.connect(source, autocommit=True) as connection:
        connection.execute("CREATE TABLE t (id int PRIMARY KEY, at timestamptz, note text)")
        connection.execute("INSERT INTO t SELECT i, '2024-01-01', 'n' || i FROM generate_series(1, 1000) i")
        follow = {"read": ReadMode.INCREMENTAL, "cursor": "at", "write": WriteMode.APPEND}
        assert copied(source, mariadb_url, "public.t", **follow).rows_written == 1000
        connection.execute("INSERT INTO t VALUES (1001, '2024-01-01', 'same time'), (1002, '2024-01-02', NULL)")
        assert copied(source, mariadb_url, "public.t", **follow).rows_written == 2
        assert copied(source, mariadb_url, "public.t", **follow).rows_written == 0
    found = mariadb.execute("SELECT COUNT(*), COUNT(DISTINCT id), MAX(at) FROM t", database_of(mariadb_url))
    assert found == [(1002, 1002, datetime(2024, 1, 2, tzinfo=UTC).replace(tzinfo=None))]
    postgres.drop_database(source)
