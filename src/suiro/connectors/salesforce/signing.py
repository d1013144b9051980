"""Signing in to Salesforce: every way ends in a session, which is kept and renewed like an OAuth access token.

Sources: Salesforce's documentation of its OAuth flows and of login() in the SOAP API; OASIS WS-Trust 1.3 and
Salesforce's "SAML Assertion Flow for Accessing the API" for single sign-on (not verified against a live identity
provider).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from suiro.connectors.salesforce.config import SalesforceConfig, SignIn
from suiro.connectors.salesforce.saml import SamlAssertion
from suiro.connectors.salesforce.soap import SoapLogin
from suiro.model.errors import AuthError, ConfigError
from suiro.model.schema import Json
from suiro.spi.context import Context
from suiro.toolkit.http.auth import Auth, Bearer
from suiro.toolkit.http.grants import ClientCredentials, JwtBearer, Password, RefreshToken, Way
from suiro.toolkit.http.oauth import Consent, OAuth, TokenEndpoint, consent
from suiro.toolkit.sql.ssh import key_places

SCOPE: Final = "api refresh_token"  #: what a user is asked to consent to
_ENOUGH: Final = frozenset({"api", "full"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Signs requests, and tells what the sign-in answered: `instance_url`, and perhaps `id` and `scope`."""

    auth: Auth
    values: Callable[[], Mapping[str, Json]]

    @property
    def address(self) -> str:
        """Where the organisation's requests go, https://host. AuthError if the session may not use the API."""
        said = self.values()
        scope = said.get("scope")
        if isinstance(scope, str) and scope and not _ENOUGH & set(scope.split()):
            raise AuthError(
                f"the session may do {scope}, but not api, and so can't read records",
                hint="Add the scope api to the app in Salesforce, and sign in again.",
            )
        url = said.get("instance_url")
        if not isinstance(url, str) or not url:
            raise AuthError("the sign-in didn't tell where the organisation is", hint="Check the sign-in address.")
        return url.rstrip("/")

    @property
    def organization(self) -> str | None:
        """The organisation's id, its first 15 characters; None where the sign-in didn't tell it."""
        told = self.values().get("id")
        parts = told.rstrip("/").split("/") if isinstance(told, str) else []
        found = next((part for part in reversed(parts) if part.startswith("00D") and len(part) in (15, 18)), None)
        return None if found is None else found[:15]


def session(config: SalesforceConfig, context: Context) -> Session:
    """The session of these settings; nothing is sent yet. ConfigError for a private key that can't be used."""
    if config.way is SignIn.TOKEN:
        assert config.base_url is not None
        where: dict[str, Json] = {"instance_url": config.base_url}
        return Session(auth=Bearer(_secret(config.access_token)), values=lambda: where)
    oauth = granted(config, context)
    return Session(auth=oauth, values=oauth.values)


def granted(config: SalesforceConfig, context: Context) -> OAuth:
    """What fetches, keeps and renews the session."""
    key = f"{config.identity()} {config.way} {config.username or config.client_id}"
    token_url = f"{config.login_address}/services/oauth2/token"
    endpoint = TokenEndpoint(
        url=token_url,
        client_id=config.client_id or "",
        client_secret=_secret(config.client_secret) or None,
    )
    match config.way:
        case SignIn.SOAP:
            return SoapLogin(context, key=key, config=config)
        case SignIn.SSO:
            assert config.sso_token_url is not None
            endpoint = TokenEndpoint(url=config.sso_token_url, client_id=config.client_id or "")
            way: Way = SamlAssertion(config, context)
        case SignIn.JWT:
            way = JwtBearer(
                subject=config.username or "",
                audience=config.jwt_audience or config.login_address,
                private_key=_private_key(config),
                passphrase=_secret(config.private_key_passphrase) or None,
            )
        case SignIn.CLIENT:
            way = ClientCredentials()
        case SignIn.PASSWORD:
            way = Password(config.username or "", _secret(config.password) + _secret(config.security_token))
        case _:
            way = RefreshToken(_secret(config.refresh_token) or None)
    return OAuth(context, key=key, endpoint=endpoint, way=way)


def asked_consent(config: SalesforceConfig, redirect_uri: str) -> Consent:
    """A user's way to Salesforce's page of consent; `granted(...).accept` takes the code that comes back."""
    if config.way is not SignIn.OAUTH or config.client_id is None:
        raise ConfigError("this connection needs nobody's consent", hint="Set sign_in to oauth and give the client id.")
    return consent(f"{config.login_address}/services/oauth2/authorize", config.client_id, redirect_uri, SCOPE)


def _private_key(config: SalesforceConfig) -> str:
    """The key's text. ConfigError where the file isn't there."""
    if config.private_key is not None:
        return _secret(config.private_key).replace("\\n", "\n")
    places = key_places(config.private_key_file or "")
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise ConfigError(
            f"there is no private key file {config.private_key_file}",
            hint=f"Name its path; looked for: {', '.join(map(str, places))}.",
        )
    return _text(found)


def _text(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the private key {file} can't be read as text", hint="It must be a PEM file.") from error


def _secret(value: SecretStr | None) -> str:
    return "" if value is None else value.get_secret_value()
