"""Salesforce as a source: objects as streams, read by REST or in bulk jobs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

import pyarrow as pa

from suiro.connectors.salesforce.asked import rows_of
from suiro.connectors.salesforce.bulk import Job
from suiro.connectors.salesforce.config import SalesforceConfig
from suiro.connectors.salesforce.decode import Decoder
from suiro.connectors.salesforce.deletes import check_columns
from suiro.connectors.salesforce.describe import ID, SYSTEM_TIMES, Descriptions, SObject, stream_of
from suiro.connectors.salesforce.extent import Extent
from suiro.connectors.salesforce.org import Org
from suiro.connectors.salesforce.parts import id_ranges
from suiro.connectors.salesforce.positions import joined
from suiro.connectors.salesforce.query import Pages, batches, count_of
from suiro.connectors.salesforce.reading import Reading
from suiro.connectors.salesforce.soql import Query, checked
from suiro.model.change import Change
from suiro.model.errors import ConfigError, UserError
from suiro.model.schema import Json, Position, ReadMode, Stream
from suiro.model.selection import Selection
from suiro.spi.context import Context
from suiro.spi.powers import Queries
from suiro.spi.source import Read, Source
from suiro.toolkit.sql.source import has_cursor_type
from suiro.toolkit.sql.unreadable import rejected_apart

_MOST_PARTS: Final = 1_000


class SalesforceSource(Source[SalesforceConfig], Queries):
    """Objects that the user may query.

    Positions: `{}` after full reads without a cursor; else see `positions`. An incremental read asks for rows at or
    past the last cursor value, and, where that is a time of Salesforce's, before a moment that is held back.
    """

    def __init__(self, config: SalesforceConfig, context: Context) -> None:
        super().__init__(config, context)
        self._org = Org(config, context)
        self._descriptions = Descriptions(self._org)
        self._counts: dict[str, int | None] = {}  #: by query
        self._kept: list[Job] = []  #: bulk jobs that positions name

    @property
    def takes_ranges(self) -> bool:
        """Yes."""
        return True

    def check(self) -> None:
        self._descriptions.forget()
        if not self._descriptions.names():
            raise ConfigError(
                "the sign-in works, but this user may query no objects",
                hint="Let the administrator give the user read access to objects, by a permission set.",
            )

    def discover(self) -> Iterator[Stream]:
        for described in self._descriptions.all():
            yield stream_of(described, self.config)

    def find(self, name: str) -> Stream:
        described = self._descriptions.named(name)
        try:
            rows = self._count(self._all(described.name))
        except UserError as error:  # some objects are read with a condition only
            self.context.log.info("the rows of %s can't be counted: %s", described.name, error.message)
            rows = None
        return stream_of(described, self.config, rows)

    def close(self) -> None:
        self._org.close()

    # -- planning ----------------------------------------------------------------------------------------------------

    def plan(self, selections: Sequence[Selection]) -> Sequence[Read]:
        """One read for each selection; for very large objects several, each of a range of record ids."""
        return [read for selection in selections for read in self._reads(selection)]

    def _reads(self, selection: Selection) -> Iterator[Read]:
        described = self._descriptions.described(selection.stream.name)
        self._check_cursor(selection)
        followed = selection.read_mode is ReadMode.LOG or selection.cursor_field in SYSTEM_TIMES
        back = self.config.hold_back
        now = self._org.now(exactly=followed and not back)
        bounds: dict[str, Json] = {"now": now.isoformat()}
        if followed:  # up to the end of this second, if nothing is held back: what has its time is read again
            bounds["until"] = (now - timedelta(seconds=back or -1)).isoformat()
        read = Read(key=selection.stream.name, selections=(selection,), bounds=bounds)
        if selection.read_mode is ReadMode.LOG:
            check_columns(self._extent(read, None))
        rows = self._rows(selection)
        cuttable = selection.cursor_field is None or followed
        if rows is None or rows <= self.config.part_rows or not cuttable or selection.window or not _by_id(described):
            yield read
            return
        query = replace(self._all(described.name), fields=(ID,))
        least, greatest = self._first_id(query, descending=False), self._first_id(query, descending=True)
        number = min(-(-rows // self.config.part_rows), _MOST_PARTS)
        for part, (first, behind) in enumerate(id_ranges(least, greatest, number)):
            yield replace(read, key=f"{read.key}:{part}", bounds={**bounds, "part": part, "from": first, "to": behind})

    def _check_cursor(self, selection: Selection) -> None:
        name, stream = selection.cursor_field, selection.stream
        if name is None:
            if selection.read_mode is ReadMode.INCREMENTAL:
                raise ConfigError(
                    f"an incremental read of {stream.name} needs a cursor field",
                    hint=f"Name it, best {SYSTEM_TIMES[0]}, which moves with every change.",
                )
            return
        at = stream.schema.get_field_index(name)
        if at < 0:
            raise ConfigError(f"{stream.name} has no column {name}", hint="Choose another cursor field.")
        type_ = stream.schema.field(at).type
        if name not in stream.cursor_fields or not has_cursor_type(type_):
            raise ConfigError(
                f"{name} of {stream.name} can't be a cursor",
                hint=f"Choose a number, date or time by which Salesforce filters and sorts: "
                f"{', '.join(stream.cursor_fields[:5])}.",
            )
        wanted = timedelta if pa.types.is_temporal(type_) else int
        if selection.look_back is not None and not isinstance(selection.look_back, wanted):
            raise ConfigError(
                f"the look-back window {selection.look_back} doesn't suit the cursor {name}, which is {type_}",
                hint="Give a duration for dates and times, a number for numbers.",
            )

    def _rows(self, selection: Selection) -> int | None:
        """How many rows the selection has in all; the condition is tried by that."""
        query = self._all(selection.stream.name)
        if selection.where is None:
            return self._count(query)
        try:
            return self._count(query.also(checked(selection.where)))
        except UserError as error:
            raise ConfigError(
                f"the condition for {selection.stream.name} is wrong: {error.message}",
                hint="Write it in SOQL, as it would stand after WHERE, with the fields' API names.",
            ) from error

    def _all(self, name: str) -> Query:
        return Query(object=name, fields=(), deleted=self.config.include_deleted)

    def _count(self, query: Query) -> int | None:
        if query.count not in self._counts:
            self._counts[query.count] = count_of(self._org, query)
        return self._counts[query.count]

    def _first_id(self, query: Query, *, descending: bool) -> str:
        query = replace(query, order=ID, descending=descending, limit=1)
        decoder = Decoder(pa.schema([(ID, pa.string())]))
        for batch in batches(self._org, query, Pages(self._org, query), decoder):
            return str(batch.column(0)[0].as_py())
        return ""

    # -- reading -----------------------------------------------------------------------------------------------------

    def read(self, read: Read, since: Position | None) -> Iterator[Change]:
        extent = self._extent(read, since)
        changes = Reading(self._org, extent, self._kept.append).changes()
        found = rejected_apart(changes) if extent.selection.rejects else changes
        with closing(found):  # type: ignore[type-var]
            yield from found

    def join(self, parts: Sequence[Position]) -> Position:
        return parts[0] if len(parts) == 1 else joined(parts)

    def acknowledge(self, upto: Position) -> None:
        """Bulk jobs whose rows are all published are taken away."""
        if "resume" not in upto:
            while self._kept:
                self._kept.pop().delete()

    def query(self, sql: str) -> Iterator[pa.RecordBatch]:
        yield from rows_of(self._org, self._descriptions, sql)

    def _extent(self, read: Read, since: Position | None) -> Extent:
        described = self._descriptions.described(read.selections[0].stream.name)
        told = read.bounds.get("now")
        now = datetime.fromisoformat(told) if isinstance(told, str) else self._org.now()
        return Extent.of(self.config, described, read, since, self._org.session.organization, now)


def _by_id(described: SObject) -> bool:
    found = described.field(ID)
    return described.has_id and found is not None and found.sortable and found.filterable
