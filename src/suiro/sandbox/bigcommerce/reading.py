"""Reading records: lists, single records, counts."""

from __future__ import annotations

from typing import Any, TypedDict

from starlette.responses import Response

from suiro.sandbox.bigcommerce.answers import NOT_FOUND, Call, Endpoint, Handler, Refused, as_json, nothing, whole
from suiro.sandbox.bigcommerce.filters import ordered, wanted
from suiro.sandbox.bigcommerce.paging import asked_window, told_page, turned_to
from suiro.sandbox.bigcommerce.records import ALL, Condition, Row
from suiro.sandbox.bigcommerce.views import View


class Under(TypedDict, total=False):
    """Where records lie: under the record `above` whose id is in the path as `under`."""

    under: str
    above: View | None


def listed(view: View, *, under: str = "", above: View | None = None) -> Handler:
    """A list of records; of those under the record `above` whose id is the path's `under`, if they are given."""

    def handle(call: Call) -> Response:
        where = _scope(call, under, above)
        found = wanted(view, call)
        where = where.also(found.sql, *found.values)
        if view.kind == "order" and not call.settings.archived_listed:
            where = where.also("coalesce(json_extract(body, '$.is_deleted'), 0) = 0")
        order, window = ordered(view, call), asked_window(view, call)
        page = turned_to(view, call, where, order, window)
        told = chosen(view, call, page.rows)
        if call.version == 2:
            return as_json(told) if told else nothing()
        return as_json({"data": told, "meta": told_page(view, call, order, page)})

    return handle


def one(view: View, *, id: str = "id", under: str = "", above: View | None = None) -> Handler:
    """The record whose id is the path's `id`."""

    def handle(call: Call) -> Response:
        return whole(call, chosen(view, call, [existing(view, call, id=id, under=under, above=above)])[0])

    return handle


def counted(view: View, *, under: str = "", above: View | None = None) -> Handler:
    """v2's count of the records that a list would have."""

    def handle(call: Call) -> Response:
        where = _scope(call, under, above)
        found = wanted(view, call)
        return as_json({"count": call.records.count(view.kind, where.also(found.sql, *found.values))})

    return handle


def collection(
    path: str, view: View, area: str, *, under: str = "", above: View | None = None, count: bool = False
) -> list[Endpoint]:
    """The list of a kind of record, and each one of them; with `count` also how many there are."""
    where: Under = {"under": under, "above": above}
    endpoints = [
        Endpoint(method="GET", path=path, area=area, handle=listed(view, **where), paged=True),
        Endpoint(method="GET", path=path + "/{id:int}", area=area, handle=one(view, **where)),
    ]
    if count:
        endpoints.append(Endpoint(method="GET", path=path + "/count", area=area, handle=counted(view, **where)))
    return endpoints


def existing(view: View, call: Call, *, id: str = "id", under: str = "", above: View | None = None) -> Row:
    """The record of the path. Refused with 404: there is none, or it lies under another record."""
    if above is not None:
        existing(above, call, id=under)
    row = call.records.get(view.kind, call.path[id])
    if row is None or (under and row.get(view.kept(view.parent)) != call.path[under]):
        raise Refused(404, NOT_FOUND)
    return row


def chosen(view: View, call: Call, rows: list[Row]) -> list[dict[str, Any]]:
    """Records with what `include` asks for, and of their fields those that were chosen."""
    told = view.tell(rows, call.telling(names_in(call, "include")))
    if not view.choosable:
        return told
    only, without = names_in(call, "include_fields"), names_in(call, "exclude_fields")
    if not only and not without:
        return told
    extra = {include.field for name, include in view.includes.items() if name in names_in(call, "include")}
    key = next(iter(view.fields))
    kept = {key, *extra, *(only or view.fields)} - (without - {key})
    return [{name: value for name, value in record.items() if name in kept} for record in told]


def names_in(call: Call, parameter: str) -> frozenset[str]:
    """The names in a list parameter, as "a,b" or given several times."""
    return frozenset(name.strip() for text in call.query.getlist(parameter) for name in text.split(",") if name.strip())


def _scope(call: Call, under: str, above: View | None) -> Condition:
    if not under:
        return ALL
    if above is not None:
        existing(above, call, id=under)
    return ALL.also("parent = ?", call.path[under])
