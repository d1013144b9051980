"""A task run from claim to receipt, over sources and destinations in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suiro.engine.context import Budgets, RunContext
from suiro.engine.replicate import ATTEMPTS, Systems, replicate
from suiro.model.change import Change, Rows, SchemaChange, Truncate
from suiro.model.errors import ConnectionLost
from suiro.model.job import Drift, Task, TaskKey
from suiro.model.receipt import Basis, Level
from suiro.model.run import Progress, Status, TaskRun
from suiro.model.schema import Position, ReadMode
from suiro.model.selection import KEYED, Deletes, WriteMode
from suiro.spi.destination import Claim
from suiro.spi.source import Read
from suiro.testing.memory import (
    MemoryConfig,
    MemoryDestination,
    MemorySource,
    MemorySourceConfig,
    MemoryStore,
    MemoryStreams,
)

SCHEMA = pa.schema([("id", pa.int64()), ("at", pa.int64()), ("name", pa.string())])


class World:
    """A source system, a destination's disk, and runs between them."""

    budgets = Budgets()

    def __init__(self, rows: list[tuple[Any, ...]] | None = None, **moods: Any) -> None:
        self.streams = MemoryStreams(**moods)
        self.store = MemoryStore()
        self.streams.fill("orders", table(rows or []), ("id",))
        self.runs = 0
        self.told: Callable[[Progress], None] = lambda _: None

    def run(self, task: Task | None = None, *, run: str | None = None) -> TaskRun:
        self.runs += 1
        with RunContext(run or f"run{self.runs}", budgets=self.budgets) as context:
            context.wait = lambda seconds: None  # type: ignore[method-assign]
            systems = Systems(
                source=lambda: MemorySource(MemorySourceConfig(system=self.streams), context),
                destination=lambda: MemoryDestination(MemoryConfig(store=self.store), context),
                identity="memory",
            )
            return replicate(task or Task(stream="orders"), systems, context, self.told)

    def rows(self, name: str = "orders") -> list[tuple[Any, ...]]:
        found = self.store.disk.rows.get(name)
        return [] if found is None else [tuple(row.values()) for row in found.to_pylist()]


def table(rows: list[tuple[Any, ...]], schema: pa.Schema = SCHEMA) -> pa.Table:
    columns = [pa.array([row[i] for row in rows], field.type) for i, field in enumerate(schema)]
    return pa.table(columns, schema=schema)


def incremental(write: WriteMode, **more: Any) -> Task:
    return Task(stream="orders", read=ReadMode.INCREMENTAL, write=write, cursor="at", **more)


def test_a_full_read_replaces_the_table_and_its_receipt_adds_up() -> None:
    world = World([(1, 1, "a"), (2, 2, None)])
    first = world.run()
    assert first.status is Status.SUCCEEDED, first.error
    assert world.rows() == [(1, 1, "a"), (2, 2, None)]
    assert first.receipt is not None
    assert first.receipt.equal and first.receipt.adds_up
    assert first.receipt.basis is Basis.SNAPSHOT
    assert (first.rows_read, first.rows_written, first.receipt.table_rows) == (2, 2, 2)
    world.streams.fill("orders", table([(3, 3, "c")]), ("id",))
    world.run()
    assert world.rows() == [(3, 3, "c")]


def test_replace_with_no_rows_empties_the_table_or_keeps_it_as_asked() -> None:
    world = World([(1, 1, "a")])
    world.run()
    world.streams.fill("orders", table([]), ("id",))
    kept = world.run(Task(stream="orders", only_new_data=True))
    assert kept.status is Status.SUCCEEDED
    assert world.rows() == [(1, 1, "a")]
    world.run()
    assert world.rows() == []


def test_columns_are_picked_and_renamed() -> None:
    world = World([(1, 1, "a")])
    done = world.run(Task(stream="orders", columns={"name": "who", "id": "id"}, table="people"))
    assert done.error is None
    assert world.store.disk.rows["people"].to_pylist() == [{"id": 1, "who": "a"}]


def test_a_condition_filters_where_the_source_cannot() -> None:
    world = World([(i, i, None if i % 3 == 0 else str(i)) for i in range(10)])
    done = world.run(Task(stream="orders", where="name <> '4' AND id > 1"))
    assert done.receipt is not None
    assert sorted(world.rows()) == [(i, i, str(i)) for i in (2, 5, 7, 8)]
    assert (done.receipt.read, done.receipt.filtered, done.receipt.staged) == (10, 6, 4)
    assert done.receipt.adds_up and done.receipt.basis is Basis.IN_FLIGHT


def test_a_wrong_condition_is_one_sentence_and_changes_nothing() -> None:
    world = World([(1, 1, "a")])
    world.run()
    done = world.run(Task(stream="orders", where="nome = 1"))
    assert done.status is Status.FAILED
    assert done.error is not None and done.error.code == "config_error" and "nome" in done.error.message
    assert world.rows() == [(1, 1, "a")]


def test_a_limit_stops_the_read() -> None:
    world = World([(i, i, "x") for i in range(5000)], batch_rows=100)
    done = world.run(Task(stream="orders", limit=250))
    assert done.receipt is not None
    assert len(world.rows()) == 250
    assert done.receipt.adds_up
    assert done.rows_read < 1000


def test_parts_of_one_read_enter_in_one_load() -> None:
    world = World([(i, i, "x") for i in range(100)], parts=4)
    done = world.run()
    assert done.loads == 1
    assert sorted(world.rows()) == [(i, i, "x") for i in range(100)]
    assert done.position == {"rows": 100}


def test_an_append_of_one_run_happens_once_and_of_another_again() -> None:
    world = World([(1, 1, "a")])
    task = Task(stream="orders", write=WriteMode.APPEND)
    world.run(task, run="monday")
    again = world.run(task, run="monday")
    assert world.rows() == [(1, 1, "a")]
    assert again.status is Status.SUCCEEDED and "monday" in again.notes[0]
    world.run(task, run="tuesday")
    assert world.rows() == [(1, 1, "a")] * 2


def test_long_reads_are_published_a_load_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(World, "budgets", Budgets(load=1000))
    world = World([(i, i, "x") for i in range(1000)], batch_rows=10, checkpoint_rows=10)
    done = world.run(incremental(WriteMode.APPEND))
    assert done.error is None
    assert done.loads > 3
    assert sorted(world.rows()) == [(i, i, "x") for i in range(1000)]
    assert done.receipt is not None and done.receipt.adds_up
    assert world.streams.acknowledged[-1] == done.position


def test_a_full_append_that_the_source_adds_up_is_one_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(World, "budgets", Budgets(load=1000))
    world = World([(i, i, "x") for i in range(1000)], batch_rows=10, checkpoint_rows=10)
    done = world.run(Task(stream="orders", write=WriteMode.APPEND))
    assert done.error is None
    assert (done.loads, done.rows_written) == (1, 1000)
    assert done.receipt is not None and done.receipt.basis is Basis.SNAPSHOT and done.receipt.adds_up


def test_what_is_published_counts_even_if_the_run_fails_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(World, "budgets", Budgets(load=1000))
    rows = [(i, i, "x") for i in range(1000)]
    world = World(rows, batch_rows=10, checkpoint_rows=10, breaks_after=500)
    done = world.run(incremental(WriteMode.APPEND))
    assert done.status is Status.SUCCEEDED, done.error
    assert done.attempts == 2
    assert sorted(world.rows()) == rows
    assert done.receipt is not None and done.receipt.adds_up
    assert done.receipt.inserted == 1000


def test_a_connection_that_never_was_is_told_at_once() -> None:
    world = World()

    def unreachable() -> MemorySource:
        raise ConnectionLost("nothing answers", hint="Check the host.")

    with RunContext("r") as context:
        systems = Systems(
            source=unreachable,
            destination=lambda: MemoryDestination(MemoryConfig(store=world.store), context),
            identity="memory",
        )
        done = replicate(Task(stream="orders"), systems, context)
    assert (done.status, done.attempts) == (Status.FAILED, 1)
    assert done.error is not None and done.error.hint == "Check the host."


def test_a_system_that_stays_away_for_a_while_after_a_lost_connection_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World([(1, 1, "a")])
    whole, broken = MemorySource.read, [ConnectionLost("it broke")]
    away = [ConnectionLost("nothing answers"), ConnectionLost("nothing answers")]

    def read(self: MemorySource, read: Read, since: Position | None) -> Iterator[Change]:
        if broken:
            raise broken.pop()
        yield from whole(self, read, since)

    def claim(self: MemoryDestination, key: TaskKey, run: str) -> Claim:
        if not broken and away:
            raise away.pop()
        return claimed(self, key, run)

    claimed = MemoryDestination.claim
    monkeypatch.setattr(MemorySource, "read", read)
    monkeypatch.setattr(MemoryDestination, "claim", claim)
    done = world.run(incremental(WriteMode.MERGE))
    assert (done.status, done.attempts) == (Status.SUCCEEDED, 4), done.error
    assert world.rows() == [(1, 1, "a")]


def test_attempts_come_to_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World([(1, 1, "a")])

    def broken(self: MemorySource, *_: Any) -> Any:
        raise ConnectionLost("it broke")
        yield

    monkeypatch.setattr(MemorySource, "read", broken)
    done = world.run(incremental(WriteMode.MERGE))
    assert (done.status, done.attempts) == (Status.FAILED, ATTEMPTS)
    assert not world.store.disk.staging


@pytest.mark.parametrize("published", [True, False])
@pytest.mark.parametrize("write", list(WriteMode))
def test_a_publish_whose_answer_is_lost_is_neither_lost_nor_doubled(
    monkeypatch: pytest.MonkeyPatch, published: bool, write: WriteMode
) -> None:
    world = World([(1, 1, "a"), (2, 2, "b")])
    task = incremental(write)
    if write is WriteMode.REPLACE:
        task = Task(stream="orders")
        world.run(task)
    original = MemoryDestination.publish
    lost: list[bool] = []

    def publish(self: MemoryDestination, *arguments: Any) -> Any:
        if lost:
            return original(self, *arguments)
        lost.append(True)
        if published:
            original(self, *arguments)
        raise ConnectionLost("the line went dead")

    monkeypatch.setattr(MemoryDestination, "publish", publish)
    done = world.run(task)
    assert done.status is Status.SUCCEEDED, done.error
    assert sorted(row[:3] for row in world.rows()) == [(1, 1, "a"), (2, 2, "b")]
    assert done.receipt is not None and done.receipt.adds_up and done.receipt.equal
    assert done.rows_written == 2


def test_rows_that_change_between_stage_and_publish_are_not_published(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World([(1, 1, "a"), (2, 2, "b")])
    world.run()
    world.streams.fill("orders", table([(1, 1, "x"), (2, 5, "y")]), ("id",))
    original = MemoryDestination.publish

    def tampered(self: MemoryDestination, staged: Any, *arguments: Any) -> Any:
        at = staged[0].location
        world.store.disk.staging[at] = tuple(batch.slice(1) for batch in world.store.disk.staging[at])
        return original(self, staged, *arguments)

    monkeypatch.setattr(MemoryDestination, "publish", tampered)
    done = world.run()
    assert done.status is Status.FAILED
    assert done.error is not None and done.error.code == "verification_failed"
    assert done.receipt is not None and not done.receipt.equal
    assert done.receipt.differences[0] == "rows: 2 read, 1 staged"
    assert world.rows() == [(1, 1, "a"), (2, 2, "b")]


def test_a_source_whose_own_count_differs_stops_the_publish(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World([(1, 1, "a"), (2, 2, "b")])
    original = MemorySource.read

    def lossy(self: MemorySource, *arguments: Any) -> Any:
        for change in original(self, *arguments):
            yield Rows(change.stream, change.data.slice(0, 1)) if isinstance(change, Rows) else change

    monkeypatch.setattr(MemorySource, "read", lossy)
    done = world.run()
    assert done.error is not None and done.error.code == "verification_failed"
    assert world.store.disk.tables == {}


def test_a_null_key_is_refused_by_its_column() -> None:
    world = World()
    world.streams.fill("orders", table([(1, 1, "a"), (None, 2, "b")]), ("id",))
    done = world.run(Task(stream="orders", write=WriteMode.MERGE))
    assert done.error is not None and done.error.code == "data_error" and "column id" in done.error.message
    assert world.store.disk.tables == {} and not world.store.disk.staging


def test_keys_of_a_read_that_ends_too_early_take_nothing_for_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World([(i, i, "x") for i in range(4)])
    task = Task(stream="orders", write=WriteMode.MERGE, deletes=Deletes.HARD)
    assert world.run(task).status is Status.SUCCEEDED
    whole = MemorySource.read

    def cut(self: MemorySource, read: Read, since: Position | None) -> Iterator[Change]:
        keys_only = read.selections[0].columns == ("id",)
        yield from (change for change in whole(self, read, since) if not keys_only or isinstance(change, Rows))

    monkeypatch.setattr(MemorySource, "read", cut)
    done = world.run(task)
    assert done.error is not None and "ended without a checkpoint" in done.error.message
    assert len(world.rows()) == 4


def test_a_schema_change_and_a_truncate_are_segments_of_one_load() -> None:
    world = World([])
    wide = pa.schema([*SCHEMA, ("more", pa.int32())])
    log = pa.schema([*SCHEMA, ("_op", pa.string()), ("_seq", pa.binary())])
    wide_log = pa.schema([*wide, ("_op", pa.string()), ("_seq", pa.binary())])

    def changes(schema: pa.Schema, *rows: tuple[Any, ...]) -> Rows:
        return Rows("orders", table(list(rows), schema).to_batches()[0])

    world.streams.record(
        "orders",
        [
            changes(log, (1, 1, "a", "c", b"1"), (2, 2, "b", "c", b"2")),
            Truncate("orders"),
            changes(log, (3, 3, "c", "c", b"3"), (4, 4, "d", "c", b"4")),
            SchemaChange("orders", wide),
            changes(wide_log, (3, 3, "C", 7, "u", b"5"), (4, None, None, None, "d", b"6")),
        ],
    )
    world.store.disk.tables.clear()
    done = world.run(Task(stream="orders", read=ReadMode.LOG, write=WriteMode.MERGE, deletes=Deletes.HARD))
    assert done.error is None, done.error
    assert world.store.disk.rows["orders"].to_pylist() == [{"id": 3, "at": 3, "name": "C", "more": 7}]
    assert done.receipt is not None and done.receipt.adds_up
    again = world.run(Task(stream="orders", read=ReadMode.LOG, write=WriteMode.MERGE, deletes=Deletes.HARD))
    assert again.rows_read == 0


def test_a_frozen_schema_refuses_and_an_ignoring_one_leaves_out() -> None:
    world = World([(1, 1, "a")])
    world.run()
    wide = pa.schema([*SCHEMA, ("more", pa.int32())])
    world.streams.fill("orders", table([(1, 1, "a", 7)], wide), ("id",))
    frozen = world.run(Task(stream="orders", drift=Drift.FREEZE))
    assert frozen.error is not None and frozen.error.code == "schema_conflict" and "more" in frozen.error.message
    assert world.run(Task(stream="orders", drift=Drift.IGNORE)).error is None
    assert world.rows() == [(1, 1, "a")]
    assert world.run().error is None
    assert world.rows() == [(1, 1, "a", 7)]


@pytest.mark.parametrize(
    ("task", "word"),
    [
        (Task(stream="nosuch"), "nosuch"),
        (Task(stream="orders", columns={"nosuch": "x"}), "nosuch"),
        (Task(stream="orders", read=ReadMode.INCREMENTAL), "cursor"),
        (Task(stream="orders", read=ReadMode.INCREMENTAL, cursor="nosuch"), "nosuch"),
        (Task(stream="orders", read=ReadMode.INCREMENTAL, cursor="at", write=WriteMode.REPLACE), "replaced"),
        (Task(stream="orders", read=ReadMode.LOG), "log"),
        (Task(stream="orders", key=("nosuch",)), "nosuch"),
        (Task(stream="orders", write=WriteMode.MERGE, columns={"at": "at"}), "id"),
        (Task(stream="orders", columns={"at": "x", "name": "x"}), "x"),
        (replace(incremental(WriteMode.APPEND), limit=5), "limit"),
    ],
)
def test_a_task_that_cannot_be_is_refused_before_anything_is_touched(task: Task, word: str) -> None:
    world = World([(1, 1, "a")])
    done = world.run(task)
    assert done.error is not None and done.error.code == "config_error"
    assert word in f"{done.error.message} {done.error.hint}"
    assert done.error.hint
    assert world.store.disk.tables == {} and world.store.disk.epochs == {}


def test_append_after_a_read_of_another_kind_is_refused_rather_than_doubled() -> None:
    world = World([(1, 1, "a")])
    world.run()
    done = world.run(incremental(WriteMode.APPEND))
    assert done.error is not None and done.error.code == "resync_required" and done.error.hint
    assert world.rows() == [(1, 1, "a")]


def test_a_cancelled_run_says_so_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World([(i, i, "x") for i in range(1000)], batch_rows=10)
    contexts: list[RunContext] = []
    original = RunContext.__enter__

    def entered(self: RunContext) -> RunContext:
        contexts.append(self)
        return original(self)

    monkeypatch.setattr(RunContext, "__enter__", entered)
    world.told = lambda _: contexts[0].cancel()
    done = world.run()
    assert done.status is Status.CANCELLED
    assert done.error is not None and done.error.code == "cancelled"
    assert world.store.disk.tables == {} and not world.store.disk.staging


def test_at_level_rows_only_rows_are_compared() -> None:
    world = World([(1, 1, "a")])
    done = world.run(Task(stream="orders", verify=Level.ROWS))
    assert done.receipt is not None
    assert (done.receipt.level, done.receipt.compared, done.receipt.source_rows) == (Level.ROWS, (), 1)


ROWS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 2), st.sampled_from("abc")), max_size=10)


@pytest.mark.parametrize("write", list(WriteMode))
@given(rounds=st.lists(ROWS, min_size=1, max_size=4), breaks=st.integers(0, 12), batch=st.integers(1, 4))
def test_a_read_broken_anywhere_and_run_again_carries_every_row_once(
    write: WriteMode, rounds: list[list[tuple[int, int, str]]], breaks: int, batch: int
) -> None:
    world = World(batch_rows=batch, breaks_after=breaks)
    world.streams.fill("orders", table([]), ())
    there: list[tuple[Any, ...]] = []
    for new in rounds:
        clock = max((at for _, at, _ in there), default=0)  # new rows never come with an older cursor value
        rows = [(key, clock + at, name) for key, at, name in new]
        world.streams.add("orders", table(rows))
        there += rows
        task = Task(stream="orders") if write is WriteMode.REPLACE else incremental(write, key=("id",))
        done = world.run(task)
        assert done.error is None, done.error
        assert done.receipt is None or done.receipt.adds_up
    if write in KEYED:
        held = [row for row in world.rows() if row[-1] is not False]  # of a history those that hold
        latest = {key: max(at for k, at, _ in there if k == key) for key, _, _ in there}
        assert {row[0]: row[1] for row in held} == latest
        assert len(held) == len(latest)
    else:
        assert Counter(world.rows()) == Counter(there)
