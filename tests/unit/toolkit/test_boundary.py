"""Tests of boundary rows: no row lost, none carried twice."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suiro.model.errors import DataError, ResyncRequired, UserError
from suiro.toolkit import boundary
from suiro.toolkit.boundary import Boundary, decode, encode, row_hashes

ROUNDS = st.lists(st.lists(st.tuples(st.integers(0, 2), st.sampled_from("ab")), max_size=6), min_size=1, max_size=5)


def batch(*rows: tuple[Any, ...]) -> pa.RecordBatch:
    """Rows of a cursor `c` and a text `v`."""
    return pa.record_batch({"c": pa.array([r[0] for r in rows], pa.int64()), "v": pa.array([r[1] for r in rows])})


def read(there: list[tuple[Any, ...]], since: Any, *, pieces: int = 2) -> tuple[list[tuple[Any, ...]], int, Any]:
    """What a source would carry: the rows, how many were left out, the position after a journey through JSON."""
    following = Boundary("c", since, deduplicate=True)
    last = None if since is None or since["cursor"] is None else since["cursor"]
    asked = [row for row in there if last is None or row[0] >= last]
    carried, known = [], 0
    for start in range(0, len(asked), pieces):
        kept, left_out = following.pass_through(batch(*asked[start : start + pieces]))
        carried += [tuple(row.values()) for row in kept.to_pylist()]
        known += left_out
    return carried, known, json.loads(json.dumps(following.position()))


@given(ROUNDS, st.randoms(use_true_random=False))
def test_whatever_comes_at_the_last_value_is_carried_once(rounds: list[list[tuple[int, str]]], chance: Any) -> None:
    there: list[tuple[Any, ...]] = []
    carried: list[tuple[Any, ...]] = []
    greatest, since = 0, None
    for coming in rounds:
        for step, text in coming:
            greatest += step
            there.append((greatest, text))
        chance.shuffle(there)
        rows, _, since = read(there, since)
        carried += rows
    assert Counter(carried) == Counter(there)


def test_a_second_row_like_the_first_is_carried() -> None:
    _, _, since = read([(1, "a"), (2, "b")], None)
    assert read([(2, "b"), (2, "b")], since)[:2] == ([(2, "b")], 1)


def test_nothing_new_keeps_the_position() -> None:
    _, _, since = read([(1, "a"), (2, "b"), (2, "c")], None)
    assert read([(2, "c"), (2, "b")], since) == ([], 2, since)
    assert read([], since)[2] == since


def test_a_new_column_does_not_bring_old_rows_back() -> None:
    _, _, since = read([(2, "b")], None)
    following = Boundary("c", since, deduplicate=True)
    wide = pa.record_batch({"c": pa.array([2, 2]), "v": ["b", "x"], "new": [1, 2]})
    kept, known = following.pass_through(wide)
    assert (kept.to_pylist(), known) == ([{"c": 2, "v": "x", "new": 2}], 1)


def test_more_rows_than_can_be_remembered_are_an_error_only_where_it_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boundary, "LIMIT", 3)
    _, _, since = read([(5, str(n)) for n in range(4)], None)
    assert since["boundary"] is None
    with pytest.raises(UserError, match="can't be told"):
        Boundary("c", since, deduplicate=True)
    kept, known = Boundary("c", since, deduplicate=False).pass_through(batch((5, "0")))
    assert (kept.num_rows, known) == (1, 0)


def test_a_position_of_another_cursor_asks_for_a_new_read() -> None:
    _, _, since = read([(1, "a")], None)
    with pytest.raises(ResyncRequired, match="the last read followed c, this one is to follow v"):
        Boundary("v", since, deduplicate=True)


@pytest.mark.parametrize("type_", [pa.timestamp("us"), pa.date32()])
def test_a_cursor_at_infinity_is_refused_since_nothing_could_follow(type_: pa.DataType) -> None:
    endless = pa.array([2**31 - 1], pa.int32()) if type_ == pa.date32() else pa.array([2**63 - 1], pa.int64())
    following = Boundary("c", None, deduplicate=True)
    with pytest.raises(DataError, match="the cursor c holds infinity"):
        following.pass_through(pa.record_batch({"c": endless.view(type_)}))


def test_rows_with_infinities_and_nested_values_have_hashes() -> None:
    moments = pa.array([2**63 - 1, None, 0], pa.int64()).view(pa.timestamp("us"))
    nested = pa.array([[{"a": 1}], None, []], pa.list_(pa.struct([("a", pa.timestamp("us"))])))
    uuids = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([bytes(16), None, bytes(16)], pa.binary(16)))
    rows = pa.record_batch({"m": moments, "n": nested, "u": uuids})
    found = row_hashes(rows, ["m", "n", "u"])
    assert len(set(found)) == 3
    assert found == row_hashes(rows, ["m", "n", "u"])
    assert row_hashes(rows, []) == ["", "", ""]


@pytest.mark.parametrize(
    "value",
    [
        0, -1.5, "水", True, None, Decimal("1.10"), b"\x00\xff", date(2024, 2, 29),
        datetime.fromisoformat("2024-02-29T12:00:00.000001"), datetime(2024, 2, 29, 12, tzinfo=UTC),
    ],
)  # fmt: skip
def test_a_cursor_value_survives_json(value: Any) -> None:
    found = decode(json.loads(json.dumps(encode(value))))
    assert (found, type(found)) == (value, type(value))


def test_values_that_have_no_order_are_no_cursors() -> None:
    with pytest.raises(UserError, match="list can't be a cursor"):
        encode([1])
    with pytest.raises(UserError, match="unknown kind 'odd'"):
        decode({"odd": "x"})
