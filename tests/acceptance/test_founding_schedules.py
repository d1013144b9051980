"""Steps 000-16, 001-27, 003-04, 003-16, 004-15 to 004-18, 004-25 and 004-30: schedules that fire by themselves.

A scheduler and a runner work in processes of their own, by a clock that begins shortly before the moment, or runs fast:
nobody waits for midnight. The schedules count from a moment that suits that clock, as if they had been stored then.
"""

from __future__ import annotations

import csv
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest

from clevertap_calls import open_project
from founding import Home, Town
from servers import PostgresServer
from serving import clock, count_from, ended, fired, serving, wait_until
from suiro.sandbox.server import Running

DATABASE = "td_sample_db"
HOUR = timedelta(hours=1)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def moments(found: list[dict[str, Any]]) -> list[tuple[datetime, str]]:
    """When moments were scheduled for, and what became of them."""
    return [(at(one["scheduled_for"]), one["outcome"]) for one in found]


# -- 000, 001: jobs --------------------------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "suiro")


def test_000_16_a_job_has_a_schedule_that_is_shown_paused_resumed_and_fired(home: Home, tmp_path: Path) -> None:
    """The document's systems are QuickBooks and BigQuery; a schedule is the same whatever its job carries."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "customers.csv").write_text("id,name\n1,山田\n2,佐藤\n", "utf-8")
    nightly = {"cron": "10 0 * * *", "timezone": "Asia/Tokyo"}
    job = {"source": f"file://{tmp_path}/in", "destination": "warehouse", "schedule": nightly}
    home.apply(jobs={"nightly": {**job, "tasks": [{"stream": "customers"}]}})
    (shown,) = home("schedule", "list", "--json").json
    assert (shown["job"], shown["cron"], shown["timezone"], shown["paused_at"]) == (
        "nightly", "10 0 * * *", "Asia/Tokyo", None,
    )  # fmt: skip
    assert shown["next"][0][10:] == "T00:10:00+09:00" and len(shown["next"]) == 3
    assert "No server is running: start one with suiro up" in home("schedule", "list").err

    assert "is paused" in home("schedule", "pause", "nightly").err
    begin = at("2031-05-02T00:00:00+09:00")
    count_from(home, begin)
    with serving(home, clock(begin + timedelta(minutes=10), before=0)):
        time.sleep(2)
        assert home("schedule", "list").err == ""  # a server watches the clock
    assert fired(home, "nightly") == []
    assert home("schedule", "resume", "nightly", "--json").json["paused_at"] is None
    count_from(home, begin)
    with serving(home, clock(begin + timedelta(minutes=10))):
        (run,) = ended(home, "nightly")
    assert (run["status"], run["trigger"], run["scheduled_for"]) == (
        "succeeded",
        "schedule",
        "2031-05-01T15:10:00+00:00",
    )
    (one,) = fired(home, "nightly")
    assert (one["outcome"], one["run"]) == ("started", run["run"])
    rows = home("sql", "warehouse", "SELECT * FROM customers ORDER BY id", "--json").json
    assert [row["name"] for row in rows] == ["山田", "佐藤"]
    for command in ("list", "pause", "resume", "history"):
        wrong = home("schedule", command, "nigthly")
        assert wrong.code == 2 and "there is no job 'nigthly' Did you mean nightly?" in wrong.err


@pytest.fixture(scope="module")
def small_town(postgres: PostgresServer) -> Iterator[Town]:
    """A Salesforce and a database of this file's own: its leads change."""
    url = postgres.create_database()
    with Running(sizes={"Lead": 20, "customers": 2, "orders": 1, "products": 1}) as sandbox:
        found = Town(sandbox, url)
        yield found
        found.close()
    postgres.drop_database(url)


def test_001_27_a_scheduled_write_back_brings_scores_to_salesforce(home: Home, small_town: Town) -> None:
    town, known = small_town, sorted(lead["Id"] for lead in small_town.records("Lead"))
    town.execute('CREATE TABLE lead_reverse ("Id" text PRIMARY KEY, "LeadScore__c" numeric(3, 0))')
    for number, id_ in enumerate(known[:7]):
        town.execute(f"INSERT INTO lead_reverse VALUES ('{id_}', {40 + number})")
    task = {"stream": "public.lead_reverse", "table": "Lead", "write": "update", "key": ["Id"],
            "columns": {"LeadScore__c": "LeadScore__c"}}  # fmt: skip
    nightly = {"cron": "30 0 * * *", "timezone": "Asia/Tokyo", "delay": "5m"}
    home.apply(
        connections=town.connections(),
        jobs={"scores_to_crm": {"source": "pg", "destination": "crm", "schedule": nightly, "tasks": [task]}},
    )
    begin = at("2031-05-02T00:00:00+09:00")
    count_from(home, begin)
    with serving(home, clock(begin + timedelta(minutes=35))):
        (run,) = ended(home, "scores_to_crm")
    assert (run["status"], run["trigger"], run["scheduled_for"]) == (
        "succeeded",
        "schedule",
        "2031-05-01T15:30:00+00:00",
    )
    assert run["tasks"][0]["writeback"]["done"]["updated"] == 7
    scores = {lead["Id"]: lead["LeadScore__c"] for lead in town.records("Lead")}
    assert scores == {id_: 40 + number if number < 7 else None for number, id_ in enumerate(known)}

    town.execute(f'UPDATE lead_reverse SET "LeadScore__c" = 99 WHERE "Id" = \'{known[0]}\'')
    with serving(home, clock(begin + timedelta(hours=24, minutes=35))):  # another night, another server
        second = ended(home, "scores_to_crm", 2)[1]
    assert second["tasks"][0]["writeback"]["done"]["updated"] == 1
    assert [outcome for _, outcome in moments(fired(home, "scores_to_crm"))] == ["started", "started"]


# -- 003: exports and APIs -------------------------------------------------------------------------------------------


def test_003_04_exports_that_come_at_00_15_are_carried_at_00_30_each_file_once(home: Home, tmp_path: Path) -> None:
    """As the document has it: CleverTap writes at 00:15, the transfer is at 00:30, in Tokyo."""
    folder, begin = tmp_path / "exports", at("2031-05-02T00:00:00+09:00")
    there = f"file://{folder}/?file_names={quote('{}-{}-{stream}-{date}-{}-{}.csv.gz')}&file_date_column=exported_day"
    defaults = {"read": "incremental", "write": "append", "names": "snake"}
    schedule = {"cron": "30 0 * * *", "timezone": "Asia/Tokyo"}
    job = {"source": there, "destination": "warehouse", "type": "all", "defaults": defaults, "schedule": schedule}
    home.apply(jobs={"exports": job})
    count_from(home, begin)
    with open_project() as project:
        project.set(in_progress=0)
        events = ("Order Placed", "Charged")
        days = sorted({str(one["ts"])[:8] for name in events for one in project.records(name)})
        for night, some in enumerate((days[:10], days[10:])):
            project.export(folder, events=events, days=some, run=night + 1)  # what arrives at 00:15
            with serving(home, clock(begin + timedelta(days=night, minutes=30))):
                assert ended(home, "exports", night + 1)[night]["status"] == "succeeded"
        with serving(home, clock(begin + timedelta(days=2, minutes=30))):  # nothing came
            third = ended(home, "exports", 3)[2]
        assert third["status"] == "succeeded" and all(task["rows_written"] == 0 for task in third["tasks"])
        assert moments(fired(home, "exports")) == [
            (begin + timedelta(days=night, minutes=30), "started") for night in range(3)
        ]
        for name in events:
            table = name.lower().replace(" ", "_")
            rows = home("sql", "warehouse", f"SELECT ts FROM {table}", "--json").json
            assert Counter(int(row["ts"]) for row in rows) == Counter(one["ts"] for one in project.records(name))


def test_003_16_a_schedule_brings_events_and_profiles_into_a_folder_without_anybody(home: Home, tmp_path: Path) -> None:
    """And a night on which the API refuses is seen as a failed run, not in a log alone."""
    out, begin = tmp_path / "out", at("2031-05-02T00:00:00Z")
    with open_project() as project:
        project.set(in_progress=0)
        way = {**project.way, "events": ["Charged"], "wait_seconds": 0}
        schedule = {"cron": "15 0 * * *"}
        job = {"destination": f"file://{out}/?format=csv", "type": "all", "schedule": schedule}
        home.apply(
            connections={"events": way, "refused": {**way, "passcode": "wrong"}},
            jobs={"folder": {**job, "source": "events"}, "no_way_in": {**job, "source": "refused"}},
        )
        count_from(home, begin)
        with serving(home, clock(begin + timedelta(minutes=15))):
            (run,) = ended(home, "folder")
            (wrong,) = ended(home, "no_way_in")
        assert run["status"] == "succeeded", run
        with open(out / "Charged.csv", encoding="utf-8", newline="") as lines:
            assert len(list(csv.DictReader(lines))) == len(project.records("Charged"))
        assert (out / "profiles.csv").exists()
    assert wrong["status"] == "failed"
    said = home("runs", "no_way_in").out + home("show", wrong["run"]).err + home("schedule", "history", "no_way_in").out
    assert "failed" in said and "Passcode is not valid" in said.replace("\n", " ")


# -- 004: sessions as Treasure Data's command line makes them -------------------------------------------------------


class Sessions:
    """Users in a database, and loads of them that were created."""

    def __init__(self, home: Home, url: str) -> None:
        self.home, self.url = home, url
        self._known = psycopg.conninfo.conninfo_to_dict(url)
        home.folder.mkdir(parents=True, exist_ok=True)
        self.execute("CREATE TABLE users (id bigint PRIMARY KEY, email text, created_at timestamptz DEFAULT now())")
        self.add(1, 5)

    def execute(self, sql: str) -> None:
        with psycopg.connect(self.url) as session:
            session.execute(sql.encode())

    def add(self, first: int, last: int) -> None:
        self.execute(f"INSERT INTO users SELECT n, 'u' || n FROM generate_series({first}, {last}) n")

    def file(self, more: str = "") -> str:
        told = {"host": "host", "port": "port", "user": "user", "password": "password", "database": "dbname"}
        lines = [f"  {key}: '{self._known[known]}'" for key, known in told.items()]
        path = self.home.folder / "load.yml"
        path.write_text(
            "\n".join(["in:", "  type: postgresql", *lines, "  table: users", more, "out:", "  mode: append\n"])
        )
        return str(path)

    def create(self, name: str, cron: str, *options: str, more: str = "") -> str:
        """`suiro connector create`, into a table of the load's name; what it printed."""
        place = (DATABASE, name, self.file(more), "--auto-create-table")
        said = self.home("connector", "create", name, cron, *place, *options)
        assert said.code == 0, said.err
        return said.out + said.err

    def history(self, name: str) -> list[dict[str, Any]]:
        """`suiro connector history`, oldest first."""
        found: list[dict[str, Any]] = self.home("connector", "history", name, "--json").json
        return found[::-1]

    def loaded(self, name: str, number: int = 1) -> list[dict[str, Any]]:
        """The history once so many runs have ended."""
        ended(self.home, name, number)
        return self.history(name)

    def rows(self, name: str) -> list[int]:
        said = self.home("sql", "warehouse", f"SELECT id FROM {DATABASE}.{name} ORDER BY id", "--json")
        assert said.code == 0, said.err
        return [row["id"] for row in said.json]


@pytest.fixture
def sessions(home: Home, postgres_url: str) -> Sessions:
    return Sessions(home, postgres_url)


def test_004_15_without_a_schedule_a_load_is_created_and_run_now(sessions: Sessions) -> None:
    said = sessions.create("users_once", "")
    assert "Cron     :\n" in said and "Next     :\n" in said and "No server" not in said
    done = sessions.home("connector", "run", "users_once")
    assert done.code == 0 and "success" in done.out
    assert sessions.rows("users_once") == [1, 2, 3, 4, 5]
    (line,) = sessions.history("users_once")
    assert (line["status"], line["session_time"]) == ("success", None)
    with serving(sessions.home, clock(at("2031-05-01T00:00:00Z"))):
        time.sleep(3)
    assert len(sessions.history("users_once")) == 1


def test_004_16_words_and_cron_fire_at_their_times(sessions: Sessions) -> None:
    """On the last evening of a month, at whose end all of them come."""
    names = {"hourly": "@hourly", "daily": "@daily", "monthly": "@monthly", "by_cron": "0 0 1 * *"}
    for name, cron in names.items():
        assert "No server is running: start one with suiro up" in sessions.create(name, cron)
    midnight = at("2031-06-01T00:00:00Z")
    count_from(sessions.home, midnight - HOUR)
    with serving(sessions.home, clock(midnight)):
        for name in names:
            assert sessions.loaded(name)[0]["status"] == "success"
        listed = sessions.home("connector", "list")
        assert "No server" not in listed.err
    for name in names:
        assert moments(fired(sessions.home, name)) == [(midnight, "started")]
        assert sessions.rows(name) == [1, 2, 3, 4, 5]
    with serving(sessions.home, clock(midnight + HOUR)):
        assert len(sessions.loaded("hourly", 2)) == 2
    assert all(len(sessions.history(name)) == 1 for name in names if name != "hourly")


def test_004_17_a_delay_shifts_the_run_and_not_its_session_time(sessions: Sessions) -> None:
    sessions.create("delayed", "10 0 * * *", "-D", "300")
    day = at("2031-05-02T00:00:00Z")
    count_from(sessions.home, day)
    with serving(sessions.home, clock(day + timedelta(minutes=15), before=5)):
        wait_until(lambda: not sessions.home("connector", "list").err, "no server")
        assert fired(sessions.home, "delayed") == []  # 00:10 has passed
        (line,) = sessions.loaded("delayed")
    assert (line["status"], line["session_time"]) == ("success", "2031-05-02T00:10:00+00:00")
    (one,) = fired(sessions.home, "delayed")
    assert (at(one["scheduled_for"]), at(one["due_at"])) == (day + timedelta(minutes=10), day + timedelta(minutes=15))
    assert "| 2031-05-02 00:10:00 +0000 |" in sessions.home("connector", "history", "delayed").out
    assert "Time      : 2031-05-02 00:10:00 +0000" in sessions.home("td", "job", line["id"]).out


def test_004_18_and_004_25_each_schedule_fires_by_its_own_time_zone(sessions: Sessions) -> None:
    """Also on the night when clocks go forward in New York, where there is no 02:30, and when they go back."""
    zones = {"in_utc": (), "in_tokyo": ("-t", "Asia/Tokyo"), "in_la": ("--timezone", "America/Los_Angeles")}
    for name, options in zones.items():
        sessions.create(name, "10 0 * * *", *options)
    for zone in ("PST", "CST"):
        place = (DATABASE, "x", sessions.file(), "--auto-create-table")
        refused = sessions.home("connector", "create", "x", "@daily", *place, "-t", zone)
        assert refused.code == 2 and f"'{zone}' is no IANA time zone" in refused.err
    wanted = {
        "in_tokyo": at("2031-05-02T00:10:00+09:00"),
        "in_utc": at("2031-05-02T00:10:00Z"),
        "in_la": at("2031-05-02T00:10:00-07:00"),
    }
    count_from(sessions.home, at("2031-05-01T12:00:00Z"))
    for name, moment in wanted.items():
        with serving(sessions.home, clock(moment)):
            (line,) = sessions.loaded(name)
        assert (line["status"], at(line["session_time"])) == ("success", moment)
    assert {name: moments(fired(sessions.home, name)) for name in zones} == {
        name: [(moment, "started")] for name, moment in wanted.items()
    }

    sessions.create("at_night", "30 2 * * *", "-t", "America/New_York")
    nights = {"2031-03-09": "03:00:00-04:00", "2031-11-02": "02:30:00-05:00"}
    for number, (night, time_of_day) in enumerate(nights.items(), 1):
        moment = at(f"{night}T{time_of_day}")
        count_from(sessions.home, moment - 3 * HOUR)
        with serving(sessions.home, clock(moment)):
            line = sessions.loaded("at_night", number)[-1]
        assert (line["status"], at(line["session_time"])) == ("success", moment)
    assert len(fired(sessions.home, "at_night")) == 2


def test_004_30_a_schedule_survives_the_loss_of_a_server(
    postgres: PostgresServer, postgres_url: str, tmp_path: Path
) -> None:
    """Two servers on one metadata database, by a clock that makes a minute of four seconds.

    One is killed while it carries a run: the other takes that over, and goes on firing; no moment and no row is lost or
    comes twice.
    """
    kept = postgres.create_database()
    sessions = Sessions(Home(tmp_path / "suiro", SUIRO_METADATA_URL=kept), postgres_url)
    home, begin = sessions.home, at("2031-05-02T00:00:00Z")
    sessions.create("each_minute", "* * * * *", more="  incremental: true\n  incremental_columns: [id]")
    count_from(home, begin)
    by = clock(begin + timedelta(minutes=1), before=4, speed=15)
    with serving(home, by) as first, serving(home, by) as second:
        wait_until(lambda: len(ended_runs(home)) >= 1, "nothing was fired")
        sessions.add(6, 10)
        killed = kill_who_carries(kept, {first.process.pid: first, second.process.pid: second})
        sessions.add(11, 15)
        before = len(ended_runs(home))
        wait_until(lambda: len(ended_runs(home)) >= before + 3, "the other server fires nothing")
    history = fired(home, "each_minute")
    scheduled = [at(one["scheduled_for"]) for one in history]
    assert scheduled == [begin + number * timedelta(minutes=1) for number in range(1, len(history) + 1)]
    assert {one["outcome"] for one in history} <= {"started", "skipped"}
    runs = {one["run"]: one for one in home("runs", "each_minute", "-n", "1000", "--json").json}
    assert sorted(one["run"] for one in history if one["outcome"] == "started") == sorted(runs)
    assert all(runs[one["run"]]["ended_at"] for one in history if one["outcome"] == "skipped")
    assert sessions.rows("each_minute") == list(range(1, 16))
    assert runs[killed]["status"] == "succeeded"
    postgres.drop_database(kept)


def ended_runs(home: Home) -> list[dict[str, Any]]:
    return [one for one in home("runs", "each_minute", "-n", "1000", "--json").json if one["status"] == "succeeded"]


def kill_who_carries(metadata: str, servers: dict[int, Any]) -> str:
    """Kill the server that has just begun to carry a run, in the middle of it; the run."""
    asked = (
        "SELECT owner, run_id FROM attempt JOIN task_run ON task_run.id = attempt.task_run_id "
        "WHERE attempt.ended_at IS NULL"
    )
    with psycopg.connect(metadata, autocommit=True) as session:
        wait_until(lambda: not session.execute(asked).fetchall(), "a run never ends")
        until = time.monotonic() + 60
        while time.monotonic() < until:
            for owner, run in session.execute(asked):
                servers[int(owner.split(":")[1])].kill()
                left = session.execute("SELECT state FROM run WHERE id = %s", [run]).fetchone()
                assert left == ("running",), "the run ended before its server was killed"
                return str(run)
            time.sleep(0.005)
    raise AssertionError("nothing ran")
