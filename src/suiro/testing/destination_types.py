"""Tests of types and names: what comes back equal, and what is refused before anything is published."""

from __future__ import annotations

from typing import ClassVar

import pyarrow as pa
import pytest

from suiro.model.errors import DataError, SuiroError, UserError, VerificationFailed
from suiro.model.selection import WriteMode
from suiro.model.types import is_text, logical_base
from suiro.testing.destination_harness import EVERY_MODE, DestinationHarness, after, spec_of
from suiro.testing.samples import LOGICAL, ODD_NAMES, PLAIN, Sample

REFUSALS = (UserError, DataError, VerificationFailed)


class TypeTests(DestinationHarness):
    """Values at their limits."""

    @pytest.mark.parametrize("name", PLAIN)
    def test_a_plain_type_comes_back_equal_or_is_refused_by_its_column(self, name: str) -> None:
        refused = self._carried_or_refused(PLAIN[name])
        assert not (refused and PLAIN[name].required), f"refused: {refused}"

    @pytest.mark.parametrize("base", LOGICAL)
    def test_a_logical_type_is_restored_where_claimed_and_else_stored_as_it_travels(self, base: str) -> None:
        sample = LOGICAL[base]
        refused = self._carried_or_refused(sample)
        restored = base in self.capabilities().restores
        assert not (refused and (restored or sample.required)), f"refused: {refused}"
        if restored:
            found = self.open().inspect(self._name)
            assert found is not None
            assert logical_base(found.schema.field("c_value")) == base

    def test_logical_types_of_no_system_are_stored_as_their_text(self) -> None:
        field = pa.field("c_value", pa.string(), metadata={b"suiro.type": b"no_such_type(1,2)"})
        refused = self._carried_or_refused(Sample(field, ["a", "水路"]))
        assert not refused, f"refused: {refused}"

    def _carried_or_refused(self, sample: Sample) -> SuiroError | None:
        """Load the sample alone; the error that refused it, after making sure that nothing was published."""
        mode = next(iter(self.capabilities().write_modes))
        column = sample.column()
        schema = pa.schema([pa.field("id", pa.int64()), sample.field])
        rows = pa.table([pa.array(range(len(column)), pa.int64()), column], schema=schema)
        self._name = self.fresh()
        load = self.load(self._name, rows, spec_of(mode), 1)
        try:
            self.carry(load)
        except REFUSALS as refused:
            self.finish()
            said = (str(refused), refused.hint or "", *getattr(refused, "differences", ()))
            assert any("c_value" in text for text in said), f"the error doesn't name the column: {said}"
            assert self.read(self._name) is None, "refused, but there is a table"
            assert self.position(load.key) is None
            return refused
        expected = rows
        if logical_base(sample.field) and is_text(sample.field.type):
            expected = rows.set_column(1, "c_value", rows.column(1).cast(pa.string()))
        self.assert_table(expected, self._name)
        return None


class NameTests(DestinationHarness):
    """Tables and columns of any name that the destination claims to take."""

    table_stems: ClassVar[tuple[str, ...]] = ODD_NAMES
    column_names: ClassVar[tuple[str, ...]] = ODD_NAMES
    most_columns: ClassVar[int] = 500

    def test_tables_of_odd_names(self) -> None:
        mode = next(iter(self.capabilities().write_modes))
        for n, stem in enumerate(self.table_stems):
            name = self.table_name(stem)
            old, new = self.rows((n, stem, n)), self.rows((n, stem, -n))
            for position, rows in enumerate((old, new)):
                load = self.load(name, rows, spec_of(mode), position)
                self.carry(load)
                assert self.position(load.key) == {"n": position}, stem
            self.assert_table(after(mode, old, new), name, stem)
            found = self.open().inspect(name)
            assert found is not None and found.name == name
            self.finish()

    @EVERY_MODE
    def test_columns_of_odd_names(self, mode: WriteMode) -> None:
        self.needs(mode)
        names = ("id", *self.column_names, "水" * (self.capabilities().max_identifier // 3))
        schema = pa.schema([(name, pa.int64() if name == "id" else pa.string()) for name in names])
        name = self.fresh()
        for n in range(2):
            self.carry(self.load(name, self.rows((1, *names[1:]), schema=schema), spec_of(mode), n))
        many = 2 if mode is WriteMode.APPEND else 1
        self.assert_table(self.rows(*[(1, *names[1:])] * many, schema=schema), name)

    def test_a_key_of_an_odd_name(self) -> None:
        self.needs(WriteMode.MERGE)
        for key in self.column_names:
            schema = pa.schema([(key, pa.string()), ("v", pa.int64())])
            name, spec = self.fresh(), spec_of(WriteMode.MERGE)
            spec = type(spec)(mode=spec.mode, key=(key,), order_by=key)
            for v in range(2):
                self.carry(self.load(name, self.rows((key, v), schema=schema), spec, v))
            self.assert_table(self.rows((key, 1), schema=schema), name, key)

    def test_tables_whose_names_differ_at_the_limit_alone(self) -> None:
        mode, limit = next(iter(self.capabilities().write_modes)), self.capabilities().max_identifier
        stems = [f"{'n' * (limit - 1)}{n}" for n in range(2)]
        loads = [self.load(self.table_name(s), self.rows((n, "a", n)), spec_of(mode), n) for n, s in enumerate(stems)]
        destinations = [self.open() for _ in loads]
        claims = [self.claim(d, load.key) for d, load in zip(destinations, loads, strict=True)]
        staged = [self.stage(d, load, claim) for d, load, claim in zip(destinations, loads, claims, strict=True)]
        for destination, load, item in zip(destinations, loads, staged, strict=True):
            self.publish(destination, load, item)
            self.close(destination)
        for n, load in enumerate(loads):
            self.assert_table(self.rows((n, "a", n)), load.table.name)
            assert self.position(load.key) == {"n": n}

    def test_columns_that_differ_by_case_alone(self) -> None:
        capabilities = self.capabilities()
        if capabilities.folds_case:
            pytest.skip("folds case")
        schema = pa.schema([("id", pa.int64()), ("Id", pa.string()), ("ID", pa.string())])
        name, rows = self.fresh(), self.rows((1, "b", "c"), schema=schema)
        self.carry(self.load(name, rows, spec_of(next(iter(capabilities.write_modes))), 1))
        self.assert_table(rows, name)

    @EVERY_MODE
    def test_many_columns(self, mode: WriteMode) -> None:
        self.needs(mode)
        schema = pa.schema([("id", pa.int64()), *((f"c{i}", pa.int64()) for i in range(1, self.most_columns))])
        name, rows = self.fresh(), self.rows(tuple(range(self.most_columns)), schema=schema)
        for n in range(2):
            self.carry(self.load(name, rows, spec_of(mode), n))
        self.assert_table(after(mode, rows, rows), name)

    @EVERY_MODE
    def test_a_table_without_columns_is_refused(self, mode: WriteMode) -> None:
        self.needs(mode)
        name = self.fresh()
        load = self.load(name, pa.table({}), spec_of(mode), 1)
        with pytest.raises(REFUSALS):
            self.carry(load)
        self.finish()
        assert self.read(name) is None
