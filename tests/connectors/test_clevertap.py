"""The CleverTap source on a made-up project: every stream, every trap of its APIs, faults, requests counted."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import pyarrow as pa
import pytest

from clevertap_calls import EVER, EXPORTED, SIZES, Project, Reader, event_marks, kept_events, open_project, rows_of
from copying import copied, copy_all
from suiro.connectors.clevertap.downloads import EVENTS, EventRows, events_schema
from suiro.model.errors import AuthError, TransientError, UserError
from suiro.model.schema import ReadMode
from suiro.model.selection import Deletes, WriteMode
from suiro.toolkit.http.records import JsonRecords

Open = Callable[..., Reader]
REPORTS = {"event_counts", "profile_counts", "campaigns", "campaign_reports", "message_reports"}


@pytest.fixture(scope="module")
def standing() -> Iterator[Project]:
    with open_project() as project:
        yield project


@pytest.fixture
def project(standing: Project) -> Project:
    """The module's project; tests add events of names of their own alone."""
    standing.reset()
    return standing


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    readers: list[Reader] = []

    def make(project: Project, **settings: Any) -> Reader:
        readers.append(Reader(project, tmp_path / str(len(readers)), **settings))
        return readers[-1]

    yield make
    for one in readers:
        one.source.close()


def at(days_ago: float) -> int:
    return int((datetime.now(UTC) - timedelta(days=days_ago)).timestamp())


def someone(project: Project) -> str:
    return str(next(one["identity"] for one in project.records("profiles") if "identity" in one))


# --- every row, and no request too many


@pytest.mark.parametrize("event", EXPORTED)
def test_every_event_is_the_projects_by_hash_with_the_fewest_requests(
    project: Project, opened: Open, event: str
) -> None:
    project.set(varied_pages=False, in_progress=0)
    found = opened(project).read(event)
    assert event_marks(found.rows) == kept_events(project, event)
    assert len({row["_key"] for row in found.rows}) == len(found.rows) > 10
    assert project.requests() == 2  # the query, and its one page
    assert found.rejected == []


def test_small_and_empty_pages_end_nothing(project: Project, opened: Open) -> None:
    found = opened(project, batch_size=7).read("Product Viewed")
    assert event_marks(found.rows) == kept_events(project, "Product Viewed")
    assert project.told()["requests"]["GET /1/events.json"] > len(found.rows) / 7


def test_a_cursor_that_is_in_progress_is_asked_for_again_and_not_for_ever(project: Project, opened: Open) -> None:
    project.set(in_progress=4)
    assert len(opened(project).read("Charged").rows) == len(project.records("Charged"))
    project.set(in_progress=10**6)
    with pytest.raises(TransientError, match="still in progress"):
        opened(project, wait_seconds=0.001, wait_most=0.05).read("Charged")


def test_profiles_are_swept_by_event_and_come_once(project: Project, opened: Open) -> None:
    project.set(in_progress=0)
    found = opened(project, batch_size=46).read("profiles")
    wanted = {
        one.get("identity") or one["platformInfo"][0]["objectId"]: one
        for one in project.records("profiles")
        if set(one["events"]) & set(EXPORTED)
    }
    assert {row["_key"] for row in found.rows} == set(wanted) and len(found.rows) == len(wanted)
    assert any(row["identity"] is None for row in found.rows)
    for row in found.rows:
        kept = wanted[row["_key"]]
        assert (row["identity"], row["email"], row["name"]) == (kept.get("identity"), kept.get("email"), kept["name"])
        for name in ("profileData", "events", "platformInfo"):
            assert json.loads(row[name]) == kept[name]
    assert project.told()["requests"]["POST /1/profiles.json"] == len(EXPORTED)


def test_numbers_keep_their_digits(project: Project, opened: Open) -> None:
    found = opened(project).read("Charged")
    said = sorted(json.loads(row["event_props"])["order"] for row in found.rows)
    assert said == sorted(one["event_props"]["order"] for one in project.records("Charged"))
    assert min(said) >= 2**53
    assert any(number % 2 for number in said)


# --- rows without an id


def test_equal_events_are_each_a_row_and_keep_their_keys(project: Project, opened: Open) -> None:
    who = someone(project)
    same = {"identity": who, "at": at(2), "props": {"n": 1}}
    project.put("Twin", same, same, same, {**same, "props": {"n": 2}})
    reads = [opened(project, events=["Twin"], batch_size=size).read("Twin") for size in (1, 5000)]
    keys = [{row["_key"] for row in found.rows} for found in reads]
    assert keys[0] == keys[1] and len(keys[0]) == 4
    assert Counter(key.partition("-")[2] for key in keys[0]) == {"": 2, "2": 1, "3": 1}


def test_the_order_of_properties_changes_no_key() -> None:
    def key(props: str) -> str:
        body = f'{{"records":[{{"profile":{{"objectId":"a"}},"ts":20230101000000,"event_props":{props}}}]}}'
        page = JsonRecords(EVENTS, place=("records",)).page(body.encode())
        return str(EventRows("E", None).of(page, events_schema(None))[0].column("_key")[0])

    assert key('{"a":1,"b":"2"}') == key('{ "b" : "2", "a":1}') != key('{"a":1,"b":"3"}')


def test_people_without_a_device_are_told_apart_by_what_is_known_of_them() -> None:
    people = ('{"identity":"1"}', '{"identity":"2"}', '{"email":"a@b.co"}', '{"objectId":"x","identity":"1"}', "{}")
    records = ",".join(f'{{"profile":{person},"ts":20230101000000}}' for person in people)
    page = JsonRecords(EVENTS, place=("records",)).page(f'{{"records":[{records}]}}'.encode())
    keys = EventRows("E", None).of(page, events_schema(None))[0].column("_key").to_pylist()
    assert len({key.partition("-")[0] for key in keys}) == len(people)


# --- time


def test_local_times_become_moments_but_for_those_that_the_clock_showed_twice(project: Project, opened: Open) -> None:
    project.set(time_zone="America/New_York")
    zone, who = ZoneInfo("America/New_York"), someone(project)
    twice = [datetime(2025, 11, 2, 1, 30, tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)]
    once = datetime(2025, 11, 2, 3, 30, tzinfo=zone).astimezone(UTC)
    project.put("Clock", *({"identity": who, "at": int(one.timestamp())} for one in (*twice, once)))
    found = opened(project, events=["Clock"], timezone="America/New_York")
    rows = sorted(found.read("Clock").rows, key=lambda row: (row["ts"], row["_key"]))
    assert [row["ts"] for row in rows] == [datetime(2025, 11, 2, 1, 30)] * 2 + [datetime(2025, 11, 2, 3, 30)]  # noqa: DTZ001
    assert [row["ts_utc"] for row in rows] == [None, None, once]
    assert "twice" in " ".join(found.source.find("Clock").notes)
    local = opened(project, events=["Clock"], timezone="")
    assert "ts_utc" not in local.source.find("Clock").schema.names and len(local.read("Clock").rows) == 3
    local.source.check()
    assert "timezone" in local.source.remarks()[0]


def test_a_time_that_is_none_rejects_its_row_alone() -> None:
    stamps = (20230228235959, 20230230000000, 5, "null")
    records = ",".join(f'{{"profile":{{}},"ts":{stamp}}}' for stamp in stamps)
    page = JsonRecords(EVENTS, place=("records",)).page(f'{{"records":[{records}]}}'.encode())
    batch, rejected = EventRows("E", ZoneInfo("UTC")).of(page, events_schema(ZoneInfo("UTC")))
    assert [row["ts_utc"] for row in rows_of(batch)] == [datetime(2023, 2, 28, 23, 59, 59, tzinfo=UTC)]
    assert len(rejected) == 3 and all(one.column == "ts" for one in rejected)
    assert json.loads(str(rejected[0].row))["ts"] == "20230230000000"


# --- incremental


def test_whole_days_are_read_again_and_nothing_is_lost_or_doubled(project: Project, opened: Open) -> None:
    who = someone(project)
    project.put("Step", *({"identity": who, "at": at(days), "props": {"days": days}} for days in (9, 3, 3, 1)))
    reader = opened(project, events=["Step"])
    first = reader.read("Step", follow=True)
    assert len(first.rows) == 4
    again = reader.read("Step", first.position, follow=True)
    assert again.rows == [] and again.deduplicated >= 1
    assert again.position == first.position
    project.put("Step", {"identity": who, "at": at(1), "props": {"late": 1}}, {"identity": who, "at": at(0)})
    project.put("profiles", {"identity": who, "plan": "changed"})  # what a person holds is in each of their events
    third = reader.read("Step", again.position, follow=True)
    assert len(third.rows) == 2 and len({row["_key"] for row in third.rows}) == 2
    assert reader.read("Step", third.position, follow=True).rows == []


def test_a_look_back_brings_events_of_days_before(project: Project, opened: Open) -> None:
    who = someone(project)
    project.put("Offline", {"identity": who, "at": at(1)})
    reader = opened(project, events=["Offline"])
    first = reader.read("Offline", follow=True)
    project.put("Offline", {"identity": who, "at": at(4), "props": {"was": "offline"}})
    assert reader.read("Offline", first.position, follow=True).rows == []
    late = reader.read("Offline", first.position, follow=True, look_back=timedelta(days=5))
    assert '{"was":"offline"}' in {row["event_props"] for row in late.rows}


def test_windows_of_days_are_resumed_one_by_one(project: Project, opened: Open) -> None:
    start = (datetime.now(ZoneInfo("Asia/Tokyo")) - timedelta(days=21)).date()
    reader = opened(project, window_days=7, start_date=start, events=["Charged"])
    found = reader.read("Charged", follow=True)
    assert event_marks(found.rows) == kept_events(project, "Charged")
    assert project.told()["requests"]["POST /1/events.json"] == 4 and len(found.positions) >= 3
    middle = json.loads(json.dumps(found.positions[1]))
    rest = reader.read("Charged", middle, follow=True)
    last = date.fromisoformat(middle["cursor"]["date"])
    assert event_marks(rest.rows) == event_marks([row for row in found.rows if row["day"] > last])


def test_profiles_and_reports_are_read_whole(project: Project, opened: Open) -> None:
    reader = opened(project)
    for name in ("profiles", "campaigns", "campaign_reports", "message_reports"):
        assert reader.source.find(name).cursor_fields == ()


# --- counts, campaigns


def test_counts_are_those_of_the_days_however_long_they_take(project: Project, opened: Open) -> None:
    project.set(polls=2)
    names = ["App Launched", "Charged"]
    reader = opened(project, events=names, count_days=6)
    found = reader.read("event_counts", follow=True)
    kept = {name: Counter(one["ts"] // 10**6 for one in project.records(name)) for name in names}
    assert len(found.rows) == 12 and sum(row["count"] for row in found.rows) > 0
    for row in found.rows:
        assert row["count"] == kept[row["event_name"]][int(f"{row['day']:%Y%m%d}")]
    assert project.told()["requests"] == {"GET /1/counts/events.json": 24, "POST /1/counts/events.json": 12}
    again = reader.read("event_counts", found.position, follow=True)
    assert again.rows == [] and again.deduplicated == 2
    people = reader.read("profile_counts")
    who = {one["profile"]["objectId"] for one in project.records("Charged") if one["at"] > at(0.1)}
    assert len(people.rows) == 12 and sum(row["count"] for row in people.rows) >= len(who)


@pytest.mark.parametrize("status", [409, 500])
def test_unfinished_campaigns_are_named_and_left_without_a_result(
    project: Project, opened: Open, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    project.set(unfinished_status=status)
    found = opened(project).read("campaign_reports")
    done = [row for row in found.rows if row["finished"]]
    assert (len(found.rows), len(done)) == (6, 4)
    for row in done:
        said = project.post("/1/targets/result.json", {"id": row["id"]}).json()["result"]
        assert json.loads(row["result"]) == said
    left = [row for row in found.rows if not row["finished"]]
    assert [row["result"] for row in left] == [None, None]
    assert all(str(row["id"]) in caplog.text for row in left)
    with pytest.raises(TransientError, match=f"report of campaign {left[0]['id']}|report of campaign {left[1]['id']}"):
        opened(project, unfinished="wait", wait_seconds=0.001, wait_most=0.01).read("campaign_reports")


def test_a_passing_fault_is_not_taken_for_an_unfinished_campaign(project: Project, opened: Open) -> None:
    project.faults(rate=1, at_most=2, kinds=["500"], routes=["/1/targets/result.json"])
    assert Counter(row["finished"] for row in opened(project).read("campaign_reports").rows) == {True: 4, False: 2}
    assert project.told()["faults"] == {"500": 2}


def test_campaigns_come_in_windows_also_those_to_come(project: Project, opened: Open) -> None:
    found = opened(project, events=()).read("campaigns")  # and no events are asked for
    kept = project.post("/1/targets/list.json", EVER).json()["targets"]
    assert sorted(found.rows, key=lambda row: row["id"]) == sorted(kept, key=lambda one: one["id"])
    windows = -(-(365 + 31 + 1) // 31)
    assert project.requests() == windows + 1
    messages = opened(project).read("message_reports")
    assert len(messages.rows) == 5 and set(messages.rows[0]) == {"message id", "message name", "sent"}


# --- what there is


@pytest.mark.parametrize("form", ["names", "objects", "mapping"])
def test_events_are_told_by_the_schema_where_none_are_named(
    project: Project, opened: Open, form: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Its form is unverified, so that three are understood."""
    project.set(schema_form=form)
    reader = opened(project, events=())
    with caplog.at_level("WARNING"):
        names = {stream.name for stream in reader.source.discover()}
    assert {*EXPORTED, "profiles"} <= names and not names & {*REPORTS, "Notification Viewed"}
    assert "exports no events of Notification Viewed" in caplog.text
    assert reader.source.find("Notification Viewed").name == "Notification Viewed"
    reported = opened(project, reports=True)
    assert {stream.name for stream in reported.source.discover()} >= REPORTS
    (people,) = (stream for stream in reader.source.discover() if stream.name == "profiles")
    assert all(name in people.notes[-1] for name in REPORTS)


def test_an_event_named_like_another_stream_or_with_a_dot_has_a_name_of_its_own(project: Project, opened: Open) -> None:
    project.put("profiles.v2", {"identity": someone(project), "at": at(1)})
    reader = opened(project, events=["profiles", "profiles.v2"])
    assert [one.name for one in reader.source.discover()] == ["profiles (event)", '"profiles.v2"', "profiles"]
    assert len(reader.read('"profiles.v2"').rows) == 1


def test_an_event_that_may_not_be_exported_is_refused_by_name_and_the_others_come(
    project: Project, tmp_path: Path
) -> None:
    uri = project.uri(events="Notification Viewed,Charged", timezone="Asia/Tokyo")
    run = copy_all(uri, f"duckdb://{tmp_path}/w.duckdb", ())
    assert {task.stream: task.status.value for task in run.tasks} == {
        "Notification Viewed": "failed", "Charged": "succeeded", "profiles": "succeeded",
    }  # fmt: skip
    (wrong,) = (task.error for task in run.tasks if task.error is not None)
    assert "Notification Viewed" in wrong.message and "events=" in str(wrong.hint)


def test_a_wrong_account_and_a_wrong_region_are_told(project: Project, opened: Open) -> None:
    with pytest.raises(AuthError, match="Account ID is not valid") as caught:
        opened(project, account_id="X").source.check()
    assert "region" in str(caught.value.hint)
    with pytest.raises(ValueError, match="there are: eu1, in1"):
        project.config(region="mars")


# --- limits and faults


def test_too_many_requests_at_once_are_waited_out(project: Project, opened: Open) -> None:
    project.set(downloads_at_once=1, hold_ms=5)
    counts = opened(project, events=["Charged"], count_days=3).read("event_counts")
    assert len(counts.rows) == 3 and project.told()["answers"].get("429", 0) > 0


def test_faults_in_one_request_of_twenty_change_no_row(project: Project, opened: Open) -> None:
    """The counts and the sweeps are small requests by the dozen; nearly one in twenty meets a fault."""
    project.set(in_progress=0)
    project.faults(rate=0.05, seed=3, kinds=["429", "500", "503", "drop", "lost", "slow"], slow_seconds=0.01)
    reader = opened(project, batch_size=23)
    for event in EXPORTED:
        first = reader.read(event, follow=True)
        assert event_marks(first.rows) == kept_events(project, event)
        assert reader.read(event, first.position, follow=True).rows == []
    people = reader.read("profiles")
    assert len({row["_key"] for row in people.rows}) == len(people.rows)
    wanted = [one for one in project.records("profiles") if set(one["events"]) & set(EXPORTED)]
    assert len(people.rows) == len(wanted)
    assert sum(project.told()["faults"].values()) >= 3


def test_a_cursor_that_has_grown_too_old_begins_the_query_anew(project: Project, opened: Open) -> None:
    project.set(cursor_seconds=0.0001)
    with pytest.raises(TransientError) as caught:
        opened(project).read("Charged")
    assert "anew" in str(caught.value.hint)


# --- whole copies


def test_deletes_are_seen_by_comparing_keys(tmp_path: Path) -> None:
    with open_project({**SIZES, "events": 150}) as project:
        uri, there = project.uri(events="Charged", timezone="Asia/Tokyo"), f"{tmp_path}/w.duckdb"
        how = {"read": ReadMode.INCREMENTAL, "cursor": "day", "write": WriteMode.MERGE, "deletes": Deletes.HARD}
        copied(uri, f"duckdb://{there}", "Charged", **how)
        gone = next(one["profile"]["identity"] for one in project.records("Charged") if "identity" in one["profile"])
        project.remove(gone)
        who = someone(project)
        project.put("Charged", {"identity": who, "at": at(0), "props": {"new": True}})
        copied(uri, f"duckdb://{there}", "Charged", **how)
        copied(uri, f"duckdb://{there}", "profiles", read=ReadMode.FULL, write=WriteMode.REPLACE)
        with duckdb.connect(there) as warehouse:
            rows = warehouse.execute("SELECT identity, object_id FROM Charged").fetchall()
            people = warehouse.execute("SELECT count(*) FROM profiles WHERE identity = ?", [gone]).fetchall()
        kept = [(one["profile"].get("identity"), one["profile"]["objectId"]) for one in project.records("Charged")]
        assert Counter(rows) == Counter(kept) and gone not in {row[0] for row in rows}
        assert people == [(0,)]


def test_an_error_tells_no_passcode(project: Project, opened: Open) -> None:
    reader = opened(project, account_id="X")
    with pytest.raises(UserError) as caught:
        reader.read("Charged")
    assert project.way["passcode"] not in f"{caught.value}{caught.value.hint}"


def test_columns_that_are_chosen_come_alone(project: Project, opened: Open) -> None:
    found = opened(project).read("Charged", columns=["_key", "identity"])
    assert set(found.rows[0]) == {"_key", "identity"} and len(found.rows) == len(project.records("Charged"))
    assert pa.types.is_string(events_schema(None).field("_key").type)


@pytest.mark.parametrize(
    ("place", "file"),
    [("out/", "Charged.csv"), ("out/?written_as=jsonl", "Charged.jsonl"), ("out/Charged.parquet", "Charged.parquet")],
)
def test_files_are_csv_where_nothing_names_a_format(project: Project, tmp_path: Path, place: str, file: str) -> None:
    run = copied(project.uri(events="Charged"), f"file://{tmp_path}/{place}", "Charged")
    assert run.rows_read > 0 and (tmp_path / "out" / file).is_file()
