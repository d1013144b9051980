"""REST services as sources: what a connector declares as resources is discovered, planned and read here."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import pyarrow as pa

from suiro.model.change import Change, Checkpoint
from suiro.model.errors import AuthError, ConfigError
from suiro.model.schema import Position, ReadMode, Stream
from suiro.model.selection import Selection
from suiro.spi.context import Context
from suiro.spi.source import C, Read, Source
from suiro.toolkit.boundary import decode
from suiro.toolkit.http.client import HttpClient
from suiro.toolkit.http.flow import Flow
from suiro.toolkit.http.followed import Followed
from suiro.toolkit.http.patience import QUICK
from suiro.toolkit.http.resources import Resource
from suiro.toolkit.http.walk import Came, Walk, Wish, lacks_scope
from suiro.toolkit.sql.source import earlier

CHECKPOINT_PAGES = 20


class RestSource(Source[C]):
    """Reads the resources of one service.

    Positions: `{}` after full reads without a cursor, else what `Followed` makes. An incremental read asks for rows at
    or past the last cursor value. Where the service sorts by the cursor, each request begins at the last value that
    came, so that rows that change meanwhile shift nothing; else pages are read in the service's order, and the position
    stays before the moment at which the read began. Rows that a list brings twice because it shifts come once.

    A stream whose rows the service marks as deleted can be read as a log: each row as it is now, or its deletion. A
    read of its key alone leaves deleted rows out, so that a comparison of keys finds them gone.
    """

    workers: int = 4  #: requests under way at once, where a list's pages don't depend on each other
    checkpoint_pages: int = CHECKPOINT_PAGES  #: so many pages in the cursor's order, then the position is told

    def __init__(self, config: C, context: Context) -> None:
        super().__init__(config, context)
        self._http: HttpClient | None = None
        self._remarks: tuple[str, ...] = ()

    @abstractmethod
    def resources(self) -> Sequence[Resource]:
        """The streams of this service; parents before their children."""

    @abstractmethod
    def connect(self) -> HttpClient:
        """A client for the service with these settings; called once."""

    @property
    def http(self) -> HttpClient:
        """The client, made at first use."""
        if self._http is None:
            self._http = self.connect()
        return self._http

    # -- what there is -----------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Ask for one row under each permission; AuthError where the credentials are refused, or have none of them."""
        hidden = self._hidden()
        streams = [one for one in self.resources() if self._scope(one) in hidden]
        if streams and len(streams) == len(self.resources()):
            raise next(iter(hidden.values()))
        self._remarks = (hidden_note(streams),) if streams else ()

    def remarks(self) -> Sequence[str]:
        """What is hidden from these credentials."""
        return self._remarks

    def discover(self) -> Iterator[Stream]:
        """Yield the streams that these credentials may read; the first one's notes name those that they may not."""
        hidden = self._hidden()
        out = [one for one in self.resources() if self._scope(one) in hidden]
        note = (hidden_note(out),) if out else ()
        for resource in self.resources():
            if resource not in out:
                yield replace(resource.stream, notes=(*resource.notes, *note))
                note = ()

    def find(self, name: str) -> Stream:
        """The stream of that name, without asking the service; ConfigError names those that come near."""
        for resource in self.resources():
            if resource.name == name:
                return resource.stream
        return super().find(name)

    def _hidden(self) -> dict[str, AuthError]:
        """The refusals by permission, found out with one row each."""
        probes: dict[str, Resource] = {}
        for resource in self.resources():
            if resource.parent is None:
                probes.setdefault(self._scope(resource), resource)
        hidden = {}
        for scope, resource in probes.items():
            try:
                self._walk(resource).probe(QUICK)
            except AuthError as error:
                if not lacks_scope(error):
                    raise
                hidden[scope] = error
        return hidden

    @staticmethod
    def _scope(resource: Resource) -> str:
        return resource.scope or resource.name

    # -- planning ----------------------------------------------------------------------------------------------------

    def plan(self, selections: Sequence[Selection]) -> Sequence[Read]:
        """One read each; ConfigError where the cursor isn't the one that the service filters by."""
        for selection in selections:
            resource = self._resource(selection)
            follows = selection.read_mode is not ReadMode.FULL or selection.cursor_field is not None
            if follows and selection.cursor_field not in (resource.cursor_field, None):
                raise ConfigError(
                    f"{resource.name} can't be followed by {selection.cursor_field}",
                    hint=f"The service filters by {resource.cursor_field or 'no column'}: read in full otherwise.",
                )
            if selection.read_mode is ReadMode.INCREMENTAL and selection.cursor_field is None:
                raise ConfigError(
                    f"an incremental read of {resource.name} needs a cursor field",
                    hint=f"Name {resource.cursor_field}." if resource.cursor_field else "Read it in full.",
                )
            if selection.cursor_field is not None and selection.look_back is not None:
                type_ = resource.schema.field(selection.cursor_field).type
                counted = pa.int32() if pa.types.is_date(type_) else pa.int64()
                example = pa.scalar(0, counted).cast(type_).as_py()
                earlier(example, selection.look_back, selection.cursor_field)
        return super().plan(selections)

    def _resource(self, selection: Selection) -> Resource:
        name = selection.stream.name
        for resource in self.resources():
            if resource.name == name:
                return resource
        raise ConfigError(f"there is no stream {name!r} here", hint="It was there when the task was set up.")

    def _walk(self, resource: Resource) -> Walk:
        return Walk(self.http, resource, self._above(resource), workers=self.workers)

    def _above(self, resource: Resource) -> Resource | None:
        parent = resource.parent
        return next(one for one in self.resources() if one.name == parent.stream) if parent is not None else None

    # -- reading -----------------------------------------------------------------------------------------------------

    def read(self, read: Read, since: Position | None) -> Iterator[Change]:
        """Yield the rows, and Checkpoints: behind pages that came in the cursor's order, and at the end."""
        (selection,) = read.selections
        resource, full = self._resource(selection), selection.read_mode is ReadMode.FULL
        cursor = resource.cursor_field if selection.read_mode is ReadMode.LOG else selection.cursor_field
        since = since if since and not full else None
        flow = Flow(resource, selection, cursor)
        wish = Wish(
            schema=flow.wanted,
            open_=flow.open_,
            cursor=cursor,
            lower=_lower(selection, cursor, since),
            full=full,
            keys=flow.keys,
        )
        followed: Followed | None = None
        ordered = 0
        with closing(self._walk(resource).pages(wish)) as pages:  # type: ignore[type-var]
            for came in pages:
                self.context.check_cancelled()
                if cursor is not None and followed is None:
                    followed = self._followed(resource, cursor, selection, since, came)
                if came.batch.num_rows or came.rejected:
                    yield from flow.changes(came, followed, later=since is not None)
                ordered += came.ordered
                if came.ordered and followed is not None and ordered % self.checkpoint_pages == 0:
                    yield from flow.rest()
                    yield Checkpoint(followed.position())
        yield from flow.rest()
        if cursor is not None and followed is None:
            followed = Followed(cursor, since, deduplicate=False, ceiling=None)
        yield Checkpoint(followed.position() if followed else {})

    def _followed(
        self, resource: Resource, cursor: str, selection: Selection, since: Position | None, came: Came
    ) -> Followed:
        type_, above = resource.schema.field(cursor).type, self._above(resource) or resource
        ceiling = None
        if pa.types.is_timestamp(type_) and type_.tz is not None and above.cursor is not None:
            ceiling = present(came.headers) - above.cursor.hold_back
        deduplicate = selection.read_mode is ReadMode.INCREMENTAL and selection.deduplicate
        return Followed(cursor, since, deduplicate=deduplicate, ceiling=ceiling)

    def close(self) -> None:
        """Let go of connections."""
        if self._http is not None:
            self._http.close()


def hidden_note(resources: Sequence[Resource]) -> str:
    """A sentence that names what the credentials may not read, and the permissions that are missing."""
    names = ", ".join(one.name for one in resources)
    scopes = ", ".join(dict.fromkeys(one.scope for one in resources if one.scope))
    return f"These credentials may not read {names}{f'; they lack: {scopes}' if scopes else ''}."


def present(headers: Mapping[str, str]) -> datetime:
    """The moment by the service's own clock, where an answer tells it."""
    try:
        told = parsedate_to_datetime(headers.get("date", ""))
    except ValueError:
        return datetime.now(UTC)
    return told.astimezone(UTC) if told.tzinfo else told.replace(tzinfo=UTC)


def _lower(selection: Selection, cursor: str | None, since: Position | None) -> Any:
    """The first cursor value to ask for; None: from the beginning."""
    if since is None or cursor is None or since.get("cursor") is None:
        return None
    return earlier(decode(since["cursor"]), selection.look_back, cursor)
