"""Write-backs planned, applied, gone on with and undone, over a warehouse in memory and an application in a file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from suiro.engine.context import RunContext
from suiro.engine.writeback.patience import ATTEMPTS
from suiro.model.errors import ConnectionLost
from suiro.model.run import Status, TaskRun
from suiro.model.writeback import Action, Conflicts, Nulls, Order, Outcome, RowResult
from suiro.spi.application import Journal
from suiro.testing.memory_application import MemoryApplication
from writing_back import FACTS, LEAD, ROWS, World

A, B = ("a", "Acme", "New", 1.5, 1), ("b", "Beta", "Open", None, 2)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def assert_done(done: TaskRun, *, written: int, rejected: int = 0) -> None:
    assert done.error is None, done.error
    assert (done.rows_written, done.rows_rejected) == (written, rejected)
    assert done.receipt is not None and done.receipt.adds_up and done.receipt.equal
    assert done.status is (Status.WARNING if rejected else Status.SUCCEEDED)


# -- modes -------------------------------------------------------------------------------------------------------------


def test_an_upsert_creates_updates_and_sends_only_what_changed(world: World) -> None:
    world.org.put("Lead", [{"Ext__c": "b", "Company": "Old", "Email": "b@example.com"}])
    world.fill([A, B])
    done, more = world.run()
    assert_done(done, written=2)
    assert world.leads() == [("a", "Acme", "New", Decimal("1.50"), 1), ("b", "Beta", "Open", None, 2)]
    assert world.leads("Email") == [("b@example.com",), (None,)]
    assert (more["done"]["created"], more["done"]["updated"]) == (1, 1)
    again, more = world.run()
    assert_done(again, written=0)
    assert more["planned"]["unchanged"] == 2 and len(world.org.acts()) == 2
    world.fill([A, ("b", "Beta", "Won", None, 2)])
    assert_done(world.run()[0], written=1)
    assert world.org.acts()[2:] == [("upsert", "Lead", "LEA000000001")]


def test_an_update_finds_records_by_their_id_and_creates_nothing(world: World) -> None:
    ids = world.org.put("Lead", [{"Company": "x"}, {"Company": "y"}])
    world.fill([(ids[0], "Acme", "New", 1.0, 1), ("LEA999", "Nobody", "New", 1.0, 1)])
    done, more = world.run(world.work("update"))
    assert_done(done, written=1)
    assert more["planned"]["no_record"] == 1 and "nothing was created: 1" in done.notes[0]
    assert world.leads("Company") == [("Acme",), ("y",)]


def test_an_update_finds_records_by_any_field_and_refuses_a_key_that_several_have(world: World) -> None:
    world.org.put("Lead", [{"Email": f"{n}@x", "Company": "x"} for n in (1, 2, 2)])
    world.fill([("1@X", "One", None, None, None), ("2@x", "Two", None, None, None)])
    work = world.work("update", columns={"id": "Email", "company": "Company"})
    done, more = world.run(work)
    assert_done(done, written=1, rejected=1)
    assert more["reasons"][0]["code"] == "AMBIGUOUS_KEY"
    assert world.leads("Email", "Company") == [("1@x", "One"), ("2@x", "x"), ("2@x", "x")]


def test_an_insert_makes_each_row_once_whatever_becomes_of_it_later(world: World) -> None:
    world.fill([A, B])
    work = world.work("insert", columns={"company": "Company", "score": "Score"})
    assert_done(world.run(work)[0], written=2)
    world.fill([("a", "Changed", "New", 9.0, 1), B, ("c", "Gamma", "New", 1.0, 1)])
    done, more = world.run(work)
    assert_done(done, written=1)
    assert more["planned"]["sent_before"] == 1
    assert world.leads("Company") == [("Acme",), ("Beta",), ("Gamma",)]
    assert world.leads("Ext__c") == [(None,)] * 3  # the key is the warehouse's own


def test_a_mirror_deletes_what_it_sent_once_and_nothing_else(world: World) -> None:
    world.org.put("Lead", [{"Ext__c": "own", "Company": "Somebody's"}, {"Ext__c": "b", **_same_as(B)}])
    rows = [A, B, ("c", "Gamma", "New", 1.0, 1), ("d", "Delta", "New", 1.0, 1)]
    world.fill(rows)
    assert_done(world.run(world.work("mirror"))[0], written=3)
    world.fill(rows[:1])
    done, more = world.run(world.work("mirror", most_deleted=0.9))
    assert_done(done, written=0)
    assert (done.rows_deleted, more["planned"]["delete"]) == (2, 2)
    assert [row[0] for row in world.leads()] == ["a", "b", "own"]  # b was the same before anything was sent
    assert_done(world.run(world.work("mirror", most_deleted=0.9))[0], written=0)


def test_a_mirror_leaves_a_record_whose_key_somebody_changed(world: World) -> None:
    world.fill([A, B])
    world.run(world.work("mirror"))
    world.org.set("Lead", "LEA000000002", Ext__c="taken over")
    world.fill([A])
    done, _ = world.run(world.work("mirror", most_deleted=0.9))
    assert_done(done, written=0)
    assert [row[0] for row in world.leads()] == ["a", "taken over"]
    assert len(world.sent()) == 1


def test_a_delete_takes_away_the_records_of_its_keys(world: World) -> None:
    ids = world.org.put("Lead", [{"Company": "x"}, {"Company": "y"}])
    world.fill([(ids[0], *A[1:]), ("LEA999", *A[1:])])
    done, _ = world.run(world.work("delete"))
    assert_done(done, written=0)
    assert (done.rows_deleted, world.leads("Company")) == (1, [("y",)])
    assert_done(world.run(world.work("delete"))[0], written=0)


# -- rows that aren't sent ---------------------------------------------------------------------------------------------


def test_rows_that_no_record_takes_are_refused_one_by_one_with_their_reasons(world: World) -> None:
    world.fill(
        [
            A,
            ("c", "x" * 21, "New", 1.0, 1),
            ("d", "Delta", "Lost", 1.0, 1),
            ("e", None, "New", 1.0, 1),
            ("f", "", "New", 1.0, 1),
            (None, "Null", "New", 1.0, 1),
            ("g", "Gamma", "New", 1.234, 1),
            ("h", "Eta", "New", float("nan"), 1),
            ("Z", "One", "New", 1.0, 1),
            ("z", "Other", "New", 1.0, 1),
        ]
    )
    done, more = world.run()
    assert_done(done, written=1, rejected=9)
    assert {reason["code"]: (reason["rows"], reason["keys"]) for reason in more["reasons"]} == {
        "STRING_TOO_LONG": (1, ["c"]),
        "NOT_A_CHOICE": (1, ["d"]),
        "REQUIRED_FIELD_MISSING": (2, ["e", "f"]),
        "KEY_IS_NULL": (1, ["NULL"]),
        "VALUE_DOES_NOT_FIT": (2, ["g", "h"]),
        "DUPLICATE_KEY": (2, ["Z", "z"]),
    }
    with world.ledger() as ledger:
        kept = ledger.known.rejected(None, None, 100)  # type: ignore[attr-defined]
    keys = ["NULL", "Z", "c", "d", "e", "f", "g", "h", "z"]
    assert sorted(row["key"] for row in kept) == keys
    world.fill([A])
    assert_done(world.run()[0], written=0)
    with world.ledger() as ledger:
        assert ledger.known.reasons(None, None) == []


def test_rows_that_the_application_refuses_are_kept_and_sent_again_only_when_asked(tmp_path: Path) -> None:
    world = World(tmp_path, refuses={"Company": ["Bad"]})
    world.fill([A, ("b", "Bad", "New", 1.0, 1)])
    done, more = world.run()
    assert_done(done, written=1, rejected=1)
    assert [(r["kind"], r["code"], r["rows"]) for r in more["reasons"]] == [("refused", "VALIDATION", 1)]
    done, more = world.run()
    assert_done(done, written=0, rejected=1)
    assert (more["planned"]["held"], more["done"]) == (1, {})
    world.org.make("Lead", LEAD, FACTS)  # the application takes it now
    assert_done(world.run(world.work(resend=True))[0], written=1)
    assert_done(world.run()[0], written=0)
    assert [row[1] for row in world.leads()] == ["Acme", "Bad"]


def test_a_row_that_was_refused_is_sent_when_it_changed(tmp_path: Path) -> None:
    world = World(tmp_path, refuses={"Company": ["Bad"]})
    world.fill([("b", "Bad", "New", 1.0, 1)])
    world.run()
    world.fill([("b", "Good", "New", 1.0, 1)])
    assert_done(world.run()[0], written=1)
    with world.ledger() as ledger:
        assert ledger.known.reasons(None, None) == []


def test_a_locked_record_is_tried_again(world: World) -> None:
    (id_,) = world.org.put("Lead", [{"Ext__c": "a", "Company": "x"}])
    world.org.lock("Lead", id_, 3)
    world.fill([A])
    assert_done(world.run()[0], written=1)


def test_nulls_empty_fields_or_leave_them(world: World) -> None:
    record = {"Ext__c": "b", "Company": "Old", "Status": "Won", "Score": Decimal(7), "Rank": 3}
    world.org.put("Lead", [record])
    world.fill([("b", "New", None, None, 4), ("c", "Only", None, None, None)])
    assert_done(world.run(world.work(nulls=Nulls.SKIP))[0], written=2)
    assert world.leads() == [("b", "New", "Won", Decimal("7.00"), 4), ("c", "Only", None, None, None)]
    assert_done(world.run(world.work(nulls=Nulls.SEND))[0], written=1)
    assert world.leads()[0] == ("b", "New", None, None, 4)


def test_a_record_that_has_the_values_already_is_left_alone(world: World) -> None:
    world.org.put("Lead", [{"Ext__c": "b", **_same_as(B)}])
    world.fill([B])
    done, more = world.run()
    assert_done(done, written=0)
    assert more["planned"]["same"] == 1 and world.org.acts() == []
    assert world.run()[1]["planned"]["unchanged"] == 1


def test_numbers_without_bounds_and_texts_of_any_type_arrive_exactly(world: World) -> None:
    import uuid

    from suiro.model.types import logical_field

    schema = pa.schema(
        [("id", pa.uuid()), ("company", pa.string()), logical_field("score", pa.string(), "numeric"),
         logical_field("rank", pa.string(), "numeric"), ("seen", pa.timestamp("us", "UTC"))]
    )  # fmt: skip
    id_, seen = uuid.uuid4(), datetime(2026, 1, 2, 3, 4, 5, 6, UTC)
    columns = [
        pa.ExtensionArray.from_storage(pa.uuid(), pa.array([id_.bytes, bytes(16)], pa.binary(16))),
        pa.array(["Acme", "Beta"]),
        pa.array(["12.5000", "0.001"]),
        pa.array(["7.0", "7"]),
        pa.array([seen, None], pa.timestamp("us", "UTC")),
    ]
    world.streams.fill("rows", pa.table(columns, schema=schema))
    names = {"id": "Ext__c", "company": "Company", "score": "Score", "rank": "Rank", "seen": "Seen"}
    done, more = world.run(world.work(columns=names))
    assert_done(done, written=1, rejected=1)
    assert more["reasons"][0]["field"] == "Score"
    assert world.leads("Ext__c", "Score", "Rank", "Seen") == [(str(id_), Decimal("12.50"), 7, seen)]


# -- plans -------------------------------------------------------------------------------------------------------------


def test_a_plan_shows_what_would_change_and_changes_nothing(world: World) -> None:
    world.org.put("Lead", [{"Ext__c": "b", **_same_as(B), "Status": "New"}])
    world.fill([A, B])
    before = world.org.rows("Lead")
    told = world.plan().told
    assert (told["counts"]["create"], told["counts"]["update"]) == (1, 1)
    assert told["fields"] == {"Status": {"rows": 1, "samples": [{"key": "b", "before": "New", "after": "Open"}]}}
    assert world.org.rows("Lead") == before and world.sent() == []


def test_a_plan_warns_of_fields_that_a_new_record_must_have(world: World) -> None:
    world.fill([A])
    told = world.plan(world.work(columns={"id": "Ext__c", "status": "Status"})).told
    assert told["warnings"] == ["A new Lead must have Company, and no column fills it."]
    assert told["counts"]["refused"] == 1


@pytest.mark.parametrize(
    ("mode", "said", "message"),
    [
        ("upsert", {"columns": {"id": "Email", "company": "Company"}}, "Email: it is no external id"),
        ("upsert", {"columns": {"id": "Ext__c", "company": "Compny"}}, "no field Compny"),
        ("upsert", {"columns": {"id": "Ext__c"}}, "nothing is written to Lead but the key"),
        ("update", {"key": ()}, "which column identifies a row"),
        ("update", {"key": ("id", "rank")}, "the key has 2"),
        ("update", {"key": ("nothing",)}, "no column nothing for its key"),
        ("upsert", {"columns": {"id": "Ext__c", "company": "Id"}}, "the field Id of Lead can't be given a value"),
        ("upsert", {"columns": {"id": "Ext__c", "company": "Company", "status": "Company"}}, "two columns"),
        ("delete", {"columns": {"id": "Id", "rank": "Rank"}}, "takes the key alone"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(world: World, mode: str, said: dict[str, Any], message: str) -> None:
    world.fill([A])
    done, _ = world.run(world.work(mode, **said))
    assert done.error is not None and done.error.code == "config_error"
    assert message in done.error.message and done.error.hint
    assert world.org.rows("Lead") == []


def test_credentials_without_the_right_are_named(world: World) -> None:
    world.org.make("Lead", LEAD, FACTS, actions=[Action.UPDATE])
    world.fill([A])
    done, _ = world.run(world.work("mirror"))
    assert done.error is not None and "takes no upsert" in done.error.message


def test_beyond_the_limits_a_plan_waits_and_is_applied_when_approved(world: World) -> None:
    world.fill([A, B])
    done, more = world.run(world.work(most_changed=1))
    assert (done.status, done.rows_written, done.receipt) == (Status.WARNING, 0, None)
    assert more["state"] == "waiting" and "2 would change, and at most 1 may" in done.notes[0]
    assert world.org.rows("Lead") == []
    done, _ = world.run(world.work(most_changed=1), plan=more["plan"])
    assert_done(done, written=2)
    refused, _ = world.run(world.work(most_changed=1), plan=more["plan"])
    assert refused.error is not None and "was applied already" in refused.error.message
    assert_done(world.run(world.work(most_changed=1))[0], written=0)


@pytest.mark.parametrize(("limit", "waits"), [(0.5, True), (0.9, False), (2, True), (3, False)])
def test_a_mirror_deletes_no_more_than_it_may(world: World, limit: float, waits: bool) -> None:
    rows = [(key, "Co", "New", 1.0, 1) for key in "abcd"]
    world.fill(rows)
    world.run(world.work("mirror"))
    world.fill(rows[:1])
    done, more = world.run(world.work("mirror", most_deleted=limit))
    assert (more["state"] == "waiting", done.rows_deleted) == (waits, 0 if waits else 3)


def test_an_emptied_warehouse_empties_no_application(world: World) -> None:
    world.fill([A, B])
    world.run(world.work("mirror"))
    world.fill([])
    assert world.run(world.work("mirror"))[1]["state"] == "waiting"
    assert len(world.org.rows("Lead")) == 2


def test_a_plan_is_out_of_date_once_another_was_applied(world: World) -> None:
    world.fill([A])
    plan = world.plan()
    world.run()
    late, _ = world.run(plan=plan.id)
    assert late.error is not None and "out of date" in late.error.message


def test_a_plan_for_another_application_is_not_applied(world: World, tmp_path: Path) -> None:
    world.fill([A])
    plan = world.plan()
    other = World(tmp_path / "other")
    other.ledgers = world.ledgers
    refused, _ = other.run(plan=plan.id)
    assert refused.error is not None and "for another application" in refused.error.message


# -- conflicts ---------------------------------------------------------------------------------------------------------


def test_what_was_changed_since_the_plan_is_left_alone_and_named(world: World) -> None:
    ids = world.org.put("Lead", [{"Ext__c": key, "Company": "Old"} for key in "abcd"])
    world.fill([(key, "New", None, None, None) for key in "abcde"])
    plan = world.plan()
    world.org.set("Lead", ids[1], Company="Theirs")
    world.org.set("Lead", ids[2], Email="theirs@example.com")  # a field that isn't written
    world.org.remove("Lead", ids[3])
    world.org.put("Lead", [{"Ext__c": "e", "Company": "Appeared"}])
    done, more = world.run(plan=plan.id)
    assert (done.rows_written, done.rows_rejected, more["done"]["conflict"]) == (2, 3, 3)
    assert done.receipt is not None and done.receipt.adds_up
    assert {(c["key"], c["message"]) for c in more["conflicts"]} == {
        ("b", "Company was changed since the plan"),
        ("d", "the record is gone"),
        ("e", "there is a record by now"),
    }
    assert world.leads("Ext__c", "Company") == [("a", "New"), ("b", "Theirs"), ("c", "New"), ("e", "Appeared")]
    assert_done(world.run()[0], written=3)  # a new plan has seen what they hold


@pytest.mark.parametrize("how", ["asked", "settings"])
def test_what_was_changed_since_is_written_when_that_is_wanted(world: World, how: str) -> None:
    (id_,) = world.org.put("Lead", [{"Ext__c": "a", "Company": "Old"}])
    world.fill([A])
    plan = world.plan()
    world.org.set("Lead", id_, Company="Theirs")
    work = world.work(conflicts=Conflicts.SEND if how == "settings" else Conflicts.SKIP)
    assert_done(world.run(work, plan=plan.id, force=how == "asked")[0], written=1)
    assert world.leads("Company") == [("Acme",)]


# -- undo --------------------------------------------------------------------------------------------------------------


def test_undo_gives_back_what_nobody_changed_since_and_lists_the_rest(world: World) -> None:
    records = [{"Ext__c": key, "Company": f"Old {key}", "Rank": 1} for key in "abcd"]
    ids = world.org.put("Lead", records)
    world.fill([(key, f"New {key}", "Open", 5.0, 2) for key in "abcde"])
    _, more = world.run()
    world.org.set("Lead", ids[1], Company="Theirs")
    world.org.remove("Lead", ids[2])
    done, undone = world.run(undo=more["plan"])
    assert done.error is None
    assert (done.rows_written, done.rows_rejected, done.rows_deleted) == (3, 2, 0)
    assert {(c["key"], c["message"], tuple(c["fields"])) for c in undone["conflicts"]} == {
        ("b", "changed since by somebody else", ("Company",)),
        ("c", "the record is gone", ()),
    }
    assert world.leads() == [
        ("a", "Old a", None, None, 1),
        ("b", "Theirs", None, None, 1),
        ("d", "Old d", None, None, 1),
        ("e", "New e", "Open", Decimal("5.00"), 2),
    ]
    assert undone["planned"]["left"] == 1


def test_undo_deletes_what_was_inserted_when_asked_but_not_what_others_changed(world: World) -> None:
    world.fill([A, B, ("c", "Gamma", "New", 1.0, 1)])
    _, more = world.run()
    world.org.set("Lead", "LEA000000002", Rank=99)
    world.org.set("Lead", "LEA000000003", Email="of@no.concern")
    done, _ = world.run(undo=more["plan"], delete_inserted=True)
    assert (done.rows_deleted, done.rows_rejected) == (2, 1)
    assert [row[0] for row in world.leads()] == ["b"]


def test_after_undo_the_ledger_knows_what_it_knew_before(world: World) -> None:
    world.org.put("Lead", [{"Ext__c": "s", **_same_as(B)}, {"Ext__c": "u", "Company": "Old"}])
    world.fill([A, ("s", *B[1:])])
    world.run()
    before = world.sent()
    world.fill([("a", "Other", "Won", 2.0, 1), ("s", *B[1:]), ("u", "Upd", "New", 1.0, 1)])
    _, more = world.run()
    assert world.sent() != before
    world.run(undo=more["plan"])
    assert world.sent() == before
    _, again = world.run()
    assert again["planned"]["update"] == 2


def test_inserted_records_that_stay_after_undo_are_not_inserted_again(world: World) -> None:
    world.fill([A])
    work = world.work("insert")
    _, more = world.run(work)
    assert world.run(work, undo=more["plan"])[1]["planned"]["left"] == 1
    assert_done(world.run(work)[0], written=0)
    world.run(work, undo=more["plan"], delete_inserted=True)
    assert world.org.rows("Lead") == []
    assert_done(world.run(work)[0], written=1)


def test_an_undo_can_be_undone(world: World) -> None:
    ids = world.org.put("Lead", [{"Ext__c": "a", "Company": "Old"}])
    world.fill([A])
    _, more = world.run()
    after, known = world.org.rows("Lead"), world.sent()
    _, undone = world.run(undo=more["plan"])
    assert world.org.rows("Lead") != after
    assert_done(world.run(undo=undone["plan"])[0], written=1)
    assert (world.org.rows("Lead"), world.sent()) == (after, known)
    assert len(ids) == 1


def test_an_old_run_is_undone_only_where_no_later_one_wrote(world: World) -> None:
    world.org.put("Lead", [{"Ext__c": key, "Company": "Old"} for key in "ab"])
    world.fill([("a", "First", None, None, None), ("b", "First", None, None, None)])
    _, first = world.run()
    world.fill([("a", "Second", None, None, None), ("b", "First", None, None, None)])
    world.run()
    known = {k: h for k, h, _ in world.sent()}
    done, undone = world.run(undo=first["plan"])
    assert (done.rows_written, [c["key"] for c in undone["conflicts"]]) == (1, ["a"])
    assert world.leads("Company") == [("Old",), ("Second",)]
    assert len(set(known.items()) & {(k, h) for k, h, _ in world.sent()}) == 1


# -- the receipt -------------------------------------------------------------------------------------------------------


def test_what_the_application_made_something_else_of_is_named_by_the_receipt(tmp_path: Path) -> None:
    world = World(tmp_path, trims=["Company"])
    (id_,) = world.org.put("Lead", [{"Ext__c": "a", "Company": "Old"}])
    world.fill([("a", "Acme  ", "New", 1.0, 1), ("b", "Beta", "New", 1.0, 1)])
    done, more = world.run()
    assert (done.status, done.rows_written) == (Status.WARNING, 2)
    assert done.receipt is not None and not done.receipt.equal
    assert done.receipt.differences == ("Company: 1 records hold another value",)
    assert_done(world.run(undo=more["plan"])[0], written=1)  # what it held after is what it made of it
    assert world.org.rows("Lead")[0] == {**dict.fromkeys(LEAD.names), "Id": id_, "Ext__c": "a", "Company": "Old"}


def test_nothing_is_read_back_at_the_level_of_rows(tmp_path: Path) -> None:
    from suiro.model.receipt import Level

    world = World(tmp_path, trims=["Company"])
    world.fill([("a", "Acme  ", "New", 1.0, 1)])
    done, more = world.run(world.work(verify=Level.ROWS))
    assert_done(done, written=1)
    assert "read_back" not in more["done"]


# -- answers -----------------------------------------------------------------------------------------------------------


class Odd(MemoryApplication):
    """Answers otherwise than the application in memory."""

    answer: Any = None

    def apply(self, order: Order, rows: pa.RecordBatch, journal: Journal) -> Iterator[RowResult]:
        yield from type(self).answer(self, list(super().apply(order, rows, journal)))


def _odd(world: World, monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    monkeypatch.setattr(Odd, "answer", staticmethod(answer))
    sides = world.sides

    def odd(context: RunContext) -> Any:
        from dataclasses import replace

        return replace(sides(context), application=lambda: Odd(world.config, context))

    monkeypatch.setattr(world, "sides", odd)


@pytest.mark.parametrize("mode", ["insert", "upsert"])
def test_a_row_of_unknown_fate_is_reported_and_not_sent_again_by_itself(
    world: World, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    def lost(_: Any, results: list[RowResult]) -> list[RowResult]:
        return [RowResult(row=results[0].row, outcome=Outcome.UNKNOWN, message="the job expired"), *results[1:]]

    world.fill([A, B])
    _odd(world, monkeypatch, lost)
    done, more = world.run(world.work(mode))
    assert (done.rows_written, done.rows_rejected) == (1, 1)
    assert [(r["kind"], r["rows"]) for r in more["reasons"]] == [("unknown", 1)]
    _odd(world, monkeypatch, lambda _, results: results)
    done, more = world.run(world.work(mode))
    assert done.rows_written == 0 and len(world.org.rows("Lead")) == 2
    # By an external id the record itself tells that the row arrived; an insert has no such key.
    assert more["planned"]["unknown" if mode == "insert" else "same"] == 1
    changed = [("a", "Changed", "New", 1.5, 1), B]
    world.fill(changed)
    done, _ = world.run(world.work(mode))
    assert (done.rows_written, len(world.org.rows("Lead"))) == (0 if mode == "insert" else 1, 2)


def test_a_row_without_an_answer_is_of_unknown_fate(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.fill([A, B])
    _odd(world, monkeypatch, lambda _, results: results[:1])
    done, more = world.run()
    assert (done.rows_written, more["done"]["unknown"]) == (1, 1)


def test_rows_that_were_not_looked_at_are_sent_by_the_next_run(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(_: Any, results: list[RowResult]) -> list[RowResult]:
        return [RowResult(row=result.row, outcome=Outcome.UNPROCESSED) for result in results]

    world.org.make("Lead", LEAD, FACTS)
    world.fill([A])
    _odd(world, monkeypatch, none)
    done, _ = world.run()
    assert (done.rows_written, done.rows_rejected) == (0, 1)
    assert "the next run sends: 1" in done.notes[0]
    world.org.remove("Lead", "LEA000000001")
    _odd(world, monkeypatch, lambda _, results: results)
    assert_done(world.run()[0], written=1)


def test_a_lost_connection_is_gone_on_from_with_the_same_journal(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.fill([(f"k{n}", "Co", "New", 1.0, n) for n in range(20)])
    steps = [0]

    def break_sometimes() -> None:
        steps[0] += 1
        if steps[0] % 5 == 4 and steps[0] < 40:
            raise ConnectionLost("the connection broke")

    monkeypatch.setattr(MemoryApplication, "on_step", staticmethod(break_sometimes))
    for mode in ("insert", "upsert"):
        done, _ = world.run(world.work(mode, generation=mode == "upsert"))
        assert done.error is None
    creates = Counter(id_ for action, _, id_ in world.org.acts() if action == "create")
    assert set(creates.values()) == {1} and len(creates) == 20


def test_an_application_that_stays_away_fails_the_run_and_the_next_one_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.fill([A])
    tries = [0]

    def away(application: Any, results: list[RowResult]) -> list[RowResult]:
        tries[0] += 1
        raise ConnectionLost("it is gone")

    _odd(world, monkeypatch, away)
    done, more = world.run(world.work("insert"))
    assert done.error is not None and done.error.code == "connection_lost"
    assert (tries[0], more["state"]) == (ATTEMPTS, "applying")
    _odd(world, monkeypatch, lambda _, results: results)
    done, _ = world.run(world.work("insert"))
    assert done.notes[0] == "Run run1 was interrupted; what it had under way was brought to its end."
    assert len(world.org.rows("Lead")) == 1


def test_a_cancelled_run_stops_between_batches_and_is_gone_on_with(tmp_path: Path) -> None:
    world = World(tmp_path, most_rows=5)
    world.fill([(f"k{n:02}", "Co", "New", 1.0, n) for n in range(20)])
    contexts: list[RunContext] = []
    made = world.context

    def watched(run: str) -> RunContext:
        contexts.append(made(run))
        return contexts[-1]

    world.context = watched  # type: ignore[method-assign]
    acts = len(world.org.acts())

    class Stopping(MemoryApplication):
        def apply(self, order: Order, rows: pa.RecordBatch, journal: Journal) -> Iterator[RowResult]:
            yield from super().apply(order, rows, journal)
            contexts[0].cancel()

    sides = world.sides
    from dataclasses import replace

    world.sides = lambda context: replace(  # type: ignore[method-assign]
        sides(context), application=lambda: Stopping(world.config, context)
    )
    done, _ = world.run(run="r")
    assert (done.status, len(world.org.acts()) - acts) == (Status.CANCELLED, 5)
    done, _ = world.run()
    assert done.error is None and len(world.org.rows("Lead")) == 20


def _same_as(row: tuple[Any, ...]) -> dict[str, Any]:
    return {"Company": row[1], "Status": row[2], "Score": row[3], "Rank": row[4]}


def test_rows_that_are_only_kept_as_deleted_are_left_out(world: World) -> None:
    schema = pa.schema([*ROWS, ("_suiro_deleted_at", pa.timestamp("us", "UTC"))])
    world.fill([(*A, None), (*B, datetime(2026, 1, 1, tzinfo=UTC))], schema=schema)
    done, more = world.run(world.work(where="rank < 9"))
    assert_done(done, written=1)
    assert (more["planned"]["filtered"], len(more["warnings"])) == (1, 1)
    assert [row[0] for row in world.leads()] == ["a"]
