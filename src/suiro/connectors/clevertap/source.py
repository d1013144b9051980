"""CleverTap as a source: a stream for each event, profiles, counts, campaigns and their reports."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from itertools import product
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from suiro.connectors.clevertap.api import AT_ONCE, CleverTapConfig, client, schema_names, told, waits
from suiro.connectors.clevertap.downloads import (
    EVENTS,
    PROFILE_COLUMNS,
    PROFILES,
    Download,
    EventRows,
    ProfileRows,
    Query,
    days,
    events_schema,
)
from suiro.model.naming import join_name
from suiro.model.schema import Position, ReadMode, Stream
from suiro.model.selection import Selection
from suiro.spi.context import Context
from suiro.toolkit.http.ahead import in_order
from suiro.toolkit.http.answers import Answer
from suiro.toolkit.http.client import HttpClient
from suiro.toolkit.http.followed import Followed
from suiro.toolkit.http.pages import Whole
from suiro.toolkit.http.patience import Patience
from suiro.toolkit.http.records import JsonRecords, nothing
from suiro.toolkit.http.resources import Cursor, Resource, columns
from suiro.toolkit.http.rest import RestSource
from suiro.toolkit.http.seen import Seen
from suiro.toolkit.http.walk import Came, Walk, Wish

EARLIEST: Final = date(2015, 1, 1)  #: the first day that is asked for where none is set
WINDOW: Final = 31  #: days of one list of campaigns
AHEAD: Final = 31  #: days to come for which campaigns may be scheduled
_FURTHEST: Final = timedelta(hours=14)  #: of a zone before UTC: today is over there no later than that
_EVENTS: Final = "/1/events.json"
_KEPT: Final = b"not allowed"  #: in the answer to a query of events that aren't exported
_DAY: Final = Cursor(field="day", param="from")


def _counts(kind: str) -> Resource:
    return Resource(
        name=f"{kind.removesuffix('s')}_counts",
        path=f"/1/counts/{kind}.json",
        schema=columns("event_name day:date count:int"),
        primary_key=("event_name", "day"),
        pages=Whole(),
        cursor=_DAY,
        open_=False,
        notes=("One request or more for each event and day.",),
    )


EVENT_COUNTS, PROFILE_COUNTS = _counts("events"), _counts("profiles")
CAMPAIGNS: Final = Resource(
    name="campaigns",
    path="/1/targets/list.json",
    schema=columns("id:int name scheduled_on status"),
    primary_key=("id",),
    pages=Whole(),
    place=("targets",),
)
CAMPAIGN_REPORTS: Final = Resource(
    name="campaign_reports",
    path="/1/targets/result.json",
    schema=columns("id:int name finished:bool result:json"),
    primary_key=("id",),
    pages=Whole(),
    open_=False,
)
MESSAGE_REPORTS: Final = Resource(
    name="message_reports",
    path="/1/message/report.json",
    schema=pa.schema([("message id", pa.string())]),
    pages=Whole(),
)
PEOPLE: Final = Resource(
    name="profiles",
    path="/1/profiles.json",
    schema=PROFILE_COLUMNS,
    primary_key=("_key",),
    pages=Whole(),
    notes=(
        "Who did none of the events that are read is not among the profiles; there is no way to ask for changes alone.",
    ),
)
REPORTS: Final = (EVENT_COUNTS, PROFILE_COUNTS, CAMPAIGNS, CAMPAIGN_REPORTS, MESSAGE_REPORTS)
_OTHERS: Final = {one.name: one for one in (PEOPLE, *REPORTS)}  #: streams that aren't of one event
_UNLISTED: Final = f"Further streams, by name or with reports=true: {', '.join(one.name for one in REPORTS)}."


class CleverTapSource(RestSource[CleverTapConfig]):
    """Reads one project.

    Events are followed by `day`: the last day is read again, and what came before is left out by its `_key`. A
    look-back window reads further days again, for events that arrive late.
    """

    workers = AT_ONCE
    checkpoint_pages = 1  # each stands for one window of days

    def __init__(self, config: CleverTapConfig, context: Context) -> None:
        super().__init__(config, context)
        self._events: tuple[str, ...] = config.events

    def connect(self) -> HttpClient:
        """A client of the account."""
        return client(self.config, self.context)

    @property
    def events(self) -> tuple[str, ...]:
        """The events that are read: those of the settings, or all that CleverTap knows."""
        if not self._events:
            self._events = tuple(schema_names(self.http, "events"))
        return self._events

    def resources(self) -> Sequence[Resource]:
        """A stream of each event, and the others."""
        return (*(self._of_event(name) for name in self.events), PEOPLE, *REPORTS)

    def check(self) -> None:
        """Ask for today's campaigns; AuthError where account and passcode are refused."""
        today = int(f"{self.today():%Y%m%d}")
        told(
            self.http.post(CAMPAIGNS.path, json={"from": today, "to": today}, repeatable=True), "the list of campaigns"
        )

    def remarks(self) -> Sequence[str]:
        """What isn't set and may be missed."""
        hint = "Times of events stay local: set timezone to the project's, and they get the column ts_utc."
        return () if self.config.timezone else (hint,)

    def discover(self) -> Iterator[Stream]:
        """Yield the events' streams and profiles; the reports where they are asked for, else a note that names them.

        Of events that CleverTap told, those that it doesn't export are left out; those of the settings are kept.
        """
        kept = [] if self.config.events else self._not_exported()
        if kept:
            self.context.log.warning("CleverTap exports no events of %s: left out", ", ".join(kept))
        for resource in self.resources():
            if resource.params.get("event_name") in kept:
                continue
            if resource.name not in {one.name for one in REPORTS}:
                stream = resource.stream
                more = () if self.config.reports or resource is not PEOPLE else (_UNLISTED,)
                yield replace(stream, notes=(*stream.notes, *more))
            elif self.config.reports:
                yield resource.stream

    def _not_exported(self) -> list[str]:
        """The events of which CleverTap refuses any download: told by a query of one day, whose result nobody gets."""
        day = int(f"{self.today():%Y%m%d}")

        def refused(name: str) -> bool:
            body = {"event_name": name, "from": day, "to": day}
            answer = self.http.post(_EVENTS, params={"batch_size": 1}, json=body, repeatable=True, allow={400})
            return answer.status == 400 and _KEPT in answer.content

        acts = [partial(refused, name) for name in self.events]
        told = in_order(acts, workers=AT_ONCE, size=lambda _: 1, most_bytes=AT_ONCE)
        return [name for name, kept in zip(self.events, told, strict=True) if kept]

    def find(self, name: str) -> Stream:
        """The stream of that name. Events are asked for only where the settings name none."""
        known = _OTHERS.get(name)
        return super().find(name) if known is None else known.stream

    def today(self) -> date:
        """The last day that may have begun in the project's zone."""
        now = datetime.now(UTC)
        return now.astimezone(self.config.zone).date() if self.config.zone is not None else (now + _FURTHEST).date()

    def _of_event(self, name: str) -> Resource:
        notes = ["Merge by _key: whole days are read again, and profiles in them may have changed."]
        if self.config.zone is not None:
            notes.append("ts_utc is NULL for local times that the clock showed twice or never.")
        return Resource(
            name=join_name([f"{name} (event)" if name in _OTHERS else name]),
            path=_EVENTS,
            schema=events_schema(self.config.zone),
            primary_key=("_key",),
            pages=Whole(),
            cursor=_DAY,
            params={"event_name": name},
            notes=tuple(notes),
        )

    def _resource(self, selection: Selection) -> Resource:
        return _OTHERS.get(selection.stream.name) or super()._resource(selection)

    def _walk(self, resource: Resource) -> Walk:
        return _Ways(self, resource)

    def _followed(
        self, resource: Resource, cursor: str, selection: Selection, since: Position | None, came: Came
    ) -> Followed:
        deduplicate = selection.read_mode is ReadMode.INCREMENTAL and selection.deduplicate
        kind = _ByKey if "_key" in resource.primary_key else Followed
        return kind(cursor, since, deduplicate=deduplicate, ceiling=None)


class _ByKey(Followed):
    """Knows rows again by day and key alone: what they tell of a person may have changed."""

    def pass_through(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, int]:
        fresh, known = super().pass_through(batch.select(["day", "_key"]))
        if not known:
            return batch, 0
        return batch.filter(pc.is_in(batch.column("_key"), value_set=fresh.column("_key"))), known


class _Ways(Walk):
    """The way through each of the streams; none of CleverTap's lists is turned like another service's."""

    def __init__(self, source: CleverTapSource, resource: Resource) -> None:
        super().__init__(source.http, resource, None, workers=AT_ONCE)
        self._source, self._config, self._context = source, source.config, source.context

    def probe(self, patience: Patience) -> None:
        """Nothing: there is one permission for all."""
        return None

    def pages(self, wish: Wish) -> Iterator[Came]:
        """The rows, page by page."""
        if self._resource.path == _EVENTS:
            return self._events(wish)
        ways = {
            PEOPLE.name: self._profiles,
            EVENT_COUNTS.name: self._counted,
            PROFILE_COUNTS.name: self._counted,
            CAMPAIGNS.name: self._campaigns,
            CAMPAIGN_REPORTS.name: self._results,
            MESSAGE_REPORTS.name: self._messages,
        }
        return ways[self._resource.name](wish)

    def _first(self, wish: Wish, otherwise: date) -> date:
        first = wish.lower if isinstance(wish.lower, date) else self._config.start_date or otherwise
        return max(first, self._config.start_date or date.min)

    def _events(self, wish: Wish) -> Iterator[Came]:
        """One query for all days, or one for each window of them; in it, pages come in the service's order."""
        event, zone, last = str(self._resource.params["event_name"]), self._config.zone, self._source.today()
        reader, first = JsonRecords(EVENTS, place=("records",), open_=wish.open_), self._first(wish, EARLIEST)
        for begins, ends in days(first, last, self._config.window_days or (last - first).days + 1):
            query, rows = Query("events", event, begins, ends), EventRows(event, zone)  # equal events are of one day
            for page, headers in Download(self._http, self._config).pages(query, reader):
                batch, rejected = rows.of(page, wish.schema)
                yield Came(batch=batch, rejected=rejected, headers=headers)
            yield Came(batch=nothing(wish.schema), headers={}, ordered=ends < last)

    def _profiles(self, wish: Wish) -> Iterator[Came]:
        """A sweep of each event."""
        rows = ProfileRows()
        reader = JsonRecords(PROFILES, place=("records",), open_=wish.open_)
        for event in self._source.events:
            query = Query("profiles", event, self._first(wish, EARLIEST), self._source.today())
            for page, headers in Download(self._http, self._config).pages(query, reader):
                batch, rejected = rows.of(page, wish.schema)
                yield Came(batch=batch, rejected=rejected, headers=headers)

    # -- counts ------------------------------------------------------------------------------------------------------

    def _counted(self, wish: Wish) -> Iterator[Came]:
        last = self._source.today()
        first = self._first(wish, last - timedelta(days=self._config.count_days - 1))
        listed = [day for day, _ in days(first, last, 1)]
        wanted = list(product(listed, self._source.events))
        acts = (partial(self._count, event, day) for day, event in wanted)
        counts = in_order(acts, workers=AT_ONCE, size=lambda _: 1, most_bytes=AT_ONCE)
        try:
            for day in listed:
                found = [(event, day, next(counts)) for event in self._source.events]
                batch = pa.RecordBatch.from_arrays(
                    [
                        pa.array([row[at] for row in found], field.type)
                        for at, field in enumerate(self._resource.schema)
                    ],
                    schema=self._resource.schema,
                )
                yield Came(batch=batch.select(wish.schema.names), headers={}, ordered=True)
        finally:
            counts.close()

    def _count(self, event: str, day: date) -> int:
        """The count of a day; what is computed in the background is asked for until it is there."""
        path, what = self._resource.path, f"the count of {event}"
        at = int(f"{day:%Y%m%d}")
        body = told(self._http.post(path, json={"event_name": event, "from": at, "to": at}, repeatable=True), what)
        pauses = waits(self._config, self._context, what)
        while "count" not in body:
            next(pauses)
            body = told(self._http.get(path, params={"req_id": str(body["req_id"])}), what)
        return int(body["count"])

    # -- campaigns and messages --------------------------------------------------------------------------------------

    def _windows(self, path: str, ahead: int) -> Iterator[Answer]:
        """Lists of whole windows of days."""
        last = self._source.today() + timedelta(days=ahead)
        first = self._config.start_date or last - timedelta(days=365 + ahead)
        for begins, ends in days(first, last, WINDOW):
            body = {"from": int(f"{begins:%Y%m%d}"), "to": int(f"{ends:%Y%m%d}")}
            answer = self._http.post(path, json=body, repeatable=True)
            told(answer, f"the list from {begins} to {ends}")
            yield answer

    def _campaigns(self, wish: Wish) -> Iterator[Came]:
        reader, seen = JsonRecords(wish.schema, place=CAMPAIGNS.place, open_=wish.open_), Seen(("id",))
        for answer in self._windows(CAMPAIGNS.path, AHEAD):
            page = reader.page(answer.content)
            yield Came(batch=seen.new(page.batch), rejected=page.rejected, headers=answer.headers)

    def _results(self, wish: Wish) -> Iterator[Came]:
        """A report of each campaign. Those without a result yet come without one, and are named in the log."""
        reader, unfinished = JsonRecords(CAMPAIGN_REPORTS.schema), list[str]()
        for came in self._campaigns(Wish(schema=CAMPAIGNS.schema)):
            for campaign in came.batch.to_pylist():
                answer = self._result(campaign["id"])
                given = {"id": campaign["id"], "name": campaign["name"], "finished": answer is not None}
                if answer is None:
                    unfinished.append(str(campaign["id"]))
                page = reader.page(b"{}" if answer is None else answer.content, given)
                yield Came(batch=page.batch.select(wish.schema.names), rejected=page.rejected, headers=came.headers)
        if unfinished:
            self._context.log.warning("campaigns without a report yet: %s", ", ".join(unfinished))

    def _result(self, campaign: int) -> Answer | None:
        pauses = waits(self._config, self._context, f"the report of campaign {campaign}")
        while True:
            answer = self._asked(campaign, frozenset({409, 500}))
            if answer.status == 500 and b"no result" not in answer.content:
                answer = self._asked(campaign, frozenset({409}))  # a fault: tried again as others are
            if answer.status not in (409, 500):
                told(answer, f"the report of campaign {campaign}")
                return answer
            if self._config.unfinished == "skip":
                return None
            next(pauses)

    def _asked(self, campaign: int, allow: frozenset[int]) -> Answer:
        return self._http.post(CAMPAIGN_REPORTS.path, json={"id": campaign}, repeatable=True, allow=allow)

    def _messages(self, wish: Wish) -> Iterator[Came]:
        """Reports of messages; the member of the body that holds them is unverified: the first list is."""
        readers: dict[str, JsonRecords] = {}
        for answer in self._windows(MESSAGE_REPORTS.path, 0):
            place = next((name for name, value in answer.json().items() if isinstance(value, list)), None)
            if place is not None:
                reader = readers.setdefault(place, JsonRecords(wish.schema, place=(place,), open_=wish.open_))
                page = reader.page(answer.content)
                yield Came(batch=page.batch, rejected=page.rejected, headers=answer.headers)
