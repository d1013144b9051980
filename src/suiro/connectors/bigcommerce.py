"""BigCommerce as a source: one store's customers, orders, catalog, marketing and settings, over its v2 and v3 APIs.

After the vendor's reference of both APIs: v3 answers in an envelope with numbered pages and dates in ISO 8601; v2 with
bare arrays, 204 where there is nothing, amounts as text and dates as mail has them. A store's apps share one quota.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final, Literal

from pydantic import Field, SecretStr

from suiro.model.errors import RateLimited
from suiro.spi.connector import Connector, ConnectorConfig
from suiro.toolkit.http.answers import Answers, Meaning, QuotaHeaders, Reaction, WaitHeader
from suiro.toolkit.http.auth import ApiKey
from suiro.toolkit.http.client import HttpClient
from suiro.toolkit.http.pages import Keyset, PageNumbers, Whole
from suiro.toolkit.http.records import Times
from suiro.toolkit.http.resources import Cursor, Parent, Resource, Written, columns
from suiro.toolkit.http.rest import RestSource


class BigCommerceConfig(ConnectorConfig):
    """One store, and a token of an API account of it.

    "cdata" in a field's `json_schema_extra`: the properties of a connection string in CData's style that fill it.
    """

    store_id: str = Field(
        title="Store ID",
        description="The store's hash: what stands between stores/ and /v3 in the API path.",
        pattern=r"^[A-Za-z0-9_-]+$",
        json_schema_extra={"uri": "host", "cdata": ["StoreId"]},
    )
    access_token: SecretStr = Field(
        title="Access token",
        description="Token of an API account of the store; what it may not read is hidden.",
        json_schema_extra={"uri": "password", "cdata": ["OAuthAccessToken"]},
    )
    initiate_oauth: Literal["OFF", "REFRESH", "GETANDREFRESH"] = Field(
        "OFF",
        title="Initiate OAuth",
        description="Taken for the sake of existing connection strings; tokens of a store don't expire.",
        json_schema_extra={
            "cdata": ["InitiateOAuth"],
            "cdata_values": {"off": "OFF", "refresh": "REFRESH", "getandrefresh": "GETANDREFRESH"},
        },
    )
    base_url: str = Field(
        "https://api.bigcommerce.com",
        title="Address",
        description="Where the API is; another one for a sandbox.",
    )

    def identity(self) -> str:
        """The store."""
        return f"bigcommerce:{self.store_id}"


_RESET: Final = WaitHeader(name="X-Rate-Limit-Time-Reset-Ms", unit=0.001)
ANSWERS: Final = Answers(
    meanings=(Meaning(status=frozenset({429, 509}), reaction=Reaction.PAUSE, error=RateLimited),),
    pauses=(_RESET, WaitHeader(name="X-Retry-After")),
    quota=(QuotaHeaders(left="X-Rate-Limit-Requests-Left", resets=_RESET),),
)

SIZE: Final = 250  #: records in a page, the most there may be
_META: Final = ("meta", "pagination")
V3: Final = PageNumbers(size=SIZE, pages=(*_META, "total_pages"), total=(*_META, "total"))
V2: Final = PageNumbers(size=SIZE, short_ends=False)
V2_SMALL: Final = PageNumbers(size=SIZE)  #: for lists of few rows, a page that isn't full is taken for the last one

# The permissions as the control panel calls them when a token is made (unverified names).
CUSTOMERS, ORDERS, TRANSACTIONS, PRODUCTS = "Customers", "Orders", "Order Transactions", "Products"
CONTENT, INFORMATION, MARKETING = "Content", "Information & Settings", "Marketing"
CHANNELS, INVENTORY, CARTS, ANY = "Channel Settings", "Store Inventory", "Carts", ""


def _v3(name: str, path: str, described: str, scope: str, **more: Any) -> Resource:
    """A resource of v3."""
    plain: dict[str, Any] = {"primary_key": ("id",), "pages": V3, "place": ("data",), "scope": scope}
    return Resource(name=name, path=f"/v3{path}", schema=columns(described), **{**plain, **more})


def _v2(name: str, path: str, described: str, scope: str, **more: Any) -> Resource:
    """A resource of v2."""
    plain: dict[str, Any] = {"primary_key": ("id",), "pages": V2, "scope": scope}
    schema = columns(described)
    return Resource(
        name=name, path=f"/v2{path}", schema=schema, times=Times.RFC, blank_is_null=True, **{**plain, **more}
    )


def _modified(order: Mapping[str, str] | None = None) -> Cursor:
    """v3's filter on the time of the last change: from that second on."""
    return Cursor(field="date_modified", param="date_modified:min", order=order, hold_back=timedelta(minutes=5))


def _of_order(name: str, path: str, described: str, **more: Any) -> Resource:
    """What belongs to orders: asked for order by order, and again when the order changes."""
    parent = Parent(stream="orders", key="id", column="order_id", cursor="order_date_modified")
    plain = {"pages": V2_SMALL, "parent": parent, "empty": frozenset({404})}
    described = f"order_id:int order_date_modified:time {described}"
    return _v2(name, f"/orders/{{order_id}}{path}", described, ORDERS, **{**plain, **more})


def _of_product(name: str, path: str, described: str, **more: Any) -> Resource:
    """What belongs to products. A change of it need not change the product's time, so all of it is read each time."""
    parent = Parent(stream="products", key="id", column="product_id")
    plain = {"parent": parent, "empty": frozenset({404})}
    described = f"product_id:int {described}"
    return _v3(name, f"/catalog/products/{{product_id}}/{path}", described, PRODUCTS, **{**plain, **more})


def _metafields(name: str, path: str, scope: str) -> Resource:
    described = (
        "id:int resource_id:int resource_type namespace key value description permission_set owner_client_id "
        "date_created:time date_modified:time"
    )
    return _v3(name, f"{path}/metafields", described, scope, cursor=_modified())


_ORDERS: Final = _v2(
    "orders",
    "/orders",
    "id:int customer_id:int date_created:time date_modified:time date_shipped:time status_id:int status "
    "is_deleted:bool subtotal_ex_tax:number subtotal_inc_tax:number subtotal_tax:number "
    "base_shipping_cost:number shipping_cost_ex_tax:number shipping_cost_inc_tax:number shipping_cost_tax:number "
    "shipping_cost_tax_class_id:int base_handling_cost:number handling_cost_ex_tax:number "
    "handling_cost_inc_tax:number handling_cost_tax:number handling_cost_tax_class_id:int base_wrapping_cost:number "
    "wrapping_cost_ex_tax:number wrapping_cost_inc_tax:number "
    "wrapping_cost_tax:number wrapping_cost_tax_class_id:int total_ex_tax:number total_inc_tax:number total_tax:number "
    "discount_amount:number coupon_discount:number store_credit_amount:number gift_certificate_amount:number "
    "refunded_amount:number items_total:int items_shipped:int shipping_address_count:int order_is_digital:bool "
    "is_email_opt_in:bool is_tax_inclusive_pricing:bool payment_method payment_provider_id payment_status cart_id "
    "currency_id:int currency_code currency_exchange_rate:rate default_currency_id:int default_currency_code "
    "store_default_currency_code store_default_to_transactional_exchange_rate:rate channel_id:int order_source "
    "external_id external_order_id external_source external_merchant_id ebay_order_id tax_provider_id customer_locale "
    "customer_message staff_notes ip_address ip_address_v6 geoip_country geoip_country_iso2 billing_address:json "
    "products:json shipping_addresses:json coupons:json consignments:json fees:json",
    ORDERS,
    pages=Keyset(column="id", param="min_id", size=SIZE, order={"sort": "id:asc"}),
    cursor=Cursor(
        field="date_modified",
        param="min_date_modified",
        written=Written.RFC,
        order={"sort": "date_modified:asc"},
        pages=V2,
        nulls=True,
        hold_back=timedelta(minutes=5),
    ),
    deleted="is_deleted",
    notes=(
        "Orders are archived, not deleted: is_deleted tells. In a log, or a comparison of keys, they count as deleted.",
    ),
)

_OF_ORDERS: Final = (
    _of_order(
        "order_products",
        "/products",
        "id:int product_id:int variant_id:int order_address_id:int order_pickup_method_id:int name name_customer "
        "name_merchant sku upc type quantity:number base_price:number price_ex_tax:number price_inc_tax:number "
        "price_tax:number base_total:number total_ex_tax:number total_inc_tax:number total_tax:number "
        "discounted_total_inc_tax:number base_cost_price:number cost_price_ex_tax:number cost_price_inc_tax:number "
        "cost_price_tax:number weight:number width:number height:number depth:number is_refunded:bool "
        "quantity_refunded:number refund_amount:number return_id:int wrapping_id:int wrapping_name wrapping_message "
        "base_wrapping_cost:number wrapping_cost_ex_tax:number wrapping_cost_inc_tax:number wrapping_cost_tax:number "
        "quantity_shipped:number event_name event_date fixed_shipping_cost:number ebay_item_id ebay_transaction_id "
        "option_set_id:int parent_order_product_id:int is_bundled_product:bool bin_picking_number external_id "
        "fulfillment_source brand gift_certificate_id:int applied_discounts:json product_options:json "
        "configurable_fields:json",
    ),
    _of_order(
        "order_shipping_addresses",
        "/shipping_addresses",
        "id:int first_name last_name company street_1 street_2 city state zip country country_iso2 phone email "
        "items_total:int items_shipped:int shipping_method base_cost:number cost_ex_tax:number cost_inc_tax:number "
        "cost_tax:number cost_tax_class_id:int base_handling_cost:number handling_cost_ex_tax:number "
        "handling_cost_inc_tax:number handling_cost_tax:number handling_cost_tax_class_id:int shipping_zone_id:int "
        "shipping_zone_name form_fields:json shipping_quotes:json",
    ),
    _of_order("order_coupons", "/coupons", "id:int coupon_id:int code type:int amount:number discount:number"),
    _of_order(
        "order_shipments",
        "/shipments",
        "id:int customer_id:int order_address_id:int date_created:time tracking_number tracking_carrier tracking_link "
        "generated_tracking_link merchant_shipping_cost:number shipping_method shipping_provider "
        "shipping_provider_display_name comments billing_address:json shipping_address:json items:json",
    ),
    _of_order(
        "order_taxes",
        "/taxes",
        "id:int order_address_id:int order_product_id order_pickup_method_id:int tax_rate_id:int sales_tax_id "
        "tax_class_id:int name class rate:rate priority:int priority_amount:number line_amount:number line_item_type",
    ),
    _of_order(
        "order_messages",
        "/messages",
        "id:int staff_id:int customer_id:int type subject message status is_flagged:bool date_created:time "
        "customer:json",
    ),
    _of_order(
        "order_fees",
        "/fees",
        "id:int type display_name_customer display_name_merchant source base_cost:number cost_ex_tax:number "
        "cost_inc_tax:number cost_tax:number tax_class_id:int",
        pages=Whole(),
    ),
    replace(
        _v3(
            "transactions",
            "/orders/{order_id}/transactions",
            "order_id:int order_date_modified:time id:int event method amount:number currency gateway "
            "gateway_transaction_id status test:bool fraud_review:bool reference_transaction_id:int "
            "payment_method_id payment_instrument_token provider_instrument_token provider_customer_id "
            "date_created:time offline:json custom:json avs_result:json cvv_result:json credit_card:json "
            "gift_certificate:json store_credit:json custom_provider_field_result:json",
            TRANSACTIONS,
            pages=Whole(),
            empty=frozenset({404}),
        ),
        parent=Parent(stream="orders", key="id", column="order_id", cursor="order_date_modified"),
    ),
    _v3(
        "refunds",
        "/orders/payment_actions/refunds",
        "id:int order_id:int user_id:int created:time reason total_amount:number total_tax:number "
        "uses_merchant_override_values:bool items:json payments:json",
        ORDERS,
    ),
    _v2(
        "order_statuses",
        "/order_statuses",
        "id:int name system_label custom_label system_description",
        ORDERS,
        pages=Whole(),
    ),
    _metafields("order_metafields", "/orders", ORDERS),
)

_CUSTOMERS: Final = (
    _v3(
        "customers",
        "/customers",
        "id:int email first_name last_name company phone customer_group_id:int registration_ip_address notes "
        "tax_exempt_category date_created:time date_modified:time address_count:int attribute_count:int "
        "accepts_product_review_abandoned_cart_emails:bool origin_channel_id:int channel_ids:json authentication:json "
        "addresses:json attributes:json form_fields:json store_credit_amounts:json",
        CUSTOMERS,
        params={"include": "addresses,storecredit,attributes,formfields"},
        cursor=_modified({"sort": "date_modified:asc"}),
    ),
    _v3(
        "customer_addresses",
        "/customers/addresses",
        "id:int customer_id:int first_name last_name company address1 address2 city state_or_province postal_code "
        "country country_code phone address_type form_fields:json",
        CUSTOMERS,
        params={"include": "formfields"},
    ),
    _v3(
        "customer_attributes",
        "/customers/attributes",
        "id:int name type date_created:time date_modified:time",
        CUSTOMERS,
        cursor=_modified(),
    ),
    _v3(
        "customer_attribute_values",
        "/customers/attribute-values",
        "id:int attribute_id:int customer_id:int attribute_value date_created:time date_modified:time",
        CUSTOMERS,
        cursor=_modified(),
    ),
    _v3(
        "customer_form_field_values",
        "/customers/form-field-values",
        "customer_id:int address_id:int name value:json",
        CUSTOMERS,
        primary_key=(),
    ),
    _v2(
        "customer_groups",
        "/customer_groups",
        "id:int name is_default:bool is_group_for_guests:bool "
        "category_access:json discount_rules:json date_created:time date_modified:time",
        CUSTOMERS,
    ),
    _metafields("customer_metafields", "/customers", CUSTOMERS),
    _v3(
        "subscribers",
        "/customers/subscribers",
        "id:int email first_name last_name source order_id:int channel_id:int consents:json date_created:time "
        "date_modified:time",
        CUSTOMERS,
        cursor=_modified(),
    ),
)

_PRODUCTS: Final = _v3(
    "products",
    "/catalog/products",
    "id:int name type sku description weight:number width:number depth:number height:number price:number "
    "cost_price:number retail_price:number sale_price:number map_price:number calculated_price:number tax_class_id:int "
    "product_tax_code categories:json channels:json brand_id:int inventory_level:int inventory_warning_level:int "
    "inventory_tracking fixed_cost_shipping_price:number is_free_shipping:bool is_visible:bool is_featured:bool "
    "related_products:json warranty bin_picking_number layout_file upc gtin mpn search_keywords availability "
    "availability_description gift_wrapping_options_type gift_wrapping_options_list:json sort_order:int condition "
    "is_condition_shown:bool order_quantity_minimum:int order_quantity_maximum:int page_title meta_keywords:json "
    "meta_description view_count:int preorder_release_date:time preorder_message is_preorder_only:bool "
    "is_price_hidden:bool price_hidden_label custom_url:json open_graph_type open_graph_title open_graph_description "
    "open_graph_use_meta_description:bool open_graph_use_product_name:bool open_graph_use_image:bool "
    "date_last_imported reviews_rating_sum:int reviews_count:int total_sold:int base_variant_id:int option_set_id:int "
    "option_set_display date_created:time date_modified:time custom_fields:json bulk_pricing_rules:json images:json "
    "primary_image:json videos:json options:json modifiers:json parent_relations:json",
    PRODUCTS,
    params={
        "include": "custom_fields,bulk_pricing_rules,images,primary_image,videos,options,modifiers,channels,"
        "parent_relations"
    },
    pages=Keyset(
        column="id",
        param="id:greater",
        size=SIZE,
        order={"sort": "id", "direction": "asc"},
        pages=(*_META, "total_pages"),
    ),
    cursor=replace(_modified({"sort": "date_modified", "direction": "asc"}), pages=V3),
    keys={"include_fields": "id", "include": ""},
)

_CATALOG: Final = (
    _v3(
        "variants",
        "/catalog/variants",
        "id:int product_id:int sku sku_id:int price:number calculated_price:number sale_price:number "
        "retail_price:number cost_price:number weight:number width:number height:number depth:number "
        "is_free_shipping:bool fixed_cost_shipping_price:number purchasing_disabled:bool purchasing_disabled_message "
        "upc inventory_level:int inventory_warning_level:int bin_picking_number option_values:json",
        PRODUCTS,
        notes=("A variant has no time of its last change, and its product's need not move with it: read it in full.",),
    ),
    _of_product(
        "product_images",
        "images",
        "id:int is_thumbnail:bool sort_order:int description image_url url_zoom url_standard url_thumbnail url_tiny "
        "date_modified:time",
    ),
    _of_product("product_videos", "videos", "id:int title description sort_order:int type video_id length"),
    _of_product("product_custom_fields", "custom-fields", "id:int name value"),
    _of_product(
        "product_bulk_pricing_rules",
        "bulk-pricing-rules",
        "id:int quantity_min:int quantity_max:int type amount:number",
    ),
    _of_product(
        "product_reviews",
        "reviews",
        "id:int title text status rating:int name email date_reviewed:time date_created:time date_modified:time",
    ),
    _metafields("product_metafields", "/catalog/products", PRODUCTS),
    _metafields("variant_metafields", "/catalog/variants", PRODUCTS),
    _v3(
        "categories",
        "/catalog/categories",
        "id:int parent_id:int name description views:int sort_order:int page_title meta_keywords:json meta_description "
        "layout_file image_url is_visible:bool search_keywords default_product_sort custom_url:json",
        PRODUCTS,
        pages=Keyset(column="id", param="id:greater", size=SIZE, order={"sort": "id"}, pages=(*_META, "total_pages")),
    ),
    _v3("category_trees", "/catalog/trees", "id:int name channels:json", PRODUCTS, pages=Whole()),
    _v3(
        "tree_categories",
        "/catalog/trees/categories",
        "category_id:int category_uuid tree_id:int parent_id:int name description views:int sort_order:int page_title "
        "meta_keywords:json meta_description layout_file image_url is_visible:bool search_keywords "
        "default_product_sort url:json",
        PRODUCTS,
        primary_key=("category_id",),
    ),
    _metafields("category_metafields", "/catalog/categories", PRODUCTS),
    _v3(
        "brands",
        "/catalog/brands",
        "id:int name page_title meta_keywords:json meta_description search_keywords image_url custom_url:json",
        PRODUCTS,
    ),
    _metafields("brand_metafields", "/catalog/brands", PRODUCTS),
    _v3("inventory_items", "/inventory/items", "identity:json locations:json", INVENTORY, primary_key=()),
    _v3(
        "price_lists",
        "/pricelists",
        "id:int name active:bool date_created:time date_modified:time",
        PRODUCTS,
        cursor=_modified(),
    ),
    _v3(
        "price_list_records",
        "/pricelists/{price_list_id}/records",
        "price_list_id:int variant_id:int currency product_id:int sku price:number sale_price:number "
        "retail_price:number map_price:number calculated_price:number date_created:time date_modified:time "
        "bulk_pricing_tiers:json",
        PRODUCTS,
        primary_key=("price_list_id", "variant_id", "currency"),
        params={"include": "bulk_pricing_tiers,sku"},
        parent=Parent(stream="price_lists", key="id", column="price_list_id"),
        empty=frozenset({404}),
    ),
    _v3(
        "price_list_assignments",
        "/pricelists/assignments",
        "id:int price_list_id:int customer_group_id:int channel_id:int",
        PRODUCTS,
    ),
)

_OTHERS: Final = (
    _v2(
        "coupons",
        "/coupons",
        "id:int code name type amount:number min_purchase:number enabled:bool num_uses:int max_uses:int "
        "max_uses_per_customer:int date_created:time expires:time applies_to:json restricted_to:json "
        "shipping_methods:json",
        MARKETING,
    ),
    _v2(
        "gift_certificates",
        "/gift_certificates",
        "id:int code customer_id:int order_id:int amount:number balance:number currency_code status to_name to_email "
        "from_name from_email template message purchase_date:time expiry_date:time",
        MARKETING,
        pages=Keyset(column="id", param="min_id", size=SIZE, order={"sort": "id", "direction": "asc"}),
    ),
    _v2(
        "banners",
        "/banners",
        "id:int name content page location date_type date_created date_from date_to visible item_id",
        MARKETING,
    ),
    _v3(
        "promotions",
        "/promotions",
        "id:int name display_name redemption_type status start_date end_date current_uses:int max_uses:int stop:bool "
        "can_be_used_with_other_promotions:bool coupon_overrides_other_promotions:bool "
        "coupon_overrides_automatic_when_offering_higher_discounts:bool coupon_type currency_code channels:json "
        "customer:json rules:json notifications:json shipping_address:json schedule:json created_from:json codes:json "
        "multiple_codes:json",
        MARKETING,
        params={"sort": "id", "direction": "asc"},
    ),
    _v3(
        "promotion_codes",
        "/promotions/{promotion_id}/codes",
        "promotion_id:int id:int code current_uses:int max_uses:int max_uses_per_customer:int created:time",
        MARKETING,
        parent=Parent(stream="promotions", key="id", column="promotion_id"),
        empty=frozenset({404}),
    ),
    _v3(
        "channels",
        "/channels",
        "id:int external_id name type platform status is_listable_from_ui:bool is_enabled:bool is_visible:bool "
        "icon_url date_created:time date_modified:time",
        CHANNELS,
        cursor=_modified(),
    ),
    _v3(
        "channel_currency_assignments",
        "/channels/currency-assignments",
        "channel_id:int default_currency enabled_currencies:json",
        CHANNELS,
        primary_key=("channel_id",),
        pages=Whole(),
    ),
    _metafields("channel_metafields", "/channels", CHANNELS),
    _v3(
        "pages",
        "/content/pages",
        "id:int channel_id:int name is_visible:bool parent_id:int sort_order:int type is_homepage:bool "
        "is_customers_only:bool url meta_title meta_keywords meta_description search_keywords email contact_fields "
        "body content_type link",
        CONTENT,
        params={"include": "body"},
    ),
    _v2(
        "store",
        "/store",
        "id account_uuid domain secure_url control_panel_base_url status name first_name last_name address country "
        "country_code infrastructure_region phone admin_email order_email favicon_url timezone:json language currency "
        "currency_symbol currency_symbol_location decimal_separator thousands_separator decimal_places:int "
        "weight_units dimension_units dimension_decimal_places:int dimension_decimal_token dimension_thousands_token "
        "plan_name plan_level plan_is_trial:bool industry logo:json is_price_entered_with_tax:bool store_id:int "
        "default_channel_id:int default_site_id:int active_comparison_modules:json features:json",
        INFORMATION,
        pages=Whole(),
    ),
    _v3(
        "abandoned_cart_settings",
        "/abandoned-carts/settings",
        "enable_notification:bool email_customer_until_cart_is_recovered:bool "
        "marketing_emails_require_customer_consent:bool email_merchant_when_cart_is_converted:bool "
        "email_merchant_when_cart_is_abandoned:bool merchant_email_address "
        "merchant_abandoned_cart_email_frequency_type merchant_abandoned_cart_digest_email_frequency:int",
        CARTS,
        primary_key=(),
        pages=Whole(),
    ),
    _v3(
        "webhooks",
        "/hooks",
        "id:int client_id store_hash scope destination headers:json is_active:bool created_at:int updated_at:int",
        ANY,
    ),
)

RESOURCES: Final = (_ORDERS, *_OF_ORDERS, *_CUSTOMERS, _PRODUCTS, *_CATALOG, *_OTHERS)


class BigCommerceSource(RestSource[BigCommerceConfig]):
    """Reads one store."""

    def resources(self) -> Sequence[Resource]:
        """The streams."""
        return RESOURCES

    def connect(self) -> HttpClient:
        """A client of the store, whose quota all apps of the store share."""
        config = self.config
        return HttpClient(
            self.context,
            base_url=f"{config.base_url.rstrip('/')}/stores/{config.store_id}",
            auth=ApiKey(config.access_token.get_secret_value(), header="X-Auth-Token"),
            account=config.identity(),
            answers=ANSWERS,
        )


connector = Connector(
    name="bigcommerce",
    title="BigCommerce",
    config=BigCommerceConfig,
    schemes=("bigcommerce",),
    source=BigCommerceSource,
)
