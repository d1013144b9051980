"""The Salesforce sandbox's own controls: objects and records as a test wants them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from salesforce_calls import Calls, Clock, error
from suiro.sandbox.server import Running

FIELDS = [
    {"name": "id", "type": "int", "nillable": False},
    {"name": "name", "type": "string", "length": 80},
    {"name": "v", "type": "double", "precision": 18, "scale": 2},
    {"name": "at", "type": "datetime"},
]


def put(org: Calls, path: str, body: Any) -> requests.Response:
    return requests.put(f"{org.url}/_sandbox/{path}", json=body, timeout=30)


def post(org: Calls, name: str, *rows: dict[str, Any] | str) -> requests.Response:
    lines = "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows)
    return requests.post(f"{org.url}/_sandbox/records/{name}", data=lines.encode(), timeout=30)


def test_an_object_of_ones_own_has_just_its_fields(org: Calls) -> None:
    assert put(org, "objects/Own__c", {"fields": FIELDS}).status_code == 200
    rows = [
        {"id": 1, "name": None, "v": None, "at": "2024-02-29T12:00:00.001+0000"},
        '{"id": 2, "name": "", "v": 9999999999999999.99, "at": null}',
        '{"id": 3, "name": "\\u6771 \\"x\\"", "v": -0.01}',
    ]
    assert post(org, "Own__c", *rows).json() == {"made": 3}
    assert [one["name"] for one in org.get("sobjects/Own__c/describe").json()["fields"]] == ["id", "name", "v", "at"]
    assert "Own__c" in [one["name"] for one in org.get("sobjects").json()["sobjects"]]
    answer = org.ask("SELECT id, name, v, at FROM Own__c ORDER BY id")
    assert answer.text.count("9999999999999999.99") == 1
    assert answer.json()["records"][0] == {
        "attributes": {"type": "Own__c"},
        "id": 1,
        "name": None,
        "v": None,
        "at": "2024-02-29T12:00:00.001+0000",
    }
    bulk = org.bulk_rows("SELECT id, name, v FROM Own__c")
    assert [row["v"] for row in bulk] == ["", "9.99999999999999999E15", "-0.01"]
    assert org.column("SELECT id FROM Own__c WHERE v > 9999999999999999.98") == [2]
    assert put(org, "objects/Own__c", {"fields": FIELDS[:2]}).status_code == 200
    assert org.rows("SELECT id, name FROM Own__c") == []


def test_an_object_of_ones_own_can_be_kept_from_bulk_and_queries(org: Calls) -> None:
    put(org, "objects/NoBulk__c", {"fields": FIELDS, "bulk": False})
    answer = org.call("POST", "jobs/query", json={"operation": "query", "query": "SELECT id FROM NoBulk__c"})
    assert error(answer) == (400, "INVALIDENTITY")
    put(org, "objects/Hidden__c", {"fields": FIELDS, "queryable": False})
    assert error(org.ask("SELECT id FROM Hidden__c")) == (400, "INVALID_TYPE")


def test_values_of_a_picklist_can_be_past(org: Calls) -> None:
    listed = [{"value": "New", "active": True}, {"value": "Old", "active": False}]
    choice = {"name": "choice", "type": "picklist", "picklistValues": listed, "restrictedPicklist": True}
    fields = [{"name": "Id", "type": "id"}, choice]
    put(org, "objects/Choosing__c", {"fields": fields})
    told = org.get("sobjects/Choosing__c/describe").json()["fields"][1]
    assert [(one["value"], one["active"]) for one in told["picklistValues"]] == [("New", True), ("Old", False)]
    identity = org.new("Choosing__c", choice="New")
    refused = org.call("PATCH", f"sobjects/Choosing__c/{identity}", json={"choice": "Old"})
    assert error(refused) == (400, "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST")
    assert org.ingest("update", f"Id,choice\n{identity},\n", "Choosing__c")["numberRecordsFailed"] == 0
    assert org.column("SELECT choice FROM Choosing__c") == ["New"]


@pytest.mark.parametrize(
    "told", [{}, {"fields": []}, {"fields": [{"name": "x"}]}, {"fields": [{"name": "x", "type": "blob"}]}, [], "x"]
)
def test_an_object_that_makes_no_sense_is_refused(org: Calls, told: Any) -> None:
    assert put(org, "objects/Bad__c", told).status_code == 400
    assert put(org, "objects/Lead", {"fields": FIELDS}).status_code == 400


def test_records_go_straight_into_the_store(org: Calls) -> None:
    stamp = "2026-11-01T00:00:00.000+0000"
    post(org, "Lead", {"LastName": "Raw", "SystemModstamp": stamp}, {"LastName": "Gone", "IsDeleted": True})
    row = org.rows("SELECT Id, SystemModstamp, Company FROM Lead WHERE LastName = 'Raw'")[0]
    assert (row["SystemModstamp"], row["Company"], row["Id"][:3]) == (stamp, None, "00Q")
    assert org.rows("SELECT Id FROM Lead WHERE LastName = 'Gone'") == []
    assert len(org.rows("SELECT Id FROM Lead WHERE LastName = 'Gone'", resource="queryAll")) == 1


@pytest.mark.parametrize("line", ["nonsense", '{"Nope": 1}', '{"Score_Band__c": "Hot"}', '{"LeadScore__c": 1.5}'])
def test_a_line_that_does_not_fit_is_named_and_nothing_is_put(org: Calls, line: str) -> None:
    before = len(org.kept("Lead"))
    answer = post(org, "Lead", {"LastName": "First"}, line)
    assert answer.status_code == 400
    assert "line 2" in answer.json()["error"]
    assert len(org.kept("Lead")) == before


def test_records_are_deleted_or_purged_by_a_test(org: Calls) -> None:
    soft, hard = org.new(), org.new()
    url = f"{org.url}/_sandbox/records/Lead"
    assert requests.delete(url, params={"ids": soft}, timeout=30).json() == {"deleted": 1}
    assert requests.delete(url, params={"ids": hard, "purge": "true"}, timeout=30).json() == {"deleted": 1}
    ids = {row["Id"]: row["IsDeleted"] for row in org.kept("Lead", deleted=True)}
    assert (ids.get(soft), ids.get(hard)) == (True, None)


def test_what_the_api_tells_is_what_the_store_holds(org: Calls) -> None:
    names = [
        one["name"]
        for one in org.get("sobjects/Contact/describe").json()["fields"]
        if one["type"] not in ("address", "location")
    ]
    assert org.rows(f"SELECT {', '.join(names)} FROM Contact") == org.kept("Contact")


def test_settings_are_told_changed_and_checked(org: Calls) -> None:
    url = f"{org.url}/_sandbox/settings"
    assert requests.put(url, json={"page_rows": 5}, timeout=30).json()["page_rows"] == 5
    assert requests.get(url, timeout=30).json()["page_rows"] == 5
    for wrong in ({"page_rows": 0}, {"nonsense": 1}, [1]):
        assert requests.put(url, json=wrong, timeout=30).status_code == 400
    assert requests.get(f"{org.url}/_sandbox/records/Nope", timeout=30).status_code == 400


@pytest.fixture
def again(tmp_path: Path) -> Iterator[Any]:
    """Opens a sandbox on the same folder, as often as it is called."""

    def opened() -> Running:
        return Running(only=["salesforce"], folder=tmp_path, sizes={"Lead": 5}, now=Clock())

    yield opened


def test_objects_settings_sessions_and_grants_outlive_the_process(again: Any) -> None:
    with again() as sandbox:
        org = Calls(sandbox, Clock())
        put(org, "objects/Own__c", {"fields": FIELDS})
        post(org, "Own__c", {"id": 7})
        org.set(page_rows=77, rotate_refresh_tokens=True)
        token, key = org.sign_in(), org.ways["jwt"]["private_key"]
        way = org.ways["refresh_token"]
        app = {"client_id": way["client_id"], "client_secret": way["client_secret"]}
        rotated = org.token(grant_type="refresh_token", refresh_token=way["refresh_token"], **app).json()[
            "refresh_token"
        ]
        org.session.close()
    with again() as sandbox:
        org = Calls(sandbox, Clock())
        org.session.headers["Authorization"] = f"Bearer {token}"
        assert org.column("SELECT id FROM Own__c") == [7]
        assert requests.get(f"{org.url}/_sandbox/settings", timeout=30).json()["page_rows"] == 77
        assert org.ways["jwt"]["private_key"] == key
        assert org.token(grant_type="refresh_token", refresh_token=rotated, **app).status_code == 200
        assert org.token(grant_type="refresh_token", refresh_token=rotated, **app).status_code == 400
        org.session.close()
