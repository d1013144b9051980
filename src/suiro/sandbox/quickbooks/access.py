"""Who may come in: codes, access tokens, refresh tokens that are replaced, each kept in the company's store."""

from __future__ import annotations

import base64
import binascii
import json
import secrets
import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlencode

from suiro.sandbox.quickbooks.records import Records
from suiro.sandbox.quickbooks.settings import Settings

CLIENT_ID: Final = "ABsandboxapp0001"
CLIENT_SECRET: Final = "sandbox-quickbooks-secret"
COMPANY: Final = "4620816365000001"
FIRST_TOKEN: Final = "AB11-sandbox-refresh-token"


class NoToken(Exception):
    """The token endpoint says no; its word is the error."""


class Access:
    """Signing in. Safe to use from several threads."""

    def __init__(self, records: Records, settings: Callable[[], Settings], now: Callable[[], datetime]) -> None:
        self._records, self._settings, self._now = records, settings, now
        self._lock = threading.Lock()
        self._codes: dict[str, str] = {}
        kept = records.fact("access")
        first = {"refresh": {FIRST_TOKEN: self._time()}, "access": {}}
        self._tokens: dict[str, dict[str, float]] = json.loads(kept) if kept else first

    def agreed(self, asked: Mapping[str, str]) -> str:
        """Where the page of consent leads: nobody has to click here. NoToken: the request makes no sense."""
        if asked.get("client_id") != CLIENT_ID or not asked.get("redirect_uri"):
            raise NoToken("invalid_client")
        code = f"AB11{secrets.token_urlsafe(30)}"
        with self._lock:
            self._codes[code] = asked["redirect_uri"]
        company = self._settings().user_company or COMPANY
        back = {"code": code, "state": asked.get("state", ""), "realmId": company}
        return f"{asked['redirect_uri']}?{urlencode(back)}"

    def token(self, form: Mapping[str, str], authorization: str | None) -> dict[str, Any]:
        """The token endpoint's answer [REC]. NoToken: invalid_client, invalid_grant, unsupported_grant_type."""
        check_client(authorization)
        with self._lock:
            match form.get("grant_type"):
                case "authorization_code":
                    if self._codes.pop(form.get("code", ""), None) != form.get("redirect_uri"):
                        raise NoToken("invalid_grant")
                    refresh = self._new_refresh()
                case "refresh_token":
                    refresh = self._refreshed(form.get("refresh_token", ""))
                case _:
                    raise NoToken("unsupported_grant_type")
            access = f"eyJ{secrets.token_urlsafe(48)}"
            self._tokens["access"][access] = self._time() + self._settings().access_seconds
            self._keep()
        settings = self._settings()
        left = settings.refresh_seconds - (self._time() - self._tokens["refresh"][refresh])
        return {
            "token_type": "bearer",
            "expires_in": int(settings.access_seconds),
            "refresh_token": refresh,
            "x_refresh_token_expires_in": int(left),
            "access_token": access,
        }

    def allows(self, authorization: str | None) -> bool:
        """Whether a header brings a token that is good."""
        token = (authorization or "").removeprefix("Bearer ")
        with self._lock:
            return self._tokens["access"].get(token, 0.0) > self._time()

    def expire(self, authorization: str | None) -> bool:
        """End the token of a header. False: it brings none."""
        token = (authorization or "").removeprefix("Bearer ")
        with self._lock:
            return self._tokens["access"].pop(token, None) is not None

    def revoke(self, token: str, authorization: str | None) -> None:
        """End a token; with a refresh token go all access tokens."""
        check_client(authorization)
        with self._lock:
            if self._tokens["refresh"].pop(token, None) is not None:
                self._tokens["access"].clear()
            elif self._tokens["access"].pop(token, None) is None:
                raise NoToken("invalid_request")
            self._keep()

    def _refreshed(self, token: str) -> str:
        """The refresh token from now on: another one about once a day, and the old one stops working [DOC]."""
        born = self._tokens["refresh"].get(token)
        settings = self._settings()
        if born is None or self._time() - born > settings.refresh_seconds:
            raise NoToken("invalid_grant")
        if self._time() - born < settings.rotate_seconds:
            return token
        del self._tokens["refresh"][token]
        return self._new_refresh()

    def _new_refresh(self) -> str:
        token = f"AB11{secrets.token_urlsafe(36)}"
        self._tokens["refresh"][token] = self._time()
        return token

    def _keep(self) -> None:
        self._records.note("access", json.dumps(self._tokens))

    def _time(self) -> float:
        return self._now().timestamp()


def check_client(authorization: str | None) -> None:
    """NoToken unless the header is the app's (Basic) [REC]."""
    try:
        pair = base64.b64decode((authorization or "").removeprefix("Basic ")).decode()
    except (binascii.Error, UnicodeDecodeError):
        pair = ""
    if pair != f"{CLIENT_ID}:{CLIENT_SECRET}":
        raise NoToken("invalid_client")


def discovery(base: str) -> dict[str, Any]:
    """The discovery document [REC for its members]."""
    return {
        "issuer": f"{base}/op/v1",
        "authorization_endpoint": f"{base}/connect/oauth2",
        "token_endpoint": f"{base}/oauth2/v1/tokens/bearer",
        "userinfo_endpoint": f"{base}/v1/openid_connect/userinfo",
        "revocation_endpoint": f"{base}/v2/oauth2/tokens/revoke",
        "jwks_uri": f"{base}/op/v1/jwks",
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "scopes_supported": ["openid", "com.intuit.quickbooks.accounting"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic"],
    }
