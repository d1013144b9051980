"""QuickBooks as a source: one company's lists, transactions and reports."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

import pyarrow as pa

from suiro.connectors.quickbooks.asking import ANSWERS, Queries, Reports
from suiro.connectors.quickbooks.config import QuickBooksConfig
from suiro.connectors.quickbooks.entities import AGED, CHANGED, PERIODICAL, RESOURCES
from suiro.connectors.quickbooks.signing import auth
from suiro.model.change import Change, Checkpoint
from suiro.model.errors import ResyncRequired
from suiro.model.schema import Position, ReadMode
from suiro.model.selection import Selection
from suiro.spi.context import Context, Rate
from suiro.spi.source import Read
from suiro.toolkit.boundary import encode
from suiro.toolkit.http.client import HttpClient
from suiro.toolkit.http.flow import Flow
from suiro.toolkit.http.followed import Followed
from suiro.toolkit.http.oauth import OAuth
from suiro.toolkit.http.records import JsonRecords
from suiro.toolkit.http.resources import Resource
from suiro.toolkit.http.rest import RestSource, present
from suiro.toolkit.http.walk import Came, Walk

KEPT: Final = timedelta(days=30)  #: how long the log of changes goes back
SOON: Final = 14 * 86_400.0  #: seconds before the end of a sign-in from which on it is told


class QuickBooksSource(RestSource[QuickBooksConfig]):
    """Reads one company.

    Positions of a log: `told`, the moment up to which changes are known; `partial` while the rows that were there at
    first are still being read.
    """

    def __init__(self, config: QuickBooksConfig, context: Context) -> None:
        super().__init__(config, context)
        self._resources = tuple(self._for_settings(one) for one in RESOURCES)
        self._began: dict[str, datetime] = {}
        self._ending: tuple[str, ...] = ()

    def check(self) -> None:
        """As `RestSource.check`; remembers when the sign-in ends, where that is soon."""
        super().check()
        signed = self.http.auth
        values = signed.values() if isinstance(signed, OAuth) else {}
        told = [values.get(f"x_refresh_token_{kind}expires_in") for kind in ("", "hard_")]
        left = min((float(one) for one in told if isinstance(one, int | float)), default=float("inf"))
        if left < SOON:
            day = datetime.now(UTC) + timedelta(seconds=left)
            self._ending = (f"The sign-in ends about {day:%Y-%m-%d}: sign in again before (suiro authorize).",)

    def remarks(self) -> Sequence[str]:
        """What is hidden from these credentials, and when they end."""
        return (*super().remarks(), *self._ending)

    def resources(self) -> Sequence[Resource]:
        """The streams."""
        return self._resources

    def _for_settings(self, resource: Resource) -> Resource:
        """A stream with this connection's settings."""
        config = self.config
        params: dict[str, str | int] = {**resource.params, "minorversion": config.minor_version}
        if resource in (*AGED, *PERIODICAL):
            days = {"report_date": config.report_end} if resource in AGED else {"start_date": config.report_start}
            days |= {} if resource in AGED else {"end_date": config.report_end}
            params |= {name: day.isoformat() for name, day in days.items() if day is not None}
            params |= {"accounting_method": config.report_basis} if config.report_basis else {}
            periods = config.report_periods if resource in PERIODICAL[:3] else None
            return replace(resource, params=params | ({"summarize_column_by": periods} if periods else {}))
        cursor = resource.cursor and replace(resource.cursor, hold_back=timedelta(seconds=config.hold_back))
        schema = resource.schema
        if "CustomField" in schema.names:
            for name in config.custom_fields:
                schema = schema.append(pa.field(f"CustomField_{name}", pa.string()))
        return replace(resource, params=params, cursor=cursor, schema=schema)

    def connect(self) -> HttpClient:
        """A client of the company, whose quota all runs share."""
        config = self.config
        return HttpClient(
            self.context,
            base_url=config.address,
            auth=auth(config, self.context),
            account=config.identity(),
            rate=Rate(requests=config.requests_per_second, seconds=1.0),
            answers=ANSWERS,
        )

    def _walk(self, resource: Resource) -> Walk:
        if resource.path != "/query":
            return Reports(self.http, resource, None, workers=1)
        return self._queries(resource)

    def _queries(self, resource: Resource) -> Queries:
        return Queries(self.http, resource, self.config.custom_fields)

    def _followed(
        self, resource: Resource, cursor: str, selection: Selection, since: Position | None, came: Came
    ) -> Followed:
        self._began[resource.name] = present(came.headers) - timedelta(seconds=self.config.hold_back)
        return super()._followed(resource, cursor, selection, since, came)

    def read(self, read: Read, since: Position | None) -> Iterator[Change]:
        """As `RestSource.read`; of a log first all objects by queries, later what the log of changes tells."""
        (selection,) = read.selections
        if selection.read_mode is not ReadMode.LOG:
            yield from super().read(read, since)
        elif since and since.get("told") and not since.get("partial"):
            yield from self._log(selection, datetime.fromisoformat(str(since["told"])))
        else:
            held: Checkpoint | None = None
            for change in super().read(read, since):
                if held is not None:
                    yield Checkpoint({**held.position, **self._known(selection, since), "partial": True})
                held = change if isinstance(change, Checkpoint) else None
                if held is None:
                    yield change
            told = str(self._known(selection, since)["told"])
            yield Checkpoint(_position(datetime.fromisoformat(told)))

    def _known(self, selection: Selection, since: Position | None) -> Position:
        """Until when deletes need not be asked for: until the first of the reads that bring what was there began."""
        told = since.get("told") if since else None
        return {"told": told or self._began[selection.stream.name].isoformat()}

    def _log(self, selection: Selection, since: datetime) -> Iterator[Change]:
        """What changed since a moment."""
        resource = self._resource(selection)
        if datetime.now(UTC) - since >= KEPT:
            raise ResyncRequired(
                f"changes of {resource.name} are known until {since:%Y-%m-%d %H:%M} UTC, and QuickBooks tells of none "
                f"that are older than {KEPT.days} days",
                hint="Resync the task, and run it at least once in four weeks.",
            )
        flow = Flow(resource, selection, resource.cursor_field)
        came = self._queries(resource).changed(JsonRecords(flow.wanted, open_=flow.open_), since)
        yield from flow.changes(came, None, later=False)
        yield from flow.rest()
        until = present(came.headers) - timedelta(seconds=self.config.hold_back)
        yield Checkpoint(_position(max(since, until)))


def _position(told: datetime) -> Position:
    return {"field": CHANGED, "cursor": encode(told), "columns": [], "boundary": {}, "told": told.isoformat()}
