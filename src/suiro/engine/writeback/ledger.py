"""What write-back needs of a ledger; every call has happened durably when it returns.

Implemented by the metadata store. What a ledger holds belongs to one task, and to one process at a time: Fenced from
any call that writes once another process holds it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import pyarrow as pa

from suiro.model.journal import Aim, Batch, Part, Plan, PlanState, Settled
from suiro.model.writeback import Order
from suiro.spi.application import Journal


class Known(Protocol):
    """What is known of rows, by scope: of one application's object by one key."""

    def sent(self, scope: str) -> Iterator[pa.RecordBatch]:
        """All that was sent last: columns `k`, `hash`, `record`, `own`."""

    def aside(self, scope: str) -> Iterator[pa.RecordBatch]:
        """All rows that are kept aside: columns `k`, `hash`, `kind`."""

    def reasons(self, scope: str | None, run: str | None) -> list[dict[str, Any]]:
        """Why rows are kept aside: `kind`, `code`, `message`, `rows`; most rows first."""


class Plans(Protocol):
    """Plans of the task."""

    def begin(
        self, aim: Aim, scope: str, settings: Mapping[str, Any], *, run: str | None = None, undoes: str | None = None
    ) -> Plan:
        """A new plan that is being made."""

    def get(self, id_: str) -> Plan:
        """The plan of that id; ConfigError if there is none."""

    def all(self, *states: PlanState) -> Sequence[Plan]:
        """The plans, newest first; only those in these states, if any are given."""

    def serial(self) -> int:
        """How many plans were applied; one made when they were fewer is out of date."""

    def change(
        self,
        id_: str,
        state: PlanState,
        *,
        told: Mapping[str, Any] | None = None,
        run: str | None = None,
        force: bool | None = None,
    ) -> Plan:
        """Set the state, and what else is given; the plan as it is then."""


class Batches(Protocol):
    """Batches of a plan, and what becomes of them."""

    def add(self, plan_id: str, part: Part, order: Order | None, data: pa.RecordBatch) -> None:
        """One more batch."""

    def all(self, plan_id: str) -> Sequence[Batch]:
        """The batches, in their order."""

    def rows(self, plan_id: str, number: int) -> pa.RecordBatch:
        """A batch's rows."""

    def found(self, plan_id: str, number: int) -> pa.RecordBatch | None:
        """What `sending` kept."""

    def answers(self, plan_id: str, number: int) -> pa.RecordBatch | None:
        """What `answered` kept, as `ANSWERS`."""

    def differs(self, plan_id: str, number: int) -> pa.RecordBatch | None:
        """What `compared` kept."""

    def sending(self, plan_id: str, number: int, found: pa.RecordBatch) -> None:
        """Rows are about to leave: keep how the records stand."""

    def journal(self, plan_id: str, number: int) -> Journal:
        """The notes on a batch's sending."""

    def answered(self, plan_id: str, number: int, settled: Settled, *, done: bool) -> None:
        """Keep the answers and what they change of what is known, in one act; `done`: nothing is to be read back."""

    def forgotten(self, plan_id: str, number: int, ks: Sequence[str]) -> None:
        """Keep these rows aside no more; the batch is done."""

    def compared(self, plan_id: str, number: int, differs: pa.RecordBatch | None, tally: Mapping[str, int]) -> None:
        """The batch was read back, and is done; `differs`: the rows that aren't what was sent."""


class Ledger(Protocol):
    """The ledger of one task."""

    @property
    def known(self) -> Known:
        """What is known of rows."""

    @property
    def plans(self) -> Plans:
        """The plans."""

    @property
    def batches(self) -> Batches:
        """Their batches."""
