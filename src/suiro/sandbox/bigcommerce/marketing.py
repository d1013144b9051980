"""Coupons, gift certificates, banners, promotions, price lists."""

from __future__ import annotations

from typing import Any, Final

from suiro.sandbox.bigcommerce.answers import Endpoint
from suiro.sandbox.bigcommerce.reading import collection, listed
from suiro.sandbox.bigcommerce.records import Row
from suiro.sandbox.bigcommerce.views import WHEN, Moments, Telling, View, blanks, spelled
from suiro.sandbox.bigcommerce.writing import Rules, crud

COUPONS: Final = View(
    kind="coupon",
    fields={
        "id": 0,
        "name": "",
        "type": "per_total_discount",
        "amount": "0.0000",
        "min_purchase": "0.0000",
        "expires": WHEN,
        "enabled": True,
        "code": "",
        "applies_to": {"entity": "categories", "ids": [0]},
        "num_uses": 0,
        "max_uses": 0,
        "max_uses_per_customer": 0,
        "restricted_to": {},
        "shipping_methods": [],
        "date_created": WHEN,
    },
    moments=Moments.RFC,
    filters=spelled("id code name type min_id max_id exclude_type"),
)
GIFT_CERTIFICATES: Final = View(
    kind="gift_certificate",
    fields={
        "id": 0,
        "customer_id": 0,
        "order_id": 0,
        **blanks("code to_name to_email from_name from_email"),
        "amount": "0.0000",
        "balance": "0.0000",
        "status": "active",
        "template": "general.html",
        "message": "",
        "purchase_date": WHEN,
        "expiry_date": WHEN,
        "currency_code": "USD",
    },
    moments=Moments.RFC,
    filters=spelled("min_id max_id code order_id to_name to_email from_name from_email"),
    sorts=frozenset({"id"}),
)
BANNERS: Final = View(
    kind="banner",
    fields={
        "id": 0,
        "name": "",
        "content": "",
        "page": "home_page",
        "location": "top",
        "date_type": "always",
        "date_from": "0",
        "date_to": "0",
        "visible": "1",
        "item_id": "0",
        "date_created": WHEN,
    },
    moments=Moments.RFC,
    filters=frozenset({"min_id", "max_id"}),
)


def _with_codes(telling: Telling, rows: list[Row], told: list[dict[str, Any]]) -> None:
    """What promotions have that need a code."""
    for row, record in zip(rows, told, strict=True):
        if row.get("redemption_type") == "COUPON":
            record |= {
                "codes": {"url": f"/v3/promotions/{row['id']}/codes"},
                "multiple_codes": {},
                "coupon_type": "BULK",
                "coupon_overrides_other_promotions": False,
                "coupon_overrides_automatic_when_offering_higher_discounts": False,
            }


PROMOTIONS: Final = View(
    kind="promotion",
    fields={
        "id": 0,
        "redemption_type": "AUTOMATIC",
        "name": "",
        "display_name": "",
        "channels": [{"id": 1}],
        "customer": None,
        "rules": [],
        "current_uses": 0,
        "max_uses": None,
        "status": "ENABLED",
        "start_date": WHEN,
        "end_date": WHEN,
        "stop": False,
        "can_be_used_with_other_promotions": True,
        "currency_code": "USD",
        "notifications": [],
        "shipping_address": None,
        "schedule": None,
        "created_from": "api",
    },
    moments=Moments.OFFSET,
    filters=spelled("id name currency_code redemption_type status"),
    expressions={
        "redemption_type": "json_extract(body, '$.redemption_type') COLLATE NOCASE",
        "status": "json_extract(body, '$.status') COLLATE NOCASE",
    },
    sorts=frozenset({"id", "name", "priority", "start_date"}),
    complete=_with_codes,
)
PROMOTION_CODES: Final = View(
    kind="promotion_code",
    fields={
        "id": 0,
        "code": "",
        "current_uses": 0,
        "max_uses": 0,
        "max_uses_per_customer": 0,
        "created": WHEN,
    },
    moments=Moments.OFFSET,
    parent="promotion_id",
    filters=frozenset({"code"}),
    cursor=True,
)
DATES: Final = frozenset({f"date_{when}{end}" for when in ("created", "modified") for end in ("", ":min", ":max")})
PRICES: Final = ("price", "sale_price", "retail_price", "map_price", "calculated_price")
PRICE_LISTS: Final = View(
    kind="price_list",
    fields={"id": 0, "date_created": WHEN, "date_modified": WHEN, "name": "", "active": True},
    filters=DATES | {"name", "name:like", "id:in"},
    cursor=True,
)
PRICE_RECORDS: Final = View(
    kind="price_record",
    fields={
        "price_list_id": 0,
        "variant_id": 0,
        "product_id": 0,
        "sku": "",
        "currency": "usd",
        "price": 0.0,
        "sale_price": None,
        "retail_price": None,
        "map_price": None,
        "calculated_price": 0.0,
        "date_created": WHEN,
        "date_modified": WHEN,
        "bulk_pricing_tiers": [],
    },
    parent="price_list_id",
    filters=DATES
    | {f"{price}{end}" for price in PRICES for end in ("", ":min", ":max")}
    | spelled("variant_id:in product_id:in currency currency:in sku sku:in"),
    cursor=True,
)
PRICE_ASSIGNMENTS: Final = View(
    kind="price_assignment",
    fields={"id": 0, "price_list_id": 0, "customer_group_id": None, "channel_id": None},
    filters=frozenset(
        {f"{name}{end}" for name in ("id", "price_list_id", "customer_group_id", "channel_id") for end in ("", ":in")}
    ),
    cursor=True,
)


def endpoints() -> list[Endpoint]:
    """The paths of this area."""
    marketing, prices, lists = "marketing", "products", "/v3/pricelists"
    coupons = Rules(view=COUPONS, noun="coupons", required=("name", "code", "type", "amount"), unique=("code",))
    certificates = Rules(
        view=GIFT_CERTIFICATES, noun="gift certificates", required=("to_name", "to_email", "from_name", "amount")
    )
    banners = Rules(view=BANNERS, noun="banners", required=("name", "content"))
    promotions = Rules(view=PROMOTIONS, noun="promotions", required=("name", "rules"), children=("promotion_code",))
    price_lists = Rules(
        view=PRICE_LISTS,
        noun="price lists",
        required=("name",),
        unique=("name",),
        taken=409,
        children=("price_record",),
    )
    of_list, of_promotion = lists + "/{list:int}/records", "/v3/promotions/{promotion:int}/codes"
    return [
        *collection("/v2/coupons", COUPONS, marketing, count=True),
        *crud("/v2/coupons", coupons, marketing, status=201),
        *collection("/v2/gift_certificates", GIFT_CERTIFICATES, marketing),
        *crud("/v2/gift_certificates", certificates, marketing, status=201),
        *collection("/v2/banners", BANNERS, marketing, count=True),
        *crud("/v2/banners", banners, marketing),
        *collection("/v3/promotions", PROMOTIONS, marketing),
        *crud("/v3/promotions", promotions, marketing, status=201, needs_filter=True),
        Endpoint(
            method="GET",
            path=of_promotion,
            area=marketing,
            handle=listed(PROMOTION_CODES, under="promotion", above=PROMOTIONS),
            paged=True,
        ),
        Endpoint(method="GET", path="/v3/promotions/codes", area=marketing, handle=listed(PROMOTION_CODES), paged=True),
        *collection(lists, PRICE_LISTS, prices),
        *crud(lists, price_lists, prices, needs_filter=True),
        Endpoint(
            method="GET",
            path=of_list,
            area=prices,
            handle=listed(PRICE_RECORDS, under="list", above=PRICE_LISTS),
            paged=True,
        ),
        Endpoint(method="GET", path=lists + "/assignments", area=prices, handle=listed(PRICE_ASSIGNMENTS), paged=True),
    ]
