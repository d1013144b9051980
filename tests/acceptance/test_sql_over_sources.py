"""Queries over five million rows of files: whatever the query does, memory stays where it was set.

Each query runs in a process of its own, through the engine and into nothing, so that its peak is the query's.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

ROWS, CUSTOMERS, BATCH = 5_000_000, 100_003, 250_000
MOST_MB = 400  #: the process as a whole; Python with Arrow and DuckDB takes about 150 of them

_CHILD = r"""
import json, re, sys
from pathlib import Path
from suiro.app import workbench
rows = 0
with workbench.sql(sys.argv[1], sys.argv[2]) as batches:
    for batch in batches:
        rows += batch.num_rows
        last = batch.slice(batch.num_rows - 1).to_pylist()
peak = int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) // 1024  # this program's own
print(json.dumps({"rows": rows, "peak": peak, "last": last}, default=str))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """events.parquet of five million rows and customers.parquet of a hundred thousand."""
    found = tmp_path_factory.mktemp("events")
    schema = pa.schema([("id", pa.int64()), ("customer", pa.int64()), ("name", pa.string())])
    with pq.ParquetWriter(found / "events.parquet", schema) as writer:
        for start in range(0, ROWS, BATCH):
            ids = np.arange(start, start + BATCH)
            names = pa.array(ids).cast(pa.string())
            writer.write_table(pa.table([ids, ids * 7919 % CUSTOMERS, names], schema=schema))
    customers = np.arange(CUSTOMERS)
    pq.write_table(pa.table({"customer": customers, "region": customers % 50}), found / "customers.parquet")
    return found


@pytest.mark.parametrize(
    ("query", "rows", "last"),
    [
        ("SELECT id * 2 AS twice, 'n' || name AS n FROM events WHERE id % 2 = 1", ROWS // 2, None),
        ("SELECT count(*) AS n, sum(id) AS s FROM events", 1, {"n": ROWS, "s": str(ROWS * (ROWS - 1) // 2)}),
        ("SELECT name, count(*) AS n FROM events GROUP BY name", ROWS, None),
        ("SELECT e.name, c.region FROM events e JOIN customers c ON c.customer = e.customer", ROWS, None),
        ("SELECT id FROM events ORDER BY name DESC", ROWS, {"id": 0}),
    ],
    ids=["filter and projection", "one sum", "five million groups", "join", "sort"],
)
def test_a_query_over_five_million_rows_stays_within_its_memory(
    folder: Path, query: str, rows: int, last: dict[str, object] | None
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, f"file://{folder}", query],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    print(f"{query}: {found['peak']} MB")
    assert found["rows"] == rows
    assert last is None or found["last"] == [last]
    assert found["peak"] < MOST_MB
