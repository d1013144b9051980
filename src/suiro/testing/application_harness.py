"""What an application's author tells the application suite, and the steps that its tests are made of."""

from __future__ import annotations

import json
import os
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pytest

from suiro.model.schema import Json
from suiro.model.writeback import Action, ObjectFacts, Order, Outcome, RowResult
from suiro.spi.application import Application
from suiro.testing.harness import Harness

Values = Mapping[str, Any]  #: of a record, by field


class FileJournal:
    """A journal in a file: a note is on the disk when `note` returns."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def notes(self) -> Sequence[dict[str, Json]]:
        if not self._path.exists():
            return []
        return [json.loads(line) for line in self._path.read_text("utf-8").splitlines()]

    def note(self, said: dict[str, Json]) -> None:
        with open(self._path, "a", encoding="utf-8") as out:
            out.write(json.dumps(said) + "\n")
            out.flush()
            os.fsync(out.fileno())


class ApplicationHarness(Harness[Application[Any]]):
    """The author's part: an object with an external id, values for it, and a look at its records from outside.

    Every test has its own instance and an empty folder, `self.folder`. The object may hold records of other tests.
    Values are plain Python values, of the fields' types; every record that a test makes has an external id of its own.
    """

    object: ClassVar[str]  #: that the tests write to
    external_id: ClassVar[str]  #: a text field of it that the application itself keeps unique
    text: ClassVar[str]  #: a text field that may be changed and emptied, and that several records may share

    # --- the author's part

    @abstractmethod
    def make(self) -> Application[Any]:
        """A new application on one and the same system, with `self.context()`. Several may live at once."""

    @abstractmethod
    def new(self, number: int) -> dict[str, Any]:
        """Values of a new record, as many fields as there are kinds; `text` and all that is required among them.

        Not the external id. Other numbers give other values.
        """

    @abstractmethod
    def put(self, records: Sequence[Values]) -> list[str]:
        """Make records by the system's own means; their ids as text."""

    @abstractmethod
    def rows(self, keys: Sequence[str]) -> list[dict[str, Any]]:
        """The records with these external ids, all their fields, by the system's own means, in any order.

        Several of one key all come; deleted ones don't.
        """

    @abstractmethod
    def remove(self, id_: str) -> None:
        """Delete a record by the system's own means."""

    def refused(self) -> dict[str, Any]:
        """Values that a record can't have, for a reason that the application tells; the fields to blame alone."""
        pytest.skip("the suite is not told what the application refuses (refused)")

    def lock(self, id_: str, times: int) -> None:
        """Have a record be locked for so many tries to write it."""
        pytest.skip("the suite is not told how a record is locked (lock)")

    # --- what tests are made of

    def described(self) -> tuple[ObjectFacts, pa.Schema]:
        """The object's facts and types."""
        return self.open().describe(self.object)

    def needs(self, action: Action) -> None:
        """Skip where these credentials may not do so."""
        if action not in self.described()[0].actions:
            pytest.skip(f"no {action}")

    def keys(self, number: int) -> list[str]:
        """External ids that no other call returned, in this test or another."""
        start = next(self._numbers)
        mark = f"{abs(hash(str(self.folder))) % 10**8:08d}"
        return [f"k{mark}-{start}-{at}" for at in range(number)]

    def records(self, number: int) -> list[dict[str, Any]]:
        """As many new records, external ids included."""
        return [{self.external_id: key, **self.new(at)} for at, key in enumerate(self.keys(number))]

    def journal(self) -> FileJournal:
        """A new, empty journal."""
        return FileJournal(self.folder / f"journal-{next(self._numbers)}.jsonl")

    def order(self, action: Action) -> Order:
        """The plainest order of an action."""
        facts, _ = self.described()
        by = {Action.UPDATE: facts.record_id, Action.UPSERT: self.external_id}.get(action)
        return Order(object=self.object, action=action, by=by)

    def batch(self, values: Sequence[Values], names: Sequence[str] | None = None) -> pa.RecordBatch:
        """Rows in the types that `describe` says; what a row lacks is NULL."""
        _, types = self.described()
        chosen = list(names or dict.fromkeys(name for row in values for name in row))
        schema = pa.schema([types.field(name) for name in chosen])
        columns = [pa.array([row.get(field.name) for row in values], field.type) for field in schema]
        return pa.RecordBatch.from_arrays(columns, schema=schema)

    def apply(self, order: Order, rows: pa.RecordBatch, journal: FileJournal | None = None) -> list[RowResult]:
        """Do it; one answer for each row, in the rows' order."""
        found = list(self.open().apply(order, rows, journal or self.journal()))
        assert sorted(result.row for result in found) == list(range(rows.num_rows)), "one answer for each row"
        return sorted(found, key=lambda result: result.row)

    def typed(self, values: Values) -> dict[str, Any]:
        """The values as Arrow gives them back in the fields' types."""
        return {name: column[0] for name, column in self.batch([values]).to_pydict().items()}

    def assert_records(self, expected: Sequence[Values]) -> None:
        """There is one record for each external id, with these values; other fields aren't looked at."""
        found: dict[str, list[dict[str, Any]]] = {}
        for row in self.rows([record[self.external_id] for record in expected]):
            found.setdefault(row[self.external_id], []).append(row)
        for record in expected:
            there = found.get(record[self.external_id], [])
            assert len(there) == 1, f"{record[self.external_id]}: {len(there)} records"
            wanted = self.typed(record)
            actual = self.typed({name: there[0].get(name) for name in record})
            assert actual == wanted

    def assert_none(self, keys: Sequence[str]) -> None:
        """There are no records with these external ids."""
        assert self.rows(keys) == []


def outcomes(results: Sequence[RowResult]) -> list[Outcome]:
    """What became of each row."""
    return [result.outcome for result in results]
