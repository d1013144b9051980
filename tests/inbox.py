"""A made-up workspace of Intercom that answers, a plain client of it, and reads of it by the source."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import pyarrow as pa

from bigcommerce_reads import Found, exact
from suiro.connectors.intercom.source import RESOURCES, IntercomConfig, IntercomSource
from suiro.engine.accounts import Accounts
from suiro.model.schema import Position, ReadMode
from suiro.model.selection import Selection
from suiro.sandbox.server import Running
from suiro.testing.context import LocalContext

SMALL = {"contacts": 30, "companies": 6, "conversations": 12, "tickets": 5}
SCHEMAS = {resource.name: resource.schema for resource in RESOURCES}
#: Streams that the workspace keeps under another name.
KEPT = {"contact_notes": "notes", "users": "contacts", "leads": "contacts"}


class Inbox:
    """One running stand-in of Intercom, as a client with a token sees it."""

    def __init__(self, url: str, connections: dict[str, dict[str, str]]) -> None:
        self.url, self.connections = url, connections
        self.http = httpx2.Client(base_url=url, headers=self.headers("token"))

    def headers(self, way: str) -> dict[str, str]:
        """What a client sends that signs in one of the ways."""
        return {"Authorization": f"Bearer {self.connections[way]['access_token']}"}

    def ask(self, method: str, path: str, body: object = None, way: str = "token", **query: Any) -> httpx2.Response:
        """One request."""
        return self.http.request(method, path, json=body, params=query, headers=self.headers(way))

    def get(self, path: str, **query: Any) -> Any:
        """What a successful GET brings."""
        return self._good(self.ask("GET", path, **query))

    def post(self, path: str, body: object = None, **query: Any) -> Any:
        """What a successful POST brings."""
        return self._good(self.ask("POST", path, body, **query))

    def search(self, kind: str, *filters: tuple[str, str, Any], **more: Any) -> list[str]:
        """The ids that a search finds, of its first page."""
        parts = [{"field": field, "operator": operator, "value": value} for field, operator, value in filters]
        body = {"query": {"operator": "AND", "value": parts}, "pagination": {"per_page": 150}, **more}
        key = {"contacts": "data"}.get(kind, kind)
        return [one["id"] for one in self.post(f"/{kind}/search", body)[key]]

    def set(self, **settings: Any) -> None:
        """Turn some of the switches."""
        self._good(self.http.patch("/_sandbox/settings", json=settings))

    def faults(self, **plan: Any) -> None:
        """Which faults are to happen."""
        self._good(self.http.put("/_sandbox/faults", json=plan))

    def requests(self) -> dict[str, int]:
        """How many requests of each kind there were since the last call of this."""
        told: dict[str, int] = self.http.get("/_sandbox/requests").json()["requests"]
        self.http.delete("/_sandbox/requests")
        return told

    def records(self, name: str) -> list[dict[str, Any]]:
        """All records of a kind, from the workspace itself."""
        return [exact(line) for line in self.http.get(f"/_sandbox/records/{name}").text.split("\n") if line]

    def put(self, name: str, *rows: Mapping[str, Any]) -> list[str]:
        """Put records into the workspace as they are."""
        text = "\n".join(json.dumps(row) for row in rows)
        ids: list[str] = self._good(self.http.post(f"/_sandbox/records/{name}", content=text))["ids"]
        return ids

    def take(self, name: str, *ids: str) -> None:
        """Take records away; all of a kind where none is named."""
        self._good(self.http.request("DELETE", f"/_sandbox/records/{name}", params={"ids": ",".join(ids)}))

    def change(self, resource: str, **numbers: int) -> dict[str, list[str]]:
        """Let records change, come and go, as others would make them."""
        changed: dict[str, list[str]] = self._good(
            self.http.post("/_sandbox/changes", json={"resource": resource, **numbers})
        )
        return changed

    def kept(self, stream: str) -> list[dict[str, Any]]:
        """The workspace's own records of a stream, as rows must be; written without the code that it tests."""
        schema = SCHEMAS[stream]
        rows = self.records(KEPT.get(stream, stream))
        if stream in ("users", "leads"):
            rows = [row for row in rows if f"{row['role']}s" == stream]
        return [{name: meant(row.get(name), schema.field(name).type) for name in schema.names} for row in rows]

    @staticmethod
    def _good(answer: httpx2.Response) -> Any:
        assert answer.status_code == 200, answer.text
        return answer.json()


def meant(value: Any, type_: pa.DataType) -> Any:
    """A value of the workspace's in the form of `rows_of`."""
    if value is None or (pa.types.is_timestamp(type_) and value == 0):
        return None
    if pa.types.is_timestamp(type_):
        return datetime.fromtimestamp(int(value), UTC)
    return Decimal(str(value)) if pa.types.is_decimal(type_) else value


@contextmanager
def open_inbox(
    sizes: dict[str, int] | None = None, *, seed: int = 1, now: Callable[[], datetime] | None = None
) -> Iterator[Inbox]:
    """A workspace of its own."""
    clock = now or (lambda: datetime.now(UTC))
    with Running(only=["intercom"], sizes=sizes, seed=seed, now=clock) as sandbox:
        inbox = Inbox(sandbox.urls["intercom"], sandbox.connections()["intercom"])
        with inbox.http:
            yield inbox


class Reader:
    """One source on a workspace."""

    def __init__(self, inbox: Inbox, folder: Path, way: str = "token", accounts: Accounts | None = None, **more: Any):
        given = {name: value for name, value in inbox.connections[way].items() if name != "type"} | more
        self.context = LocalContext(run="r", workdir=folder, accounts=accounts)
        self.source = IntercomSource(IntercomConfig(**given), self.context)

    def read(
        self,
        name: str,
        since: Position | None = None,
        *,
        mode: ReadMode = ReadMode.FULL,
        chosen: Sequence[str] = (),
    ) -> Found:
        """What a read yields."""
        stream = self.source.find(name)
        cursor = stream.cursor_fields[0] if mode is ReadMode.INCREMENTAL else None
        names = tuple(chosen or stream.schema.names)
        selection = Selection(stream=stream, columns=names, read_mode=mode, cursor_field=cursor, rejects=True)
        (read,) = self.source.plan([selection])
        return Found.of(self.source.read(read, since))

    def follow(self, name: str, since: Position | None = None) -> Found:
        """An incremental read."""
        return self.read(name, since, mode=ReadMode.INCREMENTAL)

    @property
    def requests(self) -> int:
        """Requests that were sent so far."""
        return self.source.http.requests
