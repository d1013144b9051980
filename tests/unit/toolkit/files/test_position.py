"""Positions of reads of files: what was carried is known, however many files there are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suiro.model.errors import ResyncRequired
from suiro.toolkit.files import position
from suiro.toolkit.files.listing import FileItem
from suiro.toolkit.files.position import Carried
from suiro.toolkit.files.storage import Stamp


def item(name: str, modified: int, size: int = 1) -> FileItem:
    return FileItem(path=Path("/in") / name, name=name, stamp=Stamp(modified=modified, size=size))


FILES = st.lists(
    st.tuples(st.text("abc", min_size=1, max_size=3), st.integers(1, 9)), unique_by=lambda f: f[0], max_size=20
)


@given(FILES, st.integers(0, 20))
def test_exactly_the_files_that_were_added_are_held(files: list[tuple[str, int]], count: int) -> None:
    items = [item(*file) for file in files]
    carried = Carried(None)
    for one in items[:count]:
        carried.add(one)
    again = Carried(json.loads(json.dumps(carried.position())))
    assert [again.holds(one) for one in items] == [True] * len(items[:count]) + [False] * len(items[count:])
    assert not any(again.holds(item(one.name, one.stamp.modified, size=2)) for one in items)


def test_beyond_the_limit_the_oldest_count_as_carried_and_pending_ones_never(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(position, "LIMIT", 3)
    items = [item(f"f{n}", n) for n in range(1, 8)]
    pending = [item("waits", 2)]
    carried = Carried(None)
    for one in items:
        carried.add(one)
    carried.fold([*items, *pending], pending)
    assert all(carried.holds(one) for one in items)
    assert not carried.holds(pending[0])
    carried.fold(items, [])
    said = carried.position()
    assert said["watermark"] == 5
    again = Carried(said)
    assert all(again.holds(one) for one in items)
    assert again.holds(item("late and old", 1))
    assert not again.holds(item("late", 6))


@pytest.mark.parametrize("said", [{}, {"cursor": 1}, {"newest": {}, "watermark": 1, "files": "x"}])
def test_other_positions_are_not_taken(said: dict[str, object]) -> None:
    with pytest.raises(ResyncRequired):
        Carried(said)  # type: ignore[arg-type]
