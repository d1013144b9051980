"""Short lists that come whole, and the log of what admins did."""

from __future__ import annotations

from collections.abc import Callable

from suiro.sandbox.intercom.answers import Call, Endpoint, Refused, number
from suiro.sandbox.intercom.store import THERE, Row

LOGS: int = 20  #: in a page


def whole(kind: str, key: str, type_: str) -> Callable[[Call], Row]:
    """All records of a kind, under a key of the answer."""

    def handle(call: Call) -> Row:
        return {"type": type_, key: [one.row for one in call.records.each(kind)]}

    return handle


def one_of(kind: str, name: str) -> Callable[[Call], Row]:
    """The record whose id is in the path."""

    def handle(call: Call) -> Row:
        found = call.records.get(kind, call.path[name])
        if found is None:
            raise Refused(404, "not_found", "Resource Not Found")
        return found.row

    return handle


def segments(call: Call) -> Row:
    """Segments; with include_count also how many people are in each."""
    rows = [one.row for one in call.records.each("segment")]
    if call.query.get("include_count") != "true":
        rows = [{name: value for name, value in row.items() if name != "count"} for row in rows]
    return {"type": "segment.list", "segments": rows, "pages": {}}


def attributes(call: Call) -> Row:
    """The data attributes of a model, or of all; archived ones if they are asked for."""
    where = THERE
    if "model" in call.query:
        where = where.also("json_extract(body, '$.model') = ?", call.query["model"])
    if call.query.get("include_archived") != "true":
        where = where.also("json_extract(body, '$.archived') = 0")
    return {"type": "list", "data": [one.row for one in call.records.each("data_attribute", where)]}


def logs(call: Call) -> Row:
    """What admins did after a moment, the latest first; the next page is told as a whole URL."""
    if "created_at_after" not in call.query:
        raise Refused(400, "parameter_not_found", "created_at_after is required")  # unverified words
    try:
        after = int(call.query["created_at_after"])
        before = int(call.query.get("created_at_before", 1 << 40))
    except ValueError as error:
        raise Refused(400, "parameter_invalid", "created_at_after is no timestamp") from error  # unverified words
    at = number(call.query.get("page", 1), "page", 1 << 31)
    where = THERE.also("created > ? AND created < ?", after, before)  # unverified: whether the bounds belong to it
    total = call.records.count("activity_log", where)
    found = call.records.each("activity_log", where, "created DESC, seq DESC", LOGS, (at - 1) * LOGS)
    rows = [{**one.row, "id": one.id, "created_at": one.created} for one in found]
    pages: Row = {"type": "pages", "next": None, "page": at, "per_page": LOGS, "total_pages": -(-total // LOGS)}
    if at * LOGS < total:
        bounds = f"created_at_after={after}&created_at_before={before}"
        pages["next"] = f"{call.root}/admins/activity_logs?{bounds}&page={at + 1}"
    return {"type": "activity_log.list", "pages": pages, "activity_logs": rows}


def put_tag(call: Call) -> Row:
    """A tag by its name, or another name for the tag of an id."""
    given = call.given()
    name = given.get("name")
    if not isinstance(name, str) or not name.strip():
        raise Refused(400, "parameter_invalid", "invalid tag parameters")
    same = THERE.also("json_extract(body, '$.name') = ? COLLATE NOCASE", name)  # unverified: that case means nothing
    old = call.records.get("tag", str(given["id"])) if "id" in given else next(call.records.each("tag", same), None)
    id = old.id if old else str(call.writer.number("tag"))
    row = {"type": "tag", "id": id, "name": name if old is None or "id" in given else old.row["name"]}
    call.writer.put("tag", id, row, at=call.seconds)
    return row


def drop_tag(call: Call) -> Row:
    """A tag goes, from every contact too."""
    one_of("tag", "tag_id")(call)
    id = call.path["tag_id"]
    call.writer.remove("tag", [id])
    some = THERE.also("EXISTS (SELECT 1 FROM json_each(body, '$.tag_ids') WHERE value = ?)", id)
    for found in list(call.records.each("contact", some)):
        left = [one for one in found.row["tag_ids"] if one != id]
        call.writer.put("contact", found.id, {**found.row, "tag_ids": left}, at=found.updated)
    return {"id": id, "object": "tag", "deleted": True}


def endpoints() -> list[Endpoint]:
    """Every path of these."""
    return [
        Endpoint(method="GET", path="/tags", handle=whole("tag", "data", "list"), area="tags"),
        Endpoint(method="POST", path="/tags", handle=put_tag, area="tags", reads=False),
        Endpoint(method="GET", path="/tags/{tag_id}", handle=one_of("tag", "tag_id"), area="tags"),
        Endpoint(method="DELETE", path="/tags/{tag_id}", handle=drop_tag, area="tags", reads=False),
        Endpoint(method="GET", path="/segments", handle=segments),
        Endpoint(method="GET", path="/segments/{segment_id}", handle=one_of("segment", "segment_id")),
        Endpoint(method="GET", path="/admins/activity_logs", handle=logs, area="admins"),
        Endpoint(method="GET", path="/admins", handle=whole("admin", "admins", "admin.list"), area="admins"),
        Endpoint(method="GET", path="/admins/{admin_id}", handle=one_of("admin", "admin_id"), area="admins"),
        Endpoint(method="GET", path="/teams", handle=whole("team", "teams", "team.list"), area="admins"),
        Endpoint(method="GET", path="/teams/{team_id}", handle=one_of("team", "team_id"), area="admins"),
        Endpoint(method="GET", path="/data_attributes", handle=attributes),
        Endpoint(method="GET", path="/subscription_types", handle=whole("subscription", "data", "list")),
        Endpoint(method="GET", path="/ticket_types", handle=whole("ticket_type", "data", "list"), area="conversations"),
    ]
