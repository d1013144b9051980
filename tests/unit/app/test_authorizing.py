"""Signing in at a browser: the way there and back over real HTTP, and what is kept then."""

from __future__ import annotations

import hashlib
import socket
import threading
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

import web
from suiro.app import authorizing
from suiro.app.lending import LentContext
from suiro.app.metadata import metadata
from suiro.app.opened import Connection
from suiro.model.errors import AuthError, ConfigError, UserError
from suiro.spi.connector import Connector, ConnectorConfig
from suiro.spi.context import Context
from suiro.store.systems import sqlite_url
from suiro.toolkit.http.consent import AskedConsent
from suiro.toolkit.http.grants import RefreshToken
from suiro.toolkit.http.oauth import OAuth, TokenEndpoint, consent

ANY_PORT = "http://localhost:0/callback"


class Config(ConnectorConfig):
    url: str


def oauth(config: Config, context: Context) -> OAuth:
    endpoint = TokenEndpoint(url=f"{config.url}/token", client_id="app")
    return OAuth(context, key="web:acme", endpoint=endpoint, way=RefreshToken(None))


def sign_in(config: Config, context: Context, redirect_uri: str) -> AskedConsent:
    asked = consent(f"{config.url}/authorize", "app", redirect_uri)
    return AskedConsent(oauth(config, context), asked)


class Service:
    """A service that consents at once, or refuses, and gives a code for what proves to be its asker."""

    def __init__(self) -> None:
        self.refuses = False
        self.challenges: dict[str, str] = {}

    def authorize(self, request: Request) -> Response:
        asked = request.query_params
        back = httpx2.URL(asked["redirect_uri"])
        if self.refuses:
            answer = {"error": "access_denied", "error_description": "end-user denied", "state": asked["state"]}
        else:
            code = f"code-{len(self.challenges)}"
            self.challenges[code] = asked["code_challenge"]
            answer = {"code": code, "state": asked["state"]}
        return RedirectResponse(str(back.copy_merge_params(answer)))

    async def token(self, request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode()))
        proof = urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).rstrip(b"=").decode()
        if self.challenges.pop(form["code"], None) != proof:
            return JSONResponse({"error": "invalid_grant"}, 400)
        return JSONResponse({"access_token": "at-1", "refresh_token": "rt-1", "instance_url": "https://acme"})


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def acme(service: Service) -> Iterator[Connection]:
    """A connection that can be signed in for."""
    app = Starlette(
        routes=[Route("/authorize", service.authorize), Route("/token", service.token, methods=["POST"])],
    )
    connector = Connector(name="web", title="Web", config=Config, schemes=("web",), sign_in=sign_in)
    with web.serving(app) as url:
        yield Connection(name="acme", connector=connector, config=Config(url=url))


class Browser:
    """Opens the page that is shown, in a thread of its own, and follows where it is sent."""

    def __init__(self, first: Callable[[str], object] | None = None) -> None:
        self._first = first
        self.answers: list[httpx2.Response] = []
        self._thread: threading.Thread | None = None

    def show(self, url: str) -> None:
        self._thread = threading.Thread(target=self._open, args=(url,))
        self._thread.start()

    def _open(self, url: str) -> None:
        if self._first is not None:
            self._first(url)
        self.answers.append(httpx2.get(url, follow_redirects=True))

    @property
    def answer(self) -> httpx2.Response:
        assert self._thread is not None
        self._thread.join()
        return self.answers[-1]


def test_what_the_service_grants_is_kept_for_everybody_who_uses_the_connection(acme: Connection) -> None:
    browser = Browser()
    authorizing.received(acme, ANY_PORT, 30, browser.show)
    assert browser.answer.status_code == 200 and "close this page" in browser.answer.text
    config: Any = acme.config
    with LentContext("later") as context:
        assert oauth(config, context).values()["instance_url"] == "https://acme"
    kept = metadata().grants.load("web:acme")
    assert kept is not None and kept.version == 1 and kept.values["refresh_token"] == "rt-1"


def test_signing_in_again_takes_the_place_even_of_what_can_not_be_read(
    acme: Connection, suiro_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = Browser()
    authorizing.received(acme, ANY_PORT, 30, browser.show)
    browser.answer.close()
    monkeypatch.setenv("SUIRO_METADATA_URL", sqlite_url(suiro_home / "suiro.db"))
    monkeypatch.setenv("SUIRO_HOME", str(tmp_path / "another"))  # with another master key
    with pytest.raises(ConfigError, match="sealed with master key"):
        metadata().grants.load("web:acme")
    browser = Browser()
    authorizing.received(acme, ANY_PORT, 30, browser.show)
    browser.answer.close()
    kept = metadata().grants.load("web:acme")
    assert kept is not None and kept.version == 2


def test_a_user_who_refuses_is_told_and_nothing_is_kept(acme: Connection, service: Service) -> None:
    service.refuses = True
    browser = Browser()
    with pytest.raises(AuthError, match="no consent: access_denied: end-user denied"):
        authorizing.received(acme, ANY_PORT, 30, browser.show)
    browser.answer.close()
    assert metadata().grants.load("web:acme") is None


def test_answers_to_another_sign_in_and_other_pages_are_not_taken(acme: Connection) -> None:
    refused: list[int] = []

    def others(url: str) -> None:
        back = httpx2.URL(url).params["redirect_uri"]
        for one in (f"{back}?code=x&state=forged", f"{back}?code=x", back.replace("callback", "favicon.ico")):
            refused.append(httpx2.get(one).status_code)

    browser = Browser(first=others)
    authorizing.received(acme, ANY_PORT, 30, browser.show)
    assert browser.answer.status_code == 200
    assert refused == [400, 400, 404]


def test_when_nobody_signs_in_it_ends_and_the_port_is_free_again(acme: Connection) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    for _ in range(2):
        with pytest.raises(UserError, match="nobody signed in within 0 s"):
            authorizing.received(acme, f"http://127.0.0.1:{port}/callback", 0.3, lambda _: None)


def test_a_port_that_is_taken_is_told(acme: Connection) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        redirect = f"http://localhost:{other.getsockname()[1]}/callback"
        with pytest.raises(ConfigError, match="can't listen on port"):
            authorizing.received(acme, redirect, 1, lambda _: None)


@pytest.mark.parametrize(
    "redirect", ["https://localhost:1/c", "http://acme.example:80/c", "http://localhost/c", "x", "http://localhost:x/"]
)
def test_a_redirect_to_elsewhere_is_refused(acme: Connection, redirect: str) -> None:
    with pytest.raises(ConfigError, match="none of this machine's"):
        authorizing.received(acme, redirect, 1, lambda _: None)


def test_the_address_can_be_pasted_where_the_browser_is_elsewhere(acme: Connection) -> None:
    shown: list[str] = []

    def ask() -> str:
        return httpx2.get(shown[0]).headers["location"] + "\n"

    authorizing.pasted(acme, "https://suiro.example/back", shown.append, ask)
    assert metadata().grants.load("web:acme") is not None
    with pytest.raises(ConfigError, match="holds no answer"):
        authorizing.pasted(acme, "https://suiro.example/back", shown.append, lambda: "https://suiro.example/back")
    with pytest.raises(AuthError, match="no answer to this sign-in"):
        authorizing.pasted(acme, "https://suiro.example/back", shown.append, lambda: "x?state=old&code=c")


def test_a_connector_without_a_sign_in_says_so(acme: Connection) -> None:
    plain = Connector(name="web", title="Web", config=Config, schemes=("web",))
    with pytest.raises(ConfigError, match="nobody signs in at a browser for Web"):
        authorizing.received(Connection(name="x", connector=plain, config=acme.config), ANY_PORT, 1, lambda _: None)
