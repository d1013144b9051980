"""Pages of events and profiles: a query brings a cursor, cursors bring pages, and rows get a key of their own.

After the vendor's pages on its APIs for getting events and user profiles. Events have no id: their key is made of the
event, the person, the time, a hash of the properties, and a number among equal ones.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, NamedTuple
from urllib.parse import unquote
from zoneinfo import ZoneInfo

import pyarrow as pa

from suiro.connectors.clevertap.api import CleverTapConfig, told, waits
from suiro.model.cells import unreadable
from suiro.model.errors import DataError, TransientError, UserError
from suiro.model.rejected import RejectedRow
from suiro.toolkit.http.client import HttpClient
from suiro.toolkit.http.pages import Guard
from suiro.toolkit.http.records import JsonRecords, Page, nothing
from suiro.toolkit.http.resources import columns
from suiro.toolkit.http.seen import Seen

EVENTS: Final = columns("profile:json ts:int event_props:json session_props:json")
PROFILES: Final = columns("identity email name profileData:json events:json platformInfo:json")
BUCKETS: Final = 23  #: of profiles: their batches are a multiple of it
_SMALL: Final = 4_096  #: bytes of a body that may be a refusal
_IN_PROGRESS: Final = "in progress"
_KEY: Final = "_key"


class Query(NamedTuple):
    """What is downloaded: `kind` is events or profiles, both days are included."""

    kind: str
    event: str
    first: date
    last: date


class Download:
    """Turns the pages of queries."""

    def __init__(self, http: HttpClient, config: CleverTapConfig) -> None:
        self._http, self._config = http, config

    def pages(self, query: Query, reader: JsonRecords) -> Iterator[tuple[Page, Mapping[str, str]]]:
        """The pages, also empty ones, each with its headers, until no further cursor is told."""
        path, what = f"/1/{query.kind}.json", f"{query.kind} of {query.event}"
        size = self._config.batch_size
        size = size if query.kind == "events" else max(BUCKETS, size // BUCKETS * BUCKETS)
        body = {"event_name": query.event, "from": _number(query.first), "to": _number(query.last)}
        answer = self._http.post(path, params={"batch_size": size}, json=body, repeatable=True, allow={400})
        hint = f"Leave {query.event} out, or name the events to read (events=...). Too many days: set start_date."
        begun = told(answer, what, hint=hint)
        cursor, guard = begun.get("cursor"), Guard(what)
        if not cursor:
            raise DataError(f"{what}: the answer to the query told no cursor")
        while cursor:
            at = unquote(str(cursor))  # it comes as it stands in a URL
            guard.asks(at)
            pauses = waits(self._config, self._http.context, what)
            while (found := self._page(path, at, reader, what)) is None:
                next(pauses)
            yield found
            cursor = found[0].rest.get("next_cursor")

    def _page(self, path: str, cursor: str, reader: JsonRecords, what: str) -> tuple[Page, Mapping[str, str]] | None:
        """One page; None where it is still in progress."""
        answer = self._http.get(path, params={"cursor": cursor}, allow={400})
        if len(answer.content) < _SMALL:
            try:
                body = told(answer, what)
            except UserError as error:
                if _IN_PROGRESS in error.message:
                    return None
                hint = "A cursor may have grown too old; the query is made anew."
                raise TransientError(error.message, hint=hint) from error
            if "records" not in body:
                return Page(batch=nothing(reader.schema), rest=body), answer.headers
        return reader.page(answer.content), answer.headers


def _number(day: date) -> int:
    return int(f"{day:%Y%m%d}")


class EventRows:
    """Makes rows of records of one event: keyed, by the day, and by the moment where the zone is known."""

    def __init__(self, event: str, zone: ZoneInfo | None) -> None:
        self._event, self._zone = event, zone
        self._seen, self._equal = Seen((_KEY,)), dict[str, int]()

    def of(self, page: Page, schema: pa.Schema) -> tuple[pa.RecordBatch, tuple[RejectedRow, ...]]:
        """The page's rows in these columns, and those it rejected."""
        batch, rows, rejected = page.batch, list[dict[str, Any]](), list(page.rejected)
        kept = []
        texts = [_texts(batch, name) for name in ("profile", "event_props", "session_props")]
        for at, (profile, props, around, stamp) in enumerate(zip(*texts, batch.column("ts").to_pylist(), strict=True)):
            when = _when(stamp)
            if when is None:
                reason = "ts: it is no time yyyyMMddHHmmss"
                row = {"ts": str(stamp), "profile": profile or "", "event_props": props or ""}
                rejected.append(RejectedRow(reason=reason, row=json.dumps(row, ensure_ascii=False), column="ts"))
                continue
            rows.append(self._row(profile, props, around, when))
            kept.append(at)
        self._number_equals(rows)
        rest = batch.take(pa.array(kept, pa.int64()))
        own = {name: pa.array([row[name] for row in rows], field) for name, field in _OWN.items()}
        extra = [field for field in batch.schema if field.name not in EVENTS.names and field.name not in schema.names]
        return _together(pa.schema([*schema, *extra]), own, rest), tuple(rejected)

    def _row(self, profile: str | None, props: str | None, around: str | None, when: datetime) -> dict[str, Any]:
        person = _members(profile)
        who = person.get("objectId") or person.get("identity") or person.get("email") or ""
        said = [self._event, str(who), when.isoformat(), _sorted(props), _sorted(around)]
        return {
            _KEY: hashlib.md5(json.dumps(said).encode(), usedforsecurity=False).hexdigest(),
            "event_name": self._event,
            "day": when.date(),
            "ts": when,
            "ts_utc": _moment(when, self._zone) if self._zone is not None else None,
            **{name: _text(person.get(member)) for name, member in _PERSON.items()},
        }

    def _number_equals(self, rows: Sequence[dict[str, Any]]) -> None:
        """Equal events are told apart by their number: the second is `...-2`."""
        batch = pa.RecordBatch.from_pydict(
            {_KEY: pa.array([row[_KEY] for row in rows], pa.string()), "at": pa.array(range(len(rows)), pa.int64())}
        )
        fresh = set(self._seen.new(batch).column("at").to_pylist())
        for at, row in enumerate(rows):
            if at not in fresh:
                self._equal[row[_KEY]] = number = self._equal.get(row[_KEY], 1) + 1
                row[_KEY] = f"{row[_KEY]}-{number}"


_PERSON: Final = {"identity": "identity", "object_id": "objectId", "email": "email"}
_OWN: Final = {
    _KEY: pa.string(),
    "event_name": pa.string(),
    "day": pa.date32(),
    "ts": pa.timestamp("us"),
    "ts_utc": pa.timestamp("us", "UTC"),
    **dict.fromkeys(_PERSON, pa.string()),
}


def events_schema(zone: ZoneInfo | None) -> pa.Schema:
    """The columns of an event's stream."""
    own = [(name, type_) for name, type_ in _OWN.items() if name != "ts_utc" or zone is not None]
    return pa.schema([*own, *(field for field in EVENTS if field.name != "ts")])


PROFILE_COLUMNS: Final = pa.schema([pa.field(_KEY, pa.string()), *PROFILES])


class ProfileRows:
    """Makes rows of records of people; each comes once, however many of the events they did."""

    def __init__(self) -> None:
        self._seen = Seen((_KEY,))

    def of(self, page: Page, schema: pa.Schema) -> tuple[pa.RecordBatch, tuple[RejectedRow, ...]]:
        """The page's new people in these columns, and the records that tell nobody."""
        batch, keys, kept, rejected = page.batch, list[str](), list[int](), list(page.rejected)
        identities, emails = (batch.column(name).to_pylist() for name in ("identity", "email"))
        for at, devices in enumerate(_texts(batch, "platformInfo")):
            key = identities[at] or _first_device(devices) or emails[at]
            if key:
                keys.append(str(key))
                kept.append(at)
            else:
                reason = "a profile without identity, device and e-mail"
                rejected.append(RejectedRow(reason=reason, row=unreadable(reason), column=_KEY))
        rest = batch.take(pa.array(kept, pa.int64()))
        extra = [field for field in batch.schema if field.name not in schema.names and field.name not in PROFILES.names]
        whole = _together(pa.schema([*schema, *extra]), {_KEY: pa.array(keys, pa.string())}, rest)
        return self._seen.new(whole), tuple(rejected)


def _together(schema: pa.Schema, own: Mapping[str, pa.Array], rest: pa.RecordBatch) -> pa.RecordBatch:
    """Columns of our own and those of the records, in the types that they have by now."""
    fields = [field if field.name in own else rest.schema.field(field.name) for field in schema]
    arrays = [own[field.name] if field.name in own else rest.column(field.name) for field in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))


def _texts(batch: pa.RecordBatch, name: str) -> list[str | None]:
    column = batch.column(name)
    found: list[str | None] = (column.storage if isinstance(column, pa.ExtensionArray) else column).to_pylist()
    return found


def _members(text: str | None) -> dict[str, Any]:
    found = json.loads(text) if text else None
    return found if isinstance(found, dict) else {}


def _sorted(text: str | None) -> str:
    return json.dumps(json.loads(text), sort_keys=True) if text else ""


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _first_device(text: str | None) -> str | None:
    devices = json.loads(text) if text else None
    found = [one.get("objectId") for one in devices if isinstance(one, dict)] if isinstance(devices, list) else []
    return next((str(one) for one in found if one), None)


def _when(stamp: int | None) -> datetime | None:
    """`20231231235959` by the project's clock; None where it is no time."""
    text = str(stamp)
    if len(text) != 14 or not text.isdecimal():
        return None
    try:
        parts = (int(text[:4]), *(int(text[at : at + 2]) for at in range(4, 14, 2)))
        return datetime(*parts)  # type: ignore[arg-type]  # noqa: DTZ001  (the zone isn't told)
    except ValueError:
        return None


def _moment(when: datetime, zone: ZoneInfo) -> datetime | None:
    """The moment of a local time; None where the clock showed it twice or never, because it was put back or forward."""
    moments = {when.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)}
    return moments.pop() if len(moments) == 1 else None


def days(first: date, last: date, each: int) -> Iterator[tuple[date, date]]:
    """Windows of whole days, both ends included."""
    while first <= last:
        end = min(last, first + timedelta(days=each - 1))
        yield first, end
        first = end + timedelta(days=1)
