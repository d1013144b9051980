"""Streams compared with their tables over real systems: no false alarm, planted differences found, named, repaired."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest

from copying import copied, copy
from mariadb import MariaDBServer, database_of
from servers import PostgresServer
from shell import Shell
from suiro.app.verifying import Asked, Verifying
from suiro.model.errors import UserError
from suiro.model.job import Task
from suiro.model.selection import WriteMode
from type_cases import CASES, sql_type

ROWS = 20_000
SYSTEMS = ("PostgreSQL", "MariaDB", "DuckDB", "SQLite")
INSIDE = "by the system itself"

Act = Callable[[str], Any]


def verified(source: str, destination: str, *, asked: Asked | None = None, **task: Any) -> dict[str, Any]:
    """What a comparison of one stream tells."""
    (found,) = Verifying(asked or Asked(), lambda text: None).copy(Task(**{"stream": "t", **task}), source, destination)
    return found


class Systems:
    """A database of each kind, by name: its address, and SQL that is run there."""

    def __init__(self, postgres: str, mariadb_url: str, mariadb: MariaDBServer, folder: Path) -> None:
        self.folder = folder
        self.urls = {
            "PostgreSQL": postgres,
            "MariaDB": mariadb_url,
            "DuckDB": f"duckdb://{folder}/t.duckdb",
            "SQLite": f"sqlite://{folder}/t.db",
        }
        self._mariadb = mariadb

    def run(self, system: str, sql: str) -> None:
        match system:
            case "PostgreSQL":
                with psycopg.connect(self.urls[system]) as db:
                    db.execute(sql.encode())
            case "MariaDB":
                self._mariadb.execute(sql, database_of(self.urls[system]))
            case "DuckDB":
                with duckdb.connect(f"{self.folder}/t.duckdb") as db:
                    db.execute(sql)
            case _:
                with closing(sqlite3.connect(self.folder / "t.db")) as db:
                    db.execute(sql)
                    db.commit()


@pytest.fixture
def systems(postgres_url: str, mariadb_url: str, mariadb: MariaDBServer, tmp_path: Path) -> Systems:
    return Systems(postgres_url, mariadb_url, mariadb, tmp_path)


def filled(systems: Systems, system: str, *, zero: str = "'-0.0'", rows: int = ROWS) -> None:
    """A table of usual columns in a system, copied there from DuckDB. `zero` is the ratio of rows with odd ids."""
    seed = systems.folder / "seed.duckdb"
    with duckdb.connect(str(seed)) as db:
        db.execute(
            "CREATE OR REPLACE TABLE t AS SELECT i AS id, CASE WHEN i % 7 > 0 THEN 'name ' || i END AS name, "
            f"(i * 1.01)::DECIMAL(15,2) AS price, CASE WHEN i % 2 = 0 THEN i / 7 ELSE {zero}::DOUBLE END AS ratio, "
            "TIMESTAMP '2024-01-01 00:00:00.000001' + INTERVAL (i) MINUTE AS seen, DATE '1999-12-31' + i::INT AS day, "
            f"i % 3 = 0 AS flag, encode('b' || i) AS raw FROM range(1, {rows} + 1) r(i); "
            "ALTER TABLE t ADD PRIMARY KEY (id)"
        )
    copied(f"duckdb://{seed}", systems.urls[system], "t", key=("id",))


PAIRS = [(a, b) for a in SYSTEMS for b in SYSTEMS if a != b]


@pytest.mark.parametrize(("here", "there"), PAIRS)
def test_a_copy_is_equal_and_planted_differences_are_found_named_and_repaired(
    systems: Systems, here: str, there: str
) -> None:
    # MariaDB has no -0.0, and a merge in SQLite takes it for 0.0
    zero = "0.25" if "MariaDB" in (here, there) or there == "SQLite" else "'-0.0'"
    filled(systems, here, zero=zero)
    source, destination = systems.urls[here], systems.urls[there]
    copied(source, destination, "t", key=("id",))
    found = verified(source, destination, key=("id",))
    assert (found["status"], found["source_rows"], found["table_rows"]) == ("equal", ROWS, ROWS)
    assert [side["way"] for side in found["hashed"].values()] == [INSIDE, INSIDE]
    assert len(found["columns"]) == 8 and found["notes"] == []

    changes = {
        11: ("name", "price = price + 0.01"),
        14: ("name", "name = ''"),  # it was NULL
        15: ("name", "name = 'name 15 '"),
        16: ("name", "name = 'Name 16'"),
        17: ("ratio", "ratio = 0.0"),  # it was -0.0, where systems have that
    }
    later = {"SQLite": "replace(seen, '.000001', '.000002')", "PostgreSQL": "seen + INTERVAL '1 microsecond'"}
    changes[18] = ("seen", f"seen = {later.get(there, 'seen + INTERVAL 1 MICROSECOND')}")
    changes[11] = ("price", "price = price + 0.01" if there != "SQLite" else "price = '11.12'")
    systems.run(there, "UPDATE t SET ratio = 0.5 WHERE id = 17")  # DuckDB leaves -0.0 when it is set to 0.0
    for id_, (_, change) in changes.items():
        systems.run(there, f"UPDATE t SET {change} WHERE id = {id_}")
    systems.run(there, "DELETE FROM t WHERE id = 5")
    systems.run(there, "INSERT INTO t (id, name) VALUES (-1, 'too many')")

    found = verified(source, destination, key=("id",))
    assert found["status"] == "different" and found["whole"]
    assert [row["key"] for row in found["missing"]["named"]] == [{"id": "5"}]
    assert [row["key"] for row in found["extra"]["named"]] == [{"id": "-1"}]
    named = {int(row["key"]["id"]): row["columns"] for row in found["different"]["named"]}
    assert named == {id_: [column] for id_, (column, _) in changes.items()}
    assert "values" not in found["missing"]["named"][0]

    done = verified(source, destination, key=("id",), asked=Asked(repair=True))
    assert (done["status"], done["repair"]["carried"], done["repair"]["taken_away"]) == ("repaired", 7, 1)
    assert done["repair"]["receipt"]["equal"] and done["repair"]["receipt"]["adds_up"]
    assert verified(source, destination, key=("id",))["status"] == "equal"


@pytest.mark.parametrize("there", ["PostgreSQL", "DuckDB", "SQLite", "MariaDB", "Parquet"])
def test_no_type_at_its_limits_raises_a_false_alarm(postgres: PostgresServer, systems: Systems, there: str) -> None:
    source = postgres.create_database()
    columns = {case: f"c{number}" for number, case in enumerate(CASES)}
    with psycopg.connect(source) as db:
        db.execute("CREATE TYPE mood AS ENUM ('sad', 'ご機嫌'); CREATE DOMAIN positive AS int CHECK (VALUE > 0)")
        db.execute("CREATE TYPE pair AS (a int, b text)")
        made = ", ".join(f"{column} {sql_type(case)}" for case, column in columns.items())
        db.execute(f"CREATE TABLE t (id int PRIMARY KEY, {made})".encode())
        for row in range(max(map(len, CASES.values())) + 1):
            cells = {c: CASES[case][row] for case, c in columns.items() if row < len(CASES[case])}
            values = ", ".join([str(row), *cells.values()])
            db.execute(f"INSERT INTO t ({', '.join(['id', *cells])}) VALUES ({values})".encode())
    systems.run("PostgreSQL", "CREATE TYPE mood AS ENUM ('sad', 'ご機嫌')")
    destination = {**systems.urls, "Parquet": f"file://{systems.folder}/p/?format=parquet"}[there]
    left = ["id", *columns.values()]
    while (done := copy(source, destination, "t", columns={c: c for c in left}, cursor="id")).error is not None:
        at = re.search(r"\bc\d+\b", done.error.message)
        assert at is not None, done.error
        left.remove(at.group())
    names = {column: case for case, column in columns.items()}
    found = verified(source, destination, columns={c: c for c in left}, asked=Asked(values=True))
    wrong = {names[c]: v for row in found["different"]["named"] for c, v in row["values"].items()}
    assert wrong == {} and found["status"] == "equal"
    assert len(found["columns"]) >= len(left) - 8, found["notes"]
    postgres.drop_database(source)


def test_rows_are_compared_by_suiro_where_a_system_can_not(systems: Systems, tmp_path: Path) -> None:
    filled(systems, "PostgreSQL")
    systems.run("PostgreSQL", 'ALTER TABLE t ADD doc jsonb; UPDATE t SET doc = \'{"b": 1.10, "a": [1, null]}\'')
    copied(systems.urls["PostgreSQL"], systems.urls["DuckDB"], "t", key=("id",))
    systems.run("DuckDB", 'UPDATE t SET doc = \'{"a":[1,null],"b":1.1}\'')  # the same, written otherwise
    found = verified(systems.urls["PostgreSQL"], systems.urls["DuckDB"])
    assert (found["status"], [s["way"] for s in found["hashed"].values()]) == ("equal", ["by Suiro", "by Suiro"])
    systems.run("DuckDB", 'UPDATE t SET doc = \'{"a":[1,null],"b":1.2}\' WHERE id = 77')
    found = verified(systems.urls["PostgreSQL"], systems.urls["DuckDB"], asked=Asked(repair=True))
    assert [(row["key"], row["columns"]) for row in found["different"]["named"]] == [({"id": "77"}, ["doc"])]
    assert found["status"] == "repaired"

    parquet = f"file://{tmp_path}/p/?format=parquet"
    plain = {name: name for name in ("id", "name", "price", "ratio", "seen", "day", "flag", "raw")}
    copied(systems.urls["PostgreSQL"], parquet, "t", columns=plain)
    systems.run("PostgreSQL", "UPDATE t SET name = 'other' WHERE id = 3; DELETE FROM t WHERE id = 4")
    found = verified(systems.urls["PostgreSQL"], parquet, columns=plain)
    assert [s["way"] for s in found["hashed"].values()] == [INSIDE, "by Suiro"]
    assert found["different"]["named"] == [{"key": {"id": "3"}, "columns": ["name"]}]
    assert found["extra"]["named"] == [{"key": {"id": "4"}}] and found["missing"]["rows"] == 0


def test_types_that_a_copy_changes_are_compared_as_what_they_became(systems: Systems) -> None:
    systems.run(
        "MariaDB",
        "CREATE TABLE t (id bigint unsigned primary key, yes tinyint(1), n decimal(20,4), at timestamp(6) null, "
        "f float, c char(5), y year, u uuid, e enum('a','b'), b bit(3), z int(5) zerofill)",
    )
    systems.run(
        "MariaDB",
        "INSERT INTO t VALUES (18446744073709551615, 1, -0.5, '2024-01-01 00:00:00.000001', 0.1, 'a ', 2024, "
        f"'00112233-4455-6677-8899-aabbccddeeff', 'b', 5, 7), (2{', NULL' * 10})",
    )
    source = f"{systems.urls['MariaDB']}?tinyint1=boolean"
    for there in ("PostgreSQL", "DuckDB"):
        copied(source, systems.urls[there], "t")
        found = verified(source, systems.urls[there])
        assert (found["status"], found["different"]["named"]) == ("equal", [])
        assert [side["way"] for side in found["hashed"].values()] == [INSIDE, INSIDE]
    systems.run("PostgreSQL", "UPDATE t SET yes = false WHERE id > 2")
    found = verified(source, systems.urls["PostgreSQL"])
    assert [row["columns"] for row in found["different"]["named"]] == [["yes"]]


@pytest.fixture
def two(tmp_path: Path) -> Systems:
    """SQLite and DuckDB alone, the first with a table of ten rows."""
    systems = Systems("", "", None, tmp_path)  # type: ignore[arg-type]
    systems.run("SQLite", "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, n INTEGER)")
    systems.run(
        "SQLite",
        "INSERT INTO t VALUES " + ", ".join(f"({n}, 'name {n}', {n})" for n in range(1, 11)),
    )
    return systems


def test_the_command_says_what_differs_and_ends_with_its_code(suiro: Shell, two: Systems) -> None:
    here, there = two.urls["SQLite"], two.urls["DuckDB"]
    assert suiro("verify", here, there, "--stream", "t").code == 1  # there is no table
    suiro("copy", here, there, "--stream", "t", "--columns", "id=number,name,n", "--key", "id")
    options = ("--stream", "t", "--columns", "id=number,name,n")
    assert suiro("verify", here, there, *options).code == 0
    two.run("DuckDB", "UPDATE t SET name = 'secret' WHERE number = 3; DELETE FROM t WHERE number > 8")
    said = suiro("verify", here, there, *options, "--most", "1")
    assert said.code == 1 and "secret" not in said.out and "2 rows missing from the table" in said.err
    assert "different: id='3': name" in said.out and said.out.count("missing: ") == 1
    assert "name 'name 3' -> 'secret'" in suiro("verify", here, there, *options, "--show-values").out
    found = suiro("verify", here, there, *options, "--json")
    assert (found.code, found.json["status"], found.json["tasks"][0]["missing"]["rows"]) == (1, "different", 2)
    assert suiro("verify", here, there, *options, "--where", "id < 9 AND id <> 3").code == 1  # row 3 is too many then
    done = suiro("verify", here, there, *options, "--repair", "--json")
    assert (done.code, done.json["status"]) == (0, "repaired")
    assert suiro("verify", here, there, *options).code == 0
    for wrong in (("verify", here, there), ("verify", here, there, *options, "--task", "t"), ("verify", "no job")):
        assert suiro(*wrong).code == 2, wrong


def test_a_stored_job_is_verified_task_by_task(suiro: Shell, two: Systems) -> None:
    two.run("SQLite", "CREATE TABLE u AS SELECT * FROM t")
    file = two.folder / "jobs.yaml"
    file.write_text(
        f"connections:\n  a: {{type: sqlite, path: '{two.folder}/t.db'}}\n  b: {{type: duckdb, path: "
        f"'{two.folder}/t.duckdb'}}\njobs:\n  j:\n    source: a\n    destination: b\n    tasks:\n"
        "      - {stream: t, read: incremental, cursor: id, write: merge, deletes: soft}\n      - {stream: u}\n"
    )
    suiro("apply", str(file))
    assert [task["error"]["code"] for task in suiro("verify", "j", "--json").json["tasks"]] == ["user_error"] * 2
    suiro("run", "j")
    found = suiro("verify", "j", "--json")
    assert (found.code, [task["status"] for task in found.json["tasks"]]) == (0, ["equal", "equal"])
    assert "reads on from a position" in " ".join(found.json["tasks"][0]["notes"])
    two.run("SQLite", "INSERT INTO t VALUES (11, 'new', 1)")
    two.run("SQLite", "DELETE FROM t WHERE id = 4")
    (one,) = suiro("verify", "j", "--task", "t", "--json").json["tasks"]
    assert (one["missing"]["rows"], one["extra"]["rows"]) == (1, 1)
    before = suiro("position", "show", "j", "t", "--json").json
    assert suiro("verify", "j", "--task", "t", "--repair").code == 0
    with duckdb.connect(f"{two.folder}/t.duckdb") as db:  # soft deletes: the row is marked, and counts as gone
        assert db.sql("SELECT count(*), count(_suiro_deleted_at) FROM t").fetchall() == [(11, 1)]
    two.run("SQLite", "INSERT INTO t VALUES (12, 'newer', 1)")
    done = suiro("run", "j", "--task", "t", "--json").json["tasks"][0]  # the position stayed where it was
    assert before[0]["position"]["cursor"] == 10 and done["rows_read"] == 3


def test_a_history_is_compared_by_its_current_versions(two: Systems) -> None:
    here, there = two.urls["SQLite"], two.urls["DuckDB"]
    options: dict[str, Any] = {"write": WriteMode.HISTORY, "key": ("id",)}
    copied(here, there, "t", **options)
    two.run("SQLite", "UPDATE t SET name = 'changed' WHERE id = 3")
    copied(here, there, "t", **options)
    assert verified(here, there, **options)["status"] == "equal"
    two.run("SQLite", "UPDATE t SET name = 'again' WHERE id = 3")
    two.run("SQLite", "DELETE FROM t WHERE id = 5")
    two.run("SQLite", "INSERT INTO t VALUES (99, 'x', 9)")
    done = verified(here, there, asked=Asked(repair=True), **options)
    assert (done["status"], done["repair"]["carried"], done["repair"]["taken_away"]) == ("repaired", 2, 1)
    with duckdb.connect(f"{two.folder}/t.duckdb") as db:
        assert db.sql("SELECT count(*), count(*) FILTER (_suiro_current) FROM t").fetchall() == [(13, 10)]


def test_without_a_key_rows_are_compared_as_wholes_and_not_repaired(two: Systems) -> None:
    two.run("SQLite", "CREATE TABLE u AS SELECT name, n % 3 AS n FROM t")
    two.run("SQLite", "INSERT INTO u VALUES ('twice', 1), ('twice', 1)")
    here, there = two.urls["SQLite"], two.urls["DuckDB"]
    copied(here, there, "u")
    assert verified(here, there, stream="u")["status"] == "equal"
    two.run("DuckDB", "DELETE FROM u WHERE name = 'twice'; INSERT INTO u VALUES ('twice', 1)")
    found = verified(here, there, stream="u")
    assert (found["missing"]["rows"], found["extra"]["rows"], found["different"]["rows"]) == (1, 0, 0)
    assert "no key" in " ".join(found["notes"])
    with pytest.raises(UserError, match="no key"):
        verified(here, there, stream="u", asked=Asked(repair=True))


def test_repairs_that_would_do_harm_are_refused_and_change_nothing(
    two: Systems, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = two.urls["SQLite"], two.urls["DuckDB"]
    copied(here, there, "t", key=("id",))
    two.run("SQLite", "DELETE FROM t WHERE id > 2")
    with pytest.raises(UserError, match="8 of 10 rows"):
        verified(here, there, asked=Asked(repair=True))
    assert verified(here, there)["extra"]["rows"] == 8
    monkeypatch.setattr("suiro.engine.diff.MOST_LOOKED_AT", 3)
    found = verified(here, there)
    assert not found["whole"] and found["extra"]["rows"] <= 3 and "Too much differs" in " ".join(found["notes"])
    with pytest.raises(UserError, match="too much of t differs"):
        verified(here, there, most_deleted=1.0, asked=Asked(repair=True))
    monkeypatch.undo()
    assert verified(here, there, most_deleted=1.0, asked=Asked(repair=True))["status"] == "repaired"


def test_a_key_that_stands_for_several_rows_repairs_nothing(two: Systems) -> None:
    here, there = two.urls["SQLite"], two.urls["DuckDB"]
    two.run("SQLite", "UPDATE t SET n = 1 WHERE id < 3")
    copied(here, there, "t")
    two.run("DuckDB", "UPDATE t SET name = 'x' WHERE id = 1")
    with pytest.raises(UserError, match="several rows"):
        verified(here, there, key=("n",), asked=Asked(repair=True))


def test_a_row_that_the_table_holds_twice_is_made_one_again(two: Systems) -> None:
    here, there = two.urls["SQLite"], two.urls["DuckDB"]
    copied(here, there, "t")
    two.run("DuckDB", "INSERT INTO t SELECT * FROM t WHERE id = 7")
    found = verified(here, there)
    assert (found["extra"]["rows"], found["missing"]["rows"]) == (1, 0)
    assert verified(here, there, asked=Asked(repair=True))["status"] == "repaired"


def test_columns_that_cannot_be_compared_are_named(two: Systems) -> None:
    two.run("SQLite", "ALTER TABLE t ADD COLUMN extra INTEGER")
    here, there = two.urls["SQLite"], two.urls["DuckDB"]
    copied(here, there, "t", drop=("extra",))
    found = verified(here, there)
    assert (found["status"], found["notes"]) == ("equal", ["Column extra isn't in the table: not compared."])


def test_masked_and_retyped_columns_are_compared_as_they_were_carried(suiro: Shell, two: Systems) -> None:
    file = two.folder / "jobs.yaml"
    file.write_text(
        f"connections:\n  a: {{type: sqlite, path: '{two.folder}/t.db'}}\n  b: {{type: duckdb, path: "
        f"'{two.folder}/t.duckdb'}}\njobs:\n  j:\n    source: a\n    destination: b\n    tasks:\n"
        "      - {stream: t, key: [id], mask: {name: 'mask:2'}, types: {n: 'decimal(12,2)'}}\n"
        "      - {name: q, sql: 'REPLICATE q SELECT id, n * 2 AS twice FROM t WHERE id > 5'}\n"
    )
    suiro("apply", str(file))
    assert suiro("run", "j").code == 0
    found = suiro("verify", "j", "--json").json["tasks"]
    assert [(one["status"], one["hashed"]["source"]["way"]) for one in found] == [("equal", "by Suiro")] * 2
    two.run("DuckDB", "UPDATE t SET name = 'x' WHERE id = 1; UPDATE q SET twice = 0 WHERE id = 6")
    found = suiro("verify", "j", "--json").json["tasks"]
    assert [one["status"] for one in found] == ["different", "different"]
    assert suiro("verify", "j", "--task", "t", "--repair").code == 0
