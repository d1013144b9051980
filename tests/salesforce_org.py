"""A sandbox of Salesforce in tests: its control routes, and sources of the connector on it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import pyarrow as pa

from suiro.app.opened import configure
from suiro.connectors.salesforce import connector
from suiro.connectors.salesforce.source import SalesforceSource
from suiro.engine.accounts import Accounts
from suiro.model.change import Change, Checkpoint, Rows
from suiro.model.schema import Position, ReadMode
from suiro.model.selection import Selection
from suiro.sandbox.server import Running
from suiro.testing.context import LocalContext

STAMPED = [
    {"name": "Id", "type": "id", "length": 18, "nillable": False},
    {"name": "Name", "type": "string", "length": 80},
    {"name": "IsDeleted", "type": "boolean", "nillable": False},
    {"name": "SystemModstamp", "type": "datetime", "nillable": False},
]


class Org:
    """One running sandbox: its control routes, and sources on it."""

    def __init__(self, running: Running, folder: Path) -> None:
        self.url = running.urls["salesforce"]
        self.ways = running.connections()["salesforce"]
        self.accounts = Accounts()
        self._http = httpx2.Client(base_url=self.url, timeout=60)
        self._folder, self._opened, self._runs = folder, list[SalesforceSource](), 0

    # --- the control routes

    def control(self, method: str, path: str, body: Any = None) -> Any:
        """One request to a route of the sandbox's own."""
        answer = self._http.request(method, f"/_sandbox/{path}", json=body)
        assert answer.status_code < 300, f"{method} {path}: {answer.status_code} {answer.text[:500]}"
        return answer.json() if answer.content else None

    def make(self, name: str, fields: Sequence[Mapping[str, Any]] = STAMPED, **more: Any) -> str:
        """An object with exactly these fields and no records."""
        self.control("PUT", f"objects/{name}", {"fields": list(fields), "replicateable": True, **more})
        return name

    def put(self, name: str, records: Iterable[Mapping[str, Any]]) -> None:
        """Records straight into the store."""
        lines = "\n".join(json.dumps(record, ensure_ascii=False) for record in records)
        answer = self._http.post(f"/_sandbox/records/{name}", content=lines.encode())
        assert answer.status_code < 300, answer.text[:500]

    def settings(self, **given: Any) -> None:
        """Change settings of the sandbox."""
        self.control("PUT", "settings", given)

    def records(self, name: str, *, deleted: bool = False) -> list[dict[str, Any]]:
        """All records as the store has them."""
        answer = self._http.get(f"/_sandbox/records/{name}", params={"deleted": "true"} if deleted else {})
        return [json.loads(line, parse_float=Decimal) for line in answer.content.decode().split("\n") if line]

    def requests(self) -> dict[str, int]:
        """How many requests came since `forget_requests`, by method and route."""
        found: dict[str, int] = self.control("GET", "requests")["requests"]
        return found

    def forget_requests(self) -> None:
        self.control("DELETE", "requests")

    # --- the connector

    def context(self) -> LocalContext:
        """Of a run of its own; grants and quotas are shared by all."""
        self._runs += 1
        return LocalContext(run=f"run{self._runs}", workdir=self._folder / f"{self._runs}", accounts=self.accounts)

    def source(
        self, way: str = "client_credentials", context: LocalContext | None = None, **more: Any
    ) -> SalesforceSource:
        """A source, closed after the test."""
        settings = {name: value for name, value in self.ways[way].items() if name != "type"}
        source = connector.source
        assert source is SalesforceSource
        opened = SalesforceSource(configure(connector, {**settings, **more}), context or self.context())  # type: ignore[arg-type]
        self._opened.append(opened)
        return opened

    def close(self) -> None:
        while self._opened:
            self._opened.pop().close()
        self._http.close()


def said(value: Any) -> Any:
    """A value as REST writes it."""
    match value:
        case datetime():
            return f"{value.astimezone(UTC).isoformat(timespec='milliseconds')[:23]}+0000"
        case time():
            return f"{value.isoformat('milliseconds')}Z"
        case None | bool() | int() | str():
            return value
    return str(value)


def digest(rows: Iterable[Mapping[str, Any]], columns: Iterable[str]) -> tuple[int, str]:
    """How many rows, and a hash of these columns of them, whatever their order."""
    names = sorted(columns)
    lines = sorted(json.dumps([_plain(row[name]) for name in names], ensure_ascii=False) for row in rows)
    return len(lines), hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal | int) and not isinstance(value, bool):
        return f"{Decimal(value).normalize():f}"
    return None if value == "" else said(value)


def select(source: SalesforceSource, name: str, *columns: str, **how: Any) -> Selection:
    """A selection of a stream; without columns all of them."""
    stream = source.find(name)
    return Selection(stream=stream, columns=columns or tuple(stream.schema.names), **how)


def follow(source: SalesforceSource, name: str, *columns: str, **how: Any) -> Selection:
    """An incremental one by SystemModstamp, for rows that are merged."""
    how = {"cursor_field": "SystemModstamp", "deduplicate": False, **how}
    return select(source, name, *columns, read_mode=ReadMode.INCREMENTAL, **how)


def changes(source: SalesforceSource, selection: Selection, since: Position | None = None) -> Iterator[Change]:
    """What all parts of a reading yield."""
    for read in source.plan([selection]):
        yield from source.read(read, since)


def carried(
    source: SalesforceSource, selection: Selection, since: Position | None = None
) -> tuple[list[dict[str, Any]], Position]:
    """The rows of a reading, and its position, after a journey through JSON."""
    rows, ends = list[dict[str, Any]](), list[Position]()
    for read in source.plan([selection]):
        last: Change | None = None
        for last in source.read(read, since):
            if isinstance(last, Rows):
                rows += last.data.to_pylist()
        assert isinstance(last, Checkpoint)
        ends.append(last.position)
    return rows, json.loads(json.dumps(source.join(ends)))


def table(source: SalesforceSource, selection: Selection) -> pa.Table:
    """The rows of a reading."""
    batches = [change.data for change in changes(source, selection) if isinstance(change, Rows)]
    return pa.Table.from_batches(batches, pa.schema([selection.stream.schema.field(c) for c in selection.columns]))
