"""The stand-in of Intercom under a client that others wrote: python-intercom. Each call that runs is a case."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from intercom import Intercom
from intercom.core.api_error import ApiError
from intercom.errors import UnauthorizedError
from intercom.types import (
    CreateContactRequestWithEmail,
    CreateOrUpdateCompanyRequest,
    MultipleFilterSearchRequest,
    SingleFilterSearchRequest,
    StartingAfterPaging,
)

from inbox import Inbox, open_inbox

SIZES = {"contacts": 70, "companies": 9, "conversations": 12, "tickets": 6}


@pytest.fixture(scope="module")
def inbox() -> Iterator[Inbox]:
    """A workspace of this module."""
    with open_inbox(SIZES) as opened:
        yield opened


@pytest.fixture(scope="module")
def sent() -> Iterator[httpx.Client]:
    """What the client sends its requests with."""
    with httpx.Client(timeout=30) as opened:
        yield opened


@pytest.fixture(scope="module")
def client(inbox: Inbox, sent: httpx.Client) -> Intercom:
    return Intercom(token=inbox.connections["token"]["access_token"], base_url=inbox.url, httpx_client=sent)


def since(value: int, operator: str = ">", field: str = "updated_at") -> MultipleFilterSearchRequest:
    one = SingleFilterSearchRequest(field=field, operator=operator, value=str(value))
    return MultipleFilterSearchRequest(operator="AND", value=[one])


def all_pages(search: Callable[..., Any], query: MultipleFilterSearchRequest, size: int) -> list[str]:
    """Ids of all pages, turned by hand: the client's own pages of a search repeat the first one for ever."""
    out: list[str] = []
    after = None
    while True:
        page = search(query=query, pagination=StartingAfterPaging(per_page=size, starting_after=after))
        out += [one.id for one in page.items]
        following = page.response.pages.next
        if following is None:
            return out
        after = following.starting_after


def first_user(inbox: Inbox) -> dict[str, Any]:
    return next(row for row in inbox.records("contacts") if row["role"] == "user")


def listed_contacts(client: Intercom, inbox: Inbox) -> None:
    found = list(client.contacts.list(per_page=20))
    assert [one.id for one in found] == [row["id"] for row in inbox.records("contacts")]


def searched_contacts(client: Intercom, inbox: Inbox) -> None:
    found = all_pages(client.contacts.search, since(0), 25)
    assert sorted(found) == sorted(row["id"] for row in inbox.records("contacts"))


def found_contact(client: Intercom, inbox: Inbox) -> None:
    row = first_user(inbox)
    found = client.contacts.find(row["id"])
    assert (found.email, found.created_at, found.external_id) == (row["email"], row["created_at"], row["external_id"])


def by_external_id(client: Intercom, inbox: Inbox) -> None:
    row = first_user(inbox)
    assert client.contacts.show_contact_by_external_id(row["external_id"]).id == row["id"]


def made_and_ended_contacts(client: Intercom, inbox: Inbox) -> None:
    made = client.contacts.create(request=CreateContactRequestWithEmail(email="ada@example.com"))
    assert made.id is not None
    changed = client.contacts.update(made.id, name="Ada", custom_attributes={"plan": "team"})
    assert (changed.name, changed.custom_attributes) == ("Ada", {"plan": "team"})
    assert client.contacts.archive(made.id).archived is True
    with pytest.raises(ApiError) as caught:
        client.contacts.create(request=CreateContactRequestWithEmail(email="ada@example.com"))
    assert caught.value.status_code == 409
    assert client.contacts.unarchive(made.id).id == made.id
    assert client.contacts.delete(made.id).deleted is True


def merged_contacts(client: Intercom, inbox: Inbox) -> None:
    lead = next(row["id"] for row in inbox.records("contacts") if row["role"] == "lead")
    assert client.contacts.merge_lead_in_user(lead_id=lead, contact_id=first_user(inbox)["id"]).role == "user"
    with pytest.raises(ApiError) as caught:
        client.contacts.find(lead)
    assert caught.value.status_code == 404


def lists_under_a_contact(client: Intercom, inbox: Inbox) -> None:
    rich = next(row for row in inbox.records("contacts") if row["tags"]["total_count"] > 10)
    tags = client.contacts.list_attached_tags(rich["id"]).data
    assert [one.id for one in tags or []] == [one["id"] for one in rich["tags"]["data"]]
    client.contacts.list_attached_segments(rich["id"])
    client.contacts.list_attached_subscriptions(rich["id"])
    busy = next(row for row in inbox.records("contacts") if row["companies"]["total_count"])
    told = client.contacts.list_attached_companies(busy["id"]).response.dict()
    assert told["data"][0]["id"] == busy["companies"]["data"][0]["id"]  # the client looks for another member


def notes_of_a_contact(client: Intercom, inbox: Inbox) -> None:
    row = first_user(inbox)
    client.notes.create(row["id"], body="<p>hello</p>")
    assert "<p>hello</p>" in [one.body for one in client.notes.list(row["id"]).items or []]


def tags(client: Intercom, inbox: Inbox) -> None:
    kept = {row["id"]: row["name"] for row in inbox.records("tags")}
    assert {one.id: one.name for one in client.tags.list().data or []} == kept
    row = first_user(inbox)
    assert client.tags.tag_contact(row["id"], tag_id="3").name == kept["3"]
    assert client.tags.untag_contact(row["id"], "3").id == "3"


def companies(client: Intercom, inbox: Inbox) -> None:
    kept = {row["id"] for row in inbox.records("companies")}
    assert {one.id for one in client.companies.scroll()} == kept
    with_users = {row["id"] for row in inbox.records("companies") if row["user_count"]}
    assert {one.id for one in client.companies.list(per_page=50).items or []} == with_users
    made = client.companies.create_or_update(request=CreateOrUpdateCompanyRequest(company_id="c-new", name="New"))
    assert made.id is not None and client.companies.find(made.id).name == "New"


def conversations(client: Intercom, inbox: Inbox) -> None:
    kept = {row["id"] for row in inbox.records("conversations")}
    assert {one.id for one in client.conversations.list(per_page=5)} == kept
    assert sorted(all_pages(client.conversations.search, since(0), 5)) == sorted(kept)
    whole = client.conversations.find("2")
    assert whole.conversation_parts is not None and whole.source is not None


def tickets(client: Intercom, inbox: Inbox) -> None:
    found = all_pages(client.tickets.search, since(0, field="created_at"), 4)
    assert sorted(found) == sorted(row["id"] for row in inbox.records("tickets"))
    one = client.tickets.get("7000")
    assert one is not None and one.ticket_id == "1"


def short_lists(client: Intercom, inbox: Inbox) -> None:
    assert len(client.segments.list(include_count=True).segments or []) == len(inbox.records("segments"))
    assert len(client.admins.list().admins or []) == len(inbox.records("admins"))
    assert len(client.teams.list().teams or []) == 1
    assert len(client.data_attributes.list(model="contact").data or []) == 8
    assert len(client.subscription_types.list().data or []) == 1
    assert len(client.ticket_types.list().data or []) == 1


def activity_logs(client: Intercom, inbox: Inbox) -> None:
    found = client.admins.list_all_activity_logs(created_at_after="0")
    assert len(found.activity_logs or []) == 20 and len(inbox.records("activity_logs")) == 45


def the_workspace(client: Intercom, inbox: Inbox) -> None:
    me = client.admins.identify()
    assert me is not None and me.app is not None and me.app.id_code == "sandbox1"


CALLS: list[Callable[[Intercom, Inbox], None]] = [
    listed_contacts,
    searched_contacts,
    found_contact,
    by_external_id,
    made_and_ended_contacts,
    merged_contacts,
    lists_under_a_contact,
    notes_of_a_contact,
    tags,
    companies,
    conversations,
    tickets,
    short_lists,
    activity_logs,
    the_workspace,
]


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__)
def test_the_client_does_what_it_does_at_the_service(
    client: Intercom, inbox: Inbox, call: Callable[[Intercom, Inbox], None]
) -> None:
    call(client, inbox)


def test_a_wrong_token_is_refused_as_the_client_knows_it(inbox: Inbox, sent: httpx.Client) -> None:
    with pytest.raises(UnauthorizedError) as caught:
        Intercom(token="wrong", base_url=inbox.url, httpx_client=sent).contacts.list()
    assert "Access Token Invalid" in str(caught.value.body)


def test_what_is_told_has_the_members_that_the_clients_models_know(client: Intercom, inbox: Inbox) -> None:
    row, contact = first_user(inbox), client.contacts.find(first_user(inbox)["id"])
    known = set(type(contact).model_fields)
    assert set(row) - known <= {
        "opted_in_subscription_types", "opted_out_subscription_types", "referrer", "enabled_push_messaging",
        "utm_campaign", "utm_content", "utm_medium", "utm_source", "utm_term",
    }  # fmt: skip
    assert contact.tags is not None and contact.tags.total_count == row["tags"]["total_count"]
