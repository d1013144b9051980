"""Jobs in YAML: applied, shown, run in processes of their own, cancelled, retried; over both metadata databases."""

from __future__ import annotations

import io
import json
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import duckdb
import psycopg
import pytest

from shell import Shell

pytestmark = pytest.mark.crossed("metadata_at")


@pytest.fixture(params=["sqlite", "postgres"], autouse=True)
def metadata_at(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where the metadata is kept."""
    if request.param == "sqlite":
        return "sqlite"
    url: str = request.getfixturevalue("postgres18_url")
    monkeypatch.setenv("SUIRO_METADATA_URL", url)
    return url


class Shop:
    """A SQLite file with orders and items, a DuckDB file for them, and the YAML between."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.source, self.warehouse = folder / "shop.sqlite", folder / "wh.duckdb"
        self.change("CREATE TABLE orders (id INTEGER PRIMARY KEY, amount INTEGER, note TEXT)")
        self.change("CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT)")
        self.add(1, 100)
        self.change("INSERT INTO items VALUES (1, 'a'), (2, 'b')")

    def change(self, sql: str) -> None:
        with closing(sqlite3.connect(self.source)) as db:
            db.execute(sql)
            db.commit()

    def add(self, start: int, stop: int) -> None:
        with closing(sqlite3.connect(self.source)) as db:
            db.executemany("INSERT INTO orders VALUES (?, ?, '日本')", [(n, n * 2) for n in range(start, stop + 1)])
            db.commit()

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.warehouse)) as db:
            return db.sql(sql).fetchall()

    def execute(self, sql: str) -> None:
        with duckdb.connect(str(self.warehouse)) as db:
            db.execute(sql)

    def write(self, jobs: str, name: str = "jobs.yaml") -> str:
        path = self.folder / name
        path.write_text(
            f"connections:\n  shop: {{type: sqlite, path: '{self.source}'}}\n"
            f"  wh: {{type: duckdb, path: '{self.warehouse}'}}\njobs:\n{jobs}"
        )
        return str(path)


NIGHTLY = """\
  nightly:
    source: shop
    destination: wh
    parallel: 2
    memory: 1GB
    schedule: {cron: "10 0 * * *", timezone: Asia/Tokyo, delay: 5m}
    tasks:
      - {stream: orders, read: incremental, cursor: id, write: merge}
      - {stream: items}
"""


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def test_a_job_is_applied_shown_run_and_its_run_looked_at(suiro: Shell, shop: Shop) -> None:
    file = shop.write(NIGHTLY)
    planned = suiro("apply", file, "--plan")
    assert planned.out.split() == ["+", "connection", "shop", "+", "connection", "wh", "+", "job", "nightly"]
    assert suiro("run", "nightly").code == 2  # nothing was stored
    assert suiro("apply", file).code == 0
    assert "Everything is as the files say" in suiro("apply", file, "--plan").err
    done = suiro("run", "nightly", "--json")
    assert (done.code, done.json["status"]) == (0, "succeeded")
    assert {task["task"]: task["rows_written"] for task in done.json["tasks"]} == {"orders": 100, "items": 2}
    assert all(task["receipt"]["equal"] for task in done.json["tasks"])
    assert shop.ask("SELECT count(*), sum(amount) FROM orders") == [(100, 10100)]

    shop.add(101, 105)
    again = suiro("run", "nightly", "--task", "orders", "--json").json
    assert [(task["task"], task["rows_written"]) for task in again["tasks"]] == [("orders", 5)]
    listed = suiro("runs", "nightly", "--json").json
    assert [run["run"] for run in listed] == [again["run"], done.json["run"]]
    shown = suiro("show", again["run"], "--json").json
    assert (shown["status"], shown["job"], shown["tasks"]) == ("succeeded", "nightly", again["tasks"])
    (position,) = suiro("position", "show", "nightly", "orders", "--json").json
    assert position["position"]["cursor"] == 105 and position["run"] == again["run"]


def test_a_change_is_shown_like_a_diff_and_leaves_positions_alone(suiro: Shell, shop: Shop) -> None:
    suiro("apply", shop.write(NIGHTLY))
    suiro("run", "nightly")
    changed = NIGHTLY.replace("{stream: items}", "{stream: items, table: goods}").replace("1GB", "2GB")
    said = suiro("apply", shop.write(changed), "--plan")
    assert said.out.splitlines() == [
        "~ job nightly",
        "    tasks.1.table: nothing -> goods",
        "    memory: 1GB -> 2GB",
    ]
    suiro("apply", shop.write(changed))
    done = suiro("run", "nightly", "--json").json
    assert {task["task"]: task["rows_read"] for task in done["tasks"]} == {"orders": 1, "goods": 2}


def test_what_is_exported_can_be_applied_elsewhere(suiro: Shell, shop: Shop, tmp_path: Path) -> None:
    suiro("apply", shop.write(NIGHTLY))
    (tmp_path / "out.yaml").write_text(suiro("export").out)
    assert "Everything is as the files say" in suiro("apply", str(tmp_path / "out.yaml")).err
    assert "jobs:" not in suiro("export", "shop").out
    wrong = suiro("export", "nigthly")
    assert wrong.code == 2 and "Did you mean nightly?" in wrong.err


def test_a_job_of_type_all_takes_new_streams_and_says_so(suiro: Shell, shop: Shop) -> None:
    suiro("apply", shop.write("  every: {source: shop, destination: wh, type: all, exclude: [item*]}\n"))
    first = suiro("run", "every", "--json").json
    assert [task["task"] for task in first["tasks"]] == ["orders"] and first["notes"] == []
    shop.change("CREATE TABLE customers (id INTEGER PRIMARY KEY)")
    shop.change("DROP TABLE orders")
    second = suiro("run", "every", "--json").json
    assert [task["task"] for task in second["tasks"]] == ["customers"]
    assert second["notes"] == [
        "New streams: customers.",
        "Streams that are no longer there: orders. Their tables stay.",
    ]
    assert shop.ask("SELECT count(*) FROM orders") == [(100,)]


def test_secrets_are_sealed_kept_and_never_shown(
    suiro: Shell, shop: Shop, orders_url: str, suiro_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user, password, host, port, name = _parts(orders_url)
    text = (
        f"connections:\n  pg: {{type: postgres, host: {host}, port: {port}, database: {name}, user: {user}, "
        f"password: '{password}'}}\n  wh: {{type: duckdb, path: '{shop.warehouse}'}}\n"
        "jobs:\n  j: {source: pg, destination: wh, tasks: [{stream: public.orders}]}\n"
    )
    (tmp_path / "j.yaml").write_text(text)
    assert suiro("apply", str(tmp_path / "j.yaml")).code == 0
    assert suiro("run", "j").code == 0
    assert stat.S_IMODE((suiro_home / "master.key").stat().st_mode) == 0o600
    exported = suiro("export").out
    assert "${kept}" in exported and password not in exported
    for path in suiro_home.rglob("*"):
        assert not path.is_file() or password.encode() not in path.read_bytes()
    (tmp_path / "kept.yaml").write_text(exported)
    assert "Everything is as the files say" in suiro("apply", str(tmp_path / "kept.yaml")).err

    (tmp_path / "j.yaml").write_text(text.replace(f"'{password}'", "'wrong'"))
    said = suiro("apply", str(tmp_path / "j.yaml"))
    assert "password: (secret) changed" in said.out and "wrong" not in said.out
    failed = suiro("run", "j", "--json")
    assert failed.code == 1 and "refused user" in failed.json["tasks"][0]["error"]["message"]

    monkeypatch.setenv("THE_PASSWORD", password)
    (tmp_path / "j.yaml").write_text(text.replace(f"'{password}'", '"${env:THE_PASSWORD}"'))
    suiro("apply", str(tmp_path / "j.yaml"))
    assert suiro("run", "j").code == 0
    assert "${env:THE_PASSWORD}" in suiro("export").out
    monkeypatch.delenv("THE_PASSWORD")
    missing = suiro("run", "j", "--json")
    assert "no environment variable THE_PASSWORD" in missing.json["tasks"][0]["error"]["message"]

    monkeypatch.setattr(sys, "stdin", io.StringIO(password + "\n"))
    assert suiro("secret", "set", "pg").code == 0
    assert [found["name"] for found in suiro("secret", "list", "--json").json] == ["pg"]
    (tmp_path / "j.yaml").write_text(text.replace(f"'{password}'", '"${secret:pg}"'))
    suiro("apply", str(tmp_path / "j.yaml"))
    assert suiro("run", "j").code == 0
    suiro("secret", "delete", "pg")
    assert "pg" in suiro("run", "j", "--json").json["tasks"][0]["error"]["message"]
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert "the secret is empty" in suiro("secret", "set", "pg").err


def test_a_connection_serves_no_more_task_runs_at_once_than_it_may(suiro: Shell, shop: Shop, slow_url: str) -> None:
    with psycopg.connect(slow_url) as session:
        for n in range(4):
            session.execute(
                f"CREATE VIEW v{n} AS SELECT 1 AS id, clock_timestamp() AS began, pg_sleep(1)::text".encode()
            )
    user, password, host, port, name = _parts(slow_url)
    file = shop.folder / "limits.yaml"
    file.write_text(
        f"connections:\n  pg: {{type: postgres, host: {host}, port: {port}, database: {name}, user: {user}, "
        f"password: '{password}', parallel: 2}}\n"
        "jobs:\n  j: {source: pg, destination: pg, parallel: 4, tasks: ["
        + ", ".join(f"{{stream: public.v{n}, table: t{n}}}" for n in range(4))
        + "]}\n"
    )
    assert suiro("apply", str(file)).code == 0
    done = suiro("run", "j", "--json").json
    assert done["status"] == "succeeded", [task["error"] for task in done["tasks"]]
    with psycopg.connect(slow_url) as session:
        sql = " UNION ALL ".join(f"SELECT began FROM t{n}" for n in range(4))
        began = sorted(row[0].timestamp() for row in session.execute(sql.encode()).fetchall())
    assert began[2] - began[0] > 1 and began[3] - began[1] > 1
    assert suiro("apply", str(_with(file, "parallel: 2", "parallel: none"))).code == 2


def test_stored_connections_are_known_to_every_command(suiro: Shell, shop: Shop, orders_url: str) -> None:
    user, password, host, port, name = _parts(orders_url)
    file = shop.folder / "c.yaml"
    text = f"Server={host};Port={port};Database={name};User={user};Password={password};"
    file.write_text(
        f"connections:\n  pg: {{type: postgres, connection_string: '{text}'}}\n"
        f"  wh: {{type: duckdb, path: '{shop.warehouse}'}}\n"
    )
    assert suiro("apply", str(file)).code == 0
    assert suiro("check", "pg").code == 0
    assert suiro("copy", "pg", "wh", "--stream", "public.orders").code == 0
    assert suiro("sql", "wh", "SELECT count(*) AS n FROM orders", "--json").json == [{"n": 1000}]
    assert password not in suiro("export").out
    assert suiro("check", "gp").code == 2


@pytest.mark.parametrize(
    ("jobs", "said"),
    [
        ("  j: {source: shp, destination: wh, tasks: [{stream: orders}]}\n", "there is no connection 'shp'"),
        ("  j: {source: shop, destination: wh, tasks: [{stream: orders, window: often}]}\n", "'often' is no window"),
        ("  j: {source: shop, destination: wh, memory: 10MB, tasks: [{stream: orders}]}\n", "too little"),
        (
            "  j: {source: shop, destination: wh, schedule: {cron: '* * *'}, tasks: [{stream: orders}]}\n",
            "is no schedule",
        ),
        (
            "  j: {source: shop, destination: wh, tasks: [{stream: orders}], "
            "schedule: {cron: '@daily', timezone: PST}}\n",
            "'PST' is no IANA time zone",
        ),
        ("  j: {source: shop, destination: wh, tasks: [{stream: orders}, {stream: orders}]}\n", "two tasks of the job"),
        (
            "  j: {source: shop, destination: wh, tasks: "
            "[{stream: orders}, {name: b, stream: items, table: orders}]}\n",
            "orders and b both load orders, and orders takes away",
        ),
    ],
)
def test_a_job_that_cannot_be_is_refused_and_nothing_is_stored(suiro: Shell, shop: Shop, jobs: str, said: str) -> None:
    answer = suiro("apply", shop.write(jobs))
    assert answer.code == 2 and said in answer.err
    assert suiro("export").out.strip() in ("", "{}")


def test_a_failed_task_leaves_the_others_and_is_retried_alone(suiro: Shell, shop: Shop) -> None:
    suiro("apply", shop.write(NIGHTLY))
    shop.change("ALTER TABLE items RENAME TO elsewhere")
    failed = suiro("run", "nightly", "--json")
    assert failed.json["status"] == "failed" and failed.code == 2
    assert {task["task"]: task["status"] for task in failed.json["tasks"]} == {"orders": "succeeded", "items": "failed"}
    shop.change("ALTER TABLE elsewhere RENAME TO items")
    again = suiro("retry", failed.json["run"], "--json")
    assert (again.code, [task["task"] for task in again.json["tasks"]]) == (0, ["items"])
    assert again.json["retry_of"] == failed.json["run"]
    nothing = suiro("retry", again.json["run"])
    assert nothing.code == 1 and "no task that failed" in nothing.err


def test_an_append_that_was_published_before_it_failed_is_not_doubled_by_a_retry(
    suiro: Shell, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = "  j: {source: shop, destination: wh, tasks: [{stream: orders, write: append}]}\n"
    suiro("apply", shop.write(job))
    done = suiro("run", "j", "--json").json
    # as if the process had died after publishing, before it could say so
    from suiro.app.metadata import metadata

    _set_state(metadata(), done["run"], "failed")
    again = suiro("retry", done["run"], "--json")
    assert again.code == 0, again.out
    assert "nothing was done again" in again.json["tasks"][0]["notes"][0]
    assert shop.ask("SELECT count(*) FROM orders") == [(100,)]


def test_rejected_rows_are_carried_again_by_their_run(suiro: Shell, shop: Shop) -> None:
    shop.change("CREATE TABLE bills (id INTEGER PRIMARY KEY, amount TEXT)")
    shop.change("INSERT INTO bills SELECT id, CASE id WHEN 7 THEN 'unknown' ELSE amount END FROM orders")
    shop.execute("CREATE TABLE bills (id BIGINT, amount BIGINT)")
    suiro(
        "apply",
        shop.write(
            "  j: {source: shop, destination: wh, tasks: "
            "[{stream: bills, write: merge, drift: reject, most_rejected: 1%}]}\n"
        ),
    )
    done = suiro("run", "j", "--json")
    assert (done.code, done.json["tasks"][0]["rows_rejected"]) == (3, 1)
    shop.execute("""UPDATE _suiro_rejected SET row = replace(row, '"unknown"', '"14"')""")
    again = suiro("retry", done.json["run"], "--rejected", "--json")
    assert (again.code, again.json["tasks"][0]["rows_written"]) == (0, 1)
    assert shop.ask("SELECT sum(amount) FROM bills") == [(10100,)]


@pytest.fixture(params=["duckdb", "postgres", "mariadb", "sqlite", "files"])
def there(request: pytest.FixtureRequest, shop: Shop) -> str:
    """A destination as YAML has it."""
    if request.param in ("postgres", "mariadb"):
        url: str = request.getfixturevalue(f"{request.param}_url")
        user, password, host, port, name = _parts(url)
        kind = "postgres" if request.param == "postgres" else "mysql"
        return f"{{type: {kind}, host: {host}, port: {port}, database: {name}, user: {user}, password: '{password}'}}"
    if request.param == "files":
        return f"{{type: files, location: '{shop.folder}/out'}}"
    return f"{{type: {request.param}, path: '{shop.folder}/there.{request.param}'}}"


def test_positions_are_set_and_reset(suiro: Shell, shop: Shop, there: str) -> None:
    file = shop.folder / "positions.yaml"
    file.write_text(
        f"connections:\n  shop: {{type: sqlite, path: '{shop.source}'}}\n  there: {there}\n"
        "jobs:\n  j:\n    source: shop\n    destination: there\n    tasks:\n"
        "      - {stream: orders, read: incremental, cursor: id, write: merge}\n      - {stream: items}\n"
    )
    assert suiro("apply", str(file)).code == 0
    assert "no position yet" in suiro("position", "set", "j", "orders", "{}").err
    assert suiro("run", "j").code == 0
    (shown,) = suiro("position", "show", "j", "orders", "--json").json
    back = {**shown["position"], "cursor": 90, "boundary": {}}
    said = suiro("position", "set", "j", "orders", json.dumps(back))
    assert said.code == 0, said.err
    again = suiro("run", "j", "--task", "orders", "--json").json["tasks"][0]
    assert (again["rows_read"], again["rows_written"]) == (11, 0), again["error"]
    wrong = suiro("position", "set", "j", "orders", '{"lsn": 5}')
    assert wrong.code == 2 and "has the parts" in wrong.err
    assert suiro("position", "set", "j", "items", "{}").code == 2
    suiro("position", "reset", "j", "orders")
    anew = suiro("run", "j", "--task", "orders", "--json").json["tasks"][0]
    assert (anew["rows_read"], anew["receipt"]["unchanged"]) == (100, 100)
    shop.add(101, 103)
    assert suiro("run", "j", "--task", "orders", "--json").json["tasks"][0]["rows_written"] == 3


def test_a_run_is_cancelled_from_another_process(suiro: Shell, shop: Shop, slow_url: str, tmp_path: Path) -> None:
    _slow_job(suiro, shop, slow_url, tmp_path)
    going = subprocess.Popen([sys.executable, "-m", "suiro.cli.main", "run", "slow", "--json"], stdout=subprocess.PIPE)
    run = _until_running(suiro)
    busy = suiro("run", "slow")
    assert busy.code == 1 and f"is running already, as run {run}" in busy.err
    assert "running" in suiro("show", run).err
    assert suiro("cancel", run).code == 0
    out, _ = going.communicate(timeout=60)
    assert (going.returncode, json.loads(out)["status"]) == (130, "cancelled")
    assert "had ended already" in suiro("cancel", run).err


def test_ctrl_c_stops_a_run_and_leaves_nothing(suiro: Shell, shop: Shop, slow_url: str, tmp_path: Path) -> None:
    _slow_job(suiro, shop, slow_url, tmp_path)
    going = subprocess.Popen([sys.executable, "-m", "suiro.cli.main", "run", "slow", "--json"], stdout=subprocess.PIPE)
    _until_running(suiro)
    going.send_signal(signal.SIGINT)
    out, _ = going.communicate(timeout=60)
    assert (going.returncode, json.loads(out)["status"]) == (130, "cancelled")
    assert not shop.warehouse.exists() or shop.ask(
        "SELECT count(*) FROM duckdb_tables() WHERE table_name = 'slow'"
    ) == [(0,)]


def test_a_killed_process_is_replaced_and_the_log_tells(
    suiro: Shell, shop: Shop, slow_url: str, tmp_path: Path
) -> None:
    _slow_job(suiro, shop, slow_url, tmp_path, seconds=3)
    import psutil

    killed: list[int] = []

    def kill() -> None:
        me = psutil.Process()
        for _ in range(400):
            carriers = [c for c in me.children(recursive=True) if "suiro.app.carrier" in " ".join(c.cmdline())]
            if carriers:
                time.sleep(1.0)
                carriers[0].kill()
                killed.append(carriers[0].pid)
                return
            time.sleep(0.02)

    thread = threading.Thread(target=kill)
    thread.start()
    done = suiro("run", "slow", "--json")
    thread.join()
    assert killed and (done.code, done.json["status"]) == (0, "succeeded")
    assert "was ended by signal 9" in suiro("logs", done.json["run"]).out
    assert shop.ask("SELECT count(*) FROM slow") == [(1,)]


@pytest.fixture
def orders_url(postgres_url: str) -> str:
    with psycopg.connect(postgres_url) as session:
        session.execute("CREATE TABLE orders (id int PRIMARY KEY, amount numeric(12,2))")
        session.execute("INSERT INTO orders SELECT n, n * 1.5 FROM generate_series(1, 1000) n")
    return postgres_url


@pytest.fixture
def slow_url(postgres_url: str) -> str:
    return postgres_url


def _slow_job(suiro: Shell, shop: Shop, url: str, folder: Path, *, seconds: float = 60) -> None:
    with psycopg.connect(url) as session:
        session.execute(f"CREATE VIEW slow AS SELECT 1 AS id, pg_sleep({seconds})::text AS waited".encode())
    user, password, host, port, name = _parts(url)
    (folder / "slow.yaml").write_text(
        f"connections:\n  pg: {{type: postgres, host: {host}, port: {port}, database: {name}, user: {user}, "
        f"password: '{password}'}}\n  wh: {{type: duckdb, path: '{shop.warehouse}'}}\n"
        "jobs:\n  slow: {source: pg, destination: wh, tasks: [{stream: public.slow}]}\n"
    )
    assert suiro("apply", str(folder / "slow.yaml")).code == 0


def _with(file: Path, old: str, new: str) -> Path:
    file.write_text(file.read_text().replace(old, new))
    return file


def _until_running(suiro: Shell) -> str:
    for _ in range(200):
        found = suiro("runs", "--json").json
        if found and found[0]["status"] == "running":
            time.sleep(1.0)
            return str(found[0]["run"])
        time.sleep(0.1)
    pytest.fail("the run never began")


def _parts(url: str) -> tuple[str, str, str, int, str]:
    found = urlsplit(url)
    assert found.port is not None
    return found.username or "", found.password or "", found.hostname or "", found.port, found.path.strip("/")


def _set_state(known: Any, run: str, state: str) -> None:
    from sqlalchemy import text

    with known.database.begin() as connection:
        connection.execute(text("UPDATE task_run SET state = :state WHERE run_id = :run"), {"state": state, "run": run})
        connection.execute(text("UPDATE run SET state = :state WHERE id = :run"), {"state": state, "run": run})
