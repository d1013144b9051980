"""The command line as users and machines meet it: exit codes, one sentence for each mistake, nothing half-written."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest

from servers import PostgresServer
from shell import Shell


@pytest.fixture
def orders(postgres_url: str) -> str:
    """A database with a table src.orders of 1,000 rows."""
    with psycopg.connect(postgres_url) as connection:
        connection.execute(
            "CREATE SCHEMA src; CREATE TABLE src.orders (id int PRIMARY KEY, at timestamptz, name text);"
            "INSERT INTO src.orders SELECT g, to_timestamp(g), 'n' || g FROM generate_series(1, 1000) g"
        )
    return postgres_url


def rows(url: str, sql: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(sql.encode()).fetchall()


def test_a_copy_prints_its_result_for_people_and_for_machines(suiro: Shell, orders: str) -> None:
    said = suiro("copy", orders, orders, "--stream", "src.orders")
    assert (said.code, said.out) == (0, "")
    assert "1,000 rows read, 1,000 written" in said.err and "equal" in said.err
    said = suiro("copy", orders, orders, "--stream", "src.orders", "--json")
    (task,) = said.json["tasks"]
    assert said.json["status"] == task["status"] == "succeeded"
    assert {"run", "status", "seconds", "tasks"} == set(said.json)
    wanted = {"stream", "table", "rows_read", "rows_written", "rows_deleted", "rows_rejected", "bytes", "seconds"}
    assert wanted | {"position", "receipt", "error"} <= set(task)
    assert task["receipt"]["equal"] is True and task["receipt"]["adds_up"] is True
    assert (task["receipt"]["level"], task["receipt"]["source_rows"], task["receipt"]["table_rows"]) == (
        "sums",
        1000,
        1000,
    )


def test_the_whole_of_a_source_is_copied_but_for_what_is_excluded(suiro: Shell, orders: str) -> None:
    with psycopg.connect(orders) as connection:
        connection.execute(
            'CREATE TABLE src."顧客管理(営業支援パック)" ("氏 名" text); CREATE TABLE src.scratch (a int)'
        )
    said = suiro("copy", orders, f"{orders}?schema=dst", "--all", "--exclude", "*scratch", "--json")
    assert said.code == 0
    assert sorted(t["table"] for t in said.json["tasks"]) == ["orders", "顧客管理(営業支援パック)"]


def test_check_streams_preview_sql_and_connectors_answer(suiro: Shell, orders: str) -> None:
    assert suiro("check", orders).code == 0
    assert [s["name"] for s in suiro("streams", orders, "--json").json] == ["src.orders"]
    assert len(suiro("preview", orders, "src.orders", "-n", "3", "--json").json) == 3
    assert suiro("sql", orders, "SELECT count(*) AS n FROM src.orders", "--json").json == [{"n": 1000}]
    assert "postgres" in [c["name"] for c in suiro("connectors", "--json").json]
    assert [c["name"] for c in suiro("connectors", "duck", "--json").json] == ["duckdb"]
    assert "n1" in suiro("preview", orders, "src.orders").out


def test_a_plan_changes_nothing(suiro: Shell, orders: str) -> None:
    said = suiro("copy", orders, orders, "--stream", "src.orders", "--columns", "id,name=who", "--plan", "--json")
    assert said.json[0]["columns"][1] == {"source": "name", "name": "who", "type": "string", "change": None}
    assert "orders" in suiro("copy", orders, orders, "--stream", "src.orders", "--plan").out
    assert rows(orders, "SELECT to_regclass('public.orders'), to_regclass('public._suiro_markers')") == [(None, None)]


def _at(url: str, **parts: str) -> str:
    """The URL with another user, password, host or database."""
    user, _, rest = url.removeprefix("postgresql://").partition("@")
    name, _, password = user.partition(":")
    host, _, database = rest.partition("/")
    return (
        f"postgresql://{parts.get('user', name)}:{parts.get('password', password)}@{parts.get('host', host)}"
        f"/{parts.get('database', database)}"
    )


@pytest.mark.parametrize(
    ("changes", "options", "code", "words"),
    [
        ({"host": "no-such-host.invalid"}, [], 1, ["no-such-host.invalid"]),
        ({"host": "127.0.0.1:1"}, [], 1, ["nothing answers at 127.0.0.1:1"]),
        ({"password": "wrong"}, [], 1, ["refused user", "password"]),
        ({"database": "no_such_db"}, [], 2, ["no_such_db"]),
        ({}, ["--stream", "src.nosuch"], 2, ["src.nosuch", "src.orders"]),
        ({}, ["--columns", "id,nosuch"], 2, ["nosuch", "id, at, name"]),
        ({}, ["--columns", "id,,name"], 2, ["columns"]),
        ({}, ["--key", "nosuch"], 2, ["nosuch"]),
        ({}, ["--where", "nosuch = 1"], 2, ["nosuch"]),
        ({}, ["--where", "1 = 1) OR (1 = 1"], 2, ["isn't one condition"]),
        ({}, ["--read", "incremental"], 2, ["cursor", "at"]),
        ({}, ["--read", "sideways"], 2, ["--read"]),
        ({}, ["--no-such-option"], 2, ["--no-such-option"]),
        ({}, ["--look-back", "soon"], 2, ["90s"]),
        ({}, ["--all"], 2, ["--stream", "--all"]),
        ({}, ["--read", "incremental", "--cursor", "name"], 2, ["name"]),
    ],
)
def test_a_mistake_is_one_sentence_with_what_to_do_and_touches_nothing(
    suiro: Shell, orders: str, changes: dict[str, str], options: list[str], code: int, words: list[str]
) -> None:
    stream = [] if "--stream" in options else ["--stream", "src.orders"]
    said = suiro("copy", _at(orders, **changes), orders, *stream, *options)
    assert said.code == code, said.err
    for word in words:
        assert word in said.err
    assert "secret" not in said.err
    assert rows(orders, "SELECT to_regclass('public.orders')") == [(None,)]


@pytest.mark.parametrize(
    ("conn", "words"),
    [
        ("nosuch", ["nosuch", "URI"]),
        ("nosuch://x", ["nosuch://", "postgresql://"]),
        ("postgresql://h/d?colour=red", ["colour", "sslmode"]),
        ("postgresql://h:port/d", ["postgresql://"]),
        ("postgresql://h/d?sslmode=maybe", ["sslmode"]),
        ("file:///no/such/folder/x.csv", ["/no/such/folder"]),
        ("sqlite:///no/such/file.db", ["/no/such/file.db"]),
        ("duckdb:///no/such/file.duckdb", ["/no/such/file.duckdb"]),
    ],
)
def test_a_connection_that_cannot_be_is_wrong_use(suiro: Shell, conn: str, words: list[str]) -> None:
    said = suiro("check", conn)
    assert said.code == 2, said.err
    for word in words:
        assert word in said.err


def test_a_password_is_never_printed(suiro: Shell, orders: str) -> None:
    secret = _at(orders, password="s3cr3t-word")
    for arguments in (["check", secret], ["copy", secret, secret, "--all"], ["streams", secret], ["sql", secret, "x"]):
        said = suiro(*arguments)
        assert said.code != 0
        assert "s3cr3t-word" not in said.err + said.out


def test_values_a_table_refuses_leave_it_as_it_was(suiro: Shell, orders: str) -> None:
    with psycopg.connect(orders) as connection:
        connection.execute("CREATE TABLE orders (id int CHECK (id < 500), at timestamptz, name text)")
        connection.execute("INSERT INTO orders VALUES (1, now(), 'old')")
    said = suiro("copy", orders, orders, "--stream", "src.orders")
    assert said.code == 1
    assert "orders_id_check" in said.err and "n500" not in said.err
    assert rows(orders, "SELECT name FROM orders") == [("old",)]
    assert rows(orders, "SELECT relname FROM pg_class WHERE relname ~ 'suiro_stage'") == []


def test_keys_that_are_null_or_doubled_are_refused(suiro: Shell, orders: str) -> None:
    with psycopg.connect(orders) as connection:
        connection.execute("CREATE TABLE src.bad (k int, v int); INSERT INTO src.bad VALUES (1, 1), (NULL, 2)")
        connection.execute("CREATE TABLE src.twice (k int, v int); INSERT INTO src.twice VALUES (1, 1), (1, 2)")
    said = suiro("copy", orders, orders, "--stream", "src.bad", "--write", "merge", "--key", "k")
    assert said.code == 1 and "NULL in the key column k" in said.err
    said = suiro("copy", orders, orders, "--stream", "src.twice", "--key", "k")
    assert said.code == 1 and "key k" in said.err
    assert rows(orders, "SELECT to_regclass('bad'), to_regclass('twice')") == [(None, None)]


def test_a_broken_line_of_a_file_is_named_by_its_number(suiro: Shell, orders: str, tmp_path: Path) -> None:
    (tmp_path / "shop.csv").write_text("id,name\n1,a\n2,b,too much\n3,c\n")
    said = suiro("copy", f"file://{tmp_path}/shop.csv", orders, "--all")
    assert said.code == 1, said.err
    assert "shop.csv" in said.err and "line 3" in said.err and "too much" not in said.err
    assert rows(orders, "SELECT to_regclass('shop')") == [(None,)]


def test_one_stream_that_fails_leaves_the_others_results(suiro: Shell, orders: str, tmp_path: Path) -> None:
    (tmp_path / "good.csv").write_text("id,name\n1,a\n")
    (tmp_path / "bad.csv.gz").write_bytes(gzip.compress(b"id,name\n1,a\n" * 1000)[:-9])
    said = suiro("copy", f"file://{tmp_path}/", orders, "--all", "--json")
    assert said.code == 1
    found = {task["stream"]: task for task in said.json["tasks"]}
    assert found["good"]["status"] == "succeeded"
    assert found["bad"]["status"] == "failed" and "bad.csv.gz" in found["bad"]["error"]["message"]
    assert rows(orders, "SELECT name FROM good") == [("a",)]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
@pytest.mark.parametrize("kind", ["duckdb", "sqlite", "file"])
def test_a_full_disk_is_one_sentence_and_nothing_is_half_written(
    suiro: Shell, orders: str, tmp_path: Path, kind: str
) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(small)], check=False)
    if mounted.returncode:
        pytest.skip("this machine lets nobody mount")
    try:
        with psycopg.connect(orders) as connection:
            connection.execute("CREATE TABLE src.big AS SELECT g AS id, md5(g::text) || md5((-g)::text) AS t "
                               "FROM generate_series(1, 200000) g")  # fmt: skip
        to = {"duckdb": f"duckdb://{small}/d.duckdb", "sqlite": f"sqlite://{small}/d.db", "file": f"file://{small}/"}[
            kind
        ]
        said = suiro("copy", orders, to, "--stream", "src.orders")
        assert said.code == 0, said.err
        said = suiro("copy", orders, to, "--stream", "src.big", "--table", "orders2")
        assert said.code in (1, 2)
        assert "full" in said.err or "No space" in said.err, said.err
        source = to if kind != "file" else f"file://{small}/"
        assert [s["name"] for s in suiro("streams", source, "--json").json] == ["orders"]
        assert len(suiro("preview", source, "orders", "-n", "2000", "--json").json) == 1000
    finally:
        subprocess.run(["umount", str(small)], check=True)


def _slow(url: str, seconds: float) -> None:
    """A view of 200 rows that takes so long to read."""
    with psycopg.connect(url) as connection:
        connection.execute(f"CREATE VIEW src.slow AS SELECT g AS id, g AS at, pg_sleep({seconds / 200})::text AS t "
                           "FROM generate_series(1, 200) g")  # fmt: skip


def _start(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "suiro.cli.main", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _wait_for(url: str, sql: str) -> None:
    until = time.monotonic() + 30
    while not rows(url, sql)[0][0]:
        assert time.monotonic() < until, sql
        time.sleep(0.05)


_READING = (
    "SELECT count(*) FROM pg_stat_activity WHERE query ~ '^COPY' AND state = 'active' AND datname = current_database()"
)


def test_ctrl_c_cancels_cleanly(orders: str) -> None:
    _slow(orders, 60)
    copying = _start("copy", orders, orders, "--stream", "src.slow", "--json")
    _wait_for(orders, _READING)
    copying.send_signal(signal.SIGINT)
    out, err = copying.communicate(timeout=20)
    assert copying.returncode == 130, err
    assert json.loads(out)["status"] == "cancelled"
    assert rows(orders, "SELECT to_regclass('public.slow')") == [(None,)]
    assert rows(orders, "SELECT relname FROM pg_class WHERE relname ~ 'suiro_stage'") == []
    _wait_for(orders, _READING.replace("count(*)", "count(*) = 0"))


def test_two_copies_of_one_task_at_once_and_one_is_told_so(suiro: Shell, orders: str) -> None:
    _slow(orders, 8)
    first = _start("copy", orders, orders, "--stream", "src.slow", "--run-id", "the-first", "--json")
    _wait_for(orders, _READING)
    said = suiro("copy", orders, orders, "--stream", "src.slow")
    assert said.code == 1
    assert "another run is loading" in said.err and "the-first" in said.err
    out, err = first.communicate(timeout=60)
    assert first.returncode == 0, out + err
    assert rows(orders, "SELECT count(*) FROM slow") == [(200,)]


def test_a_killed_copy_leaves_nothing_for_the_next_run_to_trip_over(suiro: Shell, orders: str) -> None:
    _slow(orders, 60)
    copying = _start("copy", orders, orders, "--stream", "src.slow", "--cursor", "at")
    _wait_for(orders, _READING)
    copying.kill()
    copying.communicate()
    with psycopg.connect(orders) as connection:
        connection.execute("DROP VIEW src.slow; CREATE VIEW src.slow AS SELECT 1 AS id, 1 AS at, 'x' AS t")
    said = suiro("copy", orders, orders, "--stream", "src.slow", "--cursor", "at")
    assert said.code == 0, said.err
    assert rows(orders, "SELECT count(*) FROM slow") == [(1,)]
    assert rows(orders, "SELECT relname FROM pg_class WHERE relname ~ 'suiro_stage'") == []


def test_a_source_that_dies_while_it_is_read_is_read_again(suiro: Shell, postgres: PostgresServer, orders: str) -> None:
    _slow(orders, 4)
    there = postgres.create_database()
    killed: list[int] = []

    def kill() -> None:
        _wait_for(orders, _READING)
        with psycopg.connect(orders, autocommit=True) as connection:
            asked = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query ~ '^COPY' AND state = 'active'"
            killed.append(len(connection.execute(asked + " AND datname = current_database()").fetchall()))

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        said = suiro("copy", orders, there, "--stream", "src.slow", "--cursor", "at", "--json")
        killer.join()
        assert killed and killed[0] > 0
        assert said.code == 0, said.out
        assert said.json["tasks"][0]["attempts"] == 2
        assert rows(there, "SELECT count(*), count(DISTINCT id) FROM slow") == [(200, 200)]
    finally:
        postgres.drop_database(there)


def test_staged_rows_that_somebody_changes_are_not_published(orders: str) -> None:
    """A trigger takes a row from every staging table as it is filled, behind Suiro's back."""
    with psycopg.connect(orders, autocommit=True) as connection:
        connection.execute("CREATE TABLE orders AS SELECT 1 AS id, now() AS at, 'old' AS name")
        connection.execute(
            "CREATE FUNCTION tampering() RETURNS trigger LANGUAGE plpgsql AS "
            "'BEGIN RETURN CASE WHEN NEW.id = 7 THEN NULL ELSE NEW END; END';"
            "CREATE FUNCTION tamper() RETURNS event_trigger LANGUAGE plpgsql AS $$ DECLARE made record; BEGIN "
            "FOR made IN SELECT * FROM pg_event_trigger_ddl_commands() WHERE object_identity ~ 'suiro_stage' "
            "AND object_type = 'table' LOOP EXECUTE format('CREATE TRIGGER lose BEFORE INSERT ON %s FOR EACH ROW "
            "EXECUTE FUNCTION tampering()', made.object_identity); END LOOP; END $$;"
            "CREATE EVENT TRIGGER tampered ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION tamper()"
        )
    for options in ([], ["--cursor", "at"]):  # as binary COPY, and through Arrow
        copying = _start("copy", orders, orders, "--stream", "src.orders", "--json", *options)
        out, err = copying.communicate(timeout=60)
        assert copying.returncode == 1, err
        (task,) = json.loads(out)["tasks"]
        assert task["status"] == "failed" and task["error"]["code"] == "verification_failed"
        assert task["receipt"]["equal"] is False
        assert task["receipt"]["differences"][0] == "rows: 1000 read, 999 staged"
        assert rows(orders, "SELECT name FROM orders") == [("old",)]
        assert rows(orders, "SELECT relname FROM pg_class WHERE relname ~ 'suiro_stage'") == []
