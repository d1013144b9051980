"""Merges into DuckDB that are matched with the table in parts, as large ones are where memory is little."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from carrying import carry, merge, read
from suiro.connectors import duckdb
from suiro.connectors.duckdb import session


@pytest.mark.parametrize("bytes_", [512, session.LEAST_MEMORY, session.LEAST_MEMORY // 3])
def test_a_merge_in_parts_is_the_merge(bytes_: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At 512 bytes a row is matched in one part; at all there is, in one part for each row."""
    monkeypatch.setattr(session, "MATCHED_BYTES", bytes_)
    file = tmp_path / "d.duckdb"
    first = pa.table({"id": [1, 2, 3, 4], "k": ["a", "b", "水", ""], "n": [1, None, 3, 4]})
    second = pa.table({"id": [3, 5, 3, 1, 4], "k": ["水", "e", "水", "a", ""], "n": [30, 50, 31, 1, None]})
    made = carry(duckdb.connector, file, first, merge("id", "k"))
    done = carry(duckdb.connector, file, second, merge("id", "k"))
    assert (made.inserted, made.superseded) == (4, 0)
    assert (done.inserted, done.updated, done.unchanged, done.superseded) == (1, 2, 1, 1)
    rows = sorted(read(duckdb.connector, file).to_pylist(), key=lambda row: row["id"])
    assert [(row["id"], row["n"]) for row in rows] == [(1, 1), (2, None), (3, 31), (4, None), (5, 50)]
