"""The project as a service: who may ask, how many requests at once, and which path answers what."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Final

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from suiro.sandbox.clevertap.answers import TOO_MANY, Wrong, as_json, failed
from suiro.sandbox.clevertap.control import Control
from suiro.sandbox.clevertap.downloads import MOST, Downloads, profile_record
from suiro.sandbox.clevertap.reports import Reports
from suiro.sandbox.clevertap.store import Store
from suiro.sandbox.clevertap.upload import uploaded
from suiro.sandbox.people import draw
from suiro.sandbox.service import MESSAGES, Service

Asked = Callable[[Mapping[str, str], Any], Response]  #: the query of the URL, and the body
_UPLOAD: Final = "upload"


class CleverTap(Service):
    """One project, its account id and passcode."""

    name: ClassVar[str] = "clevertap"
    default_sizes: ClassVar[Mapping[str, int]] = {"profiles": 400, "events": 3_000, "campaigns": 12}

    def __init__(self, folder: Path, *, seed: int, sizes: Mapping[str, int], now: Callable[[], datetime]) -> None:
        super().__init__(folder, seed=seed, sizes=sizes, now=now)
        self._store = Store(folder / "clevertap.db", seed=seed, sizes=self.sizes, now=now())
        self._downloads, self._reports = Downloads(self._store), Reports(self._store)
        self._control = Control(self._store)
        self._lock, self._under_way = threading.Lock(), Counter[str]()
        self.account, self.passcode = "SAN-DBO-X00Z", f"{draw(seed, 9):016x}"[:12].upper()

    def app(self) -> Starlette:
        """The documented paths, each with `/1/` before it."""
        return Starlette(
            routes=[
                self._route("events.json", "events", get=self._page("events"), post=self._begin("events")),
                self._route("profiles.json", "profiles", get=self._page("profiles"), post=self._begin("profiles")),
                self._route("profile.json", "profile", get=self._profile),
                *(
                    self._route(f"counts/{kind}.json", "counts", get=self._poll, post=self._count(kind))
                    for kind in ("events", "profiles")
                ),
                self._route("targets/list.json", "targets", post=self._told(self._reports.campaigns)),
                self._route("targets/result.json", "targets", post=self._told(self._reports.result)),
                self._route("message/report.json", "messages", post=self._told(self._reports.messages)),
                self._route("getSchema", "schema", get=self._schema),
                self._route("upload", _UPLOAD, post=self._upload),
                self._route("getSchema", "schema", get=self._schema, root="/"),  # or with /1: unverified which
                *self._control.routes(),
            ]
        )

    def connections(self, base_url: str) -> Mapping[str, Mapping[str, str]]:
        """The account's."""
        way = {"type": "clevertap", "account_id": self.account, "passcode": self.passcode, "base_url": base_url}
        return {"passcode": {**way, "timezone": self._control.settings.time_zone}}

    def fault(self, status: int, request: Request) -> Response:
        """As refusals look. The bodies of 500 and 503 are unverified."""
        return failed(TOO_MANY if status == 429 else MESSAGES[status], status, code=status)

    def close(self) -> None:
        """Close the store."""
        self._store.close()

    # -- the way of a request ----------------------------------------------------------------------------------------

    def _route(
        self, path: str, api: str, *, get: Asked | None = None, post: Asked | None = None, root: str = "/1/"
    ) -> Route:
        async def answer(request: Request) -> Response:
            handle = get if request.method == "GET" else post
            if handle is None:
                return failed("Method not allowed", 405)
            if request.headers.get("X-CleverTap-Account-Id") != self.account:
                return failed("Account ID is not valid", 401, code=401)
            if request.headers.get("X-CleverTap-Passcode") != self.passcode:
                return failed("Passcode is not valid", 401, code=401)  # unverified wording
            with self._at_once(api) as may:
                if not may:
                    return failed(TOO_MANY, 429, code=429)
                await asyncio.sleep(self._control.settings.hold_ms / 1000)
                try:
                    body = json.loads(await request.body() or b"{}")
                    return await run_in_threadpool(handle, request.query_params, body)
                except Wrong as wrong:
                    return failed(wrong.error, wrong.status)
                except ValueError:
                    return failed("The body is no JSON", 400)  # unverified

        methods = [name for name, handle in (("GET", get), ("POST", post)) if handle is not None]
        return Route(f"{root}{path}", answer, methods=methods)

    @contextmanager
    def _at_once(self, api: str) -> Iterator[bool]:
        settings = self._control.settings
        most = settings.uploads_at_once if api == _UPLOAD else settings.downloads_at_once
        with self._lock:
            self._under_way[api] += 1
            may = self._under_way[api] <= most
        try:
            yield may
        finally:
            with self._lock:
                self._under_way[api] -= 1

    # -- what each path does -----------------------------------------------------------------------------------------

    def _begin(self, kind: str) -> Asked:
        def begin(query: Mapping[str, str], body: Any) -> Response:
            return self._downloads.begin(kind, body, _size(query), self._control.settings)

        return begin

    def _page(self, kind: str) -> Asked:
        """With a cursor its page; some clients ask for the first cursor by GET, too."""

        def page(query: Mapping[str, str], body: Any) -> Response:
            if "query" in query:
                return self._begin(kind)(query, json.loads(query["query"]))
            options = {
                member: query.get(name, "true") != "false"
                for name, member in (("events", "event_props"), ("profile", "profile"), ("app", "session_props"))
            }
            return self._downloads.page(kind, query.get("cursor", ""), options, self._control.settings)

        return page

    def _profile(self, query: Mapping[str, str], body: Any) -> Response:
        for name, column in (("identity", "identity"), ("email", "email"), ("objectId", "object_id")):
            if name in query:
                with self._store.reading() as session:
                    found = self._store.find(session, column, query[name])
                    if found is None:
                        return failed("Profile not found")  # unverified: status and wording
                    return as_json({"status": "success", "record": profile_record(session, *found)})
        raise Wrong("identity, email or objectId is required")  # unverified wording

    def _count(self, kind: str) -> Asked:
        return lambda query, body: self._reports.count(kind, body, self._control.settings)

    def _poll(self, query: Mapping[str, str], body: Any) -> Response:
        return self._reports.poll(query.get("req_id", ""))

    def _told(self, report: Callable[[Any, Any], Response]) -> Asked:
        return lambda query, body: report(body, self._control.settings)

    def _schema(self, query: Mapping[str, str], body: Any) -> Response:
        return self._reports.schema(query.get("type", ""), self._control.settings)

    def _upload(self, query: Mapping[str, str], body: Any) -> Response:
        now, dry = int(self.now().timestamp()), query.get("dryRun") == "1"
        return uploaded(self._store, body, now, self._control.settings, dry=dry)


def _size(query: Mapping[str, str]) -> int:
    said = query.get("batch_size", str(MOST))
    if not said.isdecimal():
        raise Wrong("batch_size must be a number")  # unverified wording
    return int(said)
