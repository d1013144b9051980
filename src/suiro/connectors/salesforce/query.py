"""Queries by REST: pages of records, the next one asked for while one is worked on.

Source: "Query" and "QueryAll" in Salesforce's REST API Developer Guide.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import pyarrow as pa

from suiro.connectors.salesforce.decode import Decoder, as_csv, read_json
from suiro.connectors.salesforce.describe import ID
from suiro.connectors.salesforce.org import Org
from suiro.connectors.salesforce.soql import Query, literal
from suiro.model.errors import ConnectionLost, DataError
from suiro.toolkit.http.answers import Answer

Record = dict[str, Any]

TIMEOUT: Final = "QUERY_TIMEOUT"
_PAGE: Final = {"Sforce-Query-Options": "batchSize=2000"}
_REMEMBERED: Final = 50  #: pages whose record ids are known, to tell a page that comes twice
_TRIES: Final = 5  #: of a page that comes in another's place, or whose records change while their fields are read
_BLOBS: Final = 8 << 20  #: bytes of fetched values that a batch holds


class Pages:
    """The pages of one query. `rows`: how many there are in all, as told with the first page."""

    def __init__(self, org: Org, query: Query, first: Answer | None = None) -> None:
        """`first`: its first page, where that was asked for."""
        self._org, self._query = org, query
        self._known = ID in query.fields  #: so that records can be told apart
        self._page = read_json((first or self._asked(query)).content)
        self.rows = int(self._page["totalSize"])
        self._seen: deque[frozenset[str]] = deque(maxlen=_REMEMBERED)
        self._urls: Counter[str] = Counter()

    @property
    def first(self) -> list[Record]:
        """The records of the first page."""
        found: list[Record] = self._page["records"]
        return found

    def __iter__(self) -> Iterator[list[Record]]:
        """Each record once. ConnectionLost if there are fewer or more than were told."""
        done, told, last = 0, self.rows, None
        with ThreadPoolExecutor(1, thread_name_prefix="suiro-salesforce-page") as pool:
            while True:
                url = None if self._page["done"] else self._page.get("nextRecordsUrl")
                coming = None if not url else pool.submit(self._further, url)
                records = self._fresh(self._page["records"])
                done += len(records)
                if records:
                    yield records
                    last = records[-1].get(ID, last)
                if coming is None:
                    break
                answer = coming.result()
                self._page = read_json((answer or self._after(last)).content)
                if answer is None:
                    told = done + int(self._page["totalSize"])
        if done != told:
            raise ConnectionLost(f"Salesforce told of {told:,} records of {self._query.object} and sent {done:,}")

    def _asked(self, query: Query) -> Answer:
        return self._org.ask("GET", _path(self._org, query), params={"q": str(query)}, headers=_PAGE)

    def _further(self, url: str) -> Answer | None:
        """A further page; None where the query's cursor has expired."""
        self._urls[url] += 1
        if self._urls[url] > _TRIES:
            raise DataError(
                f"Salesforce gives the same page of {self._query.object} again and again", hint="Run again."
            )
        answer = self._org.ask("GET", url, headers=_PAGE, allow={400})
        if answer.status != 400:
            return answer
        if self._org.code(answer) == "INVALID_QUERY_LOCATOR":
            return None
        raise self._org.refusal("GET query", answer)

    def _after(self, last: str | None) -> Answer:
        """The records behind the last one, by a new query."""
        if self._query.order != ID or last is None:
            raise ConnectionLost(f"Salesforce's cursor over {self._query.object} expired before its end")
        return self._asked(self._query.also(f"{ID} > {literal(last)}"))

    def _fresh(self, records: list[Record]) -> list[Record]:
        """Those that didn't come with a page before."""
        if not self._known:
            return records
        fresh = [one for one in records if not any(one[ID] in ids for ids in self._seen)]
        self._seen.append(frozenset(one[ID] for one in fresh))
        return fresh


def _path(org: Org, query: Query) -> str:
    """Of a query's first page. Those of others are Salesforce's own: they don't say queryAll any more, and mean it."""
    return org.path("queryAll" if query.deleted else "query")


def quick_pages(org: Org, query: Query) -> Pages | None:
    """The pages of a query; None where it takes Salesforce too long to find its rows."""
    answer = org.ask("GET", _path(org, query), params={"q": str(query)}, headers=_PAGE, allow={400})
    if answer.status != 400:
        return Pages(org, query, answer)
    if org.code(answer) == TIMEOUT:
        return None
    raise org.refusal("GET query", answer)


def batches(org: Org, query: Query, pages: Pages, decoder: Decoder) -> Iterator[pa.RecordBatch]:
    """The rows of a query whose first page was asked for, in the decoder's schema."""
    for records in pages:
        yield from decoded(org, query, records, decoder)


def wide_batches(org: Org, query: Query, stamp: str | None, decoder: Decoder) -> Iterator[pa.RecordBatch]:
    """The rows of a query that is too long for one address: some fields at a time, put together by record id.

    `stamp`: the field that moves with each change of a record, so that all its values are of one moment.
    """
    parts = list(query.cut((ID, stamp) if stamp else (ID,)))
    for records in Pages(org, parts[0]):
        yield from decoded(org, query, _together(org, parts, records, stamp), decoder)


def _together(org: Org, parts: list[Query], records: list[Record], stamp: str | None) -> list[Record]:
    """Records of a page with all their fields; those that went, or changed so that the query has them no more, not."""
    bounds = (f"{ID} >= {literal(records[0][ID])}", f"{ID} <= {literal(records[-1][ID])}")
    for _ in range(_TRIES):
        whole = {one[ID]: dict(one) for one in records}
        same = True
        for part in parts[1:]:
            found = {one[ID]: one for page in Pages(org, part.also(*bounds)) for one in page}
            same = same and all(
                stamp is None or whole[id_][stamp] == one[stamp] for id_, one in found.items() if id_ in whole
            )
            whole = {id_: {**one, **found[id_]} for id_, one in whole.items() if id_ in found}
        if same:
            return list(whole.values())
        records = [one for page in Pages(org, parts[0].also(*bounds)) for one in page]
    raise ConnectionLost(f"records of {parts[0].object} change faster than all their fields can be read")


def decoded(org: Org, query: Query, records: list[Record], decoder: Decoder) -> Iterator[pa.RecordBatch]:
    """Records of one page as rows."""
    if not records:
        return
    for batch in decoder.batches(query.fields, as_csv(records, query.fields)):
        yield from _with_bytes(org, batch)


def _with_bytes(org: Org, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """The batch with what stands at the addresses that its binary columns hold."""
    places = [at for at, field in enumerate(batch.schema) if pa.types.is_binary(field.type)]
    if not places:
        yield batch
        return
    start, held = 0, 0
    fetched: dict[int, list[bytes | None]] = {at: [] for at in places}
    for row in range(batch.num_rows):
        for at in places:
            url = batch.column(at)[row].as_py()
            value = None if url is None else org.ask("GET", url.decode(), headers={"Accept": "*/*"}).content
            fetched[at].append(value)
            held += len(value or b"")
        if held >= _BLOBS or row == batch.num_rows - 1:
            part = batch.slice(start, row + 1 - start)
            columns = [pa.array(fetched[at], pa.binary()) if at in fetched else c for at, c in enumerate(part.columns)]
            yield pa.RecordBatch.from_arrays(columns, schema=part.schema)
            start, held, fetched = row + 1, 0, {at: [] for at in places}


def count_of(org: Org, query: Query) -> int | None:
    """How many rows a query has; None where that can't be told in time. ConfigError where the query is wrong."""
    answer = org.ask("GET", _path(org, query), params={"q": query.count}, allow={400})
    if answer.status == 400:
        if org.code(answer) == TIMEOUT:
            return None
        raise org.refusal("GET query", answer)
    return int(answer.json()["totalSize"])
