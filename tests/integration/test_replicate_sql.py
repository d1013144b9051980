"""REPLICATE and `suiro sql` over every source: what goes in, what arrives, and what wrong statements are told."""

from __future__ import annotations

import csv
import json
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest

from mariadb import MariaDBServer, database_of
from suiro.app.connections import connection as connection_of
from suiro.app.runs import Copy, Copying
from suiro.cli.main import main
from suiro.engine.context import RunContext
from suiro.model.job import Task
from suiro.model.run import Run, TaskRun
from suiro.model.schema import ReadMode
from suiro.model.selection import WriteMode
from suiro.spi.powers import OffersQueries
from type_cases import CASES, sql_type

ORDERS = [(i, i % 7, Decimal(i) * Decimal("1.25"), f"n{i}") for i in range(1, 101)]
CITIES = [(i, f"c{i}") for i in range(7)]
ODD = "顧客管理(営業支援パック)"
Made = Callable[[pytest.FixtureRequest, Path], str]


def _postgres(request: pytest.FixtureRequest, folder: Path) -> str:
    url: str = request.getfixturevalue("postgres_url")
    with psycopg.connect(url) as connection:
        connection.execute(
            "CREATE TABLE orders (id int PRIMARY KEY, customer int, amount numeric(12,2), name varchar(20));"
            f'CREATE TABLE cities (customer int PRIMARY KEY, city text); CREATE TABLE "{ODD}" ("Id" int, "氏 名" text)'
        )
        with connection.cursor() as cursor:
            cursor.executemany("INSERT INTO orders VALUES (%s, %s, %s, %s)", ORDERS)
            cursor.executemany("INSERT INTO cities VALUES (%s, %s)", CITIES)
            cursor.execute(f"INSERT INTO \"{ODD}\" VALUES (1, '山田')".encode())
    return url


def _mysql(request: pytest.FixtureRequest, folder: Path) -> str:
    url: str = request.getfixturevalue("mariadb_url")
    server: MariaDBServer = request.getfixturevalue("mariadb")
    with server.connect(database_of(url)) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE orders (id int PRIMARY KEY, customer int, amount decimal(12,2), name varchar(20))")
        cursor.execute("CREATE TABLE cities (customer int PRIMARY KEY, city text)")
        cursor.execute(f"CREATE TABLE `{ODD}` (`Id` int, `氏 名` text)")
        cursor.executemany("INSERT INTO orders VALUES (%s, %s, %s, %s)", ORDERS)
        cursor.executemany("INSERT INTO cities VALUES (%s, %s)", CITIES)
        cursor.execute(f"INSERT INTO `{ODD}` VALUES (1, '山田')")
        connection.commit()
    return url


def _duckdb(request: pytest.FixtureRequest, folder: Path) -> str:
    with duckdb.connect(str(folder / "s.duckdb")) as db:
        db.execute("CREATE TABLE orders (id int PRIMARY KEY, customer int, amount decimal(12,2), name varchar)")
        db.execute("CREATE TABLE cities (customer int PRIMARY KEY, city text)")
        db.execute(f'CREATE TABLE "{ODD}" ("Id" int, "氏 名" text)')
        db.executemany("INSERT INTO orders VALUES (?, ?, ?, ?)", ORDERS)
        db.executemany("INSERT INTO cities VALUES (?, ?)", CITIES)
        db.execute(f"INSERT INTO \"{ODD}\" VALUES (1, '山田')")
    return f"duckdb://{folder}/s.duckdb"


def _sqlite(request: pytest.FixtureRequest, folder: Path) -> str:
    db = sqlite3.connect(folder / "s.db")
    db.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, customer INT, amount DECIMAL_TEXT(12,2), name TEXT)")
    db.execute("CREATE TABLE cities (customer INTEGER PRIMARY KEY, city TEXT)")
    db.execute(f'CREATE TABLE "{ODD}" ("Id" INT, "氏 名" TEXT)')
    db.executemany("INSERT INTO orders VALUES (?, ?, ?, ?)", [(i, c, str(a), n) for i, c, a, n in ORDERS])
    db.executemany("INSERT INTO cities VALUES (?, ?)", CITIES)
    db.execute(f"INSERT INTO \"{ODD}\" VALUES (1, '山田')")
    db.commit()
    db.close()
    return f"sqlite://{folder}/s.db"


def _files(request: pytest.FixtureRequest, folder: Path) -> str:
    (folder / "in").mkdir()
    for name, heads, rows in [
        ("orders.csv", ["id", "customer", "amount", "name"], ORDERS),
        ("cities.csv", ["customer", "city"], CITIES),
        (f"{ODD}.csv", ["Id", "氏 名"], [(1, "山田")]),
    ]:
        with (folder / "in" / name).open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([heads, *rows])
    return f"file://{folder}/in"


SOURCES: dict[str, Made] = {
    "postgres": _postgres,
    "mysql": _mysql,
    "duckdb": _duckdb,
    "sqlite": _sqlite,
    "files": _files,
}


@pytest.fixture(params=SOURCES)
def source(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of each kind of source in turn, all with the same streams."""
    return SOURCES[request.param](request, tmp_path)


@pytest.fixture
def warehouse(suiro_home: Path) -> Callable[[str], list[tuple[Any, ...]]]:
    """Asks the embedded warehouse."""

    def ask(sql: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(suiro_home / "warehouse.duckdb"), read_only=True) as db:
            return db.execute(sql).fetchall()

    return ask


def run(source: str, *statements: str, to: str = "warehouse", **task: Any) -> Run:
    return Copying(
        Copy(source=source, destination=to, streams=(), statements=statements, task=Task(stream="", **task))
    ).run()


def replicated(source: str, statement: str, **how: Any) -> TaskRun:
    """Run one statement, which succeeds and whose receipt adds up."""
    (done,) = run(source, statement, **how).tasks
    assert done.error is None, done.error
    assert done.receipt is not None and done.receipt.equal and done.receipt.adds_up
    return done


class Said:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def suiro(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Said]:
    """Runs `suiro` in this process."""

    def shell(*arguments: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["suiro", *arguments])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err, captured.err
        return Said(code, captured.out, captured.err)

    return shell


# -- what arrives ------------------------------------------------------------------------------------------------------


def test_columns_are_chosen_renamed_and_computed(source: str, warehouse: Any) -> None:
    replicated(
        source,
        "REPLICATE [my orders] SELECT [id], [name] AS [order_name], UPPER(name) AS loud FROM [orders] WHERE [id] > 98",
    )
    assert sorted(warehouse('SELECT * FROM "my orders"')) == [(99, "n99", "N99"), (100, "n100", "N100")]


def test_passed_on_numbers_stay_exact(source: str, warehouse: Any) -> None:
    replicated(source, "REPLICATE t SELECT id, amount AS total FROM orders WHERE id > 50")
    assert sorted(warehouse("SELECT id, total FROM t")) == [(i, a) for i, _, a, _ in ORDERS if i > 50]
    ((type_,),) = warehouse("SELECT data_type FROM duckdb_columns() WHERE column_name = 'total'")
    assert type_.startswith("DECIMAL")


def test_joins_and_aggregates_stay_in_one_source(source: str, warehouse: Any) -> None:
    replicated(
        source,
        "REPLICATE totals SELECT c.city, count(*) AS orders, max(o.id) AS last FROM orders o "
        "JOIN cities c ON c.customer = o.customer GROUP BY c.city",
    )
    expected = [
        (city, sum(1 for o in ORDERS if o[1] == n), max(o[0] for o in ORDERS if o[1] == n)) for n, city in CITIES
    ]
    assert sorted(warehouse("SELECT * FROM totals")) == expected


def test_odd_names_are_bracketed(source: str, warehouse: Any) -> None:
    replicated(source, f"REPLICATE [{ODD}] SELECT [Id], [氏 名] FROM [{ODD}]")
    assert warehouse(f'SELECT * FROM "{ODD}"') == [(1, "山田")]


def test_a_target_alone_is_a_plain_copy(source: str, warehouse: Any) -> None:
    replicated(source, "REPLICATE [cities]")
    replicated(source, "REPLICATE towns WITH DropTable cities")
    assert sorted(warehouse("SELECT * FROM cities")) == sorted(warehouse("SELECT * FROM towns")) == CITIES


def test_declared_columns_and_key_make_the_table(source: str, postgres_url: str) -> None:
    statement = (
        "REPLICATE declared (id bigint, total numeric(14,3), name varchar(30), PRIMARY KEY (id)) "
        "SELECT id, amount AS total, name FROM orders"
    )
    replicated(source, statement, to=postgres_url, write=WriteMode.MERGE)
    with psycopg.connect(postgres_url) as connection:
        found = connection.execute(
            "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute "
            "WHERE attrelid = 'declared'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
        ).fetchall()
        rows = connection.execute("SELECT id, total, name FROM declared ORDER BY id LIMIT 1").fetchall()
    assert found == [("id", "bigint"), ("total", "numeric(14,3)"), ("name", "character varying(30)")]
    assert rows == [(1, Decimal("1.250"), "n1")]


def test_several_statements_are_several_tasks(source: str, warehouse: Any) -> None:
    done = run(source, "REPLICATE a SELECT id FROM orders", "REPLICATE b SELECT nosuch FROM orders", "REPLICATE cities")
    assert [task.status.value for task in done.tasks] == ["succeeded", "failed", "succeeded"]
    assert warehouse("SELECT count(*) FROM a") == [(100,)]


@pytest.mark.parametrize("name", ["postgres", "duckdb", "sqlite"])
def test_rows_that_came_since_are_carried_alone(
    name: str, request: pytest.FixtureRequest, tmp_path: Path, warehouse: Any
) -> None:
    source = SOURCES[name](request, tmp_path)
    statement = (
        "REPLICATE news WITH IncrementalCheckColumns='number' "
        "SELECT id AS number, upper(name) AS who FROM orders WHERE customer <> 3"
    )
    assert replicated(source, statement).rows_written == sum(1 for o in ORDERS if o[1] != 3)
    more = "INSERT INTO orders VALUES (200, 1, '1.00', 'x'), (201, 3, '1.00', 'y')"
    if name == "postgres":
        with psycopg.connect(source) as connection:
            connection.execute(more)
    elif name == "duckdb":
        with duckdb.connect(source.removeprefix("duckdb://")) as db:
            db.execute(more)
    else:
        with sqlite3.connect(source.removeprefix("sqlite://")) as lite:
            lite.execute(more)
        lite.close()
    done = replicated(source, statement)
    assert done.rows_written == 1
    assert warehouse("SELECT who FROM news WHERE number >= 200") == [("X",)]


def test_new_files_are_carried_alone(request: pytest.FixtureRequest, tmp_path: Path, warehouse: Any) -> None:
    _files(request, tmp_path)
    parts = tmp_path / "parts"
    parts.mkdir()
    (parts / "a.csv").write_text("id,name\n1,x\n2,y\n")
    statement = "REPLICATE t SELECT id, upper(name) AS loud FROM parts WHERE id <> 2"
    source = f"file://{parts}/*.csv"
    assert replicated(source, statement, read=ReadMode.INCREMENTAL, write=WriteMode.APPEND).rows_written == 1
    (parts / "b.csv").write_text("id,name\n3,z\n")
    assert replicated(source, statement, read=ReadMode.INCREMENTAL, write=WriteMode.APPEND).rows_written == 1
    assert replicated(source, statement, read=ReadMode.INCREMENTAL, write=WriteMode.APPEND).rows_read == 0
    assert sorted(warehouse("SELECT * FROM t")) == [(1, "X"), (3, "Z")]


def test_another_query_is_another_task(source: str, warehouse: Any) -> None:
    for limit in (10, 20):
        replicated(source, f"REPLICATE t SELECT id FROM orders WHERE id <= {limit}", write=WriteMode.APPEND)
    assert warehouse("SELECT count(*) FROM t") == [(30,)]


def test_rows_between_two_postgresql_databases_pass_through(postgres_url: str, request: pytest.FixtureRequest) -> None:
    source = _postgres(request, Path())
    done = replicated(source, "REPLICATE copied SELECT id, amount * 2 AS twice, name FROM orders", to=source)
    assert done.path == "postgresql binary COPY"
    with psycopg.connect(source) as connection:
        assert connection.execute("SELECT count(*), sum(twice) FROM copied").fetchall() == [
            (100, sum(2 * o[2] for o in ORDERS))
        ]


def test_every_postgresql_type_is_as_exact_in_a_query_as_in_its_table(postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as connection:
        connection.execute(
            "CREATE TYPE mood AS ENUM ('sad', 'ご機嫌'); CREATE DOMAIN positive AS int CHECK (VALUE > 0)"
        )
        connection.execute("CREATE TYPE pair AS (a int, b text)")
        listed = ", ".join(f"c{number} {sql_type(case)}" for number, case in enumerate(CASES))
        connection.execute(f"CREATE TABLE everything ({listed})".encode())
    with RunContext("r") as context, closing(connection_of(postgres_url).source(context)) as source:
        assert isinstance(source, OffersQueries)
        table = source.find("everything").schema
        assert len(table) == len(CASES)
        assert source.stream_of("SELECT * FROM everything", "q", {}).schema.equals(table, check_metadata=True)


def test_options_become_settings(request: pytest.FixtureRequest, tmp_path: Path, warehouse: Any) -> None:
    source = _duckdb(request, tmp_path)
    replicated(source, "REPLICATE t SELECT id FROM orders WHERE id < 4")
    (failed,) = run(source, "REPLICATE t WITH AlterSchema=false SELECT id, name FROM orders").tasks
    assert failed.error is not None and "frozen" in failed.error.message
    replicated(
        source, "REPLICATE t (id int, PRIMARY KEY (id)) WITH RefreshTable=true SELECT id FROM orders WHERE id > 98"
    )
    assert sorted(warehouse("SELECT id FROM t")) == [(1,), (2,), (3,), (99,), (100,)]
    replicated(source, "REPLICATE t WITH TruncateTable SELECT id FROM orders WHERE id = 7")
    assert warehouse("SELECT id FROM t") == [(7,)]


# -- the plan and the workbench ----------------------------------------------------------------------------------------


def test_the_plan_says_what_goes_into_the_source(source: str, suiro: Callable[..., Said]) -> None:
    said = suiro(
        "copy",
        source,
        "warehouse",
        "--sql",
        "REPLICATE t SELECT id, upper(name) AS n FROM orders WHERE id > 5",
        "--plan",
        "--json",
    )
    (plan,) = json.loads(said.out)
    assert (plan["table"], plan["write"], [c["name"] for c in plan["columns"]]) == ("t", "replace", ["id", "n"])
    if source.startswith("file"):
        assert plan["pushed"] == ["orders: id, name"]
        assert plan["residual"] == "DuckDB, row by row: SELECT id, upper(name) AS n FROM orders WHERE id > 5"
    else:
        assert plan["residual"] is None
        assert plan["pushed"][0].startswith("SELECT id, upper(name) AS n FROM ") and "id > 5" in plan["pushed"][0]
    shown = suiro("copy", source, "warehouse", "--sql", "REPLICATE t SELECT id FROM orders", "--plan").out
    assert "in the source: " in shown and ("then DuckDB" in shown) == source.startswith("file")


def test_sql_runs_on_every_source(source: str, suiro: Callable[..., Said]) -> None:
    sql = "SELECT customer, count(*) AS n FROM orders GROUP BY customer ORDER BY customer"
    rows = json.loads(suiro("sql", source, sql, "--json").out)
    assert [(int(row["customer"]), int(row["n"])) for row in rows] == [
        (n, sum(1 for o in ORDERS if o[1] == n)) for n in range(7)
    ]
    assert "in the source: " in suiro("sql", source, sql, "--plan").out


def test_an_empty_result_still_has_its_columns(request: pytest.FixtureRequest, tmp_path: Path, suiro: Any) -> None:
    said = suiro("sql", _files(request, tmp_path), "SELECT id, name FROM orders WHERE id < 0")
    assert "id" in said.out and "name" in said.out


def test_a_statement_may_come_from_a_file(source: str, tmp_path: Path, suiro: Any, warehouse: Any) -> None:
    (tmp_path / "q.sql").write_text("-- nightly\nREPLICATE t\nSELECT id\nFROM orders;\n")
    assert suiro("copy", source, "warehouse", "--sql", f"@{tmp_path}/q.sql").code == 0
    assert warehouse("SELECT count(*) FROM t") == [(100,)]
    said = suiro("copy", source, "warehouse", "--sql", f"@{tmp_path}/missing.sql")
    assert said.code == 2 and "missing.sql can't be read" in said.err


# -- what is wrong -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("select", "place"),
    [
        ("SELECT id,\n nosuch FROM orders", "nosuch"),
        ("SELECT nosuch(id) AS x FROM orders", "nosuch"),
        ("SELECT id FROM nosuch", "nosuch"),
        ("SELECT id, id FROM orders", "id FROM"),
        ("SELECT id FROM orders WHERE", "WHERE"),
        ("SELECT o.nosuch FROM orders o", "nosuch"),
    ],
)
def test_a_wrong_query_is_pointed_at_in_the_users_text(
    source: str, suiro: Callable[..., Said], select: str, place: str
) -> None:
    statement = f"REPLICATE t {select}"
    said = suiro("copy", source, "warehouse", "--sql", statement)
    assert said.code == 2
    assert _pointed(said.err) in (place, f"o.{place}", place.split(maxsplit=1)[0]), said.err


def test_wrong_sql_is_pointed_at_in_the_workbench_too(source: str, suiro: Callable[..., Said]) -> None:
    said = suiro("sql", source, "SELECT id,\n       nosuch\nFROM orders")
    assert said.code == 2
    assert "line 2, column 8: " in said.err and _pointed(said.err) == "nosuch"


def _pointed(err: str) -> str:
    """What the carets stand under, or the word that begins there."""
    lines = err.split("\n")
    at = next(n for n, line in enumerate(lines) if line.strip() and set(line.strip()) == {"^"})
    start = lines[at].index("^")
    rest = lines[at - 1][start : start + lines[at].count("^")]
    return rest if len(rest) > 1 else lines[at - 1][start:].split()[0].split("(")[0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--sql", "SELECT id FROM orders"), "doesn't say which table"),
        (("--sql", "REPLICATE t WITH Foo SELECT id FROM orders"), "there is no option Foo"),
        (("--sql", "REPLICATE t SELECT id FROM orders", "--table", "u"), "so does --table"),
        (("--sql", "REPLICATE t SELECT id FROM orders", "--stream", "orders"), "say which streams to copy"),
        (("--sql", "REPLICATE t SELECT id FROM orders", "--where", "id > 1"), "no place beside --sql"),
        (("--sql", "REPLICATE t WITH DropTable SELECT id FROM orders", "--write", "merge"), "says merge"),
        (("--sql", "REPLICATE t SELECT id FROM orders", "--sql", "REPLICATE t cities"), "two statements replicate"),
        (("--sql", "REPLICATE t WITH DropTable=maybe orders"), "true or false"),
        (("--sql", "REPLICATE t WITH IncrementalCheckColumns='a,b' orders"), "needs one column"),
        (("--sql", "REPLICATE t (id int) orders"), "need a SELECT"),
        (("--sql", "REPLICATE t DROP TABLE orders"), "can't be replicated"),
        (
            ("--sql", "REPLICATE t SELECT count(*) AS n FROM orders", "--read", "incremental"),
            "can't be read incrementally",
        ),
        (("--sql", "REPLICATE t SELECT * FROM read_csv('x.csv')"), "can't be read from"),
    ],
)
def test_a_mistake_is_one_sentence_and_touches_nothing(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    suiro: Callable[..., Said],
    suiro_home: Path,
    arguments: tuple[str, ...],
    said: str,
) -> None:
    answer = suiro("copy", _duckdb(request, tmp_path), "warehouse", *arguments)
    assert answer.code == 2 and said in " ".join(answer.err.split())
    assert not (suiro_home / "warehouse.duckdb").exists()


@pytest.mark.parametrize("name", ["[nme]", '"nme"', "`nme`"])
def test_a_name_that_is_none_is_no_text_in_sqlite_either(
    request: pytest.FixtureRequest, tmp_path: Path, suiro: Callable[..., Said], name: str
) -> None:
    answer = suiro(
        "copy", _sqlite(request, tmp_path), "warehouse", "--sql", f"REPLICATE t SELECT id, {name} FROM orders"
    )
    assert answer.code != 0 and "no such column" in answer.err
