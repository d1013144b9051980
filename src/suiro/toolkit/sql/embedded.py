"""Destinations that are one database file of this machine: staged in files beside it, published in one transaction.

Beside `sales.duckdb` stands, while a run works, the folder `sales.duckdb.suiro` with its leases and the rows that
wait; the database itself is opened for moments only. In the database Suiro keeps `_suiro_markers`.
"""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from suiro.model.errors import ConfigError, DataError, VerificationFailed
from suiro.model.job import TaskKey
from suiro.model.schema import Table
from suiro.model.selection import KEYED, WriteSpec
from suiro.model.summary import Summary
from suiro.spi.context import Context
from suiro.spi.destination import C, Claim, Destination, Marker, Published, Stage, Staged
from suiro.spi.powers import ReadsStaged
from suiro.toolkit.lease import FileLease
from suiro.toolkit.spool import SpoolStage, spooled
from suiro.toolkit.sql.dialect import Dialect
from suiro.toolkit.sql.enter import Entering, Outcome
from suiro.toolkit.sql.markers import MARKERS, Markers
from suiro.toolkit.sql.session import Session


class EmbeddedSqlDestination(Destination[C], ReadsStaged):
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
        return None if standing is None else replace(standing.table, name=name)

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

    def stage(
        self, table: Table, spec: WriteSpec, claim: Claim, *, truncates: bool = False, keys: bool = False
    ) -> Stage:
        """Open a file beside the database. ConfigError or SchemaConflict if the table can't be made."""
        self.parts(table.name)
        if not table.schema.names:
            raise ConfigError(f"{table.name} would have no columns", hint="Choose at least one column.")
        for one in table.schema:
            self.dialect.type_name(one)
        self._number += 1
        path = self._folder / f"{claim.key.digest()}-{claim.epoch}-{self._number}.arrow"
        self._mine.append(path)
        return _CheckedStage(self, path, table, spec, claim, truncates=truncates, keys=keys)

    def read_staged(self, staged: Staged) -> Iterator[pa.RecordBatch]:
        """The rows as the database gives them back, from a temporary table that they are put into as at a publish."""
        schema, batches = spooled(staged)
        with self._session(write=False) as session:
            quote = self.dialect.quote
            columns = ", ".join(f"{quote(one.name)} {self.dialect.type_name(one)}" for one in schema)
            session.run(f"CREATE TEMPORARY TABLE {session.stage} ({columns})")
            session.fill(session.stage, schema, batches)
            yield from session.rows(session.stage, schema)

    def publish(self, staged: Sequence[Staged], markers: Sequence[Marker], expect: Summary | None) -> Published:
        """Fence, fill, compare, mark and commit; what is staged goes afterwards."""
        with self._transaction() as session:
            kept = self._markers(session)
            outcome = Outcome(kept=kept)
            kept.fence(self._epochs_of(staged, markers))
            columns = expect is None or bool(expect.columns)
            for item in staged:
                parts = self.parts(item.table.name)
                Entering(session=session, item=item, parts=parts, outcome=outcome, columns=columns).enter()
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
        return Published(found=outcome.found, **outcome.counts.as_dict(), notes=tuple(dict.fromkeys(outcome.notes)))

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
        keys: bool,
    ) -> None:
        super().__init__(path, table, spec, claim, truncates=truncates, keys=keys)
        self._destination = destination
        self._key = spec.key if spec.mode in KEYED else ()

    def write(self, data: pa.RecordBatch) -> None:
        for name in self._key:
            if data.column(name).null_count:
                raise DataError(
                    f"column {name} belongs to the key and is NULL in some rows",
                    hint="Choose a key whose columns always have a value, or leave those rows out.",
                )
        self._destination.admit(data)
        super().write(data)
