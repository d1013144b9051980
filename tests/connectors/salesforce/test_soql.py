"""Tests of how SOQL is written, and of what a user's own may hold."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from urllib.parse import quote_plus

import pytest

from suiro.connectors.salesforce.asked import _read
from suiro.connectors.salesforce.parts import id_ranges
from suiro.connectors.salesforce.soql import LONGEST_URL, Query, below, checked, least, literal
from suiro.model.errors import ConfigError

NOON = datetime(2024, 2, 29, 12, 0, 0, 1000, UTC)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("it's \\ a\nline", r"'it\'s \\ a\nline'"),
        (None, "null"),
        (True, "true"),
        (-5, "-5"),
        (Decimal("1E+2"), "100"),
        (Decimal("0.10"), "0.10"),
        (date(2024, 2, 29), "2024-02-29"),
        (NOON, "2024-02-29T12:00:00.001Z"),
        (NOON.astimezone(timezone(timedelta(hours=9))), "2024-02-29T12:00:00.001Z"),
    ],
)
def test_values_are_written_so_that_nothing_gets_out_of_them(value: Any, text: str) -> None:
    assert literal(value) == text


def test_bounds_of_moments_are_whole_seconds_around_the_moment() -> None:
    assert least("At__c", NOON) == "At__c >= 2024-02-29T12:00:00.000Z"
    assert below("At__c", NOON) == "At__c < 2024-02-29T12:00:01.000Z"
    assert below("At__c", NOON.replace(microsecond=0)) == "At__c < 2024-02-29T12:00:00.000Z"
    assert least("v", 7) == "v >= 7"


def test_a_query_is_written_and_counted() -> None:
    query = Query(object="Lead", fields=("Id", "Name"), conditions=("a = 1",), order="Id").also("b = 2")
    assert str(query) == "SELECT Id, Name FROM Lead WHERE a = 1 AND b = 2 ORDER BY Id"
    assert query.count == "SELECT COUNT() FROM Lead WHERE a = 1 AND b = 2"


@pytest.mark.parametrize("name", ["", "a b", "a;b", "1a", "a--", "a.b.", "名前"])
def test_names_that_are_none_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="no name of an object or field"):
        str(Query(object="Lead", fields=(name,)))


def test_a_wide_query_is_cut_into_ones_that_fit_with_all_fields_once() -> None:
    fields = tuple(f"A_field_with_a_long_name_{number}__c" for number in range(1500))
    query = Query(object="Wide__c", fields=("Id", *fields))
    assert not query.fits
    parts = list(query.cut(("Id", "SystemModstamp")))
    assert len(parts) > 2
    assert all(len(quote_plus(str(part))) <= LONGEST_URL for part in parts)
    assert all(part.fields[:2] == ("Id", "SystemModstamp") for part in parts)
    assert [name for part in parts for name in part.fields[2:]] == list(fields)
    with pytest.raises(ConfigError, match="too long to be sent"):
        list(query.also(f"Name = {literal('x' * 20_000)}").cut(("Id",)))


@pytest.mark.parametrize(
    "where",
    [
        "Name = 'a' OR Name = 'b'", "(a = 1 OR b = 2) AND NOT c = 3", "Id IN (SELECT LeadId FROM CampaignMember)",
        "Name = ') OR (1 = 1'", r"Name = 'it\'s; so'", "Group.Name = 'x' AND a.Limit = 1", "Order__c = 1",
    ],
)  # fmt: skip
def test_conditions_keep_to_their_parentheses(where: str) -> None:
    assert checked(where) == f"({where})"


@pytest.mark.parametrize(
    "where",
    [
        "a = 1) OR (b = 2", "a = 'x", "a = 1; b", "a = 1 ORDER BY b", "a = 1 LIMIT 1", "a = 1 FOR UPDATE", "", "  ",
        "((a = 1)", "a = 1 GROUP BY b",
    ],
)  # fmt: skip
def test_what_is_more_than_a_condition_is_refused(where: str) -> None:
    with pytest.raises(ConfigError, match="isn't one condition"):
        checked(where)


@pytest.mark.parametrize(
    ("sql", "object_", "names"),
    [
        ("SELECT Id, Owner.Name FROM Lead", "Lead", ["Id", "Owner.Name"]),
        ("select l.Id from Lead l where Name = 'FROM x'", "Lead", ["Id"]),
        ("SELECT Status, COUNT(Id), MAX(Score__c) top FROM Lead GROUP BY Status", "Lead", ["Status", "expr0", "top"]),
        ("SELECT Name, (SELECT Id, Email FROM Contacts) FROM Account", "Account", ["Name", "Contacts"]),
        ("SELECT FIELDS(ALL) FROM Lead LIMIT 200", "Lead", None),
    ],
)
def test_the_columns_of_a_users_query_are_told_from_its_text(sql: str, object_: str, names: list[str] | None) -> None:
    found, items = _read(sql)
    assert found == object_
    assert (None if items is None else [item.name for item in items]) == names


def test_ranges_of_ids_hold_every_id_once() -> None:
    # The boundaries of 250,000 that Salesforce's guide shows for the first id 001300000000000.
    ranges = list(id_ranges("001300000000000AAA", "0013000000396m0AAA", 4))
    assert [one for one, _ in ranges][1:] == [end for _, end in ranges][:-1]
    assert ranges[0][0] is None and ranges[-1][1] is None and len(ranges) == 4
    bounds = [first for first, _ in ranges if first]
    assert bounds == sorted(bounds) and all(len(bound) == 15 for bound in bounds)
    assert list(id_ranges("001300000000000", "00130000000132G", 250_000))[1][0] == "001300000000001"
    assert list(id_ranges("001300000000000", "001300000000000", 4)) == [(None, None)]
    assert list(id_ranges("odd", "ids!", 4)) == [(None, None)]
