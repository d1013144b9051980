"""Applications that break the contract, each in one way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from suiro.model.writeback import Action, Order, Outcome, RowResult
from suiro.testing.memory_application import MemoryApplication

if TYPE_CHECKING:
    import pyarrow as pa

    from suiro.spi.application import Journal


class NotesNothing(MemoryApplication):
    """Fills a job without noting its id before."""

    def _job(self, order: Order, values: list[dict[str, str | None]], journal: Journal) -> Iterator[RowResult]:
        yield from self._request(order, values, 0)


class NotesLate(MemoryApplication):
    """Notes a job's id once it is done."""

    def _job(self, order: Order, values: list[dict[str, str | None]], journal: Journal) -> Iterator[RowResult]:
        if journal.notes():
            yield from super()._job(order, values, journal)
            return
        job = self._org.open_job()
        self._org.fill_job(job, order.object, values)
        found = self._org.finish_job(job)
        journal.note({"job": job})
        for said in found:
            yield RowResult(row=said["row"], outcome=Outcome(said["outcome"]), record=said.get("record"))


class ForgetsNulls(MemoryApplication):
    """Takes a NULL for nothing said."""

    def _request(self, order: Order, values: Sequence[Mapping[str, str | None]], start: int) -> Iterator[RowResult]:
        yield from super()._request(order, [{n: v for n, v in row.items() if v is not None} for row in values], start)


class CreatesOnUpdate(MemoryApplication):
    """Takes an update for an upsert."""

    def _request(self, order: Order, values: Sequence[Mapping[str, str | None]], start: int) -> Iterator[RowResult]:
        for result in super()._request(order, values, start):
            refused = order.action is Action.UPDATE and result.outcome is Outcome.REFUSED
            yield RowResult(row=result.row, outcome=Outcome.DONE, record="x") if refused else result


class LosesAnAnswer(MemoryApplication):
    """Gives no answer for the last row."""

    def apply(self, order: Order, rows: pa.RecordBatch, journal: Journal) -> Iterator[RowResult]:
        yield from list(super().apply(order, rows, journal))[:-1]


class FindsOne(MemoryApplication):
    """Of several records of one key gives the first alone."""

    def present(self, object_: str, by: str, keys: pa.Array, fields: Sequence[str]) -> Iterator[pa.RecordBatch]:
        for batch in super().present(object_, by, keys, fields):
            yield batch.slice(0, 1) if by == "Company" else batch
