"""Databases loaded as Treasure Data's commands load them, once and again, over both metadata databases."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest

from shell import Shell

UNKNOWN = "in:\n  type: marketo\n  access_token: xxxxxxx\n  target: leads\nout:\n mode: append\n"


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
    """A PostgreSQL database with users, and load.yml files about it."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder = url, folder
        self.known = psycopg.conninfo.conninfo_to_dict(url)
        self.change(
            "CREATE TABLE users (id int PRIMARY KEY, email text, price numeric(12,2), created_at timestamptz, "
            "updated_at timestamp, extra jsonb)"
        )
        self.add(1, 5)

    @property
    def password(self) -> str:
        return str(self.known["password"])

    def change(self, sql: str) -> None:
        with psycopg.connect(self.url) as session:
            session.execute(sql.encode())

    def add(self, start: int, stop: int) -> None:
        self.change(
            "INSERT INTO users SELECT n, 'u' || n, n * 1.5, to_timestamp(1767225600 + n), "
            f"timestamp '2026-01-01' + n * interval '1 hour', '{{}}' FROM generate_series({start}, {stop}) n"
        )

    def write(self, more: str = "  table: users\n", rest: str = "out:\n  mode: append\n", password: str = "") -> str:
        path = self.folder / "load.yml"
        k = self.known
        path.write_text(
            f"# the shop\nin:\n  type: postgresql\n  host: {k['host']}\n  port: {k['port']}\n  user: {k['user']}\n"
            f"  password: '{password or self.password}'\n  database: {k['dbname']}\n{more}{rest}"
        )
        return str(path)


@pytest.fixture
def shop(postgres_url: str, tmp_path: Path) -> Shop:
    return Shop(postgres_url, tmp_path)


def ask(home: Path, sql: str) -> list[tuple[Any, ...]]:
    """The embedded warehouse's answer."""
    with duckdb.connect(str(home / "warehouse.duckdb")) as db:
        return db.sql(sql).fetchall()


def prepare(home: Path, sql: str = "CREATE SCHEMA td_db; CREATE TABLE td_db.users (time BIGINT)") -> None:
    """A table in the embedded warehouse, as users make it beforehand."""
    home.mkdir(exist_ok=True)
    with duckdb.connect(str(home / "warehouse.duckdb")) as db:
        db.execute(sql)


def test_an_application_without_a_connector_is_refused_by_name(suiro: Shell, tmp_path: Path) -> None:
    load = tmp_path / "load.yml"
    load.write_text(UNKNOWN)
    arguments = {
        "preview": [str(load)],
        "guess": [str(load)],
        "issue": [str(load), "--database", "td_sample_db", "--table", "td_sample_table", "--time-column", "created_at"],
        "create": ["daily_import", "10 0 * * *", "td_sample_db", "td_sample_table", str(load)],
    }
    for command, given in arguments.items():
        said = suiro("connector", command, *given)
        assert said.code == 2, command
        assert f"{load}, line 2: in.type: there is no connector for marketo here" in said.err
        assert "xxxxxxx" not in said.err
    assert suiro("connector", "list", "--json").json == []


def test_a_table_is_guessed_previewed_and_issued(suiro: Shell, shop: Shop, suiro_home: Path) -> None:
    load = shop.write()
    whole = suiro("connector", "guess", load, "-o", str(shop.folder / "whole.yml"))
    assert whole.code == 0 and "public.users has 6 columns" in whole.err
    assert "# the shop" in (shop.folder / "whole.yml").read_text()
    heads = suiro("connector", "preview", load, "-n", "1", "--json").json[0]
    assert heads == {
        "id:long": 1,
        "email:string": "u1",
        "price:double": "1.50",
        "created_at:timestamp": "2026-01-01 00:00:01.000000 UTC",
        "updated_at:timestamp": "2026-01-01 01:00:00",
        "extra:json": "{}",
    }
    prepare(suiro_home)
    done = suiro("connector", "issue", load, "--database", "td_db", "--table", "users", "--time-column", "created_at")
    assert done.code == 0, done.err
    assert ask(suiro_home, "SELECT id, price, time FROM td_db.users ORDER BY id LIMIT 2") == [
        (1, pytest.approx(1.5), 1767225601),
        (2, pytest.approx(3.0), 1767225602),
    ]
    for path in suiro_home.rglob("*"):
        assert not path.is_file() or shop.password.encode() not in path.read_bytes()


def test_queries_columns_and_conditions_are_read(suiro: Shell, shop: Shop) -> None:
    def rows(more: str) -> Any:
        said = suiro("connector", "preview", shop.write(more), "--json")
        assert said.code == 0, said.err
        return said.json

    assert rows("  table: users\n  select: 'id, email AS mail'\n  where: 'id > 4'\n") == [
        {"id:long": 5, "mail:string": "u5"}
    ]
    assert rows("  query: SELECT count(*) AS n FROM users\n") == [{"n:long": 5}]
    assert len(rows("  table: users\n  where: id <= 2\n  order_by: id DESC\n")) == 2
    assert "id:string" in rows("  table: users\n  column_options: {id: {type: string}}\n")[0]
    for more, words in (
        ("  table: users\n  query: SELECT 1\n", "in.table: it has no place beside query"),
        ("  tabel: users\n", "in.tabel: there is no key 'tabel' Did you mean table?"),
        ("  table: users\n  after_select: DROP TABLE users\n", "in.after_select: after_select can't be followed here"),
        ("  table: users\n  options: {a: b}\n", "in.options: options can't be followed here"),
        ("", "in: it has neither table nor query"),
        ("  table: usres\n", "there is no stream 'public.usres' here"),
    ):
        said = suiro("connector", "preview", shop.write(more))
        assert said.code == 2 and words in said.err, said.err


def test_a_schedule_is_created_listed_shown_run_and_deleted(suiro: Shell, shop: Shop, suiro_home: Path) -> None:
    load = shop.write("  table: users\n  incremental: true\n  incremental_columns: [updated_at, id]\n")
    absent = suiro("connector", "create", "daily", "10 0 * * *", "td_db", "users", load)
    assert absent.code == 2 and "there is no table users in the database td_db of warehouse" in absent.err
    prepare(suiro_home)
    options = ["-t", "Asia/Tokyo", "-D", "300", "--time-column", "created_at"]
    made = suiro("connector", "create", "daily", "10 0 * * *", "td_db", "users", load, *options)
    assert made.code == 0, made.err
    for line in ("Name     : daily", "Cron     : 10 0 * * *", "Timezone : Asia/Tokyo", "Delay    : 300"):
        assert line in made.out
    assert "00:15:00 +0900" in made.out and "No server is running: start one with suiro up" in made.err
    assert "# the shop" in made.out and "password: '***'" in made.out and shop.password not in made.out
    twice = suiro("connector", "create", "daily", "@daily", "td_db", "users", load)
    assert twice.code == 2 and "there is a job daily already" in twice.err
    taken = suiro("connector", "create", "daily.in", "@daily", "td_db", "users", load)
    assert taken.code == 0 and suiro("connector", "delete", "daily.in").code == 0
    (listed,) = suiro("connector", "list", "--json").json
    assert (listed["name"], listed["cron"], listed["database"], listed["table"]) == (
        "daily",
        "10 0 * * *",
        "td_db",
        "users",
    )
    assert "| daily | 10 0 * * * | Asia/Tokyo | 300   | td_db    | users |" in suiro("connector", "list").out

    first = suiro("connector", "run", "daily")
    assert first.code == 0, first.err
    shop.add(6, 8)
    again = suiro("connector", "run", "daily", "2026-01-02 00:00:00", "--wait")
    assert again.code == 0 and "doesn't depend on the time" in again.err
    assert ask(suiro_home, "SELECT count(*), count(DISTINCT id), max(time) FROM td_db.users") == [(8, 8, 1767225608)]
    runs = suiro("connector", "history", "daily", "--json").json
    assert [run["session_time"] for run in runs] == ["2026-01-01T15:00:00+00:00", None]  # of the time that was given
    assert [(run["status"], run["records"], run["database"], run["table"]) for run in runs] == [
        ("success", 3, "td_db", "users"),
        ("success", 5, "td_db", "users"),
    ]
    assert f"| {runs[0]['id']} | success | 3 " in suiro("connector", "history", "daily").out
    job = suiro("td", "job", runs[0]["id"])
    assert "Session   : daily" in job.out and "Records   : 3" in job.out
    shown = suiro("connector", "show", "daily")
    assert shown.out.endswith('Config Diff\n---\n{"in": {"last_record": ["2026-01-01T08:00:00"]}}\n')

    gone = suiro("connector", "delete", "daily")
    assert gone.code == 0 and gone.out.startswith("Deleted session\n--\nName     : daily")
    assert suiro("connector", "list", "--json").json == []
    assert suiro("export").out.strip() in ("", "{}")
    unknown = suiro("connector", "show", "daily")
    assert unknown.code == 2 and "there is no connector session 'daily'" in unknown.err
    assert suiro("td", "job", runs[0]["id"], "--json").json["status"] == "success"


def test_a_load_is_updated_and_begins_where_its_config_diff_says(suiro: Shell, shop: Shop, suiro_home: Path) -> None:
    prepare(suiro_home)
    more = "  table: users\n  incremental: true\n  incremental_columns: [id]\n"
    suiro("connector", "create", "daily", "@daily", "td_db", "users", shop.write(more))
    assert suiro("connector", "run", "daily").code == 0
    changed = suiro(
        "connector", "update", "daily", "-s", "@hourly", "-z", "America/Los_Angeles", "-D", "60", "-n", "hourly"
    )
    assert changed.code == 0, changed.err
    for line in ("Name     : hourly", "Cron     : @hourly", "Timezone : America/Los_Angeles", "Delay    : 60"):
        assert line in changed.out
    diff = shop.folder / "diff.yml"
    diff.write_text("in:\n  last_record: [3]\n")
    set_back = suiro("connector", "update", "hourly", "--config-diff", str(diff))
    assert set_back.code == 0 and "last_record:" in set_back.out and "password: '***'" in set_back.out
    assert suiro("connector", "run", "hourly").code == 0
    assert ask(suiro_home, "SELECT id, count(*) FROM td_db.users GROUP BY id ORDER BY id") == [
        (1, 1),
        (2, 1),
        (3, 1),
        (4, 2),
        (5, 2),
    ]
    assert [run["records"] for run in suiro("connector", "history", "hourly", "--json").json] == [2, 5]
    merged = shop.write("  table: users\n", "out:\n  mode: merge\n  merge_keys: [id]\n", password="***")
    prepare(suiro_home, "CREATE TABLE td_db.latest (time BIGINT)")
    suiro("connector", "update", "hourly", "-c", merged, "-t", "latest", "-T", "created_at", "-s", "")
    for _ in range(2):
        assert suiro("connector", "run", "hourly").code == 0
    assert ask(suiro_home, "SELECT count(*), max(time) FROM td_db.latest") == [(5, 1767225605)]
    assert suiro("connector", "show", "hourly", "--json").json["times"] == []
    for arguments, words in (
        ([], "there is nothing to update"),
        (["-z", "PST"], "there is no schedule whose timezone could change"),
        (["-s", "10 25 * * *"], "is no schedule"),
        (["-n", "a b"], "can't be a name"),
        (["-d", "nowhere"], "there is no table latest in the database nowhere"),
    ):
        said = suiro("connector", "update", "hourly", *arguments)
        assert said.code == 2 and words in said.err, said.err


@pytest.mark.parametrize(
    ("cron", "zone", "words"),
    [
        ("@daily", "PST", "'PST' is no IANA time zone"),
        ("@daily", "Asia/Tokio", "Did you mean Asia/Tokyo?"),
        ("@sometimes", "UTC", "'@sometimes' is no schedule"),
        ("10 0 * *", "UTC", "is no schedule"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused_and_nothing_is_kept(
    suiro: Shell, shop: Shop, suiro_home: Path, cron: str, zone: str, words: str
) -> None:
    prepare(suiro_home)
    said = suiro("connector", "create", "daily", cron, "td_db", "users", shop.write(), "-t", zone)
    assert said.code == 2 and words in said.err, said.err
    assert suiro("export").out.strip() in ("", "{}")


def test_replace_and_its_kinds(suiro: Shell, shop: Shop, suiro_home: Path) -> None:
    prepare(suiro_home)
    where = ["--database", "td_db", "--table", "users"]
    for mode in ("replace", "truncate"):
        for _ in range(2):
            done = suiro("connector", "issue", shop.write(rest=f"out:\n  mode: {mode}\n"), *where)
            assert done.code == 0, done.err
        assert ask(suiro_home, "SELECT count(*) FROM td_db.users") == [(5,)]
    none = shop.write("  table: users\n  where: id > 100\n", "out:\n  mode: replace_on_new_data\n")
    assert suiro("connector", "issue", none, *where).code == 0
    assert ask(suiro_home, "SELECT count(*) FROM td_db.users") == [(5,)]
    empty = shop.write("  table: users\n  where: id > 100\n", "out:\n  mode: replace\n")
    assert suiro("connector", "issue", empty, *where).code == 0
    assert ask(suiro_home, "SELECT count(*) FROM td_db.users") == [(0,)]
    only_new = shop.write("  table: users\n  incremental: true\n", "out:\n  mode: replace\n")
    said = suiro("connector", "create", "x", "@daily", "td_db", "users", only_new)
    assert said.code == 2 and "out.mode: an incremental load brings what is new alone" in said.err


def test_a_last_record_of_several_columns_is_where_rows_begin(suiro: Shell, shop: Shop) -> None:
    shop.change("UPDATE users SET updated_at = '2026-01-01 03:00:00' WHERE id IN (3, 4)")
    more = (
        "  table: users\n  incremental: true\n  incremental_columns: [updated_at, id]\n"
        "  last_record: ['2026-01-01 03:00:00', 3]\n"
    )
    rows = suiro("connector", "preview", shop.write(more), "--json").json
    assert sorted(row["id:long"] for row in rows) == [4, 5]
    wrong = suiro("connector", "preview", shop.write(more.replace(", 3]", "]")))
    assert wrong.code == 2 and "in.last_record: it has 1 values for 2 columns" in wrong.err


def test_rows_go_to_a_chosen_database_and_references_are_followed(
    suiro: Shell, shop: Shop, suiro_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THE_PASSWORD", shop.password)
    load = shop.write(password="${env:THE_PASSWORD}")
    arguments = ["daily", "", "td_db", "users", load, "--auto-create-table", "--destination", shop.url]
    made = suiro("connector", "create", *arguments)
    assert made.code == 0, made.err
    assert "${env:THE_PASSWORD}" in made.out and "Next     :\n" in made.out
    done = suiro("connector", "run", "daily", "--json")
    assert (done.code, done.json["status"]) == (0, "succeeded"), done.out
    with psycopg.connect(shop.url) as session:
        assert session.execute("SELECT count(*), min(time) FROM td_db.users").fetchall() == [(5, 1)]
    for path in suiro_home.rglob("*"):
        assert not path.is_file() or shop.password.encode() not in path.read_bytes()
    monkeypatch.setenv("SUIRO_TD_DESTINATION", "daily.out")
    where = ["--database", "td_db", "--table", "users"]
    assert suiro("connector", "issue", shop.write(), *where).code == 0
    used = shop.folder / "load.yml"
    used.write_text("in: {type: postgresql, td_authentication_id: daily.in, table: users}\n")
    assert suiro("connector", "issue", str(used), *where).code == 0
    used.write_text("in: {type: postgresql, td_authentication_id: 255574, table: users}\n")
    said = suiro("connector", "issue", str(used), *where)
    assert said.code == 2 and "there is no connection '255574' to PostgreSQL here" in said.err
    monkeypatch.setenv("THE_PASSWORD", "wrong")
    failed = suiro("connector", "run", "daily")
    assert failed.code == 1 and "refused user" in failed.err
    assert suiro("connector", "history", "daily", "--json").json[0]["status"] == "error"


def test_a_connection_of_the_users_own_is_not_taken(suiro: Shell, shop: Shop, suiro_home: Path, tmp_path: Path) -> None:
    prepare(suiro_home)
    (tmp_path / "c.yaml").write_text(f"connections:\n  daily.in: {{type: sqlite, path: {tmp_path}/x.sqlite}}\n")
    suiro("apply", str(tmp_path / "c.yaml"))
    said = suiro("connector", "create", "daily", "@daily", "td_db", "users", shop.write())
    assert said.code == 2 and "there is a connection daily.in already" in said.err


def test_files_are_loaded_as_they_come(suiro: Shell, tmp_path: Path, suiro_home: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "orders-1.jsonl").write_text('{"id": 1, "at": "2026-01-01T00:00:00Z"}\n')
    seed, load = tmp_path / "seed.yml", tmp_path / "load.yml"
    seed.write_text(json.dumps({"config": {"in": {"type": "file", "path_prefix": f"{tmp_path}/in/"}}}))
    assert suiro("connector", "guess", str(seed), "-o", str(load)).code == 0
    made = suiro("connector", "create", "orders", "@hourly", "shop", "orders", str(load), "--auto-create-table")
    assert made.code == 0, made.err
    assert suiro("connector", "run", "orders").code == 0
    (tmp_path / "in" / "orders-2.jsonl").write_text('{"id": 2, "at": "2026-01-02T00:00:00Z"}\n')
    assert suiro("connector", "run", "orders").code == 0
    assert suiro("connector", "run", "orders").code == 0
    assert ask(suiro_home, "SELECT list(id ORDER BY id) FROM shop.orders") == [([1, 2],)]
    records = [run["records"] for run in suiro("connector", "history", "orders", "--json").json]
    assert records == [0, 1, 1]
