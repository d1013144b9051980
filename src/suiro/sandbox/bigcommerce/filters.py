"""Filters and orders of a list, from the parameters of a request to SQL."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, tzinfo
from email.utils import parsedate_to_datetime
from typing import Final

from suiro.sandbox.bigcommerce.answers import Call, Refused
from suiro.sandbox.bigcommerce.records import ALL, Condition
from suiro.sandbox.bigcommerce.views import WHEN, View

COMPARISONS: Final = {"": "=", "min": ">=", "max": "<=", "greater": ">", "less": "<", "not": "<>", "exclude": "<>"}
DATE: Final = re.compile(r"\d{4}-\d\d-\d\d")
BLANK_OFFSET: Final = re.compile(r" (\d\d:?\d\d)$")
TRUE, FALSE = ("true", "1"), ("false", "0")


@dataclass(frozen=True, slots=True)
class Order:
    """The order of a list: by a column and then by id."""

    column: str = "id"
    descending: bool = False

    @property
    def sql(self) -> str:
        """As SQL writes it."""
        way = "DESC" if self.descending else "ASC"
        return f"{self.column} {way}" if self.column == "id" else f"{self.column} {way}, id {way}"


def wanted(view: View, call: Call) -> Condition:
    """Which records a request asks for. Parameters that the view doesn't know, or knows spelled otherwise, are ignored.

    Refused: a value that its field can't have.
    """
    where = ALL
    for spelled, value in call.query.multi_items():
        if spelled in view.filters:
            where = _filtered(view, call, where, spelled, value)
    return where


def ordered(view: View, call: Call) -> Order:
    """The order that a request asks for; one that the view doesn't know is ignored."""
    asked = call.query.get("sort", "")
    name, _, way = asked.partition(":")
    direction = way or call.query.get("direction", "asc")
    if asked in view.sorts or (view.sort_directions and name in view.sorts):
        return Order(_column(view, name), direction == "desc")
    return Order("id", call.query.get("direction") == "desc" and bool(view.sorts))


def moment_of(text: str, zone: tzinfo) -> int:
    """A moment in a filter: ISO 8601 or RFC 2822, or a day, which begins in the store's time zone. ValueError: none."""
    text = BLANK_OFFSET.sub(r"+\1", text.strip())  # a + that wasn't escaped arrives as a blank
    if DATE.fullmatch(text):
        return int(datetime.combine(date.fromisoformat(text), time(), zone).timestamp())
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = parsedate_to_datetime(text)
    # Times without an offset: unverified; taken as the store's, as days are.
    return int((found if found.tzinfo else found.replace(tzinfo=zone)).astimezone(UTC).timestamp())


def _filtered(view: View, call: Call, where: Condition, spelled: str, value: str) -> Condition:
    name, operator = _meaning(spelled)
    reads = _reader(view, name, call)
    try:
        if operator in ("in", "not_in"):
            values = [reads(part) for part in value.split(",") if part]
        elif operator == "like":
            values = ["%" + re.sub(r"([\\%_])", r"\\\1", value) + "%"]
        else:
            values = [reads(value)]
    except ValueError as error:
        raise Refused(
            422 if call.version == 3 else 400, "The filters are not valid.", {spelled: f"{value!r} is not valid"}
        ) from error
    return where.also(_comparison(view, name, operator, len(values)), *values)


def _meaning(spelled: str) -> tuple[str, str]:
    """`date_modified:min`, or `min_date_modified` as in v2: the field and the comparison."""
    if spelled == "keyword":
        return spelled, "like"
    if ":" in spelled:
        name, _, operator = spelled.partition(":")
        return name, operator
    found = re.fullmatch(r"(min|max|exclude)_(.+)", spelled)
    return (found[2], found[1]) if found else (spelled, "")


def _comparison(view: View, name: str, operator: str, values: int) -> str:
    column = _column(view, name)
    marks = ", ".join("?" * values)
    if name in view.lists:
        inner = f"SELECT 1 FROM json_each(body, '$.{view.kept(name)}') WHERE value"
        return f"EXISTS ({inner} IN ({marks}))"
    match operator:
        case "in":
            return f"{column} IN ({marks})"
        case "not_in":
            return f"{column} NOT IN ({marks})"
        case "like":
            return f"{column} LIKE ? ESCAPE '\\'"
        case _:
            return f"{column} {COMPARISONS[operator]} ?"


def _column(view: View, name: str) -> str:
    """The SQL of a field's value; indexed for ids, parents and times of change."""
    kept = view.kept(name)
    if name in view.expressions:
        return view.expressions[name]
    if kept in ("id", "parent", "modified"):
        return kept
    if kept == view.parent:
        return "parent"
    if kept == "date_modified":
        return "modified"
    default = view.fields.get(name)
    plain = {str: f"'{default}'", bool: str(int(default is True)), int: str(default), float: str(default)}
    return f"coalesce(json_extract(body, '$.{kept}'), {plain.get(type(default), 'NULL')})"


def _reader(view: View, name: str, call: Call) -> Callable[[str], object]:
    """How a filter's value is read: as its field's default is."""
    default = view.fields.get(name, "")
    if name in view.lists:
        return _number
    if default is WHEN:
        zone = call.settings.zone()
        return lambda text: moment_of(text, zone)
    if isinstance(default, bool):
        return _truth
    if isinstance(default, int):
        return _number
    if isinstance(default, float):
        return float
    return str


def _truth(text: str) -> int:
    if text.lower() in TRUE:
        return 1
    if text.lower() in FALSE:
        return 0
    raise ValueError(f"{text!r} is neither true nor false")


def _number(text: str) -> int:
    number = int(text)
    if abs(number) >= 1 << 63:
        raise ValueError(f"{text!r} is too large")
    return number
