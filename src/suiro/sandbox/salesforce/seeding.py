"""The records that the org has at first: plain people, their companies, and what they bought."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from suiro.sandbox.people import draw, person, stir
from suiro.sandbox.salesforce.accounts import USERNAME
from suiro.sandbox.salesforce.fields import DECIMALS, Field, Sobject
from suiro.sandbox.salesforce.ids import record_id
from suiro.sandbox.salesforce.org import Org, create_indexes

Row = dict[str, Any]

#: How many records of each object are made; deleted ones come on top: one for 200.
DEFAULT_SIZES = {
    "Account": 200,
    "Attachment": 5,
    "Campaign": 20,
    "Contact": 400,
    "Lead": 1000,
    "Opportunity": 300,
    "User": 12,
    "Wide__c": 50,
}
#: The first record was made then, the last some two years later.
BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
DAYS = 700
DELETED_EACH, CONVERTED_EACH = 200, 200

MINUTES = tuple(f"{minute // 60:02}:{minute % 60:02}:" for minute in range(1440))
SECONDS = tuple(f"{second:02}.000Z" for second in range(60))
DEPARTMENTS = ("Sales East", "Sales West", "Partners", "Inside Sales")
INDUSTRIES = ("Technology", "Retail", "Food & Beverage", "Manufacturing", "Education", "Consulting", "Other")
SOURCES = ("Web", "Phone Inquiry", "Partner Referral", "Purchased List", "Other")
STATUSES = ("Open - Not Contacted", "Working - Contacted", "Closed - Not Converted")
RATINGS = ("Hot", "Warm", "Cold", None)
TITLES = ("Buyer", "Director of Operations, Western Region", "CEO", "Engineer", "Head of Purchasing", None)
SALUTATIONS = ("Mr.", "Ms.", "Dr.", None)
STAGES = ("Prospecting", "Qualification", "Proposal/Price Quote", "Negotiation/Review", "Closed Won", "Closed Lost")
NOTES = (
    None,
    None,
    None,
    "Called twice.\nWants an offer.",
    'Asked for the "gold" plan, then for "silver"',
    "見積もりを希望。来週また電話する。",
    "Likes: tea, bread; dislikes: \ttabs",
)


class Seeding:
    """Makes the records of one seed."""

    def __init__(self, org: Org, seed: int, sizes: Mapping[str, int]) -> None:
        self._org = org
        self._seed = seed
        self._sizes = sizes
        kinds = [one.name for one in org.objects()] + [one.prefix for one in org.objects()] + ["Wide"]
        self._salts = {kind: draw(seed, *kind.encode()) for kind in kinds}
        self._prefixes = {one.name: one.prefix for one in org.objects()}
        self._users = [self._id("User", i) for i in range(min(sizes["User"], 1000))] or [None]

    def sow(self) -> None:
        """Fill the org's tables, which are empty, and index them."""
        makers: dict[str, Callable[[int], Row]] = {
            "User": self._user,
            "Account": self._account,
            "Contact": self._contact,
            "Campaign": self._campaign,
            "Opportunity": self._opportunity,
            "Lead": self._lead,
            "Attachment": self._attachment,
            "Wide__c": self._wide,
        }
        with self._org.writing() as connection:
            for found in self._org.objects():
                rows = self._rows(found, makers[found.name]) if found.name in makers else self._fixed(found)
                self._org.insert_raw(connection, found, rows)
                create_indexes(connection, found)
            connection.execute(
                """INSERT INTO _deletions SELECT 'Lead', "Id", "SystemModstamp" FROM "Lead" WHERE _deleted = 1
                   UNION ALL SELECT 'Contact', "Id", "SystemModstamp" FROM "Contact" WHERE _deleted = 1
                   UNION ALL SELECT 'Account', "Id", "SystemModstamp" FROM "Account" WHERE _deleted = 1
                   UNION ALL SELECT 'Opportunity', "Id", "SystemModstamp" FROM "Opportunity" WHERE _deleted = 1"""
            )

    def _rows(self, found: Sobject, make: Callable[[int], Row]) -> Iterator[Row]:
        live = self._sizes[found.name]
        gone = live // DELETED_EACH if found.deletable else 0
        for i in range(live + gone):
            row = make(i)
            row.update(self._audit(found.prefix, i, live))
            row["_deleted"] = int(i >= live)
            yield row

    def _pick(self, what: str, i: int) -> int:
        return stir(self._salts[what], i)

    def _id(self, name: str, i: int) -> str | None:
        """The id of a record, or none where there are no such records."""
        size = self._sizes[name]
        return record_id(self._prefixes[name], i % size + 1) if size else None

    def _owner(self, x: int) -> str | None:
        return self._users[x % len(self._users)]

    def _audit(self, prefix: str, i: int, live: int) -> Row:
        """When and by whom; a record of seven was touched by the system later than by a user."""
        x = self._pick(prefix, i)
        made = i * DAYS * 86400 // max(live, 1) + x % 3600
        modified = made + (x >> 12) % 2_000_000
        touched = modified + ((x >> 33) % 400_000 if x >> 60 in (1, 2) else 0)
        user = self._owner(x >> 50)
        return {
            "CreatedDate": at(made),
            "CreatedById": user,
            "LastModifiedDate": at(modified),
            "LastModifiedById": user,
            "SystemModstamp": at(touched),
        }

    # --- objects ---

    def _user(self, i: int) -> Row:
        if i == 0:
            one: Row = {"FirstName": "Suiro", "LastName": "Integration", "Username": USERNAME}
            return {**one, "Email": "integration@example.com", "IsActive": 1, "Department": "Systems"}
        who = person(self._seed, 10_000_000 + i)
        return {
            "FirstName": who.first_name,
            "LastName": who.last_name,
            "Username": f"user{i}@suiro.example",
            "Email": who.email,
            "Department": DEPARTMENTS[i % 4],
            "Title": "Sales",
            "IsActive": 1,
            "ManagerId": self._id("User", 0),
        }

    def _lead(self, i: int) -> Row:
        who, x = person(self._seed, i), self._pick("Lead", i)
        converted = i % CONVERTED_EACH == CONVERTED_EACH - 1
        day = at(i * DAYS * 86400 // max(self._sizes["Lead"], 1))[:10]
        return {
            "FirstName": who.first_name,
            "LastName": who.last_name,
            "Salutation": SALUTATIONS[x & 3],
            "Title": TITLES[(x >> 2) % 6],
            "Company": who.company,
            "Street": who.street,
            "City": who.city,
            "State": who.state,
            "PostalCode": who.postal_code,
            "Country": who.country,
            "Phone": who.phone,
            "Email": who.email,
            "Description": NOTES[(x >> 8) % 7],
            "LeadSource": SOURCES[(x >> 12) % 5],
            "Status": "Closed - Converted" if converted else STATUSES[(x >> 16) % 3],
            "Industry": INDUSTRIES[(x >> 20) % 7],
            "Rating": RATINGS[(x >> 24) & 3],
            "AnnualRevenue": None if x >> 26 & 1 else (x >> 27) % 50_000 * 1000,
            "NumberOfEmployees": (x >> 45) % 2000,
            "OwnerId": self._owner(x >> 30),
            "IsConverted": int(converted),
            "ConvertedDate": day if converted else None,
            "ConvertedAccountId": self._id("Account", i) if converted else None,
            "ConvertedContactId": self._id("Contact", i) if converted else None,
            "ConvertedOpportunityId": self._id("Opportunity", i) if converted else None,
            "IsUnreadByOwner": x >> 40 & 1,
            "External_Id__c": None if i % 10 == 7 else f"L-{i:07}",
            "Legacy_Number__c": f"N{i // 2:06}" if i % 5 == 0 else None,
        }

    def _account(self, i: int) -> Row:
        who, x = person(self._seed, 20_000_000 + i), self._pick("Account", i)
        return {
            "Name": f"{who.company} {i}",
            "Type": "Prospect" if x & 1 else "Customer - Direct",
            "BillingStreet": who.street,
            "BillingCity": who.city,
            "BillingState": who.state,
            "BillingPostalCode": who.postal_code,
            "BillingCountry": who.country,
            "Phone": who.phone,
            "Industry": INDUSTRIES[(x >> 8) % 7],
            "AnnualRevenue": (x >> 16) % 90_000 * 10_000,
            "NumberOfEmployees": (x >> 32) % 9000,
            "ParentId": self._id("Account", i // 2) if i % 7 == 6 else None,
            "OwnerId": self._owner(x >> 40),
            "External_Id__c": f"A-{i:06}",
        }

    def _contact(self, i: int) -> Row:
        who, x = person(self._seed, 30_000_000 + i), self._pick("Contact", i)
        return {
            "FirstName": who.first_name,
            "LastName": who.last_name,
            "AccountId": self._id("Account", x % 100_000),
            "MailingStreet": who.street,
            "MailingCity": who.city,
            "MailingCountry": who.country,
            "MailingPostalCode": who.postal_code,
            "MailingLatitude": (x >> 8) % 170 * 10**15 - 85 * 10**15 + (x >> 20) % 10**15 if i % 3 == 0 else None,
            "MailingLongitude": (x >> 16) % 350 * 10**15 - 175 * 10**15 if i % 3 == 0 else None,
            "Phone": who.phone,
            "Email": who.email,
            "Birthdate": at(-(x >> 5) % 1_500_000_000)[:10],
            "OwnerId": self._owner(x >> 40),
            "Consent__c": x >> 30 & 1,
            "Interests__c": ("Music", "Music;Books", "Travel", None)[x >> 33 & 3],
            "Colour__c": ("Red", "Blue", "Green", None)[x >> 35 & 3],
            "Discount__c": (x >> 37) % 10_000,
            "Limit__c": (x >> 20) % 10**12,
            "External_Id__c": f"C-{i:06}",
        }

    def _campaign(self, i: int) -> Row:
        x = self._pick("Campaign", i)
        begin = at(i * 86400 * 20)[:10]
        kinds = ("Webinar", "Email", "Conference")
        return {
            "Name": f"Campaign {i + 1}",
            "Type": kinds[i % 3],
            "Status": "Planned" if i % 2 else "Completed",
            "StartDate": begin,
            "ExpectedResponse": x % 10_000,
            "NumberSent": x % 100_000,
            "BudgetedCost": x % 1_000_000,
            "IsActive": i % 2,
            "OwnerId": self._owner(x >> 20),
        }

    def _opportunity(self, i: int) -> Row:
        x = self._pick("Opportunity", i)
        stage = STAGES[(x >> 8) % 6]
        return {
            "Name": f"Order {i + 1}",
            "AccountId": self._id("Account", x % 100_000),
            "StageName": stage,
            "Amount": (x >> 16) % 10**9,
            "Probability": (x >> 50) % 101,
            "CloseDate": at((x >> 20) % (DAYS * 86400))[:10],
            "CampaignId": self._id("Campaign", x >> 40) if x & 1 else None,
            "OwnerId": self._owner(x >> 45),
            "External_Id__c": f"O-{i:06}",
        }

    def _attachment(self, i: int) -> Row:
        content = f"attachment {i}\n".encode() * (i + 1)
        return {
            "ParentId": self._id("Lead", i),
            "Name": f"note{i}.txt",
            "ContentType": "text/plain",
            "Body": content,
            "OwnerId": self._owner(i),
        }

    def _wide(self, i: int) -> Row:
        fields = self._org.objects()[-1].fields
        x = self._pick("Wide", i)
        row: Row = {"Name": f"Reading {i}", "External_Id__c": f"W-{i:05}"}
        for n, field in enumerate(fields.values()):
            if field.name.endswith(("__c", "__s")) and field.kept and field.name not in row:
                row[field.name] = wide_value(field, stir(x, n))
        return row

    def _fixed(self, found: Sobject) -> list[Row]:
        match found.name:
            case "Organization":
                row = {"Name": "Suiro Sandbox", "InstanceName": "SBX1", "IsSandbox": 1, "TimeZoneSidKey": "Asia/Tokyo"}
                return [row | self._audit("00D", 0, 1)]
            case "TaskStatus":
                names = ("Not Started", "In Progress", "Completed")
                return [
                    {"MasterLabel": name, "SortOrder": n, "IsDefault": int(n == 0), "IsClosed": int(n == 2)}
                    | self._audit("01n", n, 3)
                    for n, name in enumerate(names)
                ]
            case _:
                return []


def at(seconds: int) -> str:
    """A time so many seconds after the first, as the store keeps it."""
    days, rest = divmod(seconds, 86400)
    return f"{day_text(days)}T{MINUTES[rest // 60]}{SECONDS[rest % 60]}"


@cache
def day_text(days: int) -> str:
    """The date so many days after the first."""
    return (BEGIN + timedelta(days=days)).date().isoformat()


def wide_value(field: Field, x: int) -> Any:
    """Some value that fits a field; one of four is missing."""
    if x & 3 == 0 and field.type != "boolean":
        return None
    y = x >> 8
    if field.type in DECIMALS:
        return y % 10 ** min(field.precision, 9) - 10 ** min(field.precision, 9) // 2
    if field.values:
        return field.values[y % len(field.values)]
    day = at(y % (DAYS * 86400))
    values = {
        "boolean": y & 1,
        "int": y % 100_000,
        "date": day[:10],
        "datetime": day[:20] + f"{y % 1000:03}Z",
        "time": f"{y % 24:02}:{y % 60:02}:00.000Z",
        "email": f"line{y % 1000}@example.com",
        "url": f"https://example.com/{y % 1000}",
        "phone": f"+1-202-555-{y % 10000:04}",
    }
    return values.get(field.type, f"value {y % 10000}")
