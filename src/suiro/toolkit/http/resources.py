"""Streams of a REST service as data: where they are, how they are paged, what their rows are, how changes are found."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import format_datetime
from enum import StrEnum
from typing import Any

import pyarrow as pa

from suiro.model.schema import ReadMode, Stream
from suiro.toolkit.http.answers import Answer
from suiro.toolkit.http.client import HttpClient
from suiro.toolkit.http.pages import Paging, Params
from suiro.toolkit.http.records import Times
from suiro.toolkit.http.sending import How

Asks = Callable[[HttpClient, str, Params, How], Answer]  #: from the path and all parameters of a page


class Written(StrEnum):
    """How a filter's value is written."""

    ISO = "iso"  #: 2026-01-01T00:00:00+00:00; other values as they are
    RFC = "rfc"  #: Thu, 01 Jan 2026 00:00:00 +0000
    EPOCH = "epoch"  #: seconds since 1970


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """The column that tells what changed, and the service's filter on it."""

    field: str
    param: str  #: asks for rows at or past a value
    written: Written = Written.ISO
    tick: timedelta = timedelta(seconds=1)  #: what the filter tells apart, of moments
    order: Params | None = None  #: what makes the service sort by the column; None: it can't, rows come in any order
    pages: Paging | None = None  #: among rows of one value, where the resource's own paging has an order of its own
    nulls: bool = False  #: rows may have none; such rows come with the first read alone
    newest_first: bool = False  #: a list that is asked for by a value begins with the greatest, and may go on below it
    hold_back: timedelta = timedelta()
    """How far before the service's present the position stays: changes may become visible later than they happened."""

    def value(self, at: Any) -> str:
        """A value as the filter takes it, at most one tick earlier."""
        if isinstance(at, datetime):
            at = self.floor(at)
            if self.written is Written.EPOCH:
                return str(int(at.timestamp()))
            if self.written is Written.RFC:
                return format_datetime(at)
            return str(at.isoformat(timespec="seconds" if self.tick >= timedelta(seconds=1) else "microseconds"))
        return str(at)

    def floor(self, at: Any) -> Any:
        """The greatest value at or before this one that the filter can tell."""
        if not isinstance(at, datetime) or self.tick <= timedelta(microseconds=1):
            return at
        return at - (at - datetime.min.replace(tzinfo=at.tzinfo)) % self.tick


@dataclass(frozen=True, slots=True, kw_only=True)
class Parent:
    """The stream whose rows this one belongs to: it is read for each of them."""

    stream: str
    key: str  #: the parent's column that fills the path
    column: str  #: this stream's column that holds the parent's key, and its name in the path
    cursor: str | None = None  #: this stream's column that holds when the parent changed; its cursor field then


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One stream. `path` holds a parent's column in braces."""

    name: str
    path: str
    schema: pa.Schema
    primary_key: tuple[str, ...] = ()
    pages: Paging
    params: Params = field(default_factory=dict)
    place: tuple[str, ...] = ()  #: where records are in a body
    times: Times = Times.ISO
    blank_is_null: bool = False  #: "" where no text belongs
    open_: bool = True  #: members that aren't known become columns
    cursor: Cursor | None = None
    parent: Parent | None = None
    deleted: str | None = None  #: tells of rows that the service deleted, but still lists: a column, or in logs alone
    keys: Params = field(default_factory=dict)  #: what makes a read of the key alone cheaper
    empty: frozenset[int] = frozenset()  #: statuses that mean: no rows
    asks: Asks | None = None  #: how a page is asked for, where a GET with parameters won't do
    scope: str = ""  #: the permission that reading needs, in the service's words
    notes: tuple[str, ...] = ()

    @property
    def stream(self) -> Stream:
        """As it is offered."""
        follows = self.cursor_field is not None
        modes = {ReadMode.FULL, *([ReadMode.INCREMENTAL] if follows else [])}
        if follows and self.deleted is not None:
            modes.add(ReadMode.LOG)
        return Stream(
            name=self.name,
            schema=self.schema,
            primary_key=self.primary_key,
            cursor_fields=(self.cursor_field,) if self.cursor_field else (),
            read_modes=frozenset(modes),
            notes=self.notes,
        )

    @property
    def cursor_field(self) -> str | None:
        """The column that tells what changed: of a child its parent's."""
        if self.parent is not None:
            return self.parent.cursor
        return self.cursor.field if self.cursor else None


def columns(described: Mapping[str, pa.DataType] | str) -> pa.Schema:
    """A schema in few words: `"id:int name total:money when:time tags:json"`; without a type: text.

    int: int64; number: a decimal with 20 digits, 4 of them after the point; rate: one with 28, 10 of them; time: a
    moment in UTC; bool, date, json, float.
    """
    if not isinstance(described, str):
        return pa.schema(list(described.items()))
    pairs = (word.partition(":") for word in described.split())
    return pa.schema([(name, _TYPES[kind or "text"]) for name, _, kind in pairs])


_TYPES: Mapping[str, pa.DataType] = {
    "text": pa.string(),
    "int": pa.int64(),
    "number": pa.decimal128(20, 4),
    "rate": pa.decimal128(28, 10),
    "bool": pa.bool_(),
    "time": pa.timestamp("us", "UTC"),
    "date": pa.date32(),
    "json": pa.json_(),
    "float": pa.float64(),
}
