"""MySQL and MariaDB as a destination: claims, staging tables, and publishing as one act."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import ClassVar

import pyarrow as pa

from suiro.connectors.mysql.config import MysqlConfig
from suiro.connectors.mysql.ddl import RESTORES, STORES, column_types, field_of, flavor_of
from suiro.connectors.mysql.markers import Added, Markers, take_back
from suiro.connectors.mysql.measure import measure
from suiro.connectors.mysql.publish import Segment, TableEntry, reason_not_to
from suiro.connectors.mysql.readback import held_rows
from suiro.connectors.mysql.session import Session, connect
from suiro.connectors.mysql.stage import BECOMES, PREFIX, MysqlStage, Place, fits_as_it_is
from suiro.connectors.mysql.standing import Standing, find, quote, refuse_name
from suiro.connectors.mysql.tables import locate
from suiro.model.errors import (
    DataError,
    Fenced,
    InternalError,
    SchemaConflict,
    SuiroError,
    TransientError,
    VerificationFailed,
)
from suiro.model.job import TaskKey
from suiro.model.receipt import Entered
from suiro.model.schema import Position, Table
from suiro.model.selection import KEYED, Deletes, Replace, WriteMode, WriteSpec
from suiro.model.summary import EMPTY, Summary
from suiro.spi.context import Context
from suiro.spi.destination import Atomicity, Capabilities, Claim, Destination, Marker, Published, Stage, Staged
from suiro.spi.powers import ReadsStaged

_SORTS = "max_sort_length = 4096"  #: bytes of a key that tell rows apart: more than an index holds
_JOINS = (
    "join_cache_level = 8, join_buffer_size = 8388608, join_buffer_space_limit = 67108864, "
    "optimizer_switch = 'optimize_join_buffer_size=off'"
)  #: MariaDB joins without an index by hashing, as MySQL does by itself; with room for more rows than it guesses
_PATIENCE = 3  #: seconds a claim waits for the session of a process that has just died


class MysqlDestination(Destination[MysqlConfig], ReadsStaged):
    """Tables of one server. A claim's lease is a named lock of the session: it ends with the session."""

    capabilities: ClassVar[Capabilities] = Capabilities(
        write_modes={
            WriteMode.APPEND: Atomicity.TRANSACTION,
            WriteMode.REPLACE: Atomicity.IN_TABLE,
            WriteMode.MERGE: Atomicity.TRANSACTION,
            WriteMode.HISTORY: Atomicity.TRANSACTION,
        },
        max_identifier=64,
        folds_case=True,
        restores=RESTORES,
        stores=STORES,
        deletes=frozenset(Deletes),
        key_snapshots=True,
    )

    def __init__(self, config: MysqlConfig, context: Context) -> None:
        super().__init__(config, context)
        self._opened: Session | None = None
        self._stages = 0
        self._publishes = 0
        self._held: list[Place] = []
        self._built: list[tuple[str, str]] = []

    def check(self) -> None:
        session, database = self._session, self.config.suiro_database or self.config.database
        if database is None:
            return
        table = quote(database, f"{PREFIX}check_{session.id}")
        doing = "checking the right to write"
        session.run(f"CREATE TABLE {table} (a INT) ENGINE=InnoDB", doing=doing)
        try:
            session.run(f"INSERT INTO {table} VALUES (1)", doing=doing)
            session.run(f"ALTER TABLE {table} ADD COLUMN b INT", doing=doing)
        finally:
            session.run(f"DROP TABLE {table}", doing=doing)

    def inspect(self, name: str) -> Table | None:
        table = find(self._session, self._locate(name))
        if table is None:
            return None
        fields = [field for column in table.columns if not column.generated and (field := field_of(column)) is not None]
        primary = next((key.columns for key in table.uniques if key.primary), ())
        return Table(
            name=name,
            schema=pa.schema(fields),
            primary_key=primary,
            required=frozenset(column.name for column in table.columns if not column.filled),
            generated=frozenset(column.name for column in table.columns if column.generated),
        )

    def claim(self, key: TaskKey, run: str) -> Claim:
        parts, session = self._locate(key.table), self._session
        home = self._home(parts)
        markers = Markers(session, home)
        self._take_lock(key, markers)
        markers.make()
        self._drop_leftovers(key, {parts[0], home})
        epoch, position = markers.claim(key, run, parts)
        return Claim(key=key, run=run, epoch=epoch, position=position)

    def stage(
        self, table: Table, spec: WriteSpec, claim: Claim, *, truncates: bool = False, keys: bool = False
    ) -> Stage:
        place = self._place(table, spec, claim, alone=not truncates and not keys)
        return MysqlStage(place, table, spec, claim, truncates=truncates, keys=keys)

    def read_staged(self, staged: Staged) -> Iterator[pa.RecordBatch]:
        yield from held_rows(self.config, self.context, self._find_stage(staged), staged)

    def publish(self, staged: Sequence[Staged], markers: Sequence[Marker], expect: Summary | None) -> Published:
        if not staged:
            raise InternalError("there is nothing staged to publish")
        claims = {item.table.name: item.claim for item in staged}
        for claim in claims.values():
            self._markers(claim).fence(claim)
        stages = [self._find_stage(item) for item in staged]
        found = self._verify(staged, stages, expect)
        self._publishes += 1
        entries = {
            name: self._entry(number, name, claim, staged, stages)
            for number, (name, claim) in enumerate(claims.items(), start=1)
        }
        self._prepare(claims, entries)
        positions = {marker.key.digest(): marker.position for marker in markers}
        with self._announced(claims, entries, positions):
            self._enter(claims, entries, markers)
        self._put_in_place(claims, entries, markers)
        self._drop_stages(stages)
        total = Entered()
        for entry in entries.values():
            total.add(entry.counts)
        notes = tuple(note for entry in entries.values() for note in entry.notes)
        return Published(found=found, **total.as_dict(), notes=notes)

    def close(self) -> None:
        if self._opened is not None:
            if self._opened.driver.open:
                with suppress(SuiroError):  # the next claim drops what is left
                    for parts in [*(place.parts for place in self._held), *self._built]:
                        self._session.run(f"DROP TABLE IF EXISTS {quote(*parts)}")
            self._opened.close()

    # -- publishing --------------------------------------------------------------------------------------------------

    def _prepare(self, claims: dict[str, Claim], entries: dict[str, TableEntry]) -> None:
        """Each task's own table first; a table beside one that isn't built apart is made in its place."""
        for name in sorted(entries, key=lambda name: not self._is_own(claims[name], entries[name])):
            entry, claim = entries[name], claims[name]
            self._built += [(entry.home, f"{entry.label}_b"), (entry.home, entry.label)]
            beside = not self._is_own(claim, entry)
            entry.prepare(in_place=beside and claim.key.digest() not in self._digests_built(claims, entries))

    def _is_own(self, claim: Claim, entry: TableEntry) -> bool:
        """Whether it is the table that the claim is for, and no other beside it."""
        return entry.parts == self._locate(claim.key.table)

    def _digests_built(self, claims: dict[str, Claim], entries: dict[str, TableEntry]) -> set[str]:
        """The tasks whose own table is built apart: their positions become true by the rename."""
        built = {name for name, entry in entries.items() if entry.built is not None}
        return {claims[name].key.digest() for name in built if self._is_own(claims[name], entries[name])}

    def _entry(
        self, number: int, name: str, claim: Claim, staged: Sequence[Staged], stages: Sequence[Standing]
    ) -> TableEntry:
        pairs = zip(staged, stages, strict=True)
        parts = self._locate(name)
        return TableEntry(
            session=self._session,
            flavor=flavor_of(self._session),
            parts=parts,
            segments=[Segment(staged=item, stage=stage) for item, stage in pairs if item.table.name == name],
            home=parts[0],
            label=f"{_stage_prefix(claim.key)}{claim.epoch}_{self._publishes}_{number}",
        )

    @contextmanager
    def _announced(
        self, claims: dict[str, Claim], entries: dict[str, TableEntry], positions: dict[str, Position]
    ) -> Iterator[None]:
        """Announce what DDL is about to do; if what follows fails, take it back."""
        for name, entry in entries.items():
            if entry.built is not None:
                entry.mark(self._mark(claims[name]))
        built = self._digests_built(claims, entries)
        for digest, claim in {claim.key.digest(): claim for claim in claims.values()}.items():
            added = [one for name, e in entries.items() if claims[name].key.digest() == digest for one in e.added]
            if digest in built:
                self._markers(claim).announce(claim, positions.get(digest), self._mark(claim), added)
            elif added:
                self._markers(claim).announce(claim, None, None, added)
        try:
            for entry in entries.values():
                entry.alter()
            yield
        except SuiroError:
            self._undo(claims, entries)
            raise

    def _undo(self, claims: dict[str, Claim], entries: dict[str, TableEntry]) -> None:
        """As far as the connection lives; the next claim does the rest."""
        added: list[Added] = [one for entry in entries.values() for one in entry.added]
        with suppress(SuiroError):
            self._session.run("ROLLBACK")
            take_back(self._session, added)
            for name in entries:
                self._markers(claims[name]).withdraw(claims[name])

    def _enter(self, claims: dict[str, Claim], entries: dict[str, TableEntry], markers: Sequence[Marker]) -> None:
        """One transaction for the tables that stay, and their markers."""
        staying = {name: entry for name, entry in entries.items() if entry.built is None}
        digests = self._digests_built(claims, entries)
        moving = [marker for marker in markers if marker.key.digest() not in digests]
        if not staying and not moving:
            return
        self._session.run("START TRANSACTION")
        for name, entry in staying.items():
            self._markers(claims[name]).fence(claims[name], hold=True)
            entry.enter()
        for marker in moving:
            self._markers_of(marker.key).move(marker)
        self.context.check_cancelled()
        self._session.run("COMMIT")

    def _put_in_place(
        self, claims: dict[str, Claim], entries: dict[str, TableEntry], markers: Sequence[Marker]
    ) -> None:
        """One RENAME TABLE for the tables that were built; from then on what was announced is true."""
        built = {name: entry for name, entry in entries.items() if entry.built is not None}
        if not built:
            return
        olds = {name: f"{entry.label}_o" for name, entry in built.items()}
        renames = [part for name, entry in built.items() for part in entry.renames(olds[name])]
        self.context.check_cancelled()
        try:
            self._session.run(f"RENAME TABLE {', '.join(renames)}", doing="putting the new table in its place")
        except SuiroError:
            for name in built:
                self._markers(claims[name]).fence(claims[name])
                self._markers(claims[name]).withdraw(claims[name])
            raise
        for name, entry in built.items():
            self._drop_old(claims[name], entry, olds[name])
        digests = self._digests_built(claims, entries)
        for marker in markers:
            if marker.key.digest() in digests:
                self._markers_of(marker.key).move(marker)

    def _drop_old(self, claim: Claim, entry: TableEntry, old: str) -> None:
        """Drop what was swapped out; where tables that this user doesn't see point to it, it takes its place again."""
        aside = quote(entry.parts[0], old)
        try:
            self._session.run(f"DROP TABLE IF EXISTS {aside}", doing="dropping the old rows")
        except DataError as error:
            table = quote(*entry.parts)
            self._session.run(f"RENAME TABLE {table} TO {quote(entry.home, entry.label)}, {aside} TO {table}")
            self._markers(claim).withdraw(claim)
            raise SchemaConflict(
                f"foreign keys of tables that this user can't see point to {entry.parts[1]}; it is as it was",
                hint="Replace it by truncate, or let the user see those tables.",
            ) from error

    def _mark(self, claim: Claim) -> str:
        return f"{claim.key.digest()}-{claim.epoch}-{self._publishes}"

    def _drop_stages(self, stages: Sequence[Standing]) -> None:
        for stage in stages:
            self._session.run(f"DROP TABLE IF EXISTS {stage.sql}", doing="dropping a staging table")
        self._held, self._built = [], []

    def _verify(self, staged: Sequence[Staged], stages: Sequence[Standing], expect: Summary | None) -> Summary:
        found, columns = EMPTY, expect is None or bool(expect.columns)
        for item, stage in zip(staged, stages, strict=True):
            fields = list(item.table.schema)
            found = found + measure(self._session, stage.sql, fields, columns=columns, key=item.spec.key)
        differences = () if expect is None else expect.differences(found)
        if differences:
            raise VerificationFailed(
                f"what was staged for {staged[0].table.name} is not what was read; nothing was published",
                hint="Run again; if it happens again, look for what else writes to the staging tables.",
                differences=differences,
            )
        return found

    def _find_stage(self, item: Staged) -> Standing:
        parts = self._locate(item.table.name)
        for database in dict.fromkeys((parts[0], self._home(parts))):
            stage = find(self._session, (database, item.location))
            if stage is not None:
                return stage
        raise Fenced(f"the rows staged for {item.table.name} are gone: another run took over", hint="Run again.")

    # -- sessions and locks ------------------------------------------------------------------------------------------

    @property
    def _session(self) -> Session:
        if self._opened is None:
            self._opened = connect(self.config, self.context)
            self._opened.run(f"SET SESSION {_SORTS}")
            if self._opened.is_mariadb:
                self._opened.run(f"SET SESSION {_JOINS}")
        return self._opened

    def _take_lock(self, key: TaskKey, markers: Markers) -> None:
        until = time.monotonic() + _PATIENCE
        while self._session.ask("SELECT GET_LOCK(%s, 0)", (f"suiro {key.digest()}",)) != [(1,)]:
            self.context.check_cancelled()
            if time.monotonic() > until:
                raise TransientError(
                    f"another run is loading {key.table} ({markers.holder(key)})",
                    hint="Wait until it is done, or cancel it, and run again.",
                )
            time.sleep(0.05)

    def _drop_leftovers(self, key: TaskKey, databases: set[str]) -> None:
        for database in databases:
            left = self._session.ask(
                "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s", (database,)
            )
            for (name,) in left:
                if str(name).startswith(_stage_prefix(key)):
                    self._session.run(f"DROP TABLE IF EXISTS {quote(database, name)}", doing="dropping leftovers")

    # -- names and places --------------------------------------------------------------------------------------------

    def _locate(self, name: str) -> tuple[str, str]:
        parts = locate(name, self.config.database)
        refuse_name("table", parts[1])
        return parts

    def _home(self, parts: tuple[str, str]) -> str:
        """Where markers and staging tables live."""
        return self.config.suiro_database or parts[0]

    def _markers_of(self, key: TaskKey) -> Markers:
        return Markers(self._session, self._home(self._locate(key.table)))

    def _markers(self, claim: Claim) -> Markers:
        return self._markers_of(claim.key)

    def _place(self, table: Table, spec: WriteSpec, claim: Claim, *, alone: bool) -> Place:
        """Where the next staging table goes, and whether it may become the table itself."""
        parts = self._locate(table.name)
        if not table.schema.names:
            raise SchemaConflict(f"{table.name} would have no columns", hint="Choose at least one column.")
        column_types(list(table.schema), spec.key, flavor_of(self._session))  # refuses what has no type
        target = find(self._session, parts)
        becomes = alone and self._stages == 0 and spec.mode not in KEYED
        if target is not None:
            becomes = becomes and spec.mode is WriteMode.REPLACE and spec.replace is Replace.AUTO
            becomes = becomes and target.kind == "table" and fits_as_it_is(target, list(table.schema))
            becomes = becomes and reason_not_to(self._session, target) is None
        self._stages += 1
        place = Place(
            config=self.config,
            context=self.context,
            session=self._session,
            database=parts[0] if becomes else self._home(parts),
            name=f"{_stage_prefix(claim.key)}{claim.epoch}_s{self._stages}{BECOMES if becomes else ''}",
            becomes=becomes,
            like=target,
        )
        self._held.append(place)
        return place


def _stage_prefix(key: TaskKey) -> str:
    return f"{PREFIX}{key.digest()[:16]}_"
