"""`suiro up`: its start, its ports, its end, and what becomes of work under way."""

from __future__ import annotations

import contextlib
import signal
import socket
import ssl
import stat
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any

import httpx2
import psutil
import psycopg
import pytest
from sqlalchemy import text

from served import SUIRO, Api, Served
from suiro.store.database import Database, open_database
from suiro.store.systems import sqlite_url

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.crossed("metadata_url")

MIB = 2**20
SLOW = {"source": "shop", "destination": "warehouse", "tasks": [{"stream": "public.slow"}]}


def test_it_is_ready_soon_and_small(tmp_path: Path, record_property: pytest.RecordProperty) -> None:
    with Served(tmp_path / "home") as served:
        client = served.client(None)
        assert client.get("/healthz").json() == {"status": "alive"}
        assert client.get("/readyz").json() == {"status": "ready", "failing": {}}
        time.sleep(1.0)
        resident = psutil.Process(served.pid).memory_info().rss
        record_property("ready_after_seconds", round(served.ready_after, 2))
        record_property("idle_mib", resident // MIB)
        assert served.process.pid == served.pid and resident < 200 * MIB and served.ready_after < 20
        begun = time.monotonic()
        assert served.stop() == 0
        assert time.monotonic() - begun < 10
        assert "Traceback" not in served.log.read_text()


def test_a_port_that_is_taken_is_told_in_a_sentence_and_nothing_is_started(tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = str(taken.getsockname()[1])
        for options in (["--port", port], ["--port", "0", "--tls-port", port]):
            served = Served(tmp_path / "home", options=options)
            said = served.suiro("up", *options)
            assert said.returncode == 1
            assert f"port {port}: another program listens there" in " ".join(said.stderr.split())
            assert "answers at" not in said.stderr
    elsewhere = served.suiro("up", "--host", "203.0.113.7", "--port", "0")
    assert elsewhere.returncode == 1 and "no address of this machine" in " ".join(elsewhere.stderr.split())


def test_https_has_a_certificate_that_is_made_once(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with Served(home, options=["--port", "0", "--tls-port", "0"]) as served:
        assert served.tls_url is not None
        file = home / "server.pem"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        made = file.read_bytes()
        trusting = ssl.create_default_context(cadata=made[made.index(b"-----BEGIN CERT") :].decode())
        for address in (served.tls_url, served.tls_url.replace("localhost", "127.0.0.1")):
            said = httpx2.get(f"{address}/readyz", verify=trusting, trust_env=False)
            assert said.status_code == 200
            assert "Strict-Transport-Security" not in said.headers, "a browser would ask the plain port for HTTPS, too"
        with pytest.raises(httpx2.ConnectError):
            httpx2.get(f"{served.tls_url}/readyz", trust_env=False)
        served.stop()
    with Served(home, options=["--port", "0", "--tls-port", "0"]) as again:
        assert again.tls_url is not None and file.read_bytes() == made


def test_a_certificate_of_the_users_own_is_shown(tmp_path: Path) -> None:
    with Served(tmp_path / "first", options=["--port", "0", "--tls-port", "0"]) as served:
        served.stop()
    own = (tmp_path / "first" / "server.pem").rename(tmp_path / "own.pem")
    options = ["--port", "0", "--tls-port", "0", "--tls-cert", str(own)]
    with Served(tmp_path / "home", options=options) as served:
        trusting = ssl.create_default_context(cadata=own.read_text()[own.read_text().index("-----BEGIN CERT") :])
        assert httpx2.get(f"{served.tls_url}/healthz", verify=trusting, trust_env=False).status_code == 200
        assert not (tmp_path / "home" / "server.pem").exists()
    own.write_text("no certificate")
    wrong = served.suiro("up", *options)
    assert wrong.returncode == 2 and "can't serve HTTPS" in " ".join(wrong.stderr.split())


def test_what_it_says_to_people(tmp_path: Path) -> None:
    served = Served(tmp_path / "home")
    served.home.mkdir()
    command = [*SUIRO, "up", "--port", "0", "--tls-port", "0", "--host", "0.0.0.0"]
    process = subprocess.Popen(command, env=served.environment, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if "every address" in line:
            break
    process.send_signal(signal.SIGINT)
    rest, code = process.stderr.read(), process.wait(20)
    process.stderr.close()
    told = " ".join("".join([*lines, rest]).split())
    assert "Suiro answers at http://localhost:" in told and " and https://localhost:" in told
    assert "There is no token for the API yet: suiro token create NAME --scope admin" in told
    assert "SHA-256" in told and "Traceback" not in told and code == 0


def test_a_stopped_server_gives_its_work_back_and_another_one_finishes_it(
    server: Served, api: Api, shop: dict[str, Any], metadata_url: str | None
) -> None:
    run = _slow_run(api, shop)
    begun = time.monotonic()
    for process in psutil.Process(server.pid).children(recursive=True):
        process.send_signal(signal.SIGINT)  # Ctrl-C in a terminal reaches them all
    assert server.stop(signal.SIGINT) == 0
    assert time.monotonic() - begun < 17
    with closing(_store(server, metadata_url)) as store:
        assert _ask(store, "SELECT state, attempts FROM task_run") == [("queued", 0)]
    _make_fast(shop)
    with Served(server.home, metadata_url) as other:
        done = Api(other.client()).follow(run)
    assert (done["status"], done["tasks"][0]["rows_written"]) == ("succeeded", 1)


def test_requests_under_way_are_answered_when_it_ends(sqlite_server: Served, shop: dict[str, Any]) -> None:
    server, api = sqlite_server, Api(sqlite_server.client())
    api("PUT", "/connections/shop", shop)
    _make_slow(shop, 3.0)
    client = server.client()
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(client.get, "/api/v1/connections/shop/streams/public.slow/preview")
        time.sleep(1.5)
        assert server.stop() == 0
        answer = asking.result()
    assert answer.status_code == 200 and answer.json()["rows"][0][0] == "1"


def test_a_request_that_takes_too_long_does_not_keep_it(sqlite_server: Served, shop: dict[str, Any]) -> None:
    server, api = sqlite_server, Api(sqlite_server.client())
    api("PUT", "/connections/shop", shop)
    client = server.client()
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(client.get, "/api/v1/connections/shop/streams/public.slow/preview")
        time.sleep(1.5)
        begun = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - begun < 17
        with contextlib.suppress(httpx2.TransportError):
            asking.result()


def test_a_killed_servers_run_is_finished_by_another_one_with_every_row_once(
    server: Served, api: Api, shop: dict[str, Any], metadata_url: str | None
) -> None:
    run = _slow_run(api, shop)
    token, orders = server.token(), {"stream": "public.orders", "write": "append"}
    api("PUT", "/jobs/orders", {"document": {**SLOW, "tasks": [orders]}})
    with Served(server.home, metadata_url) as other:
        there = Api(other.client(token=token))
        also = api("POST", "/jobs/orders/runs", {})["run"]
        carriers = psutil.Process(server.pid).children(recursive=True)
        server.stop(signal.SIGKILL)
        _make_fast(shop)
        done, appended = there.follow(run), there.follow(also)
        assert (done["status"], done["tasks"][0]["rows_written"]) == ("succeeded", 1), done
        assert appended["status"] == "succeeded", appended
        there("GET", "/jobs/orders")
        counted = other.suiro("sql", "warehouse", "SELECT count(*) AS n, count(DISTINCT id) AS d FROM orders", "--json")
        assert counted.stdout.strip() == '[{"n": 1000, "d": 1000}]', counted.stderr
    assert not psutil.wait_procs(carriers, timeout=30)[1]  # those of the dead end by themselves


def test_a_second_ctrl_c_ends_at_once(sqlite_server: Served, shop: dict[str, Any]) -> None:
    server, api = sqlite_server, Api(sqlite_server.client())
    _slow_run(api, shop)
    children = psutil.Process(server.pid).children(recursive=True)
    for child in children:
        child.suspend()  # it can't obey
    try:
        server.process.send_signal(signal.SIGINT)
        time.sleep(1.0)
        begun = time.monotonic()
        assert server.stop(signal.SIGINT) == 130
        assert time.monotonic() - begun < 2
    finally:
        for child in children:
            child.kill()


def test_a_server_whose_runner_failed_ends_and_says_why(
    server: Served, api: Api, shop: dict[str, Any], metadata_url: str | None
) -> None:
    api("PUT", "/connections/shop", shop)
    api("PUT", "/jobs/slow", {"document": SLOW})
    with closing(_store(server, metadata_url)) as store, store.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO run (id, trigger, state, parallel, settings, created_at) "
                "VALUES ('bad', 'user', 'queued', 1, '{}', '2026-01-01 00:00:00')"
            )
        )
        connection.execute(
            text(
                "INSERT INTO task_run (run_id, task, ordinal, settings, source, destination, state, epoch, attempts) "
                "VALUES ('bad', 't', 0, '[]', 'shop', 'warehouse', 'queued', 0, 0)"
            )
        )
    assert server.process.wait(30) == 1
    assert "the server ended because its runner failed" in " ".join(server.log.read_text().split())


def test_a_store_that_goes_away_is_told_and_comes_back(
    suiro_home: Path, postgres18_url: str, shop: dict[str, Any], postgres18: Any
) -> None:
    with Served(suiro_home, postgres18_url) as served:
        api, client = Api(served.client()), served.client(None)
        api("PUT", "/connections/shop", shop)
        api("PUT", "/jobs/orders", {"document": {**SLOW, "tasks": [{"stream": "public.orders"}]}})
        name = postgres18_url.rpartition("/")[2]
        with postgres18.connect() as admin:
            admin.execute(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false")
            admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
            failing = client.get("/readyz")
            assert failing.status_code == 503 and "store" in failing.json()["failing"], failing.text
            assert client.get("/healthz").status_code == 200
            refused = served.client().get("/api/v1/jobs") if served.token() else None
            assert refused is not None and refused.status_code == 503
            time.sleep(3)
            admin.execute(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS true")
        for _ in range(100):
            if client.get("/readyz").status_code == 200:
                break
            time.sleep(0.1)
        run = api("POST", "/jobs/orders/runs", {})["run"]
        assert api.follow(run)["status"] == "succeeded"
        assert served.process.poll() is None


def _slow_run(api: Api, shop: dict[str, Any]) -> str:
    """A run that takes a minute, under way."""
    api("PUT", "/connections/shop", shop)
    api("PUT", "/jobs/slow", {"document": SLOW})
    run: str = api("POST", "/jobs/slow/runs", {})["run"]
    api.until(run, lambda found: found["status"] == "running")
    time.sleep(2.0)
    return run


def _make_slow(shop: dict[str, Any], seconds: float) -> None:
    settings = {**shop["settings"], "dbname": shop["settings"]["database"]}
    del settings["database"]
    with psycopg.connect(**settings) as session:
        session.execute(f"CREATE OR REPLACE VIEW slow AS SELECT 1 AS id, pg_sleep({seconds})::text AS waited")


def _make_fast(shop: dict[str, Any]) -> None:
    settings = {**shop["settings"], "dbname": shop["settings"]["database"]}
    del settings["database"]
    with psycopg.connect(**settings) as session:
        session.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        session.execute("CREATE OR REPLACE VIEW slow AS SELECT 1 AS id, 'now' AS waited")


def _store(server: Served, metadata_url: str | None) -> Database:
    return open_database(metadata_url or sqlite_url(server.home / "suiro.db"))


def _ask(store: Database, sql: str) -> list[tuple[Any, ...]]:
    with store.read() as connection:
        return [tuple(row) for row in connection.execute(text(sql))]
