"""Mutants of the engine: each breaks one thing that the engine does, by a patch while a test runs.

A mutant's function patches; its docstring says what is broken. All of them are in MUTANTS, by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

import pyarrow as pa
import pytest

from suiro.engine import absences, carry
from suiro.engine.buffer import Buffer
from suiro.engine.carry import Attempt
from suiro.engine.load import Load
from suiro.engine.rejected import Rejects
from suiro.engine.replicate import _Work
from suiro.engine.transform import RowFilter, Transform
from suiro.engine.verify import Account
from suiro.model.change import Change, Checkpoint, Rows
from suiro.model.errors import ConnectionLost, DataError
from suiro.model.receipt import Entered
from suiro.model.run import Status
from suiro.model.schema import Position
from suiro.model.summary import EMPTY, Summary
from suiro.spi.destination import Marker, Published, Staged
from suiro.testing.memory import MemoryDestination, MemoryStage

Patch = pytest.MonkeyPatch


def _around(patch: Patch, owner: type, name: str, change: Callable[..., Any]) -> None:
    """Have `change(original, self, ...)` in the place of a method."""
    original = getattr(owner, name)
    patch.setattr(owner, name, lambda self, *args, **options: change(original, self, *args, **options))


# -- rows --------------------------------------------------------------------------------------------------------------


def drops_the_last_row_in_the_transform(patch: Patch) -> None:
    """The last row of every batch is lost where rows are cast."""

    def change(original: Any, self: Transform, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, int]:
        kept, filtered = original(self, batch)
        return kept.slice(0, max(kept.num_rows - 1, 0)), filtered

    _around(patch, Transform, "apply", change)


def drops_the_last_row_and_calls_it_filtered(patch: Patch) -> None:
    """As before, and the account is made to add up."""

    def change(original: Any, self: Transform, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, int]:
        kept, filtered = original(self, batch)
        return kept.slice(0, max(kept.num_rows - 1, 0)), filtered + min(kept.num_rows, 1)

    _around(patch, Transform, "apply", change)


def drops_the_last_row_before_anything_counts(patch: Patch) -> None:
    """The last row of every batch is lost between reader and writer."""
    _around(patch, Attempt, "_write", lambda original, self, rows: original(self, _less(rows)))


def drops_the_last_row_of_a_load(patch: Patch) -> None:
    """The stage gets one row less than was added up."""

    def change(original: Any, self: MemoryStage, data: pa.RecordBatch) -> None:
        original(self, data.slice(0, max(data.num_rows - 1, 0)))

    _around(patch, MemoryStage, "write", change)


def writes_a_batch_twice(patch: Patch) -> None:
    """The stage gets every batch twice."""

    def change(original: Any, self: MemoryStage, data: pa.RecordBatch) -> None:
        original(self, data)
        original(self, data)

    _around(patch, MemoryStage, "write", change)


def writes_a_batch_twice_and_adds_it_up_twice(patch: Patch) -> None:
    """Every batch is loaded twice, and the load's own sum agrees."""

    def change(original: Any, self: Load, data: pa.RecordBatch) -> None:
        original(self, data)
        original(self, data)

    _around(patch, Load, "write", change)


def leaves_out_a_piece(patch: Patch) -> None:
    """A batch that is cut into pieces loses its second half."""
    patch.setattr(carry, "_pieces", lambda data, most: iter([data.slice(0, (data.num_rows + 1) // 2)]))


def reverses_the_batches(patch: Patch) -> None:
    """Batches are written in the opposite order of their arrival."""

    def change(original: Any, self: Buffer[Change]) -> Iterator[Change]:
        waiting: list[Change] = []
        for item in original(self):
            if isinstance(item, Rows):
                waiting.insert(0, item)
            else:
                yield from waiting
                waiting = []
                yield item
        yield from waiting

    _around(patch, Buffer, "_drain", change)


def ends_quietly_when_the_source_breaks(patch: Patch) -> None:
    """What the reader raises after a checkpoint is taken for the end."""

    def change(original: Any, self: Buffer[Change]) -> Iterator[Change]:
        with suppress(ConnectionLost):
            yield from original(self)

    _around(patch, Buffer, "_drain", change)


def stops_at_the_first_checkpoint(patch: Patch) -> None:
    """What comes after the first checkpoint isn't carried."""

    def change(original: Any, self: Buffer[Change]) -> Iterator[Change]:
        for item in original(self):
            yield item
            if isinstance(item, Checkpoint):
                return

    _around(patch, Buffer, "_drain", change)


def forgets_the_filter(patch: Patch) -> None:
    """Rows that a condition leaves out are carried."""
    _around(patch, RowFilter, "keep", lambda original, self, batch: batch)


# -- positions and publishing ------------------------------------------------------------------------------------------


def takes_a_checkpoint_before_its_rows(patch: Patch) -> None:
    """A checkpoint overtakes the batch before it."""

    def change(original: Any, self: Buffer[Change]) -> Iterator[Change]:
        before: Change | None = None
        for item in original(self):
            if isinstance(item, Checkpoint):
                yield item
            else:
                if before is not None:
                    yield before
                before = item
        if before is not None:
            yield before

    _around(patch, Buffer, "_drain", change)


def publishes_twice(patch: Patch) -> None:
    """A load that is published is published again."""

    def change(original: Any, self: MemoryDestination, staged: Any, markers: Any, expect: Any) -> Published:
        kept = {item.location: self.store.disk.staging.get(item.location, ()) for item in staged}
        done: Published = original(self, staged, markers, expect)
        self.store.disk.staging.update(kept)
        original(self, staged, markers, expect)
        return done

    _around(patch, MemoryDestination, "publish", change)


def skips_a_checkpoint(patch: Patch) -> None:
    """Rows are published, and the marker stays where it was."""

    def change(original: Any, self: Attempt, staged: Any, position: Position, *rest: Any) -> None:
        original(self, staged, self.position or self._claim.position or {}, *rest)

    _around(patch, Attempt, "_act", change)


def saves_the_position_before_publishing(patch: Patch) -> None:
    """The marker moves in an act of its own, before that of the rows."""

    def change(original: Any, self: Attempt, staged: Any, position: Position, *rest: Any) -> None:
        if self._destination.inspect(self.plan.table) is not None:
            self._destination.publish([], [Marker(key=self._claim.key, position=position)], None)
        original(self, staged, position, *rest)

    _around(patch, Attempt, "_act", change)


def publishes_rows_without_their_marker(patch: Patch) -> None:
    """The marker moves in an act of its own, after that of the rows."""

    def change(original: Any, self: MemoryDestination, staged: Any, markers: Any, expect: Any) -> Published:
        done: Published = original(self, staged, [], expect)
        original(self, [], markers, None)
        return done

    _around(patch, MemoryDestination, "publish", change)


def acknowledges_before_publishing(patch: Patch) -> None:
    """The source is told that rows arrived before they did."""

    def change(original: Any, self: Attempt, staged: Any, position: Position, *rest: Any) -> None:
        self._acknowledge(position)
        original(self, staged, position, *rest)

    _around(patch, Attempt, "_act", change)


def never_acknowledges(patch: Patch) -> None:
    """The source is never told that rows arrived."""
    _around(patch, Attempt, "_acknowledge", lambda original, self, position: None)


def takes_an_older_position(patch: Patch) -> None:
    """A run goes on from the beginning, whatever the marker says."""
    _around(patch, Attempt, "_since", lambda original, self: None)


def forgets_which_run_it_is(patch: Patch) -> None:
    """A full read that appends doesn't know its own marker again."""

    def change(original: Any, self: MemoryDestination, key: Any, run: str) -> Any:
        claim = original(self, key, run)
        return replace(claim, position=None) if key.generation else claim

    _around(patch, MemoryDestination, "claim", change)


def publishes_at_every_checkpoint_of_a_replace(patch: Patch) -> None:
    """A table that is replaced is replaced by each part of its rows."""
    _around(patch, Attempt, "_load_is_whole", lambda original, self: self._load.rows > 0)
    _around(patch, Attempt, "_adds_up_itself", lambda original, self, *_: False)


def publishes_the_first_part_alone(patch: Patch) -> None:
    """Of a read in several parts only the first is carried."""

    def change(original: Any, self: Attempt, reads: list[Any], *rest: Any, **options: Any) -> None:
        original(self, reads[:1], *rest, **options)

    _around(patch, Attempt, "_carry_rows", change)


def forgets_the_epoch(patch: Patch) -> None:
    """A run whose task was claimed by another one publishes all the same."""
    _around(patch, MemoryDestination, "_fence", lambda original, self, disk, item: None)


def claims_again_before_publishing(patch: Patch) -> None:
    """A run that was fenced takes the task back and goes on with what it staged."""

    def change(original: Any, self: Attempt, staged: list[Staged], *rest: Any) -> None:
        kept = dict(self._destination.store.disk.staging)  # type: ignore[attr-defined]
        self._claim = self._destination.claim(self._claim.key, self._claim.run)
        self._destination.store.disk.staging.update(kept)  # type: ignore[attr-defined]
        original(self, [replace(item, claim=self._claim) for item in staged], *rest)

    _around(patch, Attempt, "_act", change)


def compares_nothing(patch: Patch) -> None:
    """What was staged is published without a look at what was read."""

    def change(original: Any, self: MemoryDestination, staged: Any, markers: Any, expect: Any) -> Published:
        done: Published = original(self, staged, markers, None)
        return done

    _around(patch, MemoryDestination, "publish", change)


def compares_only_that_there_are_rows(patch: Patch) -> None:
    """Differences between what was read and what was staged are passed over."""
    patch.setattr(Summary, "differences", lambda self, other: ())


def believes_its_own_count_alone(patch: Patch) -> None:
    """A source that adds up by itself isn't asked."""
    _around(patch, Attempt, "_adds_up_itself", lambda original, self, *_: False)


# -- the account -------------------------------------------------------------------------------------------------------


def counts_a_row_too_many(patch: Patch) -> None:
    """Every load is said to have inserted one more."""

    def change(original: Any, self: Account, expect: Summary, result: Published, beside: Entered) -> None:
        original(self, expect, replace(result, inserted=result.inserted + 1), beside)

    _around(patch, Account, "published", change)


def counts_what_came_to_nothing(patch: Patch) -> None:
    """Rows of a broken attempt stay in the account."""
    _around(patch, Account, "forget_pending", lambda original, self: None)


def forgets_what_it_counted(patch: Patch) -> None:
    """Of several loads only the last is in the account."""

    def change(original: Any, self: Account, *arguments: Any) -> None:
        self.done.read = self.done.staged = 0
        self.done.entered = Entered()
        original(self, *arguments)

    _around(patch, Account, "published", change)


def takes_silence_for_failure(patch: Patch) -> None:
    """A publish whose answer was lost is never looked for."""
    _around(patch, Attempt, "settle", lambda original, self, before: self._account.forget_pending())


def takes_silence_for_success(patch: Patch) -> None:
    """A publish whose answer was lost is taken for done, whatever the marker says."""

    def change(original: Any, self: Attempt, before: Attempt | None) -> None:
        if before is not None and before._unheard is not None:
            _, expect, beside = before._unheard
            self._account.published_unheard(expect, beside)
        self._account.forget_pending()

    _around(patch, Attempt, "settle", change)


def calls_a_lost_connection_done(patch: Patch) -> None:
    """A connection that is lost ends the run as succeeded."""

    def change(original: Any, self: _Work, status: Status, started: float) -> Any:
        original_run = Attempt.run

        def run(attempt: Attempt) -> None:
            with suppress(ConnectionLost):
                original_run(attempt)

        Attempt.run = run  # type: ignore[method-assign]
        try:
            return original(self, status, started)
        finally:
            Attempt.run = original_run  # type: ignore[method-assign]

    _around(patch, _Work, "ended", change)


# -- rejected rows and deletes -----------------------------------------------------------------------------------------


def swallows_a_rejected_row(patch: Patch) -> None:
    """A rejected row is counted and not kept."""

    def change(original: Any, self: Rejects, row: Any) -> None:
        original(self, row)
        self._waiting.clear()

    _around(patch, Rejects, "_reject", change)


def swallows_a_rejected_row_uncounted(patch: Patch) -> None:
    """A row that can't be carried is left out, and nobody learns of it."""

    def change(original: Any, self: Rejects, data: pa.RecordBatch, act: Any) -> Iterator[Any]:
        for at in range(data.num_rows):
            with suppress(DataError):
                yield act(data.slice(at, 1))

    _around(patch, Rejects, "sift", change)


def keeps_rejected_rows_twice(patch: Patch) -> None:
    """Rejected rows of a load that is published are published with the next one again."""
    _around(patch, Rejects, "published", lambda original, self: None)


def compares_some_keys(patch: Patch) -> None:
    """Of the source's keys the last batch is taken for deleted."""
    whole = absences._read_whole

    def some(*arguments: Any) -> Iterator[pa.RecordBatch]:
        found = list(whole(*arguments))
        yield from found[:-1]

    patch.setattr(absences, "_read_whole", some)


def deletes_nothing(patch: Patch) -> None:
    """Rows that the source no longer has stay."""
    patch.setattr(carry, "compare_keys", lambda *_: (0, Published(found=EMPTY, **Entered().as_dict(), notes=())))


def forgets_the_key_of_a_merge(patch: Patch) -> None:
    """Rows that were to be merged are appended."""

    def change(original: Any, self: Load, *arguments: Any, **options: Any) -> None:
        from suiro.model.selection import WriteMode, WriteSpec

        if self._spec.mode is WriteMode.MERGE:
            self._spec = WriteSpec(mode=WriteMode.APPEND)
        original(self, *arguments, **options)

    _around(patch, Load, "begin", change)


def _less(rows: Rows) -> Rows:
    return Rows(rows.stream, rows.data.slice(0, max(rows.data.num_rows - 1, 0)), deduplicated=rows.deduplicated)


MUTANTS: Final[dict[str, Callable[[Patch], None]]] = {
    name: found
    for name, found in sorted(globals().items())
    if callable(found) and getattr(found, "__module__", "") == __name__ and not name.startswith("_")
}
