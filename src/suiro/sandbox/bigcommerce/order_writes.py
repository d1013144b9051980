"""Orders that clients make, change and archive; shipments and refunds."""

from __future__ import annotations

from typing import Any, Final

from starlette.responses import Response

from suiro.sandbox.bigcommerce.answers import Call, Endpoint, Refused, as_json, nothing
from suiro.sandbox.bigcommerce.orders import ADDRESSES, ORDER_STATUSES, ORDERS, REFUNDS, SHIPMENTS
from suiro.sandbox.bigcommerce.reading import existing
from suiro.sandbox.bigcommerce.records import ALL, Row
from suiro.sandbox.bigcommerce.views import cents, money, spelled
from suiro.sandbox.bigcommerce.writing import READ_ONLY, Rules, created, deleted, updated

COMPUTED: Final = READ_ONLY | spelled("status date_shipped products shipping_addresses coupons is_deleted")
TAX_PERCENT: Final = 8


def taxed(ex_tax: int) -> int:
    """The tax on an amount in cents, rounded half up."""
    return (ex_tax * TAX_PERCENT + 50) // 100


def line(product: Row, quantity: int, price: int) -> Row:
    """One order product: `price` in cents, before tax, for each."""
    tax, total = taxed(price), price * quantity
    total_tax = tax * quantity
    return {
        "product_id": product.get("id", 0),
        "variant_id": product.get("base_variant_id") or 0,
        "name": product["name"],
        "name_customer": product["name"],
        "name_merchant": product["name"],
        "sku": product.get("sku", ""),
        "quantity": quantity,
        "base_price": money(price),
        "price_ex_tax": money(price),
        "price_inc_tax": money(price + tax),
        "price_tax": money(tax),
        "base_total": money(total),
        "total_ex_tax": money(total),
        "total_inc_tax": money(total + total_tax),
        "total_tax": money(total_tax),
        "discounted_total_inc_tax": money(total + total_tax),
    }


def totals(lines: list[Row], shipping: int, discount: int) -> Row:
    """The sums of an order: over its products, with shipping (taxed) and a discount, both in cents before tax."""
    ex, tax = sum(cents(one["total_ex_tax"]) for one in lines), sum(cents(one["total_tax"]) for one in lines)
    shipping_tax = taxed(shipping)
    return {
        "subtotal_ex_tax": money(ex),
        "subtotal_tax": money(tax),
        "subtotal_inc_tax": money(ex + tax),
        "base_shipping_cost": money(shipping),
        "shipping_cost_ex_tax": money(shipping),
        "shipping_cost_tax": money(shipping_tax),
        "shipping_cost_inc_tax": money(shipping + shipping_tax),
        "coupon_discount": money(discount),
        "total_ex_tax": money(ex + shipping - discount),
        "total_tax": money(tax + shipping_tax),
        "total_inc_tax": money(ex + tax + shipping + shipping_tax - discount),
        "items_total": sum(one["quantity"] for one in lines),
    }


def archive(call: Call, row: Row) -> None:
    """A deleted order stays, with is_deleted. That its date_modified moves then is unverified."""
    now = call.seconds
    fields = {"is_deleted": True, "date_modified": now, "unmodified": False}
    call.writer.change("order", row["id"], fields, modified=now)


def _ready(call: Call, given: Row, fields: Row, old: Row | None) -> Row:
    status = fields.get("status_id")
    if not isinstance(status, int):
        status = 1 if old is None else old["status_id"]
    if not 0 <= status < len(ORDER_STATUSES):
        raise Refused(400, f"The status_id {status} is not valid.")
    customer = fields.get("customer_id", 0)
    if customer and call.records.get("customer", customer) is None:
        raise Refused(400, f"The customer_id {customer} is not valid.")
    fields |= {"status_id": status, "unmodified": False}
    if old is None:
        lines = [_line(call, one) for one in _list(given, "products")]
        try:
            shipping = cents(given.get("base_shipping_cost") or 0)
        except ValueError as error:
            raise Refused(400, "The base_shipping_cost is not valid.") from error
        fields |= totals(lines, shipping, 0) | {"shipping_address_count": 1, "payment_status": ""}
    return fields


def _below(call: Call, given: Row, row: Row) -> None:
    if call.method != "POST":
        return
    id, ships_to = row["id"], row["billing_address"]
    if given.get("shipping_addresses"):
        ships_to = _list(given, "shipping_addresses")[0]
    if not isinstance(ships_to, dict):
        raise Refused(400, "The shipping_addresses are not valid.")
    address = {name: ships_to[name] for name in ADDRESSES.fields if name in ships_to}
    kept = call.writer.add("order_address", {**address, "order_id": id, "items_total": row["items_total"]}, parent=id)
    for one in given["products"]:
        below = {"order_id": id, "order_address_id": kept["id"]}
        call.writer.add("order_product", _line(call, one) | below, parent=id)


def _line(call: Call, given: object) -> Row:
    if not isinstance(given, dict) or not isinstance(given.get("quantity"), int) or given["quantity"] < 1:
        raise Refused(400, "The products are not valid: each one needs a quantity.")
    product: Row | None
    if "product_id" in given:
        product = call.records.get("product", given["product_id"]) if isinstance(given["product_id"], int) else None
    else:
        product = {"name": given["name"], "sku": given.get("sku", "")} if given.get("name") else None
    if product is None:
        raise Refused(400, "The products are not valid: no such product.")
    price = given.get("price_ex_tax", given.get("price_inc_tax", product.get("price")))
    try:
        return line(product, given["quantity"], cents(price))
    except ValueError as error:
        raise Refused(400, "The products are not valid: each one needs a price.") from error


def _list(given: Row, name: str) -> list[Any]:
    found = given.get(name)
    if not isinstance(found, list) or not found:
        raise Refused(400, f"The {name} are not valid: a list is required.")
    return found


ORDER_RULES = Rules(
    view=ORDERS,
    noun="orders",
    required=("billing_address", "products"),
    fixed=COMPUTED,
    prepare=_ready,
    follow=_below,
)


def _shippable(call: Call, given: Row, fields: Row, old: Row | None) -> Row:
    if old is not None:
        return fields
    order = existing(ORDERS, call, id="order")
    under = call.records.children("order_product", [order["id"]])[order["id"]]
    known = {one["id"] for one in under}
    for item in _list(given, "items"):
        if not isinstance(item, dict) or item.get("order_product_id") not in known:
            raise Refused(400, "The items are not valid: no such order product.")
    buyer = {"customer_id": order.get("customer_id", 0), "billing_address": order.get("billing_address", {})}
    return fields | buyer


def _shipped(call: Call, given: Row, row: Row) -> None:
    if call.method != "POST":
        return
    now = call.seconds
    sent = sum(int(item.get("quantity", 0)) for item in row["items"])
    order = existing(ORDERS, call, id="order")
    fields = {"items_shipped": order.get("items_shipped", 0) + sent, "date_shipped": now, "date_modified": now}
    call.writer.change("order", order["id"], {**fields, "status_id": 2, "unmodified": False}, modified=now)


SHIPMENT_RULES = Rules(
    view=SHIPMENTS,
    noun="shipments",
    required=("order_address_id", "items"),
    fixed=READ_ONLY | {"customer_id", "billing_address"},
    prepare=_shippable,
    follow=_shipped,
)


def _archived(call: Call) -> Response:
    archive(call, existing(ORDERS, call))
    return nothing()


def _all_archived(call: Call) -> Response:
    for row in call.records.find("order", ALL.also("coalesce(json_extract(body, '$.is_deleted'), 0) = 0")):
        archive(call, row)
    return nothing()


def _refunded(call: Call) -> Response:
    """One refund of some of an order's products."""
    order = existing(ORDERS, call, id="order")
    body = call.body if isinstance(call.body, dict) else {}
    under = {one["id"]: one for one in call.records.children("order_product", [order["id"]])[order["id"]]}
    amount, items = 0, []
    for item in _list(body, "items"):
        bought = under.get(item.get("item_id")) if isinstance(item, dict) else None
        quantity = item.get("quantity") if isinstance(item, dict) else None
        left = 0 if bought is None else bought["quantity"] - bought.get("quantity_refunded", 0)
        if bought is None or not isinstance(quantity, int) or not 0 < quantity <= left:
            raise Refused(422, "Create refund failed.", {"items": "each one needs an item_id and a quantity"})
        part = cents(bought["price_inc_tax"]) * quantity
        amount += part
        items.append(
            {"item_type": "PRODUCT", "item_id": bought["id"], "quantity": quantity, "requested_amount": part / 100}
        )
        refunded = {"quantity_refunded": bought["quantity"] - left + quantity, "is_refunded": left == quantity}
        under[bought["id"]] = call.writer.change("order_product", bought["id"], refunded)
    now = call.seconds
    refund = {
        "order_id": order["id"],
        "created": now,
        "reason": str(body.get("reason", "")),
        "total_amount": amount / 100,
        "items": items,
        "payments": body.get("payments") or [],
    }
    row = call.writer.add("refund", refund, parent=order["id"])
    total = cents(order.get("refunded_amount", "0")) + amount
    fields = {"refunded_amount": money(total), "status_id": 14, "date_modified": now, "unmodified": False}
    call.writer.change("order", order["id"], fields, modified=now)
    return as_json({"data": REFUNDS.tell([row], call.telling())[0], "meta": {}}, 201)


def writing() -> list[Endpoint]:
    """The paths of this area that are written."""
    orders, area = "/v2/orders", "orders"
    shipments = orders + "/{order:int}/shipments"
    refunds = "/v3/orders/{order:int}/payment_actions/refunds"
    return [
        Endpoint(method="POST", path=orders, area=area, handle=created(ORDER_RULES)),
        Endpoint(method="PUT", path=orders + "/{id:int}", area=area, handle=updated(ORDER_RULES)),
        Endpoint(method="DELETE", path=orders + "/{id:int}", area=area, handle=_archived),
        Endpoint(method="DELETE", path=orders, area=area, handle=_all_archived),
        Endpoint(
            method="POST",
            path=shipments,
            area=area,
            handle=created(SHIPMENT_RULES, status=201, under="order", above=ORDERS),
        ),
        Endpoint(
            method="PUT",
            path=shipments + "/{id:int}",
            area=area,
            handle=updated(SHIPMENT_RULES, under="order", above=ORDERS),
        ),
        Endpoint(
            method="DELETE",
            path=shipments + "/{id:int}",
            area=area,
            handle=deleted(SHIPMENT_RULES, under="order", above=ORDERS),
        ),
        Endpoint(method="POST", path=refunds, area="transactions", handle=_refunded),
    ]
