"""The source conformance suite on Salesforce's sandbox, by REST and in bulk jobs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import time, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pytest

from salesforce_org import Org, said
from suiro.connectors.salesforce.source import SalesforceSource
from suiro.model.errors import UserError
from suiro.sandbox.server import Running
from suiro.testing.context import LocalContext
from suiro.testing.samples import PLAIN
from suiro.testing.source_harness import Found
from suiro.testing.source_increments import DAYS, NOON, TIMES
from suiro.testing.source_suite import SourceSuite

TYPES = {
    pa.bool_(): "boolean", pa.int16(): "int", pa.int32(): "int", pa.int64(): "long", pa.date32(): "date",
    pa.timestamp("us", "UTC"): "datetime", pa.time64("us"): "time", pa.string(): "textarea",
}  # fmt: skip


def described(field: pa.Field) -> dict[str, Any]:
    """A field of the sandbox for values of this type."""
    if pa.types.is_decimal(field.type):
        return {"name": field.name, "type": "double", "precision": field.type.precision, "scale": field.type.scale}
    return {"name": field.name, "type": TYPES[field.type], "length": 131_072}


class SalesforceSuite(SourceSuite):
    """What the suite needs to know of Salesforce. An empty text is NULL; a time has no more than milliseconds."""

    settings_: ClassVar[dict[str, Any]]
    keeps_keys = False
    keeps_null = False
    stream_stems = ("Order_Item", "UPPER", "select", "a1_b2", "n" * 40)
    column_names = ("Order_Item__c", "UPPER", "select_it", "a1_b2__c", "c" * 40)
    plain_types: ClassVar[tuple[str, ...]] = (
        "int16", "int32", "int64", "bool", "decimal 18,2", "date", "text",
    )  # fmt: skip
    org: Org

    @pytest.fixture(autouse=True)
    def _org(self, running: Running, tmp_path: Path) -> Iterator[None]:
        self.org = Org(running, tmp_path / "org")
        yield
        self.org.close()

    def context(self) -> LocalContext:
        run = f"run{next(self._numbers)}"
        return LocalContext(run=run, workdir=self.folder / f"work-{run}", accounts=self.org.accounts)

    def make(self) -> SalesforceSource:
        return self.org.source(context=self.context(), **self.settings_)

    def stream_name(self, stem: str) -> str:
        return f"{re.sub('[^A-Za-z0-9_]', '_', stem)}__c"

    def fill(self, name: str, rows: pa.Table, key: tuple[str, ...]) -> None:
        self.org.make(name, [described(field) for field in rows.schema])
        self.add(name, rows)

    def add(self, name: str, rows: pa.Table) -> None:
        self.org.put(name, ({column: said(value) for column, value in row.items()} for row in rows.to_pylist()))

    def assert_found(self, expected: pa.Table, found: Found, when: str = "") -> None:
        columns = [
            pa.array([value or None for value in column.to_pylist()]) if pa.types.is_string(column.type) else column
            for column in expected.columns
        ]
        super().assert_found(pa.table(columns, schema=expected.schema), found, when)

    def test_sql_is_run_and_wrong_sql_is_the_users_error(self) -> None:
        name = self.filled(self.rows((1, "a", 10), (2, None, 20)))
        source = self.open()
        found = pa.Table.from_batches(source.query(f"SELECT v, name FROM {name} ORDER BY id"))
        assert found.to_pylist() == [{"v": 10, "name": "a"}, {"v": 20, "name": None}]
        empty = list(source.query(f"SELECT id FROM {name} WHERE v = 0"))
        assert [(batch.schema.names, batch.num_rows) for batch in empty] == [(["id"], 0)]
        with pytest.raises(UserError):
            list(source.query("SELEKT 1"))
        assert next(source.query(f"SELECT COUNT() FROM {name}")).to_pylist() == [{"expr0": 2}]

    @pytest.mark.parametrize("kind", ["timestamp in UTC", "date"])
    def test_cursors_of_time_keep_their_last_microsecond(self, kind: str) -> None:
        """Of which Salesforce has none: milliseconds."""
        schema = {"timestamp in UTC": TIMES, "date": DAYS}[kind]
        base: Any = NOON if kind == "timestamp in UTC" else NOON.date()
        tick = timedelta(days=1) if kind == "date" else timedelta(milliseconds=1)
        old = self.rows((1, base - tick), (2, base), schema=schema)
        new = self.rows((3, base), (4, base + tick), schema=schema)
        name = self.filled(old)
        source = self.open()
        first = self.consume(source, self.follow(source, name, "at"))
        self.assert_found(old, first)
        self.add(name, new)
        found = self.consume(source, self.follow(source, name, "at"), first.position)
        self.assert_found(new, found)
        assert found.deduplicated == 1

    def test_times_of_day_keep_their_milliseconds(self) -> None:
        values = [time(0), time(23, 59, 59, 999000), None]
        rows = pa.table({"id": pa.array([1, 2, 3]), "at": pa.array(values, pa.time64("us"))})
        name = self.filled(rows)
        source = self.open()
        self.assert_found(rows, self.consume(source, self.select(source, name)))

    def test_a_text_of_the_greatest_length_is_read(self) -> None:
        rows = self.rows((1, "水" * 131_072, 1))
        name = self.filled(rows)
        source = self.open()
        self.assert_found(rows, self.consume(source, self.select(source, name)))
        assert PLAIN["text"].required


class TestSalesforce(SalesforceSuite):
    """Two rows by REST, more in jobs, in pages of some thousand rows."""

    settings_: ClassVar[dict[str, Any]] = {"bulk_from": 3, "page_rows": 7_000}
