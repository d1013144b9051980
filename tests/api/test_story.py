"""A whole story over HTTP alone: connections, a job, its runs, their log, a cancel, a retry, and the end."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from served import Api

if TYPE_CHECKING:
    from served import Served
    from shell import Shell

pytestmark = pytest.mark.crossed("metadata_url")

ORDERS = {"source": "shop", "destination": "warehouse", "tasks": [{"stream": "public.orders"}]}
SLOW = {"source": "shop", "destination": "warehouse", "tasks": [{"stream": "public.slow"}]}


def test_a_job_is_set_up_run_and_looked_at_over_http_alone(
    server: Served, api: Api, shop: dict[str, Any], suiro: Shell
) -> None:
    made = api("PUT", "/connections/shop", shop, status=201)
    assert made["settings"]["password"] == {"set": True} and made["version"] == 1
    assert shop["settings"]["password"] not in json.dumps(api("GET", "/connections"))
    checked = api("POST", "/connections/shop/check")
    assert checked["ok"] and [step["step"] for step in checked["steps"]] == [
        "settings",
        "dns",
        "tcp",
        "sign_in",
        "streams",
    ]
    streams = api("GET", "/connections/shop/streams", params={"search": "ord"})["items"]
    assert [(one["name"], one["primary_key"]) for one in streams] == [("public.orders", ["id"])]
    preview = api("GET", "/connections/shop/streams/public.orders/preview", params={"limit": 2})
    assert [column["name"] for column in preview["columns"]] == ["id", "amount", "note"]
    assert sorted(preview["rows"]) == [["1", "1.50", "日本"], ["2", "3.00", "日本"]]

    api("PUT", "/jobs/orders", {"document": ORDERS}, status=201)
    (planned,) = api("POST", "/jobs/orders/plan")["tasks"]
    assert (planned["plan"]["table"], planned["plan"]["exists"], planned["error"]) == ("orders", False, None)
    begun = api("POST", "/jobs/orders/runs", {}, status=202)
    assert begun["trigger"] == "api"
    done = api.follow(begun["run"])
    assert (done["status"], done["tasks"][0]["rows_written"]) == ("succeeded", 1000)
    assert done["tasks"][0]["receipt"]["equal"]
    assert suiro("show", begun["run"], "--json").json == done
    (kept,) = api("GET", "/connections/warehouse/streams")["items"]
    assert (kept["name"], api("POST", "/connections/warehouse/check")["ok"]) == ("orders", True)
    assert len(api("GET", "/connections/warehouse/streams/orders/preview")["rows"]) == 20
    assert suiro("sql", "warehouse", "SELECT count(*) AS n, sum(amount) AS s FROM orders", "--json").json == [
        {"n": 1000, "s": "750750.00"}
    ]
    log = api("GET", f"/runs/{begun['run']}/log")
    assert log["next"] is None
    (listed,) = api("GET", "/runs", params={"job": "orders", "status": "succeeded"})["items"]
    assert listed == {name: value for name, value in done.items() if name != "tasks"}
    assert api("GET", "/runs", params={"status": "failed"})["items"] == []
    numbers = server.client(None).get("/metrics").text.splitlines()
    for line in (
        'suiro_runs{state="succeeded"} 1.0',
        'suiro_task_runs{state="running"} 0.0',
        'suiro_task_run_ends_total{status="succeeded"} 1.0',
        'suiro_rows_total{what="written"} 1000.0',
        'suiro_requests_total{method="POST",route="/api/v1/jobs/{name}/runs",status="202"} 1.0',
    ):
        assert line in numbers, line
    (lag,) = [line for line in numbers if line.startswith("suiro_scheduler_lag_seconds ")]
    assert float(lag.split()[1]) < 20


def test_a_run_is_cancelled_and_done_again_in_part(server: Served, api: Api, shop: dict[str, Any]) -> None:
    api("PUT", "/connections/shop", shop)
    api("PUT", "/jobs/slow", {"document": {**SLOW, "tasks": [*SLOW["tasks"], *ORDERS["tasks"]], "parallel": 2}})
    begun = api("POST", "/jobs/slow/runs", {})
    api.until(begun["run"], lambda found: [t["status"] for t in found["tasks"]] == ["running", "succeeded"])
    busy = api("POST", "/jobs/slow/runs", {}, status=409)
    assert busy["code"] == "user_error" and begun["run"] in busy["detail"]
    assert api("POST", f"/runs/{begun['run']}/cancel") == {"run": begun["run"], "cancelling": True}
    ended = api.follow(begun["run"])
    assert ended["status"] == "cancelled"
    assert api("POST", f"/runs/{begun['run']}/cancel")["cancelling"] is False
    with psycopg.connect(**{**shop["settings"], "dbname": shop["settings"]["database"], "database": None}) as session:
        session.execute("CREATE OR REPLACE VIEW slow AS SELECT 1 AS id, 'now' AS waited")
    again = api("POST", f"/runs/{begun['run']}/retry", {}, status=202)
    done = api.follow(again["run"])
    assert (done["status"], done["retry_of"]) == ("succeeded", begun["run"])
    assert [task["task"] for task in done["tasks"]] == ["slow"]
    nothing = api("POST", f"/runs/{again['run']}/retry", {"what": "rejected"}, status=409)
    assert "rejected no rows" in nothing["detail"]


def test_what_is_used_stays_until_nothing_uses_it(api: Api, shop: dict[str, Any]) -> None:
    api("PUT", "/connections/shop", shop)
    job = api("PUT", "/jobs/orders", {"document": ORDERS})
    assert api("GET", "/connections/shop")["used_by"] == ["orders"]
    refused = api("DELETE", "/connections/shop", status=409)
    assert "is used by the job orders" in refused["detail"]
    changed = {**ORDERS, "parallel": 2}
    assert api("PUT", "/jobs/orders", {"document": changed, "version": 1}, status=200)["version"] == 2
    assert api("PUT", "/jobs/orders", {"document": ORDERS, "version": 1}, status=409)["code"] == "user_error"
    assert job["document"] == ORDERS
    api("DELETE", "/jobs/orders", status=204)
    api("DELETE", "/connections/shop", status=204)
    api("GET", "/connections/shop", status=404)
    assert [one["name"] for one in api("GET", "/connections")["items"]] == ["warehouse"]


def test_secrets_are_written_and_never_read(api: Api, shop: dict[str, Any], server: Served) -> None:
    password = shop["settings"]["password"]
    api("PUT", "/connections/shop", shop)
    kept = api("GET", "/connections/shop")
    same = {"connector": kept["connector"], "settings": kept["settings"], "version": kept["version"]}
    assert api("PUT", "/connections/shop", same)["settings"]["password"] == {"set": True}
    assert api("POST", "/connections/shop/check")["ok"]
    api("PATCH", "/connections/shop", {"settings": {"connect_timeout": 5}})
    assert api("POST", "/connections/shop/check")["ok"]
    api("PATCH", "/connections/shop", {"settings": {"password": "wrong"}})
    failed = api("POST", "/connections/shop/check")
    assert (failed["ok"], failed["steps"][-1]["step"], failed["error"]["code"]) == (False, "sign_in", "auth_error")
    assert api("GET", "/connections/shop/streams", status=502)["code"] == "auth_error"

    secret = api("PUT", "/secrets/pg", {"value": password})
    assert secret["set"] and "value" not in secret
    shown = api("PATCH", "/connections/shop", {"settings": {"password": "${secret:pg}"}})
    assert shown["settings"]["password"] == {"set": True, "reference": "${secret:pg}"}
    assert api("POST", "/connections/shop/check")["ok"]
    assert [one["name"] for one in api("GET", "/secrets")["items"]] == ["pg"]
    api("DELETE", "/secrets/pg")
    assert "pg" in api("POST", "/connections/shop/check")["error"]["message"]
    everything = [api("GET", path) for path in ("/connections", "/jobs", "/secrets", "/tokens", "/runs")]
    assert password not in json.dumps(everything) and password not in server.log.read_text()


def test_a_connection_that_cannot_be_reached_says_at_which_step(api: Api) -> None:
    gone = {"host": "127.0.0.1", "port": 1, "database": "x", "user": "x", "password": "x"}
    api("PUT", "/connections/gone", {"connector": "postgres", "settings": gone})
    found = api("POST", "/connections/gone/check")
    assert [(step["step"], step["ok"]) for step in found["steps"]] == [
        ("settings", True),
        ("dns", True),
        ("tcp", False),
    ]
    assert found["error"]["code"] == "connection_lost"
    assert api("GET", "/connections/gone/streams/public.orders/preview", status=502)["code"] == "connection_lost"


def test_positions_are_shown_moved_and_reset(api: Api, shop: dict[str, Any]) -> None:
    api("PUT", "/connections/shop", shop)
    task = {"stream": "public.orders", "read": "incremental", "cursor": "id", "write": "merge"}
    api("PUT", "/jobs/orders", {"document": {**ORDERS, "tasks": [task]}})
    assert api("GET", "/jobs/orders/positions/orders")["position"] is None
    run = api("POST", "/jobs/orders/runs", {})["run"]
    assert api.follow(run)["status"] == "succeeded"
    (listed,) = api("GET", "/jobs/orders/positions")["items"]
    assert (listed["position"]["cursor"], listed["run"]) == (1000, run)
    moved = {"position": {**listed["position"], "cursor": 990, "boundary": {}}}
    assert api("PUT", "/jobs/orders/positions/orders", moved)["position"]["cursor"] == 990
    again = api.follow(api("POST", "/jobs/orders/runs", {"tasks": ["orders"]})["run"])
    assert again["tasks"][0]["rows_read"] == 11
    assert "has the parts" in api("PUT", "/jobs/orders/positions/orders", {"position": {"x": 1}}, status=422)["detail"]
    assert api("DELETE", "/jobs/orders/positions/orders") == {"tasks": ["orders"]}
    assert api("GET", "/jobs/orders/positions/orders")["generation"] == 1
    api("GET", "/jobs/orders/positions/other", status=404)


def test_a_yaml_document_is_planned_and_applied(api: Api, shop: dict[str, Any]) -> None:
    text = json.dumps({"connections": {"shop": {"type": "postgres", **shop["settings"]}}, "jobs": {"orders": ORDERS}})
    yaml = {"content": text, "headers": {"Content-Type": "text/yaml"}}
    planned = api("POST", "/apply", params={"plan": "true"}, **yaml)
    assert planned["applied"] is False and [one["name"] for one in planned["changes"]] == ["shop", "orders"]
    assert api("GET", "/jobs")["items"] == []
    assert api("POST", "/apply", **yaml)["applied"] is True
    assert [one["name"] for one in api("GET", "/jobs")["items"]] == ["orders"]
    assert api("POST", "/apply", **yaml)["changes"] == []
    typo = "jobs:\n  j: {source: shop, destination: warehouse, taks: [{stream: public.orders}], type: all}\n"
    wrong = api("POST", "/apply", content=typo, headers=yaml["headers"], status=422)
    assert "line 2: jobs.j.taks: there is no key 'taks'" in wrong["detail"] and wrong["code"] == "config_error"
    api("POST", "/apply", {"jobs": {}}, status=415)


def test_a_schedule_is_told_paused_and_resumed(api: Api, shop: dict[str, Any]) -> None:
    api("PUT", "/connections/shop", shop)
    daily = {"cron": "10 0 1 1 *", "timezone": "Asia/Tokyo"}
    job = api("PUT", "/jobs/orders", {"document": {**ORDERS, "schedule": daily}})
    assert job["schedule"]["timezone"] == "Asia/Tokyo" and len(job["schedule"]["next"]) == 3
    assert job["schedule"]["paused_at"] is None
    assert api("POST", "/jobs/orders/pause")["schedule"]["paused_at"] is not None
    assert api("POST", "/jobs/orders/resume")["schedule"]["paused_at"] is None
    assert api("GET", "/jobs/orders/firings") == {"items": [], "next": None}
    api("PUT", "/jobs/orders", {"document": ORDERS})
    api("POST", "/jobs/orders/pause", status=404)


def test_a_limit_of_a_connection_that_is_set_while_the_server_runs_holds(
    sqlite_server: Served, shop: dict[str, Any], shop_url: str
) -> None:
    api = Api(sqlite_server.client())
    with psycopg.connect(shop_url) as session:
        for n in range(3):
            session.execute(
                f"CREATE VIEW v{n} AS SELECT 1 AS id, clock_timestamp() AS began, pg_sleep(1)::text".encode()
            )
    api("PUT", "/connections/shop", shop)
    tasks = [{"stream": f"public.v{n}", "table": f"t{n}"} for n in range(3)]
    api("PUT", "/jobs/j", {"document": {"source": "shop", "destination": "shop", "parallel": 3, "tasks": tasks}})

    def spread() -> float:
        done = api.follow(api("POST", "/jobs/j/runs", {})["run"])
        assert done["status"] == "succeeded", done
        with psycopg.connect(shop_url) as session:
            sql = " UNION ALL ".join(f"SELECT began FROM t{n}" for n in range(3))
            began = sorted(row[0].timestamp() for row in session.execute(sql.encode()).fetchall())
        return float(began[-1] - began[0])

    spread()  # starts the processes that carry
    at_once = spread()
    api("PATCH", "/connections/shop", {"settings": {"parallel": 1}})
    time.sleep(3)
    one_by_one = spread()
    assert at_once < 1.5 and one_by_one > 2, (at_once, one_by_one)
