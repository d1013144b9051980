"""Conversations with their parts, and tickets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from suiro.sandbox.intercom.answers import Call, Endpoint, Refused, Sorted, page
from suiro.sandbox.intercom.searching import searched
from suiro.sandbox.intercom.store import THERE, Found, Row

KEYS: Final = {"conversation": "conversations", "ticket": "tickets"}


def told_conversation(found: Found) -> Row:
    """A conversation without its parts."""
    return {
        "type": "conversation",
        "id": found.id,
        "created_at": found.created,
        "updated_at": found.updated,
        **found.row,
    }


def told_part(found: Found) -> Row:
    """A part of a conversation or a ticket."""
    return {**found.row, "id": found.id, "created_at": found.created, "updated_at": found.updated}


def told_ticket(found: Found, parts: list[Found]) -> Row:
    """A ticket with its parts."""
    listed = [told_part(one) for one in reversed(parts)]
    return {
        "type": "ticket",
        "id": found.id,
        "created_at": found.created,
        "updated_at": found.updated,
        **found.row,
        "ticket_parts": {"type": "ticket_part.list", "ticket_parts": listed, "total_count": len(listed)},
    }


def _told(call: Call, kind: str, found: list[Found]) -> list[Row]:
    if kind == "conversation":
        return [told_conversation(one) for one in found]
    parts = call.records.by_parent("ticket_part", [one.id for one in found])
    return [told_ticket(one, parts[one.id]) for one in found]


def _many(kind: str, found: Any, call: Call) -> Row:
    rows = _told(call, kind, found.found)
    return {"type": f"{kind}.list", KEYS[kind]: rows, "total_count": found.total, "pages": found.pages}


def listed(call: Call) -> Row:
    """All conversations, the one that was made last first (unverified order)."""
    order = Sorted(column="created", descending=True)
    return _many("conversation", page(call, "conversation", THERE, order, call.query, 20), call)


def search(kind: str) -> Callable[[Call], Row]:
    """Those that the filters want, by exact seconds."""

    def handle(call: Call) -> Row:
        where, order = searched(call, kind)
        return _many(kind, page(call, kind, where, order, call.given().get("pagination") or {}, 20), call)

    return handle


def existing(call: Call, kind: str = "conversation") -> Found:
    """The record of the path."""
    found = call.records.get(kind, call.path[f"{kind}_id"])
    if found is None:
        code = "not_found" if kind == "conversation" else "ticket_not_found"
        raise Refused(404, code, "Resource Not Found" if kind == "conversation" else "Ticket not found")
    return found


def one_of(call: Call) -> Row:
    """A conversation with its parts: the latest ones, if there are too many."""
    found = existing(call)
    parts = call.records.by_parent("part", [found.id])[found.id]
    latest = [told_part(one) for one in reversed(parts[: call.settings.parts])]
    listed = {"type": "conversation_part.list", "conversation_parts": latest, "total_count": len(parts)}
    return {**told_conversation(found), "conversation_parts": listed}


def reply(call: Call) -> Row:
    """One more part; the conversation changes with it."""
    found, given = existing(call), call.given()
    id = str(call.writer.number("part"))
    row: Row = {
        "type": "conversation_part",
        "part_type": str(given.get("message_type", "comment")),
        "body": given.get("body"),
        "notified_at": call.seconds,
        "assigned_to": None,
        "author": {"type": str(given.get("type", "admin")), "id": str(given.get("admin_id", "1")), "name": None},
        "attachments": [],
        "external_id": None,
        "redacted": False,
    }
    call.writer.put("part", id, row, at=call.seconds, parent=found.id)
    call.writer.put("conversation", found.id, found.row, at=call.seconds)
    return one_of(call)


def delete(kind: str) -> Callable[[Call], Row]:
    """Gone for good."""

    def handle(call: Call) -> Row:
        found = existing(call, kind)
        parts = "part" if kind == "conversation" else "ticket_part"
        call.writer.remove(parts, [one.id for one in call.records.by_parent(parts, [found.id])[found.id]])
        call.writer.remove(kind, [found.id])
        return {"id": found.id, "object": kind, "deleted": True}

    return handle


def ticket(call: Call) -> Row:
    """A ticket."""
    found = existing(call, "ticket")
    return told_ticket(found, call.records.by_parent("ticket_part", [found.id])[found.id])


def endpoints() -> list[Endpoint]:
    """Every path about conversations and tickets."""
    area: dict[str, Any] = {"area": "conversations"}
    one, two = "/conversations/{conversation_id}", "/tickets/{ticket_id}"
    return [
        Endpoint(method="GET", path="/conversations", handle=listed, paged="conversations", **area),
        Endpoint(
            method="POST", path="/conversations/search", handle=search("conversation"), paged="conversations", **area
        ),
        Endpoint(method="POST", path="/tickets/search", handle=search("ticket"), paged="tickets", **area),
        Endpoint(method="GET", path=one, handle=one_of, **area),
        Endpoint(method="DELETE", path=one, handle=delete("conversation"), reads=False, **area),
        Endpoint(method="POST", path=f"{one}/reply", handle=reply, reads=False, **area),
        Endpoint(method="GET", path=two, handle=ticket, **area),
        Endpoint(method="DELETE", path=two, handle=delete("ticket"), reads=False, **area),
    ]
