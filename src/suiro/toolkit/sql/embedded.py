"""Destinations that are one database file of this machine: staged in files beside it, published in one transaction.

Beside `sales.duckdb` stands, while a run works, the folder `sales.duckdb.suiro` with its leases and the rows that
wait; the database itself is opened for moments only. In the database Suiro keeps `_suiro_markers`.
"""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from suiro.model.change import OP, SEQ
from suiro.model.errors import ConfigError, DataError, SchemaConflict, VerificationFailed
from suiro.model.job import TaskKey
from suiro.model.schema import Table
from suiro.model.selection import Replace, WriteMode, WriteSpec
from suiro.model.summary import EMPTY, Summary, summarise
from suiro.model.types import MAY_BE_INFINITE, common_type, logical_base, logical_field, logical_type
from suiro.spi.context import Context
from suiro.spi.destination import C, Claim, Destination, Marker, Published, Stage, Staged
from suiro.toolkit.lease import FileLease
from suiro.toolkit.spool import SpoolStage, spooled
from suiro.toolkit.sql.dialect import Dialect
from suiro.toolkit.sql.markers import MARKERS, Markers
from suiro.toolkit.sql.merge import ARRIVAL, Counts, Entry, Merge, count
from suiro.toolkit.sql.ranks import ORDER, rank
from suiro.toolkit.sql.session import Session, Standing, conformed, conformed_column, folded


@dataclass(slots=True)
class _Outcome:
    """What a publish has come to so far."""

    kept: Markers
    found: Summary = EMPTY
    counts: Counts = field(default_factory=Counts)
    notes: list[str] = field(default_factory=list)
    replaced: set[tuple[str, ...]] = field(default_factory=set)
    made: set[tuple[str, ...]] = field(default_factory=set)


class EmbeddedSqlDestination(Destination[C]):
    """Stages in Arrow files, publishes in one transaction of the database."""

    dialect: ClassVar[Dialect]

    def __init__(self, config: C, context: Context) -> None:
        super().__init__(config, context)
        self._leases: dict[str, FileLease] = {}
        self._epochs: dict[str, int] = {}
        self._mine: list[Path] = []
        self._number = 0

    @property
    @abstractmethod
    def file(self) -> Path:
        """The database, as an absolute path."""

    @abstractmethod
    def open(self, *, write: bool) -> Session:
        """Open the database; the file is made only to write."""

    @abstractmethod
    def parts(self, name: str) -> tuple[str, ...]:
        """A table's name with its schema, where the system has schemas."""

    def admit(self, data: pa.RecordBatch) -> None:
        """Raise DataError naming a column if the system can't hold one of its values."""
        return None

    # -- verbs -------------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Open the file and begin to write; for a missing one, look whether it can be made."""
        if self.file.exists():
            with self._session(write=True) as session:
                session.begin()
        elif not os.access(self.file.parent, os.W_OK | os.X_OK):
            raise ConfigError(f"{self.file} can't be made", hint="Make its folder, and give write access to it.")

    def inspect(self, name: str) -> Table | None:
        """The table as it stands."""
        parts = self.parts(name)
        if not self.file.exists():
            return None
        with self._session(write=False) as session:
            standing = session.standing(parts)
        return (
            None
            if standing is None
            else Table(name=name, schema=standing.table.schema, primary_key=standing.table.primary_key)
        )

    def claim(self, key: TaskKey, run: str) -> Claim:
        """Take the task's lease beside the file, raise its epoch in the file, drop what older epochs staged."""
        digest, parts = key.digest(), self.parts(key.table)
        if digest not in self._leases:
            lease = FileLease(self._folder / f"{digest}.lock", key.table, run)
            lease.take()
            self._leases[digest] = lease
        for leftover in self._folder.glob(f"{digest}-*.arrow"):
            leftover.unlink(missing_ok=True)
        try:
            with self._transaction() as session:
                epoch, position = self._markers(session).claim(key, run, parts)
        except BaseException:
            self._leases.pop(digest).release()
            self._tidy()
            raise
        self._epochs[digest] = epoch
        return Claim(key=key, run=run, epoch=epoch, position=position)

    def stage(self, table: Table, spec: WriteSpec, claim: Claim, *, truncates: bool = False) -> Stage:
        """Open a file beside the database. ConfigError or SchemaConflict if the table can't be made."""
        self.parts(table.name)
        if not table.schema.names:
            raise ConfigError(f"{table.name} would have no columns", hint="Choose at least one column.")
        for one in table.schema:
            self.dialect.type_name(one)
        self._number += 1
        path = self._folder / f"{claim.key.digest()}-{claim.epoch}-{self._number}.arrow"
        self._mine.append(path)
        return _CheckedStage(self, path, table, spec, claim, truncates=truncates)

    def publish(self, staged: Sequence[Staged], markers: Sequence[Marker], expect: Summary | None) -> Published:
        """Fence, fill, compare, mark and commit; what is staged goes afterwards."""
        with self._transaction() as session:
            kept = self._markers(session)
            outcome = _Outcome(kept=kept)
            kept.fence(self._epochs_of(staged, markers))
            for item in staged:
                self._enter(session, item, outcome, columns=expect is None or bool(expect.columns))
            differences = expect.differences(outcome.found) if expect else ()
            if differences:
                raise VerificationFailed(
                    f"what was staged is not what was read: {'; '.join(differences)}", differences=differences
                )
            for marker in markers:
                names = [item.table.name for item in staged if item.claim.key == marker.key]
                parts = self.parts(names[0] if names else marker.key.table)
                kept.move(marker, parts, made=parts in outcome.made or kept.made(parts))
        for item in staged:
            Path(item.location).unlink(missing_ok=True)
        counts = outcome.counts
        return Published(
            found=outcome.found,
            inserted=counts.inserted,
            updated=counts.updated,
            unchanged=counts.unchanged,
            superseded=counts.superseded,
            deleted=counts.deleted,
            removed=counts.removed,
            notes=tuple(dict.fromkeys(outcome.notes)),
        )

    def close(self) -> None:
        """Drop what wasn't published, let go of the leases, leave no empty folder."""
        for path in self._mine:
            path.unlink(missing_ok=True)
        for lease in self._leases.values():
            lease.release()
        self._leases.clear()
        self._tidy()

    # -- sessions ----------------------------------------------------------------------------------------------------

    @property
    def _folder(self) -> Path:
        return self.file.with_name(f"{self.file.name}.suiro")

    def _tidy(self) -> None:
        with suppress(OSError):
            self._folder.rmdir()

    @contextmanager
    def _session(self, *, write: bool) -> Iterator[Session]:
        session = self.open(write=write)
        try:
            yield session
        finally:
            session.close()

    @contextmanager
    def _transaction(self) -> Iterator[Session]:
        with self._session(write=True) as session:
            session.begin()
            yield session
            self.context.check_cancelled()
            session.commit()

    def _markers(self, session: Session) -> Markers:
        return Markers(session, self.parts(MARKERS))

    def _epochs_of(self, staged: Sequence[Staged], markers: Sequence[Marker]) -> dict[str, int]:
        """By digest the epoch that each task of a publish was claimed under."""
        digests = [marker.key.digest() for marker in markers]
        epochs = {digest: self._epochs[digest] for digest in digests if digest in self._epochs}
        return epochs | {item.claim.key.digest(): item.claim.epoch for item in staged}

    # -- rows --------------------------------------------------------------------------------------------------------

    def _enter(self, session: Session, item: Staged, outcome: _Outcome, *, columns: bool) -> None:
        parts, spec = self.parts(item.table.name), item.spec
        key = spec.key if spec.mode is WriteMode.MERGE else ()
        fresh = spec.mode is WriteMode.REPLACE and parts not in outcome.replaced
        outcome.replaced.add(parts)
        target = self.dialect.qualified(parts)
        standing, swap, missing, wider = session.standing(parts), False, list[pa.Field](), list[pa.Field]()
        if standing is None:
            session.create(parts, item.table.schema, key)
            outcome.made.add(parts)
        else:
            missing, wider = self._changes(standing, item.table)
            swap = fresh and self._may_swap(session, standing, item, outcome)
            if fresh or item.truncates:
                outcome.counts.removed += session.ask(f"SELECT count(*) FROM {target}")[0][0]
                session.run(f"DROP TABLE {target}" if swap else f"DELETE FROM {target}")
            if swap:
                wide = {field.name: field for field in wider}
                fields = [wide.get(field.name, field) for field in standing.table.schema]
                session.create(parts, pa.schema([*fields, *missing]), standing.table.primary_key)
            else:
                for field in missing:
                    session.add(standing, field)
                if wider:
                    session.widen(standing, wider)
        if standing is None or swap or missing or wider:
            standing = session.standing(parts)
            assert standing is not None
        if fresh:
            self._fill(session, standing, item, outcome, columns=columns)
        else:
            self._stage_and_enter(session, standing, item, outcome, columns=columns)

    def _may_swap(self, session: Session, standing: Standing, item: Staged, outcome: _Outcome) -> bool:
        """Whether the table may be made anew: it is ours, and nothing else would be lost."""
        if item.spec.replace is Replace.TRUNCATE or not outcome.kept.made(standing.parts):
            return False
        held = session.held_by(standing)
        if held:
            outcome.notes.append(f"{item.table.name} was emptied and filled, not made anew: {', '.join(held[:5])}.")
        return not held

    def _changes(self, standing: Standing, wanted: Table) -> tuple[list[pa.Field], list[pa.Field]]:
        """The columns that are missing, and those that must become wider, as they shall be; or SchemaConflict."""
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
            elif self.dialect.type_name(one) != standing.types[name]:
                field = self._shared(standing, name, one)
                if field is not None:
                    wider.append(field)
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
        return None if self.dialect.type_name(wide) == standing.types[name] else wide

    def _fill(self, session: Session, standing: Standing, item: Staged, outcome: _Outcome, *, columns: bool) -> None:
        """Rows straight into an empty table, which then holds them and no others."""
        target = self.dialect.qualified(standing.parts)
        schema, batches = spooled(item)
        kept = pa.schema([f for f in schema if f.name not in (OP, SEQ)])
        filled = self._as_held(kept, standing)
        rows = (conformed(batch.select(kept.names), filled) for batch in batches)
        outcome.counts.inserted += session.fill(target, filled, rows)
        self._refuse_doubled(session, target, item)
        key = item.spec.key or item.table.primary_key
        outcome.found = outcome.found + summarise(
            _as_staged(session.rows(target, filled), kept), columns=columns, key=key
        )

    def _refuse_doubled(self, session: Session, target: str, item: Staged) -> None:
        """A key that was named for a replaced table must be one, though no constraint may hold it."""
        if not item.spec.key:
            return
        doubled = f"SELECT 1 FROM {target} GROUP BY {self.dialect.columns(item.spec.key)} HAVING count(*) > 1 LIMIT 1"
        if session.ask(doubled):
            raise DataError(
                f"rows with equal values in the key {', '.join(item.spec.key)} can't all enter {item.table.name}",
                hint="Choose a key that identifies every row, or write with merge to keep the last of each.",
            )

    def _stage_and_enter(
        self, session: Session, standing: Standing, item: Staged, outcome: _Outcome, *, columns: bool
    ) -> None:
        schema, batches = spooled(item)
        log = OP in schema.names
        order = item.spec.order_by if item.spec.mode is WriteMode.MERGE else None
        written = pa.schema([f for f in schema if f.name not in (OP, SEQ)])
        extra = [schema.field(OP)] if log else []
        extra += [pa.field(ORDER, rank(pa.array([], schema.field(order).type)).type)] if order else []
        held = self._as_held(written, standing)
        staged = pa.schema([*held, *extra, pa.field(ARRIVAL, pa.int64())])
        session.run(self._create_stage(session, staged))
        rows = session.fill(session.stage, staged, _arrivals(batches, staged, order))
        key = item.spec.key or item.table.primary_key
        found = summarise(_as_staged(session.rows(session.stage, held), written), columns=columns, key=key)
        outcome.found = outcome.found + found
        target = self.dialect.qualified(standing.parts)
        if item.spec.mode is WriteMode.MERGE:
            self._merge(session, standing, item, outcome.counts, rows, held, log=log, order=order)
        else:
            entry = Entry(dialect=self.dialect, target=target, stage=session.stage, schema=held)
            added = session.run(entry.append(item.spec.skip_existing))
            outcome.counts.inserted += added
            outcome.counts.superseded += rows - added
        session.run(f"DROP TABLE {session.stage}")

    def _as_held(self, schema: pa.Schema, standing: Standing) -> pa.Schema:
        """The columns in the types that the table has for them, where these are wider."""
        known = {folded(name): name for name in standing.types}
        fields = []
        for one in schema:
            name = known[folded(one.name)]
            wider = self.dialect.type_name(one) != standing.types[name]
            fields.append(standing.table.schema.field(name).with_name(one.name) if wider else one)
        return pa.schema(fields)

    def _create_stage(self, session: Session, schema: pa.Schema) -> str:
        types = {ARRIVAL: self.dialect.arrival_type}
        columns = [f"{self.dialect.quote(f.name)} {types.get(f.name) or self.dialect.type_name(f)}" for f in schema]
        return f"CREATE TEMPORARY TABLE {session.stage} ({', '.join(columns)})"

    def _merge(
        self,
        session: Session,
        standing: Standing,
        item: Staged,
        counts: Counts,
        rows: int,
        written: pa.Schema,
        *,
        log: bool,
        order: str | None,
    ) -> None:
        spec = item.spec
        key, staged = (frozenset(map(folded, names)) for names in (spec.key, written.names))
        others = tuple(n for n in standing.types if folded(n) not in staged and n not in standing.generated)
        merge = Merge(
            dialect=self.dialect,
            target=self.dialect.qualified(standing.parts),
            stage=session.stage,
            schema=written,
            key=spec.key,
            decided=session.decided,
            kept=session.kept,
            others=others,
            unique=any(frozenset(map(folded, columns)) <= key for columns in standing.unique),
            order=f"s.{ORDER}" if order else None,
            deletes=spec.deletes,
            log=log,
        )
        skipped = session.ask(merge.skipped())[0][0] if log and spec.deletes.value == "skip" else 0
        session.run(merge.decide())
        decisions = session.ask(merge.decisions())
        counts_here = count(rows, skipped, decisions)
        if others and any(what == "r" for what, _, _ in decisions):
            raise SchemaConflict(
                f"{item.table.name} holds several rows with one key, and columns that the stream doesn't fill",
                hint="Make the key unique in the table, or load into another one.",
            )
        for act in merge.statements([what for what, _, _ in decisions]):
            session.run(act)
        session.run(f"DROP TABLE {session.decided}")
        for name in Counts.__slots__:
            setattr(counts, name, getattr(counts, name) + getattr(counts_here, name))


def _kept_logical(field: pa.Field) -> str | None:
    """The logical type, unless the Arrow type says as much."""
    return None if logical_base(field) in MAY_BE_INFINITE else logical_type(field)


class _CheckedStage(SpoolStage):
    """Refuses at once what the database would refuse later."""

    def __init__(
        self,
        destination: EmbeddedSqlDestination[Any],
        path: Path,
        table: Table,
        spec: WriteSpec,
        claim: Claim,
        *,
        truncates: bool,
    ) -> None:
        super().__init__(path, table, spec, claim, truncates=truncates)
        self._destination = destination
        self._keys = spec.key if spec.mode is WriteMode.MERGE else ()

    def write(self, data: pa.RecordBatch) -> None:
        for name in self._keys:
            if data.column(name).null_count:
                raise DataError(
                    f"column {name} belongs to the key and is NULL in some rows",
                    hint="Choose a key whose columns always have a value, or leave those rows out.",
                )
        self._destination.admit(data)
        super().write(data)


def _as_staged(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """What the database holds, in the types that were staged."""
    return (conformed(batch, schema) for batch in batches)


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
