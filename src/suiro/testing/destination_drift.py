"""Tests of tables that change their shape: columns that come, go and widen."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from suiro.model.errors import SchemaConflict
from suiro.model.selection import WriteMode
from suiro.testing.destination_harness import EVERY_MODE, SCHEMA, DestinationHarness, after, spec_of

WIDER_SCHEMA = pa.schema([*SCHEMA, ("city", pa.string()), ("score", pa.float64())])
NARROW_SCHEMA = pa.schema([("id", pa.int64()), ("v", pa.int64())])

#: type before, value, type of the load, value, type that holds both
WIDENINGS: dict[str, tuple[pa.DataType, Any, pa.DataType, Any, pa.DataType]] = {
    "int16 to int32": (pa.int16(), 2**15 - 1, pa.int32(), 2**31 - 1, pa.int32()),
    "int32 to int64": (pa.int32(), -(2**31), pa.int64(), 2**63 - 1, pa.int64()),
    "int64 stays": (pa.int64(), 2**63 - 1, pa.int32(), 5, pa.int64()),
    "float32 to float64": (pa.float32(), 1.5, pa.float64(), 0.1, pa.float64()),
    "int32 to float64": (pa.int32(), 2**31 - 1, pa.float64(), 0.5, pa.float64()),
    "decimal digits and scale": (
        pa.decimal128(5, 2),
        Decimal("999.99"),
        pa.decimal128(9, 5),
        Decimal("1234.56789"),
        pa.decimal128(9, 5),
    ),
    "decimal scale alone": (
        pa.decimal128(9, 2),
        Decimal("9999999.99"),
        pa.decimal128(9, 5),
        Decimal("1.00001"),
        pa.decimal128(12, 5),
    ),
    "decimal to 256 bits": (
        pa.decimal128(38, 2),
        Decimal("9" * 36 + ".99"),
        pa.decimal128(38, 5),
        Decimal("1.00001"),
        pa.decimal256(41, 5),
    ),
    "int64 to decimal": (pa.int64(), -(2**63), pa.decimal128(12, 2), Decimal("0.01"), pa.decimal128(21, 2)),
    "decimal holds int32": (pa.decimal128(12, 2), Decimal("0.01"), pa.int32(), 2**31 - 1, pa.decimal128(12, 2)),
    "naive seconds": (pa.timestamp("us"), 0, pa.timestamp("us"), 1, pa.timestamp("us")),
}
CONFLICTS: dict[str, tuple[pa.DataType, Any, pa.DataType, Any]] = {
    "int64, then text": (pa.int64(), 1, pa.string(), "one"),
    "text, then int64": (pa.string(), "one", pa.int64(), 1),
    "bool, then timestamp": (pa.bool_(), True, pa.timestamp("us"), 0),
    "timestamp, then text": (pa.timestamp("us"), 0, pa.string(), "then"),
    "float64, then int64": (pa.float64(), 0.5, pa.int64(), 2**63 - 1),
    "binary, then text": (pa.binary(), b"\xff", pa.string(), "x"),
}


class DriftTests(DestinationHarness):
    """Tables grow; they never lose a column, and what doesn't fit is refused whole."""

    @EVERY_MODE
    def test_columns_that_come_are_added(self, mode: WriteMode) -> None:
        self.needs(mode)
        name = self.fresh()
        old, new = (
            self.rows((1, "a", 10), (2, "b", 20)),
            self.rows((2, "c", 30, "大阪", 0.5), (3, None, None, None, None), schema=WIDER_SCHEMA),
        )
        self.carry(self.load(name, old, spec_of(mode), 1))
        self.carry(self.load(name, new, spec_of(mode), 2))
        wide = self.rows((1, "a", 10, None, None), (2, "b", 20, None, None), schema=WIDER_SCHEMA)
        self.assert_table(after(mode, wide, new), name)

    @EVERY_MODE
    def test_columns_that_go_stay_in_the_table(self, mode: WriteMode) -> None:
        self.needs(mode)
        name = self.fresh()
        self.carry(self.load(name, self.rows((1, "a", 10), (2, "b", 20)), spec_of(mode), 1))
        self.carry(self.load(name, self.rows((2, 30), (3, 40), schema=NARROW_SCHEMA), spec_of(mode), 2))
        match mode:
            case WriteMode.APPEND:
                expected = self.rows((1, "a", 10), (2, "b", 20), (2, None, 30), (3, None, 40))
            case WriteMode.REPLACE:
                expected = self.rows((2, None, 30), (3, None, 40))
            case WriteMode.MERGE:
                expected = self.rows((1, "a", 10), (2, "b", 30), (3, None, 40))
        self.assert_table(expected, name)

    def test_a_merge_of_equal_values_into_a_wider_table_changes_nothing(self) -> None:
        self.needs(WriteMode.MERGE)
        name, spec = self.fresh(), spec_of(WriteMode.MERGE)
        self.carry(self.load(name, self.rows((1, "a", 10)), spec, 1))
        published = self.carry(self.load(name, self.rows((1, 10), schema=NARROW_SCHEMA), spec, 2))
        assert (published.unchanged, published.updated) == (1, 0)
        self.assert_table(self.rows((1, "a", 10)), name)

    @EVERY_MODE
    def test_columns_may_come_in_another_order(self, mode: WriteMode) -> None:
        self.needs(mode)
        name = self.fresh()
        old, new = self.rows((1, "a", 10)), self.rows((2, "b", 20))
        self.carry(self.load(name, old, spec_of(mode), 1))
        self.carry(self.load(name, new.select(["v", "name", "id"]), spec_of(mode), 2))
        self.assert_table(after(mode, old, new), name)

    @EVERY_MODE
    def test_segments_of_different_schemas_are_published_together(self, mode: WriteMode) -> None:
        self.needs(mode)
        name = self.fresh()
        first = self.rows((1, "a", 10), (2, "b", 20))
        second = self.rows((2, "c", 30, "大阪", 0.5), schema=WIDER_SCHEMA)
        self.carry(self.load(name, first, spec_of(mode), 1), self.load(name, second, spec_of(mode), 1))
        wide = self.rows((1, "a", 10, None, None), (2, "b", 20, None, None), schema=WIDER_SCHEMA)
        expected = pa.concat_tables([wide, second]) if mode is not WriteMode.MERGE else after(mode, wide, second)
        self.assert_table(expected, name)

    @EVERY_MODE
    @pytest.mark.parametrize("case", WIDENINGS)
    def test_types_widen_and_keep_every_value(self, mode: WriteMode, case: str) -> None:
        """Decimals of more than 38 digits, which many systems lack, may be refused instead."""
        self.needs(mode)
        before, old, arriving, new, both = WIDENINGS[case]
        name = self.fresh()
        self.carry(self.load(name, self._one(1, old, before), spec_of(mode), 1))
        load = self.load(name, self._one(2, new, arriving), spec_of(mode), 2)
        try:
            self.carry(load)
        except SchemaConflict as refused:
            assert pa.types.is_decimal(both) and both.precision > 38, refused
            assert "c_value" in str(refused)
            self.finish()
            self.assert_table(self._one(1, old, before), name)
            return
        kept = [] if mode is WriteMode.REPLACE else [self._one(1, old, before)]
        parts = [part.cast(self._one(0, None, both).schema) for part in [*kept, self._one(2, new, arriving)]]
        self.assert_table(pa.concat_tables(parts), name)

    @EVERY_MODE
    @pytest.mark.parametrize("case", CONFLICTS)
    def test_types_that_exclude_each_other_are_refused_whole(self, mode: WriteMode, case: str) -> None:
        self.needs(mode)
        before, old, arriving, new = CONFLICTS[case]
        name = self.fresh()
        self.carry(self.load(name, self._one(1, old, before), spec_of(mode), 1))
        load = self.load(name, self._one(2, new, arriving), spec_of(mode), 2)
        with pytest.raises(SchemaConflict) as refused:
            self.carry(load)
        assert "c_value" in str(refused.value)
        self.finish()
        self.assert_table(self._one(1, old, before), name)
        assert self.position(load.key) == {"n": 1}

    def test_a_table_is_inspected_as_it_can_be_staged(self) -> None:
        mode = next(iter(self.capabilities().write_modes))
        name = self.fresh()
        rows = self.rows((1, "a", 10, "大阪", 0.5), schema=WIDER_SCHEMA)
        self.carry(self.load(name, rows, spec_of(mode), 1))
        found = self.open().inspect(name)
        assert found is not None
        assert found.name == name
        assert found.schema.names == WIDER_SCHEMA.names
        self.carry(self.load(name, rows.cast(found.schema), spec_of(mode), 2))
        self.assert_table(after(mode, rows, rows), name)

    def _one(self, id_: int, value: Any, type_: pa.DataType) -> pa.Table:
        return self.rows((id_, value), schema=pa.schema([("id", pa.int64()), ("c_value", type_)]))
