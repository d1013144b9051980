"""A made-up CleverTap project that answers, plain HTTP calls of it, and reads of it by the source."""

from __future__ import annotations

import hashlib
import json
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote
from zoneinfo import ZoneInfo

import httpx2
import pyarrow as pa

from suiro.connectors.clevertap.api import CleverTapConfig
from suiro.connectors.clevertap.source import CleverTapSource
from suiro.model.change import Checkpoint, Rejected, Rows
from suiro.model.schema import Position, ReadMode
from suiro.model.selection import Selection
from suiro.sandbox.server import Running
from suiro.testing.context import LocalContext

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from suiro.engine.accounts import Accounts

SIZES = {"profiles": 90, "events": 700, "campaigns": 6}
EXPORTED = (
    "App Launched", "Charged", "Order Placed", "Product Viewed", "Subscription Cancelled", "Subscription Renewed",
)  # fmt: skip
EVER = {"from": 20150101, "to": 20991231}


class Project:
    """One running stand-in, as a client with its passcode sees it."""

    def __init__(self, url: str, way: dict[str, str]) -> None:
        self.url, self.way = url, way
        headers = {"X-CleverTap-Account-Id": way["account_id"], "X-CleverTap-Passcode": way["passcode"]}
        self.http = httpx2.Client(base_url=url, headers=headers, timeout=30)

    def post(self, path: str, body: Any, **query: Any) -> httpx2.Response:
        return self.http.post(path, json=body, params={name: str(value) for name, value in query.items()})

    def get(self, path: str, **query: Any) -> httpx2.Response:
        return self.http.get(path, params={name: str(value) for name, value in query.items()})

    def set(self, **settings: Any) -> None:
        assert self.http.patch("/_sandbox/settings", json=settings).status_code == 200

    def reset(self) -> None:
        """Settings as at first, no faults, no requests counted."""
        assert self.http.put("/_sandbox/settings", json={}).status_code == 200
        assert self.http.put("/_sandbox/faults", json={}).status_code == 200
        self.http.delete("/_sandbox/requests")

    def faults(self, **plan: Any) -> None:
        assert self.http.put("/_sandbox/faults", json=plan).status_code == 200

    def told(self) -> dict[str, Any]:
        """Requests, faults and answers so far."""
        found: dict[str, Any] = self.http.get("/_sandbox/requests").json()
        return found

    def requests(self) -> int:
        return sum(self.told()["requests"].values())

    def records(self, name: str) -> list[dict[str, Any]]:
        """Profiles, or the events of a name, from the store itself."""
        answer = self.http.get(f"/_sandbox/records/{quote(name)}")
        assert answer.status_code == 200, answer.text
        return [json.loads(line) for line in answer.text.splitlines()]

    def put(self, name: str, *rows: dict[str, Any]) -> None:
        lines = "\n".join(json.dumps(row) for row in rows)
        assert self.http.post(f"/_sandbox/records/{quote(name)}", content=lines).status_code == 200

    def remove(self, *identities: str) -> None:
        self.http.delete("/_sandbox/records/profiles", params={"identity": ",".join(identities)})

    def export(self, folder: Path, **wanted: Any) -> list[str]:
        answer = self.http.post("/_sandbox/exports", json={"folder": str(folder), **wanted})
        assert answer.status_code == 200, answer.text
        files: list[str] = answer.json()["files"]
        return files

    def pages(self, kind: str, event: str, *, size: int = 5000, **body: Any) -> list[list[dict[str, Any]]]:
        """All pages of a download, as the documents say to turn them."""
        begun = self.post(f"/1/{kind}.json", {"event_name": event, **EVER, **body}, batch_size=size).json()
        pages, cursor = [], begun["cursor"]
        while cursor is not None:
            page = self.get(f"/1/{kind}.json", cursor=unquote(cursor)).json()
            if page["status"] == "fail":
                assert "still in progress" in page["error"]
                continue
            pages.append(page["records"])
            cursor = page.get("next_cursor")
        return pages

    def uri(self, **settings: Any) -> str:
        """The connection, as a URI."""
        given = {"base_url": self.url, "wait_seconds": 0, **settings}
        query = "&".join(f"{name}={quote(str(value))}" for name, value in given.items())
        return f"clevertap://{self.way['account_id']}:{self.way['passcode']}@eu1?{query}"

    def config(self, **settings: Any) -> CleverTapConfig:
        given = {name: value for name, value in self.way.items() if name != "type"}
        return CleverTapConfig(**{**given, "wait_seconds": 0, "events": EXPORTED, **settings})


@contextmanager
def open_project(sizes: dict[str, int] | None = None, *, seed: int = 1) -> Iterator[Project]:
    """A project of its own."""
    with Running(only=["clevertap"], sizes=sizes or SIZES, seed=seed) as sandbox:
        project = Project(sandbox.urls["clevertap"], sandbox.connections()["clevertap"]["passcode"])
        with project.http:
            yield project


@dataclass
class Found:
    """What a read yielded."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    positions: list[Position] = field(default_factory=list)
    rejected: list[Any] = field(default_factory=list)
    deduplicated: int = 0

    @property
    def position(self) -> Position:
        """The last one, after a journey through JSON."""
        position: Position = json.loads(json.dumps(self.positions[-1]))
        return position


class Reader:
    """One source on a project."""

    def __init__(self, project: Project, folder: Path, accounts: Accounts | None = None, **settings: Any) -> None:
        self.context = LocalContext(run="r", workdir=folder, accounts=accounts)
        self.source = CleverTapSource(project.config(**settings), self.context)

    def read(self, name: str, since: Position | None = None, *, follow: bool = False, **more: Any) -> Found:
        """Read a stream; `follow`: by its cursor."""
        stream, found = self.source.find(name), Found()
        mode = {"read_mode": ReadMode.INCREMENTAL, "cursor_field": "day"} if follow else {}
        chosen = more.pop("columns", stream.schema.names)
        selection = Selection(stream=stream, columns=tuple(chosen), rejects=True, **mode, **more)  # type: ignore[arg-type]
        (read,) = self.source.plan([selection])
        for change in self.source.read(read, since):
            match change:
                case Rows():
                    found.rows += rows_of(change.data)
                    found.deduplicated += change.deduplicated
                case Checkpoint():
                    found.positions.append(change.position)
                case Rejected():
                    found.rejected += change.rows
        return found


def rows_of(data: pa.RecordBatch) -> list[dict[str, Any]]:
    """Rows as plain values, JSON as its text."""
    columns = [c.storage.to_pylist() if isinstance(c, pa.ExtensionArray) else c.to_pylist() for c in data.columns]
    return [dict(zip(data.schema.names, row, strict=True)) for row in zip(*columns, strict=True)]


def kept_events(project: Project, name: str, zone: str = "Asia/Tokyo") -> list[str]:
    """Hashes of the project's own events, over all that a row must tell; moments from the store's own seconds."""
    marks = []
    for one in project.records(name):
        at = datetime.fromtimestamp(one["at"], UTC)
        local = at.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
        person = one["profile"]
        told = [
            name,
            local.isoformat(),
            at.isoformat(),
            person.get("identity"),
            person["objectId"],
            person.get("email"),
        ]
        marks.append(_mark(told, person, one["event_props"], one["session_props"]))
    return sorted(marks)


def event_marks(rows: list[dict[str, Any]]) -> list[str]:
    """The same of rows that were read."""
    marks = []
    for row in rows:
        assert row["day"] == row["ts"].date()
        told = [row["event_name"], row["ts"].isoformat(), row["ts_utc"].isoformat()]
        told += [row["identity"], row["object_id"], row["email"]]
        person = {name: value for name, value in json.loads(row["profile"]).items() if name != "id"}
        marks.append(_mark(told, person, json.loads(row["event_props"]), json.loads(row["session_props"])))
    return sorted(marks)


def _mark(*told: Any) -> str:
    return hashlib.sha256(json.dumps(told, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
