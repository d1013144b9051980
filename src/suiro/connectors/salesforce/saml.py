"""The sign-in through an identity provider: its SAML assertion, exchanged for a session.

The assertion comes from the provider's WS-Trust 1.3 endpoint (OASIS), as PingFederate and AD FS have it, for a user's
name and password. Names of settings follow CData's driver for Salesforce. Not verified against a live provider.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Collection, Mapping
from typing import ClassVar, Final
from urllib.parse import urlsplit
from xml.sax.saxutils import escape

import httpx2

from suiro.connectors.salesforce.config import SalesforceConfig
from suiro.model.errors import AuthError, ConfigError
from suiro.model.schema import Json
from suiro.spi.context import Context
from suiro.toolkit.http.answers import Answers, Meaning, Reaction
from suiro.toolkit.http.auth import Auth, Basic, Open
from suiro.toolkit.http.client import HttpClient
from suiro.toolkit.http.grants import Way
from suiro.toolkit.http.patience import Patience

_TRUST: Final = "http://docs.oasis-open.org/ws-sx/ws-trust/200512"
_WSSE: Final = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
_TEXT: Final = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-username-token-profile-1.0#PasswordText"
_REQUEST: Final = (
    '<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:a="http://www.w3.org/2005/08/addressing">'
    f'<s:Header><a:Action s:mustUnderstand="1">{_TRUST}/RST/Issue</a:Action>'
    '<a:To s:mustUnderstand="1">%(to)s</a:To>'
    f'<o:Security s:mustUnderstand="1" xmlns:o="{_WSSE}"><o:UsernameToken><o:Username>%(user)s</o:Username>'
    f'<o:Password Type="{_TEXT}">%(password)s</o:Password></o:UsernameToken></o:Security></s:Header>'
    f'<s:Body><t:RequestSecurityToken xmlns:t="{_TRUST}">'
    '<p:AppliesTo xmlns:p="http://schemas.xmlsoap.org/ws/2004/09/policy"><a:EndpointReference>'
    "<a:Address>%(applies)s</a:Address></a:EndpointReference></p:AppliesTo>"
    f"<t:KeyType>{_TRUST}/Bearer</t:KeyType><t:RequestType>{_TRUST}/Issue</t:RequestType>"
    "<t:TokenType>urn:oasis:names:tc:SAML:2.0:assertion</t:TokenType>"
    "</t:RequestSecurityToken></s:Body></s:Envelope>"
)
_ASSERTION: Final = re.compile(rb"<(?P<prefix>\w+:)?Assertion[\s>].*</(?P=prefix)?Assertion\s*>", re.DOTALL)
_FAULT: Final = re.compile(rb"<(?:\w+:)?Value[^>]*>\s*(?:[\w.-]+:)?(\w+)\s*<")  #: codes of a SOAP 1.2 fault
_CHECK: Final = "Check user and password at the identity provider, and sso_login_url."
_ADDRESS: Final = "sso_login_url must be the identity provider's WS-Trust 1.3 address."
_FLOW: Final = {
    "grant_type": "assertion",
    "assertion_type": "urn:oasis:names:tc:SAML:2.0:profiles:SSO:browser",
}
_ANSWERS: Final = Answers(
    meanings=(
        Meaning(status=frozenset({401, 403}), reaction=Reaction.STOP, error=AuthError, hint=_CHECK),
        Meaning(status=frozenset({400, 404, 405, 415}), reaction=Reaction.STOP, error=ConfigError, hint=_ADDRESS),
    )
)
_PROVIDERS: Final = ("pingfederate", "adfs")
_PROPERTIES: Final = {
    name.lower(): name for name in ("IdPName", "AppliesTo", "IdPSystemScheme", "IdPSystemUserName", "IdPSystemPassword")
}


class SamlAssertion(Way):
    """A user's name and password at an identity provider, and the assertion that it gives for them."""

    hint: ClassVar[str] = (
        "Check sso_token_url and the organisation's single sign-on settings; Salesforce's SAML validator tells what "
        "it makes of an assertion."
    )

    def __init__(self, config: SalesforceConfig, context: Context) -> None:
        assert config.sso_login_url and config.sso_token_url and config.username and config.password
        self._context, self._key = context, config.identity()
        self._url, self._token_url = config.sso_login_url, config.sso_token_url
        self._user, self._password = config.username, config.password.get_secret_value()
        self._said = "" if config.sso_properties is None else config.sso_properties.get_secret_value()
        self._properties = _properties(self._said)

    def form(self, kept: Mapping[str, Json], client_id: str) -> dict[str, str]:
        return {**_FLOW, "assertion": b64encode(self._assertion()).decode()}

    def secrets(self) -> Collection[str]:
        return tuple(filter(None, (self._password, self._properties.get("IdPSystemPassword"))))

    def settings(self) -> Collection[str]:
        return self._url, self._user, self._password, self._said

    def _assertion(self) -> bytes:
        """The assertion as the provider wrote it, byte for byte, since it is signed."""
        to, target = urlsplit(self._url), urlsplit(self._token_url)
        asked = _REQUEST % {
            "to": escape(self._url),
            "user": escape(self._user),
            "password": escape(self._password),
            "applies": escape(self._properties.get("AppliesTo") or f"{target.scheme}://{target.netloc}"),
        }
        with HttpClient(
            self._context,
            base_url=f"{to.scheme}://{to.netloc}",
            auth=self._system(),
            account=f"{self._key} sso",
            answers=_ANSWERS,
            patience=Patience(seconds=60.0),
        ) as http:
            headers = {"Content-Type": "application/soap+xml; charset=utf-8", "Accept": "application/soap+xml"}
            answer = http.post(self._url, content=asked.encode(), headers=headers, repeatable=True, allow={400, 500})
            fault = [code.decode() for code in _FAULT.findall(answer.content)]
            if answer.status != 200 and not fault:
                raise http.refusal(f"POST {to.path} at {to.netloc}", answer)
        if fault:
            raise AuthError(f"{to.netloc} gave no SAML assertion: {', '.join(fault)}", hint=_CHECK)
        found = _ASSERTION.search(answer.content)
        if found is None:
            raise AuthError(f"{to.netloc} answered without a SAML assertion", hint=_ADDRESS)
        return found[0]

    def _system(self) -> Auth:
        user, password = self._properties.get("IdPSystemUserName"), self._properties.get("IdPSystemPassword")
        basic = self._properties.get("IdPSystemScheme", "None").lower() == "basic"
        return _Quiet(Basic(user or "", password or "") if basic else Open(), self.secrets())


class _Quiet(Open):
    """Another's signature, and more that must not be told."""

    def __init__(self, auth: Auth, secrets: Collection[str]) -> None:
        self._auth, self._more = auth, secrets

    def sign(self, request: httpx2.Request) -> None:
        self._auth.sign(request)

    def secrets(self) -> Collection[str]:
        return [*self._auth.secrets(), *self._more]


def _properties(text: str) -> dict[str, str]:
    """ConfigError for one that isn't known, and for a provider that is spoken to in another way."""
    found: dict[str, str] = {}
    for part in filter(None, (one.strip() for one in text.split(";"))):
        name, equals, value = part.partition("=")
        known = _PROPERTIES.get(name.strip().lower())
        if known is None or not equals:
            raise ConfigError(
                f"sso_properties: {name.strip()!r} isn't known", hint=f"Known are {', '.join(_PROPERTIES.values())}."
            )
        found[known] = value.strip()
    provider = found.get("IdPName", _PROVIDERS[0])
    if provider.lower() not in _PROVIDERS:
        raise ConfigError(
            f"the identity provider {provider} can't be signed in at with a user's password",
            hint="PingFederate and ADFS can, by WS-Trust. For others sign in by OAuth: a refresh token, or JWT.",
        )
    return found
