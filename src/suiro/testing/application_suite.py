"""The conformance suite of applications: subclass it, say how to reach the system, and pytest runs every test.

    class TestAcmeApplication(ApplicationSuite):
        object, external_id, text = "Lead", "Ext__c", "Company"
        def make(self): return AcmeApplication(AcmeConfig(url=...), self.context())
        def new(self, number): return {"Company": f"Company {number}", "Rank": number}
        def put(self, records): ...
        def rows(self, keys): ...
        def remove(self, id_): ...

See `ApplicationHarness` for what each must do, and docs/guide/conformance.md.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pyarrow as pa
import pytest

from suiro.model.errors import ConfigError
from suiro.model.writeback import Action, Outcome
from suiro.testing.application_harness import ApplicationHarness, outcomes
from suiro.testing.application_kills import ApplicationKillTests


class FactTests(ApplicationHarness):
    """What the application says of its objects."""

    def test_it_can_be_reached(self) -> None:
        self.open().check()

    def test_it_lists_the_object(self) -> None:
        assert self.object in self.open().objects()

    def test_facts_and_types_speak_of_the_same_fields(self) -> None:
        facts, types = self.described()
        assert facts.name == self.object
        assert sorted(facts.fields) == sorted(types.names)
        assert all(field.name == name for name, field in facts.fields.items())
        assert facts.record_id in facts.fields
        assert facts.fields[self.external_id].external_id

    def test_an_unknown_object_is_a_config_error_with_a_hint(self) -> None:
        with pytest.raises(ConfigError) as caught:
            self.open().describe(f"{self.object}Xyz")
        assert caught.value.hint

    def test_it_takes_rows_for_every_order_that_it_allows(self) -> None:
        facts, _ = self.described()
        assert all(self.open().most_rows(self.order(action)) >= 1 for action in facts.actions)


class PresentTests(ApplicationHarness):
    """What records hold now."""

    def _present(self, by: str, keys: list[Any], fields: list[str]) -> pa.Table:
        facts, types = self.described()
        wanted = pa.array(keys, types.field(by).type)
        batches = list(self.open().present(self.object, by, wanted, fields))
        names = list(dict.fromkeys([by, facts.record_id, *fields]))
        schema = pa.schema([types.field(name) for name in names])
        for batch in batches:
            assert set(batch.schema.names) == set(names)
            assert all(batch.schema.field(name).type == types.field(name).type for name in names)
        return pa.Table.from_batches([batch.select(names) for batch in batches], schema)

    def test_records_are_found_by_their_ids_and_by_an_external_id(self) -> None:
        facts, _ = self.described()
        records = self.records(3)
        ids = self.put(records)
        fields = list(records[0])
        for by, keys in ((facts.record_id, ids[:2]), (self.external_id, [r[self.external_id] for r in records[:2]])):
            found = {row[self.external_id]: row for row in self._present(by, keys, fields).to_pylist()}
            assert {key: {n: row[n] for n in fields} for key, row in found.items()} == {
                record[self.external_id]: self.typed(record) for record in records[:2]
            }

    def test_a_key_without_a_record_brings_none_and_a_deleted_record_does_not_come(self) -> None:
        records = self.records(2)
        ids = self.put(records)
        self.remove(ids[1])
        keys = [records[0][self.external_id], records[1][self.external_id], *self.keys(1)]
        assert self._present(self.external_id, keys, [self.text]).num_rows == 1

    def test_empty_fields_are_null(self) -> None:
        (record,) = self.records(1)
        required = {name for name, field in self.described()[0].fields.items() if field.required}
        empty = {name: value for name, value in record.items() if name in required or name == self.external_id}
        self.put([empty])
        names = [name for name in record if name not in empty]
        (row,) = self._present(self.external_id, [record[self.external_id]], names).to_pylist()
        assert [row[name] for name in names] == [None] * len(names)

    def test_all_records_of_one_key_come(self) -> None:
        records = self.records(3)
        shared = f"Shared {records[0][self.external_id]}"[:20]
        for record in records:
            record[self.text] = shared
        self.put(records)
        found = self._present(self.text, [shared], [self.external_id])
        assert Counter(found.column(self.external_id).to_pylist()) == Counter(r[self.external_id] for r in records)

    def test_many_keys_are_asked_for_at_once(self) -> None:
        records = self.records(120)
        self.put(records)
        keys = [record[self.external_id] for record in records] + self.keys(1000)
        found = self._present(self.external_id, keys, [])
        assert Counter(found.column(self.external_id).to_pylist()) == Counter(keys[:120])

    def test_no_keys_bring_nothing(self) -> None:
        assert self._present(self.external_id, [], [self.text]).num_rows == 0


class ApplyTests(ApplicationHarness):
    """Rows that are written."""

    def test_an_insert_makes_a_record_of_every_row(self) -> None:
        self.needs(Action.INSERT)
        records = self.records(7)
        results = self.apply(self.order(Action.INSERT), self.batch(records))
        assert outcomes(results) == [Outcome.DONE] * 7
        self.assert_records(records)
        facts, _ = self.described()
        ids = {
            row[self.external_id]: str(row[facts.record_id])
            for row in self.rows([r[self.external_id] for r in records])
        }
        assert [result.record for result in results] == [ids[record[self.external_id]] for record in records]

    def test_an_update_changes_the_fields_that_are_given_and_no_others(self) -> None:
        self.needs(Action.UPDATE)
        facts, types = self.described()
        records = self.records(3)
        ids = self.put(records)
        keys = pa.array(ids[:2], pa.string()).cast(types.field(facts.record_id).type).to_pylist()
        rows = [{facts.record_id: key, self.text: f"Changed {n}"} for n, key in enumerate(keys)]
        results = self.apply(self.order(Action.UPDATE), self.batch(rows))
        assert (outcomes(results), [r.created for r in results]) == ([Outcome.DONE] * 2, [False] * 2)
        changed = [{**records[n], self.text: f"Changed {n}"} for n in range(2)]
        self.assert_records([*changed, records[2]])

    def test_a_null_empties_the_field(self) -> None:
        self.needs(Action.UPDATE)
        facts, types = self.described()
        (record,) = self.records(1)
        names = [
            n for n in record if n != self.external_id and not facts.fields[n].required and facts.fields[n].updatable
        ]
        (id_,) = self.put([record])
        key = pa.array([id_]).cast(types.field(facts.record_id).type)[0].as_py()
        rows = self.batch([{facts.record_id: key}], [facts.record_id, *names])
        assert outcomes(self.apply(self.order(Action.UPDATE), rows)) == [Outcome.DONE]
        self.assert_records([{**record, **dict.fromkeys(names)}])

    def test_an_upsert_creates_what_is_missing_and_updates_what_is_there(self) -> None:
        self.needs(Action.UPSERT)
        records = self.records(4)
        ids = self.put(records[:2])
        changed = [{**record, self.text: f"Upserted {n}"} for n, record in enumerate(records)]
        results = self.apply(self.order(Action.UPSERT), self.batch(changed))
        assert outcomes(results) == [Outcome.DONE] * 4
        assert [result.created for result in results] == [False, False, True, True]
        assert [result.record for result in results[:2]] == ids
        self.assert_records(changed)
        again = self.apply(self.order(Action.UPSERT), self.batch(changed))
        assert [(result.outcome, result.created) for result in again] == [(Outcome.DONE, False)] * 4
        self.assert_records(changed)

    def test_a_delete_takes_records_away_and_is_done_when_they_are_gone(self) -> None:
        self.needs(Action.DELETE)
        facts, types = self.described()
        records = self.records(3)
        ids = self.put(records)
        keys = pa.array(ids, pa.string()).cast(types.field(facts.record_id).type).to_pylist()
        rows = self.batch([{facts.record_id: key} for key in keys[:2]])
        assert outcomes(self.apply(self.order(Action.DELETE), rows)) == [Outcome.DONE] * 2
        self.assert_none([record[self.external_id] for record in records[:2]])
        self.assert_records(records[2:])
        assert outcomes(self.apply(self.order(Action.DELETE), rows)) == [Outcome.DONE] * 2

    @pytest.mark.parametrize("action", [Action.INSERT, Action.UPSERT])
    def test_a_refused_row_tells_why_and_leaves_the_others(self, action: Action) -> None:
        self.needs(action)
        wrong = self.refused()
        records = self.records(5)
        bad = {**records[2], **wrong}
        rows = [*records[:2], bad, *records[3:]]
        results = self.apply(self.order(action), self.batch(rows, list(records[0])))
        assert outcomes(results) == [Outcome.REFUSED if n == 2 else Outcome.DONE for n in range(5)]
        assert results[2].code and results[2].message
        assert results[2].fields == () or set(results[2].fields) & set(wrong)
        self.assert_records([*records[:2], *records[3:]])
        self.assert_none([bad[self.external_id]])

    def test_an_update_without_a_record_is_refused_and_creates_nothing(self) -> None:
        self.needs(Action.UPDATE)
        facts, types = self.described()
        records = self.records(2)
        ids = self.put(records)
        self.remove(ids[0])
        keys = pa.array(ids, pa.string()).cast(types.field(facts.record_id).type).to_pylist()
        rows = self.batch([{facts.record_id: key, self.text: "Changed"} for key in keys])
        results = self.apply(self.order(Action.UPDATE), rows)
        assert outcomes(results) == [Outcome.REFUSED, Outcome.DONE]
        self.assert_none([records[0][self.external_id]])

    def test_a_record_that_is_locked_for_a_moment_is_tried_again(self) -> None:
        self.needs(Action.UPDATE)
        facts, types = self.described()
        records = self.records(2)
        ids = self.put(records)
        self.lock(ids[0], 2)
        keys = pa.array(ids, pa.string()).cast(types.field(facts.record_id).type).to_pylist()
        rows = self.batch([{facts.record_id: key, self.text: "Changed"} for key in keys])
        assert outcomes(self.apply(self.order(Action.UPDATE), rows)) == [Outcome.DONE] * 2
        self.assert_records([{**record, self.text: "Changed"} for record in records])

    def test_as_many_rows_as_it_takes_at_once_are_answered_each_by_itself(self) -> None:
        self.needs(Action.UPSERT)
        order = self.order(Action.UPSERT)
        records = self.records(min(self.open().most_rows(order), 450))
        results = self.apply(order, self.batch(records))
        assert Counter(outcomes(results)) == {Outcome.DONE: len(records)}
        self.assert_records(records)


class ApplicationSuite(FactTests, PresentTests, ApplyTests, ApplicationKillTests):
    """Every promise of spi/application, tested."""
