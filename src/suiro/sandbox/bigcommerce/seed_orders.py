"""The first orders, of customers and of guests, with what belongs to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from suiro.sandbox.bigcommerce.order_writes import line, taxed, totals
from suiro.sandbox.bigcommerce.records import Row
from suiro.sandbox.bigcommerce.seed_catalog import Sold
from suiro.sandbox.bigcommerce.seed_customers import COUNTRIES
from suiro.sandbox.bigcommerce.sowing import DAY, YEAR, Ground, Sowing, spread
from suiro.sandbox.bigcommerce.views import cents, money
from suiro.sandbox.people import Person, draw, person

STATUSES: Final = (10, 10, 10, 2, 2, 11, 7, 1, 5, 3, 4, 14)  #: how often each one comes
PAID: Final = frozenset({2, 3, 4, 10, 11, 14})
SENT: Final = frozenset({2, 3, 10})
ORDERS, CHANGES = 21, 22  # what a number is drawn for


def sow_orders(sowing: Sowing, seed: int, orders: int, customers: int, sold: Sequence[Sold]) -> None:
    """So many orders; none where there are no products."""
    sowing.first("order", 100)
    last = sowing.now - 11 * DAY
    for j in range(orders if sold else 0):
        created = spread(j, orders, sowing.now - YEAR, last)
        x = draw(seed, CHANGES, j)
        modified = created + 60 + x % (10 * DAY)
        grow_order(sowing, seed, j, customers, sold, created, modified)


def grow_order(
    ground: Ground, seed: int, j: int, customers: int, sold: Sequence[Sold], created: int, modified: int
) -> Row:
    """The j-th order. One of seven is a guest's, and one of three of those was never modified."""
    x = draw(seed, ORDERS, j)
    guest = customers == 0 or x % 7 == 0
    buyer = (x >> 8) % max(customers, 1)
    who = person(seed, 2 * buyer + guest)
    status = STATUSES[(x >> 32) % len(STATUSES)]
    untouched = guest and x % 3 == 0
    if untouched:
        modified, status = created, 11
    lines = _lines(seed, j, sold)
    coupon = j % 13 == 0
    discount = sum(cents(one["total_ex_tax"]) for one in lines) // 10 if coupon else 0
    sums = totals(lines, (x >> 40) % 4 * 250, discount)
    row = ground.add(
        "order",
        {
            "customer_id": 0 if guest else buyer + 1,
            "status_id": status,
            "date_created": created,
            "date_modified": modified,
            "date_shipped": modified if status in SENT else None,
            "unmodified": untouched,
            "is_deleted": j % 41 == 7,
            "billing_address": billing(who),
            "payment_method": "Test Payment Gateway" if status in PAID else "Bank Deposit",
            "payment_status": "captured" if status in PAID else "",
            "items_shipped": sums["items_total"] if status in SENT else 0,
            "refunded_amount": sums["total_inc_tax"] if status == 4 else "0.0000",
            "shipping_address_count": 1,
            "customer_message": "" if x & 0x3000 else "急いでください。\nThanks, 🎁",
            "cart_id": None if x & 0xC000 else f"{x:016x}",
            **sums,
        },
        modified=modified,
    )
    _goods(ground, row, lines, who, shipped=status in SENT)
    _money(ground, x, row, lines)
    _rest(ground, j, row, discount)
    return row


def billing(who: Person) -> Row:
    """A person's address as an order has it."""
    return {
        "first_name": who.first_name,
        "last_name": who.last_name,
        "company": who.company,
        "street_1": who.street,
        "street_2": "",
        "city": who.city,
        "state": who.state,
        "zip": who.postal_code,
        "country": who.country,
        "country_iso2": COUNTRIES[who.country],
        "phone": who.phone,
        "email": who.email,
        "form_fields": [],
    }


def _lines(seed: int, j: int, sold: Sequence[Sold]) -> list[Row]:
    lines = []
    for number in range(1 + j % 3):
        x = draw(seed, ORDERS, j, number)
        one = sold[(x >> 8) % len(sold)]
        lines.append({**line(one.product, 1 + x % 4, one.cents), "variant_id": one.variant})
    return lines


def _goods(ground: Ground, order: Row, lines: list[Row], who: Person, *, shipped: bool) -> None:
    id, total = order["id"], order["items_total"]
    home = {name: value for name, value in billing(who).items() if name != "form_fields"}
    cost = {name: order["shipping_" + name] for name in ("cost_ex_tax", "cost_inc_tax", "cost_tax")}
    numbers = {"items_total": total, "items_shipped": order["items_shipped"]}
    address = ground.add(
        "order_address",
        {"order_id": id, **home, **cost, **numbers, "base_cost": order["base_shipping_cost"]},
        parent=id,
    )
    items = []
    for bought in lines:
        sent = {"quantity_shipped": bought["quantity"]} if shipped else {}
        below = {"order_id": id, "order_address_id": address["id"]}
        kept = ground.add("order_product", {**bought, **below, **sent}, parent=id)
        items.append({"order_product_id": kept["id"], "product_id": kept["product_id"], "quantity": kept["quantity"]})
        tax = {"order_product_id": str(kept["id"]), "line_amount": kept["total_tax"]}
        ground.add("order_tax", {**below, **tax, "priority_amount": kept["total_tax"]}, parent=id)
    if shipped:
        shipment = {
            "order_id": id,
            "customer_id": order["customer_id"],
            "order_address_id": address["id"],
            "date_created": order["date_shipped"],
            "tracking_number": f"TRACK{id:08}",
            "shipping_method": "Flat Rate",
            "billing_address": order["billing_address"],
            "shipping_address": home,
            "items": items,
        }
        ground.add("order_shipment", shipment, parent=id)


def _money(ground: Ground, x: int, order: Row, lines: list[Row]) -> None:
    """The payment, and what was given back of it."""
    id, status = order["id"], order["status_id"]
    if status not in PAID:
        return
    card = {"card_type": "visa", "card_iin": "411111", "card_last4": "1111", "card_expiry_month": 1}
    paid = {
        "order_id": str(id),
        "amount": cents(order["total_inc_tax"]) / 100,
        "gateway_transaction_id": f"{x:016x}",
        "payment_method_id": "testgateway.credit_card",
        "date_created": order["date_created"],
        "credit_card": {**card, "card_expiry_year": 2030},
    }
    ground.add("transaction", paid, parent=id)
    if status not in (4, 14):
        return
    amount = cents(order["total_inc_tax"] if status == 4 else lines[0]["price_inc_tax"])
    refund = {
        "order_id": id,
        "created": order["date_modified"],
        "reason": "返品",
        "total_amount": amount / 100,
        "total_tax": taxed(amount) / 100,
        "items": [{"item_type": "ORDER", "item_id": id, "requested_amount": amount / 100}],
        "payments": [{"provider_id": "testgateway", "amount": amount / 100, "offline": False}],
    }
    ground.add("refund", refund, parent=id)


def _rest(ground: Ground, j: int, order: Row, discount: int) -> None:
    id, created = order["id"], order["date_created"]
    if discount:
        coupon = {"order_id": id, "coupon_id": 1, "code": "TEN", "amount": money(1000), "type": 1}
        ground.add("order_coupon", {**coupon, "discount": discount / 100}, parent=id)
    if j % 29 == 0:
        message = {"order_id": id, "customer_id": order["customer_id"], "date_created": created}
        ground.add("order_message", {**message, "subject": "When?", "message": "When will it come?"}, parent=id)
    if j % 50 == 0:
        noted = {"key": "erp", "value": f"ERP-{id}", "namespace": "erp", "resource_id": id}
        moments = {"date_created": created, "date_modified": created}
        ground.add("order_metafield", noted | moments, parent=id, modified=created)
