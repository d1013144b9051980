"""The first records of a workspace, all made from its seed: every other one of the made-up people, and their talk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from suiro.sandbox.intercom.store import Kept, Row, Store, Writer, written
from suiro.sandbox.people import COMPANIES, JAPANESE_COMPANIES, draw, person

HOUR: Final = 3600
DAY: Final = 86_400
YEAR: Final = 365 * DAY
CONTACTS, COMPANY, TALK = 11, 12, 13  # what a number is drawn for
TAGS: Final = ("vip", "trial", "churn risk", "beta", "newsletter", "event", "partner", "reseller", "press", "student",
               "gold", "silver", "bronze", "日本")  # fmt: skip
SEGMENTS: Final = ("Active", "New", "眠っている人")
ADMINS: Final = ("Ada Adler", "Ben Berg", "渡辺 恵")
PLANS: Final = ("free", "team", "enterprise")
#: Name, data type, model.
ATTRIBUTES: Final = (
    ("score", "float", "contact"), ("plan", "string", "contact"), ("seats", "integer", "contact"),
    ("vip", "boolean", "contact"), ("renewal", "date", "contact"), ("tier", "string", "company"),
)  # fmt: skip
STANDARD: Final = (
    ("name", "string", "contact"), ("email", "string", "contact"), ("external_id", "string", "contact"),
    ("name", "string", "company"), ("monthly_spend", "float", "company"), ("title", "string", "conversation"),
)  # fmt: skip
LONG: Final = 520  #: parts of the first conversation
LINES: Final = (
    "Hello, I can't sign in.",
    "請求書を送ってください。",
    'It says "not found".',
    "Thank you!",
    "<b>ok</b>",
)


def sow(store: Store, seed: int, sizes: Mapping[str, int], now: datetime) -> None:
    """Make the first records, once; a workspace that has its own stays as it is."""
    with store.writing() as writer:
        if writer.fact("sown") is not None:
            return
        at = int(now.timestamp())
        _few(writer, at)
        writer.fill(_companies(seed, sizes["companies"], at))
        writer.fill(_contacts(seed, sizes, at))
        writer.fill(_notes(seed, sizes["contacts"], at))
        writer.fill(_conversations(seed, sizes, at))
        writer.fill(_tickets(seed, sizes, at))
        writer.note("next:tag", str(len(TAGS) + 1))
        for name in ("note", "part", "conversation"):
            writer.note(f"next:{name}", str(10_000_000))
        writer.note("sown", str(seed))


def contact_id(seed: int, i: int) -> str:
    """The id of the i-th contact."""
    return f"65{i:06x}{draw(seed, CONTACTS, i):016x}"


def company_id(seed: int, i: int) -> str:
    """The id of the i-th company."""
    return f"64{i:06x}{draw(seed, COMPANY, i):016x}"


def contact(seed: int, i: int, companies: int, at: int) -> Row:
    """The i-th contact, from 0: the person 2i of the seed; one of five is a lead. Users have the number i + 1."""
    who, x = person(seed, 2 * i), draw(seed, CONTACTS, i)
    user = i % 5 != 4
    tags = 12 if i % 25 == 7 else (x >> 8) % 4 if x & 4 else 0
    linked = min(companies, 11 if i % 50 == 9 else (x >> 12) % 3)
    custom: Row = {"score": (x >> 16) % 1000 / 8, "plan": PLANS[(x >> 20) % 3], "seats": (x >> 24) % 50}
    custom |= {"vip": bool(x & 8), "renewal": at + (x >> 28) % YEAR} if i % 3 == 0 else {}
    return {
        "role": "user" if user else "lead",
        "external_id": str(i + 1) if user else None,
        "email": who.email,
        "phone": who.phone if x & 1 else None,
        "name": f"{who.first_name} {who.last_name}",
        "owner_id": (x >> 32) % len(ADMINS) + 1 if x & 2 else None,
        "unsubscribed_from_emails": x & 0x70 == 0,
        "signed_up_at": at - YEAR + (x >> 36) % (YEAR // 2) if user else None,
        "last_seen_at": at - (x >> 40) % (60 * DAY) if x & 0x80 else None,
        "last_contacted_at": 0 if i % 10 == 3 else None,
        "browser": "firefox" if x & 0x100 else None,
        "os": "Linux" if x & 0x100 else None,
        "location": {"country": who.country, "region": who.state, "city": who.city},
        "custom_attributes": custom,
        "tag_ids": [str((x + n) % len(TAGS) + 1) for n in range(tags)],
        "company_ids": [company_id(seed, (x + n) % companies) for n in range(linked)],
        "segment_ids": [str(n + 1) for n in range(len(SEGMENTS)) if x >> (50 + n) & 1],
        "subscription_ids": ["1"] if x & 0x200 else [],
    }


def times(seed: int, mark: int, i: int, of: int, at: int) -> tuple[int, int]:
    """When the i-th of so many was made, and when it changed: up to two hours ago; one in eight on the full hour."""
    x = draw(seed, TALK, mark + i)
    created = at - YEAR + (YEAR - 3 * DAY) * i // max(of, 1)
    updated = max(created, at - 2 * HOUR - (x >> 8) % (60 * DAY))
    return created, updated - updated % HOUR if x & 7 == 0 and updated - HOUR > created else updated


def _contacts(seed: int, sizes: Mapping[str, int], at: int) -> Iterator[Kept]:
    for i in range(sizes["contacts"]):
        created, updated = times(seed, 0, i, sizes["contacts"], at)
        row = contact(seed, i, sizes["companies"], at)
        yield "contact", contact_id(seed, i), "", created, updated, created, written(row)


def _notes(seed: int, contacts: int, at: int) -> Iterator[Kept]:
    number = 0
    for i in range(contacts):
        for n in range(12 if i % 60 == 11 else 1 if i % 6 == 0 else 0):
            number += 1
            author = {
                "type": "admin",
                "id": str(n % 3 + 1),
                "name": ADMINS[n % 3],
                "email": f"admin{n % 3 + 1}@example.com",
            }
            row = {"type": "note", "id": str(number), "author": author, "body": f"<p>{LINES[n % len(LINES)]}</p>"}
            made = at - 40 * DAY + number
            yield "note", str(number), contact_id(seed, i), made, made, made, written(row)


def _companies(seed: int, companies: int, at: int) -> Iterator[Kept]:
    names = (*COMPANIES, *JAPANESE_COMPANIES)
    for i in range(companies):
        x = draw(seed, COMPANY, i)
        created, updated = times(seed, 1_000_000, i, companies, at)
        row = {
            "company_id": f"c-{i + 1}",
            "name": f"{names[i % len(names)]} {i + 1}",
            "remote_created_at": created if i % 4 else 0,
            "last_request_at": at - x % (30 * DAY) if i % 3 else None,
            "monthly_spend": (x >> 8) % 10_000 / 100,
            "user_count": 1 + (x >> 16) % 9 if i % 10 else 0,
            "size": (x >> 20) % 500,
            "website": f"https://c{i + 1}.example.com",
            "industry": "Retail" if x & 1 else None,
            "plan": {"type": "plan", "id": str(i % 3 + 1), "name": PLANS[i % 3]},
            "custom_attributes": {"tier": PLANS[x % 3]} if i % 2 else {},
        }
        yield "company", company_id(seed, i), "", created, updated, created, written(row)


def _conversations(seed: int, sizes: Mapping[str, int], at: int) -> Iterator[Kept]:
    number, contacts = 0, max(1, sizes["contacts"])
    for i in range(sizes["conversations"]):
        x = draw(seed, TALK, 2_000_000 + i)
        created, updated = times(seed, 2_000_000, i, sizes["conversations"], at)
        who, parts = x % contacts, LONG if i == 0 else (x >> 8) % 6
        yield "conversation", str(i + 1), "", created, updated, created, written(_talk(seed, i, who, parts, x, created))
        for n in range(parts):
            number += 1
            made = min(updated, created + 60 * (n + 1))
            part: Row = {
                "type": "conversation_part", "part_type": "comment" if n % 3 else "assignment",
                "body": f"<p>{LINES[n % len(LINES)]}</p>" if n % 3 else None, "notified_at": made,
                "assigned_to": None if n % 3 else {"type": "admin", "id": "1"},
                "author": {"type": "admin", "id": str(n % 3 + 1), "name": ADMINS[n % 3], "email": "admin@example.com"},
                "attachments": [], "external_id": None, "redacted": False, "email_message_metadata": None,
                "state": "open", "tags": [], "event_details": None, "app_package_code": None,
            }  # fmt: skip
            yield "part", str(number), str(i + 1), made, made, made, written(part)


def _talk(seed: int, i: int, who: int, parts: int, x: int, created: int) -> Row:
    sender = person(seed, 2 * who)
    author: Row = {"type": "user", "id": contact_id(seed, who), "email": sender.email}
    author["name"] = f"{sender.first_name} {sender.last_name}"
    reference = {"type": "contact", "id": author["id"], "external_id": str(who + 1) if who % 5 != 4 else None}
    source: Row = {
        "type": "conversation" if x & 1 else "email", "id": str(400_000_000 + i), "delivered_as": "customer_initiated",
        "subject": "" if x & 2 else "Question", "body": f"<p>{LINES[x % len(LINES)]}</p>", "author": author,
        "attachments": [], "url": None, "redacted": False,
    }  # fmt: skip
    open_ = bool(x & 4)
    return {
        "title": None if x & 8 else "質問", "waiting_since": created if open_ else None,
        "snoozed_until": 0 if i % 7 == 0 else None, "source": source,
        "contacts": {"type": "contact.list", "contacts": [reference]}, "first_contact_reply": None,
        "admin_assignee_id": x % 3 + 1 if x & 16 else None, "team_assignee_id": None, "open": open_,
        "state": "open" if open_ else "closed", "read": bool(x & 32),
        "tags": {"type": "tag.list", "tags": [{"type": "tag", "id": "1", "name": TAGS[0]}] if x & 64 else []},
        "priority": "not_priority", "sla_applied": None,
        "statistics": {"type": "conversation_statistics", "count_conversation_parts": parts},
        "conversation_rating": None, "teammates": None, "custom_attributes": {}, "topics": {}, "ticket": None,
        "linked_objects": {"type": "list", "data": [], "total_count": 0, "has_more": False}, "ai_agent": None,
        "ai_agent_participated": False,
    }  # fmt: skip


def _tickets(seed: int, sizes: Mapping[str, int], at: int) -> Iterator[Kept]:
    contacts = max(1, sizes["contacts"])
    for i in range(sizes["tickets"]):
        x = draw(seed, TALK, 3_000_000 + i)
        created, updated = times(seed, 3_000_000, i, sizes["tickets"], at)
        who = {"type": "contact", "id": contact_id(seed, x % contacts), "external_id": None}
        row = {
            "ticket_id": str(i + 1), "category": "Customer",
            "ticket_attributes": {"_default_title_": LINES[x % len(LINES)], "_default_description_": None},
            "ticket_state": {"type": "ticket_state", "id": "1", "category": "submitted", "internal_label": "Submitted",
                             "external_label": "Submitted"},
            "ticket_type": {"type": "ticket_type", "id": "1", "name": "Bug report", "category": "Customer"},
            "contacts": {"type": "contact.list", "contacts": [who]}, "admin_assignee_id": str(x % 4),
            "team_assignee_id": "0", "open": bool(x & 1), "snoozed_until": None, "is_shared": True,
            "linked_objects": {"type": "list", "data": [], "total_count": 0, "has_more": False},
        }  # fmt: skip
        yield "ticket", str(7000 + i), "", created, updated, created, written(row)
        part: Row = {
            "type": "ticket_part", "part_type": "ticket_state_updated_by_admin", "ticket_state": "submitted",
            "previous_ticket_state": "submitted", "author": {"type": "admin", "id": "1", "name": ADMINS[0]},
            "attachments": [], "redacted": False,
        }  # fmt: skip
        yield "ticket_part", str(9000 + i), str(7000 + i), created, created, created, written(part)


def _few(writer: Writer, at: int) -> None:
    """What comes in short lists."""
    few: list[tuple[str, str, Row]] = [
        ("tag", str(n + 1), {"type": "tag", "id": str(n + 1), "name": name}) for n, name in enumerate(TAGS)
    ]
    moments = {"created_at": at - YEAR, "updated_at": at - 30 * DAY}
    for n, name in enumerate(SEGMENTS):
        row = {"type": "segment", "id": str(n + 1), "name": name, **moments, "person_type": "user", "count": 10 * n}
        few.append(("segment", str(n + 1), row))
    for n, name in enumerate(ADMINS):
        few.append(("admin", str(n + 1), _admin(n + 1, name)))
    team: Row = {"type": "team", "id": "9", "name": "Support", "admin_ids": [1, 2], "assignment_limit": None}
    few.append(("team", "9", {**team, "distribution_method": "round_robin"}))
    words = {"name": "Newsletters", "description": "お知らせ", "locale": "ja"}
    subscription = {"type": "subscription", "id": "1", "state": "live", "consent_type": "opt_out"}
    texts = {"default_translation": words, "translations": [words], "content_types": ["email"]}
    few.append(("subscription", "1", {**subscription, **texts}))
    kind: Row = {"type": "ticket_type", "id": "1", "category": "Customer", "name": "Bug report", "description": ""}
    kind |= {"icon": "🎟️", "workspace_id": "sandbox1", "archived": False, "is_internal": False, **moments}
    few.append(("ticket_type", "1", {**kind, "ticket_type_attributes": {"type": "list", "data": []}}))
    for n, (name, type_, model) in enumerate((*STANDARD, *ATTRIBUTES)):
        few.append(("data_attribute", str(n + 1), _attribute(n, name, type_, model, at)))
    writer.fill((kind, id, "", at, at, at, written(row)) for kind, id, row in few)
    by = {"type": "admin", "id": "1", "email": "admin1@example.com", "ip": "192.0.2.1"}
    for n in range(45):
        what = {"activity_type": "app_name_change", "activity_description": f"{ADMINS[0]} changed name {n}."}
        row = {"performed_by": by, "metadata": {"before": str(n), "after": str(n + 1)}, **what}
        writer.put("activity_log", f"log-{n:04}", row, at=at - 45 * DAY + n * DAY)


def _admin(number: int, name: str) -> Row:
    row: Row = {"type": "admin", "id": str(number), "name": name, "email": f"admin{number}@example.com"}
    row |= {"job_title": None, "away_mode_enabled": False, "away_mode_reassign": False, "has_inbox_seat": True}
    return {**row, "team_ids": [9]}


def _attribute(n: int, name: str, type_: str, model: str, at: int) -> Row:
    custom = n >= len(STANDARD)
    row: Row = {"type": "data_attribute", "name": name, "full_name": f"custom_attributes.{name}" if custom else name}
    row |= {"label": name.capitalize(), "description": "", "data_type": type_, "api_writable": True}
    row |= {"ui_writable": True, "messenger_writable": False, "custom": custom, "archived": False, "model": model}
    own: dict[str, Any] = {"id": n, "admin_id": "1", "created_at": at - YEAR, "updated_at": at - YEAR}
    return {**row, **(own if custom else {})}
