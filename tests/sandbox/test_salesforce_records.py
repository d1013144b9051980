"""Single records and collections of the Salesforce sandbox."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

import pytest

from salesforce_calls import Calls, error


def test_a_new_record_is_told_with_its_id_and_place(org: Calls) -> None:
    """[REC: 201 with id, success, errors and Location]"""
    made = org.call("POST", "sobjects/Lead/", json={"LastName": "Kant", "Company": "Own"})
    identity = made.json()["id"]
    assert (made.status_code, made.json()) == (201, {"id": identity, "success": True, "errors": []})
    assert made.headers["Location"] == f"/services/data/v64.0/sobjects/Lead/{identity}"
    assert re.fullmatch(r"00Q\w{15}", identity)
    told = org.get(f"sobjects/Lead/{identity}").json()
    assert (told["Name"], told["Status"], told["IsConverted"]) == ("Kant", "Open - Not Contacted", False)
    assert told["CreatedDate"] == told["SystemModstamp"]
    assert told["OwnerId"].startswith("005")
    assert org.get(f"sobjects/Lead/{identity[:15]}?fields=Id,Owner.Name").json()["Id"] == identity


def test_a_change_answers_204_and_moves_the_stamp(org: Calls) -> None:
    """[1.6]"""
    identity = org.new()
    before = org.get(f"sobjects/Lead/{identity}").json()
    org.clock.forward(seconds=5)
    answer = org.call("PATCH", f"sobjects/Lead/{identity}", json={"LeadScore__c": 80, "City": None})
    assert (answer.status_code, answer.content) == (204, b"")
    after = org.get(f"sobjects/Lead/{identity}").json()
    assert (after["LeadScore__c"], after["Score_Band__c"]) == (80, "Hot")
    assert after["SystemModstamp"] > before["SystemModstamp"]
    assert after["CreatedDate"] == before["CreatedDate"]


def test_a_deleted_record_is_gone_but_for_query_all(org: Calls) -> None:
    """[1.6: 204]"""
    identity = org.new()
    assert org.call("DELETE", f"sobjects/Lead/{identity}").status_code == 204
    assert error(org.get(f"sobjects/Lead/{identity}")) == (404, "ENTITY_IS_DELETED")
    assert error(org.call("PATCH", f"sobjects/Lead/{identity}", json={"City": "x"})) == (404, "ENTITY_IS_DELETED")
    soql = f"SELECT Id, IsDeleted FROM Lead WHERE Id = '{identity}'"
    assert org.rows(soql) == []
    assert org.rows(soql, resource="queryAll") == [{"Id": identity, "IsDeleted": True}]


def test_what_is_not_there_is_not_found(org: Calls) -> None:
    """[REC: NOT_FOUND]"""
    for path in (
        "sobjects/Lead/00Q5g00000zzzzzEAA",
        "sobjects/Nope/00Q5g0000000001EAA",
        "sobjects/Lead/short",
        "nowhere",
    ):
        assert error(org.get(path)) == (404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("values", "code", "fields"),
    [
        ({"LastName": None}, "REQUIRED_FIELD_MISSING", ["LastName"]),
        ({"Email": "badone"}, "INVALID_EMAIL_ADDRESS", ["Email"]),
        ({"FirstName": "x" * 41}, "STRING_TOO_LONG", ["FirstName"]),
        ({"CleanStatus": "Dirty"}, "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", ["CleanStatus"]),
        ({"LeadScore__c": 1000}, "NUMBER_OUTSIDE_VALID_RANGE", ["LeadScore__c"]),
        ({"LeadScore__c": "many"}, "INVALID_TYPE_ON_FIELD_IN_RECORD", ["LeadScore__c"]),
        ({"OwnerId": "0055g00000zzzzzEAA"}, "INVALID_CROSS_REFERENCE_KEY", ["OwnerId"]),
        ({"OwnerId": "nonsense"}, "MALFORMED_ID", ["OwnerId"]),
        ({"Nope": 1}, "INVALID_FIELD", ["Nope"]),
        ({"Score_Band__c": "Hot"}, "INVALID_FIELD_FOR_INSERT_UPDATE", ["Score_Band__c"]),
        ({"Id": "00Q5g0000000001EAA"}, "INVALID_FIELD_FOR_INSERT_UPDATE", ["Id"]),
        ({"External_Id__c": "L-0000001"}, "DUPLICATE_VALUE", ["External_Id__c"]),
        ({"Owner": {"Email": "nobody@example.com"}}, "INVALID_FIELD", []),
    ],
)
def test_a_record_that_does_not_fit_is_refused_with_its_fields(
    org: Calls, values: dict[str, Any], code: str, fields: list[str]
) -> None:
    """[REC 1.6: INVALID_EMAIL_ADDRESS, REQUIRED_FIELD_MISSING; the codes of numbers and types unverified]"""
    answer = org.call("POST", "sobjects/Lead", json={"LastName": "A", "Company": "B", **values})
    assert error(answer) == (400, code)
    assert answer.json()[0]["fields"] == fields


def test_a_body_that_is_no_json_is_a_parser_error(org: Calls) -> None:
    """[1.8: JSON_PARSER_ERROR]"""
    assert error(org.call("POST", "sobjects/Lead", data="{nonsense")) == (400, "JSON_PARSER_ERROR")
    assert error(org.call("POST", "sobjects/Lead", data="[1]")) == (400, "JSON_PARSER_ERROR")


def test_a_converted_lead_is_not_changed_any_more(org: Calls) -> None:
    """[REC: CANNOT_UPDATE_CONVERTED_LEAD]"""
    converted = org.column("SELECT Id FROM Lead WHERE IsConverted = TRUE LIMIT 1")[0]
    answer = org.call("PATCH", f"sobjects/Lead/{converted}", json={"LeadScore__c": 1})
    assert error(answer) == (400, "CANNOT_UPDATE_CONVERTED_LEAD")


def test_an_upsert_makes_a_record_or_changes_it(org: Calls) -> None:
    """[DOC dome-upsert; 201 created, 200 from version 46 on]"""
    path = f"sobjects/Lead/External_Id__c/{quote('A/B 1', safe='')}"
    made = org.call("PATCH", path, json={"LastName": "U", "Company": "V"})
    identity = made.json()["id"]
    assert (made.status_code, made.json()["created"]) == (201, True)
    changed = org.call("PATCH", path, json={"LeadScore__c": 3})
    assert (changed.status_code, changed.json()) == (
        200,
        {"id": identity, "success": True, "errors": [], "created": False},
    )
    told = org.get(path).json()
    assert (told["Id"], told["External_Id__c"], told["LeadScore__c"]) == (identity, "A/B 1", 3)


def test_before_version_46_an_upsert_that_changes_answers_nothing(org: Calls) -> None:
    """[REC restforce upsert_updated: 0 bytes]"""
    answer = org.call("PATCH", "sobjects/Lead/External_Id__c/L-0000002", version="45.0", json={"City": "Ulm"})
    assert (answer.status_code, answer.content) == (204, b"")


def test_an_upsert_finds_its_record_regardless_of_case(org: Calls) -> None:
    """[1.6: match is case-insensitive unless the field is case sensitive]"""
    answer = org.call("PATCH", "sobjects/Lead/External_Id__c/l-0000003", json={"City": "Ulm"})
    assert answer.json()["created"] is False


def test_an_upsert_by_email_or_id_is_allowed_by_id_lookup(org: Calls) -> None:
    """[REC describe_Lead: idLookup = Id, Email]"""
    identity = org.new(Email="only.one@example.com")
    assert org.call("PATCH", "sobjects/Lead/Email/ONLY.ONE@example.com", json={"City": "Bonn"}).json()["id"] == identity
    assert org.call("PATCH", f"sobjects/Lead/Id/{identity}", json={"City": "Bonn"}).status_code == 200


def test_an_upsert_whose_key_is_ambiguous_writes_nothing_and_lists_the_records(org: Calls) -> None:
    """[DOC dome-upsert: 300]"""
    ids = [org.new(Legacy_Number__c="TWICE"), org.new(Legacy_Number__c="TWICE")]
    before = org.kept("Lead")
    answer = org.call("PATCH", "sobjects/Lead/Legacy_Number__c/twice", json={"City": "Ulm"})
    assert answer.status_code == 300
    assert answer.json() == [f"/services/data/v64.0/sobjects/Lead/{identity}" for identity in ids]
    assert org.kept("Lead") == before


def test_an_upsert_that_may_only_update_makes_nothing(org: Calls) -> None:
    """[DOC dome-upsert: updateOnly]"""
    answer = org.call(
        "PATCH", "sobjects/Lead/External_Id__c/NEVER-SEEN?updateOnly=true", json={"LastName": "A", "Company": "B"}
    )
    assert error(answer) == (404, "NOT_FOUND")


def test_an_upsert_refuses_its_key_in_the_body_other_fields_and_odd_values(org: Calls) -> None:
    """[1.6; REC: Provided external ID field does not exist or is not accessible; DOC: .inc]"""
    root = "sobjects/Lead/External_Id__c"
    assert error(org.call("PATCH", f"{root}/L-0000001", json={"External_Id__c": "L-0000001"})) == (400, "INVALID_FIELD")
    assert error(org.call("PATCH", f"{root}/L-0000001", json={"Id": "00Q5g0000000001EAA"})) == (400, "INVALID_FIELD")
    answer = org.call("PATCH", "sobjects/Lead/23foo/1", json={})
    assert answer.json()[0]["message"] == "Provided external ID field does not exist or is not accessible: 23foo"
    assert answer.status_code == 404
    assert org.call("PATCH", "sobjects/Lead/City/Ulm", json={}).status_code == 404
    assert org.call("PATCH", f"{root}/file.inc", json={"City": "Ulm"}).status_code == 404


def lead(**values: Any) -> dict[str, Any]:
    return {"attributes": {"type": "Lead"}, **values}


def test_a_collection_answers_each_row_in_its_place(org: Calls) -> None:
    """[REC: failed items have no id, and statusCode]"""
    first, second = org.new(), org.new()
    records = [lead(id=first, LeadScore__c=1), lead(id=second, Email="badone"), lead(LastName="no id")]
    answer = org.call("PATCH", "composite/sobjects", json={"allOrNone": False, "records": records})
    assert answer.status_code == 200
    told = answer.json()
    assert told[0] == {"id": first, "success": True, "errors": []}
    assert told[1] == {
        "success": False,
        "errors": [
            {
                "statusCode": "INVALID_EMAIL_ADDRESS",
                "message": "Email: invalid email address: badone",
                "fields": ["Email"],
            }
        ],
    }
    assert told[2]["errors"][0]["statusCode"] == "MISSING_ARGUMENT"
    assert org.column(f"SELECT LeadScore__c FROM Lead WHERE Id = '{first}'") == [1]


def test_a_collection_makes_records_of_several_objects(org: Calls) -> None:
    records = [
        lead(LastName="A", Company="B"),
        {"attributes": {"type": "Account"}, "Name": "Acme"},
        {"attributes": {"type": "Nope"}},
        lead(LastName="C", Company="D", Owner={"Username": "integration@suiro.example"}),
    ]
    told = org.call("POST", "composite/sobjects", json={"records": records}).json()
    assert [one["success"] for one in told] == [True, True, False, True]
    assert [one.get("id", "---")[:3] for one in told] == ["00Q", "001", "---", "00Q"]


def test_all_or_none_takes_back_what_was_done(org: Calls) -> None:
    """[1.6: ALL_OR_NONE_OPERATION_ROLLED_BACK, PROCESSING_HALTED]"""
    before = len(org.kept("Lead"))
    records = [lead(LastName="A", Company="B"), lead(LastName="C"), lead(LastName="D", Company="E")]
    told = org.call("POST", "composite/sobjects", json={"allOrNone": True, "records": records}).json()
    assert [one["errors"][0]["statusCode"] for one in told] == [
        "ALL_OR_NONE_OPERATION_ROLLED_BACK",
        "REQUIRED_FIELD_MISSING",
        "PROCESSING_HALTED",
    ]
    assert len(org.kept("Lead")) == before


def test_the_same_record_twice_in_a_request_is_refused(org: Calls) -> None:
    """[1.6: DUPLICATE_ID_SPECIFIED; upsert: DUPLICATE_VALUE]"""
    identity = org.new()
    records = [lead(id=identity, City="A"), lead(id=identity[:15], City="B")]
    told = org.call("PATCH", "composite/sobjects", json={"records": records}).json()
    assert [one["errors"][0]["statusCode"] for one in told] == ["DUPLICATE_ID_SPECIFIED"] * 2
    twice = [
        lead(External_Id__c="SAME", LastName="A", Company="B"),
        lead(External_Id__c="same", LastName="A", Company="B"),
    ]
    told = org.call("PATCH", "composite/sobjects/Lead/External_Id__c", json={"records": twice}).json()
    assert [one["errors"][0]["statusCode"] for one in told] == ["DUPLICATE_VALUE"] * 2


def test_a_collection_upserts_by_an_external_id(org: Calls) -> None:
    """[DOC collections-upsert]"""
    records = [
        lead(External_Id__c="COLL-1", LastName="A", Company="B"),
        lead(External_Id__c="L-0000004", City="Ulm"),
        lead(External_Id__c="", LastName="blank"),
    ]
    told = org.call("PATCH", "composite/sobjects/Lead/External_Id__c", json={"records": records}).json()
    assert [one.get("created") for one in told] == [True, False, None]
    assert told[2]["errors"][0]["statusCode"] == "MISSING_ARGUMENT"
    again = org.call("PATCH", "composite/sobjects/Lead/External_Id__c", json={"records": records[:1]}).json()
    assert (again[0]["created"], again[0]["id"]) == (False, told[0]["id"])


def test_a_collection_deletes_by_ids(org: Calls) -> None:
    """[1.6: DELETE ?ids=a,b&allOrNone=true]"""
    ids = [org.new(), org.new()]
    told = org.call("DELETE", f"composite/sobjects?ids={ids[0]},{ids[1]}&allOrNone=true").json()
    assert [one["success"] for one in told] == [True, True]
    told = org.call("DELETE", f"composite/sobjects?ids={ids[0]}").json()
    assert told[0]["errors"][0]["statusCode"] == "ENTITY_IS_DELETED"


def test_a_collection_takes_no_more_than_200(org: Calls) -> None:
    """[1.6: <=200 records]"""
    records = [lead(LastName="A", Company="B")] * 201
    answer = org.call("POST", "composite/sobjects", json={"records": records})
    assert error(answer) == (400, "EXCEEDED_ID_LIMIT")


def test_a_locked_row_is_refused_and_taken_later(org: Calls) -> None:
    """[1.9 pitfall 9: UNABLE_TO_LOCK_ROW is retryable per row]"""
    first, second = org.new(), org.new()
    org.set(locked_ids=[first])
    records = [lead(id=first, City="A"), lead(id=second, City="A")]
    told = org.call("PATCH", "composite/sobjects", json={"records": records}).json()
    assert [one["success"] for one in told] == [False, True]
    assert told[0]["errors"][0]["statusCode"] == "UNABLE_TO_LOCK_ROW"
    org.set(locked_ids=[], lock_next=1)
    told = org.call("PATCH", "composite/sobjects", json={"records": records}).json()
    assert [one["success"] for one in told] == [False, True]
    assert all(one["success"] for one in org.call("PATCH", "composite/sobjects", json={"records": records}).json())
    org.set(lock_each=2)
    told = [org.call("PATCH", "composite/sobjects", json={"records": records}).json() for _ in range(2)]
    assert [one["success"] for one in told[0]].count(False) == [one["success"] for one in told[1]].count(False) == 1


def test_a_row_can_be_locked_so_many_times(org: Calls) -> None:
    identity = org.new()
    org.set(locks={"Lead": {identity: 2}}, lock_inserts={"Lead": 1})
    answers = [org.call("PATCH", f"sobjects/Lead/{identity}", json={"City": "Ulm"}).status_code for _ in range(3)]
    assert answers == [400, 400, 204]
    made = [org.call("POST", "sobjects/Lead", json={"LastName": "A", "Company": "B"}).status_code for _ in range(2)]
    assert made == [400, 201]
