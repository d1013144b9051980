"""MySQL loaded from and loaded into as Treasure Data's commands do."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import duckdb
import pymysql
import pytest

from shell import Shell


class Shop:
    """A MariaDB database with orders."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.url, self.host, self.port = url, str(parts.hostname), int(parts.port or 3306)
        self.user, self.password, self.name = str(parts.username), str(parts.password), parts.path.strip("/")

    def ask(self, sql: str) -> list[tuple[object, ...]]:
        with (
            pymysql.connect(
                host=self.host,
                port=self.port,
                user=self.user,
                password=self.password,
                database=self.name,
                autocommit=True,
            ) as session,
            session.cursor() as cursor,
        ):
            cursor.execute(sql)
            return list(cursor.fetchall())


@pytest.fixture
def shop(mariadb_url: str) -> Shop:
    found = Shop(mariadb_url)
    found.ask("CREATE TABLE orders (id INT PRIMARY KEY, at DATETIME(6), note VARCHAR(20))")
    found.ask("INSERT INTO orders VALUES (1, '2026-01-01 00:00:00', 'a'), (2, '2026-01-02 00:00:00.5', NULL)")
    return found


def write(shop: Shop, folder: Path, more: str) -> str:
    path = folder / "load.yml"
    path.write_text(
        f"in:\n  type: mysql\n  host: {shop.host}\n  port: {shop.port}\n  user: {shop.user}\n"
        f"  password: '{shop.password}'\n  database: {shop.name}\n{more}"
    )
    return str(path)


def test_a_table_is_loaded_and_what_comes_later_too(suiro: Shell, shop: Shop, tmp_path: Path, suiro_home: Path) -> None:
    load = write(shop, tmp_path, "  table: orders\n  incremental: true\n  incremental_columns: [at]\n")
    heads = list(suiro("connector", "preview", load, "--json").json[0])
    assert heads == ["id:long", "at:timestamp", "note:string"]
    options = ["--auto-create-table", "--time-column", "at"]
    made = suiro("connector", "create", "orders", "@daily", "shop", "orders", load, *options)
    assert made.code == 0, made.err
    assert suiro("connector", "run", "orders").code == 0
    shop.ask("INSERT INTO orders VALUES (3, '2026-01-03 00:00:00', 'c')")
    assert suiro("connector", "run", "orders").code == 0
    with duckdb.connect(str(suiro_home / "warehouse.duckdb")) as db:
        rows = db.sql("SELECT id, time FROM shop.orders ORDER BY id").fetchall()
    assert rows == [(1, 1767225600), (2, 1767312000), (3, 1767398400)]
    assert suiro("connector", "show", "orders", "--json").json["diff"] == {
        "in": {"last_record": ["2026-01-03T00:00:00"]}
    }


def test_a_condition_and_chosen_columns_are_read(suiro: Shell, shop: Shop, tmp_path: Path) -> None:
    more = "  table: orders\n  select: id, note\n  where: note IS NOT NULL\n"
    said = suiro("connector", "preview", write(shop, tmp_path, more), "--json")
    assert said.json == [{"id:long": 1, "note:string": "a"}]
    more = "  table: orders\n  incremental: true\n  incremental_columns: [id]\n  last_record: [1]\n"
    assert [r["id:long"] for r in suiro("connector", "preview", write(shop, tmp_path, more), "--json").json] == [2]


def test_a_database_of_a_server_is_loaded_into(suiro: Shell, shop: Shop, tmp_path: Path) -> None:
    load = write(shop, tmp_path, "  table: orders\n")
    where = ["--table", "copied", "--time-column", "at", "--destination", shop.url]
    refused = suiro("connector", "issue", load, "--database", shop.name, *where)
    assert refused.code == 2 and f"there is no table copied in the database {shop.name}" in refused.err
    assert suiro("connector", "issue", load, "--database", shop.name, *where, "--auto-create-table").code == 0
    assert shop.ask("SELECT id, time FROM copied ORDER BY id") == [(1, 1767225600), (2, 1767312000)]
    nowhere = suiro("connector", "issue", load, "--database", "no_such_db", *where)
    assert nowhere.code == 2 and "there is no table copied in the database no_such_db" in nowhere.err
    made = suiro("connector", "issue", load, "--database", "no_such_db", *where, "--auto-create-table")
    assert made.code == 2 and "Unknown database 'no_such_db'" in made.err  # MySQL's databases are made by hand
