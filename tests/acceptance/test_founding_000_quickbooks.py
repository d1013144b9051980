"""Steps 000-04, 000-05, 000-11 and 000-17 to 000-18 with QuickBooks as the source, as the document has them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from founding import Home
from quickbooks_company import Company, open_company
from shell import Shell
from suiro.sandbox.people import person

SIZES = {"Customer": 40, "Invoice": 30, "Bill": 6, "Vendor": 3}


@pytest.fixture(scope="module")
def company() -> Iterator[Company]:
    with open_company(SIZES) as company:
        yield company


@pytest.fixture(scope="module")
def home(company: Company, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A Suiro home that knows the company as the connection `books`."""
    found = Home(tmp_path_factory.mktemp("books") / "suiro")
    found.apply(connections={"books": company.way})
    return found


def string(company: Company, **changed: str) -> str:
    """A connection string of the properties that the document's page asks for."""
    way = company.way
    properties = {
        "CompanyId": way["company_id"],
        "OAuthClientId": way["client_id"],
        "OAuthClientSecret": way["client_secret"],
        "OAuthRefreshToken": way["refresh_token"],
        "InitiateOAuth": "REFRESH",
        "UseSandbox": "true",
        "MinorVersion": "75",
    }
    ours = {"base_url": way["base_url"], "token_url": way["token_url"]}
    return "quickbooks:" + "".join(f"{name}={value};" for name, value in (properties | ours | changed).items())


def test_000_04_quickbooks_is_in_the_catalogue_without_fetching_it(suiro: Shell) -> None:
    (found,) = suiro("connectors", "quick", "--json").json
    assert (found["name"], found["title"], found["source"]) == ("quickbooks", "QuickBooks Online", True)
    assert "quickbooks" in {one["name"] for one in suiro("connectors", "--json").json}


def test_000_05_its_properties_are_entered_tested_and_saved(suiro: Shell, company: Company, tmp_path: Path) -> None:
    said = suiro("check", string(company))
    assert said.code == 0 and "reached" in said.err
    wrong = suiro("check", string(company, OAuthRefreshToken="AB11-old"))
    assert wrong.code == 1 and "invalid_grant" in wrong.err and "sign in again" in wrong.err
    (tmp_path / "books.yaml").write_text(json.dumps({"connections": {"books": company.way}}))
    assert suiro("apply", str(tmp_path / "books.yaml")).code == 0
    assert suiro("check", "books", "--json").json["ok"]
    exported = suiro("export").out
    assert "books" in exported and company.way["client_secret"] not in exported


def test_000_05_a_sign_in_at_a_browser_belongs_to_the_company(home: Home, company: Company) -> None:
    home.apply(connections={"signed": company.ways["consent"]})
    before = home("check", "signed")
    assert before.code == 1 and "nobody has signed in" in before.err
    with home.start("authorize", "signed", "--no-browser", "--paste", "--json") as signing:
        assert signing.stderr is not None
        page = next(line.strip() for line in signing.stderr if line.startswith("http"))
        back = company.http.get(page).headers["location"]
        assert "realmId=4620816365000001" in back
        out, _ = signing.communicate(f"{back}\n", timeout=30)
    assert json.loads(out)["authorized"]
    assert home("check", "signed").code == 0


def rows(home: Home, sql: str) -> list[dict[str, Any]]:
    said = home("sql", "warehouse", sql, "--json")
    assert said.code == 0, said.err
    found: list[dict[str, Any]] = said.json
    return found


def test_000_11_and_000_18_customers_and_invoices_are_replicated_and_followed(home: Home, company: Company) -> None:
    """The document's destination is BigQuery; the warehouse here takes rows the same way, by merge on the key."""
    follow = {"key": ["Id"], "read": "incremental", "write": "merge", "cursor": "MetaData_LastUpdatedTime"}
    log = {"key": ["Id"], "read": "log", "write": "merge", "deletes": "hard"}
    tasks = [{"stream": "Customer", **follow}, {"stream": "Invoice", **log}]
    home.apply(jobs={"books_to_wh": {"source": "books", "destination": "warehouse", "tasks": tasks}})
    home.run("books_to_wh")
    mails = {row["PrimaryEmailAddr_Address"] for row in rows(home, 'SELECT * FROM "Customer"')}
    assert mails == {person(1, 2 * i).email for i in range(SIZES["Customer"])}  # the same people as leads elsewhere
    for entity in ("Customer", "Invoice"):
        company.change(entity, change=3, add=2, delete=2, seed=1)
    done = home.run("books_to_wh")
    assert [task["receipt"]["inserted"] for task in done["tasks"]] == [2, 2]
    assert done["tasks"][1]["receipt"]["deleted"] == 2
    for entity in ("Customer", "Invoice"):
        wanted = {one["Id"]: _seconds(one["MetaData"]["LastUpdatedTime"]) for one in company.records(entity)}
        sql = f'SELECT "Id", CAST(epoch("MetaData_LastUpdatedTime") AS BIGINT) AS at FROM "{entity}"'
        assert {row["Id"]: row["at"] for row in rows(home, sql)} == wanted
    again = home.run("books_to_wh")["tasks"][0]["receipt"]
    assert (again["inserted"], again["updated"]) == (0, 0)


def _seconds(moment: str) -> int:
    return int(datetime.fromisoformat(moment).timestamp())


def test_000_17_a_full_reload_gives_no_duplicates_and_a_report_is_a_table(home: Home, company: Company) -> None:
    tasks = [{"stream": name, "read": "full", "write": "replace"} for name in ("Vendor", "ProfitAndLoss")]
    home.apply(jobs={"reload": {"source": "books", "destination": "warehouse", "tasks": tasks}})
    for _ in range(2):
        home.run("reload")
    assert len(rows(home, 'SELECT * FROM "Vendor"')) == len(company.records("Vendor"))
    told = rows(home, """SELECT "Group", "Amount" FROM "ProfitAndLoss" WHERE "Kind" = 'Summary'""")
    sums = {row["Group"]: Decimal(str(row["Amount"])) for row in told}
    assert len(told) == 3 and sums["NetIncome"] == sums["Income"] - sums["Expenses"] != 0
