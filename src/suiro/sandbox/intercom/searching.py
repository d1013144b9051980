"""Searches: the filters of a body as conditions on records, among contacts by days of the workspace's zone."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from suiro.sandbox.intercom.answers import Call, Refused, Sorted
from suiro.sandbox.intercom.store import THERE, Condition

MOST_FILTERS: Final = 15
DEEPEST: Final = 2
_CONTACT_TEXTS: Final = (
    "name", "avatar", "email", "email_domain", "phone", "external_id", "role", "language_override", "browser",
    "browser_language", "os", "ios_app_version", "ios_device", "ios_os_version", "ios_app_name", "ios_sdk_version",
    "android_app_version", "android_device", "android_app_name",
)  # fmt: skip
_CONTACT_DATES: Final = (
    "signed_up_at", "last_seen_at", "last_contacted_at", "last_replied_at", "last_email_opened_at",
    "last_email_clicked_at", "ios_last_seen_at", "android_last_seen_at",
)  # fmt: skip
_TIMES: Final = {"created_at": ("date", "created"), "updated_at": ("date", "updated"), "id": ("text", "id")}
FIELDS: Final[Mapping[str, Mapping[str, tuple[str, str]]]] = {
    "contact": {
        **_TIMES,
        **{name: ("text", f"json_extract(body, '$.{name}')") for name in _CONTACT_TEXTS},
        **{name: ("date", f"json_extract(body, '$.{name}')") for name in _CONTACT_DATES},
        "owner_id": ("integer", "json_extract(body, '$.owner_id')"),
        "unsubscribed_from_emails": ("boolean", "json_extract(body, '$.unsubscribed_from_emails')"),
        "marked_email_as_spam": ("boolean", "json_extract(body, '$.marked_email_as_spam')"),
        "has_hard_bounced": ("boolean", "json_extract(body, '$.has_hard_bounced')"),
        **{f"location.{name}": ("text", f"json_extract(body, '$.location.{name}')") for name in ("country", "city")},
        "tag_id": ("list", "$.tag_ids"),
        "segment_id": ("list", "$.segment_ids"),
    },
    "conversation": {
        **_TIMES,
        "state": ("text", "json_extract(body, '$.state')"),
        "open": ("boolean", "json_extract(body, '$.open')"),
        "read": ("boolean", "json_extract(body, '$.read')"),
        "admin_assignee_id": ("integer", "json_extract(body, '$.admin_assignee_id')"),
        "team_assignee_id": ("integer", "json_extract(body, '$.team_assignee_id')"),
        "source.id": ("text", "json_extract(body, '$.source.id')"),
        "source.author.email": ("text", "json_extract(body, '$.source.author.email')"),
    },
    "ticket": {
        **_TIMES,
        "open": ("boolean", "json_extract(body, '$.open')"),
        "ticket_type_id": ("text", "json_extract(body, '$.ticket_type.id')"),
        "admin_assignee_id": ("text", "json_extract(body, '$.admin_assignee_id')"),
    },
}
_SORTS: Final = {"created_at": "created", "updated_at": "updated"}
_PLAIN: Final = {"=": "=", "!=": "IS NOT", ">": ">", "<": "<", ">=": ">=", "<=": "<="}
_TEXT: Final = {"~": ("LIKE", "%{}%"), "!~": ("NOT LIKE", "%{}%"), "^": ("LIKE", "{}%"), "$": ("LIKE", "%{}")}


def searched(call: Call, kind: str) -> tuple[Condition, Sorted]:
    """The condition and the order that a body asks for. 400 where the API would refuse them (words unverified)."""
    given = call.given()
    where = THERE
    if kind == "contact":
        where = where.also("shown <= ?", call.now.timestamp())
    found = _condition(call, kind, given.get("query"), 0)
    sort = given.get("sort") or {}
    column = _SORTS.get(str(sort.get("field", "updated_at" if sort else "created_at")))
    if column is None or sort.get("order", "ascending") not in ("ascending", "descending"):
        raise _wrong("sort is invalid")
    order = Sorted(column=column, descending=sort.get("order", "descending") == "descending")
    return where.also(found.sql, *found.values), order


def _condition(call: Call, kind: str, query: Any, depth: int) -> Condition:
    if not isinstance(query, Mapping) or "operator" not in query or "value" not in query:
        raise _wrong("query is invalid")
    operator, value = query["operator"], query["value"]
    if operator not in ("AND", "OR"):
        return _single(call, kind, str(query.get("field")), str(operator), value)
    if depth >= DEEPEST:
        raise _wrong("filters are nested too deeply")
    if not isinstance(value, list) or not 1 <= len(value) <= MOST_FILTERS:
        raise _wrong(f"a group must hold between 1 and {MOST_FILTERS} filters")
    parts = [_condition(call, kind, one, depth + 1) for one in value]
    sql = f" {operator} ".join(f"({part.sql})" for part in parts)
    return Condition(sql, tuple(one for part in parts for one in part.values))


def _single(call: Call, kind: str, name: str, operator: str, value: Any) -> Condition:
    type_, sql = _field(kind, name)
    if type_ == "list":
        if operator not in ("=", "!="):
            raise _wrong(f"{name} supports only = and !=")
        some = f"EXISTS (SELECT 1 FROM json_each(body, '{sql}') WHERE value = ?)"
        return Condition(some if operator == "=" else f"NOT {some}", (str(value),))
    if type_ == "date":
        return _dated(call, kind, name, sql, operator, value)
    if operator in ("IN", "NIN"):
        if not isinstance(value, list) or not value:
            raise _wrong(f"{operator} needs an array of values")
        marks = ", ".join("?" * len(value))
        return Condition(f"{sql} {'NOT ' if operator == 'NIN' else ''}IN ({marks})", tuple(value))
    if operator in _TEXT and type_ == "text":
        word, pattern = _TEXT[operator]
        return Condition(f"{sql} {word} ?", (pattern.format(value),))
    if operator not in _PLAIN or (operator in "<>=" and operator != "=" and type_ != "integer"):
        raise _wrong(f"{name} doesn't support {operator}")
    if type_ == "text" and value is not None and not isinstance(value, str):
        raise _wrong(f"{name} must be a string")
    folded = " COLLATE NOCASE" if name == "email" else ""  # unverified
    return Condition(f"{sql}{folded} {'IS' if operator == '=' else _PLAIN[operator]} ?", (value,))


def _dated(call: Call, kind: str, name: str, sql: str, operator: str, value: Any) -> Condition:
    if operator in ("IN", "NIN") and kind != "contact" and isinstance(value, list) and value:
        marks = ", ".join("?" * len(value))
        return Condition(f"{sql} {'NOT ' if operator == 'NIN' else ''}IN ({marks})", tuple(value))
    try:
        at = int(str(value))
    except ValueError as error:
        raise _wrong(f"{name} must be a timestamp") from error
    if kind == "contact":
        if operator not in ("=", ">", "<"):
            raise _wrong(f"{name} doesn't support {operator}")
        if call.settings.day_search:
            start, end = day(at, call.settings.zone())
            match operator:
                case "=":
                    return Condition(f"{sql} >= ? AND {sql} < ?", (start, end))
                case ">":
                    return Condition(f"{sql} >= ?", (end,))
                case _:
                    return Condition(f"{sql} < ?", (start,))
    inclusive = {">": ">=", "<": "<="} if kind != "contact" else {}  # "greater (or equal) than", says the table
    if operator not in ("=", "!=", ">", "<"):
        raise _wrong(f"{name} doesn't support {operator}")
    return Condition(f"{sql} {inclusive.get(operator, operator)} ?", (at,))


def day(at: int, zone: ZoneInfo) -> tuple[int, int]:
    """The first second of the day that a moment lies in, and of the next day."""
    date = datetime.fromtimestamp(at, zone).date()
    starts = (datetime.combine(one, time(), zone).astimezone(UTC) for one in (date, date + timedelta(days=1)))
    first, following = (int(start.timestamp()) for start in starts)
    return first, following


def _field(kind: str, name: str) -> tuple[str, str]:
    if kind == "contact" and name.startswith("custom_attributes."):
        inner = name.removeprefix("custom_attributes.").replace('"', "").replace("'", "''")
        return "any", f"json_extract(body, '$.custom_attributes.\"{inner}\"')"
    if name not in FIELDS[kind]:
        raise _wrong(f"{name} is not a valid field")
    return FIELDS[kind][name]


def _wrong(message: str) -> Refused:
    return Refused(400, "parameter_invalid", message)
