"""Tests of declared REST resources: pages of every kind, lists that shift, positions, children, deletes, drift."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from rest_service import Service, Table
from suiro.model.change import OP, SEQ, Checkpoint, Rejected, Rows, SchemaChange
from suiro.model.errors import AuthError, ConfigError, DataError
from suiro.model.schema import Position, ReadMode
from suiro.model.selection import Selection
from suiro.spi.connector import ConnectorConfig
from suiro.testing.context import LocalContext
from suiro.toolkit.http.answers import Answer
from suiro.toolkit.http.auth import Open
from suiro.toolkit.http.client import HttpClient
from suiro.toolkit.http.pages import Cursors, Keyset, Links, Offsets, PageNumbers, Paging, Whole
from suiro.toolkit.http.patience import Patience
from suiro.toolkit.http.resources import Cursor, Parent, Resource, columns
from suiro.toolkit.http.rest import RestSource
from suiro.toolkit.http.sending import How
from web import serving

THINGS = columns("id:int name v:int")
PAGED = PageNumbers(size=10, pages=("meta", "pages"), total=("meta", "total"))


class Settings(ConnectorConfig):
    """Where the service is."""

    url: str

    def identity(self) -> str:
        return self.url


class Declared(RestSource[Settings]):
    """What a test declares."""

    declared: Sequence[Resource] = ()

    def resources(self) -> Sequence[Resource]:
        return self.declared

    def connect(self) -> HttpClient:
        patience = Patience(seconds=2, first=0.01)
        return HttpClient(self.context, base_url=self.config.url, auth=Open(), account="things", patience=patience)


@dataclass
class Found:
    """What a read yielded."""

    batches: list[pa.RecordBatch] = field(default_factory=list)
    positions: list[Position] = field(default_factory=list)
    schemas: list[pa.Schema] = field(default_factory=list)
    rejected: list[Any] = field(default_factory=list)
    deduplicated: int = 0

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [row for batch in self.batches for row in batch.to_pylist()]

    def column(self, name: str) -> list[Any]:
        return [row[name] for row in self.rows]


class Place:
    """A source over declared resources, and reads of it."""

    def __init__(self, folder: Path, url: str, *resources: Resource) -> None:
        self.context = LocalContext(run="r", workdir=folder)
        self.source = Declared(Settings(url=url), self.context)
        self.source.declared = resources

    def read(
        self,
        name: str,
        since: Position | None = None,
        *,
        chosen: Sequence[str] | None = None,
        mode: ReadMode = ReadMode.FULL,
        cursor: str | None = None,
        rejects: bool = False,
        deduplicate: bool = True,
    ) -> Found:
        stream = self.source.find(name)
        selection = Selection(
            stream=stream,
            columns=tuple(chosen or stream.schema.names),
            read_mode=mode,
            cursor_field=cursor,
            rejects=rejects,
            deduplicate=deduplicate,
        )
        found = Found()
        (read,) = self.source.plan([selection])
        for change in self.source.read(read, since):
            match change:
                case Rows():
                    found.batches.append(change.data)
                    found.deduplicated += change.deduplicated
                case Checkpoint():
                    found.positions.append(change.position)
                case SchemaChange():
                    found.schemas.append(change.schema)
                case Rejected():
                    found.rejected += change.rows
        return found

    def follow(self, name: str, cursor: str, since: Position | None = None, **how: Any) -> Found:
        return self.read(name, since, mode=ReadMode.INCREMENTAL, cursor=cursor, **how)


def things(*numbers: int, **more: Any) -> list[dict[str, Any]]:
    return [{"id": n, "name": f"n{n}", "v": n, **more} for n in numbers]


@pytest.fixture
def service() -> Service:
    return Service(tables={"things": Table(schema=THINGS, key=("id",))})


@pytest.fixture
def place(service: Service, tmp_path: Path) -> Iterator[Any]:
    with service.served() as url:
        opened: list[Place] = []

        def make(*resources: Resource) -> Place:
            opened.append(Place(tmp_path, url, *resources))
            return opened[-1]

        yield make
        for one in opened:
            one.source.close()


def resource(**how: Any) -> Resource:
    plain: dict[str, Any] = {
        "name": "things",
        "path": "/tables/0",
        "schema": THINGS,
        "primary_key": ("id",),
        "pages": PAGED,
        "place": ("data",),
    }
    return Resource(**{**plain, **how})


@pytest.mark.parametrize(
    "paging",
    [
        PAGED,
        PageNumbers(size=10),
        PageNumbers(size=10, short_ends=False),
        Offsets(size=10),
        Offsets(size=10, total=("meta", "total")),
        Cursors(param="after", place=("meta", "after"), size=10),
        Links(place=("meta", "next"), size=10),
        Links(size=10),
        Keyset(column="id", param="above", size=10, order={"sort": "id"}),
        Keyset(column="id", param="above", size=10, order={"sort": "id"}, pages=("meta", "pages")),
    ],
)
@pytest.mark.parametrize("number", [0, 1, 9, 10, 11, 95])
def test_every_kind_of_page_brings_every_row_once(service: Service, place: Any, paging: Paging, number: int) -> None:
    service.tables["things"].add(things(*range(number)))
    found = place(resource(pages=paging)).read("things")
    assert sorted(found.column("id")) == list(range(number))
    assert found.positions == [{}]
    assert len(service.asked) <= -(-number // 10) + 6


def test_numbered_pages_are_asked_for_ahead(service: Service, place: Any) -> None:
    service.tables["things"].add(things(*range(400)))
    service.before = lambda _: time.sleep(0.05)
    began = time.monotonic()
    assert len(place(resource()).read("things").rows) == 400
    assert time.monotonic() - began < 40 * 0.05 * 0.8


def test_a_closed_read_asks_for_nothing_more(service: Service, place: Any) -> None:
    service.tables["things"].add(things(*range(5000)))
    there = place(resource(pages=replace(PAGED, size=1)))
    stream = there.source.find("things")
    (read,) = there.source.plan([Selection(stream=stream, columns=("id", "name", "v"))])
    changes = there.source.read(read, None)
    threading.Timer(0.2, there.context.cancel).start()
    with pytest.raises(Exception, match="cancelled"):
        list(changes)
    time.sleep(0.3)
    asked = len(service.asked)
    time.sleep(0.3)
    assert len(service.asked) == asked < 5000


@pytest.mark.parametrize(
    ("paging", "says"),
    [
        (Cursors(param="after", place=("meta", "total")), "circle"),
        (Links(place=("meta", "same")), "circle"),
        (PageNumbers(size=1, param="unheard"), "same page"),
    ],
)
def test_a_list_that_has_no_end_is_left(place: Any, paging: Paging, says: str, tmp_path: Path) -> None:
    async def endless(request: Request) -> Response:
        return JSONResponse({"data": things(1), "meta": {"total": 7, "same": "/tables/0?x=1"}})

    with serving(Starlette(routes=[Route("/tables/0", endless)])) as url:
        there = Place(tmp_path, url, resource(pages=paging))
        with pytest.raises(DataError, match=says):
            there.read("things")
        there.source.close()


def test_a_row_that_a_shifting_list_passed_over_is_found_and_none_comes_twice(service: Service, place: Any) -> None:
    """While page 2 is asked for, a row of page 1 goes: each one behind it moves forward, over the end of page 1."""
    table = service.tables["things"]
    table.add(things(*range(100)))

    def shift(query: Mapping[str, str]) -> None:
        if query.get("page") == "2" and table.rows[0]["id"] == 0:
            del table.rows[0], table.texts[0]

    service.before = shift
    there = place(resource())
    there.source.workers = 1
    assert sorted(there.read("things").column("id")) == list(range(100))


def test_a_list_whose_total_is_wrong_is_read_twice_and_no_more(service: Service, place: Any) -> None:
    service.tables["things"].add(things(*range(30)))
    wrong = replace(PAGED, total=("meta", "pages"), size=10)
    there = place(resource(pages=replace(wrong, total=("meta", "more"))))
    assert len(there.read("things").rows) == 30
    assert len(service.asked) == 3


BY_CURSOR = Cursor(field="v", param="since", order={"order": "asc"})


def test_rows_that_change_while_they_are_read_shift_nothing(service: Service, place: Any) -> None:
    """Each page's first row changes as soon as it was read: in numbered pages a row would be passed over each time."""
    table = service.tables["things"]
    table.add(things(*range(100)))
    turn = itertools.count()

    def change(_: Mapping[str, str]) -> None:
        n = next(turn)
        if 0 < n < 8:
            table.rows[n]["v"] = 1000 + n
            table.texts[n] = table.texts[n].replace(f'"v":{n}', f'"v":{1000 + n}')

    service.before = change
    there = place(resource(cursor=BY_CURSOR))
    found = there.follow("things", "v")
    last = {row["id"]: row["v"] for row in found.rows}
    assert last == {n: 1000 + n if 0 < n < 8 else n for n in range(100)}
    assert found.positions[-1]["cursor"] == 1007
    assert there.follow("things", "v", found.positions[-1]).rows == []


@pytest.mark.parametrize("nulls_last", [True, False])
def test_rows_without_a_cursor_value_come_though_none_was_expected(
    service: Service, place: Any, nulls_last: bool
) -> None:
    service.nulls_last = nulls_last
    service.tables["things"].add(things(*range(25)) + [{"id": n, "name": "", "v": None} for n in range(90, 95)])
    there = place(resource(cursor=BY_CURSOR))
    first = there.follow("things", "v")
    assert sorted(first.column("id")) == [*range(25), *range(90, 95)]
    assert there.follow("things", "v", first.positions[-1]).rows == []
    assert sorted(there.read("things").column("id")) == [*range(25), *range(90, 95)]


def test_more_rows_of_one_cursor_value_than_a_page_holds_all_come(service: Service, place: Any) -> None:
    service.tables["things"].add([{**row, "v": 5} for row in things(*range(35))] + things(40, 41))
    found = place(resource(cursor=BY_CURSOR)).follow("things", "v")
    assert sorted(found.column("id")) == [*range(35), 40, 41]


def test_a_service_that_ignores_the_filter_still_brings_no_row_twice(
    service: Service, place: Any, caplog: pytest.LogCaptureFixture
) -> None:
    table = service.tables["things"]
    table.add(things(*range(100)))
    for order in ({"order": "asc"}, None):
        there = place(resource(cursor=replace(BY_CURSOR, order=order)))
        first = there.follow("things", "v")
        service.heeds = False
        table.add(things(len(table.rows)))
        found = there.follow("things", "v", first.positions[-1])
        assert found.column("id") == [len(table.rows) - 1]
        assert "ignored the filter since" in caplog.text
        service.heeds = True
        caplog.clear()


TIMED = columns("id:int at:time")


def timed(*rows: tuple[int, datetime]) -> list[dict[str, Any]]:
    return [{"id": n, "at": at} for n, at in rows]


def test_the_position_stays_before_what_may_still_become_visible(service: Service, place: Any) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    table = service.tables["things"] = Table(schema=TIMED, key=("id",))
    table.add(timed((1, now - timedelta(hours=1)), (2, now - timedelta(seconds=20)), (3, now)))
    cursor = Cursor(field="at", param="since", order={"order": "asc"}, hold_back=timedelta(minutes=1))
    there = place(resource(schema=TIMED, cursor=cursor))
    first = there.follow("things", "at")
    assert first.column("id") == [1, 2, 3]
    assert first.positions[-1]["cursor"] == {"timestamptz": (now - timedelta(hours=1)).isoformat()}
    table.add(timed((4, now - timedelta(seconds=30))))  # became visible after younger ones
    second = there.follow("things", "at", first.positions[-1])
    assert (second.column("id"), second.deduplicated) == ([4], 3)
    third = there.follow("things", "at", second.positions[-1])
    assert (third.column("id"), third.deduplicated) == ([], 4)
    merged = there.follow("things", "at", first.positions[-1], deduplicate=False)
    assert merged.column("id") == [4, 2, 3]


def test_a_read_in_the_services_own_order_stays_before_its_beginning(service: Service, place: Any) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    table = service.tables["things"] = Table(schema=TIMED, key=("id",))
    table.add(timed((1, now - timedelta(hours=1)), (2, now + timedelta(hours=1))))
    there = place(resource(schema=TIMED, cursor=Cursor(field="at", param="since")))
    first = there.follow("things", "at")
    assert first.positions[-1]["cursor"] == {"timestamptz": (now - timedelta(hours=1)).isoformat()}
    table.add(timed((3, now + timedelta(minutes=1))))  # changed while the list was being read
    assert there.follow("things", "at", first.positions[-1]).column("id") == [3]


def test_a_filter_of_whole_seconds_loses_and_doubles_nothing_within_one(service: Service, place: Any) -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    table = service.tables["things"] = Table(schema=TIMED, key=())
    table.add(timed(*((n, at + timedelta(milliseconds=100 * n)) for n in range(25))))
    cursor = Cursor(field="at", param="since", order={"order": "asc"})
    there = place(resource(schema=TIMED, cursor=cursor, primary_key=(), pages=replace(PAGED, size=11)))
    first = there.follow("things", "at")
    assert first.column("id") == list(range(25))
    table.add(timed((25, at + timedelta(milliseconds=2450))))
    assert there.follow("things", "at", first.positions[-1]).column("id") == [25]


# --- children


LINES = columns("thing_id:int id:int amount:number thing_at:time")


@dataclass
class Shop:
    """Things with an `at`, and their lines at /things/<id>/lines: 204 without any, 404 where the thing has gone."""

    things: dict[int, datetime] = field(default_factory=dict)
    lines: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    gone: set[int] = field(default_factory=set)
    scopes: frozenset[str] = frozenset({"things", "lines", "other"})
    asked: list[str] = field(default_factory=list)

    async def list_things(self, request: Request) -> Response:
        if "things" not in self.scopes:
            return JSONResponse({"message": "no scope"}, 403)
        since = request.query_params.get("since")
        least = datetime.fromisoformat(since) if since else datetime(1, 1, 1, tzinfo=UTC)
        rows = sorted((at, n) for n, at in self.things.items() if at >= least)
        page, size = int(request.query_params["page"]), int(request.query_params["limit"])
        return JSONResponse([{"id": n, "at": at.isoformat()} for at, n in rows[(page - 1) * size : page * size]])

    async def list_lines(self, request: Request) -> Response:
        number, page = int(request.path_params["id"]), int(request.query_params["page"])
        self.asked.append(f"{number}/{page}")
        if number in self.gone:
            return JSONResponse({"message": "gone"}, 404)
        rows = self.lines.get(number, [])[(page - 1) * 3 : page * 3]
        return JSONResponse(rows) if rows else Response(status_code=204)

    async def other(self, request: Request) -> Response:
        return JSONResponse([]) if "other" in self.scopes else JSONResponse({"message": "no scope"}, 403)

    @property
    def resources(self) -> tuple[Resource, ...]:
        above = Resource(
            name="things",
            path="/things",
            schema=TIMED,
            primary_key=("id",),
            pages=PageNumbers(size=7),
            cursor=Cursor(field="at", param="since", order={"sort": "at"}),
            scope="read things",
        )
        lines = Resource(
            name="lines",
            path="/things/{thing_id}/lines",
            schema=LINES,
            primary_key=("id",),
            pages=PageNumbers(size=3),
            parent=Parent(stream="things", key="id", column="thing_id", cursor="thing_at"),
            empty=frozenset({404}),
            scope="read things",
        )
        other = Resource(name="other", path="/other", schema=TIMED, pages=Whole(), scope="read others")
        return above, lines, other

    def app(self) -> Starlette:
        routes = [
            Route("/things", self.list_things),
            Route("/things/{id}/lines", self.list_lines),
            Route("/other", self.other),
        ]
        return Starlette(routes=routes)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[tuple[Shop, Place]]:
    shop = Shop()
    base = datetime(2026, 1, 1, tzinfo=UTC)
    for n in range(40):
        shop.things[n] = base + timedelta(minutes=n // 2)
        shop.lines[n] = [{"id": n * 100 + i, "amount": f"{i}.5000"} for i in range(n % 5)]
    with serving(shop.app()) as url:
        place = Place(tmp_path, url, *shop.resources)
        yield shop, place
        place.source.close()


def test_rows_of_each_parent_come_with_its_key_and_the_time_of_its_change(shop: tuple[Shop, Place]) -> None:
    there, place = shop
    there.gone = {4}
    found = place.read("lines")
    wanted = {(n, line["id"], there.things[n]) for n in there.things if n != 4 for line in there.lines[n]}
    assert {(row["thing_id"], row["id"], row["thing_at"]) for row in found.rows} == wanted
    assert len(found.rows) == len(wanted)
    assert str(found.batches[0].schema.field("amount").type) == "decimal128(20, 4)"


def test_children_are_followed_by_their_parents_changes(shop: tuple[Shop, Place]) -> None:
    there, place = shop
    first = place.follow("lines", "thing_at")
    there.asked.clear()
    assert place.follow("lines", "thing_at", first.positions[-1]).rows == []
    assert sorted(set(there.asked)) == ["38/1", "38/2", "39/1", "39/2"]
    there.things[3] = datetime(2026, 2, 1, tzinfo=UTC)
    there.lines[3] = [{"id": 9999, "amount": "1"}]
    second = place.follow("lines", "thing_at", first.positions[-1])
    assert second.column("id") == [9999]
    assert place.follow("lines", "thing_at", second.positions[-1]).rows == []


# --- what credentials may not read


def test_streams_that_the_scopes_hide_are_named(shop: tuple[Shop, Place]) -> None:
    there, place = shop
    assert [stream.name for stream in place.source.discover()] == ["things", "lines", "other"]
    there.scopes = frozenset({"other"})
    (stream,) = place.source.discover()
    assert (stream.name, stream.notes) == (
        "other",
        ("These credentials may not read things, lines; they lack: read things.",),
    )
    place.source.check()
    assert place.source.remarks() == stream.notes
    with pytest.raises(AuthError, match=r"/things at .* 403 Forbidden: no scope"):
        place.read("things")
    there.scopes = frozenset()
    with pytest.raises(AuthError, match="403"):
        place.source.check()
    assert list(place.source.discover()) == []


# --- deletes


MARKED = columns("id:int v:int gone:bool")


def test_rows_that_are_marked_as_deleted_are_deletes_of_a_log(service: Service, place: Any) -> None:
    table = service.tables["things"] = Table(schema=MARKED, key=("id",))
    table.add([{"id": 1, "v": 1, "gone": False}, {"id": 2, "v": 2, "gone": True}, {"id": 3, "v": 3, "gone": None}])
    there = place(resource(schema=MARKED, cursor=BY_CURSOR, deleted="gone"))
    assert ReadMode.LOG in there.source.find("things").read_modes
    found = there.read("things", mode=ReadMode.LOG, chosen=("id",))
    assert [(row["id"], row[OP]) for row in found.rows] == [(1, "u"), (2, "d"), (3, "u")]
    marks = found.column(SEQ)
    assert marks == sorted(marks)
    assert found.batches[0].schema.names == ["id", OP, SEQ]
    table.add([{"id": 1, "v": 9, "gone": True}])
    more = there.read("things", found.positions[-1], mode=ReadMode.LOG, chosen=("id",))
    assert [(row["id"], row[OP]) for row in more.rows] == [(1, "d")]


def test_what_tells_of_deletes_need_not_be_a_column_of_the_stream(service: Service, place: Any) -> None:
    table = service.tables["things"] = Table(schema=MARKED, key=("id",))
    table.add([{"id": 1, "v": 1, "gone": False}, {"id": 2, "v": 2, "gone": True}])
    there = place(resource(schema=columns("id:int v:int"), cursor=BY_CURSOR, deleted="gone", open_=False))
    found = there.read("things", mode=ReadMode.LOG)
    assert [(row["id"], row[OP]) for row in found.rows] == [(1, "u"), (2, "d")]
    assert found.batches[0].schema.names == ["id", "v", OP, SEQ]
    assert there.read("things").batches[0].schema.names == ["id", "v"]
    assert there.read("things", chosen=("id",)).column("id") == [1]


def test_a_read_of_the_key_alone_leaves_deleted_rows_out(service: Service, place: Any) -> None:
    table = service.tables["things"] = Table(schema=MARKED, key=("id",))
    table.add([{"id": n, "v": n, "gone": n % 3 == 0} for n in range(50)])
    there = place(resource(schema=MARKED, cursor=BY_CURSOR, deleted="gone"))
    assert there.read("things", chosen=("id",)).column("id") == [n for n in range(50) if n % 3]
    assert len(there.read("things").rows) == 50


def test_a_read_of_the_key_alone_may_be_cheaper(service: Service, place: Any) -> None:
    service.tables["things"].add(things(*range(5)))
    there = place(resource(keys={"fields": "id"}, cursor=BY_CURSOR))
    assert there.read("things", chosen=("id",)).column("id") == list(range(5))
    assert [query.get("fields") for query in service.asked] == ["id"]
    there.read("things", chosen=("id", "v"))
    assert service.asked[-1].get("fields") is None


# --- drift


def test_a_new_member_and_a_wider_number_change_the_schema_before_their_rows(service: Service, place: Any) -> None:
    table = service.tables["things"]
    table.add(things(*range(10)))
    table.add(things(10, colour="red"))
    table.add([{"id": 11, "name": "x", "v": 2**70}])
    found = place(resource()).read("things")
    assert [schema.names for schema in found.schemas] == [["id", "name", "v", "colour"]]
    assert str(found.schemas[0].field("v").type) == "decimal128(22, 0)"
    assert [batch.schema for batch in found.batches][1:] == found.schemas
    assert found.rows[-2:] == [
        {"id": 10, "name": "n10", "v": 10, "colour": "red"},
        {"id": 11, "name": "x", "v": 2**70, "colour": None},
    ]
    chosen = place(resource()).read("things", chosen=("id",))
    assert (chosen.schemas, chosen.batches[0].schema.names) == ([], ["id"])


def test_rows_that_cannot_be_read_are_rejected_or_end_the_read(service: Service, place: Any) -> None:
    table = service.tables["things"]
    table.add(things(1))
    table.add([{"id": 2, "name": "x", "v": "much"}])
    there = place(resource())
    found = there.read("things", rejects=True)
    assert (found.column("id"), [row.column for row in found.rejected]) == ([1], ["v"])
    with pytest.raises(DataError, match="a row can't be read: v: it is a text, not int64") as caught:
        there.read("things")
    assert caught.value.column == "v"
    assert there.read("things", chosen=("id", "name")).column("id") == [1, 2]


def test_a_cursor_that_the_service_cannot_filter_by_is_refused(service: Service, place: Any) -> None:
    there = place(resource(cursor=BY_CURSOR), resource(name="plain"))
    with pytest.raises(ConfigError, match="can't be followed by id"):
        there.follow("things", "id")
    with pytest.raises(ConfigError, match="no stream 'thing'"):
        there.read("thing")


def test_a_look_back_suits_cursors_that_are_dates(place: Any) -> None:
    daily = resource(schema=columns("id:int day:date"), cursor=Cursor(field="day", param="from"))
    source = place(daily).source
    stream = source.find("things")
    chosen: dict[str, Any] = {"columns": ("id", "day"), "read_mode": ReadMode.INCREMENTAL, "cursor_field": "day"}
    source.plan([Selection(stream=stream, look_back=timedelta(days=3), **chosen)])
    with pytest.raises(ConfigError, match="doesn't suit the cursor day"):
        source.plan([Selection(stream=stream, look_back=3, **chosen)])


@pytest.mark.parametrize(("pages", "positions"), [(1, 12), (4, 3)])
def test_a_source_says_after_how_many_pages_the_position_is_told(
    service: Service, place: Any, monkeypatch: pytest.MonkeyPatch, pages: int, positions: int
) -> None:
    monkeypatch.setattr(Declared, "checkpoint_pages", pages)
    service.tables["things"].add(things(*range(100)))
    found = place(resource(cursor=BY_CURSOR)).follow("things", BY_CURSOR.field)
    assert sorted(found.column("id")) == list(range(100)) and len(found.positions) == positions


@pytest.mark.parametrize(("falls", "pages"), [(True, 3), (False, 10)], ids=["newest first", "in any order"])
def test_a_list_that_begins_with_the_newest_is_left_at_the_first_row_that_is_too_old(
    tmp_path: Path, falls: bool, pages: int
) -> None:
    """And a list that is asked for in its own way: here by POST, its page in the body."""
    heard: list[dict[str, Any]] = []
    numbers = list(range(99, -1, -1)) if falls else [*range(1, 100, 2), *range(0, 100, 2)]

    async def answer(request: Request) -> Response:
        body = await request.json()
        heard.append(body)
        start = int(body.get("after", 0))
        following = start + 10 if start + 10 < 100 else None
        return JSONResponse({"data": things(*numbers[start : start + 10]), "next": following})

    def ask(http: HttpClient, path: str, params: Mapping[str, str | int], how: How) -> Answer:
        asked: How = {**how, "json": dict(params), "repeatable": True}
        return http.post(path, **asked)

    newest = Cursor(field="v", param="since", newest_first=True)
    pages_ = Cursors(param="after", place=("next",))
    with serving(Starlette(routes=[Route("/things", answer, methods=["POST"])])) as url:
        there = Place(tmp_path, url, resource(path="/things", pages=pages_, cursor=newest, asks=ask))
        first = there.follow("things", "v")
        heard.clear()
        since = {**first.positions[-1], "cursor": 75, "boundary": {}}
        found = there.follow("things", "v", since)
        there.source.close()
    assert sorted(found.column("id")) == list(range(75, 100))
    assert (len(heard), heard[0]["since"]) == (pages, "75")
