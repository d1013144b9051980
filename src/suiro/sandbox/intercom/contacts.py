"""Contacts: lists, searches, single ones, changes, archives and merges; their tags, notes, companies and segments."""

from __future__ import annotations

import math
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from suiro.sandbox.intercom.answers import Call, Endpoint, Refused, Sorted, number, page
from suiro.sandbox.intercom.companies import told_company
from suiro.sandbox.intercom.searching import searched
from suiro.sandbox.intercom.store import THERE, Condition, Found, Reader, Row

WORKSPACE: Final = "sandbox1"
TIMES: Final = (
    "signed_up_at", "last_seen_at", "last_replied_at", "last_contacted_at", "last_email_opened_at",
    "last_email_clicked_at",
)  # fmt: skip
_NONE: Final = (
    "language_override", "browser", "browser_version", "browser_language", "os", "android_app_name",
    "android_app_version", "android_device", "android_os_version", "android_sdk_version", "android_last_seen_at",
    "ios_app_name", "ios_app_version", "ios_device", "ios_os_version", "ios_sdk_version", "ios_last_seen_at",
)  # fmt: skip
_UTM: Final = ["utm_campaign", "utm_content", "utm_medium", "utm_source", "utm_term", "referrer"]
WRITABLE: Final[Mapping[str, tuple[type, ...]]] = {
    "role": (str,),
    "external_id": (str,),
    "email": (str,),
    "phone": (str,),
    "name": (str,),
    "avatar": (str,),
    "signed_up_at": (int,),
    "last_seen_at": (int,),
    "owner_id": (int,),
    "unsubscribed_from_emails": (bool,),
}
_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
USER_NOT_FOUND: Final = "User Not Found"


def told(records: Reader, found: Sequence[Found], nested: int) -> list[Row]:
    """Contacts as the API tells them; `nested`: how many tags, notes and companies each of them names."""
    notes = records.by_parent("note", [one.id for one in found])
    return [_told(one, [note.id for note in notes[one.id]], nested) for one in found]


def _told(found: Found, notes: Sequence[str], nested: int) -> Row:
    row = found.row
    email = row.get("email") or ""
    out: Row = {"type": "contact", "id": found.id, "workspace_id": WORKSPACE}
    out |= {"external_id": row.get("external_id"), "role": row["role"], "email": row.get("email")}
    out |= {"email_domain": email.rpartition("@")[2] or None, "phone": row.get("phone"), "name": row.get("name")}
    avatar = row.get("avatar")
    out["avatar"] = {"type": "avatar", "image_url": avatar} if avatar else None
    out |= {"owner_id": row.get("owner_id"), "social_profiles": {"type": "list", "data": []}}
    for name in ("has_hard_bounced", "marked_email_as_spam", "unsubscribed_from_emails"):
        out[name] = bool(row.get(name))
    out |= {"created_at": found.created, "updated_at": found.updated}
    out |= {name: row.get(name) for name in (*TIMES, *_NONE)}
    place = row.get("location") or {}
    out["location"] = {"type": "location", **{name: place.get(name) for name in ("country", "region", "city")}}
    out["custom_attributes"] = row.get("custom_attributes") or {}
    for name, type_, ids in (
        ("tags", "tag", row.get("tag_ids", [])),
        ("notes", "note", notes),
        ("companies", "company", row.get("company_ids", [])),
        ("opted_out_subscription_types", "subscription", row.get("subscription_ids", [])),
        ("opted_in_subscription_types", "subscription", []),
    ):
        out[name] = _nested(found.id, name, type_, ids, nested)
    return {**out, **{name: row.get(name) for name in _UTM}, "enabled_push_messaging": None}


def _nested(contact: str, name: str, type_: str, ids: Sequence[str], most: int) -> Row:
    path = "subscriptions" if type_ == "subscription" else name
    return {
        "type": "list",
        "data": [{"id": id, "type": type_, "url": f"/{_PLURALS[type_]}/{id}"} for id in ids[:most]],
        "url": f"/contacts/{contact}/{path}",
        "total_count": len(ids),
        "has_more": len(ids) > most,
    }


_PLURALS: Final = {"tag": "tags", "note": "notes", "company": "companies", "subscription": "subscription_types"}


def existing(call: Call) -> Found:
    """The contact of the path. Archived, deleted and merged ones are not found."""
    found = call.records.get("contact", call.path["contact_id"])
    if found is None or found.state:
        raise Refused(404, "not_found", USER_NOT_FOUND)
    return found


def _one(call: Call, id: str) -> Row:
    found = call.records.get("contact", id)
    assert found is not None
    return told(call.records, [found], call.settings.nested)[0]


# -- reading ---------------------------------------------------------------------------------------------------------


def listed(call: Call) -> Row:
    """All of them, in the order in which they were made (unverified order)."""
    found = page(call, "contact", THERE, Sorted(), call.query, 50)
    data = told(call.records, found.found, call.settings.nested)
    return {"type": "list", "data": data, "total_count": found.total, "pages": found.pages}


def search(call: Call) -> Row:
    """Those that the filters want. The place of a page is in the body; parameters of the URL mean nothing."""
    where, order = searched(call, "contact")
    found = page(call, "contact", where, order, call.given().get("pagination") or {}, 50)
    data = told(call.records, found.found, call.settings.nested)
    return {"type": "list", "data": data, "total_count": found.total, "pages": found.pages}


def by_external_id(call: Call) -> Row:
    """The user of an external id; leads aren't found so."""
    where = THERE.also("json_extract(body, '$.external_id') = ?", call.path["external_id"])
    for found in call.records.each("contact", where.also("json_extract(body, '$.role') = 'user'")):
        return _one(call, found.id)
    raise Refused(404, "not_found", USER_NOT_FOUND)


def under(name: str) -> Callable[[Call], Row]:
    """What lies under a contact: all of its tags, notes, companies, segments or subscriptions."""

    def handle(call: Call) -> Row:
        contact = existing(call)
        if name == "note":
            rows = [_note(one) for one in call.records.by_parent("note", [contact.id])[contact.id]]
        else:
            rows = _linked(call, name, contact.row.get(f"{name}_ids", []))
        if name not in ("note", "company"):
            return {"type": "list", "data": rows}
        size = number(call.query.get("per_page", 50), "per_page", 150)
        at = number(call.query.get("page", 1), "page", 1 << 31)
        pages = {"type": "pages", "next": None, "page": at, "per_page": size, "total_pages": -(-len(rows) // size)}
        if at * size < len(rows):
            pages["next"] = f"{call.root}{contact_path(contact.id, name)}?per_page={size}&page={at + 1}"
        return {"type": "list", "data": rows[(at - 1) * size : at * size], "total_count": len(rows), "pages": pages}

    return handle


def contact_path(id: str, name: str) -> str:
    """The path of what lies under a contact."""
    return f"/contacts/{id}/{_PLURALS[name]}"


def _linked(call: Call, name: str, ids: Sequence[str]) -> list[Row]:
    found = [call.records.get(name, id) for id in ids]
    rows = [told_company(one) if name == "company" else one.row for one in found if one is not None]
    return [{**row, "applied_at": call.seconds, "applied_by": None} if name == "tag" else row for row in rows]


def _note(found: Found) -> Row:
    return {**found.row, "created_at": found.created, "contact": {"type": "contact", "id": found.parent}}


# -- writing ---------------------------------------------------------------------------------------------------------


def create(call: Call) -> Row:
    """A new contact. 409 where there is one with the external id, or (of users without one, unverified) the e-mail."""
    given = call.given()
    if not any(given.get(name) for name in ("email", "external_id", "role")):
        raise Refused(400, "parameter_not_found", "email, external_id or role is required")  # unverified words
    fields = _fields(call, {"role": "user", **given})
    twin = _twin(call.records, fields)
    if twin is not None:
        kind = "An archived contact" if twin.state == "archived" else "A contact"
        raise Refused(409, "conflict", f"{kind} matching those details already exists with id={twin.id}")
    id = f"{call.seconds:08x}{secrets.token_hex(8)}"
    shown = math.floor(call.now.timestamp() + call.settings.creation_delay)
    call.writer.put("contact", id, fields, at=call.seconds, shown=shown)
    return _one(call, id)


def update(call: Call) -> Row:
    """Some fields get other values; of custom attributes those that are given. A user never becomes a lead."""
    contact = existing(call)
    fields = _fields(call, call.given())
    if contact.row["role"] == "user" and fields.get("role") == "lead":
        raise Refused(400, "parameter_invalid", "A user can not be converted to a lead")  # unverified words
    custom = {**(contact.row.get("custom_attributes") or {}), **(fields.pop("custom_attributes", None) or {})}
    row = {**contact.row, **fields, "custom_attributes": {n: v for n, v in custom.items() if v is not None}}
    twin = _twin(call.records, {"role": row["role"], "external_id": fields.get("external_id")})
    if twin is not None and twin.id != contact.id:
        raise Refused(409, "conflict", f"A contact matching those details already exists with id={twin.id}")
    call.writer.put("contact", contact.id, row, at=call.seconds)
    return _one(call, contact.id)


def _fields(call: Call, given: Mapping[str, Any]) -> Row:
    out: Row = {}
    for name, value in given.items():
        if name == "custom_attributes":
            out[name] = _custom(call, value)
        elif name in WRITABLE:
            strange = value is not None and (not isinstance(value, WRITABLE[name]) or isinstance(value, bool) != (
                name == "unsubscribed_from_emails"
            ))  # fmt: skip
            if strange or (name == "role" and value not in ("user", "lead")):
                raise Refused(400, "parameter_invalid", f"{name} is invalid")
            out[name] = value
    if out.get("email") and not _EMAIL.fullmatch(out["email"]):
        raise Refused(400, "parameter_invalid", "email is invalid")
    return out


def _custom(call: Call, value: Any) -> Row:
    """400 for attributes that the workspace doesn't define (words unverified)."""
    known = {one.row["name"] for one in call.records.each("data_attribute") if one.row.get("custom")}
    for name in value or {}:
        if name not in known:
            raise Refused(400, "parameter_invalid", f"Custom attribute '{name}' does not exist")
    return dict(value or {})


def _twin(records: Reader, fields: Row) -> Found | None:
    there = Condition("state IN ('', 'archived')")
    if fields.get("external_id") is not None:
        same = there.also("json_extract(body, '$.external_id') = ?", fields["external_id"])
    elif fields.get("email") and fields["role"] == "user":
        same = there.also("json_extract(body, '$.email') = ? COLLATE NOCASE", fields["email"])
        same = same.also("json_extract(body, '$.role') = 'user'")
    else:
        return None
    return next(records.each("contact", same), None)


def ended(state: str, mark: str) -> Callable[[Call], Row]:
    """The contact is archived, or deleted for good."""

    def handle(call: Call) -> Row:
        contact = existing(call)
        call.writer.put("contact", contact.id, contact.row, at=call.seconds, state=state)
        return {"type": "contact", "id": contact.id, "external_id": contact.row.get("external_id"), mark: True}

    return handle


def unarchive(call: Call) -> Row:
    """An archived contact is there again; one that was deleted can't be (400)."""
    found = call.records.get("contact", call.path["contact_id"])
    if found is None or found.state not in ("", "archived"):
        raise Refused(400, "bad_request", "The contact can not be unarchived")  # unverified words
    call.writer.put("contact", found.id, found.row, at=call.seconds, state="")
    return {"type": "contact", "id": found.id, "external_id": found.row.get("external_id"), "archived": False}


def merge(call: Call) -> Row:
    """A lead goes into a user, and isn't found any more."""
    given = call.given()
    lead, user = (call.records.get("contact", str(given.get(name))) for name in ("from", "into"))
    if lead is None or user is None or lead.state or user.state:
        raise Refused(404, "not_found", USER_NOT_FOUND)
    if (lead.row["role"], user.row["role"]) != ("lead", "user"):
        raise Refused(400, "parameter_invalid", "Only a lead can be merged into a user")  # unverified words
    call.writer.put("contact", lead.id, lead.row, at=call.seconds, state="merged")
    tags = list(dict.fromkeys([*user.row.get("tag_ids", []), *lead.row.get("tag_ids", [])]))
    call.writer.put("contact", user.id, {**user.row, "tag_ids": tags}, at=call.seconds)
    return _one(call, user.id)


def tag(call: Call) -> Row:
    """The tag of the body is put onto the contact; with it already there nothing changes but the time."""
    contact, found = existing(call), call.records.get("tag", str(call.given().get("id")))
    if found is None:
        raise Refused(404, "not_found", "Resource Not Found")
    tags = list(dict.fromkeys([*contact.row.get("tag_ids", []), found.id]))
    call.writer.put("contact", contact.id, {**contact.row, "tag_ids": tags}, at=call.seconds)
    return found.row


def untag(call: Call) -> Row:
    """The tag of the path is taken from the contact. 404 where it isn't there (unverified)."""
    contact, found = existing(call), call.records.get("tag", call.path["tag_id"])
    tags = contact.row.get("tag_ids", [])
    if found is None or found.id not in tags:
        raise Refused(404, "not_found", "Resource Not Found")
    left = [id for id in tags if id != found.id]
    call.writer.put("contact", contact.id, {**contact.row, "tag_ids": left}, at=call.seconds)
    return found.row


def note(call: Call) -> Row:
    """A new note about the contact."""
    contact, id = existing(call), str(call.writer.number("note"))
    row = {"type": "note", "id": id, "author": None, "body": str(call.given().get("body", ""))}
    call.writer.put("note", id, row, at=call.seconds, parent=contact.id)
    found = call.records.get("note", id)
    assert found is not None
    return _note(found)


def link(call: Call) -> Row:
    """The company of the body gets the contact."""
    contact, found = existing(call), call.records.get("company", str(call.given().get("id")))
    if found is None:
        raise Refused(404, "company_not_found", "Company Not Found")
    ids = list(dict.fromkeys([*contact.row.get("company_ids", []), found.id]))
    call.writer.put("contact", contact.id, {**contact.row, "company_ids": ids}, at=call.seconds)
    return told_company(found)


def endpoints() -> list[Endpoint]:
    """Every path about contacts."""
    one = "/contacts/{contact_id}"
    lists = ("tag", "note", "company", "segment", "subscription")
    paths = {**_PLURALS, "segment": "segments", "subscription": "subscriptions"}
    return [
        Endpoint(method="GET", path="/contacts", handle=listed, paged="contacts"),
        Endpoint(method="POST", path="/contacts/search", handle=search, paged="contacts"),
        Endpoint(method="GET", path="/contacts/find_by_external_id/{external_id}", handle=by_external_id),
        Endpoint(method="POST", path="/contacts", handle=create, reads=False),
        Endpoint(method="POST", path="/contacts/merge", handle=merge, reads=False),
        Endpoint(method="GET", path=one, handle=lambda call: _one(call, existing(call).id)),
        Endpoint(method="PUT", path=one, handle=update, reads=False),
        Endpoint(method="DELETE", path=one, handle=ended("deleted", "deleted"), reads=False),
        Endpoint(method="POST", path=f"{one}/archive", handle=ended("archived", "archived"), reads=False),
        Endpoint(method="POST", path=f"{one}/unarchive", handle=unarchive, reads=False),
        *(Endpoint(method="GET", path=f"{one}/{paths[name]}", handle=under(name)) for name in lists),
        Endpoint(method="POST", path=f"{one}/tags", handle=tag, reads=False),
        Endpoint(method="DELETE", path=f"{one}/tags/{{tag_id}}", handle=untag, reads=False),
        Endpoint(method="POST", path=f"{one}/notes", handle=note, reads=False),
        Endpoint(method="POST", path=f"{one}/companies", handle=link, reads=False),
    ]
