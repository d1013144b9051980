"""Values of MySQL and MariaDB that no type of ours holds: rejected by name where that is allowed, else the end."""

# ruff: noqa: DTZ001  (DATETIME has no zone)

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pyarrow as pa
import pytest
from pymysql.constants import FIELD_TYPE

from connectors.test_mysql import config_of
from copying import copied, copy
from mariadb import MariaDBServer, database_of
from suiro.app.tasks import masks_of, window_of
from suiro.connectors.mysql.decode import Decoder, reader
from suiro.connectors.mysql.source import MysqlSource
from suiro.connectors.mysql.wire import MARGIN, Block, Definition
from suiro.model.change import Checkpoint, Rejected
from suiro.model.change import Rows as Found
from suiro.model.errors import DataError
from suiro.model.run import Status
from suiro.model.schema import ReadMode
from suiro.model.selection import Deletes, Selection, WriteMode
from suiro.testing.context import LocalContext
from suiro.toolkit.sql.unreadable import Unreadable, rejected_apart

Rows = list[tuple[Any, ...]]


class Shop:
    """A database whose tables hold what strict servers refuse, and a SQLite file to copy them into."""

    def __init__(self, server: MariaDBServer, url: str, folder: Path) -> None:
        self.server, self.url, self.file = server, url, folder / "there.sqlite"
        self.there = f"sqlite://{self.file}"

    def run(self, *statements: str) -> None:
        with self.server.connect(database_of(self.url), sql_mode="") as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def held(self, sql: str) -> Rows:
        with closing(sqlite3.connect(self.file, isolation_level=None)) as db:
            return db.execute(sql).fetchall()


@pytest.fixture
def shop(mariadb: MariaDBServer, mariadb_url: str, tmp_path: Path) -> Shop:
    return Shop(mariadb, mariadb_url, tmp_path)


ORDERS = "CREATE TABLE orders (id INT PRIMARY KEY, shipped DATE, changed DATETIME(3), seen TIMESTAMP NULL, name TEXT)"


def orders(shop: Shop, rows: int, every: int) -> None:
    """So many orders, of which each so many'th was shipped on no day."""
    shop.run(
        ORDERS,
        "INSERT INTO orders SELECT seq, '2026-01-02', '2026-01-02 03:04:05.678', '2026-01-02 03:04:05', '水' "
        f"FROM seq_1_to_{rows}",
        f"UPDATE orders SET shipped = '0000-00-00' WHERE id % {every} = 0",
    )


@pytest.mark.parametrize(("rows", "every", "bad"), [(100_000, 1_000, 100), (50, 1, 50), (9, 10, 0)])
def test_zero_dates_are_rejected_by_their_column_and_all_other_rows_arrive(
    shop: Shop, rows: int, every: int, bad: int
) -> None:
    orders(shop, rows, every)
    refused = copy(shop.url, shop.there, "orders")
    assert (refused.error is None) == (bad == 0)
    if refused.error is not None:
        assert "column shipped holds dates that no calendar has" in refused.error.message
    done = copy(shop.url, shop.there, "orders", most_rejected=bad)
    assert done.error is None, done.error
    assert (done.rows_read, done.rows_written, done.rows_rejected) == (rows, rows - bad, bad)
    assert done.receipt is not None and done.receipt.adds_up and done.receipt.equal
    wanted = [(rows - bad, sum(n for n in range(1, rows + 1) if n % every) if bad else rows * (rows + 1) // 2)]
    assert shop.held("SELECT count(*), coalesce(sum(id), 0) FROM orders") == [(wanted[0][0], wanted[0][1])]
    if bad:
        assert shop.held("SELECT DISTINCT column_name, reason FROM _suiro_rejected") == [
            ("shipped", "column shipped holds 0000-00-00, which no calendar has")
        ]


def test_a_limit_that_is_passed_ends_the_run_and_nothing_is_written(shop: Shop) -> None:
    orders(shop, 100, 10)
    done = copy(shop.url, shop.there, "orders", most_rejected=9)
    assert done.status is Status.FAILED and done.error is not None
    assert "10 rows were rejected, more than the 9 allowed; the first: column shipped holds" in done.error.message
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        shop.held("SELECT * FROM orders")


def test_a_corrected_row_is_carried_again_with_all_its_other_values(shop: Shop, postgres_url: str) -> None:
    shop.run(
        "CREATE TABLE kinds (id INT PRIMARY KEY, d DATE, t DATETIME(6), s TIMESTAMP(6) NULL, n DECIMAL(12,2), "
        "big DECIMAL(40,5), u BIGINT UNSIGNED, f DOUBLE, y YEAR, b VARBINARY(9), txt TEXT, j JSON, e ENUM('a','b'), "
        "c TIME(3), g POINT, id2 UUID, bits BIT(5), bit1 BIT(1), empty TEXT, ip INET6)",
        "INSERT INTO kinds SELECT 1, '2026-01-02', '2026-01-02 03:04:05.678901', '2026-01-02 03:04:05.000001', "
        "-1.10, 1e34 + 0.00001, 18446744073709551615, 0.1, 2026, x'00ff', 'a \"b\" 水', '{\"a\": 1.10}', 'b', "
        "'-30:00:00.5', POINT(1, 2), '123e4567-e89b-12d3-a456-426655440000', 5, 1, NULL, '::1'",
        "INSERT INTO kinds SELECT 2, '2024-00-10', t, s, n, big, u, f, y, b, txt, j, e, c, g, id2, bits, bit1, "
        "empty, ip FROM kinds",
        "INSERT INTO kinds SELECT 3, d, '0000-00-00', '0000-00-00', n, big, u, f, y, b, txt, j, e, c, g, id2, "
        "bits, bit1, empty, ip FROM kinds WHERE id = 1",
    )
    with psycopg.connect(postgres_url, autocommit=True) as there:
        done = copy(shop.url, postgres_url, "kinds", write=WriteMode.MERGE, most_rejected=2)
        assert (done.rows_written, done.rows_rejected) == (1, 2), done.error
        kept: dict[str, Any] = dict(there.execute("SELECT reason, row::json FROM _suiro_rejected").fetchall())
        assert set(kept) == {
            "column d holds a date without a month",
            "column t holds 0000-00-00, which no calendar has; column s holds 0000-00-00, which no calendar has",
        }
        row = kept["column d holds a date without a month"]
        assert (row["d"], row["txt"], row["empty"]) == ("2024-00-10", 'a "b" 水', None)
        for wrong, right in (("2024-00-10", "2024-01-10"), ("0000-00-00 00:00:00", "2026-05-06 07:08:09")):
            there.execute("UPDATE _suiro_rejected SET row = replace(row, %s, %s)", (wrong, right))
        again = copy(shop.url, postgres_url, "kinds", write=WriteMode.MERGE, retry=True)
        assert (again.status, again.rows_read, again.rows_written) == (Status.SUCCEEDED, 2, 2), again.error
        assert there.execute("SELECT count(*) FROM _suiro_rejected").fetchone() == (0,)
        first, second, third = there.execute("SELECT * FROM kinds ORDER BY id").fetchall()
    assert second[1] == date(2024, 1, 10) and second[2:] == first[2:]
    assert third[2] == datetime(2026, 5, 6, 7, 8, 9) and third[3] == datetime(2026, 5, 6, 7, 8, 9, tzinfo=UTC)
    assert third[1:2] == first[1:2] and third[4:] == first[4:]


@pytest.mark.parametrize(
    ("setting", "column", "bad"),
    [("tinyint1=boolean", "b", ["2", "-1"]), ("time=clock", "c", ["24:00:00", "-00:00:01"])],
)
def test_values_that_a_setting_has_no_room_for_are_rejected_too(
    shop: Shop, setting: str, column: str, bad: list[str]
) -> None:
    shop.run(
        "CREATE TABLE t (id INT PRIMARY KEY, b TINYINT(1), c TIME)",
        "INSERT INTO t VALUES (1, 1, '23:59:59'), (2, 2, '24:00:00'), (3, NULL, NULL), (4, -1, '-00:00:01')",
    )
    source = f"{shop.url}?{setting}"
    assert copy(source, shop.there, "t").error is not None
    done = copy(source, shop.there, "t", write=WriteMode.MERGE, most_rejected=2)
    assert (done.rows_written, done.rows_rejected) == (2, 2), done.error
    assert sorted(json.loads(row)[column] for row in _rows(shop)) == sorted(bad)


@pytest.mark.parametrize(
    ("setting", "row", "wrong", "right", "held"),
    [
        ("tinyint1=boolean", "2, '01:02:03'", '"b": "2"', '"b": "0"', (0, "01:02:03.000000")),
        ("time=clock", "1, '24:00:00'", "24:00:00", "12:34:56.5", (1, "12:34:56.500000")),
    ],
)
def test_a_value_that_a_setting_has_no_room_for_is_carried_when_corrected(
    shop: Shop, setting: str, row: str, wrong: str, right: str, held: tuple[Any, ...]
) -> None:
    shop.run(
        "CREATE TABLE t (id INT PRIMARY KEY, b TINYINT(1), c TIME)",
        f"INSERT INTO t VALUES (1, 1, '23:59:59'), (2, {row}), (3, NULL, NULL)",
    )
    source = f"{shop.url}?{setting}" + ("" if setting == "time=clock" else "&time=clock")
    assert copy(source, shop.there, "t", write=WriteMode.MERGE, most_rejected=1).rows_rejected == 1
    shop.held(f"""UPDATE _suiro_rejected SET "row" = replace("row", '{wrong}', '{right}')""")
    assert copied(source, shop.there, "t", write=WriteMode.MERGE, retry=True).rows_written == 1
    assert shop.held("SELECT b, c FROM t WHERE id = 2") == [held]


def _rows(shop: Shop) -> list[str]:
    return [row for (row,) in shop.held('SELECT "row" FROM _suiro_rejected')]


def test_a_rejected_row_at_the_boundary_is_rejected_once(shop: Shop) -> None:
    settings: dict[str, Any] = {"read": ReadMode.INCREMENTAL, "cursor": "changed", "write": WriteMode.APPEND}
    shop.run(
        ORDERS,
        "INSERT INTO orders (id, shipped, changed) VALUES (1, '2026-01-01', '2026-01-01'), "
        "(2, '0000-00-00', '2026-01-02'), (3, '0000-00-00', '0000-00-00')",
    )
    first = copy(shop.url, shop.there, "orders", **settings, most_rejected=0.9)
    assert (first.rows_written, first.rows_rejected) == (1, 2), first.error
    same = copy(shop.url, shop.there, "orders", **settings, most_rejected=0.9)
    assert (same.rows_read, same.rows_written, same.rows_rejected) == (1, 0, 0), same.error
    assert same.status is Status.SUCCEEDED
    shop.run(
        "INSERT INTO orders (id, shipped, changed) VALUES (4, '0000-00-00', '2026-01-02'), "
        "(5, '2026-01-01', '2026-01-02')"
    )
    more = copy(shop.url, shop.there, "orders", **settings, most_rejected=0.9)
    assert (more.rows_written, more.rows_rejected) == (1, 1), more.error
    assert sorted(json.loads(row)["id"] for row in _rows(shop)) == ["2", "3", "4"]


def test_a_cursor_that_would_be_rejected_by_every_read_ends_it(shop: Shop) -> None:
    shop.run(ORDERS, "INSERT INTO orders (id, changed) VALUES (1, '2024-00-10'), (2, '2023-01-01')")
    settings: dict[str, Any] = {"read": ReadMode.INCREMENTAL, "cursor": "changed", "most_rejected": 5}
    done = copy(shop.url, shop.there, "orders", **settings)
    assert done.error is not None
    assert "column changed holds a date without a month; the column is the cursor" in done.error.message
    assert done.error.hint == "Leave those rows out with a condition, or choose another cursor field."
    settings |= {"where": "changed <> '2024-00-10'"}
    assert copied(shop.url, shop.there, "orders", **settings).rows_written == 1


def test_a_read_by_windows_rejects_too(shop: Shop) -> None:
    orders(shop, 100, 30)
    settings: dict[str, Any] = {"read": ReadMode.INCREMENTAL, "cursor": "id", "window": window_of("25")}
    done = copy(shop.url, shop.there, "orders", **settings, most_rejected=5)
    assert (done.loads, done.rows_written, done.rows_rejected) == (4, 97, 3), done.error
    assert shop.held("SELECT count(*) FROM _suiro_rejected") == [(3,)]


def test_masked_rows_that_cannot_be_read_keep_nothing(shop: Shop) -> None:
    orders(shop, 10, 5)
    done = copy(shop.url, shop.there, "orders", masks=masks_of("name=null"), most_rejected=5)
    assert (done.rows_written, done.rows_rejected) == (8, 2), done.error
    assert _rows(shop) == [None, None]


def test_a_key_that_cannot_be_read_ends_the_comparison_of_all_keys(shop: Shop) -> None:
    shop.run(
        "CREATE TABLE days (day DATE PRIMARY KEY, n INT)",
        "INSERT INTO days VALUES ('2026-01-01', 1), ('2026-01-02', 2), ('2026-01-03', 3)",
    )
    settings: dict[str, Any] = {"write": WriteMode.MERGE, "deletes": Deletes.HARD, "most_rejected": 5}
    copied(shop.url, shop.there, "days", **settings)
    shop.run("INSERT INTO days VALUES ('0000-00-00', 0)", "DELETE FROM days WHERE n = 3")
    done = copy(shop.url, shop.there, "days", **settings)
    assert done.error is not None and "column day holds dates that no calendar has" in done.error.message
    assert len(shop.held("SELECT * FROM days")) == 3


def test_a_batch_keeps_its_types_and_order_without_the_rejected_rows(shop: Shop) -> None:
    orders(shop, 7, 3)
    source = MysqlSource(config_of(shop.url), LocalContext(run="r", workdir=shop.file.parent / "work"))
    with closing(source):
        stream = source.find("orders")
        (part,) = source.plan([Selection(stream=stream, columns=tuple(stream.schema.names), rejects=True)])
        changes = list(source.read(part, None))
    rows = pa.Table.from_batches([change.data for change in changes if isinstance(change, Found)])
    assert rows.column("id").to_pylist() == [1, 2, 4, 5, 7]
    assert rows.schema.equals(stream.schema, check_metadata=True)
    assert rows.column("changed").to_pylist() == [datetime(2026, 1, 2, 3, 4, 5, 678000)] * 5
    assert [len(change.rows) for change in changes if isinstance(change, Rejected)] == [1, 1]
    assert isinstance(changes[-1], Checkpoint)


def test_text_that_is_no_utf8_is_told_apart() -> None:
    """No server of today sends any: the bytes are made here, as the binary protocol has them."""
    texts = [b"\xe6\xb0\xb4", b"a\xffb", b"", b"\xc3"]
    rows = [b"\0\0" + bytes([len(text)]) + text for text in texts]  # a header, the NULLs, and a text after its length
    block = Block(bytearray(b"".join(rows) + bytes(MARGIN)), np.cumsum([0, *map(len, rows[:-1])]))
    column = Definition(name="c", kind=FIELD_TYPE.VAR_STRING, is_unsigned=False, never_null=False, is_binary=False)
    schema, unreadable = pa.schema([("c", pa.string())]), Unreadable(None)
    with pytest.raises(DataError, match="column c holds text that isn't UTF-8"):
        Decoder([column], schema, reader).batch(block)
    found = Decoder([column], schema, partial(reader, unreadable=unreadable)).batch(block)
    good, *bad = unreadable.sifted(found)
    assert good.to_pylist() == [{"c": "水"}, {"c": ""}]
    told = list(rejected_apart(Found("s", batch) for batch in bad))
    assert [json.loads(row.row or "") for change in told if isinstance(change, Rejected) for row in change.rows] == [
        {"c": r"a\xffb"},
        {"c": r"\xc3"},
    ]
