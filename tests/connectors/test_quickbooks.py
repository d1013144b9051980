"""The QuickBooks source on a made-up company: every stream, every pitfall of the API, faults, tokens, reports."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import duckdb
import httpx2
import pytest

from bigcommerce_reads import merged
from copying import copied
from quickbooks_company import Company, Reader, ids, kept, open_company, same
from shell import Shell
from suiro.app.connections import connection
from suiro.connectors.quickbooks import connector, sign_in
from suiro.connectors.quickbooks.config import QuickBooksConfig
from suiro.connectors.quickbooks.entities import CHANGED, RECURRING, RESOURCES
from suiro.engine.accounts import Accounts
from suiro.model.change import OP
from suiro.model.errors import AuthError, ConfigError, ResyncRequired, UserError
from suiro.model.schema import ReadMode
from suiro.model.selection import Deletes, WriteMode
from suiro.testing.context import LocalContext
from suiro.toolkit.boundary import encode
from suiro.toolkit.http.pages import PageNumbers

ENTITIES = [one.name for one in RESOURCES if one.path == "/query"]
FAULTS = ["429", "500", "503", "drop", "lost", "slow", "expired_token", "duplicate_page"]


@pytest.fixture(scope="module")
def running() -> Iterator[Company]:
    with open_company() as company:
        yield company


@pytest.fixture
def company(running: Company) -> Company:
    """Its settings are as at first for each test; its objects are what the tests before left."""
    running.again()
    return running


@pytest.fixture(scope="module")
def untouched() -> Iterator[Company]:
    """A company that tests only read."""
    with open_company() as company:
        yield company


Open = Callable[..., Reader]


@pytest.fixture
def opened(company: Company, tmp_path: Path) -> Iterator[Open]:
    """Makes readers of the company, which are closed after the test."""
    readers: list[Reader] = []

    def make(company: Company = company, **settings: Any) -> Reader:
        readers.append(Reader(company, tmp_path / str(len(readers)), **settings))
        return readers[-1]

    yield make
    for one in readers:
        one.source.close()


@pytest.fixture
def reader(opened: Open) -> Reader:
    return opened()


def small_pages(reader: Reader, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """Pages of so many objects."""
    pages = PageNumbers(size=size, size_param=None)
    some = tuple(replace(one, pages=pages) if one.path == "/query" else one for one in reader.source.resources())
    monkeypatch.setattr(reader.source, "resources", lambda: some)


def own(company: Company, reader: Reader, name: str) -> list[dict[str, Any]]:
    return kept(company, name, reader.source.find(name).schema)


# --- every stream


def test_every_row_of_every_entity_is_the_companys(untouched: Company, opened: Open) -> None:
    reader = opened(untouched)
    for name in ENTITIES:
        found = reader.read(name)
        assert (found.rejected, found.schemas) == ([], []), name
        if name != RECURRING:
            same(own(untouched, reader, name), found.rows)
    assert reader.requests == len(ENTITIES)


def test_recurring_transactions_are_told_with_their_kind_and_whole(untouched: Company, opened: Open) -> None:
    stored = [next(iter(one.items())) for one in untouched.records(RECURRING)]
    found = opened(untouched).read(RECURRING).rows
    assert [(row["Type"], row["Id"], row["Name"], row["RecurType"], row["Active"]) for row in found] == [
        ("Invoice", "1", "毎月の請求", "Automated", True),
        ("Bill", "2", "Rent", "Reminded", False),
    ]
    for row, (_, inner) in zip(found, stored, strict=True):
        assert row["Transaction"] == inner and row["RecurringInfo"] == inner["RecurringInfo"]
        assert row["TotalAmt"] == inner["TotalAmt"]


def test_every_entity_with_a_cursor_is_followed(untouched: Company, opened: Open) -> None:
    reader = opened(untouched)
    for name in (one.name for one in RESOURCES if one.cursor is not None):
        first = reader.follow(name)
        same(own(untouched, reader, name), first.rows)
        assert reader.follow(name, first.position).rows == [], name


def test_changes_are_read_and_nothing_else(company: Company, reader: Reader) -> None:
    for name in ("Invoice", "Customer"):
        first = reader.follow(name)
        made = company.change(name, change=3, add=2, seed=5)
        second = reader.follow(name, first.position)
        assert set(ids(second)) == {*made["changed"], *made["added"]}
        same(own(company, reader, name), merged(first, second, key="Id"))


def test_a_held_back_position_brings_what_became_visible_late_and_nothing_twice(company: Company, opened: Open) -> None:
    reader = opened(hold_back=300)
    company.change("Payment", change=2, seed=1)
    first = reader.follow("Payment")
    assert reader.follow("Payment", first.position).rows == []
    late = (datetime.now(UTC) - timedelta(seconds=200)).isoformat(timespec="seconds")
    (id_,) = company.put("Payment", {"TotalAmt": 1, "MetaData": {"LastUpdatedTime": late}})
    assert ids(reader.follow("Payment", first.position)) == [id_]


def test_a_read_asks_for_as_little_as_can_be(company: Company, reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    number = len(company.records("Customer"))
    assert len(reader.read("Customer").rows) == number and reader.requests == 1
    small_pages(reader, monkeypatch, 30)
    before = reader.requests
    found = reader.read("Customer")
    least = -(-number // 30)
    same(own(company, reader, "Customer"), found.rows)
    assert reader.requests - before <= least + 1  # each page begins with the last moment of the one before it


# --- the pitfalls


def test_pitfall_1_json_is_asked_for(company: Company, reader: Reader) -> None:
    company.sign_in()
    plain = company.ask("GET", "/query", params={"query": "SELECT * FROM Term"}, headers={"Accept": "*/*"})
    assert plain.headers["content-type"].startswith("application/xml")
    assert len(reader.read("Term").rows) == 2


def test_pitfall_2_an_entity_without_objects_is_no_error(reader: Reader) -> None:
    found = reader.follow("RefundReceipt")
    assert found.rows == [] and reader.follow("RefundReceipt", found.position).rows == []


def test_pitfall_3_inactive_names_are_read(company: Company, reader: Reader) -> None:
    first = reader.follow("Customer")
    gone = company.change("Customer", delete=2, seed=3)["deleted"]
    found = reader.follow("Customer", first.position)
    assert {row["Id"]: row["Active"] for row in found.rows} == dict.fromkeys(gone, False)
    assert all(row["DisplayName"].endswith(" (deleted)") for row in found.rows)
    assert len(reader.read("Customer").rows) > company_active(company)


def company_active(company: Company) -> int:
    company.sign_in()
    return int(company.query("SELECT COUNT(*) FROM Customer")["totalCount"])


def test_pitfall_4_hard_deletes_are_in_the_log(company: Company, reader: Reader) -> None:
    first = reader.log("Invoice")
    same(own(company, reader, "Invoice"), merged(first, key="Id"))
    made = company.change("Invoice", change=3, add=2, delete=3, seed=4)
    before = reader.requests
    second = reader.log("Invoice", first.position)
    assert reader.requests - before == 2  # the log, and whether what it tells as deleted is gone
    wanted = dict.fromkeys(made["deleted"], "d") | dict.fromkeys([*made["changed"], *made["added"]], "u")
    assert wanted.items() <= {row["Id"]: row[OP] for row in second.rows}.items()
    same(own(company, reader, "Invoice"), merged(first, second, key="Id"))
    assert "Deleted" not in reader.source.find("Invoice").schema.names


def test_pitfall_4_hard_deletes_are_missing_among_the_keys(company: Company, reader: Reader) -> None:
    gone = company.change("Purchase", delete=2, seed=4)["deleted"]
    keys = reader.read("Purchase", chosen=("Id",))
    assert not set(gone) & set(ids(keys))
    assert sorted(ids(keys)) == sorted(row["Id"] for row in company.records("Purchase"))


def test_pitfall_4_what_the_log_tells_as_deleted_and_only_changed_stays(company: Company, reader: Reader) -> None:
    first = reader.log("Bill")
    company.set(cdc_false_deletes=100)
    made = company.change("Bill", change=3, delete=1, seed=4)
    second = reader.log("Bill", first.position)
    wanted = {made["deleted"][0]: "d"} | dict.fromkeys(made["changed"], "u")
    assert wanted.items() <= {row["Id"]: row[OP] for row in second.rows}.items()
    same(own(company, reader, "Bill"), merged(first, second, key="Id"))


def test_pitfall_5_a_log_that_tells_a_thousand_may_not_have_told_all(company: Company, reader: Reader) -> None:
    first = reader.log("Deposit")
    company.put("Deposit", *({"TotalAmt": 1} for _ in range(1_001)))
    with pytest.raises(ResyncRequired, match="1,000 objects of Deposit changed since") as error:
        reader.log("Deposit", first.position)
    assert "run it more often" in str(error.value.hint)


def test_pitfall_5_the_log_goes_back_thirty_days(reader: Reader) -> None:
    old = {**reader.log("Estimate").position, "told": (datetime.now(UTC) - timedelta(days=31)).isoformat()}
    with pytest.raises(ResyncRequired, match="older than 30 days"):
        reader.log("Estimate", old)


def test_a_quiet_streams_log_stays_young(company: Company, reader: Reader) -> None:
    """Its position follows the service's clock, not its last change, which may be older than the log."""
    told = datetime.fromisoformat(str(reader.log("Class").position["told"]))
    assert datetime.now(UTC) - told < timedelta(minutes=1)
    assert datetime.now(UTC) - datetime.fromisoformat(company.records("Class")[0]["MetaData"]["LastUpdatedTime"]) > (
        timedelta(days=30)
    )


def test_a_log_that_is_broken_off_at_first_goes_on_and_knows_of_deletes_since_then(
    company: Company, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_pages(reader, monkeypatch, 5)
    first = reader.log("Invoice", stop=1)
    assert first.position["partial"] and 0 < len(first.rows) < len(company.records("Invoice"))
    gone = company.change("Invoice", delete=4, change=2, seed=6)["deleted"]
    second = reader.log("Invoice", first.position)
    assert "partial" not in second.position and second.position["told"] == first.position["told"]
    third = reader.log("Invoice", second.position)
    assert set(gone) <= {row["Id"] for row in third.rows if row[OP] == "d"}
    same(own(company, reader, "Invoice"), merged(first, second, third, key="Id"))


def test_pitfall_6_refresh_tokens_are_replaced_and_shared(company: Company, opened: Open) -> None:
    company.set(rotate_seconds=0)
    agreed = signed_in(company, {})
    accounts = Accounts()
    readers = [opened(accounts=accounts, refresh_token=agreed) for _ in range(2)]
    for _ in range(3):
        for one in readers:
            company.faults(next=["expired_token"])
            assert len(one.read("Term").rows) == 2
    assert company.told()["requests"]["POST /oauth2/v1/tokens/bearer"] >= 5
    company.http.headers.pop("Authorization", None)
    old = company.token(grant_type="refresh_token", refresh_token=agreed)
    assert (old.status_code, old.json()) == (400, {"error": "invalid_grant"})


def signed_in(company: Company, settings: dict[str, Any]) -> str:
    """A user's consent by hand: a refresh token of one's own."""
    asked = {"client_id": company.way["client_id"], "redirect_uri": "http://localhost/back", "state": "s"}
    page = httpx2.get(company.way["authorize_url"], params={**asked, "response_type": "code", **settings})
    code = dict(parse_qsl(urlsplit(page.headers["location"]).query))["code"]
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": asked["redirect_uri"]}
    return str(company.token(**form).raise_for_status().json()["refresh_token"])


def test_a_sign_in_that_ended_says_what_to_do(opened: Open) -> None:
    reader = opened(refresh_token="AB11-ended")
    with pytest.raises(AuthError, match="invalid_grant") as error:
        reader.source.check()
    assert "sign in again" in str(error.value.hint)
    assert "AB11-ended" not in error.value.message


def test_a_sign_in_that_ends_soon_is_told(company: Company, reader: Reader, opened: Open) -> None:
    reader.source.check()
    assert reader.source.remarks() == ()
    company.set(refresh_seconds=5 * 86_400)
    other = opened()
    other.source.check()
    (note,) = other.source.remarks()
    assert note.startswith(f"The sign-in ends about {datetime.now(UTC) + timedelta(days=5):%Y-%m-%d}")


@pytest.mark.parametrize("capital", [False, True])
def test_a_token_that_ended_is_renewed(company: Company, reader: Reader, capital: bool) -> None:
    company.set(capital_401=capital)
    assert len(reader.read("Term").rows) == 2
    company.faults(next=["expired_token"])
    assert len(reader.read("Term").rows) == 2


def test_pitfall_7_objects_that_change_while_pages_are_turned_are_neither_lost_nor_doubled(
    company: Company, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_pages(reader, monkeypatch, 20)
    there = {row["Id"] for row in company.records("Invoice")}
    company.set(drift_every=1)
    full = reader.read("Invoice")
    first = reader.follow("Invoice")
    company.set(drift_every=0)
    still = {row["Id"] for row in company.records("Invoice")}
    assert len(set(ids(full))) == len(ids(full)) and there & still <= set(ids(full))
    second = reader.follow("Invoice", first.position)
    rows = [row for row in merged(first, second, key="Id") if row["Id"] in still]
    same(own(company, reader, "Invoice"), rows)


def test_pitfall_7_objects_of_one_second_are_more_than_a_page(
    company: Company, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = {"LastUpdatedTime": "2026-02-03T04:05:06-08:00"}
    company.put("Transfer", *({"Amount": number, "MetaData": at} for number in range(45)))
    small_pages(reader, monkeypatch, 10)
    first = reader.follow("Transfer")
    same(own(company, reader, "Transfer"), first.rows)
    (new,) = company.put("Transfer", {"Amount": 99})
    assert ids(reader.follow("Transfer", first.position)) == [new]


def test_pitfall_8_moments_are_compared_as_instants_when_the_clocks_change(company: Company, reader: Reader) -> None:
    """01:30 comes twice that night, first seven hours behind UTC, then eight."""
    first, second = "2025-11-02T01:30:00-07:00", "2025-11-02T01:10:00-08:00"
    made = [*company.put("VendorCredit", {"MetaData": {"LastUpdatedTime": first}})]
    made += company.put("VendorCredit", {"MetaData": {"LastUpdatedTime": second}})
    raw = {row["Id"]: row["MetaData"]["LastUpdatedTime"] for row in company.records("VendorCredit")}
    assert [raw[id_] for id_ in made] == [first, second]
    rows = {row["Id"]: row for row in reader.read("VendorCredit").rows}
    assert [rows[id_][CHANGED] for id_ in made] == [datetime.fromisoformat(first), datetime.fromisoformat(second)]
    since: dict[str, Any] = {"field": CHANGED, "columns": [], "boundary": {}}
    between = since | {"cursor": encode(datetime.fromisoformat(first) + timedelta(minutes=1))}
    found = ids(reader.follow("VendorCredit", between))
    assert made[1] in found and made[0] not in found


def test_pitfall_9_what_is_special_in_urls_arrives_as_it_is(company: Company, reader: Reader) -> None:
    """The moment in the filter has a plus sign: what the service hears as a blank is a fault."""
    company.sign_in()
    heard = company.ask(
        "GET", "/query?query=SELECT * FROM Term WHERE MetaData.LastUpdatedTime >= '2025-01-01T00:00:00+00:00'"
    )
    assert heard.status_code == 400
    first = reader.follow("Term")
    company.change("Term", change=1, seed=2)
    assert len(reader.follow("Term", first.position).rows) == 1


def test_pitfall_10_some_have_no_cursor_and_some_no_log(reader: Reader) -> None:
    modes = {stream.name: stream.read_modes for stream in reader.source.discover()}
    assert {name for name in ENTITIES if modes[name] == {ReadMode.FULL}} == {
        "CompanyInfo",
        "Preferences",
        "ExchangeRate",
        RECURRING,
    }
    assert not any(
        ReadMode.LOG in modes[name] for name in ("JournalCode", "TaxAgency", "TimeActivity", "TaxCode", "TaxRate")
    )
    assert ReadMode.LOG in modes["Invoice"] and ReadMode.LOG in modes["Customer"]


def test_pitfall_11_a_thousand_are_asked_for_where_nothing_said_means_a_hundred(
    company: Company, reader: Reader
) -> None:
    company.sign_in()
    assert len(company.query("SELECT * FROM Customer")["Customer"]) == 100
    assert len(reader.read("Customer").rows) > 100 and reader.requests == 1


# --- refusals and faults


@pytest.mark.parametrize("status", [429, 403])
def test_a_throttle_in_either_shape_is_waited_out(company: Company, reader: Reader, status: int) -> None:
    company.set(throttle_status=status)
    company.faults(next=["429"], routes=["/v3/company/{company}/query"])
    assert len(reader.read("Term").rows) == 2
    assert company.told()["answers"][str(status)] == 1


def test_the_rate_of_the_connection_is_kept(company: Company, opened: Open) -> None:
    company.set(per_second=2)
    reader = opened(requests_per_second=1)
    for name in ("Term", "Class", "Department"):
        assert reader.read(name).rows
    assert set(company.told()["answers"]) == {"200"}


def test_a_fault_in_an_answer_of_200_is_a_refusal(company: Company, opened: Open) -> None:
    company.set(query_faults_in_200=True)
    reader = opened()
    with pytest.raises(UserError, match=r"200 OK: 4000: QueryParserError: .* \(intuit_tid 1-[0-9a-f]{24}\)"):
        reader.source.http.get("/query", params={"query": "SELECT"})


def test_a_company_that_the_app_may_not_see_is_told(opened: Open) -> None:
    with pytest.raises(AuthError, match="403 Forbidden: 3100"):
        opened(company_id="123").source.check()


@pytest.mark.parametrize("name", ["Invoice", "Customer", "Payment"])
def test_faults_in_one_request_of_twenty_change_no_row(
    company: Company, reader: Reader, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    small_pages(reader, monkeypatch, 8)
    company.faults(seed=11, rate=0.05, kinds=FAULTS, slow_seconds=0.02)
    same(own(company, reader, name), reader.read(name).rows)
    first = reader.log(name)
    company.change(name, change=5, add=2, delete=2, seed=2)
    second = reader.log(name, first.position)
    same(own(company, reader, name), merged(first, second, key="Id"))
    assert company.told()["faults"]


# --- values


def test_custom_fields_are_json_and_columns_where_they_are_named(company: Company, opened: Open) -> None:
    reader = opened(custom_fields=("Crew #", "Paid"))
    (id_,) = company.put(
        "Invoice",
        {
            "CustomField": [
                {"DefinitionId": "1", "Name": "Crew #", "Type": "StringType", "StringValue": "7"},
                {"DefinitionId": "2", "Name": "Paid", "Type": "BooleanType", "BooleanValue": True},
                {"DefinitionId": "3", "Name": "Rate", "Type": "NumberType", "NumberValue": 1.10},
            ]
        },
    )
    row = next(row for row in reader.read("Invoice").rows if row["Id"] == id_)
    assert (row["CustomField_Crew #"], row["CustomField_Paid"]) == ("7", "true")
    assert row["CustomField"][2]["NumberValue"] == Decimal("1.1")
    assert sum(row["CustomField_Crew #"] is not None for row in reader.read("Invoice").rows) > 10


def test_amounts_are_exact_and_what_is_new_becomes_a_column(company: Company, reader: Reader) -> None:
    odd = {"Amount": 12345678901234.123456, "Sign": "+0%'\\", "FromAccountRef": {"value": "1", "type": "Bank"}}
    (id_,) = company.put("Transfer", odd | {"Memo": "\u0000a", "Extra": {"a": [1.5]}})
    found = reader.read("Transfer")
    row = next(row for row in found.rows if row["Id"] == id_)
    assert row["Amount"] == Decimal("12345678901234.123")  # what the store's own JSON holds
    assert (row["Sign"], row["Memo"], row["FromAccountRef_type"]) == ("+0%'\\", "\u0000a", "Bank")
    assert row["Extra"] == {"a": [Decimal("1.5")]}
    assert {"Sign", "Memo", "Extra", "FromAccountRef_type"} <= set(found.schemas[-1].names)


# --- reports


def test_profit_and_loss_is_the_sum_of_the_companys_own_forms(company: Company, opened: Open) -> None:
    reader = opened(report_start="2026-01-01", report_end="2026-06-30", report_periods="Month")
    rows = reader.read("ProfitAndLoss").rows
    lines = [
        (sale["TxnDate"], line["Amount"])
        for name in ("Invoice", "SalesReceipt")
        for sale in company.records(name)
        for line in sale.get("Line", ())
        if line["DetailType"] == "SalesItemLineDetail" and "2026-01-01" <= sale["TxnDate"] <= "2026-06-30"
    ]
    told = {row["Column"]: row["Amount"] for row in rows if row["Name"] == "Total Income"}
    assert told["Total"] == sum(Decimal(str(amount)) for _, amount in lines)
    assert told["Mar 2026"] == sum(Decimal(str(amount)) for day, amount in lines if day.startswith("2026-03"))
    assert len(told) == 7
    assert {row["Section"] for row in rows if row["Kind"] == "Data"} == {"Income", "Expenses"}
    assert {(row["Basis"], row["Currency"], str(row["EndPeriod"])) for row in rows} == {
        ("Accrual", "USD", "2026-06-30")
    }


def test_the_balance_sheet_balances_and_keys_are_unique(reader: Reader) -> None:
    rows = reader.read("BalanceSheet").rows
    totals = {row["Name"]: row["Amount"] for row in rows if row["Kind"] == "Summary"}
    assert totals["TOTAL ASSETS"] == totals["TOTAL LIABILITIES AND EQUITY"] != 0
    nested = next(row for row in rows if row["Name"] == "Accounts Payable (A/P)")
    assert nested["Section"] == "LIABILITIES AND EQUITY:Liabilities" and nested["EntityId"] == "3"
    assert len({(row["Row"], row["Position"]) for row in rows}) == len(rows)


def test_ages_are_counted_to_the_day_that_is_set(company: Company, opened: Open) -> None:
    day = "2026-03-31"
    rows = opened(report_end=day).read("AgedReceivables").rows
    owed = [one for one in company.records("Invoice") if one.get("Balance") and one.get("TxnDate", day) < day]
    total = next(row for row in rows if row["Kind"] == "Summary" and row["Column"] == "Total")
    assert total["Amount"] == sum(Decimal(str(one["Balance"])) for one in owed if one.get("DueDate"))
    assert {row["Column"] for row in rows} == {"Current", "1 - 30", "31 - 60", "61 - 90", "91 and over", "Total"}
    assert opened().read("CashFlow").rows == []


# --- settings and signing in


def test_a_connection_string_of_cdatas_names_is_understood(company: Company) -> None:
    text = (
        "quickbooks:CompanyId=1234 5678;UseSandbox=true;MinorVersion=75;OAuthClientId=a;OAuthClientSecret=b;"
        "OAuthRefreshToken=c;InitiateOAuth=GETANDREFRESH"
    )
    config = connection(text).config
    assert isinstance(config, QuickBooksConfig) and config.company_id == "12345678"
    assert config.requests_per_second * 60 <= 500  # what the service takes in a minute; in a second it takes 10
    assert config.address == "https://sandbox-quickbooks.api.intuit.com/v3/company/12345678"
    assert connection("quickbooks:CompanyId=1;OAuthAccessToken=t").config.address == (  # type: ignore[attr-defined]
        "https://quickbooks.api.intuit.com/v3/company/1"
    )
    with pytest.raises(ConfigError, match="client_id"):
        connection("quickbooks:CompanyId=1")


def came_back(page: str) -> dict[str, str]:
    """Open the page of consent; what the browser brings back."""
    return dict(parse_qsl(urlsplit(httpx2.get(page).headers["location"]).query))


def test_a_user_signs_in_for_the_company(company: Company, tmp_path: Path) -> None:
    given: dict[str, Any] = {name: value for name, value in company.ways["consent"].items() if name != "type"}
    config, context = QuickBooksConfig(**given), LocalContext(run="a", workdir=tmp_path)
    asked = sign_in(config, context, "http://localhost:8182/callback")
    answer = came_back(asked.url)
    assert answer["realmId"] == config.company_id and answer["state"] == asked.state
    asked.accept(answer)
    source = connector.source(config, context) if connector.source else None
    assert source is not None
    source.check()
    source.close()


def test_a_sign_in_for_another_company_is_refused(company: Company, tmp_path: Path) -> None:
    company.set(user_company="999")
    given: dict[str, Any] = {name: value for name, value in company.ways["consent"].items() if name != "type"}
    asked = sign_in(QuickBooksConfig(**given), LocalContext(run="a", workdir=tmp_path), "http://localhost:1/back")
    with pytest.raises(AuthError, match="chose the company 999, and the connection is for 4620816365000001"):
        asked.accept(came_back(asked.url))


# --- through the engine


def test_customers_and_invoices_arrive_and_follow_changes_and_deletes(company: Company, tmp_path: Path) -> None:
    given = {name: value for name, value in company.way.items() if name != "type"}
    source = "quickbooks:" + ";".join(f"{name}={value}" for name, value in given.items())
    file = tmp_path / "there.duckdb"
    for name in ("Customer", "Invoice"):
        task: dict[str, Any] = {"read": ReadMode.LOG, "write": WriteMode.MERGE, "deletes": Deletes.HARD}
        copied(source, f"duckdb:///{file}", name, **task)
        changes = company.change(name, change=3, add=2, delete=4, seed=9)
        copied(source, f"duckdb:///{file}", name, **task)
        with duckdb.connect(str(file)) as there:
            rows = dict(there.sql(f'SELECT "Id", epoch("MetaData_LastUpdatedTime") FROM "{name}"').fetchall())
        own_ = {one["Id"]: one["MetaData"]["LastUpdatedTime"] for one in company.records(name)}
        assert rows == {id_: datetime.fromisoformat(at).timestamp() for id_, at in own_.items()}
        assert (set(changes["deleted"]) & set(rows) == set()) is (name == "Invoice")


def test_streams_and_check_from_the_command_line(company: Company, suiro: Shell) -> None:
    given = {name: value for name, value in company.way.items() if name != "type"}
    text = "quickbooks:" + ";".join(f"{name}={value}" for name, value in given.items())
    assert suiro("check", text).code == 0
    listed = suiro("streams", text)
    assert listed.code == 0 and "AgedPayables" in listed.out and "Invoice" in listed.out
