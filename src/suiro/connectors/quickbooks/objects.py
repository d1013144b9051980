"""Bodies of QuickBooks as flat records, exactly: objects with their references, reports cell by cell."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from secrets import token_hex
from typing import Any, Final

from suiro.toolkit.http.answers import Answer

_OWN: Final = frozenset({"MetaData", "CustomerMemo", "ShipTo"})
_REACHED: Final = re.compile(r"(?:Ref|Phone|Mobile|Fax|EmailAddr|Email|EmailCc|EmailBcc|WebAddr)$")
_COMMON: Final = ("Id", "SyncToken", "TxnDate", "TotalAmt", "RecurringInfo", "MetaData", "domain", "sparse")
_MARK: Final = f"\0{token_hex(8)}:"  #: stands before fractions that are kept as they were written
_FRACTION: Final = re.compile(f'"{re.escape(json.dumps(_MARK)[1:-1])}([^"]*)"')


def told(answer: Answer) -> Any:
    """A body; fractions stay as they are written, behind a mark that `lines` takes off."""
    try:
        return json.loads(answer.content, parse_float=fraction)
    except ValueError:
        return answer.json()


def fraction(written: str) -> str:
    """A number as it is written, to come out so."""
    return _MARK + written


def lines(records: Sequence[Mapping[str, Any]]) -> bytes:
    """Records as JSON, numbers digit by digit."""
    return _FRACTION.sub(r"\1", json.dumps(records, ensure_ascii=False, separators=(",", ":"))).encode()


def flat(record: Mapping[str, Any], custom: Sequence[str]) -> dict[str, Any]:
    """An object with what it refers to, addresses of mail and the like as members of its own."""
    found: dict[str, Any] = {}
    for name, value in record.items():
        if isinstance(value, dict) and (name in _OWN or _REACHED.search(name)):
            for part, within in value.items():
                inner = within if isinstance(within, dict) and part.endswith("Ref") else {"": within}
                found |= {f"{name}_{part}{end and '_'}{end}": one for end, one in inner.items()}
        else:
            found[name] = value
    if custom and "CustomField" in record:
        for one in record["CustomField"] or ():
            if one.get("Name") in custom:
                held = [value for member, value in one.items() if member.endswith("Value")]
                found[f"CustomField_{one['Name']}"] = _plain(held[0]) if held else None
    return found


def template(record: Mapping[str, Any]) -> dict[str, Any]:
    """A recurring transaction, which stands under the name of its kind: what all kinds have, and the whole."""
    kind, inner = next(iter(record.items())) if len(record) == 1 else (None, record)
    schedule = inner.get("RecurringInfo") or {}
    common = {name: inner[name] for name in _COMMON if name in inner}
    own = {name: schedule[name] for name in ("Name", "RecurType", "Active") if name in schedule}
    return {**common, **own, "Type": kind, "Transaction": inner}


def _plain(value: Any) -> str:
    """A custom field's value as text."""
    return str(value).removeprefix(_MARK) if not isinstance(value, bool) else str(value).lower()


def cells(report: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """A report as its cells, row by row."""
    head = report.get("Header", {})
    common = {
        "StartPeriod": head.get("StartPeriod"),
        "EndPeriod": head.get("EndPeriod"),
        "Basis": head.get("ReportBasis"),
        "Currency": head.get("Currency"),
    }
    titles = list(_titles(report.get("Columns", {}), ()))
    for number, (kind, group, section, cells) in enumerate(_rows(report.get("Rows", {}), ()), 1):
        first = cells[0] if cells else {}
        for position, cell in enumerate(cells):
            if position == 0 and len(cells) > 1:
                continue  # the name of the row
            title, type_ = titles[position] if position < len(titles) else ("", "")
            value = cell.get("value", "")
            yield {
                "Row": number,
                "Kind": kind,
                "Group": group,
                "Section": ":".join(section),
                "Name": first.get("value"),
                "EntityId": first.get("id"),
                "Position": position,
                "Column": title,
                "ColumnType": type_,
                "Value": value,
                "Amount": fraction(value)
                if re.fullmatch(r"-?\d+(\.\d+)?|-?\.\d+", value) and type_ == "Money"
                else None,
                **common,
            }


def _titles(told: Mapping[str, Any], above: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for column in told.get("Column", ()):
        name = (*above, column.get("ColTitle") or "")
        if column.get("Columns"):
            yield from _titles(column["Columns"], name)
        else:
            yield ":".join(filter(None, name)), column.get("ColType") or ""


def _rows(told: Mapping[str, Any], above: tuple[str, ...]) -> Iterator[tuple[str, str | None, tuple[str, ...], Any]]:
    """Rows with their kind, group, the titles of the sections that they are in, and their cells."""
    for row in told.get("Row", ()):
        group = row.get("group")
        if "ColData" in row:
            yield "Data", group, above, row["ColData"]
            continue
        head = row.get("Header", {}).get("ColData", [])
        within = (*above, head[0].get("value", "")) if head else above
        if any(cell.get("value") for cell in head[1:]):
            yield "Header", group, within, head
        yield from _rows(row.get("Rows", {}), within)
        if row.get("Summary", {}).get("ColData"):
            yield "Summary", group, within, row["Summary"]["ColData"]
