"""CleverTap as an application that takes rows back: profiles by identity, and events.

After the vendor's page on uploading: at most 1,000 records in one request, which is answered 200 whatever becomes of
them; records that were left out are listed, with what was sent. A profile may be sent twice. An event sent twice is two
events, so that one that may have arrived is never sent again.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any, Final

import httpx2
import pyarrow as pa

from suiro.connectors.clevertap.api import AT_ONCE, CleverTapConfig, client, told
from suiro.model.errors import (
    AuthError,
    ConfigError,
    ConnectionLost,
    InternalError,
    RateLimited,
    TransientError,
    UserError,
)
from suiro.model.schema import Json
from suiro.model.writeback import Action, FieldFacts, ObjectFacts, Order, Outcome, RowResult
from suiro.spi.application import Application, Journal
from suiro.spi.context import Context
from suiro.toolkit.files.jsontext import DECODER, Number
from suiro.toolkit.http.ahead import in_order

MOST: Final = 1_000  #: records of one request
UPLOADS: Final = 10  #: of profiles at once, of the 15 that an account may have under way
PROFILE: Final = "profile"
EVENT: Final = "event"
IDENTITY: Final = "identity"
NAME: Final = "evtName"
TIME: Final = "ts"
_RECORD: Final = "_record"  #: stands for an event's own id, which there is none of
_PATH: Final = "/1/upload"
_NOT_SENT: Final = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)
_TYPES: Final = {
    "text": pa.string(),
    "number": pa.decimal128(38, 9),
    "date": pa.timestamp("us", "UTC"),
    "bool": pa.bool_(),
}
_OWN: Final[Mapping[str, str]] = {"Name": "text", "Email": "text", "Phone": "text"}
_LOST: Final = "it was sent, and no answer came: CleverTap would count it twice if it were sent again"

Record = dict[str, Any]


class CleverTapApplication(Application[CleverTapConfig]):
    """The objects `profile`, `event`, and `event:NAME` for events of one name.

    Records of a profile are looked up one by one, for there is no other way.
    """

    def __init__(self, config: CleverTapConfig, context: Context) -> None:
        super().__init__(config, context)
        self._http = client(config, context)

    def check(self) -> None:
        """Ask for a profile that may not be there; AuthError where account and passcode are refused."""
        self._profile("suiro-check")

    def objects(self) -> Sequence[str]:
        return (PROFILE, EVENT, *(f"{EVENT}:{name}" for name in self.config.events))

    def describe(self, object_: str) -> tuple[ObjectFacts, pa.Schema]:
        """Properties are those of the settings; CleverTap makes those that it doesn't know."""
        if object_ == PROFILE:
            return self._described_profile()
        if object_ != EVENT and not object_.startswith(f"{EVENT}:"):
            raise ConfigError(
                f"CleverTap has no object {object_!r}",
                hint=f"Objects are {PROFILE}, {EVENT}, and for one event: {EVENT}:Subscription Renewed.",
            )
        named = object_.partition(":")[2]
        fields = [_fact(_RECORD, writable=False), _fact(IDENTITY, required=True), _fact(TIME)]
        fields += [] if named else [_fact(NAME, required=True)]
        types = {_RECORD: "text", IDENTITY: "text", TIME: "date", **({} if named else {NAME: "text"})}
        for name, kind in self.config.event_properties.items():
            fields.append(_fact(name))
            types[name] = kind
        return _facts(object_, _RECORD, fields, frozenset({Action.INSERT})), _schema(types)

    def _described_profile(self) -> tuple[ObjectFacts, pa.Schema]:
        types = {**_OWN, **self.config.profile_properties}
        fields = [
            FieldFacts(
                name=IDENTITY, label=IDENTITY, external_id=True, unique=True, required=True, case_sensitive=True
            ),
            *(_fact(name) for name in types),
        ]
        return (
            _facts(PROFILE, IDENTITY, fields, frozenset({Action.UPSERT, Action.UPDATE})),
            _schema({IDENTITY: "text", **types}),
        )

    def most_rows(self, order: Order) -> int:
        return UPLOADS * MOST

    def present(self, object_: str, by: str, keys: pa.Array, fields: Sequence[str]) -> Iterator[pa.RecordBatch]:
        if object_ != PROFILE or by != IDENTITY:
            raise ConfigError(
                f"CleverTap finds no {object_} by {by}",
                hint=f"Profiles are found by {IDENTITY}; events can't be found.",
            )
        _, types = self.describe(PROFILE)
        schema = pa.schema([types.field(name) for name in dict.fromkeys([IDENTITY, *fields])])
        rows = [_values(record, schema) for record in self._found(keys.to_pylist()) if record is not None]
        columns = [pa.array([row[field.name] for row in rows], field.type) for field in schema]
        yield pa.RecordBatch.from_arrays(columns, schema=schema)

    def _found(self, identities: Sequence[str]) -> Iterator[Record | None]:
        acts = ((lambda key=key: self._profile(key)) for key in identities)
        return in_order(acts, workers=AT_ONCE, size=lambda _: 1, most_bytes=AT_ONCE)

    def _profile(self, identity: str) -> Record | None:
        """A profile; None where there is none. That this is a refusal or 404 is unverified: both are understood."""
        answer = self._http.get("/1/profile.json", params={IDENTITY: identity}, label="/1/profile.json", allow={404})
        body = DECODER.decode(answer.content.decode()) if answer.status == 200 and answer.content else {}
        record = body.get("record") if isinstance(body, dict) and body.get("status") == "success" else None
        return record if isinstance(record, dict) else None

    # -- sending -----------------------------------------------------------------------------------------------------

    def apply(self, order: Order, rows: pa.RecordBatch, journal: Journal) -> Iterator[RowResult]:
        facts, types = self.describe(order.object)
        if order.action not in facts.actions:
            raise ConfigError(f"CleverTap takes no {order.action} of {order.object}", hint=_joined(facts.actions))
        if not set(rows.schema.names) <= set(types.names):
            raise InternalError(f"{order.object} has not all of the fields {rows.schema.names}")
        records = dict[int, Record]()
        missing = self._missing(rows) if order.action is Action.UPDATE else frozenset[str]()
        for row, values in enumerate(rows.to_pylist()):
            why = _wrong(order.object, values, missing)
            if why is not None:
                yield RowResult(row=row, outcome=Outcome.REFUSED, code=why[0], message=why[1], fields=why[2])
            else:
                records[row] = _record(order.object, values)
        if order.object == PROFILE:
            yield from self._profiles(order, records)
        else:
            yield from self._events(records, journal)

    def _missing(self, rows: pa.RecordBatch) -> frozenset[str]:
        """Identities without a profile: an upload would make them."""
        keys = rows.column(IDENTITY).to_pylist()
        return frozenset(key for key, found in zip(keys, self._found(keys), strict=True) if found is None)

    def _profiles(self, order: Order, records: Mapping[int, Record]) -> Iterator[RowResult]:
        known = set[str]()
        if order.action is Action.UPSERT:
            keys = [record[IDENTITY] for record in records.values()]
            known = {key for key, found in zip(keys, self._found(keys), strict=True) if found is not None}
        chunks = list(_chunks(records))
        acts = [partial(self._sent, some, repeatable=True) for some in chunks]
        bodies = in_order(acts, workers=UPLOADS, size=lambda _: 1, most_bytes=UPLOADS)
        for some, body in zip(chunks, bodies, strict=True):
            for result in _results(some, body):
                key = records[result.row][IDENTITY]
                done = result.outcome is Outcome.DONE
                created = done and order.action is Action.UPSERT and key not in known
                yield RowResult(
                    row=result.row, outcome=result.outcome, record=key if done else None, created=created,
                    code=result.code, message=result.message,
                )  # fmt: skip

    def _events(self, records: Mapping[int, Record], journal: Journal) -> Iterator[RowResult]:
        """Chunk by chunk; of each is noted that it leaves, and what was answered."""
        notes: dict[int, dict[str, Json]] = {}
        for note in journal.notes():
            notes.setdefault(int(str(note["chunk"])), {}).update(note)
        for number, some in enumerate(_chunks(records)):
            state = notes.get(number, {})
            if "results" in state:
                yield from _noted(state["results"])
            elif state.get("state") == "leaves":
                yield from _unknown(some)
            else:
                yield from self._chunk(number, some, journal)

    def _chunk(self, number: int, some: Mapping[int, Record], journal: Journal) -> list[RowResult]:
        journal.note({"chunk": number, "state": "leaves"})
        try:
            body = self._sent(some, repeatable=False)
        except (RateLimited, UserError) as error:
            journal.note({"chunk": number, "state": "refused"})  # before any record was looked at
            if isinstance(error, RateLimited | AuthError | ConfigError):
                raise
            return [RowResult(row=row, outcome=Outcome.UNPROCESSED, message=error.message) for row in some]
        except TransientError as error:
            if isinstance(error, ConnectionLost) and isinstance(error.__cause__, _NOT_SENT):
                journal.note({"chunk": number, "state": "refused"})
                raise
            self.context.log.warning("%s", error.message)
            results = _unknown(some)
        else:
            results = _results(some, body)
        said: list[Json] = [[r.row, r.outcome.value, r.code, r.message] for r in results]
        journal.note({"chunk": number, "state": "answered", "results": said})
        return results

    def _sent(self, some: Mapping[int, Record], *, repeatable: bool) -> dict[str, Any]:
        content = f'{{"d":[{",".join(map(_json, some.values()))}]}}'.encode()
        answer = self._http.post(
            _PATH, content=content, headers={"Content-Type": "application/json"}, repeatable=repeatable
        )
        body = answer.json()
        return body if isinstance(body, dict) and "status" in body else told(answer, "the upload")

    def close(self) -> None:
        self._http.close()


def _fact(name: str, *, required: bool = False, writable: bool = True) -> FieldFacts:
    return FieldFacts(name=name, label=name, required=required, creatable=writable, updatable=writable)


def _facts(name: str, record_id: str, fields: Sequence[FieldFacts], actions: frozenset[Action]) -> ObjectFacts:
    return ObjectFacts(
        name=name, label=name, record_id=record_id, fields={field.name: field for field in fields}, actions=actions
    )


def _schema(types: Mapping[str, str]) -> pa.Schema:
    return pa.schema([(name, _TYPES[kind]) for name, kind in types.items()])


def _joined(actions: frozenset[Action]) -> str:
    return f"It takes: {', '.join(sorted(actions))}."


def _chunks(records: Mapping[int, Record]) -> Iterator[dict[int, Record]]:
    items = list(records.items())
    for at in range(0, len(items), MOST):
        yield dict(items[at : at + MOST])


def _wrong(object_: str, values: Mapping[str, Any], missing: frozenset[str]) -> tuple[str, str, tuple[str, ...]] | None:
    """Why a row isn't sent: a code, a sentence, the fields."""
    if not values.get(IDENTITY):
        return "NO_IDENTITY", "identity is empty, so that nobody is meant", (IDENTITY,)
    if values[IDENTITY] in missing:
        return "NO_RECORD", "there is no profile of this identity", (IDENTITY,)
    for name, value in values.items():
        if isinstance(value, datetime) and value.microsecond:
            return "NOT_SENT", f"{name}: CleverTap keeps whole seconds", (name,)
        if value is None and object_ == PROFILE:
            return "NOT_SENT", f"{name}: an upload can't empty a property; leave NULLs out with nulls: skip", (name,)
    if object_ == EVENT and not values.get(NAME):
        return "NO_EVENT", "evtName is empty", (NAME,)
    return None


def _record(object_: str, values: Mapping[str, Any]) -> Record:
    """A row as it is uploaded. NULLs of an event are left out."""
    own = (IDENTITY, NAME, TIME) if object_ != PROFILE else (IDENTITY,)
    data = {name: _said(value) for name, value in values.items() if name not in own and value is not None}
    if object_ == PROFILE:
        return {IDENTITY: values[IDENTITY], "type": "profile", "profileData": data}
    at = values.get(TIME)
    name = object_.partition(":")[2] or values[NAME]
    moment = {TIME: int(at.timestamp())} if at is not None else {}
    return {IDENTITY: values[IDENTITY], **moment, "type": "event", "evtName": name, "evtData": data}


def _said(value: Any) -> Any:
    """A value as JSON has it: dates marked as such, numbers digit by digit."""
    match value:
        case datetime():
            return f"$D_{int(value.timestamp())}"
        case Decimal():
            return Number(format(value.normalize() + 0, "f"))
        case _:
            return value


def _json(value: Any) -> str:
    match value:
        case Number():
            return str(value)
        case dict():
            return "{" + ",".join(f"{json.dumps(key)}:{_json(one)}" for key, one in value.items()) + "}"
        case _:
            return json.dumps(value)


def _alike(record: Any) -> str:
    """A record by its content, however it is written."""
    return json.dumps(record, sort_keys=True, default=str)


def _results(some: Mapping[int, Record], body: Mapping[str, Any]) -> list[RowResult]:
    """What an answer says of each row. Left-out records are known by what they hold: their numbers aren't relied on.

    Where they can't all be found again, or the numbers don't add up, no row's outcome is known.
    """
    left_out = body.get("unprocessed") or []
    by_content: dict[str, list[int]] = defaultdict(list)
    for row, record in some.items():
        by_content[_alike(_plain(json.loads(_json(record))))].append(row)
    refused: dict[int, RowResult] = {}
    for one in left_out:
        rows = by_content.get(_alike(_plain(one.get("record"))), []) if isinstance(one, dict) else []
        if not rows:
            return _unknown(some, "what was left out can't be told from the answer")
        row = rows.pop(0)
        code, error = one.get("code"), str(one.get("error") or "refused without a reason")
        refused[row] = RowResult(
            row=row, outcome=Outcome.REFUSED, code=str(code or "FAIL"), message=error.partition("Skipped record")[0]
        )
    if body.get("status") == "fail" and not left_out:
        why = str(body.get("error") or "refused without a reason")
        code = str(body.get("code") or "FAIL")
        return [RowResult(row=row, outcome=Outcome.REFUSED, code=code, message=why) for row in some]
    if body.get("processed") != len(some) - len(refused):
        return _unknown(some, "the numbers of the answer don't add up")
    return [refused.get(row) or RowResult(row=row, outcome=Outcome.DONE) for row in some]


def _plain(value: Any) -> Any:
    """JSON with numbers in one form, however they are written."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, Decimal | float):
        return int(value) if value == int(value) else float(value)
    return value


def _unknown(some: Mapping[int, Record], why: str = _LOST) -> list[RowResult]:
    return [RowResult(row=row, outcome=Outcome.UNKNOWN, message=why) for row in some]


def _noted(said: Json) -> Iterator[RowResult]:
    """Results as they were noted."""
    for one in said if isinstance(said, list) else ():
        if isinstance(one, list) and len(one) == 4:
            code, message = (None if text is None else str(text) for text in one[2:])
            yield RowResult(row=int(str(one[0])), outcome=Outcome(str(one[1])), code=code, message=message)


def _values(record: Mapping[str, Any], schema: pa.Schema) -> dict[str, Any]:
    """A profile's values in the types of fields; what doesn't fit its field is NULL, as if it weren't there."""
    data = record.get("profileData") if isinstance(record.get("profileData"), dict) else {}
    own = {IDENTITY: record.get("identity"), "Name": record.get("name"), "Email": record.get("email")}
    found = {**{name: value for name, value in own.items() if value is not None}, **dict(data or {})}
    return {field.name: _heard(found.get(field.name), field.type) for field in schema}


def _heard(value: Any, type_: pa.DataType) -> Any:
    if value is None:
        return None
    if pa.types.is_decimal(type_):
        number = Decimal(value) if isinstance(value, Number) else None
        return number if number is not None and number == round(number, type_.scale) else None
    if pa.types.is_timestamp(type_):
        text = str(value).removeprefix("$D_")
        return datetime.fromtimestamp(int(text), UTC) if text.lstrip("-").isdecimal() else None
    if pa.types.is_boolean(type_):
        return value if isinstance(value, bool) else None
    return str(value) if isinstance(value, str) else json.dumps(value)
