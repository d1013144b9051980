"""Steps 004-09 to 004-14, 004-16 to 004-18 and 004-22 to 004-29: loads as Treasure Data's command line makes them.

The document loads Intercom's users; here a table of a PostgreSQL database is the source: Intercom has no connector yet.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from founding import Home
from servers import PostgresServer
from shell import Said

DATABASE, TABLE = "td_sample_db", "td_sample_table"
PLACE = ("--database", DATABASE, "--table", TABLE)
BEGIN = 1767225600  #: 2026-01-01T00:00:00Z
HOUR = 3600
TOKYO = 9 * HOUR


class Loads:
    """A Suiro home with its warehouse, and load.yml files about the table `users` of a database."""

    def __init__(self, home: Home, url: str) -> None:
        self.home, self._known = home, psycopg.conninfo.conninfo_to_dict(url)
        home.folder.mkdir()
        with psycopg.connect(url) as session:
            session.execute(
                "CREATE TABLE users (id bigint PRIMARY KEY, email text, created_at timestamptz, updated_at timestamp)"
            )
            session.execute(
                "INSERT INTO users SELECT n, 'u' || n || '@example.org', to_timestamp(%s + n), "
                "timestamp '2026-01-01' + n * interval '1 hour' FROM generate_series(1, 5) n",
                [BEGIN],
            )

    def file(self, more: str = "", out: str = "mode: append", name: str = "load.yml") -> str:
        """A load.yml of these settings of `in` and `out`."""
        told = {"host": "host", "port": "port", "user": "user", "password": "password", "database": "dbname"}
        lines = [f"  {key}: '{self._known[known]}'" for key, known in told.items()]
        path = self.home.folder / name
        path.write_text("\n".join(["in:", "  type: postgresql", *lines, "  table: users", more, "out:", f"  {out}\n"]))
        return str(path)

    def __call__(self, command: str, *arguments: str) -> Said:
        """`suiro connector`, which must do it."""
        said = self.home("connector", command, *arguments)
        assert said.code == 0, said.err
        return said

    def refused(self, command: str, *arguments: str) -> str:
        """What it says when it can't be done and nothing was touched."""
        said = self.home("connector", command, *arguments)
        assert said.code == 2, said.out
        return said.err

    def rows(self, columns: str = "*", table: str = TABLE) -> list[dict[str, Any]]:
        """What `suiro sql` finds in the warehouse."""
        said = self.home("sql", "warehouse", f"SELECT {columns} FROM {DATABASE}.{table}", "--json")
        assert said.code == 0, said.err
        found: list[dict[str, Any]] = said.json
        return found


@pytest.fixture(scope="module")
def loads(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loads]:
    url = postgres.create_database()
    yield Loads(Home(tmp_path_factory.mktemp("treasure") / "suiro"), url)
    postgres.drop_database(url)


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """What was said when the table wasn't there, and what the table held after each load into it."""

    absent: str
    new: list[dict[str, Any]]
    appended: list[dict[str, Any]]
    replaced: list[dict[str, Any]]
    kept: list[dict[str, Any]]
    again: list[dict[str, Any]]
    began: float


@pytest.fixture(scope="module")
def issued(loads: Loads) -> Issued:
    """Five loads into one table, one after the other."""
    began = time.time()
    at_created = (*PLACE, "--time-column", "created_at")

    def issue(*arguments: str) -> list[dict[str, Any]]:
        loads("issue", *arguments)
        return loads.rows()

    return Issued(
        began=began,
        absent=loads.refused("issue", loads.file(), *at_created),
        new=issue(loads.file(), *at_created, "--auto-create-table"),
        appended=issue(loads.file(), *PLACE),
        replaced=issue(
            loads.file(out="mode: replace\n  default_timezone: Asia/Tokyo"), *PLACE, "--time-column", "updated_at"
        ),
        kept=issue(loads.file("  where: id > 100", "mode: replace_on_new_data"), *PLACE),
        again=issue(loads.file("  select: email\n  where: id <= 2", "mode: replace_on_new_data"), *PLACE),
    )


def column(rows: list[dict[str, Any]], name: str) -> list[Any]:
    return sorted(row[name] for row in rows)


# -- where rows go, and how ------------------------------------------------------------------------------------------


def test_004_09_rows_go_to_a_new_table_of_a_new_database_or_to_one_that_is_there(issued: Issued) -> None:
    assert (len(issued.new), len(issued.appended)) == (5, 10)


def test_004_10_append_adds_rows(issued: Issued) -> None:
    assert column(issued.appended, "id") == sorted([1, 2, 3, 4, 5] * 2)


def test_004_11_replace_takes_the_place_of_what_was_there(issued: Issued) -> None:
    assert column(issued.replaced, "id") == [1, 2, 3, 4, 5]


def test_004_12_replace_on_new_data_keeps_the_table_when_nothing_came(issued: Issued) -> None:
    assert issued.kept == issued.replaced
    assert column(issued.again, "email") == ["u1@example.org", "u2@example.org"]


def test_004_13_time_is_the_named_column_else_the_first_that_can_be_else_the_load_time(issued: Issued) -> None:
    assert column(issued.new, "time") == [BEGIN + n for n in range(1, 6)]
    assert column(issued.appended, "time") == [1, 2, 3, 4, 5, *(BEGIN + n for n in range(1, 6))]
    assert all(issued.began - 1 <= at <= time.time() for at in column(issued.again, "time"))


def test_004_13_a_time_column_of_text_is_refused(loads: Loads) -> None:
    text = loads.refused("issue", loads.file(), *PLACE, "--time-column", "email", "--auto-create-table")
    assert "column email is a string" in text and "a long or a timestamp" in text


def test_004_14_the_storage_has_its_own_time_zone(issued: Issued) -> None:
    assert column(issued.replaced, "time") == [BEGIN + n * HOUR - TOKYO for n in range(1, 6)]


# -- preview and issue -----------------------------------------------------------------------------------------------


def test_004_22_a_preview_has_heads_of_name_and_type(loads: Loads) -> None:
    shown = loads("preview", loads.file()).out
    assert "| id:long | email:string" in shown and "created_at:timestamp" in shown and "u5@example.org" in shown
    (first, *_) = loads("preview", loads.file(), "--json").json
    assert list(first) == ["id:long", "email:string", "created_at:timestamp", "updated_at:timestamp"]


def test_004_22_a_file_is_previewed_too(loads: Loads) -> None:
    (loads.home.folder / "users_1.csv").write_text("id,email,at\n33,x@example.org,2026-01-01 00:00:00\n")
    seed = loads.home.folder / "seed.yml"
    seed.write_text(f"in:\n  type: file\n  path_prefix: {loads.home.folder}/users_\nout:\n  mode: append\n")
    loads("guess", str(seed), "-o", str(loads.home.folder / "guessed.yml"))
    (row,) = loads("preview", str(loads.home.folder / "guessed.yml"), "--json").json
    assert list(row)[:3] == ["id:long", "email:string", "at:timestamp"] and row["email:string"] == "x@example.org"


def test_004_23_an_issue_loads_into_the_named_table_by_the_named_time(issued: Issued, loads: Loads) -> None:
    assert column(issued.new, "email") == [f"u{n}@example.org" for n in range(1, 6)]
    assert {row["time"] - BEGIN: row["id"] for row in issued.new} == {n: n for n in range(1, 6)}


def test_004_24_a_table_that_is_not_there_is_refused_or_made(issued: Issued) -> None:
    assert f"there is no table {TABLE} in the database {DATABASE}" in issued.absent
    assert "--auto-create-table" in issued.absent
    assert len(issued.new) == 5


# -- schedules -------------------------------------------------------------------------------------------------------


Create = Callable[..., Said]


def place(loads: Loads) -> tuple[str, ...]:
    """What follows a schedule's name and times."""
    return (DATABASE, "scheduled", loads.file(), "--auto-create-table")


@pytest.fixture
def create(loads: Loads, request: pytest.FixtureRequest) -> Iterator[Create]:
    """Makes a schedule, deleted after the test; its name comes from the test's."""
    made: list[str] = []

    def schedule(cron: str, *options: str, name: str = "daily_import") -> Said:
        said = loads("create", name, cron, *place(loads), *options)
        made.append(name)
        return said

    yield schedule
    for name in made:
        loads.home("connector", "delete", name)


def test_004_16_a_schedule_is_a_word_or_cron(create: Create, loads: Loads) -> None:
    for at, cron in enumerate(("@hourly", "@daily", "@monthly", "10 0 * * *")):
        assert f"Cron     : {cron}" in create(cron, name=f"import_{at}").out
    listed = {one["name"]: one["cron"] for one in loads("list", "--json").json}
    assert listed == {"import_0": "@hourly", "import_1": "@daily", "import_2": "@monthly", "import_3": "10 0 * * *"}
    assert "is no schedule" in loads.refused("create", "x", "often", *place(loads))


def test_004_17_a_schedule_may_be_delayed(create: Create) -> None:
    shown = create("10 0 * * *", "-D", "300").out
    assert "Delay    : 300" in shown and " 00:15:00 +0000" in shown


def test_004_18_a_schedule_has_a_time_zone_of_its_own(create: Create) -> None:
    shown = create("10 0 * * *", "--timezone", "Asia/Tokyo").out
    assert "Timezone : Asia/Tokyo" in shown and " 00:10:00 +0900" in shown


def test_004_25_a_schedule_is_created_in_utc_or_an_iana_zone(create: Create, loads: Loads) -> None:
    assert "Timezone : UTC" in create("10 0 * * *").out
    assert "America/Los_Angeles" in create("10 0 * * *", "-t", "America/Los_Angeles", name="west").out
    for zone in ("PST", "CST"):
        said = loads.refused("create", "x", "@daily", *place(loads), "-t", zone)
        assert f"'{zone}' is no IANA time zone" in said and "Asia/Tokyo" in said


def test_004_26_schedules_are_listed(create: Create, loads: Loads) -> None:
    create("10 0 * * *", "-t", "Asia/Tokyo", "-D", "300")
    assert f"| daily_import | 10 0 * * * | Asia/Tokyo | 300   | {DATABASE} | scheduled |" in loads("list").out


def test_004_27_a_schedule_is_shown_with_its_settings_and_without_its_secrets(create: Create, loads: Loads) -> None:
    create("10 0 * * *")
    shown = loads("show", "daily_import").out
    for words in ("Name     : daily_import", f"Database : {DATABASE}", "type: postgresql", "password: '***'"):
        assert words in shown
    assert "there is no connector session 'nightly'" in loads.refused("show", "nightly")


def test_004_28_a_history_leads_to_the_job_behind_each_line(create: Create, loads: Loads) -> None:
    create("10 0 * * *")
    loads("run", "daily_import")
    (line,) = loads("history", "daily_import", "--json").json
    assert (line["status"], line["records"], line["database"], line["table"]) == ("success", 5, DATABASE, "scheduled")
    assert f"| {line['id']} | success | 5 " in loads("history", "daily_import").out
    job = loads.home("td", "job", line["id"])
    assert job.code == 0 and "Session   : daily_import" in job.out and "Records   : 5" in job.out
    assert len(loads.rows(table="scheduled")) == 5


def test_004_29_a_schedule_is_deleted(create: Create, loads: Loads) -> None:
    create("10 0 * * *")
    assert loads("delete", "daily_import").out.startswith("Deleted session")
    assert loads("list", "--json").json == []
    assert "there is no connector session 'daily_import'" in loads.refused("history", "daily_import")
