"""Tests of sudden death: a sending is killed before every single step; nothing is doubled or left without answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

import pyarrow as pa
import pytest

from suiro.model.writeback import Action, Order, Outcome
from suiro.spi.application import Application
from suiro.testing.application_harness import ApplicationHarness, FileJournal, outcomes
from suiro.testing.context import LocalContext
from suiro.testing.faults import STEPS, Clock, Forks, serve_forks

#: Calls before which a sending may die, beside those of `faults.STEPS`: a request leaves, an answer has come.
SENDING_STEPS: Final = ("httpx2:HTTPTransport.handle_request", "httpx2:Response.read", "httpx2:Response.iter_raw")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """One `apply`, and the step before which to die (0: none)."""

    order: Order
    rows: pa.RecordBatch
    journal: Path
    workdir: Path
    dies_at: int


class Senders(Forks):
    """Begets sendings of an application: `dies` takes a `Sending`."""

    def __init__(self, application: Application[Any], folder: Path, steps: Sequence[str]) -> None:
        super().__init__("suiro.testing.application_kills", application, folder, steps, what="sending")


def serve() -> None:
    """The server's side of `Senders`."""
    serve_forks(_sent, [*STEPS, *SENDING_STEPS])


def _sent(kind: type[Application[Any]], config: Any, sending: Sending, clock: Clock) -> None:
    application = kind(config, LocalContext(run="sending", workdir=sending.workdir))
    clock.arm(sending.dies_at)
    list(application.apply(sending.order, sending.rows, FileJournal(sending.journal)))
    clock.arm(0)
    application.close()


class ApplicationKillTests(ApplicationHarness):
    """A process that is killed, by SIGKILL, between any two steps of a sending."""

    steps: ClassVar[tuple[str, ...]] = ()  #: more calls to die before (module:path), for drivers that faults lacks
    fewest_steps: ClassVar[int] = 2  #: a sending that takes fewer means that the suite doesn't see its steps
    most_steps: ClassVar[int] = 500
    _senders: Senders | None = None

    def dies(self, order: Order, rows: pa.RecordBatch, journal: FileJournal, at: int) -> bool:
        """Send in another process that is killed before its step `at`; False: it was done before."""
        if self._senders is None:
            self._senders = Senders(self.open(), self.folder / "senders", self.steps)
        context = self.context()
        return self._senders.dies(
            Sending(order=order, rows=rows, journal=journal._path, workdir=context.workdir, dies_at=at)
        )

    def finish(self) -> None:
        """End the process that begets sendings, too."""
        if self._senders is not None:
            self._senders.close()
            self._senders = None
        super().finish()

    @pytest.mark.parametrize("action", list(Action))
    def test_killed_before_any_step_and_sent_again_with_its_journal_no_row_is_doubled(self, action: Action) -> None:
        """Every third time it dies twice, the second time over what the first left behind."""
        self.needs(action)
        facts, types = self.described()
        order, step = self.order(action), 0
        while True:
            step += 1
            assert step < self.most_steps, "the sending has no end"
            records, journal = self.records(3), self.journal()
            expected = records
            if action in (Action.UPDATE, Action.DELETE):
                ids = pa.array(self.put(records), pa.string()).cast(types.field(facts.record_id).type).to_pylist()
                rows: list[dict[str, Any]] = [{facts.record_id: id_} for id_ in ids]
                if action is Action.UPDATE:
                    rows = [{**row, self.text: f"Changed {at}"} for at, row in enumerate(rows)]
                    expected = [{**record, self.text: f"Changed {at}"} for at, record in enumerate(records)]
            else:
                rows = list(records)
            batch = self.batch(rows)
            died = self.dies(order, batch, journal, step)
            if died and step % 3 == 0:
                self.dies(order, batch, journal, step)
            results = self.apply(order, batch, journal)
            assert outcomes(results) == [Outcome.DONE] * 3, f"killed before step {step}"
            if action is Action.DELETE:
                self.assert_none([record[self.external_id] for record in records])
            else:
                self.assert_records(expected)
            if not died:
                break
        assert step > self.fewest_steps, self._unseen

    _unseen = "the suite sees almost no steps of this application: name its driver's calls in `steps`"

    @pytest.mark.parametrize("action", [Action.INSERT, Action.UPSERT])
    def test_a_sending_whose_answers_were_lost_is_answered_again_and_nothing_is_doubled(self, action: Action) -> None:
        self.needs(action)
        records, journal = self.records(4), self.journal()
        first = self.apply(self.order(action), self.batch(records), journal)
        again = self.apply(self.order(action), self.batch(records), journal)
        assert outcomes(again) == outcomes(first) == [Outcome.DONE] * 4
        assert [result.record for result in again] == [result.record for result in first]
        self.assert_records(records)
