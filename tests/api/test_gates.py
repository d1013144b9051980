"""What every request passes: host, size, headers, unknown places, and guesses at tokens."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import httpx2
import pytest

from served import Served, assert_problem

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.crossed("metadata_url")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:8181", 200),
        ("127.0.0.1:8181", 200),
        ("10.1.2.3", 200),
        ("[::1]:8181", 200),
        ("evil.example", 421),
        ("localhost.evil.example", 421),
        ("localhost:80/x", 421),
        ("localhost:8181@evil.example", 421),
        ("localhost?", 421),
        ("", 421),
    ],
)
def test_a_request_for_another_host_is_not_for_us(lone_server: Served, host: str, status: int) -> None:
    said = lone_server.client(None).get("/healthz", headers={"Host": host})
    assert said.status_code == status
    if status != 200:
        assert assert_problem(said, status)["code"] == "wrong_host"


def test_no_host_header_opens_what_needs_a_token(lone_server: Served) -> None:
    for host in ("localhost:80/x", "localhost/", "localhost:80#", "127.0.0.1?x", "localhost:8181"):
        said = lone_server.client(None).get("/api/v1/jobs", headers={"Host": host})
        assert said.status_code == (401 if host == "localhost:8181" else 421)


def test_the_public_name_is_known(tmp_path: Path) -> None:
    with Served(tmp_path / "home", options=["--port", "0", "--public-url", "https://suiro.example.com/x"]) as served:
        client = served.client(None)
        assert client.get("/healthz", headers={"Host": "suiro.example.com"}).status_code == 200
        assert client.get("/healthz", headers={"Host": "example.com"}).status_code == 421


@pytest.mark.parametrize("path", ["/healthz", "/api/v1/jobs", "/api/v1/nothing", "/api/openapi.json", "/api/docs"])
def test_every_answer_carries_security_headers(lone_server: Served, path: str) -> None:
    for client in (lone_server.client(None), lone_server.client("read")):
        said = client.get(path, headers={"Origin": "https://elsewhere.example"})
        assert said.headers["X-Content-Type-Options"] == "nosniff"
        assert said.headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert said.headers["X-Frame-Options"] == "DENY"
        assert not [name for name in said.headers if name.lower().startswith("access-control")]
        assert "server" not in said.headers


def test_the_page_of_operations_loads_nothing(lone_server: Served) -> None:
    said = lone_server.client(None).get("/api/docs")
    assert said.headers["content-type"].startswith("text/html")
    assert "<script" not in said.text and "//" not in said.text.replace("https://suiro", "")
    assert "unsafe" not in said.headers["Content-Security-Policy"]
    document = lone_server.client(None).get("/api/openapi.json").json()
    for path in document["paths"]:
        assert path in said.text


def test_unknown_places_and_methods_are_problems(lone_server: Served) -> None:
    client = lone_server.client()
    assert assert_problem(client.get("/api/v1/nothing"), 404)["code"] == "not_found"
    assert assert_problem(client.get("/nothing"), 404)["code"] == "not_found"
    wrong = client.delete("/api/v1/jobs")
    assert assert_problem(wrong, 405)["code"] == "method_not_allowed" and "GET" in wrong.headers["Allow"]


def test_a_body_that_is_too_large_is_refused(lone_server: Served) -> None:
    client = lone_server.client()
    large = b'{"value": "' + b"x" * 10_000_001 + b'"}'
    typed = {"Content-Type": "application/json"}

    def in_chunks() -> Iterator[bytes]:
        for at in range(0, len(large), 1 << 20):
            yield large[at : at + (1 << 20)]

    assert_problem(client.put("/api/v1/secrets/large", content=large, headers=typed), 413)
    assert_problem(client.put("/api/v1/secrets/large", content=in_chunks(), headers=typed), 413)
    assert client.get("/api/v1/secrets").json()["items"] == []


def test_a_bug_is_told_without_its_inside_and_logged(tmp_path: Path) -> None:
    with Served(tmp_path / "home") as served:
        client = served.client()
        job = {"source": "warehouse", "destination": "warehouse", "tasks": [{"stream": "a", "table": "b"}]}
        assert client.put("/api/v1/jobs/j", json={"document": job}).status_code == 201
        with closing(sqlite3.connect(served.home / "suiro.db")) as store:
            store.execute("UPDATE job SET settings = '\"secretly broken\"'")
            store.commit()
        said = client.get("/api/v1/jobs/j")
        found = assert_problem(said, 500)
        assert found["code"] == "internal_error" and said.headers["X-Content-Type-Options"] == "nosniff"
        assert "secretly" not in said.text and "Error" not in found["detail"]
        assert "TypeError" in served.log.read_text() and "GET /api/v1/jobs/j failed" in served.log.read_text()
        assert client.get("/api/v1/connections").status_code == 200


def test_a_revoked_or_expired_token_opens_nothing(tmp_path: Path) -> None:
    with Served(tmp_path / "home") as served:
        made = served.suiro("token", "create", "short", "--scope", "read", "--expires", "1s")
        short, long = made.stdout.strip(), served.token("read")
        assert served.client(token=long).get("/api/v1/jobs").status_code == 200
        kept = {one["name"]: one for one in served.client("admin").get("/api/v1/tokens").json()["items"]}
        (listed,) = [one for name, one in kept.items() if name.startswith("read-")]
        assert listed["used_at"] is not None and kept["short"]["used_at"] is None
        served.suiro("token", "revoke", listed["name"])
        assert_problem(served.client(token=long).get("/api/v1/jobs"), 401)
        for _ in range(40):
            said = served.client(token=short).get("/api/v1/jobs")
            if said.status_code == 401:
                break
        assert_problem(said, 401)


def test_who_guesses_tokens_is_made_to_wait(tmp_path: Path) -> None:
    with Served(tmp_path / "home") as served:
        good = served.token("read")
        for guess in ("suiro_", "suiro_" + "A" * 43, "Basic x", "nonsense", "Bearer"):
            for _ in range(2):
                said = httpx2.get(f"{served.url}/api/v1/jobs", headers={"Authorization": guess}, trust_env=False)
                assert_problem(said, 401)
        waiting = served.client(token=good).get("/api/v1/jobs")
        assert assert_problem(waiting, 429)["code"] == "rate_limited" and int(waiting.headers["Retry-After"]) > 30
        assert served.client(None).get("/readyz").status_code == 200
