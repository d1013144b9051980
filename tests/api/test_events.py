"""Runs followed as server-sent events."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx2

    from served import Api, Served

ORDERS = {"source": "shop", "destination": "warehouse", "tasks": [{"stream": "public.slow"}]}

pytestmark = pytest.mark.crossed("metadata_url")


def events(lines: Iterator[str]) -> Iterator[tuple[str, str, Any]]:
    """Kind, id and data of each event."""
    said: dict[str, str] = {}
    for line in lines:
        if line.startswith(":"):
            continue
        if line:
            name, _, value = line.partition(": ")
            said[name] = value
        elif "event" in said:
            yield said["event"], said["id"], json.loads(said["data"])
            said = {}


def followed(client: httpx2.Client, run: str, last: str | None = None) -> list[tuple[str, str, Any]]:
    """All events until the run has ended."""
    headers = {} if last is None else {"Last-Event-ID": last}
    found = []
    with client.stream("GET", "/api/v1/events", headers=headers) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        for event in events(stream.iter_lines()):
            found.append(event)
            if event[0] == "run" and event[2]["run"] == run and event[2]["ended_at"] is not None:
                return found
    raise AssertionError(found)


def test_a_run_is_followed_to_its_end_and_again_from_where_one_left(
    server: Served, api: Api, shop: dict[str, Any], shop_url: str
) -> None:
    api("PUT", "/connections/shop", shop)
    api("PUT", "/jobs/orders", {"document": ORDERS})
    with psycopg.connect(shop_url) as session:
        session.execute("CREATE OR REPLACE VIEW slow AS SELECT 1 AS id, pg_sleep(3)::text AS waited")
    client = server.client("read")
    with client.stream("GET", "/api/v1/events") as stream:
        arriving = events(stream.iter_lines())
        assert next(arriving)[0] == "ready"
        run = api("POST", "/jobs/orders/runs", {})["run"]
        first = next(event for event in arriving if event[2].get("run") == run)
        assert first[2]["job"] == "orders" and first[2]["status"] in ("queued", "running")
    rest = followed(client, run, first[1])
    assert rest[0][0] == "ready"
    tasks = [data for kind, _, data in rest if kind == "task"]
    assert (tasks[-1]["run"], tasks[-1]["task"], tasks[-1]["status"]) == (run, "slow", "succeeded")
    assert rest[-1][2]["status"] == "succeeded"
    ids = [id_ for _, id_, _ in rest[1:]]
    assert len(set(ids)) == len(ids)
    numbers = [int(id_.partition("-")[2]) for id_ in ids]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert numbers[0] == int(first[1].partition("-")[2]) + 1


def test_who_missed_something_is_told_so(server: Served) -> None:
    for last in ("other-5", "nonsense", ""):
        with server.client("read").stream("GET", "/api/v1/events", headers={"Last-Event-ID": last}) as stream:
            assert next(events(stream.iter_lines()))[0] == "reset"


def test_a_server_that_ends_ends_its_streams(server: Served) -> None:
    with server.client("read").stream("GET", "/api/v1/events") as stream:
        arriving = events(stream.iter_lines())
        assert next(arriving)[0] == "ready"
        assert server.stop() == 0
        assert list(arriving) == []
