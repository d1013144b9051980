"""Products and what belongs to them, variants, categories, brands."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from suiro.sandbox.bigcommerce.answers import Call, Endpoint
from suiro.sandbox.bigcommerce.metafields import metafield_endpoints
from suiro.sandbox.bigcommerce.reading import collection, listed
from suiro.sandbox.bigcommerce.records import Row
from suiro.sandbox.bigcommerce.views import WHEN, Include, Moments, Telling, View, blanks, spelled
from suiro.sandbox.bigcommerce.writing import (
    READ_ONLY,
    Rules,
    add,
    batch,
    created,
    crud,
    deleted,
    updated,
)

#: What lies under a product: kind, name in the path (none: it has no path of its own), fields beside the ids.
UNDER_PRODUCTS: Final[dict[str, tuple[str, dict[str, object]]]] = {
    "image": (
        "images",
        {
            "is_thumbnail": False,
            "sort_order": 0,
            "description": "",
            "date_modified": WHEN,
            **blanks("image_url url_zoom url_standard url_thumbnail url_tiny"),
        },
    ),
    "video": (
        "videos",
        {"title": "", "description": "", "sort_order": 0, "type": "youtube", "video_id": "", "length": ""},
    ),
    "custom_field": ("custom-fields", {"name": "", "value": ""}),
    "bulk_pricing_rule": (
        "bulk-pricing-rules",
        {"quantity_min": 0, "quantity_max": 0, "type": "percent", "amount": 0.0},
    ),
    "option": (
        "options",
        {"display_name": "", "type": "rectangles", "config": [], "sort_order": 0, "option_values": []},
    ),
    "modifier": (
        "modifiers",
        {
            "display_name": "",
            "name": "",
            "type": "text",
            "required": False,
            "sort_order": 0,
            "config": {},
            "option_values": [],
        },
    ),
    "review": (
        "reviews",
        {
            "title": "",
            "text": "",
            "status": "approved",
            "rating": 5,
            "email": "",
            "name": "",
            "date_reviewed": WHEN,
            "date_created": WHEN,
            "date_modified": WHEN,
        },
    ),
}
WITHOUT_PRODUCT: Final = frozenset({"custom_field", "bulk_pricing_rule", "review"})  #: product_id isn't told
WITHOUT_PATH: Final = frozenset({"option", "modifier"})  #: only with `include`; no document tells a path of theirs
COUNTED: Final = spelled("id id:min id:max id:greater id:less id:in id:not_in")
DEEP: Final = (*UNDER_PRODUCTS, "variant", "product_metafield")


def _under_product(kind: str) -> View:
    _, fields = UNDER_PRODUCTS[kind]
    ids = {"id": 0} if kind in WITHOUT_PRODUCT else {"id": 0, "product_id": 0}
    return View(kind=kind, fields=ids | fields, parent="product_id", moments=Moments.OFFSET, choosable=kind != "review")


def _price_variants(telling: Telling, rows: list[Row], told: list[dict[str, Any]]) -> None:
    """What a variant lacks comes from its product."""
    for row, record in zip(rows, told, strict=True):
        record["calculated_price"] = row["base_price"] if row.get("price") is None else row["price"]
        if "calculated_weight" in record:
            record["calculated_weight"] = row["base_weight"] if row.get("weight") is None else row["weight"]


VARIANTS = View(
    kind="variant",
    fields={
        "id": 0,
        "product_id": 0,
        "sku": "",
        "sku_id": None,
        "price": None,
        "calculated_price": 0.0,
        "sale_price": None,
        "retail_price": None,
        "cost_price": 0.0,
        "weight": None,
        "calculated_weight": 0.0,
        "width": None,
        "height": None,
        "depth": None,
        "is_free_shipping": False,
        "fixed_cost_shipping_price": None,
        "purchasing_disabled": False,
        **blanks("purchasing_disabled_message upc mpn gtin image_url"),
        "inventory_level": 0,
        "inventory_warning_level": 0,
        "bin_picking_number": "",
        "option_values": [],
    },
    parent="product_id",
    filters=frozenset({"id", "sku", "upc", "product_id:in"}),
    choosable=True,
    complete=_price_variants,
)
#: The list of all variants tells less of each.
ALL_VARIANTS = replace(
    VARIANTS,
    fields={
        name: default
        for name, default in VARIANTS.fields.items()
        if name not in ("mpn", "gtin", "image_url", "calculated_weight")
    },
)
SMALL: Final = {kind: _under_product(kind) for kind in UNDER_PRODUCTS}
PRODUCTS = View(
    kind="product",
    fields={
        "id": 0,
        "name": "",
        "type": "physical",
        "sku": "",
        "description": "",
        "weight": 0.0,
        "width": 0.0,
        "depth": 0.0,
        "height": 0.0,
        "price": 0.0,
        "cost_price": 0.0,
        "retail_price": 0.0,
        "sale_price": 0.0,
        "map_price": 0.0,
        "tax_class_id": 0,
        "product_tax_code": "",
        "calculated_price": 0.0,
        "categories": [],
        "brand_id": 0,
        "option_set_id": None,
        "option_set_display": "right",
        "inventory_level": 0,
        "inventory_warning_level": 0,
        "inventory_tracking": "none",
        "reviews_rating_sum": 0,
        "reviews_count": 0,
        "total_sold": 0,
        "fixed_cost_shipping_price": 0.0,
        "is_free_shipping": False,
        "is_visible": True,
        "is_featured": False,
        "related_products": [-1],
        "warranty": "",
        "bin_picking_number": "",
        "layout_file": "product.html",
        **blanks("upc mpn gtin"),
        "date_last_imported": WHEN,
        "search_keywords": "",
        "availability": "available",
        "availability_description": "",
        "gift_wrapping_options_type": "any",
        "gift_wrapping_options_list": [],
        "sort_order": 0,
        "condition": "New",
        "is_condition_shown": False,
        "order_quantity_minimum": 0,
        "order_quantity_maximum": 0,
        "page_title": "",
        "meta_keywords": [],
        "meta_description": "",
        "date_created": WHEN,
        "date_modified": WHEN,
        "view_count": 0,
        "preorder_release_date": WHEN,
        "preorder_message": "",
        "is_preorder_only": False,
        "is_price_hidden": False,
        "price_hidden_label": "",
        "custom_url": {},
        "base_variant_id": None,
        "open_graph_type": "product",
        "open_graph_title": "",
        "open_graph_description": "",
        "open_graph_use_meta_description": True,
        "open_graph_use_product_name": True,
        "open_graph_use_image": True,
    },
    moments=Moments.OFFSET,
    filters=COUNTED
    | spelled(
        "name sku sku:in mpn upc price weight condition brand_id date_modified date_modified:min "
        "date_modified:max date_last_imported date_last_imported:not date_last_imported:min "
        "date_last_imported:max is_visible is_featured is_free_shipping inventory_level "
        "inventory_level:in inventory_level:not_in inventory_level:min inventory_level:max "
        "inventory_level:greater inventory_level:less total_sold type categories categories:in keyword "
        "availability"
    ),
    lists=frozenset({"categories"}),
    expressions={
        "condition": "coalesce(json_extract(body, '$.condition'), 'New') COLLATE NOCASE",
        "keyword": "(json_extract(body, '$.name') || ' ' || json_extract(body, '$.sku'))",
    },
    sorts=spelled(
        "id name sku price date_modified date_last_imported inventory_level is_visible total_sold calculated_price"
    ),
    choosable=True,
    includes={
        "variants": Include(field="variants", view=VARIANTS),
        "images": Include(field="images", view=SMALL["image"]),
        "primary_image": Include(field="primary_image", view=SMALL["image"], single=True),
        "custom_fields": Include(field="custom_fields", view=SMALL["custom_field"]),
        "bulk_pricing_rules": Include(field="bulk_pricing_rules", view=SMALL["bulk_pricing_rule"]),
        "videos": Include(field="videos", view=SMALL["video"]),
        "options": Include(field="options", view=SMALL["option"]),
        "modifiers": Include(field="modifiers", view=SMALL["modifier"]),
        "reviews": Include(field="reviews", view=SMALL["review"]),
    },
)


def _locate(telling: Telling, rows: list[Row], told: list[dict[str, Any]]) -> None:
    """Stock, from the variants. What the two objects hold beyond the ids is unverified."""
    for row, record in zip(rows, told, strict=True):
        record["identity"] = {"sku": row["sku"], "variant_id": row["id"], "product_id": row["product_id"]}
        stock = {"available_to_sell": row["inventory_level"], "total_inventory_onhand": row["inventory_level"]}
        record["locations"] = [{"location_id": 1, **stock}]


INVENTORY = View(
    kind="variant",
    fields={"identity": {}, "locations": []},
    parent="product_id",
    filters=frozenset({"sku:in", "variant_id:in", "product_id:in"}),
    names={"variant_id": "id"},
    complete=_locate,
)


def _base_variant(call: Call, given: Row, row: Row) -> None:
    """A product always has a variant; the first one is its own."""
    shared = {"base_price": row["price"], "base_weight": row.get("weight", 0)}
    if call.method == "POST":
        given_variants = given.get("variants") or [{"sku": row.get("sku", "")}]
        variants = [add(VARIANT_RULES, call, {**one, "product_id": row["id"]}) for one in given_variants]
        row |= call.writer.change("product", row["id"], {"base_variant_id": variants[0]["id"]})
    for variant in call.records.children("variant", [row["id"]])[row["id"]]:
        call.writer.change("variant", variant["id"], shared)


def _priced(call: Call, given: Row, fields: Row, old: Row | None) -> Row:
    if "price" in fields:
        fields["calculated_price"] = fields["price"]
    return fields


def _of_product(call: Call, given: Row, fields: Row, old: Row | None) -> Row:
    if old is None:
        product = call.records.get("product", int(fields["product_id"])) or {}
        fields |= {"base_price": product.get("price", 0), "base_weight": product.get("weight", 0)}
    return fields


def _touch_product(call: Call, given: Row, row: Row) -> None:
    if call.settings.variant_bumps_product:
        now = call.seconds
        call.writer.change("product", row["product_id"], {"date_modified": now}, modified=now)


PRODUCT_RULES = Rules(
    view=PRODUCTS,
    noun="products",
    required=("name", "type", "weight", "price"),
    unique=("name",),
    taken=409,
    fixed=READ_ONLY | spelled("calculated_price base_variant_id reviews_count reviews_rating_sum total_sold"),
    children=DEEP,
    prepare=_priced,
    follow=_base_variant,
)
VARIANT_RULES = Rules(
    view=VARIANTS,
    noun="variants",
    fixed=READ_ONLY | {"calculated_price", "calculated_weight"},
    prepare=_of_product,
    follow=_touch_product,
)


def endpoints() -> list[Endpoint]:
    """The paths of this area."""
    products, area = "/v3/catalog/products", "products"
    variants = products + "/{product:int}/variants"
    paths = [
        *collection(products, PRODUCTS, area),
        *crud(products, PRODUCT_RULES, area, needs_filter=True),
        Endpoint(method="PUT", path=products, area=area, handle=batch(PRODUCT_RULES, partial=True)),
        *collection(variants, VARIANTS, area, under="product", above=PRODUCTS),
        Endpoint(
            method="POST", path=variants, area=area, handle=created(VARIANT_RULES, under="product", above=PRODUCTS)
        ),
        Endpoint(
            method="PUT",
            path=variants + "/{id:int}",
            area=area,
            handle=updated(VARIANT_RULES, under="product", above=PRODUCTS),
        ),
        Endpoint(
            method="DELETE",
            path=variants + "/{id:int}",
            area=area,
            handle=deleted(VARIANT_RULES, under="product", above=PRODUCTS),
        ),
        Endpoint(method="GET", path="/v3/catalog/variants", area=area, handle=listed(ALL_VARIANTS), paged=True),
        Endpoint(method="PUT", path="/v3/catalog/variants", area=area, handle=batch(VARIANT_RULES)),
        Endpoint(method="GET", path="/v3/inventory/items", area="inventory", handle=listed(INVENTORY), paged=True),
        *metafield_endpoints(products, PRODUCTS, area),
        *metafield_endpoints("/v3/catalog/variants", VARIANTS, area)[:1],
    ]
    for kind, (name, _) in UNDER_PRODUCTS.items():
        if kind not in WITHOUT_PATH:
            paths += collection(
                f"{products}/{{product:int}}/{name}", SMALL[kind], area, under="product", above=PRODUCTS
            )
    return paths
