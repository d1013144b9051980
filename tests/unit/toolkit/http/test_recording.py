"""Tests of the record for support: it holds what was asked and answered, and none of the secrets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from suiro.model.errors import AuthError, ConfigError, ConnectionLost
from suiro.testing.context import LocalContext
from suiro.toolkit.http.auth import ApiKey, Basic
from suiro.toolkit.http.client import HttpClient
from suiro.toolkit.http.grants import Password
from suiro.toolkit.http.oauth import OAuth, TokenEndpoint
from suiro.toolkit.http.patience import Patience
from suiro.toolkit.http.recording import FOLDER, MOST_KEPT
from web import answer, raw

SOAP = "<env><login><username>u</username><password>pa&amp;ss 7/é</password></login></env>".encode()
SESSION = b'<r><sessionId xsi:type="x">00D!session</sessionId><userId>005</userId></r>'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(FOLDER, str(tmp_path / "record"))
    return tmp_path / "record"


@pytest.fixture
def context(tmp_path: Path) -> LocalContext:
    return LocalContext(run="r/1", workdir=tmp_path / "run")


def recorded(folder: Path) -> str:
    (file,) = folder.iterdir()
    assert file.stat().st_mode & 0o077 == 0
    return file.read_text("utf-8")


def test_the_record_holds_what_was_asked_and_answered_and_no_secret(folder: Path, context: LocalContext) -> None:
    tokens = b'{"access_token":"acc-1","refresh_token":"ref-1","instance_url":"https://x","id_token":"idt"}'
    later = answer(200, b'{"rows":[{"Id":7}],"echo":"acc-1"}', "Set-Cookie: sid=cookie-1")
    with raw(answer(200, tokens), later, None) as server:
        way = Password("user@x", "pa&ss 7/é")
        endpoint = TokenEndpoint(url=f"{server.url}/token", client_id="app", client_secret="client-se/cret")
        auth = OAuth(context, key="k", endpoint=endpoint, way=way)
        with HttpClient(context, base_url=server.url, auth=auth, account="a", patience=Patience(seconds=0.1)) as http:
            http.get("/rows", params={"page": 2, "token": "of-the-url"}, headers={"X-Auth-Token": "header-1"})
            with pytest.raises(ConnectionLost):
                http.post("/rows", json={"Name": "shown", "password": 'quo"ted', "deep": {"api_key": "deep-1"}})
    text = recorded(folder)
    secrets = [
        *("acc-1", "ref-1", "idt", "cookie-1", "client-se", "of-the-url", "header-1", "quo", "deep-1"),
        *("pa&ss", "pa%26ss", "pa\\u0026ss", "ss 7", "7%2F"),
    ]
    assert [secret for secret in secrets if secret in text] == []
    lines = [json.loads(line) for line in text.splitlines()]
    assert [(line["method"], line["url"].replace(server.url, "")) for line in lines] == [
        ("POST", "/token"),
        ("GET", "/rows?page=2&token=[removed]"),
        ("POST", "/rows"),
    ]
    assert '"rows":[{"Id":7}]' in lines[1]["answer"]["body"]
    assert (lines[2]["failed"], "shown" in lines[2]["body"]) == ("RemoteProtocolError", True)


def test_secrets_in_xml_and_in_urls_are_removed(folder: Path, context: LocalContext) -> None:
    auth = ApiKey("the key/1", query="q")
    session = answer(200, SESSION, "X-Then: /next?access_token=in-a-header")
    with (
        raw(session, answer(200, b'{"access_token":"half-1')) as server,
        HttpClient(context, base_url=server.url, auth=auth, account="a") as http,
    ):
        http.post("/soap", content=SOAP, headers={"Content-Type": "text/xml"})
        http.get("/half")
    text = recorded(folder)
    secrets = ("pa&amp;ss", "00D!", "the key", "the+key", "the%20key", "in-a-header", "half-1")
    assert [secret for secret in secrets if secret in text] == []
    assert "<username>u</username>" in text
    assert "<userId>005</userId>" in text


def test_refusals_are_recorded_and_long_bodies_cut(folder: Path, context: LocalContext) -> None:
    with (
        raw(answer(401, b'{"message":"bad p-1"}'), answer(200, b"x" * (MOST_KEPT + 99))) as server,
        HttpClient(context, base_url=server.url, auth=Basic("u", "p-1"), account="a") as http,
    ):
        with pytest.raises(AuthError):
            http.get("/x")
        http.get("/y")
    first, second = (json.loads(line) for line in recorded(folder).splitlines())
    assert (first["answer"]["status"], first["answer"]["body"]) == (401, '{"message":"bad [removed]"}')
    assert second["answer"]["body"].endswith("[cut off: 1,048,675 bytes in all]")


def test_nothing_is_recorded_unless_it_is_wanted(context: LocalContext, tmp_path: Path) -> None:
    with raw(answer()) as server, HttpClient(context, base_url=server.url, auth=Basic("u", "p"), account="a") as http:
        http.get("/x")
    assert list(tmp_path.rglob("*.jsonl")) == []


def test_a_folder_that_cannot_be_written_to_is_named(
    context: LocalContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(FOLDER, str(tmp_path / "file"))
    with (
        raw(answer()) as server,
        HttpClient(context, base_url=server.url, auth=Basic("u", "p"), account="a") as http,
        pytest.raises(ConfigError, match="can't be recorded"),
    ):
        http.get("/x")
