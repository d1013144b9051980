"""OAuth 2: access tokens that are fetched and renewed while they are used, each grant once for all processes.

RFC 6749 (grants, refreshing), RFC 7636 (PKCE), RFC 7523 (JWT bearer). What a token endpoint answered is kept through
`context.grants`, and a refresh token that was replaced is kept before the new access token is used.
"""

from __future__ import annotations

import hashlib
import threading
import time
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from secrets import token_urlsafe
from typing import Final

import httpx2

from suiro.model.errors import AuthError, ConfigError
from suiro.model.schema import Json
from suiro.spi.context import Context, Grant
from suiro.toolkit.http.answers import Answer, Answers, Meaning, Reaction
from suiro.toolkit.http.auth import Open
from suiro.toolkit.http.client import HttpClient
from suiro.toolkit.http.grants import Way
from suiro.toolkit.http.patience import Patience

_VERSION: Final = "suiro.grant"  #: in a request's extensions: the version of the grant that signed it
_OF, _RENEW_AT = "_of", "_renew_at"  #: in kept values: the settings they came from, and from when on to renew them
_SHOWN: Final = frozenset({"grant_type", "client_id", "scope", "redirect_uri"})
_EARLY: Final = 60.0  #: seconds before a token ends; of short lives a tenth


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenEndpoint:
    """Where tokens come from, and as which client they are asked for."""

    url: str
    client_id: str
    client_secret: str | None = None
    basic: bool = False  #: id and secret go into the Authorization header, else into the form
    extra: Mapping[str, str] = field(default_factory=dict)  #: of every form


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """A user's way to the service's page of consent, and what must be kept until the answer comes back.

    The service sends the user's browser to `redirect_uri` with `code` and `state`; whoever listens there compares the
    state, and hands the code to `OAuth.accept`.
    """

    url: str
    state: str
    verifier: str
    redirect_uri: str


def consent(
    authorize_url: str, client_id: str, redirect_uri: str, scope: str = "", extra: Mapping[str, str] | None = None
) -> Consent:
    """A consent to ask for, with a state and a PKCE verifier of its own."""
    state, verifier = token_urlsafe(24), token_urlsafe(64)
    challenge = urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    asked = {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": redirect_uri,
        "state": state,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
        **({"scope": scope} if scope else {}),
        **(extra or {}),
    }
    url = str(httpx2.URL(authorize_url).copy_merge_params(asked))
    return Consent(url=url, state=state, verifier=verifier, redirect_uri=redirect_uri)


class OAuth:
    """Implements `auth.Auth`: signs with an access token, which it fetches at first use and renews when it must.

    A token is renewed a little before its end where that is known, and when the service refuses it. Whoever shares the
    grant, in this process or another, gets the same renewal. AuthError where the service gives no token any more.
    """

    def __init__(
        self, context: Context, *, key: str, endpoint: TokenEndpoint, way: Way, scheme: str = "Bearer"
    ) -> None:
        """`key`: of the grant, see `spi.context.Grants`; `scheme` stands before the token in the header."""
        self._context, self._key, self._endpoint, self._way, self._scheme = context, key, endpoint, way, scheme
        self._of = hashlib.sha256("\0".join((endpoint.url, endpoint.client_id, *way.settings())).encode()).hexdigest()[
            :16
        ]
        self._lock = threading.Lock()
        self._known: Grant | None = None
        self._seen: dict[str, None] = {}

    def sign(self, request: httpx2.Request) -> None:
        """Put the access token into the request."""
        grant = self._grant()
        request.headers["Authorization"] = f"{self._scheme} {grant.values['access_token']}"
        request.extensions[_VERSION] = grant.version

    def renewed(self, request: httpx2.Request) -> bool:
        """Get a token newer than the one that signed the request."""
        version = request.extensions.get(_VERSION)
        if not isinstance(version, int):
            return False
        return self._renew(version).version > version

    def secrets(self) -> Collection[str]:
        """Those of the settings, and the tokens of late."""
        with self._lock:
            return [*filter(None, (self._endpoint.client_secret, *self._way.secrets())), *self._seen]

    def values(self) -> Mapping[str, Json]:
        """What the token endpoint answered, fetched if need be: services tell there where they are."""
        return self._grant().values

    def accept(self, consented: Consent, code: str) -> Mapping[str, Json]:
        """Exchange the code of a user's consent for tokens, and keep them in place of those that were."""
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": consented.redirect_uri,
            "code_verifier": consented.verifier,
        }
        said: list[Mapping[str, Json]] = []

        def exchange(_: Grant | None) -> Mapping[str, Json]:
            said.append(self._fetch(form, repeatable=False))
            return said[0]

        before = self._context.grants.load(self._key)
        seen = before.version if before else 0
        while True:
            grant = self._context.grants.renew(self._key, seen, exchange)
            if said:
                return self._keep(grant).values
            seen = grant.version  # somebody renewed meanwhile what is to be replaced

    def _grant(self) -> Grant:
        with self._lock:
            grant = self._known
        grant = grant or self._context.grants.load(self._key)
        for _ in range(3):  # what another process renewed may be of other settings, or at its end again
            if grant is not None and self._usable(grant):
                return self._keep(grant)
            grant = self._renew(grant.version if grant else 0)
        raise AuthError(
            "the service gives access tokens that end at once",
            hint="Compare this machine's clock with the time, and look whether two connections use one grant.",
        )

    def _usable(self, grant: Grant) -> bool:
        until = grant.values.get(_RENEW_AT)
        ended = isinstance(until, int | float) and time.time() >= until
        return grant.values.get(_OF) == self._of and not ended

    def _renew(self, seen: int) -> Grant:
        return self._keep(self._context.grants.renew(self._key, seen, self._ask))

    def _keep(self, grant: Grant) -> Grant:
        """Remember it for this process, and its tokens as secrets; the eight of late are enough."""
        with self._lock:
            if self._known is None or grant.version > self._known.version:
                self._known = grant
            self._remember(grant.values)
        return grant

    def _remember(self, values: Mapping[str, Json]) -> None:
        for name in ("access_token", "refresh_token", "id_token"):
            if isinstance(token := values.get(name), str) and token:
                self._seen.pop(token, None)
                self._seen[token] = None
        while len(self._seen) > 8:
            del self._seen[next(iter(self._seen))]

    def _ask(self, before: Grant | None) -> Mapping[str, Json]:
        """A new token; what the answer leaves out (a refresh token that stays the same) is kept."""
        ours = before.values if before is not None and before.values.get(_OF) == self._of else {}
        form = self._way.form(ours, self._endpoint.client_id)
        said = self._fetch(form, repeatable=self._way.repeatable)
        kept = {name: ours[name] for name in ("refresh_token",) if name in ours}
        return {**kept, **({"refresh_token": form["refresh_token"]} if "refresh_token" in form else {}), **said}

    def _fetch(self, form: Mapping[str, str], *, repeatable: bool) -> Mapping[str, Json]:
        """One request to the token endpoint; its answer with what is ours to know."""
        url, endpoint = httpx2.URL(self._endpoint.url), self._endpoint
        form, headers = {**endpoint.extra, **form}, {}
        if endpoint.basic:
            pair = f"{endpoint.client_id}:{endpoint.client_secret or ''}"
            headers["Authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
        else:
            form["client_id"] = endpoint.client_id
            if endpoint.client_secret is not None:
                form["client_secret"] = endpoint.client_secret
        began = time.time()
        with HttpClient(
            self._context,
            base_url=str(url.copy_with(raw_path=b"/")),
            auth=_Silent(self),
            account=f"{self._key} tokens",
            answers=Answers(meanings=_refusals(self._way), shown=_SHOWN),
            patience=Patience(seconds=60.0),
        ) as http:
            answer = http.post(str(url), form=form, headers=headers, repeatable=repeatable)
        return self._told(answer, began)

    def _told(self, answer: Answer, began: float) -> dict[str, Json]:
        said = answer.json()
        if not isinstance(said, dict) or not isinstance(said.get("access_token"), str) or not said["access_token"]:
            raise AuthError(
                f"{httpx2.URL(self._endpoint.url).host} answered without an access token",
                hint="Check the address of the token endpoint.",
            )
        told: dict[str, Json] = {name: _plain(value) for name, value in said.items()}
        told[_OF] = self._of
        try:
            life = float(str(said["expires_in"]))
        except (KeyError, ValueError):
            return told
        told[_RENEW_AT] = began + life - min(_EARLY, life / 10)
        return told


class _Silent(Open):
    """Signs nothing, and knows what must not be told."""

    def __init__(self, oauth: OAuth) -> None:
        self._oauth = oauth

    def secrets(self) -> Collection[str]:
        return self._oauth.secrets()


def _refusals(way: Way) -> tuple[Meaning, ...]:
    return (
        Meaning(
            code=frozenset({"invalid_client", "unauthorized_client", "invalid_client_id", "app_not_found"}),
            reaction=Reaction.STOP,
            error=AuthError,
            hint="Check the client id and secret, and that the app may use this way of signing in.",
        ),
        Meaning(status=frozenset({400, 401, 403}), reaction=Reaction.STOP, error=AuthError, hint=way.hint),
        Meaning(status=frozenset({404, 405}), reaction=Reaction.STOP, error=ConfigError, hint="Check the address."),
    )


def _plain(value: object) -> Json:
    """As the store keeps it: exact fractions as text."""
    return value if isinstance(value, str | int | bool | float | list | dict | None) else str(value)
