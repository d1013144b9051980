"""What the project keeps: profiles, events and campaigns in one SQLite file, sown at the first start."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from suiro.sandbox.database import Database
from suiro.sandbox.people import draw, person

Row = dict[str, Any]

DAYS: Final = 20  #: before the first start, over which events are sown
DAY: Final = 86_400
#: Events that are sown, how often of a hundred, and the properties that they have.
SOWN: Final[Mapping[str, int]] = {
    "App Launched": 40,
    "Product Viewed": 25,
    "Charged": 12,
    "Order Placed": 12,
    "Subscription Renewed": 5,
    "Subscription Cancelled": 3,
    "Notification Viewed": 3,
}
_PRODUCTS: Final = ("tea, green", 'kettle "small"', "cup", "湯呑み", "tray")
_TABLES: Final = """
    CREATE TABLE profile (id INTEGER PRIMARY KEY, object_id TEXT UNIQUE, identity TEXT UNIQUE, email TEXT, body TEXT);
    CREATE INDEX profile_email ON profile (email);
    CREATE TABLE event (id INTEGER PRIMARY KEY, name TEXT, profile INTEGER, at INTEGER, props TEXT, session TEXT);
    CREATE INDEX event_name ON event (name, at);
    CREATE INDEX event_profile ON event (profile, name, at);
    CREATE TABLE campaign (id INTEGER PRIMARY KEY, scheduled INTEGER, name TEXT, status TEXT, result TEXT);
    CREATE TABLE message (id INTEGER PRIMARY KEY, sent INTEGER, body TEXT);
"""


class Store:
    """Reads and changes what is kept. Times are seconds since 1970. Safe to use from several threads."""

    def __init__(self, path: Path, *, seed: int, sizes: Mapping[str, int], now: datetime) -> None:
        known = path.exists()
        self._database = Database(path)
        if not known:
            with self._database.writing() as session:
                for statement in _TABLES.split(";")[:-1]:
                    session.execute(statement)
                _sow(session, seed, sizes, int(now.timestamp()))

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def reading(self) -> AbstractContextManager[sqlite3.Connection]:
        """A session that sees one state."""
        return self._database.reading()

    def writing(self) -> AbstractContextManager[sqlite3.Connection]:
        """The session that writes."""
        return self._database.writing()

    def names(self) -> list[str]:
        """The names of all events that ever came."""
        with self.reading() as session:
            return [name for (name,) in session.execute("SELECT DISTINCT name FROM event ORDER BY name")]

    def find(self, session: sqlite3.Connection, by: str, value: str) -> tuple[int, Row] | None:
        """A profile by `identity`, `object_id` or `email`: its number and its body."""
        found = session.execute(f"SELECT id, body FROM profile WHERE {by} = ? ORDER BY id LIMIT 1", (value,)).fetchone()
        return None if found is None else (found[0], json.loads(found[1]))

    def put_profile(self, session: sqlite3.Connection, identity: str, data: Mapping[str, Any]) -> int:
        """Give a profile of that identity these properties; it is made where there is none. Its number."""
        known = self.find(session, "identity", identity)
        if known is None:
            (last,) = session.execute("SELECT coalesce(max(id), 0) FROM profile").fetchone()
            number, body = last + 1, dict[str, Any]({"identity": identity, "profileData": {}, "platformInfo": []})
            body["objectId"] = _object_id(last + 1)
        else:
            number, body = known
        body["profileData"] = {**body["profileData"], **data}
        for name, member in (("Name", "name"), ("Email", "email")):
            if name in data:
                body[member] = data[name]
        session.execute(
            "INSERT INTO profile VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT (id) DO UPDATE SET email = excluded.email, body = excluded.body",
            (number, body["objectId"], identity, body.get("email"), json.dumps(body, ensure_ascii=False)),
        )
        return int(number)

    def put_event(
        self, session: sqlite3.Connection, name: str, profile: int, at: int, props: Mapping[str, Any]
    ) -> None:
        """One more event."""
        said = json.dumps(props, ensure_ascii=False)
        session.execute(
            "INSERT INTO event (name, profile, at, props, session) VALUES (?, ?, ?, ?, '{}')", (name, profile, at, said)
        )

    def events(self, name: str | None = None) -> Iterator[tuple[int, str, Row, int, Row, Row]]:
        """All events: number, name, the person's profile, time, properties, those of the session."""
        query = (
            "SELECT e.id, e.name, p.body, e.at, e.props, e.session FROM event e JOIN profile p ON p.id = e.profile "
            "WHERE ?1 IS NULL OR e.name = ?1 ORDER BY e.id"
        )
        with self.reading() as session:
            for id_, said, body, at, props, around in session.execute(query, (name,)):
                yield id_, said, json.loads(body), at, json.loads(props), json.loads(around)


def _object_id(number: int) -> str:
    return f"-{draw(17, number):016x}{number:04x}"


def people_of(seed: int, i: int) -> int:
    """The number of the person behind the i-th profile: of every four leads two, one of them a customer of the shop."""
    return 2 * i + (i & 1)


def _sow(session: sqlite3.Connection, seed: int, sizes: Mapping[str, int], now: int) -> None:
    profiles = [_profile(seed, i) for i in range(sizes["profiles"])]
    session.executemany("INSERT INTO profile VALUES (?, ?, ?, ?, ?)", profiles)
    if profiles:
        events = (_event(seed, i, len(profiles), now) for i in range(sizes["events"]))
        session.executemany("INSERT INTO event VALUES (?, ?, ?, ?, ?, ?)", events)
    for i in range(sizes["campaigns"]):
        at = now - (i * 9 - 9) * DAY  # one of them is still to come
        sent = 40 + draw(seed, 3, i) % 500
        result = json.dumps({"sent": sent, "viewed": sent // 2, "clicked": sent // 7, "rate": round(sent / 7, 3)})
        status = "pending" if i == 0 else "completed"
        row = (1_457_432_766 + i, at, f"Campaign {i}", status, None if i < 2 else result)
        session.execute("INSERT INTO campaign VALUES (?, ?, ?, ?, ?)", row)
        body = {"message id": 1_457_432_766 + i, "message name": f"Campaign {i}", "sent": sent}
        session.execute("INSERT INTO message VALUES (?, ?, ?)", (i + 1, at, json.dumps(body)))


def _profile(seed: int, i: int) -> tuple[Any, ...]:
    who, x = person(seed, people_of(seed, i)), draw(seed, 1, i)
    identity = None if x % 11 == 0 else str(10_001 + i)  # some never signed in
    body: Row = {
        "objectId": _object_id(i + 1),
        "name": f"{who.first_name} {who.last_name}",
        "profileData": {"city": who.city, "plan": ("free", "basic", "pro")[x >> 4 & 1], "visits": x >> 8 & 0xFF},
        "platformInfo": [
            {
                "platform": ("iOS", "Android", "Web")[x % 3],
                "os_version": f"{9 + x % 7}",
                "app_version": f"2.{x % 30}.1",
                "make": "Example",
                "model": f"M{x % 9}",
                "objectId": _object_id(i + 1),
            }
        ],
    }
    if identity is not None:
        body |= {"identity": identity, "email": who.email}
    return i + 1, body["objectId"], identity, body.get("email"), json.dumps(body, ensure_ascii=False)


def _event(seed: int, i: int, profiles: int, now: int) -> tuple[Any, ...]:
    x = draw(seed, 2, i)
    name, dice = next(iter(SOWN)), x % 100
    for said, share in SOWN.items():
        name, dice = said, dice - share
        if dice < 0:
            break
    at = now - 60 - (x >> 8) % (DAYS * DAY)
    product = _PRODUCTS[(x >> 40) % len(_PRODUCTS)]
    props: Row = {"ct_app_version": f"2.{x % 30}.1"}
    if name == "Product Viewed":
        props = {"product": product, "price": (x >> 16) % 90_000 / 100}
    elif name in ("Charged", "Order Placed"):
        props = {"Amount": (x >> 16) % 90_000 / 100, "order": 9_007_199_254_740_993 + i, "items": [{"name": product}]}
    elif name.startswith("Subscription"):
        props = {"plan": ("basic", "pro")[x >> 16 & 1], "months": 1 + (x >> 20) % 12}
    if now - at < 3 * DAY:
        props["channel"] = ("mail", "shop")[x >> 24 & 1]  # a property that the app sends since lately
    around = {"session_source": "Direct"} if x & 1 else {"utm_source": "Foo", "session_source": "Referral"}
    who = (x >> 32) % profiles + 1
    return i + 1, name, who, at, json.dumps(props, ensure_ascii=False), json.dumps(around)
