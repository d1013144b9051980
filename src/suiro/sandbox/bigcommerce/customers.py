"""Customers, what belongs to them, their groups, and subscribers."""

from __future__ import annotations

from typing import Any, Final

from starlette.responses import Response

from suiro.sandbox.bigcommerce.answers import Call, Endpoint, Refused, as_json
from suiro.sandbox.bigcommerce.metafields import metafield_endpoints
from suiro.sandbox.bigcommerce.reading import Under, collection, listed
from suiro.sandbox.bigcommerce.records import Row
from suiro.sandbox.bigcommerce.views import WHEN, Include, Moments, Telling, View, blanks, link, spelled
from suiro.sandbox.bigcommerce.writing import (
    READ_ONLY,
    Rules,
    add,
    batches,
    change,
    created,
    crud,
    deleted,
    deleted_all,
    updated,
)

CREATED: Final = frozenset({"date_created", "date_created:min", "date_created:max"})
MODIFIED: Final = frozenset({"date_modified", "date_modified:min", "date_modified:max"})
NAME: Final = "(json_extract(body, '$.first_name') || ' ' || json_extract(body, '$.last_name'))"
EMAIL: Final = "json_extract(body, '$.email') COLLATE NOCASE"  # without regard to case: unverified
UNDER_CUSTOMERS: Final = (
    "customer_address",
    "customer_attribute_value",
    "customer_form_field",
    "customer_credit",
    "customer_metafield",
)

FORM_FIELDS = View(
    kind="customer_form_field",
    fields={"name": "", "value": None, "customer_id": 0},
    parent="customer_id",
    filters=frozenset({"customer_id", "field_name"}),
    expressions={"field_name": "json_extract(body, '$.name')"},
    cursor=True,
)
ADDRESS_FORM_FIELDS = View(
    kind="address_form_field", fields={"name": "", "value": None, "address_id": 0}, parent="address_id"
)
CREDITS = View(kind="customer_credit", fields={"amount": 0.0})
ADDRESSES = View(
    kind="customer_address",
    fields={
        "id": 0,
        "customer_id": 0,
        "first_name": "",
        "last_name": "",
        "company": "",
        "address1": "",
        "address2": "",
        "city": "",
        "state_or_province": "",
        "postal_code": "",
        "country": "",
        "country_code": "",
        "phone": "",
        "address_type": "residential",
    },
    parent="customer_id",
    filters=frozenset({"company:in", "name:in", "customer_id:in", "id:in"}),
    expressions={"name": NAME},
    includes={"formfields": Include(field="form_fields", view=ADDRESS_FORM_FIELDS)},
)
ATTRIBUTES = View(
    kind="customer_attribute",
    fields={"id": 0, "name": "", "type": "string", "date_modified": WHEN, "date_created": WHEN},
    filters=CREATED | MODIFIED | {"name", "name:like", "type"},
)
ATTRIBUTE_VALUES = View(
    kind="customer_attribute_value",
    fields={
        "id": 0,
        "attribute_id": 0,
        "attribute_value": "",
        "customer_id": 0,
        "date_modified": WHEN,
        "date_created": WHEN,
    },
    parent="customer_id",
    filters=CREATED | MODIFIED | {"customer_id:in", "attribute_id:in", "name"},
    expressions={
        "name": "(SELECT json_extract(a.body, '$.name') FROM record AS a WHERE a.kind = 'customer_attribute'"
        " AND a.id = json_extract(record.body, '$.attribute_id'))"
    },
)


def _count_below(telling: Telling, rows: list[Row], told: list[dict[str, Any]]) -> None:
    ids = [row["id"] for row in rows]
    addresses = telling.records.numbers("customer_address", ids)
    values = telling.records.numbers("customer_attribute_value", ids)
    for id, record in zip(ids, told, strict=True):
        record["address_count"] = addresses.get(id, 0)
        record["attribute_count"] = values.get(id, 0)


CUSTOMERS = View(
    kind="customer",
    fields={
        "id": 0,
        **blanks("email first_name last_name company phone registration_ip_address notes tax_exempt_category"),
        "customer_group_id": 0,
        "date_modified": WHEN,
        "date_created": WHEN,
        "address_count": 0,
        "attribute_count": 0,
        "authentication": {"force_password_reset": False},
        "accepts_product_review_abandoned_cart_emails": False,
        "origin_channel_id": 1,
        "channel_ids": None,
    },
    filters=CREATED
    | MODIFIED
    | spelled("id:in company:in customer_group_id:in email:in name:in name:like phone:in registration_ip_address:in"),
    expressions={"name": NAME, "email": EMAIL},
    sorts=spelled(
        "date_created:asc date_created:desc last_name:asc last_name:desc date_modified:asc date_modified:desc"
    ),
    cursor=True,
    includes={
        "addresses": Include(field="addresses", view=ADDRESSES),
        "attributes": Include(field="attributes", view=ATTRIBUTE_VALUES),
        "formfields": Include(field="form_fields", view=FORM_FIELDS),
        "storecredit": Include(field="store_credit_amounts", view=CREDITS),
    },
    complete=_count_below,
)


def _point_below(telling: Telling, rows: list[Row], told: list[dict[str, Any]]) -> None:
    for row, record in zip(rows, told, strict=True):
        record["addresses"] = link(telling, 2, f"/customers/{row['id']}/addresses")


CUSTOMERS_V2 = View(
    kind="customer",
    fields={
        "id": 0,
        **blanks("company first_name last_name email phone"),
        "date_created": WHEN,
        "date_modified": WHEN,
        "store_credit": "0.0000",
        "registration_ip_address": "",
        "customer_group_id": 0,
        "notes": "",
        "tax_exempt_category": "",
        "accepts_marketing": False,
        "addresses": None,
        "form_fields": None,
        "reset_pass_on_login": False,
    },
    moments=Moments.RFC,
    expressions={"email": EMAIL},
    filters=spelled(
        "first_name last_name company email phone customer_group_id min_id max_id min_date_created "
        "max_date_created min_date_modified max_date_modified tax_exempt_category"
    ),
    complete=_point_below,
)
ADDRESSES_V2 = View(
    kind="customer_address",
    fields={
        "id": 0,
        "customer_id": 0,
        **blanks("first_name last_name company street_1 street_2 city state zip country country_iso2 phone"),
        "address_type": "residential",
    },
    names={
        "street_1": "address1",
        "street_2": "address2",
        "state": "state_or_province",
        "zip": "postal_code",
        "country_iso2": "country_code",
    },
    parent="customer_id",
)
GROUPS = View(
    kind="customer_group",
    fields={
        "id": 0,
        "name": "",
        "is_default": False,
        "category_access": {"type": "all"},
        "discount_rules": [],
        "date_created": WHEN,
        "date_modified": WHEN,
        "is_group_for_guests": False,
    },
    filters=CREATED | MODIFIED | {"name", "name:like", "is_default", "is_group_for_guests"},
)
SUBSCRIBERS = View(
    kind="subscriber",
    fields={
        "id": 0,
        **blanks("email first_name last_name source"),
        "order_id": None,
        "channel_id": 1,
        "consents": ["marketing_newsletter"],
        "date_modified": WHEN,
        "date_created": WHEN,
    },
    filters=CREATED | MODIFIED | spelled("email first_name last_name source order_id id id:in"),
)


def _known_customer(call: Call, given: Row, fields: Row, old: Row | None) -> Row:
    customer = fields.get("customer_id", (old or {}).get("customer_id"))
    if not isinstance(customer, int) or call.records.get("customer", customer) is None:
        raise Refused(422, "Save addresses failed.", {"customer_id": f"there is no customer {customer}"})
    if old is not None and customer != old["customer_id"]:
        raise Refused(422, "Save addresses failed.", {"customer_id": "an address stays with its customer"})
    return fields


def _with_people(call: Call, given: Row, row: Row) -> None:
    """Addresses and attributes that come with a new customer. One that changes doesn't bring any (unverified)."""
    if call.method != "POST":
        return
    for name, rules in (("addresses", ADDRESS_RULES), ("attributes", VALUE_RULES)):
        for below in given.get(name) or []:
            if not isinstance(below, dict):
                raise Refused(422, "Create customers failed.", {name: f"{name} are not valid"})
            add(rules, call, {**below, "customer_id": row["id"]})


ADDRESS_RULES = Rules(
    view=ADDRESSES,
    noun="addresses",
    required=("customer_id", "first_name", "last_name", "address1", "city", "country_code"),
    children=("address_form_field",),
    prepare=_known_customer,
)
ADDRESS_RULES_V2 = Rules(
    view=ADDRESSES_V2,
    noun="addresses",
    required=("first_name", "last_name", "street_1", "city", "country"),
    children=("address_form_field",),
    prepare=_known_customer,
)
VALUE_RULES = Rules(view=ATTRIBUTE_VALUES, noun="attribute values", required=("attribute_id", "customer_id"))
ATTRIBUTE_RULES = Rules(view=ATTRIBUTES, noun="attributes", required=("name", "type"), unique=("name",))
CUSTOMER_RULES = Rules(
    view=CUSTOMERS,
    noun="customers",
    required=("email", "first_name", "last_name"),
    unique=("email",),
    fixed=READ_ONLY | {"address_count", "attribute_count"},
    children=UNDER_CUSTOMERS,
    follow=_with_people,
)
CUSTOMER_RULES_V2 = Rules(
    view=CUSTOMERS_V2,
    noun="customers",
    required=("email", "first_name", "last_name"),
    unique=("email",),
    fixed=READ_ONLY | {"addresses"},
    children=UNDER_CUSTOMERS,
)
GROUP_RULES = Rules(view=GROUPS, noun="customer groups", required=("name",))
SUBSCRIBER_RULES = Rules(view=SUBSCRIBERS, noun="subscribers", required=("email",), unique=("email",), taken=409)


def _valued(call: Call) -> Response:
    """Values of attributes for customers: new ones, and in place of those that are there."""
    if not isinstance(call.body, list):
        raise Refused(422, "Update attribute values failed.", {"data": "a list of records is required"})
    rows = []
    for given in call.body:
        for name, kind in (("customer_id", "customer"), ("attribute_id", "customer_attribute")):
            id = given.get(name) if isinstance(given, dict) else None
            if not isinstance(id, int) or call.records.get(kind, id) is None:
                raise Refused(422, "Update attribute values failed.", {name: f"there is no {kind} {id}"})
        under = call.records.children("customer_attribute_value", [given["customer_id"]])[given["customer_id"]]
        old = next((row for row in under if row["attribute_id"] == given["attribute_id"]), None)
        rows.append(add(VALUE_RULES, call, given) if old is None else change(VALUE_RULES, call, old, given))
    return as_json({"data": ATTRIBUTE_VALUES.tell(rows, call.telling()), "meta": {}})


def endpoints() -> list[Endpoint]:
    """The paths of this area."""
    v3, v2, area = "/v3/customers", "/v2/customers", "customers"
    values, of_one = v3 + "/attribute-values", v2 + "/{customer:int}/addresses"
    fields, address = v3 + "/form-field-values", of_one + "/{id:int}"
    under: Under = {"under": "customer", "above": CUSTOMERS_V2}
    return [
        *batches(v3, CUSTOMER_RULES, area),
        *batches(v3 + "/addresses", ADDRESS_RULES, area),
        *batches(v3 + "/attributes", ATTRIBUTE_RULES, area),
        Endpoint(method="GET", path=values, area=area, handle=listed(ATTRIBUTE_VALUES), paged=True),
        Endpoint(method="PUT", path=values, area=area, handle=_valued),
        Endpoint(method="DELETE", path=values, area=area, handle=deleted_all(VALUE_RULES)),
        Endpoint(method="GET", path=fields, area=area, handle=listed(FORM_FIELDS), paged=True),
        *collection(v3 + "/subscribers", SUBSCRIBERS, "subscribers"),
        *crud(v3 + "/subscribers", SUBSCRIBER_RULES, "subscribers", needs_filter=True),
        *metafield_endpoints(v3, CUSTOMERS, area),
        *collection(v2, CUSTOMERS_V2, area, count=True),
        *crud(v2, CUSTOMER_RULES_V2, area),
        *collection(of_one, ADDRESSES_V2, area, **under, count=True),
        Endpoint(method="POST", path=of_one, area=area, handle=created(ADDRESS_RULES_V2, **under)),
        Endpoint(method="PUT", path=address, area=area, handle=updated(ADDRESS_RULES_V2, **under)),
        Endpoint(method="DELETE", path=address, area=area, handle=deleted(ADDRESS_RULES_V2, **under)),
        *collection("/v2/customer_groups", GROUPS, area, count=True),
        *crud("/v2/customer_groups", GROUP_RULES, area),
    ]
