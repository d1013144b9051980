"""Orders and what belongs to them, as v2 and v3 tell them."""

from __future__ import annotations

from typing import Any, Final

from suiro.sandbox.bigcommerce.answers import Call, Endpoint, as_json, nothing
from suiro.sandbox.bigcommerce.metafields import metafield_endpoints
from suiro.sandbox.bigcommerce.reading import Under, collection, existing, listed, one
from suiro.sandbox.bigcommerce.records import ALL, Row
from suiro.sandbox.bigcommerce.views import WHEN, ZERO, Moments, Telling, View, blanks, link, spelled, zeros

#: The names are unverified: the documents list the states of payment only.
ORDER_STATUSES: Final = (
    "Incomplete",
    "Pending",
    "Shipped",
    "Partially Shipped",
    "Refunded",
    "Cancelled",
    "Declined",
    "Awaiting Payment",
    "Awaiting Pickup",
    "Awaiting Shipment",
    "Completed",
    "Awaiting Fulfillment",
    "Manual Verification Required",
    "Disputed",
    "Partially Refunded",
)
UNDER_ORDERS: Final = (
    "order_product",
    "order_coupon",
    "order_address",
    "order_shipment",
    "order_tax",
    "order_message",
    "transaction",
    "refund",
    "order_metafield",
)


def _point_below(telling: Telling, rows: list[Row], told: list[dict[str, Any]]) -> None:
    for row, record in zip(rows, told, strict=True):
        path = f"/orders/{row['id']}"
        record["status"] = ORDER_STATUSES[row["status_id"]]
        for name in ("products", "shipping_addresses", "coupons"):
            record[name] = link(telling, 2, f"{path}/{name}")
        if row.get("unmodified") and telling.settings.guest_dates_empty:
            record["date_modified"] = ""


ORDERS = View(
    kind="order",
    fields={
        "id": 0,
        "customer_id": 0,
        "date_created": WHEN,
        "date_modified": WHEN,
        "date_shipped": WHEN,
        "cart_id": None,
        "status_id": 0,
        "status": "",
        **zeros(
            "subtotal_ex_tax subtotal_inc_tax subtotal_tax base_shipping_cost shipping_cost_ex_tax "
            "shipping_cost_inc_tax shipping_cost_tax"
        ),
        "shipping_cost_tax_class_id": 2,
        **zeros("base_handling_cost handling_cost_ex_tax handling_cost_inc_tax handling_cost_tax"),
        "handling_cost_tax_class_id": 2,
        **zeros("base_wrapping_cost wrapping_cost_ex_tax wrapping_cost_inc_tax wrapping_cost_tax"),
        "wrapping_cost_tax_class_id": 3,
        **zeros("total_ex_tax total_inc_tax total_tax"),
        "items_total": 0,
        "items_shipped": 0,
        "payment_method": "",
        "payment_provider_id": None,
        "payment_status": "",
        "refunded_amount": ZERO,
        "order_is_digital": False,
        **zeros("store_credit_amount gift_certificate_amount"),
        **blanks("ip_address ip_address_v6 geoip_country geoip_country_iso2"),
        "currency_id": 1,
        "currency_code": "USD",
        "currency_exchange_rate": "1.0000000000",
        "default_currency_id": 1,
        "default_currency_code": "USD",
        "store_default_currency_code": "USD",
        "store_default_to_transactional_exchange_rate": "1.0000000000",
        "staff_notes": "",
        "customer_message": "",
        **zeros("discount_amount coupon_discount"),
        "shipping_address_count": 0,
        "is_deleted": False,
        "is_tax_inclusive_pricing": False,
        "is_email_opt_in": False,
        "ebay_order_id": "0",
        "billing_address": {},
        "order_source": "www",
        "external_source": None,
        "external_id": None,
        "external_merchant_id": None,
        "external_order_id": "",
        "channel_id": 1,
        "tax_provider_id": "BasicTaxProvider",
        "customer_locale": "en",
        "products": None,
        "shipping_addresses": None,
        "coupons": None,
    },
    moments=Moments.RFC,
    filters=spelled(
        "min_id max_id min_total max_total customer_id email status_id cart_id payment_method "
        "min_date_created max_date_created min_date_modified max_date_modified channel_id "
        "external_order_id"
    ),
    expressions={
        "email": "json_extract(body, '$.billing_address.email')",
        "total": "CAST(json_extract(body, '$.total_inc_tax') AS REAL)",
    },
    sorts=spelled("id customer_id date_created date_modified status_id channel_id external_id"),
    sort_directions=True,
    complete=_point_below,
)
PRODUCTS = View(
    kind="order_product",
    fields={
        "id": 0,
        "order_id": 0,
        "product_id": 0,
        "variant_id": 0,
        "order_pickup_method_id": 0,
        "order_address_id": 0,
        **blanks("name name_customer name_merchant sku upc"),
        "type": "physical",
        **zeros(
            "base_price price_ex_tax price_inc_tax price_tax base_total total_ex_tax total_inc_tax total_tax "
            "discounted_total_inc_tax"
        ),
        "weight": "1.0000",
        **zeros("width height depth"),
        "quantity": 0,
        **zeros("base_cost_price cost_price_inc_tax cost_price_ex_tax cost_price_tax"),
        "is_refunded": False,
        "quantity_refunded": 0,
        "refund_amount": ZERO,
        "return_id": 0,
        "wrapping_id": 0,
        "wrapping_name": "",
        **zeros("base_wrapping_cost wrapping_cost_ex_tax wrapping_cost_inc_tax wrapping_cost_tax"),
        "wrapping_message": "",
        "quantity_shipped": 0,
        "event_name": None,
        "event_date": "",
        "fixed_shipping_cost": ZERO,
        "ebay_item_id": "",
        "ebay_transaction_id": "",
        "option_set_id": None,
        "parent_order_product_id": None,
        "is_bundled_product": False,
        "bin_picking_number": "",
        "external_id": None,
        "brand": "",
        "gift_certificate_id": None,
        "applied_discounts": [],
        "product_options": [],
        "configurable_fields": [],
    },
    moments=Moments.RFC,
    parent="order_id",
)


def _quotes(telling: Telling, rows: list[Row], told: list[dict[str, Any]]) -> None:
    for row, record in zip(rows, told, strict=True):
        path = f"/orders/{row['order_id']}/shipping_addresses/{row['id']}/shipping_quotes"
        record["shipping_quotes"] = link(telling, 2, path)


ADDRESSES = View(
    kind="order_address",
    fields={
        "id": 0,
        "order_id": 0,
        **blanks("first_name last_name company street_1 street_2 city state zip country country_iso2 phone email"),
        "items_total": 0,
        "items_shipped": 0,
        "shipping_method": "Flat Rate",
        **zeros("base_cost cost_ex_tax cost_inc_tax cost_tax"),
        "cost_tax_class_id": 2,
        **zeros("base_handling_cost handling_cost_ex_tax handling_cost_inc_tax handling_cost_tax"),
        "handling_cost_tax_class_id": 2,
        "shipping_zone_id": 1,
        "shipping_zone_name": "",
        "shipping_quotes": {},
        "form_fields": [],
    },
    moments=Moments.RFC,
    parent="order_id",
    complete=_quotes,
)
COUPONS = View(
    kind="order_coupon",
    fields={"id": 0, "coupon_id": 0, "order_id": 0, "code": "", "amount": ZERO, "type": 0, "discount": 0.0},
    parent="order_id",
)
SHIPMENTS = View(
    kind="order_shipment",
    fields={
        "id": 0,
        "order_id": 0,
        "customer_id": 0,
        "order_address_id": 0,
        "date_created": WHEN,
        "tracking_number": "",
        "merchant_shipping_cost": ZERO,
        **blanks("shipping_method shipping_provider shipping_provider_display_name tracking_carrier tracking_link"),
        **blanks("generated_tracking_link comments"),
        "billing_address": {},
        "shipping_address": {},
        "items": [],
    },
    moments=Moments.RFC,
    parent="order_id",
)
TAXES = View(
    kind="order_tax",
    fields={
        "id": 0,
        "order_id": 0,
        "order_address_id": 0,
        "tax_rate_id": 1,
        "sales_tax_id": "",
        "tax_class_id": 0,
        "name": "Tax",
        "class": "Default Tax Class",
        "rate": "8.0000",
        "priority": 1,
        **zeros("priority_amount line_amount"),
        "order_pickup_method_id": None,
        "order_product_id": None,
        "line_item_type": "item",
    },
    parent="order_id",
)
MESSAGES = View(
    kind="order_message",
    fields={
        "id": 0,
        "order_id": 0,
        "staff_id": 0,
        "customer_id": 0,
        "type": "customer",
        "subject": "",
        "message": "",
        "status": "unread",
        "is_flagged": False,
        "date_created": WHEN,
        "customer": {},
    },
    moments=Moments.RFC,
    parent="order_id",
    filters=spelled("min_id max_id customer_id min_date_created max_date_created is_flagged status"),
)
TRANSACTIONS = View(
    kind="transaction",
    fields={
        "id": 0,
        "order_id": "",
        "event": "purchase",
        "method": "credit_card",
        "amount": 0.0,
        "currency": "USD",
        "gateway": "testgateway",
        "gateway_transaction_id": "",
        "payment_method_id": "",
        "status": "ok",
        "test": True,
        "fraud_review": False,
        "reference_transaction_id": None,
        "date_created": WHEN,
        "avs_result": {},
        "cvv_result": {},
        "credit_card": None,
        "gift_certificate": None,
        "store_credit": None,
        "offline": None,
        "custom": None,
        "payment_instrument_token": None,
    },
    moments=Moments.OFFSET,
    parent="order_id",
)
REFUNDS = View(
    kind="refund",
    fields={
        "id": 0,
        "order_id": 0,
        "user_id": 1,
        "created": WHEN,
        "reason": "",
        "total_amount": 0.0,
        "total_tax": 0.0,
        "uses_merchant_override_values": False,
        "items": [],
        "payments": [],
    },
    parent="order_id",
    filters=frozenset({"order_id:in", "id:in", "created:min", "created:max"}),
)
STATUSES = View(
    kind="order_status",
    fields={"id": 0, "name": "", "system_label": "", "custom_label": "", "system_description": ""},
)


def _transactions(call: Call) -> Any:
    """Those of one order; 204 where it has none."""
    existing(ORDERS, call, id="order")
    rows = call.records.find("transaction", ALL.also("parent = ?", call.path["order"]))
    return as_json({"data": TRANSACTIONS.tell(rows, call.telling()), "meta": {}}) if rows else nothing()


def reading() -> list[Endpoint]:
    """The paths of this area that are read."""
    orders, area = "/v2/orders", "orders"
    paths = collection(orders, ORDERS, area, count=True)
    below: Under = {"under": "order", "above": ORDERS}
    # What isn't in the vendor's specification is what its Python client asks for: counts of products and addresses,
    # single coupons, taxes and messages.
    for name, view, count in (
        ("products", PRODUCTS, True),
        ("shipping_addresses", ADDRESSES, True),
        ("coupons", COUPONS, False),
        ("shipments", SHIPMENTS, True),
        ("taxes", TAXES, False),
        ("messages", MESSAGES, False),
    ):
        paths += collection(f"{orders}/{{order:int}}/{name}", view, area, **below, count=count)
    refunds = "/v3/orders/payment_actions/refunds"
    of_order = "/v3/orders/{order:int}/payment_actions/refunds"
    return [
        *paths,
        Endpoint(method="GET", path="/v3/orders/{order:int}/transactions", area="transactions", handle=_transactions),
        Endpoint(method="GET", path=refunds, area=area, handle=listed(REFUNDS), paged=True),
        Endpoint(method="GET", path=refunds + "/{id:int}", area=area, handle=one(REFUNDS)),
        Endpoint(method="GET", path=of_order, area=area, handle=listed(REFUNDS, **below)),
        *collection("/v2/order_statuses", STATUSES, area),
        *metafield_endpoints("/v3/orders", ORDERS, area),
    ]
