"""The way through a resource's pages: which requests, in which order, and which of their rows came before."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from typing import Any, cast
from urllib.parse import quote, urljoin

import pyarrow as pa
import pyarrow.compute as pc

from suiro.model.errors import AuthError
from suiro.model.rejected import RejectedRow
from suiro.toolkit.http.again import Again
from suiro.toolkit.http.ahead import in_order
from suiro.toolkit.http.answers import Answer
from suiro.toolkit.http.client import HttpClient
from suiro.toolkit.http.pages import Guard, Keyset, PageNumbers, Paging, Params, Turned
from suiro.toolkit.http.patience import Patience
from suiro.toolkit.http.records import JsonRecords, Page, nothing
from suiro.toolkit.http.resources import Cursor, Parent, Resource
from suiro.toolkit.http.seen import Seen
from suiro.toolkit.http.sending import How

MOST_SWEEPS = 4  #: times that a list which shifts is read, until it held still


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is to be read. The key and the cursor are among the columns."""

    schema: pa.Schema
    open_: bool = False
    cursor: str | None = None  #: the column to follow
    lower: Any = None  #: of the cursor: no rows before
    full: bool = True
    keys: bool = False  #: nothing but the key counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Came:
    """Rows of one page, those left out that this read brought before."""

    batch: pa.RecordBatch
    rejected: tuple[RejectedRow, ...] = ()
    headers: Mapping[str, str]
    ordered: bool = False  #: all rows with lesser cursors came before


class Walk:
    """Goes through one resource."""

    def __init__(self, http: HttpClient, resource: Resource, above: Resource | None, *, workers: int) -> None:
        self._http, self._resource, self._above, self._workers = http, resource, above, workers
        self._most_bytes = http.context.memory_bytes // 4

    def probe(self, patience: Patience) -> None:
        """Ask for one row, or raise what stands in the way."""
        paging = self._resource.pages
        size = getattr(paging, "size_param", None)
        self._ask({**paging.first(), **({size: 1} if size else {})}, self._resource.params, patience=patience)

    def pages(self, wish: Wish) -> Iterator[Came]:
        """The rows, page by page."""
        resource = self._resource
        reader = JsonRecords(
            wish.schema,
            place=resource.place,
            times=resource.times,
            blank_is_null=resource.blank_is_null,
            open_=wish.open_,
        )
        if self._above is not None and resource.parent is not None:
            return self._of_parents(reader, wish, self._above, resource.parent)
        if resource.cursor is not None and self._goes_along(resource.cursor, wish):
            return self._by_cursor(reader, wish, resource.cursor)
        return self._listed(reader, wish)

    def _goes_along(self, cursor: Cursor, wish: Wish) -> bool:
        """Whether to go along the cursor: where the service can, no row is missed so, and no better order is known."""
        if cursor.order is None or cursor.field not in wish.schema.names or (cursor.nulls and wish.lower is None):
            return False
        return not wish.full or not isinstance(self._resource.pages, Keyset)

    # -- along the cursor --------------------------------------------------------------------------------------------

    def _by_cursor(self, reader: JsonRecords, wish: Wish, cursor: Cursor) -> Iterator[Came]:
        """Each request begins at the last value that came; pages are turned among rows of one value alone."""
        paging, again = cursor.pages or self._resource.pages, Again(self._identity(wish), cursor)
        at, guard, heeded = wish.lower, Guard(self._resource.name), True
        asked: Params | str = paging.first()
        whole: int | None = None  # how many rows the list had at first
        before = 0  # rows of the page before
        while True:
            answer = self._ask(asked, self._since(cursor, at))
            page = self._read(reader, answer)
            whole = self._whole(paging, page, wish) if whole is None else whole
            least, top = _ends(page.batch.column(cursor.field))
            heeded = heeded and (at is None or least is None or least >= cursor.floor(at))
            fresh = again.new(_from(page.batch, cursor.field, wish.lower))
            guard.came(answer.content, rows=page.rows, new=fresh.num_rows if self._resource.primary_key else None)
            yield Came(batch=fresh, rejected=page.rejected, headers=answer.headers, ordered=heeded)
            turned = isinstance(paging, PageNumbers) and asked != paging.first() and again.number is not None
            if isinstance(paging, PageNumbers) and turned and (page.rows or before >= paging.size):
                moved = self._moved(reader, paging, asked, self._since(cursor, at))
                yield Came(batch=again.new(_from(moved, cursor.field, wish.lower)), headers=answer.headers)
            following = _after(paging, asked, page, answer)
            if following is None:
                break
            if heeded and top is not None and (at is None or cursor.floor(top) > cursor.floor(at)):
                at, asked, guard = top, paging.first(), Guard(self._resource.name)
                again.begin(cursor.floor(top))
            else:
                guard.asks(following)
                asked, before = following, page.rows
        self._warn_of(cursor, heeded=heeded)
        if again.number is not None and again.number < whole:
            for came in self._listed(reader, wish):  # rows that have no cursor value, if none was deleted meanwhile
                yield replace(came, batch=again.new(came.batch))

    def _since(self, cursor: Cursor, at: Any) -> Params:
        """The parameters of a list that begins at a value."""
        since = {cursor.param: cursor.value(at)} if at is not None else {}
        return {**self._resource.params, **(cursor.order or {}), **since}

    def _whole(self, paging: Paging, first: Page, wish: Wish) -> int:
        """How many rows a list has that begins at the beginning, where its first page tells."""
        return next(iter(_total(paging, first)), 0) if wish.lower is None else 0

    def _moved(self, reader: JsonRecords, paging: PageNumbers, asked: Params | str, params: Params) -> pa.RecordBatch:
        """The page before this one, once more: where rows went, those behind them have moved forward onto it."""
        number = int(asked[paging.param]) if not isinstance(asked, str) else paging.begins
        return self._read(reader, self._ask(paging.number(number - 1), params)).batch

    def _warn_of(self, cursor: Cursor, *, heeded: bool) -> None:
        if not heeded:
            self._http.context.log.warning(
                "%s: the service ignored the filter %s, so that all rows were read and those before left out",
                self._resource.name,
                cursor.param,
            )

    # -- in the service's own order ----------------------------------------------------------------------------------

    def _listed(self, reader: JsonRecords, wish: Wish) -> Iterator[Came]:
        """The list as it is; once more where it shifted meanwhile, or brought less than the service counts."""
        resource, cursor, heeded = self._resource, self._resource.cursor, True
        identity = self._identity(wish)
        params: dict[str, str | int] = {**resource.params, **(resource.keys if wish.keys else {})}
        if wish.lower is not None and cursor is not None:
            params[cursor.param] = cursor.value(wish.lower)
        everything: Seen | None = None
        for sweep in range(MOST_SWEEPS):
            seen, counts, new, rejected = Seen(identity) if identity else None, list[int](), 0, 0
            for page, answer in self._turned(reader, params):
                batch, below = page.batch, False
                if cursor is not None and wish.lower is not None:
                    least, _ = _ends(batch.column(cursor.field))
                    below = least is not None and least < cursor.floor(wish.lower)
                    heeded = heeded and (not below or cursor.newest_first)
                    batch = _from(batch, cursor.field, wish.lower)
                batch = batch if seen is None else seen.new(batch)
                fresh = batch if everything is None else everything.new(batch)
                counts += _total(resource.pages, page)
                new, rejected = new + fresh.num_rows, rejected + len(page.rejected)
                yield Came(batch=fresh, rejected=() if sweep else page.rejected, headers=answer.headers)
                if below and cursor is not None and cursor.newest_first and _falls(page.batch.column(cursor.field)):
                    return
            whole = seen is None or not counts or (seen.number + rejected >= counts[-1] and counts[0] == counts[-1])
            if whole or not heeded or (sweep and not new):
                break
            everything = everything or seen
        if cursor is not None:
            self._warn_of(cursor, heeded=heeded)

    def _turned(self, reader: JsonRecords, params: Params) -> Iterator[tuple[Page, Answer]]:
        """The pages of one list. Numbered ones are asked for ahead."""
        paging, guard = self._resource.pages, Guard(self._resource.name)
        asked: Params | str = paging.first()
        following: Params | str | None = asked
        ahead: Generator[Answer] | None = None
        try:
            while following is not None:
                asked, answer = following, next(ahead, None) if ahead is not None else None
                if answer is None:
                    answer = self._ask(asked, params)
                page = self._read(reader, answer)
                guard.came(answer.content, rows=page.rows, new=0 if self._resource.primary_key else None)
                yield page, answer
                following = _after(paging, asked, page, answer)
                if following is not None:
                    guard.asks(following)
                    if isinstance(paging, PageNumbers) and asked == paging.first():
                        ahead = self._numbered(paging, page, params)
        finally:
            if ahead is not None:
                ahead.close()

    def _numbered(self, paging: PageNumbers, first: Page, params: Params) -> Generator[Answer]:
        """The pages behind the first one: as many as there are said to be, else without an end."""
        known = paging.known(first.rest)
        numbers = count(paging.begins + 1) if known is None else range(paging.begins + 1, paging.begins + known)
        return self._ahead(partial(self._ask, paging.number(number), params) for number in numbers)

    def _ahead(self, acts: Iterable[Callable[[], Answer]]) -> Generator[Answer]:
        return in_order(acts, workers=self._workers, size=_size, most_bytes=self._most_bytes)

    # -- of each parent ----------------------------------------------------------------------------------------------

    def _of_parents(self, reader: JsonRecords, wish: Wish, above: Resource, parent: Parent) -> Iterator[Came]:
        """The rows of each parent. What is said of order is said behind all of a page of parents."""
        at = above.cursor.field if above.cursor is not None and not (wish.keys and above.keys) else None
        names = dict.fromkeys((parent.key, *above.primary_key, *([at] if at else [])))
        parents = Wish(
            schema=pa.schema([above.schema.field(name) for name in names]),
            cursor=at if wish.cursor else None,
            lower=wish.lower,
            full=wish.full,
            keys=wish.keys,
        )
        identity = self._identity(wish)
        seen = Seen(identity) if identity else None
        for came in Walk(self._http, above, None, workers=self._workers).pages(parents):
            keys = came.batch.column(parent.key).to_pylist()
            times = came.batch.column(at).to_pylist() if at else [None] * len(keys)
            acts = [partial(self._ask, self._resource.pages.first(), self._resource.params, key=key) for key in keys]
            with closing(self._ahead(acts)) as coming:
                for key, time, answer in zip(keys, times, coming, strict=True):
                    given = {parent.column: key} | ({parent.cursor: time} if parent.cursor and at else {})
                    for page in self._rest_of(reader, answer, key, given):
                        fresh = page.batch if seen is None else seen.new(page.batch)
                        yield Came(batch=fresh, rejected=page.rejected, headers=came.headers)
            yield Came(batch=came.batch.slice(0, 0), headers=came.headers, ordered=came.ordered)

    def _rest_of(self, reader: JsonRecords, answer: Answer, key: Any, given: Mapping[str, Any]) -> Iterator[Page]:
        """One parent's pages, of which the first is there."""
        paging, guard = self._resource.pages, Guard(self._resource.name)
        asked: Params | str = paging.first()
        while True:
            page = self._read(reader, answer, given)
            yield page
            following = _after(paging, asked, page, answer)
            if following is None:
                return
            guard.asks(following)
            asked, answer = following, self._ask(following, self._resource.params, key=key)

    # -- requests and bodies -----------------------------------------------------------------------------------------

    def _ask(self, paged: Params | str, params: Params, *, key: Any = None, patience: Patience | None = None) -> Answer:
        """One page. A link that the service gave holds its parameters already."""
        resource = self._resource
        path = resource.path if resource.parent is None else _filled(resource.path, resource.parent.column, key)
        how: dict[str, Any] = {"label": resource.path, "allow": resource.empty}
        if patience is not None:
            how["patience"] = patience
        try:
            if isinstance(paged, str):
                return self._http.get(paged, **how)
            if resource.asks is not None:
                return resource.asks(self._http, path, {**params, **paged}, cast(How, how))
            return self._http.get(path, params={**params, **paged}, **how)
        except AuthError as error:
            if not resource.scope or not lacks_scope(error):
                raise
            hint = f"Give these credentials the permission {resource.scope}, or leave {resource.name} out."
            raise AuthError(error.message, hint=hint) from error

    def _read(self, reader: JsonRecords, answer: Answer, given: Mapping[str, Any] | None = None) -> Page:
        if answer.status == 204 or answer.status in self._resource.empty:
            return Page(batch=nothing(reader.schema))
        return reader.page(answer.content, given)

    def _identity(self, wish: Wish) -> tuple[str, ...]:
        """What tells a row from another: the key, and where changes are followed the time of the change.

        Of a whole read each key comes once, as it was first seen: its change is behind the position, if that is kept.
        """
        key = self._resource.primary_key
        if not key or wish.cursor is None or wish.cursor in key:
            return key
        moment = pa.types.is_timestamp(wish.schema.field(wish.cursor).type)
        return key if wish.full and moment else (*key, wish.cursor)


def lacks_scope(error: AuthError) -> bool:
    """Whether the service refused one resource (403), and not the credentials."""
    return ": 403 " in error.message


def _after(paging: Paging, asked: Params | str, page: Page, answer: Answer) -> Params | str | None:
    """What to ask for behind a page."""
    last = None
    if isinstance(paging, Keyset):
        _, last = _ends(page.batch.column(paging.column))
    asked = {} if isinstance(asked, str) else asked
    turned = Turned(asked=asked, rows=page.rows, rest=page.rest, headers=answer.headers, last=last)
    following = paging.after(turned)
    return urljoin(answer.url, following) if isinstance(following, str) else following


def _ends(column: pa.Array) -> tuple[Any, Any]:
    """The least and the greatest value; None where there is none."""
    ends = pc.min_max(column)
    return ends["min"].as_py(), ends["max"].as_py()


def _falls(column: pa.Array) -> bool:
    """Whether no value is greater than the one before it."""
    return bool(pc.all(pc.less_equal(column[1:], column[:-1])).as_py() is not False)


def _from(batch: pa.RecordBatch, column: str, lower: Any) -> pa.RecordBatch:
    """The rows at or past a value, and those without one."""
    if lower is None or not batch.num_rows:
        return batch
    values = batch.column(column)
    keep = pc.fill_null(pc.greater_equal(values, pa.scalar(lower, values.type)), True)
    return batch if pc.all(keep).as_py() else batch.filter(keep)


def _total(paging: Paging, page: Page) -> list[int]:
    """How many rows the list has, where the page tells."""
    found = paging.counted(page.rest) if isinstance(paging, PageNumbers) else None
    return [] if found is None else [found]


def _filled(path: str, name: str, value: Any) -> str:
    return path.replace("{" + name + "}", quote(str(value), safe=""))


def _size(answer: Answer) -> int:
    return max(1, len(answer.content))
