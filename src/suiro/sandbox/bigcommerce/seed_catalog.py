"""The first products with their variants, in categories and of brands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from suiro.sandbox.bigcommerce.records import Row
from suiro.sandbox.bigcommerce.sowing import DAY, YEAR, Ground, Sowing, spread
from suiro.sandbox.people import draw

QUALITIES: Final = ("Plain", "Fine", "Sturdy", "Light", "Old", "Big", "Small", "Blue", "Red", "Green")
THINGS: Final = ("Teapot", "Lamp", "Basket", "Notebook", "Blanket", "Mug", "Umbrella", "Apron", "急須", "手ぬぐい")
BRANDS: Final = ("Harbor", "Oak & Pine", "Café Verde", "みなと", "Granite", "Red Lantern")
#: Name and place of the parent in this list.
CATEGORIES: Final = (
    ("Shop All", None),
    ("Kitchen", None),
    ("Tea", 1),
    ("Garden", None),
    ("Paper", None),
    ("茶器", 2),
    ("Sale", None),
)
SIZES: Final = ("S", "M", "L")
PRODUCTS, CHANGES = 11, 12  # what a number is drawn for


@dataclass(frozen=True, slots=True)
class Sold:
    """What of a product goes into an order."""

    product: Row
    variant: int
    cents: int


def sow_catalog(sowing: Sowing, seed: int, products: int) -> list[Sold]:
    """Brands, categories, and so many products."""
    for number, name in enumerate(BRANDS):
        url = {"url": f"/brand-{number + 1}/", "is_customized": False}
        sowing.add("brand", {"name": name, "page_title": name, "meta_keywords": [name], "custom_url": url})
    for number, (name, parent) in enumerate(CATEGORIES):
        sowing.add(
            "category",
            {
                "name": name,
                "parent_id": 0 if parent is None else parent + 1,
                "uuid": f"00000000-0000-4000-8000-{number + 1:012}",
                "description": f"<p>{name}</p>",
                "sort_order": number,
                "custom_url": {"url": f"/category-{number + 1}/", "is_customized": False},
            },
        )
    sowing.add("tree", {"name": "Default catalog", "channels": [1]})
    last, sold = sowing.now - 2 * DAY, []
    sowing.first("product", 101)
    sowing.first("variant", 1001)
    for i in range(products):
        created = spread(i, products, sowing.now - 3 * YEAR, last)
        x = draw(seed, CHANGES, i)
        modified = created if x % 3 == 0 else created + (x >> 8) % (last - created + 1)
        sold.append(grow_product(sowing, seed, i, created, modified))
    return sold


def grow_product(ground: Ground, seed: int, i: int, created: int, modified: int) -> Sold:
    """The i-th product, from 0. Every fourth comes in three sizes."""
    x = draw(seed, PRODUCTS, i)
    cents = 500 + (x >> 8) % 20_000
    price, weight = cents / 100, (x >> 24) % 500 / 100
    name = f"{QUALITIES[(x >> 32) % 10]} {THINGS[(x >> 36) % 10]} {i + 1}"
    sku, sized = f"SKU-{i + 1:05}", i % 4 == 0
    row = ground.add(
        "product",
        {
            "name": name,
            "sku": sku,
            "type": "digital" if i % 17 == 16 else "physical",
            "description": f"<p>{name}: good &amp; plain.</p>",
            "weight": weight,
            "price": price,
            "calculated_price": price,
            "cost_price": cents // 2 / 100,
            "categories": sorted({1, (x >> 40) % len(CATEGORIES) + 1}),
            "brand_id": (x >> 44) % (len(BRANDS) + 1),
            "inventory_level": (x >> 48) % 200,
            "inventory_tracking": "variant" if sized else "product",
            "is_visible": i % 13 != 12,
            "is_featured": i % 9 == 0,
            "date_created": created,
            "date_modified": modified,
            "date_last_imported": modified if i % 5 == 0 else None,
            "custom_url": {"url": f"/product-{i + 1}/", "is_customized": False},
            "base_variant_id": None if sized else ground.upcoming("variant"),
            "reviews_count": 1 if i % 12 == 0 else 0,
            "reviews_rating_sum": 4 if i % 12 == 0 else 0,
        },
        modified=modified,
    )
    _below(ground, x, i, row)
    shared = {"product_id": row["id"], "base_price": price, "base_weight": weight}
    first = 0
    for number, size in enumerate(SIZES if sized else ("",)):
        label = {"option_display_name": "Size", "label": size, "id": number + 1, "option_id": i + 1}
        own: Row = {"sku": f"{sku}-{size}", "option_values": [label]} if sized else {"sku": sku}
        own["inventory_level"] = (x >> (48 + number)) % 60
        variant = ground.add("variant", {**shared, **own}, parent=row["id"])
        first = first or variant["id"]
    return Sold(row, first, cents)


def _below(ground: Ground, x: int, i: int, row: Row) -> None:
    id = row["id"]
    for number in range((x >> 50) % 3):
        at = f"https://cdn.example.com/{id}/{number}"
        urls = {f"url_{size}": f"{at}-{size}.jpg" for size in ("zoom", "standard", "thumbnail", "tiny")}
        image = {"is_thumbnail": number == 0, "sort_order": number, "image_url": f"{at}.jpg", **urls}
        ground.add("image", {**image, "product_id": id, "date_modified": row["date_created"]}, parent=id)
    if i % 3 == 0:
        origin = {"name": "Origin", "value": "日本" if i % 2 else "Portland"}
        ground.add("custom_field", {**origin, "product_id": id}, parent=id)
    if i % 10 == 0:
        rule = {"quantity_min": 10, "quantity_max": 0, "type": "percent", "amount": 5.0, "product_id": id}
        ground.add("bulk_pricing_rule", rule, parent=id)
    if i % 4 == 0:
        values = [{"id": n + 1, "label": size, "sort_order": n, "value_data": None} for n, size in enumerate(SIZES)]
        option = {"display_name": "Size", "type": "rectangles", "option_values": values, "product_id": id}
        ground.add("option", option, parent=id)
    if i % 20 == 0:
        video = {"title": row["name"], "video_id": f"video{id}", "length": "01:30", "product_id": id}
        ground.add("video", video, parent=id)
        ground.add("modifier", {"display_name": "Engraving", "name": "Engraving", "product_id": id}, parent=id)
    if i % 12 == 0:
        dates = dict.fromkeys(("date_reviewed", "date_created", "date_modified"), row["date_created"])
        review = {"title": "Good", "text": "とても良い", "rating": 4, "name": "Ada", "product_id": id}
        ground.add("review", review | dates, parent=id)
