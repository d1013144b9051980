"""The exam that the engine sits, over a source and a destination in memory: faults by a seed, grades by what arrived.

Each examination is one kind of trouble. Its random numbers decide the rows and the moment; it raises AssertionError
where a row is lost or doubled, a receipt doesn't add up, a position is ahead of its rows, or staging is left.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa

from suiro.engine.context import Budgets, RunContext
from suiro.engine.replicate import Systems, replicate
from suiro.model.change import Change, Rows
from suiro.model.errors import ConnectionLost, DataError
from suiro.model.job import Task
from suiro.model.run import Status, TaskRun
from suiro.model.schema import Position, ReadMode
from suiro.model.selection import Deletes, WriteMode
from suiro.spi.destination import Published
from suiro.spi.source import Read
from suiro.testing.memory import (
    MemoryConfig,
    MemoryDestination,
    MemorySource,
    MemorySourceConfig,
    MemoryStore,
    MemoryStreams,
)

Row = tuple[Any, ...]
SCHEMA = pa.schema([("id", pa.int64()), ("at", pa.int64()), ("name", pa.string())])
REFUSED = "refused"  #: a name that the destination of the exam doesn't admit
REJECTED = "_suiro_rejected"


class Death(BaseException):
    """The process dies here; nothing that it does afterwards comes to anything."""


class Destination(MemoryDestination):
    """A destination whose publish can be made to go wrong, once: `before` and `after` the act."""

    before: Callable[[], object] | None = None
    after: Callable[[], object] | None = None

    def admit(self, data: pa.RecordBatch) -> None:
        """Refuse one name."""
        if REFUSED in data.column("name").to_pylist():
            raise DataError(f"the name {REFUSED} can't be stored", column="name")

    def publish(self, *arguments: Any) -> Published:
        """As it should be, but for what a test has planned."""
        before, Destination.before = Destination.before, None
        if before is not None:
            before()
        done = super().publish(*arguments)
        after, Destination.after = Destination.after, None
        if after is not None:
            after()
        return done


class Source(MemorySource):
    """A source that minds being told of a position that the destination doesn't hold."""

    store: MemoryStore

    def acknowledge(self, upto: Position) -> None:
        """A source may throw away what comes before: so the rows must have arrived."""
        held = list(self.store.disk.markers.values())
        assert upto in held, f"the source was told of {upto}, and the destination holds {held}"
        super().acknowledge(upto)


class World:
    """A source system, a destination's disk, and runs between them, in loads of a few rows."""

    def __init__(self, **moods: Any) -> None:
        self.streams = MemoryStreams(**{"batch_rows": 4, "checkpoint_rows": 4, **moods})
        self.streams.fill("orders", table([]), ("id",))
        self.store = MemoryStore()
        self._runs = 0

    def run(
        self, task: Task, run: str | None = None, *, load: int = 60, on_its_way: Callable[[], object] | None = None
    ) -> TaskRun | None:
        """One run; None if its process died. `on_its_way` is called once, when rows are staged."""
        self._runs += 1
        kind = type("OverThis", (Source,), {"store": self.store})
        with RunContext(run or f"run{self._runs}", budgets=Budgets(load=load)) as context:
            context.wait = lambda seconds: None  # type: ignore[method-assign]
            systems = Systems(
                source=lambda: kind(MemorySourceConfig(system=self.streams), context),
                destination=lambda: Destination(MemoryConfig(store=self.store), context),
                identity="memory",
            )
            wait = [] if on_its_way is None else [on_its_way]
            try:
                return replicate(task, systems, context, lambda _: wait.pop()() if wait else None)
            except Death:
                self.store.step = lambda: None
                self.store.leases.clear()
                return None

    def well(self, task: Task, run: str | None = None, status: Status = Status.SUCCEEDED) -> TaskRun:
        """A run that ends well, and whose record is right."""
        done = self.run(task, run)
        assert done is not None
        self.right(done, status)
        return done

    def right(self, done: TaskRun, status: Status = Status.SUCCEEDED) -> None:
        """The record of a run that ended well adds up, and nothing is left behind."""
        assert done.status is status, done.error
        assert done.receipt is not None and done.receipt.equal and done.receipt.adds_up, done.receipt
        assert not self.store.disk.staging, "staging is left"
        assert not self.store.leases, "a lease is left"

    def dies_after(self, steps: int) -> None:
        """Have the next run die before its n-th step, and whatever it tries after that fail too."""
        left = [steps]

        def step() -> None:
            left[0] -= 1
            if left[0] <= 0:
                raise Death

        self.store.step = step

    def rows(self, name: str = "orders") -> list[Row]:
        """What a reader sees."""
        found = self.store.disk.rows.get(name)
        return [] if found is None else [tuple(row[n] for n in SCHEMA.names) for row in found.to_pylist()]


def table(rows: Sequence[Row], schema: pa.Schema = SCHEMA) -> pa.Table:
    """Rows as a table."""
    columns = [pa.array([row[i] for row in rows], field.type) for i, field in enumerate(schema)]
    return pa.table(columns, schema=schema)


def new_rows(chance: random.Random, start: int, number: int, name: str = "") -> list[Row]:
    """Rows with rising cursor values, a few of them equal at the ends of batches."""
    return [(start + i, (start + i) // chance.choice((1, 1, 2)), name or chance.choice("abc")) for i in range(number)]


def rising(chance: random.Random, start: int, number: int) -> list[Row]:
    """Rows whose cursor values rise one by one."""
    return [(start + i, start + i, chance.choice("abc")) for i in range(number)]


def incremental(write: WriteMode, **more: Any) -> Task:
    """A task that reads on."""
    return Task(stream="orders", read=ReadMode.INCREMENTAL, write=write, cursor="at", **more)


def same(found: Sequence[Row], wanted: Sequence[Row], when: str) -> None:
    """AssertionError that names how many rows are lost and how many doubled."""
    lost, doubled = Counter(wanted) - Counter(found), Counter(found) - Counter(wanted)
    assert not lost and not doubled, f"{when}: {sum(lost.values())} lost, {sum(doubled.values())} doubled"


def carried(done: TaskRun) -> tuple[int, int]:
    """Rows read, without those read again at a boundary, and rows written."""
    assert done.receipt is not None
    return done.rows_read - done.receipt.deduplicated, done.rows_written


# -- the examinations ------------------------------------------------------------------------------------------------

WRITES = (WriteMode.APPEND, WriteMode.MERGE, WriteMode.HISTORY)


def nothing_happens(chance: random.Random) -> None:
    """Every mode, two runs each, and the counts told."""
    for write in WRITES:
        world, rows = World(), rising(chance, 1, chance.randint(9, 23))
        world.streams.fill("orders", table(rows), ("id",))
        first = world.well(incremental(write))
        same(world.rows(), rows, f"{write}, first run")
        assert (first.rows_read, first.rows_written) == (len(rows), len(rows)), "the counts are wrong"
        assert first.loads > 1, "the load wasn't published at its checkpoints"
        more = rising(chance, len(rows) + 1, 7)
        world.streams.fill("orders", table([*rows, *more]), ("id",))
        second = world.well(incremental(write))
        same(world.rows(), [*rows, *more], f"{write}, second run")
        assert second.rows_written == 7, "rows were read again"
        assert second.position == world.streams.acknowledged[-1], "the source wasn't told"
    for parts in (1, 3):
        world, rows = World(parts=parts), rising(chance, 1, 30)
        world.streams.fill("orders", table(rows), ("id",))
        done = world.well(Task(stream="orders"))
        same(world.rows(), rows, "replace")
        assert (done.rows_read, done.rows_written, done.loads) == (30, 30, 1)


def a_run_is_repeated(chance: random.Random) -> None:
    """A full read that appends happens once for each run id."""
    world, rows = World(), rising(chance, 1, 10)
    world.streams.fill("orders", table(rows), ("id",))
    task = Task(stream="orders", write=WriteMode.APPEND)
    world.well(task, "monday")
    world.run(task, "monday")
    same(world.rows(), rows, "the same run again")
    world.well(task, "tuesday")
    same(world.rows(), [*rows, *rows], "another run")


def the_process_dies(chance: random.Random) -> None:
    """Before every step in turn, in every mode; then run again."""
    for write in (*WRITES, WriteMode.REPLACE):
        task = Task(stream="orders") if write is WriteMode.REPLACE else incremental(write)
        rows = rising(chance, 1, 12)
        for step in range(1, 60):
            world = World()
            world.streams.fill("orders", table(rows[:5]), ("id",))
            world.well(task)
            world.streams.fill("orders", table(rows), ("id",))
            world.dies_after(step)
            done = world.run(task)
            world.store.step = lambda: None
            world.well(task)
            same(world.rows(), rows, f"{write}, died before step {step}")
            if done is not None:
                break


def the_source_breaks(chance: random.Random) -> None:
    """The connection is lost in the middle; the same run goes on."""
    for write in (*WRITES, WriteMode.REPLACE):
        rows = rising(chance, 1, 25)
        world = World(breaks_after=chance.randint(1, 24))
        world.streams.fill("orders", table(rows), ("id",))
        done = world.well(Task(stream="orders") if write is WriteMode.REPLACE else incremental(write))
        same(world.rows(), rows, f"{write}, the source broke")
        assert done.attempts == 2
        assert carried(done) == (25, 25), "rows of a broken attempt were counted"


def an_answer_is_lost(chance: random.Random) -> None:
    """The publish came about, or didn't, and nobody heard; the same run goes on."""

    def lost() -> None:
        raise ConnectionLost("the line went dead")

    for when in ("before", "after"):
        for write in WRITES:
            rows = rising(chance, 1, 20)
            world = World()
            world.streams.fill("orders", table(rows), ("id",))
            setattr(Destination, when, lambda _=None: lost())
            done = world.well(incremental(write))
            same(world.rows(), rows, f"{write}, the answer was lost {when} the act")
            assert carried(done) == (20, 20), "what was published unheard isn't counted once"


def another_run_takes_over(chance: random.Random) -> None:
    """A run sleeps before it publishes, loses its lease, and wakes when another has carried everything."""
    for write in WRITES:
        rows = rising(chance, 1, chance.randint(3, 20))
        world = World()
        world.streams.fill("orders", table(rows), ("id",))

        def sleep(world: World = world, write: WriteMode = write) -> None:
            world.store.leases.clear()
            world.well(incremental(write), "second")

        Destination.before = lambda _=None, sleep=sleep: sleep()  # type: ignore[misc]
        done = world.run(incremental(write), "first")
        same(world.rows(), rows, f"{write}, two runs published")
        assert done is not None and done.error is not None and done.error.code == "fenced", "it was not fenced"


def another_run_takes_over_early(chance: random.Random) -> None:
    """As before, but the run sleeps while it stages."""
    for write in WRITES:
        rows = rising(chance, 1, chance.randint(3, 20))
        world = World()
        world.streams.fill("orders", table(rows), ("id",))

        def sleep(world: World = world, write: WriteMode = write) -> None:
            world.store.leases.clear()
            world.well(incremental(write), "second")

        done = world.run(incremental(write), "first", on_its_way=sleep)
        same(world.rows(), rows, f"{write}, two runs published")
        assert done is not None and done.error is not None and done.error.code == "fenced", "it was not fenced"


def rows_are_rejected(chance: random.Random) -> None:
    """Rows that the destination refuses are published beside the others, once, and counted."""
    for breaks in (None, 9):
        good = rising(chance, 1, 14)
        bad = [(100 + i, 100 + i, REFUSED) for i in range(chance.randint(2, 5))]
        rows = sorted([*good, *bad], key=lambda row: chance.random())
        rows = [(number, number, row[2]) for number, row in enumerate(rows)]
        world = World(breaks_after=breaks)
        world.streams.fill("orders", table(rows), ("id",))
        done = world.well(incremental(WriteMode.APPEND, most_rejected=50), status=Status.WARNING)
        same(world.rows(), [row for row in rows if row[2] != REFUSED], "beside rejected rows")
        kept = world.store.disk.rows.get(REJECTED)
        assert kept is not None and len(kept) == len(bad), "rejected rows are lost or doubled"
        assert len(set(kept.column("id").to_pylist())) == len(bad)
        assert done.rows_rejected == len(bad), "rejected rows are counted wrongly"


def rows_are_filtered(chance: random.Random) -> None:
    """A condition that the engine sees to itself."""
    rows = rising(chance, 1, 20)
    world = World()
    world.streams.fill("orders", table(rows), ("id",))
    done = world.well(incremental(WriteMode.APPEND, where="id % 3 <> 0"))
    same(world.rows(), [row for row in rows if row[0] % 3], "filtered")
    assert done.receipt is not None and done.receipt.filtered == sum(not row[0] % 3 for row in rows)


def staging_is_changed(chance: random.Random) -> None:
    """Somebody takes a row out of what is staged, or puts one in twice: nothing is published."""
    for how in ("taken", "doubled"):
        rows = rising(chance, 1, 3)
        world = World()
        world.streams.fill("orders", table(rows), ("id",))

        def tamper(world: World = world, how: str = how) -> None:
            for at, batches in world.store.disk.staging.items():
                first = batches[0].slice(1)
                world.store.disk.staging[at] = (first, *batches[0 if how == "doubled" else 1 :])

        Destination.before = lambda _=None, tamper=tamper: tamper()  # type: ignore[misc]
        done = world.run(incremental(WriteMode.APPEND))
        assert done is not None and done.error is not None and done.error.code == "verification_failed", (
            "it was published"
        )
        assert world.rows() == []


def the_source_loses_rows(chance: random.Random) -> None:
    """Batches are lost, doubled or cut on the way: a source that adds up by itself shows it."""
    whole = MemorySource.read
    at = chance.randint(0, 4)

    def lossy(self: MemorySource, read: Read, since: Position | None) -> Iterator[Change]:
        for number, change in enumerate(whole(self, read, since)):
            if number != at or not isinstance(change, Rows):
                yield change
            elif how == "cut":
                yield Rows(change.stream, change.data.slice(1))
            elif how == "doubled":
                yield from (change, change)

    for how in ("lost", "doubled", "cut"):
        world = World(checkpoint_rows=None)
        world.streams.fill("orders", table(rising(chance, 1, 20)), ("id",))
        MemorySource.read = lossy  # type: ignore[method-assign]
        try:
            done = world.run(Task(stream="orders"))
        finally:
            MemorySource.read = whole  # type: ignore[method-assign]
        assert done is not None and done.error is not None and done.error.code == "verification_failed", (
            f"{how}: published"
        )
        assert world.rows() == []


def rows_are_deleted(chance: random.Random) -> None:
    """All keys are compared, over several batches; only what is gone goes."""
    rows = rising(chance, 1, 21)
    world = World()
    world.streams.fill("orders", table(rows), ("id",))
    task = incremental(WriteMode.MERGE, deletes=Deletes.HARD)
    world.well(task)
    gone = chance.sample(rows[:-1], 5)
    left = [row for row in rows if row not in gone]
    world.streams.fill("orders", table(left), ("id",))
    done = world.well(task)
    same(world.rows(), left, "after deletes")
    assert done.rows_deleted == 5


def a_log_is_followed(chance: random.Random) -> None:
    """Inserts, updates and deletes of few keys, over several loads, with deaths and broken lines between."""
    log = pa.schema([*SCHEMA, ("_op", pa.string()), ("_seq", pa.binary())])
    world, there = World(), dict[int, Row]()
    task = Task(stream="orders", read=ReadMode.LOG, write=WriteMode.MERGE, deletes=Deletes.HARD)
    number = 0
    for load in (60, 600, 60, 600, 600):
        for _ in range(chance.randint(1, 6)):
            batch = []
            for _ in range(3):
                number += 1
                key = chance.randint(1, 4)
                op = chance.choice("ud") if key in there else "c"
                batch.append((key, number, str(number), op, number.to_bytes(4, "big")))
                there.pop(key, None)
                if op != "d":
                    there[key] = (key, number, str(number))
            world.streams.record("orders", [Rows("orders", table(batch, log).to_batches()[0])])
        if chance.random() < 0.5:
            world.dies_after(chance.randint(1, 30))
            world.run(task, load=load)
            world.store.step = lambda: None
        else:
            world.streams.breaks_after = chance.choice((None, 2, 5))
        done = world.run(task, load=load)
        assert done is not None
        world.right(done)
        world.streams.breaks_after = None
        same(world.rows(), list(there.values()), "a log")


EXAMINATIONS: tuple[Callable[[random.Random], None], ...] = (
    nothing_happens,
    a_run_is_repeated,
    the_process_dies,
    the_source_breaks,
    an_answer_is_lost,
    another_run_takes_over,
    another_run_takes_over_early,
    rows_are_rejected,
    rows_are_filtered,
    staging_is_changed,
    the_source_loses_rows,
    rows_are_deleted,
    a_log_is_followed,
)


def failed(seed: int | str, *, until_one: bool = False) -> list[str]:
    """The examinations that the engine, as it is now, does not pass with this seed, and why; all, or the first."""
    found = []
    for examination in EXAMINATIONS:
        Destination.before = Destination.after = None
        try:
            examination(random.Random(f"{seed} {examination.__name__}"))
        except Exception as error:  # noqa: BLE001  (a mutant may break in any way; that is what is looked for)
            said = str(error).splitlines()[0] if str(error) else type(error).__name__
            found.append(f"{examination.__name__}: {said}")
            if until_one:
                break
    return found
