"""A made-up company of QuickBooks that answers, plain requests to it, and reads of it by the source."""

from __future__ import annotations

import json
from contextlib import contextmanager
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import httpx2
import pyarrow as pa

from bigcommerce_reads import Found, assert_same, exact
from suiro.connectors.quickbooks.config import QuickBooksConfig
from suiro.connectors.quickbooks.source import QuickBooksSource
from suiro.model.schema import Position, ReadMode
from suiro.model.selection import Selection
from suiro.sandbox.quickbooks.settings import Settings
from suiro.sandbox.server import Running
from suiro.testing.context import LocalContext

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from suiro.engine.accounts import Accounts

SIZES = {"Customer": 130, "Invoice": 160, "Bill": 20, "Vendor": 5}


class Company:
    """One running stand-in of QuickBooks, as a client with a token sees it."""

    def __init__(self, sandbox: Running) -> None:
        self.url = sandbox.urls["quickbooks"]
        self.ways = sandbox.connections()["quickbooks"]
        self.way = self.ways["refresh_token"]
        self.root = f"{self.url}/v3/company/{self.way['company_id']}"
        self.http = httpx2.Client(headers={"Accept": "application/json"})

    def again(self) -> None:
        """As at first: no faults, no settings, nothing counted."""
        self.faults()
        self.http.put(f"{self.url}/_sandbox/settings", json=Settings().model_dump(mode="json")).raise_for_status()
        self.http.delete(f"{self.url}/_sandbox/requests").raise_for_status()

    def token(self, **form: str) -> httpx2.Response:
        """The token endpoint's answer, by default to the refresh token that is there from the beginning."""
        asked = form or {"grant_type": "refresh_token", "refresh_token": self.way["refresh_token"]}
        return self.http.post(
            self.way["token_url"], data=asked, auth=(self.way["client_id"], self.way["client_secret"])
        )

    def sign_in(self) -> None:
        """Requests carry a good token from now on."""
        self.http.headers["Authorization"] = f"Bearer {self.token().raise_for_status().json()['access_token']}"

    def ask(self, method: str, path: str, **how: Any) -> httpx2.Response:
        """One request to the company."""
        return self.http.request(method, self.root + path, **how)

    def query(self, text: str) -> dict[str, Any]:
        """What a query answers."""
        answer = self.ask("GET", "/query", params={"query": text})
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()["QueryResponse"]
        return found

    def set(self, **settings: Any) -> None:
        """Turn some of the switches."""
        answer = self.http.patch(f"{self.url}/_sandbox/settings", json=settings)
        assert answer.status_code == 200, answer.text

    def faults(self, **plan: Any) -> None:
        """What goes wrong from now on."""
        self.http.put(f"{self.url}/_sandbox/faults", json=plan).raise_for_status()

    def told(self) -> dict[str, dict[str, int]]:
        """Requests, faults and answers that were counted."""
        found: dict[str, dict[str, int]] = self.http.get(f"{self.url}/_sandbox/requests").json()
        return found

    def change(self, entity: str, **numbers: int) -> dict[str, list[str]]:
        """Let objects change, come and go, as others would make them."""
        answer = self.http.post(f"{self.url}/_sandbox/changes", json={"entity": entity, **numbers})
        assert answer.status_code == 200, answer.text
        found: dict[str, list[str]] = answer.json()
        return found

    def put(self, entity: str, *objects: dict[str, Any]) -> list[str]:
        """Put objects into the store as they are; their ids."""
        text = "\n".join(json.dumps(one) for one in objects)
        answer = self.http.post(f"{self.url}/_sandbox/records/{entity}", content=text)
        assert answer.status_code == 200, answer.text
        ids: list[str] = answer.json()["ids"]
        return ids

    def records(self, entity: str) -> list[dict[str, Any]]:
        """All objects of an entity, from the store itself."""
        lines = self.http.get(f"{self.url}/_sandbox/records/{entity}").raise_for_status().text.splitlines()
        return [exact(line) for line in lines]


def kept(company: Company, entity: str, schema: pa.Schema) -> list[dict[str, Any]]:
    """The company's own objects as rows must be. Written without the code that it tests."""
    found = []
    for one in company.records(entity):
        row = {}
        for field in schema:
            outer, _, inner = field.name.rpartition("_")
            value = one.get(field.name)
            if field.name not in one and isinstance(one.get(outer), dict):
                value = one[outer].get(inner)
            row[field.name] = _meant(value, field.type)
        found.append(row)
    return found


def _meant(value: Any, type_: pa.DataType) -> Any:
    if value is None:
        return None
    if pa.types.is_timestamp(type_):
        return datetime.fromisoformat(value)
    return date.fromisoformat(value) if pa.types.is_date(type_) else value


def same(wanted: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]) -> None:
    """The same rows, in any order, compared by a hash."""
    both = [[{name: _written(value) for name, value in row.items()} for row in some] for some in (wanted, rows)]
    assert_same(*both)


def _written(value: Any) -> Any:
    return value.isoformat() if type(value) is date else value


class Reader:
    """One source on a company."""

    def __init__(self, company: Company, folder: Path, accounts: Accounts | None = None, **settings: Any) -> None:
        known: dict[str, Any] = {name: value for name, value in company.way.items() if name != "type"}
        self.context = LocalContext(run="r", workdir=folder, accounts=accounts)
        self.source = QuickBooksSource(QuickBooksConfig(**(known | settings)), self.context)

    def read(
        self,
        name: str,
        since: Position | None = None,
        *,
        mode: ReadMode = ReadMode.FULL,
        chosen: tuple[str, ...] = (),
        stop: int | None = None,
    ) -> Found:
        """What a read yields, until its end or until so many checkpoints came."""
        stream = self.source.find(name)
        selection = Selection(
            stream=stream,
            columns=chosen or tuple(stream.schema.names),
            read_mode=mode,
            cursor_field=stream.cursor_fields[0] if mode is ReadMode.INCREMENTAL else None,
            rejects=True,
        )
        (read,) = self.source.plan([selection])
        return Found.of(self.source.read(read, since), stop)

    def follow(self, name: str, since: Position | None = None, **how: Any) -> Found:
        """An incremental read."""
        return self.read(name, since, mode=ReadMode.INCREMENTAL, **how)

    def log(self, name: str, since: Position | None = None, **how: Any) -> Found:
        """A read of the log."""
        return self.read(name, since, mode=ReadMode.LOG, **how)

    @property
    def requests(self) -> int:
        """Those sent to the API."""
        return self.source.http.requests


def ids(found: Found) -> list[str]:
    """The ids of the rows, as they came."""
    return [row["Id"] for row in found.rows]


@contextmanager
def open_company(
    sizes: dict[str, int] | None = None, *, now: Callable[[], datetime] | None = None
) -> Iterator[Company]:
    """A company of its own."""
    clock = now or (lambda: datetime.now(UTC))
    with Running(only=["quickbooks"], sizes=sizes or SIZES, now=clock) as sandbox:
        company = Company(sandbox)
        with company.http:
            yield company
