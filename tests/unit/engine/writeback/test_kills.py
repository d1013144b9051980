"""Write-backs whose process dies before any step, and random histories of them: nothing is doubled, nothing lost."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from suiro.engine.writeback.task import WriteBack
from suiro.model.run import Status
from suiro.model.writeback import Nulls
from suiro.testing.memory_application import MemoryApplication
from writing_back import World

WRITES = frozenset({"begin", "change", "add", "sending", "answered", "forgotten", "compared", "note"})


class Killed(BaseException):
    """The process is gone."""


class Death:
    """Kills before the n-th step: of the application, or a write of the ledger, before or after it."""

    def __init__(self, at: int = 0) -> None:
        self.left = at

    def step(self) -> None:
        if self.left:
            self.left -= 1
            if not self.left:
                raise Killed


class Stepping:
    """A ledger, or a part of it, that steps before and after whatever it writes."""

    def __init__(self, base: Any, death: Death) -> None:
        self._base, self._death = base, death

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._base, name)
        if name in ("plans", "batches", "known"):
            return Stepping(found, self._death)
        if name == "journal":
            return lambda *args: Stepping(found(*args), self._death)
        if name not in WRITES:
            return found

        def stepping(*args: Any, **options: Any) -> Any:
            self._death.step()
            done = found(*args, **options)
            self._death.step()
            return done

        return stepping


@contextmanager
def dying(world: World, at: int) -> Iterator[Death]:
    """Within this block the process dies before a step."""
    death, before = Death(at), MemoryApplication.on_step
    world.around = lambda ledger: Stepping(ledger, death)  # type: ignore[assignment, return-value]
    MemoryApplication.on_step = death.step
    try:
        yield death
    finally:
        MemoryApplication.on_step = before
        world.around = lambda ledger: ledger


def dies(world: World, work: WriteBack, at: int, run: str | None, **asked: Any) -> bool:
    """Whether the run died at its step."""
    with dying(world, at):
        try:
            world.run(work, run=run, **asked)
        except Killed:
            return True
    return False


RECORDS = [
    {"Ext__c": "b", "Company": "Old b", "Rank": 7},
    {"Ext__c": "same", "Company": "Same", "Status": "New", "Score": Decimal(1), "Rank": 1},
    {"Ext__c": "other", "Company": "Not ours"},
]
ROWS = [
    ("a", "Acme", "New", 1.5, 1),
    ("b", "Beta", "Open", None, 2),
    ("same", "Same", "New", 1.0, 1),
    ("bad", "x" * 30, "New", 1.0, 1),
    ("no", "Refused", "New", 1.0, 1),
    ("c", "Gamma", "Won", 3.0, 3),
]
ORG: dict[str, Any] = {"refuses": {"Company": ["Refused"]}, "most_rows": 3, "name": "org"}
EVERY = {"insert": 2, "upsert": 2, "update": 5, "mirror": 5}  #: of so many steps one is tried, if not all are


def _steps(every: int) -> Iterator[int]:
    thorough = settings().max_examples > 15
    yield from itertools.count(1, 1 if thorough else every)


def prepared(folder: Path, mode: str) -> Path:
    """The files of a world before its run."""
    world = World(folder, **ORG)
    world.org.put("Lead", RECORDS)
    if mode == "mirror":
        world.fill([("gone", "Gone", "New", 1.0, 1), ("a", "First", "New", 1.0, 1)])
        assert world.run(world.work(mode))[0].status is Status.SUCCEEDED
    world.org.close()
    return folder


def fresh(kept: Path, mode: str, at: int) -> tuple[World, WriteBack]:
    """A world before its run, and the run's work."""
    world = World(shutil.copytree(kept, kept.parent / str(at)), **ORG)
    keys = {"b": "LEA000000001", "same": "LEA000000002"} if mode == "update" else {}
    world.fill([(keys.get(row[0], row[0]), *row[1:]) for row in ROWS])
    return world, world.work(mode, most_deleted=1.0) if mode == "mirror" else world.work(mode)


@pytest.mark.parametrize("mode", list(EVERY))
def test_killed_before_any_step_and_run_again_every_row_arrives_once_and_can_be_undone(
    tmp_path: Path, mode: str
) -> None:
    kept = prepared(tmp_path / "kept", mode)
    calm, work = fresh(kept, mode, 0)
    before, known = calm.leads(), calm.sent()
    calm.run(work, run="calm")
    wanted, acts = calm.leads(), _once(calm)
    for at in _steps(EVERY[mode]):
        world, work = fresh(kept, mode, at)
        died = dies(world, work, at, "first")
        done, _ = world.run(work, run="first" if at % 4 < 2 else "second")
        assert done.error is None, (at, done.error)
        assert (world.leads(), _once(world)) == (wanted, acts), f"killed before step {at}"
        assert done.receipt is not None and done.receipt.adds_up
        if at % 3 == 0:
            _undo_all(world, work, before, known, at)
        world.org.close()
        if not died:
            break
    assert at > 25, "the test sees almost no steps"


def _once(world: World) -> Counter[str]:
    """What can't be repeated unseen, counted."""
    return Counter(action for action, _, _ in world.org.acts() if action in ("create", "delete"))


def _undo_all(world: World, work: WriteBack, before: list[Any], known: list[Any], at: int) -> None:
    """Undo what the test's runs did, the last first: the records are as they were, but for those that were deleted."""
    with world.ledger() as ledger:
        plans = [plan for plan in ledger.plans.all() if plan.run in ("first", "second")]
    for plan in plans:
        if plan.state in ("applied", "stopped"):
            done, _ = world.run(work, run=f"undo {plan.id}", undo=plan.id, delete_inserted=True)
            assert done.error is None
    deleted = {("gone", "Gone", "New", Decimal("1.00"), 1)}
    assert set(world.leads()) == set(before) - deleted, f"killed before step {at}"
    if work.mode != "mirror":
        assert world.sent() == known, f"killed before step {at}"


def test_an_undo_killed_before_any_step_and_begun_again_gives_everything_back(tmp_path: Path) -> None:
    kept = prepared(tmp_path / "kept", "upsert")
    world, work = fresh(kept, "upsert", 0)
    before, known = world.leads(), world.sent()
    _, more = world.run(work, run="first")
    world.org.set("Lead", "LEA000000001", Rank=99)  # a conflict
    world.org.close()
    applied = world.folder
    for at in _steps(3):
        world, work = fresh(applied, "upsert", at)
        died = dies(world, work, at, "undo", undo=more["plan"], delete_inserted=True)
        done, _ = world.run(work, run="undo" if at % 4 < 2 else "again", undo=more["plan"], delete_inserted=True)
        assert done.error is None, (at, done.error)
        changed = [row if row[0] != "b" else (*row[:4], 99) for row in before]
        assert world.leads() == sorted(changed, key=repr), f"killed before step {at}"
        assert world.sent() == known, f"killed before step {at}"
        if not died:
            break
    assert at > 15, "the test sees almost no steps"


# -- random histories --------------------------------------------------------------------------------------------------

KEYS = st.sampled_from("abcdefgh")
VALUES = st.tuples(
    st.sampled_from(["Acme", "Beta", "Refused", "x" * 30, None]),
    st.sampled_from(["New", "Won", "Lost", None]),
    st.sampled_from([1.0, 2.5, None]),
    st.integers(0, 3),
)
TABLES = st.dictionaries(KEYS, VALUES, max_size=6)
OUTSIDE = st.lists(st.tuples(KEYS, st.sampled_from(["Rank", "Company"]), st.integers(5, 9)), max_size=3)


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None)
@given(
    mode=st.sampled_from(["upsert", "mirror", "insert"]),
    tables=st.lists(TABLES, min_size=1, max_size=3),
    outside=OUTSIDE,
    kills=st.lists(st.integers(1, 60), max_size=3),
    nulls=st.sampled_from(list(Nulls)),
)
def test_any_history_of_runs_kills_and_changes_doubles_nothing_and_undo_restores(
    mode: str,
    tables: list[dict[str, Any]],
    outside: list[tuple[str, str, int]],
    kills: list[int],
    nulls: Nulls,
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), refuses={"Company": ["Refused"]}, most_rows=2)
        work = world.work(mode, nulls=nulls, **({"most_deleted": 1.0} if mode == "mirror" else {}))
        left = list(kills)
        for number, table in enumerate(tables):
            world.fill([(key, *values) for key, values in table.items()])
            while left and dies(world, work, left.pop(), f"r{number}"):
                pass
            earlier = {row["Ext__c"]: row for row in world.org.rows("Lead")}
            done, more = world.run(work, run=f"r{number}")
            assert done.error is None and done.receipt is not None and done.receipt.adds_up
        _assert_arrived(world, mode, tables, nulls)
        after = {row["Id"]: row for row in world.org.rows("Lead")}
        for key, field, value in outside:
            for row in world.org.rows("Lead"):
                if row["Ext__c"] == key:
                    world.org.set("Lead", row["Id"], **{field: value if field == "Rank" else f"Theirs {value}"})
        touched = {row["Id"]: row for row in world.org.rows("Lead")}
        done, undone = world.run(work, undo=more["plan"], delete_inserted=True)
        assert done.error is None
        clashes = {(conflict["record"], field) for conflict in undone["conflicts"] for field in conflict["fields"]}
        for id_, now in {row["Id"]: row for row in world.org.rows("Lead")}.items():
            for field, value in now.items():
                if touched[id_][field] != after[id_][field]:
                    assert value == touched[id_][field], "somebody's change was taken back"
                elif (id_, field) in clashes:
                    assert value == touched[id_][field]
        if not outside and not kills:
            restored = {row["Ext__c"]: row for row in world.org.rows("Lead")}
            gone = set(earlier) - set(after_keys(after))
            assert restored == {key: row for key, row in earlier.items() if key not in gone}


def after_keys(after: dict[str, dict[str, Any]]) -> list[str]:
    return [row["Ext__c"] for row in after.values()]


def _assert_arrived(world: World, mode: str, tables: list[dict[str, Any]], nulls: Nulls) -> None:
    """No key has two records; all of the last table that a record takes is there."""
    found = Counter(row["Ext__c"] for row in world.org.rows("Lead"))
    assert set(found.values()) <= {1}
    records = {row[0]: row[1:] for row in world.leads()}
    for key, (company, status, score, rank) in tables[-1].items():
        fits = company in ("Acme", "Beta") and status in ("New", "Won", None)
        if fits and mode != "insert":
            wanted = (company, status, None if score is None else Decimal(str(score)), rank)
            said = [value is not None or nulls is Nulls.SEND for value in wanted]
            assert [v for v, s in zip(records[key], said, strict=True) if s] == [
                v for v, s in zip(wanted, said, strict=True) if s
            ]
        elif fits:
            assert key in records
    if mode == "mirror":
        assert all(key in tables[-1] for key in records)
