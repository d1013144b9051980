"""Tests of OAuth against a token endpoint that rotates refresh tokens and ends a grant whose token is used twice."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
import time
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from joserfc import jwt
from joserfc.jwk import RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

import renewing
from renewing import FileGrants, shared
from suiro.model.errors import AuthError, ConfigError, TransientError
from suiro.testing.context import LocalContext
from suiro.toolkit.http.client import HttpClient
from suiro.toolkit.http.grants import JWT_BEARER, ClientCredentials, JwtBearer, Password, RefreshToken, Way
from suiro.toolkit.http.oauth import OAuth, TokenEndpoint, consent
from web import answer, raw, serving


@dataclass
class Issuer:
    """Issues tokens. Refresh tokens are good for one use; a second use ends all of the grant."""

    expires_in: float | str | None = None
    codes: dict[str, str] = field(default_factory=dict)  #: code -> challenge
    forms: list[dict[str, str]] = field(default_factory=list)
    heads: list[str | None] = field(default_factory=list)
    refresh: str = "r0"
    used: set[str] = field(default_factory=set)
    valid: set[str] = field(default_factory=set)
    revoked: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def issue(self) -> dict[str, object]:
        number = len(self.forms)
        self.refresh = f"r{number}"
        self.valid = {f"a{number}"}  # a new token ends the old one
        said: dict[str, object] = {"access_token": f"a{number}", "instance_url": "https://na1", "token_type": "Bearer"}
        return said if self.expires_in is None else {**said, "expires_in": self.expires_in}

    async def token(self, request: Request) -> Response:
        form = {key: str(value) for key, value in parse_qs((await request.body()).decode()).items() for value in value}
        with self.lock:
            time.sleep(0.05)
            self.forms.append(form)
            self.heads.append(request.headers.get("authorization"))
            match form["grant_type"]:
                case "refresh_token":
                    if form["refresh_token"] in self.used:
                        self.revoked, self.valid = True, set()
                    if self.revoked or form["refresh_token"] != self.refresh:
                        return JSONResponse(
                            {"error": "invalid_grant", "error_description": "expired access/refresh token"}, 400
                        )
                    self.used.add(self.refresh)
                    said = self.issue()
                    return JSONResponse({**said, "refresh_token": self.refresh})
                case "authorization_code":
                    verifier = form["code_verifier"].encode()
                    challenge = urlsafe_b64encode(hashlib.sha256(verifier).digest()).rstrip(b"=").decode()
                    if self.codes.pop(form["code"], None) != challenge:
                        return JSONResponse({"error": "invalid_grant"}, 400)
                    return JSONResponse({**self.issue(), "refresh_token": self.refresh})
                case _:
                    return JSONResponse(self.issue())

    async def rows(self, request: Request) -> Response:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        return JSONResponse([1]) if token in self.valid else JSONResponse([{"errorCode": "INVALID_SESSION_ID"}], 401)

    @contextmanager
    def served(self) -> Iterator[str]:
        routes = [Route("/token", self.token, methods=["POST"]), Route("/rows", self.rows)]
        with serving(Starlette(routes=routes)) as url:
            yield url


@pytest.fixture
def context(tmp_path: Path) -> LocalContext:
    return LocalContext(run="r1", workdir=tmp_path / "run")


def endpoint(url: str, **extra: object) -> TokenEndpoint:
    return TokenEndpoint(url=f"{url}/token", client_id="app", client_secret="hush", **extra)  # type: ignore[arg-type]


def rows(context: LocalContext, url: str, way: Way, turns: int = 1) -> list[int]:
    auth = OAuth(context, key="crm", endpoint=endpoint(url), way=way)
    with HttpClient(context, base_url=url, auth=auth, account="crm") as http:
        for _ in range(turns):
            got = list(http.get("/rows").json())
    return got


def test_four_threads_in_each_of_four_processes_renew_a_rotating_grant_once(tmp_path: Path) -> None:
    issuer = Issuer()
    with issuer.served() as url:
        for round_ in (1, 2):
            command = [sys.executable, renewing.__file__, str(tmp_path), url]
            processes = [subprocess.Popen([*command, f"p{round_}{n}"]) for n in range(4)]
            assert [process.wait(60) for process in processes] == [0] * 4
            assert len(issuer.forms) == round_
            issuer.valid = set()  # what is kept is ended by the service
    assert issuer.revoked is False


def test_a_replaced_refresh_token_is_kept_before_the_new_access_token_is_used(tmp_path: Path) -> None:
    issuer, kept = Issuer(), FileGrants(tmp_path / "grants.json")
    seen: list[str] = []

    async def noting(request: Request) -> Response:
        grant = kept.load("crm")
        seen.append(str(grant and grant.values["refresh_token"]))
        return await issuer.rows(request)

    routes = [Route("/token", issuer.token, methods=["POST"]), Route("/rows", noting)]
    with serving(Starlette(routes=routes)) as url:
        assert rows(shared(tmp_path, "a"), url, RefreshToken("r0")) == [1]
        issuer.valid = set()
        assert rows(shared(tmp_path, "b"), url, RefreshToken("r0")) == [1]
    assert seen == ["r1", "r1", "r2"]
    assert [form["refresh_token"] for form in issuer.forms] == ["r0", "r1"]


def test_a_token_without_an_end_is_used_until_it_is_refused(context: LocalContext) -> None:
    issuer = Issuer()
    with issuer.served() as url:
        rows(context, url, ClientCredentials(), turns=3)
        rows(context, url, ClientCredentials(), turns=3)
    assert len(issuer.forms) == 1


@pytest.mark.parametrize("life", [1.0, "1"])
def test_a_token_is_renewed_before_its_end_where_that_is_known(context: LocalContext, life: float | str) -> None:
    issuer = Issuer(expires_in=life)
    with issuer.served() as url:
        auth = OAuth(context, key="crm", endpoint=endpoint(url), way=ClientCredentials())
        with HttpClient(context, base_url=url, auth=auth, account="crm") as http:
            http.get("/rows")
            http.get("/rows")
            assert (len(issuer.forms), http.requests) == (1, 2)
            time.sleep(1.0)
            http.get("/rows")
            assert (len(issuer.forms), http.requests) == (2, 3)  # no request was refused


def test_a_grant_that_has_ended_says_what_to_do(context: LocalContext) -> None:
    issuer = Issuer(revoked=True)
    with issuer.served() as url, pytest.raises(AuthError) as caught:
        rows(context, url, RefreshToken("r0"))
    assert "invalid_grant: expired access/refresh token" in caught.value.message
    assert "sign in again" in str(caught.value.hint)
    with pytest.raises(AuthError, match="nobody has signed in"):
        rows(context, url, RefreshToken(None))


def test_new_settings_do_not_use_the_tokens_of_the_old_ones(context: LocalContext) -> None:
    issuer = Issuer()
    with issuer.served() as url:
        rows(context, url, Password("u", "p1"))
        rows(context, url, Password("u", "p1"))
        rows(context, url, Password("u", "p2"))
    assert [form["password"] for form in issuer.forms] == ["p1", "p2"]
    assert issuer.forms[0] == {
        "grant_type": "password",
        "username": "u",
        "password": "p1",
        "client_id": "app",
        "client_secret": "hush",
    }


def test_a_new_refresh_token_in_the_settings_takes_the_place_of_the_kept_one(context: LocalContext) -> None:
    issuer = Issuer()
    with issuer.served() as url:
        rows(context, url, RefreshToken("r0"))
        issuer.refresh, issuer.valid = "fresh", set()
        assert rows(context, url, RefreshToken("fresh")) == [1]


def test_a_statement_is_signed_with_the_private_key(context: LocalContext) -> None:
    key = rsa.generate_private_key(65537, 2048)
    secret = serialization.BestAvailableEncryption(b"pass")
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, secret).decode()
    issuer = Issuer()
    with issuer.served() as url:
        way = JwtBearer(subject="me@x", audience="https://login", private_key=pem, passphrase="pass")
        assert rows(context, url, way) == [1]
    (form,) = issuer.forms
    assert form["grant_type"] == JWT_BEARER
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    said = jwt.decode(form["assertion"], RSAKey.import_key(public), algorithms=["RS256"])
    life = said.claims.pop("exp") - time.time()
    assert (said.claims, 100 < life < 300) == ({"iss": "app", "sub": "me@x", "aud": "https://login"}, True)


def test_a_key_that_is_none_is_named_without_being_shown() -> None:
    other = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    for pem in ("-----BEGIN hidden key " + "x" * 99, other.decode()):
        with pytest.raises(ConfigError) as caught:
            JwtBearer(subject="s", audience="a", private_key=pem)
        assert pem.removeprefix("-----BEGIN ")[:20] not in caught.value.message
        assert pem[-80:-60] not in caught.value.message


def test_a_users_consent_is_exchanged_with_its_verifier(context: LocalContext) -> None:
    issuer = Issuer()
    with issuer.served() as url:
        asked = consent(f"{url}/authorize?x=1", "app", "http://127.0.0.1:9/back", "api refresh", {"prompt": "login"})
        query = {key: value[0] for key, value in parse_qs(urlsplit(asked.url).query).items()}
        assert (
            query["response_type"],
            query["code_challenge_method"],
            query["x"],
            query["prompt"],
            query["scope"],
        ) == (
            *("code", "S256", "1", "login"),
            "api refresh",
        )
        issuer.codes["c1"] = query["code_challenge"]
        auth = OAuth(context, key="crm", endpoint=endpoint(url), way=RefreshToken(None))
        assert auth.accept(asked, "c1")["instance_url"] == "https://na1"
        assert rows(context, url, RefreshToken(None)) == [1]
        issuer.valid = set()
        assert rows(context, url, RefreshToken(None)) == [1]
        with pytest.raises(AuthError):
            auth.accept(asked, "c1")
    assert [form["grant_type"] for form in issuer.forms] == [
        "authorization_code",
        "refresh_token",
        "authorization_code",
    ]


def test_id_and_secret_go_into_the_header_where_the_service_wants_them_there(context: LocalContext) -> None:
    issuer = Issuer()
    with issuer.served() as url:
        at = endpoint(url, basic=True, extra={"scope": "s"})
        OAuth(context, key="crm", endpoint=at, way=ClientCredentials()).values()
    assert b64decode(str(issuer.heads[0]).removeprefix("Basic ")) == b"app:hush"
    assert issuer.forms == [{"grant_type": "client_credentials", "scope": "s"}]


def test_a_refusal_of_the_token_endpoint_shows_no_secret_and_a_fault_is_passing(context: LocalContext) -> None:
    refused = answer(400, b'{"error":"invalid_client","error_description":"secret hush of app is wrong"}')
    with raw(refused) as server, pytest.raises(AuthError) as caught:
        rows(context, server.url, ClientCredentials())
    assert "secret [removed] of app is wrong" in caught.value.message
    assert "client id and secret" in str(caught.value.hint)
    with raw(answer(500)) as server, pytest.raises(TransientError):
        rows(context, server.url, RefreshToken("r0"))
    assert len(server.heard) == 1  # whether the token was used is not known
    with raw(answer(200, b'{"hello":1}')) as server, pytest.raises(AuthError, match="without an access token"):
        rows(context, server.url, ClientCredentials())
