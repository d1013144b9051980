"""Tests of every way to sign in, and of sessions that end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from salesforce_org import Org, carried, follow, select
from suiro.app.opened import configure
from suiro.connectors.salesforce import connector
from suiro.connectors.salesforce.config import SalesforceConfig
from suiro.connectors.salesforce.signing import Session
from suiro.model.errors import AuthError, ConfigError, ResyncRequired
from suiro.sandbox.server import Running
from suiro.toolkit.http.auth import Open

WAYS = ["client_credentials", "refresh_token", "jwt", "password", "soap", "sso"]
TOKEN = "POST /services/oauth2/token"


@pytest.mark.parametrize("way", WAYS)
def test_every_way_signs_in_and_reads(org: Org, way: str) -> None:
    source = org.source(way)
    source.check()
    rows, _ = carried(source, select(source, "Account", "Id", "Name"))
    assert {row["Id"] for row in rows} == {record["Id"] for record in org.records("Account")}


@pytest.mark.parametrize("way", WAYS)
def test_a_session_that_ended_is_renewed_once_and_the_read_goes_on(org: Org, way: str) -> None:
    source = org.source(way, api="bulk", page_rows=400)
    selection = select(source, "Lead", "Id")
    org.control("DELETE", "sessions")
    rows, _ = carried(source, selection)
    assert len(rows) == 1500


@pytest.mark.parametrize(
    ("way", "wrong", "says"),
    [
        ("client_credentials", {"client_secret": "wrong-secret-1"}, "client"),
        ("refresh_token", {"refresh_token": "wrong-secret-1"}, "the new refresh token"),
        ("jwt", {"username": "nobody@acme.example"}, "user"),
        ("password", {"password": "wrong-secret-1"}, "password"),
        ("soap", {"password": "wrong-secret-1"}, "security token"),
        ("soap", {"security_token": "wrong-secret-1"}, "security token"),
        ("sso", {"password": "wrong-secret-1"}, "identity provider"),
    ],
)
def test_wrong_credentials_are_the_users_to_mend_and_are_not_shown(
    org: Org, way: str, wrong: dict[str, str], says: str
) -> None:
    with pytest.raises(AuthError) as refused:
        org.source(way, **wrong).check()
    told = f"{refused.value.message} {refused.value.hint}"
    assert says in told and "wrong-secret-1" not in told


def test_login_by_soap_that_is_switched_off_is_said(org: Org) -> None:
    org.settings(soap_login=False)
    with pytest.raises(AuthError) as refused:
        org.source("soap").check()
    assert "OAuth" in str(refused.value.hint) or "switched on" in str(refused.value.hint)


def test_a_stream_read_through_soap_login_says_until_when_that_works(org: Org) -> None:
    stream = org.source("soap").find("Account")
    assert any("1 June 2027" in note for note in stream.notes)
    assert not any("2027" in note for note in org.source("jwt").find("Account").notes)


def test_four_readers_whose_session_ends_renew_a_rotating_refresh_token_once(tmp_path: Path) -> None:
    with Running(only=["salesforce"], sizes={"Lead": 10}) as running:
        org = Org(running, tmp_path)
        org.settings(rotate_refresh_tokens=True)
        renewed_once(org)
        org.close()


def renewed_once(org: Org) -> None:
    sources = [org.source("refresh_token") for _ in range(4)]
    for source in sources:
        source.check()
    org.control("DELETE", "sessions")
    org.forget_requests()
    meet = threading.Barrier(len(sources))

    def read(source: Any) -> int:
        meet.wait()
        return len(carried(source, select(source, "Account", "Id"))[0])

    with ThreadPoolExecutor(len(sources)) as pool:
        counts = list(pool.map(read, sources))
    assert counts == [len(org.records("Account"))] * 4
    assert org.requests()[TOKEN] == 1


def test_a_token_of_ones_own_serves_until_it_ends(org: Org) -> None:
    signed_in = org.source()
    signed_in.check()
    token = str(signed_in._org.session.values()["access_token"])
    settings = {"base_url": org.url, "access_token": token, "hold_back": 0}
    source = connector.source(configure(connector, settings), org.context())  # type: ignore[misc]
    source.check()
    org.control("DELETE", "sessions")
    with pytest.raises(AuthError, match="INVALID_SESSION_ID") as refused:
        source.check()
    assert "another access token" in str(refused.value.hint) and token not in refused.value.message
    source.close()


def test_a_users_consent_signs_a_connection_in(org: Org) -> None:
    given = {**org.ways["refresh_token"]}
    del given["type"], given["refresh_token"]
    config = configure(connector, {**given, "sign_in": "oauth"})
    assert isinstance(config, SalesforceConfig) and connector.sign_in is not None
    context = org.context()
    with pytest.raises(AuthError, match="nobody has signed in"):
        connector.source(config, context).check()  # type: ignore[misc]
    signing_in = connector.sign_in(config, context, "http://127.0.0.1:1/callback")
    answer = consented(signing_in.url)
    with pytest.raises(AuthError):
        signing_in.accept({**answer, "state": "another"})
    signing_in.accept(answer)
    source = connector.source(config, context)  # type: ignore[misc]
    source.check()
    source.close()


def test_settings_that_need_no_consent_say_so(org: Org) -> None:
    given = {name: value for name, value in org.ways["jwt"].items() if name != "type"}
    assert connector.sign_in is not None
    with pytest.raises(ConfigError, match="needs nobody's consent"):
        connector.sign_in(configure(connector, given), org.context(), "http://127.0.0.1:1/callback")


def consented(url: str) -> dict[str, str]:
    """What the browser is sent back with by a user who signs in and allows what the page asks."""
    with httpx2.Client(follow_redirects=False) as browser:
        page = browser.get(url)
        assert page.status_code == 200 and "<form" in page.text
        asked = dict(parse_qs(urlsplit(url).query))
        form = {name: value[0] for name, value in asked.items()}
        user = {"username": "integration@suiro.example", "password": "sandbox-password"}
        answer = browser.post(str(page.url), data={**form, **user, "allow": "yes", "decision": "allow"})
        assert answer.status_code in (302, 303), answer.text[:500]
        return {name: value[0] for name, value in parse_qs(urlsplit(answer.headers["location"]).query).items()}


def test_a_session_that_may_not_use_the_api_names_its_scopes() -> None:
    values: Callable[[], dict[str, Any]] = lambda: {"instance_url": "https://a.example", "scope": "openid id"}  # noqa: E731
    with pytest.raises(AuthError, match="may do openid id, but not api"):
        _ = Session(auth=Open(), values=values).address
    allowed = Session(auth=Open(), values=lambda: {"instance_url": "https://a.example/", "scope": "id api"})
    assert allowed.address == "https://a.example"


def test_a_position_of_another_organisation_is_not_gone_on_from(org: Org) -> None:
    source = org.source()
    selection = follow(source, "Lead", "Id", "SystemModstamp")
    _, position = carried(source, selection)
    assert position["org"] == "00D5g0000000001"
    with pytest.raises(ResyncRequired, match="was of the organisation 00Dother"):
        carried(source, selection, {**position, "org": "00Dother"})


@pytest.mark.parametrize(
    ("properties", "says"), [("IdPName=Okta", "Okta can't be signed in at"), ("Idp=x", "'Idp' isn't known")]
)
def test_properties_of_an_identity_provider_that_do_not_fit_are_named(org: Org, properties: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        org.source("sso", sso_properties=properties).check()


def test_properties_of_an_identity_provider_are_sent(org: Org) -> None:
    org.source("sso", sso_properties="IdPName=ADFS;AppliesTo=https://saml.example").check()


def test_what_is_no_address_of_an_identity_provider_is_said(org: Org) -> None:
    with pytest.raises((AuthError, ConfigError)) as refused:
        org.source("sso", sso_login_url=f"{org.url}/services/data/").check()
    assert "sandbox-password" not in f"{refused.value.message} {refused.value.hint}"
