"""The sign-in by login() of the SOAP API, which Salesforce retires on 1 June 2027.

Source: "login()" in Salesforce's SOAP API Developer Guide (partner WSDL).
"""

from __future__ import annotations

import json
import time
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit
from xml.sax.saxutils import escape

from suiro.connectors.salesforce.config import SalesforceConfig
from suiro.model.errors import AuthError, ConfigError
from suiro.model.schema import Json
from suiro.spi.context import Context
from suiro.toolkit.http.answers import Answer, Answers, Meaning, Reaction
from suiro.toolkit.http.auth import Open
from suiro.toolkit.http.client import HttpClient
from suiro.toolkit.http.grants import Password
from suiro.toolkit.http.oauth import OAuth, TokenEndpoint
from suiro.toolkit.http.patience import Patience

RETIRES: Final = "Salesforce retires the sign-in by login() on 1 June 2027: sign in by OAuth before that."

_PARTNER: Final = "urn:partner.soap.sforce.com"
_REQUEST: Final = (
    '<?xml version="1.0" encoding="utf-8"?>'
    '<env:Envelope xmlns:env="http://schemas.xmlsoap.org/soap/envelope/"><env:Body>'
    f'<n1:login xmlns:n1="{_PARTNER}"><n1:username>%s</n1:username><n1:password>%s</n1:password></n1:login>'
    "</env:Body></env:Envelope>"
)
_ANSWERS: Final = Answers(
    meanings=(
        Meaning(
            code=frozenset({"INVALID_LOGIN", "LOGIN_MUST_USE_SECURITY_TOKEN", "INVALID_SSO_GATEWAY_URL"}),
            reaction=Reaction.STOP,
            error=AuthError,
            hint="Check user, password and security token (a new password brings a new token), whether the user is "
            "locked, and whether login() is switched on in the organisation and for the user.",
        ),
        Meaning(
            code=frozenset({"UNSUPPORTED_API_VERSION", "INVALID_VERSION"}),
            reaction=Reaction.STOP,
            error=ConfigError,
            hint="login() ends with version 64.0: leave api_version out, or sign in by OAuth.",
        ),
        Meaning(
            code=frozenset(
                {
                    "API_DISABLED_FOR_ORG",
                    "API_CURRENTLY_DISABLED",
                    "INACTIVE_ORG_OR_USER",
                    "INSUFFICIENT_ACCESS",
                    "INVALID_OPERATION",
                    "LOGIN_DURING_RESTRICTED_DOMAIN",
                    "LOGIN_DURING_RESTRICTED_TIME",
                    "ORG_LOCKED",
                    "PASSWORD_LOCKOUT",
                }
            ),
            reaction=Reaction.STOP,
            error=AuthError,
            hint="Let the organisation's administrator allow this user to sign in by the API, or sign in by OAuth.",
        ),
    )
)


class SoapLogin(OAuth):
    """A session of login(), kept and renewed like an access token."""

    def __init__(self, context: Context, *, key: str, config: SalesforceConfig) -> None:
        assert config.username is not None and config.password is not None
        token = "" if config.security_token is None else config.security_token.get_secret_value()
        self._user, self._password = config.username, config.password.get_secret_value() + token
        self._address = f"{config.login_address}/services/Soap/u/{config.version}"
        self._lent, self._name = context, key
        endpoint = TokenEndpoint(url=self._address, client_id=self._user)
        super().__init__(context, key=key, endpoint=endpoint, way=Password(self._user, self._password))

    def _fetch(self, form: Mapping[str, str], *, repeatable: bool) -> Mapping[str, Json]:
        """One call of login(): where the organisation is and the session, named as a token endpoint would."""
        parts = urlsplit(self._address)
        with HttpClient(
            self._lent,
            base_url=f"{parts.scheme}://{parts.netloc}",
            auth=_Hidden((self._password,)),
            account=f"{self._name} tokens",
            answers=_ANSWERS,
            patience=Patience(seconds=60.0),
        ) as http:
            answer = http.post(
                self._address,
                content=(_REQUEST % (escape(self._user), escape(self._password))).encode(),
                headers={"Content-Type": "text/xml; charset=utf-8", "SOAPAction": "login", "Accept": "text/xml"},
                repeatable=repeatable,
            )
        said = Answer(status=200, headers={}, content=json.dumps(_told(answer, parts.netloc)).encode())
        return self._told(said, time.time())


class _Hidden(Open):
    """Signs nothing, and knows what must not be told."""

    def __init__(self, secrets: tuple[str, ...]) -> None:
        self._secrets = secrets

    def secrets(self) -> tuple[str, ...]:
        return self._secrets


def _told(answer: Answer, host: str) -> dict[str, str]:
    try:
        found = {one.tag.rpartition("}")[2]: (one.text or "").strip() for one in ET.fromstring(answer.content).iter()}
        server, session = urlsplit(found["serverUrl"]), found["sessionId"]
    except (ET.ParseError, KeyError, ValueError) as error:
        raise AuthError(
            f"{host} answered login() without a session", hint="Check the sign-in address (login_url)."
        ) from error
    if found.get("passwordExpired") == "true":
        raise AuthError("the user's password has expired", hint="Sign in to Salesforce once and choose a new one.")
    where = f"{server.scheme}://{server.netloc}"
    return {"access_token": session, "instance_url": where, "id": f"{server.path}/{found.get('userId', '')}"}
