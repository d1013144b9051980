"""The QuickBooks sandbox under clients that others wrote: python-quickbooks and intuit-oauth."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests
from intuitlib.client import AuthClient
from intuitlib.enums import Scopes
from intuitlib.exceptions import AuthClientError
from quickbooks import QuickBooks
from quickbooks.batch import batch_create, batch_delete, batch_update
from quickbooks.cdc import change_data_capture
from quickbooks.exceptions import AuthorizationException, QuickbooksException, ValidationException
from quickbooks.objects.account import Account
from quickbooks.objects.base import Ref
from quickbooks.objects.company_info import CompanyInfo
from quickbooks.objects.customer import Customer
from quickbooks.objects.detailline import SalesItemLine, SalesItemLineDetail
from quickbooks.objects.invoice import Invoice
from quickbooks.objects.item import Item
from quickbooks.objects.payment import Payment, PaymentLine
from quickbooks.objects.preferences import Preferences
from quickbooks.objects.term import Term

from quickbooks_company import Company, open_company

#: What this file's tests make; the last one looks whether anything is missing.
CALLS = {
    "AuthClient",
    "AuthClient.get_authorization_url",
    "AuthClient.get_bearer_token",
    "AuthClient.refresh",
    "AuthClient.revoke",
    "Customer.all",
    "Customer.filter",
    "Customer.choose",
    "Customer.where",
    "Customer.query",
    "Customer.count",
    "Customer.get",
    "Customer.save",
    "Invoice.save",
    "Invoice.delete",
    "Payment.save",
    "Item.all",
    "Account.all",
    "CompanyInfo.get",
    "Preferences.get",
    "change_data_capture",
    "batch_create",
    "batch_update",
    "batch_delete",
    "get_report",
}


@pytest.fixture(scope="module")
def company() -> Iterator[Company]:
    with open_company({"Customer": 60, "Invoice": 20, "Bill": 6, "Vendor": 3}) as company:
        yield company


@pytest.fixture
def auth(company: Company, monkeypatch: pytest.MonkeyPatch) -> Iterator[AuthClient]:
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
    way = company.way
    client = AuthClient(
        way["client_id"],
        way["client_secret"],
        "http://localhost/back",
        environment=f"{company.url}/.well-known/openid_configuration",
        refresh_token=way["refresh_token"],
    )
    yield client
    client.close()


@pytest.fixture
def qb(company: Company, auth: AuthClient, monkeypatch: pytest.MonkeyPatch) -> Iterator[QuickBooks]:
    for name in ("api_url_v3", "sandbox_api_url_v3"):
        monkeypatch.setattr(QuickBooks, name, f"{company.url}/v3")
    client = QuickBooks(
        auth_client=auth, refresh_token=auth.refresh_token, company_id=company.way["company_id"], minorversion=75
    )
    yield client
    client.session.close()


def test_a_user_consents_and_tokens_are_renewed_and_revoked(auth: AuthClient, qb: QuickBooks) -> None:
    page = requests.get(auth.get_authorization_url([Scopes.ACCOUNTING]), allow_redirects=False, timeout=10)
    back = dict(parse_qsl(urlsplit(page.headers["location"]).query))
    assert back["state"] == auth.state_token
    auth.get_bearer_token(back["code"], realm_id=back["realmId"])
    assert auth.expires_in == 3600 and auth.x_refresh_token_expires_in > 8_000_000
    token = auth.access_token
    auth.refresh()
    assert auth.access_token != token
    assert auth.revoke()
    with pytest.raises(AuthClientError) as refused:
        auth.refresh()
    assert (refused.value.status_code, refused.value.content) == (400, b'{"error":"invalid_grant"}')


def test_lists_in_all_their_forms(company: Company, qb: QuickBooks) -> None:
    active = [one for one in company.records("Customer") if one["Active"]]
    assert Customer.count(qb=qb) == len(active)
    everybody = Customer.all(order_by="Id", qb=qb)
    assert [one.Id for one in everybody] == [one["Id"] for one in active]
    first = everybody[0]
    assert first.PrimaryEmailAddr.Address == active[0]["PrimaryEmailAddr"]["Address"]
    second = Customer.all(start_position=11, max_results=10, qb=qb)
    assert [one.Id for one in second] == [one["Id"] for one in active[10:20]]
    assert [one.Id for one in Customer.choose([first.Id, everybody[3].Id], qb=qb)] == [first.Id, everybody[3].Id]
    assert first.Id in [one.Id for one in Customer.filter(GivenName=first.GivenName, qb=qb)]
    assert [one.Id for one in Customer.where(f"DisplayName = '{first.DisplayName}'", qb=qb)] == [first.Id]
    assert len(Customer.query("SELECT * FROM Customer MAXRESULTS 7", qb=qb)) == 7
    assert Customer.get(first.Id, qb=qb).DisplayName == first.DisplayName
    assert Customer.where("Id = '4711'", qb=qb) == []
    assert len(Item.all(qb=qb)) == 7 and len(Account.all(qb=qb)) == 10


def new_invoice(amount: float) -> Invoice:
    line = SalesItemLine()
    line.Amount, line.SalesItemLineDetail = amount, SalesItemLineDetail()
    line.SalesItemLineDetail.ItemRef = ref("1")
    invoice = Invoice()
    invoice.CustomerRef, invoice.Line = ref("1"), [line]
    return invoice


def ref(value: str) -> Ref:
    made = Ref()
    made.value = value
    return made


def test_objects_are_written(company: Company, qb: QuickBooks) -> None:
    customer = Customer()
    customer.DisplayName = "Written by a client"
    kept = customer.save(qb=qb)
    assert kept.SyncToken == "0"
    kept.Notes = "changed"
    assert kept.save(qb=qb).Notes == "changed"
    with pytest.raises(QuickbooksException, match="Stale Object Error") as stale:
        kept.save(qb=qb)
    assert stale.value.error_code == 5010
    invoices = [new_invoice(10.5).save(qb=qb, request_id="once") for _ in range(2)]
    assert invoices[0].Id == invoices[1].Id and invoices[0].TotalAmt == 10.5
    payment, line = Payment(), PaymentLine()
    line.Amount = 4
    line.LinkedTxn = [invoices[0].to_linked_txn()]
    payment.CustomerRef, payment.TotalAmt, payment.Line = ref("1"), 4, [line]
    payment.save(qb=qb)
    (open_,) = [one for one in company.records("Invoice") if one["Id"] == invoices[0].Id]
    assert float(open_["Balance"]) == 6.5
    gone = Invoice.get(invoices[0].Id, qb=qb)
    assert gone.delete(qb=qb)["Invoice"]["status"] == "Deleted"
    with pytest.raises(QuickbooksException):
        Invoice.get(gone.Id, qb=qb)


def test_the_log_of_changes(company: Company, qb: QuickBooks) -> None:
    made = company.change("Invoice", change=2, delete=1, seed=8)
    since = datetime.now(UTC) - timedelta(minutes=1)
    told = change_data_capture([Invoice, Term], since.isoformat(timespec="seconds"), qb=qb)
    assert {*made["changed"], *made["deleted"]} <= {one.Id for one in told.Invoice}
    assert {one.Id for one in told.Invoice if getattr(one, "status", "") == "Deleted"} >= set(made["deleted"])
    assert not hasattr(told, "Term")


def test_batches(qb: QuickBooks) -> None:
    made = batch_create([new_invoice(amount) for amount in (1.0, 2.0)], qb=qb)
    assert (len(made.successes), made.faults) == (2, [])
    for one in made.successes:
        one.PrivateNote = "in a batch"
    changed = batch_update(made.successes, qb=qb)
    assert {one.PrivateNote for one in changed.successes} == {"in a batch"}
    stale = batch_update(made.successes, qb=qb)
    assert [one.Error[0].code for one in stale.faults] == ["5010", "5010"]
    assert len(batch_delete(changed.successes, qb=qb).batch_responses) == 2


def test_the_company_and_a_report(company: Company, qb: QuickBooks) -> None:
    assert CompanyInfo.get(company.way["company_id"], qb=qb).CompanyName == "Sandbox & Sons"
    told: dict[str, Any] = qb.get_report("AgedReceivables", {"report_date": "2026-06-30"})
    assert told["Header"]["EndPeriod"] == "2026-06-30" and told["Rows"]["Row"][-1]["group"] == "GrandTotal"
    assert Preferences.get(qb=qb).CurrencyPrefs.MultiCurrencyEnabled is True


def test_refusals_become_the_clients_own_errors(company: Company, qb: QuickBooks) -> None:
    with pytest.raises(ValidationException) as wrong:
        qb.query("SELECT * FROM Customer STARTPOSITION 0")
    assert wrong.value.error_code == 4001 and "Min allowed value is 1" in wrong.value.detail
    company.faults(next=["429"])
    with pytest.raises(QuickbooksException, match="ThrottleExceeded"):
        Term.all(qb=qb)
    company.faults(next=["expired_token"])
    with pytest.raises(AuthorizationException):
        Term.all(qb=qb)
    company.faults()


def test_the_list_of_calls_is_what_this_file_makes() -> None:
    """Every call that CALLS lists stands in the tests above."""
    with open(__file__, encoding="utf-8") as file:
        text = file.read().partition("@pytest.fixture")[2]
    assert [call for call in sorted(CALLS) if f"{call.rpartition('.')[2]}(" not in text] == []
