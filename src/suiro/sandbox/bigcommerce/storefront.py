"""The store itself, its channels, pages and webhooks, and settings of carts."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from starlette.responses import Response

from suiro.sandbox.bigcommerce.answers import Call, Endpoint, Handler, as_json, whole
from suiro.sandbox.bigcommerce.metafields import metafield_endpoints
from suiro.sandbox.bigcommerce.reading import collection, existing, listed
from suiro.sandbox.bigcommerce.records import Row
from suiro.sandbox.bigcommerce.views import WHEN, Include, Moments, Telling, View, blanks, spelled
from suiro.sandbox.bigcommerce.writing import Rules, batch, created, crud, updated

CURRENCIES: Final = View(
    kind="currency_assignment",
    fields={"channel_id": 0, "enabled_currencies": [], "default_currency": ""},
    parent="channel_id",
)
CHANNELS: Final = View(
    kind="channel",
    fields={
        "id": 0,
        "external_id": "",
        "is_listable_from_ui": True,
        "is_enabled": True,
        "is_visible": True,
        "status": "active",
        "name": "",
        "type": "storefront",
        "platform": "bigcommerce",
        "date_created": WHEN,
        "date_modified": WHEN,
        "icon_url": "",
    },
    filters=frozenset({f"date_{when}{end}" for when in ("created", "modified") for end in ("", ":min", ":max")})
    | {"status:in", "type:in", "platform:in"},
    includes={"currencies": Include(field="currencies", view=CURRENCIES, single=True)},
)


def _without_body(telling: Telling, rows: list[Row], told: list[dict[str, Any]]) -> None:
    for row, record in zip(rows, told, strict=True):
        if "body" in telling.include:
            record["body"] = row.get("body", "")


PAGES: Final = View(
    kind="page",
    fields={
        "id": 0,
        "channel_id": 1,
        "name": "",
        "is_visible": True,
        "parent_id": 0,
        "sort_order": 0,
        "type": "page",
        "is_homepage": False,
        "is_customers_only": False,
        "url": "",
        "meta_title": None,
        "meta_keywords": None,
        "meta_description": None,
        **blanks("search_keywords email contact_fields"),
        "content_type": "text/html",
        "link": "",
    },
    filters=frozenset({"channel_id", "id:in", "name", "name:like"}),
    complete=_without_body,
)
HOOKS: Final = View(
    kind="hook",
    fields={
        "id": 0,
        **blanks("client_id store_hash scope destination"),
        "headers": {},
        "is_active": True,
        "created_at": WHEN,
        "updated_at": WHEN,
    },
    moments=Moments.SECONDS,
    filters=frozenset({"is_active", "scope", "destination"}),
)
STORE: Final[dict[str, object]] = {
    "account_uuid": "11111111-2222-4333-8444-555555555555",
    "domain": "store.example.com",
    "secure_url": "https://store.example.com",
    "control_panel_base_url": "https://store.example.com/manage",
    "status": "live",
    "name": "Suiro Sandbox Store",
    "first_name": "Sandbox",
    "last_name": "Owner",
    "address": "1 Main Street",
    "country": "Japan",
    "country_code": "JP",
    "infrastructure_region": "local",
    "phone": "",
    "admin_email": "owner@example.com",
    "order_email": "orders@example.com",
    "favicon_url": "",
    "language": "en",
    "currency": "USD",
    "currency_symbol": "$",
    "decimal_separator": ".",
    "thousands_separator": ",",
    "decimal_places": 2,
    "currency_symbol_location": "left",
    "weight_units": "KGS",
    "dimension_units": "Centimeters",
    "dimension_decimal_places": 2,
    "dimension_decimal_token": ".",
    "dimension_thousands_token": ",",
    "plan_name": "Sandbox",
    "plan_level": "Sandbox",
    "plan_is_trial": False,
    "industry": "",
    "logo": [],
    "is_price_entered_with_tax": False,
    "store_id": 1,
    "default_channel_id": 1,
    "default_site_id": 1,
    "active_comparison_modules": [],
    "features": {"stencil_enabled": True, "checkout_type": "optimized", "multi_storefront_enabled": True},
}
CART_SETTINGS: Final = {"allow_purchasing": True}
ABANDONED_CARTS: Final = {
    "enable_notification": False,
    "email_customer_until_cart_is_recovered": True,
    "marketing_emails_require_customer_consent": False,
    "email_merchant_when_cart_is_converted": False,
    "email_merchant_when_cart_is_abandoned": False,
    "merchant_email_address": None,
    "merchant_abandoned_cart_email_frequency_type": "individual",
    "merchant_abandoned_cart_digest_email_frequency": 1,
}


def zone_block(zone: ZoneInfo, year: int) -> dict[str, Any]:
    """The store's `timezone`: seconds from UTC without and with daylight saving time."""
    seasons = [datetime(year, month, 1, tzinfo=zone).utcoffset() or timedelta() for month in (1, 7)]
    return {
        "name": zone.key,
        "raw_offset": int(min(seasons).total_seconds()),
        "dst_offset": int(max(seasons).total_seconds()),
        "date_format": {"display": "M jS Y", "export": "M jS Y", "extended_display": "M jS Y @ g:i A"},
    }


def _store(call: Call) -> Response:
    zone = zone_block(call.settings.zone(), call.now.year)
    return as_json({"id": call.root.rpartition("/")[2], **STORE, "timezone": zone})


def _time(call: Call) -> Response:
    return as_json({"time": call.seconds})


def _told(fixed: object) -> Handler:
    return lambda call: whole(call, fixed)


def _hooked(call: Call, given: Row, fields: Row, old: Row | None) -> Row:
    fields |= {"updated_at": call.seconds}
    if old is None:
        fields |= {"created_at": call.seconds, "client_id": call.client_id}
        fields |= {"store_hash": call.root.rpartition("/")[2]}
    return fields


HOOK_RULES: Final = Rules(
    view=HOOKS,
    noun="webhooks",
    required=("scope", "destination"),
    fixed=spelled("id client_id store_hash created_at updated_at"),
    prepare=_hooked,
)
PAGE_RULES: Final = Rules(view=PAGES, noun="pages", required=("name", "type"))
CHANNEL_RULES: Final = Rules(view=CHANNELS, noun="channels", required=("name", "type", "platform"))


def _unhooked(call: Call) -> Response:
    row = existing(HOOKS, call)
    call.writer.delete("hook", [row["id"]])
    return whole(call, HOOKS.tell([row], call.telling())[0])


def endpoints() -> list[Endpoint]:
    """The paths of this area."""
    hooks, pages, channels, carts = "/v3/hooks", "/v3/content/pages", "/v3/channels", "/v3/abandoned-carts/settings"
    return [
        Endpoint(method="GET", path="/v2/store", area="information", handle=_store),
        Endpoint(method="GET", path="/v2/time", area="any", handle=_time),
        *collection(hooks, HOOKS, "any"),
        Endpoint(method="POST", path=hooks, area="any", handle=created(HOOK_RULES)),
        Endpoint(method="PUT", path=hooks + "/{id:int}", area="any", handle=updated(HOOK_RULES)),
        Endpoint(method="DELETE", path=hooks + "/{id:int}", area="any", handle=_unhooked),
        *collection(pages, PAGES, "content"),
        *crud(pages, PAGE_RULES, "content", status=201, needs_filter=True),
        Endpoint(method="PUT", path=pages, area="content", handle=batch(PAGE_RULES)),
        *collection(channels, CHANNELS, "channels"),
        Endpoint(method="POST", path=channels, area="channels", handle=created(CHANNEL_RULES)),
        Endpoint(method="PUT", path=channels + "/{id:int}", area="channels", handle=updated(CHANNEL_RULES)),
        Endpoint(
            method="GET",
            path=channels + "/currency-assignments",
            area="channels",
            handle=listed(CURRENCIES),
        ),
        Endpoint(method="GET", path=carts, area="carts", handle=_told(ABANDONED_CARTS)),
        Endpoint(method="GET", path="/v3/carts/settings", area="carts", handle=_told(CART_SETTINGS)),
        *metafield_endpoints(channels, CHANNELS, "channels"),
    ]
