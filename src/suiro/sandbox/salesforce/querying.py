"""`/query`, `/queryAll`, and the pages that follow."""

from __future__ import annotations

import json
import re
import secrets
import threading
from array import array
from collections import OrderedDict
from dataclasses import dataclass

from starlette.responses import Response

from suiro.sandbox.salesforce.api import Api, Call, json_text
from suiro.sandbox.salesforce.errors import Refusal, malformed
from suiro.sandbox.salesforce.org import Org
from suiro.sandbox.salesforce.soql.compile import Compiled, Ways, compile_query
from suiro.sandbox.salesforce.soql.parse import parse

#: Rows of a page that a client may ask for [1.3].
FEWEST, MOST = 200, 2000
#: Cursors that are kept; the one that was used longest ago goes first.
MOST_CURSORS = 50
LOCATOR = re.compile(r"(?P<cursor>01g\w{15})(?:-c(?P<child>\d+)-(?P<parent>\d+))?-(?P<start>\d+)")


@dataclass(slots=True, kw_only=True)
class Cursor:
    """A query whose pages are still asked for: its records by number, in order."""

    id: str
    compiled: Compiled
    rows: array[int]
    until: float
    pages: int | None

    @property
    def total(self) -> int:
        return len(self.rows)


class Querying:
    """Answers queries. Cursors end with the process."""

    def __init__(self, org: Org) -> None:
        self._org = org
        self._lock = threading.Lock()
        self._cursors: OrderedDict[str, Cursor] = OrderedDict()

    def add_to(self, api: Api) -> None:
        # queryAll's next pages are told under query/ [DOC resources_queryall_more_results].
        api.add("/query", {"GET": self.query})
        api.add("/queryAll", {"GET": self.query_all})
        api.add("/query/{locator}", {"GET": self.more})
        api.add("/queryAll/{locator}", {"GET": self.more})

    def query(self, call: Call) -> Response:
        return self._first(call, deleted=False)

    def query_all(self, call: Call) -> Response:
        return self._first(call, deleted=True)

    def more(self, call: Call) -> Response:
        """A page by its locator. Refusal INVALID_QUERY_LOCATOR: the cursor is gone."""
        match = LOCATOR.fullmatch(call.path["locator"])
        cursor = self._find(match["cursor"] if match else "")
        if match is None or cursor is None:
            raise Refusal(400, "INVALID_QUERY_LOCATOR", "invalid query locator")
        start = int(match["start"])
        if match["child"] is not None:
            return self._child_page(call, cursor, int(match["child"]), int(match["parent"]), start)
        size = self._page_rows(call)
        if call.duplicate_page and start > 0:
            # A fault of the sandbox: the page before once more; its next page is the one that was asked for.
            return self._page(call, cursor, max(0, start - size), start)
        return self._page(call, cursor, start, min(start + size, cursor.total))

    def _first(self, call: Call, *, deleted: bool) -> Response:
        text = call.query.get("q")
        if text is None:
            raise malformed("SOQL query is missing: parameter q")
        identity = f"01g{secrets.token_hex(8)[:15].upper():0<15}"
        size = self._page_rows(call)
        ways = Ways(version=call.version, cursor=identity, deleted=deleted, page_rows=size)
        compiled = compile_query(self._org, parse(text), ways)
        if compiled.counts:
            return self._count(compiled)
        if compiled.groups:
            return self._groups(compiled)
        with self._org.reading() as connection:
            found = connection.execute(compiled.rows_sql(), compiled.where_parameters)
            rows = array("q", (row for (row,) in found))
        settings = self._org.settings
        cursor = Cursor(
            id=identity,
            compiled=compiled,
            rows=rows,
            until=self._org.now().timestamp() + settings.cursor_seconds,
            pages=settings.cursor_pages,
        )
        if len(rows) > size or compiled.children:
            self._keep(cursor)
        return self._page(call, cursor, 0, min(size, len(rows)))

    def _page(self, call: Call, cursor: Cursor, start: int, end: int) -> Response:
        compiled = cursor.compiled
        wanted = list(cursor.rows[start:end])
        with self._org.reading() as connection:
            found = connection.execute(
                compiled.records_sql(), [*compiled.record_parameters, json.dumps(wanted)]
            ).fetchall()
        by_row = dict(found)
        records = ",".join(by_row[row] for row in wanted if row in by_row)
        head = f'"totalSize":{cursor.total},"done":{"false" if end < cursor.total else "true"}'
        if end < cursor.total:
            head += f',"nextRecordsUrl":"/services/data/v{call.version}/query/{cursor.id}-{end}"'
        return json_text(f'{{{head},"records":[{records}]}}')

    def _child_page(self, call: Call, cursor: Cursor, child: int, parent: int, start: int) -> Response:
        if child >= len(cursor.compiled.children):
            raise Refusal(400, "INVALID_QUERY_LOCATOR", "invalid query locator")
        part = cursor.compiled.children[child]
        size = self._page_rows(call)
        of_parent = f'(SELECT "Id" FROM "{cursor.compiled.object.name}" WHERE _row = ?)'
        inner = part.compiled
        where = f"{part.link} = {of_parent}" + inner.where.removeprefix(f'{part.link} = t."Id"')
        listed = f"SELECT {inner.record} AS record {inner.source} WHERE {where} {inner.order}"
        parameters = [*inner.record_parameters, parent, *inner.where_parameters]
        with self._org.reading() as connection:
            total = connection.execute(f"SELECT count(*) FROM ({listed})", parameters).fetchone()[0]
            page = connection.execute(
                f"SELECT record FROM ({listed}) LIMIT {size} OFFSET {start}", parameters
            ).fetchall()
        end = start + len(page)
        head = f'"totalSize":{total},"done":{"false" if end < total else "true"}'
        if end < total:
            url = f"/services/data/v{call.version}/query/{cursor.id}-c{child}-{parent}-{end}"
            head += f',"nextRecordsUrl":"{url}"'
        return json_text(f'{{{head},"records":[{",".join(record for (record,) in page)}]}}')

    def _count(self, compiled: Compiled) -> Response:
        """COUNT() tells only how many [1.3]."""
        sql = f"SELECT count(*) {compiled.source} WHERE {compiled.where}"
        with self._org.reading() as connection:
            total = connection.execute(sql, compiled.where_parameters).fetchone()[0]
        return json_text(f'{{"totalSize":{total},"done":true,"records":[]}}')

    def _groups(self, compiled: Compiled) -> Response:
        with self._org.reading() as connection:
            parameters = [*compiled.record_parameters, *compiled.where_parameters]
            found = connection.execute(compiled.groups_sql(), parameters).fetchall()
        if len(found) > MOST:
            raise Refusal(400, "EXCEEDED_ID_LIMIT", "Aggregate query does not support queryMore(), use LIMIT")
        records = ",".join(record for (record,) in found)
        return json_text(f'{{"totalSize":{len(found)},"done":true,"records":[{records}]}}')

    def _page_rows(self, call: Call) -> int:
        """Rows of a page: as `Sforce-Query-Options: batchSize` says, 200 to 2,000, and never more than is set."""
        match = re.search(r"batchSize\s*=\s*(\d+)", call.headers.get("sforce-query-options", ""), re.IGNORECASE)
        asked = min(MOST, max(FEWEST, int(match[1]))) if match else MOST
        return min(asked, self._org.settings.page_rows)

    def _keep(self, cursor: Cursor) -> None:
        with self._lock:
            self._cursors[cursor.id] = cursor
            while len(self._cursors) > MOST_CURSORS:
                self._cursors.popitem(last=False)

    def _find(self, identity: str) -> Cursor | None:
        with self._lock:
            cursor = self._cursors.get(identity)
            if cursor is None:
                return None
            over = self._org.now().timestamp() >= cursor.until or cursor.pages == 0
            if over:
                del self._cursors[identity]
                return None
            self._cursors.move_to_end(identity)
            if cursor.pages is not None:
                cursor.pages -= 1
            return cursor
