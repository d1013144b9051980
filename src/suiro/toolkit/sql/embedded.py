"""Destinations that are one database file of this machine: staged in files beside it, published in one transaction.

Beside `sales.duckdb` stands, while a run works, the folder `sales.duckdb.suiro` with its leases and the rows that
wait; the database itself is opened for moments only. In the database Suiro keeps `_suiro_markers`.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from suiro.model.change import OP, SEQ
from suiro.model.errors import ConfigError, DataError, Fenced, SchemaConflict, VerificationFailed
from suiro.model.job import TaskKey
from suiro.model.naming import join_name, split_name
from suiro.model.schema import Table
from suiro.model.selection import Replace, WriteMode, WriteSpec
from suiro.model.summary import EMPTY, Summary, summarise
from suiro.model.types import common_type, logical_field, logical_type, storage
from suiro.spi.destination import C, Claim, Destination, Marker, Published, Stage, Staged
from suiro.toolkit.lease import FileLease
from suiro.toolkit.spool import SpoolStage, spooled
from suiro.toolkit.sql.dialect import Dialect
from suiro.toolkit.sql.merge import ARRIVAL, Counts, Entry, Merge, count
from suiro.toolkit.sql.ranks import ORDER, rank

MARKERS = "_suiro_markers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A table as it stands. `table` tells its columns as `stage` takes them; `types` the columns' declared types.

    `unique` are the sets of columns that a constraint or an index makes unique, compared as `Merge` compares them;
    `generated` the columns that can't be written; `held_by` what would be lost or broken if the table were made
    anew, in words: "view v", "index i".
    """

    parts: tuple[str, ...]
    table: Table
    types: dict[str, str]
    unique: tuple[frozenset[str], ...] = ()
    generated: frozenset[str] = frozenset()
    held_by: tuple[str, ...] = ()


class Session(ABC):
    """An open database. Driver errors come out as errors of ours; nothing is visible to others before `commit`."""

    dialect: ClassVar[Dialect]
    stage: ClassVar[str]  #: the temporary table of staged rows, as SQL names it
    decided: ClassVar[str]  #: the temporary table of a merge's decisions

    @abstractmethod
    def run(self, sql: str, parameters: Sequence[object] = ()) -> int:
        """Run a statement; the number of rows it changed, where it changes rows."""

    @abstractmethod
    def ask(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Run a query with a small result."""

    @abstractmethod
    def fill(self, table: str, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> int:
        """Add rows of these columns to a table named in SQL, as they are; how many there were."""

    @abstractmethod
    def rows(self, table: str, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """The table's columns of that schema, in its types."""

    @abstractmethod
    def standing(self, parts: tuple[str, ...]) -> Standing | None:
        """The table as it stands, or None. ConfigError if the name belongs to something else."""

    @abstractmethod
    def create(self, parts: tuple[str, ...], schema: pa.Schema, key: tuple[str, ...]) -> None:
        """Make a table, with a primary key where one is given; and its schema, where that is missing."""

    @abstractmethod
    def add(self, standing: Standing, field: pa.Field) -> None:
        """Add a column, NULL in the rows that are there."""

    @abstractmethod
    def widen(self, standing: Standing, fields: Sequence[pa.Field]) -> None:
        """Give columns wider types; values, constraints and what depends on the table stay. SchemaConflict if not."""

    @abstractmethod
    def begin(self) -> None:
        """Begin the transaction that excludes other writers."""

    @abstractmethod
    def commit(self) -> None:
        """Make everything since `begin` visible."""

    @abstractmethod
    def close(self) -> None:
        """Close the database; what wasn't committed is undone."""


@dataclass(slots=True)
class _Outcome:
    """What a publish has come to so far."""

    found: Summary = EMPTY
    counts: Counts = field(default_factory=Counts)
    notes: list[str] = field(default_factory=list)
    replaced: set[tuple[str, ...]] = field(default_factory=set)
    made: set[tuple[str, ...]] = field(default_factory=set)


class EmbeddedSqlDestination(Destination[C]):
    """Stages in Arrow files, publishes in one transaction of the database."""

    dialect: ClassVar[Dialect]

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

    def inspect(self, name: str) -> Table | None:
        """The table as it stands."""
        parts = self.parts(name)
        if not self.file.exists():
            return None
        with self._session(write=False) as session:
            standing = session.standing(parts)
        return None if standing is None else Table(
            name=name, schema=standing.table.schema, primary_key=standing.table.primary_key
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
                epoch, position = self._raise_epoch(session, key, run, parts)
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
        outcome = _Outcome()
        with self._transaction() as session:
            self._fence(session, staged, markers)
            for item in staged:
                self._enter(session, item, outcome, columns=expect is None or bool(expect.columns))
            differences = expect.differences(outcome.found) if expect else ()
            if differences:
                raise VerificationFailed(
                    f"what was staged is not what was read: {'; '.join(differences)}", differences=differences
                )
            for marker in markers:
                self._mark(session, marker, staged, outcome)
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

    def __init__(self, config: C, context: Any) -> None:
        super().__init__(config, context)
        self._leases: dict[str, FileLease] = {}
        self._epochs: dict[str, int] = {}
        self._mine: list[Path] = []
        self._number = 0

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

    # -- markers -----------------------------------------------------------------------------------------------------

    def _markers(self, session: Session) -> str:
        parts = self.parts(join_name([MARKERS]))
        if session.standing(parts) is None:
            text = ("key", "source", "stream", "table_name", "run", "position", "claimed_at", "published_at")
            fields = [pa.field(name, pa.string()) for name in text]
            schema = pa.schema([*fields, pa.field("epoch", pa.int64()), pa.field("made_table", pa.bool_())])
            session.create(parts, schema, ("key",))
        return self.dialect.qualified(parts)

    def _raise_epoch(self, session: Session, key: TaskKey, run: str, parts: tuple[str, ...]) -> tuple[int, Any]:
        markers, digest, now = self._markers(session), key.digest(), datetime.now(UTC).isoformat()
        known = session.ask(f"SELECT epoch, position, table_name FROM {markers} WHERE key = ?", [digest])
        if not known:
            session.run(
                f"INSERT INTO {markers} (key, source, stream, table_name, epoch, run, claimed_at, made_table) "
                "VALUES (?, ?, ?, ?, 1, ?, ?, FALSE)",
                [digest, key.source, key.stream, join_name(parts), run, now],
            )
            return 1, None
        epoch, position, table = known[0]
        if session.standing(self.parts(table)) is None:
            position = None
            session.run(f"UPDATE {markers} SET made_table = FALSE WHERE table_name = ?", [table])
        session.run(
            f"UPDATE {markers} SET epoch = ?, run = ?, claimed_at = ?, position = ? WHERE key = ?",
            [epoch + 1, run, now, position, digest],
        )
        return epoch + 1, None if position is None else json.loads(position)

    def _fence(self, session: Session, staged: Sequence[Staged], markers: Sequence[Marker]) -> None:
        epochs = {item.claim.key.digest(): item.claim.epoch for item in staged}
        for marker in markers:
            digest = marker.key.digest()
            if digest in self._epochs:
                epochs.setdefault(digest, self._epochs[digest])
        where = self._markers(session)
        for digest, epoch in epochs.items():
            found = session.ask(f"SELECT epoch, run FROM {where} WHERE key = ?", [digest])
            if not found or found[0][0] != epoch:
                whom = f"run {found[0][1]}" if found else "nobody knows whom"
                raise Fenced(f"this task was taken over by {whom}; nothing was published")

    def _mark(self, session: Session, marker: Marker, staged: Sequence[Staged], outcome: _Outcome) -> None:
        names = [item.table.name for item in staged if item.claim.key == marker.key]
        parts = self.parts(names[0] if names else marker.key.table)
        markers, name = self._markers(session), join_name(parts)
        made = parts in outcome.made or self._made(session, parts)
        session.run(
            f"UPDATE {markers} SET position = ?, published_at = ?, table_name = ?, made_table = ? WHERE key = ?",
            [
                json.dumps(marker.position, ensure_ascii=False),
                datetime.now(UTC).isoformat(),
                name,
                made,
                marker.key.digest(),
            ],
        )

    def _made(self, session: Session, parts: tuple[str, ...]) -> bool:
        """Whether Suiro made the table."""
        sql = f"SELECT count(*) FROM {self._markers(session)} WHERE table_name = ? AND made_table"
        return bool(session.ask(sql, [join_name(parts)])[0][0])

    # -- rows --------------------------------------------------------------------------------------------------------

    def _enter(self, session: Session, item: Staged, outcome: _Outcome, *, columns: bool) -> None:
        parts, spec, counts = self.parts(item.table.name), item.spec, outcome.counts
        key = item.table.primary_key or spec.key
        standing = session.standing(parts)
        fresh = spec.mode is WriteMode.REPLACE and parts not in outcome.replaced
        outcome.replaced.add(parts)
        target = self.dialect.qualified(parts)
        if standing is not None and (fresh or item.truncates):
            counts.removed += session.ask(f"SELECT count(*) FROM {target}")[0][0]
            if fresh and self._may_swap(session, standing, item, outcome):
                session.run(f"DROP TABLE {target}")
                standing = None
            else:
                session.run(f"DELETE FROM {target}")
        if standing is None:
            session.create(parts, item.table.schema, key)
            outcome.made.add(parts)
        else:
            self._evolve(session, standing, item.table)
        standing = session.standing(parts)
        assert standing is not None
        if fresh:
            self._fill(session, standing, item, outcome, columns=columns)
        else:
            self._stage_and_enter(session, standing, item, outcome, columns=columns)

    def _may_swap(self, session: Session, standing: Standing, item: Staged, outcome: _Outcome) -> bool:
        if item.spec.replace is Replace.TRUNCATE:
            return False
        wanted = {self._folded(name) for name in item.table.schema.names}
        if any(self._folded(name) not in wanted for name in standing.types):
            return False
        if standing.held_by:
            outcome.notes.append(
                f"{item.table.name} was emptied and filled, not made anew, because of {', '.join(standing.held_by[:5])}."
            )
            return False
        return self._made(session, standing.parts)

    def _evolve(self, session: Session, standing: Standing, wanted: Table) -> None:
        """Add the columns that are missing, widen those that are too narrow."""
        known = {self._folded(name): name for name in standing.types}
        wider = []
        for one in wanted.schema:
            name = known.get(self._folded(one.name))
            if name is None:
                session.add(standing, one)
                continue
            if name in standing.generated:
                raise SchemaConflict(
                    f"column {name} of {wanted.name} is generated and can't be written",
                    hint="Leave the column out, or load into another table.",
                )
            current = standing.table.schema.field(name)
            if self.dialect.type_name(one) == standing.types[name] or current.type == one.type:
                continue
            shared = common_type(current.type, one.type)
            if shared is None:
                raise SchemaConflict(
                    f"column {name} of {wanted.name} is {standing.types[name]} and can't also hold {one.type}",
                    hint="Load into another table, or change the column's type.",
                )
            logical = logical_type(one) if logical_type(one) == logical_type(current) else None
            wide = logical_field(name, shared, logical)
            if shared != current.type and self.dialect.type_name(wide) != standing.types[name]:
                wider.append(wide)
        if wider:
            session.widen(standing, wider)

    def _fill(
        self, session: Session, standing: Standing, item: Staged, outcome: _Outcome, *, columns: bool
    ) -> None:
        """Rows straight into an empty table, which then holds them and no others."""
        target = self.dialect.qualified(standing.parts)
        schema, batches = spooled(item)
        kept = pa.schema([f for f in schema if f.name not in (OP, SEQ)])
        filled = self._as_held(kept, standing)
        rows = (conformed(batch.select(kept.names), filled) for batch in batches)
        outcome.counts.inserted += session.fill(target, filled, rows)
        key = item.spec.key or item.table.primary_key
        outcome.found = outcome.found + summarise(session.rows(target, kept), columns=columns, key=key)

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
        found = summarise(session.rows(session.stage, written), columns=columns, key=key)
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
        known = {self._folded(name): name for name in standing.types}
        fields = []
        for one in schema:
            name = known[self._folded(one.name)]
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
        folded = frozenset(self._folded(name) for name in spec.key)
        merge = Merge(
            dialect=self.dialect,
            target=self.dialect.qualified(standing.parts),
            stage=session.stage,
            schema=written,
            key=spec.key,
            decided=session.decided,
            unique=any(frozenset(map(self._folded, columns)) <= folded for columns in standing.unique),
            order=f"s.{ORDER}" if order else None,
            deletes=spec.deletes,
            log=log,
        )
        skipped = session.ask(merge.skipped())[0][0] if log and spec.deletes.value == "skip" else 0
        session.run(merge.decide())
        decisions = session.ask(merge.decisions())
        counts_here = count(rows, skipped, decisions)
        several = any(what == "r" for what, _, _ in decisions)
        others = {self._folded(n) for n in standing.types} - {self._folded(n) for n in written.names}
        if several and others:
            raise SchemaConflict(
                f"{item.table.name} holds several rows with one key, and columns that the stream doesn't fill",
                hint="Make the key unique in the table, or load into another one.",
            )
        update = merge.update()
        for act, wanted in ((merge.delete(), "dr"), (update, "u"), (merge.insert(), "ir")):
            if act is not None and any(what in wanted for what, _, _ in decisions):
                session.run(act)
        session.run(f"DROP TABLE {session.decided}")
        for name in Counts.__slots__:
            setattr(counts, name, getattr(counts, name) + getattr(counts_here, name))

    def _folded(self, name: str) -> str:
        """ASCII letters in lower case: names that differ by no more are one."""
        return name.translate(_LOWER)


_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}


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
        self._keys = spec.key or table.primary_key

    def write(self, data: pa.RecordBatch) -> None:
        for name in self._keys:
            if data.column(name).null_count:
                raise DataError(
                    f"column {name} belongs to the key and is NULL in some rows",
                    hint="Choose a key whose columns always have a value, or leave those rows out.",
                )
        self._destination.admit(data)
        super().write(data)


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
                arrays.append(_conformed(batch.column(one.name), one.type))
        start += batch.num_rows
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)


def conformed(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The batch in the types of this schema, which hold its values exactly."""
    arrays = [_conformed(batch.column(one.name), one.type) for one in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _conformed(array: pa.Array, type_: pa.DataType) -> pa.Array:
    if array.type == type_:
        return array
    plain = (array.storage if isinstance(array, pa.ExtensionArray) else array).cast(storage(type_))
    return pa.ExtensionArray.from_storage(type_, plain) if isinstance(type_, pa.BaseExtensionType) else plain


def table_parts(name: str, most: int, where: str) -> tuple[str, ...]:
    """The parts of a table's name; ConfigError if there are more than `most`."""
    parts = split_name(name)
    if len(parts) > most:
        raise ConfigError(
            f"the table name {name} has {len(parts)} parts; {where}",
            hint='A dot that belongs to the name goes in quotes: "a.b".',
        )
    return parts
