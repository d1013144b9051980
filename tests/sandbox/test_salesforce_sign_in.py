"""Signing in to the Salesforce sandbox, every way there is."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from salesforce_calls import Calls, error

CALLBACK = "http://localhost:1717/callback"


def usable(org: Calls, token: str) -> bool:
    answer = requests.get(
        f"{org.url}/services/data/v64.0/limits", headers={"Authorization": f"Bearer {token}"}, timeout=30
    )
    return answer.status_code == 200


def signed(org: Calls, key: str | None = None, **claims: Any) -> str:
    """A JWT with the claims of the sandbox's app, signed with RS256."""

    def encoded(part: bytes) -> str:
        return base64.urlsafe_b64encode(part).rstrip(b"=").decode()

    way = org.ways["jwt"]
    told = {
        "iss": way["client_id"],
        "sub": way["username"],
        "aud": org.url,
        "exp": int(org.clock().timestamp()) + 180,
        **claims,
    }
    text = ".".join(encoded(json.dumps(part).encode()) for part in ({"alg": "RS256"}, told))
    private = serialization.load_pem_private_key((key or way["private_key"]).encode(), None)
    assert isinstance(private, rsa.RSAPrivateKey)
    return f"{text}.{encoded(private.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def jwt_bearer(org: Calls, assertion: str) -> requests.Response:
    return org.token(grant_type="urn:ietf:params:oauth:grant-type:jwt-bearer", assertion=assertion)


def allowed(org: Calls, *, allow: str = "yes", **more: str) -> dict[str, str]:
    """Open the consent page, press a button, and read what comes back to the app."""
    asked = {
        "response_type": "code",
        "client_id": org.ways["jwt"]["client_id"],
        "redirect_uri": CALLBACK,
        "state": "xyz",
        **more,
    }
    authorize = f"{org.url}/services/oauth2/authorize"
    page = requests.get(authorize, params=asked, timeout=30)
    assert page.status_code == 200
    hidden = dict(re.findall(r'name="(\w+)" value="([^"]*)">', page.text.partition("<button")[0]))
    assert hidden == asked
    back = requests.post(authorize, data={**hidden, "allow": allow}, allow_redirects=False, timeout=30)
    assert back.status_code == 302
    target = back.headers["Location"]
    assert target.startswith(CALLBACK)
    return {name: values[0] for name, values in parse_qs(urlsplit(target).query).items()}


def redeem(org: Calls, code: str, **more: str) -> requests.Response:
    way = org.ways["client_credentials"]
    given = {"client_id": way["client_id"], "redirect_uri": CALLBACK, **more}
    return org.token(grant_type="authorization_code", code=code, **given)


def refresh(org: Calls, token: str) -> requests.Response:
    way = org.ways["refresh_token"]
    return org.token(
        grant_type="refresh_token",
        refresh_token=token,
        client_id=way["client_id"],
        client_secret=way["client_secret"],
    )


def test_a_token_answer_has_no_expires_in_and_names_the_instance(org: Calls) -> None:
    """[REC restforce auth_success_response.json]"""
    told = refresh(org, org.ways["refresh_token"]["refresh_token"]).json()
    assert "expires_in" not in told
    assert {"id", "issued_at", "instance_url", "signature", "access_token"} <= set(told)
    assert told["instance_url"] == org.url
    assert re.fullmatch(r"00D\w{12}!.+", told["access_token"])
    assert usable(org, told["access_token"])


def test_the_web_server_flow_gives_a_refresh_token_for_a_consent(org: Calls) -> None:
    """[1.1 web server flow]"""
    back = allowed(org)
    assert back["state"] == "xyz"
    told = redeem(org, back["code"], client_secret=org.ways["refresh_token"]["client_secret"]).json()
    assert usable(org, told["access_token"])
    again = refresh(org, told["refresh_token"])
    assert usable(org, again.json()["access_token"])
    assert "refresh_token" not in again.json()


def test_a_code_serves_once(org: Calls) -> None:
    secret = org.ways["refresh_token"]["client_secret"]
    code = allowed(org)["code"]
    assert redeem(org, code, client_secret=secret).status_code == 200
    assert redeem(org, code, client_secret=secret).json()["error"] == "invalid_grant"


def test_a_code_with_a_challenge_needs_its_verifier_and_no_secret(org: Calls) -> None:
    """[1.1 web server flow, code_challenge]"""
    verifier = "v" * 50
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    asked = {"code_challenge": challenge, "code_challenge_method": "S256"}
    assert redeem(org, allowed(org, **asked)["code"], code_verifier="wrong").json()["error"] == "invalid_grant"
    assert redeem(org, allowed(org, **asked)["code"], code_verifier=verifier).status_code == 200
    assert redeem(org, allowed(org)["code"]).json()["error"] == "invalid_client"


def test_a_consent_that_is_denied_brings_no_code(org: Calls) -> None:
    back = allowed(org, allow="no")
    assert back["error"] == "access_denied"
    assert "code" not in back


def test_a_redirect_elsewhere_than_consented_is_refused(org: Calls) -> None:
    secret = org.ways["refresh_token"]["client_secret"]
    answer = redeem(org, allowed(org)["code"], client_secret=secret, redirect_uri="http://localhost:1/other")
    assert answer.json()["error"] == "redirect_uri_mismatch"


def test_with_rotation_each_refresh_gives_a_new_token_and_an_old_one_ends_the_grant(org: Calls) -> None:
    """[CLIENT airbyte-source-salesforce 2.10.3]"""
    org.set(rotate_refresh_tokens=True)
    first = redeem(org, allowed(org)["code"], client_secret=org.ways["refresh_token"]["client_secret"]).json()
    second = refresh(org, first["refresh_token"]).json()
    third = refresh(org, second["refresh_token"]).json()
    assert len({first["refresh_token"], second["refresh_token"], third["refresh_token"]}) == 3
    assert usable(org, third["access_token"])
    reused = refresh(org, second["refresh_token"])
    assert (reused.status_code, reused.json()) == (
        400,
        {"error": "invalid_grant", "error_description": "expired access/refresh token"},
    )
    assert refresh(org, third["refresh_token"]).status_code == 400
    assert not usable(org, third["access_token"])


def test_an_unknown_refresh_token_is_an_invalid_grant(org: Calls) -> None:
    """[REC restforce]"""
    answer = refresh(org, "nonsense")
    assert answer.status_code == 400
    assert answer.json() == {"error": "invalid_grant", "error_description": "expired access/refresh token"}


def test_a_jwt_signed_by_the_apps_key_is_a_session(org: Calls) -> None:
    """[1.1 JWT bearer]"""
    told = jwt_bearer(org, signed(org)).json()
    assert usable(org, told["access_token"])
    assert "refresh_token" not in told
    for audience in ("https://login.salesforce.com", "https://test.salesforce.com"):
        assert jwt_bearer(org, signed(org, aud=audience)).status_code == 200


@pytest.mark.parametrize(
    ("claims", "refused"),
    [
        ({"sub": "somebody@else.example"}, ("invalid_grant", "user hasn't approved this consumer")),
        ({"aud": "https://else.example"}, ("invalid_grant", "audience is invalid")),
        ({"iss": "another"}, ("invalid_client_id", "client identifier invalid")),
        ({"exp": 1}, ("invalid_grant", "assertion is expired, or lives too long")),
    ],
)
def test_a_jwt_with_a_wrong_claim_is_refused(org: Calls, claims: dict[str, Any], refused: tuple[str, str]) -> None:
    """[WEB striim.com: user hasn't approved this consumer]"""
    answer = jwt_bearer(org, signed(org, **claims))
    assert (answer.status_code, *answer.json().values()) == (400, *refused)


def test_a_jwt_that_another_key_signed_is_refused(org: Calls) -> None:
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    assert jwt_bearer(org, signed(org, other.decode())).json()["error"] == "invalid_grant"
    assert jwt_bearer(org, "no.jwt.atall").json()["error"] == "invalid_grant"


def test_an_external_client_app_refuses_the_generic_audience(org: Calls) -> None:
    """[WEB simstudioai/sim#6508]"""
    org.set(external_client_app=True)
    assert jwt_bearer(org, signed(org, aud="https://test.salesforce.com")).json()["error"] == "app_not_found"
    assert jwt_bearer(org, signed(org)).status_code == 200


def test_client_credentials_work_on_my_domain_only(org: Calls) -> None:
    """[CLIENT simple-salesforce login.py]"""
    way = org.ways["client_credentials"]
    asked = {"grant_type": "client_credentials", "client_id": way["client_id"], "client_secret": way["client_secret"]}
    assert usable(org, org.token(**asked).json()["access_token"])
    assert org.token(prefix="/login", **asked).status_code == 400
    by_host = requests.post(
        f"{org.url}/services/oauth2/token", data=asked, headers={"Host": "login.salesforce.com"}, timeout=30
    )
    assert by_host.status_code == 400
    basic = requests.post(
        f"{org.url}/services/oauth2/token",
        data={"grant_type": "client_credentials"},
        auth=(way["client_id"], way["client_secret"]),
        timeout=30,
    )
    assert usable(org, basic.json()["access_token"])
    assert org.token(**{**asked, "client_secret": "wrong"}).json()["error"] == "invalid_client"


def test_client_credentials_need_a_user_to_run_as(org: Calls) -> None:
    """[WEB striim]"""
    org.set(run_as_user=False)
    way = org.ways["client_credentials"]
    answer = org.token(grant_type="client_credentials", client_id=way["client_id"], client_secret=way["client_secret"])
    assert answer.json() == {"error": "invalid_grant", "error_description": "no client credentials user enabled"}


def test_the_password_flow_takes_password_and_security_token_in_one(org: Calls) -> None:
    """[REC restforce: the refusal]"""
    way = org.ways["password"]
    asked = {
        "grant_type": "password",
        "client_id": way["client_id"],
        "client_secret": way["client_secret"],
        "username": way["username"],
    }
    right = way["password"] + way["security_token"]
    for prefix in ("", "/login"):
        assert usable(org, org.token(prefix=prefix, password=right, **asked).json()["access_token"])
    refused = org.token(password=way["password"], **asked)
    assert (refused.status_code, refused.json()) == (
        400,
        {"error": "invalid_grant", "error_description": "authentication failure - Invalid Password"},
    )
    org.set(password_flow=False)
    assert org.token(password=right, **asked).status_code == 400


def soap(org: Calls, version: str, username: str, password: str) -> requests.Response:
    body = f"""<?xml version="1.0" encoding="utf-8"?>
        <e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"><e:Body>
        <login xmlns="urn:partner.soap.sforce.com">
        <username>{username}</username><password>{password}</password></login>
        </e:Body></e:Envelope>"""
    url = f"{org.url}/login/services/Soap/u/{version}"
    return requests.post(url, body, headers={"SOAPAction": "login", "Content-Type": "text/xml"}, timeout=30)


def test_soap_login_gives_a_session_and_the_server_to_go_to(org: Calls) -> None:
    """[REC grouparoo exemplars]"""
    way = org.ways["soap"]
    answer = soap(org, "64.0", way["username"], way["password"] + way["security_token"])
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/xml")
    session = re.search("<sessionId>(.*)</sessionId>", answer.text)
    server = re.search("<serverUrl>(.*)</serverUrl>", answer.text)
    assert session and usable(org, session[1])
    assert server and server[1].startswith(f"{org.url}/services/Soap/u/64.0/00D")
    assert "<sessionSecondsValid>7200</sessionSecondsValid>" in answer.text


def test_soap_login_without_the_security_token_is_a_fault(org: Calls) -> None:
    """[REC: HTTP 500, INVALID_LOGIN]"""
    way = org.ways["soap"]
    answer = soap(org, "64.0", way["username"], way["password"])
    assert answer.status_code == 500
    assert "<sf:exceptionCode>INVALID_LOGIN</sf:exceptionCode>" in answer.text
    assert "Invalid username, password, security token; or user locked out." in answer.text


def test_soap_login_is_gone_from_version_65_on(org: Calls) -> None:
    """[WEB salesforcetrails.com/scenarios/soap-login-integration-fails]"""
    way = org.ways["soap"]
    right = way["username"], way["password"] + way["security_token"]
    assert soap(org, "65.0", *right).status_code == 500
    old = soap(org, "29.0", *right)
    assert (old.status_code, "UNSUPPORTED_API_VERSION" in old.text) == (500, True)
    org.set(soap_login=False)
    assert soap(org, "64.0", *right).status_code == 500


def test_single_sign_on_changes_a_providers_assertion_into_a_session(org: Calls) -> None:
    """unverified"""
    way = org.ways["sso"]
    envelope = (
        '<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Header><Security><UsernameToken>'
        f"<Username>{way['username']}</Username><Password>{way['password']}</Password>"
        "</UsernameToken></Security></s:Header><s:Body/></s:Envelope>"
    )
    told = requests.post(way["sso_login_url"], envelope, timeout=30)
    assertion = re.search(r"<saml:Assertion.*</saml:Assertion>", told.text)
    assert assertion is not None
    encoded = base64.b64encode(assertion[0].encode()).decode()
    answer = org.token(grant_type="assertion", assertion=encoded)
    assert usable(org, answer.json()["access_token"])
    assert "refresh_token" not in answer.json()
    saml2 = "urn:ietf:params:oauth:grant-type:saml2-bearer"
    assert org.token(grant_type=saml2, assertion=encoded).status_code == 200
    org.clock.forward(minutes=6)
    assert org.token(grant_type="assertion", assertion=encoded).json()["error"] == "invalid_grant"
    assert requests.post(way["sso_login_url"], envelope.replace(way["password"], "x"), timeout=30).status_code == 500


def test_a_session_ends_after_its_time(org: Calls) -> None:
    """[REC: 401 INVALID_SESSION_ID]"""
    org.set(session_seconds=60)
    org.sign_in()
    assert org.get("limits").status_code == 200
    org.clock.forward(seconds=61)
    answer = org.get("limits")
    assert error(answer) == (401, "INVALID_SESSION_ID")
    assert answer.json()[0]["message"] == "Session expired or invalid"
    org.sign_in()
    assert org.get("limits").status_code == 200


def test_a_revoked_token_is_no_session(org: Calls) -> None:
    token = org.sign_in()
    assert requests.post(f"{org.url}/services/oauth2/revoke", data={"token": token}, timeout=30).status_code == 200
    assert not usable(org, token)


def test_without_a_session_nothing_is_told(org: Calls) -> None:
    answer = requests.get(f"{org.url}/services/data/v64.0/sobjects", timeout=30)
    assert error(answer) == (401, "INVALID_SESSION_ID")
