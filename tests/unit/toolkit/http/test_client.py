"""Tests of the HTTP client against real servers: what is sent again, what isn't, how long it waits, what errors say."""

from __future__ import annotations

import gzip
import hashlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from certificates import Authority
from suiro.model.errors import (
    AuthError,
    Cancelled,
    ConfigError,
    ConnectionLost,
    DataError,
    RateLimited,
    SuiroError,
    TransientError,
    UserError,
)
from suiro.spi.context import Rate
from suiro.testing.context import LocalContext
from suiro.toolkit.http.answers import Answers, Meaning, QuotaHeaders, Reaction, WaitHeader
from suiro.toolkit.http.auth import ApiKey, Auth, Basic, Bearer, Open
from suiro.toolkit.http.client import HttpClient
from suiro.toolkit.http.patience import Patience
from web import answer, raw, serving

FAST = Patience(seconds=3.0, first=0.01, most=0.1)


@pytest.fixture
def context(tmp_path: Path) -> LocalContext:
    return LocalContext(run="r1", workdir=tmp_path / "run")


def client(
    context: LocalContext,
    url: str,
    *,
    auth: Auth | None = None,
    answers: Answers | None = None,
    rate: Rate | None = None,
    patience: Patience = FAST,
    most_bytes: int = 2**20,
) -> HttpClient:
    return HttpClient(
        context,
        base_url=url,
        auth=auth or Open(),
        account="shop",
        answers=answers or Answers(),
        rate=rate,
        patience=patience,
        most_bytes=most_bytes,
    )


@pytest.mark.parametrize(
    "fault", [None, answer(500), answer(502), answer(503), answer(504), b"HTTP/1.1 200 OK\r\nContent"]
)
def test_what_can_be_repeated_is_sent_again_after_a_passing_fault(context: LocalContext, fault: bytes | None) -> None:
    hung_up = (lambda connection: connection.sendall(fault)) if fault and b"\r\n\r\n" not in fault else fault
    with raw(hung_up, hung_up, answer(body=b'{"a":1}')) as server, client(context, server.url) as http:
        assert http.get("/x").json() == {"a": 1}
        assert http.requests == len(server.heard) == 3


def test_a_body_that_breaks_off_is_asked_for_again(context: LocalContext) -> None:
    def half(connection: socket.socket) -> None:
        connection.sendall(answer(body=b'{"a":1}')[:-3])

    with raw(half, answer(body=b'{"a":1}')) as server, client(context, server.url) as http:
        assert http.get("/x").json() == {"a": 1}


@pytest.mark.parametrize("fault", [None, answer(500), answer(503)])
@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_what_may_have_arrived_is_not_sent_twice(context: LocalContext, fault: bytes | None, method: str) -> None:
    with raw(fault, answer()) as server, client(context, server.url) as http:
        with pytest.raises(TransientError):
            http.request(method, "/x", json={"a": 1})
        assert len(server.heard) == 1
        http.request(method, "/x", json={"a": 1})


def test_what_is_said_to_be_repeatable_is_sent_again(context: LocalContext) -> None:
    with raw(None, answer(500), answer()) as server, client(context, server.url) as http:
        assert http.post("/x", json=[1], repeatable=True).status == 200


def test_what_surely_was_not_done_is_sent_again_though_it_is_not_repeatable(context: LocalContext) -> None:
    busy = Answers(meanings=(Meaning(status=frozenset({503}), reaction=Reaction.PAUSE, error=TransientError),))
    with (
        raw(answer(429, b"{}", "Retry-After: 0"), answer(503), answer()) as server,
        client(context, server.url, answers=busy) as http,
    ):
        assert http.post("/x", json=[1]).status == 200


def test_a_server_that_is_not_there_yet_is_waited_for_even_with_what_is_not_repeatable(context: LocalContext) -> None:
    held = socket.create_server(("127.0.0.1", 0))
    port = held.getsockname()[1]
    held.close()

    def come() -> None:
        with socket.create_server(("127.0.0.1", port)) as late:
            connection, _ = late.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer())

    timer = threading.Timer(0.3, come)
    timer.start()
    with client(context, f"http://127.0.0.1:{port}") as http:
        assert http.post("/x", json=[1]).status == 200
    timer.join()
    with (
        client(context, f"http://127.0.0.1:{port}", patience=Patience(seconds=0.2, first=0.05)) as http,
        pytest.raises(ConnectionLost, match=r"GET /x at 127.0.0.1:\d+: Connection refused"),
    ):
        http.get("/x")


@pytest.mark.parametrize("told", ["1", (datetime.now(UTC), "date")])
def test_a_wait_that_is_told_is_kept(context: LocalContext, told: str | tuple[datetime, str]) -> None:
    value = told if isinstance(told, str) else format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
    with raw(answer(429, b"{}", f"Retry-After: {value}"), answer()) as server, client(context, server.url) as http:
        began = time.monotonic()
        http.get("/x")
        assert 0.9 <= time.monotonic() - began < 3.5


def test_a_wait_of_hours_pauses_the_whole_account_and_can_be_cancelled(
    context: LocalContext, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    with raw(answer(429, b"{}", "Retry-After: 7200")) as server, client(context, server.url) as http:
        threading.Timer(0.3, context.cancel).start()
        with pytest.raises(Cancelled):
            http.get("/orders", params={"email": "a@b.c"})
    assert 7100 < context.quotas.take("shop", Rate(requests=9, seconds=1)) <= 7200
    assert [r.getMessage().replace(server.url[7:], "host") for r in caplog.records if r.levelname == "INFO"] == [
        "GET /orders at host has to wait 7200 s for the service's quota"
    ]


def test_a_wait_longer_than_a_day_ends_in_an_error_that_tells_it(context: LocalContext) -> None:
    with (
        raw(answer(429, b'{"message":"slow down"}', "Retry-After: 90000")) as server,
        client(context, server.url) as http,
        pytest.raises(RateLimited, match=r"429 Too Many Requests: slow down") as caught,
    ):
        http.get("/x")
    assert caught.value.retry_after == 90000


def test_a_429_that_tells_no_time_is_waited_out_longer_and_longer(context: LocalContext) -> None:
    with raw(answer(429), answer(429), answer(429), answer()) as server, client(context, server.url) as http:
        http.get("/x")
        assert len(server.heard) == 4
    with (
        raw(answer(429)) as server,
        client(context, server.url, patience=Patience(seconds=0.3, first=0.1)) as http,
        pytest.raises(RateLimited),
    ):
        http.get("/x")


def test_no_more_is_asked_than_the_rate_allows(context: LocalContext) -> None:
    with raw(answer()) as server, client(context, server.url, rate=Rate(requests=3, seconds=0.5)) as http:
        began = time.monotonic()
        threads = [threading.Thread(target=http.get, args=("/x",)) for _ in range(7)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert time.monotonic() - began >= 1.0
        assert len(server.heard) == http.requests == 7


def test_the_service_tells_what_is_left_because_others_ask_too(context: LocalContext) -> None:
    quota = QuotaHeaders(left="x-left", resets=WaitHeader(name="x-reset-ms", unit=0.001))
    told = answer(200, b"{}", "X-Left: 1", "X-Reset-Ms: 700")
    with raw(told, answer()) as server, client(context, server.url, answers=Answers(quota=(quota,))) as http:
        began = time.monotonic()
        http.get("/x")
        http.get("/x")
        assert time.monotonic() - began < 0.5
        http.get("/x")
        assert time.monotonic() - began >= 0.6


def test_a_wait_may_be_told_as_a_moment(context: LocalContext) -> None:
    header = WaitHeader(name="x-reset", epoch=True)
    with (
        raw(answer(429, b"{}", f"X-Reset: {int(time.time()) + 2}"), answer()) as server,
        client(context, server.url, answers=Answers(waits=(header,))) as http,
    ):
        began = time.monotonic()
        http.get("/x")
        assert time.monotonic() - began > 0.8


def test_a_moment_that_is_told_is_one_of_the_services_clock(context: LocalContext) -> None:
    """However far that is from ours: the answer's Date tells it."""
    header, then = WaitHeader(name="x-reset", epoch=True), 1_000_000_000
    date = "Date: Sun, 09 Sep 2001 01:46:40 GMT"
    with (
        raw(answer(429, b"{}", f"X-Reset: {then + 1}", date), answer()) as server,
        client(context, server.url, answers=Answers(waits=(header,))) as http,
    ):
        began = time.monotonic()
        http.get("/x")
        assert 0.9 < time.monotonic() - began < 5


class Renewable:
    """Credentials that are good from the second token on."""

    def __init__(self) -> None:
        self.token, self.renewals = 1, 0

    def sign(self, request: object) -> None:
        request.headers["Authorization"] = f"Bearer token-{self.token}"  # type: ignore[attr-defined]

    def renewed(self, request: object) -> bool:
        self.token += 1
        self.renewals += 1
        return True

    def secrets(self) -> list[str]:
        return [f"token-{self.token}"]


def test_refused_credentials_are_renewed_once_and_the_request_is_sent_again(context: LocalContext) -> None:
    auth = Renewable()
    with raw(answer(401), answer()) as server, client(context, server.url, auth=auth) as http:
        assert http.post("/x", json=[1]).status == 200
        assert [b"token-1" in server.heard[0], b"token-2" in server.heard[1]] == [True, True]
    with (
        raw(answer(401, b'[{"errorCode":"INVALID_SESSION_ID","message":"bad token-2!"}]')) as server,
        client(context, server.url, auth=(auth := Renewable())) as http,
    ):
        with pytest.raises(AuthError, match=r"401 Unauthorized: INVALID_SESSION_ID: bad \[removed\]!"):
            http.get("/x")
        assert (auth.renewals, len(server.heard)) == (1, 2)


@pytest.mark.parametrize(
    ("auth", "shown"),
    [
        (ApiKey("k:1", header="X-Key"), "x-key: k:1"),
        (ApiKey("k:1", query="key"), "/x?a=1&key=k%3A1 "),
        (Bearer("t"), "authorization: Bearer t"),
        (Basic("u", "p"), "authorization: Basic dTpw"),
        (Open(), ""),
    ],
)
def test_each_kind_of_credentials_is_put_where_it_belongs(context: LocalContext, auth: Auth, shown: str) -> None:
    with raw(answer()) as server, client(context, server.url, auth=auth) as http:
        http.get("/x", params={"a": 1, "none": None})
        assert shown.lower() in server.heard[0].decode().lower()


@pytest.mark.parametrize(
    ("status", "body", "kind", "said"),
    [
        (
            400,
            b'[{"message":"No such column","errorCode":"INVALID_FIELD"}]',
            UserError,
            "INVALID_FIELD: No such column",
        ),
        (400, b'{"error":"invalid_grant","error_description":"expired"}', UserError, "invalid_grant: expired"),
        (404, b'[{"status":404,"message":"not found"}]', ConfigError, "404 Not Found: not found"),
        (
            422,
            b'{"status":422,"title":"Create failed.","type":"/x","errors":{".email":"is taken"}}',
            UserError,
            "Create failed. (.email: is taken)",
        ),
        (403, b'{"error":{"code":403,"message":"no access"}}', AuthError, "403 Forbidden: 403: no access"),
        (403, b"<html>secret page</html>", AuthError, "403 Forbidden"),
        (413, b'"' + b"x" * 999 + b'"', UserError, "413 "),
        (400, b'{"message":"' + b"y" * 999 + b'"}', UserError, "y" * 299 + "…"),
    ],
)
def test_a_refusal_becomes_one_error_with_the_services_words(
    context: LocalContext, status: int, body: bytes, kind: type[SuiroError], said: str
) -> None:
    with raw(answer(status, body)) as server, client(context, server.url) as http, pytest.raises(kind) as caught:
        http.get("/v1/things", params={"email": "someone@example.com"})
    assert type(caught.value) is kind
    assert caught.value.message.startswith(f"GET /v1/things at {server.url[7:]}: {status}")
    assert said in caught.value.message
    assert "someone" not in caught.value.message
    assert "secret page" not in caught.value.message


def test_an_error_repeats_no_value_that_was_sent(context: LocalContext) -> None:
    refused = answer(400, b'{"message":"duplicate value: Yamada <y@example.com> on Lead"}')
    with raw(refused) as server, client(context, server.url) as http, pytest.raises(UserError) as caught:
        http.post(
            "/Lead/Email/y@example.com",
            json={"attributes": {"type": "Lead"}, "LastName": "Yamada", "Email": "y@example.com"},
            label="/Lead/Email/...",
        )
    assert caught.value.message == (
        f"POST /Lead/Email/... at {server.url[7:]}: 400 Bad Request: duplicate value: [removed] <[removed]> on Lead"
    )


def test_statuses_that_are_allowed_come_back_as_answers(context: LocalContext) -> None:
    with raw(answer(404, b'{"a":1}'), answer(300, b"[1]")) as server, client(context, server.url) as http:
        assert http.get("/x", allow={404}).json() == {"a": 1}
        assert http.get("/x", allow={300}).status == 300


def test_a_refusal_may_come_as_a_success(context: LocalContext) -> None:
    """Where a service says so: by a member of the body, and not by words in a row's value."""
    busy = Meaning(code=frozenset({"busy"}), reaction=Reaction.PAUSE, error=RateLimited)
    answers = Answers(refusals=("Fault",), within=("Fault",), meanings=(busy,))
    refused = answer(body=b'{"Fault": {"code": "busy"}}')
    row = answer(body=b'{"rows": [{"Fault": 1}], "Fault": null}')
    with raw(refused, row, refused) as server, client(context, server.url, answers=answers) as http:
        assert http.get("/x").json()["rows"] == [{"Fault": 1}]
        assert http.requests == 2
    wrong = answer(body=b'{"Fault": {"code": "odd", "message": "no such thing"}}')
    with (
        raw(wrong) as server,
        client(context, server.url, answers=answers) as http,
        pytest.raises(UserError, match="200 OK: odd: no such thing"),
    ):
        http.get("/x")


def test_an_answer_that_is_no_json_is_a_passing_fault_without_its_text(context: LocalContext) -> None:
    with (
        raw(answer(200, b"<html>maintenance of Yamada</html>")) as server,
        client(context, server.url) as http,
        pytest.raises(TransientError) as caught,
    ):
        http.get("/x").json()
    assert "Yamada" not in caught.value.message


def test_a_host_that_does_not_exist_and_a_broken_header_are_the_users_to_mend(context: LocalContext) -> None:
    with client(context, "http://nobody.invalid") as http, pytest.raises(ConfigError, match=r"nobody\.invalid"):
        http.get("/x")
    with client(context, "ftp://host") as http, pytest.raises(ConfigError, match="no web address"):
        http.get("/x")
    with (
        raw(answer()) as server,
        client(context, server.url, auth=Bearer("to\nken")) as http,
        pytest.raises(ConfigError) as caught,
    ):
        http.get("/x")
    assert "ken" not in caught.value.message.replace("token", "")


def redirecting(to: Callable[[], str]) -> Starlette:
    async def go(request: Request) -> Response:
        return RedirectResponse(to(), 302)

    return Starlette(routes=[Route("/go", go)])


def test_a_redirect_to_another_host_gets_no_credentials(context: LocalContext) -> None:
    with (
        raw(answer(body=b'{"there":1}')) as other,
        serving(redirecting(lambda: f"{other.url}/file?sig=1")) as url,
        client(context, url, auth=Bearer("top-secret")) as http,
    ):
        assert http.get("/go", headers={"X-Mine": "also"}).json() == {"there": 1}
    assert b"top-secret" not in other.heard[0]
    assert b"also" not in other.heard[0]


def test_a_redirect_on_the_same_host_is_followed_and_one_in_a_circle_is_not(context: LocalContext) -> None:
    with raw(answer(301, b"", "Location: /y"), answer()) as server:
        with client(context, server.url, auth=Bearer("t")) as http:
            assert http.get("/x").status == 200
        assert server.heard[1].startswith(b"GET /y ")
        assert b"Bearer t" in server.heard[1]
    with (
        raw(answer(302, b"", "Location: /x")) as server,
        client(context, server.url) as http,
        pytest.raises(ConfigError, match="sent on 5 times"),
    ):
        http.get("/x")
    with (
        raw(answer(301, b"", "Location: /y")) as server,
        client(context, server.url) as http,
        pytest.raises(ConfigError, match="301 Moved Permanently"),
    ):
        http.post("/x", json=[1])


def test_a_link_to_another_host_is_not_followed(context: LocalContext) -> None:
    with (
        client(context, "https://shop.example", auth=Bearer("t")) as http,
        pytest.raises(DataError, match=r"elsewhere\.example, which gets no credentials"),
    ):
        http.get("https://elsewhere.example/next?page=2")


def test_bodies_go_both_ways_without_being_held(context: LocalContext) -> None:
    given: list[int] = []

    async def up(request: Request) -> Response:
        digest, at_first = hashlib.sha256(), 0
        async for piece in request.stream():
            at_first = at_first or len(given)
            digest.update(piece)
        return JSONResponse([digest.hexdigest(), at_first])

    async def down(request: Request) -> Response:
        return StreamingResponse(pieces())

    def pieces() -> Iterator[bytes]:
        for number in range(32):
            given.append(number)
            yield bytes([number]) * 2**20

    digest = hashlib.sha256(b"".join(pieces())).hexdigest()
    app = Starlette(routes=[Route("/up", up, methods=["PUT"]), Route("/down", down)])
    with serving(app) as url, client(context, url) as http:
        given.clear()
        arrived, at_first = http.put("/up", content=pieces()).json()
        assert arrived == digest
        assert at_first < 32
        with http.stream("GET", "/down") as streamed:
            assert streamed.head.status == 200
            chunks = list(streamed.chunks(100_000))
        assert hashlib.sha256(b"".join(chunks)).hexdigest() == digest
        assert max(map(len, chunks)) <= 100_000


def test_a_body_that_can_be_given_once_only_is_not_sent_again_and_one_given_anew_is(context: LocalContext) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"ab"

    with raw(answer(500), answer()) as server, client(context, server.url) as http, pytest.raises(TransientError):
        http.put("/x", content=pieces(), headers={"Content-Length": "2"})
    with raw(answer(500), answer()) as server, client(context, server.url) as http:
        assert http.put("/x", content=pieces, headers={"Content-Length": "2"}).status == 200


def test_a_stream_that_breaks_off_says_so(context: LocalContext) -> None:
    def half(connection: socket.socket) -> None:
        connection.sendall(answer(body=b"x" * 1000)[:-500])

    with (
        raw(half) as server,
        client(context, server.url) as http,
        http.stream("GET", "/x") as streamed,
        pytest.raises(ConnectionLost, match="broke off"),
    ):
        list(streamed.chunks())


def test_packed_answers_are_unpacked_and_counted_as_they_came(context: LocalContext) -> None:
    body = gzip.compress(b"[" + b"1," * 50_000 + b"1]")
    with raw(answer(200, body, "Content-Encoding: gzip")) as server, client(context, server.url) as http:
        assert len(http.get("/x").json()) == 50_001
        assert http.bytes_received == len(body)


def test_an_answer_too_large_to_hold_is_refused(context: LocalContext) -> None:
    with (
        raw(answer(body=b"x" * 5000)) as server,
        client(context, server.url, most_bytes=4000) as http,
        pytest.raises(DataError, match="more than 4,000 bytes"),
    ):
        http.get("/x")


def test_a_cancel_ends_a_request_that_gets_no_answer(context: LocalContext) -> None:
    silent = threading.Event()
    with raw(lambda connection: silent.wait(20) and None) as server, client(context, server.url) as http:
        threading.Timer(0.3, context.cancel).start()
        began = time.monotonic()
        with pytest.raises(Cancelled):
            http.get("/x")
        assert time.monotonic() - began < 5
        silent.set()


def test_cookies_of_one_answer_are_not_sent_with_the_next_request(context: LocalContext) -> None:
    with raw(answer(200, b"{}", "Set-Cookie: sid=abc"), answer()) as server, client(context, server.url) as http:
        http.get("/x")
        http.get("/x")
        assert b"sid=abc" not in server.heard[1]


def test_many_threads_share_one_client(context: LocalContext) -> None:
    async def say(request: Request) -> Response:
        return Response(request.url.query)

    got: dict[int, bytes] = {}
    with serving(Starlette(routes=[Route("/say", say)])) as url, client(context, url) as http:

        def ask(number: int) -> None:
            for turn in range(20):
                got[number * 100 + turn] = http.get("/say", params={"n": number * 100 + turn}).content

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert http.requests == 160
    assert got == {number: f"n={number}".encode() for number in got}
    assert len(got) == 160


def test_a_certificate_is_checked_against_the_machines_authorities(
    context: LocalContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path, "authority")
    with raw(answer(body=b"[7]"), tls=authority.sign("127.0.0.1")) as server:
        with client(context, server.url) as http, pytest.raises(ConfigError, match="certificate is not trusted"):
            http.get("/x")
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
        with client(context, server.url) as http:
            assert http.get("/x").json() == [7]
    with (
        raw(answer(), tls=authority.sign("elsewhere.example")) as server,
        client(context, server.url) as http,
        pytest.raises(ConfigError, match="certificate is not trusted"),
    ):
        http.get("/x")
    with (
        serving(Starlette()) as url,
        client(context, url.replace("http:", "https:")) as http,
        pytest.raises(ConfigError, match="no TLS that both sides know"),
    ):
        http.get("/x")


def test_a_cancel_ends_a_request_over_tls_too(
    context: LocalContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, silent = Authority(tmp_path, "authority"), threading.Event()
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    with (
        raw(lambda _: silent.wait(20) and None, tls=authority.sign("127.0.0.1")) as server,
        client(context, server.url) as http,
    ):
        threading.Timer(0.3, context.cancel).start()
        began = time.monotonic()
        with pytest.raises(Cancelled):
            http.get("/x")
        assert time.monotonic() - began < 5
        silent.set()


def test_a_closed_client_wakes_who_waits(context: LocalContext) -> None:
    with raw(answer(429, b"{}", "Retry-After: 7200")) as server:
        http = client(context, server.url)
        threading.Timer(0.3, http.close).start()
        began = time.monotonic()
        with pytest.raises(Cancelled, match="closed"):
            http.get("/x")
        assert time.monotonic() - began < 5


def test_a_closed_client_ends_what_is_under_way_in_other_threads(context: LocalContext) -> None:
    silent, ended = threading.Event(), list[BaseException]()

    def ask(http: HttpClient) -> None:
        try:
            http.get("/x")
        except Cancelled as error:
            ended.append(error)

    with raw(lambda _: silent.wait(20) and None) as server:
        http = client(context, server.url)
        threads = [threading.Thread(target=ask, args=(http,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        while len(server.heard) < 3:
            time.sleep(0.01)
        began = time.monotonic()
        http.close()
        for thread in threads:
            thread.join(5)
        assert time.monotonic() - began < 4
        assert len(ended) == 3
        silent.set()
