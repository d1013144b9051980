"""Tests of the tests' own MariaDB server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pymysql
import pytest

from mariadb import database_of

if TYPE_CHECKING:
    from mariadb import MariaDBServer

# Starts a server in a process of its own, tells what it made, and waits.
STARTER = """
import sys
from pathlib import Path
from mariadb import MariaDBServer
server = MariaDBServer(Path(sys.argv[1]))
server.start()
print(server.pid, server.folder, flush=True)
sys.stdin.read()
"""


def test_a_fresh_database_is_empty_in_utf8mb4_and_logged_in_rows(mariadb: MariaDBServer, mariadb_url: str) -> None:
    name = database_of(mariadb_url)
    asked = f"SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = '{name}'"
    assert mariadb.execute(asked) == [(0,)]
    assert mariadb.execute("SELECT @@character_set_database, @@binlog_format, @@log_bin", name) == [
        ("utf8mb4", "ROW", 1)
    ]
    assert mariadb.execute("SELECT @@global.time_zone") == [("+09:00",)]


def test_a_dropped_database_is_gone_with_its_sessions(mariadb: MariaDBServer) -> None:
    url = mariadb.create_database()
    left_open = mariadb.connect(database_of(url))
    mariadb.drop_database(url)
    with pytest.raises(pymysql.MySQLError):
        left_open.cursor().execute("SELECT 1")
    with pytest.raises(pymysql.MySQLError, match="Unknown database"):
        mariadb.connect(database_of(url))


def test_a_wrong_password_is_refused(mariadb: MariaDBServer) -> None:
    with pytest.raises(pymysql.MySQLError, match="Access denied"):
        mariadb.connect(password="wrong")


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_a_server_does_not_outlive_the_process_that_started_it(mariadb: MariaDBServer, end: signal.Signals) -> None:
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, mariadb.program],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert starter.stdout is not None
    pid, folder = starter.stdout.readline().split()
    assert psutil.pid_exists(int(pid))
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
