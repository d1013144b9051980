"""Tests of stored quotas: one window of an account for everybody who uses the database, on both systems."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from suiro.model.account import Rate
from suiro.store.database import Database, open_database
from suiro.store.quotas import Quotas

RATE = Rate(requests=3, seconds=30)
TAKE = """
import sys, time
from concurrent.futures import ThreadPoolExecutor
from suiro.model.account import Rate
from suiro.store.database import Database
from suiro.store.quotas import Quotas
database = Database(sys.argv[1])
quotas = Quotas(database)
print("ready", flush=True)
until = float(sys.stdin.readline())
def take(_):
    taken = []
    while (now := time.time()) < until:
        wait = quotas.take("shop", Rate(requests=20, seconds=0.7))
        if wait == 0.0:
            taken.append(f"{now} {time.time()}")
        else:
            assert 0 < wait <= 0.7, wait
            time.sleep(min(wait, 0.05))
    return taken
with ThreadPoolExecutor(2) as pool:
    print(*[at for taken in pool.map(take, range(2)) for at in taken])
database.close()
"""


@pytest.fixture
def quotas(database: Database) -> Quotas:
    return Quotas(database)


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Stops the clock at so many seconds after some moment."""
    start = datetime(2027, 1, 1, tzinfo=UTC)

    def stop(at: float) -> None:
        monkeypatch.setattr("suiro.store.quotas.moment", lambda _: start + timedelta(seconds=at))

    stop(0)
    return stop


def test_a_window_is_shared_by_all_who_open_the_database(
    database_url: str, quotas: Quotas, set_clock: Callable[[float], None]
) -> None:
    other = open_database(database_url)
    assert [quotas.take("a", RATE), Quotas(other).take("a", RATE), quotas.take("a", RATE)] == [0.0, 0.0, 0.0]
    set_clock(10)
    assert Quotas(other).take("a", RATE) == 20.0
    assert quotas.take("b", RATE) == 0.0
    set_clock(30)
    assert quotas.take("a", RATE) == 0.0
    other.close()


def test_what_the_system_says_is_left_only_falls_within_its_window(
    quotas: Quotas, set_clock: Callable[[float], None]
) -> None:
    rate = Rate(requests=100, seconds=30)
    quotas.take("a", rate)
    quotas.learn("a", left=1, seconds=12)
    quotas.learn("a", left=50, seconds=12)  # an answer that was overtaken
    assert [quotas.take("a", rate), quotas.take("a", rate)] == [0.0, 12.0]
    quotas.learn("b", left=0, seconds=7)  # of an account that nobody took from
    assert quotas.take("b", rate) == 7.0
    set_clock(7)
    assert quotas.take("b", rate) == 0.0


def test_what_is_known_already_is_not_written(
    quotas: Quotas, database: Database, set_clock: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    quotas.learn("a", left=5, seconds=30)
    set_clock(10)
    monkeypatch.setattr(database, "begin", None)  # reading is enough
    quotas.learn("a", left=5, seconds=20.1)
    quotas.learn("a", left=9, seconds=19.8)


def test_after_a_refusal_nobody_asks_for_so_long(quotas: Quotas, set_clock: Callable[[float], None]) -> None:
    quotas.pause("a", 3600)
    quotas.pause("a", 60)  # a longer pause stays
    set_clock(100)
    assert quotas.take("a", RATE) == 3500.0


def test_a_clock_that_is_put_back_holds_nobody_up(quotas: Quotas, set_clock: Callable[[float], None]) -> None:
    for _ in range(3):
        quotas.take("a", RATE)
    quotas.pause("b", 60)
    set_clock(-7200)
    assert (quotas.take("a", RATE), quotas.take("b", RATE)) == (30.0, 60.0)
    set_clock(-7200 + 60)
    assert (quotas.take("a", RATE), quotas.take("b", RATE)) == (0.0, 0.0)


def test_several_processes_together_keep_the_rate(database: Database, database_url: str) -> None:
    command = [sys.executable, "-c", TAKE, database_url]
    takers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) for _ in range(4)
    ]
    assert [taker.stdout and taker.stdout.readline() for taker in takers] == ["ready\n"] * 4
    until = f"{time.time() + 1.6}\n"
    for taker in takers:
        assert taker.stdin is not None
        taker.stdin.write(until)
    times = [float(at) for taker in takers for at in taker.communicate(timeout=60)[0].split()]
    assert [taker.returncode for taker in takers] == [0] * 4
    windows = int((max(times) - min(times)) / 0.7) + 1  # that can have begun meanwhile
    assert 20 <= len(times) // 2 <= 20 * windows
