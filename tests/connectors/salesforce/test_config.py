"""Tests of the settings of Salesforce connections: ways to sign in, the organisation's identity, CData's names."""

from __future__ import annotations

from typing import Any

import pytest

from suiro.app.connections import connection
from suiro.app.opened import configure
from suiro.connectors.salesforce import connector
from suiro.connectors.salesforce.config import SalesforceConfig, SignIn
from suiro.model.errors import ConfigError

USER = {"username": "integration@acme.example", "password": "p"}
KEY = {"client_id": "c", "username": "integration@acme.example", "private_key": "-----BEGIN"}
DOMAIN = {"base_url": "acme.my.salesforce.com"}


@pytest.mark.parametrize(
    ("given", "way"),
    [
        (USER, SignIn.SOAP),
        ({**USER, "client_id": "c"}, SignIn.PASSWORD),
        ({**USER, "client_id": "c", "refresh_token": "r"}, SignIn.OAUTH),
        ({"client_id": "c"}, SignIn.OAUTH),
        ({**USER, "client_id": "c", "initiate_oauth": "getandrefresh"}, SignIn.OAUTH),
        (KEY, SignIn.JWT),
        ({**KEY, "refresh_token": "r"}, SignIn.OAUTH),
        ({"client_id": "c", "client_secret": "s", **DOMAIN}, SignIn.CLIENT),
        ({"access_token": "t", **DOMAIN}, SignIn.TOKEN),
        ({"access_token": "t", "client_id": "c", "refresh_token": "r", **DOMAIN}, SignIn.OAUTH),
        ({**USER, "sso_login_url": "https://idp/sts.wst", "sso_token_url": "https://a/t?so=1"}, SignIn.SSO),
        ({**USER, "client_id": "c", "sign_in": "soap"}, SignIn.SOAP),
    ],
)
def test_the_way_to_sign_in_follows_from_what_is_given_and_oauth_comes_before_a_password(
    given: dict[str, Any], way: SignIn
) -> None:
    assert SalesforceConfig(**given).way is way


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "to sign in by soap, username and password must be given"),
        ({"access_token": "t"}, "base_url must be given"),
        ({"sign_in": "jwt", "client_id": "c", "username": "u"}, "private_key or private_key_file must be given"),
        ({"client_id": "c", "client_secret": "s"}, "at the organisation's own address only"),
        ({**USER, "api_version": "65.0"}, "login() ends with version 64.0"),
        ({**USER, "api_version": "30.0"}, "retired versions before 31.0"),
        ({**USER, "api_version": "new"}, "must be a version, as 67.0"),
        ({**USER, "base_url": "ftp://acme"}, "must be a web address"),
    ],
)
def test_what_is_missing_or_wrong_is_named(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says.replace("(", r"\(").replace(")", r"\)")):
        configure(connector, given)


def test_positions_belong_to_the_organisation_whatever_the_kind_of_credential() -> None:
    kinds = [USER, {**USER, "client_id": "c", "refresh_token": "r"}, KEY]
    assert {SalesforceConfig(**kind).identity() for kind in kinds} == {"salesforce:login.salesforce.com/acme.example"}
    at_home = [{**kind, **DOMAIN} for kind in (*kinds, {"access_token": "t"}, {"client_id": "c", "client_secret": "s"})]
    assert {SalesforceConfig(**kind).identity() for kind in at_home} == {"salesforce:acme.my.salesforce.com"}
    assert SalesforceConfig(**USER, sandbox=True).identity() == "salesforce:test.salesforce.com/acme.example"
    assert SalesforceConfig(**USER, organization="acme").identity() == "salesforce:acme"
    assert SalesforceConfig(**USER, hold_back=0, api="bulk").identity() == SalesforceConfig(**USER).identity()


def test_the_version_is_the_last_with_login_for_login_and_a_current_one_else() -> None:
    assert SalesforceConfig(**USER).version == "64.0"
    assert SalesforceConfig(**KEY).version == "67.0"
    assert SalesforceConfig(**KEY, api_version="v60").version == "60.0"


def test_connection_strings_name_properties_as_cdata_does() -> None:
    text = (
        "salesforce:User=u@acme.example;Password=p;SecurityToken=t;UseSandbox=true;OAuthClientId=c;OAuthClientSecret=s;"
        "OAuthRefreshToken=r;InitiateOAuth=GETANDREFRESH;APIVersion=60.0;AuthScheme=OAuth"
    )
    config = connection(text).config
    assert isinstance(config, SalesforceConfig)
    assert (config.username, config.sandbox, config.client_id, config.version) == ("u@acme.example", True, "c", "60.0")
    assert config.way is SignIn.OAUTH and config.refresh_token is not None
    assert config.login_address == "https://test.salesforce.com"
    secrets = (config.password, config.security_token, config.client_secret, config.refresh_token)
    assert [one.get_secret_value() for one in secrets if one] == ["p", "t", "s", "r"]


def test_single_sign_on_has_cdatas_properties() -> None:
    text = (
        "salesforce:AuthScheme=PingFederate;User=u;Password=p;SSOLoginUrl=https://idp/sts.wst;"
        "TokenUrl='https://a.my.salesforce.com/services/oauth2/token?so=00D';SSOProperties='IdPName=PingFederate;'"
    )
    config = connection(text).config
    assert isinstance(config, SalesforceConfig)
    assert (
        config.way is SignIn.SSO and config.sso_token_url == "https://a.my.salesforce.com/services/oauth2/token?so=00D"
    )
    assert config.identity() == "salesforce:a.my.salesforce.com"


def test_a_private_key_is_a_file_or_its_own_text() -> None:
    start = "salesforce:OAuthClientId=c;OAuthJWTSubject=u@a.example;AuthScheme=OAuthJWT;"
    as_file = connection(f"{start}OAuthJWTCert=key.pem").config
    as_text = connection(f"{start}OAuthJWTCert=-----BEGIN PRIVATE KEY-----").config
    assert isinstance(as_file, SalesforceConfig) and isinstance(as_text, SalesforceConfig)
    assert (as_file.private_key_file, as_file.private_key) == ("key.pem", None)
    assert as_text.private_key_file is None and as_text.private_key is not None


def test_a_uri_names_user_password_and_the_organisations_address() -> None:
    config = connection("salesforce://u%40a.example:p@acme.my.salesforce.com?security_token=t&hold_back=60").config
    assert isinstance(config, SalesforceConfig)
    assert config.base_url == "https://acme.my.salesforce.com" and config.hold_back == 60
    assert config.username == "u@a.example" and config.login_address == config.base_url
