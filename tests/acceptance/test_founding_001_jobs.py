"""Steps 001-10 to 001-17 and 001-28: Salesforce's leads and BigCommerce's customers into PostgreSQL."""

from __future__ import annotations

from typing import Any

import pytest

from founding import OBJECTS, Arrived, Home, Town
from salesforce_org import digest

CUSTOMER = ("id", "email", "first_name", "last_name", "company", "phone")
TYPES = {  #: of some of a lead's columns, as PostgreSQL calls them
    "Id": "character varying(18)",
    "IsDeleted": "boolean",
    "LastName": "text",
    "Latitude": "numeric(18,15)",
    "AnnualRevenue": "numeric(18,0)",
    "NumberOfEmployees": "integer",
    "ConvertedDate": "date",
    "LeadScore__c": "numeric(3,0)",
    "SystemModstamp": "timestamp with time zone",
}


def types(town: Town, table: str) -> dict[str, str]:
    """The types of a table's columns, in their order."""
    found = town.ask(
        "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute "
        f"WHERE attrelid = '{table}'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
    )
    return dict(found)


def key(town: Town, table: str) -> list[str]:
    """The columns of a table's primary key."""
    found = town.ask(
        "SELECT attname FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY(indkey) "
        f"WHERE indisprimary AND indrelid = '{table}'::regclass"
    )
    return [name for (name,) in found]


def test_001_10_tables_are_made_by_themselves_with_fitting_types(arrived: Arrived, town: Town) -> None:
    lead, customers = types(town, '"Lead"'), types(town, "customers")
    assert {name: lead[name] for name in TYPES} == TYPES
    assert list(lead) == list(arrived.leads[0])
    wanted = {"id": "bigint", "email": "text", "date_modified": "timestamp with time zone", "addresses": "json"}
    assert {name: customers[name] for name in wanted} == wanted
    assert (key(town, '"Lead"'), key(town, "customers")) == (["Id"], ["id"])


def test_001_11_rows_go_into_an_existing_table_by_a_mapping_and_the_table_is_unharmed(home: Home, town: Town) -> None:
    town.execute(
        "CREATE TABLE people (nr varchar(18) PRIMARY KEY, surname text NOT NULL CHECK (surname <> ''), mail text, "
        "origin text NOT NULL DEFAULT 'crm', seen timestamptz DEFAULT now())",
        "CREATE INDEX people_by_mail ON people (mail)",
        "CREATE VIEW mails AS SELECT mail FROM people WHERE origin = 'crm'",
        "CREATE TABLE visits (nr varchar(18) REFERENCES people)",
        "INSERT INTO people VALUES ('mine', 'Own', 'own@example.org', 'me', NULL)",
        "INSERT INTO visits VALUES ('mine')",
    )
    before = {what: town.ask(sql) for what, sql in UNHARMED.items()}
    task = {
        "stream": "Contact",
        "table": "people",
        "existing": True,
        "write": "merge",
        "key": ["Id"],
        "columns": {"Id": "nr", "LastName": "surname", "Email": "mail"},
    }
    home.apply(jobs={"to_people": {"source": "crm", "destination": "pg", "tasks": [task]}})
    home.run("to_people")
    assert {what: town.ask(sql) for what, sql in UNHARMED.items()} == before
    contacts = {(one["Id"], one["LastName"], one["Email"], "crm") for one in town.records("Contact")}
    found = town.ask("SELECT nr, surname, mail, origin FROM people")
    assert set(found) == contacts | {("mine", "Own", "own@example.org", "me")}
    assert town.ask("SELECT count(*) FROM mails") == [(len(contacts),)]


UNHARMED = {
    "table": "SELECT 'people'::regclass::oid, relowner, relacl::text FROM pg_class WHERE oid = 'people'::regclass",
    "columns": "SELECT attname, atttypid, attnotnull, atthasdef FROM pg_attribute WHERE attrelid = 'people'::regclass",
    "constraints": "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'people'::regclass "
    "OR confrelid = 'people'::regclass ORDER BY 1",
    "indexes": "SELECT indexrelid, indisvalid FROM pg_index WHERE indrelid = 'people'::regclass ORDER BY 1",
    "view": "SELECT pg_get_viewdef('mails'::regclass)",
    "the user's row": "SELECT * FROM people WHERE nr = 'mine'",
}


def test_001_12_a_job_of_type_sync_all_takes_every_stream(home: Home, town: Town) -> None:
    every = {"source": "crm", "destination": "pg", "type": "all", "defaults": {"schema": "everything"}}
    home.apply(jobs={"everything": every})
    done = home.run("everything")
    assert sorted(task["stream"] for task in done["tasks"]) == sorted(OBJECTS)
    told = {task["stream"]: task["rows_written"] for task in done["tasks"]}
    for name in OBJECTS:
        assert town.ask(f'SELECT count(*) FROM everything."{name}"') == [(told[name],)]
        assert told[name] == len(town.records(name)) > 0


def test_001_13_a_standard_job_takes_the_streams_that_were_chosen(home: Home, arrived: Arrived) -> None:
    assert [(task["stream"], task["rows_written"]) for task in arrived.crm["tasks"]] == [("Lead", 120), ("Contact", 40)]
    assert "type: all" not in home("export", "crm_to_pg").out
    listed = {stream["name"]: stream for stream in home("streams", "crm", "--json").json}
    assert set(listed) == set(OBJECTS)
    assert (listed["Lead"]["primary_key"], "SystemModstamp" in listed["Lead"]["cursor_fields"]) == (["Id"], True)


@pytest.fixture(scope="module")
def one(home: Home, town: Town, arrived: Arrived) -> dict[str, Any]:
    """A run of one task, after four contacts have changed or come."""
    for contact in town.records("Contact")[:3]:
        assert town.crm.call("PATCH", f"sobjects/Contact/{contact['Id']}", json={"Title": "Buyer"}).status_code == 204
    town.crm.new("Contact", LastName="高橋")
    return home.run("crm_to_pg", "--task", "Contact")


def test_001_14_a_whole_job_is_run_or_one_of_its_tasks(home: Home, arrived: Arrived, one: dict[str, Any]) -> None:
    assert (arrived.crm["status"], len(arrived.crm["tasks"])) == ("succeeded", 2)
    assert [(task["task"], task["status"]) for task in one["tasks"]] == [("Contact", "succeeded")]
    listed = {run["run"]: run["status"] for run in home("runs", "crm_to_pg", "--json").json}
    assert listed == {arrived.crm["run"]: "succeeded", one["run"]: "succeeded"}
    shown = home("show", one["run"]).err
    assert "Contact -> Contact" in shown and "Lead" not in shown
    unknown = home("run", "crm_to_pg", "--task", "Leads")
    assert unknown.code == 2 and "Its tasks are: Lead, Contact" in unknown.err


def test_001_15_the_result_is_in_postgresql_value_by_value(home: Home, arrived: Arrived) -> None:
    columns = list(arrived.leads[0])
    assert digest(arrived.lead_rows, columns) == digest(arrived.leads, columns)
    one = arrived.leads[0]
    seen = home("sql", "pg", f"""SELECT "Email", "Company" FROM "Lead" WHERE "Id" = '{one["Id"]}'""", "--json").json
    assert seen == [{"Email": one["Email"], "Company": one["Company"]}]


def test_001_16_the_field_for_scores_is_there_and_empty(arrived: Arrived, town: Town) -> None:
    assert types(town, '"Lead"')["LeadScore__c"] == "numeric(3,0)"
    assert {row["LeadScore__c"] for row in arrived.lead_rows} == {None}


def test_001_17_the_shops_customers_stand_beside_the_leads(arrived: Arrived, town: Town) -> None:
    (task,) = arrived.shop["tasks"]
    assert (task["stream"], task["table"], task["rows_written"]) == ("customers", "customers", 80)
    assert digest(arrived.customer_rows, CUSTOMER) == digest(arrived.customers, CUSTOMER)
    both = town.ask('SELECT count(*) FROM "Lead" JOIN customers ON lower("Email") = lower(email)')
    assert both == [(60,)]


def test_001_28_contacts_that_changed_since_the_last_run_are_carried_alone(one: dict[str, Any], town: Town) -> None:
    (task,) = one["tasks"]
    assert task["rows_written"] == 4 and task["rows_read"] < 40
    contacts = town.records("Contact")
    assert contacts[-1]["LastName"] == "高橋"
    columns = [name for name in contacts[0] if name != "LastViewedDate"]
    assert digest(town.rows('SELECT * FROM "Contact"'), columns) == digest(contacts, columns)


def test_001_28_customers_that_changed_since_the_last_run_are_carried_alone(
    home: Home, arrived: Arrived, town: Town
) -> None:
    changed = town.change_customers(change=2, add=1)
    (task,) = home.run("shop_to_pg")["tasks"]
    assert task["rows_written"] == 3 and task["rows_read"] < 80
    ids = [*changed["changed"], *changed["added"]]
    found = town.rows(f"SELECT * FROM customers WHERE id IN ({', '.join(map(str, ids))})")
    assert digest(found, CUSTOMER) == digest([one for one in town.customers() if one["id"] in ids], CUSTOMER)
