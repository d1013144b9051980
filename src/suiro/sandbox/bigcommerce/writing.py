"""Writing records: one by one, in v3's batches, and in v2, by rules that are data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from starlette.responses import Response

from suiro.sandbox.bigcommerce.answers import Call, Endpoint, Handler, Refused, as_json, nothing, whole
from suiro.sandbox.bigcommerce.filters import moment_of, wanted
from suiro.sandbox.bigcommerce.reading import existing, listed, names_in
from suiro.sandbox.bigcommerce.records import ALL, Row
from suiro.sandbox.bigcommerce.views import WHEN, View

READ_ONLY: Final = frozenset({"id", "date_created", "date_modified"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a record must be to be kept, and what else happens then."""

    view: View
    noun: str  #: as titles name several of them: "customers"
    required: tuple[str, ...] = ()
    unique: tuple[str, ...] = ()  #: fields whose value no two records share; texts without regard to case (unverified)
    taken: int = 422  #: how a value that is in use is refused
    fixed: frozenset[str] = READ_ONLY  #: fields that can't be set
    children: tuple[str, ...] = ()  #: kinds of records that go with it
    #: Completes the fields to keep: (call, what was given, the fields so far, the record as it was or None).
    prepare: Callable[[Call, Row, Row, Row | None], Row] | None = None
    #: What else a new or changed record brings: (call, given, the record).
    follow: Callable[[Call, Row, Row], None] | None = None


def created(rules: Rules, *, status: int = 200, under: str = "", above: View | None = None) -> Handler:
    """One new record, under the record `above` whose id is the path's `under`, if they are given."""

    def handle(call: Call) -> Response:
        given = _object(call.body)
        if under and above is not None:
            existing(above, call, id=under)
        row = add(rules, call, given | ({rules.view.parent: call.path[under]} if under else {}))
        return whole(call, _told(rules, call, [row])[0], status)

    return handle


def updated(rules: Rules, *, id: str = "id", under: str = "", above: View | None = None) -> Handler:
    """New values for some fields of the path's record."""

    def handle(call: Call) -> Response:
        old = existing(rules.view, call, id=id, under=under, above=above)
        return whole(call, _told(rules, call, [change(rules, call, old, _object(call.body))])[0])

    return handle


def deleted(rules: Rules, *, id: str = "id", under: str = "", above: View | None = None) -> Handler:
    """The path's record goes, and what lies under it."""

    def handle(call: Call) -> Response:
        row = existing(rules.view, call, id=id, under=under, above=above)
        call.writer.delete(rules.view.kind, [row["id"]], rules.children)
        return nothing()

    return handle


def deleted_all(rules: Rules, *, needs_filter: bool = True) -> Handler:
    """All records that the request's filters name. Refused where `needs_filter` and none of them is known."""

    def handle(call: Call) -> Response:
        where = wanted(rules.view, call)
        if needs_filter and where is ALL:
            raise Refused(422, f"Delete {rules.noun} failed.", {"filter": "a filter is required"})
        ids = [row["id"] for row in call.records.find(rules.view.kind, where)]
        call.writer.delete(rules.view.kind, ids, rules.children)
        return nothing()

    return handle


def batch(rules: Rules, *, partial: bool = False) -> Handler:
    """v3's batches: a list of new records (POST), or of changes of records that are named by their id (PUT).

    With `partial` those that are right are kept, and the answer is 207 if some aren't; else all or none are kept.
    """

    def handle(call: Call) -> Response:
        if not isinstance(call.body, list) or not call.body:
            raise Refused(422, f"{_verb(call)} {rules.noun} failed.", {"data": "a list of records is required"})
        if len(call.body) > call.settings.batch:
            raise Refused(413, f"At most {call.settings.batch} {rules.noun} can be written at once.")
        kept, failed = [], {}
        for index, given in enumerate(call.body):
            try:
                with call.writer.attempt():
                    kept.append(_written(rules, call, _object(given)))
            except Refused as refused:
                failed.update({f"{index}.{name}": text for name, text in _reasons(rules, call, refused).items()})
        some = partial or (call.settings.customers_partial and rules.noun == "customers")
        if failed and (not some or not kept):
            raise Refused(422, f"{_verb(call)} {rules.noun} failed.", _plain(failed, len(call.body)))
        told = _told(rules, call, kept)
        if failed:
            numbers = {"total": len(call.body), "success": len(kept), "failed": len(call.body) - len(kept)}
            return as_json({"data": told, "errors": failed, "meta": numbers}, 207)
        return as_json({"data": told, "meta": {}})

    return handle


def crud(path: str, rules: Rules, area: str, *, status: int = 200, needs_filter: bool = False) -> list[Endpoint]:
    """The endpoints that write single records of a kind, and the one that deletes many."""
    one = path + "/{id:int}"
    return [
        Endpoint(method="POST", path=path, area=area, handle=created(rules, status=status)),
        Endpoint(method="PUT", path=one, area=area, handle=updated(rules)),
        Endpoint(method="DELETE", path=one, area=area, handle=deleted(rules)),
        Endpoint(method="DELETE", path=path, area=area, handle=deleted_all(rules, needs_filter=needs_filter)),
    ]


def batches(path: str, rules: Rules, area: str) -> list[Endpoint]:
    """The endpoints that write records of a kind in batches, and read them."""
    write = batch(rules)
    return [
        Endpoint(method="GET", path=path, area=area, handle=listed(rules.view), paged=True),
        Endpoint(method="POST", path=path, area=area, handle=write),
        Endpoint(method="PUT", path=path, area=area, handle=write),
        Endpoint(method="DELETE", path=path, area=area, handle=deleted_all(rules)),
    ]


def add(rules: Rules, call: Call, given: Row) -> Row:
    """Keep a new record. Refused, with the reasons by field: it isn't as the rules want it."""
    missing = [name for name in rules.required if given.get(name) in (None, "")]
    if missing:
        raise Refused(422, f"Create {rules.noun} failed.", {name: f"{name} is required" for name in missing})
    fields = _checked(rules, call, given, None)
    now = call.seconds
    if "date_created" in rules.view.fields:
        fields |= {"date_created": now}
    if "date_modified" in rules.view.fields:
        fields |= {"date_modified": now}
    row = call.writer.add(rules.view.kind, fields, parent=int(fields.get(rules.view.parent, 0)), modified=now)
    if rules.follow is not None:
        rules.follow(call, given, row)
    return row


def change(rules: Rules, call: Call, old: Row, given: Row) -> Row:
    """Give a record's fields other values. Refused as by `add`."""
    fields = _checked(rules, call, given, old)
    if "date_modified" in rules.view.fields:
        fields |= {"date_modified": call.seconds}
    row = call.writer.change(rules.view.kind, old["id"], fields, modified=call.seconds)
    if rules.follow is not None:
        rules.follow(call, given, row)
    return row


def _written(rules: Rules, call: Call, given: Row) -> Row:
    if call.method == "POST":
        return add(rules, call, given)
    id = given.get("id")
    old = call.records.get(rules.view.kind, id) if isinstance(id, int) else None
    if old is None:
        raise Refused(422, f"Update {rules.noun} failed.", {"id": f"there is no record {id}"})
    return change(rules, call, old, given)


def _checked(rules: Rules, call: Call, given: Row, old: Row | None) -> Row:
    """The fields to keep, by their names in the record. Those that the view doesn't have are ignored (unverified)."""
    view, fields, wrong = rules.view, {}, {}
    for name, value in given.items():
        if name not in view.fields or name in rules.fixed:
            continue
        try:
            fields[view.kept(name)] = _fitting(value, view.fields[name], call)
        except ValueError:
            wrong[name] = f"{name} is not valid"
    title = f"{_verb(call)} {rules.noun} failed."
    if wrong:
        raise Refused(422, title, wrong)
    for name in rules.unique:
        if name in fields and _taken(rules, call, name, fields[name], old):
            raise Refused(rules.taken, title, {name: f"{name} is in use already"})
    return fields if rules.prepare is None else rules.prepare(call, given, fields, old)


def _fitting(value: object, default: object, call: Call) -> object:
    """The value, as it is kept. ValueError: it hasn't the type of the field's default. Null empties any field."""
    if default is WHEN and isinstance(value, str):
        return moment_of(value, call.settings.zone()) if value else None
    fits = value is None or default is None
    if isinstance(default, bool) or isinstance(value, bool):
        fits = fits or (isinstance(value, bool) and isinstance(default, bool))
    elif isinstance(default, float):
        fits = fits or isinstance(value, int | float)
    elif isinstance(default, str):
        fits = fits or isinstance(value, str | int | float)
    else:
        fits = fits or isinstance(value, type(default))
    if not fits:
        raise ValueError("another type is wanted")
    return value


def _taken(rules: Rules, call: Call, name: str, value: object, old: Row | None) -> bool:
    where = ALL.also(f"json_extract(body, '$.{name}') = ? COLLATE NOCASE", value)
    if old is not None:
        where = where.also("id <> ?", old["id"])
    return bool(call.records.find(rules.view.kind, where, limit=1))


def _told(rules: Rules, call: Call, rows: list[Row]) -> list[dict[str, Any]]:
    return rules.view.tell(rows, call.telling(names_in(call, "include")))


def _object(given: object) -> Row:
    if not isinstance(given, dict):
        raise Refused(422, "The request body is not valid.", {"body": "a JSON object is required"})
    return given


def _verb(call: Call) -> str:
    return {"POST": "Create", "PUT": "Update"}.get(call.method, "Delete")


def _reasons(rules: Rules, call: Call, refused: Refused) -> dict[str, str]:
    return refused.errors or {f"{rules.noun}_{_verb(call).lower()}": refused.title}


def _plain(failed: Mapping[str, str], records: int) -> dict[str, str]:
    """Reasons by field; with the record's place in the batch where there are several."""
    return dict(failed) if records > 1 else {"." + name.partition(".")[2]: text for name, text in failed.items()}
