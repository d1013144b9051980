"""The QuickBooks sandbox by plain requests: its query language, log of changes, writes, reports, tokens, refusals.

[DOC], [SPEC], [REC], [CLIENT] and [WEB] say what a behaviour was taken from.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest

from quickbooks_company import Company, open_company
from suiro.sandbox.people import person
from suiro.sandbox.quickbooks.access import COMPANY


@pytest.fixture(scope="module")
def running() -> Iterator[Company]:
    with open_company({"Customer": 130, "Invoice": 40, "Bill": 9, "Vendor": 3}) as company:
        yield company


@pytest.fixture
def company(running: Company) -> Company:
    running.again()
    running.sign_in()
    return running


def fault(answer: httpx2.Response) -> tuple[int, str, str]:
    """Status, code and kind of a fault."""
    told = answer.json()["Fault"]
    return answer.status_code, told["Error"][0]["code"], told["type"]


def test_customers_are_every_other_one_of_the_made_up_people(company: Company) -> None:
    mails = {one["PrimaryEmailAddr"]["Address"] for one in company.records("Customer") if int(one["Id"]) <= 130}
    assert {person(1, 2 * i).email for i in range(130)} <= mails
    names = {one["CustomerRef"]["name"] for one in company.records("Invoice")}
    assert names <= {one["DisplayName"].removesuffix(" (deleted)") for one in company.records("Customer")}


@pytest.mark.parametrize(
    "text",
    [
        "SELECT * FROM Customer ORDERBY Id STARTPOSITION 1 MAXRESULTS 10",
        "select * from Customer order by Id asc startposition 1 maxresults 10",
        "SELECT * FROM Customer  ORDER BY Id  MAXRESULTS 10  STARTPOSITION 1  ",
        "SELECT Id, DisplayName FROM Customer ORDERBY Id MAXRESULTS 10",
        "SELECT *, Id FROM Customer MAXRESULTS 10",
    ],
)
def test_a_query_is_understood_as_clients_write_it(company: Company, text: str) -> None:
    """[CLIENT: both ORDERBY and ORDER BY, any case of keywords, blanks at the end] [DOC: by GET and POST]"""
    told = company.query(text)
    assert (told["startPosition"], told["maxResults"], len(told["Customer"])) == (1, 10, 10)
    assert told["Customer"][0]["domain"] == "QBO" and isinstance(told["Customer"][0]["Id"], str)
    posted = company.ask("POST", "/query", content=text, headers={"Content-Type": "application/text"})
    assert posted.json()["QueryResponse"] == told


def test_conditions_choose(company: Company) -> None:
    assert company.query("SELECT COUNT(*) FROM Customer WHERE Active IN (true, false)") == {
        "totalCount": len(company.records("Customer"))
    }
    active = company.query("SELECT COUNT(*) FROM Customer")["totalCount"]
    assert active == sum(one["Active"] for one in company.records("Customer"))
    three = company.query("SELECT * FROM Customer WHERE Id IN ('1', '2', '3') AND Active IN (true, false)")
    assert [one["Id"] for one in three["Customer"]] == ["1", "2", "3"]
    name = three["Customer"][0]["GivenName"]
    like = company.query(f"SELECT * FROM Customer WHERE GivenName LIKE '{name[:2]}%' MAXRESULTS 1000")
    assert {one["GivenName"][:2] for one in like["Customer"]} == {name[:2]}
    owed = company.query("SELECT * FROM Invoice WHERE Balance > '0' AND CustomerRef = '1'")
    assert all(one["CustomerRef"]["value"] == "1" for one in owed.get("Invoice", ()))
    (late,) = company.query("SELECT * FROM Invoice ORDERBY MetaData.LastUpdatedTime DESC MAXRESULTS 1")["Invoice"]
    times = [datetime.fromisoformat(one["MetaData"]["LastUpdatedTime"]) for one in company.records("Invoice")]
    assert datetime.fromisoformat(late["MetaData"]["LastUpdatedTime"]) == max(times)


def test_a_quote_in_a_value_is_escaped(company: Company) -> None:
    """[DOC]"""
    company.put("Vendor", {"DisplayName": "Pat's \\ Tools"})
    found = company.query(r"SELECT * FROM Vendor WHERE DisplayName = 'Pat\'s \\ Tools'")
    assert [one["DisplayName"] for one in found["Vendor"]] == ["Pat's \\ Tools"]


def test_nothing_found_is_an_answer_without_the_entity(company: Company) -> None:
    """[CLIENT]"""
    assert company.query("SELECT * FROM Customer WHERE Id = '999999'") == {}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("SELECT * FROM Customer STARTPOSITION 0", "4001"),  # [REC]
        ("SELECT * FROM Nothing", "4000"),
        ("SELECT * FROM Customer WHERE Id", "4000"),
        ("SELECT * FROM Customer WHERE MetaData.LastUpdatedTime > '2026-01-01T00:00:00 00:00'", "4001"),
        ("DROP TABLE Customer", "4000"),
        ("", "4000"),
    ],
)
def test_a_query_that_makes_no_sense_is_a_fault(company: Company, text: str, code: str) -> None:
    assert fault(company.ask("GET", "/query", params={"query": text})) == (400, code, "ValidationFault")


def test_moments_have_the_companys_offset_of_that_day(company: Company) -> None:
    """[REC: -07:00 in summer, -08:00 in winter]"""
    for text, offset in (("2026-07-01T00:00:00Z", "-07:00"), ("2026-01-01T00:00:00Z", "-08:00")):
        (id_,) = company.put("Deposit", {"MetaData": {"LastUpdatedTime": text}})
        (told,) = company.query(f"SELECT * FROM Deposit WHERE Id = '{id_}'")["Deposit"]
        assert told["MetaData"]["LastUpdatedTime"].endswith(offset)


# --- the log of changes


def changed(company: Company, entities: str, **more: str) -> dict[str, list[dict[str, Any]]]:
    asked = {"entities": entities, "changedSince": more.get("since", _now(-60))}
    answer = company.ask("GET", "/cdc", params=asked)
    assert answer.status_code == 200, answer.text
    (told,) = answer.json()["CDCResponse"]
    found: dict[str, list[dict[str, Any]]] = {}
    for one in told["QueryResponse"]:
        found |= {name: rows for name, rows in one.items() if isinstance(rows, list)}
    return found


def _now(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat(timespec="seconds")


def test_the_log_tells_changes_and_deletes(company: Company) -> None:
    """[REC: an element for each entity, empty where nothing changed; of deleted ones Id and time alone]"""
    made = company.change("Invoice", change=2, delete=1, seed=3)
    told = changed(company, "Invoice,RefundReceipt")
    assert set(told) == {"Invoice"}
    gone = {one["Id"]: one for one in told["Invoice"] if one.get("status") == "Deleted"}
    assert set(made["deleted"]) <= set(gone) and {*made["changed"], *made["deleted"]} <= {
        one["Id"] for one in told["Invoice"]
    }
    stub = gone[made["deleted"][0]]
    assert set(stub) == {"domain", "status", "Id", "MetaData"} and set(stub["MetaData"]) == {"LastUpdatedTime"}


def test_the_log_leaves_some_out_and_says_nothing_of_its_cap(company: Company) -> None:
    """[DOC]"""
    company.put("Transfer", *({"Amount": 1} for _ in range(12)))
    company.set(cdc_cap=10)
    assert len(changed(company, "Transfer")["Transfer"]) == 10
    for asked in ({"entities": "TaxRate", "changedSince": _now(-9)}, {"entities": "Bill", "changedSince": _now(-31e5)}):
        assert fault(company.ask("GET", "/cdc", params=asked))[:2] == (400, "4001")


# --- writes


def test_an_object_is_made_changed_and_deleted(company: Company) -> None:
    """[DOC: full and sparse updates; 5010 for a version that isn't the last]"""
    line = {"Amount": 12.5, "DetailType": "SalesItemLineDetail", "SalesItemLineDetail": {"ItemRef": {"value": "1"}}}
    body = {"CustomerRef": {"value": "1"}, "Line": [line], "TxnDate": "2026-02-03", "DueDate": "2026-03-03"}
    made = company.ask("POST", "/invoice", json=body).json()["Invoice"]
    assert (made["TotalAmt"], made["Balance"], made["SyncToken"]) == (12.5, 12.5, "0")
    sparse = {"Id": made["Id"], "SyncToken": "0", "sparse": True, "PrivateNote": "x"}
    after = company.ask("POST", "/invoice", json=sparse).json()["Invoice"]
    assert (after["PrivateNote"], after["TotalAmt"], after["SyncToken"]) == ("x", 12.5, "1")
    stale = company.ask("POST", "/invoice", json=sparse)
    assert fault(stale) == (400, "5010", "ValidationFault")
    paid = {"CustomerRef": {"value": "1"}, "TotalAmt": 10, "Line": [{"Amount": 10, "LinkedTxn": [_link(made["Id"])]}]}
    assert company.ask("POST", "/payment", json=paid).status_code == 200
    read = company.ask("GET", f"/invoice/{made['Id']}").json()["Invoice"]
    assert (read["Balance"], read["SyncToken"]) == (2.5, "2")
    end = {"Id": made["Id"], "SyncToken": "2"}
    gone = company.ask("POST", "/invoice", params={"operation": "delete"}, json=end).json()["Invoice"]
    assert gone["status"] == "Deleted"
    assert fault(company.ask("GET", f"/invoice/{made['Id']}"))[1] == "610"


def _link(id_: str) -> dict[str, str]:
    return {"TxnId": id_, "TxnType": "Invoice"}


def test_a_request_id_makes_a_write_happen_once(company: Company) -> None:
    """[DOC]"""
    number = len(company.records("Transfer"))
    answers = [company.ask("POST", "/transfer", params={"requestid": "r1"}, json={"Amount": 5}) for _ in range(3)]
    assert len({answer.json()["Transfer"]["Id"] for answer in answers}) == 1
    assert len(company.records("Transfer")) == number + 1


def test_names_are_unique_and_become_inactive(company: Company) -> None:
    """[REC: 6240; the suffix of a deleted customer's name]"""
    made = company.ask("POST", "/customer", json={"DisplayName": "Only one"}).json()["Customer"]
    assert fault(company.ask("POST", "/customer", json={"DisplayName": "Only one"}))[1] == "6240"
    end = {"Id": made["Id"], "SyncToken": "0", "sparse": True, "Active": False, "DisplayName": "Only one"}
    gone = company.ask("POST", "/customer", json=end).json()["Customer"]
    assert (gone["Active"], gone["DisplayName"]) == (False, "Only one (deleted)")
    assert company.query("SELECT * FROM Customer WHERE DisplayName LIKE 'Only one%'") == {}


def test_a_batch_answers_each_operation_for_itself(company: Company) -> None:
    """[REC: items by their bId, each of which may be a Fault]"""
    items = [
        {"bId": "a", "operation": "create", "Transfer": {"Amount": 1}},
        {"bId": "b", "operation": "delete", "Invoice": {"Id": "99999", "SyncToken": "0"}},
        {"bId": "c", "Query": "SELECT * FROM Term"},
    ]
    told = company.ask("POST", "/batch", json={"BatchItemRequest": items}).json()["BatchItemResponse"]
    assert [one["bId"] for one in told] == ["a", "b", "c"]
    assert told[0]["Transfer"]["Amount"] == 1 and told[1]["Fault"]["Error"][0]["code"] == "610"
    assert len(told[2]["QueryResponse"]["Term"]) == 2


# --- reports and the rest


def test_a_report_has_the_form_of_the_xsd(company: Company) -> None:
    """[SPEC Report.xsd]"""
    told = company.ask("GET", "/reports/ProfitAndLoss", params={"start_date": "2026-01-01"}).json()
    assert told["Header"]["ReportName"] == "ProfitAndLoss" and told["Header"]["StartPeriod"] == "2026-01-01"
    assert [one["ColType"] for one in told["Columns"]["Column"]] == ["Account", "Money"]
    income = told["Rows"]["Row"][0]
    assert income["Header"]["ColData"][0]["value"] == "Income" and income["group"] == "Income"
    amounts = [float(row["ColData"][1]["value"]) for row in income["Rows"]["Row"]]
    assert float(income["Summary"]["ColData"][1]["value"]) == pytest.approx(sum(amounts))


def test_company_and_preferences_are_read_by_themselves(company: Company) -> None:
    assert company.ask("GET", f"/companyinfo/{COMPANY}").json()["CompanyInfo"]["CompanyName"] == "Sandbox & Sons"
    assert "SalesFormsPrefs" in company.ask("GET", "/preferences").json()["Preferences"]


def test_who_does_not_ask_for_json_gets_xml(company: Company) -> None:
    """[DOC]"""
    answer = company.ask("GET", "/query", params={"query": "SELECT * FROM Term"}, headers={"Accept": "*/*"})
    assert answer.headers["content-type"].startswith("application/xml") and "<Name>Net 30</Name>" in answer.text


# --- tokens and refusals


def test_a_token_that_is_no_good_is_told_by_the_gateway(company: Company) -> None:
    """[WEB: with small letters]"""
    headers = {"Authorization": "Bearer nothing"}
    answer = company.ask("GET", "/query", params={"query": "SELECT * FROM Term"}, headers=headers)
    assert answer.status_code == 401 and answer.json()["fault"]["error"][0]["code"] == "3200"
    company.set(capital_401=True)
    answer = company.ask("GET", "/query", params={"query": "SELECT * FROM Term"}, headers=headers)
    assert answer.json()["Fault"]["Error"][0]["code"] == "3200"


def test_a_refresh_token_is_replaced_after_a_day_and_the_old_one_ends(company: Company) -> None:
    """[DOC: about every 24 hours] [WEB: 400 and invalid_grant alone]"""
    asked = {"client_id": company.way["client_id"], "redirect_uri": "http://localhost/back", "state": "s"}
    page = httpx2.get(company.way["authorize_url"], params=asked)
    back = httpx2.URL(page.headers["location"]).params
    assert (back["state"], back["realmId"]) == ("s", COMPANY)
    form = {"grant_type": "authorization_code", "code": back["code"], "redirect_uri": "http://localhost/back"}
    first = company.token(**form).json()
    assert {"token_type", "expires_in", "x_refresh_token_expires_in"} <= set(first)
    assert company.token(**form).json() == {"error": "invalid_grant"}  # a code is good once
    again = company.token(grant_type="refresh_token", refresh_token=first["refresh_token"]).json()
    assert again["refresh_token"] == first["refresh_token"] and again["access_token"] != first["access_token"]
    company.set(rotate_seconds=0)
    new = company.token(grant_type="refresh_token", refresh_token=first["refresh_token"]).json()["refresh_token"]
    assert new != first["refresh_token"]
    old = company.token(grant_type="refresh_token", refresh_token=first["refresh_token"])
    assert (old.status_code, old.content) == (400, b'{"error":"invalid_grant"}')
    revoked = company.http.post(
        f"{company.url}/v2/oauth2/tokens/revoke",
        json={"token": new},
        auth=(company.way["client_id"], company.way["client_secret"]),
    )
    assert (revoked.status_code, revoked.content) == (200, b"")
    assert company.token(grant_type="refresh_token", refresh_token=new).status_code == 400


def test_too_many_requests_are_refused(company: Company) -> None:
    """[REC: 429, or 403 in the older shape; no Retry-After]"""
    company.set(per_second=2)
    answers = [company.ask("GET", "/preferences") for _ in range(3)]
    assert [one.status_code for one in answers] == [200, 200, 429]
    assert fault(answers[2]) == (429, "3001", "SERVICE") and "retry-after" not in answers[2].headers
    company.set(per_second=1, throttle_status=403)
    answers = [company.ask("GET", "/preferences") for _ in range(2)]
    assert fault(answers[1]) == (403, "3001", "SERVICE")


@pytest.mark.parametrize(("status", "code"), [("429", "3001"), ("500", "10000"), ("503", "10000")])
def test_faults_on_purpose_look_like_the_services_own(company: Company, status: str, code: str) -> None:
    company.faults(next=[status])
    assert fault(company.ask("GET", "/preferences"))[:2] == (int(status), code)
    company.faults(next=["expired_token"])
    assert company.ask("GET", "/preferences").status_code == 401


def test_a_page_that_comes_twice_loses_nothing(company: Company) -> None:
    company.faults(next=["duplicate_page"])
    told = company.query("SELECT * FROM Customer ORDERBY Id STARTPOSITION 11 MAXRESULTS 10")["Customer"]
    assert len(told) == 12 and len({one["Id"] for one in told}) == 10


def test_a_time_zone_that_is_none_is_refused(company: Company) -> None:
    answer = company.http.patch(f"{company.url}/_sandbox/settings", json={"time_zone": "Mars/Olympus"})
    assert answer.status_code == 400 and "is no IANA time zone" in answer.text
