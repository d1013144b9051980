"""Who may do what: tokens, the page of consent, the exchange of a code; and the quota of a window."""

from __future__ import annotations

import hashlib
import json
import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from suiro.sandbox.intercom.answers import as_json, refusal
from suiro.sandbox.intercom.settings import Settings
from suiro.sandbox.intercom.store import Store

CLIENT_ID: Final = "sandboxapp-intercom"
ALL: Final = frozenset({"contacts", "conversations", "tags", "admins"})
FIRST: Final[Mapping[str, frozenset[str]]] = {"token": ALL, "contacts_only": frozenset({"contacts", "tags"})}


class Access:
    """The tokens of one workspace. They never expire. Safe to use from several threads."""

    def __init__(self, store: Store, seed: int) -> None:
        self._store, self._seed = store, seed
        self._lock = threading.Lock()
        self.client_secret = self._made("client secret")
        self._codes: set[str] = set()
        self._tokens = {self.token(name): areas for name, areas in FIRST.items()}
        with store.reading() as reader:
            self._tokens |= dict.fromkeys(json.loads(reader.fact("tokens") or "[]"), ALL)

    def token(self, name: str) -> str:
        """The token that is there from the beginning, by its name."""
        return "dG9rOg" + self._made(f"token {name}")[:40]

    def areas(self, authorization: str | None) -> frozenset[str] | None:
        """What the token of a header may do; None: it is none of this workspace."""
        scheme, _, token = (authorization or "").partition(" ")
        return self._tokens.get(token) if scheme.lower() == "bearer" else None

    def withdraw(self, token: str) -> None:
        """A token is good no longer."""
        with self._lock:
            self._tokens.pop(token, None)

    async def consent(self, request: Request) -> Response:
        """The page of consent, which consents by itself. Back goes a code (that redirect_uri is taken: unverified)."""
        asked = request.query_params
        if asked.get("client_id") != CLIENT_ID or "redirect_uri" not in asked:
            return refusal(400, "parameter_invalid", "client_id is invalid")  # unverified
        with self._lock:
            code = secrets.token_hex(15)
            self._codes.add(code)
        back = asked["redirect_uri"]
        joint = "&" if "?" in back else "?"
        return RedirectResponse(f"{back}{joint}code={code}&state={asked.get('state', '')}", 302)

    def exchange(self, given: Mapping[str, str]) -> Response:
        """`POST /auth/eagle/token`: a code for a token that never ends. Refusals are unverified."""
        if (given.get("client_id"), given.get("client_secret")) != (CLIENT_ID, self.client_secret):
            return refusal(401, "unauthorized", "Client credentials are invalid")
        with self._lock:
            if given.get("code") not in self._codes:
                return refusal(401, "unauthorized", "Code is invalid")
            self._codes.discard(str(given["code"]))
            token = "dG9rOg" + secrets.token_hex(20)
            self._tokens[token] = ALL
        with self._store.writing() as writer:
            writer.note("tokens", json.dumps([*json.loads(writer.fact("tokens") or "[]"), token]))
        return as_json({"token_type": "Bearer", "token": token, "access_token": token})

    def _made(self, what: str) -> str:
        return hashlib.sha256(f"suiro sandbox intercom {self._seed} {what}".encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How the quota stands after a request."""

    allowed: bool
    limit: int
    left: int
    reset: int  #: the moment at which the window ends

    def headers(self) -> dict[str, str]:
        """What every answer carries."""
        return {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(self.left),
            "X-RateLimit-Reset": str(self.reset),
        }


class Quota:
    """Counts the requests of one window; windows begin at full multiples of their length (unverified)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._window, self._used = 0, 0

    def take(self, settings: Settings, now: datetime) -> Standing:
        """Count one request, and those that other apps make meanwhile."""
        window = int(now.timestamp()) // settings.window_seconds
        with self._lock:
            if window != self._window:
                self._window, self._used = window, 0
            allowed = self._used < settings.limit
            if allowed:
                self._used = min(settings.limit, self._used + 1 + settings.others)
            left = settings.limit - self._used
        return Standing(
            allowed=allowed, limit=settings.limit, left=max(0, left), reset=(window + 1) * settings.window_seconds
        )
