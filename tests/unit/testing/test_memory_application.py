"""The memory application keeps the contract: the suite passes on it, and not on those that break it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from suiro.model.writeback import Action
from suiro.testing.application_suite import ApplicationSuite
from suiro.testing.memory_application import MemoryApplication, MemoryApplicationConfig
from suiro.testing.memory_org import MemoryOrg
from unit.testing.broken_applications import (
    CreatesOnUpdate,
    FindsOne,
    ForgetsNulls,
    LosesAnAnswer,
    NotesLate,
    NotesNothing,
)
from writing_back import FACTS, LEAD

if TYPE_CHECKING:
    from pathlib import Path


class MemorySuite(ApplicationSuite):
    """On a file of each test's own."""

    object, external_id, text = "Lead", "Ext__c", "Company"
    kind: type[MemoryApplication] = MemoryApplication

    def prepare(self, folder: Path) -> None:
        super().prepare(folder)
        self.path = folder / "org.db"
        self.org = MemoryOrg(self.path)
        self.org.make("Lead", LEAD, FACTS, refuses={"Company": ["Refused"]})

    def finish(self) -> None:
        super().finish()
        self.org.close()

    def make(self) -> MemoryApplication:
        return self.kind(MemoryApplicationConfig(path=self.path, at_once=2), self.context())

    def new(self, number: int) -> dict[str, Any]:
        values = {"Company": f"Company {number}", "Status": "New", "Score": Decimal(f"{number}.25")}
        return {**values, "Rank": number, "Email": f"{number}@example.com"}

    def put(self, records: Sequence[Mapping[str, Any]]) -> list[str]:
        return self.org.put("Lead", records)

    def rows(self, keys: Sequence[str]) -> list[dict[str, Any]]:
        return [row for row in self.org.rows("Lead") if row["Ext__c"] in keys]

    def remove(self, id_: str) -> None:
        self.org.remove("Lead", id_)

    def refused(self) -> dict[str, Any]:
        return {"Company": "Refused"}

    def lock(self, id_: str, times: int) -> None:
        self.org.lock("Lead", id_, times)


class TestMemoryApplication(MemorySuite):
    """As it is."""


MUTANTS = {
    NotesNothing: "test_killed_before_any_step_and_sent_again_with_its_journal_no_row_is_doubled",
    NotesLate: "test_killed_before_any_step_and_sent_again_with_its_journal_no_row_is_doubled",
    ForgetsNulls: "test_a_null_empties_the_field",
    CreatesOnUpdate: "test_an_update_without_a_record_is_refused_and_creates_nothing",
    LosesAnAnswer: "test_an_insert_makes_a_record_of_every_row",
    FindsOne: "test_all_records_of_one_key_come",
}


@pytest.mark.parametrize("mutant", list(MUTANTS), ids=lambda kind: kind.__name__)
def test_what_breaks_the_contract_fails(tmp_path: Path, mutant: type[MemoryApplication]) -> None:
    suite = MemorySuite()
    suite.kind = mutant
    suite.prepare(tmp_path / "suite")
    test = getattr(suite, MUTANTS[mutant])
    try:
        with pytest.raises(AssertionError):
            test(Action.INSERT) if "killed" in MUTANTS[mutant] else test()
    finally:
        suite.finish()
