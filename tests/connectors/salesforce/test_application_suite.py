"""The conformance suite of applications on Salesforce's sandbox: few rows in collections, and all in bulk jobs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from salesforce_org import Org
from salesforce_writes import FIELDS, configuration, prefix, token
from suiro.connectors.salesforce.application import SalesforceApplication
from suiro.connectors.salesforce.config import SalesforceConfig
from suiro.connectors.salesforce.ids import long_id
from suiro.model.writeback import Action, ObjectFacts, Order
from suiro.testing.application_harness import Values
from suiro.testing.application_suite import ApplicationSuite

MORE = [{"name": "Day__c", "type": "date"}, {"name": "At__c", "type": "datetime"}]
_numbers = itertools.count(10_000_000)  #: of records that the sandbox is given with their ids


class SalesforceApplicationSuite(ApplicationSuite):
    """What the suite needs to know of Salesforce."""

    object, external_id, text = "Suite__c", "Ext__c", "Name"
    org: Org
    config: SalesforceConfig
    _prefix: str | None = None
    _described: tuple[ObjectFacts, pa.Schema] | None = None

    @pytest.fixture(autouse=True)
    def _suite(self, org: Org, tmp_path: Path) -> Iterator[None]:
        self.org = org
        more = [{**one, "createable": True, "updateable": True} for one in MORE]
        org.make(self.object, [*FIELDS, *more])
        self.config = configuration(org, access_token=token(org))  # so that no step is one of signing in
        self.prepare(tmp_path / "suite")
        yield
        self.finish()

    def described(self) -> tuple[ObjectFacts, pa.Schema]:
        """Asked for once a test."""
        if self._described is None:
            self._described = super().described()
        return self._described

    def make(self) -> SalesforceApplication:
        return SalesforceApplication(self.config, self.context())

    def new(self, number: int) -> dict[str, Any]:
        return {
            "Name": f'Name "{number}",\n山',
            "Score__c": Decimal(number) / 8,
            "Day__c": date(2024, 2, 29) + timedelta(days=number),
            "At__c": datetime(2024, 2, 29, 23, 59, 59, tzinfo=UTC) + timedelta(hours=number),
        }

    def put(self, records: Sequence[Values]) -> list[str]:
        if self._prefix is None:
            self._prefix = prefix(self.org, self.object)
        ids = [long_id(f"{self._prefix}{next(_numbers):012d}") for _ in records]
        self.org.put(self.object, ({"Id": id_, **_said(one)} for id_, one in zip(ids, records, strict=True)))
        return ids

    def rows(self, keys: Sequence[str]) -> list[dict[str, Any]]:
        wanted = set(keys)
        found = [record for record in self.org.records(self.object) if record["Ext__c"] in wanted]
        return [{**record, **_heard(record)} for record in found]

    def remove(self, id_: str) -> None:
        self.org.control("DELETE", f"records/{self.object}?ids={id_}")

    def refused(self) -> dict[str, Any]:
        return {"Name": "x" * 81}

    def lock(self, id_: str, times: int) -> None:
        self.org.settings(locks={self.object: {id_: times}})


def _said(record: Values) -> dict[str, Any]:
    """A record as the sandbox is told of it."""
    return {name: value if isinstance(value, str | None) else _text(value) for name, value in record.items()}


def _text(value: Any) -> Any:
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%S}.000+0000"
    return value.isoformat() if isinstance(value, date) else float(value)


def _heard(record: Values) -> dict[str, Any]:
    """Values of a record that JSON has no types for."""
    score, day, at = record["Score__c"], record["Day__c"], record["At__c"]
    return {
        "Score__c": None if score is None else Decimal(str(score)),
        "Day__c": None if day is None else date.fromisoformat(day),
        "At__c": None if at is None else datetime.strptime(at, "%Y-%m-%dT%H:%M:%S.%f%z"),
    }


class TestInCollections(SalesforceApplicationSuite):
    """As it is: inserts alone go in jobs."""


class TestInJobs(SalesforceApplicationSuite):
    """All orders go in jobs. By their journal they are all alike, so one more of them is killed."""

    def order(self, action: Action) -> Order:
        plain = super().order(action)
        return Order(object=plain.object, action=action, by=plain.by, options={"bulk_from": 1})

    @pytest.mark.parametrize("action", [Action.UPSERT])
    def test_killed_before_any_step_and_sent_again_with_its_journal_no_row_is_doubled(self, action: Action) -> None:
        super().test_killed_before_any_step_and_sent_again_with_its_journal_no_row_is_doubled(action)
