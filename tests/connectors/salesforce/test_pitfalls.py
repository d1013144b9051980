"""What goes wrong with Salesforce's API elsewhere, each a test: numbers are those of docs/connectors/salesforce.md."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from salesforce_org import STAMPED, Org, carried, changes, digest, follow, select, table
from suiro.model.change import Checkpoint, Rejected, Rows
from suiro.model.errors import (
    Cancelled,
    ConfigError,
    DataError,
    ResyncRequired,
    TransientError,
    UserError,
)
from suiro.model.place import QueryError
from suiro.model.schema import ReadMode

MARCH = datetime(2024, 3, 1, tzinfo=UTC)


def record(number: int, **more: Any) -> dict[str, Any]:
    """Of an object with the fields STAMPED."""
    stamp = f"{(MARCH + timedelta(seconds=number)).isoformat()[:19]}.000+0000"
    id_ = f"a0X5g{number:010d}AAA"
    return {"Id": id_, "Name": f"n{number}", "IsDeleted": False, "SystemModstamp": stamp, **more}


def equal(org: Org, source: Any, name: str, *columns: str) -> None:
    """A full read brings exactly what the store holds."""
    stored = org.records(name)
    selection = select(source, name, *columns)
    rows, _ = carried(source, selection)
    compared = [column for column in selection.columns if not stored or column in stored[0]]  # compound ones aren't
    assert len(compared) >= len(selection.columns) - 2
    assert digest(rows, compared) == digest(stored, compared)


# --- 1 and 2: what moves the cursor -----------------------------------------------------------------------------------


def test_1_system_modstamp_is_the_first_cursor_and_others_follow_where_it_is_missing(org: Org) -> None:
    source = org.source()
    assert source.find("Lead").cursor_fields[:3] == ("SystemModstamp", "LastModifiedDate", "CreatedDate")
    times = [{"name": name, "type": "datetime"} for name in ("Other__c", "LoginTime", "CreatedDate")]
    org.make("Login__c", [STAMPED[0], *times])
    stream = org.source().find("Login__c")
    assert stream.cursor_fields == ("CreatedDate", "LoginTime", "Other__c")
    assert any("can't see SystemModstamp" in note for note in stream.notes)


def test_1_a_change_of_the_systems_own_is_seen_by_system_modstamp(org: Org) -> None:
    org.make("Quiet__c", [*STAMPED, {"name": "LastModifiedDate", "type": "datetime"}])
    old = record(1, LastModifiedDate="2020-01-01T00:00:00.000+0000")
    org.put("Quiet__c", [old, record(2, LastModifiedDate="2020-01-01T00:00:00.000+0000")])
    source = org.source()
    _, since = carried(source, follow(source, "Quiet__c"))
    org.put("Quiet__c", [record(3, LastModifiedDate="2019-01-01T00:00:00.000+0000")])
    rows, _ = carried(source, follow(source, "Quiet__c", deduplicate=True), since)
    assert [row["Name"] for row in rows] == ["n3"]


def test_2_formulas_are_read_again_when_it_is_time_and_only_where_rows_are_merged(org: Org) -> None:
    org.make(
        "Sum__c", [*STAMPED, {"name": "Total__c", "type": "double", "precision": 5, "scale": 0, "calculated": True}]
    )
    org.put("Sum__c", [record(1, Total__c=1), record(2, Total__c=2), record(3, Total__c=3)])
    never, hourly = org.source(), org.source(formula_refresh=1)
    assert any("Total__c: computed" in note for note in never.find("Sum__c").notes)
    assert not any("Total__c" in note for note in hourly.find("Sum__c").notes)
    _, since = carried(hourly, follow(hourly, "Sum__c"))
    assert carried(hourly, follow(hourly, "Sum__c"), since)[0] == []
    late = {**since, "formulas": (datetime.now(UTC) - timedelta(hours=2)).isoformat()}
    again, after = carried(hourly, follow(hourly, "Sum__c", look_back=timedelta(0)), late)
    assert {row["Name"] for row in again} == {"n1", "n2"}, "the row at the boundary is known"
    assert after["formulas"] > late["formulas"]
    assert carried(hourly, follow(hourly, "Sum__c"), after)[0] == []
    assert carried(hourly, follow(hourly, "Sum__c", deduplicate=True), late)[0] == []
    assert len(carried(hourly, follow(hourly, "Sum__c", "Id", "SystemModstamp"), late)[0]) <= 1, "no formula is read"


# --- 3: pages of a bulk result ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [1, 499, 500, 1499, 1500, 2000])
def test_3_the_locator_null_ends_a_bulk_result_and_each_page_has_a_header(org: Org, rows: int) -> None:
    source = org.source(api="bulk", page_rows=rows)
    if rows > 1:
        equal(org, source, "Lead")
        return
    org.put(org.make("Few__c"), [record(number) for number in range(5)])
    equal(org, source, "Few__c")


def test_3_a_result_without_rows_is_a_header(org: Org) -> None:
    org.make("None__c")
    source = org.source(api="bulk")
    assert carried(source, select(source, "None__c")) == ([], {})


def test_3_a_page_that_comes_in_anothers_place_is_asked_for_again(org: Org) -> None:
    source = org.source(api="bulk", page_rows=300)
    results = "/services/data/v{version}/jobs/query/{job}/results"
    route = next((name.split(" ")[1] for name in known_routes(org, source) if name.endswith("/results")), results)
    org.control("PUT", "faults", {"rate": 0.4, "kinds": ["duplicate_page"], "routes": [route], "seed": 3})
    equal(org, source, "Lead")
    assert org.control("GET", "requests")["faults"].get("duplicate_page")


def known_routes(org: Org, source: Any) -> list[str]:
    """The sandbox's names of the routes that a bulk read takes."""
    org.forget_requests()
    carried(source, select(source, "Account", "Id"))
    return list(org.requests())


# --- 4 and 5: pages of a query ----------------------------------------------------------------------------------------


def test_4_pages_of_query_all_are_followed_where_salesforce_leads(org: Org) -> None:
    org.put(org.make("Bin__c"), [record(number, IsDeleted=number % 3 == 0) for number in range(30)])
    org.settings(page_rows=7)
    source = org.source(api="rest", include_deleted=True)
    rows, _ = carried(source, select(source, "Bin__c"))
    assert digest(rows, ["Id", "IsDeleted"]) == digest(org.records("Bin__c", deleted=True), ["Id", "IsDeleted"])
    assert sum(row["IsDeleted"] for row in rows) == 10
    plain = org.source(api="rest")
    assert len(carried(plain, select(plain, "Bin__c"))[0]) == 20


def test_4_archived_and_deleted_rows_come_in_bulk_too(org: Org) -> None:
    org.put(org.make("Bin__c"), [record(number, IsDeleted=number % 3 == 0) for number in range(30)])
    source = org.source(api="bulk", include_deleted=True)
    assert len(carried(source, select(source, "Bin__c"))[0]) == 30


@pytest.mark.parametrize("page_rows", [1, 7, 49, 50, 51])
def test_5_a_query_ends_when_it_is_done_however_few_rows_a_page_has(org: Org, page_rows: int) -> None:
    org.put(org.make("Small__c"), [record(number) for number in range(50)])
    org.settings(page_rows=page_rows)
    equal(org, org.source(api="rest"), "Small__c")


def test_5_a_page_that_comes_twice_brings_no_row_twice(org: Org) -> None:
    org.settings(page_rows=100)
    org.control("PUT", "faults", {"rate": 0.3, "kinds": ["duplicate_page"], "seed": 5})
    equal(org, org.source(api="rest"), "Lead")
    assert org.control("GET", "requests")["faults"].get("duplicate_page")


@pytest.mark.parametrize("how", [{"cursor_pages": 3}, {"cursor_seconds": 0.05}])
def test_5_a_cursor_that_expires_is_gone_on_from_behind_the_last_record(org: Org, how: dict[str, Any]) -> None:
    org.settings(page_rows=200, **how)
    equal(org, org.source(api="rest"), "Lead")


# --- 6: sessions ------------------------------------------------------------------------------------------------------


def test_6_a_job_that_outlives_its_session_is_read_to_its_end(org: Org) -> None:
    source = org.source(api="bulk", page_rows=300)
    selection = select(source, "Lead", "Id")
    org.settings(session_seconds=0.3, job_seconds=0.3)
    assert len(carried(source, selection)[0]) == 1500


# --- 7 and 8: values --------------------------------------------------------------------------------------------------


def test_7_rest_and_bulk_bring_equal_values_and_an_empty_text_is_null(org: Org) -> None:
    for name in ("Lead", "Account", "Opportunity"):
        by_rest, in_bulk = org.source(api="rest"), org.source(api="bulk")
        columns = in_bulk.find(name).schema.names
        one = table(by_rest, select(by_rest, name, *columns)).sort_by("Id")
        other = table(in_bulk, select(in_bulk, name, *columns)).sort_by("Id")
        assert one.equals(other), name
        assert one.column("Id").null_count == 0 and one.num_rows == len(org.records(name))


@pytest.mark.parametrize(
    "how", [{"csv_numbers": "double", "csv_utc": "Z"}, {"csv_numbers": "digits", "csv_utc": "+0000"}]
)
def test_7_numbers_and_times_are_exact_in_each_way_that_bulk_jobs_write_them(org: Org, how: dict[str, str]) -> None:
    number = {"name": "N__c", "type": "currency", "precision": 18, "scale": 2}
    org.make(
        "Exact__c",
        [
            *STAMPED,
            number,
            {"name": "I__c", "type": "int"},
            {"name": "P__c", "type": "percent", "precision": 5, "scale": 2},
        ],
    )
    values = [(12345678901234.56, 2147483647, 12.5), (10_000_000, -10_000_000, 100), (0.01, 0, None), (-0.1, 7, 99.99)]
    org.put("Exact__c", [record(at, N__c=n, I__c=i, P__c=p) for at, (n, i, p) in enumerate(values)])
    org.settings(**how)
    source = org.source(api="bulk")
    rows, _ = carried(source, select(source, "Exact__c", "N__c", "I__c", "P__c"))
    assert {(row["N__c"], row["I__c"], row["P__c"]) for row in rows} == {
        (Decimal("12345678901234.56"), 2147483647, Decimal("12.50")),
        (Decimal("10000000.00"), -10_000_000, Decimal("100.00")),
        (Decimal("0.01"), 0, None),
        (Decimal("-0.10"), 7, Decimal("99.99")),
    }


def test_7_a_value_wider_than_its_field_says_is_rejected_by_its_row_or_ends_the_read(org: Org) -> None:
    number = {"name": "N__c", "type": "double", "precision": 18, "scale": 3}
    org.make("Narrow__c", [*STAMPED[:2], number])
    org.put("Narrow__c", [{"Id": record(1)["Id"], "N__c": 1.125}, {"Id": record(2)["Id"], "N__c": 2.5}])
    source = org.source(api="bulk")
    selection = select(source, "Narrow__c", rejects=True)
    at = selection.stream.schema.get_field_index("N__c")
    narrow = selection.stream.schema.set(at, pa.field("N__c", pa.decimal128(18, 1)))
    selection = replace(selection, stream=replace(selection.stream, schema=narrow))
    found = list(changes(source, selection))
    (rejected,) = [change for change in found if isinstance(change, Rejected)]
    assert rejected.rows[0].column == "N__c" and "1.125" in str(rejected.rows[0].row)
    rows = [row for change in found if isinstance(change, Rows) for row in change.data.to_pylist()]
    assert [row["N__c"] for row in rows] == [Decimal("2.5")]
    with pytest.raises(DataError, match="column N__c"):
        carried(source, replace(selection, rejects=False))


def test_8_ids_that_differ_in_case_alone_are_two_records(org: Org) -> None:
    org.put(org.make("Case__c"), [record(1, Id="a0X5g0000000abcAAA"), record(2, Id="a0X5g0000000ABCAAA")])
    for api in ("rest", "bulk"):
        equal(org, org.source(api=api), "Case__c")


# --- 10: what these credentials don't see -----------------------------------------------------------------------------


def test_10_a_hidden_field_is_no_column_and_streams_are_described_anew(org: Org) -> None:
    before = org.source().find("Lead")
    org.settings(hidden_fields=["Lead.Phone"])
    source = org.source()
    assert set(before.schema.names) - set(source.find("Lead").schema.names) == {"Phone"}
    equal(org, source, "Lead")


@pytest.mark.parametrize("api", ["rest", "bulk", "auto"])
def test_10_a_field_that_is_hidden_after_it_was_described_is_named(org: Org, api: str) -> None:
    source = org.source(api=api)
    selection = select(source, "Lead", "Id", "Phone")
    org.settings(hidden_fields=["Lead.Phone"])
    with pytest.raises(ConfigError, match="Phone"):
        carried(source, selection)


def test_10_an_object_that_cannot_be_queried_is_said_to_be_there(org: Org) -> None:
    org.make("Closed__c", queryable=False)
    with pytest.raises(ConfigError, match="Closed__c is there, but can't be queried"):
        org.source().find("Closed__c")
    names = [stream.name for stream in org.source().discover()]
    assert "Lead" in names and not {"Closed__c", "LeadChangeEvent"} & set(names)


def test_10_names_are_found_in_any_case_and_kept_as_salesforce_has_them(org: Org) -> None:
    assert org.source().find("lEAD").name == "Lead"
    with pytest.raises(ConfigError) as refused:
        org.source().find("Leads")
    assert "Lead" in str(refused.value.hint)


# --- 12 and more ------------------------------------------------------------------------------------------------------


def test_12_custom_names_stay_as_they_are(org: Org) -> None:
    assert {"LeadScore__c", "External_Id__c"} <= set(org.source().find("Lead").schema.names)


def test_a_wide_object_is_read_whole_by_rest_in_several_queries(org: Org) -> None:
    source = org.source(api="rest")
    columns = [name for name in source.find("Wide__c").schema.names if name != "Place__c"]
    org.settings(page_rows=20)
    equal(org, source, "Wide__c", *columns)
    assert max(org.requests().values()) > 3


def test_a_record_of_a_wide_object_that_changes_between_its_queries_comes_as_of_one_moment(org: Org) -> None:
    source = org.source(api="rest")
    selection = select(source, "Wide__c")
    described = source._descriptions.described("Wide__c")
    texts = [one.name for one in described.fields if one.type == "string" and "Reading" in one.name]
    record_id, changed = org.records("Wide__c")[0]["Id"], {texts[0]: "both", texts[-1]: "both"}
    query = "/services/data/v{version}/query"
    org.control("PUT", "faults", {"next": [None, "slow"], "routes": [query], "slow_seconds": 1.0})

    def change() -> None:
        source._org.ask("PATCH", source._org.path(f"sobjects/Wide__c/{record_id}"), json=changed)

    timer = threading.Timer(0.4, change)
    timer.start()
    rows, _ = carried(source, selection)
    timer.join()
    (found,) = [row for row in rows if row["Id"] == record_id]
    assert {name: found[name] for name in changed} == changed
    assert len(rows) == len(org.records("Wide__c"))


def test_a_wide_object_is_read_in_a_bulk_job_if_that_is_open(org: Org) -> None:
    org.forget_requests()
    equal(org, org.source(), "Wide__c")
    assert any(name.startswith("POST") and name.endswith("jobs/query") for name in org.requests())


def test_compound_fields_are_left_out_with_a_note_or_read_by_rest_as_json(org: Org) -> None:
    stream = org.source().find("Account")
    assert "BillingAddress" not in stream.schema.names
    assert any("BillingAddress, ShippingAddress: left out" in note for note in stream.notes)
    source = org.source(api="rest")
    found = table(source, select(source, "Account", "BillingAddress", "BillingCity"))
    texts = found.column("BillingAddress").combine_chunks().storage.to_pylist()
    pairs = [(text, city) for text, city in zip(texts, found.column("BillingCity").to_pylist(), strict=True) if city]
    assert pairs and all(f'"city": "{city}"' in text for text, city in pairs)


def test_bytes_are_left_out_with_a_note_or_fetched_one_by_one(org: Org) -> None:
    stream = org.source().find("Attachment")
    assert "Body" not in stream.schema.names and any("Body: bytes, left out" in note for note in stream.notes)
    source = org.source(blobs="bytes")
    rows, _ = carried(source, select(source, "Attachment", "Id", "Body"))
    stored = {one["Id"]: bytes.fromhex(one["Body"]) for one in org.records("Attachment")}
    assert {row["Id"]: row["Body"] for row in rows} == stored


def test_an_object_without_bulk_jobs_is_read_by_rest(org: Org) -> None:
    org.put(org.make("Rest__c", bulk=False), [record(number) for number in range(60)])
    org.settings(page_rows=25)
    equal(org, org.source(bulk_from=10), "Rest__c")
    source = org.source(api="bulk")
    with pytest.raises(UserError, match="Rest__c"):
        carried(source, select(source, "Rest__c"))


def test_where_the_days_bulk_jobs_are_used_up_rest_is_taken(org: Org) -> None:
    org.settings(daily_query_jobs=0)
    equal(org, org.source(bulk_from=10), "Lead")
    org.settings(daily_query_jobs=10_000)


@pytest.mark.parametrize("end", ["Failed", "Aborted"])
def test_a_job_that_fails_is_told_with_its_reason(org: Org, end: str) -> None:
    org.settings(job_end=end)
    source = org.source(api="bulk")
    with pytest.raises(TransientError, match=f"ended as {end}"):
        carried(source, select(source, "Lead", "Id"))


def test_requests_used_up_make_the_whole_account_wait_and_can_be_cancelled(org: Org) -> None:
    context, other = org.context(), org.context()
    source = org.source(context=context)
    selection = select(source, "Account", "Id")
    org.settings(daily_requests=1)
    for waiting in (context, other):
        threading.Timer(0.3, waiting.cancel).start()
    with pytest.raises(Cancelled):
        carried(source, selection)
    asked = sum(org.requests().values())
    with pytest.raises(Cancelled):
        org.source(context=other).check()
    assert sum(org.requests().values()) == asked, "who comes later doesn't even ask"


def test_wrong_soql_is_pointed_at(org: Org) -> None:
    sql = "SELECT Id,\n  Nonsense FROM Lead"
    with pytest.raises(QueryError, match="Nonsense") as refused:
        list(org.source().query(sql))
    assert refused.value.at is None or sql[refused.value.at :].startswith("Nonsense")


def test_sql_has_typed_columns_through_relationships_and_aggregates(org: Org) -> None:
    source = org.source()
    (batch,) = source.query("SELECT Id, Owner.Name, AnnualRevenue, CreatedDate FROM Lead ORDER BY Id LIMIT 3")
    assert batch.schema.names == ["Id", "Owner.Name", "AnnualRevenue", "CreatedDate"]
    lead = source.find("Lead").schema
    assert batch.schema.field("AnnualRevenue").type == lead.field("AnnualRevenue").type
    assert batch.schema.field("CreatedDate").type == lead.field("CreatedDate").type
    assert all(batch.column("Owner.Name").to_pylist())
    counted = [
        row
        for found in source.query("SELECT Status, COUNT(Id) n FROM Lead GROUP BY Status")
        for row in found.to_pylist()
    ]
    assert sum(row["n"] for row in counted) == 1500 and all(isinstance(row["n"], int) for row in counted)


def test_conditions_choose_rows_and_wrong_ones_are_the_users(org: Org) -> None:
    source = org.source()
    rows, _ = carried(source, select(source, "Lead", "Id", "Rating", where="Rating = 'Hot' OR Rating = null"))
    wanted = [one for one in org.records("Lead") if one["Rating"] in ("Hot", None)]
    assert digest(rows, ["Id"]) == digest(wanted, ["Id"])
    for where in ("Nonsense = 1", "Rating == 'Hot'", "Rating = 'Hot') OR (Id != null"):
        with pytest.raises(ConfigError, match="condition"):
            source.plan([select(source, "Lead", where=where)])


# --- incremental reads ------------------------------------------------------------------------------------------------


def test_changes_are_held_back_and_come_with_the_next_read(org: Org) -> None:
    org.put(org.make("Fresh__c"), [record(1)])
    source = org.source(hold_back=2)
    rows, since = carried(source, follow(source, "Fresh__c"))
    assert [row["Name"] for row in rows] == ["n1"]
    now = datetime.now(UTC).replace(microsecond=0)
    org.put("Fresh__c", [record(2, SystemModstamp=f"{now.isoformat()[:19]}.000+0000")])
    rows, since = carried(source, follow(source, "Fresh__c"), since)
    assert rows == []
    time.sleep(3.1)
    rows, _ = carried(source, follow(source, "Fresh__c"), since)
    assert [row["Name"] for row in rows] == ["n2"]


def test_rows_that_became_visible_late_are_found_by_looking_back_where_rows_are_merged(org: Org) -> None:
    now = datetime.now(UTC).replace(microsecond=0)

    def at(number: int, seconds: int) -> dict[str, Any]:
        return record(number, SystemModstamp=f"{(now - timedelta(seconds=seconds)).isoformat()[:19]}.000+0000")

    org.put(org.make("Late__c"), [at(1, 5000), at(2, 100), at(3, 40)])
    source = org.source(hold_back=1, look_back=600)
    _, since = carried(source, follow(source, "Late__c"))
    org.put("Late__c", [at(4, 300)])
    rows, after = carried(source, follow(source, "Late__c"), since)
    assert {row["Name"] for row in rows} == {"n2", "n4"}
    rows, _ = carried(source, follow(source, "Late__c", deduplicate=True), since)
    assert rows == [], "whoever appends reads on from the cursor"
    assert after == since or after["cursor"] == since["cursor"]


def test_a_quiet_object_is_not_read_again_and_again(org: Org) -> None:
    org.put(org.make("Calm__c"), [record(number) for number in range(100)])
    source = org.source()
    _, since = carried(source, follow(source, "Calm__c"))
    since = {**since, "until": (datetime.now(UTC) - timedelta(days=1)).isoformat()}
    rows, after = carried(source, follow(source, "Calm__c"), since)
    assert rows == [] and after == since


def test_a_cursor_with_parts_of_a_second_is_followed_exactly(org: Org) -> None:
    org.make("Fine__c", [*STAMPED, {"name": "At__c", "type": "datetime"}])
    org.put(
        "Fine__c", [record(1, At__c="2024-03-01T00:00:00.400+0000"), record(2, At__c="2024-03-01T00:00:00.700+0000")]
    )
    source = org.source()
    how: dict[str, Any] = {"cursor_field": "At__c", "deduplicate": True}
    _, since = carried(source, follow(source, "Fine__c", **how))
    org.put(
        "Fine__c", [record(3, At__c="2024-03-01T00:00:00.700+0000"), record(4, At__c="2024-03-01T00:00:00.800+0000")]
    )
    rows, _ = carried(source, follow(source, "Fine__c", **how), since)
    assert sorted(row["Name"] for row in rows) == ["n3", "n4"]


def test_windows_of_the_cursor_are_read_one_by_one(org: Org) -> None:
    org.put(org.make("Windows__c"), [record(number * 600) for number in range(20)])
    source = org.source()
    selection = follow(source, "Windows__c", window=timedelta(hours=1), deduplicate=True)
    found = list(changes(source, selection))
    assert sum(change.data.num_rows for change in found if isinstance(change, Rows)) == 20
    assert sum(isinstance(change, Checkpoint) for change in found) == 4
    start = select(
        source,
        "Windows__c",
        cursor_field="SystemModstamp",
        start=MARCH + timedelta(seconds=1200),
        stop=MARCH + timedelta(seconds=3000),
    )
    rows, _ = carried(source, start)
    assert sorted(row["Name"] for row in rows) == ["n1200", "n1800", "n2400"]


# --- jobs and parts ---------------------------------------------------------------------------------------------------


def middle(org: Org, source: Any, selection: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], Any]:
    """The ids up to the first checkpoint within a bulk job, and its position."""
    monkeypatch.setattr("suiro.connectors.salesforce.reading.OFTEN", 1)
    ids: list[str] = []
    for change in changes(source, selection):
        if isinstance(change, Rows):
            ids += change.data.column("Id").to_pylist()
        elif isinstance(change, Checkpoint) and "resume" in change.position:
            return ids, change.position
    raise AssertionError("no checkpoint within the job")


@pytest.mark.parametrize("name", ["Lead", "Backwards__c"])
@pytest.mark.parametrize("deduplicate", [False, True])
def test_a_bulk_result_is_gone_on_with_where_a_read_broke_off(
    org: Org, monkeypatch: pytest.MonkeyPatch, deduplicate: bool, name: str
) -> None:
    """Also where the greatest time, and rows that share it, came before the break."""
    if name != "Lead":
        made = [record(number, SystemModstamp=record(5000 - number)["SystemModstamp"]) for number in range(1, 1500)]
        made[5]["SystemModstamp"] = made[1400]["SystemModstamp"] = made[0]["SystemModstamp"]
        org.put(org.make(name), made)
    source = org.source(api="bulk", page_rows=400)
    selection = follow(source, name, "Id", "Name", "SystemModstamp", deduplicate=deduplicate)
    before, position = middle(org, source, selection, monkeypatch)
    org.forget_requests()
    other = org.source(api="bulk", page_rows=400)
    rest, end = carried(other, selection, position)
    assert sorted(before + [row["Id"] for row in rest]) == sorted(one["Id"] for one in org.records(name))
    assert not any(name.startswith("POST") and name.endswith("jobs/query") for name in org.requests())
    whole, wanted = carried(org.source(api="bulk"), selection)
    assert (end["cursor"], end["boundary"]) == (wanted["cursor"], wanted["boundary"]) and "resume" not in end
    assert carried(other, selection, end)[0] == [] and len(whole) == len(before) + len(rest)
    other.acknowledge(end)


def test_where_the_job_is_gone_a_merge_begins_again_and_an_append_must_resync(
    org: Org, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = org.source(api="bulk", page_rows=400)
    selection = follow(source, "Lead", "Id", "Name", "SystemModstamp")
    _, position = middle(org, source, selection, monkeypatch)
    org.settings(forgotten_jobs=[position["resume"]["job"]])
    rows, end = carried(source, selection, position)
    assert len(rows) == 1500 and "resume" not in end
    with pytest.raises(ResyncRequired, match="is gone"):
        carried(source, follow(source, "Lead", "Id", "Name", "SystemModstamp", deduplicate=True), position)


def test_jobs_are_taken_away_when_their_rows_are_read_or_published(org: Org, monkeypatch: pytest.MonkeyPatch) -> None:
    source = org.source(api="bulk", page_rows=400)
    org.forget_requests()
    carried(source, select(source, "Lead", "Id"))
    assert sum(number for name, number in org.requests().items() if name.startswith("DELETE")) == 1
    monkeypatch.setattr("suiro.connectors.salesforce.reading.OFTEN", 1)
    org.forget_requests()
    _, end = carried(source, follow(source, "Lead", "Id", "SystemModstamp"))
    assert not any(name.startswith("DELETE") for name in org.requests())
    source.acknowledge({**end, "resume": {}})
    assert not any(name.startswith("DELETE") for name in org.requests())
    source.acknowledge(end)
    assert sum(number for name, number in org.requests().items() if name.startswith("DELETE")) == 1


def test_a_very_large_object_is_read_in_parts_by_ranges_of_ids(org: Org) -> None:
    source = org.source(part_rows=200, bulk_from=100)
    selection = select(source, "Lead")
    reads = source.plan([selection])
    assert len(reads) == 8 and len({read.key for read in reads}) == 8
    equal(org, source, "Lead")


def test_parts_have_one_position_and_what_is_new_is_read_by_one_of_them(org: Org) -> None:
    org.put(org.make("Parts__c"), [record(number) for number in range(60)])
    source = org.source(part_rows=20)
    selection = follow(source, "Parts__c", deduplicate=True)
    assert len(source.plan([selection])) == 3
    rows, since = carried(source, selection)
    assert len(rows) == 60
    whole, wanted = carried(org.source(), follow(org.source(), "Parts__c", deduplicate=True))
    assert len(whole) == 60 and (since["cursor"], since["boundary"]) == (wanted["cursor"], wanted["boundary"])
    rows, after = carried(source, selection, since)
    assert rows == [] and after["cursor"] == since["cursor"] and after["boundary"] == since["boundary"]
    org.put("Parts__c", [record(59, Id=record(99)["Id"]), record(60)])
    rows, _ = carried(source, selection, after)
    assert sorted(row["Id"] for row in rows) == sorted([record(99)["Id"], record(60)["Id"]])


def test_reading_by_mode_is_offered_where_it_can_be_kept(org: Org) -> None:
    source = org.source()
    assert ReadMode.LOG in source.find("Lead").read_modes
    assert ReadMode.LOG not in source.find("User").read_modes
