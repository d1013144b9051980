"""The habits and traps of Intercom, as the stand-in has them. In brackets: where a habit is from."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import httpx2
import pytest

from inbox import SMALL, Inbox, open_inbox
from shopping import Clock, open_shop
from suiro.sandbox.intercom.access import CLIENT_ID
from suiro.sandbox.intercom.settings import Settings

START = datetime(2026, 4, 1, 3, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def clock() -> Clock:
    return Clock(START)


@pytest.fixture(scope="module")
def opened(clock: Clock) -> Iterator[Inbox]:
    with open_inbox(SMALL, now=clock) as inbox:
        yield inbox


@pytest.fixture
def inbox(opened: Inbox) -> Inbox:
    opened.faults()
    opened.set(**Settings().model_dump(mode="json"))
    return opened


def at(text: str, zone: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp())


def user(inbox: Inbox, **more: Any) -> str:
    id_: str = inbox.post("/contacts", {"role": "user", **more})["id"]
    return id_


# -- searches --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "Pacific/Kiritimati", "Etc/GMT+12", "America/New_York"])
def test_contacts_are_searched_by_whole_days_of_the_workspaces_zone(inbox: Inbox, zone: str) -> None:
    """[OpenAPI 2.15, POST /contacts/search, Searching for Timestamp Fields]"""
    inbox.set(time_zone=zone)
    times = {name: at(f"2025-03-0{name}", zone) for name in ("8T23:59:59", "9T00:00:00", "9T12:00:00", "9T23:59:59")}
    times["next"] = at("2025-03-10T00:00:00", zone)
    ids = dict(zip(inbox.put("contacts", *({"updated_at": one} for one in times.values())), times, strict=True))

    def found(operator: str) -> set[str]:
        hits = inbox.search("contacts", ("updated_at", operator, times["9T12:00:00"]))
        return {ids[id_] for id_ in hits if id_ in ids}

    assert found("=") == {"9T00:00:00", "9T12:00:00", "9T23:59:59"}
    assert found(">") == {"next"}
    assert found("<") == {"8T23:59:59"}
    inbox.take("contacts", *ids)


@pytest.mark.parametrize("operator", [">=", "<=", "!=", "IN", "NIN"])
def test_other_operators_on_dates_are_refused(inbox: Inbox, operator: str) -> None:
    """[the same]"""
    body = {"query": {"field": "updated_at", "operator": operator, "value": [1] if "IN" in operator else 1}}
    assert inbox.ask("POST", "/contacts/search", body).status_code == 400


def test_conversations_and_tickets_are_searched_by_the_second(inbox: Inbox) -> None:
    """[the vendor's table of operators: greater (or equal) than]"""
    for kind in ("conversations", "tickets"):
        rows = inbox.records(kind)
        middle = sorted(row["updated_at"] for row in rows)[len(rows) // 2]
        wanted = {row["id"] for row in rows if row["updated_at"] >= middle}
        assert set(inbox.search(kind, ("updated_at", ">", middle))) == wanted


def test_a_cursor_in_the_url_of_a_search_is_ignored(inbox: Inbox) -> None:
    """[reported by users of the API]"""
    body = {"query": {"field": "created_at", "operator": ">", "value": 0}, "pagination": {"per_page": 5}}
    first = inbox.post("/contacts/search", body)
    after = first["pages"]["next"]["starting_after"]
    assert inbox.post("/contacts/search", body, starting_after=after)["data"] == first["data"]
    body["pagination"] = {"per_page": 5, "starting_after": after}
    second = inbox.post("/contacts/search", body)
    assert not {one["id"] for one in second["data"]} & {one["id"] for one in first["data"]}
    assert second["pages"]["page"] == 2


def test_groups_have_at_most_fifteen_filters_and_two_levels(inbox: Inbox) -> None:
    """[OpenAPI 2.15, Nesting & Limitations]"""
    one = {"field": "name", "operator": "=", "value": "x"}
    for number, status in ((15, 200), (16, 400)):
        body = {"query": {"operator": "OR", "value": [one] * number}}
        assert inbox.ask("POST", "/contacts/search", body).status_code == status
    two = {"operator": "AND", "value": [{"operator": "OR", "value": [one]}]}
    assert inbox.ask("POST", "/contacts/search", {"query": two}).status_code == 200
    three = {"operator": "AND", "value": [two]}
    assert inbox.ask("POST", "/contacts/search", {"query": three}).status_code == 400


def test_a_new_contact_is_found_by_a_search_later(inbox: Inbox, clock: Clock) -> None:
    """[OpenAPI 2.15, Contact Creation Delay]"""
    inbox.set(creation_delay=60)
    id_ = user(inbox, email="late@example.com")
    assert id_ not in inbox.search("contacts", ("email", "=", "late@example.com"))
    assert inbox.get(f"/contacts/{id_}")["id"] == id_
    clock.on(61)
    assert inbox.search("contacts", ("email", "=", "LATE@example.com")) == [id_]


# -- contacts --------------------------------------------------------------------------------------------------------


def test_a_contact_names_ten_of_a_kind_and_where_the_others_are(inbox: Inbox) -> None:
    """[relied on by released clients]"""
    rich = next(row for row in inbox.records("contacts") if row["tags"]["total_count"] > 10)
    told = inbox.get(f"/contacts/{rich['id']}")["tags"]
    assert (len(told["data"]), told["has_more"], told["total_count"]) == (10, True, 12)
    assert len(inbox.get(told["url"])["data"]) == 12


def test_ends_of_contacts(inbox: Inbox) -> None:
    """[recorded exchanges: archive, delete, 404, 409, 400]"""
    id_ = user(inbox, external_id="end-1")
    twin = inbox.ask("POST", "/contacts", {"external_id": "end-1"})
    assert twin.status_code == 409 and twin.json()["errors"][0]["code"] == "conflict"
    assert inbox.post(f"/contacts/{id_}/archive") == {
        "type": "contact", "id": id_, "external_id": "end-1", "archived": True,
    }  # fmt: skip
    gone = inbox.ask("GET", f"/contacts/{id_}")
    assert gone.status_code == 404 and gone.json()["errors"][0]["message"] == "User Not Found"
    said = inbox.ask("POST", "/contacts", {"external_id": "end-1"}).json()["errors"][0]["message"]
    assert said == f"An archived contact matching those details already exists with id={id_}"
    inbox.post(f"/contacts/{id_}/unarchive")
    assert inbox.ask("DELETE", f"/contacts/{id_}").json()["deleted"] is True
    assert inbox.ask("POST", f"/contacts/{id_}/unarchive").status_code == 400
    assert inbox.ask("POST", "/contacts", {"external_id": "end-1"}).status_code == 200


def test_a_lead_becomes_a_user_and_never_the_other_way(inbox: Inbox) -> None:
    """[recorded exchanges]"""
    id_ = inbox.post("/contacts", {"role": "lead", "email": "lead@example.com"})["id"]
    assert inbox.ask("PUT", f"/contacts/{id_}", {"role": "user"}).json()["role"] == "user"
    assert inbox.ask("PUT", f"/contacts/{id_}", {"role": "lead"}).status_code == 400


def test_a_merged_contact_vanishes(inbox: Inbox) -> None:
    """[OpenAPI 2.15, POST /contacts/merge]"""
    lead = inbox.post("/contacts", {"role": "lead", "email": "m@example.com"})["id"]
    into = user(inbox, email="n@example.com")
    inbox.post("/contacts/merge", {"from": lead, "into": into})
    assert inbox.ask("GET", f"/contacts/{lead}").status_code == 404
    assert lead not in inbox.search("contacts", ("email", "=", "m@example.com"))
    assert lead not in {row["id"] for row in inbox.get("/contacts", per_page=150)["data"]}


# -- companies and conversations -------------------------------------------------------------------------------------


def test_a_workspace_has_one_scroll_at_a_time(inbox: Inbox, clock: Clock) -> None:
    """[OpenAPI 2.15, GET /companies/scroll]"""
    inbox.set(scroll_size=4)
    first = inbox.get("/companies/scroll")
    other = inbox.ask("GET", "/companies/scroll")
    assert other.status_code == 400 and "scroll already exists" in other.text
    second = inbox.get("/companies/scroll", scroll_param=first["scroll_param"])
    assert (len(first["data"]), len(second["data"])) == (4, 2)
    assert inbox.get("/companies/scroll", scroll_param=first["scroll_param"])["data"] == []
    begun = inbox.get("/companies/scroll")["scroll_param"]
    clock.on(61)
    assert inbox.ask("GET", "/companies/scroll", scroll_param=begun).status_code == 404
    begun = inbox.get("/companies/scroll")["scroll_param"]
    clock.on(61)
    assert inbox.ask("GET", "/companies/scroll").status_code == 200
    clock.on(61)


def test_companies_are_listed_to_a_bound_and_without_those_that_nobody_belongs_to(inbox: Inbox) -> None:
    """[OpenAPI 2.15, POST /companies/list; relied on by released clients]"""
    told = inbox.post("/companies/list", per_page=50)
    assert {row["id"] for row in told["data"]} == {r["id"] for r in inbox.records("companies") if r["user_count"]}
    inbox.set(listed_companies=4)
    assert inbox.ask("POST", "/companies/list", page=2, per_page=2).status_code == 200
    beyond = inbox.ask("POST", "/companies/list", page=3, per_page=2)
    assert beyond.status_code == 400 and "please use scroll API" in beyond.text


def test_a_conversation_tells_its_latest_parts_and_its_first_message_apart(inbox: Inbox) -> None:
    """[OpenAPI 2.15, GET /conversations/{id}]"""
    told = inbox.get("/conversations/1")
    parts = told["conversation_parts"]["conversation_parts"]
    kept = [row["id"] for row in inbox.records("conversation_parts") if row["conversation_id"] == "1"]
    assert len(kept) == 520 and [one["id"] for one in parts] == kept[20:]
    assert told["source"]["id"] not in {one["id"] for one in parts}


def test_the_log_is_told_page_by_page_with_whole_urls(inbox: Inbox) -> None:
    """[relied on by released clients]"""
    assert inbox.ask("GET", "/admins/activity_logs").status_code == 400
    told = inbox.get("/admins/activity_logs", created_at_after=0)
    assert told["pages"]["next"].startswith(f"{inbox.url}/admins/activity_logs?")
    assert len(inbox.http.get(told["pages"]["next"]).json()["activity_logs"]) == 20


# -- tokens, quota ---------------------------------------------------------------------------------------------------


def test_every_answer_tells_the_quota_and_one_too_many_is_refused(inbox: Inbox, clock: Clock) -> None:
    """[the vendor's page on rate limiting; recorded exchanges]"""
    clock.on(10)
    inbox.set(limit=3)
    heads = [inbox.ask("GET", "/tags").headers for _ in range(3)]
    assert [head["X-RateLimit-Remaining"] for head in heads] == ["2", "1", "0"]
    refused = inbox.ask("GET", "/tags")
    assert refused.status_code == 429 and refused.json()["errors"][0]["code"] == "rate_limit_exceeded"
    assert 0 < int(refused.headers["X-RateLimit-Reset"]) - clock.now.timestamp() <= 10
    assert "Retry-After" not in refused.headers
    clock.on(10)
    assert inbox.ask("GET", "/tags").status_code == 200


def test_the_version_that_was_asked_for_is_told(inbox: Inbox) -> None:
    """[OpenAPI 2.15; recorded exchanges]"""
    asked = inbox.http.get("/tags", headers={"Intercom-Version": "2.11"})
    assert (asked.headers["Intercom-Version"], inbox.ask("GET", "/tags").headers["Intercom-Version"]) == (
        "2.11",
        "2.15",
    )


def test_a_code_is_exchanged_once_for_a_token(inbox: Inbox) -> None:
    consented = httpx2.get(
        f"{inbox.url}/oauth", params={"client_id": CLIENT_ID, "state": "s", "redirect_uri": "http://localhost/back"}
    )
    back = httpx2.URL(consented.headers["location"]).params
    assert back["state"] == "s"
    app = {"client_id": CLIENT_ID, "client_secret": inbox.connections["oauth"]["client_secret"], "code": back["code"]}
    told = httpx2.post(f"{inbox.url}/auth/eagle/token", data=app).json()
    assert told["token"] == told["access_token"] and "refresh_token" not in told
    assert httpx2.get(f"{inbox.url}/me", headers={"Authorization": f"Bearer {told['token']}"}).status_code == 200
    assert httpx2.post(f"{inbox.url}/auth/eagle/token", data=app).status_code == 401


def test_what_a_token_may_not_do_is_refused(inbox: Inbox) -> None:
    assert inbox.ask("GET", "/conversations", way="contacts_only").status_code == 403
    assert httpx2.get(f"{inbox.url}/contacts").status_code == 401


# -- the data --------------------------------------------------------------------------------------------------------


def test_users_are_the_shops_customers_and_a_seed_makes_the_same(inbox: Inbox) -> None:
    with open_shop({"customers": 30, "orders": 0, "products": 1}) as shop:
        customers = {str(row["id"]): row["email"].lower() for row in shop.records("customers")}
    users = {row["external_id"]: (row["email"] or "").lower() for row in inbox.records("contacts")}
    assert len(set(users.items()) & set(customers.items())) == 24


def test_the_workspace_is_there_at_once_and_gone_on_with() -> None:
    begun = time.monotonic()
    with open_inbox(now=lambda: START + timedelta(days=1)) as one:
        assert time.monotonic() - begun < 3
        first = one.records("contacts")
    with open_inbox(now=lambda: START + timedelta(days=1)) as two:
        assert two.records("contacts") == first
    assert len(first) == 400
