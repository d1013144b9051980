"""Runs at level hash over systems in memory: what is read back is compared, segment by segment, or refused in time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pytest

from suiro.engine.context import RunContext
from suiro.engine.replicate import Systems, replicate
from suiro.model.change import Rows, SchemaChange, Truncate
from suiro.model.errors import DataError
from suiro.model.job import Task, TaskKey
from suiro.model.receipt import Basis, Level
from suiro.model.run import Progress
from suiro.model.schema import ReadMode, Table
from suiro.model.selection import Deletes, WriteMode, WriteSpec
from suiro.model.summary import Summary
from suiro.spi.destination import Claim, Destination, Marker, Published, Stage, Staged
from suiro.testing.memory import MemoryConfig, MemoryDestination, MemorySource, MemorySourceConfig, MemoryStage
from unit.engine.test_replicate import SCHEMA, World, table

HASH = Level.HASH


def meddle(monkeypatch: pytest.MonkeyPatch, change: Callable[[Staged, pa.RecordBatch], pa.RecordBatch]) -> None:
    """Have another program change what was sealed."""
    original = MemoryStage.seal

    def sealed(self: MemoryStage) -> Staged:
        staged = original(self)
        with self._store.transaction() as disk:
            disk.staging[staged.location] = tuple(change(staged, batch) for batch in disk.staging[staged.location])
        return staged

    monkeypatch.setattr(MemoryStage, "seal", sealed)


def instead(batch: pa.RecordBatch, name: str, values: Sequence[Any]) -> pa.RecordBatch:
    at = batch.schema.get_field_index(name)
    return batch.set_column(at, batch.schema.field(at), pa.array(values, batch.schema.field(at).type))


def test_the_receipt_names_the_level_all_columns_and_the_rows_in_flight() -> None:
    world, told = World([(1, 1, "a"), (2, 2, None)]), list[Progress]()
    world.told = told.append
    done = world.run(Task(stream="orders", verify=HASH))
    assert done.error is None and done.receipt is not None
    assert (done.receipt.level, done.receipt.basis, done.receipt.equal) == (HASH, Basis.IN_FLIGHT, True)
    assert set(done.receipt.compared) == {"id", "at", "name"} and done.receipt.adds_up
    assert [(now.comparing, now.publishing) for now in told][-2:] == [(True, False), (False, True)]


def test_a_source_whose_own_count_differs_stops_the_publish_at_level_hash_too(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World([(1, 1, "a"), (2, 2, "b")])
    original = MemorySource.read

    def lossy(self: MemorySource, *arguments: Any) -> Any:
        for change in original(self, *arguments):
            yield Rows(change.stream, change.data.slice(0, 1)) if isinstance(change, Rows) else change

    monkeypatch.setattr(MemorySource, "read", lossy)
    done = world.run(Task(stream="orders", verify=HASH))
    assert done.error is not None and done.error.code == "verification_failed"
    assert world.store.disk.tables == {}


def test_rows_staged_twice_or_lost_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World([(1, 1, "a"), (2, 2, "b")])
    meddle(monkeypatch, lambda _, batch: batch.slice(1))
    done = world.run(Task(stream="orders", verify=HASH))
    assert done.receipt is not None and done.receipt.differences == ("rows: 2 read, 1 staged",)
    assert not done.receipt.equal and done.receipt.source_rows == 2
    assert world.store.disk.tables == {} and not world.store.disk.staging


def test_keys_that_only_hashes_tell_apart_delete_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World([(n, n, "x") for n in (1, 2, 4, 5)])
    task = Task(stream="orders", write=WriteMode.MERGE, deletes=Deletes.HARD, verify=HASH, most_deleted=1.0)
    assert world.run(task).error is None
    with monkeypatch.context() as meddling:
        meddle(meddling, lambda staged, b: instead(b, "id", [1, 3, 3, 5]) if staged.keys else b)
        done = world.run(task)
        assert done.receipt is not None and done.receipt.differences == ("id: the values differ (hash)",)
        assert [row[0] for row in world.rows()] == [1, 2, 4, 5]
    assert world.run(task).error is None


LOG = pa.schema([*SCHEMA, ("_op", pa.string()), ("_seq", pa.binary())])
LOGGED = Task(stream="orders", read=ReadMode.LOG, write=WriteMode.MERGE, deletes=Deletes.HARD, verify=HASH)


def logged(schema: pa.Schema, *rows: tuple[Any, ...]) -> Rows:
    return Rows("orders", table(list(rows), schema).to_batches()[0])


def test_a_delete_that_became_an_update_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World([])
    world.streams.record("orders", [logged(LOG, (1, 1, "a", "c", b"1"), (1, 1, "a", "d", b"2"))])
    meddle(monkeypatch, lambda _, batch: instead(batch, "_op", ["c", "u"]))
    done = world.run(LOGGED)
    assert done.receipt is not None and done.receipt.differences == ("_op: the values differ (hash)",)


def test_segments_of_one_load_are_compared_each_with_its_own_columns() -> None:
    world = World([])
    wide = pa.schema([*SCHEMA, ("more", pa.int32())])
    wide_log = pa.schema([*wide, ("_op", pa.string()), ("_seq", pa.binary())])
    changes = [
        logged(LOG, (1, 1, "a", "c", b"1")),
        Truncate("orders"),
        logged(LOG, (3, 3, "c", "c", b"3")),
        SchemaChange("orders", wide),
        logged(wide_log, (3, 3, "C", 7, "u", b"5")),
    ]
    world.streams.record("orders", changes)
    done = world.run(LOGGED)
    assert done.error is None, done.error
    assert world.store.disk.rows["orders"].to_pylist() == [{"id": 3, "at": 3, "name": "C", "more": 7}]
    assert done.receipt is not None and {"id", "at", "name", "more"} <= set(done.receipt.compared)


def test_values_that_are_no_longer_of_the_type_are_told_by_their_column(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World([(1, 1, "a")])

    def retyped(_: Staged, batch: pa.RecordBatch) -> pa.RecordBatch:
        return batch.set_column(0, "id", pa.array(["one"]))

    meddle(monkeypatch, retyped)
    done = world.run(Task(stream="orders", verify=HASH))
    assert done.receipt is not None and done.receipt.differences == ("id: what is staged, string, isn't all int64",)


def test_what_the_system_says_of_a_column_is_the_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World([(1, 1, "a")])

    def refuses(*_: Any) -> Any:
        raise DataError("column name holds text that isn't UTF-8")

    monkeypatch.setattr(MemoryDestination, "read_staged", refuses)
    done = world.run(Task(stream="orders", verify=HASH))
    assert done.receipt is not None and done.receipt.differences == ("column name holds text that isn't UTF-8",)
    assert world.store.disk.tables == {}


class Blind(Destination[MemoryConfig]):
    """A destination without the power to read back."""

    capabilities = MemoryDestination.capabilities

    def __init__(self, config: MemoryConfig, context: RunContext) -> None:
        super().__init__(config, context)
        self.inner = MemoryDestination(config, context)

    def check(self) -> None:
        self.inner.check()

    def inspect(self, name: str) -> Table | None:
        return self.inner.inspect(name)

    def claim(self, key: TaskKey, run: str) -> Claim:
        return self.inner.claim(key, run)

    def stage(
        self, table: Table, spec: WriteSpec, claim: Claim, *, truncates: bool = False, keys: bool = False
    ) -> Stage:
        return self.inner.stage(table, spec, claim, truncates=truncates, keys=keys)

    def publish(self, staged: Sequence[Staged], markers: Sequence[Marker], expect: Summary | None) -> Published:
        return self.inner.publish(staged, markers, expect)

    def close(self) -> None:
        self.inner.close()


@pytest.mark.parametrize("level", list(Level))
def test_a_destination_that_reads_nothing_back_takes_the_other_levels_alone(level: Level) -> None:
    world = World([(1, 1, "a")])
    with RunContext("run1") as context:
        systems = Systems(
            source=lambda: MemorySource(MemorySourceConfig(system=world.streams), context),
            destination=lambda: Blind(MemoryConfig(store=world.store), context),
            identity="memory",
        )
        done = replicate(Task(stream="orders", verify=level), systems, context)
    if level is not HASH:
        assert done.error is None
        return
    assert done.error is not None and done.error.code == "config_error"
    assert "can't be read back before they are published" in done.error.message
    assert world.store.disk.epochs == {}, "claimed, though it was refused"
