"""Writers of table files."""

from __future__ import annotations

import math
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from suiro.toolkit.files.settings import FileSettings
from suiro.toolkit.files.writers import writer


@pytest.mark.parametrize("sizes", [(25,), (10, 10, 5), (3,) * 8 + (1,), (9, 2, 14)])
def test_row_groups_have_as_many_rows_as_asked_for(tmp_path: Path, sizes: tuple[int, ...]) -> None:
    schema = pa.schema([("a", pa.int64()), ("b", pa.string())])
    path = tmp_path / "t.parquet"
    out = writer(path, schema, FileSettings(row_group_rows=10))
    begin = 0
    for size in sizes:
        numbers = range(begin, begin + size)
        out.write(pa.record_batch([pa.array(numbers), pa.array([str(n) for n in numbers])], schema=schema))
        begin += size
    out.close()
    with pq.ParquetFile(path) as file:
        assert [file.metadata.row_group(at).num_rows for at in range(file.num_row_groups)] == [10, 10, 5]
        assert file.read()["a"].to_pylist() == list(range(25))


def test_an_empty_file_has_its_columns(tmp_path: Path) -> None:
    schema = pa.schema([("a", pa.int64())])
    out = writer(tmp_path / "t.parquet", schema, FileSettings())
    out.close()
    assert pq.read_table(tmp_path / "t.parquet").schema.names == ["a"]


def test_values_that_repeat_are_kept_in_dictionaries_and_short_decimals_as_integers(tmp_path: Path) -> None:
    """The two zeros stay two, and views, which Arrow can't count, are written as they are."""
    number = 300
    columns = {
        "text": pa.array(["a", "b", None] * 100),
        "view": pa.array(["a", "longer than twelve", None] * 100, pa.string_view()),
        "date": pa.array([0, 1, None] * 100, pa.date32()),
        "short": pa.array([Decimal("1.50"), None, Decimal("-9999999.99")] * 100, pa.decimal128(9, 2)),
        "middle": pa.array([Decimal(10**16 + n) for n in range(number)], pa.decimal128(18, 1)),
        "long": pa.array([Decimal(10**30)] * number, pa.decimal128(38, 0)),
        "zeros": pa.array([0.0, -0.0, math.nan] * 100),
        "key": pa.array(range(number)),
    }
    table = pa.table(columns)
    path = tmp_path / "t.parquet"
    out = writer(path, table.schema, FileSettings())
    for batch in table.to_batches():
        out.write(batch)
    out.close()
    file = pq.ParquetFile(path)
    group = file.metadata.row_group(0)
    found = {file.schema.names[at]: group.column(at) for at in range(group.num_columns)}
    assert {name for name, column in found.items() if column.has_dictionary_page} == {"text", "date", "short", "long"}
    kinds = {name: found[name].physical_type for name in ("short", "middle", "long")}
    assert kinds == {"short": "INT32", "middle": "INT64", "long": "FIXED_LEN_BYTE_ARRAY"}
    back = file.read()
    assert back.schema == table.schema
    assert back.drop_columns("zeros").equals(table.drop_columns("zeros"))
    assert [math.copysign(1, zero) for zero in back["zeros"].to_pylist()[:2]] == [1, -1]
