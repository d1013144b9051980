"""The ledger of write-backs on both systems: who holds it, what it keeps, and what it forgets."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from sqlalchemy import text

from suiro.model.errors import ConfigError, Fenced, TransientError
from suiro.model.journal import ANSWERS, REFUSED, SENT, Aim, BatchState, Part, PlanState, Settled
from suiro.model.writeback import Action, Order
from suiro.store import ledger as ledger_module
from suiro.store.database import Database
from suiro.store.ledger import Ledgers, TaskLedger
from suiro.store.ledger_plans import KEPT_UNAPPLIED
from suiro.store.systems import sqlite_url

ORDER = Order(object="Lead", action=Action.UPSERT, by="Ext__c", options={"bulk": True})
ROWS = pa.RecordBatch.from_pydict({"#k": ["1", "2"], "+Score": pa.array([1, None], pa.decimal128(18, 2))})


@pytest.fixture(params=["sqlite", "postgres"])
def ledgers(request: pytest.FixtureRequest, tmp_path: Path) -> Ledgers:
    url = sqlite_url(tmp_path / "suiro.db")
    if request.param == "postgres":
        url = request.getfixturevalue("postgres18_url")
    return Ledgers(url, tmp_path / "writebacks")


def settled(
    sent: list[dict[str, Any]], refused: list[dict[str, Any]] | None = None, *, guarded: bool = False
) -> Settled:
    return Settled(
        answers=pa.RecordBatch.from_pylist([], ANSWERS),
        sent=pa.RecordBatch.from_pylist(sent, SENT),
        refused=pa.RecordBatch.from_pylist(refused or [], REFUSED),
        tally={"sent": len(sent)},
        guarded=guarded,
    )


def known(ledger: TaskLedger, scope: str = "s") -> dict[str, tuple[str, str | None, bool]]:
    return {
        row["k"]: (row["hash"], row["record"], row["own"])
        for batch in ledger.known.sent(scope)
        for row in batch.to_pylist()
    }


def test_a_plan_and_its_batches_come_back_as_they_were_given(ledgers: Ledgers) -> None:
    with ledgers.held("task", "r1") as ledger:
        plan = ledger.plans.begin(Aim.WRITE, "s", {"object": "Lead"}, run="r1")
        ledger.batches.add(plan.id, Part.SEND, ORDER, ROWS)
        ledger.batches.add(plan.id, Part.KNOW, None, ROWS)
        ledger.plans.change(plan.id, PlanState.PLANNED, told={"counts": {"read": 2}})
        journal = ledger.batches.journal(plan.id, 0)
        journal.note({"job": "7"})
        journal.note({"closed": True})
        ledger.batches.sending(plan.id, 0, ROWS)
    with ledgers.reading("task") as again:
        assert again is not None
        found = again.plans.get(plan.id)
        assert (found.aim, found.state, found.settings, found.told) == (
            Aim.WRITE, PlanState.PLANNED, {"object": "Lead"}, {"counts": {"read": 2}},
        )  # fmt: skip
        first, second = again.batches.all(plan.id)
        assert (first.order, first.state, first.rows) == (ORDER, BatchState.SENDING, 2)
        assert (second.order, second.part) == (None, Part.KNOW)
        assert again.batches.rows(plan.id, 0).equals(ROWS) and again.batches.found(plan.id, 0).equals(ROWS)  # type: ignore[union-attr]
        assert again.batches.answers(plan.id, 0) is None
        assert list(again.batches.journal(plan.id, 0).notes()) == [{"job": "7"}, {"closed": True}]
        with pytest.raises(Fenced):
            again.plans.change(plan.id, PlanState.APPLYING)


def test_what_was_sent_changes_with_the_answers_in_one_act(ledgers: Ledgers) -> None:
    with ledgers.held("task", "r1") as ledger:
        plan = ledger.plans.begin(Aim.WRITE, "s", {}, run="r1")
        for _ in range(4):
            ledger.batches.add(plan.id, Part.SEND, ORDER, ROWS)
        rows = [{"k": str(n), "hash": f"h{n}", "record": None, "own": True} for n in range(1200)]
        held = [{"k": "x", "kind": "refused", "code": "BAD", "message": "no", "key": "X"}]
        ledger.batches.answered(plan.id, 0, settled(rows, held), done=False)
        assert len(known(ledger)) == 1200 and known(ledger, "other") == {}
        assert [b.state for b in ledger.batches.all(plan.id)][:2] == [BatchState.ANSWERED, BatchState.PLANNED]
        assert ledger.known.reasons("s", "r1") == [{"kind": "refused", "code": "BAD", "message": "no", "rows": 1}]
        changes = [{"k": "1", "hash": "new", "record": "r", "own": False}, {"k": "2", "hash": None}]
        ledger.batches.answered(plan.id, 1, settled([*changes, {"k": "x", "hash": "hx", "own": True}]), done=True)
        assert (known(ledger)["1"], "2" in known(ledger)) == (("new", "r", False), False)
        assert ledger.known.reasons("s", None) == []  # what is sent is kept aside no more


def test_guarded_changes_count_only_where_nothing_changed_since(ledgers: Ledgers) -> None:
    with ledgers.held("task", "r1") as ledger:
        plan = ledger.plans.begin(Aim.UNDO, "s", {}, run="r1")
        for _ in range(2):
            ledger.batches.add(plan.id, Part.KNOW, None, ROWS)
        ledger.batches.answered(plan.id, 0, settled([{"k": k, "hash": "now", "own": True} for k in "ab"]), done=True)
        changes = [
            {"k": "a", "hash": "before", "own": True, "was": "now"},
            {"k": "b", "hash": "before", "own": True, "was": "other"},
            {"k": "c", "hash": "before", "own": True, "was": None},
        ]
        ledger.batches.answered(plan.id, 1, settled(changes, guarded=True), done=True)
        assert {k: v[0] for k, v in known(ledger).items()} == {"a": "before", "b": "now", "c": "before"}


def test_whoever_comes_later_waits_and_is_told_for_whom(ledgers: Ledgers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "PATIENCE", 0.2)
    with ledgers.held("task", "r1"):
        with pytest.raises(TransientError, match="r1"), ledgers.held("task", "r2"):
            pass
        with ledgers.held("another task", "r2"):
            pass
    with ledgers.held("task", "r2"):
        pass
    assert ledgers.names() == ["another task", "task"]


def test_whoever_was_taken_for_dead_writes_nothing_more(ledgers: Ledgers, monkeypatch: pytest.MonkeyPatch) -> None:
    with ledgers.held("task", "r1") as slow:
        plan = slow.plans.begin(Aim.WRITE, "s", {}, run="r1")
        monkeypatch.setattr(Ledgers, "_locked", lambda *_: ledger_module.contextmanager(lambda: iter([None]))())
        with ledgers.held("task", "r2") as ledger:
            for act in (
                lambda: slow.batches.add(plan.id, Part.SEND, ORDER, ROWS),
                lambda: slow.plans.change(plan.id, PlanState.APPLYING),
                lambda: slow.batches.journal(plan.id, 0).note({}),
            ):
                with pytest.raises(Fenced):
                    act()
            assert ledger.plans.begin(Aim.WRITE, "s", {}).state is PlanState.MAKING


def test_the_lock_of_a_process_that_is_killed_is_gone_with_it(ledgers: Ledgers) -> None:
    program = (
        "import sys, time; from pathlib import Path; from suiro.store.ledger import Ledgers\n"
        "with Ledgers(sys.argv[1], Path(sys.argv[2])).held('task', 'r1'):\n"
        "    print('held', flush=True); time.sleep(60)"
    )
    arguments = [sys.executable, "-c", program, ledgers._url, str(ledgers._folder)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
        started = time.monotonic()
        with ledgers.held("task", "r2"):
            assert time.monotonic() - started < 5


def test_plans_that_nobody_applied_are_thinned_out(ledgers: Ledgers) -> None:
    with ledgers.held("task", "r1") as ledger:
        made = []
        for _ in range(KEPT_UNAPPLIED + 3):
            plan = ledger.plans.begin(Aim.WRITE, "s", {})
            ledger.batches.add(plan.id, Part.SEND, ORDER, ROWS)
            made.append(ledger.plans.change(plan.id, PlanState.PLANNED).id)
        applied = ledger.plans.begin(Aim.WRITE, "s", {})
        ledger.plans.change(applied.id, PlanState.APPLYING, run="r1")
        ledger.plans.begin(Aim.WRITE, "s", {})
        ledger.plans.begin(Aim.WRITE, "s", {})
        left = {plan.id for plan in ledger.plans.all()}
        assert applied.id in left and len(left) == KEPT_UNAPPLIED + 2
        with pytest.raises(ConfigError):
            ledger.plans.get(made[0])
        assert ledger.batches.all(made[0]) == []


def test_a_plan_that_begins_to_be_applied_makes_the_others_out_of_date(ledgers: Ledgers) -> None:
    with ledgers.held("task", "r1") as ledger:
        one, other = (ledger.plans.begin(Aim.WRITE, "s", {}) for _ in range(2))
        assert one.serial == other.serial == ledger.plans.serial() == 0
        ledger.plans.change(other.id, PlanState.APPLYING, run="r1")
        ledger.plans.change(other.id, PlanState.APPLYING, run="r1")
        assert ledger.plans.serial() == 1


def test_a_ledger_that_a_newer_program_made_is_refused(ledgers: Ledgers) -> None:
    with ledgers.held("task", "r1"):
        pass
    url = ledgers._url
    if url.startswith("sqlite:"):
        url = sqlite_url(ledgers._folder / "task.db")
    database = Database(url)
    with database.begin() as connection:
        connection.execute(text("UPDATE writeback_schema SET version = 99"))
    database.close()
    with pytest.raises(ConfigError, match="made by a newer Suiro"), ledgers.held("task", "r1"):
        pass


def test_a_task_that_never_wrote_has_no_ledger(tmp_path: Path) -> None:
    with Ledgers(sqlite_url(tmp_path / "suiro.db"), tmp_path / "writebacks").reading("task") as ledger:
        assert ledger is None
    assert not (tmp_path / "writebacks").exists()
