"""Signing in by OAuth 2.0: `/services/oauth2/authorize`, `/token` and `/revoke`."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import html
import json
import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from suiro.sandbox.salesforce.accounts import (
    CLIENT_ID,
    CLIENT_SECRET,
    ORG_ID,
    PASSWORD,
    SECURITY_TOKEN,
    USER_ID,
    USERNAME,
    keys,
)
from suiro.sandbox.salesforce.org import Org
from suiro.sandbox.salesforce.saml import AssertionRefused, subject_of
from suiro.sandbox.salesforce.sessions import GrantOver, Sessions

if TYPE_CHECKING:
    from suiro.model.schema import Json

CODE_SECONDS = 600
GENERIC_AUDIENCES = ("https://login.salesforce.com", "https://test.salesforce.com")
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
SAML_BEARER = "urn:ietf:params:oauth:grant-type:saml2-bearer"


class TokenRefusal(Exception):
    """The token endpoint says no: 400 with `error` and `error_description` [REC]."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(description)
        self.error = error
        self.description = description

    def body(self) -> dict[str, Json]:
        return {"error": self.error, "error_description": self.description}


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """What a code stands for until it is redeemed."""

    client: str
    redirect_uri: str
    challenge: str | None
    method: str
    until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """Where a request came in. `base`: the org's own address (My Domain). `generic`: it came by the login host."""

    base: str
    generic: bool


class OAuth:
    """The token endpoint and the consent page. Safe to use from several threads."""

    def __init__(self, org: Org, sessions: Sessions) -> None:
        self._org = org
        self._sessions = sessions
        self._codes: dict[str, Consent] = {}
        self._lock = threading.Lock()

    # --- consent ---

    def page(self, asked: Mapping[str, str]) -> str:
        """The consent page; its form is posted back. TokenRefusal: the request makes no sense."""
        if asked.get("client_id") != CLIENT_ID:
            raise TokenRefusal("invalid_client_id", "client identifier invalid")
        if asked.get("response_type") != "code":
            raise TokenRefusal("unsupported_response_type", "response type must be code")
        if not asked.get("redirect_uri"):
            raise TokenRefusal("redirect_uri_missing", "redirect_uri must be given")
        hidden = "".join(
            f'<input type="hidden" name="{html.escape(name)}" value="{html.escape(value)}">'
            for name, value in asked.items()
        )
        return (
            "<!doctype html><title>Allow access?</title>"
            f"<h1>Allow access?</h1><p>The app {CLIENT_ID} asks to use the data of {USERNAME}.</p>"
            f'<form method="post">{hidden}<button name="allow" value="yes">Allow</button>'
            '<button name="allow" value="no">Deny</button></form>'
        )

    def decide(self, form: Mapping[str, str]) -> str:
        """Where the posted consent leads: back to the app with a code, or with access_denied."""
        self.page(form)
        back: dict[str, str] = {"state": form["state"]} if form.get("state") else {}
        if form.get("allow") != "yes":
            back |= {"error": "access_denied", "error_description": "end-user denied authorization"}
        else:
            back["code"] = secrets.token_urlsafe(32)
            with self._lock:
                self._codes[back["code"]] = Consent(
                    client=form["client_id"],
                    redirect_uri=form["redirect_uri"],
                    challenge=form.get("code_challenge"),
                    method=form.get("code_challenge_method", "plain"),
                    until=self._org.now().timestamp() + CODE_SECONDS,
                )
        joint = "&" if "?" in form["redirect_uri"] else "?"
        return f"{form['redirect_uri']}{joint}{urlencode(back)}"

    # --- tokens ---

    def token(self, form: Mapping[str, str], authorization: str | None, host: Host) -> dict[str, Json]:
        """The token endpoint's answer, without expires_in [REC]."""
        client, secret = credentials(form, authorization)
        refresh_token = None
        match form.get("grant_type"):
            case "authorization_code":
                access_token, refresh_token = self._redeem(form, client, secret)
            case "refresh_token":
                self._check_client(client, secret, needs_secret=False)
                access_token, refresh_token = self._refresh(client, form.get("refresh_token", ""))
            case "client_credentials":
                access_token = self._client_credentials(client, secret, host)
            case "password":
                access_token = self._password(form, client, secret)
            case grant if grant == JWT_BEARER:
                access_token = self._jwt(form.get("assertion", ""), host)
            case "assertion" | "urn:ietf:params:oauth:grant-type:saml2-bearer":
                access_token = self._saml(form.get("assertion", ""), host)
            case _:
                raise TokenRefusal("unsupported_grant_type", "grant type not supported")
        return self._answer(access_token, refresh_token, host)

    def revoke(self, token: str) -> None:
        if not self._sessions.revoke(token):
            raise TokenRefusal("invalid_token", "this token doesn't exist")

    def _answer(self, access_token: str, refresh_token: str | None, host: Host) -> dict[str, Json]:
        identity = f"{host.base}/id/{ORG_ID}/{USER_ID}"
        issued = str(int(self._org.now().timestamp() * 1000))
        signed = hmac.new(CLIENT_SECRET.encode(), (identity + issued).encode(), hashlib.sha256).digest()
        told: dict[str, Json] = {
            "id": identity,
            "issued_at": issued,
            "instance_url": host.base,
            "signature": base64.b64encode(signed).decode(),
            "access_token": access_token,
            "token_type": "Bearer",
            "scope": "api refresh_token",
        }
        return told if refresh_token is None else {**told, "refresh_token": refresh_token}

    def _redeem(self, form: Mapping[str, str], client: str, secret: str | None) -> tuple[str, str]:
        with self._lock:
            consent = self._codes.pop(form.get("code", ""), None)
        if consent is None or consent.client != client or self._org.now().timestamp() > consent.until:
            raise TokenRefusal("invalid_grant", "invalid authorization code")
        if consent.redirect_uri != form.get("redirect_uri"):
            raise TokenRefusal("redirect_uri_mismatch", "redirect_uri must match that of the consent")
        self._check_client(client, secret, needs_secret=consent.challenge is None)
        if consent.challenge is not None:
            verifier = form.get("code_verifier", "")
            digest = hashlib.sha256(verifier.encode()).digest()
            hashed = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
            if not hmac.compare_digest(consent.challenge, hashed if consent.method == "S256" else verifier):
                raise TokenRefusal("invalid_grant", "invalid code verifier")
        return self._sessions.consent(client)

    def _refresh(self, client: str, token: str) -> tuple[str, str | None]:
        try:
            fresh = self._sessions.refresh(client, token)
        except GrantOver:
            raise TokenRefusal("invalid_grant", "expired access/refresh token") from None
        return fresh.access_token, fresh.refresh_token

    def _client_credentials(self, client: str, secret: str | None, host: Host) -> str:
        if host.generic:
            raise TokenRefusal("invalid_request", "request not supported on this domain")
        self._check_client(client, secret, needs_secret=True)
        if not self._org.settings.run_as_user:
            raise TokenRefusal("invalid_grant", "no client credentials user enabled")
        return self._sessions.begin()

    def _password(self, form: Mapping[str, str], client: str, secret: str | None) -> str:
        self._check_client(client, secret, needs_secret=True)
        right = form.get("username") == USERNAME and form.get("password") == PASSWORD + SECURITY_TOKEN
        if not self._org.settings.password_flow or not right:
            raise TokenRefusal("invalid_grant", "authentication failure - Invalid Password")
        return self._sessions.begin()

    def _jwt(self, assertion: str, host: Host) -> str:
        claims = verified_claims(assertion, keys(self._org).public)
        audience = str(claims.get("aud", "")).rstrip("/")
        if audience in GENERIC_AUDIENCES and self._org.settings.external_client_app:
            raise TokenRefusal("app_not_found", "External client app is not installed in this org")
        if audience not in (*GENERIC_AUDIENCES, host.base, f"{host.base}/login"):
            raise TokenRefusal("invalid_grant", "audience is invalid")
        if claims.get("iss") != CLIENT_ID:
            raise TokenRefusal("invalid_client_id", "client identifier invalid")
        if claims.get("sub") != USERNAME:
            raise TokenRefusal("invalid_grant", "user hasn't approved this consumer")
        try:
            left = float(claims.get("exp", 0)) - self._org.now().timestamp()
        except (TypeError, ValueError):
            left = -1.0
        if not 0 < left <= 600:
            raise TokenRefusal("invalid_grant", "assertion is expired, or lives too long")
        return self._sessions.begin()

    def _saml(self, assertion: str, host: Host) -> str:
        """Single sign-on: an identity provider's assertion for a session (all of it unverified)."""
        try:
            subject = subject_of(assertion, host.base, self._org.now())
        except AssertionRefused as error:
            raise TokenRefusal("invalid_grant", str(error)) from None
        if subject != USERNAME:
            raise TokenRefusal("invalid_grant", "no such user")
        return self._sessions.begin()

    def _check_client(self, client: str, secret: str | None, *, needs_secret: bool) -> None:
        if client != CLIENT_ID:
            raise TokenRefusal("invalid_client_id", "client identifier invalid")
        if (secret is not None or needs_secret) and secret != CLIENT_SECRET:
            raise TokenRefusal("invalid_client", "invalid client credentials")


def credentials(form: Mapping[str, str], authorization: str | None) -> tuple[str, str | None]:
    """Client id and secret, from the header (Basic) or the body."""
    if authorization and authorization.lower().startswith("basic "):
        try:
            client, _, secret = base64.b64decode(authorization[6:]).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            raise TokenRefusal("invalid_client", "invalid client credentials") from None
        return client, secret
    return form.get("client_id", ""), form.get("client_secret")


def verified_claims(assertion: str, public_key: str) -> dict[str, Any]:
    """The claims of a JWT that the app's key signed with RS256."""
    try:
        head, body, signature = assertion.split(".")
        header, claims = json.loads(unpadded(head)), json.loads(unpadded(body))
        key = serialization.load_pem_public_key(public_key.encode())
        assert isinstance(key, rsa.RSAPublicKey)
        key.verify(unpadded(signature), f"{head}.{body}".encode(), padding.PKCS1v15(), hashes.SHA256())
    except (ValueError, binascii.Error, InvalidSignature):
        raise TokenRefusal("invalid_grant", "invalid assertion") from None
    if not isinstance(header, dict) or header.get("alg") != "RS256" or not isinstance(claims, dict):
        raise TokenRefusal("invalid_grant", "invalid assertion")
    return claims


def unpadded(text: str) -> bytes:
    """Base64 for URLs, without its padding."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
