"""The first records of a shop, all made from its seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from suiro.sandbox.bigcommerce.orders import ORDER_STATUSES
from suiro.sandbox.bigcommerce.records import Records
from suiro.sandbox.bigcommerce.seed_catalog import Sold, sow_catalog
from suiro.sandbox.bigcommerce.seed_customers import sow_customers
from suiro.sandbox.bigcommerce.seed_orders import sow_orders
from suiro.sandbox.bigcommerce.sowing import DAY, YEAR, Sowing


def sow(records: Records, seed: int, sizes: Mapping[str, int], now: datetime) -> None:
    """Make the first records, once; a shop that has its own stays as it is."""
    with records.writing() as writer:
        if writer.fact("sown") is not None:
            return
        sowing = Sowing(writer, now)
        sow_customers(sowing, seed, sizes["customers"])
        sold = sow_catalog(sowing, seed, sizes["products"])
        sow_orders(sowing, seed, sizes["orders"], sizes["customers"], sold)
        _marketing(sowing)
        _price_lists(sowing, sold)
        _storefront(sowing)
        sowing.flush()
        writer.note("sown", str(seed))
        records.index()


def _marketing(sowing: Sowing) -> None:
    first, later = sowing.now - YEAR, sowing.now + YEAR
    for code, kind, amount in (
        ("TEN", "percentage_discount", "10.0000"),
        ("FIVE", "per_total_discount", "5.0000"),
        ("送料無料", "free_shipping", "0.0000"),
    ):
        fields = {"name": f"Coupon {code}", "code": code, "type": kind, "amount": amount, "num_uses": 3}
        sowing.add("coupon", {**fields, "date_created": first, "expires": None if code == "FIVE" else later})
    for number in range(3):
        people = {"to_name": "Ada", "to_email": "ada@example.com", "from_name": "Ben", "from_email": "ben@example.com"}
        worth = {"amount": "25.0000", "balance": f"{25 - 5 * number}.0000", "code": f"GIFT-{number + 1:04}"}
        sowing.add("gift_certificate", {**people, **worth, "purchase_date": first, "expiry_date": later})
    for name in ("Welcome", "夏のセール"):
        sowing.add("banner", {"name": name, "content": f"<p>{name}</p>", "date_created": first})
    for number, name in enumerate(("Spring", "Bulk", "Code")):
        sowing.add(
            "promotion",
            {
                "name": name,
                "display_name": name,
                "redemption_type": "COUPON" if number == 2 else "AUTOMATIC",
                "rules": [{"action": {"cart_value": {"discount": {"percentage_amount": "10"}}}, "apply_once": True}],
                "start_date": first,
                "end_date": None,
                "current_uses": number,
            },
        )
    for number in range(60):
        one = {"code": f"CODE{number + 1:03}", "current_uses": number % 3, "max_uses": 5, "promotion_id": 3}
        sowing.add("promotion_code", {**one, "created": first + number}, parent=3)


def _price_lists(sowing: Sowing, sold: Sequence[Sold]) -> None:
    made = sowing.now - 90 * DAY
    for number, name in enumerate(("Wholesale", "VIP 価格")):
        fields = {"name": name, "active": number == 0, "date_created": made, "date_modified": made}
        kept = sowing.add("price_list", fields, modified=made)
        group = {"price_list_id": kept["id"], "customer_group_id": number + 2, "channel_id": 1}
        sowing.add("price_assignment", group)
        for one in sold[:60]:
            price = one.cents * (90 - 10 * number) // 100 / 100
            record = {
                "price_list_id": kept["id"],
                "variant_id": one.variant,
                "product_id": one.product["id"],
                "sku": one.product["sku"],
                "price": price,
                "calculated_price": price,
                "date_created": made,
                "date_modified": made,
            }
            sowing.add("price_record", record, parent=kept["id"], modified=made)


def _storefront(sowing: Sowing) -> None:
    made = sowing.now - 3 * YEAR
    for number, name in enumerate(ORDER_STATUSES):
        sowing.first("order_status", number)
        labels = {"system_label": name, "custom_label": name, "system_description": f"The order is: {name}."}
        sowing.add("order_status", {"name": name, **labels})
    for name, kind, platform in (("Storefront", "storefront", "bigcommerce"), ("Counter", "pos", "custom")):
        fields = {"name": name, "type": kind, "platform": platform, "date_created": made, "date_modified": made}
        kept = sowing.add("channel", fields, modified=made)
        currencies = {"channel_id": kept["id"], "enabled_currencies": ["USD", "JPY"], "default_currency": "USD"}
        sowing.add("currency_assignment", currencies, parent=kept["id"])
    for number, name in enumerate(("Home", "About us", "お問い合わせ", "Shipping")):
        page = {"name": name, "url": f"/page-{number + 1}/", "sort_order": number, "is_homepage": number == 0}
        contact = {"type": "contact_form", "email": "owner@example.com"} if number == 2 else {}
        sowing.add("page", {**page, **contact, "body": f"<p>{name}</p>"})
    for scope in ("store/order/*", "store/customer/*"):
        hook = {"scope": scope, "destination": "https://hooks.example.com/", "store_hash": "sandbox1"}
        sowing.add("hook", {**hook, "client_id": "sandboxapp0001", "created_at": made, "updated_at": made})
