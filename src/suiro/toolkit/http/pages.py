"""The ways in which services hand out long lists: each says what to ask for first, and what after a page."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from suiro.model.errors import DataError

Params = Mapping[str, str | int]
Place = tuple[str, ...]

MOST_ALIKE: Final = 100  #: pages of one content in a row, where rows have no key to tell them apart by


@dataclass(frozen=True, slots=True, kw_only=True)
class Turned:
    """A page that came: what its successor depends on."""

    asked: Params  #: the paging's own parameters that were sent
    rows: int
    rest: Any = None  #: the body without its records
    headers: Mapping[str, str] = field(default_factory=dict)
    last: Any = None  #: the greatest value of a keyset's column


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """Everything comes at once."""

    def first(self) -> Params:
        """No parameters."""
        return {}

    def after(self, page: Turned) -> None:
        """Nothing."""
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class PageNumbers:
    """`page=1`, `page=2`, until the number of pages that the body tells, or until a page is short or empty."""

    param: str = "page"
    size: int
    size_param: str | None = "limit"
    begins: int = 1
    pages: Place = ()  #: where the body tells how many pages there are
    total: Place = ()  #: where it tells how many rows there are
    short_ends: bool = True  #: a page with fewer rows than `size` is the last one; False: only an empty one is

    def first(self) -> Params:
        """The first page."""
        return self.number(self.begins)

    def number(self, number: int) -> Params:
        """The page of that number."""
        return {self.param: number, **({self.size_param: self.size} if self.size_param else {})}

    def after(self, page: Turned) -> Params | None:
        """The next number."""
        number = int(page.asked[self.param])
        known = self.known(page.rest)
        if known is not None:
            more = number - self.begins + 1 < known
        else:
            more = page.rows > 0 and (page.rows >= self.size or not self.short_ends)
        return self.number(number + 1) if more else None

    def known(self, rest: Any) -> int | None:
        """How many pages there are, where the body tells."""
        found = _at(rest, self.pages) if self.pages else None
        return found if isinstance(found, int) else None

    def counted(self, rest: Any) -> int | None:
        """How many rows there are, where the body tells."""
        found = _at(rest, self.total) if self.total else None
        return found if isinstance(found, int) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Offsets:
    """`offset=0`, `offset=100`, until a page is short, or the total that the body tells is reached."""

    param: str = "offset"
    size: int
    size_param: str = "limit"
    total: Place = ()

    def first(self) -> Params:
        """From the beginning."""
        return {self.param: 0, self.size_param: self.size}

    def after(self, page: Turned) -> Params | None:
        """As many further as rows came."""
        done = int(page.asked[self.param]) + page.rows
        total = _at(page.rest, self.total) if self.total else None
        more = done < total if isinstance(total, int) else page.rows >= self.size
        return {self.param: done, self.size_param: self.size} if more and page.rows else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursors:
    """The body tells a cursor for what comes behind it, until it tells none or brings no rows."""

    param: str
    place: Place
    size: int | None = None
    size_param: str = "limit"
    short_ends: bool = False  #: a page with fewer rows than `size` is the last one

    def first(self) -> Params:
        """The beginning, without a cursor."""
        return {} if self.size is None else {self.size_param: self.size}

    def after(self, page: Turned) -> Params | None:
        """With the cursor that came."""
        cursor = _at(page.rest, self.place)
        short = self.short_ends and self.size is not None and page.rows < self.size
        if not page.rows or short or cursor in (None, "", False):
            return None
        return {**self.first(), self.param: str(cursor)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """The body at `place`, or the header Link where no place is given, tells the next page's URL."""

    place: Place = ()
    size: int | None = None
    size_param: str = "limit"

    def first(self) -> Params:
        """The beginning."""
        return {} if self.size is None else {self.size_param: self.size}

    def after(self, page: Turned) -> str | None:
        """The URL or path, with its query."""
        if self.place:
            found = _at(page.rest, self.place)
            return found if isinstance(found, str) and found else None
        link = re.search(r'<([^>]*)>\s*;[^,]*\brel="?next"?', page.headers.get("link", ""))
        return link[1] if link else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Keyset:
    """Rows in the order of a column that never changes: what comes behind the last value, until nothing does.

    Rows that are added or deleted meanwhile shift nothing.
    """

    column: str
    param: str  #: asks for greater values, or for values from this one on
    size: int
    size_param: str = "limit"
    order: Params = field(default_factory=dict)  #: what makes the service sort by the column
    pages: Place = ()  #: where the body tells how many pages there are from here on

    def first(self) -> Params:
        """The beginning."""
        return {**self.order, self.size_param: self.size}

    def after(self, page: Turned) -> Params | None:
        """Behind the last value."""
        if not page.rows or page.last is None:
            return None
        if page.asked.get(self.param) == page.last:
            return None  # it asks for values from this one on, and none came behind it
        left = _at(page.rest, self.pages) if self.pages else None
        if isinstance(left, int) and left <= 1:
            return None
        return {**self.first(), self.param: page.last}


Paging = Whole | PageNumbers | Offsets | Cursors | Links | Keyset


class Guard:
    """Sees that a list goes on: DataError where a service would hand out the same for ever."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._asked: set[str] = set()
        self._last: int | None = None
        self._alike = 0

    def asks(self, following: Params | str) -> None:
        """The next request of the list."""
        said = following if isinstance(following, str) else repr(sorted(following.items()))
        if said in self._asked:
            raise DataError(f"{self._what} leads in a circle: it told the same next page twice", hint=_HINT)
        self._asked.add(said)

    def came(self, content: bytes, *, rows: int, new: int | None) -> None:
        """A page that came. `new`: how many of its rows didn't come before; None where they have no key."""
        alike = hash(content) == self._last and rows > 0
        self._last = hash(content)
        self._alike = self._alike + 1 if alike and not new else 0
        if self._alike >= (MOST_ALIKE if new is None else 3):
            raise DataError(f"{self._what} brings the same page again and again", hint=_HINT)


_HINT: Final = "The service doesn't follow the page that is asked for; read again, and tell the service's support."


def _at(body: Any, place: Place) -> Any:
    """What is at a place of a body; None where the way ends."""
    for name in place:
        if not isinstance(body, Mapping):
            return None
        body = body.get(name)
    return body
