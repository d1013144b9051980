"""The stand-in of CleverTap, by plain calls after the vendor's documents: no client that others wrote was found.

In brackets: the section of the documents that a test follows. What is marked unverified in the stand-in is not
asserted here, but for its switches.
"""

from __future__ import annotations

import gzip
import json
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

from clevertap_calls import EVER, Project, open_project
from suiro.sandbox.people import person


@pytest.fixture(scope="module")
def standing() -> Iterator[Project]:
    with open_project() as project:
        yield project


@pytest.fixture
def project(standing: Project) -> Project:
    standing.reset()
    return standing


def test_a_wrong_account_is_refused(project: Project) -> None:
    """[common API components; recorded]"""
    answer = project.http.post("/1/counts/events.json", json={}, headers={"X-CleverTap-Account-Id": "X"})
    assert answer.status_code == 401
    assert answer.json() == {"status": "fail", "error": "Account ID is not valid", "code": 401}
    assert project.http.get("/getSchema", headers={"X-CleverTap-Passcode": "no"}).status_code == 401


def test_events_come_by_a_cursor_until_none_follows(project: Project) -> None:
    """[get events API: pages may be smaller than asked for, or empty]"""
    pages = project.pages("events", "Charged", size=10)
    kept = project.records("Charged")
    found = [record for page in pages for record in page]
    assert Counter(record["ts"] for record in found) == Counter(record["ts"] for record in kept)
    assert len(found) == len(kept) > 30
    assert {0, 10} < {len(page) for page in pages}
    assert len(str(found[0]["ts"])) == 14 and "name" not in found[0]
    assert found[0]["profile"]["objectId"] and set(found[0]) == {"profile", "ts", "event_props", "session_props"}


def test_a_cursor_is_percent_encoded_and_may_be_asked_for_twice(project: Project) -> None:
    """[get events API; a cursor that is encoded twice is none]"""
    project.set(in_progress=0)
    cursor = project.post("/1/events.json", {"event_name": "Charged", **EVER}, batch_size=5).json()["cursor"]
    assert "%3D" in cursor
    once = project.get("/1/events.json", cursor=unquote(cursor))
    assert once.json()["records"] and once.content == project.get("/1/events.json", cursor=unquote(cursor)).content
    assert project.get("/1/events.json", cursor=cursor).json()["status"] == "fail"


def test_the_first_cursor_can_be_asked_for_by_get(project: Project) -> None:
    """[a client in another language sends it so]"""
    query = json.dumps({"event_name": "Charged", **EVER})
    assert project.get("/1/events.json", batch_size=5, query=query).json()["cursor"]


def test_a_new_cursor_is_in_progress_first(project: Project) -> None:
    project.set(in_progress=2)
    cursor = unquote(project.post("/1/events.json", {"event_name": "Charged", **EVER}).json()["cursor"])
    told = [project.get("/1/events.json", cursor=cursor) for _ in range(3)]
    assert [answer.status_code for answer in told] == [200, 200, 200]
    assert [answer.json()["status"] for answer in told] == ["fail", "fail", "success"]


def test_properties_choose_events(project: Project) -> None:
    """[get events API: operator contains]"""
    wish = [{"name": "product", "operator": "contains", "value": "cup"}]
    found = [one for page in project.pages("events", "Product Viewed", event_properties=wish) for one in page]
    kept = [one for one in project.records("Product Viewed") if "cup" in one["event_props"]["product"]]
    assert len(found) == len(kept) > 0


def test_days_are_whole_days_of_the_projects_zone(project: Project) -> None:
    counted = {}
    for zone in ("Asia/Tokyo", "America/Los_Angeles"):
        project.set(time_zone=zone, polls=0)
        by_day = Counter(one["ts"] // 10**6 for one in project.records("App Launched"))
        day = by_day.most_common(1)[0][0]
        body = {"event_name": "App Launched", "from": day, "to": day}
        counted[zone] = project.post("/1/counts/events.json", body).json()["count"]
        assert counted[zone] == by_day[day]


def test_events_that_may_not_be_exported_are_refused(project: Project) -> None:
    answer = project.post("/1/events.json", {"event_name": "Notification Viewed", **EVER})
    assert answer.status_code == 400 and "export not allowed" in answer.json()["error"]


def test_profiles_come_from_buckets_by_event(project: Project) -> None:
    """[get user profiles API: 23 buckets, page sizes vary]"""
    pages = project.pages("profiles", "App Launched", size=23)
    found = [record for page in pages for record in page]
    assert len(pages) > 1 and len({len(page) for page in pages}) > 1
    who = {one["profile"]["objectId"] for one in project.records("App Launched")}
    assert {one["platformInfo"][0]["objectId"] for one in found} == who and len(found) == len(who)
    one = next(one for one in found if "identity" in one)
    assert one["events"]["App Launched"]["count"] >= 1
    for name in ("identity", "email"):
        assert project.get("/1/profile.json", **{name: one[name]}).json()["record"] == one


def test_half_of_the_leads_are_profiles(project: Project) -> None:
    emails = {one.get("email") for one in project.records("profiles")} - {None}
    leads = {person(1, i).email for i in range(2 * 90)}
    customers = {person(1, 2 * i).email for i in range(90)}
    assert emails <= leads and 0.35 < len(emails) / len(leads) < 0.5
    assert 0.3 < len(emails & customers) / len(customers) < 0.6


def test_counts_may_be_partial_and_are_polled(project: Project) -> None:
    """[working with counts: a request's number is longer than 48 bits]"""
    project.set(polls=2)
    for kind, expected in (
        ("events", len(project.records("Charged"))),
        ("profiles", len({one["profile"]["objectId"] for one in project.records("Charged")})),
    ):
        begun = project.post(f"/1/counts/{kind}.json", {"event_name": "Charged", **EVER}).json()
        assert begun["status"] == "partial" and begun["req_id"] > 2**48
        told = [project.get(f"/1/counts/{kind}.json", req_id=begun["req_id"]).json() for _ in range(2)]
        assert told == [begun, {"status": "success", "count": expected}]
    assert project.get("/1/counts/events.json", req_id=1).json()["status"] == "fail"


@pytest.mark.parametrize("status", [409, 500])
def test_campaigns_are_listed_by_their_day_and_some_have_no_report_yet(project: Project, status: int) -> None:
    project.set(unfinished_status=status)
    targets = project.post("/1/targets/list.json", EVER | {}).json()["targets"]
    assert len(targets) == 6 and {"id", "name", "scheduled_on", "status"} == set(targets[0])
    assert project.post("/1/targets/list.json", {"from": 20150101, "to": 20150131}).json()["targets"] == []
    answers = [project.post("/1/targets/result.json", {"id": one["id"]}) for one in targets]
    assert Counter(answer.status_code for answer in answers) == {200: 4, status: 2}
    assert "no result as of yet" in answers[0].json()["error"] and answers[-1].json()["result"]["sent"] > 0
    messages = project.post("/1/message/report.json", EVER).json()["messages"]
    assert len(messages) == 6 and "message id" in messages[0]


def test_an_upload_takes_what_it_can_and_names_the_rest(project: Project) -> None:
    """[upload; recorded: code 515]"""
    good = {"identity": "up-1", "type": "profile", "profileData": {"Name": "Ann", "plan": "pro"}}
    bad = {"identity": "up-2", "type": "profile", "profileData": {"Email": "none"}}
    event = {"identity": "up-1", "type": "event", "evtName": "Renewed", "evtData": {"n": 1}, "ts": 1_521_649_274}
    dry = project.post("/1/upload", {"d": [good, bad, event]}, dryRun=1).json()
    assert project.get("/1/profile.json", identity="up-1").json()["status"] == "fail"
    told = project.post("/1/upload", {"d": [good, bad, event]})
    assert told.status_code == 200 and told.json() == dry
    assert (dry["status"], dry["processed"]) == ("partial", 2)
    (left,) = dry["unprocessed"]
    assert left["code"] == 515 and left["record"] == bad
    assert "Email is not valid.Skipped record number : " in left["error"]
    project.post("/1/upload", {"d": [good, event]})
    assert [one["at"] for one in project.records("Renewed")] == [1_521_649_274] * 2  # an event sent twice is two
    assert len([one for one in project.records("profiles") if one.get("identity") == "up-1"]) == 1
    assert project.post("/1/upload", {"d": [bad]}).json()["status"] == "fail"
    assert project.post("/1/upload", {"d": [good] * 1001}).status_code == 400
    project.remove("up-1", "up-2")


def test_too_many_requests_at_once_are_refused_without_a_word_on_when(project: Project) -> None:
    """[API request limits: concurrency, no headers]"""
    project.set(hold_ms=150)
    answers = []

    def ask() -> None:
        answers.append(project.post("/1/targets/list.json", EVER))

    threads = [threading.Thread(target=ask) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(answer.status_code for answer in answers) == {200: 3, 429: 2}
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert refused.json()["error"] == "Too many concurrent requests"
    assert not [name for name in refused.headers if "limit" in name.lower() or "retry" in name.lower()]


@pytest.mark.parametrize("form", ["csv", "json"])
def test_exports_are_files_by_event_and_day(project: Project, tmp_path: Path, form: str) -> None:
    """[data export: names of files; lines of JSON behind the event's name]"""
    days = sorted({str(one["ts"])[:8] for one in project.records("Order Placed")})
    files = project.export(tmp_path, events=["Order Placed"], days=days, format=form, profiles=True)
    assert len(files) == len(days) + 1
    assert files[0] == f"1663664837-1663785000-Order-Placed-{days[0]}-0-0.{form}.gz"
    texts = [gzip.decompress((tmp_path / name).read_bytes()).decode() for name in files[:-1]]
    rows = sum(text.count("\n") - 1 for text in texts)
    assert rows == len(project.records("Order Placed"))
    if form == "json":
        first, line, *_ = texts[0].splitlines()
        assert first == "Order Placed" and set(json.loads(line)) == {"profile", "ts", "eventProps"}
    else:
        assert len({text.splitlines()[0] for text in texts}) > 1  # properties that are new make new columns


def test_what_was_uploaded_is_there_after_a_restart(tmp_path: Path) -> None:
    from suiro.sandbox.server import Running

    for expected in (0, 1):
        with Running(only=["clevertap"], folder=tmp_path, sizes={"profiles": 2, "events": 3}) as sandbox:
            project = Project(sandbox.urls["clevertap"], sandbox.connections()["clevertap"]["passcode"])
            with project.http:
                assert len(project.records("Renewed")) == expected
                event = {"identity": "1", "type": "event", "evtName": "Renewed", "evtData": {}}
                project.post("/1/upload", {"d": [event]})


def test_refused_by_chance_looks_as_refused(project: Project) -> None:
    project.faults(next=["429", "500"])
    answers = [project.post("/1/targets/list.json", EVER) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [429, 500, 200]
    assert answers[0].json()["error"] == "Too many concurrent requests"
