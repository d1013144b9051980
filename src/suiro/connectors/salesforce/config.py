"""A Salesforce connection's settings."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from suiro.spi.connector import ConnectorConfig

CURRENT: Final = "67.0"  #: the version of the API that is spoken unless another is set
LAST_WITH_SOAP: Final = 64.0  #: of the versions that know login()
OLDEST: Final = 31.0
_LOGIN, _TEST = "https://login.salesforce.com", "https://test.salesforce.com"
_SHARED: Final = frozenset({"login.salesforce.com", "test.salesforce.com"})  #: hosts that all organisations sign in at


class SignIn(StrEnum):
    """The ways to sign in."""

    TOKEN = "token"  #: an access token that somebody else keeps fresh
    OAUTH = "oauth"  #: a refresh token, or a user's consent at a browser
    JWT = "jwt"
    CLIENT = "client_credentials"
    PASSWORD = "password"  #: OAuth, with user and password
    SSO = "sso"  #: an identity provider's SAML assertion
    SOAP = "soap"  #: login(), with user, password and security token


_SCHEMES: Final = {
    "basic": "soap",
    "oauth": "oauth",
    "oauthpkce": "oauth",
    "oauthpassword": "password",
    "oauthclient": "client_credentials",
    "oauthjwt": "jwt",
    "pingfederate": "sso",
    "adfs": "sso",
}


def _cdata(*names: str) -> dict[str, Any]:
    """The properties of a connection string, as CData's driver for Salesforce calls them, that fill a setting."""
    return {"cdata": list(names)}


class SalesforceConfig(ConnectorConfig):
    """How to reach one Salesforce organisation, and how it is read."""

    base_url: str | None = Field(
        None,
        title="Address of the organisation",
        description="Its My Domain, as acme.my.salesforce.com. Left empty: the sign-in tells where it is.",
        json_schema_extra={"uri": "host"},
    )
    login_url: str | None = Field(
        None,
        title="Sign-in address",
        description="Where to sign in. Left empty: the organisation's address, or else login.salesforce.com.",
        json_schema_extra=_cdata("LoginURL"),
    )
    sandbox: bool = Field(
        False,
        title="Sandbox",
        description="Without an address of its own, sign in at test.salesforce.com.",
        json_schema_extra=_cdata("UseSandbox"),
    )
    organization: str | None = Field(
        None,
        title="Name of the organisation",
        description="What positions belong to, in place of its address or the user's domain. Seldom needed.",
    )
    sign_in: Literal["auto", "token", "oauth", "jwt", "client_credentials", "password", "sso", "soap"] = Field(
        "auto",
        title="Way to sign in",
        description="auto: by what is given; OAuth comes before a password.",
        json_schema_extra={**_cdata("AuthScheme"), "cdata_values": {"auto": "auto", **_SCHEMES}},
    )
    username: str | None = Field(
        None,
        title="User",
        description="The user's name, as integration@acme.example.",
        json_schema_extra={"uri": "user", **_cdata("User", "OAuthJWTSubject")},
    )
    password: SecretStr | None = Field(
        None,
        title="Password",
        description="The user's password.",
        json_schema_extra={"uri": "password", **_cdata("Password")},
    )
    security_token: SecretStr | None = Field(
        None,
        title="Security token",
        description="The user's own, as Salesforce mailed it. Not needed from trusted networks.",
        json_schema_extra=_cdata("SecurityToken"),
    )
    client_id: str | None = Field(
        None,
        title="Client id",
        description="The consumer key of the connected app or external client app.",
        json_schema_extra=_cdata("OAuthClientId", "OAuthJWTIssuer"),
    )
    client_secret: SecretStr | None = Field(
        None, title="Client secret", description="Its consumer secret.", json_schema_extra=_cdata("OAuthClientSecret")
    )
    refresh_token: SecretStr | None = Field(
        None,
        title="Refresh token",
        description="What a user's consent brought. One that Salesforce replaces is kept by itself.",
        json_schema_extra=_cdata("OAuthRefreshToken"),
    )
    access_token: SecretStr | None = Field(
        None,
        title="Access token",
        description="A session that somebody else keeps alive; needs the organisation's address.",
        json_schema_extra=_cdata("OAuthAccessToken"),
    )
    initiate_oauth: Literal["off", "refresh", "getandrefresh"] | None = Field(
        None,
        title="InitiateOAuth",
        description="off: an access token is used as it is. Else it gives way to what can be renewed.",
        json_schema_extra={
            **_cdata("InitiateOAuth"),
            "cdata_values": {"off": "off", "refresh": "refresh", "getandrefresh": "getandrefresh"},
        },
    )
    private_key_file: str | None = Field(
        None,
        title="Private key, as a file",
        description="Looked for as it is written, then by its bare name here and in the folder keys of Suiro's home.",
        json_schema_extra=_cdata("OAuthJWTCert"),
    )
    private_key: SecretStr | None = Field(
        None,
        title="Private key, as text",
        description="Of the certificate that the app knows: RSA, PEM.",
        json_schema_extra={**_cdata("OAuthJWTCert"), "cdata_begins": ["-----BEGIN"]},
    )
    private_key_passphrase: SecretStr | None = Field(
        None,
        title="Passphrase of the key",
        description="What the private key is encrypted with.",
        json_schema_extra=_cdata("OAuthJWTCertPassword"),
    )
    jwt_audience: str | None = Field(
        None,
        title="Audience",
        description="Whom the signed statement is for. Left empty: the sign-in address.",
        json_schema_extra=_cdata("OAuthJWTAudience"),
    )
    sso_login_url: str | None = Field(
        None,
        title="Identity provider",
        description="Its WS-Trust 1.3 address, as https://sso.acme.example/idp/sts.wst.",
        json_schema_extra=_cdata("SSOLoginUrl"),
    )
    sso_token_url: str | None = Field(
        None,
        title="SSO token address",
        description="The organisation's OAuth 2.0 token endpoint of its single sign-on settings (token?so=00D...).",
        json_schema_extra=_cdata("SSOTokenUrl", "SSOExchangeUrl", "TokenUrl"),
    )
    sso_properties: SecretStr | None = Field(
        None,
        title="SSO properties",
        description="Name=value;... for the identity provider: IdPName (PingFederate or ADFS), AppliesTo, "
        "IdPSystemScheme (None or Basic), IdPSystemUserName, IdPSystemPassword.",
        json_schema_extra=_cdata("SSOProperties"),
    )
    api_version: str | None = Field(
        None,
        title="Version of the API",
        description=f"Left empty: {CURRENT}; {LAST_WITH_SOAP} where the sign-in is by login(), which later ones lack.",
        json_schema_extra=_cdata("APIVersion"),
    )
    api: Literal["auto", "rest", "bulk"] = Field(
        "auto",
        title="Read through",
        description="auto: few rows by REST, many in bulk jobs. rest also reads compound fields, as JSON.",
    )
    bulk_from: int = Field(
        20_000, title="Many rows", description="From so many on rows are read in bulk jobs (auto).", ge=1
    )
    page_rows: int = Field(50_000, title="Rows of a page", description="Of a bulk job's result.", ge=1, le=1_000_000)
    part_rows: int = Field(
        10_000_000,
        title="Rows of a part",
        description="An object with more rows is read in parts, each a range of record ids.",
        ge=1,
    )
    hold_back: int = Field(
        300,
        title="Held back",
        description="Seconds: rows changed later than that before now come with the next read, as Salesforce may show "
        "changes late.",
        ge=0,
    )
    look_back: int = Field(
        600,
        title="Read again",
        description="Seconds before the last read that are read again where rows are merged; transactions last.",
        ge=0,
    )
    formula_refresh: int | None = Field(
        None,
        title="Formula refresh",
        description="Hours after which an incremental read reads all rows again, since formulas change unnoticed.",
        ge=1,
    )
    include_deleted: bool = Field(
        False,
        title="Deleted and archived rows",
        description="Read rows in the recycle bin, with IsDeleted true, and archived ones, too.",
    )
    blobs: Literal["skip", "bytes"] = Field(
        "skip",
        title="Files and other bytes",
        description="skip: base64 fields are left out. bytes: each is fetched, one request for each record.",
    )

    @field_validator("base_url", "login_url")
    @classmethod
    def _address(cls, given: str | None) -> str | None:
        if given is None or not given.strip():
            return None
        url = given.strip().rstrip("/")
        url = url if "://" in url else f"https://{url}"
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("it must be a web address, as https://acme.my.salesforce.com")
        return f"{parts.scheme}://{parts.netloc}"

    @field_validator("api_version", mode="before")
    @classmethod
    def _version(cls, given: object) -> object:
        if given is None or given == "":
            return None
        found = re.fullmatch(r"v?([0-9]{2,3})(?:\.0)?", str(given).strip())
        if found is None:
            raise ValueError("it must be a version, as 67.0")
        if float(found[1]) < OLDEST:
            raise ValueError(f"Salesforce retired versions before {OLDEST}")
        return f"{found[1]}.0"

    @model_validator(mode="after")
    def _can_sign_in(self) -> SalesforceConfig:
        lacks = [name for name in _NEEDS[self.way] if not self._given(name)]
        if lacks:
            raise ValueError(f"to sign in by {self.way}, {' and '.join(lacks)} must be given")
        if self.way is SignIn.CLIENT and urlsplit(self.login_address).hostname in _SHARED:
            raise ValueError("client credentials are taken at the organisation's own address only: give base_url")
        if self.way is SignIn.SOAP and self.api_version and float(self.api_version) > LAST_WITH_SOAP:
            raise ValueError(f"login() ends with version {LAST_WITH_SOAP}: set that api_version, or sign in by OAuth")
        return self

    def _given(self, name: str) -> bool:
        return any(getattr(self, one) is not None for one in name.split(" or "))

    @property
    def way(self) -> SignIn:
        """How to sign in."""
        if self.sign_in != "auto":
            return SignIn(self.sign_in)
        if self.access_token is not None and (self.initiate_oauth == "off" or self.client_id is None):
            return SignIn.TOKEN
        if self.client_id is not None:
            if self.refresh_token is not None or self.initiate_oauth == "getandrefresh":
                return SignIn.OAUTH
            if self.private_key is not None or self.private_key_file is not None:
                return SignIn.JWT
        if self.sso_login_url is not None:
            return SignIn.SSO
        if self.client_id is None:
            return SignIn.SOAP
        if self.password is not None:
            return SignIn.PASSWORD
        return SignIn.OAUTH if self.client_secret is None or self.username is not None else SignIn.CLIENT

    @property
    def login_address(self) -> str:
        """Where to sign in."""
        return self.login_url or self.base_url or (_TEST if self.sandbox else _LOGIN)

    @property
    def version(self) -> str:
        """Of the API."""
        return self.api_version or (str(LAST_WITH_SOAP) if self.way is SignIn.SOAP else CURRENT)

    def identity(self) -> str:
        """The organisation, whoever signs in: its name, its address, or the login host with the user's domain."""
        return f"salesforce:{self._organisation()}"

    def _organisation(self) -> str:
        if self.organization:
            return self.organization
        own = self.base_url or self.sso_token_url or self.login_address
        host = urlsplit(own).netloc.lower()
        if host not in _SHARED:
            return host
        domain = (self.username or "").rpartition("@")[2].lower()
        return f"{host}/{domain or self.client_id or ''}"


_NEEDS: Final = {
    SignIn.TOKEN: ("access_token", "base_url"),
    SignIn.OAUTH: ("client_id",),
    SignIn.JWT: ("client_id", "username", "private_key or private_key_file"),
    SignIn.CLIENT: ("client_id", "client_secret"),
    SignIn.PASSWORD: ("client_id", "username", "password"),
    SignIn.SSO: ("sso_login_url", "sso_token_url", "username", "password"),
    SignIn.SOAP: ("username", "password"),
}
