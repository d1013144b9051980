"""One grant renewed by several processes with several threads each: once for each version, whoever is killed."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from suiro.engine.accounts import Accounts
from suiro.engine.renewing import SharedGrants
from suiro.model.account import Grant
from suiro.model.errors import Cancelled, TransientError
from suiro.store.database import Database, open_database
from suiro.store.grants import Grants
from suiro.store.secrets import MasterKeys
from suiro.store.systems import sqlite_url
from suiro.testing.context import LocalContext

LAST = 16
RENEW = """
import sys, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from filelock import FileLock
from suiro.engine import renewing
from suiro.engine.renewing import SharedGrants
from suiro.store.database import open_database
from suiro.store.grants import Grants
from suiro.store.secrets import MasterKeys

url, folder, last = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
renewing.EXTEND_SECONDS = 0.2
database = open_database(url)
kept = Grants(database, MasterKeys(folder / "master.key", {}), lease_seconds=1.0)
grants = SharedGrants(kept, time.sleep)

def refresh(token):
    '''The service: a refresh token can be used once.'''
    with FileLock(folder / "service.lock"):
        now = folder / "now"
        if now.exists() and now.read_text() != token:
            raise SystemExit(f"{token} was used before")
        newer = str(int(token or 0) + 1)
        now.write_text(newer)
        with (folder / "refreshed").open("a") as log:
            log.write(newer + "\\n")
        return newer

def ask(grant):
    if last == 0:
        print("asking", flush=True)
        time.sleep(60)
    time.sleep(0.01)
    return {"refresh_token": refresh("" if grant is None else grant.values["refresh_token"])}

if last < 0:
    def slow(grant):
        print("asking", flush=True)
        time.sleep(1)
        return {"refresh_token": refresh("")}
    try:
        grants.renew("crm", 0, slow)
    finally:
        database.close()

def work(_):
    version = 0
    while version < max(last, 1):
        version = grants.renew("crm", version, ask).version
    return version

with ThreadPoolExecutor(4) as pool:
    assert set(pool.map(work, range(4))) == {last}
database.close()
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return sqlite_url(tmp_path / "suiro.db")
    found: str = request.getfixturevalue("postgres_url")
    return found


@pytest.fixture
def grants(url: str, tmp_path: Path) -> Iterator[Grants]:
    database = open_database(url)
    yield Grants(database, MasterKeys(tmp_path / "master.key", {}))
    database.close()


def renewer(url: str, folder: Path, last: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "error", "-c", RENEW, url, str(folder), str(last)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_each_version_is_asked_for_once_and_a_killed_process_only_delays_the_others(
    url: str, tmp_path: Path, grants: Grants
) -> None:
    doomed = renewer(url, tmp_path, 0)
    assert doomed.stdout is not None
    assert doomed.stdout.readline() == "asking\n"  # it has the turn
    others = [renewer(url, tmp_path, LAST) for _ in range(4)]
    time.sleep(1.3)  # longer than the lease: it is extended
    assert not (tmp_path / "refreshed").exists()
    doomed.send_signal(signal.SIGKILL)
    doomed.communicate()
    ends = [(*other.communicate(timeout=60), other.returncode) for other in others]
    assert ends == [("", "", 0)] * 4
    versions = [str(number) for number in range(1, LAST + 1)]
    assert (tmp_path / "refreshed").read_text().split() == versions
    assert grants.load("crm") == Grant(version=LAST, values={"refresh_token": str(LAST)})


def test_ctrl_c_while_renewing_loses_nothing(url: str, tmp_path: Path, grants: Grants) -> None:
    process = renewer(url, tmp_path, -1)
    assert process.stdout is not None
    assert process.stdout.readline() == "asking\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == -signal.SIGINT and "KeyboardInterrupt" in errors
    assert grants.load("crm") == Grant(version=1, values={"refresh_token": "1"})


def test_who_waits_for_the_turn_can_be_cancelled(tmp_path: Path, grants: Grants) -> None:
    context = LocalContext(run="r", workdir=tmp_path)
    accounts = Accounts(grants=SharedGrants(grants, context.wait))
    assert grants.take("crm", 0, "other").mine
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(accounts.grants.renew, "crm", 0, dict) for _ in range(3)]  # type: ignore[arg-type]
        threading.Timer(0.3, context.cancel).start()
        for one in waiting:
            with pytest.raises(Cancelled):
                one.result(timeout=10)
    assert grants.load("crm") is None


def test_what_was_brought_is_kept_though_the_metadata_is_away_for_a_while(
    grants: Grants, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared, begin, left = SharedGrants(grants, time.sleep), Database.begin, [2]

    def failing(database: Database) -> object:
        if left[0]:
            left[0] -= 1
            raise TransientError("away")
        return begin(database)

    def ask(now: Grant | None) -> dict[str, str]:
        monkeypatch.setattr(Database, "begin", failing)
        monkeypatch.setattr("suiro.engine.renewing._PAUSES", (0.02, 0.1))
        return {"token": "new"}

    assert shared.renew("crm", 0, ask) == grants.load("crm") == Grant(version=1, values={"token": "new"})
    assert left == [0]


def test_a_version_that_was_seen_before_the_metadata_was_restored_is_renewed(grants: Grants) -> None:
    grants.put("crm", {"token": "of the backup"})
    asked: list[Grant | None] = []

    def ask(now: Grant | None) -> dict[str, str]:
        asked.append(now)
        return {"token": "new"}

    assert SharedGrants(grants, time.sleep).renew("crm", 7, ask).version == 8
    assert asked == [Grant(version=1, values={"token": "of the backup"})]
