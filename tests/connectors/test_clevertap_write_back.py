"""CleverTap taking rows back: the conformance suite on profiles, and events that are never sent twice by themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from clevertap_calls import Project, open_project
from suiro.connectors.clevertap.application import CleverTapApplication, _record, _results
from suiro.model.errors import AuthError, ConfigError
from suiro.model.writeback import Action, Order, Outcome, RowResult
from suiro.testing.application_harness import FileJournal, Values, outcomes
from suiro.testing.application_suite import ApplicationSuite
from suiro.testing.context import LocalContext

FIELDS = {"Company": "text", "Rank": "number", "Seen": "date", "Kept": "bool"}
EVENT = "Subscription Moved"


@pytest.fixture(scope="module")
def standing() -> Iterator[Project]:
    with open_project({"profiles": 5, "events": 10}) as project:
        yield project


@pytest.fixture
def project(standing: Project) -> Project:
    standing.reset()
    return standing


def application(project: Project, folder: Path, **settings: Any) -> CleverTapApplication:
    config = project.config(profile_properties=FIELDS, event_properties={"plan": "text", "price": "number"}, **settings)
    return CleverTapApplication(config, LocalContext(run="r", workdir=folder))


class TestCleverTapProfiles(ApplicationSuite):
    """Of what applications promise, all that a service without inserts, deletes and empty values can keep."""

    object, external_id, text = "profile", "identity", "Company"
    project: Project

    @pytest.fixture(autouse=True)
    def _suite(self, project: Project, tmp_path: Path) -> Iterator[None]:
        self.project = project
        self.prepare(tmp_path / "suite")
        yield
        self.finish()

    def make(self) -> CleverTapApplication:
        config = self.project.config(profile_properties=FIELDS)
        return CleverTapApplication(config, self.context())

    def new(self, number: int) -> dict[str, Any]:
        return {
            "Company": f'Company "{number}" 山',
            "Email": f"who{number}@example.com",
            "Rank": Decimal(number) / 8,
            "Seen": datetime(2024, 2, 29, 23, 59, 59, tzinfo=UTC) + timedelta(hours=number),
            "Kept": number % 2 == 0,
        }

    def put(self, records: Sequence[Values]) -> list[str]:
        said = [{name: _plain(value) for name, value in one.items()} for one in records]
        self.project.put("profiles", *said)
        return [str(one["identity"]) for one in records]

    def rows(self, keys: Sequence[str]) -> list[dict[str, Any]]:
        wanted, found = set(keys), []
        for one in self.project.records("profiles"):
            if one.get("identity") in wanted:
                data = one["profileData"]
                seen = data.get("Seen")
                rank = data.get("Rank")
                found.append(
                    {
                        "identity": one["identity"],
                        **data,
                        "Seen": None if seen is None else datetime.fromtimestamp(int(seen.removeprefix("$D_")), UTC),
                        "Rank": None if rank is None else Decimal(str(rank)),
                    }
                )
        return found

    def remove(self, id_: str) -> None:
        self.project.remove(id_)

    def refused(self) -> dict[str, Any]:
        return {"Email": "none"}

    def test_a_null_empties_the_field(self) -> None:
        """An upload can't: such a row is refused by the field's name, and the record stays as it is."""
        (record,) = self.records(1)
        (id_,) = self.put([record])
        rows = self.batch([{"identity": id_}], ["identity", "Company"])
        (result,) = self.apply(self.order(Action.UPDATE), rows)
        assert (result.outcome, result.fields) == (Outcome.REFUSED, ("Company",))
        assert "nulls: skip" in str(result.message)
        self.assert_records([record])

    def test_all_records_of_one_key_come(self) -> None:
        """Profiles are found by identity alone: another field is refused by name."""
        keys = pa.array(["a"])
        with pytest.raises(ConfigError, match="finds no profile by Company"):
            list(self.open().present("profile", "Company", keys, []))

    def test_many_keys_are_asked_for_at_once(self) -> None:
        records = self.records(40)
        self.put(records)
        keys = pa.array([record["identity"] for record in records] + self.keys(20))
        (found,) = self.open().present("profile", "identity", keys, ["Rank"])
        assert Counter(found.column("identity").to_pylist()) == Counter(keys.to_pylist()[:40])


def _plain(value: Any) -> Any:
    match value:
        case datetime():
            return f"$D_{int(value.timestamp())}"
        case Decimal():
            return float(value)
        case _:
            return value


# --- events


@pytest.fixture
def opened(project: Project, tmp_path: Path) -> Iterator[CleverTapApplication]:
    one = application(project, tmp_path)
    yield one
    one.close()


@pytest.fixture
def journal(tmp_path: Path) -> FileJournal:
    return FileJournal(tmp_path / "journal.jsonl")


def rows(app: CleverTapApplication, object_: str, *values: dict[str, Any]) -> pa.RecordBatch:
    _, types = app.describe(object_)
    schema = pa.schema([types.field(name) for name in values[0]])
    return pa.RecordBatch.from_pylist(list(values), schema)


def renewed(number: int, **more: Any) -> dict[str, Any]:
    at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=number)
    return {"identity": f"s{number}", "ts": at, "plan": "pro", "price": Decimal("9.990000000"), **more}


def send(app: CleverTapApplication, object_: str, batch: pa.RecordBatch, journal: FileJournal) -> list[RowResult]:
    found = list(app.apply(Order(object=object_, action=Action.INSERT), batch, journal))
    return sorted(found, key=lambda result: result.row)


def count(project: Project, name: str = EVENT) -> int:
    return len(project.records(name))


def test_events_of_a_fixed_name_and_of_a_name_by_row_arrive_with_their_values(
    project: Project, opened: CleverTapApplication, journal: FileJournal, tmp_path: Path
) -> None:
    fixed = rows(opened, f"event:{EVENT} Once", renewed(1), renewed(2, plan=None))
    assert outcomes(send(opened, f"event:{EVENT} Once", fixed, journal)) == [Outcome.DONE] * 2
    found = project.records(f"{EVENT} Once")
    assert [one["event_props"] for one in found] == [{"plan": "pro", "price": 9.99}, {"price": 9.99}]
    assert [one["at"] for one in found] == [int(datetime(2026, 1, 1, 0, 0, n, tzinfo=UTC).timestamp()) for n in (1, 2)]
    named = rows(
        opened, "event", renewed(3, evtName="Moved A"), renewed(4, evtName="Moved B"), renewed(5, evtName=None)
    )
    results = send(opened, "event", named, FileJournal(tmp_path / "other.jsonl"))
    assert outcomes(results) == [Outcome.DONE, Outcome.DONE, Outcome.REFUSED] and results[2].fields == ("evtName",)
    assert (count(project, "Moved A"), count(project, "Moved B")) == (1, 1)


def test_many_events_go_by_thousands(project: Project, opened: CleverTapApplication, journal: FileJournal) -> None:
    name = f"{EVENT} Often"
    batch = rows(opened, f"event:{name}", *(renewed(n % 40) for n in range(2_100)))
    assert Counter(outcomes(send(opened, f"event:{name}", batch, journal))) == {Outcome.DONE: 2_100}
    assert count(project, name) == 2_100 and project.told()["requests"]["POST /1/upload"] == 3


@pytest.mark.parametrize("fault", ["lost", "drop"])
def test_events_whose_answer_was_lost_are_unknown_and_never_sent_again(
    project: Project, opened: CleverTapApplication, journal: FileJournal, fault: str
) -> None:
    name = f"{EVENT} {fault}"
    batch = rows(opened, f"event:{name}", renewed(1), renewed(2))
    project.faults(next=[fault])
    results = send(opened, f"event:{name}", batch, journal)
    assert outcomes(results) == [Outcome.UNKNOWN] * 2 and "twice" in str(results[0].message)
    assert count(project, name) == 2  # they did arrive
    assert outcomes(send(opened, f"event:{name}", batch, journal)) == [Outcome.UNKNOWN] * 2
    assert count(project, name) == 2


def test_a_process_that_died_while_events_left_sends_none_of_them_again(
    project: Project, opened: CleverTapApplication, journal: FileJournal
) -> None:
    name = f"{EVENT} Dead"
    journal.note({"chunk": 0, "state": "leaves"})
    results = send(opened, f"event:{name}", rows(opened, f"event:{name}", renewed(1)), journal)
    assert outcomes(results) == [Outcome.UNKNOWN] and count(project, name) == 0


def test_events_that_were_answered_are_answered_again_from_the_journal(
    project: Project, opened: CleverTapApplication, journal: FileJournal
) -> None:
    name = f"{EVENT} Again"
    batch = rows(opened, f"event:{name}", renewed(1), renewed(2, identity=""), renewed(3))
    first = send(opened, f"event:{name}", batch, journal)
    assert send(opened, f"event:{name}", batch, journal) == first
    assert outcomes(first) == [Outcome.DONE, Outcome.REFUSED, Outcome.DONE] and count(project, name) == 2


def test_events_that_surely_did_not_arrive_are_sent_again(
    project: Project, opened: CleverTapApplication, journal: FileJournal
) -> None:
    """429 is told before anything is looked at."""
    name = f"{EVENT} Waited"
    project.faults(next=["429", None])
    batch = rows(opened, f"event:{name}", renewed(1))
    assert outcomes(send(opened, f"event:{name}", batch, journal)) == [Outcome.DONE]
    assert count(project, name) == 1


def test_events_that_were_refused_as_a_whole_are_sent_again_with_the_journal(
    project: Project, opened: CleverTapApplication, journal: FileJournal, tmp_path: Path
) -> None:
    name = f"{EVENT} Signed"
    batch = rows(opened, f"event:{name}", renewed(1))
    stranger = application(project, tmp_path / "stranger", passcode="wrong")
    with pytest.raises(AuthError):
        send(stranger, f"event:{name}", batch, journal)
    stranger.close()
    assert outcomes(send(opened, f"event:{name}", batch, journal)) == [Outcome.DONE] and count(project, name) == 1


def test_left_out_records_are_known_by_their_content_whatever_they_are_numbered_by(
    project: Project, opened: CleverTapApplication, journal: FileJournal
) -> None:
    for numbers_from in (0, 1):
        project.set(numbers_from=numbers_from)
        emails = ["a@b.co", "none", "c@d.co", "none"]
        values = [{"identity": f"m{n}", "Email": email} for n, email in enumerate(emails)]
        order = Order(object="profile", action=Action.UPSERT, by="identity")
        results = sorted(opened.apply(order, rows(opened, "profile", *values), journal), key=lambda r: r.row)
        assert outcomes(results) == [Outcome.DONE, Outcome.REFUSED, Outcome.DONE, Outcome.REFUSED]
        assert (results[1].code, results[1].message) == ("515", "Profile data is incorrect. Email is not valid.")


def test_an_answer_that_does_not_add_up_leaves_all_rows_unknown() -> None:
    some = {n: _record("event:E", {"identity": f"a{n}", "price": Decimal(n)}) for n in range(3)}
    strange = {"status": "partial", "processed": 2, "unprocessed": [{"record": {"identity": "z"}, "code": 1}]}
    assert outcomes(_results(some, strange)) == [Outcome.UNKNOWN] * 3
    assert outcomes(_results(some, {"status": "success", "processed": 2})) == [Outcome.UNKNOWN] * 3
    assert outcomes(_results(some, {"status": "success", "processed": 3})) == [Outcome.DONE] * 3
    echoed = {"evtData": {"price": 1.0}, "type": "event", "evtName": "E", "identity": "a1"}  # 1 was sent
    one = _results(some, {"status": "partial", "processed": 2, "unprocessed": [{"record": echoed, "code": 1}]})
    assert outcomes(one) == [Outcome.DONE, Outcome.REFUSED, Outcome.DONE]
    refused = _results(some, {"status": "fail", "error": "Passcode", "code": 7})
    assert outcomes(refused) == [Outcome.REFUSED] * 3 and refused[0].code == "7"


def test_what_an_upload_cannot_say_is_refused_by_name(opened: CleverTapApplication, journal: FileJournal) -> None:
    part = renewed(1, ts=datetime(2026, 1, 1, 0, 0, 0, 5, tzinfo=UTC))
    (result,) = send(opened, f"event:{EVENT}", rows(opened, f"event:{EVENT}", part), journal)
    assert (result.outcome, result.fields) == (Outcome.REFUSED, ("ts",))
    with pytest.raises(ConfigError, match="takes no delete"):
        list(
            opened.apply(
                Order(object="profile", action=Action.DELETE), rows(opened, "profile", {"identity": "a"}), journal
            )
        )
    with pytest.raises(ConfigError, match="has no object"):
        opened.describe("lead")
    assert opened.objects()[:2] == ("profile", "event")
    assert [name for name, fact in opened.describe("event")[0].fields.items() if fact.required] == [
        "identity",
        "evtName",
    ]


def test_profiles_go_by_thousands_and_are_looked_up_one_by_one(
    project: Project, opened: CleverTapApplication, journal: FileJournal
) -> None:
    values = [{"identity": f"many-{n}", "Email": "none" if n == 1_010 else f"{n}@b.co"} for n in range(1_050)]
    order = Order(object="profile", action=Action.UPSERT, by="identity")
    results = sorted(opened.apply(order, rows(opened, "profile", *values), journal), key=lambda result: result.row)
    assert outcomes(results) == [Outcome.REFUSED if n == 1_010 else Outcome.DONE for n in range(1_050)]
    kept = {one["identity"]: one["email"] for one in project.records("profiles") if "email" in one}
    assert all(kept.get(row["identity"]) == row["Email"] for row in values if row["Email"] != "none")
    assert project.told()["requests"] == {"GET /1/profile.json": 1_050, "POST /1/upload": 2}
