"""What memory sources can be told: to break, to pause at checkpoints, to follow a log, to split a read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from suiro.model.change import Checkpoint, Rows, SchemaChange, Truncate
from suiro.model.errors import Cancelled, ConnectionLost
from suiro.model.schema import ReadMode
from suiro.model.selection import Selection
from suiro.testing.context import LocalContext
from suiro.testing.memory import MemorySource, MemorySourceConfig, MemoryStreams

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from suiro.model.change import Change
    from suiro.model.schema import Position

ROWS = pa.table({"id": [0, 1, 2, 3, 4, 5, 6, 7, 8, 9], "v": [0, 0, 1, 1, 1, 2, 2, 3, 3, 3]})


class Quiet:
    """A context without a folder."""

    run, memory_bytes = "run1", 2**20

    def check_cancelled(self) -> None:
        return None


def reading(system: MemoryStreams, since: Position | None = None, mode: ReadMode = ReadMode.FULL) -> Iterator[Change]:
    source = MemorySource(MemorySourceConfig(system=system), Quiet())  # type: ignore[arg-type]
    stream = source.find("s")
    cursor = "v" if mode is ReadMode.INCREMENTAL else None
    selection = Selection(stream=stream, columns=tuple(stream.schema.names), read_mode=mode, cursor_field=cursor)
    for read in source.plan([selection]):
        yield from source.read(read, since)


@pytest.mark.parametrize("mode", [ReadMode.FULL, ReadMode.INCREMENTAL])
@example(breaks=[2, 1], batch=1, pause=1)
@given(breaks=st.lists(st.integers(0, 9), max_size=3), batch=st.integers(1, 4), pause=st.none() | st.integers(1, 5))
def test_a_read_broken_anywhere_and_resumed_carries_every_row_once(
    mode: ReadMode, breaks: list[int], batch: int, pause: int | None
) -> None:
    system = MemoryStreams(batch_rows=batch, checkpoint_rows=pause)
    system.fill("s", ROWS)
    safe: list[int] = []
    since: Position | None = None
    for left in [*breaks, None]:
        system.breaks_after, carried = left, list[int]()
        try:
            for change in reading(system, since, mode):
                if isinstance(change, Rows):
                    carried += change.data.column("id").to_pylist()
                elif isinstance(change, Checkpoint):
                    safe, since, carried = [*safe, *carried], change.position, []
        except ConnectionLost:
            assert left is not None
    assert sorted(safe) == ROWS.column("id").to_pylist()


def test_the_connection_is_lost_once_after_as_many_rows_as_told() -> None:
    system = MemoryStreams(breaks_after=7, batch_rows=3)
    system.fill("s", ROWS)
    seen = 0
    with pytest.raises(ConnectionLost):
        for change in reading(system):
            seen += change.data.num_rows if isinstance(change, Rows) else 0
    assert seen == 7
    assert sum(c.data.num_rows for c in reading(system) if isinstance(c, Rows)) == 10


def test_a_log_is_read_in_its_order_and_from_any_checkpoint() -> None:
    system = MemoryStreams(checkpoint_rows=2)
    system.fill("s", ROWS.slice(0, 0), ("id",))
    marked = pa.record_batch({"id": [1], "v": [1], "_op": ["c"], "_seq": [b"\x01"]})
    wider = pa.schema([*ROWS.schema, ("w", pa.string())])
    script = [Rows("s", marked), SchemaChange("s", wider), Truncate("s"), Rows("s", marked)]
    stream = system.record("s", script)
    assert ReadMode.LOG in stream.read_modes
    changes = list(reading(system, mode=ReadMode.LOG))
    assert [c for c in changes if not isinstance(c, Checkpoint)] == script
    checkpoints = [c for c in changes if isinstance(c, Checkpoint)]
    assert [c.position for c in checkpoints] == [{"changes": 2}, {"changes": 4}, {"changes": 4}]
    rest = reading(system, {"changes": 2}, ReadMode.LOG)
    assert [c for c in rest if not isinstance(c, Checkpoint)] == script[2:]


def test_a_full_read_in_parts_has_keys_bounds_and_one_position() -> None:
    system = MemoryStreams(parts=3)
    system.fill("s", ROWS)
    source = MemorySource(MemorySourceConfig(system=system), Quiet())  # type: ignore[arg-type]
    reads = source.plan([Selection(stream=source.find("s"), columns=("id",))])
    assert [(read.key, dict(read.bounds)) for read in reads] == [
        ("s#0", {"start": 0, "stop": 3}),
        ("s#1", {"start": 3, "stop": 6}),
        ("s#2", {"start": 6, "stop": 10}),
    ]
    assert source.join([{"rows": 3}, {"rows": 3}, {"rows": 4}]) == {"rows": 10}


def test_a_context_calls_what_waits_for_the_cancel_once(tmp_path: Path) -> None:
    context = LocalContext(run="r", workdir=tmp_path / "work")
    stopped: list[str] = []
    context.on_cancel(lambda: stopped.append("kept"))
    take_back = context.on_cancel(lambda: stopped.append("taken back"))
    context.check_cancelled()
    take_back()
    take_back()
    context.cancel()
    context.cancel()
    assert stopped == ["kept"]
    with pytest.raises(Cancelled):
        context.check_cancelled()
    context.on_cancel(lambda: stopped.append("late"))
    assert stopped == ["kept", "late"]
    assert (tmp_path / "work").is_dir()
