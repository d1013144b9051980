"""PostgreSQL as a destination: claims, staging tables, and one transaction for rows and marker."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from typing import ClassVar

import pyarrow as pa

from suiro.connectors.postgres.config import PostgresConfig
from suiro.connectors.postgres.publish import Entry
from suiro.connectors.postgres.readback import held_rows
from suiro.connectors.postgres.session import Session, connect, told
from suiro.connectors.postgres.stage import PREFIX, Place, PostgresRawStage, PostgresStage, fits_as_it_is
from suiro.connectors.postgres.summary import summarise_relation
from suiro.connectors.postgres.swap import reason_not_to
from suiro.connectors.postgres.tables import (
    Relation,
    as_table,
    column_definitions,
    find_relation,
    locate,
    quote,
)
from suiro.connectors.postgres.types import RESTORES, may_be_missing, sql_type
from suiro.model.errors import Fenced, InternalError, SchemaConflict, TransientError, VerificationFailed
from suiro.model.job import TaskKey
from suiro.model.receipt import Entered
from suiro.model.schema import Position, Table
from suiro.model.selection import Deletes, Replace, WriteMode, WriteSpec
from suiro.model.summary import EMPTY, Summary
from suiro.model.types import logical_field
from suiro.spi.context import Context
from suiro.spi.destination import Atomicity, Capabilities, Claim, Destination, Marker, Published, Stage, Staged
from suiro.spi.powers import RawStage, ReadsStaged, TakesFormat, Wire

MARKERS = "_suiro_markers"
FORMAT = "postgresql binary COPY"
_PATIENCE = 3.0  #: seconds a claim waits for the session of a process that has just died

_MARKERS_TABLE = """
CREATE TABLE IF NOT EXISTS {table} (
    key text PRIMARY KEY, source text NOT NULL, stream text NOT NULL, table_name text NOT NULL,
    epoch bigint NOT NULL, run text NOT NULL, made oid, position text, claimed_at timestamptz NOT NULL DEFAULT now(),
    published_at timestamptz)
"""


class PostgresDestination(Destination[PostgresConfig], TakesFormat, ReadsStaged):
    """Tables of one database. A claim's lease is a session-level advisory lock: it ends with the session."""

    capabilities: ClassVar[Capabilities] = Capabilities(
        write_modes=dict.fromkeys(WriteMode, Atomicity.TRANSACTION),
        deletes=frozenset(Deletes),
        key_snapshots=True,
        max_identifier=63,
        folds_case=False,
        restores=RESTORES,
    )

    def __init__(self, config: PostgresConfig, context: Context) -> None:
        super().__init__(config, context)
        self._opened: Session | None = None
        self._stages = 0
        self._held: list[Place] = []
        self._writing: list[PostgresStage | PostgresRawStage] = []

    def check(self) -> None:
        with told(self.config, self.context, "checking the right to write"), self._session.transaction() as transaction:
            schema = self.config.schema_
            self._make_schema(schema)
            self._session.execute(f"CREATE TABLE {quote(schema, PREFIX + 'check')} (a int)".encode())
            transaction.force_rollback = True

    def inspect(self, name: str) -> Table | None:
        schema, table = locate(name, self.config.schema_)
        with told(self.config, self.context, f"looking at {name}"):
            relation = find_relation(self._session, schema, table)
            return None if relation is None else as_table(self._session, relation, name)

    def claim(self, key: TaskKey, run: str) -> Claim:
        schema, table = locate(key.table, self.config.schema_)
        session = self._session
        with told(self.config, self.context, f"claiming {key.table}"):
            self._take_lock(key)
            home = self._home(schema)
            with session.transaction():
                session.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", (f"suiro {home}",))
                for name in {schema, home}:
                    self._make_schema(name)
                if find_relation(session, home, MARKERS) is None:
                    session.execute(_MARKERS_TABLE.format(table=quote(home, MARKERS)).encode())
            self._drop_leftovers(key, {schema, home})
            epoch, position = self._raise_epoch(key, run, home, missing=find_relation(session, schema, table) is None)
        return Claim(key=key, run=run, epoch=epoch, position=position)

    def stage(
        self, table: Table, spec: WriteSpec, claim: Claim, *, truncates: bool = False, keys: bool = False
    ) -> Stage:
        table = self._settled(table)
        alone = not truncates and not keys and spec.mode is not WriteMode.HISTORY
        place = self._place(table, spec, claim, alone=alone)
        stage = PostgresStage(place, table, spec, claim, truncates=truncates, keys=keys)
        self._writing.append(stage)
        return stage

    def takes(self, wire: Wire, table: Table) -> bool:
        mine = tuple((field.name, sql_type(field)) for field in table.schema)
        return (
            wire.format == FORMAT
            and mine == wire.columns
            and self._settled(table).schema.equals(table.schema, check_metadata=True)
        )

    def stage_raw(self, table: Table, spec: WriteSpec, claim: Claim, wire: Wire) -> RawStage:
        place = self._place(table, spec, claim, alone=True)
        with told(self.config, self.context, "staging"):
            stage = PostgresRawStage(place, table, spec, claim, wire)
        self._writing.append(stage)
        return stage

    def read_staged(self, staged: Staged) -> Iterator[pa.RecordBatch]:
        schema, _ = locate(staged.table.name, self.config.schema_)
        with told(self.config, self.context, "reading back what is staged"):
            relation = self._find_stage(staged, schema)
        yield from held_rows(self.config, self.context, self._session, relation, staged)

    def publish(self, staged: Sequence[Staged], markers: Sequence[Marker], expect: Summary | None) -> Published:
        if not staged:
            raise InternalError("there is nothing staged to publish")
        session = self._session
        total, notes = Entered(), list[str]()
        with told(self.config, self.context, f"publishing {staged[0].table.name}"), session.transaction():
            homes = {item.table.name: locate(item.table.name, self.config.schema_) for item in staged}
            made = {name: self._fence(self._claim_of(name, staged), *home) for name, home in homes.items()}
            stages = [self._find_stage(item, homes[item.table.name][0]) for item in staged]
            found = self._verify(staged, stages, expect)
            for number, (item, stage) in enumerate(zip(staged, stages, strict=True)):
                name = item.table.name
                first = all(other.table.name != name for other in staged[:number])
                entry = Entry(session=session, staged=item, stage=stage, home=homes[name], made=made[name])
                made[name] = made[name] or find_relation(session, *homes[name]) is None
                entry.enter(replaces=first and item.spec.mode is WriteMode.REPLACE)
                total.add(entry.counts)
                notes += entry.notes
            for marker in markers:
                self._move(marker, *locate(marker.key.table, self.config.schema_), made.get(marker.key.table, False))
            for stage in stages:
                session.execute(f"DROP TABLE IF EXISTS {stage.sql}".encode())
        self._held = []
        return Published(found=found, **total.as_dict(), notes=tuple(notes))

    def close(self) -> None:
        for stage in self._writing:
            stage.let_go()
        if self._opened is not None and not self._opened.closed:
            for place in self._held:
                place.drop()
            self._opened.close()

    # -- sessions and locks ------------------------------------------------------------------------------------------

    @property
    def _session(self) -> Session:
        if self._opened is None:
            self._opened = connect(self.config, self.context)
        return self._opened

    def _take_lock(self, key: TaskKey) -> None:
        number = int(key.digest()[:16], 16) - 2**63
        until = time.monotonic() + _PATIENCE
        while True:
            row = self._session.execute("SELECT pg_try_advisory_lock(%s::bigint)", (number,)).fetchone()
            if row and row[0]:
                return
            self.context.check_cancelled()
            if time.monotonic() > until:
                raise TransientError(
                    f"another run is loading {key.table} ({self._holder(key)})",
                    hint="Wait until it is done, or cancel it, and run again.",
                )
            time.sleep(0.1)

    def _holder(self, key: TaskKey) -> str:
        home = self._home(locate(key.table, self.config.schema_)[0])
        if find_relation(self._session, home, MARKERS) is None:
            return "it has just begun"
        asked = f"SELECT run FROM {quote(home, MARKERS)} WHERE key = %s"
        row = self._session.execute(asked.encode(), (key.digest(),)).fetchone()
        return f"run {row[0]}" if row else "it has just begun"

    def _home(self, schema: str) -> str:
        """Where markers and staging tables live."""
        return self.config.suiro_schema or schema

    def _make_schema(self, name: str) -> None:
        row = self._session.execute("SELECT to_regnamespace(%s) IS NULL", (quote(name),)).fetchone()
        if row and row[0]:
            self._session.execute(f"CREATE SCHEMA IF NOT EXISTS {quote(name)}".encode())

    # -- claims and markers ------------------------------------------------------------------------------------------

    def _drop_leftovers(self, key: TaskKey, schemas: set[str]) -> None:
        left = self._session.execute(
            "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE n.nspname = ANY(%s) AND starts_with(c.relname, %s) AND c.relkind = 'r'",
            (list(schemas), _stage_prefix(key)),
        ).fetchall()
        for schema, name in left:
            self._session.execute(f"DROP TABLE IF EXISTS {quote(schema, name)}".encode())

    def _raise_epoch(self, key: TaskKey, run: str, home: str, *, missing: bool) -> tuple[int, Position | None]:
        row = self._session.execute(
            f"INSERT INTO {quote(home, MARKERS)} AS m (key, source, stream, table_name, epoch, run) "
            "VALUES (%s, %s, %s, %s, 1, %s) ON CONFLICT (key) DO UPDATE SET epoch = m.epoch + 1, run = excluded.run, "
            "claimed_at = now(), position = CASE WHEN %s THEN NULL ELSE m.position END "
            "RETURNING epoch, position".encode(),
            (key.digest(), key.source, key.stream, key.table, run, missing),
        ).fetchone()
        assert row is not None
        return int(row[0]), None if row[1] is None else json.loads(row[1])

    def _claim_of(self, name: str, staged: Sequence[Staged]) -> Claim:
        return next(item.claim for item in staged if item.table.name == name)

    def _fence(self, claim: Claim, schema: str, name: str) -> bool:
        """Hold the marker's row for this transaction; returns whether Suiro made the table."""
        markers = quote(self._home(schema), MARKERS)
        row = self._session.execute(
            f"SELECT epoch FROM {markers} WHERE key = %s FOR UPDATE".encode(), (claim.key.digest(),)
        ).fetchone()
        if row is None or int(row[0]) != claim.epoch:
            raise Fenced(
                f"another run took over the loading of {claim.key.table}", hint="Nothing was changed by this run."
            )
        asked = f"SELECT EXISTS (SELECT FROM {markers} WHERE made = to_regclass(%s)::oid)"
        mine = self._session.execute(asked.encode(), (quote(schema, name),)).fetchone()
        return bool(mine and mine[0])

    def _move(self, marker: Marker, schema: str, name: str, made: bool) -> None:
        self._session.execute(
            f"UPDATE {quote(self._home(schema), MARKERS)} SET position = %s, published_at = now(), "
            "made = CASE WHEN %s THEN to_regclass(%s)::oid END WHERE key = %s".encode(),
            (json.dumps(dict(marker.position)), made, quote(schema, name), marker.key.digest()),
        )

    # -- staging -----------------------------------------------------------------------------------------------------

    def _place(self, table: Table, spec: WriteSpec, claim: Claim, *, alone: bool) -> Place:
        """Where the next staging table goes, and whether it may become the table itself."""
        schema, name = locate(table.name, self.config.schema_)
        home = self._home(schema)
        if not table.schema.names:
            raise SchemaConflict(f"{table.name} would have no columns", hint="Choose at least one column.")
        column_definitions(list(table.schema))  # refuses types that PostgreSQL lacks before anything is made
        with told(self.config, self.context, "staging"):
            target = find_relation(self._session, schema, name)
            becomes = alone and self._stages == 0
            if target is not None:
                swaps = spec.mode is WriteMode.REPLACE and spec.replace is Replace.AUTO
                becomes = becomes and swaps and fits_as_it_is(target, list(table.schema))
                becomes = becomes and reason_not_to(self._session, target, self._made(target, home)) is None
                home = schema if becomes else home
        self._stages += 1
        place = Place(
            config=self.config,
            context=self.context,
            session=self._session,
            schema=home,
            name=f"{_stage_prefix(claim.key)}{claim.epoch}_{self._stages}",
            becomes=becomes,
            target=target,
        )
        self._held.append(place)
        return place

    def _made(self, target: Relation, home: str) -> bool:
        asked = f"SELECT EXISTS (SELECT FROM {quote(home, MARKERS)} WHERE made = %s)"
        row = self._session.execute(asked.encode(), (target.oid,)).fetchone()
        return bool(row and row[0])

    def _find_stage(self, item: Staged, schema: str) -> Relation:
        for place in (schema, self._home(schema)):
            stage = find_relation(self._session, place, item.location)
            if stage is not None:
                return stage
        raise Fenced(f"the rows staged for {item.table.name} are gone: another run took over", hint="Run again.")

    def _verify(self, staged: Sequence[Staged], stages: Sequence[Relation], expect: Summary | None) -> Summary:
        found = EMPTY
        for item, stage in zip(staged, stages, strict=True):
            key, columns = item.spec.key, expect is None or bool(expect.columns)
            fields = list(item.table.schema)
            found = found + summarise_relation(self._session, stage.sql, fields, columns=columns, key=key)
        differences = () if expect is None else expect.differences(found)
        if differences:
            raise VerificationFailed(
                f"what was staged for {staged[0].table.name} is not what was read; nothing was published",
                hint="Run again; if it happens again, look for what else writes to the staging tables.",
                differences=differences,
            )
        return found

    def _settled(self, table: Table) -> Table:
        """The table without the logical types that this database lacks: such columns hold text."""
        fields = [
            field if not may_be_missing(field) or self._knows_type(field) else logical_field(field.name, field.type)
            for field in table.schema
        ]
        return Table(name=table.name, schema=pa.schema(fields), primary_key=table.primary_key)

    def _knows_type(self, field: pa.Field) -> bool:
        with told(self.config, self.context, f"looking for the type of column {field.name}"):
            row = self._session.execute(
                "SELECT to_regtype(%s) IS NOT NULL", (sql_type(field).split("(", 1)[0],)
            ).fetchone()
        return bool(row and row[0])


def _stage_prefix(key: TaskKey) -> str:
    return f"{PREFIX}{key.digest()[:16]}_"
