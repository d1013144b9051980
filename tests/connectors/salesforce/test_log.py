"""Tests of reading a log: changes and deletes, as far as Salesforce remembers them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from salesforce_org import STAMPED, Org, changes, select
from suiro.connectors.salesforce.deletes import marked
from suiro.model.change import Checkpoint, Rows
from suiro.model.errors import ConfigError, DataError, ResyncRequired
from suiro.model.schema import Position, ReadMode
from suiro.sandbox.server import Running

NOW = datetime.now(UTC).replace(microsecond=0)


class Clock:
    """The sandbox's: Salesforce tells deletes of whole minutes that have passed."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


CLOCK = Clock()


def later(**time: float) -> None:
    """Let time go by."""
    CLOCK.ahead += timedelta(**time)


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with Running(only=["salesforce"], sizes={"Lead": 10}, now=CLOCK) as running:
        yield running


def record(number: int, ago: float, **more: Any) -> dict[str, Any]:
    stamp = f"{(NOW - timedelta(seconds=ago)).isoformat()[:19]}.000+0000"
    return {
        "Id": f"a0X5g{number:010d}AAA", "Name": f"n{number}", "IsDeleted": False, "SystemModstamp": stamp, **more
    }  # fmt: skip


@pytest.fixture
def events(org: Org) -> Iterator[str]:
    """An object with three records, changed an hour ago."""
    org.put(org.make("Event__c"), [record(number, 3600) for number in (1, 2, 3)])
    yield "Event__c"


def delete(org: Org, name: str, *numbers: int, purge: bool = False) -> None:
    ids = ",".join(record(number, 0)["Id"] for number in numbers)
    org.control("DELETE", f"records/{name}?ids={ids}&purge={str(purge).lower()}")


def update(org: Org, name: str, number: int, **values: Any) -> None:
    """As somebody does who works in Salesforce."""
    source = org.source()
    path = source._org.path(f"sobjects/{name}/{record(number, 0)['Id']}")
    source._org.ask("PATCH", path, json=values)


def read(org: Org, name: str, since: Position | None = None, **how: Any) -> tuple[list[tuple[str, str]], Position]:
    """What was done to which record, in the order of `_seq`, and the position."""
    settings = {key: how.pop(key) for key in ("hold_back", "look_back", "api") if key in how}
    source = org.source(**settings)
    selection = select(source, name, read_mode=ReadMode.LOG, deduplicate=False, **how)
    found, last = list[tuple[bytes, str, str]](), None
    for last in changes(source, selection, since):
        if isinstance(last, Rows):
            assert last.data.schema.names[-2:] == ["_op", "_seq"]
            found += [(row["_seq"], row["_op"], row["Id"][5:15].lstrip("0")) for row in last.data.to_pylist()]
    assert isinstance(last, Checkpoint)
    return [(op, id_) for _, op, id_ in sorted(found)], last.position


@pytest.mark.parametrize("api", ["rest", "bulk"])
def test_a_log_begins_with_all_rows_and_goes_on_with_changes_and_deletes(org: Org, events: str, api: str) -> None:
    first, since = read(org, events, api=api)
    assert sorted(first) == [("c", "1"), ("c", "2"), ("c", "3")]
    later(minutes=5)
    org.put(events, [record(4, -300)])
    update(org, events, 2, Name="new")
    delete(org, events, 1)
    delete(org, events, 3, purge=True)
    later(minutes=2)
    second, since = read(org, events, since, api=api, look_back=0)
    assert set(second) - {("u", "3"), ("u", "1")} == {("u", "4"), ("u", "2"), ("d", "1"), ("d", "3")}
    assert {one for one in second if one[1] == "1"} == {("d", "1")}, "known by the recycle bin and the log of deletes"
    later(minutes=2)
    third, _ = read(org, events, since, api=api, look_back=0)
    assert not [one for one in third if one[0] == "d" and one[1] != "1"], "each delete is told once"


def test_rows_deleted_before_the_first_read_do_not_come(org: Org, events: str) -> None:
    delete(org, events, 1)
    assert sorted(read(org, events)[0]) == [("c", "2"), ("c", "3")]


def test_a_delete_is_no_row_but_its_id(org: Org, events: str) -> None:
    _, since = read(org, events)
    delete(org, events, 3, purge=True)
    later(minutes=2)
    source = org.source()
    selection = select(source, events, read_mode=ReadMode.LOG, deduplicate=False)
    found = [change.data for change in changes(source, selection, since) if isinstance(change, Rows)]
    (gone,) = [row for data in found for row in data.to_pylist() if row["_op"] == "d"]
    assert {name: value for name, value in gone.items() if name[0] != "_"} == {
        "Id": record(3, 0)["Id"], "Name": None, "IsDeleted": None, "SystemModstamp": None,
    }  # fmt: skip


def test_marks_sort_as_the_moments_do() -> None:
    moments = [datetime(1969, 12, 31, tzinfo=UTC), datetime(1970, 1, 1, tzinfo=UTC), NOW, NOW + timedelta(seconds=1)]
    rows = pa.record_batch({"Id": ["a", "b", "c", "d"]})
    data = marked(rows, pa.repeat("u", 4), pa.array(moments, pa.timestamp("us", "UTC")))
    marks = data.column("_seq").to_pylist()
    assert marks == sorted(marks) and len(set(marks)) == 4


def test_a_row_that_came_back_is_there_again(org: Org, events: str) -> None:
    _, since = read(org, events)
    delete(org, events, 1, purge=True)
    later(minutes=2)
    org.put(events, [{**record(1, 0), "SystemModstamp": f"{CLOCK().isoformat()[:19]}.000+0000"}])
    later(minutes=2)
    found, _ = read(org, events, since)
    assert [op for op, id_ in found if id_ == "1"][-1] == "u"


def test_the_end_that_salesforce_tells_is_the_next_beginning(org: Org, events: str) -> None:
    _, since = read(org, events)
    later(minutes=10)
    org.settings(covered_behind_seconds=120)
    _, after = read(org, events, since)
    known = datetime.fromisoformat(str(after["deletes"]))
    assert CLOCK() - timedelta(minutes=4) < known <= CLOCK() - timedelta(seconds=119)
    delete(org, events, 2, purge=True)
    later(minutes=4)
    found, _ = read(org, events, after)
    assert ("d", "2") in found


def test_deletes_that_salesforce_has_forgotten_need_a_resync(org: Org, events: str) -> None:
    _, since = read(org, events)
    org.settings(deleted_from={events: f"{(CLOCK() - timedelta(hours=1)).isoformat()[:19]}Z"})
    before = {**since, "deletes": (CLOCK() - timedelta(hours=2)).isoformat()}
    with pytest.raises(ResyncRequired, match="tells of none before"):
        read(org, events, before)
    read(org, events, {**since, "deletes": (CLOCK() - timedelta(minutes=30)).isoformat()})
    later(days=16)
    with pytest.raises(ResyncRequired, match="deletes of Event__c are known until"):
        read(org, events, since)


def test_too_many_deletes_for_one_answer_are_asked_for_in_shorter_times(org: Org, events: str) -> None:
    org.put(events, [record(100 + number, 3600) for number in range(60)])
    _, since = read(org, events)
    for first in range(100, 160, 20):
        later(minutes=7)
        delete(org, events, *range(first, first + 20), purge=True)
    later(minutes=2)
    org.settings(most_changed_ids=25)
    found, _ = read(org, events, since)
    assert sum(op == "d" for op, _ in found) == 60
    org.settings(most_changed_ids=10)
    with pytest.raises(DataError, match="deleted within a minute or two"):
        read(org, events, since)


def test_a_position_without_deletes_needs_a_resync_and_a_log_without_ids_is_refused(org: Org, events: str) -> None:
    _, since = read(org, events)
    with pytest.raises(ResyncRequired, match="were not followed until now"):
        read(org, events, {name: value for name, value in since.items() if name != "deletes"})
    with pytest.raises(ConfigError, match="needs the column Id"):
        source = org.source()
        source.plan([select(source, events, "Name", read_mode=ReadMode.LOG)])


def test_objects_whose_deletes_are_not_told_offer_no_log(org: Org) -> None:
    org.make("Mute__c", STAMPED, replicateable=False)
    assert ReadMode.LOG not in org.source().find("Mute__c").read_modes


def test_changes_held_back_come_with_the_next_read_of_the_log(org: Org, events: str) -> None:
    _, since = read(org, events, hold_back=60)
    update(org, events, 2, Name="new")
    found, since = read(org, events, since, hold_back=60)
    assert ("u", "2") not in found
    later(minutes=2)
    found, _ = read(org, events, since, hold_back=60)
    assert ("u", "2") in found
