"""Tests of records that are written, change and go in the stand-in of BigCommerce. Tags name the evidence."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from shopping import SMALL, Clock, Shop, open_shop

if TYPE_CHECKING:
    from collections.abc import Iterator

NOON = datetime(2026, 6, 15, 12, 0, tzinfo=UTC)
ADA = {"email": "ada@example.com", "first_name": "Ada", "last_name": "Lovelace"}
BILLING = {"first_name": "Ada", "last_name": "Lovelace", "email": "ada@example.com", "country_iso2": "GB"}


@pytest.fixture
def clock() -> Clock:
    """The shop's clock."""
    return Clock(NOON)


@pytest.fixture
def shop(clock: Clock) -> Iterator[Shop]:
    """A small shop of the test's own, whose clock goes on when the test says so."""
    with open_shop(SMALL, now=clock) as opened:
        clock.on(60)
        yield opened


@pytest.fixture(scope="module")
def common() -> Iterator[Shop]:
    """A shop for tests that leave it as it was."""
    with open_shop(SMALL, now=Clock(NOON)) as opened:
        yield opened


def test_a_batch_of_customers_is_made_with_what_belongs_to_them(shop: Shop) -> None:
    """[SPEC customers.v3] POST with a list."""
    home = {"first_name": "Ada", "last_name": "L", "address1": "1 Mill Lane", "city": "Leeds", "country_code": "GB"}
    body = [
        {**ADA, "addresses": [home], "attributes": [{"attribute_id": 2, "attribute_value": "Online"}]},
        {**ADA, "email": "ben@example.com", "phone": "1"},
    ]
    answer = shop.ask("POST", "/v3/customers", body=body)
    assert answer.status_code == 200
    assert [row["id"] for row in answer.json()["data"]] == [13, 14]
    ada = shop.get("/v3/customers", id__in=13, include="addresses,attributes")[0]
    assert (ada["date_created"], ada["date_modified"]) == ("2026-06-15T12:01:00Z", "2026-06-15T12:01:00Z")
    assert (ada["address_count"], ada["addresses"][0]["city"]) == (1, "Leeds")
    assert ada["attributes"][0]["attribute_value"] == "Online"


def test_a_batch_with_a_wrong_customer_changes_nothing(shop: Shop) -> None:
    """[SPEC customers.v3: 200, 413, 422] the words of the refusal; that it is all or none is unverified."""
    answer = shop.ask("POST", "/v3/customers", body=[{**ADA}, {"email": "ben@example.com"}])
    assert answer.status_code == 422
    assert {name: answer.json()[name] for name in ("status", "title", "type")} == {
        "status": 422,
        "title": "Create customers failed.",
        "type": "/api-docs/getting-started/api-status-codes",
    }
    assert answer.json()["errors"] == {
        "1.first_name": "first_name is required",
        "1.last_name": "last_name is required",
    }
    alone = shop.ask("POST", "/v3/customers", body=[{"email": "x@example.com", "first_name": "X"}])
    assert alone.json()["errors"] == {".last_name": "last_name is required"}
    assert len(shop.records("customers")) == 12
    assert shop.ask("POST", "/v3/customers", body=[ADA] * 11).status_code == 413
    taken = shop.records("customers")[0]["email"]
    assert shop.ask("POST", "/v3/customers", body=[{**ADA, "email": taken.upper()}]).status_code == 422
    assert shop.ask("PUT", "/v3/customers", body=[{"id": 99, "notes": "x"}]).status_code == 422
    assert shop.ask("PUT", "/v3/customers", body=[{"id": 1, "customer_group_id": "three"}]).status_code == 422


def test_a_batch_can_succeed_in_part(shop: Shop) -> None:
    """[DOC status-codes.mdx; SPEC products_catalog.v3] 207. For customers a switch, unverified."""
    answer = shop.ask("PUT", "/v3/catalog/products", body=[{"id": 101, "price": 12.5}, {"id": 999, "price": 1}])
    assert answer.status_code == 207
    assert answer.json()["meta"] == {"total": 2, "success": 1, "failed": 1}
    assert shop.get("/v3/catalog/products/101")["price"] == 12.5
    shop.set(customers_partial=True)
    ben = {**ADA, "email": "ben@example.com", "addresses": [{"city": "Leeds"}]}
    answer = shop.ask("POST", "/v3/customers", body=[ADA, ben])
    assert shop.get("/v3/customers", email__in="ben@example.com") == []
    assert (answer.status_code, [row["email"] for row in answer.json()["data"]]) == (207, ["ada@example.com"])


def test_customers_change_and_are_found_by_their_new_moment(shop: Shop, clock: Clock) -> None:
    """[SPEC customers.v3] PUT with a list; only what is given changes."""
    before = shop.get("/v3/customers", id__in=2)[0]
    at = clock.on(10).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert shop.ask("PUT", "/v3/customers", body=[{"id": 2, "notes": "new"}]).status_code == 200
    found = shop.get("/v3/customers", date_modified__min=at)
    assert found == [{**before, "notes": "new", "date_modified": at}]


def test_deleted_customers_and_products_leave_no_trace(shop: Shop) -> None:
    """[SPEC customers.v3, products_catalog.v3] 204; nothing lists what is gone."""
    assert shop.ask("DELETE", "/v3/customers", id__in="1,3").status_code == 204
    assert [row["id"] for row in shop.all("/v3/customers")] == [2, *range(4, 13)]
    assert {1, 3} & {row["customer_id"] for row in shop.records("customer_addresses")} == set()
    assert shop.ask("DELETE", "/v3/customers").status_code == 422
    assert shop.ask("DELETE", "/v3/catalog/products/101").status_code == 204
    assert shop.ask("GET", "/v3/catalog/products/101").status_code == 404
    assert 101 not in {row["product_id"] for row in shop.records("variants")}
    assert shop.ask("POST", "/v3/customers", body=[ADA]).json()["data"][0]["id"] == 13


def test_addresses_and_attribute_values_of_customers_are_written(shop: Shop) -> None:
    """[SPEC customers.v3] addresses and attribute-values."""
    home = {"first_name": "A", "last_name": "B", "address1": "1 Mill Lane", "city": "Leeds", "country_code": "GB"}
    assert shop.ask("POST", "/v3/customers/addresses", body=[{**home, "customer_id": 77}]).status_code == 422
    made = shop.ask("POST", "/v3/customers/addresses", body=[{**home, "customer_id": 4}]).json()["data"][0]
    changed = shop.ask("PUT", "/v3/customers/addresses", body=[{"id": made["id"], "city": "York"}]).json()["data"][0]
    assert changed == {**made, "city": "York"}
    assert made["id"] in {row["id"] for row in shop.get("/v3/customers/addresses", customer_id__in=4)}
    assert shop.ask("DELETE", "/v3/customers/addresses", id__in=made["id"]).status_code == 204
    value = {"attribute_id": 2, "customer_id": 4, "attribute_value": "Main Street"}
    for text in ("Main Street", "Online"):
        answer = shop.ask("PUT", "/v3/customers/attribute-values", body=[{**value, "attribute_value": text}])
        assert answer.status_code == 200
    values = shop.get("/v3/customers/attribute-values", customer_id__in=4, attribute_id__in=2)
    assert [row["attribute_value"] for row in values] == ["Online"]


def test_an_order_is_made_with_its_lines_and_sums(shop: Shop) -> None:
    """[SPEC orders.v2] POST; required fields and taxes are unverified."""
    products = [
        {"product_id": 101, "quantity": 2, "price_ex_tax": "10.00"},
        {"name": "Wrap", "quantity": 1, "price_ex_tax": 5},
    ]
    body: dict[str, Any] = {"customer_id": 2, "billing_address": BILLING, "products": products}
    answer = shop.ask("POST", "/v2/orders", body=body)
    assert answer.status_code == 200, answer.text
    order = answer.json()
    assert (order["id"], order["status_id"], order["items_total"]) == (114, 1, 3)
    assert (order["subtotal_ex_tax"], order["total_inc_tax"]) == ("25.0000", "27.0000")
    assert [row["name"] for row in shop.get("/v2/orders/114/products")][1] == "Wrap"
    assert shop.get("/v2/orders/114/shipping_addresses")[0]["country_iso2"] == "GB"
    for wrong in ({"products": []}, {"products": [{"quantity": 1}]}, {"customer_id": 999}, {"status_id": 99}):
        refused = shop.ask("POST", "/v2/orders", body=body | wrong)
        assert refused.status_code == 400
        assert refused.json()[0]["status"] == 400
    assert len(shop.records("orders")) == 15


def test_an_orders_change_moves_its_moment(shop: Shop, clock: Clock) -> None:
    """[SPEC orders.v2] PUT."""
    clock.on(10)
    answer = shop.ask("PUT", "/v2/orders/100", body={"status_id": 5, "staff_notes": "備考"})
    assert (answer.json()["status"], answer.json()["staff_notes"]) == ("Cancelled", "備考")
    assert answer.json()["date_modified"] == "Mon, 15 Jun 2026 12:01:10 +0000"
    found = shop.get("/v2/orders", min_date_modified="Mon, 15 Jun 2026 12:01:10 +0000")
    assert [row["id"] for row in found] == [100]


def test_a_deleted_order_is_archived(shop: Shop) -> None:
    """[SPEC orders.v2; WEB api-specs#274] is_deleted; that it stays in the list, or doesn't, is unverified."""
    assert shop.ask("DELETE", "/v2/orders/100").status_code == 204
    assert shop.get("/v2/orders/100")["is_deleted"] is True
    assert 100 in {row["id"] for row in shop.all("/v2/orders")}
    shop.set(archived_listed=False)
    assert 100 not in {row["id"] for row in shop.all("/v2/orders")}
    assert shop.get("/v2/orders/100")["is_deleted"] is True
    assert shop.ask("DELETE", "/v2/orders").status_code == 204
    assert shop.get("/v2/orders") is None
    assert len(shop.records("orders")) == 14


def test_shipments_and_refunds_change_their_order(shop: Shop, clock: Clock) -> None:
    """[SPEC orders.v2, orders.v3] 201; what they change of the order is unverified."""
    body = {"billing_address": BILLING, "products": [{"product_id": 102, "quantity": 2, "price_ex_tax": "10"}]}
    id = shop.ask("POST", "/v2/orders", body=body).json()["id"]
    line = shop.get(f"/v2/orders/{id}/products")[0]
    clock.on(5)
    items = [{"order_product_id": line["id"], "quantity": 2}]
    shipment = {"order_address_id": line["order_address_id"], "items": items, "tracking_number": "T1"}
    assert shop.ask("POST", f"/v2/orders/{id}/shipments", body=shipment).status_code == 201
    assert shop.get(f"/v2/orders/{id}/shipments")[0]["tracking_number"] == "T1"
    order = shop.get(f"/v2/orders/{id}")
    assert (order["items_shipped"], order["date_shipped"]) == (2, order["date_modified"])
    refund = {"items": [{"item_type": "PRODUCT", "item_id": line["id"], "quantity": 1}], "reason": "broken"}
    path = f"/v3/orders/{id}/payment_actions/refunds"
    assert shop.ask("POST", path, body=refund).json()["data"]["total_amount"] == 10.8
    assert [row["reason"] for row in shop.get(path)] == ["broken"]
    assert shop.get(f"/v2/orders/{id}")["refunded_amount"] == "10.8000"
    refund["items"][0]["quantity"] = 2  # type: ignore[index]
    assert shop.ask("POST", path, body=refund).status_code == 422


def test_products_and_variants_are_written(shop: Shop, clock: Clock) -> None:
    """[SPEC products_catalog.v3, product-variants_catalog.v3] 409 for a name that is in use."""
    lamp = {"name": "Lamp", "type": "physical", "weight": 1, "price": 20, "variants": [{"sku": "L-1"}, {"sku": "L-2"}]}
    made = shop.ask("POST", "/v3/catalog/products", body=lamp).json()["data"]
    assert (made["calculated_price"], made["base_variant_id"] is None) == (20, False)
    assert shop.ask("POST", "/v3/catalog/products", body=lamp).status_code == 409
    path = f"/v3/catalog/products/{made['id']}/variants"
    assert [row["sku"] for row in shop.get(path)] == ["L-1", "L-2"]
    clock.on(5)
    variant = shop.get(path)[0]["id"]
    changed = shop.ask("PUT", f"{path}/{variant}", body={"price": 25.5}).json()["data"]
    assert (changed["price"], changed["calculated_price"]) == (25.5, 25.5)
    assert shop.get(f"/v3/catalog/products/{made['id']}")["date_modified"] == made["date_modified"]
    shop.set(variant_bumps_product=True)
    shop.ask("PUT", "/v3/catalog/variants", body=[{"id": variant, "sku": "L-1b"}])
    assert shop.get(f"/v3/catalog/products/{made['id']}")["date_modified"] > made["date_modified"]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v3/catalog/brands", {"name": "Harvest"}, 200),
        ("/v3/catalog/categories", {"name": "Harvest", "parent_id": 1}, 200),
        ("/v3/content/pages", {"name": "Harvest", "type": "page"}, 201),
        ("/v3/pricelists", {"name": "Harvest"}, 200),
        ("/v3/promotions", {"name": "Harvest", "rules": []}, 201),
        ("/v3/customers/subscribers", {"email": "harvest@example.com"}, 200),
        ("/v2/coupons", {"name": "Harvest", "code": "H", "type": "free_shipping", "amount": "0"}, 201),
        ("/v2/banners", {"name": "Harvest", "content": "x"}, 200),
        ("/v2/customer_groups", {"name": "Harvest"}, 200),
    ],
)
def test_plain_records_are_made_changed_and_deleted(common: Shop, path: str, body: dict[str, Any], status: int) -> None:
    """[SPEC] the paths and their statuses."""
    answer = common.ask("POST", path, body=body)
    assert answer.status_code == status, answer.text
    made = answer.json() if path.startswith("/v2/") else answer.json()["data"]
    change = {"name": "Yield"} if "name" in body else {"first_name": "Yield"}
    assert common.ask("PUT", f"{path}/{made['id']}", body=change).status_code == 200
    assert common.get(f"{path}/{made['id']}").items() >= change.items()
    assert common.ask("POST", path, body={}).status_code == (400 if path.startswith("/v2/") else 422)
    assert common.ask("DELETE", f"{path}/{made['id']}").status_code == 204
    assert common.ask("GET", f"{path}/{made['id']}").status_code == 404


def test_webhooks_answer_their_deletion(shop: Shop) -> None:
    """[SPEC webhooks.v3] 200 with what is gone; moments are seconds."""
    hook = shop.ask("POST", "/v3/hooks", body={"scope": "store/order/*", "destination": "https://x.example.com"})
    assert hook.json()["data"]["created_at"] == int(NOON.timestamp()) + 60
    id = hook.json()["data"]["id"]
    assert shop.ask("DELETE", f"/v3/hooks/{id}").json()["data"]["id"] == id


def test_v2_writes_customers_too(shop: Shop, clock: Clock) -> None:
    """[SPEC customers.v2] the same customers as in v3."""
    made = shop.ask("POST", "/v2/customers", body=ADA).json()
    assert made["date_created"] == "Mon, 15 Jun 2026 12:01:00 +0000"
    home = {"first_name": "A", "last_name": "L", "street_1": "1 Mill Lane", "city": "Leeds", "country": "Japan"}
    path = f"/v2/customers/{made['id']}"
    assert shop.ask("POST", path + "/addresses", body=home).json()["street_1"] == "1 Mill Lane"
    clock.on(5)
    shop.ask("PUT", path, body={"notes": "x"})
    ada = shop.get("/v3/customers", id__in=made["id"], include="addresses")[0]
    assert (ada["notes"], ada["date_modified"]) == ("x", "2026-06-15T12:01:05Z")
    assert ada["addresses"][0]["address1"] == "1 Mill Lane"
    assert shop.get("/v2/customers/count") == {"count": 13}
    assert shop.ask("DELETE", path).status_code == 204
    assert shop.ask("GET", path + "/addresses").status_code == 404


@pytest.mark.parametrize("body", [b"{", b"[1]", b'"x"', b"", b'{"billing_address": {}, "products": 3}'])
def test_a_body_that_cannot_be_is_refused(common: Shop, body: bytes) -> None:
    """Neither API answers 500 for it."""
    for path in ("/v3/customers", "/v2/orders"):
        answer = common.http.post(common.store + path, content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code in (400, 422), answer.text
    assert len(common.records("orders")) == 14


def test_others_change_records_on_request(shop: Shop, clock: Clock) -> None:
    """Customers and products go without a trace; orders are archived."""
    now = clock.on(30).strftime("%Y-%m-%dT%H:%M:%SZ")
    done = shop.change("customers", change=2, add=2, delete=1)
    assert sorted(row["id"] for row in shop.get("/v3/customers", date_modified__min=now)) == sorted(
        done["changed"] + done["added"]
    )
    assert done["deleted"][0] not in {row["id"] for row in shop.records("customers")}
    gone = shop.change("orders", delete=2, add=1)
    archived = {row["id"] for row in shop.records("orders") if row["is_deleted"]}
    assert set(gone["deleted"]) <= archived
    assert shop.get(f"/v2/orders/{gone['added'][0]}/products")
    assert shop.change("products", add=1)["added"] == [107]
    assert (
        shop.change("customers", seed=3, change=2)["changed"] != shop.change("customers", seed=4, change=2)["changed"]
    )


def test_records_drift_while_somebody_reads_page_by_page(shop: Shop) -> None:
    """[DOC integration-design.mdx: pages move under modification] a deletion behind the reader hides a record."""
    shop.set(
        drift={"every": 1, "resources": ["customers"], "change": 0, "add": 0, "delete": 1, "at_most": 2, "seed": 3}
    )
    seen = [row["id"] for row in shop.all("/v3/customers", limit=4)]
    left = {row["id"] for row in shop.records("customers")}
    assert len(left) == 10
    assert left - set(seen)
    shop.set(drift={"every": 1, "resources": ["customers"], "change": 1, "add": 1, "delete": 0, "at_most": 3})
    seen = [row["id"] for row in shop.all("/v3/customers", limit=4, sort="date_modified:desc")]
    assert len(seen) > len(set(seen))
    assert len(shop.records("customers")) == 13


def test_several_clients_at_once_each_get_what_they_did(shop: Shop) -> None:
    """Handlers run in threads: no id is given twice, no change is lost, nothing fails."""

    def work(number: int) -> list[int]:
        made = []
        for turn in range(8):
            given = {**ADA, "email": f"{number}.{turn}@example.com"}
            made.append(shop.ask("POST", "/v3/customers", body=[given]).json()["data"][0]["id"])
            assert shop.ask("GET", "/v3/customers", include="addresses", limit=250).status_code == 200
            assert shop.ask("PUT", "/v3/customers", body=[{"id": made[-1], "notes": "x"}]).status_code == 200
        return made

    with ThreadPoolExecutor(4) as threads:
        made = [id for ids in threads.map(work, range(4)) for id in ids]
    assert sorted(made) == list(range(13, 45))
    assert {row["notes"] for row in shop.records("customers") if row["id"] >= 13} == {"x"}


def test_records_are_put_and_taken_away_as_they_are(shop: Shop) -> None:
    """For tests that need moments and ids of their own choice."""
    row = {"id": 500, "email": "x@example.com", "first_name": "X", "date_modified": "2020-02-29T00:00:00Z"}
    assert shop.put("customers", row, {"email": "y@example.com"}) == [500, 501]
    assert shop.get("/v3/customers", id__in=500)[0]["date_modified"] == "2020-02-29T00:00:00Z"
    shop.put("customers", {**row, "first_name": "Z"})
    assert [one["first_name"] for one in shop.records("customers") if one["id"] == 500] == ["Z"]
    shop.put("order_products", {"order_id": 100, "name": "Extra", "quantity": 1})
    assert shop.get("/v2/orders/100/products")[-1]["name"] == "Extra"
    url = shop.url + "/_sandbox/records/customers"
    assert shop.http.delete(url, params={"ids": "500,501"}).json() == {"deleted": 2}
    assert shop.http.delete(url).json() == {"deleted": 12}
    assert shop.http.post(url, content=json.dumps({"id": "x"})).status_code == 400
    assert shop.get("/v3/customers") == []
