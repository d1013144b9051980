"""Steps 000-01 and 000-02: one command starts the server and says so; it answers over HTTP 8181 and HTTPS 8443.

Shown on the system that the tests run on. Not shown here: an installation on a fresh virtual machine, and the Red Hat
family; nor the console, which is not there yet: what answers is the API.
"""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2
import pytest
from sqlalchemy import update

from served import SUIRO, Served
from suiro.store.database import Database
from suiro.store.systems import sqlite_url
from suiro.store.tables import schedule

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]


@contextmanager
def started(home: Path, *options: str) -> Iterator[list[str]]:
    """`suiro up` as a person starts it, from the moment it says that it answers: its lines on stderr."""
    for port in (8181, 8443):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                pytest.skip(f"port {port} is taken on this machine")
    environment = Served(home).environment
    process = subprocess.Popen([*SUIRO, "up", *options], env=environment, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    lines: list[str] = []
    try:
        for line in process.stderr:
            lines.append(line.strip())
            if "Ctrl-C" in line:
                break
        yield lines
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def test_000_01_one_command_starts_it_and_it_says_that_it_started(suiro_home: Path) -> None:
    suiro_home.mkdir()
    with started(suiro_home) as lines:
        assert lines[-1] == "Suiro answers at http://localhost:8181 (Ctrl-C ends it)."
        assert httpx2.get("http://localhost:8181/readyz", trust_env=False).json()["status"] == "ready"
        assert (suiro_home / "suiro.db").exists()
    with pytest.raises(httpx2.ConnectError):
        httpx2.get("http://localhost:8181/readyz", trust_env=False)
    script = ROOT / "script" / "server"
    assert os.access(script, os.X_OK) and 'exec .venv/bin/suiro up "$@"' in script.read_text("utf-8")


def test_000_02_it_answers_over_http_on_8181_and_over_https_on_8443(suiro_home: Path) -> None:
    suiro_home.mkdir()
    with started(suiro_home, "--tls-port", "8443") as lines:
        assert lines[-1] == "Suiro answers at http://localhost:8181 and https://localhost:8443 (Ctrl-C ends it)."
        made = (suiro_home / "server.pem").read_text("ascii")
        trusting = ssl.create_default_context(cadata=made[made.index("-----BEGIN CERT") :])
        for url in ("http://localhost:8181", "https://localhost:8443"):
            assert httpx2.get(f"{url}/readyz", verify=trusting, trust_env=False).status_code == 200
    with started(suiro_home) as again:  # a certificate is there now: HTTPS by itself
        assert again[-1] == lines[-1]


def test_000_02_a_schedule_of_a_job_fires_while_the_server_runs(suiro_home: Path, tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "orders.csv").write_text("id,amount\n1,2.50\n2,3.75\n")
    (tmp_path / "shop.yaml").write_text(
        f"connections:\n  shop: {{type: files, location: '{tmp_path}/shop'}}\n"
        "jobs:\n  minutely: {source: shop, destination: warehouse, type: all, schedule: {cron: '* * * * *'}}\n"
    )
    with Served(suiro_home) as served:
        assert served.suiro("apply", str(tmp_path / "shop.yaml")).returncode == 0
        client = served.client("read")
        _count_from(suiro_home, datetime.now(UTC) - timedelta(seconds=90))  # a minute has passed since: nobody waits
        deadline = time.monotonic() + 100
        while not (runs := client.get("/api/v1/runs", params={"status": "succeeded"}).json()["items"]):
            assert time.monotonic() < deadline, served.log.read_text()
            time.sleep(0.5)
        assert (runs[0]["job"], runs[0]["trigger"]) == ("minutely", "schedule")
        assert runs[0]["scheduled_for"] is not None


def _count_from(home: Path, moment: datetime) -> None:
    """Have every schedule count from a moment on, as if it had been stored then."""
    database = Database(sqlite_url(home / "suiro.db"))
    with database.begin() as connection:
        connection.execute(update(schedule).values(since=moment, upto=moment))
    database.close()
