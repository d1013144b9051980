"""What a connector's author tells the destination suite, and the steps that its tests are made of."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, settings

from suiro.model.errors import TransientError
from suiro.model.job import TaskKey
from suiro.model.naming import join_name
from suiro.model.schema import Position, Table
from suiro.model.selection import WriteMode, WriteSpec
from suiro.model.summary import EMPTY, Summary
from suiro.spi.destination import Capabilities, Claim, Destination, Marker, Published, Staged
from suiro.testing.cells import assert_rows, decoded
from suiro.testing.harness import Harness
from suiro.testing.load import Load

RIGHT = Summary(rows=-1, columns={})  #: stands for "what the rows add up to" where a test expects no other summary
EVERY_MODE = pytest.mark.parametrize("mode", [WriteMode.APPEND, WriteMode.REPLACE, WriteMode.MERGE])
SCHEMA = pa.schema([("id", pa.int64()), ("name", pa.string()), ("v", pa.int64())])


class DestinationHarness(Harness[Destination[Any]]):
    """The author's part: `make`, `read`, `drop`, `leftovers`; the rest has defaults.

    Every test has its own instance and an empty folder, `self.folder`. Destinations that a test opens by
    `self.open()` are closed after it.
    """

    seconds_to_notice_death: ClassVar[float] = 20  #: until the system ends the lease of a process that was killed

    # --- the author's part

    @abstractmethod
    def make(self) -> Destination[Any]:
        """A new destination on one and the same system, with `self.context()`. Several may live at once."""

    @abstractmethod
    def read(self, table: str) -> pa.Table | None:
        """The rows of a table as another program sees them, by the system's own means; None when it is missing.

        Columns of logical types as their text.
        """

    @abstractmethod
    def drop(self, table: str) -> None:
        """Drop a table by the system's own means; harmless when it is missing."""

    @abstractmethod
    def leftovers(self) -> Sequence[str]:
        """The names of all staging that is in the system, of any run. Markers and leases don't count."""

    def table_name(self, stem: str) -> str:
        """A table's full name, for example with a schema before it."""
        return join_name([stem])

    def decode(self, column: pa.ChunkedArray, field: pa.Field) -> pa.ChunkedArray:
        """What `read` gave, in the type of `field`. By default a cast; override for forms of the system's own."""
        return decoded(column, field)

    def lose_lease(self, destination: Destination[Any]) -> None:
        """End the lease that `destination` holds without its knowledge, as a network that breaks would."""
        pytest.skip("the suite is not told how a lease of this system gets lost (lose_lease)")

    # --- what tests are made of

    def fresh(self, stem: str = "t") -> str:
        """The full name of a table that no other call returned."""
        return self.table_name(f"{stem}_{next(self._numbers)}")

    def close(self, destination: Destination[Any]) -> None:
        """Close it now."""
        self._opened = [other for other in self._opened if other is not destination]
        destination.close()

    def capabilities(self) -> Capabilities:
        """What the destination claims to be able to do."""
        found: Capabilities = type(self.open()).capabilities
        return found

    def needs(self, mode: WriteMode) -> None:
        """Skip where the destination doesn't claim this write mode."""
        if mode not in self.capabilities().write_modes:
            pytest.skip(f"no {mode}")

    def settings(self) -> settings:
        """For properties: a quarter of the profile's examples, since each is a whole load."""
        return settings(
            max_examples=max(4, settings().max_examples // 4),
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        )

    def claim(self, destination: Destination[Any], key: TaskKey, *, patience: float = 0) -> Claim:
        """Claim under the destination's own run; for `patience` seconds again while another run's lease lives."""
        until = time.monotonic() + patience
        while True:
            try:
                return destination.claim(key, destination.context.run)
            except TransientError:
                if time.monotonic() >= until:
                    raise
                time.sleep(0.05)

    def stage(self, destination: Destination[Any], load: Load, claim: Claim) -> Staged:
        """Write and seal."""
        with destination.stage(load.table, load.spec, claim, truncates=load.truncates, keys=load.keys) as stage:
            for batch in load.rows:
                stage.write(batch)
            return stage.seal()

    def publish(self, destination: Destination[Any], load: Load, *staged: Staged) -> Published:
        """Publish the staged rows of one load, with its position and its summary."""
        marker = Marker(key=load.key, position=load.position)
        return destination.publish(list(staged), [marker], self.summary(load))

    def carry(self, *loads: Load, expect: Summary | None = RIGHT) -> Published:
        """A whole run: claim, stage, seal, publish with the last load's position, close. Loads are of one table."""
        destination = self.open()
        claim = self.claim(destination, loads[-1].key)
        staged = [self.stage(destination, load, claim) for load in loads]
        wanted = self.summary(*loads) if expect is RIGHT else expect
        published = destination.publish(staged, [Marker(key=loads[-1].key, position=loads[-1].position)], wanted)
        self.close(destination)
        return published

    def summary(self, *loads: Load) -> Summary:
        """What the rows of these loads add up to, as an engine computes it while they pass."""
        total = EMPTY
        for load in loads:
            total = total + load.summary()
        return total

    def position(self, key: TaskKey) -> Position | None:
        """What the marker says to the next run, which then ends."""
        destination = self.open()
        found = self.claim(destination, key).position
        self.close(destination)
        return found

    def assert_table(self, expected: pa.Table, name: str, when: str = "") -> None:
        """The table holds exactly these rows and columns, each in any order."""
        assert_rows(expected, self.read(name), self.decode, when)

    # --- rows

    def rows(self, *values: tuple[Any, ...], schema: pa.Schema = SCHEMA) -> pa.Table:
        """Rows given as tuples in the schema's order."""
        columns = [pa.array([row[i] for row in values], field.type) for i, field in enumerate(schema)]
        return pa.table(columns, schema=schema)

    def load(self, name: str, rows: pa.Table, spec: WriteSpec, position: int, *, truncates: bool = False) -> Load:
        """A load of these rows into the table `name`; the position is `{"n": position}`."""
        key = spec.key or tuple(n for n in rows.column_names if n == "id")
        columns = [field for field in rows.schema if field.name not in ("_op", "_seq")]
        table = Table(name=name, schema=pa.schema(columns), primary_key=key)
        batches = tuple(rows.combine_chunks().to_batches())
        return Load(table=table, rows=batches, spec=spec, position={"n": position}, truncates=truncates)


def spec_of(mode: WriteMode) -> WriteSpec:
    """The plainest way to write in this mode."""
    return WriteSpec(mode=mode, key=("id",) if mode is WriteMode.MERGE else ())


def after(mode: WriteMode, old: pa.Table, new: pa.Table) -> pa.Table:
    """The rows of a table that held `old` when `new` entered; both have the columns and the key of `SCHEMA`."""
    if mode is WriteMode.REPLACE:
        return new
    if mode is WriteMode.APPEND:
        return pa.concat_tables([old, new])
    last = {row["id"]: row for row in [*old.to_pylist(), *new.to_pylist()]}
    return pa.Table.from_pylist(list(last.values()), new.schema)
