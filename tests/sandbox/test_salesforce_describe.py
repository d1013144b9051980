"""What the Salesforce sandbox tells of itself: versions, objects, fields, limits."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import requests

from salesforce_calls import Calls, error

#: Fields of the recorded org that the sandbox leaves out: its own custom ones, and those of products that few have.
LEFT_OUT = {
    "Lead": {"DandbCompanyId", "IndividualId"},
    "Contact": {"IndividualId", "LastCURequestDate", "LastCUUpdateDate", "Custom_External_ID__c"},
    "Account": {"DandbCompanyId", "OperatingHoursId", "Jigsaw", "JigsawCompanyId", "Tradestyle", "NaicsCode"}
    | {"NaicsDesc", "SicDesc", "UpsellOpportunity__c"},
    "Campaign": {"CampaignMemberRecordTypeId"},
}
#: What of a field the sandbox tells otherwise, or not at all.
OTHERWISE = {"label", "picklistValues", "permissionable", "relationshipName", "compoundFieldName"}


def recorded(name: str) -> list[dict[str, object]]:
    folder = os.environ.get("VENDOR_SPECS")
    path = Path(folder or ".") / "salesforce" / "describe" / f"describe_{name}.json"
    if folder is None or not path.exists():
        pytest.skip("VENDOR_SPECS names no folder with recordings")
    fields: list[dict[str, object]] = json.loads(path.read_text("utf-8"))["response_body"]["fields"]
    return fields


def test_the_versions_are_told_to_anybody(org: Calls) -> None:
    """[REC restforce services_data_success_response.json]"""
    told = requests.get(f"{org.url}/services/data/", timeout=30).json()
    assert [one["version"] for one in told] == [f"{n}.0" for n in range(59, 68)]
    assert told[-1] == {"label": "Summer '26", "url": "/services/data/v67.0", "version": "67.0"}


def test_a_version_that_was_retired_is_gone(org: Calls) -> None:
    """[WEB vantagepoint.io: v21-30 retired Summer '25]"""
    assert error(org.get("sobjects", version="30.0")) == (410, "GONE")
    assert org.get("sobjects", version="31.0").status_code == 200
    assert error(org.get("sobjects", version="99.0")) == (404, "NOT_FOUND")
    assert error(org.get("sobjects", version="sixty")) == (404, "NOT_FOUND")


def test_the_global_describe_lists_objects_and_what_they_can(org: Calls) -> None:
    """[REC restforce]"""
    told = org.get("sobjects/").json()
    assert (told["encoding"], told["maxBatchSize"]) == ("UTF-8", 200)
    objects = {one["name"]: one for one in told["sobjects"]}
    assert {"Lead", "Contact", "Account", "Opportunity", "User", "Campaign", "Wide__c"} <= set(objects)
    assert objects["Lead"]["keyPrefix"] == "00Q"
    assert objects["Lead"]["urls"]["describe"] == "/services/data/v64.0/sobjects/Lead/describe"
    assert objects["LeadChangeEvent"]["queryable"] is False
    assert objects["Wide__c"]["custom"] is True


def test_describe_of_an_object_tells_its_fields(org: Calls) -> None:
    """[REC describe_Lead]"""
    told = org.get("sobjects/Lead/describe").json()
    fields = {one["name"]: one for one in told["fields"]}
    assert (fields["Id"]["type"], fields["Id"]["soapType"], fields["Id"]["length"]) == ("id", "tns:ID", 18)
    assert [name for name, one in fields.items() if one["idLookup"]] == [
        "Id",
        "Email",
        "External_Id__c",
        "Legacy_Number__c",
    ]
    score = fields["LeadScore__c"]
    assert (score["type"], score["precision"], score["scale"], score["nillable"]) == ("double", 3, 0, True)
    assert (fields["External_Id__c"]["externalId"], fields["External_Id__c"]["unique"]) == (True, True)
    assert (fields["Street"]["compoundFieldName"], fields["Address"]["type"]) == ("Address", "address")
    assert (fields["LastName"]["compoundFieldName"], fields["Name"]["type"]) == ("Name", "string")
    assert fields["Score_Band__c"]["calculated"] is True
    assert (fields["OwnerId"]["referenceTo"], fields["OwnerId"]["polymorphicForeignKey"]) == (["Group", "User"], True)
    assert {one["childSObject"] for one in org.get("sobjects/Account/describe").json()["childRelationships"]} >= {
        "Contact",
        "Opportunity",
    }


@pytest.mark.parametrize("name", ["Lead", "Contact", "Account", "Campaign"])
def test_fields_are_told_as_they_were_recorded(org: Calls, name: str) -> None:
    """[REC describe_*.json]"""
    fields = {one["name"]: one for one in org.get(f"sobjects/{name}/describe").json()["fields"]}
    differing = {}
    for there in recorded(name):
        field = str(there["name"])
        own = field.endswith("__c") and field.islower()
        if own or field in LEFT_OUT[name] or (str(there["type"]) in ("int", "currency") and not there["createable"]):
            continue
        keys = [key for key in there if key not in OTHERWISE and fields.get(field, {}).get(key) != there[key]]
        if keys:
            differing[field] = keys
    assert differing == {}


def test_an_object_has_more_fields_than_a_uri_can_name(org: Calls) -> None:
    """[CLIENT airbyte REQUEST_SIZE_LIMITS: 16,384 bytes]"""
    names = [one["name"] for one in org.get("sobjects/Wide__c/describe").json()["fields"]]
    assert len(names) > 300
    assert org.ask(f"SELECT {','.join(names)} FROM Wide__c").status_code == 414
    assert org.ask(f"SELECT {','.join(names[:250])} FROM Wide__c").status_code == 200
    types = {one["type"] for one in org.get("sobjects/Wide__c/describe").json()["fields"]}
    assert {"time", "percent", "multipicklist", "location", "encryptedstring", "currency", "url"} <= types


def test_an_object_that_is_not_there_is_not_found(org: Calls) -> None:
    """[REC restforce: NOT_FOUND]"""
    answer = org.get("sobjects/Nothing/describe")
    assert (answer.status_code, answer.json()) == (
        404,
        [{"message": "The requested resource does not exist", "errorCode": "NOT_FOUND"}],
    )


def test_describe_is_told_again_only_when_it_changed(org: Calls) -> None:
    """[REC: ETag and Last-Modified of describe_Lead]"""
    first = org.get("sobjects/Lead/describe")
    tagged = {"If-None-Match": first.headers["ETag"]}
    dated = {"If-Modified-Since": first.headers["Last-Modified"]}
    assert org.get("sobjects/Lead/describe", headers=tagged).status_code == 304
    assert org.get("sobjects/Lead/describe", headers=dated).status_code == 304
    org.clock.forward(seconds=2)
    org.set(hidden_fields=["Lead.Phone"])
    assert org.get("sobjects/Lead/describe", headers=tagged).status_code == 200
    assert org.get("sobjects/Lead/describe", headers=dated).status_code == 200


def test_a_field_that_security_hides_is_not_told_and_fails_queries(org: Calls) -> None:
    """[1.9 pitfall 10]"""
    org.set(hidden_fields=["Lead.Phone"])
    assert "Phone" not in [one["name"] for one in org.get("sobjects/Lead/describe").json()["fields"]]
    assert error(org.ask("SELECT Id, Phone FROM Lead")) == (400, "INVALID_FIELD")
    assert error(org.call("POST", "sobjects/Lead", json={"LastName": "A", "Company": "B", "Phone": "1"})) == (
        400,
        "INVALID_FIELD",
    )


def test_limits_and_every_answer_tell_what_was_used(org: Calls) -> None:
    """[REC: Sforce-Limit-Info: api-usage=4147/15000]"""
    org.set(daily_requests=15000)
    assert org.get("limits").headers["Sforce-Limit-Info"] == "api-usage=1/15000"
    refused = org.ask("SELECT nonsense")
    assert refused.headers["Sforce-Limit-Info"] == "api-usage=2/15000"
    told = org.get("limits/").json()
    assert told["DailyApiRequests"] == {"Max": 15000, "Remaining": 14997}
    assert {"DailyBulkV2QueryJobs", "DailyBulkV2QueryFileStorageMB"} <= set(told)


def test_when_the_quota_is_used_up_requests_are_refused_until_the_day_rolls_on(org: Calls) -> None:
    """[REC 1.8: 403 REQUEST_LIMIT_EXCEEDED; rolling 24 h, no Retry-After]"""
    org.set(daily_requests=2)
    org.get("limits")
    org.get("limits")
    answer = org.get("limits")
    assert answer.status_code == 403
    assert answer.json() == [{"message": "TotalRequests Limit exceeded.", "errorCode": "REQUEST_LIMIT_EXCEEDED"}]
    assert "Retry-After" not in answer.headers
    org.clock.forward(hours=24, minutes=1)
    org.sign_in()
    assert org.get("limits").status_code == 200
