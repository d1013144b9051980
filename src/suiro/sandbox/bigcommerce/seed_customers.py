"""The first customers: every other one of the made-up people, with what belongs to them."""

from __future__ import annotations

from typing import Final

from suiro.sandbox.bigcommerce.records import Row
from suiro.sandbox.bigcommerce.sowing import DAY, YEAR, Ground, Sowing, spread
from suiro.sandbox.people import Person, draw, person

COUNTRIES: Final = {
    "United States": "US",
    "Canada": "CA",
    "Germany": "DE",
    "France": "FR",
    "United Kingdom": "GB",
    "Japan": "JP",
}
GROUPS: Final = ("Retail", "Wholesale", "卸売")
ATTRIBUTES: Final = (("Loyalty points", "number"), ("Preferred store", "string"), ("Member since", "date"))
SHOPS: Final = ("Main Street", "横浜", "Online")
IMPORTED: Final = range(100, 400)  #: customers whose last change is one and the same second: more than a page of them
CUSTOMERS, ADDRESSES, CHANGES = 1, 2, 3  # what a number is drawn for


def sow_customers(sowing: Sowing, seed: int, customers: int) -> None:
    """Groups, attributes, and so many customers."""
    long_ago = sowing.now - 3 * YEAR
    for number, name in enumerate(GROUPS):
        fields = {"name": name, "is_default": number == 0, "date_created": long_ago, "date_modified": long_ago}
        sowing.add("customer_group", fields, modified=long_ago)
    for name, kind in ATTRIBUTES:
        fields = {"name": name, "type": kind, "date_created": long_ago, "date_modified": long_ago}
        sowing.add("customer_attribute", fields, modified=long_ago)
    last, imported = sowing.now - 2 * DAY, sowing.now - 30 * DAY
    for i in range(customers):
        created = spread(i, customers, sowing.now - 2 * YEAR, last)
        x = draw(seed, CHANGES, i)
        modified = created if x % 4 == 0 else created + (x >> 8) % (last - created + 1)
        if i in IMPORTED:
            created, modified = min(created, imported), imported
        grow_customer(sowing, seed, i, created, modified)


def grow_customer(ground: Ground, seed: int, i: int, created: int, modified: int) -> Row:
    """The i-th customer, from 0: the person 2i of the seed. A few wrote their e-mail in capitals."""
    who, x = person(seed, 2 * i), draw(seed, CUSTOMERS, i)
    row = ground.add(
        "customer",
        {
            "email": who.email.upper() if i % 37 == 5 else who.email,
            "first_name": who.first_name,
            "last_name": who.last_name,
            "company": who.company if x % 3 else "",
            "phone": who.phone,
            "notes": "" if x & 0x70 else f'VIP\n{who.first_name}\'s "notes", 備考',
            "customer_group_id": (x >> 8) % (len(GROUPS) + 1),
            "registration_ip_address": f"192.0.2.{(x >> 16) % 250 + 1}",
            "date_created": created,
            "date_modified": modified,
        },
        modified=modified,
    )
    id = row["id"]
    for number in range(0 if i % 11 == 10 else 2 if i % 7 == 0 else 1):
        home = who if number == 0 else person(seed, 2 * i + draw(seed, ADDRESSES, i) % 1000)
        ground.add("customer_address", {"customer_id": id, **address(who, home)}, parent=id)
    _values(ground, x, id, created, modified)
    if x & 0x1F == 3:
        ground.add("customer_credit", {"amount": (x >> 40) % 10_000 / 100}, parent=id)
    if i % 10 == 0:
        ground.add("customer_form_field", {"name": "Favorite color", "value": "blue", "customer_id": id}, parent=id)
    if i % 25 == 0:
        noted = {"key": "tier", "value": "gold", "namespace": "loyalty", "resource_id": id}
        moments = {"date_created": created, "date_modified": modified}
        ground.add("customer_metafield", noted | moments, parent=id, modified=modified)
    if x % 3 == 1:
        subscribed = {name: row[name] for name in ("email", "first_name", "last_name")}
        moments = {"date_created": created, "date_modified": created}
        ground.add("subscriber", subscribed | {"source": "storefront"} | moments, modified=created)
    return row


def address(who: Person, home: Person) -> Row:
    """An address of a person, at another one's home."""
    return {
        "first_name": who.first_name,
        "last_name": who.last_name,
        "company": who.company,
        "address1": home.street,
        "city": home.city,
        "state_or_province": home.state,
        "postal_code": home.postal_code,
        "country": home.country,
        "country_code": COUNTRIES[home.country],
        "phone": who.phone,
        "address_type": "commercial" if home is not who else "residential",
    }


def _values(ground: Ground, x: int, id: int, created: int, modified: int) -> None:
    texts = (str((x >> 20) % 5000), SHOPS[(x >> 24) % len(SHOPS)], f"20{(x >> 28) % 20 + 5:02}-04-01")
    for number, text in enumerate(texts):
        if (x >> (32 + number)) & 1:
            value = {"attribute_id": number + 1, "attribute_value": text, "customer_id": id}
            moments = {"date_created": created, "date_modified": modified}
            ground.add("customer_attribute_value", value | moments, parent=id, modified=modified)
