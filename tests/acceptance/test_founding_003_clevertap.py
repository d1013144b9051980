"""Steps 003-03, 003-10 to 003-17 and 003-22: CleverTap's exports and APIs into tables and folders, and events back."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import duckdb
import pytest

from clevertap_calls import EXPORTED, Project, open_project
from founding import Home
from shell import Shell

NAMED = "clevertap"


@pytest.fixture(scope="module")
def standing() -> Iterator[Project]:
    with open_project() as project:
        project.set(in_progress=0)
        yield project


@pytest.fixture
def project(standing: Project) -> Project:
    standing.reset()
    return standing


def uri(project: Project, *events: str, **more: Any) -> str:
    return project.uri(events=",".join(events or EXPORTED), timezone="Asia/Tokyo", **more)


def asked(suiro: Shell, sql: str) -> list[dict[str, Any]]:
    said = suiro("sql", "warehouse", sql, "--json")
    assert said.code == 0, said.err
    rows: list[dict[str, Any]] = said.json
    return rows


def test_003_03_export_files_of_all_events_go_into_one_table_each(
    suiro: Shell, project: Project, tmp_path: Path
) -> None:
    """The document's names, hyphens in them; appended, each file once, also where a run comes again."""
    events, folder = ("Order Placed", "Charged", "Subscription Renewed"), tmp_path / "exports"
    days = sorted({str(one["ts"])[:8] for name in events for one in project.records(name)})
    project.export(folder, events=events, days=days[:10], run=1)
    there = f"file://{folder}/?file_names={quote('{}-{}-{stream}-{date}-{}-{}.csv.gz')}&file_date_column=exported_day"
    load = ("copy", there, "warehouse", "--all", "--read", "incremental", "--write", "append", "--names", "snake")
    assert suiro(*load).code == 0
    project.export(folder, events=events, days=days[10:], run=2)
    assert suiro(*load).code == 0
    assert suiro(*load).code == 0
    for name in events:
        table = name.lower().replace(" ", "_")
        rows = asked(suiro, f"SELECT ts, exported_day FROM {table}")
        assert Counter(int(row["ts"]) for row in rows) == Counter(one["ts"] for one in project.records(name))
        assert all(str(row["ts"])[:8] == str(row["exported_day"]).replace("-", "") for row in rows)


def test_003_10_events_come_by_the_api_and_again_only_what_is_new(suiro: Shell, project: Project) -> None:
    load = ("copy", uri(project, "Charged"), "warehouse", "--stream", "Charged", "--read", "incremental")
    merge = (*load, "--cursor", "day", "--write", "merge", "--json")
    first = suiro(*merge)
    assert first.code == 0, first.err
    kept = project.records("Charged")
    assert first.json["tasks"][0]["receipt"]["equal"] and first.json["tasks"][0]["rows_read"] == len(kept)
    rows = asked(suiro, "SELECT object_id, event_props FROM Charged")
    found = Counter((row["object_id"], _said(row["event_props"])["order"]) for row in rows)
    assert found == Counter((one["profile"]["objectId"], one["event_props"]["order"]) for one in kept)
    who = next(one["profile"]["identity"] for one in kept if "identity" in one["profile"])
    now = int(datetime.now(UTC).timestamp())
    project.put("Charged", {"identity": who, "at": now, "props": {"order": 1}})
    again = suiro(*merge).json["tasks"][0]
    assert again["rows_read"] < len(kept)  # the last day, and no more
    assert asked(suiro, "SELECT count(*) AS n FROM Charged") == [{"n": len(kept) + 1}]


def _said(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


def test_003_11_and_003_14_counts_of_events_and_profiles_come_by_day(suiro: Shell, project: Project) -> None:
    there = uri(project, "Charged", "App Launched", count_days=5)
    for stream in ("event_counts", "profile_counts"):
        said = suiro("copy", there, "warehouse", "--stream", stream)
        assert said.code == 0, said.err
    rows = asked(suiro, "SELECT e.event_name, e.day, e.count AS events, p.count AS people FROM event_counts e "
                        "JOIN profile_counts p USING (event_name, day)")  # fmt: skip
    assert len(rows) == 10
    for row in rows:
        day = int(str(row["day"]).replace("-", ""))
        kept = [one for one in project.records(row["event_name"]) if one["ts"] // 10**6 == day]
        assert (row["events"], row["people"]) == (len(kept), len({one["profile"]["objectId"] for one in kept}))


def test_003_12_campaign_reports_come_and_the_unfinished_are_told(suiro: Shell, project: Project) -> None:
    assert suiro("copy", uri(project), "warehouse", "--stream", "campaign_reports").code == 0
    rows = asked(suiro, "SELECT name, finished, result FROM campaign_reports ORDER BY id")
    assert [row["finished"] for row in rows] == [False, False, True, True, True, True]
    assert _said(rows[2]["result"])["sent"] > 0 and rows[0]["result"] is None


def test_003_13_profiles_come_once_each(suiro: Shell, project: Project) -> None:
    assert suiro("copy", uri(project), "warehouse", "--stream", "profiles").code == 0
    rows = asked(suiro, "SELECT identity, email FROM profiles")
    kept = [one for one in project.records("profiles") if set(one["events"]) & set(EXPORTED)]
    assert Counter((row["identity"], row["email"]) for row in rows) == Counter(
        (one.get("identity"), one.get("email")) for one in kept
    )


def test_003_15_credentials_and_event_names_in_a_folder_of_csv_files_out(
    suiro: Shell, project: Project, tmp_path: Path
) -> None:
    said = suiro("copy", uri(project, *EXPORTED), f"file://{tmp_path}/out/", "--all")
    assert said.code == 0, said.err
    files = {path.name: path for path in (tmp_path / "out").glob("*.csv")}
    assert set(files) == {f"{name}.csv" for name in (*EXPORTED, "profiles")}
    for name in EXPORTED:
        with open(files[f"{name}.csv"], encoding="utf-8", newline="") as lines:
            rows = list(csv.DictReader(lines))
        kept = project.records(name)
        props = Counter(json.dumps(json.loads(row["event_props"]), sort_keys=True) for row in rows)
        assert props == Counter(json.dumps(one["event_props"], sort_keys=True) for one in kept)
        assert Counter(row["object_id"] for row in rows) == Counter(one["profile"]["objectId"] for one in kept)
    with open(files["profiles.csv"], encoding="utf-8", newline="") as lines:
        people = [row["_key"] for row in csv.DictReader(lines)]
    assert len(people) == len(set(people)) > 50


def test_003_16_a_line_of_a_crontab_runs_it_without_anybody(project: Project, tmp_path: Path) -> None:
    """As cron does: sh, next to no environment, no terminal, nothing to read; the exit code tells."""
    home, out = Home(tmp_path), tmp_path / "out"
    way = {**project.way, "events": ["Charged"], "wait_seconds": 0}
    home.apply(connections={"events": way, "refused": {**way, "passcode": "wrong"}})
    command = f"SUIRO_HOME={home.folder}/home {sys.executable} -m suiro.cli.main copy"
    for name, code in (("events", 0), ("refused", 1)):
        line = f'15 0 * * * {command} {name} "file://{out}/?format=csv" --all >> {tmp_path}/log 2>&1'
        assert "%" not in line  # which cron takes for the end of a line
        *_, told = line.split(" ", 5)
        environment = {"HOME": str(tmp_path), "LOGNAME": "nobody", "PATH": "/usr/bin:/bin", "SHELL": "/bin/sh"}
        ended = subprocess.run(
            ["/bin/sh", "-c", told],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=120,
            check=False,
        )
        assert (ended.returncode, ended.stdout, ended.stderr) == (code, b"", b""), (tmp_path / "log").read_text()
    assert {path.name for path in out.glob("*.csv")} == {"Charged.csv", "profiles.csv"}
    log = (tmp_path / "log").read_text()
    assert "Traceback" not in log and "Passcode is not valid" in log


def test_003_17_profiles_and_events_of_the_api_are_joined_in_sql(suiro: Shell, project: Project) -> None:
    for stream in ("Charged", "profiles"):
        assert suiro("copy", uri(project), "warehouse", "--stream", stream).code == 0
    rows = asked(
        suiro,
        "SELECT p.email, count(*) AS n, sum(CAST(e.event_props->>'$.Amount' AS DECIMAL(12,2))) AS amount "
        "FROM profiles p JOIN Charged e ON e.identity = p.identity WHERE p.email IS NOT NULL GROUP BY p.email",
    )
    spent: Counter[str] = Counter()
    for one in project.records("Charged"):
        if "email" in one["profile"]:
            spent[one["profile"]["email"]] += round(one["event_props"].get("Amount", 0) * 100)
    found = {row["email"]: round(float(row["amount"] or 0) * 100) for row in rows}
    assert found == dict(spent) and len(found) > 5


def test_003_22_renewed_and_cancelled_subscriptions_of_another_system_become_events(
    project: Project, tmp_path: Path
) -> None:
    at = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
    with duckdb.connect(str(tmp_path / "billing.duckdb")) as billing:
        billing.execute(
            "CREATE TABLE changes (id INTEGER PRIMARY KEY, customer TEXT, kind TEXT, changed TIMESTAMPTZ, plan TEXT)"
        )
        kinds = ("Subscription Renewed", "Subscription Cancelled")
        rows = [(n, f"billing-{n % 3}", kinds[n % 2], at + timedelta(hours=n), "pro") for n in range(6)]
        billing.executemany("INSERT INTO changes VALUES (?, ?, ?, ?, ?)", rows)
    home = Home(tmp_path)
    columns = {"customer": "identity", "kind": "evtName", "changed": "ts", "plan": "plan"}
    task = {"stream": "changes", "table": "event", "write": "insert", "key": ["id"], "columns": columns}
    home.apply(
        connections={
            "billing": {"type": "duckdb", "path": str(tmp_path / "billing.duckdb")},
            NAMED: {**project.way, "event_properties": {"plan": "text"}},
        },
        jobs={
            "subscriptions": {
                "source": "billing", "destination": NAMED,
                "tasks": [task],
            }
        },
    )  # fmt: skip
    for expected in (6, 6):  # the second run has nothing to send
        said = home("run", "subscriptions", "--json")
        assert said.code == 0, (said.out, said.err)
        sent = [
            (one["profile"]["identity"], name, one["at"])
            for name in kinds
            for one in project.records(name)
            if one["profile"].get("identity", "").startswith("billing-")
        ]
        assert len(sent) == expected
    assert Counter(sent) == Counter((row[1], row[2], int(row[3].timestamp())) for row in rows)


def test_003_22_properties_of_profiles_are_written_back_and_taken_back(project: Project, tmp_path: Path) -> None:
    """Undo gives properties what they held; profiles that were made stay, and what was empty can't be emptied again."""
    project.put("profiles", {"identity": "known", "plan": "free", "score": 1}, {"identity": "bare"})
    with duckdb.connect(str(tmp_path / "scores.duckdb")) as scores:
        scores.execute("CREATE TABLE scored (customer TEXT, plan TEXT, score DECIMAL(9,2))")
        rows = [("known", "pro", 7.25), ("bare", None, 2), ("fresh", "pro", 3)]
        scores.executemany("INSERT INTO scored VALUES (?, ?, ?)", rows)
    home = Home(tmp_path)
    columns = {"customer": "identity", "plan": "plan", "score": "score"}
    task = {"stream": "scored", "table": "profile", "write": "upsert", "key": ["customer"], "columns": columns}
    way = {**project.way, "profile_properties": {"plan": "text", "score": "number"}}
    home.apply(
        connections={"scores": {"type": "duckdb", "path": str(tmp_path / "scores.duckdb")}, NAMED: way},
        jobs={"back": {"source": "scores", "destination": NAMED, "tasks": [{**task, "nulls": "skip"}]}},
    )

    def held() -> dict[str, Any]:
        records = {one.get("identity"): one["profileData"] for one in project.records("profiles")}
        return {name: records[name] for name in ("known", "bare", "fresh") if name in records}

    said = home("run", "back", "--json")
    assert said.code == 0, (said.out, said.err)
    (done,) = said.json["tasks"]
    assert done["rows_written"] == 3 and done["receipt"]["equal"]
    assert held() == {
        "known": {"plan": "pro", "score": 7.25},
        "bare": {"score": 2},
        "fresh": {"plan": "pro", "score": 3},
    }
    assert home("run", "back", "--json").json["tasks"][0]["rows_written"] == 0
    undone = home("writeback", "undo", said.json["run"])
    assert undone.code == 3 and "1 updated, 1 refused by the application" in undone.err, undone.err
    assert held() == {"known": {"plan": "free", "score": 1}, "bare": {"score": 2}, "fresh": {"plan": "pro", "score": 3}}
