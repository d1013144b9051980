"""Inserts into Salesforce's sandbox by processes that are killed anywhere: no record is made twice, none is missing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from salesforce_mortals import Mortals, Task
from salesforce_org import Org
from salesforce_writes import FIELDS, Writer, outcomes, typed
from suiro.model.writeback import Action, Order, Outcome, RowResult

COUNT = 20
SIGNED_IN = 7  #: the step with which a job is begun; before it come a token, the list of objects, and a description


@pytest.fixture(scope="module")
def mortals(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mortals]:
    started = Mortals(tmp_path_factory.mktemp("mortals"))
    yield started
    started.close()


class Inserts:
    """Inserts into an object of their own by processes that die. Pairs of rows are equal, and two records each."""

    def __init__(self, org: Org, mortals: Mortals, folder: Path) -> None:
        self.org, self.mortals, self.folder = org, mortals, folder
        org.make("Mortal__c", FIELDS)
        writer = Writer(org, folder)
        self.config = writer.application.config
        _, self.types = writer.application.describe("Mortal__c")
        writer.close()

    def run(self, name: str, dies_at: int) -> list[RowResult] | None:
        columns = {
            "Name": [f"{name} {at // 2}" for at in range(COUNT)],
            "Score__c": [at // 2 or None for at in range(COUNT)],
        }
        task = Task(
            config=self.config,
            order=Order(object="Mortal__c", action=Action.INSERT),
            rows=typed(self.types, columns),
            notes=self.folder / name,
            answers=self.folder / "answers",
            dies_at=dies_at,
        )
        return self.mortals.answers(task)

    def check(self, name: str, answers: list[RowResult] | None) -> None:
        """Each row is one record, and its answer names it."""
        records = {one["Id"]: one for one in self.org.records("Mortal__c") if one["Name"].startswith(f"{name} ")}
        assert answers is not None
        told = sorted(answers, key=lambda answer: answer.row)
        assert outcomes(told) == [Outcome.DONE] * COUNT
        assert all(answer.created for answer in told)
        assert len({answer.record for answer in told}) == COUNT == len(records)
        assert [records[str(answer.record)]["Name"] for answer in told] == [f"{name} {at // 2}" for at in range(COUNT)]


def test_an_insert_killed_before_any_step_and_run_again_makes_every_record_once(
    org: Org, mortals: Mortals, tmp_path: Path
) -> None:
    inserts = Inserts(org, mortals, tmp_path)
    for step in range(SIGNED_IN, 100):
        died = inserts.run(f"notes{step}", step) is None
        inserts.check(f"notes{step}", inserts.run(f"notes{step}", 0))
        if not died:
            break
    assert step > SIGNED_IN + 12  # a job was made, noted, filled, noted, closed, looked at, and read


def test_an_insert_killed_again_and_again_makes_every_record_once(org: Org, mortals: Mortals, tmp_path: Path) -> None:
    org.settings(job_seconds=0.05)  # so that jobs are also seen on their way
    inserts = Inserts(org, mortals, tmp_path)
    answers, deaths = None, 0
    while answers is None:
        answers = inserts.run("notes", SIGNED_IN + deaths)
        deaths += answers is None
    assert deaths > 7
    inserts.check("notes", answers)
