"""The first objects of the company, all made from its seed: customers are every other one of the made-up people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from suiro.sandbox.people import Person, draw, person
from suiro.sandbox.quickbooks.answers import Body
from suiro.sandbox.quickbooks.records import Kept, Records
from suiro.sandbox.quickbooks.writing import GONE

DAY: Final = 86_400
CUSTOMERS, INVOICES, BILLS, CHANGES = 1, 2, 3, 4  # what a number is drawn for
USD: Final = {"value": "USD", "name": "United States Dollar"}
ACCOUNTS: Final = (
    ("Checking", "Bank", "Checking", "Asset"),
    ("Accounts Receivable (A/R)", "Accounts Receivable", "AccountsReceivable", "Asset"),
    ("Accounts Payable (A/P)", "Accounts Payable", "AccountsPayable", "Liability"),
    ("Sales of Product Income", "Income", "SalesOfProductIncome", "Revenue"),
    ("Services", "Income", "ServiceFeeIncome", "Revenue"),
    ("配送料", "Income", "ServiceFeeIncome", "Revenue"),
    ("Advertising", "Expense", "AdvertisingPromotional", "Expense"),
    ("Rent or Lease", "Expense", "RentOrLeaseOfBuildings", "Expense"),
    ("Supplies", "Expense", "SuppliesMaterials", "Expense"),
    ("Mastercard", "Credit Card", "CreditCard", "Liability"),
)
ITEMS: Final = (
    ("Tea", 4, 450),
    ("Bicycle", 4, 89_900),
    ("緑茶", 4, 1_200),
    ('Paper, "A4"', 4, 799),
    ("Consulting", 5, 12_000),
    ("Repair", 5, 4_505),
    ("Delivery", 6, 999),
)
REST: Final[Mapping[str, tuple[Body, ...]]] = {
    "Class": ({"Name": "Retail", "FullyQualifiedName": "Retail", "SubClass": False},),
    "Department": ({"Name": "東京", "FullyQualifiedName": "東京", "SubDepartment": False},),
    "PaymentMethod": ({"Name": "Cash", "Type": "NON_CREDIT_CARD"}, {"Name": "Visa", "Type": "CREDIT_CARD"}),
    "Term": ({"Name": "Net 30", "Type": "STANDARD", "DueDays": 30}, {"Name": "Due on receipt", "DueDays": 0}),
    "TaxAgency": ({"DisplayName": "Oregon Tax", "TaxTrackedOnSales": True, "TaxTrackedOnPurchases": False},),
    "TaxRate": ({"Name": "8.875 %", "RateValue": 8.875, "AgencyRef": {"value": "1"}, "SpecialTaxType": "NONE"},),
    "TaxCode": ({"Name": "TAX", "Taxable": True, "TaxGroup": True, "SalesTaxRateList": {"TaxRateDetail": []}},),
    "CustomerType": ({"Name": "Wholesale", "FullyQualifiedName": "Wholesale", "Active": True},),
    "CompanyCurrency": ({"Code": "JPY", "Name": "Japanese Yen", "Active": True},),
    "ExchangeRate": (
        {"SourceCurrencyCode": "JPY", "TargetCurrencyCode": "USD", "Rate": 0.0067123456, "AsOfDate": "2026-01-05"},
    ),
    "Budget": (
        {"Name": "This year", "BudgetType": "ProfitAndLoss", "BudgetEntryType": "Monthly", "StartDate": "2026-01-01"},
    ),
    "RecurringTransaction": (
        {
            "Invoice": {
                "RecurringInfo": {"Name": "毎月の請求", "RecurType": "Automated", "Active": True},
                "TxnDate": "2026-01-31",
                "TotalAmt": 120.5,
                "CustomerRef": {"value": "1"},
                "Line": [{"Amount": 120.5, "DetailType": "SubTotalLineDetail", "SubTotalLineDetail": {}}],
            }
        },
        {"Bill": {"RecurringInfo": {"Name": "Rent", "RecurType": "Reminded", "Active": False}, "TotalAmt": 900}},
    ),
    "Attachable": ({"FileName": "領収書.pdf", "ContentType": "application/pdf", "Size": 1234, "Note": "receipt"},),
    "Preferences": (
        {
            "SalesFormsPrefs": {"CustomField": [{"CustomField": [{"Name": "SalesFormsPrefs.SalesCustomName1"}]}]},
            "CurrencyPrefs": {"MultiCurrencyEnabled": True, "HomeCurrency": {"value": "USD"}},
        },
    ),
    "CompanyInfo": (
        {
            "CompanyName": "Sandbox & Sons",
            "Country": "US",
            "FiscalYearStartMonth": "January",
            "Email": {"Address": "owner@example.com"},
            "NameValue": [{"Name": "NeoEnabled", "Value": "true"}],
        },
    ),
}


class Seeding:
    """Makes the first objects."""

    def __init__(self, records: Records, seed: int, sizes: Mapping[str, int], now: datetime) -> None:
        self._records, self._seed, self._sizes = records, seed, sizes
        self._now = int(now.timestamp())
        self._ids: Counter[str] = Counter()
        self._made: list[Kept] = []
        self._people: dict[int, Person] = {}

    def sow(self) -> None:
        """Make them, once; a company that has its own stays as it is."""
        if self._records.fact("sown") is not None:
            return
        with self._records.writing():
            for name, kind, sub, class_ in ACCOUNTS:
                body: Body = {"Name": name, "FullyQualifiedName": name, "AccountType": kind, "AccountSubType": sub}
                self._add("Account", body | {"Classification": class_, "CurrentBalance": 0, "CurrencyRef": USD})
            for name, account, cents in ITEMS:
                income = {"value": str(account), "name": ACCOUNTS[account - 1][0]}
                body = {"Name": name, "FullyQualifiedName": name, "Type": "Service", "UnitPrice": cents / 100}
                self._add("Item", body | {"IncomeAccountRef": income, "Taxable": True})
            for entity, bodies in REST.items():
                for body in bodies:
                    self._add(entity, body)
            self._lists()
            for i in range(self._sizes["Invoice"]):
                self._sale(i)
            for i in range(self._sizes["Bill"]):
                self._purchase(i)
            self._few()
            self._records.put(self._made)
            self._records.note("sown", str(self._seed))

    def _add(
        self, entity: str, body: Body, *, at: int | None = None, changed: int | None = None, active: bool = True
    ) -> str:
        self._ids[entity] += 1
        made = at if at is not None else self._now - 800 * DAY + self._ids[entity] * 3_600
        kept = Kept(
            entity=entity, id=self._ids[entity], created=made, updated=changed or made, active=active, body=body
        )
        self._made.append(kept)
        return str(kept.id)

    def _lists(self) -> None:
        for i in range(self._sizes["Customer"]):
            body, at, changed, active = grown_customer(
                self._seed, i, self._moment(i, self._sizes["Customer"]), self._now
            )
            self._people[i] = person(self._seed, 2 * i)
            self._add("Customer", body, at=at, changed=changed, active=active)
        for i in range(self._sizes["Vendor"]):
            who = person(self._seed, 40_000_000 + i)
            body = {"DisplayName": f"{who.company} {i}", "CompanyName": who.company, "Vendor1099": i % 3 == 0}
            self._add("Vendor", body | {"Balance": 0, "CurrencyRef": USD, "PrimaryEmailAddr": {"Address": who.email}})
        for i in range(3):
            who = person(self._seed, 10_000_000 + i)
            name = f"{who.first_name} {who.last_name}"
            body = {"GivenName": who.first_name, "FamilyName": who.last_name, "HiredDate": "2024-04-01"}
            self._add("Employee", {"DisplayName": name, **body, "BillableTime": False}, active=i != 2)

    def _sale(self, i: int) -> None:
        """An invoice of a customer; most are paid, whole or in part. One of eight sales is paid at once."""
        if not self._people:
            return
        body, at = sale(self._seed, i, len(self._people), self._people, self._moment(i, self._sizes["Invoice"]))
        x = draw(self._seed, INVOICES, i)
        if x % 8 == 7:
            self._add("SalesReceipt", {**body, "Balance": 0}, at=at)
            return
        total = body["TotalAmt"]
        paid = (0, total, total, round(total / 3, 2))[x >> 8 & 3]
        due = (datetime.fromtimestamp(at, UTC) + timedelta(days=30)).date().isoformat()
        invoice = {
            **body,
            "DueDate": due,
            "Balance": round(total - paid, 2),
            "EmailStatus": "NotSet",
            "DocNumber": str(1_000 + i),
        }
        changed = at + (x >> 16) % (self._now - 2 * DAY - at + 1)
        number = self._add("Invoice", invoice, at=at, changed=changed)
        if paid:
            line = {"Amount": paid, "LinkedTxn": [{"TxnId": number, "TxnType": "Invoice"}]}
            payment = {"CustomerRef": body["CustomerRef"], "TotalAmt": paid, "UnappliedAmt": 0, "Line": [line]}
            day = datetime.fromtimestamp(changed, UTC).date().isoformat()
            self._add("Payment", payment | {"TxnDate": day, "CurrencyRef": USD}, at=changed)

    def _purchase(self, i: int) -> None:
        x = draw(self._seed, BILLS, i)
        at = self._moment(i, self._sizes["Bill"])
        day = datetime.fromtimestamp(at, UTC).date()
        account = 7 + x % 3
        amount = (x >> 8) % 90_000 / 100 + 1
        detail = {"AccountRef": {"value": str(account), "name": ACCOUNTS[account - 1][0]}}
        line = {"Id": "1", "Amount": amount, "DetailType": "AccountBasedExpenseLineDetail"}
        body: Body = {"TxnDate": day.isoformat(), "TotalAmt": amount, "CurrencyRef": USD, "Line": []}
        body["Line"] = [{**line, "AccountBasedExpenseLineDetail": detail}]
        if i % 3 == 2 or not self._sizes["Vendor"]:
            self._add(
                "Purchase", body | {"PaymentType": "Cash", "AccountRef": {"value": "1", "name": "Checking"}}, at=at
            )
            return
        number = x % self._sizes["Vendor"]
        vendor = {"value": str(number + 1), "name": f"{person(self._seed, 40_000_000 + number).company} {number}"}
        paid = i % 2 == 0
        due = (day + timedelta(days=30)).isoformat()
        bill = self._add("Bill", body | {"VendorRef": vendor, "DueDate": due, "Balance": 0 if paid else amount}, at=at)
        if paid:
            linked = [{"Amount": amount, "LinkedTxn": [{"TxnId": bill, "TxnType": "Bill"}]}]
            payment = {"VendorRef": vendor, "TotalAmt": amount, "PayType": "Check", "Line": linked}
            self._add("BillPayment", payment | {"TxnDate": body["TxnDate"], "CurrencyRef": USD}, at=at + DAY)

    def _few(self) -> None:
        """One or two of what there is seldom."""
        at = self._now - 100 * DAY
        day = datetime.fromtimestamp(at, UTC).date().isoformat()
        money = {"TxnDate": day, "CurrencyRef": USD, "ExchangeRate": 1}
        self._add(
            "Transfer",
            {**money, "Amount": 250.5, "FromAccountRef": {"value": "1"}, "ToAccountRef": {"value": "10"}},
            at=at,
        )
        self._add("Deposit", {**money, "TotalAmt": 12.34, "DepositToAccountRef": {"value": "1"}, "Line": []}, at=at)
        entry = {"Amount": 10.005, "DetailType": "JournalEntryLineDetail"}
        self._add("JournalEntry", {**money, "Adjustment": False, "Line": [entry]}, at=at)
        self._add(
            "TimeActivity", {"TxnDate": day, "NameOf": "Employee", "Hours": 7, "Minutes": 30, "HourlyRate": 45}, at=at
        )
        vendor = {"value": "1", "name": "a vendor"}
        self._add("VendorCredit", {**money, "VendorRef": vendor, "TotalAmt": 5, "Line": []}, at=at)
        self._add(
            "PurchaseOrder", {**money, "VendorRef": vendor, "TotalAmt": 77, "POStatus": "Open", "Line": []}, at=at
        )
        customer = {"value": "1", "name": "a customer"}
        self._add(
            "Estimate", {**money, "CustomerRef": customer, "TotalAmt": 99.99, "TxnStatus": "Pending", "Line": []}, at=at
        )

    def _moment(self, i: int, n: int) -> int:
        """The moment of the i-th of n things that happened evenly in the last two years, until two days ago."""
        return self._now - 730 * DAY + (728 * DAY) * i // max(n, 1)


def grown_customer(seed: int, i: int, at: int, now: int) -> tuple[Body, int, int, bool]:
    """The i-th customer, from 0: the person 2i of the seed; when it was made and changed, and whether it is active."""
    who, x = person(seed, 2 * i), draw(seed, CUSTOMERS, i)
    active = x % 11 != 3
    name = f"{who.first_name} {who.last_name} {i}{'' if active else GONE}"
    body: dict[str, Any] = {
        "DisplayName": name,
        "FullyQualifiedName": name,
        "GivenName": who.first_name,
        "FamilyName": who.last_name,
        "CompanyName": who.company,
        "PrimaryEmailAddr": {"Address": who.email},
        "PrimaryPhone": {"FreeFormNumber": who.phone},
        "BillAddr": {
            "Id": str(i + 1),
            "Line1": who.street,
            "City": who.city,
            "CountrySubDivisionCode": who.state,
            "PostalCode": who.postal_code,
        },
        "Notes": f'likes "tea"\n{who.first_name}\\n備考' if x & 0x100 else "",
        "Taxable": bool(x & 0x200),
        "Job": False,
        "Balance": (x >> 12) % 100_000 / 100,
        "CurrencyRef": USD,
    }
    changed = at + (x >> 24) % max(now - 2 * DAY - at, 1)
    return body, at, changed, active


def sale(seed: int, i: int, customers: int, people: Mapping[int, Person], at: int) -> tuple[Body, int]:
    """The i-th form of sale, and when it was made."""
    x = draw(seed, CHANGES, i)
    who = x % customers
    day = datetime.fromtimestamp(at, UTC).date().isoformat()
    lines: list[Body] = []
    for number in range(1 + (x >> 8) % 3):
        item = (x >> (12 + 4 * number)) % len(ITEMS)
        count = 1 + (x >> (24 + 4 * number)) % 4
        detail = {
            "ItemRef": {"value": str(item + 1), "name": ITEMS[item][0]},
            "Qty": count,
            "UnitPrice": ITEMS[item][2] / 100,
        }
        line = {"Id": str(number + 1), "LineNum": number + 1, "Amount": ITEMS[item][2] * count / 100}
        lines.append({**line, "DetailType": "SalesItemLineDetail", "SalesItemLineDetail": detail})
    total = round(sum(line["Amount"] for line in lines), 2)
    lines.append({"Amount": total, "DetailType": "SubTotalLineDetail", "SubTotalLineDetail": {}})
    crew = {"DefinitionId": "1", "Name": "Crew #", "Type": "StringType", "StringValue": str(100 + x % 9)}
    name = f"{people[who].first_name} {people[who].last_name} {who}" if who in people else str(who)
    body: Body = {
        "TxnDate": day,
        "CustomerRef": {"value": str(who + 1), "name": name},
        "CustomerMemo": {"value": "ありがとうございます" if x & 0x40 else "Thank you"},
        "CurrencyRef": USD,
        "ExchangeRate": 1,
        "TotalAmt": total,
        "Line": lines,
        "CustomField": [crew] if x & 0x80 else [],
    }
    return body, at
