"""How records are told: their fields, how moments are written, and what may be asked for, as data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from enum import Enum
from typing import Any, Final

from suiro.sandbox.bigcommerce.records import Reader, Row
from suiro.sandbox.bigcommerce.settings import Settings


class When:
    """The default of a field that holds a moment."""


WHEN: Final = When()


class Moments(Enum):
    """How a view writes moments."""

    Z = "2026-01-31T09:30:00Z"
    OFFSET = "2026-01-31T09:30:00+00:00"
    RFC = "Sat, 31 Jan 2026 09:30:00 +0000"
    SECONDS = "1769851800"


ZERO: Final = "0.0000"


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """What is at hand when a page of records is told."""

    records: Reader
    root: str  #: address of the store: http://127.0.0.1:8201/stores/abc
    settings: Settings
    include: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Include:
    """What lies under a record and is told with it where `include=` asks for it."""

    field: str
    view: View
    single: bool = False  #: only the first one, or null


#: Adds to told records what isn't in them: (what is at hand, the records, as they are told so far).
Completion = Callable[[Telling, list[Row], list[dict[str, Any]]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One kind of record as one API tells it."""

    kind: str
    fields: Mapping[str, object]  #: in their order, with what is told where the record has none
    moments: Moments = Moments.Z
    names: Mapping[str, str] = field(default_factory=dict)  #: fields whose name in the record is another
    parent: str = ""  #: the field that holds the parent's id
    filters: frozenset[str] = frozenset()  #: parameters as they are spelled; all others are ignored
    lists: frozenset[str] = frozenset()  #: fields that hold several values, of which a filter asks for one
    expressions: Mapping[str, str] = field(default_factory=dict)  #: SQL for filters that aren't on a plain field
    sorts: frozenset[str] = frozenset()  #: "name:asc", or "name" with &direction=asc
    sort_directions: bool = False  #: "name" in `sorts` may be asked for as "name:asc" too
    choosable: bool = False  #: include_fields and exclude_fields work
    cursor: bool = False  #: after and before work
    includes: Mapping[str, Include] = field(default_factory=dict)
    complete: Completion | None = None

    def tell(self, rows: list[Row], telling: Telling) -> list[dict[str, Any]]:
        """Records as the API tells them."""
        fields = [(name, self.names.get(name, name), default) for name, default in self.fields.items()]
        told = [self._one(fields, row) for row in rows]
        for name, include in self.includes.items():
            if name in telling.include:
                self._include(include, rows, told, telling)
        if self.complete is not None:
            self.complete(telling, rows, told)
        return told

    def kept(self, name: str) -> str:
        """The name in the record of a field."""
        return self.names.get(name, name)

    def _one(self, fields: list[tuple[str, str, object]], row: Row) -> dict[str, Any]:
        told: dict[str, Any] = {}
        for name, kept, default in fields:
            told[name] = moment(row.get(kept), self.moments) if default is WHEN else row.get(kept, default)
        return told

    def _include(self, include: Include, rows: list[Row], told: list[dict[str, Any]], telling: Telling) -> None:
        view = include.view
        under = telling.records.children(view.kind, [row["id"] for row in rows])
        flat = [child for row in rows for child in under[row["id"]]]
        texts = iter(view.tell(flat, telling))
        for row, record in zip(rows, told, strict=True):
            children = [next(texts) for _ in under[row["id"]]]
            record[include.field] = (children[0] if children else None) if include.single else children


def moment(seconds: int | None, moments: Moments) -> object:
    """A moment as a view writes it. One that never was: null in ISO, an empty text in RFC 2822."""
    if seconds is None:
        return "" if moments is Moments.RFC else None
    if moments is Moments.SECONDS:
        return seconds
    when = datetime.fromtimestamp(seconds, UTC)
    if moments is Moments.RFC:
        return format_datetime(when)
    return when.strftime("%Y-%m-%dT%H:%M:%S") + ("Z" if moments is Moments.Z else "+00:00")


def money(cents: int) -> str:
    """An amount as v2 writes it: 4900 cents are "49.0000"."""
    sign, cents = ("-", -cents) if cents < 0 else ("", cents)
    return f"{sign}{cents // 100}.{cents % 100:02}00"


def cents(amount: object) -> int:
    """The cents of an amount, given as text or number. ValueError: it is none, or has parts of a cent."""
    text = f"{amount:.4f}" if isinstance(amount, float) else str(amount)
    whole, _, part = text.strip().partition(".")
    if not whole.removeprefix("-").isdecimal() or (part and not part.isdecimal()) or part[2:].strip("0"):
        raise ValueError(f"{text!r} is no amount")
    number = int(whole.removeprefix("-")) * 100 + int((part + "00")[:2])
    return -number if whole.startswith("-") else number


def spelled(names: str) -> frozenset[str]:
    """The names in a text."""
    return frozenset(names.split())


def zeros(names: str) -> dict[str, object]:
    """Amounts that are nothing unless the record says otherwise."""
    return dict.fromkeys(names.split(), ZERO)


def blanks(names: str) -> dict[str, object]:
    """Texts that are empty unless the record says otherwise."""
    return dict.fromkeys(names.split(), "")


def link(telling: Telling, version: int, path: str) -> dict[str, str]:
    """A v2 record's pointer to what lies under it."""
    return {"url": f"{telling.root}/v{version}{path}", "resource": path}
