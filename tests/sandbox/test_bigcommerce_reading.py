"""Tests of what the stand-in of BigCommerce tells. A tag in a docstring is the evidence for the vendor's behaviour."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import pytest

from shopping import SMALL, Clock, Shop, open_shop
from suiro.sandbox.people import person

if TYPE_CHECKING:
    from collections.abc import Iterator

NOON = datetime(2026, 6, 15, 12, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    """A shop that no test of this module changes."""
    with open_shop({"customers": 420, "orders": 130, "products": 60}, now=Clock(NOON)) as opened:
        yield opened


@pytest.fixture
def own_shop() -> Iterator[Shop]:
    """A small shop of the test's own."""
    with open_shop(SMALL, now=Clock(NOON)) as opened:
        yield opened


def test_a_v3_list_has_data_and_meta_with_numbers_and_links_of_its_page(shop: Shop) -> None:
    """[DOC common-query-params.mdx] the envelope, `page` from 1, 50 records by default."""
    answer = shop.ask("GET", "/v3/customers").json()
    assert sorted(answer) == ["data", "meta"]
    assert len(answer["data"]) == 50
    pagination = answer["meta"]["pagination"]
    assert {name: pagination[name] for name in pagination if name != "links"} == {
        "total": 420,
        "count": 50,
        "per_page": 50,
        "current_page": 1,
        "total_pages": 9,
    }
    assert pagination["links"] == {"current": "?page=1&limit=50", "next": "?page=2&limit=50"}


def test_a_single_v3_object_has_data_and_empty_meta(shop: Shop) -> None:
    """[SPEC products_catalog.v3] envelope of GET /catalog/products/{id}."""
    answer = shop.ask("GET", "/v3/catalog/products/101").json()
    assert answer["data"]["id"] == 101
    assert answer["meta"] == {}


@pytest.mark.parametrize("path", ["/v3/customers", "/v2/orders"])
def test_pages_hold_every_record_once_and_at_most_250(shop: Shop, path: str) -> None:
    """[DOC integration-design.mdx] `limit` is at most 250."""
    sizes = [len(rows) for rows in shop.pages(path, limit=250)]
    assert max(sizes) <= 250
    ids = [row["id"] for row in shop.all(path, limit=77)]
    assert len(ids) == len(set(ids)) == sum(sizes)


def test_a_limit_above_250_is_refused(shop: Shop) -> None:
    """The status is unverified: 413 or 422 are both told."""
    answer = shop.ask("GET", "/v3/customers", limit=251)
    assert answer.status_code == 422
    assert sorted(answer.json()) == ["errors", "status", "title", "type"]


def test_past_the_end_v3_has_no_data_and_v2_no_content(shop: Shop) -> None:
    """[SPEC orders.v2: 204 responses]; v3's empty list is unverified."""
    assert shop.get("/v3/customers", page=100) == []
    answer = shop.ask("GET", "/v2/orders", page=100)
    assert (answer.status_code, answer.content) == (204, b"")


def test_what_lies_under_a_v2_record_may_be_nothing_at_all(shop: Shop) -> None:
    """[SPEC orders.v2: 204 responses] shipments of an order without any."""
    without = next(row["id"] for row in shop.all("/v2/orders", limit=250) if row["items_shipped"] == 0)
    answer = shop.ask("GET", f"/v2/orders/{without}/shipments")
    assert (answer.status_code, answer.content) == (204, b"")


def test_a_cursor_walks_over_every_record_and_overrides_the_page(shop: Shop) -> None:
    """[SPEC customers.v3] `after`, `before` and meta.cursor_pagination."""
    seen, query = [], {"limit": 100, "sort": "date_modified:asc"}
    answer = shop.ask("GET", "/v3/customers", **query).json()
    while answer["data"]:
        seen += [row["id"] for row in answer["data"]]
        first, last = (answer["meta"]["cursor_pagination"][f"{end}_cursor"] for end in ("start", "end"))
        answer = shop.ask("GET", "/v3/customers", after=last, page=1, **query).json()
    assert len(seen) == len(set(seen)) == 420
    before = shop.ask("GET", "/v3/customers", before=first, **query).json()
    assert [row["id"] for row in before["data"]] == seen[300:400]


def test_customers_are_sorted_with_a_colon(shop: Shop) -> None:
    """[SPEC customers.v3] sort=date_modified:asc, last_name:desc; what isn't such a word is ignored (unverified)."""
    times = [row["date_modified"] for row in shop.all("/v3/customers", limit=250, sort="date_modified:asc")]
    assert times == sorted(times)
    assert times != [row["date_modified"] for row in shop.all("/v3/customers", limit=250, sort="date_modified")]
    names = [row["last_name"] for row in shop.get("/v3/customers", limit=250, sort="last_name:desc")]
    assert names == sorted(names, reverse=True)


def test_products_are_sorted_by_a_field_and_a_direction(shop: Shop) -> None:
    """[DOC common-query-params.mdx; SPEC products_catalog.v3] sort=price&direction=desc."""
    prices = [row["price"] for row in shop.get("/v3/catalog/products", limit=250, sort="price", direction="desc")]
    assert prices == sorted(prices, reverse=True)


def test_orders_are_sorted_by_date_modified(shop: Shop) -> None:
    """[CLIENT airbyte-source-bigcommerce 0.2.22] sort=date_modified:asc."""
    rows = shop.all("/v2/orders", limit=250, sort="date_modified:asc")
    moments = [parsedate_to_datetime(row["date_modified"] or row["date_created"]) for row in rows]
    assert moments == sorted(moments)


def test_the_lower_bound_of_a_filter_is_part_of_it(shop: Shop) -> None:
    """[CLIENT airbyte-source-bigcommerce 0.2.22] `:min` and `min_` are inclusive."""
    times = sorted(row["date_modified"] for row in shop.records("customers"))
    found = shop.all("/v3/customers", limit=250, date_modified__min=times[30])
    assert sorted(row["date_modified"] for row in found) == times[30:]
    orders = sorted(
        parsedate_to_datetime(row["date_modified"]) for row in shop.records("orders") if row["date_modified"]
    )
    bound = orders[50].strftime("%Y-%m-%dT%H:%M:%SZ")
    later = shop.all("/v2/orders", limit=250, min_date_modified=bound)
    assert orders[50] in [parsedate_to_datetime(row["date_modified"]) for row in later if row["date_modified"]]


def test_more_customers_than_a_page_share_one_moment(shop: Shop) -> None:
    """Made so on purpose: who pages by the last moment alone never gets past them."""
    times = [row["date_modified"] for row in shop.records("customers")]
    assert max(times.count(time) for time in set(times)) == 300


@pytest.mark.parametrize(
    ("path", "wrong"),
    [
        ("/v3/customers", {"min_date_modified": "2030-01-01"}),
        ("/v2/orders", {"date_modified__min": "2030-01-01"}),
        ("/v3/catalog/products", {"min_date_modified": "2030-01-01"}),
    ],
)
def test_a_filter_spelled_as_the_other_api_does_is_ignored(shop: Shop, path: str, wrong: dict[str, str]) -> None:
    """[WEB bigcommerce-api-ruby#60] nothing is filtered, and nothing said."""
    assert len(shop.all(path, limit=250, **wrong)) == len(shop.all(path, limit=250)) > 0
    right = {"min_date_modified": "date_modified__min", "date_modified__min": "min_date_modified"}
    assert not shop.get(path, **{right[name]: value for name, value in wrong.items()})


@pytest.mark.parametrize(
    ("zone", "first"), [("Asia/Tokyo", "2026-03-31T15:00:00Z"), ("America/New_York", "2026-04-01T04:00:00Z")]
)
def test_a_day_in_a_filter_begins_in_the_stores_time_zone(own_shop: Shop, zone: str, first: str) -> None:
    """[SPEC note on dates without a time]."""
    own_shop.set(time_zone=zone)
    at = datetime.fromisoformat(first).timestamp()
    before, after = (datetime.fromtimestamp(at + offset, UTC).isoformat() for offset in (-1, 0))
    own_shop.put("customers", {"id": 901, "date_modified": before}, {"id": 902, "date_modified": after})
    found = {row["id"] for row in own_shop.get("/v3/customers", date_modified__min="2026-04-01", limit=250)}
    assert (901 in found, 902 in found) == (False, True)
    found = {row["id"] for row in own_shop.get("/v3/customers", date_modified__min=before, limit=250)}
    assert {901, 902} <= found
    assert own_shop.get("/v2/store")["timezone"]["name"] == zone


def test_filters_know_their_comparisons(shop: Shop) -> None:
    """[DOC common-query-params.mdx] :in :not_in :greater :less :min :max :like."""
    products = "/v3/catalog/products"

    def ids(**query: Any) -> list[int]:
        return [row["id"] for row in shop.get(products, limit=250, **query)]

    assert ids(id__in="101,103,9999") == [101, 103]
    assert ids(id__greater=157) == [158, 159, 160]
    assert ids(id__min=158, id__less=160) == [158, 159]
    assert len(ids(id__not_in="101,102")) == 58
    assert ids(name__like="nothing such") == ids()  # the specification has no such filter of products
    brand = shop.get("/v3/catalog/brands", name__like="oak")
    assert [row["name"] for row in brand] == ["Oak & Pine"]
    of_brand = ids(brand_id=brand[0]["id"])
    assert of_brand == [row["id"] for row in shop.records("products") if row["brand_id"] == brand[0]["id"]]
    in_tea = ids(categories=3)
    assert in_tea == [row["id"] for row in shop.records("products") if 3 in row["categories"]]


def test_fields_are_chosen_or_left_out(shop: Shop) -> None:
    """[DOC common-query-params.mdx; SPEC products_catalog.v3] include_fields, exclude_fields; the id is always told."""
    assert shop.get("/v3/catalog/products", include_fields="sku", limit=1) == [{"id": 101, "sku": "SKU-00001"}]
    without = shop.get("/v3/catalog/products", exclude_fields="description,name", limit=1)[0]
    assert {"description", "name"} & set(without) == set()
    assert shop.get("/v3/customers", include_fields="id", limit=1)[0]["email"]  # customers have no such parameter


def test_what_lies_under_a_record_comes_with_it_on_request(shop: Shop) -> None:
    """[SPEC customers.v3, products_catalog.v3] include=."""
    plain = shop.get("/v3/customers", id__in=1)[0]
    assert {"addresses", "attributes", "form_fields", "store_credit_amounts"} & set(plain) == set()
    full = shop.get("/v3/customers", id__in=1, include="addresses,attributes,formfields,storecredit")[0]
    assert len(full["addresses"]) == full["address_count"] == 2
    assert [row["customer_id"] for row in full["addresses"]] == [1, 1]
    assert len(full["attributes"]) == full["attribute_count"]
    product = shop.get("/v3/catalog/products", id__in=101, include="variants,images,custom_fields,options")[0]
    assert [row["sku"] for row in product["variants"]] == ["SKU-00001-S", "SKU-00001-M", "SKU-00001-L"]
    assert product["custom_fields"][0]["name"] == "Origin"
    assert {"images", "options"} <= set(product)


def test_v2_writes_amounts_as_texts_and_moments_as_rfc_2822(shop: Shop) -> None:
    """[CLIENT airbyte-source-bigcommerce 0.2.22 schemas; SPEC orders.v2]."""
    for row in shop.get("/v2/orders", limit=250):
        assert re.fullmatch(r"\d+\.\d{4}", row["total_inc_tax"])
        assert re.fullmatch(r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d \+0000", row["date_created"])
    unsent = next(row for row in shop.get("/v2/orders", limit=250) if row["items_shipped"] == 0)
    assert unsent["date_shipped"] == ""
    product = shop.get("/v3/catalog/products/101")
    assert product["preorder_release_date"] is None
    assert isinstance(product["price"], float)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|\+00:00)", product["date_created"])


def test_an_orders_amounts_add_up(shop: Shop) -> None:
    """Made so: whoever checks sums finds them."""

    def cents(text: str) -> int:
        return round(float(text) * 100)

    for order in shop.get("/v2/orders", limit=20):
        lines = shop.get(f"/v2/orders/{order['id']}/products")
        assert sum(cents(line["total_inc_tax"]) for line in lines) == cents(order["subtotal_inc_tax"])
        parts = cents(order["subtotal_inc_tax"]) + cents(order["shipping_cost_inc_tax"])
        assert cents(order["total_inc_tax"]) == parts - cents(order["coupon_discount"])
        assert sum(line["quantity"] for line in lines) == order["items_total"]


def test_an_order_points_at_what_lies_under_it(shop: Shop) -> None:
    """[SPEC orders.v2] {"url", "resource"}."""
    order = shop.get("/v2/orders/100")
    for name in ("products", "shipping_addresses", "coupons"):
        assert order[name] == {
            "url": f"{shop.store}/v2/orders/100/{name}",
            "resource": f"/orders/100/{name}",
        }
        assert shop.http.get(order[name]["url"]).status_code in (200, 204)


def test_orders_belong_to_customers_and_guests_and_their_lines_to_products(shop: Shop) -> None:
    """[SPEC orders.v2] customer_id is 0 for a guest."""
    customers = {row["id"] for row in shop.records("customers")}
    variants = {row["id"]: row["product_id"] for row in shop.records("variants")}
    buyers = {row["customer_id"] for row in shop.records("orders")}
    assert 0 in buyers
    assert [row["id"] for row in shop.records("orders") if row["is_deleted"]] == [107, 148, 189]
    assert buyers - {0} <= customers
    assert all(variants[row["variant_id"]] == row["product_id"] for row in shop.records("order_products"))


def test_customers_are_every_other_one_of_the_people(shop: Shop) -> None:
    """Half of another service's people are customers: by the same e-mail, which a few wrote in capitals."""
    rows = shop.records("customers")
    people = [person(1, 2 * (row["id"] - 1)) for row in rows]
    assert [row["email"].lower() for row in rows] == [one.email for one in people]
    assert 0 < sum(row["email"].isupper() for row in rows) < 20


def test_the_date_of_a_guests_order_that_never_changed_is_empty(own_shop: Shop) -> None:
    """Unverified; a switch turns it off. Filters take such an order by the time when it was made."""
    own_shop.put("orders", {"id": 900, "date_created": "2026-06-01", "date_modified": "2026-06-01", "unmodified": True})
    assert own_shop.get("/v2/orders/900")["date_modified"] == ""
    for bound, found in (("2026-05-31T15:00:00Z", True), ("2026-05-31T15:00:01Z", False)):
        rows = own_shop.get("/v2/orders", min_date_modified=bound) or []
        assert (900 in {row["id"] for row in rows}) is found
    own_shop.set(guest_dates_empty=False)
    assert own_shop.get("/v2/orders/900")["date_modified"] == "Sun, 31 May 2026 15:00:00 +0000"


def test_transactions_of_an_order_without_any_are_no_content_and_of_no_order_not_found(shop: Shop) -> None:
    """[SPEC orders.v3: 200, 204, 404]."""
    paid = {row["order_id"] for row in shop.records("transactions")}
    unpaid = next(row["id"] for row in shop.records("orders") if str(row["id"]) not in paid)
    assert shop.ask("GET", f"/v3/orders/{unpaid}/transactions").status_code == 204
    found = shop.get(f"/v3/orders/{min(paid, key=int)}/transactions")
    assert isinstance(found[0]["amount"], float)
    assert shop.ask("GET", "/v3/orders/999999/transactions").status_code == 404


def test_a_record_that_isnt_there_is_refused_in_each_apis_words(shop: Shop) -> None:
    """[SPEC orders.v2] a list; [SPEC customers.v3] one object."""
    answer = shop.ask("GET", "/v2/orders/999999")
    assert answer.status_code == 404
    assert answer.json() == [{"status": 404, "message": "The requested resource was not found."}]
    answer = shop.ask("GET", "/v3/catalog/products/999999")
    assert answer.status_code == 404
    assert answer.json()["status"] == 404


LISTS = {
    "/v3/customers": "customers",
    "/v3/customers/addresses": "customer_addresses",
    "/v3/customers/attributes": "customer_attributes",
    "/v3/customers/attribute-values": "customer_attribute_values",
    "/v3/customers/form-field-values": "form_field_values",
    "/v3/customers/subscribers": "subscribers",
    "/v3/catalog/products": "products",
    "/v3/catalog/categories": "categories",
    "/v3/catalog/trees/categories": "tree_categories",
    "/v3/catalog/trees": "trees",
    "/v3/catalog/brands": "brands",
    "/v3/inventory/items": "inventory_items",
    "/v3/channels": "channels",
    "/v3/channels/currency-assignments": "currency_assignments",
    "/v3/content/pages": "pages",
    "/v3/pricelists": "price_lists",
    "/v3/pricelists/assignments": "price_assignments",
    "/v3/promotions": "promotions",
    "/v3/promotions/codes": "promotion_codes",
    "/v3/orders/payment_actions/refunds": "refunds",
    "/v3/hooks": "webhooks",
    "/v2/orders": "orders",
    "/v2/order_statuses": "order_statuses",
    "/v2/customer_groups": "customer_groups",
    "/v2/coupons": "coupons",
    "/v2/gift_certificates": "gift_certificates",
    "/v2/banners": "banners",
}


@pytest.mark.parametrize("path", LISTS)
def test_every_list_tells_what_the_store_holds(shop: Shop, path: str) -> None:
    """[SPEC] the paths."""
    told = shop.all(path, limit=250)
    assert told == shop.records(LISTS[path])
    assert told


def test_all_variants_in_a_list_tell_less_than_those_of_a_product(shop: Shop) -> None:
    """[SPEC product-variants_catalog.v3] mpn, gtin, image_url and calculated_weight come with the product's only."""
    listed = shop.all("/v3/catalog/variants", limit=250)
    of_product = shop.get("/v3/catalog/products/101/variants")
    assert set(of_product[0]) - set(listed[0]) == {"mpn", "gtin", "image_url", "calculated_weight"}
    assert [row["id"] for row in listed] == [row["id"] for row in shop.records("variants")]


def test_what_lies_under_each_order_is_what_the_store_holds(own_shop: Shop) -> None:
    """[SPEC orders.v2, orders.v3] the paths under an order."""
    orders = own_shop.records("orders")
    for path, name in {
        "/v2/orders/{}/products": "order_products",
        "/v2/orders/{}/shipping_addresses": "order_shipping_addresses",
        "/v2/orders/{}/coupons": "order_coupons",
        "/v2/orders/{}/shipments": "order_shipments",
        "/v3/orders/{}/transactions": "transactions",
        "/v3/orders/{}/payment_actions/refunds": "refunds",
    }.items():
        told = [row for order in orders for row in own_shop.get(path.format(order["id"])) or []]
        assert told == own_shop.records(name)


def test_single_objects(shop: Shop) -> None:
    """[SPEC store_information.v2, abandoned_carts.v3, carts.v3]."""
    store = shop.get("/v2/store")
    assert store["id"] == "sandbox1"
    assert store["timezone"] | {"date_format": None} == {
        "name": "Asia/Tokyo",
        "raw_offset": 32400,
        "dst_offset": 32400,
        "date_format": None,
    }
    assert shop.get("/v2/time") == {"time": int(NOON.timestamp())}
    assert shop.get("/v3/carts/settings") == {"allow_purchasing": True}
    assert shop.get("/v3/abandoned-carts/settings")["enable_notification"] is False


def test_metafields_of_one_record_and_of_all(shop: Shop) -> None:
    """[SPEC customers.v3, orders.v3] with a cursor."""
    mine = shop.get("/v3/customers/1/metafields")
    assert [(row["namespace"], row["key"], row["resource_id"]) for row in mine] == [("loyalty", "tier", 1)]
    answer = shop.ask("GET", "/v3/customers/metafields", limit=3).json()
    rest = shop.get("/v3/customers/metafields", limit=250, after=answer["meta"]["cursor_pagination"]["end_cursor"])
    assert [row["resource_id"] for row in answer["data"] + rest] == list(range(1, 421, 25))
    assert shop.get("/v3/orders/metafields", key="erp", namespace="no such") == []


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=x", "page=-1", "page=1e3", "after=%21", "id:in=x", "id:in=99999999999999999999"],
)
def test_a_parameter_that_cannot_be_is_refused(shop: Shop, query: str) -> None:
    """The status is unverified."""
    assert shop.http.get(f"{shop.store}/v3/customers?{query}").status_code == 422


def test_one_seed_is_one_shop() -> None:
    """The same seed and sizes make the same records."""
    shops = []
    for seed in (7, 7, 8):
        with open_shop(SMALL, seed=seed, now=Clock(NOON)) as shop:
            shops.append([shop.records(name) for name in ("customers", "products", "transactions")])
    assert shops[0] == shops[1]
    assert shops[0] != shops[2]
