"""Categories, as the two APIs tell them, and brands."""

from __future__ import annotations

from typing import Final

from suiro.sandbox.bigcommerce.answers import Endpoint
from suiro.sandbox.bigcommerce.catalog import COUNTED
from suiro.sandbox.bigcommerce.metafields import metafield_endpoints
from suiro.sandbox.bigcommerce.reading import collection, listed
from suiro.sandbox.bigcommerce.views import View, blanks, spelled
from suiro.sandbox.bigcommerce.writing import Rules, crud

CATEGORY_FIELDS: Final[dict[str, object]] = {
    "parent_id": 0,
    "name": "",
    "description": "",
    "views": 0,
    "sort_order": 0,
    "page_title": "",
    "meta_keywords": [],
    "meta_description": "",
    "layout_file": "category.html",
    "image_url": "",
    "is_visible": True,
    "search_keywords": "",
    "default_product_sort": "use_store_settings",
}
KEYWORD: Final = {"keyword": "json_extract(body, '$.name')"}
PARENTS: Final = {f"parent_id{end}" for end in ("", ":in", ":min", ":max", ":greater", ":less")}
TITLES: Final = spelled("name name:like page_title page_title:like is_visible keyword")
CATEGORIES = View(
    kind="category",
    fields={"id": 0} | CATEGORY_FIELDS | {"custom_url": {}},
    filters=COUNTED | PARENTS | TITLES,
    expressions=KEYWORD,
    sorts=frozenset({"name", "id", "parent_id", "sort_order"}),
    choosable=True,
)
TREE_CATEGORIES = View(
    kind="category",
    fields={"category_id": 0, "category_uuid": "", "tree_id": 1} | CATEGORY_FIELDS | {"url": {}},
    names={"category_id": "id", "category_uuid": "uuid", "url": "custom_url"},
    expressions=KEYWORD,
    filters=TITLES
    | {
        f"{name}:{end}" for name in ("category_uuid", "category_id", "tree_id", "parent_id") for end in ("in", "not_in")
    },
    choosable=True,
)
TREES = View(
    kind="tree", fields={"id": 0, "name": "", "channels": []}, filters=frozenset({"id:in"}), sorts=frozenset({"id"})
)
BRANDS = View(
    kind="brand",
    fields={
        "id": 0,
        "name": "",
        "page_title": "",
        "meta_keywords": [],
        **blanks("meta_description search_keywords image_url"),
        "custom_url": {},
    },
    filters=COUNTED | {"name", "name:like", "page_title"},
    sorts=frozenset({"name"}),
    choosable=True,
)


BRAND_RULES = Rules(view=BRANDS, noun="brands", required=("name",), unique=("name",), taken=409)

CATEGORY_RULES = Rules(view=CATEGORIES, noun="categories", required=("name",))


def endpoints() -> list[Endpoint]:
    """The paths of this area."""
    area = "products"
    return [
        *collection("/v3/catalog/categories", CATEGORIES, area),
        *crud("/v3/catalog/categories", CATEGORY_RULES, area, needs_filter=True),
        Endpoint(method="GET", path="/v3/catalog/trees", area=area, handle=listed(TREES), paged=True),
        Endpoint(
            method="GET", path="/v3/catalog/trees/categories", area=area, handle=listed(TREE_CATEGORIES), paged=True
        ),
        *collection("/v3/catalog/brands", BRANDS, area),
        *crud("/v3/catalog/brands", BRAND_RULES, area, needs_filter=True),
        *metafield_endpoints("/v3/catalog/categories", CATEGORIES, area),
        *metafield_endpoints("/v3/catalog/brands", BRANDS, area),
    ]
