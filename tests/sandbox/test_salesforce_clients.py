"""The Salesforce sandbox under a client that others wrote: simple-salesforce."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter
from simple_salesforce import (
    Salesforce,
    SalesforceAuthenticationFailed,
    SalesforceExpiredSession,
    SalesforceMalformedRequest,
    SalesforceMoreThanOneRecord,
    SalesforceRefusedRequest,
    SalesforceResourceNotFound,
)
from simple_salesforce.exceptions import SalesforceGeneralError

from salesforce_calls import Calls

#: What ran, by this file's tests; the last test looks whether anything is missing.
CALLS = {
    "query",
    "query_all",
    "query_all_iter",
    "query_more",
    "describe",
    "limits",
    "is_sandbox",
    "restful",
    "Lead.describe",
    "Lead.metadata",
    "Lead.get",
    "Lead.get_by_custom_id",
    "Lead.create",
    "Lead.update",
    "Lead.upsert",
    "Lead.delete",
    "Lead.deleted",
    "Lead.updated",
    "Attachment.get_base64",
    "bulk2.Lead.query",
    "bulk2.Lead.query_all",
    "bulk2.Lead.download",
    "bulk2.Lead.insert",
    "bulk2.Lead.update",
    "bulk2.Lead.upsert",
    "bulk2.Lead.delete",
    "bulk2.Lead.hard_delete",
    "bulk2.Lead.get_successful_records",
    "bulk2.Lead.get_failed_records",
    "bulk2.Lead.get_unprocessed_records",
    "SOAP login",
    "password login",
    "JWT login",
    "client credentials login",
}


class ToSandbox(HTTPAdapter):
    """Takes what goes to a service's https address to the sandbox's http one."""

    def __init__(self, url: str, prefix: str = "") -> None:
        super().__init__()
        self._url, self._prefix = url, prefix

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        assert request.url is not None
        path = request.url.split("/", 3)[3]
        request.url = f"{self._url}{self._prefix}/{path}"
        return super().send(request, *args, **kwargs)


@pytest.fixture
def session(org: Calls) -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.mount(org.url.replace("http://", "https://"), ToSandbox(org.url))
        session.mount("https://login.salesforce.com", ToSandbox(org.url, "/login"))
        session.mount("https://acme.my.salesforce.com", ToSandbox(org.url))
        yield session


@pytest.fixture
def sf(org: Calls, session: requests.Session) -> Salesforce:
    return Salesforce(
        instance_url=org.url.replace("http://", "https://"), session_id=org.sign_in(), session=session, version="59.0"
    )


def log_in(session: requests.Session, **how: Any) -> Salesforce:
    client = Salesforce(session=session, version="59.0", **how)
    assert client.query("SELECT COUNT() FROM User")["totalSize"] == 6
    return client


def test_queries_in_all_their_forms(org: Calls, sf: Salesforce) -> None:
    org.set(page_rows=200)
    soql = "SELECT Id, Name, Owner.Name FROM Lead"
    kept = [row["Id"] for row in org.kept("Lead")]
    page = sf.query(soql)
    assert (page["totalSize"], page["done"]) == (len(kept), False)
    more = sf.query_more(page["nextRecordsUrl"], identifier_is_url=True)
    by_name = sf.query_more(page["nextRecordsUrl"].rsplit("/", 1)[1], identifier_is_url=False)
    assert more["records"] == by_name["records"]
    assert [row["Id"] for row in sf.query_all(soql)["records"]] == kept
    assert [row["Id"] for row in sf.query_all_iter(soql)] == kept
    deleted = sf.query_all("SELECT Id FROM Lead WHERE IsDeleted = TRUE", include_deleted=True)
    assert deleted["totalSize"] == len(org.kept("Lead", deleted=True)) - len(kept)


def test_describes_and_limits(sf: Salesforce) -> None:
    assert {"Lead", "Account"} <= {one["name"] for one in sf.describe()["sobjects"]}
    assert {"Id", "LeadScore__c"} <= {one["name"] for one in sf.Lead.describe()["fields"]}
    assert sf.Lead.metadata()["objectDescribe"]["name"] == "Lead"
    assert sf.limits()["DailyApiRequests"]["Max"] == 1_000_000
    assert sf.api_usage["api-usage"].total == 1_000_000
    assert sf.is_sandbox() is True
    assert sf.restful("limits")["DailyBulkV2QueryJobs"]["Max"] == 10_000


def test_records_are_made_read_changed_and_deleted(org: Calls, sf: Salesforce) -> None:
    made = sf.Lead.create({"LastName": "Simple", "Company": "Force"})
    assert made["success"] is True
    assert sf.Lead.update(made["id"], {"LeadScore__c": 42}) == 204
    assert sf.Lead.get(made["id"])["LeadScore__c"] == 42
    assert sf.Lead.upsert("External_Id__c/SIMPLE-1", {"LastName": "New", "Company": "Force"}) == 201
    assert sf.Lead.upsert("External_Id__c/SIMPLE-1", {"City": "Rome"}) == 200
    assert sf.Lead.get_by_custom_id("External_Id__c", "SIMPLE-1")["City"] == "Rome"
    assert sf.Lead.delete(made["id"]) == 204
    now = org.clock()
    gone = sf.Lead.deleted(now - timedelta(minutes=5), now + timedelta(minutes=1))
    assert made["id"] in [one["id"] for one in gone["deletedRecords"]]
    assert made["id"] not in sf.Lead.updated(now - timedelta(minutes=5), now + timedelta(minutes=1))["ids"]
    attachment = sf.query("SELECT Id FROM Attachment ORDER BY Id LIMIT 1")["records"][0]["Id"]
    assert sf.Attachment.get_base64(attachment) == b"attachment 0\n"


def parsed(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_bulk_queries(org: Calls, sf: Salesforce, tmp_path: Any) -> None:
    pages = list(sf.bulk2.Lead.query("SELECT Id, Name FROM Lead", max_records=150, wait=0.01))
    kept = [row["Id"] for row in org.kept("Lead")]
    assert [row["Id"] for page in pages for row in parsed(page)] == kept
    everything = "".join(sf.bulk2.Lead.query_all("SELECT Id FROM Lead WHERE IsDeleted = TRUE", wait=0.01))
    assert len(parsed(everything)) == len(org.kept("Lead", deleted=True)) - len(kept)
    files = sf.bulk2.Lead.download("SELECT Id FROM Lead", path=str(tmp_path), max_records=200, wait=0.01)
    assert sum(one["number_of_records"] for one in files) == len(kept)


def test_bulk_writes_and_their_three_result_sets(org: Calls, sf: Salesforce) -> None:
    bulk = sf.bulk2.Lead
    rows = [{"LastName": f"Bulk {n}", "Company": "Own", "External_Id__c": f"BULK-{n}", "Email": ""} for n in range(5)]
    rows.append({"LastName": "Bad", "Company": "Own", "External_Id__c": "BULK-X", "Email": "badone"})
    (made,) = bulk.insert(records=rows, wait=0.01)
    assert (made["numberRecordsProcessed"], made["numberRecordsFailed"]) == (6, 1)
    good = parsed(bulk.get_successful_records(made["job_id"]))
    (bad,) = parsed(bulk.get_failed_records(made["job_id"]))
    assert {row["LastName"] for row in good} == {f"Bulk {n}" for n in range(5)}
    assert bad["sf__Error"].startswith("INVALID_EMAIL_ADDRESS")
    assert parsed(bulk.get_unprocessed_records(made["job_id"])) == []
    ids = [row["sf__Id"] for row in good]
    (changed,) = bulk.update(records=[{"Id": one, "LeadScore__c": "77"} for one in ids], wait=0.01)
    assert changed["numberRecordsFailed"] == 0
    assert set(org.column("SELECT LeadScore__c FROM Lead WHERE LastName LIKE 'Bulk %'")) == {77}
    keyed = [{"External_Id__c": f"BULK-{n}", "LastName": f"Bulk {n}", "Company": "Other"} for n in range(4, 7)]
    (upserted,) = bulk.upsert(records=keyed, external_id_field="External_Id__c", wait=0.01)
    told = parsed(bulk.get_successful_records(upserted["job_id"]))
    assert sorted(row["sf__Created"] for row in told) == ["false", "true", "true"]
    (deleted,) = bulk.delete(records=[{"Id": one} for one in ids], wait=0.01)
    assert deleted["numberRecordsFailed"] == 0
    fresh = [{"Id": row["sf__Id"]} for row in told if row["sf__Created"] == "true"]
    (purged,) = bulk.hard_delete(records=fresh, wait=0.01)
    assert purged["numberRecordsFailed"] == 0
    assert org.column("SELECT Id FROM Lead WHERE LastName LIKE 'Bulk %'") == []


def test_sign_ins(org: Calls, session: requests.Session) -> None:
    soap, password, jwt = org.ways["soap"], org.ways["password"], org.ways["jwt"]
    user = {"username": soap["username"], "password": soap["password"]}
    app = {"consumer_key": password["client_id"], "consumer_secret": password["client_secret"]}
    log_in(session, **user, security_token=soap["security_token"])
    whole = {"username": user["username"], "password": user["password"] + soap["security_token"]}
    log_in(session, **whole, **app)
    log_in(session, username=jwt["username"], consumer_key=jwt["client_id"], privatekey=jwt["private_key"])
    log_in(session, **app, domain="acme.my")


def test_a_session_that_ended_is_renewed_by_the_client(org: Calls, session: requests.Session) -> None:
    soap = org.ways["soap"]
    client = log_in(
        session, username=soap["username"], password=soap["password"], security_token=soap["security_token"]
    )
    requests.delete(f"{org.url}/_sandbox/sessions", timeout=30)
    assert client.query("SELECT COUNT() FROM User")["totalSize"] == 6


def test_refusals_are_the_clients_own_errors(org: Calls, sf: Salesforce, session: requests.Session) -> None:
    def raised(kind: type[Exception], code: str, call: Callable[[], Any]) -> None:
        with pytest.raises(kind) as caught:
            call()
        assert code in str(caught.value)

    raised(SalesforceMalformedRequest, "INVALID_FIELD", lambda: sf.query("SELECT Nope FROM Lead"))
    raised(SalesforceMalformedRequest, "MALFORMED_QUERY", lambda: sf.query("nonsense"))
    raised(SalesforceMalformedRequest, "REQUIRED_FIELD_MISSING", lambda: sf.Lead.create({"LastName": "A"}))
    raised(SalesforceResourceNotFound, "NOT_FOUND", lambda: sf.Lead.get("00Q5g00000zzzzzEAA"))
    org.new(Legacy_Number__c="BOTH"), org.new(Legacy_Number__c="BOTH")
    raised(SalesforceMoreThanOneRecord, "/sobjects/Lead/", lambda: sf.Lead.upsert("Legacy_Number__c/BOTH", {}))
    org.faults(next=["500"])
    raised(SalesforceGeneralError, "UNKNOWN_EXCEPTION", sf.limits)
    org.set(daily_requests=0)
    raised(SalesforceRefusedRequest, "REQUEST_LIMIT_EXCEEDED", sf.limits)
    requests.delete(f"{org.url}/_sandbox/sessions", timeout=30)
    raised(SalesforceExpiredSession, "INVALID_SESSION_ID", sf.limits)
    with pytest.raises(SalesforceAuthenticationFailed) as failed:
        Salesforce(username="nobody", password="wrong", security_token="x", session=session)
    assert failed.value.code == "INVALID_LOGIN"
    app = org.ways["client_credentials"]
    with pytest.raises(SalesforceAuthenticationFailed):
        Salesforce(consumer_key=app["client_id"], consumer_secret="wrong", domain="acme.my", session=session)


def test_the_list_of_calls_is_what_this_file_makes() -> None:
    """Every call that CALLS lists stands in the tests above."""
    with open(__file__, encoding="utf-8") as file:
        text = file.read().partition("class ToSandbox")[2]
    plain = {call.rpartition(".")[2] for call in CALLS if "login" not in call}
    assert [name for name in sorted(plain) if f".{name}(" not in text and f".{name})" not in text] == []
