"""Steps 001-18 and 001-20 to 001-27: leads scored in PostgreSQL, their scores written back to Salesforce."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from founding import Arrived, Home, Town

SCORE = """
REPLICATE lead_reverse
SELECT l."Id", upper(l."LastName") AS "LastName", l."Email",
       CAST(20 + 10 * c.address_count + 5 * c.attribute_count AS numeric(3, 0)) AS "LeadScore__c"
FROM "Lead" l LEFT JOIN customers c ON lower(c.email) = lower(l."Email")
"""
BACK = {
    "stream": "public.lead_reverse",
    "table": "Lead",
    "write": "update",
    "key": ["Id"],
    "columns": {"LeadScore__c": "LeadScore__c"},
}
NIGHTLY = {"cron": "30 0 * * *", "timezone": "Asia/Tokyo", "delay": "5m"}
STAMPS = {"LastModifiedDate", "LastModifiedById", "SystemModstamp", "Score_Band__c"}


@pytest.fixture(scope="module")
def scores(home: Home, town: Town, arrived: Arrived) -> dict[str, int | None]:
    """The score of each lead, worked out here, after a job worked it out in the database."""
    home.apply(jobs={"score_leads": {"source": "pg", "destination": "pg", "tasks": [{"sql": SCORE}]}})
    home.run("score_leads")
    customers = {one["email"].lower(): one for one in arrived.customers}
    return {lead["Id"]: _score(customers.get(lead["Email"].lower())) for lead in arrived.leads}


def _score(customer: dict[str, Any] | None) -> int | None:
    return None if customer is None else 20 + 10 * int(customer["address_count"]) + 5 * int(customer["attribute_count"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """The write-back's run, and the leads in Salesforce before and after it, by their ids."""

    run: dict[str, Any]
    before: dict[str, dict[str, Any]]
    after: dict[str, dict[str, Any]]


def leads(town: Town) -> dict[str, dict[str, Any]]:
    """The leads in Salesforce, by their ids."""
    return {lead["Id"]: lead for lead in town.records("Lead")}


def became(task: dict[str, Any]) -> dict[str, int]:
    """What became of records, by kind."""
    return {kind: n for kind, n in task["writeback"]["done"].items() if n and kind in ("created", "updated", "deleted")}


@pytest.fixture(scope="module")
def written(home: Home, town: Town, scores: dict[str, int | None]) -> Written:
    """The job of the document: PostgreSQL's lead_reverse to Salesforce's Lead."""
    home.apply(jobs={"scores_to_crm": {"source": "pg", "destination": "crm", "schedule": NIGHTLY, "tasks": [BACK]}})
    before = leads(town)
    run = home.run("scores_to_crm")
    return Written(run=run, before=before, after=leads(town))


def test_001_18_scoring_in_postgresql_fills_the_field(town: Town, scores: dict[str, int | None]) -> None:
    found = dict(town.ask('SELECT "Id", "LeadScore__c" FROM lead_reverse'))
    assert found == scores
    assert len([score for score in found.values() if score is not None]) == 60


def test_001_20_a_write_back_of_mode_update_changes_records_and_makes_none(written: Written) -> None:
    assert written.after.keys() == written.before.keys()
    changed = {id_ for id_, lead in written.after.items() if lead != written.before[id_]}
    assert len(changed) == 60
    for id_ in changed:
        now, then = written.after[id_], written.before[id_]
        assert {name for name in now if now[name] != then[name]} <= {"LeadScore__c", *STAMPS}


def test_001_21_a_write_back_of_mode_insert_makes_records(home: Home, town: Town, written: Written) -> None:
    town.execute(
        "CREATE TABLE new_leads (nr int PRIMARY KEY, surname text, firm text, mail text, score numeric(3,0))",
        "INSERT INTO new_leads SELECT n, '新規' || n, 'Firm, \"' || n, 'new' || n || '@example.org', n FROM "
        "generate_series(1, 5) n",
    )
    columns = {"surname": "LastName", "firm": "Company", "mail": "Email", "score": "LeadScore__c"}
    task = {"stream": "public.new_leads", "table": "Lead", "write": "insert", "key": ["mail"], "columns": columns}
    home.apply(jobs={"new_to_crm": {"source": "pg", "destination": "crm", "tasks": [task]}})
    before = leads(town)
    (done,) = home.run("new_to_crm")["tasks"]
    assert (done["rows_read"], done["rows_written"], became(done)) == (5, 5, {"created": 5})
    made = [lead for id_, lead in leads(town).items() if id_ not in before]
    assert sorted((one["LastName"], one["Company"], one["Email"], one["LeadScore__c"]) for one in made) == [
        (f"新規{n}", f'Firm, "{n}', f"new{n}@example.org", n) for n in range(1, 6)
    ]


def test_001_22_a_write_back_of_mode_upsert_takes_external_ids_alone(home: Home, town: Town, written: Written) -> None:
    town.execute(
        "CREATE TABLE known_leads (ext varchar(64) PRIMARY KEY, surname text, firm text, phone text)",
        "INSERT INTO known_leads VALUES ('L-0000001', 'First', 'Firm', '1'), ('L-0000002', 'Second', 'Firm', '2'), "
        "('L-new', 'Third', 'Firm', '3')",
    )
    columns = {"ext": "External_Id__c", "surname": "LastName", "firm": "Company", "phone": "Phone"}
    task = {"stream": "public.known_leads", "table": "Lead", "write": "upsert", "key": ["ext"], "columns": columns}
    home.apply(jobs={"known_to_crm": {"source": "pg", "destination": "crm", "tasks": [task]}})
    before = leads(town)
    (done,) = home.run("known_to_crm")["tasks"]
    assert (done["rows_written"], became(done)) == (3, {"created": 1, "updated": 2})
    after = leads(town)
    names = {lead["External_Id__c"]: lead["LastName"] for lead in after.values()}
    assert [names[ext] for ext in ("L-0000001", "L-0000002", "L-new")] == ["First", "Second", "Third"]
    assert len(after) == len(before) + 1

    home.apply(jobs={"by_phone": {"source": "pg", "destination": "crm", "tasks": [{**task, "key": ["phone"]}]}})
    refused = home("writeback", "plan", "by_phone")
    assert refused.code == 2
    assert "Phone" in refused.err and "no external id" in refused.err and "External_Id__c" in refused.err
    assert leads(town) == after


def test_001_23_a_table_is_bound_to_an_object(home: Home, written: Written) -> None:
    (task,) = written.run["tasks"]
    assert (task["stream"], task["table"], task["writeback"]["object"]) == ("public.lead_reverse", "Lead", "Lead")
    unknown = {"source": "pg", "destination": "crm", "tasks": [{**BACK, "table": "Leads"}]}
    home.apply(jobs={"to_nowhere": unknown})
    refused = home("writeback", "plan", "to_nowhere")
    assert refused.code == 2 and "there is no object 'Leads'" in refused.err


def test_001_24_key_and_columns_are_mapped_and_others_stay_as_they_are(written: Written, town: Town) -> None:
    """The table's names of persons are in capitals, and aren't mapped."""
    told = dict(town.ask('SELECT "Id", "LastName" FROM lead_reverse'))
    assert len([id_ for id_, lead in written.before.items() if lead["LastName"] != told[id_]]) > 30
    for id_, lead in written.after.items():
        assert lead["LastName"] == written.before[id_]["LastName"]


def test_001_25_the_run_tells_its_status_and_how_many_records_it_updated(home: Home, written: Written) -> None:
    (task,) = written.run["tasks"]
    assert (written.run["status"], task["rows_read"], task["rows_written"], task["rows_rejected"]) == (
        "succeeded",
        120,
        60,
        0,
    )
    assert became(task) == {"updated": 60}
    shown = home("show", written.run["run"])
    assert "60 updated" in shown.err and "succeeded" in shown.err and "equal" in shown.err
    listed = {run["run"]: run["status"] for run in home("runs", "scores_to_crm", "--json").json}
    assert listed[written.run["run"]] == "succeeded"


def test_001_26_the_scores_are_in_salesforce(
    home: Home, town: Town, written: Written, scores: dict[str, int | None]
) -> None:
    found = {id_: written.after[id_]["LeadScore__c"] for id_ in scores}
    assert found == scores
    asked = town.crm.rows("SELECT Id, LeadScore__c FROM Lead WHERE LeadScore__c != null")
    known = {row["Id"]: row["LeadScore__c"] for row in asked if row["Id"] in scores}
    assert known == {id_: score for id_, score in scores.items() if score is not None}
    best = max(score for score in scores.values() if score is not None)
    assert home("sql", "crm", "SELECT max(LeadScore__c) best FROM Lead", "--json").json == [{"best": best}]


def test_001_27_a_schedule_of_a_write_back_is_kept_and_shown(home: Home, written: Written) -> None:
    """That it fires is in test_founding_schedules.py."""
    exported = home("export", "scores_to_crm").out
    for words in ("cron: 30 0 * * *", "timezone: Asia/Tokyo", "delay: 5m"):
        assert words in exported
    wrong = {"source": "pg", "destination": "crm", "schedule": {**NIGHTLY, "timezone": "PST"}, "tasks": [BACK]}
    refused = home.apply_any(jobs={"scores_to_crm": wrong})
    assert refused.code == 2 and "'PST' is no IANA time zone" in refused.err
