"""Tests of claims, leases, fences, markers and staging."""

from __future__ import annotations

import json

import pytest

from suiro.model.errors import Fenced, SuiroError, TransientError, VerificationFailed
from suiro.model.schema import Position
from suiro.model.selection import WriteMode
from suiro.model.summary import ColumnSummary, Summary
from suiro.spi.destination import Marker
from suiro.testing.destination_harness import EVERY_MODE, DestinationHarness, after, spec_of

POSITION: Position = {
    "cursor": {"timestamptz": "2024-02-29T12:00:00+00:00"},
    "list": [1, None, True, 0.5, "水路 '\"\\ \n"],
    "empty": {},
}


class ClaimTests(DestinationHarness):
    """How runs keep out of each other's way, and what they leave to the next."""

    def test_check_succeeds_and_leaves_nothing(self) -> None:
        destination = self.open()
        before = list(self.leftovers())
        destination.check()
        destination.check()
        assert list(self.leftovers()) == before

    def test_a_table_that_is_missing_is_inspected_as_none(self) -> None:
        assert self.open().inspect(self.fresh("missing")) is None

    def test_the_first_claim_has_no_position(self) -> None:
        load = self.load(self.fresh(), self.rows(), spec_of(WriteMode.APPEND), 1)
        assert self.claim(self.open(), load.key).position is None

    @EVERY_MODE
    def test_nothing_is_visible_before_publish(self, mode: WriteMode) -> None:
        self.needs(mode)
        old, new = self.rows((1, "a", 10), (2, "b", 20)), self.rows((2, "c", 30), (3, "d", 40))
        name = self.fresh()
        destination = self.open()
        load = self.load(name, old, spec_of(mode), 1)
        claim = self.claim(destination, load.key)
        staged = self.stage(destination, load, claim)
        assert self.read(name) is None, "the table was there before the first publish"
        destination.publish([staged], [Marker(key=load.key, position=load.position)], None)
        self.assert_table(old, name)
        load = self.load(name, new, spec_of(mode), 2)
        staged = self.stage(destination, load, claim)
        assert staged.rows == 2
        self.assert_table(old, name, "staged rows were visible")
        destination.publish([staged], [Marker(key=load.key, position=load.position)], None)
        self.assert_table(after(mode, old, new), name)

    @EVERY_MODE
    def test_publish_moves_the_marker_that_the_next_claim_tells(self, mode: WriteMode) -> None:
        self.needs(mode)
        load = self.load(self.fresh(), self.rows((1, "a", 10)), spec_of(mode), 7)
        self.carry(load)
        assert self.position(load.key) == {"n": 7}
        self.carry(self.load(load.table.name, self.rows((1, "a", 11)), spec_of(mode), 8))
        assert self.position(load.key) == {"n": 8}

    @EVERY_MODE
    def test_a_load_without_rows_makes_the_table_and_moves_the_marker(self, mode: WriteMode) -> None:
        self.needs(mode)
        name = self.fresh()
        self.carry(self.load(name, self.rows(), spec_of(mode), 1))
        self.assert_table(self.rows(), name)
        assert self.position(self.load(name, self.rows(), spec_of(mode), 1).key) == {"n": 1}

    def test_a_position_comes_back_as_it_was(self) -> None:
        load = self.load(self.fresh(), self.rows(), spec_of(self.some_mode()), 1)
        destination = self.open()
        staged = self.stage(destination, load, self.claim(destination, load.key))
        destination.publish([staged], [Marker(key=load.key, position=POSITION)], None)
        self.close(destination)
        assert json.dumps(self.position(load.key), sort_keys=True) == json.dumps(POSITION, sort_keys=True)

    def test_the_marker_is_void_when_the_table_was_dropped(self) -> None:
        load = self.load(self.fresh(), self.rows((1, "a", 10)), spec_of(self.some_mode()), 1)
        self.carry(load)
        self.drop(load.table.name)
        assert self.read(load.table.name) is None, "drop doesn't drop"
        assert self.position(load.key) is None
        self.carry(load)
        self.assert_table(self.rows((1, "a", 10)), load.table.name)

    def test_markers_of_other_tasks_stay(self) -> None:
        loads = [self.load(self.fresh(), self.rows((1, "a", 10)), spec_of(self.some_mode()), n) for n in (1, 2)]
        for load in loads:
            self.carry(load)
        assert [self.position(load.key) for load in loads] == [{"n": 1}, {"n": 2}]

    def test_a_claim_is_refused_while_another_run_holds_the_task(self) -> None:
        load = self.load(self.fresh(), self.rows((1, "a", 10)), spec_of(self.some_mode()), 1)
        first, second = self.open(), self.open()
        self.claim(first, load.key)
        with pytest.raises(TransientError) as refused:
            self.claim(second, load.key)
        assert first.context.run in str(refused.value)
        self.close(first)
        self.claim(second, load.key)

    def test_a_refused_claim_harms_nobody(self) -> None:
        load = self.load(self.fresh(), self.rows((1, "a", 10)), spec_of(self.some_mode()), 1)
        first, second = self.open(), self.open()
        staged = self.stage(first, load, self.claim(first, load.key))
        with pytest.raises(TransientError):
            self.claim(second, load.key)
        self.close(second)
        with pytest.raises(TransientError):
            self.claim(self.open(), load.key)
        first.publish([staged], [Marker(key=load.key, position=load.position)], self.summary(load))
        self.assert_table(self.rows((1, "a", 10)), load.table.name)

    def test_epochs_rise_from_run_to_run(self) -> None:
        load = self.load(self.fresh(), self.rows(), spec_of(self.some_mode()), 1)
        epochs = []
        for _ in range(3):
            destination = self.open()
            epochs.append(self.claim(destination, load.key).epoch)
            self.close(destination)
        assert epochs == sorted(set(epochs))

    def test_a_run_that_claims_anew_is_given_a_later_epoch_and_its_older_rows_are_fenced(self) -> None:
        load = self.load(self.fresh(), self.rows((1, "a", 10)), spec_of(self.some_mode()), 1)
        destination = self.open()
        first = self.claim(destination, load.key)
        staged = self.stage(destination, load, first)
        second = self.claim(destination, load.key)
        assert second.epoch > first.epoch
        with pytest.raises(Fenced):
            destination.publish([staged], [Marker(key=load.key, position=load.position)], self.summary(load))
        assert self.read(load.table.name) is None
        staged = self.stage(destination, load, second)
        destination.publish([staged], [Marker(key=load.key, position=load.position)], self.summary(load))
        self.assert_table(self.rows((1, "a", 10)), load.table.name)

    @EVERY_MODE
    def test_a_run_that_lost_its_lease_is_fenced(self, mode: WriteMode) -> None:
        self.needs(mode)
        old, new = self.rows((1, "a", 10)), self.rows((2, "b", 20))
        name = self.fresh()
        self.carry(self.load(name, old, spec_of(mode), 1))
        slow, quick = self.open(), self.open()
        load = self.load(name, new, spec_of(mode), 2)
        staged = self.stage(slow, load, self.claim(slow, load.key))
        self.lose_lease(slow)
        self.claim(quick, load.key, patience=self.seconds_to_notice_death)
        with pytest.raises((Fenced, TransientError)):
            slow.publish([staged], [Marker(key=load.key, position=load.position)], self.summary(load))
        self.assert_table(old, name)
        self.close(quick)
        assert self.position(load.key) == {"n": 1}

    def test_two_tasks_load_two_tables_at_once(self) -> None:
        mode = self.some_mode()
        one, other = (self.load(self.fresh(), self.rows((n, "a", n)), spec_of(mode), n) for n in (1, 2))
        first, second = self.open(), self.open()
        staged_one = self.stage(first, one, self.claim(first, one.key))
        staged_other = self.stage(second, other, self.claim(second, other.key))
        second.publish([staged_other], [Marker(key=other.key, position=other.position)], self.summary(other))
        first.publish([staged_one], [Marker(key=one.key, position=one.position)], self.summary(one))
        self.close(first)
        self.close(second)
        for n, load in enumerate((one, other), 1):
            self.assert_table(self.rows((n, "a", n)), load.table.name)
            assert self.position(load.key) == {"n": n}

    def test_one_run_loads_two_tables_in_turn(self) -> None:
        mode = self.some_mode()
        loads = [self.load(self.fresh(), self.rows((n, "a", n)), spec_of(mode), n) for n in (1, 2)]
        destination = self.open()
        claims = [self.claim(destination, load.key) for load in loads]
        staged = [self.stage(destination, load, claim) for load, claim in zip(loads, claims, strict=True)]
        for load, item in zip(loads, staged, strict=True):
            destination.publish([item], [Marker(key=load.key, position=load.position)], self.summary(load))
        for n, load in enumerate(loads, 1):
            self.assert_table(self.rows((n, "a", n)), load.table.name)

    @EVERY_MODE
    def test_what_differs_from_what_was_read_is_not_published(self, mode: WriteMode) -> None:
        self.needs(mode)
        old, new = self.rows((1, "a", 10), (2, "b", None)), self.rows((2, "c", 30), (3, None, 40))
        name = self.fresh()
        self.carry(self.load(name, old, spec_of(mode), 1))
        load = self.load(name, new, spec_of(mode), 2)
        right = self.summary(load)
        for column, wrong in self._wrong(right).items():
            with pytest.raises(VerificationFailed) as refused:
                self.carry(load, expect=wrong)
            assert any(column in text for text in (str(refused.value), *refused.value.differences)), column
            self.finish()
            self.assert_table(old, name)
            assert self.position(load.key) == {"n": 1}
        self.carry(load)
        self.assert_table(after(mode, old, new), name)

    def _wrong(self, right: Summary) -> dict[str, Summary]:
        """Summaries that differ in one thing from what was read: rows, values, a total."""
        name, v = right.columns["name"], right.columns["v"]
        fewer = ColumnSummary(values=name.values + 1, measure=name.measure, total=name.total)
        more = ColumnSummary(values=v.values, measure=v.measure, total=v.total + 1)
        return {
            "rows": Summary(rows=right.rows + 1, columns=right.columns),
            "name": Summary(rows=right.rows, columns={**right.columns, "name": fewer}),
            "v": Summary(rows=right.rows, columns={**right.columns, "v": more}),
        }

    @EVERY_MODE
    def test_what_was_found_equals_what_was_read(self, mode: WriteMode) -> None:
        self.needs(mode)
        load = self.load(self.fresh(), self.rows((1, "あa", -10), (2, None, 2**62), (3, "", 2**62)), spec_of(mode), 1)
        expect = self.summary(load)
        found = self.carry(load).found
        assert found.rows == 3
        assert expect.differences(found) == ()
        for column, mine in expect.columns.items():
            theirs = found.columns[column]
            assert (mine.values, mine.measure, mine.total) == (theirs.values, theirs.measure, theirs.total), column
        assert self.carry(load, expect=None).found.rows == 3

    def test_staging_is_gone_after_publish_abort_and_close(self) -> None:
        load = self.load(self.fresh(), self.rows((1, "a", 10)), spec_of(self.some_mode()), 1)
        before = list(self.leftovers())
        self.carry(load)
        assert list(self.leftovers()) == before, "publish left staging"
        destination = self.open()
        claim = self.claim(destination, load.key)
        stage = destination.stage(load.table, load.spec, claim)
        stage.write(load.rows[0])
        stage.abort()
        stage.abort()
        assert list(self.leftovers()) == before, "abort left staging"
        sealed = destination.stage(load.table, load.spec, claim)
        sealed.seal()
        sealed.abort()
        assert list(self.leftovers()) == before, "abort after seal left staging"
        self.stage(destination, load, claim)
        open_still = destination.stage(load.table, load.spec, claim)
        open_still.write(load.rows[0])
        self.close(destination)
        assert list(self.leftovers()) == before, "close left staging"

    def test_a_stage_that_is_left_by_an_error_is_dropped(self) -> None:
        load = self.load(self.fresh(), self.rows((1, "a", 10)), spec_of(self.some_mode()), 1)
        before = list(self.leftovers())
        destination = self.open()
        claim = self.claim(destination, load.key)
        with pytest.raises(ZeroDivisionError), destination.stage(load.table, load.spec, claim) as stage:
            stage.write(load.rows[0])
            raise ZeroDivisionError
        assert list(self.leftovers()) == before
        staged = self.stage(destination, load, claim)
        destination.publish([staged], [Marker(key=load.key, position=load.position)], self.summary(load))
        self.assert_table(self.rows((1, "a", 10)), load.table.name)

    @EVERY_MODE
    def test_publishing_the_same_staged_rows_twice_changes_nothing(self, mode: WriteMode) -> None:
        self.needs(mode)
        load = self.load(self.fresh(), self.rows((1, "a", 10)), spec_of(mode), 1)
        destination = self.open()
        staged = self.stage(destination, load, self.claim(destination, load.key))
        marker = Marker(key=load.key, position=load.position)
        destination.publish([staged], [marker], self.summary(load))
        try:
            destination.publish([staged], [marker], self.summary(load))
        except SuiroError:
            self.close(destination)
        self.assert_table(self.rows((1, "a", 10)), load.table.name)
        assert self.read(load.table.name) is not None

    def some_mode(self) -> WriteMode:
        """A write mode that the destination has, for tests in which the mode plays no part."""
        return next(iter(self.capabilities().write_modes))
