"""Write-back to Salesforce's sandbox: what is told of objects, what records hold, and rows sent either way."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from salesforce_org import Org
from salesforce_writes import BY_JOBS, FIELDS, Writer, outcomes
from suiro.connectors.salesforce.describe import Descriptions, SObject
from suiro.connectors.salesforce.facts import described_for_writing
from suiro.connectors.salesforce.ids import long_id
from suiro.model.errors import ConfigError, TransientError
from suiro.model.writeback import Action, Outcome

DONE, REFUSED = Outcome.DONE, Outcome.REFUSED
WAYS = pytest.mark.parametrize("way", [{}, BY_JOBS], ids=["collections", "jobs"])


def field(name: str, type_: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": type_, "createable": True, "updateable": True, **more}


@pytest.fixture
def writer(org: Org, tmp_path: Path) -> Iterator[Writer]:
    writer = Writer(org, tmp_path)
    yield writer
    writer.close()


@pytest.fixture
def made(org: Org, writer: Writer) -> str:
    """An object with three records: n0, n1, n2."""
    name = org.make("Made__c", FIELDS)
    rows = writer.rows(name, Name=["n0", "n1", "n2"], Ext__c=["e0", "e1", "e2"])
    assert outcomes(writer.apply(Action.INSERT, name, rows)) == [DONE] * 3
    return name


def ids(org: Org, name: str) -> list[str]:
    return [record["Id"] for record in org.records(name)]


def column(org: Org, name: str, of: str) -> list[Any]:
    return [record[of] for record in org.records(name)]


# -- what is told of objects -------------------------------------------------------------------------------------------


def test_a_field_is_told_with_all_that_salesforce_asks_of_its_values(org: Org, writer: Writer) -> None:
    choices = [{"value": "Hot", "active": True, "label": "Hot"}, {"value": "Cold", "active": True, "label": "Cold"}]
    more = [
        field("Must__c", "string", length=10, nillable=False),
        field("Kind__c", "picklist", length=255, restrictedPicklist=True, picklistValues=choices),
        field("Free__c", "picklist", length=255, restrictedPicklist=False, picklistValues=choices),
        field("Formula__c", "double", precision=5, scale=1, calculated=True, createable=False, updateable=False),
        field("Case__c", "string", length=5, externalId=True, unique=True, caseSensitive=True),
    ]
    facts, types = writer.application.describe(org.make("Told__c", [*FIELDS, *more]))
    fields = facts.fields
    assert facts.record_id == "Id"
    assert [name for name, one in fields.items() if one.external_id] == ["Ext__c", "Case__c"]
    assert [name for name, one in fields.items() if one.required] == ["Must__c"]
    assert fields["Must__c"].most_characters == 10
    assert (fields["Kind__c"].choices, fields["Free__c"].choices) == (("Hot", "Cold"), None)
    assert (fields["Formula__c"].creatable, fields["Formula__c"].updatable) == (False, False)
    assert (fields["Case__c"].case_sensitive, fields["Ext__c"].case_sensitive) == (True, False)
    assert fields["Ext__c"].unique and fields["Name"].empty_is_null
    assert types.field("Score__c").type == pa.decimal128(18, 8)


def test_values_of_a_picklist_that_are_no_longer_active_are_not_among_its_choices(writer: Writer) -> None:
    choices = [{"value": "Hot", "active": True}, {"value": "Old", "active": False}]
    kind = field("Kind__c", "picklist", length=255, restrictedPicklist=True, picklistValues=choices)
    said = SObject.of({"name": "Said__c", "fields": [FIELDS[0], kind]})
    found = described_for_writing(Descriptions(writer.application._org), said)
    assert found.facts.fields["Kind__c"].choices == ("Hot",)


def test_an_id_lookup_such_as_a_leads_email_counts_as_an_external_id(writer: Writer) -> None:
    facts, _ = writer.application.describe("lead")
    assert facts.fields["Email"].external_id and not facts.fields["Email"].unique
    assert not facts.fields["Id"].external_id  # by it no record can be made
    assert facts.fields["Id"].case_sensitive  # in the form of fifteen characters


def test_a_field_that_field_level_security_hides_is_not_told(org: Org, writer: Writer) -> None:
    assert "Phone" in writer.application.describe("Lead")[0].fields
    org.settings(hidden_fields=["Lead.Phone"])
    assert "Phone" not in writer.application.describe("Lead")[0].fields


def test_an_object_that_is_not_there_is_refused_with_those_that_come_near(writer: Writer) -> None:
    with pytest.raises(ConfigError, match="no object 'Leed'") as caught:
        writer.application.describe("Leed")
    assert "Lead" in str(caught.value.hint)


# -- what records hold -------------------------------------------------------------------------------------------------


def test_records_are_found_by_ids_of_fifteen_and_of_eighteen_characters(org: Org, made: str, writer: Writer) -> None:
    one, two, three = ids(org, made)
    found = writer.present(made, "Id", [one[:15], two, "a005g00000zzzzzzzz", None], "Name")
    assert sorted(found, key=lambda row: row["Name"]) == [
        {"Id": one[:15], "Name": "n0"},
        {"Id": two, "Name": "n1"},
    ]
    assert [long_id(id_[:15]) for id_ in (one, two, three)] == [one, two, three]


def test_a_long_id_of_recorded_answers_is_made_from_its_short_form() -> None:
    for recorded in ("01gRO0000016PIAYA2", "012000000000000AAA", "00Dx0000000BV7zEAG"):
        assert long_id(recorded[:15]) == recorded


def test_several_records_of_one_key_all_come_and_deleted_ones_do_not(org: Org, made: str, writer: Writer) -> None:
    rows = writer.rows(made, Name=["twin", "twin", "gone"])
    gone = writer.apply(Action.INSERT, made, rows)[2].record
    org.control("DELETE", f"records/{made}?ids={gone}&purge=false")
    found = writer.present(made, "Name", ["TWIN", "gone"], "Ext__c")
    assert [row["Name"] for row in found] == ["twin", "twin"]
    assert found[0]["Id"] != found[1]["Id"]


def test_many_keys_are_asked_for_in_few_requests_that_salesforce_takes(org: Org, writer: Writer) -> None:
    records = org.records("Lead")
    org.forget_requests()
    odd = [f"it's, \\ {at} 山\n" for at in range(300)]
    found = writer.present("Lead", "Company", [record["Company"] for record in records] + odd, "Company")
    assert len(found) == len(records)
    found = writer.present("Lead", "Id", [record["Id"] for record in records], "LastName", "Email")
    assert {row["Id"]: row["LastName"] for row in found} == {one["Id"]: one["LastName"] for one in records}
    assert org.requests()["GET /services/data/v{version}/query"] < 12


def test_so_many_keys_that_a_job_takes_fewer_requests_are_read_by_one(org: Org, writer: Writer) -> None:
    records = {record["Id"]: record["Email"] for record in org.records("Lead")}
    keys = [*(id_[:15] for id_ in records), *(f"00Qzz0000{at:06d}" for at in range(30_000 - len(records)))]
    org.forget_requests()
    found = writer.present("Lead", "Id", keys, "Email")
    assert {long_id(row["Id"]): row["Email"] for row in found} == records
    assert {row["Id"] for row in found} == {id_[:15] for id_ in records}
    assert sum(org.requests().values()) < 20
    by_email = writer.present("Lead", "Email", [*(f"{at}@example.com" for at in range(30_000)), *records.values()])
    assert len(by_email) == sum(email is not None for email in records.values())


def test_fields_too_many_for_one_address_are_asked_for_in_parts(org: Org, writer: Writer) -> None:
    _, types = writer.application.describe("Wide__c")
    wanted = [one.name for one in types if one.name != "Id" and "." not in one.name][:380]
    records = org.records("Wide__c")[:30]
    found = {row["Id"]: row for row in writer.present("Wide__c", "Id", [one["Id"] for one in records], *wanted)}
    texts = [name for name in wanted if types.field(name).type == pa.string()]
    assert len(texts) > 50
    for record in records:
        assert {name: found[record["Id"]][name] for name in texts} == {name: record[name] for name in texts}


# -- rows sent ---------------------------------------------------------------------------------------------------------


@WAYS
def test_values_of_every_type_arrive_as_they_are(org: Org, writer: Writer, way: dict[str, Any]) -> None:
    more = [
        field("Flag__c", "boolean"), field("Int__c", "int"), field("Day__c", "date"), field("At__c", "datetime"),
        field("Clock__c", "time"), field("Text__c", "textarea", length=32_000), field("Many__c", "multipicklist"),
        field("Wide__c", "double", precision=18, scale=2),
    ]  # fmt: skip
    name = org.make("Typed__c", [*FIELDS, *more])
    written: dict[str, list[Any]] = {
        "Name": ["plain", "ten", "twelve"],
        "Score__c": [Decimal("0.00000001"), Decimal("-12.50000000"), Decimal("9999999999.99999999")],
        "Flag__c": [True, False, True],
        "Int__c": [0, -(2**31), 2**31 - 1],
        "Day__c": [date(2024, 2, 29), date(1999, 12, 31), None],
        "At__c": [datetime(2024, 2, 29, 23, 59, 59, tzinfo=UTC), datetime(1969, 1, 1, tzinfo=UTC), None],
        "Clock__c": [time(23, 59, 59, 999_000), time(0), None],
        "Text__c": ['"quoted", \\ and\nlines\r\n', " spaces ", "山\t#N/A, it says"],
        "Many__c": ["one;two", "three", None],
        "Wide__c": [Decimal("9007199254740993.17"), Decimal("-0.10"), None],
    }
    rows = writer.rows(name, **written)
    made = writer.apply(Action.INSERT, name, writer.rows(name, Name=["a", "b", "c"]))
    keyed = rows.add_column(0, "Id", pa.array([one.record for one in made]))
    assert outcomes(writer.apply(Action.UPDATE, name, keyed, options=way)) == [DONE] * 3
    found = {row["Id"]: row for row in writer.present(name, "Id", [one.record for one in made], *written)}
    assert [[found[one.record][of] for one in made] for of in written] == list(written.values())


@WAYS
def test_pitfall_7_a_null_and_an_empty_text_empty_the_field_and_do_not_leave_the_old_value(
    org: Org, made: str, writer: Writer, way: dict[str, Any]
) -> None:
    one, two, three = ids(org, made)
    rows = writer.rows(made, Id=[one, two, three], Name=[None, "", "stays"], Score__c=[Decimal(1), None, None])
    assert outcomes(writer.apply(Action.UPDATE, made, rows, options=way)) == [DONE] * 3
    assert column(org, made, "Name") == [None, None, "stays"]
    assert column(org, made, "Ext__c") == ["e0", "e1", "e2"]  # of which nothing was said


@WAYS
def test_pitfall_8_rows_are_matched_by_id_in_either_form_whatever_order_the_answers_have(
    org: Org, writer: Writer, way: dict[str, Any]
) -> None:
    name = org.make("Forms__c", FIELDS)
    made = writer.apply(Action.INSERT, name, writer.rows(name, Name=[f"n{at}" for at in range(60)]))
    keys = [str(one.record)[: 15 if at % 2 else 18] for at, one in enumerate(made)]
    long = "x" * 81  # of 80 characters at most
    names = [long if at % 7 == 0 else f"m{at}" for at in range(60)]
    answers = writer.apply(Action.UPDATE, name, writer.rows(name, Id=keys, Name=names), options=way)
    assert outcomes(answers) == [REFUSED if at % 7 == 0 else DONE for at in range(60)]
    assert {(one.code, one.fields) for one in answers if one.outcome is REFUSED} == {("STRING_TOO_LONG", ("Name",))}
    assert column(org, name, "Name") == [f"n{at}" if at % 7 == 0 else f"m{at}" for at in range(60)]


@WAYS
def test_pitfall_9_an_upsert_by_a_value_that_several_records_have_is_refused_with_the_reason(
    writer: Writer, way: dict[str, Any]
) -> None:
    twins = writer.rows("Lead", LastName=["A", "B"], Company=["c", "c"], Email=["twin@example.com"] * 2)
    assert outcomes(writer.apply(Action.INSERT, "Lead", twins)) == [DONE, DONE]
    rows = writer.rows("Lead", Email=["twin@example.com", "new@example.com"], LastName=["C", "D"], Company=["c", "c"])
    answers = writer.apply(Action.UPSERT, "Lead", rows, by="Email", options=way)
    assert outcomes(answers) == [REFUSED, DONE]
    assert answers[0].code and answers[0].message
    assert not {row["LastName"] for row in writer.present("Lead", "Email", ["twin@example.com"], "LastName")} & {"C"}
    ids = [row["Id"] for row in writer.present("Lead", "Email", ["twin@example.com", "new@example.com"])]
    assert outcomes(writer.apply(Action.DELETE, "Lead", writer.rows("Lead", Id=ids))) == [DONE] * 3


@WAYS
def test_pitfall_9_rows_of_one_batch_that_share_a_key_are_refused_and_none_of_them_is_sent(
    org: Org, made: str, writer: Writer, way: dict[str, Any]
) -> None:
    rows = writer.rows(made, Ext__c=["e0", "E0", None, "e9"], Name=["x", "y", "z", "new"])
    answers = writer.apply(Action.UPSERT, made, rows, by="Ext__c", options=way)
    assert outcomes(answers) == [REFUSED, REFUSED, REFUSED, DONE]
    assert [one.code for one in answers[:3]] == ["DUPLICATE_KEY", "DUPLICATE_KEY", "NOT_SENT"]
    assert column(org, made, "Name") == ["n0", "n1", "n2", "new"]


@WAYS
def test_pitfall_9_locked_rows_are_tried_again_and_invalid_ones_are_not(
    org: Org, made: str, writer: Writer, way: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer.context, "wait", lambda seconds: None)
    org.settings(lock_next=2)
    rows = writer.rows(made, Id=ids(org, made), Name=["a", "b", "y" * 81])
    answers = writer.apply(Action.UPDATE, made, rows, options=way)
    assert outcomes(answers) == [DONE, DONE, REFUSED]
    assert answers[2].code == "STRING_TOO_LONG"
    assert column(org, made, "Name") == ["a", "b", "n2"]


@WAYS
def test_a_row_that_stays_locked_may_be_sent_another_time(
    org: Org, made: str, writer: Writer, way: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer.context, "wait", lambda seconds: None)
    one, two, _ = ids(org, made)
    org.settings(locked_ids=[one])
    answers = writer.apply(Action.UPDATE, made, writer.rows(made, Id=[one, two], Name=["a", "b"]), options=way)
    assert outcomes(answers) == [Outcome.UNPROCESSED, DONE]
    assert answers[0].code == "UNABLE_TO_LOCK_ROW"


@WAYS
def test_an_upsert_says_of_each_record_whether_it_was_made(
    org: Org, made: str, writer: Writer, way: dict[str, Any]
) -> None:
    rows = writer.rows(made, Ext__c=["E1", "new"], Name=["changed", "made"])
    answers = writer.apply(Action.UPSERT, made, rows, by="Ext__c", options=way)
    assert [(one.outcome, one.created) for one in answers] == [(DONE, False), (DONE, True)]
    assert column(org, made, "Name") == ["n0", "changed", "n2", "made"]
    assert [one.record for one in answers] == [ids(org, made)[1], ids(org, made)[3]]


@WAYS
def test_deleting_what_is_gone_already_is_done(org: Org, made: str, writer: Writer, way: dict[str, Any]) -> None:
    one, two, _ = ids(org, made)
    rows = writer.rows(made, Id=[one, two])
    assert outcomes(writer.apply(Action.DELETE, made, rows.slice(0, 1), options=way)) == [DONE]
    assert outcomes(writer.apply(Action.DELETE, made, rows, options=way)) == [DONE, DONE]
    assert column(org, made, "Name") == ["n2"]


@WAYS
def test_a_delete_never_reaches_a_record_of_another_object(
    org: Org, made: str, writer: Writer, way: dict[str, Any]
) -> None:
    lead = org.records("Lead")[0]["Id"]
    answers = writer.apply(Action.DELETE, made, writer.rows(made, Id=[lead, ids(org, made)[0]]), options=way)
    assert outcomes(answers) == [REFUSED, DONE]
    assert "another object" in str(answers[0].message)
    assert lead in ids(org, "Lead")


def test_an_upsert_whose_answer_is_lost_is_not_sent_again_by_itself_for_what_it_made_is_not_known(
    org: Org, made: str, writer: Writer
) -> None:
    org.control("PUT", "faults", {"rate": 1.0, "kinds": ["lost"], "at_most": 1, "methods": ["PATCH"]})
    rows = writer.rows(made, Ext__c=["e1", "new"], Name=["changed", "made"])
    with pytest.raises(TransientError):
        writer.apply(Action.UPSERT, made, rows, by="Ext__c")
    assert outcomes(writer.apply(Action.UPSERT, made, rows, by="Ext__c")) == [DONE, DONE]
    assert column(org, made, "Name") == ["n0", "changed", "n2", "made"]


@WAYS
def test_a_reference_is_told_by_an_external_id_of_the_record_that_it_leads_to(
    org: Org, writer: Writer, way: dict[str, Any]
) -> None:
    org.make("Parent__c", FIELDS)
    reference = field("Parent__c", "reference", length=18, referenceTo=["Parent__c"], relationshipName="Parent__r")
    name = org.make("Child__c", [*FIELDS, reference])
    parents = writer.apply(Action.INSERT, "Parent__c", writer.rows("Parent__c", Name=["p0", "p1"], Ext__c=["p0", "p1"]))
    told = {"Name": ["c0", "c1", "c2"], "Parent__r.Ext__c": ["P0", "p1", "p9"]}
    children = writer.apply(Action.INSERT, name, writer.rows(name, **told))
    assert outcomes(children) == [DONE, DONE, REFUSED]
    changed = {"Id": [one.record for one in children[:2]], "Parent__r.Ext__c": [None, "p0"]}
    assert outcomes(writer.apply(Action.UPDATE, name, writer.rows(name, **changed), options=way)) == [DONE, DONE]
    assert column(org, name, "Parent__c") == [None, parents[0].record]
    found = writer.present(name, "Id", [children[1].record], "Parent__r.Ext__c")
    assert [row["Parent__r.Ext__c"] for row in found] == ["p0"]


@WAYS
def test_a_time_finer_than_milliseconds_is_refused_by_its_field(org: Org, writer: Writer, way: dict[str, Any]) -> None:
    name = org.make("Fine__c", [*FIELDS, field("At__c", "datetime")])
    made = writer.apply(Action.INSERT, name, writer.rows(name, Name=["a", "b"]))
    moments = [datetime(2024, 1, 1, 1, 1, 1, 1, tzinfo=UTC), datetime(1950, 1, 1, tzinfo=UTC)]
    rows = writer.rows(name, Id=[one.record for one in made], At__c=moments)
    answers = writer.apply(Action.UPDATE, name, rows, options=way)
    assert outcomes(answers) == [REFUSED, DONE]
    assert answers[0].fields == ("At__c",) and "milliseconds" in str(answers[0].message)


def test_few_rows_go_in_collections_and_many_in_one_job(org: Org, writer: Writer) -> None:
    made = [one["Id"] for one in org.records("Lead") if not one["IsConverted"]]
    rows = writer.rows("Lead", Id=made[:1000], LeadScore__c=[Decimal(at % 100) for at in range(1000)])
    org.forget_requests()
    assert outcomes(writer.apply(Action.UPDATE, "Lead", rows)) == [DONE] * 1000
    assert org.requests()["PATCH /services/data/v{version}/composite/sobjects"] == 5
    org.forget_requests()
    assert outcomes(writer.apply(Action.UPDATE, "Lead", rows, options={"bulk_from": 1000})) == [DONE] * 1000
    assert org.requests()["POST /services/data/v{version}/jobs/ingest"] == 1
    assert sum(org.requests().values()) < 8


def test_rows_that_csv_can_not_say_go_in_collections_and_as_new_records_are_refused(org: Org, writer: Writer) -> None:
    name = org.make("Long__c", [*FIELDS, field("Text__c", "textarea", length=131_072)])
    made = writer.apply(Action.INSERT, name, writer.rows(name, Name=["a", "b", "c"]))
    texts = ["#N/A", "x" * 32_001, "plain"]
    rows = writer.rows(name, Id=[one.record for one in made], Text__c=texts)
    assert outcomes(writer.apply(Action.UPDATE, name, rows, options=BY_JOBS)) == [DONE] * 3
    assert column(org, name, "Text__c") == texts
    answers = writer.apply(Action.INSERT, name, rows.select(["Text__c"]))
    assert outcomes(answers) == [REFUSED, REFUSED, DONE]
    assert ["#N/A" in str(answers[0].message), "32,000" in str(answers[1].message)] == [True, True]


def test_options_and_keys_that_make_no_sense_are_refused(made: str, writer: Writer) -> None:
    rows = writer.rows(made, Ext__c=["a"], Name=["n"])
    with pytest.raises(ConfigError, match="no option 'speed'"):
        writer.apply(Action.UPSERT, made, rows, by="Ext__c", options={"speed": 1})
    with pytest.raises(ConfigError, match="bulk_from"):
        writer.apply(Action.UPSERT, made, rows, by="Ext__c", options={"bulk_from": 0})
    with pytest.raises(ConfigError, match="Name is no external id"):
        writer.apply(Action.UPSERT, made, rows, by="Name")
