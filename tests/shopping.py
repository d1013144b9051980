"""A made-up shop that answers, and a plain HTTP client of it for tests."""

from __future__ import annotations

import json
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx2

from suiro.sandbox.server import Running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SMALL = {"customers": 12, "orders": 14, "products": 6}


class Clock:
    """A clock that stands still until it is told to go on."""

    def __init__(self, start: datetime) -> None:
        self.now = start

    def __call__(self) -> datetime:
        return self.now

    def on(self, seconds: float) -> datetime:
        """The time, so many seconds later."""
        self.now += timedelta(seconds=seconds)
        return self.now


class Shop:
    """One running stand-in of BigCommerce, as a client with a token sees it."""

    def __init__(self, url: str, connections: dict[str, dict[str, str]]) -> None:
        self.url, self.connections = url, connections
        self.store = f"{url}/stores/{connections['full']['store_id']}"
        self.http = httpx2.Client(headers=self.headers("full"))

    def headers(self, way: str) -> dict[str, str]:
        """What a client sends that signs in one of the ways."""
        return {"X-Auth-Token": self.connections[way]["access_token"], "Accept": "application/json"}

    def ask(self, method: str, path: str, *, way: str = "full", body: object = None, **query: Any) -> httpx2.Response:
        """One request to the store. A parameter's colon is written as two underscores: date_modified__min."""
        params = {name.replace("__", ":"): str(value) for name, value in query.items()}
        content = None if body is None else json.dumps(body)
        headers = self.headers(way) | ({"Content-Type": "application/json"} if body is not None else {})
        return self.http.request(method, self.store + path, params=params, content=content, headers=headers)

    def get(self, path: str, **query: Any) -> Any:
        """What a successful GET brings: the records of v2, the data of v3, or None where there is no content."""
        answer = self.ask("GET", path, **query)
        if answer.status_code == 204:
            assert answer.content == b""
            return None
        assert answer.status_code == 200, answer.text
        return answer.json() if path.startswith("/v2/") else answer.json()["data"]

    def pages(self, path: str, **query: Any) -> Iterator[list[dict[str, Any]]]:
        """All pages of a list, until an empty one."""
        page = 1
        while rows := self.get(path, page=page, **query):
            yield rows
            page += 1

    def all(self, path: str, **query: Any) -> list[dict[str, Any]]:
        """All records of a list."""
        return [row for rows in self.pages(path, **query) for row in rows]

    def set(self, **settings: Any) -> None:
        """Turn some of the shop's switches."""
        answer = self.http.patch(self.url + "/_sandbox/settings", json=settings)
        assert answer.status_code == 200, answer.text

    def records(self, name: str) -> list[dict[str, Any]]:
        """All records of a kind, from the store itself."""
        answer = self.http.get(f"{self.url}/_sandbox/records/{name}")
        assert answer.status_code == 200, answer.text
        return [json.loads(line) for line in answer.text.splitlines()]

    def change(self, resource: str, **numbers: int) -> dict[str, list[int]]:
        """Let records change, come and go, as others would make them."""
        answer = self.http.post(self.url + "/_sandbox/changes", json={"resource": resource, **numbers})
        assert answer.status_code == 200, answer.text
        changed: dict[str, list[int]] = answer.json()
        return changed

    def put(self, name: str, *rows: dict[str, Any]) -> list[int]:
        """Put records into the store as they are."""
        answer = self.http.post(
            f"{self.url}/_sandbox/records/{name}", content="\n".join(json.dumps(row) for row in rows)
        )
        assert answer.status_code == 200, answer.text
        ids: list[int] = answer.json()["ids"]
        return ids


@contextmanager
def open_shop(
    sizes: dict[str, int] | None = None, *, seed: int = 1, now: Callable[[], datetime] | None = None
) -> Iterator[Shop]:
    """A shop of its own."""
    clock = now or (lambda: datetime.now(UTC))
    with Running(only=["bigcommerce"], sizes=sizes, seed=seed, now=clock) as sandbox:
        shop = Shop(sandbox.urls["bigcommerce"], sandbox.connections()["bigcommerce"])
        with shop.http:
            yield shop
