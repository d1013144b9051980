"""Intercom as an application that takes contacts back: one request for each of them, and a search for what they hold.

There is no bulk request. A contact that may have been created is looked for by its external id, or its e-mail, before
it is sent again. Tags are told as one text: their names in order, with commas between them.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc

from suiro.connectors.intercom.source import IntercomConfig, connected, search, under_contact
from suiro.model.errors import ConfigError, ConnectionLost, DataError
from suiro.model.schema import Json
from suiro.model.writeback import Action, FieldFacts, ObjectFacts, Order, Outcome, RowResult
from suiro.spi.application import Application, Journal
from suiro.spi.context import Context
from suiro.toolkit.http.ahead import in_order
from suiro.toolkit.http.answers import Answer

CONTACT: Final = "contact"
ID, EXTERNAL_ID, EMAIL, TAGS, CUSTOM = "id", "external_id", "email", "tags", "custom_attributes."
MOST: Final = 1_000  #: rows of one batch
SIDE_BY_SIDE: Final = 4  #: requests
FILTERS: Final = 15  #: in one group, and values in one filter
_LOOKED_UP: Final = 150  #: keys in one search: their records fit into a page; new contacts that are noted together
_FEW: Final = 8  #: the same, where some have no external id: of these it can't be told whether they were made
_TRIES: Final = 5  #: to create a contact whose answer is lost
_ANSWERED: Final = frozenset({400, 404, 409, 422})
_AWARE: Final = pa.timestamp("us", "UTC")
_PLAIN: Final[Mapping[str, pa.DataType]] = {
    ID: pa.string(),
    EXTERNAL_ID: pa.string(),
    EMAIL: pa.string(),
    "phone": pa.string(),
    "name": pa.string(),
    "role": pa.string(),
    "avatar": pa.string(),
    "signed_up_at": _AWARE,
    "last_seen_at": _AWARE,
    "owner_id": pa.int64(),
    "unsubscribed_from_emails": pa.bool_(),
    TAGS: pa.string(),
}
_CUSTOM: Final[Mapping[str, pa.DataType]] = {
    "string": pa.string(),
    "integer": pa.int64(),
    "float": pa.float64(),
    "boolean": pa.bool_(),
    "date": _AWARE,
}


@dataclass(slots=True, kw_only=True)
class _Row:
    """A row on its way: what is sent of it, and the record that it is about, once that is known."""

    place: int
    values: dict[str, Any]  #: as Python has them
    body: dict[str, Json] = field(default_factory=dict)
    wrong: tuple[str, str] | None = None  #: why it can't be sent, and the field to blame
    record: str | None = None
    noted: bool = False  #: it may have been created before


class IntercomApplication(Application[IntercomConfig]):
    """Contacts: users and leads with their attributes and tags. A delete archives them."""

    def __init__(self, config: IntercomConfig, context: Context) -> None:
        super().__init__(config, context)
        self._http = connected(config, context)
        self._types: pa.Schema | None = None
        self._known_tags: dict[str, str] | None = None  # ids by name

    def check(self) -> None:
        self._http.get("/me")

    def objects(self) -> Sequence[str]:
        return (CONTACT,)

    def describe(self, object_: str) -> tuple[ObjectFacts, pa.Schema]:
        if object_ != CONTACT:
            near = difflib.get_close_matches(object_, [CONTACT])
            raise ConfigError(
                f"there is no object {object_!r} that rows can be written to",
                hint=f"Write to {near[0] if near else CONTACT}.",
            )
        told = self._http.get("/data_attributes", params={"model": "contact"}).json()["data"]
        custom = [one for one in told if one.get("custom") and not one.get("archived")]
        types = {**_PLAIN, **{f"{CUSTOM}{one['name']}": _CUSTOM.get(one["data_type"], pa.string()) for one in custom}}
        self._types = pa.schema(list(types.items()))
        facts = {name: _facts(name) for name in _PLAIN}
        for one in custom:
            name, writable = f"{CUSTOM}{one['name']}", one.get("api_writable") is not False
            choices = tuple(one["options"]) if one.get("options") else None
            facts[name] = FieldFacts(
                name=name, label=one.get("label") or name, creatable=writable, updatable=writable, choices=choices
            )
        whole = ObjectFacts(name=CONTACT, label="Contact", record_id=ID, fields=facts, actions=frozenset(Action))
        return whole, self._types

    def most_rows(self, order: Order) -> int:
        return MOST

    def close(self) -> None:
        self._http.close()

    # -- what contacts hold ------------------------------------------------------------------------------------------

    def present(self, object_: str, by: str, keys: pa.Array, fields: Sequence[str]) -> Iterator[pa.RecordBatch]:
        types = self._described()
        if pa.types.is_timestamp(types.field(by).type) or by in (TAGS, "avatar"):
            raise ConfigError(f"contacts can't be looked up by {by}", hint=f"Choose {EXTERNAL_ID}, {EMAIL} or {ID}.")
        schema = pa.schema([types.field(name) for name in dict.fromkeys([by, ID, *fields])])
        wanted = pc.drop_null(pc.unique(keys)).to_pylist()
        for start in range(0, len(wanted), _LOOKED_UP):
            some = wanted[start : start + _LOOKED_UP]
            contacts = list(self._found(by, some))
            if by == ID:
                contacts += self._fetched(set(some) - {one["id"] for one in contacts})
            rows = [[self._value(one, f.name, f.type) for f in schema] for one in contacts]
            if not rows:
                continue
            columns = [
                pa.array(list(column), f.type) for column, f in zip(zip(*rows, strict=True), schema, strict=True)
            ]
            if rows:
                yield pa.RecordBatch.from_arrays(columns, schema=schema)

    def _described(self) -> pa.Schema:
        if self._types is None:
            self.describe(CONTACT)
        assert self._types is not None
        return self._types

    def _found(self, by: str, keys: Sequence[Any]) -> Iterator[dict[str, Any]]:
        """The contacts whose field is one of at most 225 keys, by a search: what is minutes old may be missing."""
        name: Json = by
        filters: list[Json] = [
            {"field": name, "operator": "IN", "value": list(keys[start : start + FILTERS])}
            for start in range(0, len(keys), FILTERS)
        ]
        query: Json = {"operator": "OR", "value": filters}
        params: dict[str, str | int] = {"per_page": 150}
        sort: Json = {"field": "created_at", "order": "ascending"}
        while True:
            body = search(self._http, "/contacts/search", query, sort, params, {}).json()
            yield from body["data"]
            following = (body.get("pages") or {}).get("next") or {}
            if not body["data"] or not following.get("starting_after"):
                return
            params["starting_after"] = following["starting_after"]

    def _fetched(self, ids: set[str]) -> Iterator[dict[str, Any]]:
        """Contacts by their ids, which are told at once, however new they are."""
        for id_ in sorted(ids):
            answer = self._http.get(_path(id_), label=_LABEL, allow=_ANSWERED)
            if answer.status == 200:
                yield answer.json()

    def _value(self, contact: Mapping[str, Any], name: str, type_: pa.DataType) -> Any:
        if name == TAGS:
            names = {id_: name for name, id_ in self._tags().items()}
            return ",".join(sorted(names.get(id_, id_) for id_ in self._tag_ids(contact))) or None
        if name.startswith(CUSTOM):
            value = (contact.get("custom_attributes") or {}).get(name.removeprefix(CUSTOM))
        else:
            value = contact.get(name)
        if name == "avatar" and isinstance(value, dict):
            value = value.get("image_url")
        return None if value is None else _typed(value, name, type_)

    def _tag_ids(self, contact: Mapping[str, Any]) -> list[str]:
        nested = contact.get("tags") or {}
        rows = nested.get("data") or []
        if nested.get("has_more"):
            rows = under_contact(self._http, f"{_path(contact['id'])}/tags") or []
        return [str(one["id"]) for one in rows]

    def _tags(self) -> dict[str, str]:
        if self._known_tags is None:
            told = self._http.get("/tags").json()["data"]
            self._known_tags = {one["name"]: str(one["id"]) for one in told}
        return self._known_tags

    # -- writing -----------------------------------------------------------------------------------------------------

    def apply(self, order: Order, rows: pa.RecordBatch, journal: Journal) -> Iterator[RowResult]:
        if order.options:
            raise ConfigError(f"Intercom has no option {next(iter(order.options))!r}", hint="Leave it out.")
        some = [_Row(place=at, values=values) for at, values in enumerate(rows.to_pylist())]
        for row in some:
            _prepare(row, order.action)
        _refuse_alike(order, some)
        yield from (_refused(row.place, *row.wrong) for row in some if row.wrong is not None)
        good = [row for row in some if row.wrong is None]
        match order.action:
            case Action.INSERT:
                yield from self._inserted(good, journal)
            case Action.UPSERT:
                yield from self._upserted(good, order.by or EXTERNAL_ID)
            case Action.UPDATE:
                yield from self._side_by_side(good, self._update)
            case Action.DELETE:
                yield from self._side_by_side(good, self._archive)

    def _side_by_side(self, rows: Sequence[_Row], act: Any) -> Iterator[RowResult]:
        acts = (partial(act, row) for row in rows)
        yield from in_order(acts, workers=SIDE_BY_SIDE, size=lambda _: 1, most_bytes=1 << 20)

    def _inserted(self, rows: Sequence[_Row], journal: Journal) -> Iterator[RowResult]:
        """New contacts. Before some are sent, those that are there already are refused, and the others noted."""
        notes = {int(place): note for note in journal.notes() for place in _places(note, "new")}
        there = {int(place) for note in journal.notes() for place in _places(note, "there")}
        done = {int(place): str(id_) for note in journal.notes() for place, id_ in _made(note).items()}
        size = _LOOKED_UP if all(row.values.get(EXTERNAL_ID) for row in rows) else _FEW
        for start in range(0, len(rows), size):
            chunk = rows[start : start + size]
            fresh = [row for row in chunk if row.place not in notes and row.place not in there]
            ours = [row for row in chunk if row.place in notes]
            self._look_up(fresh, EXTERNAL_ID)
            known = [row.place for row in fresh if row.record is not None]
            if fresh:
                new: list[Json] = [row.place for row in fresh if row.record is None]
                journal.note({"new": new, "there": list[Json](known)})
            for row in ours:
                row.noted, row.record = True, done.get(row.place)
            refused = [row for row in chunk if row.place in there or row.place in known]
            yield from (_refused(row.place, "there is a contact of this external id", EXTERNAL_ID) for row in refused)
            sent = [row for row in chunk if row not in refused]
            made: dict[str, Json] = {}
            for result in self._side_by_side(sent, self._insert):
                if result.outcome is Outcome.DONE and result.record is not None:
                    made[str(result.row)] = result.record
                yield result
            journal.note({"made": made})

    def _insert(self, row: _Row) -> RowResult:
        """A new contact; one that may have been made already is looked for first."""
        if row.noted:
            row.record = row.record or self._one(row)
            if row.record is not None:
                return self._update(row, created=True)
            if not row.values.get(EXTERNAL_ID):
                return _unknown(row)
        answer = self._create(row, row.body)
        if answer is None or (answer.status == 409 and row.noted):
            row.noted = True
            row.record = self._one(row) if answer is None else _conflicting(answer)
            return _unknown(row) if row.record is None else self._update(row, created=True)
        return self._finished(row, answer, created=True)

    def _create(self, row: _Row, body: Mapping[str, Json]) -> Answer | None:
        """The answer to a creation; None: it was lost. What has an external id can be sent again: it is made once."""
        for _ in range(_TRIES):
            try:
                return self._http.post("/contacts", json=body, allow=_ANSWERED)
            except ConnectionLost:
                row.noted = True
                if not row.values.get(EXTERNAL_ID):
                    return None
        return None

    def _upserted(self, rows: Sequence[_Row], by: str) -> Iterator[RowResult]:
        for start in range(0, len(rows), _LOOKED_UP):
            some = rows[start : start + _LOOKED_UP]
            several = self._look_up(some, by)
            yield from (_refused(row.place, f"several contacts have this {by}", by) for row in several)
            yield from self._side_by_side([row for row in some if row not in several], self._upsert)

    def _upsert(self, row: _Row) -> RowResult:
        """A contact that is there by now, though the search didn't find it, is told by the refusal to create it."""
        if row.record is not None:
            return self._update(row)
        answer = self._create(row, {name: value for name, value in row.body.items() if value is not None})
        if answer is None:
            row.record = self._one(row)
            return _unknown(row) if row.record is None else self._update(row, created=True)
        if answer.status == 409 and (record := _conflicting(answer)) is not None:
            row.record = record
            if b"archived" in answer.content:
                self._http.post(f"{_path(record)}/unarchive", label=f"{_LABEL}/unarchive", repeatable=True)
            return self._update(row, created=row.noted)
        return self._finished(row, answer, created=True)

    def _update(self, row: _Row, *, created: bool = False) -> RowResult:
        body = {name: value for name, value in row.body.items() if name != ID}
        path = _path(row.record or str(row.values.get(ID)))
        answer = self._http.put(path, json=body, allow=_ANSWERED, label=_LABEL)
        return self._finished(row, answer, created=created)

    def _archive(self, row: _Row) -> RowResult:
        path = f"{_path(str(row.values[ID]))}/archive"
        answer = self._http.post(path, allow=_ANSWERED, label=f"{_LABEL}/archive", repeatable=True)
        if answer.status == 404:
            return RowResult(row=row.place, outcome=Outcome.DONE, record=row.values[ID])
        return self._answered(row, answer)

    def _finished(self, row: _Row, answer: Answer, *, created: bool) -> RowResult:
        """What became of a contact, its tags put right where the row tells them."""
        if answer.status < 300 and TAGS in row.values:
            contact = answer.json()
            wanted = {name.strip() for name in (row.values[TAGS] or "").split(",") if name.strip()}
            self._tag(contact, wanted)
        return self._answered(row, answer, created=created)

    def _tag(self, contact: Mapping[str, Any], wanted: set[str]) -> None:
        path, there = f"{_path(contact['id'])}/tags", set(self._tag_ids(contact))
        ids = {self._tag_named(name) for name in sorted(wanted)}
        for id_ in sorted(ids - there):
            self._http.post(path, json={"id": id_}, label=f"{_LABEL}/tags", repeatable=True)
        for id_ in sorted(there - ids):
            self._http.delete(f"{path}/{quote(id_, safe='')}", label=f"{_LABEL}/tags/{{id}}", allow={404})

    def _tag_named(self, name: str) -> str:
        """The id of a tag, which is made if there is none of that name."""
        if name not in self._tags():
            self._tags()[name] = str(self._http.post("/tags", json={"name": name}, repeatable=True).json()["id"])
        return self._tags()[name]

    def _answered(self, row: _Row, answer: Answer, *, created: bool = False) -> RowResult:
        if answer.status < 300:
            told = answer.json()
            return RowResult(row=row.place, outcome=Outcome.DONE, record=str(told["id"]), created=created)
        said = self._http.answers.said(answer)
        blamed = tuple(name for name in row.values if name.removeprefix(CUSTOM) in (said.message or ""))
        return RowResult(
            row=row.place,
            outcome=Outcome.REFUSED,
            code=said.code or str(answer.status),
            message=said.message or "Intercom tells no reason",
            fields=blamed,
        )

    # -- finding -----------------------------------------------------------------------------------------------------

    def _look_up(self, rows: Sequence[_Row], by: str) -> list[_Row]:
        """Give rows the record that is there already; those for which there are several."""
        keyed = {_folded(by, row.values[by]): row for row in rows if row.values.get(by) is not None}
        several = []
        keys = [row.values[by] for row in keyed.values()]
        for contact in self._found(by, keys) if keys else ():
            row = keyed.get(_folded(by, contact.get(by)))
            if row is not None and row.record not in (None, contact["id"]):
                several.append(row)
            elif row is not None:
                row.record = str(contact["id"])
        return several

    def _one(self, row: _Row) -> str | None:
        """The contact of a row's external id or e-mail, if there is one: first where it is told at once."""
        key = _key(row)
        if key is None:
            return None
        by, value = key
        if by == EXTERNAL_ID:
            path = f"/contacts/find_by_external_id/{quote(value, safe='')}"
            answer = self._http.get(path, label="/contacts/find_by_external_id/{external_id}", allow={404})
            if answer.status == 200:
                return str(answer.json()["id"])
        return next((str(one["id"]) for one in self._found(by, [value])), None)


_LABEL: Final = "/contacts/{id}"


def _path(id_: str) -> str:
    return f"/contacts/{quote(id_, safe='')}"


def _facts(name: str) -> FieldFacts:
    key = name in (EXTERNAL_ID, EMAIL)
    return FieldFacts(
        name=name,
        label=name.replace("_", " ").capitalize(),
        creatable=name != ID,
        updatable=name != ID,
        external_id=key,
        unique=name in (ID, EXTERNAL_ID),
        case_sensitive=name in (ID, EXTERNAL_ID),
        choices=("user", "lead") if name == "role" else None,
        empty_is_null=name == TAGS,
    )


def _prepare(row: _Row, action: Action) -> None:
    """What is sent of a row; what of it can't be."""
    custom: dict[str, Json] = {}
    for name, value in row.values.items():
        if name == TAGS or (name == ID and action is not Action.INSERT):
            continue
        if isinstance(value, datetime):
            if value.microsecond:
                row.wrong = ("Intercom keeps whole seconds", name)
                return
            value = int(value.astimezone(UTC).timestamp())
        if value is None and action is Action.INSERT:
            continue
        if name.startswith(CUSTOM):
            custom[name.removeprefix(CUSTOM)] = value
        else:
            row.body[name] = value
    if custom:
        row.body["custom_attributes"] = custom


def _refuse_alike(order: Order, rows: Sequence[_Row]) -> None:
    """Rows without the key that says which contact is meant, and those that share one."""
    by = {Action.UPDATE: ID, Action.DELETE: ID, Action.INSERT: EXTERNAL_ID}.get(order.action, order.by or EXTERNAL_ID)
    if order.action is Action.UPSERT and by not in (EXTERNAL_ID, EMAIL):
        raise ConfigError(f"{by} is no external id of contacts", hint=f"Choose {EXTERNAL_ID} or {EMAIL}.")
    places: dict[str, list[_Row]] = {}
    for row in rows:
        key = row.values.get(by)
        if key is not None:
            places.setdefault(_folded(by, key), []).append(row)
        elif order.action is not Action.INSERT:
            row.wrong = (f"{by} is empty, so that no contact is meant", by)
    for alike in places.values():
        for row in alike if len(alike) > 1 else ():
            row.wrong = (f"{len(alike)} rows of one batch have this {by}, so none of them is sent", by)


def _folded(by: str, key: Any) -> str:
    return str(key).lower() if by == EMAIL else str(key)


def _key(row: _Row) -> tuple[str, str] | None:
    """By what a contact that may have been made can be found again."""
    return next(((by, str(row.values[by])) for by in (EXTERNAL_ID, EMAIL) if row.values.get(by)), None)


def _conflicting(answer: Answer) -> str | None:
    """The id of the contact that is in the way, which the refusal's message tells."""
    for one in (answer.json() or {}).get("errors") or []:
        _, found, id_ = str(one.get("message") or "").rpartition("id=")
        if found and id_.strip():
            return id_.strip()
    return None


def _unknown(row: _Row) -> RowResult:
    why = "it may have been created, and without an external id that can't be told: look for it in Intercom"
    return RowResult(row=row.place, outcome=Outcome.UNKNOWN, message=why)


def _refused(place: int, why: str, blamed: str) -> RowResult:
    return RowResult(row=place, outcome=Outcome.REFUSED, code="NOT_SENT", message=why, fields=(blamed,))


def _places(note: Mapping[str, Json], name: str) -> list[Any]:
    found = note.get(name)
    return found if isinstance(found, list) else []


def _made(note: Mapping[str, Json]) -> dict[str, Any]:
    found = note.get("made")
    return found if isinstance(found, dict) else {}


def _typed(value: Any, name: str, type_: pa.DataType) -> Any:
    """A value as its field's type has it; DataError where the service tells another kind of value."""
    try:
        if pa.types.is_timestamp(type_):
            return datetime.fromtimestamp(int(value), UTC) if int(value) else None
        if pa.types.is_floating(type_):
            return float(value)
        if pa.types.is_integer(type_):
            return int(value)
    except (ValueError, TypeError, OverflowError) as error:
        raise DataError(f"{name} of a contact is no {type_}", hint="Look at the attribute's type.") from error
    if pa.types.is_boolean(type_) != isinstance(value, bool):
        raise DataError(f"{name} of a contact is no {type_}", hint="Look at the attribute's type.")
    return value if isinstance(value, bool) else str(value)
