"""The Intercom source on a made-up workspace: every stream, every trap of its API, faults, changes while it reads."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bigcommerce_reads import Found, assert_same, merged
from copying import copied
from inbox import KEPT, Inbox, Reader, open_inbox
from shell import Shell
from suiro.app.connections import connection
from suiro.connectors.intercom import connector, source
from suiro.connectors.intercom.source import RESOURCES, IntercomConfig
from suiro.engine.accounts import Accounts
from suiro.model.errors import AuthError, ConfigError
from suiro.model.selection import Deletes, WriteMode
from suiro.toolkit.http.resources import Resource
from web import serving

SIZES = {"contacts": 120, "companies": 20, "conversations": 25, "tickets": 12}
FAULTS = ["429", "500", "503", "drop", "lost", "slow", "duplicate_page"]
SAME = [
    "contacts", "users", "leads", "contact_notes", "conversations", "tickets", "ticket_types", "tags", "segments",
    "admins", "teams", "activity_logs", "subscription_types",
]  # fmt: skip
FOLLOWED = [resource.name for resource in RESOURCES if resource.cursor_field]
NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def standing() -> Iterator[Inbox]:
    """A workspace that tests only read."""
    with open_inbox(SIZES) as inbox:
        yield inbox


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    """A workspace of the test's own."""
    with open_inbox(SIZES) as inbox:
        yield inbox


Open = Callable[..., Reader]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    """Makes readers of a workspace, which are closed after the test."""
    readers: list[Reader] = []

    def make(inbox: Inbox, way: str = "token", **settings: Any) -> Reader:
        readers.append(Reader(inbox, tmp_path / str(len(readers)), way, **settings))
        return readers[-1]

    yield make
    for one in readers:
        one.source.close()


@pytest.fixture
def reader(inbox: Inbox, opened: Open) -> Reader:
    return opened(inbox)


# --- every stream


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda resource: resource.name)
def test_every_row_of_every_stream_is_the_workspaces(standing: Inbox, opened: Open, resource: Resource) -> None:
    found = opened(standing).read(resource.name)
    assert (found.rejected, found.schemas) == ([], [])
    keys = [tuple(row[name] for name in resource.primary_key) for row in found.rows]
    assert not resource.primary_key or len(set(keys)) == len(keys)
    if resource.name in SAME:
        wanted = standing.kept(resource.name)
        names = set(found.rows[0]) - ({"contact"} if resource.name == "contact_notes" else set())
        assert_same([{n: row[n] for n in names} for row in wanted], found.rows)


@pytest.mark.parametrize("name", FOLLOWED)
def test_every_stream_with_a_cursor_is_followed(standing: Inbox, opened: Open, name: str) -> None:
    reader = opened(standing)
    first, whole = reader.follow(name), reader.read(name)
    assert_same(whole.rows, first.rows)
    assert reader.follow(name, first.position).rows == []


# --- the traps


@pytest.mark.parametrize(
    ("zone", "day_search"),
    [
        ("Pacific/Kiritimati", True),
        ("Etc/GMT+12", True),
        ("America/New_York", True),
        ("Europe/Berlin", True),
        ("UTC", False),
    ],
)
def test_trap_1_a_search_by_whole_days_loses_and_doubles_nothing_in_any_zone(
    standing: Inbox, opened: Open, zone: str, day_search: bool
) -> None:
    """Changes around every midnight that may be one somewhere, and around both changes of the clocks."""
    standing.set(time_zone=zone, day_search=day_search)
    marks = ["2025-03-30T00:00:00+01:00", "2025-03-30T03:00:00+02:00", "2025-11-02T06:00:00+00:00"]
    marks += [f"2025-06-0{day}T{hour:02}:00:00+00:00" for day in (1, 2) for hour in range(0, 24, 3)]
    moments = [int(datetime.fromisoformat(mark).timestamp()) + off for mark in marks for off in (-1, 0, 1)]
    rows: list[dict[str, Any]] = [{"id": f"{n:024x}", "updated_at": at, "role": "user"} for n, at in enumerate(moments)]
    standing.put("contacts", *rows)
    try:
        for name in ("contacts", "users"):
            for at in moments[:: 10 if name == "contacts" else 27]:
                reader = opened(standing)
                since: dict[str, Any] = {
                    "field": "updated_at",
                    "cursor": {"timestamptz": datetime.fromtimestamp(at, UTC).isoformat()},
                }
                found = reader.follow(name, {**since, "boundary": {}, "columns": []})
                got = [row["id"] for row in found.rows if row["id"] < f"{len(moments):024x}"]
                assert sorted(got) == sorted(row["id"] for row in rows if row["updated_at"] >= at)
    finally:
        standing.take("contacts", *(str(row["id"]) for row in rows))
        standing.set(time_zone="Asia/Tokyo", day_search=True)


def test_trap_1_of_a_busy_day_only_what_is_new_is_asked_for(inbox: Inbox, reader: Reader) -> None:
    before = int(NOW.timestamp()) - 1200
    inbox.put("contacts", *({"updated_at": before - n, "role": "lead"} for n in range(600)))
    first = reader.follow("contacts")
    inbox.requests()
    assert reader.follow("contacts", first.position).rows == []
    assert inbox.requests() == {"POST /contacts/search": 1}


def test_trap_2_the_place_of_a_page_goes_into_the_body(inbox: Inbox, reader: Reader) -> None:
    inbox.put("contacts", *({"role": "lead"} for _ in range(400)))
    leads = reader.read("leads")
    assert len(leads.rows) == 400 + SIZES["contacts"] // 5 == len({row["id"] for row in leads.rows})
    assert inbox.requests()["POST /contacts/search"] == 3


def test_trap_3_lists_are_under_their_own_names(standing: Inbox, opened: Open) -> None:
    reader = opened(standing)
    for name, number in (("tags", 14), ("segments", 3), ("admins", 3), ("teams", 1), ("activity_logs", 45)):
        assert len(reader.read(name).rows) == number, name


def test_trap_4_lists_of_more_than_ten_are_asked_for_again(standing: Inbox, opened: Open) -> None:
    reader = opened(standing)
    rows = {row["id"]: row for row in reader.read("contacts").rows}
    kept = {row["id"]: row for row in standing.records("contacts")}
    for name in ("tags", "notes", "companies"):
        long = [id_ for id_, row in kept.items() if row[name]["total_count"] > 10]
        assert long and all(rows[id_][name] == kept[id_][name] for id_ in long)
    least = 1 + sum(row[name]["total_count"] > 10 for row in kept.values() for name in ("tags", "notes", "companies"))
    assert reader.requests == least
    assert reader.read("contacts", chosen=["id"]).ids() and reader.requests == least + 1  # keys alone need none


def test_trap_5_of_more_than_500_parts_the_older_ones_are_named_as_missing(
    standing: Inbox, opened: Open, caplog: pytest.LogCaptureFixture
) -> None:
    reader = opened(standing)
    rows = reader.read("conversation_parts").rows
    missing = {row["conversation_id"]: row["parts_missing"] for row in rows if row["part_type"] == "source"}
    assert missing == {"1": 20, **{str(n): 0 for n in range(2, SIZES["conversations"] + 1)}}
    assert sum(row["conversation_id"] == "1" for row in rows) == 501
    assert "conversation 1 has more parts than the service tells: 20 older ones are missing" in caplog.text
    assert any("parts_missing" in note for note in reader.source.find("conversation_parts").notes)


@pytest.fixture
def scrolling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few companies are many, and waits are short."""
    monkeypatch.setattr(source, "MOST_LISTED", 5)
    monkeypatch.setattr(source, "SCROLL_WAIT", 0.05)


@pytest.mark.usefixtures("scrolling")
def test_trap_6_more_companies_than_can_be_listed_are_scrolled_through(inbox: Inbox, reader: Reader) -> None:
    inbox.set(scroll_size=6)
    found = reader.read("companies")
    assert_same(inbox.kept("companies"), found.rows)
    assert inbox.requests() == {"POST /companies/list": 1, "GET /companies/scroll": 5}


@pytest.mark.usefixtures("scrolling")
def test_trap_6_a_scroll_waits_until_no_other_one_is_open(inbox: Inbox, reader: Reader) -> None:
    inbox.set(scroll_idle_seconds=0.2)
    inbox.get("/companies/scroll")
    assert len(reader.read("companies").rows) == SIZES["companies"]
    assert inbox.requests()["GET /companies/scroll"] > 3


@pytest.mark.usefixtures("scrolling")
@pytest.mark.parametrize("fault", ["lost", "drop"])
def test_trap_6_a_step_that_was_lost_begins_the_scroll_anew(inbox: Inbox, reader: Reader, fault: str) -> None:
    inbox.set(scroll_size=6, scroll_idle_seconds=1.0)
    inbox.faults(next=[None, None, fault], routes=["/companies/scroll"])
    found = reader.read("companies")
    assert_same(inbox.kept("companies"), found.rows)


def test_trap_7_moments_are_instants_and_0_is_none(standing: Inbox, opened: Open) -> None:
    rows = opened(standing).read("contacts").rows
    raw = {row["id"]: row for row in standing.records("contacts")}
    zeros = [row for row in rows if raw[row["id"]]["last_contacted_at"] == 0]
    assert zeros and all(row["last_contacted_at"] is None for row in zeros)
    assert all(row["created_at"].timestamp() == raw[row["id"]]["created_at"] for row in rows)


def test_trap_8_the_first_message_is_a_row_of_its_own(standing: Inbox, opened: Open) -> None:
    rows = opened(standing).read("conversation_parts").rows
    kept = {row["id"]: row["source"] for row in standing.records("conversations")}
    first = {row["conversation_id"]: row for row in rows if row["part_type"] == "source"}
    assert {id_: (row["id"], row["body"]) for id_, row in first.items()} == {
        id_: (one["id"], one["body"]) for id_, one in kept.items()
    }
    assert len(rows) == len(kept) + len(standing.records("conversation_parts")) - 20


def test_trap_9_a_conversation_that_vanishes_between_list_and_look_is_left_out(
    inbox: Inbox, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, ask = opened(inbox), source._parts

    def late(http: Any, path: str, params: Any, how: Any) -> Any:
        inbox.ask("DELETE", "/conversations/7")
        return ask(http, path, params, how)

    changed = [replace(one, asks=late) if one.name == "conversation_parts" else one for one in RESOURCES]
    monkeypatch.setattr(type(reader.source), "resources", lambda _: changed)
    there = {row["conversation_id"] for row in reader.read("conversation_parts").rows}
    assert there == {str(n) for n in range(1, SIZES["conversations"] + 1)} - {"7"}


def test_trap_10_ids_are_text_but_for_owners_and_assignees(standing: Inbox, opened: Open) -> None:
    reader = opened(standing)
    contacts, talk = reader.read("contacts").rows, reader.read("conversations").rows
    assert all(isinstance(row["id"], str) and len(row["id"]) == 24 for row in contacts)
    assert {type(row["owner_id"]) for row in contacts} == {type(row["admin_assignee_id"]) for row in talk}
    assert {type(row["owner_id"]) for row in contacts} == {int, type(None)}


def test_trap_11_a_lead_that_becomes_a_user_keeps_its_id(inbox: Inbox, reader: Reader) -> None:
    leads, users = reader.read("leads"), reader.follow("users")
    id_ = leads.rows[0]["id"]
    assert inbox.ask("PUT", f"/contacts/{id_}", {"role": "user"}).status_code == 200
    assert reader.follow("users", users.position).ids() == [id_]
    assert id_ not in reader.read("leads", chosen=["id"]).ids()


def test_trap_12_a_user_that_changed_comes_again_though_it_is_not_new(inbox: Inbox, reader: Reader) -> None:
    first = reader.follow("users")
    changed = inbox.change("contacts", change=4, seed=2)["changed"]
    users = {row["id"] for row in inbox.records("contacts") if row["role"] == "user"}
    assert sorted(reader.follow("users", first.position).ids()) == sorted(users & set(changed))


def test_a_contact_that_a_search_finds_late_is_not_lost(tmp_path: Path) -> None:
    clock = [NOW]
    with open_inbox(SIZES, now=lambda: clock[0]) as inbox:
        reader = Reader(inbox, tmp_path)
        first = reader.follow("users")
        inbox.set(creation_delay=300)
        late = inbox.post("/contacts", {"email": "late@example.com"})["id"]
        clock[0] += timedelta(seconds=120)
        (other,) = inbox.put("contacts", {"role": "user", "created_at": int(clock[0].timestamp()) - 10})
        second = reader.follow("users", first.position)
        clock[0] += timedelta(seconds=240)
        third = reader.follow("users", second.position)
        reader.source.close()
    assert [[row["id"] for row in one.rows] for one in (second, third)] == [[other], [late]]


def test_what_was_logged_in_the_last_second_that_was_read_is_not_lost(inbox: Inbox, reader: Reader) -> None:
    first = reader.follow("activity_logs")
    last = max(row["created_at"] for row in first.rows)
    inbox.put("activity_logs", {"id": "log-new", "created_at": int(last.timestamp()), "activity_type": "role_change"})
    assert [row["id"] for row in reader.follow("activity_logs", first.position).rows] == ["log-new"]


# --- deletes, changes while it is read


@pytest.mark.parametrize("name", ["contacts", "conversations"])
def test_a_list_that_changes_while_it_is_read_loses_and_doubles_nothing(
    inbox: Inbox, reader: Reader, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = replace(source.PAGES, size=8)
    small = [replace(one, pages=few) if one.name == name else one for one in RESOURCES]
    monkeypatch.setattr(type(reader.source), "resources", lambda _: small)
    first = reader.follow(name)
    inbox.set(drift={"every": 1, "resources": [name], "change": 3, "add": 1, "delete": 0, "at_most": 20})
    inbox.change(name, change=9, seed=5)
    reads = [first]
    for _ in range(3):
        reads.append(reader.follow(name, reads[-1].position))
    inbox.set(drift={})
    reads.append(reader.follow(name, reads[-1].position))
    assert_same(inbox.kept(name), merged(*reads))


def test_what_was_deleted_archived_or_merged_is_gone_after_a_comparison_of_keys(inbox: Inbox, tmp_path: Path) -> None:
    target = tmp_path / "lake.duckdb"
    how = {"write": WriteMode.MERGE, "deletes": Deletes.HARD, "cursor": "updated_at"}
    uri = _uri(inbox)
    copied(uri, f"duckdb:///{target}", "contacts", **how)
    inbox.change("contacts", delete=4, seed=1)
    lead, user = (next(r["id"] for r in inbox.records("contacts") if r["role"] == role) for role in ("lead", "user"))
    inbox.post("/contacts/merge", {"from": lead, "into": user})
    copied(uri, f"duckdb:///{target}", "contacts", **how)
    with duckdb.connect(str(target)) as lake:
        there = {id_ for (id_,) in lake.execute("SELECT id FROM contacts").fetchall()}
    assert there == {row["id"] for row in inbox.records("contacts")} and len(there) == SIZES["contacts"] - 5


# --- faults, quota


@pytest.mark.parametrize("name", ["conversation_parts"])
def test_faults_in_one_request_of_twenty_change_no_row(inbox: Inbox, reader: Reader, name: str) -> None:
    wanted = reader.read(name).rows
    inbox.faults(rate=0.05, seed=3, kinds=FAULTS, slow_seconds=0.01)
    found = reader.read(name)
    assert_same(wanted, found.rows)
    told = inbox.http.get("/_sandbox/requests").json()
    inbox.faults()
    assert sum(told["faults"].values()) >= 1


def test_two_runs_share_a_small_quota_that_others_use_too(inbox: Inbox, opened: Open) -> None:
    inbox.set(limit=60, window_seconds=1, others=1)
    accounts, found = Accounts(), list[Found]()
    readers = [opened(inbox, accounts=accounts) for _ in range(2)]
    threads = [threading.Thread(target=lambda r=r: found.append(r.read("conversation_parts"))) for r in readers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    told = inbox.http.get("/_sandbox/requests").json()["answers"]
    number = len(inbox.records("conversation_parts")) - 20 + SIZES["conversations"]
    assert [len(one.rows) for one in found] == [number, number]
    assert told.get("429", 0) <= 8


# --- credentials, settings


def config(**given: Any) -> IntercomConfig:
    return IntercomConfig(**given)


def test_what_a_token_may_not_read_is_named(standing: Inbox, opened: Open) -> None:
    reader = opened(standing, "contacts_only")
    names = [stream.name for stream in reader.source.discover()]
    assert "contacts" in names and "conversations" not in names
    reader.source.check()
    (remark,) = reader.source.remarks()
    assert "conversations" in remark and "Read conversations" in remark


def test_a_wrong_token_ends_in_one_sentence_without_it(standing: Inbox, opened: Open) -> None:
    with pytest.raises(AuthError) as caught:
        opened(standing, access_token="dG9r-wrong").source.check()
    assert "Access Token Invalid" in caught.value.message and "dG9r-wrong" not in str(caught.value)


def test_a_token_of_another_workspace_is_refused_by_a_check(standing: Inbox, opened: Open) -> None:
    opened(standing, app_id="sandbox1").source.check()
    with pytest.raises(ConfigError, match="belong to the workspace sandbox1, not to other9"):
        opened(standing, app_id="other9").source.check()


def test_settings_that_say_no_way_to_sign_in_are_refused() -> None:
    for given in ({}, {"api_key": "k"}, {"client_id": "c"}):
        with pytest.raises(ValueError, match=r"access_token|client_secret"):
            config(**given)


def test_a_way_to_sign_in_moves_no_position() -> None:
    token, app = config(access_token="t"), config(client_id="c", client_secret="s")
    assert token.identity() == app.identity()
    assert token.identity() != config(access_token="t", app_id="other").identity()
    assert token.identity() != config(access_token="t", region="eu").identity()


def test_each_region_has_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(source.ADDRESS, raising=False)
    hosts = [config(access_token="t", region=region).address for region in ("us", "eu", "au")]
    assert hosts == ["https://api.intercom.io", "https://api.eu.intercom.io", "https://api.au.intercom.io"]
    monkeypatch.setenv(source.ADDRESS, "http://127.0.0.1:9")
    assert config(access_token="t").address == "http://127.0.0.1:9"


def test_the_version_that_was_set_is_asked_for(tmp_path: Path) -> None:
    heard: list[str] = []

    async def answer(request: Request) -> Response:
        heard.append(request.headers["intercom-version"])
        return JSONResponse({"type": "list", "data": []})

    with serving(Starlette(routes=[Route("/tags", answer)])) as url:
        for version in ("2.11", "2.15"):
            inbox = Inbox(url, {"token": {"access_token": "t", "base_url": url}})
            reader = Reader(inbox, tmp_path / version, version=version)
            assert reader.read("tags").rows == []
            reader.source.close()
            inbox.http.close()
    assert heard == ["2.11", "2.15"]


def test_members_that_are_not_known_become_columns(inbox: Inbox, reader: Reader) -> None:
    inbox.put("tags", {"id": "900", "type": "tag", "name": "new", "color": "red"})
    found = reader.read("tags")
    assert [row["color"] for row in found.rows if row["id"] == "900"] == ["red"]


def _uri(inbox: Inbox) -> str:
    token = inbox.connections["token"]["access_token"]
    return f"intercom://us?access_token={token}&base_url={inbox.url}"


def test_connection_strings_are_read(suiro: Shell, standing: Inbox) -> None:
    token = standing.connections["token"]["access_token"]
    found = connection(f"intercom:OAuthAccessToken={token}").config
    assert isinstance(found, IntercomConfig) and found.access_token is not None
    assert found.access_token.get_secret_value() == token
    said = suiro("streams", _uri(standing), "--json")
    assert said.code == 0 and {one["name"] for one in json.loads(said.out)} >= set(KEPT)
    assert connector.sign_in is not None
