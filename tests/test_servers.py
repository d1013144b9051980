"""Tests of the tests' own PostgreSQL servers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import psycopg
import pytest

if TYPE_CHECKING:
    from servers import PostgresServer

# Starts a server in a process of its own, tells what it made, and waits.
STARTER = """
import sys
from pathlib import Path
from servers import PostgresServer
server = PostgresServer(Path(sys.argv[1]))
server.start()
print(server.pid, server.folder, flush=True)
sys.stdin.read()
"""


def test_a_fresh_database_is_empty_utf8_and_ready_for_logical_replication(any_postgres_url: str) -> None:
    with psycopg.connect(any_postgres_url, autocommit=True) as connection:
        tables = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
        shown = [connection.execute(f"SHOW {name}").fetchone() for name in ("wal_level", "server_encoding", "fsync")]
        slot = connection.execute(
            "SELECT slot_name FROM pg_create_logical_replication_slot('s', 'pgoutput')"
        ).fetchone()
    assert tables == (0,)
    assert shown == [("logical",), ("UTF8",), ("off",)]
    assert slot == ("s",)


def test_every_database_has_its_own_name(postgres: PostgresServer) -> None:
    first, second = postgres.create_database(), postgres.create_database()
    postgres.drop_database(first)
    postgres.drop_database(second)
    assert first != second


def test_a_dropped_database_is_gone_with_its_sessions_and_slots(postgres: PostgresServer) -> None:
    url = postgres.create_database()
    left_open = psycopg.connect(url, autocommit=True)
    left_open.execute("SELECT pg_create_logical_replication_slot('left_behind', 'pgoutput')")
    postgres.drop_database(url)
    with pytest.raises(psycopg.OperationalError):
        left_open.execute("SELECT 1")
    left_open.close()
    with postgres.connect() as admin:
        assert admin.execute("SELECT 1 FROM pg_replication_slots WHERE slot_name = 'left_behind'").fetchone() is None
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(url)


def test_a_wrong_password_is_refused_over_tcp_and_over_the_socket(postgres: PostgresServer) -> None:
    for url in (postgres.url(), postgres.socket_url()):
        psycopg.connect(url).close()
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(url.replace(postgres.password, "wrong"))


def test_killed_backends_are_counted_and_gone(postgres: PostgresServer, postgres_url: str) -> None:
    sessions = [psycopg.connect(postgres_url) for _ in range(3)]
    database = sessions[0].info.dbname
    assert postgres.kill_backends(database) == 3
    assert postgres.kill_backends(database) == 0
    for session in sessions:
        session.close()


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_a_server_does_not_outlive_the_process_that_started_it(postgres: PostgresServer, end: signal.Signals) -> None:
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, postgres.bindir],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert starter.stdout is not None
    pid, folder = starter.stdout.readline().split()
    assert _runs(int(pid))
    starter.send_signal(end)
    starter.communicate()
    deadline = time.monotonic() + 20
    while (Path(folder).exists() or _runs(int(pid))) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(folder).exists()
    assert not _runs(int(pid))


def _runs(pid: int) -> bool:
    """Whether the process is there and no zombie that waits for its parent."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
