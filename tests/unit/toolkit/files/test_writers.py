"""Writers of table files."""

from __future__ import annotations

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
