"""Rows sent in bulk jobs along a journal, so that a sending that was broken off anywhere is gone on with, not repeated.

Notes, each durable before what comes after it:

    {"job": id, "version": ..., "rows": [[first, last], ...]}      made; nothing runs before it is closed
    {"aborted": id}                                                by a later attempt, which found it not filled
    {"uploaded": id}                                               filled; from here on it alone may do these rows
    {"dropped": id}                                                never closed: another sending of these rows was first

A job that was noted and never filled is aborted, and another one made. One that was filled is closed (once more) and
waited for. One that is gone can't be asked any more: what became of its rows is unknown, and they aren't sent again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np

from suiro.connectors.salesforce.ingest import FAILED, MOST_BYTES, SUCCESSFUL, UNPROCESSED, Gone, IngestJob, made
from suiro.connectors.salesforce.org import Org
from suiro.connectors.salesforce.outcomes import Matcher, Told, done, given_up, is_passing, of_text
from suiro.connectors.salesforce.wire import Written
from suiro.model.errors import RateLimited, SuiroError, TransientError
from suiro.model.writeback import Action, Order, Outcome, RowResult
from suiro.spi.application import Journal

TRIES: Final = 4  #: jobs that a row goes into as long as it is refused for passing reasons
_UPLOADS: Final = 5  #: of the same rows, where they break off
_PAUSE: Final = 2.0  #: seconds before rows are tried again; twice as long before each time after it
_LOST: Final = (
    "the bulk job {} isn't kept by Salesforce any more, so what became of this row can't be learned: "
    "look whether its record is as it should be"
)
_UNSAID: Final = "Salesforce told nothing of this row in any result of the bulk job {}"


class NoJobs(Exception):
    """Salesforce takes no bulk job for this object."""

    def __init__(self, why: SuiroError) -> None:
        super().__init__(why.message)
        self.why = why


class Sending:
    """The sending of an order's rows in jobs. `waiting`: rows that were refused for passing reasons at last."""

    def __init__(
        self, org: Org, order: Order, written: Written, journal: Journal, fields: frozenset[str] = frozenset()
    ) -> None:
        """`fields`: the object's, by which those that an error is about are told from its other words."""
        self._org, self._order, self._written, self._journal = org, order, written, journal
        self._fields = fields
        self._tried: dict[int, int] = {}  #: by row, the jobs that it was in
        self._known: list[str] = []  #: filled jobs, in their order
        self.waiting: list[int] = []

    def results(self, rows: Sequence[int], few: int) -> Iterator[RowResult]:
        """One answer for each row, but for those `waiting`, where few are left that may go another way.

        NoJobs, where the rows that weren't answered weren't sent either.
        """
        fates = self._resumed()
        yield from (fate for fate in fates.values() if not is_passing(fate))
        self.waiting = [row for row, fate in fates.items() if is_passing(fate)]
        fresh = [row for row in rows if row not in fates]
        while fresh or self.waiting:
            if not fresh:
                if self._order.action is not Action.INSERT and len(self.waiting) <= few:
                    return
                self._org.context.wait(_PAUSE * 2 ** (max(self._tried[row] for row in self.waiting) - 1))
            part = self._part(fresh or self.waiting)
            (fresh or self.waiting)[: len(part)] = []
            for fate in self._settled(self._sent(part), part):
                if not is_passing(fate):
                    yield fate
                elif self._tried[fate.row] >= TRIES:
                    yield given_up(fate)
                else:
                    self.waiting.append(fate.row)

    def _part(self, rows: Sequence[int]) -> list[int]:
        """As many of the rows as go into one job; at least one."""
        ends = np.cumsum(self._written.csv_bytes()[list(rows)])
        return list(rows[: max(1, int(np.searchsorted(ends, MOST_BYTES - 65_536, side="right")))])

    # -- jobs of earlier attempts ------------------------------------------------------------------------------------

    def _resumed(self) -> dict[int, RowResult]:
        """What became of the rows that were sent before."""
        notes = self._journal.notes()
        jobs = {str(note["job"]): note for note in notes if "job" in note}
        aborted, self._known, dropped = (
            [str(note[kind]) for note in notes if kind in note] for kind in ("aborted", "uploaded", "dropped")
        )
        for id_ in jobs.keys() - {*aborted, *self._known, *dropped}:
            IngestJob(self._org, id_, str(jobs[id_]["version"])).abort()
            self._journal.note({"aborted": id_})
        fates: dict[int, RowResult] = {}
        for id_ in (id_ for id_ in self._known if id_ not in dropped):
            job = IngestJob(self._org, id_, str(jobs[id_]["version"]))
            for fate in self._settled(job, _rows(jobs[id_]["rows"])):
                before = fates.get(fate.row)
                settled = before is not None and before.outcome in (Outcome.DONE, Outcome.UNKNOWN)
                if not settled or fate.outcome is Outcome.DONE:
                    fates[fate.row] = fate
        return {row: given_up(f) if is_passing(f) and self._tried[row] >= TRIES else f for row, f in fates.items()}

    # -- a new job ---------------------------------------------------------------------------------------------------

    def _sent(self, rows: Sequence[int]) -> IngestJob:
        """A job that was filled with the rows, and closed."""
        for tried in range(1, _UPLOADS + 1):
            job = self._made(rows)
            try:
                job.upload(lambda: self._written.csv(rows))
            except SuiroError as error:
                job.abort()
                passes = isinstance(error, TransientError) and not isinstance(error, RateLimited)
                if tried == _UPLOADS or not passes:
                    raise
                self._org.context.log.debug("%s; its rows go into another job", error.message)
                self._org.context.wait(_PAUSE * 2 ** (tried - 1) / 4)
            else:
                self._only(job)
                job.close()
                return job
        raise AssertionError("unreachable")

    def _made(self, rows: Sequence[int]) -> IngestJob:
        job = made(self._org, self._order)
        if isinstance(job, SuiroError):
            raise NoJobs(job)
        self._journal.note({"job": job.id, "version": job.version, "rows": _ranges(rows)})
        return job

    def _only(self, job: IngestJob) -> None:
        """Make sure that no other process, which may have taken this one for dead, was first to fill a job."""
        self._journal.note({"uploaded": job.id})
        filled = [str(note["uploaded"]) for note in self._journal.notes() if "uploaded" in note]
        if any(id_ not in self._known for id_ in filled[: filled.index(job.id)]):
            job.abort()
            self._journal.note({"dropped": job.id})
            raise TransientError("another process sends these rows", hint="Let one alone do it.")
        self._known = filled[: filled.index(job.id) + 1]

    # -- what became of a job ----------------------------------------------------------------------------------------

    def _settled(self, job: IngestJob, rows: Sequence[int]) -> list[RowResult]:
        """The fates of a job's rows, once it has ended."""
        for row in rows:
            self._tried[row] = self._tried.get(row, 0) + 1
        try:
            said = job.ended()
            return self._fates(Matcher(self._order, self._written, rows), job, said)
        except Gone:
            return [RowResult(row=row, outcome=Outcome.UNKNOWN, message=_LOST.format(job.id)) for row in rows]

    def _fates(self, matcher: Matcher, job: IngestJob, said: Any) -> list[RowResult]:
        """Each row's, by the three result sets, and by what the job's own counts say of rows in none of them."""
        fates: list[RowResult] = []
        found, strange = {}, 0
        for kind, extra in ((SUCCESSFUL, "sf__Created"), (FAILED, "sf__Error"), (UNPROCESSED, None)):
            if not matcher.left:
                break
            before = len(fates)
            for told in _told(job, matcher, kind, extra):
                row = matcher.take(told.key)
                if row is None:
                    strange += 1
                else:
                    fates.append(self._fate(row, kind, told, said))
            found[kind] = len(fates) - before
        if strange:
            self._org.context.log.warning(
                "the bulk job %s tells of %d rows that aren't among those sent", job.id, strange
            )
        lost = matcher.left
        untouched = not strange and _untouched(self._order, found, said)
        why = f"{_UNSAID.format(job.id)}{_because(said)}"
        outcome = Outcome.UNPROCESSED if untouched else Outcome.UNKNOWN
        return fates + [RowResult(row=row, outcome=outcome, message=why) for row in lost]

    def _fate(self, row: int, kind: str, told: Told, said: Any) -> RowResult:
        if kind == SUCCESSFUL:
            return done(self._order, row, told.record, created=(told.said or "").lower() == "true")
        if kind == FAILED:
            return of_text(self._order, row, told.said, self._fields)
        return RowResult(
            row=row, outcome=Outcome.UNPROCESSED, message=f"Salesforce didn't come to this row{_because(said)}"
        )


def _told(job: IngestJob, matcher: Matcher, kind: str, extra: str | None) -> list[Told]:
    if extra is None:
        return job.listed(kind, matcher.columns, lambda row: matcher.told(row, None, None))
    columns = ["sf__Id", extra, *matcher.columns]
    return job.listed(kind, columns, lambda row: matcher.told(row[2:], row[0], row[1]))


def _because(said: Any) -> str:
    why = said.get("errorMessage")
    return f": the job ended as {said.get('state')}{f', {why}' if why else ''}"


def _untouched(order: Order, found: dict[str, int], said: Any) -> bool:
    """Whether the job's own counts prove that rows in none of its results weren't touched.

    Unverified: that the number of processed records includes those that failed. So, where a repetition would show,
    nothing is proved if any failed.
    """
    processed, good, bad = said.get("numberRecordsProcessed"), found.get(SUCCESSFUL, 0), found.get(FAILED, 0)
    if not isinstance(processed, int) or processed > good + bad:
        return False
    return order.action is not Action.INSERT or (not bad and processed == good)


def _ranges(rows: Sequence[int]) -> list[Any]:
    """Rows as ranges, first and last."""
    found: list[list[int]] = []
    for row in rows:
        if found and found[-1][1] == row - 1:
            found[-1][1] = row
        else:
            found.append([row, row])
    return found


def _rows(ranges: Any) -> list[int]:
    return [row for first, last in ranges for row in range(first, last + 1)]
