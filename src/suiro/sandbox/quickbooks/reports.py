"""Reports, computed from the company's own objects, in the form of Report.xsd [SPEC]."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Any, Final

from suiro.sandbox.quickbooks.answers import Body, Refused
from suiro.sandbox.quickbooks.records import Kept, Records

Cents = int
AGES: Final = ("Current", "1 - 30", "31 - 60", "61 - 90", "91 and over")
_INCOME: Final = (("Invoice", 1), ("SalesReceipt", 1), ("CreditMemo", -1), ("RefundReceipt", -1))
_COSTS: Final = ("Bill", "Purchase")


class Reports:
    """The reports that this stand-in knows."""

    def __init__(self, records: Records, now: Callable[[], datetime]) -> None:
        self._records, self._now = records, now
        self._known: Mapping[str, Callable[[Mapping[str, str]], Body]] = {
            "ProfitAndLoss": self._profit_and_loss,
            "BalanceSheet": self._balance_sheet,
            "AgedReceivables": self._aged_receivables,
            "AgedPayables": self._aged_payables,
            "CashFlow": lambda asked: self._nothing("CashFlow", asked),
            "TrialBalance": lambda asked: self._nothing("TrialBalance", asked),
        }

    def report(self, name: str, asked: Mapping[str, str]) -> Body:
        """A report for the parameters of a request."""
        if name not in self._known:
            raise Refused(400, "4002", "Invalid report", f"There is no report {name} here (unverified words)")
        try:
            return self._known[name](asked)
        except ValueError as error:
            raise Refused(400, "4001", "Invalid report parameter", str(error)) from error

    def _profit_and_loss(self, asked: Mapping[str, str]) -> Body:
        first, last = self._period(asked)
        spans = _spans(first, last, asked.get("summarize_column_by", "Total"))
        income, costs = self._income(spans), self._costs(spans)
        total = [sum(cells[at] for cells in income.values()) for at in range(len(spans))]
        spent = [sum(cells[at] for cells in costs.values()) for at in range(len(spans))]
        net = [earned - paid for earned, paid in zip(total, spent, strict=True)]
        rows = [
            _section("Income", "Income", self._accounts(income), "Total Income", total),
            _section("Expenses", "Expenses", self._accounts(costs), "Total Expenses", spent),
            {"Summary": {"ColData": _cells("Net Income", None, net)}, "type": "Section", "group": "NetIncome"},
        ]
        titles = [title for title, _, _ in spans]
        return self._whole("ProfitAndLoss", (first, last), titles, rows, asked, "Account")

    def _balance_sheet(self, asked: Mapping[str, str]) -> Body:
        first, last = self._period(asked)
        ever = [("Total", date.min, last)]
        earned = sum(cells[0] for cells in self._income(ever).values())
        spent = sum(cells[0] for cells in self._costs(ever).values())
        sums = {name: self._sum(name, last) for name in ("Invoice", "Payment", "CreditMemo", "SalesReceipt", "Bill")}
        sums |= {name: self._sum(name, last) for name in ("Purchase", "BillPayment", "RefundReceipt")}
        owed = sums["Invoice"] - sums["Payment"] - sums["CreditMemo"]
        cash = sums["Payment"] + sums["SalesReceipt"] - sums["RefundReceipt"] - sums["Purchase"] - sums["BillPayment"]
        payable = sums["Bill"] - sums["BillPayment"]
        assets = [
            ("Checking", self._id("Checking"), [cash]),
            ("Accounts Receivable (A/R)", self._id("Accounts R"), [owed]),
        ]
        debts = [("Accounts Payable (A/P)", self._id("Accounts P"), [payable])]
        equity: list[tuple[str, str | None, list[Cents]]] = [("Net Income", None, [earned - spent])]
        below = [
            _section("Liabilities", "Liabilities", debts, "Total Liabilities", [payable]),
            _section("Equity", "Equity", equity, "Total Equity", [earned - spent]),
        ]
        both = _cells("TOTAL LIABILITIES AND EQUITY", None, [payable + earned - spent])
        rows = [
            _section("ASSETS", "TotalAssets", assets, "TOTAL ASSETS", [cash + owed]),
            {
                "Header": {"ColData": _cells("LIABILITIES AND EQUITY", None, [None])},
                "Rows": {"Row": below},
                "Summary": {"ColData": both},
                "type": "Section",
                "group": "TotalLiabilitiesAndEquity",
            },
        ]
        return self._whole("BalanceSheet", (first, last), ["Total"], rows, asked, "Account")

    def _aged_receivables(self, asked: Mapping[str, str]) -> Body:
        return self._aged("AgedReceivables", "Invoice", "CustomerRef", "Customer", asked)

    def _aged_payables(self, asked: Mapping[str, str]) -> Body:
        return self._aged("AgedPayables", "Bill", "VendorRef", "Vendor", asked)

    def _aged(self, name: str, entity: str, member: str, type_: str, asked: Mapping[str, str]) -> Body:
        """What is open, by how many days it is overdue."""
        day = date.fromisoformat(asked["report_date"]) if "report_date" in asked else self._now().date()
        owed: dict[tuple[str, str], list[Cents]] = defaultdict(lambda: [0] * (len(AGES) + 1))
        for kept in self._records.find(entity, "json_extract(body, '$.Balance') > 0"):
            if date.fromisoformat(kept.body["TxnDate"]) > day:
                continue
            late = (day - date.fromisoformat(kept.body["DueDate"])).days
            age = 0 if late <= 0 else min((late - 1) // 30 + 1, len(AGES) - 1)
            who = kept.body[member]
            for at in (age, len(AGES)):
                owed[who["name"], who["value"]][at] += _cents(kept.body["Balance"])
        rows: list[Body] = [
            {"ColData": _cells(who, id_, [cents or None for cents in cells])}
            for (who, id_), cells in sorted(owed.items())
        ]
        total = [sum(cells[at] for cells in owed.values()) for at in range(len(AGES) + 1)]
        rows.append({"Summary": {"ColData": _cells("TOTAL", None, total)}, "type": "Section", "group": "GrandTotal"})
        return self._whole(name, (day, day), [*AGES, "Total"], rows, asked, type_)

    def _nothing(self, name: str, asked: Mapping[str, str]) -> Body:
        """A report of which nothing but its name is known here."""
        return self._whole(name, self._period(asked), ["Total"], [], asked, "Account")

    # --- what is summed up ---

    def _income(self, spans: Sequence[tuple[str, date, date]]) -> dict[str, list[Cents]]:
        """By account, what the lines of sales bring."""
        items = {str(one.id): one.body["IncomeAccountRef"]["value"] for one in self._records.find("Item")}
        found: dict[str, list[Cents]] = defaultdict(lambda: [0] * len(spans))
        for entity, sign in _INCOME:
            for kept, at in self._within(entity, spans):
                for line in kept.body.get("Line", ()):
                    if line.get("DetailType") == "SalesItemLineDetail":
                        account = items[line["SalesItemLineDetail"]["ItemRef"]["value"]]
                        found[account][at] += sign * _cents(line["Amount"])
        return found

    def _costs(self, spans: Sequence[tuple[str, date, date]]) -> dict[str, list[Cents]]:
        """By account, what was bought."""
        found: dict[str, list[Cents]] = defaultdict(lambda: [0] * len(spans))
        for entity in _COSTS:
            for kept, at in self._within(entity, spans):
                for line in kept.body.get("Line", ()):
                    found[line["AccountBasedExpenseLineDetail"]["AccountRef"]["value"]][at] += _cents(line["Amount"])
        return found

    def _within(self, entity: str, spans: Sequence[tuple[str, date, date]]) -> Iterator[tuple[Kept, int]]:
        for kept in self._records.find(entity, "json_extract(body, '$.TxnDate') IS NOT NULL"):
            day = date.fromisoformat(kept.body["TxnDate"])
            for at, (_, first, last) in enumerate(spans):
                if first <= day <= last:
                    yield kept, at

    def _sum(self, entity: str, last: date) -> Cents:
        spans = [("Total", date.min, last)]
        return sum(_cents(kept.body.get("TotalAmt", 0)) for kept, _ in self._within(entity, spans))

    def _accounts(self, sums: Mapping[str, list[Cents]]) -> list[tuple[str, str | None, list[Cents]]]:
        """Accounts that have something, by name [DOC: those without are left out]."""
        names = {str(one.id): one.body["Name"] for one in self._records.find("Account")}
        return sorted((names[account], account, cells) for account, cells in sums.items() if any(cells))

    def _id(self, begins: str) -> str:
        found = self._records.find("Account", "json_extract(body, '$.Name') LIKE ?", [f"{begins}%"])
        return str(found[0].id)

    def _period(self, asked: Mapping[str, str]) -> tuple[date, date]:
        """The days of a report; without any, this year until today (unverified)."""
        today = self._now().date()
        first = asked.get("start_date")
        last = asked.get("end_date")
        until = date.fromisoformat(last) if last else today
        return date.fromisoformat(first) if first else until.replace(month=1, day=1), until

    def _whole(
        self,
        name: str,
        period: tuple[date, date],
        titles: Sequence[str],
        rows: Sequence[Body],
        asked: Mapping[str, str],
        type_: str,
    ) -> Body:
        head = {
            "Time": self._now().isoformat(timespec="seconds"),
            "ReportName": name,
            "ReportBasis": asked.get("accounting_method", "Accrual"),
            "StartPeriod": period[0].isoformat(),
            "EndPeriod": period[1].isoformat(),
            "SummarizeColumnsBy": asked.get("summarize_column_by", "Total"),
            "Currency": "USD",
            "Option": [{"Name": "NoReportData", "Value": str(not rows).lower()}],
        }
        listed = [{"ColTitle": "", "ColType": type_}, *({"ColTitle": title, "ColType": "Money"} for title in titles)]
        return {"Header": head, "Columns": {"Column": listed}, "Rows": {"Row": list(rows)}}


def _section(
    title: str, group: str, accounts: Sequence[tuple[str, str | None, list[Cents]]], below: str, total: list[Cents]
) -> Body:
    rows = [{"ColData": _cells(name, id_, cells), "type": "Data"} for name, id_, cells in accounts]
    return {
        "Header": {"ColData": _cells(title, None, [None] * len(total))},
        "Rows": {"Row": rows},
        "Summary": {"ColData": _cells(below, None, total)},
        "type": "Section",
        "group": group,
    }


def _cells(name: str, id_: str | None, cents: Sequence[Cents | None]) -> list[Body]:
    first = {"value": name} if id_ is None else {"value": name, "id": id_}
    return [first, *({"value": "" if one is None else f"{one / 100:.2f}"} for one in cents)]


def _cents(amount: Any) -> Cents:
    return round(float(amount) * 100)


def _spans(first: date, last: date, by: str) -> list[tuple[str, date, date]]:
    """The columns of a report: title, first day, last day."""
    if by != "Month":
        return [("Total", first, last)]
    spans = []
    month = first.replace(day=1)
    while month <= last:
        following = (month.replace(day=28).toordinal() + 4, month)
        upcoming = date.fromordinal(following[0]).replace(day=1)
        end = min(date.fromordinal(upcoming.toordinal() - 1), last)
        spans.append((f"{month:%b %Y}", max(month, first), end))
        month = upcoming
    return [*spans, ("Total", first, last)]
