"""Signing in for Salesforce's stand-in from the command line, and jobs whose processes share what was granted."""

from __future__ import annotations

import json
import re
import socket
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import duckdb
import httpx2
import pytest

from shell import Shell
from suiro.app.metadata import metadata
from suiro.sandbox.server import Running

TOKENS = re.compile(r"5Aep|00D[0-9A-Za-z]{12,15}!")  #: how refresh tokens and sessions of the stand-in begin


@pytest.fixture
def crm() -> Iterator[str]:
    """The stand-in's address: each refresh token is good for one use, and a second use ends the grant."""
    with Running(only=["salesforce"], sizes={"Lead": 50}) as sandbox:
        url = sandbox.urls["salesforce"]
        change(url, rotate_refresh_tokens=True)
        yield url


def change(url: str, **settings: Any) -> None:
    assert httpx2.put(f"{url}/_sandbox/settings", json=settings).status_code == 200


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        found: int = probe.getsockname()[1]
        return found


def consent(page: str) -> str:
    """What a user does at the page of consent; where the browser is sent then."""
    asked = httpx2.URL(page)
    assert "Allow access?" in httpx2.get(page).text
    form = urlencode({**dict(asked.params), "allow": "yes"})
    head = {"Content-Type": "application/x-www-form-urlencoded"}
    sent = httpx2.post(str(asked.copy_with(query=None)), content=form, headers=head)
    return str(sent.headers["location"])


@contextmanager
def authorizing(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`suiro authorize crm` as a process, and the page that it shows."""
    process = subprocess.Popen(
        [sys.executable, "-m", "suiro.cli.main", "authorize", "crm", "--no-browser", "--json", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        page = next(line.strip() for line in process.stderr if line.startswith("http"))
        yield process, page
    finally:
        process.kill()
        process.communicate()


def connect(suiro: Shell, folder: Path, url: str, jobs: str = "") -> None:
    """Store the connection, and jobs."""
    file = folder / "crm.yaml"
    file.write_text(
        f"connections:\n  crm: {{type: salesforce, base_url: '{url}', client_id: sandbox.connected.app, "
        f"sign_in: oauth, hold_back: 0}}\n  wh: {{type: duckdb, path: '{folder}/wh.duckdb'}}\n{jobs}"
    )
    ended = suiro("apply", str(file))
    assert ended.code == 0, ended.err


def signed_in(suiro: Shell, folder: Path, url: str, jobs: str = "") -> None:
    """Store the connection, and sign in for it."""
    connect(suiro, folder, url, jobs)
    with authorizing("--redirect", f"http://localhost:{free_port()}/callback") as (process, page):
        assert "close this page" in httpx2.get(consent(page)).text
        out, _ = process.communicate(timeout=30)
    assert json.loads(out) == {"connection": "crm", "connector": "salesforce", "authorized": True}


def test_a_connection_is_signed_in_for_and_used_then(suiro: Shell, tmp_path: Path, crm: str, suiro_home: Path) -> None:
    connect(suiro, tmp_path, crm)
    before = suiro("check", "crm")
    assert before.code == 1 and "nobody has signed in" in before.err
    signed_in(suiro, tmp_path, crm)
    assert suiro("check", "crm").code == 0
    with sqlite3.connect(suiro_home / "suiro.db") as db:
        (written,) = db.execute("SELECT token FROM account_grant").fetchone()
        assert written.startswith("s1.") and not TOKENS.search(written)


def test_the_address_can_be_pasted(suiro: Shell, tmp_path: Path, crm: str) -> None:
    connect(suiro, tmp_path, crm)
    with authorizing("--paste", "--redirect", "https://suiro.example/back") as (process, page):
        out, _ = process.communicate(consent(page) + "\n", timeout=30)
    assert json.loads(out)["authorized"] and suiro("check", "crm").code == 0


def test_a_connection_with_other_credentials_needs_nobody_at_a_browser(suiro: Shell, crm: str) -> None:
    key = "username=integration@suiro.example&password=sandbox-password&security_token=SandboxToken123"
    ended = suiro("authorize", f"salesforce://?base_url={crm}&sign_in=soap&{key}")
    assert ended.code == 2 and "needs nobody's consent" in ended.err
    ended = suiro("authorize", "duckdb:///x.duckdb")
    assert ended.code == 2 and "nobody signs in at a browser for DuckDB" in ended.err


JOBS = """jobs:
  nightly:
    source: crm
    destination: wh
    parallel: 3
    tasks:
      - {stream: Lead}
      - {stream: Contact}
      - {stream: Account}
"""


def test_jobs_commands_and_their_processes_share_a_grant_whose_tokens_end_all_the_time(
    suiro: Shell, tmp_path: Path, crm: str
) -> None:
    change(crm, session_seconds=1.5)
    signed_in(suiro, tmp_path, crm, JOBS)
    httpx2.delete(f"{crm}/_sandbox/requests")
    command = [sys.executable, "-m", "suiro.cli.main"]
    with ThreadPoolExecutor(2) as pool:
        run = pool.submit(subprocess.run, [*command, "run", "nightly", "--json"], capture_output=True, text=True)
        check = pool.submit(subprocess.run, [*command, "streams", "crm", "--json"], capture_output=True, text=True)
        done, other = run.result(), check.result()
    assert (done.returncode, other.returncode) == (0, 0), done.stderr + other.stderr
    said = json.loads(done.stdout)
    assert Counter(task["status"] for task in said["tasks"]) == {"succeeded": 3}
    with duckdb.connect(str(tmp_path / "wh.duckdb")) as db:
        assert db.sql('SELECT count(*) FROM "Lead"').fetchall() == [(50,)]
    (key,) = keys()
    grant = metadata().grants.load(key)
    refreshed = httpx2.get(f"{crm}/_sandbox/requests").json()["requests"]["POST /services/oauth2/token"]
    assert grant is not None and grant.version == 1 + refreshed and refreshed > 0
    logs = suiro("logs", said["run"]).out
    assert not TOKENS.search(logs + done.stderr + done.stdout)


def keys() -> list[str]:
    with metadata().database.read() as connection:
        return [key for (key,) in connection.exec_driver_sql("SELECT key FROM account_grant")]
