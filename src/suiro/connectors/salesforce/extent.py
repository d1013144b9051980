"""Which rows one read asks for: the conditions on its cursor and record ids, and what its position says of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from suiro.connectors.salesforce.config import SalesforceConfig
from suiro.connectors.salesforce.describe import DELETED, ID, SYSTEM_TIMES, SObject, formulas
from suiro.connectors.salesforce.soql import Query, below, checked, least, literal, name_of
from suiro.model.errors import ResyncRequired
from suiro.model.schema import Json, Position, ReadMode
from suiro.model.selection import Selection
from suiro.spi.source import Read
from suiro.toolkit.boundary import decode
from suiro.toolkit.sql.source import earlier


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """What one read asks for. `since` is the position it goes on from; None: it begins."""

    config: SalesforceConfig
    described: SObject
    selection: Selection
    bounds: Mapping[str, Json]
    since: Position | None
    now: datetime

    @classmethod
    def of(cls, config: SalesforceConfig, described: SObject, read: Read, since: Position | None, org: str | None,
           now: datetime) -> Extent:  # fmt: skip
        """ResyncRequired where the position is another organisation's."""
        (selection,) = read.selections
        if selection.read_mode is ReadMode.FULL or not since:
            since = None
        elif org is not None and since.get("org") not in (None, org):
            raise ResyncRequired(
                f"the last read was of the organisation {since.get('org')}, and this is {org}",
                hint="Check the connection. If the organisation was replaced (a sandbox refreshed), resync the task.",
            )
        return cls(config=config, described=described, selection=selection, bounds=read.bounds, since=since, now=now)

    def going_on_from(self, since: Position | None) -> Extent:
        """The same from another position."""
        return replace(self, since=since)

    @property
    def is_log(self) -> bool:
        """Whether changes are read, deletes among them."""
        return self.selection.read_mode is ReadMode.LOG

    @property
    def cursor(self) -> str | None:
        """The field that tells new rows from old."""
        return SYSTEM_TIMES[0] if self.is_log else self.selection.cursor_field

    @property
    def until(self) -> datetime | None:
        """The moment before which changes are read; the cursor is a system's time then."""
        told = self.bounds.get("until")
        return datetime.fromisoformat(told) if isinstance(told, str) else None

    @property
    def splits(self) -> bool:
        """Whether several queries, one after the other, may read it: no change between them is behind the position."""
        return self.cursor is None or self.until is not None

    @property
    def leaves_to_others(self) -> bool:
        """Whether another part reads all: what is new since a position is little."""
        return self.since is not None and self.bounds.get("part") not in (None, 0)

    @property
    def schema(self) -> pa.Schema:
        """The columns that are asked for: the selection's, and those that are needed beside them."""
        names = list(self.selection.columns)
        more = [self.cursor, ID if self.described.has_id else None, DELETED if self.is_log else None]
        names += [name for name in more if name is not None and name not in names]
        return pa.schema([self._field(name) for name in names])

    @property
    def refreshes(self) -> bool:
        """Whether it is time to read all rows again, for the sake of formulas."""
        hours, selection = self.config.formula_refresh, self.selection
        if hours is None or self.since is None or selection.deduplicate:
            return False
        if not formulas(self.described, selection.columns):
            return False
        last = self.since.get("formulas")
        return not isinstance(last, str) or self.now - datetime.fromisoformat(last) >= timedelta(hours=hours)

    @property
    def lower(self) -> Any:
        """The least cursor value that is asked for; None: from the beginning."""
        if self.since is None or self.cursor is None or self.refreshes:
            return None
        last = decode(self.since["cursor"])
        if last is None:
            return None
        if self.selection.look_back is not None:
            return earlier(last, self.selection.look_back, self.cursor)
        until = self.since.get("until")
        if self.selection.deduplicate or not isinstance(until, str):
            return last
        return min(last, datetime.fromisoformat(until) - timedelta(seconds=self.config.look_back))

    def query(self, start: Any = None, stop: Any = None) -> Query:
        """The query for all of it, or for a window of the cursor."""
        has_id = self.described.has_id
        deleted = self.config.include_deleted or (self.is_log and self.since is not None)
        sortable = has_id and (found := self.described.field(ID)) is not None and found.sortable
        query = Query(
            object=self.described.name,
            fields=tuple(self.schema.names),
            order=ID if sortable else None,
            deleted=deleted,
        )
        selection = self.selection
        if selection.where is not None:
            query = query.also(checked(selection.where))
        if not self.leaves_to_others and self.since is None:
            query = query.also(*self._ids())
        return self._ranged(query, start, stop)

    def keeps(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The rows that are exactly within the bounds, where SOQL compares whole seconds."""
        if self.cursor is None:
            return batch
        column = batch.column(self.cursor)
        for value, compare in ((self.lower, pc.greater_equal), (self.until, pc.less)):
            if isinstance(value, datetime) and value.microsecond:
                kept = pc.fill_null(compare(column, pa.scalar(value, column.type)), self.since is None)
                batch = batch.filter(kept)
                column = batch.column(self.cursor)
        return batch

    def _ranged(self, query: Query, start: Any, stop: Any) -> Query:
        cursor = self.cursor
        if cursor is None:
            return query
        lower, upper = self.lower, self.until
        if lower is not None:
            query = query.also(least(cursor, lower))
        elif self.since is not None and not self.refreshes:
            query = query.also(f"{name_of(cursor)} != null")
        start = self.selection.start if start is None else start
        stop = self.selection.stop if stop is None else stop
        if start is not None:
            query = query.also(least(cursor, start))
        empty = f" OR {name_of(cursor)} = null" if self.since is None and start is None else ""
        for end in (stop, upper):
            if end is not None:
                said = below(cursor, end)
                query = query.also(f"({said}{empty})" if empty and self._nillable(cursor) else said)
        return query

    def _ids(self) -> list[str]:
        first, behind = self.bounds.get("from"), self.bounds.get("to")
        said = [f"{ID} >= {literal(first)}"] if isinstance(first, str) else []
        return said + ([f"{ID} < {literal(behind)}"] if isinstance(behind, str) else [])

    def _nillable(self, name: str) -> bool:
        found = self.described.field(name)
        return found is None or found.nillable

    def _field(self, name: str) -> pa.Field:
        at = self.selection.stream.schema.get_field_index(name)
        if at >= 0:
            return self.selection.stream.schema.field(at)
        found = self.described.field(name)
        arrow = None if found is None else found.arrow()
        assert arrow is not None, name
        return arrow
