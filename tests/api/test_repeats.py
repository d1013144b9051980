"""Requests with an Idempotency-Key: sent again they are answered again, and nothing is done twice."""

from __future__ import annotations

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from served import Api, Served

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.crossed("metadata_url")

ORDERS = {"source": "shop", "destination": "warehouse", "tasks": [{"stream": "public.orders"}]}
KEY = {"headers": {"Idempotency-Key": "one"}}


@pytest.fixture
def ready(api: Api, shop: dict[str, Any]) -> Api:
    api("PUT", "/connections/shop", shop)
    api("PUT", "/jobs/orders", {"document": ORDERS})
    return api


def test_the_same_request_is_answered_again_and_another_one_refused(ready: Api) -> None:
    first = ready("POST", "/jobs/orders/runs", {}, **KEY)
    assert ready("POST", "/jobs/orders/runs", {}, **KEY) == first
    ready.follow(first["run"])
    assert ready("POST", "/jobs/orders/runs", {}, **KEY) == first
    other = ready("POST", "/jobs/orders/runs", {"tasks": ["orders"]}, status=422, **KEY)
    assert "another request" in other["detail"]
    assert ready("POST", "/writebacks/undo", {"run": first["run"]}, status=422, **KEY)["code"] == "config_error"
    assert len(ready("GET", "/runs")["items"]) == 1
    ready("POST", "/jobs/orders/runs", {}, headers={"Idempotency-Key": "two"})
    assert len(ready("GET", "/runs")["items"]) == 2


def test_a_refused_request_began_nothing_and_leaves_its_key(ready: Api) -> None:
    ready("POST", "/jobs/orders/runs", {"tasks": ["none"]}, status=422, **KEY)
    assert ready("POST", "/jobs/orders/runs", {}, **KEY)["status"] == "queued"


def test_a_token_is_made_once_and_told_again(api: Api, server: Served) -> None:
    wanted = {"name": "ci", "scope": "operate", "expires": "90d"}
    made = api("POST", "/tokens", wanted, status=201, **KEY)
    assert api("POST", "/tokens", wanted, status=201, **KEY) == made
    assert [one["name"] for one in api("GET", "/tokens")["items"]].count("ci") == 1
    assert server.client(token=made["token"]).get("/api/v1/jobs").status_code == 200
    for path in server.home.rglob("*"):
        assert not path.is_file() or made["token"].encode() not in path.read_bytes()


def test_the_same_request_at_the_same_time_is_done_once(ready: Api, server: Served) -> None:
    clients = [server.client() for _ in range(6)]

    def send(client: Any) -> tuple[int, Any]:
        said = client.post("/api/v1/jobs/orders/runs", json={}, **KEY)
        return said.status_code, said.json().get("run")

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(send, clients))
    runs = {run for status, run in answers if status == 202}
    assert len(runs) == 1 and {status for status, _ in answers} <= {202, 409}
    assert len(ready("GET", "/runs")["items"]) == 1


def test_keys_are_known_to_every_server_over_one_store(
    suiro_home: Path, postgres18_url: str, shop: dict[str, Any]
) -> None:
    with Served(suiro_home, postgres18_url) as one, Served(suiro_home, postgres18_url) as other:
        here, token = Api(one.client()), one.token()
        there = Api(other.client(token=token))
        here("PUT", "/connections/shop", shop)
        here("PUT", "/jobs/orders", {"document": ORDERS})
        assert here("POST", "/jobs/orders/runs", {}, **KEY) == there("POST", "/jobs/orders/runs", {}, **KEY)


def test_a_server_that_dies_between_the_act_and_its_answer_has_done_it_once(
    suiro_home: Path, postgres18_url: str, shop: dict[str, Any]
) -> None:
    """Killed when the run is stored and its answer is not. The lease of the request is ended by hand, to save time."""
    with Served(suiro_home, postgres18_url) as dying, psycopg.connect(postgres18_url, autocommit=True) as look:
        api, token = Api(dying.client()), dying.token()
        api("PUT", "/connections/shop", shop)
        api("PUT", "/jobs/orders", {"document": ORDERS})
        with ThreadPoolExecutor(1) as pool, psycopg.connect(postgres18_url) as holds:
            with psycopg.connect(postgres18_url) as before:
                before.execute("LOCK TABLE task_run IN SHARE ROW EXCLUSIVE MODE")
                sending = pool.submit(dying.client(token=token).post, "/api/v1/jobs/orders/runs", json={}, **KEY)
                _until(lambda: look.execute("SELECT count(*) FROM request").fetchone() == (1,))
                holds.execute("SELECT FROM request FOR UPDATE")
            _until(lambda: look.execute("SELECT count(*) FROM run").fetchone() == (1,))
            dying.stop(signal.SIGKILL)
            assert sending.exception() is not None
        assert look.execute("SELECT answer IS NULL FROM request").fetchall() == [(True,)]
        with Served(suiro_home, postgres18_url) as next_one:
            again = Api(next_one.client(token=token))
            waiting = next_one.client(token=token).post("/api/v1/jobs/orders/runs", json={}, **KEY)
            assert (waiting.status_code, waiting.json()["code"]) == (409, "request_under_way")
            assert int(waiting.headers["Retry-After"]) >= 1
            look.execute("UPDATE request SET lease_until = now()")
            run = again("POST", "/jobs/orders/runs", {}, **KEY)["run"]
            assert again.follow(run)["tasks"][0]["rows_written"] == 1000
            assert [one["run"] for one in again("GET", "/runs")["items"]] == [run]


def _until(there: Callable[[], bool]) -> None:
    for _ in range(400):
        if there():
            return
        time.sleep(0.05)
    pytest.fail("it never came to that")
