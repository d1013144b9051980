"""Signing in to QuickBooks: a user's consent for one company, and tokens that are replaced about once a day."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import SecretStr

from suiro.connectors.quickbooks.config import QuickBooksConfig
from suiro.connectors.quickbooks.entities import SCOPE
from suiro.model.errors import AuthError
from suiro.spi.context import Context
from suiro.toolkit.http.auth import Auth, Bearer
from suiro.toolkit.http.consent import AskedConsent
from suiro.toolkit.http.grants import RefreshToken
from suiro.toolkit.http.oauth import OAuth, TokenEndpoint, consent


class _Rolling(RefreshToken):
    """A refresh token that stays the same for about a day: asking with it twice does no harm."""

    hint = "The sign-in has ended or was withdrawn: sign in again, with suiro authorize or a new refresh token."
    repeatable = True


class CompanyConsent(AskedConsent):
    """The answer tells which company the user chose; it must be the connection's."""

    def __init__(self, config: QuickBooksConfig, context: Context, redirect_uri: str) -> None:
        asked = consent(config.authorize_url, config.client_id or "", redirect_uri, SCOPE)
        super().__init__(granted(config, context), asked)
        self._company = config.company_id

    def accept(self, answer: Mapping[str, str]) -> None:
        chosen = answer.get("realmId", self._company)
        if chosen != self._company and answer.get("code"):
            raise AuthError(
                f"the user chose the company {chosen[:40]}, and the connection is for {self._company}",
                hint="Sign in once more and choose the other one, or change the company ID.",
            )
        super().accept(answer)


def granted(config: QuickBooksConfig, context: Context) -> OAuth:
    endpoint = TokenEndpoint(
        url=config.token_url, client_id=config.client_id or "", client_secret=_secret(config.client_secret), basic=True
    )
    key = f"{config.identity()} oauth {config.client_id}"
    return OAuth(context, key=key, endpoint=endpoint, way=_Rolling(_secret(config.refresh_token)))


def auth(config: QuickBooksConfig, context: Context) -> Auth:
    token = _secret(config.access_token)
    return Bearer(token) if token and config.client_id is None else granted(config, context)


def _secret(value: SecretStr | None) -> str | None:
    return None if value is None else value.get_secret_value() or None
