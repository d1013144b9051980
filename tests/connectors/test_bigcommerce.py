"""The BigCommerce source on a made-up shop: every stream, every trap of its APIs, faults, changes while it reads."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bigcommerce_reads import KEPT, Found, Reader, assert_same, kept, merged
from copying import copied
from shell import Shell
from shopping import Shop, open_shop
from suiro.app.connections import connection
from suiro.connectors.bigcommerce import RESOURCES, BigCommerceConfig, connector
from suiro.engine.accounts import Accounts
from suiro.model.change import OP
from suiro.model.errors import AuthError, ConfigError
from suiro.model.schema import ReadMode
from suiro.model.selection import Deletes, WriteMode
from suiro.toolkit.http.resources import Resource
from web import serving

SIZES = {"customers": 330, "orders": 90, "products": 40}
FAULTS = ["429", "500", "503", "drop", "lost", "slow", "duplicate_page"]
MAIN = [
    "orders",
    "order_products",
    "transactions",
    "refunds",
    "customers",
    "customer_addresses",
    "products",
    "variants",
]


@pytest.fixture(scope="module")
def standing() -> Iterator[Shop]:
    """A shop that tests only read."""
    with open_shop(SIZES) as shop:
        yield shop


@pytest.fixture
def shop() -> Iterator[Shop]:
    """A shop of the test's own."""
    with open_shop(SIZES) as shop:
        yield shop


Open = Callable[..., Reader]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    """Makes readers of a shop, which are closed after the test."""
    readers: list[Reader] = []

    def make(shop: Shop, way: str = "full", **settings: Any) -> Reader:
        readers.append(Reader(shop, tmp_path / str(len(readers)), way, **settings))
        return readers[-1]

    yield make
    for one in readers:
        one.source.close()


@pytest.fixture
def reader(shop: Shop, opened: Open) -> Reader:
    return opened(shop)


def faults(shop: Shop, **plan: Any) -> None:
    answer = shop.http.put(f"{shop.url}/_sandbox/faults", json=plan)
    assert answer.status_code == 200, answer.text


# --- every stream


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda resource: resource.name)
def test_every_row_of_every_stream_is_the_shops(standing: Shop, opened: Open, resource: Resource) -> None:
    reader = opened(standing)
    found = reader.read(resource.name)
    assert (found.rejected, found.schemas) == ([], [])
    numbers = standing.http.get(f"{standing.url}/_sandbox/records").json()
    if KEPT.get(resource.name, resource.name) in numbers:
        assert_same(kept(standing, resource.name), found.rows)
        assert len(found.rows) == numbers[KEPT.get(resource.name, resource.name)]
    keys = [tuple(row[name] for name in resource.primary_key) for row in found.rows]
    assert not resource.primary_key or len(set(keys)) == len(keys)


@pytest.mark.parametrize("resource", [r for r in RESOURCES if r.cursor_field], ids=lambda resource: resource.name)
def test_every_stream_with_a_cursor_is_followed(standing: Shop, opened: Open, resource: Resource) -> None:
    reader = opened(standing)
    first, whole = reader.follow(resource.name), reader.read(resource.name)
    assert_same(whole.rows, first.rows)
    again = reader.follow(resource.name, first.position)
    assert again.rows == []


# --- the traps of the two APIs


def test_trap_1_each_api_gets_its_own_spelling_of_the_filter(shop: Shop, reader: Reader) -> None:
    for name in ("orders", "customers", "products"):
        before = reader.source.http.bytes_received
        first = reader.follow(name)
        whole = reader.source.http.bytes_received - before
        changed = shop.change(name, change=2, seed=7)["changed"]
        found = reader.follow(name, first.position)
        assert set(changed) <= set(found.ids())
        assert reader.source.http.bytes_received - before - whole < whole / 3, name


def test_trap_1_a_spelling_that_is_ignored_costs_time_and_no_rows(
    shop: Shop, reader: Reader, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def wrong(resource: Resource) -> Resource:
        if resource.cursor is None or resource.name != "orders":
            return resource
        return replace(resource, cursor=replace(resource.cursor, param="date_modified:min"))

    monkeypatch.setattr(type(reader.source), "resources", lambda _: tuple(map(wrong, RESOURCES)))
    first = reader.follow("orders")
    changed = shop.change("orders", change=2, seed=7)["changed"]
    assert sorted(reader.follow("orders", first.position).ids()) == sorted(changed)
    assert "the service ignored the filter date_modified:min" in caplog.text


def test_trap_2_a_list_of_v2_that_is_empty_or_at_its_end_is_204(shop: Shop, reader: Reader) -> None:
    shop.http.delete(f"{shop.url}/_sandbox/records/coupons")
    assert shop.ask("GET", "/v2/coupons").status_code == 204
    assert reader.read("coupons").rows == []
    orders = len(reader.read("orders").rows)
    assert orders == SIZES["orders"]
    assert shop.ask("GET", "/v2/orders", page=2, limit=250).status_code == 204


def test_trap_3_dates_of_both_apis_become_moments(standing: Shop, opened: Open) -> None:
    reader = opened(standing)
    for name in ("orders", "customers"):
        raw = standing.get("/v2/orders" if name == "orders" else "/v3/customers", limit=1)[0]["date_created"]
        assert ("," in raw) == (name == "orders")
        assert all(row["date_created"].tzinfo is not None for row in reader.read(name).rows)


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/Los_Angeles"])
def test_trap_3_the_stores_time_zone_moves_no_boundary(shop: Shop, reader: Reader, zone: str) -> None:
    shop.set(time_zone=zone)
    for name in ("orders", "customers"):
        first = reader.follow(name)
        changed = shop.change(name, change=3, seed=1)["changed"]
        found = reader.follow(name, first.position)
        assert set(changed) <= set(found.ids())
        assert len(found.rows) < 20


@pytest.mark.parametrize("name", ["customers", "products", "orders"])
def test_trap_4_a_list_that_changes_while_it_is_read_loses_and_doubles_nothing(
    reader: Reader, shop: Shop, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _small_pages(reader, monkeypatch)
    shop.set(drift={"every": 1, "resources": [name], "change": 2, "add": 1, "delete": 1, "at_most": 30})
    before = {row["id"] for row in kept(shop, name)}
    full = reader.read(name)
    assert len(set(full.ids())) == len(full.rows)
    after = {row["id"] for row in kept(shop, name)}
    assert before & after <= set(full.ids()) <= before | after
    shop.set(drift={"every": 1, "resources": [name], "change": 2, "add": 1, "delete": 0, "at_most": 30})
    reads = [reader.follow(name)]
    shop.set(drift={})
    reads.append(reader.follow(name, reads[0].position))
    assert_same(kept(shop, name), merged(*reads))


def _small_pages(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    def small(resource: Resource) -> Resource:
        pages = replace(resource.pages, size=25) if hasattr(resource.pages, "size") else resource.pages
        cursor = resource.cursor
        if cursor is not None and cursor.pages is not None:
            cursor = replace(cursor, pages=replace(cursor.pages, size=25))  # type: ignore[type-var]
        return replace(resource, pages=pages, cursor=cursor)

    monkeypatch.setattr(type(reader.source), "resources", lambda _: tuple(map(small, RESOURCES)))


def test_trap_4_customers_of_one_second_are_more_than_a_page(standing: Shop, opened: Open) -> None:
    reader = opened(standing)
    found = reader.follow("customers")
    times = [row["date_modified"] for row in found.rows]
    assert max(times.count(at) for at in set(times)) > 200
    assert sorted(found.ids()) == sorted(row["id"] for row in kept(standing, "customers"))


def test_trap_5_the_filter_includes_its_value_and_known_rows_are_left_out(shop: Shop, reader: Reader) -> None:
    shop.put("customers", {"id": 9001, "email": "a@example.com", "date_modified": "2026-01-01T00:00:00Z"})
    old = [row["id"] for row in kept(shop, "customers") if row["id"] != 9001]
    shop.http.delete(f"{shop.url}/_sandbox/records/customers", params={"ids": ",".join(map(str, old))})
    first = reader.follow("customers")
    assert first.position["cursor"] == {"timestamptz": "2026-01-01T00:00:00+00:00"}
    shop.put("customers", {"id": 9002, "email": "b@example.com", "date_modified": "2026-01-01T00:00:00Z"})
    second = reader.follow("customers", first.position)
    assert (second.ids(), second.deduplicated) == ([9002], 1)
    assert reader.follow("customers", second.position).rows == []


def test_trap_6_archived_orders_are_deletes_of_a_log(shop: Shop, reader: Reader) -> None:
    first = reader.read("orders", mode=ReadMode.LOG)
    gone = shop.change("orders", delete=3, seed=3)["deleted"]
    second = reader.read("orders", first.position, mode=ReadMode.LOG)
    assert {row["id"] for row in second.rows if row[OP] == "d"} >= set(gone)
    living = [row for row in kept(shop, "orders") if not row["is_deleted"]]
    assert_same(living, merged(first, second))


@pytest.mark.parametrize("listed", [True, False])
def test_trap_6_orders_that_are_archived_are_missing_among_the_keys(shop: Shop, reader: Reader, listed: bool) -> None:
    gone = shop.change("orders", delete=4, seed=3)["deleted"]
    shop.set(archived_listed=listed)
    keys = reader.read("orders", chosen=("id",))
    living = {row["id"] for row in kept(shop, "orders") if not row["is_deleted"]}
    assert set(keys.ids()) == living
    assert not living & set(gone)


@pytest.mark.parametrize("name", ["customers", "products"])
def test_trap_6_records_that_are_gone_are_missing_among_the_keys(shop: Shop, reader: Reader, name: str) -> None:
    gone = shop.change(name, delete=5, seed=5)["deleted"]
    assert set(reader.read(name, chosen=("id",)).ids()) == {row["id"] for row in kept(shop, name)}
    assert not {row["id"] for row in kept(shop, name)} & set(gone)


def test_trap_6_the_keys_of_products_are_asked_for_without_the_rest(standing: Shop, opened: Open) -> None:
    reader = opened(standing)
    reader.read("products")
    whole = reader.source.http.bytes_received
    reader.read("products", chosen=("id",))
    assert reader.source.http.bytes_received - whole < whole / 10


def test_trap_7_plain_http_ends_in_one_sentence(shop: Shop, reader: Reader) -> None:
    shop.set(https_only=True)
    with pytest.raises(ConfigError, match="TLS"):
        reader.read("customers")


def test_trap_8_amounts_are_exact_and_nothing_is_not_zero(shop: Shop, reader: Reader) -> None:
    shop.put(
        "orders",
        {"id": 7001, "customer_id": 0, "total_inc_tax": "49.0000", "discount_amount": "", "subtotal_tax": None},
    )
    (row,) = [row for row in reader.read("orders").rows if row["id"] == 7001]
    assert (row["customer_id"], row["total_inc_tax"]) == (0, Decimal("49.0000"))
    assert (row["discount_amount"], row["subtotal_tax"]) == (None, None)
    shop.put("orders", {"id": 7002, "total_inc_tax": "0.123456"})
    found = reader.read("orders")
    (row,) = [row for row in found.rows if row["id"] == 7002]
    assert row["total_inc_tax"] == Decimal("0.123456")
    assert [str(schema.field("total_inc_tax").type) for schema in found.schemas] == ["decimal128(22, 6)"]


def test_trap_9_a_page_with_fewer_rows_than_asked_for_is_not_the_last(opened: Open) -> None:
    """A service that gives ten rows whatever the limit, as `include` is said to bring about."""
    rows = [{"id": n} for n in range(1, 36)]

    async def few(request: Request) -> Response:
        query, v3 = request.query_params, "/v3/" in request.url.path
        least = int(query.get("id:greater", query.get("min_id", 0)))
        some = [row for row in rows if row["id"] >= least + ("id:greater" in query)]
        page = int(query.get("page", 1))
        shown = some[(page - 1) * 10 : page * 10]
        told = {"data": shown, "meta": {"pagination": {"total": len(some), "total_pages": -(-len(some) // 10)}}}
        return JSONResponse(told if v3 else shown) if v3 or shown else Response(status_code=204)

    routes = [Route("/stores/s/{path:path}", few)]
    with serving(Starlette(routes=routes)) as url:
        shop = Shop(url, {"full": {"base_url": url, "store_id": "s", "access_token": "t"}})
        reader = opened(shop)
        for name in ("variants", "products", "categories", "brands", "orders", "coupons", "banners"):
            assert sorted(reader.read(name).ids()) == list(range(1, 36)), name
        shop.http.close()


def test_trap_10_orders_without_a_time_of_change_come_once(shop: Shop, reader: Reader) -> None:
    order = {"id": 8001, "customer_id": 0, "unmodified": True, "date_created": "2026-01-01T00:00:00Z"}
    shop.put("orders", {**order, "date_modified": "2026-01-01T00:00:00Z"})
    raw = next(row for row in shop.all("/v2/orders", limit=250) if row["id"] == 8001)
    assert raw["date_modified"] == ""
    first = reader.follow("orders")
    (row,) = [row for row in first.rows if row["id"] == 8001]
    assert row["date_modified"] is None
    assert_same(kept(shop, "orders"), first.rows)
    assert reader.follow("orders", first.position).rows == []


def test_v2_would_answer_xml_to_who_does_not_ask_for_json(shop: Shop, reader: Reader) -> None:
    shop.set(xml_without_accept=True)
    assert len(reader.read("orders").rows) == SIZES["orders"]


# --- quotas, permissions, faults


def test_a_small_quota_that_others_use_too_is_kept(shop: Shop, reader: Reader) -> None:
    shop.set(quota=30, window_ms=400, others=1)
    assert_same(kept(shop, "order_products"), reader.read("order_products").rows)
    answers = shop.http.get(f"{shop.url}/_sandbox/requests").json()["answers"]
    assert answers.get("429", 0) <= 12, answers  # others used up what was left, between two answers


def test_two_runs_share_the_quota_of_one_store(shop: Shop, opened: Open) -> None:
    shop.set(quota=20, window_ms=300)
    accounts = Accounts()
    readers = [opened(shop, accounts=accounts) for _ in range(2)]
    found: list[Found] = []
    threads = [threading.Thread(target=lambda r=r: found.append(r.read("order_coupons"))) for r in readers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one in found:
        assert_same(kept(shop, "order_coupons"), one.rows)


def test_a_429_without_headers_is_waited_out(shop: Shop, reader: Reader) -> None:
    shop.set(overloaded=3)
    assert len(reader.read("brands").rows) > 0


def test_what_a_token_may_not_read_is_named(standing: Shop, opened: Open) -> None:
    reader = opened(standing, "orders_only")
    streams = list(reader.source.discover())
    names = {stream.name for stream in streams}
    assert {"orders", "order_products", "transactions", "refunds", "webhooks"} <= names
    assert not {"customers", "products", "store", "channels"} & names
    (note,) = [note for note in streams[0].notes if "may not read" in note]
    assert "customers, customer_addresses" in note
    assert note.endswith(
        "they lack: Customers, Products, Store Inventory, Marketing, Channel Settings, Content, "
        "Information & Settings, Carts."
    )
    reader.source.check()
    assert reader.source.remarks() == (note,)
    with pytest.raises(AuthError, match=r"GET /v3/customers at .*: 403 Forbidden") as caught:
        reader.read("customers")
    assert caught.value.hint == "Give these credentials the permission Customers, or leave customers out."


def test_a_wrong_token_or_store_is_an_error_without_the_token(standing: Shop, opened: Open) -> None:
    for settings in ({"access_token": "wrong-token-1"}, {"store_id": "elsewhere"}):
        reader = opened(standing, **settings)
        with pytest.raises(AuthError, match="401 Unauthorized") as caught:
            reader.source.check()
        assert "wrong-token-1" not in f"{caught.value} {caught.value.hint}"
    assert "wrong-token-1" not in repr(BigCommerceConfig(store_id="s", access_token="wrong-token-1"))


@pytest.mark.parametrize("name", MAIN)
def test_faults_in_one_request_of_twenty_change_no_row(shop: Shop, reader: Reader, name: str) -> None:
    faults(shop, seed=11, rate=0.05, kinds=FAULTS, slow_seconds=0.05)
    assert_same(kept(shop, name), reader.read(name).rows)
    if ReadMode.INCREMENTAL in reader.source.find(name).read_modes:
        first = reader.follow(name, deduplicate=False)
        if name in ("orders", "customers", "products"):
            shop.change(name, change=5, add=2, seed=2)
        second = reader.follow(name, first.position, deduplicate=False)
        assert_same(kept(shop, name), merged(first, second))


def test_one_request_of_three_fails_and_no_row_is_lost(
    shop: Shop, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    _small_pages(reader, monkeypatch)
    faults(shop, seed=3, rate=0.3, kinds=FAULTS, slow_seconds=0.02)
    for name in ("customers", "orders", "products"):
        assert_same(kept(shop, name), reader.read(name).rows)
        assert_same(kept(shop, name), reader.follow(name).rows)
    told = shop.http.get(f"{shop.url}/_sandbox/requests").json()["faults"]
    assert {"429", "500", "503", "drop", "lost"} <= set(told)


# --- through the engine


def test_orders_and_customers_arrive_and_follow_changes_and_deletes(shop: Shop, tmp_path: Path) -> None:
    given = shop.connections["full"]
    source = (
        f"bigcommerce:StoreId={given['store_id']};OAuthAccessToken={given['access_token']};base_url={given['base_url']}"
    )
    file = tmp_path / "there.duckdb"
    task: dict[str, Any] = {
        "read": ReadMode.INCREMENTAL,
        "write": WriteMode.MERGE,
        "cursor": "date_modified",
        "deletes": Deletes.SOFT,
    }
    for name in ("orders", "customers"):
        copied(source, f"duckdb:///{file}", name, **task)
        changes = shop.change(name, change=3, add=2, delete=4, seed=9)
        copied(source, f"duckdb:///{file}", name, **task)
        with duckdb.connect(str(file)) as there:
            living = {row[0] for row in there.sql(f"SELECT id FROM {name} WHERE _suiro_deleted_at IS NULL").fetchall()}
            marked = {
                row[0] for row in there.sql(f"SELECT id FROM {name} WHERE _suiro_deleted_at IS NOT NULL").fetchall()
            }
        wanted = {row["id"] for row in kept(shop, name) if not row.get("is_deleted")}
        assert (living, set(changes["deleted"]) <= marked) == (wanted, True)


def test_archived_orders_vanish_through_a_log(shop: Shop, tmp_path: Path) -> None:
    source, file = _uri(shop), tmp_path / "there.duckdb"
    for _ in range(2):
        copied(source, f"duckdb:///{file}", "orders", read=ReadMode.LOG, write=WriteMode.MERGE, deletes=Deletes.HARD)
        shop.change("orders", delete=2, seed=4)
    copied(source, f"duckdb:///{file}", "orders", read=ReadMode.LOG, write=WriteMode.MERGE, deletes=Deletes.HARD)
    with duckdb.connect(str(file)) as there:
        found = {row[0] for row in there.sql("SELECT id FROM orders").fetchall()}
    assert found == {row["id"] for row in kept(shop, "orders") if not row["is_deleted"]}


def test_the_command_line_checks_lists_and_copies(standing: Shop, tmp_path: Path, suiro: Shell) -> None:
    source = _uri(standing)
    assert suiro("check", source, "--json").json["ok"] is True
    listed = suiro("streams", source, "--json").json
    assert len(listed) == len(RESOURCES)
    done = suiro(
        "copy", source, f"duckdb:///{tmp_path}/w.duckdb", "--stream", "customers", "--verify", "hash", "--json"
    )
    (task,) = done.json["tasks"]
    assert (task["status"], task["rows_written"]) == ("succeeded", SIZES["customers"])
    token = standing.connections["full"]["access_token"]
    assert token not in done.out + done.err + json.dumps(listed)


def _uri(shop: Shop) -> str:
    given = shop.connections["full"]
    return f"bigcommerce://{given['store_id']}?access_token={given['access_token']}&base_url={given['base_url']}"


# --- settings


def test_a_connection_string_of_cdata_is_understood() -> None:
    text = "bigcommerce:StoreId=abc123;OAuthAccessToken=t0ken;InitiateOAuth=GetAndRefresh"
    config = connection(text).config
    assert isinstance(config, BigCommerceConfig)
    assert (config.store_id, config.access_token.get_secret_value()) == ("abc123", "t0ken")
    assert (config.base_url, config.identity()) == ("https://api.bigcommerce.com", "bigcommerce:abc123")
    with pytest.raises(ConfigError):
        connection("bigcommerce:StoreId=../other;OAuthAccessToken=t")


def test_every_stream_is_declared_once_and_whole() -> None:
    names = [resource.name for resource in RESOURCES]
    assert len(set(names)) == len(names)
    for resource in RESOURCES:
        fields = resource.schema.names
        assert len(set(fields)) == len(fields), resource.name
        assert set(resource.primary_key) <= set(fields)
        if resource.parent is not None:
            assert names.index(resource.parent.stream) < names.index(resource.name)
            assert f"{{{resource.parent.column}}}" in resource.path
    assert connector.source is not None


def test_the_position_of_orders_holds_five_minutes_back(shop: Shop, reader: Reader) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    shop.put("orders", {"id": 9001, "date_modified": (now - timedelta(minutes=1)).isoformat()})
    first = reader.follow("orders")
    shop.put("orders", {"id": 9002, "date_modified": (now - timedelta(minutes=2)).isoformat()})  # visible later
    assert reader.follow("orders", first.position).ids() == [9002]
