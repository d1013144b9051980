"""Write-backs in prose: what a plan would change, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from suiro.cli.output import tell

_PLANNED = {
    "create": "{n:,} to create",
    "update": "{n:,} to update",
    "delete": "{n:,} to delete",
    "same": "{n:,} that hold the values already",
    "unchanged": "{n:,} unchanged since they were sent",
    "sent_before": "{n:,} sent before",
    "no_record": "{n:,} without a record",
    "refused": "{n:,} refused before they are sent",
    "duplicate": "{n:,} refused because they share a key",
    "ambiguous": "{n:,} whose key several records have",
    "held": "{n:,} that the application refused before",
    "unknown": "{n:,} of unknown fate",
    "filtered": "{n:,} left out",
}
_DONE = {
    "created": "{n:,} created",
    "updated": "{n:,} updated",
    "deleted": "{n:,} deleted",
    "same": "{n:,} that held the values already",
    "refused": "{n:,} refused by the application",
    "conflict": "{n:,} changed by somebody since the plan",
    "unprocessed": "{n:,} not looked at",
    "unknown": "{n:,} of unknown fate",
    "differing": "{n:,} that read back otherwise",
}
_SHOWN = 8  #: fields, reasons and rows of a kind


def print_plan(plan: Mapping[str, Any]) -> None:
    """A plan: counts, fields with some rows before and after, reasons, warnings."""
    if plan["error"] is not None:
        tell(f"Failed: {plan['task']}: {plan['error']['message']}", "red")
        tell(f"  {plan['error']['hint'] or ''}")
        return
    counts = plan["planned"]
    tell(f"{plan['stream']} -> {plan['object']}, {plan['mode']}: {counts['read']:,} rows read")
    for kind, said in _PLANNED.items():
        if counts.get(kind):
            named = plan["keys"].get(kind)
            tell(f"  {said.format(n=counts[kind])}{f': {_listed(named, counts[kind])}' if named else ''}")
    for warning in plan["warnings"]:
        tell(f"  {warning}", "yellow")
    for name, change in list(plan["fields"].items())[:_SHOWN]:
        print(f"{name}: {change['rows']:,} records change")
        for sample in change["samples"]:
            print(f"  {sample['key']}: {_value(sample['before'])} -> {_value(sample['after'])}")
    _print_reasons(plan["reasons"])
    if plan["state"] == "waiting":
        tell(f"  Beyond the limits: {plan['beyond']}.", "yellow")
    if any(counts.get(kind) for kind in ("create", "update", "delete")):
        tell(f"  To carry it out: suiro writeback apply {plan['plan']}")
    else:
        tell("  Nothing is to be sent.")


def print_write_back(task: Mapping[str, Any], run: str) -> None:
    """What came of a task run that wrote to an application; nothing for other task runs."""
    found = task.get("writeback")
    if not found:
        return
    done = [said.format(n=found["done"][kind]) for kind, said in _DONE.items() if found["done"].get(kind)]
    if done:
        tell(f"  {found['object']}: {', '.join(done)}")
    _print_reasons(found["reasons"])
    for conflict in found["conflicts"][:_SHOWN]:
        fields = f" ({', '.join(conflict['fields'])})" if conflict.get("fields") else ""
        tell(f"  {conflict['key']}: {conflict['message']}{fields}")
    written = any(found["done"].get(kind) for kind in ("created", "updated", "deleted"))
    if written and found["aim"] == "write":
        tell(f"  To take it back: suiro writeback undo {run}")


def print_rejected(found: Mapping[str, Any]) -> None:
    """The rows of a task that are kept aside."""
    tell(f"{found['task']}: {sum(reason['rows'] for reason in found['reasons']):,} rows are not in the application")
    _print_reasons(found["reasons"])
    for row in found["rows"]:
        said = row["message"] or row["code"] or row["kind"]
        values = f"\t{row['row']}" if row.get("row") else ""
        print(f"{row['key'] or 'NULL'}\t{row['code'] or row['kind']}\t{said}{values}")


def _print_reasons(reasons: list[Mapping[str, Any]]) -> None:
    for reason in reasons[:_SHOWN]:
        said = f"{reason['rows']:,} rows: {reason['code'] or reason['kind']}"
        told = f": {reason['message']}" if reason.get("message") else ""
        keys = f", such as {_listed(reason['keys'], reason['rows'])}" if reason.get("keys") else ""
        tell(f"  {said}{told}{keys}")
    if len(reasons) > _SHOWN:
        tell(f"  and {len(reasons) - _SHOWN} other reasons")


def _listed(keys: list[str], number: int) -> str:
    return ", ".join(keys) + (", ..." if number > len(keys) else "")


def _value(text: str | None) -> str:
    return "NULL" if text is None else repr(text)
