"""What happens to staged rows inside the transaction of an embedded database, mode by mode."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from suiro.model.change import OP, SEQ
from suiro.model.errors import DataError, SchemaConflict
from suiro.model.receipt import Entered
from suiro.model.selection import KEYED, VALID_FROM, Deletes, Replace, WriteMode
from suiro.model.summary import EMPTY, Summary, summarise
from suiro.model.types import MAY_BE_INFINITE, common_type, is_time, logical_base, logical_field, logical_type
from suiro.spi.destination import Staged
from suiro.toolkit.spool import spooled
from suiro.toolkit.sql import history
from suiro.toolkit.sql.absent import Absent
from suiro.toolkit.sql.dialect import Dialect
from suiro.toolkit.sql.history import History
from suiro.toolkit.sql.markers import Markers
from suiro.toolkit.sql.merge import ARRIVAL, Entry, Merge, count
from suiro.toolkit.sql.ranks import ORDER, rank
from suiro.toolkit.sql.session import Session, Standing, conformed, conformed_column, folded


@dataclass(slots=True)
class Outcome:
    """What a publish has come to so far."""

    kept: Markers
    found: Summary = EMPTY
    counts: Entered = field(default_factory=Entered)
    notes: list[str] = field(default_factory=list)
    replaced: set[tuple[str, ...]] = field(default_factory=set)
    made: set[tuple[str, ...]] = field(default_factory=set)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entering:
    """One staged segment entering its table, in the transaction that `session` is in.

    `parts` name the table; `columns`: whether the summary found looks into columns.
    """

    session: Session
    item: Staged
    parts: tuple[str, ...]
    outcome: Outcome
    columns: bool

    def enter(self) -> None:
        """Do it: make or evolve the table, and let the rows in."""
        if self.item.keys:
            self._take_away()
            return
        fresh = self.item.spec.mode is WriteMode.REPLACE and self.parts not in self.outcome.replaced
        self.outcome.replaced.add(self.parts)
        standing = self._prepared(fresh=fresh)
        if fresh:
            self._fill(standing)
        else:
            self._stage_and_enter(standing)

    # -- the table ---------------------------------------------------------------------------------------------------

    def _prepared(self, *, fresh: bool) -> Standing:
        """The table, made or evolved, and emptied where it is to be."""
        standing = self.session.standing(self.parts)
        if standing is None:
            self.session.create(self.parts, self.item.table.schema, self._constraint())
            self.outcome.made.add(self.parts)
            return self._standing()
        missing, wider = self._changes(standing)
        swap = fresh and self._may_swap(standing)
        if fresh or self.item.truncates:
            self.outcome.counts.removed += self._count(f"SELECT count(*) FROM {self._target}")
            self.session.run(f"DROP TABLE {self._target}" if swap else f"DELETE FROM {self._target}")
        if swap:
            wide = {one.name: one for one in wider}
            fields = [wide.get(one.name, one) for one in standing.table.schema]
            self.session.create(self.parts, pa.schema([*fields, *missing]), standing.table.primary_key)
            return self._standing()
        for one in missing:
            self.session.add(standing, one)
        standing = self._standing() if missing else standing  # to widen may be to make the table anew, columns and all
        if wider:
            self.session.widen(standing, wider)
            standing = self._standing()
        if self.item.spec.mode is WriteMode.HISTORY:
            standing = self._kept_as_history(standing, starts=any(one.name == VALID_FROM for one in missing))
        return standing

    def _constraint(self) -> tuple[str, ...]:
        """The key of a table that is made here."""
        spec = self.item.spec
        if spec.mode is WriteMode.HISTORY:
            return (*spec.key, VALID_FROM)
        return spec.key if spec.mode is WriteMode.MERGE else ()

    def _kept_as_history(self, standing: Standing, *, starts: bool) -> Standing:
        """The table able to hold several versions of a row; rows that were there before become versions."""
        spec = self.item.spec
        key = frozenset(map(folded, spec.key))
        made = self.outcome.kept.made(self.parts)
        if any(frozenset(map(folded, columns)) <= key for columns in standing.unique) and not made:
            raise SchemaConflict(
                f"{self.item.table.name} can't hold two rows with one key, and a history keeps every version",
                hint="Load the history into another table, or drop the constraint.",
            )
        if starts:
            statements = self._history(standing, standing.table.schema, log=False)
            at = standing.table.schema.get_field_index(spec.order_by or "")
            time = standing.table.schema.field(at) if at >= 0 else None
            self.session.run(statements.start(time if time is not None and is_time(time) else None))
            if self.session.ask(statements.doubled()):
                raise SchemaConflict(
                    f"{self.item.table.name} holds several rows with one key, and nothing tells which came first",
                    hint="Name the cursor that tells their time, or load the history into another table.",
                )
        if starts and made:
            self.session.rekey(standing, self._constraint())
        return self._standing()

    def _may_swap(self, standing: Standing) -> bool:
        """Whether the table may be made anew: it is ours, and nothing else would be lost."""
        if self.item.spec.replace is Replace.TRUNCATE or not self.outcome.kept.made(standing.parts):
            return False
        held = self.session.held_by(standing)
        if held:
            self.outcome.notes.append(
                f"{self.item.table.name} was emptied and filled, not made anew: {', '.join(held[:5])}."
            )
        return not held

    def _changes(self, standing: Standing) -> tuple[list[pa.Field], list[pa.Field]]:
        """The columns that are missing, and those that must become wider, as they shall be; or SchemaConflict."""
        wanted = self.item.table
        known = {folded(name): name for name in standing.types}
        missing, wider = [], []
        for one in wanted.schema:
            name = known.get(folded(one.name))
            if name is None:
                missing.append(one)
            elif name in standing.generated:
                raise SchemaConflict(
                    f"column {name} of {wanted.name} is generated and can't be written",
                    hint="Leave the column out, or load into another table.",
                )
            elif self._dialect.type_name(one) != standing.types[name]:
                shared = self._shared(standing, name, one)
                if shared is not None:
                    wider.append(shared)
        return missing, wider

    def _shared(self, standing: Standing, name: str, one: pa.Field) -> pa.Field | None:
        """The column as it must become to hold a field as well; None where it does already."""
        current = standing.table.schema.field(name)
        shared = common_type(current.type, one.type)
        if shared is None:
            raise SchemaConflict(
                f"column {name} of {standing.table.name} is {standing.types[name]} and can't also hold {one.type}",
                hint="Load into another table, or change the column's type.",
            )
        mine, theirs = _kept_logical(current), _kept_logical(one)
        if shared == current.type and mine in (None, theirs):
            return None
        wide = logical_field(name, shared, mine if mine == theirs else None)
        return None if self._dialect.type_name(wide) == standing.types[name] else wide

    # -- rows --------------------------------------------------------------------------------------------------------

    def _fill(self, standing: Standing) -> None:
        """Rows straight into an empty table, which then holds them and no others."""
        schema, batches = spooled(self.item)
        kept = pa.schema([f for f in schema if f.name not in (OP, SEQ)])
        filled = self._as_held(kept, standing)
        rows = (conformed(batch.select(kept.names), filled) for batch in batches)
        self.outcome.counts.inserted += self.session.fill(self._target, filled, rows)
        self._refuse_doubled()
        self._found(self._target, filled, kept)

    def _refuse_doubled(self) -> None:
        """A key that was named for a replaced table must be one, though no constraint may hold it."""
        key = self.item.spec.key
        if not key:
            return
        doubled = f"SELECT 1 FROM {self._target} GROUP BY {self._dialect.columns(key)} HAVING count(*) > 1 LIMIT 1"
        if self.session.ask(doubled):
            raise DataError(
                f"rows with equal values in the key {', '.join(key)} can't all enter {self.item.table.name}",
                hint="Choose a key that identifies every row, or write with merge to keep the last of each.",
            )

    def _stage_and_enter(self, standing: Standing) -> None:
        schema, batches = spooled(self.item)
        spec, log = self.item.spec, OP in schema.names
        order = spec.order_by if spec.mode in KEYED else None
        written = pa.schema([f for f in schema if f.name not in (OP, SEQ)])
        extra = [schema.field(OP)] if log else []
        extra += [pa.field(ORDER, rank(pa.array([], schema.field(order).type)).type)] if order else []
        held = self._as_held(written, standing)
        rows = self._staged(pa.schema([*held, *extra, pa.field(ARRIVAL, pa.int64())]), batches, order)
        self._found(self.session.stage, held, written)
        match spec.mode:
            case WriteMode.MERGE:
                self._merge(standing, rows, held, log=log)
            case WriteMode.HISTORY:
                self._add_versions(standing, rows, held, log=log)
            case _:
                entry = Entry(dialect=self._dialect, target=self._target, stage=self.session.stage, schema=held)
                added = self.session.run(entry.append(spec.skip_existing))
                self.outcome.counts.inserted += added
                self.outcome.counts.superseded += rows - added
        self.session.run(f"DROP TABLE {self.session.stage}")

    def _staged(self, schema: pa.Schema, batches: Iterable[pa.RecordBatch], order: str | None) -> int:
        """Fill the stage table; how many rows."""
        types = {ARRIVAL: self._dialect.arrival_type}
        columns = [f"{self._dialect.quote(f.name)} {types.get(f.name) or self._dialect.type_name(f)}" for f in schema]
        self.session.run(f"CREATE TEMPORARY TABLE {self.session.stage} ({', '.join(columns)})")
        return self.session.fill(self.session.stage, schema, _arrivals(batches, schema, order))

    def _found(self, table: str, held: pa.Schema, written: pa.Schema) -> None:
        """Take into the summary what a table holds, in the types that were staged."""
        key = self.item.spec.key or self.item.table.primary_key
        batches = (conformed(batch, written) for batch in self.session.rows(table, held))
        self.outcome.found = self.outcome.found + summarise(batches, columns=self.columns, key=key)

    def _as_held(self, schema: pa.Schema, standing: Standing) -> pa.Schema:
        """The columns in the types that the table has for them, where these are wider."""
        known = {folded(name): name for name in standing.types}
        fields = []
        for one in schema:
            name = known[folded(one.name)]
            wider = self._dialect.type_name(one) != standing.types[name]
            fields.append(standing.table.schema.field(name).with_name(one.name) if wider else one)
        return pa.schema(fields)

    # -- the keyed modes ---------------------------------------------------------------------------------------------

    def _merge(self, standing: Standing, rows: int, written: pa.Schema, *, log: bool) -> None:
        spec = self.item.spec
        key, staged = (frozenset(map(folded, names)) for names in (spec.key, written.names))
        others = tuple(n for n in standing.types if folded(n) not in staged and n not in standing.generated)
        merge = Merge(
            dialect=self._dialect,
            target=self._target,
            stage=self.session.stage,
            schema=written,
            key=spec.key,
            decided=self.session.decided,
            kept=self.session.kept,
            others=others,
            unique=any(frozenset(map(folded, columns)) <= key for columns in standing.unique),
            order=f"s.{ORDER}" if spec.order_by else None,
            deletes=spec.deletes,
            log=log,
        )
        skipped = self._count(merge.skipped()) if log and spec.deletes is Deletes.SKIP else 0
        for statement in merge.deciding(self.session.parts_of(rows)):
            self.session.run(statement)
        decisions = self.session.ask(merge.decisions())
        if others and any(what == "r" for what, _, _ in decisions):
            raise SchemaConflict(
                f"{self.item.table.name} holds several rows with one key, and columns that the stream doesn't fill",
                hint="Make the key unique in the table, or load into another one.",
            )
        for act in merge.statements([what for what, _, _ in decisions]):
            self.session.run(act)
        self.session.run(merge.forget())
        self.outcome.counts.add(count(rows, skipped, decisions))

    def _add_versions(self, standing: Standing, rows: int, written: pa.Schema, *, log: bool) -> None:
        statements = self._history(standing, written, log=log)
        skipped = self._count(statements.skipped()) if log and self.item.spec.deletes is Deletes.SKIP else 0
        self.session.run(statements.decide())
        decisions = self.session.ask(statements.decisions())
        for act in statements.statements([what for what, _ in decisions]):
            self.session.run(act)
        self.session.run(statements.forget())
        self.outcome.counts.add(history.count(rows, skipped, decisions))

    def _history(self, standing: Standing, written: pa.Schema, *, log: bool) -> History:
        return History(
            dialect=self._dialect,
            target=self._dialect.qualified(standing.parts),
            stage=self.session.stage,
            schema=written,
            key=self.item.spec.key,
            decided=self.session.decided,
            order=f"s.{ORDER}" if self.item.spec.order_by else None,
            deletes=self.item.spec.deletes,
            log=log,
        )

    def _take_away(self) -> None:
        """Rows whose key a key snapshot lacks."""
        standing = self.session.standing(self.parts)
        schema, batches = spooled(self.item)
        held = schema if standing is None else self._as_held(schema, standing)
        rows = self._staged(pa.schema([*held, pa.field(ARRIVAL, pa.int64())]), batches, None)
        self._found(self.session.stage, held, schema)
        self.outcome.counts.unchanged += rows
        if standing is not None:
            absent = Absent(
                dialect=self._dialect,
                target=self._target,
                stage=self.session.stage,
                schema=held,
                spec=self.item.spec,
            )
            if self._dialect.indexes_keys:
                self.session.run(absent.index(self._dialect.quote("_suiro_keys")))
            there, gone = self.session.ask(absent.present())[0]
            absent.check(self.item.table.name, there, gone)
            if gone:
                self.outcome.counts.removed += self.session.run(absent.act())
        self.session.run(f"DROP TABLE {self.session.stage}")

    # -- words -------------------------------------------------------------------------------------------------------

    @property
    def _dialect(self) -> Dialect:
        return self.session.dialect

    @property
    def _target(self) -> str:
        return self._dialect.qualified(self.parts)

    def _standing(self) -> Standing:
        standing = self.session.standing(self.parts)
        assert standing is not None
        return standing

    def _count(self, sql: str) -> int:
        return int(self.session.ask(sql)[0][0])


def _kept_logical(field: pa.Field) -> str | None:
    """The logical type, unless the Arrow type says as much."""
    return None if logical_base(field) in MAY_BE_INFINITE else logical_type(field)


def _arrivals(batches: Iterable[pa.RecordBatch], schema: pa.Schema, order: str | None) -> Iterator[pa.RecordBatch]:
    """Batches in the stage's columns: with the order of arrival, and the rank that decides a merge."""
    start = 0
    for batch in batches:
        arrays = []
        for one in schema:
            if one.name == ARRIVAL:
                arrays.append(pa.array(np.arange(start, start + batch.num_rows, dtype=np.int64)))
            elif one.name == ORDER and order is not None:
                arrays.append(rank(batch.column(order)))
            else:
                arrays.append(conformed_column(batch.column(one.name), one.type))
        start += batch.num_rows
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)
