"""Intercom as an application: the conformance suite on a made-up workspace, and what is its own: tags, conflicts."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from inbox import Inbox, open_inbox
from suiro.connectors.intercom.application import IntercomApplication
from suiro.connectors.intercom.source import IntercomConfig
from suiro.model.errors import ConfigError
from suiro.model.writeback import Action, ObjectFacts, Order, Outcome
from suiro.testing.application_harness import Values, outcomes
from suiro.testing.application_suite import ApplicationSuite

SIZES = {"contacts": 30, "companies": 4, "conversations": 2, "tickets": 1}
CUSTOM = "custom_attributes."
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def opened() -> Iterator[Inbox]:
    with open_inbox(SIZES) as inbox:
        yield inbox


@pytest.fixture
def inbox(opened: Inbox) -> Inbox:
    opened.faults()
    opened.set(creation_delay=0.0)
    opened.requests()
    return opened


class TestSuite(ApplicationSuite):
    """Every promise of spi/application."""

    object, external_id, text = "contact", "external_id", "name"
    inbox: Inbox
    _described: tuple[ObjectFacts, pa.Schema] | None = None

    @pytest.fixture(autouse=True)
    def _suite(self, inbox: Inbox, tmp_path: Path) -> Iterator[None]:
        self.inbox = inbox
        self.prepare(tmp_path / "suite")
        yield
        self.finish()

    def make(self) -> IntercomApplication:
        token = {name: value for name, value in self.inbox.connections["token"].items() if name != "type"}
        return IntercomApplication(IntercomConfig(**token), self.context())  # type: ignore[arg-type]

    def described(self) -> tuple[ObjectFacts, pa.Schema]:
        """Asked for once a test."""
        if self._described is None:
            self._described = super().described()
        return self._described

    def new(self, number: int) -> dict[str, Any]:
        at = next(_numbers)
        return {
            "name": f'名 "{number}",\n\\n',
            "email": f"suite.{at}@example.com",
            "phone": f"+1-202-555-{number:04}",
            "signed_up_at": datetime(2024, 2, 29, 23, 59, 59, tzinfo=UTC) + timedelta(hours=number),
            "owner_id": number % 3 + 1,
            f"{CUSTOM}score": number / 8,
            f"{CUSTOM}seats": number,
            f"{CUSTOM}plan": f"plan {number}",
            f"{CUSTOM}renewal": datetime(2027, 1, 1, tzinfo=UTC) + timedelta(days=number),
        }

    def put(self, records: Sequence[Values]) -> list[str]:
        return self.inbox.put("contacts", *({"role": "user", **_said(one)} for one in records))

    def rows(self, keys: Sequence[str]) -> list[dict[str, Any]]:
        wanted = set(keys)
        return [_heard(row) for row in self.inbox.records("contacts") if row["external_id"] in wanted]

    def remove(self, id_: str) -> None:
        assert self.inbox.ask("DELETE", f"/contacts/{id_}").status_code == 200

    def refused(self) -> dict[str, Any]:
        return {"email": "no address"}

    # -- what is Intercom's own

    def test_a_batch_takes_one_request_for_each_row_and_few_to_look(self) -> None:
        records, application = self.records(30), self.open()
        self.described()
        self.inbox.requests()
        for order in (self.order(Action.INSERT), self.order(Action.UPSERT)):
            results = list(application.apply(order, self.batch(records), self.journal()))
            assert set(outcomes(results)) == {Outcome.DONE}
            assert sum(self.inbox.requests().values()) == 30 + 1

    def test_what_records_hold_is_found_150_at_a_time(self) -> None:
        ids, application = self.put(self.records(160)), self.open()
        application.describe("contact")
        self.inbox.requests()
        found = list(application.present("contact", "id", pa.array(ids), ["name"]))
        assert sum(batch.num_rows for batch in found) == 160
        assert self.inbox.requests() == {"POST /contacts/search": 2}

    @pytest.mark.parametrize("fault", ["lost", "drop"])
    @pytest.mark.parametrize("action", [Action.INSERT, Action.UPSERT])
    def test_a_contact_whose_answer_was_lost_is_not_made_twice(self, action: Action, fault: str) -> None:
        records = self.records(5)
        self.inbox.faults(next=[None, fault, fault], routes=["/contacts"], methods=["POST"])
        results = self.apply(self.order(action), self.batch(records))
        assert outcomes(results) == [Outcome.DONE] * 5 and all(result.created for result in results)
        self.assert_records(records)

    @pytest.mark.parametrize("action", [Action.INSERT, Action.UPSERT])
    def test_a_contact_without_an_external_id_whose_answer_was_lost_is_unknown_and_not_doubled(
        self, action: Action
    ) -> None:
        self.inbox.set(creation_delay=600.0)
        self.inbox.faults(next=["lost"], routes=["/contacts"], methods=["POST"])
        (record,) = self.records(1)
        order = Order(object="contact", action=action, by="email" if action is Action.UPSERT else None)
        (result,) = self.apply(order, self.batch([{"email": record["email"], "role": "lead"}]))
        assert (result.outcome, bool(result.message)) == (Outcome.UNKNOWN, True)
        made = [row for row in self.inbox.records("contacts") if row["email"] == record["email"]]
        assert len(made) == 1

    def test_a_contact_that_only_a_search_does_not_find_yet_is_changed_all_the_same(self) -> None:
        self.inbox.set(creation_delay=600.0)
        (record,) = self.records(1)
        self.apply(self.order(Action.INSERT), self.batch([record]))
        (again,) = self.apply(self.order(Action.UPSERT), self.batch([{**record, "name": "Later"}]))
        assert (again.outcome, again.created) == (Outcome.DONE, False)
        self.assert_records([{**record, "name": "Later"}])

    def test_a_new_contact_with_the_external_id_of_another_one_is_refused(self) -> None:
        first, second = self.records(2)
        self.put([first])
        clash = {**second, "external_id": first["external_id"]}
        (result,) = self.apply(self.order(Action.INSERT), self.batch([clash]))
        assert (result.outcome, result.fields) == (Outcome.REFUSED, ("external_id",))
        self.assert_records([first])

    def test_an_archived_contact_comes_back_with_an_upsert(self) -> None:
        (record,) = self.records(1)
        (id_,) = self.put([record])
        self.inbox.post(f"/contacts/{id_}/archive")
        (result,) = self.apply(self.order(Action.UPSERT), self.batch([{**record, "name": "Back"}]))
        assert (result.outcome, result.record) == (Outcome.DONE, id_)
        self.assert_records([{**record, "name": "Back"}])

    def test_an_upsert_by_email_means_its_one_contact_whatever_the_case(self) -> None:
        one, *two = self.records(3)
        for twin in two:
            twin["email"] = two[0]["email"]
        self.put([one, *two])
        rows = [{"email": one["email"].upper(), "name": "New"}, {"email": two[0]["email"], "name": "New"}]
        order = Order(object="contact", action=Action.UPSERT, by="email")
        first, second = self.apply(order, self.batch(rows))
        assert (first.outcome, second.outcome) == (Outcome.DONE, Outcome.REFUSED)
        assert "several contacts" in (second.message or "")
        self.assert_records([{**one, "email": one["email"].upper(), "name": "New"}, *two])

    def test_tags_become_those_of_the_row_and_new_ones_are_made(self) -> None:
        (record,) = self.records(1)
        (id_,) = self.put([record])
        update = self.order(Action.UPDATE)
        for tags in ("vip,brand new", "beta,vip", None):
            (result,) = self.apply(update, self.batch([{"id": id_, "tags": tags}], ["id", "tags"]))
            assert result.outcome is Outcome.DONE
            (batch,) = self.open().present("contact", "id", pa.array([id_]), ["tags"])
            assert batch.column("tags").to_pylist() == [",".join(sorted(tags.split(","))) if tags else None]
        assert "brand new" in {row["name"] for row in self.inbox.records("tags")}

    def test_more_than_ten_tags_are_put_right_too(self) -> None:
        rich = next(row for row in self.inbox.records("contacts") if row["tags"]["total_count"] > 10)
        (batch,) = self.open().present("contact", "id", pa.array([rich["id"]]), ["tags"])
        (tags,) = batch.column("tags").to_pylist()
        assert len(tags.split(",")) == 12
        fewer = ",".join(tags.split(",")[1:])
        self.apply(self.order(Action.UPDATE), self.batch([{"id": rich["id"], "tags": fewer}]))
        (batch,) = self.open().present("contact", "id", pa.array([rich["id"]]), ["tags"])
        assert batch.column("tags").to_pylist() == [fewer]

    def test_a_lead_is_made_and_becomes_a_user(self) -> None:
        (record,) = self.records(1)
        lead = {name: value for name, value in record.items() if name in ("email", "name")}
        (made,) = self.apply(self.order(Action.INSERT), self.batch([{**lead, "role": "lead"}]))
        assert made.record is not None and made.created
        changed = {"id": made.record, "role": "user", "external_id": record["external_id"]}
        assert outcomes(self.apply(self.order(Action.UPDATE), self.batch([changed]))) == [Outcome.DONE]
        back = self.apply(self.order(Action.UPDATE), self.batch([{"id": made.record, "role": "lead"}]))
        assert outcomes(back) == [Outcome.REFUSED]

    def test_moments_between_seconds_are_refused_and_not_cut(self) -> None:
        (record,) = self.records(1)
        odd = {**record, "signed_up_at": datetime(2024, 1, 1, 0, 0, 0, 500, tzinfo=UTC)}
        (result,) = self.apply(self.order(Action.INSERT), self.batch([odd]))
        assert (result.outcome, result.fields) == (Outcome.REFUSED, ("signed_up_at",))
        self.assert_none([record["external_id"]])

    def test_an_upsert_by_what_is_no_key_is_refused(self) -> None:
        order = Order(object="contact", action=Action.UPSERT, by="name")
        with pytest.raises(ConfigError, match="name is no external id"):
            self.apply(order, self.batch([{"name": "x"}]))


def _said(record: Values) -> dict[str, Any]:
    """A record as the workspace keeps it."""
    out: dict[str, Any] = {}
    for name, value in record.items():
        plain = int(value.timestamp()) if isinstance(value, datetime) else value
        if name.startswith(CUSTOM):
            out.setdefault("custom_attributes", {})[name.removeprefix(CUSTOM)] = plain
        else:
            out[name] = plain
    return out


def _heard(row: dict[str, Any]) -> dict[str, Any]:
    """A record of the workspace in the fields' types."""
    custom = row["custom_attributes"]
    moments = {"signed_up_at": row["signed_up_at"], f"{CUSTOM}renewal": custom.get("renewal")}
    return {
        **row,
        **{f"{CUSTOM}{name}": float(value) if name == "score" else value for name, value in custom.items()},
        **{name: None if at is None else datetime.fromtimestamp(at, UTC) for name, at in moments.items()},
    }
