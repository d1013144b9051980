"""Times that a task adds: exact in their unit, or refused by their column."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pyarrow as pa
import pytest

from suiro.engine.added import Adder
from suiro.model.added import AddedTime, Unit
from suiro.model.errors import ConfigError, DataError
from suiro.model.types import TIMESTAMP_INFINITY

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def made(values: pa.Array, said: AddedTime) -> list[object]:
    adder = Adder("time", said, pa.field("at", values.type), BEGAN)
    return list(adder.apply(values, len(values)).to_pylist())


@pytest.mark.parametrize(
    ("values", "said", "expected"),
    [
        (pa.array([5, None, -5]), {"whole": Unit.SECOND}, [5, None, -5]),
        (pa.array([1500, -1500]), {"unit": Unit.MILLI, "whole": Unit.SECOND}, [1, -2]),
        (pa.array([2], pa.int16()), {"whole": Unit.NANO}, [2 * 10**9]),
        (pa.array([2]), {}, [datetime(1970, 1, 1, 0, 0, 2, tzinfo=UTC)]),
        (pa.array([datetime(1970, 1, 2)], pa.timestamp("us")), {"whole": Unit.SECOND}, [86400]),  # noqa: DTZ001
        (pa.array([datetime(1970, 1, 2)], pa.timestamp("ns")), {"whole": Unit.SECOND, "zone": "Asia/Tokyo"}, [54000]),  # noqa: DTZ001
        (pa.array([datetime(1970, 1, 2, tzinfo=UTC)], pa.timestamp("ms", "UTC")), {"whole": Unit.MILLI}, [86400000]),
        (pa.array([date(1970, 1, 2)]), {"whole": Unit.SECOND}, [86400]),
        (pa.array(["1970-01-02", None]), {"format": "%F", "whole": Unit.SECOND}, [86400, None]),
    ],
)
def test_a_time_is_made_from_a_column(values: pa.Array, said: dict[str, object], expected: list[object]) -> None:
    assert made(values, AddedTime(column="at", **said)) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (pa.array([2**62]), {"whole": Unit.MILLI}),
        (pa.array([2**62]), {}),
        (pa.array(["soon"]), {"format": "%F", "whole": Unit.SECOND}),
        (pa.array([TIMESTAMP_INFINITY]).view(pa.timestamp("us", "UTC")), {"whole": Unit.SECOND}),
        (pa.array([datetime(2026, 3, 29, 2, 30)], pa.timestamp("us")), {"whole": Unit.SECOND, "zone": "Europe/Berlin"}),  # noqa: DTZ001
    ],
)
def test_a_value_that_gives_no_time_is_refused_by_its_column(values: pa.Array, said: dict[str, object]) -> None:
    with pytest.raises(DataError, match="column at holds a time that time can't be made from") as error:
        made(values, AddedTime(column="at", **said))  # type: ignore[arg-type]
    assert error.value.column == "at"


@pytest.mark.parametrize("values", [pa.array(["x"]), pa.array([1.5]), pa.array([True])])
def test_a_column_of_another_type_is_refused(values: pa.Array) -> None:
    with pytest.raises(ConfigError, match="not a long or a timestamp"):
        made(values, AddedTime(column="at"))


def test_without_a_column_it_is_the_runs_time_or_counts_up_and_begins_again() -> None:
    assert Adder("t", AddedTime(whole=Unit.SECOND), None, BEGAN).apply(None, 2).to_pylist() == [1767225600] * 2
    start, stop = datetime(1970, 1, 1, tzinfo=UTC), datetime(1970, 1, 1, 0, 0, 2, tzinfo=UTC)
    adder = Adder("t", AddedTime(start=start, stop=stop, whole=Unit.SECOND), None, BEGAN)
    assert [*adder.apply(None, 2).to_pylist(), *adder.apply(None, 3).to_pylist()] == [0, 1, 2, 0, 1]
