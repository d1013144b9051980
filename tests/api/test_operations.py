"""Every operation of the OpenAPI document: who may have it, how it refuses, and that it is described."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from served import assert_problem

if TYPE_CHECKING:
    from served import Served

pytestmark = pytest.mark.crossed("metadata_url")

GONE = {"name": "gone", "run": "gone", "stream": "gone", "task": "gone", "plan": "plan-gone", "what": "gone"}
BY_NAME = ("name", "run", "plan", "what")  #: of things that have to be there already
MAKES = {("put", "/api/v1/connections/{name}"), ("put", "/api/v1/jobs/{name}"), ("put", "/api/v1/secrets/{name}")}
#: a body that is right, where something else is to be wrong
BODIES: dict[tuple[str, str], Any] = {
    ("patch", "/api/v1/connections/{name}"): {"settings": {}},
    ("put", "/api/v1/jobs/{name}/positions/{task}"): {"position": {}},
    ("post", "/api/v1/jobs/{name}/runs"): {},
    ("post", "/api/v1/runs/{run}/retry"): {},
}


@pytest.fixture(scope="module")
def document(lone_server: Served) -> Any:
    return httpx2.get(f"{lone_server.url}/api/openapi.json", trust_env=False).json()


def operations(document: Any) -> list[tuple[str, str, Any]]:
    return [
        (method, path, said)
        for path, methods in document["paths"].items()
        for method, said in methods.items()
        if path.startswith("/api/v1/")
    ]


def address(path: str) -> str:
    for name, value in GONE.items():
        path = path.replace(f"{{{name}}}", value)
    assert "{" not in path, path
    return path


def test_every_operation_is_described(document: Any) -> None:
    assert len(operations(document)) > 35
    for method, path, said in operations(document):
        where = f"{method} {path}"
        assert said["summary"] and said["description"] and said["x-scope"] in ("read", "operate", "admin"), where
        assert said["security"], where
        assert {"401", "403", "422", "429", "500", "503"} <= set(said["responses"]), where
        assert ("404" in said["responses"]) == ("{" in path), where
        good = {status: answer for status, answer in said["responses"].items() if status < "300"}
        bad = {status: answer for status, answer in said["responses"].items() if status >= "300"}
        for answer in bad.values():
            assert answer["description"] and "Problem" in str(answer["content"]["application/problem+json"]), where
        assert good and all(status == "204" or answer["content"] for status, answer in good.items()), where
        for status, answer in good.items():
            shapes = [content.get("schema") for content in answer.get("content", {}).values()]
            assert status == "204" or all(shapes), where
        assert method == "get" or said["x-scope"] != "read", where


def test_every_answers_shape_takes_no_unknown_key(document: Any) -> None:
    for name, shape in document["components"]["schemas"].items():
        if shape.get("type") == "object" and name not in ("HTTPValidationError", "ValidationError"):
            assert shape.get("additionalProperties") is False, name


def test_without_a_token_nothing_is_answered(document: Any, lone_server: Served) -> None:
    client = lone_server.client(None)
    for method, path, _ in operations(document):
        found = assert_problem(client.request(method, address(path)), 401)
        assert found["code"] == "unauthorized" and "suiro token create" in found["hint"]


def test_a_small_token_may_not_do_great_things(document: Any, lone_server: Served) -> None:
    clients = {scope: lone_server.client(scope) for scope in ("read", "operate")}
    for method, path, said in operations(document):
        lacking = {"read": [], "operate": ["read"], "admin": ["read", "operate"]}[said["x-scope"]]
        for scope in lacking:
            found = assert_problem(clients[scope].request(method, address(path), json=BODIES.get((method, path))), 403)
            assert found["code"] == "forbidden" and said["x-scope"] in found["detail"]


def test_what_is_not_there_is_not_found(document: Any, lone_server: Served) -> None:
    client, asked = lone_server.client(), 0
    for method, path, _ in operations(document):
        if any(f"{{{name}}}" in path for name in BY_NAME) and (method, path) not in MAKES:
            body = BODIES.get((method, path))
            found = assert_problem(client.request(method, address(path), json=body), 404)
            assert found["code"] == "not_found" and "gone" in found["detail"]
            asked += 1
    assert asked > 20


def test_a_wrong_body_is_told_by_its_path(document: Any, lone_server: Served) -> None:
    client, asked = lone_server.client(), 0
    for method, path, said in operations(document):
        if "application/json" not in said.get("requestBody", {}).get("content", {}):
            continue
        for body in ({"no_such_key": 1}, [1]):
            found = assert_problem(client.request(method, address(path), json=body), 422)
            assert found["code"] == "invalid_request" and found["errors"]
            assert all(one["path"].startswith("body") and one["message"] for one in found["errors"]), found
        broken = client.request(method, address(path), content=b"{", headers={"Content-Type": "application/json"})
        assert_problem(broken, 422)
        asked += 1
    assert asked > 10


def test_a_wrong_parameter_is_told_by_its_path(lone_server: Served) -> None:
    client = lone_server.client()
    for path in ("/jobs", "/connections", "/runs", "/tokens", "/secrets", "/connectors"):
        found = assert_problem(client.get(f"/api/v1{path}", params={"limit": 0}), 422)
        assert found["errors"][0]["path"] == "query.limit"
        assert_problem(client.get(f"/api/v1{path}", params={"cursor": "nonsense"}), 422)
    assert_problem(client.get("/api/v1/runs", params={"status": "odd"}), 422)


def test_lists_go_on_from_their_cursor(lone_server: Served) -> None:
    client = lone_server.client()
    whole = client.get("/api/v1/connectors", params={"limit": 200}).json()
    assert whole["next"] is None and len(whole["items"]) > 8
    taken, cursor = [], None
    while True:
        page = client.get("/api/v1/connectors", params={"limit": 3, **({"cursor": cursor} if cursor else {})}).json()
        assert len(page["items"]) <= 3
        taken += page["items"]
        cursor = page["next"]
        if cursor is None:
            break
    assert taken == whole["items"]
    assert [one["name"] for one in client.get("/api/v1/connectors", params={"search": "postg"}).json()["items"]] == [
        "postgres"
    ]


def test_a_connectors_secrets_are_marked_in_its_schema(lone_server: Served) -> None:
    settings = lone_server.client().get("/api/v1/connectors/postgres").json()["settings"]
    assert any(one.get("writeOnly") for one in settings["properties"]["password"]["anyOf"])
    assert settings["properties"]["host"]["title"] == "Server"
