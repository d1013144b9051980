"""One read of an object: by REST or in a bulk job, its rows in the order they come, and the positions in between."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from suiro.connectors.salesforce.bulk import Block, Gone, Job, PageEnd, ordered
from suiro.connectors.salesforce.decode import Decoder
from suiro.connectors.salesforce.deletes import Deleted, marked
from suiro.connectors.salesforce.describe import DELETED, ID, SYSTEM_TIMES
from suiro.connectors.salesforce.extent import Extent
from suiro.connectors.salesforce.org import Org
from suiro.connectors.salesforce.positions import joined, nothing, of_cursor
from suiro.connectors.salesforce.query import Pages, batches, decoded, quick_pages, wide_batches
from suiro.connectors.salesforce.soql import Query, literal
from suiro.model.change import Change, Checkpoint, Rows
from suiro.model.errors import ConnectionLost, ResyncRequired, SuiroError
from suiro.model.schema import Json, Position, ReadMode
from suiro.toolkit.boundary import Boundary
from suiro.toolkit.sql.source import later, pieces
from suiro.toolkit.sql.unreadable import Unreadable

OFTEN: Final = 96 << 20  #: bytes of rows after which it is worth while to be able to go on from here


class Reading:
    """Yields the changes of one read.

    `keep` is told of bulk jobs that a position names, and which must live until a later position is published.
    """

    def __init__(self, org: Org, extent: Extent, keep: Callable[[Job], None]) -> None:
        self._org, self._extent, self._keep = org, extent, keep
        unreadable = Unreadable(extent.cursor) if extent.selection.rejects else None
        self._decoder = Decoder(extent.schema, unreadable)
        self._boundary: Boundary | None = None
        self._more: dict[str, Json] = {}  #: of the position: what isn't of the cursor
        self._before: Position | None = None  #: what an earlier attempt read from the same job
        self._carried = 0  #: bytes since the last checkpoint

    def changes(self) -> Iterator[Change]:
        """The rows, then one Checkpoint; the same for each window of the cursor. Deletes of a log come first."""
        if self._extent.leaves_to_others:
            yield Checkpoint(nothing(self._extent.cursor))
            return
        since = self._extent.since
        resume = since.get("resume") if since else None
        if isinstance(resume, dict):
            assert since is not None
            if (yield from self._resumed(since, resume)):
                return
            self._begun_again(resume)
        yield from self._read()

    def _read(self) -> Iterator[Change]:
        extent = self._extent
        self._begin(extent.since)
        if extent.is_log:
            deleted = Deleted(self._org, extent)
            yield from deleted.changes()
            self._more["deletes"] = deleted.known.isoformat()
        for start, stop in self._windows():
            yield from self._carry(extent.query(start, stop))
            yield Checkpoint(self._position())

    # -- where it begins ---------------------------------------------------------------------------------------------

    def _begin(self, since: Position | None) -> None:
        extent = self._extent
        if extent.cursor is None:
            return
        self._boundary = Boundary(extent.cursor, since, deduplicate=since is not None and extent.selection.deduplicate)
        org = self._org.session.organization
        self._more = {"org": org} if org else {}
        if extent.cursor in SYSTEM_TIMES:
            self._more["until"] = (extent.until or extent.now).isoformat()
        if extent.config.formula_refresh is not None:
            known = None if since is None or extent.refreshes else since.get("formulas")
            self._more["formulas"] = known or extent.now.isoformat()

    def _resumed(self, since: Position, resume: dict[str, Json]) -> Generator[Change, None, bool]:
        """Go on in the job that an earlier attempt read from; returns whether that could be done."""
        columns = resume.get("columns")
        if not isinstance(columns, list) or not set(self._extent.schema.names) <= set(map(str, columns)):
            return False
        origin = resume.get("since")
        self._begin(origin if isinstance(origin, dict) else None)
        self._before = since
        self._more = {name: since[name] for name in ("org", "until", "formulas", "deletes") if name in since}
        job = Job(self._org, str(resume["job"]))
        job.named = True
        self._keep(job)
        try:
            job.wait()
            yield from self._of_job(job, str(resume["locator"]), int(str(resume["rows"])))
        except Gone:
            return False
        yield Checkpoint(self._position())
        return True

    def _begun_again(self, resume: dict[str, Json]) -> None:
        """The job is gone: rows of it that were carried come again, which only those who merge can bear."""
        extent = self._extent
        if extent.selection.deduplicate:
            raise ResyncRequired(
                f"the bulk job {resume.get('job')}, from which {extent.described.name} was being read, is gone",
                hint="Which of its rows were carried can't be told any more: read the stream anew.",
            )
        origin = resume.get("since")
        self._extent, self._before = extent.going_on_from(origin if isinstance(origin, dict) else None), None

    def _windows(self) -> Iterator[tuple[Any, Any]]:
        """The bounds of each window of the cursor, or one without bounds."""
        window, cursor = self._extent.selection.window, self._extent.cursor
        first = self._end(descending=False) if window is not None and cursor is not None else None
        last = self._end(descending=True) if first is not None else None
        if window is None or cursor is None or first is None or last is None:
            yield None, None
            return
        start, stop = None, later(first, window, cursor)
        while stop is not None and stop <= last:
            yield start, stop
            start, stop = stop, later(stop, window, cursor)
        yield start, None

    def _end(self, *, descending: bool) -> Any:
        """The first cursor value of the rows in that order; None if there are none."""
        cursor = self._extent.cursor
        assert cursor is not None
        query = self._extent.query().also(f"{cursor} != null")
        query = replace(query, fields=(cursor,), order=cursor, descending=descending, limit=1)
        decoder = Decoder(pa.schema([self._extent.schema.field(cursor)]))
        for batch in batches(self._org, query, Pages(self._org, query), decoder):
            return batch.column(0)[0].as_py()
        return None

    # -- rows --------------------------------------------------------------------------------------------------------

    def _carry(self, query: Query) -> Iterator[Change]:
        """All rows of a query, the way that suits it: few by REST, and of many the first, so that they come at once."""
        config = self._org.config
        pages: Pages | None = None
        if config.api == "rest" or not _by_bulk(self._extent.schema):
            yield from self._by_rest(query, None)
            return
        if config.api == "auto" and query.fits:
            pages = quick_pages(self._org, query)
            if pages is not None and pages.rows < config.bulk_from:
                yield from self._by_rest(query, pages)
                return
            if pages is not None and pages.first and query.order == ID and self._extent.splits:
                for batch in decoded(self._org, query, pages.first, self._decoder):
                    yield from self._told(batch)
                query = query.also(f"{ID} > {literal(pages.first[-1][ID])}")
                pages = None
        yield from self._by_job_if_any(query, pages)

    def _by_job_if_any(self, query: Query, pages: Pages | None) -> Iterator[Change]:
        """Its rows in a job, or by REST where Salesforce takes none."""
        job = ordered(self._org, replace(query, order=None))
        if not isinstance(job, SuiroError):
            yield from self._by_job(job)
            return
        if self._org.config.api == "bulk":
            raise job
        self._org.context.log.info("%s; read by REST", job.message)
        yield from self._by_rest(query, pages)

    def _by_rest(self, query: Query, pages: Pages | None) -> Iterator[Change]:
        if query.fits:
            found = batches(self._org, query, pages or Pages(self._org, query), self._decoder)
        else:
            stamp = SYSTEM_TIMES[0] if self._extent.described.field(SYSTEM_TIMES[0]) else None
            found = wide_batches(self._org, query, stamp, self._decoder)
        with closing(found):  # type: ignore[type-var]
            for batch in found:
                yield from self._told(batch)

    def _by_job(self, job: Job) -> Iterator[Change]:
        """The rows of a new job, which is taken away at the end, unless a position names it."""
        try:
            job.wait()
            yield from self._of_job(job, None, 0)
        except Gone as error:
            raise ConnectionLost(f"the bulk job {job.id} was taken away while it was read") from error
        finally:
            if not job.named:
                job.delete()

    def _of_job(self, job: Job, locator: str | None, done: int) -> Iterator[Change]:
        """Its rows from there on; a checkpoint at the end of a page now and then, where reads can be resumed."""
        page = 0
        with job.items(locator) as items:
            for item in items:
                if isinstance(item, Block):
                    for batch in self._decoder.batches(item.names, item.rows):
                        page += batch.num_rows
                        yield from self._told(batch)
                    continue
                if item.rows not in (None, page):
                    raise ConnectionLost(f"a page of the bulk job {job.id} has {item.rows:,} rows, and {page:,} came")
                done, page = done + page, 0
                if item.locator is not None and self._carried >= OFTEN and self._resumable:
                    yield self._midway(job, item, done)
        if done != job.rows:
            raise ConnectionLost(f"the bulk job {job.id} has {job.rows:,} rows, and {done:,} came")

    def _told(self, batch: pa.RecordBatch) -> Iterator[Change]:
        """The rows of a batch that are to be carried, as the selection has them."""
        selection = self._extent.selection
        for piece in pieces(self._extent.keeps(batch)):
            self._org.context.check_cancelled()
            kept, known = self._boundary.pass_through(piece) if self._boundary else (piece, 0)
            data = kept.select(list(selection.columns))
            if self._extent.is_log:
                gone = pc.fill_null(kept.column(DELETED), False)
                there = "u" if self._extent.since else "c"
                data = marked(data, pc.if_else(gone, "d", there), kept.column(SYSTEM_TIMES[0]))
            self._carried += data.nbytes
            if data.num_rows or known:
                yield Rows(selection.stream.name, data, deduplicated=known)

    # -- positions ---------------------------------------------------------------------------------------------------

    @property
    def _resumable(self) -> bool:
        """Whether a read may be published in part, and another one go on from there."""
        selection = self._extent.selection
        whole = selection.window is None and "part" not in self._extent.bounds
        return whole and selection.read_mode is not ReadMode.FULL

    def _midway(self, job: Job, end: PageEnd, done: int) -> Checkpoint:
        if not job.named:
            self._keep(job)
        self._carried, job.named = 0, True
        origin = self._extent.since
        if origin is not None and isinstance(origin.get("resume"), dict):
            origin = origin["resume"].get("since")  # type: ignore[union-attr, assignment]
        resume: dict[str, Json] = {
            "job": job.id,
            "locator": end.locator,
            "rows": done,
            "columns": list(self._extent.schema.names),
            "since": None if origin is None else dict(origin),
        }
        return Checkpoint({**self._cursor_now(), **self._more, "resume": resume})

    def _cursor_now(self) -> dict[str, Json]:
        assert self._boundary is not None
        now = of_cursor(self._boundary.position())
        return now if self._before is None else of_cursor(joined([of_cursor(self._before), now]))

    def _position(self) -> Position:
        """Behind all that was carried. A read that found nothing new leaves the position as it was."""
        if self._boundary is None:
            return {}
        now, since = self._cursor_now(), self._extent.since
        settled = since is not None and "resume" not in since and not self._extent.is_log
        if settled and not self._extent.refreshes and since is not None and now == of_cursor(since):
            return since
        return {**now, **self._more}


def _by_bulk(schema: pa.Schema) -> bool:
    """Whether bulk jobs can read all of these columns: no compound ones, and no bytes."""
    return not any(isinstance(f.type, pa.BaseExtensionType) or pa.types.is_binary(f.type) for f in schema)
