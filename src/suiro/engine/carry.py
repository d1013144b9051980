"""One attempt at a task: the data's way from the source's reads to the destination's publish."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, assert_never

import pyarrow as pa

from suiro.engine.absences import compare_keys
from suiro.engine.buffer import Buffer, size_of
from suiro.engine.context import RunContext
from suiro.engine.evolve import drifts, incoming_schema
from suiro.engine.load import Load, give_up
from suiro.engine.moments import Moments
from suiro.engine.plan import Plan
from suiro.engine.rejected import APPENDED, TAKEN_BACK, Rejects, family, ids_table, rejected_table
from suiro.engine.retry import RetrySource
from suiro.engine.summing import SourceSummary
from suiro.engine.transform import RowFilter, Transform
from suiro.engine.verify import Account, represented
from suiro.model.change import Checkpoint, Rejected, Rows, SchemaChange, Truncate
from suiro.model.errors import ConfigError, ConnectionLost, DataError, InternalError, SchemaConflict
from suiro.model.receipt import Basis, Entered, Level
from suiro.model.run import Progress
from suiro.model.schema import Position, ReadMode, Table
from suiro.model.selection import KEYED, WriteMode
from suiro.model.summary import Summary
from suiro.spi.destination import Claim, Destination, Marker, Published, Staged
from suiro.spi.powers import SharesFormat, Summarises, TakesFormat, Wire
from suiro.spi.source import Read, Source


class Attempt:
    """From the claimed position to the end of the stream, a load at a time.

    Order, always: publish, then acknowledge; a crash between the two repeats the acknowledging and loses nothing.
    """

    def __init__(
        self,
        plan: Plan,
        source: Source[Any],
        destination: Destination[Any],
        claim: Claim,
        account: Account,
        context: RunContext,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        self.plan, self._source, self._destination, self._claim = plan, source, destination, claim
        self._account, self._context, self._tell = account, context, progress or (lambda _: None)
        self.path = "arrow"
        self.position: Position | None = claim.position
        self._unheard: tuple[Position, Summary, Entered] | None = None
        self._filter = RowFilter(plan.residual) if plan.residual else None
        self._rejects = self._made_rejects(())

    def settle(self, before: Attempt | None) -> None:
        """After a lost connection: let the marker say whether the publish under way then came about.

        Where the marker was to stay the same it says nothing; such a load is repeated, which changes nothing.
        """
        if before is not None and before._unheard is not None:
            wanted, expect, beside = before._unheard
            if self._claim.position == wanted and before.position != wanted:
                self._account.published_unheard(expect, beside)
        self._account.forget_pending()

    def run(self) -> None:
        """Carry everything; raise what stops it, with nothing of the load under way left behind."""
        if self.plan.appends_once and self._claim.position is not None:
            self._account.notes.append(f"Run {self._claim.run} appended this before; nothing was done again.")
            return
        current = self._destination.inspect(self.plan.table)
        self._check_table_key(current)
        table = self._wanted(self.plan.incoming, current)
        selection = self.plan.selection
        if current is not None and not self.plan.task.existing:
            self._account.note(drifts(self.plan.incoming, current, table))
        self._account.casts = represented(selection.stream.schema, table, self.plan.mapping)
        since = self._since()
        if isinstance(self._source, RetrySource):
            self._source.recall(family(self._claim.key), self.plan.table)
            self._rejects = self._made_rejects(self._source.ids)
            if left := self._source.left:
                self._account.note(
                    [f"{left:,} of the rejected rows stay: lines that are no row, or too long to be kept."]
                )
        reads = sorted(self._source.plan([selection]), key=lambda read: read.phase)
        wire = self._wire(reads, table)
        if wire is not None and self._hashes:
            self._account.note(["Rows passed through Arrow, not as they were, so that their hashes could be compared."])
            wire = None
        if wire is not None:
            self._carry_raw(reads[0], table, wire)
        else:
            self._carry_rows(reads, table, since, missing=current is None)
        if self.plan.compares_keys:
            context, marker = self._context, Marker(key=self._claim.key, position=self.position or {})
            compared = compare_keys(self.plan, self._source, self._destination, self._claim, marker, table, context)
            self._account.keys_compared(*compared)

    # -- rows through Arrow ------------------------------------------------------------------------------------------

    def _carry_rows(self, reads: list[Read], table: Table, since: Position | None, *, missing: bool) -> None:
        by_source = self._adds_up_itself(reads, table)
        self._begin(table, counted=by_source)
        summary = self._source_summary(reads[0]) if by_source else None
        try:
            positions = [self._carry_read(read, since, by_loads=len(reads) == 1 and not summary) for read in reads]
            position = self._source.join(positions)
            self._rejects.check_share(self._account.done.read + self._account.pending.read)
            if self._load.rows or (missing and not self._account.loads) or self._must_publish(position):
                self._publish(position, summary.result() if summary else None)
            else:
                self._load.abort()
                self._account.nothing_new()
        except BaseException:
            give_up(self._load, self._context)
            raise

    def _carry_read(self, read: Read, since: Position | None, *, by_loads: bool) -> Position:
        """Its last position. `by_loads`: full loads may be published at its checkpoints before its end."""
        last: Position | None = None
        ahead = self._context.budgets.ahead
        with Buffer(lambda: self._source.read(read, since), size_of, ahead, self._context) as changes:
            for change in changes:
                match change:
                    case Rows():
                        self._write(change)
                    case Checkpoint(position):
                        last = position
                        if by_loads and self._load_is_whole():
                            self._publish(position, None)
                            self._begin(self._table)
                    case SchemaChange(_, schema):
                        self._change_schema(schema)
                    case Truncate():
                        self._account.truncated(self._load.truncate(self._table))
                    case Rejected():
                        self._rejects.unreadable(change)
                        self._account.pending.read += len(change.rows)
                        self._account.pending.rejected += len(change.rows)
                    case _:
                        assert_never(change)
                if self._limit_reached():
                    return {}
        if last is None:
            raise InternalError(f"the read {read.key} ended without a checkpoint")
        return last

    def _load_is_whole(self) -> bool:
        """Whether a checkpoint ends the load: it is large, or a window was read to its end."""
        if self.plan.spec.mode is WriteMode.REPLACE or not self._load.rows:
            return False
        return self._load.bytes >= self._context.budgets.load or self.plan.selection.window is not None

    def _begin(self, table: Table, *, counted: bool = False) -> None:
        plan = self.plan
        self._table = table
        self._load = Load(self._destination, plan.spec, self._claim, self._account.level, counted=counted)
        self._load.begin(table)
        self._transform = self._transform_to(plan.selection.stream.schema, table)

    def _transform_to(self, schema: pa.Schema, table: Table) -> Transform:
        moments = Moments(self.plan.moment, self.plan.time)
        return Transform(schema, table.schema, self.plan.mapping, self.plan.spec.key, self._filter, moments)

    def _change_schema(self, schema: pa.Schema) -> None:
        mapping = {name: target for name, target in self.plan.mapping.items() if name in schema.names}
        mapping |= {name: name for name in schema.names if name not in mapping and not self.plan.task.columns}
        self.plan = replace(self.plan, mapping=mapping)
        incoming = incoming_schema(schema, mapping, self._destination.capabilities)
        self._table = self._wanted(incoming, self._table)
        self._transform = self._transform_to(schema, self._table)
        self._load.begin(self._table)

    def _write(self, rows: Rows) -> None:
        counts = self._account.pending
        data, cut = self._limited(rows.data)
        counts.read += rows.data.num_rows + rows.deduplicated
        counts.deduplicated += rows.deduplicated
        counts.filtered += cut
        counts.bytes += rows.data.nbytes
        before = self._rejects.number
        for piece in _pieces(data, self._context.budgets.piece):
            for kept, filtered in self._rejects.sift(piece, self._accepted):
                counts.filtered += filtered
                counts.staged += kept.num_rows
                if kept.num_rows:
                    self._load.write(kept)
        counts.rejected += self._rejects.number - before
        self._progress(counts.read, counts.bytes)

    def _accepted(self, piece: pa.RecordBatch) -> tuple[pa.RecordBatch, int]:
        """The rows as the table takes them, and how many the filter left out; DataError if there is one it doesn't."""
        _refuse_huge(piece, self._context.budgets.row)
        kept, filtered = self._transform.apply(piece)
        if self._rejects.taken:
            self._destination.admit(kept)
        return kept, filtered

    def _made_rejects(self, ids: Sequence[str]) -> Rejects:
        """The rows rejected so far belong to the account; a retry may reject all that it carries again."""
        task = self.plan.task
        return Rejects(
            self._claim,
            self.plan.selection.stream.name,
            most=task.most_rejected or (1.0 if task.retry else 0),
            number=self._account.done.rejected,
            ids=ids,
        )

    def _limited(self, data: pa.RecordBatch) -> tuple[pa.RecordBatch, int]:
        """The rows below the task's limit, and how many are above it."""
        if self.plan.task.limit is None:
            return data, 0
        room = max(self.plan.task.limit - self._account.pending.staged, 0)
        return data.slice(0, room), max(data.num_rows - room, 0)

    def _limit_reached(self) -> bool:
        limit = self.plan.task.limit
        return limit is not None and self._account.pending.staged >= limit

    def _must_publish(self, position: Position) -> bool:
        """With no rows: whether the table or the marker changes all the same."""
        if self.plan.spec.mode is WriteMode.REPLACE:
            return not self.plan.task.only_new_data
        return self._load.truncates or bool(self._rejects.waiting) or position != self.position

    # -- a wire format passing through -------------------------------------------------------------------------------

    def _wire(self, reads: list[Read], table: Table) -> Wire | None:
        """The format in which both sides understand each other, if the rows may pass as they are."""
        plan, source, destination = self.plan, self._source, self._destination
        as_it_is = table.schema.equals(plan.incoming, check_metadata=True) and len(table.schema) == len(plan.mapping)
        wanted = plan.selection.read_mode is ReadMode.FULL and plan.task.limit is None and plan.residual is None
        wanted = wanted and plan.spec.mode not in KEYED  # these need the order of arrival
        if not (
            isinstance(source, SharesFormat) and isinstance(source, Summarises) and isinstance(destination, TakesFormat)
        ):
            return None
        if not (
            as_it_is
            and wanted
            and len(reads) == 1
            and not plan.task.only_new_data
            and plan.selection.cursor_field is None
        ):
            return None
        if not source.steady(plan.selection):
            return None
        spoken = source.wire(plan.selection)
        if spoken is None:
            return None
        renamed = Wire(format=spoken.format, columns=tuple((plan.mapping[n], type_) for n, type_ in spoken.columns))
        return renamed if destination.takes(renamed, table) else None

    def _carry_raw(self, read: Read, table: Table, wire: Wire) -> None:
        assert isinstance(self._source, SharesFormat) and isinstance(self._destination, TakesFormat)
        source = self._source
        self.path = wire.format
        stage = self._destination.stage_raw(table, self.plan.spec, self._claim, wire)
        position: Position = {}
        counts = self._account.pending
        try:
            summary = self._source_summary(read)
            ahead = self._context.budgets.ahead
            with Buffer(lambda: source.read_raw(read), _raw_size, ahead, self._context) as pieces:
                for piece in pieces:
                    if isinstance(piece, Checkpoint):
                        position = piece.position
                        continue
                    stage.write(piece)
                    counts.bytes += len(piece)
                    self._progress(None, counts.bytes)
            staged = stage.seal()
            counts.read = counts.staged = staged.rows
            self._act([staged], position, summary.result())
        except BaseException:
            give_up(stage, self._context)
            raise

    # -- publishing --------------------------------------------------------------------------------------------------

    def _publish(self, position: Position, expect: Summary | None) -> None:
        self._rejects.check_share(self._account.done.read + self._account.pending.read)
        self._load.seal()
        beside = Entered()
        if self._rejects.waiting:
            beside.inserted = self._load.beside(rejected_table(self._table.name), APPENDED, self._rejects.batch())
        if self.plan.task.retry:
            taken = self._rejects.carried_again()
            beside.deleted = beside.removed = self._load.beside(ids_table(self._table.name), TAKEN_BACK, taken)
        self._act(self._load.seal(), position, expect if expect is not None else self._load.summary, beside)
        self._rejects.published()

    def _act(self, staged: list[Staged], position: Position, expect: Summary, beside: Entered | None = None) -> None:
        if self.plan.keeps_position:
            position = self._claim.position or {}  # what follows the cursor goes on from where it was
        counts = self._account.pending
        beside = beside or Entered()
        counts.source_rows = expect.rows - beside.inserted - beside.deleted
        if self._hashes:
            self._progress(counts.read, counts.bytes, comparing=True)
            self._account.compared |= set(self._load.compare(self._context))
        self._progress(counts.read, counts.bytes, publishing=True)
        self._context.check_cancelled()
        self._unheard = (position, expect, beside)
        result: Published = self._destination.publish(staged, [Marker(key=self._claim.key, position=position)], expect)
        self._unheard = None
        self._account.published(expect, result, beside)
        self.position = position
        self._acknowledge(position)

    def _acknowledge(self, position: Position) -> None:
        """Tell the source; it is told again after the next load, so that it went away meanwhile is no failure."""
        try:
            self._source.acknowledge(position)
        except ConnectionLost as error:
            self._context.log.warning("the source couldn't be told that rows arrived: %s", error.message)

    def _check_table_key(self, current: Table | None) -> None:
        """A key that nobody named is the stream's; the table may have been loaded by another."""
        mine, theirs = self.plan.constraint, () if current is None else current.primary_key
        named = self.plan.task.key is not None or self.plan.spec.mode not in KEYED
        if named or not theirs or set(mine) == set(theirs) or set(self.plan.spec.key) == set(theirs):
            return
        raise SchemaConflict(
            f"{self.plan.table} is keyed by {', '.join(theirs)}, and {self.plan.selection.stream.name} by "
            f"{', '.join(self.plan.spec.key)}",
            hint="Name the columns that identify a row with key, or resync with replace.",
        )

    # -- the rest ----------------------------------------------------------------------------------------------------

    def _since(self) -> Position | None:
        if self.plan.forgets or self._claim.position is None:
            return None
        if not self._claim.position and self.plan.spec.mode is WriteMode.APPEND:
            raise ConfigError(
                f"{self.plan.table} was loaded by a full read without a cursor: where to go on from isn't known",
                hint="Run the full read once more with the cursor named, or write with merge.",
            )
        return self._claim.position or None

    def _wanted(self, incoming: pa.Schema, current: Table | None) -> Table:
        return self.plan.wanted(incoming, current)

    def _adds_up_itself(self, reads: list[Read], table: Table) -> bool:
        """Whether the source's own summary serves: all that it reads arrives as it is."""
        plan = self.plan
        whole = plan.selection.read_mode is ReadMode.FULL and plan.task.limit is None and plan.residual is None
        whole = whole and not plan.own.names and not plan.keeps_position and not self._rejects.taken
        as_it_is = table.schema.types == plan.incoming.types and table.schema.names == plan.incoming.names
        if not (whole and as_it_is and len(reads) == 1 and isinstance(self._source, Summarises)):
            return False
        return self._source.steady(plan.selection)

    def _source_summary(self, read: Read) -> SourceSummary:
        assert isinstance(self._source, Summarises)
        if self._hashes:
            self._account.note(["The sums were compared with those of the source's own snapshot, too."])
        else:
            self._account.basis = Basis.SNAPSHOT
        return SourceSummary(self._source, read, self.plan, columns=self._account.level.adds_up_columns)

    @property
    def _hashes(self) -> bool:
        return self._account.level is Level.HASH

    def _progress(self, rows: int | None, size: int, *, publishing: bool = False, comparing: bool = False) -> None:
        stream, done = self.plan.selection.stream, self._account.done
        total = None if self.plan.selection.read_mode is ReadMode.INCREMENTAL else stream.rows
        self._tell(
            Progress(
                stream=stream.name,
                rows=None if rows is None else done.read + rows,
                bytes=done.bytes + size,
                total_rows=total,
                publishing=publishing,
                comparing=comparing,
            )
        )


def _raw_size(piece: bytes | memoryview | Checkpoint) -> int:
    return 0 if isinstance(piece, Checkpoint) else len(piece)


def _pieces(data: pa.RecordBatch, most: int) -> Iterator[pa.RecordBatch]:
    """The batch in pieces of about `most` bytes, rows permitting."""
    if data.nbytes <= most or data.num_rows <= 1:
        yield data
        return
    half = data.num_rows // 2
    yield from _pieces(data.slice(0, half), most)
    yield from _pieces(data.slice(half), most)


def _refuse_huge(data: pa.RecordBatch, most: int) -> None:
    """DataError for a single row above `most` bytes."""
    if data.num_rows == 1 and data.nbytes > most:
        widest = max(data.schema.names, key=lambda name: data.column(name).nbytes)
        raise DataError(
            f"a row has {data.nbytes:,} bytes, more than the {most:,} allowed; its widest column is {widest}",
            hint="Leave that column out, or allow the run more memory.",
            column=widest,
        )
