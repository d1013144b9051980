"""Records from outside the APIs: what can be compared, put as it is, and taken away, by name."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import tzinfo
from typing import Final

from suiro.sandbox.bigcommerce import catalog, categories, customers, marketing, orders, storefront
from suiro.sandbox.bigcommerce.filters import moment_of
from suiro.sandbox.bigcommerce.records import ALL, Records, Row, Writer
from suiro.sandbox.bigcommerce.settings import Settings
from suiro.sandbox.bigcommerce.views import WHEN, Telling, View

#: Each one as the API tells it that a reader would use.
TOLD: Final[Mapping[str, View]] = {
    "customers": customers.CUSTOMERS,
    "customer_addresses": customers.ADDRESSES,
    "customer_attributes": customers.ATTRIBUTES,
    "customer_attribute_values": customers.ATTRIBUTE_VALUES,
    "form_field_values": customers.FORM_FIELDS,
    "customer_groups": customers.GROUPS,
    "subscribers": customers.SUBSCRIBERS,
    "products": catalog.PRODUCTS,
    "variants": catalog.VARIANTS,
    "categories": categories.CATEGORIES,
    "tree_categories": categories.TREE_CATEGORIES,
    "trees": categories.TREES,
    "brands": categories.BRANDS,
    "inventory_items": catalog.INVENTORY,
    **{f"product_{kind}s": view for kind, view in catalog.SMALL.items()},
    "orders": orders.ORDERS,
    "order_products": orders.PRODUCTS,
    "order_coupons": orders.COUPONS,
    "order_shipping_addresses": orders.ADDRESSES,
    "order_shipments": orders.SHIPMENTS,
    "order_taxes": orders.TAXES,
    "order_messages": orders.MESSAGES,
    "order_statuses": orders.STATUSES,
    "transactions": orders.TRANSACTIONS,
    "refunds": orders.REFUNDS,
    "coupons": marketing.COUPONS,
    "gift_certificates": marketing.GIFT_CERTIFICATES,
    "banners": marketing.BANNERS,
    "promotions": marketing.PROMOTIONS,
    "promotion_codes": marketing.PROMOTION_CODES,
    "price_lists": marketing.PRICE_LISTS,
    "price_records": marketing.PRICE_RECORDS,
    "price_assignments": marketing.PRICE_ASSIGNMENTS,
    "channels": storefront.CHANNELS,
    "currency_assignments": storefront.CURRENCIES,
    "pages": storefront.PAGES,
    "webhooks": storefront.HOOKS,
}
UNDER: Final[Mapping[str, tuple[str, ...]]] = {
    "customer": customers.UNDER_CUSTOMERS,
    "product": catalog.DEEP,
    "order": orders.UNDER_ORDERS,
    "promotion": ("promotion_code",),
    "price_list": ("price_record",),
}
AT_ONCE: Final = 500


def numbers(records: Records) -> dict[str, int]:
    """How many records there are, by name."""
    with records.reading() as reader:
        return {name: reader.count(view.kind) for name, view in TOLD.items()}


def lines(records: Records, view: View, root: str, settings: Settings) -> Iterator[str]:
    """All records of a view, archived ones too, by their ids, as lines of JSON; of one state of the store."""
    last = -1
    with records.reading() as reader:
        telling = Telling(records=reader, root=root, settings=settings)
        while rows := reader.find(view.kind, ALL.also("id > ?", last), limit=AT_ONCE):
            last = rows[-1]["id"]
            yield "".join(json.dumps(told, ensure_ascii=False) + "\n" for told in view.tell(rows, telling))


def put(writer: Writer, view: View, given: Row, zone: tzinfo) -> int:
    """Keep a record as it is told, with its own moments; without an id it gets the next. ValueError: it can't be."""
    row: Row = {}
    for name, value in given.items():
        kept = view.kept(name)
        moment = view.fields.get(name) is WHEN and isinstance(value, str)
        row[kept] = (moment_of(value, zone) if value else None) if moment else value
    row.setdefault("id", writer.upcoming(view.kind))
    if not isinstance(row["id"], int):
        raise ValueError("the id is no number")
    if view.kind == "order":
        row = {"status_id": 1, **row}
    if view.kind == "variant":
        row = {"sku": "", "inventory_level": 0, "base_price": row.get("price"), "base_weight": row.get("weight"), **row}
    writer.put(view.kind, row, parent=int(row.get(view.parent) or 0), modified=int(row.get("date_modified") or 0))
    return int(row["id"])


def take_away(writer: Writer, view: View, ids: list[int] | None) -> int:
    """Records go without a trace, and what lies under them; all of them where no ids are given. How many went."""
    gone = [row["id"] for row in writer.each(view.kind)] if ids is None else ids
    return writer.delete(view.kind, gone, UNDER.get(view.kind, ()))
