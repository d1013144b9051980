"""The company's API and its sign-in, as routes."""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Final
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from suiro.sandbox.quickbooks.access import CLIENT_ID, CLIENT_SECRET, COMPANY, FIRST_TOKEN, Access, NoToken, discovery
from suiro.sandbox.quickbooks.answers import Body, Refused, as_json, as_xml, missing, throttled, unsigned
from suiro.sandbox.quickbooks.control import Control
from suiro.sandbox.quickbooks.entities import BY_PATH, UNLOGGED, key_of
from suiro.sandbox.quickbooks.grammar import names, parsed
from suiro.sandbox.quickbooks.records import Kept, Records, moment
from suiro.sandbox.quickbooks.reports import Reports
from suiro.sandbox.quickbooks.seeds import DAY, Seeding
from suiro.sandbox.quickbooks.settings import Settings
from suiro.sandbox.quickbooks.writing import Writing, queried
from suiro.sandbox.service import Service

ROOT: Final = "/v3/company/{company}"
LOG_DAYS: Final = 30  #: how far the log of changes goes back [DOC]
Answering = Callable[[Request, bytes], Body]


class QuickBooks(Service):
    """One company under /v3/company/4620816365000001, and the sign-in of its app."""

    name: ClassVar[str] = "quickbooks"
    default_sizes: ClassVar[Mapping[str, int]] = {"Customer": 150, "Invoice": 300, "Bill": 40, "Vendor": 12}
    paged_routes: ClassVar[frozenset[str]] = frozenset({f"{ROOT}/query"})

    def __init__(self, folder: Path, *, seed: int, sizes: Mapping[str, int], now: Callable[[], datetime]) -> None:
        super().__init__(folder, seed=seed, sizes=sizes, now=now)
        self.records = Records(folder / "company.db")
        Seeding(self.records, seed, self.sizes, now()).sow()
        self.control = Control(self.records, now)
        self.access = Access(self.records, lambda: self.control.settings, now)
        self._quota, self._writing, self._reports = Quota(), Writing(self.records, now), Reports(self.records, now)
        self._done: dict[str, Body] = {}

    def app(self) -> Starlette:
        """The routes. Faults lie around them."""
        api: list[tuple[str, str, Answering]] = [
            ("GET", "/query", self._query),
            ("POST", "/query", self._query),
            ("GET", "/cdc", self._changed),
            ("POST", "/batch", self._batch),
            ("GET", "/reports/{report}", self._report),
            ("GET", "/preferences", self._preferences),
            ("GET", "/{entity}/{id}", self._one),
            ("POST", "/{entity}", self._write),
        ]
        routes: list[BaseRoute] = [Route(ROOT + path, self._answers(act), methods=[way]) for way, path, act in api]
        routes += [
            Route("/.well-known/openid_configuration", self._discovery, methods=["GET"]),
            Route("/connect/oauth2", self._consent, methods=["GET"]),
            Route("/oauth2/v1/tokens/bearer", self._token, methods=["POST"]),
            Route("/v2/oauth2/tokens/revoke", self._revoke, methods=["POST"]),
            *self.control.routes(),
        ]
        return Starlette(routes=routes)

    def connections(self, base_url: str) -> Mapping[str, Mapping[str, str]]:
        """With a refresh token, and for a sign-in at a browser."""
        app = {
            "type": self.name,
            "base_url": base_url,
            "company_id": COMPANY,
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "authorize_url": f"{base_url}/connect/oauth2",
            "token_url": f"{base_url}/oauth2/v1/tokens/bearer",
            "requests_per_second": "1000",
            "hold_back": "0",
        }
        return {"refresh_token": {**app, "refresh_token": FIRST_TOKEN}, "consent": app}

    def fault(self, status: int, request: Request) -> Response:
        """A refusal as the API words it; of 500 and 503 the words are unverified, the type is the XSD's [SPEC]."""
        if status == 429:
            refused = throttled(self._settings.throttle_status)
        else:
            refused = Refused(status, "10000", "An application error has occurred", "System Failure", "SystemFault")
        return as_json({"Fault": refused.fault(), "time": self._time()}, refused.status)

    def expire(self, headers: Headers) -> bool:
        """End the access token of a request."""
        return self.access.expire(headers.get("authorization"))

    def close(self) -> None:
        """Let go of the file."""
        self.records.close()

    @property
    def _settings(self) -> Settings:
        return self.control.settings

    # --- the API ---

    def _answers(self, act: Answering) -> Callable[[Request], Any]:
        async def answer(request: Request) -> Response:
            body = await request.body()
            response = await run_in_threadpool(self._answer, act, request, body)
            response.headers["intuit_tid"] = f"1-{secrets.token_hex(12)}"  # by which support finds it [DOC]
            return response

        return answer

    def _answer(self, act: Answering, request: Request, content: bytes) -> Response:
        settings, headers = self._settings, request.headers
        if not self.access.allows(headers.get("authorization")):
            told = unsigned("Token expired: it is not known, or not any more", capital=settings.capital_401)
            return as_json(told | {"time": self._time()}, 401)
        try:
            if request.path_params["company"] != COMPANY:
                words = "message=ApplicationAuthorizationFailed; errorCode=003100; statusCode=403"
                raise Refused(403, "3100", words, "This app may not see the company", "AUTHORIZATION")
            if not self._quota.take(settings):
                raise throttled(settings.throttle_status)
            body, status = {**act(request, content), "time": self._time()}, 200
        except Refused as refused:
            body, status = {"Fault": refused.fault(), "time": self._time()}, refused.status
            if settings.query_faults_in_200 and act == self._query:
                status = 200
        except (ValueError, TypeError, KeyError, AttributeError, StopIteration) as error:
            wrong = Refused(400, "2010", "Request has invalid or unsupported property", type(error).__name__)
            body, status = {"Fault": wrong.fault(), "time": self._time()}, 400
        return as_json(body, status) if "json" in headers.get("accept", "") else as_xml(body, status)

    def _query(self, request: Request, content: bytes) -> Body:
        text = content.decode() if request.method == "POST" else request.query_params.get("query", "")
        again = getattr(request.state, "duplicate_page", False)
        told = {"QueryResponse": queried(self.records, text, self._tell, again=again)}
        if self._settings.drift_every:
            self.control.drift(parsed(text).entity)
        return told

    def _changed(self, request: Request, _: bytes) -> Body:
        """The log of changes: no pages, and no more than the cap, of which nothing tells [DOC]."""
        asked = names(request.query_params.get("entities", ""))
        since = datetime.fromisoformat(request.query_params.get("changedSince", ""))
        if since.tzinfo is None or (self.now() - since).total_seconds() > LOG_DAYS * DAY + 60:
            raise Refused(400, "4001", "Invalid changedSince", "changedSince is older than 30 days (words unverified)")
        left, parts = self._settings.cdc_cap, list[Body]()
        for entity in asked:
            if entity not in BY_PATH.values() or entity in UNLOGGED:
                raise Refused(400, "4001", "Invalid entity", f"{entity} isn't in the log (words unverified)")
            # Which ones come where there are more than the cap is unverified: here the oldest.
            order, bounds = "updated, id", [int(since.timestamp())]
            found = self.records.find(entity, "updated >= ?", bounds, order=order, limit=(left, 0), gone=True)
            left -= len(found)
            told = [self._tell(one) for one in self._falsely(found)]
            size = {"startPosition": 1, "maxResults": len(told), "totalCount": len(told)}
            parts.append({key_of(entity): told, **size} if told else {})
        return {"CDCResponse": [{"QueryResponse": parts}]}

    def _falsely(self, found: list[Kept]) -> list[Kept]:
        """Some that only changed are told as deleted [WEB]."""
        number = self._settings.cdc_false_deletes
        return [replace(one, gone=one.gone or at < number) for at, one in enumerate(found)]

    def _batch(self, _: Request, content: bytes) -> Body:
        return self._writing.batch(
            json.loads(content), lambda text: queried(self.records, text, self._tell, again=False), self._tell
        )

    def _report(self, request: Request, _: bytes) -> Body:
        return self._reports.report(request.path_params["report"], request.query_params)

    def _preferences(self, request: Request, _: bytes) -> Body:
        return {"Preferences": self._tell(self.records.find("Preferences")[0])}

    def _one(self, request: Request, _: bytes) -> Body:
        entity, id_ = self._entity(request), request.path_params["id"]
        kept = self.records.find(entity)[0] if entity == "CompanyInfo" else self.records.get(entity, id_)
        if kept is None:
            raise missing(entity, id_)
        return {key_of(entity): self._tell(kept)}

    def _write(self, request: Request, content: bytes) -> Body:
        """A change; one with the requestid of an earlier one isn't made again [DOC]."""
        entity, again = self._entity(request), request.query_params.get("requestid")
        if again is not None and again in self._done:
            return self._done[again]
        kept = self._writing.write(entity, json.loads(content), request.query_params.get("operation"))
        told = {"domain": "QBO", "status": "Deleted", "Id": str(kept.id)} if kept.gone else self._tell(kept)
        if again is not None:
            self._done[again] = {key_of(entity): told}
        return {key_of(entity): told}

    @staticmethod
    def _entity(request: Request) -> str:
        """The entity of a path, which is written small [DOC: paths know small from large letters]."""
        found = BY_PATH.get(request.path_params["entity"])
        if found is None:
            raise Refused(400, "500", "Unsupported Operation", f"There is no {request.path_params['entity']}")
        return found

    def _tell(self, kept: Kept) -> Body:
        return kept.told(self._settings.zone())

    def _time(self) -> str:
        return moment(int(self.now().timestamp()), self._settings.zone())

    # --- signing in ---

    def _discovery(self, request: Request) -> Response:
        return as_json(discovery(str(request.base_url).rstrip("/")))

    def _consent(self, request: Request) -> Response:
        try:
            return RedirectResponse(self.access.agreed(request.query_params), 302)
        except NoToken as refused:
            return as_json({"error": str(refused)}, 400)

    async def _token(self, request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode("utf-8", "replace")))
        return await run_in_threadpool(self._granted, form, request.headers.get("authorization"))

    def _granted(self, form: Mapping[str, str], authorization: str | None) -> Response:
        try:
            return as_json(self.access.token(form, authorization))
        except NoToken as refused:
            return as_json({"error": str(refused)}, 401 if str(refused) == "invalid_client" else 400)

    async def _revoke(self, request: Request) -> Response:
        try:
            token = str((await request.json()).get("token", ""))
            await run_in_threadpool(self.access.revoke, token, request.headers.get("authorization"))
        except (NoToken, ValueError, AttributeError) as refused:
            return as_json({"error": str(refused)}, 400)
        return Response(status_code=200)


class Quota:
    """Requests of the last second and of the last minute."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken: deque[float] = deque()
        self._most = (0, 0)

    def take(self, settings: Settings) -> bool:
        """Count a request. False: there were too many before it, since the quota was set."""
        now, most = time.monotonic(), (settings.per_second, settings.per_minute)
        with self._lock:
            if most != self._most:
                self._taken.clear()
                self._most = most
            while self._taken and self._taken[0] <= now - 60:
                self._taken.popleft()
            of_second = 0
            for at in reversed(self._taken):
                if at <= now - 1:
                    break
                of_second += 1
            if len(self._taken) >= settings.per_minute or of_second >= settings.per_second:
                return False
            self._taken.append(now)
            return True
